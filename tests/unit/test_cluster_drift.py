"""What became of a cluster that a request made: it stands, goes, lost tags, or is gone without a request."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from handlers.cluster_cleanup import CleanupArguments
from handlers.cluster_create import ClusterCreate
from handlers.cluster_shape import CreateArguments
from handlers.contract import Fatal, Finding, Retry
from handlers.kinds import AWS_CLUSTER, CLUSTER
from handlers.subnet import TagArguments
from tests.unit.blueprints import rendered
from tests.unit.clouds import REGION, Cloud, key
from tests.unit.deletions import World
from tests.unit.kubes import Kube, running_kube
from tests.unit.preflights import layout

CREATE = ClusterCreate()


@pytest.fixture
def kube(tmp_path: Path) -> Iterator[Kube]:
    with running_kube(tmp_path) as running:
        yield running


@pytest.fixture
def world(kube: Kube, cloud: Cloud) -> World:
    return World(kube, cloud)


@pytest.fixture
def subnets(kube: Kube, cloud: Cloud) -> list[str]:
    """The cluster's subnets, each with its tag."""
    for item in rendered(layout(cloud, cluster="demo")):
        kube.put(item)
    found = kube.find(AWS_CLUSTER, "demo")
    assert found is not None
    network: Any = found["spec"]["network"]
    ids = sorted(str(entry["id"]) for entry in network["subnets"])
    cloud.put(ids, demo="shared")
    return ids


def drift(world: World, name: str = "demo") -> Finding | None:
    """The one finding, if there is one."""
    arguments = CreateArguments.model_validate({
        "cluster": name, "plan": "dev", "vpc": "vpc-0a1b2c3d4e5f60718", "account": "management", "region": REGION,
    })  # fmt: skip
    every = CREATE.drift(arguments, world)
    assert len(every) < 2
    return every[0] if every else None


def test_a_cluster_that_stands_with_its_tags_is_no_drift(world: World, subnets: list[str]) -> None:
    assert len(subnets) > 1
    assert drift(world) is None


def test_a_cluster_that_nobody_asked_to_go_is_told_and_its_cleanup_offered(world: World) -> None:
    found = drift(world, "lost")
    assert found is not None
    assert (found.id, found.kind) == ("cluster default/lost", "cluster")
    assert found.title == "default/lost is gone, and no request deleted it."
    assert found.evidence == "There is no Cluster lost in default any more."
    assert (found.account, found.cluster, found.namespace) == ("management", "lost", "default")
    assert found.repair is not None
    assert (found.repair.title, found.repair.label) == ("Clean up what lost left in AWS.", "Clean up lost")
    assert found.repair.operation == "cluster cleanup"
    asked = CleanupArguments.model_validate(found.repair.arguments)
    assert asked.place == {"cluster": "lost", "namespace": "default", "account": "management", "region": REGION}
    assert (asked.volumes, asked.instances) == (False, False), "one click never deletes data"


def test_a_label_is_never_longer_than_a_button(world: World) -> None:
    found = drift(world, "l" * 40)
    assert found is not None
    assert found.repair is not None
    assert found.repair.label == f"Clean up {'l' * 21}"


@pytest.mark.parametrize(("count", "verb", "what"), [(1, "has", "1 subnet"), (2, "have", "2 subnets")])
def test_tags_that_its_subnets_lost(
    world: World, cloud: Cloud, subnets: list[str], count: int, verb: str, what: str
) -> None:
    lost = subnets[:count]
    cloud.admin("ec2").delete_tags(Resources=lost, Tags=[{"Key": key("demo")}])
    found = drift(world)
    assert found is not None
    assert (found.id, found.kind) == ("tag management demo", "tag")
    assert (found.title, found.evidence) == (f"{what} of demo {verb} lost the cluster's tag.", f"{', '.join(lost)}.")
    assert found.repair is not None
    assert (found.repair.title, found.repair.label) == (f"Tag {what} for demo again.", "Tag demo again")
    assert found.repair.operation == "subnet tag"
    asked = TagArguments.model_validate(found.repair.arguments)
    assert (asked.cluster, list(asked.subnets), asked.private) == ("demo", lost, True)


def test_a_cluster_that_is_going_is_left_alone(world: World, kube: Kube, cloud: Cloud, subnets: list[str]) -> None:
    cloud.admin("ec2").delete_tags(Resources=subnets, Tags=[{"Key": key("demo")}])
    kube.change(CLUSTER, "demo", {"metadata": {"finalizers": ["cluster.cluster.x-k8s.io"]}})
    kube.drop(CLUSTER, "demo")
    assert drift(world) is None


def test_credentials_that_lead_elsewhere_are_a_gap_and_not_all_is_well(world: World, subnets: list[str]) -> None:
    assert subnets
    world.eyes.answers["get_caller_identity"] = lambda same: {**same, "Account": "444455556666"}
    world.eyes.denied.add("ec2:DescribeSubnets")
    with pytest.raises(Fatal, match="444455556666") as refused:
        drift(world)
    assert refused.value.hint
    assert drift(world, "lost") is not None, "that it is gone is seen on the management cluster"


def test_subnets_that_cannot_be_seen_are_not_called_untagged(world: World, subnets: list[str]) -> None:
    assert subnets
    world.eyes.throttled.add("ec2:DescribeSubnets")
    with pytest.raises(Retry):
        drift(world)
