"""`make bench`: time to ack a slash command after its durable commit, beside a bare Bolt app that only acks;
start to first ack; memory. Prints figures and judges nothing."""

from __future__ import annotations

import asyncio
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import boto3

from sandbox.aws import AwsSandbox
from tests.bench.slack import SIGNING_SECRET, Gauge
from tests.world import SETTINGS, http_status

LOADS = ((1, 200), (10, 600), (50, 1500), (200, 4000))
RUNS = 100


async def bench() -> None:
    aws = AwsSandbox()
    await asyncio.to_thread(aws.start)
    gauge = Gauge()
    await gauge.start()
    with tempfile.TemporaryDirectory(prefix="tkgbot-bench-") as name:
        folder = Path(name)
        settings = "".join(line for line in SETTINGS.splitlines(keepends=True) if "timeout" not in line)
        (folder / "tkgbot.yaml").write_text(settings)  # the patience of the defaults, not that of the tests
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("AWS_")},
            **aws.env(),
            "SLACK_BOT_TOKEN": "xoxb-bench",
            "SLACK_APP_TOKEN": "xapp-bench",
            "SLACK_API_URL": f"{gauge.url}/api/",
            "TKGBOT_CONFIG": str(folder / "tkgbot.yaml"),
            "TKGBOT_DATA": str(folder / "data"),
        }
        print("                          in flight   p50 ms   p99 ms   max ms   commands/s")
        bare = await start(gauge, ["-m", "tests.bench.bare"], environment, folder / "bare.log")
        await table(gauge, "bare Bolt app, no commit", bare, drains=False)
        await end(gauge, bare)
        await start_time(gauge, environment, folder)
        bot = await start(gauge, ["-m", "bot", "run"], environment, folder / "run.log")
        await table(gauge, "tkgbot, idle", bot)
        begun = await start_runs(gauge, aws)
        await table(gauge, f"tkgbot, {begun} runs in progress", bot)
        aws.set_faults({"hold": []})
        await end(gauge, bot)
        await over_http(gauge, environment, folder)
    await gauge.stop()
    aws.stop()


async def over_http(gauge: Gauge, environment: dict[str, str], folder: Path) -> None:
    """The same figures where Slack's requests come over HTTP."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    own = {**environment, "TKGBOT_DATA": str(folder / "http"), "SLACK_SIGNING_SECRET": SIGNING_SECRET}
    log = folder / "http.log"
    with log.open("wb") as output:
        words = [sys.executable, "-m", "bot", "run", "--http", address]
        bot = subprocess.Popen(words, env=own, stdout=output, stderr=output)
    deadline = time.monotonic() + 30
    while await asyncio.to_thread(http_status, f"http://{address}/readyz") != 200:
        if bot.poll() is not None or time.monotonic() > deadline:
            sys.exit(log.read_text())
        await asyncio.sleep(0.1)
    gauge.request_url = f"http://{address}/slack/events"
    await table(gauge, "tkgbot over HTTP, idle", bot)
    bot.terminate()
    await asyncio.to_thread(bot.wait, 30)


async def start(gauge: Gauge, words: list[str], environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, *words], env=environment, stdout=output, stderr=output)
    try:
        await asyncio.wait_for(gauge.connected.wait(), 30)
    except TimeoutError:
        sys.exit(log.read_text())
    return process


async def end(gauge: Gauge, process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        await asyncio.to_thread(process.wait, 15)
    except subprocess.TimeoutExpired:
        process.kill()
    while gauge.connected.is_set():
        await asyncio.sleep(0.02)


async def start_time(gauge: Gauge, environment: dict[str, str], folder: Path) -> None:
    seconds: list[float] = []
    for number in range(5):
        own = {**environment, "TKGBOT_DATA": str(folder / "start")}
        began = time.perf_counter()
        process = await start(gauge, ["-m", "bot", "run"], own, folder / "start.log")
        await gauge.command("help")
        if number:  # the first start makes the schema
            seconds.append(time.perf_counter() - began)
        else:
            print(f"tkgbot, first start ever to first ack: {time.perf_counter() - began:.2f} s")
        await end(gauge, process)
    print(f"tkgbot, start to first ack: {statistics.median(seconds):.2f} s (median of {len(seconds)})")


async def start_runs(gauge: Gauge, aws: AwsSandbox) -> int:
    """Runs that stand in the middle of their step, each in a VPC of its own; how many stand there."""
    await gauge.drained()
    subnets = await asyncio.to_thread(make_vpcs, aws, RUNS)
    aws.set_faults({"hold": ["ec2:CreateTags"]})
    gauge.approve = True
    for number, subnet in enumerate(subnets):
        await gauge.command(f"subnet tag bench-{number} {subnet}")
    deadline = time.monotonic() + 45
    while aws.held < RUNS and time.monotonic() < deadline:
        await asyncio.sleep(0.1)
    gauge.approve = False
    return aws.held


def make_vpcs(aws: AwsSandbox, count: int) -> list[str]:
    world = aws.describe()
    keys = world["accounts"]["111122223333"]["admin"]
    ec2: Any = boto3.client(
        "ec2", endpoint_url=aws.url, region_name="us-east-1",
        aws_access_key_id=keys["access_key"], aws_secret_access_key=keys["secret_key"],
    )  # fmt: skip
    made: list[str] = []
    for number in range(count):
        vpc = ec2.create_vpc(CidrBlock=f"10.{number}.0.0/16")["Vpc"]["VpcId"]
        gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
        ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
        subnet = ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.{number}.0.0/24")["Subnet"]["SubnetId"]
        table_id = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
        ec2.create_route(RouteTableId=table_id, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
        ec2.associate_route_table(RouteTableId=table_id, SubnetId=subnet)
        made.append(subnet)
    return made


async def table(gauge: Gauge, name: str, process: subprocess.Popen[bytes], *, drains: bool = True) -> None:
    gauge.commands = gauge.answered = 0
    await gauge.load("help", 5, 50)  # threads and caches are warm
    for in_flight, count in LOADS:
        if drains:
            await gauge.drained()
        times, rate = await gauge.load("help", in_flight, count)
        cut = statistics.quantiles(times, n=100)
        print(
            f"{name:32} {in_flight:4} {cut[49] * 1e3:8.1f} {cut[98] * 1e3:8.1f} {max(times) * 1e3:8.1f} {rate:10.0f}",
            flush=True,
        )
    print(f"{name:32} resident memory {resident(process.pid)} MiB", flush=True)


def resident(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) // 1024 for line in status.splitlines() if line.startswith("VmRSS"))


if __name__ == "__main__":
    asyncio.run(bench())
