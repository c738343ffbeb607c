"""Who somebody is now, and what the policy says of them: the look-ups that asking, clicking and listing share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from bot.directory import Directory
from bot.invocation import Invocation
from bot.policy import Decision, Person, Place, Question, Rule, Scope, decide
from bot.records import Request
from handlers.contract import Operation, Spoken


@dataclass(frozen=True)
class People:
    """The directory together with the policy's rules and the words that requests are made of. Raises what the directory
    raises: Retry when Slack does not answer, Fatal when it says no."""

    directory: Directory
    rules: tuple[Rule, ...]
    operations: Mapping[str, Spoken[Any]]

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """Every user group that the policy speaks of."""
        return groups_of(self.rules)

    def who(self, invocation: Invocation) -> Person:
        """A fresh look at the one who acts."""
        return self.directory.person(invocation.person, self.groups, invocation.person_team or invocation.team)

    def person(self, user: str) -> Person:
        """A fresh look at somebody else."""
        return self.directory.person(user, self.groups)

    def place(self, person: Person, channel: str) -> Place:
        """A fresh look at a channel; none for those who may ask nowhere: they need not invite the bot."""
        return self.directory.place(channel) if person.kind == "member" else Place(channel)

    def may_ask(self, person: Person, place: Place, about: Scope) -> Decision:
        """May this person ask for this, here?"""
        return decide(self.rules, Question(deed="ask", person=person, place=place, scope=about))

    def may_ever_ask(self, person: Person, place: Place, about: Scope) -> bool:
        """Whether there could be a cluster or an account for which this person may ask for this, here: every allow rule
        counts as if it spoke of all of them, and a deny rule only if it does."""
        wider = {"clusters": ("*",), "accounts": ("*",)}
        rules = [
            rule.model_copy(update=wider)
            for rule in self.rules
            if rule.effect == "allow" or ("*" in rule.clusters and "*" in rule.accounts)
        ]
        return decide(rules, Question(deed="ask", person=person, place=place, scope=about)).allowed

    def may_approve(self, person: Person, request: Request) -> tuple[Decision, Question]:
        """May this person approve that request? With the question, for what follows from it."""
        asker = person if request.requester == person.id else self.person(request.requester)
        question = Question(
            deed="approve",
            person=person,
            place=self.directory.place(request.channel),
            scope=self.scope(request.operation, request.arguments),
            requester=asker,
            time_box=request.is_time_box,
        )
        return decide(self.rules, question), question

    def scope(self, operation: str, arguments: Mapping[str, Any]) -> Scope:
        """What a request touches, in the policy's words. An operation that this version does not know counts as a
        change that no rule names."""
        spoken = self.operations.get(operation)
        return scope(spoken, arguments) if spoken else Scope(operation=operation, changes=True)


def scope(operation: Spoken[Any], arguments: Mapping[str, Any]) -> Scope:
    """What is asked for, in the policy's words. An account that is brought in is known by the name that it gets."""
    return Scope(
        operation=operation.name,
        changes=operation.changes,
        account=str(arguments.get("account") or arguments.get("identity") or ""),
        cluster=str(arguments.get("cluster") or ""),
        approvals=operation.approvals if isinstance(operation, Operation) else 1,
    )


def groups_of(rules: tuple[Rule, ...]) -> tuple[str, ...]:
    """Every user group that the rules speak of."""
    names = (group for rule in rules for who in (rule.ask, rule.approve) for group in who.usergroups)
    return tuple(dict.fromkeys(names))
