"""A cluster as the Cluster API's objects, in whichever versions the management cluster serves.

Names and edges as in the AWS provider's own template, plus a MachineHealthCheck for the workers. What differs between
v1beta1 and v1beta2 of the Cluster API: references, arguments as maps or lists, rollout, health checks; of the AWS
provider: the newer fields of load balancers and instance metadata. (kubernetes-sigs/cluster-api-provider-aws,
templates/cluster-template.yaml; kubernetes-sigs/cluster-api, "Migrating from v1.10 to v1.11".)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from handlers.contract import Json, Kind
from handlers.kinds import (
    AWS_CLUSTER,
    AWS_MACHINE_TEMPLATE,
    CLUSTER,
    CONTROL_PLANE,
    KUBEADM_TEMPLATE,
    MACHINE_DEPLOYMENT,
    MACHINE_HEALTH_CHECK,
)
from handlers.preflight import Layout, Pool
from handlers.preflight.gpu_table import is_gpu_family
from handlers.steps.apply import CONFIG

NODE_NAME = "{{ ds.meta_data.local_hostname }}"
"""cloud-init fills it in: the cloud provider knows nodes by their private DNS names."""
CLUSTER_LABEL = "cluster.x-k8s.io/cluster-name"
POOL_LABEL = "node-pool"
PLAN = "tkg/plan"
"""The annotation that `tanzu cluster list` shows as PLAN."""
DIGEST_LENGTH = 12
GPU_TAINT = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
GPU_LABEL = {"gpu": "nvidia"}
"""The label by which a ClusterResourceSet selects GPU clusters. (cluster-api-provider-aws, test/e2e, GPU flavour.)"""


@dataclass(frozen=True)
class Blueprint:
    """Everything that the objects say. `identity` is the AWSClusterRoleIdentity of an account that is not the
    controllers' own."""

    layout: Layout
    namespace: str
    plan: str
    labels: Mapping[str, str]
    identity: str | None = None
    pods: str = "100.96.0.0/11"
    services: str = "100.64.0.0/13"

    @property
    def name(self) -> str:
        """The cluster's name."""
        return self.layout.cluster


@dataclass(frozen=True)
class _Writer:
    """One rendering. `versions` says for each kind which version is written."""

    blueprint: Blueprint
    versions: Mapping[Kind, str]

    def item(self, kind: Kind, name: str, spec: Any, **meta: Any) -> Json:
        head: Any = {"name": name, "namespace": self.blueprint.namespace, **meta}
        return {"apiVersion": f"{kind.group}/{self.versions[kind]}", "kind": kind.name, "metadata": head, "spec": spec}

    def reference(self, kind: Kind, name: str) -> Json:
        """v1beta2 refers by group, v1beta1 by version."""
        if self.is_new:
            return {"apiGroup": kind.group, "kind": kind.name, "name": name}
        return {"apiVersion": f"{kind.group}/{self.versions[kind]}", "kind": kind.name, "name": name}

    @property
    def is_new(self) -> bool:
        """v1beta2 of the Cluster API's own kinds."""
        return self.versions[CLUSTER] == "v1beta2"

    def arguments(self, **values: str) -> Any:
        """Command-line arguments: a map in v1beta1, a list in v1beta2."""
        named = {name.replace("_", "-"): value for name, value in values.items()}
        return [{"name": name, "value": value} for name, value in named.items()] if self.is_new else named


def render(blueprint: Blueprint, versions: Mapping[Kind, str]) -> tuple[Json, ...]:
    """The objects in the order in which they are applied, the Cluster last; each carries the digest of them all."""
    writer = _Writer(blueprint, versions)
    workers = [pool for pool in blueprint.layout.pools if not pool.is_control_plane]
    items = [_aws_cluster(writer), *_control_plane(writer)]
    items += [item for pool in workers for item in _workers(writer, pool)]
    items += [_health_check(writer), _cluster(writer)]
    digest = digest_of(items)
    return tuple(_marked(item, digest) for item in items)


def digest_of(items: list[Json]) -> str:
    """Twelve hex digits over what the objects say."""
    text = json.dumps(items, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_LENGTH]


def _marked(item: Json, digest: str) -> Json:
    meta: Any = item["metadata"]
    return {**item, "metadata": {**meta, "annotations": {**meta.get("annotations", {}), CONFIG: digest}}}


def _aws_cluster(writer: _Writer) -> Json:
    blueprint, layout = writer.blueprint, writer.blueprint.layout
    scheme = "internet-facing" if layout.public else "internal"
    balancer: Any = {"scheme": scheme}
    if writer.versions[AWS_CLUSTER] == "v1beta2":
        balancer = {"scheme": scheme, "loadBalancerType": "nlb", "healthCheckProtocol": "HTTPS"}
    spec: Any = {
        "region": layout.where.region,
        "sshKeyName": layout.ssh_key or "",
        "bastion": {"enabled": False},
        "controlPlaneLoadBalancer": balancer,
        "network": {"vpc": {"id": layout.vpc}, "subnets": [{"id": subnet.id} for subnet in layout.subnets]},
    }
    if blueprint.identity:
        spec["identityRef"] = {"kind": "AWSClusterRoleIdentity", "name": blueprint.identity}
    return writer.item(AWS_CLUSTER, blueprint.name, spec)


