"""The sandbox's AWS for the unit tests of operations: one a module, cleared after every test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from handlers.clients.aws import AwsSessions
from handlers.workshop import TeamWorkshop
from sandbox.aws import AwsSandbox
from tests.unit.clouds import SETTINGS, Cloud


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What runs no processes is not tried again."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.flaky(reruns=0))


@pytest.fixture(scope="module")
def standing_cloud() -> Iterator[Cloud]:
    """A running AWS, with the bot's own credentials in the environment."""
    sandbox = AwsSandbox()
    sandbox.start()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_SESSION_TOKEN", "AWS_PROFILE"):
            patch.delenv(name, raising=False)
        for name, value in sandbox.env().items():
            patch.setenv(name, value)
        yield Cloud(sandbox)
    sandbox.stop()


@pytest.fixture
def cloud(standing_cloud: Cloud) -> Iterator[Cloud]:
    """The same, as it was at the start."""
    yield standing_cloud
    standing_cloud.sandbox.set_faults(dict.fromkeys(standing_cloud.sandbox.get_faults()))
    standing_cloud.clear()


@pytest.fixture(scope="module")
def parsed_models(standing_cloud: Cloud) -> AwsSessions:
    """AWS's API models take a second to parse."""
    return AwsSessions(SETTINGS)


@pytest.fixture
def shop(parsed_models: AwsSessions) -> TeamWorkshop:
    """The operations side, without credentials from an earlier test."""
    made = TeamWorkshop(SETTINGS)
    made.__dict__["sessions"] = parsed_models.fresh()
    return made
