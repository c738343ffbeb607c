"""Rights, three times the same: what steps declare, what the templates grant, and what a session can carry."""

from __future__ import annotations

import json
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cache
from importlib import resources
from typing import Any

import pytest

from handlers.account_rights import Names, grant_actions, home_look_actions, look_actions, stack_actions, trust_actions
from handlers.clients.aws import POLICY_LIMIT, READ_ACTIONS, session_policy
from handlers.contract import Action, Door, Plan
from handlers.iam.documents import Document
from handlers.iam.permits import permits
from handlers.iam.rights import BOOTSTRAP, BOT, READER
from handlers.settings import ClusterSettings, Onboarding
from handlers.steps.leftover import ACTIONS
from sandbox.aws.cloudformation.scope import Scope
from sandbox.aws.cloudformation.template import Template
from tests.unit.account_worlds import (
    CONTROLLERS,
    HOME,
    REGION,
    SECOND,
    SUFFIX,
    THIRD,
    Ties,
    blocked,
    carried_out,
    onboarding,
    planned,
    running_ties,
)

pytestmark = pytest.mark.long

PRINCIPAL = f"arn:aws:iam::{HOME}:role/control-plane{SUFFIX}"
BOUNDARY = f"arn:aws:iam::{SECOND}:policy/edge"
LONGEST = "." + "x" * 50
READS = ("Describe", "Get", "List", "Simulate")
ENTERING = {"sts:AssumeRole", "sts:SetSourceIdentity", "sts:TagSession"}
"""What no step declares: the bot's own user does it, before there is a session."""
GIVEN = {
    "bot-management.yaml": {"TrustedPrincipalArn": f"arn:aws:iam::{HOME}:user/tkgbot"},
    "bootstrap.yaml": {"BotPrincipalArn": f"arn:aws:iam::{HOME}:user/tkgbot", "ExternalId": "sandbox-bootstrap"},
    "secondary-account.yaml": {
        "ManagementAccountId": HOME, "ControllersPrincipalArn": PRINCIPAL,
        "BotPrincipalArn": f"arn:aws:iam::{HOME}:user/tkgbot",
    },
}  # fmt: skip
FILES = {
    "tkgbot": "bot-management.yaml",
    "tkgbot-bootstrap": "bootstrap.yaml",
    "tkgbot-reader": "secondary-account.yaml",
}


@cache
def policies(role: str, account: str, **given: str) -> dict[str, Document]:
    """The inline policies of one of the bot's roles, as its template makes them in an account."""
    file = FILES[role]
    made = Template(resources.files("manifests.iam").joinpath(file).read_text(encoding="utf-8"))
    known = {**GIVEN[file], **given}
    pseudo = {
        "AWS::Partition": "aws", "AWS::AccountId": account, "AWS::URLSuffix": "amazonaws.com",
        "AWS::Region": REGION, "AWS::StackName": "tkgbot-cluster-access",
    }  # fmt: skip
    owner = {"tkgbot": "BotRole", "tkgbot-bootstrap": "BootstrapRole", "tkgbot-reader": "ReaderRole"}[role]
    scope = Scope(made, {**pseudo, **made.parameters(known)}, {owner: {"Ref": role}})
    found = {}
    for name in scope.active():
        entry = made.resources[name]
        if entry["Type"] == "AWS::IAM::Policy" and entry["Properties"]["Roles"] == [{"Ref": owner}]:
            properties = scope.value(entry["Properties"])
            found[properties["PolicyName"]] = properties["PolicyDocument"]
    return found


@pytest.fixture(scope="module")
def ties(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ties]:
    """A world in which the bot's roles have exactly the rights of the templates, with a permissions boundary."""
    with running_ties(tmp_path_factory.mktemp("ties")) as running:
        second, home = running.admin("iam", SECOND), running.admin("iam", HOME)
        anything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
        assert second.create_policy(PolicyName="edge", PolicyDocument=json.dumps(anything))["Policy"]["Arn"] == BOUNDARY
        boundary = {"PermissionsBoundaryArn": BOUNDARY}
        replace_policies(second, "tkgbot-bootstrap", policies("tkgbot-bootstrap", SECOND, **boundary))
        replace_policies(home, "tkgbot", policies("tkgbot", HOME, ControllersPrincipalArn=PRINCIPAL))
        yield running


