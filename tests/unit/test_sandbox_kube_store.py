"""The in-process side of the sandbox's Kubernetes API: what those who play controllers rely on."""

from __future__ import annotations

import random
from typing import Any

import pytest

from sandbox.kube.crds import crds
from sandbox.kube.errors import ApiError
from sandbox.kube.memory import HISTORY, Change
from sandbox.kube.store import Store

CLUSTERS, CONFIGS = "clusters.cluster.x-k8s.io", "configmaps"
Json = dict[str, Any]


@pytest.fixture
def store() -> Store:
    made = Store(lambda: 1_700_000_000.0, random.Random(1))
    for crd in crds():
        made.create(crd)
    return made


def cluster(name: str = "shop", **spec: Any) -> Json:
    meta = {"name": name, "namespace": "default"}
    return {
        "apiVersion": "cluster.x-k8s.io/v1beta2",
        "kind": "Cluster",
        "metadata": meta,
        "spec": spec or {"paused": True},
    }


def config(name: str, owner: Json | None = None, **meta: Any) -> Json:
    references: Json = {}
    if owner:
        reference = {key: owner[key] for key in ("apiVersion", "kind")}
        reference |= {key: owner["metadata"][key] for key in ("name", "uid")}
        references = {"ownerReferences": [reference]}
    meta = {"name": name, "namespace": "default", **references, **meta}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"a": "1"}}


def test_what_is_read_is_the_callers_own(store: Store) -> None:
    store.create(cluster())
    store.get(CLUSTERS, "shop", "default")["spec"]["paused"] = False
    assert store.get(CLUSTERS, "shop", "default")["spec"] == {"paused": True}


def test_changes_are_told_in_their_order_until_it_is_ended(store: Store) -> None:
    seen: list[Change] = []
    end = store.on_change(seen.append)
    store.create(cluster())
    store.patch(CLUSTERS, "shop", "default", {"status": {"phase": "Provisioned"}}, status=True)
    store.patch(CLUSTERS, "shop", "default", {"status": {"phase": "Provisioned"}}, status=True)
    store.delete(CLUSTERS, "shop", "default")
    end()
    store.create(cluster())
    assert [change.type for change in seen] == ["ADDED", "MODIFIED", "DELETED"]
    assert [change.revision for change in seen] == sorted({change.revision for change in seen})
    assert seen[1].previous is not None
    assert ("status" in seen[1].previous, seen[1].object["status"]) == (False, {"phase": "Provisioned"})


def test_everybody_hears_of_changes_in_their_order_though_a_listener_writes(store: Store) -> None:
    def controller(change: Change) -> None:
        if change.type == "ADDED" and change.resource == CLUSTERS:
            store.patch(CLUSTERS, "shop", "default", {"status": {"phase": "Pending"}}, status=True)

    seen: list[str] = []
    store.on_change(controller)
    store.on_change(lambda change: seen.append(change.type))
    store.create(cluster())
    assert seen == ["ADDED", "MODIFIED"]


def test_a_stale_update_is_refused(store: Store) -> None:
    made = store.create(cluster())
    store.patch(CLUSTERS, "shop", "default", {"spec": {"paused": False}})
    with pytest.raises(ApiError) as refusal:
        store.update(made | {"spec": {"paused": True, "controlPlaneEndpoint": {"host": "x"}}})
    assert (refusal.value.code, refusal.value.reason) == (409, "Conflict")


def test_the_status_of_both_shapes_is_kept_in_every_version(store: Store) -> None:
    """One stored object serves v1beta1 and v1beta2 without conversion."""
    store.create(cluster())
    status = {"infrastructureReady": True, "initialization": {"infrastructureProvisioned": True}}
    store.patch(CLUSTERS, "shop", "default", {"status": status}, status=True)
    stored = store.stored(store.registry.storage(CLUSTERS), "default", "shop")  # type: ignore[arg-type]
    older = store.registry.find("cluster.x-k8s.io", "v1beta1", "clusters")
    assert older is not None
    shown = store.present(older, stored)
    assert (shown["apiVersion"], shown["status"]) == ("cluster.x-k8s.io/v1beta1", status)


