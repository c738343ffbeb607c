"""`tkgbot audit verify`: the database, or an export, against the key and what was written down elsewhere."""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from bot import anchor, audit_rows
from bot.audit import SHORTEST_SEAL, AuditKey, Record
from bot.audit_check import Checker
from bot.audit_findings import Claim, Verdict, moment
from bot.audit_key import audit_key
from bot.audit_look import FIELDS, looking
from bot.config import ConfigError, Secrets

HEAD = re.compile(rf"([0-9]{{1,15}}):[0-9a-f]{{{SHORTEST_SEAL},64}}")


def verify(
    secrets: Secrets, *, anchor_file: Path | None, head: str | None, file: Path | None, part: bool, now: float
) -> int:
    """Says whether the audit is whole. 0: it is; 1: what is wrong, a line each. Raises ConfigError where it cannot
    look."""
    key = audit_key(secrets)
    lines = _anchored(key, anchor_file or (None if file else secrets.anchor))  # read first: the database is never older
    claims = [Claim(line.head.number, line.head.seal, f"the anchor of {moment(line.at)}") for line in lines.lines]
    claims += [_claimed(head)] if head else []
    if file is not None:
        checker = Checker(key, claims, now, part=part)
        with _opened(file) as exported:
            numbered = _feed(checker, _lines(exported, file))
    else:
        with looking(secrets) as connection:
            checker = Checker(key, claims, now, gapless=connection.dialect.name == "sqlite")
            numbered = _feed(checker, audit_rows.read(connection, audit_rows.numbered()))
            numbered += _feed(checker, audit_rows.read(connection, audit_rows.waiting()))
    verdict = checker.end()
    told = _findings(verdict, lines, numbered)
    if verdict.sealed and not claims and file is None:
        where = anchor_file or secrets.anchor
        told.append(
            f"unanchored: {where} holds no head, so it cannot be told whether the end was cut off. Name the bot's "
            "anchor with --anchor, or a head that it posted with --head"
        )
    for line in told or [_whole(verdict, bool(claims), part)]:
        click.echo(line)
    return 1 if told else 0


def _anchored(key: AuditKey, path: Path | None) -> anchor.Content:
    if path is None:
        return anchor.Content()
    try:
        return anchor.read(path, key)
    except OSError as error:
        raise ConfigError("the environment", [f"the anchor {path} cannot be read ({error.strerror})"]) from error


def _claimed(head: str) -> Claim:
    match = HEAD.fullmatch(head)
    if match is None:
        told = f"{head!r} is not NUMBER:SEAL with at least {SHORTEST_SEAL} hex digits"
        raise click.BadParameter(told, param_hint="--head")
    return Claim(int(match[1]), head, "--head")


def _feed(checker: Checker, records: Iterable[Record]) -> int:
    """Hands records to the checker; how many have a number."""
    numbered = 0
    for record in records:
        if record.number is None:
            checker.waiting(record)
        else:
            checker.numbered(record)
            numbered += 1
    return numbered


def _findings(verdict: Verdict, lines: anchor.Content, numbered: int) -> list[str]:
    told = [str(finding) for finding in verdict.findings]
    if verdict.unlisted:
        told.append(f"and {verdict.unlisted} more")
    if lines.foreign:
        told.append(f"anchor: {lines.foreign} of its lines were not written with the key")
    if numbered and not verdict.sealed:
        told.insert(0, "Not one record was sealed with this key: check TKGBOT_AUDIT_KEY first.")
    return told


def _whole(verdict: Verdict, has_claims: bool, part: bool) -> str:
    last = verdict.head.seal[: verdict.head.seal.find(":") + 1 + SHORTEST_SEAL] or "none"
    told = f"The audit is whole: {_count(verdict.sealed)} sealed, the last is {last}."
    if part:
        told = f"Every record of this part is as it was sealed: {_count(verdict.sealed)}, the last is {last}."
    if verdict.unproven:
        told += f" {_count(verdict.unproven)} from before sealing began: who wrote them is not proven."
    if verdict.waiting:
        told += f" {_count(verdict.waiting)} without a seal yet."
    if verdict.sealed and not has_claims and not part:
        told += " Nothing was given to check its end against: --anchor or --head."
    return told


def _count(records: int) -> str:
    return f"{records} record{'s' * (records != 1)}"


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    try:
        with file.open(encoding="utf-8") as opened:
            yield opened
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not text"
        raise ConfigError("the environment", [f"{file} cannot be read ({why})"]) from error


def _lines(exported: Iterable[str], file: Path) -> Generator[Record, None, None]:
    for number, text in enumerate(exported, start=1):
        try:
            line = json.loads(text)
            data = line["data_text"] if "data_text" in line else json.dumps(line["data"])
            yield Record(**{name: line[name] for name in FIELDS}, data=data)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise ConfigError(str(file), [f"line {number} is not a record of an export as jsonl"]) from error
