"""A cluster's objects: what both generations say differently, what they refer to, and the digest of them all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from handlers.cluster_rendering import DIGEST_LENGTH, NODE_NAME
from handlers.contract import Json, Kind
from handlers.kinds import kind_of
from handlers.kube_checks import WRITTEN, versions_of
from handlers.preflight import Layout, Pool
from handlers.steps.apply import CONFIG, config_of
from tests.unit.blueprints import (
    CURRENT,
    GENERATIONS,
    LEGACY,
    MIXED,
    blueprint,
    by_name,
    layout,
    prod,
    rendered,
    subnet,
)
from tests.unit.kubes import running_kube

REFERENCES = ("infrastructureRef", "controlPlaneRef", "configRef")


def references(value: Any) -> Iterator[Any]:
    """Every reference from one object to another."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in REFERENCES:
                yield inner
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


# -- names and edges ---------------------------------------------------------------------------------------------


def test_a_dev_cluster_is_eight_objects_and_the_cluster_comes_last() -> None:
    assert list(by_name(rendered())) == [
        "AWSCluster demo", "AWSMachineTemplate demo-control-plane", "KubeadmControlPlane demo-control-plane",
        "AWSMachineTemplate demo-md-0", "KubeadmConfigTemplate demo-md-0", "MachineDeployment demo-md-0",
        "MachineHealthCheck demo", "Cluster demo",
    ]  # fmt: skip


def test_a_prod_cluster_has_three_pools_of_workers() -> None:
    items = by_name(rendered(prod(), plan="prod"))
    pools = [item["spec"] for name, item in items.items() if name.startswith("MachineDeployment ")]
    assert [pool["replicas"] for pool in pools] == [2, 2, 1]
    assert [pool["template"]["spec"]["failureDomain"] for pool in pools] == ["us-east-1a", "us-east-1b", "us-east-1c"]
    assert items["KubeadmControlPlane demo-control-plane"]["spec"]["replicas"] == 3
    assert list(items)[-1] == "Cluster demo"


@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.parametrize("made", [layout(), prod()])
def test_every_reference_leads_to_an_object_of_the_same_rendering(generation: str, made: Any) -> None:
    items = rendered(made, GENERATIONS[generation])
    there = {
        (str(item["apiVersion"]).rpartition("/")[0], item["kind"], str(item["apiVersion"]), name.split(" ")[1])
        for name, item in by_name(items).items()
    }
    seen = list(references(list(items)))
    assert len(seen) == 3 + 2 * sum(item["kind"] == "MachineDeployment" for item in items)
    for reference in seen:
        matching = [
            group
            for group, kind, version, name in there
            if (kind, name) == (reference["kind"], reference["name"])
            and (reference.get("apiGroup") == group or reference.get("apiVersion") == version)
        ]
        assert len(matching) == 1, reference
        assert set(reference) == ({"apiGroup" if generation == "current" else "apiVersion", "kind", "name"})


@pytest.mark.parametrize("generation", GENERATIONS)
def test_each_object_is_written_in_the_version_that_is_served(generation: str) -> None:
    versions = GENERATIONS[generation]
    for item in rendered(prod(), versions):
        kind = kind_of(item)
        assert item["apiVersion"] == f"{kind.group}/{versions[kind]}"


@pytest.mark.parametrize("generation", ["current", "legacy"])
@pytest.mark.parametrize("made", [layout(), prod(), prod(ssh_key=None), layout(public=())])
def test_the_api_server_takes_every_object_without_a_warning(tmp_path: Path, generation: str, made: Any) -> None:
    with running_kube(tmp_path, generation) as kube:
        cluster = kube.cluster()
        items = rendered(made, versions_of(cluster), identity="lob-dev")
        assert {str(item["kind"]): cluster.try_apply(item) for item in items} == {
            str(item["kind"]): () for item in items
        }


# -- what the generations say differently ------------------------------------------------------------------------


def test_arguments_are_a_list_or_a_map() -> None:
    found: dict[str, list[Any]] = {}
    for name, versions in GENERATIONS.items():
        items = by_name(rendered(versions=versions))
        kubeadm = items["KubeadmControlPlane demo-control-plane"]["spec"]["kubeadmConfigSpec"]
        worker = items["KubeadmConfigTemplate demo-md-0"]["spec"]["template"]["spec"]
        found[name] = [
            kubeadm["clusterConfiguration"]["controllerManager"]["extraArgs"],
            kubeadm["initConfiguration"]["nodeRegistration"]["kubeletExtraArgs"],
            kubeadm["joinConfiguration"]["nodeRegistration"]["kubeletExtraArgs"],
            worker["joinConfiguration"]["nodeRegistration"]["kubeletExtraArgs"],
        ]
    old, new = {"cloud-provider": "external"}, [{"name": "cloud-provider", "value": "external"}]
    assert found == {"current": [new] * 4, "legacy": [old] * 4, "mixed": [old] * 4}


