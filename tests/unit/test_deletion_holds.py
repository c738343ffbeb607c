"""A deletion that hangs says what holds it, one sentence each, and goes on when that is mended; its end is true."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from handlers.cluster_objects import ClusterObjects
from handlers.contract import Observation, Plan
from handlers.deletion import NEVER, gone, holds, left
from handlers.kinds import AWS_CLUSTER, CLUSTER, CONTROLLER_IDENTITY, MACHINE, SERVICE
from tests.contract.server import wait_for
from tests.unit.clouds import CALLER, Cloud, key
from tests.unit.deletions import OWN_IDENTITY
from tests.unit.living import Living, by_id, caller_of, running_clusters

pytestmark = pytest.mark.long

Item = dict[str, Any]
DRAIN = "pre-drain.delete.hook.machine.cluster.x-k8s.io/backup"


# -- as the objects tell it --------------------------------------------------------------------------------------


def thing(kind: str, name: str = "demo", *, asked: bool = True, **more: Any) -> Item:
    """An object that has been asked to go. `annotations`, `labels`, `finalizers`, `spec`, `conditions`."""
    meta: Item = {"name": name, "namespace": "default"}
    meta |= {part: more[part] for part in ("annotations", "labels", "finalizers") if part in more}
    if asked:
        meta["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    status = {"conditions": more["conditions"]} if "conditions" in more else {}
    return {"kind": kind, "metadata": meta, "spec": more.get("spec", {}), "status": status}


def false(kind: str, reason: str, message: str = "") -> Item:
    """A condition of the older shape that is not so."""
    return {"type": kind, "status": "False", "severity": "Warning", "reason": reason, "message": message,
            "lastTransitionTime": "2026-01-01T00:01:00Z"}  # fmt: skip


def machine(name: str, *, plane: bool = False, **more: Any) -> Item:
    labels = {"cluster.x-k8s.io/control-plane": ""} if plane else {}
    return thing("Machine", name, labels=labels, **more)


def objects(**parts: Any) -> ClusterObjects:
    """A cluster that is being deleted."""
    made = {
        "cluster": thing("Cluster", finalizers=["cluster.cluster.x-k8s.io"]), "infrastructure": None,
        "control_plane": None, "deployments": (), "machines": (), "infrastructure_machines": (),
    }  # fmt: skip
    return ClusterObjects(**{**made, **parts})


def test_how_many_of_them_are_gone_already() -> None:
    """Of as many as the pools and the control plane want, where that is known and not less than there are."""
    pools = tuple(thing("MachineDeployment", f"demo-md-{n}", spec={"replicas": n}) for n in (1, 2))
    plane = thing("KubeadmControlPlane", spec={"replicas": 3})
    workers = tuple(machine(f"demo-md-{n}") for n in "abcd")
    planes = (machine("demo-cp-a", plane=True), machine("demo-cp-b", plane=True))

    def going(count: int) -> str:
        return left(objects(control_plane=plane, deployments=pools, machines=(*workers[:count], *planes)))

    assert going(4) == "demo is going: 4 workers are left", "one more, of an update"
    assert going(3) == "demo is going: 3 workers are left"
    assert going(2) == "demo is going: 1 of 3 workers is gone"
    assert going(1) == "demo is going: 2 of 3 workers are gone"
    assert going(0) == "demo is going: 3 of 3 workers are gone"
    assert left(objects(control_plane=plane, machines=planes)) == (
        "demo is going: 1 of 3 control plane machines is gone"
    )


def test_what_is_gone_is_told_in_order() -> None:
    infra, plane = thing("AWSCluster"), thing("KubeadmControlPlane")
    both = (machine("demo-md-0"), machine("demo-cp", plane=True))
    deployment = thing("MachineDeployment")
    whole = objects(infrastructure=infra, control_plane=plane, deployments=(deployment,), machines=both)
    assert (gone(whole), left(whole)) == ((), "demo is going: 1 worker is left")
    later = objects(infrastructure=infra, control_plane=plane, machines=both[1:])
    assert (gone(later), left(later)) == (("The workers are gone.",), "demo is going: 1 control plane machine is left")
    infra = thing("AWSCluster", conditions=[false("LoadBalancerReady", "Deleted")])
    later = objects(infrastructure=infra)
    assert gone(later) == (
        "The workers are gone.", "The control plane is gone.", "The load balancer of its API server is gone.",
    )  # fmt: skip
    assert left(later) == "demo is going: its load balancer and security groups are left"
    last = objects()
    assert gone(last)[-1] == "The load balancer of its API server and the security groups are gone."
    assert left(last) == "demo is going: only the Cluster object is left"


@pytest.mark.parametrize("how", ["spec", "annotation", "machine"])
def test_paused(how: str) -> None:
    found = {
        "spec": objects(cluster=thing("Cluster", spec={"paused": True})),
        "annotation": objects(infrastructure=thing("AWSCluster", annotations={"cluster.x-k8s.io/paused": ""})),
        "machine": objects(machines=(machine("demo-a", annotations={"cluster.x-k8s.io/paused": "true"}),)),
    }[how]
    hold = holds(found)[0]
    who = {"spec": "Cluster demo", "annotation": "AWSCluster demo", "machine": "Machine demo-a"}[how]
    assert hold.sentence == f"{who} is paused, so its controllers do nothing, and take nothing away."
    assert ("spec.paused" if how == "spec" else "cluster.x-k8s.io/paused") in hold.fix


@pytest.mark.parametrize("stage", ["pre-drain", "pre-terminate"])
def test_a_hook_names_who_set_it(stage: str) -> None:
    name = f"{stage}.delete.hook.machine.cluster.x-k8s.io/backup"
    (hold, *_rest) = holds(objects(machines=(machine("demo-a", annotations={name: "velero"}),)))
    when = {"pre-drain": "before its node is drained", "pre-terminate": "before its instance is ended"}[stage]
    assert hold.sentence == f"Machine demo-a is held {when} by the hook `{name}`, which velero has set."
    assert hold.fix == "velero has to take off that annotation when its work is done."
    waits = holds(objects(machines=(machine("demo-a", asked=False, annotations={name: "velero"}),)))
    assert not any("hook" in one.sentence for one in waits), "nobody has asked that machine to go yet"


def test_credentials_that_cannot_be_had() -> None:
    infra = thing("AWSCluster", conditions=[false("PrincipalCredentialRetrieved", "Failed", "AccessDenied: no")])
    (hold, *_rest) = holds(objects(infrastructure=infra))
    assert hold.sentence == "The provider cannot get into the AWS account (Failed): AccessDenied: no."
    (hold, *_rest) = holds(objects(infrastructure=infra), identity_missing="AWSClusterRoleIdentity prod")
    assert "The identity AWSClusterRoleIdentity prod" in hold.sentence
    assert "Make it anew, with the same name" in hold.fix
    assert hold.since == 1767225660.0


def test_aws_words_are_quoted_once_with_what_they_are_about() -> None:
    words = "DependencyViolation: resource sg-0a1b2c has a dependent object\n\tstatus code: 400, request id: 1-2"
    infra = thing("AWSCluster", conditions=[false("ClusterSecurityGroupsReady", "DeletingFailed", words),
                                            false("Ready", "DeletingFailed", words)])  # fmt: skip
    found = [one for one in holds(objects(infrastructure=infra)) if "AWS does not let" in one.sentence]
    assert [(one.resource, one.sentence) for one in found] == [(
        "sg-0a1b2c",
        "AWS does not let AWSCluster demo go: “DependencyViolation: resource sg-0a1b2c has a dependent object”.",
    )]  # fmt: skip


def test_finalizers_are_named_and_never_taken_off() -> None:
    infra = thing("AWSCluster", finalizers=["awscluster.infrastructure.cluster.x-k8s.io"])
    hold = holds(objects(infrastructure=infra))[-1]
    assert hold.sentence == "AWSCluster demo has the finalizer awscluster.infrastructure.cluster.x-k8s.io."
    assert NEVER in hold.fix
    hold = holds(objects())[-1]
    assert hold.sentence == "Cluster demo has the finalizer cluster.cluster.x-k8s.io."


# -- with controllers that work ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def living(standing_cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Living]:
    with running_clusters(standing_cloud, tmp_path_factory.mktemp("living")) as made:
        yield made


@pytest.fixture
def stuck(living: Living) -> Iterator[Callable[[], Plan]]:
    """A cluster, and its deletion planned by whoever calls it."""
    living.calm()
    living.create("stuck")
    yield lambda: living.plan("cluster delete", "stuck")
    living.calm()
    if living.kube.find(CLUSTER, "stuck"):
        living.kube.drop(CLUSTER, "stuck")
        wait_for(lambda: living.kube.find(CLUSTER, "stuck") is None, "the cluster gone")
    living.cloud.clear_tags()


def begun(living: Living, plan: Plan) -> tuple[dict[str, Any], Callable[[], Observation]]:
    """Asks for the deletion; the step, and how to look at it with its own rights."""
    step, caller = plan.steps[0].model_dump(mode="json"), caller_of(plan)
    assert living.shop.act(step, caller).changed
    return step, lambda: living.shop.observe(step, caller)


def told(look: Callable[[], Observation], words: str) -> Observation:
    """What was seen, once it says these words in the thread."""
    seen: list[Observation] = []

    def said() -> bool:
        seen.append(look())
        return any(words in sentence for sentence in seen[-1].reached)

    wait_for(said, words)
    assert not seen[-1].so
    return seen[-1]


def ends(living: Living, look: Callable[[], Observation]) -> Observation:
    """How it ends."""
    seen: list[Observation] = []

    def so() -> bool:
        seen.append(look())
        return seen[-1].so

    wait_for(so, "the deletion to end")
    return seen[-1]


def expose(living: Living) -> str:
    """A LoadBalancer service in the cluster; its load balancer's name."""
    workload = living.workload("stuck")
    spec = {"type": "LoadBalancer", "ports": [{"port": 80, "protocol": "TCP"}]}
    workload.put(
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "default"}, "spec": spec}
    )

    def host() -> str:
        found = workload.find(SERVICE, "web") or {}
        ingress = found.get("status", {}).get("loadBalancer", {}).get("ingress") or [{}]
        return str(ingress[0].get("hostname", ""))

    wait_for(lambda: bool(host()), "the load balancer")
    return host().partition(".")[0]


