"""Settings: one YAML file and the environment, checked as a whole. Every mistake is told at once, with its line.

Secrets come by environment or file only (`SLACK_BOT_TOKEN` or `SLACK_BOT_TOKEN_FILE`), never from the settings file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, Field, ValidationError

from bot.policy import Rule
from handlers.contract import Model
from handlers.settings import OperationsSettings
from handlers.workshop import discover

DEFAULT_FILE = "tkgbot.yaml"


class ConfigError(Exception):
    """The settings are wrong; `mistakes` are sentences, each with its place."""

    def __init__(self, source: str, mistakes: Sequence[str]) -> None:
        super().__init__("\n".join([f"The settings in {source} cannot be used:", *(f"  - {m}" for m in mistakes)]))
        self.mistakes = tuple(mistakes)


class Limits(Model):
    """How much goes on at once."""

    plans_at_once: int = Field(8, ge=1, le=64, description="Requests planned at the same time.")
    runs_at_once: int = Field(100, ge=1, le=500, description="Runs at the same time; others wait their turn.")
    front_threads: int = Field(4, ge=1, le=32, description="Threads that answer commands and clicks.")


class Settings(Model):
    """The settings file."""

    operations: OperationsSettings
    policy: tuple[Rule, ...] = Field(
        min_length=1, description="Who may ask and approve. Whatever no rule allows is denied."
    )
    limits: Limits = Limits()


@dataclass(frozen=True)
class Secrets:
    """What the environment holds. Never printed."""

    bot_token: str = field(repr=False)
    app_token: str = field(repr=False)
    api_url: str
    database_url: str | None = field(repr=False)
    data: Path


def load(path: Path | None = None, environment: Mapping[str, str] = os.environ) -> Settings:
    """Reads and checks the settings file (`TKGBOT_CONFIG`, else tkgbot.yaml). Raises ConfigError."""
    path = path or Path(environment.get("TKGBOT_CONFIG", DEFAULT_FILE))
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        hint = (
            f"cannot be read ({getattr(error, 'strerror', 'not UTF-8')}). Write it, or name another with TKGBOT_CONFIG."
        )
        raise ConfigError(str(path), [hint]) from error
    return parse(text, str(path))


def parse(text: str, source: str) -> Settings:
    """Checks settings given as YAML text. Raises ConfigError with every mistake."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        raise ConfigError(source, [f"{where}this is not YAML: {getattr(error, 'problem', None) or error}"]) from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(source, [f"this cannot be read: {error}"]) from error
    data = data if isinstance(data, dict) else {}
    try:
        repeated = _repeated_keys(node)
        settings = Settings.model_validate(data)
    except RecursionError as error:
        raise ConfigError(source, ["this contains itself"]) from error
    except ValidationError as error:
        form = [_mistake(item, node) for item in _causes(error)]
        sense = [f"{_line(node, place)}{sentence}" for place, sentence in _contradictions(*_readable(data))]
        raise ConfigError(source, [*repeated, *form, *sense]) from error
    mistakes = repeated + [
        f"{_line(node, place)}{sentence}"
        for place, sentence in _contradictions(list(enumerate(settings.policy)), settings.operations)
    ]
    if mistakes:
        raise ConfigError(source, mistakes)
    return settings


def secrets(environment: Mapping[str, str] = os.environ) -> Secrets:
    """Reads the secrets. Raises ConfigError with everything that is missing."""
    missing: list[str] = []

    def get(name: str, *, needed: bool = True) -> str | None:
        value = environment.get(name)
        file = environment.get(f"{name}_FILE")
        if not value and file:
            try:
                value = Path(file).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                missing.append(f"{name}_FILE: {file} cannot be read ({getattr(error, 'strerror', 'not UTF-8')})")
                return None
        if not value and needed:
            missing.append(f"{name} is not set, nor {name}_FILE")
        return value or None

    bot, app = get("SLACK_BOT_TOKEN"), get("SLACK_APP_TOKEN")
    database = get("TKGBOT_DATABASE_URL", needed=False)
    if database is not None and database.startswith(("postgresql://", "postgres://")):
        database = "postgresql+psycopg://" + database.split("://", 1)[1]
    if missing:
        raise ConfigError("the environment", missing)
    return Secrets(
        bot_token=bot or "",
        app_token=app or "",
        api_url=environment.get("SLACK_API_URL", "https://slack.com/api/"),
        database_url=database,
        data=Path(environment.get("TKGBOT_DATA", "data")),
    )


