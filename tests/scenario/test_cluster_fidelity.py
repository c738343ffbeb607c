"""What a cluster needs, taken away one thing at a time: after the approval the run stops as the real thing would, in
AWS's or the provider's own words, with cause and fix; before the plan, the preflight says so and nothing is made.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bot.tour import buttons, words
from tests.scenario.clusters import (
    IDENTITIES,
    SETS,
    SWIFT,
    Administrator,
    amazon,
    approve,
    ask,
    begin,
    changes,
    clear,
    create,
    done,
    in_kubernetes,
    parked,
    thread,
    wait_for,
)
from tests.world import APPROVER, MANAGEMENT, Json, World, running_world

EVERYWHERE = "0.0.0.0/0"
PROFILE = "nodes.cluster-api-provider-aws.sigs.k8s.io"
CONTROLLERS = f"controllers.{PROFILE.partition('.')[2]}"
OWN_RANGES = {"full": "10.0.200.0/28", "lost": "10.0.200.16/28"}
Cause = Callable[[World], AbstractContextManager[None]]


@pytest.fixture(scope="module")
def shared() -> Iterator[World]:
    with running_world() as made:
        made.start_bot(("-c", SWIFT))
        yield made


@pytest.fixture
def world(shared: World) -> Iterator[World]:
    shared.calm()
    shared.kube_faults(pace=0.1)
    yield shared
    clear(shared)
    for name in OWN_RANGES:
        ident = shared.vpcs["demo"]["subnets"].pop(f"demo-{name}", None)
        if ident:
            amazon(shared, "ec2").delete_subnet(SubnetId=ident)


def own_subnet(world: World, name: str) -> None:
    """A private subnet of sixteen addresses for one case alone, if it is not there yet."""
    if f"demo-{name}" in world.vpcs["demo"]["subnets"]:
        return
    ec2, block = amazon(world, "ec2"), OWN_RANGES[name]
    made = ec2.create_subnet(VpcId=world.vpcs["demo"]["id"], CidrBlock=block, AvailabilityZone="us-east-1a")["Subnet"]
    ec2.associate_route_table(RouteTableId=_table(world, "demo-private"), SubnetId=made["SubnetId"])
    ec2.create_tags(Resources=[made["SubnetId"]], Tags=[{"Key": "Name", "Value": f"demo-{name}"}])
    world.vpcs["demo"]["subnets"][f"demo-{name}"] = made["SubnetId"]


def _table(world: World, name: str) -> str:
    found = amazon(world, "ec2").describe_route_tables(Filters=[{"Name": "tag:Name", "Values": [name]}])
    return str(found["RouteTables"][0]["RouteTableId"])


# -- what can be taken away --------------------------------------------------------------------------------------


@contextmanager
def no_key_pair(world: World) -> Iterator[None]:
    ec2 = amazon(world, "ec2")
    ec2.delete_key_pair(KeyName="ops")
    yield
    text = Ed25519PrivateKey.generate().public_key()
    public = text.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    ec2.import_key_pair(KeyName="ops", PublicKeyMaterial=public)


def _no_route(world: World, table: str, which: str) -> Iterator[None]:
    ec2, ident = amazon(world, "ec2"), _table(world, table)
    (found,) = ec2.describe_route_tables(RouteTableIds=[ident])["RouteTables"]
    way = next(route[which] for route in found["Routes"] if route.get("DestinationCidrBlock") == EVERYWHERE)
    ec2.delete_route(RouteTableId=ident, DestinationCidrBlock=EVERYWHERE)
    yield
    ec2.create_route(RouteTableId=ident, DestinationCidrBlock=EVERYWHERE, **{which: way})


@contextmanager
def no_route_to_the_nat_gateway(world: World) -> Iterator[None]:
    yield from _no_route(world, "demo-private", "NatGatewayId")


@contextmanager
def no_route_to_the_internet_gateway(world: World) -> Iterator[None]:
    yield from _no_route(world, "demo-public", "GatewayId")


@contextmanager
def no_nat_gateway(world: World) -> Iterator[None]:
    """It is deleted, and the route to it stays."""
    ec2, ident = amazon(world, "ec2"), _table(world, "demo-private")
    wanted = [{"Name": "vpc-id", "Values": [world.vpcs["demo"]["id"]]}, {"Name": "state", "Values": ["available"]}]
    (found,) = ec2.describe_nat_gateways(Filters=wanted)["NatGateways"]
    ec2.delete_nat_gateway(NatGatewayId=found["NatGatewayId"])
    yield
    address = ec2.allocate_address(Domain="vpc")["AllocationId"]
    made = ec2.create_nat_gateway(SubnetId=found["SubnetId"], AllocationId=address)["NatGateway"]["NatGatewayId"]
    ec2.replace_route(RouteTableId=ident, DestinationCidrBlock=EVERYWHERE, NatGatewayId=made)


@contextmanager
def no_instance_profile(world: World) -> Iterator[None]:
    iam = amazon(world, "iam")
    iam.remove_role_from_instance_profile(InstanceProfileName=PROFILE, RoleName=PROFILE)
    iam.delete_instance_profile(InstanceProfileName=PROFILE)
    yield
    iam.create_instance_profile(InstanceProfileName=PROFILE)
    iam.add_role_to_instance_profile(InstanceProfileName=PROFILE, RoleName=PROFILE)


def no_image(version: str) -> Cause:
    """Its owner takes the image back, for good: each use of this has a version of its own."""

    @contextmanager
    def cause(world: World) -> Iterator[None]:
        ec2 = amazon(world, "ec2")
        wanted = [{"Name": "name", "Values": [f"capa-ami-ubuntu-24.04-{version}-*"]}]
        for image in ec2.describe_images(Filters=wanted)["Images"]:
            ec2.deregister_image(ImageId=image["ImageId"])
        yield

    return cause


def switched(**faults: Any) -> Cause:
    """A switch of AWS's."""

    @contextmanager
    def cause(world: World) -> Iterator[None]:
        world.view.aws_faults(**faults)
        yield
        world.view.aws_faults(**{name: type(value)() for name, value in faults.items()})

    return cause


