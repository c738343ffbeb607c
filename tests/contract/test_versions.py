"""One object in several versions, and the word about those that are going away."""

from __future__ import annotations

import pytest

from tests.contract.server import Server

DEPRECATED = '299 - "cluster.x-k8s.io/v1beta1 Cluster is deprecated; use cluster.x-k8s.io/v1beta2 Cluster"'


def test_a_deprecated_version_answers_with_a_warning(server: Server, namespace: str) -> None:
    answer = server.admin.get(server.shapes.path("clusters", namespace, version="v1beta1"))
    answer.ok(200)
    assert answer.warnings == [DEPRECATED]


def test_the_version_that_is_kept_answers_without(server: Server, namespace: str) -> None:
    assert server.admin.get(server.shapes.path("clusters", namespace)).warnings == []


@pytest.mark.generations("legacy")
@pytest.mark.parametrize("version", ["v1alpha3", "v1alpha4", "v1beta1"])
def test_the_older_generation_warns_of_none(server: Server, namespace: str, version: str) -> None:
    answer = server.admin.get(server.shapes.path("clusters", namespace, version=version))
    assert (answer.status, answer.warnings) == (200, [])


def test_one_object_is_there_in_both_versions(server: Server, namespace: str) -> None:
    made = server.admin.post(
        server.shapes.path("clusters", namespace), server.shapes.object("clusters", "demo", {"paused": True})
    ).ok(201)
    other = server.admin.get(server.shapes.path("clusters", namespace, "demo", version="v1beta1")).ok(200)
    assert (made["apiVersion"], other["apiVersion"]) == ("cluster.x-k8s.io/v1beta2", "cluster.x-k8s.io/v1beta1")
    assert (other["spec"], other["metadata"]["uid"]) == (made["spec"], made["metadata"]["uid"])
    assert other["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


@pytest.mark.generations("legacy")
def test_one_object_is_there_in_all_three_versions(server: Server, namespace: str) -> None:
    server.admin.post(server.shapes.path("clusters", namespace), server.shapes.cluster("demo")).ok(201)
    found = {
        version: server.admin.get(server.shapes.path("clusters", namespace, "demo", version=version)).ok(200)
        for version in ("v1alpha3", "v1alpha4", "v1beta1")
    }
    assert {each["apiVersion"] for each in found.values()} == {f"cluster.x-k8s.io/{version}" for version in found}
    assert len({each["metadata"]["uid"] for each in found.values()}) == 1


def test_a_change_through_the_older_version_shows_in_the_newer(server: Server, namespace: str) -> None:
    old = {**server.shapes.object("clusters", "demo", {"paused": True}), "apiVersion": "cluster.x-k8s.io/v1beta1"}
    answer = server.admin.post(server.shapes.path("clusters", namespace, version="v1beta1"), old)
    answer.ok(201)
    found = server.admin.get(server.shapes.path("clusters", namespace, "demo")).ok(200)
    assert (answer.warnings, found["spec"]) == ([DEPRECATED], {"paused": True})


def test_what_only_one_version_knows_is_not_shown_in_the_other(server: Server, namespace: str) -> None:
    """Without conversion an object is read by the schema of the version that is asked for."""
    topology = {"classRef": {"name": "c"}, "version": "v1.30.0"}
    sent = server.shapes.object("clusters", "demo", {"topology": topology})
    server.admin.post(server.shapes.path("clusters", namespace), sent).ok(201)
    old = server.admin.get(server.shapes.path("clusters", namespace, "demo", version="v1beta1")).ok(200)
    assert "classRef" not in old["spec"]["topology"]
    assert server.admin.get(server.shapes.path("clusters", namespace, "demo")).ok(200)["spec"]["topology"] == topology


def test_an_object_must_be_of_the_version_of_the_path(server: Server, namespace: str) -> None:
    old = {**server.shapes.cluster("demo"), "apiVersion": "cluster.x-k8s.io/v1beta1"}
    answer = server.admin.post(server.shapes.path("clusters", namespace), old)
    code, reason, message = answer.said
    assert (code, reason) == (400, "BadRequest")
    assert "the API version in the data (cluster.x-k8s.io/v1beta1) does not match" in message
    assert "the expected API version (cluster.x-k8s.io/v1beta2)" in message


def test_an_object_must_be_of_the_kind_of_the_path(server: Server, namespace: str) -> None:
    other = {**server.shapes.cluster("demo"), "kind": "Machine"}
    answer = server.admin.post(server.shapes.path("clusters", namespace), other)
    assert answer.said == (
        422,
        "Invalid",
        'Machine.cluster.x-k8s.io "demo" is invalid: kind: Invalid value: "Machine": must be Cluster',
    )


def test_a_watch_tells_in_the_version_that_was_asked_for(server: Server, namespace: str) -> None:
    old = server.shapes.path("clusters", namespace, version="v1beta1")
    since = server.admin.get(old).ok(200)["metadata"]["resourceVersion"]
    with server.admin.watch(old, resourceVersion=since) as watch:
        server.admin.post(server.shapes.path("clusters", namespace), server.shapes.cluster("demo")).ok(201)
        (event,) = watch.until(lambda event: True)
    assert event["object"]["apiVersion"] == "cluster.x-k8s.io/v1beta1"


def test_the_owner_of_a_field_keeps_the_version_in_which_it_was_set(server: Server, namespace: str) -> None:
    path, sent = server.shapes.path("clusters", namespace, "demo"), server.shapes.object("clusters", "demo")
    old = {**sent, "apiVersion": "cluster.x-k8s.io/v1beta1", "spec": {"paused": True}}
    server.admin.apply(server.shapes.path("clusters", namespace, "demo", version="v1beta1"), old, "older").ok(201)
    answer = server.admin.apply(path, {**sent, "spec": {"paused": False}}, "newer")
    assert answer.said[:2] == (409, "Conflict")
    assert 'conflict with "older"' in answer.said[2]
