"""The AWS provider's cluster controller in an existing VPC: identity, network, groups, load balancer, and their end.

Sources: the provider's api/v1beta2/conditions_consts.go and pkg/cloud/services (network, securitygroup, elb).
It does not tag subnets that it did not make (the gate TagUnmanagedNetworkResources off).
"""

from __future__ import annotations

import hashlib

from sandbox.kube.actors import garbage
from sandbox.kube.actors.cloud import CloudError, IdentityError
from sandbox.kube.actors.conditions import old, set_old, summary
from sandbox.kube.actors.network import ROLE_TAG, Network, one_per_zone, seen, tags
from sandbox.kube.actors.objects import AWS_CLUSTERS, AWS_MACHINES, at, deleting
from sandbox.kube.actors.stage import Scene
from sandbox.kube.errors import Obj

FINALIZER = "awscluster.infrastructure.cluster.x-k8s.io"
GROUPS = ("apiserver-lb", "lb", "controlplane", "node")
PORT = 6443
NEEDED = ("VpcReady", "SubnetsReady", "ClusterSecurityGroupsReady", "LoadBalancerReady")
REASONS = {
    "VpcReady": "VpcReconciliationFailed",
    "SubnetsReady": "SubnetsReconciliationFailed",
    "ClusterSecurityGroupsReady": "ClusterSecurityGroupReconciliationFailed",
    "LoadBalancerReady": "LoadBalancerFailed",
}


class Wrong(Exception):
    """The provider itself refuses, in its own words."""


def balancer_name(infra: Obj) -> str:
    """As the provider makes it, at most 32 characters."""
    given = at(infra, "spec", "controlPlaneLoadBalancer", "name")
    name = f"{infra['metadata']['name'].replace('.', '-')}-apiserver"
    return str(given or (name if len(name) <= 32 else hashlib.sha256(name.encode()).hexdigest()[:22] + "-k8s"))


def is_network(infra: Obj) -> bool:
    """A network load balancer; the classic kind is the provider's default."""
    return bool(at(infra, "spec", "controlPlaneLoadBalancer", "loadBalancerType", default="classic") != "classic")


def owned(name: str, role: str) -> list[dict[str, str]]:
    own = {f"sigs.k8s.io/cluster-api-provider-aws/cluster/{name}": "owned", ROLE_TAG: role, "Name": f"{name}-{role}"}
    if role == "lb":
        own[f"kubernetes.io/cluster/{name}"] = "owned"
    return [{"Key": key, "Value": value} for key, value in own.items()]


async def reconcile(scene: Scene, infra: Obj) -> Obj:
    """Brings the AWSCluster as far as its causes allow; the answer is the object as it then stands."""
    infra = scene.objects.adopt(infra, scene.cluster, FINALIZER)
    now = scene.objects.now()
    if not scene.may_try("infrastructure"):
        return infra
    try:
        scene.place = (infra["spec"].get("region", ""), await scene.stage.clouds.identity(scene.objects, infra))
        set_old(infra, [old("PrincipalUsageAllowed", True), old("PrincipalCredentialRetrieved", True)], now)
        if deleting(infra):
            fine = await _dismantle(scene, infra)
        else:
            fine = bool(at(infra, "status", "ready")) or await _build(scene, infra)
        (scene.done if fine else scene.refused)("infrastructure")
    except IdentityError as wrong:
        told = [old(wrong.condition, wrong.status, wrong.reason, wrong.text, "Error")]
        if wrong.condition == "PrincipalUsageAllowed":
            told.append(
                old("PrincipalCredentialRetrieved", False, "PrincipalCredentialRetrievalFailed", wrong.text, "Error")
            )
        set_old(infra, [*told, old("Ready", wrong.status, wrong.reason, wrong.text, "Error")], now)
        scene.refused("infrastructure")
    except (CloudError, garbage.Misread) as refused:
        text = refused.text if isinstance(refused, CloudError) else str(refused)
        set_old(infra, [old("Ready", False, "ReconcileError", text, "Error")], now)
        scene.refused("infrastructure")
    if not deleting(infra):
        order = ("PrincipalUsageAllowed", "PrincipalCredentialRetrieved", *NEEDED)
        set_old(infra, [summary(infra["status"]["conditions"], order)], now)
    return scene.objects.save(infra, status=True)


