"""`cluster delete` on a management cluster whose controllers work: what stands in the way, what goes, what stays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from handlers.cluster_delete import DeleteArguments
from handlers.contract import Check, Plan, fingerprint
from handlers.kinds import AWS_CLUSTER, CLUSTER, MACHINE, MACHINE_DEPLOYMENT, SERVICE, kind_of
from handlers.network import cluster_key
from tests.contract.server import wait_for
from tests.unit.clouds import CALLER, REGION, Cloud
from tests.unit.deletions import DELETE, OWN_IDENTITY, World, made, planned
from tests.unit.kubes import Kube, running_kube
from tests.unit.living import Living, by_id, caller_of, running_clusters

pytestmark = pytest.mark.long

# -- what is planned ---------------------------------------------------------------------------------------------


@pytest.fixture
def kube(tmp_path: Path) -> Iterator[Kube]:
    with running_kube(tmp_path) as running:
        running.namespace("platform")
        running.put(OWN_IDENTITY)
        yield running


@pytest.fixture
def world(kube: Kube, cloud: Cloud) -> World:
    return World(kube, cloud)


def removed(plan: Plan) -> list[str]:
    """What the plan's step deletes."""
    step = plan.steps[0].model_dump()
    if step["kind"] == "delete-cluster":
        return [f"clusters {step['cluster']}"]
    objects: list[dict[str, Any]] = step["objects"]
    return [f"{each['resource'].split('.')[0]} {each['name']}" for each in objects]


def services(plan: Plan) -> Check:
    return by_id(plan.checks)["services"]


def test_a_cluster_that_is_not_there_needs_nothing(world: World) -> None:
    plan = planned(world)
    assert (plan.steps, plan.blocked, plan.details) == ((), False, None)
    assert plan.impact.deletes == ()


def test_only_the_cluster_object_is_asked_to_go(kube: Kube, world: World) -> None:
    made(kube)
    plan = planned(world)
    stored = kube.find(CLUSTER, "demo")
    assert stored is not None
    assert removed(plan) == ["clusters demo"]
    step = plan.steps[0].model_dump()
    assert step["uid"] == stored["metadata"]["uid"]
    assert (step["patience"], step["namespace"]) == (20, "default")
    assert [(right.verb, right.resource, right.namespace, right.name) for right in plan.steps[0].rights] == [
        ("delete", "clusters.cluster.x-k8s.io", "default", "demo")
    ]
    assert plan.material() == {}, "a run that is taken up again finds the Cluster gone"
    assert (plan.targets, plan.impact.reversible) == (("cluster demo",), False)


def test_a_cluster_that_was_made_anew_is_another_plan(kube: Kube, world: World) -> None:
    """Its uid is approved, so that an approval for the old one does not delete the new one."""

    def seal() -> str:
        return fingerprint("cluster delete", {}, planned(world))

    made(kube)
    before = seal()
    assert seal() == before
    kube.drop(CLUSTER, "demo")
    made(kube)
    assert seal() != before


def test_the_machines_that_go_with_it_are_listed(kube: Kube, world: World) -> None:
    made(kube)
    spec = {"clusterName": "demo", "bootstrap": {"dataSecretName": "x"}, "infrastructureRef": {
        "apiGroup": "infrastructure.cluster.x-k8s.io", "kind": "AWSMachine", "name": "m"}}  # fmt: skip
    for name, cluster in (("demo-a", "demo"), ("demo-2-a", "demo-2")):
        meta = {"name": name, "namespace": "default", "labels": {"cluster.x-k8s.io/cluster-name": cluster}}
        kube.put({"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Machine", "metadata": meta, "spec": spec})
    plan = planned(world)
    assert plan.impact.deletes == ("Cluster demo", "Machine demo-a")
    assert plan.details is not None
    assert plan.details.rows == (("Cluster demo", "deleted", ""), ("Machine demo-a", "goes with it", ""))


def test_a_cluster_of_the_name_in_another_namespace_is_another_one(kube: Kube, world: World) -> None:
    made(kube, namespace="platform")
    assert planned(world).steps == ()
    assert removed(planned(world, namespace="platform")) == ["clusters demo"]


def test_a_paused_cluster_blocks(kube: Kube, world: World) -> None:
    made(kube)
    kube.change(CLUSTER, "demo", {"spec": {"paused": True}})
    plan = planned(world)
    check = by_id(plan.checks)["paused"]
    assert (check.result, plan.steps, plan.impact.deletes) == ("block", (), ())
    assert "spec.paused" in check.fix


# -- what a failed try left --------------------------------------------------------------------------------------


