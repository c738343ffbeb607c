"""Screens to Slack's modal views, and filled-in views back to values. Pure.

Limits: docs.slack.dev/reference/views (title, submit and close 24 characters, 100 blocks, private_metadata 3,000) and
docs.slack.dev/reference/block-kit/blocks/input-block. A view's private_metadata carries ids only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from bot.forms import LONGEST_REASON, LONGEST_VALUE, Field
from bot.screens import AskForm, DenyForm, Menu, Screen
from bot.slack.cards import note
from bot.slack.text import Block, clean, clip, escape, plain_text

ASK, DENY, SHOW = "tkg:ask", "tkg:deny", "tkg:show"
VALUE, REASON = "value", "reason"
ON = "on"
TITLE, INPUT, OPTION, ENTRIES = 24, 150, 75, 40


def view(screen: Screen) -> Block:
    """The view to open or to show instead."""
    if isinstance(screen, AskForm):
        return _modal(
            ASK, screen.operation, [_says(screen.summary), *map(_input, screen.fields)],
            submit=screen.submit, channel=screen.channel, operation=screen.operation,
            **{name: value for name, value in (("undoes", screen.undoes), ("offer", screen.offer)) if value},
        )  # fmt: skip
    if isinstance(screen, DenyForm):
        return _modal(DENY, "Deny this?", _deny(screen), submit="Deny", channel=screen.channel, value=screen.value)
    if isinstance(screen, Menu):
        return _modal(SHOW, "What you may do here", _menu(screen), channel=screen.channel)
    return _modal(SHOW, screen.title, [block for item in screen.notes for block in note(item).blocks])


def metadata(shown: Mapping[str, Any]) -> dict[str, str]:
    """What a view of ours carries; nothing where it is not ours."""
    try:
        found = json.loads(shown.get("private_metadata") or "{}")
    except (ValueError, RecursionError):
        return {}
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else {}


def filled_in(shown: Mapping[str, Any]) -> dict[str, str | bool | None]:
    """A submitted view's values by field name (docs.slack.dev: view interactions payload)."""
    found: dict[str, str | bool | None] = {}
    for block, actions in ((shown.get("state") or {}).get("values") or {}).items():
        for element in actions.values():
            if element.get("type") == "checkboxes":
                found[block] = bool(element.get("selected_options"))
            elif element.get("type") == "static_select":
                found[block] = (element.get("selected_option") or {}).get("value")
            else:
                value = element.get("value")
                found[block] = clean(value) if isinstance(value, str) else None
    return found


# -- the pieces --------------------------------------------------------------------------------------------------


def _modal(callback: str, title: str, blocks: list[Block], *, submit: str = "", **carried: str) -> Block:
    made: Block = {
        "type": "modal",
        "callback_id": callback,
        "title": {"type": "plain_text", "text": clip(clean(title), TITLE)},
        "close": {"type": "plain_text", "text": "Close"},
        "private_metadata": json.dumps(carried),
        "blocks": blocks,
    }
    if submit:
        made["submit"] = {"type": "plain_text", "text": submit}
    return made


def _says(text: str) -> Block:
    return {
        "type": "rich_text",
        "elements": [{"type": "rich_text_section", "elements": [plain_text(clip(text, 600))]}],
    }


def _input(item: Field) -> Block:
    made: Block = {
        "type": "input",
        "block_id": item.name,
        "label": {"type": "plain_text", "text": clip(clean(item.label), INPUT)},
        "optional": not item.required or item.kind == "switch",
        "element": {"action_id": VALUE, **_element(item)},
    }
    hint = clip(clean(item.hint), INPUT)
    if hint and (item.kind != "switch" or len(hint) > OPTION):
        made["hint"] = {"type": "plain_text", "text": hint}
    return made


def _element(item: Field) -> Block:
    if item.kind == "switch":
        option = _option(ON, item.hint or item.label)
        ticked = {"initial_options": [option]} if item.value else {}
        return {"type": "checkboxes", "options": [option], **ticked}
    if item.kind == "choice":
        options = [_option(word, word) for word in item.options[:100]]
        chosen = {"initial_option": _option(str(item.value), str(item.value))} if item.value else {}
        return {"type": "static_select", "options": options, **chosen}
    typed: Block = {"type": "plain_text_input", "multiline": item.kind == "lines", "max_length": LONGEST_VALUE}
    if item.placeholder:
        typed["placeholder"] = {"type": "plain_text", "text": clip(item.placeholder, INPUT)}
    return {**typed, "initial_value": str(item.value)} if item.value else typed


def _option(value: str, text: str) -> Block:
    return {"text": {"type": "plain_text", "text": clip(clean(text), OPTION)}, "value": value}


def _deny(screen: DenyForm) -> list[Block]:
    return [
        _says(f"{screen.headline}\nThe one who asked is told your reason. Nothing is changed in AWS."),
        {
            "type": "input",
            "block_id": REASON,
            "label": {"type": "plain_text", "text": "Why not?"},
            "element": {
                "type": "plain_text_input", "action_id": VALUE, "multiline": True, "min_length": 1,
                "max_length": LONGEST_REASON, "focus_on_load": True,
            },
        },
    ]  # fmt: skip


def _menu(screen: Menu) -> list[Block]:
    blocks = [block for item in screen.notes for block in note(item).blocks]
    for entry in screen.entries[:ENTRIES]:
        lines = (f"*{escape(entry.operation)}*", escape(clip(entry.summary, 300)), escape(clip(entry.needs, 300)))
        block: Block = {"type": "section", "text": {"type": "mrkdwn", "text": "\n".join(lines)}}
        if entry.has_form:
            block["accessory"] = {
                "type": "button",
                "action_id": "tkg:form",
                "value": entry.operation,
                "text": {"type": "plain_text", "text": "Open form"},
                "accessibility_label": clip(f"Open the form of {entry.operation}", 75),
            }
        blocks.append(block)
    if len(screen.entries) > ENTRIES:
        blocks.append(_says(f"… and {len(screen.entries) - ENTRIES} more: /tkg help"))
    return blocks
