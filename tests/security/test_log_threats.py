"""Structured logs: one object a line whatever a value holds, no secret in any field, and what each line is about."""

from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from bot.logs import JsonLines, about, set_up
from handlers.contract import Retry
from tests.security.test_threats import CANARIES, Bot

FORGING = (
    "a\n2026-11-24 00:00:00,000 INFO tkgbot forged", "a\r\nforged", "a\u2028forged", "a\x85forged", "a\x0bforged",
    'a", "level": "info", "forged": "', "a\x1b[2K\x1b[1Aforged", '"}\n{"message": "forged"}', "a\x00forged",
)  # fmt: skip


@pytest.fixture(params=["json", "text"])
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def lines(form: str) -> Iterator[io.StringIO]:
    root, dbos = logging.getLogger(), logging.getLogger("dbos")
    before, level, theirs = root.handlers[:], root.level, dbos.handlers[:]
    stream = io.StringIO()
    set_up(stream=stream, form="json" if form == "json" else "text")
    yield stream
    root.handlers[:], dbos.handlers[:] = before, theirs
    root.setLevel(level)


def objects(lines: io.StringIO) -> list[dict[str, str]]:
    return [json.loads(line) for line in lines.getvalue().splitlines()]


def fail(text: str) -> None:
    try:
        try:
            raise KeyError(text)
        except KeyError as error:
            raise RuntimeError(f"while {text}") from error
    except RuntimeError:
        logging.getLogger("any").exception("failed with %s", text)


# -- secrets -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CANARIES)
def test_secret_in_logs_is_in_no_field(name: str, lines: io.StringIO) -> None:
    text, secret = CANARIES[name]
    with about(request=text, invocation=text):
        logging.getLogger("any").warning("%s and %r", text, {"x": text})
        fail(text)
    logging.getLogger(text).error("by its name")
    logging.getLogger("dbos").error(text)
    written = lines.getvalue()
    assert "failed with" in written
    assert secret not in written
    assert secret not in written.encode().decode("unicode_escape", "replace")


# -- log injection -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", FORGING, ids=repr)
def test_log_injection_a_value_forges_no_line(value: str, lines: io.StringIO, form: str) -> None:
    with about(invocation=value):
        logging.getLogger("any").warning("a value: %s", value)
        fail(value)
    written = lines.getvalue().splitlines()  # the most generous reader of line ends
    if form == "json":
        assert len(written) == 2
        assert all("forged" not in line for line in map(json.loads, written))
        return
    heads = [line for line in written if not line.startswith("    ")]
    assert len(heads) == 2, heads
    assert all(head[:2] == "20" for head in heads)


# -- form --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["json"], indirect=True)
class TestJson:
    def test_a_line_is_an_object_with_its_time(self, lines: io.StringIO) -> None:
        logging.getLogger("bot.x").warning("said %d", 1)
        (line,) = objects(lines)
        assert {"level": "warning", "logger": "bot.x", "message": "said 1"}.items() <= line.items()
        assert line["time"].endswith("Z")
        assert datetime.fromisoformat(line["time"]).tzinfo is not None
        assert set(line) == {"time", "level", "logger", "message"}

    def test_a_line_says_what_it_is_about(self, lines: io.StringIO) -> None:
        log = logging.getLogger("bot.x")
        with about(request="r-7f3a2c"):
            with about(invocation="k:1"):
                log.info("inside")
            log.info("still")
        log.info("outside")
        log.info("message r-000001:card of error e-0a1b2c3d")
        inside, still, outside, named = objects(lines)
        assert (inside["request"], inside["invocation"]) == ("r-7f3a2c", "k:1")
        assert still["request"] == "r-7f3a2c"
        assert "invocation" not in still
        assert "request" not in outside
        assert (named["request"], named["error"]) == ("r-000001", "e-0a1b2c3d")

    def test_other_threads_are_about_something_else(self, lines: io.StringIO) -> None:
        with about(request="r-7f3a2c"):
            other = threading.Thread(target=lambda: logging.getLogger("bot.x").info("other"))
            other.start()
            other.join()
        (line,) = objects(lines)
        assert "request" not in line

    def test_a_trace_is_one_field(self, lines: io.StringIO) -> None:
        fail("x")
        (line,) = objects(lines)
        assert "RuntimeError: while x" in line["trace"]
        assert "KeyError" in line["trace"]

    def test_the_formatter_is_the_one_of_every_handler(self, lines: io.StringIO) -> None:
        handlers = [*logging.getLogger().handlers, *logging.getLogger("dbos").handlers]
        assert any(isinstance(handler.formatter, JsonLines) for handler in handlers)
        assert isinstance(logging.getLogger().handlers[0].formatter, JsonLines)

    def test_planning_and_answering_say_whose_they_are(self, lines: io.StringIO, tmp_path: Path) -> None:
        bot = Bot(tmp_path)

        def broken(*_: Any) -> Any:
            raise RuntimeError("a defect")

        request = bot.waiting()
        bot.people.person = broken  # type: ignore[method-assign]
        bot.workshop.plan = broken  # type: ignore[method-assign]
        bot.requests.look_again(request.id, request.requester)
        current = bot.requests.get(request.id)
        assert current is not None

        class Once:
            def step(self, _name: str, work: Any) -> Any:
                return work()

            def sleep(self, _seconds: float) -> None:
                raise Retry("nothing sleeps here")

        bot.work.plan(Once(), request.id, current.plan_no)
        planning = [line for line in objects(lines) if "trace" in line]
        assert planning
        assert all(line["request"] == request.id for line in planning)
