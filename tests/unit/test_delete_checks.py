"""What `cluster delete` looks at before: each thing that would hold the deletion, and each that would stay behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from handlers.contract import Check, Plan
from handlers.delete_checks import GC, GC_TASKS
from handlers.kinds import AWS_CLUSTER, CLUSTER, CONTROL_PLANE, CONTROLLER_IDENTITY, ROLE_IDENTITY
from handlers.network import cluster_key
from tests.unit.clouds import Cloud, key
from tests.unit.deletions import OWN_IDENTITY, World, made, planned
from tests.unit.kubes import Kube, running_kube
from tests.unit.living import by_id

pytestmark = pytest.mark.long

INFRA = "infrastructure.cluster.x-k8s.io/v1beta2"


@pytest.fixture
def kube(tmp_path: Path) -> Iterator[Kube]:
    with running_kube(tmp_path) as running:
        running.put(OWN_IDENTITY)
        made(running)
        yield running


@pytest.fixture
def world(kube: Kube, cloud: Cloud) -> World:
    return World(kube, cloud)


@pytest.fixture
def workload(world: World, tmp_path: Path) -> Iterator[Kube]:
    """The cluster's own API."""
    folder = tmp_path / "workload"
    folder.mkdir()
    with running_kube(folder, "none", "demo") as running:
        world.workloads["default/demo"] = running.cluster()
        yield running


def seen(world: World, name: str) -> Check:
    """One check; nothing is planned where it stands in the way."""
    plan = planned(world)
    check = by_id(plan.checks)[name]
    assert bool(plan.steps) is not any(each.blocks for each in plan.checks)
    return check


def rows(plan: Plan) -> dict[str, tuple[str, str]]:
    """The table: what becomes of each thing."""
    assert plan.details is not None
    return {name: (change, what) for name, change, what in plan.details.rows}


def lives_in(kube: Kube, *subnets: str) -> None:
    """Has the AWSCluster name subnets that are there."""
    listed = [{"id": name} for name in subnets]
    kube.change(AWS_CLUSTER, "demo", {"spec": {"network": {"subnets": listed}}})


def annotate(kube: Kube, **notes: str) -> None:
    """Writes on the AWSCluster."""
    names = {"gc": GC, "tasks": GC_TASKS, "paused": "cluster.x-k8s.io/paused"}
    kube.change(AWS_CLUSTER, "demo", {"metadata": {"annotations": {names[name]: text for name, text in notes.items()}}})


def test_nothing_is_wrong_with_a_plain_cluster(kube: Kube, cloud: Cloud, world: World, workload: Kube) -> None:
    lives_in(kube, cloud.subnet("public-a"))
    plan = planned(world)
    results = {check.id: check.result for check in plan.checks}
    assert set(results.values()) == {"pass"}, plan.checks
    wanted = {"account", "cluster-account", "paused", "identity", "garbage", "services", "volumes", "subnets"}
    assert set(results) == wanted
    assert [right.name for right in plan.steps[0].rights] == ["demo"]


# -- the garbage collection of the provider ----------------------------------------------------------------------


@pytest.mark.parametrize("text", ["yes", "", "tRUE", " true", "2", "on"])
def test_a_word_that_go_does_not_read_as_yes_or_no_hangs_the_deletion(kube: Kube, world: World, text: str) -> None:
    annotate(kube, gc=text)
    check = seen(world, "garbage")
    assert check.result == "block"
    assert f"“{text}”" in check.evidence
    assert f"{GC}=true" in check.fix


@pytest.mark.parametrize("text", ["1", "t", "T", "TRUE", "true", "True"])
def test_what_go_reads_as_yes_is_fine(kube: Kube, world: World, text: str) -> None:
    annotate(kube, gc=text)
    assert seen(world, "garbage").result == "pass"


@pytest.mark.parametrize("text", ["0", "f", "false"])
def test_switched_off_means_that_load_balancers_stay(kube: Kube, world: World, text: str) -> None:
    annotate(kube, gc=text)
    check = seen(world, "garbage")
    assert (check.result, "load balancers of its services stay" in check.evidence) == ("warn", True)


@pytest.mark.parametrize("text", ["load-balancer, target-group", "loadbalancer", "", "load-balancer,"])
def test_a_task_that_the_provider_does_not_know_may_crash_it(kube: Kube, world: World, text: str) -> None:
    annotate(kube, tasks=text)
    check = seen(world, "garbage")
    assert check.result == "block"
    assert "may crash" in check.evidence
    assert "load-balancer,target-group,security-group" in check.fix


