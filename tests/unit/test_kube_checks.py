"""What is looked at on the management cluster before a cluster is made, against the sandbox's API server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from handlers.clients.kube import Cluster
from handlers.contract import Check, Fatal, Json
from handlers.kinds import AWS_CLUSTER, CLUSTER, CONTROLLER_IDENTITY, RESOURCE_SET, kind_of
from handlers.kube_checks import WRITTEN, Left, kube_checks, leftovers, versions_of
from tests.unit.blueprints import blueprint, by_name, rendered
from tests.unit.kubes import Kube, rights_on, running_kube

INFRA = "infrastructure.cluster.x-k8s.io"
ALL = ("cluster-api", "namespace", "names", "identity", "add-ons", "rights", "dry-run")
LOOKS: dict[str, Any] = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list"]}
ASKS: dict[str, Any] = {
    "apiGroups": ["authorization.k8s.io"], "resources": ["selfsubjectaccessreviews"], "verbs": ["create"],
}  # fmt: skip


@pytest.fixture
def kube(tmp_path: Path) -> Iterator[Kube]:
    """A management cluster on which nothing is wrong."""
    with running_kube(tmp_path) as running:
        running.namespace("platform", team="x", tier="one")
        identity(running, "AWSClusterControllerIdentity", "default", {"allowedNamespaces": {}})
        resource_set(running, "calico", {"matchLabels": {"cni": "calico"}})
        yield running


def identity(kube: Kube, kind: str, name: str, spec: dict[str, Any]) -> None:
    more = {"roleARN": "arn:aws:iam::444455556666:role/x"} if kind == "AWSClusterRoleIdentity" else {}
    more |= {"sourceIdentityRef": {"kind": "AWSClusterControllerIdentity", "name": "default"}} if more else {}
    kube.put({"apiVersion": f"{INFRA}/v1beta2", "kind": kind, "metadata": {"name": name}, "spec": {**more, **spec}})


def resource_set(kube: Kube, name: str, selector: dict[str, Any], namespace: str = "default") -> None:
    kube.put({
        "apiVersion": "addons.cluster.x-k8s.io/v1beta2", "kind": "ClusterResourceSet",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"clusterSelector": selector, "resources": [{"kind": "ConfigMap", "name": name}]},
    })  # fmt: skip


def seen(kube: Kube, user: str = "admin", left: Left | None = None, **changes: Any) -> dict[str, Check]:
    """The checks by id."""
    cluster = kube.cluster(user)
    plan = blueprint(**changes)
    items = rendered(**changes)
    return checked(plan, items, left or leftovers(items, cluster), cluster)


def checked(plan: Any, items: tuple[Json, ...], left: Left, cluster: Cluster) -> dict[str, Check]:
    found = kube_checks(plan, items, left, cluster, cluster)
    by_id = {check.id: check for check in found}
    assert len(by_id) == len(found), "two checks have one id"
    return by_id


def test_where_nothing_is_wrong_every_check_passes(kube: Kube) -> None:
    found = seen(kube)
    assert {name: check.result for name, check in found.items()} == dict.fromkeys(ALL, "pass")
    assert found["cluster-api"].evidence == f"cluster.x-k8s.io v1beta2, {INFRA} v1beta2."
    assert "All 8 objects" in found["dry-run"].evidence


def test_looking_changes_nothing(kube: Kube) -> None:
    before = kube.call(lambda: kube.sandbox.store.memory.revision)
    seen(kube)
    assert kube.call(lambda: kube.sandbox.store.memory.revision) == before


# -- versions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("generation", "version"), [("current", "v1beta2"), ("legacy", "v1beta1")])
def test_every_kind_has_its_version(tmp_path: Path, generation: str, version: str) -> None:
    with running_kube(tmp_path, generation) as kube:
        assert versions_of(kube.cluster()) == dict.fromkeys(WRITTEN, version)


def test_without_the_cluster_api_there_is_no_plan(tmp_path: Path) -> None:
    with running_kube(tmp_path, "none") as kube, pytest.raises(Fatal, match="has no Cluster") as error:
        versions_of(kube.cluster())
    assert "clusterctl init" in error.value.hint


# -- the namespace -----------------------------------------------------------------------------------------------


def test_a_namespace_that_is_not_there_blocks_and_nothing_is_tried(kube: Kube) -> None:
    found = seen(kube, namespace="nowhere")
    assert found["namespace"].result == "block"
    assert "kubectl create namespace nowhere" in found["namespace"].fix
    assert "dry-run" not in found


def test_a_namespace_that_may_not_be_looked_at_is_unknown(kube: Kube) -> None:
    cluster = kube.cluster()
    items = rendered()
    left = leftovers(items, cluster)
    kube.faults(forbid=["get /namespaces"])
    found = checked(blueprint(), items, left, cluster)
    assert found["namespace"].result == "unknown"
    assert "`get namespaces`" in found["namespace"].fix


# -- names -------------------------------------------------------------------------------------------------------


def made(kube: Kube, items: tuple[Json, ...]) -> None:
    cluster = kube.cluster("admin", rights_on(*items))
    for item in items:
        cluster.apply(item)


def test_objects_of_this_very_configuration_are_gone_on_with(kube: Kube) -> None:
    items = rendered()
    made(kube, items[:3])
    left = leftovers(items, kube.cluster())
    assert left.same == tuple(by_name(items))[:3]
    assert (left.other, left.ending, left.elsewhere, left.begun) == ((), (), (), False)
    stored = kube.find(AWS_CLUSTER, "demo")
    assert stored is not None
    assert left.uids["AWSCluster demo"] == stored["metadata"]["uid"]
    found = seen(kube)
    assert (found["names"].result, found["dry-run"].result) == ("warn", "pass")
    assert "left 3 objects" in found["names"].evidence


def test_an_earlier_try_has_begun_once_its_cluster_object_is_there(kube: Kube) -> None:
    made(kube, rendered())
    assert leftovers(rendered(), kube.cluster()).begun
    assert not leftovers(rendered(pods="10.32.0.0/11"), kube.cluster()).begun


@pytest.mark.parametrize("whose", ["other settings", "somebody else"])
def test_objects_of_others_block_and_nothing_is_tried(kube: Kube, whose: str) -> None:
    if whose == "other settings":
        made(kube, rendered(pods="10.32.0.0/11")[:1])
    else:
        spec = {"region": "us-east-1"}
        kube.put({"apiVersion": f"{INFRA}/v1beta2", "kind": "AWSCluster", "spec": spec,
                  "metadata": {"name": "demo", "namespace": "default"}})  # fmt: skip
    assert leftovers(rendered(), kube.cluster()).other == ("AWSCluster demo",)
    found = seen(kube)
    assert found["names"].result == "block"
    assert "AWSCluster demo" in found["names"].evidence
    assert "/tkg cluster delete demo --namespace default" in found["names"].fix
    assert "dry-run" not in found


def test_objects_that_are_being_deleted_block(kube: Kube) -> None:
    items = rendered()
    held = {**items[0], "metadata": {**by_name(items)["AWSCluster demo"]["metadata"], "finalizers": ["x/y"]}}
    kube.put(held)
    kube.drop(AWS_CLUSTER, "demo")
    left = leftovers(items, kube.cluster())
    assert (left.ending, left.same, left.other) == (("AWSCluster demo",), (), ())
    found = seen(kube)
    assert found["names"].result == "block"
    assert "Being deleted at this moment: AWSCluster demo" in found["names"].evidence
    assert "dry-run" not in found


def test_a_cluster_of_the_name_in_another_namespace_blocks(kube: Kube) -> None:
    made(kube, rendered(namespace="platform"))
    left = leftovers(rendered(), kube.cluster())
    assert (left.elsewhere, left.same) == (("platform",), ())
    found = seen(kube)
    assert found["names"].result == "block"
    assert "in namespace platform" in found["names"].evidence


def test_clusters_of_other_names_are_nobodys_business(kube: Kube) -> None:
    other = by_name(rendered(namespace="platform"))["Cluster demo"]
    kube.put({**other, "metadata": {**other["metadata"], "name": "demo-2"}})
    assert seen(kube)["names"].result == "pass"


# -- the way into the account ------------------------------------------------------------------------------------


def test_without_the_controllers_identity_nobody_gets_in(kube: Kube) -> None:
    kube.drop(CONTROLLER_IDENTITY, "default")
    found = seen(kube)["identity"]
    assert found.result == "block"
    assert "no AWSClusterControllerIdentity default" in found.evidence


def test_another_account_needs_its_own_identity(kube: Kube) -> None:
    found = seen(kube, identity="lob-dev")["identity"]
    assert found.result == "block"
    assert "Make the AWSClusterRoleIdentity `lob-dev`" in found.fix
    identity(kube, "AWSClusterRoleIdentity", "lob-dev", {"allowedNamespaces": {"list": ["default"]}})
    assert seen(kube, identity="lob-dev")["identity"].result == "pass"


def expression(key: str, operator: str, *values: str) -> dict[str, Any]:
    more = {"values": list(values)} if values else {}
    return {"selector": {"matchExpressions": [{"key": key, "operator": operator, **more}]}}


LABELLED: dict[str, Any] = {"selector": {"matchLabels": {"team": "x"}}}
IDENTITIES: list[tuple[str, dict[str, Any], bool]] = [
    ("absent allows none", {}, False),
    ("null allows none", {"allowedNamespaces": None}, False),
    ("empty allows all", {"allowedNamespaces": {}}, True),
    ("an empty selector is the same as empty", {"allowedNamespaces": {"selector": {}}}, True),
    ("a list of none allows none", {"allowedNamespaces": {"list": []}}, False),
    ("labels of none allow none", {"allowedNamespaces": {"selector": {"matchLabels": {}}}}, False),
    ("in the list", {"allowedNamespaces": {"list": ["a", "platform"]}}, True),
    ("not in the list", {"allowedNamespaces": {"list": ["a", "platform-2"]}}, False),
    ("labels", {"allowedNamespaces": LABELLED}, True),
    ("all labels must fit", {"allowedNamespaces": {"selector": {"matchLabels": {"team": "x", "tier": "two"}}}}, False),
    ("list or labels", {"allowedNamespaces": {"list": ["a"], **LABELLED}}, True),
    (
        "neither list nor labels",
        {"allowedNamespaces": {"list": ["a"], "selector": {"matchLabels": {"team": "y"}}}},
        False,
    ),
    ("In", {"allowedNamespaces": expression("team", "In", "y", "x")}, True),
    ("In, another value", {"allowedNamespaces": expression("team", "In", "y")}, False),
    ("In, no such label", {"allowedNamespaces": expression("none", "In", "x")}, False),
    ("NotIn", {"allowedNamespaces": expression("team", "NotIn", "y")}, True),
    ("NotIn, no such label", {"allowedNamespaces": expression("none", "NotIn", "y")}, True),
    ("NotIn, that value", {"allowedNamespaces": expression("team", "NotIn", "x")}, False),
    ("Exists", {"allowedNamespaces": expression("team", "Exists")}, True),
    ("Exists, no such label", {"allowedNamespaces": expression("none", "Exists")}, False),
    ("DoesNotExist", {"allowedNamespaces": expression("none", "DoesNotExist")}, True),
    ("DoesNotExist, but it does", {"allowedNamespaces": expression("team", "DoesNotExist")}, False),
    ("an unknown operator", {"allowedNamespaces": expression("team", "Near", "x")}, False),
    (
        "labels and expressions together",
        {"allowedNamespaces": {"selector": {**LABELLED["selector"], **expression("tier", "In", "two")["selector"]}}},
        False,
    ),
]


@pytest.mark.long(but=3)
@pytest.mark.parametrize(("spec", "allowed"), [each[1:] for each in IDENTITIES], ids=[each[0] for each in IDENTITIES])
def test_an_identity_allows_the_namespaces_that_it_says(kube: Kube, spec: dict[str, Any], allowed: bool) -> None:
    identity(kube, "AWSClusterRoleIdentity", "lob", spec)
    found = seen(kube, identity="lob", namespace="platform")["identity"]
    assert found.result == ("pass" if allowed else "block"), found
    if not allowed:
        assert "does not allow the namespace platform" in found.evidence


def test_an_identity_that_may_not_be_read_is_unknown(kube: Kube) -> None:
    kube.faults(forbid=[f"get {INFRA}/awsclustercontrolleridentities"])
    found = seen(kube)["identity"]
    assert found.result == "unknown"
    assert f"`get awsclustercontrolleridentities.{INFRA}`" in found.fix


# -- add-ons -----------------------------------------------------------------------------------------------------


def test_add_ons_are_named(kube: Kube) -> None:
    resource_set(kube, "aws-ccm", {"matchExpressions": [{"key": "cni", "operator": "Exists"}]})
    found = seen(kube)["add-ons"]
    assert (found.result, found.evidence) == ("pass", "ClusterResourceSets for this cluster's labels: aws-ccm, calico.")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"labels": {"cni": "antrea"}}, "labelled cni=antrea"),
        ({"labels": {}}, "labelled with nothing"),
        ({"namespace": "platform"}, "No ClusterResourceSet in platform"),
    ],
)
def test_labels_that_select_nothing_are_warned_of(kube: Kube, changes: dict[str, Any], words: str) -> None:
    found = seen(kube, **changes)["add-ons"]
    assert found.result == "warn"
    assert words in found.evidence


def test_a_management_cluster_without_resource_sets_is_warned_of(kube: Kube) -> None:
    definitions = "customresourcedefinitions.apiextensions.k8s.io"
    names = [crd["metadata"]["name"] for crd in kube.call(lambda: kube.sandbox.store.list(definitions))]
    for name in names:
        if name.endswith(".addons.cluster.x-k8s.io"):
            kube.call(lambda name=name: kube.sandbox.store.delete(definitions, name))  # type: ignore[misc]
    assert not kube.cluster().has(RESOURCE_SET)
    found = seen(kube)["add-ons"]
    assert (found.result, found.evidence) == ("warn", "The management cluster has no ClusterResourceSets.")


# -- rights ------------------------------------------------------------------------------------------------------


def allowed(kube: Kube, *without: str) -> None:
    """Everything that the bot needs, but for some resources that it may not write."""
    writes: dict[str, Any] = {
        "apiGroups": ["*"], "resources": [kind.plural for kind in WRITTEN if kind.plural not in without],
        "verbs": ["create", "patch"],
    }  # fmt: skip
    kube.allow("tkgbot", LOOKS, ASKS, writes)


def test_rights_are_asked_for_every_kind_and_verb(kube: Kube) -> None:
    allowed(kube)
    found = seen(kube, "tkgbot")
    assert (found["rights"].result, found["dry-run"].result) == ("pass", "pass")
    assert found["rights"].evidence == "21 rights in default are there."


def test_a_missing_right_blocks_and_is_named(kube: Kube) -> None:
    allowed(kube, "machinehealthchecks")
    found = seen(kube, "tkgbot")["rights"]
    assert found.result == "block"
    kind = "machinehealthchecks.cluster.x-k8s.io"
    assert found.evidence == f"The bot may not create {kind}, patch {kind}."
    assert "namespace default" in found.fix


def test_many_missing_rights_are_cut(kube: Kube) -> None:
    kube.allow("tkgbot", LOOKS, ASKS)
    found = seen(kube, "tkgbot")["rights"]
    assert found.evidence.endswith(" and more.")
    assert found.evidence.count(" clusters.cluster.x-k8s.io") == 2


# -- the dry run -------------------------------------------------------------------------------------------------


def test_what_a_webhook_denies_blocks_before_anybody_approves(kube: Kube) -> None:
    kube.faults(deny_webhook=["MachineDeployment", "AWSCluster"])
    found = seen(kube)["dry-run"]
    assert found.result == "block"
    for name in ("AWSCluster demo", "MachineDeployment demo-md-0"):
        assert name in found.evidence
    assert "AWSMachineTemplate" not in found.evidence
    assert "validation.sandbox.local" in found.evidence


def test_what_the_schema_refuses_blocks(kube: Kube) -> None:
    items = tuple({**item, "spec": {"nonsense": 1}} if item["kind"] == "AWSCluster" else item for item in rendered())
    cluster = kube.cluster()
    found = checked(blueprint(), items, leftovers(items, cluster), cluster)["dry-run"]
    assert found.result == "block"
    assert "nonsense" in found.evidence


def test_a_dry_run_that_may_not_be_made_is_unknown(kube: Kube) -> None:
    kube.faults(forbid=["patch cluster.x-k8s.io/clusters"])
    found = seen(kube)["dry-run"]
    assert found.result == "unknown"
    assert "`patch clusters.cluster.x-k8s.io`" in found.fix


def test_a_server_in_trouble_is_unknown_and_never_a_pass(kube: Kube) -> None:
    cluster, items = kube.cluster(), rendered()
    left = leftovers(items, cluster)
    cluster.has(RESOURCE_SET)  # what is served is known from before
    kube.faults(unreachable=True)
    found = checked(blueprint(), items, left, cluster)
    kube.faults(unreachable=False)
    unknown = {name for name, check in found.items() if check.result == "unknown"}
    assert unknown == {"namespace", "identity", "add-ons", "rights"}
    assert "dry-run" not in found


def test_warnings_of_the_api_server_are_shown(kube: Kube) -> None:
    class Warns:
        def try_apply(self, item: Json) -> tuple[str, ...]:
            return (f"{item['kind']} is old",) if kind_of(item) is CLUSTER else ()

    cluster, items = kube.cluster(), rendered()
    found = kube_checks(blueprint(), items, leftovers(items, cluster), cluster, Warns())
    last = found[-1]
    assert (last.id, last.result, last.evidence) == ("dry-run", "warn", "Cluster demo: Cluster is old")
