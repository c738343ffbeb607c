"""What a plan and a report are made of: frozen data that survives a round trip through JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, SerializeAsAny, model_validator

Json = dict[str, JsonValue]


class Model(BaseModel):
    """Base of everything that crosses the border: frozen, and unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Check(Model):
    """One preflight or verification result. `unknown` never counts as a pass."""

    id: str
    title: str
    result: Literal["pass", "warn", "block", "unknown"]
    evidence: str
    fix: str = ""

    @property
    def blocks(self) -> bool:
        """True when nothing may be approved while this check stands so."""
        return self.result in ("block", "unknown")


class Fact(Model):
    """Something observed. A material fact is part of the fingerprint, and the plan's own steps never change it:
    what the steps change stands in the steps themselves (`Step.before`), so a resumed run can compare facts."""

    name: str
    value: JsonValue
    material: bool = True


class Door(Model):
    """A role by which the bot gets into an account that its settings do not name, or not in this way. `name` stands for
    the account in actions and in leases."""

    account_id: str
    region: str
    role_arn: str
    external_id: str | None = None

    @property
    def name(self) -> str:
        """`tkgbot-reader of 444455556666`."""
        return f"{self.role_arn.rpartition('/')[2]} of {self.account_id}"


class Action(Model):
    """One IAM action that a step needs, in one account and region, confined to `resources` (ARNs or `*`).

    `conditions` has the shape of an IAM policy's Condition block. (AWS: IAM JSON policy elements.)
    """

    name: str
    account: str
    region: str
    resources: tuple[str, ...] = ("*",)
    conditions: Json = {}


class Right(Model):
    """One thing that a step does to Kubernetes objects: `verb` (get, create, patch, delete) on a resource. `cluster` is
    empty for the management cluster, else `NAMESPACE/NAME` of a workload cluster; an empty `name` means any."""

    verb: str
    resource: str
    namespace: str = ""
    name: str = ""
    cluster: str = ""


class Step(Model):
    """One idempotent change, as data.

    The chat side reads only these fields; a step's own fields (its kind's model in `handlers.steps`) survive the round
    trip as extras. `before` is what was observed when the plan was made: what an undo restores.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    kind: str
    title: str
    targets: tuple[str, ...]
    actions: tuple[Action, ...] = ()
    rights: tuple[Right, ...] = ()
    before: Json = {}


class Impact(Model):
    """What an approver has to know in ten seconds. `reversible` None: nothing is changed that anybody would undo."""

    creates: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    deletes: tuple[str, ...] = ()
    reversible: bool | None
    undo: str = ""
    cost_per_hour_usd: float | None = None


class Table(Model):
    """Rows of plain text, with one header row."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


class File(Model):
    """A text file for the thread, such as a log. `name` has an ending; `title` says in a few words what it is."""

    kind: Literal["file"] = "file"
    name: str
    title: str
    text: str


class Tile(Model):
    """One thing on a board: what it is called, a few short lines, and how it does."""

    title: str
    lines: tuple[str, ...] = ()
    tone: Literal["good", "bad", "warn", "info"] = "info"


class Board(Model):
    """Many things at a glance, as meaning: whoever shows it draws a picture of it. `title` is its sentence."""

    kind: Literal["board"] = "board"
    name: str
    title: str
    tiles: tuple[Tile, ...]


class Sheet(Model):
    """A table for the thread under one sentence."""

    kind: Literal["sheet"] = "sheet"
    tone: Literal["good", "bad", "warn", "info"] = "info"
    title: str
    table: Table


class Curve(Model):
    """One line of a chart: a value for each of its points; None where nothing is known."""

    name: str
    values: tuple[float | None, ...]
    tone: Literal["good", "bad", "warn", "info"] = "info"


class Chart(Model):
    """How numbers went over time, as meaning: whoever shows it draws a picture of it. `at` are the points (epoch
    seconds), `zone` the time zone in which they are written; `title` is its sentence."""

    kind: Literal["chart"] = "chart"
    name: str
    title: str
    zone: str = "UTC"
    at: tuple[float, ...]
    panels: tuple[tuple[Curve, ...], ...]


Exhibit = Annotated[File | Board | Sheet | Chart, Field(discriminator="kind")]
"""What is shown in a thread beside sentences."""


class Report(Model):
    """What a read-only operation answers, as meaning. `title` is the answer in one sentence; `facts` are lines with
    values from outside; `table` may be long, whoever shows it cuts it with a count; `sheets` come after it."""

    tone: Literal["good", "bad", "warn", "info"] = "info"
    title: str
    facts: tuple[str, ...] = ()
    table: Table | None = None
    sheets: tuple[Sheet, ...] = ()


class Inverse(Model):
    """What takes back what a run changed: an operation with its arguments, under that operation's own policy."""

    operation: str
    arguments: Json


class Plan(Model):
    """The checks, facts, targets and ordered steps of one request. `headline` is the change in words, for the card's
    first line: a verb, a count and a target (`tag 3 subnets for demo`)."""

    headline: str
    checks: tuple[Check, ...]
    facts: tuple[Fact, ...]
    targets: tuple[str, ...]
    steps: tuple[SerializeAsAny[Step], ...]
    impact: Impact
    details: Table | None = None

    @model_validator(mode="after")
    def _facts_have_names_of_their_own(self) -> Plan:
        names = [fact.name for fact in self.facts]
        if len(set(names)) != len(names):
            raise ValueError("two facts have one name, so the fingerprint would hold only one of them")
        return self

    @property
    def blocked(self) -> bool:
        """True when a check stands in the way."""
        return any(check.blocks for check in self.checks)

    def material(self) -> Json:
        """The material facts by name."""
        return {fact.name: fact.value for fact in self.facts if fact.material}


def fingerprint(operation: str, arguments: Mapping[str, Any], plan: Plan) -> str:
    """SHA-256 (64 hex digits) over the canonical JSON of what a person approves.

    Never over times, call ids or wording: evidence, titles, headline and the table may be phrased anew without
    voiding an approval.
    """
    steps = [step.model_dump(mode="json", exclude={"title"}) for step in plan.steps]
    content = {
        "operation": operation,
        "arguments": arguments,
        "targets": sorted(plan.targets),
        "steps": steps,
        "facts": plan.material(),
        "checks": sorted([check.id, check.result] for check in plan.checks),
    }
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


class Observation(Model):
    """How things stand for one step: `so` when nothing is left to do; `evidence` says what was seen.

    A step that waits for others' work also says how it goes: `progress` is a word that changes whenever anything moves,
    `patience` how many seconds it may stand still, and `reached` are sentences for the thread, each told once.
    `exhibits` go into the thread after them, each once, too.
    """

    so: bool
    evidence: str
    progress: str = ""
    patience: float | None = None
    reached: tuple[str, ...] = ()
    exhibits: tuple[Exhibit, ...] = ()


class Outcome(Model):
    """What carrying out one step did. `changed` is False when it already was so."""

    changed: bool
    evidence: str
