"""The bot's stack: read as CloudFormation describes it, and what an update will do, foreseen before CloudFormation
says so."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
import yaml

from handlers.contract import AwsRefused, Json
from handlers.stacks import (
    BROKEN,
    DONE,
    TAG,
    Stack,
    added,
    deployed,
    events,
    first_failure,
    foreseen,
    is_made,
    is_template,
    read_stack,
    template,
    template_digest,
)
from handlers.steps.stack import changes_of
from sandbox.aws import AwsSandbox

pytestmark = pytest.mark.long

HOME, SECOND = "111122223333", "777788889999"
NAME = "tkgbot-cluster-access"
GIVEN = {
    "ManagementAccountId": HOME,
    "ControllersPrincipalArn": f"arn:aws:iam::{HOME}:role/control-plane.cluster-api-provider-aws.sigs.k8s.io",
    "ExternalId": "tkgbot-1",
    "BotPrincipalArn": f"arn:aws:iam::{HOME}:user/tkgbot",
}
DEFAULTS = {key: str(entry.get("Default", "")) for key, entry in yaml.safe_load(template())["Parameters"].items()}
WITHIN = 15.0


class Told:
    """CloudFormation's answers, as given; newest event first, as AWS tells them."""

    def __init__(self, stack: Any = None, told: Sequence[Json] = (), code: str = "ValidationError") -> None:
        self.stack, self.told, self.code = stack, told, code

    def read(self, service: str, operation: str, **parameters: Any) -> Any:
        assert (service, operation, parameters) == ("cloudformation", "describe_stacks", {"StackName": NAME})
        if self.stack is None:
            raise AwsRefused(self.code, f"Stack with id {NAME} does not exist")
        return {"Stacks": [self.stack]}

    def pages(self, service: str, operation: str, key: str, **parameters: Any) -> Iterator[Json]:
        assert (operation, key, parameters) == ("describe_stack_events", "StackEvents", {"StackName": NAME})
        return iter(self.told)


def event(status: str, resource: str = NAME, kind: str = "AWS::CloudFormation::Stack", **more: str) -> Json:
    return {"ResourceStatus": status, "LogicalResourceId": resource, "ResourceType": kind, **more}


ROLE, POLICY = "AWS::IAM::Role", "AWS::IAM::Policy"
EARLIER = (
    event("CREATE_FAILED", "Old", ROLE, ResourceStatusReason="of an earlier try"), event("CREATE_IN_PROGRESS"),
)  # fmt: skip


def told(*newest_first: Json) -> Any:
    return Told(told=[*newest_first, *EARLIER])


# -- read --------------------------------------------------------------------------------------------------------


def test_a_stack_as_it_is_described() -> None:
    at = datetime(2026, 1, 2, tzinfo=UTC)
    aws: Any = Told({
        "StackId": "arn:1", "StackStatus": "UPDATE_COMPLETE", "StackStatusReason": "because",
        "CreationTime": datetime(2025, 1, 1, tzinfo=UTC), "LastUpdatedTime": at,
        "Tags": [{"Key": "team", "Value": "x"}, {"Key": TAG, "Value": "0123"}],
        "Parameters": [{"ParameterKey": "A", "ParameterValue": "1"}, {"ParameterKey": "B"}],
    })  # fmt: skip
    found = read_stack(aws, NAME)
    assert found == Stack("arn:1", "UPDATE_COMPLETE", "because", "0123", {"A": "1", "B": ""}, at.timestamp())


@pytest.mark.parametrize("stack", [None, {"StackId": "arn:1", "StackStatus": "DELETE_COMPLETE"}])
def test_a_stack_that_is_not_there(stack: Json | None) -> None:
    aws: Any = Told(stack)
    assert read_stack(aws, NAME) is None


def test_another_refusal_is_not_absence() -> None:
    aws: Any = Told(None, code="SomethingElse")
    with pytest.raises(AwsRefused):
        read_stack(aws, NAME)


@pytest.mark.parametrize(
    ("status", "busy"),
    [("CREATE_IN_PROGRESS", True), ("UPDATE_ROLLBACK_IN_PROGRESS", True), ("DELETE_IN_PROGRESS", True),
     ("REVIEW_IN_PROGRESS", False), ("CREATE_COMPLETE", False), ("ROLLBACK_COMPLETE", False)],
)  # fmt: skip
def test_what_is_being_worked_on(status: str, busy: bool) -> None:
    assert Stack("a", status).busy is busy


def test_it_is_made_when_it_is_complete_from_that_template_with_those_parameters() -> None:
    whole = {"A": "1", "B": "", "Other": "x"}
    good = Stack("a", "CREATE_COMPLETE", template="d", parameters=whole)
    assert is_made(good, "d", {"A": "1", "B": ""})
    assert is_made(good, "d", {"A": "1", "C": ""})  # a parameter that an older template did not have is empty
    assert not is_made(None, "d", {})
    assert not is_made(good, "e", {"A": "1"})
    assert not is_made(good, "d", {"A": "2"})
    assert not is_made(good, "d", {"C": "1"})
    made = [status for status in (*DONE, *BROKEN, "REVIEW_IN_PROGRESS", "UPDATE_IN_PROGRESS")
            if is_made(Stack("a", status, template="d", parameters=whole), "d", {"A": "1"})]  # fmt: skip
    assert made == list(DONE)


