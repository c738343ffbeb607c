"""Who is refused what, and whether the answer says why, what was not changed, and what to do instead."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bot.tour import buttons, words
from tests.scenario.conftest import (
    cards,
    copied,
    edit,
    mentions,
    modal,
    put_tag,
    request_id,
    says_nothing_changed,
    slack_log,
    type_again,
    value_of,
)
from tests.world import APPROVER, CHANNEL, DEV, SECOND, Json, World, eventually

DATABASE = "postgres"
IS_IMPATIENT = True
GUEST, SINGLE, STRANGER, FOREIGN = "UGUEST0001", "USINGLE001", "USTRANGER1", "UFOREIGN01"
GONE, OTHER_BOT, TKGBOT = "UGONE00001", "UOTHERBOT1", "UTKGBOT001"
RANDOM, SHARED, SECRET = "CRANDOM001", "CSHARED001", "GSECRET001"
OUTSIDERS = [(STRANGER, "outside this workspace"), (FOREIGN, "another workspace")]
INSIDERS = [(GUEST, "Guests"), (SINGLE, "Guests"), (GONE, "deactivated"), (OTHER_BOT, "bots")]


@pytest.fixture(scope="module", autouse=True)
def crowd(shared_world: World) -> None:
    """The single-channel guest and the other bot are in the team's channel, too."""
    everybody = ["UTKGBOT001", DEV, APPROVER, SECOND, GUEST, SINGLE, OTHER_BOT]
    edit(shared_world, "channels", CHANNEL, members=everybody)


@pytest.fixture(scope="module")
def waiting(shared_world: World) -> Json:
    """A card that nobody of those who try may approve."""
    return shared_world.ask("refused", shared_world.public())


def refused(world: World, user: str, since: str, reason: str, channel: str = CHANNEL) -> Json:
    answer = world.view.wait(user, reason, since=since, channel=channel)
    assert answer["ephemeral"], words(answer)
    assert says_nothing_changed(answer), words(answer)
    return answer


def still_waits(world: World, card: Json, cluster: str) -> None:
    now = world.card(card)
    assert "Approval needed" in words(now)
    assert "tkg:approve" in buttons(now)
    assert world.tagged(cluster) == set()


# -- who may ask -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("user", "reason"), INSIDERS)
def test_who_may_not_ask(world: World, user: str, reason: str) -> None:
    since = world.now()
    assert world.view.command(user, f"subnet tag asked {' '.join(world.public())}").get("acked")
    refused(world, user, since, reason)
    assert cards(world, "asked") == []


@pytest.mark.parametrize(("user", "reason"), OUTSIDERS)
def test_outsiders_may_not_ask(world: World, user: str, reason: str) -> None:
    since = world.now()
    world.view.command(user, f"subnet tag outside {' '.join(world.public())}", channel=SHARED)
    refused(world, user, since, reason, SHARED)
    assert cards(world, "outside", channel=SHARED) == []


def test_a_member_without_a_rule_may_not_ask(world: World) -> None:
    since = world.now()
    world.view.command(SECOND, f"subnet tag no-rule {' '.join(world.public())}")
    answer = refused(world, SECOND, since, "No rule")
    assert "subnet tag" in words(answer)
    assert "no-rule" in words(answer)
    assert cards(world, "no-rule") == []


def test_an_explicit_deny_wins(world: World) -> None:
    since = world.now()
    world.view.command(DEV, f"subnet tag payments-1 {' '.join(world.public())}")
    answer = refused(world, DEV, since, "denied by rule")
    assert "nobody touches payments from chat" in words(answer)
    assert cards(world, "payments-1") == []


def test_nothing_is_changed_from_a_shared_channel(world: World) -> None:
    since = world.now()
    world.view.command(DEV, f"subnet tag shared {' '.join(world.public())}", channel=SHARED)
    refused(world, DEV, since, "shared with another organisation", SHARED)
    assert cards(world, "shared", channel=SHARED) == []


