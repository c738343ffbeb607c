"""`gpu test`: CUDA runs on every GPU node, or it is said why not; with --scale, on the machines that are new as well.

One Job a node, pinned to it, because one Job for a cluster proves one node only. (NVIDIA/gpu-operator, tests.)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import Field, model_validator

from handlers.cluster_objects import ClusterObjects
from handlers.cluster_place import PlaceArguments, opened
from handlers.cluster_pools import LivePool, named, pools_of
from handlers.cluster_scale import Change, back_to, growth, impact_of, scaling
from handlers.conditions import at, name_of, objects_at, text
from handlers.contract import (
    AwsRead,
    Check,
    Fact,
    Fatal,
    Impact,
    Inverse,
    KubeRead,
    Operation,
    Plan,
    ReadWorld,
    Right,
    Step,
    Table,
    UsageError,
)
from handlers.gpu.diagnosis import Diagnosis, diagnose
from handlers.gpu.job import NAMESPACE, PASS, advice, job_name
from handlers.gpu.reach import reach
from handlers.gpu.seen import GPU, GpuNode, Gpus, Verdict, look, quantity
from handlers.gpu_status import tested
from handlers.kinds import JOB, NODE, POD
from handlers.preflight.look import counted, some
from handlers.steps.await_gpus import AwaitGpusStep
from handlers.steps.gpu_test import GpuCleanStep, GpuTestStep, GpuVerdictStep
from handlers.steps.scale import ScaleStep
from handlers.subnet_checks import blocks, passes, warns
from handlers.subnet_scope import Where
from handlers.words import HowMany, PoolName

FREE = "A free GPU on each node"
USABLE = "GPUs that can be used"


class TestArguments(PlaceArguments):
    """Which cluster, and how much of it."""

    nodes: HowMany = Field("all", description="How many GPU nodes, or all; those that were never tested come first.")
    scale: int | None = Field(None, ge=1, le=100, description="First make the GPU pool this large, and test it whole.")
    pool: PoolName | None = Field(None, description="The GPU pool that is scaled, where there are several.")
    timeout: int | None = Field(None, ge=1, le=120, description="Minutes that the test may take on a node.")

    @model_validator(mode="after")
    def _fits(self) -> TestArguments:
        if self.scale is not None and self.nodes != "all":
            raise ValueError("has both --scale, which tests all GPU nodes, and --nodes: leave one of them out")
        if self.pool is not None and self.scale is None:
            raise ValueError("names a pool and not how large it is to be: add --scale and a number")
        return self


@dataclass(frozen=True)
class Subject:
    """What is tested: `nodes` that are there, by name; those that are made first, in `change`; and as many as `late`
    that were made and are no nodes yet, maybe by this very run."""

    nodes: tuple[GpuNode, ...]
    change: Change | None = None
    late: int = 0

    @property
    def new(self) -> int:
        """How many machines are made."""
        return self.change[1] - (self.change[0].count or 0) if self.change else 0

    @property
    def coming(self) -> int:
        """How many nodes are not there yet."""
        return self.new + self.late


class GpuTest(Operation[TestArguments]):
    """Runs NVIDIA's vectorAdd on the GPU nodes of a cluster."""

    name = "gpu test"
    summary = "Prove on each GPU node of a cluster that CUDA runs"
    examples = ("gpu test vision", "gpu test vision --scale 2")
    arguments = TestArguments

    def plan(self, arguments: TestArguments, world: ReadWorld) -> Plan:
        """Looks whether there are GPUs to test, and whether they are free."""
        start = opened(arguments, world)
        found, where, seen = start.found, start.where, list(start.checks)
        if found is None:
            return _plan(arguments, seen)
        kube, answered = reach(arguments.cluster, arguments.namespace, world)
        seen.append(answered)
        if kube is None:
            return _plan(arguments, seen)
        gpus = look(kube)
        state = diagnose(gpus, kube, world.now(), world.gpu().driver_patience)
        pools = pools_of(found, world.management()) if arguments.scale is not None else ()
        change = _change(arguments, found, pools)
        subject = Subject(_nodes(arguments, state), change, _late(pools, gpus))
        seen += [
            _usable(arguments, gpus, state, subject),
            *_free(kube, subject),
            *_growth(subject, found, where, start.aws),
        ]
        blocked = any(check.blocks for check in seen)
        steps = () if blocked else tuple(_steps(arguments, found, gpus, subject, world))
        return _plan(arguments, seen, subject, steps, where, world.now())

    def verify(self, arguments: TestArguments, plan: Plan, world: ReadWorld) -> list[Check]:
        """Reads the verdicts from the nodes anew. Fatal where one is not a pass: waiting would not mend it."""
        step = next(GpuTestStep.model_validate(s.model_dump()) for s in plan.steps if s.kind == "gpu-test")
        nodes = look(world.workload(arguments.namespace, arguments.cluster)).nodes
        mine = [(node, verdict) for node in nodes for verdict in [node.verdict]
                if verdict and verdict.request == world.request()]  # fmt: skip
        title = "CUDA ran on each node"
        if len(mine) < step.count:
            evidence = f"{len(mine)} of {step.count} nodes have this test's verdict."
            return [blocks("verify verdicts", title, evidence, "Ask for the test again.")]
        bad = [(node, verdict) for node, verdict in mine if verdict.result != PASS]
        if bad:
            hints = dict.fromkeys(advice(verdict.why) for _, verdict in bad)
            raise Fatal(f"{len(bad)} of {len(mine)} GPU nodes did not pass. {_why(bad)}.", " ".join(hints))
        return [
            passes(f"verify {node.name}", title, f"{node.name} ({node.product}, driver {node.driver or '?'}): "
                   f"Test PASSED in {verdict.seconds} s.")
            for node, verdict in mine
        ]  # fmt: skip

    def inverse(self, arguments: TestArguments, plan: Plan, touched: Sequence[int]) -> Inverse | None:
        """A test leaves nothing that could be taken back; a pool that was made larger can be made smaller again."""
        scaled = next((ScaleStep.model_validate(s.model_dump()) for s in plan.steps if s.kind == "scale"), None)
        if scaled is None or not any(plan.steps[position].kind == "scale" for position in touched):
            return None
        return Inverse(operation="cluster scale", arguments=back_to(arguments.place, scaled))


