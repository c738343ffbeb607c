"""Runs the suites one after the other, each bounded, and ends with what became of them: how many passed, which tests
were tried again and their first failure, which failed or never came back, and the seconds of each suite.

    python -m tests.suites [NAME ...]      suites, or sets of them: see SUITES and SETS; `test` where none is named

Exit status 0 when everything passed. One suite at a time: two at once would only slow each other down.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

JOURNALS = Path("build/suites")
"""What became of each test in the last run of each suite, with its seconds: for who asks what costs most."""
WORKERS = "3"
"""Processes of pytest at once on two cores: many tests wait for a process, and meanwhile others can go on."""
AGAIN = ("--reruns", "2", "--rerun-except", "from pytest-timeout", "--rerun-show-tracebacks")
"""For tests that run processes (those of `tests/unit` say of themselves that they do not): two tries more, and each is
shown. A test that shows up twice is a defect. What hangs is not tried again: it took its whole time already."""
IN_ORDER = ("--dist", "loadfile", "--no-loadscope-reorder")
"""In the order of FOLDERS. Files of many quick tests first would leave those of a few long ones to one process at the
end."""


@dataclass(frozen=True)
class Suite:
    """`bound`: seconds after which it is ended, and what has not come back by then is named."""

    commands: tuple[tuple[str, ...], ...]
    bound: float
    is_pytest: bool = True
    environment: dict[str, str] = field(default_factory=dict)


def _pytest(
    *words: str, bound: float, workers: str = WORKERS, again: Sequence[str] = AGAIN, **environment: str
) -> Suite:
    command = (sys.executable, "-m", "pytest", "-n", workers, *IN_ORDER, *again, *words)
    return Suite((command,), bound, environment=environment)


def _tool(*words: str) -> tuple[str, ...]:
    return (str(Path(sys.executable).with_name(words[0])), *words[1:])


FOLDERS = tuple(f"tests/{one}" for one in ("durability", "browser", "scenario", "security", "contract", "unit"))
"""What takes long first; the quick ones fill the end, so that no process stands idle."""
LINT = (
    _tool("ruff", "check", "."),
    _tool("ruff", "format", "--check", "."),
    _tool("mypy", "-n", "2"),
    _tool("lint-imports"),
)
NO_PAGE = ("-m", "not browser")
PAGE = ("-m", "browser", "tests/browser", "tests/unit/test_sandbox_slack_live.py")
SUITES = {
    "lint": Suite(LINT, 300, is_pytest=False),
    "tests": _pytest("--gate", *NO_PAGE, *FOLDERS, bound=1500),
    "tests and page": _pytest("--gate", *FOLDERS, bound=1500),
    "every unit": _pytest(*NO_PAGE, "tests/security", "tests/unit", bound=1800),
    "every scenario": _pytest("tests/scenario", bound=7200, TKGBOT_BOTH_DATABASES="1"),
    "every kill": _pytest(
        "--timeout", "1800", "tests/durability", bound=14_400, workers="1", again=(), TKGBOT_ALL_KILLS="1"
    ),
    "every contract": _pytest("--timeout", "600", "tests/contract", bound=1800),
    "every page": _pytest(*PAGE, bound=1800),
    "browser": _pytest("--gate", *PAGE, bound=900),
    **{
        folder.rpartition("/")[2]: _pytest("--gate", *NO_PAGE, folder, bound=900)
        for folder in FOLDERS
        if folder not in PAGE
    },
}
"""Each may be run alone, by its name. One pytest plays all folders of the gate: each start of workers, of the server
that processes are forked off and of databases costs what a hundred tests do."""
SETS = {
    "test": ("lint", "tests"),
    "gate": ("lint", "tests and page"),
    "all": ("lint", "every unit", "every scenario", "every kill", "every contract", "every page"),
}


@dataclass
class Part:
    """A folder's share of a suite; `seconds` are its tests' own, added up: those of several processes at once."""

    passed: int = 0
    skipped: int = 0
    seconds: float = 0.0


@dataclass
class Ended:
    """What became of a suite."""

    name: str
    seconds: float
    code: int
    failed: dict[str, str] = field(default_factory=dict)
    again: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    parts: dict[str, Part] = field(default_factory=lambda: defaultdict(Part))
    """By the folder of the tests."""

    @property
    def passed(self) -> int:
        return sum(part.passed for part in self.parts.values())

    @property
    def skipped(self) -> int:
        return sum(part.skipped for part in self.parts.values())

    @property
    def is_green(self) -> bool:
        return self.code == 0 and not self.failed and not self.missing


def main(names: Sequence[str]) -> int:
    """Runs them; the exit status."""
    unknown = [name for name in names if name not in SUITES and name not in SETS]
    if unknown:
        known = ", ".join([*SETS, *SUITES])
        print(f"no such suite: {', '.join(unknown)}; there are {known}", file=sys.stderr)
        return 2
    ended = []
    for suite in (suite for name in names or ("test",) for suite in SETS.get(name, (name,))):
        print(f"== {suite}", flush=True)
        ended.append(run(suite, SUITES[suite]))
        if suite == "lint" and not ended[-1].is_green:
            break  # seconds to mend, minutes to find out what else there is
    print(summary(ended), flush=True)
    return 0 if all(one.is_green for one in ended) else 1


def run(name: str, suite: Suite, folder: Path = JOURNALS) -> Ended:
    """One suite to its end or its bound; its journal is left in `folder`."""
    began = time.monotonic()
    journal = folder / f"{name.replace(' ', '-')}.jsonl"
    journal.parent.mkdir(parents=True, exist_ok=True)
    journal.unlink(missing_ok=True)
    more = ("-p", "tests.journal", "--journal", str(journal)) if suite.is_pytest else ()
    codes = []
    for command in suite.commands:
        left = suite.bound - (time.monotonic() - began)
        codes.append(_bounded((*command, *more), left, {**_environment(), **suite.environment}))
    ended = read(name, time.monotonic() - began, next(filter(None, codes), 0), journal)
    if not suite.is_pytest:
        commands = (" ".join((f"{name}: {Path(tool).name}", *words)) for tool, *words in suite.commands)
        ended.failed = {text: f"exit status {code}" for text, code in zip(commands, codes, strict=True) if code}
    return ended


def _environment() -> dict[str, str]:
    """This process's, but that modules may be kept compiled: hundreds of processes would compile them anew."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def _bounded(command: Sequence[str], seconds: float, environment: dict[str, str]) -> int:
    """Its exit status; 124 when it had to be ended, with everything that it started in its session."""
    process = subprocess.Popen(list(command), env=environment, start_new_session=True)
    try:
        return process.wait(max(seconds, 1))
    except subprocess.TimeoutExpired:
        return 124
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def read(name: str, seconds: float, code: int, journal: Path) -> Ended:
    """A suite's end, from what its journal says."""
    ended, running = Ended(name, seconds, code), dict[str, float]()
    for line in journal.read_text(encoding="utf-8").splitlines() if journal.exists() else ():
        entry: dict[str, Any] = json.loads(line)
        test, what = entry["test"], entry["what"]
        part = ended.parts[str(Path(test.partition("::")[0]).parent)]
        if what == "began":
            running[test] = entry["at"]
        elif what == "ended":
            part.seconds += entry["at"] - running.pop(test, entry["at"])
        elif what == "tried again":
            ended.again.setdefault(test, entry["why"])
        elif what == "failed":
            ended.failed.setdefault(test, entry["why"])
        else:
            part.passed += what == "passed"
            part.skipped += what == "skipped"
    ended.missing = [test for test in running if test not in ended.failed]
    return ended


