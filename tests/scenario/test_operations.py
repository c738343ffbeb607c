"""The bot for those who run it: health in every mode, metrics that are true, structured logs, an end that drains."""

from __future__ import annotations

import json
import signal
import socket
import time
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.scenario.conftest import request_id
from tests.world import APPROVER, DEV, PATIENCE, Json, World, eventually, http_status, running_world

Numbers = dict[tuple[str, ...], float]


def free_port() -> str:
    """An address of this machine that nobody has."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


def start(world: World, **more: str) -> str:
    """A bot by Socket Mode that serves its probes; their address, once it is ready."""
    address = free_port()
    world.start_bot(("-m", "bot", "run", "--serve", address), TKGBOT_LOG="json", **more)
    eventually(lambda: http_status(f"http://{address}/readyz") == 200)
    return f"http://{address}"


def fetch(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return int(answer.status), answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


def scrape(url: str) -> Numbers:
    """Every sample by its name and its labels' values."""
    families = text_string_to_metric_families(fetch(f"{url}/metrics")[1])
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[World, str]]:
    with running_world() as world:
        yield world, start(world)


def test_probes_in_socket_mode(served: tuple[World, str]) -> None:
    _world, url = served
    assert fetch(f"{url}/healthz") == (200, "ok")
    assert fetch(f"{url}/readyz") == (200, "ok")
    assert fetch(f"{url}/slack/events")[0] == 404


def test_what_happened_is_in_the_metrics(served: tuple[World, str]) -> None:
    world, url = served
    before = scrape(url)
    card = world.ask("counted", world.public())
    world.view.click(APPROVER, card["ts"], "tkg:approve")
    world.view.wait(DEV, "Done and proven", thread=card["ts"])

    def grown(*sample: str) -> float:
        return scrape(url).get(sample, 0.0) - before.get(sample, 0.0)

    eventually(lambda: scrape(url).get(("tkgbot_outbox",)) == 0 and grown("tkgbot_requests", "succeeded") == 1)
    for state in ("planning", "awaiting", "approved", "running", "succeeded"):
        assert grown("tkgbot_transitions_total", "subnet tag", state) == 1, state
    assert grown("tkgbot_ack_seconds_count", "command", "new") == 1
    assert grown("tkgbot_ack_seconds_count", "click", "new") == 1
    assert grown("tkgbot_answer_seconds_count", "command", "ok") == 1
    assert grown("tkgbot_planning_seconds_count", "subnet tag", "ok") == 1
    assert grown("tkgbot_step_seconds_count", "ok", "tag") >= 1
    assert grown("tkgbot_messages_total", "card", "ok") >= 2
    assert grown("tkgbot_cloud_call_seconds_count", "aws", "ok", "ec2") >= 2
    assert grown("tkgbot_cloud_call_seconds_count", "aws", "ok", "sts") >= 1
    now = scrape(url)
    assert now["tkgbot_database_up",] == 1
    assert now["tkgbot_leases",] == 0
    assert now["tkgbot_job_last_success_timestamp_seconds", "seal"] == pytest.approx(time.time(), abs=30)
    assert not [sample for sample in now if sample[0] == "tkgbot_job_failures_total" and now[sample]]


def test_no_label_names_anybody_or_anything_of_a_request(served: tuple[World, str]) -> None:
    world, url = served
    card = world.ask("unnamed", world.public())
    text = fetch(f"{url}/metrics")[1]
    for value in (DEV, APPROVER, "CPLATFORM1", "unnamed", "counted", request_id(card), *world.public(), "tkgbot-world"):
        assert value not in text, value


@pytest.mark.long
def test_rate_limits_of_slack_and_refusals_of_aws_are_counted(served: tuple[World, str]) -> None:
    world, url = served
    world.view.slack_faults(rate_limit=1, rate_limit_methods=["chat.postMessage"])
    world.ask("limited", world.public())
    eventually(lambda: scrape(url).get(("tkgbot_slack_rate_limited_total",), 0) >= 1)
    world.view.aws_faults(deny=["ec2:DescribeSubnets"])
    world.ask("denied", world.public(), state="denied")
    eventually(lambda: scrape(url).get(("tkgbot_cloud_call_seconds_count", "aws", "denied", "ec2"), 0) >= 1)
    world.calm()


