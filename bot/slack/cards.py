"""Meaning to Block Kit. Pure; the only place that knows blocks.

Values never become markup: notes are rich text, which Slack shows verbatim, and the few mrkdwn fields hold only ids,
numbers and escaped text. Nothing here can exceed Slack's limits (docs.slack.dev/reference/block-kit/blocks; a message's
blocks are refused from about 13,200 characters on): every text is clipped with a mark, every list ends with a count,
and `fit` is the last word.
"""

from __future__ import annotations

import datetime
import re
from collections import Counter
from collections.abc import Sequence

from bot import messages
from bot.headline import first_line, readable_plan
from bot.lifecycle import UNDOABLE, State
from bot.messages import ROWS_ON_CARD, Button, Note, Section
from bot.records import Request, Snapshot
from bot.slack.text import TEXT, Block, Message, clean, clip, date, duration, escape, fit, plain_text
from handlers.contract import Check, Plan, Table

CELL = 120
SHOWN = 12
SECTIONS = 8
BUTTONS = 5
"""What a phone shows without a second row of scrolling; Slack takes 25."""
PASSED_LENGTH = 240
"""Characters of the titles of checks that passed: whoever approves has ten seconds."""
ITEM = 1_000
"""Characters of one point of a note: a policy statement that is missing has to be there whole."""
TOKEN = re.compile(r"<@(U[A-Z0-9]+|W[A-Z0-9]+)>|<!subteam\^(S[A-Z0-9]+)>|`([^`\n]+)`|<at (\d{1,11})>")

TONES = {"good": "✅ ", "bad": "❌ ", "warn": "⚠️ ", "info": ""}
RESULTS = {"pass": "✅", "warn": "⚠️", "block": "❌", "unknown": "❓"}
SHOWS_PLAN = frozenset({State.BLOCKED, State.AWAITING, State.APPROVED, State.NOTHING_TO_DO})
SHOWS_STEPS = frozenset(
    {State.RUNNING, State.PARKED, State.CANCELLING, State.SUCCEEDED, State.FAILED, State.CANCELLED, State.ABANDONED}
)


# -- notes -------------------------------------------------------------------------------------------------------


def note(meaning: Note, *, repeat: bool = False, late: bool = False) -> Message:
    """A thread line, a whisper or a direct message. `repeat` marks what may have been posted before, `late` what Slack
    did not take when it was written."""
    marks = f"{'(repeated) ' if repeat else ''}{'(late) ' if late else ''}"
    text = f"{TONES[meaning.tone]}{marks}{meaning.text}"
    elements: list[Block] = [_line(text, meaning)]
    nobody = Note(text="")
    items = [(bullet, meaning) for bullet in meaning.bullets] + [(fact, nobody) for fact in meaning.facts]
    if items:
        shown = [_parts(clip(item, ITEM), allowed) for item, allowed in items[:30]]
        if len(items) > 30:
            shown.append([plain_text(f"and {len(items) - 30} more")])
        elements.append(_list(shown))
    if meaning.code:
        elements.append({"type": "rich_text_preformatted", "elements": [plain_text(clip(meaning.code, TEXT))]})
    plain = _plain(text, meaning).strip() or "A message of tkgbot"
    blocks: list[Block] = [{"type": "rich_text", "elements": elements}]
    if meaning.table is not None:
        blocks.append(_table(meaning.table, len(meaning.table.rows)))
    blocks += [_section(part, meaning) for part in meaning.sections[:SECTIONS]]
    if meaning.buttons:
        blocks.append({"type": "actions", "elements": _buttons_of(meaning.buttons[:BUTTONS])})
    return fit(Message(plain, blocks))


def _section(part: Section, meaning: Note) -> Block:
    """Its title in bold, and its points."""
    bold = {"type": "text", "text": clip(clean(part.title), 150) or " ", "style": {"bold": True}}
    nobody = Note(text="")
    items = [(bullet, meaning) for bullet in part.bullets] + [(fact, nobody) for fact in part.facts]
    shown = [_parts(clip(item, ITEM), allowed) for item, allowed in items[:SHOWN]]
    if len(items) > SHOWN:
        shown.append([plain_text(f"and {len(items) - SHOWN} more")])
    elements: list[Block] = [{"type": "rich_text_section", "elements": [bold]}]
    return {"type": "rich_text", "elements": [*elements, _list(shown)] if shown else elements}


