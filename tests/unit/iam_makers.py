"""IAM documents for the tests: those of the field, and strategies for documents in every spelling that IAM takes."""

from __future__ import annotations

import json
import random
from typing import Any

from hypothesis import strategies as st

from handlers.iam.documents import Document, Statement
from handlers.iam.trust import Caller, own_statement, sid_of

MANAGEMENT, SECONDARY, STRANGER = "111111111111", "222222222222", "333333333333"
ROOT = f"arn:aws:iam::{MANAGEMENT}:root"
CONTROL_PLANE = f"arn:aws:iam::{MANAGEMENT}:role/control-plane.tkg.cloud.vmware.com"
CONTROLLERS = f"arn:aws:iam::{SECONDARY}:role/controllers.tkg.cloud.vmware.com"
CALLER = Caller(arn=CONTROL_PLANE, account=MANAGEMENT, external_id="lob-dev-7", partition="aws")
SID = sid_of(MANAGEMENT)
EC2: Statement = {"Effect": "Allow", "Principal": {"Service": ["ec2.amazonaws.com"]}, "Action": ["sts:AssumeRole"]}


def document(*statements: Statement) -> Document:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def trusting(principal: Any, effect: str = "Allow", condition: Any = None, **others: Any) -> Statement:
    """A statement about assuming the role."""
    found = {"Effect": effect, "Principal": principal, "Action": "sts:AssumeRole", **others}
    return found if condition is None else {**found, "Condition": condition}


def ours(external_id: str | None = "lob-dev-7", *, whole_account: bool = False) -> Statement:
    return own_statement(
        sid=SID, management_account=MANAGEMENT, partition="aws", principal_arn=CONTROL_PLANE,
        external_id=external_id, whole_account=whole_account,
    )  # fmt: skip


# -- strategies --------------------------------------------------------------------------------------------------

SIDS = st.sampled_from(["One", "Two", "", "Zwölf", "三つ", "a b", SID]) | st.text(max_size=6)
ACTIONS = st.sampled_from(["sts:AssumeRole", "sts:*", "*", "STS:assumerole", "sts:TagSession", "ec2:RunInstances"])
RESOURCES = st.sampled_from(
    [CONTROLLERS, "*", f"arn:aws:iam::*:role/controllers{'*'}", "arn:aws:s3:::b/${aws:username}"]
)
VALUES = st.sampled_from(["lob-dev-7", "other", "*", CONTROL_PLANE, MANAGEMENT, "true"]) | st.booleans()
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


def bare_or_list(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """One value as it is, or several in a list, now and then twice the same."""
    return values | st.lists(values, min_size=1, max_size=4)


PEOPLE = st.sampled_from(
    ["*", ROOT, MANAGEMENT, STRANGER, f"arn:aws:iam::{STRANGER}:root", CONTROL_PLANE, "AROAEXAMPLEID", CONTROLLERS]
)
PRINCIPALS = st.just("*") | st.fixed_dictionaries(
    {},
    optional={
        "AWS": bare_or_list(PEOPLE),
        "Service": bare_or_list(st.sampled_from(["ec2.amazonaws.com", "pods.eks.amazonaws.com"])),
        "Federated": bare_or_list(st.just("arn:aws:iam::111111111111:saml-provider/x")),
    },
)
KEYS = st.sampled_from(["sts:ExternalId", "aws:PrincipalArn", "aws:PrincipalAccount", "aws:SourceAccount", "aws:Odd"])
CONDITIONS = st.dictionaries(
    st.sampled_from(
        ["StringEquals", "StringLike", "StringNotEquals", "ArnEquals", "ArnLike", "Bool", "Null", "IpAddress",
         "StringEqualsIfExists", "ForAnyValue:StringLike", "ForAllValues:StringNotLike"]
    ),
    st.dictionaries(KEYS, bare_or_list(VALUES), min_size=1, max_size=3),
    max_size=3,
)  # fmt: skip
STATEMENTS: st.SearchStrategy[Statement] = st.fixed_dictionaries(
    {"Effect": st.sampled_from(["Allow", "Deny"])},
    optional={
        "Sid": SIDS,
        "Principal": PRINCIPALS,
        "NotPrincipal": PRINCIPALS,
        "Action": bare_or_list(ACTIONS),
        "NotAction": bare_or_list(ACTIONS),
        "Resource": bare_or_list(RESOURCES),
        "NotResource": bare_or_list(RESOURCES),
        "Condition": CONDITIONS,
        "Unknown": ANYTHING,
    },
)
DOCUMENTS: st.SearchStrategy[Document] = st.fixed_dictionaries(
    {"Statement": STATEMENTS | st.lists(STATEMENTS, max_size=4)},
    optional={"Version": st.sampled_from(["2012-10-17", "2008-10-17"]), "Id": st.text(max_size=4), "Odd": ANYTHING},
)
OWN: st.SearchStrategy[Statement] = st.builds(
    lambda found, sid: {**found, "Sid": sid}, STATEMENTS, st.sampled_from([SID, "Mine", "三つ"])
)


# -- the same in another spelling --------------------------------------------------------------------------------


def respelled(found: Document, chance: random.Random) -> Document:
    """The document as AWS or another writer could give it back: shuffled, bare or listed, ids or roots."""
    listed = found["Statement"] if isinstance(found["Statement"], list) else [found["Statement"]]
    statements = [_statement(there, chance) for there in listed]
    chance.shuffle(statements)
    bare = len(statements) == 1 and chance.random() < 0.5
    return _shuffled({**found, "Statement": statements[0] if bare else statements}, chance)


def _statement(found: Statement, chance: random.Random) -> Statement:
    told = dict(found)
    for key in ("Action", "NotAction", "Resource", "NotResource"):
        if key in told:
            told[key] = _values(told[key], chance, _other_case if key.endswith("Action") else _kept)
    for key in ("Principal", "NotPrincipal"):
        if isinstance(told.get(key), dict):
            told[key] = _shuffled(
                {kind: _values(items, chance, _other_root if kind == "AWS" else _kept) for kind, items in
                 told[key].items()}, chance,
            )  # fmt: skip
    if "Condition" in told:
        told["Condition"] = _shuffled(
            {
                operator: _shuffled(
                    {_other_case(key, chance): _values(values, chance, _other_truth) for key, values in keys.items()},
                    chance,
                )
                for operator, keys in told["Condition"].items()
            },
            chance,
        )
    return _shuffled(told, chance)


def _values(value: Any, chance: random.Random, other: Any) -> Any:
    values = [other(item, chance) for item in (value if isinstance(value, list) else [value])]
    chance.shuffle(values)
    return values[0] if len(values) == 1 and chance.random() < 0.5 else values


def _kept(value: Any, chance: random.Random) -> Any:
    return value


def _other_case(value: str, chance: random.Random) -> str:
    return chance.choice([value, value.lower(), value.upper()])


def _other_root(value: str, chance: random.Random) -> str:
    account = value.removeprefix("arn:aws:iam::").removesuffix(":root")
    return chance.choice([account, f"arn:aws:iam::{account}:root"]) if account.isdigit() else value


def _other_truth(value: Any, chance: random.Random) -> Any:
    return chance.choice([value, json.dumps(value)]) if isinstance(value, bool) else value


def _shuffled(found: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    keys = list(found)
    chance.shuffle(keys)
    return {key: found[key] for key in keys}
