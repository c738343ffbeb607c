"""The preflight's look at the network: the name in use, VPC, subnets, routes, zones, the way out, room."""

from __future__ import annotations

from typing import Any

import pytest

from handlers.contract import Check
from tests.unit.clouds import REGION, Cloud, key
from tests.unit.preflights import Eyes, layout, pool, seen

pytestmark = pytest.mark.long


class Corner:
    """A VPC of its own for one test's trouble, with a public subnet per zone and an internet gateway."""

    def __init__(self, cloud: Cloud, net: str) -> None:
        self.ec2, self.net, self.count = cloud.admin("ec2"), net, 0
        self.vpc: str = self.ec2.create_vpc(CidrBlock=f"{net}.0.0/16")["Vpc"]["VpcId"]
        self.ec2.modify_vpc_attribute(VpcId=self.vpc, EnableDnsHostnames={"Value": True})
        self.gateway: str = self.ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
        self.ec2.attach_internet_gateway(InternetGatewayId=self.gateway, VpcId=self.vpc)

    def subnet(self, zone: str = "a", *, bits: int = 24, **route: str) -> str:
        """A subnet with a route table of its own, and a default route if one is given."""
        self.count += 1
        made = self.ec2.create_subnet(
            VpcId=self.vpc, CidrBlock=f"{self.net}.{self.count}.0/{bits}", AvailabilityZone=f"{REGION}{zone}"
        )["Subnet"]["SubnetId"]
        self.table(made, **route)
        return str(made)

    def table(self, subnet: str, **route: str) -> str:
        """A route table for a subnet."""
        table = str(self.ec2.create_route_table(VpcId=self.vpc)["RouteTable"]["RouteTableId"])
        if route:
            self.ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", **route)
        self.ec2.associate_route_table(RouteTableId=table, SubnetId=subnet)
        return table

    def public(self, zone: str = "a", **more: Any) -> str:
        """A subnet with a route to the internet gateway."""
        return self.subnet(zone, GatewayId=self.gateway, **more)

    def nat(self, subnet: str) -> str:
        """A NAT gateway in a subnet."""
        allocation = self.ec2.allocate_address(Domain="vpc")["AllocationId"]
        made = self.ec2.create_nat_gateway(SubnetId=subnet, AllocationId=allocation)
        return str(made["NatGateway"]["NatGatewayId"])

    def seen(self, cloud: Cloud, private: str, public: str, **changes: Any) -> dict[str, Check]:
        """The checks of a small dev cluster in one public (or none) and one private subnet here."""
        small = {"production": False, "pools": (pool("control-plane", type="t3.large"), pool("md-0", f"{REGION}a"))}
        public_ids = [public] if public else []
        return seen(cloud, **{"vpc": self.vpc, "public": public_ids, "private": [private], **small, **changes})


@pytest.fixture
def corner(cloud: Cloud) -> Corner:
    """A fresh VPC for each test."""
    count = len(cloud.admin("ec2").describe_vpcs()["Vpcs"])
    return Corner(cloud, f"10.{100 + count}")


# -- the name ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["classic", "network"])
def test_the_name_of_the_load_balancer_is_taken(cloud: Cloud, kind: str) -> None:
    cloud.balancer("shop-apiserver", cloud.public(), {}, kind)
    check = seen(cloud)["name-load-balancers"]
    assert (check.result, f"shop-apiserver ({kind})" in check.evidence) == ("block", True)
    assert "another name" in check.fix


def test_a_load_balancer_of_a_cluster_with_this_name(cloud: Cloud) -> None:
    cloud.balancer("a1b2c3", cloud.public(), {key("shop"): "owned"})
    cloud.balancer("others", cloud.public(), {key("shop2"): "owned"})
    check = seen(cloud)["name-load-balancers"]
    assert (check.result, "a1b2c3" in check.evidence, "others" in check.evidence) == ("block", True, False)


