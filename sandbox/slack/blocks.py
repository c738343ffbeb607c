"""The Block Kit validator; the limits themselves are one table, limits.txt.

Slack documents most limits ("Block Kit reference", page per block and element); the total of about
13,200 characters per message is undocumented (slackapi/bolt-js issue 2509). What the table does not
know is refused, as the real API does: a typo in a block should fail here and not in production.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

MAX_MESSAGE_BLOCKS, MAX_VIEW_BLOCKS = 50, 100
MAX_BLOCKS_CHARS, MAX_MARKDOWN_CHARS, MAX_TABLE_CHARS = 13_200, 12_000, 10_000
MESSAGE_ONLY = {"plan", "task_card", "container", "carousel", "table", "markdown", "context_actions"}
MODAL_ONLY = {"alert"}
UNTYPED = {"confirm", "option", "option_group", "column", "text_style"}
Json = dict[str, Any]


@dataclass(frozen=True)
class Rule:
    """One property: what it must look like. `low` and `high` count characters or items."""

    kind: str
    low: int = 1
    high: int = 0
    of: tuple[str, ...] = ()
    item: Rule | None = None
    required: bool = False


@dataclass
class Shape:
    """The properties of one kind of thing, and the `any` or `one` of them that must be there."""

    rules: dict[str, Rule]
    choice: str = ""
    among: tuple[str, ...] = ()


@cache
def table() -> dict[str, str]:
    text = files("sandbox.slack").joinpath("limits.txt").read_text("utf-8")
    lines = (line.partition(": ") for line in text.splitlines() if line and line[0] != "#")
    return {name: line for name, _, line in lines}


@cache
def types(words: str) -> tuple[str, ...]:
    """A list of types with its sets spelled out."""
    return tuple(n for word in words.split() for n in (types(table()[word]) if word[0] == "$" else (word,)))


def _rule(words: list[str], required: bool = False) -> Rule:
    kind, rest = words[0], words[1:]
    low, high = 1, 0
    if rest and rest[0][0].isdigit():
        first, _, last = rest.pop(0).rpartition("-")
        low, high = int(first or 1), int(last)
    if kind in ("list", "many"):
        item = _rule(rest if kind == "list" else ["one", *rest])
        return Rule("list", low, high, item=item, required=required)
    texts = {"plain": ("plain_text",), "text": ("plain_text", "mrkdwn")}
    of = texts.get(kind) or types(" ".join(rest))
    return Rule("text" if kind in texts else kind, low, high, of, required=required)


@cache
def shape(name: str) -> Shape:
    found = Shape({})
    for part in table()[name].split("; "):
        word, *words = part.split()
        if word[0] == "+":
            base = shape(word[1:])
            found = Shape({**found.rules, **base.rules}, base.choice, base.among)
        elif word[0] == "?":
            found.choice, found.among = word[1:], tuple(words)
        else:
            found.rules[word.rstrip("!")] = _rule(words, word[-1] == "!")
    return found


def _sized(rule: Rule, size: int, unit: str, path: str) -> Iterator[str]:
    if not rule.low <= size <= rule.high:
        limit = f"less than {rule.high + 1}" if size > rule.high else f"more than {rule.low - 1}"
        yield f"must be {limit} {unit} [json-pointer:{path}]"


def _object(rule: Rule, value: Any, path: str) -> Iterator[str]:
    kind = rule.of[0] if rule.of[0] in UNTYPED else value.get("type") if isinstance(value, dict) else None
    if not isinstance(value, dict) or kind not in rule.of:
        yield f"must be of type {' or '.join(rule.of[:4])}, not {kind} [json-pointer:{path}]"
        return
    # "image" is both a block and an element; the element has no title, so the path decides.
    outside = path.split("/")[-2] in ("blocks", "child_blocks")
    name = f"block:{kind}" if kind != "image" or outside else "image_element"
    wanted = shape(name if name in table() else str(kind))
    if rule.kind == "text":
        wanted = Shape({**wanted.rules, "text": Rule("str", rule.low, rule.high, required=True)})
    yield from _properties(wanted, value, path)
    if kind == "table" and len(characters(value)) > MAX_TABLE_CHARS:
        yield f"must have less than {MAX_TABLE_CHARS + 1} characters over all cells [json-pointer:{path}]"
    if kind == "container" and value.get("default_collapsed") and not value.get("is_collapsible"):
        yield f"`default_collapsed` needs `is_collapsible` [json-pointer:{path}]"


def _properties(wanted: Shape, value: Json, path: str) -> Iterator[str]:
    for name, rule in wanted.rules.items():
        if value.get(name) is not None:
            yield from _check(rule, value[name], f"{path}/{name}")
        elif rule.required:
            yield f"missing required field: {name} [json-pointer:{path}]"
    for name in sorted(value.keys() - wanted.rules.keys() - {"type"}):
        yield f"invalid additional property: {name} [json-pointer:{path}]"
    there = sum(bool(value.get(name)) for name in wanted.among)
    if wanted.among and (not there or (wanted.choice == "one" and there > 1)):
        yield f"must define {wanted.choice} of {', '.join(wanted.among)} [json-pointer:{path}]"


def _list(rule: Rule, value: Any, path: str) -> Iterator[str]:
    if not isinstance(value, list):
        yield f"must be an array [json-pointer:{path}]"
        return
    yield from _sized(rule, len(value), "items", path)
    nullable = rule.item is not None and rule.item.of == ("column",)
    for index, entry in enumerate(value):
        if entry is not None or not nullable:
            yield from _check(rule.item or Rule("any"), entry, f"{path}/{index}")


def _simple(rule: Rule, value: Any, path: str) -> Iterator[str]:
    """Strings, enumerations, booleans and numbers."""
    kinds: dict[str, tuple[type, ...]] = {"str": (str,), "enum": (str,), "bool": (bool,), "int": (int,)}
    if rule.kind != "any" and type(value) not in kinds.get(rule.kind, (int, float)):
        yield f"must be of kind {rule.kind} [json-pointer:{path}]"
    elif rule.kind == "enum" and value not in rule.of:
        yield f"must be one of {', '.join(rule.of)} [json-pointer:{path}]"
    elif rule.kind in ("str", "int"):
        size, unit = (len(value), "characters") if rule.kind == "str" else (value, "as a number")
        yield from _sized(rule, size, unit, path)


def _check(rule: Rule, value: Any, path: str) -> Iterator[str]:
    yield from {"text": _object, "one": _object, "list": _list}.get(rule.kind, _simple)(rule, value, path)


def characters(node: Any) -> str:
    """All text under a node, in reading order and without separators."""
    if isinstance(node, dict):
        own = {k: v for k, v in node.items() if k in ("text", "title") and isinstance(v, str)}
        return "".join(own.get(k) or characters(v) for k, v in node.items())
    return "".join(map(characters, node)) if isinstance(node, list) else ""


def elements_of(block: Json) -> list[Json]:
    """The interactive elements of a block, those of nested blocks included."""
    inside = [block.get("accessory"), block.get("element")]
    for name in ("elements", "actions", "child_blocks"):
        inside += block[name] if isinstance(block.get(name), list) else []
    found = [entry for entry in inside if isinstance(entry, dict)]
    nested = (child for child in found if f"block:{child.get('type')}" in table())
    deep = [entry for child in nested for entry in elements_of(child)]
    return [entry for entry in found if entry.get("type") in types("$interactive $input icon_button")] + deep


def _at_odds(element: Json) -> Iterator[str]:
    """What contradicts itself in an element: choices that are no option, text that its own limits forbid."""
    groups = [element, *(g for g in _dicts(element.get("option_groups")))]
    options = [option for group in groups for option in _dicts(group.get("options"))]
    for chosen in [element.get("initial_option"), *_dicts(element.get("initial_options"))]:
        if chosen is not None and chosen not in options:
            yield f"initial option must be exactly one of the options: {element.get('action_id')}"
    low, high, text = element.get("min_length"), element.get("max_length"), element.get("initial_value")
    if isinstance(low, int) and isinstance(high, int) and low > high:
        yield f"min_length must be at most max_length: {element.get('action_id')}"
    if isinstance(text, str) and isinstance(high, int) and len(text) > high:
        yield f"initial_value must be at most max_length: {element.get('action_id')}"


def _dicts(things: Any) -> list[Json]:
    return [thing for thing in things if isinstance(thing, dict)] if isinstance(things, list) else []


def check_blocks(blocks: list[Any], surface: str = "message") -> list[str]:
    """Every breach of a limit, worded as Slack does and with a JSON pointer; empty when all is well."""
    high = MAX_MESSAGE_BLOCKS if surface == "message" else MAX_VIEW_BLOCKS
    every = Rule("one", of=tuple(name[6:] for name in table() if name.startswith("block:")))
    faults = list(_list(Rule("list", 0, high, item=every), blocks, "/blocks"))
    real = _dicts(blocks)
    faults += [fault for block in real for element in elements_of(block) for fault in _at_odds(element)]
    kinds = [str(block.get("type")) for block in real]
    banned = MODAL_ONLY if surface == "message" else MESSAGE_ONLY
    faults += [f"block type not allowed in a {surface}: {kind}" for kind in kinds if kind in banned]
    for name, ids in [("block_id", real), *(("action_id", elements_of(block)) for block in real)]:
        given = [entry[name] for entry in ids if entry.get(name)]
        faults += [f"{name} must be unique" for _ in range(len(given) > len(set(map(str, given))))]
    if kinds.count("table") > 1:
        faults.append("only_one_table_allowed")
    if sum(len(characters(block)) for block in real if block.get("type") == "markdown") > MAX_MARKDOWN_CHARS:
        faults.append(f"markdown blocks must have less than {MAX_MARKDOWN_CHARS + 1} characters together")
    return faults


def check_view(view: Any) -> list[str]:
    """As check_blocks, for a modal ("Views reference")."""
    if not isinstance(view, dict):
        return ["must be an object [json-pointer:/view]"]
    blocks = view["blocks"] if isinstance(view.get("blocks"), list) else []
    faults = [*_properties(shape("view"), view, "/view"), *check_blocks(blocks, "modal")]
    if any(block.get("type") == "input" for block in _dicts(blocks)) and not view.get("submit"):
        faults.append("a modal with input blocks needs `submit` [json-pointer:/view]")
    focused = [element for block in _dicts(blocks) for element in elements_of(block) if element.get("focus_on_load")]
    if len(focused) > 1:
        faults.append("only one element can have `focus_on_load` [json-pointer:/view]")
    return faults


def too_long(blocks: list[Any]) -> bool:
    """Whether all blocks together exceed what Slack takes, measured as compact JSON."""
    return len(json.dumps(blocks, ensure_ascii=False, separators=(",", ":"))) > MAX_BLOCKS_CHARS