async def _build(scene: Scene, infra: Obj) -> bool:
    """Each stage in turn; the first that fails says so in its condition, and False asks for another try later."""
    now, kind = scene.objects.now(), NEEDED[0]
    try:
        vpc = await _vpc(scene, infra)
        set_old(infra, [old("VpcReady", True)], now)
        kind = NEEDED[1]
        network = await _subnets(scene, infra, vpc)
        set_old(infra, [old("SubnetsReady", True)], now)
        if not scene.ripe("network", 0.2):
            return True
        kind = NEEDED[2]
        await _groups(scene, infra, vpc)
        set_old(infra, [old("ClusterSecurityGroupsReady", True)], now)
        kind = NEEDED[3]
        await _balancer(scene, infra, network)
    except (CloudError, Wrong) as problem:
        text = problem.text if isinstance(problem, CloudError) else str(problem)
        set_old(infra, [old(kind, False, REASONS[kind], text, "Error")], now)
        if kind == "SubnetsReady":
            scene.objects.event(infra, "FailedDescribeSubnet", text, warning=True)
        return False
    return True


async def _vpc(scene: Scene, infra: Obj) -> str:
    vpc = at(infra, "spec", "network", "vpc", "id", default="")
    if not vpc:
        raise Wrong("failed to create new vpc: the sandbox has existing VPCs only, set spec.network.vpc.id")
    await scene.aws("ec2.describe_vpcs", VpcIds=[vpc])
    return str(vpc)


async def _subnets(scene: Scene, infra: Obj, vpc: str) -> Network:
    """Fills in what the ids stand for, in the spec as the provider does, and the zones of the private ones."""
    wanted = at(infra, "spec", "network", "subnets", default=[])
    if not wanted:
        raise Wrong("no subnets specified, you must specify the subnets when using an umanaged vpc")
    network = await seen(scene.aws, vpc)
    for entry in wanted:
        found = network.subnet(entry["id"])
        if found is None:
            raise Wrong(
                f"using unmanaged vpc and subnet {entry['id']} (id {entry['id']}) specified but it doesn't exist in "
                f"vpc {vpc}"
            )
        entry["availabilityZone"], entry["cidrBlock"] = found["AvailabilityZone"], found["CidrBlock"]
        entry["isPublic"] = network.is_public(entry["id"], main=False) or tags(found).get(ROLE_TAG) == "public"
        entry["resourceID"] = entry["id"]
    _save_spec(scene, infra)
    return network


def _save_spec(scene: Scene, infra: Obj) -> None:
    """The status of this pass is kept; it is written at the end."""
    status, saved = infra.get("status", {}), dict(scene.objects.save(infra))
    infra.clear()
    infra.update(saved)
    infra["status"] = status


async def _groups(scene: Scene, infra: Obj, vpc: str) -> None:
    found = {}
    for role in GROUPS:
        name = f"{infra['metadata']['name']}-{role}"
        filters = [{"Name": "vpc-id", "Values": [vpc]}, {"Name": "group-name", "Values": [name]}]
        known = (await scene.aws("ec2.describe_security_groups", Filters=filters))["SecurityGroups"]
        if not known:
            text = f"Kubernetes cluster {infra['metadata']['name']}: {role}"
            tagged = [{"ResourceType": "security-group", "Tags": owned(infra["metadata"]["name"], role)}]
            known = [
                await scene.aws(
                    "ec2.create_security_group", GroupName=name, Description=text, VpcId=vpc, TagSpecifications=tagged
                )
            ]
            scene.objects.event(infra, "SuccessfulCreateSecurityGroup", f"Created managed SecurityGroup {name!r}")
        found[role] = {"id": known[0]["GroupId"], "name": name}
    infra["status"].setdefault("networkStatus", {})["securityGroups"] = found


