"""One statement of a role's trust policy, put in or taken out, and every other statement left as it is.

UpdateAssumeRolePolicy replaces the whole document and knows no version, so the document is read again right before it
is written and has to be the one that was approved. (AWS IAM API Reference: UpdateAssumeRolePolicy.)
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict

from handlers.contract import AwsRefused, Door, Fatal, Json, NeedsPerson, Observation, Outcome, RunWorld, Step
from handlers.iam.documents import Document, Malformed, compact, difference, digest, parsed, same


class TrustStep(Step):
    """Makes `document` the trust policy of `role` in the account behind `door`. `before` has the document that was
    there (`document`) and its digest. `by_hand`: the bot may only look there, and a person has to write it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["trust"] = "trust"
    door: Door
    role: str
    sid: str
    document: Json
    by_hand: bool = False


class TrustExecutor:
    """Observes by GetRole, applies by UpdateAssumeRolePolicy."""

    def observe(self, step: TrustStep, world: RunWorld) -> Observation:
        """So when the role's trust says what was planned."""
        now = _read(step, world)
        if same(now, step.document):
            return Observation(so=True, evidence=f"The trust of `{step.role}` is as planned (`{step.sid}`).")
        return Observation(so=False, evidence=f"The trust of `{step.role}` is not as planned yet (`{step.sid}`).")

    def apply(self, step: TrustStep, world: RunWorld) -> Outcome:
        """Writes the document, if the one that is there is the one that was approved."""
        now = _read(step, world)
        if same(now, step.document):  # written before the process died, and not seen yet at the look before this one
            return Outcome(changed=False, evidence=f"The trust of `{step.role}` is as planned.")
        if digest(now) != step.before.get("digest"):
            before: Any = step.before.get("document")
            moved = "; ".join(difference(before, now))
            raise Fatal(
                f"The trust of `{step.role}` was changed after it was approved, so nothing was written: {moved}",
                "Ask again, and see what the plan says now.",
            )
        if step.by_hand:
            raise NeedsPerson(
                f"Somebody with rights in account {step.door.account_id} has to make this the trust policy of the role "
                f"`{step.role}`: {compact(step.document)}",
                "Then resume: the bot looks whether it is there.",
            )
        _write(step, world)
        return Outcome(changed=True, evidence=f"Wrote the trust of `{step.role}`.")


def _write(step: TrustStep, world: RunWorld) -> None:
    aws, document = world.aws(step.door, step.door.region), compact(step.document)
    try:
        aws.write("iam", "update_assume_role_policy", RoleName=step.role, PolicyDocument=document)
    except AwsRefused as error:
        if error.code != "MalformedPolicyDocument":
            raise
        raise Fatal(
            f"IAM does not take the trust of `{step.role}` back, so nothing was written.",
            "Most often a statement names a principal that was deleted, which IAM shows as an id (`AROA…`, `AIDA…`) "
            "and no longer takes: take that statement off in the account, then ask again.",
        ) from error


def _read(step: TrustStep, world: RunWorld) -> Document:
    answer: Any = world.aws(step.door, step.door.region).read("iam", "get_role", RoleName=step.role)
    try:
        return parsed(answer["Role"]["AssumeRolePolicyDocument"])
    except Malformed as error:
        raise Fatal(
            f"The trust of `{step.role}` cannot be read: {error}", "Mend it by hand, then ask again."
        ) from error
