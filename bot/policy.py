"""Who may ask, who may approve, and when enough have. One pure function decides, at the request, at each click and
before the run, and says why.

Deny by default; an explicit deny wins over every allow. All allow rules under which the requester may ask govern the
request together: each one's quorum must be filled, so that adding a rule can never make an approval easier.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from handlers.contract import Model

Deed = Literal["ask", "approve", "run"]
Kind = Literal["member", "guest", "stranger", "foreign", "bot", "deactivated"]

WHY_NOT: dict[str, str] = {
    "guest": "Guests of this workspace cannot ask for or approve changes.",
    "stranger": "People from outside this workspace cannot ask for or approve changes.",
    "foreign": "People of another workspace cannot ask for or approve changes.",
    "bot": "Apps and bots cannot ask for or approve changes.",
    "deactivated": "This Slack account is deactivated.",
}


@dataclass(frozen=True)
class Person:
    """Who somebody is at this moment, as Slack just said. `groups` are the ids of the user groups they are in."""

    id: str
    kind: Kind
    groups: frozenset[str] = frozenset()
    email: str = ""

    def is_same_human(self, other: Person) -> bool:
        """One person with two accounts is still one person."""
        return self.id == other.id or (bool(self.email) and self.email.casefold() == other.email.casefold())


@dataclass(frozen=True)
class Place:
    """A channel. `shared` is true where another organisation can read along (Slack Connect), `direct` where only one
    person and the bot can."""

    channel: str
    shared: bool = False
    direct: bool = False


@dataclass(frozen=True)
class Scope:
    """What is asked for: an operation's name and what it touches. `changes` is False for reports; `approvals` is what
    the operation wants where a rule names no number."""

    operation: str
    changes: bool
    account: str = ""
    cluster: str = ""
    approvals: int = 1


class Vote(Model):
    """One person's word. `at` is epoch seconds."""

    person: str
    approve: bool
    at: float


def seconds(value: object) -> object:
    """`90s`, `30m`, `8h` or `2d` as seconds; numbers stay as they are."""
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd])", value.strip())
    if match is None:
        raise ValueError(f"“{value}” is not a duration such as 30m, 8h or 2d")
    return float(match.group(1)) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[match.group(2)]


Duration = Annotated[float, BeforeValidator(seconds), Field(gt=0, le=30 * 86400)]


class Who(Model):
    """A set of people: users and user groups by id, or every full member of the workspace."""

    users: tuple[str, ...] = ()
    usergroups: tuple[str, ...] = ()
    members: bool = False

    def holds(self, person: Person) -> bool:
        """True when `person` is one of them."""
        return (
            person.id in self.users
            or not person.groups.isdisjoint(self.usergroups)
            or (self.members and person.kind == "member")
        )

    @property
    def is_nobody(self) -> bool:
        """True when it names no one."""
        return not (self.users or self.usergroups or self.members)


class Rule(Model):
    """One line of the team's policy. Patterns are shell globs over operation names, channel ids, account names and
    cluster names. Times are seconds, or words such as `8h`.

    `approvals` left out is what the operation wants: two for `cluster delete`, else one. With `time_box_counts`, a
    deletion that nobody but the end of a cluster's time box asks for needs no further approval under this rule.
    """

    name: str
    effect: Literal["allow", "deny"] = "allow"
    operations: tuple[str, ...] = Field(min_length=1)
    channels: tuple[str, ...] = ("*",)
    accounts: tuple[str, ...] = ("*",)
    clusters: tuple[str, ...] = ("*",)
    ask: Who = Who()
    approve: Who = Who()
    approvals: int | None = Field(None, ge=1, le=10)
    requester_counts: bool = False
    time_box_counts: bool = False
    request_ttl: Duration = 8 * 3600.0
    approval_ttl: Duration = 30 * 60.0

    def covers(self, scope: Scope, place: Place) -> bool:
        """True when the rule speaks of this operation, here, on this account and cluster."""
        return (
            _any(self.operations, scope.operation)
            and _any(self.channels, place.channel)
            and _any(self.accounts, scope.account)
            and _any(self.clusters, scope.cluster)
        )


class Need(Model):
    """What one governing rule demands."""

    rule: str
    approvals: int
    approve: Who
    requester_counts: bool


class Needs(Model):
    """What a request demands before it may run, all of it."""

    each: tuple[Need, ...]
    request_ttl: float
    approval_ttl: float

    @property
    def approvals(self) -> int:
        """The most approvals that any one rule wants: what a card shows as `1 of N`."""
        return max((need.approvals for need in self.each), default=0)


@dataclass(frozen=True)
class Question:
    """May `person` do `deed`? For approve and run: to a request of `requester`, with `votes` by `voters`. `time_box` is
    true of what the end of a time box asks for, in the name of who set it."""

    deed: Deed
    person: Person
    place: Place
    scope: Scope
    requester: Person | None = None
    votes: tuple[Vote, ...] = ()
    voters: Mapping[str, Person] = field(default_factory=dict)
    time_box: bool = False

    def wanted(self, rule: Rule) -> int:
        """How many approvals that rule wants."""
        if self.time_box and rule.time_box_counts:
            return 0
        return rule.approvals or self.scope.approvals


