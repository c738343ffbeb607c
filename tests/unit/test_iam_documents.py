"""IAM documents: read in every form, compared by meaning, and changed without losing or altering what others wrote."""

from __future__ import annotations

import json
import random
from copy import deepcopy
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers.iam.documents import (
    Document,
    Malformed,
    Statement,
    compact,
    difference,
    digest,
    merged,
    narrowed,
    normalised,
    parsed,
    same,
    size,
    statements,
    widened,
    without,
)
from tests.unit.iam_makers import (
    CONTROL_PLANE,
    CONTROLLERS,
    DOCUMENTS,
    EC2,
    MANAGEMENT,
    OWN,
    ROOT,
    SID,
    STATEMENTS,
    document,
    ours,
    respelled,
    trusting,
)

pytestmark = pytest.mark.long

PROFILE = settings(deadline=None, derandomize=True, max_examples=80)
OTHER = "arn:aws:iam::333333333333:role/controllers.tkg.cloud.vmware.com"
ASSUME_SID = "TkgbotAssume"


def others(found: Document, *sids: str) -> list[Statement]:
    """The statements that are not ours, as they stand."""
    return [there for there in statements(found) if there.get("Sid") not in sids]


# -- read --------------------------------------------------------------------------------------------------------


TEXT = json.dumps(document(EC2))


@pytest.mark.parametrize(
    "raw", [document(EC2), TEXT, quote(TEXT), quote(TEXT, safe=""), json.dumps(document(EC2), indent=2)]
)
def test_every_form_is_read(raw: Any) -> None:
    assert parsed(raw) == document(EC2)


def test_a_percent_sign_and_a_plus_sign_in_json_stand_for_themselves() -> None:
    found = document(trusting({"AWS": ROOT}, condition={"StringEquals": {"sts:ExternalId": "50%20off+x"}}))
    assert parsed(json.dumps(found)) == found
    assert parsed(quote(json.dumps(found))) == found


def test_what_is_read_is_a_copy() -> None:
    raw = document(deepcopy(EC2))
    parsed(raw)["Statement"][0]["Effect"] = "Deny"
    assert raw == document(EC2)


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        ("", "The policy document is not JSON: Expecting value at line 1, column 1."),
        ('{"Statement": [],}', "is not JSON"),
        ("[]", "The policy document is not a JSON object."),
        ('"x"', "is not a JSON object"),
        ("{}", "The policy document has no Statement."),
        ({"Version": "2012-10-17"}, "has no Statement"),
        ({"Statement": None}, "Statement number 1 of the policy document is not a JSON object."),
        ({"Statement": [EC2, "x"]}, "Statement number 2 of the policy document is not a JSON object."),
        ('{"Statement": {"Effect": "Allow", "Effect": "Deny"}}', "has the key Effect twice in one object"),
        ('{"Statement": [], "x": NaN}', "holds NaN, which is not JSON"),
        ('{"Statement": [], "x": ' + "[" * 100_000, "a nesting that no policy has"),
        ('{"Statement": [], "x": ' + "9" * 5_000 + "}", "holds a number"),
    ],
)
def test_what_is_no_document_is_told(raw: Any, told: str) -> None:
    with pytest.raises(Malformed, match=told.replace("(", r"\(")):
        parsed(raw)


def test_a_single_statement_may_stand_without_its_list() -> None:
    assert statements({"Statement": EC2}) == statements({"Statement": [EC2]}) == [EC2]


