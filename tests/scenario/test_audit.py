"""The audit of a real bot: what stands in it, verified while the bot runs, and what tampering looks like."""

from __future__ import annotations

import csv
import json
import re
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from io import StringIO
from pathlib import Path

import pytest

from bot.tour import words
from tests.scenario.conftest import request_id
from tests.scenario.test_command_line import tkgbot
from tests.world import APPROVER, CHANNEL, DEV, Json, World, eventually, running_world

LONG_WAY = [
    ("received", DEV, None), ("moved", DEV, "planning"), ("moved", "tkgbot", "awaiting"),
    ("vote.approved", APPROVER, None), ("moved", APPROVER, "approved"), ("moved", "tkgbot", "running"),
    ("step.begun", "tkgbot", None), ("step.ended", "tkgbot", None), ("moved", "tkgbot", "succeeded"),
]  # fmt: skip
"""What a request leaves behind from the command to the proof: event, who, and the state it came to."""


def tag(world: World, cluster: str) -> Json:
    """A request from the command to the proof; its card."""
    card = world.ask(cluster, world.public())
    world.view.click(APPROVER, card["ts"], "tkg:approve")
    world.view.wait(DEV, f"🟢 Done: tag 3 subnets for {cluster}")
    return card


def verify(world: World, *more: str) -> tuple[int, str]:
    done = tkgbot(world, "audit", "verify", *more)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout or done.stderr


def export(world: World, *more: str) -> str:
    done = tkgbot(world, "audit", "export", *more)
    assert done.returncode == 0, done.stderr
    return done.stdout


def until_sealed(world: World) -> None:
    """The sealer comes by once a second."""
    eventually(lambda: verify(world)[0] == 0 and "without a seal" not in verify(world)[1])


@pytest.mark.long(but=1)
def test_a_request_from_the_command_to_the_proof(world: World, tmp_path: Path) -> None:
    request = request_id(tag(world, "audited"))
    assert verify(world)[0] == 0, "while the bot runs, sealed or not"
    until_sealed(world)
    lines = [json.loads(line) for line in export(world, "--request", request).splitlines()]
    assert [(line["event"], line["actor"], line["data"].get("to")) for line in lines] == LONG_WAY
    assert all(line["request"] == request and line["seal"].startswith(f"{line['number']}:") for line in lines)
    assert lines[0]["data"]["command"].startswith("/tkg subnet tag audited ")
    approved = {line["data"]["fingerprint"] for line in lines if line["event"] in ("vote.approved",)}
    assert approved == {line["data"]["fingerprint"] for line in lines if line["data"].get("to") == "succeeded"}
    assert lines[7]["data"]["changed"] is True
    rows = list(csv.DictReader(StringIO(export(world, "--request", request, "--format", "csv"))))
    assert [row["event"] for row in rows] == [event for event, *_ in LONG_WAY]
    file = tmp_path / "export.jsonl"
    file.write_text(export(world))
    code, said = verify(world, "--file", str(file), "--anchor", str(world.folder / "data" / "audit.anchor"))
    assert code == 0, said
    assert world.environment().get("TKGBOT_AUDIT_KEY", "x" * 32) not in world.log()


# -- a world of its own, on one file -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def alone() -> Iterator[World]:
    """A bot that also posts its head."""
    with running_world() as world:
        world.settings.write_text(world.settings.read_text() + f"audit: {{channel: {CHANNEL}, every: 1m}}\n")
        world.start_bot()
        yield world


def change(world: World, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(world.folder / "data" / "tkgbot.db", timeout=20, isolation_level=None)) as connection:
        connection.execute(statement, values)


@pytest.mark.long
def test_a_flipped_byte_is_named_while_the_bot_runs(alone: World) -> None:
    request = request_id(tag(alone, "flipped"))
    until_sealed(alone)
    vote = next(json.loads(line) for line in export(alone, "--request", request).splitlines() if "vote." in line)
    for old, new in ((APPROVER, "UAPPROVE03"), ("UAPPROVE03", APPROVER)):
        change(alone, "UPDATE audit SET actor = replace(actor, ?, ?) WHERE number = ?", old, new, vote["number"])
        code, said = verify(alone)
        if new == APPROVER:
            assert code == 0, said
        else:
            name = f"number {vote['number']} (seq {vote['seq']}, {request}, vote.approved)"
            assert (code, said) == (1, f"changed: {name} is not what was written and sealed there\n")


@pytest.mark.long
def test_the_head_is_posted_and_can_be_checked_against(alone: World) -> None:
    message = alone.view.wait(DEV, "The audit is sealed up to number")
    head = re.search(r"[0-9]+:[0-9a-f]{16}\b", words(message))
    assert head, words(message)
    assert verify(alone, "--head", head[0])[0] == 0
    number = head[0].partition(":")[0]
    code, said = verify(alone, "--head", f"{number}:0123456789abcdef")
    assert (code, said) == (1, f"exchanged: number {number} is not the one that --head names\n")


def test_the_key_is_made_once_and_never_logged(alone: World) -> None:
    path = alone.folder / "data" / "audit.key"
    assert path.stat().st_mode & 0o777 == 0o600
    assert alone.log().count("made the audit's key") == 1
    assert path.read_text().strip() not in alone.log()


@pytest.mark.long
def test_a_database_that_was_put_back(alone: World) -> None:
    """It is noticed at the start, told once for good, and what follows is as safe as before."""
    data = alone.folder / "data"
    tag(alone, "before")
    alone.end_bot(alone.bots[-1])
    code, said = verify(alone)
    assert (code, "without a seal" in said) == (0, False), said
    with (
        closing(sqlite3.connect(data / "tkgbot.db")) as source,
        closing(sqlite3.connect(alone.folder / "copy.db")) as copy,
    ):
        source.backup(copy)
    alone.start_bot()
    lost = request_id(tag(alone, "lost"))
    until_sealed(alone)
    alone.end_bot(alone.bots[-1], signal.SIGKILL)
    for path in data.glob("tkgbot.db*"):
        path.unlink()
    shutil.copy(alone.folder / "copy.db", data / "tkgbot.db")
    code, said = verify(alone)
    assert (code, said.count("\n"), said.startswith("cut off: numbers ")) == (1, 1, True), said
    alone.start_bot()
    tag(alone, "after")
    eventually(lambda: "put back" in verify(alone)[1])
    assert "the database has lost history that was anchored" in alone.log()
    code, said = verify(alone)
    assert (code, said.count("\n")) == (1, 1), said
    assert re.fullmatch(r"removed: numbers \d+ to \d+ are not there any more; number \d+ \(.*\) says .*\n", said), said
    assert lost not in export(alone)
    change(alone, "DELETE FROM audit WHERE number = 3")
    assert verify(alone)[1].splitlines()[0] == "removed: number 3 is not there any more"


def test_several_bots_do_not_start_without_a_key(alone: World) -> None:
    done = tkgbot(alone, "run", TKGBOT_DATABASE_URL="postgresql://127.0.0.1:1/none")
    assert done.returncode == 2
    assert "TKGBOT_AUDIT_KEY is not set, nor TKGBOT_AUDIT_KEY_FILE" in done.stderr
    assert "Traceback" not in done.stderr
