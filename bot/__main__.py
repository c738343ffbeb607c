"""The command line."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from bot.config import ConfigError, Settings, load
from bot.config import secrets as read_secrets
from bot.store import StoreInUse

log = logging.getLogger("tkgbot")


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


@main.command()
@_explained
def run() -> None:
    """Run the bot (Socket Mode)."""
    from bot.app import Bot, leave
    from bot.logs import set_up

    set_up()
    bot = Bot(load(), read_secrets())
    end = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: end.set())
    bot.start()
    end.wait()
    log.info("ending: nothing new is taken; what runs goes on at the next start")
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
def sandbox(directory: Path, port: int) -> None:
    """Run the sandbox alone."""

    def ready(environment: dict[str, str]) -> None:
        click.echo(f"The sandbox's page is at {environment['SANDBOX_URL']}; {directory}/env says how to use it.")

    try:
        from sandbox.main import serve

        serve(directory, port, ready)
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


@config.command("schema")
def config_schema() -> None:
    """Print the JSON Schema of the settings, for editors."""
    click.echo(json.dumps(Settings.model_json_schema(), indent=2))


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    main()
