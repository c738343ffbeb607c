"""The provider's own proof, where a team allows one: a cluster without machines, in a VPC that does not exist.

The AWS provider gets its credentials before it looks at anything, and says in a condition whether it could. Then it
finds no VPC and goes no further, so nothing is ever made; and the objects are deleted again. (kubernetes-sigs/
cluster-api-provider-aws, controllers/awscluster_controller.go, pkg/cloud/services/network/network.go: DeleteNetwork.)
"""

from __future__ import annotations

from typing import Any

from handlers.contract import Json, KubeRead, Right, Step
from handlers.kinds import AWS_CLUSTER, CLUSTER
from handlers.steps.apply import ApplyStep, rights_for
from handlers.steps.await_credential import AwaitCredentialStep
from handlers.steps.remove import RemoveStep, Seen

NO_VPC = "vpc-00000000000000000"


def probe_steps(
    kube: KubeRead, identity: str, namespace: str, region: str, *, patience: float, targets: tuple[str, ...]
) -> list[Step]:
    """Makes the two objects, waits for the provider's word, and takes them away."""
    name = f"tkgbot-probe-{identity}"[:63]
    items = _items(kube, name, identity, namespace, region)
    removed = tuple(
        Seen(resource=kind.resource, namespace=namespace, name=name, uid="") for kind in (CLUSTER, AWS_CLUSTER)
    )
    deletes = tuple(Right(verb="delete", resource=seen.resource, namespace=namespace, name=name) for seen in removed)
    return [
        ApplyStep(
            title=f"make a cluster without machines (`{name}`), to have the AWS provider try the way in",
            targets=targets,
            rights=rights_for(items),
            objects=items,
        ),
        AwaitCredentialStep(
            title="wait until the AWS provider says that it got in",
            targets=targets,
            namespace=namespace,
            name=name,
            patience=patience,
        ),
        RemoveStep(title=f"take `{name}` away again", targets=targets, rights=deletes, objects=removed, patience=600.0),
    ]


def _items(kube: KubeRead, name: str, identity: str, namespace: str, region: str) -> tuple[Json, ...]:
    infra, core = kube.version(AWS_CLUSTER), kube.version(CLUSTER)
    meta: dict[str, Any] = {"name": name, "namespace": namespace}
    reference: dict[str, Any] = {"kind": AWS_CLUSTER.name, "name": name}
    reference |= (
        {"apiGroup": AWS_CLUSTER.group} if core == "v1beta2" else {"apiVersion": f"{AWS_CLUSTER.group}/{infra}"}
    )
    place: Json = {
        "apiVersion": f"{AWS_CLUSTER.group}/{infra}",
        "kind": AWS_CLUSTER.name,
        "metadata": meta,
        "spec": {
            "region": region,
            "identityRef": {"kind": "AWSClusterRoleIdentity", "name": identity},
            "network": {"vpc": {"id": NO_VPC}},
        },
    }
    cluster: Json = {
        "apiVersion": f"{CLUSTER.group}/{core}",
        "kind": CLUSTER.name,
        "metadata": dict(meta),
        "spec": {"infrastructureRef": reference},
    }
    return place, cluster