def _buttons_of(buttons: Sequence[Button]) -> list[Block]:
    """Slack wants each action_id once in a block, so a second button that does the same gets a number."""
    seen: Counter[str] = Counter()
    made: list[Block] = []
    for button in buttons:
        seen[button.action] += 1
        more = f":{seen[button.action]}" if seen[button.action] > 1 else ""
        made.append(_button(button, f"tkg:{button.action}{more}"))
    return made


def _button(button: Button, action_id: str) -> Block:
    made: Block = {
        "type": "button",
        "action_id": action_id,
        "value": button.value,
        "text": {"type": "plain_text", "text": clip(clean(button.label), 75)},
    }
    return {**made, "confirm": _confirm(button.label, button.confirm)} if button.confirm else made


def _confirm(label: str, text: str) -> Block:
    """Asked back before a click counts
    (docs.slack.dev/reference/block-kit/composition-objects/confirmation-dialog-object)."""
    return {
        "title": {"type": "plain_text", "text": clip(f"{label}?", 100)},
        "text": {"type": "plain_text", "text": clip(clean(text), 300)},
        "confirm": {"type": "plain_text", "text": clip(label, 30)},
        "deny": {"type": "plain_text", "text": "Back"},
    }


def _line(text: str, meaning: Note) -> Block:
    return {"type": "rich_text_section", "elements": _parts(clip(text, TEXT), meaning)}


def _list(items: Sequence[list[Block]]) -> Block:
    sections = [{"type": "rich_text_section", "elements": item} for item in items]
    return {"type": "rich_text_list", "style": "bullet", "elements": sections}


def _parts(text: str, meaning: Note) -> list[Block]:
    """A note's text as rich text: mentions of the people and groups it names, code, and everything else verbatim."""
    parts: list[Block] = []
    rest = 0
    for match in TOKEN.finditer(text):
        person, group, code, at = match.groups()
        element: Block | None = None
        if person in meaning.people:
            element = {"type": "user", "user_id": person}
        elif group in meaning.groups:
            element = {"type": "usergroup", "usergroup_id": group}
        elif at and meaning.dates:
            element = _date(int(at))
        elif code in meaning.links:
            element = {"type": "link", "url": meaning.links[code], "text": code}
        elif code:
            element = {"type": "text", "text": clean(code) or " ", "style": {"code": True}}
        if element is not None:
            parts += [plain_text(text[rest : match.start()])] if match.start() > rest else []
            parts.append(element)
            rest = match.end()
    if rest < len(text):
        parts.append(plain_text(text[rest:]))
    return parts or [plain_text(" ")]


