"""What planning and running do, step by step. Durable through `bot.engine`, which this module does not import.

Every durable step may be executed again after a crash, so each observes before it acts, and what it leaves behind is
written under the run's epoch: a process that lost its run cannot write any more. A durable step never raises for what
can happen in the world; it returns a verdict, which is remembered.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from bot import messages
from bot.directory import Directory
from bot.drift import differences, facts_moved
from bot.durable import Durable
from bot.ledger import Superseded
from bot.lifecycle import State, is_expired
from bot.logs import about
from bot.messages import Note
from bot.people import groups_of
from bot.policy import Needs, Question, Rule, Scope, decide
from bot.records import Request, Snapshot
from bot.requests import Requests
from bot.store import StoreUnavailable
from bot.waiting import Verdict, until
from handlers.contract import (
    Caller,
    Check,
    Fatal,
    Json,
    NeedsPerson,
    Observation,
    Offer,
    Outcome,
    Plan,
    Retry,
    UsageError,
    Workshop,
    fingerprint,
)

log = logging.getLogger(__name__)
Measured = Callable[[str, str, float], None]
"""Is told a name, how it ended, and the seconds that it took."""
SEAL_BROKEN = "Somebody may have changed the bot's database: tell the platform team before asking again."


@dataclass(frozen=True)
class Patience:
    """How long what passes is waited for (seconds)."""

    planning: float = 60.0
    step: float = 600.0
    settling: float = 120.0
    verifying: float = 60.0


@dataclass(frozen=True, kw_only=True)
class Work:
    """The two flows and what they need. `on_planned` and `on_stepped` are told an operation or a kind of step."""

    requests: Requests
    workshop: Workshop
    directory: Directory
    rules: tuple[Rule, ...]
    scope: Callable[[str, dict[str, Any]], Scope]
    new_error_id: Callable[[], str]
    patience: Patience = Patience()
    on_planned: Measured = lambda operation, outcome, seconds: None
    on_stepped: Measured = lambda step, outcome, seconds: None

    # -- planning ------------------------------------------------------------------------------------------------

    def plan(self, durable: Durable, request: str, number: int) -> None:
        """Plans attempt `number` of a request; gives up with a sentence when AWS stays out of reach."""
        with about(request=request):
            self._plan(durable, request, number)

    def _plan(self, durable: Durable, request: str, number: int) -> None:
        verdict = until(durable, "look", lambda: self._look(request, number), self.patience.planning)
        if "failed" in verdict or "after" in verdict:
            note = Note.model_validate(verdict.get("failed") or verdict["note"])
            passing = "after" in verdict
            durable.step(
                "give up", lambda: _stored(lambda: self.requests.plan_failed(request, number, note, passing=passing))
            )

    def _look(self, request: str, number: int) -> Verdict:
        began, planned = time.perf_counter(), ""

        def look() -> Verdict:
            nonlocal planned
            current = self.requests.get(request)
            if current is None or current.plan_no != number or current.state != State.PLANNING:
                return {}
            planned = current.operation
            plan = self.workshop.plan(current.operation, current.arguments, _caller(current))
            needs = self._needs(current)
            if isinstance(needs, Note):
                return {"failed": needs.model_dump(mode="json")}
            _stored(lambda: self.requests.planned(request, number, plan, needs))
            return {}

        verdict = self._guarded(look, "Nothing was changed.")
        if planned:
            self.on_planned(planned, _outcome(verdict), time.perf_counter() - began)
        return verdict

    def _needs(self, current: Request) -> Needs | Note:
        decision = decide(self.rules, self._question(current, "ask"))
        if decision.needs is None:
            text = "You may no longer ask for this. Nothing was changed."
            return Note(tone="bad", text=text, facts=decision.reasons)
        return decision.needs

    def _question(self, current: Request, deed: Literal["ask", "run"], shot: Snapshot | None = None) -> Question:
        groups = groups_of(self.rules)
        asker = self.directory.person(current.requester, groups)
        votes = shot.votes if shot else ()
        voters = {vote.person: self.directory.person(vote.person, groups) for vote in votes}
        return Question(
            deed=deed,
            person=asker,
            place=self.directory.place(current.channel),
            scope=self.scope(current.operation, current.arguments),
            requester=asker,
            votes=votes,
            voters=voters,
            time_box=current.is_time_box,
        )

    # -- running -------------------------------------------------------------------------------------------------

    def run(self, durable: Durable, request: str, number: int) -> None:
        """Carries out run `number`, or goes on with it."""
        with about(request=request):
            self._take(durable, request, number)

    def _take(self, durable: Durable, request: str, number: int) -> None:
        mine = _stored(lambda: self.requests.claim(request, number))
        if mine is None:
            return
        try:
            self._run(durable, mine)
        except Superseded:
            log.warning("run %s:%d was taken over by another process", request, number)
        except Exception:  # the outermost edge: a run never ends without a word
            log.exception("error %s", error_id := self.new_error_id())
            note = _defect(error_id, "What it had changed stays.")
            durable.step("stop", lambda: _stored(lambda: self.requests.end(mine, State.PARKED, lambda _shot: note)))

    def _run(self, durable: Durable, mine: Request) -> None:
        ready = until(durable, "begin", lambda: self._begin(mine), None)
        if "failed" in ready:
            self._end(durable, mine, State.FAILED, Note.model_validate(ready["failed"]))
        if not ready.get("go"):
            return
        plan = mine.planned
        for position in range(len(plan.steps)):
            if not self._carry_out(durable, mine, position):
                return
        proof = until(durable, "verify", lambda: self._verify(mine, plan), self.patience.verifying)
        if "proven" in proof:
            note, more = _success(mine.id, plan, proof["proven"])
            offered = durable.step("follow up", lambda: self._follow_up(mine, plan))
            self._end(durable, mine, State.SUCCEEDED, note, more, tuple(map(Offer.model_validate, offered)))
        else:
            self._end(durable, mine, State.FAILED, Note.model_validate(proof.get("failed") or proof["note"]))

    def _begin(self, mine: Request) -> Verdict:
        def begin() -> Verdict:
            current = self.requests.get(mine.id)
            if current is None or current.epoch != mine.epoch:
                raise Superseded(mine.id)
            if not self._is_sealed(mine):
                raise Fatal("The stored plan is not the one that was approved, so it was not carried out.", SEAL_BROKEN)
            if current.state == State.APPROVED:
                return self._begin_approved(current)
            if current.started_at is None:  # only a run that was begun is gone on with: its approval was checked then
                raise Fatal("The stored state says that this run began, and it never did.", SEAL_BROKEN)
            if current.state == State.CANCELLING:
                return {"go": True}  # nothing new is begun, so there is nothing to look at first
            return self._begin_again(current)

        return self._guarded(begin, "Nothing was changed by this run.", mine)

    def _is_sealed(self, mine: Request) -> bool:
        """True when what would be carried out is what every vote was given for."""
        seal = fingerprint(mine.operation, mine.arguments, mine.planned)
        if seal != mine.fingerprint:
            return False
        return bool(self.requests.snapshot(mine.id).votes) or (mine.is_time_box and mine.quorum.approvals == 0)

    def _begin_approved(self, current: Request) -> Verdict:
        if is_expired(current.state, current.deadline, self.requests.clock()):
            _stored(lambda: self.requests.expire_approval(current))
            return {}
        decision = decide(self.rules, self._question(current, "run", self.requests.snapshot(current.id)))
        if not decision.allowed:
            text = "The approval does not hold any more. Nothing was changed."
            return {"failed": Note(tone="bad", text=text, facts=decision.reasons).model_dump(mode="json")}
        if _stored(lambda: self.requests.lease(current)) is not None:
            return {}  # the release of what it waits for starts it
        now = self.workshop.plan(current.operation, current.arguments, _caller(current))
        if fingerprint(current.operation, current.arguments, now) != current.fingerprint:
            text = "Things are not as they were when approved, so the approval is void and nothing was changed."
            note = Note(tone="warn", text=text, facts=differences(current.planned, now))
            _stored(lambda: self.requests.drifted(current, note))
            return {}
        _stored(lambda: self.requests.start(current))
        return {"go": True}

    def _begin_again(self, current: Request) -> Verdict:
        """After a crash or a resume: the targets are still ours; what the steps do not change must be as approved."""
        _stored(lambda: self.requests.lease(current))
        now = self.workshop.plan(current.operation, current.arguments, _caller(current))
        moved = facts_moved(current.planned, now)
        if moved:
            text = "Things have changed in the middle of the run, so it was stopped before its next step."
            self._park(current, Note(tone="warn", text=text, facts=moved))
            return {}
        return {"go": True}

    def _carry_out(self, durable: Durable, mine: Request, position: int) -> bool:
        step = mine.planned.steps[position]
        stored = step.model_dump(mode="json")
        verdict = until(durable, f"act {position}", lambda: self._act(mine, position, stored), self.patience.step)
        if "outcome" in verdict:
            outcome = Outcome.model_validate(verdict["outcome"])
            verdict = until(
                durable, f"see {position}", lambda: self._see(mine, position, stored, outcome), self.patience.settling
            )
        if "done" in verdict:
            return True
        if "cancelled" in verdict:
            text = "Cancelled. The step in flight was let end first."
            self._end(durable, mine, State.CANCELLED, Note(tone="warn", text=text))
        elif "failed" in verdict:
            self._end(durable, mine, State.FAILED, Note.model_validate(verdict["failed"]))
        else:
            note = Note.model_validate(verdict.get("parked") or verdict["note"])
            durable.step("park", lambda: _stored(lambda: self._park(mine, note)))
        return False

    def _act(self, mine: Request, position: int, step: dict[str, Any]) -> Verdict:
        started = time.perf_counter()

        def act() -> Verdict:
            begun = _stored(lambda: self.requests.begin_step(mine, position))
            if begun == "cancelled":
                return self._cancelled(mine, position, step)
            if begun == "let go":
                return self._done_before(mine, step)
            outcome = self.workshop.act(step, _caller(mine, with_actions=True))
            changed = outcome.changed or begun == "again"  # an earlier try of this run, not somebody else, made it so
            return {"outcome": outcome.model_copy(update={"changed": changed}).model_dump(mode="json")}

        verdict = self._guarded(act, "", mine)
        self.on_stepped(str(step["kind"]), _outcome(verdict), time.perf_counter() - started)
        return verdict

    def _done_before(self, mine: Request, step: dict[str, Any]) -> Verdict:
        """A step that had ended, and whose targets may be somebody else's by now: it is looked at, and left alone."""
        seen = self.workshop.observe(step, _caller(mine, with_actions=True))
        if not seen.so and seen.patience is None:
            message = f"“{step['title']}” was done before, and is not so any more: {seen.evidence}"
            hint = "Somebody has changed it since, so it was left alone. Put it back and resume, or abandon this run."
            raise NeedsPerson(message, hint)
        return {"outcome": Outcome(changed=True, evidence=seen.evidence).model_dump(mode="json")}

    def _cancelled(self, mine: Request, position: int, step: dict[str, Any]) -> Verdict:
        """Nothing new is begun; a step that was in flight when a process died is looked at, so that the end is true."""
        begun = {record.position for record in self.requests.snapshot(mine.id).steps if record.ended_at is None}
        if position in begun:
            seen = self.workshop.observe(step, _caller(mine, with_actions=True))
            if seen.so:
                done = Outcome(changed=True, evidence=seen.evidence)
                _stored(lambda: self.requests.end_step(mine, position, done))
        return {"cancelled": True}

    def _see(self, mine: Request, position: int, step: dict[str, Any], outcome: Outcome) -> Verdict:
        def see() -> Verdict:
            seen = self.workshop.observe(step, _caller(mine, with_actions=True))
            if seen.reached or seen.exhibits:
                _stored(lambda: self.requests.reached(mine, seen.reached, seen.exhibits))
            if not seen.so and seen.patience is not None:
                return self._waits(mine, position, seen)
            if not seen.so:
                raise Retry(f"The change was accepted and cannot be seen yet: {seen.evidence}", after=0.5)
            done = Outcome(changed=outcome.changed, evidence=seen.evidence)
            _stored(lambda: self.requests.end_step(mine, position, done))
            return {"done": True}

        return self._guarded(see, "")

    def _waits(self, mine: Request, position: int, seen: Observation) -> Verdict:
        """Others are at work on what the step waits for. A cancel ends the waiting, not their work."""
        current = _stored(lambda: self.requests.get(mine.id))
        if current is not None and current.state == State.CANCELLING:
            return {"cancelled": True}
        if current is not None and current.epoch != mine.epoch:
            raise Superseded(mine.id)
        now = seen.evidence.partition(". ")[0].rstrip(".").replace("`", "'")  # advice is for when it stands still
        _stored(lambda: self.requests.explain(mine, Note(text=f"{now}.")))
        stood_still = f"Nothing has moved for too long. {seen.evidence}"
        note = Note(tone="bad", text=stood_still).model_dump(mode="json")
        return {"after": 0.5, "note": note, "progress": seen.progress, "patience": seen.patience}

    def _verify(self, mine: Request, plan: Plan) -> Verdict:
        def verify() -> Verdict:
            checks = self.workshop.verify(mine.operation, mine.arguments, plan, _caller(mine))
            wrong = [check for check in checks if check.result != "pass"]
            if wrong:
                raise Retry(
                    "The steps were carried out, and the proof that they worked failed: " + _listed(wrong), after=1.0
                )
            return {"proven": [check.evidence for check in checks]}

        return self._guarded(verify, "")

    def _follow_up(self, mine: Request, plan: Plan) -> list[Json]:
        """What may be asked for next. A run that was proven does not become anything else by this look."""
        try:
            offered = self.workshop.follow_up(mine.operation, mine.arguments, plan, _caller(mine))
        except (Retry, UsageError, Fatal) as error:
            log.warning("what may follow %s could not be looked for: %s", mine.id, error.message)
            return []
        except Exception:
            log.exception("error %s", self.new_error_id())
            return []
        return [offer.model_dump(mode="json") for offer in offered]

    # -- ends ----------------------------------------------------------------------------------------------------

    def _end(
        self,
        durable: Durable,
        mine: Request,
        state: State,
        note: Note,
        more: tuple[Note, ...] = (),
        offered: tuple[Offer, ...] = (),
    ) -> None:
        def end() -> None:
            _stored(lambda: self.requests.end(mine, state, _with_changes(note), more, offered))

        durable.step(f"end {state}", end)

    def _park(self, mine: Request, note: Note) -> None:
        text = f"{note.text} Somebody has to look: resume it when that is mended, or abandon it."
        parked = note.model_copy(update={"text": text, "tone": "warn"})
        self.requests.end(mine, State.PARKED, _with_changes(parked))

    def _guarded(self, work: Callable[[], Verdict], unchanged: str, mine: Request | None = None) -> Verdict:
        """The run loop's edge: turns every error into a verdict with a sentence for people. What is waited out in a run
        is said on its card meanwhile."""
        try:
            return work()
        except Superseded:
            raise
        except Retry as error:
            note = Note(tone="bad", text=f"{error.message} {unchanged}".strip(), bullets=_hints(error.hint))
            if mine is not None:
                waiting = Note(tone="warn", text=f"{error.message} {unchanged} It is being tried again.")
                _stored(lambda: self.requests.explain(mine, waiting))
            return {"after": error.after, "note": note.model_dump(mode="json")}
        except NeedsPerson as error:
            note = Note(tone="bad", text=error.message, bullets=_hints(error.hint))
            return {"parked": note.model_dump(mode="json")}
        except (UsageError, Fatal) as error:
            note = Note(tone="bad", text=f"{error.message} {unchanged}".strip(), bullets=_hints(error.hint))
            return {"failed": note.model_dump(mode="json")}
        except StoreUnavailable as error:
            log.error("the database does not answer: %s", error)
            note = Note(tone="bad", text="The bot's own database did not answer.")
            return {"after": 2.0, "note": note.model_dump(mode="json")}
        except Exception:
            log.exception("error %s", error_id := self.new_error_id())
            return {"failed": _defect(error_id, unchanged).model_dump(mode="json")}