# -- compared ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (trusting({"AWS": MANAGEMENT}), trusting({"AWS": [ROOT]})),
        (trusting("*"), trusting({"AWS": "*"})),
        (trusting({"AWS": [ROOT, CONTROL_PLANE]}), trusting({"AWS": [CONTROL_PLANE, MANAGEMENT]})),
        (trusting({"AWS": ROOT}), trusting({"AWS": ROOT}, Action=["STS:ASSUMEROLE"])),
        (trusting({"AWS": ROOT}), trusting({"AWS": ROOT}, Sid="")),
        (trusting({"AWS": ROOT}), trusting({"AWS": ROOT}, condition={})),
        (
            trusting({"AWS": ROOT}, condition={"Bool": {"aws:SecureTransport": True}}),
            trusting({"AWS": ROOT}, condition={"bool": {"AWS:securetransport": ["true"]}}),
        ),
    ],
)
def test_other_spellings_mean_the_same(left: Statement, right: Statement) -> None:
    assert same(document(EC2, left), document(right, EC2))
    assert digest(document(EC2, left)) == digest(document(right, EC2))


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (trusting({"AWS": MANAGEMENT}), trusting({"AWS": CONTROL_PLANE})),
        (trusting({"AWS": MANAGEMENT}), trusting({"Service": MANAGEMENT})),
        (trusting({"AWS": MANAGEMENT}), trusting({"AWS": f"{MANAGEMENT}:root"})),
        (trusting({"AWS": MANAGEMENT}), trusting({"AWS": f"arn:aws:iam::{MANAGEMENT}"})),
        (trusting({"AWS": MANAGEMENT}), trusting({"AWS": MANAGEMENT}, "Deny")),
        (trusting({"AWS": MANAGEMENT}), trusting({"AWS": MANAGEMENT}, Sid="x")),
        (trusting({"AWS": MANAGEMENT}), trusting({"AWS": MANAGEMENT}, Unknown=[])),
        (trusting({}, Unknown=[1, 2]), trusting({}, Unknown=[2, 1])),
        (trusting({}, Resource="arn:aws:s3:::A"), trusting({}, Resource="arn:aws:s3:::a")),
        (
            trusting({"AWS": ROOT}, condition={"StringEquals": {"sts:ExternalId": "A"}}),
            trusting({"AWS": ROOT}, condition={"StringEquals": {"sts:ExternalId": "a"}}),
        ),
        (
            trusting({"AWS": ROOT}, condition={"StringEquals": {"aws:a": "1", "AWS:A": "2"}}),
            trusting({"AWS": ROOT}, condition={"StringEquals": {"aws:a": "2", "AWS:A": "1"}}),
        ),
        (
            trusting({"AWS": ROOT}, condition={"StringEquals": {"aws:a": "1", "AWS:A": "2"}}),
            trusting({"AWS": ROOT}, condition={"StringEquals": {"aws:a": "2"}}),
        ),
    ],
)
def test_other_meanings_are_not_the_same(left: Statement, right: Statement) -> None:
    assert not same(document(left), document(right))
    assert digest(document(left)) != digest(document(right))


def test_a_document_without_a_version_is_of_the_first() -> None:
    assert same({"Statement": EC2}, {"Version": "2008-10-17", "Statement": EC2})
    assert not same({"Statement": EC2}, document(EC2))


@pytest.mark.long
@PROFILE
@given(DOCUMENTS, st.randoms(use_true_random=False))
def test_a_spelling_changes_no_meaning(found: Document, chance: random.Random) -> None:
    other = respelled(found, chance)
    assert same(found, other)
    assert digest(found) == digest(other)
    assert normalised(normalised(found)) == normalised(found)


@PROFILE
@given(DOCUMENTS, DOCUMENTS)
def test_the_digest_is_equal_just_when_the_meaning_is(left: Document, right: Document) -> None:
    assert (digest(left) == digest(right)) == same(left, right) == (normalised(left) == normalised(right))


@pytest.mark.long
@PROFILE
@given(DOCUMENTS, st.integers(1, 8))
def test_white_space_is_not_counted(found: Document, indent: int) -> None:
    assert size(parsed(json.dumps(found, indent=indent))) == size(found) == len(compact(found))
    assert json.loads(compact(found)) == found


def test_the_size_of_a_small_document() -> None:
    assert size({"Statement": [{"Sid": "ö x"}]}) == len('{"Statement":[{"Sid":"ö x"}]}')


# -- changed -----------------------------------------------------------------------------------------------------


def test_our_statement_is_put_at_the_end_and_the_rest_stays_as_it_was() -> None:
    found = {"Version": "2012-10-17", "Id": "x", "Statement": EC2}
    assert merged(found, ours()) == {"Version": "2012-10-17", "Id": "x", "Statement": [EC2, ours()]}


def test_our_statement_is_replaced_where_it_stands() -> None:
    stranger = trusting({"AWS": CONTROLLERS}, Sid="Other")
    found = document(EC2, ours("old"), stranger)
    assert merged(found, ours()) == document(EC2, ours(), stranger)


def test_two_statements_of_our_sid_become_one() -> None:
    assert merged(document(ours(), EC2, ours("old")), ours()) == document(ours(), EC2)
    assert merged(document(ours("old"), EC2, ours()), ours()) == document(ours(), EC2)


def test_what_is_there_in_another_spelling_is_left() -> None:
    there = {**ours(), "Action": ["STS:AssumeRole"], "Principal": {"AWS": [MANAGEMENT]}}
    found = document(there, EC2)
    assert merged(found, ours()) is found


