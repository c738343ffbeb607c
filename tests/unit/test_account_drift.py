"""What became of the tie of an account, from plans and checks made by hand: each sentence, and what cannot be told."""

from __future__ import annotations

from typing import Any

import pytest

from handlers.account_drift import access_drift, way_drift
from handlers.account_probe import probe_steps
from handlers.account_words import OnboardArguments
from handlers.contract import Check, Fatal, Finding, Plan, Step
from tests.unit.makers import make_plan
from tests.unit.test_account_probe import Kube

ARGUMENTS = OnboardArguments(account_id="777788889999", identity="team-a", namespaces="default", region="us-east-1")
LOOK = "`/tkg account check team-a` shows both sides."


def step(kind: str, title: str = "", **before: Any) -> Step:
    return Step(kind=kind, title=title or f"do the {kind}", targets=("IAM of account 777788889999",), before=before)


STACK, TRUST, GRANT = step("stack", stack="arn:stack"), step("trust", digest="0"), step("grant")
IDENTITY = step("apply", uid="1-2-3", spec={})
NO_IDENTITY = step("apply", uid=None, spec=None)
WAITS = (step("await-access"), step("await-credential"), step("remove"))
SAID = {
    "stack": "The stack in account team-a is not as this tkgbot makes it.",
    "no stack": "The stack in account team-a is gone.",
    "roles": "The roles in account team-a are gone, or cannot be seen.",
    "trust": "The role in account team-a does not let the controllers in any more.",
    "grant": "The controllers have lost the right to get into account team-a.",
    "identity": "The identity team-a does not say any more what was approved.",
    "no identity": "The identity team-a is missing.",
}


def check(name: str, result: Any, fix: str = "Mend it.") -> Check:
    return Check(id=name, title=name.title(), result=result, evidence=f"It is the {name}.", fix=fix)


def plan(*steps: Step, checks: tuple[Check, ...] = ()) -> Plan:
    return make_plan(steps=steps, checks=checks)


def way(new: Plan) -> Finding | None:
    """The one finding of a new plan, if there is one."""
    every = way_drift(ARGUMENTS, new, "account onboard")
    assert len(every) < 2
    return every[0] if every else None


def access(*checks: Check) -> Finding | None:
    """The one finding of a check of both sides, if there is one."""
    every = access_drift(ARGUMENTS, checks)
    assert len(every) < 2
    return every[0] if every else None


# -- the tie itself ----------------------------------------------------------------------------------------------


def test_nothing_to_do_again_is_no_drift() -> None:
    assert way(plan()) is None
    assert way(plan(checks=(check("stack", "pass"), check("trust", "warn")))) is None


def test_steps_that_only_wait_or_look_are_no_drift() -> None:
    assert way(plan(*WAITS)) is None


@pytest.mark.parametrize(
    ("lost", "kind", "said"),
    [
        (STACK, "trust", "stack"),
        (step("stack"), "trust", "no stack"),
        (step("stack", stack=None), "trust", "no stack"),
        (step("await-stack"), "trust", "roles"),
        (TRUST, "trust", "trust"),
        (GRANT, "trust", "grant"),
        (IDENTITY, "identity", "identity"),
        (NO_IDENTITY, "identity", "no identity"),
    ],
)
def test_each_part_of_the_tie_that_is_lost(lost: Step, kind: str, said: str) -> None:
    found = way(plan(*WAITS, lost))
    assert found is not None
    assert (found.id, found.kind, found.account) == (f"{kind} team-a", kind, "team-a")
    assert found.title == SAID[said]
    assert found.evidence == f"To be done again: {lost.title}."
    assert found.fix == ""


def test_several_are_one_finding_in_the_order_in_which_they_are_repaired() -> None:
    found = way(plan(step("stack"), TRUST, GRANT, *WAITS, NO_IDENTITY))
    assert found is not None
    assert (found.id, found.kind) == ("identity team-a", "identity")
    assert found.title == " ".join(SAID[name] for name in ("no stack", "trust", "grant", "no identity"))
    assert found.evidence == "To be done again: do the stack; do the trust; do the grant; do the apply."


def test_the_cluster_that_proves_the_way_is_no_identity() -> None:
    """A team may have the provider try it after each repair, with objects that are made for a moment."""
    kube: Any = Kube()
    proof = probe_steps(kube, "team-a", "ops", "us-east-1", patience=1.0, targets=("identity team-a",))
    assert way(plan(*proof)) is None
    found = way(plan(TRUST, *proof))
    assert found is not None
    assert (found.id, found.title) == ("trust team-a", SAID["trust"])
    assert found.evidence == "To be done again: do the trust."


def test_the_repair_is_the_same_request_again() -> None:
    found = way(plan(TRUST))
    assert found is not None
    assert found.repair is not None
    assert (found.repair.title, found.repair.label) == ("Bring account team-a in again.", "Onboard team-a")
    assert found.repair.operation == "account onboard"
    assert OnboardArguments.model_validate(found.repair.arguments) == ARGUMENTS


def test_a_label_is_never_longer_than_a_button() -> None:
    long = ARGUMENTS.model_copy(update={"identity": "a" * 60})
    (found,) = way_drift(long, plan(TRUST), "account onboard")
    assert found.repair is not None
    assert found.repair.label == f"Onboard {'a' * 22}"


@pytest.mark.parametrize(("fix", "told"), [("Mend it.", "Mend it."), ("", LOOK)])
def test_what_stands_in_the_way_of_a_repair_is_said_and_nothing_is_offered(fix: str, told: str) -> None:
    found = way(plan(TRUST, checks=(check("rights", "warn"), check("stack", "block", fix), check("trust", "block"))))
    assert found is not None
    assert (found.id, found.kind, found.account) == ("trust team-a stack", "trust", "team-a")
    assert found.title == "The way into account team-a is not as it was made."
    assert (found.evidence, found.fix, found.repair) == ("It is the stack.", told, None)


@pytest.mark.parametrize(
    "blind",
    [
        check("account", "block"), check("cluster-api", "block"), check("controllers", "block"),
        check("trust", "unknown"),
    ],
)  # fmt: skip
def test_what_cannot_be_seen_is_not_called_lost(blind: Check) -> None:
    with pytest.raises(Fatal) as refused:
        way(plan(TRUST, checks=(check("stack", "block"), blind)))
    assert (refused.value.message, refused.value.hint) == (blind.evidence, "Mend it.")


# -- both sides --------------------------------------------------------------------------------------------------


def test_a_way_that_works_is_no_drift() -> None:
    assert access() is None
    assert access(check("reader", "pass"), check("permissions", "warn")) is None


@pytest.mark.parametrize(("fix", "told"), [("Mend it.", "Mend it."), ("", LOOK)])
def test_the_first_thing_that_is_wrong_is_said(fix: str, told: str) -> None:
    found = access(check("reader", "pass"), check("permissions", "block", fix), check("scp", "block"))
    assert found is not None
    assert (found.id, found.kind, found.account) == ("trust team-a permissions", "trust", "team-a")
    assert found.title == "The way into account team-a does not work."
    assert (found.evidence, found.fix, found.repair) == ("It is the permissions.", told, None)


def test_what_is_wrong_counts_even_where_something_else_cannot_be_seen() -> None:
    found = access(check("grant", "unknown"), check("permissions", "block"))
    assert found is not None
    assert found.evidence == "It is the permissions."


def test_a_side_that_cannot_be_seen_is_not_called_well() -> None:
    with pytest.raises(Fatal) as refused:
        access(check("reader", "pass"), check("grant", "unknown"))
    assert (refused.value.message, refused.value.hint) == ("It is the grant.", "Mend it.")
