"""Waiting until a LoadBalancer service of a workload cluster has an address, and seeing where its load balancer is.

A service that gets none within `patience` is taken away again, and the cloud provider's own words are the reason: a
proof that failed leaves nothing behind. (kubernetes/cloud-provider-aws: event SyncLoadBalancerFailed, findELBSubnets.)
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import ConfigDict

from handlers.belongings import LoadBalancer, load_balancers
from handlers.clients.kube_errors import plain
from handlers.contract import Fatal, Json, KubeWrite, Observation, Outcome, RunWorld, Step
from handlers.kinds import EVENT, SERVICE
from handlers.network import cluster_key, subnets_by_id
from handlers.steps.apply import place

ENGINE = 10
"""The step gives up by itself, so whoever repeats it has to be more patient."""


class AwaitBalancerStep(Step):
    """Waits for the address of `service` in a namespace of a workload cluster (`cluster` is `NAMESPACE/NAME`), whose
    load balancer is in `account` and `region`. `patience` in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["await-balancer"] = "await-balancer"
    cluster: str
    namespace: str
    service: str
    account: str
    region: str
    patience: float


class AwaitBalancerExecutor:
    """Observes the service and AWS; there is nothing to apply."""

    def observe(self, step: AwaitBalancerStep, world: RunWorld) -> Observation:
        """So when the address is there and its load balancer stands in tagged subnets. Fatal when it stays away, after
        the service was taken away."""
        kube = place(step.cluster, world)
        service = kube.get(SERVICE, step.service, step.namespace)
        if service is None:
            raise Fatal(f"The service {step.service} is gone before it got an address.", "Ask for the proof once more.")
        host = address(service)
        if host:
            return self._placed(step, host, kube, world)
        said = _last_word(step, kube)
        age = world.now() - _created(service, world.now())
        if age > step.patience:
            kube.delete(SERVICE, step.service, step.namespace)
            raise Fatal(
                f"The service got no address in {age:.0f} s, and was taken away again. {said}",
                f"`/tkg subnet check {step.cluster.partition('/')[2]}` shows which subnets are tagged for it.",
            )
        evidence = f"The service waits for its address. {said}".strip()
        return Observation(so=False, evidence=evidence, progress=said, patience=ENGINE * step.patience)

    def apply(self, step: AwaitBalancerStep, world: RunWorld) -> Outcome:
        """Nothing is done: the cloud controller manager does it."""
        return Outcome(changed=True, evidence="The cloud controller manager is at work.")

    def _placed(self, step: AwaitBalancerStep, host: str, kube: KubeWrite, world: RunWorld) -> Observation:
        aws = world.aws(step.account, step.region)
        found: LoadBalancer | None = next((b for b in load_balancers(aws) if b.address == host), None)
        if found is None:
            evidence = f"The service has the address {host}; its load balancer is not to be seen in AWS yet."
            return Observation(so=False, evidence=evidence, progress=host, patience=step.patience)
        name = step.cluster.partition("/")[2]
        subnets = subnets_by_id(aws, found.subnets)
        foreign = [subnet.name for subnet in subnets if cluster_key(name) not in subnet.tags]
        if foreign:
            kube.delete(SERVICE, step.service, step.namespace)
            raise Fatal(
                f"The load balancer {found.name} was put into {', '.join(foreign)}, not tagged for {name}; the service "
                "was taken away again.",
                f"Tag the cluster's subnets: `/tkg subnet tag {name} …`.",
            )
        where = ", ".join(f"{subnet.name} ({subnet.zone})" for subnet in subnets)
        evidence = f"The service got {host}; its load balancer stands in {where}, tagged for {name}."
        return Observation(so=True, evidence=evidence)


def address(service: Json) -> str:
    """The host name or address that a load balancer gave a service; empty while there is none."""
    status: Any = service.get("status") or {}
    ingress = (status.get("loadBalancer") or {}).get("ingress") or [{}]
    return str(ingress[0].get("hostname") or ingress[0].get("ip") or "")


def _last_word(step: AwaitBalancerStep, kube: KubeWrite) -> str:
    events: list[Any] = [
        event
        for event in kube.pages(EVENT, step.namespace)
        if _about(event) == step.service and event.get("type") == "Warning"
    ]
    if not events:
        return ""
    newest = max(events, key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""))
    return f"The cloud provider said: {plain(str(newest.get('message', '')))}"


def _about(event: Json) -> str:
    about: Any = event.get("involvedObject") or {}
    return str(about.get("name", "")) if about.get("kind") == "Service" else ""


def _created(service: Json, now: float) -> float:
    meta: Any = service["metadata"]
    try:
        return datetime.fromisoformat(str(meta.get("creationTimestamp"))).timestamp()
    except ValueError:
        return now
