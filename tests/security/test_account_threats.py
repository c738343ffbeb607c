"""Threats that come with further accounts: whose role the bot takes, whose documents it writes, what it tells."""

from __future__ import annotations

import base64
import io
import json
import logging
import re
import traceback
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as profile
from hypothesis import strategies as st
from pydantic import ValidationError

import handlers
from bot import messages, people, tables
from bot.ledger import Refused
from bot.lifecycle import State
from bot.logs import Redacting
from bot.messages import Note
from bot.policy import Place, Rule, Who
from bot.records import Snapshot
from bot.slack import cards
from handlers.accounts import READER, REGION, ROLE, onboarded
from handlers.contract import Door, Fatal, Json, NeedsPerson, UsageError
from handlers.controllers import controllers_principal
from handlers.iam.documents import Malformed, digest, parsed, statements
from handlers.iam.trust import sid_of
from handlers.settings import Account, Bootstrap, Onboarding
from handlers.stacks import template_digest
from handlers.steps.grant import POLICY
from handlers.steps.stack import StackExecutor, StackStep
from handlers.steps.trust import TrustStep
from handlers.workshop import discover
from tests.scenario.clusters import SWIFT, Administrator, approve, ask, done
from tests.security.test_threats import DEV, NASTY, Bot, altered
from tests.unit.account_worlds import (
    CALLER,
    CONTROLLERS,
    HOME,
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
from tests.unit.makers import make_plan, make_request
from tests.unit.test_cards import assert_slack_takes, assert_values_stay_values
from tests.world import APPROVER, running_world

OWN_ROLES = {
    f"arn:aws:iam::{HOME}:role/tkgbot", f"arn:aws:iam::{SECOND}:role/tkgbot-bootstrap",
    f"arn:aws:iam::{SECOND}:role/tkgbot-reader", f"arn:aws:iam::{THIRD}:role/tkgbot-reader",
}  # fmt: skip
READS = f"arn:aws:iam::{SECOND}:role/tkgbot-reader"
PRINCIPAL = f"control-plane{SUFFIX}"
SID = sid_of(HOME)
ONBOARDING = discover()["account onboard"].arguments
BREAKS = ("\n", "\r", "\u2028", "\x00", " ", "\u202e", "\u200b", "é")


@pytest.fixture(scope="module")
def ties(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ties]:
    """A world with one account brought in, its controllers' principal with a policy of somebody else."""
    with running_ties(tmp_path_factory.mktemp("ties")) as running:
        listing = {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "*"}
        theirs = {"Version": "2012-10-17", "Statement": [listing]}
        running.admin("iam", HOME).put_role_policy(
            RoleName=PRINCIPAL, PolicyName="theirs", PolicyDocument=json.dumps(theirs)
        )
        assert carried_out(running.shop, onboarding(running.shop))
        yield running


def assumed(ties: Ties, since: int = 0) -> set[str]:
    """The roles that the bot asked for since a call."""
    calls = [call for call in ties.aws.calls_since(since) if call["action"] == "sts:AssumeRole"]
    return {role for call in calls if call["principal"].endswith(":user/tkgbot") for role in call["resources"]}


# -- confused deputy: a forged identity --------------------------------------------------------------------------

STRANGER = "999988887777"
TAGGING = {"cluster": "far", "subnets": ["subnet-0a1b2c3d"], "region": "us-east-1"}
FORGED = {
    "the reader of another account": (CONTROLLERS, f"arn:aws:iam::{STRANGER}:role/tkgbot-reader", "us-east-1", None),
    "the management account's own role": (CONTROLLERS, f"arn:aws:iam::{HOME}:role/tkgbot", "us-east-1", None),
    "another partition": (CONTROLLERS, f"arn:aws-cn:iam::{SECOND}:role/tkgbot-reader", "us-east-1", None),
    "a user": (CONTROLLERS, f"arn:aws:iam::{SECOND}:user/tkgbot-reader", "us-east-1", None),
    "a session": (CONTROLLERS, f"arn:aws:sts::{SECOND}:assumed-role/tkgbot-reader/x", "us-east-1", None),
    "a pattern": (CONTROLLERS, f"arn:aws:iam::{SECOND}:role/*", "us-east-1", None),
    "two lines": (CONTROLLERS, f"{READS}\n", "us-east-1", None),
    "a region that is a host": (CONTROLLERS, READS, "evil.example/#", None),
    "a region of two lines": (CONTROLLERS, READS, "us-east-1\n", None),
    "an external id of two lines": (CONTROLLERS, READS, "us-east-1", "tkgbot-1\nx"),
    "an external id that turns around": (CONTROLLERS, READS, "us-east-1", "tkgbot-\u202e1"),
    "an external id that is too short": (CONTROLLERS, READS, "us-east-1", "x"),
    "a role that is none": ("arn:aws:iam::aws:role/x", READS, "us-east-1", None),
}


@pytest.mark.long
@pytest.mark.parametrize(("role", "reader", "region", "external"), FORGED.values(), ids=FORGED)
def test_confused_deputy_by_a_forged_identity_takes_no_other_role(
    ties: Ties, role: str, reader: str, region: str, external: str | None
) -> None:
    """Whoever may write identities on the management cluster gets no session of the bot by it."""
    spec: Json = {"roleARN": role, **({"externalID": external} if external else {})}
    ties.identity("forged", spec, **{READER: reader, REGION: region})
    since = len(ties.aws.calls)
    try:
        with pytest.raises(UsageError, match="forged"):
            planned(ties.shop, "subnet tag", **{**TAGGING, "account": "forged"})
        ties.shop.report("account list", {}, CALLER)
        for operation in ("account check", "account get"):
            with suppress(UsageError):
                ties.shop.report(operation, {"account": "forged"}, CALLER)
    finally:
        ties.forget("forged")
    assert assumed(ties, since) <= {f"arn:aws:iam::{HOME}:role/tkgbot"}


WORDS = st.sampled_from(
    [CONTROLLERS, READS, f"arn:aws:iam::{HOME}:role/tkgbot", f"arn:aws:iam::{STRANGER}:role/tkgbot-reader", "us-east-1",
     "eu-west-1", "*", "", "tkgbot-1"]
)  # fmt: skip
FREE = WORDS | st.text(max_size=40) | st.builds("".join, st.lists(WORDS | st.sampled_from(BREAKS), max_size=3))


@profile(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(role=FREE, reader=FREE, region=FREE, external=st.none() | FREE)
def test_confused_deputy_no_identity_opens_another_account_than_its_roles(
    role: str, reader: str, region: str, external: str | None
) -> None:
    found = onboarded(
        {"metadata": {"name": "x", "annotations": {READER: reader, REGION: region}},
         "spec": {"roleARN": role, "externalID": external}}
    )  # fmt: skip
    if found is None:
        return
    wanted, door = ROLE.fullmatch(role), found.door
    assert wanted is not None
    assert found.account_id == wanted[2]
    if door is not None:
        assert door.role_arn.split(":")[:5] == role.split(":")[:5]
        assert door.account_id == found.account_id
        said = f"{door.role_arn}{door.region}{door.external_id or ''}"
        assert said.isascii()
        assert said.isprintable()
        assert " " not in said


def test_confused_deputy_an_account_of_the_settings_gets_no_second_name(ties: Ties) -> None:
    """Else a rule that denies the first name would be got round by the second."""
    ties.identity(
        "alias", {"roleARN": f"arn:aws:iam::{HOME}:role/controllers{SUFFIX}"},
        **{READER: f"arn:aws:iam::{HOME}:role/tkgbot-reader", REGION: "us-east-1"},
    )  # fmt: skip
    try:
        with pytest.raises(UsageError, match="the settings call `management`"):
            planned(ties.shop, "subnet tag", **{**TAGGING, "account": "alias"})
    finally:
        ties.forget("alias")


# -- session too wide, and whose documents are written -----------------------------------------------------------


def inline(ties: Ties) -> dict[str, Any]:
    """The inline policies of the controllers' principal."""
    iam = ties.admin("iam", HOME)
    names = iam.list_role_policies(RoleName=PRINCIPAL)["PolicyNames"]
    return {name: iam.get_role_policy(RoleName=PRINCIPAL, PolicyName=name)["PolicyDocument"] for name in names}


def test_session_too_wide_only_the_bots_own_inline_policy_is_written(ties: Ties) -> None:
    before = inline(ties)
    assert set(before) >= {"theirs", POLICY}
    assert carried_out(ties.shop, planned(ties.shop, "account offboard", account="team-a"))
    without = {name: document for name, document in before.items() if name != POLICY}
    assert inline(ties) == without
    assert carried_out(ties.shop, onboarding(ties.shop))
    assert inline(ties) == before
    refused = f"arn:aws:iam::{HOME}:role/"
    written = {resource for call in ties.aws.calls if call["action"] in ("iam:PutRolePolicy", "iam:DeleteRolePolicy")
               and "slack-" in (call["session"] or "") for resource in call["resources"]}  # fmt: skip
    assert {place for place in written if place.startswith(refused)} <= {f"{refused}{PRINCIPAL}"}


def test_session_too_wide_no_code_names_another_inline_policy() -> None:
    """Every call that writes an inline policy names the one that is the bot's own."""
    sources = "\n".join(path.read_text() for path in Path(handlers.__path__[0]).rglob("*.py"))
    writers = re.findall(r"write\(\"iam\", (call|\"\w+\"), PolicyName=(\w+)", sources)
    assert len(writers) == 2
    assert {name for _, name in writers} == {"POLICY"}
    assert set(re.findall(r"write\(\s*\"iam\", \"(\w+)\"", sources)) == {"update_assume_role_policy"}


def test_session_too_wide_the_bot_takes_no_role_but_its_own(ties: Ties) -> None:
    """Over everything that this file had done: never the controllers' role, never a machine's."""
    for operation, arguments in (("account check", {"all": True}), ("account list", {})):
        ties.shop.report(operation, arguments, CALLER)
    planned(ties.shop, "account onboard", account_id=THIRD, identity="team-b", namespaces="default")
    assert {f"arn:aws:iam::{SECOND}:role/tkgbot-bootstrap", READS} <= assumed(ties) <= OWN_ROLES


# -- other people's trust statements -----------------------------------------------------------------------------

TENANT = "444455556666"
OTHERS = [f"arn:aws:iam::{TENANT}:root", f"arn:aws:iam::{TENANT}:role/tkgbot", f"arn:aws:iam::{THIRD}:root"]
"""IAM takes no principal that does not exist."""
FOREIGN = st.fixed_dictionaries(
    {
        "Effect": st.sampled_from(["Allow", "Allow", "Deny"]),
        "Principal": st.one_of(
            st.sampled_from(OTHERS).map(lambda one: {"AWS": one}),
            st.lists(st.sampled_from(OTHERS), min_size=1, max_size=3, unique=True).map(lambda some: {"AWS": some}),
            st.sampled_from(["ec2.amazonaws.com", ["ssm.amazonaws.com", "ec2.amazonaws.com"]]).map(
                lambda service: {"Service": service}
            ),
        ),
        "Action": st.sampled_from(["sts:AssumeRole", ["sts:TagSession", "sts:AssumeRole"]]),
    },
    optional={
        "Sid": st.sampled_from(["Theirs", "Tkgbot000000000000", "x1"]),
        "Condition": st.sampled_from(
            [{"StringEquals": {"sts:ExternalId": "theirs"}}, {"Bool": {"aws:MultiFactorAuthPresent": "true"}},
             {"StringLike": {"aws:PrincipalArn": ["arn:aws:iam::*:role/x*", "*"]}}]
        ),
    },
)  # fmt: skip


@profile(max_examples=6, deadline=None, phases=[Phase.generate])
@given(foreign=st.lists(FOREIGN, min_size=1, max_size=4, unique_by=lambda one: one.get("Sid", repr(one))))
def test_session_too_wide_other_peoples_statements_survive(ties: Ties, foreign: list[Json]) -> None:
    """Whatever else stands in the trust stays as it was written, in its order, through onboarding and offboarding."""
    ties.admin("iam").update_assume_role_policy(
        RoleName=f"controllers{SUFFIX}", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": foreign})
    )
    document = ties.trust()
    plan = onboarding(ties.shop)
    assert [step.kind for step in plan.steps if step.kind in ("stack", "trust")] == ["trust"], blocked(plan)
    carried_out(ties.shop, plan)
    with_ours = statements(ties.trust())
    assert [one for one in with_ours if one.get("Sid") != SID] == statements(document)
    assert sum(one.get("Sid") == SID for one in with_ours) == 1
    carried_out(ties.shop, planned(ties.shop, "account offboard", account="team-a"))
    assert ties.trust() == document


def test_a_trust_that_changed_after_the_approval_is_not_overwritten(ties: Ties) -> None:
    first = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"},
                                                     "Action": "sts:AssumeRole"}]}  # fmt: skip
    ties.aws.write_trust(SECOND, f"controllers{SUFFIX}", json.dumps(first))
    plan = onboarding(ties.shop)
    theirs = {"Effect": "Allow", "Principal": {"AWS": OTHERS[0]}, "Action": "sts:AssumeRole", "Sid": "New"}
    second = {**first, "Statement": [*first["Statement"], theirs]}
    ties.aws.write_trust(SECOND, f"controllers{SUFFIX}", json.dumps(second))
    with pytest.raises(Fatal, match="changed after it was approved"):
        carried_out(ties.shop, plan)
    assert ties.trust() == second
    carried_out(ties.shop, onboarding(ties.shop))


