"""The CloudFormation templates: sound, small enough, just the rights that are written down, and made as meant."""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import boto3
import pytest
import yaml
from cfnlint.api import ManualArgs, lint
from moto import mock_aws

from handlers.clients.aws import READ_ACTIONS
from handlers.iam.documents import compact, size
from handlers.iam.need import Need
from handlers.iam.needed import CONTROL_PLANE, CONTROLLERS, EBS_CSI, NODES, TMC_READ, actions_in
from handlers.iam.rights import BOOTSTRAP, BOT, READER, Right
from handlers.iam.stack_resources import resources_made
from handlers.iam.trust import Caller, own_statement, sid_of, trusts

SECONDARY, BOOT, HOME = FILES = ("secondary-account.yaml", "bootstrap.yaml", "bot-management.yaml")
HERE = "123456789012"
MANAGEMENT = "111111111111"
CONTROLLERS_ARN = f"arn:aws:iam::{MANAGEMENT}:role/control-plane.cluster-api-provider-aws.sigs.k8s.io"
BOT_ARN = f"arn:aws:iam::{MANAGEMENT}:role/ours/tkgbot-pod"
SUFFIX = ".cluster-api-provider-aws.sigs.k8s.io"
LONGEST = "." + "x" * 50
GIVEN = {
    "ManagementAccountId": MANAGEMENT,
    "ControllersPrincipalArn": CONTROLLERS_ARN,
    "ExternalId": "tkgbot-4f1d",
    "BotPrincipalArn": BOT_ARN,
}
BOOTSTRAP_GIVEN = {"BotPrincipalArn": BOT_ARN, "ExternalId": "tkgbot-77aa"}
ANYTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
BODY_LIMIT = 51_200
"""CreateChangeSet, TemplateBody: bytes."""
MANAGED_LIMIT, INLINE_LIMIT, TRUST_LIMIT = 6_144, 10_240, 2_048
"""IAM User Guide, "IAM and AWS STS quotas": characters without white space."""


def text_of(name: str) -> str:
    return resources.files("manifests.iam").joinpath(name).read_text(encoding="utf-8")


