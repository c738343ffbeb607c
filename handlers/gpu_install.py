"""`gpu install`: the NVIDIA GPU operator in a cluster, from the bot's own objects or from the team's files; and waiting
until every GPU can be used.

Definitions come first and have to be served before their objects are applied. What is there already and was not applied
by this bot is left alone: a Helm release belongs to Helm. (NVIDIA GPU Operator documentation, "Installing".)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from handlers.cluster_place import PlaceArguments
from handlers.conditions import Object, at, label, mapping_at, name_of, text
from handlers.contract import (
    Check,
    Fact,
    Fatal,
    Impact,
    Inverse,
    Json,
    KubeRead,
    KubeRefused,
    Operation,
    Plan,
    ReadWorld,
    Retry,
    Step,
    Table,
)
from handlers.gpu.diagnosis import diagnose
from handlers.gpu.fit import fits
from handlers.gpu.manifests import PREINSTALLED, render, render_namespace, values_of
from handlers.gpu.own import is_old_form, lacks_definition, operator_version_of, own_files, version_of_image
from handlers.gpu.parts import marked, split
from handlers.gpu.reach import reached
from handlers.gpu.seen import Gpus, images, look
from handlers.kinds import CLUSTER_POLICY, NAMESPACE, kind_of
from handlers.preflight.look import counted
from handlers.steps.apply import ApplyStep, called, config_of, rights_for
from handlers.steps.await_gpus import AwaitGpusStep, is_usable, told
from handlers.subnet_checks import blocks, passes, warns
from handlers.words import DriverVersion, OperatorVersion

PRIVILEGED = "pod-security.kubernetes.io/enforce"


class InstallArguments(PlaceArguments):
    """Which cluster, and which versions."""

    operator_version: OperatorVersion | None = Field(None, description="The GPU operator's version.")
    driver_version: DriverVersion | None = Field(
        None, description="The driver's version, or preinstalled where the machine image has one."
    )
    method: Literal["helm-values", "manifests"] | None = Field(
        None, description="From the values in the settings, or from the team's own files that they name."
    )


@dataclass(frozen=True)
class There:
    """What a cluster has already of the objects that are to be applied: `ours` by object, with the digest that it
    carries; `others` were applied by somebody else, and by whom."""

    ours: dict[str, str]
    others: dict[str, str]
    uids: dict[str, str | None]


class GpuInstall(Operation[InstallArguments]):
    """Puts the GPU operator into a cluster, or another version of it."""

    name = "gpu install"
    summary = "Install the NVIDIA GPU operator in a cluster, or change its version"
    examples = ("gpu install vision", "gpu install vision --operator-version v26.7.0 --driver-version 580.126.20")
    arguments = InstallArguments

    def plan(self, arguments: InstallArguments, world: ReadWorld) -> Plan:
        """Looks at the cluster, at what it has already, and tries every object on."""
        kube, seen = reached(arguments, world)
        if kube is None:
            return _plan(arguments, seen)
        gpus = look(kube)
        items, said = wanted(arguments, world)
        items = _without_given_namespace(items, kube)
        already = _there(items, kube)
        seen += [*said, _owners(already), *fits(arguments, gpus, world.gpu()), *_namespace_label(items, kube, world)]
        if not any(check.blocks for check in seen):
            seen.append(_tried(items, arguments, world, kube))
        steps: tuple[Step, ...] = ()
        if not any(check.blocks for check in seen):
            steps = _steps(arguments, items, already, gpus, kube, world)
        return _plan(arguments, seen, gpus, items, steps)

    def verify(self, arguments: InstallArguments, plan: Plan, world: ReadWorld) -> list[Check]:
        """Looks at the cluster anew: the chain on every node, and the policy."""
        kube = world.workload(arguments.namespace, arguments.cluster)
        gpus = look(kube)
        found = diagnose(gpus, kube, world.now(), world.gpu().driver_patience)
        title = "GPUs can be used"
        if is_usable(gpus, found, 0):
            version = installed(gpus)
            proof = passes("verify operator", "The operator", f"GPU operator {version} in {gpus.namespace} is ready.")
            return [proof, passes("verify gpus", title, told(gpus, found))]
        first = next(iter((*found.broken, *found.findings)), None)
        evidence = first.sentence if first else f"The ClusterPolicy is {gpus.state or 'without a state'}."
        return [blocks("verify gpus", title, evidence, first.fix if first else "`/tkg gpu status`")]

    def inverse(self, arguments: InstallArguments, plan: Plan, touched: Sequence[int]) -> Inverse | None:
        """The version that was there before, or the operator's removal."""
        applied = [plan.steps[position] for position in touched if plan.steps[position].kind == "apply"]
        if not applied:
            return None
        before = next((step.before for step in plan.steps if step.kind == "apply" and "operator" in step.before), {})
        if not before.get("operator"):
            return Inverse(operation="gpu uninstall", arguments=arguments.place)
        versions = {"operator_version": before["operator"], "driver_version": before.get("driver")}
        return Inverse(operation=self.name, arguments={**arguments.place, **versions, "method": None})


