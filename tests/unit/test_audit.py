"""The audit: what proves a record, what the sealer does, and that no tampering stays unseen or is pinned on another
record. Every tampering is done to a real SQLite file, as somebody would who can write to it and has not the key."""

from __future__ import annotations

import csv
import hmac
import json
import random
import re
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, redirect_stdout, suppress
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from bot import anchor, audit_rows, auditing, tables
from bot.__main__ import main
from bot.anchor import Anchor, Line, thinned
from bot.audit import NOTHING, AuditKey, Head, Record, as_read, canonical
from bot.audit_check import LISTED, Checker
from bot.audit_findings import Claim, moment
from bot.audit_key import audit_key
from bot.audit_look import looking
from bot.audit_verify import verify
from bot.auditing import BATCH, Sealer, make_sealer
from bot.config import ConfigError, Secrets, secrets
from bot.ledger import Ledger
from bot.logs import redact
from bot.spans import Spans
from bot.store import Store

SECRET = "a key of more than 32 characters, for tests"
KEY, WRONG = AuditKey(SECRET), AuditKey("the key of somebody who does not know the key")
NOW = 1_800_000_000.0
SEALED, WAITING = 60, 4
CONTENT = ("at", "request", "actor", "event", "data")
PROOFS = ("mac", "number", "previous", "seal")


class Bench:
    """A data directory with an audit in it, and a clock."""

    def __init__(self, folder: Path, key: AuditKey = KEY) -> None:
        self.folder = folder
        self.key = key
        self.now = NOW
        self.store = Store(folder)
        self.sealer = self.new_sealer()

    def new_sealer(self) -> Sealer:
        return Sealer(self.store, self.key, Anchor(self.folder / "audit.anchor", self.key), clock=lambda: self.now)

    def write(self, count: int = 1) -> None:
        def work(connection: sa.Connection) -> None:
            for _ in range(count):
                self.now += 0.25
                number = int((self.now - NOW) * 4)
                audit_rows.write(
                    connection, self.key, at=self.now, request=f"r-{number // 8:06x}", actor="UDEV000001",
                    event=("moved", "vote.approved", "step.begun")[number % 3],
                    data={"from": "awaiting", "to": "approved", "reason": "größer …", "n": number, "f": number / 8},
                )  # fmt: skip

        self.store.write(work)

    def execute(self, statement: str, *values: object) -> None:
        with closing(sqlite3.connect(self.store.path, isolation_level=None)) as connection:
            connection.execute(statement, values)

    def rows(self, statement: str) -> list[Any]:
        with closing(sqlite3.connect(self.store.path)) as connection:
            return connection.execute(statement).fetchall()

    def verify(self, **options: Any) -> tuple[int, list[str]]:
        return verified(self.folder, now=self.now, **options)


def environment(folder: Path) -> dict[str, str]:
    return {"TKGBOT_DATA": str(folder), "TKGBOT_AUDIT_KEY": SECRET}


def settings(folder: Path) -> Secrets:
    return secrets(environment(folder), to_run=False)


def verified(folder: Path, now: float, **options: Any) -> tuple[int, list[str]]:
    """The exit code and the lines of `tkgbot audit verify`."""
    more = {"anchor_file": None, "head": None, "file": None, "part": False, **options}
    with redirect_stdout(StringIO()) as said:
        code = verify(settings(folder), now=now, **more)
    return code, said.getvalue().splitlines()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path / "data")
    yield made
    made.store.close()


# -- what proves a record ------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_the_canonical_form_says_the_same_and_is_ascii(value: Any) -> None:
    assert json.loads(canonical(value)) == value
    assert canonical(value).isascii()
    assert canonical(json.loads(canonical(value))) == canonical(value)


@given(JSON, JSON)
def test_what_differs_has_another_canonical_form(one: Any, other: Any) -> None:
    assert (canonical(one) == canonical(other)) == (
        json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    )


@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_the_order_of_names_does_not_count(value: dict[str, Any]) -> None:
    assert canonical(dict(reversed(value.items()))) == canonical(value)


def test_no_strange_value_passes_for_a_usual_one() -> None:
    assert len({canonical(value) for value in (b"1", "1", 1, 1.0, True, "b'1'", None, "None")}) == 8


def a_record(**changes: Any) -> Record:
    data = json.dumps({"to": "approved"})
    mac = KEY.mac(1, NOW, "r-000001", "U1", "moved", {"to": "approved"})
    made = Record(seq=1, at=NOW, request="r-000001", actor="U1", event="moved", data=data, mac=mac)
    head = KEY.seal(made, NOTHING)
    return replace(made, **{"number": head.number, "previous": "", "seal": head.seal, **changes})


def test_a_record_proves_itself() -> None:
    record = a_record()
    assert KEY.wrote(record)
    assert KEY.place(record) == 1
    assert not WRONG.wrote(record)
    assert WRONG.place(record) is None


@pytest.mark.parametrize(
    "change",
    [
        {"seq": 2}, {"at": NOW + 1}, {"at": int(NOW)}, {"at": str(NOW)}, {"request": None}, {"request": "r-000002"},
        {"actor": "U2"}, {"actor": b"U1"}, {"event": "Moved"}, {"data": "{}"}, {"data": '{"to": "approved" }'},
        {"data": '{"to": "denied", "to": "approved"}'}, {"data": "[" * 100_000}, {"data": None}, {"data": b"{}"},
        {"data": "no JSON"}, {"mac": None}, {"mac": "é" * 64}, {"mac": 7},
    ],
    ids=repr,
)  # fmt: skip
def test_no_change_of_what_is_said_has_a_true_seal(change: dict[str, Any]) -> None:
    changed = a_record(**change)
    assert KEY.place(changed) is None
    if change.get("data") != '{"to": "approved" }':  # another spelling of what was written: only the seal sees it
        assert not KEY.wrote(changed)


@pytest.mark.parametrize("seal", ["", "1", ":", "1:", "x:00", "²:00", "9" * 400 + ":0", None, 7, b"1:00", "-1:00"])
def test_odd_seals_prove_nothing(seal: Any) -> None:
    assert KEY.place(a_record(seal=seal)) is None
    assert KEY.place(a_record(previous=None)) is None


def test_the_key_is_never_shown(tmp_path: Path) -> None:
    assert SECRET not in repr(KEY) + str(KEY)
    assert SECRET not in repr(settings(tmp_path))
    for line in (f"TKGBOT_AUDIT_KEY={SECRET}", f"{{'TKGBOT_AUDIT_KEY': '{SECRET}'}}", f"tkgbot_audit_key: {SECRET}"):
        assert "characters" not in redact(line), redact(line)
    assert redact("TKGBOT_AUDIT_KEY_FILE=/run/secrets/audit") == "TKGBOT_AUDIT_KEY_FILE=/run/secrets/audit"


