"""Sends what the outbox holds: in order within a request, cards edited in place, nothing lost, repeats marked.

A row is claimed before it is sent, so several processes can share the work and a death in the middle shows. Edits of a
known message are idempotent. A post whose answer was lost is looked for by the key in its metadata (where the app may
read history) before it is posted again, and what is posted again without that look is marked as a repeat.
Rate limits: docs.slack.dev/apis/web-api/rate-limits (one message a second and channel; Retry-After is honoured).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import sqlalchemy as sa
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError

from bot import tables
from bot.headline import first_line, readable_plan
from bot.ledger import snapshot
from bot.logs import about
from bot.messages import cannot_post, cannot_post_digest
from bot.outgoing import digest_of, direct, message_key
from bot.slack.failures import Lost
from bot.slack.jobs import Job, Sent
from bot.slack.sending import BUSY_AFTER, IN_THREAD, Sender
from bot.store import Store, StoreUnavailable

log = logging.getLogger(__name__)
CLAIM = 30.0
"""Seconds that a row belongs to who claimed it, where the settings say nothing."""
FILE_CLAIMS = 4
"""So many times as long a file does: an upload is several calls."""
EDIT_GAP = 3.0
SENDERS = 4
LOOK = 100
LAST_TRY = 86_400.0
SHUT = frozenset({"channel_not_found", "not_in_channel", "is_archived"})
"""Slack's word for a channel that may take messages again."""
REOPENED, SHUT_DIGEST = 5.0, 60.0
"""Seconds after which such a channel is tried again."""
HOPELESS = frozenset(
    {
        "channel_not_found",
        "not_in_channel",
        "is_archived",
        "user_not_found",
        "cannot_dm_bot",
        "user_disabled",
        "account_inactive",
        "expired_url",
        "used_url",
        "message_not_found",
        "cant_update_message",
        "edit_window_closed",
    }
)
"""Slack's word for what no repetition mends."""


