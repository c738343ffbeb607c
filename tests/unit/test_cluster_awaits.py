"""Waiting for a cluster and for a load balancer: what is reached, what moves, and when somebody has to look."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from handlers.clients.aws_errors import Denied
from handlers.contract import Fatal, NeedsPerson, Observation, Retry, Right
from handlers.kinds import AWS_CLUSTER, AWS_MACHINE, CLUSTER, CONTROL_PLANE, MACHINE, MACHINE_DEPLOYMENT, SERVICE
from handlers.network import cluster_key
from handlers.steps.await_balancer import AwaitBalancerExecutor, AwaitBalancerStep
from handlers.steps.await_cluster import AwaitClusterExecutor, AwaitClusterStep, Stage
from tests.unit.clouds import REGION, Cloud
from tests.unit.coming import VERSIONS, Coming
from tests.unit.kubes import Kube, Sight, running_kube
from tests.unit.preflights import Eyes
from tests.unit.seen_clusters import QUOTA, condition

pytestmark = pytest.mark.long

CLUSTER_EXECUTOR, BALANCER = AwaitClusterExecutor(), AwaitBalancerExecutor()
CAUSED_AT = datetime(2026, 9, 21, 13, tzinfo=UTC).timestamp()
GRACE = 300.0


@dataclass
class Waited(Coming):
    """One that is waited for."""

    def observe(self, stage: Stage = "control-plane", *, after: float = 0.0, user: str = "admin") -> Observation:
        """What the wait sees, `after` seconds after the stamp of conditions."""
        step = AwaitClusterStep(
            title="t", targets=("cluster demo",), namespace="default", cluster="demo", stage=stage, patience=1800,
            grace=GRACE,
        )  # fmt: skip
        return CLUSTER_EXECUTOR.observe(step, Sight(self.kube.cluster(user), CAUSED_AT + after))


@pytest.fixture(params=["current", "legacy"])
def coming(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Waited]:
    with running_kube(tmp_path, request.param) as kube:
        made = Waited(kube, request.param)
        made.begin()
        yield made


# -- a cluster ---------------------------------------------------------------------------------------------------


def test_each_stage_is_reached_when_all_of_it_is_there(coming: Waited) -> None:
    assert not coming.observe().so
    coming.infrastructure()
    assert not coming.observe().so
    coming.control_plane(2)
    assert not coming.observe().so
    coming.control_plane(3)
    found = coming.observe()
    assert (found.so, found.evidence) == (True, "3 of 3 control plane machines of demo are ready.")
    assert not coming.observe("workers").so
    coming.workers(2, 2, 0)
    assert not coming.observe("workers").so
    coming.workers(2, 2, 1)
    found = coming.observe("workers")
    assert (found.so, found.evidence) == (True, "5 of 5 workers of demo are ready.")


def test_the_control_plane_is_not_ready_before_its_network(coming: Waited) -> None:
    coming.control_plane(3)
    if coming.is_new:
        change = {"initialization": {"infrastructureProvisioned": None}}
        coming.kube.change(CLUSTER, "demo", {"status": change}, status=True)
    assert not coming.observe().so


def test_workers_that_nobody_wants_are_all_there(coming: Waited) -> None:
    for number in range(3):
        coming.kube.change(MACHINE_DEPLOYMENT, f"demo-md-{number}", {"spec": {"replicas": 0}})
    assert coming.observe("workers").so


def test_whatever_moves_is_progress_and_nothing_else_is(coming: Waited) -> None:
    digests = [coming.observe().progress]
    assert coming.observe(after=10_000).progress == digests[0]
    coming.kube.change(CLUSTER, "demo", {"metadata": {"annotations": {"x": "y"}}})
    assert coming.observe().progress == digests[0]
    for move in (
        coming.infrastructure,
        lambda: coming.machine("demo-a", condition("InstanceReady", "False", "InstanceProvisionStarted", "", "Info")),
        lambda: coming.control_plane(1),
        lambda: coming.control_plane(2),
    ):
        move()
        digests.append(coming.observe().progress)
    assert len(set(digests)) == len(digests)
    assert "" not in digests
    assert coming.observe().patience == 1800


def test_what_was_reached_is_told_in_order_and_stays_word_for_word(coming: Waited) -> None:
    assert coming.observe().reached == ()
    coming.infrastructure()
    first = coming.observe().reached
    assert first[0] == "VPC vpc-1 accepted, with 6 subnets."
    coming.control_plane(3)
    coming.workers(1, 1, 0)
    second = coming.observe("workers").reached
    assert second[: len(first)] == first
    assert "3 of 3 control plane machines ready." in second
    assert "2 of 5 workers ready." in second


def test_a_failure_is_waited_out_for_the_grace_and_then_somebody_has_to_look(coming: Waited) -> None:
    coming.refused("demo-control-plane-a")
    early = coming.observe(after=GRACE - 1)
    assert not early.so
    with pytest.raises(NeedsPerson) as parked:
        coming.observe(after=GRACE)
    assert "AWSMachine/demo-control-plane-a failed" in parked.value.message
    assert "more vCPU capacity than your current vCPU limit of 32" in parked.value.message
    assert parked.value.hint
    assert "request id" not in parked.value.message


def test_many_failures_for_one_reason_are_one_message(coming: Waited) -> None:
    for name in ("a", "b", "c"):
        coming.refused(f"demo-md-0-{name}")
    with pytest.raises(NeedsPerson, match="2 more failed for the same reason"):
        coming.observe(after=GRACE + 1)


def test_failures_for_several_reasons_are_counted(coming: Waited) -> None:
    coming.refused("demo-md-0-a")
    text = (
        "failed to run instance: InsufficientInstanceCapacity: We currently do not have sufficient m5.large capacity"
        " in the Availability Zone you requested (us-east-1a).\n\tstatus code: 500, request id: 0e8f2c1a"
    )
    coming.refused("demo-md-1-a", text)
    with pytest.raises(NeedsPerson, match="1 more failed in all for 2 reasons"):
        coming.observe(after=GRACE + 1)


def test_a_failure_that_nobody_knows_is_told_in_its_own_words(coming: Waited) -> None:
    coming.refused("demo-md-0-a", "the moon is full")
    with pytest.raises(
        NeedsPerson, match=r"AWSMachine/demo-md-0-a failed \(InstanceProvisionFailed\): the moon"
    ) as error:
        coming.observe(after=GRACE + 1)
    assert "/tkg cluster get demo" in error.value.hint


def test_a_failure_that_was_overcome_parks_nobody(coming: Waited) -> None:
    coming.infrastructure()
    coming.control_plane(3)
    coming.refused("demo-control-plane-old")
    assert coming.observe(after=10_000).so


def test_only_this_clusters_failures_count(coming: Waited) -> None:
    version = VERSIONS[coming.generation][AWS_CLUSTER]
    coming.kube.put({
        "apiVersion": f"{AWS_MACHINE.group}/{version}", "kind": "AWSMachine", "spec": {"instanceType": "m5.large"},
        "metadata": {"name": "x", "namespace": "default", "labels": {"cluster.x-k8s.io/cluster-name": "demo-2"}},
        "status": {"conditions": [condition("InstanceReady", "False", "InstanceProvisionFailed", QUOTA, "Error")]},
    })  # fmt: skip
    assert not coming.observe(after=10_000).so


def test_a_cluster_that_somebody_deleted_is_not_waited_for(coming: Waited) -> None:
    coming.kube.drop(CLUSTER, "demo")
    with pytest.raises(Fatal, match="demo is not there any more"):
        coming.observe()


@pytest.mark.parametrize("kind", [MACHINE, AWS_MACHINE, MACHINE_DEPLOYMENT, CONTROL_PLANE, AWS_CLUSTER])
def test_what_cannot_be_read_is_no_standing_still(coming: Waited, kind: Any) -> None:
    coming.kube.faults(forbid=[f"* {kind.group}/{kind.plural}"])
    with pytest.raises(Fatal, match=f"{kind.name} of demo cannot be read"):
        coming.observe()


def test_a_server_in_trouble_is_waited_out(coming: Waited) -> None:
    coming.kube.faults(server_error=1)
    with pytest.raises(Retry):
        coming.observe()
    assert not coming.observe().so


def test_waiting_needs_no_right_to_change_anything(coming: Waited) -> None:
    coming.kube.allow("tkgbot", {"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list"]})
    assert not coming.observe(user="tkgbot").so
    step = AwaitClusterStep(
        title="t", targets=(), namespace="default", cluster="demo", stage="workers", patience=1, grace=1
    )
    assert CLUSTER_EXECUTOR.apply(step, Sight(None)).changed


# -- a load balancer ---------------------------------------------------------------------------------------------

NAME, KEY = "tkgbot-proof", "default/demo"
PATIENCE = 300.0


@dataclass
class Proof:
    """A workload cluster with the service, and AWS."""

    kube: Kube
    cloud: Cloud
    now: float = field(default_factory=lambda: datetime.now(UTC).timestamp())
    rights: tuple[Right, ...] = (
        Right(verb="delete", resource="services", namespace="default", name=NAME, cluster=KEY),
    )

    def service(self) -> None:
        ports = [{"port": 80, "protocol": "TCP"}]
        meta = {"name": NAME, "namespace": "default"}
        self.kube.put({"apiVersion": "v1", "kind": "Service", "metadata": meta,
                       "spec": {"type": "LoadBalancer", "ports": ports}})  # fmt: skip

    def address(self, host: str, what: str = "hostname") -> None:
        self.kube.change(SERVICE, NAME, {"status": {"loadBalancer": {"ingress": [{what: host}]}}}, status=True)

    def event(self, message: str, at: str, about: str = NAME, kind: str = "Warning") -> None:
        regarding = {"apiVersion": "v1", "kind": "Service", "name": about, "namespace": "default"}
        self.kube.put({
            "apiVersion": "v1", "kind": "Event", "metadata": {"name": f"{about}.{at[-6:-1]}".replace(":", "-"),
            "namespace": "default"}, "involvedObject": regarding, "type": kind, "reason": "SyncLoadBalancerFailed",
            "message": message, "lastTimestamp": at,
        })  # fmt: skip

    def balancer(self, *, tagged: bool) -> str:
        """A load balancer in a public subnet; its address."""
        subnet = self.cloud.subnet("public-a")
        if tagged:
            self.cloud.put([subnet], demo="shared")
        self.cloud.balancer("proof", [subnet], {cluster_key("demo"): "owned"})
        found = self.cloud.admin("elbv2").describe_load_balancers()["LoadBalancers"]
        host: str = next(raw["DNSName"] for raw in found if raw["LoadBalancerName"] == "proof")
        return host

    def observe(self, *, after: float = 0.0) -> Observation:
        step = AwaitBalancerStep(
            title="t", targets=("cluster demo",), cluster=KEY, namespace="default", service=NAME, account="management",
            region=REGION, patience=PATIENCE,
        )  # fmt: skip
        connected = self.kube.cluster("admin", self.rights)
        connected._cluster = KEY
        return BALANCER.observe(step, World(None, self.now + after, {KEY: connected}, Eyes(self.cloud)))

    @property
    def is_there(self) -> bool:
        return self.kube.find(SERVICE, NAME) is not None


@dataclass
class World(Sight):
    """One with AWS."""

    eyes: Any = None

    def aws(self, account: str, region: str) -> Any:
        """As the administrator."""
        assert (account, region) == ("management", REGION)
        return self.eyes


@pytest.fixture
def proof(tmp_path: Path, cloud: Cloud) -> Iterator[Proof]:
    with running_kube(tmp_path, "none", "demo") as kube:
        made = Proof(kube, cloud)
        made.service()
        yield made


@pytest.mark.long
def test_pending_then_an_address_then_seen_in_tagged_subnets(proof: Proof) -> None:
    pending = proof.observe()
    assert (pending.so, pending.evidence) == (False, "The service waits for its address.")
    host = proof.balancer(tagged=True)
    assert not proof.observe().so
    proof.address(host)
    found = proof.observe()
    assert found.so
    assert host in found.evidence
    assert "demo-public-a (us-east-1a), tagged for demo" in found.evidence
    assert proof.is_there


def test_an_address_whose_load_balancer_is_not_to_be_seen_yet_is_waited_for(proof: Proof) -> None:
    proof.address("not-yet.elb.example")
    found = proof.observe()
    assert (found.so, found.patience, found.progress) == (False, PATIENCE, "not-yet.elb.example")
    assert "not to be seen in AWS yet" in found.evidence
    assert proof.is_there


def test_a_load_balancer_in_subnets_that_are_not_tagged_is_no_proof_and_leaves_nothing(proof: Proof) -> None:
    proof.address(proof.balancer(tagged=False))
    with pytest.raises(
        Fatal, match="was put into demo-public-a, not tagged for demo; the service was taken away"
    ) as error:
        proof.observe()
    assert "/tkg subnet tag demo" in error.value.hint
    assert not proof.is_there


def test_without_an_address_in_time_the_service_is_taken_away_with_the_providers_words(proof: Proof) -> None:
    proof.event("could not find any suitable subnets for creating the ELB", "2026-09-21T13:00:01Z")
    assert not proof.observe(after=PATIENCE - 30).so
    assert proof.is_there
    with pytest.raises(Fatal, match=r"no address in 3\d\d s.*could not find any suitable subnets") as error:
        proof.observe(after=PATIENCE + 30)
    assert "/tkg subnet check demo" in error.value.hint
    assert not proof.is_there


def test_the_newest_warning_about_this_very_service_is_told(proof: Proof) -> None:
    proof.event("old `words`", "2026-09-21T13:00:01Z")
    proof.event("new `words`", "2026-09-21T13:00:03Z")
    proof.event("all is well", "2026-09-21T13:00:05Z", kind="Normal")
    proof.event("somebody else's", "2026-09-21T13:00:07Z", about="other")
    found = proof.observe()
    assert found.evidence == "The service waits for its address. The cloud provider said: new 'words'"
    assert found.progress == "The cloud provider said: new 'words'"


def test_a_service_that_is_gone_is_not_waited_for(proof: Proof) -> None:
    proof.kube.drop(SERVICE, NAME)
    with pytest.raises(Fatal, match="gone before it got an address"):
        proof.observe()


def test_taking_away_needs_the_plans_right(proof: Proof) -> None:
    with pytest.raises(Fatal, match="does not declare to delete services"):
        replace(proof, rights=()).observe(after=PATIENCE + 30)
    assert proof.is_there


def test_an_address_by_number_is_an_address(proof: Proof) -> None:
    proof.address("203.0.113.7", "ip")
    assert proof.observe().progress == "203.0.113.7"


def test_an_aws_that_may_not_be_looked_at_is_no_proof(proof: Proof) -> None:
    proof.address(proof.balancer(tagged=True))
    eyes = Eyes(proof.cloud, denied={"elasticloadbalancing:DescribeLoadBalancers"})
    connected = proof.kube.cluster("admin", proof.rights)
    step = AwaitBalancerStep(
        title="t", targets=(), cluster=KEY, namespace="default", service=NAME, account="management", region=REGION,
        patience=PATIENCE,
    )  # fmt: skip
    with pytest.raises(Denied):
        BALANCER.observe(step, World(None, proof.now, {KEY: connected}, eyes))
    assert proof.is_there
