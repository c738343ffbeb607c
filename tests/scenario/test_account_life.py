"""An account's life as people see it: brought in, checked, used, and let go, with both sides seen in AWS itself."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import yaml

from bot.tour import buttons
from handlers.stacks import template
from tests.scenario.accounts import (
    CONTROLLERS,
    POLICY,
    PRINCIPAL,
    READER,
    ROLES,
    SECOND,
    SID,
    STACK,
    THIRD,
    answer,
    arn_of,
    assumable,
    by_bot,
    change_trust,
    changes_in_aws,
    client,
    command_of,
    deploy,
    done,
    held,
    identity,
    let_write,
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
    set_trust,
    shown,
    sids,
    status_of,
    thread,
    tidy,
    trust_of,
    undo,
    wait_told,
    without_ours,
)
from tests.scenario.clusters import CLUSTERS, Administrator, approve, ask, begin, instances, wait_for
from tests.scenario.clusters import delete as delete_cluster
from tests.world import APPROVER, MANAGEMENT, TENANT, Json, World, eventually
from tests.world import SECOND as SECOND_APPROVER


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


# -- brought in through the bootstrap role -----------------------------------------------------------------------

RULES: list[tuple[str, Json, str]] = [
    ("--namespaces default,kube-system", {"list": ["default", "kube-system"]}, "namespaces default, kube-system"),
    ("--selector tier=gold", {"selector": {"matchLabels": {"tier": "gold"}}},
     "namespaces labelled tier=gold"),
    ("--all-namespaces", {}, "every namespace"),
]  # fmt: skip


@pytest.mark.long
def test_onboarded_by_the_bot_and_then_for_others(world: World) -> None:
    """Who may use an account is changed by onboarding it again: nothing in AWS is touched by that."""
    before = by_bot(world)
    (whom, rule, said), *others = RULES
    card = onboard(world, SECOND, "team-a", whom=whom)
    assert by_bot(world) == before, "nothing before the approval"
    assert f"+ team-a, for {said}" in shown(card)
    approve(world, card)
    told = done(world, card)
    assert f"CloudFormation: {CONTROLLERS} CREATE_COMPLETE" in told
    assert f"{PRINCIPAL} of the management account may assume {CONTROLLERS}, says IAM's simulation" in told
    assert f"lets {PRINCIPAL} in" in told
    assert f"{said} may use it" in told
    _is_onboarded(world, rule)
    _is_told(world)
    for whom, rule, said in others:
        card = onboard(world, SECOND, "team-a", whom=whom)
        assert f"+ allowedNamespaces: {said}" in shown(card)
        assert "⚠️" not in shown(card) or whom == "--all-namespaces"
        before = len(changes_in_aws(world))
        approve(world, card)
        done(world, card)
        assert len(changes_in_aws(world)) == before
        _is_onboarded(world, rule)
    again = onboard(world, SECOND, "team-a", whom=whom, state="Already so")
    assert "tkg:approve" not in buttons(again)


def _is_onboarded(world: World, rule: Json) -> None:
    spec = identity(world, "team-a")
    assert spec is not None
    assert spec["allowedNamespaces"] == rule
    assert spec["roleARN"] == arn_of(SECOND)
    assert spec["sourceIdentityRef"] == {"kind": "AWSClusterControllerIdentity", "name": "default"}
    (statement,) = [entry for entry in trust_of(world, SECOND)["Statement"] if entry.get("Sid") == SID]
    assert statement["Principal"] == {"AWS": f"arn:aws:iam::{MANAGEMENT}:root"}
    assert statement["Condition"] == {
        "StringEquals": {"sts:ExternalId": spec["externalID"]},
        "ArnEquals": {"aws:PrincipalArn": arn_of(MANAGEMENT, PRINCIPAL)},
    }
    assert roles_in(world, SECOND) == sorted([*ROLES, READER])
    assert assumable(world) == [arn_of(SECOND)]


def _is_told(world: World) -> None:
    listed = answer(world, "account list", "1 account.")
    assert f"team-a {SECOND} namespaces default, kube-system us-east-1 0 900 s" in listed
    seen = answer(world, "account get team-a", "The way into team-a works")
    assert f"account {SECOND}, role {arn_of(SECOND)}" in seen
    assert "namespaces default, kube-system may use it" in seen
    assert "clusters: none" in seen
    for text in ("account check team-a", "account check --all"):
        checked = answer(world, text, "The way into team-a works, on both sides.")
        assert "⚠️" not in checked, "a stack that was made just now lacks nothing"


@pytest.mark.long
def test_a_chosen_external_id_the_whole_account_and_another_region(world: World) -> None:
    """What was chosen once is kept when the account is onboarded again."""
    onboarded(world, SECOND, "abroad", "--external-id", "chosen.by-us", "--trust", "root", "--region", "eu-west-1")
    spec = identity(world, "abroad")
    assert spec is not None
    assert spec["externalID"] == "chosen.by-us"
    (statement,) = [entry for entry in trust_of(world, SECOND)["Statement"] if entry.get("Sid") == SID]
    assert statement["Condition"] == {"StringEquals": {"sts:ExternalId": "chosen.by-us"}}
    assert status_of(world, SECOND, region="eu-west-1") == "CREATE_COMPLETE"
    assert "eu-west-1" in answer(world, "account list", "1 account.")
    onboard(world, SECOND, "abroad", "--trust", "root", state="Already so")


# -- undone, and undone again ------------------------------------------------------------------------------------


@pytest.mark.long
def test_undo_of_onboarding_and_undo_of_that(world: World) -> None:
    card = onboarded(world, SECOND, "team-a")
    spec = identity(world, "team-a")
    out = undo(world, card, f"Approval needed: offboard account {SECOND} (team-a)")
    assert f"- {STACK}, with its roles" in shown(out), "this run made it, so its undo takes it away"
    approve(world, out)
    told = done(world, out)
    assert "team-a is out" in told
    assert "up to an hour" in told
    assert (identity(world, "team-a"), assumable(world), roles_in(world, SECOND)) == (None, [], [])
    assert status_of(world, SECOND) == ""
    back = undo(world, out, f"Approval needed: onboard account {SECOND} as team-a")
    approve(world, back)
    done(world, back)
    assert identity(world, "team-a") == spec
    assert assumable(world) == [arn_of(SECOND)]
    assert sids(world, SECOND)[-1] == SID


# -- brought in by a person --------------------------------------------------------------------------------------


@pytest.mark.long
def test_a_person_makes_the_stack_while_the_run_waits(world: World) -> None:
    card = onboard(world, THIRD, "team-b")
    assert f"+ {STACK}, which a person makes" in shown(card)
    approve(world, card)
    told = wait_told(world, card, "aws cloudformation deploy")
    assert "https://us-east-1.console.aws.amazon.com/cloudformation/home?region=us-east-1#/stacks/create/review" in told
    assert (identity(world, "team-b"), roles_in(world, THIRD)) == (None, [])
    deploy(world, THIRD, command_of(world, card))
    told = done(world, card)
    assert f"The reader role leads to account {THIRD}" in told
    assert assumable(world) == [arn_of(THIRD)]
    _the_stack_stays(world, undo(world, world.card(card), f"Approval needed: offboard account {THIRD} (team-b)"))


def _the_stack_stays(world: World, out: Json) -> None:
    """The bot may write nothing there, so a person takes the statement out; the stack was not the run's."""
    approve(world, out)
    told = parked(world, out)
    assert f"Somebody with rights in account {THIRD} has to make this the trust policy" in told
    assert (identity(world, "team-b"), assumable(world)) == (None, [])
    change_trust(world, THIRD, without_ours)
    resume(world, out)
    done(world, out)
    assert status_of(world, THIRD) == "CREATE_COMPLETE"
    assert roles_in(world, THIRD) == sorted([*ROLES, READER])


