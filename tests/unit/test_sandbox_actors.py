"""The actors of the management cluster: things become ready by their cause in EC2, IAM or Kubernetes, or not at all."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from importlib import resources
from typing import Any

import aiohttp
import boto3
import pytest
import yaml

from sandbox.aws import AwsSandbox
from sandbox.kube import Store
from sandbox.kube.access import Access, Attempt
from sandbox.kube.actors import conditions, network
from sandbox.kube.actors.cloud import Clouds, IdentityError, allows
from sandbox.kube.actors.objects import (
    AWS_CLUSTERS,
    AWS_MACHINES,
    CLUSTERS,
    CONTROL_PLANES,
    DEPLOYMENTS,
    HEALTH_CHECKS,
    MACHINES,
    Objects,
)
from sandbox.kube.world import ClusterWorld

pytestmark = pytest.mark.long

HOME, TENANT, SECOND = "111122223333", "444455556666", "777788889999"
INFRA, CORE = "infrastructure.cluster.x-k8s.io", "cluster.x-k8s.io"
ADDONS = {"cni": "calico", "ccm": "external", "csi": "external"}
Scenario = Callable[["Play"], Awaitable[None]]
Obj = dict[str, Any]


@pytest.fixture(scope="module")
def running() -> Iterator[AwsSandbox]:
    sandbox = AwsSandbox()
    sandbox.start()
    yield sandbox
    sandbox.stop()


@pytest.fixture
def aws(running: AwsSandbox) -> Iterator[AwsSandbox]:
    yield running
    running.set_faults(dict.fromkeys(running.get_faults()))


class Play:
    """A world as fast as it goes, and one cluster in it."""

    def __init__(self, aws: AwsSandbox, world: ClusterWorld, name: str) -> None:
        self.aws, self.world, self.name = aws, world, name
        self.store = world.kube.store
        self.known = aws.describe()["accounts"][HOME]

    def admin(self, service: str) -> Any:
        keys = self.known["admin"]
        return boto3.client(
            service, region_name="us-east-1", endpoint_url=self.aws.url,
            aws_access_key_id=keys["access_key"], aws_secret_access_key=keys["secret_key"],
        )  # fmt: skip

    def get(self, resource: str, name: str = "", namespace: str = "default") -> Obj:
        return self.store.find(resource, name or self.name, namespace) or {}

    def all(self, resource: str) -> list[Obj]:
        return self.store.list(resource, "", f"{CORE}/cluster-name={self.name}")

    def condition(self, resource: str, kind: str, name: str = "") -> tuple[str, str, str]:
        found = {entry["type"]: entry for entry in self.get(resource, name).get("status", {}).get("conditions", [])}
        entry = found.get(kind, {})
        return entry.get("status", ""), entry.get("reason", ""), entry.get("message", "")

    async def until(self, so: Callable[[], Any], *stores: Store) -> None:
        """Looks again at every change, half a minute at most."""
        bell = asyncio.Event()
        ends = [store.on_change(lambda _change: bell.set()) for store in (self.store, *stores)]
        try:
            async with asyncio.timeout(12):
                while not so():
                    await bell.wait()
                    bell.clear()
        finally:
            for end in ends:
                end()

    async def available(self) -> None:
        await self.until(lambda: self.condition(CLUSTERS, "Available")[0] == "True")

    @property
    def nodes(self) -> list[Obj]:
        return self.world.workload(self.name).objects.store.list("nodes")


def play(aws: AwsSandbox, name: str, scenario: Scenario, generation: str = "current", **shape: Any) -> None:
    async def run() -> None:
        world = ClusterWorld(aws, generation)
        await world.start()
        try:
            world.set_faults({"pace": 0, **shape.pop("faults", {})})
            it = Play(aws, world, name)
            for body in cluster(it.known["vpcs"], name, generation=generation, **shape):
                world.kube.store.create(body, manager="tkgbot")
            async with asyncio.timeout(60):
                await scenario(it)
        finally:
            await world.stop()

    asyncio.run(run())


def cluster(
    vpcs: Any, name: str, *, vpc: str = "demo", masters: int = 1, workers: int = 1, labels: Obj = ADDONS,
    generation: str = "current", subnets: Any = None, zones: str = "a", machine: Obj | None = None, **spec: Any,
) -> list[Obj]:  # fmt: skip
    """The objects of a plain cluster in the shape of the generation."""
    current = generation == "current"
    api = {"core": f"{CORE}/v1beta2", "aws": f"{INFRA}/v1beta2", "old": f"{CORE}/v1beta1"}
    api = api if current else {"core": f"{CORE}/v1beta1", "aws": f"{INFRA}/v1beta1", "old": f"{CORE}/v1beta1"}
    version = api["core"].split("/")[1]

    def made(group: str, kind: str, own: str, content: Obj, **meta: Any) -> Obj:
        return {
            "apiVersion": group,
            "kind": kind,
            "metadata": {"name": own, "namespace": "default", **meta},
            "spec": content,
        }

    def pointer(group: str, kind: str, own: str) -> Obj:
        if current:
            return {"apiGroup": group.split("/")[0], "kind": kind, "name": own}
        return {"apiVersion": group, "kind": kind, "name": own}

    external: Any = [{"name": "cloud-provider", "value": "external"}] if current else {"cloud-provider": "external"}
    register = {"nodeRegistration": {"kubeletExtraArgs": external}}
    template = pointer(api["aws"], "AWSMachineTemplate", name)
    cloned = {"infrastructureRef": template}
    chosen = subnets or [i for label, i in vpcs[vpc]["subnets"].items() if label[-1] in zones]
    kind = {"instanceType": "t3.large", "sshKeyName": "ops"}
    kind = {**kind, "iamInstanceProfile": "nodes.cluster-api-provider-aws.sigs.k8s.io", **(machine or {})}
    infra = {"region": "us-east-1", "network": {"vpc": {"id": vpcs[vpc]["id"]}, "subnets": [{"id": i} for i in chosen]}}
    mark = {f"{CORE}/cluster-name": name, "node-pool": "workers"}
    plane = f"controlplane.{CORE}/{version}"
    boot = f"bootstrap.{CORE}/{version}"
    return [
        made(api["aws"], "AWSMachineTemplate", name, {"template": {"spec": kind}}),
        made(boot, "KubeadmConfigTemplate", name, {"template": {"spec": {"joinConfiguration": register}}}),
        made(api["aws"], "AWSCluster", name, {**infra, **spec}),
        made(
            plane, "KubeadmControlPlane", name,
            {
                "replicas": masters, "version": "v1.33.1",
                "machineTemplate": {"spec": cloned} if current else cloned,
                "kubeadmConfigSpec": {"initConfiguration": register, "joinConfiguration": register},
            },
        ),
        made(
            api["core"], "MachineDeployment", f"{name}-md-0",
            {
                "clusterName": name, "replicas": workers, "selector": {"matchLabels": mark},
                "template": {
                    "metadata": {"labels": mark},
                    "spec": {
                        "clusterName": name, "version": "v1.33.1", "infrastructureRef": template,
                        "bootstrap": {"configRef": pointer(boot, "KubeadmConfigTemplate", name)},
                    },
                },
            },
        ),
        made(
            api["core"], "Cluster", name,
            {
                "infrastructureRef": pointer(api["aws"], "AWSCluster", name),
                "controlPlaneRef": pointer(plane, "KubeadmControlPlane", name),
            },
            labels=labels,
        ),
    ]  # fmt: skip


def service(name: str = "web") -> Obj:
    spec = {"type": "LoadBalancer", "ports": [{"port": 80}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"}, "spec": spec}


def reasons(store: Store) -> set[str]:
    return {event["reason"] for event in store.list("events")}


def test_a_cluster_comes_up_and_goes(aws: AwsSandbox) -> None:
    async def scenario(it: Play) -> None:
        await it.available()
        master, worker = sorted(it.nodes, key=lambda node: "control-plane" not in str(node["metadata"]["labels"]))
        assert worker["spec"]["providerID"].startswith("aws:///us-east-1a/i-")
        assert worker["metadata"]["labels"]["topology.kubernetes.io/zone"] == "us-east-1a"
        assert {node["status"]["conditions"][0]["status"] for node in (master, worker)} == {"True"}
        assert it.get(CLUSTERS)["status"]["phase"] == "Provisioned"
        assert it.get(CLUSTERS)["spec"]["controlPlaneEndpoint"]["host"].startswith("up-apiserver")
        assert it.get(CONTROL_PLANES)["status"]["readyReplicas"] == 1
        assert {machine["status"]["phase"] for machine in it.all(MACHINES)} == {"Running"}
        held = yaml.safe_load(base64.b64decode(it.get("secrets", "up-kubeconfig")["data"]["value"]))
        assert held["clusters"][0]["cluster"]["server"] == it.world.workload("up").kube.url
        it.store.delete(CLUSTERS, "up", "default")
        await it.until(lambda: not it.get(CLUSTERS))
        assert not it.all(MACHINES) + it.all(AWS_MACHINES) + it.all(AWS_CLUSTERS) + it.all(CONTROL_PLANES)
        filters = [{"Name": "tag:kubernetes.io/cluster/up", "Values": ["owned"]}]
        left = await asyncio.to_thread(it.admin("ec2").describe_instances, Filters=filters)
        assert {i["State"]["Name"] for r in left["Reservations"] for i in r["Instances"]} == {"terminated"}

    play(aws, "up", scenario)


def test_a_large_control_plane_spreads_over_the_zones(aws: AwsSandbox) -> None:
    async def scenario(it: Play) -> None:
        await it.until(lambda: it.get(CONTROL_PLANES).get("status", {}).get("readyReplicas") == 3)
        masters = [machine for machine in it.all(MACHINES) if f"{CORE}/control-plane" in machine["metadata"]["labels"]]
        assert {machine["spec"]["failureDomain"] for machine in masters} == {f"us-east-1{zone}" for zone in "abc"}

    play(aws, "wide", scenario, zones="abc", masters=3, workers=2)


@pytest.mark.parametrize(
    ("faults", "machine", "text"),
    [
        ({}, {"sshKeyName": "default"}, "api error InvalidKeyPair.NotFound: The key pair 'default' does not exist"),
        ({"quota": ["L-1216C47A=1"]}, {}, "api error VcpuLimitExceeded: You have requested more vCPU capacity than"),
        ({"no_capacity": ["t3.*"]}, {}, "api error InsufficientInstanceCapacity: We currently do not have sufficient"),
        ({}, {"iamInstanceProfile": "nodes.example"}, "Invalid IAM Instance Profile name"),
        ({}, {"ami": {"id": "ami-0123456789abcdef0"}}, "The image id '[ami-0123456789abcdef0]' does not exist"),
        ({}, {"instanceType": "p4d.24xlarge"}, "api error VcpuLimitExceeded"),
        ({"deny": ["ec2:RunInstances"]}, {}, "api error UnauthorizedOperation: You are not authorized to perform"),
    ],
)
def test_what_ec2_refuses_stands_at_the_machine(aws: AwsSandbox, faults: Obj, machine: Obj, text: str) -> None:
    aws.set_faults(faults)

    async def scenario(it: Play) -> None:
        await it.until(lambda: it.all(AWS_MACHINES) and "FailedCreate" in reasons(it.store))
        master = next(m for m in it.all(AWS_MACHINES) if f"{CORE}/control-plane" in m["metadata"]["labels"])["metadata"]
        await it.until(
            lambda: it.condition(AWS_MACHINES, "InstanceReady", master["name"])[1] == "InstanceProvisionFailed"
        )
        assert text in it.condition(AWS_MACHINES, "InstanceReady", master["name"])[2]
        assert text in it.condition(MACHINES, "Ready", master["name"])[2]
        assert text in it.condition(CONTROL_PLANES, "MachinesReady")[2]

    play(aws, "refused", scenario, machine=machine)


def test_a_key_pair_that_is_made_later_lets_the_machine_go_on(aws: AwsSandbox) -> None:
    async def scenario(it: Play) -> None:
        await it.until(lambda: "FailedCreate" in reasons(it.store))
        await asyncio.to_thread(it.admin("ec2").create_key_pair, KeyName="late")
        await it.available()

    play(aws, "late", scenario, machine={"sshKeyName": "late"})


def test_a_version_without_an_image(aws: AwsSandbox) -> None:
    async def scenario(it: Play) -> None:
        plane = it.get(CONTROL_PLANES)
        plane["spec"]["version"] = "v1.30.0"
        it.store.update(plane)
        await it.until(lambda: "FailedCreate" in reasons(it.store))
        (text,) = {event["message"] for event in it.store.list("events") if event["reason"] == "FailedCreate"}
        assert 'found no AMIs with the name: "capa-ami-ubuntu-24.04-?1.30.0-*"' in text

    play(aws, "imageless", scenario)


def test_without_a_way_out_a_machine_never_gets_its_node(aws: AwsSandbox) -> None:
    async def scenario(it: Play) -> None:
        def looks() -> int:
            return sum(call["action"] == "ec2:DescribeNatGateways" for call in aws.calls)

        await it.until(
            lambda: [m["status"]["phase"] for m in it.all(MACHINES) if "status" in m].count("Provisioned") == 1
        )
        seen = looks()
        async with asyncio.timeout(20):
            while looks() < seen + 2:
                await asyncio.sleep(0.01)
        assert not any("nodeRef" in machine["status"] for machine in it.all(MACHINES))
        assert it.condition(CLUSTERS, "RemoteConnectionProbe")[0] == "False"
        subnets, ec2 = it.known["vpcs"]["closed"]["subnets"], it.admin("ec2")
        address = await asyncio.to_thread(ec2.allocate_address, Domain="vpc")
        gateway = await asyncio.to_thread(
            ec2.create_nat_gateway, SubnetId=subnets["closed-public-a"], AllocationId=address["AllocationId"]
        )
        filters = [{"Name": "association.subnet-id", "Values": [subnets["closed-private-a"]]}]
        table = (await asyncio.to_thread(ec2.describe_route_tables, Filters=filters))["RouteTables"][0]["RouteTableId"]
        await asyncio.to_thread(
            ec2.create_route, RouteTableId=table, DestinationCidrBlock="0.0.0.0/0",
            NatGatewayId=gateway["NatGateway"]["NatGatewayId"],
        )  # fmt: skip
        await it.available()

    play(aws, "shut", scenario, vpc="closed")


def test_a_subnet_of_another_vpc(aws: AwsSandbox) -> None:
    other = aws.describe()["accounts"][HOME]["vpcs"]["narrow"]["subnets"]["narrow-private-a"]

    async def scenario(it: Play) -> None:
        await it.until(lambda: it.condition(AWS_CLUSTERS, "SubnetsReady")[0] == "False")
        assert (
            f"subnet {other} (id {other}) specified but it doesn't exist in vpc"
            in it.condition(AWS_CLUSTERS, "Ready")[2]
        )
        await it.until(lambda: "doesn't exist in vpc" in it.condition(CLUSTERS, "InfrastructureReady")[2])

    play(aws, "foreign", scenario, subnets=[other])


def test_a_vpc_that_is_not_there(aws: AwsSandbox) -> None:
    async def scenario(it: Play) -> None:
        await it.until(lambda: it.condition(AWS_CLUSTERS, "VpcReady")[0] == "False")
        assert "InvalidVpcID.NotFound" in it.condition(AWS_CLUSTERS, "VpcReady")[2]

    play(aws, "nowhere", scenario, network={"vpc": {"id": "vpc-0123456789abcdef0"}, "subnets": [{"id": "subnet-1"}]})


def test_public_subnets_alone_have_no_place_for_machines(aws: AwsSandbox) -> None:
    vpcs = aws.describe()["accounts"][HOME]["vpcs"]

    async def scenario(it: Play) -> None:
        await it.until(lambda: "FailedCreate" in reasons(it.store))
        assert not it.world.describe()["clusters"]["default/open"]["up"]

    play(aws, "open", scenario, subnets=[vpcs["demo"]["subnets"]["demo-public-a"]])


IDENTITY = {"kind": "AWSClusterRoleIdentity", "name": "lob"}


def test_an_identity_that_is_not_there(aws: AwsSandbox) -> None:
    async def scenario(it: Play) -> None:
        await it.until(lambda: it.condition(AWS_CLUSTERS, "PrincipalCredentialRetrieved")[0] == "False")
        assert '"lob" not found' in it.condition(AWS_CLUSTERS, "PrincipalCredentialRetrieved")[2]
        assert not it.condition(AWS_CLUSTERS, "VpcReady")[0]

    play(aws, "stranger", scenario, identityRef=IDENTITY)


def identity(world: ClusterWorld, allowed: Any, arn: str) -> None:
    source = {"kind": "AWSClusterControllerIdentity", "name": "default"}
    spec = {"roleARN": arn, "sourceIdentityRef": source, "externalID": "sandbox-external-id"}
    spec |= {"allowedNamespaces": allowed} if allowed is not None else {}
    Objects(world.kube.store, "test").make(f"awsclusterroleidentities.{INFRA}", "lob", "", spec=spec)


def test_an_identity_that_does_not_allow_the_namespace(aws: AwsSandbox) -> None:
    async def scenario(it: Play) -> None:
        identity(it.world, {"list": ["platform"]}, aws.describe()["accounts"][TENANT]["role_arn"])
        await it.until(lambda: it.condition(AWS_CLUSTERS, "PrincipalUsageAllowed")[0] == "False")
        said = it.condition(AWS_CLUSTERS, "PrincipalUsageAllowed")
        assert said[1:] == (
            "PrincipalUsageUnauthorized",
            "Namespace is not permitted to use AWSClusterRoleIdentity: lob",
        )

    play(aws, "barred", scenario, identityRef=IDENTITY)


def test_a_role_that_iam_does_not_let_the_controllers_assume(aws: AwsSandbox) -> None:
    async def scenario(it: Play) -> None:
        identity(it.world, {}, aws.describe()["accounts"][TENANT]["role_arn"])
        await it.until(lambda: it.condition(AWS_CLUSTERS, "PrincipalCredentialRetrieved")[0] == "Unknown")
        said = it.condition(AWS_CLUSTERS, "PrincipalCredentialRetrieved")
        assert said[1] == "CredentialProviderBuildFailed"
        assert "assumed-role/control-plane.cluster-api-provider-aws.sigs.k8s.io/i-" in said[2]

    play(aws, "chained", scenario, identityRef=IDENTITY)


def narrowed() -> dict[str, Any]:
    """A trust of the management account that holds for the controllers' principal with an external id alone."""
    arn = f"arn:aws:iam::{HOME}:role/control-plane.cluster-api-provider-aws.sigs.k8s.io"
    condition = {"StringEquals": {"sts:ExternalId": "sandbox-external-id"}, "ArnEquals": {"aws:PrincipalArn": arn}}
    return {"Effect": "Allow", "Principal": {"AWS": HOME}, "Action": "sts:AssumeRole", "Condition": condition}


