"""The life of a cluster in a bot that is made to die: what is asked, and what must be there at its end.

`python -m tests.durability.clusterlife` is `tkgbot run` as `killable` makes it, which counts two more kinds of moments:
`kube`, the calls that change something on a Kubernetes API, and `poll`, the looks at what is waited for.
"""

from __future__ import annotations

import functools
import json
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bot.engine
import handlers.clients.kube
from bot.__main__ import main
from bot.asking import LATE
from bot.tour import words
from handlers.steps.apply import CONFIG, holds
from handlers.steps.await_access import AwaitAccessExecutor, AwaitStackExecutor
from handlers.steps.await_cluster import AwaitClusterExecutor
from handlers.steps.delete_cluster import DeleteClusterExecutor
from tests.durability.keeper import Keeper, plain
from tests.durability.killable import Moments, hurry, look_at_deliveries, watch_calls, watch_commits
from tests.scenario.clusters import CLUSTERS, PARTS, Administrator, amazon
from tests.world import APPROVER, DEV, Json, World, eventually

COMMAND = ("-m", "tests.durability.clusterlife")
BOT = "UTKGBOT001"
GONE = ("succeeded", "failed", "cancelled", "abandoned", "blocked", "nothing_to_do", "expired")
ENDS = (*GONE, "parked")
PACE = 0.1
"""The controllers of the management cluster work ten times as fast as they do for people."""
NAP = 6
"""How many times shorter the bot's durable sleeps are."""
FORM_WITHIN = 15.0
WITHIN = 90.0
"""Seconds for each part of a life, the restart after a death included."""


# -- the process that dies ---------------------------------------------------------------------------------------


def watch_changes(moments: Moments) -> None:
    """Counts the calls that change something on a Kubernetes API."""
    send = handlers.clients.kube.Connection.send

    @functools.wraps(send)
    def counted(connection: Any, method: str, path: str, doing: str, **options: Any) -> Any:
        changes = method in ("PATCH", "DELETE") and "dryRun" not in (options.get("query") or {})
        if not changes:
            return send(connection, method, path, doing, **options)
        label = f"{method} {path.split('/')[-2]}"
        numbers = moments.before("kube", label)
        try:
            return send(connection, method, path, doing, **options)
        finally:
            moments.after("kube", numbers, label)

    handlers.clients.kube.Connection.send = counted  # type: ignore[method-assign,assignment]


def watch_looks(moments: Moments, executor: type[Any]) -> None:
    """Counts each look of a step that waits."""
    observe = executor.observe

    @functools.wraps(observe)
    def polled(self: Any, step: Any, world: Any) -> Any:
        label = f"poll {getattr(step, 'stage', step.kind)}"
        numbers = moments.before("poll", label)
        try:
            return observe(self, step, world)
        finally:
            moments.after("poll", numbers, label)

    executor.observe = polled


def nap() -> None:
    """Shortens the durable sleeps: a cluster of the sandbox comes up in a second."""
    sleep = bot.engine._DbosDurable.sleep

    def shorter(self: Any, seconds: float) -> None:
        sleep(self, seconds / NAP)

    bot.engine._DbosDurable.sleep = shorter  # type: ignore[method-assign]


# -- what people do ----------------------------------------------------------------------------------------------


def asked(keeper: Keeper, text: str, title: str) -> Json:
    """Types a command; its card, when it waits for an approval."""
    view, since = keeper.world.view, keeper.world.now()
    keeper.until_acknowledged(lambda: view.command(DEV, text))
    return dict(view.wait(DEV, f"Approval needed: {title}", since=since, timeout=WITHIN))


def click(keeper: Keeper, card: Json, action: str, user: str = APPROVER) -> None:
    """Clicks a button until Slack does not show an error."""
    keeper.until_acknowledged(lambda: keeper.world.view.click(user, card["ts"], f"tkg:{action}"))


