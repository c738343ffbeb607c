"""Where the chain from a GPU to `nvidia.com/gpu` is broken, in one sentence, and what to do.

The chain: node feature discovery labels the node, the operator marks it, driver, toolkit and device plugin come up one
after the other, and the device plugin tells the kubelet of the GPUs. A policy that is `ready` says nothing of this: it
is so without any GPU, too. (NVIDIA/gpu-operator v26.7.0, controllers/; its issues on each of the failures.)
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from handlers.clients.aws_errors import Denied
from handlers.conditions import Object, at, conditions, created, label, name_of, number, objects_at, seconds, text
from handlers.contract import Fatal, KubeRead, KubeRefused, Retry
from handlers.gpu.causes import DRIVER_CAUSES, LogCause, cause_of
from handlers.gpu.pods import (
    NO_PLATFORM,
    Trouble,
    clipped,
    is_fine,
    is_pod_ready,
    is_starting,
    place,
    restarts,
    status_word,
    trouble,
)
from handlers.gpu.seen import CHAIN, DRIVER, PLUGIN, TOOLKIT, VALIDATOR, GpuNode, Gpus
from handlers.kinds import EVENT

RESTARTS, COMPILES = 3, 1500.0
"""A driver that was started again more often, or that compiles for longer (seconds), is no more only slow: the
operator's own probe gives it 20 minutes."""
YOUNG = 120.0
"""Seconds that discovery is given on a node."""
SOON, COMPILING = "Give it a minute.", "It takes 5 to 15 minutes."
WORDS = {
    DRIVER: "the driver",
    TOOLKIT: "the container toolkit",
    PLUGIN: "the device plugin",
    VALIDATOR: "the validator",
}
OS_IMAGE = re.compile(r":\S*-(?P<os>[a-z]+[0-9.]*)\b")


@dataclass(frozen=True)
class Finding:
    """One break, or one wait. `waits` is True where nothing has to be done but to give it time."""

    where: str
    evidence: str
    fix: str
    waits: bool = False

    @property
    def sentence(self) -> str:
        """What a person reads."""
        return f"{self.where}: {self.evidence}"


