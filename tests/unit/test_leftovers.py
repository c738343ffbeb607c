"""Leftovers of a cluster, and `cluster cleanup`: found by their tags, told apart from what lives, taken away."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from handlers.clients.aws import POLICY_LIMIT, session_policy
from handlers.cluster_cleanup import ClusterCleanup
from handlers.contract import Action, AwsRefused, Check, Fatal, NeedsPerson, Plan, Retry
from handlers.kinds import CLUSTER
from handlers.leftover_words import offer, told
from handlers.leftovers import Leftover, Leftovers, look, marks
from handlers.network import cluster_key
from tests.unit.blueprints import layout, rendered
from tests.unit.clouds import CALLER, REGION, Cloud, asked, key
from tests.unit.living import Living, by_id, caller_of, running_clusters
from tests.unit.preflights import Eyes

pytestmark = pytest.mark.long

OWNED = {"gone": "owned"}
PROVIDER = "sigs.k8s.io/cluster-api-provider-aws/cluster/gone"


@pytest.fixture(scope="module")
def living(standing_cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Living]:
    with running_clusters(standing_cloud, tmp_path_factory.mktemp("living")) as made:
        yield made


@pytest.fixture(autouse=True)
def empty(living: Living, cloud: Cloud) -> Iterator[None]:
    """Everything that a test leaves goes with it."""
    yield
    living.calm()
    ec2, elbv2 = cloud.admin("ec2"), cloud.admin("elbv2")
    cloud.clear()
    for raw in elbv2.describe_target_groups()["TargetGroups"]:
        elbv2.delete_target_group(TargetGroupArn=raw["TargetGroupArn"])
    mine = [{"Name": "tag-key", "Values": [key("gone"), PROVIDER]}]
    for raw in ec2.describe_volumes(Filters=mine)["Volumes"]:
        ec2.delete_volume(VolumeId=raw["VolumeId"])
    for raw in ec2.describe_network_interfaces(Filters=mine)["NetworkInterfaces"]:
        ec2.delete_network_interface(NetworkInterfaceId=raw["NetworkInterfaceId"])
    for raw in ec2.describe_addresses(Filters=mine)["Addresses"]:
        ec2.release_address(AllocationId=raw["AllocationId"])
    groups = [g for g in ec2.describe_security_groups()["SecurityGroups"] if g["GroupName"] != "default"]
    for group in groups:
        if group["IpPermissions"]:
            ec2.revoke_security_group_ingress(GroupId=group["GroupId"], IpPermissions=group["IpPermissions"])
    for group in groups:
        ec2.delete_security_group(GroupId=group["GroupId"])


# -- making leftovers --------------------------------------------------------------------------------------------


def pairs(**tags: str) -> list[dict[str, str]]:
    """Tags of the cloud provider, by cluster."""
    return [{"Key": key(cluster), "Value": value} for cluster, value in tags.items()]


def spec(kind: str, tags: Sequence[dict[str, str]]) -> list[dict[str, Any]]:
    """Tags at birth."""
    return [{"ResourceType": kind, "Tags": list(tags)}]


def volume(cloud: Cloud, size: int = 100, tags: Sequence[dict[str, str]] = ()) -> str:
    """A volume that nothing uses."""
    made = cloud.admin("ec2").create_volume(
        AvailabilityZone="us-east-1a", Size=size, VolumeType="gp3",
        TagSpecifications=spec("volume", tags or pairs(**OWNED)),
    )  # fmt: skip
    return str(made["VolumeId"])


def group(cloud: Cloud, name: str, tags: Sequence[dict[str, str]] = ()) -> str:
    """A security group."""
    made = (
        cloud.admin("ec2").create_security_group(
            GroupName=name, Description=name, VpcId=cloud.vpc(), TagSpecifications=spec("security-group", tags)
        )
        if tags
        else cloud.admin("ec2").create_security_group(GroupName=name, Description=name, VpcId=cloud.vpc())
    )
    return str(made["GroupId"])


def lets_in(cloud: Cloud, into: str, source: str) -> None:
    """A rule of `into` that names `source`."""
    rule = {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "UserIdGroupPairs": [{"GroupId": source}]}
    cloud.admin("ec2").authorize_security_group_ingress(GroupId=into, IpPermissions=[rule])


def everything(cloud: Cloud) -> dict[str, str]:
    """One of each kind; their ids by kind. Two groups name each other, and a load balancer holds one of them."""
    ec2, elb, elbv2 = cloud.admin("ec2"), cloud.admin("elb"), cloud.admin("elbv2")
    subnet, tags = cloud.subnet("public-a"), pairs(**OWNED)
    first, second = group(cloud, "k8s-elb-a1", tags), group(cloud, "gone-node", [{"Key": PROVIDER, "Value": "owned"}])
    lets_in(cloud, first, second)
    lets_in(cloud, second, first)
    listener = {"Protocol": "tcp", "LoadBalancerPort": 80, "InstancePort": 80}
    elb.create_load_balancer(
        LoadBalancerName="a1b2c3", Listeners=[listener], Subnets=[subnet], SecurityGroups=[first], Tags=tags
    )
    cloud.balancer("k8s-shop-web", [subnet], {"elbv2.k8s.aws/cluster": "gone"})
    target = elbv2.create_target_group(Name="k8s-shop", Protocol="TCP", Port=80, VpcId=cloud.vpc(), Tags=tags)
    card = ec2.create_network_interface(SubnetId=subnet, TagSpecifications=spec("network-interface", tags))
    address = ec2.allocate_address(Domain="vpc", TagSpecifications=spec("elastic-ip", tags))
    cloud.put(cloud.public()[:2], gone="shared")
    return {
        "classic-load-balancer": "a1b2c3", "target-group": target["TargetGroups"][0]["TargetGroupArn"],
        "interface": card["NetworkInterface"]["NetworkInterfaceId"], "address": address["AllocationId"],
        "volume": volume(cloud), "security-group": first,
    }  # fmt: skip


def checks(plan: Plan) -> dict[str, Check]:
    return by_id(plan.checks)


def plan_of(living: Living, **more: Any) -> Plan:
    return living.plan("cluster cleanup", "gone", **more)


# -- what is found -----------------------------------------------------------------------------------------------


def test_nothing_is_left_of_a_cluster_that_never_was(living: Living) -> None:
    plan = plan_of(living)
    assert (plan.steps, plan.blocked, plan.details) == ((), False, None)
    assert checks(plan)["looked"].evidence == "Nothing of gone is left in AWS."
    assert plan.impact.deletes == ()


def test_everything_is_found_counted_and_taken_away(living: Living, cloud: Cloud) -> None:
    known = everything(cloud)
    plan = plan_of(living, volumes=True)
    kinds = [step.model_dump().get("what", step.kind) for step in plan.steps]
    assert kinds == [
        "load-balancer", "classic-load-balancer", "target-group", "interface", "address", "volume", "security-group",
        "untag",
    ]  # fmt: skip
    ids = {step.model_dump()["what"]: step.model_dump()["resources"] for step in plan.steps if step.kind == "leftover"}
    assert {kind: name in ids[kind] for kind, name in known.items()} == dict.fromkeys(known, True)
    assert len(ids["security-group"]) == 2
    assert plan.impact.reversible is False
    assert plan.impact.cost_per_hour_usd == pytest.approx(-(0.025 + 0.0225 + 0.005 + 100 * 0.08 / 730), abs=1e-3)
    words = "1 elastic IP address, 1 volume (100 GiB), 2 security groups and a tag on 2 subnets, about $"
    said = checks(plan)["looked"].evidence
    assert f"gone left 2 load balancers, 1 target group, 1 network interface, {words}" in said
    before = living.proof("cluster cleanup", plan, "gone", volumes=True)["verify leftovers"]
    assert (before.result, "Still there: load balancer k8s-shop-web" in before.evidence) == ("block", True)
    living.run(plan)
    after = living.proof("cluster cleanup", plan, "gone", volumes=True)["verify leftovers"]
    assert after.result == "pass"
    assert plan_of(living).steps == ()
    assert cloud.tags(cloud.public()) == {name: {} for name in cloud.public()}


def test_doing_it_again_changes_nothing(living: Living, cloud: Cloud) -> None:
    everything(cloud)
    plan = plan_of(living)
    living.run(plan)
    again = [living.shop.act(step.model_dump(mode="json"), caller_of(plan)) for step in plan.steps]
    assert [outcome.changed for outcome in again] == [False] * len(plan.steps)


def test_volumes_stay_unless_they_are_asked_for(living: Living, cloud: Cloud) -> None:
    name = volume(cloud, 40, [*pairs(**OWNED), *(
        {"Key": f"kubernetes.io/created-for/pvc/{part}", "Value": value}
        for part, value in (("namespace", "shop"), ("name", "data"))
    )])  # fmt: skip
    plan = plan_of(living)
    assert (plan.steps, plan.blocked, checks(plan)["volumes"].result) == ((), False, "warn")
    assert "1 volume (40 GiB), about $3 a month: shop/data." in checks(plan)["volumes"].evidence
    assert "--volumes" in checks(plan)["volumes"].fix
    lost = plan_of(living, volumes=True)
    assert "What is in them is lost" in checks(lost)["volumes"].fix
    assert [step.model_dump()["resources"] for step in lost.steps] == [(name,)]


def test_a_volume_that_is_attached_stays(living: Living, cloud: Cloud) -> None:
    ec2 = cloud.admin("ec2")
    node, name = cloud.node(cloud.subnet("public-a"), {"Name": "somebody"}), volume(cloud)
    ec2.attach_volume(VolumeId=name, InstanceId=node, Device="/dev/sdf")
    plan = plan_of(living, volumes=True)
    assert plan.steps == ()
    assert checks(plan)["held"].evidence == f"volume {name} (attached to {node})."
    ec2.detach_volume(VolumeId=name, InstanceId=node, Device="/dev/sdf")


def test_a_security_group_that_others_use_stays(living: Living, cloud: Cloud) -> None:
    ours, theirs, free = (
        group(cloud, "gone-node", pairs(**OWNED)),
        group(cloud, "database"),
        group(cloud, "gone-lb", pairs(**OWNED)),
    )
    lets_in(cloud, theirs, ours)
    plan = plan_of(living)
    assert [step.model_dump()["resources"] for step in plan.steps] == [(free,)]
    assert f"security group gone-node ({ours}) (named by a rule of {theirs})" in checks(plan)["held"].evidence
    subnet = cloud.subnet("public-a")
    cloud.admin("ec2").create_network_interface(SubnetId=subnet, Groups=[free], Description="a database")
    plan = plan_of(living)
    assert plan.steps == ()
    assert f"gone-lb ({free}) (used by eni-" in checks(plan)["held"].evidence
    cards = cloud.admin("ec2").describe_network_interfaces(Filters=[{"Name": "group-id", "Values": [free]}])
    cloud.admin("ec2").delete_network_interface(NetworkInterfaceId=cards["NetworkInterfaces"][0]["NetworkInterfaceId"])


def test_what_other_clusters_have_is_not_touched(living: Living, cloud: Cloud) -> None:
    volume(cloud, 8, pairs(gone="shared"))
    cloud.balancer("theirs", [cloud.subnet("public-a")], {cluster_key("gone-2"): "owned"})
    cloud.put(cloud.public()[:1], **{"gone-2": "shared"})
    plan = plan_of(living, volumes=True)
    assert (plan.steps, plan.details) == ((), None)
    for raw in cloud.admin("ec2").describe_volumes(Filters=[{"Name": "size", "Values": ["8"]}])["Volumes"]:
        if raw.get("Tags"):
            cloud.admin("ec2").delete_volume(VolumeId=raw["VolumeId"])


# -- what lives is told apart ------------------------------------------------------------------------------------


def test_a_cluster_that_is_there_blocks_in_whichever_namespace(living: Living, cloud: Cloud) -> None:
    everything(cloud)
    living.kube.call(lambda: None)
    cluster = next(item for item in rendered(layout(cluster="gone"), namespace="platform") if item["kind"] == "Cluster")
    living.kube.put({**cluster, "spec": {**cluster["spec"], "paused": True}})
    plan = plan_of(living)
    assert (plan.steps, checks(plan)["gone"].result) == ((), "block")
    assert "there is Cluster platform/gone" in checks(plan)["gone"].evidence
    assert "/tkg cluster delete gone" in checks(plan)["gone"].fix
    living.kube.change(CLUSTER, "gone", {"spec": {"paused": False}}, "platform")
    living.kube.drop(CLUSTER, "gone", "platform")
    living_gone = lambda: living.kube.find(CLUSTER, "gone", "platform") is None  # noqa: E731
    from tests.contract.server import wait_for

    wait_for(living_gone, "the cluster gone")
    assert plan_of(living).steps != ()


def test_where_it_cannot_be_told_nothing_goes(living: Living, cloud: Cloud) -> None:
    everything(cloud)
    living.faults(forbid=["list cluster.x-k8s.io/clusters"])
    plan = plan_of(living)
    assert (plan.steps, checks(plan)["gone"].result) == ((), "unknown")
    living.faults(forbid=[])
    cloud.sandbox.set_faults({"deny": ["ec2:DescribeVolumes"]})
    plan = plan_of(living)
    assert (plan.steps, checks(plan)["looked"].result) == ((), "unknown")


def test_instances_may_be_of_a_cluster_that_another_management_cluster_has(living: Living, cloud: Cloud) -> None:
    node = cloud.node(cloud.subnet("public-a"), {PROVIDER: "owned", "Name": "gone-md-0"})
    volume(cloud)
    plan = plan_of(living, volumes=True)
    assert (plan.steps, checks(plan)["instances"].result) == ((), "block")
    assert f"gone-md-0 ({node}) (t3.micro)" in checks(plan)["instances"].evidence
    assert "another management cluster" in checks(plan)["instances"].fix
    plan = plan_of(living, instances=True)
    assert [step.model_dump()["what"] for step in plan.steps] == ["instance"]
    living.run(plan)
    assert living.proof("cluster cleanup", plan, "gone", instances=True)["verify leftovers"].result == "pass"


def test_a_cluster_of_eks_carries_the_same_tags(living: Living, cloud: Cloud) -> None:
    name = volume(cloud, 9, [*pairs(**OWNED), {"Key": "eks:cluster-name", "Value": "gone"}])
    plan = plan_of(living, volumes=True)
    assert (plan.steps, checks(plan)["strangers"].result) == ((), "block")
    assert f"Amazon EKS has a cluster gone here: volume {name}." == checks(plan)["strangers"].evidence


def test_subnets_that_the_cluster_owned_are_looked_at_by_hand(living: Living, cloud: Cloud) -> None:
    cloud.put([cloud.subnet("public-a")], gone="owned")
    plan = plan_of(living)
    assert (plan.steps, checks(plan)["others"].result) == ((), "warn")
    assert f"subnet {cloud.subnet('public-a')}" in checks(plan)["others"].evidence


# -- the rights --------------------------------------------------------------------------------------------------


def test_the_session_can_delete_only_what_carries_the_clusters_tag(living: Living, cloud: Cloud) -> None:
    """The approved plan's own session, in which AWS itself refuses everything else."""
    everything(cloud)
    theirs = volume(cloud, 8, pairs(other="owned"))
    plan = plan_of(living, volumes=True)
    step = next(step for step in plan.steps if step.model_dump().get("what") == "volume").model_dump(mode="json")
    stranger = {**step, "resources": [theirs], "marks": {theirs: f"{key('other')}=owned"}}
    with pytest.raises(Fatal, match="the approved plan's own session policy"):
        living.shop.act(stranger, caller_of(plan))
    cloud.admin("ec2").delete_volume(VolumeId=theirs)


