"""GPUs in scenario tests: a cluster that has one, the hands of its own administrator, and putting it back."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

from bot.tour import words
from tests.scenario.clusters import SWIFT, Administrator, approve, ask, create, done, end_requests
from tests.scenario.conftest import request_id
from tests.world import DEV, Json, World, eventually, running_world

QUICK = SWIFT.replace(
    "main([",
    "import handlers.gpu.diagnosis, handlers.steps.gpu_test\n"
    "handlers.gpu.diagnosis.YOUNG = 1\n"
    "handlers.steps.gpu_test.GRACE = 1\n"
    "main([",
)
"""As SWIFT; discovery and the pull of an image are given a second, too."""
CLUSTER, GPU = "vision", "nvidia.com/gpu"
PACE = 0.05
SETTINGS = ("driver_patience: 60", "driver_patience: 30, test_timeout: 6")
"""A driver may compile for 30 s, of which the bot waits the sixth part; a test may take 6 s."""
POLICIES, JOBS = "clusterpolicies.nvidia.com", "jobs.batch"


class Owner(Administrator):
    """The workload cluster in the hands of its owner, by the kubeconfig that the management cluster has of it."""

    def __init__(self, world: World, name: str = CLUSTER) -> None:
        super().__init__(world)
        secret = Administrator(world).get("secrets", f"{name}-kubeconfig", "default")
        assert secret is not None, f"no kubeconfig of {name}"
        self._file = world.folder / f"kubeconfig.{name}"
        self._file.write_bytes(base64.b64decode(secret["data"]["value"]))


@contextmanager
def gpu_world(database: str = "", *, operator: bool = True) -> Iterator[World]:
    """A world with one cluster that has a GPU machine, and the operator in it if so wished; on SQLite, or on the
    PostgreSQL database that is named."""
    with running_world() as world:
        if database:
            world.on_postgres(database)
        world.settings.write_text(world.settings.read_text().replace(*SETTINGS))
        world.start_bot(("-c", QUICK))
        world.kube_faults(pace=PACE)
        made(world)
        if operator:
            installed(world)
        yield world


def made(world: World, *more: str) -> Json:
    """Makes the cluster, with one GPU machine; its card."""
    card = create(world, CLUSTER, "--gpu", "g4dn.xlarge", *more)
    approve(world, card)
    done(world, card)
    return card


def installed(world: World, *more: str) -> Json:
    """Installs the operator; its card."""
    card = ask(world, " ".join(["gpu install", CLUSTER, *more]))
    approve(world, card)
    done(world, card)
    return card


def gpus(world: World) -> list[int]:
    """GPUs that pods can ask for, on each GPU machine, as the sandbox sees them."""
    return [int(facts["allocatable"]) for facts in world.view.clusters()[f"default/{CLUSTER}"]["gpus"].values()]


def restore(world: World, nodes: int = 1) -> None:
    """Every fault off, no request that waits; where the operator is, each GPU of `nodes` machines can be used."""
    world.calm()
    world.kube_faults(pace=PACE)
    end_requests(world)
    owner = Owner(world)
    if owner.get("namespaces", "gpu-operator") is not None:
        eventually(lambda: gpus(world) == [1] * nodes)
        eventually(lambda: all(item["status"]["state"] == "ready" for item in owner.list(POLICIES)))


def status(world: World, contains: str, last: str = "Pods of the GPU operator") -> str:
    """What `gpu status` answers, in all its messages up to `last`, to the one who asked alone."""
    since = world.now()
    assert world.view.command(DEV, f"gpu status {CLUSTER}").get("acked")
    found = world.view.wait(DEV, contains, since=since)
    assert found["ephemeral"]
    world.view.wait(DEV, last or contains, since=since)
    every = [message for message in world.view.messages(DEV) if message["ts"] >= found["ts"] and message["ephemeral"]]
    return " ".join(" ".join(words(message) for message in every).split())


def jobs(world: World, card: Json) -> list[str]:
    """The Jobs of a card's test that are left in the cluster."""
    names = (item["metadata"]["name"] for item in Owner(world).list(JOBS))
    return [name for name in names if request_id(card) in name]


def rows(message: Json) -> list[list[str]]:
    """A message's table, cell by cell, with its header."""
    tables = [block for block in message["blocks"] if block["type"] == "table"]
    return [[words({"blocks": [cell]}) for cell in row] for row in tables[0]["rows"]] if tables else []


def verdicts(world: World, card: Json) -> list[dict[str, str]]:
    """The result's table in the thread, a row a node by the names of its columns; it is there once."""
    found = [rows(message) for message in world.thread(card) if "VERDICT" in words(message)]
    assert len(found) == 1, [words(message) for message in world.thread(card)]
    head, *nodes = found[0]
    return [dict(zip(head, node, strict=True)) for node in nodes]


def files(world: World, card: Json, ending: str) -> list[Json]:
    """The thread's files by how their name ends."""
    every = [file for message in world.thread(card) for file in message.get("files", [])]
    return [file for file in every if file["name"].endswith(ending)]


def picture(world: World, card: Json) -> Json:
    """The one picture in the thread: it decodes, is large enough to be read, and is more than one colour."""
    (file,) = files(world, card, ".png")
    image = Image.open(io.BytesIO(world.view.file(DEV, file)))
    image.load()
    assert image.format == "PNG"
    assert min(image.size) >= 200, image.size
    assert len(image.convert("RGB").getcolors(1 << 24) or []) > 3
    return file