def gone(resource: str, name: str, namespace: str = "") -> Cause:
    """An object of the management cluster is deleted."""

    @contextmanager
    def cause(world: World) -> Iterator[None]:
        admin = Administrator(world)
        found = admin.get(resource, name, namespace)
        assert found is not None
        admin.delete(resource, name, namespace)
        yield
        admin.make(resource, found, namespace)

    return cause


@contextmanager
def namespace_not_allowed(world: World) -> Iterator[None]:
    admin = Administrator(world)
    admin.patch(IDENTITIES, "default", {"spec": {"allowedNamespaces": {"list": ["platform"]}}})
    yield
    admin.patch(IDENTITIES, "default", {"spec": {"allowedNamespaces": {"list": None}}})


@contextmanager
def full_subnet(world: World) -> Iterator[None]:
    own_subnet(world, "full")
    ec2, (subnet,) = amazon(world, "ec2"), world.subnets("demo-full")
    free = ec2.describe_subnets(SubnetIds=[subnet])["Subnets"][0]["AvailableIpAddressCount"]
    made = [ec2.create_network_interface(SubnetId=subnet)["NetworkInterface"] for _ in range(free)]
    yield
    for interface in made:
        ec2.delete_network_interface(NetworkInterfaceId=interface["NetworkInterfaceId"])


@contextmanager
def no_subnet(world: World) -> Iterator[None]:
    amazon(world, "ec2").delete_subnet(SubnetId=world.vpcs["demo"]["subnets"].pop("demo-lost"))
    yield


