"""The kinds that every cluster has, as far as the bot and its people look at them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.api import TABLE
from tests.contract.server import Server

Json = dict[str, Any]


def cells(server: Server, path: str, name: str) -> dict[str, Any]:
    """One row of a table, by its columns."""
    table = server.admin.get(path, accept=TABLE).ok(200)
    columns = [each["name"] for each in table["columnDefinitions"]]
    row = next(row["cells"] for row in table["rows"] if row["cells"][0] == name)
    return dict(zip(columns, row, strict=True))


def pod(server: Server, name: str, **metadata: Any) -> Json:
    """A pod of one container."""
    return server.shapes.object("pods", name, {"containers": [{"name": "main", "image": "busybox"}]}, **metadata)


def test_a_load_balancer_waits_for_its_address(server: Server, namespace: str) -> None:
    path = server.shapes.path("services", namespace)
    spec = {"type": "LoadBalancer", "selector": {"app": "web"}, "ports": [{"port": 80}]}
    made = server.admin.post(path, server.shapes.object("services", "web", spec)).ok(201)
    (port,) = made["spec"]["ports"]
    assert (port["protocol"], port["targetPort"]) == ("TCP", 80)
    assert 30000 <= port["nodePort"] <= 32767
    assert made["status"] == {"loadBalancer": {}}
    row = cells(server, path, "web")
    assert (row["Type"], row["External-IP"]) == ("LoadBalancer", "<pending>")
    assert row["Port(s)"] == f"80:{port['nodePort']}/TCP"


def test_a_load_balancer_gets_its_address(server: Server, namespace: str) -> None:
    path = server.shapes.path("services", namespace)
    spec = {"type": "LoadBalancer", "selector": {"app": "web"}, "ports": [{"port": 80}]}
    server.admin.post(path, server.shapes.object("services", "web", spec)).ok(201)
    status = {"loadBalancer": {"ingress": [{"hostname": "a.elb.amazonaws.com"}]}}
    server.admin.merge(f"{path}/web/status", {"status": status}).ok(200)
    assert server.admin.get(f"{path}/web").ok(200)["status"] == status
    assert cells(server, path, "web")["External-IP"] == "a.elb.amazonaws.com"


def test_a_service_is_of_the_cluster_unless_said_otherwise(server: Server, namespace: str) -> None:
    path = server.shapes.path("services", namespace)
    made = server.admin.post(path, server.shapes.object("services", "web", {"ports": [{"port": 80}]})).ok(201)
    assert (made["spec"]["type"], bool(made["spec"]["clusterIP"])) == ("ClusterIP", True)
    assert cells(server, path, "web")["External-IP"] == "<none>"


def test_a_node_with_its_role_and_state(server: Server) -> None:
    name = server.fresh("node")
    node = {**server.shapes.object("nodes", name, labels={"node-role.kubernetes.io/control-plane": ""}), "status": {
        "conditions": [{"type": "Ready", "status": "True"}],
        "nodeInfo": dict.fromkeys(
            ("machineID", "systemUUID", "bootID", "kernelVersion", "osImage", "containerRuntimeVersion",
             "kubeProxyVersion", "operatingSystem", "architecture"), "x") | {"kubeletVersion": "v1.30.0"},
        "capacity": {"cpu": "4", "nvidia.com/gpu": "1"}}}  # fmt: skip
    server.admin.post(server.shapes.path("nodes"), node).ok(201)
    row = cells(server, server.shapes.path("nodes"), name)
    assert (row["Status"], row["Roles"], row["Version"]) == ("Ready", "control-plane", "v1.30.0")
    found = server.admin.get(server.shapes.path("nodes", name=name)).ok(200)
    assert found["status"]["capacity"]["nvidia.com/gpu"] == "1"


def test_a_pod_is_pending_until_somebody_runs_it(server: Server, namespace: str) -> None:
    path = server.shapes.path("pods", namespace)
    made = server.admin.post(path, pod(server, "demo")).ok(201)
    assert (made["status"]["phase"], made["spec"]["restartPolicy"]) == ("Pending", "Always")
    row = cells(server, path, "demo")
    assert (row["Ready"], row["Status"], row["Restarts"]) == ("0/1", "Pending", "0")


def test_pods_are_chosen_by_their_phase(server: Server, namespace: str) -> None:
    path = server.shapes.path("pods", namespace)
    for name in ("one", "two"):
        server.admin.post(path, pod(server, name)).ok(201)
    server.admin.merge(f"{path}/two/status", {"status": {"phase": "Running"}}).ok(200)
    for phase, name in (("Pending", "one"), ("Running", "two")):
        found = server.admin.get(path, fieldSelector=f"status.phase={phase}").ok(200)["items"]
        assert [each["metadata"]["name"] for each in found] == [name]


def test_the_log_of_a_pod_that_is_not_there(server: Server, namespace: str) -> None:
    answer = server.admin.get(server.shapes.path("pods", namespace, "gone", "log"))
    assert answer.said == (404, "NotFound", 'pods "gone" not found')


def test_events_are_chosen_by_what_they_are_about(server: Server, namespace: str) -> None:
    path = server.shapes.path("events", namespace)
    for name in ("one", "two"):
        about = {"kind": "Machine", "name": name, "namespace": namespace, "apiVersion": "cluster.x-k8s.io/v1beta2"}
        event = {**server.shapes.object("events", f"{name}.1"), "involvedObject": about, "type": "Warning",
                 "reason": "FailedCreate", "message": "no capacity"}  # fmt: skip
        server.admin.post(path, event).ok(201)
    found = server.admin.get(path, fieldSelector="involvedObject.name=two,involvedObject.kind=Machine").ok(200)["items"]
    assert [(each["metadata"]["name"], each["message"]) for each in found] == [("two.1", "no capacity")]


def test_a_deployment_has_a_scale(server: Server, namespace: str) -> None:
    labels = {"app": "demo"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "busybox"}]}}
    spec = {"selector": {"matchLabels": labels}, "template": template}
    path = server.shapes.path("deployments", namespace)
    made = server.admin.post(path, server.shapes.object("deployments", "demo", spec)).ok(201)
    assert (made["spec"]["replicas"], made["metadata"]["generation"]) == (1, 1)
    server.admin.merge(f"{path}/demo/scale", {"spec": {"replicas": 3}}).ok(200)
    assert server.admin.get(f"{path}/demo/scale").ok(200)["spec"] == {"replicas": 3}
    assert cells(server, path, "demo")["Ready"] == "0/3"


def test_a_secret_that_is_no_base64(server: Server, namespace: str) -> None:
    sent = {**server.shapes.object("secrets", "demo"), "data": {"token": "not base64!"}}
    answer = server.admin.post(server.shapes.path("secrets", namespace), sent)
    assert answer.said[:2] == (400, "BadRequest")
    assert "illegal base64 data" in answer.said[2]


@pytest.mark.parametrize(("plural", "columns"), [("configmaps", ["Name", "Data", "Age"]),
                                                 ("secrets", ["Name", "Type", "Data", "Age"])])  # fmt: skip
def test_the_columns_of_small_things(server: Server, namespace: str, plural: str, columns: list[str]) -> None:
    path = server.shapes.path(plural, namespace)
    server.admin.post(path, server.shapes.object(plural, "demo")).ok(201)
    assert list(cells(server, path, "demo")) == columns


def test_a_lease_is_held(server: Server, namespace: str) -> None:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
    spec = {"holderIdentity": "me", "leaseDurationSeconds": 15}
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "demo"}, "spec": spec}
    made = server.admin.post(path, lease).ok(201)
    made["spec"]["holderIdentity"] = "you"
    assert server.admin.put(f"{path}/demo", made).ok(200)["spec"]["holderIdentity"] == "you"
    assert server.admin.put(f"{path}/demo", made).said[:2] == (409, "Conflict")
