"""Clusters in scenario tests: asking for them, the hands of both administrators, and putting the world back."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Callable
from functools import cached_property
from typing import Any

import boto3
import urllib3
import yaml

from bot.tour import ClaimFailed, buttons, words
from tests.world import APPROVER, DEV, MANAGEMENT, PATIENCE, Json, World, eventually

SWIFT = """
from functools import partial
import bot.app, bot.engine, handlers.clients.kube, handlers.cluster_verify
from bot.__main__ import main
from bot.work import Patience
sleep = bot.engine._DbosDurable.sleep
bot.engine._DbosDurable.sleep = lambda self, seconds: sleep(self, seconds / 6)
bot.app.Patience = partial(Patience, planning=4, step=4, settling=4, verifying=4)
handlers.clients.kube.DISCOVERED_FOR = 0
handlers.cluster_verify.PATIENCE = 4
main(["run"])
"""
"""`tkgbot run` that gives up within seconds what it would wait for during minutes, and discovers anew each time."""
CLUSTERS = "clusters.cluster.x-k8s.io"
IDENTITIES = "awsclustercontrolleridentities.infrastructure.cluster.x-k8s.io"
SETS = "clusterresourcesets.addons.cluster.x-k8s.io"
DEFINITIONS = "customresourcedefinitions.apiextensions.k8s.io"
PARTS = (
    "machinedeployments.cluster.x-k8s.io",
    "machinehealthchecks.cluster.x-k8s.io",
    "kubeadmcontrolplanes.controlplane.cluster.x-k8s.io",
    "awsmachinetemplates.infrastructure.cluster.x-k8s.io",
    "kubeadmconfigtemplates.bootstrap.cluster.x-k8s.io",
    "awsclusters.infrastructure.cluster.x-k8s.io",
)
"""What the bot makes beside the Cluster object."""
KINDS = {IDENTITIES: "AWSClusterControllerIdentity", SETS: "ClusterResourceSet"}
"""Of what is listed and made anew: the elements of a list do not say their kind."""
MARK = "kubernetes.io/cluster/"
DELETED_WITHIN = 40.0
SHOWN_WITHIN = 20.0


class Administrator:
    """The management cluster in the hands of its administrator. Resources are named `PLURAL.GROUP`."""

    def __init__(self, world: World) -> None:
        self._file = world.folder / "kubeconfig.admin"

    @cached_property
    def _way(self) -> tuple[urllib3.PoolManager, str, dict[str, str]]:
        found = yaml.safe_load(self._file.read_text())
        cluster, token = found["clusters"][0]["cluster"], found["users"][0]["user"]["token"]
        pem = base64.b64decode(cluster["certificate-authority-data"]).decode()
        context = ssl.create_default_context(cadata=pem)
        return urllib3.PoolManager(ssl_context=context), cluster["server"], {"Authorization": f"Bearer {token}"}

    def ask(self, method: str, path: str, body: Any = None, content: str = "application/json") -> tuple[int, Json]:
        """One request; its status and what was answered, nothing for plain text."""
        pool, server, headers = self._way
        answer = pool.request(
            method, f"{server}{path}", json=body, headers={**headers, "Content-Type": content}, timeout=20.0
        )
        is_json = "json" in answer.headers.get("Content-Type", "")
        return answer.status, dict(answer.json()) if is_json else {}

    def path(self, resource: str, namespace: str = "", name: str = "") -> str:
        """Where a resource is, in the version that the server prefers."""
        plural, _, group = resource.partition(".")
        _, served = self.ask("GET", f"/apis/{group}") if group else (200, {})
        root = f"/apis/{group}/{served['preferredVersion']['version']}" if group else "/api/v1"
        space = f"/namespaces/{namespace}" if namespace else ""
        return f"{root}{space}/{plural}{f'/{name}' if name else ''}"

    def list(self, resource: str, namespace: str = "") -> list[Json]:
        """All of a kind."""
        _, found = self.ask("GET", self.path(resource, namespace))
        return list(found["items"])

    def get(self, resource: str, name: str, namespace: str = "") -> Json | None:
        """One, or None."""
        status, found = self.ask("GET", self.path(resource, namespace, name))
        return found if status == 200 else None

    def make(self, resource: str, item: Json, namespace: str = "") -> Json:
        """Makes one, without what the server had added to an earlier one."""
        meta = {key: item["metadata"][key] for key in ("name", "labels", "annotations") if key in item["metadata"]}
        body = {key: value for key, value in item.items() if key != "status"} | {"metadata": meta}
        body.setdefault("kind", KINDS.get(resource))
        body.setdefault("apiVersion", self.path(resource).removeprefix("/apis/").rpartition("/")[0])
        status, made = self.ask("POST", self.path(resource, namespace), body)
        assert status == 201, made
        return made

    def patch(self, resource: str, name: str, changes: Json, namespace: str = "") -> None:
        """A merge patch."""
        path = self.path(resource, namespace, name)
        status, answer = self.ask("PATCH", path, changes, "application/merge-patch+json")
        assert status == 200, answer

    def delete(self, resource: str, name: str, namespace: str = "") -> None:
        """Asks one to go; one that is gone already is as good."""
        status, answer = self.ask("DELETE", self.path(resource, namespace, name))
        assert status in (200, 202, 404), answer


def amazon(world: World, service: str, region: str = "us-east-1") -> Any:
    """A service of the management account in the hands of its administrator."""
    env = dict(line.split("=", 1) for line in (world.folder / "env").read_text().splitlines())
    keys = world.view.aws()["accounts"][MANAGEMENT]["admin"]
    return boto3.client(
        service, endpoint_url=env["AWS_ENDPOINT_URL"], region_name=region,
        aws_access_key_id=keys["access_key"], aws_secret_access_key=keys["secret_key"],
    )  # fmt: skip


# -- asking ------------------------------------------------------------------------------------------------------


def ask(world: World, text: str, state: str = "Approval needed", user: str = DEV) -> Json:
    """Types a command; the card of it, as soon as it shows `state`."""
    since = world.now()
    answer = world.view.command(user, text)
    assert answer.get("acked"), answer
    try:
        found: Json = world.view.wait(user, state, since=since, timeout=SHOWN_WITHIN)
    except ClaimFailed as error:
        seen = [words(message) for message in world.view.messages(user) if message["ts"] > since]
        raise AssertionError(f"no “{state}” but {seen}") from error
    return found


def create(
    world: World, name: str, *more: str, plan: str = "dev", vpc: str = "demo", state: str = "Approval needed"
) -> Json:
    """Asks for a cluster; its card."""
    text = " ".join(["cluster create", name, "--plan", plan, "--vpc", world.vpcs[vpc]["id"], *more])
    return ask(world, text, f"{state}: create {plan} cluster {name}")


def delete(world: World, name: str, *more: str, state: str = "Approval needed") -> Json:
    """Asks for a cluster's deletion, with its name typed again in the form; its card."""
    since = world.now()
    text = " ".join(["cluster delete", name, *more])
    typed_again(world, name, lambda: world.view.command(DEV, text))
    found: Json = world.view.wait(DEV, f"{state}: delete cluster {name}", since=since, timeout=SHOWN_WITHIN)
    return found


