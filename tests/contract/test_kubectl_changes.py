"""The commands with which people change things, and wait for it."""

from __future__ import annotations

import subprocess

import pytest

from tests.contract.kubectl import BOUND_S, Kubectl
from tests.contract.server import Server, wait_for


def test_create_and_create_again(server: Server, kubectl: Kubectl) -> None:
    sent = server.shapes.cluster("demo")
    assert kubectl.good("create", "-f", "-", sent=sent) == "cluster.cluster.x-k8s.io/demo created\n"
    said = kubectl("create", "-f", "-", sent=sent)
    assert (said.code, 'clusters.cluster.x-k8s.io "demo" already exists' in said.err) == (1, True)


@pytest.mark.generations("current", "legacy")
def test_apply_on_the_client_side(server: Server, kubectl: Kubectl) -> None:
    sent = server.shapes.cluster("demo")
    assert kubectl.good("apply", "-f", "-", sent=sent) == "cluster.cluster.x-k8s.io/demo created\n"
    assert kubectl.good("apply", "-f", "-", sent=sent) == "cluster.cluster.x-k8s.io/demo unchanged\n"
    sent["spec"]["paused"] = True
    assert kubectl.good("apply", "-f", "-", sent=sent) == "cluster.cluster.x-k8s.io/demo configured\n"


def test_apply_of_a_built_in_object_on_the_client_side(server: Server, kubectl: Kubectl, namespace: str) -> None:
    sent = server.shapes.config_map("demo", {"a": "1", "b": "2"})
    assert kubectl.good("apply", "-f", "-", sent=sent) == "configmap/demo created\n"
    sent["data"] = {"a": "1"}
    assert kubectl.good("apply", "-f", "-", sent=sent) == "configmap/demo configured\n"
    found = server.admin.get(server.shapes.path("configmaps", namespace, "demo")).ok(200)
    assert found["data"] == {"a": "1"}


@pytest.mark.generations("current", "legacy")
def test_apply_on_the_server_side(server: Server, kubectl: Kubectl, namespace: str) -> None:
    sent = server.shapes.cluster("demo")
    said = kubectl.good("apply", "--server-side", "-f", "-", sent=sent)
    assert said == "cluster.cluster.x-k8s.io/demo serverside-applied\n"
    found = server.admin.get(server.shapes.path("clusters", namespace, "demo")).ok(200)
    assert found["metadata"]["managedFields"][0]["manager"] == "kubectl"


def test_apply_on_the_server_side_tells_conflicts(server: Server, kubectl: Kubectl, namespace: str) -> None:
    path = server.shapes.path("clusters", namespace, "demo")
    server.admin.apply(path, server.shapes.object("clusters", "demo", {"paused": True}), "tkgbot").ok(201)
    sent = server.shapes.object("clusters", "demo", {"paused": False})
    said = kubectl("apply", "--server-side", "-f", "-", sent=sent)
    assert said.code == 1
    assert 'Apply failed with 1 conflict: conflict with "tkgbot": .spec.paused' in said.err


def test_apply_refuses_unknown_fields(server: Server, kubectl: Kubectl) -> None:
    sent = server.shapes.object("clusters", "demo", {"paused": True, "colour": "blue"})
    said = kubectl("apply", "-f", "-", sent=sent)
    assert (said.code, 'unknown field "spec.colour"' in said.err) == (1, True)


def test_apply_as_a_dry_run_on_the_server(server: Server, kubectl: Kubectl, namespace: str) -> None:
    said = kubectl.good("apply", "--dry-run=server", "-f", "-", sent=server.shapes.cluster("demo"))
    assert said == "cluster.cluster.x-k8s.io/demo created (server dry run)\n"
    assert server.admin.get(server.shapes.path("clusters", namespace, "demo")).status == 404


def test_scale(server: Server, kubectl: Kubectl, namespace: str) -> None:
    path = server.shapes.path("machinedeployments", namespace)
    server.admin.post(path, server.shapes.machine_deployment("pool")).ok(201)
    said = kubectl.good("scale", "machinedeployment", "pool", "--replicas=4")
    assert said == "machinedeployment.cluster.x-k8s.io/pool scaled\n"
    assert server.admin.get(f"{path}/pool").ok(200)["spec"]["replicas"] == 4
    said = kubectl("scale", "md", "pool", "--replicas=5", "--current-replicas=1")
    assert (said.code, "expected replicas to be 1, was 4" in said.err.lower()) == (1, True)


