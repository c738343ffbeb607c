"""The bot's own client and objects, against a real API server and against the sandbox's: every object that a cluster is
made of is accepted by the published schemas, strictly, and applying it twice changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from handlers.clients.aws_errors import Denied
from handlers.clients.kube import Cluster, Clusters
from handlers.cluster_rendering import Blueprint, render
from handlers.contract import Fatal, Json, Kind, KubeRefused, Right
from handlers.kinds import AWS_CLUSTER, CLUSTER, MACHINE_DEPLOYMENT, NAMESPACE, kind_of
from handlers.kube_checks import WRITTEN, leftovers, versions_of
from handlers.network import Subnet
from handlers.preflight import Layout, Pool
from handlers.settings import ManagementCluster
from handlers.steps.apply import holds
from handlers.subnet_scope import Where
from tests.contract.server import Server

BOTH = pytest.mark.generations("current", "legacy")
ZONES = ("us-east-1a", "us-east-1b", "us-east-1c")


def subnets(route: str, first: int) -> tuple[Subnet, ...]:
    """One subnet a zone."""
    return tuple(
        Subnet(id=f"subnet-{first + n:08x}", vpc="vpc-0a1b2c3d", zone=zone, arn="", tags={}, route=route, table="rtb-1")  # type: ignore[arg-type]
        for n, zone in enumerate(ZONES)
    )


def blueprint(name: str, namespace: str, *, plan: str = "prod", identity: str | None = None) -> Blueprint:
    """A cluster of three zones, or of one."""
    zones = ZONES if plan == "prod" else ZONES[:1]
    layout = Layout(
        cluster=name,
        where=Where("management", "us-east-1", "aws", "111122223333"),
        vpc="vpc-0a1b2c3d",
        public=subnets("public", 1),
        private=subnets("private", 16),
        pools=(
            Pool("control-plane", len(zones), 1, "t3.large", None),
            *(Pool(f"md-{n}", 2, 1, "m5.large", zone) for n, zone in enumerate(zones)),
        ),
        production=plan == "prod",
        ssh_key="ops",
        kubernetes_version="v1.33.1",
        ami_owner="819546954734",
        ami_base_os="ubuntu-24.04",
        ami_id=None,
        instance_profiles=("control-plane.example", "nodes.example"),
    )
    return Blueprint(layout, namespace, plan, {"cni": "calico"}, identity)


def cluster(server: Server, folder: Path, user: str, rights: tuple[Right, ...] | None = None) -> Cluster:
    """The bot's client as some user."""
    settings = ManagementCluster(kubeconfig=server.kubeconfig(folder, user))
    return Clusters(settings).management(rights)


def rights(items: tuple[Json, ...], *verbs: str) -> tuple[Right, ...]:
    """What a plan with these objects declares."""
    return tuple(
        Right(verb=verb, resource=kind_of(item).resource, namespace=item["metadata"]["namespace"], name="")  # type: ignore[index, call-overload, arg-type]
        for item in items
        for verb in verbs
    )


@BOTH
@pytest.mark.parametrize(("plan", "identity"), [("dev", None), ("prod", None), ("dev", "tenant")])
def test_every_object_is_accepted_strictly(
    server: Server, namespace: str, tmp_path: Path, plan: str, identity: str | None
) -> None:
    kube = cluster(server, tmp_path, "admin")
    items = render(blueprint("shop", namespace, plan=plan, identity=identity), versions_of(kube))
    for item in items:
        assert kube.try_apply(item) == ()
    assert [kube.get(kind_of(item), "shop", namespace) for item in items] == [None] * len(items)


@BOTH
def test_the_newest_known_version_is_used(server: Server, tmp_path: Path) -> None:
    kube = cluster(server, tmp_path, "admin")
    assert kube.version(CLUSTER) == ("v1beta2" if server.generation == "current" else "v1beta1")
    assert kube.version(AWS_CLUSTER) == ("v1beta2" if server.generation == "current" else "v1beta1")
    assert set(versions_of(kube)) == set(WRITTEN)


@BOTH
def test_applying_makes_it_so_and_again_changes_nothing(server: Server, namespace: str, tmp_path: Path) -> None:
    looking = cluster(server, tmp_path, "admin")
    items = render(blueprint("shop", namespace), versions_of(looking))
    acting = cluster(server, tmp_path, "admin", rights(items, "create", "patch"))
    first = [acting.apply(item) for item in items]
    for item, made in zip(items, first, strict=True):
        assert holds(item, looking.get(kind_of(item), made["metadata"]["name"], namespace))  # type: ignore[index, call-overload, arg-type]
    second = [acting.apply(item) for item in items]
    versions = [[made["metadata"]["resourceVersion"] for made in round_] for round_ in (first, second)]  # type: ignore[index, call-overload]
    assert versions[0] == versions[1]
    left = leftovers(items, looking)
    assert (len(left.same), left.other, left.begun) == (len(items), (), True)


@BOTH
def test_another_configuration_is_seen_as_other(server: Server, namespace: str, tmp_path: Path) -> None:
    looking = cluster(server, tmp_path, "admin")
    items = render(blueprint("shop", namespace, plan="dev"), versions_of(looking))
    acting = cluster(server, tmp_path, "admin", rights(items, "create", "patch"))
    for item in items:
        acting.apply(item)
    others = render(blueprint("shop", namespace, plan="dev", identity="tenant"), versions_of(looking))
    left = leftovers(others, looking)
    assert (left.same, len(left.other)) == ((), len(items))


