"""The rights of all roles as one table, for `docs/iam.md`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from handlers.iam.need import MACHINE_ROLES, SCALING_GROUPS, SECRETS, Need
from handlers.iam.needed import CONTROL_PLANE, CONTROLLERS, EBS_CSI, NODES, TMC_READ
from handlers.iam.rights import BOOTSTRAP, BOT, READER, Right

HEADER = ("role", "actions", "on", "what for", "who needs it")
PLACES = {
    ("*",): "everything",
    (SECRETS,): "secrets `aws.cluster.x-k8s.io/*`",
    (SCALING_GROUPS,): "scaling groups",
    MACHINE_ROLES: "the roles `control-plane` and `nodes`",
}
WHEN = {
    "always": "every cluster",
    "network load balancer": "clusters with a network load balancer",
    "feature": "clusters that use it",
}

Row = tuple[str, str, str, str, str]


def rows() -> Iterator[Row]:
    """One row for each statement of the bot's roles, then for each need of the clusters' roles."""
    for right in BOT + READER + BOOTSTRAP:
        yield _of_right(right)
    yield from _of_needs("controllers", CONTROLLERS)
    yield from _of_needs("control-plane", CONTROL_PLANE)
    yield from _of_needs("control-plane", EBS_CSI, "with `EbsCsi`")
    yield from _of_needs("control-plane, nodes", NODES)
    yield from _of_needs("control-plane, nodes", TMC_READ, "with `TmcRead`")


def table() -> str:
    """The rows in Markdown."""
    lines = [HEADER, ("---",) * len(HEADER), *rows()]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _of_right(right: Right) -> Row:
    return f"`{right.role}`", _listed(right.actions), right.on, right.why, ", ".join(right.operations)


def _of_needs(role: str, needs: Iterable[Need], when: str = "") -> Iterator[Row]:
    for need in needs:
        place = PLACES.get(need.resources, "the service's own role")
        yield role, _listed(need.actions), place, need.why, when or WHEN[need.when]


def _listed(actions: Iterable[str]) -> str:
    """Actions by service: `ec2:` CreateTags, DeleteTags."""
    services: dict[str, list[str]] = {}
    for action in actions:
        service, _, name = action.partition(":")
        services.setdefault(service, []).append(f"`{name}`" if "*" in name else name)
    return "; ".join(f"`{service}`: {', '.join(names)}" for service, names in services.items())
