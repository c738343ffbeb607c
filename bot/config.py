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
from pydantic import BaseModel, Field, ValidationError, model_validator

from bot.audit import SHORTEST_KEY
from bot.digests import DigestSettings
from bot.policy import Duration, Rule
from handlers.contract import Model
from handlers.settings import OperationsSettings
from handlers.workshop import discover

DEFAULT_FILE = "tkgbot.yaml"
SHORTEST_SIGNING_SECRET = 16


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


STORED_IN_TIME = 2.5
"""Seconds, of the three that Slack waits for an answer ("Handling user interaction"); the rest is for its way."""


class SlackTimes(Model):
    """How long Slack, and those who wait for it, are given. Seconds."""

    store_within: float = Field(
        2.0, gt=0, le=600,
        description="What a command or click may take to be stored before its person is told that it was not. Slack"
        " itself waits three seconds.",
    )  # fmt: skip
    timeout: int = Field(10, gt=0, le=600, description="What a call of Slack's Web API may take.")
    ping: float = Field(
        1.0, gt=0, le=60,
        description="Between two pings of the socket. It counts as cut after four silent ones or five that failed.",
    )  # fmt: skip
    claim: float = Field(
        30.0, gt=0, le=3600,
        description="How long an outgoing message belongs to the replica that sends it; a file four times as long.",
    )  # fmt: skip
    groups_fresh: float = Field(
        5.0, ge=0, le=5, description="How long the members of user groups are known without asking again: for so long"
        " somebody who left a group may still do what it may.",
    )  # fmt: skip

    @property
    def doubts(self) -> list[str]:
        """What is allowed, for tests and slow machines, and hardly meant where people work; a sentence each."""
        found = []
        if self.store_within > STORED_IN_TIME:
            found.append(
                f"slack.store_within is {self.store_within:g} s, and Slack waits three: people will read that the bot"
                " did not answer while their command is being stored."
            )
        if self.claim < self.timeout:
            found.append(
                f"slack.claim ({self.claim:g} s) is shorter than slack.timeout ({self.timeout} s): another replica may"
                " take a message over while the first still waits for Slack, and it would be posted twice."
            )
        return found


class Attention(Model):
    """When people are spoken to once more. Times are seconds, or words such as `30m`."""

    remind_after: Duration = Field(
        30 * 60.0, description="How long a plan waits before its approvers are reminded, once."
    )
    busy_after: int = Field(
        10, ge=1, le=100, description="Messages in the channel after which a decision is also sent to the requester."
    )


class AuditSettings(Model):
    """Where people can compare the audit's history with what the bot wrote."""

    channel: str | None = Field(
        None, pattern=r"^[CG][A-Z0-9]{6,}$", description="The id of a channel that is told the audit's newest seal."
    )
    every: Duration = Field(3600.0, ge=60, description="How often it is told, if there is a newer one.")


class TimeBoxSettings(Model):
    """Clusters whose time is limited."""

    warn: Duration = Field(3600.0, description="How long before the end its owner is warned, in the request's thread.")
    extend: Duration = Field(8 * 3600.0, description="What the button of that warning asks for.")


class Settings(Model):
    """The settings file."""

    operations: OperationsSettings
    policy: tuple[Rule, ...] = Field(
        min_length=1, description="Who may ask and approve. Whatever no rule allows is denied."
    )
    limits: Limits = Limits()
    slack: SlackTimes = SlackTimes()
    people: Attention = Attention()
    audit: AuditSettings = AuditSettings()
    digests: tuple[DigestSettings, ...] = Field((), max_length=200, description="Status summaries, sent at set times.")
    time_boxes: TimeBoxSettings = TimeBoxSettings()

    @model_validator(mode="after")
    def _digests_have_names_of_their_own(self) -> Settings:
        names = [digest.name for digest in self.digests]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"two digests are named “{twice}”; each needs a name of its own")
        return self


@dataclass(frozen=True)
class Secrets:
    """What the environment holds. Never printed."""

    bot_token: str = field(repr=False)
    app_token: str = field(repr=False)
    signing_secret: str = field(repr=False)
    api_url: str
    database_url: str | None = field(repr=False)
    data: Path
    audit_key: str | None = field(repr=False)
    anchor: Path


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


def secrets(environment: Mapping[str, str] = os.environ, *, to_run: bool = True, http: bool = False) -> Secrets:
    """Reads the secrets. Raises ConfigError with everything that is missing. With `to_run` false, only what it takes to
    look at the database has to be there. With `http`, Slack's requests are checked by the signing secret, and the
    app-level token of Socket Mode is not needed."""
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

    bot = get("SLACK_BOT_TOKEN", needed=to_run)
    app = get("SLACK_APP_TOKEN", needed=to_run and not http)
    signing = get("SLACK_SIGNING_SECRET", needed=to_run and http)
    if http and signing is not None and len(signing) < SHORTEST_SIGNING_SECRET:
        missing.append(
            f"SLACK_SIGNING_SECRET is too short: Slack's has 32 characters, and {len(signing)} are no secret"
        )
    database = get("TKGBOT_DATABASE_URL", needed=False)
    if database is not None and database.startswith(("postgresql://", "postgres://")):
        database = "postgresql+psycopg://" + database.split("://", 1)[1]
    key = get("TKGBOT_AUDIT_KEY", needed=to_run and database is not None)
    if key is not None and len(key) < SHORTEST_KEY:
        missing.append(f"TKGBOT_AUDIT_KEY is too short: it needs {SHORTEST_KEY} characters (such as 64 hex digits)")
    if missing:
        raise ConfigError("the environment", missing)
    data = Path(environment.get("TKGBOT_DATA", "data"))
    return Secrets(
        bot_token=bot or "",
        app_token=app or "",
        signing_secret=signing or "",
        api_url=environment.get("SLACK_API_URL", "https://slack.com/api/"),
        database_url=database,
        data=data,
        audit_key=key,
        anchor=Path(environment.get("TKGBOT_AUDIT_ANCHOR") or data / "audit.anchor"),
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
