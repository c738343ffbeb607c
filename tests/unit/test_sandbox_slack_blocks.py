"""Every Block Kit limit at its edge: the largest that Slack takes, and one more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sandbox.slack.blocks import MAX_BLOCKS_CHARS, check_blocks, check_view, too_long

Block = dict[str, Any]
Make = Callable[[int], list[Any]]


def plain(size: int) -> Block:
    return {"type": "plain_text", "text": "x" * size}


def mrkdwn(size: int) -> Block:
    return {"type": "mrkdwn", "text": "x" * size}


def button(**more: Any) -> Block:
    return {"type": "button", "text": plain(2), "action_id": "a", **more}


def option(index: int = 0, **more: Any) -> Block:
    return {"text": plain(3), "value": str(index), **more}


def actions(*elements: Block) -> list[Block]:
    return [{"type": "actions", "elements": list(elements)}]


def select(**more: Any) -> list[Block]:
    return actions({"type": "static_select", "action_id": "a", "options": [option()], **more})


def confirm(**more: Any) -> list[Block]:
    return actions(button(confirm={"title": plain(1), "text": plain(1), "confirm": plain(1), "deny": plain(1), **more}))


def rich(*elements: Block) -> list[Block]:
    return [{"type": "rich_text", "elements": list(elements)}]


def section(**more: Any) -> list[Block]:
    return [{"type": "section", **more}]


def table(rows: int, columns: int, size: int = 1) -> list[Block]:
    cell = {"type": "raw_text", "text": "x" * size}
    return [{"type": "table", "rows": [[cell] * columns for _ in range(rows)]}]


def box(**more: Any) -> list[Block]:
    return [{"type": "input", "label": plain(1), "element": {"type": "plain_text_input", "action_id": "a"}, **more}]


def typed(**more: Any) -> list[Block]:
    return box(element={"type": "plain_text_input", "action_id": "a", **more})


def task(index: int) -> Block:
    return {"type": "task_card", "task_id": str(index), "title": "t", "status": "pending"}


def options(count: int) -> list[Block]:
    return [option(n) for n in range(count)]


def styled(style: str) -> Block:
    return {"type": "rich_text_section", "elements": [{"type": "text", "text": "x", "style": {style: True}}]}


AT_MOST: dict[str, tuple[int, Make]] = {
    "blocks of a message": (50, lambda n: [{"type": "divider"}] * n),
    "block_id": (255, lambda n: [{"type": "divider", "block_id": "x" * n}]),
    "header": (150, lambda n: [{"type": "header", "text": plain(n)}]),
    "section text": (3000, lambda n: section(text=mrkdwn(n))),
    "section field": (2000, lambda n: section(fields=[mrkdwn(n)])),
    "section fields": (10, lambda n: section(fields=[plain(1)] * n)),
    "context elements": (10, lambda n: [{"type": "context", "elements": [mrkdwn(1)] * n}]),
    "actions elements": (25, lambda n: actions(*(button(action_id=str(i)) for i in range(n)))),
    "button text": (75, lambda n: actions(button(text=plain(n)))),
    "button value": (2000, lambda n: actions(button(value="x" * n))),
    "button url": (3000, lambda n: actions(button(url="x" * n))),
    "button label": (75, lambda n: actions(button(accessibility_label="x" * n))),
    "action_id": (255, lambda n: actions(button(action_id="x" * n))),
    "confirm title": (100, lambda n: confirm(title=plain(n))),
    "confirm text": (300, lambda n: confirm(text=mrkdwn(n))),
    "confirm button": (30, lambda n: confirm(confirm=plain(n))),
    "deny button": (30, lambda n: confirm(deny=plain(n))),
    "select options": (100, lambda n: select(options=options(n))),
    "select placeholder": (150, lambda n: select(placeholder=plain(n))),
    "option text": (75, lambda n: select(options=[option(text=plain(n))])),
    "option value": (150, lambda n: select(options=[option(value="x" * n)])),
    "option description": (75, lambda n: select(options=[option(description=plain(n))])),
    "option groups": (
        100,
        lambda n: select(options=None, option_groups=[{"label": plain(1), "options": options(1)}] * n),
    ),
    "overflow": (5, lambda n: actions({"type": "overflow", "action_id": "a", "options": options(n)})),
    "checkboxes": (10, lambda n: actions({"type": "checkboxes", "action_id": "a", "options": options(n)})),
    "input label": (2000, lambda n: box(label=plain(n))),
    "input hint": (2000, lambda n: box(hint=plain(n))),
    "input max_length": (3000, lambda n: typed(max_length=n)),
    "image alt text": (2000, lambda n: [{"type": "image", "image_url": "https://x", "alt_text": "x" * n}]),
    "table rows": (100, lambda n: table(n, 1)),
    "table columns": (20, lambda n: table(1, n)),
    "table characters": (10_000, lambda n: table(1, 1, n)),
    "tables": (1, lambda n: table(1, 1) * n),
    "markdown": (12_000, lambda n: [{"type": "markdown", "text": "x" * n}]),
    "list indent": (
        8,
        lambda n: rich({"type": "rich_text_list", "style": "bullet", "indent": n, "elements": [styled("bold")]}),
    ),
    "plan tasks": (50, lambda n: [{"type": "plan", "title": "p", "tasks": [task(i) for i in range(n)]}]),
    "container title": (
        150,
        lambda n: [{"type": "container", "title": plain(n), "child_blocks": [{"type": "divider"}]}],
    ),
    "container children": (
        10,
        lambda n: [{"type": "container", "title": plain(1), "child_blocks": [{"type": "divider"}] * n}],
    ),
    "card body": (200, lambda n: [{"type": "card", "body": plain(n)}]),
}


@pytest.mark.parametrize("name", AT_MOST)
def test_the_limit_itself_passes_and_one_more_does_not(name: str) -> None:
    high, make = AT_MOST[name]
    assert check_blocks(make(high)) == []
    assert check_blocks(make(high + 1)) != []


REFUSED: dict[str, list[Any]] = {
    "unknown block": [{"type": "headline", "text": plain(1)}],
    "unknown property": [{"type": "divider", "colour": "red"}],
    "not an object": ["text"],
    "mrkdwn header": [{"type": "header", "text": mrkdwn(1)}],
    "empty text": section(text=mrkdwn(0)),
    "empty section": section(),
    "empty actions": actions(),
    "bad style": actions(button(style="warning")),
    "twice the action_id": actions(button(), button()),
    "twice the block_id": [{"type": "divider", "block_id": "x"}] * 2,
    "one overflow option": actions({"type": "overflow", "action_id": "a", "options": options(1)}),
    "options and groups": select(option_groups=[{"label": plain(1), "options": options(1)}]),
    "no options": select(options=None),
    "empty cell": table(1, 1, 0),
    "bad text style": rich(styled("big")),
    "alert in a message": [{"type": "alert", "text": plain(1)}],
    "collapsed for ever": [
        {"type": "container", "title": plain(1), "child_blocks": [{"type": "divider"}], "default_collapsed": True}
    ],
    "emoji in mrkdwn": section(text={**mrkdwn(1), "emoji": True}),
    "number as text": section(text={"type": "mrkdwn", "text": 5}),
    "button in context": [{"type": "context", "elements": [button()]}],
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_slack_refuses_is_refused(name: str) -> None:
    assert check_blocks(REFUSED[name]) != []


def test_the_error_says_which_block_and_which_limit() -> None:
    faults = check_blocks([{"type": "divider"}, {"type": "header", "text": plain(151)}])
    assert faults == ["must be less than 151 characters [json-pointer:/blocks/1/text/text]"]


def test_all_blocks_together() -> None:
    frame = len('[{"type":"markdown","text":""}]')
    assert not too_long([{"type": "markdown", "text": "x" * (MAX_BLOCKS_CHARS - frame)}])
    assert too_long([{"type": "markdown", "text": "x" * (MAX_BLOCKS_CHARS - frame + 1)}])


def view(**more: Any) -> Block:
    return {"type": "modal", "title": plain(24), "submit": plain(24), "blocks": box(), **more}


@pytest.mark.parametrize(
    "more",
    [
        {"title": plain(25)},
        {"submit": plain(25)},
        {"submit": None},
        {"private_metadata": "x" * 3001},
        {"callback_id": "x" * 256},
        {"blocks": [{"type": "divider"}] * 101},
        {"blocks": [{"type": "plan", "title": "p"}]},
        {"type": "dialog"},
    ],
)
def test_modals_have_limits_too(more: Block) -> None:
    assert check_view(view()) == []
    assert check_view(view(**more)) != []