def state_of(keeper: Keeper, card: Json) -> str:
    """The state of the request that a card belongs to."""
    rows = keeper.rows(
        "SELECT state FROM requests WHERE id = (SELECT request FROM outbox WHERE ts = :ts)", ts=card["ts"]
    )
    return str(rows[0][0]) if rows else ""


def until_ended(keeper: Keeper, card: Json, states: Sequence[str] = ENDS) -> str:
    """Waits until its request is in one of the states, and everything that it has to say was said; in which."""
    eventually(lambda: state_of(keeper, card) in states, WITHIN)
    eventually(keeper.quiet, WITHIN)
    return state_of(keeper, card)


def create(keeper: Keeper, name: str) -> Json:
    """Asks for a cluster; its card."""
    vpc = keeper.world.vpcs["demo"]["id"]
    return asked(keeper, f"cluster create {name} --plan dev --vpc {vpc}", f"create dev cluster {name}")


def type_again(keeper: Keeper, name: str, act: Callable[[], Any]) -> None:
    """Does what opens a form, and types the name into it. A bot that dies in between opens none, or is there again too
    late to open it and says so: then it is done once more, as a person would."""
    view = keeper.world.view
    before = {shown["id"] for shown in view.views(DEV)}

    def lates() -> int:
        return sum(LATE in words(message) for message in view.messages(DEV))

    def fresh() -> list[Json]:
        found = [shown for shown in view.views(DEV) if shown["id"] not in before]
        return [shown for shown in found if "One moment" not in words(shown)]

    for patience in (FORM_WITHIN, FORM_WITHIN, WITHIN):
        known = lates()
        act()
        try:
            eventually(lambda known=known: bool(fresh()) or lates() > known, patience)
        except AssertionError:
            continue
        if fresh():
            break
    form = fresh()[-1]
    keeper.until_acknowledged(lambda: view.submit(DEV, form, typed_again=name))


def undo(keeper: Keeper, card: Json, name: str) -> Json:
    """Asks for the undo of a cluster's making by the button, and types its name; the new request's card."""
    view, since = keeper.world.view, keeper.world.now()
    type_again(keeper, name, lambda: click(keeper, card, "undo", DEV))
    return dict(view.wait(DEV, f"Approval needed: delete cluster {name}", since=since, timeout=WITHIN))


# -- what is there at the end ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Left:
    """What one request left behind with people and in the bot's database. Compared with that of an undisturbed one."""

    state: str
    card: str
    thread: list[str]
    events: list[str]
    steps_again: list[int]
    """Steps that had ended and were begun once more."""
    leases: int
    unsent: int
    others: list[str]
    """More cards that speak of the same."""
    whispers: list[str]


@dataclass(frozen=True)
class Seen(Left):
    """And what it left in the world, as its administrators see it."""

    objects: dict[str, str]
    """The objects that the bot makes, with how they stand to the plan that was approved."""
    changes: dict[str, int]
    """How often each call of the bot changed something, with its status."""
    machines: list[str]
    balancers: int
    tagged: int


@dataclass(frozen=True)
class Before:
    """How far the world's records went when a life began."""

    now: str
    aws: int
    kube: int

    @classmethod
    def of(cls, world: World) -> Before:
        return cls(world.now(), len(world.view.aws_calls()), len(world.view.kube_changes()))


def left(keeper: Keeper, name: str, card: Json, before: Before) -> dict[str, Any]:
    """The fields of `Left` for a request; `name` stands in what is told of it."""
    world = keeper.world
    cards = [m for m in world.view.messages(DEV) if m["user"] == BOT and not m["ephemeral"] and m["ts"] >= before.now]
    both = [message for user in (DEV, APPROVER) for message in world.view.messages(user)]
    events = _events(keeper, card)
    return {
        "state": state_of(keeper, card),
        "card": told(world.card(card), name),
        "thread": [told(message, name) for message in world.thread(card)],
        "events": [event for event, _ in events if event != "step.again"],  # only a life after a death says so
        "steps_again": _again(events),
        "leases": int(keeper.rows("SELECT count(*) FROM leases")[0][0]),
        "unsent": int(keeper.rows("SELECT count(*) FROM outbox WHERE sent < wanted")[0][0]),
        "others": [told(m, name) for m in cards if m["ts"] != card["ts"] and name in words(m)],
        "whispers": [told(m, name) for m in both if m["ephemeral"] and m["user"] == BOT and m["ts"] > before.now],
    }


