"""Waiting: for a stack that a person makes, and until IAM has seen a change everywhere.

IAM is eventually consistent: what was written can be read at once and is enforced seconds to minutes later; until then
"denied" and "not yet" look the same. (IAM User Guide: "Changes that I make are not always immediately visible".)
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict

from handlers.account_access import Tie, access_checks
from handlers.clients.aws_errors import Denied
from handlers.contract import AwsRefused, Door, Observation, Outcome, RunWorld, Step


class AwaitStackStep(Step):
    """Waits until the roles of an account can be seen through its reader role: a person makes them. `told` is what
    that person has to do, for the thread; `patience` how long it is looked for (seconds)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["await-stack"] = "await-stack"
    door: Door
    roles: tuple[str, ...]
    told: tuple[str, ...]
    patience: float


class AwaitAccessStep(Step):
    """Waits until both sides of the way in work. `patience`: how long IAM may take (seconds)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["await-access"] = "await-access"
    door: Door
    tie: Tie
    account: str
    region: str
    patience: float


class AwaitStackExecutor:
    """Observes by GetRole through the reader role; there is nothing to apply."""

    def observe(self, step: AwaitStackStep, world: RunWorld) -> Observation:
        """So when every role is there."""
        aws = world.aws(step.door, step.door.region)
        missing: list[str] = []
        try:
            seen = str(aws.read("sts", "get_caller_identity")["Account"])
            for role in step.roles if seen == step.door.account_id else ():
                missing += [] if _is_there(aws, role) else [role]
        except Denied:
            evidence = (
                f"Nobody has made the stack in account {step.door.account_id} yet: the reader role cannot be used."
            )
            return Observation(
                so=False, evidence=evidence, progress="outside", patience=step.patience, reached=step.told
            )
        if missing:
            evidence = f"The bot can look into account {step.door.account_id}; not there yet: {', '.join(missing)}."
            return Observation(so=False, evidence=evidence, progress=f"inside {missing}", patience=step.patience)
        return Observation(so=True, evidence=f"The roles in account {step.door.account_id} are there.")

    def apply(self, step: AwaitStackStep, world: RunWorld) -> Outcome:
        """Nothing is done: a person does it."""
        return Outcome(changed=True, evidence="Waiting for somebody with rights in that account.")


class AwaitAccessExecutor:
    """Observes both sides; there is nothing to apply."""

    def observe(self, step: AwaitAccessStep, world: RunWorld) -> Observation:
        """So when nothing blocks any more. What stands in the way is told with its fix."""
        checks = access_checks(step.tie, world.aws(step.account, step.region), world.aws(step.door, step.door.region))
        wrong = [check for check in checks if check.blocks]
        if not wrong:
            return Observation(so=True, evidence=f"The controllers can get into account {step.tie.account_id}.")
        first = wrong[0]
        more = f" {len(wrong) - 1} more checks fail." if len(wrong) > 1 else ""
        evidence = f"Waiting until IAM has seen the change. {first.evidence} {first.fix}{more}"
        progress = " ".join(f"{check.id}:{check.result}" for check in checks)
        return Observation(so=False, evidence=evidence, progress=progress, patience=step.patience)

    def apply(self, step: AwaitAccessStep, world: RunWorld) -> Outcome:
        """Nothing is done: IAM takes its time."""
        return Outcome(changed=True, evidence="Looking until it holds everywhere.")


def _is_there(aws: Any, role: str) -> bool:
    try:
        aws.read("iam", "get_role", RoleName=role)
    except AwsRefused as error:
        if error.code == "NoSuchEntity":
            return False
        raise
    return True
