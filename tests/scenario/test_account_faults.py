"""What can be wrong when accounts are brought in: each time a sentence that says which side, and what to do next;
nothing changed that should not be, and nothing lost.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from bot.tour import buttons
from tests.scenario.accounts import (
    CONTROLLERS,
    IDENTITIES,
    POLICY,
    PRINCIPAL,
    READER,
    ROLES,
    SECOND,
    SID,
    STACK,
    SUFFIX,
    THIRD,
    answer,
    arn_of,
    assumable,
    by_bot,
    change_trust,
    client,
    done,
    ended,
    held,
    identity,
    make_roles,
    make_stack,
    offboard,
    onboard,
    onboarded,
    parameters_for,
    parked,
    resume,
    roles_in,
    running_accounts,
    shown,
    sids,
    status_of,
    thread,
    tidy,
    trust_of,
    wait_told,
)
from tests.scenario.clusters import DEFINITIONS, Administrator, approve, ask, wait_for
from tests.scenario.test_forms import close_all, type_for_modal
from tests.world import DEV, MANAGEMENT, TENANT, Json, World, eventually

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def shared() -> Iterator[World]:
    with running_accounts() as made:
        yield made


@pytest.fixture
def world(shared: World) -> Iterator[World]:
    shared.calm()
    shared.kube_faults(pace=0.1)
    yield shared
    tidy(shared)


def blocked(world: World, account: str, *said: str, more: tuple[str, ...] = (), name: str = "team-a") -> None:
    """The plan is blocked; the card says why, and nothing was made."""
    before = by_bot(world)
    card = onboard(world, account, name, *more, state="Blocked")
    text = shown(card)
    assert all(part in text for part in said), text
    assert "tkg:approve" not in buttons(card)
    assert by_bot(world) == before


def failed(world: World, card: Json) -> str:
    """Waits until the run has failed; the whole thread."""
    ended(world, card, "🔴", "Not begun, so not changed")
    return thread(world, card)


# -- words -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("account onboard 77778888999 --identity a --namespaces default", "an AWS account id (twelve digits)"),
        ("account onboard 777788889999 --identity a --namespaces default --duration 7200", "3600"),
        ("account onboard 777788889999 --identity A_b --namespaces default", "a name for an account"),
        ("account onboard 777788889999 --identity a --namespaces default --external-id x", "2 to 1,224 letters"),
        ("account onboard 777788889999 --identity a --namespaces default --trust all", "root"),
        ("account check nobody", "No identity is called nobody"),
        ("account get nobody", "No identity is called nobody"),
    ],
)
def test_words_that_will_not_do(shared: World, text: str, said: str) -> None:
    before = by_bot(shared)
    answer(shared, text, said)
    assert by_bot(shared) == before


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("account onboard 777788889999 --identity a", "once which namespaces may use the account"),
        ("account onboard 777788889999 --identity a --namespaces default --selector a=b", "once which namespaces"),
        ("account onboard 777788889999 --identity a --namespaces default --all-namespaces", "once which namespaces"),
        ("account check", "has to name an account, or --all"),
    ],
)
def test_what_is_missing_is_asked_for_in_a_form(shared: World, text: str, said: str) -> None:
    before = by_bot(shared)
    try:
        assert said in shown(type_for_modal(shared, DEV, text))
    finally:
        close_all(shared, DEV)
    assert by_bot(shared) == before


# -- before anybody approves -------------------------------------------------------------------------------------


def test_the_management_account_itself(world: World) -> None:
    blocked(world, MANAGEMENT, f"{MANAGEMENT} is the management account: its clusters need no identity")


def test_the_name_leads_to_another_account(world: World) -> None:
    spec = {"roleARN": arn_of(TENANT), "allowedNamespaces": {"list": ["default"]},
            "sourceIdentityRef": {"kind": "AWSClusterControllerIdentity", "name": "default"}}  # fmt: skip
    kind = {"kind": "AWSClusterRoleIdentity", "metadata": {"name": "taken"}, "spec": spec}
    Administrator(world).make(IDENTITIES, kind)
    blocked(world, SECOND, f"leads into account {TENANT} already", "take another name", name="taken")
    assert identity(world, "taken") == spec


def test_the_bootstrap_role_does_not_let_the_bot_in(world: World) -> None:
    """Its trust asks for another external id than the settings have."""
    iam = client(world, "iam", SECOND)
    before = iam.get_role(RoleName="tkgbot-bootstrap")["Role"]["AssumeRolePolicyDocument"]
    other = json.loads(json.dumps(before).replace("sandbox-bootstrap", "another-one"))
    iam.update_assume_role_policy(RoleName="tkgbot-bootstrap", PolicyDocument=json.dumps(other))
    try:
        blocked(world, SECOND, f"The bot may not become its bootstrap role in account {SECOND}", "external id")
    finally:
        iam.update_assume_role_policy(RoleName="tkgbot-bootstrap", PolicyDocument=json.dumps(before))


def test_a_trust_that_is_full(world: World) -> None:
    many = [f"{'x' * 60}{number:03}" for number in range(26)]
    full = {"Sid": "Full", "Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{THIRD}:root"},
            "Action": "sts:AssumeRole", "Condition": {"StringEquals": {"sts:ExternalId": many}}}  # fmt: skip
    make_roles(world, SECOND, full)
    before = trust_of(world, SECOND)
    blocked(world, SECOND, "AWS allows 2048", "Role trust policy length")
    assert trust_of(world, SECOND) == before


def test_a_deny_in_the_trust(world: World) -> None:
    """An explicit Deny wins over whatever is added, so nothing is added."""
    deny = {"Sid": "NotThem", "Effect": "Deny", "Principal": {"AWS": arn_of(MANAGEMENT, PRINCIPAL)},
            "Action": "sts:AssumeRole"}  # fmt: skip
    make_roles(world, SECOND, deny)
    blocked(world, SECOND, "NotThem", "take it off or narrow it")
    assert SID not in sids(world, SECOND)


def test_only_some_of_the_roles_are_there(world: World) -> None:
    make_roles(world, SECOND, only=(CONTROLLERS,))
    blocked(world, SECOND, "Only some of the roles are there", f"control-plane{SUFFIX}", f"nodes{SUFFIX}")


def test_a_trust_that_cannot_be_read(world: World) -> None:
    """IAM takes no such document; what is there, whoever left it, is never replaced unread."""
    make_roles(world, SECOND)
    place = f"/sandbox/aws/trust?account={SECOND}&role={CONTROLLERS}"
    before = trust_of(world, SECOND)
    world.view.http("POST", place, {"Version": "2012-10-17", "Statement": "let me in"})
    try:
        blocked(world, SECOND, f"The trust of {CONTROLLERS} cannot be read", "Mend it by hand in the account")
    finally:
        world.view.http("POST", place, before)


def test_a_stack_that_cannot_be_updated_any_more(world: World) -> None:
    """An earlier try of somebody else failed, and was rolled back."""
    make_roles(world, SECOND, only=(CONTROLLERS,))
    make_stack(world, SECOND, parameters_for("an-earlier-try"), ends="ROLLBACK_COMPLETE")
    iam = client(world, "iam", SECOND)
    iam.remove_role_from_instance_profile(InstanceProfileName=CONTROLLERS, RoleName=CONTROLLERS)
    iam.delete_role_policy(RoleName=CONTROLLERS, PolicyName="everything")
    iam.delete_role(RoleName=CONTROLLERS)
    blocked(world, SECOND, f"The stack {STACK} is ROLLBACK_COMPLETE", "Delete the stack in that account")


def test_an_organisation_that_forbids_what_the_roles_need(world: World) -> None:
    make_roles(world, SECOND)
    world.view.aws_faults(deny=["ec2:RunInstances"])
    blocked(
        world, SECOND, "A service control policy of the organisation forbids", "ec2:RunInstances", "Ask whoever owns"
    )


def test_no_provider_of_aws(world: World) -> None:
    admin = Administrator(world)
    theirs = [item for item in admin.list(DEFINITIONS) if item["spec"]["group"] == IDENTITIES.partition(".")[2]]
    try:
        for item in theirs:
            admin.delete(DEFINITIONS, item["metadata"]["name"])
        eventually(lambda: not any(admin.get(DEFINITIONS, item["metadata"]["name"]) for item in theirs))
        blocked(world, SECOND, "The management cluster has no AWSClusterRoleIdentity", "AWS provider")
        answer(world, "account list", "The management cluster has no AWSClusterRoleIdentity")
    finally:
        for item in theirs:
            whole = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", **item}
            admin.make(DEFINITIONS, whole)
        eventually(lambda: admin.ask("GET", admin.path(IDENTITIES))[0] == 200)


def test_no_rights_on_identities(world: World) -> None:
    admin, roles = Administrator(world), "clusterroles.rbac.authorization.k8s.io"
    role = admin.get(roles, "tkgbot")
    assert role is not None
    admin.patch(roles, "tkgbot", {"rules": [rule for rule in role["rules"] if "patch" not in rule["verbs"]]})
    try:
        blocked(world, SECOND, "The bot may not create", "awsclusterroleidentities", "RBAC of the management cluster")
    finally:
        admin.patch(roles, "tkgbot", {"rules": role["rules"]})


# -- after the approval ------------------------------------------------------------------------------------------


def test_an_account_where_nothing_answers(world: World) -> None:
    """Twelve digits that nobody has: the bot cannot tell them from an account whose stack is not made yet."""
    card = onboard(world, "999988887777", "nowhere")
    approve(world, card)
    told = parked(world, card)
    assert "Nobody has made the stack in account 999988887777 yet" in told
    assert "Not begun, so not changed: make the AWSClusterRoleIdentity nowhere" in told
    assert identity(world, "nowhere") is None


def test_the_trust_is_changed_between_the_look_and_the_write(world: World) -> None:
    """Nothing is written over a document that nobody has seen."""
    make_roles(world, SECOND)
    card = onboard(world, SECOND, "team-a")
    audit = {"Sid": "Audit", "Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{THIRD}:root"},
             "Action": "sts:AssumeRole"}  # fmt: skip
    with held(world, card, "cloudformation:CreateChangeSet"):
        change_trust(world, SECOND, lambda entries: [*entries, audit])
    told = failed(world, card)
    assert f"The trust of {CONTROLLERS} was changed after it was approved, so nothing was written" in told
    assert "(Sid Audit)" in told
    assert sids(world, SECOND) == ["", "Audit"]
    assert (assumable(world), identity(world, "team-a")) == ([], None)
    onboarded(world, SECOND, "team-a")
    assert sids(world, SECOND) == ["", "Audit", SID]


def test_the_trust_is_changed_before_the_run_looks_again(world: World) -> None:
    """The approval was for another document: it is void, and the card shows the new one."""
    make_roles(world, SECOND)
    card = onboard(world, SECOND, "team-a")
    deny = {"Sid": "NotThem", "Effect": "Deny", "Principal": {"AWS": arn_of(MANAGEMENT, PRINCIPAL)},
            "Action": "sts:AssumeRole"}  # fmt: skip
    change_trust(world, SECOND, lambda entries: [*entries, deny])
    approve(world, card)
    wait_for(world, card, "Blocked", "NotThem")
    assert "Things are not as they were when approved, so the approval is void" in thread(world, card)
    assert sids(world, SECOND) == ["", "NotThem"]


def test_a_name_is_taken_while_the_stack_is_made(world: World) -> None:
    """CloudFormation's own words; when both are mended, Resume finishes what was begun."""
    card = onboard(world, SECOND, "team-a")
    nodes = ROLES[1]
    with held(world, card, "cloudformation:ExecuteChangeSet"):
        make_roles(world, SECOND, only=(nodes,))
    told = parked(world, card)
    assert f"The stack {STACK} failed (ROLLBACK_COMPLETE)" in told, told
    assert nodes in told
    assert "already exists" in told
    assert f"delete the stack {STACK}" in told
    assert (assumable(world), identity(world, "team-a")) == ([], None)
    iam = client(world, "iam", SECOND)
    iam.remove_role_from_instance_profile(InstanceProfileName=nodes, RoleName=nodes)
    iam.delete_instance_profile(InstanceProfileName=nodes)
    iam.delete_role_policy(RoleName=nodes, PolicyName="everything")
    iam.delete_role(RoleName=nodes)
    client(world, "cloudformation", SECOND).delete_stack(StackName=STACK)
    eventually(lambda: status_of(world, SECOND) == "")
    resume(world, card)
    done(world, card)
    assert roles_in(world, SECOND) == sorted([*ROLES, READER])


