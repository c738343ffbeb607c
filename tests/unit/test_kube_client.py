"""The Kubernetes client against the sandbox's API server: what it reads and writes, and every error in plain words."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from urllib3.exceptions import SSLError

from handlers.clients.aws_errors import Denied
from handlers.clients.kube import DISCOVERED_FOR, LOG_BYTES, MANAGER, PAGE, Cluster, Clusters, Connection
from handlers.clients.kube_errors import CAUSES, LONGEST, from_status, from_transport, plain
from handlers.contract import Fatal, Kind, KubeRefused, Retry, Right
from handlers.kinds import (
    AWS_CLUSTER,
    CLUSTER,
    CONTROLLER_IDENTITY,
    DEFINITION,
    KINDS,
    NAMESPACE,
    SECRET,
    SERVICE,
    kind_of,
)
from handlers.settings import ManagementCluster
from sandbox.kube.certificates import authority
from sandbox.kube.crds import crds
from sandbox.kube.memory import HISTORY
from tests.unit.kubes import Kube, rights_on, running_kube

WHERE = "The management cluster"
LOOKS = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list"]}


@pytest.fixture
def kube(tmp_path: Path) -> Iterator[Kube]:
    with running_kube(tmp_path) as running:
        yield running


def aws_cluster(name: str = "demo", namespace: str = "default", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "infrastructure.cluster.x-k8s.io/v1beta2", "kind": "AWSCluster",
        "metadata": {"name": name, "namespace": namespace}, "spec": {"region": "us-east-1", **spec},
    }  # fmt: skip


def service(name: str = "web") -> dict[str, Any]:
    ports = [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 80}]
    meta = {"name": name, "namespace": "default"}
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"ports": ports}}


def writing(kube: Kube, *items: dict[str, Any], user: str = "admin") -> Cluster:
    return kube.cluster(user, rights_on(*items))


# -- reading -----------------------------------------------------------------------------------------------------


def test_one_object_or_none(kube: Kube) -> None:
    cluster = kube.cluster()
    found = cluster.get(NAMESPACE, "default")
    assert found is not None
    assert found["metadata"]["name"] == "default"  # type: ignore[index, call-overload]
    assert cluster.get(NAMESPACE, "nowhere") is None
    assert cluster.get(CLUSTER, "demo", "default") is None
    kube.put(aws_cluster())
    assert cluster.get(AWS_CLUSTER, "demo", "default") is not None
    assert cluster.get(AWS_CLUSTER, "demo", "kube-system") is None


def test_names_from_outside_stay_one_part_of_the_path(kube: Kube) -> None:
    assert kube.cluster().get(SECRET, "../../namespaces/default", "default") is None
    assert kube.cluster().get(NAMESPACE, "default?watch=1") is None
    assert ("watch", "namespaces") not in kube.asked()


@pytest.mark.parametrize(("generation", "version"), [("current", "v1beta2"), ("legacy", "v1beta1")])
def test_the_version_is_what_the_server_serves(tmp_path: Path, generation: str, version: str) -> None:
    with running_kube(tmp_path, generation) as kube:
        cluster = kube.cluster()
        assert cluster.version(CLUSTER) == version
        assert cluster.has(CLUSTER)
        assert cluster.version(NAMESPACE) == "v1"


def test_a_missing_group_and_unknown_versions_are_told_apart(tmp_path: Path) -> None:
    with running_kube(tmp_path, "none") as kube:
        cluster = kube.cluster()
        assert not cluster.has(CLUSTER)
        with pytest.raises(Fatal, match=f"{WHERE} has no Cluster: the API group cluster.x-k8s.io is not there") as none:
            cluster.version(CLUSTER)
        assert "clusterctl init" in none.value.hint
    with running_kube(tmp_path) as kube:
        future = Kind("cluster.x-k8s.io", "Cluster", "clusters", ("v9", "v8"))
        assert not kube.cluster().has(future)
        with pytest.raises(Fatal, match=r"serves cluster.x-k8s.io as .*v1beta2.*; this tkgbot knows v9, v8"):
            kube.cluster().version(future)


def test_a_cluster_without_the_kind_says_so_when_it_is_read(tmp_path: Path) -> None:
    with running_kube(tmp_path, "none") as kube:
        for look in (
            lambda: kube.cluster().get(CLUSTER, "demo", "default"),
            lambda: list(kube.cluster().pages(CLUSTER)),
        ):
            with pytest.raises(Fatal, match="has no Cluster"):
                look()


def test_what_is_served_is_asked_once_a_minute(kube: Kube) -> None:
    made = kube.cluster()._connection
    now = [100.0]
    connection = Connection(made.api, made.name, made.timeout, lambda: now[0])
    cluster = Cluster(connection)
    before = len(kube.asked())
    for _ in range(3):
        assert cluster.version(CLUSTER) == "v1beta2"
    assert len(kube.asked()) == before + 1
    now[0] += DISCOVERED_FOR
    assert cluster.version(CLUSTER) == "v1beta2"
    assert len(kube.asked()) == before + 2


def test_a_kind_that_was_taken_away_is_not_remembered(kube: Kube) -> None:
    """What was uninstalled can be installed again at once: nobody waits until a minute is over."""
    cluster = kube.cluster()
    assert cluster.has(AWS_CLUSTER)
    every = [item["metadata"]["name"] for item in kube.call(lambda: kube.sandbox.store.list(DEFINITION.resource))]
    for name in every:
        if name.endswith(f".{AWS_CLUSTER.group}"):
            kube.drop(DEFINITION, name, "")
    assert list(cluster.pages(AWS_CLUSTER)) == []
    assert not cluster.has(AWS_CLUSTER)


def test_lists_come_in_pages_and_each_object_says_what_it_is(kube: Kube) -> None:
    count = PAGE + 7
    for number in range(count):
        kube.put(aws_cluster(f"c-{number:04d}"))
    before = len(kube.asked())
    found = list(kube.cluster().pages(AWS_CLUSTER))
    names = [item["metadata"]["name"] for item in found]  # type: ignore[index, call-overload]
    assert names == [f"c-{number:04d}" for number in range(count)]
    assert {(item["apiVersion"], item["kind"]) for item in found} == {
        ("infrastructure.cluster.x-k8s.io/v1beta2", "AWSCluster")
    }
    assert kube.asked()[before:].count(("list", "awsclusters")) == 2


def test_lists_of_one_namespace_and_by_label(kube: Kube) -> None:
    kube.namespace("platform")
    kube.put({**aws_cluster("a"), "metadata": {"name": "a", "namespace": "default", "labels": {"team": "x"}}})
    kube.put(aws_cluster("b"))
    kube.put(aws_cluster("c", "platform"))
    cluster = kube.cluster()

    def names(*arguments: str) -> list[Any]:
        return [item["metadata"]["name"] for item in cluster.pages(AWS_CLUSTER, *arguments)]  # type: ignore[index, call-overload]

    assert names() == ["a", "b", "c"]
    assert names("default") == ["a", "b"]
    assert names("default", "team=x") == ["a"]
    assert list(cluster.pages(CLUSTER)) == []


@pytest.mark.long
def test_a_list_that_was_compacted_between_two_pages_is_read_anew(kube: Kube) -> None:
    for number in range(PAGE + 1):
        kube.put(aws_cluster(f"c-{number:04d}"))
    pages = kube.cluster().pages(AWS_CLUSTER)
    next(pages)
    patch = kube.sandbox.store.patch

    def busy() -> None:
        for number in range(HISTORY + 1):
            patch("namespaces", "kube-public", "", {"metadata": {"annotations": {"n": str(number)}}})

    kube.call(busy)
    with pytest.raises(Retry, match="list of awsclusters changed while it was being read"):
        list(pages)


def test_whether_the_bot_may_is_asked_of_the_server(kube: Kube) -> None:
    kube.allow("tkgbot", {"apiGroups": ["cluster.x-k8s.io"], "resources": ["clusters"], "verbs": ["patch"]})
    cluster = kube.cluster("tkgbot")
    assert cluster.may("patch", CLUSTER, "default")
    assert not cluster.may("create", CLUSTER, "default")
    assert not cluster.may("patch", AWS_CLUSTER, "default")
    assert kube.cluster("admin").may("create", NAMESPACE)


def test_every_kind_that_is_written_or_read_is_known_by_its_name() -> None:
    for kind in KINDS:
        group = f"{kind.group}/" if kind.group else ""
        assert kind_of({"apiVersion": f"{group}{kind.versions[0]}", "kind": kind.name}) is kind
    with pytest.raises(Fatal, match="does not know the kind PodTemplate of the core group"):
        kind_of({"apiVersion": "v1", "kind": "PodTemplate"})


# -- writing -----------------------------------------------------------------------------------------------------


def test_applying_is_by_the_manager_tkgbot_and_twice_is_once(kube: Kube) -> None:
    item = aws_cluster()
    cluster = writing(kube, item)
    first, again = cluster.apply(item), cluster.apply(item)
    stored = kube.find(AWS_CLUSTER, "demo")
    assert stored is not None
    assert [(entry["manager"], entry["operation"]) for entry in stored["metadata"]["managedFields"]] == [
        (MANAGER, "Apply")
    ]
    assert first == again
    assert stored["spec"]["region"] == "us-east-1"


def test_trying_on_stores_nothing_and_needs_no_rights_of_a_plan(kube: Kube) -> None:
    assert kube.cluster().try_apply(aws_cluster()) == ()
    assert kube.find(AWS_CLUSTER, "demo") is None
    assert kube.call(lambda: kube.sandbox.log[-1])["dry_run"] is True


def test_warnings_of_the_server_come_as_text(kube: Kube) -> None:
    definition = "awsclusters.infrastructure.cluster.x-k8s.io"
    found = kube.call(lambda: kube.sandbox.store.get("customresourcedefinitions.apiextensions.k8s.io", definition))
    for version in found["spec"]["versions"]:
        version |= {"deprecated": True, "deprecationWarning": 'say "AWSCluster" no more'}
    kube.call(lambda: kube.sandbox.store.update(found))
    assert kube.cluster().try_apply(aws_cluster()) == ('say "AWSCluster" no more',)


def test_deleting_by_uid_leaves_another_object_of_the_name_alone(kube: Kube) -> None:
    item = aws_cluster()
    kube.put(item)
    cluster = writing(kube, item)
    with pytest.raises(KubeRefused) as refused:
        cluster.delete(AWS_CLUSTER, "demo", "default", uid="11111111-2222-4333-8444-555555555555")
    assert refused.value.reason == "Conflict"
    stored = kube.find(AWS_CLUSTER, "demo")
    assert stored is not None
    cluster.delete(AWS_CLUSTER, "demo", "default", uid=stored["metadata"]["uid"])
    assert kube.find(AWS_CLUSTER, "demo") is None
    cluster.delete(AWS_CLUSTER, "demo", "default")  # what is gone already is no error


@pytest.mark.parametrize("lacking", ["create", "patch", "delete"])
def test_a_verb_that_the_plan_does_not_declare_is_never_sent(kube: Kube, lacking: str) -> None:
    item = aws_cluster()
    kube.put(item)
    cluster = kube.cluster("admin", tuple(right for right in rights_on(item) if right.verb != lacking))
    before = len(kube.asked())
    with pytest.raises(Fatal, match=f"does not declare to {lacking} awsclusters.infrastructure"):
        cluster.delete(AWS_CLUSTER, "demo", "default") if lacking == "delete" else cluster.apply(item)
    assert len(kube.asked()) == before


@pytest.mark.parametrize(
    "change", [{"namespace": "platform"}, {"name": "other"}, {"cluster": "default/demo"}, {"resource": "clusters"}]
)
def test_a_right_holds_for_its_own_object_only(kube: Kube, change: dict[str, str]) -> None:
    item = aws_cluster()
    elsewhere = tuple(right.model_copy(update=change) for right in rights_on(item))
    before = len(kube.asked())
    with pytest.raises(Fatal, match="so it was not done"):
        kube.cluster("admin", elsewhere).apply(item)
    assert len(kube.asked()) == before


def test_a_right_without_a_name_holds_for_any_of_its_kind(kube: Kube) -> None:
    rights = tuple(Right(verb=verb, resource=AWS_CLUSTER.resource, namespace="default") for verb in ("create", "patch"))
    kube.cluster("admin", rights).apply(aws_cluster("anything"))
    assert kube.find(AWS_CLUSTER, "anything") is not None


def test_a_cluster_that_is_only_looked_at_writes_nothing(kube: Kube) -> None:
    before = len(kube.asked())
    for write in (
        lambda: kube.cluster().apply(aws_cluster()),
        lambda: kube.cluster().delete(AWS_CLUSTER, "demo", "default"),
    ):
        with pytest.raises(Fatal, match="only looked at"):
            write()
    assert len(kube.asked()) == before


# -- refusals ----------------------------------------------------------------------------------------------------


def test_a_conflict_names_the_other_manager_and_takes_nothing_over(kube: Kube) -> None:
    kube.call(lambda: kube.sandbox.store.apply(aws_cluster(region="eu-west-1"), manager="flux"))
    item = aws_cluster()
    with pytest.raises(KubeRefused, match=r'refused to apply AWSCluster demo: .*"flux".*') as refused:
        writing(kube, item).apply(item)
    assert refused.value.reason == "Conflict"
    assert ".spec.region" in refused.value.message
    assert "never takes them over" in refused.value.hint
    stored = kube.find(AWS_CLUSTER, "demo")
    assert stored is not None
    assert stored["spec"]["region"] == "eu-west-1"


def test_a_field_that_does_not_exist_is_refused(kube: Kube) -> None:
    item = aws_cluster(regoin="us-east-1")
    with pytest.raises(KubeRefused, match="regoin"):
        writing(kube, item).apply(item)
    assert kube.find(AWS_CLUSTER, "demo") is None


def test_an_invalid_object_is_refused_with_each_cause(kube: Kube) -> None:
    group, kind = "infrastructure.cluster.x-k8s.io", "AWSCluster"
    spec = {"infrastructureRef": {"apiGroup": group, "kind": kind, "name": ""}, "controlPlaneRef": {"kind": "K"}}
    meta = {"name": "demo", "namespace": "default"}
    item: dict[str, Any] = {"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster", "metadata": meta, "spec": spec}
    with pytest.raises(KubeRefused, match=r"refused to try Cluster demo \(Invalid\)") as refused:
        kube.cluster().try_apply(item)
    assert refused.value.reason == "Invalid"
    for field in ("spec.infrastructureRef.name", "spec.controlPlaneRef.apiGroup", "spec.controlPlaneRef.name"):
        assert f"{field}: " in refused.value.message


def test_a_value_of_the_wrong_type_is_invalid_and_no_trouble_of_the_server(kube: Kube) -> None:
    with pytest.raises(KubeRefused, match="Invalid"):
        kube.cluster().try_apply(aws_cluster(region=["us-east-1"]))


def test_a_namespace_or_version_that_is_not_there_is_named(kube: Kube) -> None:
    with pytest.raises(KubeRefused, match=r"no AWSCluster in .*/v1beta2 or no namespace nowhere") as refused:
        kube.cluster().try_apply(aws_cluster(namespace="nowhere"))
    assert refused.value.reason == "NotFound"
    old = {**aws_cluster(), "apiVersion": "infrastructure.cluster.x-k8s.io/v1alpha1"}
    with pytest.raises(KubeRefused, match=r"no AWSCluster in infrastructure.cluster.x-k8s.io/v1alpha1"):
        kube.cluster().try_apply(old)


def test_a_denial_by_a_webhook_names_the_webhook_and_says_its_words(kube: Kube) -> None:
    kube.faults(deny_webhook=["AWSCluster"])
    item = aws_cluster()
    with pytest.raises(KubeRefused, match="denied to apply AWSCluster demo: AWSCluster is not allowed now") as refused:
        writing(kube, item).apply(item)
    assert (refused.value.reason, refused.value.webhook) == ("Denied", "validation.sandbox.local")
    assert "Nothing was stored" in refused.value.hint
    assert kube.find(AWS_CLUSTER, "demo") is None


def test_a_missing_right_is_named_with_its_group(kube: Kube) -> None:
    kube.allow("tkgbot", LOOKS)
    item = aws_cluster()
    with pytest.raises(Denied, match="does not let the bot apply AWSCluster demo") as denied:
        writing(kube, item, user="tkgbot").apply(item)
    assert "`patch awsclusters.infrastructure.cluster.x-k8s.io`" in denied.value.hint
    with pytest.raises(Denied) as read:
        kube.cluster("nobody").get(SECRET, "one", "default")
    assert "`get secrets`" in read.value.hint


def test_credentials_that_are_not_accepted_are_fatal(kube: Kube) -> None:
    wrong = kube.sandbox.kubeconfig("admin").replace(kube.sandbox.token("admin"), "somebody-elses")
    with pytest.raises(Fatal, match=r"does not accept the bot's credentials \(401\)") as error:
        kube.clusters(text=wrong).management().get(NAMESPACE, "default")
    assert "somebody-elses" not in f"{error.value} {error.value.hint}"


# -- what passes -------------------------------------------------------------------------------------------------


def test_throttling_says_when_to_come_again(kube: Kube) -> None:
    kube.faults(throttle=1)
    with pytest.raises(Retry, match="is throttling the bot") as error:
        kube.cluster().get(NAMESPACE, "default")
    assert error.value.after == 1.0
    assert kube.cluster().get(NAMESPACE, "default") is not None


@pytest.mark.parametrize(("header", "after"), [("7", 7.0), ("soon", 2.0), (None, 2.0), ("-1", 2.0), ("99999", 2.0)])
def test_the_pause_is_the_servers_where_it_is_a_number(header: str | None, after: float) -> None:
    error = from_status(429, b"{}", header, "list clusters", WHERE)
    assert isinstance(error, Retry)
    assert error.after == after


def test_trouble_of_the_server_passes(kube: Kube) -> None:
    kube.faults(server_error=1)
    with pytest.raises(Retry, match="had trouble with: read Namespace default"):
        kube.cluster().get(NAMESPACE, "default")


def test_a_cut_connection_passes_and_is_not_sent_twice(kube: Kube) -> None:
    cluster = kube.cluster()
    kube.faults(unreachable=True)
    before = len(kube.asked())
    with pytest.raises(Retry, match="cannot be reached to read Namespace default"):
        cluster.get(NAMESPACE, "default")
    assert len(kube.asked()) == before + 1
    kube.faults(unreachable=False)
    assert cluster.get(NAMESPACE, "default") is not None


def test_an_address_where_nobody_listens_passes(tmp_path: Path) -> None:
    with running_kube(tmp_path) as kube:
        cluster = kube.cluster()
    with pytest.raises(Retry, match="cannot be reached"):
        cluster.get(NAMESPACE, "default")


def test_a_server_that_does_not_answer_in_time_passes(kube: Kube) -> None:
    made = kube.cluster()._connection
    kube.faults(hold=["get namespaces"])
    slow = Cluster(Connection(made.api, made.name, (1.0, 0.3)))
    with pytest.raises(Retry, match="cannot be reached"):
        slow.get(NAMESPACE, "default")
    kube.faults(hold=[])


def test_a_certificate_that_is_not_trusted_is_fatal(kube: Kube) -> None:
    other = yaml.safe_load(kube.sandbox.kubeconfig("admin"))
    other["clusters"][0]["cluster"]["certificate-authority-data"] = base64.b64encode(another_authority()).decode()
    with pytest.raises(Fatal, match="cannot trust the certificate of the management cluster") as error:
        kube.clusters(text=yaml.safe_dump(other)).management().get(NAMESPACE, "default")
    assert "renew the kubeconfig" in error.value.hint


def test_a_connection_that_breaks_off_in_its_greeting_passes() -> None:
    cut = SSLError("[SSL: UNEXPECTED_EOF_WHILE_READING] EOF occurred in violation of protocol (_ssl.c:1006)")
    assert isinstance(from_transport(cut, "read Cluster demo", WHERE), Retry)


def another_authority() -> bytes:
    """An authority's certificate that signed nothing here."""
    made: str = authority.__wrapped__()[0]
    return made.encode()


