"""What Slack can do wrong, and that nothing is lost, doubled or done twice because of it."""

from __future__ import annotations

import pytest

from bot.tour import buttons, words
from tests.scenario.conftest import cards, edit, mutating, request_id, says_nothing_changed, slack_log
from tests.world import APPROVER, CHANNEL, DEV, Json, World, eventually

IS_IMPATIENT = True
POST = "chat.postMessage"
WRITE = "ec2:CreateTags"


def approve(world: World, card: Json) -> None:
    world.view.click(APPROVER, card["ts"], "tkg:approve")


def done(world: World, cluster: str) -> None:
    world.view.wait(DEV, f"🟢 Done: tag 3 subnets for {cluster}")
    assert world.tagged(cluster) == set(world.public())


def thread(world: World, card: Json, *expected: str) -> list[str]:
    """The lines of a card's thread once the last of `expected` is there; each of them stands there exactly once."""
    for text in expected:
        eventually(lambda text=text: any(text in words(line) for line in world.thread(card)))
    lines = [words(line) for line in world.thread(card)]
    for text in expected:
        assert sum(text in line for line in lines) == 1, lines
    return lines


WHOLE = ("please look at the plan", "Done: put", "Done and proven")


@pytest.mark.long(but=2)
@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("limited", {"rate_limit": 1, "rate_limit_methods": [POST]}),
        ("broken", {"server_error": 1, "server_error_methods": [POST]}),
        ("lost-one", {"lose_answer": 1}),
        ("lost-two", {"lose_answer": 2}),
    ],
)
def test_one_card_whatever_becomes_of_the_post(world: World, name: str, fault: Json) -> None:
    world.view.slack_faults(**fault)
    card = world.ask(name, world.public())
    approve(world, card)
    done(world, name)
    lines = thread(world, card, *WHOLE)
    assert len(cards(world, name)) == 1
    assert not any("repeated" in line for line in lines)


@pytest.mark.long(but=1)
@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("line-limited", {"rate_limit": 1, "rate_limit_methods": [POST]}),
        ("line-broken", {"server_error": 1, "server_error_methods": [POST]}),
        ("line-lost", {"lose_answer": 1}),
    ],
)
def test_one_line_in_the_thread_whatever_becomes_of_the_post(world: World, name: str, fault: Json) -> None:
    card = world.ask(name, world.public())
    thread(world, card, "please look at the plan")
    world.view.slack_faults(**fault)
    approve(world, card)
    lines = thread(world, card, *WHOLE)
    assert not any("repeated" in line for line in lines)
    done(world, name)


def test_a_line_that_may_be_a_repeat_is_marked(world: World) -> None:
    card = world.ask("marked", world.public())
    thread(world, card, "please look at the plan")
    world.view.slack_faults(history_scope=False, lose_answer=1)
    approve(world, card)
    eventually(lambda: any("Done and proven" in words(line) for line in world.thread(card)))
    lines = [words(line) for line in world.thread(card) if "approved this" in words(line)]
    assert len(lines) == 2
    assert ["repeated" in line for line in lines] == [False, True]
    done(world, "marked")


def test_a_card_that_may_be_a_repeat_is_marked(world: World) -> None:
    world.view.slack_faults(history_scope=False, lose_answer=1)
    world.ask("card-twice", world.public())
    eventually(lambda: len(cards(world, "card-twice")) == 2)
    assert ["repeated" in words(card) for card in cards(world, "card-twice")] == [False, True]


@pytest.mark.long
def test_edits_that_slack_limits_do_not_hold_up_the_thread(world: World) -> None:
    card = world.ask("edits", world.public())
    world.view.slack_faults(rate_limit_methods=["chat.update"])
    approve(world, card)
    try:
        world.view.wait(DEV, "Done and proven", thread=card["ts"], since=card["ts"])
    finally:
        world.calm()
        done(world, "edits")


def test_an_answer_comes_while_posts_are_limited(world: World) -> None:
    world.view.slack_faults(rate_limit_methods=[POST])
    world.view.command(DEV, f"subnet tag limit-here {' '.join(world.public())}")
    since = world.now()
    world.view.command(DEV, "help")
    answer = world.view.wait(DEV, "subnet tag", since=since)
    assert answer["ephemeral"]
    world.calm()
    world.view.wait(DEV, "Approval needed: tag 3 subnets for limit-here")


@pytest.mark.long
def test_real_rate_limits(world: World) -> None:
    world.view.slack_faults(enforce_rate_limits=True)
    card = world.ask("real-limits", world.public())
    approve(world, card)
    done(world, "real-limits")
    thread(world, card, *WHOLE)