class Outbox:
    """The sender. `wake` makes it look at once."""

    def __init__(
        self,
        store: Store,
        client: WebClient,
        *,
        executor: str,
        clock: Callable[[], float],
        let_pass: Callable[[], None] = lambda: None,
        busy_after: int = BUSY_AFTER,
        claim: float = CLAIM,
    ) -> None:
        self.claim = claim
        self.let_pass = let_pass
        self._free = threading.Semaphore(SENDERS)
        self.store = store
        self.sender = Sender(store, client, clock=clock, busy_after=busy_after)
        self.executor = executor
        self.clock = clock
        self.on_sent: Callable[[str, str], None] = lambda kind, result: None
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._busy: set[str] = set()
        self._quiet_until: dict[str, float] = {}
        self._pool = ThreadPoolExecutor(SENDERS, thread_name_prefix="sender")
        self._thread = threading.Thread(target=self._loop, name="outbox", daemon=True)

    def start(self) -> None:
        """Begins to send, what an earlier process left behind included. On SQLite nobody else can hold a claim, so
        those of a process that died need not run out."""
        if self.store.is_sqlite:
            columns = tables.outbox.c
            free = sa.update(tables.outbox).where(columns.claimed_by.is_not(None)).values(claimed_until=0)
            self.store.write(lambda connection: connection.execute(free))
        self._thread.start()

    def wake(self) -> None:
        """Something new is there."""
        self._wake.set()

    def stop(self) -> None:
        """Sends what is under way and no more."""
        self._stop.set()
        self._wake.set()
        self._thread.join(timeout=5)
        self._pool.shutdown(wait=True, cancel_futures=True)

    # -- choosing ------------------------------------------------------------------------------------------------

    def _loop(self) -> None:
        while not self._stop.is_set():
            self._wake.clear()
            self.let_pass()
            try:
                self._round()
            except StoreUnavailable as error:
                log.error("the outbox cannot be read: %s", error)
            self._wake.wait(0.25)

    def _round(self) -> None:
        """Hands rows that may go now to senders, as many as are free."""
        jobs = self.store.read(self._pending)
        if len(jobs) >= LOOK // 2:
            self._wake.set()
        for job in jobs:
            lane = job.lane
            with self._lock:
                if lane in self._busy or self._quiet_until.get(job.pace, 0) > self.clock():
                    continue
            self._free.acquire()
            with self._lock:
                self._busy.add(lane)
            self._pool.submit(self._deliver, lane, job)

    def _pending(self, connection: sa.Connection) -> list[Job]:
        now, box = self.clock(), tables.outbox
        card = box.alias("card")
        # What belongs into a thread that does not begin yet waits unseen: however much it is, it keeps nobody waiting.
        begun = sa.or_(card.c.key.is_(None), card.c.ts.is_not(None), card.c.failed.is_not(None))
        rows = connection.execute(
            sa.select(box, card.c.ts.label("root"), tables.requests.c.created_at)
            .outerjoin(
                card,
                sa.or_(sa.and_(card.c.request == box.c.request, card.c.kind == "card"), card.c.key == box.c.under),
            )
            .outerjoin(tables.requests, tables.requests.c.id == box.c.request)
            .where(box.c.wanted > box.c.sent, box.c.failed.is_(None), sa.or_(box.c.kind.not_in(IN_THREAD), begun))
            .order_by(box.c.due, box.c.seq)
            .limit(LOOK)
        ).all()
        return [_job(row, now) for row in _heads(rows) if row.due <= now and (row.claimed_until or 0) <= now]

    # -- sending -------------------------------------------------------------------------------------------------

    def _deliver(self, lane: str, job: Job) -> None:
        with about(**({"request": job.request} if job.request else {})):
            self._try(lane, job)

    def _try(self, lane: str, job: Job) -> None:
        try:
            if self._claim(job):
                self._send_and_record(job)
        except StoreUnavailable as error:  # the claim runs out and the row is tried again
            log.error("message %s: %s", job.key, error)
        except Exception:
            log.exception("message %s", job.key)
            self.on_sent(job.kind, "failed")
            self._record(job, failed="internal error")
        finally:
            with self._lock:
                self._busy.discard(lane)
            self._free.release()
            if job.request is not None:  # the next message of its thread may go now
                self._wake.set()

    def _claim(self, job: Job) -> bool:
        columns, now = tables.outbox.c, self.clock()
        until = now + self.claim * (FILE_CLAIMS if job.kind == "file" else 1)

        def work(connection: sa.Connection) -> bool:
            free = sa.or_(columns.claimed_until.is_(None), columns.claimed_until <= now)
            # As it was read: another process may have tried it, or even posted it, while this one was busy.
            same = sa.and_(columns.attempts == job.attempts, columns.ts.is_not_distinct_from(job.ts))
            claimed = connection.execute(
                sa.update(tables.outbox)
                .where(columns.key == job.key, columns.wanted > columns.sent, free, same, columns.due <= now)
                .values(claimed_by=self.executor, claimed_until=until, attempts=columns.attempts + 1)
            )
            return claimed.rowcount == 1

        return self.store.write(work)

    def _send_and_record(self, job: Job) -> None:
        try:
            sent = self.sender.send(job)
        except Lost:
            self.on_sent(job.kind, "lost")
            self._record(job, due=self.clock() + min(2.0**job.attempts, 30))
        except SlackApiError as error:
            self._refused(job, error)
        else:
            self.on_sent(job.kind, "repeated" if sent.repeated else "ok")
            self._record(job, sent=sent)

    # -- recording -----------------------------------------------------------------------------------------------

    def _refused(self, job: Job, error: SlackApiError) -> None:
        code = str(error.response.get("error"))
        now = self.clock()
        if code in ("ratelimited", "http_429"):
            pause = float((getattr(error.response, "headers", None) or {}).get("Retry-After", 1))
            with self._lock:
                self._quiet_until[job.pace] = now + pause
            self.on_sent(job.kind, "rate_limited")
            self._record(job, due=now + pause, untried=True)
        elif code in SHUT and job.request is not None and now - job.created < LAST_TRY:
            self._shut(job, code)
        elif code in SHUT and job.kind == "post" and job.expires is not None:
            self._shut_digest(job, code)
        elif code in HOPELESS or now - job.created > LAST_TRY:
            log.error("message %s cannot be sent: %s", job.key, code)
            self.on_sent(job.kind, "failed")
            self._record(job, failed=code)
        else:
            log.warning("message %s was refused (%s): trying again", job.key, code)
            self.on_sent(job.kind, "retried")
            self._record(job, due=now + min(2.0 ** (job.attempts + 1), 60), untried=True)

    def _shut(self, job: Job, code: str) -> None:
        """The channel does not take messages now. They are kept for a day, and the requester is told in person."""
        log.warning("message %s: the channel %s cannot be posted to (%s)", job.key, job.channel, code)
        self.on_sent(job.kind, "retried")
        request = str(job.request)

        def work(connection: sa.Connection) -> None:
            current = snapshot(connection, request).request
            note = cannot_post(current.id, first_line(current, readable_plan(current)), code)
            direct(connection, f"{request}:shut", current.requester, note, self.clock())

        self.store.write(work)
        self._record(job, due=self.clock() + REOPENED, untried=True)

    def _shut_digest(self, job: Job, code: str) -> None:
        """The channel of a digest does not take messages. It is kept for a day, and its owner is told in person."""
        log.warning("message %s: the channel %s cannot be posted to (%s)", job.key, job.channel, code)
        self.on_sent(job.kind, "retried")
        if job.person is not None:
            self.store.write(partial(self._tell_owner, job=job, owner=job.person, code=code))
        self._record(job, due=self.clock() + SHUT_DIGEST, untried=True)

    def _tell_owner(self, connection: sa.Connection, *, job: Job, owner: str, code: str) -> None:
        """Once a day, however many messages of the digest wait."""
        box, since = tables.outbox.c, self.clock() - LAST_TRY
        name = digest_of(job.key)
        told = box.key.like(message_key(f"{name}@%:shut"))
        lately = sa.select(box.key).where(told, box.person == owner, box.made_at > since)
        if connection.execute(lately).first() is None:
            direct(connection, f"{job.key}:shut", owner, cannot_post_digest(name, code), self.clock())

    def _record(
        self,
        job: Job,
        *,
        sent: Sent | None = None,
        due: float | None = None,
        failed: str | None = None,
        untried: bool = False,
    ) -> None:
        columns = tables.outbox.c
        values: dict[str, Any] = {"claimed_by": None, "claimed_until": None}
        if sent is not None:
            values |= {"sent": job.wanted, "ts": sent.ts, "attempts": 0, "repeated": sent.repeated}
            if job.kind == "card":  # edits of one card come at most every EDIT_GAP seconds, state changes at once
                values["due"] = sa.case((columns.wanted > job.wanted, columns.due), else_=self.clock() + EDIT_GAP)
            if job.kind == "direct" or (job.kind == "nudge" and sent.ts):
                values["channel"] = sent.channel
        if due is not None:
            values["due"] = due
        if failed is not None:
            values["failed"] = failed
        if untried:  # Slack said no, so the message is surely not there
            values["attempts"] = sa.case((columns.ts.is_(None), job.attempts), else_=columns.attempts)
        self.store.write(
            lambda connection: connection.execute(
                sa.update(tables.outbox)
                .where(columns.key == job.key, columns.claimed_by == self.executor)
                .values(**values)
            )
        )


def _heads(rows: Sequence[Any]) -> list[Any]:
    """Of each request, and of each answer in parts, only the first message that was never posted, so that they read in
    order; and every edit."""
    heads: list[Any] = []
    begun: set[str] = set()
    for row in sorted(rows, key=lambda row: int(row.seq)):
        is_edit = row.kind == "card" and row.ts is not None
        whole = row.request or row.key.partition("#")[0]
        if is_edit or row.kind == "nudge":
            heads.append(row)
        elif whole not in begun:
            begun.add(whole)
            heads.append(row)
    return heads


def _job(row: Any, now: float) -> Job:
    return Job(
        key=row.key,
        kind=row.kind,
        request=row.request,
        channel=row.channel,
        person=row.person,
        url=row.url,
        thread=row.thread,
        body=row.body,
        wanted=row.wanted,
        ts=row.ts,
        attempts=row.attempts,
        root=row.root,
        created=row.created_at or row.made_at or now,
        expires=row.expires,
        repeated=row.repeated,
    )