def test_a_load_balancer_that_holds_a_security_group_is_named(living: Living, stuck: Callable[[], Plan]) -> None:
    """Made after the last look; the provider does not clean up."""
    plan = stuck()
    name = expose(living)
    living.faults(no_garbage_collection=True)
    _step, look = begun(living, plan)
    seen = told(look, "DependencyViolation")
    (sentence,) = [one for one in seen.reached if "DependencyViolation" in one]
    assert sentence.startswith("AWS does not let AWSCluster stuck go: “DependencyViolation: resource sg-")
    assert f"of the load balancer {name})" in sentence
    assert re.search(r" uses? sg-[0-9a-f]+\. Delete what they belong to", sentence)
    assert {
        "The workers are gone.",
        "The control plane is gone.",
        "The load balancer of its API server is gone.",
    } <= set(seen.reached)
    assert NEVER in seen.evidence
    assert NEVER not in " ".join(seen.reached), "nobody has to read that while it may go on by itself"
    assert seen.evidence.startswith("stuck is going: its load balancer and security groups are left. ")
    living.cloud.admin("elb").delete_load_balancer(LoadBalancerName=name)
    assert ends(living, look).evidence == "Cluster stuck is gone, and what belonged to it."


def test_the_provider_takes_along_what_services_left(living: Living, stuck: Callable[[], Plan]) -> None:
    plan = stuck()
    name = expose(living)
    _step, look = begun(living, plan)
    ends(living, look)
    balancers = living.cloud.admin("elb").describe_load_balancers()["LoadBalancerDescriptions"]
    assert name not in [entry["LoadBalancerName"] for entry in balancers]


