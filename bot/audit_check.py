"""Judges a history of records: which were changed, removed, added, moved or cut off. Pure, and in constant memory but
for what is wrong.

Records come one by one, those with a number first, by that number. The numbers that count are those that the seals
prove; the column `number` only says where a record was found. What the database cannot tell, because everybody who can
write to it could also take it away, comes as claims: heads that were written down elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from bot.audit import BEGAN, NOTHING, RESTORED, AuditKey, Head, Record
from bot.audit_findings import Claim, Finding, Kind, Verdict, moment, name_of, shown
from bot.spans import Spans

LISTED = 1_000
"""Findings that are told one by one; what goes beyond is counted."""
SOON = 60.0
"""Seconds within which a record has its seal while a bot runs."""


@dataclass
class _Run:
    """Records next to each other with the same defect."""

    first: Record
    last: int
    begin: int
    shift: int | None = None


@dataclass
class Checker:
    """Takes the records in order, then the verdict. `now` is in epoch seconds. With `gapless` the places in the table
    (`seq`) follow each other without a gap too, as they do on SQLite. A `part` need not be complete."""

    key: AuditKey
    claims: Iterable[Claim]
    now: float
    gapless: bool = False
    part: bool = False
    _found: list[Finding] = field(default_factory=list)
    _unlisted: int = 0
    _seen: Spans = field(default_factory=Spans)
    _sealed: int = 0
    _unproven: int = 0
    _began: tuple[int, int] | None = None
    _restored: list[tuple[int, Record]] = field(default_factory=list)
    _last: Head = NOTHING
    _last_seq: int = 0
    _seqs: Spans = field(default_factory=Spans)
    _forged: list[Record] = field(default_factory=list)
    _more_forged: Spans = field(default_factory=Spans)
    _strange: list[_Run] = field(default_factory=list)
    _moved: list[_Run] = field(default_factory=list)
    _contradicted: set[Claim] = field(default_factory=set)
    _waiting: int = 0
    _before_seals: int = 0
    _gaps: list[tuple[int, int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._claims: dict[int, list[Claim]] = {}
        for claim in self.claims:
            self._claims.setdefault(claim.number, []).append(claim)

    # -- taking --------------------------------------------------------------------------------------------------

    def numbered(self, record: Record) -> None:
        """The next record that has a number, in the order of the numbers."""
        self._seqs.add(record.seq)
        place = self.key.place(record)
        if place is None:
            self._not_sealed(record)
        elif place in self._seen:
            told = f"{name_of(record)} has a true seal, from another history: this number is there already"
            self._find(place, "added", told)
        else:
            self._take(record, place)

    def waiting(self, record: Record) -> None:
        """The next record without a number, in the order of the table."""
        self._waiting += 1
        self._seqs.add(record.seq)
        place = self.key.place(record)
        if place is not None and place not in self._seen:
            self._waiting -= 1
            self._find(place, "reordered", f"{name_of(record, place)}: its number was taken away")
            self._seen.add(place)
        elif not self.key.wrote(record):
            self._before_seals += record.mac is None and record.seal is None
            self._is_forged(record)
        else:
            if self.now - record.at > SOON:
                since = moment(record.at)
                told = f"{name_of(record)} has had no seal since {since}; a running bot seals within a second or two"
                self._find(self._seen.last + 1, "unsealed", told)
            self._follow(record, self._seen.last + 1)

    def _take(self, record: Record, place: int) -> None:
        neighbours = self._last.number == place - 1
        is_true = self.key.wrote(record)
        if record.mac is None and self._began is None:
            self._unproven += 1
        elif not is_true:
            self._find(place, "changed", f"{name_of(record, place)} was changed or added before it was sealed")
        elif record.event == BEGAN and self._began is None:
            self._began = place, int(record.details().get("unproven") or 0)
        elif record.event == RESTORED:
            self._restored.append((place, record))
        if record.number != place:
            self._is_elsewhere(record, place)
        if neighbours and record.previous != self._last.seal:
            told = f"{name_of(record, place)} was sealed after another number {place - 1} than the one that is there"
            self._find(place, "exchanged", told)
        elif neighbours and is_true:
            self._follow(record, place)
        if is_true:
            self._last_seq = max(self._last_seq, record.seq)
        self._compare(Head(place, str(record.seal)))
        if not neighbours:
            self._compare(Head(place - 1, str(record.previous)))
        self._seen.add(place)
        self._sealed += 1
        self._last = Head(place, str(record.seal))

    def _compare(self, head: Head) -> None:
        for claim in self._claims.get(head.number, ()):
            if not head.seal.startswith(claim.seal):
                self._contradicted.add(claim)

    def _not_sealed(self, record: Record) -> None:
        if not (self.key.wrote(record) and isinstance(record.number, int)):
            self._is_forged(record)
            return
        self._follow(record, record.number)
        run = self._strange[-1] if self._strange else None
        if run is not None and record.number == run.last + 1:
            run.last = record.number
        else:
            self._strange.append(_Run(record, record.number, record.number))

    def _is_forged(self, record: Record) -> None:
        if len(self._forged) < LISTED:
            self._forged.append(record)
            return
        self._unlisted += 1
        if isinstance(record.number, int):
            self._more_forged.add(record.number)

    def _follow(self, record: Record, number: int) -> None:
        """Remembers which places in the table may be empty before a record that the key's holder wrote."""
        if self.gapless and record.seq > self._last_seq + 1 and len(self._gaps) < LISTED:
            self._gaps.append((number, self._last_seq + 1, record.seq - 1))
        self._last_seq = max(self._last_seq, record.seq)

    def _is_elsewhere(self, record: Record, place: int) -> None:
        shift = record.number - place if isinstance(record.number, int) else None
        run = self._moved[-1] if self._moved else None
        if run is not None and shift is not None and run.shift == shift and place == run.last + 1:
            run.last = place
        else:
            self._moved.append(_Run(record, place, place, shift))

    def _find(self, number: int, kind: Kind, text: str) -> None:
        if len(self._found) < LISTED:
            self._found.append(Finding(number, kind, text))
        else:
            self._unlisted += 1

    # -- judging -------------------------------------------------------------------------------------------------

    def end(self) -> Verdict:
        """What came out."""
        self._judge_the_unproven()
        self._judge_the_moved()
        self._judge_the_strange()
        self._judge_the_forged()
        self._judge_the_contradicted()
        if not self.part:
            self._judge_the_missing()
            self._judge_the_gaps()
        findings = tuple(sorted(self._found))
        return Verdict(findings, self._unlisted, self._sealed, self._unproven, self._waiting, self._last)

    def _judge_the_unproven(self) -> None:
        """Records without a mac are good where the record that began the sealing follows them and counted them."""
        if self._began is None and not self._seen.last and not self._claims:
            self._forged = [record for record in self._forged if record.mac is not None or record.seal is not None]
            self._unproven = self._before_seals
            return
        if self._began is not None and self._unproven > self._began[1]:
            place, counted = self._began
            told = f"{self._unproven} records before number {place} do not show who wrote them; it counted {counted}"
            self._find(place, "added", told)

    def _judge_the_moved(self) -> None:
        for run in self._moved:
            if run.last == run.begin:
                told = f"{name_of(run.first, run.begin)} stands as number {shown(run.first.number)}"
            else:
                shift = run.shift or 0
                told = f"numbers {run.begin} to {run.last} stand as {run.begin + shift} to {run.last + shift}"
            self._find(run.begin, "reordered", told)

    def _judge_the_strange(self) -> None:
        """Written with the key, and sealed without it: somebody made new seals, or put one record's on another."""
        for run in self._strange:
            name = name_of(run.first) if run.last == run.begin else f"numbers {run.begin} to {run.last}"
            told = f"{name}: what is said there was written so, but the seal was not made with the key, or not for it"
            self._find(run.begin, "changed", told)
            for number in range(run.begin, run.last + 1):
                self._seen.add(number)

    def _judge_the_forged(self) -> None:
        """A record that nobody with the key wrote stands in the place of a true one, or is one too many."""
        last = max([self._seen.last, *self._claims])
        for first, end in self._more_forged.spans:
            for number in range(max(first, 1), min(end, last) + 1):
                self._seen.add(number)
        for record in self._forged:
            place = record.number
            if isinstance(place, int) and 0 < place <= last and place not in self._seen:
                self._seen.add(place)
                self._find(place, "changed", f"{name_of(record)} is not what was written and sealed there")
            elif place is None:
                told = f"{name_of(record)} was changed or added by somebody without the key, and is not sealed"
                self._find(self._seen.last + 1, "changed", told)
            else:
                where = place if isinstance(place, int) else last
                self._find(where, "added", f"{name_of(record)} was put there by somebody without the key")

    def _judge_the_contradicted(self) -> None:
        if not self._contradicted:
            return
        claims = sorted(self._contradicted, key=lambda claim: claim.number)
        first, last = claims[0], claims[-1]
        known = next((place for place, record in self._restored if _number(record, "had") >= last.number), None)
        told = f"number {last.number} is not the one that {last.source} names"
        if first.number != last.number:
            told += f", and so from number {first.number} on ({len(claims)} in all)"
        if known is not None:
            told += f"; number {known} says that the database was exchanged for another one"
        self._find(first.number, "exchanged", told)

    def _judge_the_missing(self) -> None:
        last = max([self._seen.last, *self._claims])
        for first, end in list(self._seen.gaps(1, last)):
            told = f"number {first} is" if first == end else f"numbers {first} to {end} are"
            if first > self._seen.last:
                told += f" not there any more: {self._claims[last][0].source} names number {last}"
                self._find(first, "cut off", told)
                continue
            told += " not there any more"
            for place, record in self._restored:
                if _number(record, "has") < first and end <= _number(record, "had"):
                    told += f"; number {place} ({moment(record.at)}) says that the database was put back"
            self._find(first, "removed", told)

    def _judge_the_gaps(self) -> None:
        """Where the table has no gaps by itself, one is a record that was taken away before it had a number."""
        is_cut = any(finding.kind == "cut off" for finding in self._found)
        for number, begin, end in self._gaps:
            if is_cut and number > self._seen.last:
                continue
            for first, last in self._seqs.gaps(begin, end):
                if last != end:  # what follows is forged, and its place says nothing
                    continue
                was = f"seq {first} was" if first == last else f"seq {first} to {last} were"
                self._find(number, "removed", f"{was} taken away, before what is number {number} now")


def _number(record: Record, head: str) -> int:
    """The number of a head that a record about a restored database names."""
    found = record.details().get(head)
    return int(found["number"]) if isinstance(found, dict) else 0
