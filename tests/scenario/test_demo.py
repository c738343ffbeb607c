"""`tkgbot demo` as a process: what it started ends with it, however it ends."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from tests.processes import is_alive, run, start
from tests.world import ACK, START, eventually

TOUR = 200.0
"""Seconds that the tour may take beside other work; it is over in 45 when it is alone."""


def children(pid: int) -> list[int]:
    """The processes that it has started and that live."""
    tasks = Path(f"/proc/{pid}/task")
    found = [task.joinpath("children").read_text().split() for task in tasks.iterdir()] if tasks.exists() else []
    return [int(child) for children in found for child in children]


def test_every_claim_of_the_tour_holds() -> None:
    demo = run(("-m", "bot", "demo", "--once"), {**os.environ, "SANDBOX_ACK_SECONDS": str(ACK)}, TOUR)
    assert demo.returncode == 0, f"{demo.stdout}\n{demo.stderr}"
    assert "The tour is over" in demo.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent ended")
def test_the_sandbox_and_the_bot_end_with_a_demo_that_was_killed(tmp_path: Path) -> None:
    demo = start(("-m", "bot", "demo"), tmp_path / "log", dict(os.environ))
    eventually(lambda: len(children(demo.pid)) == 2 or demo.poll() is not None, START)
    both = children(demo.pid)
    demo.send_signal(signal.SIGKILL)
    assert demo.wait(START) == -signal.SIGKILL, (tmp_path / "log").read_text()
    eventually(lambda: not any(is_alive(pid) for pid in both))
