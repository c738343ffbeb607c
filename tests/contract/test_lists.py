"""Lists: what is in them, what is chosen, pages and tables."""

from __future__ import annotations

import pytest

from tests.contract.api import TABLE
from tests.contract.server import Server, outdated

PAGE_EXPIRED = "The provided continue parameter is too old to display a consistent list result."


@pytest.fixture
def clusters(server: Server, namespace: str) -> str:
    """The path of five clusters of two teams; the last has no team."""
    path = server.shapes.path("clusters", namespace)
    for name, labels in {"a": "one", "b": "one", "c": "two", "d": "two", "e": ""}.items():
        said = {"team": labels, "kept": "yes"} if labels else {}
        server.admin.post(path, server.shapes.cluster(name, labels=said)).ok(201)
    return path


def names(server: Server, path: str, **query: str | int) -> str:
    """The names in a list, in its order."""
    return "".join(each["metadata"]["name"] for each in server.admin.get(path, **query).ok(200)["items"])


@pytest.mark.generations("current", "legacy")
def test_a_list_says_what_it_is(server: Server, clusters: str) -> None:
    body = server.admin.get(clusters).ok(200)
    version = server.shapes.api_version("clusters")
    assert (body["kind"], body["apiVersion"]) == ("ClusterList", version)
    assert int(body["metadata"]["resourceVersion"]) > 0
    assert body["metadata"].get("continue", "") == ""
    assert {(each["kind"], each["apiVersion"]) for each in body["items"]} == {("Cluster", version)}


def test_the_items_of_a_built_in_list_do_not_say_their_kind(server: Server, namespace: str) -> None:
    path = server.shapes.path("configmaps", namespace)
    server.admin.post(path, server.shapes.config_map("demo")).ok(201)
    body = server.admin.get(path).ok(200)
    assert (body["kind"], "kind" in body["items"][0]) == ("ConfigMapList", False)


def test_a_list_over_all_namespaces(server: Server, namespace: str, clusters: str) -> None:
    body = server.admin.get(server.shapes.path("clusters")).ok(200)
    here = [each for each in body["items"] if each["metadata"]["namespace"] == namespace]
    assert len(here) == 5


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        ("team=one", "ab"),
        ("team==two", "cd"),
        ("team!=one", "cde"),
        ("team in (one,two)", "abcd"),
        ("team notin (one)", "cde"),
        ("team", "abcd"),
        ("!team", "e"),
        ("team=one,kept=no", ""),
        ("kept,team notin (two, three)", "ab"),
    ],
)
def test_what_labels_choose(server: Server, clusters: str, selector: str, found: str) -> None:
    assert names(server, clusters, labelSelector=selector) == found


def test_a_selector_that_is_none(server: Server, clusters: str) -> None:
    answer = server.admin.get(clusters, labelSelector="team in one")
    assert answer.said[:2] == (400, "BadRequest")
    assert "unable to parse requirement" in answer.said[2]


@pytest.mark.parametrize(
    ("selector", "found"),
    [("metadata.name=b", "b"), ("metadata.name!=b", "acde"), ("metadata.name==b,metadata.namespace=nowhere", "")],
)
def test_what_fields_choose(server: Server, clusters: str, selector: str, found: str) -> None:
    assert names(server, clusters, fieldSelector=selector) == found


def test_a_field_that_cannot_choose(server: Server, clusters: str) -> None:
    answer = server.admin.get(clusters, fieldSelector="spec.paused=true")
    assert answer.said[:2] == (400, "BadRequest")
    assert "field label not supported: spec.paused" in answer.said[2]


def test_pages_follow_each_other_to_the_end(server: Server, clusters: str) -> None:
    seen, token, left = "", "", []
    while True:
        body = server.admin.get(clusters, limit=2, **({"continue": token} if token else {})).ok(200)
        seen += "".join(each["metadata"]["name"] for each in body["items"])
        token = body["metadata"].get("continue", "")
        left.append(body["metadata"].get("remainingItemCount"))
        if not token:
            break
    assert (seen, left) == ("abcde", [3, 1, None])


def test_the_pages_show_one_moment(server: Server, clusters: str) -> None:
    first = server.admin.get(clusters, limit=2).ok(200)
    server.admin.delete(f"{clusters}/d").ok(200)
    second = server.admin.get(clusters, limit=9, **{"continue": first["metadata"]["continue"]}).ok(200)
    assert [each["metadata"]["name"] for each in second["items"]] == ["c", "d", "e"]
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


