"""What became of tags that a request has put on subnets: said from a new plan of the same request. Looks at nothing."""

from __future__ import annotations

from handlers.contract import Fatal, Finding, Offer, Plan
from handlers.network import cluster_key
from handlers.steps.tag import TagStep
from handlers.subnet_checks import counted
from handlers.subnet_scope import SubnetArguments

UNSEEN = "account"
"""The check that says that nothing could be looked at."""
GONE = {"subnet": "A subnet", "vpc": "The VPC"}
"""Checks that say that what was tagged is not there any more."""


def tags_drift(arguments: SubnetArguments, plan: Plan, operation: str) -> tuple[Finding, ...]:
    """What `operation` would have to do again. Raises Fatal where that cannot be told."""
    blocking = [check for check in plan.checks if check.blocks]
    unseen = next((check for check in blocking if check.result == "unknown" or check.id == UNSEEN), None)
    if unseen is not None:
        raise Fatal(unseen.evidence, unseen.fix)
    steps = [TagStep.model_validate(step.model_dump()) for step in plan.steps]
    lost = sorted({subnet for step in steps for subnet in step.resources})
    if lost:
        return (_lost(arguments, lost, {step.key for step in steps}, operation),)
    if not blocking:
        return ()
    stands = blocking[0]
    title, fix = f"The subnets of {arguments.cluster} are not as they were when they were tagged.", stands.fix
    if stands.id in GONE:
        title = f"{GONE[stands.id]} that was tagged for {arguments.cluster} is gone."
        fix = f"Tag what stands in its place: /tkg subnet tag {arguments.cluster} SUBNET"
    return (
        Finding(
            id=f"{_start(arguments)} {stands.id}", kind="tag", title=title, evidence=stands.evidence, fix=fix,
            account=arguments.account or "", cluster=arguments.cluster,
        ),
    )  # fmt: skip


def _start(arguments: SubnetArguments) -> str:
    """The same from look to look, and another for a request that names other subnets."""
    return f"tag {arguments.account} {arguments.cluster} {arguments.vpc or min(arguments.named)}"


def _lost(arguments: SubnetArguments, lost: list[str], keys: set[str], operation: str) -> Finding:
    """A VPC may also have got a new subnet, which never had the tag."""
    cluster, what = arguments.cluster, counted(len(lost))
    verb = "has" if len(lost) == 1 else "have"
    its_own = cluster_key(cluster) in keys
    others = sorted(f"the tag {key}" for key in keys - {cluster_key(cluster)})
    tag = " or ".join([*(["the cluster's tag"] if its_own else []), *others])
    new = f", or {verb} come new into {arguments.vpc} without it" if arguments.vpc else ""
    return Finding(
        id=_start(arguments) if its_own else f"{_start(arguments)} role",
        kind="tag",
        title=f"{what} of {cluster} {verb} lost {tag}{new}.",
        evidence=f"{', '.join(lost)}.",
        account=arguments.account or "",
        cluster=cluster,
        repair=Offer(
            title=f"Tag {what} for {cluster} again.", label=f"Tag {cluster} again"[:30], operation=operation,
            arguments=arguments.model_dump(mode="json"),
        ),
    )  # fmt: skip
