"""GPU nodes of whole clusters: an instance's type and its KubeadmConfig decide what the node is; the API over HTTPS."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest
import yaml

from sandbox.aws import AwsSandbox
from sandbox.kube import Store
from sandbox.kube.actors.conditions import holds
from sandbox.kube.actors.objects import AWS_MACHINES, CLUSTERS, DEPLOYMENTS, MACHINES
from sandbox.kube.actors.registering import kubelet_argument, taints
from sandbox.kube.world import ClusterWorld
from tests.unit.insides import TAINT, installation, job
from tests.unit.test_sandbox_actors import HOME, Play, Scenario, cluster

pytestmark = pytest.mark.long

Obj = dict[str, Any]
LABELS = "node-pool=gpu,example.com/team=research"


@pytest.fixture(scope="module")
def aws() -> Iterator[AwsSandbox]:
    sandbox = AwsSandbox()
    sandbox.start()
    yield sandbox
    sandbox.stop()


@pytest.fixture(autouse=True)
def _calm(aws: AwsSandbox) -> Iterator[None]:
    yield
    aws.set_faults(dict.fromkeys(aws.get_faults()))


def gpu_cluster(vpcs: Any, name: str, generation: str, kind: str, root: int) -> list[Obj]:
    """A cluster whose workers are GPU nodes, tainted and labelled by their kubelet."""
    bodies = cluster(vpcs, name, generation=generation)
    current = generation == "current"
    plain = next(body for body in bodies if body["kind"] == "AWSMachineTemplate")
    machine = {**plain["spec"]["template"]["spec"], "instanceType": kind, "rootVolume": {"size": root}}
    template = {**plain, "metadata": {**plain["metadata"], "name": f"{name}-gpu"}}
    template["spec"] = {"template": {"spec": machine}}
    arguments = {"cloud-provider": "external", "node-labels": LABELS}
    listed = [{"name": key, "value": value} for key, value in arguments.items()]
    registration = {"kubeletExtraArgs": listed if current else arguments, "taints": [TAINT]}
    for body in bodies:
        if body["kind"] == "KubeadmConfigTemplate":
            body["spec"]["template"]["spec"] = {"joinConfiguration": {"nodeRegistration": registration}}
        if body["kind"] == "MachineDeployment":
            spec = body["spec"]["template"]["spec"]
            spec["infrastructureRef"] = {**spec["infrastructureRef"], "name": f"{name}-gpu"}
    return [template, *bodies]


def play(
    aws: AwsSandbox, name: str, scenario: Scenario, *,
    generation: str = "current", kind: str = "g4dn.xlarge", root: int = 100,
) -> None:  # fmt: skip
    async def run() -> None:
        world = ClusterWorld(aws, generation)
        await world.start()
        try:
            world.set_faults({"pace": 0})
            it = Play(aws, world, name)
            for body in gpu_cluster(aws.describe()["accounts"][HOME]["vpcs"], name, generation, kind, root):
                world.kube.store.create(body, manager="tkgbot")
            async with asyncio.timeout(60):
                await scenario(it)
        finally:
            await world.stop()

    asyncio.run(run())


def gpu_nodes(it: Play) -> list[Obj]:
    return [node for node in it.nodes if node["metadata"]["labels"].get("node-pool") == "gpu"]


def free(it: Play) -> list[str]:
    """The allocatable GPUs of the GPU nodes."""
    return sorted(node["status"].get("allocatable", {}).get("nvidia.com/gpu", "-") for node in gpu_nodes(it))


def inside(it: Play) -> Store:
    return it.world.workload(it.name).kube.store


@pytest.mark.parametrize("generation", ["current", "legacy"])
def test_a_gpu_node_is_what_its_machine_is(aws: AwsSandbox, generation: str) -> None:
    async def scenario(it: Play) -> None:
        await it.until(lambda: it.name in {e[1] for e in it.world.stage.workloads.known})
        await it.until(lambda: gpu_nodes(it) and holds(gpu_nodes(it)[0], "Ready"), inside(it))
        (node,) = gpu_nodes(it)
        assert node["spec"]["taints"] == [TAINT]
        assert node["metadata"]["labels"]["example.com/team"] == "research"
        assert node["metadata"]["labels"]["kubernetes.io/arch"] == node["status"]["nodeInfo"]["architecture"] == "arm64"
        assert node["metadata"]["labels"]["node.kubernetes.io/instance-type"] == "g5g.2xlarge"
        assert node["status"]["capacity"]["cpu"] == "8"
        assert {"memory", "pods", "ephemeral-storage"} <= set(node["status"]["allocatable"])
        assert "nvidia.com/gpu" not in node["status"]["capacity"]
        info = node["status"]["nodeInfo"]
        assert (info["osImage"], info["containerRuntimeVersion"]) == ("Ubuntu 24.04 LTS", "containerd://2.1.3")
        assert info["kernelVersion"].endswith("-aws")
        (master,) = [one for one in it.nodes if one not in gpu_nodes(it)]
        assert master["metadata"]["labels"]["kubernetes.io/arch"] == "amd64"
        assert master["spec"]["taints"][0]["key"] == "node-role.kubernetes.io/control-plane"

    play(aws, f"node-{generation}", scenario, generation=generation, kind="g5g.2xlarge")


def test_taints_come_from_the_configuration_in_every_shape() -> None:
    worker: Obj = {"metadata": {}}
    master: Obj = {"metadata": {"labels": {"cluster.x-k8s.io/control-plane": ""}}}
    own = {"initConfiguration": {"nodeRegistration": {"taints": []}}}
    assert (taints(master, {})[0]["key"], taints(master, own)) == ("node-role.kubernetes.io/control-plane", [])
    flag = {"register-with-taints": "nvidia.com/gpu=present:NoSchedule"}
    for given in (flag, [{"name": name, "value": value} for name, value in flag.items()]):
        config = {"joinConfiguration": {"nodeRegistration": {"kubeletExtraArgs": given}}}
        assert kubelet_argument(config, "register-with-taints").startswith("nvidia.com")
        assert taints(worker, config) == [{**TAINT}]


def test_an_installed_cluster_grows_by_a_node_that_is_found_by_itself(aws: AwsSandbox) -> None:
    async def scenario(it: Play) -> None:
        await install_with_masters(it)
        await it.until(lambda: free(it) == ["1"], inside(it))
        assert list(it.world.describe()["clusters"]["default/grows"]["gpus"].values()) == [
            {"product": "Tesla-T4", "count": 1, "allocatable": 1}
        ]
        it.store.patch(DEPLOYMENTS, "grows-md-0", "default", {"spec": {"replicas": 2}})
        await it.until(lambda: free(it) == ["1", "1"], inside(it))
        names = [node["metadata"]["name"] for node in gpu_nodes(it)]
        for number, name in enumerate(names):
            body = job(f"probe-{number}", name, tolerations=[{"operator": "Exists"}])
            inside(it).apply(body, manager="tkgbot")
        await it.until(lambda: all(holds(one, "Complete") for one in inside(it).list("jobs.batch")), inside(it))
        assert {pod["spec"]["nodeName"] for pod in inside(it).list("pods", "default")} == set(names)
        it.store.patch(DEPLOYMENTS, "grows-md-0", "default", {"spec": {"replicas": 1}})
        await it.until(lambda: free(it) == ["1"], inside(it))
        known = {node["metadata"]["name"] for node in it.nodes}
        await it.until(lambda: all(pod["spec"]["nodeName"] in known for pod in inside(it).list("pods")), inside(it))

    play(aws, "grows", scenario)


async def install_with_masters(it: Play) -> None:
    """All nodes but one are GPU nodes, so that the operator runs on the control plane."""
    await it.available()
    for body in installation():
        if body["kind"] == "Deployment":
            body["spec"]["template"]["spec"]["tolerations"] = [{"operator": "Exists"}]
        if body["kind"] == "ClusterPolicy":
            await it.until(lambda: inside(it).registry.of_kind("nvidia.com/v1", "ClusterPolicy"), inside(it))
        inside(it).apply(body, manager="tkgbot")


def test_a_small_root_volume_of_the_machine_presses_the_node(aws: AwsSandbox) -> None:
    async def scenario(it: Play) -> None:
        await install_with_masters(it)
        await it.until(lambda: any(holds(node, "DiskPressure") for node in gpu_nodes(it)), inside(it))
        assert [at_root(entry) for entry in it.all(AWS_MACHINES)].count(30) == 1
        reasons = {pod["status"].get("reason") for pod in inside(it).list("pods", "gpu-operator")}
        assert "Evicted" in reasons

    play(aws, "small", scenario, root=30)


def at_root(entry: Obj) -> int:
    found: int = entry["spec"].get("rootVolume", {}).get("size", 0)
    return found


@pytest.mark.parametrize(
    ("faults", "code"),
    [({"quota": ["L-DB2E81BA=0"]}, "VcpuLimitExceeded"), ({"no_capacity": ["g4dn.*"]}, "Insufficient")],
)
def test_what_ec2_has_not_stands_at_the_gpu_machine_alone(aws: AwsSandbox, faults: Obj, code: str) -> None:
    aws.set_faults(faults)

    async def scenario(it: Play) -> None:
        def said() -> list[str]:
            found = [entry for entry in it.all(AWS_MACHINES) if entry["spec"]["instanceType"] == "g4dn.xlarge"]
            return [
                one["message"]
                for entry in found
                for one in entry.get("status", {}).get("conditions", [])
                if one["type"] == "InstanceReady" and one.get("reason") == "InstanceProvisionFailed"
            ]

        await it.until(lambda: any(code in text for text in said()))
        assert [entry["status"]["phase"] for entry in it.all(MACHINES)].count("Running") == 1

    play(aws, "lacking", scenario)


def test_a_workload_clusters_api_goes_and_comes_back(aws: AwsSandbox) -> None:
    async def scenario(it: Play) -> None:
        await it.available()
        held = it.get("secrets", f"{it.name}-kubeconfig")["data"]["value"]
        config = yaml.safe_load(base64.b64decode(held))
        server = config["clusters"][0]["cluster"]
        trusted = ssl.create_default_context(cadata=base64.b64decode(server["certificate-authority-data"]).decode())
        head = {"Authorization": f"Bearer {config['users'][0]['user']['token']}"}
        async with aiohttp.ClientSession(headers=head) as session:

            async def ask() -> int | str:
                try:
                    async with session.get(f"{server['server']}/api/v1/nodes", ssl=trusted) as answer:
                        return answer.status
                except aiohttp.ClientError as problem:
                    return type(problem).__name__

            assert await ask() == 200
            expected: dict[str, int | str] = {
                "credentials_rotated": 401,
                "certificate_changed": "ClientConnectorCertificateError",
                "workload_unreachable": "ServerDisconnectedError",
            }
            for switch, seen in expected.items():
                it.world.set_faults({switch: True})
                assert await ask() == seen
                it.world.set_faults({switch: False})
                assert await ask() == 200
        assert it.condition(CLUSTERS, "Available")[0] == "True"

    play(aws, "gone", scenario)


def test_logs_are_asked_for_by_container(aws: AwsSandbox) -> None:
    async def scenario(it: Play) -> None:
        it.world.set_faults({"slow_driver": True})
        await install_with_masters(it)

        def driver() -> list[Obj]:
            return [
                pod
                for pod in inside(it).list("pods", "gpu-operator", "app=nvidia-driver-daemonset")
                if "running" in pod["status"].get("containerStatuses", [{}])[0].get("state", {})
            ]

        await it.until(driver, inside(it))
        (pod,) = driver()
        (plugin,) = inside(it).list("pods", "gpu-operator", "app=nvidia-device-plugin-daemonset")
        kube = it.world.workload(it.name).kube
        trusted = ssl.create_default_context(cadata=kube.ca_pem)
        base = f"{kube.url}/api/v1/namespaces/gpu-operator/pods"
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {kube.token('admin')}"}) as session:

            async def ask(name: str, **query: Any) -> tuple[int, str]:
                async with session.get(f"{base}/{name}/log", params=query, ssl=trusted) as answer:
                    return answer.status, await answer.text()

            name = pod["metadata"]["name"]
            status, text = await ask(name, container="nvidia-driver-ctr", tailLines=1)
            assert (status, text) == (200, "Compiling NVIDIA driver kernel modules...\n")
            status, text = await ask(name, container="nobody")
            assert (status, f"container nobody is not valid for pod {name}" in text) == (400, True)
            status, text = await ask(plugin["metadata"]["name"], container="nvidia-device-plugin")
            assert (status, "is waiting to start: PodInitializing" in text) == (400, True)
            status, text = await ask(plugin["metadata"]["name"], container="toolkit-validation")
            assert (status, text.startswith("running toolkit-validation")) == (200, True)

    play(aws, "logs", scenario)
