"""Forms from argument models and back: Slack takes every view, and a form says what a command would say.

The judge of views is the sandbox's validator: what it refuses, Slack refuses.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import pytest
from hypothesis import HealthCheck, Phase, assume, example, given, settings
from hypothesis import strategies as st
from pydantic import Field as Described
from pydantic import create_model

from bot import grammar
from bot.forms import AGAIN, LONGEST_VALUE, Field, fields_of, read, typed_again
from bot.grammar import GrammarError
from bot.messages import Note
from bot.own import OWN
from bot.screens import AskForm, DenyForm, Entry, Menu, Screen, Words
from bot.slack.forms import ASK, DENY, filled_in, metadata, view
from bot.slack.listeners import LONGEST_ERROR, mistakes_in
from handlers.contract import Arguments, Operation, Positional, Spoken
from handlers.words import AccountName, ClusterName, Region, SubnetId
from handlers.workshop import discover
from sandbox.slack.blocks import check_view
from tests.unit.makers import NASTY, SUBNETS, hides, hostile
from tests.unit.test_cards import walk

PROFILE = settings(
    deadline=None, derandomize=True, max_examples=60, report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
    phases=[Phase.explicit, Phase.generate],
)  # fmt: skip
OPERATIONS: dict[str, Spoken[Any]] = {**discover(), **OWN}
TAG = OPERATIONS["subnet tag"]


def spoken(fields: Mapping[str, Any], name: str = "cluster make") -> Spoken[Any]:
    """An operation with these arguments."""
    made: Spoken[Any] = Spoken()
    made.name, made.summary, made.examples, made.changes = name, "Makes one", (name,), True
    made.arguments = create_model("Made", __base__=Arguments, **fields)
    return made


def form(operation: Spoken[Any], values: Mapping[str, Any], **choices: Sequence[str]) -> dict[str, Any]:
    """The view of an operation's form, filled in with `values`."""
    fields = fields_of(operation, values, choices)
    return view(AskForm(channel="C1", operation=operation.name, summary=operation.summary, fields=fields))


def inputs(shown: Mapping[str, Any]) -> dict[str, Any]:
    return {block["block_id"]: block for block in shown["blocks"] if block["type"] == "input"}


def sent(shown: Mapping[str, Any], **typed: Any) -> dict[str, Any]:
    """What Slack delivers when the form is sent: as it was shown, but for what was `typed`."""
    values: dict[str, Any] = {}
    for name, block in inputs(shown).items():
        element = block["element"]
        state: dict[str, Any] = {"type": element["type"], "value": typed.get(name, element.get("initial_value"))}
        if element["type"] == "checkboxes":
            state = {"type": "checkboxes", "selected_options": element.get("initial_options", [])}
        elif element["type"] == "static_select":
            state = {"type": "static_select", "selected_option": element.get("initial_option")}
        values[name] = {element["action_id"]: state}
    return {**shown, "state": {"values": values}}


def assert_slack_takes(shown: dict[str, Any]) -> None:
    assert check_view(shown) == []
    assert len(shown["private_metadata"]) <= 3000
    for block in inputs(shown).values():
        element = block["element"]
        for chosen in [element.get("initial_option"), *element.get("initial_options", [])]:
            assert chosen is None or chosen in element["options"], "Slack wants the very same option"
        given_words = [option["value"] for option in element.get("options", [])]
        assert len(given_words) == len(set(given_words))


def assert_values_stay_values(shown: dict[str, Any]) -> None:
    for thing in walk(shown):
        assert thing.get("type") not in ("link", "broadcast", "channel", "emoji", "user", "usergroup")
        if thing.get("type") == "mrkdwn":
            assert "<" not in thing["text"]
        for key in ("text", "initial_value"):
            if isinstance(thing.get(key), str):
                assert hides(thing[key]) == []


# -- any argument model ------------------------------------------------------------------------------------------

KINDS: dict[str, tuple[Any, Any, st.SearchStrategy[Any]]] = {
    "cluster": (ClusterName, ..., st.sampled_from(["demo", "a", "prod-eu-1"])),
    "region": (Region | None, None, st.none() | st.just("eu-central-1")),
    "account": (AccountName | None, None, st.none() | st.sampled_from(["management", "tenant", "acc-7"])),
    "subnets": (tuple[SubnetId, ...], (), st.lists(st.sampled_from(SUBNETS), max_size=110, unique=True).map(tuple)),
    "workers": (int, 3, st.integers(-5, 10**9)),
    "spare": (int | None, None, st.none() | st.integers(0, 9)),
    "share": (float, 0.5, st.sampled_from([0.0, 1.5, 0.25])),
    "dialect": (Literal["topology", "plain"], "plain", st.sampled_from(["topology", "plain"])),
    "plan": (Literal["dev", "prod"] | None, None, st.none() | st.sampled_from(["dev", "prod"])),
    "wait": (bool, True, st.booleans()),
    "dry_run": (bool, False, st.booleans()),
    "sure": (bool, ..., st.booleans()),
    "words": (tuple[str, ...], (), st.lists(st.sampled_from(["a", "--b", "c=d"]), max_size=3).map(tuple)),
}
MARKS = {"cluster": Positional(), "subnets": Positional(many=True), "words": Positional(rest=True)}


