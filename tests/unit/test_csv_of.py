"""A survey as CSV: every field, a header that stays, and no formula."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot import messages
from bot.csv_of import HEADER, survey_csv
from handlers.contract import ClusterState, Gpus, Survey

NOW = 1_772_352_000.0
WHOLE = ClusterState(
    name="shop", namespace="platform", account="team-a", region="eu-west-1", state="updating",
    why="Machine shop-md-0-x: InsufficientInstanceCapacity, so it waits", kubernetes="v1.33.1",
    control_plane_ready=3, control_plane_wanted=3, workers_ready=2, workers_wanted=3,
    gpus=Gpus(allocatable=4, proven=2, untested=1, failed=1, why="One driver does not load"), cost_per_hour_usd=1.25,
    ends_at=NOW + 3600, labels={"team": "payments", "env": "prod"},
)  # fmt: skip


def rows(*clusters: ClusterState) -> list[dict[str, str]]:
    file = survey_csv(Survey(taken_at=NOW, clusters=clusters), "platform-1.csv")
    assert file.name == "platform-1.csv"
    read = csv.DictReader(io.StringIO(messages.safe_file(file).text))
    assert tuple(read.fieldnames or ()) == HEADER
    return list(read)


def test_the_header_is_stable() -> None:
    """Spreadsheets refer to columns by place: these stay, and new ones come after them."""
    assert HEADER[:20] == (
        "namespace", "cluster", "account", "region", "state", "why", "kubernetes", "control_plane_ready",
        "control_plane_wanted", "workers_ready", "workers_wanted", "gpus_allocatable", "gpus_proven", "gpus_untested",
        "gpus_failed", "cost_per_hour_usd", "ends_at", "taken_at", "gpus_why", "labels",
    )  # fmt: skip


def test_one_row_has_every_field() -> None:
    [row] = rows(WHOLE)
    assert row == dict(zip(HEADER, (
        "platform", "shop", "team-a", "eu-west-1", "updating",
        "Machine shop-md-0-x: InsufficientInstanceCapacity, so it waits", "v1.33.1", "3", "3", "2", "3", "4", "2", "1",
        "1", "1.25", "2026-03-01T09:00:00Z", "2026-03-01T08:00:00Z", "One driver does not load",
        "env=prod;team=payments",
    ), strict=True))  # fmt: skip


def test_every_field_of_a_cluster_has_its_column() -> None:
    """A field that somebody adds to the contract is not forgotten here."""
    named = {"name": "cluster", **{f"gpus.{name}": f"gpus_{name}" for name in Gpus.model_fields}}
    fields = [name for name in ClusterState.model_fields if name != "gpus"]
    assert {named.get(name, name) for name in [*fields, *(f"gpus.{name}" for name in Gpus.model_fields)]} <= set(HEADER)


def test_what_is_not_known_is_empty_and_nothing_is_nought() -> None:
    [row] = rows(ClusterState(name="new", namespace="default", state="unknown", workers_ready=0))
    assert row["workers_ready"] == "0"
    assert {
        row[name] for name in HEADER if name.endswith("wanted") or name.startswith("gpus") or name == "ends_at"
    } == {""}
    [row] = rows(WHOLE.model_copy(update={"gpus": Gpus(allocatable=None, why="No answer")}))
    assert (row["gpus_allocatable"], row["gpus_why"]) == ("", "No answer")


def test_no_cluster_is_a_header_alone() -> None:
    assert rows() == []


@pytest.mark.parametrize("formula", [
    '=HYPERLINK("https://example.com")', "+1", "-1+2", "@SUM(A1)", " =1", "\t=1", "\r=1", "\n\n=1", "\u200b=1",
    "＝1", "＋1",
])  # fmt: skip
def test_no_text_is_a_formula(formula: str) -> None:
    [row] = rows(WHOLE.model_copy(update={"why": formula, "labels": {}}))
    assert row["why"].startswith("'")
    [row] = rows(WHOLE.model_copy(update={"labels": {formula.strip(): "x"}}))
    assert row["labels"].startswith("'")


def test_a_number_below_nothing_stays_a_number() -> None:
    [row] = rows(WHOLE.model_copy(update={"cost_per_hour_usd": -0.5}))
    assert row["cost_per_hour_usd"] == "-0.5"


@given(st.text(max_size=60))
def test_any_text_stays_in_its_cell(text: str) -> None:
    first, second = rows(WHOLE.model_copy(update={"why": text}), WHOLE)
    assert not first["why"].startswith(("=", "+", "-", "@", "\t"))
    assert first["state"] == "updating"
    assert second["cluster"] == "shop"