# -- what is tested ----------------------------------------------------------------------------------------------


def _nodes(arguments: TestArguments, state: Diagnosis) -> tuple[GpuNode, ...]:
    """All, or as many as are named: of those that can be used the untested first, then by name."""
    if arguments.nodes == "all":
        return tuple(node for node, _ in state.by_node)
    in_order = sorted(state.usable, key=lambda node: (node.verdict is not None, node.name))
    return tuple(in_order[: int(arguments.nodes)])


def _late(pools: Sequence[LivePool], gpus: Gpus) -> int:
    """How many machines of the GPU pools are no nodes yet."""
    return max(0, sum(pool.count or 0 for pool in pools if pool.has_gpus) - len(gpus.nodes))


def _change(arguments: TestArguments, found: ClusterObjects, pools: Sequence[LivePool]) -> Change | None:
    """The pool that is made larger first. UsageError where it is not clear which, or where it would become smaller."""
    if arguments.scale is None:
        return None
    gpu_pools = [pool for pool in pools if pool.has_gpus]
    if arguments.pool is not None:
        pool = named(pools, arguments.pool, found.name)
    elif len(gpu_pools) == 1:
        pool = gpu_pools[0]
    else:
        names = ", ".join(pool.short for pool in gpu_pools)
        said = f"has several GPU pools: {names}" if gpu_pools else "has no GPU pool"
        raise UsageError(f"The cluster {found.name} {said}.", "Name one with --pool." if gpu_pools else "")
    if not pool.has_gpus:
        raise UsageError(f"The pool {pool.short} has no GPUs ({pool.type}).", "Name a pool of GPU machines.")
    have = pool.count or 0
    if arguments.scale < have:
        hint = f"To make it smaller: `/tkg cluster scale {found.name} --pool {pool.short} --workers {arguments.scale}`."
        raise UsageError(f"The pool {pool.short} has {have} machines already.", hint)
    return (pool, arguments.scale) if arguments.scale > have else None