# -- where -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channel", [RANDOM, SECRET])
def test_a_channel_without_the_bot_is_told_how_to_invite_it(world: World, channel: str) -> None:
    typed = f"subnet tag prod-{channel.lower()} {' '.join(world.public())}"
    since = world.now()
    world.view.command(DEV, typed, channel=channel)
    answer = refused(world, DEV, since, "/invite @tkgbot", channel)
    assert copied(answer) == f"/tkg {typed}"
    members = next(c for c in world.view.get("/sandbox/state")["channels"] if c["id"] == channel)["members"]
    edit(world, "channels", channel, members=[*members, TKGBOT])
    since = world.now()
    type_again(world, DEV, copied(answer), channel)
    world.view.wait(DEV, "Approval needed", channel=channel, since=since)
    edit(world, "channels", channel, members=members)


# -- who may approve ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("user", "reason"), [*INSIDERS, (DEV, "You asked for this")])
@pytest.mark.parametrize("action", ["approve", "deny"])
def test_who_may_not_vote(world: World, waiting: Json, user: str, reason: str, action: str) -> None:
    since = world.now()
    world.view.click(user, waiting["ts"], f"tkg:{action}")
    refused(world, user, since, reason)
    still_waits(world, waiting, "refused")


def test_the_refusal_says_who_can(world: World, waiting: Json) -> None:
    since = world.now()
    world.view.click(DEV, waiting["ts"], "tkg:approve")
    answer = refused(world, DEV, since, "You asked for this")
    assert "Who can" in words(answer)
    assert mentions(answer) == {"SPLATFORM1"}


@pytest.mark.parametrize("action", ["withdraw", "again"])
def test_guests_move_nothing(world: World, waiting: Json, action: str) -> None:
    since = world.now()
    world.view.click(GUEST, waiting["ts"], f"tkg:{action}")
    refused(world, GUEST, since, "Guests")
    still_waits(world, waiting, "refused")


def test_a_member_without_rights_may_not_vote(world: World) -> None:
    card = world.ask("no-vote", world.public(), user=APPROVER)
    since = world.now()
    world.view.click(DEV, card["ts"], "tkg:approve")
    refused(world, DEV, since, "not one of the people who may approve")
    still_waits(world, card, "no-vote")


def test_an_approver_may_not_approve_their_own(world: World) -> None:
    card = world.ask("own", world.public(), user=APPROVER)
    since = world.now()
    world.view.click(APPROVER, card["ts"], "tkg:approve")
    refused(world, APPROVER, since, "You asked for this")
    still_waits(world, card, "own")


def test_the_bot_was_removed_from_the_channel(world: World, waiting: Json) -> None:
    members = [DEV, APPROVER, SECOND, GUEST, SINGLE, OTHER_BOT]
    edit(world, "channels", CHANNEL, members=members)
    since = world.now()
    world.view.click(APPROVER, waiting["ts"], "tkg:approve")
    refused(world, APPROVER, since, "/invite @tkgbot")
    edit(world, "channels", CHANNEL, members=["UTKGBOT001", *members])
    still_waits(world, waiting, "refused")


@pytest.fixture
def opened(world: World) -> Iterator[World]:
    """The team's channel is shared with another organisation for a while."""
    members = ["UTKGBOT001", DEV, APPROVER, SECOND, GUEST, SINGLE, OTHER_BOT]
    edit(world, "channels", CHANNEL, members=[*members, STRANGER, FOREIGN], is_shared=True, is_ext_shared=True)
    yield world
    edit(world, "channels", CHANNEL, members=members, is_shared=False, is_ext_shared=False)


def test_a_channel_that_was_shared_after_the_card(waiting: Json, opened: World) -> None:
    for user, reason in [*OUTSIDERS, (APPROVER, "shared with another organisation")]:
        since = opened.now()
        opened.view.click(user, waiting["ts"], "tkg:approve")
        refused(opened, user, since, reason)
    still_waits(opened, waiting, "refused")


def test_an_approver_who_left_the_group(world: World) -> None:
    card = world.ask("left-group", world.public())
    edit(world, "groups", "SPLATFORM1", users=[APPROVER, GONE])
    try:
        since = world.now()
        world.view.click(SECOND, card["ts"], "tkg:approve")
        refused(world, SECOND, since, "not one of the people who may approve")
        still_waits(world, card, "left-group")
    finally:
        edit(world, "groups", "SPLATFORM1", users=[APPROVER, SECOND, GONE])