async def _balancer(scene: Scene, infra: Obj, network: Network) -> None:
    internal = at(infra, "spec", "controlPlaneLoadBalancer", "scheme") == "internal"
    chosen = [entry for entry in infra["spec"]["network"]["subnets"] if bool(entry["isPublic"]) is not internal]
    known = [network.subnet(entry["id"]) for entry in chosen]
    subnets = [entry["SubnetId"] for entry in one_per_zone([entry for entry in known if entry])]
    if not subnets:
        raise Wrong(
            "failed to create load balancer: ValidationError: Either AvailabilityZones or SubnetIds must be specified"
        )
    host = await _balancer_host(scene, infra, subnets, internal=internal)
    if not scene.ripe("load balancer", 0.4):
        wait = old("LoadBalancerReady", False, "WaitForDNSNameResolve", "", "Info")
        set_old(infra, [wait], scene.objects.now())
        return
    set_old(infra, [old("LoadBalancerReady", True)], scene.objects.now())
    status = infra["status"]
    status["networkStatus"]["apiServerElb"] = {"name": balancer_name(infra), "dnsName": host}
    zones = {entry["availabilityZone"] for entry in infra["spec"]["network"]["subnets"] if not entry["isPublic"]}
    covered = {entry["AvailabilityZone"] for entry in known if entry}
    status["failureDomains"] = {zone: {"controlPlane": zone in covered} for zone in sorted(zones)}
    status["ready"] = True
    infra["spec"]["controlPlaneEndpoint"] = {"host": host, "port": PORT}
    _save_spec(scene, infra)


async def _balancer_host(scene: Scene, infra: Obj, subnets: list[str], *, internal: bool) -> str:
    name, group = balancer_name(infra), infra["status"]["networkStatus"]["securityGroups"]["apiserver-lb"]["id"]
    scheme = "internal" if internal else "internet-facing"
    marks = owned(infra["metadata"]["name"], "apiserver")
    if is_network(infra):
        known = (await scene.aws("elbv2.describe_load_balancers"))["LoadBalancers"]
        found = [entry for entry in known if entry["LoadBalancerName"] == name]
        if not found:
            made = await scene.aws(
                "elbv2.create_load_balancer", Name=name, Type="network", Scheme=scheme, Subnets=subnets, Tags=marks,
                SecurityGroups=[group],
            )  # fmt: skip
            found = made["LoadBalancers"]
        return str(found[0]["DNSName"])
    classic = (await scene.aws("elb.describe_load_balancers"))["LoadBalancerDescriptions"]
    hosts = [entry["DNSName"] for entry in classic if entry["LoadBalancerName"] == name]
    listener = {"Protocol": "TCP", "LoadBalancerPort": PORT, "InstanceProtocol": "TCP", "InstancePort": PORT}
    if not hosts:
        made = await scene.aws(
            "elb.create_load_balancer", LoadBalancerName=name, Subnets=subnets, Listeners=[listener],
            SecurityGroups=[group], Tags=marks, **({"Scheme": "internal"} if internal else {}),
        )  # fmt: skip
        hosts = [made["DNSName"]]
    return str(hosts[0])


async def _dismantle(scene: Scene, infra: Obj) -> bool:
    """When no machine is left: the load balancer, the groups, what services left. What hangs on a group keeps it, and
    us."""
    if scene.objects.of_cluster(AWS_MACHINES, scene.cluster):
        return True
    collects = garbage.wanted(infra, off=scene.stage.faults.no_garbage_collection)
    name = balancer_name(infra)
    for entry in (await scene.aws("elb.describe_load_balancers"))["LoadBalancerDescriptions"]:
        if entry["LoadBalancerName"] == name:
            await scene.aws("elb.delete_load_balancer", LoadBalancerName=name)
    for entry in (await scene.aws("elbv2.describe_load_balancers"))["LoadBalancers"]:
        if entry["LoadBalancerName"] == name:
            await scene.aws("elbv2.delete_load_balancer", LoadBalancerArn=entry["LoadBalancerArn"])
    set_old(infra, [old("LoadBalancerReady", False, "Deleted", "", "Info")], scene.objects.now())
    if not scene.ripe("end of the load balancer", 0.4):
        return True
    fine = await _without_groups(scene, infra)
    for task in collects:
        fine = await garbage.collect(scene, infra["metadata"]["name"], task) and fine
    if fine:
        scene.objects.release(AWS_CLUSTERS, infra, FINALIZER)
    return fine


async def _without_groups(scene: Scene, infra: Obj) -> bool:
    for group in at(infra, "status", "networkStatus", "securityGroups", default={}).values():
        try:
            await scene.aws("ec2.delete_security_group", GroupId=group["id"])
        except CloudError as refused:
            if refused.code == "InvalidGroup.NotFound":
                continue
            text = f"failed to delete security group {group['id']!r}: {refused.text}".replace("'", '"')
            told = old("ClusterSecurityGroupsReady", False, "DeletingFailed", text, "Warning")
            set_old(infra, [told, {**told, "type": "Ready"}], scene.objects.now())
            scene.objects.event(infra, "FailedDeleteSecurityGroup", text, warning=True)
            return False
    return True
