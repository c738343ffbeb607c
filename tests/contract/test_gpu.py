"""The GPU operator's objects on servers that have none of it: every one is accepted, strictly and without a warning,
applying again changes nothing, and a newer release is put over an older one. And on servers that have the published
definition of ClusterPolicy: what is rendered fits it, and a definition of somebody else's is not taken."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from handlers.clients.kube import Cluster, Clusters
from handlers.contract import Json, KubeRefused, Right
from handlers.gpu.manifests import render, values_of
from handlers.gpu.releases import RELEASES
from handlers.kinds import CLUSTER_POLICY, DEFINITION, kind_of
from handlers.settings import GpuSettings, ManagementCluster
from handlers.steps.apply import holds, rights_for
from tests.contract.imitation import imitation
from tests.contract.real import apiserver, assets_folder, etcd
from tests.contract.server import Server, established, refuse, wait_for

MIRRORS = {"nvcr.io": "mirror.example.com:5000/nvidia", "registry.k8s.io": "mirror.example.com:5000/k8s"}
OTHERWISE: dict[str, Any] = {
    "driver_version": "preinstalled", "toolkit_version": "preinstalled", "mirrors": MIRRORS, "kernel_module": "open",
    "tolerations": ({"key": "example.com/team", "operator": "Equal", "value": "ml", "effect": "NoExecute"},),
}  # fmt: skip


@pytest.fixture(scope="module", params=["real", "sandbox"], ids=["real-bare", "sandbox-bare"])
def bare(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of this module's own, without any definition."""
    with contextlib.ExitStack() as stack:
        folder = tmp_path_factory.mktemp("bare")
        if request.param == "sandbox":
            yield stack.enter_context(imitation(folder, "current"))
            return
        assets = assets_folder()
        if assets is None:
            refuse("KUBEBUILDER_ASSETS names no folder with kube-apiserver and etcd (.ci/kube/build makes one)")
        assert assets is not None
        store = stack.enter_context(etcd(assets, folder))
        yield stack.enter_context(apiserver(assets, folder, store, "bare"))


def client(server: Server, folder: Path, rights: tuple[Right, ...] | None = None) -> Cluster:
    """The bot's client, with nothing remembered."""
    return Clusters(ManagementCluster(kubeconfig=server.kubeconfig(folder, "admin"))).management(rights)


def rendered(**settings: Any) -> tuple[Json, ...]:
    return render(values_of(GpuSettings(**settings)))


def install(server: Server, folder: Path, items: tuple[Json, ...]) -> dict[str, str]:
    """Applies all of them, waiting for definitions; what each has for a resourceVersion then."""
    kube = client(server, folder, rights_for(items))
    made: dict[str, str] = {}
    for item in items:
        meta: Any = kube.apply(item)["metadata"]
        made[f"{item['kind']} {meta['name']}"] = meta["resourceVersion"]
        if item["kind"] == DEFINITION.name:
            name = str(meta["name"])
            wait_for(lambda name=name: established(server.admin, name), f"{name} established")
    return made


def lacking(server: Server, folder: Path, items: tuple[Json, ...]) -> list[str]:
    """Which objects are not there as they were written."""
    kube = client(server, folder)
    metas: list[Any] = [item["metadata"] for item in items]
    found = [kube.get(kind_of(i), m["name"], m.get("namespace", "")) for i, m in zip(items, metas, strict=True)]
    return [m["name"] for i, m, there in zip(items, metas, found, strict=True) if there is None or not holds(i, there)]


def test_an_older_release_then_the_newest_over_it(bare: Server, tmp_path: Path) -> None:
    older, newest = rendered(operator_version=RELEASES[-1].operator), rendered()
    install(bare, tmp_path, older)
    assert lacking(bare, tmp_path, older) == []
    assert lacking(bare, tmp_path, newest) != []
    first = install(bare, tmp_path, newest)
    assert lacking(bare, tmp_path, newest) == []
    assert install(bare, tmp_path, newest) == first


@pytest.mark.parametrize("settings", [{}, OTHERWISE], ids=["default", "otherwise"])
def test_every_object_is_accepted_without_a_warning(bare: Server, tmp_path: Path, settings: dict[str, Any]) -> None:
    install(bare, tmp_path, rendered(namespace="gpus", **settings)[:7])
    kube = client(bare, tmp_path)
    warned = {str(item["kind"]): kube.try_apply(item) for item in rendered(namespace="gpus", **settings)}
    assert set(warned.values()) == {()}
    assert len(warned) > 9


def test_a_policy_without_a_part_is_refused(bare: Server, tmp_path: Path) -> None:
    items = rendered(namespace="gpus")
    install(bare, tmp_path, items[:7])
    spec: Any = dict(items[-1]["spec"])  # type: ignore[arg-type]
    del spec["driver"]
    with pytest.raises(KubeRefused, match="driver"):
        client(bare, tmp_path).try_apply({**items[-1], "spec": spec})


@pytest.mark.published
@pytest.mark.parametrize("release", RELEASES, ids=lambda release: release.operator)
def test_the_policy_fits_the_published_definition(server: Server, tmp_path: Path, release: Any) -> None:
    kube = client(server, tmp_path)
    for settings in ({}, OTHERWISE):
        policy = rendered(operator_version=release.operator, **settings)[-1]
        assert kind_of(policy) == CLUSTER_POLICY
        assert kube.try_apply(policy) == ()


@pytest.mark.published
def test_a_definition_of_somebody_elses_is_not_taken(server: Server, tmp_path: Path) -> None:
    ours = next(item for item in rendered() if item["metadata"]["name"] == "clusterpolicies.nvidia.com")  # type: ignore[index, call-overload]
    with pytest.raises(KubeRefused) as refused:
        client(server, tmp_path).try_apply(ours)
    assert refused.value.reason == "Conflict"
