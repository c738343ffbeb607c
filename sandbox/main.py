"""Runs the world: starts both parts, writes down how to reach them, and stays until it is told to end."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
from aiohttp import web

from sandbox.aws import AwsSandbox
from sandbox.kube.world import ClusterWorld
from sandbox.slack.server import ACK_SECONDS, SlackSandbox


def serve(
    directory: Path,
    port: int = 0,
    ready: Callable[[dict[str, str]], None] | None = None,
    ack_seconds: float | None = None,
) -> None:
    """Runs until SIGINT or SIGTERM. `directory`/env then holds KEY=VALUE lines for whoever wants to use the world.
    `ack_seconds`: how long Slack waits for an app to take what a person did; without it, as long as Slack does."""
    asyncio.run(_serve(directory, port, ready, ack_seconds or ACK_SECONDS))


async def _serve(
    directory: Path, port: int, ready: Callable[[dict[str, str]], None] | None, ack_seconds: float
) -> None:
    end = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, end.set)
    aws, slack = AwsSandbox(), SlackSandbox(ack_seconds=ack_seconds)
    await asyncio.to_thread(aws.start)
    clusters = ClusterWorld(
        aws,
        os.environ.get("SANDBOX_GENERATION", "current"),
        controllers=os.environ.get("SANDBOX_CONTROLLERS", "instance"),
    )
    await clusters.start()
    slack.add_routes(_aws_routes(aws) + _kube_routes(clusters))
    await slack.start(port=port)
    environment = {**slack.env(), **aws.env(), "KUBECONFIG": str((directory / "kubeconfig").resolve())}
    write_private(directory / "kubeconfig", clusters.kubeconfig("tkgbot"))
    write_private(directory / "kubeconfig.admin", clusters.kubeconfig("admin"))
    write_private(directory / "env", "".join(f"{key}={value}\n" for key, value in environment.items()))
    if ready is not None:
        ready(environment)
    await end.wait()
    await slack.stop()
    await clusters.stop()
    await asyncio.to_thread(aws.stop)


def write_private(path: Path, text: str) -> None:
    """Readable by its owner only, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.new")
    draft.touch(mode=0o600)
    draft.write_text(text)
    os.replace(draft, path)


def _aws_routes(aws: AwsSandbox) -> list[web.RouteDef]:
    async def describe(_request: web.Request) -> web.Response:
        return web.json_response(aws.describe())

    async def tags(request: web.Request) -> web.Response:
        found = await asyncio.to_thread(_tags, aws, request.query["account"], request.query["region"])
        return web.json_response({"subnets": found})

    async def calls(request: web.Request) -> web.Response:
        return web.json_response({"calls": aws.calls_since(int(request.query.get("since", "0"))), "held": aws.held})

    async def faults(request: web.Request) -> web.Response:
        if request.method == "POST":
            changes: dict[str, Any] = await request.json()
            try:
                if changes.pop("expire_sessions", False):
                    aws.expire_sessions()
                aws.set_faults(changes)
            except ValueError as error:
                return web.json_response({"ok": False, "error": str(error)}, status=400)
        return web.json_response({"ok": True, "faults": aws.get_faults()})

    async def trust(request: web.Request) -> web.Response:
        """A role's trust policy, as the account's administrator reads and writes it."""
        place = request.query["account"], request.query["role"]
        if request.method == "POST" and not aws.write_trust(*place, await request.text()):
            return web.json_response({"ok": False, "error": "no such role"}, status=404)
        return web.json_response({"ok": True, "document": aws.read_trust(*place)})

    return [
        web.get("/sandbox/aws", describe),
        web.get("/sandbox/aws/trust", trust),
        web.post("/sandbox/aws/trust", trust),
        web.get("/sandbox/aws/tags", tags),
        web.get("/sandbox/aws/calls", calls),
        web.get("/sandbox/aws/faults", faults),
        web.post("/sandbox/aws/faults", faults),
    ]


def _kube_routes(clusters: ClusterWorld) -> list[web.RouteDef]:
    async def describe(_request: web.Request) -> web.Response:
        return web.json_response(clusters.describe())

    async def calls(request: web.Request) -> web.Response:
        """Of the management cluster, or of the workload cluster that is named as `NAMESPACE/NAME`."""
        found = clusters.calls_of(request.query["cluster"]) if "cluster" in request.query else clusters.calls
        return web.json_response({"calls": found[int(request.query.get("since", "0")) :]})

    async def faults(request: web.Request) -> web.Response:
        if request.method == "POST":
            try:
                clusters.set_faults(await request.json())
            except ValueError as error:
                return web.json_response({"ok": False, "error": str(error)}, status=400)
        return web.json_response({"ok": True, "faults": clusters.get_faults()})

    return [
        web.get("/sandbox/kube", describe),
        web.get("/sandbox/kube/calls", calls),
        web.get("/sandbox/kube/faults", faults),
        web.post("/sandbox/kube/faults", faults),
    ]


def _tags(aws: AwsSandbox, account: str, region: str) -> dict[str, dict[str, str]]:
    """Every subnet's tags, as that account's administrator sees them in EC2."""
    keys = aws.describe()["accounts"][account]["admin"]
    ec2 = boto3.client(
        "ec2",
        endpoint_url=aws.url,
        region_name=region,
        aws_access_key_id=keys["access_key"],
        aws_secret_access_key=keys["secret_key"],
    )
    subnets = ec2.describe_subnets()["Subnets"]
    return {subnet["SubnetId"]: {tag["Key"]: tag["Value"] for tag in subnet.get("Tags", [])} for subnet in subnets}
