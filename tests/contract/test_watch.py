"""Watches: what is told, from when on, and when it ends."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.contract.server import Server


@pytest.fixture
def path(server: Server, namespace: str) -> str:
    """Where a case's own clusters are."""
    return server.shapes.path("clusters", namespace)


def version(server: Server, path: str) -> str:
    """The resource version of a list."""
    found: str = server.admin.get(path).ok(200)["metadata"]["resourceVersion"]
    return found


def told(events: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Which kind of event of which object."""
    return [(each["type"], each["object"]["metadata"].get("name", "")) for each in events]


@pytest.mark.generations("current", "legacy")
def test_what_happens_after_a_list_is_told_in_order(server: Server, path: str) -> None:
    since = version(server, path)
    server.admin.post(path, server.shapes.cluster("one")).ok(201)
    with server.admin.watch(path, resourceVersion=since) as watch:
        server.admin.merge(f"{path}/one", {"spec": {"paused": True}}).ok(200)
        server.admin.delete(f"{path}/one").ok(200)
        events = watch.until(lambda event: event["type"] == "DELETED")
    assert (watch.status, told(events)) == (200, [("ADDED", "one"), ("MODIFIED", "one"), ("DELETED", "one")])
    versions = [int(each["object"]["metadata"]["resourceVersion"]) for each in events]
    assert versions == sorted(set(versions))
    assert versions[0] > int(since)
    assert events[1]["object"]["spec"]["paused"] is True
    assert events[0]["object"]["apiVersion"] == server.shapes.api_version("clusters")


def test_without_a_resource_version_what_is_there_comes_first(server: Server, path: str) -> None:
    for name in ("a", "b"):
        server.admin.post(path, server.shapes.cluster(name)).ok(201)
    with server.admin.watch(path) as watch:
        watch.until(lambda event: event["object"]["metadata"]["name"] == "b")
        server.admin.post(path, server.shapes.cluster("c")).ok(201)
        assert told(watch.until(lambda event: True)) == [("ADDED", "c")]


def test_a_selector_makes_objects_come_and_go(server: Server, path: str) -> None:
    since = version(server, path)
    server.admin.post(path, server.shapes.cluster("one")).ok(201)
    for team in ("a", "b"):
        server.admin.merge(f"{path}/one", {"metadata": {"labels": {"team": team}}}).ok(200)
    with server.admin.watch(path, resourceVersion=since, labelSelector="team=a") as watch:
        events = watch.until(lambda event: event["type"] == "DELETED")
    assert told(events) == [("ADDED", "one"), ("DELETED", "one")]


def test_one_object_may_be_watched_by_its_name(server: Server, path: str) -> None:
    since = version(server, path)
    for name in ("one", "two"):
        server.admin.post(path, server.shapes.cluster(name)).ok(201)
    with server.admin.watch(path, resourceVersion=since, fieldSelector="metadata.name=two") as watch:
        assert told(watch.until(lambda event: True)) == [("ADDED", "two")]


def test_a_watch_ends_when_its_time_is_over(server: Server, path: str) -> None:
    started = time.monotonic()
    with server.admin.watch(path, timeout_s=1, resourceVersion=version(server, path)) as watch:
        assert list(watch) == []
    assert time.monotonic() - started > 0.5


def test_bookmarks_say_how_far_the_watch_is(server: Server, path: str) -> None:
    """The real server sends one shortly before the watch's time is over, if there was an event."""
    since = version(server, path)
    with server.admin.watch(path, timeout_s=6, resourceVersion=since, allowWatchBookmarks=True) as watch:
        server.admin.post(path, server.shapes.cluster("one")).ok(201)
        bookmark = watch.until(lambda event: event["type"] == "BOOKMARK")[-1]["object"]
    assert (bookmark["kind"], bookmark["apiVersion"]) == ("Cluster", server.shapes.api_version("clusters"))
    assert int(bookmark["metadata"]["resourceVersion"]) > int(since)
    assert "name" not in bookmark["metadata"]


def test_without_asking_there_are_no_bookmarks(server: Server, path: str) -> None:
    with server.admin.watch(path, timeout_s=6, resourceVersion=version(server, path)) as watch:
        server.admin.post(path, server.shapes.cluster("one")).ok(201)
        assert told(list(watch)) == [("ADDED", "one")]


def test_a_resource_version_that_is_too_old_is_gone(server: Server, path: str) -> None:
    with server.admin.watch(path, resourceVersion="1") as watch:
        (event,) = list(watch)
    status = event["object"]
    assert (watch.status, event["type"], status["kind"]) == (200, "ERROR", "Status")
    assert (status["code"], status["reason"]) == (410, "Expired")
    assert status["message"].startswith("too old resource version: 1 (")


def test_a_list_of_a_resource_version_that_is_none(server: Server, path: str) -> None:
    answer = server.admin.get(path, resourceVersion="abc")
    assert answer.said[:2] == (400, "BadRequest")
    assert 'resourceVersion: Invalid value: "abc"' in answer.said[2]


def test_the_status_is_told_like_any_change(server: Server, path: str) -> None:
    server.admin.post(path, server.shapes.cluster("one")).ok(201)
    with server.admin.watch(path, resourceVersion=version(server, path)) as watch:
        server.admin.merge(f"{path}/one/status", {"status": {"phase": "Provisioned"}}).ok(200)
        (event,) = watch.until(lambda event: True)
    assert (event["type"], event["object"]["status"]["phase"]) == ("MODIFIED", "Provisioned")


def test_what_changes_nothing_is_not_told(server: Server, path: str) -> None:
    sent = server.shapes.cluster("one")
    server.admin.apply(f"{path}/one", sent).ok(201)
    with server.admin.watch(path, resourceVersion=version(server, path)) as watch:
        server.admin.apply(f"{path}/one", sent).ok(200)
        server.admin.apply(f"{path}/one", {**sent, "spec": {"paused": True}}, dryRun="All").ok(200)
        server.admin.post(path, server.shapes.cluster("two")).ok(201)
        assert told(watch.until(lambda event: True)) == [("ADDED", "two")]


def test_an_object_with_a_finalizer_is_modified_and_then_deleted(server: Server, path: str) -> None:
    server.admin.post(path, server.shapes.cluster("one", finalizers=["example.com/wait"])).ok(201)
    with server.admin.watch(path, resourceVersion=version(server, path)) as watch:
        server.admin.delete(f"{path}/one").ok(200)
        server.admin.merge(f"{path}/one", {"metadata": {"finalizers": []}}).ok(200)
        events = watch.until(lambda event: event["type"] == "DELETED")
    assert told(events) == [("MODIFIED", "one"), ("DELETED", "one")]
    assert "deletionTimestamp" in events[0]["object"]["metadata"]


def test_built_in_objects_are_watched_too(server: Server, namespace: str) -> None:
    path = server.shapes.path("configmaps", namespace)
    with server.admin.watch(path, resourceVersion=version(server, path)) as watch:
        server.admin.post(path, server.shapes.config_map("demo")).ok(201)
        (event,) = watch.until(lambda event: True)
    assert (event["type"], event["object"]["kind"], event["object"]["apiVersion"]) == ("ADDED", "ConfigMap", "v1")


def test_from_any_version_what_is_there_comes_first(server: Server, path: str) -> None:
    """Version 0 asks for whatever the server has at hand."""
    server.admin.post(path, server.shapes.cluster("one")).ok(201)
    server.admin.get(path).ok(200)
    with server.admin.watch(path, resourceVersion="0") as watch:
        assert told(watch.until(lambda event: True)) == [("ADDED", "one")]


def test_many_watches_hear_the_same(server: Server, path: str) -> None:
    since = version(server, path)
    watches = [server.admin.watch(path, resourceVersion=since) for _ in range(10)]
    server.admin.post(path, server.shapes.cluster("one")).ok(201)
    for watch in watches:
        with watch:
            assert told(watch.until(lambda event: True)) == [("ADDED", "one")]
