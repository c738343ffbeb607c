"""What `subnet check` says of what it saw: title, tone, facts and table. Looks at nothing itself."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from handlers.contract import Table
from handlers.network import ROLE_KEY, ROUTE_WORDS, Subnet
from handlers.subnet_checks import TAGS_PER_RESOURCE, counted, named

CROWDED = 40
"""More tags than these are worth a word."""
INTERNAL_KEY = "kubernetes.io/role/internal-elb"
NAMED = 10
"""How many subnets one line names."""


@dataclass(frozen=True)
class Seen:
    """What was seen. `cluster` is None for all of them; `place` is where, in words. `alive` are the clusters of which
    more than subnets was found, None where it could not be looked at; then `denied` says why."""

    cluster: str | None
    place: str
    subnets: list[Subnet]
    alive: set[str] | None
    denied: str = ""

    def is_tagged(self, subnet: Subnet) -> bool:
        """Is it tagged for the cluster, or for any?"""
        return bool(subnet.clusters) if self.cluster is None else self.cluster in subnet.clusters

    def stale(self, subnet: Subnet) -> list[str]:
        """The clusters whose tag on the subnet is stale."""
        return [] if self.alive is None else [name for name in subnet.clusters if name not in self.alive]

    @property
    def zones(self) -> dict[str, list[str]]:
        """The zones of the public subnets of each cluster."""
        every = (
            [self.cluster] if self.cluster else sorted({name for subnet in self.subnets for name in subnet.clusters})
        )
        return {name: sorted({s.zone for s in self.subnets if s.is_public and name in s.clusters}) for name in every}


def title(seen: Seen) -> str:
    """The answer in one sentence."""
    what = seen.cluster or "a cluster"
    public = [subnet for subnet in seen.subnets if subnet.is_public]
    tagged = [subnet for subnet in public if seen.is_tagged(subnet)]
    if seen.cluster and not seen.subnets:
        return f"No subnet {seen.place} is tagged for {seen.cluster}."
    if not public:
        return f"There is no public subnet {seen.place}; {_stale_count(seen)}."
    verb = "is" if len(tagged) == 1 or len(public) == 1 else "are"
    count = f"{len(tagged) or 'None'} of {len(public)} public subnet{'s' * (len(public) != 1)}"
    return f"{count} {seen.place} {verb} tagged for {what}; {_stale_count(seen)}."


def _stale_count(seen: Seen) -> str:
    if seen.alive is None:
        return "whether a tag is stale could not be looked at"
    count = sum(len(seen.stale(subnet)) for subnet in seen.subnets)
    return "no tag is stale" if not count else "1 tag is stale" if count == 1 else f"{count} tags are stale"


def tone(seen: Seen) -> Literal["good", "bad", "warn", "info"]:
    """Bad when a cluster has no public subnet that is tagged for it; a warning when something should be looked at."""
    tagged = [subnet for subnet in seen.subnets if seen.is_tagged(subnet)]
    if not any(subnet.is_public for subnet in tagged):
        return "bad" if seen.cluster else "info"
    doubtful = any(seen.stale(subnet) or subnet.user_tags > CROWDED for subnet in seen.subnets)
    misled = any(subnet.route in ("main", "blackhole") for subnet in tagged)
    narrow = any(len(zones) < 3 for zones in seen.zones.values())
    return "warn" if doubtful or misled or narrow or seen.alive is None else "good"


def facts(seen: Seen) -> tuple[str, ...]:
    """A line each, where there is something to say; the last one says what the answer rests on."""
    what = seen.cluster or "a cluster"
    tagged = [subnet for subnet in seen.subnets if seen.is_tagged(subnet)]
    free = [subnet for subnet in seen.subnets if subnet.is_public and not seen.is_tagged(subnet)]
    crowded = [subnet for subnet in seen.subnets if subnet.user_tags > CROWDED]
    groups = [
        (free, f"Public, and not tagged for {seen.cluster or 'any cluster'}", ""),
        (_by(tagged, "private"), f"Tagged for {what}, and private", " Only internal load balancers can use them."),
        (_by(tagged, "blackhole"), f"Tagged for {what}, with a route to an internet gateway that is gone", ""),
        (
            _by(tagged, "main"),
            f"Tagged for {what}, and public only through the main route table",
            " TKG and the Cluster API's AWS provider take them for private: associate the route table with them.",
        ),
        (crowded, f"More than {CROWDED} of {TAGS_PER_RESOURCE} tags", ""),
    ]
    lines = [f"{before}: {_listed(map(named, subnets))}.{after}" for subnets, before, after in groups if subnets]
    if seen.cluster and not seen.subnets:
        lines.append("To see the subnets of a VPC all the same, name it with --vpc.")
    return (*lines, *_narrow(seen), *_stale(seen), _rests_on(seen))


def _by(subnets: list[Subnet], route: str) -> list[Subnet]:
    return [subnet for subnet in subnets if subnet.route == route]


def _narrow(seen: Seen) -> list[str]:
    few = {name: zones for name, zones in seen.zones.items() if 0 < len(zones) < 3}
    if not few:
        return []
    clusters = _listed(f"{name} ({', '.join(zones)})" for name, zones in few.items())
    return [f"Public subnets in fewer than three zones: {clusters}. A prod cluster wants three."]


def _stale(seen: Seen) -> list[str]:
    by_cluster: dict[str, list[Subnet]] = {}
    for subnet in seen.subnets:
        for name in seen.stale(subnet):
            by_cluster.setdefault(name, []).append(subnet)
    return [
        f"Stale, unless the cluster has yet to be made: {name} on {_listed(map(named, subnets))} "
        f"({counted(len(subnets))})."
        for name, subnets in by_cluster.items()
    ]


def _rests_on(seen: Seen) -> str:
    if seen.alive is None:
        return f"Whether a tag is stale is not known. {seen.denied}"
    return (
        "A tag is called stale when no running instance, no load balancer and no other EC2 resource of its cluster is "
        "in this account and region. The management cluster was not asked."
    )


def table(seen: Seen) -> Table | None:
    """One row a subnet; with its VPC where there are several."""
    if not seen.subnets:
        return None
    several = len({subnet.vpc for subnet in seen.subnets}) > 1
    rows = tuple(
        (
            *(s.name, _clusters(s), _roles(s), s.zone, ROUTE_WORDS[s.route], _remark(s, seen), s.id),
            *((s.vpc,) if several else ()),
        )
        for s in seen.subnets
    )
    header = ("Subnet", "Tagged for", "Role", "Zone", "Route", "Remark", "Id", *(("VPC",) if several else ()))
    return Table(header=header, rows=rows)


def _clusters(subnet: Subnet) -> str:
    found = [name if value == "shared" else f"{name} ({value or 'empty'})" for name, value in subnet.clusters.items()]
    return _listed(found) or "none"


def _roles(subnet: Subnet) -> str:
    roles = {ROLE_KEY: "public", INTERNAL_KEY: "internal"}
    return ", ".join(word for key, word in roles.items() if key in subnet.tags) or "none"


def _remark(subnet: Subnet, seen: Seen) -> str:
    remarks = [f"stale: {_listed(seen.stale(subnet))}"] if seen.stale(subnet) else []
    if subnet.user_tags > CROWDED:
        remarks.append(f"{subnet.user_tags} of {TAGS_PER_RESOURCE} tags")
    return "; ".join(remarks) or "–"


def _listed(names: Iterable[str]) -> str:
    every = list(names)
    more = f" and {len(every) - NAMED} more" if len(every) > NAMED else ""
    return ", ".join(every[:NAMED]) + more
