"""What somebody may ask for in a channel, and who would have to approve it: for `can-i`, the menu and the forms."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bot import grammar, messages
from bot.answers import help_note, refusal, wrong_words
from bot.grammar import GrammarError, HelpWanted, Incomplete
from bot.messages import Note
from bot.own import OWN
from bot.people import People, scope
from bot.policy import Decision, Needs, Person, Place
from handlers.contract import Json, Spoken

SOME = "only for some clusters or accounts"


@dataclass(frozen=True)
class Rights:
    """The policy's answers, before anything is asked for. `resolve` fills what was left out."""

    people: People
    resolve: Callable[[Json], Json]

    def of(self, person: Person, place: Place, operation: Spoken[Any]) -> tuple[str, Decision]:
        """What it takes to ask for this here, as far as that can be said before a cluster is named, and the decision;
        no words where this person may not ask for it at all."""
        about = scope(operation, self.resolve(dict.fromkeys(operation.arguments.model_fields)))
        decision = self.people.may_ask(person, place, about)
        if decision.allowed:
            return needed(decision.needs), decision
        return (SOME if self.people.may_ever_ask(person, place, about) else ""), decision

    def told(self, person: Person, place: Place, words: Sequence[str]) -> Note:
        """The answer to `can-i`, for one command or for everything."""
        if words:
            return self._of_command(person, place, words)
        bullets: list[str] = []
        for operation in self.people.operations.values():
            if operation.name not in OWN:
                needs, decision = self.of(person, place, operation)
                bullets.append(f"`{grammar.ROOT} {operation.name}`: {needs or ' '.join(('no.', *decision.reasons))}")
        more = "For one cluster or account other rules may hold: add the whole command."
        return Note(text=f"What you may ask for in this channel. {more}", bullets=tuple(bullets))

    def _of_command(self, person: Person, place: Place, words: Sequence[str]) -> Note:
        root, rest = (words[0], words[1:]) if words[0].startswith(grammar.ROOT) else (grammar.ROOT, words)
        try:
            wanted = grammar.parse(root, shlex.join(rest), self.people.operations)
        except Incomplete as error:
            operation, arguments = error.operation, dict(error.values)
        except GrammarError as error:
            return wrong_words(error)
        else:
            if isinstance(wanted, HelpWanted):
                return help_note(wanted)
            operation, arguments = wanted.operation, wanted.arguments.model_dump(mode="json")
        if operation.name in OWN:
            then = " What it asks for stands under the rules of the inverse operation." if operation.changes else ""
            return Note(text=f"Yes: every member of this workspace may use `{grammar.ROOT} {operation.name}`.{then}")
        known = dict.fromkeys(operation.arguments.model_fields)
        decision = self.people.may_ask(person, place, scope(operation, self.resolve({**known, **arguments})))
        if not decision.allowed:
            return refusal("No", decision)
        names, people, groups = messages.approvers(decision.needs) if decision.needs else ("", (), ())
        who = (f"Who can approve: {names}.",) if names else ()
        text = f"Yes, you may ask for this here: {needed(decision.needs)}."
        return Note(tone="good", text=text, bullets=(*decision.reasons, *who), people=people, groups=groups)


def needed(needs: Needs | None) -> str:
    """`needs 2 approvals`."""
    if needs is None or needs.approvals == 0:
        return "needs no approval"
    return f"needs {needs.approvals} approval{'s' * (needs.approvals != 1)}"
