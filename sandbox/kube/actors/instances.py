"""The AWS provider's machine controller: one EC2 instance per AWSMachine, or why there is none.

Sources: the provider's pkg/cloud/services/ec2 (instances.go, ami.go) and controllers/awsmachine_controller.go.
"""

from __future__ import annotations

from typing import Any

from sandbox.kube.actors.cloud import CloudError
from sandbox.kube.actors.conditions import old, set_old, summary
from sandbox.kube.actors.infrastructure import balancer_name, is_network, owned
from sandbox.kube.actors.network import seen
from sandbox.kube.actors.objects import AWS_MACHINES, CONTROL_PLANE_LABEL, at
from sandbox.kube.actors.stage import Scene
from sandbox.kube.errors import Obj

FINALIZER = "awsmachine.infrastructure.cluster.x-k8s.io"
IMAGES_OWNER = "819546954734"


class NoInstance(Exception):
    """The provider does not get as far as asking AWS."""


def is_control_plane(machine: Obj) -> bool:
    return CONTROL_PLANE_LABEL in machine["metadata"].get("labels", {})


async def reconcile(scene: Scene, machine: Obj, instance: Obj, infra: Obj) -> Obj:
    """The AWSMachine as it then stands."""
    now, told = scene.objects.now(), old("InstanceReady", True)
    if not at(infra, "status", "ready"):
        told = old("InstanceReady", False, "WaitingForClusterInfrastructure", "", "Info")
    elif not at(machine, "spec", "bootstrap", "dataSecretName"):
        told = old("InstanceReady", False, "WaitingForBootstrapData", "", "Info")
    elif not at(instance, "spec", "instanceID"):
        told, instance = await _provision(scene, machine, instance, infra)
    if told["status"] == "True" and not scene.ripe(f"instance {instance['metadata']['name']}", 0.4):
        told = old("InstanceReady", False, "InstanceNotReady", "", "Warning")
    conditions, needed = [told], ["InstanceReady", "SecurityGroupsReady"]
    if told["status"] == "True":
        conditions.append(old("SecurityGroupsReady", True))
        instance.setdefault("status", {})["instanceState"] = "running"
        if is_control_plane(machine):
            conditions.append(await _register(scene, instance, infra))
            needed.append("ELBAttached")
    set_old(instance, conditions, now)
    ready = summary(instance["status"]["conditions"], needed)
    set_old(instance, [ready], now)
    if ready["status"] == "True":
        instance["status"]["ready"] = True
    return scene.objects.save(instance, status=True)


async def _provision(scene: Scene, machine: Obj, instance: Obj, infra: Obj) -> tuple[Obj, Obj]:
    what = f"instance of {instance['metadata']['name']}"
    before = next((c for c in at(instance, "status", "conditions", default=[]) if c["type"] == "InstanceReady"), None)
    if not scene.may_try(what):
        return before or old("InstanceReady", False, "InstanceProvisionStarted"), instance
    try:
        made = await _run(scene, machine, instance, infra)
    except (CloudError, NoInstance) as problem:
        text = f"failed to run instance: {problem.text}" if isinstance(problem, CloudError) else str(problem)
        text = f"failed to create AWSMachine instance: {text}"
        scene.objects.event(instance, "FailedCreate", f"Failed to create instance: {text}", warning=True)
        scene.refused(what)
        return old("InstanceReady", False, "InstanceProvisionFailed", text, "Error"), instance
    scene.done(what)
    zone, made_id = made["Placement"]["AvailabilityZone"], made["InstanceId"]
    instance["spec"] |= {"providerID": f"aws:///{zone}/{made_id}", "instanceID": made_id}
    instance = scene.objects.save(instance)
    addresses = [("InternalDNS", made["PrivateDnsName"]), ("InternalIP", made["PrivateIpAddress"])]
    instance["status"] = {
        **instance.get("status", {}),
        "addresses": [{"type": kind, "address": value} for kind, value in addresses],
        "instanceState": "pending",
    }
    scene.objects.event(instance, "SuccessfulCreate", f'Created new instance with id "{made_id}"')
    return old("InstanceReady", True), instance


async def _run(scene: Scene, machine: Obj, instance: Obj, infra: Obj) -> Obj:
    spec, name, groups = instance["spec"], scene.name, infra["status"]["networkStatus"]["securityGroups"]
    role = "control-plane" if is_control_plane(machine) else "node"
    wanted: dict[str, Any] = {
        "ImageId": at(spec, "ami", "id") or await _image(scene, machine, spec["instanceType"]),
        "InstanceType": spec["instanceType"],
        "SubnetId": _subnet(machine, spec, infra),
        "SecurityGroupIds": [
            groups[one]["id"] for one in ("node", "lb", *(["controlplane"] if role != "node" else []))
        ],
    }
    key = spec.get("sshKeyName", infra["spec"].get("sshKeyName", "default"))
    if key:
        wanted["KeyName"] = key
    if spec.get("iamInstanceProfile"):
        wanted["IamInstanceProfile"] = {"Name": spec["iamInstanceProfile"]}
    own = [tag for tag in owned(name, role) if tag["Key"] != "Name"]
    marks = [
        {"Key": "Name", "Value": instance["metadata"]["name"]},
        {"Key": f"kubernetes.io/cluster/{name}", "Value": "owned"},
    ]
    wanted["TagSpecifications"] = [{"ResourceType": "instance", "Tags": [*own, *marks]}]
    answer = await scene.aws("ec2.run_instances", MinCount=1, MaxCount=1, **wanted)
    made: Obj = answer["Instances"][0]
    return made


