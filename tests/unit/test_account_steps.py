"""The steps of stack and trust against an AWS that is told what to answer: what they refuse, and what they wait for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from handlers.contract import AwsRefused, Door, Fatal, Json, NeedsPerson, Outcome, Retry
from handlers.iam.documents import digest
from handlers.stacks import template, template_digest
from handlers.steps.stack import StackExecutor, StackStep, UnstackExecutor, UnstackStep
from handlers.steps.trust import TrustExecutor, TrustStep
from tests.unit.iam_makers import EC2, STRANGER, document, trusting

HOME, SECOND = "111122223333", "777788889999"
NAME = "tkgbot-cluster-access"
STACK_ID = f"arn:aws:cloudformation:us-east-1:{SECOND}:stack/{NAME}/1-2-3"
SET_ID = f"arn:aws:cloudformation:us-east-1:{SECOND}:changeSet/tkgbot-x/4-5-6"
DOOR = Door(account_id=SECOND, region="us-east-1", role_arn=f"arn:aws:iam::{SECOND}:role/tkgbot-bootstrap")
GIVEN = {"ManagementAccountId": HOME, "ExternalId": "tkgbot-1"}
ADD = {"Action": "Add", "LogicalResourceId": "ReaderRole"}


class Aws:
    """A world whose AWS answers by operation; a function is asked with the parameters."""

    def __init__(self, **answers: Any) -> None:
        self.answers, self.calls = answers, []  # type: ignore[var-annotated]

    def aws(self, *_: Any) -> Aws:
        return self

    def began(self) -> float:
        return 0.0

    def read(self, service: str, operation: str, **parameters: Any) -> Any:
        self.calls.append((operation, parameters))
        answer = self.answers[operation]
        return answer(**parameters) if callable(answer) else answer

    write = read

    def pages(self, service: str, operation: str, key: str, **parameters: Any) -> Any:
        yield from self.read(service, operation, **parameters)

    @property
    def written(self) -> list[str]:
        """What was changed."""
        return [operation for operation, _ in self.calls if not operation.startswith(("describe_", "get_"))]


def refusing(code: str) -> Callable[..., Any]:
    def answer(**_: Any) -> Any:
        raise AwsRefused(code, f"AWS refused ({code}).")

    return answer


def stack(status: str, **more: Any) -> Json:
    return {"Stacks": [{"StackId": STACK_ID, "StackStatus": status, **more}]}


def stack_step(**changes: Any) -> StackStep:
    fields: dict[str, Any] = {
        "title": "make the stack", "targets": ("t",), "door": DOOR, "name": NAME, "template": template_digest(),
        "parameters": GIVEN, "changes": ("Add ReaderRole",), "before": {"stack": None, "parameters": {}},
    }  # fmt: skip
    return StackStep(**{**fields, **changes})


def planned(**more: Any) -> Json:
    """A change set that is ready."""
    given = [{"ParameterKey": key, "ParameterValue": value} for key, value in {**GIVEN, "EbsCsi": "true"}.items()]
    return {
        "ChangeSetId": SET_ID, "Status": "CREATE_COMPLETE", "ExecutionStatus": "AVAILABLE", "Parameters": given,
        "Changes": [{"ResourceChange": ADD}], **more,
    }  # fmt: skip


def ready(**answers: Any) -> Aws:
    """An account whose stack has a change set."""
    fields: dict[str, Any] = {
        "describe_stacks": stack("REVIEW_IN_PROGRESS"), "describe_change_set": planned(),
        "get_template": {"TemplateBody": template()}, "execute_change_set": {}, "delete_change_set": {},
        "create_change_set": {},
    }  # fmt: skip
    return Aws(**{**fields, **answers})


def applied(world: Aws, step: StackStep | None = None) -> Outcome:
    return StackExecutor().apply(step or stack_step(), world)  # type: ignore[arg-type]


# -- a change set ------------------------------------------------------------------------------------------------


def test_a_change_set_that_is_what_was_approved_is_carried_out_by_its_id() -> None:
    """A name can be taken by another change set a moment later; an id cannot."""
    world = ready()
    assert applied(world).changed
    assert world.written == ["execute_change_set"]
    assert world.calls[-1] == ("execute_change_set", {"StackName": NAME, "ChangeSetName": SET_ID})


OTHERS = template().replace("ec2:Describe*", "ec2:*")
STRANGERS = [{"ParameterKey": "ManagementAccountId", "ParameterValue": STRANGER}]
NOT_APPROVED: dict[str, Json] = {
    "more changes": {"describe_change_set": planned(Changes=[{"ResourceChange": ADD}, {"ResourceChange": {
        "Action": "Add", "LogicalResourceId": "Backdoor"}}])},
    "a replacement": {"describe_change_set": planned(Changes=[{"ResourceChange": {
        "Action": "Modify", "LogicalResourceId": "ReaderRole", "Replacement": "True"}}])},
    "another template": {"get_template": {"TemplateBody": OTHERS}},
    "a template in short forms": {"get_template": {"TemplateBody": "Resources: {A: !Sub x}"}},
    "a template in JSON": {"get_template": {"TemplateBody": {"Resources": {"A": {"Type": "AWS::IAM::Role"}}}}},
    "no template": {"get_template": {"TemplateBody": ""}},
    "another parameter": {"describe_change_set": planned(Parameters=STRANGERS)},
}  # fmt: skip


@pytest.mark.parametrize("answers", NOT_APPROVED.values(), ids=NOT_APPROVED)
def test_a_change_set_that_is_not_what_was_approved_is_taken_away(answers: Json) -> None:
    """Whoever may make change sets in that account could make one under the bot's name."""
    world = ready(**answers)
    with pytest.raises(Fatal, match="not what was approved"):
        applied(world)
    assert world.written == ["delete_change_set"]