def look(keeper: Keeper, name: str, card: Json, before: Before) -> Seen:
    """Everything that is to be seen of a request and of its cluster."""
    world = keeper.world
    return Seen(
        **left(keeper, name, card, before),
        objects=_objects(keeper, name, card),
        changes=changes_of(world, name, before),
        machines=machines_of(world, name),
        balancers=sum(name in entry["LoadBalancerName"] for entry in _balancers(world)),
        tagged=len(world.tagged(name)),
    )


def told(message: Json, name: str) -> str:
    """A message without what differs from life to life."""
    return without_names(plain(message, name), name)


def without_names(text: str, name: str) -> str:
    """A text without what differs from life to life. What a step waits for may have come while the bot was dead: then
    it is so already when it is looked at."""
    text = text.replace(name, "CLUSTER")
    for pattern, word in (
        (r"Already so: wait", "Done: wait"),
        (r"(wait until [^()]*)\(already so\)", r"\1(TIME)"),
        (r"CLUSTER-[\w-]+", "PART"),
        (r"\bip-[\d-]+[\w.-]*", "NODE"),
        (r"[\w.-]+\.elb\.[\w.-]*amazonaws\.com(:\d+)?", "BALANCER"),
        (r"\b[0-9a-f]{8}-[0-9a-f-]{27}\b", "UID"),
        (r"\btkgbot-[0-9a-f]{32}\b", "EXTERNAL"),
        (r"\b20\d\d-\d\d-\d\d(T[\d:]+Z| \d\d:\d\d UTC \(in [^)]*\))", "END"),
    ):
        text = re.sub(pattern, word, text)
    return text


def _events(keeper: Keeper, card: Json) -> list[tuple[str, Any]]:
    query = "SELECT event, data FROM audit WHERE request = (SELECT request FROM outbox WHERE ts = :ts) ORDER BY seq"
    return [(str(event), data) for event, data in keeper.rows(query, ts=card["ts"])]


def _again(events: Sequence[tuple[str, Any]]) -> list[int]:
    """Once a run, however often the bot died while it looked at a step again."""
    ended: set[int] = set()
    found: list[tuple[int, int]] = []
    for event, data in events:
        position, run = (re.search(rf"[\"']{name}[\"']: ?(\d+)", str(data)) for name in ("position", "run_no"))
        if event.startswith("step.") and position and run:
            number, again = int(position[1]), (int(run[1]), int(position[1]))
            found += [again] if number in ended and again not in found else []
            ended |= {number} if event == "step.ended" else set()
    return [number for _run, number in found]


def _objects(keeper: Keeper, name: str, card: Json) -> dict[str, str]:
    """Each object of the cluster that the bot made, by its kind and name, and whether it is as it was approved."""
    admin = Administrator(keeper.world)
    planned = {(item["kind"], item["metadata"]["name"]): item for item in planned_objects(keeper, card)}
    there = {
        (item.get("kind") or "", item["metadata"]["name"]): item
        for kind in (CLUSTERS, *PARTS)
        for item in admin.list(kind)
        if CONFIG in (item["metadata"].get("annotations") or {})
    }
    mine = [key for key in there if key[1] == name or key[1].startswith(f"{name}-")]
    return {
        f"{kind} {called.replace(name, 'CLUSTER')}": compared(planned.get((kind, called)), there.get((kind, called)))
        for kind, called in sorted({*mine, *planned})
    }


