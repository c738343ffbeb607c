"""Steps: for each kind its model (what is stored and approved) and its executor (how it observes and applies)."""

from __future__ import annotations

from typing import Any, Protocol

from pydantic import ValidationError

from handlers.contract import Fatal, Observation, Outcome, RunWorld, Step
from handlers.steps import (
    apply,
    await_access,
    await_balancer,
    await_cluster,
    await_credential,
    await_gpus,
    delete_cluster,
    gpu_test,
    grant,
    leftover,
    remove,
    scale,
    stack,
    tag,
    time_box,
    trust,
    untag,
)


class Executor(Protocol):
    """How one kind of step is done."""

    def observe(self, step: Any, world: RunWorld) -> Observation:
        """Is it so?"""
        ...

    def apply(self, step: Any, world: RunWorld) -> Outcome:
        """Makes it so; what is so already is left alone."""
        ...


KINDS: dict[str, tuple[type[Step], Executor]] = {
    "apply": (apply.ApplyStep, apply.ApplyExecutor()),
    "await-access": (await_access.AwaitAccessStep, await_access.AwaitAccessExecutor()),
    "await-balancer": (await_balancer.AwaitBalancerStep, await_balancer.AwaitBalancerExecutor()),
    "await-cluster": (await_cluster.AwaitClusterStep, await_cluster.AwaitClusterExecutor()),
    "await-credential": (await_credential.AwaitCredentialStep, await_credential.AwaitCredentialExecutor()),
    "await-gpus": (await_gpus.AwaitGpusStep, await_gpus.AwaitGpusExecutor()),
    "await-stack": (await_access.AwaitStackStep, await_access.AwaitStackExecutor()),
    "delete-cluster": (delete_cluster.DeleteClusterStep, delete_cluster.DeleteClusterExecutor()),
    "gpu-clean": (gpu_test.GpuCleanStep, gpu_test.GpuCleanExecutor()),
    "gpu-test": (gpu_test.GpuTestStep, gpu_test.GpuTestExecutor()),
    "gpu-verdict": (gpu_test.GpuVerdictStep, gpu_test.GpuVerdictExecutor()),
    "grant": (grant.GrantStep, grant.GrantExecutor()),
    "leftover": (leftover.LeftoverStep, leftover.LeftoverExecutor()),
    "remove": (remove.RemoveStep, remove.RemoveExecutor()),
    "revoke": (grant.RevokeStep, grant.RevokeExecutor()),
    "scale": (scale.ScaleStep, scale.ScaleExecutor()),
    "stack": (stack.StackStep, stack.StackExecutor()),
    "tag": (tag.TagStep, tag.TagExecutor()),
    "time-box": (time_box.TimeBoxStep, time_box.TimeBoxExecutor()),
    "trust": (trust.TrustStep, trust.TrustExecutor()),
    "unstack": (stack.UnstackStep, stack.UnstackExecutor()),
    "untag": (untag.UntagStep, untag.UntagExecutor()),
}
"""Every kind of step, by the name that is stored."""


def decode(stored: dict[str, Any]) -> tuple[Step, Executor]:
    """A stored step as its own model, and who carries it out. An unknown kind or another shape is refused: nothing is
    guessed, and nothing but data is ever read back from the database."""
    model, executor = KINDS.get(str(stored.get("kind")), (None, None))
    if model is None or executor is None:
        raise Fatal("A stored step is of a kind that this version of tkgbot does not know, so it was not carried out.")
    try:
        return model.model_validate(stored), executor
    except ValidationError as error:
        raise Fatal("A stored step cannot be read by this version of tkgbot, so it was not carried out.") from error
