"""The status and the row of a cluster in `cluster list`, in both generations of the Cluster API."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from handlers import cluster_seen as seen
from handlers.cluster_operation import go_time
from handlers.cluster_tree import table, why
from handlers.conditions import NEGATIVE, new_conditions, old_conditions, summary
from handlers.machine_causes import failures, milestones, progress
from tests.unit import seen_clusters as made
from tests.unit.seen_clusters import GENERATIONS, NEW, NOW, OLD, annotated, changed, whole

each_generation = pytest.mark.parametrize("generation", GENERATIONS)


def status(objects: seen.ClusterObjects, now: float = NOW) -> str:
    return seen.status_of(objects, now)


def operation(name: str, observed: str, timeout: object = 1800) -> dict[str, str]:
    info = {"Operation": name, "OperationStartTimestamp": observed, "OperationTimeout": timeout}
    return {"TKGOperationInfo": json.dumps(info), "TKGOperationLastObservedTimestamp": observed}


# -- the status --------------------------------------------------------------------------------------------------


@each_generation
def test_running(generation: str) -> None:
    assert status(whole(generation)) == "running"


@each_generation
@pytest.mark.parametrize("phase", ["Deleting", "deleting"])
def test_deleting_by_its_phase(generation: str, phase: str) -> None:
    assert status(whole(generation, cluster=made.cluster(generation, phase=phase))) == "deleting"


@each_generation
def test_deleting_before_its_phase_says_so(generation: str) -> None:
    gone = changed(made.cluster(generation), "metadata", "deletionTimestamp", value=made.STAMP)
    assert status(whole(generation, cluster=gone)) == "deleting"


@each_generation
def test_creating_while_nothing_is_there(generation: str) -> None:
    assert status(made.beginning(generation)) == "creating"


@each_generation
@pytest.mark.parametrize("part", ["infrastructure", "control plane"])
def test_creating_without_one_of_the_two_flags(generation: str, part: str) -> None:
    keys = {
        (OLD, "infrastructure"): ("infrastructureReady",),
        (OLD, "control plane"): ("controlPlaneReady",),
        (NEW, "infrastructure"): ("initialization", "infrastructureProvisioned"),
        (NEW, "control plane"): ("initialization", "controlPlaneInitialized"),
    }[generation, part]
    half = changed(made.cluster(generation), "status", *keys, value=False)
    assert status(whole(generation, cluster=half)) == "creating"


@each_generation
def test_creating_while_no_control_plane_machine_is_ready(generation: str) -> None:
    assert status(whole(generation, control_plane=made.control_plane(generation, ready=0))) == "creating"


@each_generation
def test_creating_while_workers_are_there_and_none_is_ready(generation: str) -> None:
    assert status(whole(generation, deployments=(made.deployment(generation, 2, ready=0),))) == "creating"


@each_generation
def test_no_workers_wanted_is_no_reason_to_wait(generation: str) -> None:
    assert status(whole(generation, deployments=(made.deployment(generation, 0, 0, 0),))) == "running"
    assert status(whole(generation, deployments=())) == "running"


@each_generation
def test_one_ready_worker_of_two_deployments_is_enough_to_be_created(generation: str) -> None:
    pools = (made.deployment(generation, 2, 0, 2), made.deployment(generation, 2, 1, 2, name="demo-md-1"))
    assert status(whole(generation, deployments=pools)) == "updating"


@each_generation
@pytest.mark.parametrize("counter", ["desired", "ready", "new"])
def test_updating_when_a_control_plane_counter_differs(generation: str, counter: str) -> None:
    counters = {"desired": 3, "ready": 3, "new": 3} | {counter: 1}
    assert status(whole(generation, control_plane=made.control_plane(generation, **counters))) == "updating"


@each_generation
@pytest.mark.parametrize("counter", ["desired", "ready", "new"])
def test_updating_when_a_worker_counter_differs(generation: str, counter: str) -> None:
    counters = {"desired": 2, "ready": 2, "new": 2} | {counter: 1}
    assert status(whole(generation, deployments=(made.deployment(generation, **counters),))) == "updating"


@each_generation
def test_updating_while_one_machine_more_is_there(generation: str) -> None:
    rolling = changed(made.control_plane(generation), "status", "replicas", value=4)
    assert status(whole(generation, control_plane=rolling)) == "updating"


def with_old_machine(generation: str, **annotations: str) -> seen.ClusterObjects:
    objects = whole(generation)
    late = changed(dict(objects.machines[0]), "spec", "version", value="v1.32.4")
    cluster = annotated(made.cluster(generation), **annotations)
    return replace(objects, cluster=cluster, machines=(late, *objects.machines[1:]))


@each_generation
def test_updating_while_a_machine_has_another_version(generation: str) -> None:
    assert status(with_old_machine(generation)) == "updating"


@each_generation
def test_a_stalled_upgrade(generation: str) -> None:
    old = operation("Upgrade", "2026-09-21 10:00:00.123456789 +0000 UTC")
    assert status(with_old_machine(generation, **old)) == "updateStalled"
    assert status(with_old_machine(generation, **operation("Create", old["TKGOperationLastObservedTimestamp"]))) == (
        "updating"
    )


@each_generation
def test_a_scale_never_stalls(generation: str) -> None:
    cluster = annotated(made.cluster(generation), **operation("Upgrade", "2026-09-21 10:00:00 +0000 UTC"))
    assert status(whole(generation, cluster=cluster, deployments=(made.deployment(generation, 2, 1, 2),))) == "updating"


# -- stalls ------------------------------------------------------------------------------------------------------


def creating(**annotations: str) -> seen.ClusterObjects:
    return made.beginning(OLD, cluster=annotated(made.cluster(OLD, ready=False), **annotations))


def test_a_stalled_creation_begins_after_its_timeout() -> None:
    last = go_time("2026-09-21 12:00:00.5 +0000 UTC")
    assert last is not None
    objects = creating(**operation("Create", "2026-09-21 12:00:00.5 +0000 UTC"))
    assert (status(objects, last + 1800), status(objects, last + 1800.5)) == ("creating", "createStalled")


def test_escaped_quotes_in_the_annotation() -> None:
    marks = operation("Create", "2026-09-21 10:00:00 +0000 UTC")
    escaped = marks | {"TKGOperationInfo": marks["TKGOperationInfo"].replace('"', '\\"')}
    assert status(creating(**escaped)) == "createStalled"
    quoted = marks | {"TKGOperationInfo": json.dumps(marks["TKGOperationInfo"])}
    assert status(creating(**quoted)) == "createStalled"


@pytest.mark.parametrize(
    "broken",
    [
        {"TKGOperationInfo": "{"},
        {"TKGOperationInfo": "[1]"},
        {"TKGOperationInfo": '{"Operation": "Create", "OperationTimeout": "1800"}'},
        {"TKGOperationInfo": '{"Operation": "Create", "OperationTimeout": true}'},
        {"TKGOperationInfo": '{"Operation": "Create"}'},
        {"TKGOperationLastObservedTimestamp": "2026-09-21T10:00:00Z"},
        {"TKGOperationLastObservedTimestamp": "2026-13-41 10:00:00 +0000 UTC"},
        {"TKGOperationLastObservedTimestamp": ""},
    ],
)
def test_what_cannot_be_read_is_no_stall(broken: dict[str, str]) -> None:
    assert status(creating(**operation("Create", "2026-09-21 10:00:00 +0000 UTC") | broken)) == "creating"


@pytest.mark.parametrize(
    ("stamp", "seconds"),
    [
        ("2026-01-02 03:04:05 +0000 UTC", 1767323045.0),
        ("2026-01-02 03:04:05.1 +0000 UTC", 1767323045.1),
        ("2026-01-02 03:04:05.123456789 +0000 UTC", 1767323045.123456789),
        ("2026-01-02 05:04:05 +0200 EET", 1767323045.0),
        ("2026-01-02 03:04:05.5 +0000 UTC m=+12.345", 1767323045.5),
        ("2026-01-02 03:04:05.1234567890 +0000 UTC", None),
        ("yesterday", None),
    ],
)
def test_times_as_go_writes_them(stamp: str, seconds: float | None) -> None:
    found = go_time(stamp)
    assert found == seconds if seconds is None else found == pytest.approx(seconds, abs=1e-6)


# -- unknown -----------------------------------------------------------------------------------------------------


@each_generation
@pytest.mark.parametrize("kind", ["AWSCluster", "KubeadmControlPlane", "MachineDeployment", "Machine", "AWSMachine"])
def test_unknown_when_a_kind_could_not_be_read(generation: str, kind: str) -> None:
    assert status(whole(generation, unread=(kind,))) == "unknown"


@each_generation
def test_unknown_without_a_control_plane(generation: str) -> None:
    assert status(whole(generation, control_plane=None)) == "unknown"


@each_generation
@pytest.mark.parametrize("counter", ["ready", "new"])
def test_an_absent_counter_is_not_zero(generation: str, counter: str) -> None:
    assert status(whole(generation, control_plane=made.control_plane(generation, **{counter: None}))) == "unknown"
    assert status(whole(generation, deployments=(made.deployment(generation, **{counter: None}),))) == "unknown"


@each_generation
@pytest.mark.parametrize(("ready", "said"), [(0, "unknown"), (1, "updating"), (2, "unknown")])
def test_workers_that_do_not_say_how_many_there_are(generation: str, ready: int, said: str) -> None:
    """With none ready it may be that there are none; with one of two ready they are short of one for certain."""
    mute = made.deployment(generation, 2, ready, 2)
    del mute["status"]["replicas"]
    assert status(whole(generation, deployments=(mute,))) == said


@each_generation
def test_unknown_when_a_machine_does_not_say_its_version(generation: str) -> None:
    objects = whole(generation)
    mute = changed(dict(objects.machines[0]), "spec", value={})
    assert status(replace(objects, machines=(mute, *objects.machines[1:]))) == "unknown"


# -- the row -----------------------------------------------------------------------------------------------------


@each_generation
def test_row(generation: str) -> None:
    cluster = annotated(made.cluster(generation), **{"tkg/plan": "prod"})
    cluster["metadata"]["labels"] = {
        "cluster-role.tkg.tanzu.vmware.com/workload": "", "run.tanzu.vmware.com/tkr": "v1.33.1---vmware.1",
    }  # fmt: skip
    found = seen.row(whole(generation, cluster=cluster, deployments=(made.deployment(generation, 2, 1, 2),)), NOW)
    assert dict(zip(seen.COLUMNS, found, strict=True)) == {
        "NAME": "demo", "NAMESPACE": "default", "STATUS": "updating", "CONTROLPLANE": "3/3", "WORKERS": "1/2",
        "KUBERNETES": "v1.33.1", "ROLES": "workload", "PLAN": "prod", "TKR": "v1.33.1---vmware.1",
    }  # fmt: skip


@each_generation
def test_row_of_a_bare_cluster(generation: str) -> None:
    assert seen.row(made.beginning(generation, deployments=()), NOW) == (
        "demo", "default", "creating", "?/3", "", "v1.33.1", "<none>", "", "",
    )  # fmt: skip


def test_row_of_what_could_not_be_read() -> None:
    objects = whole(NEW, control_plane=None, deployments=(), unread=("KubeadmControlPlane", "MachineDeployment"))
    assert seen.row(objects, NOW)[2:6] == ("unknown", "?/?", "?/?", "?")


def test_older_label_of_the_release() -> None:
    cluster = changed(made.cluster(OLD), "metadata", "labels", value={"tanzuKubernetesRelease": "v1.20.5"})
    assert seen.row(whole(OLD, cluster=cluster), NOW)[-1] == "v1.20.5"


# -- readers -----------------------------------------------------------------------------------------------------


@each_generation
def test_readers(generation: str) -> None:
    objects = whole(generation)
    assert seen.infrastructure_ready(objects.cluster) is True
    assert seen.control_plane_ready(objects.cluster) is True
    assert seen.control_plane_initialized(objects) is True
    assert seen.control_plane_initialized(made.beginning(generation)) is False
    assert seen.endpoint(objects.cluster) == "demo-apiserver.elb.example:6443"
    assert seen.endpoint(made.beginning(generation).cluster) == ""
    assert seen.phase(objects.cluster) == "Provisioned"
    assert (seen.version(objects.control_plane), seen.version(objects.deployments[0])) == ("v1.33.1", "v1.33.1")
    assert seen.control_plane_counts(objects) == seen.Counts(3, 3, 3, 3)
    assert seen.worker_counts(objects) == seen.Counts(2, 2, 2, 2)


def test_new_clusters_flags_are_absent_and_not_false() -> None:
    assert seen.infrastructure_ready(made.cluster(NEW, ready=False)) is None
    assert seen.infrastructure_ready(made.cluster(OLD, ready=False)) is False


def test_older_counters_keep_their_meaning_beside_the_newer_ones() -> None:
    both = made.control_plane(OLD)
    both["status"]["v1beta2"] = {"readyReplicas": 1, "upToDateReplicas": 1, "availableReplicas": 1}
    assert seen.counts(both) == seen.Counts(3, 3, 3, 3)


# -- conditions --------------------------------------------------------------------------------------------------


def test_a_newer_object_keeps_its_older_conditions_apart() -> None:
    item = made.cluster(NEW)
    item["status"]["conditions"] = [made.condition("Available", "False", "NotAvailable", "no workers")]
    older = [made.condition("Ready", "False", "ScalingUp", "1 of 3", "Warning")]
    item["status"]["deprecated"] = {"v1beta1": {"conditions": older}}
    assert [one.type for one in new_conditions(item)] == ["Available"]
    assert [(one.type, one.severity) for one in old_conditions(item)] == [("Ready", "Warning")]
    assert [one.type for one in seen.conditions(item)] == ["Available", "Ready"]
    found = summary(item)
    assert found is not None
    assert (found.type, found.since) == ("Available", 1789995600.0)


def test_an_older_object_has_the_newer_conditions_beside_its_own() -> None:
    item = made.cluster(OLD)
    item["status"]["conditions"] = [made.condition("InfrastructureReady", "False", "VpcFailed", "old", "Error")]
    newer = [made.condition("InfrastructureReady", "False", "NotReady", "new")]
    item["status"]["v1beta2"] = {"conditions": newer}
    (found,) = seen.conditions(item)
    assert (found.reason, found.message, found.severity, found.failed) == ("NotReady", "new", "Error", True)


def test_an_older_severity_is_not_taken_over_when_they_disagree() -> None:
    item = made.cluster(OLD)
    item["status"]["conditions"] = [made.condition("Ready", "False", "VpcFailed", "old", "Error")]
    item["status"]["v1beta2"] = {"conditions": [made.condition("Ready", "True", "Ready")]}
    (found,) = seen.conditions(item)
    assert (found.status, found.severity, found.failed) == ("True", "", False)


def test_the_providers_objects_have_the_older_shape_in_their_v1beta2() -> None:
    item = made.aws_cluster(made.condition("VpcReady", "True"))
    assert ([one.type for one in old_conditions(item)], new_conditions(item)) == (["VpcReady"], [])


@pytest.mark.parametrize(("status", "newer"), [({"deprecated": {}}, 1), ({"initialization": {}}, 1), ({}, 0)])
def test_without_a_version_the_rest_of_the_status_tells_the_shape(status: dict[str, Any], newer: int) -> None:
    item = {"kind": "Cluster", "status": {"conditions": [made.condition("Ready", "True")], **status}}
    assert (len(new_conditions(item)), len(old_conditions(item))) == (newer, 1 - newer)


def test_the_older_available_condition_does_not_sum_up() -> None:
    item = made.control_plane(OLD)
    item["status"]["conditions"] = [made.condition("Available", "True"), made.condition("Ready", "False", "ScalingUp")]
    found = summary(item)
    assert found is not None
    assert (found.type, found.status) == ("Ready", "False")


@pytest.mark.parametrize("kind", sorted(NEGATIVE))
def test_negative_polarity(kind: str) -> None:
    item = made.cluster(NEW)
    for said, good in (("True", False), ("False", True), ("Unknown", None)):
        item["status"]["conditions"] = [made.condition(kind, said)]
        assert [one.good for one in seen.conditions(item)] == [good]


# -- properties --------------------------------------------------------------------------------------------------

KEYS = st.sampled_from(
    [
        *("metadata", "name", "labels", "annotations", "spec", "status", "replicas", "readyReplicas", "conditions"),
        *("type", "message", "reason", "severity", "phase", "version", "initialization", "v1beta2", "deprecated"),
        *("v1beta1", "TKGOperationInfo", "kind", "apiVersion", "infrastructureRef", "nodeRef", "lastTransitionTime"),
    ]
)
WORDS = st.sampled_from(
    ["", "demo", "True", "False", "Error", "Ready", "v1.33.1", made.STAMP, "0001-01-01", made.QUOTA]
)
ODD: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 3) | st.floats() | WORDS | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=8,
)
OBJECT = st.dictionaries(KEYS, ODD, max_size=6)
LISTED = st.lists(OBJECT, max_size=3).map(tuple)
ANY_CLUSTER = st.builds(
    seen.ClusterObjects,
    cluster=OBJECT,
    infrastructure=st.none() | OBJECT,
    control_plane=st.none() | OBJECT,
    deployments=LISTED,
    machines=LISTED,
    infrastructure_machines=LISTED,
)


patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.long
@patient
@given(ANY_CLUSTER)
def test_nothing_raises_on_odd_objects(objects: seen.ClusterObjects) -> None:
    assert len(seen.row(objects, NOW)) == len(seen.COLUMNS)
    assert all(len(cells) == 5 for cells in table(objects, NOW).rows)
    assert why(objects, NOW) is None or why(objects, NOW)
    assert len(progress(objects)) == 16
    assert all((*milestones(objects), *(failure.object for failure in failures(objects))))


def paths(value: Any, before: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    inside: list[Any] = []
    if isinstance(value, dict):
        inside = list(value.items())
    elif isinstance(value, list | tuple):
        inside = list(enumerate(value))
    return [path for key, item in inside for path in ((*before, key), *paths(item, (*before, key)))]


def replaced(value: Any, path: tuple[str | int, ...], odd: Any) -> Any:
    if not path:
        return odd
    key, *rest = path
    if isinstance(value, dict):
        return value | {key: replaced(value[key], tuple(rest), odd)}
    return type(value)(replaced(item, tuple(rest), odd) if place == key else item for place, item in enumerate(value))


@pytest.mark.long
@patient
@given(st.data())
def test_one_odd_part_of_a_good_cluster(data: st.DataObject) -> None:
    objects = whole(data.draw(st.sampled_from(GENERATIONS)))
    names = [field.name for field in fields(objects) if field.name != "unread"]
    part = data.draw(st.sampled_from(names))
    value = getattr(objects, part)
    path = data.draw(st.sampled_from([path for path in paths(value) if isinstance(path[-1], str)]))
    spoilt = replace(objects, **{part: replaced(value, path, data.draw(ODD))})
    assert len(table(spoilt, NOW).header) == 5
    assert why(spoilt, NOW) != ""
    assert progress(spoilt)
    assert milestones(spoilt) is not None


NEEDED = [
    ("control_plane", ("spec", "replicas")),
    ("control_plane", ("spec", "version")),
    ("control_plane", ("status", "replicas")),
    ("control_plane", ("status", "readyReplicas")),
    ("deployments", (0, "spec", "replicas")),
    ("deployments", (0, "status", "replicas")),
    ("deployments", (0, "status", "readyReplicas")),
    ("machines", (0, "spec", "version")),
    ("machines", (4, "spec")),
    ("cluster", ("status",)),
    ("control_plane", ("status",)),
]


@patient
@given(st.sampled_from(GENERATIONS), st.sampled_from(NEEDED), st.none() | st.booleans() | st.just({}) | st.just("x\0"))
def test_nothing_unknown_is_ever_running(generation: str, needed: tuple[str, Any], odd: Any) -> None:
    part, path = needed
    objects = whole(generation)
    spoilt = replace(objects, **{part: replaced(getattr(objects, part), path, odd)})
    assert status(spoilt) in ("unknown", "creating", "updating")
