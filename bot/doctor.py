"""`tkgbot doctor`: everything that the bot needs, looked at once; each line is a pass, or what to do.

Looks only: nothing is made or changed anywhere. All looks go on at once, and what has not answered within twenty
seconds is told as such, so that one silent place hides nothing of the others.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import click

from bot import examine_here
from bot.app import leave, slack_client
from bot.config import ConfigError, Secrets, Settings, SlackTimes, load
from bot.config import secrets as read_secrets
from bot.people import groups_of
from bot.slack.examine import Named, SlackExaminer
from handlers.contract import Check
from handlers.workshop import TeamWorkshop

log = logging.getLogger(__name__)
WITHIN = 20.0
MARKS = {"pass": "✓", "warn": "!", "block": "✗", "unknown": "?"}
Look = Callable[[], list[Check]]


def doctor(*, as_json: bool) -> int:
    """Looks, and prints. 0: nothing stands in the way (there may be warnings); 1: something has to be done."""
    checks = examine()
    wrong = sum(check.blocks for check in checks)
    warned = sum(check.result == "warn" for check in checks)
    if as_json:
        found = [check.model_dump(mode="json") for check in checks]
        click.echo(json.dumps({"ok": not wrong, "checks": found}, indent=2, ensure_ascii=False))
        return 1 if wrong else 0
    for check in checks:
        click.echo(f"{MARKS[check.result]} {check.title}: {check.evidence}")
        if check.result != "pass" and check.fix:
            click.echo(f"    → {check.fix}")
    told = f"{len(checks) - wrong - warned} well, {warned} to think about, {wrong} to mend."
    click.echo(f"\n{told}" if wrong else f"\n{told} The bot can be started.")
    return 1 if wrong else 0


def run(*, as_json: bool) -> None:
    """The command: ends the process, whoever is still waiting for an answer."""
    logging.disable(logging.CRITICAL)  # what is wrong is said in the checks
    code = doctor(as_json=as_json)
    sys.stdout.flush()
    leave(code)


def examine(environment: Mapping[str, str] = os.environ, within: float = WITHIN) -> list[Check]:
    """Every check, in the order in which people look. What cannot be looked at, because the settings or the secrets are
    wrong, is left out: their mistakes are said."""
    checks: list[Check] = []
    settings, secrets = None, None
    try:
        settings = load(environment=environment)
        checks.append(_settings(settings))
    except ConfigError as error:
        checks += _mistakes(
            "settings", "Settings", error, "Correct the line; `tkgbot config check` says when it is good."
        )
    try:
        secrets = read_secrets(environment, http=_is_over_http(environment))
    except ConfigError as error:
        checks += _mistakes(
            "environment", "Environment", error, "Set it in the environment of the bot, then look again."
        )
    looks: dict[str, Look] = {}
    if secrets is not None:
        looks |= _here(secrets, settings)
        looks |= _slack(secrets, settings, _is_over_http(environment))
    if settings is not None:
        looks |= TeamWorkshop(settings.operations).examinations()
    return [*checks, *together(looks, within)]


def together(looks: Mapping[str, Look], within: float) -> list[Check]:
    """Runs every look in a thread of its own; their checks in the looks' order. One that fails or does not end is a
    check that says so."""
    ended: queue.SimpleQueue[tuple[str, list[Check]]] = queue.SimpleQueue()

    def look(name: str, work: Look) -> None:
        try:
            ended.put((name, work()))
        except Exception as error:  # noqa: BLE001 - a defect in one look must not hide the others
            ended.put((name, [_unknown(name, f"This look failed ({type(error).__name__}).", "Report it.")]))

    for name, work in looks.items():
        threading.Thread(target=look, args=(name, work), daemon=True).start()
    found: dict[str, list[Check]] = {}
    until = time.monotonic() + within
    while len(found) < len(looks) and (left := until - time.monotonic()) > 0:
        try:
            name, checks = ended.get(timeout=left)
        except queue.Empty:
            break
        found[name] = checks
    silent = f"It did not answer within {within:g} s."
    late = "See that it runs and can be reached from this machine, and look again."
    return [check for name in looks for check in found.get(name, [_unknown(name, silent, late)])]


def named_in(settings: Settings) -> Named:
    """What the settings name in Slack. Channels that are patterns are nobody's."""
    channels: dict[str, str] = {}
    people: dict[str, str] = {}
    for rule in settings.policy:
        where = f"the policy's rule “{rule.name}”"
        channels |= {name: where for name in rule.channels if name.isalnum() and name not in channels}
        people |= {name: where for who in (rule.ask, rule.approve) for name in who.users if name not in people}
    for digest in settings.digests:
        channels.setdefault(digest.channel, f"the digest “{digest.name}”")
    if settings.audit.channel is not None:
        channels.setdefault(settings.audit.channel, "`audit.channel`")
    groups = {group: _rule_of(settings, group) for group in groups_of(settings.policy)}
    return Named(channels, groups, people)


def _rule_of(settings: Settings, group: str) -> str:
    names = (rule.name for rule in settings.policy if group in (*rule.ask.usergroups, *rule.approve.usergroups))
    return f"the policy's rule “{next(names)}”"


def _here(secrets: Secrets, settings: Settings | None) -> dict[str, Look]:
    zones = tuple(digest.zone for digest in settings.digests) if settings else ()
    return {
        "Data directory": partial(examine_here.data_directory, secrets),
        "Database": partial(examine_here.database, secrets),
        "Audit": partial(examine_here.audit, secrets),
        "Time zones": partial(examine_here.time_zones, zones),
    }


def _slack(secrets: Secrets, settings: Settings | None, http: bool) -> dict[str, Look]:
    times = settings.slack if settings is not None else SlackTimes()
    examiner = SlackExaminer(slack_client(secrets, times.timeout), None if http else secrets.app_token, time.time)
    looks: dict[str, Look] = {"Slack": examiner.tokens, "Slack: app-level token": examiner.app_token}
    if settings is not None:
        named = named_in(settings)
        looks["Slack: channels"] = partial(examiner.channels, named.channels)
        looks["Slack: user groups"] = partial(examiner.groups, named.groups)
        looks["Slack: people"] = partial(examiner.people, named.people)
    return looks


def _is_over_http(environment: Mapping[str, str]) -> bool:
    """A bot that has a signing secret and no app-level token is meant for `tkgbot run --http`."""

    def has(name: str) -> bool:
        return bool(environment.get(name) or environment.get(f"{name}_FILE"))

    return has("SLACK_SIGNING_SECRET") and not has("SLACK_APP_TOKEN")


def _settings(settings: Settings) -> Check:
    counted = (
        (len(settings.operations.accounts), "account"), (len(settings.policy), "rule"),
        (len(settings.digests), "digest"),
    )  # fmt: skip
    said = ", ".join(f"{count} {word}{'s' * (count != 1)}" for count, word in counted)
    return Check(id="settings", title="Settings", result="pass", evidence=f"They are good: {said}.")


def _mistakes(check: str, title: str, error: ConfigError, fix: str) -> Sequence[Check]:
    return [
        Check(id=f"{check}:{number}", title=title, result="block", evidence=mistake, fix=fix)
        for number, mistake in enumerate(error.mistakes, start=1)
    ]


def _unknown(name: str, evidence: str, fix: str) -> Check:
    return Check(id=name.lower(), title=name, result="unknown", evidence=evidence, fix=fix)
