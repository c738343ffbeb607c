"""What a cluster that is gone left in AWS, made by the account administrator, who also looks at it and sweeps it up."""

from __future__ import annotations

import functools
from collections import Counter
from typing import Any

from tests.scenario.clusters import MARK, amazon
from tests.world import World

PROVIDER = "sigs.k8s.io/cluster-api-provider-aws/cluster/"
CONTROLLER = "elbv2.k8s.aws/cluster"
NAMED_BY_TAG = (
    ("volume", "describe_volumes", "Volumes", "VolumeId", "delete_volume"),
    ("network interface", "describe_network_interfaces", "NetworkInterfaces", "NetworkInterfaceId",
     "delete_network_interface"),
    ("address", "describe_addresses", "Addresses", "AllocationId", "release_address"),
    ("security group", "describe_security_groups", "SecurityGroups", "GroupId", "delete_security_group"),
)  # fmt: skip
"""Kinds of EC2: how they are looked up by a tag, where their ids stand, and how they are deleted."""


@functools.cache
def client(world: World, service: str) -> Any:
    """One client a world and service: making one costs more than its call."""
    return amazon(world, service)


def leave(world: World, cluster: str) -> None:
    """One of each kind: a classic load balancer, one of the AWS Load Balancer Controller, a target group, a network
    interface, an address, a volume, two security groups that name each other, and the tag on two subnets."""
    ec2, elb, elbv2 = (client(world, service) for service in ("ec2", "elb", "elbv2"))
    subnets, vpc = world.public(2), world.vpcs["demo"]["id"]
    tags = [{"Key": f"{MARK}{cluster}", "Value": "owned"}]
    of_provider = [{"Key": f"{PROVIDER}{cluster}", "Value": "owned"}]
    first, second = (
        str(
            ec2.create_security_group(
                GroupName=f"k8s-{name}-{cluster}",
                Description=name,
                VpcId=vpc,
                TagSpecifications=_born("security-group", m),
            )["GroupId"]
        )
        for name, m in (("lb", tags), ("node", of_provider))
    )
    for into, source in ((first, second), (second, first)):
        rule = {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "UserIdGroupPairs": [{"GroupId": source}]}
        ec2.authorize_security_group_ingress(GroupId=into, IpPermissions=[rule])
    listener = {"Protocol": "tcp", "LoadBalancerPort": 80, "InstancePort": 80}
    elb.create_load_balancer(
        LoadBalancerName=f"{cluster}-classic", Listeners=[listener], Subnets=subnets[:1], Tags=tags,
        SecurityGroups=[first],
    )  # fmt: skip
    elbv2.create_load_balancer(
        Name=f"{cluster}-web", Subnets=subnets, Type="network", Tags=[{"Key": CONTROLLER, "Value": cluster}]
    )
    elbv2.create_target_group(Name=f"{cluster}-target", Protocol="TCP", Port=80, VpcId=vpc, Tags=tags)
    ec2.create_network_interface(SubnetId=subnets[0], TagSpecifications=_born("network-interface", tags))
    ec2.allocate_address(Domain="vpc", TagSpecifications=_born("elastic-ip", tags))
    ec2.create_volume(
        AvailabilityZone="us-east-1a", Size=100, VolumeType="gp3", TagSpecifications=_born("volume", tags)
    )
    ec2.create_tags(Resources=subnets, Tags=[{"Key": f"{MARK}{cluster}", "Value": "shared"}])


def _born(kind: str, tags: list[dict[str, str]]) -> list[dict[str, Any]]:
    return [{"ResourceType": kind, "Tags": tags}]


def there(world: World, cluster: str) -> dict[str, int]:
    """What AWS has of it now, by kind."""
    found = Counter(kind for kind, _, _ in _of_ec2(world, cluster))
    found["load balancer"] = len(_balancers(world, cluster)) + len(_classic(world, cluster))
    found["target group"] = len(_target_groups(world, cluster))
    found["tagged subnet"] = len(world.tagged(cluster))
    return {kind: count for kind, count in sorted(found.items()) if count}


WHOLE = {
    "address": 1, "load balancer": 2, "network interface": 1, "security group": 2, "tagged subnet": 2,
    "target group": 1, "volume": 1,
}  # fmt: skip
"""What `leave` leaves."""


def sweep(world: World, cluster: str) -> None:
    """The administrator takes away what there is of it, with its tags."""
    ec2, elb, elbv2 = (client(world, service) for service in ("ec2", "elb", "elbv2"))
    for name in _classic(world, cluster):
        elb.delete_load_balancer(LoadBalancerName=name)
    for arn in _balancers(world, cluster):
        elbv2.delete_load_balancer(LoadBalancerArn=arn)
    for arn in _target_groups(world, cluster):
        elbv2.delete_target_group(TargetGroupArn=arn)
    mine = _of_ec2(world, cluster)
    for group in (raw for kind, raw, _ in mine if kind == "security group" and raw["IpPermissions"]):
        ec2.revoke_security_group_ingress(GroupId=group["GroupId"], IpPermissions=group["IpPermissions"])
    for _, raw, (ident, delete) in mine:
        getattr(ec2, delete)(**{ident: raw[ident]})
    tagged = sorted(world.tagged(cluster))
    if tagged:
        ec2.delete_tags(Resources=tagged, Tags=[{"Key": f"{MARK}{cluster}"}])


def _of_ec2(world: World, cluster: str) -> list[tuple[str, Any, tuple[str, str]]]:
    ec2 = client(world, "ec2")
    mine = [{"Name": "tag-key", "Values": [f"{MARK}{cluster}", f"{PROVIDER}{cluster}"]}]
    return [
        (kind, raw, (ident, delete))
        for kind, look, key, ident, delete in NAMED_BY_TAG
        for raw in getattr(ec2, look)(Filters=mine)[key]
    ]


def _classic(world: World, cluster: str) -> list[str]:
    every = client(world, "elb").describe_load_balancers()["LoadBalancerDescriptions"]
    return [entry["LoadBalancerName"] for entry in every if entry["LoadBalancerName"] == f"{cluster}-classic"]


def _balancers(world: World, cluster: str) -> list[str]:
    every = client(world, "elbv2").describe_load_balancers()["LoadBalancers"]
    return [entry["LoadBalancerArn"] for entry in every if entry["LoadBalancerName"] == f"{cluster}-web"]


def _target_groups(world: World, cluster: str) -> list[str]:
    every = client(world, "elbv2").describe_target_groups()["TargetGroups"]
    return [entry["TargetGroupArn"] for entry in every if entry["TargetGroupName"] == f"{cluster}-target"]


def volume_of(world: World, cluster: str) -> str:
    """The volume's id."""
    return next(str(raw["VolumeId"]) for kind, raw, _ in _of_ec2(world, cluster) if kind == "volume")