def test_an_approver_who_was_deactivated(world: World) -> None:
    card = world.ask("deactivated", world.public())
    edit(world, "users", SECOND, deleted=True)
    try:
        since = world.now()
        world.view.click(SECOND, card["ts"], "tkg:approve")
        refused(world, SECOND, since, "deactivated")
        still_waits(world, card, "deactivated")
    finally:
        edit(world, "users", SECOND, deleted=False)


@pytest.mark.parametrize("method", ["users.info", "conversations.info"])
@pytest.mark.parametrize("fault", ["server_error_methods", "rate_limit_methods", "hang_methods"])
@pytest.mark.long(but=4)
def test_no_answer_of_slack_is_a_no(world: World, waiting: Json, fault: str, method: str) -> None:
    world.view.slack_faults(**{fault: [method]})
    since = world.now()
    world.view.click(APPROVER, waiting["ts"], "tkg:approve")
    answer = refused(world, APPROVER, since, "Slack did not say who you are")
    assert "try again" in words(answer)
    world.calm()
    still_waits(world, waiting, "refused")


# -- which button ------------------------------------------------------------------------------------------------


def test_forged_buttons(world: World, waiting: Json) -> None:
    other = world.ask("forged", world.public())
    seal = value_of(waiting, "tkg:approve").partition(":")[2]
    wrong = ["", "r-000000:abc", value_of(other, "tkg:approve"), f"' OR 1=1 --:{seal}", f"{request_id(other)}:{seal}"]
    for value in wrong:
        since = world.now()
        world.view.click(APPROVER, waiting["ts"], "tkg:approve", value=value)
        refused(world, APPROVER, since, "does not belong to a request")
    for value in (f"{request_id(waiting)}:", f"{request_id(waiting)}:0000000000000000", request_id(waiting)):
        since = world.now()
        world.view.click(APPROVER, waiting["ts"], "tkg:approve", value=value)
        world.view.wait(APPROVER, "plan has changed", since=since)
    still_waits(world, waiting, "refused")
    still_waits(world, other, "forged")


def test_a_part_of_the_seal_is_not_enough(world: World) -> None:
    card = world.ask("short-seal", world.public())
    name, _, seal = value_of(card, "tkg:approve").partition(":")
    since = world.now()
    world.view.click(APPROVER, card["ts"], "tkg:approve", value=f"{name}:{seal[:1]}")
    world.view.wait(APPROVER, "plan has changed", since=since)


def test_a_copied_button_in_another_message(world: World, waiting: Json) -> None:
    other = world.view.http("POST", "/sandbox/act/message", {"user": DEV, "channel": CHANNEL, "text": "please approve"})
    since = world.now()
    world.view.click(APPROVER, waiting["ts"], "tkg:approve", message_ts_override=other["ts"])
    refused(world, APPROVER, since, "does not belong to a request")
    still_waits(world, waiting, "refused")


def test_an_old_button_after_the_plan_changed(world: World) -> None:
    subnets = world.public()
    card = world.ask("old-button", subnets)
    old = value_of(card, "tkg:approve")
    put_tag(world, subnets[:1], "kubernetes.io/cluster/old-button", "shared")
    world.view.click(DEV, card["ts"], "tkg:again")
    world.view.wait(DEV, "Approval needed: tag 2 subnets for old-button")
    since = world.now()
    world.view.click(APPROVER, card["ts"], "tkg:approve", value=old)
    answer = world.view.wait(APPROVER, "plan has changed", since=since)
    assert answer["ephemeral"]
    assert world.tagged("old-button") == set(subnets[:1])
    assert "tkg:approve" in buttons(world.card(card))


@pytest.mark.parametrize(
    ("action", "value", "reason"),
    [("approve", ":0000000000000000", "plan has changed"), ("withdraw", ":", "Only the person who asked")],
)
def test_every_refusal_says_that_nothing_was_changed(
    world: World, waiting: Json, action: str, value: str, reason: str
) -> None:
    since = world.now()
    world.view.click(APPROVER, waiting["ts"], f"tkg:{action}", value=f"{request_id(waiting)}{value}")
    assert says_nothing_changed(world.view.wait(APPROVER, reason, since=since))


