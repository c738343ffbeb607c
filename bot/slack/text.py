"""Texts and limits of Slack messages: escaping, clipping, and the last word on what fits. Pure.

Limits: docs.slack.dev/reference/block-kit/blocks; a message's blocks are refused from about 13,200 characters on.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bot.logs import redact
from handlers.contract import visible

Block = dict[str, Any]

BLOCKS = 50
BLOCK_CHARACTERS = 12_000
TEXT = 2_900
SQUEEZED = 2_500
CUT = "Some of this did not fit into Slack's limits. `tkgbot plan` in a terminal shows everything."


@dataclass(frozen=True)
class Message:
    """What is sent. `text` is for notifications and screen readers, and repeats the first line."""

    text: str
    blocks: list[Block]


def escape(value: str) -> str:
    """For mrkdwn: the three characters that make markup (docs.slack.dev/messaging/formatting-message-text)."""
    return clean(value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def clean(value: str) -> str:
    """Without characters that hide or turn text around, and without secrets: logs and errors of other systems are
    shown, and nobody knows what is in them."""
    return redact(visible(value))


def clip(value: str, limit: int) -> str:
    """At most `limit` characters, and a mark where something was left out."""
    return value if len(value) <= limit else value[: limit - 1] + "…"


def date(at: float) -> str:
    """A time that Slack shows to each reader in their own time zone."""
    stamp = datetime.datetime.fromtimestamp(at, datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"<!date^{int(at)}^{{date_short_pretty}} {{time}}|{stamp}>"


def duration(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min 5 s`."""
    if seconds < 10:
        return f"{max(seconds, 0):.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def fit(message: Message) -> Message:
    """The last word on limits: squeezes what is large, then drops blocks from the middle until the message fits, and
    says so."""
    blocks = message.blocks
    if len(blocks) <= BLOCKS and _size(blocks) <= BLOCK_CHARACTERS:
        return Message(clip(message.text, TEXT), blocks)
    blocks = [_squeezed(block) for block in blocks]
    mark: Block = {"type": "context", "elements": [{"type": "plain_text", "text": CUT}]}
    first, last = blocks[:2], blocks[-2:] if len(blocks) > 3 else blocks[2:]
    middle = blocks[2 : len(blocks) - len(last)]
    while middle and (len(middle) + 5 > BLOCKS or _size([*first, *middle, mark, *last]) > BLOCK_CHARACTERS):
        middle.pop()
    return Message(clip(message.text, TEXT), [*first, *middle, mark, *last])


def _squeezed(block: Block) -> Block:
    """A rich text of at most SQUEEZED characters, whole lines first; other blocks are small already."""
    if block["type"] != "rich_text" or _size([block]) <= SQUEEZED:
        return block
    lines: list[str] = []
    for element in block["elements"]:
        items = element["elements"] if element["type"] == "rich_text_list" else [element]
        lines += [clip("".join(_said(part) for part in item["elements"]), 300) for item in items]
    text = clip("\n".join(lines), SQUEEZED - 300)
    while _size([{"text": text}]) > SQUEEZED:  # characters that JSON writes longer
        text = clip(text, len(text) * 3 // 4)
    squeezed: Block = {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": [plain_text(text)]}]}
    if "block_id" in block:
        squeezed["block_id"] = block["block_id"]
    return squeezed


def _said(part: Block) -> str:
    return str(part.get("text") or part.get("user_id") or part.get("usergroup_id") or "")


def _size(blocks: Sequence[Block]) -> int:
    return len(json.dumps(blocks, ensure_ascii=False))


def plain_text(value: str) -> Block:
    """A rich text element that shows `value` verbatim; Slack refuses an empty one."""
    return {"type": "text", "text": clean(value) or " "}
