"""The contract between the chat side (`bot`) and the operations side (`handlers`).

Everything that crosses the border is data: plans, steps, checks and facts are frozen pydantic models that survive a
round trip through JSON, so that what a person approved can be stored, fingerprinted, resumed and audited. This module
imports no I/O. The worlds are protocols, and their types keep reading apart from writing.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, Protocol, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, JsonValue, SerializeAsAny, model_validator

Json = dict[str, JsonValue]


# -- errors: three words carry all error policy ------------------------------------------------------------------


class UsageError(Exception):
    """A person can mend this: `message` says what is wrong, `hint` what to do next. Both are shown as they are."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Retry(Exception):
    """This passes by itself: try again after `after` seconds."""

    def __init__(self, message: str, after: float = 2.0, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.after = after
        self.hint = hint


class Fatal(Exception):
    """This does not pass by itself and the person who asked cannot mend it with other words."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


# -- what a plan is made of --------------------------------------------------------------------------------------


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


class Action(Model):
    """One IAM action that a step needs, in one account and region, confined to `resources` (ARNs or `*`).

    `conditions` has the shape of an IAM policy's Condition block. (AWS: IAM JSON policy elements.)
    """

    name: str
    account: str
    region: str
    resources: tuple[str, ...] = ("*",)
    conditions: Json = {}


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
    before: Json = {}


class Impact(Model):
    """What an approver has to know in ten seconds."""

    creates: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    deletes: tuple[str, ...] = ()
    reversible: bool
    undo: str = ""
    cost_per_hour_usd: float | None = None


class Table(Model):
    """Rows of plain text, with one header row."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


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
    """How things stand for one step: `so` when nothing is left to do; `evidence` says what was seen."""

    so: bool
    evidence: str


class Outcome(Model):
    """What carrying out one step did. `changed` is False when it already was so."""

    changed: bool
    evidence: str


# -- arguments ---------------------------------------------------------------------------------------------------


class Arguments(Model):
    """Base of every operation's argument model. Every model may name an account, a region and a cluster: these three
    words are what a team's policy speaks of."""


@dataclass(frozen=True)
class Positional:
    """Marks an argument that may be given by place; `many` takes all remaining words."""

    many: bool = False


@dataclass(frozen=True)
class Meaning:
    """What a word of this type is, for messages: `a subnet id, such as subnet-0a1b2c3d`."""

    text: str
    example: str
    mend: Callable[[str], str]


def word(
    pattern: str, meaning: str, example: str, mend: Callable[[str], str] = str.lower
) -> tuple[AfterValidator, Meaning]:
    """Metadata for a string argument that must match `pattern` as a whole. Unpack it into `Annotated`. `mend` guesses
    what a wrong word was meant to be; where its guess does not match either, messages show the example."""
    compiled = re.compile(pattern, re.ASCII)

    def check(value: str) -> str:
        if not compiled.fullmatch(value):
            raise ValueError(f"is not {meaning}, such as {example}")
        return value

    def meant(value: str) -> str:
        guess = mend(value)
        return guess if compiled.fullmatch(guess) else example

    return AfterValidator(check), Meaning(meaning, example, meant)


# -- worlds ------------------------------------------------------------------------------------------------------


class AwsRead(Protocol):
    """One account and region, to look at. `service` and `operation` are boto3's names (`ec2`, `describe_subnets`)."""

    def read(self, service: str, operation: str, **parameters: Any) -> Json:
        """One read call. Raises Retry, Fatal or AwsRefused."""
        ...

    def pages(self, service: str, operation: str, key: str, **parameters: Any) -> Iterator[Json]:
        """All items under `key` of a paged read call."""
        ...


class AwsWrite(AwsRead, Protocol):
    """One account and region, to change within the plan's actions."""

    def write(self, service: str, operation: str, **parameters: Any) -> Json:
        """One changing call; refused here already when the plan does not declare its action."""
        ...


class AwsRefused(UsageError):
    """AWS said no. `code` is AWS's error code (`InvalidSubnetID.NotFound`)."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.code = code


class AccountFacts(Protocol):
    """What planning may know of an account from the settings."""

    @property
    def id(self) -> str:
        """Twelve digits."""
        ...

    @property
    def region(self) -> str:
        """The account's default region."""
        ...


class ReadWorld(Protocol):
    """To look: AWS sessions with a read-only policy, no way to write."""

    def account(self, name: str) -> AccountFacts:
        """The settings of one account."""
        ...

    def aws(self, account: str, region: str) -> AwsRead:
        """That account and region, to look at."""
        ...


class RunWorld(Protocol):
    """To act: AWS sessions that hold exactly the approved plan's actions."""

    def aws(self, account: str, region: str) -> AwsWrite:
        """That account and region, to change."""
        ...


# -- operations --------------------------------------------------------------------------------------------------

A = TypeVar("A", bound=Arguments)


class Operation(ABC, Generic[A]):
    """A kind of work. Grammar, help, policy names and audit are generated from these five attributes."""

    name: str
    summary: str
    examples: tuple[str, ...]
    arguments: type[A]
    changes: bool = True

    @abstractmethod
    def plan(self, arguments: A, world: ReadWorld) -> Plan:
        """Looks, and says what would be changed. Changes nothing."""

    @abstractmethod
    def verify(self, arguments: A, plan: Plan, world: ReadWorld) -> list[Check]:
        """Did it really work? Looks anew; `plan` says what was promised, nothing comes from the run itself."""


@dataclass(frozen=True)
class Caller:
    """On whose behalf a session is made: for RoleSessionName, SourceIdentity and the audit."""

    request: str
    person: str
    actions: tuple[Action, ...] = field(default=())


class Workshop(Protocol):
    """Everything that the engine asks of the operations side. Steps and arguments come as stored JSON."""

    def plan(self, operation: str, arguments: Json, caller: Caller) -> Plan:
        """Plans one operation in a ReadWorld."""
        ...

    def act(self, step: Json, caller: Caller) -> Outcome:
        """Observes one step and, where it is not so yet, applies it. Idempotent."""
        ...

    def observe(self, step: Json, caller: Caller) -> Observation:
        """Looks whether one step is so."""
        ...

    def verify(self, operation: str, arguments: Json, plan: Plan, caller: Caller) -> list[Check]:
        """Verifies the whole with fresh sessions."""
        ...


def visible(text: str) -> str:
    """The text without what cannot be seen and can deceive: controls and format characters (Unicode categories Cc and
    Cf: direction overrides, zero-width, tags), line breaks and tabs apart."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(char for char in text if char in "\n\t" or unicodedata.category(char) not in ("Cc", "Cf"))


def unique(values: Sequence[str]) -> tuple[str, ...]:
    """The values without repeats, in their order."""
    return tuple(dict.fromkeys(values))
