"""A signal ends the process whenever it comes."""

from __future__ import annotations

import subprocess
import sys

ENDS = """
import os, signal, sys
from bot.ending import Ending

def moments(strike):
    # waits, with a signal at the moment that has this number; how many moments the waiting had
    ending, passed = Ending(), 0

    def look(frame, event, argument):
        nonlocal passed
        frame.f_trace_opcodes = True
        passed += event == "opcode"
        if event == "opcode" and passed == strike:
            signal.raise_signal(signal.SIGTERM)
        return look

    sys.settrace(look)
    ending.wait()
    sys.settrace(None)
    os.close(ending._asked)
    os.close(ending._ask)
    return passed

for strike in range(1, 5):
    moments(strike)
print("ended each time", flush=True)
"""
"""With `threading.Event` in the place of the pipe this stops for good: its lock is held while the handler sets it."""


def test_a_signal_at_any_moment_of_the_waiting_ends_it() -> None:
    ran = subprocess.run([sys.executable, "-c", ENDS], capture_output=True, text=True, timeout=60, check=False)
    assert ran.stdout == "ended each time\n", ran.stderr


def test_a_signal_before_the_waiting_is_not_lost() -> None:
    early = "import os, signal\nfrom bot.ending import Ending\nending = Ending()\n"
    early += "for _ in range(100000):\n    os.kill(os.getpid(), signal.SIGINT)\nending.wait()\nprint('ended')"
    ran = subprocess.run([sys.executable, "-c", early], capture_output=True, text=True, timeout=60, check=False)
    assert ran.stdout == "ended\n", ran.stderr
