"""`subnet tag`: the tags by which the AWS cloud provider finds subnets for a cluster's load balancers.

`kubernetes.io/cluster/NAME=shared` marks a subnet as used by the cluster; `kubernetes.io/role/elb=1` prefers it for
internet-facing load balancers. (kubernetes/cloud-provider-aws, findELBSubnets;
kubernetes-sigs/cluster-api-provider-aws, docs: bring your own AWS infrastructure.)
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from pydantic import Field

from handlers.contract import Check, Fact, Finding, Impact, Inverse, Operation, Plan, ReadWorld
from handlers.network import ROLE_KEY, ROUTE_WORDS, Subnet, cluster_key
from handlers.steps.tag import TagStep
from handlers.subnet_checks import collected, counted, missing_tags, network_checks, tag_checks
from handlers.subnet_drift import tags_drift
from handlers.subnet_scope import (
    SubnetArguments,
    Where,
    change,
    enter,
    find,
    impact,
    inverse_of,
    table,
    targets,
    touched_steps,
)
from handlers.tags import tags_of
from handlers.words import SubnetList, VpcId


class TagArguments(SubnetArguments):
    """Which subnets to tag."""

    vpc: VpcId | None = Field(None, description="Tag every public subnet of this VPC.")
    role_tag: bool = Field(False, description=f"Also prefer these subnets for public load balancers ({ROLE_KEY}=1).")
    role_subnets: SubnetList | None = Field(
        None, description="Prefer exactly these subnets (ids with commas between them), instead of --role-tag."
    )
    private: bool = Field(False, description="Also private subnets; only internal load balancers can use them.")


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
        where, right_account, aws = enter(arguments.account, arguments.region, world)
        if right_account.blocks:
            return _empty(arguments, right_account)
        told = partial(collected, private_too=arguments.private)
        found = find(arguments, aws, where, lambda subnet: subnet.is_public or arguments.private, told)
        subnets = found.meant
        checks = [
            right_account,
            *found.checks,
            *network_checks(subnets, private_too=arguments.private),
            *tag_checks(subnets, arguments.cluster, arguments.wanted),
        ]
        blocked = any(check.blocks for check in checks)
        steps = () if blocked else tuple(_steps(subnets, arguments, where))
        count = len({name for step in steps for name in step.resources})
        return Plan(
            headline=f"tag {counted(count or len(subnets))} for {arguments.cluster}",
            checks=tuple(checks),
            facts=tuple(_fact(subnet) for subnet in subnets),
            targets=targets(subnets, where),
            steps=steps,
            impact=impact(steps, "on", where.region),
            details=table(subnets, lambda subnet: _change(subnet, arguments)),
        )

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

    def inverse(self, arguments: TagArguments, plan: Plan, touched: Sequence[int]) -> Inverse | None:
        """Untags what had no such tag before; nothing else."""
        steps: list[TagStep] = touched_steps(plan.steps, touched, TagStep)
        put = {step.key: [name for name in step.resources if step.before.get(name) is None] for step in steps}
        return inverse_of("subnet untag", arguments.cluster, steps, put)

    def drift(self, arguments: TagArguments, world: ReadWorld) -> tuple[Finding, ...]:
        """Tags that were put and are not there any more; subnets that are gone, or not public any more."""
        return tags_drift(arguments, self.plan(arguments, world), self.name)


# -- the change --------------------------------------------------------------------------------------------------


def _steps(subnets: list[Subnet], arguments: TagArguments, where: Where) -> list[TagStep]:
    steps: list[TagStep] = []
    for key, value in ((cluster_key(arguments.cluster), "shared"), (ROLE_KEY, "1")):
        lacking = [subnet for subnet in subnets if key in missing_tags(subnet, arguments.wanted(subnet.id))]
        if lacking:
            steps.append(
                TagStep(
                    title=f"put `{key}={value}` on {counted(len(lacking))}",
                    before={subnet.id: None for subnet in lacking},
                    **change(lacking, key, value, where, "ec2:CreateTags"),
                )
            )
    return steps


def _change(subnet: Subnet, arguments: TagArguments) -> str:
    missing = missing_tags(subnet, arguments.wanted(subnet.id))
    return ", ".join(f"+ {key}={value}" for key, value in missing.items())


def _fact(subnet: Subnet) -> Fact:
    return Fact(name=subnet.id, value={"vpc": subnet.vpc, "zone": subnet.zone, "route": ROUTE_WORDS[subnet.route]})


def _empty(arguments: TagArguments, check: Check) -> Plan:
    return Plan(
        headline=f"tag subnets for {arguments.cluster}", checks=(check,), facts=(), targets=(), steps=(),
        impact=Impact(reversible=True),
    )  # fmt: skip


OPERATIONS = (SubnetTag(),)
