"""Objects made, read and replaced."""

from __future__ import annotations

import re
import uuid

import pytest

from tests.contract.samples import CORE, STAMP
from tests.contract.server import Server, wait_for


@pytest.mark.generations("current", "legacy")
def test_a_new_object_gets_what_only_the_server_gives(server: Server, namespace: str) -> None:
    sent = server.shapes.cluster("demo")
    made = server.admin.post(server.shapes.path("clusters", namespace), sent).ok(201)
    head = made["metadata"]
    assert (head["name"], head["namespace"], head["generation"]) == ("demo", namespace, 1)
    assert (str(uuid.UUID(head["uid"])), bool(STAMP.fullmatch(head["creationTimestamp"]))) == (head["uid"], True)
    assert int(head["resourceVersion"]) > 0
    assert made["spec"] == sent["spec"]
    assert server.admin.get(server.shapes.path("clusters", namespace, "demo")).ok(200) == made


def test_the_namespace_of_the_path_must_be_that_of_the_object(server: Server, namespace: str) -> None:
    sent = server.shapes.cluster("demo", namespace="elsewhere")
    answer = server.admin.post(server.shapes.path("clusters", namespace), sent)
    assert answer.said == (
        400,
        "BadRequest",
        "the namespace of the provided object does not match the namespace sent on the request",
    )


def test_a_name_that_is_taken(server: Server, namespace: str) -> None:
    path = server.shapes.path("clusters", namespace)
    server.admin.post(path, server.shapes.cluster("demo")).ok(201)
    answer = server.admin.post(path, server.shapes.cluster("demo"))
    assert answer.said == (409, "AlreadyExists", 'clusters.cluster.x-k8s.io "demo" already exists')
    assert answer.body["details"] == {"name": "demo", "group": CORE, "kind": "clusters"}


def test_a_name_that_is_no_name(server: Server, namespace: str) -> None:
    sent = server.shapes.object("clusters", "Not_A_Name", {"paused": True})
    answer = server.admin.post(server.shapes.path("clusters", namespace), sent)
    code, reason, message = answer.said
    rule = (
        'Invalid value: "Not_A_Name": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters'
    )
    assert (code, reason) == (422, "Invalid")
    assert message.startswith(f'Cluster.cluster.x-k8s.io "Not_A_Name" is invalid: metadata.name: {rule}')
    assert answer.causes["metadata.name"][0] == "FieldValueInvalid"


def test_a_generated_name(server: Server, namespace: str) -> None:
    sent = server.shapes.config_map("x")
    sent["metadata"] = {"generateName": "made-"}
    names = {
        server.admin.post(server.shapes.path("configmaps", namespace), sent).ok(201)["metadata"]["name"]
        for _ in range(3)
    }
    assert len(names) == 3
    assert all(re.fullmatch(r"made-[a-z0-9]{5}", name) for name in names)


def test_neither_name_nor_generated_name(server: Server, namespace: str) -> None:
    sent = server.shapes.cluster("x")
    sent["metadata"] = {}
    code, reason, message = server.admin.post(server.shapes.path("clusters", namespace), sent).said
    assert (code, reason) == (422, "Invalid")
    assert "metadata.name: Required value: name or generateName is required" in message


def test_an_object_that_is_not_there(server: Server, namespace: str) -> None:
    answer = server.admin.get(server.shapes.path("clusters", namespace, "gone"))
    assert answer.said == (404, "NotFound", 'clusters.cluster.x-k8s.io "gone" not found')
    assert answer.body["details"] == {"name": "gone", "group": CORE, "kind": "clusters"}


@pytest.mark.parametrize("plural", ["clusters", "configmaps"])
def test_a_namespace_must_be_there_first(server: Server, plural: str) -> None:
    sent = server.shapes.cluster("demo") if plural == "clusters" else server.shapes.config_map("demo")
    answer = server.admin.post(server.shapes.path(plural, "nowhere"), sent)
    assert answer.said == (404, "NotFound", 'namespaces "nowhere" not found')


def test_a_list_of_nothing_in_a_namespace_that_is_not_there(server: Server) -> None:
    assert server.admin.get(server.shapes.path("clusters", "nowhere")).ok(200)["items"] == []


def test_the_namespaces_of_every_cluster_are_there(server: Server) -> None:
    for name in ("default", "kube-system"):
        wait_for(lambda name=name: server.admin.get(f"/api/v1/namespaces/{name}").status == 200, name)
        found = server.admin.get(f"/api/v1/namespaces/{name}").ok(200)
        assert found["status"]["phase"] == "Active"
        assert found["metadata"]["labels"]["kubernetes.io/metadata.name"] == name


