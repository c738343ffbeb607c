"""CloudFormation's operations: stacks and change sets of one world.

Sources: CloudFormation API reference (operations and their errors), User Guide "Update stacks using change sets" and
"Acknowledging IAM resources in CloudFormation templates".
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.aws import wire
from sandbox.aws.cloudformation import views
from sandbox.aws.cloudformation.resources import KINDS, Ask
from sandbox.aws.cloudformation.stack import SECONDS, STEADY, Stack, Wanted
from sandbox.aws.cloudformation.template import Template, invalid
from sandbox.aws.wire import Answer, Refusal, Request

Form = Mapping[str, str]
Place = tuple[str, str]
NOTHING = "The submitted information didn't contain changes. Submit different information to create a change set."


@dataclass
class ChangeSet:
    """`changes` are action, resource, whether it is replaced, type and physical id."""

    id: str
    name: str
    stack: Stack
    wanted: Wanted
    changes: list[tuple[str, str, str, str, str]]
    made: float
    update: bool
    execution: str


class Service:
    """All stacks of all accounts and regions of one world."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._stacks: dict[Place, list[Stack]] = {}
        self._sets: dict[Place, list[ChangeSet]] = {}

    def answer(self, request: Request, account: str, ask: Ask) -> Answer:
        """`ask` makes a call of IAM as whoever sent this request."""
        operation = OPERATIONS.get(request.action.partition(":")[2])
        if operation is None:
            raise Refusal("NotImplemented", f"The sandbox has no {request.action}", 501)
        if "RoleARN" in request.form:
            raise Refusal("NotImplemented", "The sandbox's CloudFormation acts with the caller's rights alone", 501)
        return wire.result(request, operation(self, (account, request.region), request.form, ask))

    # -- finding -------------------------------------------------------------------------------------------------

    def _find(self, place: Place, name: str) -> Stack | None:
        """By name only one that is not deleted; by id any."""
        known = self._stacks.get(place, [])
        return next((one for one in reversed(known) if one.id == name or (one.name == name and not one.gone)), None)

    def _stack(self, place: Place, name: str) -> Stack:
        found = self._find(place, name)
        if found is None:
            raise invalid(f"Stack with id {name} does not exist")
        return found

    def _set(self, place: Place, form: Form) -> ChangeSet:
        name, stack = form.get("ChangeSetName", ""), form.get("StackName")
        for one in reversed(self._sets.get(place, [])):
            if one.id == name or (one.name == name and stack in (one.stack.name, one.stack.id)):
                return one
        if stack is not None:
            self._stack(place, stack)
        raise Refusal("ChangeSetNotFound", f"ChangeSet [{name}] does not exist", 404)

    # -- what is wanted ------------------------------------------------------------------------------------------

    def _wanted(self, form: Form, old: Wanted | None) -> Wanted:
        if "TemplateURL" in form:
            raise invalid("TemplateURL must be a supported URL.")
        if form.get("UsePreviousTemplate") == "true" and old is not None:
            template = old.template
        else:
            template = Template(form.get("TemplateBody", ""))
        before = old.parameters if old else {}
        given = {
            entry["ParameterKey"]: before.get(entry["ParameterKey"], "")
            if entry.get("UsePreviousValue") == "true"
            else entry.get("ParameterValue", "")
            for entry in wire.records(form, "Parameters")
        }
        strange = sorted({str(entry.get("Type")) for entry in template.resources.values()} - set(KINDS))
        if strange:
            raise invalid(f"Template format error: Unrecognized resource types: [{', '.join(strange)}]")
        tags = [{"Key": tag["Key"], "Value": tag["Value"]} for tag in wire.records(form, "Tags")]
        wanted = Wanted(template, template.parameters(given), tags or (old.tags if old else []))
        needed, accepted = template.capability, wire.members(form, "Capabilities")
        if needed and needed not in accepted and "CAPABILITY_NAMED_IAM" not in accepted:
            raise Refusal("InsufficientCapabilitiesException", f"Requires capabilities : [{needed}]")
        return wanted

    def _new(self, place: Place, name: str) -> Stack:
        account, region = place
        arn = f"arn:aws:cloudformation:{region}:{account}:stack/{name}/{uuid.uuid4()}"
        return Stack(arn, name, account, region, self._clock)

    def _steady(self, stack: Stack) -> None:
        if stack.busy or stack.last.status not in STEADY:
            raise invalid(f"Stack:{stack.id} is in {stack.last.status} state and can not be updated.")

    # -- stacks --------------------------------------------------------------------------------------------------

    def create(self, place: Place, form: Form, ask: Ask) -> dict[str, Any]:
        if self._find(place, form["StackName"]) is not None:
            raise Refusal("AlreadyExistsException", f"Stack [{form['StackName']}] already exists")
        stack, wanted = self._new(place, form["StackName"]), self._wanted(form, None)
        stack.scope(wanted).check_rules()
        self._stacks.setdefault(place, []).append(stack)
        stack.create(ask, wanted)
        return {"StackId": stack.id}

    def update(self, place: Place, form: Form, ask: Ask) -> dict[str, Any]:
        stack = self._stack(place, form["StackName"])
        self._steady(stack)
        wanted = self._wanted(form, stack.wanted)
        stack.scope(wanted).check_rules()
        if not stack.differences(wanted) and _same(stack.wanted, wanted):
            raise invalid("No updates are to be performed.")
        stack.update(ask, wanted)
        return {"StackId": stack.id}

    def delete(self, place: Place, form: Form, ask: Ask) -> dict[str, Any]:
        """One that is not there is as good as deleted."""
        stack = self._find(place, form["StackName"])
        if stack is not None and not stack.gone and not (stack.busy and stack.last.status == "DELETE_IN_PROGRESS"):
            stack.delete(ask)
            self._sets[place] = [one for one in self._sets.get(place, []) if one.stack is not stack]
        return {}

    def describe(self, place: Place, form: Form, _ask: Ask) -> dict[str, Any]:
        if "StackName" in form:
            return {"Stacks": [views.described(self._stack(place, form["StackName"]))]}
        return {"Stacks": [views.described(stack) for stack in self._stacks.get(place, []) if not stack.gone]}

    def events(self, place: Place, form: Form, _ask: Ask) -> dict[str, Any]:
        stack = self._stack(place, form.get("StackName", ""))
        return {"StackEvents": [views.event(stack, event) for event in reversed(stack.seen())]}

    def resources(self, place: Place, form: Form, _ask: Ask) -> dict[str, Any]:
        stack = self._stack(place, form.get("StackName", ""))
        return {"StackResources": [views.resource(stack, event) for event in stack.latest().values()]}

    def summaries(self, place: Place, form: Form, _ask: Ask) -> dict[str, Any]:
        stack = self._stack(place, form.get("StackName", ""))
        listed = [views.resource(stack, event) for event in stack.latest().values()]
        for entry in listed:
            entry["LastUpdatedTimestamp"] = entry.pop("Timestamp")
        return {"StackResourceSummaries": listed}

    def template(self, place: Place, form: Form, _ask: Ask) -> dict[str, Any]:
        """Of a stack, or of a change set."""
        if "ChangeSetName" in form:
            wanted: Wanted | None = self._set(place, form).wanted
        else:
            wanted = self._stack(place, form.get("StackName", "")).wanted
        body = wanted.template.source if wanted else ""
        return {"TemplateBody": body, "StagesAvailable": ["Original", "Processed"]}

    # -- change sets ---------------------------------------------------------------------------------------------

    def make_set(self, place: Place, form: Form, _ask: Ask) -> dict[str, Any]:
        name, update = form["StackName"], form.get("ChangeSetType", "UPDATE") == "UPDATE"
        stack, set_name = self._find(place, name), form["ChangeSetName"]
        if stack is None and update:
            raise invalid(f"Stack [{name}] does not exist")
        if stack is not None and any(one.stack is stack and one.name == set_name for one in self._sets.get(place, [])):
            raise Refusal("AlreadyExistsException", f"ChangeSet [{set_name}] already exists")
        if stack is not None and update:
            self._steady(stack)
        elif stack is not None and stack.last.status != "REVIEW_IN_PROGRESS":
            raise invalid(f"Stack [{name}] already exists and cannot be created again with the changeSet [{set_name}].")
        wanted = self._wanted(form, stack.wanted if stack else None)
        planned = stack or self._new(place, name)
        planned.scope(wanted, strict=False).check_rules()
        changes = [self._typed(planned, wanted, *change) for change in planned.differences(wanted)]
        if stack is None:
            planned.begin("REVIEW_IN_PROGRESS")
            self._stacks.setdefault(place, []).append(planned)
        account, region = place
        arn = f"arn:aws:cloudformation:{region}:{account}:changeSet/{set_name}/{uuid.uuid4()}"
        empty = not changes and _same(planned.wanted, wanted)
        execution = "UNAVAILABLE" if empty else "AVAILABLE"
        made = ChangeSet(arn, set_name, planned, wanted, changes, self._clock(), update, execution)
        self._sets.setdefault(place, []).append(made)
        return {"Id": arn, "StackId": planned.id}

    def _typed(self, stack: Stack, wanted: Wanted, action: str, name: str, replaced: str) -> Any:
        known = stack.resources.get(name)
        kind = known.kind if known else wanted.template.resources[name]["Type"]
        return action, name, replaced, kind, known.made["Ref"] if known else ""

    def describe_set(self, place: Place, form: Form, _ask: Ask) -> dict[str, Any]:
        one = self._set(place, form)
        pending = self._clock() < one.made + SECONDS
        failed = one.execution == "UNAVAILABLE" and not pending
        execution = one.execution
        if execution == "EXECUTE_COMPLETE" and one.stack.busy:
            execution = "EXECUTE_IN_PROGRESS"
        return {
            "ChangeSetName": one.name, "ChangeSetId": one.id, "StackId": one.stack.id, "StackName": one.stack.name,
            "Parameters": views.parameters(one.wanted), "CreationTime": views.stamp(one.made), "Tags": one.wanted.tags,
            "ExecutionStatus": "UNAVAILABLE" if pending else execution,
            "Status": "CREATE_IN_PROGRESS" if pending else "FAILED" if failed else "CREATE_COMPLETE",
            "StatusReason": NOTHING if failed else None, "Capabilities": ["CAPABILITY_NAMED_IAM"],
            "Changes": [] if pending else [views.change(*change) for change in one.changes],
        }  # fmt: skip

    def execute_set(self, place: Place, form: Form, ask: Ask) -> dict[str, Any]:
        one = self._set(place, form)
        if one.execution != "AVAILABLE" or self._clock() < one.made + SECONDS:
            raise Refusal(
                "InvalidChangeSetStatus",
                f"ChangeSet [{one.id}] cannot be executed in its current execution status of [{one.execution}]",
            )
        if one.update:
            self._steady(one.stack)
            one.stack.update(ask, one.wanted)
        else:
            one.stack.create(ask, one.wanted)
        for other in self._sets[place]:
            if other.stack is one.stack and other.execution == "AVAILABLE":
                other.execution = "OBSOLETE"
        one.execution = "EXECUTE_COMPLETE" if one.stack.events[-1].status in STEADY else "EXECUTE_FAILED"
        return {}

    def delete_set(self, place: Place, form: Form, _ask: Ask) -> dict[str, Any]:
        """One that is not there is as good as deleted."""
        if "StackName" in form:
            self._stack(place, form["StackName"])
        name, stack = form.get("ChangeSetName", ""), form.get("StackName")
        self._sets[place] = [
            one
            for one in self._sets.get(place, [])
            if not (one.id == name or (one.name == name and stack in (one.stack.name, one.stack.id)))
        ]
        return {}


def _same(old: Wanted | None, new: Wanted) -> bool:
    return old is not None and (old.parameters, old.tags) == (new.parameters, new.tags)


OPERATIONS: dict[str, Callable[[Service, Place, Form, Ask], dict[str, Any]]] = {
    "CreateStack": Service.create,
    "UpdateStack": Service.update,
    "DeleteStack": Service.delete,
    "DescribeStacks": Service.describe,
    "DescribeStackEvents": Service.events,
    "DescribeStackResources": Service.resources,
    "ListStackResources": Service.summaries,
    "GetTemplate": Service.template,
    "CreateChangeSet": Service.make_set,
    "DescribeChangeSet": Service.describe_set,
    "ExecuteChangeSet": Service.execute_set,
    "DeleteChangeSet": Service.delete_set,
}
