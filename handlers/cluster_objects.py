"""One cluster's objects, and what both generations of the Cluster API say in different places.

Flags and counters moved between v1beta1 and v1beta2; in v1beta2 an absent counter is not known, not 0.
(kubernetes-sigs/cluster-api, api/core/v1beta2 and api/controlplane/kubeadm/v1beta2.)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from handlers.conditions import Object, at, created, flag, holds, label, mapping_at, name_of, number, text

UNKNOWN = "?"
"""Stands for a value that could not be read."""


@dataclass(frozen=True)
class ClusterObjects:
    """One cluster's objects as they were read. `infrastructure` is its AWSCluster and `control_plane` its
    KubeadmControlPlane, None where there is none (yet); `unread` names the kinds that could not be read."""

    cluster: Object
    infrastructure: Object | None
    control_plane: Object | None
    deployments: tuple[Object, ...]
    machines: tuple[Object, ...]
    infrastructure_machines: tuple[Object, ...]
    unread: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The cluster's name."""
        return name_of(self.cluster)

    @property
    def namespace(self) -> str:
        """Its namespace on the management cluster."""
        return text(self.cluster, "metadata", "namespace")


@dataclass(frozen=True)
class Counts:
    """How many machines are wanted, are there, are ready, and have the wanted version and settings; None where a
    number is not known."""

    desired: int | None
    replicas: int | None
    ready: int | None
    up_to_date: int | None

    @property
    def settled(self) -> bool | None:
        """Are all wanted machines there, ready and up to date, and no others? None when that is not known."""
        others = (self.replicas, self.ready, self.up_to_date)
        if self.desired is None:
            return None
        return all_of(None if other is None else other == self.desired for other in others)


def counts(item: Object | None) -> Counts:
    """The counters of a control plane or MachineDeployment; `readyReplicas` is what its generation calls ready."""
    up_to_date = (
        number(item, "status", "upToDateReplicas"),
        number(item, "status", "updatedReplicas"),
        number(item, "status", "v1beta2", "upToDateReplicas"),
    )
    return Counts(
        desired=number(item, "spec", "replicas"),
        replicas=number(item, "status", "replicas"),
        ready=number(item, "status", "readyReplicas"),
        up_to_date=next((count for count in up_to_date if count is not None), None),
    )


def control_plane_counts(objects: ClusterObjects) -> Counts:
    """The control plane's counters."""
    return counts(objects.control_plane)


def worker_counts(objects: ClusterObjects) -> Counts:
    """The counters of all MachineDeployments together; one that is not known makes the sum not known."""
    each = [counts(item) for item in objects.deployments]
    if not each and "MachineDeployment" in objects.unread:
        return Counts(None, None, None, None)
    return Counts(
        desired=_sum(one.desired for one in each),
        replicas=_sum(one.replicas for one in each),
        ready=_sum(one.ready for one in each),
        up_to_date=_sum(one.up_to_date for one in each),
    )


def of_desired(found: Counts) -> str:
    """`2/3`: ready of wanted."""
    ready, desired = (UNKNOWN if count is None else str(count) for count in (found.ready, found.desired))
    return f"{ready}/{desired}"


def infrastructure_ready(cluster: Object) -> bool | None:
    """Are network and load balancer there? None when the cluster does not say."""
    newer = flag(cluster, "status", "initialization", "infrastructureProvisioned")
    return flag(cluster, "status", "infrastructureReady") if newer is None else newer


def control_plane_ready(cluster: Object) -> bool | None:
    """Does the control plane take requests? The newer generation calls the same thing initialized."""
    newer = flag(cluster, "status", "initialization", "controlPlaneInitialized")
    return flag(cluster, "status", "controlPlaneReady") if newer is None else newer


def control_plane_initialized(objects: ClusterObjects) -> bool:
    """Has the first machine of the control plane ever served? Once true it stays so."""
    said = (
        flag(objects.cluster, "status", "initialization", "controlPlaneInitialized"),
        flag(objects.control_plane, "status", "initialization", "controlPlaneInitialized"),
        flag(objects.control_plane, "status", "initialized"),
    )
    return any(said) or holds(objects.cluster, "ControlPlaneInitialized")


def phase(item: Object | None) -> str:
    """The phase of a Cluster or Machine, or nothing."""
    return text(item, "status", "phase")


def version(item: Object | None) -> str:
    """The Kubernetes version that is wanted of a control plane, a Machine or a MachineDeployment, or nothing."""
    return text(item, "spec", "version") or text(item, "spec", "template", "spec", "version")


def endpoint(item: Object | None) -> str:
    """Where the API is, `host:port`, as a Cluster or AWSCluster says; nothing while it has no address."""
    host, port = (at(item, "spec", "controlPlaneEndpoint", part) for part in ("host", "port"))
    return f"{host}:{port}" if isinstance(host, str) and host and port else ""


def is_control_plane(machine: Object) -> bool:
    """Is the Machine one of the control plane's?"""
    return "cluster.x-k8s.io/control-plane" in mapping_at(machine, "metadata", "labels")


def deployment_of(machine: Object) -> str:
    """The name of the MachineDeployment that a Machine belongs to, or nothing."""
    return label(machine, "cluster.x-k8s.io/deployment-name")


def by_age(machines: Iterable[Object]) -> list[Object]:
    """The oldest first: a control plane's first machine is the one that the others wait for."""
    return sorted(machines, key=lambda machine: (created(machine) or 0.0, name_of(machine)))


def all_of(facts: Iterable[bool | None]) -> bool | None:
    """False when one is false, else None when one is not known, else True."""
    known = list(facts)
    return False if False in known else None if None in known else True


def _sum(values: Iterable[int | None]) -> int | None:
    total = 0
    for value in values:
        if value is None:
            return None
        total += value
    return total