def test_some_of_the_tasks_leave_the_rest(kube: Kube, world: World) -> None:
    annotate(kube, tasks="load-balancer,target-group")
    check = seen(world, "garbage")
    assert (check.result, check.evidence) == ("warn", "Of what its services made, only: load-balancer, target-group.")
    annotate(kube, tasks="target-group,load-balancer,security-group")
    assert seen(world, "garbage").result == "pass"


# -- paused, begun, astray ---------------------------------------------------------------------------------------


def test_a_part_that_is_paused_holds_all(kube: Kube, world: World) -> None:
    annotate(kube, paused="")
    kube.change(CONTROL_PLANE, "demo-control-plane", {"metadata": {"annotations": {"cluster.x-k8s.io/paused": "x"}}})
    check = seen(world, "paused")
    assert check.result == "block"
    assert "AWSCluster demo, KubeadmControlPlane demo-control-plane" in check.evidence


def test_what_somebody_began_by_hand_is_followed(kube: Kube, cloud: Cloud, world: World) -> None:
    """It goes anyway, so that nothing inside it stands in the way any more."""
    kube.change(CLUSTER, "demo", {"metadata": {"finalizers": ["cluster.cluster.x-k8s.io"]}})
    kube.drop(CLUSTER, "demo")
    cloud.balancer("a1b2c3", [cloud.subnet("public-a")], {cluster_key("demo"): "owned"}, "classic")
    plan = planned(world)
    checks = by_id(plan.checks)
    assert checks["begun"].result == "warn"
    assert checks["begun"].evidence.startswith("Somebody began to delete it by hand at 20")
    assert (checks["services"].result, len(plan.steps)) == ("warn", 1)
    assert "a1b2c3" in checks["services"].evidence


def test_a_cluster_of_another_account_is_not_deleted_by_this_ones_rules(kube: Kube, world: World) -> None:
    ref = {"kind": "AWSClusterRoleIdentity", "name": "prod"}
    kube.change(AWS_CLUSTER, "demo", {"spec": {"identityRef": ref}})
    check = seen(world, "cluster-account")
    assert (check.result, check.evidence) == ("block", "demo uses the identity prod.")


# -- the identity ------------------------------------------------------------------------------------------------


def test_without_its_identity_the_deletion_would_hang(kube: Kube, world: World) -> None:
    kube.drop(CONTROLLER_IDENTITY, "default")
    check = seen(world, "identity")
    assert check.result == "block"
    assert "AWSClusterControllerIdentity default is not there" in check.evidence
    assert "Make it anew under that name first" in check.fix


def test_an_identity_that_the_namespace_may_not_use(kube: Kube, world: World) -> None:
    kube.change(CONTROLLER_IDENTITY, "default", {"spec": {"allowedNamespaces": {"list": ["platform"]}}})
    check = seen(world, "identity")
    assert (check.result, "does not let the namespace default use it" in check.evidence) == ("block", True)


def test_an_identity_that_cannot_be_looked_at_is_unknown(kube: Kube, world: World) -> None:
    kube.faults(forbid=["get infrastructure.cluster.x-k8s.io/awsclustercontrolleridentities"])
    world.kube = kube.cluster()
    assert seen(world, "identity").result == "unknown"


def test_credentials_that_the_provider_cannot_get(kube: Kube, world: World) -> None:
    """A role identity, which another cluster uses, too."""
    spec = {"roleARN": "arn:aws:iam::444455556666:role/x", "allowedNamespaces": {}}
    meta = {"name": "prod"}
    kube.put({"apiVersion": INFRA, "kind": "AWSClusterRoleIdentity", "metadata": meta, "spec": spec})
    ref = {"kind": "AWSClusterRoleIdentity", "name": "prod"}
    for name in ("demo", "shop"):
        if name == "shop":
            made(kube, name)
        kube.change(AWS_CLUSTER, name, {"spec": {"identityRef": ref}})
    world.identity = "prod"
    check = seen(world, "identity")
    assert check.evidence == "AWSClusterRoleIdentity prod is there. default/shop uses it, too."
    told = {"type": "PrincipalCredentialRetrieved", "status": "False", "reason": "CredentialProviderBuildFailed",
            "severity": "Error", "message": "AccessDenied", "lastTransitionTime": "2026-01-01T00:00:00Z"}  # fmt: skip
    kube.change(AWS_CLUSTER, "demo", {"status": {"conditions": [told]}}, status=True)
    check = seen(world, "identity")
    assert check.result == "block"
    assert "cannot use AWSClusterRoleIdentity prod (CredentialProviderBuildFailed): AccessDenied." in check.evidence
    assert ROLE_IDENTITY.name == "AWSClusterRoleIdentity"


