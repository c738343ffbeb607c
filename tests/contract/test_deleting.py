"""Objects deleted: at once, after a finalizer, by selector, only the one that was meant."""

from __future__ import annotations

import pytest

from tests.contract.samples import CORE, STAMP
from tests.contract.server import Server, wait_for


def test_deleting_what_is_not_there(server: Server, namespace: str) -> None:
    answer = server.admin.delete(server.shapes.path("clusters", namespace, "gone"))
    assert answer.said == (404, "NotFound", 'clusters.cluster.x-k8s.io "gone" not found')


def test_deleting_tells_what_was_deleted(server: Server, namespace: str) -> None:
    made = server.admin.post(server.shapes.path("clusters", namespace), server.shapes.cluster("demo")).ok(201)
    path = server.shapes.path("clusters", namespace, "demo")
    gone = server.admin.delete(path).ok(200)
    assert (gone["kind"], gone["status"]) == ("Status", "Success")
    assert gone["details"] == {"name": "demo", "group": CORE, "kind": "clusters", "uid": made["metadata"]["uid"]}
    assert server.admin.get(path).status == 404


def test_deleting_only_the_object_that_was_meant(server: Server, namespace: str) -> None:
    made = server.admin.post(server.shapes.path("clusters", namespace), server.shapes.cluster("demo")).ok(201)
    path, uid = server.shapes.path("clusters", namespace, "demo"), made["metadata"]["uid"]
    options = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": "other"}}
    code, reason, message = server.admin.delete(path, options).said
    assert (code, reason) == (409, "Conflict")
    assert f"the UID in the precondition (other) does not match the UID in record ({uid})" in message
    options["preconditions"] = {"uid": uid}
    assert server.admin.delete(path, options).status == 200


def test_in_the_background_the_object_goes_first(server: Server, namespace: str) -> None:
    server.admin.post(server.shapes.path("clusters", namespace), server.shapes.cluster("demo")).ok(201)
    path = server.shapes.path("clusters", namespace, "demo")
    assert server.admin.delete(path, propagationPolicy="Background").ok(200)["kind"] == "Status"
    assert server.admin.get(path).status == 404


@pytest.mark.parametrize(("policy", "finalizer"), [("Orphan", "orphan"), ("Foreground", "foregroundDeletion")])
def test_otherwise_a_finalizer_holds_it_for_the_garbage_collector(
    server: Server, namespace: str, policy: str, finalizer: str
) -> None:
    """Beside the real server no collector runs here, so the test takes its part."""
    server.admin.post(server.shapes.path("clusters", namespace), server.shapes.cluster("demo")).ok(201)
    path = server.shapes.path("clusters", namespace, "demo")
    going = server.admin.delete(path, propagationPolicy=policy).ok(200)
    assert (going["kind"], going["metadata"]["finalizers"]) == ("Cluster", [finalizer])
    assert "deletionTimestamp" in going["metadata"]
    if server.kind == "real":
        server.admin.merge(path, {"metadata": {"finalizers": None}}).ok(200)
    wait_for(lambda: server.admin.get(path).status == 404, "gone")


def test_a_finalizer_keeps_an_object_until_it_is_taken_off(server: Server, namespace: str) -> None:
    sent = server.shapes.cluster("demo", finalizers=["example.com/wait"])
    server.admin.post(server.shapes.path("clusters", namespace), sent).ok(201)
    path = server.shapes.path("clusters", namespace, "demo")
    going = server.admin.delete(path).ok(200)
    assert (going["kind"], going["metadata"]["name"]) == ("Cluster", "demo")
    found = server.admin.get(path).ok(200)["metadata"]
    assert (bool(STAMP.fullmatch(found["deletionTimestamp"])), found["deletionGracePeriodSeconds"]) == (True, 0)
    assert server.admin.delete(path).ok(200)["metadata"]["deletionTimestamp"] == found["deletionTimestamp"]
    server.admin.merge(path, {"metadata": {"finalizers": None}}).ok(200)
    assert server.admin.get(path).status == 404


def test_no_finalizer_is_added_to_what_is_being_deleted(server: Server, namespace: str) -> None:
    sent = server.shapes.cluster("demo", finalizers=["example.com/wait"])
    server.admin.post(server.shapes.path("clusters", namespace), sent).ok(201)
    path = server.shapes.path("clusters", namespace, "demo")
    server.admin.delete(path).ok(200)
    more = {"metadata": {"finalizers": ["example.com/wait", "example.com/more"]}}
    code, reason, message = server.admin.merge(path, more).said
    assert (code, reason) == (422, "Invalid")
    assert "no new finalizers can be added if the object is being deleted" in message


def test_a_collection_is_deleted_by_selector(server: Server, namespace: str) -> None:
    path = server.shapes.path("clusters", namespace)
    for name, team in (("one", "a"), ("two", "a"), ("three", "b")):
        server.admin.post(path, server.shapes.cluster(name, labels={"team": team})).ok(201)
    server.admin.delete(path, labelSelector="team=a").ok(200)
    assert [each["metadata"]["name"] for each in server.admin.get(path).ok(200)["items"]] == ["three"]


def test_how_to_delete_may_stand_in_the_body(server: Server, namespace: str) -> None:
    server.admin.post(server.shapes.path("clusters", namespace), server.shapes.cluster("demo")).ok(201)
    path = server.shapes.path("clusters", namespace, "demo")
    options = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Foreground", "dryRun": ["All"]}
    assert server.admin.delete(path, options).ok(200)["metadata"]["finalizers"] == ["foregroundDeletion"]
    assert "finalizers" not in server.admin.get(path).ok(200)["metadata"]


def test_an_unknown_way_to_treat_dependents(server: Server, namespace: str) -> None:
    server.admin.post(server.shapes.path("clusters", namespace), server.shapes.cluster("demo")).ok(201)
    answer = server.admin.delete(server.shapes.path("clusters", namespace, "demo"), propagationPolicy="Later")
    assert answer.said[:2] == (422, "Invalid")
