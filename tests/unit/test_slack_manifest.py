"""The Slack app's manifest: what Slack takes, and what the repository holds of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from bot.own import OWN
from bot.slack.listeners import COMMANDS
from bot.slack.manifest import NOUNS, as_yaml, manifest
from bot.slack.scopes import BOT_SCOPES
from handlers.workshop import discover

STORED = Path(__file__).parents[2] / "manifests" / "slack" / "app.yaml"
MADE = manifest(discover())


def test_the_stored_manifest_is_the_one_that_is_printed() -> None:
    """To renew it: tkgbot slack-manifest > manifests/slack/app.yaml"""
    assert STORED.read_text(encoding="utf-8") == as_yaml(MADE)


def test_the_comments_change_nothing() -> None:
    assert yaml.safe_load(as_yaml(MADE)) == MADE


def test_every_scope_says_what_needs_it() -> None:
    text = as_yaml(MADE)
    assert MADE["oauth_config"]["scopes"]["bot"] == [scope.name for scope in BOT_SCOPES]
    for scope in BOT_SCOPES:
        assert f"- {scope.name} # {'optional: ' if scope.optional else ''}{scope.why}" in text


def test_slack_takes_its_lengths() -> None:
    info = MADE["display_information"]
    assert len(info["name"]) <= 35
    assert len(info["description"]) <= 140
    for command in MADE["features"]["slash_commands"]:
        assert len(command["description"]) <= 2000
        assert len(command["usage_hint"]) <= 1000
        assert command["should_escape"], "people and channels have to arrive as ids"
    for shortcut in MADE["features"]["shortcuts"]:
        assert len(shortcut["name"]) <= 24
        assert len(shortcut["description"]) <= 150


def test_every_command_is_one_that_the_bot_takes_and_every_noun_with_verbs_has_one() -> None:
    commands = [command["command"] for command in MADE["features"]["slash_commands"]]
    assert all(COMMANDS.match(command) for command in commands)
    nouns = {name.split()[0] for name in discover() if " " in name and name not in OWN}
    assert nouns == set(NOUNS)


@pytest.mark.parametrize("http", ["", "https://bot.example.com", "https://bot.example.com/"])
def test_socket_mode_or_one_url_for_everything(http: str) -> None:
    made = manifest(discover(), http=http)
    assert made["settings"]["socket_mode_enabled"] is not bool(http)
    urls = {
        made["settings"]["event_subscriptions"].get("request_url"),
        made["settings"]["interactivity"].get("request_url"),
        *(command.get("url") for command in made["features"]["slash_commands"]),
    }
    assert urls == ({"https://bot.example.com/slack/events"} if http else {None})
