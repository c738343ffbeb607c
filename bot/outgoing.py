"""Messages put into the outbox, in the transaction that causes them."""

from __future__ import annotations

import sqlalchemy as sa

from bot import tables
from bot.messages import Note


def card(connection: sa.Connection, request: str, channel: str, now: float) -> None:
    """Makes the row of a request's card; `touch_card` then has it drawn."""
    _insert(connection, f"{request}:card", "card", request, channel, now, wanted=0)


def touch_card(connection: sa.Connection, request: str, at: float, *, now: bool = False) -> None:
    """Has the card drawn again: at once with `now`, else when the sender next may edit it."""
    columns = tables.outbox.c
    values: dict[str, object] = {"wanted": columns.wanted + 1}
    if now:
        values["due"] = at
    connection.execute(sa.update(tables.outbox).where(columns.key == f"{request}:card").values(values))


def thread(connection: sa.Connection, key: str, request: str, channel: str, note: Note, now: float) -> None:
    """A line in a request's thread. The same key again adds nothing."""
    _insert(connection, key, "thread", request, channel, now, body=note)


def whisper(
    connection: sa.Connection, key: str, channel: str, person: str, url: str | None, note: Note, now: float
) -> None:
    """An answer that only `person` sees, by the response URL where there is one (30 minutes and 5 uses,
    docs.slack.dev/interactivity/handling-user-interaction)."""
    _insert(connection, key, "whisper", None, channel, now, body=note, person=person, url=url, expires=now + 1740)


def direct(connection: sa.Connection, key: str, person: str, note: Note, now: float) -> None:
    """A direct message."""
    _insert(connection, key, "direct", None, person, now, body=note, person=person)


def _insert(
    connection: sa.Connection,
    key: str,
    kind: str,
    request: str | None,
    channel: str,
    now: float,
    *,
    body: Note | None = None,
    person: str | None = None,
    url: str | None = None,
    expires: float | None = None,
    wanted: int = 1,
) -> None:
    table = tables.outbox
    if connection.execute(sa.select(table.c.key).where(table.c.key == key)).first() is not None:
        return
    last = connection.scalar(sa.select(sa.func.max(table.c.seq)).where(table.c.request == request)) or 0
    connection.execute(
        sa.insert(table).values(
            key=key, seq=last + 1, kind=kind, request=request, channel=channel, person=person, url=url,
            body=None if body is None else body.model_dump(mode="json"),
            wanted=wanted, sent=0, attempts=0, due=now, expires=expires, repeated=False,
        )
    )  # fmt: skip