def test_a_cluster_elsewhere_waits_for_both_sides_and_goes_on_by_itself(aws: AwsSandbox) -> None:
    keys, second = aws.describe()["accounts"][SECOND]["admin"], aws.describe()["accounts"][SECOND]["vpcs"]["second"]
    iam = boto3.client(
        "iam", region_name="us-east-1", endpoint_url=aws.url,
        aws_access_key_id=keys["access_key"], aws_secret_access_key=keys["secret_key"],
    )  # fmt: skip
    service = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
    role = "controllers.cluster-api-provider-aws.sigs.k8s.io"
    version = {"Version": "2012-10-17"}
    made = iam.create_role(RoleName=role, AssumeRolePolicyDocument=json.dumps({**version, "Statement": service}))
    every = {"Effect": "Allow", "Action": ["ec2:*", "elasticloadbalancing:*"], "Resource": "*"}
    iam.put_role_policy(RoleName=role, PolicyName="all", PolicyDocument=json.dumps({**version, "Statement": every}))
    may = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": made["Role"]["Arn"]}

    async def scenario(it: Play) -> None:
        def said() -> tuple[str, str, str]:
            return it.condition(AWS_CLUSTERS, "PrincipalCredentialRetrieved")

        identity(it.world, {}, made["Role"]["Arn"])
        await it.until(lambda: said()[1] == "CredentialProviderBuildFailed")
        home = it.admin("iam")
        place = {"RoleName": "control-plane.cluster-api-provider-aws.sigs.k8s.io", "PolicyName": "tkgbot"}
        policy = json.dumps({**version, "Statement": may})
        await asyncio.to_thread(home.put_role_policy, **place, PolicyDocument=policy)
        await it.until(lambda: said()[0] == "Unknown" and "no identity-based" not in said()[2])
        trust = json.dumps({**version, "Statement": [service, narrowed()]})
        await asyncio.to_thread(iam.update_assume_role_policy, RoleName=role, PolicyDocument=trust)
        await it.until(lambda: it.condition(AWS_CLUSTERS, "LoadBalancerReady")[0] == "True")
        assert said()[0] == "True"
        asked = [call for call in aws.calls if call["action"] == "sts:AssumeRole" and call["outcome"] == "ok"]
        assert len([call for call in asked if call["resources"] == [made["Role"]["Arn"]]]) == 1, "a session is kept"
        await asyncio.to_thread(home.delete_role_policy, **place)
        aws.expire_sessions()
        it.store.delete(CLUSTERS, it.name, "default")
        await it.until(lambda: said()[0] == "Unknown")
        await asyncio.to_thread(home.put_role_policy, **place, PolicyDocument=policy)
        await it.until(lambda: not it.get(CLUSTERS))

    subnets = [{"id": second["subnets"][f"second-{kind}-a"]} for kind in ("public", "private")]
    play(aws, "afar", scenario, network={"vpc": {"id": second["id"]}, "subnets": subnets}, identityRef=IDENTITY)
    iam.delete_role_policy(RoleName=role, PolicyName="all")
    iam.delete_role(RoleName=role)