def _why(bad: Sequence[tuple[GpuNode, Verdict]]) -> str:
    """Each reason once, with its nodes: ten nodes with one driver are one sentence."""
    by_reason: dict[str, list[str]] = {}
    for node, verdict in bad:
        by_reason.setdefault(f"{verdict.result}: {verdict.why}", []).append(node.name)
    return "; ".join(f"{some(names)} {reason}" for reason, names in by_reason.items())


# -- the checks --------------------------------------------------------------------------------------------------


def _usable(arguments: TestArguments, gpus: Gpus, state: Diagnosis, subject: Subject) -> Check:
    if state.whole is not None and not state.usable and not (state.whole.waits and arguments.scale):
        return blocks("gpus", USABLE, f"None: {state.whole.evidence}.", state.whole.fix)
    if not gpus.nodes and not subject.coming:
        fix = "Make a pool of them (`/tkg cluster create … --gpu`), or make its pool larger with --scale."
        return blocks("gpus", USABLE, f"{arguments.cluster} has no node with NVIDIA GPUs.", fix)
    wanted = {node.name for node in subject.nodes}
    bad = [(node, found) for node, found in state.by_node if found is not None and node.name in wanted]
    if bad and arguments.scale is not None:
        evidence = f"{bad[0][0].name}: {bad[0][1].evidence}."
        return warns("gpus", USABLE, evidence, "The run waits until it can be used.")
    if bad:
        node, found = bad[0]
        rest = f" {len(bad) - 1} more cannot be used." if len(bad) > 1 else ""
        others = f" The others can be tested alone: --nodes {len(state.usable)}." if state.usable else ""
        return blocks("gpus", USABLE, f"{node.name}: {found.evidence}.{rest}", f"{found.fix}{others}")
    if arguments.nodes != "all" and len(subject.nodes) < int(arguments.nodes):
        evidence = f"{len(subject.nodes)} GPU nodes can be used, and {arguments.nodes} were asked for."
        return blocks("gpus", USABLE, evidence, "Ask for fewer, or for all.")
    return passes("gpus", USABLE, f"{counted(len(subject.nodes), 'node')}: {', '.join(sorted(wanted)) or 'none yet'}.")


def _free(kube: KubeRead, subject: Subject) -> list[Check]:
    """GPUs are not shared: where all of a node's are in use, the test waits."""
    used: Counter[str] = Counter()
    holders: dict[str, str] = {}
    for pod in kube.pages(POD):
        asked = sum(quantity(at(c, "resources", "limits", GPU)) for c in objects_at(pod, "spec", "containers"))
        node = text(pod, "spec", "nodeName")
        if asked and node and text(pod, "status", "phase") in ("Running", "Pending"):
            used[node] += asked
            holders[node] = f"{text(pod, 'metadata', 'namespace')}/{name_of(pod)}"
    busy = [node.name for node in subject.nodes if node.allocatable and used[node.name] >= node.allocatable]
    if busy:
        evidence = "; ".join(f"{name}: all in use ({holders[name]})" for name in busy[:5]) + "."
        return [
            warns("free", FREE, evidence, "The test waits for one, and comes to nothing when none is free in time.")
        ]
    return [passes("free", FREE, "Every node has one.")] if subject.nodes else []


def _growth(subject: Subject, found: ClusterObjects, where: Where, aws: AwsRead) -> list[Check]:
    return growth([subject.change], found, where, aws) if subject.change else []


# -- the plan ----------------------------------------------------------------------------------------------------


