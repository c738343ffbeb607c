"""What people ask the bot about requests and about their rights, and what they must not be told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from bot import tables
from bot.answers import NOTHING
from bot.headline import STATE_WORDS
from bot.lifecycle import State
from bot.messages import Note
from bot.policy import Person, Rule, Who
from bot.records import Request
from bot.slack import cards
from handlers.contract import Check, Plan
from tests.chat import CHANNEL, DEV, FIRST, NEEDS, OTHER, RULES, SECOND, THIRD, Chat, bullets, text_of
from tests.unit.makers import make_needs, make_plan
from tests.unit.test_cards import assert_slack_takes, walk

HIDDEN = "There is no request `{}` that you can see from here."


@pytest.fixture
def chat(tmp_path: Path) -> Iterator[Chat]:
    made = Chat(tmp_path)
    yield made
    made.store.close()


def all_states(chat: Chat, channel: str = CHANNEL) -> dict[State, Request]:
    """A request in each state that a person can see it in."""
    made: dict[State, Request] = {State.PLANNING: chat.ask(channel=channel)}
    made[State.AWAITING] = chat.wait_for_approval(channel=channel)
    check = Check(id="c", title="Really public", result="block", evidence="It is private.", fix="Take another.")
    blocked = make_plan(checks=(check,), steps=())
    made[State.BLOCKED] = chat.wait_for_approval(blocked, channel=channel)
    made[State.NOTHING_TO_DO] = chat.wait_for_approval(make_plan(steps=()), channel=channel)
    approved = chat.wait_for_approval(channel=channel)
    chat.approve(approved)
    made[State.APPROVED] = approved
    made[State.RUNNING] = chat.start(chat.wait_for_approval(_elsewhere(1), channel=channel))
    made[State.CANCELLING] = chat.start(chat.wait_for_approval(_elsewhere(2), channel=channel))
    chat.requests.cancel(made[State.CANCELLING].id, DEV)
    for state in (State.SUCCEEDED, State.FAILED, State.PARKED, State.ABANDONED, State.CANCELLED):
        mine = chat.start(chat.wait_for_approval(_elsewhere(3 + len(made)), channel=channel))
        chat.step(mine)
        if state == State.CANCELLED:
            chat.requests.cancel(mine.id, DEV)
        ends_as = State.PARKED if state == State.ABANDONED else state
        chat.requests.end(mine, ends_as, lambda _: Note(text="AWS said so.", facts=("a fact of the end",)))
        if state == State.ABANDONED:
            chat.requests.abandon(mine.id, DEV)
        made[state] = mine
    made[State.DENIED] = chat.wait_for_approval(channel=channel)
    seal = (made[State.DENIED].fingerprint or "")[:16]
    chat.requests.vote(made[State.DENIED].id, seal, FIRST, False, lambda *_: True, reason="too early")
    made[State.WITHDRAWN] = chat.wait_for_approval(channel=channel)
    chat.requests.withdraw(made[State.WITHDRAWN].id, DEV)
    gone = chat.wait_for_approval(channel=channel)
    chat.execute(sa.update(tables.requests).where(tables.requests.c.id == gone.id).values(deadline=chat.now - 1))
    chat.requests.sweep()
    made[State.EXPIRED] = gone
    found = {state: chat.get(request.id) for state, request in made.items()}
    assert all(request.state == state for state, request in found.items())
    assert set(found) == set(State) - {State.RECEIVED}
    return found


def _elsewhere(number: int) -> Plan:
    """A plan whose targets nobody else holds."""
    return make_plan(targets=(f"subnets of vpc-{number}",))


# -- lists -------------------------------------------------------------------------------------------------------


def test_requests_of_a_channel_are_its_own(chat: Chat) -> None:
    here, there = chat.wait_for_approval(), chat.wait_for_approval(channel=OTHER)
    (note,) = chat.type("requests", THIRD)
    assert here.id in text_of([note])
    assert there.id not in text_of([note])
    assert note.links[here.id] == f"https://workspace/{CHANNEL}/{chat.card_of(here.id)}"
    assert_slack_takes(cards.note(note))


def test_requests_mine_are_mine_wherever_they_are(chat: Chat) -> None:
    made = [chat.wait_for_approval(), chat.wait_for_approval(channel=OTHER)]
    other = chat.wait_for_approval(user=FIRST)
    (note,) = chat.type("requests mine", DEV)
    assert all(request.id in text_of([note]) for request in made)
    assert other.id not in text_of([note])


def test_requests_waiting_are_those_that_this_person_may_vote_on_and_has_not(chat: Chat) -> None:
    fresh = chat.wait_for_approval(channel=OTHER)
    needs = NEEDS.model_copy(update={"each": (NEEDS.each[0].model_copy(update={"approvals": 2}),)})
    voted = chat.wait_for_approval(needs=needs)
    chat.requests.vote(voted.id, (voted.fingerprint or "")[:16], FIRST, True, lambda *_: False)
    own = chat.wait_for_approval(user=FIRST)
    done = chat.finish()
    said = text_of(chat.type("requests waiting", FIRST))
    assert fresh.id in said
    assert not any(request.id in said for request in (voted, own, done))
    said = text_of(chat.type("requests waiting", SECOND))
    assert all(request.id in said for request in (fresh, voted, own))
    assert text_of(chat.type("requests waiting", THIRD)).strip() == "Waiting for your approval: none."


def test_requests_running_are_those_under_way_that_this_person_may_see(chat: Chat) -> None:
    made = all_states(chat, OTHER)
    under_way = {State.APPROVED, State.RUNNING, State.PARKED, State.CANCELLING}
    for user, channel in ((DEV, CHANNEL), (FIRST, CHANNEL), (THIRD, OTHER)):
        said = text_of(chat.type("requests running", user, channel))
        assert {state for state, request in made.items() if request.id in said} == under_way
    assert text_of(chat.type("requests running", THIRD)).strip() == "Under way: none."


def test_a_long_list_ends_with_a_count(chat: Chat) -> None:
    made = [chat.wait_for_approval() for _ in range(40)]
    for which, user in (("", THIRD), ("mine", DEV), ("waiting", FIRST)):
        (note,) = chat.type(f"requests {which}", user)
        shown = [line for line in note.bullets if "`r-" in line]
        assert made[-1].id in shown[0], "the newest first"
        assert note.bullets[-1] == f"… and {40 - len(shown)} more"
        message = cards.note(note)
        assert_slack_takes(message)
        assert all(request.id in text_of([note]) for request in made[-len(shown) :])


def test_a_list_that_is_longer_than_what_is_looked_at_says_so(chat: Chat) -> None:
    for _ in range(205):
        chat.ask()
    (note,) = chat.type("requests mine")
    assert note.bullets[-1].startswith("… and at least ")


def test_nobody_hears_of_requests_of_another_channel(chat: Chat) -> None:
    made = all_states(chat, OTHER)
    for words in ("requests", "requests mine", "requests waiting", "requests running"):
        assert not any(request.id in text_of(chat.type(words, THIRD)) for request in made.values()), words
    for request in [*made.values()]:
        for words in ("request", "why", "undo"):
            said = text_of(chat.type(f"{words} {request.id}", THIRD))
            assert said.startswith(HIDDEN.format(request.id)), said
    absent = text_of(chat.type("request r-abcdef", THIRD))
    assert absent.startswith(HIDDEN.format("r-abcdef")), "the same words as for one that is not there"


@pytest.mark.parametrize("kind", ["guest", "stranger", "foreign", "bot", "deactivated"])
def test_only_members_are_answered(chat: Chat, kind: str) -> None:
    request = chat.finish()
    chat.people.known = {THIRD: Person(THIRD, kind)}  # type: ignore[arg-type]
    for words in ("requests", "requests mine", "request {}", "why {}", "undo {}", "can-i", "can-i subnet tag demo"):
        (note,) = chat.type(words.format(request.id), THIRD)
        assert note.tone == "bad"
        assert NOTHING in note.text
        assert request.id not in text_of([note])
        assert "subnet" not in text_of([note])


HOSTILE = "tag <@UDEV000001> <!subteam^SPLATFORM1> <!channel> `r-000001` <at 1> \u202e*x* <http://evil.example|y>"


@pytest.mark.parametrize("words", ["requests", "requests waiting", "requests mine", "request {}", "why {}"])
def test_a_hostile_headline_stays_one(chat: Chat, words: str) -> None:
    request = chat.wait_for_approval(make_plan(headline=HOSTILE + "z" * 2000), user=DEV)
    notes = chat.type(words.format(request.id), DEV if "mine" in words else FIRST)
    for note in notes:
        message = cards.note(note)
        assert_slack_takes(message)
        found = [thing for thing in walk(message.blocks) if thing.get("type") in ("user", "usergroup", "date", "link")]
        said = [thing for thing in walk(message.blocks) if "tag " in str(thing.get("text", ""))]
        assert "‹!channel>" in str(said), "all of it, and nothing but text"
        assert not any(thing.get("timestamp") == 1 for thing in found)
        assert message.text.count("<@UDEV000001>") <= 1
        assert "<!subteam^SPLATFORM1>" not in message.text or words.startswith("why")
        assert "\u202e" not in str(message.blocks)
        for thing in found:
            assert thing.get("text") in (None, request.id)


def test_a_list_of_long_headlines_keeps_its_links(chat: Chat) -> None:
    """What does not fit into a message loses its links: headlines are cut before that."""
    made = [chat.wait_for_approval(make_plan(headline=f"tag {number} " + "x" * 2000)) for number in range(20)]
    (note,) = chat.type("requests")
    linked = [thing["text"] for thing in walk(cards.note(note).blocks) if thing.get("type") == "link"]
    assert linked == [request.id for request in reversed(made[5:])]


# -- one request -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Chat, dict[State, Request]]]:
    made = Chat(tmp_path_factory.mktemp("states"))
    yield made, all_states(made)
    made.store.close()


STATES = [state for state in State if state != State.RECEIVED]


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("user", [DEV, FIRST, THIRD])
def test_why_in_every_state(every: tuple[Chat, dict[State, Request]], state: State, user: str) -> None:
    chat, made = every
    (note,) = chat.type(f"why {made[state].id}", user)
    sign, word = STATE_WORDS[state]
    assert note.text.startswith(f"{sign} {word}: ")
    assert note.bullets[-1]
    assert note.tone != "bad"
    assert_slack_takes(cards.note(note))


def test_why_says_what_stands_in_the_way_and_who_can_move_it(every: tuple[Chat, dict[State, Request]]) -> None:
    chat, made = every
    said = text_of(chat.type(f"why {made[State.BLOCKED].id}"))
    assert "Really public: It is private. → Take another." in said
    said = text_of(chat.type(f"why {made[State.AWAITING].id}"))
    assert "Rule “all” wants 1 approval." in said
    assert f"who can: <@{FIRST}> or <@{SECOND}>" in said
    assert "You: You asked for this, so somebody else has to approve it." in said
    assert "You: Your approval counts" in text_of(chat.type(f"why {made[State.AWAITING].id}", FIRST))
    assert "not one of the people" in text_of(chat.type(f"why {made[State.AWAITING].id}", THIRD))
    assert "too early" in text_of(chat.type(f"why {made[State.DENIED].id}"))
    assert "AWS said so." in text_of(chat.type(f"why {made[State.PARKED].id}"))
    assert "Resume" in text_of(chat.type(f"why {made[State.PARKED].id}"))


def test_why_behind_what_it_waits(chat: Chat) -> None:
    first, second = chat.start(), chat.wait_for_approval()
    chat.approve(second)
    mine = chat.requests.claim(second.id, 1)
    assert mine is not None
    assert chat.requests.lease(mine) == first.id
    for words in (f"why {second.id}", f"request {second.id}"):
        assert f"`{first.id}`" in text_of(chat.type(words)), words


def test_why_of_what_has_ended_needs_nobodys_answer(every: tuple[Chat, dict[State, Request]]) -> None:
    """Who could approve matters only while it waits."""
    chat, made = every
    known = chat.people.known
    chat.people.known = {DEV: Person(DEV, "deactivated")}
    try:
        for state in (State.DENIED, State.SUCCEEDED, State.EXPIRED):
            assert chat.type(f"why {made[state].id}", THIRD)[0].text.startswith(STATE_WORDS[state][0])
    finally:
        chat.people.known = known


def test_why_of_what_has_ended_in_a_channel_that_the_bot_has_left(chat: Chat) -> None:
    request = chat.finish(channel=OTHER)
    chat.absent.add(OTHER)
    assert "Done" in text_of(chat.type(f"why {request.id}"))


@pytest.mark.parametrize("state", STATES)
def test_one_request_in_every_state(every: tuple[Chat, dict[State, Request]], state: State) -> None:
    chat, made = every
    request = made[state]
    (note,) = chat.type(f"request {request.id}")
    assert note.text.startswith(" ".join(STATE_WORDS[state]))
    assert note.code == request.command
    assert f"asked for by <@{DEV}>" in text_of([note])
    assert note.links == {request.id: f"https://workspace/{CHANNEL}/{chat.card_of(request.id)}"}
    assert_slack_takes(cards.note(note))
    if state in (State.SUCCEEDED, State.FAILED, State.PARKED):
        assert "Changed: put" in text_of([note])
        assert f"<@{FIRST}> approved it" in text_of([note])
    if state == State.DENIED:
        assert f"<@{FIRST}> denied it" in text_of([note])
        assert "“too early”" in text_of([note])


def test_the_log_ends_with_what_came_last(chat: Chat) -> None:
    """A message shows 30 lines: those must be the newest."""
    request = chat.wait_for_approval()
    for _ in range(20):
        chat.requests.look_again(request.id, DEV)
        request = chat.wait_for_approval(request=chat.get(request.id))
    chat.approve(request)
    chat.execute(sa.update(tables.outbox).where(tables.outbox.c.key == f"{request.id}:card").values(ts="100.1"))
    chat.say("<@U1> logs", thread="100.1")
    log = next(note for note in chat.thread(request) if "What happened" in note.text)
    message = cards.note(log)
    assert_slack_takes(message)
    shown = "".join(str(thing.get("text", "")) for thing in walk(message.blocks))
    assert shown.rstrip().endswith("approved"), shown[-200:]
    assert "earlier" in text_of([log])


# -- rights ------------------------------------------------------------------------------------------------------

PROD = Rule(
    name="two for production", operations=("subnet tag",), clusters=("prod*",), ask=Who(users=(DEV,)),
    approve=Who(users=(FIRST, SECOND)), approvals=2,
)  # fmt: skip
DENIED = Rule(name="never payments", effect="deny", operations=("*",), clusters=("payments*",), ask=Who(members=True))
TEAM_A = Rule(
    name="team a", operations=("subnet tag",), clusters=("a-*",), ask=Who(users=(THIRD,)), approve=Who(users=(FIRST,))
)
VPC = "--vpc vpc-0a1b2c3d4e5f60718"


@pytest.fixture
def ruled(tmp_path: Path) -> Iterator[Chat]:
    made = Chat(tmp_path, (*RULES, PROD, DENIED, TEAM_A))
    yield made
    made.store.close()


@pytest.mark.parametrize(
    ("words", "user", "expected"),
    [
        (f"subnet tag demo {VPC}", DEV, "Yes, you may ask for this here: needs 1 approval."),
        (f"/tkg subnet tag demo {VPC}", DEV, "Yes, you may ask for this here: needs 1 approval."),
        (f"/tkg-subnet tag demo {VPC}", DEV, "Yes, you may ask for this here: needs 1 approval."),
        (f"subnet tag prod-eu {VPC} --role-tag", DEV, "needs 2 approvals"),
        ("subnet tag prod-eu", DEV, "needs 2 approvals"),
        ("subnet tag", DEV, "needs 1 approval"),
        (f"subnet tag payments-1 {VPC}", DEV, "denied by rule “never payments”"),
        (f"subnet tag demo {VPC}", THIRD, "No rule of the policy lets you ask for `subnet tag` here"),
        (f"subnet tag a-1 {VPC}", THIRD, "Yes, you may ask"),
        ("subnt tag demo", DEV, "`subnt` is not something that tkgbot knows"),
        (f"subnet tag demo {VPC} --rol-tag", DEV, "`--rol-tag` is not a flag"),
        ("subnet tag “demo” —vpc vpc-0a1b2c3d", DEV, "Yes"),
        ('subnet tag "de mo" --vpc vpc-0a1b2c3d', DEV, "`de mo` is not a cluster name"),
        ('subnet tag "it\'s" --vpc vpc-0a1b2c3d', DEV, "`it's` is not a cluster name"),
        ("help", DEV, "A command without /tkg"),
        ("requests", THIRD, "Yes: every member of this workspace may use `/tkg requests`."),
        ("undo r-7f3a2c", THIRD, "stands under the rules of the inverse operation"),
        ("can-i subnet tag demo", DEV, "Yes"),
    ],
)
def test_can_i(ruled: Chat, words: str, user: str, expected: str) -> None:
    notes = ruled.type(f"can-i {words}", user)
    assert expected in text_of(notes)
    for note in notes:
        assert_slack_takes(cards.note(note))
    assert ruled.requests_now() == []
    assert ruled.modals == {}, "a question opens no form"


def test_can_i_says_who_approves_without_calling_them_by_force(ruled: Chat) -> None:
    (note,) = ruled.type("can-i subnet tag demo")
    assert f"Who can approve: <@{FIRST}> or <@{SECOND}>." in note.bullets


def test_can_i_for_everything(ruled: Chat) -> None:
    assert "`/tkg subnet tag`: needs 1 approval" in bullets(ruled.type("can-i"))
    said = bullets(ruled.type("can-i", THIRD))
    assert "`/tkg subnet tag`: only for some clusters or accounts" in said
    assert any(line.startswith("`/tkg subnet untag`: no. No rule of the policy lets you ask") for line in said)
    assert any(line.startswith("`/tkg subnet tag`: no. No rule") for line in bullets(ruled.type("can-i", SECOND)))


def test_can_i_where_nothing_is_changed_says_why(ruled: Chat) -> None:
    ruled.shared.add(CHANNEL)
    said = text_of(ruled.type("can-i"))
    assert "shared with another organisation" in said
    assert "shared with another organisation" in text_of(ruled.type("can-i subnet tag demo"))
    ruled.absent.add(OTHER)
    assert "/invite @tkgbot" in text_of(ruled.type("can-i", channel=OTHER))


def test_no_answer_of_slack_is_said_and_nothing_is_guessed(chat: Chat) -> None:
    chat.wait_for_approval()
    chat.people.silent = True
    for words in ("requests", "can-i", "can-i subnet tag demo", "why r-000001"):
        assert "Slack did not say who you are." in text_of(chat.type(words)), words


def test_a_question_by_two_deliveries_is_answered_once(chat: Chat) -> None:
    body = {
        "team_id": "T1", "user_id": DEV, "channel_id": CHANNEL, "command": "/tkg", "text": "requests",
        "trigger_id": "x", "response_url": "https://hooks.slack.com/commands/1", "api_app_id": "A1",
    }  # fmt: skip
    for _ in range(3):
        chat.deliver(body)
    chat.keys *= 3
    chat.answer_all()
    assert len(chat.outbox("whisper")) == 1


def test_numbers_of_approvals_are_those_of_the_plan(chat: Chat) -> None:
    needs = make_needs(each=({**NEEDS.each[0].model_dump(), "approvals": 3},))
    request = chat.wait_for_approval(needs=needs)
    assert "wants 3 approvals" in text_of(chat.type(f"why {request.id}"))


def test_a_row_that_cannot_be_read_does_not_hide_the_others(chat: Chat) -> None:
    broken, whole = chat.wait_for_approval(), chat.wait_for_approval()
    changes = {"needs": {"py/object": "x"}, "plan": {"steps": 1}}
    chat.execute(sa.update(tables.requests).where(tables.requests.c.id == broken.id).values(**changes))
    for words, user in (("requests", THIRD), ("requests mine", DEV), ("requests waiting", FIRST)):
        assert whole.id in text_of(chat.type(words, user)), words
    for words in ("request", "why"):
        (note,) = chat.type(f"{words} {broken.id}")
        assert "Something went wrong" not in note.text


def test_a_deny_of_one_account_leaves_the_others(tmp_path: Path) -> None:
    """The account that a command names by default is denied; another may be asked for."""
    never = Rule(name="not here", effect="deny", operations=("*",), accounts=("management",), ask=Who(members=True))
    chat = Chat(tmp_path, (*RULES, never))
    assert "`/tkg subnet tag`: only for some clusters or accounts" in bullets(chat.type("can-i"))
    chat.use((*RULES, never.model_copy(update={"accounts": ("*",)})))
    assert any("denied by rule “not here”" in line for line in bullets(chat.type("can-i")))
    chat.store.close()
