"""The GPU operator's objects from the shipped files and a few values. Pure but for reading what is shipped.

The files are YAML with `$name` where a whole value stands; every value is put in as JSON, so none can end early and say
something of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from string import Template
from typing import Any, Literal

import yaml

from handlers.contract import GpuDefaults, Json, Model, Toleration
from handlers.gpu.releases import Release, release_of

PREINSTALLED = "preinstalled"
NVIDIA_REGISTRY, KUBERNETES_REGISTRY = "nvcr.io", "registry.k8s.io"
POLICY_NAME = "cluster-policy"
OPERATOR_NAME = "gpu-operator"
BEFORE = ("namespace", "definitions")
FEATURES = ("node-feature-definitions", "node-feature-discovery")
AFTER = ("operator", "cluster-policy")
GPU_TAINT = Toleration(key="nvidia.com/gpu", effect="NoSchedule")
CONTROL_PLANE_TAINT = Toleration(key="node-role.kubernetes.io/control-plane", effect="NoSchedule")


class GpuValues(Model):
    """What the objects are made from. `driver_version` and `toolkit_version` are None where the nodes' image has them
    installed already; the registries are prefixes, such as `mirror.example.com/nvcr`."""

    operator_version: str
    namespace: str = OPERATOR_NAME
    driver_version: str | None = None
    kernel_module: Literal["auto", "open", "proprietary"] = "auto"
    toolkit_version: str | None = None
    device_plugin_version: str
    node_feature_discovery_version: str | None = None
    tolerations: tuple[Toleration, ...] = ()
    nvidia_registry: str = NVIDIA_REGISTRY
    kubernetes_registry: str = KUBERNETES_REGISTRY

    @property
    def driver_enabled(self) -> bool:
        """Does the operator install the driver?"""
        return self.driver_version is not None

    @property
    def toolkit_enabled(self) -> bool:
        """Does the operator install the container toolkit?"""
        return self.toolkit_version is not None

    @property
    def node_feature_discovery_enabled(self) -> bool:
        """Is node feature discovery put there, too?"""
        return self.node_feature_discovery_version is not None


def values_of(
    settings: GpuDefaults, operator_version: str | None = None, driver_version: str | None = None
) -> GpuValues:
    """What the settings say, with what a command says instead. Versions that nobody names are those of the operator's
    release. UsageError for an operator that the shipped files are not for."""
    operator = operator_version or settings.operator_version
    release = release_of(operator)
    features = settings.node_feature_discovery_version or release.node_feature_discovery
    return GpuValues(
        operator_version=operator,
        namespace=settings.namespace,
        driver_version=_unless_preinstalled(driver_version or settings.driver_version or release.driver),
        kernel_module=settings.kernel_module,
        toolkit_version=_unless_preinstalled(settings.toolkit_version or release.toolkit),
        device_plugin_version=settings.device_plugin_version or release.device_plugin,
        node_feature_discovery_version=features if settings.node_feature_discovery else None,
        tolerations=settings.tolerations,
        nvidia_registry=settings.mirrors.get(NVIDIA_REGISTRY, NVIDIA_REGISTRY),
        kubernetes_registry=settings.mirrors.get(KUBERNETES_REGISTRY, KUBERNETES_REGISTRY),
    )


def render(values: GpuValues) -> tuple[Json, ...]:
    """The objects in the order in which they are applied: namespace, definitions, rights, node feature discovery,
    operator, ClusterPolicy."""
    names = [*BEFORE, *FEATURES[:1], "rbac", *FEATURES[1:], *AFTER]
    wanted = [name for name in names if values.node_feature_discovery_enabled or name not in FEATURES]
    return tuple(item for name in wanted for item in _filled(name, _words(values)))


def render_namespace(namespace: str) -> Json:
    """The namespace alone, labelled so that the driver's pods are admitted."""
    return _filled("namespace", {"namespace": namespace})[0]


def mirrored(image: str, mirrors: Mapping[str, str]) -> str:
    """An image's name with the prefix that stands in its registry's place."""
    registry, slash, rest = image.partition("/")
    return f"{mirrors.get(registry, registry)}{slash}{rest}"


def _unless_preinstalled(version: str) -> str | None:
    return None if version == PREINSTALLED else version


def _words(values: GpuValues) -> dict[str, Any]:
    """What stands in the files' places. What is not installed still has a version, which nobody reads."""
    release: Release = release_of(values.operator_version)
    nvidia = f"{values.nvidia_registry}/nvidia"
    driver, toolkit, features = (
        there if chosen is None else chosen
        for chosen, there in (
            (values.driver_version, release.driver),
            (values.toolkit_version, release.toolkit),
            (values.node_feature_discovery_version, release.node_feature_discovery),
        )
    )
    further = [each.written() for each in values.tolerations]
    on_nodes = [GPU_TAINT.written(), *further]
    return {
        "namespace": values.namespace,
        "operator_version": values.operator_version,
        "operator_image": f"{nvidia}/gpu-operator:{values.operator_version}",
        "operator_tolerations": [CONTROL_PLANE_TAINT.written()],
        "node_tolerations": on_nodes,
        "all_tolerations": [CONTROL_PLANE_TAINT.written(), *on_nodes],
        "nvidia": nvidia,
        "nvidia_k8s": f"{nvidia}/k8s",
        "cloud_native": f"{nvidia}/cloud-native",
        "driver_enabled": values.driver_enabled,
        "driver_version": driver,
        "kernel_module": values.kernel_module,
        "driver_manager_version": release.driver_manager,
        "driver_manager_image": f"{nvidia}/cloud-native/k8s-driver-manager:{release.driver_manager}",
        "toolkit_enabled": values.toolkit_enabled,
        "toolkit_version": toolkit,
        "device_plugin_version": values.device_plugin_version,
        "dcgm_exporter_version": release.dcgm_exporter,
        "mig_manager_version": release.mig_manager,
        "node_feature_discovery_image": f"{values.kubernetes_registry}/nfd/node-feature-discovery:{features}",
    }


@cache
def _shipped(name: str) -> str:
    return resources.files("manifests.gpu").joinpath(f"{name}.yaml").read_text(encoding="utf-8")


def _filled(name: str, words: Mapping[str, Any]) -> list[Json]:
    text = Template(_shipped(name)).substitute({word: _encoded(value) for word, value in words.items()})
    return [dict(item) for item in yaml.safe_load_all(text)]


def _encoded(value: Any) -> str:
    """A value as JSON that YAML reads as the same: all but ASCII is escaped, and what JSON writes as two surrogates is
    one escape of YAML's. (YAML 1.2: "Escaped Characters".)"""
    if isinstance(value, str):
        return '"' + "".join(_escaped(sign) for sign in value) + '"'
    if isinstance(value, list):
        return "[" + ", ".join(map(_encoded, value)) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_encoded(key)}: {_encoded(item)}" for key, item in value.items()) + "}"
    return json.dumps(value)


def _escaped(sign: str) -> str:
    code = ord(sign)
    if code > 0xFFFF:
        return f"\\U{code:08x}"
    return json.dumps(sign)[1:-1] if code != 0x7F else "\\x7f"
