"""Applying and removing objects: what counts as so, what is left alone, and what a second try does."""

from __future__ import annotations

import random
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.clients.kube import Cluster
from handlers.contract import Fatal, Json, Right, Step
from handlers.kinds import AWS_CLUSTER, CLUSTER, SERVICE, kind_of
from handlers.steps import decode
from handlers.steps.apply import KEYS, ApplyExecutor, ApplyStep, config_of, holds
from handlers.steps.remove import RemoveExecutor, RemoveStep, Seen
from tests.unit.blueprints import CURRENT, LEGACY, by_name, rendered
from tests.unit.kubes import Kube, Sight, rights_on, running_kube

APPLY, REMOVE = ApplyExecutor(), RemoveExecutor()


@pytest.fixture
def kube(tmp_path: Path) -> Iterator[Kube]:
    with running_kube(tmp_path) as running:
        yield running


def step(items: tuple[Json, ...] = (), cluster: str = "") -> ApplyStep:
    """As it comes back from the database."""
    made = ApplyStep(title="t", targets=("cluster demo",), cluster=cluster, objects=items or rendered())
    decoded, executor = decode(made.model_dump(mode="json"))
    assert isinstance(decoded, ApplyStep)
    assert isinstance(executor, ApplyExecutor)
    return decoded


def acting(kube: Kube, items: tuple[Any, ...] = (), user: str = "admin") -> Sight:
    """A world with exactly the rights on these objects."""
    return Sight(kube.cluster(user, rights_on(*(items or rendered()))))


# -- what holds --------------------------------------------------------------------------------------------------

words = st.sampled_from(["a", "b", "c", "d"])
scalars = st.sampled_from([None, True, 2, 3, "a", "b"])
plain = st.dictionaries(words, scalars | st.lists(scalars, max_size=2), max_size=3)


@st.composite
def lists_by_key(draw: st.DrawFn) -> list[Any]:
    """Objects with keys of their own."""
    key = draw(st.sampled_from(KEYS))
    return [{**draw(plain), key: name} for name in draw(st.lists(words, min_size=1, max_size=3, unique=True))]


values = scalars | plain | lists_by_key() | st.dictionaries(words, plain | lists_by_key(), max_size=2)
objects = st.dictionaries(words, values, min_size=1, max_size=3)


def keyed(value: Any) -> bool:
    """Is this a list whose elements have keys?"""
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def grown(value: Any, chance: random.Random) -> Any:
    """As servers and controllers leave it: more fields, more elements, another order."""
    if isinstance(value, dict):
        return {**{key: grown(inner, chance) for key, inner in value.items()}, "added-by-a-controller": {"x": 1}}
    key = next((key for key in KEYS if keyed(value) and all(key in item for item in value)), None)
    if key is not None:
        more = [*(grown(item, chance) for item in value), {key: "added-by-a-controller"}]
        chance.shuffle(more)
        return more
    return value


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place of a field."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield (*path, key)
            yield from places(inner, (*path, key))
    elif keyed(value):
        for number, inner in enumerate(value):
            yield from places(inner, (*path, number))


def at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


@given(objects)
def test_an_object_holds_itself(wanted: Any) -> None:
    assert holds(wanted, deepcopy(wanted))


@given(objects, st.randoms(use_true_random=False))
def test_what_others_add_does_not_matter(wanted: Any, chance: random.Random) -> None:
    assert holds(wanted, grown(wanted, chance))


@given(objects, st.randoms(use_true_random=False), st.data())
def test_any_field_that_is_missing_or_another_matters(wanted: Any, chance: random.Random, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(list(places(wanted))))
    changed = deepcopy(wanted)
    place = at(changed, path[:-1])
    if data.draw(st.booleans()):
        del place[path[-1]]
    else:
        place[path[-1]] = "something-else"
    assert not holds(wanted, changed)
    assert not holds(wanted, grown(changed, chance))


@given(values, values)
def test_two_that_hold_each_other_are_the_same_but_for_order(one: Any, other: Any) -> None:
    def in_order(value: Any) -> Any:
        if isinstance(value, dict):
            return sorted((key, in_order(inner)) for key, inner in value.items())
        return sorted(map(in_order, value), key=repr) if keyed(value) else value

    if holds(one, other) and holds(other, one):
        assert repr(in_order(one)) == repr(in_order(other))


