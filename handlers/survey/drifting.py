"""What is not as it should be, whoever made it so: tags of clusters that are gone, identities that clusters name and
that are missing, versions out of support."""

from __future__ import annotations

from collections.abc import Sequence

from handlers.cluster_objects import ClusterObjects, version
from handlers.contract import Fatal, Finding, Offer, ReadWorld
from handlers.network import Subnet, cluster_key
from handlers.subnet_check import CheckArguments, look
from handlers.subnet_checks import counted
from handlers.subnet_scope import Where, enter
from handlers.survey.clusters import role_identity_of
from handlers.survey.support import ended

MOST = 200
"""Subnets that one request can name."""
SHOWN = 5


def stale_tags(account: str, region: str, known: frozenset[str], world: ReadWorld) -> list[Finding]:
    """Tags of clusters of which nothing is to be seen: neither in that account and region, nor among the clusters that
    are `known`. Raises Fatal where that cannot be told."""
    where, right_account, aws = enter(account, region or None, world)
    if right_account.blocks:
        raise Fatal(right_account.evidence, right_account.fix)
    seen = look(CheckArguments(all=True), aws, where)
    if seen.alive is None:
        raise Fatal(f"Whether a tag is stale cannot be told. {seen.denied}")
    groups: dict[tuple[str, str, bool], list[Subnet]] = {}
    for subnet in seen.subnets:
        for name in seen.stale(subnet):
            if name not in known:
                is_ours = subnet.clusters[name] == "shared"
                groups.setdefault((name, subnet.vpc, is_ours), []).append(subnet)
    return [_stale(name, vpc, groups[name, vpc, ours], where, ours=ours) for name, vpc, ours in sorted(groups)]


def _stale(cluster: str, vpc: str, subnets: Sequence[Subnet], where: Where, *, ours: bool) -> Finding:
    """One VPC's, because no request untags two; only the value `shared` is taken off by one."""
    ids = sorted(subnet.id for subnet in subnets)
    what, verb = counted(len(ids)), "carries" if len(ids) == 1 else "carry"
    more = f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
    offer = Offer(
        title=f"Take the tag of {cluster} off {counted(min(len(ids), MOST))}.", label=f"Untag {cluster}"[:30],
        operation="subnet untag",
        arguments={
            "cluster": cluster, "subnets": list(ids[:MOST]), "account": where.account, "region": where.region,
        },
    )  # fmt: skip
    by_hand = (
        f"The value of `{cluster_key(cluster)}` is not `shared` there, so tkgbot does not take it off: find out who "
        "set it, and remove it, or the subnets, by hand."
    )
    return Finding(
        id=f"stale-tags {where.account} {where.region} {vpc} {cluster}{'' if ours else ' by hand'}",
        kind="stale-tags",
        title=f"{what} of {vpc} in {where.account} still {verb} the tag of {cluster}, of which nothing else is there.",
        evidence=f"{', '.join(ids[:SHOWN])}{more}.",
        fix="" if ours else by_hand,
        account=where.account,
        cluster=cluster,
        repair=offer if ours else None,
    )


def missing_identities(every: Sequence[ClusterObjects], there: frozenset[str]) -> list[Finding]:
    """Role identities that clusters use, and that are not `there`: neither changing nor deleting works without."""
    users: dict[str, list[ClusterObjects]] = {}
    for found in every:
        if identity := role_identity_of(found):
            users.setdefault(identity, []).append(found)
    return [
        Finding(
            id=f"identity {name}",
            kind="identity",
            title=f"The identity {name} is missing, and {_used(users[name])} it.",
            evidence="Without it the AWS provider cannot get into that account: nothing is changed or deleted there.",
            fix=f"Bring the account in again under this name: /tkg account onboard ACCOUNT_ID --identity {name}",
            account=name,
        )
        for name in sorted(users.keys() - there)
    ]


def _used(users: Sequence[ClusterObjects]) -> str:
    if len(users) == 1:
        return f"{users[0].namespace}/{users[0].name} uses"
    return f"{len(users)} clusters use"


def old_versions(every: Sequence[ClusterObjects], world: ReadWorld) -> list[Finding]:
    """Clusters whose Kubernetes is out of support, or soon will be."""
    findings: list[Finding] = []
    for found in every:
        runs = version(found.control_plane)
        said = ended(runs, world.now(), world.clusters().supported_until)
        if said:
            key = f"{found.namespace}/{found.name}"
            findings.append(
                Finding(
                    id=f"version {key}", kind="version", title=f"{key}: {said}", evidence=f"It runs {runs}.",
                    cluster=found.name, namespace=found.namespace, fix="Upgrade it, one minor version at a time.",
                )
            )  # fmt: skip
    return findings
