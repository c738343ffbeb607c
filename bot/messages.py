"""What the bot says, as meaning. Pure: `bot.outgoing` puts it into the outbox, `bot.slack.cards` gives it its looks.

A note's text is literal except for two things: `code` between backticks, and `<@U…>` for a person who is listed in
`people`. So no value that came from outside can mention, link or format anything.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from bot.logs import redact
from handlers.contract import Board, Chart, File, Model, Outcome, Plan, Report, Sheet, Table, visible

if TYPE_CHECKING:
    from bot.lifecycle import State
    from bot.policy import Needs, Who

ROWS_ON_CARD = 12
CHUNK = 2_800
ROWS_IN_TABLE = 40
TABLE_SIZE = 10_000
"""A message's blocks take 12,000 characters in all."""
TABLES = 4
"""A response URL serves five times."""
FILE_TEXT = 250_000
"""Characters of a file: in four bytes each they still fit into a snippet of Slack's, which is 1 MB."""
INSTEAD = 2_500
TERMINAL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")
"""What colours a terminal, moves its cursor or names its window (ECMA-48)."""
REFUSED_UPLOADS = {
    "missing_scope": "The app lacks the scope `files:write`: add it, and install the app anew.",
    "storage_limit_reached": "The workspace's storage is full.",
    "file_uploads_disabled": "The workspace allows no uploads.",
    "file_uploads_except_images_disabled": "The workspace allows no uploads but pictures.",
}
"""What to do about Slack's word for an upload that it does not take."""
Tone = Literal["good", "bad", "warn", "info"]


class Button(Model):
    """Something to click. `value` is an id, never what it stands for; `confirm` is asked back before it counts."""

    action: str = Field(pattern=r"^[a-z]+$")
    value: str = Field(max_length=150)
    label: str = Field(max_length=75)
    confirm: str = ""


class Section(Model):
    """A part of a message under a title of its own. `bullets` and `facts` are as a note's."""

    title: str
    bullets: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()


class Note(Model):
    """One message. `people` are the user ids, and `groups` the user group ids, that its text and bullets may mention;
    `facts` are lines with values from outside, which mention nobody. `links` are the request ids that may be shown as
    links to their cards, each with its address; with `dates`, `<at 1764000000>` in text and bullets is that time (epoch
    seconds) as each reader's clock says it; `table`, `sections` and `buttons` stand at the end, in this order."""

    tone: Tone = "info"
    text: str
    bullets: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()
    code: str = ""
    people: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    links: Mapping[str, str] = Field(default_factory=dict)
    dates: bool = False
    table: Table | None = None
    sections: tuple[Section, ...] = ()
    buttons: tuple[Button, ...] = ()

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


def time_box_approves(needs: Needs) -> Note:
    """Why nobody is asked: the policy takes the end of a time box for an approval."""
    rules = ", ".join(f"“{need.rule}”" for need in needs.each)
    text = "Nobody has to approve this: the cluster's time is over, and the policy lets that count."
    return Note(text=text, facts=(f"By the policy's rule: {rules}.",))


def ends_soon(cluster: str, ends_at: float, owner: str) -> Note:
    """Warns the owner before the end of a time box."""
    text = f"the time of cluster {cluster} is over <at {int(ends_at)}>; then its deletion is asked for."
    return Note(tone="warn", text=f"<@{owner}> {text}", people=(owner,), dates=True)


def time_is_over(cluster: str, request: str, owner: str) -> Note:
    """At the end of a time box."""
    text = f"The time of cluster {cluster} is over, so `{request}` asks for its deletion."
    return Note(text=text).to(owner)


def was_called_off() -> Note:
    """Why a deletion that a time box asked for is not wanted any more."""
    return Note(
        text="The cluster has been given more time meanwhile, so this deletion is called off. Nothing was changed."
    )


