"""A management cluster whose controllers really work on the sandbox's AWS, and the operations side in front of it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from handlers.contract import Caller, Check, NeedsPerson, Observation, Plan
from handlers.settings import OperationsSettings
from handlers.workshop import TeamWorkshop
from sandbox.kube.world import ClusterWorld
from tests.contract.imitation import Loop
from tests.contract.server import wait_for
from tests.unit.clouds import CALLER, SETTINGS, Cloud, asked, planned
from tests.unit.kubes import Kube

SECONDS = 30.0


@dataclass
class Living:
    """The world. `ahead` is how many seconds the bot's clock is ahead of the others'."""

    cloud: Cloud
    world: ClusterWorld
    kube: Kube
    shop: TeamWorkshop
    ahead: float = 0.0

    def faults(self, **changes: Any) -> None:
        """Switches of the API server and of the controllers."""
        self.kube.call(lambda: self.world.set_faults(changes))

    def calm(self) -> None:
        """Every fault off, the clocks together."""
        self.faults(**dict.fromkeys(self.world.get_faults()))
        self.faults(pace=0)
        self.cloud.sandbox.set_faults(dict.fromkeys(self.cloud.sandbox.get_faults()))
        self.ahead = 0.0

    def workload(self, cluster: str = "shop") -> Kube:
        """A workload cluster's own API server, by its administrator."""
        found = self.kube.call(lambda: self.world.workload(cluster))
        return Kube(found.kube, self.kube.loop, self.kube.folder)

    def plan(self, operation: str, cluster: str = "shop", **arguments: Any) -> Plan:
        """A plan, from the words as they would be typed."""
        return planned(self.shop, operation, cluster=cluster, **arguments)

    def create(self, cluster: str = "shop") -> Plan:
        """A dev cluster, made and waited for."""
        plan = self.plan("cluster create", cluster, plan="dev", vpc=self.cloud.vpc())
        self.run(plan)
        return plan

    def begin(self, cluster: str) -> None:
        """The objects of a cluster, without waiting for it."""
        plan = self.plan("cluster create", cluster, plan="dev", vpc=self.cloud.vpc())
        caller = caller_of(plan)
        for step in plan.steps[:-2]:
            self.shop.act(step.model_dump(mode="json"), caller)

    def run(self, plan: Plan) -> list[Observation]:
        """Carries out a plan with exactly its rights, waiting for each step; what was seen at each one's end."""
        assert not plan.blocked, [check for check in plan.checks if check.blocks]
        return [self.until_so(plan, position) for position in range(len(plan.steps))]

    def until_so(self, plan: Plan, position: int) -> Observation:
        """Does one step and waits until it is so."""
        step, caller = plan.steps[position].model_dump(mode="json"), caller_of(plan)
        self.shop.act(step, caller)
        seen: list[Observation] = []

        def so() -> bool:
            try:
                seen.append(self.shop.observe(step, caller))
            except NeedsPerson as error:
                raise AssertionError(f"{error.message} {error.hint}") from error
            return seen[-1].so

        wait_for(so, plan.steps[position].title, SECONDS)
        return seen[-1]

    def proof(self, operation: str, plan: Plan, cluster: str = "shop", **arguments: Any) -> dict[str, Check]:
        """The checks of a verification, by id."""
        whole = asked(self.shop, operation, cluster=cluster, **arguments)
        return by_id(self.shop.verify(operation, whole, plan, CALLER))


def by_id(checks: Sequence[Check]) -> dict[str, Check]:
    """Checks by id; two of one id are a mistake."""
    found = {check.id: check for check in checks}
    assert len(found) == len(checks), "two checks have one id"
    return found


def caller_of(plan: Plan) -> Caller:
    """Whoever holds exactly the plan's actions and rights."""
    return replace(
        CALLER,
        actions=tuple(action for step in plan.steps for action in step.actions),
        rights=tuple(right for step in plan.steps for right in step.rights),
    )


@contextmanager
def running_clusters(cloud: Cloud, folder: Path, generation: str = "current") -> Iterator[Living]:
    """A management cluster on a running AWS, as fast as it goes."""
    loop, world = Loop(), ClusterWorld(cloud.sandbox, generation)
    try:
        loop.run(world.start())
        try:
            kube = Kube(world.kube, loop, folder)
            settings = SETTINGS.model_dump()
            settings["management_cluster"] = {"kubeconfig": kube.file("tkgbot"), "connect_timeout": 2}
            settings["clusters"] = {
                "kubernetes_version": "v1.33.1", "ssh_key": "ops", "no_progress": 20, "failure_grace": 1,
            }  # fmt: skip
            made = Living(cloud, world, kube, None)  # type: ignore[arg-type]
            made.shop = TeamWorkshop(OperationsSettings.model_validate(settings), lambda: time.time() + made.ahead)
            made.calm()
            yield made
        finally:
            loop.run(world.stop())
    finally:
        loop.stop()