# -- the words of errors, where the sandbox never says them -----------------------------------------------------


def status(message: str, reason: str = "", causes: list[dict[str, str]] | None = None) -> bytes:
    body = {"kind": "Status", "message": message, "reason": reason, "details": {"causes": causes or []}}
    return json.dumps(body).encode()


def test_a_webhook_that_is_not_there_passes() -> None:
    text = 'Internal error occurred: failed calling webhook "default.awscluster.x-k8s.io": no endpoints available'
    error = from_status(500, status(text, "InternalError"), None, "apply AWSCluster demo", WHERE)
    assert isinstance(error, Retry)
    assert "cannot reach its webhook default.awscluster.x-k8s.io" in error.message
    assert error.after == 5.0


def test_another_writer_between_reading_and_writing_is_told_apart_from_a_manager() -> None:
    error = from_status(409, status("the object has been modified", "Conflict"), None, "delete Cluster demo", WHERE)
    assert isinstance(error, KubeRefused)
    assert "the object has been modified" in error.message
    assert error.hint == "It was changed meanwhile. Ask again."


def test_many_causes_are_cut_with_a_count_and_unlooked_rules_are_left_out() -> None:
    causes = [{"field": f"spec.f{n}", "message": "Required value"} for n in range(CAUSES + 3)]
    causes.append({"field": "<nil>", "message": "some validation rules were not checked"})
    error = from_status(422, status("long", "Invalid", causes), None, "apply Cluster demo", WHERE)
    assert isinstance(error, KubeRefused)
    assert error.message.endswith("spec.f3: Required value and 3 more")
    assert "not checked" not in error.message