def hours(seconds: float) -> str:
    """`8 hours`, `2 days`, `30 minutes`."""
    for unit, name in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= unit and seconds % unit == 0:
            count = int(seconds // unit)
            return f"{count} {name}{'s' * (count != 1)}"
    return f"{seconds:g} seconds"


def span(seconds: float) -> str:
    """`8h`, `2d`, `30m`: as it is typed."""
    for unit, letter in ((86_400, "d"), (3_600, "h")):
        if seconds >= unit and seconds % unit == 0:
            return f"{int(seconds // unit)}{letter}"
    return f"{max(1, round(seconds / 60))}m"


def look_again_later(note: Note) -> Note:
    """The end of a look that found nobody to answer."""
    return note.model_copy(update={"text": f"{note.text} Press “Look again” in a while: then it is planned anew."})


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


def cannot_post_digest(name: str, code: str) -> Note:
    """To the owner in person, when the channel takes no messages."""
    why = {"is_archived": "the channel is archived", "not_in_channel": "tkgbot is not in the channel any more"}
    text = f"The digest `{name}` cannot be posted: {why.get(code, f'Slack says {code}')}. It is tried for a day."
    more = "Invite tkgbot to the channel again, or have it sent no more: `/tkg digest remove` in another channel."
    return Note(tone="warn", text=text, bullets=(more,))


def was_denied(requester: str, by: str, reason: str) -> Note:
    """The end by a no, with the reason in the words of who said it."""
    facts = (f"“{reason}”",) if reason else ()
    return Note(text=f"<@{by}> denied this. Nothing was changed.", facts=facts, people=(by,)).to(requester)


def was_approved(by: str, have: int, need: int) -> Note:
    """One yes, and how many there are."""
    count = f" ({have} of {need})" if need > 1 else ""
    return Note(tone="good", text=f"<@{by}> approved this{count}.", people=(by,))


def still_waits(needs: Needs, have: int, requester: str) -> Note:
    """Reminds those who may approve, once a plan."""
    names, people, groups = approvers(needs)
    so_far = f" {have} of {needs.approvals} approvals are there." if have else ""
    text = f"{names}: <@{requester}> is still waiting for an answer to the plan above.{so_far}"
    return Note(text=text, people=(*people, requester), groups=groups)


def decided(request: str, headline: str, note: Note) -> Note:
    """To the requester in person, where the channel is too busy for a card to be noticed."""
    text = f"About `{request}` ({headline.replace('`', chr(39))}): {note.text}"
    return note.model_copy(update={"text": text})


def is_being_undone(request: str, by: str) -> Note:
    """In the thread of a run that somebody wants to take back."""
    return Note(text=f"<@{by}> asks in `{request}` to take back what this run changed.", people=(by,))


def asked_by_form(command: str) -> Note:
    """What would have said the same."""
    return Note(text="You asked by form. The same as a command, to copy next time:", code=command)


def reported(report: Report) -> tuple[Note, ...]:
    """A report, with its rows in as many messages as they need."""
    notes = _in_parts(Note(tone=report.tone, text=report.title, facts=report.facts), report.table)
    notes += [note for shown in report.sheets for note in sheet(shown)]
    left = sum(len(note.table.rows) for note in notes[TABLES:] if note.table)
    if left:
        notes[TABLES:] = [Note(text=f"… and {left} more rows. Ask for less at once, for example with --vpc.")]
    return tuple(notes)


def _in_parts(first: Note, table: Table | None) -> list[Note]:
    """A note with its table, and as many further ones as the table needs."""
    if table is None or not table.rows:
        return [first]
    notes: list[Note] = []
    start = 0
    while start < len(table.rows):
        end, size = start + 1, _size(table.header) + _size(table.rows[start])
        while end < min(start + ROWS_IN_TABLE, len(table.rows)) and size + _size(table.rows[end]) <= TABLE_SIZE:
            size += _size(table.rows[end])
            end += 1
        note = Note(text=f"… rows {start + 1} to {end}:") if start else first
        part = Table(header=table.header, rows=table.rows[start:end])
        notes.append(note.model_copy(update={"table": part}))
        start = end
    return notes


def _size(row: Sequence[str]) -> int:
    """What a row takes of a message's room: each cell, with what stands around it in Block Kit."""
    return sum(min(len(cell), 120) + 40 for cell in row)


def sheet(shown: Sheet) -> tuple[Note, ...]:
    """A table for the thread, whole, in as many messages as it needs."""
    return tuple(_in_parts(Note(tone=shown.tone, text=shown.title.replace("`", "'")), shown.table))


def safe_file(file: File) -> File:
    """A file as it may be kept and shown: without secrets, without what steers a terminal or cannot be seen, and not
    longer than Slack takes; what is left out is in the middle, and said."""
    text = TERMINAL.sub("", file.text.replace("\r\n", "\n")).replace("\r", "\n")
    text = redact(visible(text))
    if len(text) > FILE_TEXT:
        head, tail = text[: FILE_TEXT // 4], text[len(text) - FILE_TEXT * 3 // 4 + 100 :]
        left = len(text) - len(head) - len(tail)
        text = f"{head}\n… {left} characters are left out here …\n{tail}"
    return file.model_copy(update={"text": text})


def cannot_upload(exhibit: File | Board | Chart, words: str, code: str) -> Note:
    """In the place of a file or a picture that Slack does not take: what it says. `code` is Slack's word."""
    what = "file" if isinstance(exhibit, File) else "picture"
    why = f" (Slack: {code})" if code else ""
    text = f"The {what} “{exhibit.title.replace('`', chr(39))}” could not be put here{why}."
    text = f"{text} {REFUSED_UPLOADS[code]}" if code in REFUSED_UPLOADS else text
    if not isinstance(exhibit, File):
        return Note(tone="warn", text=f"{text} In words:", facts=(words,))
    left = len(words) - INSTEAD
    rest = (f"{left} more characters are not shown.",) if left > 0 else ()
    begins = "It begins:" if left > 0 else "It says:"
    return Note(tone="warn", text=f"{text} {begins}", code=words[:INSTEAD], facts=rest)


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


def was_reached(sentence: str) -> Note:
    """One line of the log of a step that waits for others' work. The sentence comes from outside."""
    return Note(text=sentence.replace("`", "'"))


def was_put_back(running: bool) -> Note:
    """After an earlier copy of the database was put in the place of the newer one."""
    what = (
        "Somebody has to look at what this run has done: resume it, and each step is looked at before it is done, or "
        "abandon it."
        if running
        else "It is planned anew and has to be approved anew."
    )
    text = f"tkgbot's database was put back to an earlier state, so what was decided since is lost. {what}"
    return Note(tone="warn", text=text)


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
