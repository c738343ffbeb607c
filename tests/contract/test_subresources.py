"""The status and the scale of an object, apart from the object."""

from __future__ import annotations

import pytest

from tests.contract.server import Server

SINCE = "2026-01-01T00:00:00Z"


@pytest.fixture
def cluster(server: Server, namespace: str) -> str:
    """The path of a cluster that is there."""
    server.admin.post(server.shapes.path("clusters", namespace), server.shapes.cluster("demo")).ok(201)
    return server.shapes.path("clusters", namespace, "demo")


@pytest.fixture
def pool(server: Server, namespace: str) -> str:
    """The path of a machine deployment that is there."""
    sent = server.shapes.machine_deployment("pool", replicas=2)
    server.admin.post(server.shapes.path("machinedeployments", namespace), sent).ok(201)
    return server.shapes.path("machinedeployments", namespace, "pool")


def test_a_status_sent_with_a_new_object_is_left_out(server: Server, namespace: str) -> None:
    sent = {**server.shapes.cluster("demo"), "status": {"phase": "Provisioned"}}
    assert "status" not in server.admin.post(server.shapes.path("clusters", namespace), sent).ok(201)


@pytest.mark.generations("current", "legacy")
def test_the_status_changes_only_where_it_is_written(server: Server, cluster: str) -> None:
    server.admin.merge(cluster, {"status": {"phase": "Failed"}}).ok(200)
    assert "status" not in server.admin.get(cluster).ok(200)
    patch = {"status": {"phase": "Provisioned"}, "spec": {"paused": True}, "metadata": {"labels": {"a": "b"}}}
    changed = server.admin.merge(f"{cluster}/status", patch).ok(200)
    assert (changed["status"]["phase"], "paused" in changed["spec"]) == ("Provisioned", False)
    assert (changed["metadata"]["generation"], "labels" in changed["metadata"]) == (1, False)


def test_the_status_may_be_read_and_replaced(server: Server, cluster: str) -> None:
    found = server.admin.get(f"{cluster}/status").ok(200)
    condition = {"type": "Ready", "status": "True", "reason": "Fine", "message": "", "lastTransitionTime": SINCE}
    found["status"] = {"conditions": [condition]}
    changed = server.admin.put(f"{cluster}/status", found).ok(200)
    assert changed["status"]["conditions"] == [condition]
    assert changed["metadata"]["resourceVersion"] != found["metadata"]["resourceVersion"]
    assert server.admin.put(f"{cluster}/status", found).said[:2] == (409, "Conflict")


def test_a_change_of_the_object_keeps_the_status(server: Server, cluster: str) -> None:
    server.admin.merge(f"{cluster}/status", {"status": {"phase": "Provisioned"}}).ok(200)
    found = server.admin.get(cluster).ok(200)
    del found["status"]
    assert server.admin.put(cluster, found).ok(200)["status"] == {"phase": "Provisioned"}


@pytest.mark.published
def test_a_status_is_checked_too(server: Server, cluster: str) -> None:
    answer = server.admin.merge(f"{cluster}/status", {"status": {"conditions": [{"type": "Ready"}]}})
    assert answer.said[:2] == (422, "Invalid")
    assert "status.conditions[0].reason" in answer.causes


def test_a_kind_without_a_status_of_its_own_keeps_none_apart(server: Server) -> None:
    name = server.fresh("identity")
    path = server.shapes.path("awsclusterroleidentities")
    server.admin.post(path, server.shapes.role_identity(name)).ok(201)
    assert server.admin.get(f"{path}/{name}/status").said == (
        404,
        "NotFound",
        f'awsclusterroleidentities.infrastructure.cluster.x-k8s.io "{name}" not found',
    )


def test_the_scale_of_a_pool(server: Server, namespace: str, pool: str) -> None:
    scale = server.admin.get(f"{pool}/scale").ok(200)
    assert (scale["kind"], scale["apiVersion"]) == ("Scale", "autoscaling/v1")
    assert (scale["metadata"]["name"], scale["metadata"]["namespace"]) == ("pool", namespace)
    assert (scale["spec"], scale["status"]["replicas"]) == ({"replicas": 2}, 0)


def test_the_scale_shows_what_the_status_says(server: Server, pool: str) -> None:
    server.admin.merge(f"{pool}/status", {"status": {"replicas": 2, "selector": "pool=pool"}}).ok(200)
    assert server.admin.get(f"{pool}/scale").ok(200)["status"] == {"replicas": 2, "selector": "pool=pool"}


def test_scaling_changes_the_object(server: Server, pool: str) -> None:
    scaled = server.admin.merge(f"{pool}/scale", {"spec": {"replicas": 5}}).ok(200)
    found = server.admin.get(pool).ok(200)
    assert (scaled["kind"], scaled["spec"]) == ("Scale", {"replicas": 5})
    assert (found["spec"]["replicas"], found["metadata"]["generation"]) == (5, 2)
    assert found["metadata"]["resourceVersion"] == scaled["metadata"]["resourceVersion"]


def test_a_scale_is_replaced_only_as_it_was_read(server: Server, pool: str) -> None:
    scale = server.admin.get(f"{pool}/scale").ok(200)
    server.admin.merge(pool, {"spec": {"replicas": 3}}).ok(200)
    scale["spec"]["replicas"] = 7
    assert server.admin.put(f"{pool}/scale", scale).said[:2] == (409, "Conflict")
    fresh = server.admin.get(f"{pool}/scale").ok(200)
    fresh["spec"]["replicas"] = 7
    assert server.admin.put(f"{pool}/scale", fresh).ok(200)["spec"] == {"replicas": 7}


def test_a_pool_has_no_fewer_than_no_machines(server: Server, pool: str) -> None:
    answer = server.admin.merge(f"{pool}/scale", {"spec": {"replicas": -1}})
    assert answer.said[:2] == (422, "Invalid")
    assert answer.said[2].endswith(".spec.replicas: Invalid value: -1: should be a non-negative integer")


def test_a_cluster_has_no_scale(server: Server, cluster: str) -> None:
    assert server.admin.get(f"{cluster}/scale").said[:2] == (404, "NotFound")
