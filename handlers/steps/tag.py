"""One tag on many EC2 resources.

CreateTags takes at most 1,000 ids a call, applies to all or none, and overwrites silently; reads lag behind writes.
(Amazon EC2 API Reference: CreateTags, "Eventual consistency".)
"""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict

from handlers.contract import Fatal, Observation, Outcome, RunWorld, Step
from handlers.tags import batches, tags_of


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
    """Observes by DescribeSubnets, applies by CreateTags."""

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
        for ids in batches(missing):
            aws.write("ec2", "create_tags", Resources=list(ids), Tags=[{"Key": step.key, "Value": step.value}])
        return Outcome(changed=True, evidence=f"Tagged {', '.join(f'`{name}`' for name in missing)}.")


def _missing(step: TagStep, tags: dict[str, dict[str, str]]) -> list[str]:
    return [name for name in step.resources if tags.get(name, {}).get(step.key) != step.value]