# -- what is inside ----------------------------------------------------------------------------------------------


def volume(name: str, policy: str, handle: str, claim: str = "") -> dict[str, Any]:
    """A PersistentVolume on EBS."""
    spec: dict[str, Any] = {
        "capacity": {"storage": "10Gi"}, "persistentVolumeReclaimPolicy": policy,
        "csi": {"driver": "ebs.csi.aws.com", "volumeHandle": handle},
    }  # fmt: skip
    if claim:
        namespace, _, called = claim.partition("/")
        spec["claimRef"] = {"namespace": namespace, "name": called}
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec}


def test_services_are_listed_with_their_load_balancers(world: World, workload: Kube) -> None:
    meta = {"name": "web", "namespace": "default"}
    ports = [{"port": 80, "protocol": "TCP"}]
    status = {"loadBalancer": {"ingress": [{"hostname": "a1.elb.amazonaws.com"}]}}
    spec = {"type": "LoadBalancer", "ports": ports}
    workload.put({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec, "status": status})
    check = seen(world, "services")
    assert (check.result, check.evidence) == ("block", "1 in the cluster: default/web (a1.elb.amazonaws.com).")
    assert rows(planned(world))["Service default/web"] == ("in the way", "a1.elb.amazonaws.com")


def test_volumes_say_what_becomes_of_them(world: World, workload: Kube) -> None:
    workload.put(volume("pv-1", "Retain", "vol-1", "shop/data"))
    workload.put(volume("pv-2", "Delete", "vol-2"))
    older = {"capacity": {"storage": "5Gi"}, "awsElasticBlockStore": {"volumeID": "aws://us-east-1a/vol-3"}}
    workload.put({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "pv-3"}, "spec": older})
    plan = planned(world)
    check = by_id(plan.checks)["volumes"]
    assert check.result == "warn"
    assert "2 with the policy Retain: shop/data (10Gi, Retain, vol-1), pv-3 (5Gi, Retain, vol-3)." in check.evidence
    assert "1 with the policy Delete, which nobody carries out when the cluster goes first" in check.evidence
    assert rows(plan)["Volume shop/data"][0] == "stays, and costs"
    assert {fact.name: fact.value for fact in plan.facts} == {
        "volumes": {"vol-1": "Retain", "vol-2": "Delete", "vol-3": "Retain"}
    }
    assert plan.material() == {}, "a run that is taken up again cannot ask the cluster any more"


def test_volumes_of_a_cluster_that_cannot_be_asked_are_looked_for_in_aws(cloud: Cloud, world: World) -> None:
    assert seen(world, "volumes").evidence.endswith("AWS shows no volume with its tag.")
    made_by = [{"Key": key("demo"), "Value": "owned"}]
    cloud.admin("ec2").create_volume(
        AvailabilityZone="us-east-1a", Size=20, VolumeType="gp3",
        TagSpecifications=[{"ResourceType": "volume", "Tags": made_by}],
    )  # fmt: skip
    check = seen(world, "volumes")
    assert (check.result, "1 volume (20 GiB), about $2 a month" in check.evidence) == ("warn", True)


def test_load_balancers_that_no_service_explains(cloud: Cloud, world: World, workload: Kube) -> None:
    subnet = [cloud.subnet("public-a")]
    cloud.balancer("demo-apiserver", subnet, {"sigs.k8s.io/cluster-api-provider-aws/cluster/demo": "owned"}, "classic")
    assert seen(world, "services").result == "pass"
    cloud.balancer("k8s-shop-web", subnet, {"elbv2.k8s.aws/cluster": "demo"})
    check = seen(world, "services")
    assert (check.result, "k8s-shop-web" in check.evidence) == ("warn", True)


def test_who_else_uses_the_subnets(kube: Kube, cloud: Cloud, world: World) -> None:
    lives_in(kube, cloud.subnet("public-a"), cloud.subnet("public-b"))
    cloud.put([cloud.subnet("public-a")], demo="shared", shop="shared")
    check = seen(world, "subnets")
    assert check.result == "pass"
    assert "for shop" in check.evidence
    assert "with the cluster's tag" in check.evidence


def test_what_cannot_be_seen_now_is_said_before(world: World) -> None:
    world.eyes.denied.add("ec2:DescribeVolumes")
    plan = planned(world)
    check = by_id(plan.checks)["looked"]
    assert (check.result, len(plan.steps)) == ("warn", 1)
    assert "ec2:DescribeVolumes" in check.evidence
    assert "by hand" in check.fix
