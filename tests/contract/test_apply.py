"""Server-side apply: who owns which field, and what follows."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.api import Answer
from tests.contract.server import Server


def apply_cluster(server: Server, namespace: str, spec: dict[str, Any], manager: str, **query: Any) -> Answer:
    """Applies a cluster `demo` with just this spec."""
    sent = server.shapes.object("clusters", "demo", spec)
    return server.admin.apply(server.shapes.path("clusters", namespace, "demo"), sent, manager, **query)


def apply_aws(server: Server, namespace: str, subnets: list[dict[str, Any]], manager: str, **query: Any) -> Answer:
    """Applies an AWSCluster `demo` with just these subnets."""
    sent = server.shapes.object("awsclusters", "demo", {"network": {"subnets": subnets}})
    return server.admin.apply(server.shapes.path("awsclusters", namespace, "demo"), sent, manager, **query)


@pytest.mark.generations("current", "legacy")
def test_applying_makes_what_is_not_there(server: Server, namespace: str) -> None:
    sent = server.shapes.cluster("demo")
    made = server.admin.apply(server.shapes.path("clusters", namespace, "demo"), sent).ok(201)
    assert (made["spec"], made["metadata"]["generation"]) == (sent["spec"], 1)


@pytest.mark.generations("current", "legacy")
def test_applying_the_same_again_changes_nothing(server: Server, namespace: str) -> None:
    path, sent = server.shapes.path("clusters", namespace, "demo"), server.shapes.cluster("demo")
    made = server.admin.apply(path, sent).ok(201)
    again = server.admin.apply(path, sent).ok(200)
    assert again["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
    assert again["metadata"]["generation"] == 1


def test_a_change_of_the_spec_is_counted_and_one_of_the_labels_is_not(server: Server, namespace: str) -> None:
    path, sent = server.shapes.path("clusters", namespace, "demo"), server.shapes.cluster("demo")
    server.admin.apply(path, sent).ok(201)
    labelled = server.admin.apply(path, {**sent, "metadata": {"name": "demo", "labels": {"a": "b"}}}).ok(200)
    changed = server.admin.apply(path, {**sent, "spec": {**sent["spec"], "paused": True}}).ok(200)
    assert (labelled["metadata"]["generation"], changed["metadata"]["generation"]) == (1, 2)
    assert "labels" not in changed["metadata"]


def test_the_field_manager_has_to_be_named(server: Server, namespace: str) -> None:
    answer = apply_cluster(server, namespace, {"paused": True}, manager="")
    assert answer.said == (
        422,
        "Invalid",
        'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch',
    )


def test_what_was_applied_is_recorded(server: Server, namespace: str) -> None:
    made = apply_cluster(server, namespace, {"paused": True}, "tkgbot").ok(201)
    (entry,) = made["metadata"]["managedFields"]
    assert (entry["manager"], entry["operation"], entry["fieldsType"]) == ("tkgbot", "Apply", "FieldsV1")
    assert entry["apiVersion"] == server.shapes.api_version("clusters")
    assert entry["fieldsV1"] == {"f:spec": {"f:paused": {}}}


def test_an_update_is_recorded_too(server: Server, namespace: str) -> None:
    apply_cluster(server, namespace, {"paused": True}, "tkgbot").ok(201)
    path = server.shapes.path("clusters", namespace, "demo")
    changed = server.admin.merge(path, {"metadata": {"labels": {"a": "b"}}}, fieldManager="editor").ok(200)
    entries = {each["manager"]: each for each in changed["metadata"]["managedFields"]}
    assert entries["editor"]["operation"] == "Update"
    assert entries["editor"]["fieldsV1"] == {"f:metadata": {"f:labels": {".": {}, "f:a": {}}}}


def test_a_field_that_another_manager_applied_is_a_conflict(server: Server, namespace: str) -> None:
    apply_cluster(server, namespace, {"paused": True}, "first").ok(201)
    answer = apply_cluster(server, namespace, {"paused": False}, "second")
    assert answer.said == (409, "Conflict", 'Apply failed with 1 conflict: conflict with "first": .spec.paused')
    assert answer.causes == {".spec.paused": ("FieldManagerConflict", 'conflict with "first"')}


def test_a_field_that_was_updated_is_a_conflict_that_names_the_version(server: Server, namespace: str) -> None:
    apply_cluster(server, namespace, {"paused": True}, "tkgbot").ok(201)
    path = server.shapes.path("clusters", namespace, "demo")
    server.admin.merge(path, {"spec": {"paused": False}}, fieldManager="kubectl-edit").ok(200)
    answer = apply_cluster(server, namespace, {"paused": True}, "tkgbot")
    who = f'conflict with "kubectl-edit" using {server.shapes.api_version("clusters")}'
    assert answer.said == (409, "Conflict", f"Apply failed with 1 conflict: {who}: .spec.paused")
    assert answer.causes == {".spec.paused": ("FieldManagerConflict", who)}


def test_several_conflicts_are_all_told(server: Server, namespace: str) -> None:
    spec = {"paused": True, "clusterNetwork": {"serviceDomain": "one.local"}}
    apply_cluster(server, namespace, spec, "first").ok(201)
    other = {"paused": False, "clusterNetwork": {"serviceDomain": "two.local"}}
    answer = apply_cluster(server, namespace, other, "second")
    code, _, message = answer.said
    assert code == 409
    assert message.startswith('Apply failed with 2 conflicts: conflicts with "first":\n- ')
    assert set(answer.causes) == {".spec.paused", ".spec.clusterNetwork.serviceDomain"}


def test_the_same_value_is_no_conflict_and_then_both_own_it(server: Server, namespace: str) -> None:
    apply_cluster(server, namespace, {"paused": True}, "first").ok(201)
    shared = apply_cluster(server, namespace, {"paused": True}, "second").ok(200)
    assert {each["manager"] for each in shared["metadata"]["managedFields"]} == {"first", "second"}
    without = apply_cluster(server, namespace, {"clusterNetwork": {"apiServerPort": 6443}}, "first").ok(200)
    assert without["spec"]["paused"] is True


def test_force_takes_a_field_over(server: Server, namespace: str) -> None:
    apply_cluster(server, namespace, {"paused": True}, "first").ok(201)
    taken = apply_cluster(server, namespace, {"paused": False}, "second", force=True).ok(200)
    assert taken["spec"]["paused"] is False
    owners = [each["manager"] for each in taken["metadata"]["managedFields"] if "f:spec" in each["fieldsV1"]]
    assert owners == ["second"]


def test_a_field_that_is_given_up_is_removed(server: Server, namespace: str) -> None:
    spec = {"paused": True, "clusterNetwork": {"apiServerPort": 6443}}
    apply_cluster(server, namespace, spec, "tkgbot").ok(201)
    assert apply_cluster(server, namespace, {"paused": True}, "tkgbot").ok(200)["spec"] == {"paused": True}


def test_a_list_that_is_a_map_is_merged_by_its_key(server: Server, namespace: str) -> None:
    apply_aws(server, namespace, [{"id": "subnet-a", "isPublic": True}], "first").ok(201)
    both = apply_aws(server, namespace, [{"id": "subnet-b"}], "second").ok(200)
    assert [each["id"] for each in both["spec"]["network"]["subnets"]] == ["subnet-a", "subnet-b"]
    entries = {each["manager"]: each["fieldsV1"] for each in both["metadata"]["managedFields"]}
    assert entries["second"]["f:spec"]["f:network"]["f:subnets"] == {'k:{"id":"subnet-b"}': {".": {}, "f:id": {}}}
    left = apply_aws(server, namespace, [], "first").ok(200)
    assert left["spec"]["network"]["subnets"] == [{"id": "subnet-b"}]


def test_a_conflict_inside_a_list_names_the_key(server: Server, namespace: str) -> None:
    apply_aws(server, namespace, [{"id": "subnet-a", "isPublic": True}], "first").ok(201)
    answer = apply_aws(server, namespace, [{"id": "subnet-a", "isPublic": False}], "second")
    field = '.spec.network.subnets[id="subnet-a"].isPublic'
    assert answer.said[2] == f'Apply failed with 1 conflict: conflict with "first": {field}'
    assert set(answer.causes) == {field}


def test_the_same_key_twice_in_a_list(server: Server, namespace: str) -> None:
    answer = apply_aws(server, namespace, [{"id": "subnet-a"}, {"id": "subnet-a"}], "tkgbot")
    assert answer.status == 500
    assert answer.said[2].endswith(': .spec.network.subnets: duplicate entries for key [id="subnet-a"]')


@pytest.mark.generations("legacy")
def test_a_list_without_a_key_is_one_whole(server: Server, namespace: str) -> None:
    apply_aws(server, namespace, [{"id": "subnet-a"}], "first").ok(201)
    answer = apply_aws(server, namespace, [{"id": "subnet-b"}], "second")
    assert answer.said[2] == 'Apply failed with 1 conflict: conflict with "first": .spec.network.subnets'
    taken = apply_aws(server, namespace, [{"id": "subnet-b"}], "second", force=True).ok(200)
    assert taken["spec"]["network"]["subnets"] == [{"id": "subnet-b"}]


@pytest.mark.generations("legacy")
def test_a_reference_that_is_atomic_is_one_whole(server: Server, namespace: str) -> None:
    apply_cluster(server, namespace, {"infrastructureRef": {"kind": "AWSCluster", "name": "a"}}, "first").ok(201)
    answer = apply_cluster(server, namespace, {"infrastructureRef": {"namespace": "elsewhere"}}, "second")
    assert set(answer.causes) == {".spec.infrastructureRef"}


def test_a_dry_run_shows_the_outcome_and_makes_nothing(server: Server, namespace: str) -> None:
    path, sent = server.shapes.path("clusters", namespace, "demo"), server.shapes.cluster("demo")
    shown = server.admin.apply(path, sent, dryRun="All").ok(200, 201)
    assert (shown["spec"], "uid" in shown["metadata"]) == (sent["spec"], True)
    assert server.admin.get(path).status == 404


def test_a_dry_run_over_an_object_changes_nothing(server: Server, namespace: str) -> None:
    made = apply_cluster(server, namespace, {"paused": True}, "tkgbot").ok(201)
    shown = apply_cluster(server, namespace, {"paused": False}, "tkgbot", dryRun="All").ok(200)
    found = server.admin.get(server.shapes.path("clusters", namespace, "demo")).ok(200)
    assert (shown["spec"], found) == ({"paused": False}, made)


def test_a_dry_run_finds_conflicts_and_mistakes(server: Server, namespace: str) -> None:
    apply_cluster(server, namespace, {"paused": True}, "first").ok(201)
    assert apply_cluster(server, namespace, {"paused": False}, "second", dryRun="All").status == 409
    assert apply_cluster(server, namespace, {"paused": "yes"}, "first", dryRun="All").status == 500


def test_an_unknown_kind_of_dry_run(server: Server, namespace: str) -> None:
    answer = apply_cluster(server, namespace, {"paused": True}, "tkgbot", dryRun="Some")
    assert answer.said[:2] == (422, "Invalid")
    assert answer.said[2].endswith('dryRun: Unsupported value: ["Some"]: supported values: "All"')


def test_an_applied_object_says_what_it_is(server: Server, namespace: str) -> None:
    path = server.shapes.path("clusters", namespace, "demo")
    answer = server.admin.apply(path, {"metadata": {"name": "demo"}, "spec": {"paused": True}})
    assert answer.said == (400, "BadRequest", "invalid object type: /, Kind=")
    other = {**server.shapes.cluster("demo"), "apiVersion": "cluster.x-k8s.io/v9"}
    answer = server.admin.apply(path, other)
    assert answer.said == (400, "BadRequest", "invalid object type: cluster.x-k8s.io/v9, Kind=Cluster")


def test_the_name_of_the_path_holds_for_apply_too(server: Server, namespace: str) -> None:
    answer = server.admin.apply(server.shapes.path("clusters", namespace, "demo"), server.shapes.cluster("other"))
    assert answer.said[:2] == (400, "BadRequest")


def test_applying_with_an_old_resource_version(server: Server, namespace: str) -> None:
    made = apply_cluster(server, namespace, {"paused": True}, "tkgbot").ok(201)
    apply_cluster(server, namespace, {"paused": False}, "tkgbot").ok(200)
    sent = server.shapes.object("clusters", "demo", {"paused": True})
    sent["metadata"]["resourceVersion"] = made["metadata"]["resourceVersion"]
    answer = server.admin.apply(server.shapes.path("clusters", namespace, "demo"), sent)
    assert answer.said[:2] == (409, "Conflict")
    assert "the object has been modified" in answer.said[2]


def test_a_built_in_object_is_applied_the_same_way(server: Server, namespace: str) -> None:
    path = server.shapes.path("configmaps", namespace, "demo")
    server.admin.apply(path, server.shapes.config_map("demo", {"a": "1", "b": "2"}), "first").ok(201)
    server.admin.apply(path, server.shapes.config_map("demo", {"c": "3"}), "second").ok(200)
    left = server.admin.apply(path, server.shapes.config_map("demo", {"a": "1"}), "first").ok(200)
    assert left["data"] == {"a": "1", "c": "3"}
    answer = server.admin.apply(path, server.shapes.config_map("demo", {"a": "9"}), "second")
    assert answer.said[2] == 'Apply failed with 1 conflict: conflict with "first": .data.a'


def test_the_status_is_applied_apart(server: Server, namespace: str) -> None:
    apply_cluster(server, namespace, {"paused": True}, "tkgbot").ok(201)
    sent = {**server.shapes.object("clusters", "demo"), "status": {"phase": "Provisioned"}}
    path = server.shapes.path("clusters", namespace, "demo", "status")
    changed = server.admin.apply(path, sent, "controller").ok(200)
    entry = next(each for each in changed["metadata"]["managedFields"] if each["manager"] == "controller")
    assert (entry["subresource"], entry["fieldsV1"]) == ("status", {"f:status": {"f:phase": {}}})
    assert (changed["status"]["phase"], changed["spec"]) == ("Provisioned", {"paused": True})


@pytest.mark.generations("current", "legacy")
def test_defaults_do_not_make_a_second_apply_a_change(server: Server, namespace: str) -> None:
    path, sent = server.shapes.path("awsclusters", namespace, "demo"), server.shapes.aws_cluster("demo")
    made = server.admin.apply(path, sent).ok(201)
    again = server.admin.apply(path, sent).ok(200)
    assert made["spec"] != sent["spec"]
    assert again["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


def test_what_controllers_add_stays_and_is_no_change(server: Server, namespace: str) -> None:
    path, sent = server.shapes.path("awsclusters", namespace, "demo"), server.shapes.aws_cluster("demo")
    server.admin.apply(path, sent).ok(201)
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": "1"}
    added = {
        "metadata": {"finalizers": ["example.com/wait"], "ownerReferences": [owner]},
        "spec": {"controlPlaneEndpoint": {"host": "lb.example.com", "port": 6443}},
    }
    server.admin.merge(path, added, fieldManager="manager").ok(200)
    status = server.admin.merge(f"{path}/status", {"status": {"ready": True}}, fieldManager="manager").ok(200)
    again = server.admin.apply(path, sent).ok(200)
    assert again["metadata"]["resourceVersion"] == status["metadata"]["resourceVersion"]
    assert again["spec"]["controlPlaneEndpoint"]["host"] == "lb.example.com"
    assert (again["metadata"]["finalizers"], again["status"]) == (["example.com/wait"], {"ready": True})


def test_applying_insists_on_the_object_that_was_meant(server: Server, namespace: str) -> None:
    """With the uid in what is applied, another object of the same name is left alone, and none is made."""
    path = server.shapes.path("clusters", namespace, "demo")
    sent = server.shapes.object("clusters", "demo", {"paused": True}, uid="11111111-1111-1111-1111-111111111111")
    assert server.admin.apply(path, sent).said[:2] == (409, "Conflict")
    assert server.admin.get(path).status == 404
    made = apply_cluster(server, namespace, {"paused": False}, "tkgbot").ok(201)
    answer = server.admin.apply(path, sent)
    assert (answer.said[:2], set(answer.causes)) == ((422, "Invalid"), {"metadata.uid"})
    sent["metadata"]["uid"] = made["metadata"]["uid"]
    assert server.admin.apply(path, sent).ok(200)["spec"] == {"paused": True}
