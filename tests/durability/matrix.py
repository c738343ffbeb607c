"""A matrix of deaths: where to strike in a life, how its end may differ, and every case played in one of the worlds."""

from __future__ import annotations

import signal
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from itertools import zip_longest
from queue import Empty, SimpleQueue
from typing import Any

from bot.asking import LATE
from tests.durability.clusterlife import COMMAND, Before, Left
from tests.durability.keeper import ALL, Keeper, Moment
from tests.processes import run
from tests.world import AUDIT_KEY, World

TRIES = 4
"""How often a moment is tried to be struck."""
OFTEN = 4
"""So many moments of one label are struck, and so many of sending, evenly from the first to the last."""
SENDING = {"outbox", "audit"}
"""Tables of commits that only say what was sent or sealed: they count as Slack calls."""
MARKS = "✅⚠@❌🔴"
"""What a line of the thread begins with that is not about something reached on the way."""
KINDS = {
    "commit": "commits",
    "kube": "changes in Kubernetes",
    "aws": "AWS calls",
    "poll": "polls",
    "slack": "Slack calls",
}
Databases = Callable[[], str | None]
"""Makes an empty database for a bot; None stands for a file of its own."""


@dataclass(frozen=True)
class Life:
    """One request from the question to its end: what it left, its moments, and how the bot died in it."""

    seen: Left
    moments: list[list[Any]]
    codes: list[int]

    @property
    def struck(self) -> bool:
        """Whether the bot was killed where it was ordered."""
        return any(moment[4] for moment in self.moments)


def begin(keeper: Keeper, kill: Moment | None) -> Before:
    """From the next delivery on, moments are counted."""
    keeper.codes.clear()
    keeper.order(kill)
    return Before.of(keeper.world)


# -- moments -----------------------------------------------------------------------------------------------------


def moments_of(
    moments: Sequence[Sequence[Any]],
    changing: Collection[str],
    *,
    often: int = OFTEN,
    sends: int = OFTEN,
    looks: int = 0,
    since: str = "",
) -> list[tuple[str, Moment]]:
    """Where to strike, with the kind: each moment by its label and its number among that label's, because the number of
    looks at what comes up differs from life to life. So many of each label as `often` says, of sending as `sends`.
    `changing` are AWS's calls that change something; of each other so many as `looks`. With `since`, from the first
    moment of that kind on.

    After one change and before the next is one moment, not two: in between nothing happens that lasts."""
    counts: Counter[tuple[str, str]] = Counter()
    own: list[tuple[str, Moment]] = []
    sent: list[tuple[str, Moment]] = []
    looked: list[tuple[str, Moment]] = []
    began = not since
    for kind, _, when, label, _ in moments:
        counts[label, when] += 1
        began = began or kind == since
        moment = (label, counts[label, when], when)
        if kind == "aws" and label not in changing:
            looked.append(("look", moment))
        elif began and (kind == "slack" or label in SENDING):
            sent.append(("slack", moment))
        elif began or kind == "aws":
            own.append((kind, moment))
    gaps = [one for one, after in zip_longest(own, own[1:]) if not (after and one[1][2] == "after" != after[1][2])]
    return [*_of_each_label(gaps, often), *_of_each_label(looked, looks), *spread(sent, sends)]


def _of_each_label(entries: Sequence[tuple[str, Moment]], count: int) -> list[tuple[str, Moment]]:
    by_label: dict[str, list[tuple[str, Moment]]] = defaultdict(list)
    for one in entries:
        by_label[one[1][0]].append(one)
    return [one for found in by_label.values() for one in spread(found, count)]


def chosen(every: Sequence[tuple[str, Moment]], few: dict[str, int]) -> list[Moment]:
    """All of them with TKGBOT_ALL_KILLS; else of each kind so many as `few` says."""
    if ALL:
        return [moment for _, moment in every]
    kinds = {kind: [one for one in every if one[0] == kind] for kind in few}
    return [moment for kind, entries in kinds.items() for _, moment in inner(entries, few[kind])]


