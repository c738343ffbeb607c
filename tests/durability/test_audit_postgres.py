"""The audit on PostgreSQL, where records become visible in another order than their places in the table, with gaps,
and every replica has a sealer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from bot import audit_rows, auditing
from bot.anchor import Anchor
from bot.audit import AuditKey
from bot.audit_verify import verify
from bot.auditing import Sealer
from bot.config import secrets
from bot.store import Store
from tests.world import AUDIT_KEY

KEY = AuditKey(AUDIT_KEY)
WRITERS, EACH, REPLICAS = 6, 40, 3


@dataclass
class Replica:
    """A process's part of the audit: a connection pool, a sealer, and an anchor of its own."""

    folder: Path
    url: str

    def __post_init__(self) -> None:
        self.folder.mkdir()
        self.store = Store(self.folder, self.url)
        self.sealer = Sealer(self.store, KEY, Anchor(self.folder / "audit.anchor", KEY), clock=time.time)

    def write(self, writer: int, number: int, *, lost: bool = False) -> None:
        def work(connection: sa.Connection) -> None:
            audit_rows.write(
                connection, KEY, at=time.time(), request=f"r-{writer:06x}", actor="U1", event="moved",
                data={"n": number, "text": "größer \x00"},
            )  # fmt: skip
            if number % 7 == 0:  # commits later than what is written meanwhile
                connection.execute(sa.select(sa.func.pg_sleep(0.05)))
            if lost:
                raise KeyError("rolled back on purpose")

        if lost:
            with pytest.raises(KeyError):
                self.store.write(work)
        else:
            self.store.write(work)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with self.store.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.text(query))]

    def execute(self, statement: str) -> None:
        with self.store.engine.begin() as connection:
            connection.execute(sa.text(statement))

    def verify(self) -> tuple[int, list[str]]:
        environment = {
            "TKGBOT_DATA": str(self.folder), "TKGBOT_AUDIT_KEY": AUDIT_KEY,
            "TKGBOT_DATABASE_URL": self.url.replace("+psycopg", ""),
        }  # fmt: skip
        found = secrets(environment, to_run=False)
        with redirect_stdout(StringIO()) as said:
            code = verify(found, anchor_file=None, head=None, file=None, part=False, now=time.time())
        return code, said.getvalue().splitlines()


@pytest.fixture
def replicas(new_database: Callable[[], str], tmp_path: Path) -> Iterator[list[Replica]]:
    url = new_database()
    made = [Replica(tmp_path / f"replica-{number}", url) for number in range(REPLICAS)]
    yield made
    for replica in made:
        replica.store.close()


def test_many_writers_and_sealers_make_one_chain(replicas: list[Replica], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auditing, "BATCH", 20)
    watch, now, most = threading.Lock(), 0, 0
    chain = Sealer._chain

    def watched(*given: Any) -> None:
        nonlocal now, most
        with watch:
            now += 1
            most = max(most, now)
        chain(*given)
        with watch:
            now -= 1

    monkeypatch.setattr(Sealer, "_chain", watched)
    done = threading.Event()

    def keep_sealing(replica: Replica) -> int:
        sealed = 0
        while not done.is_set():
            sealed += replica.sealer.seal()
        return sealed

    def keep_writing(writer: int) -> None:
        for number in range(EACH):
            replicas[writer % REPLICAS].write(writer, number, lost=number % 5 == 4)

    with ThreadPoolExecutor(WRITERS + REPLICAS) as pool:
        sealing = [pool.submit(keep_sealing, replica) for replica in replicas]
        for written in [pool.submit(keep_writing, writer) for writer in range(WRITERS)]:
            written.result(60)
        done.set()
        sealed = [one.result(60) for one in sealing]
    for replica in replicas:
        replica.sealer.seal()
    kept = WRITERS * EACH * 4 // 5 + 1
    assert replicas[0].rows("SELECT count(*), min(number), max(number), count(DISTINCT number) FROM audit") == [
        (kept, 1, kept, kept)
    ]
    assert replicas[0].rows("SELECT max(seq) > count(*) FROM audit") == [(True,)], "there were no gaps to cope with"
    order = [row[0] for row in replicas[0].rows("SELECT seq FROM audit ORDER BY number")]
    assert order != sorted(order), "nothing was committed out of order"
    assert sum(count > 0 for count in sealed) > 1, "only one replica sealed"
    assert most == 1, "two sealed at once"
    for replica in replicas:
        code, said = replica.verify()
        assert code == 0, said


def test_tampering_is_named(replicas: list[Replica]) -> None:
    one = replicas[0]
    for number in range(1, 10):
        one.write(1, number)
    one.sealer.seal()
    one.write(1, 10)
    [[seq]] = one.rows("SELECT seq FROM audit WHERE number IS NULL")
    for statement, wanted in (
        ("UPDATE audit SET data = '{\"n\": 3}' WHERE number = 4", "changed: number 4 ("),
        ("UPDATE audit SET actor = 'U2' WHERE number IS NULL", f"changed: a record without a number (seq {seq}, "),
        ("DELETE FROM audit WHERE number = 6", "removed: number 6 is not there any more"),
        ("DELETE FROM audit WHERE number > 8", "cut off: numbers 9 to 10 are not there any more"),
    ):
        one.execute(statement)
        code, said = one.verify()
        assert code == 1
        assert any(line.startswith(wanted) for line in said), (wanted, said)


def test_a_restored_database_is_recorded_once_by_all_replicas(replicas: list[Replica]) -> None:
    """Whoever comes first records it; those whose anchors are behind neither record it again nor ask for a reaction."""
    for number in range(10):
        replicas[0].write(1, number)
        for replica in replicas:
            replica.sealer.seal()
    assert [replica.sealer.went_back() for replica in replicas] == [False] * REPLICAS
    replicas[0].write(1, 10)
    replicas[0].sealer.seal()  # only this one's anchor knows number 12
    replicas[0].execute("DELETE FROM audit WHERE number > 5")
    asked: list[int] = []
    for index, replica in enumerate(replicas):
        replica.sealer.on_went_back = lambda index=index: asked.append(index)
        assert replica.sealer.went_back() == (index == 0)
        replica.sealer.seal()
    assert asked == [0]
    assert replicas[0].rows("SELECT count(*) FROM audit WHERE event = 'database.restored'") == [(1,)]
    assert replicas[0].rows("SELECT number FROM audit WHERE number > 5 ORDER BY number") == [(13,)]
    for replica in replicas:
        code, said = replica.verify()
        assert (code, len(said)) == (1, 1), said
        assert said[0].startswith("removed: numbers 6 to 12 are not there any more; number 13 ")


def test_a_sealer_that_fails_in_the_middle_leaves_nothing(
    replicas: list[Replica], monkeypatch: pytest.MonkeyPatch
) -> None:
    replicas[0].write(1, 1)

    def fail(*_given: Any) -> None:
        raise KeyError("on purpose")

    with monkeypatch.context() as patch:
        patch.setattr(Sealer, "_tell", fail)
        with pytest.raises(KeyError):
            replicas[0].sealer.seal()
    assert replicas[0].rows("SELECT count(*), count(number) FROM audit") == [(1, 0)]
    assert replicas[1].sealer.seal() == 2
    assert replicas[1].verify()[0] == 0