def undo_by_deleting(world: World, card: Json, name: str) -> Json:
    """Asks for the undo of a cluster's making, with its name typed again in the form; the new request's card."""
    since = world.now()
    typed_again(world, name, lambda: world.view.click(DEV, card["ts"], "tkg:undo"))
    found: Json = world.view.wait(DEV, f"Approval needed: delete cluster {name}", since=since, timeout=SHOWN_WITHIN)
    return found


def typed_again(world: World, name: str, act: Callable[[], Any], user: str = DEV) -> None:
    """Does what opens a form, and types the name into it."""
    before = {shown["id"] for shown in world.view.views(user)}
    forms: list[Json] = []

    def is_open() -> bool:
        forms[:] = [shown for shown in world.view.views(user) if shown["id"] not in before]
        return bool(forms) and "One moment" not in words(forms[-1])

    act()
    eventually(is_open, SHOWN_WITHIN)
    answer = world.view.submit(user, forms[-1], typed_again=name)
    assert answer.get("acked"), answer
    assert (answer.get("response") or {}).get("response_action") != "errors", answer


def approve(world: World, card: Json) -> None:
    """Somebody who may approves what the card shows."""
    world.view.click(APPROVER, card["ts"], "tkg:approve")


def wait_for(world: World, card: Json, *texts: str, seconds: float = PATIENCE) -> Json:
    """The card, as soon as it shows every text."""

    def now() -> str:
        return words(world.card(card))

    try:
        eventually(lambda: all(text in now() for text in texts), seconds)
    except AssertionError as error:
        told = "\n".join(words(line) for line in world.thread(card))
        raise AssertionError(f"not {texts} but {now()}\n{told}") from error
    return world.card(card)


def done(world: World, card: Json) -> str:
    """Waits until the card says that it is done; the whole thread."""
    wait_for(world, card, "🟢 Done")
    world.view.wait(DEV, "Done and proven", thread=card["ts"], since=card["ts"])
    return thread(world, card)


def parked(world: World, card: Json) -> str:
    """Waits until the run has stopped for a person to look; the whole thread."""
    wait_for(world, card, "Needs a person")
    world.view.wait(DEV, "Somebody has to look", thread=card["ts"], since=card["ts"])
    assert {"tkg:resume", "tkg:abandon"} <= set(buttons(world.card(card)))
    return thread(world, card)


def thread(world: World, card: Json) -> str:
    """Everything in the card's thread, as one text with single spaces."""
    return " ".join(" ".join(words(line) for line in world.thread(card)).split())


def wait_until_begun(world: World) -> None:
    """Until the run has looked once more and stands right before its first change (ec2:CreateTags is on hold)."""
    world.wait_until_held()


def begin(world: World, card: Json, then: Callable[[], Any]) -> None:
    """Approves, and has something happen after the run's last look and before its first change."""
    world.view.aws_faults(hold=["ec2:CreateTags"])
    approve(world, card)
    wait_until_begun(world)
    then()
    world.view.aws_faults(hold=[])


