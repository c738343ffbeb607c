"""Messages put into the outbox, in the transaction that causes them."""

from __future__ import annotations

import sqlalchemy as sa

from bot import tables
from bot.messages import Note
from handlers.contract import Board, Chart, File

Exhibited = File | Board | Chart


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


def file(connection: sa.Connection, key: str, request: str, channel: str, exhibit: Exhibited, now: float) -> None:
    """A file or a picture in a request's thread. The same key again adds nothing."""
    _insert(connection, key, "file", request, channel, now, body=exhibit)


def whisper(
    connection: sa.Connection,
    key: str,
    channel: str,
    person: str,
    url: str | None,
    note: Note,
    now: float,
    *,
    thread: str = "",
) -> None:
    """An answer that only `person` sees, by the response URL where there is one (30 minutes and 5 uses,
    docs.slack.dev/interactivity/handling-user-interaction), in a thread where it was asked for there."""
    _insert(
        connection, key, "whisper", None, channel, now, body=note, person=person, url=url, thread=thread,
        expires=now + 1740,
    )  # fmt: skip


def direct(connection: sa.Connection, key: str, person: str, note: Note, now: float) -> None:
    """A direct message."""
    _insert(connection, key, "direct", None, person, now, body=note, person=person)


def post(connection: sa.Connection, key: str, channel: str, note: Note, now: float) -> None:
    """A message of its own in a channel, about no request."""
    _insert(connection, key, "post", None, channel, now, body=note)


def digest(
    connection: sa.Connection, key: str, channel: str, note: Note, now: float, *, owner: str | None, expires: float
) -> None:
    """A message of its own that is worth something until `expires` (epoch seconds): until then it is tried again also
    where the channel does not take it, and its owner is told so."""
    _insert(connection, key, "post", None, channel, now, body=note, person=owner, expires=expires)


def under(connection: sa.Connection, root: str, channel: str, key: str, body: Note | Exhibited, *, now: float) -> None:
    """A line, a file or a picture in the thread of a message that is no card, by that message's key."""
    kind = "thread" if isinstance(body, Note) else "file"
    _insert(connection, key, kind, None, channel, now, body=body, under=root)


def is_there(connection: sa.Connection, key: str) -> bool:
    """True when this was said already, or is about to be."""
    return connection.execute(sa.select(tables.outbox.c.key).where(tables.outbox.c.key == key)).first() is not None


def nudge(connection: sa.Connection, key: str, request: str, channel: str, person: str, note: Note, now: float) -> None:
    """A direct message about a request, sent only when its channel is so busy that the card is out of sight."""
    _insert(connection, key, "nudge", request, channel, now, body=note, person=person)


def _insert(
    connection: sa.Connection,
    key: str,
    kind: str,
    request: str | None,
    channel: str,
    now: float,
    *,
    body: Note | Exhibited | None = None,
    person: str | None = None,
    url: str | None = None,
    thread: str = "",
    expires: float | None = None,
    wanted: int = 1,
    under: str | None = None,
) -> None:
    table = tables.outbox
    if is_there(connection, key):
        return
    last = connection.scalar(sa.select(sa.func.max(table.c.seq)).where(table.c.request == request)) or 0
    connection.execute(
        sa.insert(table).values(
            key=key, seq=last + 1, kind=kind, request=request, channel=channel, person=person, url=url,
            thread=thread or None, body=None if body is None else body.model_dump(mode="json"),
            wanted=wanted, sent=0, attempts=0, due=now, expires=expires, repeated=False,
            under=under, made_at=now,
        )
    )  # fmt: skip


def message_key(fire: str) -> str:
    """The key of the message of one moment of a digest (`NAME@…`); what belongs to it has a key that begins so."""
    return f"digest:{fire}"


def digest_of(key: str) -> str:
    """The name of the digest to which a message of that key belongs."""
    return key.removeprefix(message_key("")).partition("@")[0]
