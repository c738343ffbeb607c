"""What every suite may use, a real PostgreSQL server started when a test first wants one; and what the gate leaves out.

`@pytest.mark.long` is what the gate does not play, `@pytest.mark.long(but=2)` what it plays the first two cases of,
`@pytest.mark.long(only=("a-b", "c-d"))` what it plays the cases with these ids of. It has nothing to do with worth: all
of it is played before something is called done."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Generator, Iterator

import pytest
import sqlalchemy as sa

from tests.models import share
from tests.postgres import running_postgres
from tests.world import LIVING

share()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--gate", action="store_true", help="Without what is marked as long.")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--gate"):
        return
    played: Counter[str] = Counter()
    left_out = {item for item in items if _is_long(item, played)}
    config.hook.pytest_deselected(items=[item for item in items if item in left_out])
    items[:] = [item for item in items if item not in left_out]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure tells what the processes of the worlds that still run said last."""
    report = yield
    if report.failed:
        report.sections += [(world.folder.name, world.ends()) for world in LIVING]
    return report


def _is_long(item: pytest.Item, played: Counter[str]) -> bool:
    marker = item.get_closest_marker("long")
    if marker is None:
        return False
    function, _, case = item.nodeid.partition("[")
    if "only" in marker.kwargs:
        return case.rstrip("]") not in marker.kwargs["only"]
    played[function] += 1
    return played[function] > int(marker.kwargs.get("but", 0))


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A real PostgreSQL server on a socket of its own; the URL of its first database."""
    with running_postgres() as server:
        yield server.get_uri(driver="psycopg")


@pytest.fixture(scope="session")
def new_database(postgres: str) -> Iterator[Callable[[], str]]:
    """Makes empty databases on that server; they are dropped at the end."""
    admin = sa.create_engine(postgres, isolation_level="AUTOCOMMIT")
    made: list[str] = []

    def make() -> str:
        name = f"t{uuid.uuid4().hex[:12]}"
        with admin.connect() as connection:
            connection.execute(sa.text(f'CREATE DATABASE "{name}"'))
        made.append(name)
        return sa.make_url(postgres).set(database=name).render_as_string(hide_password=False)

    yield make
    for name in made:
        with admin.connect() as connection:
            connection.execute(sa.text(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'))
    admin.dispose()