def test_fewer_changes_than_approved_are_fine() -> None:
    assert applied(ready(), stack_step(changes=("Add ReaderPolicy", "Add ReaderRole"))).changed


def test_another_template_than_the_bot_has_now_is_not_deployed() -> None:
    world = ready()
    with pytest.raises(Fatal, match="The template of this version of tkgbot is not the one that was approved"):
        applied(world, stack_step(template="0" * 16))
    assert world.calls == []


@pytest.mark.parametrize("status", ["CREATE_PENDING", "CREATE_IN_PROGRESS"])
def test_a_change_set_that_is_being_made_is_waited_for(status: str) -> None:
    world = ready(describe_change_set=planned(Status=status))
    with pytest.raises(Retry):
        applied(world)
    assert world.written == []


@pytest.mark.parametrize("status", ["EXECUTE_COMPLETE", "EXECUTE_FAILED", "OBSOLETE"])
def test_a_change_set_of_an_earlier_try_is_cleared_away(status: str) -> None:
    world = ready(describe_change_set=planned(ExecutionStatus=status))
    with pytest.raises(Retry, match="earlier try"):
        applied(world)
    assert world.written == ["delete_change_set"]


def test_a_change_set_that_changes_nothing_is_no_change() -> None:
    nothing = planned(Status="FAILED", StatusReason="The submitted information didn't contain changes.")
    world = ready(describe_change_set=nothing)
    assert not applied(world).changed
    assert world.written == ["delete_change_set"]


def test_a_change_set_that_cloudformation_refuses_is_for_a_person() -> None:
    with pytest.raises(NeedsPerson, match="CloudFormation refused the change set: no such boundary"):
        applied(ready(describe_change_set=planned(Status="FAILED", StatusReason="no such boundary")))


@pytest.mark.parametrize(("there", "kind"), [("REVIEW_IN_PROGRESS", "CREATE"), ("CREATE_COMPLETE", "UPDATE")])
def test_a_change_set_is_made_where_there_is_none(there: str, kind: str) -> None:
    world = ready(describe_stacks=stack(there), describe_change_set=refusing("ChangeSetNotFound"))
    with pytest.raises(Retry, match="is being made"):
        applied(world)
    asked = dict(world.calls)["create_change_set"]
    assert (asked["ChangeSetType"], asked["TemplateBody"]) == (kind, template())
    assert asked["Parameters"] == [
        {"ParameterKey": key, "ParameterValue": value} for key, value in sorted(GIVEN.items())
    ]  # fmt: skip
    assert asked["Tags"] == [{"Key": "tkgbot:template", "Value": template_digest()}]


def test_the_name_of_a_change_set_says_what_it_is_made_of() -> None:
    def name(step: StackStep) -> str:
        world = ready()
        applied(world, step)
        return str(dict(world.calls)["describe_change_set"]["ChangeSetName"])

    changed = stack_step(parameters={**GIVEN, "ExternalId": "tkgbot-2"})
    with pytest.raises(Fatal):
        name(changed)  # what is there under its name has the other id
    later = stack_step(before={"stack": STACK_ID, "parameters": {}})
    assert name(stack_step()) == name(stack_step()) != name(later)


# -- a stack as it is seen ---------------------------------------------------------------------------------------


