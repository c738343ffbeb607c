"""The bot over HTTP: the same as over Socket Mode, with health and an orderly end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from bot.tour import words
from tests.scenario.conftest import modal, request_id
from tests.world import APPROVER, DEV, PATIENCE, World, eventually, http_status, running_world


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[World, str]]:
    with running_world() as world:
        _bot, url = world.start_http_bot()
        yield world, url


def test_asked_approved_done(served: tuple[World, str]) -> None:
    world, _url = served
    card = world.ask("served", world.public())
    world.view.click(APPROVER, card["ts"], "tkg:approve")
    world.view.wait(DEV, "Done and proven", thread=card["ts"])
    assert world.tagged("served") == set(world.public())


@pytest.mark.long
def test_forms_and_mentions(served: tuple[World, str]) -> None:
    world, _url = served
    assert world.view.command(DEV, "subnet tag").get("acked")
    form = modal(world, DEV)
    answer = world.view.submit(DEV, form, cluster="No Name", subnets=world.public()[0])
    assert "is not a cluster name" in answer["response"]["errors"]["cluster"]
    assert world.view.submit(DEV, form, cluster="by-http", subnets=world.public()[0]).get("acked")
    card = world.view.wait(DEV, "Approval needed: tag 1 subnet for by-http")
    world.view.say(DEV, "@tkgbot status", thread=card["ts"])
    assert request_id(card) in words(world.view.wait(DEV, "asked for by", thread=card["ts"]))


@pytest.mark.long
def test_health(served: tuple[World, str]) -> None:
    _world, url = served
    assert http_status(f"{url}/healthz") == 200
    assert http_status(f"{url}/readyz") == 200
    assert http_status(f"{url}/slack/events") == 405
    assert http_status(f"{url}/") == 404


@pytest.mark.long
def test_sigterm_loses_nothing_that_was_acked() -> None:
    with running_world() as world:
        bot, _url = world.start_http_bot()
        acked: list[str] = []

        def ask(number: int) -> None:
            name = f"load-{number}"
            if world.view.command(DEV, f"subnet tag {name} {world.public()[0]}").get("acked"):
                acked.append(name)

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(40)]
        for thread in threads:
            thread.start()
        bot.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join(PATIENCE)
        assert bot.wait(timeout=PATIENCE) == 0, world.log()
        world.view.http("POST", "/sandbox/delivery", {"url": ""})
        world.start_bot()

        def told() -> set[str]:
            seen = " ".join(words(message) for message in world.view.messages(DEV))
            return {name for name in acked if f"for {name}" in seen or f"{name} " in seen}

        eventually(lambda: told() == set(acked))


@pytest.mark.long
@pytest.mark.parametrize("secret", ["", "short"])
def test_a_signing_secret_that_is_none_is_refused(secret: str) -> None:
    with running_world() as world:
        bot = world.start_bot(
            ("-m", "bot", "run", "--http", "127.0.0.1:0"), connected=False, SLACK_SIGNING_SECRET=secret
        )
        assert bot.wait(timeout=PATIENCE) == 2
        assert "SLACK_SIGNING_SECRET" in world.log()