def test_the_shapes_of_another_version_are_refused(store: Store) -> None:
    with pytest.raises(ApiError, match=r"spec.infrastructureRef.apiGroup: Required value"):
        store.create(cluster(infrastructureRef={"apiVersion": "x/v1", "kind": "AWSCluster", "name": "shop"}))
    spec = {"version": "v1.33.1", "machineTemplate": {"infrastructureRef": {"name": "x"}}}
    meta = {"name": "shop", "namespace": "default"}
    group = "controlplane.cluster.x-k8s.io/v1beta2"
    with pytest.raises(ApiError, match=r"spec.machineTemplate.spec: Required value"):
        store.create({"apiVersion": group, "kind": "KubeadmControlPlane", "metadata": meta, "spec": spec})
    arguments = {"kubeletExtraArgs": {"cloud-provider": "external"}}
    template = {"spec": {"joinConfiguration": {"nodeRegistration": arguments}}}
    group = "bootstrap.cluster.x-k8s.io/v1beta2"
    body = {"apiVersion": group, "kind": "KubeadmConfigTemplate", "metadata": meta, "spec": {"template": template}}
    with pytest.raises(ApiError, match='kubeletExtraArgs in body must be of type array: "object"'):
        store.create(body)


def test_a_finalizer_holds_an_object_until_it_is_taken_off(store: Store) -> None:
    store.create(cluster() | {"metadata": {"name": "shop", "namespace": "default", "finalizers": ["example.com/hold"]}})
    left = store.delete(CLUSTERS, "shop", "default")
    assert left is not None
    assert (left["metadata"]["deletionTimestamp"], left["metadata"]["generation"]) == ("2023-11-14T22:13:20Z", 2)
    store.patch(CLUSTERS, "shop", "default", {"metadata": {"finalizers": None}})
    assert store.find(CLUSTERS, "shop", "default") is None


def test_dependents_go_with_their_last_owner(store: Store) -> None:
    one, two = store.create(config("one")), store.create(config("two"))
    store.create(config("both", one))
    reference = [
        {**ref, "name": "two", "uid": two["metadata"]["uid"]} for ref in config("x", one)["metadata"]["ownerReferences"]
    ]
    both = store.get(CONFIGS, "both", "default")["metadata"]["ownerReferences"] + reference
    store.patch(CONFIGS, "both", "default", {"metadata": {"ownerReferences": both}})
    store.create(config("grandchild", store.get(CONFIGS, "both", "default")))
    store.delete(CONFIGS, "one", "default")
    assert [ref["name"] for ref in store.get(CONFIGS, "both", "default")["metadata"]["ownerReferences"]] == ["two"]
    store.delete(CONFIGS, "two", "default")
    assert store.list(CONFIGS, "default") == []


def test_the_foreground_waits_for_the_dependents(store: Store) -> None:
    owner = store.create(config("owner"))
    store.create(config("held", owner, finalizers=["example.com/hold"]))
    left = store.delete(CONFIGS, "owner", "default", propagation="Foreground")
    assert left is not None
    assert left["metadata"]["finalizers"] == ["foregroundDeletion"]
    store.patch(CONFIGS, "held", "default", {"metadata": {"finalizers": None}})
    assert store.list(CONFIGS, "default") == []


def test_orphans_stay(store: Store) -> None:
    store.create(config("child", store.create(config("owner"))))
    store.delete(CONFIGS, "owner", "default", propagation="Orphan")
    assert ["ownerReferences" in item["metadata"] for item in store.list(CONFIGS, "default")] == [False]


def test_a_namespace_takes_its_content_along_and_takes_nothing_new_meanwhile(store: Store) -> None:
    store.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}})
    store.create(config("held", namespace="team", finalizers=["example.com/hold"]))
    store.create(config("free", namespace="team"))
    left = store.delete("namespaces", "team")
    assert left is not None
    assert left["status"]["phase"] == "Terminating"
    with pytest.raises(ApiError, match="because it is being terminated"):
        store.create(config("late", namespace="team"))
    store.patch(CONFIGS, "held", "team", {"metadata": {"finalizers": None}})
    assert store.find("namespaces", "team") is None


def test_a_definition_that_goes_takes_its_objects_and_its_endpoint(store: Store) -> None:
    store.create(cluster())
    store.delete("customresourcedefinitions.apiextensions.k8s.io", CLUSTERS)
    assert store.registry.find("cluster.x-k8s.io", "v1beta2", "clusters") is None
    with pytest.raises(ApiError, match='no matches for kind "Cluster"'):
        store.create(cluster())


def test_the_history_is_bounded_and_knows_what_it_forgot(store: Store) -> None:
    store.create(config("busy"))
    start = store.memory.revision
    for number in range(HISTORY + 1):
        store.patch(CONFIGS, "busy", "default", {"data": {"a": str(number)}})
    assert (store.memory.forgotten(start), store.memory.forgotten(start + 1)) == (True, False)
    assert len(list(store.memory.since(start + 1))) == HISTORY
