"""What EC2 refuses and the emulator lets pass, in AWS's own words.

Sources: EC2 API reference "Error codes" and "RunInstances", EC2 User Guide "Troubleshoot instance launch issues".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sandbox.aws import emulator, quotas
from sandbox.aws.faults import Faults
from sandbox.aws.policy import like
from sandbox.aws.wire import Refusal, Request

Check = Callable[[Request, Any, Faults], None]


def check(request: Request, account: str, faults: Faults) -> None:
    """Raises Refusal. A dry run is asked about permissions alone, so nothing here touches it."""
    rule = RULES.get(request.action)
    if rule is not None and request.form.get("DryRun") != "true":
        rule(request, emulator.ec2_backends[account][request.region], faults)


def _run_instances(request: Request, ec2: Any, faults: Faults) -> None:
    form, kind = request.form, request.form.get("InstanceType", "m1.small")
    subnet_id = form.get("SubnetId") or form.get("NetworkInterface.1.SubnetId", "")
    subnet = emulator.subnet(ec2, subnet_id)
    if subnet is None:
        raise Refusal("InvalidSubnetID.NotFound", f"The subnet ID '{subnet_id}' does not exist")
    count = int(form.get("MinCount", "1"))
    _profile(form.get("IamInstanceProfile.Name"), ec2)
    _image(form.get("ImageId", ""), kind, ec2)
    _key_pair(form.get("KeyName"), ec2)
    _zone(kind, subnet.availability_zone, request.region)
    _quota(kind, count, ec2, faults)
    if subnet.available_ip_address_count < count:
        raise Refusal(
            "InsufficientFreeAddressesInSubnet",
            f"There are not enough free addresses in subnet '{subnet_id}' to satisfy the requested number of "
            "instances.",
        )
    _capacity(kind, subnet.availability_zone, request.region, faults)


def _profile(name: str | None, ec2: Any) -> None:
    if name and name not in emulator.iam_backends[ec2.account_id]["aws"].instance_profiles:
        raise Refusal(
            "InvalidParameterValue",
            f"Value ({name}) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name",
        )


def _image(image_id: str, kind: str, ec2: Any) -> None:
    if image_id not in ec2.amis:
        raise Refusal("InvalidAMIID.NotFound", f"The image id '[{image_id}]' does not exist")
    known, have = emulator.instance_type(kind), ec2.amis[image_id].architecture
    if known is None:
        raise Refusal("InvalidParameterValue", f"Invalid value '{kind}' for InstanceType.")
    wanted = known["ProcessorInfo"]["SupportedArchitectures"]
    if have not in wanted:
        raise Refusal(
            "InvalidParameterValue",
            f"The architecture '{','.join(wanted)}' of the specified instance type does not match the architecture "
            f"'{have}' of the specified AMI. Specify an instance type and an AMI that have matching architectures, "
            "and try again.",
        )


def _key_pair(name: str | None, ec2: Any) -> None:
    if name and name not in ec2.key_pairs:
        raise Refusal("InvalidKeyPair.NotFound", f"The key pair '{name}' does not exist")


def _zone(kind: str, zone: str, region: str) -> None:
    offered = emulator.zones_offering(kind, region)
    if zone not in offered:
        other = f" or choosing {', '.join(offered)}" if offered else ""
        raise Refusal(
            "Unsupported",
            f"Your requested instance type ({kind}) is not supported in your requested Availability Zone ({zone}). "
            f"Please retry your request by not specifying an Availability Zone{other}.",
        )


def _quota(kind: str, count: int, ec2: Any, faults: Faults) -> None:
    code = quotas.bucket(kind)
    if code is None:
        return
    running = [entry.instance_type for entry in emulator.running(ec2) if quotas.bucket(entry.instance_type) == code]
    wanted = sum(map(emulator.vcpus, [*running, *[kind] * count]))
    allowed = quotas.limit(code, quotas.parse(faults.quota))
    if wanted > allowed:
        raise Refusal(
            "VcpuLimitExceeded",
            f"You have requested more vCPU capacity than your current vCPU limit of {allowed:.0f} allows for the "
            "instance bucket that the specified instance type belongs to. Please visit "
            "http://aws.amazon.com/contact-us/ec2-request to request an adjustment to this limit.",
        )


def _capacity(kind: str, zone: str, region: str, faults: Faults) -> None:
    if not any(like(pattern, kind) for pattern in faults.no_capacity):
        return
    others = ", ".join(entry for entry in emulator.zones_offering(kind, region) if entry != zone)
    raise Refusal(
        "InsufficientInstanceCapacity",
        f"We currently do not have sufficient {kind} capacity in the Availability Zone you requested ({zone}). Our "
        f"system will be working on provisioning additional capacity. You can currently get {kind} capacity by not "
        f"specifying an Availability Zone in your request or choosing {others}.",
        500,
    )


def _describe_key_pairs(request: Request, ec2: Any, _faults: Faults) -> None:
    for name, value in request.form.items():
        if name.startswith("KeyName."):
            _key_pair(value, ec2)


def _delete_security_group(request: Request, ec2: Any, _faults: Faults) -> None:
    """In use by an instance or a load balancer, or named by another group's rule."""
    group = request.form.get("GroupId", "")
    if emulator.group_in_use(ec2, group):
        raise Refusal("DependencyViolation", f"resource {group} has a dependent object")


RULES: dict[str, Check] = {
    "ec2:RunInstances": _run_instances,
    "ec2:DescribeKeyPairs": _describe_key_pairs,
    "ec2:DeleteSecurityGroup": _delete_security_group,
}