# -- injection ---------------------------------------------------------------------------------------------------

HOSTILE = ("<!channel> <@UEVIL00001>", "<http://evil.example|Approve>", "\u202e*x*`\u200b", "a\n2026-11-24 INFO forged")


def assert_harmless(note: Note) -> None:
    """As Slack gets it: text, and nobody is called."""
    message = cards.note(note)
    assert_slack_takes(message)
    assert_values_stay_values(message)
    assert note.people == ()


@pytest.mark.parametrize("hostile", HOSTILE, ids=ascii)
def test_mention_injection_by_an_identity_stays_text(ties: Ties, hostile: str) -> None:
    """A name in allowedNamespaces, a condition of a trust and an annotation are anybody's text."""
    spec: Json = {"roleARN": CONTROLLERS, "allowedNamespaces": {"list": [hostile]}, "externalID": hostile}
    ties.identity("theirs", spec, **{READER: READS, REGION: "us-east-1"})
    try:
        for operation, arguments in (
            ("account list", {}), ("account get", {"account": "theirs"}), ("account check", {"account": "theirs"}),
            ("account check", {"all": True}),
        ):  # fmt: skip
            notes = messages.reported(ties.shop.report(operation, arguments, CALLER))
            assert notes
            for note in notes:
                assert_harmless(note)
        table = ties.shop.report("account list", {}, CALLER).table
        assert table is not None
        assert any(hostile in row[2] for row in table.rows)
    finally:
        ties.forget("theirs")


