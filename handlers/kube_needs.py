"""What the bot does on the management cluster, right by right, and which operations need it.

`tkgbot doctor` asks the cluster for each; the bot's ClusterRole allows just these. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

from handlers.contract import Kind
from handlers.controllers import NAMESPACE as PROVIDER
from handlers.kinds import (
    AWS_CLUSTER,
    AWS_MACHINE,
    AWS_MACHINE_TEMPLATE,
    CLUSTER,
    CONTROL_PLANE,
    CONTROLLER_IDENTITY,
    KUBEADM_TEMPLATE,
    MACHINE,
    MACHINE_DEPLOYMENT,
    MACHINE_HEALTH_CHECK,
    NAMESPACE,
    NODE,
    POD,
    RESOURCE_SET,
    ROLE_IDENTITY,
    SECRET,
    SERVICE_ACCOUNT,
)

LOOK = ("get", "list")
MAKE = ("create", "patch")


@dataclass(frozen=True)
class Need:
    """Verbs on one kind, and the operations that use them. `namespace` where it is only needed in that one."""

    kind: Kind
    verbs: tuple[str, ...]
    operations: tuple[str, ...]
    namespace: str = ""


NEEDS = (
    Need(CLUSTER, LOOK, ("status", "digests", "every operation on clusters")),
    Need(MACHINE, LOOK, ("status", "digests", "cluster create", "cluster scale", "cluster delete")),
    Need(MACHINE_DEPLOYMENT, LOOK, ("status", "digests", "cluster scale")),
    Need(MACHINE_HEALTH_CHECK, LOOK, ("cluster create", "cluster delete")),
    Need(CONTROL_PLANE, LOOK, ("status", "digests", "cluster create")),
    Need(AWS_CLUSTER, LOOK, ("status", "digests", "cluster create", "cluster delete")),
    Need(AWS_MACHINE, LOOK, ("status", "digests", "cluster create")),
    Need(AWS_MACHINE_TEMPLATE, LOOK, ("cluster create", "cluster scale")),
    Need(KUBEADM_TEMPLATE, LOOK, ("cluster create",)),
    Need(ROLE_IDENTITY, LOOK, ("account onboard", "account check", "account list", "digests")),
    Need(CONTROLLER_IDENTITY, LOOK, ("cluster create", "account onboard")),
    Need(RESOURCE_SET, LOOK, ("cluster create",)),
    Need(NAMESPACE, LOOK, ("cluster create", "account onboard")),
    Need(SECRET, ("get",), ("gpu install", "gpu test", "cluster create", "status")),
    Need(CLUSTER, MAKE, ("cluster create", "cluster scale", "cluster expire")),
    Need(MACHINE_DEPLOYMENT, MAKE, ("cluster create", "cluster scale")),
    *(
        Need(kind, MAKE, ("cluster create",))
        for kind in (
            AWS_CLUSTER, CONTROL_PLANE, AWS_MACHINE_TEMPLATE, KUBEADM_TEMPLATE, MACHINE_HEALTH_CHECK,
        )
    ),
    *(
        Need(kind, ("delete",), ("cluster delete",))
        for kind in (
            CLUSTER, AWS_CLUSTER, CONTROL_PLANE, AWS_MACHINE_TEMPLATE, KUBEADM_TEMPLATE, MACHINE_DEPLOYMENT,
            MACHINE_HEALTH_CHECK,
        )
    ),
    Need(ROLE_IDENTITY, (*MAKE, "delete"), ("account onboard", "account offboard")),
    Need(CONTROLLER_IDENTITY, MAKE, ("account onboard",)),
    Need(POD, ("list",), ("account onboard",), PROVIDER),
    Need(SERVICE_ACCOUNT, ("get",), ("account onboard",), PROVIDER),
    Need(NODE, ("get",), ("account onboard",)),
)  # fmt: skip
"""In the order in which people look."""
WRITTEN = tuple(dict.fromkeys(need.kind for need in NEEDS if need.kind.group.endswith("cluster.x-k8s.io")))
"""The kinds of the Cluster API and its AWS provider, of which a known version has to be served."""