@dataclass(frozen=True)
class Decision:
    """The answer, its reasons as sentences, and the names of the rules that mattered."""

    allowed: bool
    reasons: tuple[str, ...]
    rules: tuple[str, ...] = ()
    needs: Needs | None = None


def decide(rules: Sequence[Rule], question: Question) -> Decision:
    """The one policy function."""
    person, place, scope = question.person, question.place, question.scope
    if person.kind != "member":
        return Decision(False, (WHY_NOT[person.kind],))
    if scope.changes and place.shared:
        return Decision(False, ("This channel is shared with another organisation, so nothing is changed from here.",))
    if scope.changes and place.direct:
        return Decision(False, ("Changes are asked for in a channel, where those who approve can see them.",))
    covering = [rule for rule in rules if rule.covers(scope, place)]
    asker = question.requester or person
    asking = _may_ask(covering, asker, question)
    if not asking.allowed or question.deed == "ask":
        return asking
    governing = [rule for rule in covering if rule.name in asking.rules]
    if question.deed == "approve":
        return _may_approve(covering, governing, person, asker, asking.needs)
    return _may_run(covering, governing, question, asker, asking.needs)


def _may_ask(covering: Sequence[Rule], asker: Person, question: Question) -> Decision:
    person, scope = question.person, question.scope
    whose = "You" if asker.id == person.id else "The person who asked"
    if asker.kind != "member":
        return Decision(False, (WHY_NOT[asker.kind],))
    denied = _denying(covering, "ask", asker)
    if denied:
        by = ", ".join(denied)
        return Decision(False, (f"{whose} may not ask for `{scope.operation}` here: denied by rule “{by}”.",), denied)
    governing = [rule for rule in covering if rule.effect == "allow" and rule.ask.holds(asker)]
    if not governing:
        reason = f"No rule of the policy lets {whose.lower()} ask for `{scope.operation}` here{_on(scope)}."
        return Decision(False, (reason,))
    names_ = tuple(rule.name for rule in governing)
    reasons = tuple(f"Rule “{name}” allows {whose.lower()} to ask for `{scope.operation}`." for name in names_)
    return Decision(True, reasons, names_, _needs(governing, question) if scope.changes else None)


def _may_approve(
    covering: Sequence[Rule], governing: Sequence[Rule], person: Person, asker: Person, needs: Needs | None
) -> Decision:
    denied = _denying(covering, "approve", person)
    if denied:
        return Decision(False, (f"You may not approve this: denied by rule “{', '.join(denied)}”.",), denied)
    counts = [rule for rule in governing if _counts(rule, person, asker)]
    if counts:
        names = tuple(rule.name for rule in counts)
        return Decision(True, tuple(f"Your approval counts for rule “{name}”." for name in names), names, needs)
    if person.is_same_human(asker):
        return Decision(False, ("You asked for this, so somebody else has to approve it.",), needs=needs)
    return Decision(False, ("You are not one of the people who may approve this.",), needs=needs)


def _may_run(
    covering: Sequence[Rule], governing: Sequence[Rule], question: Question, asker: Person, needs: Needs | None
) -> Decision:
    approved = [vote.person for vote in question.votes if vote.approve]
    voters = [question.voters[person] for person in approved if person in question.voters]
    entitled = [voter for voter in voters if voter.kind == "member" and not _denying(covering, "approve", voter)]
    missing: list[str] = []
    for rule in governing:
        humans: list[Person] = []
        for voter in entitled:
            if _counts(rule, voter, asker) and not any(voter.is_same_human(other) for other in humans):
                humans.append(voter)
        if len(humans) < question.wanted(rule):
            missing.append(f"Rule “{rule.name}” has {len(humans)} of {question.wanted(rule)} approvals.")
    names = tuple(rule.name for rule in governing)
    if missing:
        return Decision(False, tuple(missing), names, needs)
    return Decision(True, tuple(f"Rule “{name}” has its approvals." for name in names), names, needs)


def _counts(rule: Rule, person: Person, asker: Person) -> bool:
    return rule.approve.holds(person) and (rule.requester_counts or not person.is_same_human(asker))


def _denying(covering: Sequence[Rule], deed: Literal["ask", "approve"], person: Person) -> tuple[str, ...]:
    return tuple(rule.name for rule in covering if rule.effect == "deny" and getattr(rule, deed).holds(person))


def _needs(governing: Sequence[Rule], question: Question) -> Needs:
    return Needs(
        each=tuple(
            Need(rule=r.name, approvals=question.wanted(r), approve=r.approve, requester_counts=r.requester_counts)
            for r in governing
        ),
        request_ttl=min(rule.request_ttl for rule in governing),
        approval_ttl=min(rule.approval_ttl for rule in governing),
    )


def _on(scope: Scope) -> str:
    parts = [f"cluster `{scope.cluster}`"] if scope.cluster else []
    parts += [f"account `{scope.account}`"] if scope.account else []
    return f" (on {' in '.join(parts)})" if parts else ""


def _any(patterns: Sequence[str], value: str) -> bool:
    return any(fnmatchcase(value, pattern) for pattern in patterns)
