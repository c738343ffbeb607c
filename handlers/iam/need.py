"""A need: some actions that serve one purpose, as data for the templates, the checks and the docs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SECRETS = "arn:{partition}:secretsmanager:*:{account}:secret:aws.cluster.x-k8s.io/*"
SCALING_GROUPS = "arn:{partition}:autoscaling:*:{account}:autoScalingGroup:*:autoScalingGroupName/*"
SERVICE_ROLES = "arn:{partition}:iam::{account}:role/aws-service-role"
MACHINE_ROLES = (
    "arn:{partition}:iam::{account}:role/control-plane{suffix}",
    "arn:{partition}:iam::{account}:role/nodes{suffix}",
)


@dataclass(frozen=True)
class Need:
    """Actions that serve one purpose. `when` says which clusters cannot come up or go without them in a VPC that
    exists; the others are lacked only by features. `resources` are `*` or ARNs with `{partition}`, `{account}` and
    `{suffix}` in them; `context` is a condition key and the value that it must have."""

    actions: tuple[str, ...]
    why: str
    resources: tuple[str, ...] = ("*",)
    when: Literal["always", "network load balancer", "feature"] = "feature"
    context: tuple[str, str] | None = None


def named(text: str) -> tuple[str, ...]:
    """Actions by service: `ec2: CreateTags DeleteTags iam: GetRole`."""
    found: list[str] = []
    service = ""
    for word in text.split():
        if word.endswith(":"):
            service = word
        else:
            found.append(service + word)
    return tuple(found)


def linked(service: str, role: str, why: str) -> Need:
    """The role that a service makes for itself in an account, once."""
    place = f"{SERVICE_ROLES}/{service}/{role}"
    return Need(("iam:CreateServiceLinkedRole",), why, (place,), context=("iam:AWSServiceName", service))


BALANCING_ROLE = linked(
    "elasticloadbalancing.amazonaws.com",
    "AWSServiceRoleForElasticLoadBalancing",
    "the first load balancer of the account",
)