def test_instances_of_a_cluster_with_this_name(cloud: Cloud) -> None:
    node = cloud.node(cloud.subnet("private-a"), {"sigs.k8s.io/cluster-api-provider-aws/cluster/shop": "owned"})
    check = seen(cloud)["name-tags"]
    assert (check.result, check.evidence) == ("block", f"Tagged for shop: {node} (instance).")
    cloud.admin("ec2").terminate_instances(InstanceIds=[node])
    assert seen(cloud)["name-tags"].result == "pass"


def test_what_is_left_of_a_cluster_with_this_name(cloud: Cloud, corner: Corner) -> None:
    group = corner.ec2.create_security_group(GroupName="left", Description="left", VpcId=corner.vpc)["GroupId"]
    corner.ec2.create_tags(Resources=[group], Tags=[{"Key": key("shop"), "Value": "owned"}])
    check = seen(cloud)["name-tags"]
    assert (check.result, f"{group} (security-group)" in check.evidence) == ("block", True)
    corner.ec2.delete_tags(Resources=[group], Tags=[{"Key": key("shop")}])


def test_subnets_that_are_prepared_are_no_sign_of_a_cluster(cloud: Cloud) -> None:
    cloud.put(cloud.public(), shop="shared")
    found = seen(cloud)
    assert (found["name-tags"].result, found["tag"].result) == ("pass", "pass")
    assert found["tag"].evidence == f"`{key('shop')}` is on 3 of 6 subnets; the plan puts it on the others."


# -- the VPC and its subnets -------------------------------------------------------------------------------------


def test_a_vpc_that_is_not_there(cloud: Cloud) -> None:
    found = seen(cloud, vpc="vpc-00000000")
    assert (found["vpc"].result, "vpc-00000000 is not in us-east-1" in found["vpc"].evidence) == ("block", True)
    assert "vpc-dns" not in found
    assert found["one-vpc"].result == "block"


def test_a_vpc_that_is_not_made_yet(cloud: Cloud) -> None:
    eyes = Eyes(cloud, answers={"describe_vpcs": lambda answer: {"Vpcs": [{**answer["Vpcs"][0], "State": "pending"}]}})
    check = seen(cloud, eyes)["vpc"]
    assert (check.result, "is pending" in check.evidence) == ("block", True)


@pytest.mark.parametrize(
    ("attribute", "words", "flag"),
    [
        ("EnableDnsSupport", "DNS support is off", "dns-support"),
        ("EnableDnsHostnames", "DNS hostnames are off", "dns-host"),
    ],
)
def test_dns_is_off(cloud: Cloud, attribute: str, words: str, flag: str) -> None:
    ec2 = cloud.admin("ec2")
    ec2.modify_vpc_attribute(VpcId=cloud.vpc(), **{attribute: {"Value": False}})
    check = seen(cloud)["vpc-dns"]
    ec2.modify_vpc_attribute(VpcId=cloud.vpc(), **{attribute: {"Value": True}})
    assert (check.result, words in check.evidence) == ("block", True)
    assert f"--vpc-id {cloud.vpc()} --enable-{flag}" in check.fix
    assert seen(cloud)["vpc-dns"].result == "pass"


def test_a_subnet_that_went_away_since(cloud: Cloud) -> None:
    gone = cloud.public()[0]

    def without(answer: Any) -> Any:
        return {**answer, "Subnets": [raw for raw in answer["Subnets"] if raw["SubnetId"] != gone]}

    check = seen(cloud, Eyes(cloud, answers={"describe_subnets": without}))["subnet"]
    assert (check.result, gone in check.evidence) == ("block", True)


def test_a_subnet_that_is_not_made_yet(cloud: Cloud) -> None:
    def pending(answer: Any) -> Any:
        return {**answer, "Subnets": [{**raw, "State": "pending"} for raw in answer["Subnets"]]}

    check = seen(cloud, Eyes(cloud, answers={"describe_subnets": pending}))["subnet"]
    assert (check.result, "is pending" in check.evidence) == ("block", True)


