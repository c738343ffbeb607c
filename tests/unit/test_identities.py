"""AWSClusterRoleIdentity: who may use one, in every shape that allowedNamespaces takes, and the objects that are made.

The shapes: kubernetes-sigs/cluster-api-provider-aws, pkg/cloud/scope/session.go and its book, "Multi-tenancy".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from handlers.contract import Json, Kind
from handlers.identities import (
    LONGEST,
    allowed,
    allows,
    controller_identity,
    in_words,
    is_as_written,
    role_identity,
    selects,
    users_of,
    words_of,
)
from handlers.kinds import AWS_CLUSTER, NAMESPACE, ROLE_IDENTITY
from handlers.steps.apply import config_of

ROLE = "arn:aws:iam::777788889999:role/controllers.tkg.cloud.vmware.com"
READS = "arn:aws:iam::777788889999:role/tkgbot-reader"


@dataclass
class Cluster:
    """Two namespaces, and whatever clusters and identities there are."""

    labels: dict[str, Json] = field(default_factory=lambda: {"team-a": {"team": "a", "tier": "1"}, "team-b": {}})
    clusters: list[Json] = field(default_factory=list)
    identities: list[Json] = field(default_factory=list)

    def get(self, kind: Kind, name: str, namespace: str = "") -> Json | None:
        assert kind == NAMESPACE
        return {"metadata": {"name": name, "labels": self.labels[name]}} if name in self.labels else None

    def pages(self, kind: Kind, namespace: str = "", selector: str = "") -> Iterator[Json]:
        return iter({AWS_CLUSTER: self.clusters, ROLE_IDENTITY: self.identities}[kind])


KUBE: Any = Cluster()
ABSENT = object()
IN = {"key": "team", "operator": "In", "values": ["a", "c"]}


@pytest.mark.parametrize(
    ("rule", "words", "may"),
    [
        (ABSENT, "no namespace", ""),
        (None, "no namespace", ""),
        ({}, "every namespace", "abc"),
        ({"list": []}, "no namespace", ""),
        ({"list": None}, "every namespace", "abc"),
        ({"selector": {}}, "every namespace", "abc"),
        ({"list": None, "selector": {}}, "every namespace", "abc"),
        ({"list": None, "selector": None}, "every namespace", "abc"),
        ({"list": [], "selector": {}}, "no namespace", ""),
        ({"selector": {"matchLabels": {}}}, "no namespace", ""),
        ({"selector": {"matchExpressions": []}}, "no namespace", ""),
        ({"list": ["team-a"]}, "namespace team-a", "a"),
        ({"list": ["team-a", "team-b"]}, "namespaces team-a, team-b", "ab"),
        ({"selector": {"matchLabels": {"team": "a"}}}, "namespaces labelled team=a", "a"),
        ({"selector": {"matchLabels": {"team": "z"}}}, "namespaces labelled team=z", ""),
        ({"selector": {"matchLabels": {"tier": "1", "team": "a"}}}, "namespaces labelled team=a, tier=1", "a"),
        ({"selector": {"matchLabels": {"team": "a", "tier": "2"}}}, "namespaces labelled team=a, tier=2", ""),
        (
            {"selector": {"matchExpressions": [IN]}},
            'namespaces that fit [{"key": "team", "operator": "In", "values": ["a", "c"]}]',
            "a",
        ),
        (
            {"selector": {"matchLabels": {"tier": "2"}, "matchExpressions": [{"key": "x", "operator": "Exists"}]}},
            'namespaces labelled tier=2 and namespaces that fit [{"key": "x", "operator": "Exists"}]',
            "",
        ),
        ({"list": ["team-b"], "selector": {"matchLabels": {"team": "a"}}},
         "namespace team-b and namespaces labelled team=a", "ab"),
        ({"list": ["team-c"]}, "namespace team-c", "c"),
    ],
)  # fmt: skip
def test_who_may_use_it(rule: Any, words: str, may: str) -> None:
    """As the provider decides; team-c does not exist, so only a list or everything can allow it."""
    identity: Json = {"spec": {} if rule is ABSENT else {"allowedNamespaces": rule}}
    spec: Any = identity["spec"]
    assert in_words(spec.get("allowedNamespaces")) == words
    assert "".join(letter for letter in "abc" if allows(identity, f"team-{letter}", KUBE)) == may


def test_an_identity_without_a_spec_allows_nobody() -> None:
    assert not allows({}, "team-a", KUBE)


@pytest.mark.parametrize(
    ("expression", "chosen"),
    [
        ({"key": "team", "operator": "In", "values": ["a"]}, True),
        ({"key": "team", "operator": "In", "values": ["b"]}, False),
        ({"key": "other", "operator": "In", "values": ["a"]}, False),
        ({"key": "team", "operator": "NotIn", "values": ["a"]}, False),
        ({"key": "team", "operator": "NotIn", "values": ["b"]}, True),
        ({"key": "other", "operator": "NotIn", "values": ["a"]}, True),
        ({"key": "team", "operator": "Exists"}, True),
        ({"key": "other", "operator": "Exists"}, False),
        ({"key": "team", "operator": "DoesNotExist"}, False),
        ({"key": "other", "operator": "DoesNotExist", "values": None}, True),
        ({"key": "team", "operator": "Like", "values": ["a"]}, False),
    ],
)
def test_a_selector_selects_as_kubernetes_does(expression: Json, chosen: bool) -> None:
    assert selects({"matchExpressions": [expression]}, {"team": "a"}) is chosen


# -- what is written ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("namespaces", "selector", "everything", "rule"),
    [
        ("team-a", None, False, {"list": ["team-a"]}),
        ("team-b,team-a,team-b", None, False, {"list": ["team-a", "team-b"]}),
        (None, "tier=1,team=a", False, {"selector": {"matchLabels": {"team": "a", "tier": "1"}}}),
        (None, "team=", False, {"selector": {"matchLabels": {"team": ""}}}),
        (None, None, True, {}),
    ],
)
def test_only_the_shapes_that_all_readers_agree_on_are_written(
    namespaces: str | None, selector: str | None, everything: bool, rule: Json
) -> None:
    assert allowed(namespaces, selector, everything=everything) == rule


def made(**changes: Any) -> Json:
    """An identity as the bot makes it."""
    fields: dict[str, Any] = {
        "role_arn": ROLE, "external_id": "tkgbot-1", "rule": {"list": ["team-a"]}, "duration": 900,
        "region": "eu-west-1", "reader": READS,
    }  # fmt: skip
    return role_identity("team-a", "v1beta2", **{**fields, **changes})


def test_the_object_that_is_made() -> None:
    found = made()
    assert found["apiVersion"] == "infrastructure.cluster.x-k8s.io/v1beta2"
    assert found["kind"] == "AWSClusterRoleIdentity"
    assert found["spec"] == {
        "roleARN": ROLE, "sessionName": "tkgbot-team-a", "durationSeconds": 900, "externalID": "tkgbot-1",
        "allowedNamespaces": {"list": ["team-a"]},
        "sourceIdentityRef": {"kind": "AWSClusterControllerIdentity", "name": "default"},
    }  # fmt: skip
    notes = found["metadata"]["annotations"]  # type: ignore[index,call-overload]
    assert {key: notes[key] for key in ("tkgbot/region", "tkgbot/reader")} == {
        "tkgbot/region": "eu-west-1", "tkgbot/reader": READS,
    }  # fmt: skip
    spec: Any = made(external_id=None)["spec"]
    assert "externalID" not in spec
    assert LONGEST == 3600


def test_a_session_name_is_as_long_as_aws_takes() -> None:
    spec: Any = role_identity(
        "x" * 100, "v1beta2", role_arn=ROLE, external_id=None, rule={}, duration=900, region="r", reader=READS
    )["spec"]
    assert len(spec["sessionName"]) == 64


def test_its_digest_is_stable_and_changes_with_what_it_says() -> None:
    assert config_of(made()) == config_of(made()) == "1d5e01239907"
    assert config_of(made(rule={"list": [*["team-a"]]})) == config_of(made())
    others: list[Json] = [
        made(rule={}), made(rule={"list": ["team-b"]}), made(duration=901), made(external_id="tkgbot-2"),
        made(external_id=None), made(region="us-east-1"), made(reader=f"{READS}2"), made(role_arn=f"{ROLE}2"),
    ]  # fmt: skip
    assert len({config_of(other) for other in [made(), *others]}) == len(others) + 1


def test_the_one_for_the_controllers_themselves() -> None:
    found = controller_identity("v1beta1")
    assert found["apiVersion"] == "infrastructure.cluster.x-k8s.io/v1beta1"
    assert (found["kind"], found["metadata"]) == ("AWSClusterControllerIdentity", {"name": "default"})
    assert found["spec"] == {"allowedNamespaces": {}}


# -- who uses one ------------------------------------------------------------------------------------------------


def using(name: str, ref: Any, key: str = "identityRef", namespace: str = "default") -> Json:
    return {"metadata": {"name": name, "namespace": namespace}, "spec": {key: ref} if ref else {}}


def test_clusters_and_other_identities_that_use_one() -> None:
    mine, other = {"kind": "AWSClusterRoleIdentity", "name": "team-a"}, {"kind": "AWSClusterRoleIdentity", "name": "b"}
    kube: Any = Cluster(
        clusters=[
            using("two", mine), using("one", mine, namespace="team-a"), using("three", other), using("four", None),
            using("five", {"kind": "AWSClusterControllerIdentity", "name": "team-a"}), {"metadata": {}},
        ],
        identities=[
            using("chained", mine, "sourceIdentityRef"), using("plain", other, "sourceIdentityRef"),
            using("wrong key", mine),
        ],
    )  # fmt: skip
    assert users_of(kube, "team-a") == (["default/two", "team-a/one"], ["chained"])
    assert users_of(kube, "c") == ([], [])


def test_an_identity_that_was_edited_by_hand_is_known_by_its_digest() -> None:
    made = role_identity(
        "team-a", "v1beta2", role_arn="arn:aws:iam::444455556666:role/controllers.x", external_id="tkgbot-1",
        rule={"list": ["a"]}, duration=900, region="us-east-1", reader="arn:aws:iam::444455556666:role/tkgbot-reader",
    )  # fmt: skip
    meta: Any = made["metadata"]
    spec: Any = made["spec"]
    served = {**made, "metadata": {**meta, "uid": "1", "annotations": {**meta["annotations"], "other": "note"}}}
    assert is_as_written(served)
    assert not is_as_written({**served, "spec": {**spec, "allowedNamespaces": {}}})
    moved = {**meta["annotations"], "tkgbot/reader": "arn:aws:iam::444455556666:role/admin"}
    assert not is_as_written({**made, "metadata": {**meta, "annotations": moved}})
    assert is_as_written({"metadata": {"name": "by-hand"}, "spec": spec}), "the bot did not write that one"


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({}, {"all_namespaces": True}),
        ({"list": ["a", "b"]}, {"namespaces": "a,b"}),
        ({"selector": {"matchLabels": {"k": "v", "a": "b"}}}, {"selector": "a=b,k=v"}),
    ],
)
def test_a_spec_as_the_words_that_make_it(rule: Any, words: dict[str, Any]) -> None:
    found = words_of({"allowedNamespaces": rule, "externalID": "x-1", "durationSeconds": 1800})
    assert found == {"external_id": "x-1", "duration": 1800, **words}


@pytest.mark.parametrize(
    "rule", [None, {"list": []}, {"list": ["a"], "selector": {"matchLabels": {"k": "v"}}},
             {"selector": {"matchExpressions": [{"key": "k", "operator": "Exists"}]}}],
)  # fmt: skip
def test_a_spec_that_no_words_make(rule: Any) -> None:
    assert words_of({"allowedNamespaces": rule}) is None
