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
from sandbox.slack.server import SlackSandbox


def serve(directory: Path, port: int = 0, ready: Callable[[dict[str, str]], None] | None = None) -> None:
    """Runs until SIGINT or SIGTERM. `directory`/env then holds KEY=VALUE lines for whoever wants to use the world."""
    asyncio.run(_serve(directory, port, ready))


async def _serve(directory: Path, port: int, ready: Callable[[dict[str, str]], None] | None) -> None:
    end = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, end.set)
    aws, slack = AwsSandbox(), SlackSandbox()
    await asyncio.to_thread(aws.start)
    slack.add_routes(_aws_routes(aws))
    await slack.start(port=port)
    environment = {**slack.env(), **aws.env()}
    write_env(directory, environment)
    if ready is not None:
        ready(environment)
    await end.wait()
    await slack.stop()
    await asyncio.to_thread(aws.stop)


def write_env(directory: Path, environment: dict[str, str]) -> None:
    """Writes `directory`/env, readable by its owner only, whole or not at all."""
    directory.mkdir(parents=True, exist_ok=True)
    draft = directory / ".env.new"
    draft.touch(mode=0o600)
    draft.write_text("".join(f"{key}={value}\n" for key, value in environment.items()))
    os.replace(draft, directory / "env")


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

    return [
        web.get("/sandbox/aws", describe),
        web.get("/sandbox/aws/tags", tags),
        web.get("/sandbox/aws/calls", calls),
        web.get("/sandbox/aws/faults", faults),
        web.post("/sandbox/aws/faults", faults),
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
