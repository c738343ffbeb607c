"""The tree of `cluster get`, and the one sentence that tells why a cluster is not ready."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from handlers.cluster_objects import ClusterObjects
from handlers.cluster_tree import HEADER, TreeRow, rows, short, table, why
from tests.unit import seen_clusters as made
from tests.unit.seen_clusters import GENERATIONS, NEW, NOW, OLD, changed, condition, whole

each_generation = pytest.mark.parametrize("generation", GENERATIONS)


def labels(objects: ClusterObjects) -> list[str]:
    return [row.label for row in rows(objects, NOW)]


def line(objects: ClusterObjects, label: str) -> TreeRow:
    """The one row with that label, wherever it hangs."""
    (found,) = [row for row in rows(objects, NOW) if row.label.lstrip(" │├└─") == label]
    return found


def with_machine(objects: ClusterObjects, place: int, machine: dict[str, Any], below: dict[str, Any]) -> ClusterObjects:
    """The machine at a place, and its infrastructure, replaced."""
    machines, infrastructure = list(objects.machines), list(objects.infrastructure_machines)
    machines[place], infrastructure[place] = machine, below
    return replace(objects, machines=tuple(machines), infrastructure_machines=tuple(infrastructure))


def waiting(generation: str, name: str, owner: str = "", phase: str = "Provisioning") -> dict[str, Any]:
    """A machine whose instance is not there."""
    machine = made.machine(generation, name, owner, phase=phase)
    told = (
        condition("Ready", "False", "InstanceProvisionFailed", "1 of 2 completed", "Error")
        if generation == OLD
        else condition("Ready", "False", "NotReady", "* InfrastructureReady: 0 of 2 completed")
    )
    return changed(machine, "status", "conditions", value=[told])


def no_quota(generation: str, count: int = 2) -> ClusterObjects:
    objects = whole(generation, deployments=(made.deployment(generation, count, 0, 0),))
    names = [f"demo-md-0-{letter}" for letter in "pqrstuvw"[:count]]
    return replace(
        objects,
        machines=(*objects.machines[:3], *(waiting(generation, name, "demo-md-0") for name in names)),
        infrastructure_machines=(*objects.infrastructure_machines[:3], *map(made.refused, names)),
    )


# -- the tree ----------------------------------------------------------------------------------------------------


@each_generation
def test_a_cluster_as_it_should_be(generation: str) -> None:
    assert labels(whole(generation)) == [
        "Cluster/demo",
        "├─ClusterInfrastructure - AWSCluster/demo",
        "├─ControlPlane - KubeadmControlPlane/demo-control-plane",
        "│ └─3 Machines...",
        "└─Workers",
        "  └─MachineDeployment/demo-md-0",
        "    └─2 Machines...",
    ]
    group = line(whole(generation), "3 Machines...")
    assert (group.ready, group.since) == ("True", "73m")
    assert group.message == "See demo-control-plane-a, demo-control-plane-b, demo-control-plane-c"
    assert line(whole(generation), "MachineDeployment/demo-md-0").message == "2/2 ready"


def test_table_has_the_rows_under_its_header() -> None:
    found = table(whole(NEW), NOW)
    assert found.header == HEADER
    assert found.rows[1] == ("True", "├─ClusterInfrastructure - AWSCluster/demo", "", "73m", "")
    assert found.rows[4] == ("", "└─Workers", "", "", "")


@each_generation
def test_the_condition_that_sums_up_by_generation(generation: str) -> None:
    cluster = made.cluster(generation)
    cluster["status"]["conditions"] = [
        condition("Available", "False", "NotAvailable", "* WorkersAvailable: demo-md-0: 0 available\n* another"),
        condition("Ready", "False", "ScalingUp", "Scaling up", "Warning"),
    ]
    found = line(whole(generation, cluster=cluster), "Cluster/demo")
    if generation == OLD:
        assert (found.ready, found.severity, found.reason) == ("False", "Warning", "ScalingUp")
    else:
        assert (found.ready, found.severity, found.reason) == ("False", "", "NotAvailable")
        assert found.message == "* WorkersAvailable: demo-md-0: 0 available * another"


@each_generation
def test_refused_machines_are_one_row_with_aws_words_below(generation: str) -> None:
    found = [row for row in rows(no_quota(generation, 5), NOW) if "Machine" in row.label][-2:]
    assert [row.label for row in found] == [
        "    └─5 Machines...",
        "      └─MachineInfrastructure - AWSMachine/demo-md-0-p",
    ]
    assert found[0].message == "See demo-md-0-p, demo-md-0-q, demo-md-0-r, ..."
    assert (found[1].ready, found[1].severity, found[1].reason) == ("False", "Error", "InstanceProvisionFailed")
    assert found[1].message.startswith("VcpuLimitExceeded: You have requested more vCPU capacity")
    assert len(found[1].message) <= 100


@each_generation
def test_machines_that_aws_refused_for_different_causes_are_not_equal(generation: str) -> None:
    objects = no_quota(generation, 3)
    other = made.refused("demo-md-0-q", "InvalidKeyPair.NotFound: The key pair 'ops' does not exist")
    objects = with_machine(objects, 4, dict(objects.machines[4]), other)
    assert [label.lstrip() for label in labels(objects)[-4:]] == [
        "├─2 Machines...", "│ └─MachineInfrastructure - AWSMachine/demo-md-0-p",
        "└─Machine/demo-md-0-q", "└─MachineInfrastructure - AWSMachine/demo-md-0-q",
    ]  # fmt: skip


@each_generation
def test_one_machine_that_differs_stands_alone(generation: str) -> None:
    name = "demo-control-plane-b"
    objects = with_machine(whole(generation), 1, waiting(generation, name), made.refused(name))
    assert labels(objects)[3:6] == [
        "│ ├─2 Machines...",
        "│ └─Machine/demo-control-plane-b",
        "│   └─MachineInfrastructure - AWSMachine/demo-control-plane-b",
    ]
    assert rows(objects, NOW)[3].message == "See demo-control-plane-a, demo-control-plane-c"


def test_infrastructure_that_only_repeats_its_machine_is_left_out() -> None:
    name = "demo-control-plane-a"
    said = condition("Ready", "False", "WaitingForBootstrapData", "", "Info")
    machine = changed(made.machine(OLD, name, phase="Pending"), "status", "conditions", value=[said])
    same = with_machine(whole(OLD), 0, machine, made.aws_machine(name, said))
    assert not [label for label in labels(same) if "AWSMachine" in label]
    other = made.aws_machine(name, condition("Ready", "False", "WaitingForClusterInfrastructure", "", "Info"))
    assert [label for label in labels(with_machine(whole(OLD), 0, machine, other)) if "AWSMachine" in label]


def test_ready_infrastructure_is_left_out_even_when_its_machine_is_not() -> None:
    name = "demo-control-plane-a"
    objects = with_machine(whole(NEW), 0, waiting(NEW, name), made.aws_machine(name))
    assert not [label for label in labels(objects) if "AWSMachine" in label]


def test_network_shows_the_condition_behind_its_summary() -> None:
    steps = [
        condition("VpcReady", "True"),
        condition("LoadBalancerReady", "False", "WaitForDNSName", "", "Info"),
        condition("SubnetsReady", "False", "SubnetsReconciliationFailed", "no subnets specified", "Error"),
        condition("Ready", "False", "SubnetsReconciliationFailed", "1 of 5 completed", "Error"),
    ]
    found = line(whole(NEW, infrastructure=made.aws_cluster(*steps)), "ClusterInfrastructure - AWSCluster/demo")
    assert (found.severity, found.reason) == ("Error", "SubnetsReconciliationFailed")
    assert found.message == "no subnets specified"


def test_machines_of_nobody() -> None:
    objects = whole(OLD)
    stray = made.machine(OLD, "stray", "gone-md")
    assert labels(replace(objects, machines=(*objects.machines, stray)))[-3:] == [
        "│   └─2 Machines...", "└─Other", "  └─Machine/stray",
    ]  # fmt: skip
    without = whole(OLD, control_plane=None)
    assert labels(without)[-2:] == ["└─Other", "  └─3 Machines..."]


def test_what_could_not_be_read_is_said() -> None:
    found = rows(whole(NEW, deployments=(), unread=("MachineDeployment",)), NOW)[-1]
    assert (found.label, found.ready, found.message) == ("└─MachineDeployment", "Unknown", "Could not be read.")


def test_without_conditions_the_phase_is_shown() -> None:
    assert line(made.beginning(NEW), "Cluster/demo").message == "Provisioning"


def test_a_machine_that_goes_is_no_equal_of_those_that_stay() -> None:
    objects = whole(NEW)
    gone = changed(dict(objects.machines[4]), "metadata", "deletionTimestamp", value=made.STAMP)
    objects = replace(objects, machines=(*objects.machines[:4], gone))
    assert line(objects, "Machine/demo-md-0-y").message.startswith("Being deleted.")


def test_two_pools_are_in_the_order_of_their_names() -> None:
    pools = tuple(made.deployment(NEW, 0, 0, 0, name=f"demo-md-{number}") for number in (1, 0))
    objects = whole(NEW, deployments=pools, machines=())
    assert labels(objects)[-3:] == ["└─Workers", "  ├─MachineDeployment/demo-md-0", "  └─MachineDeployment/demo-md-1"]


def test_a_machine_that_is_to_be_replaced_is_no_equal_of_the_new_ones() -> None:
    objects = whole(NEW)
    late = dict(objects.machines[0])
    told = [*late["status"]["conditions"], condition("UpToDate", "False", "NotUpToDate")]
    objects = replace(objects, machines=(changed(late, "status", "conditions", value=told), *objects.machines[1:]))
    assert labels(objects)[3:5] == ["│ ├─Machine/demo-control-plane-a", "│ └─2 Machines..."]


def test_machines_without_conditions_are_equal_when_their_phase_is() -> None:
    machines = [
        made.machine(NEW, name, phase=phase) for name, phase in zip("abc", ["Pending", "Failed", "Failed"], strict=True)
    ]
    objects = whole(NEW, machines=tuple(machines), infrastructure_machines=())
    assert labels(objects)[3:5] == ["│ ├─Machine/a", "│ └─2 Machines..."]
    assert line(objects, "Machine/a").message == "Pending"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "0s"), (0, "0s"), (45.9, "45s"), (119, "119s"), (120, "2m"), (192, "3m12s"), (600, "10m"), (630, "10m"),
        (10_799, "179m"), (10_800, "3h"), (11_100, "3h5m"), (28_800, "8h"), (172_799, "47h"), (172_800, "2d"),
        (180_000, "2d2h"), (691_200, "8d"), (63_071_999, "729d"), (63_072_000, "2y"), (63_158_400, "2y1d"),
        (252_288_000, "8y"),
    ],
)  # fmt: skip
def test_short_form_of_a_length_of_time(seconds: float, words: str) -> None:
    assert short(seconds) == words


# -- why: network ------------------------------------------------------------------------------------------------


@each_generation
def test_nothing_to_say_of_a_cluster_that_runs(generation: str) -> None:
    assert why(whole(generation), NOW) is None


NETWORK_ORDER = [
    "PrincipalUsageAllowed",
    "PrincipalCredentialRetrieved",
    "VpcReady",
    "SubnetsReady",
    "InternetGatewayReady",
    "NatGatewaysReady",
    "RouteTablesReady",
    "ClusterSecurityGroupsReady",
    "LoadBalancerReady",
]


@each_generation
@pytest.mark.parametrize("place", range(len(NETWORK_ORDER)))
def test_the_first_part_of_the_network_that_is_waited_for(generation: str, place: int) -> None:
    told = [condition(kind, "False", f"{kind}Waits", "", "Info") for kind in NETWORK_ORDER[place:]]
    objects = made.beginning(generation, infrastructure=made.aws_cluster(*reversed(told)))
    found = why(objects, NOW)
    assert found is not None
    assert found.startswith("AWSCluster demo waits for ")
    assert found.endswith(f": {NETWORK_ORDER[place]}Waits.")


@each_generation
def test_what_failed_is_told_before_what_is_waited_for(generation: str) -> None:
    network = made.aws_cluster(
        condition("VpcReady", "False", "VpcCreationStarted", "", "Info"),
        condition("LoadBalancerReady", "False", "LoadBalancerFailed", "no subnets available", "Error"),
    )
    found = why(made.beginning(generation, infrastructure=network), NOW)
    assert found == (
        "AWSCluster demo: The cluster has no private subnet in the zone of the machine. AWS says: no subnets available."
    )


@each_generation
def test_foreign_role_in_aws_words(generation: str) -> None:
    message = (
        "failed to retrieve identity credentials: AccessDenied: User: "
        "arn:aws:sts::111122223333:assumed-role/controllers/i-0 is not authorized to perform: sts:AssumeRole on "
        "resource: arn:aws:iam::444455556666:role/tkgbot\n"
        "\tstatus code: 403, request id: 6f8e3c2b-aaaa-4444-bbbb-0123456789ab"
    )
    network = made.aws_cluster(
        condition("PrincipalCredentialRetrieved", "False", "CredentialsFailed", message, "Error")
    )
    assert why(made.beginning(generation, infrastructure=network), NOW) == (
        "AWSCluster demo: The controllers' role may not take on the role of the other account. AWS says: AccessDenied: "
        "User: arn:aws:sts::111122223333:assumed-role/controllers/i-0 is not authorized to perform: sts:AssumeRole on "
        "resource: arn:aws:iam::444455556666:role/tkgbot."
    )


@each_generation
def test_a_failure_that_only_the_summary_tells(generation: str) -> None:
    network = made.aws_cluster(
        condition("VpcReady", "True"),
        condition("Ready", "False", "ReconcileError", "RequestLimitExceeded: slow", "Error"),
    )
    assert why(made.beginning(generation, infrastructure=network), NOW) == (
        "AWSCluster demo: AWS throttles the account: too many calls are made in this region. AWS says: "
        "RequestLimitExceeded: slow."
    )


@each_generation
def test_no_network_object(generation: str) -> None:
    found = why(made.beginning(generation, infrastructure=None), NOW)
    assert found == "AWSCluster demo is not there, so the network cannot be made."


@each_generation
def test_a_load_balancer_whose_name_is_not_known_yet(generation: str) -> None:
    told = condition("LoadBalancerReady", "False", "WaitForDNSNameResolve", "", "Info")
    assert why(made.beginning(generation, infrastructure=made.aws_cluster(told)), NOW) == (
        "AWSCluster demo waits for the load balancer of its API server: its DNS name cannot be resolved yet."
    )


@each_generation
def test_a_network_that_says_nothing(generation: str) -> None:
    assert why(made.beginning(generation), NOW) == "Cluster demo waits for its network and load balancer."


# -- why: machines -----------------------------------------------------------------------------------------------


def first_machine(generation: str, machine: dict[str, Any], below: dict[str, Any]) -> ClusterObjects:
    """A cluster whose network is ready and whose first machine is under way."""
    flags = (
        {"infrastructureReady": True, "controlPlaneReady": False}
        if generation == OLD
        else {"initialization": {"infrastructureProvisioned": True}}
    )
    cluster = made.cluster(generation, ready=False)
    cluster["status"] |= flags
    parts = {"infrastructure": made.aws_cluster(), "machines": (machine,), "infrastructure_machines": (below,)}
    return made.beginning(generation, cluster=cluster, **parts)


@each_generation
def test_bootstrap_data_come_before_the_instance(generation: str) -> None:
    kind = "BootstrapReady" if generation == OLD else "BootstrapConfigReady"
    machine = made.machine(generation, "cp-a", phase="Pending")
    machine["status"]["conditions"] = [condition(kind, "False", "WaitingForControlPlaneAvailable")]
    below = made.aws_machine("cp-a", condition("InstanceReady", "False", "WaitingForBootstrapData", "", "Info"))
    assert why(first_machine(generation, machine, below), NOW) == (
        "Machine cp-a waits for its bootstrap data: the control plane comes first."
    )
    machine["status"]["conditions"] = [condition(kind, "False", "NotReady")]
    assert why(first_machine(generation, machine, below), NOW) == "Machine cp-a waits for its bootstrap data."
    machine["status"]["conditions"] = []
    assert why(first_machine(generation, machine, below), NOW) == (
        "AWSMachine cp-a waits for its EC2 instance: its bootstrap data comes first."
    )


@each_generation
def test_a_key_pair_that_is_not_there(generation: str) -> None:
    message = (
        "failed to run instance: operation error EC2: RunInstances, https response error StatusCode: 400, "
        "RequestID: 7e2d6a4c-0000-4b4b-9c9c-abcdefabcdef, api error InvalidKeyPair.NotFound: The key pair 'default' "
        "does not exist"
    )
    machine = made.machine(generation, "cp-a", phase="Provisioning")
    assert why(first_machine(generation, machine, made.refused("cp-a", message)), NOW) == (
        "AWSMachine cp-a: The SSH key pair does not exist in this account and region. AWS says: "
        "InvalidKeyPair.NotFound: The key pair 'default' does not exist."
    )


@each_generation
def test_a_machine_behind_no_load_balancer(generation: str) -> None:
    below = made.aws_machine(
        "cp-a", condition("InstanceReady", "True"), condition("ELBAttached", "False", "ELBAttachFailed", "", "Error")
    )
    assert why(first_machine(generation, made.machine(generation, "cp-a", phase="Provisioned"), below), NOW) == (
        "AWSMachine cp-a waits for its place behind the load balancer in vain: ELBAttachFailed."
    )


@each_generation
def test_an_instance_that_never_joins(generation: str) -> None:
    machine = made.machine(generation, "cp-a", phase="Provisioned")
    found = why(first_machine(generation, machine, made.aws_machine("cp-a")), NOW)
    assert found is not None
    assert found.startswith("Machine cp-a runs in EC2 but has not joined as a node. If that lasts, look at its way out")


@each_generation
def test_a_machine_that_was_given_up(generation: str) -> None:
    machine = made.machine(generation, "cp-a", phase="Failed")
    where = ("failureMessage",) if generation == OLD else ("deprecated", "v1beta1", "failureMessage")
    told = changed(machine, "status", *where, value='EC2 instance state "terminated" is unexpected')
    assert why(first_machine(generation, told, made.aws_machine("cp-a")), NOW) == (
        'Machine cp-a failed: EC2 instance state "terminated" is unexpected.'
    )
    assert why(first_machine(generation, machine, made.aws_machine("cp-a")), NOW) == "Machine cp-a failed."


@pytest.mark.parametrize(
    ("message", "end"),
    [
        ("* Node.Ready: NetworkReady=false reason:NetworkPluginNotReady message: cni plugin not initialized",
         "cni plugin not initialized. It has no network plugin (CNI): install one, the AWS provider brings none."),
        ("Node condition Ready is False.",
         "Node condition Ready is False. Mostly the network plugin (CNI) is missing: install one, the AWS provider "
         "brings none."),
        ("taint node.cloudprovider.kubernetes.io/uninitialized is there",
         "is there. No cloud controller manager has taken the node on: install cloud-provider-aws."),
    ],
)  # fmt: skip
@each_generation
def test_a_node_that_is_not_ready(generation: str, message: str, end: str) -> None:
    machine = made.machine(generation, "cp-a")
    machine["status"]["conditions"] = [condition("NodeHealthy", "False", "NodeNotHealthy", message)]
    objects = first_machine(generation, machine, made.aws_machine("cp-a"))
    found = why(objects, NOW)
    assert found is not None
    assert found.startswith("Machine cp-a waits for its node to be healthy: ")
    assert found.endswith(end)


def test_the_oldest_machine_is_the_one_that_the_others_wait_for() -> None:
    older = made.machine(OLD, "cp-z", phase="Provisioned")
    newer = changed(
        made.machine(OLD, "cp-a", phase="Provisioned"), "metadata", "creationTimestamp", value="2026-09-21T14:00:00Z"
    )
    objects = replace(first_machine(OLD, older, made.aws_machine("cp-z")), machines=(newer, older))
    assert "cp-z" in (why(objects, NOW) or "")


# -- why: control plane and workers ------------------------------------------------------------------------------


@each_generation
def test_a_control_plane_that_is_not_initialised(generation: str) -> None:
    objects = first_machine(generation, made.machine(generation, "cp-a"), made.aws_machine("cp-a"))
    assert why(objects, NOW) == "KubeadmControlPlane demo-control-plane waits for its first machine to serve the API."


@each_generation
def test_health_is_waited_for_once_the_control_plane_is_initialised(generation: str) -> None:
    told = [condition("EtcdClusterHealthy", "Unknown", "ConnectionDown"), condition("CertificatesAvailable", "True")]
    plane = changed(made.control_plane(generation, 3, 2), "status", "conditions", value=told)
    assert why(whole(generation, control_plane=plane), NOW) == (
        "KubeadmControlPlane demo-control-plane waits for etcd to be healthy."
    )
    objects = first_machine(generation, made.machine(generation, "cp-a"), made.aws_machine("cp-a"))
    bare = changed(dict(objects.control_plane or {}), "status", "conditions", value=told)
    assert why(replace(objects, control_plane=bare), NOW) == (
        "KubeadmControlPlane demo-control-plane waits for its first machine to serve the API."
    )


@each_generation
def test_no_control_plane_object(generation: str) -> None:
    objects = replace(first_machine(generation, {}, {}), machines=(), control_plane=None)
    assert why(objects, NOW) == "KubeadmControlPlane demo-control-plane is not there, so no machine can be made."


@each_generation
def test_an_api_that_cannot_be_reached_is_said_even_of_a_cluster_that_runs(generation: str) -> None:
    cluster = made.cluster(generation)
    told = [
        condition("RemoteConnectionProbe", "False", "ProbeFailed", "Remote connection probe failed, last seen 5m ago")
    ]
    where = ("conditions",) if generation == NEW else ("v1beta2", "conditions")
    found = why(whole(generation, cluster=changed(cluster, "status", *where, value=told)), NOW)
    assert found == (
        "Cluster demo waits for the management cluster to reach its API: Remote connection probe failed, "
        "last seen 5m ago."
    )


@each_generation
@pytest.mark.parametrize(
    ("counters", "sentence"),
    [
        ({"ready": 2}, "has 2 of 3 machines ready."),
        ({"new": 1}, "has 1 of 3 machines at the wanted version and settings."),
        ({"ready": None}, "does not say how many of its machines are ready."),
    ],
)
def test_a_control_plane_that_is_not_complete(generation: str, counters: dict[str, Any], sentence: str) -> None:
    objects = whole(generation, control_plane=made.control_plane(generation, **counters))
    assert why(objects, NOW) == f"KubeadmControlPlane demo-control-plane {sentence}"


@each_generation
def test_workers_that_are_not_complete(generation: str) -> None:
    short_of = whole(generation, deployments=(made.deployment(generation, 2, 1, 2),))
    assert why(short_of, NOW) == "MachineDeployment demo-md-0 has 1 of 2 machines ready."
    too_many = changed(made.deployment(generation), "status", "replicas", value=3)
    assert why(whole(generation, deployments=(too_many,)), NOW) == (
        "MachineDeployment demo-md-0 has 3 machines and wants 2."
    )


def test_workers_whose_machines_are_not_made() -> None:
    pool = made.deployment(OLD, 2, 0, 0)
    pool["status"]["conditions"] = [condition("MachineSetReady", "False", "CloneFailed", "no such template", "Error")]
    assert why(whole(OLD, deployments=(pool,)), NOW) == (
        "MachineDeployment demo-md-0 waits for its machines to be created in vain: no such template."
    )


@each_generation
def test_workers_over_the_quota(generation: str) -> None:
    found = why(no_quota(generation), NOW)
    assert found is not None
    assert found.startswith(
        "AWSMachine demo-md-0-p: The account's vCPU quota for this family of instance types is used up"
    )


@each_generation
def test_machines_at_an_older_version(generation: str) -> None:
    objects = whole(generation)
    late = changed(dict(objects.machines[4]), "spec", "version", value="v1.32.4")
    assert why(replace(objects, machines=(*objects.machines[:4], late)), NOW) == (
        "1 machine not at v1.33.1 yet, first demo-md-0-y (v1.32.4)."
    )


def test_a_topology_that_cannot_be_carried_out_comes_first() -> None:
    told = condition("TopologyReconciled", "False", "ReconcileFailed", 'variable "zones" is required')
    cluster = changed(made.cluster(NEW, ready=False), "status", "conditions", value=[told])
    assert why(made.beginning(NEW, cluster=cluster), NOW) == (
        'Cluster demo waits for its topology to be carried out: variable "zones" is required.'
    )


def test_a_topology_that_is_under_way_is_why_until_it_has_made_the_rest() -> None:
    told = condition("TopologyReconciled", "False", "ClusterCreating", "Cluster is being created")
    cluster = changed(made.cluster(NEW, ready=False), "status", "conditions", value=[told])
    assert why(made.beginning(NEW, cluster=cluster), NOW) == "Cluster demo waits for its network and load balancer."
    alone = changed(cluster, "spec", value={"topology": {"version": "v1.33.1"}})
    objects = made.beginning(NEW, cluster=alone, infrastructure=None, control_plane=None, deployments=())
    assert why(objects, NOW) == "Cluster demo waits for its topology to be carried out: Cluster is being created."


# -- why: what holds everything ----------------------------------------------------------------------------------


@each_generation
def test_a_paused_cluster(generation: str) -> None:
    paused = changed(made.cluster(generation, ready=False), "spec", "paused", value=True)
    sentence = "Cluster demo is paused: nothing goes on until that is taken away."
    assert why(made.beginning(generation, cluster=paused), NOW) == sentence
    marked = made.annotated(made.aws_cluster(), **{"cluster.x-k8s.io/paused": ""})
    assert why(whole(generation, infrastructure=marked), NOW) == sentence.replace("Cluster", "AWSCluster", 1)


@each_generation
def test_a_deletion_that_aws_holds_up(generation: str) -> None:
    message = "DependencyViolation: resource sg-0a has a dependent object\n\tstatus code: 400, request id: 1-2"
    network = made.aws_cluster(condition("ClusterSecurityGroupsReady", "False", "DeletingFailed", message, "Warning"))
    found = why(whole(generation, cluster=made.cluster(generation, phase="Deleting"), infrastructure=network), NOW)
    assert found == (
        "AWSCluster demo: Something in AWS still uses what should be removed, mostly a load balancer that a Service "
        "left behind. AWS says: DependencyViolation: resource sg-0a has a dependent object."
    )


@each_generation
def test_how_far_a_deletion_is(generation: str) -> None:
    objects = whole(generation, cluster=made.cluster(generation, phase="Deleting"))
    steps = [objects, replace(objects, machines=objects.machines[:1])]
    steps += [replace(objects, machines=()), replace(objects, machines=(), infrastructure=None)]
    assert [why(step, NOW) for step in steps] == [
        "Cluster demo is being deleted: 2 workers left.",
        "Cluster demo is being deleted: 1 control plane machine left.",
        "Cluster demo is being deleted: its network and load balancer are left.",
        "Cluster demo is being deleted.",
    ]


def test_a_deletion_in_the_clusters_own_words() -> None:
    told = condition("Deleting", "True", "WaitingForWorkersDeletion", "* Machines: 2 still deleting")
    cluster = changed(made.cluster(NEW, phase="Deleting"), "status", "conditions", value=[told])
    assert why(whole(NEW, cluster=cluster), NOW) == "Cluster demo is being deleted: * Machines: 2 still deleting."


@each_generation
def test_what_could_not_be_read_is_why(generation: str) -> None:
    objects = whole(generation, unread=("Machine", "AWSMachine"))
    assert why(objects, NOW) == "Could not be read: Machine, AWSMachine."