@dataclass(frozen=True)
class Diagnosis:
    """`whole` is what concerns the cluster; `by_node` holds for each GPU node what stands between it and its GPUs, None
    where nothing does."""

    whole: Finding | None
    by_node: tuple[tuple[GpuNode, Finding | None], ...]

    @property
    def usable(self) -> tuple[GpuNode, ...]:
        """The nodes whose GPUs pods can have."""
        return tuple(node for node, found in self.by_node if found is None)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All of them, that of the cluster first."""
        return tuple(found for found in (self.whole, *(found for _, found in self.by_node)) if found is not None)

    @property
    def broken(self) -> tuple[Finding, ...]:
        """Those that time does not mend."""
        return tuple(found for found in self.findings if not found.waits)

    @property
    def is_well(self) -> bool:
        """Is there a GPU, and has every node all of its own?"""
        return not self.findings and bool(self.by_node)


def diagnose(seen: Gpus, kube: KubeRead, now: float, patience: float = COMPILES) -> Diagnosis:
    """Looks along the chain; `kube` is asked for logs and events of what is in trouble only. `patience` is how long a
    driver may compile (seconds)."""
    return _Look(seen, kube, now, patience).all()


@dataclass(frozen=True)
class _Look:
    """One pass over what was seen."""

    seen: Gpus
    kube: KubeRead
    now: float
    patience: float

    def all(self) -> Diagnosis:
        whole = self._operator()
        if whole is None:
            whole = self._policy()
        elif not whole.waits:  # nothing comes of the rest then
            return Diagnosis(whole, tuple((node, whole) for node in self.seen.nodes))
        return Diagnosis(whole, tuple((node, self._node(node)) for node in self.seen.nodes))

    # -- the cluster -------------------------------------------------------------------------------------------------

    def _operator(self) -> Finding | None:
        operator, seen = self.seen.operator, self.seen
        if seen.unread:
            evidence = f"not everything can be read: {'; '.join(seen.unread)}"
            return Finding("cluster", evidence, "The platform team has to mend the bot's rights there.")
        if operator is None:
            return Finding("cluster", "the GPU operator is not installed", "Install it: `/tkg gpu install`.")
        if is_rolled_out(operator):
            return None
        name = name_of(operator)
        for pod in seen.pods:  # an older one may still be available beside it
            found = trouble(pod) if name_of(pod).startswith(f"{name}-") else None
            if found is not None:
                return Finding("operator", _told(pod, found), self._mend(pod, found, None))
        refused = self._refused(seen.namespace, name)
        if refused:
            return Finding("operator", refused, _privileged(refused, seen.namespace))
        return Finding("operator", "its pod is starting", SOON, waits=True)

    def _policy(self) -> Finding | None:
        policy = self.seen.policy
        if policy is None:
            fix = "Install it anew: `/tkg gpu install`."
            return Finding("policy", "there is no ClusterPolicy, so the operator does nothing", fix)
        if self.seen.state == "ignored":
            others = ", ".join(name_of(item) for item in self.seen.others)
            evidence = f"the operator ignores {name_of(policy)}; there is also {others}"
            return Finding("policy", evidence, "Delete all but one.")
        failed = next((one for one in conditions(policy) if one.type == "Error" and one.status == "True"), None)
        if failed is not None and failed.reason in ("ReconcileFailed", "PrerequisiteNotMet"):
            evidence = f"{failed.reason}: {clipped(failed.message)}"
            return Finding("policy", evidence, "Mend what it says; the operator tries on by itself.")
        return None

    # -- one node ----------------------------------------------------------------------------------------------------

    def _node(self, node: GpuNode) -> Finding | None:
        """The first link of the chain that does not hold."""
        if any(one.type == "DiskPressure" and one.status == "True" for one in conditions(node.item)):
            fix = "Give the pool a root volume of 100 GiB or more, and replace the machine."
            return Finding(node.name, "its disk is full (DiskPressure), so pods are evicted", fix)
        if not node.ready:
            fix = "`/tkg cluster get` shows what it waits for."
            return Finding(node.name, "the node is not Ready", fix, waits=True)
        if not node.discovered:
            return self._undiscovered(node)
        if not node.marked:
            return Finding(node.name, "the operator has not marked it as a GPU node yet", SOON, waits=True)
        for app in CHAIN:
            if app == VALIDATOR and node.capacity > node.allocatable:  # it waits for devices that are not well
                return _devices(node)
            found = self._link(node, app)
            if found is not None:
                return found
        return _devices(node)

    def _undiscovered(self, node: GpuNode) -> Finding:
        workers = [item for item in self.seen.daemon_sets if _is_discovery(item)]
        if not workers:
            fix = "Install it with the operator: `/tkg gpu install`."
            return Finding(node.name, "node feature discovery is not installed, so nobody sees its GPUs", fix)
        pods = [pod for pod in node.pods if _is_discovery(pod)]
        if not pods:
            refused = self._refused(text(workers[0], "metadata", "namespace"), name_of(workers[0]))
            if refused:
                return Finding(node.name, refused, _privileged(refused, self.seen.namespace))
            fix = "Let its worker tolerate the node's taints (`operations.gpu.tolerations`), and install anew."
            young = self.now - (created(node.item) or self.now) < YOUNG
            return Finding(node.name, "node feature discovery has no pod on it", SOON if young else fix, waits=young)
        for pod in pods:
            found = trouble(pod)
            if found is not None:
                return Finding(node.name, _told(pod, found), self._mend(pod, found, None))
        if not any(is_pod_ready(pod) for pod in pods):
            return Finding(node.name, "node feature discovery is starting on it", SOON, waits=True)
        fix = "Is the machine really of a type with NVIDIA GPUs? The log of its worker says what it saw."
        young = any(self._took(pod) < YOUNG for pod in pods)
        return Finding(node.name, "node feature discovery runs on it and has found no NVIDIA device", fix, waits=young)

    def _link(self, node: GpuNode, app: str) -> Finding | None:
        """One DaemonSet's pod on the node; one that the policy has switched off is no link."""
        owners = {_app(item): item for item in self.seen.daemon_sets}
        word = WORDS[app]
        if app not in owners:
            if PLUGIN in owners or app != CHAIN[0]:
                return None
            return Finding(node.name, "the operator has not made its DaemonSets yet", SOON, waits=True)
        pod = node.pod(app)
        if pod is None:
            refused = self._refused(text(owners[app], "metadata", "namespace"), name_of(owners[app]))
            if refused:
                evidence = f"{word} is refused: {refused}"
                return Finding(node.name, evidence, _privileged(refused, self.seen.namespace))
            return Finding(node.name, f"{word} has no pod on it yet", SOON, waits=True)
        if is_fine(pod):
            return self._outdated(node, pod) if app == DRIVER else None
        found = trouble(pod)
        if app == DRIVER:
            return self._driver(node, pod, found)
        if found is None or (found.kind == "crash" and is_starting(pod) and found.restarts <= RESTARTS):
            return Finding(node.name, f"{word} is starting ({status_word(pod)})", SOON, waits=True)
        return Finding(node.name, f"{word}: {_told(pod, found)}", self._mend(pod, found, None))

    def _outdated(self, node: GpuNode, pod: Object) -> Finding | None:
        """A driver of another version than the policy's is on its way out: the operator takes one node after the
        other."""
        driver = at(self.seen.policy, "spec", "driver")
        wanted, has = text(driver, "version"), [*images_of(pod)]
        if not wanted or not has or at(driver, "useNvidiaDriverCRD") is True or any(wanted in image for image in has):
            return None
        evidence = f"the driver is not of version {wanted} yet ({has[0]})"
        return Finding(node.name, evidence, "The operator changes one node after the other.", waits=True)

    def _driver(self, node: GpuNode, pod: Object, found: Trouble | None) -> Finding:
        """A driver compiles for five to fifteen minutes: that is no error, until it is."""
        again, took = restarts(pod), self._took(pod)
        if found is None and again <= RESTARTS and took <= self.patience:
            return Finding(node.name, f"the driver compiles ({took:.0f} s so far)", COMPILING, waits=True)
        container = found.container if found and found.container else _first_container(pod)
        known = cause_of(self._log(pod, container), DRIVER_CAUSES)
        if found is not None and found.kind == "crash" and found.restarts <= RESTARTS and known is None:
            return Finding(node.name, f"the driver was started again ({found.reason})", COMPILING, waits=True)
        if found is not None:
            said = _told(pod, found)
        elif again > RESTARTS:
            said = f"it was started {again} times again and is not ready"
        else:
            said = f"it has compiled for {took / 60:.0f} minutes"
        why = f"; {known[0].means} (“{clipped(known[1])}”)" if known else ""
        fix = self._mend(pod, found, known) if found else _log_fix(pod, container, known)
        return Finding(node.name, f"the driver: {said}{why}", fix)

    # -- looking closer ----------------------------------------------------------------------------------------------

    def _refused(self, namespace: str, owner: str) -> str:
        """Why an owner of pods could not make one: the newest FailedCreate about it, or about what it owns."""
        try:
            found = [
                event
                for event in self.kube.pages(EVENT, namespace)
                if text(event, "reason") == "FailedCreate" and text(event, "involvedObject", "name").startswith(owner)
            ]
        except (Denied, Fatal, KubeRefused):
            return ""
        newest = max(found, key=lambda event: text(event, "lastTimestamp") or text(event, "eventTime"), default=None)
        return clipped(text(newest, "message"))

    def _log(self, pod: Object, container: str) -> str:
        """Nothing where the node's kubelet does not hand it out: what is known without it is told all the same."""
        try:
            return self.kube.log(name_of(pod), text(pod, "metadata", "namespace"), container)
        except (Denied, Fatal, KubeRefused, Retry):
            return ""

    def _took(self, pod: Object) -> float:
        """Seconds since the pod started."""
        begun = seconds(text(pod, "status", "startTime")) or created(pod)
        return max(self.now - begun, 0.0) if begun is not None else 0.0

    def _mend(self, pod: Object, found: Trouble, known: tuple[LogCause, str] | None) -> str:
        if found.kind == "pull":
            return _pull_fix(pod, found)
        if found.kind == "unschedulable":
            return "The pod finds no node: check taints, tolerations and free resources."
        if found.reason == "Evicted":
            return "The node ran out of something: give the pool a larger root volume, and replace the machine."
        return _log_fix(pod, found.container, known)


