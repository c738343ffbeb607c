"""Whether the management cluster can be reached, serves what the bot writes, and lets it: it is asked itself."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from handlers.clients.aws_errors import Denied
from handlers.clients.kube import Cluster
from handlers.contract import Check, Fatal, Kind, KubeRefused, Retry
from handlers.kinds import CONTROLLER_IDENTITY, NAMESPACE
from handlers.kube_needs import NEEDS, WRITTEN, Need
from handlers.subnet_checks import blocks, passes, warns
from handlers.worlds import Reach

AT_ONCE = 8
SETUP = "Install the Cluster API and its AWS provider there (`clusterctl init --infrastructure aws`)."


def examine_kube(reach: Reach) -> list[Check]:
    """Every check on the management cluster; the first alone where it cannot be reached."""
    title = "Management cluster: reachable"
    settings = reach.settings.management_cluster
    if settings is None:
        fix = "Set `operations.management_cluster` if clusters are to be made; subnets can be looked after without it."
        return [warns("kube:reach", title, "The settings name no management cluster.", fix)]
    try:
        kube = reach.kube.fresh().management()
        groups = {kind.group: kube.has(kind) for kind in WRITTEN}
    except Retry as error:
        fix = "See that it runs, and that this machine gets there (network policy, proxy, the kubeconfig's address)."
        return [blocks("kube:reach", title, error.message, fix)]
    except (Denied, Fatal, KubeRefused) as error:
        return [blocks("kube:reach", title, error.message, error.hint)]
    checks = [passes("kube:reach", title, f"It answers, by access `{settings.access}`.")]
    served = _served(kube)
    checks.append(served)
    there = tuple(need for need in NEEDS if groups.get(need.kind.group, True))
    checks += _rights(kube, there)
    if not served.blocks:
        checks += _identities(kube, reach.settings.onboarding.probe_namespace)
    return checks


def _served(kube: Cluster) -> Check:
    """Cluster API and its AWS provider, in versions that this tkgbot writes."""
    title, found, lacking = "Management cluster: Cluster API versions", dict[str, str](), dict[str, str]()
    for kind in WRITTEN:
        try:
            found.setdefault(kind.group, kube.version(kind))
        except Fatal as error:
            lacking.setdefault(kind.group, f"{error.message} {error.hint}")
        except Retry as error:
            return Check(id="kube:versions", title=title, result="unknown", evidence=error.message, fix=error.hint)
    if lacking:
        return blocks("kube:versions", title, f"Not there: {', '.join(sorted(lacking))}.", " ".join(lacking.values()))
    return passes("kube:versions", title, ", ".join(f"{group} {version}" for group, version in sorted(found.items())))


def _rights(kube: Cluster, needs: tuple[Need, ...]) -> list[Check]:
    """Each verb of each need; a check for each operation group that lacks one, as the fix is another each time."""
    title = "Management cluster: rights"
    asked = [(verb, need) for need in needs for verb in need.verbs]

    def may(one: tuple[str, Need]) -> bool:
        return kube.may(one[0], one[1].kind, one[1].namespace)

    try:
        with ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="examine") as workers:
            answers = list(workers.map(may, asked))
    except (Retry, Denied, Fatal, KubeRefused) as error:
        return [Check(id="kube:rights", title=title, result="unknown", evidence=error.message, fix=error.hint)]
    lacking: dict[tuple[tuple[str, ...], str], list[str]] = {}
    for (verb, need), yes in zip(asked, answers, strict=True):
        if not yes:
            lacking.setdefault((need.operations, need.namespace), []).append(f"{verb} {need.kind.resource}")
    if not lacking:
        return [passes("kube:rights", title, f"All {len(asked)} that operations use.")]
    if len(lacking) == len({(need.operations, need.namespace) for need in needs}) and not any(answers):
        fix = "Bind its user or service account to the ClusterRole in manifests/deploy (docs/operations.md)."
        return [blocks("kube:rights", title, f"The bot may do nothing there: all {len(asked)} rights lack.", fix)]
    return [
        blocks(
            f"kube:rights:{number}", f"{title} of {', '.join(operations)}",
            f"The bot may not {', '.join(verbs)}{f' in {namespace}' if namespace else ''}.",
            f"Allow it in the bot's {'Role in ' + namespace if namespace else 'ClusterRole'} (docs/operations.md).",
        )
        for number, ((operations, namespace), verbs) in enumerate(lacking.items(), start=1)
    ]  # fmt: skip


def _identities(kube: Cluster, probe: str | None) -> list[Check]:
    """What accounts that are onboarded start from, and where they are tried out."""
    title = "Management cluster: identities"
    try:
        if not _is_there(kube, CONTROLLER_IDENTITY, "default"):
            fix = "It is made with the first account that is onboarded; clusters in the management account need it."
            return [warns("kube:identities", title, "There is no AWSClusterControllerIdentity `default`.", fix)]
        if probe is not None and not _is_there(kube, NAMESPACE, probe):
            fix = f"Make it (`kubectl create namespace {probe}`), or change `operations.onboarding.probe_namespace`."
            return [blocks("kube:identities", title, f"There is no namespace {probe}.", fix)]
    except (Retry, Denied, Fatal, KubeRefused) as error:
        return [Check(id="kube:identities", title=title, result="unknown", evidence=error.message, fix=error.hint)]
    return [passes("kube:identities", title, "The controllers' identity is there.")]


def _is_there(kube: Cluster, kind: Kind, name: str) -> bool:
    return kube.get(kind, name) is not None