def wanted(arguments: InstallArguments, world: ReadWorld) -> tuple[tuple[Json, ...], list[Check]]:
    """The objects, and what is to be said of where they come from."""
    settings = world.gpu()
    from_files = _is_from_files(arguments, world)
    title = "What is installed"
    if from_files and not settings.manifests:
        fix = "Leave --method out, or have the platform team set `operations.gpu.manifests`."
        return (), [blocks("source", title, "The settings name no files of the team.", fix)]
    if from_files:
        items = _with_namespace(own_files(settings.manifests, settings.namespace), settings.namespace)
        names = ", ".join(path.name for path in settings.manifests)
        version = operator_version_of(items) or "of an unknown version"
        evidence = f"{counted(len(items), 'object')} of {names}: GPU operator {version}."
        if arguments.operator_version or arguments.driver_version:
            fix = "Leave --operator-version and --driver-version out, or use --method helm-values."
            return items, [blocks("source", title, f"{evidence} Their versions stand in the files.", fix)]
        if is_old_form(items):
            fix = "Its drivers do not compile for current kernels: leave the files out, and a current operator comes."
            return marked(items), [warns("source", title, f"{evidence} That is the old form in two files.", fix)]
        if lacks_definition(items):
            fix = "Render the chart with --include-crds."
            return items, [blocks("source", title, f"{evidence} It has a ClusterPolicy without its definition.", fix)]
        return marked(items), [passes("source", title, evidence)]
    values = values_of(settings, arguments.operator_version, arguments.driver_version)
    driver = values.driver_version or "as the machine image has it"
    evidence = f"GPU operator {values.operator_version}, driver {driver}, into {values.namespace}."
    return marked(render(values)), [passes("source", title, evidence)]


def _is_from_files(arguments: InstallArguments, world: ReadWorld) -> bool:
    return (arguments.method or ("manifests" if world.gpu().manifests else "helm-values")) == "manifests"


def _with_namespace(items: tuple[Json, ...], namespace: str) -> tuple[Json, ...]:
    """A rendered chart has no namespace in it, and its objects need one that admits drivers."""
    used = any(text(item, "metadata", "namespace") == namespace for item in items)
    has = any(kind_of(item) == NAMESPACE and name_of(item) == namespace for item in items)
    return (render_namespace(namespace), *items) if used and not has else items


def installed(gpus: Gpus) -> str:
    """The version of the operator that is there; nothing where none is."""
    return version_of_image(next(iter(images(gpus.operator)), "")) if gpus.operator is not None else ""


# -- the checks --------------------------------------------------------------------------------------------------


def _without_given_namespace(items: Sequence[Json], kube: KubeRead) -> tuple[Json, ...]:
    """A namespace that somebody made before is theirs: it is used, and not applied."""
    return tuple(
        item for item in items if kind_of(item) != NAMESPACE or not _is_others(kube.get(NAMESPACE, name_of(item)))
    )


def _is_others(found: Json | None) -> bool:
    return found is not None and not config_of(found)


