"""Which accounts there are: the settings' and those that identities on the management cluster lead into."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from handlers.accounts import KEPT_SECONDS, READER, REGION, Accounts, onboarded, through
from handlers.contract import Door, Json, Kind, UsageError
from handlers.kinds import ROLE_IDENTITY
from handlers.settings import OperationsSettings
from handlers.worlds import Reach

HOME, SECOND = "111122223333", "777788889999"
ROLE = f"arn:aws:iam::{SECOND}:role/controllers.tkg.cloud.vmware.com"
READS = f"arn:aws:iam::{SECOND}:role/tkgbot-reader"
SETTINGS = OperationsSettings.model_validate({
    "default_account": "management",
    "management_cluster": {},
    "accounts": {
        "management": {"id": HOME, "region": "us-east-1", "role_arn": f"arn:aws:iam::{HOME}:role/tkgbot"},
        "team-a": {"id": "222233334444", "region": "eu-west-1", "access": "ambient"},
    },
})  # fmt: skip
ALONE = SETTINGS.model_copy(update={"management_cluster": None})


def identity(name: str, role: str = ROLE, reader: str = READS, region: str = "eu-west-1", **spec: Any) -> Json:
    return {
        "metadata": {"name": name, "annotations": {READER: reader, REGION: region}},
        "spec": {"roleARN": role, "externalID": "tkgbot-1", **spec},
    }


@dataclass
class Cluster:
    """A management cluster that remembers how often it was asked."""

    items: dict[str, Json] = field(default_factory=dict)
    served: bool = True
    asked: int = 0
    made: int = 0

    def has(self, kind: Kind) -> bool:
        return self.served and kind == ROLE_IDENTITY

    def get(self, kind: Kind, name: str, namespace: str = "") -> Json | None:
        self.asked += 1
        return self.items.get(name)

    def management(self) -> Any:
        return self

    def fresh(self) -> Any:
        self.made += 1
        return self


class Clock:
    """Epoch seconds, set by hand."""

    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def cluster() -> Cluster:
    return Cluster({name: identity(name) for name in ("team-a", "team-b")})


def accounts(cluster: Cluster, clock: Clock | None = None, settings: OperationsSettings = SETTINGS) -> Accounts:
    return Accounts(settings, cluster.management, clock or Clock())


def test_the_settings_win_and_nobody_is_asked(cluster: Cluster) -> None:
    found = accounts(cluster)("team-a")
    assert (found.id, found.access, cluster.asked) == ("222233334444", "ambient", 0)


def test_an_identity_says_how_the_bot_gets_in(cluster: Cluster) -> None:
    found = accounts(cluster)("team-b")
    assert found.model_dump(exclude_none=True) == {
        "id": SECOND, "region": "eu-west-1", "access": "role", "role_arn": READS, "external_id": "tkgbot-1",
        "identity": "team-b", "source_identity": True,
    }  # fmt: skip


def test_it_is_kept_for_half_a_minute_by_the_clock_and_no_longer(cluster: Cluster) -> None:
    clock = Clock()
    known = accounts(cluster, clock)
    assert known("team-b").region == "eu-west-1"
    cluster.items["team-b"] = identity("team-b", region="us-west-2")
    clock.now += KEPT_SECONDS - 0.001
    assert (known("team-b").region, cluster.asked) == ("eu-west-1", 1)
    clock.now += 0.001
    assert (known("team-b").region, cluster.asked) == ("us-west-2", 2)
    del cluster.items["team-b"]
    assert known("team-b").region == "us-west-2"
    clock.now += KEPT_SECONDS
    with pytest.raises(UsageError, match="no account `team-b`"):
        known("team-b")


def test_a_name_that_is_unknown_is_asked_for_every_time(cluster: Cluster) -> None:
    """An account that was just brought in is there at once."""
    known = accounts(cluster)
    with pytest.raises(UsageError):
        known("team-c")
    cluster.items["team-c"] = identity("team-c")
    assert known("team-c").id == SECOND


def test_fresh_forgets(cluster: Cluster) -> None:
    clock = Clock()
    kube: Any = cluster
    first = Reach.of(ALONE, clock)
    known = Reach(first.sessions.fresh(accounts(cluster, clock)), kube, SETTINGS, clock)
    assert known.sessions.account("team-b").region == "eu-west-1"
    cluster.items["team-b"] = identity("team-b", region="us-west-2")
    assert known.sessions.account("team-b").region == "eu-west-1"
    assert known.fresh().sessions.account("team-b").region == "us-west-2"
    assert cluster.made == 1


@pytest.mark.parametrize("name", ["team-c", ""])
def test_a_name_without_an_identity(cluster: Cluster, name: str) -> None:
    with pytest.raises(UsageError) as caught:
        accounts(cluster)(name)
    assert caught.value.message == (
        f"There is no account `{name}` in the settings, and none was onboarded by that name."
    )  # fmt: skip
    assert caught.value.hint == (
        "Known accounts: `management`, `team-a`. `/tkg account list` shows those that were onboarded."
    )


def test_where_there_is_no_management_cluster_or_no_aws_provider(cluster: Cluster) -> None:
    for known in (accounts(cluster, settings=ALONE), Accounts(SETTINGS, None, Clock())):
        with pytest.raises(UsageError, match="no account `team-b`"):
            known("team-b")
    cluster.served = False
    with pytest.raises(UsageError, match="no account `team-b`"):
        accounts(cluster)("team-b")
    assert cluster.asked == 0


def test_an_account_that_the_settings_name_otherwise_is_refused(cluster: Cluster) -> None:
    cluster.items["alias"] = identity(
        "alias", f"arn:aws:iam::{HOME}:role/controllers.x", f"arn:aws:iam::{HOME}:role/tkgbot-reader"
    )
    with pytest.raises(UsageError) as caught:
        accounts(cluster)("alias")
    assert caught.value.message == (
        f"The identity `alias` leads into account {HOME}, which the settings call `management`."
    )  # fmt: skip
    assert caught.value.hint == "Use `--account management`."


# -- reading an identity -----------------------------------------------------------------------------------------

NO_DOOR: dict[str, Json] = {
    "a reader in another account": identity("x", reader=f"arn:aws:iam::{HOME}:role/tkgbot-reader"),
    "a reader in another partition": identity("x", reader=f"arn:aws-cn:iam::{SECOND}:role/tkgbot-reader"),
    "a role in another partition": identity("x", role=ROLE.replace("aws:", "aws-us-gov:", 1)),
    "a reader that is a user": identity("x", reader=f"arn:aws:iam::{SECOND}:user/tkgbot-reader"),
    "no reader": identity("x", reader=""),
    "no region": identity("x", region=""),
    "a region that is none": identity("x", region="us-east-1.evil"),
    "an external id that STS would not take": identity("x", externalID="a b"),
    "no annotations": {"metadata": {"name": "x"}, "spec": {"roleARN": ROLE}},
}


@pytest.mark.parametrize("item", NO_DOOR.values(), ids=NO_DOOR)
def test_there_is_no_door(cluster: Cluster, item: Json) -> None:
    found = onboarded(item)
    assert found is not None
    assert (found.name, found.account_id, found.door) == ("x", SECOND, None)
    cluster.items["x"] = item
    with pytest.raises(UsageError, match="no account `x`"):
        accounts(cluster)("x")


@pytest.mark.parametrize("role", ["", "x", f"arn:aws:iam::{SECOND}:user/x", "arn:aws:iam::1234:role/x", f"{ROLE}\n"])
def test_a_role_that_is_none_leads_nowhere(role: str) -> None:
    assert onboarded(identity("x", role=role)) is None


@pytest.mark.parametrize("item", [{}, {"spec": {}}, {"metadata": None, "spec": None}])
def test_an_identity_without_anything_leads_nowhere(item: Json) -> None:
    assert onboarded(item) is None


@pytest.mark.parametrize("external", [None, ""])
def test_no_external_id_is_none(external: str | None) -> None:
    found = onboarded(identity("x", externalID=external))
    assert found is not None
    assert found.door == Door(account_id=SECOND, region="eu-west-1", role_arn=READS, external_id=None)
    assert through(found.door).external_id is None


def test_roles_have_paths_and_partitions() -> None:
    found = onboarded(
        identity("x", ROLE.replace("aws:", "aws-cn:", 1).replace("/", "/a/b/"), READS.replace("aws:", "aws-cn:", 1))
    )
    assert found is not None
    assert (found.partition, found.account_id) == ("aws-cn", SECOND)
    assert found.door is not None
    assert found.door.name == f"tkgbot-reader of {SECOND}"
