"""Every message in every state fits Slack and says only what it means, whatever values it is given.

The judge is the sandbox's Block Kit validator: what it refuses, Slack refuses.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from bot import messages
from bot.headline import STATE_WORDS, readable_plan
from bot.lifecycle import FINAL, UNDOABLE, State
from bot.messages import Note
from bot.policy import Vote
from bot.records import Snapshot, StepRecord
from bot.slack.cards import Message, card, clean, clip, date, duration, escape, note
from handlers.contract import Check, Impact, Step, Table
from sandbox.slack.blocks import MAX_BLOCKS_CHARS, MAX_MESSAGE_BLOCKS, check_blocks, too_long
from tests.unit.makers import (
    NASTY,
    NOW,
    SUBNETS,
    hides,
    hostile,
    make_needs,
    make_plan,
    make_request,
    snapshots,
    tag_step,
)

PROFILE = settings(
    deadline=None, derandomize=True, max_examples=80, report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
    phases=[Phase.explicit, Phase.generate],
)  # fmt: skip
ALLOWED = re.compile(
    r"<@U\d{9}>|<@UDEV000001>|<!subteam\^SPLATFORM1>|<!date\^\d+\^\{date_short_pretty\} \{time\}\|[\d:UTC -]+>"
)


def walk(node: Any) -> Iterator[dict[str, Any]]:
    """Every object inside blocks."""
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from walk(value)
    elif isinstance(node, list):
        for value in node:
            yield from walk(value)


def words(message: Message) -> str:
    """Everything that a person reads."""
    return "".join(str(thing["text"]) for thing in walk(message.blocks) if isinstance(thing.get("text"), str))


def actions(message: Message) -> list[str]:
    return [thing["action_id"] for thing in walk(message.blocks) if "action_id" in thing]


def assert_slack_takes(message: Message) -> None:
    assert check_blocks(message.blocks) == []
    assert len(message.blocks) <= MAX_MESSAGE_BLOCKS
    assert not too_long(message.blocks), f"more than {MAX_BLOCKS_CHARS} characters"
    assert message.text.strip()
    assert len(message.text) <= 4000
    json.dumps(message.blocks).encode()


def assert_values_stay_values(message: Message) -> None:
    """No markup but our own in mrkdwn, no mention of anybody whom the request does not name, nothing unseen."""
    mrkdwn = [thing["text"] for thing in walk(message.blocks) if thing.get("type") == "mrkdwn"]
    for text in [message.text, *mrkdwn]:
        assert "<" not in ALLOWED.sub("", text), text[:200]
    for thing in walk(message.blocks):
        assert thing.get("type") not in ("link", "broadcast", "channel", "emoji")
        for value in (thing.get("text"), thing.get("value")):
            if isinstance(value, str):
                assert hides(value) == []
    assert hides(message.text) == []


# -- any snapshot ------------------------------------------------------------------------------------------------


@pytest.mark.long
@PROFILE
@given(snapshots())
def test_slack_takes_every_card(shot: Snapshot) -> None:
    assert_slack_takes(card(shot, 3))


@PROFILE
@given(snapshots())
def test_no_value_on_a_card_becomes_markup(shot: Snapshot) -> None:
    assert_values_stay_values(card(shot, 3))


@pytest.mark.long
@PROFILE
@given(snapshots())
def test_the_first_line_and_the_buttons_are_those_of_the_state(shot: Snapshot) -> None:
    message = card(shot, 3)
    sign, word = STATE_WORDS[shot.request.state]
    assert message.blocks[0]["text"]["text"].startswith(f"{sign} {word}: ")
    assert message.text.startswith(f"{sign} {word}: ")
    buttons = [thing for thing in walk(message.blocks) if thing.get("type") == "button"]
    for button in buttons:
        assert button["value"] == f"r-7f3a2c:{(shot.request.fingerprint or '')[:16]}"
        assert set(button) <= {"type", "action_id", "value", "text", "style", "confirm"}
    assert ("tkg:approve" in actions(message)) is (shot.request.state is State.AWAITING)
    if shot.request.state in FINAL:
        plan = readable_plan(shot.request)
        offered = shot.request.state in UNDOABLE and plan is not None and plan.impact.reversible and shot.touched()
        assert actions(message) == (["tkg:undo"] if offered else [])


notes_of_hostile = st.builds(
    Note,
    tone=st.sampled_from(["good", "bad", "warn", "info"]),  # type: ignore[arg-type]
    text=hostile(),
    bullets=st.lists(hostile(), max_size=5).flatmap(lambda few: st.sampled_from([tuple(few), tuple(few * 8)])),
    code=hostile(),
    people=st.just(("U000000001",)),
)


@PROFILE
@given(notes_of_hostile, st.booleans())
@example(Note(text="x", bullets=("y" * 600,) * 30), False)
@example(Note(text="`a`" * 1000), False)
@example(Note(text="x", bullets=("`a` " * 150,) * 30, code="z" * 3000), True)
def test_slack_takes_every_note(meaning: Note, repeat: bool) -> None:
    assert_slack_takes(note(meaning, repeat=repeat))


@PROFILE
@given(notes_of_hostile)
def test_no_value_in_a_note_becomes_markup(meaning: Note) -> None:
    message = note(meaning)
    assert_values_stay_values(message)
    assert {thing["user_id"] for thing in walk(message.blocks) if thing.get("type") == "user"} <= {"U000000001"}


# -- what is too much --------------------------------------------------------------------------------------------


def shot_of(
    state: State = State.AWAITING,
    records: tuple[StepRecord, ...] = (),
    votes: tuple[Vote, ...] = (),
    note: Note | None = None,
    needs: Any = None,
    **changes: Any,
) -> Snapshot:
    plan = make_plan(**changes)
    request = make_request(state, plan)
    if note is not None:
        request = replace(request, note=note.model_dump(mode="json"))
    if needs is not None:
        request = replace(request, needs=needs.model_dump(mode="json"))
    return Snapshot(request, votes, records)


CHECKS = tuple(
    Check(id=f"c{number}", title="t" * 200, result="block", evidence="e" * 10_000, fix="f" * 1000)
    for number in range(60)
)
BIG = {
    "60 checks": shot_of(State.BLOCKED, checks=CHECKS),
    "100 steps": shot_of(State.SUCCEEDED, steps=tuple(tag_step(title="t" * 10_000) for _ in range(100))),
    "steps of code": shot_of(State.SUCCEEDED, steps=tuple(tag_step(title="`a` " * 200) for _ in range(100))),
    "200 rows": shot_of(details=Table(header=("a", "b", "c", "d", "e"), rows=(("x" * 300,) * 5,) * 200)),
    "wide rows": shot_of(details=Table(header=("a",) * 20, rows=(("x" * 300,) * 20,) * 20)),
    "a long reason": shot_of(State.FAILED, note=Note(text="x" * 10_000, bullets=("y" * 1000,) * 40, code="z" * 10_000)),
    "100 voters": shot_of(votes=tuple(Vote(person=f"U{n:09d}", approve=True, at=NOW) for n in range(200))),
    "a long headline": shot_of(headline="<!channel>" * 2000),
    "everything": shot_of(
        State.FAILED,
        checks=CHECKS,
        steps=tuple(tag_step(title="`a` " * 200) for _ in range(100)),
        headline="h" * 9999,
        note=Note(text="`a` " * 2000, bullets=("`b` " * 300,) * 40, code="z" * 10_000),
        details=None,
    ),
}


@pytest.mark.parametrize("name", BIG)
def test_too_much_is_cut(name: str) -> None:
    assert_slack_takes(card(BIG[name], 1))
    assert_values_stay_values(card(BIG[name], 1))


@pytest.mark.parametrize(
    ("name", "mark"),
    [
        ("60 checks", "and 50 more"), ("100 steps", "and 80 more steps"), ("200 rows", "188 more rows"),
        ("a long headline", "…"),
    ],
)  # fmt: skip
def test_what_is_cut_is_said(name: str, mark: str) -> None:
    assert mark in words(card(BIG[name], 1)) or "did not fit" in words(card(BIG[name], 1))


def test_a_failed_look_again_at_a_blocked_plan_is_shown() -> None:
    """A blocked plan has no steps; it stays with the request when planning it anew fails."""
    assert_slack_takes(card(shot_of(State.FAILED, steps=(), note=Note(text="AWS cannot be reached.")), 1))


def test_the_buttons_survive_every_cut() -> None:
    shot = shot_of(checks=CHECKS[:20], details=BIG["200 rows"].request.planned.details)
    assert "tkg:approve" in actions(card(shot, 1))


def test_a_mention_is_never_cut_in_two() -> None:
    """A field is clipped by characters, and `<@U0000` without its end is neither a mention nor readable."""
    for message in (card(BIG["100 voters"], 1), card(shot_of(needs=make_needs_of(300)), 1)):
        for thing in walk(message.blocks):
            if thing.get("type") == "mrkdwn":
                assert thing["text"].count("<") == thing["text"].count(">"), thing["text"][-60:]


def make_needs_of(count: int) -> Any:
    need = make_needs().each[0]
    who = need.approve.model_copy(update={"users": tuple(f"U{number:09d}" for number in range(count))})
    return make_needs(each=(need.model_copy(update={"approve": who}),))


@pytest.mark.parametrize(
    "sign", ["\u202e", "\u2066", "\u200b", "\ufeff", "\u00ad", "\u061c", "\u180e", "\U000e0041", "\x85"]
)
def test_hidden_characters_are_taken_out(sign: str) -> None:
    assert clean(f"a{sign}b") == "ab"
    shown = words(card(shot_of(headline=f"tag{sign} demo"), 1))
    assert sign not in shown


def test_people_see_all_rows_in_the_thread() -> None:
    rows = tuple((f"name-{number}", name, "us-east-1a", "public", "+ tag") for number, name in enumerate(SUBNETS))
    told = messages.overflow(make_plan(details=Table(header=("a", "b", "c", "d", "e"), rows=rows)))
    for message in map(note, told):
        assert_slack_takes(message)
    everything = "\n".join(words(note(part)) for part in told)
    assert all(name in everything for name in SUBNETS)
    assert "…" not in everything


def test_the_way_back_is_told_whole() -> None:
    """The command that undoes a run is there to be copied: a piece of it is worse than none."""
    lines = [
        f"aws ec2 delete-tags --resources {' '.join(SUBNETS[at : at + 20])} --tags k=v" for at in range(0, 200, 20)
    ]
    parts = [note(Note(text="To undo it:", code=part)) for part in messages.chunks(lines)]
    for part in parts:
        assert_slack_takes(part)
    everything = "\n".join(words(part) for part in parts)
    assert all(line in everything for line in lines)


def test_a_note_mentions_only_whom_it_names() -> None:
    told = note(
        Note(text="<@U000000001> and <@UEVIL00001> <!subteam^SEVIL00001> <!channel> `x`", people=("U000000001",))
    )
    people = [thing["user_id"] for thing in walk(told.blocks) if thing.get("type") == "user"]
    assert people == ["U000000001"]
    assert not [thing for thing in walk(told.blocks) if thing.get("type") == "usergroup"]
    assert "<@U000000001> and &lt;@UEVIL00001&gt;" in told.text
    assert "&lt;!channel&gt;" in told.text


def test_a_repeat_is_marked_and_a_tone_is_shown() -> None:
    assert note(Note(text="x"), repeat=True).text == "(repeated) x"
    assert [note(Note(tone=tone, text="x")).text for tone in ("good", "bad", "warn", "info")] == [
        "✅ x", "❌ x", "⚠️ x", "x"
    ]  # fmt: skip


@pytest.mark.parametrize("state", State)
def test_each_state_has_its_own_words_and_buttons(state: State) -> None:
    plan = None if state in (State.RECEIVED, State.PLANNING) else make_plan()
    found = {name.removeprefix("tkg:") for name in actions(card(Snapshot(make_request(state, plan), (), ()), 1))}
    expected = {
        State.AWAITING: {"approve", "deny", "again", "withdraw"}, State.BLOCKED: {"again", "withdraw"},
        State.APPROVED: {"withdraw"}, State.RUNNING: {"cancel"}, State.PARKED: {"resume", "abandon"},
    }  # fmt: skip
    assert found == expected.get(state, set())


@pytest.mark.parametrize("state", sorted(UNDOABLE))
def test_what_a_run_changed_can_be_asked_back(state: State) -> None:
    def offered(reversible: bool, changed: bool | None) -> bool:
        plan = make_plan(steps=(tag_step(),), impact=Impact(changes=("x",), reversible=reversible))
        records = (StepRecord(0, NOW, None if changed is None else NOW + 1, changed, "x"),)
        return "tkg:undo" in actions(card(Snapshot(make_request(state, plan), (), records), 1))

    assert offered(reversible=True, changed=True)
    assert offered(reversible=True, changed=None), "a step that was begun may have changed something"
    assert not offered(reversible=True, changed=False)
    assert not offered(reversible=False, changed=True)


def test_block_ids_are_new_with_each_revision() -> None:
    """Slack keeps a reader's input by block id; a drawn-again card must not mix with the old one."""
    shot = shot_of()
    first, second = ({block["block_id"] for block in card(shot, number).blocks} for number in (1, 2))
    assert len(first) == len(card(shot, 1).blocks)
    assert not first & second


