"""`cluster list` and `cluster get` over the sandbox's API server, with clusters in every state."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from handlers.clients.aws_errors import Denied
from handlers.cluster_list import ClusterGet, ClusterList, GetArguments, ListArguments
from handlers.cluster_reading import read_all, read_cluster
from handlers.contract import Fatal, Report, Retry, UsageError
from handlers.kinds import AWS_CLUSTER, AWS_MACHINE, CLUSTER, CONTROL_PLANE, MACHINE, MACHINE_DEPLOYMENT
from tests.unit.blueprints import CURRENT, LEGACY, layout, rendered
from tests.unit.coming import Coming
from tests.unit.kubes import Kube, Sight, running_kube

NOW = 1_790_000_000.0
LIST, GET = ClusterList(), ClusterGet()


@pytest.fixture(params=["current", "legacy"])
def coming(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Coming]:
    with running_kube(tmp_path, request.param) as kube:
        kube.namespace("platform")
        yield Coming(kube, request.param)


@pytest.fixture
def kube(tmp_path: Path) -> Iterator[Kube]:
    with running_kube(tmp_path) as running:
        running.namespace("platform")
        yield running


def listed(kube: Kube, namespace: str | None = None, user: str = "admin") -> Report:
    return LIST.report(ListArguments(namespace=namespace), Sight(kube.cluster(user), NOW))


def got(kube: Kube, cluster: str = "demo", namespace: str = "default", user: str = "admin") -> Report:
    return GET.report(GetArguments(cluster=cluster, namespace=namespace), Sight(kube.cluster(user), NOW))


def rows(report: Report) -> dict[str, dict[str, str]]:
    """Each cluster's row by column."""
    assert report.table is not None
    return {row[0]: dict(zip(report.table.header, row, strict=True)) for row in report.table.rows}


def ready(coming: Coming) -> None:
    """Everything is as it should be."""
    coming.begin()
    coming.infrastructure()
    coming.control_plane(3)
    coming.workers(2, 2, 1)


def another(kube: Kube, name: str, namespace: str = "default", generation: str = "current") -> None:
    """The objects of another cluster, of which nothing has come up."""
    versions = {"current": CURRENT, "legacy": LEGACY}[generation]
    for item in rendered(layout(cluster=name), versions, namespace=namespace):
        kube.put(item)


# -- the list ----------------------------------------------------------------------------------------------------


def test_where_there_is_none_the_list_says_so(kube: Kube) -> None:
    assert listed(kube).title == "There is no cluster."
    assert listed(kube, "platform").title == "There is no cluster in platform."
    assert listed(kube).table is None


def test_a_running_cluster_is_one_good_row(coming: Coming) -> None:
    ready(coming)
    found = listed(coming.kube)
    assert (found.tone, found.title, found.facts) == ("good", "1 cluster, 1 running.", ())
    row = rows(found)["demo"]
    assert (row["NAMESPACE"], row["STATUS"], row["CONTROLPLANE"], row["WORKERS"], row["KUBERNETES"], row["PLAN"]) == (
        "default", "running", "3/3", "5/5", "v1.33.1", "dev",
    )  # fmt: skip


def test_what_does_not_run_comes_first_with_its_reason(coming: Coming) -> None:
    ready(coming)
    another(coming.kube, "alpha", generation=coming.generation)
    another(coming.kube, "zulu", generation=coming.generation)
    found = listed(coming.kube)
    assert (found.tone, found.title) == ("warn", "3 clusters, 1 running.")
    assert list(rows(found)) == ["alpha", "zulu", "demo"]
    assert [fact.split(":")[0] for fact in found.facts] == ["alpha (creating)", "zulu (creating)"]


def test_a_cluster_whose_objects_have_no_owner_yet_is_counted_like_any_other(coming: Coming) -> None:
    """Labels and owners come from the controllers; the references are there from the beginning."""
    coming.begin()
    row = rows(listed(coming.kube))["demo"]
    alone = read_cluster(coming.kube.cluster(), "demo", "default")
    assert alone is not None
    assert alone.control_plane is not None
    assert row["KUBERNETES"] == "v1.33.1"
    assert row["CONTROLPLANE"].endswith("/3")


def test_many_that_do_not_run_are_cut_with_a_count(kube: Kube) -> None:
    for number in range(13):
        another(kube, f"c-{number:02d}")
    found = listed(kube)
    assert len(found.facts) == 11
    assert found.facts[-1] == "and 3 more that are not running"
    assert len(rows(found)) == 13


def test_one_namespace_only(kube: Kube) -> None:
    another(kube, "alpha")
    another(kube, "beta", "platform")
    assert list(rows(listed(kube, "platform"))) == ["beta"]
    assert listed(kube, "platform").title == "1 cluster in platform, 0 running."
    assert set(rows(listed(kube))) == {"alpha", "beta"}


def test_clusters_of_one_name_in_two_namespaces_keep_their_parts_apart(kube: Kube) -> None:
    another(kube, "demo")
    another(kube, "demo", "platform")
    kube.change(CONTROL_PLANE, "demo-control-plane", {"spec": {"replicas": 5}}, "platform")
    found = {item.cluster["metadata"]["namespace"]: item for item in read_all(kube.cluster())}  # type: ignore[index, call-overload]
    desired = {space: item.control_plane["spec"]["replicas"] for space, item in found.items()}  # type: ignore[index, call-overload]
    assert desired == {"default": 1, "platform": 5}
    assert {space: len(item.deployments) for space, item in found.items()} == {"default": 1, "platform": 1}