@pytest.mark.parametrize("hostile", HOSTILE, ids=ascii)
def test_mention_injection_by_a_trust_stays_text(ties: Ties, hostile: str) -> None:
    """Sid, principal and condition of a statement that somebody else wrote, on the card and in what an end says."""
    theirs = {
        "Sid": hostile, "Effect": "Allow", "Principal": {"AWS": hostile}, "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"sts:ExternalId": hostile}},
    }  # fmt: skip
    document = {"Version": "2012-10-17", "Statement": [theirs]}
    before = ties.aws.read_trust(SECOND, f"controllers{SUFFIX}")
    assert before is not None
    ties.aws.write_trust(SECOND, f"controllers{SUFFIX}", json.dumps(document))
    try:
        plan = onboarding(ties.shop)
        ties.aws.write_trust(SECOND, f"controllers{SUFFIX}", before)
        with pytest.raises(Fatal) as caught:
            carried_out(ties.shop, plan)
    finally:
        ties.aws.write_trust(SECOND, f"controllers{SUFFIX}", before)
    assert_harmless(Note(text=caught.value.message, facts=(caught.value.hint,)))
    request = make_request(State.AWAITING, plan)
    assert statements(next(step for step in plan.steps if isinstance(step, TrustStep)).document)[0] == theirs
    assert_values_stay_values(cards.card(Snapshot(request, (), ()), 1))


