"""What finished requests made so and nothing has taken back since: what a look for drift compares the world with.

A later run ends what an earlier one made when it took it back (`/tkg undo`), when it did the same again, or when its
operation ends that kind of work for the same cluster or account (`Operation.ends`). Where a later run names only some
of the things (subnets), the others stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from bot import tables
from bot.fields import positional
from bot.lifecycle import State
from bot.people import scope
from handlers.contract import Made, Operation, Spoken

MOST = 2_000
"""Requests that are looked through, from the newest on."""


def lasting(connection: sa.Connection, operations: Mapping[str, Spoken[Any]]) -> tuple[Made, ...]:
    """The requests whose outcome should still be there, the oldest first. One that ends others counts also where it
    found that nothing was left to do."""
    columns = tables.requests.c
    ending = [name for name, operation in operations.items() if isinstance(operation, Operation) and operation.ends]
    found_so = sa.and_(columns.state == State.NOTHING_TO_DO, columns.operation.in_(ending))
    at = sa.func.coalesce(columns.ended_at, columns.updated_at).label("at")
    rows = connection.execute(
        sa.select(columns.id, columns.operation, columns.arguments, at, columns.undoes)
        .where(sa.or_(sa.and_(columns.state == State.SUCCEEDED, columns.ended_at.is_not(None)), found_so))
        .order_by(at.desc(), columns.id)
        .limit(MOST)
    ).all()
    return still_there([(row.undoes, _made(row)) for row in reversed(rows)], operations)


def still_there(finished: list[tuple[str | None, Made]], operations: Mapping[str, Spoken[Any]]) -> tuple[Made, ...]:
    """Of finished requests, each with the request that it took back, the oldest first. Pure."""
    kept: list[Made] = []
    for undoes, made in finished:
        operation = operations.get(made.operation)
        if not isinstance(operation, Operation):
            continue
        kept = [left for one in kept if one.request != undoes and (left := _left(one, made, operation, operations))]
        if type(operation).drift is not Operation.drift:
            kept.append(made)
    return tuple(kept)


def _left(one: Made, later: Made, by: Operation[Any], operations: Mapping[str, Spoken[Any]]) -> Made | None:
    """What is left of an earlier request after a later one; None where nothing is."""
    again = one.operation == later.operation
    if not (again or one.operation in by.ends) or not _same(one, later, operations):
        return one
    things = _things(operations[one.operation])
    gone = later.arguments.get(things)
    if not things or (not gone and not again):
        return None
    had = one.arguments.get(things)
    if not isinstance(had, list) or not isinstance(gone, list) or not gone:
        return one if again and one.arguments != later.arguments else None
    rest = [thing for thing in had if thing not in gone]
    return one.model_copy(update={"arguments": {**one.arguments, things: rest}}) if rest else None


def _things(operation: Spoken[Any]) -> str:
    """The argument that may name several things, such as subnets."""
    marks = {name: positional(field) for name, field in operation.arguments.model_fields.items()}
    return next((name for name, mark in marks.items() if mark is not None and mark.many), "")


def _same(one: Made, later: Made, operations: Mapping[str, Spoken[Any]]) -> bool:
    """Whether both speak of one cluster, or else of one account."""
    first, second = (scope(operations[made.operation], made.arguments) for made in (one, later))
    if first.cluster or second.cluster:
        spaces = {made.arguments.get("namespace") for made in (one, later)} - {None, ""}
        return first.cluster == second.cluster and len(spaces) < 2
    return first.account == second.account


def _made(row: Any) -> Made:
    return Made(request=row.id, operation=row.operation, arguments=row.arguments, at=row.at)