def test_propagation_that_never_ends(world: World) -> None:
    """Everything is written and IAM does not act on it: what is in place is said, and Resume finishes it."""
    card = onboard(world, SECOND, "team-a")
    with held(world, card, "iam:PutRolePolicy"):
        world.view.aws_faults(iam_lag=100_000)
    told = parked(world, card)
    assert "Waiting until IAM has seen the change" in told, told
    assert f"Changed: make the stack {STACK} with the roles in {SECOND}" in told
    assert f"Changed: let {PRINCIPAL} of the management account assume {CONTROLLERS} of {SECOND}" in told
    assert "Not begun, so not changed: make the AWSClusterRoleIdentity team-a" in told
    assert identity(world, "team-a") is None
    world.view.aws_faults(iam_lag=0)
    resume(world, card)
    done(world, card)
    assert identity(world, "team-a") is not None


def test_propagation_that_takes_a_while(world: World) -> None:
    card = onboard(world, SECOND, "team-a")
    with held(world, card, "iam:PutRolePolicy"):
        world.view.aws_faults(iam_lag=60)
    done(world, card)
    assert world.view.http("GET", "/sandbox/aws/faults")["faults"]["iam_lag"] == 0, "all of it was waited out"


def test_throttling_in_the_middle(world: World) -> None:
    """AWS's client tries again, and then the run does; nothing is done twice."""
    card = onboard(world, SECOND, "team-a")
    with held(world, card, "iam:PutRolePolicy"):
        world.view.aws_faults(throttle_iam=3)
    done(world, card)
    assert assumable(world) == [arn_of(SECOND)]