@pytest.mark.long
def test_a_person_makes_the_stack_after_the_run_was_parked(world: World) -> None:
    card = onboard(world, THIRD, "team-b")
    approve(world, card)
    told = parked(world, card)
    assert f"Nobody has made the stack in account {THIRD} yet" in told
    assert "Not begun, so not changed: make the AWSClusterRoleIdentity team-b" in told
    assert (identity(world, "team-b"), roles_in(world, THIRD)) == (None, [])
    deploy(world, THIRD, command_of(world, card))
    resume(world, card)
    done(world, card)
    assert assumable(world) == [arn_of(THIRD)]


# -- what is there already ---------------------------------------------------------------------------------------

OTHERS: list[Json] = [
    {"Sid": "Auditors", "Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{THIRD}:root"},
     "Action": "sts:AssumeRole", "Condition": {"StringEquals": {"sts:ExternalId": "audit"}}},
    {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{TENANT}:role/tkgbot"}, "Action": ["sts:AssumeRole"]},
]  # fmt: skip


@pytest.mark.long
def test_roles_that_somebody_made_by_hand_are_adopted_and_left_as_they_were(world: World) -> None:
    make_roles(world, SECOND, *OTHERS)
    before = {role: trust_of(world, SECOND, role) for role in ROLES}
    card = onboard(world, SECOND, "adopted")
    assert "they are used as they are" in shown(card)
    assert "3 statements stay as they are" in shown(card)
    approve(world, card)
    done(world, card)
    after = trust_of(world, SECOND)
    assert [entry for entry in after["Statement"] if entry.get("Sid") != SID] == before[CONTROLLERS]["Statement"]
    assert sids(world, SECOND).count(SID) == 1
    onboard(world, SECOND, "adopted", state="Already so")
    out = offboard(world, SECOND, "adopted")
    approve(world, out)
    done(world, out)
    assert {role: trust_of(world, SECOND, role) for role in ROLES} == before
    assert assumable(world) == []
    assert status_of(world, SECOND) == "CREATE_COMPLETE", "the stack was not asked to go"
    assert roles_in(world, SECOND) == sorted([*ROLES, READER])


