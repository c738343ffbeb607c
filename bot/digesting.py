"""Digests as people speak of them: added, listed, paused, wanted now; their buttons; and the status at any time.

Who may see the status in a channel may have it sent there, and may stop what is sent there; everybody in the channel
sees who did it. What the settings name is taken away in the settings.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from bot import audit_rows, digest_words, offers, outgoing, tables
from bot.digest_words import Story
from bot.digests import Digests, seen_before, waiting
from bot.ledger import Refused, finish_invocation
from bot.messages import Note
from bot.outgoing import message_key
from bot.own import AddDigest, EveryDigest, WhichDigest
from bot.timetable import Timetable, WrongTime, timetable
from handlers.contract import Caller, Extent, Json, Survey

if TYPE_CHECKING:
    from bot.invocation import Invocation
    from bot.requests import Requests

SNOOZE = 86_400.0
MOST = 50
"""Digests of one channel."""


@dataclass(frozen=True, kw_only=True)
class Digesting:
    """The answering. `accounts` are those that the settings name."""

    digests: Digests
    requests: Requests
    accounts: tuple[str, ...] = ()

    def answer(self, invocation: Invocation, name: str, given: Any) -> Note | None:
        """One of the `digest` words, by its name. None when the answer stands in the channel."""
        if isinstance(given, AddDigest):
            return self._add(invocation, given)
        if isinstance(given, EveryDigest):
            return self._list(invocation.channel, invocation.person)
        assert isinstance(given, WhichDigest)
        deed = {
            "digest remove": self._remove,
            "digest pause": self._pause,
            "digest resume": self._resume,
            "digest now": self._now,
        }[name]
        return deed(invocation, given.digest)

    # -- words ---------------------------------------------------------------------------------------------------

    def _add(self, invocation: Invocation, given: AddDigest) -> Note | None:
        extent = extent_of({"accounts": given.accounts, "namespaces": given.namespaces, "labels": given.labels})
        unknown = [account for account in extent.accounts if account not in self.accounts]
        if unknown:
            known = ", ".join(self.accounts)
            return Note(tone="bad", text=f"`{unknown[0]}` is no account of the settings: {known}. Nothing was done.")
        now = self.requests.clock()
        try:
            made = timetable(given.when, given.zone, now)
        except WrongTime as error:
            sentence = str(error).replace("`", "'")
            end = "" if sentence.endswith("?") else "."
            return Note(tone="bad", text=f"{sentence}{end} Nothing was done.")

        def work(connection: sa.Connection) -> None:
            columns = tables.digests.c
            if self._find(connection, given.digest) is not None:
                raise Refused(
                    f"There is a digest `{given.digest}` already.", "Choose another name, or remove it first."
                )
            count = sa.select(sa.func.count()).where(columns.channel == invocation.channel)
            if (connection.scalar(count) or 0) >= MOST:
                raise Refused(f"This channel has {MOST} digests already.", "Remove one first: `/tkg digest list`.")
            connection.execute(
                sa.insert(tables.digests).values(
                    name=given.digest, channel=invocation.channel, cron=made.cron, zone=made.zone, words=given.when,
                    extent=extent.model_dump(mode="json"), owner=invocation.person, paused=False, since=now,
                )
            )  # fmt: skip
            text = (
                f"<@{invocation.person}> has the digest `{given.digest}` sent here: {_says(given.when)}, {made.zone}."
            )
            self._say(connection, invocation, given.digest, "added", f"{text} {_next(made, now)}")

        self._write(invocation, work)
        return None

    def _list(self, channel: str, person: str) -> Note:
        """Those of a channel, and those of a person whose own channel takes no messages."""
        columns, now = tables.digests.c, self.requests.clock()

        def look(connection: sa.Connection) -> tuple[list[sa.Row[Any]], set[str]]:
            query = sa.select(tables.digests).where(sa.or_(columns.channel == channel, columns.owner == person))
            return list(connection.execute(query.order_by(columns.name))), waiting(connection)

        every, stuck = self.requests.store.read(look)
        rows = [row for row in every if row.channel == channel or row.name in stuck]
        if not rows:
            return Note(text='No digest comes to this channel. To add one: `/tkg digest add morning "weekdays 09:00"`')
        owners = tuple(dict.fromkeys(row.owner for row in rows if row.owner))
        bullets = tuple(self._line(row, now, where=channel, waits=row.name in stuck) for row in rows)
        here = any(row.channel == channel for row in rows)
        text = "Digests of this channel:" if here else "No digest comes to this channel, and these of yours wait:"
        return Note(text=text, bullets=bullets, people=owners, dates=True)

    def _line(self, row: sa.Row[Any], now: float, *, where: str, waits: bool) -> str:
        whose = f"of <@{row.owner}>" if row.owner else "of the settings"
        place = "" if row.channel == where else ", in another channel"
        line = f"`{row.name}` {_says(row.words)}, {row.zone}, {whose}{place}"
        line += "; a message of it waits, because its channel does not take it" if waits else ""
        if row.paused:
            return f"{line}: paused; `/tkg digest resume {row.name}`"
        until = max(now, row.snoozed_until or 0.0)
        snoozed = f"snoozed until <at {int(row.snoozed_until)}>; " if (row.snoozed_until or 0.0) > now else ""
        return f"{line}: {snoozed}{_next(Timetable(row.cron, row.zone), until)}"

    def _remove(self, invocation: Invocation, name: str) -> None:
        def work(connection: sa.Connection) -> None:
            row = self._theirs(connection, invocation, name)
            if row.owner is None:
                raise Refused(f"`{name}` stands in the settings, and is taken away there.", f"To stop it: pause {name}")
            connection.execute(sa.delete(tables.digests).where(tables.digests.c.name == name))
            self._say(connection, invocation, name, "removed", f"<@{invocation.person}> has `{name}` sent no more.")

        self._write(invocation, work)

    def _pause(self, invocation: Invocation, name: str) -> None:
        text = f"<@{invocation.person}> paused the digest `{name}`. `/tkg digest resume {name}` has it sent again."
        self._change(invocation, name, "paused", text, paused=True)

    def _resume(self, invocation: Invocation, name: str) -> None:
        """What was due meanwhile is not sent any more."""
        text, now = f"<@{invocation.person}> has the digest `{name}` sent again.", self.requests.clock()
        self._change(invocation, name, "resumed", text, paused=False, snoozed_until=None, since=now)

    def _change(self, invocation: Invocation, name: str, event: str, text: str, **values: Any) -> None:
        def work(connection: sa.Connection) -> None:
            self._theirs(connection, invocation, name)
            connection.execute(sa.update(tables.digests).where(tables.digests.c.name == name).values(**values))
            self._say(connection, invocation, name, event, text)

        self._write(invocation, work)

    def _now(self, invocation: Invocation, name: str) -> Note | None:
        def work(connection: sa.Connection) -> tuple[bool, str | None]:
            row = self._theirs(connection, invocation, name)
            if row.channel != invocation.channel:
                raise Refused(f"`{name}` is sent to another channel.", "Type this there.")
            if not finish_invocation(connection, invocation.key, self.requests.clock()):
                return False, None  # another process has answered it meanwhile
            return True, self.digests.begin(connection, name, invocation.person)

        is_ours, key = self.requests.store.write(work)
        if key is not None:
            self.digests.tell_later(key)
        return Note(text=f"`{name}` is being sent at this moment.") if is_ours and key is None else None

    # -- buttons -------------------------------------------------------------------------------------------------

    def button(self, invocation: Invocation) -> Note | tuple[Note, ...] | None:
        """`details` or `snooze` under one of our digests. Raises Refused."""
        fire = invocation.value

        def look(connection: sa.Connection) -> tuple[sa.Row[Any] | None, tuple[str, str] | None]:
            query = sa.select(tables.fires).where(tables.fires.c.key == fire)
            return connection.execute(query).first(), offers.stands_at(connection, message_key(fire))

        row, stands = self.requests.store.read(look)
        if row is None or row.survey is None or stands != (invocation.channel, invocation.message_ts):
            raise Refused("This button does not belong to a digest that tkgbot knows.")
        if invocation.action == "details":
            return self._details(row)
        until = self.requests.clock() + SNOOZE

        def work(connection: sa.Connection) -> None:
            columns = tables.digests.c
            connection.execute(sa.update(tables.digests).where(columns.name == row.digest).values(snoozed_until=until))
            text = f"<@{invocation.person}> snoozed this digest until <at {int(until)}>."
            note = Note(
                text=f"{text} `/tkg digest resume {row.digest}` ends that.", people=(invocation.person,), dates=True
            )
            key = f"{message_key(fire)}#snoozed:{invocation.key}"
            outgoing.under(connection, message_key(fire), invocation.channel, key, note, now=self.requests.clock())
            self._audit(connection, invocation.person, row.digest, "snoozed")

        self._write(invocation, work)
        return None

    def _details(self, row: sa.Row[Any]) -> tuple[Note, ...]:
        survey = Survey.model_validate(row.survey)
        before = self.requests.store.read(lambda connection: seen_before(connection, row.digest, row.key))
        story = Story(survey=survey, now=row.done_at, before=before[-1] if before else None)
        shown = digest_words.details(story)
        return shown or (Note(text="There is nothing more to say: no cluster, and nothing that drifted."),)

    # -- the status ----------------------------------------------------------------------------------------------

    def status(self, arguments: Json, caller: Caller, channel: str) -> tuple[Note, ...]:
        """How everything stands now, or one cluster."""
        extent = extent_of(arguments)
        survey = self.digests.look(extent, self.digests.made(), caller)
        story = self.requests.store.read(lambda connection: self.digests.story(connection, survey, channel))
        if extent.cluster and not survey.clusters and not survey.gaps:
            text = f"There is no cluster {extent.cluster} here. `/tkg cluster list` shows those that there are."
            return (Note(tone="warn", text=text), *digest_words.details(story))
        return digest_words.status(story)

    # -- the pieces ----------------------------------------------------------------------------------------------

    def _find(self, connection: sa.Connection, name: str) -> sa.Row[Any] | None:
        return connection.execute(sa.select(tables.digests).where(tables.digests.c.name == name)).first()

    def _theirs(self, connection: sa.Connection, invocation: Invocation, name: str) -> sa.Row[Any]:
        """A digest of this channel, or of this person. Raises Refused."""
        row = self._find(connection, name)
        if row is None or (row.channel != invocation.channel and row.owner != invocation.person):
            raise Refused(f"There is no digest `{name}` in this channel.", "`/tkg digest list` shows them.")
        return row

    def _say(self, connection: sa.Connection, invocation: Invocation, name: str, event: str, text: str) -> None:
        note = Note(text=text, people=(invocation.person,), dates=True)
        key = f"digest-word:{invocation.key}"
        outgoing.post(connection, key, invocation.channel, note, self.requests.clock())
        self._audit(connection, invocation.person, name, event)

    def _audit(self, connection: sa.Connection, person: str, name: str, event: str) -> None:
        audit_rows.write(
            connection, self.requests.audit_key, at=self.requests.clock(), request=None, actor=person,
            event=f"digest.{event}", data={"digest": name},
        )  # fmt: skip

    def _write(self, invocation: Invocation, work: Callable[[sa.Connection], None]) -> None:
        """With the invocation's answer, in one transaction."""

        def answered(connection: sa.Connection) -> None:
            if finish_invocation(connection, invocation.key, self.requests.clock()):
                work(connection)

        self.requests.store.write(answered)
        self.requests.on_message()


def extent_of(arguments: Json) -> Extent:
    """The arguments of `status` or `digest add` as what is to be looked at; several are written with commas between."""

    def some(*names: str) -> tuple[str, ...]:
        written = [str(value) for name in names if (value := arguments.get(name))]
        return tuple(part for text in written for part in text.split(",") if part)

    labels = dict(label.split("=", 1) for label in some("labels"))
    return Extent(
        cluster=str(arguments.get("cluster") or ""),
        accounts=some("account", "accounts"),
        namespaces=some("namespace", "namespaces"),
        labels=labels,
    )


def _says(words: str) -> str:
    return words.replace("`", "'").replace("<", "‹")


def _next(made: Timetable, now: float) -> str:
    at = made.next(now)
    return f"Next: <at {int(at)}>." if at is not None else "It does not come again."