class Broken:
    """A CloudFormation whose stack failed, in the words of somebody else."""

    def __init__(self, words: str) -> None:
        self.words = words

    def began(self) -> float:
        return 0.0

    def aws(self, *_: Any) -> Broken:
        return self

    def read(self, *_: Any, **__: Any) -> Json:
        return {"Stacks": [{"StackId": "s", "StackStatus": "ROLLBACK_COMPLETE", "StackStatusReason": self.words}]}

    def pages(self, *_: Any, **__: Any) -> Iterator[Json]:
        yield {"ResourceStatus": "CREATE_FAILED", "LogicalResourceId": self.words, "ResourceStatusReason": self.words}


@pytest.mark.parametrize("hostile", [*HOSTILE, *NASTY], ids=ascii)
def test_mention_injection_by_what_cloudformation_says_stays_text(hostile: str) -> None:
    with pytest.raises(NeedsPerson) as caught:
        StackExecutor().observe(stack_step(), Broken(hostile))  # type: ignore[arg-type]
    assert hostile in caught.value.message
    assert_harmless(Note(text=caught.value.message, facts=(caught.value.hint,)))


@pytest.mark.parametrize("hostile", [one for one in HOSTILE if one.isascii()], ids=ascii)
def test_log_injection_a_value_forges_no_line(hostile: str) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Redacting("%(message)s"))
    handler.handle(logging.LogRecord("x", logging.INFO, "", 0, "The trust says %s", (hostile,), None))
    assert stream.getvalue().count("\n") == 1