def _there(items: Sequence[Json], kube: KubeRead) -> There:
    ours: dict[str, str] = {}
    others: dict[str, str] = {}
    uids: dict[str, str | None] = {}
    for item in items:
        kind = kind_of(item)
        found = kube.get(kind, name_of(item), text(item, "metadata", "namespace")) if kube.has(kind) else None
        uids[called(item)] = text(found, "metadata", "uid") or None
        if found is not None and config_of(found):
            ours[called(item)] = config_of(found)
        elif found is not None:
            others[called(item)] = _manager(found)
    return There(ours, others, uids)


def _manager(found: Object) -> str:
    release = mapping_at(found, "metadata", "annotations").get("meta.helm.sh/release-name", "")
    if release:
        return f"Helm's release {release}"
    return label(found, "app.kubernetes.io/managed-by") or "somebody else"


def _owners(already: There) -> Check:
    title = "Nobody else's objects"
    if already.others:
        whose = sorted(set(already.others.values()))
        names = ", ".join(sorted(already.others)[:5])
        fix = "Change it where it came from (a Helm release with Helm), or take it out first."
        return blocks("owners", title, f"There already, from {', '.join(whose)}: {names}.", fix)
    if already.ours:
        return passes(
            "owners", title, f"{counted(len(already.ours), 'object')} of an earlier installation are changed."
        )
    return passes("owners", title, "None of them is there yet.")


def _namespace_label(items: Sequence[Json], kube: KubeRead, world: ReadWorld) -> list[Check]:
    """Only a namespace that the bot makes has the label by itself."""
    name, title = world.gpu().namespace, "The namespace admits drivers"
    if any(kind_of(item) == NAMESPACE and name_of(item) == name for item in items):
        return []
    found = kube.get(NAMESPACE, name)
    if found is None or mapping_at(found, "metadata", "labels").get(PRIVILEGED) == "privileged":
        return []
    fix = f"kubectl label namespace {name} {PRIVILEGED}=privileged"
    return [warns("pod-security", title, f"The namespace {name} has no label {PRIVILEGED}=privileged.", fix)]


def _tried(items: Sequence[Json], arguments: InstallArguments, world: ReadWorld, kube: KubeRead) -> Check:
    """Every object once with dryRun=All; those of definitions that come with them cannot be tried."""
    title = "Accepted by the cluster's API"
    probe = world.probing().workload(arguments.namespace, arguments.cluster)
    first, rest = split(items)
    spaces = {
        name_of(item) for item in first if kind_of(item) == NAMESPACE and kube.get(NAMESPACE, name_of(item)) is None
    }
    able = [
        item
        for item in (*first, *rest)
        if kube.has(kind_of(item)) and text(item, "metadata", "namespace") not in spaces
    ]
    refused: list[str] = []
    for item in able:
        try:
            probe.try_apply(item)
        except KubeRefused as error:
            refused.append(f"{called(item)}: {error.message}")
        except (Retry, Fatal) as error:
            return Check(id="dry-run", title=title, result="unknown", evidence=error.message, fix=error.hint)
    if refused:
        return blocks("dry-run", title, "; ".join(refused[:3]), "Mend what it says, then look again.")
    later = len(items) - len(able)
    rest_words = f"; {later} more can only be tried when the definitions and the namespace are there" if later else ""
    return passes("dry-run", title, f"{len(able)} objects were accepted in a dry run{rest_words}.")


# -- the plan ----------------------------------------------------------------------------------------------------


