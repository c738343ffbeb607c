"""`subnet tag`: the tags by which the AWS cloud provider finds subnets for a cluster's load balancers.

`kubernetes.io/cluster/NAME=shared` marks a subnet as used by the cluster; `kubernetes.io/role/elb=1` prefers it for
internet-facing load balancers. (kubernetes/cloud-provider-aws, findELBSubnets;
kubernetes-sigs/cluster-api-provider-aws, docs: bring your own AWS infrastructure.)
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from handlers.contract import (
    Action,
    Arguments,
    Check,
    Fact,
    Impact,
    Json,
    Operation,
    Plan,
    Positional,
    ReadWorld,
    Table,
    unique,
)
from handlers.network import ROUTE_WORDS, Subnet, subnets_by_id, subnets_of_vpc, vpc_exists
from handlers.steps.tag import TagStep, tags_of
from handlers.subnet_checks import (
    all_found,
    blocks,
    cluster_key,
    collected,
    counted,
    identity,
    missing_tags,
    named,
    network_checks,
    not_found,
    tag_checks,
)
from handlers.words import AccountName, ClusterName, Region, SubnetId, VpcId

ARNS_IN_POLICY = 10
"""Beyond this many subnets a step's rights name the VPC instead: a session policy holds 2,048 characters."""
IDS_IN_LINE = 20
ROLE_KEY = "kubernetes.io/role/elb"


class TagArguments(Arguments):
    """Which subnets, for which cluster, where."""

    cluster: Annotated[ClusterName, Positional()] = Field(description="The cluster that will use the subnets.")
    subnets: Annotated[tuple[SubnetId, ...], Positional(many=True)] = Field(
        (), max_length=200, description="The public subnets to tag. Leave out with --vpc."
    )
    vpc: VpcId | None = Field(None, description="Tag every public subnet of this VPC.")
    account: AccountName | None = Field(None, description="The AWS account, by its name in the settings.")
    region: Region | None = Field(None, description="The AWS region; the account's own when left out.")
    role_tag: bool = Field(False, description=f"Also prefer these subnets for public load balancers ({ROLE_KEY}=1).")

    @property
    def wanted(self) -> dict[str, str]:
        """The tags that every subnet should have."""
        wanted = {cluster_key(self.cluster): "shared"}
        return {**wanted, ROLE_KEY: "1"} if self.role_tag else wanted

    @model_validator(mode="after")
    def _names_subnets(self) -> TagArguments:
        if not self.subnets and not self.vpc:
            raise ValueError("names neither subnets nor a VPC: add subnet ids, or --vpc and a VPC id")
        return self


class SubnetTag(Operation[TagArguments]):
    """Tags public subnets of an existing VPC for a cluster."""

    name = "subnet tag"
    summary = "Tag public subnets so that a cluster's load balancers find them"
    examples = (
        "subnet tag demo subnet-0a1b2c3d4e5f60718 subnet-0a1b2c3d4e5f60719 subnet-0a1b2c3d4e5f6071a",
        "subnet tag demo --vpc vpc-0a1b2c3d4e5f60718 --role-tag",
    )
    arguments = TagArguments

    def plan(self, arguments: TagArguments, world: ReadWorld) -> Plan:
        """Looks at the subnets and their routes, and plans only the tags that are missing."""
        account = arguments.account or ""
        region = arguments.region or world.account(account).region
        aws = world.aws(account, region)
        partition, right_account = identity(aws.read("sts", "get_caller_identity"), account, world.account(account).id)
        if right_account.blocks:
            return _empty(arguments, right_account)
        subnets, checks = self._subnets(arguments, world, account, region)
        checks = [
            right_account,
            *checks,
            *network_checks(subnets),
            *tag_checks(subnets, arguments.cluster, arguments.wanted),
        ]
        blocked = any(check.blocks for check in checks)
        where = _Where(account, region, partition, world.account(account).id)
        steps = () if blocked else tuple(_steps(subnets, arguments, where))
        count = len({name for step in steps for name in step.resources})
        return Plan(
            headline=f"tag {counted(count or len(subnets))} for {arguments.cluster}",
            checks=tuple(checks),
            facts=tuple(_fact(subnet) for subnet in subnets),
            targets=unique([f"subnets of {subnet.vpc} in {account}" for subnet in subnets]),
            steps=steps,
            impact=_impact(steps, region),
            details=_table(subnets, arguments),
        )

    def _subnets(
        self, arguments: TagArguments, world: ReadWorld, account: str, region: str
    ) -> tuple[list[Subnet], list[Check]]:
        aws = world.aws(account, region)
        if arguments.vpc and not vpc_exists(aws, arguments.vpc):
            return [], [not_found("vpc", [arguments.vpc], account, region)]
        if not arguments.subnets:
            assert arguments.vpc is not None
            found = [subnet for subnet in subnets_of_vpc(aws, arguments.vpc) if subnet.is_public]
            return found, [collected(arguments.vpc, found)]
        wanted = unique(arguments.subnets)
        found = subnets_by_id(aws, wanted)
        missing = [name for name in wanted if name not in {subnet.id for subnet in found}]
        checks = [not_found("subnet", missing, account, region) if missing else all_found(found, account, region)]
        strays = [subnet for subnet in found if arguments.vpc and subnet.vpc != arguments.vpc]
        if strays:
            evidence = "; ".join(f"{named(subnet)} is in {subnet.vpc}" for subnet in strays)
            checks.append(blocks("vpc", "The VPC that was named", evidence, f"Name subnets of {arguments.vpc} only."))
        return found, checks

    def verify(self, arguments: TagArguments, plan: Plan, world: ReadWorld) -> list[Check]:
        """Reads every tag that the plan promised, with a new session."""
        checks: list[Check] = []
        for step in plan.steps:
            promised = TagStep.model_validate(step.model_dump())
            tags = tags_of(world.aws(promised.account, promised.region), promised.resources)
            wrong = [n for n in promised.resources if tags.get(n, {}).get(promised.key) != promised.value]
            tag = f"`{promised.key}={promised.value}`"
            checks.append(
                Check(
                    id=f"verify {promised.key}",
                    title=f"{promised.key} read back",
                    result="block" if wrong else "pass",
                    evidence=f"{tag} is not on {', '.join(wrong)}."
                    if wrong
                    else f"{tag} is on {counted(len(promised.resources))}, read back with a new session.",
                )
            )
        return checks


