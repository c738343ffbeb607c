"""What is looked at before subnets are untagged: whose the tags are, and whether something still needs them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from handlers.belongings import (
    PROVIDER_PREFIX,
    LoadBalancer,
    Resource,
    clusters_in,
    instances,
    interfaces,
    load_balancers,
    nat_gateways,
)
from handlers.clients.aws_errors import Denied
from handlers.contract import AwsRead, Check
from handlers.network import ROLE_KEY, Subnet, cluster_key
from handlers.subnet_checks import blocks, counted, named, odd_values, passes, warns

Look = Callable[[str, str, AwsRead, str, list[Subnet]], Check]
"""One look: the check's id and title, where to look, for which cluster, on which subnets."""
SHOWN = 5
"""How many resources one sentence names."""


def value_checks(subnets: list[Subnet], key: str) -> list[Check]:
    """Only the value `shared` is taken off."""
    owned = [subnet for subnet in subnets if subnet.tags.get(key) == "owned"]
    if not owned:
        return odd_values(subnets, key)
    evidence = (
        f"`{key}=owned` on {', '.join(named(s) for s in owned)}: the subnet belongs to the cluster, which made it."
    )
    fix = "It goes with the cluster: delete the cluster, or leave these subnets out."
    return [blocks("owned", "Owned by this cluster", evidence, fix), *odd_values(subnets, key)]


def collected(vpc: str, key: str, found: list[Subnet]) -> Check:
    """What a VPC has by itself, to be untagged."""
    title = "Tagged subnets of the VPC"
    if not found:
        return passes("collected", title, f"No subnet of {vpc} carries `{key}`.")
    return passes("collected", title, f"{vpc} has {len(found)}: {', '.join(named(s) for s in found)}.")


def others_on(subnet: Subnet, cluster: str) -> list[str]:
    """The other clusters that a subnet is tagged for."""
    return [name for name in subnet.clusters if name != cluster]


def role_decision(subnets: list[Subnet], cluster: str, *, each_named: bool) -> tuple[list[Subnet], list[Check]]:
    """Which of the subnets lose the role tag, and why the others keep it. Where another cluster's tag is left, only
    those that were named for it (`each_named`) do."""
    carrying = [subnet for subnet in subnets if ROLE_KEY in subnet.tags]
    ours = [subnet for subnet in carrying if subnet.tags[ROLE_KEY] == "1"]
    alone = [subnet for subnet in ours if not others_on(subnet, cluster)]
    checks = _odd_role([subnet for subnet in carrying if subnet not in ours])
    both = [subnet for subnet in ours if subnet not in alone]
    if both:
        evidence = "; ".join(f"{named(s)} is also tagged for {', '.join(others_on(s, cluster))}" for s in both) + "."
        stays = f"{ROLE_KEY} stays there: their load balancers may go by it. To take it off all the same, name these "
        goes = f"{ROLE_KEY} is taken off there as asked: new load balancers of theirs no longer prefer these subnets."
        fix = goes if each_named else f"{stays}subnets with --role-subnets."
        checks.append(warns("role-shared", "Role tag that others use", evidence, fix))
    if alone:
        evidence = (
            f"No other cluster's tag is on {counted(len(alone))} that {'lose' if len(alone) > 1 else 'loses'} it."
        )
        checks.append(passes("role", "Role tag", evidence))
    return (ours if each_named else alone), checks


def _odd_role(subnets: list[Subnet]) -> list[Check]:
    if not subnets:
        return []
    evidence = "; ".join(f"{named(s)} has `{ROLE_KEY}={s.tags[ROLE_KEY]}`" for s in subnets) + "."
    fix = "It stays: tkgbot writes and removes the value `1` only. Remove it by hand if nobody needs it."
    return [warns("role-value", "Another value of the role tag", evidence, fix)]


# -- what needs the tag ------------------------------------------------------------------------------------------


def need_checks(aws: AwsRead, cluster: str, subnets: list[Subnet]) -> list[Check]:
    """Does something still need the cluster's tag on these subnets? What may not be looked at blocks too."""
    if not subnets:
        return []
    return [_looked(name, title, look, aws, cluster, subnets) for name, title, look in LOOKS]


