"""The GPUs of one cluster, as its own nodes show them: how many there are, and what is known of each."""

from __future__ import annotations

from collections import Counter

from handlers.cluster_objects import ClusterObjects
from handlers.contract import Gpus, ReadWorld
from handlers.gpu.diagnosis import diagnose
from handlers.gpu.seen import GpuNode, look


def gpus_of(found: ClusterObjects, world: ReadWorld) -> Gpus:
    """Looks into the cluster. A GPU is proven or failed by the last test of its node; one without a verdict, or with
    one that says neither, is untested."""
    kube = world.workload(found.namespace, found.name)
    seen = look(kube)
    diagnosis = diagnose(seen, kube, world.now(), world.gpu().driver_patience)
    counts: Counter[str] = Counter()
    for node in seen.nodes:
        counts[_known(node)] += node.allocatable
    said = diagnosis.broken or diagnosis.findings
    return Gpus(
        allocatable=seen.allocatable, proven=counts["passed"], failed=counts["failed"], untested=counts["untested"],
        why=f"{said[0].sentence}." if said else "",
    )  # fmt: skip


def _known(node: GpuNode) -> str:
    verdict = node.verdict
    return verdict.result if verdict is not None and verdict.result in ("passed", "failed") else "untested"