def _date(at: int) -> Block:
    """A time in each reader's own time zone (docs.slack.dev/reference/block-kit/blocks/rich-text-block)."""
    fallback = datetime.datetime.fromtimestamp(at, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return {"type": "date", "timestamp": at, "format": "{date_short_pretty} {time_secs}", "fallback": fallback}


def _plain(text: str, meaning: Note) -> str:
    """The fallback text: mrkdwn, so everything that is not one of our own mentions is escaped."""
    kept = {f"<@{person}>" for person in meaning.people} | {f"<!subteam^{group}>" for group in meaning.groups}
    pieces = re.split(r"(<@[UW][A-Z0-9]+>|<!subteam\^S[A-Z0-9]+>)", text)
    return clip("".join(piece if piece in kept else escape(piece) for piece in pieces), TEXT)


# -- the card ----------------------------------------------------------------------------------------------------


def card(shot: Snapshot, revision: int, *, repeat: bool = False) -> Message:
    """The one message that shows a request's state. `repeat` marks one that may have been posted before."""
    request = shot.request
    plan = readable_plan(request)
    headline = first_line(request, plan)
    blocks: list[Block] = [{"type": "header", "text": {"type": "plain_text", "text": clip(headline, 150)}}]
    blocks.append(_fields(shot, plan))
    if request.why is not None:
        blocks += note(request.why).blocks
    if plan is not None and request.state in SHOWS_PLAN:
        blocks += _checks(plan) + _details(plan)
    if plan is not None and plan.steps and request.state in SHOWS_STEPS:
        blocks.append(_steps(shot, plan))
    blocks.append(_context(request, repeat))
    blocks += _buttons(shot, plan)
    for number, block in enumerate(blocks):
        block["block_id"] = f"{request.id}:{revision}:{number}"
    return fit(Message(escape(headline), blocks))


def _fields(shot: Snapshot, plan: Plan | None) -> Block:
    request = shot.request
    fields = [("Asked by", f"<@{request.requester}>"), ("Where", escape(_where(request)) or "–")]
    if plan is not None and request.state in (State.AWAITING, State.APPROVED, *SHOWS_STEPS):
        fields.append(("Impact", _impact(plan)))
        fields.append(("Can be undone", UNDONE[plan.impact.reversible]))
    approvals = _some([f"<@{vote.person}>" for vote in shot.votes if vote.approve])
    if request.state == State.AWAITING:
        names, _people, _groups = messages.approvers(request.quorum)
        have = f"{sum(vote.approve for vote in shot.votes)} of {request.quorum.approvals}"
        so_far = f"; so far {approvals}" if approvals else ""
        fields.append(("Approvals", f"{have}, from {_some(names.split(' or '), ' or ')}{so_far}"))
    elif approvals:
        fields.append(("Approved by", approvals))
    if request.deadline is not None:
        word = "Starts before" if request.state == State.APPROVED else "Expires"
        fields.append((word, date(request.deadline)))
    return {
        "type": "section",
        "fields": [{"type": "mrkdwn", "text": clip(f"*{name}*\n{value}", 1_900)} for name, value in fields[:10]],
    }


def _some(items: Sequence[str], between: str = ", ") -> str:
    """Whole items only: a mention that is cut in two is none."""
    shown = between.join(items[:SHOWN])
    return shown if len(items) <= SHOWN else f"{shown} and {len(items) - SHOWN} more"


UNDONE = {True: "yes", False: "*no*", None: "there is nothing to undo"}
PLACES = ("account", "account_id", "region")
"""The arguments that say where something is done."""


def _where(request: Request) -> str:
    return " · ".join(str(request.arguments[key]) for key in PLACES if request.arguments.get(key))


def _impact(plan: Plan) -> str:
    impact = plan.impact
    counts = [(len(impact.creates), "created"), (len(impact.changes), "changed"), (len(impact.deletes), "*deleted*")]
    said = ", ".join(f"{count} {word}" for count, word in counts if count) or "nothing"
    if impact.cost_per_hour_usd is None:
        return said
    if impact.cost_per_hour_usd == 0:
        return f"{said}, no cost"
    less = " less" if impact.cost_per_hour_usd < 0 else ""
    return f"{said}, about ${abs(impact.cost_per_hour_usd):.2f} an hour{less}"


def _checks(plan: Plan) -> list[Block]:
    passed = [check for check in plan.checks if check.result == "pass"]
    others = sorted(
        (check for check in plan.checks if check.result != "pass"),
        key=lambda check: ["block", "unknown", "warn"].index(check.result),
    )
    elements: list[Block] = []
    if others:
        items = [_check(check) for check in others[:10]]
        if len(others) > 10:
            items.append([plain_text(f"and {len(others) - 10} more")])
        elements.append(_list(items))
    if passed:
        text = f"✅ {len(passed)} check{'s' * (len(passed) != 1)} passed: {_first([c.title for c in passed])}"
        elements.append({"type": "rich_text_section", "elements": [plain_text(text)]})
    return [{"type": "rich_text", "elements": elements}] if elements else []


def _first(titles: Sequence[str]) -> str:
    """As many whole titles as two lines of a card hold, and how many more there are."""
    shown: list[str] = []
    for title in titles:
        if shown and sum(map(len, shown)) + len(title) > PASSED_LENGTH:
            return f"{' · '.join(shown)} and {len(titles) - len(shown)} more"
        shown.append(clip(title, PASSED_LENGTH))
    return " · ".join(shown)


def _check(check: Check) -> list[Block]:
    parts = [
        plain_text(f"{RESULTS[check.result]} "),
        {"type": "text", "text": clip(clean(check.title), 150) or " ", "style": {"bold": True}},
        plain_text(f": {clip(check.evidence, 500)}"),
    ]
    return [*parts, plain_text(f" → {clip(check.fix, 300)}")] if check.fix else parts


def _details(plan: Plan) -> list[Block]:
    if plan.details is None or not plan.details.rows:
        return []
    table = plan.details
    blocks = [_table(table, ROWS_ON_CARD)]
    if len(table.rows) > ROWS_ON_CARD:
        text = f"… and {len(table.rows) - ROWS_ON_CARD} more rows: all of them are in the thread."
        blocks.append({"type": "context", "elements": [{"type": "plain_text", "text": text}]})
    return blocks


def _table(table: Table, most: int) -> Block:
    rows = [table.header, *table.rows[:most]]
    cells = [[{"type": "raw_text", "text": clip(clean(cell), CELL) or " "} for cell in row[:20]] for row in rows]
    return {"type": "table", "rows": cells}


def _steps(shot: Snapshot, plan: Plan) -> Block:
    records = {record.position: record for record in shot.steps}
    items: list[list[Block]] = []
    for position, step in enumerate(plan.steps[:20]):
        record = records.get(position)
        if record is None:
            sign, after = "⬜", ""
        elif record.ended_at is None:
            sign, after = ("▶️", "") if shot.request.state == State.RUNNING else ("❔", " (begun, not seen to be done)")
        else:
            sign = "✅"
            after = f" ({duration(record.ended_at - record.begun_at)})" if record.changed else " (already so)"
        items.append([plain_text(f"{sign} "), *_parts(clip(step.title, 300), Note(text="")), plain_text(after or " ")])
    if len(plan.steps) > 20:
        items.append([plain_text(f"and {len(plan.steps) - 20} more steps")])
    return {"type": "rich_text", "elements": [_list(items)]}


def _context(request: Request, repeat: bool) -> Block:
    seal = f" · plan {request.fingerprint[:8]}" if request.fingerprint else ""
    undoes = f" · undoes {request.undoes}" if request.undoes else ""
    text = f"{'(repeated) ' if repeat else ''}{request.id}{seal}{undoes} · {request.command}"
    return {"type": "context", "elements": [{"type": "plain_text", "text": clip(clean(text), 1_900)}]}


def _buttons(shot: Snapshot, plan: Plan | None) -> list[Block]:
    request = shot.request
    value = f"{request.id}:{(request.fingerprint or '')[:16]}"
    where = _where(request)
    what = clip(clean(f"{plan.headline if plan else request.operation}{f', in {where}' if where else ''}."), 300)

    def button(action: str, label: str, style: str | None = None, confirm: str = "") -> Block:
        made: Block = {
            "type": "button",
            "action_id": f"tkg:{action}",
            "value": value,
            "text": {"type": "plain_text", "text": label},
        }
        if style is not None:
            made["style"] = style
        if confirm:
            made["confirm"] = _confirm(label, confirm)
        return made

    rows: dict[State, list[Block]] = {
        State.AWAITING: [
            button("approve", "Approve", "primary", what),
            button("deny", "Deny"),
            button("again", "Look again"),
            button("withdraw", "Withdraw"),
        ],
        State.BLOCKED: [button("again", "Look again"), button("withdraw", "Withdraw")],
        State.APPROVED: [button("withdraw", "Withdraw")],
        State.RUNNING: [button("cancel", "Cancel", "danger", "The step in flight ends first; what it changed stays.")],
        State.PARKED: [
            button("resume", "Resume", "primary"),
            button("abandon", "Abandon", "danger", "What was changed stays as it is."),
        ],
    }
    if request.state in (*UNDOABLE, State.PARKED) and plan is not None and plan.impact.reversible and shot.touched():
        undo = "Asks for what takes back what this run changed. It needs its own approval."
        gives_up = "Gives this run up, and asks" + undo.removeprefix("Asks") if request.state == State.PARKED else undo
        rows[request.state] = [*rows.get(request.state, []), button("undo", "Undo", None, gives_up)]
    elements = rows.get(request.state, [])
    if request.state == State.AWAITING and plan is None:
        elements = rows[State.BLOCKED]
    return [{"type": "actions", "elements": elements}] if elements else []