def test_replacing_keeps_what_the_server_gave_and_counts_changes_of_the_spec(server: Server, namespace: str) -> None:
    made = server.admin.post(server.shapes.path("clusters", namespace), server.shapes.cluster("demo")).ok(201)
    path = server.shapes.path("clusters", namespace, "demo")
    made["spec"]["paused"] = True
    changed = server.admin.put(path, made).ok(200)
    assert changed["metadata"]["generation"] == 2
    assert changed["metadata"]["uid"] == made["metadata"]["uid"]
    assert changed["metadata"]["creationTimestamp"] == made["metadata"]["creationTimestamp"]
    changed["metadata"]["labels"] = {"team": "a"}
    labelled = server.admin.put(path, changed).ok(200)
    assert labelled["metadata"]["generation"] == 2
    assert labelled["metadata"]["resourceVersion"] != changed["metadata"]["resourceVersion"]


def test_replacing_by_the_same_changes_nothing(server: Server, namespace: str) -> None:
    made = server.admin.post(server.shapes.path("clusters", namespace), server.shapes.cluster("demo")).ok(201)
    same = server.admin.put(server.shapes.path("clusters", namespace, "demo"), made).ok(200)
    assert same["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


def test_replacing_what_somebody_else_has_changed(server: Server, namespace: str) -> None:
    made = server.admin.post(server.shapes.path("clusters", namespace), server.shapes.cluster("demo")).ok(201)
    path = server.shapes.path("clusters", namespace, "demo")
    server.admin.merge(path, {"spec": {"paused": True}}).ok(200)
    answer = server.admin.put(path, made)
    assert answer.said == (
        409,
        "Conflict",
        'Operation cannot be fulfilled on clusters.cluster.x-k8s.io "demo": the object has been modified; '
        "please apply your changes to the latest version and try again",
    )


def test_replacing_a_custom_resource_needs_its_resource_version(server: Server, namespace: str) -> None:
    server.admin.post(server.shapes.path("clusters", namespace), server.shapes.cluster("demo")).ok(201)
    answer = server.admin.put(server.shapes.path("clusters", namespace, "demo"), server.shapes.cluster("demo"))
    code, reason, message = answer.said
    assert (code, reason) == (422, "Invalid")
    assert "metadata.resourceVersion: Invalid value: " in message
    assert message.endswith("must be specified for an update")


def test_replacing_a_built_in_object_without_a_resource_version(server: Server, namespace: str) -> None:
    path = server.shapes.path("configmaps", namespace)
    server.admin.post(path, server.shapes.config_map("demo")).ok(201)
    changed = server.admin.put(f"{path}/demo", server.shapes.config_map("demo", {"key": "other"})).ok(200)
    assert changed["data"] == {"key": "other"}


def test_the_name_of_the_path_must_be_that_of_the_object(server: Server, namespace: str) -> None:
    made = server.admin.post(server.shapes.path("clusters", namespace), server.shapes.cluster("demo")).ok(201)
    made["metadata"]["name"] = "other"
    answer = server.admin.put(server.shapes.path("clusters", namespace, "demo"), made)
    assert answer.said == (
        400,
        "BadRequest",
        "the name of the object (other) does not match the name on the URL (demo)",
    )


def test_an_object_of_the_whole_cluster(server: Server) -> None:
    name = server.fresh("identity")
    made = server.admin.post(server.shapes.path("awsclusterroleidentities"), server.shapes.role_identity(name)).ok(201)
    assert "namespace" not in made["metadata"]
    assert server.admin.delete(server.shapes.path("awsclusterroleidentities", name=name)).ok(200)["status"] == "Success"


def test_a_secret_in_plain_words_is_kept_encoded(server: Server, namespace: str) -> None:
    sent = {**server.shapes.object("secrets", "demo"), "stringData": {"token": "hello"}}
    made = server.admin.post(server.shapes.path("secrets", namespace), sent).ok(201)
    assert (made["data"], made["type"]) == ({"token": "aGVsbG8="}, "Opaque")
    assert "stringData" not in made


@pytest.mark.parametrize(
    ("labels", "message"),
    [({"team": "not a value"}, "a valid label must be an empty string or consist of alphanumeric characters"),
     ({"not a key": "x"}, "name part must consist of alphanumeric characters")],
    ids=["value", "key"],
)  # fmt: skip
def test_a_label_that_is_none(server: Server, namespace: str, labels: dict[str, str], message: str) -> None:
    answer = server.admin.post(server.shapes.path("clusters", namespace), server.shapes.cluster("demo", labels=labels))
    assert answer.said[:2] == (422, "Invalid")
    assert message in answer.causes["metadata.labels"][1]


def test_what_only_the_server_gives_cannot_be_brought_along(server: Server, namespace: str) -> None:
    sent = server.shapes.cluster("demo", uid="mine", creationTimestamp="2020-01-01T00:00:00Z", generation=9)
    made = server.admin.post(server.shapes.path("clusters", namespace), sent).ok(201)["metadata"]
    assert (made["uid"] != "mine", made["creationTimestamp"] > "2021", made["generation"]) == (True, True, 1)


def test_a_new_object_has_no_resource_version_yet(server: Server, namespace: str) -> None:
    sent = server.shapes.cluster("demo", resourceVersion="7")
    answer = server.admin.post(server.shapes.path("clusters", namespace), sent)
    assert "resourceVersion" in answer.said[2]
    assert server.admin.get(server.shapes.path("clusters", namespace, "demo")).status == 404