def test_a_subnet_of_another_vpc(cloud: Cloud) -> None:
    stray = cloud.subnet("main-a", "legacy")
    check = seen(cloud, private=[cloud.subnet("private-a"), stray])["one-vpc"]
    assert (check.result, f"is in {cloud.vpc('legacy')}" in check.evidence) == ("block", True)


# -- public and private ------------------------------------------------------------------------------------------


def test_a_private_subnet_given_as_public_and_the_reverse(cloud: Cloud) -> None:
    found = seen(cloud, public=[cloud.subnet("private-a")], private=[cloud.subnet("public-a")])
    assert (found["public"].result, "is private: its route table" in found["public"].evidence) == ("block", True)
    assert (found["private"].result, "is public: its route table" in found["private"].evidence) == ("block", True)
    assert "no public address" in found["way-out"].evidence


def test_public_by_the_main_route_table_only(cloud: Cloud) -> None:
    name = cloud.subnet("main-a", "legacy")
    check = seen(cloud, vpc=cloud.vpc("legacy"), public=[name])["public"]
    assert (check.result, "takes it for private" in check.evidence) == ("block", True)
    assert check.fix.startswith("aws ec2 associate-route-table --region us-east-1 --route-table-id rtb-")
    assert check.fix.endswith(f"--subnet-id {name}")


def test_public_by_the_main_route_table_and_marked_for_the_provider(cloud: Cloud) -> None:
    name, mark = cloud.subnet("main-a", "legacy"), "sigs.k8s.io/cluster-api-provider-aws/role"
    cloud.write([name], {mark: "public"})
    check = seen(cloud, vpc=cloud.vpc("legacy"), public=[name])["public"]
    cloud.admin("ec2").delete_tags(Resources=[name], Tags=[{"Key": mark}])
    assert check.result == "pass"


def test_private_but_public_by_the_main_route_table(cloud: Cloud) -> None:
    check = seen(cloud, vpc=cloud.vpc("legacy"), private=[cloud.subnet("main-b", "legacy")])["private"]
    assert (check.result, "the main route table" in check.evidence) == ("block", True)


def test_the_internet_gateway_is_gone(cloud: Cloud) -> None:
    name = cloud.subnet("blackhole-c", "legacy")
    found = seen(cloud, vpc=cloud.vpc("legacy"), public=[name], private=[name])
    assert (found["public"].result, "is gone" in found["public"].evidence) == ("block", True)
    assert found["private"].result == "pass"
    assert (found["way-out"].result, "is gone (blackhole)" in found["way-out"].evidence) == ("block", True)


def test_without_public_subnets_the_load_balancer_is_internal(cloud: Cloud) -> None:
    found = seen(cloud, public=[])
    assert not any(check.blocks for check in found.values())
    assert "internal" in found["public"].evidence
    assert "internal" in found["zone-pairs"].evidence


# -- zones -------------------------------------------------------------------------------------------------------


def test_prod_in_two_zones(cloud: Cloud) -> None:
    two = [cloud.subnet(f"private-{zone}") for zone in "ab"]
    check = seen(cloud, private=two)["zones"]
    assert (check.result, check.evidence) == ("block", "Private subnets in 2 zones: us-east-1a, us-east-1b.")
    assert seen(cloud, private=two, production=False)["zones"].result == "pass"


def test_a_zone_without_a_public_subnet(cloud: Cloud) -> None:
    check = seen(cloud, public=cloud.public()[:2])["zone-pairs"]
    assert (check.result, "us-east-1c has demo-private-c" in check.evidence) == ("block", True)
    assert "no public subnets attached to the ELB in the same zone" in check.evidence


def test_a_pool_in_a_zone_without_a_private_subnet(cloud: Cloud) -> None:
    pools = (pool("control-plane", type="t3.large"), pool("md-0", f"{REGION}f"))
    check = seen(cloud, pools=pools)["pool-zones"]
    assert (check.result, check.evidence) == ("block", "md-0 wants us-east-1f, where none is.")