def _machine_template(writer: _Writer, pool: Pool, profile: str) -> Json:
    blueprint, layout = writer.blueprint, writer.blueprint.layout
    spec: Any = {
        "instanceType": pool.type,
        "iamInstanceProfile": profile,
        "sshKeyName": layout.ssh_key or "",
        "rootVolume": {"size": pool.disk, "type": "gp3", "encrypted": True},
    }
    if layout.ami_id:
        spec["ami"] = {"id": layout.ami_id}
    else:
        spec |= {"imageLookupOrg": layout.ami_owner, "imageLookupBaseOS": layout.ami_base_os}
    if writer.versions[AWS_MACHINE_TEMPLATE] == "v1beta2":  # pods of add-ons are one hop further away
        spec["instanceMetadataOptions"] = {"httpTokens": "required", "httpPutResponseHopLimit": 2}
    return writer.item(AWS_MACHINE_TEMPLATE, f"{blueprint.name}-{pool.name}", {"template": {"spec": spec}})


def _control_plane(writer: _Writer) -> list[Json]:
    blueprint, layout = writer.blueprint, writer.blueprint.layout
    pool = next(pool for pool in layout.pools if pool.is_control_plane)
    name = f"{blueprint.name}-{pool.name}"
    external = {"cloud_provider": "external"}
    registration = {"name": NODE_NAME, "kubeletExtraArgs": writer.arguments(**external)}
    template = {"infrastructureRef": writer.reference(AWS_MACHINE_TEMPLATE, name)}
    spec: Any = {
        "replicas": pool.count,
        "version": layout.kubernetes_version,
        "machineTemplate": {"spec": template} if writer.is_new else template,
        "kubeadmConfigSpec": {
            "clusterConfiguration": {"controllerManager": {"extraArgs": writer.arguments(**external)}},
            "initConfiguration": {"nodeRegistration": registration},
            "joinConfiguration": {"nodeRegistration": registration},
        },
    }
    return [_machine_template(writer, pool, layout.instance_profiles[0]), writer.item(CONTROL_PLANE, name, spec)]


def _workers(writer: _Writer, pool: Pool) -> list[Json]:
    blueprint, layout = writer.blueprint, writer.blueprint.layout
    name = f"{blueprint.name}-{pool.name}"
    kubeadm = {"joinConfiguration": {"nodeRegistration": _registration(writer, pool)}}
    labels = {CLUSTER_LABEL: blueprint.name, POOL_LABEL: f"{blueprint.name}-worker-pool"}
    machine: Any = {
        "clusterName": blueprint.name,
        "version": layout.kubernetes_version,
        "bootstrap": {"configRef": writer.reference(KUBEADM_TEMPLATE, name)},
        "infrastructureRef": writer.reference(AWS_MACHINE_TEMPLATE, name),
    }
    if pool.zone:
        machine["failureDomain"] = pool.zone
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    spec: Any = {
        "clusterName": blueprint.name,
        "replicas": pool.count,
        "selector": {"matchLabels": labels},
        **({"rollout": {"strategy": strategy}} if writer.is_new else {"strategy": strategy}),
        "template": {"metadata": {"labels": labels}, "spec": machine},
    }
    return [
        _machine_template(writer, pool, layout.instance_profiles[1]),
        writer.item(KUBEADM_TEMPLATE, name, {"template": {"spec": kubeadm}}),
        writer.item(MACHINE_DEPLOYMENT, name, spec),
    ]


def _registration(writer: _Writer, pool: Pool) -> Any:
    """How a worker's kubelet registers its node. The operator's DaemonSets tolerate the taint of GPU nodes.
    (kubeadm, NodeRegistrationOptions.)"""
    said = {"cloud_provider": "external"}
    if pool.labels:
        said["node_labels"] = ",".join(f"{key}={value}" for key, value in pool.labels)
    found: Any = {"name": NODE_NAME, "kubeletExtraArgs": writer.arguments(**said)}
    return {**found, "taints": [GPU_TAINT]} if pool.taint else found


def _health_check(writer: _Writer) -> Json:
    """As TKG makes it: a node that stays unknown for 5 minutes or unready for 12 is replaced, unless too many are."""
    name = writer.blueprint.name
    spec: Any = {"clusterName": name, "selector": {"matchLabels": {POOL_LABEL: f"{name}-worker-pool"}}}
    waits = (("Unknown", 300), ("False", 720))
    if writer.is_new:
        conditions = [{"type": "Ready", "status": status, "timeoutSeconds": after} for status, after in waits]
        spec["checks"] = {"nodeStartupTimeoutSeconds": 1200, "unhealthyNodeConditions": conditions}
        spec["remediation"] = {"triggerIf": {"unhealthyLessThanOrEqualTo": "40%"}}
    else:
        spec["unhealthyConditions"] = [
            {"type": "Ready", "status": status, "timeout": f"{after // 60}m"} for status, after in waits
        ]
        spec |= {"maxUnhealthy": "40%", "nodeStartupTimeout": "20m"}
    return writer.item(MACHINE_HEALTH_CHECK, name, spec)


def _cluster(writer: _Writer) -> Json:
    blueprint = writer.blueprint
    spec: Any = {
        "clusterNetwork": {
            "pods": {"cidrBlocks": [blueprint.pods]},
            "services": {"cidrBlocks": [blueprint.services]},
        },
        "infrastructureRef": writer.reference(AWS_CLUSTER, blueprint.name),
        "controlPlaneRef": writer.reference(CONTROL_PLANE, f"{blueprint.name}-control-plane"),
    }
    has_gpus = any(pool.gpu or is_gpu_family(pool.type) for pool in blueprint.layout.pools)
    labels = {**blueprint.labels, **(GPU_LABEL if has_gpus else {})}
    return writer.item(CLUSTER, blueprint.name, spec, labels=labels, annotations={PLAN: blueprint.plan})