def test_nodes_are_named_by_cloud_init() -> None:
    items = by_name(rendered())
    kubeadm = items["KubeadmControlPlane demo-control-plane"]["spec"]["kubeadmConfigSpec"]
    worker = items["KubeadmConfigTemplate demo-md-0"]["spec"]["template"]["spec"]
    registrations = [kubeadm["initConfiguration"], kubeadm["joinConfiguration"], worker["joinConfiguration"]]
    assert [each["nodeRegistration"]["name"] for each in registrations] == [NODE_NAME] * 3


@pytest.mark.parametrize("generation", GENERATIONS)
def test_the_control_planes_template_is_referred_to_where_its_version_wants_it(generation: str) -> None:
    spec = by_name(rendered(versions=GENERATIONS[generation]))["KubeadmControlPlane demo-control-plane"]["spec"]
    inner = spec["machineTemplate"]["spec"] if generation == "current" else spec["machineTemplate"]
    assert inner["infrastructureRef"]["name"] == "demo-control-plane"
    assert ("spec" in spec["machineTemplate"]) is (generation == "current")


@pytest.mark.parametrize("generation", GENERATIONS)
def test_workers_roll_one_at_a_time_and_never_below_their_number(generation: str) -> None:
    spec = by_name(rendered(versions=GENERATIONS[generation]))["MachineDeployment demo-md-0"]["spec"]
    strategy = spec["rollout"]["strategy"] if generation == "current" else spec["strategy"]
    assert strategy == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    assert ("strategy" in spec, "rollout" in spec) == (generation != "current", generation == "current")


def test_sick_workers_are_replaced_after_the_same_times_in_both_generations() -> None:
    new = by_name(rendered())["MachineHealthCheck demo"]["spec"]
    old = by_name(rendered(versions=LEGACY))["MachineHealthCheck demo"]["spec"]
    assert {each["status"]: each["timeoutSeconds"] for each in new["checks"]["unhealthyNodeConditions"]} == {
        "Unknown": 300, "False": 720,
    }  # fmt: skip
    assert {each["status"]: each["timeout"] for each in old["unhealthyConditions"]} == {"Unknown": "5m", "False": "12m"}
    assert (new["checks"]["nodeStartupTimeoutSeconds"], old["nodeStartupTimeout"]) == (1200, "20m")
    assert new["remediation"]["triggerIf"]["unhealthyLessThanOrEqualTo"] == old["maxUnhealthy"] == "40%"


@pytest.mark.parametrize("generation", GENERATIONS)
def test_the_health_check_and_the_deployment_select_the_workers_labels(generation: str) -> None:
    items = by_name(rendered(prod(), GENERATIONS[generation]))
    check = items["MachineHealthCheck demo"]["spec"]["selector"]["matchLabels"]
    for number in range(3):
        spec = items[f"MachineDeployment demo-md-{number}"]["spec"]
        labels = spec["template"]["metadata"]["labels"]
        assert spec["selector"]["matchLabels"].items() <= labels.items()
        assert check.items() <= labels.items()
        assert labels["cluster.x-k8s.io/cluster-name"] == "demo"


def test_newer_fields_of_the_provider_are_for_its_newer_version_only() -> None:
    for versions, is_new in ((CURRENT, True), (MIXED, True), (LEGACY, False)):
        items = by_name(rendered(versions=versions))
        balancer = items["AWSCluster demo"]["spec"]["controlPlaneLoadBalancer"]
        machine = items["AWSMachineTemplate demo-md-0"]["spec"]["template"]["spec"]
        assert (balancer.get("loadBalancerType") == "nlb") is is_new
        assert ("instanceMetadataOptions" in machine) is is_new


# -- what is asked for -------------------------------------------------------------------------------------------


def test_the_clusters_place_is_what_the_layout_says() -> None:
    spec = by_name(rendered(prod()))["AWSCluster demo"]["spec"]
    assert (spec["region"], spec["sshKeyName"], spec["bastion"]) == ("us-east-1", "ops", {"enabled": False})
    assert spec["network"]["vpc"] == {"id": "vpc-1"}
    kinds = ("public", "private")
    assert spec["network"]["subnets"] == [{"id": f"subnet-{kind}-{zone}"} for kind in kinds for zone in "abc"]


def test_without_public_subnets_the_load_balancer_is_internal() -> None:
    for public, scheme in ((layout().public, "internet-facing"), ((), "internal")):
        spec = by_name(rendered(layout(public=public)))["AWSCluster demo"]["spec"]
        assert spec["controlPlaneLoadBalancer"]["scheme"] == scheme


