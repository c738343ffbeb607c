"""The sandbox's CloudFormation, asked by a real SDK: change sets, events, rights, failures and what they leave."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from importlib import resources
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from sandbox.aws import AwsSandbox

pytestmark = pytest.mark.long

HOME, SECOND, THIRD = "111122223333", "777788889999", "222233334444"
SUFFIX = "cluster-api-provider-aws.sigs.k8s.io"
TEMPLATE = resources.files("manifests.iam").joinpath("secondary-account.yaml").read_text()
BOOTSTRAP = resources.files("manifests.iam").joinpath("bootstrap.yaml").read_text()
NAMED = ["CAPABILITY_NAMED_IAM"]
GIVEN = {
    "ManagementAccountId": HOME,
    "ControllersPrincipalArn": f"arn:aws:iam::{HOME}:role/control-plane.{SUFFIX}",
    "ExternalId": "shared-secret",
    "BotPrincipalArn": f"arn:aws:iam::{HOME}:role/tkgbot",
}
NAME = "tkgbot-cluster-access"
ROLES = ("Controllers", "ControlPlane", "Nodes")


@pytest.fixture
def aws() -> Iterator[AwsSandbox]:
    sandbox = AwsSandbox()
    sandbox.start()
    yield sandbox
    sandbox.stop()


def client(aws: AwsSandbox, service: str, key: str, secret: str, token: str | None = None) -> Any:
    return boto3.client(
        service, region_name="us-east-1", endpoint_url=aws.url, config=Config(retries={"total_max_attempts": 1}),
        aws_access_key_id=key, aws_secret_access_key=secret, aws_session_token=token,
    )  # fmt: skip


def admin(aws: AwsSandbox, service: str = "cloudformation", account: str = SECOND) -> Any:
    return client(aws, service, *aws.describe()["accounts"][account]["admin"].values())


def bootstrap(aws: AwsSandbox, service: str = "cloudformation", **more: Any) -> Any:
    env, place = aws.env(), aws.describe()["accounts"][SECOND]["bootstrap"]
    sts = client(aws, "sts", env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"])
    made = sts.assume_role(RoleArn=place["role_arn"], RoleSessionName="check", ExternalId=place["external_id"], **more)[
        "Credentials"
    ]
    return client(aws, service, made["AccessKeyId"], made["SecretAccessKey"], made["SessionToken"])


def parameters(**given: str) -> list[dict[str, str]]:
    return [{"ParameterKey": name, "ParameterValue": value} for name, value in {**GIVEN, **given}.items()]


def refused(call: Any, **arguments: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def until(what: Callable[[], Any], wanted: Any) -> Any:
    deadline = time.monotonic() + 60
    while (found := what()) != wanted:
        assert time.monotonic() < deadline, found
        time.sleep(0.02)
    return found


def status(stacks: Any, name: str = NAME) -> str:
    return str(stacks.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"])


def settled(stacks: Any, name: str = NAME) -> dict[str, Any]:
    until(lambda: status(stacks, name).endswith("_IN_PROGRESS"), False)
    found: dict[str, Any] = stacks.describe_stacks(StackName=name)["Stacks"][0]
    return found


def change_set(stacks: Any, kind: str, name: str = "first", template: str = TEMPLATE, **given: str) -> dict[str, Any]:
    asked = {"StackName": NAME, "ChangeSetName": name}
    stacks.create_change_set(
        **asked, ChangeSetType=kind, TemplateBody=template, Parameters=parameters(**given), Capabilities=NAMED,
        Tags=[{"Key": "tkgbot/template", "Value": "abc"}],
    )  # fmt: skip
    until(lambda: stacks.describe_change_set(**asked)["Status"] in ("CREATE_COMPLETE", "FAILED"), True)
    found: dict[str, Any] = stacks.describe_change_set(**asked)
    return found


def changes(planned: dict[str, Any]) -> set[str]:
    found = [entry["ResourceChange"] for entry in planned["Changes"]]
    return {f"{change['Action']} {change['LogicalResourceId']}" for change in found}


def deployed(stacks: Any, **given: str) -> dict[str, Any]:
    change_set(stacks, "CREATE", **given)
    stacks.execute_change_set(StackName=NAME, ChangeSetName="first")
    return settled(stacks)


def failures(stacks: Any) -> dict[str, str]:
    found = stacks.describe_stack_events(StackName=NAME)["StackEvents"]
    return {
        entry["LogicalResourceId"]: entry["ResourceStatusReason"]
        for entry in found
        if entry["ResourceStatus"].endswith("_FAILED")
    }


def test_the_bootstrap_role_deploys_the_stack_by_a_change_set(aws: AwsSandbox) -> None:
    stacks = bootstrap(aws)
    planned = change_set(stacks, "CREATE")
    assert planned["ExecutionStatus"] == "AVAILABLE"
    assert status(stacks) == "REVIEW_IN_PROGRESS"
    made = {f"AWSIAM{kind}{role}" for kind in ("Role", "InstanceProfile") for role in ROLES}
    made |= {"AWSIAMManagedPolicyControllers", "AWSIAMManagedPolicyCloudProviderControlPlane"}
    made |= {"AWSIAMManagedPolicyCloudProviderNodes", "EbsCsiPolicy"}
    made |= {"ReaderRole", "ReaderPolicy", "SubnetTagsPolicy"}
    assert changes(planned) == {f"Add {name}" for name in made}
    stacks.execute_change_set(StackName=NAME, ChangeSetName="first")
    assert status(stacks) == "CREATE_IN_PROGRESS"
    stack = settled(stacks)
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    assert {entry["OutputKey"]: entry["OutputValue"] for entry in stack["Outputs"]} == {
        "ControllersRoleArn": f"arn:aws:iam::{SECOND}:role/controllers.{SUFFIX}",
        "ReaderRoleArn": f"arn:aws:iam::{SECOND}:role/tkgbot-reader",
        "TemplateVersion": "1",
    }
    assert {tag["Key"]: tag["Value"] for tag in stack["Tags"]} == {"tkgbot/template": "abc"}
    given = {entry["ParameterKey"]: entry["ParameterValue"] for entry in stack["Parameters"]}
    assert (given["ExternalId"], given["SubnetTags"]) == ("shared-secret", "true")
    assert stacks.get_template(StackName=NAME)["TemplateBody"] == TEMPLATE


def test_events_are_told_one_after_the_other_newest_first(aws: AwsSandbox) -> None:
    stacks = bootstrap(aws)
    deployed(stacks)
    told = stacks.describe_stack_events(StackName=NAME)["StackEvents"]
    assert [entry["Timestamp"] for entry in told] == sorted((entry["Timestamp"] for entry in told), reverse=True)
    assert (told[0]["ResourceType"], told[0]["ResourceStatus"]) == ("AWS::CloudFormation::Stack", "CREATE_COMPLETE")
    role = [entry["ResourceStatus"] for entry in told if entry["LogicalResourceId"] == "AWSIAMRoleNodes"]
    assert role == ["CREATE_COMPLETE", "CREATE_IN_PROGRESS"]
    listed = stacks.describe_stack_resources(StackName=NAME)["StackResources"]
    assert {entry["LogicalResourceId"]: entry["PhysicalResourceId"] for entry in listed}[
        "ReaderRole"
    ] == "tkgbot-reader"
    assert len(listed) == 13


def test_what_the_template_says_is_in_iam(aws: AwsSandbox) -> None:
    deployed(bootstrap(aws))
    iam = admin(aws, "iam")
    trust = iam.get_role(RoleName=f"controllers.{SUFFIX}")["Role"]["AssumeRolePolicyDocument"]["Statement"]
    own = next(entry for entry in trust if entry.get("Sid") == f"Tkgbot{HOME}")
    assert own["Principal"] == {"AWS": f"arn:aws:iam::{HOME}:root"}
    assert own["Condition"] == {
        "StringEquals": {"sts:ExternalId": "shared-secret"},
        "ArnEquals": {"aws:PrincipalArn": GIVEN["ControllersPrincipalArn"]},
    }
    attached = iam.list_attached_role_policies(RoleName=f"control-plane.{SUFFIX}")["AttachedPolicies"]
    assert {entry["PolicyName"] for entry in attached} == {f"control-plane.{SUFFIX}", f"nodes.{SUFFIX}"}
    profile = iam.get_instance_profile(InstanceProfileName=f"nodes.{SUFFIX}")["InstanceProfile"]
    assert [role["RoleName"] for role in profile["Roles"]] == [f"nodes.{SUFFIX}"]
    env = aws.env()
    bot = client(aws, "sts", env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"])
    home = bot.assume_role(RoleArn=GIVEN["BotPrincipalArn"], RoleSessionName="check")["Credentials"]
    reader = client(aws, "sts", home["AccessKeyId"], home["SecretAccessKey"], home["SessionToken"]).assume_role(
        RoleArn=f"arn:aws:iam::{SECOND}:role/tkgbot-reader", RoleSessionName="check", ExternalId="shared-secret"
    )["Credentials"]
    ec2 = client(aws, "ec2", reader["AccessKeyId"], reader["SecretAccessKey"], reader["SessionToken"])
    assert len(ec2.describe_vpcs()["Vpcs"]) == 2


def test_an_update_changes_what_it_says_and_nothing_else(aws: AwsSandbox) -> None:
    stacks, iam = bootstrap(aws), admin(aws, "iam")
    deployed(stacks)
    planned = change_set(stacks, "UPDATE", "second", ExternalId="another-secret")
    assert changes(planned) == {"Modify AWSIAMRoleControllers", "Modify ReaderRole"}
    assert {entry["ResourceChange"]["Replacement"] for entry in planned["Changes"]} == {"False"}
    stacks.execute_change_set(StackName=NAME, ChangeSetName="second")
    assert status(stacks) == "UPDATE_IN_PROGRESS"
    assert settled(stacks)["StackStatus"] == "UPDATE_COMPLETE"
    assert "another-secret" in str(iam.get_role(RoleName=f"controllers.{SUFFIX}")["Role"])
    policy = f"arn:aws:iam::{SECOND}:policy/nodes.{SUFFIX}"
    assert len(iam.list_policy_versions(PolicyArn=policy)["Versions"]) == 1
    same = change_set(stacks, "UPDATE", "third", ExternalId="another-secret")
    assert (same["Status"], same["ExecutionStatus"]) == ("FAILED", "UNAVAILABLE")
    assert "didn't contain changes" in same["StatusReason"]
    more = change_set(stacks, "UPDATE", "fourth", ExternalId="another-secret", ControllersOnControlPlane="true")
    assert changes(more) == {"Modify AWSIAMManagedPolicyControllers"}
    stacks.execute_change_set(StackName=NAME, ChangeSetName="fourth")
    assert settled(stacks)["StackStatus"] == "UPDATE_COMPLETE"
    attached = iam.list_attached_role_policies(RoleName=f"control-plane.{SUFFIX}")["AttachedPolicies"]
    assert len(attached) == 3


def test_a_stack_goes_with_all_that_it_made(aws: AwsSandbox) -> None:
    stacks, iam = bootstrap(aws), admin(aws, "iam")
    before = {role["RoleName"] for role in iam.list_roles()["Roles"]}
    stack = deployed(stacks)
    stacks.delete_stack(StackName=NAME)
    until(lambda: status(stacks, stack["StackId"]), "DELETE_COMPLETE")
    assert "does not exist" in refused(stacks.describe_stacks, StackName=NAME)[1]
    assert {role["RoleName"] for role in iam.list_roles()["Roles"]} == before
    assert not iam.list_policies(Scope="Local")["Policies"]
    assert not iam.list_instance_profiles()["InstanceProfiles"]
    assert deployed(stacks)["StackStatus"] == "CREATE_COMPLETE"


def test_what_others_attached_keeps_a_role_from_going(aws: AwsSandbox) -> None:
    stacks, iam = bootstrap(aws), admin(aws, "iam")
    deployed(stacks)
    theirs = {"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Action": "*", "Resource": "*"}}
    iam.put_role_policy(RoleName=f"nodes.{SUFFIX}", PolicyName="theirs", PolicyDocument=json.dumps(theirs))
    stacks.delete_stack(StackName=NAME)
    until(lambda: status(stacks), "DELETE_FAILED")
    assert "must delete policies first" in failures(stacks)["AWSIAMRoleNodes"]
    iam.delete_role_policy(RoleName=f"nodes.{SUFFIX}", PolicyName="theirs")
    stacks.delete_stack(StackName=NAME)
    until(lambda: refused_or_none(stacks), "ValidationError")


def refused_or_none(stacks: Any) -> str | None:
    try:
        stacks.describe_stacks(StackName=NAME)
    except ClientError as gone:
        return str(gone.response["Error"]["Code"])
    return None


def test_a_name_that_is_taken_rolls_everything_back(aws: AwsSandbox) -> None:
    stacks, iam = bootstrap(aws), admin(aws, "iam")
    trust = json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"},
        }
    )
    iam.create_role(RoleName=f"nodes.{SUFFIX}", AssumeRolePolicyDocument=trust)
    before = {role["RoleName"] for role in iam.list_roles()["Roles"]}
    assert deployed(stacks)["StackStatus"] == "ROLLBACK_COMPLETE"
    said = failures(stacks)["AWSIAMRoleNodes"]
    assert f"Role with name nodes.{SUFFIX} already exists." in said
    assert "HandlerErrorCode: AlreadyExists" in said
    assert {role["RoleName"] for role in iam.list_roles()["Roles"]} == before
    assert "ROLLBACK_COMPLETE state and can not be updated" in refused(
        stacks.create_change_set, StackName=NAME, ChangeSetName="x", TemplateBody=TEMPLATE, Capabilities=NAMED,
        Parameters=parameters(),
    )[1]  # fmt: skip
    stacks.delete_stack(StackName=NAME)
    until(lambda: refused_or_none(stacks), "ValidationError")
    assert deployed(stacks, MakeClusterRoles="false")["StackStatus"] == "CREATE_COMPLETE"
    assert {role["RoleName"] for role in iam.list_roles()["Roles"]} == before | {"tkgbot-reader"}


def test_a_stack_has_the_rights_of_its_caller_alone(aws: AwsSandbox) -> None:
    allowed = {"Effect": "Allow", "NotAction": ["iam:CreateRole"], "Resource": "*"}
    stacks = bootstrap(aws, Policy=json.dumps({"Version": "2012-10-17", "Statement": [allowed]}))
    assert deployed(stacks)["StackStatus"] == "ROLLBACK_COMPLETE"
    (said,) = failures(stacks).values()
    assert "assumed-role/tkgbot-bootstrap/check is not authorized to perform: iam:CreateRole on resource: " in said
    assert "because no session policy allows the iam:CreateRole action" in said
    assert "HandlerErrorCode: AccessDenied" in said


def test_an_organisation_can_forbid_a_part(aws: AwsSandbox) -> None:
    stacks = bootstrap(aws)
    aws.set_faults({"deny": ["iam:AttachRolePolicy"]})
    assert deployed(stacks)["StackStatus"] == "ROLLBACK_COMPLETE"
    assert "explicit deny in a service control policy" in str(failures(stacks))
    assert [role["RoleName"] for role in admin(aws, "iam").list_roles()["Roles"]] == ["tkgbot-bootstrap"]
    assert not admin(aws, "iam").list_policies(Scope="Local")["Policies"]


def test_an_update_that_fails_leaves_what_was(aws: AwsSandbox) -> None:
    reader = f"arn:aws:iam::{SECOND}:role/tkgbot-reader"
    deny = {"Effect": "Deny", "Action": "iam:UpdateAssumeRolePolicy", "Resource": reader}
    statements = [{"Effect": "Allow", "Action": "*", "Resource": "*"}, deny]
    stacks = bootstrap(aws, Policy=json.dumps({"Version": "2012-10-17", "Statement": statements}))
    iam = admin(aws, "iam")
    deployed(stacks)
    before = iam.get_role(RoleName="tkgbot-reader")["Role"]["AssumeRolePolicyDocument"]
    change_set(stacks, "UPDATE", "second", ExternalId="another-secret")
    stacks.execute_change_set(StackName=NAME, ChangeSetName="second")
    assert settled(stacks)["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert "with an explicit deny in a session policy" in failures(stacks)["ReaderRole"]
    assert iam.get_role(RoleName="tkgbot-reader")["Role"]["AssumeRolePolicyDocument"] == before
    assert "another-secret" not in str(iam.get_role(RoleName=f"controllers.{SUFFIX}")["Role"])
    assert dict(_given(stacks))["ExternalId"] == "shared-secret"


def _given(stacks: Any) -> Iterator[tuple[str, str]]:
    for entry in stacks.describe_stacks(StackName=NAME)["Stacks"][0]["Parameters"]:
        yield entry["ParameterKey"], entry["ParameterValue"]


def test_a_person_deploys_where_the_bot_has_no_way(aws: AwsSandbox) -> None:
    stacks = admin(aws, account=THIRD)
    stacks.create_stack(StackName=NAME, TemplateBody=TEMPLATE, Parameters=parameters(), Capabilities=NAMED)
    assert settled(stacks)["StackStatus"] == "CREATE_COMPLETE"
    assert refused(stacks.create_stack, StackName=NAME, TemplateBody=TEMPLATE)[0] == "AlreadyExistsException"
    assert refused(stacks.update_stack, StackName=NAME, UsePreviousTemplate=True, Capabilities=NAMED, Parameters=[
        {"ParameterKey": name, "UsePreviousValue": True} for name in GIVEN
    ])[1] == "No updates are to be performed."  # fmt: skip


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        ({"Capabilities": []}, "InsufficientCapabilitiesException", "CAPABILITY_NAMED_IAM"),
        ({"Capabilities": ["CAPABILITY_IAM"]}, "InsufficientCapabilitiesException", "CAPABILITY_NAMED_IAM"),
        ({"Parameters": parameters(ManagementAccountId="12")}, "ValidationError", "twelve digits"),
        ({"Parameters": parameters(SubnetTags="yes")}, "ValidationError", "one of AllowedValues"),
        ({"Parameters": parameters(Odd="1")}, "ValidationError", "[Odd] do not exist in the template"),
        ({"Parameters": []}, "ValidationError", "must have values"),
        ({"Parameters": parameters(ManagementAccountId=SECOND)}, "ValidationError", "management account itself"),
        ({"TemplateBody": "Resources: [x"}, "ValidationError", "YAML not well-formed"),
        ({"TemplateBody": "A: &x 1\nB: *x"}, "ValidationError", "aliases are not allowed"),
        ({"TemplateBody": "Resources: {}"}, "ValidationError", "At least one Resources member"),
        ({"TemplateBody": "Resources: {A: {Type: 'AWS::S3::Bucket'}}"}, "ValidationError", "[AWS::S3::Bucket]"),
        ({"TemplateBody": TEMPLATE + "#" * 51_200}, "ValidationError", "less than or equal to 51200"),
        ({"StackName": "nobodys", "ChangeSetType": "UPDATE"}, "ValidationError", "does not exist"),
    ],
)
def test_what_is_refused_before_anything_is_made(aws: AwsSandbox, more: dict[str, Any], code: str, words: str) -> None:
    stacks = admin(aws)
    asked = {"StackName": NAME, "ChangeSetName": "x", "ChangeSetType": "CREATE", "TemplateBody": TEMPLATE}
    found = refused(stacks.create_change_set, **asked | {"Parameters": parameters(), "Capabilities": NAMED} | more)
    assert (found[0], words in found[1]) == (code, True), found
    assert not stacks.describe_stacks()["Stacks"]


@pytest.mark.parametrize("bounded", [False, True])
def test_the_shipped_bootstrap_role_suffices(aws: AwsSandbox, bounded: bool) -> None:
    own, env = admin(aws), aws.env()
    every = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}
    made = admin(aws, "iam").create_policy(PolicyName="bound", PolicyDocument=json.dumps(every))["Policy"]["Arn"]
    arn = made if bounded else ""
    given = {"BotPrincipalArn": f"arn:aws:iam::{HOME}:user/tkgbot", "ExternalId": "its-id", "RoleName": "tkgbot-way-in"}
    given["PermissionsBoundaryArn"] = arn
    own.create_stack(
        StackName="way-in", TemplateBody=BOOTSTRAP, Capabilities=NAMED,
        Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in given.items()],
    )  # fmt: skip
    assert settled(own, "way-in")["StackStatus"] == "CREATE_COMPLETE"
    keys = client(aws, "sts", env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"]).assume_role(
        RoleArn=f"arn:aws:iam::{SECOND}:role/tkgbot-way-in", RoleSessionName="check", ExternalId="its-id"
    )["Credentials"]
    stacks = client(aws, "cloudformation", keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"])
    stack = deployed(stacks, PermissionsBoundaryArn=arn)
    assert (stack["StackStatus"], failures(stacks)) == ("CREATE_COMPLETE", {})
    planned = change_set(stacks, "UPDATE", "second", PermissionsBoundaryArn=arn, ExternalId="other", TmcRead="true")
    assert "Add TmcReadPolicy" in changes(planned)
    stacks.execute_change_set(StackName=NAME, ChangeSetName="second")
    assert (settled(stacks)["StackStatus"], failures(stacks)) == ("UPDATE_COMPLETE", {})
    stacks.delete_stack(StackName=NAME)
    until(lambda: refused_or_none(own), "ValidationError")


def test_other_stacks_are_closed_to_the_bootstrap_role(aws: AwsSandbox) -> None:
    stacks = bootstrap(aws)
    code, said = refused(stacks.describe_stacks, StackName="payroll")
    assert (code, ":stack/payroll/* because no identity-based policy allows" in said) == ("AccessDenied", True)
    assert refused(stacks.describe_change_set, StackName=NAME, ChangeSetName="x") == (
        "ValidationError", f"Stack with id {NAME} does not exist",
    )  # fmt: skip


def test_the_short_forms_and_dates_are_read(aws: AwsSandbox) -> None:
    template = """
