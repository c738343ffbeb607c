"""The kubelets: pods start, run, end, crash and are evicted; their status and their logs say so.

Source: the kubelet's status manager (phases, conditions, reasons), its events, containerd's words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sandbox.kube.actors.objects import at, deleting
from sandbox.kube.errors import Obj
from sandbox.kube.inside import pods
from sandbox.kube.inside.courses import course
from sandbox.kube.inside.ground import NODES, PODS, Ground, with_times
from sandbox.kube.inside.placing import condition

COMPONENT = "kubelet"
START, PULL_AGAIN, FIRST_BACKOFF, LAST_BACKOFF, LEAST_PACE = 0.2, 0.5, 1.0, 30.0, 0.05


def reconcile(ground: Ground) -> None:
    """Every pod that has a node; one whose node is gone goes too."""
    for pod in ground.all(PODS):
        name = at(pod, "spec", "nodeName")
        node = ground.read(NODES, name) if name else None
        if name and node is None:
            pods.remove(ground, "pod-garbage-collector", pod)
        elif node is not None and not pods.over(pod) and not deleting(pod):
            _tend(ground, pod, node)


@dataclass
class Seen:
    """One container at this moment."""

    status: Obj
    done: bool = False
    failed: bool = False
    begun: bool = False
    ready: bool = False


def _tend(ground: Ground, pod: Obj, node: Obj) -> None:
    spec, uid = pod["spec"], pod["metadata"]["uid"]
    networked = condition(node, "Ready") == "True" or spec.get("hostNetwork")
    begun = networked and ground.ripe(uid, "sandbox", START)
    inits = _run(ground, pod, spec.get("initContainers") or [], begun=begun, init=True)
    initialised = begun and all(one.done for one in inits)
    mains = _run(ground, pod, spec["containers"], begun=initialised, init=False)
    never = spec.get("restartPolicy") == "Never"
    if never and any(one.failed for one in inits):
        phase = "Failed"
    elif all(one.done or (one.failed and never) for one in mains):
        phase = "Failed" if any(one.failed for one in mains) else "Succeeded"
    else:
        phase = "Running" if any(one.begun for one in mains) else "Pending"
    status = {**(pod.get("status") or {}), "phase": phase}
    status.setdefault("startTime", ground.now())
    if begun:
        status.setdefault("podIP", f"192.168.{sum(map(ord, uid)) % 250}.{sum(map(ord, uid[:8])) % 250 + 1}")
    status["containerStatuses"] = [one.status for one in mains]
    if inits:
        status["initContainerStatuses"] = [one.status for one in inits]
    told = _conditions(spec, inits, mains, initialised=initialised, phase=phase)
    status["conditions"] = with_times(at(pod, "status", "conditions", default=[]), told, ground.now())
    ground.edit(COMPONENT, pod, status)


def _run(ground: Ground, pod: Obj, containers: list[Obj], *, begun: bool, init: bool) -> list[Seen]:
    """Init containers one after the other, the others together."""
    key = "initContainerStatuses" if init else "containerStatuses"
    before = {one["name"]: one for one in at(pod, "status", key, default=[])}
    waits = "PodInitializing" if init or pod["spec"].get("initContainers") else "ContainerCreating"
    found: list[Seen] = []
    for container in containers:
        last = before.get(container["name"], {})
        if not begun or (init and found and not found[-1].done):
            found.append(Seen(_status(container, last, {"waiting": {"reason": waits}})))
        else:
            found.append(_one(ground, pod, container, last, init=init))
    return found


def _status(container: Obj, last: Obj, state: Obj, **more: Any) -> Obj:
    kept = {"restartCount": last.get("restartCount", 0), "lastState": last.get("lastState", {})}
    base = {"name": container["name"], "image": container.get("image", ""), "imageID": "", "ready": False}
    return {**base, **kept, "started": False, "state": state, **more}


def _one(ground: Ground, pod: Obj, container: Obj, last: Obj, *, init: bool) -> Seen:
    final = at(last, "state", "terminated")
    if final is not None:
        return Seen(last, done=final["exitCode"] == 0, failed=final["exitCode"] != 0, begun=True)
    meta, name = pod["metadata"], container["name"]
    found = course(ground, pod, container, init=init)
    if found.state == "unpullable":
        return _unpullable(ground, pod, container, last, found.problem)
    ground.restart(meta["uid"], f"pull {name}")
    ground.store.set_log(meta["namespace"], meta["name"], name, found.log)
    since = at(last, "state", "running", "startedAt") or ground.now()
    if found.state in ("running", "ready"):
        if at(last, "state", "running") is None:
            ground.acting(COMPONENT).event(pod, "Started", f"Started container {name}")
        well = found.state == "ready"
        state = {"running": {"startedAt": since}}
        return Seen(_status(container, last, state, ready=well, started=well), begun=True, ready=well)
    return _ended(ground, pod, container, last, found.code, since, init=init)


def _ended(
    ground: Ground, pod: Obj, container: Obj, last: Obj, code: int, since: str, *, init: bool
) -> Seen:  # fmt: skip
    """For good, or until the next try."""
    name, uid = container["name"], pod["metadata"]["uid"]
    end = {
        "exitCode": code, "reason": "Completed" if code == 0 else "Error", "startedAt": since,
        "finishedAt": ground.now(),
    }  # fmt: skip
    policy = pod["spec"].get("restartPolicy", "Always")
    again = policy == "Always" and (code != 0 or not init)
    if not again and (policy != "OnFailure" or code == 0):
        well = code == 0
        return Seen(_status(container, last, {"terminated": end}, ready=well and init), well, not well, True)
    count = int(last.get("restartCount", 0))
    pause = min(FIRST_BACKOFF * 2 ** min(count, 8), LAST_BACKOFF)
    if at(last, "state", "waiting", "reason") == "CrashLoopBackOff" and ground.ripe(
        uid, f"crash {name} {count}", pause, LEAST_PACE
    ):
        count += 1
    elif at(last, "state", "waiting", "reason") != "CrashLoopBackOff":
        ground.ripe(uid, f"crash {name} {count}", pause, LEAST_PACE)
        text = f"Back-off restarting failed container {name} in pod {pod['metadata']['name']}"
        ground.acting(COMPONENT).event(pod, "BackOff", text, warning=True)
    place = f"{pod['metadata']['name']}_{pod['metadata']['namespace']}({uid})"
    text = f"back-off {int(min(10 * 2 ** min(count, 8), 300))}s restarting failed container={name} pod={place}"
    state = {"waiting": {"reason": "CrashLoopBackOff", "message": text}}
    kept = at(last, "lastState", "terminated") if count == last.get("restartCount", 0) else None
    more = {"restartCount": count, "lastState": {"terminated": kept or end}}
    return Seen(_status(container, last, state, **more), begun=True)


def _unpullable(ground: Ground, pod: Obj, container: Obj, last: Obj, problem: str) -> Seen:
    """The first try says why, then the kubelet backs off, saying so too."""
    image, objects = container.get("image", ""), ground.acting(COMPONENT)
    before = at(last, "state", "waiting", "reason")
    backs_off = ground.ripe(pod["metadata"]["uid"], f"pull {container['name']}", PULL_AGAIN, LEAST_PACE)
    if not backs_off:
        if before not in ("ErrImagePull", "ImagePullBackOff"):
            objects.event(pod, "Failed", f'Failed to pull image "{image}": {problem}', warning=True)
        return Seen(_status(container, last, {"waiting": {"reason": "ErrImagePull", "message": problem}}))
    text = f'Back-off pulling image "{image}": ErrImagePull: {problem}'
    if before != "ImagePullBackOff":
        objects.event(pod, "BackOff", f'Back-off pulling image "{image}"')
    return Seen(_status(container, last, {"waiting": {"reason": "ImagePullBackOff", "message": text}}))


def _conditions(spec: Obj, inits: list[Seen], mains: list[Seen], *, initialised: bool, phase: str) -> list[Obj]:
    """In the order of the kubelet."""
    open_inits = [one.status["name"] for one in inits if not one.done]
    unready = [one.status["name"] for one in mains if not one.ready]
    told = [_told("PodReadyToStartContainers", initialised or any(one.begun for one in inits))]
    words = f"containers with incomplete status: [{' '.join(open_inits)}]"
    told.append(_told("Initialized", not open_inits, "ContainersNotInitialized", words))
    reason = "PodCompleted" if phase == "Succeeded" else "PodFailed" if phase == "Failed" else "ContainersNotReady"
    words = "" if phase == "Succeeded" else f"containers with unready status: [{' '.join(unready)}]"
    told += [_told(kind, not unready, reason, words) for kind in ("Ready", "ContainersReady")]
    return [*told, _told("PodScheduled", True)]


def _told(kind: str, so: bool, reason: str = "", message: str = "") -> Obj:
    if so:
        return {"type": kind, "status": "True"}
    found = {"type": kind, "status": "False", "reason": reason, "message": message}
    return {key: value for key, value in found.items() if value}
