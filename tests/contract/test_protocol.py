"""How the server is spoken to: methods, media types, broken bodies."""

from __future__ import annotations

import pytest
import yaml

from tests.contract.server import Server


def test_a_method_that_a_collection_does_not_know(server: Server, namespace: str) -> None:
    answer = server.admin.put(server.shapes.path("configmaps", namespace), server.shapes.config_map("demo"))
    assert answer.said == (
        405,
        "MethodNotAllowed",
        "the server does not allow this method on the requested resource",
    )


def test_a_method_that_an_object_does_not_know(server: Server, namespace: str) -> None:
    answer = server.admin.post(server.shapes.path("configmaps", namespace, "demo"), server.shapes.config_map("demo"))
    assert answer.said[:2] == (405, "MethodNotAllowed")


def test_a_collection_of_custom_resources_cannot_be_replaced(server: Server, namespace: str) -> None:
    answer = server.admin.put(server.shapes.path("clusters", namespace), server.shapes.cluster("demo"))
    assert answer.said == (400, "BadRequest", "name must be provided")


def test_a_body_of_an_unknown_type(server: Server, namespace: str) -> None:
    answer = server.admin.call("POST", server.shapes.path("clusters", namespace), "a=b", content_type="text/csv")
    code, reason, message = answer.said
    assert (code, reason) == (415, "UnsupportedMediaType")
    assert "the body of the request was in an unknown format - accepted media types include: " in message
    assert "application/json" in message
    assert "application/yaml" in message


def test_a_patch_of_an_unknown_type(server: Server, namespace: str) -> None:
    server.admin.post(server.shapes.path("clusters", namespace), server.shapes.cluster("demo")).ok(201)
    answer = server.admin.call("PATCH", server.shapes.path("clusters", namespace, "demo"), {"spec": {}})
    assert answer.said == (
        415,
        "UnsupportedMediaType",
        "the body of the request was in an unknown format - accepted media types include: "
        "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
    )


def test_an_answer_of_an_unknown_type(server: Server, namespace: str) -> None:
    answer = server.admin.call("GET", server.shapes.path("clusters", namespace), accept="text/csv")
    assert answer.status == 406
    assert "only the following media types are accepted: " in answer.text


def test_an_object_may_be_sent_as_yaml(server: Server, namespace: str) -> None:
    body = yaml.safe_dump(server.shapes.cluster("demo"))
    path = server.shapes.path("clusters", namespace)
    made = server.admin.call("POST", path, body, content_type="application/yaml").ok(201)
    assert made["metadata"]["name"] == "demo"


def test_an_applied_object_may_be_yaml(server: Server, namespace: str) -> None:
    sent = yaml.safe_dump(server.shapes.cluster("demo"))
    path = server.shapes.path("clusters", namespace, "demo")
    answer = server.admin.call("PATCH", path, sent, content_type="application/apply-patch+yaml", fieldManager="tkgbot")
    assert answer.ok(201)["metadata"]["name"] == "demo"


def test_an_answer_may_be_yaml(server: Server, namespace: str) -> None:
    answer = server.admin.call("GET", server.shapes.path("clusters", namespace), accept="application/yaml")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/yaml")
    assert yaml.safe_load(answer.text)["kind"] == "ClusterList"


@pytest.mark.parametrize("body", ["{", "[]", '"text"', "{}"])
def test_a_body_that_is_no_object(server: Server, namespace: str, body: str) -> None:
    answer = server.admin.call("POST", server.shapes.path("clusters", namespace), body)
    assert answer.said[:2] == (400, "BadRequest")
    assert answer.said[2].startswith("the object provided is unrecognized (must be of type Cluster): ")


def test_every_answer_is_json_unless_asked_otherwise(server: Server, namespace: str) -> None:
    answer = server.admin.call("GET", server.shapes.path("clusters", namespace), accept="*/*")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")


def test_nothing_is_asked_by_options(server: Server) -> None:
    assert server.admin.call("OPTIONS", server.shapes.path("clusters", "default")).status == 405


def test_the_server_says_that_it_is_ready(server: Server) -> None:
    for path in ("/readyz", "/livez", "/healthz"):
        answer = server.admin.get(path)
        assert (answer.status, answer.text) == (200, "ok")
