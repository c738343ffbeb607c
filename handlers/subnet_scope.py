"""Which subnets are meant, where they are, and what a change of their tags needs: for tagging and untagging alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from handlers.contract import (
    Action,
    Arguments,
    AwsRead,
    Check,
    Impact,
    Inverse,
    Json,
    Positional,
    ReadWorld,
    Step,
    Table,
    unique,
)
from handlers.network import ROLE_KEY, ROUTE_WORDS, Subnet, cluster_key, subnets_by_id, subnets_of_vpc, vpc_exists
from handlers.subnet_checks import all_found, blocks, identity, named, not_found
from handlers.words import AccountName, ClusterName, Region, SubnetId, SubnetList, VpcId

ARNS_IN_POLICY = 10
"""Beyond this many subnets a step's rights name the VPC instead: a session policy holds 2,048 characters."""
IDS_IN_LINE = 20


class SubnetArguments(Arguments):
    """Which subnets, for which cluster, where. What is said of the two tags may differ from subnet to subnet, so that
    an undo can put back exactly what was there."""

    cluster: Annotated[ClusterName, Positional()] = Field(description="The cluster that uses the subnets.")
    subnets: Annotated[tuple[SubnetId, ...], Positional(many=True)] = Field(
        (), max_length=200, description="The subnets, by id. Leave out with --vpc."
    )
    vpc: VpcId | None = Field(None, description="The subnets of this VPC.")
    account: AccountName | None = Field(None, description="The AWS account, by its name in the settings.")
    region: Region | None = Field(None, description="The AWS region; the account's own when left out.")
    role_tag: bool = Field(False, description=f"Also {ROLE_KEY}=1.")
    role_subnets: SubnetList | None = Field(None, description=f"{ROLE_KEY}=1 for exactly these subnets.")

    @property
    def role_ids(self) -> tuple[str, ...]:
        """The subnets that are named for the role tag alone."""
        return unique(self.role_subnets.split(",")) if self.role_subnets else ()

    @property
    def named(self) -> tuple[str, ...]:
        """Every subnet that is named; none when the VPC says which."""
        return unique((*self.subnets, *self.role_ids))

    def wanted(self, subnet: str) -> dict[str, str]:
        """The tags that this is about on one subnet."""
        listed = not self.named or subnet in self.subnets
        role = subnet in self.role_ids if self.role_subnets else listed and self.role_tag
        cluster = {cluster_key(self.cluster): "shared"} if listed else {}
        return {**cluster, ROLE_KEY: "1"} if role else cluster

    @model_validator(mode="after")
    def _names_subnets(self) -> SubnetArguments:
        if not self.named and not self.vpc:
            raise ValueError("names neither subnets nor a VPC: add subnet ids, or --vpc and a VPC id")
        if self.role_tag and self.role_subnets:
            raise ValueError(
                "has both --role-tag, which is about the same subnets, and --role-subnets, which names others: "
                "leave one of them out"
            )
        return self


@dataclass(frozen=True)
class Where:
    """Account by name and id, region and partition: what ARNs and rights are made of."""

    account: str
    region: str
    partition: str
    account_id: str

    def arn(self, what: str) -> str:
        """The ARN of an EC2 resource here."""
        return f"arn:{self.partition}:ec2:{self.region}:{self.account_id}:{what}"


def enter(account: str | None, region: str | None, world: ReadWorld) -> tuple[Where, Check, AwsRead]:
    """Looks whether the credentials lead where the settings say."""
    name = account or ""
    known = world.account(name)
    place = region or known.region
    aws = world.aws(name, place)
    partition, check = identity(aws.read("sts", "get_caller_identity"), name, known.id)
    return Where(name, place, partition, known.id), check, aws


@dataclass(frozen=True)
class Found:
    """The subnets that are `meant`, all that were looked at to find them, and what is to be said of them."""

    meant: list[Subnet]
    around: list[Subnet]
    checks: list[Check]