@pytest.mark.parametrize("body", [b"", b"<html>bad gateway</html>", b"[1]", b'"text"', b"\xff\xfe"])
@pytest.mark.parametrize("code", [400, 403, 409, 422, 502])
def test_an_answer_that_is_no_status_is_still_a_sentence(code: int, body: bytes) -> None:
    error = from_status(code, body, None, "read Cluster demo", WHERE)
    assert isinstance(error, Retry if code >= 500 else (KubeRefused, Denied))
    assert WHERE in str(error)


def test_words_from_outside_are_one_short_line_without_marks() -> None:
    assert plain("a `b`\n\tc") == "a 'b' c"
    assert len(plain("x" * 1000)) == LONGEST
    text = 'admission webhook "w" denied the request: see `this`\n' + "y" * 1000
    error = from_status(400, status(text), None, "apply Cluster demo", WHERE)
    assert isinstance(error, KubeRefused)
    assert "`" not in error.message
    assert "\n" not in error.message
    assert len(error.message) < LONGEST + 100


# -- the way in --------------------------------------------------------------------------------------------------


def test_without_settings_there_is_no_management_cluster() -> None:
    with pytest.raises(Fatal, match="settings name no management cluster") as error:
        Clusters(None).management()
    assert "operations.management_cluster" in error.value.hint


