"""A pytest plugin: writes down each test's beginning, tries and end as JSON lines, so that who waits for the suite can
say which test never came back, which were tried again, and why, also when pytest itself had to be ended.

On with `-p tests.journal --journal FILE`. With xdist only the process that hands the tests out writes.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

LONGEST = 400
"""Characters of a failure that are kept: its last line says what was wrong."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--journal", type=Path, help="Where to write what became of each test.")


def pytest_configure(config: pytest.Config) -> None:
    path = config.getoption("--journal")
    if path is not None and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Journal(path), "tests journal")


class Journal:
    """Writes a line at once, whole: a reader sees what was true when the writer died."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", buffering=1, encoding="utf-8")

    def _note(self, **fields: Any) -> None:
        self._file.write(json.dumps({"at": round(time.time(), 3), **fields}) + "\n")

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._note(test=nodeid, what="began")

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self._note(test=nodeid, what="ended")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.outcome == "rerun":
            self._note(test=report.nodeid, what="tried again", why=_why(report))
        elif report.failed:
            self._note(test=report.nodeid, what="failed", when=report.when, why=_why(report))
        elif report.when == "call" or report.skipped:
            self._note(test=report.nodeid, what=report.outcome, seconds=round(report.duration, 2))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._note(test=report.nodeid or "collection", what="failed", when="collect", why=_why(report))


def _why(report: pytest.TestReport | pytest.CollectReport) -> str:
    """The failure's own last words."""
    crash = getattr(report.longrepr, "reprcrash", None)
    said = str(crash.message) if crash is not None else str(report.longrepr).strip().rsplit("\n", 1)[-1]
    return " ".join(said.split())[:LONGEST]
