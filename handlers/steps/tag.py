"""One tag on many EC2 resources.

CreateTags takes at most 1,000 ids a call, applies to all or none, and overwrites silently; reads lag behind writes.
DeleteTags with a value deletes only where the value matches. (Amazon EC2 API Reference: CreateTags, DeleteTags,
"Eventual consistency".)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

from pydantic import ConfigDict

from handlers.contract import AwsRead, Fatal, Json, Observation, Outcome, RunWorld, Step

IDS_PER_CALL = 1000


class TagStep(Step):
    """Puts `key`=`value` on `resources` (subnet ids) in one account and region. `before` maps each id to the value it
    had, or null."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["tag"] = "tag"
    account: str
    region: str
    resources: tuple[str, ...]
    key: str
    value: str


class TagExecutor:
    """Observes by DescribeSubnets, applies by CreateTags, undoes by DeleteTags."""

    def observe(self, step: TagStep, world: RunWorld) -> Observation:
        """So when every resource carries the tag."""
        missing = _missing(step, tags_of(world.aws(step.account, step.region), step.resources))
        have = len(step.resources) - len(missing)
        if not missing:
            return Observation(so=True, evidence=f"`{step.key}={step.value}` is on all {have} subnets.")
        lacking = ", ".join(f"`{name}`" for name in missing[:5])
        return Observation(so=False, evidence=f"`{step.key}={step.value}` is not yet on {lacking}.")

    def apply(self, step: TagStep, world: RunWorld) -> Outcome:
        """Tags what lacks the tag, in as few calls as AWS allows."""
        tags = tags_of(world.aws(step.account, step.region), step.resources)
        missing = _missing(step, tags)
        if not missing:
            return Outcome(changed=False, evidence="Every subnet had the tag already.")
        aws = world.aws(step.account, step.region)
        taken = [name for name in missing if step.key in tags.get(name, {})]
        if taken:  # somebody set another value since the plan; CreateTags would overwrite it without a word
            raise Fatal(
                f"`{step.key}` has meanwhile got another value on {', '.join(taken)}, so nothing was overwritten."
            )
        for ids in _batches(missing):
            aws.write("ec2", "create_tags", Resources=list(ids), Tags=[{"Key": step.key, "Value": step.value}])
        return Outcome(changed=True, evidence=f"Tagged {', '.join(f'`{name}`' for name in missing)}.")

    def undo(self, step: TagStep, world: RunWorld) -> Outcome:
        """Takes the tag off where it was not before, only where it still has the value that this step wrote."""
        added = [name for name in step.resources if step.before.get(name) is None]
        aws = world.aws(step.account, step.region)
        for ids in _batches(added):
            aws.write("ec2", "delete_tags", Resources=list(ids), Tags=[{"Key": step.key, "Value": step.value}])
        return Outcome(changed=bool(added), evidence=f"Took `{step.key}={step.value}` off {len(added)} subnets.")


def _missing(step: TagStep, tags: dict[str, dict[str, str]]) -> list[str]:
    return [name for name in step.resources if tags.get(name, {}).get(step.key) != step.value]


def tags_of(aws: AwsRead, ids: Sequence[str]) -> dict[str, dict[str, str]]:
    """The tags of each subnet, by its id."""
    found: dict[str, dict[str, str]] = {}
    for batch in _batches(ids):
        for subnet in aws.pages("ec2", "describe_subnets", "Subnets", SubnetIds=list(batch)):
            found[str(subnet["SubnetId"])] = tag_map(subnet)
    return found


def tag_map(resource: Json) -> dict[str, str]:
    """EC2's list of Key/Value pairs as a dictionary."""
    tags: Any = resource.get("Tags") or []
    return {tag["Key"]: tag["Value"] for tag in tags}


def _batches(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), IDS_PER_CALL):
        yield ids[start : start + IDS_PER_CALL]