@given(st.lists(st.integers(1, 40)), st.integers(1, 10), st.integers(30, 50))
def test_spans_are_a_set(numbers: list[int], first: int, last: int) -> None:
    spans = Spans()
    for number in numbers:
        spans.add(number)
    assert [number for number in range(60) if number in spans] == sorted(set(numbers))
    assert spans.last == max(numbers, default=0)
    missing = [number for begin, end in spans.gaps(first, last) for number in range(begin, end + 1)]
    assert missing == [number for number in range(first, last + 1) if number not in numbers]
    assert all(one[1] + 1 < other[0] for one, other in zip(spans.spans, spans.spans[1:], strict=False))


# -- a thousand tamperings -----------------------------------------------------------------------------------------


class Tamperer:
    """Somebody who can write to the file, and has another key. Each deed says which lines `verify` must have, as
    beginnings; there may be more."""

    def __init__(self, connection: sqlite3.Connection, choice: random.Random) -> None:
        self.db = connection
        self.choice = choice

    def numbers(self, count: int = 1, last: int = SEALED, first: int = 1) -> list[int]:
        return sorted(self.choice.sample(range(first, last + 1), count))

    def hex(self) -> str:
        return f"{self.choice.randrange(16**64):064x}"

    def record(self, where: str, value: object) -> Record:
        fields = [*("seq", *CONTENT), *PROOFS]
        row = self.db.execute(f"SELECT {', '.join(fields)} FROM audit WHERE {where} = ?", (value,)).fetchone()
        return Record(**dict(zip(fields, row, strict=True)))

    def put(self, record: Record) -> None:
        values = vars(record)
        marks = ", ".join("?" * len(values))
        statement = f"INSERT OR REPLACE INTO audit ({', '.join(values)}) VALUES ({marks})"
        self.db.execute(statement, tuple(values.values()))

    def another(self, field: str, record: Record) -> object:
        """Another value for a field of a record."""
        if field == "at":
            return record.at + self.choice.choice([-3600.0, 1e-6 * 1000, 86_400.0])
        if field == "data":
            return self.another_data(record)
        return self.choice.choice(["UAPPROVE01", "moved!", "r-ffffff", "", "tkgbot\x00", b"moved", "1"])

    def another_data(self, record: Record) -> str:
        old = record.data
        spot = self.choice.randrange(len(old))
        kept = [
            "{}", old.replace("approved", "denied"), old.replace(": ", ":  ", 1), old[:-1] + ', "to": "denied"}',
            old.replace("\\u00f6", "\\u00F6"), old[:spot] + chr(ord(old[spot]) ^ 1) + old[spot + 1 :], old[:spot],
        ]  # fmt: skip
        return self.choice.choice([text for text in kept if text != old])

    def forged(self, **changes: Any) -> Record:
        """A record that looks right, with proofs by the wrong key."""
        last = self.db.execute("SELECT max(seq) FROM audit").fetchone()[0]
        made = Record(
            seq=last + 1, at=NOW, request="r-000001", actor="UEVIL00001", event="vote.approved", data='{"n": 1}',
            mac=self.hex(),
        )  # fmt: skip
        return replace(made, **changes)

    def renumber(self, first: int, shift: int) -> None:
        self.db.execute("UPDATE audit SET number = number + ? WHERE number >= ?", (shift, first))

    def reseal(self, first: int, *, remac: bool = False) -> None:
        """New seals from a number on, as somebody makes them who knows how and has the wrong key."""
        rows = self.db.execute("SELECT number FROM audit WHERE number >= ? ORDER BY number", (first,)).fetchall()
        before = self.db.execute("SELECT number, seal FROM audit WHERE number = ?", (first - 1,)).fetchone() or (0, "")
        head = Head(*before)
        for (number,) in rows:
            record = self.record("number", number)
            if remac:
                content = (record.seq, record.at, record.request, record.actor, record.event, json.loads(record.data))
                record = replace(record, mac=WRONG.mac(*content))
            after, head = head, WRONG.seal(record, Head(number - 1, head.seal))
            self.put(replace(record, previous=after.seal, seal=head.seal))

    # -- deeds ---------------------------------------------------------------------------------------------------

    def change_what_is_said(self) -> list[str]:
        [number] = self.numbers()
        record = self.record("number", number)
        field = self.choice.choice([name for name in CONTENT if getattr(record, name) is not None])
        value = self.another(field, record)
        self.put(replace(record, **{field: value}))
        return [f"changed: number {number} (seq {record.seq}, "]

    def change_and_seal_anew(self) -> list[str]:
        [number] = self.numbers(first=2)
        record = self.record("number", number)
        self.put(replace(record, data=record.data.replace("approved", "denied"), actor="UEVIL00001"))
        self.reseal(number, remac=self.choice.random() < 0.3)
        return [f"changed: number {number} (seq {record.seq}, "]

    def change_a_proof(self) -> list[str]:
        [number] = self.numbers(first=2)
        field = self.choice.choice(["mac", "previous", "seal"])
        value = self.choice.choice([self.hex(), f"{number}:{self.hex()}", None, ""])
        self.put(replace(self.record("number", number), **{field: value}))
        return [f"changed: number {number} (seq {number}, "]

    def remove(self) -> list[str]:
        numbers = self.numbers(self.choice.choice([1, 1, 2, 5]), SEALED - 1)
        for number in numbers:
            self.db.execute("DELETE FROM audit WHERE number = ?", (number,))
        return self.told_missing(numbers)

    def told_missing(self, numbers: list[int]) -> list[str]:
        spans = Spans()
        for number in numbers:
            spans.add(number)
        return [
            f"removed: number {a} is not there" if a == b else f"removed: numbers {a} to {b} are not there"
            for a, b in spans.spans
        ]

    def remove_and_close_the_gap(self) -> list[str]:
        [number] = self.numbers(1, SEALED - 1)
        self.db.execute("DELETE FROM audit WHERE number = ?", (number,))
        self.renumber(number, -1)
        return [
            f"removed: number {number} is not there",
            f"reordered: number{'s' * (number < SEALED - 1)} {number + 1} ",
        ]

    def remove_and_seal_anew(self) -> list[str]:
        [number] = self.numbers(1, SEALED - 1)
        self.db.execute("DELETE FROM audit WHERE number = ?", (number,))
        if self.choice.random() < 0.5:
            self.renumber(number, -1)
            self.reseal(number)
            gone = f"removed: seq {number} was taken away, before what is number {number} now"
            return [gone, "changed: number", f"cut off: number {SEALED} is"]
        self.reseal(number + 1)
        return [f"removed: number {number} is not there", f"removed: seq {number} was", "changed: number"]

    def cut_the_end(self) -> list[str]:
        first = self.choice.randrange(1, SEALED + 1)
        self.db.execute("DELETE FROM audit WHERE number >= ? OR number IS NULL", (first,))
        what = f"number {first} is" if first == SEALED else f"numbers {first} to {SEALED} are"
        return [f"cut off: {what} not there any more"]

    def cut_the_end_and_leave_what_waits(self) -> list[str]:
        first = self.choice.randrange(2, SEALED + 1)
        self.db.execute("DELETE FROM audit WHERE number >= ?", (first,))
        what = f"number {first} is" if first == SEALED else f"numbers {first} to {SEALED} are"
        return [f"cut off: {what} not there any more"]

    def cut_the_end_and_fill_it(self) -> list[str]:
        first = self.choice.randrange(SEALED - 5, SEALED + 1)
        self.db.execute("DELETE FROM audit WHERE number >= ?", (first,))
        for number in range(first, SEALED + 1):
            self.put(self.forged(number=number))
        self.reseal(first)
        return ["removed: seq", *(f"changed: number {number} (" for number in range(first, SEALED + 1))]

    def swap(self, *fields: str) -> tuple[int, int]:
        one, other = self.numbers(2)
        first, second = self.record("number", one), self.record("number", other)
        self.db.execute("DELETE FROM audit WHERE number IN (?, ?)", (one, other))
        self.put(replace(first, **{name: getattr(second, name) for name in fields}))
        self.put(replace(second, **{name: getattr(first, name) for name in fields}))
        return one, other

    def swap_what_is_said(self) -> list[str]:
        return [f"changed: number {number} (" for number in self.swap(*CONTENT, "mac")]

    def swap_places_in_the_table(self) -> list[str]:
        return [f"changed: number {number} (" for number in self.swap("seq")]

    def swap_seals(self) -> list[str]:
        return self.told_together(*self.swap("previous", "seal"))

    def told_together(self, one: int, other: int) -> list[str]:
        if other == one + 1:
            return [f"changed: numbers {one} to {other}: "]
        return [f"changed: number {number} (" for number in (one, other)]

    def swap_numbers(self) -> list[str]:
        one, other = self.swap("number")
        return [f"reordered: number {one} (seq {one}, ", f"reordered: number {other} (seq {other}, "]

    def swap_all_but_what_is_said(self) -> list[str]:
        return self.told_together(*self.swap("number", "previous", "seal"))

    def shuffle_numbers(self) -> list[str]:
        numbers = self.numbers(6)
        shuffled = numbers[1:] + numbers[:1]
        seqs = [self.record("number", number).seq for number in numbers]
        for seq, number in zip(seqs, shuffled, strict=True):
            self.db.execute("UPDATE audit SET number = ? WHERE seq = ?", (number, seq))
        return [f"reordered: number {number} (seq {number}, " for number in numbers]

    def change_a_number(self) -> list[str]:
        [number] = self.numbers()
        value = self.choice.choice([None, 0, -1, 10**9, "x", 2.5, *self.numbers()])
        if value == number:
            value = 10**6
        self.db.execute("UPDATE audit SET number = ? WHERE seq = ?", (value, number))
        return [f"reordered: number {number} (seq {number}, "]

    def take_a_seal_off(self) -> list[str]:
        [number] = self.numbers(1, SEALED - 1)
        self.put(replace(self.record("number", number), number=None, previous=None, seal=None))
        return [f"removed: number {number} is not there"]

    def add(self) -> list[str]:
        copied = self.record("number", self.numbers()[0])
        content = {name: getattr(copied, name) for name in (*CONTENT, "mac")}
        added = self.choice.choice([self.forged(), self.forged(mac=None), self.forged(**content)])
        self.put(added)
        return [f"changed: a record without a number (seq {added.seq}, "]

    def add_at_the_end(self) -> list[str]:
        added = self.forged(number=SEALED + self.choice.choice([1, 1, 2, 1000]))
        self.put(added)
        self.reseal(SEALED + 1, remac=self.choice.random() < 0.5)
        return [f"added: number {added.number} (seq {added.seq}, "]

    def add_in_between(self) -> list[str]:
        [number] = self.numbers()
        self.renumber(number, 1)
        added = self.forged(number=number)
        self.put(added)
        return [f"added: number {number} (seq {added.seq}, ", "reordered: number"]

    def add_a_copy(self) -> list[str]:
        [number] = self.numbers()
        seq = self.forged().seq
        self.put(replace(self.record("number", number), seq=seq))
        return [f"added: number {number} (seq {seq}, "]

    def change_what_waits(self) -> list[str]:
        seq = SEALED + 1 + self.choice.randrange(WAITING)
        record = self.record("seq", seq)
        field = self.choice.choice([*CONTENT, "mac"])
        value = self.hex() if field == "mac" else self.another(field, record)
        if field == "data":
            value = record.data.replace("approved", "denied")
        self.put(replace(record, **{field: value}))
        return [f"changed: a record without a number (seq {seq}, "]

    def remove_what_waits(self) -> list[str]:
        seq = SEALED + 1 + self.choice.randrange(WAITING - 1)
        self.db.execute("DELETE FROM audit WHERE seq = ?", (seq,))
        return [f"removed: seq {seq} was taken away, before what is number {SEALED + 1} now"]

    def exchange_everything(self) -> list[str]:
        self.reseal(1, remac=True)
        return ["Not one record was sealed with this key", "changed: number 1 ("]


