"""Workload clusters: each an API server of its own, with nodes, and the cloud controller manager for its Services.

What runs on the nodes is played in `sandbox.kube.inside`.

Sources: kubelet and cloud-provider-aws (node lifecycle, findELBSubnets, event words), kubeadm's kubeconfig Secrets.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from typing import Any

import yaml

from sandbox.kube import KubeSandbox
from sandbox.kube.actors import addons, registering
from sandbox.kube.actors.cloud import CloudError
from sandbox.kube.actors.infrastructure import owned
from sandbox.kube.actors.network import for_load_balancer, seen
from sandbox.kube.actors.objects import CLUSTER_LABEL, Objects, at, deleting
from sandbox.kube.actors.registering import kubelet_argument
from sandbox.kube.actors.stage import Scene
from sandbox.kube.errors import Obj
from sandbox.kube.inside.devices import gpus
from sandbox.kube.inside.ground import Ground
from sandbox.kube.inside.hardware import hardware
from sandbox.kube.inside.loop import Inside
from sandbox.kube.memory import Change

CNIS = ("calico-node", "cilium", "antrea-agent", "kube-flannel-ds", "aws-node")
CLOUD_MANAGER = "aws-cloud-controller-manager"
UNINITIALISED = "node.cloudprovider.kubernetes.io/uninitialized"
NO_CNI = (
    "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady "
    "message:Network plugin returns error: cni plugin not initialized"
)
NODE_PORT = 30080
CLEANUP = "service.kubernetes.io/load-balancer-cleanup"
INTERNAL = "service.beta.kubernetes.io/aws-load-balancer-internal"
NO_SUBNETS = "could not find any suitable subnets for creating the ELB"


class Workload:
    """One workload cluster. Its API answers once a control plane node is there, and only while one is."""

    def __init__(self, kube: KubeSandbox, ended: Callable[[], None], inside: Inside) -> None:
        self.kube, self._ended, self.inside = kube, ended, inside
        self._machines: dict[str, tuple[str, str]] = {}  # provider id and instance type, by the node's name
        self.objects = Objects(kube.store, "cloud-controller-manager")
        kube.faults.unreachable = True

    async def stop(self) -> None:
        self._ended()
        await self.inside.stop()
        await self.kube.stop()

    @property
    def up(self) -> bool:
        return any(
            "node-role.kubernetes.io/control-plane" in n["metadata"]["labels"] for n in self.objects.store.list("nodes")
        )

    def nodes(self) -> list[str]:
        return [node["metadata"]["name"] for node in self.objects.store.list("nodes")]

    def gpus(self) -> dict[str, Obj]:
        """Of the nodes with GPUs: how many the machine has, and how many a pod may have."""
        found = {node["metadata"]["name"]: node for node in self.inside.ground.all("nodes")}
        machines = {name: self.inside.ground.machine(name) for name in found}
        return {
            name: {"product": machines[name].product, "count": machines[name].gpus, "allocatable": gpus(found[name])}
            for name in found
            if machines[name].nvidia
        }

    def node_of(self, provider_id: str | None) -> Obj | None:
        """The node that says to be this instance; without the cloud's word a node does not know it."""
        found = self.objects.store.list("nodes")
        return next((node for node in found if provider_id and at(node, "spec", "providerID") == provider_id), None)

    def join(self, host: str, machine: Obj, instance: Obj, config: Obj) -> None:
        """The kubelet registers its node. What only the cloud provider knows is filled in by that."""
        version, provider = machine["spec"]["version"], instance["spec"]["providerID"]
        mode = kubelet_argument(config, "cloud-provider")
        own = hardware(instance["spec"]["instanceType"], at(instance, "spec", "rootVolume", "size"))
        self.inside.ground.machines[host] = own
        taints = registering.taints(machine, config)
        if mode == "external":
            taints.append({"key": UNINITIALISED, "value": "true", "effect": "NoSchedule"})
        spec: dict[str, Any] = {"taints": taints}
        minor = int((re.match(r"v?1\.(\d+)", version) or ["", "99"])[1])
        known = mode == "aws" and minor < 27
        given = kubelet_argument(config, "provider-id")
        if known or given:
            spec["providerID"] = provider
        self._machines[host] = provider, instance["spec"]["instanceType"]
        labels = registering.labels(host, machine, config, own)
        node = self.objects.make("nodes", host, "", labels=labels, spec=spec)
        if known:
            node = self._initialise(node)
        node["status"] = registering.status(version, instance["status"]["addresses"], own, self.objects.now())
        self._settle(node)
        self.weather()

    def leave(self, provider_id: str | None) -> None:
        """The node goes with its machine; without a control plane the API goes too."""
        for node in self.objects.store.list("nodes"):
            if provider_id and self._machines[node["metadata"]["name"]][0] == provider_id:
                self.objects.delete("nodes", node)
        self.weather()

    def weather(self) -> None:
        """Whether the API answers, and as whom it knows its callers: by its nodes and by the switches."""
        switches = self.inside.ground.faults
        self.kube.faults.unreachable = not self.up or switches.workload_unreachable
        self.kube.faults.credentials_rotated = switches.credentials_rotated
        self.kube.faults.certificate_changed = switches.certificate_changed
        self.inside.wake()

    def has(self, names: tuple[str, ...]) -> bool:
        """A DaemonSet or Deployment of one of these names runs in kube-system or a namespace of its own."""
        kinds = ("daemonsets.apps", "deployments.apps")
        return any(entry["metadata"]["name"] in names for kind in kinds for entry in self.objects.store.list(kind))

    def refresh(self) -> None:
        """The add-ons do their work on every node."""
        for node in self.objects.store.list("nodes"):
            if self.has((CLOUD_MANAGER,)) and any(t["key"] == UNINITIALISED for t in node["spec"].get("taints", [])):
                node = self._initialise(node)
            self._settle(node)

    def _initialise(self, node: Obj) -> Obj:
        """What the cloud provider writes on a node that it knows."""
        provider, kind = self._machines[node["metadata"]["name"]]
        zone, spec = provider.split("/")[-2], node["spec"]
        spec["providerID"] = provider
        node["metadata"]["labels"] |= {
            "topology.kubernetes.io/zone": zone,
            "topology.kubernetes.io/region": zone[:-1],
            "node.kubernetes.io/instance-type": kind,
        }
        spec["taints"] = [taint for taint in spec.get("taints", []) if taint["key"] != UNINITIALISED]
        return self.objects.save(node)

    def _settle(self, node: Obj) -> None:
        ready, now = self.has(CNIS), self.objects.now()
        said = {
            "type": "Ready",
            "status": "True" if ready else "False",
            "reason": "KubeletReady" if ready else "KubeletNotReady",
        }
        said["message"] = "kubelet is posting ready status" if ready else NO_CNI
        before = at(node, "status", "conditions", default=[])
        if any(entry["type"] == "Ready" and entry["status"] == said["status"] for entry in before):
            return
        others = [entry for entry in before if entry["type"] != "Ready"]
        node["status"]["conditions"] = [{**said, "lastTransitionTime": now, "lastHeartbeatTime": now}, *others]
        self.objects.save(node, status=True)

    async def services(self, scene: Scene) -> None:
        """Load balancers of Services, while the cloud controller manager runs."""
        if not (self.up and self.has((CLOUD_MANAGER,))) or scene.place is None:
            return
        for service in self.objects.store.list("services"):
            what = f"service {service['metadata']['uid']}"
            held = CLEANUP in service["metadata"].get("finalizers", [])
            wants = at(service, "spec", "type") == "LoadBalancer" and not deleting(service)
            if not scene.may_try(what) or (wants and at(service, "status", "loadBalancer", "ingress")):
                continue
            try:
                if wants:
                    await self._expose(scene, service, what)
                elif held:
                    await self._conceal(scene, service)
            except CloudError as refused:
                text = f"Error syncing load balancer: failed to ensure load balancer: {refused.text}"
                self.objects.event(service, "SyncLoadBalancerFailed", text, warning=True)
                scene.refused(what)

    async def _expose(self, scene: Scene, service: Obj, what: str) -> None:
        if CLEANUP not in service["metadata"].setdefault("finalizers", []):
            service["metadata"]["finalizers"].append(CLEANUP)
            service = self.objects.save(service)
            self.objects.event(service, "EnsuringLoadBalancer", "Ensuring load balancer")
        status = at(scene.infra, "status", "networkStatus", "securityGroups", default={})
        internal = at(service, "metadata", "annotations", INTERNAL) not in (None, "", "false")
        network = await seen(scene.aws, scene.infra["spec"]["network"]["vpc"]["id"])
        newer = scene.stage.faults.newer_subnet_rule
        subnets = for_load_balancer(network, scene.name, internal=internal, newer=newer)
        if not subnets:
            raise CloudError("NoSubnets", NO_SUBNETS)
        listeners = [
            {"Protocol": "TCP", "LoadBalancerPort": port["port"], "InstancePort": port.get("nodePort", NODE_PORT)}
            for port in service["spec"].get("ports", [])
        ]
        meta = service["metadata"]
        tags = [tag for tag in owned(scene.name, "lb") if tag["Key"].startswith("kubernetes.io/")]
        tags.append({"Key": "kubernetes.io/service-name", "Value": f"{meta['namespace']}/{meta['name']}"})
        made = await scene.aws(
            "elb.create_load_balancer", LoadBalancerName=_balancer(service), Listeners=listeners, Tags=tags,
            Subnets=[entry["SubnetId"] for entry in subnets], SecurityGroups=[status["lb"]["id"]],
            **({"Scheme": "internal"} if internal else {}),
        )  # fmt: skip
        await self._register(scene, service)
        scene.done(what)
        service["status"] = {"loadBalancer": {"ingress": [{"hostname": made["DNSName"]}]}}
        self.objects.save(service, status=True)
        self.objects.event(service, "EnsuredLoadBalancer", "Ensured load balancer")

    async def _register(self, scene: Scene, service: Obj) -> None:
        """Every worker that the cloud provider knows stands behind it."""
        workers = [
            n
            for n in self.objects.store.list("nodes")
            if "node-role.kubernetes.io/control-plane" not in n["metadata"]["labels"]
        ]
        known = [
            str(at(node, "spec", "providerID")).rsplit("/", 1)[-1] for node in workers if at(node, "spec", "providerID")
        ]
        if known:
            await scene.aws(
                "elb.register_instances_with_load_balancer",
                LoadBalancerName=_balancer(service), Instances=[{"InstanceId": one} for one in known],
            )  # fmt: skip

    async def _conceal(self, scene: Scene, service: Obj) -> None:
        await scene.aws("elb.delete_load_balancer", LoadBalancerName=_balancer(service))
        self.objects.event(service, "DeletedLoadBalancer", "Deleted load balancer")
        self.objects.release("services", service, CLEANUP)