def _devices(node: GpuNode) -> Finding | None:
    if node.allocatable > 0 and (node.expected is None or node.allocatable >= node.expected):
        return None
    if node.capacity > node.allocatable:
        evidence = f"{node.allocatable} of {node.capacity} GPUs are healthy, says the device plugin"
        return Finding(node.name, evidence, "A GPU has failed (XID errors in the kernel's log): replace the machine.")
    if node.allocatable:
        evidence = f"{node.allocatable} of {node.expected} GPUs of a {node.type} are there"
        return Finding(node.name, evidence, "Is MIG or sharing configured there, or has a GPU failed?")
    fix = "Look at the log of its device plugin; delete that pod so that it starts anew, or replace the machine."
    return Finding(node.name, "all its pods run and no GPU is allocatable", fix)


# -- words ---------------------------------------------------------------------------------------------------------


def _told(pod: Object, found: Trouble) -> str:
    again = f", started {found.restarts} times again" if found.restarts else ""
    said = f": {found.text}" if found.text else ""
    return f"pod {place(pod)} is in {found.reason}{again}{said}"


def _pull_fix(pod: Object, found: Trouble) -> str:
    if NO_PLATFORM in found.text:
        return "The image is not built for the node's architecture: use an x86-64 type, or another image."
    system = OS_IMAGE.search(found.text)
    if system and _app(pod) == DRIVER:
        if system["os"].startswith("ubuntu"):
            return f"There is no image of this driver for {system['os']}: name another one (`--driver-version`)."
        return f"There is no driver image for {system['os']}: use an Ubuntu image, or --driver-version preinstalled."
    return "Check the version, and that nodes reach the registry; `operations.gpu` takes mirrors."