DEEDS: list[Callable[[Tamperer], list[str]]] = [
    deed
    for name, deed in vars(Tamperer).items()
    if re.match(r"(change|remove|cut|swap_|shuffle|take|add|exchange)", name)
]


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with a sealed audit and some records that wait."""
    bench = Bench(tmp_path_factory.mktemp("pristine"))
    bench.write(SEALED - 1)  # the sealer's first record makes it whole
    assert bench.sealer.seal() == SEALED
    bench.write(WAITING)
    bench.store.close()
    bench.execute("PRAGMA journal_mode=DELETE")
    return bench.folder


def test_what_nobody_touched_is_whole(pristine: Path) -> None:
    code, said = verified(pristine, NOW + 20)
    assert code == 0, said
    assert len(said) == 1
    assert re.fullmatch(
        rf"The audit is whole: {SEALED} records sealed, the last is {SEALED}:[0-9a-f]{{16}}. "
        rf"{WAITING} records without a seal yet.",
        said[0],
    ), said


@pytest.mark.long
def test_a_thousand_tamperings(pristine: Path, tmp_path: Path) -> None:
    """Each one is found, and what is told names the right records."""
    shutil.copy(pristine / "audit.anchor", tmp_path)
    file = tmp_path / "tkgbot.db"
    wrong: list[str] = []
    done: Counter[str] = Counter()
    for seed in range(1000):
        shutil.copy(pristine / "tkgbot.db", file)
        deed = DEEDS[seed % len(DEEDS)]
        with closing(sqlite3.connect(file)) as connection, connection:
            wanted = deed(Tamperer(connection, random.Random(seed)))
        code, said = verified(tmp_path, NOW + 20)
        done[deed.__name__] += 1
        missing = [line for line in wanted if not any(told.startswith(line) for told in said)]
        told_too_much = {line.split(":")[0] for line in said} - {line.split(":")[0] for line in wanted}
        if code != 1 or missing or not wanted or told_too_much:
            wrong.append(f"{deed.__name__} ({seed}): {code}, not told: {missing}, told: {said[:6]}")
    assert not wrong, f"{len(wrong)}:\n" + "\n".join(wrong[:20])
    assert len(done) == len(DEEDS) >= 20


@pytest.mark.long
def test_after_any_tampering_the_bot_goes_on_and_it_is_told_for_good(pristine: Path, tmp_path: Path) -> None:
    """Several deeds at once, then the sealer's next rounds: nothing raises, what is written afterwards is sealed and
    true, and nothing that was done gets lost under it."""
    for seed in range(60):
        folder = tmp_path / str(seed)
        folder.mkdir()
        for name in ("audit.anchor", "tkgbot.db"):
            shutil.copy(pristine / name, folder)
        choice = random.Random(seed)
        deeds = choice.sample(DEEDS, choice.choice([1, 2, 3]))
        with closing(sqlite3.connect(folder / "tkgbot.db")) as connection, connection:
            for deed in deeds:
                with suppress(TypeError, ValueError, AttributeError):  # another deed took what it wanted to change
                    deed(Tamperer(connection, choice))
        story = f"{seed}: {[deed.__name__ for deed in deeds]}"
        bench = Bench(folder)
        bench.now = NOW + 20
        assert bench.verify()[0] == 1, story
        for _ in range(3):
            bench.write(2)
            bench.sealer.seal()
            bench.sealer.seal()
        code, said = bench.verify()
        if deeds != [Tamperer.take_a_seal_off]:
            assert code == 1, story
        assert bench.rows("SELECT count(*) FROM audit WHERE number IS NULL") == [(0,)], story
        newest = [number for (number,) in bench.rows("SELECT number FROM audit ORDER BY number DESC LIMIT 6")]
        assert newest == list(range(newest[0], newest[0] - 6, -1)), story
        assert newest[0] > SEALED, "no number is given twice"
        for number in newest:
            assert not any(re.match(rf"\w+: number {number} ", line) for line in said), (story, said)
        bench.store.close()


def test_a_true_record_of_another_history_is_one_too_many() -> None:
    checker = Checker(KEY, [], NOW)
    other = replace(a_record(), seq=2, mac=KEY.mac(2, NOW, "r-000001", "U1", "moved", {"to": "approved"}))
    for record in (a_record(), replace(other, seal=KEY.seal(other, NOTHING).seal)):
        assert KEY.wrote(record)
        assert KEY.place(record) == 1
        checker.numbered(record)
    assert [str(finding) for finding in checker.end().findings] == [
        "added: number 1 (seq 2, r-000001, moved) has a true seal, from another history: this number is there already"
    ]


def test_a_tampering_that_is_too_much_to_list_is_counted() -> None:
    """Memory is bounded whatever somebody did."""
    checker = Checker(KEY, [Claim(3 * LISTED, "x", "a test")], NOW)
    for number in range(1, 3 * LISTED + 1):
        checker.numbered(a_record(seq=number, number=number, seal=f"{number}:00", mac="00"))
    verdict = checker.end()
    assert len(verdict.findings) == LISTED
    assert verdict.unlisted == 2 * LISTED
    assert {finding.kind for finding in verdict.findings} == {"changed"}


# -- the sealer ----------------------------------------------------------------------------------------------------


def numbers_of(bench: Bench) -> list[int | None]:
    return [row[0] for row in bench.rows("SELECT number FROM audit ORDER BY seq")]


def events_of(bench: Bench, event: str) -> list[dict[str, Any]]:
    return [json.loads(row[0]) for row in bench.rows(f"SELECT data FROM audit WHERE event = '{event}' ORDER BY seq")]


def test_numbers_have_no_gap_over_many_batches(bench: Bench) -> None:
    bench.write(2 * BATCH + 7)
    assert bench.sealer.seal() == 2 * BATCH + 8
    bench.write(3)
    assert bench.sealer.seal() == 3
    assert bench.sealer.seal() == 0
    assert numbers_of(bench) == list(range(1, 2 * BATCH + 12))
    assert bench.verify()[0] == 0


def test_a_new_process_goes_on_with_the_chain(bench: Bench) -> None:
    bench.write(5)
    bench.sealer.seal()
    bench.write(5)
    fresh = bench.new_sealer()
    assert not fresh.went_back()
    assert fresh.seal() == 5
    assert bench.verify()[0] == 0
    assert len(events_of(bench, "sealing.began")) == 1


def test_a_rolled_back_record_leaves_no_trace(bench: Bench) -> None:
    bench.write(1)

    def fail(connection: sa.Connection) -> None:
        audit_rows.write(connection, KEY, at=NOW, request="r-1", actor="U1", event="moved", data={})
        raise KeyError("on purpose")

    with pytest.raises(KeyError):
        bench.store.write(fail)
    bench.write(1)
    bench.sealer.seal()
    assert bench.verify()[0] == 0


def test_the_ledger_writes_what_verifies(bench: Bench) -> None:
    ledger = Ledger(bench.store, None, clock=lambda: int(NOW), new_id=lambda: "r-1", audit_key=KEY)  # type: ignore[arg-type]
    odd = {"tuple": (1, 2.5), "text": "\ud800 \x00 “ü”", "big": 10**30, 3: None}
    bench.store.write(lambda connection: ledger._audit(connection, "r-1", "U1", "moved", odd))
    bench.sealer.seal()
    assert bench.verify()[0] == 0
    assert as_read(odd) == {"tuple": [1, 2.5], "text": "\ud800 \x00 “ü”", "big": 10**30, "3": None}


def test_a_ledger_without_a_key_writes_what_verify_finds(bench: Bench) -> None:
    ledger = Ledger(bench.store, None, clock=lambda: NOW, new_id=lambda: "r-1")  # type: ignore[arg-type]
    bench.store.write(lambda connection: ledger._audit(connection, "r-1", "U1", "moved", {}))
    assert bench.verify()[0] == 1


def test_records_from_before_the_seals_are_kept_as_they_stand(bench: Bench) -> None:
    """An earlier version's records are sealed too, and it is said that nobody knows who wrote them."""
    bench.write(2 * BATCH)
    bench.execute("UPDATE audit SET mac = NULL")
    code, said = bench.verify()
    assert (code, "500 records from before sealing began" in said[0]) == (0, True)
    bench.write(2)
    bench.sealer.seal()
    code, said = bench.verify()
    assert code == 0, said
    assert "500 records from before sealing began: who wrote them is not proven." in said[0]
    assert events_of(bench, "tampering.found") == []
    bench.execute("UPDATE audit SET actor = 'UEVIL00001' WHERE seq = 7")
    assert bench.verify() == (
        1,
        ["changed: number 7 (seq 7, r-000000, vote.approved) is not what was written and sealed there"],
    )


