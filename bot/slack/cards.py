"""Meaning to Block Kit. Pure; the only place that knows blocks.

Values never become markup: notes are rich text, which Slack shows verbatim, and the few mrkdwn fields hold only ids,
numbers and escaped text. Nothing here can exceed Slack's limits (docs.slack.dev/reference/block-kit/blocks; a message's
blocks are refused from about 13,200 characters on): every text is clipped with a mark, every list ends with a count,
and `fit` is the last word.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pydantic import ValidationError

from bot import messages
from bot.lifecycle import State
from bot.messages import ROWS_ON_CARD, Note
from bot.records import Request, Snapshot
from bot.slack.text import TEXT, Block, Message, clean, clip, date, duration, escape, fit, plain_text
from handlers.contract import Check, Plan, Table

CELL = 120
SHOWN = 12
TOKEN = re.compile(r"<@(U[A-Z0-9]+|W[A-Z0-9]+)>|<!subteam\^(S[A-Z0-9]+)>|`([^`\n]+)`")

STATE_WORDS: dict[State, tuple[str, str]] = {
    State.RECEIVED: ("📝", "Planning"),
    State.PLANNING: ("📝", "Planning"),
    State.BLOCKED: ("🔴", "Blocked"),
    State.NOTHING_TO_DO: ("🟢", "Already so"),
    State.AWAITING: ("🟡", "Approval needed"),
    State.APPROVED: ("🔵", "Approved"),
    State.RUNNING: ("🔵", "Running"),
    State.PARKED: ("🟠", "Needs a person"),
    State.CANCELLING: ("🟠", "Cancelling"),
    State.SUCCEEDED: ("🟢", "Done"),
    State.FAILED: ("🔴", "Failed"),
    State.DENIED: ("⚪", "Denied"),
    State.WITHDRAWN: ("⚪", "Withdrawn"),
    State.EXPIRED: ("⚪", "Expired"),
    State.CANCELLED: ("⚪", "Cancelled"),
    State.ABANDONED: ("⚪", "Abandoned"),
}
TONES = {"good": "✅ ", "bad": "❌ ", "warn": "⚠️ ", "info": ""}
RESULTS = {"pass": "✅", "warn": "⚠️", "block": "❌", "unknown": "❓"}
SHOWS_PLAN = frozenset({State.BLOCKED, State.AWAITING, State.APPROVED, State.NOTHING_TO_DO})
SHOWS_STEPS = frozenset(
    {State.RUNNING, State.PARKED, State.CANCELLING, State.SUCCEEDED, State.FAILED, State.CANCELLED, State.ABANDONED}
)


# -- notes -------------------------------------------------------------------------------------------------------


def note(meaning: Note, *, repeat: bool = False) -> Message:
    """A thread line, a whisper or a direct message. `repeat` marks what may have been posted before."""
    text = f"{TONES[meaning.tone]}{'(repeated) ' if repeat else ''}{meaning.text}"
    elements: list[Block] = [_line(text, meaning)]
    nobody = Note(text="")
    items = [(bullet, meaning) for bullet in meaning.bullets] + [(fact, nobody) for fact in meaning.facts]
    if items:
        shown = [_parts(clip(item, 600), allowed) for item, allowed in items[:30]]
        if len(items) > 30:
            shown.append([plain_text(f"and {len(items) - 30} more")])
        elements.append(_list(shown))
    if meaning.code:
        elements.append({"type": "rich_text_preformatted", "elements": [plain_text(clip(meaning.code, TEXT))]})
    plain = _plain(text, meaning).strip() or "A message of tkgbot"
    return fit(Message(plain, [{"type": "rich_text", "elements": elements}]))


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
        person, group, code = match.groups()
        element: Block | None = None
        if person in meaning.people:
            element = {"type": "user", "user_id": person}
        elif group in meaning.groups:
            element = {"type": "usergroup", "usergroup_id": group}
        elif code:
            element = {"type": "text", "text": clean(code) or " ", "style": {"code": True}}
        if element is not None:
            parts += [plain_text(text[rest : match.start()])] if match.start() > rest else []
            parts.append(element)
            rest = match.end()
    if rest < len(text):
        parts.append(plain_text(text[rest:]))
    return parts or [plain_text(" ")]


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
    blocks += _buttons(request, plan)
    for number, block in enumerate(blocks):
        block["block_id"] = f"{request.id}:{revision}:{number}"
    return fit(Message(escape(headline), blocks))


def readable_plan(request: Request) -> Plan | None:
    """The plan, or None where there is none, or where the stored one cannot be read: the card must be shown all the
    same, and nothing can be approved on it."""
    try:
        return request.planned if request.plan else None
    except ValidationError:
        return None


def first_line(request: Request, plan: Plan | None) -> str:
    """State, verb and target in words: `🟡 Approval needed: tag 3 subnets for demo`."""
    sign, word = STATE_WORDS[request.state]
    what = plan.headline if plan else f"{request.operation} {request.arguments.get('cluster') or ''}".strip()
    took = ""
    if request.ended_at is not None and request.started_at is not None:
        took = f" ({duration(request.ended_at - request.started_at)})"
    return clean(f"{sign} {word}: {what}{took}")


def _fields(shot: Snapshot, plan: Plan | None) -> Block:
    request = shot.request
    fields = [("Asked by", f"<@{request.requester}>"), ("Where", escape(_where(request)) or "–")]
    if plan is not None and request.state in (State.AWAITING, State.APPROVED, *SHOWS_STEPS):
        fields.append(("Impact", _impact(plan)))
        fields.append(("Can be undone", "yes" if plan.impact.reversible else "*no*"))
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


def _where(request: Request) -> str:
    return " · ".join(str(request.arguments[key]) for key in ("account", "region") if request.arguments.get(key))


def _impact(plan: Plan) -> str:
    impact = plan.impact
    counts = [(len(impact.creates), "created"), (len(impact.changes), "changed"), (len(impact.deletes), "*deleted*")]
    said = ", ".join(f"{count} {word}" for count, word in counts if count) or "nothing"
    if impact.cost_per_hour_usd is None:
        return said
    return said + (f", about ${impact.cost_per_hour_usd:.2f} an hour" if impact.cost_per_hour_usd else ", no cost")


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
        titles = " · ".join(check.title for check in passed)
        text = clip(f"✅ {len(passed)} check{'s' * (len(passed) != 1)} passed: {titles}", 600)
        elements.append({"type": "rich_text_section", "elements": [plain_text(text)]})
    return [{"type": "rich_text", "elements": elements}] if elements else []


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
    blocks = [_table(table)]
    if len(table.rows) > ROWS_ON_CARD:
        text = f"… and {len(table.rows) - ROWS_ON_CARD} more rows: all of them are in the thread."
        blocks.append({"type": "context", "elements": [{"type": "plain_text", "text": text}]})
    return blocks


def _table(table: Table) -> Block:
    rows = [table.header, *table.rows[:ROWS_ON_CARD]]
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
    text = f"{'(repeated) ' if repeat else ''}{request.id}{seal} · {request.command}"
    return {"type": "context", "elements": [{"type": "plain_text", "text": clip(clean(text), 1_900)}]}


def _buttons(request: Request, plan: Plan | None) -> list[Block]:
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
            made["confirm"] = {
                "title": {"type": "plain_text", "text": f"{label}?"},
                "text": {"type": "plain_text", "text": confirm},
                "confirm": {"type": "plain_text", "text": label},
                "deny": {"type": "plain_text", "text": "Back"},
            }
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
    elements = rows.get(request.state, [])
    if request.state == State.AWAITING and plan is None:
        elements = rows[State.BLOCKED]
    return [{"type": "actions", "elements": elements}] if elements else []
