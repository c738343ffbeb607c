"""The GPU operator's objects: order, values that cannot break out, and what a team's own file may hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from handlers.contract import Fatal, Json, Toleration, UsageError
from handlers.gpu import manifests
from handlers.gpu.manifests import GpuValues, mirrored, render, render_namespace, values_of
from handlers.gpu.own import (
    LARGEST,
    is_old_form,
    lacks_definition,
    operator_version_of,
    own,
    own_files,
    version_of_image,
)
from handlers.gpu.releases import RELEASES, VOLTA_BRANCH, VOLTA_DRIVER, branch, is_tested, parsed, release_of
from handlers.gpu.yaml_bounds import DEEPEST, MOST_VALUES
from handlers.kinds import kind_of
from handlers.settings import GpuSettings

NASTY = (
    'x"\n  hostNetwork: true\n#', "$namespace", "${operator_image}", "$$", "a: b", "- x", "&a *a", "!!python/name:id",
    "---\nkind: Secret", "\u2028x\u0085y\ufeff", "\x00\x07\x7f", "\U0001f600", "'", '"', "\\", "{", "%", "yes", "null",
    "1e3", "2026-01-01", "", " ",
)  # fmt: skip


def at(item: Json, *path: str | int) -> Any:
    """What stands at a place of an object."""
    found: Any = item
    for part in path:
        found = found[part]
    return found


def named(items: tuple[Json, ...], kind: str, name: str) -> Json:
    return next(item for item in items if (item["kind"], at(item, "metadata", "name")) == (kind, name))


def images(items: tuple[Json, ...]) -> list[str]:
    """Every image that a pod or the policy names."""
    pods = [c["image"] for item in items if "template" in at(item, "spec" if "spec" in item else "metadata")
            for c in at(item, "spec", "template", "spec", "containers")]  # fmt: skip
    spec: Any = items[-1]["spec"]
    parts = [*spec.values(), spec["driver"]["manager"]]
    return pods + [f"{part['repository']}/{part['image']}:{part['version']}" for part in parts if "repository" in part]


def rendered(**settings: Any) -> tuple[Json, ...]:
    return render(values_of(GpuSettings(**settings)))


# -- rendering ---------------------------------------------------------------------------------------------------


def test_the_order_is_that_of_applying() -> None:
    kinds = [str(item["kind"]) for item in rendered()]
    assert kinds[0] == "Namespace"
    assert kinds[1:7] == ["CustomResourceDefinition"] * 6
    assert kinds[-2:] == ["Deployment", "ClusterPolicy"]
    work = [place for place, kind in enumerate(kinds) if kind in ("Deployment", "DaemonSet")]
    rights = [place for place, kind in enumerate(kinds) if "Role" in kind or kind in ("ServiceAccount", "ConfigMap")]
    assert max(rights) < min(work)


def test_every_object_is_of_a_known_kind_and_in_its_place() -> None:
    for item in rendered(namespace="gpus"):
        kind = kind_of(item)
        assert str(item["apiVersion"]).rpartition("/")[2] in kind.versions
        assert at(item, "metadata").get("namespace") == ("gpus" if kind.namespaced else None)
        assert at(item, "metadata", "labels", "app.kubernetes.io/managed-by") == "tkgbot"
    keys = [(i["kind"], at(i, "metadata", "name")) for i in rendered()]
    assert len(set(keys)) == len(keys)


def test_the_namespace_admits_privileged_pods() -> None:
    labels = at(rendered()[0], "metadata", "labels")
    assert {labels[f"pod-security.kubernetes.io/{mode}"] for mode in ("enforce", "audit", "warn")} == {"privileged"}
    assert render_namespace("gpus") == rendered(namespace="gpus")[0]


def test_what_the_defaults_install() -> None:
    items = rendered()
    assert "nvcr.io/nvidia/gpu-operator:v26.7.0" in images(items)
    assert "nvcr.io/nvidia/driver:595.91.07" in images(items)
    assert "nvcr.io/nvidia/k8s/container-toolkit:v1.20.0" in images(items)
    assert "registry.k8s.io/nfd/node-feature-discovery:v0.19.0" in images(items)
    assert images(items).count("nvcr.io/nvidia/k8s-device-plugin:v0.20.0") == 2
    policy = items[-1]
    assert at(policy, "spec", "driver", "enabled") is True
    assert at(policy, "spec", "driver", "kernelModuleType") == "auto"
    assert operator_version_of(items) == "v26.7.0"
    assert is_old_form(items) is False


def test_the_driver_and_the_toolkit_of_the_image() -> None:
    spec: Any = rendered(driver_version="preinstalled", toolkit_version="preinstalled")[-1]["spec"]
    assert (spec["driver"]["enabled"], spec["toolkit"]["enabled"]) == (False, False)
    assert spec["devicePlugin"]["enabled"] is True


def test_the_words_of_a_command_win() -> None:
    values = values_of(GpuSettings(driver_version="595.91.07"), "v25.10.1", "580.126.20")
    assert (values.operator_version, values.driver_version) == ("v25.10.1", "580.126.20")
    assert (values.toolkit_version, values.device_plugin_version) == ("v1.18.1", "v0.18.1")
    assert values_of(GpuSettings(), driver_version="preinstalled").driver_enabled is False


def test_node_feature_discovery_of_the_clusters_own() -> None:
    items = rendered(node_feature_discovery=False)
    assert not [item for item in items if "feature" in str(at(item, "metadata", "name"))]
    assert [item["kind"] for item in items].count("CustomResourceDefinition") == 3
    assert len(rendered()) - len(items) == 17


def test_pods_run_on_tainted_nodes() -> None:
    items = rendered(tolerations=({"key": "team", "operator": "Equal", "value": "ml", "effect": "NoExecute"},))
    gpu = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    team = {"key": "team", "operator": "Equal", "value": "ml", "effect": "NoExecute"}
    assert at(items[-1], "spec", "daemonsets", "tolerations") == [gpu, team]
    worker = named(items, "DaemonSet", "gpu-operator-node-feature-discovery-worker")
    assert [t["key"] for t in at(worker, "spec", "template", "spec", "tolerations")] == [
        "node-role.kubernetes.io/control-plane", "nvidia.com/gpu", "team",
    ]  # fmt: skip


def test_mirrors_stand_in_every_image() -> None:
    mirrors = {"nvcr.io": "mirror.example.com:5000/nv", "registry.k8s.io": "mirror.example.com:5000/k8s"}
    found = images(rendered(mirrors=mirrors))
    assert len(found) > 10
    assert all(image.startswith("mirror.example.com:5000/") for image in found)
    assert not any("nvcr.io" in image or "registry.k8s.io" in image for image in found)
    assert (
        mirrored("nvcr.io/nvidia/k8s/cuda-sample:x", mirrors) == "mirror.example.com:5000/nv/nvidia/k8s/cuda-sample:x"
    )
    assert mirrored("quay.io/a/b:c", mirrors) == "quay.io/a/b:c"


@pytest.mark.parametrize("release", RELEASES, ids=lambda release: release.operator)
def test_every_release_is_rendered(release: Any) -> None:
    items = rendered(operator_version=release.operator)
    assert f"nvcr.io/nvidia/driver:{release.driver}" in images(items)
    assert f"nvcr.io/nvidia/cloud-native/k8s-driver-manager:{release.driver_manager}" in images(items)
    assert at(items[-1], "spec", "validator", "version") == release.operator


def nasty(text: str) -> tuple[Json, ...]:
    """Rendered with a text that the settings would never let through, wherever one stands."""
    team = Toleration.model_construct(key=text, operator="Equal", value=text, effect=None)
    values = GpuValues(
        operator_version="v26.7.0", namespace=text, driver_version=text, toolkit_version=text,
        device_plugin_version=text, node_feature_discovery_version=text, tolerations=(team,), nvidia_registry=text,
        kubernetes_registry=text,
    )  # fmt: skip
    return render(values)


def shape(value: Any) -> Any:
    """The same with every text as a blank, so that only what is where is left."""
    if isinstance(value, dict):
        return {key: shape(each) for key, each in value.items()}
    return [shape(each) for each in value] if isinstance(value, list | tuple) else type(value).__name__


def check_nasty(text: str) -> None:
    items = nasty(text)
    assert shape(items) == shape(nasty("plain"))
    assert at(items[0], "metadata", "name") == text
    assert at(items[-1], "spec", "driver", "version") == text
    assert at(items[-1], "spec", "daemonsets", "tolerations", 1) == {"key": text, "operator": "Equal", "value": text}
    assert at(items[-1], "spec", "driver", "repository") == f"{text}/nvidia"


@pytest.mark.long(but=3)
@pytest.mark.parametrize("text", NASTY)
def test_no_value_breaks_out_of_its_place(text: str) -> None:
    check_nasty(text)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=12))
def test_any_text_stays_text(text: str) -> None:
    assert yaml.safe_load(f"x: {manifests._encoded([text, {text: True}])}") == {"x": [text, {text: True}]}


# -- releases ----------------------------------------------------------------------------------------------------


def test_a_patch_of_a_known_release_gets_its_versions() -> None:
    assert release_of("v26.7.9").driver == release_of("v26.7.0").driver
    assert (is_tested("v26.7.0"), is_tested("v26.7.9")) == (True, False)


@pytest.mark.parametrize("version", ["v22.9.1", "v27.1.0", "latest", ""])
def test_an_unknown_release_is_told_what_is_known(version: str) -> None:
    with pytest.raises(UsageError, match=r"it knows v26\.7, v26\.3, v25\.10") as refused:
        release_of(version)
    assert "operations.gpu.manifests" in refused.value.hint


def test_the_newest_release_is_the_first_and_the_default() -> None:
    versions = [parsed(release.operator) for release in RELEASES]
    assert versions == sorted(versions, reverse=True)
    assert GpuSettings().operator_version == RELEASES[0].operator
    assert branch(VOLTA_DRIVER) == VOLTA_BRANCH
    assert VOLTA_DRIVER in [release.driver for release in RELEASES]
    assert branch("latest") is None


# -- settings ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"operator_version": "26.7.0"}, "pattern"),
        ({"operator_version": "v26.7.0\n"}, "pattern"),
        ({"driver_version": "latest"}, "pattern"),
        ({"driver_version": "580.1; rm"}, "pattern"),
        ({"namespace": "GPU"}, "pattern"),
        ({"namespace": "a" * 64}, "pattern"),
        ({"kernel_module": "closed"}, "'auto', 'open' or 'proprietary'"),
        ({"mirrors": {"docker.io": "x"}}, "pattern"),
        ({"mirrors": {"nvcr.io": "https://x"}}, "pattern"),
        ({"mirrors": {"nvcr.io": "x/"}}, "pattern"),
        ({"test_image": "no image"}, "pattern"),
        ({"disk": 49}, "greater than or equal to 50"),
        ({"test_timeout": 0}, "greater than or equal to 1"),
        ({"driver_patience": 0}, "greater than 0"),
        ({"keep_jobs": 0}, "greater than or equal to 60"),
        ({"tolerations": ({"key": "a b"},)}, "pattern"),
        ({"tolerations": ({"key": "a", "value": "b"},)}, "operator `Exists` does not use `value`"),
        ({"tolerations": ({"key": "a", "operator": "Equal"},)}, "operator `Equal` needs `value`"),
        ({"manifests": ("a.yaml", "b.yaml", "c.yaml")}, "at most 2 items"),
        (
            {"manifests": ("a.yaml",), "driver_version": "580.126.20", "mirrors": {}},
            "leave out driver_version, mirrors",
        ),
        ({"node_feature_discovery": False, "node_feature_discovery_version": "v0.19.0"}, "does not use"),
        ({"driver": "x"}, "Extra inputs"),
    ],
)
def test_settings_are_closed(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        GpuSettings(**wrong)


def test_settings_of_a_team_with_files_of_its_own() -> None:
    found = GpuSettings(manifests=("crd.yaml", "components.yaml"), namespace="gpus", test_timeout=900, disk=200)
    assert found.manifests == (Path("crd.yaml"), Path("components.yaml"))


def test_patterns_take_what_is_real() -> None:
    for image in (GpuSettings().test_image, "mirror.example.com:5000/cuda@sha256:" + "a" * 64, "x.io/a_b/c:1.0_x"):
        assert GpuSettings(test_image=image).test_image == image
    assert GpuSettings(driver_version="570.86").driver_version == "570.86"


# -- a team's own files ------------------------------------------------------------------------------------------

OLD_DEFINITION = """\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: clusterpolicies.nvidia.com, creationTimestamp: null}
spec: {group: nvidia.com}
status: {acceptedNames: {kind: ""}}
"""
OLD_COMPONENTS = """\
# comment
---
---
apiVersion: nvidia.com/v1
kind: ClusterPolicy
metadata: {name: cluster-policy, namespace: nowhere}
spec: {operator: {defaultRuntime: containerd}}
---
apiVersion: v1
kind: List
items:
  - {apiVersion: v1, kind: ServiceAccount, metadata: {name: gpu-operator}}
  - {apiVersion: v1, kind: ConfigMap, metadata: {name: config, namespace: other}, data: {made: 2021-03-04, on: "x"}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: gpu-operator, namespace: gpu-operator-resources}
