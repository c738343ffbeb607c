"""Processes of the tests: each a bot, a sandbox or a life of its own, ended by real signals.

They are forked off a server that has imported everything (multiprocessing's forkserver), because half of a bot's start
is reading Python's modules, and the suites start hundreds of bots. With TKGBOT_COLD=1 each is a new interpreter.
Whatever ends a test run ends them too: a process that outlives its tests would load the next run.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import multiprocessing.connection
import multiprocessing.forkserver
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from kubernetes.config import kube_config

IS_COLD = bool(os.environ.get("TKGBOT_COLD"))
PR_SET_PDEATHSIG = 1
"""prctl(2): the signal that a process gets when its parent ends. Linux keeps it over an exec."""
_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(["tests.preloaded"])
_one_at_a_time = threading.Lock()
"""For what reads how a process ended: multiprocessing does that for all its children whenever it starts another, and
of two that read one exit code at once the second finds 255."""


class Process(Protocol):
    """What the tests use of subprocess.Popen. A death by a signal gives its negative number."""

    @property
    def pid(self) -> int: ...

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def send_signal(self, sig: int, /) -> None: ...

    def terminate(self) -> None: ...

    def kill(self) -> None: ...


def start(words: Sequence[str], log: Path, environment: Mapping[str, str], *, is_cold: bool = False) -> Process:
    """Starts Python with `words` (`-m MODULE …` or `-c CODE …`), whose output is added to `log`."""
    return _Forked(_become, list(words), str(log), str(log), dict(environment), is_cold or IS_COLD)


def call(target: Callable[..., None], *arguments: Any) -> Process:
    """Starts a process that calls a module's function and ends."""
    return _Forked(target, *arguments)


def run(
    words: Sequence[str], environment: Mapping[str, str], timeout: float = 60.0, *, is_cold: bool = False
) -> subprocess.CompletedProcess[str]:
    """Runs Python with `words` to its end, as subprocess.run does; what it printed, and its code."""
    with tempfile.TemporaryDirectory(prefix="tkgbot-run-") as name:
        output, errors = Path(name) / "output", Path(name) / "errors"
        process = _Forked(_become, list(words), str(output), str(errors), dict(environment), is_cold or IS_COLD)
        try:
            code = process.wait(timeout)
        finally:
            process.kill()
        return subprocess.CompletedProcess(list(words), code, output.read_text(), errors.read_text())


def is_alive(pid: int) -> bool:
    """Whether a process of this machine (Linux) goes on. A zombie does not: nobody may have asked how it ended."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


class _Forked:
    """A process of the server, followed by a thread so that any thread may ask for it."""

    def __init__(self, target: Callable[..., None], *arguments: Any) -> None:
        self._process = _server.Process(target=_tied, args=(target, *arguments), daemon=True)
        with _one_at_a_time:
            self._process.start()
        self._code: int | None = None
        self._over = threading.Event()
        threading.Thread(target=self._follow, name=f"follows {self.pid}", daemon=True).start()

    def _follow(self) -> None:
        multiprocessing.connection.wait([self._process.sentinel])
        with _one_at_a_time:
            self._process.join()
            self._code = self._process.exitcode
        self._over.set()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        return self._code if self._over.is_set() else None

    def wait(self, timeout: float | None = None) -> int:
        if not self._over.wait(timeout):
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0)
        assert self._code is not None
        return self._code

    def send_signal(self, sig: int, /) -> None:
        if not self._over.is_set():
            try:
                os.kill(self.pid, sig)
            except ProcessLookupError:
                return

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _tied(target: Callable[..., None], *arguments: Any) -> None:
    """In the new process: ends with the tests' one, and does what it is there for.

    The server that it was forked off ends when nobody holds its pipe any more, and every process inherits that pipe.
    """
    server = multiprocessing.forkserver._forkserver  # type: ignore[attr-defined]
    os.close(server._forkserver_alive_fd)
    server._forkserver_alive_fd = None
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    tests = multiprocessing.parent_process()
    if tests is None or not tests.is_alive():  # it ended before the line above
        os._exit(1)
    target(*arguments)


def _become(words: list[str], log: str, errors: str, environment: dict[str, str], is_cold: bool) -> None:
    """In the new process: what `python WORDS` would be."""
    for path, number in ((log, 1), (errors, 2)):
        output = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.dup2(output, number)
        os.close(output)
    if is_cold:
        os.execve(sys.executable, [sys.executable, *words], environment)
    os.environ.clear()
    os.environ.update(environment)
    # the one thing that a library reads from the environment while it is imported
    kube_config.KUBE_CONFIG_DEFAULT_LOCATION = environment.get("KUBECONFIG", "~/.kube/config")
    how, what, *rest = words
    if how == "-m":
        sys.argv = [what, *rest]
        runpy.run_module(what, run_name="__main__", alter_sys=True)
        return
    assert how == "-c", how
    sys.argv = ["-c", *rest]
    exec(compile(what, "<string>", "exec"), {"__name__": "__main__"})
