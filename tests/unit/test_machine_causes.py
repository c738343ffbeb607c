"""AWS's errors in plain words, what has been reached, what failed, and the digest of all that moves."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers.aws_causes import WORDS
from handlers.aws_rules import RULES
from handlers.cluster_objects import ClusterObjects
from handlers.machine_causes import cause_of, failures, milestones, progress
from tests.unit import seen_clusters as made
from tests.unit.seen_clusters import GENERATIONS, NEW, OLD, changed, condition, whole

Parts = dict[str, Any]
each_generation = pytest.mark.parametrize("generation", GENERATIONS)
FIRST = "\n\tstatus code: 400, request id: 0e8f2c1a-1111-4a4a-8b8b-123456789abc"
"""How version 1 of the AWS SDK for Go ends an error."""
SECOND = (
    "operation error EC2: RunInstances, https response error StatusCode: 403, RequestID: "
    "7e2d6a4c-0000-4b4b-9c9c-abcdefabcdef, api error "
)
"""How version 2 begins one."""
DENIED = "User: arn:aws:sts::111122223333:assumed-role/controllers/i-0 is not authorized to perform: "

MESSAGES = [
    ("VcpuLimitExceeded", made.QUOTA),
    ("InstanceLimitExceeded", "InstanceLimitExceeded: Your quota allows for 0 more running instance(s)." + FIRST),
    (
        "InsufficientInstanceCapacity",
        SECOND + "InsufficientInstanceCapacity: We currently do not have sufficient g4dn.8xlarge capacity in the "
        "Availability Zone you requested (us-west-2a).",
    ),
    (
        "InsufficientFreeAddressesInSubnet",
        "InsufficientFreeAddressesInSubnet: There are not enough free addresses in subnet 'subnet-0a1b2c3d' to satisfy "
        "the requested number of instances." + FIRST,
    ),
    ("MaxSpotInstanceCountExceeded", SECOND + "MaxSpotInstanceCountExceeded: Max spot instance count exceeded"),
    (
        "LimitExceeded",
        "failed to create Elastic IP: AddressLimitExceeded: The maximum number of addresses has been reached." + FIRST,
    ),
    ("LimitExceeded", "TooManyLoadBalancers: The quota for load balancers has been reached" + FIRST),
    ("RequestLimitExceeded", "RequestLimitExceeded: Request limit exceeded." + FIRST),
    ("RequestLimitExceeded", SECOND + "Throttling: Rate exceeded"),
    (
        "ServiceControlPolicy",
        SECOND
        + f"UnauthorizedOperation: You are not authorized to perform this operation. {DENIED}ec2:RunInstances on "
        "resource: arn:aws:ec2:us-west-2:111122223333:instance/* with an explicit deny in a service control policy. "
        "Encoded authorization failure message: AbC-dEf_123",
    ),
    (
        "AssumeRoleDenied",
        "failed to refresh cached credentials, " + SECOND + f"AccessDenied: {DENIED}sts:AssumeRole on resource: "
        "arn:aws:iam::444455556666:role/tkgbot",
    ),
    ("UnauthorizedOperation", "UnauthorizedOperation: You are not authorized to perform this operation." + FIRST),
    ("UnauthorizedOperation", SECOND + f"AccessDenied: {DENIED}elasticloadbalancing:CreateLoadBalancer"),
    ("CredentialsRefused", "ExpiredToken: The security token included in the request is expired" + FIRST),
    ("InvalidKeyPair.NotFound", "InvalidKeyPair.NotFound: The key pair 'default' does not exist" + FIRST),
    ("InvalidAMIID.NotFound", SECOND + "InvalidAMIID.NotFound: The image id '[ami-0a1b2c3d]' does not exist"),
    ("NoImageFound", 'failed to get AMI: found no AMIs with the name: "capa-ami-ubuntu-24.04-?1.33.9-*"'),
    ("NoImageFound", 'failed to find ami: "capa-ami-ubuntu-24.04-?1.33.9-*"'),
    (
        "InstanceProfileNotFound",
        "InvalidParameterValue: Value (nodes.tkg.cloud.vmware.com) for parameter iamInstanceProfile.name is invalid. "
        "Invalid IAM Instance Profile name" + FIRST,
    ),
    (
        "Unsupported",
        SECOND
        + "Unsupported: Your requested instance type (p5.48xlarge) is not supported in your requested Availability "
        "Zone (us-west-2d). Please retry your request by choosing us-west-2a, us-west-2b.",
    ),
    ("Client.InternalError", "EC2 instance i-0a ended: Client.InternalError: Client error on launch"),
    ("InvalidParameterValue", "InvalidParameterValue: Invalid value 'abc' for iops" + FIRST),
    ("InvalidParameterValue", SECOND + "InvalidParameterCombination: The parameter throughput needs gp3"),
    ("InvalidSubnetID.NotFound", "InvalidSubnetID.NotFound: The subnet ID 'subnet-0a1b2c3d' does not exist" + FIRST),
    ("InvalidVpcID.NotFound", "InvalidVpcID.NotFound: The vpc ID 'vpc-0a1b2c3d' does not exist" + FIRST),
    ("SubnetsOfVpc", "using unmanaged vpc and subnet subnet-0a1b2c3d specified but it doesn't exist in vpc vpc-0a"),
    ("SubnetsOfVpc", "no subnets specified, you must specify the subnets when using an umanaged vpc"),
    ("NoSubnetInZone", 'failed to run machine "demo-md-0-a", no subnets available in availability zone "us-west-2d"'),
    ("InvalidGroup", "InvalidGroup.NotFound: The security group 'sg-0a1b2c3d' does not exist" + FIRST),
    ("IdentityNotAllowed", "Namespace is not permitted to use AWSClusterControllerIdentity: default"),
    ("IdentityNotFound", 'awsclustercontrolleridentities.infrastructure.cluster.x-k8s.io "default" not found'),
    ("IdentityNotFound", 'AWSClusterRoleIdentity.infrastructure.cluster.x-k8s.io "tenant" not found'),
    ("DependencyViolation", "DependencyViolation: resource sg-0a1b2c3d has a dependent object" + FIRST),
]


@pytest.mark.parametrize(("code", "message"), MESSAGES)
def test_every_error_of_the_table(code: str, message: str) -> None:
    found = cause_of(message)
    assert found is not None
    assert found.code == code
    assert found.passes is (code in ("RequestLimitExceeded", "InsufficientInstanceCapacity"))
    assert re.search(r"[0-9a-f]{8}-[0-9a-f]{4}|request ?id|status ?code|Encoded", found.aws, re.IGNORECASE) is None
    assert found.aws in " ".join(message.split()) or "Encoded" in message


def test_no_row_of_the_table_is_left_untried() -> None:
    assert {rule.code for rule in RULES} == {code for code, _ in MESSAGES}
    assert len({rule.code for rule in RULES}) == len(RULES)


def test_every_row_says_what_it_means_and_what_to_do() -> None:
    assert all(rule.means.endswith(".") and rule.fix.endswith((".", ")")) for rule in RULES)


@pytest.mark.parametrize("message", ["", "1 of 2 completed", "Waiting for the control plane", "connection refused"])
def test_what_is_not_in_the_table_has_no_cause(message: str) -> None:
    assert cause_of(message) is None


def test_aws_words_begin_at_the_code_and_are_cut() -> None:
    found = cause_of("failed to create AWSMachine instance: " + SECOND + "VcpuLimitExceeded: " + "word " * 200)
    assert found is not None
    assert found.aws.startswith("VcpuLimitExceeded: word word")
    assert (len(found.aws) <= WORDS, found.aws[-1]) == (True, "…")


def test_the_providers_own_error_without_what_it_puts_before() -> None:
    found = cause_of(
        'failed to create AWSMachine instance: failed to get AMI: found no AMIs with the name: "capa-ami-x"'
    )
    assert found is not None
    assert found.aws == 'found no AMIs with the name: "capa-ami-x"'


@settings(deadline=None)
@given(st.text(max_size=400), st.sampled_from(MESSAGES), st.text(max_size=400))
def test_words_around_an_error_do_not_hide_it(before: str, row: tuple[str, str], after: str) -> None:
    found = cause_of(f"{before} {row[1]} {after}")
    assert found is not None
    assert len(found.aws) <= WORDS
    assert "\n" not in found.aws


# -- milestones --------------------------------------------------------------------------------------------------


@each_generation
def test_nothing_is_reached_at_the_start(generation: str) -> None:
    assert milestones(made.beginning(generation)) == ()


@each_generation
def test_everything_that_was_reached_in_order(generation: str) -> None:
    cluster = made.cluster(generation)
    told = [condition("RemoteConnectionProbe", "True", "Ok"), condition("Available", "True", "Available")]
    where = ("conditions",) if generation == NEW else ("v1beta2", "conditions")
    assert milestones(whole(generation, cluster=changed(cluster, "status", *where, value=told))) == (
        "VPC vpc-0123456789abcdef0 accepted, with 2 subnets.",
        "Security groups made.",
        "Load balancer of the API server made: demo-apiserver.elb.example:6443.",
        "Control plane machine demo-control-plane-a has joined as node node-of-demo-control-plane-a.",
        "Control plane machine demo-control-plane-b has joined as node node-of-demo-control-plane-b.",
        "Control plane machine demo-control-plane-c has joined as node node-of-demo-control-plane-c.",
        "Control plane initialised: its first machine serves the API.",
        "3 of 3 control plane machines ready.",
        "2 of 2 workers ready.",
        "The management cluster reaches the cluster's API.",
        "The cluster is available.",
    )


@each_generation
def test_milestones_come_one_by_one(generation: str) -> None:
    objects = made.beginning(generation)
    networked = replace(objects, infrastructure=made.aws_cluster())
    joined = replace(networked, machines=(made.machine(generation, "cp-a"),))
    served = replace(joined, cluster=made.cluster(generation), control_plane=made.control_plane(generation, 3, 1, 1))
    steps = [milestones(step) for step in (objects, networked, joined, served)]
    assert [len(step) for step in steps] == [0, 3, 4, 5]
    assert all(later[: len(sooner)] == sooner for sooner, later in pairwise(steps))


@each_generation
def test_a_count_that_is_not_known_is_no_milestone(generation: str) -> None:
    objects = whole(generation, control_plane=made.control_plane(generation, 3, None, 3), deployments=())
    assert not [line for line in milestones(objects) if "ready" in line]


def test_a_network_that_gives_no_detail() -> None:
    assert milestones(whole(NEW, infrastructure=None))[0] == "Network and load balancer are ready."


# -- failures ----------------------------------------------------------------------------------------------------


@each_generation
def test_nothing_failed(generation: str) -> None:
    assert failures(whole(generation)) == failures(made.beginning(generation)) == ()


def mirrored(item: dict[str, Any], generation: str, reason: str) -> dict[str, Any]:
    """The object with the failure of something below it in its own conditions."""
    told = [condition("Ready", "False", reason, "1 of 2 completed", "Error")]
    where = ("conditions",) if generation == OLD else ("deprecated", "v1beta1", "conditions")
    return changed(item, "status", *where, value=told)


@each_generation
def test_a_failure_is_told_once_at_its_root(generation: str) -> None:
    objects = whole(generation)
    machine = mirrored(dict(objects.machines[0]), generation, "InstanceProvisionFailed")
    above = mirrored(
        made.control_plane(generation), generation, "InstanceProvisionFailed @ Machine/demo-control-plane-a"
    )
    objects = replace(
        objects,
        machines=(machine, *objects.machines[1:]),
        control_plane=above,
        cluster=mirrored(
            made.cluster(generation), generation, "InstanceProvisionFailed @ Machine/demo-control-plane-a"
        ),
        infrastructure_machines=(made.refused("demo-control-plane-a"), *objects.infrastructure_machines[1:]),
    )
    (found,) = failures(objects)
    assert (found.object, found.reason) == ("AWSMachine/demo-control-plane-a", "InstanceProvisionFailed")
    assert found.message.startswith("failed to create AWSMachine instance")
    assert found.cause is not None
    assert (found.cause.code, found.since) == ("VcpuLimitExceeded", 1789995600.0)


def test_a_newer_reason_above_does_not_make_a_second_failure() -> None:
    above = mirrored(made.control_plane(NEW), NEW, "InstanceProvisionFailed @ Machine/demo-control-plane-a")
    newer = [condition("Ready", "False", "NotReady", "* Machine demo-control-plane-a: * InfrastructureReady: refused")]
    objects = whole(NEW, control_plane=changed(above, "status", "conditions", value=newer))
    objects = replace(objects, infrastructure_machines=(made.refused("demo-control-plane-a"),))
    assert [found.object for found in failures(objects)] == ["AWSMachine/demo-control-plane-a"]


@each_generation
def test_two_machines_that_failed_alike_are_both_told(generation: str) -> None:
    objects = replace(whole(generation), infrastructure_machines=(made.refused("a"), made.refused("b")))
    assert [found.object for found in failures(objects)] == ["AWSMachine/a", "AWSMachine/b"]


@each_generation
def test_a_failure_that_only_the_control_plane_tells(generation: str) -> None:
    broken = mirrored(made.control_plane(generation), generation, "EtcdUnhealthy")
    (found,) = failures(whole(generation, control_plane=broken))
    assert (found.object, found.reason, found.cause) == (
        "KubeadmControlPlane/demo-control-plane", "EtcdUnhealthy", None,
    )  # fmt: skip


@pytest.mark.parametrize("severity", ["Warning", "Info"])
def test_what_is_only_waited_for_has_not_failed(severity: str) -> None:
    below = made.aws_machine("a", condition("InstanceReady", "False", "InstanceNotReady", "", severity))
    assert failures(whole(OLD, infrastructure_machines=(below,))) == ()


def test_an_error_that_is_over_is_no_failure() -> None:
    below = made.aws_machine("a", condition("InstanceReady", "True", "", "", "Error"))
    assert failures(whole(OLD, infrastructure_machines=(below,))) == ()


@each_generation
def test_a_machine_that_was_given_up(generation: str) -> None:
    machine = made.machine(generation, "cp-a", phase="Failed")
    where = () if generation == OLD else ("deprecated", "v1beta1")
    told = changed(machine, "status", *where, "failureReason", value="UpdateError")
    told = changed(told, "status", *where, "failureMessage", value="EC2 instance state is unexpected")
    assert [(f.object, f.reason, f.message, f.since) for f in failures(whole(generation, machines=(told,)))] == [
        ("Machine/cp-a", "UpdateError", "EC2 instance state is unexpected", None)
    ]


@each_generation
@pytest.mark.parametrize(
    ("said", "reason", "message"),
    [
        ({}, "Failed", "It does not say why."),
        ({"failureReason": "UpdateError"}, "UpdateError", "It does not say why."),
        ({"failureMessage": "InvalidKeyPair.NotFound: no"}, "Failed", "InvalidKeyPair.NotFound: no"),
    ],
)
def test_a_machine_that_was_given_up_with_half_a_reason(
    generation: str, said: Parts, reason: str, message: str
) -> None:
    machine = made.machine(generation, "cp-a", phase="Failed")
    where = () if generation == OLD else ("deprecated", "v1beta1")
    for key, value in said.items():
        machine = changed(machine, "status", *where, key, value=value)
    (found,) = failures(whole(generation, machines=(machine,)))
    assert (found.reason, found.message) == (reason, message)
    assert (found.cause is not None) is message.startswith("Invalid")


def test_a_control_plane_that_was_given_up() -> None:
    broken = changed(made.control_plane(OLD), "status", "failureReason", value="CreateError")
    (found,) = failures(whole(OLD, control_plane=broken))
    assert (found.object, found.reason) == ("KubeadmControlPlane/demo-control-plane", "CreateError")


# -- progress ----------------------------------------------------------------------------------------------------


def moved(generation: str) -> list[tuple[str, Parts]]:
    """Everything that counts as movement, one at a time."""
    objects = whole(generation)
    first = dict(objects.machines[0])
    ended = changed(made.aws_machine("a"), "status", "instanceState", value="terminated")
    return [
        ("phase", {"cluster": made.cluster(generation, phase="Deleting")}),
        ("deletion", {"cluster": changed(made.cluster(generation), "metadata", "deletionTimestamp", value="x")}),
        ("flags", {"cluster": made.cluster(generation, ready=False)}),
        ("address", {"cluster": changed(made.cluster(generation), "spec", "controlPlaneEndpoint", "host", value="x")}),
        ("counter", {"control_plane": made.control_plane(generation, 3, 2, 3)}),
        ("unknown counter", {"control_plane": made.control_plane(generation, 3, None, 3)}),
        ("wanted", {"deployments": (made.deployment(generation, 4, 2, 2),)}),
        ("reason", {"infrastructure": made.aws_cluster(condition("VpcReady", "False", "VpcFailed", "", "Error"))}),
        ("severity", {"infrastructure": made.aws_cluster(condition("VpcReady", "False", "VpcFailed", "", "Info"))}),
        ("status", {"infrastructure": made.aws_cluster(condition("VpcReady", "Unknown", "VpcFailed"))}),
        ("machine phase", {"machines": (changed(first, "status", "phase", value="Deleting"), *objects.machines[1:])}),
        ("node", {"machines": (changed(first, "status", "nodeRef", value={}), *objects.machines[1:])}),
        ("machine more", {"machines": (*objects.machines, made.machine(generation, "new", phase="Pending"))}),
        ("machine gone", {"machines": objects.machines[1:]}),
        ("version", {"machines": (changed(first, "spec", "version", value="v1.32.4"), *objects.machines[1:])}),
        ("instance", {"infrastructure_machines": (ended,)}),
        ("no network", {"infrastructure": None}),
    ]  # fmt: skip


@each_generation
def test_every_movement_changes_the_digest(generation: str) -> None:
    digests = {"as it was": progress(whole(generation))}
    digests |= {name: progress(whole(generation, **parts)) for name, parts in moved(generation)}
    assert len(set(digests.values())) == len(digests)


def later(objects: ClusterObjects, message: str) -> ClusterObjects:
    told = condition("VpcReady", "True", "", message, since="2026-09-21T15:00:00Z")
    network = made.aws_cluster(told, *(made.aws_cluster()["status"]["conditions"][1:]))
    return replace(objects, infrastructure=network)


@each_generation
def test_times_wording_and_order_are_no_movement(generation: str) -> None:
    objects = whole(generation)
    again = later(objects, "request id: 0e8f2c1a")
    again = replace(again, machines=tuple(reversed(again.machines)))
    assert progress(again) == progress(objects)
    assert re.fullmatch(r"[0-9a-f]{16}", progress(objects))
