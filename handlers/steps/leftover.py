"""What a cluster left in AWS, taken away: exactly the ids that were seen, and only while they carry the cluster's tag.

A load balancer that was deleted keeps its network interfaces, and with them its security groups, for some minutes;
rules that name a group keep it, too. (Elastic Load Balancing User Guide; Amazon EC2 API Reference: DeleteSecurityGroup,
`DependencyViolation`.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ConfigDict

from handlers.belongings import load_balancers, target_groups
from handlers.clients.aws_errors import Denied
from handlers.contract import (
    AwsProbe,
    AwsRead,
    AwsRefused,
    AwsWrite,
    NeedsPerson,
    Observation,
    Outcome,
    Retry,
    RunWorld,
    Step,
)
from handlers.leftovers import LIVING, WORDS, named_groups
from handlers.network import filled
from handlers.tags import tag_map

Kind = Literal[
    "instance", "load-balancer", "classic-load-balancer", "target-group", "interface", "address", "volume",
    "security-group",
]  # fmt: skip
There = dict[str, dict[str, str]]
"""What is still there, by id, with its tags."""
SHOWN = 5


class LeftoverStep(Step):
    """Deletes `resources` of one kind in one account and region. `marks` has for each of them the tag (`KEY=VALUE`) by
    which it is the cluster's own; `before` says what was seen of them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["leftover"] = "leftover"
    account: str
    region: str
    what: Kind
    resources: tuple[str, ...]
    marks: dict[str, str]


class LeftoverExecutor:
    """Observes by the Describe calls, applies by the kind's own Delete."""

    def observe(self, step: LeftoverStep, world: RunWorld) -> Observation:
        """So when none of them is there any more."""
        left = _left(step, world.aws(step.account, step.region))
        if not left:
            return Observation(so=True, evidence=f"Gone: {_named(step, step.resources)}.")
        return Observation(so=False, evidence=f"Still there: {_named(step, list(left))}.")

    def apply(self, step: LeftoverStep, world: RunWorld) -> Outcome:
        """Deletes what is there and still carries its tag; the others are left alone, and the step says so."""
        aws = world.aws(step.account, step.region)
        left = _left(step, aws)
        strays = [name for name, tags in left.items() if not _is_marked(step, name, tags)]
        if strays:
            raise NeedsPerson(
                f"The cluster's tag is not on {_named(step, strays)} any more, so nothing was done to it.",
                "Somebody has changed that. Abandon this run, and ask for the cleanup anew.",
            )
        if step.what == "security-group":
            _part(list(left), aws)
        for name in left:
            _delete(step.what, name, aws)
        if not left:
            return Outcome(changed=False, evidence="Nothing of it was there any more.")
        return Outcome(changed=True, evidence=f"Deleted {_named(step, list(left))}.")


@dataclass(frozen=True)
class Way:
    """How one kind is looked up and deleted: boto3's names, and whether the call takes a list."""

    there: Callable[[AwsRead, Sequence[str]], There]
    service: str
    operation: str
    parameter: str
    many: bool = False


def _left(step: LeftoverStep, aws: AwsRead) -> There:
    return WAYS[step.what].there(aws, step.resources)


def _is_marked(step: LeftoverStep, name: str, tags: dict[str, str]) -> bool:
    key, _, value = step.marks[name].partition("=")
    return tags.get(key) == value


def tried(step: LeftoverStep, aws: AwsProbe) -> None:
    """Asks EC2 whether it would delete the first of them. Raises Denied; Elastic Load Balancing cannot be asked."""
    way = WAYS[step.what]
    if way.service == "ec2":
        name = step.resources[0]
        parameters: dict[str, Any] = {way.parameter: [name] if way.many else name}
        aws.try_write(way.service, way.operation, **parameters)


def _delete(what: Kind, name: str, aws: AwsWrite) -> None:
    way = WAYS[what]
    parameters: dict[str, Any] = {way.parameter: [name] if way.many else name}
    try:
        aws.write(way.service, way.operation, **parameters)
    except Denied:
        if way.there(aws, [name]):
            raise
        return  # what is gone has no tag by which it could be allowed
    except AwsRefused as error:
        if error.code.endswith((".NotFound", "NotFound")):
            return  # somebody else was quicker
        if error.code in IN_USE:
            raise Retry(
                f"The {WORDS[what]} {name} is still in use ({error.code}).",
                after=5.0,
                hint=f"`/tkg cluster cleanup` says anew what uses the {WORDS[what]}, when this run is abandoned.",
            ) from error
        raise


IN_USE = (
    "DependencyViolation", "VolumeInUse", "ResourceInUse", "InvalidIPAddress.InUse", "InvalidNetworkInterface.InUse",
)  # fmt: skip


def _part(groups: list[str], aws: AwsWrite) -> None:
    """Takes out of the groups' rules those that name another group: two that name each other cannot be deleted."""
    for part in filled(groups):
        filters = [{"Name": "group-id", "Values": part}]
        for raw in aws.pages("ec2", "describe_security_groups", "SecurityGroups", Filters=filters):
            group: Any = raw
            for operation, key in (
                ("revoke_security_group_ingress", "IpPermissions"),
                ("revoke_security_group_egress", "IpPermissionsEgress"),
            ):
                rules = [_naming(rule) for rule in group.get(key, []) if named_groups({"IpPermissions": [rule]})]
                if rules:
                    _revoke(aws, operation, group["GroupId"], rules)


