"""A cluster that comes up, its controllers played by hand: for those who look at one in any state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from handlers.kinds import AWS_CLUSTER, AWS_MACHINE, CLUSTER, CONTROL_PLANE, MACHINE_DEPLOYMENT
from tests.unit.blueprints import CURRENT, LEGACY, prod, rendered
from tests.unit.kubes import Kube
from tests.unit.seen_clusters import QUOTA, condition

VERSIONS = {"current": CURRENT, "legacy": LEGACY}
STAMP = "2026-09-21T13:00:00Z"
"""When its conditions changed last."""


@dataclass
class Coming:
    """A prod cluster whose controllers are played by hand."""

    kube: Kube
    generation: str

    @property
    def is_new(self) -> bool:
        return self.generation == "current"

    def begin(self) -> None:
        """Its objects are there."""
        for item in rendered(prod(), VERSIONS[self.generation]):
            self.kube.put(item)

    def infrastructure(self) -> None:
        """The network is ready."""
        ready: dict[str, Any] = {"infrastructureReady": True}
        self._status(CLUSTER, "demo", {"initialization": {"infrastructureProvisioned": True}} if self.is_new else ready)
        conditions = [condition(kind, "True") for kind in ("VpcReady", "SubnetsReady", "LoadBalancerReady")]
        self._status(AWS_CLUSTER, "demo", {"ready": True, "conditions": conditions})

    def control_plane(self, ready: int) -> None:
        """So many of its three machines are ready."""
        served: dict[str, Any] = {"initialized": True}
        served = {"initialization": {"controlPlaneInitialized": True}} if self.is_new else served
        self._status(CONTROL_PLANE, "demo-control-plane", {**served, **self._counts(3, ready)})
        more: dict[str, Any] = {"initialization": {"infrastructureProvisioned": True, "controlPlaneInitialized": True}}
        self._status(CLUSTER, "demo", more if self.is_new else {"controlPlaneReady": True})

    def workers(self, *ready: int) -> None:
        """So many of each pool (2, 2, 1) are ready."""
        for number, (wanted, there) in enumerate(zip((2, 2, 1), ready, strict=True)):
            self._status(MACHINE_DEPLOYMENT, f"demo-md-{number}", self._counts(wanted, there))

    def machine(self, name: str, *conditions: dict[str, Any]) -> None:
        """An instance that says how it stands."""
        version = VERSIONS[self.generation][AWS_CLUSTER]
        meta = {"name": name, "namespace": "default", "labels": {"cluster.x-k8s.io/cluster-name": "demo"}}
        self.kube.put({
            "apiVersion": f"{AWS_MACHINE.group}/{version}", "kind": "AWSMachine", "metadata": meta,
            "spec": {"instanceType": "m5.large"}, "status": {"conditions": list(conditions)},
        })  # fmt: skip

    def refused(self, name: str, message: str = QUOTA) -> None:
        """An instance that AWS refused."""
        why = ("False", "InstanceProvisionFailed", message, "Error", STAMP)
        self.machine(name, condition("InstanceReady", *why), condition("Ready", *why))

    def _counts(self, wanted: int, ready: int) -> dict[str, Any]:
        new = "upToDateReplicas" if self.is_new else "updatedReplicas"
        return {"replicas": wanted, "readyReplicas": ready, new: wanted}

    def _status(self, kind: Any, name: str, status: dict[str, Any]) -> None:
        self.kube.change(kind, name, {"status": status}, status=True)
