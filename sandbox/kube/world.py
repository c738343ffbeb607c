"""The demo world's management cluster: what stands in it at the start, and the actors that play its controllers.

The labels that a Cluster in the namespace `default` needs for its add-ons: `cni: calico` (or antrea), `ccm: external`,
`csi: external`. A ClusterResourceSet selects clusters of its own namespace only; in `platform` there are none.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from importlib import resources
from typing import Any

import yaml

from sandbox.aws import AwsSandbox
from sandbox.kube import Change, KubeSandbox
from sandbox.kube.actors.cloud import Clouds
from sandbox.kube.actors.director import Director
from sandbox.kube.actors.objects import Objects
from sandbox.kube.actors.stage import ActorFaults, Stage, checked
from sandbox.kube.actors.workload import CLOUD_MANAGER, Workload, Workloads
from sandbox.kube.controllers import Controllers
from sandbox.kube.crds import crds as definitions

COMPONENT = "capi-controller-manager"
WEATHER = {"workload_unreachable", "credentials_rotated", "certificate_changed"}
"""Switches of every workload cluster's API."""
NAMESPACES = ("capi-system", "capa-system", "platform")
ADDONS = {  # label, its value, the DaemonSet that it brings
    "calico": ("cni", "calico", "calico-node"),
    "antrea": ("cni", "antrea", "antrea-agent"),
    "aws-ccm": ("ccm", "external", CLOUD_MANAGER),
    "aws-ebs-csi": ("csi", "external", "ebs-csi-node"),
}
RBAC = "rbac.authorization.k8s.io"
RIGHTS = ("cluster-role.yaml", "kubeconfigs.yaml", "provider-role.yaml")
"""The bot's rights are those with which it is installed (manifests/deploy): whatever it does here it can do there."""


class ClusterWorld:
    """Start and stop it in one event loop. `generation` is current or legacy, as the CRDs are.

    `controllers` is as whom the provider's controllers act in AWS: as their node's instance role ("instance"), as a
    user with static keys ("keys"), or as the role of their service account ("irsa").
    """

    def __init__(
        self,
        aws: AwsSandbox,
        generation: str = "current",
        *,
        controllers: str = "instance",
        clock: Callable[[], float] = time.time,
        chance: random.Random | None = None,
        crds: Iterable[Mapping[str, Any]] | None = None,
    ) -> None:
        self.kube = KubeSandbox(crds=definitions(generation) if crds is None else crds, clock=clock)
        self.actor_faults = ActorFaults()
        self._made = 0
        described = aws.describe()
        own = Controllers(aws, controllers)
        current = generation == "current"
        self._workloads = Workloads(lambda name: KubeSandbox(clock=clock, name=name), self._wake)
        self.stage = Stage(
            objects=Objects(self.kube.store, COMPONENT), clouds=Clouds(aws.url, own.keys, current=current),
            faults=self.actor_faults, current=current, workloads=self._workloads,
            chance=chance or random.SystemRandom(),
        )  # fmt: skip
        self._director = Director(self.stage)
        self._region: str = described["region"]
        self._warming: asyncio.Task[None] | None = None
        _furnish(self.kube)
        own.furnish(Objects(self.kube.store, "kubectl"))

    async def start(self, port: int = 0) -> None:
        await self.kube.start(port)
        self.kube.store.on_change(self._count)
        self._director.start()
        self._warming = asyncio.create_task(self.stage.clouds.warm(self._region))

    async def stop(self) -> None:
        """The actors first, then every API server."""
        await self._director.stop()
        if self._warming is not None:
            await self._warming
        for place in list(self._workloads.known):
            await self._workloads.forget(place)
        await self.kube.stop()

    @property
    def url(self) -> str:
        return self.kube.url

    def kubeconfig(self, user: str = "tkgbot") -> str:
        """The management cluster's, as YAML."""
        return self.kube.kubeconfig(user)

    def workload(self, name: str, namespace: str = "default") -> Workload:
        """KeyError before its control plane's certificates are made. `.kube` is its API server."""
        return self._workloads.known[namespace, name]

    @property
    def calls(self) -> list[dict[str, Any]]:
        """What was asked of the management cluster's API, in order."""
        return self.kube.log

    def calls_of(self, cluster: str) -> list[dict[str, Any]]:
        """The same of a workload cluster, `NAMESPACE/NAME`; none of one that is not there."""
        namespace, _, name = cluster.partition("/")
        found = self._workloads.known.get((namespace, name))
        return found.kube.log if found else []

    def get_faults(self) -> dict[str, Any]:
        return {**asdict(self.kube.faults), **asdict(self.actor_faults)}

    def set_faults(self, changes: Mapping[str, Any]) -> None:
        """Switches of the actors and of the API server together; a misspelt one changes none."""
        known = asdict(self.actor_faults)
        own = checked({name: value for name, value in changes.items() if name in known})
        self.kube.set_faults({name: value for name, value in changes.items() if name not in known})
        vars(self.actor_faults).update(own)
        self._made = 0 if "api_gone_after" in own else self._made
        for entry in self._workloads.known.values():
            entry.inside.wake()
            if WEATHER & set(own):
                entry.weather()
        self._director.wake_all()

    def describe(self) -> dict[str, Any]:
        """Where everything is, for people and tests: users' tokens, add-on labels, workload clusters."""
        clusters = {
            f"{namespace}/{name}": {
                "url": entry.kube.url, "up": entry.up, "nodes": entry.nodes(), "gpus": entry.gpus(),
            }
            for (namespace, name), entry in self._workloads.known.items()
        }  # fmt: skip
        labels = {name: f"{label}: {value}" for name, (label, value, _) in ADDONS.items()}
        users = {user: self.kube.token(user) for user in ("admin", "tkgbot", "nobody")}
        return {"url": self.url, "users": users, "addons": labels, "clusters": clusters}

    def _wake(self, place: tuple[str, str]) -> None:
        self._director.wake(place)

    def _count(self, change: Change) -> None:
        """For api_gone_after: objects that people made, not those of the actors."""
        limit, meta = self.actor_faults.api_gone_after, change.object["metadata"]
        if not limit or change.type != "ADDED" or meta["managedFields"][0]["manager"] == COMPONENT:
            return
        self._made += 1
        if self._made >= limit:
            self.kube.faults.unreachable = True


