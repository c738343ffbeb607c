"""Threats that come with clusters: their credentials, their names, and what the bot may do to them."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest
import yaml

from tests.scenario.clusters import SWIFT, Administrator, approve, ask, create, done
from tests.world import APPROVER, DEV, World, running_world


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """A world with one cluster in it, made by the bot."""
    with running_world() as running:
        running.start_bot(("-c", SWIFT))
        card = create(running, "vault")
        approve(running, card)
        done(running, card)
        yield running


@pytest.mark.long
def test_secrets_of_a_cluster_stand_nowhere(world: World) -> None:
    """The kubeconfig that the bot reads is cluster-admin: it is in no message, no log and no database."""
    secret = Administrator(world).get("secrets", "vault-kubeconfig", "default")
    assert secret is not None
    kubeconfig = base64.b64decode(secret["data"]["value"]).decode()
    token = yaml.safe_load(kubeconfig)["users"][0]["user"]["token"]
    own = yaml.safe_load((world.folder / "kubeconfig").read_text())["users"][0]["user"]["token"]
    shown = "".join(str(world.view.messages(user)) for user in (DEV, APPROVER))
    shown += "".join(str(world.view.messages(DEV, thread=m["ts"])) for m in world.view.messages(DEV))
    kept = b"".join(path.read_bytes() for path in (world.folder / "data").glob("*"))
    assert "vault" in shown
    assert len(kept) > 10_000
    for canary in (token, own):
        assert canary not in shown
        assert canary not in world.log()
        assert canary.encode() not in kept


def test_confused_deputy_the_bot_reads_no_secret_that_a_command_names(world: World) -> None:
    """A cluster's name is a closed word: no namespace, path or other secret can be reached through it."""
    calls = len(world.view.http("GET", "/sandbox/kube/calls")["calls"])
    for name in ("../../secrets", "vault-kubeconfig/../x", "vault?x=1", "kube-system/vault"):
        assert world.view.command(DEV, f"cluster get {name}").get("acked")
    world.view.wait(DEV, "kube-system/vault")
    new = world.view.http("GET", "/sandbox/kube/calls")["calls"][calls:]
    assert [call for call in new if call["user"] == "tkgbot"] == []


def test_session_too_wide_a_run_changes_only_what_its_plan_declares(world: World) -> None:
    """What the bot changed on the management cluster are the objects of its plans, by apply."""
    changed = {(call["verb"], call["resource"], call["namespace"]) for call in world.view.kube_changes()}
    assert {verb for verb, _, _ in changed} == {"patch"}
    assert {namespace for _, _, namespace in changed} == {"default"}
    assert {resource for _, resource, _ in changed} == {
        "clusters", "awsclusters", "kubeadmcontrolplanes", "awsmachinetemplates", "kubeadmconfigtemplates",
        "machinedeployments", "machinehealthchecks",
    }  # fmt: skip


def test_escalation_a_cluster_that_a_rule_denies_is_not_made(world: World) -> None:
    vpc = world.vpcs["demo"]["id"]
    ask(world, f"cluster create payments-1 --plan dev --vpc {vpc}", state="nobody touches payments")
    assert Administrator(world).list("clusters.cluster.x-k8s.io", "default")[0]["metadata"]["name"] == "vault"
    assert len(Administrator(world).list("clusters.cluster.x-k8s.io", "default")) == 1