def replace_policies(iam: Any, role: str, wanted: dict[str, Document]) -> None:
    """The role's inline policies are then exactly these."""
    for name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
        iam.delete_role_policy(RoleName=role, PolicyName=name)
    for name, document in wanted.items():
        iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(document))


@pytest.fixture(scope="module")
def plans(ties: Ties) -> dict[str, Plan]:
    """Every plan of the bot that changes an account, each carried out with the templates' rights in turn: an account
    is brought in, its trust loses the bot's statement and gets it again, it goes, and comes once more to be adopted."""
    shop = ties.with_settings(permissions_boundary=BOUNDARY)
    found: dict[str, Plan] = {}

    def done(name: str, plan: Plan) -> None:
        found[name] = plan
        assert carried_out(shop, plan)

    done("made", onboarding(shop))
    subnets = list(ties.aws.describe()["accounts"][SECOND]["vpcs"]["second"]["subnets"].values())[:2]
    tagging = {"cluster": "far", "subnets": subnets, "account": "team-a", "region": REGION}
    done("tags there", planned(shop, "subnet tag", **tagging))
    done("untags there", planned(shop, "subnet untag", **tagging))
    own = list(ties.aws.describe()["accounts"][HOME]["vpcs"]["demo"]["subnets"].values())[:2]
    done("tags", planned(shop, "subnet tag", cluster="near", subnets=own))
    done("untags", planned(shop, "subnet untag", cluster="near", subnets=own))
    mine = ties.trust()
    ties.admin("iam").update_assume_role_policy(
        RoleName=f"controllers{SUFFIX}", PolicyDocument=json.dumps({**mine, "Statement": mine["Statement"][:1]})
    )
    done("trusted", onboarding(shop))
    done("let go", planned(shop, "account offboard", account="team-a"))
    done("taken back", onboarding(shop, trust="root"))
    done("deleted", planned(shop, "account offboard", account="team-a", stack=True))
    theirs = {**GIVEN["secondary-account.yaml"], "ReaderRoleName": "theirs", "ExternalId": "of-long-ago"}
    ties.person_makes_a_stack(SECOND, "tkg-roles", theirs)
    done("adopted", onboarding(shop))
    done("given back", planned(shop, "account offboard", account="team-a", stack=True))
    found["by a person"] = planned(
        shop, "account onboard", account_id=THIRD, identity="team-b", namespaces="default"
    )  # fmt: skip
    assert not blocked(found["by a person"])
    return found


# -- the templates grant what steps declare ----------------------------------------------------------------------


def test_the_templates_rights_are_enough_for_every_run(plans: dict[str, Plan]) -> None:
    """The fixture carries them out in an AWS that enforces those rights; this says which steps that were."""
    kinds = {name: [step.kind for step in plan.steps] for name, plan in plans.items()}
    assert kinds["made"] == ["stack", "grant", "await-access", "apply"]
    assert kinds["trusted"] == ["trust", "await-access"]
    assert kinds["let go"] == ["remove", "revoke", "trust"]
    assert kinds["deleted"] == ["remove", "revoke", "unstack"]
    assert kinds["adopted"] == ["stack", "trust", "grant", "await-access", "apply"]
    assert kinds["given back"] == ["remove", "revoke", "trust", "unstack"]
    assert set(kinds["by a person"]) == {"await-stack", "grant", "await-access", "apply"}
    assert {kind for steps in kinds.values() for kind in steps} == {
        "stack", "unstack", "trust", "grant", "revoke", "await-stack", "await-access", "apply", "remove", "tag",
        "untag",
    }  # fmt: skip


def role_of(action: Action) -> tuple[str, str]:
    """By which of the bot's roles, in which account, an action is carried out."""
    names = {"management": ("tkgbot", HOME), "team-a": ("tkgbot-reader", SECOND)}
    role, _, account = action.account.partition(" of ")
    return names.get(action.account, (role, account))


