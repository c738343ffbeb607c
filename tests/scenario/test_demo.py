"""`tkgbot demo` as a process: what it started ends with it, however it ends."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from tests.processes import is_alive, start
from tests.world import START, eventually


def children(pid: int) -> list[int]:
    """The processes that it has started and that live."""
    tasks = Path(f"/proc/{pid}/task")
    found = [task.joinpath("children").read_text().split() for task in tasks.iterdir()] if tasks.exists() else []
    return [int(child) for children in found for child in children]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent ended")
def test_the_sandbox_and_the_bot_end_with_a_demo_that_was_killed(tmp_path: Path) -> None:
    demo = start(("-m", "bot", "demo"), tmp_path / "log", dict(os.environ))
    eventually(lambda: len(children(demo.pid)) == 2 or demo.poll() is not None, START)
    both = children(demo.pid)
    demo.send_signal(signal.SIGKILL)
    assert demo.wait(START) == -signal.SIGKILL, (tmp_path / "log").read_text()
    eventually(lambda: not any(is_alive(pid) for pid in both))