def test_label_and_annotate(server: Server, kubectl: Kubectl, demo_cluster: str) -> None:
    assert kubectl.good("label", "cluster", "demo", "env=test") == "cluster.cluster.x-k8s.io/demo labeled\n"
    assert kubectl.good("annotate", "cluster", "demo", "note=x") == "cluster.cluster.x-k8s.io/demo annotated\n"
    head = server.admin.get(f"{demo_cluster}/demo").ok(200)["metadata"]
    assert (head["labels"]["env"], head["annotations"]["note"]) == ("test", "x")
    said = kubectl("label", "cluster", "demo", "env=other")
    assert (said.code, "already has a value (test)" in said.err) == (1, True)


@pytest.mark.parametrize("kind", ["merge", "json"])
def test_patch(server: Server, kubectl: Kubectl, demo_cluster: str, kind: str) -> None:
    patch = {"merge": '{"spec":{"paused":true}}', "json": '[{"op":"add","path":"/spec/paused","value":true}]'}[kind]
    said = kubectl.good("patch", "cluster", "demo", f"--type={kind}", "-p", patch)
    assert said == "cluster.cluster.x-k8s.io/demo patched\n"
    assert server.admin.get(f"{demo_cluster}/demo").ok(200)["spec"]["paused"] is True


def test_patch_of_the_status(server: Server, kubectl: Kubectl, demo_cluster: str) -> None:
    patch = '{"status":{"phase":"Failed"}}'
    kubectl.good("patch", "cluster", "demo", "--subresource=status", "--type=merge", "-p", patch)
    assert server.admin.get(f"{demo_cluster}/demo").ok(200)["status"]["phase"] == "Failed"


def test_wait_for_what_is_so(kubectl: Kubectl, demo_cluster: str) -> None:
    said = kubectl.good("wait", "cluster/demo", "--for=jsonpath={.status.phase}=Provisioned", "--timeout=10s")
    assert said == "cluster.cluster.x-k8s.io/demo condition met\n"


def test_wait_for_what_comes(server: Server, kubectl: Kubectl, demo_cluster: str) -> None:
    command = kubectl.command("wait", "cluster/demo", "--for=condition=Ready", "--timeout=20s")
    condition = {"type": "Ready", "status": "True", "reason": "Fine", "message": "",
                 "lastTransitionTime": "2026-01-01T00:00:00Z"}  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        server.admin.merge(f"{demo_cluster}/demo/status", {"status": {"conditions": [condition]}}).ok(200)
        said, _ = process.communicate(timeout=BOUND_S)
    assert (process.returncode, said) == (0, "cluster.cluster.x-k8s.io/demo condition met\n")


def test_wait_for_what_does_not_come(kubectl: Kubectl, demo_cluster: str) -> None:
    said = kubectl("wait", "cluster/demo", "--for=condition=Ready", "--timeout=1s")
    assert (said.code, "timed out waiting for the condition on clusters/demo" in said.err) == (1, True)


def test_delete_and_delete_again(server: Server, kubectl: Kubectl, demo_cluster: str) -> None:
    said = kubectl.good("delete", "cluster", "demo")
    assert said.startswith('cluster.cluster.x-k8s.io "demo" deleted')
    assert server.admin.get(f"{demo_cluster}/demo").status == 404
    assert kubectl("delete", "cluster", "demo").code == 1
    assert kubectl.good("delete", "cluster", "demo", "--ignore-not-found") == ""


def test_delete_waits_for_the_finalizer(server: Server, kubectl: Kubectl, demo_cluster: str) -> None:
    server.admin.merge(f"{demo_cluster}/demo", {"metadata": {"finalizers": ["example.com/wait"]}}).ok(200)
    with subprocess.Popen(kubectl.command("delete", "cluster", "demo"), stdout=subprocess.PIPE, text=True) as process:
        wait_for(
            lambda: "deletionTimestamp" in server.admin.get(f"{demo_cluster}/demo").ok(200)["metadata"], "being deleted"
        )
        assert process.poll() is None
        server.admin.merge(f"{demo_cluster}/demo", {"metadata": {"finalizers": None}}).ok(200)
        process.communicate(timeout=BOUND_S)
    assert process.returncode == 0


def test_delete_by_label(server: Server, kubectl: Kubectl, demo_cluster: str) -> None:
    server.admin.post(demo_cluster, server.shapes.cluster("other")).ok(201)
    kubectl.good("delete", "clusters", "-l", "team=a")
    left = server.admin.get(demo_cluster).ok(200)["items"]
    assert [each["metadata"]["name"] for each in left] == ["other"]