def test_an_identity_is_referred_to_only_where_the_account_needs_one() -> None:
    assert "identityRef" not in by_name(rendered())["AWSCluster demo"]["spec"]
    spec = by_name(rendered(identity="lob-dev"))["AWSCluster demo"]["spec"]
    assert spec["identityRef"] == {"kind": "AWSClusterRoleIdentity", "name": "lob-dev"}


def test_machines_are_what_their_pool_says() -> None:
    items = by_name(rendered())
    control, worker = (
        items[f"AWSMachineTemplate demo-{name}"]["spec"]["template"]["spec"] for name in ("control-plane", "md-0")
    )
    assert (control["instanceType"], worker["instanceType"]) == ("t3.large", "m5.large")
    assert (control["iamInstanceProfile"], worker["iamInstanceProfile"]) == ("control-plane.x", "nodes.x")
    assert control["rootVolume"] == {"size": 80, "type": "gp3", "encrypted": True}
    assert items["KubeadmControlPlane demo-control-plane"]["spec"]["version"] == "v1.33.1"
    assert items["MachineDeployment demo-md-0"]["spec"]["template"]["spec"]["version"] == "v1.33.1"


def test_an_image_is_looked_up_or_named_and_never_both() -> None:
    looked_up, named = (
        by_name(rendered(layout(ami_id=ami)))["AWSMachineTemplate demo-md-0"]["spec"]["template"]["spec"]
        for ami in (None, "ami-1")
    )
    assert (looked_up["imageLookupOrg"], looked_up["imageLookupBaseOS"]) == ("819546954734", "ubuntu-24.04")
    assert "ami" not in looked_up
    assert named["ami"] == {"id": "ami-1"}
    assert not {"imageLookupOrg", "imageLookupBaseOS"} & set(named)


def test_without_a_key_pair_none_is_put_on_the_machines() -> None:
    """Left out, the provider would take the key pair `default`."""
    items = by_name(rendered(layout(ssh_key=None)))
    assert items["AWSCluster demo"]["spec"]["sshKeyName"] == ""
    assert items["AWSMachineTemplate demo-md-0"]["spec"]["template"]["spec"]["sshKeyName"] == ""


def test_a_pool_without_a_zone_names_no_failure_domain() -> None:
    pools = (Pool("control-plane", 1, 1, "t3.large", None), Pool("md-0", 0, 1, "m5.large", None))
    spec = by_name(rendered(layout(pools=pools)))["MachineDeployment demo-md-0"]["spec"]
    assert spec["replicas"] == 0
    assert "failureDomain" not in spec["template"]["spec"]


def test_the_cluster_carries_its_labels_plan_and_networks() -> None:
    cluster = by_name(rendered(plan="prod", labels={"cni": "antrea", "team": "x"}))["Cluster demo"]
    assert cluster["metadata"]["labels"] == {"cni": "antrea", "team": "x"}
    assert cluster["metadata"]["annotations"]["tkg/plan"] == "prod"
    assert cluster["spec"]["clusterNetwork"] == {
        "pods": {"cidrBlocks": ["100.96.0.0/11"]}, "services": {"cidrBlocks": ["100.64.0.0/13"]},
    }  # fmt: skip


def test_every_object_is_in_the_namespace() -> None:
    assert {item["metadata"]["namespace"] for item in by_name(rendered(namespace="platform")).values()} == {"platform"}


def test_what_is_written_is_what_rights_and_versions_are_looked_at_for() -> None:
    assert {kind_of(item) for item in rendered()} == set(WRITTEN)


# -- the digest --------------------------------------------------------------------------------------------------

OTHER_LAYOUTS: dict[str, Any] = {
    "vpc": "vpc-2",
    "public": (subnet("public-b", "public", "b"),),
    "private": (subnet("private-b", "private", "b"),),
    "ssh_key": "other",
    "kubernetes_version": "v1.32.4",
    "ami_owner": "111111111111",
    "ami_base_os": "flatcar-stable",
    "ami_id": "ami-1",
    "instance_profiles": ("other", "nodes.x"),
    "pools": (Pool("control-plane", 1, 1, "t3.large", None), Pool("md-0", 2, 1, "m5.large", "us-east-1a")),
}
OTHER_BLUEPRINTS: dict[str, Any] = {
    "namespace": "platform", "plan": "prod", "labels": {}, "identity": "lob-dev", "pods": "10.0.0.0/11",
    "services": "10.64.0.0/13",
}  # fmt: skip


def digest(items: tuple[Json, ...]) -> str:
    """The one digest of all objects."""
    found = {config_of(item) for item in items}
    assert len(found) == 1
    return found.pop()