def test_the_stack_gives_a_cluster_elsewhere_all_that_it_needs(aws: AwsSandbox) -> None:
    known = aws.describe()["accounts"][SECOND]
    principal = f"arn:aws:iam::{HOME}:role/control-plane.cluster-api-provider-aws.sigs.k8s.io"
    given = {"ManagementAccountId": HOME, "ControllersPrincipalArn": principal, "ExternalId": "sandbox-external-id"}
    given["BotPrincipalArn"] = f"arn:aws:iam::{HOME}:role/tkgbot"
    amazon = {
        service: boto3.client(
            service, region_name="us-east-1", endpoint_url=aws.url,
            aws_access_key_id=known["admin"]["access_key"], aws_secret_access_key=known["admin"]["secret_key"],
        )
        for service in ("cloudformation", "ec2")
    }  # fmt: skip
    amazon["cloudformation"].create_stack(
        StackName="access", Capabilities=["CAPABILITY_NAMED_IAM"],
        TemplateBody=resources.files("manifests.iam").joinpath("secondary-account.yaml").read_text(),
        Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in given.items()],
    )  # fmt: skip
    role = f"arn:aws:iam::{SECOND}:role/controllers.cluster-api-provider-aws.sigs.k8s.io"
    may = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": role}
    policy = json.dumps({"Version": "2012-10-17", "Statement": may})
    public, private = (known["vpcs"]["second"]["subnets"][f"second-{kind}-a"] for kind in ("public", "private"))

    async def scenario(it: Play) -> None:
        place = {"RoleName": principal.rpartition("/")[2], "PolicyName": "elsewhere", "PolicyDocument": policy}
        await asyncio.to_thread(it.admin("iam").put_role_policy, **place)
        identity(it.world, {}, role)
        await it.available()
        tag = {"Key": "kubernetes.io/cluster/whole", "Value": "shared"}
        await asyncio.to_thread(amazon["ec2"].create_tags, Resources=[public], Tags=[tag])
        store = it.world.workload("whole").kube.store
        store.create(service())
        await it.until(lambda: store.get("services", "web", "default").get("status", {}).get("loadBalancer"), store)
        store.delete("services", "web", "default")
        await it.until(lambda: not store.find("services", "web", "default"), store)
        it.store.delete(CLUSTERS, "whole", "default")
        await it.until(lambda: not it.get(CLUSTERS))

    network = {"vpc": {"id": known["vpcs"]["second"]["id"]}, "subnets": [{"id": public}, {"id": private}]}
    play(aws, "whole", scenario, network=network, identityRef=IDENTITY)


