"""The commands with which people look."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator

import pytest

from tests.contract.kubectl import Kubectl, table
from tests.contract.server import Server


@pytest.mark.generations("current", "legacy")
def test_which_resources_there_are(server: Server, kubectl: Kubectl) -> None:
    rows = {row["NAME"]: row for row in table(kubectl.good("api-resources", "--api-group=cluster.x-k8s.io"))}
    row = rows["clusters"]
    assert (row["SHORTNAMES"], row["APIVERSION"]) == ("cl", server.shapes.api_version("clusters"))
    assert (row["NAMESPACED"], row["KIND"]) == ("true", "Cluster")


def test_which_versions_there_are(kubectl: Kubectl) -> None:
    said = kubectl.good("api-versions").splitlines()
    assert {"v1", "apps/v1", "cluster.x-k8s.io/v1beta1", "cluster.x-k8s.io/v1beta2"} <= set(said)


def test_the_server_and_its_version(kubectl: Kubectl) -> None:
    assert json.loads(kubectl.good("version", "-o", "json"))["serverVersion"]["gitVersion"].startswith("v1.")


@pytest.mark.generations("current", "legacy")
@pytest.mark.parametrize("resource", ["clusters", "cluster", "cl", "clusters.cluster.x-k8s.io"])
def test_get_under_every_name(kubectl: Kubectl, demo_cluster: str, resource: str) -> None:
    (row,) = table(kubectl.good("get", resource))
    assert (row["NAME"], row["PHASE"]) == ("demo", "Provisioned")


@pytest.mark.published
def test_get_wide_has_more_columns(kubectl: Kubectl, demo_cluster: str) -> None:
    assert "PAUSED" not in kubectl.good("get", "clusters").splitlines()[0]
    assert "PAUSED" in kubectl.good("get", "clusters", "-o", "wide").splitlines()[0]


def test_get_over_all_namespaces_has_their_names(kubectl: Kubectl, demo_cluster: str, namespace: str) -> None:
    rows = table(kubectl.good("get", "clusters", "-A"))
    assert (namespace, "demo") in [(row["NAMESPACE"], row["NAME"]) for row in rows]


def test_get_by_label_as_json_and_by_path(kubectl: Kubectl, demo_cluster: str) -> None:
    found = json.loads(kubectl.good("get", "cl", "-l", "team=a", "-o", "json"))
    assert [each["metadata"]["name"] for each in found["items"]] == ["demo"]
    assert kubectl.good("get", "cl", "demo", "-o", "jsonpath={.status.phase}") == "Provisioned"
    assert kubectl.good("get", "cl", "-o", "name") == "cluster.cluster.x-k8s.io/demo\n"


def test_get_a_whole_category(kubectl: Kubectl, demo_cluster: str) -> None:
    assert "cluster.cluster.x-k8s.io/demo" in kubectl.good("get", "cluster-api", "-o", "name")


def test_get_nothing(kubectl: Kubectl, namespace: str) -> None:
    said = kubectl("get", "clusters")
    assert (said.code, said.out, said.err) == (0, "", f"No resources found in {namespace} namespace.\n")


def test_get_what_is_not_there(kubectl: Kubectl) -> None:
    said = kubectl("get", "cluster", "gone")
    assert (said.code, said.err) == (
        1,
        'Error from server (NotFound): clusters.cluster.x-k8s.io "gone" not found\n',
    )


def test_get_a_kind_that_is_not_there(kubectl: Kubectl) -> None:
    said = kubectl("get", "nothings")
    assert (said.code, said.err) == (1, 'error: the server doesn\'t have a resource type "nothings"\n')


def test_get_and_watch(server: Server, kubectl: Kubectl, demo_cluster: str) -> None:
    command = kubectl.command("get", "clusters", "-w", "-o", "name", "--request-timeout=20s")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            lines: Iterator[str] = iter(process.stdout.readline, "")
            assert next(lines) == "cluster.cluster.x-k8s.io/demo\n"
            server.admin.post(demo_cluster, server.shapes.cluster("later")).ok(201)
            assert next(lines) == "cluster.cluster.x-k8s.io/later\n"
        finally:
            process.terminate()


def test_what_may_i(kubectl: Kubectl, kubectl_of: Callable[[str], Kubectl]) -> None:
    assert kubectl.good("auth", "can-i", "delete", "clusters.cluster.x-k8s.io") == "yes\n"
    said = kubectl_of("nobody")("auth", "can-i", "delete", "clusters.cluster.x-k8s.io")
    assert (said.code, said.out.splitlines()[0]) == (1, "no")


def test_a_user_without_rights(kubectl_of: Callable[[str], Kubectl], namespace: str) -> None:
    said = kubectl_of("nobody")("get", "clusters")
    assert said.err == (
        'Error from server (Forbidden): clusters.cluster.x-k8s.io is forbidden: User "nobody" cannot list resource '
        f'"clusters" in API group "cluster.x-k8s.io" in the namespace "{namespace}"\n'
    )


def test_a_deprecated_version_is_warned_of(kubectl: Kubectl, demo_cluster: str) -> None:
    said = kubectl("get", "clusters.v1beta1.cluster.x-k8s.io")
    assert (said.code, "Warning: cluster.x-k8s.io/v1beta1 Cluster is deprecated" in said.err) == (0, True)


def test_the_built_in_kinds_have_their_columns(server: Server, kubectl: Kubectl, namespace: str) -> None:
    server.admin.post(server.shapes.path("configmaps", namespace), server.shapes.config_map("demo")).ok(201)
    rows = {row["NAME"]: row for row in table(kubectl.good("get", "configmaps"))}
    assert rows["demo"]["DATA"] == "1"
    (row,) = table(kubectl.good("get", "namespace", namespace))
    assert row["STATUS"] == "Active"
    several = kubectl.good("get", "namespaces,configmaps,deployments", "-o", "name").splitlines()
    assert {f"namespace/{namespace}", "configmap/demo"} <= set(several)


def test_the_log_of_a_pod(server: Server, kubectl: Kubectl, namespace: str) -> None:
    """The real server has no kubelet here, so there is nothing to read; the sandbox keeps what was written."""
    pod = server.shapes.object("pods", "demo", {"containers": [{"name": "main", "image": "busybox"}]})
    server.admin.post(server.shapes.path("pods", namespace), pod).ok(201)
    assert kubectl.good("logs", "demo") == ""
    readable = server.write_log(namespace, "demo", "one\ntwo\n")
    assert kubectl.good("logs", "demo") == readable


def test_the_log_of_a_pod_that_is_not_there(kubectl: Kubectl, namespace: str) -> None:
    said = kubectl("logs", "gone")
    assert (said.code, 'pods "gone" not found' in said.err) == (1, True)
