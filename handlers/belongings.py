"""What belongs to a cluster in AWS, by tags: load balancers, instances, NAT gateways, and whatever else EC2 shows.

Marks: the cloud provider and the Cluster API's AWS provider tag what they make with `kubernetes.io/cluster/NAME` and
`sigs.k8s.io/cluster-api-provider-aws/cluster/NAME` (api/v1beta2/tags.go there); the AWS Load Balancer Controller tags
its load balancers with `elbv2.k8s.aws/cluster=NAME`. A load balancer's network interfaces are described as
`ELB app/NAME/ID`, `ELB net/NAME/ID` or, of a classic one, `ELB NAME`. (Elastic Load Balancing User Guide.)
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from handlers.contract import AwsRead, AwsRefused, Retry
from handlers.network import CLUSTER_PREFIX, cluster_key, filled
from handlers.tags import tag_map

PROVIDER_PREFIX = "sigs.k8s.io/cluster-api-provider-aws/cluster/"
CONTROLLER_KEY = "elbv2.k8s.aws/cluster"
NAMES_PER_CALL = 20
"""Load balancers whose tags one call describes (Elastic Load Balancing API References: DescribeTags)."""


@dataclass(frozen=True)
class LoadBalancer:
    """One load balancer of either API. `interface` is how its network interfaces are described, `address` its DNS
    name; `id` is what calls name it by (an ARN, or the name of a classic one), `made` when (epoch seconds)."""

    name: str
    kind: str
    vpc: str
    subnets: tuple[str, ...]
    interface: str
    tags: dict[str, str]
    address: str = ""
    id: str = ""
    made: float | None = None


@dataclass(frozen=True)
class Resource:
    """Something else in a subnet: its id and its tags. `about` is an interface's description, `owner` an account."""

    id: str
    subnet: str
    tags: dict[str, str]
    vpc: str = ""
    about: str = ""
    owner: str = ""


def clusters_in(tags: Mapping[str, str]) -> set[str]:
    """The clusters that a resource's tags say it belongs to."""
    names = {
        key.removeprefix(prefix)
        for key in tags
        for prefix in (CLUSTER_PREFIX, PROVIDER_PREFIX)
        if key.startswith(prefix)
    }
    return names | ({tags[CONTROLLER_KEY]} if CONTROLLER_KEY in tags else set())


def load_balancers(aws: AwsRead, vpcs: Collection[str] | None = None) -> list[LoadBalancer]:
    """Every load balancer of the account and region, or of some VPCs, with its tags."""
    try:
        return [*_new(aws, vpcs), *_classic(aws, vpcs)]
    except AwsRefused as error:
        if error.code == "LoadBalancerNotFound":
            raise Retry("A load balancer was deleted while its tags were being read.", after=1.0) from error
        raise


def interfaces(aws: AwsRead, subnets: Sequence[str]) -> list[Resource]:
    """The network interfaces of load balancers in these subnets, also of those that other accounts own."""
    found = _in_subnets(
        aws, "describe_network_interfaces", "NetworkInterfaces", "Filters", subnets, description=["ELB *"]
    )
    return [
        Resource(
            id=raw["NetworkInterfaceId"],
            subnet=raw["SubnetId"],
            tags={},
            about=raw.get("Description", ""),
            owner=raw["OwnerId"],
        )
        for raw in found
    ]


def instances(aws: AwsRead, cluster: str = "*") -> list[Resource]:
    """The instances of a cluster, or of every one, that run or are about to, in the account and region."""
    filters = [
        {"Name": "tag-key", "Values": [cluster_key(cluster), f"{PROVIDER_PREFIX}{cluster}"]},
        {"Name": "instance-state-name", "Values": ["pending", "running"]},
    ]
    return [
        Resource(id=raw["InstanceId"], subnet=raw.get("SubnetId", ""), tags=tag_map(raw), vpc=raw.get("VpcId", ""))
        for reservation in aws.pages("ec2", "describe_instances", "Reservations", Filters=filters)
        for raw in _listed(reservation)
    ]


def nat_gateways(aws: AwsRead, subnets: Sequence[str]) -> list[Resource]:
    """The NAT gateways in these subnets that work or are about to."""
    found = _in_subnets(aws, "describe_nat_gateways", "NatGateways", "Filter", subnets, state=["pending", "available"])
    return [Resource(id=raw["NatGatewayId"], subnet=raw["SubnetId"], tags=tag_map(raw)) for raw in found]