class _Where:
    """Account by name and id, region and partition: what ARNs and rights are made of."""

    def __init__(self, account: str, region: str, partition: str, account_id: str) -> None:
        self.account, self.region, self.partition, self.account_id = account, region, partition, account_id

    def arn(self, what: str) -> str:
        return f"arn:{self.partition}:ec2:{self.region}:{self.account_id}:{what}"


# -- the change --------------------------------------------------------------------------------------------------


def _steps(subnets: list[Subnet], arguments: TagArguments, where: _Where) -> list[TagStep]:
    steps: list[TagStep] = []
    for key, value in arguments.wanted.items():
        lacking = [subnet for subnet in subnets if key in missing_tags(subnet, arguments.wanted)]
        if lacking:
            steps.append(
                TagStep(
                    title=f"put `{key}={value}` on {counted(len(lacking))}",
                    targets=unique([f"subnets of {subnet.vpc} in {where.account}" for subnet in lacking]),
                    actions=_actions(lacking, key, where),
                    before={subnet.id: None for subnet in lacking},
                    account=where.account,
                    region=where.region,
                    resources=tuple(subnet.id for subnet in lacking),
                    key=key,
                    value=value,
                )
            )
    return steps


def _actions(subnets: list[Subnet], key: str, where: _Where) -> tuple[Action, ...]:
    conditions: Json = {"ForAllValues:StringEquals": {"aws:TagKeys": [key]}}
    resources = tuple(where.arn(f"subnet/{subnet.id}") for subnet in subnets)
    if len(subnets) > ARNS_IN_POLICY:
        resources = (where.arn("subnet/*"),)
        conditions["ArnEquals"] = {"ec2:Vpc": where.arn(f"vpc/{subnets[0].vpc}")}
    place = {"account": where.account, "region": where.region}
    return (
        Action(name="ec2:DescribeSubnets", **place),
        Action(name="ec2:CreateTags", resources=resources, conditions=conditions, **place),
    )


def _fact(subnet: Subnet) -> Fact:
    return Fact(name=subnet.id, value={"vpc": subnet.vpc, "zone": subnet.zone, "route": ROUTE_WORDS[subnet.route]})


def _impact(steps: tuple[TagStep, ...], region: str) -> Impact:
    undo = "\n".join(
        f"aws ec2 delete-tags --region {region} --resources {' '.join(step.resources[start : start + IDS_IN_LINE])}"
        f" --tags Key={step.key},Value={step.value}"
        for step in steps
        for start in range(0, len(step.resources), IDS_IN_LINE)
    )
    return Impact(
        changes=tuple(f"{step.key} on {name}" for step in steps for name in step.resources),
        reversible=True,
        undo=undo,
        cost_per_hour_usd=0.0,
    )


def _table(subnets: list[Subnet], arguments: TagArguments) -> Table | None:
    if not subnets:
        return None
    rows = []
    for subnet in subnets:
        missing = missing_tags(subnet, arguments.wanted)
        change = ", ".join(f"+ {key}={value}" for key, value in missing.items()) or "already so"
        rows.append((subnet.name, change, subnet.zone, ROUTE_WORDS[subnet.route], subnet.id))
    return Table(header=("Subnet", "Change", "Zone", "Route", "Id"), rows=tuple(rows))


def _empty(arguments: TagArguments, check: Check) -> Plan:
    return Plan(
        headline=f"tag subnets for {arguments.cluster}", checks=(check,), facts=(), targets=(), steps=(),
        impact=Impact(reversible=True),
    )  # fmt: skip


OPERATIONS = (SubnetTag(),)
