"""The sandbox's Kubernetes API over HTTPS: its fault switches, its log, its users, and its end."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
import yaml

from sandbox.kube import KubeSandbox
from sandbox.kube.crds import crds

PODS = "/api/v1/namespaces/default/pods"
CONFIGS = "/api/v1/namespaces/default/configmaps"
CONFIG = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}, "data": {"a": "1"}}
SECONDS = 10


class Caller:
    """One user with a connection."""

    def __init__(self, kube: KubeSandbox, session: aiohttp.ClientSession) -> None:
        self.kube, self.session = kube, session

    async def __call__(self, method: str, path: str, body: Any = None, user: str = "admin") -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self.kube.token(user)}"} if user else {}
        async with self.session.request(method, self.kube.url + path, json=body, headers=headers) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if "json" in answer.content_type else text

    async def watch(self, path: str) -> aiohttp.ClientResponse:
        headers = {"Authorization": f"Bearer {self.kube.token('admin')}"}
        return await self.session.get(f"{self.kube.url}{path}", params={"watch": "1"}, headers=headers)


def play(scene: Callable[[Caller], Awaitable[None]]) -> KubeSandbox:
    async def run() -> KubeSandbox:
        kube = KubeSandbox()
        await kube.start()
        context = ssl.create_default_context(cadata=kube.ca_pem)
        try:
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
                await asyncio.wait_for(scene(Caller(kube, session)), SECONDS)
        finally:
            await kube.stop()
        return kube

    return asyncio.run(run())


def test_counted_faults_strike_as_often_as_they_say_and_leave_a_log() -> None:
    async def scene(call: Caller) -> None:
        call.kube.set_faults({"throttle": 1, "server_error": 1})
        headers = {"Authorization": f"Bearer {call.kube.token('admin')}"}
        async with call.session.get(call.kube.url + PODS, headers=headers) as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (429, "1")
        assert [(await call("GET", PODS))[0] for _ in range(2)] == [500, 200]
        await call("POST", CONFIGS + "?dryRun=All", CONFIG, user="admin")

    log = play(scene).log
    assert [(entry["verb"], entry["resource"], entry["status"]) for entry in log] == [
        ("list", "pods", 429), ("list", "pods", 500), ("list", "pods", 200), ("create", "configmaps", 201),
    ]  # fmt: skip
    assert [(entry["n"], entry["user"], entry["mutating"], entry["dry_run"]) for entry in log[2:]] == [
        (3, "admin", False, False), (4, "admin", True, True),
    ]  # fmt: skip


def test_forbidden_by_a_switch_reads_as_forbidden_by_rbac() -> None:
    async def scene(call: Caller) -> None:
        call.kube.faults.forbid = ["list /pods", "* apps/*"]
        status, body = await call("GET", PODS)
        assert (status, body["message"]) == (
            403,
            'pods is forbidden: User "admin" cannot list resource "pods" in API group "" in the namespace "default"',
        )
        assert (await call("GET", "/apis/apps/v1/deployments"))[0] == 403
        assert (await call("GET", CONFIGS))[0] == 200

    play(scene)


def test_a_webhook_denies_writes_of_its_kinds_only() -> None:
    async def scene(call: Caller) -> None:
        call.kube.faults.deny_webhook = ["ConfigMap"]
        status, body = await call("POST", CONFIGS, CONFIG)
        assert (status, body["message"].partition(":")[0]) == (
            403,
            'admission webhook "validation.sandbox.local" denied the request',
        )
        assert (await call("GET", CONFIGS))[1]["items"] == []
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "one"}}
        assert (await call("POST", CONFIGS.replace("configmaps", "secrets"), secret))[0] == 201

    play(scene)


def test_a_held_request_waits_until_the_pattern_is_taken_out() -> None:
    async def scene(call: Caller) -> None:
        call.kube.faults.hold = ["create configmaps"]
        held = asyncio.create_task(call("POST", CONFIGS, CONFIG))
        assert (await call("GET", CONFIGS))[1]["items"] == []
        assert not held.done()
        call.kube.faults.hold.clear()
        assert (await held)[0] == 201

    play(scene)


def test_unreachable_cuts_requests_and_open_watches() -> None:
    async def scene(call: Caller) -> None:
        stream = await call.watch(CONFIGS)
        call.kube.faults.unreachable = True
        with pytest.raises(aiohttp.ClientError):
            await stream.content.readline()
        with pytest.raises(aiohttp.ClientError):
            await call("GET", PODS)
        call.kube.faults.unreachable = False
        assert (await call("GET", PODS))[0] == 200

    play(scene)


def test_watches_that_are_gone_by_a_switch() -> None:
    async def scene(call: Caller) -> None:
        call.kube.faults.gone_watches = 1
        event = json.loads(await (await call.watch(CONFIGS)).content.readline())
        assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")
        stream = await call.watch(CONFIGS)
        await call("POST", CONFIGS, CONFIG)
        assert json.loads(await stream.content.readline())["type"] == "ADDED"

    play(scene)


def test_the_end_of_the_server_ends_its_watches() -> None:
    async def scene(call: Caller) -> None:
        stream = await call.watch(CONFIGS)
        await call.kube.stop()
        assert await stream.content.readline() == b""

    play(scene)


def test_who_is_unknown_is_told_so_and_who_has_no_right_cannot() -> None:
    async def scene(call: Caller) -> None:
        assert (await call("GET", PODS, user=""))[0] == 401
        assert (await call("GET", PODS, user="nobody"))[0] == 403
        token = call.kube.add_user("system:serviceaccount:default:runner")
        role = {"name": "reader", "namespace": "default"}
        rule = {"verbs": ["get"], "apiGroups": [""], "resources": ["pods/log"], "resourceNames": ["job"]}
        group = "rbac.authorization.k8s.io"
        call.kube.store.create({"apiVersion": f"{group}/v1", "kind": "Role", "metadata": role, "rules": [rule]})
        subject = {"kind": "ServiceAccount", "name": "runner", "namespace": "default"}
        reference = {"kind": "Role", "name": "reader", "apiGroup": group}
        binding = {"apiVersion": f"{group}/v1", "kind": "RoleBinding", "metadata": role, "subjects": [subject]}
        call.kube.store.create(binding | {"roleRef": reference})
        spec = {"containers": [{"name": "main", "image": "x"}]}
        for name in ("job", "other"):
            meta = {"name": name, "namespace": "default"}
            call.kube.store.create({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})
        call.kube.store.write_log("default", "job", "done\n")
        user = "system:serviceaccount:default:runner"
        assert token == call.kube.token(user)
        assert await call("GET", f"{PODS}/job/log", user=user) == (200, "done\n")
        assert [(await call("GET", f"{PODS}/{name}", user=user))[0] for name in ("job", "other/log")] == [403, 403]

    play(scene)


def test_a_kubeconfig_names_server_authority_and_token() -> None:
    async def scene(call: Caller) -> None:
        config = yaml.safe_load(call.kube.kubeconfig("tkgbot"))
        assert config["clusters"][0]["cluster"]["server"] == call.kube.url
        assert config["users"][0]["user"]["token"] == call.kube.token("tkgbot")
        assert config["current-context"] == config["contexts"][0]["name"]

    play(scene)


def test_a_misspelt_switch_changes_nothing() -> None:
    kube = KubeSandbox()
    with pytest.raises(ValueError, match="unknown fault switch: throtle"):
        kube.set_faults({"throttle": 1, "throtle": 2})
    assert kube.faults.throttle == 0


@pytest.mark.parametrize(
    ("generation", "versions"),
    [("current", ["v1beta1", "v1beta2"]), ("legacy", ["v1alpha3", "v1alpha4", "v1beta1"])],
)
def test_the_generations_serve_their_versions(generation: str, versions: list[str]) -> None:
    kube = KubeSandbox(crds=crds(generation))
    served = {one.version for one in kube.store.registry if one.key == "clusters.cluster.x-k8s.io"}
    infrastructure = {
        one.version for one in kube.store.registry if one.key == "awsclusters.infrastructure.cluster.x-k8s.io"
    }
    assert (sorted(served), sorted(infrastructure)) == (versions, ["v1beta2"] if generation == "current" else versions)
