"""Answers stored invocations: reads the words, asks who this is, asks the policy, and stores a request or a vote.

Runs in a bounded pool beside the listeners. Every answer is written in the transaction that marks the invocation as
done, so what was not answered when a process died is answered after the restart; what is too old by then is not
carried out, and its person is told so.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from pydantic import ValidationError

from bot import grammar, outgoing, tables
from bot.answers import NOTHING, help_note, refusal, sorry, wrong_words
from bot.directory import Directory
from bot.grammar import Command, GrammarError, HelpWanted
from bot.invocation import Invocation
from bot.ledger import Refused, finish_invocation
from bot.lifecycle import IllegalMove
from bot.messages import Note
from bot.policy import Decision, Person, Place, Question, Rule, Scope, Vote, decide
from bot.records import Draft, Request
from bot.requests import Requests
from bot.store import Store, StoreUnavailable
from bot.work import groups_of
from handlers.contract import Fatal, Json, Operation, Retry

log = logging.getLogger(__name__)
TOO_OLD = 15 * 60.0
TAKE_UP_AFTER = 20.0


class _UnknownVoter(Exception):
    """Somebody voted between our look at the voters and the lock on the request."""


@dataclass(kw_only=True)
class Front:
    """The answering side. `resolve` fills the arguments that were left out."""

    store: Store
    requests: Requests
    directory: Directory
    operations: Mapping[str, Operation[Any]]
    resolve: Callable[[Json], Json]
    rules: tuple[Rule, ...]
    clock: Callable[[], float]
    new_error_id: Callable[[], str]
    wake: Callable[[], None]
    let_pass: Callable[[], None] = lambda: None
    threads: int = 4

    def __post_init__(self) -> None:
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
        """Finishes what is under way."""
        for _ in self._workers:
            self._keys.put(None)
        for worker in self._workers:
            worker.join(timeout=5)

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
        while (key := self._keys.get()) is not None:
            self.let_pass()
            try:
                self.handle(key)
            except StoreUnavailable as error:  # it stays stored and is taken up again
                log.error("invocation %s waits: %s", key, error)
            finally:
                with self._lock:
                    self._in_hand.discard(key)

    # -- one invocation ------------------------------------------------------------------------------------------

    def handle(self, key: str) -> None:
        """Answers one stored invocation. The front pool's edge: every error becomes an answer."""
        row = self.store.read(
            lambda connection: connection.execute(
                sa.select(tables.invocations).where(tables.invocations.c.key == key)
            ).first()
        )
        if row is None or row.done_at is not None:
            return
        try:
            invocation = Invocation.model_validate(row.body)
        except ValidationError:  # another version's, or a poisoned row: nobody can be answered
            log.error("invocation %s cannot be read and is put aside", key)
            self.store.write(lambda connection: finish_invocation(connection, key, self.clock()))
            return
        if self.clock() - row.received_at > TOO_OLD:
            self._too_old(invocation)
            return
        try:
            answer = self._command(invocation) if invocation.kind == "command" else self._click(invocation)
        except StoreUnavailable:
            raise
        except (Refused, Retry, Fatal) as error:
            answer = sorry(error, invocation)
        except Exception:
            error_id = self.new_error_id()
            log.exception("error %s in %s", error_id, key)
            answer = Note(tone="bad", text=f"Something went wrong inside tkgbot (error `{error_id}`). {NOTHING}")
        if answer is not None:
            self._answer(invocation, answer)

    def _answer(self, invocation: Invocation, note: Note) -> None:
        def work(connection: sa.Connection) -> None:
            now = self.clock()
            if not finish_invocation(connection, invocation.key, now):
                return  # somebody else has answered meanwhile
            outgoing.whisper(
                connection, f"answer:{invocation.key}", invocation.channel, invocation.person,
                invocation.response_url, note, now,
            )  # fmt: skip

        self.store.write(work)
        self.wake()

    def _too_old(self, invocation: Invocation) -> None:
        what = f"`{invocation.command} {invocation.text}`" if invocation.kind == "command" else "your click"
        text = f"tkgbot was not running when {what} arrived, and too much time has passed. {NOTHING} Please try again."

        def work(connection: sa.Connection) -> None:
            now = self.clock()
            if finish_invocation(connection, invocation.key, now):
                note = Note(tone="warn", text=text)
                outgoing.direct(connection, f"late:{invocation.key}", invocation.person, note, now)

        self.store.write(work)
        self.wake()

    # -- commands ------------------------------------------------------------------------------------------------

    def _command(self, invocation: Invocation) -> Note | None:
        try:
            wanted = grammar.parse(invocation.command, invocation.text, self.operations)
        except GrammarError as error:
            return wrong_words(error)
        if isinstance(wanted, HelpWanted):
            return help_note(wanted)
        return self._ask(invocation, wanted)

    def _ask(self, invocation: Invocation, wanted: Command) -> Note | None:
        operation = wanted.operation
        arguments = self.resolve(wanted.arguments.model_dump(mode="json"))
        person, about = self._person(invocation), scope(operation, arguments)
        # Who may ask nowhere is told so, and not to invite the bot.
        place = self.directory.place(invocation.channel) if person.kind == "member" else Place(invocation.channel)
        decision = decide(self.rules, Question(deed="ask", person=person, place=place, scope=about))
        if not decision.allowed:
            return refusal("You may not ask for this", decision)
        self.requests.submit(
            Draft(
                invocation=invocation.key,
                operation=operation.name,
                arguments=arguments,
                command=grammar.render(operation, arguments),
                team=invocation.team,
                channel=invocation.channel,
                requester=invocation.person,
            )
        )
        return None

    # -- clicks --------------------------------------------------------------------------------------------------

    def _click(self, invocation: Invocation) -> Note | None:
        name, _, seal = invocation.value.partition(":")
        request = self.requests.get(name)
        if request is None or not self._is_its_card(invocation, request):
            return Note(tone="bad", text=f"This button does not belong to a request that tkgbot knows. {NOTHING}")
        try:
            if invocation.action in ("approve", "deny"):
                return self._vote(invocation, request, seal)
            return self._handle_run(invocation, request)
        except IllegalMove:
            raise Refused(f"Request `{request.id}` has just changed, so this was not done.") from None

    def _is_its_card(self, invocation: Invocation, request: Request) -> bool:
        """Only the card that we posted counts, whatever another message with the same button says."""
        box = tables.outbox.c
        ts = self.store.read(
            lambda connection: connection.scalar(sa.select(box.ts).where(box.key == f"{request.id}:card"))
        )
        return invocation.channel == request.channel and invocation.message_ts == ts

    def _vote(self, invocation: Invocation, request: Request, seal: str) -> Note | None:
        decision, question = self._may(invocation, request)
        if not decision.allowed:
            return refusal("Your click was not counted", decision)
        voters = {invocation.person: question.person}

        def filled(current: Request, votes: tuple[Vote, ...]) -> bool:
            if any(vote.person not in voters for vote in votes):
                raise _UnknownVoter
            asked = Question(
                deed="run", person=question.person, place=question.place, scope=question.scope,
                requester=question.requester, votes=votes, voters=voters,
            )  # fmt: skip
            return decide(self.rules, asked).allowed

        approve = invocation.action == "approve"
        for _ in range(20):
            for vote in self.requests.snapshot(request.id).votes:
                if vote.person not in voters:
                    voters[vote.person] = self.directory.person(vote.person, groups_of(self.rules))
            try:
                self.requests.vote(request.id, seal, invocation.person, approve, filled, invocation.key)
                return None
            except _UnknownVoter:
                continue
        raise Retry("Too many people voted at the same moment.")

    def _handle_run(self, invocation: Invocation, request: Request) -> Note | None:
        """Everything but votes: for the person who asked, or somebody who may approve it."""
        deeds = {
            "withdraw": self.requests.withdraw,
            "again": self.requests.look_again,
            "cancel": self.requests.cancel,
            "resume": self.requests.resume,
            "abandon": self.requests.abandon,
        }
        deed = deeds.get(invocation.action)
        if deed is None:
            return Note(tone="bad", text=f"tkgbot does not know this button. {NOTHING}")
        decision, question = self._may(invocation, request)
        asker = question.requester
        is_asker = asker is not None and asker.id == invocation.person
        if not decision.allowed and not (is_asker and self._may_ask(question)):
            return refusal("Your click was not counted", decision)
        deed(request.id, invocation.person, invocation.key)
        return None

    def _may(self, invocation: Invocation, request: Request) -> tuple[Decision, Question]:
        person = self._person(invocation)
        asker = person
        if request.requester != invocation.person:
            asker = self.directory.person(request.requester, groups_of(self.rules))
        question = Question(
            deed="approve",
            person=person,
            place=self.directory.place(request.channel),
            scope=scope(self.operations[request.operation], request.arguments),
            requester=asker,
        )
        return decide(self.rules, question), question

    def _may_ask(self, question: Question) -> bool:
        asked = Question(deed="ask", person=question.person, place=question.place, scope=question.scope)
        return decide(self.rules, asked).allowed

    def _person(self, invocation: Invocation) -> Person:
        return self.directory.person(
            invocation.person, groups_of(self.rules), invocation.person_team or invocation.team
        )


def scope(operation: Operation[Any], arguments: Mapping[str, Any]) -> Scope:
    """What a request touches, in the policy's words."""
    return Scope(
        operation=operation.name,
        changes=operation.changes,
        account=str(arguments.get("account") or ""),
        cluster=str(arguments.get("cluster") or ""),
    )