@pytest.mark.parametrize("size", [10, 100_000])
def test_flood_by_a_trust_that_is_huge_or_deep_ends_in_words(size: int) -> None:
    for text in ("[" * size, '{"Statement":' * size, '{"Statement":[' + "[" * size + "]" * size + "]}"):
        with pytest.raises(Malformed) as caught:
            parsed(text)
        assert len(str(caught.value)) < 200


@pytest.mark.parametrize("sign", BREAKS, ids=ascii)
def test_escalation_via_arguments_ids_and_arns_are_one_plain_word(sign: str) -> None:
    """No external id, role or region of settings or words holds a line break, a blank or a sign that nobody sees."""
    for bad in (f"tkgbot{sign}1", f"tkgbot-1{sign}", f"{sign}tkgbot-1"):
        with pytest.raises(ValidationError):
            ONBOARDING.model_validate(
                {"account_id": SECOND, "identity": "team-a", "namespaces": "default", "external_id": bad}
            )
        for field_name in ("identity", "region", "namespaces", "selector"):
            with pytest.raises(ValidationError):
                ONBOARDING.model_validate({"account_id": SECOND, "identity": "x", field_name: bad})
        arn = f"arn:aws:iam::{SECOND}:role/{bad}"
        with pytest.raises(ValidationError):
            Bootstrap(role_arn=arn)
        with pytest.raises(ValidationError):
            Bootstrap(role_arn=READS, external_id=bad)
        with pytest.raises(ValidationError):
            Onboarding(controllers_principal=arn)
        with pytest.raises(ValidationError):
            Account(id=SECOND, region="us-east-1", role_arn=arn)
        with pytest.raises(ValidationError):
            Account(id=SECOND, region="us-east-1", role_arn=READS, external_id=bad)


# -- secret in logs ----------------------------------------------------------------------------------------------


def test_secret_in_logs_a_broken_profile_shows_nothing_of_itself() -> None:
    """The controllers' secret may hold static keys, in any shape: an error about it says only which secret it is."""
    canary = "wJalrXUtnFEMIK7MDENGbPxRfiCYCANARYKEY"
    for text in (f"aws_secret_access_key = {canary}", f"[default]\n{canary}\n", f"[default]\n[default]\nx={canary}"):
        world = Secretive(base64.b64encode(text.encode()).decode())
        with pytest.raises(Fatal) as caught:
            controllers_principal(world, world)  # type: ignore[arg-type]
        shown = "".join(traceback.format_exception(caught.value)) + caught.value.message + caught.value.hint
        assert canary not in shown
        assert "capa-manager-bootstrap-credentials" in caught.value.message


