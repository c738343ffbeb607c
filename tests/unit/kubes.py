"""The sandbox's API server in the hands of its administrator, and the bot's clients in front of it."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from handlers.clients.kube import Cluster, Clusters
from handlers.contract import Kind, Right
from handlers.kinds import kind_of
from handlers.settings import ManagementCluster
from sandbox.kube import KubeSandbox
from sandbox.kube.crds import crds
from tests.contract.imitation import Loop

T = TypeVar("T")


@dataclass
class Kube:
    """One running API server. Its store is touched in its own loop only."""

    sandbox: KubeSandbox
    loop: Loop
    folder: Path

    def call(self, work: Callable[[], T]) -> T:
        """Runs `work` where the server runs."""
        found: list[T] = []

        async def run() -> None:
            found.append(work())

        self.loop.run(run())
        return found[0]

    def put(self, item: dict[str, Any]) -> dict[str, Any]:
        """Creates an object, with its status."""
        store = self.sandbox.store

        def work() -> dict[str, Any]:
            made = store.create({key: value for key, value in deepcopy(item).items() if key != "status"})
            if item.get("status"):
                made = store.update({**made, "status": deepcopy(item["status"])}, status=True)
            return made

        return self.call(work)

    def change(self, kind: Kind, name: str, change: dict[str, Any], namespace: str = "default", **more: Any) -> None:
        """Merges something into an object."""
        place = namespace if kind.namespaced else ""
        self.call(lambda: self.sandbox.store.patch(kind.resource, name, place, change, **more))

    def drop(self, kind: Kind, name: str, namespace: str = "default") -> None:
        """Asks for an object's deletion."""
        place = namespace if kind.namespaced else ""
        self.call(lambda: self.sandbox.store.delete(kind.resource, name, place))

    def find(self, kind: Kind, name: str, namespace: str = "default") -> dict[str, Any] | None:
        """An object as it is stored."""
        place = namespace if kind.namespaced else ""
        return self.call(lambda: self.sandbox.store.find(kind.resource, name, place))

    def faults(self, **changes: Any) -> None:
        """Switches the server's faults."""
        self.call(lambda: self.sandbox.set_faults(changes))

    def allow(self, user: str, *rules: dict[str, Any]) -> None:
        """Gives a user rights everywhere."""
        group = "rbac.authorization.k8s.io"
        head = {"apiVersion": f"{group}/v1", "metadata": {"name": f"of-{user}"}}
        self.put({**head, "kind": "ClusterRole", "rules": list(rules)})
        role = {"apiGroup": group, "kind": "ClusterRole", "name": f"of-{user}"}
        subject = {"apiGroup": group, "kind": "User", "name": user}
        self.put({**head, "kind": "ClusterRoleBinding", "roleRef": role, "subjects": [subject]})

    def namespace(self, name: str, **labels: str) -> None:
        """Makes a namespace."""
        self.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})

    def keep_kubeconfig(self, text: str | bytes, cluster: str = "demo", namespace: str = "default") -> None:
        """The secret by which a workload cluster is reached; written anew where it is there."""
        raw = text.encode() if isinstance(text, str) else text
        self.keep_secret({"value": base64.b64encode(raw).decode()}, cluster, namespace)

    def keep_secret(self, data: dict[str, str], cluster: str = "demo", namespace: str = "default") -> None:
        """The same secret with any content."""
        name = f"{cluster}-kubeconfig"
        if self.call(lambda: self.sandbox.store.find("secrets", name, namespace)) is not None:
            self.call(lambda: self.sandbox.store.delete("secrets", name, namespace))
        meta = {"name": name, "namespace": namespace}
        self.put({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": data})

    def file(self, user: str = "admin", text: str | None = None) -> Path:
        """A kubeconfig file."""
        path = self.folder / f"{user}.kubeconfig"
        path.write_text(self.sandbox.kubeconfig(user) if text is None else text)
        path.chmod(0o600)
        return path

    def clusters(self, user: str = "admin", text: str | None = None) -> Clusters:
        """The bot's connections, as one of the server's users."""
        return Clusters(ManagementCluster(kubeconfig=self.file(user, text), connect_timeout=2, read_timeout=5))

    def cluster(self, user: str = "admin", rights: tuple[Right, ...] | None = None) -> Cluster:
        """The server as the bot sees it."""
        return self.clusters(user).management(rights)

    def asked(self) -> list[tuple[str, str]]:
        """Verb and resource of every request so far."""
        return [(entry["verb"], entry["resource"]) for entry in self.call(lambda: list(self.sandbox.log))]


@contextmanager
def running_kube(folder: Path, generation: str = "current", name: str = "management") -> Iterator[Kube]:
    """A server with the Cluster API's definitions; with generation `none`, without."""
    loop = Loop()
    sandbox = KubeSandbox(crds=() if generation == "none" else crds(generation), name=name)
    try:
        loop.run(sandbox.start())
        try:
            yield Kube(sandbox, loop, folder)
        finally:
            loop.run(sandbox.stop())
    finally:
        loop.stop()


def rights_on(*items: dict[str, Any], cluster: str = "") -> tuple[Right, ...]:
    """The rights to make, change and delete exactly these objects."""
    return tuple(
        Right(verb=verb, resource=kind_of(item).resource, namespace=item["metadata"].get("namespace", ""),
              name=item["metadata"]["name"], cluster=cluster)
        for item in items for verb in ("create", "patch", "delete")
    )  # fmt: skip


@dataclass
class Sight:
    """A world in which only the management cluster and the clock are looked at."""

    kube: Any
    time: float = 1_800_000_000.0
    workloads: dict[str, Any] = field(default_factory=dict)

    def now(self) -> float:
        """Epoch seconds."""
        return self.time

    def began(self) -> float:
        """A run that was begun long ago."""
        return 0.0

    def management(self) -> Any:
        """The cluster."""
        return self.kube

    def workload(self, namespace: str, cluster: str) -> Any:
        """A workload cluster."""
        return self.workloads[f"{namespace}/{cluster}"]