def compared(planned: Json | None, there: Json | None) -> str:
    """How an object stands to the plan that was approved."""
    if planned is None or there is None:
        return "was not in the plan" if planned is None else "is not there"
    if planned["metadata"]["annotations"][CONFIG] != there["metadata"]["annotations"][CONFIG]:
        return "has another digest"
    return "as approved" if holds(planned, there) else "has the digest and other contents"


def planned_objects(keeper: Keeper, card: Json) -> list[Json]:
    """The objects that the request's plan applies."""
    query = "SELECT plan FROM requests WHERE id = (SELECT request FROM outbox WHERE ts = :ts)"
    (found,) = keeper.rows(query, ts=card["ts"])
    plan = json.loads(found[0]) if isinstance(found[0], str) else found[0]
    return [item for step in plan["steps"] if step["kind"] == "apply" for item in step["objects"]]


def changes_of(world: World, name: str, before: Before) -> dict[str, int]:
    """How often each call of the bot changed something since then; one that was refused says with what. A request that
    broke off when the bot died asks for nothing."""
    calls = [call for call in world.view.aws_calls()[before.aws :] if "slack-" in (call["session"] or "")]
    asked_for = [call for call in calls if call["action"].partition(":")[2]]
    changing = [call for call in asked_for if call["mutating"] and call["service"] != "sts"]
    kube = world.view.kube_changes()[before.kube :]
    in_aws = [
        call["action"] + (f": {call['outcome']}" if call["outcome"] != "ok" else "")
        for call in changing
        if call["action"] != "iam:SimulatePrincipalPolicy"
    ]
    in_kube = [f"{call['verb']} {call['resource']} {call['name']}: {call['status']}" for call in kube]
    return dict(Counter([*in_aws, *(text.replace(name, "CLUSTER") for text in in_kube)]))


def machines_of(world: World, name: str) -> list[str]:
    """The types of the cluster's machines in EC2 that run or are about to."""
    key = f"kubernetes.io/cluster/{name}"
    wanted = [
        {"Name": "instance-state-name", "Values": ["pending", "running"]},
        {"Name": "tag-key", "Values": [key]},
    ]
    found = client(world, "ec2").describe_instances(Filters=wanted)["Reservations"]
    return sorted(entry["InstanceType"] for reservation in found for entry in reservation["Instances"])


def _balancers(world: World) -> list[Json]:
    return [
        *client(world, "elb").describe_load_balancers()["LoadBalancerDescriptions"],
        *client(world, "elbv2").describe_load_balancers()["LoadBalancers"],
    ]


@functools.cache
def client(world: World, service: str) -> Any:
    """One client a world and service: making one costs more than its call."""
    return amazon(world, service)


# -- putting the world back --------------------------------------------------------------------------------------


def vanish(world: World, name: str) -> None:
    """The administrator takes the cluster away, with its templates and tags."""
    admin = Administrator(world)
    admin.delete(CLUSTERS, name, "default")
    eventually(lambda: admin.get(CLUSTERS, name, "default") is None, WITHIN)
    for kind in PARTS:
        for item in admin.list(kind, "default"):
            if item["metadata"]["name"].startswith(f"{name}-"):
                admin.delete(kind, item["metadata"]["name"], "default")
    tagged = sorted(world.tagged(name))
    if tagged:
        client(world, "ec2").delete_tags(Resources=tagged, Tags=[{"Key": f"kubernetes.io/cluster/{name}"}])


if __name__ == "__main__":
    counting = Moments(Path(os.environ["KILLABLE_ORDERS"]))
    watch_commits(counting)
    watch_calls(counting)
    watch_changes(counting)
    for waiting in (AwaitClusterExecutor, DeleteClusterExecutor, AwaitStackExecutor, AwaitAccessExecutor):
        watch_looks(counting, waiting)
    look_at_deliveries(counting)
    hurry(os.environ)
    nap()
    sys.argv = ["tkgbot", "run"]
    main()