def _balancer(service: Obj) -> str:
    """The cloud provider's name for it: an a and the uid, cut to 32 characters."""
    return f"a{service['metadata']['uid'].replace('-', '')}"[:32]


class Workloads:
    """The workload clusters by namespace and name. `new` makes an API server that is not started yet."""

    def __init__(self, new: Callable[[str], KubeSandbox], woken: Callable[[tuple[str, str]], None]) -> None:
        self._new, self._woken = new, woken
        self.known: dict[tuple[str, str], Workload] = {}

    def of(self, scene: Scene) -> Workload | None:
        return self.known.get((scene.namespace, scene.name))

    async def ensure(self, scene: Scene) -> Workload:
        """Started with the certificates, before there is any machine; its kubeconfig goes into the usual Secret."""
        place = (scene.namespace, scene.name)
        found = self.known.get(place)
        if found is None:
            kube = self._new(scene.name)
            kube.store.establishes_later = True
            await kube.start()

            def changed(change: Change) -> None:
                if _concerns(change):
                    self._woken(place)

            inside = Inside(Ground(kube.store, scene.stage.faults, scene.stage.chance, scene.stage.monotonic))
            found = self.known[place] = Workload(kube, kube.store.on_change(changed), inside)
            inside.start()
        _secrets(scene, found.kube)
        return found

    async def forget(self, place: tuple[str, str]) -> None:
        found = self.known.pop(place, None)
        if found is not None:
            await found.stop()

    async def look_after(self, scene: Scene) -> None:
        """Add-ons, nodes and Services of one workload cluster."""
        found = self.of(scene)
        if found is None or not found.up:
            return
        if not scene.ending:
            addons.reconcile(scene, found.objects)
        found.refresh()
        await found.services(scene)


