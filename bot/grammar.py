"""Words to arguments, as Slack and phones deliver words; help and did-you-mean. Pure.

`NOUN VERB [positional] [--flag value | --flag=value | KEY=VALUE]`, where KEY may also be a variable of TKG's flat
configuration file. Everything is generated from the operations'
argument models: names, types, help. What Slack sends: escaped users `<@U…|name>`, channels `<#C…|name>`, links
`<https://…|…>`, and `&amp; &lt; &gt;` (docs.slack.dev/interactivity/implementing-slash-commands).
"""

from __future__ import annotations

import html
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from bot.fields import flag, meaning, positional, variable
from handlers.contract import Arguments, Spoken, visible

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

Operations = Mapping[str, Spoken[Any]]


class GrammarError(Exception):
    """Words that make no command: the exact token, why, and the command as it was probably meant."""

    def __init__(self, token: str, reason: str, corrected: str) -> None:
        super().__init__(f"{token}: {reason}")
        self.token = token
        self.reason = reason
        self.corrected = corrected


class Incomplete(GrammarError):
    """A command that lacks arguments and is right in what it has: `values` are the words given so far, by field. A form
    can ask for the rest."""

    def __init__(self, error: GrammarError, operation: Spoken[Any], values: Mapping[str, Any]) -> None:
        super().__init__(error.token, error.reason, error.corrected)
        self.operation = operation
        self.values = dict(values)


@dataclass(frozen=True)
class Command:
    """What was asked: an operation with its typed arguments."""

    operation: Spoken[Any]
    arguments: Arguments


@dataclass(frozen=True)
class HelpWanted:
    """`help`, `help NOUN` or `help NOUN VERB`; the words after it that name something. `bare` when nothing was typed at
    all: then a menu says it better."""

    operations: tuple[Spoken[Any], ...]
    whole: bool
    bare: bool = False


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
        mended = GrammarError(error.token, error.reason, _works(error.corrected, operations))
        if isinstance(error, Incomplete):
            mended = Incomplete(mended, error.operation, error.values)
        raise mended from None


def _works(offer: str, operations: Operations) -> str:
    """The offer if it can be typed as it is, else the nearest thing that can: nobody should be sent from one mistake
    into the next."""
    words = offer.removeprefix(ROOT).split()
    name = _named(words, operations)
    instead = f"{ROOT} {operations[name].examples[-1]}" if name else f"{ROOT} help"
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
    if not words or words == [noun]:
        return replace(_help(words, operations), bare=True)
    if words[0].lower() in ("help", "-h", "--help"):
        return _help(words[1:], operations)
    if len(words) > 1 and words[1].lower() in ("help", "--help", "-h"):
        return _help(words[:1], operations)
    operation = _operation(words, operations)
    if words[-1].lower() in ("--help", "-h"):
        return HelpWanted((operation,), whole=False)
    return Command(operation, _arguments(operation, words[len(operation.name.split()) :]))


def render(operation: Spoken[Any], arguments: Arguments | Mapping[str, Any]) -> str:
    """The command that says exactly this, to copy: `/tkg subnet tag demo --vpc vpc-…`."""
    values = arguments.model_dump(mode="json") if isinstance(arguments, Arguments) else dict(arguments)
    words = [ROOT, *operation.name.split()]
    flags: list[str] = []
    for name, field in operation.arguments.model_fields.items():
        value = values.get(name)
        if value is None or value is False or value == () or value == []:
            continue
        items = [str(item) for item in value] if isinstance(value, list | tuple) else [str(value)]
        if positional(field):
            words += [shlex.quote(item) for item in items]
        elif value is True:
            flags.append(flag(name))
        else:
            flags += [flag(name), shlex.quote(items[0])]
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


def _operation(words: Sequence[str], operations: Operations) -> Spoken[Any]:
    name = _named(words, operations)
    if name:
        return operations[name]
    nouns = list(dict.fromkeys(name.split()[0] for name in operations))
    noun = words[0].lower()
    if noun not in nouns:
        raise _unknown(words, 0, nouns, "is not something that tkgbot knows")
    verbs = [name.split(" ", 1)[1] for name in operations if name.split()[0] == noun]
    if len(words) == 1:
        raise GrammarError(words[0], f"needs a verb: {', '.join(verbs)}", f"{ROOT} {noun} {verbs[0]}")
    raise _unknown(words, 1, verbs, f"is not something to do with {_one(noun)}")