@pytest.mark.parametrize("sid", [None, "", 5])
def test_a_statement_that_could_not_be_found_again_is_not_merged(sid: Any) -> None:
    with pytest.raises(Malformed, match="without a Sid"):
        merged(document(EC2), {**ours(), "Sid": sid})


@PROFILE
@given(DOCUMENTS, OWN)
def test_merging_loses_and_alters_nothing(found: Document, mine: Statement) -> None:
    kept = deepcopy(found)
    result = merged(found, mine)
    assert found == kept
    assert others(result, mine["Sid"]) == others(found, mine["Sid"])
    assert {key: value for key, value in result.items() if key != "Statement"} == {
        key: value for key, value in found.items() if key != "Statement"
    }
    assert same({"Statement": [there for there in statements(result) if there.get("Sid") == mine["Sid"]]},
                {"Statement": mine})  # fmt: skip
    assert merged(result, mine) is result


@PROFILE
@given(DOCUMENTS, OWN, OWN)
def test_the_order_of_merging_does_not_matter(found: Document, one: Statement, two: Statement) -> None:
    two = {**two, "Sid": f"{two['Sid']}2"}
    assert same(merged(merged(found, one), two), merged(merged(found, two), one))


@PROFILE
@given(DOCUMENTS, OWN)
def test_taking_out_is_the_inverse_of_merging(found: Document, mine: Statement) -> None:
    kept = deepcopy(found)
    bare = without(found, mine["Sid"])
    assert found == kept
    assert others(bare, mine["Sid"]) == statements(bare) == others(found, mine["Sid"])
    assert same(without(merged(found, mine), mine["Sid"]), bare)
    assert without(bare, mine["Sid"]) is bare


# -- the list of roles that may be assumed -----------------------------------------------------------------------


def test_the_list_grows_sorted_and_shrinks_to_nothing() -> None:
    one = widened(None, ASSUME_SID, OTHER)
    assert one == document({"Sid": ASSUME_SID, "Effect": "Allow", "Action": "sts:AssumeRole", "Resource": [OTHER]})
    two = widened(one, ASSUME_SID, CONTROLLERS)
    assert statements(two)[0]["Resource"] == [CONTROLLERS, OTHER]
    assert widened(two, ASSUME_SID, OTHER) is two
    assert narrowed(two, ASSUME_SID, CONTROLLERS) == one
    assert narrowed(one, ASSUME_SID, CONTROLLERS) is one
    assert narrowed(one, ASSUME_SID, OTHER) is None
    assert narrowed(None, ASSUME_SID, OTHER) is None
    assert narrowed(document(), ASSUME_SID, OTHER) is None


def test_a_single_resource_may_stand_without_its_list() -> None:
    there = {"Sid": ASSUME_SID, "Effect": "Allow", "Action": ["sts:assumerole"], "Resource": OTHER}
    assert widened(document(there), ASSUME_SID, OTHER) == document(there)
    assert statements(widened(document(there), ASSUME_SID, CONTROLLERS))[0]["Resource"] == [CONTROLLERS, OTHER]


def test_a_condition_that_somebody_added_stays() -> None:
    there = {**statements(widened(None, ASSUME_SID, OTHER))[0], "Condition": {"Bool": {"aws:SecureTransport": "true"}}}
    found = statements(widened(document(there), ASSUME_SID, CONTROLLERS))[0]
    assert found == {**there, "Resource": [CONTROLLERS, OTHER]}


@pytest.mark.parametrize(
    "change",
    [{"Effect": "Deny"}, {"Action": "*"}, {"Action": ["sts:AssumeRole", "iam:*"]}, {"NotResource": "x"},
     {"Resource": [{}]}],
)  # fmt: skip
@pytest.mark.parametrize("change_list", [widened, narrowed])
def test_a_statement_of_our_name_about_something_else_is_not_touched(change: Any, change_list: Any) -> None:
    there = {**statements(widened(None, ASSUME_SID, OTHER))[0], **change}
    with pytest.raises(Malformed, match=r"Statement TkgbotAssume is not as it was written: it (allows|denies) "):
        change_list(document(there), ASSUME_SID, CONTROLLERS)


@pytest.mark.parametrize("change_list", [widened, narrowed])
def test_a_name_that_two_statements_have_is_not_touched(change_list: Any) -> None:
    twice = document(*statements(widened(None, ASSUME_SID, OTHER)) * 2)
    with pytest.raises(Malformed, match="2 statements of the policy have the Sid TkgbotAssume"):
        change_list(twice, ASSUME_SID, CONTROLLERS)


