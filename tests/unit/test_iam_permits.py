"""What a principal's own policies permit: denials first, wildcards, conditions, and doubt that counts against."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers.iam.documents import Document, Statement, statements, widened
from handlers.iam.permits import permits
from tests.unit.iam_makers import CONTROLLERS, DOCUMENTS, SECONDARY, STRANGER, document

PROFILE = settings(deadline=None, derandomize=True, max_examples=120)
ASSUME = "sts:AssumeRole"


def allow(action: Any = ASSUME, resource: Any = CONTROLLERS, condition: Any = None, **others: Any) -> Statement:
    found = {"Effect": "Allow", "Action": action, "Resource": resource, **others}
    return found if condition is None else {**found, "Condition": condition}


def deny(*words: Any, **others: Any) -> Statement:
    return {**allow(*words, **others), "Effect": "Deny"}


def says(*found: Statement, resource: str = CONTROLLERS, context: Any = None) -> str:
    return permits([document(*found)], ASSUME, resource, context or {})


def test_our_policy_permits_the_roles_that_it_names() -> None:
    policy = widened(None, "TkgbotAssume", CONTROLLERS)
    assert permits([policy], ASSUME, CONTROLLERS) == "allow"
    assert permits([policy], ASSUME, CONTROLLERS.replace(SECONDARY, STRANGER)) == "none"
    assert permits([policy], "sts:TagSession", CONTROLLERS) == "none"
    assert permits([], ASSUME, CONTROLLERS) == "none"


def test_a_denial_in_any_policy_wins() -> None:
    assert permits([document(allow()), document(deny())], ASSUME, CONTROLLERS) == "deny"
    assert permits([document(deny("*", "*")), document(allow())], ASSUME, CONTROLLERS) == "deny"
    assert says(deny("ec2:*"), deny(ASSUME, "arn:aws:iam::*:role/other"), allow()) == "allow"


@pytest.mark.parametrize(
    ("resource", "result"),
    [
        ("*", "allow"),
        ([CONTROLLERS], "allow"),
        (["x", "arn:aws:iam::*:role/*.tkg.cloud.vmware.com"], "allow"),
        ("arn:*:iam::22222222222?:role/controllers*", "allow"),
        ("arn:aws:iam::222222222222:*", "allow"),
        ("arn:aws:iam::222222222222:role/Controllers.tkg.cloud.vmware.com", "none"),
        ("arn:aws:iam::222222222222:role/controllers", "none"),
        ("arn:aws:iam::222222222222:role/[a-z]*", "none"),
        ("arn:aws:s3:::*", "none"),
        ([], "none"),
        ("arn:aws:iam:*", "unknown"),
        ("arn:*/controllers*", "unknown"),
        ("arn:aws:iam::222222222222:role/${aws:username}", "unknown"),
        (["${x}", CONTROLLERS], "allow"),
        (5, "unknown"),
    ],
)
def test_resources(resource: Any, result: str) -> None:
    assert says(allow(resource=resource)) == result
    assert says(allow(), deny(resource=resource)) == {"allow": "deny", "none": "allow"}.get(result, result)
    inverse = {"Effect": "Allow", "Action": ASSUME, "NotResource": resource}
    assert says(inverse) == {"allow": "none", "none": "allow"}.get(result, result)


@pytest.mark.parametrize(
    ("action", "result"),
    [
        ("*", "allow"), ("sts:*", "allow"), ("STS:assumeROLE", "allow"), ("sts:Assume*", "allow"),
        ("sts:Assume?ole", "allow"), (["ec2:*", ASSUME], "allow"), ("sts:AssumeRoleWithSAML", "none"),
        ("sts:Assume", "none"), ("st", "none"), ([], "none"), (None, "unknown"), (["ec2:*", {}], "unknown"),
    ],
)  # fmt: skip
def test_actions(action: Any, result: str) -> None:
    assert says(allow(action)) == result
    inverse = {"Effect": "Allow", "NotAction": action, "Resource": "*"}
    assert says(inverse) == {"allow": "none", "none": "allow"}.get(result, result)


@pytest.mark.parametrize(
    ("condition", "result"),
    [
        ({"StringEquals": {"aws:ResourceAccount": SECONDARY}}, "allow"),
        ({"StringEquals": {"AWS:resourceACCOUNT": [STRANGER]}}, "none"),
        ({"StringLike": {"aws:ResourceAccount": "2*"}, "Bool": {"aws:SecureTransport": True}}, "allow"),
        ({"Bool": {"aws:SecureTransport": "False"}}, "none"),
        ({"Null": {"aws:Gone": "true", "aws:ResourceAccount": "false"}}, "allow"),
        ({"Null": {"aws:Gone": False}}, "none"),
        ({"Null": {"aws:Gone": "perhaps"}}, "unknown"),
        ({"StringEquals": {"aws:Gone": "x"}}, "none"),
        ({"StringNotEquals": {"aws:Gone": "x"}}, "allow"),
        ({"StringEqualsIfExists": {"aws:Gone": "x"}}, "allow"),
        ({"StringEqualsIfExists": {"aws:ResourceAccount": STRANGER}}, "none"),
        ({"StringNotLikeIfExists": {"aws:ResourceAccount": "3*"}}, "allow"),
        ({"ForAllValues:StringEquals": {"aws:TagKeys": ["a", "b", "c"]}}, "allow"),
        ({"ForAllValues:StringEquals": {"aws:TagKeys": "a"}}, "none"),
        ({"ForAllValues:StringEquals": {"aws:Gone": "a"}}, "allow"),
        ({"ForAllValues:StringNotLike": {"aws:TagKeys": "c*"}}, "allow"),
        ({"ForAllValues:StringNotLike": {"aws:TagKeys": "b*"}}, "none"),
        ({"ForAnyValue:StringEquals": {"aws:TagKeys": ["b", "x"]}}, "allow"),
        ({"ForAnyValue:StringEquals": {"aws:TagKeys": "x"}}, "none"),
        ({"ForAnyValue:StringEquals": {"aws:Gone": "a"}}, "none"),
        ({"ForAnyValue:StringNotEquals": {"aws:TagKeys": "a"}}, "allow"),
        ({"ForAnyValue:StringNotEquals": {"aws:Gone": "a"}}, "none"),
        ({"ForAllValues:StringEquals": {"aws:Empty": "a"}}, "allow"),
        ({"ForAnyValue:StringEquals": {"aws:Empty": "a"}}, "none"),
        ({"Null": {"aws:Empty": "true"}}, "allow"),
        ({"StringEquals": {"aws:TagKeys": "a"}}, "unknown"),
        ({"ForSomeValues:StringEquals": {"aws:TagKeys": "a"}}, "unknown"),
        ({"NumericEquals": {"aws:ResourceAccount": 2}}, "unknown"),
        ({"NotStringEquals": {"aws:ResourceAccount": "2"}}, "unknown"),
        ({"StringEquals": {"aws:Unheard": "x"}}, "unknown"),
        ({"StringEqualsIfExists": {"aws:Unheard": "x"}}, "unknown"),
        ({"Null": {"aws:Unheard": "true"}}, "unknown"),
        ({"StringEquals": {"aws:Unheard": "x", "aws:ResourceAccount": STRANGER}}, "none"),
    ],
)
def test_conditions(condition: Any, result: str) -> None:
    context = {
        "aws:resourceAccount": SECONDARY, "aws:SecureTransport": "true", "aws:Gone": None, "aws:TagKeys": ("a", "b"),
        "aws:Empty": (),
    }  # fmt: skip
    assert says(allow(condition=condition), context=context) == result
    denied = says(allow(), deny(condition=condition), context=context)
    assert denied == {"allow": "deny", "none": "allow"}.get(result, result)


@pytest.mark.parametrize(
    "change",
    [{"Principal": "*"}, {"Odd": 1}, {"Effect": "Permit"}, {"Effect": {}}, {"NotAction": "x"}, {"NotResource": "x"}],
)
def test_what_is_not_understood_counts_against(change: Any) -> None:
    assert says({**allow(), **change}) == "unknown"
    assert says(allow(), {**deny(), **change}) == "unknown"


def test_what_is_about_another_action_need_not_be_understood() -> None:
    assert says(deny("ec2:*", Odd=1), allow()) == "allow"


@pytest.mark.parametrize("key", ["Action", "Resource", "Effect"])
def test_a_statement_without_an_element_is_not_understood(key: str) -> None:
    assert says({name: value for name, value in allow().items() if name != key}) == "unknown"


@pytest.mark.timeout(60)
def test_many_wildcards_are_answered_at_once() -> None:
    """A team of another account writes the patterns, so none may keep the bot busy: tried one by one, they would take
    longer than anybody lives."""
    assert says(allow(resource="*a" * 400), resource="a" * 5_000 + "b") == "none"


@PROFILE
@given(DOCUMENTS)
def test_nothing_is_allowed_without_an_allowing_statement(found: Document) -> None:
    answer = permits([found], ASSUME, CONTROLLERS)
    if answer == "allow":
        assert any(there["Effect"] == "Allow" for there in statements(found))
    assert permits([found, document(deny("*", "*"))], ASSUME, CONTROLLERS) == "deny"
    odd = document(*({**there, "Odd": 1} for there in statements(found)))
    assert permits([odd], ASSUME, CONTROLLERS) in ("none", "unknown")


@pytest.mark.long
@PROFILE
@given(st.lists(DOCUMENTS, max_size=3))
def test_the_order_of_policies_does_not_matter(found: list[Document]) -> None:
    answer = permits(found, ASSUME, CONTROLLERS)
    assert permits(found[::-1], ASSUME, CONTROLLERS) == answer
    joined = document(*(there for each in found for there in statements(each)))
    assert permits([joined], ASSUME, CONTROLLERS) == answer
    outcomes = {permits([each], ASSUME, CONTROLLERS) for each in found}
    assert ("deny" in outcomes) == (answer == "deny")