def test_throttling_that_lasts_before_the_plan(world: World) -> None:
    world.view.aws_faults(throttle_iam=100_000)
    before = by_bot(world)
    card = ask(world, f"account onboard {SECOND} --identity team-a --namespaces default", "Failed: account onboard")
    told = wait_told(world, card, "Nothing was changed")
    assert "AWS is throttling account" in told
    assert by_bot(world) == before


def test_an_organisation_that_forbids_it_after_the_approval(world: World) -> None:
    """The management side is forbidden when the other is in place: that is said, and asking again finishes it."""
    card = onboard(world, SECOND, "team-a")
    with held(world, card, "iam:PutRolePolicy"):
        world.view.aws_faults(deny=["iam:PutRolePolicy"])
    told = failed(world, card)
    assert "by a service control policy of the organisation" in told, told
    assert f"Changed: make the stack {STACK} with the roles in {SECOND}" in told
    assert assumable(world) == []
    world.calm()
    again = onboard(world, SECOND, "team-a")
    assert "stack +" not in shown(again), "that is there"
    approve(world, again)
    done(world, again)


def test_an_organisation_that_forbids_what_the_new_roles_need(world: World) -> None:
    """Seen only when the roles are there: the run stops before anybody can use the account."""
    card = onboard(world, SECOND, "team-a")
    with held(world, card, "iam:PutRolePolicy"):
        world.view.aws_faults(deny=["ec2:RunInstances"])
    told = parked(world, card)
    assert "A service control policy of the organisation forbids" in told, told
    assert "ec2:RunInstances" in told
    assert identity(world, "team-a") is None
    world.view.aws_faults(deny=[])
    resume(world, card)
    done(world, card)


