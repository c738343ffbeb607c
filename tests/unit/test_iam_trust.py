"""Trust policies: our statement, whom a document lets in, and what is risky in it. Unknown is never taken for yes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers.iam.documents import Document, Statement, statements
from handlers.iam.sentences import elements
from handlers.iam.trust import Caller, own_statement, sid_of, trusts, warnings
from tests.unit.iam_makers import (
    CALLER,
    CONTROL_PLANE,
    CONTROLLERS,
    DOCUMENTS,
    EC2,
    MANAGEMENT,
    ROOT,
    SECONDARY,
    SID,
    STATEMENTS,
    STRANGER,
    document,
    ours,
    trusting,
)

PROFILE = settings(deadline=None, derandomize=True, max_examples=120)
USER = f"arn:aws:iam::{MANAGEMENT}:user/capa"
EXTERNAL = {"StringEquals": {"sts:ExternalId": "lob-dev-7"}}


def says(*found: Statement, caller: Caller = CALLER, action: str = "sts:AssumeRole") -> str:
    return trusts(document(*found), caller, action).result


# -- our statement -----------------------------------------------------------------------------------------------


def test_our_statement_names_the_account_and_asks_for_the_role() -> None:
    assert ours() == {
        "Sid": "Tkgbot111111111111",
        "Effect": "Allow",
        "Principal": {"AWS": "arn:aws:iam::111111111111:root"},
        "Action": "sts:AssumeRole",
        "Condition": {
            "StringEquals": {"sts:ExternalId": "lob-dev-7"},
            "ArnEquals": {"aws:PrincipalArn": CONTROL_PLANE},
        },
    }


def test_the_external_id_and_the_role_can_be_left_out() -> None:
    assert ours(None)["Condition"] == {"ArnEquals": {"aws:PrincipalArn": CONTROL_PLANE}}
    assert ours(whole_account=True)["Condition"] == EXTERNAL
    assert "Condition" not in ours(None, whole_account=True)


def test_the_partition_is_the_caller_s() -> None:
    found = own_statement(
        sid=sid_of(MANAGEMENT), management_account=MANAGEMENT, partition="aws-cn", principal_arn="x",
        external_id=None, whole_account=True,
    )  # fmt: skip
    assert found["Principal"] == {"AWS": f"arn:aws-cn:iam::{MANAGEMENT}:root"}


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("external_id", ["lob-dev-7", None])
def test_our_statement_lets_the_caller_in_and_nobody_else(external_id: str | None, whole: bool) -> None:
    found = document(EC2, ours(external_id, whole_account=whole))
    caller = replace(CALLER, external_id=external_id)
    assert trusts(found, caller).result == "allows"
    assert trusts(found, replace(caller, arn=USER)).result == ("allows" if whole else "silent")
    assert trusts(found, replace(caller, arn=CONTROLLERS, account=SECONDARY)).result == "silent"
    assert trusts(found, replace(caller, external_id="other")).result == ("silent" if external_id else "allows")
    assert trusts(found, caller, "sts:TagSession").result == "silent"


# -- whom a document lets in -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("principal", "result"),
    [
        ("*", "allows"),
        ({"AWS": "*"}, "allows"),
        ({"AWS": MANAGEMENT}, "allows"),
        ({"AWS": ["x", ROOT]}, "allows"),
        ({"AWS": CONTROL_PLANE}, "allows"),
        ({"Service": "ec2.amazonaws.com", "AWS": [CONTROL_PLANE]}, "allows"),
        ({"AWS": USER}, "silent"),
        ({"AWS": f"{CONTROL_PLANE}2"}, "silent"),
        ({"AWS": [STRANGER, f"arn:aws:iam::{STRANGER}:root"]}, "silent"),
        ({"AWS": f"arn:aws-cn:iam::{MANAGEMENT}:root"}, "silent"),
        ({"AWS": "AROAEXAMPLEID"}, "silent"),
        ({"AWS": f"arn:aws:sts::{STRANGER}:assumed-role/control-plane.tkg.cloud.vmware.com/i-1"}, "silent"),
        ({"AWS": f"arn:aws:sts::{MANAGEMENT}:assumed-role/other/i-1"}, "silent"),
        ({"Service": ["*", "ec2.amazonaws.com"]}, "silent"),
        ({"Federated": "*"}, "silent"),
        ({"CanonicalUser": "*"}, "silent"),
        ({}, "silent"),
        ({"AWS": f"arn:aws:sts::{MANAGEMENT}:assumed-role/control-plane.tkg.cloud.vmware.com/i-1"}, "unknown"),
        ({"AWS": f"arn:aws:iam::{MANAGEMENT}:role/*"}, "unknown"),
        ({"AWS": f"arn:aws:sts::{MANAGEMENT}:federated-user/x"}, "unknown"),
        ({"AWS": 111111111111}, "unknown"),
        ({"Odd": CONTROL_PLANE}, "unknown"),
        (ROOT, "unknown"),
        (None, "unknown"),
    ],
)  # fmt: skip
def test_principals(principal: Any, result: str) -> None:
    assert says(trusting(principal)) == result
    assert says(trusting("*"), trusting(principal, "Deny")) == {"allows": "denies", "silent": "allows"}.get(
        result, "unknown"
    )


@pytest.mark.parametrize(
    ("condition", "result"),
    [
        (EXTERNAL, "allows"),
        ({"stringequals": {"STS:externalid": ["x", "lob-dev-7"]}}, "allows"),
        ({"StringEquals": {"sts:ExternalId": "LOB-DEV-7"}}, "silent"),
        ({"StringEqualsIgnoreCase": {"sts:ExternalId": "LOB-DEV-7"}}, "allows"),
        ({"StringLike": {"sts:ExternalId": "lob-*-?"}}, "allows"),
        ({"StringLike": {"sts:ExternalId": "lob-?"}}, "silent"),
        ({"StringLike": {"sts:ExternalId": "[l]ob*"}}, "silent"),
        ({"StringNotEquals": {"sts:ExternalId": ["x", "lob-dev-7"]}}, "silent"),
        ({"StringNotEquals": {"sts:ExternalId": "x"}}, "allows"),
        ({"ArnEquals": {"aws:PrincipalArn": CONTROL_PLANE}}, "allows"),
        ({"ArnEquals": {"aws:PrincipalArn": f"arn:aws:iam::{MANAGEMENT}:role/control-*"}}, "allows"),
        ({"ArnLike": {"aws:PrincipalArn": f"arn:*:iam::*:role/*{'.vmware.com'}"}}, "allows"),
        ({"ArnLike": {"aws:PrincipalArn": f"arn:aws:iam::{STRANGER}:*"}}, "silent"),
        ({"ArnNotLike": {"aws:PrincipalArn": f"arn:aws:iam::{STRANGER}:*"}}, "allows"),
        ({"ArnLike": {"aws:PrincipalArn": "*"}}, "unknown"),
        ({"StringEquals": {"aws:PrincipalAccount": [STRANGER, MANAGEMENT]}}, "allows"),
        ({"StringEquals": {"aws:SourceAccount": MANAGEMENT}}, "silent"),
        ({"StringEqualsIfExists": {"aws:SourceAccount": STRANGER}}, "allows"),
        ({"Null": {"aws:SourceArn": "true"}}, "allows"),
        ({"Null": {"sts:ExternalId": True}}, "silent"),
        ({"Bool": {"aws:SecureTransport": "true", "aws:PrincipalIsAWSService": False}}, "allows"),
        ({"Bool": {"aws:SecureTransport": "false"}}, "silent"),
        ({**EXTERNAL, "ArnEquals": {"aws:PrincipalArn": USER}}, "silent"),
        ({**EXTERNAL, "IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}, "unknown"),
        ({"StringEquals": {"aws:PrincipalOrgID": "o-1"}}, "unknown"),
        ({"StringEquals": {"sts:ExternalId": "${aws:username}"}}, "unknown"),
        ({"StringEquals": {"sts:ExternalId": ["${aws:username}", "lob-dev-7"]}}, "allows"),
        ({"StringEquals": {"sts:ExternalId": []}}, "unknown"),
        ({"StringEquals": {"sts:ExternalId": {}}}, "unknown"),
        ({"StringEquals": "lob-dev-7"}, "unknown"),
        ({"Odd": {"sts:ExternalId": "lob-dev-7"}}, "unknown"),
        ("lob-dev-7", "unknown"),
        ({}, "allows"),
    ],
)
def test_conditions(condition: Any, result: str) -> None:
    assert says(EC2, trusting({"AWS": ROOT}, condition=condition)) == result
    denied = says(trusting({"AWS": ROOT}), trusting({"AWS": ROOT}, "Deny", condition))
    assert denied == {"allows": "denies", "silent": "allows"}.get(result, "unknown")


def test_a_caller_without_an_external_id_does_not_meet_one() -> None:
    nobody = replace(CALLER, external_id=None)
    assert says(trusting({"AWS": ROOT}, condition=EXTERNAL), caller=nobody) == "silent"
    assert says(trusting({"AWS": ROOT}, condition={"Null": {"sts:ExternalId": "true"}}), caller=nobody) == "allows"
    some = {"StringLike": {"sts:ExternalId": "*"}}
    assert says(trusting({"AWS": ROOT}, condition=some)) == "allows"
    assert says(trusting({"AWS": ROOT}, condition=some), caller=replace(CALLER, external_id="")) == "silent"


@pytest.mark.parametrize(
    ("change", "result"),
    [
        ({"Action": "sts:*"}, "allows"),
        ({"Action": ["sts:TagSession", "STS:assumerole"]}, "allows"),
        ({"Action": "sts:AssumeRoleWithSAML"}, "silent"),
        ({"Action": "sts:AssumeRol?"}, "allows"),
        ({"Action": []}, "silent"),
        ({"Action": 5}, "unknown"),
        ({"NotAction": "x"}, "unknown"),
        ({"Resource": "*"}, "unknown"),
        ({"Effect": "Permit"}, "unknown"),
        ({"Effect": []}, "unknown"),
        ({"effect": "Deny"}, "unknown"),
        ({"NotPrincipal": {"AWS": STRANGER}}, "unknown"),
    ],
)
def test_other_elements(change: Any, result: str) -> None:
    assert says({**trusting({"AWS": ROOT}), **change}) == result


def test_every_action_except_some() -> None:
    found = {"Effect": "Allow", "Principal": "*", "NotAction": "sts:TagSession"}
    assert (says(found), says(found, action="sts:TagSession")) == ("allows", "silent")


def test_why_names_the_statement() -> None:
    allow, deny = trusting({"AWS": ROOT}, Sid="In"), trusting({"AWS": CONTROL_PLANE}, "Deny")
    who = f"sts:AssumeRole to {CONTROL_PLANE}"
    odd = {"Odd": {"a": "b"}}
    told = [
        ((EC2, allow), f"Statement In allows {who}."),
        ((EC2, allow, deny), f"Statement number 3 denies {who}."),
        ((EC2,), f"No statement allows {who}."),
        ((EC2, ours("other")), f"Statement {SID} names {CONTROL_PLANE}, and its condition is not met."),
        ((trusting("*", condition=odd),), f"Statement number 1 could allow {who}: not all of it is understood here."),
        (
            (allow, trusting("*", "Deny", odd, Sid="a b")),
            f'Statement "a b" could deny {who}: not all of it is understood here.',
        ),
    ]
    for found, why in told:
        assert trusts(document(*found), CALLER).why == why


# -- by property -------------------------------------------------------------------------------------------------


def names_us(statement: Statement) -> bool:
    """Does the caller, its account or everybody stand anywhere among the principals? Said with plain words."""
    principal = statement.get("Principal")
    listed = elements(principal.get("AWS", [])) if isinstance(principal, dict) else [principal]
    return any(item in ("*", CONTROL_PLANE, MANAGEMENT, ROOT) for item in listed)


@PROFILE
@given(DOCUMENTS)
def test_nobody_is_let_in_whom_no_statement_names(found: Document) -> None:
    if trusts(found, CALLER).result == "allows":
        assert any(there["Effect"] == "Allow" and names_us(there) for there in statements(found))


@pytest.mark.long
@PROFILE
@given(st.lists(STATEMENTS, max_size=3), st.sampled_from(["*", {"AWS": ROOT}, {"AWS": [STRANGER, CONTROL_PLANE]}]))
def test_a_denial_without_conditions_wins(found: list[Statement], principal: Any) -> None:
    assert says(*found, ours(), trusting(principal, "Deny")) == "denies"
    assert says(trusting(principal, "Deny"), ours(), *found) == "denies"


@pytest.mark.long
@PROFILE
@given(st.lists(STATEMENTS, max_size=3))
def test_our_statement_opens_what_nothing_denies(found: list[Statement]) -> None:
    before, after = says(*found), says(*found, ours())
    assert after == {"silent": "allows"}.get(before, after)
    assert (before == "denies") == (after == "denies")
    allows_only = [{**there, "Effect": "Allow"} for there in found]
    assert says(*allows_only, ours()) == "allows"


@pytest.mark.long
@PROFILE
@given(DOCUMENTS)
def test_what_nobody_understands_never_lets_in(found: Document) -> None:
    odd = [{**there, "Odd": 1} for there in statements(found)]
    assert says(*odd) in ("silent", "unknown")


# -- what is risky -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        (trusting("*"), "Statement number 2 is open to everybody, in every AWS account. Name the accounts or roles "
                        "instead."),
        (trusting({"AWS": ["*"]}, Sid="Open"), "Statement Open is open to everybody, in every AWS account."),
        (trusting("*", condition=EXTERNAL), "is open to everybody who knows the external id, in every AWS account."),
        (trusting("*", condition={"StringLike": {"aws:PrincipalArn": "*"}}), "is open to everybody, in"),
        (trusting("*", condition={"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/x"}}),
         "is open to everybody, in"),
        (trusting("*", condition={"StringEquals": {"aws:PrincipalTag/a": "b"}}), "is open to everybody, in"),
        (trusting("*", condition={"StringNotEquals": {"aws:PrincipalAccount": STRANGER}}), "is open to everybody, in"),
        (trusting("*", condition={"StringEqualsIfExists": {"aws:PrincipalAccount": MANAGEMENT}}),
         "is open to everybody, in"),
        (trusting("*", condition={"StringLike": {"aws:PrincipalAccount": [MANAGEMENT, "*"]}}),
         "is open to everybody, in"),
        ({"Effect": "Allow", "NotPrincipal": {"AWS": STRANGER}, "Action": "sts:AssumeRole"},
         "is open to everybody except those whom it names."),
        (trusting({"AWS": "AROAEXAMPLEID"}),
         "names AROAEXAMPLEID, a role or user that was deleted: nobody is it again. Name the new one."),
        (trusting({"AWS": ["AIDAEXAMPLEID", CONTROLLERS]}, "Deny"), "names AIDAEXAMPLEID, a role or user that was"),
        (trusting({"AWS": ROOT}), f"is open to the whole account {MANAGEMENT} without an external id. Add a condition "
                                  "on sts:ExternalId or aws:PrincipalArn."),
        (trusting({"AWS": MANAGEMENT}, condition={"StringEquals": {"aws:PrincipalAccount": MANAGEMENT}}),
         f"is open to the whole account {MANAGEMENT} without an external id."),
    ],
)  # fmt: skip
def test_what_is_risky_is_told(statement: Statement, told: str) -> None:
    found = warnings(document(EC2, statement), SECONDARY)
    assert len(found) == 1
    assert told in found[0]


@pytest.mark.parametrize(
    "statement",
    [
        EC2, ours(), ours(None), ours(whole_account=True), trusting({"AWS": CONTROL_PLANE}),
        trusting("*", "Deny"), trusting({"AWS": ROOT}, "Deny"),
        trusting({"AWS": SECONDARY}), trusting({"AWS": f"arn:aws:iam::{SECONDARY}:root"}),
        trusting("*", condition={"StringEquals": {"aws:PrincipalOrgID": "o-1"}}),
        trusting("*", condition={"ForAnyValue:StringLike": {"aws:PrincipalOrgPaths": "o-1/r-1/ou-1/*"}}),
        trusting("*", condition={"ArnLike": {"aws:PrincipalArn": f"arn:aws:iam::{MANAGEMENT}:role/*"}}),
        trusting({"AWS": ROOT}, condition={"StringEquals": {"aws:PrincipalTag/team": "a"}}),
        trusting({"Service": "*"}), trusting("AROA"), trusting({"AWS": [5, None]}),
    ],
)  # fmt: skip
def test_what_is_usual_is_not_told(statement: Statement) -> None:
    assert warnings(document(statement), SECONDARY) == ()


@PROFILE
@given(DOCUMENTS)
def test_warnings_name_statements_of_the_document(found: Document) -> None:
    for line in warnings(found):
        assert line.startswith("Statement ")
        assert "\n" not in line
    assert len(warnings(found)) >= sum(
        there["Effect"] == "Allow" and there.get("Principal") == "*" and "Condition" not in there
        for there in statements(found)
    )
