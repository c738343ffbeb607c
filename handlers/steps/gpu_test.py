"""The CUDA test of a cluster's GPU nodes: Jobs made and waited for, verdicts written on the nodes, Jobs taken away.

The verdict stands on the node itself, as an annotation: whoever asks later sees it, and it goes when the node goes.
Every step can be walked through again after a crash: a node that has this request's verdict is done.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from pydantic import ConfigDict

from handlers.conditions import at, seconds, text
from handlers.contract import (
    Board,
    Exhibit,
    Fatal,
    File,
    Json,
    KubeRefused,
    Observation,
    Outcome,
    RunWorld,
    Sheet,
    Step,
    Table,
    Tile,
)
from handlers.gpu.job import FAIL, NAMESPACE, OPEN, PASS, Trial, judged, render_job, stored, trials
from handlers.gpu.seen import VERDICT, GpuNode, Verdict, look
from handlers.kinds import JOB, NODE

COLUMNS = ("NODE", "VERDICT", "GPU", "ALLOCATABLE", "DRIVER", "CUDA", "SECONDS", "TYPE", "ZONE")
GRACE = 30.0
"""Seconds that a test's image may fail to be pulled before the test comes to nothing."""
LATE = 120.0
"""Seconds beyond a test's own time before nothing more is waited for."""
TONES: Mapping[str, Literal["good", "bad", "warn"]] = {PASS: "good", FAIL: "bad", OPEN: "warn"}


class GpuTestStep(Step):
    """Makes a Job for each of `nodes`, or for all GPU nodes where none is named, and waits until all have ended; there
    are at least `count`. `timeout` and `keep` are in seconds, as the Job has them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["gpu-test"] = "gpu-test"
    namespace: str
    cluster: str
    nodes: tuple[str, ...] = ()
    count: int
    image: str
    timeout: int
    keep: int


class GpuVerdictStep(Step):
    """Writes each verdict on its node; `nodes` and `count` as those of the test."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["gpu-verdict"] = "gpu-verdict"
    namespace: str
    cluster: str
    nodes: tuple[str, ...] = ()
    count: int


class GpuCleanStep(Step):
    """Takes the test's Jobs away, with their pods."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["gpu-clean"] = "gpu-clean"
    namespace: str
    cluster: str


class GpuTestExecutor:
    """Observes Jobs and nodes."""

    def observe(self, step: GpuTestStep, world: RunWorld) -> Observation:
        """So when each node has this request's verdict, or a Job that has ended or comes to nothing."""
        kube = world.workload(step.namespace, step.cluster)
        nodes = chosen(look(kube).nodes, step.nodes)
        if len(nodes) < step.count:
            evidence = f"{len(nodes)} of {step.count} GPU nodes are there."
            return Observation(so=False, evidence=evidence, progress=str(len(nodes)), patience=LATE)
        known = trials(kube, world.request())
        begun = [node for node in nodes if node.uid in known or _has_verdict(node, world.request())]
        nodes = begun if len(begun) >= step.count else nodes  # one that came later is not tested, nor waited for
        open_ = [node for node in nodes if not _is_done(node, known.get(node.uid), world)]
        waits = {node.name: trial.waits for node in open_ for trial in [known.get(node.uid)] if trial and trial.waits}
        reached = tuple(f"{name}: the test has not begun yet. {why}" for name, why in sorted(waits.items()))
        done = len(nodes) - len(open_)
        evidence = f"{done} of {len(nodes)} tests have ended."
        if not open_:
            return Observation(so=True, evidence=evidence, reached=reached)
        first = next((f"{name}: {why}" for name, why in sorted(waits.items())), "")
        return Observation(
            so=False, evidence=f"{evidence} {first}".strip(), progress=f"{done} {sorted(known)}",
            patience=step.timeout + LATE, reached=reached,
        )  # fmt: skip

    def apply(self, step: GpuTestStep, world: RunWorld) -> Outcome:
        """Makes the Jobs that are not there yet."""
        kube = world.workload(step.namespace, step.cluster)
        request = world.request()
        known, made = trials(kube, request), []
        for node in chosen(look(kube).nodes, step.nodes):
            if node.uid in known or _has_verdict(node, request):
                continue
            try:
                kube.apply(render_job(request, node, step.image, step.timeout, step.keep))
            except KubeRefused as error:
                raise Fatal(error.message, error.hint) from error
            made.append(node.name)
        return Outcome(changed=bool(made), evidence=f"Began the test on {', '.join(made) or 'no further node'}.")