def test_an_identity_that_is_gone_is_made_anew_and_it_goes_on(living: Living, stuck: Callable[[], Plan]) -> None:
    plan = stuck()
    living.kube.drop(CONTROLLER_IDENTITY, "default")
    try:
        _step, look = begun(living, plan)
        seen = told(look, "AWSClusterControllerIdentity default")
        assert "by which the provider gets into the AWS account, is not there any more" in " ".join(seen.reached)
    finally:
        living.kube.put(OWN_IDENTITY)
    assert ends(living, look).so


def test_a_hook_on_a_machine_holds_it_until_it_is_taken_off(living: Living, stuck: Callable[[], Plan]) -> None:
    plan = stuck()
    machines = living.kube.call(lambda: living.kube.sandbox.store.list(MACHINE.resource, "default"))
    name = next(item["metadata"]["name"] for item in machines if "-md-" in item["metadata"]["name"])
    living.kube.change(MACHINE, name, {"metadata": {"annotations": {DRAIN: "backup-operator"}}})
    _step, look = begun(living, plan)
    seen = told(look, DRAIN)
    assert seen.evidence.startswith("stuck is going: 1 worker is left. ")
    assert (
        f"Machine {name} is held before its node is drained by the hook `{DRAIN}`, which backup-operator has set."
        in (seen.evidence)
    )
    living.kube.change(MACHINE, name, {"metadata": {"annotations": {DRAIN: None}}})
    assert ends(living, look).so