def test_no_private_subnet_at_all(cloud: Cloud) -> None:
    found = seen(cloud, private=[])
    assert (found["zones"].result, found["pool-zones"].result) == ("block", "block")


# -- the way out -------------------------------------------------------------------------------------------------


def test_no_way_out(cloud: Cloud) -> None:
    found = seen(
        cloud,
        vpc=cloud.vpc("closed"),
        public=[cloud.subnet("public-a", "closed")],
        private=[cloud.subnet("private-a", "closed")],
    )
    check = found["way-out"]
    assert (check.result, "has no default route, and the VPC has no endpoints" in check.evidence) == ("block", True)
    assert "NAT gateway in a public subnet" in check.fix


def test_a_nat_gateway_that_is_gone(cloud: Cloud, corner: Corner) -> None:
    public = corner.public()
    nat = corner.nat(public)
    private = corner.subnet(NatGatewayId=nat)
    assert corner.seen(cloud, private, public)["way-out"].result == "pass"
    corner.ec2.delete_nat_gateway(NatGatewayId=nat)
    check = corner.seen(cloud, private, public)["way-out"]
    assert (check.result, nat in check.evidence) == ("block", True)


def test_a_nat_gateway_of_another_vpc(cloud: Cloud, corner: Corner) -> None:
    public, foreign = corner.public(), corner.ec2.describe_nat_gateways(
        Filters=[{"Name": "vpc-id", "Values": [cloud.vpc()]}]
    )["NatGateways"][0]["NatGatewayId"]  # fmt: skip
    check = corner.seen(cloud, corner.subnet(NatGatewayId=foreign), public)["way-out"]
    assert (check.result, "serves its own VPC only" in check.evidence) == ("block", True)


def test_a_nat_gateway_in_a_private_subnet(cloud: Cloud, corner: Corner) -> None:
    nat = corner.nat(corner.subnet())
    check = corner.seen(cloud, corner.subnet(NatGatewayId=nat), corner.public())["way-out"]
    assert (check.result, "no route to the internet itself" in check.evidence) == ("block", True)


@pytest.mark.parametrize(
    ("route", "result", "words"),
    [
        ({"TransitGatewayId": "tgw-1"}, "warn", "by the transit gateway tgw-1"),
        ({"GatewayId": "vgw-1"}, "warn", "by vgw-1"),
        ({"NetworkInterfaceId": "eni-1", "InstanceId": "i-1"}, "warn", "by the network interface eni-1"),
        ({"VpcPeeringConnectionId": "pcx-1"}, "block", "leads to no gateway"),
        ({"TransitGatewayId": "tgw-1", "State": "blackhole"}, "block", "is gone (blackhole)"),
    ],
)
def test_other_ways(cloud: Cloud, route: dict[str, str], result: str, words: str) -> None:
    def routed(answer: Any) -> Any:
        default = {"DestinationCidrBlock": "0.0.0.0/0", "State": "active", **route}
        return {**answer, "RouteTables": [{**raw, "Routes": [default]} for raw in answer["RouteTables"]]}

    check = seen(cloud, Eyes(cloud, answers={"describe_route_tables": routed}))["way-out"]
    assert (check.result, words in check.evidence) == (result, True)


