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
from handlers.words import AccountName, ClusterName, Region, SubnetId, VpcId

TAGS_PER_RESOURCE = 50
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
        partition, identity = _identity(aws.read("sts", "get_caller_identity"), account, world.account(account).id)
        if identity.blocks:
            return _empty(arguments, identity)
        subnets, checks = self._subnets(arguments, world, account, region)
        checks = [identity, *checks, *_network_checks(subnets), *_tag_checks(subnets, arguments)]
        blocked = any(check.blocks for check in checks)
        where = _Where(account, region, partition, world.account(account).id)
        steps = () if blocked else tuple(_steps(subnets, arguments, where))
        count = len({name for step in steps for name in step.resources})
        return Plan(
            headline=f"tag {_subnets_(count or len(subnets))} for {arguments.cluster}",
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
            return [], [_not_found("vpc", [arguments.vpc], account, region)]
        if not arguments.subnets:
            assert arguments.vpc is not None
            found = [subnet for subnet in subnets_of_vpc(aws, arguments.vpc) if subnet.is_public]
            return found, [_collected(arguments.vpc, found)]
        wanted = unique(arguments.subnets)
        found = subnets_by_id(aws, wanted)
        missing = [name for name in wanted if name not in {subnet.id for subnet in found}]
        checks = [_not_found("subnet", missing, account, region) if missing else _found(found, account, region)]
        strays = [subnet for subnet in found if arguments.vpc and subnet.vpc != arguments.vpc]
        if strays:
            evidence = "; ".join(f"{_name(subnet)} is in {subnet.vpc}" for subnet in strays)
            checks.append(_block("vpc", "The VPC that was named", evidence, f"Name subnets of {arguments.vpc} only."))
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
                    else f"{tag} is on {_subnets_(len(promised.resources))}, read back with a new session.",
                )
            )
        return checks


class _Where:
    """Account by name and id, region and partition: what ARNs and rights are made of."""

    def __init__(self, account: str, region: str, partition: str, account_id: str) -> None:
        self.account, self.region, self.partition, self.account_id = account, region, partition, account_id

    def arn(self, what: str) -> str:
        return f"arn:{self.partition}:ec2:{self.region}:{self.account_id}:{what}"


# -- checks ------------------------------------------------------------------------------------------------------


def _identity(answer: Json, account: str, wanted: str) -> tuple[str, Check]:
    seen, arn = str(answer["Account"]), str(answer["Arn"])
    title = "The right AWS account"
    if seen != wanted:
        evidence = f"The credentials for `{account}` lead to account {seen}, the settings say {wanted}."
        return "aws", _block("account", title, evidence, "The platform team has to mend the settings.")
    return arn.split(":")[1], _pass("account", title, f"`{account}` is account {seen}.")


def _network_checks(subnets: list[Subnet]) -> list[Check]:
    if not subnets:
        return []
    return [_one_vpc(subnets), _public(subnets), *_by_main(subnets), _spread(subnets)]


def _one_vpc(subnets: list[Subnet]) -> Check:
    title = "One VPC"
    vpcs = sorted({subnet.vpc for subnet in subnets})
    if len(vpcs) == 1:
        return _pass("one-vpc", title, f"All in {vpcs[0]}.")
    evidence = "; ".join(f"{vpc}: {', '.join(_name(s) for s in subnets if s.vpc == vpc)}" for vpc in vpcs)
    return _block("one-vpc", title, evidence, "A cluster lives in one VPC: name the subnets of one of them.")


def _public(subnets: list[Subnet]) -> Check:
    title = "Really public"
    wrong = [subnet for subnet in subnets if not subnet.is_public]
    if not wrong:
        return _pass("public", title, f"All {_subnets_(len(subnets))} have an active route to an internet gateway.")
    evidence = "; ".join(
        f"{_name(s)} is private: its route table {s.table} has "
        + (
            "a route to an internet gateway that is gone"
            if s.route == "blackhole"
            else "no route to an internet gateway"
        )
        for s in wrong
    )
    return _block("public", title, evidence, "Leave these out, or use --vpc to have the public ones found.")


def _by_main(subnets: list[Subnet]) -> list[Check]:
    by_main = [subnet for subnet in subnets if subnet.route == "main"]
    if not by_main:
        return []
    evidence = ", ".join(f"{_name(s)} ({s.table})" for s in by_main)
    fix = "Associate the route table with the subnet: the Cluster API's AWS provider and TKG take it for private."
    return [
        Check(
            id="by-main",
            title="Public only through the main route table",
            result="warn",
            evidence=evidence + ".",
            fix=fix,
        )
    ]


def _spread(subnets: list[Subnet]) -> Check:
    title = "Spread over zones"
    zones = sorted({subnet.zone for subnet in subnets})
    evidence = f"{_subnets_(len(subnets))} in {len(zones)} zone{'s' * (len(zones) != 1)}: {', '.join(zones)}."
    if len(zones) >= 3:
        return _pass("spread", title, evidence)
    fix = "Enough for a dev cluster; a prod cluster wants three subnets in three zones."
    return Check(id="spread", title=title, result="warn", evidence=evidence, fix=fix)


def _tag_checks(subnets: list[Subnet], arguments: TagArguments) -> list[Check]:
    key = cluster_key(arguments.cluster)
    return [*_room(subnets, arguments), *_owned(subnets, key), *_foreign(subnets, key)]


