"""The DaemonSet controller: a pod on every node that fits, and the counters.

Source: kube-controller-manager's daemon controller. A changed template takes over at once, but for OnDelete.
"""

from __future__ import annotations

from sandbox.kube.actors.objects import at
from sandbox.kube.errors import Obj
from sandbox.kube.inside import pods
from sandbox.kube.inside.ground import DAEMONS, NODES, PODS, Ground, labels_of
from sandbox.kube.inside.placing import DAEMON_TOLERATIONS, admits

COMPONENT = "daemonset-controller"
HASH = "controller-revision-hash"


def reconcile(ground: Ground) -> None:
    """Every DaemonSet of the cluster."""
    for entry in ground.all(DAEMONS):
        _one(ground, entry)


def _one(ground: Ground, daemon: Obj) -> None:
    spec, wanted = daemon["spec"]["template"]["spec"], ground.template_digest(daemon)
    fitting = {node["metadata"]["name"] for node in ground.all(NODES) if admits(spec, node)}
    own = {at(pod, "spec", "nodeName"): pod for pod in ground.owned(daemon, PODS)}
    for node, pod in list(own.items()):
        outdated = labels_of(pod).get(HASH) != wanted and _rolls(daemon)
        stays = node in fitting or (at(pod, "status", "reason") == "Evicted" and ground.read(NODES, node))
        if outdated or not stays or (pods.over(pod) and at(pod, "status", "reason") != "Evicted"):
            pods.remove(ground, COMPONENT, pod)
            del own[node]
    for node in sorted(fitting - set(own)):
        made = pods.make(
            ground, COMPONENT, daemon, f"{daemon['metadata']['name']}-{ground.suffix()}",
            labels={HASH: wanted, "pod-template-generation": str(daemon["metadata"].get("generation", 1))},
            node=node, tolerations=DAEMON_TOLERATIONS,
        )  # fmt: skip
        if made is not None:
            own[node] = made
    _tell(ground, daemon, fitting, own)


def _rolls(daemon: Obj) -> bool:
    return bool(at(daemon, "spec", "updateStrategy", "type", default="RollingUpdate") == "RollingUpdate")


def _tell(ground: Ground, daemon: Obj, fitting: set[str], own: dict[str, Obj]) -> None:
    wanted = ground.template_digest(daemon)
    ready = sum(pods.ready(pod) for pod in own.values())
    status = {
        **(daemon.get("status") or {}),
        "currentNumberScheduled": len(fitting & set(own)),
        "desiredNumberScheduled": len(fitting),
        "numberAvailable": ready,
        "numberMisscheduled": len(set(own) - fitting),
        "numberReady": ready,
        "numberUnavailable": max(len(fitting) - ready, 0),
        "observedGeneration": daemon["metadata"].get("generation", 1),
        "updatedNumberScheduled": sum(labels_of(pod).get(HASH) == wanted for pod in own.values()),
    }
    ground.edit(COMPONENT, daemon, status)
