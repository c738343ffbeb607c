"""Health and metrics, asked for as a kubelet and Prometheus do."""

from __future__ import annotations

import http.client
from collections.abc import Iterator

import pytest

from bot.probes import Probes, ProbeServer


class Served:
    """A port of this machine with the probes behind it."""

    def __init__(self, metrics: bool = True) -> None:
        self.well = {"database": True, "slack": True}
        self.asked = 0
        checks = {name: lambda name=name: self._look(name) for name in self.well}
        text = (lambda: (b"a_total 1\n", "text/plain; version=0.0.4")) if metrics else None
        self.probes = Probes(checks, text)
        self.server = ProbeServer(self.probes, "127.0.0.1", 0)
        self.server.start()

    def _look(self, name: str) -> bool:
        self.asked += 1
        return self.well[name]

    def get(self, path: str, method: str = "GET") -> tuple[int, str, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        connection.request(method, path)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, text, answer.headers["Content-Type"]


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setattr("bot.probes.FRESH", 0.0)
    made = Served()
    yield made
    made.server.stop()


def test_it_is_not_ready_before_everything_was_started(served: Served) -> None:
    assert served.get("/readyz")[:2] == (503, "starting")
    assert served.get("/healthz")[:2] == (200, "ok")
    served.probes.ready()
    assert served.get("/readyz")[:2] == (200, "ok")


def test_it_says_which_part_is_not_ready(served: Served) -> None:
    served.probes.ready()
    served.well["slack"] = False
    assert served.get("/readyz")[:2] == (503, "slack")
    served.well["database"] = False
    assert served.get("/readyz")[:2] == (503, "database slack")
    assert served.get("/healthz")[:2] == (200, "ok")


def test_from_the_first_moment_of_an_end_it_is_not_ready(served: Served) -> None:
    served.probes.ready()
    served.probes.stopping()
    assert served.get("/readyz")[:2] == (503, "stopping")
    served.probes.ready()  # a start that ends late changes nothing about that
    assert served.get("/readyz")[:2] == (503, "stopping")
    assert served.get("/healthz")[:2] == (200, "ok")


def test_parts_are_asked_once_a_second_however_often_it_is_asked() -> None:
    made = Served()
    try:
        made.probes.ready()
        for _ in range(20):
            assert made.get("/readyz")[0] == 200
        assert made.asked <= 2 * len(made.well)
    finally:
        made.server.stop()


def test_metrics_come_in_the_format_of_prometheus(served: Served) -> None:
    assert served.get("/metrics") == (200, "a_total 1\n", "text/plain; version=0.0.4")


def test_metrics_are_not_where_nobody_serves_them() -> None:
    made = Served(metrics=False)
    try:
        assert made.get("/metrics")[0] == 404
    finally:
        made.server.stop()


@pytest.mark.parametrize("path", ["/", "/slack/events", "/metrics/", "/healthz/.."])
def test_there_is_nothing_else(served: Served, path: str) -> None:
    assert served.get(path)[0] == 404


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_nothing_can_be_sent(served: Served, path: str) -> None:
    assert served.get(path, "POST")[0] == 405
    assert served.get(path, "DELETE")[0] == 405
