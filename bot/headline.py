"""A request in one line: state, verb and target in words. Pure."""

from __future__ import annotations

import re

from pydantic import ValidationError

from bot.lifecycle import State
from bot.records import Request
from bot.slack.text import clean, clip, duration
from handlers.contract import Plan

LONGEST = 150
"""Characters of a headline: the first line of a card holds no more."""
MARK = re.compile(r"`|<(?=[@!]|at )")
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


def readable_plan(request: Request) -> Plan | None:
    """The plan, or None where there is none, or where the stored one cannot be read: the card must be shown all the
    same, and nothing can be approved on it."""
    try:
        return request.planned if request.plan else None
    except ValidationError:
        return None


def what_of(request: Request, plan: Plan | None) -> str:
    """The change in words, as far as it is known. It is shown inside notes, whose own marks (code, mentions, times) it
    must not make."""
    known = plan.headline if plan is not None else f"{request.operation} {request.arguments.get('cluster') or ''}"
    return clip(MARK.sub(lambda mark: "'" if mark[0] == "`" else "\u2039", clean(known).strip()), LONGEST)


def first_line(request: Request, plan: Plan | None) -> str:
    """`🟡 Approval needed: tag 3 subnets for demo`."""
    sign, word = STATE_WORDS[request.state]
    took = ""
    if request.ended_at is not None and request.started_at is not None:
        took = f" ({duration(request.ended_at - request.started_at)})"
    return clean(f"{sign} {word}: {what_of(request, plan)}{took}")
