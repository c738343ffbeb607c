"""What crosses the border is data: it survives JSON, it is frozen, and nothing but what is known is read back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from handlers.contract import AwsRefused, Check, Fact, Outcome, Plan, Step, UsageError, unique
from handlers.steps import KINDS, decode
from handlers.steps.tag import TagExecutor, TagStep
from handlers.subnet import TagArguments
from handlers.workshop import discover
from tests.unit.makers import make_plan, tag_step


def stored(plan: Plan) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(plan.model_dump(mode="json")))
    return found


def test_a_plan_survives_the_database() -> None:
    plan = make_plan(steps=(tag_step(), tag_step(value="1", key="kubernetes.io/role/elb")))
    again = Plan.model_validate(stored(plan))
    assert stored(again) == stored(plan)
    decoded, executor = decode(again.steps[0].model_dump(mode="json"))
    assert decoded == plan.steps[0]
    assert isinstance(executor, TagExecutor)


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "shell"}, {"kind": ""}, {"kind": None}, {"kind": 1}, {"kind": ["tag"]}, {"kind": "Tag"}, {"more": "x"},
        {"resources": "subnet-1"}, {"resources": [1]}, {"key": None}, {"actions": [{"name": "ec2:*"}]}, {"before": []},
        {"value": {"!!python/object/apply:os.system": ["id"]}}, {"targets": None},
    ],
    ids=str,
)  # fmt: skip
def test_a_step_of_another_shape_is_refused(change: dict[str, Any]) -> None:
    step = {**tag_step().model_dump(mode="json"), **change}
    with pytest.raises(Exception, match="stored step") as caught:
        decode(step)
    assert type(caught.value).__name__ == "Fatal"


@pytest.mark.parametrize("name", sorted(set(TagStep.model_fields) - {"kind", "actions", "rights", "before"}))
def test_a_step_that_lacks_something_is_refused(name: str) -> None:
    step = tag_step().model_dump(mode="json")
    del step[name]
    with pytest.raises(Exception, match="cannot be read by this version"):
        decode(step)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_of_step_refuses_extras_and_names_itself(kind: str) -> None:
    model = KINDS[kind][0]
    assert issubclass(model, Step)
    assert model.model_config.get("extra") == "forbid"
    assert model.model_fields["kind"].default == kind


@pytest.mark.parametrize("thing", [make_plan(), make_plan().steps[0], make_plan().checks[0], make_plan().impact])
def test_nothing_can_be_altered(thing: Any) -> None:
    name = next(iter(type(thing).model_fields))
    with pytest.raises(ValidationError, match="frozen"):
        setattr(thing, name, "x")


@pytest.mark.parametrize(("model", "fields"), [
    (Check, {"id": "a", "title": "b", "result": "fine", "evidence": ""}),
    (Check, {"id": "a", "title": "b", "result": "pass", "evidence": "", "colour": "red"}),
    (Outcome, {"changed": "perhaps", "evidence": ""}),
    (Fact, {"name": "x", "value": object()}),
])  # fmt: skip
def test_unknown_words_are_refused(model: Any, fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        model(**fields)


@pytest.mark.parametrize(("result", "blocks"), [("pass", False), ("warn", False), ("block", True), ("unknown", True)])
def test_unknown_never_counts_as_a_pass(result: Any, blocks: bool) -> None:
    check = Check(id="x", title="x", result=result, evidence="x")
    assert check.blocks is blocks
    assert make_plan(checks=(check,)).blocked is blocks


@pytest.mark.parametrize("values", [
    {"cluster": "demo"}, {"cluster": "demo", "subnets": []}, {"cluster": "demo", "subnets": ["subnet-1"]},
    {"cluster": "-demo", "vpc": "vpc-0a1b2c3d"}, {"cluster": "demo\n", "vpc": "vpc-0a1b2c3d"},
    {"cluster": "demo", "vpc": "vpc-0a1b2c3d\n"}, {"cluster": "demo", "vpc": "vpc-0A1B2C3D"},
    {"cluster": "demo", "subnets": ["subnet-0a1b2c3d"] * 201}, {"cluster": "demo", "vpc": "arn:aws:ec2:x"},
    {"cluster": "demo", "vpc": "vpc-0a1b2c3d", "region": "https://evil.example"},
    {"cluster": "demo", "vpc": "vpc-0a1b2c3d", "policy": "{}"}, {"cluster": "a" * 43, "vpc": "vpc-0a1b2c3d"},
])  # fmt: skip
def test_arguments_are_closed(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TagArguments.model_validate(values)


def test_operations_are_found_and_whole() -> None:
    found = discover()
    assert "subnet tag" in found
    for name, operation in found.items():
        assert (name, len(name.split())) == (operation.name, 1 if name == "status" else 2)
        assert operation.summary
        assert operation.examples


def test_a_refusal_of_aws_is_for_people() -> None:
    error = AwsRefused("InvalidVpcID", "AWS refused it.", "Do this.")
    assert isinstance(error, UsageError)
    assert (str(error), error.code, error.hint) == ("AWS refused it.", "InvalidVpcID", "Do this.")


def test_unique_keeps_the_order() -> None:
    assert unique(["b", "a", "b", "c", "a"]) == ("b", "a", "c")
