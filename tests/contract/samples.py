"""Objects of both generations of the Cluster API, and where the server keeps them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

CORE = "cluster.x-k8s.io"
STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
INFRASTRUCTURE = "infrastructure.cluster.x-k8s.io"
VERSIONS = {
    "current": {CORE: "v1beta2", INFRASTRUCTURE: "v1beta2"},
    "legacy": {CORE: "v1beta1", INFRASTRUCTURE: "v1beta1"},
}
KINDS = {
    "clusters": ("Cluster", CORE),
    "machinedeployments": ("MachineDeployment", CORE),
    "machines": ("Machine", CORE),
    "awsclusters": ("AWSCluster", INFRASTRUCTURE),
    "awsmachinetemplates": ("AWSMachineTemplate", INFRASTRUCTURE),
    "awsclusterroleidentities": ("AWSClusterRoleIdentity", INFRASTRUCTURE),
}
BUILT_IN = {
    "namespaces": ("Namespace", "v1"),
    "configmaps": ("ConfigMap", "v1"),
    "secrets": ("Secret", "v1"),
    "services": ("Service", "v1"),
    "pods": ("Pod", "v1"),
    "nodes": ("Node", "v1"),
    "events": ("Event", "v1"),
    "deployments": ("Deployment", "apps/v1"),
    "clusterroles": ("ClusterRole", "rbac.authorization.k8s.io/v1"),
    "clusterrolebindings": ("ClusterRoleBinding", "rbac.authorization.k8s.io/v1"),
    "roles": ("Role", "rbac.authorization.k8s.io/v1"),
    "rolebindings": ("RoleBinding", "rbac.authorization.k8s.io/v1"),
    "customresourcedefinitions": ("CustomResourceDefinition", "apiextensions.k8s.io/v1"),
}


@dataclass(frozen=True)
class Shapes:
    """How one generation writes things."""

    generation: str

    def api_version(self, plural: str) -> str:
        """The generation's own version of a kind, or the built-in kind's."""
        if plural in BUILT_IN:
            return BUILT_IN[plural][1]
        group = KINDS[plural][1]
        return f"{group}/{VERSIONS[self.generation][group]}"

    def kind(self, plural: str) -> str:
        return (BUILT_IN.get(plural) or KINDS[plural])[0]

    def path(self, plural: str, namespace: str = "", name: str = "", sub: str = "", *, version: str = "") -> str:
        """A resource's path; `version` names another version of its group."""
        group_version = self.api_version(plural)
        if version:
            group_version = f"{group_version.split('/')[0]}/{version}"
        parts = ["/api" if group_version == "v1" else "/apis", group_version]
        parts += ["namespaces", namespace] if namespace else []
        return "/".join([*parts, plural, *filter(None, [name, sub])])

    def object(self, plural: str, name: str, spec: Json | None = None, **metadata: Any) -> Json:
        """An object with its head."""
        head = {"apiVersion": self.api_version(plural), "kind": self.kind(plural), "metadata": {"name": name}}
        head["metadata"] |= metadata
        return head if spec is None else {**head, "spec": spec}

    def reference(self, plural: str, name: str) -> Json:
        """A reference as this generation writes it."""
        if self.generation == "current":
            return {"apiGroup": KINDS[plural][1], "kind": self.kind(plural), "name": name}
        return {"apiVersion": self.api_version(plural), "kind": self.kind(plural), "name": name}

    def cluster(self, name: str, **metadata: Any) -> Json:
        spec = {
            "clusterNetwork": {"pods": {"cidrBlocks": ["100.96.0.0/11"]}, "serviceDomain": "cluster.local"},
            "infrastructureRef": self.reference("awsclusters", name),
        }
        return self.object("clusters", name, spec, **metadata)

    def aws_cluster(self, name: str, subnets: list[Json] | None = None, **metadata: Any) -> Json:
        network: Json = {"vpc": {"id": "vpc-1"}, "subnets": subnets if subnets is not None else [{"id": "subnet-a"}]}
        return self.object("awsclusters", name, {"region": "us-east-1", "network": network}, **metadata)

    def machine_deployment(self, name: str, replicas: int = 1, **metadata: Any) -> Json:
        template = {
            "clusterName": name,
            "bootstrap": {"dataSecretName": "bootstrap"},
            "infrastructureRef": self.reference("awsmachinetemplates", name),
        }
        labels = {"pool": name}
        spec = {
            "clusterName": name,
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": template},
        }
        return self.object("machinedeployments", name, spec, **metadata)

    def machine_template(self, name: str, instance_type: str = "m5.large") -> Json:
        return self.object("awsmachinetemplates", name, {"template": {"spec": {"instanceType": instance_type}}})

    def role_identity(self, name: str, **spec: Any) -> Json:
        role = {"roleARN": "arn:aws:iam::111111111111:role/capa", "sourceIdentityRef": {
            "kind": "AWSClusterControllerIdentity", "name": "default"}}  # fmt: skip
        return self.object("awsclusterroleidentities", name, {**role, **spec})

    def config_map(self, name: str, data: dict[str, str] | None = None, **metadata: Any) -> Json:
        return {**self.object("configmaps", name, **metadata), "data": data or {"key": "value"}}


def roles(namespace: str) -> list[Json]:
    """What the user `tkgbot` may do in the contract tests: enough of one namespace to see the rest refused."""
    api = "rbac.authorization.k8s.io"
    rules = [
        {"apiGroups": [CORE], "resources": ["clusters"], "verbs": ["get", "list", "watch", "create", "patch"]},
        {"apiGroups": [CORE], "resources": ["machinedeployments/scale"], "verbs": ["get", "patch"]},
        {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["allowed"], "verbs": ["get"]},
    ]
    head = {"apiVersion": f"{api}/v1", "metadata": {"name": "contract", "namespace": namespace}}
    return [
        {**head, "kind": "Role", "rules": rules},
        {
            **head,
            "kind": "RoleBinding",
            "roleRef": {"apiGroup": api, "kind": "Role", "name": "contract"},
            "subjects": [{"apiGroup": api, "kind": "User", "name": "tkgbot"}],
        },
    ]
