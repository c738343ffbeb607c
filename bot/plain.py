"""Plans and policy decisions as plain text, for the terminal. Looks only."""

from __future__ import annotations

import json
from typing import Any

import click

from bot import grammar
from bot.app import slack_directory
from bot.config import Secrets, Settings
from bot.directory import NotInChannel
from bot.fields import usage
from bot.grammar import GrammarError, HelpWanted
from bot.people import groups_of, scope
from bot.policy import Decision, Needs, Question, decide
from bot.slack.manifest import as_yaml, manifest
from handlers.contract import (
    Caller,
    Fatal,
    Json,
    Plan,
    Report,
    ReportOperation,
    Retry,
    Spoken,
    Table,
    UsageError,
    fingerprint,
)
from handlers.workshop import TeamWorkshop, discover

MARKS = {"pass": "ok     ", "warn": "warning", "block": "BLOCKS ", "unknown": "UNKNOWN"}


def print_plan(settings: Settings, words: str) -> int:
    """Prints what a command would change, or what a report answers. 0: there is an answer; 1: something blocks the
    plan; 2: the words or the world."""
    workshop = TeamWorkshop(settings.operations)
    parsed = _parsed(workshop, words)
    if parsed is None:
        return 2
    operation, arguments = parsed
    caller = Caller(request="plan", person="terminal")
    try:
        if isinstance(operation, ReportOperation):
            _print_report(workshop.report(operation.name, arguments, caller))
            return 0
        made = workshop.plan(operation.name, arguments, caller)
    except (UsageError, Fatal, Retry) as error:
        click.echo(f"{error.message} Nothing was changed.\n{error.hint}".strip(), err=True)
        return 2
    _print(made, fingerprint(operation.name, arguments, made), grammar.render(operation, arguments))
    return 1 if made.blocked else 0


def _parsed(workshop: TeamWorkshop, words: str) -> tuple[Spoken[Any], Json] | None:
    try:
        wanted = grammar.parse(grammar.ROOT, words.removeprefix(grammar.ROOT), workshop.operations)
    except GrammarError as error:
        click.echo(f"`{error.token}` {error.reason}.\nTry: {error.corrected}", err=True)
        return None
    if isinstance(wanted, HelpWanted):
        for operation in wanted.operations:
            click.echo(f"{usage(operation, grammar.ROOT)}\n  {operation.summary}")
        return None
    return wanted.operation, workshop.resolve(wanted.arguments.model_dump(mode="json"))


def _print(made: Plan, seal: str, command: str) -> None:
    click.echo(f"{made.headline}\n{command}\n")
    for check in made.checks:
        click.echo(f"  {MARKS[check.result]} {check.title}: {check.evidence}")
        if check.fix and check.result != "pass":
            click.echo(f"          {check.fix}")
    _print_table(made.details)
    click.echo()
    if made.blocked:
        click.echo("Something blocks this. Nothing was changed.")
    elif not made.steps:
        click.echo("It is already so: nothing to do.")
    else:
        for step in made.steps:
            click.echo(f"  would {step.title}")
        click.echo(f"\nplan {seal}. Nothing was changed.")


def _print_table(table: Table | None) -> None:
    if table is None:
        return
    rows = [table.header, *table.rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(table.header))]
    click.echo()
    for row in rows:
        click.echo("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _print_report(report: Report) -> None:
    click.echo(report.title)
    for fact in report.facts:
        click.echo(f"  - {fact}")
    _print_table(report.table)


def explain_policy(settings: Settings, secrets: Secrets, user: str, channel: str, words: str) -> int:
    """Asks Slack who this is and the policy what it says. 0: may ask; 1: may not; 2: the words or Slack."""
    workshop = TeamWorkshop(settings.operations)
    parsed = _parsed(workshop, words)
    if parsed is None:
        return 2
    operation, arguments = parsed
    directory = slack_directory(secrets, settings.slack)
    try:
        person = directory.person(user, groups_of(settings.policy))
        place = directory.place(channel)
    except NotInChannel:
        click.echo(f"tkgbot is not in the channel {channel}.", err=True)
        return 2
    except (Retry, Fatal) as error:
        click.echo(error.message, err=True)
        return 2
    question = Question(deed="ask", person=person, place=place, scope=scope(operation, arguments))
    decision = decide(settings.policy, question)
    click.echo(f"{user} is a {person.kind}" + (f" in {', '.join(sorted(person.groups))}." if person.groups else "."))
    _explain(decision, f"{user} may{'' if decision.allowed else ' not'} ask for this in {channel}:")
    if decision.needs is not None:
        _explain_needs(decision.needs)
    return 0 if decision.allowed else 1


def print_manifest(name: str, http: str, *, as_json: bool) -> None:
    """Prints the manifest of the Slack app."""
    made = manifest(discover(), name=name, http=http)
    click.echo(json.dumps(made, indent=2) if as_json else as_yaml(made), nl=as_json)


def _explain(decision: Decision, headline: str) -> None:
    click.echo(headline)
    for reason in decision.reasons:
        click.echo(f"  - {reason}")


def _explain_needs(needs: Needs) -> None:
    click.echo("Before it runs, every one of these must be filled:")
    for need in needs.each:
        who = json.dumps(need.approve.model_dump(exclude_defaults=True))
        own = "the requester counts" if need.requester_counts else "the requester does not count"
        click.echo(f"  - rule “{need.rule}”: {need.approvals} of {who}; {own}")
    click.echo(f"A request lives {needs.request_ttl / 3600:g} h, an approval {needs.approval_ttl / 60:g} min.")