# -- twice -------------------------------------------------------------------------------------------------------


def test_the_second_approver_is_told_who_was_first(world: World) -> None:
    card = world.ask("second", world.public())
    world.view.slack_faults(rate_limit_methods=["chat.update"])  # the card keeps its buttons
    world.view.click(APPROVER, card["ts"], "tkg:approve")
    eventually(lambda: len(world.tagged("second")) == 3)
    since = world.now()
    world.view.click(SECOND, card["ts"], "tkg:approve")
    world.calm()
    answer = refused(world, SECOND, since, "approved by")
    assert mentions(answer) == {APPROVER}
    world.view.wait(DEV, "🟢 Done: tag 3 subnets for second")


def test_a_double_click_counts_once(world: World) -> None:
    card = world.ask("prod-double", world.public())
    world.view.click(APPROVER, card["ts"], "tkg:approve", copies=3)
    since = world.now()
    world.view.click(APPROVER, card["ts"], "tkg:approve")
    refused(world, APPROVER, since, "already voted")
    mine = [message for message in world.view.messages(APPROVER) if message["ephemeral"] and message["ts"] > card["ts"]]
    assert len(mine) == 1, [words(message) for message in mine]
    world.view.wait(DEV, "1 of 2", since=f"{float(card['ts']) - 0.001:.6f}")
    still_waits(world, card, "prod-double")


def test_a_command_that_is_delivered_three_times_is_one_request(world: World) -> None:
    world.view.command(DEV, f"subnet tag thrice {' '.join(world.public())}", copies=3)
    card = world.view.wait(DEV, "tag 3 subnets for thrice")
    world.view.click(APPROVER, card["ts"], "tkg:approve")
    world.view.wait(DEV, "🟢 Done: tag 3 subnets for thrice")
    assert len(cards(world, "thrice")) == 1
    posts = [e for e in slack_log(world) if e["method"] == "chat.postMessage" and "thrice" in str(e["args"]["text"])]
    assert len([post for post in posts if not post["args"].get("thread_ts")]) == 1


# -- a no --------------------------------------------------------------------------------------------------------


def test_deny(world: World) -> None:
    card = world.ask("denied", world.public())
    world.view.click(APPROVER, card["ts"], "tkg:deny")
    form = modal(world, APPROVER)
    assert "tag 3 subnets for denied" in words(form)
    world.view.submit(APPROVER, form, reason="the demo VPC is being moved")
    answer = world.view.wait(DEV, "denied this", thread=card["ts"])
    assert "Nothing was changed" in words(answer)
    assert "the demo VPC is being moved" in words(answer)
    assert {DEV, APPROVER} <= mentions(answer)
    world.view.wait(DEV, "Denied: tag 3 subnets for denied")
    assert buttons(world.card(card)) == []
    assert world.tagged("denied") == set()


def test_withdraw(world: World) -> None:
    card = world.ask("withdrawn", world.public())
    since = world.now()
    world.view.click(APPROVER, card["ts"], "tkg:withdraw")
    answer = world.view.wait(APPROVER, "Only the person who asked", since=since)
    assert answer["ephemeral"]
    assert "tkg:withdraw" in buttons(world.card(card))
    world.view.click(DEV, card["ts"], "tkg:withdraw")
    world.view.wait(DEV, "Withdrawn: tag 3 subnets for withdrawn")
    assert buttons(world.card(card)) == []
    assert world.tagged("withdrawn") == set()


# -- words -------------------------------------------------------------------------------------------------------

WRONG = [
    ("subnt tag w-noun SUBNETS", "subnt", "is not something", "/tkg subnet tag w-noun SUBNETS"),
    ("subnet tga w-verb SUBNETS", "tga", "is not something to do", "/tkg subnet tag w-verb SUBNETS"),
    ("subnet tag w-flag SUBNETS --rol-tag", "--rol-tag", "is not a flag", "/tkg subnet tag w-flag SUBNETS --role-tag"),
    ("subnet", "subnet", "needs a verb", "/tkg subnet check"),
    ("subnet tag W_BAD SUBNETS", "W_BAD", "is not a cluster name", "/tkg subnet tag w-bad SUBNETS"),
    ("subnet tag w-id subnet-xyz", "subnet-xyz", "is not a subnet id", "/tkg subnet tag w-id subnet-"),
    ("subnet tag w-value --vpc", "--vpc", "needs a value", "/tkg subnet tag w-value --vpc vpc-"),
    ("subnet tag 'w-quote SUBNETS", "'", "does not end", "/tkg subnet tag w-quote SUBNETS"),
    ("bananas", "bananas", "is not something", "/tkg help"),
]


