"""One tag off many EC2 resources.

DeleteTags takes at most 1,000 ids a call, deletes with a value only where the value matches, and succeeds where there
is nothing to delete; reads lag behind it. (Amazon EC2 API Reference: DeleteTags, "Eventual consistency".)
"""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict

from handlers.contract import AwsRead, Fatal, Observation, Outcome, RunWorld, Step
from handlers.tags import batches, tags_of


class UntagStep(Step):
    """Takes `key`=`value` off `resources` (subnet ids) in one account and region. `before` maps each id to the value it
    had."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["untag"] = "untag"
    account: str
    region: str
    resources: tuple[str, ...]
    key: str
    value: str


class UntagExecutor:
    """Observes by DescribeSubnets, applies by DeleteTags."""

    def observe(self, step: UntagStep, world: RunWorld) -> Observation:
        """So when no resource carries the tag. Fatal where one has got another value: that is somebody else's tag."""
        left = _left(step, world.aws(step.account, step.region))
        if not left:
            count = len(step.resources)
            return Observation(so=True, evidence=f"`{step.key}` is gone from {count} subnet{'s' * (count != 1)}.")
        carrying = ", ".join(f"`{name}`" for name in left[:5])
        return Observation(so=False, evidence=f"`{step.key}={step.value}` is still on {carrying}.")

    def apply(self, step: UntagStep, world: RunWorld) -> Outcome:
        """Takes the tag off what still carries it, in as few calls as AWS allows."""
        aws = world.aws(step.account, step.region)
        left = _left(step, aws)
        for ids in batches(left):
            aws.write("ec2", "delete_tags", Resources=list(ids), Tags=[{"Key": step.key, "Value": step.value}])
        if not left:
            return Outcome(changed=False, evidence="No subnet had the tag any more.")
        return Outcome(changed=True, evidence=f"Untagged {', '.join(f'`{name}`' for name in left)}.")


def _left(step: UntagStep, aws: AwsRead) -> list[str]:
    tags = tags_of(aws, step.resources)
    values = {name: tags[name][step.key] for name in step.resources if step.key in tags.get(name, {})}
    changed = [name for name, value in values.items() if value != step.value]
    if changed:
        raise Fatal(
            f"`{step.key}` has meanwhile got another value than `{step.value}` on {', '.join(changed)}, "
            "so it was left there."
        )
    return list(values)