def loaded(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(text_of(name))
    return found


# -- as text -----------------------------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize("name", FILES)
def test_cfn_lint_has_nothing_to_say(name: str) -> None:
    regions = ["us-east-1", "us-gov-west-1", "cn-north-1"]
    assert [str(match) for match in lint(text_of(name), config=ManualArgs(regions=regions))] == []


@pytest.mark.long
def test_cfn_lint_would_say_something() -> None:
    wrong = text_of(SECONDARY).replace("Ref: BotPrincipalArn", "Ref: Nobody").replace("ec2:RunInstances", "ec2:RunAll")
    assert {"E1020", "W3037"} <= {match.rule.id for match in lint(wrong, config=ManualArgs(regions=["us-east-1"]))}


@pytest.mark.parametrize("name", FILES)
def test_plain_yaml(name: str) -> None:
    """CloudFormation takes no aliases, and a date that is not quoted is no string. (CloudFormation User Guide,
    "Template formats".)"""
    assert not [token for token in yaml.scan(text_of(name)) if isinstance(token, yaml.AliasToken | yaml.AnchorToken)]
    assert json.loads(json.dumps(loaded(name))) == loaded(name)
    assert len(text_of(name).encode()) < BODY_LIMIT


@pytest.mark.parametrize("name", FILES)
def test_every_parameter_is_explained_and_bounded(name: str) -> None:
    template = loaded(name)
    parameters, console = template["Parameters"], template["Metadata"]["AWS::CloudFormation::Interface"]
    for parameter in parameters.values():
        assert len(parameter["Description"]) > 20
        assert "NoEcho" not in parameter  # a quick-create link can hold none
        assert ("AllowedValues" in parameter) != ("AllowedPattern" in parameter)
        assert "ConstraintDescription" in parameter or "AllowedValues" in parameter
    grouped = [entry for group in console["ParameterGroups"] for entry in group["Parameters"]]
    assert sorted(grouped) == sorted(parameters)
    assert set(console["ParameterLabels"]) == set(parameters)
    assert template["Metadata"]["TemplateVersion"] == template["Outputs"]["TemplateVersion"]["Value"]


@pytest.mark.parametrize(
    ("name", "parameter", "good", "bad"),
    [
        (SECONDARY, "ManagementAccountId", [MANAGEMENT], ["", "1234", f"{MANAGEMENT}1"]),
        (SECONDARY, "ControllersPrincipalArn", ["", CONTROLLERS_ARN, f"arn:aws-cn:iam::{MANAGEMENT}:user/capa"],
         ["*", f"arn:aws:iam::{MANAGEMENT}:root", f"arn:aws:sts::{MANAGEMENT}:assumed-role/a/b"]),
        (SECONDARY, "ExternalId", ["", "ab", "tkgbot-4f1d"], ["a", "two words", "semi;colon"]),
        (SECONDARY, "NameSuffix", [SUFFIX, ".tkg.cloud.vmware.com", LONGEST], ["", "*", ".a*", LONGEST + "x"]),
        (SECONDARY, "PermissionsBoundaryArn", ["", f"arn:aws:iam::{HERE}:policy/edge", "arn:aws:iam::aws:policy/A"],
         ["edge", f"arn:aws:iam::{HERE}:role/edge"]),
        (BOOT, "ExternalId", ["ab"], ["", "a"]),
        (BOOT, "StackName", ["tkgbot-cluster-access"], ["", "*", "1a", "a/b"]),
        (HOME, "TrustedPrincipalArn", [BOT_ARN], ["", "*", f"arn:aws:iam::{MANAGEMENT}:root"]),
    ],
)  # fmt: skip
def test_patterns(name: str, parameter: str, good: list[str], bad: list[str]) -> None:
    """CloudFormation matches a pattern against the whole value."""
    pattern = loaded(name)["Parameters"][parameter]["AllowedPattern"]
    assert [value for value in good if not re.fullmatch(pattern, value)] == []
    assert [value for value in bad if re.fullmatch(pattern, value)] == []


def test_the_management_account_is_refused() -> None:
    rules = loaded(SECONDARY)["Rules"]
    assert rules["AnotherAccount"]["Assertions"][0]["Assert"] == {
        "Fn::Not": [{"Fn::Equals": [{"Ref": "ManagementAccountId"}, {"Ref": "AWS::AccountId"}]}]
    }
    assert rules["SomebodyIsTrusted"]["RuleCondition"] == {"Fn::Equals": [{"Ref": "TrustWholeAccount"}, "false"]}


@pytest.mark.parametrize("name", FILES)
def test_partition_neutral(name: str) -> None:
    assert "arn:aws:" not in text_of(name)
    assert "ec2.amazonaws" not in text_of(name)


@pytest.mark.parametrize("name", FILES)
def test_every_role_has_the_boundary(name: str) -> None:
    template = loaded(name)
    roles = [entry for entry in template["Resources"].values() if entry["Type"] == "AWS::IAM::Role"]
    assert all(role["Properties"]["PermissionsBoundary"]["Fn::If"][2] == {"Ref": "AWS::NoValue"} for role in roles)


# -- the rights are those that are written down ------------------------------------------------------------------


def statements(name: str, resource: str) -> list[dict[str, Any]]:
    """The statements of one policy of a template."""
    found: list[dict[str, Any]] = loaded(name)["Resources"][resource]["Properties"]["PolicyDocument"]["Statement"]
    return found


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def plain(value: Any) -> str:
    """A resource or a value of a template as needed.py writes it."""
    text = str(value["Fn::Sub"]) if isinstance(value, dict) else str(value)
    for ours, theirs in (("{partition}", "${AWS::Partition}"), ("{account}", "${AWS::AccountId}"),
                         ("{suffix}", "${NameSuffix}"), ("{url_suffix}", "${AWS::URLSuffix}")):  # fmt: skip
        text = text.replace(theirs, ours)
    return text


def granted(name: str, resource: str) -> Counter[tuple[str, tuple[str, ...], Any]]:
    """Each action with its resources and its one condition."""
    found: Counter[tuple[str, tuple[str, ...], Any]] = Counter()
    for statement in statements(name, resource):
        assert statement["Effect"] == "Allow"
        assert set(statement) <= {"Effect", "Action", "Resource", "Condition"}
        condition = statement.get("Condition")
        context = None
        if condition is not None:
            assert list(condition) == ["StringEquals"]
            ((key, value),) = condition["StringEquals"].items()
            context = (key, plain(value))
        places = tuple(plain(place) for place in listed(statement["Resource"]))
        found.update((action, places, context) for action in listed(statement["Action"]))
    return found


@pytest.mark.parametrize(
    ("resource", "needs"),
    [
        ("AWSIAMManagedPolicyControllers", CONTROLLERS),
        ("AWSIAMManagedPolicyCloudProviderControlPlane", CONTROL_PLANE),
        ("AWSIAMManagedPolicyCloudProviderNodes", NODES),
        ("EbsCsiPolicy", EBS_CSI),
        ("TmcReadPolicy", TMC_READ),
    ],
)
def test_cluster_policies_grant_what_is_needed_and_no_more(resource: str, needs: tuple[Need, ...]) -> None:
    wanted = Counter((action, need.resources, need.context) for need in needs for action in need.actions)
    assert granted(SECONDARY, resource) == wanted


def by_sid(name: str, *places: str) -> dict[str, tuple[str, ...]]:
    return {
        entry["Sid"]: tuple(listed(entry["Action"])) for place in places for entry in statements(name, place)
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "places", "rights"),
    [
        (SECONDARY, ("ReaderPolicy", "SubnetTagsPolicy", "CleanupPolicy"), READER),
        (BOOT, ("BootstrapPolicy",), BOOTSTRAP),
        (HOME, ("ReadPolicy", "SubnetTagsPolicy", "CleanupPolicy", "OnboardingPolicy", "EnterPolicy"), BOT),
    ],
)
def test_the_bots_roles_grant_what_is_written_down(
    name: str, places: tuple[str, ...], rights: tuple[Right, ...]
) -> None:
    assert by_sid(name, *places) == {right.sid: right.actions for right in rights}


