"""The AWS provider's garbage collection: what Services of a cluster that is deleted left in AWS.

Source: the provider's pkg/cloud/services/gc (tasks, annotations, only what is tagged as owned by the cluster).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from sandbox.kube.actors.cloud import CloudError
from sandbox.kube.actors.objects import at
from sandbox.kube.actors.stage import Scene
from sandbox.kube.errors import Obj

WHETHER = "aws.cluster.x-k8s.io/external-resource-gc"
WHAT = "aws.cluster.x-k8s.io/external-resource-tasks-gc"
YES, NO = ("1", "t", "T", "TRUE", "true", "True"), ("0", "f", "F", "FALSE", "false", "False")


class Misread(Exception):
    """An annotation that the provider cannot read."""


def wanted(infra: Obj, *, off: bool) -> list[str]:
    """The tasks to be done, by the cluster's annotations and the provider's own switch."""
    notes = at(infra, "metadata", "annotations", default={})
    said = notes.get(WHETHER)
    if said is not None and said not in (*YES, *NO):
        raise Misread(f'converting value {said} of annotation {WHETHER} to bool: strconv.ParseBool: parsing "{said}": '
                      "invalid syntax")  # fmt: skip
    if off or said in NO:
        return []
    tasks = notes[WHAT].split(",") if WHAT in notes else list(TASKS)
    unknown = [task for task in tasks if task not in TASKS]
    if unknown:
        raise Misread("panic: runtime error: invalid memory address or nil pointer dereference [recovered]")
    return tasks


async def collect(scene: Scene, cluster: str, task: str) -> bool:
    """One task; False where something is still in use."""
    return await TASKS[task](scene, cluster)


async def _balancers(scene: Scene, cluster: str) -> bool:
    classic = (await scene.aws("elb.describe_load_balancers"))["LoadBalancerDescriptions"]
    for name in [entry["LoadBalancerName"] for entry in classic]:
        told = (await scene.aws("elb.describe_tags", LoadBalancerNames=[name]))["TagDescriptions"]
        if _owned(told[0]["Tags"], cluster):
            await scene.aws("elb.delete_load_balancer", LoadBalancerName=name)
    new = (await scene.aws("elbv2.describe_load_balancers"))["LoadBalancers"]
    for arn in [entry["LoadBalancerArn"] for entry in new]:
        told = (await scene.aws("elbv2.describe_tags", ResourceArns=[arn]))["TagDescriptions"]
        if _owned(told[0]["Tags"], cluster):
            await scene.aws("elbv2.delete_load_balancer", LoadBalancerArn=arn)
    return True


async def _target_groups(scene: Scene, cluster: str) -> bool:
    found = (await scene.aws("elbv2.describe_target_groups"))["TargetGroups"]
    for arn in [entry["TargetGroupArn"] for entry in found]:
        told = (await scene.aws("elbv2.describe_tags", ResourceArns=[arn]))["TagDescriptions"]
        if _owned(told[0]["Tags"], cluster):
            await scene.aws("elbv2.delete_target_group", TargetGroupArn=arn)
    return True


async def _groups(scene: Scene, cluster: str) -> bool:
    filters = [{"Name": f"tag:kubernetes.io/cluster/{cluster}", "Values": ["owned"]}]
    fine = True
    for group in (await scene.aws("ec2.describe_security_groups", Filters=filters))["SecurityGroups"]:
        try:
            await scene.aws("ec2.delete_security_group", GroupId=group["GroupId"])
        except CloudError as refused:
            if refused.code != "DependencyViolation":
                raise
            fine = False
    return fine


def _owned(tags: list[Obj], cluster: str) -> bool:
    return any(tag == {"Key": f"kubernetes.io/cluster/{cluster}", "Value": "owned"} for tag in tags)


TASKS: dict[str, Callable[[Scene, str], Awaitable[bool]]] = {
    "load-balancer": _balancers,
    "target-group": _target_groups,
    "security-group": _groups,
}
