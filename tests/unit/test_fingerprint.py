"""What people approve: every material thing changes the fingerprint, and no wording does."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers.contract import Action, Check, Fact, Impact, Plan, Right, Table, fingerprint
from handlers.steps.tag import TagStep
from tests.unit.makers import NASTY, SUBNETS, make_plan, tag_step

PROFILE = settings(deadline=None, derandomize=True, max_examples=100)
OPERATION, ARGUMENTS = "subnet tag", {"cluster": "demo", "subnets": list(SUBNETS[:2]), "vpc": None, "role_tag": False}
PLAN = make_plan(
    checks=(
        Check(id="a", title="A", result="pass", evidence="one"), Check(id="b", title="B", result="warn", evidence="two")
    ),
    facts=(
        Fact(name="s1", value={"vpc": "vpc-1", "zones": ["a", "b"]}), Fact(name="s2", value=None),
        Fact(name="count", value=3, material=False),
    ),
    targets=("one", "two"),
    steps=(tag_step(), tag_step(key="kubernetes.io/role/elb", value="1")),
)  # fmt: skip
SEAL = fingerprint(OPERATION, ARGUMENTS, PLAN)


def seal(plan: Plan, operation: str = OPERATION, arguments: Any = None) -> str:
    return fingerprint(operation, ARGUMENTS if arguments is None else arguments, plan)


def changed(**changes: Any) -> Plan:
    return PLAN.model_copy(update=changes)


def test_it_is_sha256_of_canonical_json() -> None:
    empty = make_plan(checks=(), facts=(), targets=(), steps=())
    text = '{"arguments":{},"checks":[],"facts":{},"operation":"x","steps":[],"targets":[]}'
    assert fingerprint("x", {}, empty) == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    "same",
    [
        changed(headline="other words"),
        changed(details=None),
        changed(details=Table(header=("x",), rows=(("y",),))),
        changed(impact=Impact(creates=("x",), reversible=False, undo="no", cost_per_hour_usd=9.0)),
        changed(
            checks=tuple(check.model_copy(update={"title": "T", "evidence": "E", "fix": "F"}) for check in PLAN.checks)
        ),
        changed(checks=PLAN.checks[::-1]),
        changed(facts=PLAN.facts[::-1]),
        changed(facts=PLAN.facts[:2]),
        changed(facts=(*PLAN.facts[:2], Fact(name="count", value=4, material=False))),
        changed(targets=PLAN.targets[::-1]),
        changed(steps=tuple(step.model_copy(update={"title": "T"}) for step in PLAN.steps)),
    ],
    ids=str,
)
def test_wording_and_order_do_not_matter(same: Plan) -> None:
    assert seal(same) == SEAL


def test_the_order_of_keys_does_not_matter() -> None:
    assert seal(PLAN, arguments=dict(reversed(ARGUMENTS.items()))) == SEAL
    facts = (Fact(name="s1", value={"zones": ["a", "b"], "vpc": "vpc-1"}), *PLAN.facts[1:])
    assert seal(changed(facts=facts)) == SEAL


STEP_CHANGES: list[dict[str, Any]] = [
    {"targets": ("elsewhere",)}, {"actions": ()}, {"before": {}}, {"before": {**PLAN.steps[0].before, SUBNETS[0]: "x"}},
    {"account": "tenant"}, {"region": "eu-west-1"}, {"resources": SUBNETS[:3]}, {"resources": SUBNETS[1::-1]},
    {"key": "kubernetes.io/cluster/other"}, {"value": "owned"}, {"kind": "other"},
    {"rights": (Right(verb="delete", resource="secrets"),)},
]  # fmt: skip


@pytest.mark.parametrize("change", STEP_CHANGES, ids=str)
def test_every_field_of_a_step_matters_but_its_title(change: dict[str, Any]) -> None:
    steps = (PLAN.steps[0].model_copy(update=change), PLAN.steps[1])
    assert seal(changed(steps=steps)) != SEAL


def test_no_field_of_a_step_was_forgotten() -> None:
    assert {name for change in STEP_CHANGES for name in change} == set(TagStep.model_fields) - {"title"}


@pytest.mark.parametrize(
    "change",
    [
        {"name": "ec2:*"}, {"account": "x"}, {"region": "x"}, {"resources": ("arn:x",)}, {"conditions": {"Bool": {}}},
    ],
    ids=str,
)  # fmt: skip
def test_every_right_that_a_step_asks_for_matters(change: dict[str, Any]) -> None:
    assert set(Action.model_fields) == {"name", "account", "region", "resources", "conditions"}
    step = PLAN.steps[0]
    actions = (step.actions[0].model_copy(update=change), *step.actions[1:])
    assert seal(changed(steps=(step.model_copy(update={"actions": actions}), PLAN.steps[1]))) != SEAL


@pytest.mark.parametrize(
    "other",
    [
        changed(steps=PLAN.steps[::-1]), changed(steps=PLAN.steps[:1]), changed(steps=(*PLAN.steps, tag_step())),
        changed(targets=("one",)), changed(targets=("one", "two", "two")), changed(targets=("onetwo",)),
        changed(checks=PLAN.checks[:1]),
        changed(checks=(PLAN.checks[0].model_copy(update={"result": "warn"}), PLAN.checks[1])),
        changed(checks=(PLAN.checks[0].model_copy(update={"id": "c"}), PLAN.checks[1])),
        changed(facts=PLAN.facts[:1]),
        changed(facts=(Fact(name="s1", value={"vpc": "vpc-2", "zones": ["a", "b"]}), PLAN.facts[1])),
        changed(facts=(Fact(name="s1", value={"vpc": "vpc-1", "zones": ["b", "a"]}), PLAN.facts[1])),
        changed(facts=(Fact(name="s9", value={"vpc": "vpc-1", "zones": ["a", "b"]}), PLAN.facts[1])),
        changed(facts=(*PLAN.facts[:2], Fact(name="count", value=3))),
    ],
    ids=lambda plan: "",
)  # fmt: skip
def test_what_is_material_matters(other: Plan) -> None:
    assert seal(other) != SEAL


def test_operation_and_arguments_matter() -> None:
    assert seal(PLAN, operation="subnet untag") != SEAL
    for change in ({"cluster": "demo2"}, {"role_tag": True}, {"vpc": "vpc-1"}, {"more": None}):
        assert seal(PLAN, arguments={**ARGUMENTS, **change}) != SEAL
    assert seal(PLAN, arguments={**ARGUMENTS, "subnets": list(SUBNETS[1::-1])}) != SEAL


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(NASTY) | st.text(st.characters(exclude_categories=("Cs",)), max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@PROFILE
@given(values, st.dictionaries(st.sampled_from("abc"), values), st.sampled_from(NASTY))
def test_a_round_trip_through_the_database_keeps_it(value: Any, arguments: dict[str, Any], words: str) -> None:
    step = tag_step(before={SUBNETS[0]: value, words: None}, title=words, key=words or "k")
    plan = make_plan(facts=(Fact(name=words, value=value),), steps=(step,), headline=words)
    stored = json.loads(json.dumps(plan.model_dump(mode="json")))
    again = Plan.model_validate(stored)
    assert fingerprint("x", json.loads(json.dumps(arguments)), again) == fingerprint("x", arguments, plan)
    assert again.model_dump(mode="json") == stored
