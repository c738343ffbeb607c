"""Stacks as the service describes them.

Source: CloudFormation API reference, "Data types".
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sandbox.aws.cloudformation.stack import STEADY, Event, Stack, Wanted


def stamp(seconds: float) -> str:
    """As the service writes times."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parameters(wanted: Wanted | None) -> list[dict[str, str]]:
    """A stack's or change set's."""
    pairs = wanted.parameters.items() if wanted else ()
    return [{"ParameterKey": name, "ParameterValue": value} for name, value in pairs]


def described(stack: Stack) -> dict[str, Any]:
    """An entry of DescribeStacks."""
    last, wanted = stack.last, stack.wanted
    done = last.status in STEADY
    return {
        "StackId": stack.id, "StackName": stack.name, "CreationTime": stamp(stack.created),
        "LastUpdatedTime": stamp(stack.updated) if stack.updated else None,
        "DeletionTime": stamp(last.at) if stack.gone else None,
        "Description": wanted.template.description if wanted else None,
        "StackStatus": last.status, "StackStatusReason": last.reason if last.reason != "User Initiated" else None,
        "Parameters": parameters(wanted), "Capabilities": ["CAPABILITY_NAMED_IAM"],
        "Outputs": stack.outputs if done else [], "Tags": wanted.tags if wanted else [],
        "DisableRollback": False, "EnableTerminationProtection": False,
    }  # fmt: skip


def event(stack: Stack, told: Event) -> dict[str, Any]:
    """An entry of DescribeStackEvents."""
    return {
        "StackId": stack.id, "EventId": told.id, "StackName": stack.name, "LogicalResourceId": told.logical,
        "PhysicalResourceId": told.physical, "ResourceType": told.kind, "Timestamp": stamp(told.at),
        "ResourceStatus": told.status, "ResourceStatusReason": told.reason,
    }  # fmt: skip


def resource(stack: Stack, told: Event) -> dict[str, Any]:
    """An entry of DescribeStackResources, from its newest event."""
    found = event(stack, told)
    del found["EventId"]
    return found


def change(action: str, name: str, replaced: str, kind: str, physical: str) -> dict[str, Any]:
    """An entry of a change set's Changes."""
    told = {"Action": action, "LogicalResourceId": name, "ResourceType": kind}
    told |= {"PhysicalResourceId": physical} if physical else {}
    told |= {"Replacement": replaced} if replaced else {}
    return {"Type": "Resource", "ResourceChange": told}