def _concerns(change: Change) -> bool:
    """Whether it changes anything for the management cluster, or for the cloud controller manager."""
    if change.resource == "nodes" and change.type == "MODIFIED":
        before, now = change.previous or {}, change.object
        ready = [
            [one for one in at(obj, "status", "conditions", default=[]) if one["type"] == "Ready"]
            for obj in (before, now)
        ]
        return before.get("spec") != now.get("spec") or ready[0] != ready[1]
    if change.resource in ("daemonsets.apps", "deployments.apps"):
        return change.type != "MODIFIED"
    return change.resource in ("services", "nodes")


def _secrets(scene: Scene, kube: KubeSandbox) -> None:
    """The kubeconfig with the cluster's own name in it, and the authority."""
    if scene.objects.find("secrets", f"{scene.name}-kubeconfig", scene.namespace):
        return
    config = yaml.safe_load(kube.kubeconfig("admin"))
    contents = {"kubeconfig": {"value": yaml.safe_dump(config)}, "ca": {"tls.crt": kube.ca_pem}}
    for suffix, data in contents.items():
        encoded = {name: base64.b64encode(text.encode()).decode() for name, text in data.items()}
        scene.objects.make(
            "secrets", f"{scene.name}-{suffix}", scene.namespace, data=encoded, type="cluster.x-k8s.io/secret",
            labels={CLUSTER_LABEL: scene.name}, owner=scene.cluster,
        )  # fmt: skip