def summary(ended: Sequence[Ended]) -> str:
    """For the last lines of the output."""
    lines = ["", "suite             seconds  passed  skipped  again  failed"]
    for one in ended:
        row = _row(one.name, one.seconds, one.passed, one.skipped, len(one.again), len(one.failed) + len(one.missing))
        lines.append(row if one.is_green else f"{row}   RED")
        if len(one.parts) > 1:
            lines += [_row(f"  {name}", part.seconds, part.passed, part.skipped) for name, part in one.parts.items()]
    if any(len(one.parts) > 1 for one in ended):
        lines.append("A folder's seconds are those of its tests, added up over the processes that play them at once.")
    lines += [f"TRIED AGAIN {test}: {why}" for one in ended for test, why in one.again.items()]
    lines += [f"NEVER CAME BACK {test}" for one in ended for test in one.missing]
    lines += [f"FAILED {test}: {why}" for one in ended for test, why in one.failed.items()]
    lines += [f"ENDED {one.name}: exit status {one.code}" for one in ended if one.code and not one.failed]
    passed = sum(one.passed for one in ended)
    failed = sum(len(one.failed) + len(one.missing) for one in ended) or sum(not one.is_green for one in ended)
    return "\n".join([*lines, f"{sum(one.seconds for one in ended):.0f} s in all", f"{passed} passed, {failed} failed"])


def _row(name: str, seconds: float, *counts: int) -> str:
    return f"{name:<18}{seconds:>7.0f}" + "".join(f"{n:>{w}}" for n, w in zip(counts, (8, 9, 7, 8), strict=False))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
