"""Differences between two plans, in words: all that void an approval are told, and nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.drift import LIMIT, differences, facts_moved
from handlers.contract import Check, Fact, Impact, Plan, Step, fingerprint
from tests.unit.makers import make_plan, tag_step


def check(result: str, name: str = "public", evidence: str = "seen") -> Check:
    return Check(id=name, title=name.title(), result=result, evidence=evidence)  # type: ignore[arg-type]


def test_the_same_plan_in_other_words_does_not_differ() -> None:
    step = tag_step()
    other = make_plan(
        headline="x", impact=Impact(reversible=False), details=None,
        checks=(check("pass", evidence="other words"),),
        steps=(step.model_copy(update={"title": "other words"}),),
    )  # fmt: skip
    assert differences(make_plan(checks=(check("pass"),), steps=(step,)), other) == ()


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            make_plan(facts=(Fact(name="s", value="a"),)), make_plan(facts=(Fact(name="s", value="b"),)),
            "s: was a, is now b",
        ),
        (
            make_plan(facts=(Fact(name="s", value={"b": 1, "a": 2}),)), make_plan(facts=()),
            's: was {"a": 2, "b": 1}, is now not there',
        ),
        (make_plan(facts=()), make_plan(facts=(Fact(name="s", value=3),)), "s: was not there, is now 3"),
        (make_plan(), make_plan(checks=(check("block"),)), "Public: was pass, is now block. seen"),
        (make_plan(checks=()), make_plan(checks=(check("warn"),)), "Public: was not checked, is now warn. seen"),
        (make_plan(), make_plan(steps=()), "no longer to do: put `kubernetes.io/cluster/demo=shared` on 2 subnets"),
        (make_plan(steps=()), make_plan(steps=(tag_step(title="T"),)), "now to do: T"),
    ],
)  # fmt: skip
def test_each_difference_is_a_sentence(old: Plan, new: Plan, told: str) -> None:
    assert differences(old, new) == (told,)


def test_a_step_of_the_same_title_that_does_something_else_is_told() -> None:
    told = differences(make_plan(steps=(tag_step(title="T"),)), make_plan(steps=(tag_step(title="T", value="x"),)))
    assert told == ("no longer to do: T", "now to do: T")


def test_a_check_that_is_gone_is_told() -> None:
    """It voids the approval: so it happens when another cluster's tag is taken off a subnet that the plan warned of."""
    told = differences(make_plan(checks=(check("warn", "foreign"),)), make_plan(checks=()))
    assert len(told) == 1
    assert "Foreign" in told[0]


def test_immaterial_facts_are_not_told() -> None:
    old = make_plan(facts=(Fact(name="s", value=1, material=False),))
    assert differences(old, make_plan(facts=(Fact(name="s", value=2, material=False),))) == ()


def test_many_are_counted() -> None:
    old = make_plan(facts=())
    new = make_plan(facts=tuple(Fact(name=f"s{number}", value=number) for number in range(LIMIT + 5)))
    told = differences(old, new)
    assert len(told) == LIMIT + 1
    assert told[-1] == "and 5 more differences"
    assert len(differences(old, new.model_copy(update={"facts": new.facts[:LIMIT]}))) == LIMIT


def test_in_the_middle_of_a_run_the_steps_may_differ_and_blocks_may_not() -> None:
    assert facts_moved(make_plan(), make_plan(steps=(), checks=(check("warn"),))) == ()
    assert facts_moved(make_plan(), make_plan(checks=(check("unknown"),))) == ("Public: seen",)
    assert facts_moved(make_plan(), make_plan(facts=())) != ()


PLANS = st.builds(
    make_plan,
    facts=st.lists(
        st.builds(Fact, name=st.sampled_from("ab"), value=st.sampled_from([None, 0, 1, "x"]), material=st.booleans()),
        max_size=2, unique_by=lambda fact: fact.name,
    ).map(tuple),
    checks=st.lists(
        st.builds(check, st.sampled_from(["pass", "warn"]), st.sampled_from(["p", "q"])),
        max_size=2, unique_by=lambda found: found.id,
    ).map(tuple),
    steps=st.lists(
        st.builds(Step, kind=st.just("k"), title=st.just("T"), targets=st.just(("t",)),
                  before=st.sampled_from([{}, {"x": 1}])),
        max_size=3,
    ).map(tuple),
    targets=st.sampled_from([("a",), ("b",), ("a", "b")]),
)  # fmt: skip


@pytest.mark.long
@settings(deadline=None, derandomize=True, max_examples=150, report_multiple_bugs=False)
@given(PLANS, PLANS)
def test_whatever_voids_an_approval_is_told(old: Plan, new: Plan) -> None:
    """People read why their approval is void: there is always at least one reason, and none without cause."""
    drifted = fingerprint("x", {}, old) != fingerprint("x", {}, new)
    assert bool(differences(old, new)) == drifted