def test_a_cluster_that_is_paused_meanwhile_hangs_and_says_so(living: Living, stuck: Callable[[], Plan]) -> None:
    plan = stuck()
    living.kube.change(CLUSTER, "stuck", {"spec": {"paused": True}})
    _step, look = begun(living, plan)
    seen = told(look, "Cluster stuck is paused")
    assert seen.patience == 20
    assert look().progress == seen.progress, "it stands still"
    living.kube.change(CLUSTER, "stuck", {"spec": {"paused": False}})
    assert ends(living, look).so


def test_what_was_begun_by_hand_is_followed_to_its_end(living: Living, stuck: Callable[[], Plan]) -> None:
    living.faults(pace=0.3)
    living.kube.drop(CLUSTER, "stuck")
    plan = stuck()
    checks = by_id(plan.checks)
    assert (checks["begun"].result, plan.blocked) == ("warn", False)
    step, caller = plan.steps[0].model_dump(mode="json"), caller_of(plan)
    outcome = living.shop.act(step, caller)
    assert outcome.changed is False
    assert living.until_so(plan, 0).so
    assert living.proof("cluster delete", plan, "stuck")["verify gone"].result == "pass"


def test_a_cluster_that_comes_back_meanwhile_is_told_of_and_not_touched(
    living: Living, stuck: Callable[[], Plan]
) -> None:
    plan = stuck()
    _step, look = begun(living, plan)
    ends(living, look)
    living.faults(pace=0.3)
    living.begin("stuck")
    seen = look()
    assert seen.so
    assert seen.reached == (seen.evidence,)
    assert seen.evidence.startswith(
        "The Cluster stuck that was approved is gone; there is another one of that name, made 20"
    )
    proof = living.proof("cluster delete", plan, "stuck")
    assert proof["verify gone"].result == "pass"
    assert "cannot be told from what the new one has" in proof["verify gone"].evidence
    stored = living.kube.find(CLUSTER, "stuck")
    assert stored is not None
    assert "deletionTimestamp" not in stored["metadata"]
    arguments = {"cluster": "stuck", "namespace": "default", "account": "management", "region": "us-east-1"}
    assert living.shop.follow_up("cluster delete", arguments, plan, CALLER) == ()


def test_what_is_left_is_offered_as_a_cleanup(living: Living, stuck: Callable[[], Plan]) -> None:
    ec2 = living.cloud.admin("ec2")
    plan = stuck()
    tags = [{"ResourceType": "volume", "Tags": [{"Key": key("stuck"), "Value": "owned"}]}]
    name = ec2.create_volume(AvailabilityZone="us-east-1a", Size=10, VolumeType="gp3", TagSpecifications=tags)[
        "VolumeId"
    ]
    _step, look = begun(living, plan)
    ends(living, look)
    arguments = {"cluster": "stuck", "namespace": "default", "account": "management", "region": "us-east-1"}
    (offer,) = living.shop.follow_up("cluster delete", arguments, plan, CALLER)
    assert (offer.operation, offer.arguments["volumes"]) == ("cluster cleanup", False)
    assert "a tag on" in offer.title
    evidence = living.proof("cluster delete", plan, "stuck")["verify leftovers"].evidence
    assert evidence.startswith("In AWS stuck left 1 volume (10 GiB) and a tag on ")
    cleanup = living.plan("cluster cleanup", "stuck", volumes=True)
    living.run(cleanup)
    assert living.shop.follow_up("cluster delete", arguments, plan, CALLER) == ()
    assert not ec2.describe_volumes(Filters=[{"Name": "volume-id", "Values": [name]}])["Volumes"]
    assert AWS_CLUSTER.name == "AWSCluster"
