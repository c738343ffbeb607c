"""What became of tags that a request has put, from plans made by hand: each sentence, and what cannot be told."""

from __future__ import annotations

from typing import Any

import pytest

from handlers.contract import Check, Fatal, Finding, Plan, Step
from handlers.subnet import TagArguments
from handlers.subnet_drift import tags_drift
from tests.unit.clouds import ROLE
from tests.unit.makers import SUBNETS, make_plan, tag_step

FIRST, SECOND, THIRD = SUBNETS[:3]
VPC = "vpc-0a1b2c3d4e5f60718"


def arguments(**changes: Any) -> TagArguments:
    fields = {"cluster": "demo", "subnets": [SECOND, FIRST], "account": "management", "region": "us-east-1"}
    return TagArguments.model_validate({**fields, **changes})


def in_vpc() -> TagArguments:
    return arguments(subnets=[], vpc=VPC)


def stands(name: str, result: Any = "block", fix: str = "Mend it.") -> Check:
    """A check that stands in the way."""
    return Check(id=name, title=name.title(), result=result, evidence=f"It is the {name}.", fix=fix)


def plan(*steps: Step, checks: tuple[Check, ...] = ()) -> Plan:
    return make_plan(steps=steps, checks=checks)


def drift(made: TagArguments, new: Plan) -> Finding | None:
    """The one finding of a new plan, if there is one."""
    every = tags_drift(made, new, "subnet tag")
    assert len(every) < 2
    return every[0] if every else None


def test_nothing_to_do_again_is_no_drift() -> None:
    passed = Check(id="public", title="Public", result="pass", evidence="They are.")
    assert drift(arguments(), plan()) is None
    assert drift(arguments(), plan(checks=(passed, stands("foreign", "warn")))) is None


@pytest.mark.parametrize(
    ("lost", "title", "evidence", "offered"),
    [
        ((FIRST,), "1 subnet of demo has lost the cluster's tag.", f"{FIRST}.", "Tag 1 subnet for demo again."),
        (
            (SECOND, FIRST), "2 subnets of demo have lost the cluster's tag.", f"{FIRST}, {SECOND}.",
            "Tag 2 subnets for demo again.",
        ),
    ],
)  # fmt: skip
def test_a_lost_tag_is_offered_again_as_it_was_asked_for(
    lost: tuple[str, ...], title: str, evidence: str, offered: str
) -> None:
    made = arguments()
    found = drift(made, plan(tag_step(*lost)))
    assert found is not None
    assert (found.id, found.kind) == (f"tag management demo {FIRST}", "tag")
    assert (found.title, found.evidence, found.fix) == (title, evidence, "")
    assert (found.account, found.cluster, found.request) == ("management", "demo", "")
    assert found.repair is not None
    assert (found.repair.title, found.repair.label) == (offered, "Tag demo again")
    assert (found.repair.operation, found.repair.arguments) == ("subnet tag", made.model_dump(mode="json"))


def test_the_offer_can_be_asked_for() -> None:
    """The stored arguments are those of the operation, in a label that a button can hold."""
    found = drift(arguments(cluster="d" * 40), plan(tag_step(FIRST)))
    assert found is not None
    assert found.repair is not None
    assert len(found.repair.label) == 30
    assert TagArguments.model_validate(found.repair.arguments) == arguments(cluster="d" * 40)


def test_another_tag_than_the_clusters_is_named_and_is_another_finding() -> None:
    found = drift(arguments(), plan(tag_step(FIRST, key=ROLE, value="1")))
    assert found is not None
    assert found.id == f"tag management demo {FIRST} role"
    assert found.title == f"1 subnet of demo has lost the tag {ROLE}."


def test_two_tags_are_one_finding_that_names_both() -> None:
    found = drift(arguments(), plan(tag_step(FIRST), tag_step(FIRST, SECOND, key=ROLE, value="1")))
    assert found is not None
    assert found.id == f"tag management demo {FIRST}"
    assert found.title == f"2 subnets of demo have lost the cluster's tag or the tag {ROLE}."
    assert found.evidence == f"{FIRST}, {SECOND}."


@pytest.mark.parametrize(
    ("lost", "title"),
    [
        ((THIRD,), f"1 subnet of demo has lost the cluster's tag, or has come new into {VPC} without it."),
        ((FIRST, THIRD), f"2 subnets of demo have lost the cluster's tag, or have come new into {VPC} without it."),
    ],
)
def test_of_a_whole_vpc_it_may_be_a_new_subnet(lost: tuple[str, ...], title: str) -> None:
    found = drift(in_vpc(), plan(tag_step(*lost)))
    assert found is not None
    assert (found.id, found.title) == (f"tag management demo {VPC}", title)


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("subnet", "A subnet that was tagged for demo is gone."),
        ("vpc", "The VPC that was tagged for demo is gone."),
    ],
)
def test_what_is_gone_is_said_and_cannot_be_tagged_again(name: str, title: str) -> None:
    found = drift(arguments(), plan(checks=(stands(name),)))
    assert found is not None
    assert (found.id, found.kind) == (f"tag management demo {FIRST} {name}", "tag")
    assert (found.title, found.evidence) == (title, f"It is the {name}.")
    assert found.fix == "Tag what stands in its place: /tkg subnet tag demo SUBNET"
    assert found.repair is None


def test_what_else_stands_in_the_way_is_said_with_its_own_fix() -> None:
    found = drift(arguments(), plan(checks=(stands("foreign", "warn"), stands("public"), stands("limit"))))
    assert found is not None
    assert found.id == f"tag management demo {FIRST} public"
    assert found.title == "The subnets of demo are not as they were when they were tagged."
    assert (found.evidence, found.fix, found.repair) == ("It is the public.", "Mend it.", None)


@pytest.mark.parametrize(
    "checks",
    [
        (stands("account"),),
        (stands("public", "unknown"),),
        (stands("subnet"), stands("limit", "unknown")),
    ],
)
def test_what_cannot_be_seen_is_not_called_lost(checks: tuple[Check, ...]) -> None:
    with pytest.raises(Fatal) as refused:
        drift(arguments(), plan(tag_step(FIRST), checks=checks))
    assert (refused.value.message, refused.value.hint) == (checks[-1].evidence, "Mend it.")


def test_without_an_account_the_finding_names_none() -> None:
    found = drift(arguments(account=None), plan(tag_step(FIRST)))
    assert found is not None
    assert found.account == ""
