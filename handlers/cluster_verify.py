"""`cluster verify --loadbalancer`: proves what the tagging of subnets is for. A LoadBalancer service is made in the
cluster, gets its address from a load balancer in tagged subnets, and is taken away again."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator

from handlers.belongings import load_balancers
from handlers.cluster_reading import read_cluster
from handlers.cluster_seen import status_of
from handlers.contract import (
    Action,
    Arguments,
    Check,
    Fact,
    Fatal,
    Impact,
    Json,
    Operation,
    Plan,
    Positional,
    ReadWorld,
    Retry,
    Right,
    Step,
    Table,
)  # fmt: skip
from handlers.kinds import AWS_CLUSTER, NODE, SERVICE
from handlers.network import cluster_key, subnets_by_id
from handlers.steps.apply import CONFIG, ApplyStep
from handlers.steps.await_balancer import AwaitBalancerStep
from handlers.steps.remove import RemoveStep, Seen
from handlers.subnet_checks import blocks, counted, named, passes, warns
from handlers.subnet_scope import Where, enter
from handlers.words import AccountName, ClusterName, Namespace, Region

SERVICE_NAME, SERVICE_NAMESPACE = "tkgbot-proof", "default"
OWNER_TAG = "kubernetes.io/service-name"
"""The tag by which the cloud provider marks a load balancer with its service (NAMESPACE/NAME)."""
PATIENCE = 300.0
"""Seconds that a service may wait for its address."""
ELB = ("LoadBalancers", "Tags")


class VerifyArguments(Arguments):
    """Which cluster, and what of it."""

    cluster: Annotated[ClusterName, Positional()] = Field(description="The cluster.")
    loadbalancer: bool = Field(False, description="Prove that a LoadBalancer service gets its address.")
    namespace: Namespace = Field("default", description="Its namespace on the management cluster.")
    account: AccountName | None = Field(None, description="The AWS account that it is in, by its name in the settings.")
    region: Region | None = Field(None, description="The AWS region; the account's own when left out.")

    @model_validator(mode="after")
    def _says_what(self) -> VerifyArguments:
        if not self.loadbalancer:
            raise ValueError("does not say what to prove: add --loadbalancer")
        return self


class ClusterVerify(Operation[VerifyArguments]):
    """Makes a service, sees its load balancer, takes it away."""

    name = "cluster verify"
    summary = "Prove that a cluster's LoadBalancer services work"
    examples = ("cluster verify demo --loadbalancer", "cluster verify shop --loadbalancer --namespace platform")
    arguments = VerifyArguments

    def plan(self, arguments: VerifyArguments, world: ReadWorld) -> Plan:
        """Looks at the cluster, at its nodes and at the tags of its subnets."""
        where, right_account, aws = enter(arguments.account, arguments.region, world)
        found = read_cluster(world.management(), arguments.cluster, arguments.namespace)
        if found is None:
            fix = "`/tkg cluster list` shows those that there are."
            missing = f"There is no cluster {arguments.cluster} in {arguments.namespace}."
            return _plan(arguments, [right_account, blocks("cluster", "The cluster is there", missing, fix)], (), where)
        state = status_of(found, world.now())
        seen = [right_account, _running(arguments, state), _nodes(arguments, world)]
        seen.append(_subnets(arguments, world, aws))
        blocked = any(check.blocks for check in seen)
        return _plan(arguments, seen, () if blocked else _steps(arguments, where), where)

    def verify(self, arguments: VerifyArguments, plan: Plan, world: ReadWorld) -> list[Check]:
        """The proof itself is the step that saw the address; here, that nothing is left of it."""
        aws = world.aws(arguments.account or "", arguments.region or world.account(arguments.account or "").region)
        service = world.workload(arguments.namespace, arguments.cluster).get(SERVICE, SERVICE_NAME, SERVICE_NAMESPACE)
        mark = f"{SERVICE_NAMESPACE}/{SERVICE_NAME}"
        left = [
            balancer.name
            for balancer in load_balancers(aws)
            if balancer.tags.get(OWNER_TAG) == mark and cluster_key(arguments.cluster) in balancer.tags
        ]
        title, name = "Nothing left of the proof", "verify clean"
        if service is not None or left:
            what = ", ".join([*(["the service"] if service is not None else []), *left])
            return [blocks(name, title, f"Still there: {what}.", "The cloud controller manager takes it away.")]
        evidence = f"{arguments.cluster} got a load balancer in its tagged subnets; service and load balancer are gone."
        return [passes(name, title, evidence)]


def _plan(arguments: VerifyArguments, seen: list[Check], steps: tuple[Step, ...], where: Where) -> Plan:
    return Plan(
        headline=f"prove load balancers of {arguments.cluster}",
        checks=tuple(seen),
        facts=(Fact(name="cluster", value=f"{arguments.namespace}/{arguments.cluster}"),),
        targets=(f"cluster {arguments.cluster}",),
        steps=steps,
        impact=Impact(
            creates=(f"Service {SERVICE_NAME} and its load balancer, for minutes",) if steps else (),
            reversible=False,
            cost_per_hour_usd=None,
        ),
        details=Table(header=("Step", "What"), rows=tuple((str(n), step.title) for n, step in enumerate(steps, 1))),
    )


def _steps(arguments: VerifyArguments, where: Where) -> tuple[Step, ...]:
    key = f"{arguments.namespace}/{arguments.cluster}"
    target = (f"cluster {arguments.cluster}",)
    right = {"resource": SERVICE.resource, "namespace": SERVICE_NAMESPACE, "name": SERVICE_NAME, "cluster": key}
    place = {"account": where.account, "region": where.region}
    looks = ("ec2:DescribeSubnets", "ec2:DescribeRouteTables", *(f"elasticloadbalancing:Describe{w}" for w in ELB))
    return (
        ApplyStep(
            title=f"make the service `{SERVICE_NAME}` in {arguments.cluster}",
            targets=target,
            rights=tuple(Right(verb=verb, **right) for verb in ("create", "patch")),
            cluster=key,
            objects=(_service(),),
        ),
        AwaitBalancerStep(
            title="see its load balancer in tagged subnets",
            targets=target,
            actions=tuple(Action(name=name, **place) for name in looks),
            rights=(Right(verb="delete", **right),),
            cluster=key,
            namespace=SERVICE_NAMESPACE,
            service=SERVICE_NAME,
            patience=PATIENCE,
            **place,
        ),
        RemoveStep(
            title="take the service away again",
            targets=target,
            rights=(Right(verb="delete", **right),),
            cluster=key,
            objects=(Seen(resource=SERVICE.resource, namespace=SERVICE_NAMESPACE, name=SERVICE_NAME, uid=""),),
            patience=PATIENCE,
        ),
    )


def _service() -> Json:
    """It selects nothing: a load balancer needs no healthy target to be made."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": SERVICE_NAME, "namespace": SERVICE_NAMESPACE, "annotations": {CONFIG: "proof"}},
        "spec": {
            "type": "LoadBalancer",
            "selector": {"app": SERVICE_NAME},
            "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 80}],
        },
    }


