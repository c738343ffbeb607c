"""`subnet untag`: takes a cluster's tag off subnets, unless something still needs it.

Nothing else does: the Cluster API's AWS provider leaves these tags behind when a cluster is deleted, they count towards
the 50 of a subnet, and a subnet that is tagged for other clusters only is not found by a new one.
(kubernetes-sigs/cluster-api-provider-aws, DeleteNetwork; kubernetes/cloud-provider-aws, findSubnets.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from handlers.contract import Check, Fact, Impact, Inverse, Operation, Plan, ReadWorld
from handlers.network import ROLE_KEY, Subnet, cluster_key
from handlers.steps.untag import UntagStep
from handlers.subnet_checks import counted, one_vpc
from handlers.subnet_scope import (
    Found,
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
from handlers.untag_checks import collected, need_checks, others_on, role_decision, value_checks
from handlers.words import SubnetList, VpcId


class UntagArguments(SubnetArguments):
    """Which subnets to untag."""

    vpc: VpcId | None = Field(None, description="Untag every subnet of this VPC that carries the cluster's tag.")
    role_tag: bool = Field(False, description=f"Also take off {ROLE_KEY}, where no other cluster's tag is left.")
    role_subnets: SubnetList | None = Field(
        None, description="Take it off exactly these subnets (ids with commas between them), instead of --role-tag."
    )


class SubnetUntag(Operation[UntagArguments]):
    """Takes a cluster's tag off subnets."""

    name = "subnet untag"
    ends = ("subnet tag",)
    summary = "Take a cluster's tag off subnets that it does not need any more"
    examples = (
        "subnet untag demo subnet-0a1b2c3d4e5f60718 subnet-0a1b2c3d4e5f60719 subnet-0a1b2c3d4e5f6071a",
        "subnet untag demo --vpc vpc-0a1b2c3d4e5f60718 --role-tag",
    )
    arguments = UntagArguments

    def plan(self, arguments: UntagArguments, world: ReadWorld) -> Plan:
        """Looks at the subnets and at what needs their tag, and plans only what is there and not needed."""
        where, right_account, aws = enter(arguments.account, arguments.region, world)
        cluster, key = arguments.cluster, cluster_key(arguments.cluster)
        if right_account.blocks:
            return _empty(cluster, right_account)
        found = find(arguments, aws, where, lambda subnet: key in subnet.tags, lambda *seen: _told(key, *seen))
        subnets = found.meant
        listed = [subnet for subnet in subnets if key in arguments.wanted(subnet.id)]
        going = [subnet for subnet in listed if subnet.tags.get(key) == "shared"]
        asked = [subnet for subnet in subnets if ROLE_KEY in arguments.wanted(subnet.id)]
        losing, about_role = role_decision(asked, cluster, each_named=bool(arguments.role_subnets))
        checks = [
            right_account,
            *found.checks,
            *([one_vpc(subnets)] if subnets else []),
            *value_checks(listed, key),
            *about_role,
            *need_checks(aws, cluster, going),
        ]
        blocked = any(check.blocks for check in checks)
        wanted = [(ROLE_KEY, "1", losing), (key, "shared", going)]
        steps = () if blocked else tuple(_steps(wanted, where))
        count = len({name for step in steps for name in step.resources})
        return Plan(
            headline=f"untag {counted(count or len(subnets)) if subnets else 'subnets'} of {cluster}",
            checks=tuple(checks),
            facts=(*map(_fact, subnets), *_sharing(found, arguments)),
            targets=targets(subnets, where),
            steps=steps,
            impact=impact(steps, "off", where.region),
            details=table(subnets, lambda subnet: _change(subnet, wanted, arguments)),
        )

    def verify(self, arguments: UntagArguments, plan: Plan, world: ReadWorld) -> list[Check]:
        """Reads the tags that should be gone, with a new session."""
        checks: list[Check] = []
        for step in plan.steps:
            promised = UntagStep.model_validate(step.model_dump())
            tags = tags_of(world.aws(promised.account, promised.region), promised.resources)
            wrong = [name for name in promised.resources if promised.key in tags.get(name, {})]
            gone = f"`{promised.key}` is gone from {counted(len(promised.resources))}, read back with a new session."
            checks.append(
                Check(
                    id=f"verify {promised.key}",
                    title=f"{promised.key} read back",
                    result="block" if wrong else "pass",
                    evidence=f"`{promised.key}` is still on {', '.join(wrong)}." if wrong else gone,
                )
            )
        return checks

    def inverse(self, arguments: UntagArguments, plan: Plan, touched: Sequence[int]) -> Inverse | None:
        """Tags again what had the tag before; nothing else."""
        steps: list[UntagStep] = touched_steps(plan.steps, touched, UntagStep)
        had = {step.key: [name for name in step.resources if step.before.get(name) == step.value] for step in steps}
        made = inverse_of("subnet tag", arguments.cluster, steps, had)
        if made is None:
            return None
        again = made.arguments
        if had.get(ROLE_KEY) == again.get("subnets"):  # then the shorter words say the same
            again = {**again, "role_tag": True}
            del again["role_subnets"]
        public: dict[str, Any] = {fact.name: fact.value for fact in plan.facts}
        if not all(public[name]["public"] for names in had.values() for name in names):
            again = {**again, "private": True}
        return Inverse(operation=made.operation, arguments=again)


def _told(key: str, vpc: str, found: list[Subnet]) -> Check:
    return collected(vpc, key, found)


# -- the change --------------------------------------------------------------------------------------------------


def _steps(wanted: list[tuple[str, str, list[Subnet]]], where: Where) -> list[UntagStep]:
    """The cluster's own tag goes last: as long as it is there, a run that was interrupted finds the same subnets."""
    return [
        UntagStep(
            title=f"take `{key}={value}` off {counted(len(subnets))}",
            before={subnet.id: value for subnet in subnets},
            **change(subnets, key, value, where, "ec2:DeleteTags"),
        )
        for key, value, subnets in wanted
        if subnets
    ]


def _change(subnet: Subnet, wanted: list[tuple[str, str, list[Subnet]]], arguments: UntagArguments) -> str:
    going = {key: value for key, value, subnets in reversed(wanted) if subnet in subnets}
    staying = [key for key in arguments.wanted(subnet.id) if key in subnet.tags and key not in going]
    gone = [f"- {key}={value}" for key, value in going.items()]
    return ", ".join([*gone, *(f"{key}={subnet.tags[key]} stays" for key in staying)])


def _fact(subnet: Subnet) -> Fact:
    """Not material: nobody decides by it. An undo has to know which subnets are private."""
    return Fact(
        name=subnet.id, value={"vpc": subnet.vpc, "zone": subnet.zone, "public": subnet.is_public}, material=False
    )


def _sharing(found: Found, arguments: UntagArguments) -> list[Fact]:
    """The other clusters on the subnets decide about the role tag; the steps change nothing of them."""
    if not arguments.role_tag and not arguments.role_subnets:
        return []
    others = {subnet.id: others_on(subnet, arguments.cluster) for subnet in found.around}
    return [Fact(name="tagged for other clusters", value={name: [*names] for name, names in others.items() if names})]


def _empty(cluster: str, check: Check) -> Plan:
    return Plan(
        headline=f"untag subnets of {cluster}", checks=(check,), facts=(), targets=(), steps=(),
        impact=Impact(reversible=True),
    )  # fmt: skip


OPERATIONS = (SubnetUntag(),)