@pytest.mark.parametrize(("typed", "token", "reason", "corrected"), WRONG)
def test_wrong_words(world: World, typed: str, token: str, reason: str, corrected: str) -> None:
    subnets = " ".join(world.public())
    since = world.now()
    assert world.view.command(DEV, typed.replace("SUBNETS", subnets)).get("acked")
    answer = refused(world, DEV, since, reason)
    assert words(answer).count(token)
    assert copied(answer).startswith(corrected.replace("SUBNETS", subnets))


def test_the_corrected_command_works(world: World) -> None:
    """Two mistakes, one offer, which needs nothing more."""
    since = world.now()
    world.view.command(DEV, f"tga corrected {' '.join(world.public(2))} --rol-tag", command="/tkg-subnet")
    type_again(world, DEV, copied(refused(world, DEV, since, "is not something to do")))
    card = world.view.wait(DEV, "tag 2 subnets for corrected")
    assert "kubernetes.io/role/elb" in words(card)


@pytest.mark.parametrize("typed", ["--vpc=vpc-1", "vpc=vpc-1"])
def test_a_corrected_value_keeps_its_flag(world: World, typed: str) -> None:
    since = world.now()
    world.view.command(DEV, f"subnet tag flagged {typed}")
    assert f"{typed[:-1]}0a1b2c3d" in copied(refused(world, DEV, since, "is not a VPC id"))


def test_phones_type_curly_quotes_and_long_dashes(world: World) -> None:
    subnets = world.public(2)
    typed = f"subnet\u00a0tag “curly”\u2003{subnets[0]} {subnets[1].replace('-', '–')} —role–tag"
    world.view.command(DEV, typed)
    card = world.view.wait(DEV, "tag 2 subnets for curly")
    assert all(name in words(card) for name in subnets)
    assert "kubernetes.io/role/elb" in words(card)


def test_a_mention_is_no_cluster(world: World) -> None:
    since = world.now()
    world.view.command(DEV, f"subnet tag @approver {' '.join(world.public(1))}")
    answer = refused(world, DEV, since, "is not a cluster name")
    assert mentions(answer) == set()


def test_a_link_is_no_cluster(world: World) -> None:
    since = world.now()
    world.view.command(DEV, f"subnet tag https://evil.example {' '.join(world.public(1))}")
    refused(world, DEV, since, "is not a cluster name")


def test_the_shortcut_command(world: World) -> None:
    assert world.view.command(DEV, f"tag shortcut {' '.join(world.public(2))}", command="/tkg-subnet").get("acked")
    world.view.wait(DEV, "tag 2 subnets for shortcut")


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("/tkg", "help"),
        ("/tkg", "help subnet tag"),
        ("/tkg", "subnet tag --help"),
        ("/tkg-subnet", "help"),
    ],
)
def test_help(world: World, command: str, text: str) -> None:
    since = world.now()
    assert world.view.command(DEV, text, command=command).get("acked")
    answer = world.view.wait(DEV, "subnet tag", since=since)
    assert answer["ephemeral"]
    assert copied(answer).startswith("/tkg subnet " if "subnet" in f"{command} {text}" else "/tkg ")
    if "subnet tag" in text:
        assert "--role-tag" in words(answer)
    else:
        assert "changes nothing before it is approved" in words(answer)


def test_guests_may_read_the_help(world: World) -> None:
    since = world.now()
    world.view.command(GUEST, "help")
    assert world.view.wait(GUEST, "subnet tag", since=since)["ephemeral"]


def test_the_refused_card_can_still_be_approved(world: World, waiting: Json) -> None:
    assert world.tagged("refused") == set()
    world.view.click(APPROVER, waiting["ts"], "tkg:approve")
    world.view.wait(DEV, "🟢 Done: tag 3 subnets for refused")