class GpuVerdictExecutor:
    """Observes the nodes' annotations."""

    def observe(self, step: GpuVerdictStep, world: RunWorld) -> Observation:
        """So when every node that was tested has this request's verdict. Then they are shown."""
        kube = world.workload(step.namespace, step.cluster)
        request = world.request()
        nodes = chosen(look(kube).nodes, step.nodes)
        given = [
            (node, verdict) for node in nodes for verdict in [node.verdict] if verdict and verdict.request == request
        ]
        known = trials(kube, request)
        lacking = [node for node in nodes if node.uid in known and not _has_verdict(node, request)]
        if lacking:
            return Observation(so=False, evidence=f"{len(given)} verdicts are written.")
        if len(given) < step.count:
            left = f"{len(given)} of {step.count} tested nodes are left"
            raise Fatal(f"{left}: the test of one that is gone says nothing of another by its name.", "Ask again.")
        logs = [_log(trial, node, verdict, step, world) for node, verdict in given if verdict.result != PASS
                for trial in [known.get(node.uid)] if trial is not None]  # fmt: skip
        shown: list[Exhibit] = [sheet(step.cluster, given), *[log for log in logs if log], board(step.cluster, given)]
        return Observation(so=True, evidence=counted(given), exhibits=tuple(shown))

    def apply(self, step: GpuVerdictStep, world: RunWorld) -> Outcome:
        """Judges each test and writes the verdict, on that very node."""
        kube = world.workload(step.namespace, step.cluster)
        request = world.request()
        known, written = trials(kube, request), 0
        for node in chosen(look(kube).nodes, step.nodes):
            trial = known.get(node.uid)
            if trial is None or _has_verdict(node, request):
                continue
            verdict, _ = judged(trial, kube, request, world.now())
            path = f"/metadata/annotations/{VERDICT.replace('/', '~1')}"
            has_notes = isinstance(at(node.item, "metadata", "annotations"), dict)
            empty: list[Json] = [] if has_notes else [{"op": "add", "path": "/metadata/annotations", "value": {}}]
            operations: list[Json] = [
                {"op": "test", "path": "/metadata/uid", "value": node.uid},
                *empty,
                {"op": "add", "path": path, "value": stored(verdict)},
            ]
            try:
                kube.patch(NODE, node.name, "", operations)
            except KubeRefused as error:
                raise Fatal(error.message, error.hint) from error
            written += 1
        return Outcome(changed=bool(written), evidence=f"Wrote {written} verdicts.")


class GpuCleanExecutor:
    """Observes Jobs by the request's label."""

    def observe(self, step: GpuCleanStep, world: RunWorld) -> Observation:
        """So when no Job of this request is left."""
        left = trials(world.workload(step.namespace, step.cluster), world.request())
        evidence = "No Job of the test is left." if not left else f"{len(left)} Jobs of the test are left."
        return Observation(so=not left, evidence=evidence, progress=str(len(left)), patience=LATE)

    def apply(self, step: GpuCleanStep, world: RunWorld) -> Outcome:
        """Deletes them."""
        kube = world.workload(step.namespace, step.cluster)
        known = trials(kube, world.request())
        for trial in known.values():
            meta = trial.job["metadata"]
            kube.delete(JOB, str(meta["name"]), NAMESPACE, str(meta["uid"]))
        return Outcome(changed=bool(known), evidence=f"Asked to delete {len(known)} Jobs.")