@PROFILE
@given(
    DOCUMENTS, st.lists(st.sampled_from([f"arn:aws:iam::{n:012}:role/c" for n in range(9)]), unique=True, min_size=1)
)
def test_widening_and_narrowing_are_inverse(found: Document, roles: list[str]) -> None:
    kept, result = deepcopy(found), found
    for role in roles:
        result = widened(result, ASSUME_SID, role)
    assert others(result, ASSUME_SID) == statements(found)
    assert statements(result)[-1]["Resource"] == sorted(roles)
    left: Document | None = result
    for role in random.Random(len(roles)).sample(roles, len(roles)):
        left = narrowed(left, ASSUME_SID, role)
    assert found == kept
    assert same(left, found) if left else statements(found) == []


# -- told --------------------------------------------------------------------------------------------------------


def test_a_first_onboarding_is_told_in_words() -> None:
    assert difference(document(EC2, EC2), document(EC2, EC2, ours())) == (
        f"+ allows sts:AssumeRole to {ROOT} (the whole account) when sts:ExternalId is lob-dev-7 and "
        f"aws:PrincipalArn is like {CONTROL_PLANE} (Sid {SID})",
        "2 statements stay as they are",
    )


def test_a_replaced_statement_is_told_both_ways() -> None:
    told = difference(document(EC2, ours("old", whole_account=True)), document(ours(whole_account=True), EC2))
    assert told == (
        f"- allows sts:AssumeRole to {ROOT} (the whole account) when sts:ExternalId is old (Sid {SID})",
        f"+ allows sts:AssumeRole to {ROOT} (the whole account) when sts:ExternalId is lob-dev-7 (Sid {SID})",
        "1 statement stays as it is",
    )


def test_a_policy_that_comes_or_goes_is_told() -> None:
    policy = widened(None, ASSUME_SID, CONTROLLERS)
    line = f"allows sts:AssumeRole on {CONTROLLERS} (Sid {ASSUME_SID})"
    assert difference(None, policy) == (f"+ {line}",)
    assert difference(policy, None) == (f"- {line}",)
    assert difference(None, None) == ()


def test_a_spelling_is_no_difference_and_a_version_is_one() -> None:
    assert difference(document(trusting({"AWS": ROOT})), document(trusting({"AWS": [MANAGEMENT]}))) == (
        "1 statement stays as it is",
    )
    assert difference({"Statement": [], "Version": "2008-10-17", "Odd": [1]}, {**document(), "Odd": [1]}) == (
        "- Version of the document is 2008-10-17",
        "+ Version of the document is 2012-10-17",
    )
    assert difference({"Statement": [], "Id": "x"}, document()) == (
        "- Id of the document is x",
        "+ Version of the document is 2012-10-17",
    )


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        (EC2, "allows sts:AssumeRole to the service ec2.amazonaws.com"),
        (trusting("*", "Deny"), "denies sts:AssumeRole to everybody"),
        (trusting({"AWS": ["*", CONTROLLERS]}), f"allows sts:AssumeRole to everybody, {CONTROLLERS}"),
        (trusting({"AWS": "everybody"}), 'allows sts:AssumeRole to "everybody"'),
        (trusting("nobody"), 'allows sts:AssumeRole to "nobody"'),
        (trusting({}), "allows sts:AssumeRole to nobody"),
        ({"Effect": "Allow", "NotAction": "iam:*", "NotResource": ["a", "b"]},
         "allows every action except iam:* on everything except a, b"),
        ({"Effect": "Deny", "NotPrincipal": {"AWS": MANAGEMENT}, "Action": []},
         f"denies nothing to everybody except {MANAGEMENT} (the whole account)"),
        ({"Action": "x", "Foo": {"a": [1]}}, 'has the effect null on x with {"Foo": {"a": [1]}}'),
        (trusting({"Federated": "saml"}), "allows sts:AssumeRole to people of the identity provider saml"),
        (trusting({"Odd": "x y"}), 'allows sts:AssumeRole to Odd "x y"'),
        (trusting("*", condition={"StringNotEquals": {"aws:a": ["b", "or"]}, "Null": {"aws:k": "true"}}),
         'allows sts:AssumeRole to everybody when aws:a is none of b or "or" and aws:k is absent'),
        (trusting("*", condition={"Null": {"aws:k": False}, "IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}),
         "allows sts:AssumeRole to everybody when aws:k is there and aws:SourceIp fits IpAddress of 10.0.0.0/8"),
        (trusting("*", condition="x y"), 'allows sts:AssumeRole to everybody when "x y"'),
        (trusting("*", condition={"StringEquals": "x"}),
         'allows sts:AssumeRole to everybody when "" is x'),
    ],
)  # fmt: skip
def test_statements_in_words(statement: Statement, told: str) -> None:
    assert difference(None, document(statement)) == (f"+ {told}",)