def test_what_lost_its_tag_meanwhile_is_left_alone(living: Living, cloud: Cloud) -> None:
    name = volume(cloud)
    plan = plan_of(living, volumes=True)
    ec2 = cloud.admin("ec2")
    ec2.delete_tags(Resources=[name], Tags=[{"Key": key("gone")}])
    with pytest.raises(NeedsPerson, match="is not on volume"):
        living.shop.act(plan.steps[0].model_dump(mode="json"), caller_of(plan))
    assert ec2.describe_volumes(VolumeIds=[name])["Volumes"]
    ec2.delete_volume(VolumeId=name)


def test_a_group_that_came_into_use_is_waited_for(living: Living, cloud: Cloud) -> None:
    """A load balancer's network interfaces stay for minutes after it."""
    name = group(cloud, "gone-lb", pairs(**OWNED))
    plan = plan_of(living)
    step, ec2 = plan.steps[0].model_dump(mode="json"), cloud.admin("ec2")
    card = ec2.create_network_interface(SubnetId=cloud.subnet("public-a"), Groups=[name])["NetworkInterface"]
    with pytest.raises(Retry, match=f"{name} is still in use"):
        living.shop.act(step, caller_of(plan))
    ec2.delete_network_interface(NetworkInterfaceId=card["NetworkInterfaceId"])
    assert living.shop.act(step, caller_of(plan)).changed


