"""What the management cluster can do wrong while a cluster is planned and made: each time a sentence with cause,
evidence and next step, and nothing made before every blocking check passes.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bot.tour import buttons, words
from tests.scenario.clusters import (
    CLUSTERS,
    DEFINITIONS,
    IDENTITIES,
    SETS,
    SWIFT,
    Administrator,
    amazon,
    approve,
    ask,
    begin,
    changes,
    clear,
    create,
    done,
    in_amazon,
    in_kubernetes,
    instances,
    parked,
    thread,
    undo_by_deleting,
    wait_for,
)
from tests.world import APPROVER, DEV, Json, World, running_world

pytestmark = pytest.mark.long

AWS_CLUSTERS = "awsclusters.infrastructure.cluster.x-k8s.io"
ROLES = "clusterroles.rbac.authorization.k8s.io"
APPLY = "application/apply-patch+yaml"


@pytest.fixture(scope="module")
def shared() -> Iterator[World]:
    with running_world() as made:
        made.start_bot(("-c", SWIFT))
        yield made


@pytest.fixture
def world(shared: World) -> Iterator[World]:
    shared.calm()
    shared.kube_faults(pace=0.1)
    yield shared
    clear(shared)


def told(world: World, card: Json, text: str) -> str:
    """The line in the card's thread, waited for."""
    line = world.view.wait(DEV, text, thread=card["ts"], since=card["ts"])
    return " ".join(words(line).split())


def no_plan(world: World, name: str, *said: str) -> None:
    """No plan can be made; the thread says why, and nothing was made."""
    before = changes(world)
    card = ask(world, f"cluster create {name} --plan dev --vpc {world.vpcs['demo']['id']}", "Failed")
    assert name in words(card)
    line = told(world, card, said[0])
    assert all(text in line for text in said), line
    assert "Nothing was changed" in line
    assert "tkg:approve" not in buttons(card)
    assert changes(world) == before


def blocked(world: World, name: str, *said: str, more: tuple[str, ...] = ()) -> None:
    """The plan is blocked; the card says why, and nothing was made."""
    before = changes(world)
    card = create(world, name, *more, state="Blocked")
    shown = " ".join(words(card).split())
    assert all(text in shown for text in said), shown
    assert "tkg:approve" not in buttons(card)
    assert changes(world) == before


# -- what the management cluster serves --------------------------------------------------------------------------