def _log_fix(pod: Object, container: str, known: tuple[LogCause, str] | None) -> str:
    if known is not None:
        return known[0].fix
    where = f"-n {text(pod, 'metadata', 'namespace')} {name_of(pod)}"
    return f"Read its log: kubectl logs {where}{f' -c {container}' if container else ''}"


def _privileged(said: str, namespace: str) -> str:
    if "PodSecurity" in said:
        label = "pod-security.kubernetes.io/enforce=privileged"
        return f"Label the namespace {namespace or 'of the operator'} with {label}: `/tkg gpu install` does it."
    return "Mend what it says; its controller tries on."


def is_rolled_out(deployment: Object) -> bool:
    """Is a pod available, and none left of an older template? (Kubernetes: `kubectl rollout status`.)"""
    status = {name: number(deployment, "status", name) or 0 for name in ("availableReplicas", "replicas")}
    updated, seen = number(deployment, "status", "updatedReplicas"), number(deployment, "status", "observedGeneration")
    is_current = seen is None or seen >= (number(deployment, "metadata", "generation") or 0)
    return status["availableReplicas"] > 0 and is_current and status["replicas"] <= (updated or 0)


def images_of(pod: Object) -> list[str]:
    """The images of a pod's containers."""
    return [image for image in (text(one, "image") for one in objects_at(pod, "spec", "containers")) if image]


def _first_container(pod: Object) -> str:
    return next((text(one, "name") for one in objects_at(pod, "spec", "containers")), "")


def _app(item: Object) -> str:
    return label(item, "app") or text(item, "spec", "selector", "matchLabels", "app")


def _is_discovery(item: Object) -> bool:
    name = name_of(item)
    return ("node-feature-discovery" in name or name.startswith("nfd-")) and "worker" in name
