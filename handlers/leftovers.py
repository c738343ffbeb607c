"""What a cluster left in AWS: what carries its tags when the cluster itself is gone.

The Cluster API's AWS provider deletes what it made, and of what the cloud provider made the load balancers, target
groups and security groups (its "external resource garbage collection", where that is on). Nobody deletes the volumes of
PersistentVolumes, and the tags of subnets. Marks: `handlers.belongings`. Amazon EKS uses the same tag of the cloud
provider, and marks its own with `eks:` and `aws:eks:`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from handlers.belongings import (
    CONTROLLER_KEY,
    PROVIDER_PREFIX,
    LoadBalancer,
    load_balancers,
    moment,
    target_groups,
)
from handlers.clients.aws_errors import Denied
from handlers.contract import AwsRead
from handlers.leftover_costs import Costs
from handlers.network import Subnet, cluster_key, filled, subnets_of_vpcs, vpcs_tagged
from handlers.tags import tag_map

Mark = tuple[str, str]
"""A tag, key and value, by which something is the cluster's own."""
WORDS = {
    "instance": "instance",
    "load-balancer": "load balancer",
    "classic-load-balancer": "load balancer",
    "target-group": "target group",
    "interface": "network interface",
    "address": "elastic IP address",
    "volume": "volume",
    "security-group": "security group",
}
"""The kinds of what can be left, in the order in which they go: what uses something before what is used."""
HANDLED = ("i-", "eni-", "eipalloc-", "vol-", "sg-")
"""What the ids of those of them begin with that EC2 has."""
FOREIGN = ("eks:", "aws:eks:")
LIVING = ("pending", "running", "stopping", "stopped")


@dataclass(frozen=True)
class Leftover:
    """One thing. `id` is what calls name it by, `name` what people do; `made` is when (epoch seconds), `cost` US
    dollars an hour; `held` says in words what still uses it; `interface` is how the interfaces of a load balancer
    are described."""

    kind: str
    id: str
    mark: Mark
    name: str = ""
    made: float | None = None
    size: str = ""
    cost: float | None = None
    held: str = ""
    interface: str = ""

    @property
    def called(self) -> str:
        """`load balancer a1b2`."""
        return f"{WORDS[self.kind]} {self.name or self.id}"


@dataclass(frozen=True)
class Leftovers:
    """Everything that was seen. `subnets` carry the cluster's tag; `others` is of kinds that the bot does not delete,
    `strangers` what says to be of Amazon EKS; `unseen` says by kind why it could not be looked for."""

    cluster: str
    items: tuple[Leftover, ...] = ()
    subnets: tuple[Subnet, ...] = ()
    others: tuple[str, ...] = ()
    strangers: tuple[str, ...] = ()
    unseen: Mapping[str, str] = field(default_factory=dict)

    @property
    def blind(self) -> str:
        """Why not everything could be looked for; nothing where it could."""
        return " ".join(dict.fromkeys(self.unseen.values()))

    @property
    def stale(self) -> tuple[Subnet, ...]:
        """The subnets whose tag can be taken off."""
        return tuple(subnet for subnet in self.subnets if subnet.clusters.get(self.cluster) == "shared")

    def of(self, *kinds: str) -> tuple[Leftover, ...]:
        """Those of some kinds."""
        return tuple(item for item in self.items if item.kind in kinds)


@dataclass
class _Seen:
    """What a look finds, as it goes."""

    cluster: str
    items: list[Leftover] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)
    unseen: dict[str, str] = field(default_factory=dict)

    def mark(self, what: str, tags: Mapping[str, str]) -> Mark | None:
        """By which tag it is the cluster's own; what is of EKS is noted, and is nobody's."""
        found = next((mark for mark in marks(self.cluster) if tags.get(mark[0]) == mark[1]), None)
        if found is not None and any(key.startswith(FOREIGN) for key in tags):
            self.strangers.append(what)
            return None
        return found


def marks(cluster: str) -> tuple[Mark, ...]:
    """The tags that say that something is owned by a cluster: of the AWS provider, of the cloud provider, and of the
    AWS Load Balancer Controller."""
    return (
        (f"{PROVIDER_PREFIX}{cluster}", "owned"),
        (cluster_key(cluster), "owned"),
        (CONTROLLER_KEY, cluster),
    )