@pytest.mark.parametrize(
    "text", ["", "null", "[1, 2]", "text", "{a: ", "apiVersion: v1\nkind: Config\n", "clusters: 7\n"]
)
def test_a_kubeconfig_that_cannot_be_read_is_fatal(kube: Kube, text: str) -> None:
    with pytest.raises(Fatal, match="cannot read how to reach the management cluster"):
        kube.clusters(text=text).management()


def test_a_kubeconfig_that_is_not_there_is_fatal(tmp_path: Path) -> None:
    with pytest.raises(Fatal, match="cannot read how to reach"):
        Clusters(ManagementCluster(kubeconfig=tmp_path / "none")).management()


def test_outside_of_a_cluster_there_is_no_service_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(Fatal, match="cannot read how to reach"):
        Clusters(ManagementCluster(access="in-cluster")).management()


def test_the_context_of_the_settings_is_used(kube: Kube) -> None:
    both = yaml.safe_load(kube.sandbox.kubeconfig("admin"))
    other = yaml.safe_load(kube.sandbox.kubeconfig("nobody"))
    for part in ("users", "contexts"):
        both[part] += other[part]
    file = kube.file("both", yaml.safe_dump(both))
    reached = Clusters(ManagementCluster(kubeconfig=file, context="nobody@management")).management()
    with pytest.raises(Denied):
        reached.get(SECRET, "one", "default")
    with pytest.raises(Fatal):
        Clusters(ManagementCluster(kubeconfig=file, context="third@management")).management()


