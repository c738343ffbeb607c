"""A CloudFormation stack, made or updated by a change set that does exactly what the plan says.

The change set is looked at before it is carried out: one that would do something else ends the run. Each call is safe
to repeat, because the change set's name comes from what it is made of. (AWS CloudFormation User Guide: "Change sets".)
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal

from pydantic import ConfigDict

from handlers.contract import (
    AwsRefused,
    AwsWrite,
    Door,
    Fatal,
    NeedsPerson,
    Observation,
    Outcome,
    Retry,
    RunWorld,
    Step,
)  # fmt: skip
from handlers.stacks import (
    BROKEN,
    DONE,
    TAG,
    UNMADE,
    Stack,
    events,
    first_failure,
    is_made,
    is_template,
    proposed,
    read_stack,
    template,
    template_digest,
)  # fmt: skip

SETTLING = 600.0
"""Seconds that a stack may stand still: an instance profile takes CloudFormation two minutes."""
SPENT = ("EXECUTE_COMPLETE", "EXECUTE_FAILED", "OBSOLETE")
ALREADY = ("AlreadyExistsException", "AlreadyExists")
UNDER_WAY = ("InvalidChangeSetStatus", "InvalidChangeSetStatusException")
"""As CloudFormation's Query API says it, and as its models name it."""
NO_CHANGES = ("didn't contain changes", "No updates are to be performed")


class StackStep(Step):
    """Makes the stack `name` in the account behind `door`. `changes` are the only ones that its change set may have
    (`Add AWSIAMRoleNodes`); `before` has the id (`stack`) and the parameters of one that was there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["stack"] = "stack"
    door: Door
    name: str
    template: str
    parameters: dict[str, str]
    changes: tuple[str, ...]


class UnstackStep(Step):
    """Deletes the stack `name`, the very one with `id`, in the account behind `door`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["unstack"] = "unstack"
    door: Door
    name: str
    id: str


class StackExecutor:
    """Observes by DescribeStacks, applies by a change set."""

    def observe(self, step: StackStep, world: RunWorld) -> Observation:
        """So when the stack is complete from this template with these parameters."""
        aws = world.aws(step.door, step.door.region)
        found = read_stack(aws, step.name)
        if found is not None and is_made(found, step.template, step.parameters):
            return Observation(so=True, evidence=f"The stack `{step.name}` is complete.", reached=_told(aws, found))
        if found is None or found.status in UNMADE:
            return Observation(so=False, evidence=f"The stack `{step.name}` is not there yet.")
        if found.busy:
            return _at_work(aws, step.name, found)
        # an update that was rolled back before this run, or before it was resumed, is tried again
        rolled_back = found.status == "UPDATE_ROLLBACK_COMPLETE" and found.touched >= world.began()
        if found.status in BROKEN or found.status not in DONE or rolled_back:
            raise NeedsPerson(*_failed(aws, step.name, found))
        return Observation(so=False, evidence=f"The stack `{step.name}` is not as planned yet ({found.status}).")

    def apply(self, step: StackStep, world: RunWorld) -> Outcome:
        """Makes the change set, looks at it, and carries it out."""
        if step.template != template_digest():
            raise Fatal(
                "The template of this version of tkgbot is not the one that was approved, so nothing was deployed.",
                "Ask again: the bot was updated meanwhile.",
            )
        aws = world.aws(step.door, step.door.region)
        found = read_stack(aws, step.name)
        if found is not None and found.busy:
            raise Retry(f"The stack `{step.name}` is being worked on ({found.status}).", after=2.0)
        name = f"tkgbot-{_digest(step)}"
        planned = _change_set(aws, step.name, name)
        if planned is None:
            _make(aws, step, name, update=found is not None and found.status not in UNMADE)
            raise Retry("The change set is being made.", after=1.0)
        if planned.get("ExecutionStatus") in SPENT:
            aws.write("cloudformation", "delete_change_set", StackName=step.name, ChangeSetName=name)
            raise Retry("An earlier try's change set was cleared away.", after=0.5)
        status, reason = str(planned["Status"]), str(planned.get("StatusReason", ""))
        if status == "FAILED":
            aws.write("cloudformation", "delete_change_set", StackName=step.name, ChangeSetName=name)
            if any(words in reason for words in NO_CHANGES):
                return Outcome(changed=False, evidence="CloudFormation finds nothing to change.")
            raise NeedsPerson(f"CloudFormation refused the change set: {reason}", "Mend what it says, then resume.")
        if status != "CREATE_COMPLETE":
            raise Retry(f"The change set is being made ({status}).", after=1.0)
        changes = changes_of(planned)
        more = sorted(set(changes) - set(step.changes))
        if more or not _is_ours(aws, step, planned):
            aws.write("cloudformation", "delete_change_set", StackName=step.name, ChangeSetName=name)
            why = f"it would also {', '.join(more)}" if more else "its template or its parameters are others"
            raise Fatal(
                f"CloudFormation's change set is not what was approved, so it was not carried out: {why}.",
                "Ask again, and see what the plan says now.",
            )
        _execute(aws, step.name, str(planned["ChangeSetId"]))
        return Outcome(changed=True, evidence=f"Change set `{name}` with {len(changes)} changes is being carried out.")