def look(aws: AwsRead, cluster: str, region: str) -> Leftovers:
    """Looks for everything that carries the cluster's tags in an account and region. Raises Retry."""
    seen, costs = _Seen(cluster), Costs(region)
    for kind, one in LOOKS.items():
        _tried(seen, kind, partial(one, aws, seen, costs))
    groups: list[Leftover] = []
    _tried(seen, "security-group", lambda: groups.extend(_groups(aws, seen)))
    subnets: list[Subnet] = []
    _tried(seen, "subnet", lambda: subnets.extend(_subnets(aws, cluster)))
    others: list[str] = []
    _tried(seen, "other", lambda: others.extend(_others(aws, cluster)))
    order = list(WORDS)
    items = sorted([*seen.items, *groups], key=lambda item: (order.index(item.kind), item.name, item.id))
    return Leftovers(cluster, tuple(items), tuple(subnets), tuple(others), tuple(seen.strangers), seen.unseen)


def _tried(seen: _Seen, kind: str, work: Callable[[], None]) -> None:
    try:
        work()
    except Denied as error:
        seen.unseen[kind] = error.message


# -- the kinds ---------------------------------------------------------------------------------------------------


def _instances(aws: AwsRead, seen: _Seen, costs: Costs) -> None:
    filters = [*_tagged(seen.cluster), {"Name": "instance-state-name", "Values": list(LIVING)}]
    for reservation in aws.pages("ec2", "describe_instances", "Reservations", Filters=filters):
        found: Any = reservation["Instances"]
        for raw in found:
            kind = raw["InstanceType"]
            _note(
                seen, "instance", raw, raw["InstanceId"], name=_named(raw, raw["InstanceId"]), size=kind,
                made=moment(raw.get("LaunchTime")), cost=costs.instance(kind),
            )  # fmt: skip


def _balancers(aws: AwsRead, seen: _Seen, costs: Costs) -> None:
    for balancer in load_balancers(aws):
        mark = seen.mark(f"load balancer {balancer.name}", balancer.tags)
        if mark is not None:
            seen.items.append(_balancer(balancer, mark, costs))


def _balancer(balancer: LoadBalancer, mark: Mark, costs: Costs) -> Leftover:
    kind = "classic-load-balancer" if balancer.kind == "classic" else "load-balancer"
    return Leftover(
        kind=kind, id=balancer.id, mark=mark, name=balancer.name, made=balancer.made, size=balancer.kind,
        cost=costs.balancer(balancer.kind), interface=balancer.interface,
    )  # fmt: skip


def _target_groups(aws: AwsRead, seen: _Seen, _costs: Costs) -> None:
    for group in target_groups(aws):
        name = group.id.split("/")[1]
        mark = seen.mark(f"target group {name}", group.tags)
        if mark is not None:
            seen.items.append(Leftover(kind="target-group", id=group.id, mark=mark, name=name, cost=0.0))


def _interfaces(aws: AwsRead, seen: _Seen, _costs: Costs) -> None:
    found = aws.pages("ec2", "describe_network_interfaces", "NetworkInterfaces", Filters=_tagged(seen.cluster))
    for raw in found:
        user = _user(raw)
        name = str(raw["NetworkInterfaceId"])
        if user not in {item.id for item in seen.items}:  # an instance takes its own along
            held = f"in use by {user}" if user else ""
            _note(seen, "interface", raw, name, name=_named(raw, name), held=held, cost=0.0)


def _user(raw: Any) -> str:
    """What a network interface is attached to; nothing where it is free."""
    if raw.get("Status") == "available":
        return ""
    attachment = raw.get("Attachment") or {}
    return str(attachment.get("InstanceId") or raw.get("Description") or "something else")


def _addresses(aws: AwsRead, seen: _Seen, costs: Costs) -> None:
    answer: Any = aws.read("ec2", "describe_addresses", Filters=_tagged(seen.cluster))
    going = {item.id for item in seen.items}
    for raw in answer["Addresses"]:
        user = str(raw.get("InstanceId") or raw.get("NetworkInterfaceId") or "") if raw.get("AssociationId") else ""
        _note(
            seen, "address", raw, raw["AllocationId"], name=raw.get("PublicIp", ""), cost=costs.address(),
            held=f"in use by {user}" if user and user not in going else "",
        )  # fmt: skip


def _volumes(aws: AwsRead, seen: _Seen, costs: Costs) -> None:
    for raw in aws.pages("ec2", "describe_volumes", "Volumes", Filters=_tagged(seen.cluster)):
        volume: Any = raw
        users = ", ".join(str(entry.get("InstanceId")) for entry in volume.get("Attachments") or [])
        gib, name = int(volume["Size"]), str(volume["VolumeId"])
        _note(
            seen, "volume", volume, name, name=_claim(tag_map(volume)) or _named(volume, name), size=f"{gib} GiB",
            made=moment(volume.get("CreateTime")),
            cost=costs.volume(str(volume.get("VolumeType")), gib),
            held=f"attached to {users}" if users else "" if volume["State"] == "available" else volume["State"],
        )  # fmt: skip


