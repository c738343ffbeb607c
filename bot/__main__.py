"""The command line."""

from __future__ import annotations

import faulthandler
import json
import logging
import os
import sys
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, Literal

import click

from bot.config import ConfigError, Settings, load
from bot.config import secrets as read_secrets
from bot.logs import Form
from bot.store import StoreInUse

log = logging.getLogger("tkgbot")
LONGEST_END = 25.0
"""Seconds that an end may take; then the log shows where each thread stood, and the next start takes up what is left.
Kubernetes kills after 30."""


def _explained(command: Callable[..., Any]) -> Callable[..., Any]:
    """Ends with a sentence and exit code 2 where a person has to mend something."""

    @wraps(command)
    def run(*arguments: Any, **options: Any) -> Any:
        try:
            return command(*arguments, **options)
        except (ConfigError, StoreInUse) as error:
            click.echo(str(error), err=True)
            sys.exit(2)

    return run


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tkgbot")
def main() -> None:
    """tkgbot: Kubernetes clusters on AWS from Slack, with plans, approvals and proof."""


def _host_and_port(_context: click.Context, _option: click.Parameter, value: str | None) -> tuple[str, int] | None:
    if value is None:
        return None
    host, _, port = value.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise click.BadParameter("it is HOST:PORT, such as 0.0.0.0:3000")
    return host.strip("[]"), int(port)


def _log_form() -> Form:
    found = os.environ.get("TKGBOT_LOG") or "text"
    if found not in ("text", "json"):
        raise ConfigError("the environment", [f"TKGBOT_LOG is {found!r}; it is `text` or `json`"])
    return "json" if found == "json" else "text"


@main.command()
@click.option(
    "--http", metavar="HOST:PORT", callback=_host_and_port, help="Serve /slack/events instead of Socket Mode."
)
@click.option(
    "--serve", metavar="HOST:PORT", callback=_host_and_port,
    help="Serve /healthz, /readyz and /metrics here; with --http they are there, too, but for /metrics.",
)  # fmt: skip
@_explained
def run(http: tuple[str, int] | None, serve: tuple[str, int] | None) -> None:
    """Run the bot, by Socket Mode or over HTTP."""
    from bot.app import Bot, leave
    from bot.ending import Ending
    from bot.logs import set_up

    set_up(form=_log_form())
    bot = Bot(load(), read_secrets(http=http is not None), http=http, probes=serve)
    ending = Ending()
    bot.start()
    ending.wait()
    log.info("ending: nothing new is taken; what runs goes on at the next start")
    faulthandler.dump_traceback_later(LONGEST_END, exit=True)
    bot.stop()
    leave(0)


@main.command()
@click.option("--once", is_flag=True, help="End after the tour.")
@click.option("--port", default=0, help="The page's port; 0 takes a free one.")
def demo(once: bool, port: int) -> None:
    """Start the sandbox and the bot, play a tour, and stay."""
    from bot.demo import main as tour

    sys.exit(tour(once=once, port=port))


@main.command()
@click.option("--dir", "directory", type=click.Path(path_type=Path), required=True, help="Where to write `env`.")
@click.option("--port", default=0, help="The port of Slack and the page; 0 takes a free one.")
@click.option(
    "--ack-seconds", type=click.FloatRange(min=0, min_open=True), envvar="SANDBOX_ACK_SECONDS", show_envvar=True,
    help="How long Slack waits for the app to take a command or a click; left out, Slack's own time.",
)  # fmt: skip
def sandbox(directory: Path, port: int, ack_seconds: float | None) -> None:
    """Run the sandbox alone."""

    def ready(environment: dict[str, str]) -> None:
        click.echo(f"The sandbox's page is at {environment['SANDBOX_URL']}; {directory}/env says how to use it.")

    try:
        from sandbox.main import serve

        serve(directory, port, ready, ack_seconds)
    except ModuleNotFoundError as error:
        raise click.ClickException(
            f"The sandbox needs more packages ({error.name} is missing): pip install 'tkgbot[sandbox]'."
        ) from error


@main.command()
@click.argument("words")
@_explained
def plan(words: str) -> None:
    """Print the plan of a command, read-only: tkgbot plan "subnet tag demo --vpc vpc-…"."""
    from bot.plain import print_plan

    sys.exit(print_plan(load(), words))


