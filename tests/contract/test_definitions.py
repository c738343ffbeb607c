"""Definitions that come, change and go while the server runs."""

from __future__ import annotations

from typing import Any

from tests.contract.server import CRDS_PATH, Server, established, wait_for

Json = dict[str, Any]


def definition(plural: str, *versions: str) -> Json:
    """A small definition; the last version is the one that is kept."""
    properties = {"size": {"type": "integer", "default": 1}}
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.contract.example.com"},
        "spec": {
            "group": "contract.example.com",
            "scope": "Namespaced",
            "names": {"plural": plural, "singular": plural[:-1], "kind": plural.capitalize()},
            "versions": [
                {"name": each, "served": True, "storage": each == versions[-1], "schema": {"openAPIV3Schema": schema}}
                for each in versions
            ],
        },
    }


def install(server: Server, crd: Json) -> None:
    """Posts a definition and waits until it is established."""
    server.admin.post(CRDS_PATH, crd).ok(201)
    wait_for(lambda: established(server.admin, crd["metadata"]["name"]), "established")


def served(server: Server, plural: str, version: str, namespace: str) -> str:
    """The path of a new kind, once it answers."""
    path = f"/apis/contract.example.com/{version}/namespaces/{namespace}/{plural}"
    wait_for(lambda: server.admin.get(path).status == 200, f"{path} answers")
    return path


def test_a_new_kind_is_served_and_gone_again(server: Server, namespace: str) -> None:
    plural = server.fresh("things").replace("-", "")
    install(server, definition(plural, "v1"))
    path = served(server, plural, "v1", namespace)
    kind = {"apiVersion": "contract.example.com/v1", "kind": plural.capitalize()}
    made = server.admin.post(path, {**kind, "metadata": {"name": "one"}, "spec": {}}).ok(201)
    assert made["spec"] == {"size": 1}
    server.admin.delete(f"{CRDS_PATH}/{plural}.contract.example.com").ok(200)
    wait_for(lambda: server.admin.get(path).status == 404, "the kind is gone")


def test_a_definition_gets_a_further_version(server: Server, namespace: str) -> None:
    plural = server.fresh("more").replace("-", "")
    install(server, definition(plural, "v1"))
    served(server, plural, "v1", namespace)
    found = server.admin.get(f"{CRDS_PATH}/{plural}.contract.example.com").ok(200)
    found["spec"]["versions"] = definition(plural, "v1", "v2")["spec"]["versions"]
    changed = server.admin.put(f"{CRDS_PATH}/{plural}.contract.example.com", found).ok(200)
    assert set(changed["status"]["storedVersions"]) == {"v1", "v2"}
    served(server, plural, "v2", namespace)


def test_the_name_of_a_definition_follows_from_what_it_defines(server: Server) -> None:
    wrong = definition("nothings", "v1")
    wrong["metadata"]["name"] = "others.contract.example.com"
    answer = server.admin.post(CRDS_PATH, wrong)
    assert answer.said[:2] == (422, "Invalid")
    assert answer.causes["metadata.name"][1].endswith('must be spec.names.plural+"."+spec.group')


def test_a_definition_without_a_version_to_keep(server: Server) -> None:
    wrong = definition("nothings", "v1")
    wrong["spec"]["versions"][0]["storage"] = False
    assert server.admin.post(CRDS_PATH, wrong).said[:2] == (422, "Invalid")
