"""Forms: an operation's argument model as fields to fill in, and what was filled in as arguments. Pure.

The same model makes the grammar and the form, so both accept the same words and say the same of a wrong one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from bot.fields import flag, meaning, positional
from bot.grammar import LONGEST, normalise
from handlers.contract import Arguments, Operation, Spoken

LONGEST_VALUE = 3000
"""Characters that Slack takes as the initial value of one input."""
LONGEST_REASON = 500
"""Characters of the reason of a no."""
MOST_OPTIONS = 100
"""Words that Slack takes for one choice."""
AGAIN = "typed_again"
"""The field in which a name is typed once more; no argument has this name."""
QUOTED = "\"' "
"""What people paste around a word, and a command would take off."""
Given = Mapping[str, "str | bool | None"]
"""What a form holds: text, or whether a switch is on, by field name."""


@dataclass(frozen=True)
class Field:
    """One thing to fill in. `kind`: a line, several words (`lines`), a `switch`, or a `choice` of `options`."""

    name: str
    label: str
    hint: str
    kind: Literal["line", "lines", "switch", "choice"]
    required: bool
    value: str | bool = ""
    placeholder: str = ""
    options: tuple[str, ...] = ()


def fields_of(
    operation: Spoken[Any], values: Mapping[str, Any], choices: Mapping[str, Sequence[str]]
) -> tuple[Field, ...]:
    """The fields of an operation, filled with `values`; `choices` are the known words for a field (account names). What
    cannot be taken back wants a name typed once more."""
    fields = tuple(
        _field(name, info, values.get(name), tuple(choices.get(name, ())))
        for name, info in operation.arguments.model_fields.items()
    )
    again = typed_again(operation)
    if not again:
        return fields
    what = again.replace("_", " ")
    hint = f"So that nothing else is meant: the name of the {what}, typed and not pasted. This cannot be undone."
    return (*fields, Field(name=AGAIN, label=f"Type the {what} again", hint=hint, kind="line", required=True))


def typed_again(operation: Spoken[Any]) -> str:
    """The argument that has to be typed once more; none where it is empty."""
    return operation.typed_again if isinstance(operation, Operation) else ""


def _field(name: str, info: FieldInfo, value: Any, known: tuple[str, ...]) -> Field:
    mark, about = positional(info), meaning(info)
    options = known or tuple(str(item) for item in _literals(info))
    many = mark is not None and (mark.many or mark.rest)
    is_switch = info.annotation is bool
    kind: Literal["line", "lines", "switch", "choice"] = (
        "switch" if is_switch else "lines" if many else "choice" if options else "line"
    )
    if value is None and not info.is_required():
        value = info.get_default(call_default_factory=True)
    shown = _shown(value)
    if kind == "choice" and (len(options) > MOST_OPTIONS or (shown and shown not in options)):
        kind = "line"  # what is no choice is shown as text, so that nothing is lost
    return Field(
        name=name,
        label=name.replace("_", " ").capitalize(),
        hint=info.description or "",
        kind=kind,
        required=info.is_required(),
        value=bool(value) if is_switch else shown,
        placeholder=about.example if about else "",
        options=options,
    )


def _literals(info: FieldInfo) -> tuple[Any, ...]:
    parts = [info.annotation, *get_args(info.annotation)]
    return tuple(item for part in parts if getattr(part, "__origin__", None) is Literal for item in get_args(part))


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return "\n".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def read(operation: Spoken[Any], given: Given) -> Arguments | dict[str, str]:
    """Typed arguments, or what is wrong by field, as sentences. Words are read as a command's words are."""
    values: dict[str, Any] = {}
    for name, info in operation.arguments.model_fields.items():
        value = given.get(name)
        mark = positional(info)
        if isinstance(value, bool):
            values[name] = value
        elif value is not None and (text := normalise(value[:LONGEST])):
            if mark is not None and mark.rest:
                values[name] = text.split()
            elif mark is not None and mark.many:
                values[name] = [word for part in text.replace(",", " ").split() if (word := part.strip(QUOTED))]
            elif word := text.strip(QUOTED):
                values[name] = word
    try:
        arguments: Arguments = operation.arguments.model_validate(values)
    except ValidationError as error:
        return _mistakes(operation, values, error)
    again = typed_again(operation)
    if again and normalise(str(given.get(AGAIN) or "")[:LONGEST]).strip(QUOTED) != str(getattr(arguments, again)):
        return {AGAIN: f"This is not “{getattr(arguments, again)}”. Type the name of what you mean, exactly."}
    return arguments


def _mistakes(operation: Spoken[Any], values: Mapping[str, Any], error: ValidationError) -> dict[str, str]:
    fields = operation.arguments.model_fields
    found: dict[str, str] = {}
    for item in error.errors():
        cause = item.get("ctx", {}).get("error")
        reason = str(cause) if cause is not None else item["msg"]
        if not item["loc"]:  # about the whole: shown where something is too much, else where something can be filled in
            named = [name for name in fields if values.get(name) and flag(name) in reason]
            empty = [name for name, info in fields.items() if name not in values and info.annotation is not bool]
            name = next(iter([*reversed(named), *empty]), next(iter(fields)))
            found.setdefault(name, f"This {reason}.")
            continue
        name = str(item["loc"][0])
        if item["type"] == "missing":
            found.setdefault(name, "Please fill this in.")
            continue
        word = item["input"] if isinstance(item["input"], str) else ""
        found.setdefault(name, f"“{word[:60]}” {reason}." if word else f"{reason}.")
    return found