def _looked(name: str, title: str, look: Look, aws: AwsRead, cluster: str, subnets: list[Subnet]) -> Check:
    try:
        return look(name, title, aws, cluster, subnets)
    except Denied as error:
        evidence = f"{error.message} So it is not known whether something needs the tag."
        return Check(id=name, title=title, result="unknown", evidence=evidence, fix=error.hint)


def _load_balancers(name: str, title: str, aws: AwsRead, cluster: str, subnets: list[Subnet]) -> Check:
    balancers = load_balancers(aws, {subnet.vpc for subnet in subnets})
    cards = interfaces(aws, [subnet.id for subnet in subnets])
    mine = [balancer for balancer in balancers if cluster in clusters_in(balancer.tags)]
    used = [(balancer, _used(balancer, cards, subnets)) for balancer in mine]
    evidence = "; ".join(
        f"{balancer.name} ({balancer.kind}) in {', '.join(map(named, where))}" for balancer, where in used if where
    )
    if evidence:
        fix = f"Delete the services of {cluster} that these belong to, or the cluster; when they are gone, ask again."
        return blocks(name, title, evidence + ".", fix)
    known = {balancer.interface for balancer in balancers}
    strangers = [card for card in cards if card.about not in known]
    if strangers:
        return _strangers(name, title, cluster, strangers)
    count = f"{len(balancers)} load balancer{'s' * (len(balancers) != 1)}"
    return passes(name, title, f"None is in {counted(len(subnets))}: {count} of the VPC looked at.")


def _used(balancer: LoadBalancer, cards: list[Resource], subnets: list[Subnet]) -> list[Subnet]:
    by_interface = {card.subnet for card in cards if card.about == balancer.interface}
    return [subnet for subnet in subnets if subnet.id in by_interface.union(balancer.subnets)]


def _strangers(name: str, title: str, cluster: str, cards: list[Resource]) -> Check:
    evidence = _some([f"{card.id} in {card.subnet} is of `{card.about}` (account {card.owner})" for card in cards])
    evidence += ": no such load balancer can be seen from this account, so it is not known whose it is."
    fix = (
        "If it is being deleted, ask again in a few minutes; else look it up in its account. If it has nothing to do "
        f"with {cluster}, an administrator can take the tag off by hand."
    )
    return Check(id=name, title=title, result="unknown", evidence=evidence, fix=fix)


def _instances(name: str, title: str, aws: AwsRead, cluster: str, subnets: list[Subnet]) -> Check:
    by_id = {subnet.id: subnet for subnet in subnets}
    found = instances(aws, cluster)
    here = [f"{instance.id} in {named(by_id[instance.subnet])}" for instance in found if instance.subnet in by_id]
    if here:
        fix = f"Delete the cluster {cluster}, or move its nodes to other subnets; when these are gone, ask again."
        return blocks(name, title, _some(here) + ".", fix)
    vpcs = {subnet.vpc for subnet in subnets}
    near = [instance for instance in found if instance.vpc in vpcs]
    if near:
        evidence = f"{len(near)} running in other subnets of {', '.join(sorted(vpcs))}, so {cluster} is in use."
        fix = "Its next LoadBalancer service will not find these subnets by their tag. Untag what it must not use only."
        return warns(name, title, evidence, fix)
    return passes(name, title, f"None is running in {counted(len(subnets))}, nor elsewhere in the VPC.")


def _nat_gateways(name: str, title: str, aws: AwsRead, cluster: str, subnets: list[Subnet]) -> Check:
    by_id = {subnet.id: subnet for subnet in subnets}
    keys = (cluster_key(cluster), f"{PROVIDER_PREFIX}{cluster}")
    found = nat_gateways(aws, list(by_id))
    owned = [
        f"{gateway.id} in {named(by_id[gateway.subnet])}"
        for gateway in found
        if any(gateway.tags.get(key) == "owned" for key in keys)
    ]
    if owned:
        fix = f"The cluster made it, and takes it along: delete the cluster {cluster} first."
        return blocks(name, title, _some(owned) + ".", fix)
    return passes(name, title, f"It owns none in {counted(len(subnets))}.")


def _some(lines: Sequence[str]) -> str:
    more = f" and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
    return ", ".join(lines[:SHOWN]) + more


LOOKS: tuple[tuple[str, str, Look], ...] = (
    ("load-balancers", "Load balancers of the cluster", _load_balancers),
    ("instances", "Instances of the cluster", _instances),
    ("nat-gateways", "NAT gateways of the cluster", _nat_gateways),
)
