"""The stack that a secondary account gets: its template, its state, and what is done to it.

A stack says of itself by a tag from which template it was made, so that an older one is recognised. (AWS
CloudFormation User Guide: "Stack status codes", "Updating stacks using change sets".)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

import yaml

from handlers.contract import AwsRead, AwsRefused
from handlers.iam.stack_resources import resources_made

TEMPLATE = "secondary-account.yaml"
TAG = "tkgbot:template"
DONE = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE", "UPDATE_ROLLBACK_COMPLETE")
"""States from which a stack can be updated."""
UNMADE = ("REVIEW_IN_PROGRESS",)
"""A stack that has a change set and nothing else."""
BROKEN = ("ROLLBACK_COMPLETE", "CREATE_FAILED", "ROLLBACK_FAILED", "UPDATE_ROLLBACK_FAILED", "DELETE_FAILED")
TRUST_PARAMETERS = (
    "ManagementAccountId",
    "ControllersPrincipalArn",
    "TrustWholeAccount",
    "ExternalId",
    "BotPrincipalArn",
)
"""What the trust of the controllers' role is made of."""


@dataclass(frozen=True)
class Stack:
    """A stack as CloudFormation describes it. `template` is the digest in its tag, empty where it has none; `touched`
    is when it was last made or updated (epoch seconds)."""

    id: str
    status: str
    reason: str = ""
    template: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    touched: float = 0.0

    @property
    def busy(self) -> bool:
        """Something is being done to it at this moment."""
        return self.status.endswith("_IN_PROGRESS") and self.status not in UNMADE


@cache
def template() -> str:
    """The template's text, as it is shipped."""
    return resources.files("manifests.iam").joinpath(TEMPLATE).read_text(encoding="utf-8")


def digest_of(text: str) -> str:
    """What tells one template from another (16 hex digits of its SHA-256)."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@cache
def template_digest() -> str:
    """That of the template that is shipped."""
    return digest_of(template())


def read_stack(aws: AwsRead, name: str) -> Stack | None:
    """The stack of that name; None where there is none, or none any more."""
    try:
        answer: Any = aws.read("cloudformation", "describe_stacks", StackName=name)
    except AwsRefused as error:
        if error.code == "ValidationError":  # "Stack with id … does not exist"
            return None
        raise
    found = answer["Stacks"][0]
    if found["StackStatus"] == "DELETE_COMPLETE":
        return None
    tags = {tag["Key"]: tag["Value"] for tag in found.get("Tags", [])}
    parameters = {entry["ParameterKey"]: str(entry.get("ParameterValue", "")) for entry in found.get("Parameters", [])}
    reason = str(found.get("StackStatusReason", ""))
    touched = found.get("LastUpdatedTime") or found.get("CreationTime")
    when = touched.timestamp() if touched is not None else 0.0
    return Stack(found["StackId"], found["StackStatus"], reason, tags.get(TAG, ""), parameters, when)


def is_made(stack: Stack | None, digest: str, parameters: Mapping[str, str]) -> bool:
    """Is it complete, from that template, with those parameters?"""
    return (
        stack is not None
        and stack.status in DONE
        and stack.template == digest
        and all(stack.parameters.get(name, "") == value for name, value in parameters.items())
    )


def deployed(aws: AwsRead, name: str) -> str:
    """The template that a stack was made from."""
    return _body(aws.read("cloudformation", "get_template", StackName=name))


def proposed(aws: AwsRead, name: str, change_set: str) -> str:
    """The template of a change set."""
    return _body(aws.read("cloudformation", "get_template", StackName=name, ChangeSetName=change_set))


def _body(answer: Any) -> str:
    """One in JSON comes read already."""
    body = answer["TemplateBody"]
    return body if isinstance(body, str) else json.dumps(body)


def foreseen(
    old: str, before: Mapping[str, str], after: Mapping[str, str], new: str | None = None, *, retagged: bool = False
) -> tuple[str, ...]:
    """What an update may do, sorted (`Modify ReaderRole`): to each resource whose definition differs, or that depends
    on a parameter or a condition that does. CloudFormation may find less to do, and must not find more. `retagged`: the
    stack's own tag becomes another one, which CloudFormation hands on to every resource that can have tags."""
    one, two = _template(old), _template(new or template())
    there, will = set(resources_made(one, before)), resources_made(two, after)
    moved = {name for name, value in after.items() if before.get(name, "") != value}
    moved |= {name for name, rule in (two.get("Conditions") or {}).items() if _speaks_of(rule, moved)}
    changes = [f"Remove {name}" for name in there - set(will)]
    for name in will:
        resource = two["Resources"][name]
        if name not in there:
            changes.append(f"Add {name}")
        elif retagged or one["Resources"][name] != resource or _speaks_of(resource, moved):
            changes.append(f"Modify {name}")
    return tuple(sorted(changes))