def test_with_a_selector_nobody_counts_the_rest(server: Server, clusters: str) -> None:
    body = server.admin.get(clusters, limit=1, labelSelector="team=one").ok(200)
    assert (bool(body["metadata"]["continue"]), "remainingItemCount" in body["metadata"]) == (True, False)


def test_an_outdated_page_is_gone_and_says_how_to_go_on(server: Server, clusters: str) -> None:
    first = server.admin.get(clusters, limit=2).ok(200)
    server.make_tokens_expire()
    answer = server.admin.get(clusters, limit=2, **{"continue": outdated(first["metadata"]["continue"])})
    code, reason, message = answer.said
    assert (code, reason) == (410, "Expired")
    assert message.startswith(PAGE_EXPIRED)
    rest = server.admin.get(clusters, **{"continue": answer.body["metadata"]["continue"]}).ok(200)
    assert [each["metadata"]["name"] for each in rest["items"]] == ["c", "d", "e"]


def test_a_page_of_nowhere(server: Server, clusters: str) -> None:
    answer = server.admin.get(clusters, limit=2, **{"continue": "nonsense"})
    assert answer.said[:2] == (400, "BadRequest")
    assert "continue key is not valid" in answer.said[2]


@pytest.mark.published
def test_a_table_has_the_columns_of_the_definition(server: Server, clusters: str) -> None:
    server.admin.merge(f"{clusters}/a/status", {"status": {"phase": "Provisioned"}}).ok(200)
    table = server.admin.get(clusters, accept=TABLE).ok(200)
    columns = {each["name"]: place for place, each in enumerate(table["columnDefinitions"])}
    assert (table["kind"], table["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    assert list(columns)[:3] == ["Name", "ClusterClass", "Available"]
    assert {"Phase", "Age", "Version"} <= set(columns)
    wide = {each["name"] for each in table["columnDefinitions"] if each["priority"]}
    assert "Paused" in wide
    first = table["rows"][0]
    assert (first["cells"][columns["Name"]], first["cells"][columns["Phase"]]) == ("a", "Provisioned")
    assert first["cells"][columns["Version"]] is None
    assert (first["object"]["kind"], first["object"]["metadata"]["name"]) == ("PartialObjectMetadata", "a")


def test_a_table_of_one_object(server: Server, clusters: str) -> None:
    table = server.admin.get(f"{clusters}/b", accept=TABLE).ok(200)
    assert (table["kind"], [row["cells"][0] for row in table["rows"]]) == ("Table", ["b"])


def test_the_objects_of_a_table_may_be_left_out_or_whole(server: Server, clusters: str) -> None:
    without = server.admin.get(clusters, accept=TABLE, includeObject="None").ok(200)
    whole = server.admin.get(clusters, accept=TABLE, includeObject="Object").ok(200)
    assert without["rows"][0].get("object") is None
    assert whole["rows"][0]["object"]["spec"]["clusterNetwork"]["serviceDomain"] == "cluster.local"


def test_a_table_of_a_kind_without_columns_of_its_own(server: Server, namespace: str) -> None:
    path = server.shapes.path("awsmachinetemplates", namespace)
    server.admin.post(path, server.shapes.machine_template("demo")).ok(201)
    table = server.admin.get(path, accept=TABLE).ok(200)
    assert [each["name"] for each in table["columnDefinitions"]] == ["Name", "Age"]


def test_only_the_heads_of_objects(server: Server, clusters: str) -> None:
    accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
    body = server.admin.get(clusters, accept=accept).ok(200)
    assert body["kind"] == "PartialObjectMetadataList"
    assert (body["items"][0]["metadata"]["name"], "spec" in body["items"][0]) == ("a", False)


def test_a_list_of_any_version(server: Server, clusters: str) -> None:
    """Version 0 asks for whatever the server has at hand; exactly the last one shows the same."""
    now = server.admin.get(clusters).ok(200)["metadata"]["resourceVersion"]
    assert names(server, clusters, resourceVersion="0") == "abcde"
    assert names(server, clusters, resourceVersion=now, resourceVersionMatch="Exact", limit=9) == "abcde"
    assert names(server, clusters, resourceVersion=now, resourceVersionMatch="NotOlderThan") == "abcde"