@st.composite
def operations(draw: st.DrawFn) -> tuple[Spoken[Any], Arguments]:
    """An operation with some of these fields, and arguments for it."""
    names = draw(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=8, unique=True))
    fields, values = {}, {}
    for name in names:
        kind, default, strategy = KINDS[name]
        kind = Annotated[kind, MARKS[name]] if name in MARKS else kind
        fields[name] = (kind, Described(default, description=draw(st.none() | hostile(400))))
        values[name] = draw(strategy)
    operation = spoken(fields)
    return operation, operation.arguments.model_validate(values)


ACCOUNTS = st.integers(0, 130).map(lambda count: tuple(f"acc-{number}" for number in range(count)))


@pytest.mark.long
@PROFILE
@given(operations(), ACCOUNTS, st.data())
def test_slack_takes_every_form(made: tuple[Spoken[Any], Arguments], accounts: tuple[str, ...], data: Any) -> None:
    operation, arguments = made
    given_so_far = data.draw(st.sets(st.sampled_from(sorted(operation.arguments.model_fields))))
    values = {name: value for name, value in arguments.model_dump().items() if name in given_so_far}
    shown = form(operation, values, account=accounts)
    assert_slack_takes(shown)
    assert_values_stay_values(shown)
    assert list(inputs(shown)) == list(operation.arguments.model_fields)


@PROFILE
@given(operations(), ACCOUNTS)
def test_a_form_that_is_sent_as_it_was_shown_says_what_it_showed(
    made: tuple[Spoken[Any], Arguments], accounts: tuple[str, ...]
) -> None:
    operation, arguments = made
    shown = form(operation, arguments.model_dump(), account=accounts)
    assert read(operation, filled_in(sent(shown))) == arguments


@pytest.mark.long
@PROFILE
@given(operations())
def test_a_form_that_shows_the_defaults_says_the_defaults(made: tuple[Spoken[Any], Arguments]) -> None:
    operation, arguments = made
    fields = operation.arguments.model_fields
    required = {name: value for name, value in arguments.model_dump().items() if fields[name].is_required()}
    shown = form(operation, required)
    assert read(operation, filled_in(sent(shown))) == operation.arguments.model_validate(required)


def test_a_default_that_is_made_anew_is_shown() -> None:
    operation = spoken({"zones": (tuple[str, ...], Described(default_factory=lambda: ("a", "b")))})
    assert "Undefined" not in json.dumps(form(operation, {}))


def test_a_switch_need_not_be_on() -> None:
    shown = form(spoken({"sure": (bool, ...)}), {})
    assert inputs(shown)["sure"]["optional"]


def test_the_whole_meaning_of_a_switch_can_be_read() -> None:
    """An option holds 75 characters."""
    for operation in OPERATIONS.values():
        shown = form(operation, {})
        for name, info in operation.arguments.model_fields.items():
            if info.annotation is bool:
                assert info.description in [thing.get("text") for thing in walk(inputs(shown)[name])]


@pytest.mark.parametrize("name", OPERATIONS)
def test_slack_takes_the_form_of_every_operation(name: str) -> None:
    operation = OPERATIONS[name]
    shown = form(operation, {}, account=("management", "tenant"))
    assert_slack_takes(shown)
    assert metadata(shown) == {"channel": "C1", "operation": name}
    assert shown["callback_id"] == ASK


EXAMPLES = [(name, text) for name, operation in OPERATIONS.items() for text in operation.examples]


@pytest.mark.parametrize(("name", "text"), EXAMPLES, ids=lambda value: str(value)[:30])
def test_the_form_of_an_example_says_the_same(name: str, text: str) -> None:
    wanted = grammar.parse("/tkg", text, OPERATIONS)
    assert isinstance(wanted, grammar.Command)
    shown = form(OPERATIONS[name], wanted.arguments.model_dump(mode="json"), account=("management",))
    again = typed_again(OPERATIONS[name])
    typed = {AGAIN: getattr(wanted.arguments, again)} if again else {}
    assert read(OPERATIONS[name], filled_in(sent(shown, **typed))) == wanted.arguments


# -- what people type into fields --------------------------------------------------------------------------------

A, B, C = SUBNETS[:3]


