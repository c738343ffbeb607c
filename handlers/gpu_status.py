"""`gpu status`: whether a cluster's GPUs can be used, and where the chain is broken if not."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from handlers.conditions import Object, conditions, created, name_of, number, objects_at, text
from handlers.contract import Arguments, Positional, ReadWorld, Report, ReportOperation, Sheet, Table
from handlers.gpu.diagnosis import Diagnosis, diagnose
from handlers.gpu.own import version_of_image
from handlers.gpu.pods import clipped, is_pod_ready, restarts, status_word
from handlers.gpu.seen import GpuNode, Gpus, images, look
from handlers.words import ClusterName, Namespace

NODE_COLUMNS = ("NODE", "CHAIN", "ALLOCATABLE", "TESTED", "GPU", "DRIVER", "CUDA", "TYPE")
POD_COLUMNS = ("NAMESPACE", "NAME", "READY", "STATUS", "RESTARTS", "AGE")
SHOWN = 6
"""Findings that are told one by one."""


class StatusArguments(Arguments):
    """Which cluster."""

    cluster: Annotated[ClusterName, Positional()] = Field(description="The cluster.")
    namespace: Namespace = Field("default", description="Its namespace on the management cluster.")


class GpuStatus(ReportOperation[StatusArguments]):
    """GPUs of a cluster, node by node, with what stands between them and the pods that want them."""

    name = "gpu status"
    summary = "Show whether a cluster's GPUs can be used, and where the chain breaks"
    examples = ("gpu status vision", "gpu status vision --namespace platform")
    arguments = StatusArguments

    def report(self, arguments: StatusArguments, world: ReadWorld) -> Report:
        """Reads the cluster itself, by its kubeconfig on the management cluster."""
        kube = world.workload(arguments.namespace, arguments.cluster)
        seen, now = look(kube), world.now()
        found = diagnose(seen, kube, now, world.gpu().driver_patience)
        tone, title = headline(arguments.cluster, seen, found)
        nodes = Table(header=NODE_COLUMNS, rows=tuple(_node_row(node, found, now) for node, _ in found.by_node))
        pods = Table(header=POD_COLUMNS, rows=tuple(pod_row(pod, now) for pod in sorted(seen.pods, key=name_of)))
        return Report(
            tone=tone,
            title=title,
            facts=tuple(_facts(seen, found)),
            table=nodes if nodes.rows else None,
            sheets=(Sheet(title="Pods of the GPU operator:", table=pods),) if pods.rows else (),
        )


def headline(cluster: str, seen: Gpus, found: Diagnosis) -> tuple[Literal["good", "bad", "warn"], str]:
    """The answer in one sentence. `ready` without a GPU that can be used is not usable."""
    if found.is_well:
        gpus, nodes = seen.allocatable, len(seen.nodes)
        what = f"All {gpus} GPUs" if gpus != 1 else "The one GPU"
        return "good", f"{what} of {cluster} can be used ({nodes} node{'s' * (nodes != 1)})."
    if found.whole is not None and (not seen.nodes or not found.whole.waits):
        return ("warn" if found.whole.waits else "bad"), f"GPUs of {cluster} cannot be used: {found.whole.evidence}."
    if not seen.nodes:
        ready = " Its ClusterPolicy is ready all the same: that says nothing of GPUs." if seen.state == "ready" else ""
        return "bad", f"{cluster} has no node with NVIDIA GPUs, so none can be used.{ready}"
    usable, every = len(found.usable), len(seen.nodes)
    broken = found.broken
    if not broken:
        first = next(finding for finding in found.findings)
        return "warn", f"{usable} of {every} GPU nodes of {cluster} can be used so far: {first.sentence}."
    return "bad", f"{usable} of {every} GPU nodes of {cluster} can be used: {broken[0].sentence}."


def _facts(seen: Gpus, found: Diagnosis) -> list[str]:
    told = list(dict.fromkeys(f"{finding.sentence}. {finding.fix}" for finding in found.findings))
    more = [f"and {len(told) - SHOWN} more"] if len(told) > SHOWN else []
    return [*told[:SHOWN], *more, *_operator(seen), *_policy(seen), *_daemon_sets(seen)]


def _operator(seen: Gpus) -> list[str]:
    if seen.operator is None:
        return []
    image = next(iter(images(seen.operator)), "")
    ready, wanted = number(seen.operator, "status", "availableReplicas") or 0, number(seen.operator, "spec", "replicas")
    version = version_of_image(image) or "of an unknown version"
    return [f"GPU operator {version} in {seen.namespace}: {ready}/{1 if wanted is None else wanted} available"]


def _policy(seen: Gpus) -> list[str]:
    if seen.policy is None:
        return []
    said = [
        f"{one.type} {one.status} ({one.reason}{f': {clipped(one.message)}' if one.message else ''})"
        for one in conditions(seen.policy)
    ]
    usable = "" if seen.allocatable or seen.state != "ready" else ", and no GPU can be used"
    ignored = f"; ignored: {', '.join(name_of(item) for item in seen.others)}" if seen.others else ""
    state = seen.state or "without a state yet"
    return [f"ClusterPolicy {name_of(seen.policy)} is {state}{usable}{ignored}. {', '.join(said)}".strip()]


def _daemon_sets(seen: Gpus) -> list[str]:
    counts = [
        f"{name_of(item)} {number(item, 'status', 'numberReady') or 0}/"
        f"{number(item, 'status', 'desiredNumberScheduled') or 0}"
        for item in sorted(seen.daemon_sets, key=name_of)
    ]
    return [f"DaemonSets ready: {', '.join(counts)}"] if counts else []


def _node_row(node: GpuNode, found: Diagnosis, now: float) -> tuple[str, ...]:
    finding = {other.name: what for other, what in found.by_node}[node.name]
    expected = "?" if node.expected is None else str(node.expected)
    chain = "usable" if finding is None else finding.evidence.partition(":")[0]
    return (
        node.name, chain, f"{node.allocatable}/{expected}",
        tested(node, now), node.product, node.driver or "-", node.cuda or "-", node.type,
    )  # fmt: skip


def tested(node: GpuNode, now: float) -> str:
    """`passed 2 h ago`, or that nobody has tested it."""
    verdict = node.verdict
    return f"{verdict.result} {ago(now - verdict.at)} ago" if verdict else "never"


def pod_row(pod: Object, now: float) -> tuple[str, ...]:
    """As `kubectl get pods -A` shows it."""
    containers = objects_at(pod, "status", "containerStatuses")
    ready = sum(one.get("ready") is True for one in containers) if not is_pod_ready(pod) else len(containers)
    wanted = len(objects_at(pod, "spec", "containers"))
    return (
        text(pod, "metadata", "namespace"), name_of(pod), f"{ready}/{wanted}", status_word(pod), str(restarts(pod)),
        ago(now - (created(pod) or now)),
    )  # fmt: skip


def ago(seconds: float) -> str:
    """`45 s`, `12 min`, `5 h`, `3 d`."""
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length or (unit != "min" and seconds >= length) or (unit == "min" and seconds >= 60):
            return f"{seconds // length:.0f} {unit}"
    return f"{max(seconds, 0.0):.0f} s"


OPERATIONS = (GpuStatus(),)