def test_steps_show_how_far_they_came() -> None:
    steps = tuple(Step(kind="tag", title=f"step {number}", targets=("t",)) for number in range(4))
    records = (
        StepRecord(0, NOW, NOW + 2, True, "x"), StepRecord(1, NOW, NOW + 2, False, "x"),
        StepRecord(2, NOW, None, None, None),
    )  # fmt: skip
    text = words(card(shot_of(State.RUNNING, steps=steps, records=records), 1))
    assert "✅ step 0 (2.0 s)✅ step 1 (already so)▶️ step 2 ⬜ step 3" in text
    ended = words(card(shot_of(State.FAILED, steps=steps, records=records), 1))
    assert "❔ step 2 (begun, not seen to be done)" in ended


def test_approvals_and_cost_are_shown() -> None:
    votes = (Vote(person="U000000001", approve=True, at=NOW),)
    impact = Impact(changes=("a", "b"), deletes=("c",), reversible=False, cost_per_hour_usd=1.5)
    fields = " ".join(f["text"] for f in card(shot_of(votes=votes, impact=impact), 1).blocks[1]["fields"])
    assert "1 of 1, from <!subteam^SPLATFORM1>; so far <@U000000001>" in fields
    assert "2 changed" in fields
    assert "deleted" in fields
    assert "$1.50" in fields
    assert "*no*" in fields


@given(hostile(200))
@settings(deadline=None, derandomize=True, max_examples=100)
def test_escaped_text_has_no_markup(text: str) -> None:
    assert not set("<>") & set(escape(text))
    assert escape(text).replace("&amp;", "").replace("&lt;", "").replace("&gt;", "").count("&") == 0


@pytest.mark.parametrize("text", [*NASTY, "x" * 20, ""])
@pytest.mark.parametrize("limit", [1, 5])
def test_clip_never_exceeds(text: str, limit: int) -> None:
    assert len(clip(text, limit)) <= limit
    assert clip(text, 100) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0.0 s"), (0.44, "0.4 s"), (9.96, "10.0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (185, "3 min 5 s")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_times_are_shown_in_the_readers_own_zone() -> None:
    assert date(0.9) == "<!date^0^{date_short_pretty} {time}|1970-01-01 00:00 UTC>"


def test_a_plan_that_is_waited_for_shows_its_rows() -> None:
    table = next(block for block in card(shot_of(), 1).blocks if block["type"] == "table")
    assert [[cell["text"] for cell in row] for row in table["rows"]] == [
        ["Subnet", "Change"],
        ["a", "+ tag"],
        ["b", "+ tag"],
    ]