def _steps(
    arguments: TestArguments, found: ClusterObjects, gpus: Gpus, subject: Subject, world: ReadWorld
) -> list[Step]:
    settings, steps = world.gpu(), []
    place = {"namespace": arguments.namespace, "cluster": arguments.cluster}
    target = (f"gpus of {arguments.namespace}/{arguments.cluster}",)
    if subject.change is not None:
        steps += scaling(arguments.namespace, found, [subject.change], world)
    if arguments.scale is not None:
        steps.append(
            AwaitGpusStep(
                title=f"wait until {'the new' if subject.change else 'all'} GPUs can be used",
                targets=target,
                nodes=len(gpus.nodes) + subject.coming,
                known=tuple(node.name for node in gpus.nodes),
                patience=settings.driver_patience,
                grace=world.clusters().failure_grace,
                **place,
            )
        )
    there = f"{arguments.namespace}/{arguments.cluster}"
    count = len(subject.nodes) + subject.coming
    names = () if subject.coming else tuple(node.name for node in subject.nodes)
    jobs = [""] if subject.coming else [job_name(world.request(), node.uid) for node in subject.nodes]

    def on_jobs(*verbs: str) -> tuple[Right, ...]:
        """Of these Jobs alone; machines that are not there yet have no names."""
        place = {"resource": JOB.resource, "namespace": NAMESPACE, "cluster": there}
        return tuple(Right(verb=verb, name=name, **place) for name in jobs for verb in verbs)

    return [
        *steps,
        GpuTestStep(
            title=f"run the CUDA test on {counted(count, 'GPU node')}",
            targets=target,
            rights=on_jobs("create", "patch"),
            nodes=names,
            count=count,
            image=settings.test_image,
            timeout=arguments.timeout * 60 if arguments.timeout else settings.test_timeout,
            keep=settings.keep_jobs,
            **place,
        ),
        GpuVerdictStep(
            title="write the verdict on each node",
            targets=target,
            rights=tuple(
                Right(verb="patch", resource=NODE.resource, name=name, cluster=there) for name in names or ("",)
            ),
            nodes=names,
            count=count,
            **place,
        ),
        GpuCleanStep(
            title="take the test's Jobs away",
            targets=target,
            rights=on_jobs("delete"),
            **place,
        ),
    ]


def _plan(
    arguments: TestArguments,
    seen: Sequence[Check],
    subject: Subject | None = None,
    steps: tuple[Step, ...] = (),
    where: Where | None = None,
    now: float = 0.0,
) -> Plan:
    count = len(subject.nodes) + subject.coming if subject else 0
    what = f"test GPUs of {arguments.cluster}" + (f" on {counted(count, 'node')}" if count else "")
    if arguments.scale is not None:
        pool = subject.change[0].short if subject and subject.change else arguments.pool or "the GPU pool"
        what = f"scale {pool} to {arguments.scale} and {what}"
    nodes = subject.nodes if subject else ()
    targets = tuple(dict.fromkeys(target for step in steps for target in step.targets))
    return Plan(
        headline=what,
        checks=tuple(seen),
        facts=tuple(Fact(name=node.name, value=node.uid, material=False) for node in nodes),
        targets=targets,
        steps=steps,
        impact=_impact(arguments, subject, steps, where),
        details=_table(nodes, subject, now) if steps else None,
    )


def _impact(arguments: TestArguments, subject: Subject | None, steps: Sequence[Step], where: Where | None) -> Impact:
    if not steps or subject is None or where is None:
        return Impact(reversible=True, cost_per_hour_usd=0.0)
    verdicts = tuple(f"the verdict on {node.name}" for node in subject.nodes)
    if subject.change is None:
        return Impact(changes=verdicts, reversible=None, cost_per_hour_usd=0.0)
    pool = subject.change[0]
    back = f"/tkg cluster scale {arguments.cluster} --pool {pool.short} --workers {pool.count}"
    return impact_of([subject.change], where).model_copy(update={"changes": verdicts, "undo": back})


def _table(nodes: Sequence[GpuNode], subject: Subject | None, now: float) -> Table:
    rows = [(node.name, node.type, node.product, str(node.allocatable), tested(node, now)) for node in nodes]
    if subject is not None and subject.change is not None:
        pool: LivePool = subject.change[0]
        rows += [(f"new in {pool.short}", pool.type, "", "", "never")] * subject.new
    if subject is not None:
        rows += [("made, and no node yet", "", "", "", "never")] * subject.late
    return Table(header=("Node", "Type", "GPU", "Allocatable", "Last test"), rows=tuple(rows))


OPERATIONS = (GpuTest(),)