def find(
    arguments: SubnetArguments,
    aws: AwsRead,
    where: Where,
    fits: Callable[[Subnet], bool],
    told: Callable[[str, list[Subnet]], Check],
) -> Found:
    """The named subnets, or those of the VPC that fit; `told` says what a VPC had."""
    account, region = where.account, where.region
    if arguments.vpc and not vpc_exists(aws, arguments.vpc):
        return Found([], [], [not_found("vpc", [arguments.vpc], account, region)])
    if not arguments.named:
        assert arguments.vpc is not None
        around = subnets_of_vpc(aws, arguments.vpc)
        meant = [subnet for subnet in around if fits(subnet)]
        return Found(meant, around, [told(arguments.vpc, meant)])
    found = subnets_by_id(aws, arguments.named)
    missing = [name for name in arguments.named if name not in {subnet.id for subnet in found}]
    checks = [not_found("subnet", missing, account, region) if missing else all_found(found, account, region)]
    strays = [subnet for subnet in found if arguments.vpc and subnet.vpc != arguments.vpc]
    if strays:
        evidence = "; ".join(f"{named(subnet)} is in {subnet.vpc}" for subnet in strays)
        checks.append(blocks("vpc", "The VPC that was named", evidence, f"Name subnets of {arguments.vpc} only."))
    return Found(found, found, checks)


def change(subnets: Sequence[Subnet], key: str, value: str, where: Where, action: str) -> dict[str, Any]:
    """What a step that puts or takes one tag has in its fields, but for its title and what was before."""
    return {
        "targets": targets(subnets, where),
        "actions": _actions(subnets, key, where, action),
        "account": where.account,
        "region": where.region,
        "resources": tuple(subnet.id for subnet in subnets),
        "key": key,
        "value": value,
    }


def targets(subnets: Iterable[Subnet], where: Where) -> tuple[str, ...]:
    """What runs must not change at the same time."""
    return unique([f"subnets of {subnet.vpc} in {where.account}" for subnet in subnets])


def _actions(subnets: Sequence[Subnet], key: str, where: Where, action: str) -> tuple[Action, ...]:
    conditions: Json = {"ForAllValues:StringEquals": {"aws:TagKeys": [key]}}
    resources = tuple(where.arn(f"subnet/{subnet.id}") for subnet in subnets)
    if len(subnets) > ARNS_IN_POLICY:
        resources = (where.arn("subnet/*"),)
        conditions["ArnEquals"] = {"ec2:Vpc": where.arn(f"vpc/{subnets[0].vpc}")}
    place = {"account": where.account, "region": where.region}
    return (
        Action(name="ec2:DescribeSubnets", **place),
        Action(name=action, resources=resources, conditions=conditions, **place),
    )


def impact(steps: Sequence[Any], word: Literal["on", "off"], region: str) -> Impact:
    """`word` says what the steps do with their tags; by hand, the opposite takes it back."""
    back = {"on": "delete-tags", "off": "create-tags"}[word]
    undo = "\n".join(
        f"aws ec2 {back} --region {region} --resources {' '.join(step.resources[start : start + IDS_IN_LINE])}"
        f" --tags Key={step.key},Value={step.value}"
        for step in steps
        for start in range(0, len(step.resources), IDS_IN_LINE)
    )
    changes = tuple(f"{step.key} {word} {name}" for step in steps for name in step.resources)
    return Impact(changes=changes, reversible=True, undo=undo, cost_per_hour_usd=0.0)


def table(subnets: Sequence[Subnet], changes: Callable[[Subnet], str]) -> Table | None:
    """One row a subnet, with what is done to it."""
    if not subnets:
        return None
    rows = tuple((s.name, changes(s) or "already so", s.zone, ROUTE_WORDS[s.route], s.id) for s in subnets)
    return Table(header=("Subnet", "Change", "Zone", "Route", "Id"), rows=rows)


def inverse_of(operation: str, cluster: str, steps: Sequence[Any], tags: dict[str, list[str]]) -> Inverse | None:
    """The operation that does the opposite of `steps`, for exactly the subnets that each key stands for in `tags`."""
    subnets, roles = tags.get(cluster_key(cluster), []), tags.get(ROLE_KEY, [])
    if not subnets and not roles:
        return None
    arguments: Json = {"cluster": cluster, "account": steps[0].account, "region": steps[0].region}
    if subnets:
        arguments["subnets"] = [*subnets]
    if roles:
        arguments["role_subnets"] = ",".join(roles)
    return Inverse(operation=operation, arguments=arguments)


def touched_steps(steps: Sequence[Step], touched: Sequence[int], model: type[Any]) -> list[Any]:
    """The steps at those positions, as their own model: a stored plan knows only what every step has."""
    return [model.model_validate(steps[position].model_dump()) for position in touched]