@pytest.mark.parametrize(
    ("wanted", "have", "so"),
    [
        ({"apiVersion": "x/v1", "a": 1}, {"apiVersion": "x/v2", "a": 1}, True),
        ({"ref": {"apiVersion": "x/v1", "kind": "K"}}, {"ref": {"apiGroup": "x", "kind": "K"}}, True),
        ({"a": {}}, {}, False),
        ({"a": {}}, {"a": None}, False),
        ({"a": ""}, {}, False),
        ({"a": [1, 2]}, {"a": [2, 1]}, False),
        ({"a": [1]}, {"a": [1, 2]}, False),
        ({"a": []}, {"a": [1]}, False),
        ({"a": "b"}, {"a": ["b"]}, False),
        ({"a": ["b"]}, {"a": "b"}, False),
        ({"a": [{"id": "x"}]}, {"a": [{"id": "y"}, {"id": "x", "more": 1}]}, True),
        ({"a": [{"id": "x"}]}, {"a": ["x"]}, False),
        ({"a": [{"name": "x", "value": "1"}]}, {"a": [{"name": "x", "value": "2"}]}, False),
        (
            {"a": [{"type": "Ready", "status": "Unknown"}, {"type": "Ready", "status": "False"}]},
            {"a": [{"type": "Ready", "status": "Unknown", "m": 1}, {"type": "Ready", "status": "False"}]},
            True,
        ),
        ({"a": [{"type": "Ready", "status": "Unknown"}]}, {"a": []}, False),
    ],
)
def test_what_holds_what(wanted: Any, have: Any, so: bool) -> None:
    assert holds(wanted, have) is so


# -- applying ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("generation", "versions"), [("current", CURRENT), ("legacy", LEGACY)])
def test_applied_seen_and_not_applied_twice(tmp_path: Path, generation: str, versions: Any) -> None:
    items = rendered(versions=versions)
    with running_kube(tmp_path, generation) as kube:
        world, made = acting(kube, items), step(items)
        seen = APPLY.observe(made, world)
        assert not seen.so
        assert "AWSCluster demo, AWSMachineTemplate demo-control-plane" in seen.evidence
        done = APPLY.apply(made, world)
        assert done.changed
        assert done.evidence.endswith("Cluster demo.")
        assert APPLY.observe(made, world).evidence == "All 8 objects are there as planned."
        began = len(kube.asked())
        assert not APPLY.apply(made, world).changed
        assert {verb for verb, _ in kube.asked()[began:]} == {"get"}


def test_after_a_crash_only_what_is_missing_is_applied(kube: Kube) -> None:
    items = rendered()
    world = acting(kube)
    for item in items[:5]:
        world.kube.apply(item)
    began = len(kube.asked())
    done = APPLY.apply(step(), world)
    assert [name for verb, name in kube.asked()[began:] if verb == "patch"] == [
        kind_of(item).plural for item in items[5:]
    ]
    assert "AWSCluster" not in done.evidence
    assert APPLY.observe(step(), world).so


def test_what_controllers_add_is_no_difference(kube: Kube) -> None:
    world = acting(kube)
    APPLY.apply(step(), world)
    kube.change(AWS_CLUSTER, "demo", {
        "metadata": {"finalizers": ["x/y"], "labels": {"cluster.x-k8s.io/cluster-name": "demo"}},
        "spec": {"controlPlaneEndpoint": {"host": "demo.elb.example", "port": 6443}},
    })  # fmt: skip
    stored = kube.find(AWS_CLUSTER, "demo")
    assert stored is not None
    subnets = [{**entry, "availabilityZone": "us-east-1a"} for entry in stored["spec"]["network"]["subnets"]]
    kube.change(AWS_CLUSTER, "demo", {"spec": {"network": {"subnets": [{"id": "subnet-more"}, *subnets]}}})
    assert APPLY.observe(step(), world).so


def test_what_somebody_else_changed_is_not_taken_back_by_force(kube: Kube) -> None:
    world = acting(kube)
    items = rendered()
    APPLY.apply(step(), world)
    kube.change(AWS_CLUSTER, "demo", {"spec": {"region": "eu-west-1"}}, manager="kubectl-edit")
    seen = APPLY.observe(step(), world)
    assert (seen.so, seen.evidence) == (False, "Not there as planned yet: AWSCluster demo.")
    with pytest.raises(Fatal, match="kubectl-edit") as error:
        APPLY.apply(step((items[0],)), world)
    assert "never takes them over" in error.value.hint
    stored = kube.find(AWS_CLUSTER, "demo")
    assert stored is not None
    assert stored["spec"]["region"] == "eu-west-1"