def _with_rights(world: World, change: Callable[[list[Json]], list[Json]]) -> Iterator[None]:
    iam = amazon(world, "iam")
    place = {"PolicyArn": f"arn:aws:iam::{MANAGEMENT}:policy/{CONTROLLERS}"}
    before = iam.get_policy(**place)["Policy"]["DefaultVersionId"]
    policy = iam.get_policy_version(**place, VersionId=before)["PolicyVersion"]["Document"]
    less = json.dumps({**policy, "Statement": change(policy["Statement"])})
    made = iam.create_policy_version(**place, PolicyDocument=less, SetAsDefault=True)["PolicyVersion"]["VersionId"]
    yield
    iam.set_default_policy_version(**place, VersionId=before)
    iam.delete_policy_version(**place, VersionId=made)


@contextmanager
def controllers_may_not_pass_roles(world: World) -> Iterator[None]:
    yield from _with_rights(world, lambda each: [one for one in each if "iam:PassRole" not in str(one["Action"])])


@contextmanager
def controllers_may_not_run_instances(world: World) -> Iterator[None]:
    def less(each: list[Json]) -> list[Json]:
        return [{**one, "Action": [a for a in one["Action"] if a != "ec2:RunInstances"]} for one in each]

    yield from _with_rights(world, less)


@contextmanager
def no_dns_names(world: World) -> Iterator[None]:
    ec2, vpc = amazon(world, "ec2"), world.vpcs["demo"]["id"]
    ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsSupport={"Value": False})
    yield
    ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsSupport={"Value": True})


@contextmanager
def no_sets(world: World) -> Iterator[None]:
    with ExitStack() as stack:
        for entry in Administrator(world).list(SETS, "default"):
            stack.enter_context(gone(SETS, entry["metadata"]["name"], "default")(world))
        yield


@contextmanager
def nothing(_world: World) -> Iterator[None]:
    """The cause is in the command itself."""
    yield


# -- after the approval ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """`said` are AWS's or the provider's own words, `fix` what to do, both in the thread."""

    name: str
    cause: Cause
    said: tuple[str, ...]
    fix: str
    more: tuple[str, ...] = ()
    mends: bool = True


VCPUS = "L-1216C47A"
SCP = "with an explicit deny in a service control policy"
LATER = (
    Case("key", no_key_pair, ("The key pair 'ops' does not exist",), "--ssh-key"),
    Case("nat-route", no_route_to_the_nat_gateway, ("runs in EC2 but has not joined as a node",), "way out"),
    Case("nat", no_nat_gateway, ("runs in EC2 but has not joined as a node",), "way out"),
    Case("igw-route", no_route_to_the_internet_gateway, ("Either AvailabilityZones or SubnetIds must be",), "subnet"),
    Case("profile", no_instance_profile, ("Invalid IAM Instance Profile name",), "rofile"),
    Case(
        "image", no_image("v1.32.5"), ("found no AMIs with the name",), "Kubernetes version",
        ("--kubernetes-version", "v1.32.5"), mends=False,
    ),
    Case("quota", switched(quota=[f"{VCPUS}=0"]), ("current vCPU limit of 0 allows for",), "Service Quotas"),
    Case("few-vcpus", switched(quota=[f"{VCPUS}=2"]), ("AWSMachine/few-vcpus-md-0", "limit of 2"), "Service Quotas"),
    Case("capacity", switched(no_capacity=["t3.large"]), ("not have sufficient t3.large capacity",), "another zone"),
    Case("worker-room", switched(no_capacity=["m5.large"]), ("not have sufficient m5.large capacity",), "another zone"),
    Case("identity", gone(IDENTITIES, "default"), ("not found",), "AWSClusterControllerIdentity"),
    Case("allowed", namespace_not_allowed, ("Namespace is not permitted to use",), "allowedNamespaces"),
    Case("cni", gone(SETS, "calico", "default"), ("cni plugin not initialized",), "network plugin"),
    Case("ccm", gone(SETS, "aws-ccm", "default"), ("has not joined as a node",), "cloud controller manager"),
    Case("scp", switched(deny=["ec2:RunInstances"]), ("RunInstances", SCP), "organisation"),
    Case("scp-groups", switched(deny=["ec2:CreateSecurityGroup"]), ("CreateSecurityGroup", SCP), "organisation"),
    Case(
        "scp-balancer", switched(deny=["elasticloadbalancing:CreateLoadBalancer"]), ("CreateLoadBalancer", SCP),
        "organisation",
    ),
    Case("full", full_subnet, ("not enough free addresses in subnet",), "Free addresses", ("PRIVATE=demo-full",)),
    Case("pass-role", controllers_may_not_pass_roles, ("iam:PassRole",), "controllers' role"),
    Case(
        "no-right", controllers_may_not_run_instances, ("not authorized to perform: ec2:RunInstances",),
        "controllers' role",
    ),
)  # fmt: skip