def test_a_database_of_an_earlier_version_is_taken_over(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "tkgbot.db", isolation_level=None)) as connection:
        connection.execute(
            "CREATE TABLE audit (seq INTEGER NOT NULL PRIMARY KEY, at DOUBLE NOT NULL, request TEXT, actor TEXT NOT "
            "NULL, event TEXT NOT NULL, data JSON NOT NULL)"
        )
        for number in range(5):
            values = (NOW + number, "r-000001", "UDEV000001", "moved", json.dumps({"to": "approved"}))
            connection.execute("INSERT INTO audit (at, request, actor, event, data) VALUES (?, ?, ?, ?, ?)", values)
    bench = Bench(tmp_path)
    bench.now += 10
    bench.write(2)
    bench.sealer.seal()
    code, said = bench.verify()
    assert (code, "5 records from before sealing began" in said[0]) == (0, True), said
    assert numbers_of(bench) == list(range(1, 9))
    bench.execute("UPDATE audit SET actor = 'UEVIL00001' WHERE seq = 2")
    assert bench.verify()[1][0].startswith("changed: number 2 (")
    bench.store.close()


def test_a_record_without_proof_is_no_earlier_one_once_sealing_began(bench: Bench) -> None:
    bench.write(3)
    bench.sealer.seal()
    bench.write(1)
    bench.execute("UPDATE audit SET mac = NULL WHERE number IS NULL")
    bench.execute("INSERT INTO audit (seq, at, actor, event, data) VALUES (-5, 1.0, 'U1', 'moved', '{}')")
    bench.sealer.seal()
    code, said = bench.verify()
    assert code == 1
    assert [line.split(" (")[0] for line in said] == ["changed: number 5", "changed: number 6"], said