def test_the_connection_is_kept_and_a_fresh_look_has_its_own(kube: Kube) -> None:
    clusters = kube.clusters()
    assert clusters.management()._connection is clusters.management()._connection
    assert clusters.fresh().management()._connection is not clusters.management()._connection


# -- workload clusters -------------------------------------------------------------------------------------------


@pytest.fixture
def workload(tmp_path: Path) -> Iterator[Kube]:
    folder = tmp_path / "workload"
    folder.mkdir()
    with running_kube(folder, "none", "demo") as running:
        yield running


def test_a_workload_cluster_is_reached_by_its_secret(kube: Kube, workload: Kube) -> None:
    kube.keep_kubeconfig(workload.sandbox.kubeconfig("admin"))
    workload.put(service())
    clusters = kube.clusters()
    found = clusters.workload("default", "demo")
    assert [item["metadata"]["name"] for item in found.pages(SERVICE)] == ["web"]  # type: ignore[index, call-overload]
    assert not found.has(CLUSTER)
    assert clusters.workload("default", "demo")._connection is found._connection


def test_rights_on_a_workload_cluster_are_not_those_on_the_management_cluster(kube: Kube, workload: Kube) -> None:
    kube.keep_kubeconfig(workload.sandbox.kubeconfig("admin"))
    item = service()
    clusters, own, other = kube.clusters(), rights_on(item, cluster="default/demo"), rights_on(item)
    clusters.workload("default", "demo", own).apply(item)
    assert workload.find(SERVICE, "web") is not None
    with pytest.raises(Fatal, match="does not declare"):
        clusters.workload("default", "demo", other).apply(item)
    with pytest.raises(Fatal, match="does not declare"):
        clusters.management(own).apply(item)
    assert kube.find(SERVICE, "web") is None