def test_the_bots_role_can_read_what_the_bot_reads() -> None:
    """Stacks are read in the other accounts only."""
    held = {action for right in BOT for action in right.actions}
    assert {action for action in READ_ACTIONS if not action.startswith("cloudformation:")} <= held


def test_only_reading_is_granted_everywhere() -> None:
    """In the bot's roles, a statement about everything names only actions that change nothing."""
    found = [
        (action, statement)
        for name, place in ((SECONDARY, "ReaderPolicy"), (BOOT, "BootstrapPolicy"),
                            (HOME, "ReadPolicy"))
        for statement in statements(name, place)
        if statement["Resource"] == "*"
        for action in listed(statement["Action"])
    ]  # fmt: skip
    assert len(found) > 15
    verb = re.compile(r"(Describe|Get|List|Simulate)")
    assert [action for action, _ in found if not verb.match(action.partition(":")[2])] == []


@pytest.mark.parametrize(("name", "place"), [(SECONDARY, "SubnetTagsPolicy"), (HOME, "SubnetTagsPolicy")])
def test_subnet_tags_are_bounded_by_their_keys(name: str, place: str) -> None:
    (statement,) = statements(name, place)
    keys = ["kubernetes.io/cluster/*", "kubernetes.io/role/elb", "kubernetes.io/role/internal-elb"]
    assert statement["Condition"] == {
        "ForAllValues:StringLike": {"aws:TagKeys": keys},
        "Null": {"aws:TagKeys": "false"},  # else a DeleteTags without keys would pass, which deletes every tag
    }
    assert statement["Resource"]["Fn::Sub"].endswith(":subnet/*")