def _steps(
    arguments: InstallArguments, items: Sequence[Json], already: There, gpus: Gpus, kube: KubeRead, world: ReadWorld
) -> tuple[Step, ...]:
    settings, place = world.gpu(), f"{arguments.namespace}/{arguments.cluster}"
    target = (f"gpus of {arguments.namespace}/{arguments.cluster}",)
    same = already.ours and all(already.ours.get(called(item)) == config_of(item) for item in items)
    if same and is_usable(gpus, diagnose(gpus, kube, world.now(), settings.driver_patience), 0):
        return ()
    first, rest = split(items)
    before: Json = {"operator": installed(gpus) or None, "driver": _driver(gpus.policy)}

    def applying(what: str, objects: Sequence[Json], more: Json) -> ApplyStep:
        names = [called(item) for item in objects]
        return ApplyStep(
            title=what,
            targets=target,
            rights=rights_for(objects, place),
            cluster=place,
            objects=tuple(objects),
            by_digest=_is_from_files(arguments, world),
            over={name: already.ours[name] for name in names if name in already.ours},
            before={**{name: already.uids.get(name) for name in names}, **more},
        )

    return (
        *([applying(f"define {counted(len(first), 'kind')} and make the namespace", first, {})] if first else []),
        applying(f"apply the {counted(len(rest), 'object')} of the GPU operator", rest, before),
        AwaitGpusStep(
            title="wait until drivers are built and every GPU can be used",
            targets=target,
            namespace=arguments.namespace,
            cluster=arguments.cluster,
            nodes=len(gpus.nodes),
            patience=settings.driver_patience,
            grace=world.clusters().failure_grace,
        ),
    )


def _driver(policy: Object | None) -> str | None:
    """The driver that a policy names, or that it names none."""
    if at(policy, "spec", "driver", "enabled") is False:
        return PREINSTALLED
    return text(policy, "spec", "driver", "version") or None


def _headline(items: Sequence[Json], gpus: Gpus | None) -> str:
    """What it is about: the operator, or of the same operator another driver."""
    before, version = installed(gpus) if gpus is not None else "", operator_version_of(items)
    what = f"GPU operator {version}" if version else "the GPU operator"
    if gpus is None or not before:
        return f"install {what}"
    if before != version:
        return f"change to {what}"
    policy = next((item for item in items if item["kind"] == CLUSTER_POLICY.name), None)
    old, new = _driver(gpus.policy), _driver(policy)
    return f"change the driver from {old} to {new}" if old and new and old != new else f"set right {what}"


def _plan(
    arguments: InstallArguments,
    seen: Sequence[Check],
    gpus: Gpus | None = None,
    items: Sequence[Json] = (),
    steps: tuple[Step, ...] = (),
) -> Plan:
    before = installed(gpus) if gpus is not None else ""
    return Plan(
        headline=f"{_headline(items, gpus)} in {arguments.cluster}",
        checks=tuple(seen),
        facts=tuple(
            Fact(name=node.name, value=node.type, material=False)
            for node in (gpus.nodes if gpus is not None and steps else ())
        ),
        targets=(f"gpus of {arguments.namespace}/{arguments.cluster}",) if steps else (),
        steps=steps,
        impact=_impact(arguments, steps, items, before),
        details=_table(items, steps),
    )


def _impact(arguments: InstallArguments, steps: Sequence[Step], items: Sequence[Json], before: str) -> Impact:
    applied = [step for step in steps if isinstance(step, ApplyStep)]
    fresh = tuple(name for step in applied for name in map(called, step.objects) if step.before.get(name) is None)
    changed = tuple(called(item) for step in applied for item in step.objects if _word(step, item) == "changed")
    back = f"/tkg gpu uninstall {arguments.cluster}" if not before else ""
    return Impact(creates=fresh, changes=changed, reversible=True, undo=back if steps else "", cost_per_hour_usd=0.0)


def _table(items: Sequence[Json], steps: Sequence[Step]) -> Table | None:
    if not steps:
        return None
    words = {called(item): _word(step, item) for step in steps if isinstance(step, ApplyStep) for item in step.objects}
    rows = [
        (str(item["kind"]), name_of(item), text(item, "metadata", "namespace") or "-", words[called(item)])
        for item in items
    ]
    return Table(header=("Kind", "Name", "Namespace", "Change"), rows=tuple(rows))


def _word(step: ApplyStep, item: Json) -> str:
    """What becomes of an object, as far as its configuration says so."""
    if step.before.get(called(item)) is None:
        return "new"
    return "as planned" if step.over.get(called(item)) == config_of(item) else "changed"


OPERATIONS = (GpuInstall(),)