def test_a_session_of_an_identity_is_kept_for_its_time_and_no_longer(aws: AwsSandbox) -> None:
    iam = Play(aws, ClusterWorld(aws), "none").admin("iam")
    trust = {"Version": "2012-10-17", "Statement": narrowed()}
    arn = iam.create_role(RoleName="timed", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    may = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": arn}
    place = {"RoleName": "control-plane.cluster-api-provider-aws.sigs.k8s.io", "PolicyName": "timed"}
    iam.put_role_policy(**place, PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": may}))
    world, now = ClusterWorld(aws), [time.time()]
    identity(world, {}, arn)
    own = world.stage.clouds
    clouds = Clouds(own.url, own.own, current=True, clock=lambda: now[0])
    owner = {
        "metadata": {"name": "x", "namespace": "platform"},
        "spec": {"region": "us-east-1", "identityRef": IDENTITY},
    }

    def keys() -> str:
        return str(asyncio.run(clouds.identity(world.stage.objects, owner))[0])

    first = keys()
    now[0] += 700
    assert keys() == first
    now[0] += 200
    assert keys() != first
    iam.delete_role_policy(**place)
    now[0] += 900
    with pytest.raises(IdentityError, match="not authorized to perform: sts:AssumeRole"):
        keys()
    iam.delete_role(RoleName="timed")


@pytest.mark.parametrize(
    ("kind", "who", "secret"),
    [
        ("instance", ":assumed-role/control-plane.cluster-api-provider-aws.sigs.k8s.io/i-", "\n"),
        ("irsa", ":assumed-role/capa-irsa/", "\n"),
        ("keys", ":user/capa-controllers", "[default]"),
    ],
)
def test_as_whom_the_controllers_act(aws: AwsSandbox, kind: str, who: str, secret: str) -> None:
    world = ClusterWorld(aws, controllers=kind)
    store, began = world.kube.store, len(aws.calls)
    call = world.stage.clouds.call(("us-east-1", world.stage.clouds.own), "ec2.describe_vpcs")
    assert asyncio.run(call)["Vpcs"]
    assert who in aws.calls_since(began)[0]["principal"]
    held = store.get("secrets", "capa-manager-bootstrap-credentials", "capa-system")["data"]["credentials"]
    assert base64.b64decode(held).decode().startswith(secret)
    account = store.get("serviceaccounts", "capa-controller-manager", "capa-system")["metadata"]
    noted = account.get("annotations", {}).get("eks.amazonaws.com/role-arn")
    assert noted == (f"arn:aws:iam::{HOME}:role/capa-irsa" if kind == "irsa" else None)
    (pod,) = store.list("pods", "capa-system", "control-plane=capa-controller-manager")
    node = store.get("nodes", pod["spec"]["nodeName"], "")
    instance = aws.describe()["accounts"][HOME]["management"]["instance"]
    assert node["spec"]["providerID"] == f"aws:///us-east-1a/{instance}"
    assert pod["spec"]["serviceAccountName"] == "capa-controller-manager"


def test_what_the_bot_may_of_the_controllers(aws: AwsSandbox) -> None:
    may, capa = Access(ClusterWorld(aws).kube.store).may, "capa-system"
    roles = "awsclusterroleidentities"
    allowed = [
        Attempt("get", "", "nodes", name="node-1"),
        Attempt("list", "", "pods", capa),
        Attempt("get", "", "serviceaccounts", capa, "capa-controller-manager"),
        Attempt("get", "apps", "deployments", capa, "capa-controller-manager"),
        *(Attempt(verb, INFRA, roles, name="lob") for verb in ("get", "create", "patch", "delete")),
        Attempt("create", INFRA, "awsclustercontrolleridentities"),
    ]
    denied = [
        Attempt("list", "", "nodes"),
        Attempt("list", "", "pods", "default"),
        Attempt("delete", "", "pods", capa, "x"),
        Attempt("update", INFRA, roles, name="lob"),
        Attempt("create", INFRA, "awsclusterstaticidentities"),
        Attempt("patch", "", "secrets", capa, "capa-manager-bootstrap-credentials"),
    ]
    assert [attempt for attempt in allowed if not may("tkgbot", attempt)] == []
    assert [attempt for attempt in denied if may("tkgbot", attempt)] == []


def test_credentials_of_another_kind_are_refused(aws: AwsSandbox) -> None:
    with pytest.raises(ValueError, match="instance, keys, irsa"):
        ClusterWorld(aws, controllers="vault")


def test_without_a_cni_nodes_stay_not_ready_until_one_is_applied(aws: AwsSandbox) -> None:
    async def scenario(it: Play) -> None:
        await it.until(lambda: sum("nodeRef" in machine.get("status", {}) for machine in it.all(MACHINES)) == 2)
        assert {node["status"]["conditions"][0]["reason"] for node in it.nodes} == {"KubeletNotReady"}
        await it.until(
            lambda: "cni plugin not initialized" in it.condition(DEPLOYMENTS, "MachinesReady", "bare-md-0")[2]
        )
        target = it.world.workload("bare").objects
        target.make("daemonsets.apps", "cilium", "kube-system", spec={"selector": {}, "template": {}})
        await it.available()

    play(aws, "bare", scenario, labels={"ccm": "external"})


def test_without_a_cloud_controller_manager_a_node_has_no_provider_id(aws: AwsSandbox) -> None:
    async def scenario(it: Play) -> None:
        await it.until(lambda: it.world.describe()["clusters"].get("default/blind", {}).get("up"))
        await it.until(lambda: "Waiting for a Node" in str(it.all(MACHINES)))
        (node,) = it.nodes
        assert "node.cloudprovider.kubernetes.io/uninitialized" in [taint["key"] for taint in node["spec"]["taints"]]
        assert "providerID" not in node["spec"]
        assert not any("nodeRef" in machine.get("status", {}) for machine in it.all(MACHINES))

    play(aws, "blind", scenario, labels={"cni": "calico"})


def test_a_load_balancer_needs_the_clusters_own_tag(aws: AwsSandbox) -> None:
    async def scenario(it: Play) -> None:
        await it.available()
        store = it.world.workload("tagged").kube.store
        store.create(service())
        await it.until(lambda: "SyncLoadBalancerFailed" in reasons(store), store)
        assert "could not find any suitable subnets for creating the ELB" in str(store.list("events"))
        subnet, key = it.known["vpcs"]["demo"]["subnets"]["demo-public-a"], "kubernetes.io/cluster/tagged"
        tag = {"Key": key, "Value": "shared"}
        await asyncio.to_thread(it.admin("ec2").create_tags, Resources=[subnet], Tags=[tag])
        await it.until(lambda: store.get("services", "web", "default").get("status", {}).get("loadBalancer"), store)
        host = store.get("services", "web", "default")["status"]["loadBalancer"]["ingress"][0]["hostname"]
        elb = it.admin("elb")
        made = {
            e["DNSName"]: e for e in (await asyncio.to_thread(elb.describe_load_balancers))["LoadBalancerDescriptions"]
        }
        assert made[host]["Subnets"] == [subnet]
        store.delete("services", "web", "default")
        await it.until(lambda: store.find("services", "web", "default") is None, store)
        left = (await asyncio.to_thread(elb.describe_load_balancers))["LoadBalancerDescriptions"]
        assert host not in [entry["DNSName"] for entry in left]

    play(aws, "tagged", scenario)


def test_the_newer_rule_takes_untagged_subnets(aws: AwsSandbox) -> None:
    async def scenario(it: Play) -> None:
        await it.available()
        store = it.world.workload("newer").kube.store
        store.create(service())
        await it.until(lambda: store.get("services", "web", "default").get("status", {}).get("loadBalancer"), store)

    play(aws, "newer", scenario, vpc="narrow", faults={"newer_subnet_rule": True})


def test_a_load_balancer_left_behind_keeps_the_cluster(aws: AwsSandbox) -> None:
    async def scenario(it: Play) -> None:
        await it.available()
        store = it.world.workload("stuck").kube.store
        store.create(service())
        await it.until(lambda: store.get("services", "web", "default").get("status", {}).get("loadBalancer"), store)
        host = store.get("services", "web", "default")["status"]["loadBalancer"]["ingress"][0]["hostname"]
        it.store.delete(CLUSTERS, "stuck", "default")
        await it.until(lambda: "DependencyViolation" in it.condition(CLUSTERS, "Deleting")[2])
        elb = it.admin("elb")
        await asyncio.to_thread(elb.delete_load_balancer, LoadBalancerName=host.split(".")[0])
        await it.until(lambda: not it.get(CLUSTERS))

    play(aws, "stuck", scenario, vpc="narrow", faults={"newer_subnet_rule": True, "no_garbage_collection": True})


def test_workers_are_scaled_both_ways(aws: AwsSandbox) -> None:
    async def scenario(it: Play) -> None:
        for wanted in (1, 3, 0):
            deployment = it.get(DEPLOYMENTS, "scaled-md-0")
            deployment["spec"]["replicas"] = wanted
            it.store.update(deployment)

            def settled(wanted: int = wanted) -> bool:
                status = it.get(DEPLOYMENTS, "scaled-md-0").get("status", {})
                return status.get("readyReplicas") == wanted == status.get("replicas")

            await it.until(settled)
            assert len(it.nodes) == wanted + 1

    play(aws, "scaled", scenario)


def test_a_health_check_counts_its_machines(aws: AwsSandbox) -> None:
    async def scenario(it: Play) -> None:
        spec = {"clusterName": "checked", "selector": {"matchLabels": {"node-pool": "workers"}}}
        Objects(it.store, "test").make(HEALTH_CHECKS, "checked", "default", spec=spec)
        await it.until(lambda: it.get(HEALTH_CHECKS).get("status", {}).get("currentHealthy") == 2)
        assert it.get(HEALTH_CHECKS)["status"]["expectedMachines"] == 2

    play(aws, "checked", scenario, workers=2)


def test_conditions_may_lie(aws: AwsSandbox) -> None:
    async def scenario(it: Play) -> None:
        await it.available()
        await it.until(lambda: it.get(CONTROL_PLANES)["status"].get("readyReplicas") == 1)
        assert it.nodes == []
        assert it.world.workload("liar").kube.faults.unreachable

    play(aws, "liar", scenario, faults={"lying_ready": True})


@pytest.mark.parametrize(("switch", "phases"), [
    ("control_plane_never_comes", {"Provisioned", "Pending"}), ("workers_never_come", {"Running", "Provisioned"}),
])  # fmt: skip
def test_machines_that_never_come_do_when_the_switch_is_off(aws: AwsSandbox, switch: str, phases: set[str]) -> None:
    async def scenario(it: Play) -> None:
        await it.until(lambda: {m.get("status", {}).get("phase") for m in it.all(MACHINES)} == phases)
        assert it.condition(CLUSTERS, "Available")[0] == "False"
        it.world.set_faults({switch: False})
        await it.available()

    play(aws, "never", scenario, faults={switch: True})


def test_the_api_goes_after_so_many_objects(aws: AwsSandbox) -> None:
    async def scenario(it: Play) -> None:
        assert it.world.kube.faults.unreachable

    play(aws, "gone", scenario, faults={"api_gone_after": 3})


def test_the_older_generation(aws: AwsSandbox) -> None:
    async def scenario(it: Play) -> None:
        await it.until(lambda: it.condition(CLUSTERS, "Ready")[0] == "True")
        await it.until(lambda: it.get(DEPLOYMENTS, "old-md-0")["status"].get("readyReplicas") == 1)
        status = it.get(CLUSTERS)["status"]
        assert status["infrastructureReady"] is True
        assert status["controlPlaneReady"] is True
        assert status["failureDomains"] == {"us-east-1a": {"controlPlane": True}}
        assert it.get(CONTROL_PLANES)["status"]["updatedReplicas"] == 1
        assert {machine["status"]["nodeRef"]["kind"] for machine in it.all(MACHINES)} == {"Node"}

    play(aws, "old", scenario, generation="legacy")


def test_the_bot_has_just_the_rights_it_needs(aws: AwsSandbox) -> None:
    async def scenario(it: Play) -> None:
        head = {"Authorization": f"Bearer {it.world.kube.token('tkgbot')}"}
        base = f"{it.world.url}/apis/{CORE}/v1beta2/namespaces/default"
        async with aiohttp.ClientSession(headers=head) as session:
            wanted = {
                ("GET", f"{base}/machines"): 200,
                ("DELETE", f"{base}/machines/x"): 403,
                ("DELETE", f"{base}/clusters/none"): 404,
                ("GET", f"{it.world.url}/api/v1/namespaces/default/secrets"): 403,
                ("GET", f"{it.world.url}/api/v1/namespaces/default/secrets/none"): 404,
            }
            for (method, url), status in wanted.items():
                async with session.request(method, url, ssl=False) as answer:
                    assert (url, answer.status) == (url, status)

    play(aws, "rights", scenario)


@pytest.mark.parametrize(
    ("rule", "allowed"),
    [
        (None, False),
        ({}, True),
        ({"list": []}, False),
        ({"list": ["team"]}, True),
        ({"list": ["other"]}, False),
        ({"selector": {}}, True),
        ({"list": None, "selector": {}}, True),
        ({"selector": {"matchLabels": {"a": "b"}}}, True),
        ({"selector": {"matchLabels": {"a": "c"}}}, False),
        ({"list": ["team"], "selector": {"matchLabels": {"a": "c"}}}, True),
    ],
)
def test_allowed_namespaces(rule: Any, allowed: bool) -> None:
    assert allows(rule, {"metadata": {"name": "team", "labels": {"a": "b"}}}) is allowed


def test_a_transition_has_its_time_once() -> None:
    before = conditions.merged([], [conditions.new("Ready", False, "NotReady")], "then")
    same = conditions.merged(before, [conditions.new("Ready", False, "StillNotReady")], "now")
    assert (same[0]["reason"], same[0]["lastTransitionTime"]) == ("StillNotReady", "then")
    assert conditions.merged(same, [conditions.new("Ready", True, "Ready")], "now")[0]["lastTransitionTime"] == "now"


def test_a_gateway_that_leads_nowhere_is_no_way_out() -> None:
    def table(subnet: str, **route: str) -> Obj:
        whole = {"DestinationCidrBlock": "0.0.0.0/0", "State": "active", **route}
        return {"Associations": [{"SubnetId": subnet}], "Routes": [whole]}

    gateway = {"NatGatewayId": "nat-1", "State": "available", "SubnetId": "public"}
    private, public = table("private", NatGatewayId="nat-1"), table("public", GatewayId="igw-1")
    assert network.Network([], [private, public], [gateway]).has_way_out("private")
    assert not network.Network([], [private, public], [{**gateway, "State": "failed"}]).has_way_out("private")
    assert not network.Network([], [private, table("public")], [gateway]).has_way_out("private")
    assert not network.Network([], [table("private", GatewayId="igw-1")], []).has_way_out("private")
    assert not network.Network(
        [], [table("private", NatGatewayId="nat-1", State="blackhole"), public], [gateway]
    ).has_way_out("private")


@pytest.mark.parametrize("changes", [{"paces": 1}, {"pace": -1}, {"lying_ready": "yes"}, {"api_gone_after": 1.5}])
def test_a_misspelt_switch_changes_nothing(aws: AwsSandbox, changes: Obj) -> None:
    world = ClusterWorld(aws)
    before = world.get_faults()
    with pytest.raises(ValueError, match="fault"):
        world.set_faults({"workers_never_come": True, **changes})
    assert world.get_faults() == before