@dataclass
class Secretive:
    """A management cluster that has a secret and nothing else."""

    credentials: str
    asked: list[str] = field(default_factory=list)

    def onboarding(self) -> Onboarding:
        return Onboarding()

    def management(self) -> Secretive:
        return self

    def get(self, kind: Any, name: str, namespace: str = "") -> Json | None:
        self.asked.append(name)
        return {"data": {"credentials": self.credentials}} if kind.name == "Secret" else None


@pytest.mark.long
def test_secret_in_logs_static_keys_of_the_controllers_stand_nowhere() -> None:
    """The bot reads the secret to learn whose keys these are; neither key is in a message, a log, the database or the
    audit, also when the secret cannot be read any more."""
    with running_world(SANDBOX_CONTROLLERS="keys") as world:
        world.start_bot(("-c", SWIFT))
        secret = Administrator(world).get("secrets", "capa-manager-bootstrap-credentials", "capa-system")
        assert secret is not None
        lines = base64.b64decode(secret["data"]["credentials"]).decode().splitlines()
        canaries = [line.partition(" = ")[2] for line in lines if line.startswith("aws_")]
        card = ask(world, ONBOARD)
        approve(world, card)
        assert "capa-controllers" in done(world, card)
        broken = base64.b64encode(f"{canaries[1]} [default".encode()).decode()
        Administrator(world).patch(
            "secrets", "capa-manager-bootstrap-credentials", {"data": {"credentials": broken}}, "capa-system"
        )
        ask(world, "account check payments-1", "is no AWS profile that can be read")
        ask(world, ONBOARD.replace("payments", "billing"), "is no AWS profile that can be read")
        shown = "".join(str(world.view.messages(user)) for user in (DEV, APPROVER))
        shown += "".join(str(world.view.messages(DEV, thread=m["ts"])) for m in world.view.messages(DEV))
        kept = b"".join(path.read_bytes() for path in (world.folder / "data").glob("*"))
        assert len(canaries) == 2
        assert min(map(len, canaries)) >= 16
        assert b"capa-controllers" in kept
        for canary in canaries:
            assert canary not in shown
            assert canary not in world.log()
            assert canary.encode() not in kept


# -- approve X, run Y --------------------------------------------------------------------------------------------

BOOT = Door(account_id=SECOND, region="us-east-1", role_arn=f"arn:aws:iam::{SECOND}:role/tkgbot-bootstrap")
TRUST, EVERYBODY = (
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": whom, "Action": "sts:AssumeRole"}]}
    for whom in ({"AWS": HOME}, "*")
)


def stack_step(**changes: Any) -> StackStep:
    fields: dict[str, Any] = {
        "title": "make the stack", "targets": ("t",), "door": BOOT, "name": "tkgbot-cluster-access",
        "template": template_digest(), "parameters": {"ManagementAccountId": HOME}, "changes": ("Add ReaderRole",),
        "before": {"stack": None, "parameters": {}},
    }  # fmt: skip
    return StackStep(**{**fields, **changes})


def trust_step() -> TrustStep:
    return TrustStep(
        title="add our statement", targets=("t",), door=BOOT, role=f"controllers{SUFFIX}", sid=SID, document=TRUST,
        before={"document": TRUST, "digest": digest(TRUST)},
    )  # fmt: skip


TAMPERED = [
    (stack_step(), {"parameters": {"ManagementAccountId": STRANGER}}),
    (stack_step(), {"template": "0" * 16}),
    (stack_step(), {"changes": ["Add ReaderRole", "Add Backdoor"]}),
    (stack_step(), {"door": {**BOOT.model_dump(), "role_arn": f"arn:aws:iam::{SECOND}:role/Admin"}}),
    (trust_step(), {"document": EVERYBODY}),
    (trust_step(), {"role": "Admin"}),
    (trust_step(), {"before": {"document": EVERYBODY, "digest": digest(EVERYBODY)}}),
    (trust_step(), {"actions": [{"name": "iam:*", "account": BOOT.name, "region": "us-east-1"}]}),
]