def made(world: World, name: str, more: tuple[str, ...], state: str = "Approval needed") -> Json:
    """Asks for a cluster; `PRIVATE=NAME` stands for a private subnet by its name, `PUBLIC=NAME` for a public one."""
    text: list[str] = []
    for word in more:
        kind, _, subnet = word.partition("=")
        named = kind in ("PRIVATE", "PUBLIC")
        if subnet.removeprefix("demo-") in OWN_RANGES:
            own_subnet(world, subnet.removeprefix("demo-"))
        text += [f"--{kind.lower()}-subnets", ",".join(world.subnets(*subnet.split("+")))] if named else [word]
    return create(world, name, *text, state=state)


@pytest.mark.long
@pytest.mark.parametrize("case", LATER, ids=[case.name for case in LATER])
def test_what_is_taken_away_after_the_approval(world: World, case: Case) -> None:
    card = made(world, case.name, case.more)
    cause = case.cause(world)
    try:
        begin(world, card, cause.__enter__)
        told = parked(world, card)
    finally:
        cause.__exit__(None, None, None)
    for text in (*case.said, case.fix):
        assert text in told, told
    assert "Done and proven" not in told
    if case.mends:
        world.view.click(APPROVER, card["ts"], "tkg:resume")
        done(world, card)


@pytest.mark.long
def test_a_subnet_that_is_deleted_after_the_approval(world: World) -> None:
    """The tag comes first, so it is the bot whom AWS refuses, and no object is made."""
    card = made(world, "lost", ("PRIVATE=demo-lost",))
    with ExitStack() as stack:
        begin(world, card, lambda: stack.enter_context(no_subnet(world)))
        wait_for(world, card, "Failed: create")
    told = thread(world, card)
    assert "InvalidSubnetID.NotFound" in told, told
    assert "Not begun, so not changed: create the 8 Kubernetes objects" in told
    assert in_kubernetes(world) == []


# -- before the plan ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Early:
    """The card's state, the title of the check that says so, and its evidence; `silent` where AWS tells nobody."""

    name: str
    cause: Cause
    check: str
    said: str
    more: tuple[str, ...] = ()
    state: str = "Blocked"


