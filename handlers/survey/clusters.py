"""One cluster as a status shows it, from what the management cluster says of it. Pure.

The state is the word of `cluster list`; the reason is the failure of a machine with AWS's own words, else the first
condition that holds the cluster up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from handlers.aws_causes import clipped
from handlers.cluster_objects import ClusterObjects, control_plane_counts, version, worker_counts
from handlers.cluster_seen import status_of
from handlers.cluster_why import why
from handlers.conditions import mapping_at, text
from handlers.contract import ClusterState
from handlers.contract.survey import ENDING, WELL
from handlers.deletion import NEVER, holds, identity_of
from handlers.kinds import CONTROLLER_IDENTITY, ROLE_IDENTITY
from handlers.machine_causes import failures
from handlers.preflight.gpu_table import is_gpu_family
from handlers.preflight.prices import per_hour
from handlers.steps.await_cluster import explained
from handlers.time_box import ends_at

LONGEST = 600
"""Characters of a reason: AWS's own words, and room for what they mean."""


def state_of(
    found: ClusterObjects, now: float, accounts: Mapping[str, str], home: str, grace: float = 0.0
) -> ClusterState:
    """`accounts` are the accounts' names by the identity that leads into them; `home` is the one without. `grace` is
    how long something may hold a deletion before it is a reason to look (seconds)."""
    state = status_of(found, now)
    control, workers = control_plane_counts(found), worker_counts(found)
    region = text(found.infrastructure, "spec", "region")
    return ClusterState(
        name=found.name,
        namespace=found.namespace,
        account=account_of(found, accounts, home),
        region=region,
        state=state,
        why=clipped(_why(found, state, now, grace), LONGEST),
        kubernetes=version(found.control_plane),
        control_plane_ready=control.ready,
        control_plane_wanted=control.desired,
        workers_ready=workers.ready,
        workers_wanted=workers.desired,
        cost_per_hour_usd=_cost(found, region),
        ends_at=ends_at(found.cluster),
        labels=mapping_at(found.cluster, "metadata", "labels"),
    )


def account_of(found: ClusterObjects, accounts: Mapping[str, str], home: str) -> str:
    """The account by its name in the settings; for an identity that they do not name, the identity's own name. Nothing
    while the AWSCluster is not there or cannot be read: then the cluster belongs to no account that anybody names."""
    if found.infrastructure is None:
        return ""
    kind, identity = identity_of(found.infrastructure)
    return home if kind == CONTROLLER_IDENTITY.name else accounts.get(identity, identity)


def role_identity_of(found: ClusterObjects) -> str:
    """The role identity by which the provider gets into the cluster's account, if it needs one."""
    kind, identity = identity_of(found.infrastructure)
    return identity if kind == ROLE_IDENTITY.name else ""


def has_gpus(found: ClusterObjects) -> bool:
    """Has it machines of a type with NVIDIA GPUs?"""
    return any(is_gpu_family(kind) for kind in _types(found))


def _why(found: ClusterObjects, state: str, now: float, grace: float) -> str:
    if found.unread:
        return f"Could not be read: {', '.join(found.unread)}."
    if state == ENDING:
        return _held(found, now - grace)
    if state == WELL:  # that it is paused, or that its API is out of reach
        return why(found, now) or ""
    failed = failures(found)
    if failed:
        return explained(failed[0], found.name)[0]
    return why(found, now) or ("It is coming up." if state == "creating" else "")


def _held(found: ClusterObjects, since: float) -> str:
    """What has held its deletion since before then; finalizers are on every object that is going, and no reason."""
    every = [hold for hold in holds(found) if NEVER not in hold.fix]
    return next((hold.sentence for hold in every if hold.since is None or hold.since <= since), "")


def _types(found: ClusterObjects) -> list[str]:
    return [kind for item in found.infrastructure_machines if (kind := text(item, "spec", "instanceType"))]


def _cost(found: ClusterObjects, region: str) -> float | None:
    """Of its machines, not of what they store and send."""
    if "AWSMachine" in found.unread or found.infrastructure is None:
        return None
    return per_hour({kind: (kind, count) for kind, count in Counter(_types(found)).items()}, region)
