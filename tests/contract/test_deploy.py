"""The installation in a cluster (manifests/deploy), as kubectl renders it, before a real API server: every object is
accepted, and the rights are enough for every operation and for little else."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml

from handlers.contract import Kind
from handlers.controllers import CREDENTIALS
from handlers.controllers import NAMESPACE as PROVIDER
from handlers.kinds import CLUSTER, CLUSTER_ROLE, DEPLOYMENT, NAMESPACE, NODE, POD, ROLE_IDENTITY, SECRET
from handlers.kube_needs import NEEDS
from tests.contract.kubectl import BOUND_S, Kubectl, program
from tests.contract.real import apiserver, assets_folder, etcd
from tests.contract.server import Server, refuse

DEPLOY = Path(str(resources.files("manifests"))) / "deploy"
OVERLAYS = ("single", "replicas")
COMPONENTS = ("confined-secrets", "instance-profile")
HOME, ACCOUNT = "tkgbot", "system:serviceaccount:tkgbot:tkgbot"
GROUPS = ["system:serviceaccounts", f"system:serviceaccounts:{HOME}", "system:authenticated"]
ELSEWHERE = "team-a"
Json = dict[str, Any]


def rendered(folder: Path) -> list[Json]:
    """What `kubectl kustomize` makes of a folder."""
    path = program()
    if path is None:
        refuse("there is no kubectl, neither beside the server nor on the PATH")
    assert path is not None
    done = subprocess.run(
        [path, "kustomize", str(folder)], capture_output=True, text=True, timeout=BOUND_S, check=False
    )
    assert done.returncode == 0, done.stderr
    return [item for item in yaml.safe_load_all(done.stdout) if item]


def of_kind(items: list[Json], kind: str) -> Json:
    (found,) = [item for item in items if item["kind"] == kind]
    return found


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real server with the namespaces, and with the rights of the overlay `single`: rights are not asked for in a dry
    run, and no definition is needed to ask for them."""
    assets, folder = assets_folder(), tmp_path_factory.mktemp("deploy")
    if assets is None:
        refuse("KUBEBUILDER_ASSETS names no folder with kube-apiserver and etcd (.ci/kube/build makes one)")
    assert assets is not None
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(etcd(assets, folder))
        server = stack.enter_context(apiserver(assets, folder, store, "bare"))
        items = rendered(DEPLOY / "overlays" / "single")
        for name in (PROVIDER, ELSEWHERE):
            server.admin.post("/api/v1/namespaces", {"metadata": {"name": name}}).ok(201)
        kubectl(server, folder).good("create", "-f", "-", sent=of_kind(items, "Namespace"))
        for item in items:
            if item["apiVersion"].startswith("rbac."):
                kubectl(server, folder).good("create", "-f", "-", sent=item)
        yield server


def kubectl(server: Server, folder: Path) -> Kubectl:
    path = program()
    assert path is not None
    return Kubectl(path, folder, server.kubeconfig(folder, "admin"))


# -- as objects --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_object_is_accepted(real: Server, tmp_path: Path, overlay: str) -> None:
    """Strictly (no unknown field) and without a warning: the namespace warns of pods that are not `restricted`, and the
    API server looks at a Deployment's template for that."""
    items = rendered(DEPLOY / "overlays" / overlay)
    assert len(items) > 12
    for item in items:
        said = kubectl(real, tmp_path)(
            "apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "-f", "-", sent=item
        )
        assert (said.code, said.err) == (0, ""), f"{item['kind']} {item['metadata']['name']}: {said.err}"


def test_the_server_would_say_so(real: Server, tmp_path: Path) -> None:
    """The case above can fail: for a container that is less confined, and for a field that is none."""
    item = of_kind(rendered(DEPLOY / "overlays" / "single"), "Deployment")
    words = ("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-")
    (container,) = item["spec"]["template"]["spec"]["containers"]
    container["securityContext"]["allowPrivilegeEscalation"] = True
    assert "violate PodSecurity" in kubectl(real, tmp_path)(*words, sent=item).err
    container["redinessProbe"] = container.pop("readinessProbe")
    said = kubectl(real, tmp_path)(*words, sent=item)
    assert said.code != 0
    assert "redinessProbe" in said.err


@pytest.mark.parametrize("component", COMPONENTS)
def test_components_fit_both_overlays(real: Server, tmp_path: Path, component: str) -> None:
    """As a team puts them into an overlay of its own."""
    for overlay in OVERLAYS:
        own = tmp_path / "deploy"
        subprocess.run(["cp", "-r", str(DEPLOY), str(own)], check=True)
        mine = own / "overlays" / "mine"
        mine.mkdir()
        content = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization",
            "resources": [f"../{overlay}"], "components": [f"../../components/{component}"],
        }  # fmt: skip
        (mine / "kustomization.yaml").write_text(yaml.safe_dump(content))
        items = rendered(mine)
        for item in items:
            if item.get("metadata", {}).get("namespace") in (None, HOME):
                kubectl(real, tmp_path).good("apply", "--server-side", "--dry-run=server", "-f", "-", sent=item)
        bindings = {item["metadata"]["name"] for item in items if item["kind"] == "ClusterRoleBinding"}
        assert ("tkgbot-kubeconfigs" in bindings) == (component != "confined-secrets")
        ways = str(of_kind(items, "NetworkPolicy")["spec"]["egress"])
        assert ("169.254.169.254/32" in ways) == (component == "instance-profile")
        subprocess.run(["rm", "-r", str(own)], check=True)


