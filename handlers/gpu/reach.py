"""A workload cluster, reached by its kubeconfig on the management cluster; and what is wrong where it is not."""

from __future__ import annotations

from handlers.clients.aws_errors import Denied
from handlers.cluster_place import PlaceArguments, opened
from handlers.contract import Check, Fatal, KubeRead, KubeRefused, ReadWorld, Retry
from handlers.kinds import NODE
from handlers.subnet_checks import blocks, passes

TITLE = "The cluster's API answers"


def reach(cluster: str, namespace: str, world: ReadWorld) -> tuple[KubeRead | None, Check]:
    """The cluster to look at, once it has answered; the check tells apart why it does not: no kubeconfig yet, one whose
    credentials or authority were changed, or an API that is out of reach."""
    try:
        kube = world.workload(namespace, cluster)
        nodes = len(list(kube.pages(NODE)))
    except Denied as error:
        return None, blocks("reach", TITLE, error.message, error.hint)
    except Retry as error:
        fix = "Its control plane is down, or the bot does not reach its load balancer: `/tkg cluster get`."
        return None, Check(id="reach", title=TITLE, result="unknown", evidence=error.message, fix=fix)
    except (Fatal, KubeRefused) as error:
        return None, blocks("reach", TITLE, error.message, error.hint)
    return kube, passes("reach", TITLE, f"{cluster} answered, with {nodes} node{'s' * (nodes != 1)}.")


def reached(arguments: PlaceArguments, world: ReadWorld) -> tuple[KubeRead | None, list[Check]]:
    """The cluster to look at, after its account and its objects; None where a check stands in the way."""
    start = opened(arguments, world)
    if start.found is None:
        return None, list(start.checks)
    kube, answered = reach(arguments.cluster, arguments.namespace, world)
    return kube, [*start.checks, answered]
