"""What is asked for in words or by form: a change becomes a request, a report is looked up, the rest is answered.

Nothing here waits for AWS: a report is handed back as work to be done elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import sqlalchemy as sa
from pydantic import ValidationError

from bot import forms, grammar, messages, offers
from bot.answers import NOTHING, help_note, refusal, sorry, wrong_words
from bot.digesting import Digesting
from bot.directory import NotInChannel
from bot.grammar import Command, GrammarError, HelpWanted, Incomplete
from bot.invocation import Invocation
from bot.ledger import Refused
from bot.lifecycle import UNDOABLE, State
from bot.messages import Note
from bot.own import OWN, AnyWords, DigestWords, OneRequest, WhichRequests
from bot.people import People, scope
from bot.policy import WHY_NOT, Person, Scope
from bot.queries import Queries
from bot.records import Draft, Snapshot
from bot.requests import Requests
from bot.rights import Rights
from bot.screens import AskForm, Entry, Menu, Screen, Screens, TriggerExpired, Words
from handlers.contract import (
    Arguments,
    Caller,
    Fatal,
    Inverse,
    Json,
    Operation,
    Plan,
    Report,
    ReportOperation,
    Retry,
    Spoken,
)

STATUS = "status"
"""The report that the chat side adds to: what waits, and what changed."""
LATE = "Slack gives three seconds to open a form, and they were over."


@dataclass(frozen=True)
class Later:
    """An answer that takes a look at AWS: worked out away from the front's own threads."""

    look: Callable[[], tuple[Note, ...]]


@dataclass(frozen=True)
class Said:
    """An answer for everybody in the thread of a request."""

    request: str
    note: Note


Answer = Note | Later | Said | None
"""None when the answer was written with what was stored."""