def _causes(error: ValidationError) -> list[Any]:
    """The mistakes, without those that only follow from others: a list is not too short when its one item is wrong."""
    items = error.errors()
    places = [item["loc"] for item in items]
    return [
        item
        for item in items
        if item["type"] != "too_short"
        or not any(p != item["loc"] and p[: len(item["loc"])] == item["loc"] for p in places)
    ]


def _readable(data: dict[str, Any]) -> tuple[list[tuple[int, Rule]], OperationsSettings | None]:
    """Those parts of wrong settings that are right in themselves, so that their mistakes are told at once too."""
    rules: list[tuple[int, Rule]] = []
    listed = data.get("policy")
    for index, item in enumerate(listed if isinstance(listed, list) else []):
        try:
            rules.append((index, Rule.model_validate(item)))
        except ValidationError:
            continue
    try:
        return rules, OperationsSettings.model_validate(data.get("operations"))
    except ValidationError:
        return rules, None


def _contradictions(
    rules: list[tuple[int, Rule]], accounts: OperationsSettings | None
) -> list[tuple[tuple[str | int, ...], str]]:
    """What is well-formed and still cannot be meant."""
    found: list[tuple[tuple[str | int, ...], str]] = []
    names: set[str] = set()
    operations = discover()
    for index, rule in rules:
        place = ("policy", index)
        if rule.name in names:
            found.append(((*place, "name"), f"two rules are named “{rule.name}”; each needs a name of its own"))
        names.add(rule.name)
        if rule.effect == "allow" and rule.ask.is_nobody:
            found.append(((*place, "ask"), f"rule “{rule.name}” names nobody who may ask; add users or usergroups"))
        changes = any(op.changes and _matches(rule.operations, name) for name, op in operations.items())
        if rule.effect == "allow" and changes and rule.approve.is_nobody:
            found.append(
                ((*place, "approve"), f"rule “{rule.name}” names nobody who may approve; add users or usergroups")
            )
        if rule.effect == "deny" and rule.ask.is_nobody and rule.approve.is_nobody:
            found.append((place, f"rule “{rule.name}” denies nobody anything; say who under `ask` or `approve`"))
        for pattern in rule.operations:
            if not _matches((pattern,), *operations):
                found.append(((*place, "operations"), f"no operation matches “{pattern}”{_meant(pattern, operations)}"))
        for pattern in rule.accounts if accounts is not None else ():
            if accounts is not None and not _matches((pattern,), *accounts.accounts):
                hint = _meant(pattern, accounts.accounts)
                found.append(((*place, "accounts"), f"no account matches “{pattern}”{hint}"))
    return found


def _matches(patterns: Sequence[str], *names: str) -> bool:
    return any(fnmatchcase(name, pattern) for name in names for pattern in patterns)


def _mistake(item: Any, node: yaml.Node | None) -> str:
    place = tuple(part for part in item["loc"] if not (isinstance(part, str) and part.startswith("function-")))
    path = ".".join(str(part) for part in place) or "the file"
    cause = item.get("ctx", {}).get("error")
    message = str(cause) if cause is not None else item["msg"]
    if item["type"] == "extra_forbidden":
        message = f"is not a setting{_meant(str(place[-1]), _siblings(place))}"
    elif item["type"] == "missing":
        message = "is missing"
    return f"{_line(node, place)}{path} {message[0].lower()}{message[1:]}"


def _siblings(place: tuple[str | int, ...]) -> list[str]:
    """The keys that would have been right at `place`."""
    model: Any = Settings
    for part in place[:-1]:
        fields = getattr(model, "model_fields", {})
        if part in fields:
            model = _inner(fields[part].annotation)
    return list(getattr(model, "model_fields", {}))


def _inner(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    candidates = [_inner(argument) for argument in getattr(annotation, "__args__", ())]
    return next((candidate for candidate in candidates if candidate is not None), None)


def _meant(word: str, known: Any) -> str:
    close = get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean “{close[0]}”?" if close else f" (known: {', '.join(known)})" if known else ""


def _line(node: yaml.Node | None, place: Sequence[str | int]) -> str:
    line = None if node is None else node.start_mark.line
    for part in place:
        child = _child(node, part)
        if child is None:
            break
        line, node = child
    return "" if line is None else f"line {line + 1}: "


def _child(node: yaml.Node | None, part: str | int) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(part):
                return key.start_mark.line, value
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part].start_mark.line, node.value[part]
    return None


def _repeated_keys(node: yaml.Node | None) -> list[str]:
    """YAML lets a later key silently replace an earlier one; here that is a mistake."""
    found: list[str] = []
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                found.append(f"line {key.start_mark.line + 1}: `{key.value}` stands here a second time")
            seen.add(key.value)
            found += _repeated_keys(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            found += _repeated_keys(value)
    return found
