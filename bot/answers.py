"""What somebody is told who asked or clicked: help, mistakes, refusals. Pure."""

from __future__ import annotations

from bot import grammar, messages
from bot.directory import NotInChannel
from bot.fields import explanations, usage
from bot.grammar import GrammarError, HelpWanted
from bot.invocation import Invocation
from bot.ledger import Refused
from bot.messages import Note
from bot.policy import Decision
from handlers.contract import Fatal, Retry, UsageError

NOTHING = "Nothing was done."


def wrong_words(error: GrammarError) -> Note:
    """The exact token, the reason, and a command to copy."""
    text = f"`{_quotable(error.token)}` {error.reason}. {NOTHING}"
    return Note(tone="bad", text=text, bullets=("Try this:",), code=error.corrected)


def help_note(wanted: HelpWanted) -> Note:
    """What there is, with examples to copy."""
    if len(wanted.operations) == 1 and not wanted.whole:
        operation = wanted.operations[0]
        bullets = tuple(f"`{name}` {text}" for name, text in explanations(operation))
        examples = "\n".join(f"{grammar.ROOT} {example}" for example in operation.examples)
        return Note(text=f"{operation.summary}. `{usage(operation, grammar.ROOT)}`", bullets=bullets, code=examples)
    lines = tuple(f"`{grammar.ROOT} {op.name}` {op.summary}" for op in wanted.operations)
    examples = "\n".join(f"{grammar.ROOT} {op.examples[0]}" for op in wanted.operations)
    more = f"More: `{grammar.ROOT} help {wanted.operations[0].name}`."
    return Note(
        text=f"tkgbot shows a plan first and changes nothing before it is approved. {more}",
        bullets=lines,
        code=examples,
    )


def _quotable(token: str) -> str:
    return token.replace("`", "'").replace("\n", " ")[:80]


def refusal(text: str, decision: Decision) -> Note:
    """The policy's no: its reasons, and who can."""
    if decision.needs is None:
        return Note(tone="bad", text=f"{text}. {NOTHING}", bullets=decision.reasons)
    names, people, groups = messages.approvers(decision.needs)
    bullets = (*decision.reasons, f"Who can: {names}.")
    return Note(tone="bad", text=f"{text}. {NOTHING}", bullets=bullets, people=people, groups=groups)


def sorry(error: Refused | Retry | Fatal | UsageError, invocation: Invocation) -> Note:
    """What stopped it, that nothing was done, and the way on."""
    if isinstance(error, Refused):
        text = f"{error} {NOTHING} {error.then}".strip()
        return Note(tone="warn", text=text, people=tuple(_mentions(text)))
    if isinstance(error, NotInChannel) and invocation.kind == "click":
        text = f"tkgbot is not in this channel any more. {NOTHING} Invite it, and click again:"
        return Note(tone="bad", text=text, code="/invite @tkgbot")
    if isinstance(error, NotInChannel):
        typed = error.hint or f"{invocation.command} {invocation.text}".strip()
        where = "this channel" if invocation.response_url else f"the channel {invocation.channel}"
        text = f"tkgbot is not in {where}, so it could not post the plan there. {NOTHING} Invite it, and ask again:"
        return Note(tone="bad", text=text, code=f"/invite @tkgbot\n{typed}".strip())
    if isinstance(error, UsageError):
        return Note(tone="bad", text=f"{error.message} {NOTHING}", bullets=(error.hint,) if error.hint else ())
    if error.hint:
        return Note(tone="bad", text=f"{error.message} {NOTHING}", bullets=(error.hint,))
    return Note(tone="bad", text=f"{error.message} {NOTHING} Please try again in a minute.")


def _mentions(text: str) -> list[str]:
    return [part.split(">")[0] for part in text.split("<@")[1:]]