async def _image(scene: Scene, machine: Obj, kind: str) -> str:
    """By the name pattern of the published images; the newest of the instance type's architecture."""
    version = str(at(machine, "spec", "version", default="")).removeprefix("v")
    types = (await scene.aws("ec2.describe_instance_types", InstanceTypes=[kind]))["InstanceTypes"]
    architecture = types[0]["ProcessorInfo"]["SupportedArchitectures"][0]
    pattern = f"capa-ami-ubuntu-24.04-?{version}-*"
    filters = {"name": pattern, "architecture": architecture, "state": "available"}
    found = await scene.aws(
        "ec2.describe_images", Owners=[IMAGES_OWNER],
        Filters=[{"Name": name, "Values": [value]} for name, value in filters.items()],
    )  # fmt: skip
    images = sorted(found["Images"], key=lambda image: image["Name"])
    if not images:
        raise NoInstance(
            f"failed to create instance: failed to get default AMI: found no AMIs with the name: {pattern!r}".replace(
                "'", '"'
            )
        )
    return str(images[-1]["ImageId"])


def _subnet(machine: Obj, spec: Obj, infra: Obj) -> str:
    """The template's, else a private one of the failure domain, else the first private one."""
    known = infra["spec"]["network"]["subnets"]
    zone = machine["spec"].get("failureDomain")
    if at(spec, "subnet", "id"):
        return str(spec["subnet"]["id"])
    private = [entry for entry in known if not entry.get("isPublic")]
    fit = [entry for entry in private if zone in (None, entry.get("availabilityZone"))]
    if not fit and zone:
        raise NoInstance(
            f"failed to create instance: no subnets available in availability zone {zone!r}".replace("'", '"')
        )
    if not fit:
        raise NoInstance("failed to create instance: failed to run machine, no subnets available")
    return str(fit[0]["id"])


async def _register(scene: Scene, instance: Obj, infra: Obj) -> Obj:
    """At the API server's load balancer, which must have a leg in the instance's zone."""
    if any(c["type"] == "ELBAttached" and c["status"] == "True" for c in instance["status"].get("conditions", [])):
        return old("ELBAttached", True)
    zone, made = instance["spec"]["providerID"].split("/")[-2:]
    public = at(infra, "spec", "controlPlaneLoadBalancer", "scheme") != "internal"
    legs = [entry for entry in infra["spec"]["network"]["subnets"] if bool(entry.get("isPublic")) is public]
    if zone not in [entry["availabilityZone"] for entry in legs]:
        text = (
            f'failed to register instance with APIServer ELB "{balancer_name(infra)}": instance is in availability '
            f'zone "{zone}", no public subnets attached to the ELB in the same zone'
        )
        scene.objects.event(instance, "FailedAttachControlPlaneELB", text, warning=True)
        scene.refused(f"balancer of {made}")
        return old("ELBAttached", False, "ELBAttachFailed", text, "Error")
    if not is_network(infra):
        await scene.aws(
            "elb.register_instances_with_load_balancer",
            LoadBalancerName=balancer_name(infra), Instances=[{"InstanceId": made}],
        )  # fmt: skip
    return old("ELBAttached", True)


async def terminate(scene: Scene, instance: Obj) -> None:
    """The instance ends before the object does. One that somebody else ended is as good."""
    made = at(instance, "spec", "instanceID")
    if made:
        try:
            await scene.aws("ec2.terminate_instances", InstanceIds=[made])
        except CloudError as refused:
            if refused.code != "InvalidInstanceID.NotFound":
                raise
        scene.objects.event(instance, "SuccessfulTerminate", f'Terminated instance "{made}"')
    scene.objects.release(AWS_MACHINES, instance, FINALIZER)


async def has_way_out(scene: Scene, instance: Obj) -> bool:
    """Whether the instance runs and its subnet leads to the internet, without which nothing can be fetched."""
    found = await scene.aws("ec2.describe_instances", InstanceIds=[instance["spec"]["instanceID"]])
    here = found["Reservations"][0]["Instances"][0]
    if here["State"]["Name"] != "running":
        return False
    network = await seen(scene.aws, here["VpcId"])
    return network.has_way_out(here["SubnetId"])