def other_clusters(aws: AwsRead) -> set[str]:
    """The clusters that any EC2 resource is tagged for, without subnets, whose tags outlive clusters, and without
    instances, which keep their tags for a while after their end."""
    filters = [{"Name": "key", "Values": [f"{CLUSTER_PREFIX}*", f"{PROVIDER_PREFIX}*"]}]
    found = aws.pages("ec2", "describe_tags", "Tags", Filters=filters)
    keys = {str(raw["Key"]): "" for raw in found if raw["ResourceType"] not in ("subnet", "instance")}
    return clusters_in(keys)


def target_groups(aws: AwsRead) -> list[Resource]:
    """Every target group of the account and region, by its ARN, with its tags."""
    arns = [str(raw["TargetGroupArn"]) for raw in aws.pages("elbv2", "describe_target_groups", "TargetGroups")]
    try:
        tags = _tags(aws, "elbv2", "ResourceArns", "ResourceArn", arns)
    except AwsRefused as error:
        if error.code == "TargetGroupNotFound":
            raise Retry("A target group was deleted while its tags were being read.", after=1.0) from error
        raise
    return [Resource(id=arn, subnet="", tags=tags.get(arn, {})) for arn in arns]


def moment(value: Any) -> float | None:
    """A time that AWS tells, in epoch seconds."""
    return value.timestamp() if isinstance(value, datetime) else None


def _new(aws: AwsRead, vpcs: Collection[str] | None) -> Iterator[LoadBalancer]:
    raws: dict[str, Any] = {
        str(raw["LoadBalancerArn"]): raw
        for raw in aws.pages("elbv2", "describe_load_balancers", "LoadBalancers")
        if vpcs is None or str(raw.get("VpcId")) in vpcs
    }
    tags = _tags(aws, "elbv2", "ResourceArns", "ResourceArn", list(raws))
    for arn, raw in raws.items():
        yield LoadBalancer(
            name=raw["LoadBalancerName"],
            kind=raw["Type"],
            vpc=raw.get("VpcId", ""),
            subnets=tuple(zone["SubnetId"] for zone in raw.get("AvailabilityZones", []) if zone.get("SubnetId")),
            interface=f"ELB {arn.partition(':loadbalancer/')[2]}",
            tags=tags.get(arn, {}),
            address=raw.get("DNSName", ""),
            id=arn,
            made=moment(raw.get("CreatedTime")),
        )


def _classic(aws: AwsRead, vpcs: Collection[str] | None) -> Iterator[LoadBalancer]:
    raws: dict[str, Any] = {
        str(raw["LoadBalancerName"]): raw
        for raw in aws.pages("elb", "describe_load_balancers", "LoadBalancerDescriptions")
        if vpcs is None or str(raw.get("VPCId")) in vpcs
    }
    tags = _tags(aws, "elb", "LoadBalancerNames", "LoadBalancerName", list(raws))
    for name, raw in raws.items():
        yield LoadBalancer(
            name=name,
            kind="classic",
            vpc=raw.get("VPCId", ""),
            subnets=tuple(raw.get("Subnets", [])),
            interface=f"ELB {name}",
            tags=tags.get(name, {}),
            address=raw.get("DNSName", ""),
            id=name,
            made=moment(raw.get("CreatedTime")),
        )


def _tags(aws: AwsRead, service: str, asked: str, answered: str, names: list[str]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for start in range(0, len(names), NAMES_PER_CALL):
        answer: Any = aws.read(service, "describe_tags", **{asked: names[start : start + NAMES_PER_CALL]})
        for raw in answer["TagDescriptions"]:
            found[raw[answered]] = tag_map(raw)
    return found


def _in_subnets(
    aws: AwsRead, operation: str, key: str, parameter: str, subnets: Sequence[str], **more: list[str]
) -> Iterator[Any]:
    """All items of an EC2 call in these subnets; `more` are further filters."""
    for part in filled(subnets):
        filters = {"subnet-id": part, **more}
        yield from aws.pages(
            "ec2", operation, key, **{parameter: [{"Name": name, "Values": values} for name, values in filters.items()]}
        )


def _listed(reservation: Any) -> list[Any]:
    found: list[Any] = reservation["Instances"]
    return found