# -- looking -----------------------------------------------------------------------------------------------------


def in_kubernetes(world: World) -> list[str]:
    """The objects of clusters that there are, as `PLURAL NAME`."""
    admin = Administrator(world)
    machines = ("machines.cluster.x-k8s.io", "awsmachines.infrastructure.cluster.x-k8s.io")
    every = [(kind, item) for kind in (CLUSTERS, *PARTS, *machines) for item in admin.list(kind)]
    return [f"{kind.partition('.')[0]} {item['metadata']['name']}" for kind, item in every]


def in_amazon(world: World) -> list[str]:
    """What costs money or stands in the way: instances that run, load balancers, security groups beside the default."""
    ec2, elb, elbv2 = (amazon(world, service) for service in ("ec2", "elb", "elbv2"))
    return [
        *(entry["InstanceId"] for entry in instances(world)),
        *(entry["LoadBalancerName"] for entry in elb.describe_load_balancers()["LoadBalancerDescriptions"]),
        *(entry["LoadBalancerName"] for entry in elbv2.describe_load_balancers()["LoadBalancers"]),
        *(g["GroupName"] for g in ec2.describe_security_groups()["SecurityGroups"] if g["GroupName"] != "default"),
    ]


def instances(world: World) -> list[Json]:
    """The instances that run or are about to, without the management cluster's own."""
    wanted = [{"Name": "instance-state-name", "Values": ["pending", "running"]}]
    found = amazon(world, "ec2").describe_instances(Filters=wanted)
    own = world.view.aws()["accounts"][MANAGEMENT]["management"]["instance"]
    every = [entry for reservation in found["Reservations"] for entry in reservation["Instances"]]
    return [entry for entry in every if entry["InstanceId"] != own]


def changes(world: World) -> int:
    """How often the bot changed something, in AWS or on the management cluster."""
    by_bot = [call for call in world.view.aws_calls() if call["mutating"] and "slack-" in (call["session"] or "")]
    return len(by_bot) + len(world.view.kube_changes())


# -- putting the world back --------------------------------------------------------------------------------------


def clear(world: World) -> None:
    """No request that waits, no cluster, nothing of one in AWS, no tag."""
    world.calm()
    end_requests(world)
    admin = Administrator(world)
    world.kube_faults(pace=0.02)
    for item in admin.list(CLUSTERS):
        admin.delete(CLUSTERS, item["metadata"]["name"], item["metadata"]["namespace"])
    eventually(lambda: not admin.list(CLUSTERS), DELETED_WITHIN)
    for kind in PARTS:
        for item in admin.list(kind):
            admin.delete(kind, item["metadata"]["name"], item["metadata"]["namespace"])
    _sweep(world)
    world.calm()


def end_requests(world: World) -> None:
    """Withdraws, cancels and abandons until no card offers any of it. Where no bot lives any more, nobody ends them:
    their database is gone with it, and the next bot has one of its own."""
    if all(bot.poll() is not None for bot in world.bots):
        return

    def open_ones() -> list[tuple[str, str]]:
        actions = ("tkg:abandon", "tkg:cancel", "tkg:withdraw")
        every = [(message["ts"], set(buttons(message))) for message in world.view.messages(DEV)]
        return [(ts, action) for ts, shown in every for action in actions if action in shown]

    clicked: set[tuple[str, str]] = set()

    def are_ended() -> bool:
        left = open_ones()
        for one in left:
            if one not in clicked:
                clicked.add(one)
                world.view.click(DEV, one[0], one[1])
        return not left

    eventually(are_ended)


def _sweep(world: World) -> None:
    """What was left in AWS: a cluster that was not finished leaves it, too."""
    ec2, elb, elbv2 = (amazon(world, service) for service in ("ec2", "elb", "elbv2"))
    running = [entry["InstanceId"] for entry in instances(world)]
    if running:
        ec2.terminate_instances(InstanceIds=running)
    for entry in elb.describe_load_balancers()["LoadBalancerDescriptions"]:
        elb.delete_load_balancer(LoadBalancerName=entry["LoadBalancerName"])
    for entry in elbv2.describe_load_balancers()["LoadBalancers"]:
        elbv2.delete_load_balancer(LoadBalancerArn=entry["LoadBalancerArn"])
    groups = [g for g in ec2.describe_security_groups()["SecurityGroups"] if g["GroupName"] != "default"]
    for group in groups:
        ec2.delete_security_group(GroupId=group["GroupId"])
    subnets = ec2.describe_subnets()["Subnets"]
    found = {
        tag["Key"]: [entry["SubnetId"] for entry in subnets if tag in entry.get("Tags", [])]
        for subnet in subnets
        for tag in subnet.get("Tags", [])
        if tag["Key"].startswith(MARK)
    }
    kept = set(world.vpcs["crowded"]["subnets"].values())
    for key, ids in found.items():
        mine = [ident for ident in ids if ident not in kept]
        if mine:
            ec2.delete_tags(Resources=mine, Tags=[{"Key": key}])