def concrete(action: Action, pattern: str, account: str) -> list[str]:
    """Resources that a pattern of a step stands for."""
    if pattern == "*" and action.name.startswith("iam:"):
        kind = "instance-profile" if "Profile" in action.name else "role"
        return [f"arn:aws:iam::{account}:{kind}/controllers{SUFFIX}"]
    if pattern.endswith(f"/*{SUFFIX}"):
        return [pattern.replace("/*", f"/{role}") for role in ("controllers", "control-plane", "nodes")]
    return [pattern.replace("stack/tkgbot-cluster-access/*", "stack/tkgbot-cluster-access/1-2-3")]


def spelled(name: str) -> list[str]:
    """A declared action, or those that a wildcard in it stands for."""
    known = {action for right in BOT + READER + BOOTSTRAP for action in right.actions}
    return sorted(action for action in known if fnmatchcase(action, name)) if "*" in name else [name]


def denied(action: Action) -> list[str]:
    """Which of a step's actions its role does not grant on any of the resources that the step names."""
    role, account = role_of(action)
    given = {"PermissionsBoundaryArn": BOUNDARY} if role == "tkgbot-bootstrap" else {}
    more = {"ControllersPrincipalArn": PRINCIPAL} if role == "tkgbot" else given
    documents = list(policies(role, account, **more).values())
    keys = action.conditions.get("ForAllValues:StringEquals", {})
    context: dict[str, Any] = {
        "iam:PermissionsBoundary": BOUNDARY, "iam:PolicyARN": f"arn:aws:iam::{account}:policy/nodes{SUFFIX}",
        "aws:TagKeys": tuple(keys.get("aws:TagKeys", ())) if isinstance(keys, dict) else (),
    }  # fmt: skip
    places = [place for pattern in action.resources for place in concrete(action, pattern, account)]
    return [
        f"{role}: {name} on {places}"
        for name in spelled(action.name)
        if not any(permits(documents, name, place, context) == "allow" for place in places)
    ]


def test_each_declared_action_is_granted_to_the_role_that_carries_it_out(plans: dict[str, Plan]) -> None:
    every = {
        action.model_dump_json(): action for plan in plans.values() for step in plan.steps for action in step.actions
    }
    assert len(every) > 50
    assert [lack for action in every.values() for lack in denied(action)] == []


def test_a_right_that_is_missing_would_be_seen() -> None:
    door = Door(account_id=SECOND, region=REGION, role_arn=f"arn:aws:iam::{SECOND}:role/tkgbot-reader")
    action = Action(name="iam:PutRolePolicy", account=door.name, region=REGION, resources=(CONTROLLERS,))
    assert denied(action) == [f"tkgbot-reader: iam:PutRolePolicy on ['{CONTROLLERS}']"]


def test_everything_that_changes_something_is_needed_by_a_step(plans: dict[str, Plan]) -> None:
    """No role of the bot may change what no step would; the user's policies are for controllers that are a user."""
    user = grant_actions("management", REGION, f"arn:aws:iam::{HOME}:user/capa", "user")
    cleanup = {action for actions in ACTIONS.values() for action in actions}
    declared: dict[str, set[str]] = {
        "tkgbot": {*(action.name for action in user), *cleanup},
        "tkgbot-reader": {*cleanup},
    }
    for plan in plans.values():
        for action in (action for step in plan.steps for action in step.actions):
            declared.setdefault(role_of(action)[0], set()).update(spelled(action.name))
    unused = [
        f"{right.role} {action}"
        for right in BOT + READER + BOOTSTRAP
        for action in right.actions
        if not action.partition(":")[2].startswith(READS) and action not in ENTERING | declared[right.role]
    ]
    assert unused == []


# -- reading -----------------------------------------------------------------------------------------------------

HOME_READS = tuple(action for action in READ_ACTIONS if not action.startswith("cloudformation:"))
"""Stacks are read in other accounts only."""
INSIDE_READS = (
    "sts:GetCallerIdentity", "iam:GetRole", "iam:GetInstanceProfile", "iam:SimulatePrincipalPolicy",
    "cloudformation:DescribeStacks", "cloudformation:DescribeStackEvents", "cloudformation:GetTemplate",
)  # fmt: skip
NETWORK_READS = ("ec2:DescribeSubnets", "elasticloadbalancing:DescribeLoadBalancers", "servicequotas:GetServiceQuota")


