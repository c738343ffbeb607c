"""One stack: what it is made of, what happened to it, and what can be seen of that by now.

A stack's work is done at once, in the caller's name; its events are dated one after the other and are seen when their
time has come, so that whoever follows a stack sees it in progress. Source: CloudFormation User Guide, "Stack status
codes" and "Understand CloudFormation stack creation events".
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sandbox.aws.cloudformation.resources import KINDS, Ask, Made
from sandbox.aws.cloudformation.scope import Scope
from sandbox.aws.cloudformation.template import NAMES, Template
from sandbox.aws.wire import Refusal

SECONDS = 0.06
"""Between two events."""
KIND = "AWS::CloudFormation::Stack"
STEADY = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE")
CODES = {
    "AccessDenied": "AccessDenied",
    "EntityAlreadyExists": "AlreadyExists",
    "NoSuchEntity": "NotFound",
    "MalformedPolicyDocument": "InvalidRequest",
    "LimitExceeded": "ServiceLimitExceeded",
}


@dataclass
class Resource:
    """One that exists, with the properties that it was made from."""

    kind: str
    properties: dict[str, Any]
    made: Made


@dataclass(frozen=True)
class Event:
    """`logical` is the stack's own name in events of the stack as a whole."""

    at: float
    logical: str
    physical: str
    kind: str
    status: str
    reason: str | None
    id: str


@dataclass(frozen=True)
class Wanted:
    """What a stack is to become."""

    template: Template
    parameters: dict[str, str]
    tags: list[dict[str, str]]


