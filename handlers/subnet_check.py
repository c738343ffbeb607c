"""`subnet check`: which subnets are tagged for which clusters, whether that helps, and which tags are stale.

A tag is stale when nothing else of its cluster is to be seen in the account and region: the Cluster API's AWS provider
leaves the tags of subnets behind, there they count towards the 50, and hide the subnet from clusters without their own
tag. (kubernetes-sigs/cluster-api-provider-aws, DeleteNetwork; kubernetes/cloud-provider-aws, findSubnets.)
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from handlers.belongings import clusters_in, instances, load_balancers, other_clusters
from handlers.clients.aws_errors import Denied
from handlers.contract import (
    Arguments,
    AwsRead,
    Positional,
    ReadWorld,
    Report,
    ReportOperation,
    UsageError,
)
from handlers.network import all_subnets, subnets_of_vpcs, vpc_exists, vpcs_tagged
from handlers.subnet_checks import not_found
from handlers.subnet_scope import Where, enter
from handlers.subnet_seen import Seen, facts, table, title, tone
from handlers.words import AccountName, ClusterName, Region, VpcId


class CheckArguments(Arguments):
    """Which subnets to look at."""

    cluster: Annotated[ClusterName | None, Positional()] = Field(None, description="The cluster. Leave out with --all.")
    all: bool = Field(False, description="The tags of all clusters.")
    vpc: VpcId | None = Field(None, description="The subnets of this VPC only.")
    account: AccountName | None = Field(None, description="The AWS account, by its name in the settings.")
    region: Region | None = Field(None, description="The AWS region; the account's own when left out.")

    @model_validator(mode="after")
    def _names_a_cluster(self) -> CheckArguments:
        if self.cluster is None and not self.all:
            raise ValueError("names no cluster: add its name, or --all for the tags of all clusters")
        if self.cluster is not None and self.all:
            raise ValueError("names a cluster and has --all too: leave one of them out")
        return self


class SubnetCheck(ReportOperation[CheckArguments]):
    """Shows the tags of subnets, and what is wrong with them."""

    name = "subnet check"
    summary = "Show which subnets are tagged for a cluster, which are public, and which tags are stale"
    examples = ("subnet check demo", "subnet check --all --vpc vpc-0a1b2c3d4e5f60718")
    arguments = CheckArguments

    def report(self, arguments: CheckArguments, world: ReadWorld) -> Report:
        """Looks at subnets, routes and tags, and at what else carries a cluster's tag."""
        where, right_account, aws = enter(arguments.account, arguments.region, world)
        if right_account.blocks:
            return Report(tone="bad", title=right_account.evidence, facts=(right_account.fix,))
        seen = look(arguments, aws, where)
        return Report(tone=tone(seen), title=title(seen), facts=facts(seen), table=table(seen))


def look(arguments: CheckArguments, aws: AwsRead, where: Where) -> Seen:
    """The subnets that are meant, with the clusters of which more than subnets is to be seen. Raises UsageError."""
    if arguments.vpc and not vpc_exists(aws, arguments.vpc):
        missing = not_found("vpc", [arguments.vpc], where.account, where.region)
        raise UsageError(missing.evidence, missing.fix)
    alive, lived_in, denied = _alive(aws, arguments.cluster)
    vpcs = {arguments.vpc} if arguments.vpc else set()
    if arguments.cluster and not vpcs:
        vpcs = lived_in | vpcs_tagged(aws, arguments.cluster)
    subnets = all_subnets(aws) if arguments.all and not vpcs else subnets_of_vpcs(aws, sorted(vpcs))
    place = f"in {where.region} of account `{where.account}`"
    if vpcs:
        place = f"of {' and '.join(sorted(vpcs))}"
    return Seen(arguments.cluster, place, subnets, alive, denied)


def _alive(aws: AwsRead, cluster: str | None) -> tuple[set[str] | None, set[str], str]:
    """The clusters of which something is to be seen, None where that is denied, with the reason; between them, the VPCs
    of the named cluster's instances."""
    try:
        nodes = instances(aws)
        alive = {name for node in nodes for name in clusters_in(node.tags)}
        alive |= {name for balancer in load_balancers(aws) for name in clusters_in(balancer.tags)}
        alive |= other_clusters(aws)
    except Denied as error:
        return None, set(), f"{error.message} {error.hint}"
    return alive, {node.vpc for node in nodes if cluster in clusters_in(node.tags) and node.vpc}, ""


OPERATIONS = (SubnetCheck(),)