def test_the_digest_is_the_same_for_the_same_words_and_short() -> None:
    first, again = digest(rendered()), digest(rendered())
    assert first == again
    assert len(first) == DIGEST_LENGTH
    assert set(first) <= set("0123456789abcdef")


def test_the_digest_does_not_depend_on_the_order_of_labels() -> None:
    assert digest(rendered(labels={"a": "1", "b": "2"})) == digest(rendered(labels={"b": "2", "a": "1"}))


@pytest.mark.parametrize("change", OTHER_LAYOUTS)
def test_the_digest_changes_with_every_part_of_the_layout(change: str) -> None:
    assert digest(rendered(layout(**{change: OTHER_LAYOUTS[change]}))) != digest(rendered())


@pytest.mark.parametrize("change", OTHER_BLUEPRINTS)
def test_the_digest_changes_with_every_part_of_the_blueprint(change: str) -> None:
    assert digest(rendered(**{change: OTHER_BLUEPRINTS[change]})) != digest(rendered())


def test_the_digest_changes_with_every_version() -> None:
    def other(kind: Kind) -> str:
        return digest(rendered(versions={**LEGACY, kind: "v1beta2"}))

    digests = [other(kind) for kind in WRITTEN]
    assert digest(rendered(versions=LEGACY)) not in digests


def test_no_other_input_is_left_out_of_these_tests() -> None:
    fields = set(vars(layout())) - {"cluster", "where", "production"}
    assert fields == set(OTHER_LAYOUTS)
    assert set(vars(blueprint())) - {"layout"} == set(OTHER_BLUEPRINTS)
    where = replace(layout().where, region="eu-west-1")
    assert digest(rendered(layout(where=where))) != digest(rendered())
    assert digest(rendered(layout(cluster="other"))) != digest(rendered())


def test_other_annotations_are_kept_beside_the_digest() -> None:
    annotations = by_name(rendered())["Cluster demo"]["metadata"]["annotations"]
    assert set(annotations) == {CONFIG, "tkg/plan"}


# -- GPU pools ---------------------------------------------------------------------------------------------------


def with_gpus(**of_pool: Any) -> Layout:
    """A dev cluster with a pool of two GPU machines beside its worker."""
    pool = Pool("md-gpu", 2, 1, "g4dn.xlarge", "us-east-1a", disk=120, gpu=True, **of_pool)
    return layout(pools=(*layout().pools, pool))


@pytest.mark.parametrize("versions", [CURRENT, LEGACY])
def test_gpu_machines_have_a_pool_and_a_disk_of_their_own(versions: dict[Kind, str]) -> None:
    found = by_name(rendered(with_gpus(), versions))
    disks = {name: found[f"AWSMachineTemplate demo-{name}"]["spec"]["template"]["spec"]["rootVolume"]["size"]
             for name in ("md-0", "md-gpu")}  # fmt: skip
    assert disks == {"md-0": 80, "md-gpu": 120}
    assert found["MachineDeployment demo-md-gpu"]["spec"]["replicas"] == 2
    assert found["Cluster demo"]["metadata"]["labels"]["gpu"] == "nvidia"
    assert "gpu" not in by_name(rendered(versions=versions))["Cluster demo"]["metadata"]["labels"]


@pytest.mark.parametrize("versions", [CURRENT, LEGACY])
def test_taint_and_labels_of_gpu_nodes_are_what_their_kubelets_register(versions: dict[Kind, str]) -> None:
    found = by_name(rendered(with_gpus(taint=True, labels=(("team", "vision"), ("tier", "gpu"))), versions))

    def registration(pool: str) -> Any:
        spec = found[f"KubeadmConfigTemplate demo-{pool}"]["spec"]["template"]["spec"]
        return spec["joinConfiguration"]["nodeRegistration"]

    arguments = registration("md-gpu")["kubeletExtraArgs"]
    said = arguments if isinstance(arguments, dict) else {entry["name"]: entry["value"] for entry in arguments}
    assert said["node-labels"] == "team=vision,tier=gpu"
    assert registration("md-gpu")["taints"] == [{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}]
    assert "taints" not in registration("md-0")
    assert "node-labels" not in str(registration("md-0"))


@pytest.mark.parametrize("change", [{"taint": True}, {"labels": (("team", "vision"),)}])
def test_the_digest_changes_with_what_gpu_nodes_register(change: dict[str, Any]) -> None:
    assert digest(rendered(with_gpus(**change))) != digest(rendered(with_gpus()))


def test_a_gpu_type_in_the_ordinary_pool_makes_a_gpu_cluster() -> None:
    pools = (layout().pools[0], Pool("md-0", 1, 1, "g5.xlarge", "us-east-1a"))
    assert by_name(rendered(layout(pools=pools)))["Cluster demo"]["metadata"]["labels"]["gpu"] == "nvidia"
