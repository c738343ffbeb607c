"""`tkgbot demo`: the sandbox and the bot as processes of their own, the tour, and the page's address."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from importlib.resources import as_file, files
from pathlib import Path

import click

from bot.tour import APPROVER, CHANNEL, ClaimFailed, Tour, View

START = 30.0


def main(*, once: bool, port: int) -> int:
    """Runs the demo; 0 when every claim of the tour held."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tkgbot-demo-")))
        settings = stack.enter_context(as_file(files("manifests.examples") / "sandbox.yaml"))
        world = start(stack, folder, ["sandbox", "--dir", str(folder), "--port", str(port)], dict(os.environ))
        environment = _environment(folder, settings, world)
        view = View(environment["SANDBOX_URL"])
        bot = start(stack, folder, ["run"], environment)
        if not view.get("/sandbox/wait", sockets=1, timeout=START).get("sockets"):
            click.echo(f"The bot did not connect. Its log:\n{(folder / 'run.log').read_text()}", err=True)
            return 1
        return _play(view, once, (world, bot))


def _play(view: View, once: bool, processes: tuple[subprocess.Popen[bytes], ...]) -> int:
    began = time.monotonic()
    tour = Tour(view, say=click.echo)
    try:
        tour.play()
    except ClaimFailed as failed:
        click.echo(f"\n✗ The tour failed: {failed}", err=True)
        return 1
    click.echo(f"\nThe tour is over: {tour.claims} claims held, in {time.monotonic() - began:.1f} s.")
    if once:
        return 0
    click.echo(f"Look around: {view.url}/?as={APPROVER}&channel={CHANNEL}\nCtrl-C ends everything.")
    try:
        while all(process.poll() is None for process in processes):
            time.sleep(0.5)
    except KeyboardInterrupt:
        click.echo("\nEnded.")
    return 0


def start(stack: ExitStack, folder: Path, words: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Starts `tkgbot WORDS` with its log in `folder`, and has it ended with the stack."""
    log = stack.enter_context((folder / f"{words[0]}.log").open("wb"))
    process = subprocess.Popen(  # noqa: S603 - our own command line
        [sys.executable, "-m", "bot", *words], stdout=log, stderr=log, env=environment, start_new_session=True,
        preexec_fn=_end_with_the_demo if sys.platform == "linux" else None,
    )  # fmt: skip
    stack.callback(_end, process)
    return process


def _end_with_the_demo() -> None:
    """In the new process: asks for its end when the demo has ended, however that was (prctl(2), PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, int(signal.SIGTERM))


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _environment(folder: Path, settings: Path, world: subprocess.Popen[bytes]) -> dict[str, str]:
    """What the sandbox wrote, for the bot. A developer's own AWS settings are kept out of it."""
    deadline = time.monotonic() + START
    while not (folder / "env").exists():
        if world.poll() is not None or time.monotonic() > deadline:
            raise click.ClickException(f"The sandbox did not start:\n{(folder / 'sandbox.log').read_text()}")
        time.sleep(0.02)
    return bot_environment(folder, settings)


def bot_environment(folder: Path, settings: Path) -> dict[str, str]:
    """The environment in which `tkgbot run` works against the sandbox that wrote `folder`/env."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "SLACK_", "TKGBOT_"))}
    world = dict(line.split("=", 1) for line in (folder / "env").read_text().splitlines())
    return {**kept, **world, "TKGBOT_CONFIG": str(settings), "TKGBOT_DATA": str(folder / "data")}