@main.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON, for machines.")
@_explained
def doctor(as_json: bool) -> None:
    """Look at everything that the bot needs; say what is well, and what to do about the rest. Changes nothing."""
    from bot.doctor import run

    run(as_json=as_json)


@main.command()
@click.argument("name")
def template(name: str) -> None:
    """Print a CloudFormation template for AWS accounts: secondary-account, bootstrap or bot-management."""
    from importlib import resources

    folder = resources.files("manifests.iam")
    known = sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml"))
    wanted = name.removesuffix(".yaml")
    if wanted not in known:
        raise click.BadParameter(f"it is one of {', '.join(known)}", param_hint="NAME")
    click.echo(folder.joinpath(f"{wanted}.yaml").read_text(encoding="utf-8"), nl=False)


@main.command("slack-manifest")
@click.option("--name", default="tkgbot", show_default=True, help="What the app is called.")
@click.option("--http", metavar="URL", default="", help="Where Slack reaches `tkgbot run --http`; else Socket Mode.")
@click.option("--json", "as_json", is_flag=True, help="JSON, without the reasons of the scopes.")
def slack_manifest(name: str, http: str, as_json: bool) -> None:
    """Print the manifest of the Slack app, to paste where Slack makes apps."""
    from bot.plain import print_manifest

    if http and not http.startswith("https://"):
        raise click.BadParameter("Slack reaches https URLs only, such as https://bot.example.com", param_hint="--http")
    print_manifest(name, http, as_json=as_json)


@main.group()
def policy() -> None:
    """The policy."""


@policy.command("explain")
@click.argument("user")
@click.argument("channel")
@click.argument("words")
@_explained
def policy_explain(user: str, channel: str, words: str) -> None:
    """Say whether USER may ask for a command in CHANNEL, who may approve it, and why."""
    from bot.plain import explain_policy

    sys.exit(explain_policy(load(), read_secrets(), user, channel, words))


@main.group()
def config() -> None:
    """The settings."""


@config.command("check")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@_explained
def config_check(file: Path | None) -> None:
    """Check the settings; every mistake at once."""
    settings = load(file)
    count, rules = len(settings.operations.accounts), len(settings.policy)
    click.echo(f"The settings are good: {count} account{'s' * (count != 1)}, {rules} rule{'s' * (rules != 1)}.")
    for doubt in settings.slack.doubts:
        click.echo(f"To think about: {doubt}")


@config.command("schema")
def config_schema() -> None:
    """Print the JSON Schema of the settings, for editors."""
    click.echo(json.dumps(Settings.model_json_schema(), indent=2))


@main.group()
def audit() -> None:
    """What happened, by whom: verified and exported."""


@audit.command("verify")
@click.option("--anchor", type=click.Path(path_type=Path), help="The bot's anchor file, where it is not in its place.")
@click.option("--head", metavar="NUMBER:SEAL", help="A head that the bot posted: 16 digits of the seal are enough.")
@click.option("--file", type=click.Path(path_type=Path), help="Verify an export (jsonl) instead of the database.")
@click.option("--part", is_flag=True, help="The export need not be complete.")
@_explained
def audit_verify(anchor: Path | None, head: str | None, file: Path | None, part: bool) -> None:
    """Say whether any record was changed, removed, added, moved or cut off, and which. Works while the bot runs."""
    from bot.audit_verify import verify

    found = verify(
        read_secrets(to_run=False), anchor_file=anchor, head=head, file=file, part=part and file is not None,
        now=time.time(),
    )  # fmt: skip
    sys.exit(found)


@audit.command("export")
@click.option("--request", metavar="ID", help="Only this request's records.")
@click.option("--since", metavar="TIME", help="From this time on (ISO 8601; UTC where it names no zone).")
@click.option("--until", metavar="TIME", help="Before this time.")
@click.option("--format", "form", type=click.Choice(["jsonl", "csv"]), default="jsonl", show_default=True)
@_explained
def audit_export(request: str | None, since: str | None, until: str | None, form: Literal["jsonl", "csv"]) -> None:
    """Print the records in order, with their seals."""
    from bot.audit_export import export, point_in_time

    times = []
    for name, text in (("--since", since), ("--until", until)):
        try:
            times.append(None if text is None else point_in_time(text))
        except ValueError:
            raise click.BadParameter(f"{text!r} is no time such as 2026-03-01T12:00", param_hint=name) from None
    sys.exit(export(read_secrets(to_run=False), request=request, since=times[0], until=times[1], form=form))


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    main()