def test_what_a_failed_try_left_goes_piece_by_piece(kube: Kube, world: World) -> None:
    items = made(kube, whole=False)
    plan = planned(world)
    assert removed(plan) == [
        "machinedeployments demo-md-0", "machinehealthchecks demo", "kubeadmcontrolplanes demo-control-plane",
        "awsmachinetemplates demo-control-plane", "awsmachinetemplates demo-md-0", "kubeadmconfigtemplates demo-md-0",
        "awsclusters demo",
    ]  # fmt: skip
    assert len(plan.steps[0].rights) == len(items) - 1
    assert "7 objects that an earlier try left" in plan.steps[0].title


def test_leftovers_of_a_cluster_whose_name_begins_alike_are_left_alone(kube: Kube, world: World) -> None:
    made(kube, "demo-2")
    made(kube, "demo-md-0", whole=False)
    assert planned(world).steps == ()
    made(kube, whole=False)
    assert all(name.split(" ")[1] in ("demo", "demo-control-plane", "demo-md-0") for name in removed(planned(world)))
    assert len(removed(planned(world))) == 7


def test_what_others_made_under_the_name_is_left_alone(kube: Kube, world: World) -> None:
    """Without the digest the bot did not make it."""
    items = made(kube, "other", whole=False)
    foreign = dict(items["AWSCluster other"])
    foreign["metadata"] = {"name": "demo", "namespace": "default"}
    kube.put(foreign)
    assert planned(world).steps == ()


# -- load balancer services --------------------------------------------------------------------------------------


def test_a_cluster_that_cannot_be_asked_is_looked_for_in_aws(kube: Kube, cloud: Cloud, world: World) -> None:
    made(kube)
    check = services(planned(world))
    assert check.result == "warn"
    assert "AWS shows no load balancer of its services" in check.evidence
    subnet = [cloud.subnet("public-a")]
    cloud.balancer("demo-apiserver", subnet, {cluster_key("demo"): "owned"})
    cloud.balancer("others", subnet, {cluster_key("other"): "owned"})
    assert services(planned(world)).result == "warn"
    cloud.balancer("a1b2c3", subnet, {cluster_key("demo"): "owned"})
    plan = planned(world)
    assert services(plan).result == "block"
    assert "has load balancers: a1b2c3." in services(plan).evidence
    assert plan.steps == ()


def test_where_neither_can_be_asked_it_is_unknown(kube: Kube, world: World) -> None:
    made(kube)
    world.eyes.denied.add("elasticloadbalancing:DescribeLoadBalancers")
    plan = planned(world)
    assert services(plan).result == "unknown"
    assert plan.blocked


@pytest.mark.parametrize("trouble", [{"server_error": 50}, {"unreachable": True}, {"forbid": ["list /services"]}])
def test_a_cluster_whose_api_is_in_trouble_is_no_cluster_without_services(
    kube: Kube, world: World, tmp_path: Path, trouble: dict[str, Any]
) -> None:
    made(kube)
    folder = tmp_path / "workload"
    folder.mkdir()
    with running_kube(folder, "none", "demo") as workload:
        world.workloads["default/demo"] = workload.cluster()
        assert services(planned(world)).result == "pass"
        workload.faults(**trouble)
        assert services(planned(world)).result == "warn"


def test_services_are_asked_of_the_cluster_itself(kube: Kube, world: World, tmp_path: Path) -> None:
    made(kube)
    folder = tmp_path / "workload"
    folder.mkdir()
    with running_kube(folder, "none", "demo") as workload:
        world.workloads["default/demo"] = workload.cluster()
        for name, kind in (("inner", "ClusterIP"), ("web", "LoadBalancer")):
            spec = {"type": kind, "ports": [{"port": 80, "protocol": "TCP"}]}
            meta = {"name": name, "namespace": "default"}
            workload.put({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec})
        check = services(planned(world))
        assert check.result == "block"
        assert check.evidence == "1 in the cluster: default/web (no load balancer yet)."
        assert "kubectl delete service --namespace default web" in check.fix
        workload.drop(SERVICE, "web")
        assert services(planned(world)).result == "pass"


def test_nobody_promises_to_take_a_deletion_back() -> None:
    arguments = DeleteArguments(cluster="demo", account="management", region=REGION)
    assert DELETE.inverse(arguments, None, (0,)) is None  # type: ignore[arg-type]


# -- with controllers that work ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def living(standing_cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Living]:
    with running_clusters(standing_cloud, tmp_path_factory.mktemp("living")) as made:
        yield made


