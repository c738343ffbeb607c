"""What a button does: a vote, a form for the reason of a no, or a word to a run. The same by mention for `cancel`."""

from __future__ import annotations

from dataclasses import dataclass, replace

import sqlalchemy as sa

from bot import tables
from bot.answers import NOTHING, refusal
from bot.asking import LATE, Answer, Asking
from bot.forms import LONGEST_REASON
from bot.headline import readable_plan, what_of
from bot.invocation import Invocation
from bot.ledger import Refused
from bot.lifecycle import IllegalMove
from bot.messages import Note
from bot.people import People
from bot.policy import Person, Question, Vote, decide
from bot.queries import UNDER_WAY, may_vote
from bot.records import Request
from bot.requests import Requests
from bot.screens import DenyForm, Screens, TriggerExpired
from handlers.contract import Retry

DIGEST_BUTTONS = frozenset({"details", "snooze"})
STOPS = frozenset({"withdraw", "cancel", "abandon"})


class _UnknownVoter(Exception):
    """Somebody voted between our look at the voters and the lock on the request."""


@dataclass(frozen=True, kw_only=True)
class Clicking:
    """The answering of clicks."""

    requests: Requests
    people: People
    screens: Screens
    asking: Asking

    def click(self, invocation: Invocation) -> Answer:
        """A button of a card, or of the menu."""
        if invocation.action == "form":
            return self.asking.form(invocation)
        if invocation.action == "offer":
            return self.asking.offered(invocation)
        if invocation.action in DIGEST_BUTTONS:
            return self.asking.digest_button(invocation)
        name, _, seal = invocation.value.partition(":")
        request = self.requests.get(name)
        if request is None or not self._is_its_card(invocation, request):
            return Note(tone="bad", text=f"This button does not belong to a request that tkgbot knows. {NOTHING}")
        return self._moved(invocation, request, seal)

    def submitted(self, invocation: Invocation) -> Answer:
        """The reason of a no, from the form that the Deny button opened."""
        name, _, seal = invocation.value.partition(":")
        request = self.requests.get(name)
        if request is None:
            return Note(tone="bad", text=f"This form does not belong to a request that tkgbot knows. {NOTHING}")
        reason = str(next(iter(invocation.given.values()), "") or "").strip()[:LONGEST_REASON]
        return self._voted(invocation, request, seal, approve=False, reason=reason)

    def _moved(self, invocation: Invocation, request: Request, seal: str) -> Answer:
        try:
            if invocation.action == "approve":
                return self._vote(invocation, request, seal, approve=True)
            if invocation.action == "deny":
                return self._ask_why(invocation, request)
            if invocation.action == "undo":
                return self.asking.undo(invocation, request.id)
            return self.handle_run(invocation, request)
        except IllegalMove:
            raise Refused(f"Request `{request.id}` has just changed, so this was not done.") from None

    def _is_its_card(self, invocation: Invocation, request: Request) -> bool:
        """Only the card that we posted counts, whatever another message with the same button says."""
        box = tables.outbox.c
        ts = self.requests.store.read(
            lambda connection: connection.scalar(sa.select(box.ts).where(box.key == f"{request.id}:card"))
        )
        return invocation.channel == request.channel and invocation.message_ts == ts

    # -- votes ---------------------------------------------------------------------------------------------------

    def _ask_why(self, invocation: Invocation, request: Request) -> Answer:
        """Whoever may not deny, or comes too late, is told so before they write a reason."""
        decision, _question = self.people.may_approve(self.people.who(invocation), request)
        if not decision.allowed:
            return refusal("Your click was not counted", decision)
        self.requests.check_votable(request.id, invocation.value.partition(":")[2], invocation.person)
        headline = f"{request.id}: {what_of(request, readable_plan(request))}"
        try:
            self.screens.open(invocation.trigger, DenyForm(request.channel, invocation.value, headline))
        except TriggerExpired:
            return Note(tone="warn", text=f"{LATE} {NOTHING} Please click “Deny” again.")
        self.requests.answered(invocation.key)
        return None

    def _voted(self, invocation: Invocation, request: Request, seal: str, *, approve: bool, reason: str) -> Answer:
        try:
            return self._vote(invocation, request, seal, approve=approve, reason=reason)
        except IllegalMove:
            raise Refused(f"Request `{request.id}` has just changed, so this was not done.") from None

    def _vote(self, invocation: Invocation, request: Request, seal: str, *, approve: bool, reason: str = "") -> Answer:
        decision, question = self.people.may_approve(self.people.who(invocation), request)
        if not decision.allowed:
            return refusal("Your click was not counted", decision)
        voters = {invocation.person: question.person}

        def filled(current: Request, votes: tuple[Vote, ...]) -> bool:
            if any(vote.person not in voters for vote in votes):
                raise _UnknownVoter
            asked = replace(question, deed="run", votes=votes, voters=voters)
            return decide(self.people.rules, asked).allowed

        for _ in range(20):
            for vote in self.requests.snapshot(request.id).votes:
                if vote.person not in voters:
                    voters[vote.person] = self.people.person(vote.person)
            try:
                self.requests.vote(request.id, seal, invocation.person, approve, filled, invocation.key, reason=reason)
                return None
            except _UnknownVoter:
                continue
        raise Retry("Too many people voted at the same moment.")

    # -- runs ----------------------------------------------------------------------------------------------------

    def handle_run(self, invocation: Invocation, request: Request) -> Answer:
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
        person = self.people.who(invocation)
        if not (invocation.action in STOPS and _may_stop(request, person)):
            decision, question = self.people.may_approve(person, request)
            is_asker = request.requester == person.id
            if not decision.allowed and not (is_asker and self._may_ask(question)):
                return refusal("Your click was not counted", decision)
            if invocation.action == "resume" and request.state in UNDER_WAY:
                self._check_approvals(request, question, by_approver=decision.allowed)
        deed(request.id, invocation.person, invocation.key)
        return None

    def _may_ask(self, question: Question) -> bool:
        return self.people.may_ask(question.person, question.place, question.scope).allowed

    def _check_approvals(self, request: Request, question: Question, *, by_approver: bool) -> None:
        """A parked run may have waited long. Its approvals must still be worth something: those who gave them are asked
        after again, and when the plan is older than a request may wait, somebody who may approve has to resume it."""
        shot = self.requests.snapshot(request.id)
        voters = {vote.person: self.people.person(vote.person) for vote in shot.votes}
        asked = replace(question, deed="run", votes=shot.votes, voters=voters)
        decision = decide(self.people.rules, asked)
        if not decision.allowed:
            reasons = " ".join(decision.reasons)
            raise Refused(f"The approvals of this run do not hold any more. {reasons}", "Abandon it and ask anew.")
        if not by_approver and self.requests.clock() - request.updated_at > request.quorum.request_ttl:
            raise Refused("This run has been parked for long, so somebody who may approve it has to resume it.")


def _may_stop(request: Request, person: Person) -> bool:
    """Stopping changes nothing, so it stays possible when the one who asked has left, or the channel is shared now: a
    parked run keeps its targets until somebody abandons it. For the one who asked, and whom the plan's needs name."""
    return person.kind == "member" and (person.id == request.requester or may_vote(request, person))
