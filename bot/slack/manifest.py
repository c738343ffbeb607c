"""The manifest of the bot's Slack app, made from what the bot can do. Pure.

Format and limits: docs.slack.dev/reference/app-manifest (description 140 characters; a command's description 2,000, its
hint 1,000). Every scope has a comment that says what needs it, so that whoever installs the app can judge it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from bot.fields import usage
from bot.grammar import ROOT
from bot.own import OWN
from bot.shortcuts import SHORTCUTS
from bot.slack.scopes import APP_SCOPES, BOT_SCOPES, Scope
from handlers.contract import Spoken

EVENTS = ("app_mention",)
NOUNS = ("subnet", "cluster", "account", "gpu")
"""First words that have a command of their own, because Slack completes commands and not what follows them."""
DESCRIPTION, LONGEST_NAME, HINT = 140, 35, 100
ABOUT = "Makes and runs Kubernetes clusters on AWS: with a plan, an approval and a proof."
COLOUR = "#1a2b3c"


def manifest(operations: Mapping[str, Spoken[Any]], *, name: str = "tkgbot", http: str = "") -> dict[str, Any]:
    """The manifest as data. `http` is where Slack reaches the bot (`https://bot.example.com`), empty for Socket
    Mode."""
    url = f"{http.rstrip('/')}/slack/events" if http else ""
    made: dict[str, Any] = {
        "_metadata": {"major_version": 2, "minor_version": 1},
        "display_information": {
            "name": name[:LONGEST_NAME],
            "description": ABOUT[:DESCRIPTION],
            "background_color": COLOUR,
        },
        "features": {
            "bot_user": {"display_name": name[:LONGEST_NAME], "always_online": True},
            "shortcuts": [
                {
                    "name": entry.name,
                    "type": entry.kind,
                    "callback_id": f"tkg:{entry.action}",
                    "description": entry.description,
                }
                for entry in SHORTCUTS
            ],
            "slash_commands": _commands(operations, url),
        },
        "oauth_config": {"scopes": {"bot": [scope.name for scope in BOT_SCOPES]}},
        "settings": {
            "event_subscriptions": {**({"request_url": url} if url else {}), "bot_events": list(EVENTS)},
            "interactivity": {"is_enabled": True, **({"request_url": url} if url else {})},
            "org_deploy_enabled": False,
            "socket_mode_enabled": not http,
            "token_rotation_enabled": False,
        },
    }
    return made


def as_yaml(made: Mapping[str, Any]) -> str:
    """The same to paste into Slack, with the reason of each scope beside it."""
    known = {scope.name: scope for scope in BOT_SCOPES}
    lines = [
        "# Slack: api.slack.com/apps, “Create New App”, “From a manifest”. Made by `tkgbot slack-manifest`.",
        "# Beside this the app needs an app-level token with "
        + ", ".join(f"{scope.name} ({scope.why})" for scope in APP_SCOPES)
        + ".",
    ]
    for line in yaml.safe_dump(dict(made), sort_keys=False, allow_unicode=True, width=1_000).splitlines():
        scope = known.get(line.strip().removeprefix("- ").strip("'"))
        lines.append(f"{line} # {_reason(scope)}" if scope is not None and line.lstrip().startswith("- ") else line)
    return "\n".join(lines) + "\n"


def _reason(scope: Scope) -> str:
    return f"optional: {scope.why}; without it, {scope.without}" if scope.optional else scope.why


def _commands(operations: Mapping[str, Spoken[Any]], url: str) -> list[dict[str, Any]]:
    root = {
        "command": ROOT,
        "description": "Plan, approve and run what clusters need; alone it opens a menu",
        "usage_hint": "help | status | cluster create NAME --plan dev --vpc VPC | requests mine",
    }
    every = [root]
    for noun in NOUNS:
        verbs = [op for name, op in operations.items() if name.startswith(f"{noun} ") and name not in OWN]
        words = " | ".join(op.name.removeprefix(f"{noun} ") for op in verbs)
        shortest = min((usage(op, ROOT).removeprefix(f"{ROOT} {noun} ") for op in verbs), key=len)
        every.append({
            "command": f"{ROOT}-{noun}",
            "description": f"The same as {ROOT} {noun}: {words}"[:DESCRIPTION],
            "usage_hint": shortest[:HINT],
        })  # fmt: skip
    return [{**one, "should_escape": True, **({"url": url} if url else {})} for one in every]
