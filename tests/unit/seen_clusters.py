"""Clusters as the API of either generation gives them, built part by part."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from handlers.cluster_objects import ClusterObjects

OLD, NEW = "v1beta1", "v1beta2"
GENERATIONS = (OLD, NEW)
NOW = 1_790_000_000.0
STAMP = "2026-09-21T13:00:00Z"
"""A time shortly before NOW."""
WANTED = "v1.33.1"
QUOTA = (
    "failed to create AWSMachine instance: failed to run instance: VcpuLimitExceeded: You have requested more vCPU "
    "capacity than your current vCPU limit of 32 allows for the instance bucket that the specified instance type "
    "belongs to. Please visit http://aws.amazon.com/contact-us/ec2-request to request an adjustment to this limit.\n"
    "\tstatus code: 400, request id: 0e8f2c1a-1111-4a4a-8b8b-123456789abc"
)


def condition(
    kind: str, status: str, reason: str = "", message: str = "", severity: str | None = None, since: str = STAMP
) -> dict[str, Any]:
    found = {"type": kind, "status": status, "lastTransitionTime": since, "reason": reason, "message": message}
    return {key: value for key, value in found.items() if value} | ({"severity": severity} if severity else {})


def named(kind: str, name: str, generation: str, **labels: str) -> dict[str, Any]:
    group = {
        "Cluster": "cluster.x-k8s.io",
        "Machine": "cluster.x-k8s.io",
        "MachineDeployment": "cluster.x-k8s.io",
        "KubeadmControlPlane": "controlplane.cluster.x-k8s.io",
        "AWSCluster": "infrastructure.cluster.x-k8s.io",
        "AWSMachine": "infrastructure.cluster.x-k8s.io",
    }[kind]
    version = NEW if group.startswith("infrastructure.") else generation
    metadata = {"name": name, "namespace": "default", "creationTimestamp": STAMP, "labels": labels}
    return {"apiVersion": f"{group}/{version}", "kind": kind, "metadata": metadata, "spec": {}, "status": {}}


def cluster(generation: str, *, ready: bool = True, phase: str = "Provisioned", name: str = "demo") -> dict[str, Any]:
    made = named("Cluster", name, generation)
    made["spec"] = {
        "infrastructureRef": {"kind": "AWSCluster", "name": name},
        "controlPlaneRef": {"kind": "KubeadmControlPlane", "name": f"{name}-control-plane"},
    }
    made["status"]["phase"] = phase
    if generation == OLD:
        made["status"] |= {"infrastructureReady": ready, "controlPlaneReady": ready}
    elif ready:
        made["status"]["initialization"] = {"infrastructureProvisioned": True, "controlPlaneInitialized": True}
    if ready:
        made["spec"]["controlPlaneEndpoint"] = {"host": "demo-apiserver.elb.example", "port": 6443}
    return made


def counters(generation: str, replicas: int | None, ready: int | None, new: int | None) -> dict[str, Any]:
    updated = "updatedReplicas" if generation == OLD else "upToDateReplicas"
    found = {"replicas": replicas, "readyReplicas": ready, updated: new}
    return {key: value for key, value in found.items() if value is not None}


def control_plane(generation: str, desired: int = 3, ready: int | None = 3, new: int | None = 3) -> dict[str, Any]:
    made = named("KubeadmControlPlane", "demo-control-plane", generation)
    made["spec"] = {"replicas": desired, "version": WANTED}
    made["status"] = counters(generation, desired, ready, new)
    if generation == OLD:
        made["status"] |= {"initialized": True, "ready": True}
    else:
        made["status"]["initialization"] = {"controlPlaneInitialized": True}
    return made


def deployment(
    generation: str, desired: int = 2, ready: int | None = 2, new: int | None = 2, name: str = "demo-md-0"
) -> dict[str, Any]:
    made = named("MachineDeployment", name, generation)
    made["spec"] = {"replicas": desired, "template": {"spec": {"version": WANTED}}}
    made["status"] = counters(generation, desired, ready, new)
    return made


def machine(generation: str, name: str, owner: str = "", *, phase: str = "Running") -> dict[str, Any]:
    """A machine of the control plane, or of the MachineDeployment `owner`."""
    labels = {"cluster.x-k8s.io/deployment-name": owner} if owner else {"cluster.x-k8s.io/control-plane": ""}
    made = named("Machine", name, generation, **labels)
    made["spec"] = {"version": WANTED, "infrastructureRef": {"kind": "AWSMachine", "name": name}}
    made["status"]["phase"] = phase
    if phase == "Running":
        made["status"]["nodeRef"] = {"name": f"node-of-{name}"}
        made["status"]["conditions"] = [condition("Ready", "True", "Ready" if generation == NEW else "")]
    return made


def aws_machine(name: str, *conditions: dict[str, Any]) -> dict[str, Any]:
    made = named("AWSMachine", name, NEW)
    good = [condition("InstanceReady", "True"), condition("Ready", "True")]
    made["status"]["conditions"] = list(conditions) or good
    return made


def refused(name: str, message: str = QUOTA) -> dict[str, Any]:
    """An AWSMachine whose instance AWS refused."""
    return aws_machine(
        name,
        condition("InstanceReady", "False", "InstanceProvisionFailed", message, "Error"),
        condition("Ready", "False", "InstanceProvisionFailed", "0 of 2 completed", "Error"),
    )


def aws_cluster(*conditions: dict[str, Any]) -> dict[str, Any]:
    made = named("AWSCluster", "demo", NEW)
    made["spec"] = {
        "controlPlaneEndpoint": {"host": "demo-apiserver.elb.example", "port": 6443},
        "network": {"vpc": {"id": "vpc-0123456789abcdef0"}, "subnets": [{"id": "subnet-1"}, {"id": "subnet-2"}]},
    }
    steps = ("VpcReady", "SubnetsReady", "ClusterSecurityGroupsReady", "LoadBalancerReady", "Ready")
    made["status"]["conditions"] = list(conditions) or [condition(step, "True") for step in steps]
    return made


def whole(generation: str, **parts: Any) -> ClusterObjects:
    """A cluster that is as it should be, three and two machines; `parts` replace its own."""
    names = [f"demo-control-plane-{letter}" for letter in "abc"], [f"demo-md-0-{letter}" for letter in "xy"]
    machines = [machine(generation, name) for name in names[0]]
    machines += [machine(generation, name, "demo-md-0") for name in names[1]]
    made: dict[str, Any] = {
        "cluster": cluster(generation),
        "infrastructure": aws_cluster(),
        "control_plane": control_plane(generation),
        "deployments": (deployment(generation),),
        "machines": tuple(machines),
        "infrastructure_machines": tuple(aws_machine(name) for name in (*names[0], *names[1])),
    }
    return ClusterObjects(**(made | parts))


def beginning(generation: str, **parts: Any) -> ClusterObjects:
    """A cluster of which nothing is there but the objects."""
    made: dict[str, Any] = {
        "cluster": cluster(generation, ready=False, phase="Provisioning"),
        "infrastructure": aws_cluster(condition("VpcReady", "True")),
        "control_plane": control_plane(generation, 3, None, None) | {"status": {}},
        "deployments": (deployment(generation, 2, None, None) | {"status": {}},),
        "machines": (),
        "infrastructure_machines": (),
    }
    return ClusterObjects(**(made | parts))


def changed(item: dict[str, Any], *path: str, value: Any) -> dict[str, Any]:
    """A copy with another value at a path."""
    copy = deepcopy(item)
    place = copy
    for key in path[:-1]:
        place = place.setdefault(key, {})
    place[path[-1]] = value
    return copy


def annotated(item: dict[str, Any], **annotations: str) -> dict[str, Any]:
    return changed(item, "metadata", "annotations", value=annotations)
