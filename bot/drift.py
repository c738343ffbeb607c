"""What differs between two plans, in words. Pure."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from handlers.contract import Plan

LIMIT = 12
NOT_THERE = "not there"


def differences(old: Plan, new: Plan) -> tuple[str, ...]:
    """Each material difference as a sentence, at most LIMIT and then a count."""
    lines = [*_facts(old, new), *_checks(old, new), *_steps(old, new), *_rest(old, new)]
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
        f"{name}: was {_show(before.get(name, NOT_THERE))}, is now {_show(after.get(name, NOT_THERE))}"
        for name in dict.fromkeys((*before, *after))
        if before.get(name, NOT_THERE) != after.get(name, NOT_THERE)
    ]


def _checks(old: Plan, new: Plan) -> list[str]:
    before = {check.id: check.result for check in old.checks}
    after = {check.id for check in new.checks}
    changed = [
        f"{check.title}: was {before.get(check.id, 'not checked')}, is now {check.result}. {check.evidence}"
        for check in new.checks
        if before.get(check.id) != check.result
    ]
    return changed + [f"{check.title}: no longer so" for check in old.checks if check.id not in after]


def _steps(old: Plan, new: Plan) -> list[str]:
    titles = {_content(step): step.title for step in (*old.steps, *new.steps)}
    before, after = Counter(map(_content, old.steps)), Counter(map(_content, new.steps))
    gone = [f"no longer to do: {titles[content]}" for content in before - after]
    come = [f"now to do: {titles[content]}" for content in after - before]
    return gone + come


def _rest(old: Plan, new: Plan) -> list[str]:
    lines: list[str] = []
    if sorted(old.targets) != sorted(new.targets):
        lines.append(f"targets: were {', '.join(old.targets)}, are now {', '.join(new.targets)}")
    before, after = [_content(step) for step in old.steps], [_content(step) for step in new.steps]
    if before != after and sorted(before) == sorted(after):
        lines.append("the same steps, in another order")
    return lines


def _content(step: Any) -> str:
    return json.dumps(step.model_dump(mode="json", exclude={"title"}), sort_keys=True)


def _show(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
