"""What the definitions' schemas ask for, fill in and take out."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.api import Answer
from tests.contract.server import Server


def post_cluster(server: Server, namespace: str, spec: dict[str, Any], **query: Any) -> Answer:
    """Posts a cluster `demo` with just this spec."""
    path = server.shapes.path("clusters", namespace)
    return server.admin.post(path, server.shapes.object("clusters", "demo", spec), **query)


REFERENCE = {"apiGroup": "infrastructure.cluster.x-k8s.io", "kind": "AWSCluster", "name": "demo"}


@pytest.mark.published
@pytest.mark.parametrize(
    ("spec", "field", "reason", "message"),
    [
        (
            {"infrastructureRef": {"kind": "AWSCluster", "name": "demo"}},
            "spec.infrastructureRef.apiGroup",
            "FieldValueRequired",
            "Required value",
        ),
        (
            {"paused": "yes"},
            "spec.paused",
            "FieldValueTypeInvalid",
            'Invalid value: "string": spec.paused in body must be of type boolean: "string"',
        ),
        (
            {"clusterNetwork": {"apiServerPort": 70000}},
            "spec.clusterNetwork.apiServerPort",
            "FieldValueInvalid",
            "Invalid value: 70000: spec.clusterNetwork.apiServerPort in body should be less than or equal to 65535",
        ),
        (
            {"clusterNetwork": {"apiServerPort": 0}},
            "spec.clusterNetwork.apiServerPort",
            "FieldValueInvalid",
            "Invalid value: 0: spec.clusterNetwork.apiServerPort in body should be greater than or equal to 1",
        ),
        (
            {"infrastructureRef": {**REFERENCE, "name": "Not A Name"}},
            "spec.infrastructureRef.name",
            "FieldValueInvalid",
            "Invalid value: \"Not A Name\": spec.infrastructureRef.name in body should match "
            "'^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$'",
        ),
        (
            {"clusterNetwork": {"pods": {"cidrBlocks": []}}},
            "spec.clusterNetwork.pods.cidrBlocks",
            "FieldValueInvalid",
            "Invalid value: 0: spec.clusterNetwork.pods.cidrBlocks in body should have at least 1 items",
        ),
        (
            {"clusterNetwork": {"serviceDomain": ""}},
            "spec.clusterNetwork.serviceDomain",
            "FieldValueInvalid",
            'Invalid value: "": spec.clusterNetwork.serviceDomain in body should be at least 1 chars long',
        ),
        (
            {"topology": {"version": "v1.30.0", "classRef": {"name": "c", "namespace": "n" * 64}}},
            "spec.topology.classRef.namespace",
            "FieldValueTooLong",
            "Too long: may not be more than 63 bytes",
        ),
        (
            {"availabilityGates": [{"conditionType": "Ready", "polarity": "Sideways"}]},
            "spec.availabilityGates[0].polarity",
            "FieldValueNotSupported",
            'Unsupported value: "Sideways": supported values: "Positive", "Negative"',
        ),
        (
            {"availabilityGates": [{"conditionType": "A"}, {"conditionType": "A"}]},
            "spec.availabilityGates[1]",
            "FieldValueDuplicate",
            'Duplicate value: {"conditionType":"A"}',
        ),
    ],
    ids=[
        "required", "type", "maximum", "minimum", "pattern", "items", "length", "too long", "enum", "duplicate",
    ],
)  # fmt: skip
def test_what_a_schema_refuses(
    server: Server, namespace: str, spec: dict[str, Any], field: str, reason: str, message: str
) -> None:
    answer = post_cluster(server, namespace, spec)
    code, status_reason, text = answer.said
    assert (code, status_reason) == (422, "Invalid")
    assert answer.causes[field] == (reason, message)
    assert text.startswith('Cluster.cluster.x-k8s.io "demo" is invalid: ')
    assert f"{field}: {message}" in text
    details = answer.body["details"]
    assert (details["name"], details["group"], details["kind"]) == ("demo", "cluster.x-k8s.io", "Cluster")


@pytest.mark.published
def test_several_mistakes_are_all_told(server: Server, namespace: str) -> None:
    spec = {"clusterNetwork": {"serviceDomain": ""}, "infrastructureRef": {"kind": "AWSCluster"}}
    answer = post_cluster(server, namespace, spec)
    assert {
        "spec.clusterNetwork.serviceDomain", "spec.infrastructureRef.apiGroup", "spec.infrastructureRef.name",
    } <= set(answer.causes)  # fmt: skip
    assert answer.said[2].startswith('Cluster.cluster.x-k8s.io "demo" is invalid: [')


def test_a_spec_that_has_to_be_there(server: Server, namespace: str) -> None:
    sent = server.shapes.object("clusters", "demo")
    answer = server.admin.post(server.shapes.path("clusters", namespace), sent)
    assert answer.said[:2] == (422, "Invalid")
    assert answer.causes["spec"] == ("FieldValueRequired", "Required value")


@pytest.mark.generations("current", "legacy")
def test_an_unknown_choice(server: Server) -> None:
    source = {"kind": "AWSClusterOtherIdentity", "name": "default"}
    sent = server.shapes.role_identity(server.fresh("identity"), sourceIdentityRef=source)
    answer = server.admin.post(server.shapes.path("awsclusterroleidentities"), sent)
    reason, message = answer.causes["spec.sourceIdentityRef.kind"]
    assert (answer.status, reason) == (422, "FieldValueNotSupported")
    assert message.startswith('Unsupported value: "AWSClusterOtherIdentity": supported values: "AWSCluster')


@pytest.mark.generations("current", "legacy")
def test_unknown_fields_are_taken_out(server: Server, namespace: str) -> None:
    sent = server.shapes.cluster("demo")
    sent["spec"]["colour"] = "blue"
    sent["spec"]["clusterNetwork"]["pods"]["extra"] = {"deep": 1}
    made = server.admin.post(server.shapes.path("clusters", namespace), sent).ok(201)
    assert "colour" not in made["spec"]
    assert made["spec"]["clusterNetwork"]["pods"] == {"cidrBlocks": ["100.96.0.0/11"]}


def test_the_old_form_of_a_reference_is_refused(server: Server, namespace: str) -> None:
    old = {"apiVersion": "infrastructure.cluster.x-k8s.io/v1beta1", "kind": "AWSCluster", "name": "demo"}
    answer = post_cluster(server, namespace, {"infrastructureRef": old})
    assert (answer.status, "spec.infrastructureRef.apiGroup" in answer.causes) == (422, True)


def test_what_may_be_anything_is_kept(server: Server, namespace: str) -> None:
    value = {"any": ["thing", 1, None, {"deep": True}]}
    spec = {"topology": {"classRef": {"name": "c"}, "version": "v1.30.0", "variables": [{"name": "v", "value": value}]}}
    made = post_cluster(server, namespace, spec).ok(201)
    assert made["spec"]["topology"]["variables"] == [{"name": "v", "value": value}]


@pytest.mark.generations("current", "legacy")
def test_defaults_are_filled_in(server: Server, namespace: str) -> None:
    made = server.admin.post(server.shapes.path("awsclusters", namespace), server.shapes.aws_cluster("demo")).ok(201)
    vpc = made["spec"]["network"]["vpc"]
    assert (vpc["availabilityZoneSelection"], vpc["availabilityZoneUsageLimit"]) == ("Ordered", 3)


def test_a_default_waits_for_what_it_is_in(server: Server, namespace: str) -> None:
    sent = server.shapes.object("awsclusters", "demo", {"region": "us-east-1"})
    made = server.admin.post(server.shapes.path("awsclusters", namespace), sent).ok(201)
    assert made["spec"] == {"region": "us-east-1"}


@pytest.mark.generations("legacy")
def test_a_pool_without_a_size_has_one_machine(server: Server, namespace: str) -> None:
    sent = server.shapes.machine_deployment("pool")
    del sent["spec"]["replicas"]
    made = server.admin.post(server.shapes.path("machinedeployments", namespace), sent).ok(201)
    assert made["spec"]["replicas"] == 1


@pytest.mark.parametrize("surge", [1, "25%"])
def test_a_number_or_a_text(server: Server, namespace: str, surge: int | str) -> None:
    sent = server.shapes.machine_deployment("pool")
    sent["spec"]["rollout"] = {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge}}}
    made = server.admin.post(server.shapes.path("machinedeployments", namespace), sent).ok(201)
    assert made["spec"]["rollout"]["strategy"]["rollingUpdate"]["maxSurge"] == surge


def test_neither_a_number_nor_a_text(server: Server, namespace: str) -> None:
    sent = server.shapes.machine_deployment("pool")
    sent["spec"]["rollout"] = {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": True}}}
    answer = server.admin.post(server.shapes.path("machinedeployments", namespace), sent)
    assert (answer.status, "spec.rollout.strategy.rollingUpdate.maxSurge" in answer.causes) == (422, True)


@pytest.mark.published
def test_a_time_that_is_none(server: Server, namespace: str) -> None:
    sent = server.shapes.machine_deployment("pool")
    sent["spec"]["rollout"] = {"after": "tomorrow"}
    answer = server.admin.post(server.shapes.path("machinedeployments", namespace), sent)
    assert answer.causes["spec.rollout.after"][1] == (
        'Invalid value: "tomorrow": spec.rollout.after in body must be of type date-time: "tomorrow"'
    )


def test_a_null_is_left_out(server: Server, namespace: str) -> None:
    made = post_cluster(server, namespace, {"paused": True, "controlPlaneRef": None}).ok(201)
    assert made["spec"] == {"paused": True}


def test_strict_reading_refuses_unknown_fields(server: Server, namespace: str) -> None:
    spec = {"paused": True, "colour": "blue", "clusterNetwork": {"apiServerPort": 6443, "shape": "round"}}
    answer = post_cluster(server, namespace, spec, fieldValidation="Strict")
    code, reason, message = answer.said
    assert (code, reason) == (400, "BadRequest")
    assert "strict decoding error: " in message
    assert 'unknown field "spec.colour"' in message
    assert 'unknown field "spec.clusterNetwork.shape"' in message


def test_strict_reading_refuses_a_field_twice(server: Server, namespace: str) -> None:
    head = f'"apiVersion": "{server.shapes.api_version("clusters")}", "kind": "Cluster", "metadata": {{"name": "demo"}}'
    body = f'{{{head}, "spec": {{"paused": true, "paused": false}}}}'
    path = server.shapes.path("clusters", namespace)
    answer = server.admin.call("POST", path, body, fieldValidation="Strict")
    assert answer.said[:2] == (400, "BadRequest")
    assert 'duplicate field "spec.paused"' in answer.said[2]


def test_reading_with_warnings_takes_the_object_and_says_so(server: Server, namespace: str) -> None:
    answer = post_cluster(server, namespace, {"paused": True, "colour": "blue"}, fieldValidation="Warn")
    assert answer.ok(201)["spec"] == {"paused": True}
    assert answer.warnings == ['299 - "unknown field \\"spec.colour\\""']


def test_reading_without_a_word(server: Server, namespace: str) -> None:
    answer = post_cluster(server, namespace, {"paused": True, "colour": "blue"}, fieldValidation="Ignore")
    assert (answer.status, answer.warnings) == (201, [])


def test_unknown_fields_are_warned_of_when_nothing_is_asked(server: Server, namespace: str) -> None:
    """The default is Warn since 1.27."""
    answer = post_cluster(server, namespace, {"paused": True, "colour": "blue"})
    assert answer.warnings == ['299 - "unknown field \\"spec.colour\\""']


@pytest.mark.parametrize("reading", [None, "Ignore", "Strict"])
def test_an_applied_object_with_an_unknown_field(server: Server, namespace: str, reading: str | None) -> None:
    """Apply reads by the schema, so an unknown field fails however it is read; the answer is a 500 without a reason."""
    sent = server.shapes.object("clusters", "demo", {"paused": True, "colour": "blue"})
    path = server.shapes.path("clusters", namespace, "demo")
    answer = server.admin.apply(path, sent, fieldValidation=reading)
    code, reason, message = answer.said
    assert (code, reason, message.startswith("failed to create typed patch object (")) == (500, "", True)
    assert message.endswith("Kind=Cluster): .spec.colour: field not declared in schema")
    assert server.admin.get(path).status == 404


def test_an_applied_object_of_the_wrong_type(server: Server, namespace: str) -> None:
    sent = server.shapes.object("clusters", "demo", {"paused": "yes"})
    answer = server.admin.apply(server.shapes.path("clusters", namespace, "demo"), sent)
    assert (answer.status, ": .spec.paused: expected boolean, got &{yes}" in answer.said[2]) == (500, True)