spec:
  template:
    spec:
      containers: [{name: gpu-operator, image: "nvcr.io/nvidia/gpu-operator:v22.9.1"}]
---
apiVersion: v1
kind: Namespace
metadata: {name: gpu-operator-resources}
"""


def one(kind: str = "ConfigMap", version: str = "v1", more: str = "", meta: str = "name: a") -> str:
    return f"apiVersion: {version}\nkind: {kind}\nmetadata: {{{meta}}}\n{more}"


def test_a_file_in_the_order_of_applying() -> None:
    items = own(OLD_COMPONENTS + "---\n" + OLD_DEFINITION, "gpu-operator")
    assert [item["kind"] for item in items] == [
        "CustomResourceDefinition", "Namespace", "ServiceAccount", "ConfigMap", "Deployment", "ClusterPolicy",
    ]  # fmt: skip
    assert [at(item, "metadata").get("namespace") for item in items] == [
        None, None, "gpu-operator", "other", "gpu-operator-resources", None,
    ]  # fmt: skip
    assert "status" not in items[0]
    assert "creationTimestamp" not in at(items[0], "metadata")
    assert at(items[3], "data", "made") == "2021-03-04"
    json.dumps(items)


def test_the_old_form_is_recognised() -> None:
    items = own(OLD_COMPONENTS, "gpu-operator")
    assert operator_version_of(items) == "v22.9.1"
    assert is_old_form(items)
    assert is_old_form(own(one("DaemonSet", "apps/v1", meta="name: a, namespace: gpu-operator-resources"), "x"))
    assert is_old_form(own(one(), "x")) is False
    assert lacks_definition(items)
    assert lacks_definition(own(OLD_COMPONENTS + "---\n" + OLD_DEFINITION, "x")) is False


def test_files_are_read_together(tmp_path: Path) -> None:
    paths = tmp_path / "crd.yaml", tmp_path / "components.yaml"
    paths[0].write_text("%YAML 1.1\n---\n" + OLD_DEFINITION)
    paths[1].write_text("\ufeff" + OLD_COMPONENTS)
    assert len(own_files(paths, "x")) == 6
    with pytest.raises(Fatal, match=r"nothing\.yaml cannot be read \(FileNotFoundError\)"):
        own_files([tmp_path / "nothing.yaml"], "x")
    paths[0].write_bytes(b"\xff\xfe\x00")
    with pytest.raises(Fatal, match=r"crd\.yaml cannot be read \(UnicodeDecodeError\)"):
        own_files(paths, "x")


def test_a_rendered_chart_leaves_its_hooks_out() -> None:
    def hook(name: str, events: str) -> str:
        return one("ConfigMap", meta=f"name: {name}, annotations: {{helm.sh/hook: '{events}'}}")

    text = "---\n".join(
        [hook("prune", "post-delete"), hook("both", "pre-install, pre-upgrade"), hook("test", "test"), one()]
    )
    assert [at(item, "metadata", "name") for item in own(text, "x")] == ["both", "a"]
    job = one("Job", "batch/v1", meta="name: prune, annotations: {helm.sh/hook: post-delete}")
    assert len(own(job + "---\n" + one(), "x")) == 1


def test_what_is_rendered_can_be_given_as_a_file() -> None:
    items = rendered()
    again = own(yaml.safe_dump_all(items), "other")
    assert sorted(json.dumps(item, sort_keys=True) for item in items) == sorted(
        json.dumps(item, sort_keys=True) for item in again
    )


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (one("Secret"), "hold a Secret, which the bot neither keeps nor applies"),
        (one("Secret", "v2"), "Secret"),
        (one("Cluster", "cluster.x-k8s.io/v1beta1"), r"hold a Cluster of cluster\.x-k8s\.io, which does not belong"),
        (one("Pod"), "hold a Pod, which does not belong"),
        (one("Widget", "example.com/v1"), r"hold a Widget of example\.com"),
        (one("Deployment", "extensions/v1beta1"), "Deployment of extensions"),
        (one("Deployment", "apps/v1beta1"), r"Deployment a is written as v1beta1; this tkgbot applies v1\."),
        (one(meta=""), "A ConfigMap in the team's manifests has no name"),
        (one(meta="generateName: a"), "has no name"),
        (one(meta="name: 7"), "has no name"),
        (one(meta="name: a, namespace: 7"), "a namespace that is no text"),
        (one() + "---\n" + one(), "ConfigMap a stands twice"),
        ("", "hold no object"),
        ("---\n---\n", "hold no object"),
        ("just words", "no kind or no apiVersion"),
        ("kind: ConfigMap\nmetadata: {name: a}", "no kind or no apiVersion"),
        ("[1, 2]", "no kind or no apiVersion"),
        ("a: 1\nb: }", r"not YAML \(line 2\)"),
        (one(more="data: {a: !!python/name:os.system x}"), "not YAML"),
        (one(more="data: {a: !!binary aGk=}"), "a value that Kubernetes does not know"),
        (one(more="data: {a: .nan}"), "a value that Kubernetes does not know"),
        (one(more="data: &d {a: *d}"), "within what it stands for"),
        (one(more="data: {a: *nothing}"), "not YAML"),
        (f"a: &a {'x' * 100_000}\nb: [{', '.join(['*a'] * 1000)}]", f"more than {MOST_VALUES:,} values"),
        (BOMB, f"more than {MOST_VALUES:,} values"),
        ("[" * 2000 + "]" * 2000, f"more than {DEEPEST} levels deep"),
        ("{a: " * 2000 + "}" * 2000, f"more than {DEEPEST} levels deep"),
        ("x" * (LARGEST + 1), "larger than 5 MiB"),
        ("é" * (LARGEST // 2 + 1), "larger than 5 MiB"),
    ],
)
def test_what_has_no_business_there_is_refused(text: str, told: str) -> None:
    with pytest.raises(Fatal, match=told) as refused:
        own(text, "gpu-operator")
    assert "operations.gpu.manifests" in refused.value.hint


def test_aliases_within_bounds_are_taken() -> None:
    items = own(
        one(meta="name: a, labels: &l {app: x}") + "---\n" + one("Service", more="spec: &s {a: &t [1]}\nx: *t"), "x"
    )
    assert items[1]["x"] == [1]


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("nvcr.io/nvidia/gpu-operator:v26.7.0", "v26.7.0"),
        ("mirror.example.com:5000/nv/gpu-operator:1.6.2", "1.6.2"),
        ("mirror.example.com:5000/nv/gpu-operator", ""),
        ("nvcr.io/nvidia/gpu-operator:v26.7.0@sha256:aa", "v26.7.0"),
        ("nvcr.io/nvidia/gpu-operator@sha256:aa", ""),
        ("", ""),
    ],
)
def test_the_version_of_an_image(image: str, version: str) -> None:
    assert version_of_image(image) == version


def test_the_operators_version_by_its_label() -> None:
    deployment: Json = {
        "kind": "Deployment",
        "metadata": {"name": "gpu-operator", "labels": {"app.kubernetes.io/version": "v26.3.3"}},
        "spec": {"template": {"spec": {"containers": [{"image": "nvcr.io/nvidia/gpu-operator@sha256:aa"}]}}},
    }
    assert operator_version_of([deployment]) == "v26.3.3"
    other: Json = {**deployment, "spec": {"template": {"spec": {"containers": [{"image": "x/my-gpu-operator:v1"}]}}}}
    assert operator_version_of([other, {"kind": "Deployment", "metadata": {}}]) == ""