@pytest.mark.parametrize("length", [1, 63])
def test_the_rights_of_the_largest_plan_fit_a_session_policy(cloud: Cloud, length: int) -> None:
    """AWS takes 2,048 characters, whatever the name and however much is left."""
    from handlers.cluster_cleanup import _steps
    from handlers.leftovers import Leftover, Leftovers, marks
    from handlers.network import subnets_of_vpc
    from handlers.steps.leftover import ACTIONS
    from tests.unit.preflights import WHERE

    name = "a" * length
    items = tuple(
        Leftover(kind=kind, id=f"{kind}-{number}-{mark}", mark=marks(name)[mark])
        for kind in ACTIONS for mark in range(3 if "balancer" in kind else 2) for number in range(50)
    )  # fmt: skip
    cloud.put(cloud.public(), **{name: "shared"})
    subnets = tuple(subnet for subnet in subnets_of_vpc(Eyes(cloud), cloud.vpc()) if name in subnet.clusters)
    steps = list(_steps(Leftovers(name, items, subnets), items, WHERE))
    actions: tuple[Action, ...] = tuple(action for step in steps for action in step.actions)
    assert len(steps) == len(ACTIONS) + 1
    assert len(session_policy(actions)) <= POLICY_LIMIT


def test_a_role_without_the_rights_is_found_out_by_a_dry_run(living: Living, cloud: Cloud) -> None:
    name = volume(cloud)
    cloud.sandbox.set_faults({"deny": ["ec2:DeleteVolume"]})
    plan = plan_of(living, volumes=True)
    assert (plan.steps, checks(plan)["may"].result) == ((), "block")
    assert "Cleanup=true" in checks(plan)["may"].fix
    cloud.sandbox.set_faults({"deny": []})
    assert checks(plan_of(living, volumes=True))["may"].result == "pass"
    assert cloud.admin("ec2").describe_volumes(VolumeIds=[name])["Volumes"], "a dry run deletes nothing"