def chosen(nodes: Iterable[GpuNode], names: tuple[str, ...]) -> list[GpuNode]:
    """Those that are named, or all. Fatal where a named one is gone."""
    found = [node for node in nodes if not names or node.name in names]
    gone = sorted(set(names) - {node.name for node in found})
    if gone:
        raise Fatal(f"The node {gone[0]} is not there any more, so it cannot be tested.", "Ask again.")
    return found


def counted(given: Iterable[tuple[GpuNode, Verdict]]) -> str:
    """`2 of 2 GPU nodes passed.`"""
    results = [verdict.result for _, verdict in given]
    return f"{results.count(PASS)} of {len(results)} GPU nodes passed."


def sheet(cluster: str, given: list[tuple[GpuNode, Verdict]]) -> Sheet:
    """The result as a table, a row a node, what matters first: a phone shows two columns. Reasons only where there are
    any."""
    all_passed = all(verdict.result == PASS for _, verdict in given)
    rows = tuple(_row(node, verdict, with_reason=not all_passed) for node, verdict in given)
    header = COLUMNS if all_passed else (*COLUMNS, "WHY")
    title = f"CUDA test of {cluster}: {counted(given)}"
    return Sheet(tone="good" if all_passed else "bad", title=title, table=Table(header=header, rows=rows))


def _row(node: GpuNode, verdict: Verdict, *, with_reason: bool) -> tuple[str, ...]:
    row = (
        node.name, verdict.result, node.product or "-", str(node.allocatable), node.driver or "-", node.cuda or "-",
        str(verdict.seconds), node.type, node.zone or "-",
    )  # fmt: skip
    return (*row, "-" if verdict.result == PASS else verdict.why) if with_reason else row


def board(cluster: str, given: list[tuple[GpuNode, Verdict]]) -> Board:
    """The same at a glance."""
    tiles = tuple(
        Tile(
            title=node.name,
            lines=(
                f"{node.allocatable} × {node.product or node.type}",
                f"{node.type} · {node.zone or 'zone not known'}",
                f"driver {node.driver or '?'} · CUDA {node.cuda or '?'}",
                verdict.result.upper(),
            ),
            tone=TONES.get(verdict.result, "warn"),
        )
        for node, verdict in given
    )  # fmt: skip
    return Board(name=f"gpu-test-{cluster}", title=f"CUDA test of {cluster}: {counted(given)}", tiles=tiles)


def _log(trial: Trial, node: GpuNode, verdict: Verdict, step: GpuVerdictStep, world: RunWorld) -> File | None:
    """The log of a test that did not pass; none where the pod never ran."""
    kube = world.workload(step.namespace, step.cluster)
    _, log = judged(trial, kube, world.request(), verdict.at)
    if not log.strip():
        return None
    return File(name=f"cuda-test-{node.name}.log", title=f"Log of the CUDA test on {node.name}", text=log)


def _has_verdict(node: GpuNode, request: str) -> bool:
    return node.verdict is not None and node.verdict.request == request


def _is_done(node: GpuNode, trial: Trial | None, world: RunWorld) -> bool:
    if _has_verdict(node, world.request()):
        return True
    if trial is None:
        return False
    return trial.ended or _comes_to_nothing(trial, world.now())


def _comes_to_nothing(trial: Trial, now: float) -> bool:
    """An image that cannot be pulled is tried for ever."""
    found = trial.trouble
    if found is None or found.kind != "pull" or trial.pod is None:
        return False
    begun = begun_at(trial)
    return begun is not None and now - begun > GRACE


def begun_at(trial: Trial) -> float | None:
    """When the Job was begun (epoch seconds)."""
    return seconds(text(trial.job, "status", "startTime")) or seconds(text(trial.job, "metadata", "creationTimestamp"))
