"""What the emulator lacks for taking leftovers away: conditions on the tags of what is deleted (`aws:ResourceTag`), and
the network interfaces of load balancers.

Sources: Service Authorization Reference, "Actions, resources, and condition keys" of EC2 and Elastic Load Balancing;
Elastic Load Balancing User Guide (a network interface in each subnet, described as `ELB NAME`).
"""

from __future__ import annotations

from typing import Any

from sandbox.aws import emulator
from sandbox.aws.wire import Request

EC2 = {
    "ec2:TerminateInstances": "InstanceId.",
    "ec2:DeleteNetworkInterface": "NetworkInterfaceId",
    "ec2:ReleaseAddress": "AllocationId",
    "ec2:DeleteVolume": "VolumeId",
    "ec2:DeleteSecurityGroup": "GroupId",
    "ec2:RevokeSecurityGroupIngress": "GroupId",
    "ec2:RevokeSecurityGroupEgress": "GroupId",
}
"""What is deleted by its tags, and the field that names it."""
GOING = tuple(action for action in EC2 if ":Delete" in action or ":Release" in action)
BALANCERS = ("elasticloadbalancing:DeleteLoadBalancer", "elasticloadbalancing:DeleteTargetGroup")


def of(request: Request, account: str) -> list[dict[str, str]]:
    """The tags of each thing that the request is about; no tags where nothing of it is kept."""
    if request.action in EC2:
        field, stored = EC2[request.action], emulator.ec2_backends[account][request.region].tags
        names = [value for key, value in request.form.items() if key.startswith(field)]
        return [dict(stored.get(name, {})) for name in names] or [{}]
    if request.action in BALANCERS:
        return [_of_balancer(request, account)]
    return [{}]


def _of_balancer(request: Request, account: str) -> dict[str, str]:
    form, region = request.form, request.region
    arn = form.get("LoadBalancerArn") or form.get("TargetGroupArn")
    if arn:
        return dict(emulator.elbv2_backends[account][region].tagging_service.get_tag_dict_for_resource(arn))
    known = emulator.elb_backends[account][region].load_balancers.get(form.get("LoadBalancerName", ""))
    return dict(known.tags) if known else {}


def interfaces(account: str, region: str) -> None:
    """Makes those that the load balancers should have, and takes away those of load balancers that are gone. Others,
    that somebody made by hand, are left alone."""
    ec2 = emulator.ec2_backends[account][region]
    wanted = {(text, subnet): entry for entry, text in _balancers(account, region) for subnet in entry.subnets}
    there = {(card.description, card.subnet.id): card for card in ec2.enis.values() if card.requester_managed}
    for (text, subnet), entry in wanted.items():
        if (text, subnet) not in there and emulator.subnet(ec2, subnet) is not None:
            card = ec2.create_network_interface(
                subnet, "", group_ids=list(entry.security_groups or []), description=text
            )
            card.requester_managed, card.status = True, "in-use"
    for place, card in there.items():
        if place not in wanted:
            ec2.delete_network_interface(card.id)


def _balancers(account: str, region: str) -> list[tuple[Any, str]]:
    classic = emulator.elb_backends[account][region].load_balancers.values()
    new = emulator.elbv2_backends[account][region].load_balancers.values()
    return [
        *((entry, f"ELB {entry.name}") for entry in classic),
        *((entry, f"ELB {entry.arn.partition(':loadbalancer/')[2]}") for entry in new),
    ]