@pytest.fixture
def bot(tmp_path: Path) -> Iterator[Bot]:
    made = Bot(tmp_path)
    yield made
    made.store.close()


@pytest.mark.parametrize("late", [False, True], ids=["while it waits", "after the approval"])
@pytest.mark.parametrize(("step", "change"), TAMPERED, ids=[f"{step.kind} {[*change]}" for step, change in TAMPERED])
def test_approve_x_run_y_by_a_changed_step_is_stopped(bot: Bot, step: Any, change: Json, late: bool) -> None:
    """Another role, another document, another template in the database: the fingerprint is not the one approved."""
    plan = bot.workshop.plan_now = make_plan(steps=(step,))
    request = bot.waiting(plan)
    tampering = sa.update(tables.requests).values(plan=altered(plan, **change))
    if not late:
        bot.execute(tampering)
    try:
        bot.approve(request)
    except Refused:
        return
    if late:
        bot.execute(tampering)
    assert bot.run(request) is not State.SUCCEEDED
    assert bot.workshop.acted == []


@pytest.mark.parametrize("step", [stack_step(), trust_step()], ids=["stack", "trust"])
def test_approve_x_run_y_what_was_not_changed_is_carried_out(bot: Bot, step: Any) -> None:
    plan = bot.workshop.plan_now = make_plan(steps=(step,))
    request = bot.waiting(plan)
    bot.approve(request)
    assert bot.run(request) is State.SUCCEEDED
    assert bot.workshop.acted == [step.model_dump(mode="json")]


# -- who may ask -------------------------------------------------------------------------------------------------

EVERYTHING = Rule(name="all", operations=("*",), ask=Who(users=(DEV,)), approve=Who(members=True))
NEVER = Rule(name="never", effect="deny", operations=("*",), accounts=("payments*",), ask=Who(members=True))
ONBOARD = f"account onboard {SECOND} --identity payments-1 --namespaces default"


@pytest.mark.parametrize(
    ("rules", "text", "count"),
    [
        ((), ONBOARD, 0),
        ((EVERYTHING.model_copy(update={"operations": ("subnet *", "cluster *")}),), ONBOARD, 0),
        ((EVERYTHING,), ONBOARD, 1),
        ((EVERYTHING, NEVER), ONBOARD, 0),
        ((EVERYTHING, NEVER), ONBOARD.replace("payments", "billing"), 1),
        ((EVERYTHING, NEVER), "account offboard payments-1", 0),
        ((EVERYTHING, NEVER), "account offboard billing-1", 1),
        ((EVERYTHING,), "account check payments-1", 0),
    ],
)
def test_confused_deputy_an_account_is_asked_for_only_by_whom_a_rule_lets(
    tmp_path: Path, rules: tuple[Rule, ...], text: str, count: int
) -> None:
    """Deny by default; a rule that denies a name also denies to bring an account in under it."""
    bot = Bot(tmp_path, rules)
    bot.command(text)
    bot.answer_all()
    assert bot.count(tables.requests) == count
    bot.store.close()


def test_confused_deputy_every_word_that_names_an_account_is_judged_by_it() -> None:
    known = discover()
    for operation, arguments in (
        ("account onboard", {"identity": "payments-1"}), ("account offboard", {"account": "payments-1"}),
        ("cluster create", {"account": "payments-1"}), ("subnet tag", {"account": "payments-1"}),
    ):  # fmt: skip
        decided = people.scope(known[operation], arguments)
        assert (decided.operation, decided.account, decided.changes) == (operation, "payments-1", True)
        assert NEVER.covers(decided, Place("C1"))


@pytest.mark.parametrize("text", ["account check payments-1", "account get payments-1"])
def test_confused_deputy_a_denied_account_is_not_even_looked_at(tmp_path: Path, text: str) -> None:
    bot = Bot(tmp_path, (EVERYTHING, NEVER))
    bot.command(text)
    bot.answer_all()
    assert any("You may not ask for this" in note.text for note in bot.said())
    bot.store.close()
