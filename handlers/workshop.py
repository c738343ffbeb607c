"""The front of the operations side: finds the operations, makes the worlds, carries out steps."""

from __future__ import annotations

import importlib
import pkgutil
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import handlers
from handlers.contract import (
    Caller,
    Check,
    Extent,
    Fatal,
    Inverse,
    Json,
    Made,
    Observation,
    Offer,
    Operation,
    Outcome,
    Plan,
    Report,
    ReportOperation,
    Spoken,
    Survey,
    TimeBox,
)
from handlers.examine import examinations
from handlers.settings import OperationsSettings
from handlers.steps import decode
from handlers.survey.look import Surveyor
from handlers.time_box import time_boxes
from handlers.worlds import Acting, Looking, Reach


def discover() -> dict[str, Spoken[Any]]:
    """Every operation, by name: whatever a module of this package lists in OPERATIONS. Two of one name are refused."""
    found: dict[str, Spoken[Any]] = {}
    for module in pkgutil.iter_modules(handlers.__path__):
        for operation in getattr(importlib.import_module(f"handlers.{module.name}"), "OPERATIONS", ()):
            if operation.name in found:
                raise ValueError(f"two operations are named `{operation.name}`")
            found[operation.name] = operation
    return dict(sorted(found.items()))


class TeamWorkshop:
    """The contract's Workshop over a team's settings."""

    def __init__(
        self,
        settings: OperationsSettings,
        clock: Callable[[], float] = time.time,
        observer: Callable[[str, str, str, float], None] = lambda cloud, service, outcome, seconds: None,
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.observer = observer
        self.operations = discover()

    @cached_property
    def reach(self) -> Reach:
        """Made at first use: parsing AWS's models takes a quarter of a second."""
        return Reach.of(self.settings, self.clock, self.observer)

    def warm_up(self) -> None:
        """Does before anybody waits what the first request would have to wait for."""
        self.reach.sessions.warm_up()

    def resolve(self, arguments: Json) -> Json:
        """Fills what was left out from the settings, so that policy, plan and card speak of the same account."""
        filled = dict(arguments)
        is_place = {"account", "region"} <= filled.keys()  # else the account itself is what is asked about
        if is_place and filled["account"] is None:
            filled["account"] = self.settings.default_account
        account = self.settings.accounts.get(str(filled.get("account")))
        if account is not None and "region" in filled and filled["region"] is None:
            filled["region"] = account.region
        return filled

    def plan(self, operation: str, arguments: Json, caller: Caller) -> Plan:
        """Plans in a ReadWorld."""
        work = self._change(operation)
        return work.plan(work.arguments.model_validate(arguments), Looking(self.reach, caller, "plan"))

    def act(self, step: Json, caller: Caller) -> Outcome:
        """Observes one stored step and applies it where it is not so yet."""
        decoded, executor = decode(step)
        world = Acting(self.reach, caller)
        seen = executor.observe(decoded, world)
        if seen.so:
            return Outcome(changed=False, evidence=seen.evidence)
        return executor.apply(decoded, world)

    def observe(self, step: Json, caller: Caller) -> Observation:
        """Looks whether one stored step is so."""
        decoded, executor = decode(step)
        return executor.observe(decoded, Acting(self.reach, caller))

    def verify(self, operation: str, arguments: Json, plan: Plan, caller: Caller) -> list[Check]:
        """Verifies with sessions of its own, made for this one look."""
        work = self._change(operation)
        world = Looking(self.reach.fresh(), caller, "verify")
        return work.verify(work.arguments.model_validate(arguments), plan, world)

    def report(self, operation: str, arguments: Json, caller: Caller) -> Report:
        """Looks in a ReadWorld."""
        work = self.operations.get(operation)
        if not isinstance(work, ReportOperation):
            raise Fatal(f"`{operation}` is not a report.")
        answer: Report = work.report(work.arguments.model_validate(arguments), Looking(self.reach, caller, "report"))
        return answer

    def inverse(self, operation: str, arguments: Json, plan: Plan, touched: Sequence[int]) -> Inverse | None:
        """Asks the operation; looks at nothing."""
        work = self._change(operation)
        return work.inverse(work.arguments.model_validate(arguments), plan, touched)

    def examinations(self) -> Mapping[str, Callable[[], list[Check]]]:
        """What can be looked at of the places that the settings name."""
        return examinations(self.reach)

    def follow_up(self, operation: str, arguments: Json, plan: Plan, caller: Caller) -> tuple[Offer, ...]:
        """Looks for what may be asked for next, with sessions of its own."""
        work = self._change(operation)
        world = Looking(self.reach.fresh(), caller, "follow-up")
        return work.follow_up(work.arguments.model_validate(arguments), plan, world)

    def time_boxes(self, caller: Caller) -> list[TimeBox]:
        """Reads the list of clusters; there are none where the settings name no management cluster."""
        if self.settings.management_cluster is None:
            return []
        return time_boxes(Looking(self.reach, caller, "time boxes").management())

    def survey(self, extent: Extent, made: Sequence[Made], caller: Caller) -> Survey:
        """Looks at everything, in a ReadWorld."""
        return Surveyor.of_settings(Looking(self.reach, caller, "survey"), self.operations).survey(extent, made)

    def _change(self, operation: str) -> Operation[Any]:
        work = self.operations.get(operation)
        if not isinstance(work, Operation):
            raise Fatal(f"`{operation}` is not an operation that this version of tkgbot can carry out.")
        return work