def vanished(**asked: Any) -> list[Json]:
    """AWS knows a deleted stack's events by its id only."""
    if asked["StackName"] != STACK_ID:
        raise AwsRefused("ValidationError", f"Stack [{NAME}] does not exist")
    return [{"ResourceType": "AWS::IAM::Role", "ResourceStatus": "DELETE_COMPLETE", "PhysicalResourceId": "nodes"}]


def test_a_stack_that_goes_while_it_is_looked_at() -> None:
    step = UnstackStep(title="delete it", targets=("t",), door=DOOR, name=NAME, id=STACK_ID)
    world: Any = Aws(describe_stacks=stack("DELETE_IN_PROGRESS"), describe_stack_events=vanished)
    seen = UnstackExecutor().observe(step, world)
    assert (seen.so, seen.reached) == (False, ("CloudFormation: nodes DELETE_COMPLETE",))


@pytest.mark.parametrize("found", [refusing("ValidationError"), stack("DELETE_COMPLETE"), stack("CREATE_COMPLETE")])
def test_another_stack_of_that_name_is_not_the_one_to_delete(found: Any) -> None:
    step = UnstackStep(title="delete it", targets=("t",), door=DOOR, name=NAME, id="another")
    world: Any = Aws(describe_stacks=found)
    assert UnstackExecutor().observe(step, world).so


@pytest.mark.parametrize("status", ["ROLLBACK_COMPLETE", "CREATE_FAILED", "ROLLBACK_FAILED"])
def test_a_stack_that_failed_is_for_a_person_and_says_to_delete_it(status: str) -> None:
    failed = {"ResourceStatus": "CREATE_FAILED", "LogicalResourceId": "ReaderRole", "ResourceStatusReason": "It exists"}
    world: Any = Aws(describe_stacks=stack(status), describe_stack_events=[failed])
    with pytest.raises(NeedsPerson) as caught:
        StackExecutor().observe(stack_step(), world)
    assert caught.value.message == f"The stack `{NAME}` failed ({status}). ReaderRole: It exists"
    assert f"delete the stack `{NAME}`" in caught.value.hint


# -- a trust -----------------------------------------------------------------------------------------------------

BEFORE, AFTER = document(EC2), document(EC2, trusting({"AWS": HOME}, Sid="Mine"))


def trust_step(**changes: Any) -> TrustStep:
    fields: dict[str, Any] = {
        "title": "add it", "targets": ("t",), "door": DOOR, "role": "controllers.x", "sid": "Mine", "document": AFTER,
        "before": {"document": BEFORE, "digest": digest(BEFORE)},
    }  # fmt: skip
    return TrustStep(**{**fields, **changes})


def trusted(now: Any, write: Any = None) -> Aws:
    return Aws(get_role={"Role": {"AssumeRolePolicyDocument": now}}, update_assume_role_policy=write or {})


def written(world: Aws, step: TrustStep | None = None) -> Outcome:
    return TrustExecutor().apply(step or trust_step(), world)  # type: ignore[arg-type]


def test_a_trust_is_written_where_it_is_as_it_was_approved() -> None:
    world = trusted(BEFORE)
    assert written(world).changed
    assert world.written == ["update_assume_role_policy"]
    done = trusted(AFTER)
    assert not written(done).changed
    assert done.written == []


@pytest.mark.parametrize("now", [document(EC2, trusting({"AWS": STRANGER})), document()])
def test_a_trust_that_was_changed_meanwhile_is_not_written(now: Any) -> None:
    world = trusted(now)
    with pytest.raises(Fatal, match="changed after it was approved, so nothing was written"):
        written(world)
    assert world.written == []


def test_a_trust_that_a_person_writes_is_shown_whole() -> None:
    world = trusted(BEFORE)
    with pytest.raises(NeedsPerson, match=r'"Sid":"Mine"'):
        written(world, trust_step(by_hand=True))
    assert world.written == []


def test_a_trust_that_iam_does_not_take_is_explained() -> None:
    """A principal that was deleted stands in a trust as an id that IAM no longer takes back."""
    with pytest.raises(Fatal) as caught:
        written(trusted(BEFORE, refusing("MalformedPolicyDocument")))
    assert caught.value.message == "IAM does not take the trust of `controllers.x` back, so nothing was written."
    assert "`AROA…`" in caught.value.hint
    with pytest.raises(AwsRefused):
        written(trusted(BEFORE, refusing("UnmodifiableEntity")))


def test_a_trust_that_cannot_be_read() -> None:
    with pytest.raises(Fatal, match=r"The trust of `controllers\.x` cannot be read"):
        written(trusted({"Version": "2012-10-17"}))
