"""Which requests' outcome should still be there."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from bot import tables
from bot.lifecycle import State
from bot.made import lasting as asked_of
from bot.made import still_there
from bot.store import Store
from handlers.contract import Made
from handlers.workshop import discover
from tests.unit.makers import make_request

OPERATIONS = discover()
TAG: dict[str, Any] = {"cluster": "demo", "subnets": ["subnet-1", "subnet-2"], "account": "management"}


def made(request: str, operation: str, **arguments: Any) -> Made:
    return Made(request=request, operation=operation, arguments=arguments, at=float(request.rpartition("-")[2]))


def left(*finished: Made | tuple[str, Made]) -> dict[str, Any]:
    pairs: list[tuple[str | None, Made]] = [one if isinstance(one, tuple) else (None, one) for one in finished]
    return {one.request: one.arguments.get("subnets", True) for one in still_there(pairs, OPERATIONS)}


@pytest.fixture(autouse=True)
def lasting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every kind of work that these tests speak of looks for drift."""
    for name in ("subnet tag", "account onboard", "cluster create"):
        kind = type(OPERATIONS[name])
        if "drift" not in vars(kind):
            monkeypatch.setattr(kind, "drift", lambda self, arguments, world: ())


def test_what_was_made_stays_until_it_is_taken_back() -> None:
    first = made("r-1", "subnet tag", **TAG)
    assert left(first) == {"r-1": ["subnet-1", "subnet-2"]}
    undone = ("r-1", made("r-2", "subnet untag", **TAG))
    assert left(first, undone) == {}
    assert left(first, made("r-2", "subnet untag", **TAG)) == {}


def test_an_untag_of_some_subnets_leaves_the_others() -> None:
    first = made("r-1", "subnet tag", **TAG)
    assert left(first, made("r-2", "subnet untag", **{**TAG, "subnets": ["subnet-1"]})) == {"r-1": ["subnet-2"]}
    assert left(first, made("r-2", "subnet untag", **{**TAG, "cluster": "shop"})) == {"r-1": ["subnet-1", "subnet-2"]}


def test_the_same_again_counts_once_and_more_of_it_adds() -> None:
    first = made("r-1", "subnet tag", **TAG)
    assert left(first, made("r-2", "subnet tag", **TAG)) == {"r-2": ["subnet-1", "subnet-2"]}
    more = made("r-2", "subnet tag", **{**TAG, "subnets": ["subnet-2", "subnet-3"]})
    assert left(first, more) == {"r-1": ["subnet-1"], "r-2": ["subnet-2", "subnet-3"]}


def test_a_deleted_cluster_leaves_nothing_behind() -> None:
    first = made("r-1", "subnet tag", **TAG)
    create = made("r-2", "cluster create", cluster="demo", namespace="default", account="management")
    delete = made("r-3", "cluster delete", cluster="demo", namespace="default", account="management")
    assert left(first, create, delete) == {}
    elsewhere = made("r-3", "cluster delete", cluster="demo", namespace="other", account="management")
    assert "r-2" in left(first, create, elsewhere)
    assert left(delete, create) == {"r-2": True}


def test_an_account_is_made_anew_by_the_last_one_and_let_go() -> None:
    first = made("r-1", "account onboard", account_id="444455556666", identity="tenant", namespaces=["a"])
    second = made("r-2", "account onboard", account_id="444455556666", identity="tenant", namespaces=["a", "b"])
    assert left(first, second) == {"r-2": True}
    off = made("r-3", "account offboard", account_id="444455556666", identity="tenant")
    assert left(first, second, off) == {}


def test_a_cleaned_up_cluster_is_not_missed_any_more() -> None:
    """Also one that went without a request: its cleanup is the end of it."""
    tag = made("r-1", "subnet tag", **TAG)
    create = made("r-2", "cluster create", cluster="demo", namespace="default", account="management")
    cleanup = made("r-3", "cluster cleanup", cluster="demo", namespace="default", account="management")
    assert left(tag, create, cleanup) == {}
    assert left(create, made("r-3", "cluster cleanup", cluster="shop", namespace="default")) == {"r-2": True}


def _run(statement: sa.Insert, connection: sa.Connection) -> None:
    connection.execute(statement)


@pytest.mark.parametrize(
    ("state", "kept"),
    [
        (State.SUCCEEDED, []), (State.NOTHING_TO_DO, []), (State.FAILED, ["r-1"]), (State.BLOCKED, ["r-1"]),
        (State.AWAITING, ["r-1"]), (State.DENIED, ["r-1"]),
    ],
)  # fmt: skip
def test_an_end_counts_where_nothing_was_left_to_do_too(tmp_path: Path, state: State, kept: list[str]) -> None:
    """What somebody else has taken away already is not missed by the one who asked for just that."""
    store = Store(tmp_path, None)
    place = {"cluster": "demo", "namespace": "default", "account": "management", "region": "us-east-1"}
    rows = [
        make_request(State.SUCCEEDED, id="r-1", operation="cluster create", arguments=place, ended_at=5.0),
        make_request(State.NOTHING_TO_DO, id="r-2", operation="cluster create", arguments=place, updated_at=4.0),
        make_request(
            state, id="r-3", operation="cluster cleanup", arguments=place, updated_at=9.0,
            ended_at=9.0 if state in (State.SUCCEEDED, State.FAILED) else None,
        ),
    ]  # fmt: skip
    for number, row in enumerate(rows):
        stored = sa.insert(tables.requests).values(**{**vars(row), "invocation": f"command:T:{number}"})
        store.write(partial(_run, stored))
    assert [one.request for one in store.read(lambda connection: asked_of(connection, OPERATIONS))] == kept
    store.close()