@pytest.mark.long
def test_roles_of_another_stack_are_adopted_and_stay_when_ours_goes(world: World) -> None:
    """Made for another management account, whose statement stays; with --stack only the bot's own stack goes."""
    them = arn_of(TENANT, "tkgbot")
    other = parameters_for("theirs", ManagementAccountId=TENANT, ControllersPrincipalArn=them, BotPrincipalArn=them)
    other["ReaderRoleName"] = "their-reader"
    make_stack(world, SECOND, other, name="cluster-api")
    before = trust_of(world, SECOND)
    onboarded(world, SECOND, "adopted")
    assert without_ours(trust_of(world, SECOND)["Statement"]) == before["Statement"]
    out = offboard(world, SECOND, "adopted", "--stack")
    approve(world, out)
    done(world, out)
    assert trust_of(world, SECOND) == before
    assert (status_of(world, SECOND), status_of(world, SECOND, "cluster-api")) == ("", "CREATE_COMPLETE")
    assert roles_in(world, SECOND) == sorted([*ROLES, "their-reader"])


@pytest.mark.long
def test_an_older_stack_is_brought_up_to_date(world: World) -> None:
    """Another template, and no rights on subnets then: the plan says what changes, and its undo deletes no stack."""
    older = yaml.safe_load(template())
    del older["Resources"]["EbsCsiPolicy"]
    older["Resources"]["ReaderPolicy"]["Properties"]["PolicyDocument"]["Statement"].pop()
    make_stack(world, SECOND, parameters_for("kept-from-then", SubnetTags="false"), body=json.dumps(older),
               tags={"tkgbot:template": "0123456789abcdef"})  # fmt: skip
    card = onboard(world, SECOND, "older", "--external-id", "kept-from-then")
    plan = wait_told(world, card, "+ SubnetTagsPolicy")
    assert all(line in plan for line in ("+ EbsCsiPolicy", "~ ReaderPolicy", "+ SubnetTagsPolicy")), plan
    assert f"- trust of {CONTROLLERS}" not in plan
    approve(world, card)
    done(world, card)
    assert status_of(world, SECOND) == "UPDATE_COMPLETE"
    spec = identity(world, "older")
    assert spec is not None
    assert spec["externalID"] == "kept-from-then"
    out = undo(world, world.card(card), f"Approval needed: offboard account {SECOND} (older)")
    assert f"- {STACK}" not in shown(out), "it was there before"
    approve(world, out)
    done(world, out)
    assert roles_in(world, SECOND) == sorted([*ROLES, READER])


# -- at the same time --------------------------------------------------------------------------------------------


