"""Words to arguments, as Slack and phones deliver words; help and did-you-mean. Pure.

`NOUN VERB [positional] [--flag value | --flag=value | KEY=VALUE]`. Everything is generated from the operations'
argument models: names, types, help. What Slack sends: escaped users `<@U…|name>`, channels `<#C…|name>`, links
`<https://…|…>`, and `&amp; &lt; &gt;` (docs.slack.dev/interactivity/implementing-slash-commands).
"""

from __future__ import annotations

import html
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from handlers.contract import Arguments, Meaning, Operation, Positional, visible

ROOT = "/tkg"
LONGEST = 8000
MISTAKES = 6
"""How many mistakes of one command are corrected together."""
QUOTES = str.maketrans({"“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "‘": "'", "’": "'", "‚": "'"})
SPACES = re.compile(r"[\s\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]+")
REFERENCE = re.compile(r"<([@#!])([A-Za-z0-9^]+)(?:\|[^>]*)?>")
LINK = re.compile(r"<(?:https?|mailto|tel):[^|>]*\|([^>]*)>|<(?:mailto:|tel:)?((?:https?://)?[^|>@#!]+)>")
LONG_DASH = re.compile(r"(?:(?<=\s)|^)[\u2012-\u2015\u2212]-?(?=\w)")
INNER_DASH = re.compile(r"[\u2010-\u2015\u2212]")

Operations = Mapping[str, Operation[Any]]


class GrammarError(Exception):
    """Words that make no command: the exact token, why, and the command as it was probably meant."""

    def __init__(self, token: str, reason: str, corrected: str) -> None:
        super().__init__(f"{token}: {reason}")
        self.token = token
        self.reason = reason
        self.corrected = corrected


@dataclass(frozen=True)
class Command:
    """What was asked: an operation with its typed arguments."""

    operation: Operation[Any]
    arguments: Arguments


@dataclass(frozen=True)
class HelpWanted:
    """`help`, `help NOUN` or `help NOUN VERB`; the words after it that name something."""

    operations: tuple[Operation[Any], ...]
    whole: bool


def normalise(text: str) -> str:
    """The text as it would have been typed on a plain keyboard."""
    text = visible(text).translate(QUOTES)
    text = REFERENCE.sub(lambda match: match.group(2), text)
    text = LINK.sub(lambda match: match.group(1) or match.group(2), text)
    text = html.unescape(text)
    text = SPACES.sub(" ", text).strip()
    return INNER_DASH.sub("-", LONG_DASH.sub("--", text))


def parse(command: str, text: str, operations: Operations) -> Command | HelpWanted:
    """Reads what followed a slash command. `/tkg-subnet tag …` is `/tkg subnet tag …`. Raises GrammarError."""
    try:
        return _parse(command, text, operations)
    except GrammarError as error:
        raise GrammarError(error.token, error.reason, _works(error.corrected, operations)) from None


def _works(offer: str, operations: Operations) -> str:
    """The offer if it can be typed as it is, else the nearest thing that can: nobody should be sent from one mistake
    into the next."""
    words = offer.removeprefix(ROOT).split()
    name = " ".join(words[:2])
    instead = f"{ROOT} {operations[name].examples[-1]}" if name in operations else f"{ROOT} help"
    for _ in range(MISTAKES):
        try:
            _parse(ROOT, offer.removeprefix(ROOT), operations)
        except GrammarError as error:
            offer = error.corrected
        else:
            return offer
    return instead


def _parse(command: str, text: str, operations: Operations) -> Command | HelpWanted:
    noun = command.removeprefix(ROOT).removeprefix("-")
    words = _split(normalise(f"{noun} {text}"))
    if not words or words[0].lower() in ("help", "-h", "--help"):
        return _help(words[1:], operations)
    if len(words) > 1 and words[1].lower() in ("help", "--help", "-h"):
        return _help(words[:1], operations)
    operation = _operation(words, operations)
    if words[-1].lower() in ("--help", "-h"):
        return HelpWanted((operation,), whole=False)
    return Command(operation, _arguments(operation, words[2:]))


def render(operation: Operation[Any], arguments: Arguments | Mapping[str, Any]) -> str:
    """The command that says exactly this, to copy: `/tkg subnet tag demo --vpc vpc-…`."""
    values = arguments.model_dump(mode="json") if isinstance(arguments, Arguments) else dict(arguments)
    words = [ROOT, *operation.name.split()]
    flags: list[str] = []
    for name, field in operation.arguments.model_fields.items():
        value = values.get(name)
        if value is None or value is False or value == () or value == []:
            continue
        items = [str(item) for item in value] if isinstance(value, list | tuple) else [str(value)]
        if _positional(field):
            words += [shlex.quote(item) for item in items]
        elif value is True:
            flags.append(_flag(name))
        else:
            flags += [_flag(name), shlex.quote(items[0])]
    return " ".join([*words, *flags])


# -- the pieces --------------------------------------------------------------------------------------------------


def _split(text: str) -> list[str]:
    if len(text) > LONGEST:
        raise GrammarError(text[:20] + "…", f"is longer than {LONGEST} characters", f"{ROOT} help")
    try:
        return shlex.split(text)
    except ValueError:
        mark = '"' if text.count('"') % 2 else "'"
        raise GrammarError(mark, "opens a quotation that does not end", f"{ROOT} {text.replace(mark, '')}") from None


def _operation(words: Sequence[str], operations: Operations) -> Operation[Any]:
    nouns = list(dict.fromkeys(name.split()[0] for name in operations))
    noun = words[0].lower()
    if noun not in nouns:
        raise _unknown(words, 0, nouns, "is not something that tkgbot knows")
    verbs = [name.split(" ", 1)[1] for name in operations if name.split()[0] == noun]
    if len(words) == 1:
        raise GrammarError(words[0], f"needs a verb: {', '.join(verbs)}", f"{ROOT} {noun} {verbs[0]}")
    verb = words[1].lower()
    if verb not in verbs:
        raise _unknown(words, 1, verbs, f"is not something to do with a {noun}")
    return operations[f"{noun} {verb}"]


def _unknown(words: Sequence[str], position: int, known: Sequence[str], reason: str) -> GrammarError:
    close = get_close_matches(words[position].lower(), known, n=1, cutoff=0.5)
    corrected = f"{ROOT} help"
    if close:
        meant = [*words]
        meant[position] = close[0]
        corrected = " ".join([ROOT, *(shlex.quote(word) for word in meant)])
    listed = ", ".join(f"`{name}`" for name in known)
    return GrammarError(words[position], f"{reason} ({listed})", corrected)


def _help(words: Sequence[str], operations: Operations) -> HelpWanted:
    wanted = " ".join(word.lower() for word in words[:2])
    found = tuple(op for name, op in operations.items() if name == wanted or name.startswith(f"{wanted} "))
    return HelpWanted(found or tuple(operations.values()), whole=not wanted or not found)


def _arguments(operation: Operation[Any], words: Sequence[str]) -> Arguments:
    reader = _Reader(operation, words)
    values, origins = reader.read()
    try:
        arguments: Arguments = operation.arguments.model_validate(values)
        return arguments
    except ValidationError as error:
        raise _explained(operation, words, origins, error) from None


class _Reader:
    """One pass over the words of one operation."""

    def __init__(self, operation: Operation[Any], words: Sequence[str]) -> None:
        self.operation = operation
        self.words = list(words)
        self.fields: dict[str, FieldInfo] = operation.arguments.model_fields
        self.values: dict[str, Any] = {}
        self.origins: dict[str, list[int]] = {}
        self.places = [name for name, field in self.fields.items() if _positional(field)]

    def read(self) -> tuple[dict[str, Any], dict[str, list[int]]]:
        position = 0
        while position < len(self.words):
            word = self.words[position]
            if word.startswith("-") and len(word) > 1:
                position += self._flag(position, word.lstrip("-"))
            elif (key := word.partition("=")[0]) and "=" in word and self._field(key) in self.fields:
                self._give(self._field(key), word.partition("=")[2], position)
                position += 1
            else:
                self._place(position, word)
                position += 1
        return self.values, self.origins

    def _flag(self, position: int, word: str) -> int:
        key, given, value = word.partition("=")
        name = self._field(key)
        if name not in self.fields:
            raise self._no_such_flag(position, key)
        if self.fields[name].annotation is bool:
            if given and value.lower() not in ("true", "false", "yes", "no"):
                raise self._wrong(position, "takes no value, or true or false", _flag(name))
            self._give(name, not given or value.lower() in ("true", "yes"), position)
            return 1
        if given:
            self._give(name, value, position)
            return 1
        following = self.words[position + 1] if position + 1 < len(self.words) else ""
        if not following or following.startswith("--"):
            meaning = _meaning(self.fields[name])
            raise self._wrong(
                position, "needs a value after it", f"{_flag(name)} {meaning.example if meaning else '…'}"
            )
        self._give(name, following, position + 1)
        return 2

    def _place(self, position: int, word: str) -> None:
        for name in self.places:
            mark = _positional(self.fields[name])
            if mark is not None and (mark.many or name not in self.values):
                self._give(name, word, position)
                return
        raise self._wrong(position, "is one word too many", "")

    def _give(self, name: str, value: Any, position: int) -> None:
        mark = _positional(self.fields[name])
        if mark is not None and mark.many:
            items = [item for item in str(value).split(",") if item]
            self.values[name] = [*self.values.get(name, []), *items]
            self.origins[name] = [*self.origins.get(name, []), *([position] * len(items))]
            return
        if name in self.values:
            raise self._wrong(position, f"gives `{name.replace('_', '-')}` a second time", "")
        self.values[name] = value
        self.origins[name] = [position]

    def _field(self, key: str) -> str:
        return key.lower().replace("-", "_")

    def _no_such_flag(self, position: int, key: str) -> GrammarError:
        flags = [_flag(name) for name in self.fields]
        close = get_close_matches(f"--{key.lower()}", flags, n=1, cutoff=0.5)
        value = self.words[position].partition("=")[2]
        meant = close[0] + (f"={value}" if value else "") if close else ""
        listed = ", ".join(f"`{flag}`" for flag in flags)
        return self._wrong(position, f"is not a flag of `{self.operation.name}` ({listed})", meant)

    def _wrong(self, position: int, reason: str, meant: str) -> GrammarError:
        return GrammarError(self.words[position], reason, _with(self.operation, self.words, position, meant))


def _explained(
    operation: Operation[Any], words: Sequence[str], origins: Mapping[str, list[int]], error: ValidationError
) -> GrammarError:
    first = error.errors()[0]
    cause = first.get("ctx", {}).get("error")
    reason = str(cause) if cause is not None else first["msg"].lower()
    if not first["loc"]:
        return GrammarError(operation.name, reason, f"{ROOT} {operation.examples[-1]}")
    name = str(first["loc"][0])
    field = operation.arguments.model_fields[name]
    meaning = _meaning(field)
    if name not in origins:
        reason = f"is missing: {(field.description or name).rstrip('.').lower()}"
        return GrammarError(name.upper().replace("_", "-"), reason, f"{ROOT} {operation.examples[0]}")
    places = origins[name]
    index = first["loc"][1] if len(first["loc"]) > 1 and isinstance(first["loc"][1], int) else 0
    position = places[min(index, len(places) - 1)]
    key, given, value = words[position].rpartition("=")
    meant = f"{key}{given}{meaning.mend(value)}" if meaning else ""
    corrected = _with(operation, words, position, meant)
    return GrammarError(words[position], reason, corrected)


def _with(operation: Operation[Any], words: Sequence[str], position: int, meant: str) -> str:
    """The command with the word at `position` replaced, or left out where nothing is meant."""
    kept = [shlex.quote(word) for word in words]
    kept[position : position + 1] = [meant] if meant else []
    return " ".join([ROOT, operation.name, *kept])


def _positional(field: FieldInfo) -> Positional | None:
    return next((item for item in field.metadata if isinstance(item, Positional)), None)


def _meaning(field: FieldInfo) -> Meaning | None:
    return next((item for item in _all_metadata(field) if isinstance(item, Meaning)), None)


def _all_metadata(field: FieldInfo) -> list[Any]:
    """A field's own metadata and that of the types inside it (`tuple[SubnetId, ...]`, `VpcId | None`)."""
    found = list(field.metadata)
    pending: list[Any] = [field.annotation]
    while pending:
        inner = pending.pop()
        found += getattr(inner, "__metadata__", ())
        pending += getattr(inner, "__args__", ())
    return found


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


# -- help --------------------------------------------------------------------------------------------------------


def usage(operation: Operation[Any]) -> str:
    """One line: `/tkg subnet tag CLUSTER [SUBNETS…] [--vpc VPC] …`."""
    words = [ROOT, operation.name]
    for name, field in operation.arguments.model_fields.items():
        mark = _positional(field)
        if mark is not None:
            shown = name.upper() + ("…" if mark.many else "")
            words.append(shown if field.is_required() else f"[{shown}]")
        elif field.annotation is bool:
            words.append(f"[{_flag(name)}]")
        else:
            shown = f"{_flag(name)} {name.upper()}"
            words.append(shown if field.is_required() else f"[{shown}]")
    return " ".join(words)


def explanations(operation: Operation[Any]) -> tuple[tuple[str, str], ...]:
    """Each argument as it is typed, and what it is for."""
    return tuple(
        (name.upper() if _positional(field) else _flag(name), field.description or "")
        for name, field in operation.arguments.model_fields.items()
    )
