"""Waiting until the GPUs of a cluster can be used: every one, on as many nodes as there are to be.

Drivers compile for minutes: that is told as such. What time does not mend is given a while, because controllers try
again; then the run is parked with the cause and what to do.
"""

from __future__ import annotations

import re
from typing import Literal

from pydantic import ConfigDict

from handlers.contract import Fatal, NeedsPerson, Observation, Outcome, RunWorld, Step
from handlers.gpu.diagnosis import WORDS, Diagnosis, diagnose
from handlers.gpu.pods import is_fine
from handlers.gpu.seen import CHAIN, Gpus, look

TOLD_ONE_BY_ONE = 4
"""Up to so many nodes each link of the chain is told; of more, only how many can be used."""


class AwaitGpusStep(Step):
    """Waits until at least `nodes` nodes of a cluster have all their GPUs; of those in `known`, which had them before,
    nothing is told. `patience` says how long a driver may compile, `grace` how long controllers may go on trying after
    a failure (seconds)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["await-gpus"] = "await-gpus"
    namespace: str
    cluster: str
    nodes: int
    known: tuple[str, ...] = ()
    patience: float
    grace: float


class AwaitGpusExecutor:
    """Observes the cluster itself; there is nothing to apply."""

    def observe(self, step: AwaitGpusStep, world: RunWorld) -> Observation:
        """So when the chain holds on every node, and there are enough of them; without any, when the operator and its
        policy are ready. NeedsPerson where the cluster does not know the bot any more: what was built
        stays, and a resumed run goes on."""
        kube = world.workload(step.namespace, step.cluster)
        try:
            seen = look(kube)
        except Fatal as error:
            raise NeedsPerson(error.message, error.hint) from error
        found = diagnose(seen, kube, world.now(), step.patience)
        reached = _reached(seen, found, step.known)
        if is_usable(seen, found, step.nodes):
            return Observation(so=True, evidence=told(seen, found), reached=reached)
        patience = step.grace if found.broken else step.patience
        return Observation(
            so=False, evidence=_waits_for(seen, found, step), progress=_progress(seen, found), patience=patience,
            reached=reached,
        )  # fmt: skip

    def apply(self, step: AwaitGpusStep, world: RunWorld) -> Outcome:
        """Nothing is done: others do it."""
        return Outcome(changed=True, evidence="The GPU operator is at work.")


def is_usable(seen: Gpus, found: Diagnosis, nodes: int) -> bool:
    """Can every GPU be used, on so many nodes at least?"""
    if nodes == 0 and not seen.nodes:
        return found.whole is None and seen.state == "ready"
    return found.is_well and len(seen.nodes) >= nodes


def told(seen: Gpus, found: Diagnosis) -> str:
    """How many GPUs can be used."""
    if not seen.nodes:
        return "The GPU operator is ready; there is no node with GPUs, so there is nothing that it could show."
    count, gpus = len(found.usable), seen.allocatable
    return f"{gpus} GPU{'s' * (gpus != 1)} can be used on {count} of {len(seen.nodes)} GPU nodes."


def _waits_for(seen: Gpus, found: Diagnosis, step: AwaitGpusStep) -> str:
    first = next(iter((*found.broken, *found.findings)), None)
    if first is None and len(seen.nodes) < step.nodes:
        return f"{len(seen.nodes)} of {step.nodes} GPU nodes are there."
    if first is None:
        return f"The ClusterPolicy is {seen.state or 'without a state'} yet."
    return f"{first.sentence}. {first.fix}"


def _progress(seen: Gpus, found: Diagnosis) -> str:
    """Changes with every link that comes, never with seconds or counts that only grow."""
    each = [f"{node.name} {re.sub(r'[0-9]+', '#', what.evidence) if what else 'well'}" for node, what in found.by_node]
    whole = re.sub(r"[0-9]+", "#", found.whole.evidence) if found.whole else ""
    return f"{whole}|{seen.state}|{'|'.join(each)}|{seen.allocatable}"[:2000]


def _reached(seen: Gpus, found: Diagnosis, known: tuple[str, ...]) -> tuple[str, ...]:
    if len(seen.nodes) > TOLD_ONE_BY_ONE:
        step = max(1, len(seen.nodes) // TOLD_ONE_BY_ONE)
        count = len(found.usable) - len(found.usable) % step
        return (f"GPUs can be used on {count} of {len(seen.nodes)} nodes.",) if count else ()
    said: list[str] = []
    for node in seen.nodes:
        if node.name in known:
            continue
        if node.discovered:
            said.append(f"{node.name}: an NVIDIA device was found.")
        for app in CHAIN:
            pod = node.pod(app)
            if pod is not None and is_fine(pod):
                said.append(f"{node.name}: {WORDS[app]} is ready.")
        if node.allocatable:
            said.append(f"{node.name}: {node.allocatable} GPU{'s' * (node.allocatable != 1)} can be asked for.")
    return tuple(said)