def test_values_that_could_mislead_are_shown_whole_and_escaped() -> None:
    evil = "x when sts:ExternalId is y\n2 statements stay as they are\u202e"
    line = difference(None, document({**ours(evil), "Sid": "Sіd"}))[0]
    assert '"x when sts:ExternalId is y\\n2 statements stay as they are\\u202e"' in line
    assert '(Sid "S\\u0456d")' in line
    assert "\n" not in line
    many = [f"arn:aws:iam::{number:012}:role/controllers" for number in range(150)]
    whole = difference(None, document({"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": many}))[0]
    assert all(name in whole for name in many)


ONE, TWO, THREE = (f"arn:aws:iam::{number:012}:role/controllers" for number in (1, 2, 3))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ([ONE, TWO], [ONE, TWO, THREE], (f"+ allows x on {THREE}, beside 2 that stay",)),
        (ONE, [TWO, ONE], (f"+ allows x on {TWO}, beside 1 that stays",)),
        ([ONE, TWO, THREE], TWO, (f"- allows x on {ONE}, {THREE}, beside 1 that stays",)),
        ([ONE, TWO], [TWO, THREE], (f"- allows x on {ONE}, beside 1 that stays",
                                    f"+ allows x on {THREE}, beside 1 that stays")),
        (ONE, TWO, (f"- allows x on {ONE}", f"+ allows x on {TWO}")),
        ([], ONE, ("- allows x on nothing", f"+ allows x on {ONE}")),
    ],
)  # fmt: skip
def test_of_a_list_that_changes_what_comes_and_goes_is_told(old: Any, new: Any, told: Any) -> None:
    first, second = ({"Effect": "Allow", "Action": "x", "Resource": listed} for listed in (old, new))
    assert difference(document(EC2, first), document(second, EC2)) == (*told, "1 statement stays as it is")


def test_lists_that_could_be_taken_for_another_s_are_told_whole() -> None:
    statement = {"Effect": "Allow", "Action": "x"}
    one, two, both = ({**statement, "Resource": listed} for listed in (ONE, TWO, [ONE, TWO]))
    whole = f"allows x on {ONE}, {TWO}"
    assert difference(document(one, two), document(both)) == (
        f"- allows x on {ONE}", f"- allows x on {TWO}", f"+ {whole}",
    )  # fmt: skip
    assert difference(document({**statement, "NotResource": ONE}), document(both)) == (
        f"- allows x on everything except {ONE}", f"+ {whole}",
    )  # fmt: skip
    assert difference(document(statement), document(both)) == ("- allows x", f"+ {whole}")
    assert difference(document({**one, "Effect": "Deny"}), document(both)) == (f"- denies x on {ONE}", f"+ {whole}")


BARE = DOCUMENTS.map(lambda found: {**found, "Statement": [{**there, "Resource": "*"} for there in statements(found)]})


@PROFILE
@given(BARE, BARE)
def test_every_statement_is_told_once(old: Document, new: Document) -> None:
    told = difference(old, new)
    stays = sum(int(line.split()[0]) for line in told if line[0] not in "+-")
    gone = [line for line in told if line.startswith("- ") and " of the document is " not in line]
    came = [line for line in told if line.startswith("+ ") and " of the document is " not in line]
    assert (len(gone) + stays, len(came) + stays) == (len(statements(old)), len(statements(new)))


@PROFILE
@given(DOCUMENTS, DOCUMENTS)
def test_a_change_is_always_told(old: Document, new: Document) -> None:
    told = difference({"Statement": old["Statement"]}, {"Statement": new["Statement"]})
    changed = any(line.startswith(("- ", "+ ")) for line in told)
    assert changed == (not same({"Statement": old["Statement"]}, {"Statement": new["Statement"]}))
    assert all("\n" not in line for line in told)


@pytest.mark.long
@PROFILE
@given(DOCUMENTS, st.lists(STATEMENTS, max_size=3), st.randoms(use_true_random=False))
def test_what_comes_to_a_respelled_document_is_told_alone(
    old: Document, more: list[Statement], chance: random.Random
) -> None:
    fresh = [{**there, "Sid": f"Fresh{number}"} for number, there in enumerate(more)]
    other = respelled(old, chance)
    told = difference(old, {**other, "Statement": [*statements(other), *fresh]})
    assert len([line for line in told if line.startswith("+ ")]) == len(fresh)
    assert not [line for line in told if line.startswith("- ")]
