"""What differs between two plans, in words. Pure."""

from __future__ import annotations

import json
from typing import Any

from handlers.contract import Plan

LIMIT = 12


def differences(old: Plan, new: Plan) -> tuple[str, ...]:
    """Each material difference as a sentence, at most LIMIT and then a count."""
    lines = [*_facts(old, new), *_checks(old, new), *_steps(old, new)]
    if len(lines) > LIMIT:
        lines = [*lines[:LIMIT], f"and {len(lines) - LIMIT} more differences"]
    return tuple(lines)


def facts_moved(old: Plan, new: Plan) -> tuple[str, ...]:
    """Only what the plan's own steps cannot have caused: for a run that is taken up in the middle."""
    fresh_blocks = [f"{check.title}: {check.evidence}" for check in new.checks if check.blocks]
    return (*_facts(old, new), *fresh_blocks)


def _facts(old: Plan, new: Plan) -> list[str]:
    before, after = old.material(), new.material()
    return [
        f"{name}: was {_show(before.get(name))}, is now {_show(after.get(name))}"
        for name in dict.fromkeys((*before, *after))
        if before.get(name) != after.get(name)
    ]


def _checks(old: Plan, new: Plan) -> list[str]:
    before = {check.id: check.result for check in old.checks}
    return [
        f"{check.title}: was {before.get(check.id, 'not checked')}, is now {check.result}. {check.evidence}"
        for check in new.checks
        if before.get(check.id) != check.result
    ]


def _steps(old: Plan, new: Plan) -> list[str]:
    before = {_content(step): step.title for step in old.steps}
    after = {_content(step): step.title for step in new.steps}
    gone = [f"no longer to do: {title}" for content, title in before.items() if content not in after]
    come = [f"now to do: {title}" for content, title in after.items() if content not in before]
    return gone + come


def _content(step: Any) -> str:
    return json.dumps(step.model_dump(mode="json", exclude={"title"}), sort_keys=True)


def _show(value: Any) -> str:
    if value is None:
        return "not there"
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