Parameters: {Who: {Type: String, Default: ec2.amazonaws.com}}
Conditions: {Plain: !Equals [!Ref Who, ec2.amazonaws.com], Odd: !Not [!Condition Plain]}
Resources:
  One:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument:
        Version: 2012-10-17
        Statement: [{Effect: Allow, Principal: {Service: !Ref Who}, Action: sts:AssumeRole}]
      Policies:
        - !If
          - Plain
          - PolicyName: a
            PolicyDocument:
              Version: 2012-10-17
              Statement: [{Effect: Allow, Action: !Join [":", [ec2, "*"]], Resource: "*"}]
          - !Ref AWS::NoValue
        - !If [Odd, {PolicyName: b, PolicyDocument: {}}, !Ref "AWS::NoValue"]
Outputs:
  Where: {Value: !GetAtt One.Arn}
  What: {Value: !Sub "${AWS::Partition} ${One} ${!kept} ${AWS::Region}"}
"""
    stacks = admin(aws)
    assert refused(stacks.create_stack, StackName="plain", TemplateBody=template)[1].endswith("[CAPABILITY_IAM]")
    stacks.create_stack(StackName="plain", TemplateBody=template, Capabilities=["CAPABILITY_IAM"])
    outputs = {entry["OutputKey"]: entry["OutputValue"] for entry in settled(stacks, "plain")["Outputs"]}
    role = outputs["Where"].rpartition("/")[2]
    assert role.startswith("plain-One-")
    assert outputs["What"] == f"aws {role} ${{kept}} us-east-1"
    assert admin(aws, "iam").list_role_policies(RoleName=role)["PolicyNames"] == ["a"]