@dataclass(frozen=True, kw_only=True)
class Asking:
    """Everything that can be asked. `resolve` fills what was left out; `choices` are known words for form fields;
    `report` and `inverse` are the workshop's."""

    requests: Requests
    people: People
    queries: Queries
    screens: Screens
    resolve: Callable[[Json], Json]
    report: Callable[[str, Json, Caller], Report]
    inverse: Callable[[str, Json, Plan, Sequence[int]], Inverse | None]
    choices: Mapping[str, Sequence[str]]
    digests: Digesting

    @property
    def rights(self) -> Rights:
        """What somebody may ask for."""
        return Rights(self.people, self.resolve)

    @property
    def operations(self) -> Mapping[str, Spoken[Any]]:
        """Everything that has words."""
        return self.people.operations

    # -- words ---------------------------------------------------------------------------------------------------

    def command(self, invocation: Invocation) -> Answer:
        """A slash command."""
        try:
            wanted = grammar.parse(invocation.command, invocation.text, self.operations)
        except Incomplete as error:
            return self._open_form(invocation, error)
        except GrammarError as error:
            return wrong_words(error)
        if isinstance(wanted, HelpWanted):
            return self._open_menu(invocation, wanted) if wanted.bare else help_note(wanted)
        return self.ask(invocation, wanted)

    def ask(self, invocation: Invocation, wanted: Command, *, by_form: bool = False, offer: str = "") -> Answer:
        """One complete wish; `offer` is what was clicked for it."""
        if wanted.operation.name in OWN:
            return self._own(invocation, wanted, by_form=by_form)
        operation = wanted.operation
        arguments = self.resolve(wanted.arguments.model_dump(mode="json"))
        person = self.people.who(invocation)
        try:
            place = self.people.place(person, invocation.channel)
        except NotInChannel as error:  # what was filled in comes back as a command to copy
            raise NotInChannel(error.message, grammar.render(operation, arguments) if by_form else "") from error
        decision = self.people.may_ask(person, place, scope(operation, arguments))
        if not decision.allowed:
            return refusal("You may not ask for this", decision)
        if operation.name == STATUS:
            return self.status(invocation, person, arguments)
        if isinstance(operation, ReportOperation):
            caller = Caller(request="report", person=invocation.person)
            return Later(lambda: messages.reported(self.report(operation.name, arguments, caller)))
        if forms.typed_again(operation) and not by_form:
            return self._type_again(invocation, operation, arguments, offer=offer)
        self._submit(invocation, operation, arguments, by_form=by_form, offer=offer)
        return None

    def _type_again(
        self, invocation: Invocation, operation: Spoken[Any], arguments: Json, *, undoes: str = "", offer: str = ""
    ) -> Answer:
        """What cannot be taken back is asked for in a form, in which its name is typed once more."""
        what = forms.typed_again(operation).replace("_", " ")
        text = f"`{operation.name}` cannot be undone, so the name of the {what} has to be typed again in a form."
        command = grammar.render(operation, arguments)
        late = Note(tone="warn", text=f"{text} {LATE} {NOTHING} Please try again:", code=command)
        form = self._form(invocation.channel, operation, arguments)
        if form is None or not invocation.trigger:
            here = "Type the command in the channel, not in a thread; then the form opens:"
            return late.model_copy(update={"text": f"{text} {NOTHING} {here}"})
        screen = replace(form, undoes=undoes, offer=offer)
        return self.open(invocation, lambda _person: screen, late)

    def _submit(
        self,
        invocation: Invocation,
        operation: Spoken[Any],
        arguments: Json,
        *,
        by_form: bool = False,
        undoes: str | None = None,
        offer: str = "",
    ) -> str:
        command = grammar.render(operation, arguments)
        draft = Draft(
            invocation=invocation.key,
            operation=operation.name,
            arguments=arguments,
            command=command,
            team=invocation.team,
            channel=invocation.channel,
            requester=invocation.person,
            undoes=undoes,
        )
        typed = f"{grammar.ROOT} undo {undoes}" if undoes else command
        return self.requests.submit(draft, messages.asked_by_form(typed) if by_form else None, offer=offer)

    # -- forms ---------------------------------------------------------------------------------------------------

    def _open_form(self, invocation: Invocation, error: Incomplete) -> Answer:
        """The form of a command that lacks arguments; the mistake in words where no form can be shown."""
        screen, late = self._form(invocation.channel, error.operation, error.values), wrong_words(error)
        if screen is None or not invocation.trigger:
            return late
        screen = replace(screen, summary=f"{screen.summary} {error.token} {error.reason}.")
        late = late.model_copy(update={"text": f"{late.text} {LATE}"})
        return self.open(invocation, partial(self._if_allowed, invocation, error.operation, screen), late)

    def form(self, invocation: Invocation) -> Answer:
        """A button of the menu: its form takes the menu's place."""
        operation = self.operations.get(invocation.value)
        screen = None if operation is None else self._form(invocation.channel, operation, {})
        if operation is None or screen is None or not invocation.view:
            return Note(tone="bad", text=f"tkgbot does not know this form. {NOTHING} Type /tkg for a new menu.")
        return self._show(invocation, invocation.view, partial(self._if_allowed, invocation, operation, screen))

    def _form(self, channel: str, operation: Spoken[Any], values: Mapping[str, Any]) -> AskForm | None:
        """With what was typed, and the default of a choice. What follows from a choice is left out, because the choice
        may be changed: another account has another region."""
        typed = {name: values.get(name) for name in operation.arguments.model_fields}
        resolved = self.resolve(typed) if operation.name not in OWN else typed
        filled = {name: resolved[name] if name in self.choices else value for name, value in typed.items()}
        fields = forms.fields_of(operation, filled, self.choices)
        if not all(isinstance(field.value, bool) or len(field.value) <= forms.LONGEST_VALUE for field in fields):
            return None
        submit = "Show the plan" if operation.changes else "Show"
        summary = f"{operation.summary}."
        return AskForm(channel=channel, operation=operation.name, summary=summary, fields=fields, submit=submit)

    def _if_allowed(self, invocation: Invocation, operation: Spoken[Any], screen: AskForm, person: Person) -> Screen:
        """Who may not ask for this here, whatever they fill in, need not fill it in."""
        if operation.name in OWN:
            return screen
        place = self.people.place(person, invocation.channel)
        needs, decision = self.rights.of(person, place, operation)
        return screen if needs else Words("Not for you", (refusal("You may not ask for this here", decision),))

    def open(self, invocation: Invocation, make: Callable[[Person], Screen], late: Note) -> Answer:
        """A modal, at once: a trigger lives three seconds, and who somebody is takes a while."""
        looking = Note(text="One moment: Slack is asked who you are, and the policy what you may do here.")
        try:
            view = self.screens.open(invocation.trigger, Words("tkgbot", (looking,)))
        except TriggerExpired:
            return late
        return self._show(invocation, view, make)

    def _show(self, invocation: Invocation, view: str, make: Callable[[Person], Screen]) -> Answer:
        """Shows in an open modal what is for this person: forms and menus name accounts and clusters, which are not for
        everybody who can type a command."""
        try:
            person = self.people.who(invocation)
            screen = make(person) if person.kind == "member" else Words("Not for you", (_not_for(person),))
        except (Refused, Retry, Fatal) as error:
            screen = Words("tkgbot", (sorry(error, invocation),))
        self.screens.replace(view, screen)
        self.requests.answered(invocation.key)
        return None

    def submitted(self, invocation: Invocation) -> Answer:
        """A form that was filled in. It was read before; what another version made of it may still be wrong."""
        operation = self.operations.get(invocation.value)
        if operation is None:
            return Note(tone="bad", text=f"tkgbot does not know this form any more. {NOTHING} Type /tkg for a new one.")
        arguments = forms.read(operation, invocation.given)
        if not isinstance(arguments, Arguments):
            wrong = "; ".join(f"{name}: {text}" for name, text in arguments.items())
            return Note(tone="bad", text=f"The form could not be read. {NOTHING}", facts=(wrong,))
        if invocation.undoes:
            return self._undo_by_form(invocation, operation, arguments)
        offer = invocation.offer if self._is_offered(invocation, operation, arguments) else ""
        return self.ask(invocation, Command(operation, arguments), by_form=True, offer=offer)

    def _undo_by_form(self, invocation: Invocation, operation: Spoken[Any], arguments: Arguments) -> Answer:
        """An undo that had to be typed again: only exactly what takes the run back."""
        person = self.people.who(invocation)
        if person.kind != "member":
            return _not_for(person)
        shot = self.queries.see(invocation.undoes, person, invocation.channel)
        return self._undo(invocation, person, shot, typed=(operation.name, arguments.model_dump(mode="json")))

    # -- offers --------------------------------------------------------------------------------------------------

    def offered(self, invocation: Invocation) -> Answer:
        """A button under one of our messages: what it stands for, asked for by who clicked."""
        row = self.requests.store.read(lambda connection: self._offer_of(connection, invocation))
        operation = self.operations.get(row.operation) if row is not None else None
        if row is None or operation is None:
            return Note(tone="bad", text=f"This button does not belong to an offer that tkgbot knows. {NOTHING}")
        try:
            arguments = operation.arguments.model_validate(row.arguments)
        except ValidationError:
            return Note(tone="bad", text=f"This offer is of another version of tkgbot. {NOTHING} Type the command.")
        return self.ask(invocation, Command(operation, arguments), offer=row.id)

    def _offer_of(self, connection: sa.Connection, invocation: Invocation) -> sa.Row[Any] | None:
        """Only under the message that we posted."""
        row = offers.find(connection, invocation.value)
        if row is None or offers.stands_at(connection, row.message) != (invocation.channel, invocation.message_ts):
            return None
        return row

    def _is_offered(self, invocation: Invocation, operation: Spoken[Any], arguments: Arguments) -> bool:
        """Whether a form still says what was offered."""
        if not invocation.offer:
            return False
        row = self.requests.store.read(lambda connection: offers.find(connection, invocation.offer))
        if row is None or row.operation != operation.name:
            return False
        return self.resolve(row.arguments) == self.resolve(arguments.model_dump(mode="json"))

    # -- how it stands -------------------------------------------------------------------------------------------

    def digest_button(self, invocation: Invocation) -> Answer:
        """A button of a digest: for who may see the status here."""
        person = self.people.who(invocation)
        place = self.people.place(person, invocation.channel)
        decision = self.people.may_ask(person, place, Scope(operation=STATUS, changes=False))
        if not decision.allowed:
            return refusal("Your click was not counted", decision)
        answer = self.digests.button(invocation)
        return Later(lambda: answer) if isinstance(answer, tuple) else answer

    def status(self, invocation: Invocation, person: Person, arguments: Json) -> Answer:
        """The same as a digest, now, for one person."""
        caller, channel = Caller(request="status", person=person.id), invocation.channel
        return Later(lambda: self.digests.status(arguments, caller, channel))

    # -- the menu ------------------------------------------------------------------------------------------------

    def _open_menu(self, invocation: Invocation, wanted: HelpWanted) -> Answer:
        if not invocation.trigger:
            return help_note(wanted)
        return self.open(invocation, partial(self._menu, invocation, wanted), help_note(wanted))

    def _menu(self, invocation: Invocation, wanted: HelpWanted, person: Person) -> Screen:
        place = self.people.place(person, invocation.channel)
        entries: list[Entry] = []
        refused: list[str] = []
        sees = self.people.may_ask(person, place, Scope(operation=STATUS, changes=False)).allowed
        for operation in wanted.operations:
            if issubclass(operation.arguments, DigestWords) and not sees:
                continue
            needs, decision = self.rights.of(person, place, operation)
            if needs or operation.name in OWN:
                entries.append(_entry(operation, needs))
            else:
                refused += decision.reasons
        lists = [self.queries.listed(which, person, invocation.channel) for which in ("waiting", "mine")]
        notes = [note for note in lists if note.bullets]
        if refused and not any(self.operations[entry.operation].changes for entry in entries if entry.needs):
            notes.append(Note(text="You may ask for no change in this channel:", bullets=tuple(dict.fromkeys(refused))))
        return Menu(invocation.channel, tuple(entries), tuple(notes))

    # -- the bot's own words -------------------------------------------------------------------------------------

    def _own(self, invocation: Invocation, wanted: Command, *, by_form: bool) -> Answer:
        person = self.people.who(invocation)
        if person.kind != "member":
            return _not_for(person)
        given, channel = wanted.arguments, invocation.channel
        if isinstance(given, WhichRequests):
            return self.queries.listed(given.which, person, channel)
        if isinstance(given, AnyWords):
            return self.rights.told(person, self.people.place(person, channel), given.words)
        if isinstance(given, DigestWords):
            place = self.people.place(person, channel)
            decision = self.people.may_ask(person, place, Scope(operation=STATUS, changes=False))
            if not decision.allowed:
                return refusal("You may not ask for this here", decision)
            return self.digests.answer(invocation, wanted.operation.name, given)
        assert isinstance(given, OneRequest)
        shot = self.queries.see(given.request, person, channel)
        if wanted.operation.name == "undo":
            return self._undo(invocation, person, shot, by_form=by_form)
        if wanted.operation.name == "why":
            return self.why(person, shot)
        return self.queries.shown(shot)

    def why(self, person: Person, shot: Snapshot) -> Note:
        """Why a request stands where it stands. Who may approve it matters only while it waits."""
        waits = shot.request.state == State.AWAITING
        return self.queries.why(shot, self.people.may_approve(person, shot.request)[0] if waits else None)

    # -- undo ----------------------------------------------------------------------------------------------------

    def undo(self, invocation: Invocation, request: str) -> Answer:
        """The button on a card."""
        person = self.people.who(invocation)
        return self._undo(invocation, person, self.queries.see(request, person, invocation.channel))

    def _undo(
        self,
        invocation: Invocation,
        person: Person,
        shot: Snapshot,
        *,
        by_form: bool = False,
        typed: tuple[str, Json] | None = None,
    ) -> Answer:
        """A new request for what takes back what a run changed, under the rules of that operation. `typed` is what came
        back from the form in which a name was typed again."""
        request = shot.request
        if request.state not in UNDOABLE and request.state != State.PARKED:
            raise Refused(f"`{request.id}` has no run that has ended, so there is nothing to undo.")
        if request.state == State.PARKED and request.requester != person.id:  # an undo gives the parked run up
            decision = self.people.may_approve(person, request)[0]
            if not decision.allowed:
                return refusal("Your click was not counted", decision)
        touched = shot.touched()
        if not touched:
            raise Refused(f"`{request.id}` changed nothing, so there is nothing to undo.")
        inverse = self.inverse(request.operation, request.arguments, request.planned, touched)
        operation = self.operations.get(inverse.operation) if inverse else None
        if inverse is None or not isinstance(operation, Operation):
            raise Refused(f"What `{request.id}` changed cannot be taken back by tkgbot.")
        arguments = self.resolve(operation.arguments.model_validate(inverse.arguments).model_dump(mode="json"))
        place = self.people.place(person, invocation.channel)
        decision = self.people.may_ask(person, place, scope(operation, arguments))
        if not decision.allowed:
            return refusal("You may not ask for what would undo this", decision)
        if typed is not None and (typed[0], self.resolve(typed[1])) != (operation.name, arguments):
            raise Refused(f"The form does not say any more what takes `{request.id}` back.", "Click Undo again.")
        if forms.typed_again(operation) and typed is None:
            return self._type_again(invocation, operation, arguments, undoes=request.id)
        self._submit(invocation, operation, arguments, by_form=by_form or typed is not None, undoes=request.id)
        return None


def _entry(operation: Spoken[Any], needs: str) -> Entry:
    own = operation.name in OWN
    example = f"{grammar.ROOT} {operation.examples[0]}"
    return Entry(operation.name, operation.summary, example, "" if own else needs, has_form=operation.name != "can-i")


def _not_for(person: Person) -> Note:
    return Note(tone="bad", text=f"{WHY_NOT[person.kind]} {NOTHING}")