def test_the_example_of_a_secret_cannot_be_applied(real: Server, tmp_path: Path) -> None:
    said = kubectl(real, tmp_path)(
        "apply", "--dry-run=server", "--namespace", HOME, "-f", str(DEPLOY / "base" / "secret.example.yaml")
    )
    assert said.code != 0
    assert "Invalid value" in said.err


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_the_pods_want_is_there(overlay: str) -> None:
    """Volumes, the ConfigMap with the name that its content gives, the service account, and the selectors."""
    items = rendered(DEPLOY / "overlays" / overlay)
    deployment = of_kind(items, "Deployment")
    pod, labels = deployment["spec"]["template"]["spec"], deployment["spec"]["template"]["metadata"]["labels"]
    (container,) = pod["containers"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes)
    assert volumes["settings"]["configMap"]["name"] == of_kind(items, "ConfigMap")["metadata"]["name"]
    assert "tkgbot.yaml" in of_kind(items, "ConfigMap")["data"]
    assert pod["serviceAccountName"] == of_kind(items, "ServiceAccount")["metadata"]["name"]
    assert of_kind(items, "Service")["spec"]["selector"] == labels
    assert of_kind(items, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"] == labels
    assert not any(item["kind"] == "Secret" for item in items)
    for item in items:
        assert item["metadata"].get("namespace", HOME) in (HOME, PROVIDER)


def test_one_pod_with_a_disk_of_its_own_or_three_with_a_database() -> None:
    single, replicas = (rendered(DEPLOY / "overlays" / overlay) for overlay in OVERLAYS)
    alone, many = of_kind(single, "Deployment")["spec"], of_kind(replicas, "Deployment")["spec"]
    assert (alone["replicas"], alone["strategy"]) == (1, {"type": "Recreate"})
    claim = of_kind(single, "PersistentVolumeClaim")["metadata"]["name"]
    data = {volume["name"]: volume for volume in alone["template"]["spec"]["volumes"]}["data"]
    assert data == {"name": "data", "persistentVolumeClaim": {"claimName": claim}}
    assert (many["replicas"], many["strategy"]["type"]) == (3, "RollingUpdate")
    env = {entry["name"] for entry in many["template"]["spec"]["containers"][0]["env"]}
    assert "TKGBOT_DATABASE_URL_FILE" in env
    budget = of_kind(replicas, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"]
    assert budget == many["template"]["metadata"]["labels"]
    assert "5432" in str(of_kind(replicas, "NetworkPolicy"))
    assert "5432" not in str(of_kind(single, "NetworkPolicy"))


# -- as rights ---------------------------------------------------------------------------------------------------


def may(server: Server, verb: str, kind: Kind, namespace: str = "", name: str = "", subresource: str = "") -> bool:
    """Whether the API server's own RBAC lets the bot's service account."""
    wanted = {"verb": verb, "group": kind.group, "resource": kind.plural, "namespace": namespace, "name": name}
    spec = {"user": ACCOUNT, "groups": GROUPS, "resourceAttributes": {**wanted, "subresource": subresource}}
    answer = server.admin.post("/apis/authorization.k8s.io/v1/subjectaccessreviews", {"spec": spec}).ok(201)
    return bool(answer["status"]["allowed"])


def test_every_right_that_an_operation_needs_is_there(real: Server) -> None:
    asked = [(verb, need.kind, need.namespace) for need in NEEDS for verb in need.verbs]
    assert len(asked) > 50
    assert [one for one in asked if not may(real, *one)] == []
    assert may(real, "get", SECRET, PROVIDER, CREDENTIALS)


def test_the_account_itself_is_let_in(real: Server, tmp_path: Path) -> None:
    """Not only by the API server's word: as the bot, by impersonation."""
    bot = kubectl(real, tmp_path)
    mine = (f"--as={ACCOUNT}", *(f"--as-group={group}" for group in GROUPS))
    assert ELSEWHERE in bot.good("get", "namespaces", "-o", "name", *mine)
    assert "forbidden" in bot("get", "secrets", "--all-namespaces", *mine).err
    assert "forbidden" in bot("create", "namespace", "more", *mine).err


@pytest.mark.parametrize(
    ("verb", "kind", "place"),
    [
        ("list", SECRET, ""), ("watch", SECRET, ""), ("list", SECRET, HOME), ("create", SECRET, ELSEWHERE),
        ("delete", SECRET, ELSEWHERE), ("patch", SECRET, ELSEWHERE), ("delete", NODE, ""), ("patch", NODE, ""),
        ("list", NODE, ""), ("create", NAMESPACE, ""), ("delete", NAMESPACE, ""), ("list", POD, ELSEWHERE),
        ("create", POD, HOME), ("create", DEPLOYMENT, HOME), ("patch", DEPLOYMENT, HOME), ("create", CLUSTER_ROLE, ""),
        ("escalate", CLUSTER_ROLE, ""), ("bind", CLUSTER_ROLE, ""), ("deletecollection", CLUSTER, ""),
        ("update", CLUSTER, ELSEWHERE), ("deletecollection", ROLE_IDENTITY, ""),
        ("impersonate", Kind("", "User", "users", namespaced=False), ""),
    ],
)  # fmt: skip
def test_nothing_else_is_allowed(real: Server, verb: str, kind: Kind, place: str) -> None:
    assert not may(real, verb, kind, place)


def test_subresources_are_not_let_in_by_the_way(real: Server) -> None:
    assert not may(real, "create", POD, PROVIDER, subresource="exec")
    assert not may(real, "get", POD, PROVIDER, subresource="log")
    assert not may(real, "patch", CLUSTER, ELSEWHERE, subresource="status")