def test_a_cluster_goes_with_its_machines_and_the_proof_looks_for_all_of_it(living: Living) -> None:
    living.create()
    plan = living.plan("cluster delete")
    assert sorted({name.split(" ")[0] for name in plan.impact.deletes}) == ["Cluster", "Machine"]
    assert sorted(name.partition("(")[2] for name in plan.impact.deletes) == ["", "m5.large)", "t3.large)"]
    assert plan.impact.cost_per_hour_usd == pytest.approx(-(0.096 + 0.0832))
    before = living.proof("cluster delete", plan)["verify gone"]
    assert before.result == "block"
    assert "Cluster shop" in before.evidence
    assert living.run(plan)[0].evidence == "Cluster shop is gone, and what belonged to it."
    wait_for(lambda: living.proof("cluster delete", plan)["verify gone"].result == "pass", "all parts gone")
    ours = living.cloud.admin("ec2").describe_instances(
        Filters=[{"Name": "tag-key", "Values": [cluster_key("shop")]},
                 {"Name": "instance-state-name", "Values": ["pending", "running"]}]
    )["Reservations"]  # fmt: skip
    assert ours == []
    assert living.plan("cluster delete").steps == ()


def test_where_nobody_could_look_for_leftovers_the_proof_says_so_and_how_to_look_again(living: Living) -> None:
    """The cluster is gone all the same: it is one sentence, and no reason to say that the deletion did not work."""
    plan = living.plan("cluster delete", "unseen")
    again = f"`/tkg cluster cleanup unseen --account management --region {REGION}` looks again."
    living.cloud.sandbox.set_faults({"deny": ["ec2:DescribeVolumes", "ec2:DescribeAddresses"]})
    seen = living.proof("cluster delete", plan, "unseen")["verify leftovers"]
    assert seen.result == "pass"
    assert seen.evidence.startswith(
        "Leftovers of these kinds were not looked for in AWS: elastic IP addresses, volumes."
    )
    assert "ec2:DescribeVolumes" in seen.evidence
    assert seen.evidence.endswith(again)
    living.cloud.sandbox.set_faults({"deny": ["sts:AssumeRole", "sts:GetCallerIdentity"]})
    seen = living.proof("cluster delete", plan, "unseen")["verify leftovers"]
    assert seen.result == "pass"
    assert seen.evidence.startswith("Leftovers were not looked for in AWS: ")
    assert "sts:" in seen.evidence
    assert seen.evidence.endswith(again)
    living.calm()
    evidence = living.proof("cluster delete", plan, "unseen")["verify leftovers"].evidence
    assert evidence == "Nothing of unseen is left in AWS."


def test_a_cluster_with_a_load_balancer_service_is_not_deleted_before_it(living: Living) -> None:
    living.create("held")
    workload = living.workload("held")
    spec = {"type": "LoadBalancer", "ports": [{"port": 80, "protocol": "TCP"}]}
    meta = {"name": "web", "namespace": "default"}
    workload.put({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec})
    blocked = living.plan("cluster delete", "held")
    assert (services(blocked).result, blocked.steps) == ("block", ())
    assert services(blocked).evidence.startswith("1 in the cluster: default/web (")
    workload.drop(SERVICE, "web")
    wait_for(lambda: workload.find(SERVICE, "web") is None, "the service gone")
    living.run(living.plan("cluster delete", "held"))
    assert living.kube.find(CLUSTER, "held") is None


def test_leftovers_are_not_looked_for_in_another_account(
    kube: Kube, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned(world)
    stranger = world.account("management").model_copy(update={"id": "999988887777"})
    monkeypatch.setattr(world, "account", lambda name: stranger)
    arguments = DeleteArguments(cluster="demo", account="management", region=REGION)
    seen = by_id(DELETE.verify(arguments, plan, world))["verify leftovers"]
    assert seen.evidence == (
        "Leftovers were not looked for in AWS: The credentials lead to another account than the settings say. "
        f"`/tkg cluster cleanup demo --account management --region {REGION}` looks again."
    )
    assert DELETE.follow_up(arguments, plan, world) == ()


def test_a_plan_for_a_cluster_that_was_made_anew_meanwhile_deletes_nothing(living: Living) -> None:
    living.begin("again")
    plan = living.plan("cluster delete", "again")
    stale = plan.steps[0].model_dump(mode="json")
    stale["uid"] = "11111111-2222-4333-8444-555555555555"
    seen = living.shop.observe(stale, caller_of(plan))
    assert seen.so
    assert "there is another one of that name" in seen.evidence
    assert "is not touched" in seen.evidence
    assert not living.shop.act(stale, caller_of(plan)).changed
    assert living.kube.find(CLUSTER, "again") is not None
    assert CALLER.rights == ()


def test_what_is_deleted_are_kinds_that_the_step_knows(kube: Kube, world: World) -> None:
    items = made(kube, whole=False)
    known = {kind_of(item).resource for item in items.values()}
    assert {right.resource for right in planned(world).steps[0].rights} == known - {CLUSTER.resource}
    assert {AWS_CLUSTER.resource, MACHINE_DEPLOYMENT.resource} <= known
    assert MACHINE.resource not in known
