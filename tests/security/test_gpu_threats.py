"""Threats that come with GPUs: what a hostile workload cluster says, what the bot may do there, what it uploads."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from copy import deepcopy
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot import messages
from bot.slack import cards
from bot.slack.pictures import describe, draw
from bot.slack.uploading import upload_of
from handlers.clients.kube import Connection
from handlers.contract import Board, Fatal, File, Kind, Report, Retry, Sheet, UsageError
from handlers.gpu.job import render_job
from handlers.gpu.seen import VERDICT, look
from handlers.gpu_status import GpuStatus, StatusArguments
from handlers.kinds import CLUSTER_POLICY, DAEMON_SET, DEPLOYMENT, EVENT, JOB, NODE, POD
from handlers.settings import GpuSettings
from handlers.steps.await_gpus import AwaitGpusExecutor, AwaitGpusStep
from handlers.steps.gpu_test import (
    GpuCleanExecutor,
    GpuCleanStep,
    GpuTestExecutor,
    GpuTestStep,
    GpuVerdictExecutor,
    GpuVerdictStep,
)
from tests.unit.gpu_worlds import CLUSTER, REQUEST, Workload, served
from tests.unit.insides import START
from tests.unit.makers import NASTY
from tests.unit.test_cards import assert_slack_takes, assert_values_stay_values

KINDS = (NODE, POD, DEPLOYMENT, DAEMON_SET, CLUSTER_POLICY, JOB, EVENT)
Obj = dict[str, Any]


class Said:
    """A workload cluster that says whatever it likes, and takes everything."""

    def __init__(self, items: dict[str, list[Obj]], log: str = "Test PASSED\n") -> None:
        self.items, self.text, self.written = items, log, 0

    def has(self, kind: Kind) -> bool:
        return True

    def pages(self, kind: Kind, namespace: str = "", labels: str = "") -> Iterator[Any]:
        return iter(self.items.get(kind.name, []))

    def get(self, kind: Kind, name: str, namespace: str = "") -> Any:
        return None

    def log(self, *_: Any) -> str:
        return self.text

    def apply(self, item: Any) -> Any:
        self.written += 1
        return item

    def patch(self, kind: Kind, name: str, namespace: str, operations: Sequence[Any]) -> Any:
        json.dumps(list(operations)).encode()
        self.written += 1
        return {}

    def delete(self, *_: Any) -> None:
        self.written += 1


def world_of(kube: Any) -> Any:
    """A world that has only this cluster."""
    return SimpleNamespace(
        workload=lambda namespace, cluster: kube, now=lambda: START + 600, request=lambda: REQUEST, began=lambda: 0.0,
        gpu=GpuSettings,
    )  # fmt: skip


def report_of(kube: Any) -> Report:
    return GpuStatus().report(StatusArguments(cluster=CLUSTER), world_of(kube))


PLACE: Any = {"namespace": "default", "cluster": CLUSTER, "targets": (), "title": "t"}
STEPS: tuple[tuple[Any, Any], ...] = (
    (AwaitGpusExecutor(), AwaitGpusStep(nodes=1, patience=60, grace=5, **PLACE)),
    (GpuTestExecutor(), GpuTestStep(count=1, image="x/y:1", timeout=60, keep=60, **PLACE)),
    (GpuVerdictExecutor(), GpuVerdictStep(count=1, **PLACE)),
    (GpuCleanExecutor(), GpuCleanStep(**PLACE)),
)


def tried(kube: Any) -> tuple[list[str], list[File | Board | Sheet]]:
    """Every sentence and every exhibit of a status and of a test on such a cluster."""
    said: list[str] = []
    shown: list[File | Board | Sheet] = []
    for executor, step in STEPS:
        for work in (executor.observe, executor.apply):
            try:
                seen = work(step, world_of(kube))
            except (Fatal, UsageError, Retry) as error:
                said += [error.message, error.hint]
                continue
            except Exception as error:
                if type(error).__name__ != "NeedsPerson":
                    raise
                said.append(str(error))
                continue
            said += [seen.evidence, *getattr(seen, "reached", ())]
            shown += getattr(seen, "exhibits", ())
    return said, shown


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Obj]]:
    """What a cluster says in the middle of a test: one driver is down, a Job has failed, another goes on."""
    place = Workload().begun("g4dn.xlarge", "g4dn.xlarge", "g4dn.xlarge")
    with served(place, tmp_path_factory.mktemp("honest")) as kube:
        nodes = look(kube).nodes
        place.apply(render_job(REQUEST, nodes[0], "nvcr.io/nvidia/k8s/cuda-sample:x", 600, 60))
        place.switch(cuda_insufficient=True)
        place.go(2)
        place.switch(driver_crash="gpl")
        driver = next(p for p in place.pods("nvidia-driver-daemonset") if p["spec"]["nodeName"] == "gpu-2")
        place.store.delete("pods", driver["metadata"]["name"], "gpu-operator")
        place.go(30, 2)
        place.change("nodes", "gpu-1", annotations={VERDICT: json.dumps(
            {"request": REQUEST, "result": "failed", "why": "of old", "at": START, "seconds": 3}
        )})  # fmt: skip
        return {kind.name: [dict(item) for item in kube.pages(kind)] for kind in KINDS}


# -- values from outside -----------------------------------------------------------------------------------------

HOSTILE = (*NASTY, "\ud800", "<!channel> `@here` <@UEVIL00001>", "x" * 20_000, "`a` <!here> " * 2_000)


def poisoned(value: Any, text: str, path: tuple[str, ...] = ()) -> Any:
    """The same with `text` in the place of every word that nobody but people reads."""
    kept = ("app", "kind", "apiVersion", "uid", "nodeName", "phase", "status", "type", "creationTimestamp", "state")
    if isinstance(value, dict):
        labels = path[-1:] in (("labels",), ("annotations",), ("matchLabels",))
        return {
            key: inner if key in kept or (labels and "/" in key and "gpu." not in key)
            else poisoned(inner, text, (*path, key))
            for key, inner in value.items()
        }  # fmt: skip
    if isinstance(value, list):
        return [poisoned(inner, text, path) for inner in value]
    if isinstance(value, str) and path[-1:] in (("message",), ("osImage",), ("reason",)):
        return text
    if isinstance(value, str) and (path[-1:] == ("image",) or "gpu.product" in path[-1:]):
        return f"{value}{text}"
    return f"{value}{text}" if isinstance(value, str) and path[-2:] == ("metadata", "name") else value


def assert_harmless(said: Sequence[str], shown: Sequence[File | Board | Sheet]) -> None:
    """Nothing of it becomes markup, mentions anybody or is refused by Slack."""
    notes = [messages.was_reached(text) for text in said]
    notes += [messages.Note(text=text, facts=(text,), bullets=(text,)) for text in said if text]
    for exhibit in shown:
        if isinstance(exhibit, Sheet):
            notes += messages.sheet(exhibit)
        else:
            kept = messages.safe_file(exhibit) if isinstance(exhibit, File) else exhibit
            notes.append(messages.cannot_upload(kept, describe(kept) if isinstance(kept, Board) else kept.text, ""))
    for note in notes:
        message = cards.note(note)
        assert_slack_takes(message)
        assert_values_stay_values(message)


def failed(items: dict[str, list[Obj]], why: str) -> dict[str, list[Obj]]:
    """The same with a verdict on each node."""
    verdict = {"request": REQUEST, "result": "failed", "why": why, "at": START, "seconds": 3}
    made = deepcopy(items)
    for node in made["Node"]:
        node["metadata"].setdefault("annotations", {})[VERDICT] = json.dumps(verdict)
    return made


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_spoofing_words_of_a_hostile_cluster_stay_words(honest: dict[str, list[Obj]], text: str) -> None:
    """Names, labels, messages, images, logs and annotations, in a status and in a test."""
    items = {name: [poisoned(item, text) for item in listed] for name, listed in honest.items() if name != "Job"}
    kube = Said(
        failed({**items, "Job": honest["Job"]}, text), f"{text}\n{text} driver version is insufficient {text}\n"
    )
    report = report_of(kube)
    assert report.table is not None
    for note in messages.reported(report):
        message = cards.note(note)
        assert_slack_takes(message)
        assert_values_stay_values(message)
    said, shown = tried(kube)
    assert {type(one) for one in shown} == {Sheet, File, Board}
    assert_harmless(said, shown)


def test_denial_a_megabyte_of_text_stays_short(honest: dict[str, list[Obj]]) -> None:
    items = failed(honest, "`<!channel>` " * 2**17)
    for pod in items["Pod"]:
        for status in pod["status"].get("containerStatuses", []):
            status["state"] = {"waiting": {"reason": "ImagePullBackOff", "message": "x" * 2**20}}
    kube = Said(items, log="y" * 2**20)
    for note in messages.reported(report_of(kube)):
        assert_slack_takes(cards.note(note))
    said, shown = tried(kube)
    assert max(map(len, said)) < 3_000
    assert_harmless(said, shown)


def test_a_picture_of_hostile_names_is_drawn(honest: dict[str, list[Obj]]) -> None:
    items = {name: [poisoned(item, "$\\frac{<!channel>\u202e\n") for item in listed] for name, listed in honest.items()}
    board = next(one for one in tried(Said(items))[1] if isinstance(one, Board))
    assert draw(board).startswith(b"\x89PNG")
    assert "\u202e" not in describe(board)


ODD = st.sampled_from(
    [None, True, -1, 7, 1e308, "", "x", "True", [], ["x"], [None], {}, {"a": 1}, [{}], [[]], "9" * 400, "2026-13-99"]
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict):
        return [path] * bool(path) + [p for key, inner in value.items() for p in places(inner, (*path, key))]
    if isinstance(value, list):
        return [path] + [p for key, inner in enumerate(value) for p in places(inner, (*path, key))]
    return [path]


@settings(deadline=None, derandomize=True, max_examples=60)
@given(data=st.data())
def test_denial_objects_of_no_known_shape_end_neither_status_nor_test(honest: Any, data: st.DataObject) -> None:
    """Whatever stands at any place of any object: an answer, or an error with a sentence."""
    items = deepcopy(honest)
    for _ in range(data.draw(st.integers(1, 3))):
        kind = data.draw(st.sampled_from(sorted(items)))
        if not items[kind]:
            continue
        item = data.draw(st.sampled_from(items[kind]))
        path = data.draw(st.sampled_from(places(item)))
        place: Any = item
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = data.draw(ODD)
    kube = Said(items)
    for note in messages.reported(report_of(kube)):
        assert_slack_takes(cards.note(note))
    assert_harmless(*tried(kube))


@pytest.mark.parametrize("text", ["[" * 200_000, '{"a":' * 200_000, '{"why":"' + "x" * 2**20, '{"at": 1e999}'])
def test_denial_a_verdict_that_was_made_to_break_the_reader(honest: dict[str, list[Obj]], text: str) -> None:
    items = deepcopy(honest)
    for node in items["Node"]:
        node["metadata"].setdefault("annotations", {})[VERDICT] = text
    table = report_of(Said(items)).table
    assert table is not None
    assert {row[3] for row in table.rows} == {"never"}


class Wire:
    """An API server that answers with these bytes."""

    def __init__(self, body: bytes) -> None:
        self.configuration = SimpleNamespace(host="https://127.0.0.1:1")
        self.rest_client = self
        self.body = body

    def update_params_for_auth(self, *_: Any) -> None:
        """No credentials."""

    def request(self, *_: Any, **__: Any) -> Any:
        return SimpleNamespace(status=200, headers={}, read=lambda: self.body)


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[1]", b"7", b'"x"', b"\xff\xfe", b"[" * 200_000, b'{"items":' * 100_000], ids=range(8)
)
def test_denial_an_answer_that_is_no_object_is_a_sentence(body: bytes) -> None:
    connection = Connection(Wire(body), "The cluster vision", (1.0, 1.0))
    with pytest.raises(Retry, match="The cluster vision answered to list nodes with something that is no object"):
        connection.send("GET", "/api/v1/nodes", "list nodes")


def test_denial_halves_of_characters_and_odd_items_in_an_answer() -> None:
    from handlers.clients.kube import Cluster

    body = b'{"kind":"NodeList","items":[null,7,"x",{"metadata":{"name":"a\\ud800b"}}],"metadata":[]}'
    (item,) = Cluster(Connection(Wire(body), "The cluster vision", (1.0, 1.0))).pages(NODE)
    json.dumps(item, ensure_ascii=False).encode()
    assert item["metadata"] == {"name": "a?b"}


# -- secrets -----------------------------------------------------------------------------------------------------

CANARIES = {
    "a kubeconfig": "client-key-data: LS0tLS1CRUdJTiBSU0EgUFJJVkFURSBLRVktLS0tLQ==",
    "a token": "Authorization: Bearer eyJhbGciOiJSUzI1NiIsImtpZCI6IjEyMyJ9.eyJzdWIiOiJzeXN0ZW0ifQ.c2lnbmF0dXJl",
    "a key of AWS": "AKIAIOSFODNN7EXAMPLE",
    "a secret key of AWS": "AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "a password": "password: hunter2hunter2",
    "a token of Slack": "xoxb-123456789012-abcdefghijklmnop",
}


@pytest.mark.parametrize("line", CANARIES.values(), ids=CANARIES)
def test_disclosure_a_log_is_uploaded_without_the_secrets_in_it(honest: dict[str, list[Obj]], line: str) -> None:
    log = f"[Vector addition]\n{line}\nCUDA driver version is insufficient {line}\n"
    said, shown = tried(Said(failed(honest, f"it said {line}"), log))
    secret = line.rpartition(" ")[2].rpartition("=")[2] if "=" not in line[-2:] else line.rpartition(" ")[2]
    files = [messages.safe_file(one) for one in shown if isinstance(one, File)]
    assert files, "the log of the failed test is shown"
    for file in files:
        assert secret not in upload_of(file, "key", repeat=False).content.decode()
        assert "[redacted]" in file.text
    notes = [note for one in shown if isinstance(one, Sheet) for note in messages.sheet(one)]
    notes += [messages.was_reached(text) for text in said]
    for note in notes:
        assert secret not in json.dumps(cards.note(note).blocks)