def _outcome(verdict: Verdict) -> str:
    """How a try ended, in one word."""
    ends = {"after": "retried", "failed": "failed", "parked": "parked", "cancelled": "cancelled"}
    return next((word for key, word in ends.items() if key in verdict), "ok")


def _stored(work: Callable[[], Any]) -> Any:
    """Waits out a database that does not answer: what was done in the world must be written down."""
    while True:
        try:
            return work()
        except StoreUnavailable as error:
            log.error("waiting for the database: %s", error)
            time.sleep(1.0)


def _caller(current: Request, *, with_actions: bool = False) -> Caller:
    actions = tuple(a for step in current.planned.steps for a in step.actions) if with_actions else ()
    rights = tuple(r for step in current.planned.steps for r in step.rights) if with_actions else ()
    began = current.updated_at if with_actions else 0.0  # of a claimed request: the moment of the claim
    return Caller(request=current.id, person=current.requester, actions=actions, rights=rights, began=began)


def _with_changes(note: Note) -> Callable[[Snapshot], Note]:
    """Adds what was and was not changed, from the records, to every end that is not a plain success."""

    def finish(shot: Snapshot) -> Note:
        if note.tone == "good" or not shot.request.plan:
            return note
        return note.model_copy(update={"facts": (*note.facts, *shot.what_changed())})

    return finish


def _success(request: str, plan: Plan, proof: list[str]) -> tuple[Note, tuple[Note, ...]]:
    """The result, and the undo commands that do not fit into it: half a command must not be shown."""
    first, *rest = messages.chunks(plan.impact.undo.splitlines()) or [""]
    facts = (*proof, f"To undo it: the button, /tkg undo {request}, or by hand:") if first else tuple(proof)
    result = Note(tone="good", text=f"Done and proven: {plan.headline}.", facts=facts, code=first)
    return result, tuple(Note(text="To undo it, also:", code=part) for part in rest)


def _defect(error_id: str, unchanged: str) -> Note:
    """People get an id, the log has the trace."""
    text = f"Something went wrong inside tkgbot (error `{error_id}`). {unchanged} The log has the details."
    return Note(tone="bad", text=text)


def _listed(checks: list[Check]) -> str:
    return "; ".join(f"{check.title}: {check.evidence}" for check in checks)


def _hints(hint: str) -> tuple[str, ...]:
    return (hint,) if hint else ()