@dataclass
class Stack:
    """`clock` is in seconds of the epoch."""

    id: str
    name: str
    account: str
    region: str
    clock: Callable[[], float]
    wanted: Wanted | None = None
    resources: dict[str, Resource] = field(default_factory=dict)
    outputs: list[dict[str, Any]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    created: float = 0.0
    updated: float | None = None

    def __post_init__(self) -> None:
        self.created = self.clock()

    # -- what can be seen ----------------------------------------------------------------------------------------

    def seen(self) -> list[Event]:
        """The events whose time has come, oldest first."""
        now = self.clock()
        return [event for event in self.events if event.at <= now]

    @property
    def last(self) -> Event:
        """The newest event of the stack as a whole."""
        return [event for event in self.seen() if event.kind == KIND][-1]

    @property
    def busy(self) -> bool:
        return self.events[-1].at > self.clock()

    @property
    def gone(self) -> bool:
        return self.last.status == "DELETE_COMPLETE"

    def latest(self) -> dict[str, Event]:
        """The newest event of each resource."""
        return {event.logical: event for event in self.seen() if event.kind != KIND}

    # -- work ----------------------------------------------------------------------------------------------------

    def begin(self, status: str) -> None:
        """Work starts now; it is somebody's wish."""
        self._tell(self.name, self.id, KIND, status, "User Initiated")

    def scope(self, wanted: Wanted, *, strict: bool = True) -> Scope:
        pseudo = {
            "AWS::AccountId": self.account, "AWS::Region": self.region, "AWS::Partition": "aws",
            "AWS::URLSuffix": "amazonaws.com", "AWS::StackName": self.name, "AWS::StackId": self.id,
        }  # fmt: skip
        made = {name: entry.made for name, entry in self.resources.items()}
        from_parameters: dict[str, Any] = {**pseudo, **wanted.parameters}
        return Scope(wanted.template, from_parameters, made, strict=strict)

    def create(self, ask: Ask, wanted: Wanted) -> None:
        """All of it, or nothing."""
        self.begin("CREATE_IN_PROGRESS")
        self.wanted = wanted
        failed = self._each(ask, wanted)
        if failed:
            why = f"The following resource(s) failed to create: [{failed}]. Rollback requested by user."
            self._end("ROLLBACK_IN_PROGRESS", why)
            left = self._remove(ask, list(self.resources))
            self._end("ROLLBACK_FAILED" if left else "ROLLBACK_COMPLETE", _undeleted(left))
            return
        self.outputs = self.scope(wanted).outputs()
        self._end("CREATE_COMPLETE")

    def update(self, ask: Ask, wanted: Wanted) -> None:
        """What fails takes the rest back to what it was."""
        self.begin("UPDATE_IN_PROGRESS")
        self.updated = self.clock()
        before, old = {name: (entry.properties, entry.made) for name, entry in self.resources.items()}, self.wanted
        failed = self._each(ask, wanted)
        if failed:
            self._end("UPDATE_ROLLBACK_IN_PROGRESS", f"The following resource(s) failed to update: [{failed}]. ")
            self._remove(ask, [name for name in self.resources if name not in before])
            for name, (properties, _) in before.items():
                self._change(ask, name, properties)
            self._end("UPDATE_ROLLBACK_COMPLETE")
            self.wanted = old
            return
        self.wanted = wanted
        self._end("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS")
        active = self.scope(wanted).active()
        self._remove(ask, [name for name in self.resources if name not in active])
        self.outputs = self.scope(wanted).outputs()
        self._end("UPDATE_COMPLETE")

    def delete(self, ask: Ask) -> None:
        """In the order in which nothing is needed any more."""
        self.begin("DELETE_IN_PROGRESS")
        left = self._remove(ask, list(self.resources))
        self._end("DELETE_FAILED" if left else "DELETE_COMPLETE", _undeleted(left))

    def differences(self, wanted: Wanted) -> list[tuple[str, str, str]]:
        """What would be done, as action, resource and whether it is replaced."""
        scope = self.scope(wanted, strict=False)
        order = scope.active()
        found = [("Add", name, "") for name in order if name not in self.resources]
        for name in [name for name in order if name in self.resources]:
            known, properties = self.resources[name], self._properties(scope, name, wanted)
            if properties != known.properties:
                fixed = KINDS[known.kind].fixed
                other = any(properties.get(one) != known.properties.get(one) for one in fixed)
                found.append(("Modify", name, str(other)))
        return [*found, *(("Remove", name, "") for name in self.resources if name not in order)]

    def _properties(self, scope: Scope, name: str, wanted: Wanted) -> dict[str, Any]:
        """With the stack's own tags, which go on to roles."""
        entry = scope.template.resources[name]
        properties: dict[str, Any] = dict(scope.value(entry.get("Properties", {})))
        if entry["Type"] == "AWS::IAM::Role" and wanted.tags:
            own = properties.get("Tags", [])
            named = {tag["Key"] for tag in own}
            properties["Tags"] = [*own, *(tag for tag in wanted.tags if tag["Key"] not in named)]
        return properties

    def _each(self, ask: Ask, wanted: Wanted) -> str | None:
        """Makes or changes every resource; the name of the one that was refused."""
        for name in self.scope(wanted).active():
            properties = self._properties(self.scope(wanted), name, wanted)
            kind = wanted.template.resources[name]["Type"]
            fine = (
                self._change(ask, name, properties)
                if name in self.resources
                else self._make(ask, name, kind, properties)
            )
            if not fine:
                return name
        return None

    def _make(self, ask: Ask, name: str, kind: str, properties: dict[str, Any]) -> bool:
        physical = str(properties.get(NAMES.get(kind, "")) or f"{self.name}-{name}-{uuid.uuid4().hex[:12].upper()}")
        self._tell(name, "", kind, "CREATE_IN_PROGRESS")
        try:
            made = KINDS[kind].create(ask, physical, properties)
        except Refusal as refused:
            self._tell(name, "", kind, "CREATE_FAILED", _reason(refused))
            return False
        self.resources[name] = Resource(kind, properties, made)
        self._tell(name, made["Ref"], kind, "CREATE_COMPLETE")
        return True

    def _change(self, ask: Ask, name: str, properties: dict[str, Any]) -> bool:
        known = self.resources[name]
        if properties == known.properties:
            return True
        if any(properties.get(one) != known.properties.get(one) for one in KINDS[known.kind].fixed):
            return self._replace(ask, name, properties)
        self._tell(name, known.made["Ref"], known.kind, "UPDATE_IN_PROGRESS")
        try:
            KINDS[known.kind].update(ask, known.made, known.properties, properties)
        except Refusal as refused:
            self._tell(name, known.made["Ref"], known.kind, "UPDATE_FAILED", _reason(refused))
            return False
        known.properties = properties
        self._tell(name, known.made["Ref"], known.kind, "UPDATE_COMPLETE")
        return True

    def _replace(self, ask: Ask, name: str, properties: dict[str, Any]) -> bool:
        """A new one first, then the old one goes; a name that the template gives must be another one."""
        old = self.resources.pop(name)
        if not self._make(ask, name, old.kind, properties):
            self.resources[name] = old
            return False
        KINDS[old.kind].delete(ask, old.made, old.properties)
        return True

    def _remove(self, ask: Ask, names: list[str]) -> list[str]:
        """The last first; the answer is what could not be deleted."""
        left = []
        for name in reversed(names):
            known = self.resources[name]
            self._tell(name, known.made["Ref"], known.kind, "DELETE_IN_PROGRESS")
            try:
                KINDS[known.kind].delete(ask, known.made, known.properties)
            except Refusal as refused:
                if refused.code != "NoSuchEntity":
                    self._tell(name, known.made["Ref"], known.kind, "DELETE_FAILED", _reason(refused))
                    left.append(name)
                    continue
            del self.resources[name]
            self._tell(name, known.made["Ref"], known.kind, "DELETE_COMPLETE")
        return left

    def _end(self, status: str, reason: str | None = None) -> None:
        self._tell(self.name, self.id, KIND, status, reason)

    def _tell(self, logical: str, physical: str, kind: str, status: str, reason: str | None = None) -> None:
        now, last = self.clock(), self.events[-1].at if self.events else 0.0
        at = max(now, last + SECONDS)
        self.events.append(Event(at, logical, physical, kind, status, reason, str(uuid.uuid4())))


def _undeleted(left: list[str]) -> str | None:
    return f"The following resource(s) failed to delete: [{', '.join(left)}]. " if left else None


def _reason(refused: Refusal) -> str:
    """In the words of the resource types' handlers."""
    code = CODES.get(refused.code, "GeneralServiceException")
    request = f"(Service: Iam, Status Code: {refused.status}, Request ID: {uuid.uuid4()})"
    said = f'Resource handler returned message: "{refused.message} {request}"'
    return f"{said} (RequestToken: {uuid.uuid4()}, HandlerErrorCode: {code})"
