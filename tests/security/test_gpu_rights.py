"""What the bot may do in a cluster for its GPUs, and what a team's own manifests may bring there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from handlers.contract import Fatal, KubeRefused, Retry
from handlers.gpu.own import own
from handlers.settings import GpuSettings
from tests.security.test_gpu_threats import assert_harmless
from tests.unit import conftest
from tests.unit.clouds import Cloud
from tests.unit.gpu_worlds import CLUSTER, GpuWorld, Workload, running_gpus
from tests.unit.insides import TAINT
from tests.unit.makers import NASTY

Obj = dict[str, Any]
standing_cloud = conftest.standing_cloud
"""A running AWS, as the unit tests have it."""


# -- what the bot may do there -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def world(standing_cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GpuWorld]:
    with running_gpus(standing_cloud, tmp_path_factory.mktemp("threats")) as made:
        place = made.serve(Workload())
        place.node("plain", "t3.large")
        place.node("gpu-0", taints=[TAINT])
        yield made


MAY = {
    "gpu install": ({"create", "patch"}, {"default/vision"}),
    "gpu test": ({"create", "patch", "delete"}, {"default/vision"}),
    "gpu uninstall": ({"delete"}, {"default/vision"}),
    "cluster scale": ({"patch"}, {""}),
}
NEVER = ("secrets", "pods", "mutatingwebhook", "validatingwebhook", "apiservices", "certificatesigningrequests", "*")


def test_session_too_wide_every_right_of_every_plan_is_listed_and_small(world: GpuWorld) -> None:
    world.run(world.plan("gpu install"))
    plans = {name: world.plan(name) for name in ("gpu test", "gpu uninstall")}
    plans["cluster scale"] = world.plan("cluster scale", workers=3)
    plans["gpu install"] = world.plan("gpu install", driver_version="580.126.20")
    for name, (verbs, clusters) in MAY.items():
        rights = [right for step in plans[name].steps for right in step.rights]
        assert rights
        assert {right.verb for right in rights} <= verbs, name
        assert {right.cluster for right in rights} <= clusters, name
        assert all(right.name for right in rights), "each names its object"
        assert not [right for right in rights if right.resource.startswith(NEVER)], name
        assert not [action for step in plans[name].steps for action in step.actions], name
        assert not [right for right in rights if right.namespace == "kube-system"], name


def test_disclosure_the_kubeconfig_of_a_cluster_stands_in_no_error(world: GpuWorld) -> None:
    assert world.place.server is not None
    text = world.place.server.kubeconfig("admin")
    token = world.place.server.token("admin")
    errors: list[Exception] = []
    for broken in (text.replace("current-context", "x"), text[: len(text) // 2], text.replace("https:", "ftp:"), token,
                   yaml.safe_dump({"token": token}), text.replace("127.0.0.1", "127.0.0.1:1/x?token=")):  # fmt: skip
        world.kube.keep_kubeconfig(broken, CLUSTER)
        with pytest.raises((Fatal, Retry, KubeRefused)) as error:
            world.report()
        errors.append(error.value)
    world.kube.keep_kubeconfig(text, CLUSTER)
    for faults in ({"unreachable": True}, {"credentials_rotated": True}, {"certificate_changed": True}):
        world.place.server.set_faults(faults)
        with pytest.raises((Fatal, Retry)) as error:
            world.report()
        errors.append(error.value)
        world.place.server.set_faults(dict.fromkeys(faults))
    for error in errors:
        said = f"{error} {error.message} {error.hint}"  # type: ignore[attr-defined]
        assert token not in said
        assert "certificate-authority-data" not in said
        assert "LS0tLS1" not in said


# -- a team's own manifests --------------------------------------------------------------------------------------

ROLE = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
FORBIDDEN = (
    ("v1", "Secret"), ("v1", "Pod"), ("v1", "Node"), ("v1", "PersistentVolume"), ("v1", "Endpoints"),
    ("batch/v1", "Job"), ("batch/v1", "CronJob"), ("apps/v1", "StatefulSet"), ("apps/v1", "ReplicaSet"),
    ("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration"),
    ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration"),
    ("apiregistration.k8s.io/v1", "APIService"), ("certificates.k8s.io/v1", "CertificateSigningRequest"),
    ("storage.k8s.io/v1", "StorageClass"), ("cluster.x-k8s.io/v1beta1", "Cluster"),
    ("infrastructure.cluster.x-k8s.io/v1beta2", "AWSClusterRoleIdentity"),
    ("addons.cluster.x-k8s.io/v1beta1", "ClusterResourceSet"),
    ("evil.example/v1", "ClusterPolicy"), ("rbac.authorization.k8s.io/v1alpha1", "ClusterRole"),
)  # fmt: skip


@pytest.mark.parametrize(("version", "kind"), FORBIDDEN, ids=[kind for _, kind in FORBIDDEN])
def test_escalation_what_a_teams_file_may_not_bring(version: str, kind: str) -> None:
    item: Obj = {"apiVersion": version, "kind": kind, "metadata": {"name": "x"}}
    whole = {"apiVersion": "v1", "kind": "List", "items": [item]}
    for text in (
        yaml.safe_dump(item),
        yaml.safe_dump(whole),
        f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: a}}\n---\n{yaml.safe_dump(item)}",
    ):
        with pytest.raises(Fatal) as error:
            own(text, "gpu-operator")
        assert error.value.message
        assert_harmless([error.value.message, error.value.hint], [])


@pytest.mark.parametrize(
    "text", [text for text in NASTY if text.strip()], ids=range(len([t for t in NASTY if t.strip()]))
)
def test_spoofing_names_in_a_teams_file_stay_words(text: str) -> None:
    item: Obj = {"apiVersion": f"{text}/v1", "kind": text, "metadata": {"name": text}}
    with pytest.raises(Fatal) as error:
        own(json.dumps(item), "gpu-operator")
    assert_harmless([error.value.message, error.value.hint], [])


def test_tampering_what_the_server_and_others_own_is_taken_out_of_a_file() -> None:
    meta = {"name": "x", "uid": "u", "resourceVersion": "7", "managedFields": [{"manager": "flux"}]}
    item = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {}, "status": {"a": 1}}
    (made,) = own(yaml.safe_dump(item), "gpu-operator")
    assert made == {
        "apiVersion": "v1", "kind": "ConfigMap", "data": {}, "metadata": {"name": "x", "namespace": "gpu-operator"},
    }  # fmt: skip


def test_escalation_a_file_that_was_read_gets_rights_for_its_own_objects_alone(world: GpuWorld, tmp_path: Path) -> None:
    """A role binding of the file is seen by whoever approves, by name, and nothing else comes with it."""
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "all-of-it"},
        "roleRef": ROLE, "subjects": [{"kind": "ServiceAccount", "name": "x", "namespace": "gpu-operator"}],
    }  # fmt: skip
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(binding))
    vars(world.shop.settings)["gpu"] = GpuSettings(manifests=(path,))
    try:
        plan = world.plan("gpu install")
    finally:
        vars(world.shop.settings)["gpu"] = GpuSettings()
    rights = {(r.verb, r.resource, r.name) for step in plan.steps for r in step.rights}
    assert rights == {
        (verb, "clusterrolebindings.rbac.authorization.k8s.io", "all-of-it") for verb in ("create", "patch")
    }
    assert plan.details is not None
    assert plan.details.rows == (("ClusterRoleBinding", "all-of-it", "-", "new"),)