def test_every_line_of_the_log_is_an_object_with_its_request(served: tuple[World, str]) -> None:
    world, _ = served

    def lines() -> list[Json]:
        return [json.loads(line) for line in world.log().splitlines()]

    def said() -> list[Json]:
        """What is logged of messages that may not be sent, but for those of earlier requests."""
        return [line for line in lines() if "missing_scope" in line["message"] and line["request"] not in earlier]

    earlier, since = {line.get("request") for line in lines()}, world.now()
    world.view.slack_faults(without_scopes=["chat:write"])
    assert world.view.command(DEV, f"subnet tag logged {world.public()[0]}").get("acked")
    eventually(lambda: bool(said()))
    world.calm()
    card = world.view.wait(DEV, "Approval needed", since=since)
    first = said()[0]
    assert (first["level"], first["logger"]) == ("warning", "bot.slack.outbox")
    assert first["request"] == request_id(card)
    assert all({"time", "level", "logger", "message"} <= set(line) for line in lines())
    env = world.environment()
    secrets = [env[name] for name in ("SLACK_BOT_TOKEN", "SLACK_APP_TOKEN", "AWS_SECRET_ACCESS_KEY")]
    assert not [line for line in lines() for secret in secrets if secret in json.dumps(line)]


@pytest.mark.long
def test_a_log_that_is_neither_is_refused() -> None:
    with running_world() as world:
        bot = world.start_bot(connected=False, TKGBOT_LOG="xml")
        assert bot.wait(timeout=PATIENCE) == 2
        assert "TKGBOT_LOG is 'xml'; it is `text` or `json`" in world.log()


# -- readiness ---------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_not_ready_while_slack_is_away() -> None:
    with running_world() as world:
        url = start(world)
        world.view.slack_faults(down=True)
        eventually(lambda: fetch(f"{url}/readyz") == (503, "slack"))
        assert fetch(f"{url}/healthz") == (200, "ok")
        world.view.slack_faults(down=False)
        eventually(lambda: fetch(f"{url}/readyz") == (200, "ok"))


@pytest.mark.long
def test_sigterm_says_not_ready_first_and_then_drains() -> None:
    """A message is on its way when the signal comes: the bot says that it is not ready, lets it end, and ends well."""
    with running_world() as world:
        url = start(world)
        bot = world.bots[0]
        world.view.slack_faults(latency_ms=3000)
        since = world.now()
        assert world.view.command(DEV, "help").get("acked")
        eventually(lambda: scrape(url).get(("tkgbot_answer_seconds_count", "command", "ok"), 0) >= 1)
        bot.send_signal(signal.SIGTERM)
        seen: list[tuple[int, str]] = []

        def is_over() -> bool:
            seen.append(fetch(f"{url}/readyz"))
            return bot.poll() is not None

        eventually(is_over)
        assert (503, "stopping") in seen, seen[:5]
        first = seen.index((503, "stopping"))
        assert first <= 3, seen[:10]
        assert (200, "ok") not in seen[first:]
        assert bot.wait(timeout=PATIENCE) == 0, world.log()
        world.view.slack_faults(latency_ms=0)
        world.view.wait(DEV, "/tkg", since=since)


@pytest.mark.long
def test_metrics_are_on_the_one_port_that_was_named_for_them() -> None:
    with running_world() as world:
        _bot, url = world.start_http_bot()
        assert fetch(f"{url}/metrics")[0] == 200
        assert scrape(url)["tkgbot_database_up",] == 1
    with running_world() as world:
        intake, probes = free_port(), free_port()
        world.start_bot(("-m", "bot", "run", "--http", intake, "--serve", probes), connected=False, SLACK_APP_TOKEN="")
        eventually(lambda: http_status(f"http://{intake}/readyz") == 200, 90)
        assert fetch(f"http://{intake}/metrics")[0] == 404
        assert fetch(f"http://{probes}/metrics")[0] == 200
        assert fetch(f"http://{probes}/readyz") == (200, "ok")
        assert fetch(f"http://{probes}/slack/events")[0] == 404
