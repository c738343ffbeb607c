"""Who may do what, and what the others are told."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.samples import CORE, roles
from tests.contract.server import Server, wait_for

REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


@pytest.fixture
def granted(server: Server, namespace: str) -> str:
    """A namespace in which `tkgbot` has its role; the real server takes a moment to know."""
    for each, plural in zip(roles(namespace), ("roles", "rolebindings"), strict=True):
        server.admin.post(server.shapes.path(plural, namespace), each).ok(201)
    path = server.shapes.path("clusters", namespace)
    wait_for(lambda: server.user("tkgbot").get(path).status == 200, "the role holds")
    return namespace


def review(server: Server, user: str, **attributes: str) -> dict[str, Any]:
    """What a user is told about a right of its own."""
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    status: dict[str, Any] = server.user(user).post(REVIEWS, body).ok(201)["status"]
    return status


@pytest.mark.parametrize("token", [None, "wrong"])
def test_a_caller_without_a_good_token_is_nobody(server: Server, token: str | None) -> None:
    answer = server.client(token).get(server.shapes.path("clusters", "default"))
    assert answer.said == (401, "Unauthorized", "Unauthorized")


def test_a_user_without_rights_may_not_list(server: Server, namespace: str) -> None:
    answer = server.user("nobody").get(server.shapes.path("clusters", namespace))
    assert answer.said == (
        403,
        "Forbidden",
        'clusters.cluster.x-k8s.io is forbidden: User "nobody" cannot list resource "clusters" '
        f'in API group "cluster.x-k8s.io" in the namespace "{namespace}"',
    )
    assert answer.body["details"] == {"group": CORE, "kind": "clusters"}


def test_a_refusal_names_the_object(server: Server, namespace: str) -> None:
    answer = server.user("nobody").get(server.shapes.path("secrets", namespace, "demo"))
    assert answer.said == (
        403,
        "Forbidden",
        'secrets "demo" is forbidden: User "nobody" cannot get resource "secrets" '
        f'in API group "" in the namespace "{namespace}"',
    )


def test_a_refusal_over_the_whole_cluster(server: Server) -> None:
    answer = server.user("nobody").get(server.shapes.path("clusters"))
    assert answer.said[2] == (
        'clusters.cluster.x-k8s.io is forbidden: User "nobody" cannot list resource "clusters" '
        'in API group "cluster.x-k8s.io" at the cluster scope'
    )


@pytest.mark.parametrize(
    ("method", "verb", "name"),
    [("POST", "create", ""), ("PUT", "update", "demo"), ("PATCH", "patch", "demo"), ("DELETE", "delete", "demo"),
     ("DELETE", "deletecollection", "")],
)  # fmt: skip
def test_every_way_to_write_is_refused_by_its_verb(
    server: Server, namespace: str, method: str, verb: str, name: str
) -> None:
    kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
    path = server.shapes.path("clusters", namespace, name)
    answer = server.user("nobody").call(method, path, server.shapes.cluster("demo"), content_type=kind)
    assert answer.said[:2] == (403, "Forbidden")
    assert f'User "nobody" cannot {verb} resource "clusters"' in answer.said[2]


def test_a_watch_is_a_verb_of_its_own(server: Server, namespace: str) -> None:
    answer = server.user("nobody").get(server.shapes.path("clusters", namespace), watch=True)
    assert 'cannot watch resource "clusters"' in answer.said[2]


def test_a_subresource_is_a_resource_of_its_own(server: Server, granted: str) -> None:
    path = server.shapes.path("machinedeployments", granted)
    server.admin.post(path, server.shapes.machine_deployment("pool")).ok(201)
    assert server.user("tkgbot").get(f"{path}/pool/scale").status == 200
    answer = server.user("tkgbot").get(f"{path}/pool")
    assert 'cannot get resource "machinedeployments" in API group' in answer.said[2]
    answer = server.user("tkgbot").merge(f"{path}/pool/status", {"status": {}})
    assert 'cannot patch resource "machinedeployments/status" in API group' in answer.said[2]


def test_a_role_gives_its_verbs_in_its_namespace_only(server: Server, granted: str) -> None:
    path = server.shapes.path("clusters", granted)
    server.user("tkgbot").post(path, server.shapes.cluster("demo")).ok(201)
    assert server.user("tkgbot").delete(f"{path}/demo").said[:2] == (403, "Forbidden")
    other = server.fresh("ns")
    server.admin.post("/api/v1/namespaces", server.shapes.object("namespaces", other)).ok(201)
    assert server.user("tkgbot").get(server.shapes.path("clusters", other)).said[:2] == (403, "Forbidden")


def test_a_role_may_name_its_objects(server: Server, granted: str) -> None:
    path = server.shapes.path("configmaps", granted)
    for name in ("allowed", "other"):
        server.admin.post(path, server.shapes.config_map(name)).ok(201)
    assert server.user("tkgbot").get(f"{path}/allowed").status == 200
    assert server.user("tkgbot").get(f"{path}/other").said[:2] == (403, "Forbidden")
    assert server.user("tkgbot").get(path).said[:2] == (403, "Forbidden")


def test_applying_needs_patch_and_making_by_it_needs_create(server: Server, granted: str) -> None:
    """Of machine deployments tkgbot may patch the scale alone."""
    path = server.shapes.path("machinedeployments", granted, "pool")
    answer = server.user("tkgbot").apply(path, server.shapes.machine_deployment("pool"))
    assert answer.said[:2] == (403, "Forbidden")
    assert 'cannot patch resource "machinedeployments"' in answer.said[2]
    path = server.shapes.path("clusters", granted, "demo")
    server.user("tkgbot").apply(path, server.shapes.cluster("demo")).ok(201)


def test_a_role_for_the_whole_cluster(server: Server, namespace: str) -> None:
    name, api = server.fresh("reader"), "rbac.authorization.k8s.io"
    role = {**server.shapes.object("clusterroles", name), "rules": [
        {"apiGroups": ["*"], "resources": ["awsclusters"], "verbs": ["*"]}]}  # fmt: skip
    binding = {
        **server.shapes.object("clusterrolebindings", name),
        "roleRef": {"apiGroup": api, "kind": "ClusterRole", "name": name},
        "subjects": [{"apiGroup": api, "kind": "User", "name": "tkgbot"}],
    }
    server.admin.post(server.shapes.path("clusterroles"), role).ok(201)
    server.admin.post(server.shapes.path("clusterrolebindings"), binding).ok(201)
    path = server.shapes.path("awsclusters", namespace)
    wait_for(lambda: server.user("tkgbot").get(path).status == 200, "the cluster role holds")
    assert server.user("tkgbot").get(server.shapes.path("awsclusters")).status == 200
    server.admin.delete(server.shapes.path("clusterrolebindings", name=name)).ok(200)
    wait_for(lambda: server.user("tkgbot").get(path).status == 403, "the cluster role is taken away")


def test_a_question_about_a_right_one_has(server: Server, granted: str) -> None:
    asked = {"namespace": granted, "verb": "list", "group": CORE, "resource": "clusters"}
    assert review(server, "tkgbot", **asked)["allowed"] is True
    assert review(server, "admin", **asked)["allowed"] is True


def test_a_question_about_a_right_one_has_not(server: Server, granted: str) -> None:
    asked = {"namespace": granted, "verb": "delete", "group": CORE, "resource": "clusters"}
    assert review(server, "tkgbot", **asked)["allowed"] is False
    assert review(server, "nobody", **asked)["allowed"] is False


def test_a_question_about_a_subresource_and_a_name(server: Server, granted: str) -> None:
    scale = {"namespace": granted, "verb": "patch", "group": CORE, "resource": "machinedeployments"}
    assert review(server, "tkgbot", **scale)["allowed"] is False
    assert review(server, "tkgbot", **scale, subresource="scale")["allowed"] is True
    named = {"namespace": granted, "verb": "get", "resource": "configmaps"}
    assert review(server, "tkgbot", **named, name="allowed")["allowed"] is True
    assert review(server, "tkgbot", **named)["allowed"] is False


def test_discovery_is_open_to_every_known_user(server: Server) -> None:
    for path in ("/version", "/api", "/apis", f"/apis/{CORE}", f"/apis/{CORE}/v1beta2"):
        assert server.user("nobody").get(path).status == 200, path


def test_a_path_that_is_no_resource(server: Server) -> None:
    answer = server.user("nobody").get("/metrics")
    assert answer.said == (403, "Forbidden", 'forbidden: User "nobody" cannot get path "/metrics"')