@pytest.mark.long
def test_two_accounts_at_once_share_one_policy(world: World) -> None:
    """The second waits until the first has ended; its approval holds, and neither loses the other's role."""
    first, second = onboard(world, SECOND, "team-a"), onboard(world, THIRD, "team-b")
    with held(world, first, "iam:PutRolePolicy"):
        approve(world, second)
        wait_for(world, second, "which is changing the same thing, has ended")
    done(world, first)
    deploy(world, THIRD, command_of(world, second))
    told = done(world, second)
    assert "void" not in told
    assert assumable(world) == sorted([arn_of(SECOND), arn_of(THIRD)])
    both = answer(world, "account check --all", "The ways into all 2 accounts work, on both sides.")
    assert "⚠️" not in both
    out = offboard(world, SECOND, "team-a")
    approve(world, out)
    done(world, out)
    assert assumable(world) == [arn_of(THIRD)]
    assert "The way into team-b works" in answer(world, "account check team-b", "team-b")


@pytest.mark.long
def test_two_people_onboard_one_account_at_once(world: World) -> None:
    """Whoever comes second finds that it is so already; nothing is made twice."""
    before, mine = len(changes_in_aws(world)), onboard(world, SECOND, "team-a")
    since = world.now()
    assert world.view.command(APPROVER, f"account onboard {SECOND} --identity team-a --namespaces default").get("acked")
    theirs = world.view.wait(APPROVER, "Approval needed: onboard", since=since)
    with held(world, mine, "cloudformation:CreateChangeSet"):
        world.view.click(SECOND_APPROVER, theirs["ts"], "tkg:approve")
        wait_for(world, theirs, "which is changing the same thing, has ended")
    done(world, mine)
    wait_for(world, theirs, "Already so")
    assert "Things are not as they were when approved" in thread(world, theirs)
    assert changes_in_aws(world)[before:].count("cloudformation:ExecuteChangeSet") == 1
    assert changes_in_aws(world)[before:].count("iam:PutRolePolicy") == 1
    assert assumable(world) == [arn_of(SECOND)]
    assert sids(world, SECOND).count(SID) == 1


# -- used by clusters --------------------------------------------------------------------------------------------


def make(world: World, name: str, account: str, *more: str, state: str = "Approval needed") -> Json:
    """Asks for a cluster in another account; its card."""
    vpc = world.view.aws()["accounts"][SECOND]["vpcs"]["second"]["id"]
    text = " ".join(["cluster create", name, "--plan dev --vpc", vpc, "--account", account, *more])
    return ask(world, text, f"{state}: create dev cluster {name}")


def machines_in(world: World, account: str) -> list[str]:
    """The instances that run or are about to."""
    wanted = [{"Name": "instance-state-name", "Values": ["pending", "running"]}]
    found = client(world, "ec2", account).describe_instances(Filters=wanted)["Reservations"]
    return [entry["InstanceId"] for reservation in found for entry in reservation["Instances"]]


def delete(world: World, name: str, account: str) -> None:
    """Has the bot take a cluster away."""
    card = delete_cluster(world, name, "--account", account)
    approve(world, card)
    done(world, card)


@pytest.mark.long
def test_a_cluster_in_the_account(world: World) -> None:
    """Only where the identity allows it; the account stays until its last cluster is gone."""
    onboarded(world, SECOND, "team-a")
    refused = make(world, "astray", "team-a", "--namespace", "kube-public", state="Blocked")
    assert "tkg:approve" not in buttons(refused)
    assert "kube-public" in shown(refused)
    card = make(world, "far", "team-a")
    approve(world, card)
    assert "2 of 2 nodes of far are Ready" in done(world, card)
    assert len(machines_in(world, SECOND)) == 2
    assert instances(world) == [], "nothing at home"
    assert "clusters: default/far" in answer(world, "account get team-a", "team-a works")
    assert "us-east-1 1 900 s" in answer(world, "account list", "1 account.")
    blocked = offboard(world, SECOND, "team-a", state="Blocked")
    assert "Clusters that use it: default/far" in shown(blocked)
    assert "tkg:approve" not in buttons(blocked)
    _the_trust_is_taken_out(world)
    delete(world, "far", "team-a")
    assert machines_in(world, SECOND) == []
    out = offboard(world, SECOND, "team-a", "--stack")
    approve(world, out)
    done(world, out)
    assert roles_in(world, SECOND) == []


