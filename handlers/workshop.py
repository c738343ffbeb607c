"""The front of the operations side: finds the operations, makes the worlds, carries out steps."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import handlers
from handlers.clients.aws import AwsSessions, Session
from handlers.contract import Caller, Check, Json, Observation, Operation, Outcome, Plan
from handlers.settings import Account, OperationsSettings
from handlers.steps import decode


def discover() -> dict[str, Operation[Any]]:
    """Every operation, by name: whatever a module of this package lists in OPERATIONS. Two of one name are refused."""
    found: dict[str, Operation[Any]] = {}
    for module in pkgutil.iter_modules(handlers.__path__):
        for operation in getattr(importlib.import_module(f"handlers.{module.name}"), "OPERATIONS", ()):
            if operation.name in found:
                raise ValueError(f"two operations are named `{operation.name}`")
            found[operation.name] = operation
    return dict(sorted(found.items()))


@dataclass(frozen=True)
class Looking:
    """A ReadWorld. `purpose` keeps its sessions apart from those of other worlds."""

    sessions: AwsSessions
    caller: Caller
    purpose: str

    def account(self, name: str) -> Account:
        """The settings of one account."""
        return self.sessions.account(name)

    def aws(self, account: str, region: str) -> Session:
        """That account and region, to look at."""
        return self.sessions.reading(self.caller, account, region, self.purpose)


@dataclass(frozen=True)
class Acting:
    """A RunWorld."""

    sessions: AwsSessions
    caller: Caller

    def aws(self, account: str, region: str) -> Session:
        """That account and region, to change within the plan."""
        return self.sessions.acting(self.caller, account, region)


class TeamWorkshop:
    """The contract's Workshop over a team's settings."""

    def __init__(self, settings: OperationsSettings) -> None:
        self.settings = settings
        self.operations = discover()

    @cached_property
    def sessions(self) -> AwsSessions:
        """Made at first use: parsing AWS's models takes a quarter of a second."""
        return AwsSessions(self.settings)

    def warm_up(self) -> None:
        """Does before anybody waits what the first request would have to wait for."""
        self.sessions.warm_up()

    def resolve(self, arguments: Json) -> Json:
        """Fills what was left out from the settings, so that policy, plan and card speak of the same account."""
        filled = dict(arguments)
        if "account" in filled and filled["account"] is None:
            filled["account"] = self.settings.default_account
        account = self.settings.accounts.get(str(filled.get("account")))
        if account is not None and "region" in filled and filled["region"] is None:
            filled["region"] = account.region
        return filled

    def plan(self, operation: str, arguments: Json, caller: Caller) -> Plan:
        """Plans in a ReadWorld."""
        work = self.operations[operation]
        return work.plan(work.arguments.model_validate(arguments), Looking(self.sessions, caller, "plan"))

    def act(self, step: Json, caller: Caller) -> Outcome:
        """Observes one stored step and applies it where it is not so yet."""
        decoded, executor = decode(step)
        world = Acting(self.sessions, caller)
        seen = executor.observe(decoded, world)
        if seen.so:
            return Outcome(changed=False, evidence=seen.evidence)
        return executor.apply(decoded, world)

    def observe(self, step: Json, caller: Caller) -> Observation:
        """Looks whether one stored step is so."""
        decoded, executor = decode(step)
        return executor.observe(decoded, Acting(self.sessions, caller))

    def verify(self, operation: str, arguments: Json, plan: Plan, caller: Caller) -> list[Check]:
        """Verifies with sessions of its own, made for this one look."""
        work = self.operations[operation]
        world = Looking(self.sessions.fresh(), caller, "verify")
        return work.verify(work.arguments.model_validate(arguments), plan, world)