def _one(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _named(words: Sequence[str], operations: Operations) -> str:
    """The operation that the first words name, or nothing."""
    names = (" ".join(word.lower() for word in words[:count]) for count in (2, 1))
    return next((name for name in names if name in operations), "")


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


def _arguments(operation: Spoken[Any], words: Sequence[str]) -> Arguments:
    reader = _Reader(operation, words)
    values, origins = reader.read()
    try:
        arguments: Arguments = operation.arguments.model_validate(values)
        return arguments
    except ValidationError as error:
        explained = _explained(operation, words, origins, error)
        wrong = [item for item in error.errors() if item["loc"] and str(item["loc"][0]) in origins]
        if not wrong:  # only something that was left out: a form can ask for it
            raise Incomplete(explained, operation, values) from None
        raise explained from None


class _Reader:
    """One pass over the words of one operation."""

    def __init__(self, operation: Spoken[Any], words: Sequence[str]) -> None:
        self.operation = operation
        self.words = list(words)
        self.fields: dict[str, FieldInfo] = operation.arguments.model_fields
        self.values: dict[str, Any] = {}
        self.origins: dict[str, list[int]] = {}
        self.places = [name for name, field in self.fields.items() if positional(field)]
        self.variables = {variable(field): name for name, field in self.fields.items() if variable(field)}

    def read(self) -> tuple[dict[str, Any], dict[str, list[int]]]:
        position = 0
        while position < len(self.words):
            word = self.words[position]
            if self._takes_the_rest(position):
                return self.values, self.origins
            if word.startswith("-") and len(word) > 1:
                position += self._flag(position, word.lstrip("-"))
            elif (key := word.partition("=")[0]) and "=" in word and self._field(key) in self.fields:
                self._give(self._field(key), word.partition("=")[2], position)
                position += 1
            else:
                self._place(position, word)
                position += 1
        return self.values, self.origins

    def _takes_the_rest(self, position: int) -> bool:
        """A command inside a command is taken as it stands, its flags included."""
        name = next((name for name in self.places if name not in self.values), "")
        mark = positional(self.fields[name]) if name else None
        if mark is None or not mark.rest:
            return False
        self.values[name] = tuple(self.words[position:])
        self.origins[name] = list(range(position, len(self.words)))
        return True

    def _flag(self, position: int, word: str) -> int:
        key, given, value = word.partition("=")
        name = self._field(key)
        if name not in self.fields:
            raise self._no_such_flag(position, key)
        if self.fields[name].annotation is bool:
            if given and value.lower() not in ("true", "false", "yes", "no"):
                raise self._wrong(position, "takes no value, or true or false", flag(name))
            self._give(name, not given or value.lower() in ("true", "yes"), position)
            return 1
        if given:
            self._give(name, value, position)
            return 1
        following = self.words[position + 1] if position + 1 < len(self.words) else ""
        if not following or following.startswith("--"):
            about = meaning(self.fields[name])
            raise self._wrong(position, "needs a value after it", f"{flag(name)} {about.example if about else '…'}")
        self._give(name, following, position + 1)
        return 2

    def _place(self, position: int, word: str) -> None:
        for name in self.places:
            mark = positional(self.fields[name])
            if mark is not None and (mark.many or name not in self.values):
                self._give(name, word, position)
                return
        raise self._wrong(position, "is one word too many", "")

    def _give(self, name: str, value: Any, position: int) -> None:
        mark = positional(self.fields[name])
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
        return self.variables.get(key) or key.lower().replace("-", "_")

    def _no_such_flag(self, position: int, key: str) -> GrammarError:
        flags = [flag(name) for name in self.fields]
        close = get_close_matches(f"--{key.lower()}", flags, n=1, cutoff=0.5)
        value = self.words[position].partition("=")[2]
        meant = close[0] + (f"={value}" if value else "") if close else ""
        listed = ", ".join(f"`{flag}`" for flag in flags)
        return self._wrong(position, f"is not a flag of `{self.operation.name}` ({listed})", meant)

    def _wrong(self, position: int, reason: str, meant: str) -> GrammarError:
        return GrammarError(self.words[position], reason, _with(self.operation, self.words, position, meant))


def _explained(
    operation: Spoken[Any], words: Sequence[str], origins: Mapping[str, list[int]], error: ValidationError
) -> GrammarError:
    mistakes = error.errors()
    first = next((item for item in mistakes if item["loc"] and str(item["loc"][0]) in origins), mistakes[0])
    cause = first.get("ctx", {}).get("error")
    reason = str(cause) if cause is not None else first["msg"].lower()
    if not first["loc"]:
        return GrammarError(operation.name, reason, f"{ROOT} {operation.examples[-1]}")
    name = str(first["loc"][0])
    field = operation.arguments.model_fields[name]
    about = meaning(field)
    if name not in origins:
        reason = f"is missing: {(field.description or name).rstrip('.').lower()}"
        return GrammarError(name.upper().replace("_", "-"), reason, f"{ROOT} {operation.examples[0]}")
    places = origins[name]
    index = first["loc"][1] if len(first["loc"]) > 1 and isinstance(first["loc"][1], int) else 0
    position = places[min(index, len(places) - 1)]
    key, given, value = words[position].rpartition("=")
    meant = f"{key}{given}{about.mend(value)}" if about else ""
    corrected = _with(operation, words, position, meant)
    return GrammarError(words[position], reason, corrected)


def _with(operation: Spoken[Any], words: Sequence[str], position: int, meant: str) -> str:
    """The command with the word at `position` replaced, or left out where nothing is meant."""
    kept = [shlex.quote(word) for word in words]
    kept[position : position + 1] = [meant] if meant else []
    return " ".join([ROOT, operation.name, *kept])
