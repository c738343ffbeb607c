"""When digests are due, and their telling: one message for each moment, over any number of replicas and restarts.

A moment is taken in hand by moving `digests.last` forward to it, in one transaction: whoever comes second, also one
whose clock runs behind, finds it moved already. Of moments that were missed only the newest counts, and says that it is
late. The message, what it showed and the end of the moment are one transaction; a moment whose process died before it
is taken over when its claim has run out. APScheduler only wakes this; the rows decide.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import sqlalchemy as sa
from pydantic import Field, ValidationError, model_validator

from bot import digest_words, grammar, messages, offers, outgoing, tables
from bot.csv_of import survey_csv
from bot.digest_words import Story, Waiting
from bot.headline import readable_plan, what_of
from bot.ledger import request_of
from bot.lifecycle import State
from bot.made import lasting
from bot.outgoing import digest_of, message_key
from bot.store import Store, StoreUnavailable
from bot.timetable import Timetable, timetable
from handlers.contract import Caller, Extent, Gap, Made, Model, Spoken, Survey

log = logging.getLogger(__name__)
CLAIM = 120.0
"""Seconds that a moment belongs to who took it in hand; a look at everything is bounded below that."""
KEPT = 60
"""Moments of a digest whose surveys are kept, for its chart and for what changed."""
SHOWN = 30
LIVES = 86_400.0
"""Seconds for which a digest is worth sending: a day later it is old news."""
Look = Callable[[Extent, Sequence[Made], Caller], Survey]


class DigestSettings(Model):
    """A digest that the settings name. `when` and `zone` are as in `/tkg digest add`."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,30}$")
    channel: str = Field(pattern=r"^[CG][A-Z0-9]{6,}$", description="The channel's id.")
    when: str = Field(max_length=100, description="Such as `weekdays 09:00` or a cron expression.")
    zone: str = Field("UTC", description="The time zone, such as Europe/Berlin.")
    accounts: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    labels: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _comes(self) -> DigestSettings:
        timetable(self.when, self.zone, 0.0)  # a WrongTime is a ValueError, so pydantic tells it
        return self

    @property
    def extent(self) -> Extent:
        """Which clusters it speaks of."""
        return Extent(accounts=self.accounts, namespaces=self.namespaces, labels=self.labels)