def test_a_rotated_secret_is_noticed(kube: Kube, workload: Kube) -> None:
    clusters = kube.clusters()
    kube.keep_kubeconfig(workload.sandbox.kubeconfig("nobody"))
    with pytest.raises(Denied):
        clusters.workload("default", "demo").get(SERVICE, "web", "default")
    kube.keep_kubeconfig(workload.sandbox.kubeconfig("admin"))
    assert clusters.workload("default", "demo").get(SERVICE, "web", "default") is None


def test_two_clusters_of_one_name_in_two_namespaces_are_two(kube: Kube, workload: Kube) -> None:
    kube.namespace("platform")
    kube.keep_kubeconfig(workload.sandbox.kubeconfig("admin"))
    kube.keep_kubeconfig(workload.sandbox.kubeconfig("nobody"), namespace="platform")
    clusters = kube.clusters()
    assert clusters.workload("default", "demo").get(SERVICE, "web", "default") is None
    with pytest.raises(Denied):
        clusters.workload("platform", "demo").get(SERVICE, "web", "default")


def test_a_cluster_without_its_secret_has_to_come_up_first(kube: Kube) -> None:
    with pytest.raises(Fatal, match="The cluster demo has no kubeconfig on the management cluster yet") as error:
        kube.clusters().workload("default", "demo")
    assert "control plane" in error.value.hint