def added(parameters: Mapping[str, str]) -> tuple[str, ...]:
    """What a new stack makes, sorted (`Add ReaderRole`)."""
    return tuple(sorted(f"Add {name}" for name in resources_made(_template(template()), parameters)))


def is_template(text: str) -> bool:
    """Does a template say what the shipped one says?"""
    return _template(text) == _template(template())


def _template(text: str) -> dict[str, Any]:
    """Templates of the bot use the long forms of functions only, so any YAML reader takes them; one that does not read
    so is somebody else's, and has no resource that the bot knows."""
    try:
        found: Any = yaml.safe_load(text)
    except yaml.YAMLError:
        found = None
    return dict(found) if isinstance(found, dict) and isinstance(found.get("Resources"), dict) else {"Resources": {}}


def _speaks_of(part: Any, names: set[str]) -> bool:
    """Is any of these parameters or conditions used in it?"""
    if isinstance(part, Mapping):
        return any(_speaks_of(value, names) for value in part.values())
    if isinstance(part, list):
        return any(_speaks_of(value, names) for value in part)
    return isinstance(part, str) and (part in names or any(f"${{{name}}}" in part for name in names))


def first_failure(aws: AwsRead, name: str) -> str:
    """Which resource failed first in the last try, with AWS's own words; empty where none did."""
    failed = ""
    for event in aws.pages("cloudformation", "describe_stack_events", "StackEvents", StackName=name):
        status, resource = str(event.get("ResourceStatus", "")), str(event.get("LogicalResourceId", ""))
        if status.endswith("_FAILED"):
            failed = f"{resource}: {event.get('ResourceStatusReason', status)}"
        if event.get("ResourceType") == "AWS::CloudFormation::Stack" and status in (
            "CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "DELETE_IN_PROGRESS", "REVIEW_IN_PROGRESS",
        ):  # fmt: skip
            break  # events come newest first: what is older belongs to an earlier try
    return failed


def events(aws: AwsRead, name: str) -> tuple[str, ...]:
    """What was done in the last try to roles, and what failed, a line each, oldest first:
    `nodes.tkg.cloud.vmware.com CREATE_COMPLETE`."""
    lines: list[str] = []
    for event in aws.pages("cloudformation", "describe_stack_events", "StackEvents", StackName=name):
        status, resource = str(event.get("ResourceStatus", "")), str(event.get("LogicalResourceId", ""))
        if event.get("ResourceType") == "AWS::CloudFormation::Stack":
            if status in ("CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "DELETE_IN_PROGRESS"):
                break
        elif status.endswith("_FAILED"):
            lines.append(f"{resource} {status}: {event.get('ResourceStatusReason', '')}")
        elif status.endswith("_COMPLETE") and event.get("ResourceType") == "AWS::IAM::Role":
            lines.append(f"{event.get('PhysicalResourceId') or resource} {status}")
    return tuple(reversed(lines))