@pytest.mark.parametrize("action", ["cloudformation:CreateChangeSet", "cloudformation:ExecuteChangeSet"])
def test_an_answer_of_cloudformation_that_was_lost(world: World, action: str) -> None:
    """The client asks once more for what was done already: that is not taken for a failure."""
    card = onboard(world, SECOND, "team-a")
    world.lose_answer(action, lambda: approve(world, card))
    done(world, card)


def test_offboarding_what_is_not_there(world: World) -> None:
    before = by_bot(world)
    since = world.now()
    assert world.view.command(DEV, "account offboard nobody").get("acked")
    card = world.view.wait(DEV, "Blocked: offboard account nobody", since=since)
    assert "The management cluster has no AWSClusterRoleIdentity nobody" in shown(card)
    assert by_bot(world) == before


def test_what_is_left_of_an_account_is_cleared_away(world: World) -> None:
    """Somebody deleted the identity by hand: with the account's id the rest can still be taken out."""
    onboarded(world, SECOND, "team-a", "--external-id", "known-to-us")
    Administrator(world).delete(IDENTITIES, "team-a")
    out = offboard(world, SECOND, "team-a", "--account-id", SECOND, "--external-id", "known-to-us", "--stack")
    approve(world, out)
    done(world, out)
    assert (assumable(world), roles_in(world, SECOND)) == ([], [])
    assert client(world, "iam", MANAGEMENT).list_role_policies(RoleName=PRINCIPAL)["PolicyNames"].count(POLICY) == 0