def _the_trust_is_taken_out(world: World) -> None:
    """A check and the plan of a cluster both say which side is wrong, and what is missing there."""
    before = change_trust(world, SECOND, without_ours)
    seen = answer(world, "account check team-a", "The way into team-a does not work.")
    assert f"The trust of {CONTROLLERS} in account {SECOND} does not let them in" in seen
    assert f'"Sid":"{SID}"' in seen
    end = f'"ArnEquals":{{"aws:PrincipalArn":"{arn_of(MANAGEMENT, PRINCIPAL)}"}}}}}}'
    assert end in seen, "the whole statement"
    assert f"To ask for the repair: /tkg account onboard {SECOND} --identity team-a --namespaces default" in seen
    card = make(world, "next", "team-a", state="Blocked")
    assert f"The trust of {CONTROLLERS} in account {SECOND} does not let them in" in shown(card)
    assert "tkg:approve" not in buttons(card)
    wait_told(world, card, end)
    repair = onboard(world, SECOND, "team-a")
    approve(world, repair)
    done(world, repair)
    assert "works, on both sides" in answer(world, "account check team-a", "team-a")
    _the_grant_is_taken_away(world)
    assert trust_of(world, SECOND) == before


def _the_grant_is_taken_away(world: World) -> None:
    """The other side."""
    client(world, "iam", MANAGEMENT).delete_role_policy(RoleName=PRINCIPAL, PolicyName=POLICY)
    seen = answer(world, "account check team-a", "The way into team-a does not work.")
    assert f"{PRINCIPAL} of the management account has no sts:AssumeRole for {arn_of(SECOND)}" in seen
    assert "the management account's side is wrong" in seen
    repair = onboard(world, SECOND, "team-a")
    approve(world, repair)
    done(world, repair)
    assert assumable(world) == [arn_of(SECOND)]


@pytest.mark.long
def test_the_trust_goes_while_a_cluster_is_made(world: World) -> None:
    """Taken out after the run's last look: the provider stops at its condition, and goes on when it is mended."""
    onboarded(world, SECOND, "team-c")
    card = make(world, "stuck", "team-c")
    taken: list[Json] = []
    begin(world, card, lambda: taken.append(change_trust(world, SECOND, without_ours)))
    try:
        told = parked(world, card)
        stopped = Administrator(world).get("awsclusters.infrastructure.cluster.x-k8s.io", "stuck", "default")
    finally:
        set_trust(world, SECOND, taken[0])
    assert stopped is not None
    (condition,) = [c for c in stopped["status"]["conditions"] if c["type"] == "PrincipalCredentialRetrieved"]
    assert condition["status"] != "True"
    assert f"is not authorized to perform: sts:AssumeRole on resource: {arn_of(SECOND)}" in told, told
    assert machines_in(world, SECOND) == []
    resume(world, card)
    done(world, card)
    assert len(machines_in(world, SECOND)) == 2
    delete(world, "stuck", "team-c")


# -- as whom the controllers call AWS ----------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize(("kind", "principal"), [("keys", "capa-controllers"), ("irsa", "capa-irsa")])
def test_the_principal_that_the_controllers_really_use(kind: str, principal: str) -> None:
    with running_accounts(SANDBOX_CONTROLLERS=kind) as world:
        let_write(world, principal)
        card = onboard(world, SECOND, "team-a")
        assert f"+ {principal} may assume controllers of {SECOND}" in shown(card)
        approve(world, card)
        assert f"Done: let {principal} of the management account assume" in done(world, card)
        assert assumable(world, principal, "user" if kind == "keys" else "role") == [arn_of(SECOND)]
        assert assumable(world) == [], "the instance's role is not the one"
        kept = answer(world, "account check team-a", "The way into team-a works, on both sides.")
        assert f"{principal} of the management account may assume" in kept
        made = make(world, "far", "team-a")
        approve(world, made)
        wait_told(world, made, "accepted, with 2 subnets")
        Administrator(world).delete(CLUSTERS, "far", "default")
        eventually(lambda: not Administrator(world).list(CLUSTERS))
        out = undo(world, world.card(card), f"Approval needed: offboard account {SECOND} (team-a)")
        approve(world, out)
        done(world, out)
        assert assumable(world, principal, "user" if kind == "keys" else "role") == []
