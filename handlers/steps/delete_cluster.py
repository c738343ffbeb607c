"""A Cluster object, deleted, and followed until everything of it is gone.

Only the Cluster is asked to go, with its uid as precondition; the controllers take away the rest in their order. What
holds it up is said in the thread once it has lasted, and the run goes on by itself when it is mended.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from pydantic import ConfigDict

from handlers.clients.aws_errors import Denied
from handlers.cluster_objects import ClusterObjects
from handlers.cluster_reading import read_cluster
from handlers.conditions import created, is_deleted, text
from handlers.contract import AwsRefused, Fatal, KubeRead, KubeRefused, Observation, Outcome, RunWorld, Step
from handlers.deletion import Hold, gone, holds, identity_of, left
from handlers.kinds import BY_NAME, CLUSTER, INFRA
from handlers.machine_causes import progress
from handlers.time_box import moment

SHOWN = 3
OWNER = "Delete what they belong to (a load balancer: with its Service); then the deletion goes on by itself."


class DeleteClusterStep(Step):
    """Deletes the Cluster that has `uid`, and waits until it is gone. `account` and `region` are where its machines
    are; `patience` says for how long nothing may move, `grace` for how long something may hold it before that is told
    (seconds)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["delete-cluster"] = "delete-cluster"
    namespace: str
    cluster: str
    uid: str
    account: str
    region: str
    patience: float
    grace: float


class DeleteClusterExecutor:
    """Observes by reading what is left, applies by one DELETE."""

    def observe(self, step: DeleteClusterStep, world: RunWorld) -> Observation:
        """So when that very Cluster is gone; another one of its name is told of, and left alone."""
        kube = world.management()
        found = read_cluster(kube, step.cluster, step.namespace)
        if found is None:
            return Observation(so=True, evidence=f"Cluster {step.cluster} is gone, and what belonged to it.")
        if uid_of(found) != step.uid:
            said = came_back(found, world.now())
            return Observation(so=True, evidence=said, reached=(said,))
        if not is_deleted(found.cluster):
            return Observation(so=False, evidence=f"Cluster {step.cluster} has not been asked to go yet.")
        seen = self._holds(step, found, kube, world)
        lasting = [hold for hold in seen[:-1] if hold.since is None or hold.since <= world.now() - step.grace]
        told = tuple(f"{hold.sentence} {hold.fix}" for hold in lasting)
        why = " ".join(f"{hold.sentence} {hold.fix}" for hold in seen)
        return Observation(
            so=False,
            evidence=f"{left(found)}. {why}".strip(),
            progress=progress(found),
            patience=step.patience,
            reached=(*gone(found), *told),
        )

    def apply(self, step: DeleteClusterStep, world: RunWorld) -> Outcome:
        """Asks for the deletion, where nobody has yet."""
        kube = world.management()
        cluster = kube.get(CLUSTER, step.cluster, step.namespace)
        if cluster is None or text(cluster, "metadata", "uid") != step.uid:
            return Outcome(changed=False, evidence=f"The Cluster {step.cluster} that was approved was gone already.")
        if is_deleted(cluster):
            return Outcome(changed=False, evidence=f"Cluster {step.cluster} was being deleted already.")
        try:
            kube.delete(CLUSTER, step.cluster, step.namespace, step.uid)
        except KubeRefused as error:
            raise Fatal(error.message, error.hint) from error
        return Outcome(changed=True, evidence=f"Asked to delete Cluster {step.cluster}.")

    def _holds(
        self, step: DeleteClusterStep, found: ClusterObjects, kube: KubeRead, world: RunWorld
    ) -> tuple[Hold, ...]:
        """What holds it; the last one are the finalizers, which say nothing new to anybody who waits."""
        seen = holds(found, identity_missing=missing_identity(found, kube))
        return tuple(self._with_owners(step, hold, world) for hold in seen)

    def _with_owners(self, step: DeleteClusterStep, hold: Hold, world: RunWorld) -> Hold:
        """Whose network interfaces use what AWS does not let go."""
        name = {"sg": "group-id", "subnet": "subnet-id"}.get(hold.resource.partition("-")[0])
        if name is None:
            return hold
        filters = [{"Name": name, "Values": [hold.resource]}]
        try:
            aws = world.aws(step.account, step.region)
            cards = list(aws.pages("ec2", "describe_network_interfaces", "NetworkInterfaces", Filters=filters))
        except (Denied, AwsRefused) as error:
            return replace(hold, sentence=f"{hold.sentence} What uses it could not be looked up: {error.message}")
        if not cards:
            why = f"No network interface uses {hold.resource}: a rule of another security group may name it."
            return replace(hold, sentence=f"{hold.sentence} {why}", fix="Find that rule in EC2, and take it away.")
        words = [f"{card['NetworkInterfaceId']} ({_owner(card)})" for card in cards[:SHOWN]]
        more = f" and {len(cards) - SHOWN} more" if len(cards) > SHOWN else ""
        verb = "uses" if len(cards) == 1 else "use"
        why = f"The network interface{'s' * (len(cards) != 1)} {', '.join(words)}{more} {verb} {hold.resource}."
        return replace(hold, sentence=f"{hold.sentence} {why}", fix=OWNER)


def _owner(card: object) -> str:
    """`ELB name` is how the interfaces of a load balancer are described."""
    about = text(card, "Description")
    if about.startswith("ELB "):
        return f"of the load balancer {about.removeprefix('ELB ')}"
    return (
        f"“{about}”" if about else f"of {text(card, 'Attachment', 'InstanceId') or 'somebody who did not describe it'}"
    )


def missing_identity(found: ClusterObjects, kube: KubeRead) -> str:
    """The identity that its AWSCluster uses, where it is not there; nothing also where that cannot be told."""
    if found.infrastructure is None:
        return ""
    kind, name = identity_of(found.infrastructure)
    known = BY_NAME.get((INFRA, kind))
    try:
        return f"{kind} {name}" if known is not None and kube.get(known, name) is None else ""
    except Fatal:
        return ""


def uid_of(found: ClusterObjects) -> str:
    """Of the Cluster object."""
    return text(found.cluster, "metadata", "uid")


def came_back(found: ClusterObjects, now: float) -> str:
    """That somebody made the cluster anew meanwhile."""
    when = created(found.cluster)
    made = f"made {moment(when, now)}" if when is not None else "made meanwhile"
    return (
        f"The Cluster {found.name} that was approved is gone; there is another one of that name, {made}, which is not "
        "touched."
    )