def _running(arguments: VerifyArguments, state: str) -> Check:
    title = "The cluster runs"
    if state in ("running", "updating"):
        return passes("cluster", title, f"{arguments.cluster} is {state}.")
    evidence = f"{arguments.cluster} is {state}."
    return blocks("cluster", title, evidence, f"`/tkg cluster get {arguments.cluster}` shows what it waits for.")


def _nodes(arguments: VerifyArguments, world: ReadWorld) -> Check:
    """The cloud provider registers nodes behind the load balancer: without one there is nothing to balance."""
    title = "Its API answers"
    try:
        nodes = list(world.workload(arguments.namespace, arguments.cluster).pages(NODE))
    except (Fatal, Retry) as error:
        return Check(id="nodes", title=title, result="unknown", evidence=error.message, fix=error.hint)
    return passes("nodes", title, f"It has {len(nodes)} nodes.")


def _subnets(arguments: VerifyArguments, world: ReadWorld, aws: Any) -> Check:
    """A warning only: whether it works is what is to be proven."""
    title = "Its public subnets are tagged"
    found = world.management().get(AWS_CLUSTER, arguments.cluster, arguments.namespace) or {}
    spec: Any = found.get("spec") or {}
    ids = [
        str(entry.get("id") or entry.get("resourceID")) for entry in (spec.get("network") or {}).get("subnets") or []
    ]
    there = subnets_by_id(aws, [name for name in ids if name.startswith("subnet-")])
    public = [subnet for subnet in there if subnet.is_public]
    lacking = [named(subnet) for subnet in public if cluster_key(arguments.cluster) not in subnet.tags]
    if lacking or not public:
        evidence = f"Not tagged: {', '.join(lacking)}." if lacking else "It has no public subnet."
        return warns("subnets", title, evidence, f"`/tkg subnet tag {arguments.cluster} …`, or see the proof fail.")
    return passes("subnets", title, f"{counted(len(public))}.")


OPERATIONS = (ClusterVerify(),)
