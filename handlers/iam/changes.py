"""What changes between the statements of two IAM documents, in lines for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from handlers.iam.comparison import canonical, normal_statement
from handlers.iam.sentences import elements, sentence

Statements = Sequence[Mapping[str, Any]]


def changes(old: Statements, new: Statements) -> list[str]:
    """What goes (`- …`), what comes (`+ …`), and how many statements stay. Other spellings are no change."""
    gone, came = _not_in(old, new), _not_in(new, old)
    lines = [*_lines("-", gone, came), *_lines("+", came, gone)]
    stay = len(old) - len(gone)
    if stay:
        lines.append(f"{stay} statements stay as they are" if stay > 1 else "1 statement stays as it is")
    return lines


def _meaning(statement: Mapping[str, Any]) -> str:
    return canonical(normal_statement(statement))


def _not_in(these: Statements, others: Statements) -> list[Mapping[str, Any]]:
    left, found = Counter(map(_meaning, others)), []
    for statement in these:
        meaning = _meaning(statement)
        if left[meaning]:
            left[meaning] -= 1
        else:
            found.append(statement)
    return found


def _lines(sign: str, these: Statements, others: Statements) -> Iterator[str]:
    for statement in these:
        twins = [other for other in others if _but_resources(other) == _but_resources(statement)]
        alike = [other for other in these if _but_resources(other) == _but_resources(statement)]
        if len(twins) == len(alike) == 1 and statement.get("Resource") and twins[0].get("Resource"):
            yield from _resources(sign, statement, twins[0])
        else:
            yield f"{sign} {sentence(statement)}"


def _but_resources(statement: Mapping[str, Any]) -> str:
    return _meaning({**statement, "Resource": []})


def _resources(sign: str, statement: Mapping[str, Any], twin: Mapping[str, Any]) -> Iterator[str]:
    """A statement speaks of each of its resources for itself, so those in both documents need not be told again."""
    theirs = elements(twin["Resource"])
    own = [resource for resource in elements(statement["Resource"]) if resource not in theirs]
    others = len(elements(statement["Resource"])) - len(own)
    if own:
        beside = f", beside {others} that {'stay' if others > 1 else 'stays'}" if others else ""
        yield f"{sign} {sentence({**statement, 'Resource': own})}{beside}"
