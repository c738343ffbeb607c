"""Slack's payloads to invocations. Pure.

Keys are made of what Slack gives (a command's trigger id; a click's message, action timestamp and user; a form's view
id and hash; a shortcut's trigger id; a mention's channel and timestamp): a delivery may come twice, and its retry
headers prove nothing.
"""

from __future__ import annotations

import re
from typing import Any

from bot.invocation import Invocation
from bot.slack.forms import ASK, filled_in, metadata

OWN_MENTION = re.compile(r"^\s*<@[A-Z0-9]+(?:\|[^>]*)?>[:,]?\s*")


def from_command(body: dict[str, Any]) -> Invocation:
    """A slash command's payload (docs.slack.dev/interactivity/implementing-slash-commands)."""
    return Invocation(
        key=f"command:{body['team_id']}:{body['trigger_id']}",
        kind="command",
        team=body["team_id"],
        person=body["user_id"],
        person_team=body["team_id"],
        channel=body["channel_id"],
        response_url=body.get("response_url"),
        command=body["command"],
        text=body.get("text") or "",
        trigger=body["trigger_id"],
    )


def from_click(body: dict[str, Any]) -> Invocation:
    """A button's block_actions payload, in a message or in one of our modals
    (docs.slack.dev/reference/interaction-payloads/block_actions-payload)."""
    action, user, shown = body["actions"][0], body["user"], body.get("view") or {}
    channel = (body.get("channel") or {}).get("id") or body["container"].get("channel_id", "")
    channel = channel or metadata(shown).get("channel", "")
    ts = body["container"].get("message_ts", "")
    return Invocation(
        key=f"click:{channel}:{ts or shown.get('id', '')}:{action['action_ts']}:{user['id']}:{action['action_id']}",
        kind="click",
        team=(body.get("team") or {}).get("id") or "",
        person=user["id"],
        person_team=user.get("team_id") or "",
        channel=channel,
        response_url=body.get("response_url"),
        action=action["action_id"].removeprefix("tkg:").partition(":")[0],
        value=str(action.get("value") or ""),
        message_ts=ts,
        trigger=body.get("trigger_id") or "",
        view=shown.get("id") or "",
    )


def from_form(body: dict[str, Any]) -> Invocation:
    """A view_submission payload (docs.slack.dev/reference/interaction-payloads/view-interactions-payload)."""
    shown, user = body["view"], body["user"]
    carried = metadata(shown)
    asks = shown.get("callback_id") == ASK
    return Invocation(
        key=f"form:{shown['id']}:{shown.get('hash', '')}",
        kind="form",
        team=(body.get("team") or {}).get("id") or "",
        person=user["id"],
        person_team=user.get("team_id") or "",
        channel=carried.get("channel", ""),
        action="ask" if asks else "deny",
        value=carried.get("operation" if asks else "value", ""),
        given=filled_in(shown),
        undoes=carried.get("undoes", ""),
        offer=carried.get("offer", ""),
    )


def from_shortcut(body: dict[str, Any]) -> Invocation:
    """A shortcut or message_action payload (docs.slack.dev/reference/interaction-payloads/
    shortcuts-interaction-payload): a global one has neither channel nor response URL."""
    user, message = body["user"], body.get("message") or {}
    team = (body.get("team") or {}).get("id") or ""
    return Invocation(
        key=f"shortcut:{team}:{body['trigger_id']}",
        kind="shortcut",
        team=team,
        person=user["id"],
        person_team=user.get("team_id") or "",
        channel=(body.get("channel") or {}).get("id") or "",
        response_url=body.get("response_url"),
        action=body["callback_id"].removeprefix("tkg:"),
        message_ts=body.get("message_ts") or message.get("ts") or "",
        thread=message.get("thread_ts") or message.get("ts") or "",
        trigger=body["trigger_id"],
    )


def from_mention(body: dict[str, Any]) -> Invocation:
    """An app_mention event (docs.slack.dev/reference/events/app_mention)."""
    event = body["event"]
    return Invocation(
        key=f"mention:{body['team_id']}:{event['channel']}:{event['ts']}",
        kind="mention",
        team=body["team_id"],
        person=event["user"],
        person_team=event.get("user_team") or event.get("team") or body["team_id"],
        channel=event["channel"],
        text=OWN_MENTION.sub("", event.get("text") or ""),
        message_ts=event["ts"],
        thread=event.get("thread_ts") or "",
    )
