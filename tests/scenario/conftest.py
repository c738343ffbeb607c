"""One sandbox and one bot for the scenario tests of a module; every test starts with all faults off."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.world import World, running_world


@pytest.fixture(scope="module")
def shared_world() -> Iterator[World]:
    with running_world() as world:
        world.start_bot()
        yield world


@pytest.fixture
def world(shared_world: World) -> Iterator[World]:
    shared_world.calm()
    yield shared_world
    shared_world.calm()
