"""JSON patch, merge patch and strategic merge patch."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.api import STRATEGIC_PATCH
from tests.contract.server import Server


@pytest.fixture
def cluster(server: Server, namespace: str) -> str:
    """The path of a cluster that is there."""
    server.admin.post(server.shapes.path("clusters", namespace), server.shapes.cluster("demo")).ok(201)
    return server.shapes.path("clusters", namespace, "demo")


def test_a_merge_patch_changes_and_takes_away(server: Server, cluster: str) -> None:
    patch = {
        "spec": {"paused": True, "clusterNetwork": {"serviceDomain": None, "pods": {"cidrBlocks": ["10.0.0.0/8"]}}}
    }
    changed = server.admin.merge(cluster, patch).ok(200)
    assert changed["spec"]["clusterNetwork"] == {"pods": {"cidrBlocks": ["10.0.0.0/8"]}}
    assert (changed["spec"]["paused"], changed["metadata"]["generation"]) == (True, 2)


def test_a_patch_that_changes_nothing_leaves_the_resource_version(server: Server, cluster: str) -> None:
    first = server.admin.merge(cluster, {"spec": {"paused": True}}).ok(200)
    second = server.admin.merge(cluster, {"spec": {"paused": True}}).ok(200)
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


def test_a_merge_patch_may_insist_on_a_resource_version(server: Server, cluster: str) -> None:
    before = server.admin.get(cluster).ok(200)["metadata"]["resourceVersion"]
    server.admin.merge(cluster, {"spec": {"paused": True}}).ok(200)
    answer = server.admin.merge(cluster, {"metadata": {"resourceVersion": before}, "spec": {"paused": False}})
    assert answer.said[:2] == (409, "Conflict")


def test_a_json_patch_does_its_operations_in_order(server: Server, cluster: str) -> None:
    changed = server.admin.json_patch(
        cluster,
        {"op": "add", "path": "/metadata/labels", "value": {"a/b": "1"}},
        {"op": "replace", "path": "/metadata/labels/a~1b", "value": "2"},
        {"op": "copy", "from": "/metadata/labels/a~1b", "path": "/metadata/labels/c"},
        {"op": "move", "from": "/metadata/labels/c", "path": "/metadata/labels/d"},
        {"op": "add", "path": "/spec/clusterNetwork/pods/cidrBlocks/-", "value": "10.0.0.0/8"},
        {"op": "remove", "path": "/spec/clusterNetwork/serviceDomain"},
        {"op": "test", "path": "/metadata/labels/d", "value": "2"},
    ).ok(200)
    assert changed["metadata"]["labels"] == {"a/b": "2", "d": "2"}
    assert changed["spec"]["clusterNetwork"] == {"pods": {"cidrBlocks": ["100.96.0.0/11", "10.0.0.0/8"]}}


def test_a_test_that_fails_stops_the_whole_patch(server: Server, cluster: str) -> None:
    before = server.admin.get(cluster).ok(200)
    answer = server.admin.json_patch(
        cluster,
        {"op": "add", "path": "/spec/paused", "value": True},
        {"op": "test", "path": "/metadata/name", "value": "other"},
    )
    assert answer.said == (422, "Invalid", "the server rejected our request due to an error in our request")
    assert server.admin.get(cluster).ok(200) == before


def test_a_json_patch_of_a_place_that_is_not_there(server: Server, cluster: str) -> None:
    answer = server.admin.json_patch(cluster, {"op": "replace", "path": "/spec/topology/version", "value": "v1"})
    assert answer.said[:2] == (422, "Invalid")


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ("{", 400, "error decoding patch: "),
        ('{"op": "add"}', 400, "error decoding patch: "),
        ('[{"op": "fly", "path": "/spec"}]', 422, "the server rejected our request due to an error in our request"),
    ],
    ids=["broken", "no list", "unknown operation"],
)
def test_a_json_patch_that_is_none(server: Server, cluster: str, body: str, status: int, message: str) -> None:
    answer = server.admin.call("PATCH", cluster, body, content_type="application/json-patch+json")
    assert (answer.said[0], answer.said[2].startswith(message)) == (status, True)


def test_a_custom_resource_takes_no_strategic_patch(server: Server, cluster: str) -> None:
    answer = server.admin.call("PATCH", cluster, {"spec": {}}, content_type=STRATEGIC_PATCH)
    code, reason, message = answer.said
    assert (code, reason) == (415, "UnsupportedMediaType")
    assert "application/json-patch+json" in message
    assert "application/apply-patch+yaml" in message


def test_a_strategic_patch_merges_lists_by_their_key(server: Server, namespace: str) -> None:
    container: dict[str, Any] = {"name": "one", "image": "one:1"}
    labels = {"app": "demo"}
    spec = {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": {
        "containers": [container]}}}  # fmt: skip
    path = server.shapes.path("deployments", namespace)
    server.admin.post(path, server.shapes.object("deployments", "demo", spec)).ok(201)
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "two", "image": "two:1"}]}}}}
    changed = server.admin.call("PATCH", f"{path}/demo", patch, content_type=STRATEGIC_PATCH).ok(200)
    names = {each["name"]: each["image"] for each in changed["spec"]["template"]["spec"]["containers"]}
    assert names == {"one": "one:1", "two": "two:1"}


def test_a_strategic_patch_of_a_map(server: Server, namespace: str) -> None:
    path = server.shapes.path("configmaps", namespace)
    server.admin.post(path, server.shapes.config_map("demo", {"a": "1", "b": "2"})).ok(201)
    patch = {"data": {"a": None, "c": "3"}}
    changed = server.admin.call("PATCH", f"{path}/demo", patch, content_type=STRATEGIC_PATCH).ok(200)
    assert changed["data"] == {"b": "2", "c": "3"}


def test_a_patch_cannot_change_who_an_object_is(server: Server, cluster: str) -> None:
    before = server.admin.get(cluster).ok(200)
    assert server.admin.merge(cluster, {"metadata": {"name": "other"}}).said == (
        400,
        "BadRequest",
        "the name of the object (other) does not match the name on the URL (demo)",
    )
    answer = server.admin.merge(cluster, {"metadata": {"uid": "11111111-1111-1111-1111-111111111111"}})
    assert answer.said[:2] == (422, "Invalid")
    assert answer.causes["metadata.uid"][1].endswith(": field is immutable")
    assert server.admin.get(cluster).ok(200) == before


def test_patching_what_is_not_there(server: Server, namespace: str) -> None:
    answer = server.admin.merge(server.shapes.path("clusters", namespace, "gone"), {"spec": {}})
    assert answer.said == (404, "NotFound", 'clusters.cluster.x-k8s.io "gone" not found')


def test_a_dry_run_of_every_other_change(server: Server, namespace: str, cluster: str) -> None:
    before = server.admin.get(cluster).ok(200)
    shown = server.admin.merge(cluster, {"spec": {"paused": True}}, dryRun="All").ok(200)
    replaced = server.admin.put(cluster, {**before, "spec": {"paused": True}}, dryRun="All").ok(200)
    server.admin.delete(cluster, dryRun="All").ok(200)
    made = server.admin.post(
        server.shapes.path("clusters", namespace), server.shapes.cluster("other"), dryRun="All"
    ).ok(201)
    assert (shown["spec"]["paused"], replaced["spec"], made["metadata"]["name"]) == (True, {"paused": True}, "other")
    assert server.admin.get(cluster).ok(200) == before
    assert server.admin.get(server.shapes.path("clusters", namespace, "other")).status == 404


def test_what_a_patch_has_written_outlives_an_apply_by_the_same_manager(server: Server, namespace: str) -> None:
    """A patch is an update, and an apply takes away only what was applied before: neither undoes the other."""
    path, sent = server.shapes.path("clusters", namespace, "demo"), server.shapes.cluster("demo")
    sent = {**sent, "metadata": {"name": "demo", "annotations": {"tkgbot/config": "1"}}}
    server.admin.apply(path, sent).ok(201)
    server.admin.json_patch(
        path,
        {"op": "test", "path": "/metadata/annotations/tkgbot~1config", "value": "1"},
        {"op": "add", "path": "/metadata/annotations/tkgbot~1ends-at", "value": "2026-03-01T16:00:00Z"},
        fieldManager="tkgbot",
    ).ok(200)
    again = server.admin.apply(path, {**sent, "spec": {**sent["spec"], "paused": True}}).ok(200)
    assert again["metadata"]["annotations"] == {"tkgbot/config": "1", "tkgbot/ends-at": "2026-03-01T16:00:00Z"}
    gone = {"op": "remove", "path": "/metadata/annotations/tkgbot~1ends-at"}
    server.admin.json_patch(path, gone, fieldManager="tkgbot").ok(200)
    assert server.admin.apply(path, sent).ok(200)["metadata"]["annotations"] == {"tkgbot/config": "1"}
