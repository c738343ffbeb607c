"""The keeper of the matrices of deaths: what it orders, and that it keeps nothing alive that nobody wants any more."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.durability.keeper import Keeper


def test_ended_while_the_next_bot_starts(tmp_path: Path) -> None:
    """A bot that is being started when the keeper is ended is ended, too: it would serve the next test's commands."""
    bots: list[subprocess.Popen[bytes]] = []
    starting, go_on = threading.Event(), threading.Event()

    def start(*_command: object, **_environment: object) -> Any:
        if bots:
            starting.set()
            assert go_on.wait(30)
        bots.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]))
        return bots[-1]

    keeper = Keeper(SimpleNamespace(folder=tmp_path, start_bot=start))  # type: ignore[arg-type]
    bots[0].kill()
    assert starting.wait(30)
    ending = threading.Thread(target=keeper.end)
    ending.start()
    ending.join(0.3)
    go_on.set()
    ending.join(30)
    try:
        assert len(bots) == 2
        assert bots[1].wait(10) != 0
    finally:
        bots[-1].kill()


def test_a_moment_that_a_life_did_not_come_to_is_ordered_nearer_the_next_time(tmp_path: Path) -> None:
    """Lives differ by a look or two: the last one of its label that the life had. What struck is ordered again as it
    was, and so is what the life had none of."""

    def start(*_command: object, **_environment: object) -> Any:
        return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])

    def lived(*moments: tuple[str, int, str, str, bool]) -> None:
        keeper.moments_log.write_text("".join(f"{json.dumps(moment)}\n" for moment in moments))

    def ordered() -> Any:
        return json.loads(keeper.orders.read_text())["kill"]

    keeper = Keeper(SimpleNamespace(folder=tmp_path, start_bot=start))  # type: ignore[arg-type]
    try:
        for kill, had, again in (
            (("look", 5, "before"), ("look", "look", "look"), ["look", 3, "before"]),
            (("poll", 4, "before"), ("look", "touch"), ["poll", 2, "before"]),
            (("outbox", 2, "before"), ("look",), ["outbox", 2, "before"]),
        ):
            keeper.order(kill)
            assert ordered() == list(kill)
            lived(
                *(
                    ("poll", number, when, label, False)
                    for number, label in enumerate(had, 1)
                    for when in ("before", "after")
                )
            )
            keeper.order(kill)
            assert ordered() == again
            lived(("poll", 1, "before", "look", True))
            keeper.order(kill)
            assert ordered() == again
            lived()
    finally:
        keeper.end()