@pytest.mark.parametrize("text", ["", "null", "[1]", "text", "{a: ", "apiVersion: v1\n", "\udcff"])
def test_a_secret_whose_kubeconfig_cannot_be_read_is_fatal(kube: Kube, text: str) -> None:
    kube.keep_kubeconfig(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(Fatal, match="has a kubeconfig on the management cluster that cannot be read"):
        kube.clusters().workload("default", "demo")


def test_a_secret_without_the_key_is_fatal(kube: Kube) -> None:
    kube.keep_secret({"other": "eA=="})
    with pytest.raises(Fatal, match="cannot be read"):
        kube.clusters().workload("default", "demo")


def test_a_secret_that_may_not_be_read_names_the_right(kube: Kube) -> None:
    kube.keep_kubeconfig("x")
    with pytest.raises(Denied) as denied:
        kube.clusters("nobody").workload("default", "demo")
    assert "`get secrets`" in denied.value.hint


def test_no_token_is_ever_in_an_error(kube: Kube, workload: Kube) -> None:
    token = workload.sandbox.token("admin")
    broken = workload.sandbox.kubeconfig("admin").replace("current-context", "no-context")
    kube.keep_kubeconfig(broken)
    with pytest.raises(Fatal) as error:
        kube.clusters().workload("default", "demo")
    assert token not in f"{error.value} {error.value.hint}"


def test_controllers_identities_have_no_namespace_in_their_path(kube: Kube) -> None:
    group = "infrastructure.cluster.x-k8s.io"
    head = {"apiVersion": f"{group}/v1beta2", "kind": "AWSClusterControllerIdentity", "metadata": {"name": "default"}}
    kube.put({**head, "spec": {"allowedNamespaces": {}}})
    assert kube.cluster().get(CONTROLLER_IDENTITY, "default", "anywhere") is not None


# -- patches, logs, and definitions that come later ----------------------------------------------------------------

REGION = "/spec/region"


def replacing(was: str, to: str) -> list[dict[str, Any]]:
    return [{"op": "test", "path": REGION, "value": was}, {"op": "replace", "path": REGION, "value": to}]


def test_a_patch_changes_what_is_still_as_it_was_seen(kube: Kube) -> None:
    item = aws_cluster()
    kube.put(item)
    cluster = writing(kube, item)
    made = cluster.patch(AWS_CLUSTER, "demo", "default", replacing("us-east-1", "eu-west-1"))
    stored = kube.find(AWS_CLUSTER, "demo")
    assert stored is not None
    assert made["spec"] == stored["spec"]
    assert stored["spec"]["region"] == "eu-west-1"
    assert MANAGER in {entry["manager"] for entry in stored["metadata"]["managedFields"]}


def test_a_patch_whose_test_fails_changes_nothing(kube: Kube) -> None:
    item = aws_cluster()
    kube.put(item)
    with pytest.raises(KubeRefused, match=r"refused to change AWSCluster demo \(Invalid\)") as refused:
        writing(kube, item).patch(AWS_CLUSTER, "demo", "default", replacing("eu-west-1", "x"))
    assert refused.value.reason == "Invalid"
    stored = kube.find(AWS_CLUSTER, "demo")
    assert stored is not None
    assert stored["spec"]["region"] == "us-east-1"


def test_a_patch_makes_nothing_that_is_not_there(kube: Kube) -> None:
    with pytest.raises(KubeRefused, match="has no AWSCluster demo any more") as refused:
        writing(kube, aws_cluster()).patch(AWS_CLUSTER, "demo", "default", replacing("a", "b"))
    assert refused.value.reason == "NotFound"
    assert kube.find(AWS_CLUSTER, "demo") is None


def test_a_patch_needs_the_right_of_its_very_object(kube: Kube) -> None:
    item = aws_cluster()
    kube.put(item)
    before = len(kube.asked())
    for cluster in (kube.cluster(), writing(kube, aws_cluster("other"))):
        with pytest.raises(Fatal, match=r"only looked at|does not declare to patch"):
            cluster.patch(AWS_CLUSTER, "demo", "default", replacing("us-east-1", "x"))
    assert len(kube.asked()) == before


def pod(state: dict[str, Any]) -> dict[str, Any]:
    status = {"containerStatuses": [{"name": "main", "state": state}]}
    meta = {"name": "web", "namespace": "default"}
    spec = {"containers": [{"name": "main", "image": "web:1"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec, "status": status}


def test_the_end_of_a_log(kube: Kube) -> None:
    kube.put(pod({"running": {}}))
    kube.call(lambda: kube.sandbox.store.write_log("default", "web", "".join(f"line {n}\n" for n in range(9)) + "é"))
    cluster = kube.cluster()
    assert cluster.log("web", "default", "main", lines=2) == "line 8\né"
    assert cluster.log("web", "default").startswith("line 0\n")
    assert cluster.log("nobody", "default") == ""


def test_a_log_is_at_most_a_mebibyte(kube: Kube) -> None:
    kube.put(pod({"running": {}}))
    kube.call(lambda: kube.sandbox.store.write_log("default", "web", "x" * 2**22))
    assert len(kube.cluster().log("web", "default")) == LOG_BYTES


def test_a_container_that_waits_has_no_log_yet_and_a_missing_right_is_told(kube: Kube) -> None:
    kube.put(pod({"waiting": {"reason": "PodInitializing"}}))
    assert kube.cluster().log("web", "default", "main") == ""
    with pytest.raises(Denied, match="does not let the bot read the log of web"):
        kube.cluster("nobody").log("web", "default", "main")


def test_a_definition_that_is_made_later_is_seen_at_once(tmp_path: Path) -> None:
    """That a group is not served is never remembered; that it is, for a minute."""
    with running_kube(tmp_path, "none") as kube:
        cluster = kube.cluster()
        assert not cluster.has(CLUSTER)
        for definition in crds("current"):
            kube.put(definition)
        assert cluster.has(CLUSTER)
        before = len(kube.asked())
        assert cluster.version(CLUSTER) == "v1beta2"
        assert len(kube.asked()) == before