def test_a_refusal_in_the_middle_says_what_was_applied_before_it(kube: Kube) -> None:
    kube.faults(deny_webhook=["MachineDeployment"])
    with pytest.raises(Fatal, match="denied to apply MachineDeployment demo-md-0") as error:
        APPLY.apply(step(), acting(kube))
    assert "Applied before it: AWSCluster demo, " in error.value.message
    assert error.value.message.endswith("KubeadmConfigTemplate demo-md-0.")
    assert kube.find(CLUSTER, "demo") is None


@pytest.mark.parametrize("whose", ["another plan", "nobody says"])
def test_an_object_of_others_is_left_alone(kube: Kube, whose: str) -> None:
    foreign = deepcopy(by_name(rendered(pods="10.32.0.0/11"))["AWSCluster demo"])
    if whose == "nobody says":
        del foreign["metadata"]["annotations"]
    stored = kube.put(foreign)
    world = acting(kube)
    for look in (APPLY.observe, APPLY.apply):
        with pytest.raises(Fatal, match="AWSCluster demo already that was not made from this plan"):
            look(step(), world)
    assert kube.find(AWS_CLUSTER, "demo") == stored


def test_an_object_that_is_being_deleted_is_not_applied_to(kube: Kube) -> None:
    world = acting(kube)
    APPLY.apply(step(), world)
    kube.change(AWS_CLUSTER, "demo", {"metadata": {"finalizers": ["x/y"]}})
    kube.drop(AWS_CLUSTER, "demo")
    for look in (APPLY.observe, APPLY.apply):
        with pytest.raises(Fatal, match="AWSCluster demo is being deleted"):
            look(step(), world)


def test_without_its_rights_nothing_is_applied(kube: Kube) -> None:
    world = Sight(kube.cluster("admin", rights_on(*rendered()[1:])))
    with pytest.raises(Fatal, match="does not declare to create awsclusters"):
        APPLY.apply(step(), world)
    assert [verb for verb, _ in kube.asked() if verb == "patch"] == []


def test_a_workload_cluster_is_its_own_place(kube: Kube, tmp_path: Path) -> None:
    folder = tmp_path / "workload"
    folder.mkdir()
    item: Json = {
        "apiVersion": "v1", "kind": "Service", "spec": {"type": "ClusterIP", "ports": [{"port": 80}]},
        "metadata": {"name": "proof", "namespace": "default", "annotations": {"tkgbot/config": "proof"}},
    }  # fmt: skip
    with running_kube(folder, "none", "demo") as workload:
        there = workload.cluster("admin", rights_on(item))
        world = Sight(kube.cluster("admin", ()), workloads={"default/demo": there})
        assert APPLY.apply(step((item,), "default/demo"), world).changed
        assert APPLY.observe(step((item,), "default/demo"), world).evidence == "It is there as planned."
        assert workload.find(SERVICE, "proof") is not None
        assert kube.find(SERVICE, "proof") is None


def test_a_stored_step_of_another_shape_is_refused() -> None:
    stored = step().model_dump(mode="json")
    for broken in ({**stored, "force": True}, {**stored, "objects": "x"}, {**stored, "kind": "apply-by-force"}):
        with pytest.raises(Fatal, match="not carried out"):
            decode(broken)
    assert isinstance(decode(stored)[0], Step)


# -- removing ----------------------------------------------------------------------------------------------------


def removing(*items: dict[str, Any], uid: str | None = None) -> RemoveStep:
    """As it comes back from the database."""
    objects = tuple(
        Seen(
            resource=kind_of(item).resource, namespace="default", name=item["metadata"]["name"],
            uid=item["metadata"]["uid"] if uid is None else uid,
        )
        for item in items
    )  # fmt: skip
    made = RemoveStep(title="t", targets=("cluster demo",), objects=objects, patience=20)
    decoded, _ = decode(made.model_dump(mode="json"))
    assert isinstance(decoded, RemoveStep)
    return decoded


