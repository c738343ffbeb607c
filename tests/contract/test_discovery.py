"""What a server says it serves."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.samples import CORE, INFRASTRUCTURE
from tests.contract.server import Server

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"


def resources(server: Server, group_version: str) -> dict[str, Any]:
    """The resources of a group's version, by name."""
    body = server.admin.get(f"/apis/{group_version}").ok(200)
    assert (body["kind"], body["groupVersion"]) == ("APIResourceList", group_version)
    return {each["name"]: each for each in body["resources"]}


def test_the_version_of_the_server(server: Server) -> None:
    body = server.admin.get("/version").ok(200)
    assert body["gitVersion"].startswith(f"v{body['major']}.{body['minor'].rstrip('+')}")


def test_the_core_group_is_at_api(server: Server) -> None:
    body = server.admin.get("/api").ok(200)
    assert (body["kind"], body["versions"]) == ("APIVersions", ["v1"])
    listed = server.admin.get("/api/v1").ok(200)
    names = {each["name"]: each for each in listed["resources"]}
    assert (listed["kind"], listed["groupVersion"]) == ("APIResourceList", "v1")
    assert {"namespaces", "pods", "pods/log", "secrets", "configmaps", "services", "nodes", "events"} <= set(names)
    assert (names["configmaps"]["shortNames"], names["namespaces"]["namespaced"]) == (["cm"], False)


@pytest.mark.generations("current", "legacy")
def test_each_group_with_its_served_versions_the_newest_preferred(server: Server) -> None:
    body = server.admin.get("/apis").ok(200)
    groups = {each["name"]: each for each in body["groups"]}
    served = {name: [each["version"] for each in groups[name]["versions"]] for name in (CORE, INFRASTRUCTURE)}
    assert body["kind"] == "APIGroupList"
    assert groups[CORE]["preferredVersion"]["groupVersion"] == f"{CORE}/{served[CORE][0]}"
    assert (
        served
        == {
            "current": {CORE: ["v1beta2", "v1beta1"], INFRASTRUCTURE: ["v1beta2"]},
            "legacy": {
                CORE: ["v1beta1", "v1alpha4", "v1alpha3"],
                INFRASTRUCTURE: ["v1beta1", "v1alpha4", "v1alpha3"],
            },
        }[server.generation]
    )


@pytest.mark.generations("current", "legacy")
def test_one_group_asked_for_itself(server: Server) -> None:
    body = server.admin.get(f"/apis/{CORE}").ok(200)
    preferred = server.shapes.api_version("clusters")
    assert (body["kind"], body["name"]) == ("APIGroup", CORE)
    assert body["preferredVersion"] == {"groupVersion": preferred, "version": preferred.split("/")[1]}
    assert body["versions"][0] == body["preferredVersion"]


def test_a_resource_with_its_names_and_verbs(server: Server) -> None:
    cluster = resources(server, f"{CORE}/v1beta2")["clusters"]
    assert (cluster["kind"], cluster["singularName"], cluster["namespaced"]) == ("Cluster", "cluster", True)
    assert (cluster["shortNames"], cluster["categories"]) == (["cl"], ["cluster-api"])
    assert set(cluster["verbs"]) == {
        "create", "delete", "deletecollection", "get", "list", "patch", "update", "watch",
    }  # fmt: skip
    identity = resources(server, f"{INFRASTRUCTURE}/v1beta2")["awsclusterroleidentities"]
    assert identity["namespaced"] is False


def test_subresources_are_listed_beside_their_resource(server: Server) -> None:
    found = resources(server, f"{CORE}/v1beta2")
    assert set(found["clusters/status"]["verbs"]) == {"get", "patch", "update"}
    scale = found["machinedeployments/scale"]
    assert (scale["kind"], scale["group"], scale["version"]) == ("Scale", "autoscaling", "v1")
    assert "clusters/scale" not in found


@pytest.mark.parametrize("path", ["/apis/nothing.example.com", f"/apis/{CORE}/v9", f"/apis/{CORE}/v1beta2/nothings"])
def test_what_is_not_served_answers_in_plain_text(server: Server, path: str) -> None:
    answer = server.admin.get(path)
    assert (answer.status, answer.text) == (404, "404 page not found\n")
    assert answer.headers["Content-Type"].startswith("text/plain")


def test_a_version_that_is_defined_but_not_served_is_not_there(server: Server) -> None:
    answer = server.admin.get(server.shapes.path("awsclusters", version="v1beta1"))
    assert (answer.status, answer.text) == (404, "404 page not found\n")


def test_an_unknown_resource_of_the_core_group_is_a_status(server: Server) -> None:
    answer = server.admin.get("/api/v1/namespaces/default/nothings")
    assert answer.said == (404, "NotFound", "the server could not find the requested resource")


def test_all_resources_in_one_answer(server: Server) -> None:
    """Aggregated discovery, which kubectl asks for first."""
    answer = server.admin.get("/apis", accept=AGGREGATED)
    assert "as=APIGroupDiscoveryList" in answer.headers["Content-Type"].replace(" ", "")
    groups = {each["metadata"]["name"]: each for each in answer.ok(200)["items"]}
    versions = {each["version"]: each["resources"] for each in groups[CORE]["versions"]}
    deployments = next(each for each in versions["v1beta2"] if each["resource"] == "machinedeployments")
    assert list(versions) == ["v1beta2", "v1beta1"]
    assert (deployments["scope"], deployments["responseKind"]["kind"]) == ("Namespaced", "MachineDeployment")
    assert {each["subresource"] for each in deployments["subresources"]} == {"status", "scale"}


def test_a_definition_says_that_it_is_established(server: Server) -> None:
    crd = server.admin.get(server.shapes.path("customresourcedefinitions", name=f"clusters.{CORE}")).ok(200)
    conditions = {each["type"]: each["status"] for each in crd["status"]["conditions"]}
    assert (conditions["Established"], conditions["NamesAccepted"]) == ("True", "True")
    assert crd["status"]["storedVersions"] == ["v1beta2"]
    assert crd["status"]["acceptedNames"]["plural"] == "clusters"
