"""A workload cluster with GPUs behind a real API server, its clock by hand, and the operations side in front of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from handlers.clients.kube import Cluster
from handlers.contract import Caller, Check, Json, Observation, Outcome, Plan, Report, Right, Step
from handlers.kinds import CLUSTER as CAPI_CLUSTER
from handlers.settings import OperationsSettings
from handlers.workshop import TeamWorkshop
from sandbox.kube import KubeSandbox, Store
from tests.contract.imitation import Loop
from tests.unit.blueprints import GENERATIONS, rendered
from tests.unit.clouds import CALLER, REGION, SETTINGS, Cloud, asked, planned
from tests.unit.insides import START, TAINT, Place, installation
from tests.unit.kubes import Kube, running_kube
from tests.unit.living import by_id
from tests.unit.preflights import layout, pool

CLUSTER = "vision"
THERE = f"default/{CLUSTER}"
REQUEST = CALLER.request


class Workload(Place):
    """A cluster's inside that can also be asked over HTTPS. Nobody asks while time passes, so one thread is enough."""

    def __init__(self, pace: float = 0.0) -> None:
        self.server: KubeSandbox | None = None
        super().__init__(pace)

    def new_store(self) -> Store:
        self.server = KubeSandbox(clock=self.now, name=CLUSTER)
        return self.server.store

    def now(self) -> float:
        """Epoch seconds."""
        return START + self.seconds

    def node(self, name: str, kind: str = "g4dn.xlarge", root: int = 100, **more: Any) -> None:
        """With the labels of its cloud."""
        super().node(name, kind, root, **more)
        labels = {"node.kubernetes.io/instance-type": kind, "topology.kubernetes.io/zone": f"{REGION}a"}
        self.change("nodes", name, labels=labels)

    def begun(self, *kinds: str, **spec: Any) -> Workload:
        """A plain node, GPU nodes with their taint, and an installation that has just been applied."""
        self.node("plain", "t3.large")
        for number, kind in enumerate(kinds or ("g4dn.xlarge",)):
            self.node(f"gpu-{number}", kind, taints=[TAINT])
        self.apply(*installation(**spec))
        self.inside.settle()
        return self

    def change(self, resource: str, name: str, namespace: str = "", **metadata: Any) -> None:
        """Merges labels or annotations into an object."""
        self.store.patch(resource, name, namespace, {"metadata": metadata})


@dataclass
class GpuWorld:
    """The management cluster has the objects of `vision`, which nobody reconciles; `place` is its inside."""

    cloud: Cloud
    kube: Kube
    shop: TeamWorkshop
    place: Workload

    def serve(self, place: Workload) -> Workload:
        """From now on this is the inside of `vision`."""
        old, self.place = self.place, place
        assert place.server is not None
        if old.server is not None:
            self.kube.loop.run(old.server.stop())
        self.kube.loop.run(place.server.start())
        self.kube.keep_kubeconfig(place.server.kubeconfig("admin"), CLUSTER)
        return place

    def seen(self, rights: tuple[Right, ...] | None = None) -> Cluster:
        """The inside, as the bot sees it."""
        return self.shop.reach.kube.workload("default", CLUSTER, rights)

    def seen_version(self) -> str:
        """Of the Cluster API that is served."""
        return self.kube.cluster().version(CAPI_CLUSTER)

    def plan(self, operation: str, **arguments: Any) -> Plan:
        """A plan, from the words as they would be typed."""
        return planned(self.shop, operation, cluster=CLUSTER, **arguments)

    def checks(self, operation: str, **arguments: Any) -> dict[str, Check]:
        """The checks of a plan, by id."""
        return by_id(self.plan(operation, **arguments).checks)

    def report(self) -> Report:
        """`gpu status`."""
        return self.shop.report("gpu status", asked(self.shop, "gpu status", cluster=CLUSTER), CALLER)

    def act(self, step: Step, **caller: Any) -> Outcome:
        """Does one step with exactly its rights; then the cluster's controllers do theirs."""
        done = self.shop.act(step.model_dump(mode="json"), caller_of(step, **caller))
        self.place.inside.settle()
        return done

    def see(self, step: Step) -> Observation:
        """How things stand for a step."""
        return self.shop.observe(step.model_dump(mode="json"), caller_of(step))

    def run(self, plan: Plan, seconds: float = 0.0) -> list[Observation]:
        """Carries out a plan, letting time pass after each step; what was seen at each one's end."""
        assert not plan.blocked, [check for check in plan.checks if check.blocks]
        seen = []
        for step in plan.steps:
            self.act(step)
            if seconds:
                self.place.go(seconds)
            seen.append(self.see(step))
            assert seen[-1].so, f"{step.title}: {seen[-1].evidence}"
        return seen

    def proof(self, operation: str, plan: Plan, **arguments: Any) -> dict[str, Check]:
        """The checks of a verification, by id."""
        whole = asked(self.shop, operation, cluster=CLUSTER, **arguments)
        return by_id(self.shop.verify(operation, whole, plan, CALLER))


def caller_of(*steps: Step, **changes: Any) -> Caller:
    """Whoever holds exactly the rights of these steps."""
    return replace(CALLER, rights=tuple(right for step in steps for right in step.rights), **changes)


def rights_of(step: Step) -> set[tuple[str, ...]]:
    """Verb, resource, namespace, name and cluster of each right."""
    return {(r.verb, r.resource, r.namespace, r.name, r.cluster) for r in step.rights}


def cluster_objects(cloud: Cloud, generation: str = "current", *pools: Any) -> tuple[Json, ...]:
    """The objects of `vision`: a control plane machine, an ordinary pool and one of GPUs, in subnets that exist."""
    made = pools or (
        pool("control-plane", type="t3.large"), pool("md-0", f"{REGION}a"),
        replace(pool("md-gpu", f"{REGION}a", type="g4dn.xlarge"), gpu=True, taint=True, disk=100),
    )  # fmt: skip
    return rendered(layout(cloud, cluster=CLUSTER, pools=made), GENERATIONS[generation])


@contextmanager
def running_gpus(cloud: Cloud, folder: Path, generation: str = "current", **gpu: Any) -> Iterator[GpuWorld]:
    """A management cluster with `vision`, whose inside is still empty."""
    with running_kube(folder, generation) as kube:
        for item in cluster_objects(cloud, generation):
            kube.put(item)
        settings = SETTINGS.model_dump()
        settings["management_cluster"] = {"kubeconfig": kube.file(), "connect_timeout": 2, "read_timeout": 5}
        settings["gpu"] = gpu
        world = GpuWorld(cloud, kube, None, Workload())  # type: ignore[arg-type]
        world.shop = TeamWorkshop(OperationsSettings.model_validate(settings), lambda: world.place.now())
        try:
            yield world
        finally:
            assert world.place.server is not None
            kube.loop.run(world.place.server.stop())


@contextmanager
def served(place: Workload, folder: Path) -> Iterator[Cluster]:
    """The inside alone, to look at."""
    loop, server = Loop(), place.server
    assert server is not None
    try:
        loop.run(server.start())
        try:
            yield Kube(server, loop, folder).cluster()
        finally:
            loop.run(server.stop())
    finally:
        loop.stop()