@pytest.mark.parametrize(
    "typed",
    [
        f"{A} {B} {C}", f"{A},{B},{C}", f" {A} ,\n\n{B};{C} ".replace(";", ","), f"{A}\r\n{B}\r\n{C}\r\n",
        f"“{A}”, “{B}”, “{C}”", f'"{A}",\n"{B}",\n"{C}",', f"'{A}' '{B}' '{C}'", f"\u200b{A}\u00a0{B}\u2003{C}\u202e",
        f"{A}\t{B}\t{C}", f"{A},{B},,{C},".replace("-", "\u2013"),
    ],
    ids=ascii,
)  # fmt: skip
def test_subnets_as_people_paste_them(typed: str) -> None:
    found = read(TAG, {"cluster": "demo", "subnets": typed})
    assert isinstance(found, Arguments), found
    assert found.model_dump()["subnets"] == (A, B, C)


@pytest.mark.parametrize("typed", ["demo", " demo ", "demo\n", "“demo”", "'demo'", '"demo"', "\u2066demo\u2069"])
def test_a_name_as_phones_type_it(typed: str) -> None:
    found = read(TAG, {"cluster": typed, "vpc": "vpc-0a1b2c3d"})
    assert isinstance(found, Arguments), found
    assert found.model_dump()["cluster"] == "demo"


@pytest.mark.parametrize("typed", ["demo two", "a,b", "“de”mo”", '"', "''", "demo --account tenant", "<@U1> x", "../x"])
def test_a_field_holds_one_word_and_no_flags(typed: str) -> None:
    found = read(TAG, {"cluster": typed, "vpc": "vpc-0a1b2c3d"})
    assert isinstance(found, dict)
    assert set(found) == {"cluster"}


@pytest.mark.parametrize("blank", ["", " ", "\n", "\u200b", "\u202e", None])
def test_blank_fields_are_not_filled_in(blank: str | None) -> None:
    assert read(TAG, {"cluster": blank, "vpc": "vpc-0a1b2c3d"}) == {"cluster": "Please fill this in."}
    found = read(TAG, {"cluster": "demo", "vpc": blank, "subnets": blank, "region": blank})
    assert isinstance(found, dict)
    assert "neither subnets nor a VPC" in found["subnets"]


def test_two_hundred_subnets_fit_and_one_more_is_told_in_words() -> None:
    found = read(TAG, {"cluster": "demo", "subnets": "\n".join(SUBNETS)})
    assert isinstance(found, Arguments)
    found = read(TAG, {"cluster": "demo", "subnets": "\n".join([*SUBNETS, "subnet-0a1b2c3d"])})
    assert isinstance(found, dict)
    assert set(found) == {"subnets"}
    assert "200" in found["subnets"]


@pytest.mark.long
@PROFILE
@given(operations(), st.data())
@example((TAG, Arguments()), None)
def test_no_text_breaks_the_reading_of_a_form(made: tuple[Spoken[Any], Arguments], data: Any) -> None:
    """Mistakes are on fields of the form, and Slack shows what is said of them."""
    operation = made[0]
    names = list(operation.arguments.model_fields)
    texts = (
        dict.fromkeys(names, "x" * LONGEST_VALUE)
        if data is None
        else {name: data.draw(hostile(LONGEST_VALUE)) for name in names}
    )
    found = read(operation, texts)
    if isinstance(found, dict):
        assert set(found) <= set(names)
        assert all(text.strip() for text in found.values())
    shown = sent(form(operation, {}), **texts)
    for name, text in mistakes_in(shown, {operation.name: operation}).items():
        assert name in inputs(shown)
        assert 0 < len(text) <= LONGEST_ERROR
        assert hides(text) == []


def test_mistakes_are_said_of_every_field_at_once() -> None:
    shown = sent(form(TAG, {}), cluster="No Name", vpc="vpc-x", region="nowhere", account="a b")
    found = mistakes_in(shown, OPERATIONS)
    assert set(found) == {"cluster", "vpc", "region", "account"}
    assert "No Name" in found["cluster"]
    assert "such as us-east-1" in found["region"]


def test_a_field_and_a_command_say_the_same_of_a_wrong_word() -> None:
    for name, wrong in (("vpc", "vpc-x"), ("region", "nowhere"), ("account", "A!")):
        with pytest.raises(GrammarError) as caught:
            grammar.parse("/tkg", f"subnet tag demo {A} --{name} '{wrong}'", OPERATIONS)
        assert (
            caught.value.reason in mistakes_in(sent(form(TAG, {}), cluster="demo", **{name: wrong}), OPERATIONS)[name]
        )


def test_a_field_that_another_version_knew_is_not_read() -> None:
    found = read(TAG, {"cluster": "demo", "vpc": "vpc-0a1b2c3d", "policy": "{}", "__class__": "x"})
    assert isinstance(found, Arguments)


