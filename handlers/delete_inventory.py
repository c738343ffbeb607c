"""What a cluster has inside that outlives it or holds it: LoadBalancer services and volumes, asked of the cluster
itself. A cluster that never came up cannot be asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from handlers.conditions import Object, name_of, objects_at, text
from handlers.contract import Fatal, Json, KubeRead, ReadWorld, Retry
from handlers.kinds import PERSISTENT_VOLUME, SERVICE

EBS = "ebs.csi.aws.com"


@dataclass(frozen=True)
class Service:
    """A Service of type LoadBalancer. `host` is its load balancer's name, empty while it has none."""

    namespace: str
    name: str
    host: str

    @property
    def called(self) -> str:
        """`shop/web (a1b2.elb.amazonaws.com)`."""
        return f"{self.namespace}/{self.name}" + (f" ({self.host})" if self.host else " (no load balancer yet)")


@dataclass(frozen=True)
class Volume:
    """A PersistentVolume. `id` is the EBS volume, empty where it is none; `claim` is `NAMESPACE/NAME`."""

    name: str
    claim: str
    size: str
    policy: str
    id: str

    @property
    def called(self) -> str:
        """`shop/data (10Gi, Retain, vol-1)`."""
        return f"{self.claim or self.name} ({', '.join(part for part in (self.size, self.policy, self.id) if part)})"


@dataclass(frozen=True)
class Inventory:
    """What was found inside; `unasked` says why the cluster could not be asked, and then nothing is known."""

    services: tuple[Service, ...] = ()
    volumes: tuple[Volume, ...] = ()
    unasked: str = ""


def inventory(namespace: str, cluster: str, world: ReadWorld) -> Inventory:
    """Asks the cluster."""
    try:
        kube = world.workload(namespace, cluster)
        return Inventory(_services(kube), _volumes(kube))
    except (Fatal, Retry) as error:
        return Inventory(unasked=error.message)


def _services(kube: KubeRead) -> tuple[Service, ...]:
    found = [item for item in kube.pages(SERVICE) if text(item, "spec", "type") == "LoadBalancer"]
    return tuple(Service(text(item, "metadata", "namespace"), name_of(item), _host(item)) for item in found)


def _host(service: Json) -> str:
    ingress = objects_at(service, "status", "loadBalancer", "ingress")
    return next((text(entry, "hostname") or text(entry, "ip") for entry in ingress), "")


def _volumes(kube: KubeRead) -> tuple[Volume, ...]:
    return tuple(_volume(item) for item in kube.pages(PERSISTENT_VOLUME))


def _volume(item: Json) -> Volume:
    claim = text(item, "spec", "claimRef", "namespace"), text(item, "spec", "claimRef", "name")
    return Volume(
        name=name_of(item),
        claim="/".join(claim) if all(claim) else "",
        size=text(item, "spec", "capacity", "storage"),
        policy=text(item, "spec", "persistentVolumeReclaimPolicy") or "Retain",
        id=_ebs(item),
    )


def _ebs(item: Object) -> str:
    """The volume's id, of the CSI driver and of the older in-tree one (`aws://us-east-1a/vol-1`)."""
    if text(item, "spec", "csi", "driver") == EBS:
        return text(item, "spec", "csi", "volumeHandle")
    return text(item, "spec", "awsElasticBlockStore", "volumeID").rpartition("/")[2]


def policies(found: Inventory) -> Mapping[str, str]:
    """By EBS volume, what its PersistentVolume says is to become of it."""
    return {volume.id: volume.policy for volume in found.volumes if volume.id}