class Digests:
    """The telling. `look` is the workshop's survey; `address` makes a link to a message from its channel and timestamp;
    `told` hears of each digest, and how late it was (seconds)."""

    def __init__(
        self,
        store: Store,
        *,
        look: Look,
        operations: Mapping[str, Spoken[Any]],
        address: Callable[[str, str], str],
        clock: Callable[[], float],
        executor: str,
        wake: Callable[[], None],
        told: Callable[[float], None] = lambda _late: None,
    ) -> None:
        self.store = store
        self.look = look
        self.operations = operations
        self.address = address
        self.clock = clock
        self.executor = executor
        self.wake = wake
        self.told = told
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="digest")

    def set_up(self, settings: Sequence[DigestSettings]) -> None:
        """Takes over what the settings say. A digest of theirs that has changed is due from now on; one that they do
        not name any more goes; one that somebody has paused stays paused."""

        def work(connection: sa.Connection) -> None:
            columns = tables.digests.c
            named = [item.name for item in settings]
            connection.execute(sa.delete(tables.digests).where(columns.owner.is_(None), columns.name.not_in(named)))
            for item in settings:
                self._set_up(connection, item)

        self.store.write(work)

    def _set_up(self, connection: sa.Connection, item: DigestSettings) -> None:
        columns, now = tables.digests.c, self.clock()
        made = timetable(item.when, item.zone, now)
        values = {
            "channel": item.channel, "cron": made.cron, "zone": made.zone, "words": item.when,
            "extent": item.extent.model_dump(mode="json"), "owner": None,
        }  # fmt: skip
        known = connection.execute(sa.select(tables.digests).where(columns.name == item.name)).first()
        if known is None:
            fresh = {"name": item.name, "paused": False, "since": now}
            connection.execute(sa.insert(tables.digests).values(**values, **fresh))
        elif any(getattr(known, name) != value for name, value in values.items()):
            connection.execute(sa.update(tables.digests).where(columns.name == item.name).values(**values, since=now))

    def stop(self) -> None:
        """Begins nothing more. What is in hand is taken over by another process, or at the next start."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    # -- what is due ---------------------------------------------------------------------------------------------

    def due(self) -> list[str]:
        """Takes in hand what is due and what a dead process left, and has it told; the keys of these moments."""
        now = self.clock()
        rows = self.store.read(lambda connection: connection.execute(sa.select(tables.digests)).all())
        taken = [key for row in rows if not row.paused and (key := self._claim(row, now))]
        taken += self._left(now)
        for key in taken:
            self._pool.submit(self._guarded, key)
        return taken

    def _claim(self, row: sa.Row[Any], now: float) -> str | None:
        at = Timetable(row.cron, row.zone).latest(max(row.since, row.last or 0.0), now)
        if at is None:
            return None
        columns = tables.digests.c

        def work(connection: sa.Connection) -> str | None:
            moved = connection.execute(
                sa.update(tables.digests)
                .where(
                    columns.name == row.name, columns.since == row.since, columns.paused.is_(False),
                    sa.or_(columns.last.is_(None), columns.last < at),
                )
                .values(last=at)
            )  # fmt: skip
            if moved.rowcount != 1 or at <= (row.snoozed_until or 0.0):
                return None
            return self._begin(connection, row.name, at)

        return self.store.write(work)

    def begin(self, connection: sa.Connection, digest: str, wanted_by: str) -> str | None:
        """Takes this moment in hand for somebody who wants a digest now."""
        return self._begin(connection, digest, self.clock(), wanted_by)

    def _begin(self, connection: sa.Connection, digest: str, at: float, wanted_by: str | None = None) -> str | None:
        key = f"{digest}@{at:.3f}" if wanted_by else f"{digest}@{int(at)}"
        fires = tables.fires
        if connection.execute(sa.select(fires.c.key).where(fires.c.key == key)).first() is not None:
            return None  # an earlier copy of the database was put back
        until = self.clock() + CLAIM
        connection.execute(
            sa.insert(fires).values(
                key=key, digest=digest, at=at, claimed_by=self.executor, claimed_until=until, wanted_by=wanted_by
            )
        )
        return key

    def _left(self, now: float) -> list[str]:
        """Moments that were taken in hand and not ended in time."""
        fires = tables.fires
        open_ = sa.and_(fires.c.done_at.is_(None), fires.c.claimed_until <= now)
        keys = self.store.read(lambda connection: connection.scalars(sa.select(fires.c.key).where(open_)).all())

        def work(connection: sa.Connection, key: str) -> bool:
            mine = {"claimed_by": self.executor, "claimed_until": now + CLAIM}
            taken = connection.execute(sa.update(fires).where(fires.c.key == key, open_).values(**mine))
            return taken.rowcount == 1

        return [key for key in keys if self.store.write(partial(work, key=key))]

    # -- telling -------------------------------------------------------------------------------------------------

    def tell_later(self, key: str) -> None:
        """Has a moment that was taken in hand told by the pool."""
        self._pool.submit(self._guarded, key)

    def _guarded(self, key: str) -> None:
        """The pool's edge: what fails here is taken up again when its claim has run out."""
        try:
            self.tell(key)
        except StoreUnavailable as error:
            log.error("the digest %s waits: %s", key, error)
        except Exception:
            log.exception("the digest %s could not be told", key)

    def tell(self, key: str) -> None:
        """Looks, and puts the message of one moment into the outbox."""
        found = self.store.read(lambda connection: _fire(connection, key))
        if found is None:
            return
        fire, digest = found
        extent = Extent.model_validate(digest.extent)
        made = self.made()
        survey = self._looked(extent, made, Caller(request=f"digest-{digest.name}", person=digest.owner or "settings"))

        def work(connection: sa.Connection) -> bool:
            again = _fire(connection, key, lock=True)
            if again is None:
                return False
            self._put(connection, again[0], again[1], survey)
            return True

        if self.store.write(work):
            self.told(max(0.0, self.clock() - fire.at))
            self.wake()

    def made(self) -> tuple[Made, ...]:
        """What finished requests made so."""
        return self.store.read(lambda connection: lasting(connection, self.operations))

    def _looked(self, extent: Extent, made: Sequence[Made], caller: Caller) -> Survey:
        """A digest is sent whatever happens: what cannot be seen is what it says."""
        try:
            return self.look(extent, made, caller)
        except Exception:
            log.exception("the look for %s failed", caller.request)
            gap = Gap(
                what="The look at the clusters", why="something went wrong inside tkgbot; the log has the details."
            )
            return Survey(taken_at=self.clock(), clusters=(), gaps=(gap,))

    def story(self, connection: sa.Connection, survey: Survey, channel: str, *, before: Survey | None = None) -> Story:
        """A survey with what the bot itself knows: what waits in that channel, and where its cards stand."""
        waiting = _waiting(connection, channel)
        links = {
            one.request: self.address(*stands)
            for one in waiting
            if (stands := offers.stands_at(connection, f"{one.request}:card")) is not None
        }
        commands = {
            finding.id: grammar.render(operation, finding.repair.arguments)
            for finding in survey.findings
            if finding.repair is not None and (operation := self.operations.get(finding.repair.operation)) is not None
        }
        return Story(survey=survey, now=self.clock(), before=before, waiting=waiting, links=links, commands=commands)

    def _put(self, connection: sa.Connection, fire: sa.Row[Any], digest: sa.Row[Any], survey: Survey) -> None:
        now, fires = self.clock(), tables.fires
        before = seen_before(connection, digest.name, fire.key)
        story = self.story(connection, survey, digest.channel, before=before[-1] if before else None)
        note, offered = digest_words.digest(story, digest.name, fire.at, wanted_by=fire.wanted_by or "")
        root = message_key(fire.key)
        buttons = (*offers.put(connection, root, digest.channel, offered, now), *_own_buttons(fire.key, digest.name))
        outgoing.digest(
            connection, root, digest.channel, note.model_copy(update={"buttons": buttons}), now,
            owner=digest.owner, expires=max(now, fire.at) + LIVES,
        )  # fmt: skip
        under = partial(outgoing.under, connection, root, digest.channel, now=now)
        for number, part in enumerate(digest_words.details(story)):
            under(f"{root}#{number}", part)
        if story.clusters:
            under(f"{root}#csv", messages.safe_file(survey_csv(survey, f"{digest.name}-{int(fire.at)}.csv")))
        picture = digest_words.chart([*before[-SHOWN + 1 :], survey], digest.name, digest.zone)
        if picture is not None:
            under(f"{root}#chart", picture)
        shown = survey.model_dump(mode="json")
        connection.execute(sa.update(fires).where(fires.c.key == fire.key).values(done_at=now, survey=shown))

    def forget(self) -> None:
        """Deletes what no chart shows any more, and what nobody was offered lately."""
        fires = tables.fires

        def work(connection: sa.Connection) -> None:
            names = connection.scalars(sa.select(fires.c.digest).distinct()).all()
            for name in names:
                newest = sa.select(fires.c.key).where(fires.c.digest == name).order_by(fires.c.at.desc()).limit(KEPT)
                kept = connection.scalars(newest).all()
                gone = sa.and_(fires.c.digest == name, fires.c.done_at.is_not(None), fires.c.key.not_in(kept))
                connection.execute(sa.delete(fires).where(gone))
            old = tables.offers.c.made_at < self.clock() - 30 * 86_400
            connection.execute(sa.delete(tables.offers).where(old))

        self.store.write(work)