# -- as AWS makes it ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", autouse=True)
def _importable() -> None:
    """moto's CloudFormation imports its API Gateway, which wants a library for OpenAPI that no template here needs."""
    names = ("openapi_spec_validator", "openapi_spec_validator.validation",
             "openapi_spec_validator.validation.exceptions")  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        if find_spec(names[0]) is None:
            for name in names:
                patch.setitem(sys.modules, name, MagicMock(OpenAPIValidationError=ValueError))
        importlib.import_module("moto.cloudformation.parsing")


@contextmanager
def deployed(name: str, parameters: dict[str, str]) -> Iterator[Any]:
    """The stack in an empty account: its outputs and an IAM client."""
    with mock_aws():
        session = boto3.Session(region_name="us-east-1")
        cloudformation, iam = session.client("cloudformation"), session.client("iam")
        boundary = iam.create_policy(
            PolicyName="edge",
            PolicyDocument=compact(ANYTHING),
        )["Policy"]["Arn"]  # fmt: skip
        assert boundary == f"arn:aws:iam::{HERE}:policy/edge"
        cloudformation.create_stack(
            StackName="tkgbot-cluster-access", TemplateBody=text_of(name), Capabilities=["CAPABILITY_NAMED_IAM"],
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        )  # fmt: skip
        stack = cloudformation.describe_stacks(StackName="tkgbot-cluster-access")["Stacks"][0]
        assert stack["StackStatus"] == "CREATE_COMPLETE"
        outputs = {entry["OutputKey"]: entry["OutputValue"] for entry in stack["Outputs"]}
        listing = cloudformation.list_stack_resources(StackName="tkgbot-cluster-access")["StackResourceSummaries"]
        made = sorted({entry["LogicalResourceId"] for entry in listing} - {""})  # moto lists something nameless as well
        yield SimpleNamespace(outputs=outputs, iam=iam, made=made)


def roles_of(iam: Any) -> dict[str, Any]:
    """By name: trust, boundary, attached policies and inline ones."""
    found = {}
    for role in iam.list_roles()["Roles"]:
        name = role["RoleName"]
        attached = iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]
        found[name] = SimpleNamespace(
            trust=role["AssumeRolePolicyDocument"],
            boundary=iam.get_role(RoleName=name)["Role"].get("PermissionsBoundary", {}).get("PermissionsBoundaryArn"),
            attached={policy["PolicyName"] for policy in attached},
            inline={
                policy: iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
                for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]
            },
        )
    return found


def policy_document(iam: Any, arn: str) -> dict[str, Any]:
    found: dict[str, Any] = iam.get_policy_version(PolicyArn=arn, VersionId="v1")["PolicyVersion"]["Document"]
    return found


def caller(arn: str, external_id: str | None) -> Caller:
    return Caller(arn=arn, account=arn.split(":")[4], external_id=external_id, partition="aws")


