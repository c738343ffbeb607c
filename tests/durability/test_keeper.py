"""The keeper of the matrices of deaths keeps nothing alive that nobody wants any more."""

from __future__ import annotations

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