def _furnish(kube: KubeSandbox) -> None:
    """Namespaces, the controllers' own identity, add-ons, and the bot's rights."""
    objects = Objects(kube.store, "kubectl")
    for name in NAMESPACES:
        objects.make("namespaces", name, "")
    identities = "awsclustercontrolleridentities.infrastructure.cluster.x-k8s.io"
    objects.make(identities, "default", "", spec={"allowedNamespaces": {}})
    for name, (label, value, daemon) in ADDONS.items():
        objects.make("configmaps", name, "default", data={f"{name}.yaml": _manifest(daemon)})
        spec = {
            "clusterSelector": {"matchLabels": {label: value}},
            "strategy": "ApplyOnce",
            "resources": [{"kind": "ConfigMap", "name": name}],
        }
        objects.make("clusterresourcesets.addons.cluster.x-k8s.io", name, "default", spec=spec)
    folder = resources.files("manifests").joinpath("deploy", "base")
    for file in RIGHTS:
        for item in yaml.safe_load_all(folder.joinpath(file).read_text(encoding="utf-8")):
            meta, content = item["metadata"], {key: item[key] for key in ("rules", "roleRef") if key in item}
            if "subjects" in item:  # who runs outside of the cluster is a user there
                content["subjects"] = [{"apiGroup": RBAC, "kind": "User", "name": "tkgbot"}]
            objects.make(f"{item['kind'].lower()}s.{RBAC}", meta["name"], meta.get("namespace", ""), **content)


def _manifest(daemon: str) -> str:
    labels = {"app.kubernetes.io/name": daemon}
    container = {"name": daemon, "image": f"registry.k8s.io/{daemon}:sandbox"}
    spec = {"containers": [container], "hostNetwork": True, "tolerations": [{"operator": "Exists"}]}
    body = {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": daemon, "namespace": "kube-system", "labels": labels},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }
    return str(yaml.safe_dump(body, sort_keys=False))