def _revoke(aws: AwsWrite, operation: str, group: str, rules: list[dict[str, Any]]) -> None:
    """A rule or a group that is gone is what was wanted (Amazon EC2 API Reference: "Error codes")."""
    try:
        aws.write("ec2", operation, GroupId=group, IpPermissions=rules)
    except AwsRefused as error:
        if not error.code.endswith("NotFound"):
            raise


def _naming(rule: Any) -> dict[str, Any]:
    """Of a rule the part that names groups."""
    kept = {key: rule[key] for key in ("IpProtocol", "FromPort", "ToPort") if key in rule}
    pairs = [{"GroupId": pair["GroupId"]} for pair in rule.get("UserIdGroupPairs", []) if pair.get("GroupId")]
    return {**kept, "UserIdGroupPairs": pairs}


def _named(step: LeftoverStep, names: Sequence[str]) -> str:
    """`security groups sg-1, sg-2`."""
    short = [name.split("/")[-2] if name.startswith("arn:") else name for name in names]
    more = f" and {len(short) - SHOWN} more" if len(short) > SHOWN else ""
    word = WORDS[step.what] + ("es" if step.what == "address" else "s") * (len(short) != 1)
    return f"{word} {', '.join(short[:SHOWN])}{more}"


# -- what is there -----------------------------------------------------------------------------------------------


def _of_ec2(operation: str, key: str, ident: str, name: str) -> Callable[[AwsRead, Sequence[str]], There]:
    def there(aws: AwsRead, ids: Sequence[str]) -> There:
        found: There = {}
        for part in filled(ids):
            filters = [{"Name": name, "Values": part}]
            for raw in aws.pages("ec2", operation, key, Filters=filters):
                found[str(raw[ident])] = tag_map(raw)
        return found

    return there


def _instances(aws: AwsRead, ids: Sequence[str]) -> There:
    found: There = {}
    for part in filled(ids):
        filters = [
            {"Name": "instance-id", "Values": part}, {"Name": "instance-state-name", "Values": list(LIVING)},
        ]  # fmt: skip
        for reservation in aws.pages("ec2", "describe_instances", "Reservations", Filters=filters):
            raws: Any = reservation["Instances"]
            found |= {raw["InstanceId"]: tag_map(raw) for raw in raws}
    return found


def _balancers(aws: AwsRead, ids: Sequence[str]) -> There:
    return {balancer.id: balancer.tags for balancer in load_balancers(aws) if balancer.id in ids}


def _target_groups(aws: AwsRead, ids: Sequence[str]) -> There:
    return {group.id: group.tags for group in target_groups(aws) if group.id in ids}


WAYS: dict[Kind, Way] = {
    "instance": Way(_instances, "ec2", "terminate_instances", "InstanceIds", many=True),
    "load-balancer": Way(_balancers, "elbv2", "delete_load_balancer", "LoadBalancerArn"),
    "classic-load-balancer": Way(_balancers, "elb", "delete_load_balancer", "LoadBalancerName"),
    "target-group": Way(_target_groups, "elbv2", "delete_target_group", "TargetGroupArn"),
    "interface": Way(
        _of_ec2("describe_network_interfaces", "NetworkInterfaces", "NetworkInterfaceId", "network-interface-id"),
        "ec2", "delete_network_interface", "NetworkInterfaceId",
    ),
    "address": Way(
        _of_ec2("describe_addresses", "Addresses", "AllocationId", "allocation-id"),
        "ec2", "release_address", "AllocationId",
    ),
    "volume": Way(_of_ec2("describe_volumes", "Volumes", "VolumeId", "volume-id"), "ec2", "delete_volume", "VolumeId"),
    "security-group": Way(
        _of_ec2("describe_security_groups", "SecurityGroups", "GroupId", "group-id"),
        "ec2", "delete_security_group", "GroupId",
    ),
}  # fmt: skip
"""How each kind goes."""
ACTIONS: dict[Kind, tuple[str, ...]] = {
    "instance": ("ec2:TerminateInstances",),
    "load-balancer": ("elasticloadbalancing:DeleteLoadBalancer",),
    "classic-load-balancer": ("elasticloadbalancing:DeleteLoadBalancer",),
    "target-group": ("elasticloadbalancing:DeleteTargetGroup",),
    "interface": ("ec2:DeleteNetworkInterface",),
    "address": ("ec2:ReleaseAddress",),
    "volume": ("ec2:DeleteVolume",),
    "security-group": (
        "ec2:DeleteSecurityGroup", "ec2:RevokeSecurityGroupIngress", "ec2:RevokeSecurityGroupEgress",
    ),
}  # fmt: skip
"""What it takes, beside reading."""
READS = ("ec2:Describe*", "elasticloadbalancing:Describe*")