def test_the_whole_stack() -> None:
    with deployed(SECONDARY, GIVEN) as stack:
        roles = roles_of(stack.iam)
        profiles = stack.iam.list_instance_profiles()["InstanceProfiles"]
    cluster = [f"{kind}{SUFFIX}" for kind in ("control-plane", "controllers", "nodes")]
    plane, controllers, nodes = cluster
    assert set(roles) == {*cluster, "tkgbot-reader"}
    assert {p["InstanceProfileName"]: [r["RoleName"] for r in p["Roles"]] for p in profiles} == {
        n: [n] for n in cluster
    }
    assert roles[controllers].attached == {controllers}
    assert roles[plane].attached == {plane, nodes}
    assert roles[nodes].attached == {nodes}
    assert {name: set(role.inline) for name, role in roles.items()} == {
        plane: {"tkgbot-ebs-csi"}, controllers: set(), nodes: set(), "tkgbot-reader": {"read", "subnet-tags"},
    }  # fmt: skip
    assert {role.boundary for role in roles.values()} == {None}
    ec2 = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
    assert roles[plane].trust == roles[nodes].trust == {"Version": "2012-10-17", "Statement": [ec2]}
    assert roles[controllers].trust["Statement"][0] == ec2
    assert stack.outputs == {
        "ControllersRoleArn": f"arn:aws:iam::{HERE}:role/{controllers}",
        "ReaderRoleArn": f"arn:aws:iam::{HERE}:role/tkgbot-reader",
        "TemplateVersion": "1",
    }


@pytest.mark.parametrize("external_id", ["", "tkgbot-4f1d"])
@pytest.mark.parametrize("whole", [False, True])
def test_the_trust_is_the_one_that_the_bot_would_write(external_id: str, whole: bool) -> None:
    given = {**GIVEN, "ExternalId": external_id, "TrustWholeAccount": "true" if whole else "false"}
    with deployed(SECONDARY, given) as stack:
        trust = roles_of(stack.iam)[f"controllers{SUFFIX}"].trust
    condition: dict[str, Any] = {"StringEquals": {"sts:ExternalId": external_id}} if external_id else {}
    if not whole:
        condition["ArnEquals"] = {"aws:PrincipalArn": CONTROLLERS_ARN}
    written = {
        "Sid": f"Tkgbot{MANAGEMENT}",
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{MANAGEMENT}:root"},
        "Action": "sts:AssumeRole",
        **({"Condition": condition} if condition else {}),
    }
    assert trust["Statement"][1] == written
    assert trust["Statement"][1] == own_statement(
        sid=sid_of(MANAGEMENT), management_account=MANAGEMENT, partition="aws", principal_arn=CONTROLLERS_ARN,
        external_id=external_id or None, whole_account=whole,
    )  # fmt: skip
    assert len(trust["Statement"]) == 2


@pytest.mark.parametrize(
    ("name", "given"),
    [
        (SECONDARY, GIVEN),
        (SECONDARY, {**GIVEN, "TmcRead": "true", "EbsCsi": "false"}),
        (SECONDARY, {**GIVEN, "MakeClusterRoles": "false", "TmcRead": "true"}),
        (SECONDARY, {**GIVEN, "MakeClusterRoles": "false", "SubnetTags": "false"}),
        (BOOT, BOOTSTRAP_GIVEN),
        (SECONDARY, {**GIVEN, "Cleanup": "true"}),
        (HOME, {"TrustedPrincipalArn": BOT_ARN, "Cleanup": "true"}),
        (HOME, {"TrustedPrincipalArn": BOT_ARN}),
        (HOME, {"TrustedPrincipalArn": BOT_ARN, "ControllersPrincipalArn": CONTROLLERS_ARN, "SubnetTags": "false"}),
    ],
)
def test_what_is_made_is_known_beforehand(name: str, given: dict[str, str]) -> None:
    with deployed(name, given) as stack:
        assert list(resources_made(loaded(name), given)) == stack.made


def test_the_reader_alone() -> None:
    given = {**GIVEN, "MakeClusterRoles": "false", "SubnetTags": "false", "TmcRead": "true", "ReaderRoleName": "looks"}
    with deployed(SECONDARY, given) as stack:
        roles = roles_of(stack.iam)
        assert stack.iam.list_instance_profiles()["InstanceProfiles"] == []
    assert {name: set(role.inline) for name, role in roles.items()} == {"looks": {"read"}}
    assert stack.outputs["ControllersRoleArn"] == f"arn:aws:iam::{HERE}:role/controllers{SUFFIX}"
    assert stack.outputs["ReaderRoleArn"] == f"arn:aws:iam::{HERE}:role/looks"


