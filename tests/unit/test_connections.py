"""How many connections a replica takes from PostgreSQL, which has a hundred by default."""

from __future__ import annotations

from typing import Any

from bot.engine import _postgres_for_dbos
from bot.store import OWN_CONNECTIONS, postgres_engine

URL = "postgresql+psycopg://nobody@127.0.0.1:1/none"
MOST, REPLICAS, ROOM = 100, 3, 10


def at_most(pool: Any) -> int:
    return int(pool.size() + pool._max_overflow)


def test_three_replicas_leave_room_for_the_command_line() -> None:
    each = at_most(postgres_engine(URL, OWN_CONNECTIONS).pool) + at_most(_postgres_for_dbos(URL).pool)
    assert REPLICAS * each + ROOM <= MOST