# -- what a view carries -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "junk",
    ["", "null", "[]", "1", '"x"', "{", "{}}", '{"channel": ["C1"]}', "[" * 3000, '{"a":' * 500, "\x00", "x" * 3000],
    ids=lambda text: text[:12],
)
def test_junk_that_a_view_carries_is_nobodys_channel(junk: str) -> None:
    carried = metadata({"private_metadata": junk})
    assert all(isinstance(value, str) for value in carried.values())
    assert carried.get("channel", "") in ("", "['C1']")


@PROFILE
@given(st.text(max_size=60), hostile(200), hostile(200))
def test_what_a_view_carries_comes_back(channel: str, operation: str, value: str) -> None:
    assume(operation)
    shown = view(AskForm(channel=channel, operation=operation, summary="x", fields=()))
    assert metadata(shown) == {"channel": channel, "operation": operation}
    shown = view(DenyForm(channel=channel, value=value, headline="x"))
    assert metadata(shown) == {"channel": channel, "value": value}


# -- the other screens -------------------------------------------------------------------------------------------

notes = st.builds(
    Note,
    tone=st.sampled_from(["good", "bad", "warn", "info"]),
    text=hostile(),
    bullets=st.lists(hostile(), max_size=4).flatmap(lambda few: st.sampled_from([tuple(few), tuple(few * 10)])),
    facts=st.lists(hostile(), max_size=4).map(tuple),
    code=hostile(),
)
entries = st.builds(
    Entry, operation=hostile(200).filter(bool), summary=hostile(), example=hostile(), needs=hostile(),
    has_form=st.booleans(),
)  # fmt: skip
screens: st.SearchStrategy[Screen] = st.one_of(
    st.builds(DenyForm, channel=st.just("C1"), value=st.just("r-7f3a2c:0123456789abcdef"), headline=hostile()),
    st.builds(Words, title=st.sampled_from(["tkgbot", "Not for you"]), notes=st.tuples(notes)),
    st.builds(
        lambda few, times, said: Menu("C1", tuple(few * times), tuple(said)),
        st.lists(entries, min_size=1, max_size=6), st.sampled_from([1, 20]), st.lists(notes, max_size=2),
    ),
)  # fmt: skip


@PROFILE
@given(screens)
@example(DenyForm("C1", "r-7f3a2c:0123456789abcdef", "<!channel> " * 500))
@example(Menu("C1", (Entry("subnet tag", "x" * 3000, "", "<" * 3000, True),) * 90, (Note(text="y" * 9000),) * 2))
def test_slack_takes_every_screen(screen: Screen) -> None:
    shown = view(screen)
    assert_slack_takes(shown)
    assert_values_stay_values(shown)


@pytest.mark.parametrize("text", NASTY, ids=ascii)
def test_a_hostile_word_in_a_field_stays_one(text: str) -> None:
    item = Field(
        name="x", label=f"{text}x", hint=text, kind="line", required=True, value=f"{text}x", placeholder=f"{text}x"
    )
    shown = view(AskForm(channel="C1", operation="subnet tag", summary=text, fields=(item,)))
    assert check_view(shown) == []


def test_the_deny_form_asks_for_a_reason_that_is_said() -> None:
    shown = view(DenyForm("C1", "r-7f3a2c:0123456789abcdef", "tag 3 subnets for demo"))
    assert shown["callback_id"] == DENY
    for blank in (None, "", "   ", "\n\t", "\u200b\u202e"):
        assert set(mistakes_in(sent(shown, reason=blank), OPERATIONS)) == {"reason"}, ascii(blank)
    assert mistakes_in(sent(shown, reason="no"), OPERATIONS) == {}


# -- a name typed again ------------------------------------------------------------------------------------------


class Gone(Operation[Any]):
    """Something that cannot be taken back."""

    name = "thing destroy"
    summary = "Destroy a thing"
    examples = ("thing destroy demo",)
    arguments = TAG.arguments
    typed_again = "cluster"

    def plan(self, arguments: Any, world: Any) -> Any:
        raise NotImplementedError

    def verify(self, arguments: Any, plan: Any, world: Any) -> Any:
        raise NotImplementedError


@pytest.mark.parametrize(("typed", "right"), [("demo", True), (" “demo” ", True), ("Demo", False), ("", False)])
def test_what_cannot_be_undone_wants_its_name_typed_again(typed: str, right: bool) -> None:
    shown = form(Gone(), {"cluster": "demo", "vpc": "vpc-0a1b2c3d"})
    assert inputs(shown)[AGAIN]["label"]["text"] == "Type the cluster again"
    assert "initial_value" not in inputs(shown)[AGAIN]["element"], "it is typed, not given"
    found = read(Gone(), {"cluster": "demo", "vpc": "vpc-0a1b2c3d", AGAIN: typed})
    assert isinstance(found, Arguments) == right
    if not right:
        assert isinstance(found, dict)
        assert set(found) == {AGAIN}