def spread(entries: list[Any], count: int) -> list[Any]:
    """So many of them, the first and the last included."""
    if len(entries) <= count:
        return entries
    return [entries[index * (len(entries) - 1) // max(count - 1, 1)] for index in range(count)]


def inner(entries: list[Any], count: int) -> list[Any]:
    """So many of them, evenly from within."""
    count = min(count, len(entries))
    return [entries[(2 * index + 1) * len(entries) // (2 * count)] for index in range(count)]


def counted(lives: Sequence[Life]) -> str:
    """How many moments of each kind there were."""
    kinds = Counter(moment[0] for life in lives for moment in life.moments if moment[2] == "before")
    return ", ".join(f"{text} {kinds[kind]}" for kind, text in KINDS.items() if kind in kinds)


# -- the ends ----------------------------------------------------------------------------------------------------


def differences(life: Life, calm: Life, kill: Moment | None, perhaps: Collection[str] = ()) -> list[str]:
    """How a disturbed life's end differs from that of an undisturbed one, but for what cannot be helped. `perhaps` are
    lines of the thread that nobody waits for: the run may be over before."""
    seen, found = life.seen, []
    for name in (one.name for one in fields(seen) if one.name not in ("thread", "others", "whispers")):
        if getattr(seen, name) != getattr(calm.seen, name):
            found.append(f"{name}: {getattr(seen, name)}\n      is not {getattr(calm.seen, name)}")
    found += _thread(seen.thread, calm.seen.thread, perhaps)
    # A command or click that was stored and not acknowledged shows as failed, so it is done again: one more request,
    # which waits for an approval like any other; or somebody is told that the first click had counted, or that it is
    # too late to open a form for it.
    unanswered = kill is not None and kill[:2] in (("invocations", 1), ("ack", 1))
    if len(seen.others) > unanswered or any("Approval needed" not in text for text in seen.others):
        found.append(f"more cards: {seen.others}")
    whispers = [text for text in seen.whispers if not text.startswith("You asked by form")]  # what a form always says
    expected = ("already", "was approved by", *([LATE] if life.struck else []))
    if len(whispers) > 1 or not all(any(words in text for words in expected) for text in whispers):
        found.append(f"answers: {seen.whispers}")
    if life.struck and life.codes != [-signal.SIGKILL]:
        found.append(f"exit codes {life.codes}")
    return [f"{kill}: {text}" for text in found]


def _thread(seen: list[str], calm: list[str], perhaps: Collection[str]) -> list[str]:
    """What steps, people and the end said, in order; and what was reached meanwhile, each once, as it came."""
    marked, reached = (
        [[t for t in x if (t[0] in MARKS) is is_marked] for x in (seen, calm)] for is_marked in (True, False)
    )
    found = [] if marked[0] == marked[1] else [f"thread: {marked[0]}\n      is not {marked[1]}"]
    if len(set(reached[0])) < len(reached[0]) or (set(reached[0]) ^ set(reached[1])) - set(perhaps):
        found.append(f"thread: reached {reached[0]}\n      and not {reached[1]}")
    return found


# -- the matrix --------------------------------------------------------------------------------------------------


@dataclass
class Matrix:
    """Plays every case in one of the worlds; a keeper whose life went wrong is replaced. `clear` takes away what a case
    left in a world, `mend` what one that went wrong may have left switched on. `command` is the bot's."""

    worlds: list[World]
    databases: Databases
    play: Callable[[Keeper, str, Any], list[str]]
    clear: Callable[[World, str], None]
    mend: Callable[[World], None]
    command: tuple[str, ...] = COMMAND

    def run(
        self, first: Keeper, prefix: str, cases: Sequence[Any], has_struck: Callable[[Any], bool] = lambda case: True
    ) -> list[str]:
        """What went wrong. Ends `first`, which belongs to the first world. Lives differ by a look or two, so a case
        whose death did not come is played again, with the last such moment that the life had; one that never comes is
        wrong, too."""
        self._nearest = first.nearest
        self._queue: SimpleQueue[tuple[int, Any, int]] = SimpleQueue()
        self._wrong: list[str] = []
        self._has_struck = has_struck
        for number, case in enumerate(cases):
            self._queue.put((number, case, 1))
        with ThreadPoolExecutor(len(self.worlds)) as pool:
            keepers = [first, *[None] * (len(self.worlds) - 1)]
            list(pool.map(self._work, self.worlds, keepers, [prefix] * len(self.worlds)))
        return self._wrong + [f"never struck: {case}" for case in cases if not has_struck(case)]

    def _work(self, world: World, mine: Keeper | None, prefix: str) -> None:
        mine = mine or self._keeper(world)
        while True:
            try:
                number, case, tries = self._queue.get_nowait()
            except Empty:
                break
            name = f"{prefix}-{number:03}-{tries}"
            wrong: list[str] = []
            try:
                wrong += self.play(mine, name, case)
                mine.settle()
                self.clear(world, name)
                if not wrong and not self._has_struck(case) and tries < TRIES:
                    self._queue.put((number, case, tries + 1))
            except Exception as error:
                wrong.append(f"{case}: {type(error).__name__}: {error}\n{world.log()[-1500:]}")
            if wrong:
                self._wrong += wrong
                mine.end()
                self.mend(world)
                mine = self._keeper(world)
        self._wrong += audit(mine)
        mine.end()

    def _keeper(self, world: World) -> Keeper:
        return Keeper(world, self.databases(), command=self.command, nearest=self._nearest)


def audit(keeper: Keeper) -> list[str]:
    """What `tkgbot audit verify` finds after all the deaths that this keeper has seen."""
    more = {"TKGBOT_DATABASE_URL": keeper.url, "TKGBOT_AUDIT_KEY": AUDIT_KEY} if keeper.url else {}
    done = run(("-m", "bot", "audit", "verify"), keeper.world.environment(**more))
    return [] if done.returncode == 0 else [f"the audit is not whole: {done.stdout}{done.stderr}"]
