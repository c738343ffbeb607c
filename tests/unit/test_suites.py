"""What runs the suites says what became of each test, also of one that ends its process or never comes back."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.suites import AGAIN, SETS, SUITES, Suite, read, run, summary

TESTS = """
import os
from pathlib import Path

def test_good():
    pass

def test_wrong():
    assert 1 + 1 == 3, "the planted mistake"

def test_good_at_the_second_try():
    seen = Path(__file__).with_name("seen")
    if not seen.exists():
        seen.touch()
        raise ValueError("not yet")

def test_that_ends_its_process():
    os._exit(3)
"""


def test_each_end_is_told(tmp_path: Path) -> None:
    file = tmp_path / "test_ends.py"
    file.write_text(TESTS)
    command = (sys.executable, "-m", "pytest", "-n", "1", *AGAIN, "-c", "/dev/null", f"--rootdir={tmp_path}", str(file))
    ended = run("ends", Suite((command,), bound=240), tmp_path)
    assert not ended.is_green
    assert ended.passed == 2
    assert {name.rpartition("::")[2] for name in ended.failed} == {"test_wrong", "test_that_ends_its_process"}
    assert "test_ends.py::test_good_at_the_second_try" in ended.again
    said = summary([ended])
    assert "FAILED test_ends.py::test_wrong: AssertionError: the planted mistake" in said
    assert "TRIED AGAIN test_ends.py::test_good_at_the_second_try: ValueError: not yet" in said
    assert said.endswith("2 passed, 2 failed")


def test_each_folder_has_a_row(tmp_path: Path) -> None:
    """With its tests' seconds, which of several processes are more than the suite's."""
    journal = tmp_path / "journal"
    entries = [
        {"at": 1.0, "test": "tests/unit/test_a.py::test_a", "what": "began"},
        {"at": 2.0, "test": "tests/scenario/test_b.py::test_b", "what": "began"},
        {"at": 4.0, "test": "tests/unit/test_a.py::test_a", "what": "passed"},
        {"at": 4.0, "test": "tests/unit/test_a.py::test_a", "what": "ended"},
        {"at": 9.0, "test": "tests/scenario/test_b.py::test_b", "what": "skipped"},
        {"at": 9.0, "test": "tests/scenario/test_b.py::test_b", "what": "ended"},
    ]
    journal.write_text("".join(f"{json.dumps(entry)}\n" for entry in entries))
    said = summary([read("tests", 8.0, 0, journal)]).splitlines()
    assert [line.split() for line in said if line.startswith(("tests", "  tests"))] == [
        ["tests", "8", "1", "1", "0", "0"],
        ["tests/unit", "3", "1", "0"],
        ["tests/scenario", "7", "0", "1"],
    ]


def test_what_never_came_back_is_named(tmp_path: Path) -> None:
    """From what was written down until pytest had to be ended."""
    journal = tmp_path / "journal"
    entries = [("a", "began"), ("b", "began"), ("a", "passed"), ("a", "ended")]
    lines = [json.dumps({"at": 0.0, "test": test, "what": what}) for test, what in entries]
    journal.write_text("".join(f"{line}\n" for line in lines))
    ended = read("hangs", 10.0, 124, journal)
    assert (ended.passed, ended.missing, ended.is_green) == (1, ["b"], False)
    assert "NEVER CAME BACK b" in summary([ended])


def test_a_suite_is_ended_at_its_bound(tmp_path: Path) -> None:
    command = (sys.executable, "-c", "import time; time.sleep(600)")
    ended = run("sleeps", Suite((command,), bound=1, is_pytest=False), tmp_path)
    assert (ended.code, ended.is_green) == (124, False)
    said = f"FAILED sleeps: {Path(sys.executable).name} -c import time; time.sleep(600): exit status 124"
    assert said in summary([ended])


def test_no_test_at_all_is_red(tmp_path: Path) -> None:
    command = (sys.executable, "-m", "pytest", "-c", "/dev/null", "-k", "nothing-is-called-so", __file__)
    assert not run("none", Suite((command,), bound=240), tmp_path).is_green


def test_sets_name_suites_that_are_there() -> None:
    assert {name for names in SETS.values() for name in names} <= set(SUITES)


def test_the_gate_and_all_play_every_folder_that_has_tests() -> None:
    """A folder that nobody lists is never played, and nobody sees it."""
    top = Path(__file__).parents[2]
    folders = {str(file.parent.relative_to(top)) for file in (top / "tests").rglob("test_*.py")}
    for name in ("test", "gate", "all"):
        played = {word for suite in SETS[name] for command in SUITES[suite].commands for word in command}
        assert folders <= played, name


def test_only_the_page_needs_chromium() -> None:
    """Whoever has none can play every other folder."""
    needing = {name for name, suite in SUITES.items() if suite.is_pytest and "not browser" not in suite.commands[0]}
    assert needing == {"browser", "every page", "tests and page", "every scenario", "every kill", "every contract"}
    for name in ("every scenario", "every kill", "every contract"):
        assert not {"tests/browser", "tests/unit"} & set(SUITES[name].commands[0]), name