def test_endpoints_instead_of_a_way_out(cloud: Cloud, corner: Corner) -> None:
    public, private = corner.public(), corner.subnet()
    table = corner.table(corner.subnet())
    service = f"com.amazonaws.{REGION}."
    for name in ("ec2", "elasticloadbalancing", "secretsmanager", "ecr.api", "ecr.dkr", "sts"):
        corner.ec2.create_vpc_endpoint(
            VpcId=corner.vpc, ServiceName=service + name, VpcEndpointType="Interface", PrivateDnsEnabled=True
        )
    s3 = corner.ec2.create_vpc_endpoint(VpcId=corner.vpc, ServiceName=f"{service}s3", RouteTableIds=[table])
    check = corner.seen(cloud, private, public)["way-out"]
    assert (check.result, check.evidence.endswith("endpoints are missing: s3. Machines there cannot bootstrap.")) == (
        "block",
        True,
    )
    own = layout(cloud, vpc=corner.vpc, public=[public], private=[private]).private[0].table
    corner.ec2.modify_vpc_endpoint(VpcEndpointId=s3["VpcEndpoint"]["VpcEndpointId"], AddRouteTableIds=[own])
    check = corner.seen(cloud, private, public)["way-out"]
    assert (check.result, "the VPC endpoints that nodes need" in check.evidence) == ("warn", True)


# -- room --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "result"), [(10, "pass"), (11, "warn"), (12, "block")])
def test_free_addresses(cloud: Cloud, corner: Corner, count: int, result: str) -> None:
    public, private = corner.public(), corner.subnet(bits=28)  # 11 addresses are free in it, and a roll takes one more
    check = corner.seen(cloud, private, public, pools=(pool("md-0", f"{REGION}a", count=count),))["addresses"]
    assert check.result == result
    assert (f"{private} has 11 free and needs 12" in check.evidence) == (result != "pass")


def test_pools_share_the_addresses(cloud: Cloud, corner: Corner) -> None:
    public, private = corner.public(), corner.subnet(bits=28)
    pools = (pool("control-plane", count=3, type="t3.large"), pool("md-0", count=9))
    check = corner.seen(cloud, private, public, pools=pools)["addresses"]
    assert (check.result, "has 11 free and needs 12" in check.evidence) == ("block", True)


def test_free_addresses_for_the_load_balancer(cloud: Cloud, corner: Corner) -> None:
    public = corner.public(bits=28)
    private = corner.subnet(NatGatewayId=corner.nat(public))  # takes one of eleven
    assert corner.seen(cloud, private, public)["balancer-addresses"].result == "pass"
    for _ in range(3):
        corner.ec2.create_network_interface(SubnetId=public)
    check = corner.seen(cloud, private, public)["balancer-addresses"]
    assert (check.result, f"{public} has 7 free and needs 8" in check.evidence) == ("block", True)


def test_an_internal_load_balancer_shares_with_the_machines(cloud: Cloud, corner: Corner) -> None:
    private = corner.subnet(bits=28)
    found = corner.seen(cloud, private, "", pools=(pool("md-0", count=4),))
    assert (found["addresses"].result, found["balancer-addresses"].result) == ("pass", "block")


# -- tags --------------------------------------------------------------------------------------------------------


def test_no_room_for_a_tag(cloud: Cloud) -> None:
    found = seen(cloud, vpc=cloud.vpc("crowded"), public=[cloud.subnet("full-a", "crowded")])
    assert (found["room"].result, "50 of 50 tags" in found["room"].evidence) == ("block", True)
    assert seen(cloud, vpc=cloud.vpc("crowded"), public=[cloud.subnet("49-c", "crowded")])["room"].result == "pass"


def test_a_subnet_that_another_cluster_owns(cloud: Cloud) -> None:
    check = seen(cloud, vpc=cloud.vpc("crowded"), public=[cloud.subnet("owned-b", "crowded")])["foreign"]
    assert (check.result, "by other" in check.evidence) == ("warn", True)


def test_a_subnet_that_a_cluster_of_this_name_owns(cloud: Cloud) -> None:
    found = seen(cloud, cluster="demo", vpc=cloud.vpc("crowded"), public=[cloud.subnet("owned-b", "crowded")])
    assert found["name-tags"].result == "block"
    assert f"{cloud.subnet('owned-b', 'crowded')} (subnet)" in found["name-tags"].evidence


def test_a_value_that_nobody_knows(cloud: Cloud) -> None:
    cloud.put(cloud.public()[:1], shop="mine")
    assert seen(cloud)["odd-value"].result == "block"