def test_a_list_is_six_requests_however_many_clusters_there_are(kube: Kube) -> None:
    for name in ("alpha", "beta", "gamma"):
        another(kube, name)
    cluster = kube.cluster()
    before = len(kube.asked())
    read_all(cluster)
    asked = [call for call in kube.asked()[before:] if call[1]]
    assert sorted(asked) == sorted(("list", kind.plural) for kind in (
        CLUSTER, AWS_CLUSTER, CONTROL_PLANE, MACHINE_DEPLOYMENT, MACHINE, AWS_MACHINE,
    ))  # fmt: skip


def test_a_deleted_cluster_is_deleting_and_no_reason_to_worry(coming: Coming) -> None:
    ready(coming)
    coming.kube.change(CLUSTER, "demo", {"metadata": {"finalizers": ["cluster.cluster.x-k8s.io"]}})
    coming.kube.drop(CLUSTER, "demo")
    found = listed(coming.kube)
    assert rows(found)["demo"]["STATUS"] == "deleting"
    assert (found.tone, found.facts) == ("good", ())


def test_the_list_and_the_look_at_one_see_the_same(coming: Coming) -> None:
    ready(coming)
    another(coming.kube, "alpha", generation=coming.generation)
    cluster = coming.kube.cluster()
    for item in read_all(cluster):
        alone = read_cluster(cluster, item.name, "default")
        assert alone is not None
        assert (item.infrastructure is None) == (alone.infrastructure is None)
        assert (item.control_plane is None) == (alone.control_plane is None)
        assert len(item.deployments) == len(alone.deployments)


def test_lists_leave_out_what_nobody_shows(kube: Kube) -> None:
    another(kube, "demo")
    found = read_all(kube.cluster())[0]
    assert all("managedFields" not in item["metadata"] for item in found.deployments)  # type: ignore[operator]
    assert found.cluster["metadata"]["annotations"]["tkg/plan"] == "dev"  # type: ignore[index, call-overload]


@pytest.mark.parametrize("kind", [MACHINE, CONTROL_PLANE, MACHINE_DEPLOYMENT])
def test_what_may_not_be_read_is_unknown_and_never_running(coming: Coming, kind: Any) -> None:
    ready(coming)
    coming.kube.faults(forbid=[f"* {kind.group}/{kind.plural}"])
    found = listed(coming.kube)
    assert (rows(found)["demo"]["STATUS"], found.tone) == ("unknown", "warn")
    assert f"Could not be read: {kind.name}" in found.facts[0]
    assert got(coming.kube).title == f"demo is unknown: Could not be read: {kind.name}."


def test_clusters_that_may_not_be_listed_are_no_empty_list(kube: Kube) -> None:
    with pytest.raises(Denied):
        listed(kube, user="nobody")


def test_a_server_in_trouble_is_no_empty_list(kube: Kube) -> None:
    another(kube, "demo")
    kube.faults(unreachable=True)
    with pytest.raises(Retry):
        listed(kube)


def test_without_the_cluster_api_there_is_no_list(tmp_path: Path) -> None:
    with running_kube(tmp_path, "none") as kube, pytest.raises(Fatal, match="has no Cluster"):
        listed(kube)


# -- one cluster -------------------------------------------------------------------------------------------------


def test_a_running_cluster_is_told_in_one_line_with_its_tree(coming: Coming) -> None:
    ready(coming)
    found = got(coming.kube)
    assert (found.tone, found.title) == ("good", "demo is running.")
    assert found.facts == (
        "namespace default · control plane 3/3 · workers 5/5 · Kubernetes v1.33.1 · plan dev",
    )  # fmt: skip
    assert found.table is not None
    assert any("Cluster/demo" in row[1] for row in found.table.rows)


def test_a_cluster_that_comes_up_says_what_it_waits_for(coming: Coming) -> None:
    coming.begin()
    found = got(coming.kube)
    assert found.tone == "warn"
    assert found.title.startswith("demo is creating: ")


def test_what_failed_comes_first_with_awss_words_and_the_fix(coming: Coming) -> None:
    coming.begin()
    coming.infrastructure()
    coming.refused("demo-control-plane-a")
    found = got(coming.kube)
    assert found.tone == "bad"
    assert "AWSMachine/demo-control-plane-a failed" in found.facts[0]
    assert "current vCPU limit of 32" in found.facts[0]
    assert "control plane" in found.facts[-1]


def test_at_most_five_failures_are_told(coming: Coming) -> None:
    coming.begin()
    for number in range(8):
        coming.refused(f"demo-md-0-{number}")
    assert len(got(coming.kube).facts) == 6


def test_a_name_that_is_in_another_namespace_is_pointed_to(kube: Kube) -> None:
    another(kube, "beta", "platform")
    with pytest.raises(UsageError, match="There is no cluster beta in default") as error:
        got(kube, "beta")
    assert error.value.hint == "There is one in platform: add --namespace platform."


def test_a_name_that_is_nowhere_is_answered_with_the_list(kube: Kube) -> None:
    with pytest.raises(UsageError, match="There is no cluster beta in platform") as error:
        got(kube, "beta", "platform")
    assert "/tkg cluster list" in error.value.hint


def test_machines_of_a_cluster_whose_name_begins_alike_are_not_shown(coming: Coming) -> None:
    ready(coming)
    coming.refused("demo-2-md-0-x")
    coming.kube.change(
        AWS_MACHINE, "demo-2-md-0-x", {"metadata": {"labels": {"cluster.x-k8s.io/cluster-name": "demo-2"}}}
    )
    found = got(coming.kube)
    assert found.tone == "good"
    assert found.table is not None
    assert not any("demo-2" in cell for row in found.table.rows for cell in row)


def test_reports_change_nothing(coming: Coming) -> None:
    ready(coming)
    before = coming.kube.call(lambda: coming.kube.sandbox.store.memory.revision)
    listed(coming.kube)
    got(coming.kube)
    assert coming.kube.call(lambda: coming.kube.sandbox.store.memory.revision) == before