def test_work_goes_on_while_slack_is_down(world: World) -> None:
    card = world.ask("down", world.public())
    world.view.aws_faults(hold=[WRITE])
    approve(world, card)
    world.wait_until_held()
    world.view.slack_faults(down=True)
    world.view.aws_faults(hold=[])
    eventually(lambda: world.tagged("down") == set(world.public()))
    assert "🟢" not in words(world.card(card))
    world.view.slack_faults(down=False)
    done(world, "down")
    thread(world, card, *WHOLE)
    assert len(mutating(world, card)) == 1
    assert len(cards(world, "down")) == 1


@pytest.mark.long(but=1)
@pytest.mark.parametrize("fault", ["drop_socket", "disconnect"])
def test_a_socket_that_ended_is_made_anew(world: World, fault: str) -> None:
    """Cut off without a word, or with Slack's polite goodbye."""
    before = connections(world)
    world.view.slack_faults(**{fault: True})
    eventually(lambda: connections(world) > before)
    world.ask(fault.replace("_", "-"), world.public())


def connections(world: World) -> int:
    """How often a socket of the bot was greeted."""
    return sum(entry["method"] == "hello" for entry in slack_log(world))


def test_everything_is_delivered_three_times(world: World) -> None:
    world.view.slack_faults(duplicate_deliveries=2)
    card = world.ask("copies", world.public())
    approve(world, card)
    done(world, "copies")
    thread(world, card, *WHOLE)
    assert len(cards(world, "copies")) == 1
    assert len(mutating(world, card)) == 1
    assert [m for m in world.view.messages(APPROVER) if m["ephemeral"] and m["ts"] > card["ts"]] == []


def test_slack_does_not_say_who_asks(world: World) -> None:
    world.view.slack_faults(server_error_methods=["users.info"])
    since = world.now()
    world.view.command(DEV, f"subnet tag unknown-asker {' '.join(world.public())}")
    answer = world.view.wait(DEV, "Slack did not say who you are", since=since)
    assert answer["ephemeral"]
    assert says_nothing_changed(answer)
    assert cards(world, "unknown-asker") == []


def test_slack_forgets_who_approved_before_the_run(world: World) -> None:
    """The run asks anew who voted; as long as Slack does not say, nothing begins."""
    first, card = world.ask("holds-up", world.public()), world.ask("forgets", world.public())
    world.view.aws_faults(hold=[WRITE])
    approve(world, first)
    world.wait_until_held()
    approve(world, card)  # waits for the first one to end, so that Slack is asked once more when it begins
    eventually(lambda: request_id(first) in words(world.card(card)))
    asked = len(slack_log(world))
    world.view.slack_faults(server_error_methods=["users.info"])
    world.view.aws_faults(hold=[])
    done(world, "holds-up")
    eventually(lambda: len([e for e in slack_log(world)[asked:] if e["method"] == "users.info" and not e["ok"]]) > 1)
    assert mutating(world, card) == []
    assert "Approved: tag 3 subnets for forgets" in words(world.card(card))
    world.calm()
    done(world, "forgets")
    assert buttons(world.card(card)) == ["tkg:undo"]


@pytest.mark.long
def test_the_bot_was_out_of_the_channel_for_a_while(world: World) -> None:
    members = next(c for c in world.view.get("/sandbox/state")["channels"] if c["id"] == CHANNEL)["members"]
    card = world.ask("kicked", world.public())
    world.view.aws_faults(hold=[WRITE])
    approve(world, card)
    world.wait_until_held()
    edit(world, "channels", CHANNEL, members=[user for user in members if user != "UTKGBOT001"])
    world.view.aws_faults(hold=[])
    eventually(lambda: any(e["error"] == "not_in_channel" for e in slack_log(world)))
    edit(world, "channels", CHANNEL, members=members)
    eventually(lambda: "🟢 Done" in words(world.card(card)) and "Done: put" in str(world.thread(card)))


def test_the_ack_never_waits_for_slack(world: World) -> None:
    world.view.slack_faults(hang_methods=["users.info", "conversations.info", POST])
    taken = [world.view.command(DEV, "help") for _ in range(5)]  # what hangs does so until it is switched back
    assert all(answer.get("acked") for answer in taken)
    acks = [entry for entry in slack_log(world) if entry["kind"] == "ack" and not entry["ok"]]
    assert acks == []


def test_what_stands_in_the_channel_is_the_card_only(world: World) -> None:
    card = world.ask("quiet", world.public())
    approve(world, card)
    done(world, "quiet")
    new = [m for m in world.view.messages(DEV, channel=CHANNEL) if m["ts"] > card["ts"] and not m["ephemeral"]]
    assert new == []