@pytest.mark.parametrize(
    ("role", "account", "wanted"),
    [
        ("tkgbot", HOME, HOME_READS),
        ("tkgbot-reader", SECOND, (*INSIDE_READS, *NETWORK_READS)),
        ("tkgbot-bootstrap", SECOND, INSIDE_READS),
    ],
)
def test_what_is_read_is_granted_and_within_a_reading_session(role: str, account: str, wanted: tuple[str, ...]) -> None:
    documents = list(policies(role, account).values())
    places = {
        "cloudformation": f"arn:aws:cloudformation:{REGION}:{account}:stack/tkgbot-cluster-access/1-2-3",
        "iam": f"arn:aws:iam::{account}:role/controllers{SUFFIX}",
        "iam:GetInstanceProfile": f"arn:aws:iam::{account}:instance-profile/nodes{SUFFIX}",
    }
    for name in wanted:
        place = places.get(name) or places.get(name.partition(":")[0], "*")
        assert permits(documents, name, place) == "allow", name
        assert any(fnmatchcase(name, allowed) for allowed in READ_ACTIONS), name


def test_what_the_bot_really_read_was_in_those_lists(ties: Ties, plans: dict[str, Plan]) -> None:
    """Every call that only looks, from the sandbox's log, was allowed: the templates' roles are the only ones here."""
    assert plans
    refused = [
        call for call in ties.aws.calls
        if call["outcome"] in ("AccessDenied", "UnauthorizedOperation") and call["action"] != "sts:AssumeRole"
    ]  # fmt: skip
    assert [f"{call['principal']} {call['action']}" for call in refused] == []
    assert len([call for call in ties.aws.calls if "slack-" in (call["session"] or "")]) > 100


# -- what a session can carry ------------------------------------------------------------------------------------


def test_the_longest_names_are_those_that_the_settings_allow() -> None:
    ClusterSettings(iam_suffix=LONGEST)
    with pytest.raises(ValueError, match="51"):
        ClusterSettings(iam_suffix=f"{LONGEST}x")  # control-plane and 51 characters are the 64 of a role's name
    Onboarding(reader_role="r" * 64, stack_name="s" * 128)
    with pytest.raises(ValueError, match="reader_role"):
        Onboarding(reader_role="r" * 65)
    with pytest.raises(ValueError, match="stack_name"):
        Onboarding(stack_name="s" * 129)


@pytest.mark.parametrize(("partition", "region"), [("aws", "ap-southeast-2"), ("aws-us-gov", "us-gov-west-1")])
@pytest.mark.parametrize("drop", [False, True])
def test_all_rights_of_a_plan_in_an_account_fit_into_one_session(partition: str, region: str, drop: bool) -> None:
    """A run has one session for an account, with the rights of all its steps there."""
    names = Names(partition, SECOND, LONGEST, "r" * 64, "s" * 128)
    role = f"arn:{partition}:iam::{SECOND}:role/controllers{LONGEST}"
    door = Door(account_id=SECOND, region=region, role_arn=f"arn:{partition}:iam::{SECOND}:role/tkgbot-bootstrap")
    both = (*stack_actions(door, names, drop=drop), *trust_actions(door, role, write=True))
    assert len(session_policy(both)) < POLICY_LIMIT


def test_the_management_accounts_session_fits_whoever_the_controllers_are() -> None:
    principal = f"arn:aws-us-gov:iam::{HOME}:role/{'p' * 510}/{'r' * 64}"
    both = (*grant_actions("m", REGION, principal, "role"), *home_look_actions("m", REGION))
    assert len(session_policy(both)) < POLICY_LIMIT
    door = Door(account_id=SECOND, region=REGION, role_arn=f"arn:aws:iam::{SECOND}:role/{'r' * 64}")
    assert len(session_policy(look_actions(door))) < POLICY_LIMIT
    reading = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": READ_ACTIONS, "Resource": "*"}]}
    assert len(json.dumps(reading, separators=(",", ":"))) < POLICY_LIMIT


def test_every_plan_fits(plans: dict[str, Plan]) -> None:
    for name, plan in plans.items():
        places = {(action.account, action.region) for step in plan.steps for action in step.actions}
        for account, region in places:
            mine = [a for step in plan.steps for a in step.actions if (a.account, a.region) == (account, region)]
            assert len(session_policy(tuple(mine))) < POLICY_LIMIT, name
