"""What the bot says, as meaning. Pure: `bot.outgoing` puts it into the outbox, `bot.slack.cards` gives it its looks.

A note's text is literal except for two things: `code` between backticks, and `<@U…>` for a person who is listed in
`people`. So no value that came from outside can mention, link or format anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from handlers.contract import Model, Outcome, Plan

if TYPE_CHECKING:
    from bot.lifecycle import State
    from bot.policy import Needs, Who

ROWS_ON_CARD = 12
CHUNK = 2_800
Tone = Literal["good", "bad", "warn", "info"]


class Note(Model):
    """One message. `people` are the user ids, and `groups` the user group ids, that its text and bullets may mention;
    `facts` are lines with values from outside, which mention nobody."""

    tone: Tone = "info"
    text: str
    bullets: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()
    code: str = ""
    people: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()

    def to(self, person: str) -> Note:
        """The same, addressed to `person` so that Slack notifies them."""
        if person in self.people and self.text.startswith(f"<@{person}>"):
            return self
        people = tuple(dict.fromkeys((*self.people, person)))
        return self.model_copy(update={"text": f"<@{person}> {self.text}", "people": people})


# -- the words ---------------------------------------------------------------------------------------------------


def asks_approval(plan: Plan, needs: Needs, seal: str) -> Note:
    """Calls the approvers to the card."""
    names, people, groups = approvers(needs)
    return Note(
        text=f"{names}: please look at the plan above and approve or deny it (plan `{seal[:8]}`).",
        people=people,
        groups=groups,
    )


def is_blocked(plan: Plan, requester: str) -> Note:
    """Tells the requester what stands in the way and how to mend it."""
    facts = tuple(
        f"{check.title}: {check.evidence}" + (f" → {check.fix}" if check.fix else "")
        for check in plan.checks
        if check.blocks
    )
    text = "This cannot be done as asked. Nothing was changed."
    return Note(tone="bad", text=text, facts=facts).to(requester)


def overflow(plan: Plan) -> tuple[Note, ...]:
    """The rows of a table that is too long for the card, for the thread: never a silent cut."""
    table = plan.details
    if table is None or len(table.rows) <= ROWS_ON_CARD:
        return ()
    return tuple(Note(text="Rows of the plan:", code=part) for part in chunks(["  ".join(row) for row in table.rows]))


def chunks(lines: Sequence[str]) -> list[str]:
    """Whole lines, together as far as they fit into one message."""
    parts: list[str] = []
    for line in lines:
        if parts and len(parts[-1]) + 1 + len(line) <= CHUNK:
            parts[-1] += f"\n{line}"
        else:
            parts.append(line)
    return parts


def was_withdrawn(by: str) -> Note:
    """The end by the one who asked."""
    return Note(text=f"<@{by}> withdrew this. Nothing was changed.", people=(by,))


def cannot_post(request: str, state: str, code: str) -> Note:
    """To the requester in person, when the channel takes no messages."""
    text = f"tkgbot cannot post about `{request}` in its channel ({code}). It stands so: {state}"
    return Note(
        tone="warn", text=text, bullets=("Invite tkgbot to the channel again, and what it has to say comes there.",)
    )


def was_denied(requester: str, by: str) -> Note:
    """The end by a no."""
    return Note(text=f"<@{by}> denied this. Nothing was changed.", people=(by,)).to(requester)


def has_expired(state: State, requester: str) -> Note:
    """The end by the clock."""
    what = "The approval ran out before the run could start" if state == "approved" else "Nobody decided in time"
    return Note(text=f"{what}, so this request has expired. Nothing was changed. Ask again if it is still wanted.").to(
        requester
    )


def waits_behind(holder: str) -> Note:
    """Why an approved request does not start."""
    return Note(text=f"It starts by itself when `{holder}`, which is changing the same thing, has ended.")


def step_ended(title: str, outcome: Outcome) -> Note:
    """One line of the log."""
    word = "Done" if outcome.changed else "Already so"
    return Note(tone="good", text=f"{word}: {title}.", facts=(outcome.evidence,))


def was_abandoned(changes: tuple[str, ...], requester: str, by: str) -> Note:
    """The end of a parked run that nobody resumes."""
    text = f"<@{by}> abandoned this run. What it had changed stays:"
    return Note(tone="warn", text=text, facts=changes, people=(by,)).to(requester)


def approvers(needs: Needs) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """Who may approve, as text with the people and groups it mentions."""
    parts: list[str] = []
    people: list[str] = []
    groups: list[str] = []
    for need in needs.each:
        parts += _who(need.approve)
        people += need.approve.users
        groups += need.approve.usergroups
    return " or ".join(dict.fromkeys(parts)), tuple(dict.fromkeys(people)), tuple(dict.fromkeys(groups))


def _who(who: Who) -> list[str]:
    words = [f"<!subteam^{group}>" for group in who.usergroups] + [f"<@{user}>" for user in who.users]
    return [*words, "any member"] if who.members else words
