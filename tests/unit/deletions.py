"""A management cluster without controllers, to plan the deletion of a cluster on, and AWS beside it."""

from __future__ import annotations

from typing import Any

from handlers.cluster_delete import ClusterDelete, DeleteArguments
from handlers.contract import Fatal, Plan
from handlers.settings import Account, ClusterSettings
from tests.unit.blueprints import by_name, layout, rendered
from tests.unit.clouds import HOME, REGION, Cloud
from tests.unit.kubes import Kube, Sight, rights_on
from tests.unit.preflights import Eyes

DELETE = ClusterDelete()
OWN_IDENTITY = {
    "apiVersion": "infrastructure.cluster.x-k8s.io/v1beta2", "kind": "AWSClusterControllerIdentity",
    "metadata": {"name": "default"}, "spec": {"allowedNamespaces": {}},
}  # fmt: skip


class World(Sight):
    """A management cluster without controllers, and AWS by its administrator."""

    def __init__(self, kube: Kube, cloud: Cloud) -> None:
        super().__init__(kube.cluster())
        self.eyes = Eyes(cloud)
        self.identity: str | None = None

    def account(self, name: str) -> Account:
        return Account(id=HOME, region=REGION, access="ambient", identity=self.identity)

    def aws(self, account: str, region: str) -> Eyes:
        return self.eyes

    def clusters(self) -> Any:
        return ClusterSettings(no_progress=20)

    def workload(self, namespace: str, cluster: str) -> Any:
        if f"{namespace}/{cluster}" not in self.workloads:
            raise Fatal(f"The cluster {cluster} has no kubeconfig on the management cluster yet.")
        return super().workload(namespace, cluster)


def made(kube: Kube, name: str = "demo", *, whole: bool = True, namespace: str = "default") -> dict[str, Any]:
    """The objects of a cluster as the bot applied them; without `whole` its last one, the Cluster, is missing."""
    items = rendered(layout(cluster=name), namespace=namespace)
    cluster = kube.cluster("admin", rights_on(*items))
    for item in items if whole else items[:-1]:
        cluster.apply(item)
    return by_name(items)


def planned(world: World, name: str = "demo", namespace: str = "default") -> Plan:
    arguments = DeleteArguments(cluster=name, namespace=namespace, account="management", region=REGION)
    return DELETE.plan(arguments, world)
