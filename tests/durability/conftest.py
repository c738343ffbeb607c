"""What the durability tests share: fresh databases on SQLite and PostgreSQL, forked lives, and sandboxes in a hurry."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.durability.clusterlife import PACE
from tests.durability.keeper import fresh_database
from tests.durability.life import Orders, live
from tests.durability.matrix import Databases
from tests.processes import Process, call
from tests.world import World, running_world

WORLDS = 2
LONGEST_LIFE = 120
"""Seconds after which a life counts as one that will not end."""


class Home:
    """Where lives leave their database and their world."""

    def __init__(self, folder: Path, url: str | None) -> None:
        self.folder = folder
        self.url = url
        self.world = folder / "world"
        self.world.mkdir(parents=True, exist_ok=True)

    def start(self, **orders: Any) -> Process:
        return call(live, Orders(folder=str(self.folder), url=self.url, **orders))

    def run(self, **orders: Any) -> int:
        """One life to its end; its exit code (-9 when it was killed)."""
        process = self.start(**orders)
        try:
            return process.wait(LONGEST_LIFE)
        finally:
            process.kill()

    def engine(self) -> sa.Engine:
        return sa.create_engine(self.url or f"sqlite:///{self.folder}/tkgbot.db")

    def rows(self, query: str) -> list[tuple[object, ...]]:
        engine = self.engine()
        with engine.connect() as connection:
            rows = [tuple(row) for row in connection.execute(sa.text(query))]
        engine.dispose()
        return rows

    def log(self) -> list[str]:
        path = self.world / "log"
        return path.read_text().split() if path.exists() else []

    def error(self) -> str:
        path = self.folder / "error"
        return path.read_text() if path.exists() else ""


Homes = Callable[[], Home]


@pytest.fixture(scope="module")
def worlds() -> Iterator[list[World]]:
    """Sandboxes in a hurry for the whole module, started at the same time."""
    with ExitStack() as stack, ThreadPoolExecutor(WORLDS) as pool:
        starting = [pool.submit(stack.enter_context, running_world()) for _ in range(WORLDS)]
        found = [world.result() for world in starting]
        for world in found:
            world.kube_faults(pace=PACE)
        yield found


@pytest.fixture(params=["sqlite", "postgres"])
def databases(request: pytest.FixtureRequest) -> Databases:
    """Makes an empty database for a bot; None stands for a file of its own."""
    server = request.getfixturevalue("postgres") if request.param == "postgres" else None
    return lambda: fresh_database(server) if server else None


@pytest.fixture(params=["sqlite", "postgres"])
def homes(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Homes]:
    """Makes homes on the database under test. The schema is made once and copied: that is what makes hundreds of
    lives affordable."""
    server = request.getfixturevalue("postgres") if request.param == "postgres" else None
    admin = sa.create_engine(server, isolation_level="AUTOCOMMIT") if server else None
    template = Home(tmp_path / "template", _database(admin, server, None))
    assert template.run(script="approve", counting=False) == 0, template.error()
    _empty(template)
    made: list[Home] = []

    def make() -> Home:
        folder = tmp_path / f"home-{uuid.uuid4().hex[:8]}"
        folder.mkdir()
        if server is None:
            shutil.copy(template.folder / "tkgbot.db", folder / "tkgbot.db")
        home = Home(folder, _database(admin, server, template.url))
        made.append(home)
        return home

    yield make
    if admin is not None:
        for home in [*made, template]:
            name = str(home.url).split("/")[-1].split("?")[0]
            with admin.connect() as connection:
                connection.execute(sa.text(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'))
        admin.dispose()


def _database(admin: sa.Engine | None, server: str | None, template: str | None) -> str | None:
    if admin is None or server is None:
        return None
    name = f"t{uuid.uuid4().hex[:12]}"
    copy = f' TEMPLATE "{sa.make_url(template).database}"' if template else ""
    with admin.connect() as connection:
        connection.execute(sa.text(f'CREATE DATABASE "{name}"{copy}'))
    return sa.make_url(server).set(database=name).render_as_string(hide_password=False)


def _empty(home: Home) -> None:
    """Empties every table but those that hold the schema's version and the queues."""
    engine = home.engine()
    keep = {"dbos_migrations", "queues", "application_versions", "sqlite_sequence"}
    schemas = [None] if home.url is None else ["public", "dbos"]
    with engine.begin() as connection:
        for schema in schemas:
            for table in sa.inspect(connection).get_table_names(schema=schema):
                if table not in keep:
                    where = f'"{schema}"."{table}"' if schema else f'"{table}"'
                    connection.execute(sa.text(f"TRUNCATE {where} CASCADE" if schema else f"DELETE FROM {where}"))
    if home.url is None:
        with engine.connect() as connection:
            connection.execute(sa.text("PRAGMA wal_checkpoint(TRUNCATE)"))
    engine.dispose()
