"""Words to the bot in a channel, by mention: in a thread, slash commands do not work (docs.slack.dev/interactivity/
implementing-slash-commands). Nothing is approved or asked for by words in a message: only looked at, or stopped."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bot import grammar
from bot.answers import NOTHING, help_note, wrong_words
from bot.asking import STATUS, Answer, Asking, Said
from bot.clicking import Clicking
from bot.grammar import Command, GrammarError
from bot.invocation import Invocation
from bot.messages import Note
from bot.policy import WHY_NOT
from bot.queries import Queries
from bot.requests import Requests

WORDS = ("status", "logs", "log", "why", "cancel")
IN_THREAD = "In the thread of a request: `status`, `logs`, `why` and `cancel`."


@dataclass(frozen=True, kw_only=True)
class Mentions:
    """The answering of mentions."""

    requests: Requests
    queries: Queries
    asking: Asking
    clicking: Clicking

    def mention(self, invocation: Invocation) -> Answer:
        """A word about the thread's request, or a question that would be a command elsewhere."""
        said = grammar.normalise(invocation.text).split()
        word = said[0].lower() if said else ""
        request = self.queries.by_card(invocation.channel, invocation.thread) if invocation.thread else None
        if request is not None and len(said) == 1 and word in WORDS:
            return self._about(invocation, request, word)
        if word in WORDS and len(said) == 1 and not (word == STATUS and STATUS in self.asking.operations):
            return Note(tone="warn", text=f"`{word}` is for the thread of a request. {NOTHING}", bullets=(IN_THREAD,))
        return self._question(invocation)

    def _about(self, invocation: Invocation, request: str, word: str) -> Answer:
        person = self.asking.people.who(invocation)
        if person.kind != "member":
            return Note(tone="bad", text=f"{WHY_NOT[person.kind]} {NOTHING}")
        shot = self.queries.see(request, person, invocation.channel)
        if word == "cancel":
            cancel = invocation.model_copy(update={"action": "cancel"})
            return self.clicking.handle_run(cancel, shot.request)
        if word == "why":
            return self.asking.why(person, shot)
        note = self.queries.shown(shot) if word == "status" else self.queries.log(shot)
        shared = self.asking.people.place(person, invocation.channel).shared  # another organisation reads along
        return note if shared else Said(request, note)

    def _question(self, invocation: Invocation) -> Answer:
        """Anything that changes nothing; a change is asked for by command, where Slack completes and shows it."""
        try:
            wanted = grammar.parse(grammar.ROOT, invocation.text, self.asking.operations)
        except GrammarError as error:
            note = wrong_words(error)
            return note.model_copy(update={"bullets": (IN_THREAD, *note.bullets)})
        if not isinstance(wanted, Command):
            note = help_note(replace(wanted, bare=False))
            return note.model_copy(update={"bullets": (IN_THREAD, *note.bullets)})
        if wanted.operation.changes:
            command = f"{grammar.ROOT} {wanted.operation.name} …"
            text = f"A change is asked for by slash command, in the channel and not in a thread: `{command}`. {NOTHING}"
            return Note(tone="warn", text=text)
        return self.asking.ask(invocation, wanted)