class UnstackExecutor:
    """Observes by DescribeStacks, applies by DeleteStack."""

    def observe(self, step: UnstackStep, world: RunWorld) -> Observation:
        """So when it is gone; another stack of that name is not it."""
        aws = world.aws(step.door, step.door.region)
        found = read_stack(aws, step.name)
        if found is None or found.id != step.id:
            return Observation(so=True, evidence=f"The stack `{step.name}` is gone.")
        if found.status == "DELETE_FAILED":
            raise NeedsPerson(*_failed(aws, step.name, found))
        if found.busy:
            return _at_work(aws, step.name, found)
        return Observation(so=False, evidence=f"The stack `{step.name}` is still there ({found.status}).")

    def apply(self, step: UnstackStep, world: RunWorld) -> Outcome:
        """Asks for its deletion, by its id."""
        world.aws(step.door, step.door.region).write("cloudformation", "delete_stack", StackName=step.id)
        return Outcome(changed=True, evidence=f"Asked to delete the stack `{step.name}`.")


def changes_of(planned: Any) -> tuple[str, ...]:
    """A change set's changes, sorted: `Add AWSIAMRoleNodes`. One that would delete a resource and make it anew is no
    mere change."""
    found = [entry["ResourceChange"] for entry in planned.get("Changes", [])]
    words = [("Replace" if change.get("Replacement") == "True" else change["Action"], change) for change in found]
    return tuple(sorted(f"{action} {change['LogicalResourceId']}" for action, change in words))


def _at_work(aws: AwsWrite, name: str, found: Stack) -> Observation:
    told = _told(aws, found)
    evidence = f"CloudFormation is at work on `{name}` ({found.status})."
    return Observation(
        so=False, evidence=evidence, progress=f"{found.status} {len(told)}", patience=SETTLING, reached=told
    )


def _told(aws: AwsWrite, found: Stack) -> tuple[str, ...]:
    """For the thread: the roles, which people know by name, and whatever fails; not the dozen parts between them. Asked
    by the stack's id, because its name is unknown as soon as it is deleted."""
    return tuple(f"CloudFormation: {line}" for line in events(aws, found.id))


def _failed(aws: AwsWrite, name: str, found: Stack) -> tuple[str, str]:
    why = first_failure(aws, found.id) or found.reason or found.status
    hint = "Mend what it says; then resume."
    if found.status in ("ROLLBACK_COMPLETE", "CREATE_FAILED", "ROLLBACK_FAILED"):
        hint = (
            f"Mend what it says; delete the stack `{name}`, which CloudFormation cannot update any more; then resume."
        )
    return f"The stack `{name}` failed ({found.status}). {why}", hint


def _change_set(aws: AwsWrite, stack: str, name: str) -> Any:
    try:
        return aws.read("cloudformation", "describe_change_set", StackName=stack, ChangeSetName=name)
    except AwsRefused as error:
        if error.code in ("ChangeSetNotFound", "ChangeSetNotFoundException", "ValidationError"):
            return None
        raise


def _make(aws: AwsWrite, step: StackStep, name: str, *, update: bool) -> None:
    """One whose answer was lost is there when the client tries again: its name says what it is made of."""
    given = [{"ParameterKey": key, "ParameterValue": value} for key, value in sorted(step.parameters.items())]
    try:
        aws.write(
            "cloudformation", "create_change_set",
            StackName=step.name, ChangeSetName=name, ChangeSetType="UPDATE" if update else "CREATE",
            TemplateBody=template(), Capabilities=["CAPABILITY_NAMED_IAM"], Parameters=given,
            Tags=[{"Key": TAG, "Value": step.template}],
        )  # fmt: skip
    except AwsRefused as error:
        if error.code not in ALREADY:
            raise


def _is_ours(aws: AwsWrite, step: StackStep, planned: Any) -> bool:
    """Whoever may make change sets in that account could make one under this name, which would be carried out with the
    bot's rights: so it is looked at, and carried out by the id that was looked at."""
    body = proposed(aws, step.name, str(planned["ChangeSetId"]))
    given = {entry["ParameterKey"]: str(entry.get("ParameterValue", "")) for entry in planned.get("Parameters", [])}
    return is_template(body) and all(given.get(name, "") == value for name, value in step.parameters.items())


def _execute(aws: AwsWrite, stack: str, change_set: str) -> None:
    """Where the first answer was lost, the client's second try finds it being carried out."""
    try:
        aws.write("cloudformation", "execute_change_set", StackName=stack, ChangeSetName=change_set)
    except AwsRefused as error:
        if error.code not in UNDER_WAY:
            raise


def _digest(step: StackStep) -> str:
    text = json.dumps([step.template, step.parameters, step.before], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
