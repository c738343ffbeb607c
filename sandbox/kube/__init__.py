"""A Kubernetes API server in memory, over HTTPS on this machine: the management cluster, or one workload cluster."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import yaml

from sandbox.kube.access import MASTERS, Access
from sandbox.kube.certificates import authority, switching
from sandbox.kube.errors import ApiError
from sandbox.kube.faults import KubeFaults
from sandbox.kube.memory import Change
from sandbox.kube.server import Server
from sandbox.kube.store import Store

__all__ = ["ApiError", "Change", "KubeFaults", "KubeSandbox", "Store"]


class KubeSandbox:
    """One API server. Nothing listens before `start`; the store works without it."""

    def __init__(
        self,
        *,
        crds: Iterable[Mapping[str, Any]] = (),
        clock: Callable[[], float] = time.time,
        name: str = "management",
    ) -> None:
        self.name = name
        self.store = Store(clock)
        self.faults = KubeFaults()
        self.log: list[dict[str, Any]] = []
        self._access = Access(self.store)
        self._server = Server(self.store, self._access, self.faults, self.log)
        for crd in crds:
            self.store.create(crd, manager="kubectl")
        self.add_user("admin", [MASTERS])
        self.add_user("tkgbot")
        self.add_user("nobody")

    async def start(self, port: int = 0) -> None:
        """On 127.0.0.1; port 0 takes a free one."""
        await self._server.start(switching(lambda: self.faults.certificate_changed), port)

    async def stop(self) -> None:
        """Open watches end too. A second stop does nothing."""
        await self._server.stop()

    @property
    def url(self) -> str:
        """Without a slash at its end."""
        return f"https://127.0.0.1:{self._server.port}"

    @property
    def ca_pem(self) -> str:
        """The authority's certificate; every server of this process has the same."""
        return authority().pem

    def add_user(self, user: str, groups: Sequence[str] = ()) -> str:
        """The user's token."""
        return self._access.add(user, groups)

    def token(self, user: str) -> str:
        """KeyError for a user that was not added."""
        return self._access.token(user)

    def set_faults(self, changes: Mapping[str, Any]) -> None:
        """Changes several switches together; ValueError for one that does not exist."""
        self.faults.set(changes)

    def kubeconfig(self, user: str) -> str:
        """YAML with the authority and the user's token."""
        ca = base64.b64encode(self.ca_pem.encode()).decode()
        context = {"cluster": self.name, "user": user, "namespace": "default"}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": self.name, "cluster": {"server": self.url, "certificate-authority-data": ca}}],
            "users": [{"name": user, "user": {"token": self.token(user)}}],
            "contexts": [{"name": f"{user}@{self.name}", "context": context}],
            "current-context": f"{user}@{self.name}",
        }
        return str(yaml.safe_dump(config, sort_keys=False))