def test_a_field_of_another_manager_is_never_taken(server: Server, namespace: str, tmp_path: Path) -> None:
    looking = cluster(server, tmp_path, "admin")
    items = render(blueprint("shop", namespace, plan="dev"), versions_of(looking))
    pools = [item for item in items if item["kind"] == "MachineDeployment"]
    path = f"/apis/cluster.x-k8s.io/v1beta2/namespaces/{namespace}/machinedeployments/shop-md-0"
    theirs = {**pools[0], "spec": {**pools[0]["spec"], "replicas": 7}}  # type: ignore[dict-item]
    server.admin.apply(path, theirs, manager="autoscaler").ok(201)
    acting = cluster(server, tmp_path, "admin", rights(items, "create", "patch"))
    with pytest.raises(KubeRefused, match="autoscaler") as refused:
        acting.apply(pools[0])
    assert refused.value.reason == "Conflict"
    found = looking.get(MACHINE_DEPLOYMENT, "shop-md-0", namespace)
    assert found is not None
    assert found["spec"]["replicas"] == 7  # type: ignore[index, call-overload]


def test_a_wrong_object_is_refused_with_its_field(server: Server, namespace: str, tmp_path: Path) -> None:
    kube = cluster(server, tmp_path, "admin")
    item = next(i for i in render(blueprint("shop", namespace), versions_of(kube)) if i["kind"] == "MachineDeployment")
    with pytest.raises(KubeRefused, match="replicas"):
        kube.try_apply({**item, "spec": {**item["spec"], "replicas": "many"}})  # type: ignore[dict-item]
    with pytest.raises(KubeRefused, match="replica"):
        kube.try_apply({**item, "spec": {**item["spec"], "replica": 1}})  # type: ignore[dict-item]


def test_a_namespace_that_is_not_there(server: Server, tmp_path: Path) -> None:
    kube = cluster(server, tmp_path, "admin")
    item = render(blueprint("shop", "nowhere"), versions_of(kube))[0]
    with pytest.raises(KubeRefused, match="nowhere"):
        kube.try_apply(item)
    assert kube.get(NAMESPACE, "nowhere") is None


def test_a_user_without_rights_is_denied_and_told_which(server: Server, namespace: str, tmp_path: Path) -> None:
    kube = cluster(server, tmp_path, "nobody")
    with pytest.raises(Denied) as denied:
        list(kube.pages(CLUSTER, namespace))
    assert "list clusters.cluster.x-k8s.io" in denied.value.hint
    assert kube.may("create", CLUSTER, namespace) is False
    assert cluster(server, tmp_path, "admin").may("create", CLUSTER, namespace) is True


def test_nothing_undeclared_is_sent(server: Server, namespace: str, tmp_path: Path) -> None:
    looking = cluster(server, tmp_path, "admin")
    item = render(blueprint("shop", namespace), versions_of(looking))[0]
    with pytest.raises(Fatal, match="only looked at"):
        looking.apply(item)
    acting = cluster(
        server, tmp_path, "admin", (Right(verb="create", resource=AWS_CLUSTER.resource, namespace=namespace),)
    )
    with pytest.raises(Fatal, match="does not declare to patch"):
        acting.apply(item)
    assert looking.get(AWS_CLUSTER, "shop", namespace) is None


def test_a_kind_that_is_not_there_is_told(server: Server, tmp_path: Path) -> None:
    kube = cluster(server, tmp_path, "admin")
    with pytest.raises(Fatal, match=r"nothing\.example is not there"):
        kube.version(Kind("nothing.example", "Thing", "things", ("v1",)))
    with pytest.raises(Fatal, match="this tkgbot knows v9"):
        kube.version(Kind("cluster.x-k8s.io", "Cluster", "clusters", ("v9",)))
    assert kube.has(CLUSTER)


def test_pages_are_read_to_the_end(
    server: Server, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("handlers.clients.kube.PAGE", 2)
    looking = cluster(server, tmp_path, "admin")
    version = looking.version(CLUSTER)
    names = [f"shop-{n}" for n in range(5)]
    items = tuple(
        {**render(blueprint(name, namespace, plan="dev"), {**versions_of(looking), CLUSTER: version})[-1]}
        for name in names
    )
    acting = cluster(server, tmp_path, "admin", rights(items, "create", "patch", "delete"))
    for item in items:
        acting.apply(item)
    assert [c["metadata"]["name"] for c in looking.pages(CLUSTER, namespace)] == names  # type: ignore[index, call-overload]
    acting.delete(CLUSTER, names[0], namespace)
    acting.delete(CLUSTER, names[0], namespace)
    assert len(list(looking.pages(CLUSTER, namespace, "cni=calico"))) == 4


def test_only_the_very_object_is_deleted(server: Server, namespace: str, tmp_path: Path) -> None:
    looking = cluster(server, tmp_path, "admin")
    item = render(blueprint("shop", namespace, plan="dev"), versions_of(looking))[0]
    acting = cluster(server, tmp_path, "admin", rights((item,), "create", "patch", "delete"))
    made = acting.apply(item)
    with pytest.raises(KubeRefused):
        acting.delete(AWS_CLUSTER, "shop", namespace, "00000000-0000-0000-0000-000000000000")
    assert looking.get(AWS_CLUSTER, "shop", namespace) is not None
    acting.delete(AWS_CLUSTER, "shop", namespace, made["metadata"]["uid"])  # type: ignore[index, call-overload, arg-type]
    assert looking.get(AWS_CLUSTER, "shop", namespace) is None
