"""Arguments: models of typed words, from which grammar, help and forms are made."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pydantic import AfterValidator

from handlers.contract.plan import Model


class Arguments(Model):
    """Base of every operation's argument model. Every model may name an account, a region and a cluster: these three
    words are what a team's policy speaks of."""


@dataclass(frozen=True)
class Positional:
    """Marks an argument that may be given by place; `many` takes all remaining words, and `rest` takes them as they
    stand, flags included (a command inside a command)."""

    many: bool = False
    rest: bool = False


@dataclass(frozen=True)
class Variable:
    """The variable of TKG's flat configuration file that says the same, in capitals: `NODE_MACHINE_TYPE=m5.large` may
    be typed as it stands in such a file."""

    name: str


@dataclass(frozen=True)
class Meaning:
    """What a word of this type is, for messages: `a subnet id, such as subnet-0a1b2c3d`."""

    text: str
    example: str
    mend: Callable[[str], str]


def word(
    pattern: str, meaning: str, example: str, mend: Callable[[str], str] = str.lower
) -> tuple[AfterValidator, Meaning]:
    """Metadata for a string argument that must match `pattern` as a whole. Unpack it into `Annotated`. `mend` guesses
    what a wrong word was meant to be; where its guess does not match either, messages show the example."""
    compiled = re.compile(pattern, re.ASCII)

    def check(value: str) -> str:
        if not compiled.fullmatch(value):
            raise ValueError(f"is not {meaning}, such as {example}")
        return value

    def meant(value: str) -> str:
        guess = mend(value)
        return guess if compiled.fullmatch(guess) else example

    return AfterValidator(check), Meaning(meaning, example, meant)


def visible(text: str) -> str:
    """The text without what cannot be seen and can deceive: controls and format characters (Unicode categories Cc and
    Cf: direction overrides, zero-width, tags), line breaks and tabs apart; and without halves of characters (Cs)."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(char for char in text if char in "\n\t" or unicodedata.category(char) not in ("Cc", "Cf", "Cs"))


def unique(values: Sequence[str]) -> tuple[str, ...]:
    """The values without repeats, in their order."""
    return tuple(dict.fromkeys(values))
