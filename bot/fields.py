"""What an argument model says about each of its arguments: how it is typed, what it means, how help shows it. Pure."""

from __future__ import annotations

from typing import Any

from pydantic.fields import FieldInfo

from handlers.contract import Meaning, Positional, Spoken, Variable


def positional(field: FieldInfo) -> Positional | None:
    """The mark of an argument that may be given by its place."""
    return next((item for item in field.metadata if isinstance(item, Positional)), None)


def meaning(field: FieldInfo) -> Meaning | None:
    """What a word of this argument is."""
    return next((item for item in _all_metadata(field) if isinstance(item, Meaning)), None)


def variable(field: FieldInfo) -> str:
    """The variable of a flat configuration file that says the same, or nothing."""
    return next((item.name for item in field.metadata if isinstance(item, Variable)), "")


def _all_metadata(field: FieldInfo) -> list[Any]:
    """A field's own metadata and that of the types inside it (`tuple[SubnetId, ...]`, `VpcId | None`)."""
    found = list(field.metadata)
    pending: list[Any] = [field.annotation]
    while pending:
        inner = pending.pop()
        found += getattr(inner, "__metadata__", ())
        pending += getattr(inner, "__args__", ())
    return found


def flag(name: str) -> str:
    """`--role-tag`."""
    return f"--{name.replace('_', '-')}"


def usage(operation: Spoken[Any], root: str) -> str:
    """One line: `/tkg subnet tag CLUSTER [SUBNETS…] [--vpc VPC] …`."""
    words = [root, operation.name]
    for name, field in operation.arguments.model_fields.items():
        mark = positional(field)
        if mark is not None:
            shown = name.upper() + ("…" if mark.many or mark.rest else "")
            words.append(shown if field.is_required() else f"[{shown}]")
        elif field.annotation is bool:
            words.append(f"[{flag(name)}]")
        else:
            shown = f"{flag(name)} {name.upper()}"
            words.append(shown if field.is_required() else f"[{shown}]")
    return " ".join(words)


def explanations(operation: Spoken[Any]) -> tuple[tuple[str, str], ...]:
    """Each argument as it is typed, and what it is for."""
    return tuple(
        (name.upper() if positional(field) else flag(name), field.description or "")
        for name, field in operation.arguments.model_fields.items()
    )
