"""A cluster that is there: looked at, with the account that it is in and its network as AWS has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from handlers.cluster_objects import ClusterObjects, phase
from handlers.cluster_reading import read_cluster
from handlers.conditions import flag, is_deleted, objects_at, text
from handlers.contract import Arguments, AwsRead, Check, Json, Positional, ReadWorld
from handlers.network import Subnet, subnets_by_id
from handlers.subnet_checks import blocks, passes
from handlers.subnet_scope import Where, enter
from handlers.words import AccountName, ClusterName, Namespace, Region


class PlaceArguments(Arguments):
    """Which cluster, and where it is: the beginning of what every operation on a cluster that is there takes."""

    cluster: Annotated[ClusterName, Positional()] = Field(description="The cluster.")
    namespace: Namespace = Field("default", description="Its namespace on the management cluster.")
    account: AccountName | None = Field(None, description="The AWS account that it is in, by its name in the settings.")
    region: Region | None = Field(None, description="The AWS region; the account's own when left out.")

    @property
    def place(self) -> Json:
        """These four, for the arguments of an inverse."""
        return self.model_dump(mode="json", include={"cluster", "namespace", "account", "region"})


@dataclass(frozen=True)
class Opened:
    """What was found on the way in. `found` is None where a check stands in the way."""

    where: Where
    aws: AwsRead
    found: ClusterObjects | None
    checks: tuple[Check, ...]


THERE = "The cluster is there"
ACCOUNT = "The cluster's account"


def opened(arguments: PlaceArguments, world: ReadWorld) -> Opened:
    """The account, the cluster, and whether the one is in the other."""
    where, right_account, aws = enter(arguments.account, arguments.region, world)
    found, there = found_cluster(arguments.cluster, arguments.namespace, world)
    if found is None or right_account.blocks:
        return Opened(where, aws, None, (right_account, there))
    right_place = account_check(found, where, world)
    return Opened(where, aws, None if right_place.blocks else found, (right_account, there, right_place))


def found_cluster(cluster: str, namespace: str, world: ReadWorld) -> tuple[ClusterObjects | None, Check]:
    """The cluster's objects; the check says what is wrong with them: not there, going, paused, or not to be read."""
    found = read_cluster(world.management(), cluster, namespace)
    if found is None:
        fix = f"`/tkg cluster list` shows those that are there, in all namespaces; this looked in {namespace}."
        return None, blocks("cluster", THERE, f"There is no cluster {cluster} in namespace {namespace}.", fix)
    if found.unread:
        evidence = f"{', '.join(found.unread)} of {cluster} cannot be read."
        return None, blocks("cluster", THERE, evidence, "The platform team has to mend the bot's rights there.")
    if is_deleted(found.cluster):
        return None, blocks("cluster", THERE, f"{cluster} is being deleted.", "Nothing can be done with it any more.")
    if flag(found.cluster, "spec", "paused"):
        evidence = f"{cluster} is paused, so its controllers do nothing."
        return None, blocks("cluster", THERE, evidence, "Take off spec.paused first.")
    return found, passes("cluster", THERE, f"{cluster} is {phase(found.cluster) or 'there'}.")


def account_check(found: ClusterObjects, where: Where, world: ReadWorld) -> Check:
    """Is the cluster in the account and region that are meant? Else everything else would be looked for in the wrong
    one."""
    infra = found.infrastructure
    region, identity = text(infra, "spec", "region"), text(infra, "spec", "identityRef", "name")
    wanted = world.account(where.account).identity or ""
    has = "" if text(infra, "spec", "identityRef", "kind") != "AWSClusterRoleIdentity" else identity
    if has != wanted:
        evidence = f"{found.name} uses {f'the identity {has}' if has else 'the credentials of the provider itself'}."
        return blocks("cluster-account", ACCOUNT, evidence, "Name its account with --account.")
    if region and region != where.region:
        fix = f"Add --region {region}."
        return blocks("cluster-account", ACCOUNT, f"{found.name} is in {region}, not in {where.region}.", fix)
    return passes("cluster-account", ACCOUNT, f"{where.account} ({where.account_id}), {where.region}.")


def network_of(found: ClusterObjects, aws: AwsRead) -> tuple[str, list[Subnet]]:
    """The VPC, and those of the cluster's subnets that AWS knows."""
    network = ("spec", "network")
    vpc = text(found.infrastructure, *network, "vpc", "id")
    listed = objects_at(found.infrastructure, *network, "subnets")
    ids = [text(entry, "resourceID") or text(entry, "id") for entry in listed]
    return vpc, list(subnets_by_id(aws, [name for name in ids if name.startswith("subnet-")]))