def _claim(tags: Mapping[str, str]) -> str:
    """Whose volume it was, as the EBS CSI driver and the cloud provider write it."""
    names = [tags.get(f"kubernetes.io/created-for/pvc/{part}", "") for part in ("namespace", "name")]
    return "/".join(names) if all(names) else ""


LOOKS = {
    "instance": _instances,
    "load-balancer": _balancers,
    "target-group": _target_groups,
    "interface": _interfaces,
    "address": _addresses,
    "volume": _volumes,
}


def _groups(aws: AwsRead, seen: _Seen) -> Iterator[Leftover]:
    """Security groups. What goes before them holds none; anything else that uses one does."""
    raws = list(aws.pages("ec2", "describe_security_groups", "SecurityGroups", Filters=_tagged(seen.cluster)))
    ours = {str(raw["GroupId"]): mark for raw in raws if (mark := _of_group(seen, raw)) is not None}
    held = _held(aws, seen, list(ours))
    for raw in raws:
        name = str(raw["GroupId"])
        if name in ours:
            why = "; ".join(held.get(name, []))
            yield Leftover(
                kind="security-group", id=name, mark=ours[name], name=f"{raw['GroupName']} ({name})", held=why, cost=0.0
            )


def _of_group(seen: _Seen, raw: Any) -> Mark | None:
    return seen.mark(f"security group {raw['GroupId']}", tag_map(raw))


def _held(aws: AwsRead, seen: _Seen, groups: Sequence[str]) -> dict[str, list[str]]:
    """By group: which network interfaces use it that do not go before it, and which other groups' rules name it."""
    going = {item.id for item in seen.items if not item.held}
    described = {item.interface for item in seen.items if item.interface}
    found: dict[str, list[str]] = {}
    for part in filled(groups):
        filters = [{"Name": "group-id", "Values": part}]
        for raw in aws.pages("ec2", "describe_network_interfaces", "NetworkInterfaces", Filters=filters):
            card: Any = raw
            user = _user(card)
            if card["NetworkInterfaceId"] in going or user in going or card.get("Description") in described:
                continue
            for group in card["Groups"]:
                words = f"used by {card['NetworkInterfaceId']}" + (f" of `{user}`" if user else "")
                found.setdefault(group["GroupId"], []).append(words)
        filters = [{"Name": "ip-permission.group-id", "Values": part}]
        for raw in aws.pages("ec2", "describe_security_groups", "SecurityGroups", Filters=filters):
            if raw["GroupId"] not in groups:
                for group in named_groups(raw) & set(part):
                    found.setdefault(group, []).append(f"named by a rule of {raw['GroupId']}")
    return found


def named_groups(raw: Any) -> set[str]:
    """The groups that the rules of a group name."""
    rules = [*raw.get("IpPermissions", []), *raw.get("IpPermissionsEgress", [])]
    return {str(pair.get("GroupId")) for rule in rules for pair in rule.get("UserIdGroupPairs", [])}


def _subnets(aws: AwsRead, cluster: str) -> list[Subnet]:
    vpcs = vpcs_tagged(aws, cluster)
    return [subnet for subnet in subnets_of_vpcs(aws, sorted(vpcs)) if cluster in subnet.clusters] if vpcs else []


def _others(aws: AwsRead, cluster: str) -> Iterator[str]:
    """What else of EC2 is owned by the cluster: the parts of a network that the provider made, snapshots."""
    keys = [key for key, value in marks(cluster) if value == "owned"]
    filters = [{"Name": "key", "Values": keys}, {"Name": "value", "Values": ["owned"]}]
    seen: set[str] = set()
    for raw in aws.pages("ec2", "describe_tags", "Tags", Filters=filters):
        kind, name = str(raw["ResourceType"]), str(raw["ResourceId"])
        if not name.startswith(HANDLED) and name not in seen:
            seen.add(name)
            yield f"{kind} {name}"


def _tagged(cluster: str) -> list[dict[str, Any]]:
    return [{"Name": "tag-key", "Values": [key for key, _ in marks(cluster)]}]


def _named(raw: Any, ident: str) -> str:
    """By its Name tag, which anybody may choose, and its id."""
    name = tag_map(raw).get("Name", "").replace("`", "'").strip()
    return f"{name} ({ident})" if name else ident


def _note(seen: _Seen, kind: str, raw: Any, ident: str, **more: Any) -> None:
    mark = seen.mark(f"{WORDS[kind]} {ident}", tag_map(raw))
    if mark is not None:
        seen.items.append(Leftover(kind=kind, id=ident, mark=mark, **more))
