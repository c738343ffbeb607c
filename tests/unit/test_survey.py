"""The survey over the sandbox's API server: states with their reasons, what drifted, and what could not be seen."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.contract import ClusterState, Extent, Fatal, Finding, Made, Operation, Retry, Survey
from handlers.survey.look import Surveyor
from handlers.survey.support import ended
from handlers.workshop import discover
from tests.unit.blueprints import CURRENT, layout, rendered
from tests.unit.coming import Coming
from tests.unit.kubes import Kube, Sight, running_kube

NOW = 1_790_000_000.0
OPERATIONS = discover()


@pytest.fixture
def kube(tmp_path: Path) -> Iterator[Kube]:
    with running_kube(tmp_path) as running:
        running.namespace("platform")
        yield running


@dataclass
class World(Sight):
    """A world whose accounts are not looked at."""

    def home(self) -> str:
        return "management"

    def clusters(self) -> Any:
        return SimpleNamespace(supported_until={"1.33": date(2030, 1, 1)}, failure_grace=300.0)


def survey(kube: Kube, extent: Extent = Extent(), *made: Made, user: str = "admin", **more: Any) -> Survey:  # noqa: B008
    values = {"operations": OPERATIONS, "accounts": (), "identities": {"tenant": "second"}, **more}
    return Surveyor(world=World(kube.cluster(user), NOW), **values).survey(extent, made)


def another(kube: Kube, name: str, namespace: str = "default") -> None:
    for item in rendered(layout(cluster=name), CURRENT, namespace=namespace):
        kube.put(item)


def ready(coming: Coming) -> None:
    coming.begin()
    coming.infrastructure()
    coming.control_plane(3)
    coming.workers(2, 2, 1)


def test_a_running_cluster_is_well_with_its_counts(kube: Kube) -> None:
    ready(Coming(kube, "current"))
    (state,) = survey(kube).clusters
    assert (state.key, state.state, state.why, state.account) == ("default/demo", "running", "", "management")
    assert (state.workers_ready, state.workers_wanted, state.control_plane_wanted) == (5, 5, 3)
    assert state.is_well


def test_what_is_not_well_says_why(kube: Kube) -> None:
    Coming(kube, "current").begin()
    (state,) = survey(kube).clusters
    assert state.state == "creating"
    assert state.why
    assert not state.is_well


def test_an_unreachable_management_cluster_is_one_gap_and_no_cluster(kube: Kube) -> None:
    world = World(kube.cluster("admin"), NOW)

    class Gone:
        def pages(self, *_: Any) -> Any:
            raise Retry("The management cluster does not answer.")

    world.kube = Gone()
    found = Surveyor(world=world, operations=OPERATIONS, accounts=("management",), identities={}).survey(Extent(), ())
    assert found.clusters == ()
    assert [(gap.what, gap.why) for gap in found.gaps] == [
        ("The management cluster", "The management cluster does not answer.")
    ]
    assert found.findings == (), "what cannot be seen is not stale"


class Lasting(Operation[Any]):
    """A kind of work whose outcome should stay."""

    name = "thing make"
    arguments = OPERATIONS["subnet tag"].arguments

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def plan(self, arguments: Any, world: Any) -> Any:
        raise AssertionError

    def verify(self, arguments: Any, plan: Any, world: Any) -> Any:
        raise AssertionError

    def drift(self, arguments: Any, world: Any) -> tuple[Finding, ...]:
        answer: tuple[Finding, ...] = self.answer()
        return answer


MADE = Made(request="r-1", operation="thing make", arguments={"cluster": "demo", "vpc": "vpc-0a1b2c3d"}, at=1.0)
FOUND = Finding(id="x", kind="tag", title="It is lost.", evidence="It is not there.")


def drifted(kube: Kube, answer: Any, **more: Any) -> Survey:
    return survey(kube, Extent(), MADE, operations={"thing make": Lasting(answer)}, **more)


def test_a_finding_names_the_request_that_made_it_so_and_comes_once(kube: Kube) -> None:
    (found,) = drifted(kube, lambda: (FOUND, FOUND)).findings
    assert (found.request, found.id) == ("r-1", "x")


@pytest.mark.parametrize(("error", "said"), [(Fatal("No rights."), "No rights."), (KeyError("x"), "inside tkgbot")])
def test_what_cannot_be_looked_at_is_a_gap_and_not_an_error(kube: Kube, error: Exception, said: str) -> None:
    def fail() -> Any:
        raise error

    (gap,) = drifted(kube, fail).gaps
    assert gap.what == "What r-1 made"
    assert said in gap.why


def test_what_takes_too_long_is_a_gap_and_holds_nobody_up(kube: Kube) -> None:
    hold = threading.Event()
    found = drifted(kube, lambda: hold.wait(60) and (FOUND,), bound=0.3)
    hold.set()
    assert "not looked at within 0.3 seconds" in found.gaps[0].why


def test_the_extent_limits_clusters_and_requests(kube: Kube) -> None:
    another(kube, "shop", "platform")
    another(kube, "demo")
    assert [state.key for state in survey(kube, Extent(namespaces=("platform",))).clusters] == ["platform/shop"]
    assert [state.key for state in survey(kube, Extent(cluster="demo")).clusters] == ["default/demo"]
    assert survey(kube, Extent(accounts=("second",))).clusters == ()
    operations = {"thing make": Lasting(lambda: (FOUND,))}
    elsewhere = survey(kube, Extent(accounts=("second",)), MADE, operations=operations)
    assert elsewhere.findings == ()
    assert survey(kube, Extent(cluster="shop"), MADE, operations=operations).findings == ()
    assert survey(kube, Extent(cluster="demo"), MADE, operations=operations).findings != ()


NAMES = st.sampled_from(["a", "b", "c"])
STATES = st.builds(
    ClusterState, name=NAMES, namespace=NAMES, account=NAMES, state=st.just("running"),
    labels=st.dictionaries(NAMES, NAMES, max_size=2),
)  # fmt: skip


@pytest.mark.long
@given(
    STATES,
    st.builds(
        Extent,
        accounts=st.lists(NAMES, max_size=2).map(tuple),
        namespaces=st.lists(NAMES, max_size=2).map(tuple),
        labels=st.dictionaries(NAMES, NAMES, max_size=2),
    ),
)
def test_an_extent_never_holds_what_it_does_not_name(state: ClusterState, extent: Extent) -> None:
    if extent.holds(state):
        assert not extent.accounts or state.account in extent.accounts
        assert not extent.namespaces or state.namespace in extent.namespaces
        assert all(state.labels.get(key) == value for key, value in extent.labels.items())


@pytest.mark.parametrize(
    ("version", "day", "said"),
    [
        ("v1.33.1", "2026-06-28", "is supported until 2026-06-28 only"),
        ("v1.33.1", "2026-06-29", "is out of support since 2026-06-28"),
        ("v1.33.1", "2026-01-01", ""),
        ("v1.20.9", "2026-01-01", "Kubernetes 1.20 is out of support."),
        ("v1.99.0", "2026-01-01", ""),
        ("", "2026-01-01", ""),
        ("v1.33.1+vmware.1-fips", "2026-07-01", "is out of support"),
    ],
)
def test_versions_out_of_support_are_told_and_said_before(version: str, day: str, said: str) -> None:
    told = ended(version, datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp(), {})
    assert said in told
    assert bool(told) == bool(said)
    assert ended(version, NOW, {"1.33": date(2030, 1, 1), "1.20": date(2030, 1, 1)}) == ""


def test_an_account_that_cannot_be_asked_after_is_a_gap_and_the_rest_is_told(kube: Kube) -> None:
    ready(Coming(kube, "current"))

    class Away(World):
        def account(self, name: str) -> Any:
            raise Retry("The settings of accounts cannot be read just now.")

    found = Surveyor(
        world=Away(kube.cluster("admin"), NOW), operations=OPERATIONS, accounts=("management",), identities={}
    ).survey(Extent(), ())
    assert [state.key for state in found.clusters] == ["default/demo"]
    (gap,) = [gap for gap in found.gaps if gap.what == "Subnet tags of account management"]
    assert "cannot be read just now" in gap.why


def test_an_identity_whose_role_is_unusual_is_there_all_the_same(kube: Kube) -> None:
    for item in rendered(layout(cluster="demo"), CURRENT, identity="hand"):
        kube.put(item)
    missing = [finding for finding in survey(kube).findings if finding.kind == "identity"]
    assert [finding.id for finding in missing] == ["identity hand"]
    kube.put({
        "apiVersion": "infrastructure.cluster.x-k8s.io/v1beta2", "kind": "AWSClusterRoleIdentity",
        "metadata": {"name": "hand"}, "spec": {
            "roleARN": "arn:aws:iam::2222:role/x", "allowedNamespaces": {},
            "sourceIdentityRef": {"kind": "AWSClusterControllerIdentity", "name": "default"},
        },
    })  # fmt: skip
    assert [finding for finding in survey(kube).findings if finding.kind == "identity"] == []


def _role_identity_used_by(kube: Kube, identity: str, *names: str) -> None:
    for name in names:
        for item in rendered(layout(cluster=name), CURRENT, identity=identity):
            kube.put(item)


@pytest.mark.parametrize(
    ("users", "used"), [(("demo",), "default/demo uses"), (("demo", "shop"), "2 clusters use")]
)  # fmt: skip
def test_a_missing_identity_says_who_needs_it_and_what_to_do(kube: Kube, users: tuple[str, ...], used: str) -> None:
    _role_identity_used_by(kube, "tenant", *users)
    (found,) = [finding for finding in survey(kube).findings if finding.kind == "identity"]
    assert (found.id, found.account, found.repair) == ("identity tenant", "tenant", None)
    assert found.title == f"The identity tenant is missing, and {used} it."
    assert found.evidence == (
        "Without it the AWS provider cannot get into that account: nothing is changed or deleted there."
    )
    assert found.fix == (
        "Bring the account in again under this name: /tkg account onboard ACCOUNT_ID --identity tenant"
    )


def test_what_the_request_that_made_it_says_comes_before_what_the_cluster_says(kube: Kube) -> None:
    """Both see that the identity is gone; only the request knows how to make it again."""
    _role_identity_used_by(kube, "tenant", "demo")
    mine = Finding(id="identity tenant", kind="identity", title="The identity tenant is missing.", evidence="Again.")
    (found,) = drifted(kube, lambda: (mine,)).findings
    assert (found.title, found.request) == (mine.title, "r-1")


def test_identities_that_cannot_be_listed_are_a_gap_and_not_missing(kube: Kube) -> None:
    _role_identity_used_by(kube, "tenant", "demo")
    world = World(kube.cluster("admin"), NOW)
    cluster = world.kube

    class Shy:
        def __getattr__(self, name: str) -> Any:
            return getattr(cluster, name)

        def pages(self, kind: Any, *rest: Any) -> Any:
            if kind.name == "AWSClusterRoleIdentity":
                raise Fatal("The bot may not list them.")
            return cluster.pages(kind, *rest)

    world.kube = Shy()
    found = Surveyor(world=world, operations=OPERATIONS, accounts=(), identities={}).survey(Extent(), ())
    assert [state.key for state in found.clusters] == ["default/demo"]
    assert found.findings == ()
    assert [gap.why for gap in found.gaps] == ["The bot may not list them."]


def test_an_old_version_says_which_and_what_to_do(kube: Kube) -> None:
    Coming(kube, "current").begin()

    class Old(World):
        def clusters(self) -> Any:
            return SimpleNamespace(supported_until={"1.33": date(2026, 1, 31)}, failure_grace=300.0)

    found = Surveyor(world=Old(kube.cluster("admin"), NOW), operations={}, accounts=(), identities={})
    (finding,) = found.survey(Extent(), ()).findings
    assert (finding.id, finding.kind) == ("version default/demo", "version")
    assert finding.title == "default/demo: Kubernetes 1.33 is out of support since 2026-01-31."
    assert finding.evidence == "It runs v1.33.1."
    assert (finding.fix, finding.repair) == ("Upgrade it, one minor version at a time.", None)
    assert (finding.cluster, finding.namespace) == ("demo", "default")
