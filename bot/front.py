"""Answers stored invocations: reads the words, asks who this is, asks the policy, and stores a request or a vote.

Runs in a bounded pool beside the listeners. Every answer is written in the transaction that marks the invocation as
done, so what was not answered when a process died is answered after the restart; what is too old by then is not
carried out, and its person is told so.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import sqlalchemy as sa
from pydantic import ValidationError

from bot import outgoing, tables
from bot.answers import NOTHING, sorry
from bot.asking import Answer, Asking, Later, Said
from bot.clicking import Clicking
from bot.digesting import Digesting
from bot.directory import NotInChannel
from bot.invocation import Invocation
from bot.ledger import Refused, finish_invocation
from bot.logs import about
from bot.mentions import Mentions
from bot.messages import Note
from bot.people import People
from bot.queries import Queries
from bot.requests import Requests
from bot.screens import Screens
from bot.shortcuts import Shortcuts
from bot.store import Store, StoreUnavailable
from handlers.contract import Fatal, Json, Retry, UsageError, Workshop

log = logging.getLogger(__name__)
TOO_OLD = 15 * 60.0
TAKE_UP_AFTER = 20.0
T = TypeVar("T")


@dataclass(frozen=True)
class _InPerson:
    """An answer that the channel does not take."""

    note: Note


@dataclass(kw_only=True)
class Front:
    """The answering side. `reports` look at AWS in threads of their own, so that nobody else waits for them."""

    store: Store
    asking: Asking
    clicking: Clicking
    mentions: Mentions
    shortcuts: Shortcuts
    clock: Callable[[], float]
    new_error_id: Callable[[], str]
    wake: Callable[[], None]
    let_pass: Callable[[], None] = lambda: None
    threads: int = 4
    patience: float = 20.0
    on_answered: Callable[[str, str, float], None] = lambda kind, outcome, seconds: None

    def __post_init__(self) -> None:
        self._reports = ThreadPoolExecutor(self.threads, thread_name_prefix="report")
        self._ending = False
        self._in_hand: set[str] = set()
        self._lock = threading.Lock()
        self._keys: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._workers: list[threading.Thread] = []

    # -- the pool ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Starts the pool, and takes up what an earlier process stored and did not answer."""
        for number in range(self.threads):
            worker = threading.Thread(target=self._loop, name=f"front-{number}", daemon=True)
            worker.start()
            self._workers.append(worker)
        self.take_up(0.0)

    def stop(self) -> None:
        """Finishes what is in hand; what waits behind it is stored and taken up at the next start."""
        self._ending = True
        for _ in self._workers:
            self._keys.put(None)
        for worker in self._workers:
            worker.join(timeout=5)
        self._reports.shutdown(wait=False, cancel_futures=True)

    def put(self, key: str) -> None:
        """A new invocation was stored. What is in hand already is not taken in hand twice."""
        with self._lock:
            if key in self._in_hand:
                return
            self._in_hand.add(key)
        self._keys.put(key)

    def take_up(self, older_than: float = TAKE_UP_AFTER) -> int:
        """Puts what was stored and not answered for a while; the number of them."""
        columns = tables.invocations.c
        before = self.clock() - older_than
        keys = self.store.read(
            lambda connection: connection.scalars(
                sa.select(columns.key).where(columns.done_at.is_(None), columns.received_at <= before).limit(1000)
            ).all()
        )
        for key in keys:
            self.put(key)
        return len(keys)

    def _loop(self) -> None:
        while (key := self._keys.get()) is not None and not self._ending:
            self.let_pass()
            later: Future[None] | None = None
            try:
                with about(invocation=key):
                    later = self.handle(key)
            except StoreUnavailable as error:  # it stays stored and is taken up again
                log.error("invocation %s waits: %s", key, error)
            finally:
                if later is None:
                    self._put_down(key)
                else:
                    later.add_done_callback(partial(self._done, key))

    def _done(self, key: str, _later: Future[None]) -> None:
        self._put_down(key)

    def _put_down(self, key: str) -> None:
        with self._lock:
            self._in_hand.discard(key)

    # -- one invocation ------------------------------------------------------------------------------------------

    def handle(self, key: str) -> Future[None] | None:
        """Answers one stored invocation; what takes a look at AWS is answered later."""
        row = self.store.read(
            lambda connection: connection.execute(
                sa.select(tables.invocations).where(tables.invocations.c.key == key)
            ).first()
        )
        if row is None or row.done_at is not None:
            return None
        try:
            invocation = Invocation.model_validate(row.body)
        except ValidationError:  # another version's, or a poisoned row: nobody can be answered
            log.error("invocation %s cannot be read and is put aside", key)
            self.store.write(lambda connection: finish_invocation(connection, key, self.clock()))
            return None
        if self.clock() - row.received_at > TOO_OLD:
            self._too_old(invocation)
            return None
        answer = self._guarded(invocation, lambda: self._wanted(invocation))
        if isinstance(answer, Later):
            return self._reports.submit(self._report, invocation, answer)
        if answer is not None:
            self._answer(invocation, answer)
        return None

    def _wanted(self, invocation: Invocation) -> Answer:
        if invocation.kind == "command":
            return self.asking.command(invocation)
        if invocation.kind == "mention":
            return self.mentions.mention(invocation)
        if invocation.kind == "shortcut":
            return self.shortcuts.shortcut(invocation)
        if invocation.kind == "click":
            return self.clicking.click(invocation)
        by_form = self.asking if invocation.action == "ask" else self.clicking
        return by_form.submitted(invocation)

    def _guarded(self, invocation: Invocation, work: Callable[[], T], what: str = "") -> T | _InPerson | Note:
        """The front pool's edge: every error becomes an answer. `on_answered` is told the kind (or `what`), how it
        ended, and the seconds that it took."""
        began = time.perf_counter()
        answer, outcome = self._tried(invocation, work)
        self.on_answered(what or invocation.kind, outcome, time.perf_counter() - began)
        return answer

    def _tried(self, invocation: Invocation, work: Callable[[], T]) -> tuple[T | _InPerson | Note, str]:
        try:
            return work(), "ok"
        except StoreUnavailable:
            raise
        except NotInChannel as error:  # without a response URL, only a direct message still arrives
            note = sorry(error, invocation)
            return (note if invocation.response_url else _InPerson(note)), "refused"
        except (Refused, UsageError) as error:
            return sorry(error, invocation), "refused"
        except (Retry, Fatal) as error:
            return sorry(error, invocation), "failed"
        except Exception:
            error_id = self.new_error_id()
            log.exception("error %s in %s", error_id, invocation.key)
            note = Note(tone="bad", text=f"Something went wrong inside tkgbot (error `{error_id}`). {NOTHING}")
            return note, "defect"

    def _report(self, invocation: Invocation, later: Later) -> None:
        try:
            with about(invocation=invocation.key):
                answer = self._guarded(invocation, lambda: self._looked(later), "report")
            if answer is not None:
                self._answer(invocation, answer)
        except StoreUnavailable as error:
            log.error("invocation %s waits: %s", invocation.key, error)

    def _looked(self, later: Later) -> tuple[Note, ...]:
        """What passes is waited out, for as long as a person would."""
        ends = time.monotonic() + self.patience
        while True:
            try:
                return later.look()
            except Retry as error:
                if time.monotonic() + error.after > ends:
                    raise
                time.sleep(error.after)

    def _answer(self, invocation: Invocation, answer: Note | Said | _InPerson | tuple[Note, ...]) -> None:
        """Writes the answer in the transaction that marks the invocation as done."""

        def work(connection: sa.Connection) -> None:
            now = self.clock()
            if not finish_invocation(connection, invocation.key, now):
                return  # somebody else has answered meanwhile
            key = f"answer:{invocation.key}"
            if isinstance(answer, _InPerson):
                outgoing.direct(connection, key, invocation.person, answer.note, now)
                return
            if isinstance(answer, Said):
                thread = f"{answer.request}:{invocation.key}"
                outgoing.thread(connection, thread, answer.request, invocation.channel, answer.note, now)
                return
            for part, note in enumerate((answer,) if isinstance(answer, Note) else answer):
                own = f"{key}#{part}" if part else key
                if not invocation.channel:
                    outgoing.direct(connection, own, invocation.person, note, now)
                    continue
                outgoing.whisper(
                    connection, own, invocation.channel, invocation.person, invocation.response_url, note, now,
                    thread=invocation.thread,
                )  # fmt: skip

        self.store.write(work)
        self.wake()

    def _too_old(self, invocation: Invocation) -> None:
        what = {
            "command": f"`{invocation.command} {invocation.text}`",
            "click": "your click",
            "form": "your form",
            "mention": "your message",
            "shortcut": "your shortcut",
        }[invocation.kind]
        text = f"tkgbot was not running when {what} arrived, and too much time has passed. {NOTHING} Please try again."

        def work(connection: sa.Connection) -> None:
            now = self.clock()
            if finish_invocation(connection, invocation.key, now):
                note = Note(tone="warn", text=text)
                outgoing.direct(connection, f"late:{invocation.key}", invocation.person, note, now)

        self.store.write(work)
        self.wake()


def make_front(
    requests: Requests,
    people: People,
    screens: Screens,
    workshop: Workshop,
    digests: Digesting,
    *,
    resolve: Callable[[Json], Json],
    choices: Mapping[str, Sequence[str]],
    address: Callable[[str, str], str],
    clock: Callable[[], float],
    new_error_id: Callable[[], str],
    wake: Callable[[], None],
    let_pass: Callable[[], None] = lambda: None,
    threads: int = 4,
) -> Front:
    """The answering side, put together. `address` makes a link to a message from its channel and timestamp."""
    queries = Queries(requests.store, address)
    asking = Asking(
        requests=requests, people=people, queries=queries, screens=screens, resolve=resolve,
        report=workshop.report, inverse=workshop.inverse, choices=choices, digests=digests,
    )  # fmt: skip
    clicking = Clicking(requests=requests, people=people, screens=screens, asking=asking)
    mentions = Mentions(requests=requests, queries=queries, asking=asking, clicking=clicking)
    return Front(
        store=requests.store, asking=asking, clicking=clicking, mentions=mentions,
        shortcuts=Shortcuts(queries=queries, asking=asking), clock=clock, new_error_id=new_error_id,
        wake=wake, let_pass=let_pass, threads=threads,
    )  # fmt: skip
