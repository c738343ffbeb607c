"""What can be asked for with one click: stored beside the message that offers it, found by the id on its button."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from bot import tables
from bot.ledger import Refused
from bot.lifecycle import State
from bot.messages import Button
from handlers.contract import Offer

ENDED_WITHOUT = (State.FAILED, State.DENIED, State.WITHDRAWN, State.EXPIRED, State.CANCELLED, State.ABANDONED)


def put(
    connection: sa.Connection, message: str, channel: str, offers: Sequence[Offer], now: float
) -> tuple[Button, ...]:
    """Stores what a message is about to offer; its buttons. The same message again gives the same."""
    buttons: list[Button] = []
    for number, offer in enumerate(offers):
        made = f"o-{hashlib.sha256(f'{message}:{number}'.encode()).hexdigest()[:16]}"
        if find(connection, made) is None:
            connection.execute(
                sa.insert(tables.offers).values(
                    id=made, message=message, channel=channel, operation=offer.operation, arguments=offer.arguments,
                    made_at=now,
                )
            )  # fmt: skip
        buttons.append(Button(action="offer", value=made, label=offer.label))
    return tuple(buttons)


def find(connection: sa.Connection, offer: str) -> sa.Row[Any] | None:
    """The stored offer, or None."""
    return connection.execute(sa.select(tables.offers).where(tables.offers.c.id == offer)).first()


def stands_at(connection: sa.Connection, message: str) -> tuple[str, str] | None:
    """Channel and timestamp of a message that was sent."""
    box = tables.outbox.c
    row = connection.execute(sa.select(box.channel, box.ts).where(box.key == message)).first()
    return None if row is None or row.ts is None else (row.channel, row.ts)


def take(connection: sa.Connection, offer: str, request: str) -> None:
    """Makes an offer into a request, once: a second click is told where. Raises Refused."""
    columns = tables.offers.c
    row = connection.execute(sa.select(tables.offers).where(columns.id == offer).with_for_update()).first()
    if row is None:
        raise Refused("This offer is not known any more.", "Type the command instead.")
    requests = tables.requests.c
    before = connection.execute(
        sa.select(requests.id, requests.state, requests.requester).where(requests.id == (row.request or ""))
    ).first()
    if before is not None and before.state not in ENDED_WITHOUT:
        raise Refused(f"<@{before.requester}> has asked for this already, in `{before.id}`.")
    connection.execute(sa.update(tables.offers).where(columns.id == offer).values(request=request))