def test_with_everything_and_the_longest_names() -> None:
    given = {
        **GIVEN, "PermissionsBoundaryArn": f"arn:aws:iam::{HERE}:policy/edge", "TmcRead": "true", "NameSuffix": LONGEST,
        "ControllersOnControlPlane": "true", "ReaderRoleName": "r" * 64,
    }  # fmt: skip
    with deployed(SECONDARY, given) as stack:
        roles = roles_of(stack.iam)
        policies = {p["PolicyName"]: p for p in stack.iam.list_policies(Scope="Local")["Policies"]}
        documents = {name: policy_document(stack.iam, p["Arn"]) for name, p in policies.items()}
    assert {role.boundary for role in roles.values()} == {f"arn:aws:iam::{HERE}:policy/edge"}
    assert roles[f"control-plane{LONGEST}"].attached == {
        f"{k}{LONGEST}" for k in ("control-plane", "controllers", "nodes")
    }
    assert set(roles[f"control-plane{LONGEST}"].inline) == {"tkgbot-ebs-csi", "tkgbot-tmc-read"}
    assert set(roles[f"nodes{LONGEST}"].inline) == {"tkgbot-tmc-read"}
    assert len(documents) == 4
    assert max(size(document) for document in documents.values()) < MANAGED_LIMIT
    assert max(sum(size(document) for document in role.inline.values()) for role in roles.values()) < INLINE_LIMIT


def test_machines_can_only_be_started_with_the_machines_roles() -> None:
    with deployed(SECONDARY, GIVEN) as stack:
        document = policy_document(stack.iam, f"arn:aws:iam::{HERE}:policy/controllers{SUFFIX}")
    (passing,) = [entry for entry in document["Statement"] if "iam:PassRole" in entry["Action"]]
    assert passing["Resource"] == [f"arn:aws:iam::{HERE}:role/{kind}{SUFFIX}" for kind in ("control-plane", "nodes")]
    assert passing["Condition"] == {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}


@pytest.mark.parametrize(
    ("name", "given", "role"),
    [(SECONDARY, GIVEN, "tkgbot-reader"), (BOOT, BOOTSTRAP_GIVEN, "tkgbot-bootstrap")],
)
def test_only_the_bot_gets_in(name: str, given: dict[str, str], role: str) -> None:
    with deployed(name, given) as stack:
        trust = roles_of(stack.iam)[role].trust
    bot = caller(BOT_ARN, given["ExternalId"])
    assert trusts(trust, bot).result == "allows"
    assert trusts(trust, bot, "sts:SetSourceIdentity").result == "allows"
    assert trusts(trust, bot, "sts:TagSession").result == "allows"
    assert trusts(trust, caller(BOT_ARN, "guess")).result == "silent"
    assert trusts(trust, caller(CONTROLLERS_ARN, given["ExternalId"])).result == "silent"
    assert size(trust) < TRUST_LIMIT


def test_the_bootstrap_role_keeps_to_the_stack() -> None:
    given = {**BOOTSTRAP_GIVEN, "PermissionsBoundaryArn": f"arn:aws:iam::{HERE}:policy/edge"}
    with deployed(BOOT, given) as stack:
        found = {entry["Sid"]: entry for entry in roles_of(stack.iam)["tkgbot-bootstrap"].inline["deploy"]["Statement"]}
    names = {f"{kind}{SUFFIX}" for kind in ("controllers", "control-plane", "nodes")}
    for sid in ("RolesRead", "RolesKept", "RolesMade", "PoliciesAttached"):
        assert {arn.partition(":role/")[2] for arn in found[sid]["Resource"]} == {*names, "tkgbot-reader"}
    assert {arn.partition(":policy/")[2] for arn in found["Policies"]["Resource"]} == names
    assert {arn.partition(":instance-profile/")[2] for arn in found["Profiles"]["Resource"]} == names
    edge = {"iam:PermissionsBoundary": f"arn:aws:iam::{HERE}:policy/edge"}
    assert found["RolesMade"]["Condition"] == {"StringEquals": edge}
    assert found["PoliciesAttached"]["Condition"]["StringEquals"] == edge
    assert found["PoliciesAttached"]["Condition"]["ArnEquals"]["iam:PolicyARN"] == found["Policies"]["Resource"]
    assert found["Stack"]["Resource"] == f"arn:aws:cloudformation:*:{HERE}:stack/tkgbot-cluster-access/*"
    assert not any(action.startswith("iam:DeleteRolePermissions") for right in BOOTSTRAP for action in right.actions)