def waiting(connection: sa.Connection) -> set[str]:
    """The digests with a message that their channel did not take, and that is tried again."""
    box = tables.outbox.c
    unsent = sa.and_(box.key.like(message_key("%")), box.wanted > box.sent, box.failed.is_(None))
    put_off = sa.and_(box.kind == "post", box.due > box.made_at)
    keys = connection.scalars(sa.select(box.key).where(unsent, put_off))
    return {digest_of(key) for key in keys}


def seen_before(connection: sa.Connection, digest: str, fire: str) -> list[Survey]:
    """What a digest showed at its last moments, the oldest first, without those that could see nothing."""
    fires = tables.fires
    rows = connection.execute(
        sa.select(fires.c.survey)
        .where(fires.c.digest == digest, fires.c.key != fire, fires.c.done_at.is_not(None))
        .order_by(fires.c.at.desc())
        .limit(SHOWN)
    ).all()
    found: list[Survey] = []
    for row in reversed(rows):
        try:
            survey = Survey.model_validate(row.survey)
        except ValidationError:  # another version's
            continue
        found += [survey] if survey.clusters or not survey.gaps else []
    return found


def _fire(connection: sa.Connection, key: str, *, lock: bool = False) -> tuple[sa.Row[Any], sa.Row[Any]] | None:
    """A moment that is not told yet, and its digest; None when it was told, or the digest is gone."""
    wanted = sa.select(tables.fires).where(tables.fires.c.key == key, tables.fires.c.done_at.is_(None))
    fire = connection.execute(wanted.with_for_update() if lock else wanted).first()
    if fire is None:
        return None
    digest = connection.execute(sa.select(tables.digests).where(tables.digests.c.name == fire.digest)).first()
    return None if digest is None else (fire, digest)


def _waiting(connection: sa.Connection, channel: str) -> tuple[Waiting, ...]:
    """What waits for approval in that channel, the oldest first: a card in a private channel stays there."""
    columns = tables.requests.c
    rows = connection.execute(
        sa.select(tables.requests)
        .where(columns.state == State.AWAITING, columns.channel == channel)
        .order_by(columns.updated_at)
        .limit(50)
    ).all()
    every = [request_of(row) for row in rows]
    return tuple(Waiting(one.id, what_of(one, readable_plan(one)), one.requester, one.updated_at) for one in every)


def _own_buttons(fire: str, name: str) -> tuple[messages.Button, ...]:
    snooze = f"“{name}” is then not sent for a day. Everybody here sees that you did this."
    return (
        messages.Button(action="details", value=fire, label="Details"),
        messages.Button(action="snooze", value=fire, label="Snooze a day", confirm=snooze),
    )
