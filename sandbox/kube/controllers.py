"""The AWS provider's controllers as they stand on the management cluster, and as whom they act in AWS.

Sources: the provider's book, "Using IAM roles in management cluster" and "Specify the IAM role to use for management
components"; clusterawsadm, "controller zero-credentials" (a secret with nothing but a line's end in it).
"""

from __future__ import annotations

import base64
from typing import Any

from sandbox.aws import AwsSandbox
from sandbox.kube.actors.cloud import Keys
from sandbox.kube.actors.objects import Objects

NAMESPACE, NAME = "capa-system", "capa-controller-manager"
CREDENTIALS = "capa-manager-bootstrap-credentials"
LABELS = {"control-plane": NAME, "cluster.x-k8s.io/provider": "infrastructure-aws"}
IMAGE = "registry.k8s.io/cluster-api-aws/cluster-api-aws-controller:v2.11.1"
KINDS = ("instance", "keys", "irsa")
READS = [
    {"apiGroups": [""], "resources": ["pods", "serviceaccounts"], "verbs": ["get", "list"]},
    {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "list"]},
]


class Controllers:
    """One kind of credentials, taken once: an instance and a service account renew theirs by themselves."""

    def __init__(self, aws: AwsSandbox, kind: str) -> None:
        if kind not in KINDS:
            raise ValueError(f"the controllers' credentials are one of {', '.join(KINDS)}, not {kind!r}")
        account = next(entry for entry in aws.describe()["accounts"].values() if "management" in entry)
        self._place: dict[str, str] = account["management"]
        self._kind, self._user = kind, account["controllers"]
        self.keys = self._own(aws)

    def _own(self, aws: AwsSandbox) -> Keys:
        if self._kind == "keys":
            return self._user["access_key"], self._user["secret_key"], None
        if self._kind == "irsa":
            return aws.own_keys(self._place["service_role"], "1750000000000000000", "web identity")
        return aws.own_keys(self._place["role"], self._place["instance"], "instance")

    def furnish(self, objects: Objects) -> None:
        """The node, what runs on it, the secret with or without keys, and the bot's rights to look at them."""
        objects.make("nodes", "management-0", "", spec={"providerID": self.provider_id}, status={"conditions": READY})
        noted = {"eks.amazonaws.com/role-arn": self._place["service_role"]} if self._kind == "irsa" else {}
        account = objects.make("serviceaccounts", NAME, NAMESPACE)
        if noted:
            account["metadata"]["annotations"] = noted
            objects.save(account)
        container = {"name": "manager", "image": IMAGE}
        spec = {"serviceAccountName": NAME, "containers": [container]}
        template = {"metadata": {"labels": LABELS}, "spec": spec}
        deployed = {"replicas": 1, "selector": {"matchLabels": LABELS}, "template": template}
        objects.make("deployments.apps", NAME, NAMESPACE, labels=LABELS, spec=deployed)
        placed = {**spec, "nodeName": "management-0"}
        objects.make(
            "pods", f"{NAME}-6d5f8c9b7d-x2k4q", NAMESPACE, labels=LABELS, spec=placed, status={"phase": "Running"}
        )
        data = {"credentials": base64.b64encode(self._profile().encode()).decode()}
        objects.make("secrets", CREDENTIALS, NAMESPACE, data=data)
        _let_the_bot_look(objects)

    @property
    def provider_id(self) -> str:
        return f"aws:///{self._place['zone']}/{self._place['instance']}"

    def _profile(self) -> str:
        if self._kind != "keys":
            return "\n"
        lines = {"aws_access_key_id": self._user["access_key"], "aws_secret_access_key": self._user["secret_key"]}
        return "[default]\n" + "".join(f"{name} = {value}\n" for name, value in lines.items())


READY: list[dict[str, Any]] = [{"type": "Ready", "status": "True", "reason": "KubeletReady"}]


def _let_the_bot_look(objects: Objects) -> None:
    group = "rbac.authorization.k8s.io"
    objects.make(f"roles.{group}", "tkgbot", NAMESPACE, rules=READS)
    role = {"apiGroup": group, "kind": "Role", "name": "tkgbot"}
    subject = {"apiGroup": group, "kind": "User", "name": "tkgbot"}
    objects.make(f"rolebindings.{group}", "tkgbot", NAMESPACE, roleRef=role, subjects=[subject])