def stored(kube: Kube, *finalizers: str) -> dict[str, Any]:
    item = deepcopy(by_name(rendered())["AWSCluster demo"])
    item["metadata"]["finalizers"] = list(finalizers)
    return kube.put(item)


def test_removed_seen_and_not_asked_twice(kube: Kube) -> None:
    item = stored(kube)
    other = kube.put(by_name(rendered())["KubeadmConfigTemplate demo-md-0"])
    world, made = acting(kube), removing(item, other)
    assert not REMOVE.observe(made, world).so
    done = REMOVE.apply(made, world)
    assert (done.changed, done.evidence) == (
        True, "Asked to delete AWSCluster demo, KubeadmConfigTemplate demo-md-0.",
    )  # fmt: skip
    assert REMOVE.observe(made, world).evidence == "Gone: AWSCluster demo, KubeadmConfigTemplate demo-md-0."
    assert (REMOVE.apply(made, world).changed, REMOVE.apply(made, world).evidence) == (False, "Nothing was left.")


def test_another_object_of_the_name_is_not_the_one_that_was_seen(kube: Kube) -> None:
    item = stored(kube)
    kube.drop(AWS_CLUSTER, "demo")
    new = stored(kube)
    world, made = acting(kube), removing(item)
    assert REMOVE.observe(made, world).so
    assert not REMOVE.apply(made, world).changed
    assert kube.find(AWS_CLUSTER, "demo") == new


def test_without_a_uid_whichever_has_the_name_is_removed(kube: Kube) -> None:
    item = stored(kube)
    world, made = acting(kube), removing(item, uid="")
    assert REMOVE.apply(made, world).changed
    assert kube.find(AWS_CLUSTER, "demo") is None
    assert REMOVE.observe(made, world).so


def test_finalizers_are_waited_for_told_and_never_taken_off(kube: Kube) -> None:
    item = stored(kube, "awscluster.infrastructure.cluster.x-k8s.io", "x/y")
    world, made = acting(kube), removing(item)
    before = REMOVE.observe(made, world)
    assert "0 of 1 are being deleted: AWSCluster demo." in before.evidence
    assert REMOVE.apply(made, world).changed
    asked = REMOVE.observe(made, world)
    assert (asked.so, asked.patience) == (False, 20)
    assert "1 of 1 are being deleted" in asked.evidence
    assert "demo is held by awscluster.infrastructure.cluster.x-k8s.io, x/y" in asked.evidence
    assert not REMOVE.apply(made, world).changed
    assert REMOVE.observe(made, world).progress == asked.progress
    kube.change(AWS_CLUSTER, "demo", {"metadata": {"finalizers": ["x/y"]}})
    moved = REMOVE.observe(made, world)
    assert not moved.so
    assert moved.progress != asked.progress
    kube.change(AWS_CLUSTER, "demo", {"metadata": {"finalizers": []}})
    assert REMOVE.observe(made, world).so


def test_a_name_that_was_given_anew_at_the_last_moment_is_left_alone(kube: Kube) -> None:
    """Between looking and deleting: the precondition holds at the server."""
    item = stored(kube)
    kube.drop(AWS_CLUSTER, "demo")
    new = stored(kube)

    class Outdated(Cluster):
        def get(self, *_: Any) -> Json | None:
            return item

    real = kube.cluster("admin", rights_on(item))
    world = Sight(Outdated(real._connection, real._rights))
    with pytest.raises(Fatal, match="refused to delete AWSCluster demo"):
        REMOVE.apply(removing(item), world)
    assert kube.find(AWS_CLUSTER, "demo") == new


def test_without_its_right_nothing_is_removed(kube: Kube) -> None:
    item = stored(kube)
    rights = (Right(verb="delete", resource=AWS_CLUSTER.resource, namespace="default", name="other"),)
    with pytest.raises(Fatal, match="does not declare to delete"):
        REMOVE.apply(removing(item), Sight(kube.cluster("admin", rights)))
    assert kube.find(AWS_CLUSTER, "demo") is not None


def test_a_config_is_read_from_whatever_is_there() -> None:
    assert config_of(None) == ""
    assert config_of({}) == ""
    assert config_of({"metadata": {"annotations": None}}) == ""
    assert config_of(rendered()[0]) != ""