def test_the_bootstrap_role_without_a_boundary() -> None:
    with deployed(BOOT, BOOTSTRAP_GIVEN) as stack:
        role = roles_of(stack.iam)["tkgbot-bootstrap"]
    found = {entry["Sid"]: entry for entry in role.inline["deploy"]["Statement"]}
    assert "Condition" not in found["RolesMade"]
    assert list(found["PoliciesAttached"]["Condition"]) == ["ArnEquals"]
    assert size(role.inline["deploy"]) < INLINE_LIMIT
    assert stack.outputs["BootstrapRoleArn"] == f"arn:aws:iam::{HERE}:role/tkgbot-bootstrap"


def test_the_bots_own_role() -> None:
    given = {"TrustedPrincipalArn": BOT_ARN, "ControllersPrincipalArn": CONTROLLERS_ARN}
    with deployed(HOME, given) as stack:
        role = roles_of(stack.iam)["tkgbot"]
    assert role.attached == {"tkgbot-enter"}
    assert set(role.inline) == {"read", "subnet-tags", "onboarding"}
    assert role.inline["onboarding"]["Statement"][0]["Resource"] == CONTROLLERS_ARN
    assert "Condition" not in role.trust["Statement"][0]
    assert trusts(role.trust, caller(BOT_ARN, None)).result == "allows"
    assert trusts(role.trust, caller(CONTROLLERS_ARN, None)).result == "silent"
    assert stack.outputs["EnterPolicyArn"] == f"arn:aws:iam::{HERE}:policy/tkgbot-enter"


def test_a_bot_that_onboards_nothing() -> None:
    with deployed(HOME, {"TrustedPrincipalArn": BOT_ARN, "SubnetTags": "false"}) as stack:
        assert set(roles_of(stack.iam)["tkgbot"].inline) == {"read"}


def test_the_stack_only_makes_what_the_bootstrap_role_may_make() -> None:
    """Every resource type of the stack, with the actions that CloudFormation needs to make and delete it."""
    makes = {
        "AWS::IAM::Role": "iam:CreateRole iam:DeleteRole iam:GetRole iam:UpdateAssumeRolePolicy iam:PutRolePolicy",
        "AWS::IAM::InstanceProfile": "iam:CreateInstanceProfile iam:AddRoleToInstanceProfile iam:PassRole "
        "iam:RemoveRoleFromInstanceProfile iam:DeleteInstanceProfile iam:GetInstanceProfile",
        "AWS::IAM::ManagedPolicy": "iam:CreatePolicy iam:AttachRolePolicy iam:DetachRolePolicy iam:DeletePolicy "
        "iam:ListPolicyVersions iam:CreatePolicyVersion iam:DeletePolicyVersion iam:GetPolicy",
        "AWS::IAM::Policy": "iam:PutRolePolicy iam:DeleteRolePolicy iam:GetRolePolicy",
    }
    held = {action for right in BOOTSTRAP for action in right.actions}
    kinds = {entry["Type"] for entry in loaded(SECONDARY)["Resources"].values()}
    assert kinds == set(makes)
    assert {action for kind in kinds for action in makes[kind].split()} <= held
    assert not held & set(actions_in(CONTROLLERS)) - {"iam:PassRole"}