# -- events ------------------------------------------------------------------------------------------------------


def test_the_first_failure_is_the_cause_and_later_ones_follow_from_it() -> None:
    aws = told(
        event("ROLLBACK_COMPLETE"), event("CREATE_FAILED", "B", ROLE, ResourceStatusReason="creation cancelled"),
        event("CREATE_FAILED", "A", ROLE, ResourceStatusReason="A role of that name exists"),
        event("CREATE_IN_PROGRESS", "A", ROLE), event("CREATE_IN_PROGRESS"),
    )  # fmt: skip
    assert first_failure(aws, NAME) == "A: A role of that name exists"


@pytest.mark.parametrize(
    "began", ["CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "DELETE_IN_PROGRESS", "REVIEW_IN_PROGRESS"]
)
def test_failures_of_an_earlier_try_are_not_told(began: str) -> None:
    assert first_failure(told(event("UPDATE_COMPLETE", "A", ROLE), event(began)), NAME) == ""


def test_a_failure_without_a_reason_says_its_status() -> None:
    assert (
        first_failure(told(event("DELETE_FAILED", "A", ROLE), event("DELETE_IN_PROGRESS")), NAME) == "A: DELETE_FAILED"
    )


def test_what_was_done_is_told_oldest_first_without_the_small_parts() -> None:
    aws = told(
        event("UPDATE_COMPLETE"), event("CREATE_FAILED", "P", POLICY, ResourceStatusReason="no"),
        event("CREATE_COMPLETE", "Q", POLICY), event("CREATE_COMPLETE", "B", ROLE),
        event("CREATE_COMPLETE", "A", ROLE, PhysicalResourceId="nodes.tkg"), event("CREATE_IN_PROGRESS", "A", ROLE),
        event("UPDATE_IN_PROGRESS"),
    )  # fmt: skip
    assert events(aws, NAME) == ("nodes.tkg CREATE_COMPLETE", "B CREATE_COMPLETE", "P CREATE_FAILED: no")


# -- what an update will do, and what CloudFormation says ---------------------------------------------------------


class Place:
    """A deployed stack in the sandbox, by its account's administrator."""

    def __init__(self, aws: AwsSandbox) -> None:
        keys = aws.describe()["accounts"][SECOND]["admin"]
        self.client = boto3.client(
            "cloudformation", endpoint_url=aws.url, region_name="us-east-1", aws_access_key_id=keys["access_key"],
            aws_secret_access_key=keys["secret_key"],
        )  # fmt: skip
        self.number = 0

    def read(self, service: str, operation: str, **parameters: Any) -> Any:
        return getattr(self.client, operation)(**parameters)

    def deploy(self, kind: str, body: str, parameters: dict[str, str]) -> None:
        self.planned(kind, body, parameters, keep=True)
        self.client.execute_change_set(StackName=NAME, ChangeSetName=f"c{self.number}")
        self.until(lambda: str(self.client.describe_stacks(StackName=NAME)["Stacks"][0]["StackStatus"]))

    def planned(self, kind: str, body: str, parameters: dict[str, str], *, keep: bool = False) -> tuple[str, ...]:
        """The changes of a change set."""
        self.number += 1
        asked = {"StackName": NAME, "ChangeSetName": f"c{self.number}"}
        self.client.create_change_set(
            **asked, ChangeSetType=kind, TemplateBody=body, Capabilities=["CAPABILITY_NAMED_IAM"],
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
            Tags=[{"Key": TAG, "Value": "same"}],
        )  # fmt: skip
        self.until(lambda: str(self.client.describe_change_set(**asked)["Status"]))
        found = changes_of(self.client.describe_change_set(**asked))
        if not keep:
            self.client.delete_change_set(**asked)
        return found

    def until(self, status: Any) -> None:
        deadline = time.monotonic() + WITHIN
        while (now := status()).endswith(("_IN_PROGRESS", "_PENDING")):
            assert time.monotonic() < deadline, now
            time.sleep(0.02)


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    sandbox = AwsSandbox()
    sandbox.start()
    made = Place(sandbox)
    made.deploy("CREATE", template(), GIVEN)
    yield made
    sandbox.stop()


def test_a_new_stack_makes_what_was_foreseen(place: Place) -> None:
    names = {
        entry["LogicalResourceId"] for entry in place.client.describe_stack_resources(StackName=NAME)["StackResources"]
    }
    assert added(GIVEN) == tuple(sorted(f"Add {name}" for name in names))
    aws: Any = place
    assert deployed(aws, NAME) == template()


CHANGED = {
    "ExternalId": "tkgbot-2",
    "ControllersPrincipalArn": f"arn:aws:iam::{HOME}:role/another",
    "TrustWholeAccount": "true",
    "BotPrincipalArn": f"arn:aws:iam::{HOME}:role/another",
    "PermissionsBoundaryArn": f"arn:aws:iam::{SECOND}:policy/edge",
    "SubnetTags": "false",
    "Cleanup": "true",
    "EbsCsi": "false",
    "TmcRead": "true",
    "ControllersOnControlPlane": "true",
    "MakeClusterRoles": "false",
    "ManagementAccountId": "444455556666",
}
EXACT = ("ExternalId", "SubnetTags", "Cleanup", "EbsCsi", "TmcRead", "MakeClusterRoles")


@pytest.mark.parametrize("name", CHANGED)
def test_a_changed_parameter_changes_no_more_than_was_foreseen(place: Place, name: str) -> None:
    before, after = {**DEFAULTS, **GIVEN}, {**DEFAULTS, **GIVEN, name: CHANGED[name]}
    wanted, found = (
        foreseen(template(), before, after),
        place.planned("UPDATE", template(), {**GIVEN, name: CHANGED[name]}),
    )
    assert found
    assert set(found) <= set(wanted)
    if name in EXACT:
        assert found == wanted


def test_no_change_is_foreseen_where_there_is_none(place: Place) -> None:
    same = {**DEFAULTS, **GIVEN}
    assert foreseen(template(), same, same) == place.planned("UPDATE", template(), GIVEN) == ()


@pytest.mark.parametrize(
    ("parameters", "change"),
    [({"NameSuffix": ".tkg.cloud.vmware.com"}, "Replace"), ({"ReaderRoleName": "looks"}, "Replace")],
)
def test_a_replacement_is_never_foreseen_so_it_is_never_carried_out(
    place: Place, parameters: dict[str, str], change: str
) -> None:
    """A role that is deleted and made anew would take the machines' access with it."""
    found = place.planned("UPDATE", template(), {**GIVEN, **parameters})
    surplus = set(found) - set(foreseen(template(), {**DEFAULTS, **GIVEN}, {**DEFAULTS, **GIVEN, **parameters}))
    assert surplus
    assert {entry.partition(" ")[0] for entry in surplus} == {change}


def older(**changes: Any) -> str:
    """The template as an earlier version could have been: some resources otherwise, or not there."""
    body: Any = yaml.safe_load(template())
    for name, change in changes.items():
        if change is None:
            del body["Resources"][name]
        else:
            body["Resources"][name]["Properties"].update(change)
    return str(yaml.safe_dump(body, sort_keys=False))


LOOKS = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ec2:Describe*", "Resource": "*"}]}


@pytest.mark.parametrize(
    ("old", "wanted"),
    [
        (older(ReaderPolicy={"PolicyDocument": LOOKS}), ("Modify ReaderPolicy",)),
        (older(EbsCsiPolicy=None, SubnetTagsPolicy=None), ("Add EbsCsiPolicy", "Add SubnetTagsPolicy")),
        (older(AWSIAMManagedPolicyControllers={"PolicyDocument": LOOKS}), ("Modify AWSIAMManagedPolicyControllers",)),
    ],
    ids=["a policy with fewer rights", "policies that were not there", "the controllers' policy"],
)
def test_a_newer_template_changes_what_was_foreseen(place: Place, old: str, wanted: tuple[str, ...]) -> None:
    same = {**DEFAULTS, **GIVEN}
    place.deploy("UPDATE", old, GIVEN)
    try:
        assert foreseen(old, same, same) == wanted
        assert place.planned("UPDATE", template(), GIVEN) == wanted
        backwards = place.planned("UPDATE", old, GIVEN)
        assert set(backwards) <= set(foreseen(template(), same, same, old))
    finally:
        place.deploy("UPDATE", template(), GIVEN)


def test_another_tag_of_the_stack_may_change_every_resource() -> None:
    same = {**DEFAULTS, **GIVEN}
    every = tuple(change.replace("Add", "Modify") for change in added(GIVEN))
    assert foreseen(template(), same, same, retagged=True) == every


def test_a_template_that_is_not_the_bots_is_foreseen_to_change_wholly() -> None:
    theirs = "Resources: {Topic: {Type: AWS::SNS::Topic}}"
    found = foreseen(theirs, {}, {**DEFAULTS, **GIVEN})
    assert found == tuple(sorted([*added(GIVEN), "Remove Topic"]))


@pytest.mark.parametrize("theirs", ["Resources: {A: !Sub x}", "", "- a", "a: b: c", "Resources: x", "{"])
def test_a_template_that_does_not_read_has_nothing_that_the_bot_knows(theirs: str) -> None:
    assert not is_template(theirs)
    assert foreseen(theirs, {}, {**DEFAULTS, **GIVEN}) == added(GIVEN)


def test_a_template_is_itself_however_it_is_laid_out() -> None:
    assert is_template(template())
    assert is_template(json.dumps(yaml.safe_load(template())))
    assert not is_template(template().replace("ec2:Describe*", "ec2:*"))


def test_the_digest_tells_templates_apart() -> None:
    assert len(template_digest()) == 16
    assert int(template_digest(), 16) >= 0