WARNS = "Approval needed"
SOONER = (
    Early("key", no_key_pair, "The SSH key pair exists", "`ops` is not in us-east-1"),
    Early("nat-route", no_route_to_the_nat_gateway, "way out", "no default route"),
    Early("nat", no_nat_gateway, "way out", "is deleted"),
    Early("igw-route", no_route_to_the_internet_gateway, "Public subnets are public", "leads to no internet gateway",
          ("PUBLIC=demo-public-a",)),
    Early("profile", no_instance_profile, "Instance profiles exist", f"{PROFILE}"),
    Early("image", no_image("v1.31.9"), "The machine image exists", "1.31.9", ("--kubernetes-version", "v1.31.9")),
    Early("quota", switched(quota=[f"{VCPUS}=0"]), "vCPU quota", "Limit 0"),
    Early("worker-quota", switched(quota=[f"{VCPUS}=2"]), "vCPU quota", "free 2; needed 4"),
    Early("roll-quota", switched(quota=[f"{VCPUS}=4"]), "vCPU quota", "during a roll 8", state=WARNS),
    Early("identity", gone(IDENTITIES, "default"), "way into the account", "no AWSClusterControllerIdentity default"),
    Early("allowed", namespace_not_allowed, "way into the account", "does not allow the namespace default"),
    Early("full", full_subnet, "Free addresses for machines", "has 0 free and needs 2", ("PRIVATE=demo-full",)),
    Early("dns", no_dns_names, "DNS of the VPC", "DNS"),
    Early(
        "offered", nothing, "Instance types are offered", "not offered in us-east-1a",
        ("--worker-type", "p4de.24xlarge"),
    ),
    Early("no-type", nothing, "Instance types exist", "m5.77xlarge is not in", ("--worker-type", "m5.77xlarge")),
    Early("small", nothing, "Machines are large enough", "below 2 vCPUs", ("--control-plane-type", "t2.micro")),
    Early("swapped", nothing, "Private subnets are private", "is public", ("PRIVATE=demo-public-a",)),
    Early(
        "alone", nothing, "A public subnet in each zone", "no public subnets attached to the ELB",
        ("PRIVATE=demo-private-b", "PUBLIC=demo-public-a"),
    ),
    Early("blind", switched(deny=["ec2:DescribeKeyPairs"]), "The SSH key pair exists", "not known"),
    Early("no-place", nothing, "The namespace exists", "no namespace nowhere", ("--namespace", "nowhere")),
    Early("no-sets", no_sets, "Network plugin", "No ClusterResourceSet in default", state=WARNS),
)  # fmt: skip


@pytest.mark.long(but=3)
@pytest.mark.parametrize("early", SOONER, ids=[early.name for early in SOONER])
def test_what_is_missing_before_the_plan(world: World, early: Early) -> None:
    before = changes(world)
    with early.cause(world):
        card = made(world, early.name, early.more, early.state)
    shown = " ".join(words(card).split())
    assert early.check in shown, shown
    assert early.said.replace("`", "") in shown.replace("`", ""), shown
    assert ("tkg:approve" in buttons(card)) is (early.state == WARNS)
    assert changes(world) == before, "nothing is made"


@pytest.mark.long(but=1)
@pytest.mark.parametrize(("name", "said"), [("calico", "cni=calico"), ("aws-ccm", "ccm=external")])
def test_one_of_the_add_ons_is_missing_before_the_plan(world: World, name: str, said: str) -> None:
    with gone(SETS, name, "default")(world):
        card = create(world, f"no-{name}")
    shown = " ".join(words(card).split())
    assert "⚠️ Network plugin and cloud controller" in shown
    assert said in shown


# -- the proof of load balancers ---------------------------------------------------------------------------------


@contextmanager
def tag_of_another_cluster(world: World) -> Iterator[None]:
    """The public subnet loses the tag of `proof` and gets that of another."""
    ec2, public = amazon(world, "ec2"), world.subnets("demo-public-a")
    ours, theirs = ({"Key": f"kubernetes.io/cluster/{name}", "Value": "shared"} for name in ("proof", "other"))
    ec2.delete_tags(Resources=public, Tags=[ours])
    ec2.create_tags(Resources=public, Tags=[theirs])
    yield
    ec2.delete_tags(Resources=public, Tags=[theirs])
    ec2.create_tags(Resources=public, Tags=[ours])


@pytest.mark.long
def test_the_tag_of_the_subnet_is_what_load_balancers_need(world: World) -> None:
    card = create(world, "proof")
    approve(world, card)
    done(world, card)
    text, before = "cluster verify proof --loadbalancer", changes(world)
    with tag_of_another_cluster(world):
        card = ask(world, text, "Approval needed: prove")
        assert "Not tagged: demo-public-a" in words(card)
        assert "/tkg subnet tag proof" in words(card)
        assert changes(world) == before
        approve(world, card)
        wait_for(world, card, "Failed: prove")
    told = thread(world, card)
    assert "The service got no address" in told, told
    assert "could not find any suitable subnets for creating the ELB" in told
    assert "subnet check proof" in told
    card = ask(world, text, "Approval needed: prove")
    approve(world, card)
    assert "its load balancer stands in demo-public-a" in done(world, card)