def test_without_the_rights_the_run_says_so(living: Living, cloud: Cloud) -> None:
    volume(cloud)
    plan = plan_of(living, volumes=True)
    step = plan.steps[0].model_dump(mode="json")
    with pytest.raises(Fatal, match="does not declare"):
        living.shop.act(step, replace(CALLER, actions=plan.steps[0].actions[:1]))


def test_somebody_who_is_quicker_is_no_error(living: Living, cloud: Cloud) -> None:
    name = volume(cloud)
    plan = plan_of(living, volumes=True)
    real = living.shop.reach.sessions.call

    def quicker(session: Any, service: str, operation: str, parameters: dict[str, Any]) -> Any:
        if operation == "delete_volume":
            cloud.admin("ec2").delete_volume(VolumeId=name)
        return real(session, service, operation, parameters)

    living.shop.reach.sessions.call = quicker  # type: ignore[method-assign]
    try:
        assert living.shop.act(plan.steps[0].model_dump(mode="json"), caller_of(plan)).changed
    finally:
        living.shop.reach.sessions.call = real  # type: ignore[method-assign]
    assert AwsRefused("InvalidVolume.NotFound", "").code.endswith(".NotFound")


# -- the offer ---------------------------------------------------------------------------------------------------


def test_the_offer_is_one_sentence_with_counts_and_cost(cloud: Cloud) -> None:
    known = everything(cloud)
    place = {"cluster": "gone", "namespace": "default", "account": "management", "region": REGION}
    left = look(Eyes(cloud), "gone", REGION)
    (made,) = offer(left, place, frozenset())
    assert (made.operation, made.label, made.arguments) == ("cluster cleanup", "Clean up", {**place, "volumes": False})
    assert made.title.startswith("In AWS gone left 2 load balancers, 1 target group")
    assert "about $38 a month" in made.title
    assert "Kept, until somebody asks with --volumes: 1 volume (100 GiB), about $8 a month." in made.title
    (whole,) = offer(left, place, frozenset({known["volume"]}))
    assert whole.arguments["volumes"] is True, "its PersistentVolume said Delete"
    assert told(left, place).startswith("In AWS gone left 2 load balancers")
    assert ClusterCleanup.arguments.model_validate(whole.arguments)


def test_nothing_left_offers_nothing(cloud: Cloud) -> None:
    left = look(Eyes(cloud), "gone", REGION)
    assert offer(left, {"cluster": "gone"}, frozenset()) == ()
    assert told(left, {"cluster": "gone"}) == "Nothing of gone is left in AWS."


def test_words_of_a_whole_request_are_typed_back(living: Living) -> None:
    assert asked(living.shop, "cluster cleanup", cluster="gone", volumes=True)["volumes"] is True


def test_one_click_never_deletes_volumes_that_somebody_wanted_to_keep() -> None:
    volume = Leftover(kind="volume", id="vol-1", mark=marks("gone")[0], size="8 GiB")
    only = Leftovers("gone", items=(volume,))
    assert offer(only, {"cluster": "gone"}, frozenset()) == ()
    (both,) = offer(only, {"cluster": "gone"}, frozenset({"vol-1"}))
    assert both.arguments["volumes"] is True, "its PersistentVolume said that it goes with its claim"