def test_a_record_that_slips_in_while_sealing_begins_is_told(bench: Bench) -> None:
    bench.write(BATCH + 5)
    bench.execute("UPDATE audit SET mac = NULL")
    assert bench.store.write(bench.sealer._seal_some) == BATCH
    bench.execute("INSERT INTO audit (seq, at, actor, event, data) VALUES (-5, 1.0, 'U1', 'moved', '{}')")
    bench.sealer.seal()
    said = bench.verify()[1]
    assert len(said) == 1, said
    assert said[0].endswith(f" do not show who wrote them; it counted {BATCH + 5}")
    assert said[0].startswith(f"added: {BATCH + 6} records before number {BATCH + 7} ")


def test_a_number_that_was_taken_away_is_told(bench: Bench) -> None:
    bench.write(5)
    bench.sealer.seal()
    bench.execute("UPDATE audit SET number = NULL WHERE number = 3")
    bench.sealer.seal()
    assert events_of(bench, "tampering.found") == [{"count": 1, "seqs": [3]}]
    assert bench.verify() == (1, ["removed: number 3 is not there any more"])


def test_what_was_forged_is_sealed_as_it_stands_and_told_for_good(bench: Bench) -> None:
    """It cannot be taken away unseen either, and nothing stops."""
    bench.write(5)
    bench.sealer.seal()
    bench.write(3)
    bench.execute("UPDATE audit SET actor = 'UEVIL00001' WHERE seq = 8")
    assert bench.sealer.seal() == 3
    assert bench.sealer.seal() == 1
    assert events_of(bench, "tampering.found") == [{"count": 1, "seqs": [8]}]
    wanted = "changed: number 8 (seq 8, r-000000, vote.approved) was changed or added before it was sealed"
    assert bench.verify() == (1, [wanted])
    bench.write(5)
    bench.sealer.seal()
    assert bench.verify() == (1, [wanted])
    bench.execute("DELETE FROM audit WHERE seq = 8")
    assert bench.verify() == (1, ["removed: number 8 is not there any more"])


def test_a_forged_number_does_not_stop_the_sealer(bench: Bench) -> None:
    """Somebody takes the next number, a far one, and one that is none; the chain goes on after the true head."""
    bench.write(5)
    bench.sealer.seal()
    for seq, number in ((100, 7), (101, 10**6), (102, "'x'")):
        values = f"({seq}, 1, 'U', 'e', '{{}}', {number}, 's')"
        bench.execute(f"INSERT INTO audit (seq, at, actor, event, data, number, seal) VALUES {values}")
    bench.write(2)
    while bench.sealer.seal():
        pass
    assert numbers_of(bench) == list(range(1, 13))
    assert events_of(bench, "tampering.found")[0] == {"count": 3, "seqs": [100, 101, 102]}
    said = bench.verify()[1]
    assert [line.split(" (")[0] for line in said] == [f"changed: number {number}" for number in (7, 8, 9)], said
    assert all("before it was sealed" in line for line in said)


def test_what_is_no_text_and_no_json_stops_nothing(bench: Bench) -> None:
    bench.write(1)
    bench.sealer.seal()
    for value in ("CAST(x'ff00' AS TEXT)", "x'ff'", "'[['", '\'{"a": 1, "a": 2}\'', "7"):
        bench.execute(f"INSERT INTO audit (at, actor, event, data) VALUES ('x', {value}, {value}, {value})")
    assert bench.sealer.seal() == 5
    bench.sealer.seal()
    code, said = bench.verify()
    assert code == 1
    assert [re.findall(r"number (\d+)", line)[0] for line in said] == ["3", "4", "5", "6", "7"], said
    assert all(line.isprintable() for line in said)


def test_another_key_is_refused_and_changes_nothing(bench: Bench) -> None:
    bench.write(5)
    bench.sealer.seal()
    (bench.folder / "audit.anchor").unlink()
    before = bench.rows("SELECT * FROM audit")
    with pytest.raises(ConfigError, match="sealed with another key"):
        make_sealer(bench.store, settings(bench.folder), WRONG, clock=lambda: NOW)
    sealer = Sealer(bench.store, WRONG, Anchor(bench.folder / "other", WRONG), clock=lambda: NOW)
    with pytest.raises(ConfigError):
        sealer.seal()
    assert bench.rows("SELECT * FROM audit") == before