@pytest.fixture
def definitions(world: World) -> Iterator[Administrator]:
    """The administrator, who changes definitions; afterwards they and what goes with them are as they were."""
    admin = Administrator(world)
    before, identities, sets = (admin.list(kind) for kind in (DEFINITIONS, IDENTITIES, SETS))
    yield admin
    for item in before:
        admin.delete(DEFINITIONS, item["metadata"]["name"])
        admin.make(DEFINITIONS, {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", **item})
    for kind, items in ((IDENTITIES, identities), (SETS, sets)):
        for item in items:
            there = admin.get(kind, item["metadata"]["name"], item["metadata"].get("namespace", ""))
            if there is None:
                admin.make(kind, item, item["metadata"].get("namespace", ""))


@pytest.mark.long
def test_no_cluster_api(world: World, definitions: Administrator) -> None:
    for item in definitions.list(DEFINITIONS):
        definitions.delete(DEFINITIONS, item["metadata"]["name"])
    no_plan(world, "no-api", "the API group cluster.x-k8s.io is not there", "clusterctl init")


def test_no_provider_of_aws(world: World, definitions: Administrator) -> None:
    for item in definitions.list(DEFINITIONS):
        if item["spec"]["group"] == "infrastructure.cluster.x-k8s.io":
            definitions.delete(DEFINITIONS, item["metadata"]["name"])
    no_plan(world, "no-provider", "the API group infrastructure.cluster.x-k8s.io is not there", "clusterctl init")


@pytest.mark.parametrize("version", ["v1alpha4", "v1gamma9"])
def test_versions_that_the_bot_does_not_know(world: World, definitions: Administrator, version: str) -> None:
    """Too old, or of a time to come: the one version that is served has another name."""
    for item in definitions.list(DEFINITIONS):
        if item["spec"]["group"] == "cluster.x-k8s.io":
            kept = next(entry for entry in item["spec"]["versions"] if entry["storage"])
            definitions.delete(DEFINITIONS, item["metadata"]["name"])
            spec = {**item["spec"], "versions": [{**kept, "name": version}]}
            whole = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", **item, "spec": spec}
            definitions.make(DEFINITIONS, whole)
    no_plan(world, f"ver-{version}", f"serves cluster.x-k8s.io as {version}", "this tkgbot knows v1beta2", "too old")


@pytest.mark.long
def test_the_older_generation_from_end_to_end() -> None:
    with running_world(SANDBOX_GENERATION="legacy") as world:
        world.start_bot(("-c", SWIFT))
        world.kube_faults(pace=0.1)
        card = create(world, "older", "--kubernetes-version", "v1.31.9")
        approve(world, card)
        assert "2 of 2 nodes of older are Ready" in done(world, card)
        found = Administrator(world).get(CLUSTERS, "older", "default")
        assert found is not None
        assert found["apiVersion"] == "cluster.x-k8s.io/v1beta1"
        approve(world, new := undo_by_deleting(world, card, "older"))
        done(world, new)
        assert in_kubernetes(world) == []
        assert in_amazon(world) == []


# -- refusals ----------------------------------------------------------------------------------------------------


def test_forbidden_before_the_plan(world: World) -> None:
    """The administrator takes away every right to write."""
    admin = Administrator(world)
    role = admin.get(ROLES, "tkgbot")
    assert role is not None
    looks = [rule for rule in role["rules"] if "patch" not in rule["verbs"]]
    admin.patch(ROLES, "tkgbot", {"rules": looks})
    try:
        blocked(world, "forbidden", "The bot's rights there", "The bot may not create clusters", "RBAC")
    finally:
        admin.patch(ROLES, "tkgbot", {"rules": role["rules"]})


def test_forbidden_while_running(world: World) -> None:
    card = create(world, "revoked")
    begin(world, card, lambda: world.kube_faults(forbid=["patch controlplane.cluster.x-k8s.io/*"]))
    wait_for(world, card, "Failed: create")
    said = thread(world, card)
    assert "does not let the bot apply KubeadmControlPlane revoked-control-plane" in said, said
    assert "The platform team has to allow" in said
    assert "Begun, and not seen to be done: create the 8 Kubernetes objects" in said


def test_denied_by_a_webhook_before_the_plan(world: World) -> None:
    world.kube_faults(deny_webhook=["AWSMachineTemplate"])
    blocked(world, "denied", "Accepted by the API server", "denied to try AWSMachineTemplate", "Mend what it says")


@pytest.mark.long
def test_denied_by_a_webhook_while_running(world: World) -> None:
    card = create(world, "late")
    begin(world, card, lambda: world.kube_faults(deny_webhook=["MachineDeployment"]))
    wait_for(world, card, "Failed: create")
    said = thread(world, card)
    assert "denied to apply MachineDeployment late-md-0" in said, said
    assert "whoever runs that webhook" in said
    assert "Applied before it: " in said
    assert "AWSCluster late" in said


# -- what is there already ---------------------------------------------------------------------------------------


def left_behind(world: World, name: str, *more: str) -> Json:
    """A try that failed in the middle: the objects before the MachineDeployment are there, the Cluster may not be."""
    card = create(world, name, *more)
    begin(world, card, lambda: world.kube_faults(deny_webhook=["MachineDeployment"]))
    wait_for(world, card, "Failed: create")
    world.kube_faults(deny_webhook=None)
    return card


@pytest.mark.long
def test_what_an_earlier_try_left_is_gone_on_with(world: World) -> None:
    left_behind(world, "again")
    there = in_kubernetes(world)
    assert there
    card = create(world, "again")
    assert "of this very configuration; they are gone on with" in words(card)
    approve(world, card)
    done(world, card)
    assert set(there) <= set(in_kubernetes(world))
    assert len(instances(world)) == 2


def test_what_an_earlier_try_left_is_not_mixed_with_other_settings(world: World) -> None:
    left_behind(world, "mixed")
    blocked(world, "mixed", "not made from this plan", "/tkg cluster delete mixed", more=("--workers", "3"))


@pytest.mark.long
def test_what_an_earlier_try_left_is_deleted(world: World) -> None:
    card = left_behind(world, "cleaned")
    approve(world, new := undo_by_deleting(world, card, "cleaned"))
    done(world, new)
    assert in_kubernetes(world) == []


def test_a_name_that_is_taken_in_aws_alone(world: World) -> None:
    elbv2 = amazon(world, "elbv2")
    elbv2.create_load_balancer(Name="taken-apiserver", Type="network", Subnets=world.public(1))
    blocked(world, "taken", "Name free among load balancers", "taken-apiserver (network) in", "use another name")


@pytest.mark.long
def test_a_name_that_is_taken_by_a_tag_in_aws(world: World) -> None:
    ec2, mark = amazon(world, "ec2"), {"Key": "kubernetes.io/cluster/marked", "Value": "owned"}
    group = ec2.create_security_group(GroupName="marked-node", Description="left", VpcId=world.vpcs["demo"]["id"])
    ec2.create_tags(Resources=[group["GroupId"]], Tags=[mark])
    blocked(world, "marked", "Name free among tags", "Tagged for marked", "clean up first")


def _apply(world: World, manager: str, item: Json, resource: str) -> int:
    admin = Administrator(world)
    path = admin.path(resource, "default", item["metadata"]["name"])
    item = {"apiVersion": path.removeprefix("/apis/").partition("/namespaces")[0], **item}
    status, _ = admin.ask("PATCH", f"{path}?fieldManager={manager}&force=true", item, APPLY)
    return status


@pytest.mark.long
def test_a_conflict_with_another_field_manager(world: World) -> None:
    """Somebody else takes a field over between two tries."""
    left_behind(world, "fought")
    taken = {"kind": "AWSCluster", "metadata": {"name": "fought"}, "spec": {"region": "eu-west-1"}}
    assert _apply(world, "argocd", taken, AWS_CLUSTERS) == 200
    blocked(world, "fought", "Accepted by the API server", "argocd", "the bot never takes them over")


# -- out of reach ------------------------------------------------------------------------------------------------


def test_unreachable_before_the_plan(world: World) -> None:
    world.kube_faults(unreachable=True)
    no_plan(world, "no-way", "management cluster cannot be reached", "Ask again when it answers")


@pytest.mark.long(but=1)
@pytest.mark.parametrize("fault", ["throttle", "server_error"])
def test_trouble_that_passes(world: World, fault: str) -> None:
    world.kube_faults(**{fault: 2})
    card = create(world, f"passes-{fault[:3]}")
    begin(world, card, lambda: world.kube_faults(**{fault: 2}))
    done(world, card)


def test_trouble_that_lasts(world: World) -> None:
    world.kube_faults(server_error=100_000)
    no_plan(world, "sick", "management cluster had trouble with", "Ask again in a few minutes")


@pytest.mark.long
def test_the_api_goes_in_the_middle_of_applying(world: World) -> None:
    card = create(world, "cut")
    begin(world, card, lambda: world.kube_faults(api_gone_after=3))
    said = parked(world, card)
    assert "management cluster cannot be reached to" in said, said
    assert "Begun, and not seen to be done: create the 8 Kubernetes objects" in said
    world.kube_faults(unreachable=None, api_gone_after=None)
    assert len([one for one in in_kubernetes(world) if one.endswith("cut") or " cut-" in one]) >= 3
    world.view.click(APPROVER, card["ts"], "tkg:resume")
    done(world, card)
    assert len(instances(world)) == 2


@pytest.mark.long
def test_the_api_goes_in_the_middle_of_waiting(world: World) -> None:
    world.kube_faults(control_plane_never_comes=True)
    card = create(world, "waits")
    approve(world, card)
    wait_for(world, card, "has not joined as a node")
    world.kube_faults(unreachable=True)
    said = parked(world, card)
    assert "management cluster cannot be reached to" in said, said
    world.kube_faults(unreachable=None, control_plane_never_comes=None)
    world.view.click(APPROVER, card["ts"], "tkg:resume")
    done(world, card)


# -- what never comes, and what lies -----------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize("what", ["control_plane", "workers"])
def test_what_never_comes_is_given_up(world: World, what: str) -> None:
    world.kube_faults(**{f"{what}_never_come{'s' * (what == 'control_plane')}": True})
    card = create(world, f"never-{what[:3]}")
    approve(world, card)
    said = parked(world, card)
    assert "Nothing has moved for too long" in said, said
    assert "runs in EC2 but has not joined as a node" in said
    assert "cloud-init log" in said


@pytest.mark.long
def test_a_management_cluster_that_lies_is_not_believed(world: World) -> None:
    world.kube_faults(lying_ready=True)
    card = create(world, "liar")
    approve(world, card)
    wait_for(world, card, "Failed: create")
    said = thread(world, card)
    assert "the proof that they worked failed" in said, said
    assert "Done and proven" not in said
    assert "🟢" not in words(world.card(card))


@pytest.mark.long
def test_somebody_deletes_the_cluster_meanwhile(world: World) -> None:
    world.kube_faults(control_plane_never_comes=True)
    card = create(world, "snatched")
    approve(world, card)
    wait_for(world, card, "has not joined as a node")
    Administrator(world).delete(CLUSTERS, "snatched", "default")
    wait_for(world, card, "Failed: create")
    assert "is not there any more" in thread(world, card)
    assert in_amazon(world) == []
