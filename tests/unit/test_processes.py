"""The tests' own processes behave as new interpreters do: environment, output, codes and signals."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import is_alive, run, start
from tests.world import eventually

COLD = pytest.mark.parametrize("is_cold", [True, False])


@COLD
def test_what_it_prints_and_its_code(*, is_cold: bool) -> None:
    code = "import os, sys; print(sorted(os.environ)); print(sys.argv[1:], file=sys.stderr); sys.exit(3)"
    done = run(("-c", code, "a", "b"), {"ONLY": "this"}, is_cold=is_cold)
    assert done.returncode == 3
    assert "ONLY" in done.stdout
    assert "HOME" not in done.stdout
    assert done.stderr == "['a', 'b']\n"


@COLD
def test_an_error_is_code_1_and_says_itself(*, is_cold: bool) -> None:
    done = run(("-c", "1 / 0"), {}, is_cold=is_cold)
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr


@pytest.mark.long(but=1)
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent ended")
@COLD
def test_they_end_with_the_tests_that_started_them(tmp_path: Path, *, is_cold: bool) -> None:
    """Killed so hard that they could end nothing themselves."""
    log = str(tmp_path / "log")
    code = f"""
import os, signal, time
from pathlib import Path
from tests.processes import start
log = Path({log!r})
child = start(("-c", "import time; print('here', flush=True); time.sleep(60)"), log, {{}}, is_cold={is_cold})
while not (log.exists() and log.read_text() == "here\\n"):
    time.sleep(0.02)
print(child.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    with (tmp_path / "tests").open("wb") as output:
        tests = subprocess.Popen([sys.executable, "-c", code], stdout=output, stderr=output)
    assert tests.wait(60) == -signal.SIGKILL, (tmp_path / "tests").read_text()
    pid = int((tmp_path / "tests").read_text())
    eventually(lambda: not is_alive(pid), 60)


def test_a_module_is_run_as_the_main_one() -> None:
    done = run(("-m", "bot", "slack-manifest", "--json"), {})
    assert (done.returncode, done.stderr) == (0, "")
    assert '"slash_commands"' in done.stdout


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_death_by_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    log = tmp_path / "log"
    process = start(("-c", "import time; print('here', flush=True); time.sleep(60)"), log, {})
    eventually(lambda: log.exists() and log.read_text() == "here\n")
    assert process.poll() is None
    process.send_signal(number)
    assert process.wait(60) == -number
    assert process.poll() == -number
    process.kill()  # of one that is over nothing comes


def test_many_end_at_once_and_each_has_its_code(tmp_path: Path) -> None:
    """How one ended is read while another is started."""
    every = [start(("-c", f"import sys; sys.exit({code})"), tmp_path / "log", {}) for code in range(20)]
    assert [process.wait(60) for process in every] == list(range(20))


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="is_alive reads /proc")
def test_a_database_server_ends_with_the_tests_that_started_it(tmp_path: Path) -> None:
    """It leaves their session, and they are killed so hard that they could end nothing themselves."""
    code = """
import os, signal
from tests.postgres import running_postgres
with running_postgres() as server:
    print(server.get_pid(), server.pgdata, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    with (tmp_path / "tests").open("wb") as output:
        tests = subprocess.Popen([sys.executable, "-c", code], stdout=output, stderr=output)
    assert tests.wait(60) == -signal.SIGKILL, (tmp_path / "tests").read_text()
    pid, folder = (tmp_path / "tests").read_text().splitlines()[-1].split()
    eventually(lambda: not is_alive(int(pid)) and not Path(folder).exists(), 60)