def test_an_anchor_that_cannot_be_written_stops_nothing(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    (bench.folder / "audit.anchor").mkdir()
    bench.write(3)
    assert bench.sealer.seal() == 4
    bench.sealer.seal()
    assert len([record for record in caplog.records if "cannot be written" in record.message]) == 1
    (bench.folder / "audit.anchor").rmdir()
    bench.sealer.seal()
    assert bench.verify()[0] == 0


def test_a_database_that_does_not_answer_is_told_once(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.write(1)
    bench.execute("ALTER TABLE audit RENAME TO gone")
    for _ in range(3):
        bench.sealer.keep_up()
    assert len([record for record in caplog.records if "cannot be sealed just now" in record.message]) == 1
    bench.execute("ALTER TABLE gone RENAME TO audit")
    bench.sealer.keep_up()
    assert bench.verify()[0] == 0


def test_a_lost_key_has_a_way_out(bench: Bench) -> None:
    """As docs/how-it-works.md tells it."""
    bench.write(5)
    bench.sealer.seal()
    (bench.folder / "audit.anchor").unlink()
    bench.execute("UPDATE audit SET mac = NULL, number = NULL, previous = NULL, seal = NULL")
    fresh = make_sealer(bench.store, settings(bench.folder), WRONG, clock=lambda: bench.now)
    assert fresh.seal() == 7
    with closing(sqlite3.connect(bench.store.path)) as connection:
        [data] = connection.execute("SELECT data FROM audit WHERE number = 7").fetchone()
    assert json.loads(data) == {"unproven": 6}


def test_a_record_that_waits_for_long_is_told(bench: Bench) -> None:
    bench.write(3)
    bench.sealer.seal()
    bench.write(1)
    assert bench.verify()[0] == 0
    bench.now += 61
    code, said = bench.verify()
    assert (code, len(said)) == (1, 1)
    assert said[0].startswith(
        "unsealed: a record without a number (seq 5, r-000000, vote.approved) has had no seal since"
    )


# -- a database that went back -------------------------------------------------------------------------------------


def put_back(bench: Bench, copy: Path) -> Bench:
    """Stops everything, puts the copy in the database's place, and starts again."""
    bench.store.close()
    for path in bench.folder.glob("tkgbot.db*"):
        path.unlink()
    shutil.copy(copy, bench.folder / "tkgbot.db")
    fresh = Bench(bench.folder)
    fresh.now = bench.now
    return fresh


def copy_of(bench: Bench, to: Path) -> Path:
    with closing(sqlite3.connect(bench.store.path)) as source, closing(sqlite3.connect(to)) as target:
        source.backup(target)
    return to


def test_an_older_copy_is_noticed_and_the_chain_goes_on(bench: Bench, tmp_path: Path) -> None:
    bench.write(9)
    bench.sealer.seal()
    copy = copy_of(bench, tmp_path / "copy")
    bench.write(5)
    bench.sealer.seal()
    fresh = put_back(bench, copy)
    assert fresh.sealer.went_back()
    assert verified(fresh.folder, fresh.now)[1] == [
        f"cut off: numbers 11 to 15 are not there any more: {anchored(fresh)} names number 15"
    ]
    called: list[bool] = []
    fresh.sealer.on_went_back = lambda: called.append(fresh.sealer.went_back())
    fresh.write(2)
    fresh.sealer.seal()
    assert called == [True], "whoever reacts is called before it is recorded, and once"
    assert not fresh.sealer.went_back()
    fresh.write(2)
    fresh.sealer.seal()
    assert numbers_of(fresh) == [*range(1, 11), *range(16, 21)]
    [event] = events_of(fresh, "database.restored")
    assert (event["had"]["number"], event["has"]["number"]) == (15, 10)
    code, said = verified(fresh.folder, fresh.now)
    assert (code, len(said)) == (1, 1)
    assert re.fullmatch(
        r"removed: numbers 11 to 15 are not there any more; number 18 \(\S+\) says that the database was put back",
        said[0],
    ), said
    fresh.execute("DELETE FROM audit WHERE number = 17")
    told = verified(fresh.folder, fresh.now)[1]
    assert len(told) == 2
    assert told[1] == "removed: number 17 is not there any more"
    fresh.execute("DELETE FROM audit WHERE number = 4")
    told = verified(fresh.folder, fresh.now)[1]
    assert told[0] == "removed: number 4 is not there any more", "that it was put back is no reason for this one"
    fresh.store.close()
    assert called == [True]


def anchored(bench: Bench) -> str:
    newest = max(anchor.read(bench.folder / "audit.anchor", KEY).lines, key=lambda line: line.head.number)
    return f"the anchor of {moment(newest.at)}"


def test_a_copy_that_went_on_elsewhere_is_noticed(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same key, the same beginning, another history: its numbers are there and are not the anchored ones."""
    bench.write(9)
    bench.sealer.seal()
    bench.store.close()
    shutil.copytree(bench.folder, tmp_path / "other")
    bench, other = Bench(bench.folder), Bench(tmp_path / "other")
    bench.write(5)
    bench.sealer.seal()
    other.now += 100
    other.write(8)
    other.sealer.seal()
    other.store.close()
    fresh = put_back(bench, tmp_path / "other" / "tkgbot.db")
    assert fresh.sealer.went_back()
    with monkeypatch.context() as another_seals:
        another_seals.setattr(auditing, "_alone", lambda *_: False)
        assert fresh.sealer.seal() == 0
    assert fresh.sealer.went_back(), "what is not recorded yet is not anchored over"
    fresh.sealer.seal()
    assert not fresh.sealer.went_back()
    fresh.write(3)
    fresh.sealer.seal()
    assert numbers_of(fresh) == list(range(1, 23))
    code, said = verified(fresh.folder, fresh.now)
    assert (code, len(said)) == (1, 1), said
    assert said[0].startswith("exchanged: number 15 is not the one that the anchor of ")
    assert said[0].endswith("; number 19 says that the database was exchanged for another one")
    fresh.execute("UPDATE audit SET actor = 'U' WHERE number = 3")
    assert len(verified(fresh.folder, fresh.now)[1]) == 2
    fresh.store.close()


def test_two_histories_cannot_be_spliced(bench: Bench, tmp_path: Path) -> None:
    """Every record is true in itself, and number 13 was not sealed after this number 12."""
    bench.write(9)
    bench.sealer.seal()
    bench.store.close()
    shutil.copytree(bench.folder, tmp_path / "other")
    bench, other = Bench(bench.folder), Bench(tmp_path / "other")
    for one, shift in ((bench, 0), (other, 100)):
        one.now += shift
        one.write(5)
        one.sealer.seal()
        one.store.close()
    with closing(sqlite3.connect(bench.store.path, isolation_level=None)) as connection:
        connection.execute("ATTACH ? AS other", (str(other.store.path),))
        connection.execute("DELETE FROM audit WHERE number > 12")
        connection.execute("INSERT INTO audit SELECT * FROM other.audit WHERE number > 12")
    code, said = verified(bench.folder, other.now)
    assert code == 1
    assert any(line.startswith("exchanged: number 13 (seq 13, ") for line in said), said
    [seal] = bench.rows("SELECT seal FROM audit WHERE number = 12")[0]
    bench.execute("DELETE FROM audit WHERE number = 12")
    said = verified(bench.folder, other.now, head=seal[:19])[1]
    assert "from number 12 on (2 in all)" in said[0], "number 13 does not follow what was there either"


def test_a_cut_end_is_noticed_while_the_bot_runs(bench: Bench) -> None:
    bench.write(9)
    bench.sealer.seal()
    bench.execute("DELETE FROM audit WHERE number > 7")
    bench.write(1)
    bench.sealer.seal()
    bench.sealer.seal()
    assert [event["had"]["number"] for event in events_of(bench, "database.restored")] == [10]
    assert numbers_of(bench) == [*range(1, 8), 11, 12]
    assert any(line.startswith("removed: numbers 8 to 10 ") for line in bench.verify()[1])


def test_a_head_from_elsewhere_finds_what_the_anchor_does_not(bench: Bench) -> None:
    """The database and its anchor were both put back; what was posted was not."""
    bench.write(9)
    bench.sealer.seal()
    [seal] = bench.rows("SELECT seal FROM audit WHERE number = 10")[0]
    assert bench.verify(head=seal[:19])[0] == bench.verify(head=seal)[0] == 0
    other = f"{seal[:3]}{'0' * 16}"
    code, said = bench.verify(head=other)
    assert (code, said) == (1, ["exchanged: number 10 is not the one that --head names"])
    bench.execute("DELETE FROM audit WHERE number > 7")
    shutil.rmtree(bench.folder / "audit.anchor", ignore_errors=True)
    (bench.folder / "audit.anchor").unlink()
    code, said = bench.verify(head=seal[:19])
    assert (code, said) == (1, ["cut off: numbers 8 to 10 are not there any more: --head names number 10"])


# -- the anchor ----------------------------------------------------------------------------------------------------


def test_an_audit_without_an_anchor_is_not_called_whole(bench: Bench) -> None:
    bench.write(3)
    bench.sealer.seal()
    kept = (bench.folder / "audit.anchor").rename(bench.folder / "kept")
    code, said = bench.verify()
    assert code == 1
    assert said[0].startswith("unanchored: ")
    assert bench.verify(anchor_file=kept)[0] == 0


def test_lines_by_others_are_told_and_not_believed(bench: Bench) -> None:
    bench.write(3)
    bench.sealer.seal()
    path = bench.folder / "audit.anchor"
    true = json.loads(path.read_text())
    for line in ({**true, "number": 10**6}, {**true, "at": 1.0}, {"number": 7}, [1], "x"):
        with path.open("a") as file:
            file.write(json.dumps(line) + "\n")
    assert not bench.new_sealer().went_back()
    assert bench.verify() == (1, ["anchor: 5 of its lines were not written with the key"])


def test_a_line_that_a_crash_tore_is_no_tampering(bench: Bench) -> None:
    bench.write(3)
    bench.sealer.seal()
    path = bench.folder / "audit.anchor"
    whole = path.read_text()
    for end in ('{"number": 5, "se', '{"number": 5, "seal": "5:00", "at": 1.0, "mac": "00"}'):
        path.write_text(whole + end)
        assert bench.verify()[0] == 0
        bench.write(1)
        fresh = bench.new_sealer()
        fresh.seal()
        assert bench.verify()[0] == 0
        assert path.read_text().count("\n") == whole.count("\n") + 1
        whole = path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_anchor_does_not_grow_for_ever(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anchor, "MANY", 50)
    for _ in range(120):
        bench.write(1)
        bench.sealer.seal()
    assert len((bench.folder / "audit.anchor").read_text().splitlines()) <= 50
    assert bench.verify()[0] == 0
    assert not bench.new_sealer().went_back()
    bench.execute("DELETE FROM audit WHERE number = 121")
    assert bench.verify()[0] == 1


def test_what_the_anchor_keeps() -> None:
    """The newest, the last of each hour for a month, the last of each day before."""
    lines = tuple(Line(Head(number, f"{number}:x"), NOW + 600.0 * number) for number in range(1, 60 * 144))
    kept = thinned(lines)
    assert kept[-1] == lines[-1]
    assert 31 * 24 + 28 <= len(kept) <= 31 * 24 + 32
    assert thinned(tuple(kept)) == kept
    assert thinned(()) == []


# -- the key -------------------------------------------------------------------------------------------------------


def test_a_key_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    without = replace(settings(tmp_path), audit_key=None)
    with pytest.raises(ConfigError, match="cannot be read"):
        audit_key(without)
    made, again = audit_key(without, make=True), audit_key(without, make=True)
    path = tmp_path / "audit.key"
    assert path.stat().st_mode & 0o777 == 0o600
    assert made.anchor(NOTHING, 1.0) == again.anchor(NOTHING, 1.0) == audit_key(without).anchor(NOTHING, 1.0)
    assert [record.message.startswith("made the audit's key in") for record in caplog.records] == [True]
    assert path.read_text().strip() not in caplog.text
    path.write_text("short")
    with pytest.raises(ConfigError, match="does not hold the audit's key"):
        audit_key(without, make=True)
    with pytest.raises(ConfigError, match="TKGBOT_AUDIT_KEY is not set"):
        audit_key(replace(without, database_url="postgresql://db/bot"), make=True)


# -- what people are told ------------------------------------------------------------------------------------------


def test_the_head_is_posted_when_it_has_moved_and_not_too_often(bench: Bench) -> None:
    box = tables.outbox.c

    def posted() -> list[Any]:
        return list(bench.store.read(lambda c: c.execute(sa.select(box.channel, box.body).order_by(box.due)).all()))

    bench.sealer.announce("CAUDIT0001", 3600)
    assert posted() == [], "there is nothing to tell yet"
    bench.write(3)
    bench.sealer.seal()
    for _ in range(3):
        bench.sealer.announce("CAUDIT0001", 3600)
        bench.now += 1000
    assert len(posted()) == 1
    channel, body = posted()[0]
    [seal] = bench.rows("SELECT seal FROM audit WHERE number = 4")[0]
    assert channel == "CAUDIT0001"
    assert body["text"] == f"The audit is sealed up to number 4: `{seal[:18]}`"
    assert bench.verify(head=seal[:18])[0] == 0
    bench.now += 3600
    bench.sealer.announce("CAUDIT0001", 3600)
    assert len(posted()) == 1, "it has not moved"
    bench.write(1)
    bench.sealer.seal()
    bench.sealer.announce("CAUDIT0001", 3600)
    assert len(posted()) == 2


# -- the command line ----------------------------------------------------------------------------------------------


def tkgbot(folder: Path, *words: str, **more: str | None) -> Any:
    clean = {"SLACK_BOT_TOKEN": None, "SLACK_APP_TOKEN": None, "TKGBOT_AUDIT_ANCHOR": None, "TKGBOT_DATABASE_URL": None}
    return CliRunner().invoke(main, ["audit", *words], env={**clean, **environment(folder), **more})


def test_it_cannot_look_and_says_why(bench: Bench, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "tkgbot.db").write_bytes(b"this is no database at all, but long enough to be looked at" * 40)
    for folder, words, more, told in (
        (tmp_path / "none", ["verify"], {}, "there is no database at"),
        (empty, ["verify"], {}, "the audit cannot be read"),
        (bench.folder, ["verify"], {"TKGBOT_AUDIT_KEY": None}, "cannot be read"),
        (bench.folder, ["verify"], {"TKGBOT_AUDIT_KEY": "short"}, "32 characters"),
        (bench.folder, ["verify", "--head", "17"], {}, "is not NUMBER:SEAL"),
        (bench.folder, ["verify", "--head", "17:abc"], {}, "is not NUMBER:SEAL"),
        (bench.folder, ["verify", "--anchor", str(empty)], {}, "cannot be read"),
        (bench.folder, ["verify", "--file", str(empty / "tkgbot.db")], {}, "is not a record"),
        (bench.folder, ["verify", "--file", str(empty / "none")], {}, "cannot be read"),
        (bench.folder, ["verify"], {"TKGBOT_DATABASE_URL": "postgresql://127.0.0.1:1/x"}, "the audit cannot be read"),
        (bench.folder, ["export", "--since", "yesterday"], {}, "is no time such as"),
        (tmp_path / "none", ["export"], {}, "there is no database at"),
    ):
        done = tkgbot(folder, *words, **more)  # type: ignore[arg-type]
        assert (done.exit_code, told in done.output) == (2, True), (words, more, done.output)
        assert "Traceback" not in done.output


def test_the_command_line_verifies_while_the_store_is_open(bench: Bench) -> None:
    assert "The audit is whole: 0 records" in tkgbot(bench.folder, "verify").output
    bench.write(3)
    bench.sealer.seal()
    done = tkgbot(bench.folder, "verify")
    assert done.exit_code == 0, done.output
    bench.execute("UPDATE audit SET data = '{}' WHERE number = 2")
    done = tkgbot(bench.folder, "verify")
    assert (done.exit_code, done.output.startswith("changed: number 2 (seq 2, ")) == (1, True)


def test_one_look_sees_one_state(bench: Bench) -> None:
    """Otherwise a record that is sealed meanwhile would be neither here nor there."""
    bench.write(3)
    bench.sealer.seal()
    bench.write(2)
    with looking(settings(bench.folder)) as connection:
        assert len(list(audit_rows.read(connection, audit_rows.numbered()))) == 4
        assert bench.sealer.seal() == 2
        assert len(list(audit_rows.read(connection, audit_rows.waiting()))) == 2
        with pytest.raises(sa.exc.OperationalError, match="readonly"):
            connection.execute(sa.delete(tables.audit))


def test_an_export_can_be_verified_again(bench: Bench, tmp_path: Path) -> None:
    bench.write(20)
    bench.sealer.seal()
    bench.write(2)
    bench.sealer.seal()
    bench.now += 100
    whole = tkgbot(bench.folder, "export").output
    lines = [json.loads(line) for line in whole.splitlines()]
    assert [line["number"] for line in lines] == list(range(1, 24))
    assert lines[3]["data"]["reason"] == "größer …"
    assert lines[3]["time"].endswith("Z")
    file = tmp_path / "export.jsonl"
    file.write_text(whole)
    done = tkgbot(bench.folder, "verify", "--file", str(file))
    assert (done.exit_code, "Nothing was given to check its end" in done.output) == (0, True), done.output
    [seal] = bench.rows("SELECT seal FROM audit WHERE number = 23")[0]
    done = tkgbot(bench.folder, "verify", "--file", str(file), "--head", seal)
    assert (done.exit_code, "Nothing was given" in done.output) == (0, False)
    for old, new in (("größer", "kleiner"), ("gr\\u00f6\\u00dfer", "gr\\u00f6sser"), ('"seq": 5,', '"seq": 55,')):
        file.write_text(
            "".join(
                line.replace(old, new) + "\n" if '"number": 5,' in line else line + "\n" for line in whole.splitlines()
            )
        )
        done = tkgbot(bench.folder, "verify", "--file", str(file))
        assert done.exit_code == (0 if old not in whole else 1), (old, done.output)
    file.write_text("\n".join(line for line in whole.splitlines() if '"number": 5,' not in line))
    done = tkgbot(bench.folder, "verify", "--file", str(file))
    assert (done.exit_code, done.output) == (1, "removed: number 5 is not there any more\n")


def test_an_export_can_be_verified_with_other_means(bench: Bench) -> None:
    """As docs/how-it-works.md tells it, with nothing of the bot."""
    bench.write(5)
    bench.sealer.seal()
    before = ""
    for line in map(json.loads, tkgbot(bench.folder, "export").output.splitlines()):
        assert line["previous"] == before
        names = ("number", "previous", "seq", "at", "request", "actor", "event")
        parts = ["seal", *(line[name] for name in names), json.dumps(line["data"]), line["mac"]]
        text = json.dumps(parts, separators=(",", ":"))
        before = f"{line['number']}:{hmac.new(SECRET.encode(), text.encode(), 'sha256').hexdigest()}"
        assert line["seal"] == before


def test_a_part_of_an_export_can_be_verified(bench: Bench, tmp_path: Path) -> None:
    bench.write(30)
    bench.sealer.seal()
    file = tmp_path / "part.jsonl"
    file.write_text(tkgbot(bench.folder, "export", "--request", "r-000002").output)
    assert len(file.read_text().splitlines()) == 8
    assert tkgbot(bench.folder, "verify", "--file", str(file)).exit_code == 1
    done = tkgbot(bench.folder, "verify", "--file", str(file), "--part")
    assert (done.exit_code, "Every record of this part is as it was sealed: 8 records" in done.output) == (0, True)
    file.write_text(file.read_text().replace("awaiting", "running", 1))
    assert tkgbot(bench.folder, "verify", "--file", str(file), "--part").exit_code == 1


def test_an_export_of_some_time(bench: Bench) -> None:
    bench.write(40)
    bench.sealer.seal()
    times = ("--since", "2027-01-15T08:00:02Z", "--until", "2027-01-15T10:00:04+02:00")
    lines = [json.loads(line) for line in tkgbot(bench.folder, "export", *times).output.splitlines()]
    assert [line["at"] - NOW for line in lines] == [2 + 0.25 * index for index in range(8)]
    assert len(tkgbot(bench.folder, "export", "--since", "2027-01-15").output.splitlines()) == 41
    assert tkgbot(bench.folder, "export", "--until", "2027-01-15T08:00:00").output == ""


def test_a_csv_has_no_formulas(bench: Bench) -> None:
    for actor in ("=cmd|' /C calc'!A0", "+1", "-1", "@SUM(1)", "\t=1", " =1", "\r=1", "fine, “really”\n"):
        bench.execute("INSERT INTO audit (at, actor, event, data) VALUES (1.5, ?, 'moved', '{}')", actor)
    bench.execute("INSERT INTO audit (at, actor, event, data) VALUES (1.5, CAST(x'3dff' AS TEXT), 'moved', x'3d31')")
    done = tkgbot(bench.folder, "export", "--format", "csv")
    assert done.exit_code == 0, done.output
    header, *rows = list(csv.reader(StringIO(done.output)))
    assert header == ["number", "seq", "at", "request", "actor", "event", "mac", "previous", "seal", "time", "data"]
    actors = [row[header.index("actor")] for row in rows]
    assert len(actors) == 9
    assert [actor[:2] for actor in actors[:3]] == ["'=", "'+", "'-"]
    assert not any(cell[:1] in ("=", "+", "-", "@", "\t", "\r", " ") for row in rows for cell in row), rows
    assert actors[7] == "fine, “really”\n"
