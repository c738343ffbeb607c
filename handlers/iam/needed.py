"""What a cluster's roles have to be allowed, by purpose. `manifests/iam/secondary-account.yaml` grants just this."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from handlers.iam.need import Need
from handlers.iam.needed_by_controllers import CONTROLLERS
from handlers.iam.needed_by_machines import CONTROL_PLANE, EBS_CSI, NODES, TMC_READ

__all__ = ["CONTROLLERS", "CONTROL_PLANE", "EBS_CSI", "NODES", "TMC_READ", "Need"]

Role = Literal["controllers", "control-plane", "nodes"]

ROLES: dict[Role, tuple[Need, ...]] = {
    "controllers": CONTROLLERS,
    "control-plane": CONTROL_PLANE + NODES,
    "nodes": NODES,
}
"""The needs of each role; machines of the control plane have both policies."""


def actions_of(role: Role) -> tuple[str, ...]:
    """Every action that a role should be allowed, sorted."""
    return actions_in(ROLES[role])


def actions_in(needs: Iterable[Need]) -> tuple[str, ...]:
    """The actions of some needs, each once, sorted."""
    return tuple(sorted({action for need in needs for action in need.actions}))


def required(role: Role, *, network_load_balancer: bool = False) -> tuple[Need, ...]:
    """Without these a cluster in a VPC that exists cannot come up, or cannot go. What the others lack is a warning."""
    held = {"always", "network load balancer"} if network_load_balancer else {"always"}
    return tuple(need for need in ROLES[role] if need.when in held)


def resources_of(need: Need, *, partition: str, account: str, suffix: str) -> tuple[str, ...]:
    """A need's resources as ARNs of one account."""
    return tuple(r.format(partition=partition, account=account, suffix=suffix) for r in need.resources)


def context_of(need: Need, *, partition: str) -> dict[str, str]:
    """What a request's context has to say where a need has a condition, for a simulation."""
    if need.context is None:
        return {}
    key, value = need.context
    return {key: value.format(url_suffix="amazonaws.com.cn" if partition == "aws-cn" else "amazonaws.com")}