def _room(subnets: list[Subnet], arguments: TagArguments) -> list[Check]:
    if not subnets:
        return []
    title = "Room for tags"
    full = [(s, s.user_tags, len(_missing(s, arguments))) for s in subnets]
    over = [(s, have, new) for s, have, new in full if have + new > TAGS_PER_RESOURCE]
    if not over:
        return [
            _pass(
                "room",
                title,
                f"The fullest subnet has {max(s.user_tags for s in subnets)} of {TAGS_PER_RESOURCE} tags.",
            )
        ]
    evidence = "; ".join(
        f"{_name(s)} has {have} of {TAGS_PER_RESOURCE} tags and needs {new} more" for s, have, new in over
    )
    return [_block("room", title, evidence, "Remove tags of clusters that are gone, or leave these subnets out.")]


def _owned(subnets: list[Subnet], key: str) -> list[Check]:
    checks: list[Check] = []
    owned = [subnet for subnet in subnets if subnet.tags.get(key) == "owned"]
    if owned:
        evidence = f"`{key}=owned` on {', '.join(_name(s) for s in owned)}."
        fix = "It is left as it is: the subnet belongs to the cluster and goes with it."
        checks.append(Check(id="owned", title="Owned by this cluster", result="warn", evidence=evidence, fix=fix))
    odd = [subnet for subnet in subnets if subnet.tags.get(key, "shared") not in ("shared", "owned")]
    if odd:
        evidence = "; ".join(f"{_name(s)} has `{key}={s.tags[key]}`" for s in odd)
        fix = "Only `shared` and `owned` have a meaning. Find out who set it, and remove it by hand."
        checks.append(_block("odd-value", "An unknown value of the cluster tag", evidence, fix))
    return checks


def _foreign(subnets: list[Subnet], key: str) -> list[Check]:
    prefix = "kubernetes.io/cluster/"
    others = [
        f"{_name(s)} by {other.removeprefix(prefix)}"
        for s in subnets
        for other, value in sorted(s.tags.items())
        if other.startswith(prefix) and other != key and value == "owned"
    ]
    if not others:
        return []
    fix = "It is deleted with that cluster. Ask its team, or use other subnets."
    return [
        Check(id="foreign", title="Owned by another cluster", result="warn", evidence="; ".join(others) + ".", fix=fix)
    ]


def _not_found(what: str, missing: list[str], account: str, region: str) -> Check:
    title = {"vpc": "The VPC exists", "subnet": "The subnets exist"}[what]
    evidence = f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not in {region} of account `{account}`."
    fix = "Check the id; if it is in another region or account, add --region or --account."
    return _block(what, title, evidence, fix)


def _found(found: list[Subnet], account: str, region: str) -> Check:
    return _pass("subnet", "The subnets exist", f"{_subnets_(len(found))} in {region} of account `{account}`.")


def _collected(vpc: str, found: list[Subnet]) -> Check:
    title = "Public subnets of the VPC"
    if found:
        return _pass("collected", title, f"{vpc} has {len(found)}: {', '.join(_name(s) for s in found)}.")
    fix = "Give it a subnet whose route table leads to an internet gateway, or name another VPC."
    return _block("collected", title, f"{vpc} has no public subnet.", fix)


def _pass(name: str, title: str, evidence: str) -> Check:
    return Check(id=name, title=title, result="pass", evidence=evidence)


def _block(name: str, title: str, evidence: str, fix: str) -> Check:
    return Check(id=name, title=title, result="block", evidence=evidence, fix=fix)


# -- the change --------------------------------------------------------------------------------------------------


def cluster_key(cluster: str) -> str:
    """The tag key that marks a subnet as used by `cluster`."""
    return f"kubernetes.io/cluster/{cluster}"


def _missing(subnet: Subnet, arguments: TagArguments) -> dict[str, str]:
    """The tags to add. A key that is there stays as it is: for subnets only the key is compared."""
    wanted = {cluster_key(arguments.cluster): "shared"}
    if arguments.role_tag:
        wanted[ROLE_KEY] = "1"
    return {key: value for key, value in wanted.items() if key not in subnet.tags}


def _steps(subnets: list[Subnet], arguments: TagArguments, where: _Where) -> list[TagStep]:
    steps: list[TagStep] = []
    for key, value in ((cluster_key(arguments.cluster), "shared"), (ROLE_KEY, "1")):
        lacking = [subnet for subnet in subnets if key in _missing(subnet, arguments)]
        if lacking:
            steps.append(
                TagStep(
                    title=f"put `{key}={value}` on {_subnets_(len(lacking))}",
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
        missing = _missing(subnet, arguments)
        change = ", ".join(f"+ {key}={value}" for key, value in missing.items()) or "already so"
        rows.append((subnet.name, change, subnet.zone, ROUTE_WORDS[subnet.route], subnet.id))
    return Table(header=("Subnet", "Change", "Zone", "Route", "Id"), rows=tuple(rows))


def _empty(arguments: TagArguments, check: Check) -> Plan:
    return Plan(
        headline=f"tag subnets for {arguments.cluster}", checks=(check,), facts=(), targets=(), steps=(),
        impact=Impact(reversible=True),
    )  # fmt: skip


def _name(subnet: Subnet) -> str:
    return subnet.id if subnet.name == subnet.id else f"{subnet.name} ({subnet.id})"


def _subnets_(count: int) -> str:
    return f"{count} subnet{'s' * (count != 1)}"


OPERATIONS = (SubnetTag(),)
