"""What a plan looks at before anybody may approve it, and what it then writes."""

from __future__ import annotations

import pytest

from bot.tour import buttons, words
from tests.scenario.conftest import (
    admin,
    calls_of,
    mentions,
    mutating,
    put_tag,
    says_nothing_changed,
    value_of,
    whole,
)
from tests.world import APPROVER, DEV, TENANT, Json, World

DATABASE = "postgres"
KEY = "kubernetes.io/cluster/"
ROLE = "kubernetes.io/role/elb"
NOWHERE = "subnet-0123456789abcdef0"
WRITE = "ec2:CreateTags"


def blocked(world: World, cluster: str, subnets: list[str], *more: str) -> Json:
    """Asks, and checks that the card is blocked, says so in the thread, and nothing was called that changes."""
    card = world.ask(cluster, subnets, *more, state="Blocked")
    assert "tkg:approve" not in buttons(card)
    assert "tkg:again" in buttons(card)
    told = world.view.wait(DEV, "cannot be done as asked", thread=card["ts"])
    assert says_nothing_changed(told)
    assert DEV in mentions(told)
    assert mutating(world, card) == []
    return told


def approve(world: World, card: Json, cluster: str) -> Json:
    """Approves, and waits for the proof."""
    world.view.click(APPROVER, card["ts"], "tkg:approve")
    done: Json = world.view.wait(DEV, "Done and proven", thread=card["ts"])
    assert cluster in words(done)
    return done


def written(world: World, card: Json) -> list[set[str]]:
    """The subnets of each call that changed something in a request's session."""
    calls = mutating(world, card)
    assert {call["action"] for call in calls} <= {WRITE}
    return [{arn.rpartition("/")[2] for arn in call["resources"]} for call in calls]


# -- where -------------------------------------------------------------------------------------------------------


def test_unknown_subnet(world: World) -> None:
    told = blocked(world, "unknown", [*world.public(1), NOWHERE])
    assert f"{NOWHERE} is not in us-east-1 of account management" in words(told).replace("`", "").replace("  ", " ")
    assert "--region or --account" in words(told)


@pytest.mark.long
def test_wrong_region(world: World) -> None:
    subnets = world.subnets("europe-public-a", vpc="europe")
    told = blocked(world, "abroad", subnets)
    assert subnets[0] in words(told)
    assert "--region" in words(told)
    card = world.ask("abroad", subnets, "--region eu-west-1")
    approve(world, card, "abroad")
    assert world.tagged("abroad", region="eu-west-1") == set(subnets)


@pytest.mark.long
def test_two_vpcs(world: World) -> None:
    told = blocked(world, "split", [*world.public(1), *world.subnets("crowded-tiny-a", vpc="crowded")])
    assert all(world.vpcs[vpc]["id"] in words(told) for vpc in ("demo", "crowded"))
    assert "one VPC" in words(told)


def test_vpc_finds_the_public_subnets(world: World) -> None:
    card = world.ask("by-vpc", [], f"--vpc {world.vpcs['demo']['id']}")
    assert "tag 3 subnets" in words(card)
    approve(world, card, "by-vpc")
    assert world.tagged("by-vpc") == set(world.public())


@pytest.mark.long
def test_vpc_with_a_subnet_of_another(world: World) -> None:
    told = blocked(world, "stray", world.public(1), f"--vpc {world.vpcs['crowded']['id']}")
    assert world.vpcs["demo"]["id"] in words(told)


@pytest.mark.long
def test_unknown_vpc(world: World) -> None:
    told = blocked(world, "no-vpc", [], "--vpc vpc-0123456789abcdef0")
    assert "vpc-0123456789abcdef0 is not in us-east-1" in words(told)


@pytest.mark.long
def test_vpc_without_public_subnets(world: World) -> None:
    ec2 = admin(world)
    vpc = ec2.create_vpc(CidrBlock="10.99.0.0/16")["Vpc"]["VpcId"]
    ec2.create_subnet(VpcId=vpc, CidrBlock="10.99.1.0/24")
    told = blocked(world, "dark", [], f"--vpc {vpc}")
    assert f"{vpc} has no public subnet" in words(told)
    assert "internet gateway" in words(told)


@pytest.mark.long
def test_unknown_account(world: World) -> None:
    card = world.ask("no-account", world.public(), "--account tennant", state="Failed")
    told = world.view.wait(DEV, "There is no account", thread=card["ts"])
    assert says_nothing_changed(told)
    assert "tenant" in words(told)


# -- routes ------------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_public_by_the_main_table_is_a_warning(world: World) -> None:
    subnets = world.subnets("legacy-main-a", "legacy-main-b", vpc="legacy")
    card = world.ask("by-main", subnets)
    assert "Public only through the main route table" in words(card)
    assert "Associate the route table" in words(card)
    approve(world, card, "by-main")
    assert world.tagged("by-main") == set(subnets)


@pytest.mark.long
def test_a_gateway_that_is_gone_blocks(world: World) -> None:
    told = blocked(world, "hole", world.subnets("legacy-blackhole-c", vpc="legacy"))
    assert "internet gateway that is gone" in words(told)


def test_a_private_subnet_blocks(world: World) -> None:
    told = blocked(world, "private", [*world.public(2), *world.subnets("demo-private-c")])
    assert "demo-private-c" in words(told)
    assert "demo-public-a" not in words(told)
    assert "--vpc" in words(told)


def test_look_again_after_it_was_mended(world: World) -> None:
    ec2 = admin(world)
    vpc = world.vpcs["legacy"]["id"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.1.90.0/24")["Subnet"]["SubnetId"]
    table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    ec2.associate_route_table(RouteTableId=table, SubnetId=subnet)
    card = world.ask("mended", [subnet], state="Blocked")
    gateways = ec2.describe_internet_gateways(Filters=[{"Name": "attachment.vpc-id", "Values": [vpc]}])
    gateway = gateways["InternetGateways"][0]["InternetGatewayId"]
    ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
    world.view.click(DEV, card["ts"], "tkg:again")
    world.view.wait(DEV, "Approval needed: tag 1 subnet for mended")
    approve(world, card, "mended")
    assert world.tagged("mended") == {subnet}


# -- tags --------------------------------------------------------------------------------------------------------


def test_a_full_subnet_blocks_before_any_call(world: World) -> None:
    told = blocked(world, "full", world.subnets("crowded-full-a", vpc="crowded"))
    assert "has 50 of 50 tags and needs 1 more" in words(told)
    assert "Remove tags" in words(told)


@pytest.mark.long
def test_one_free_tag_is_enough_for_one(world: World) -> None:
    subnets = world.subnets("crowded-49-c", vpc="crowded")
    told = blocked(world, "forty-nine", subnets, "--role-tag")
    assert "has 49 of 50 tags and needs 2 more" in words(told)
    card = world.ask("forty-nine", subnets)
    approve(world, card, "forty-nine")
    assert world.tagged("forty-nine") == set(subnets)


@pytest.mark.long
def test_owned_by_this_cluster_stays_owned(world: World) -> None:
    owned, tiny = world.subnets("crowded-owned-b", "crowded-tiny-a", vpc="crowded")
    card = world.ask("demo", [owned, tiny])
    assert "Owned by this cluster" in words(card)
    assert "left as it is" in words(card)
    approve(world, card, "demo")
    assert written(world, card) == [{tiny}]
    assert world.view.tags()[owned][f"{KEY}demo"] == "owned"
    assert world.view.tags()[tiny][f"{KEY}demo"] == "shared"


@pytest.mark.long
def test_only_owned_by_this_cluster_is_already_so(world: World) -> None:
    subnets = world.subnets("crowded-owned-b", vpc="crowded")
    card = world.ask("demo", subnets, state="Already so")
    assert buttons(card) == []
    assert mutating(world, card) == []
    assert world.view.tags()[subnets[0]][f"{KEY}demo"] == "owned"


@pytest.mark.long
def test_owned_by_another_cluster_is_a_warning(world: World) -> None:
    subnets = world.subnets("crowded-owned-b", vpc="crowded")
    card = world.ask("neighbour", subnets)
    assert "Owned by another cluster" in words(card)
    assert "by other" in words(card)
    approve(world, card, "neighbour")
    tags = world.view.tags()[subnets[0]]
    assert {tags[f"{KEY}other"], tags[f"{KEY}demo"], tags[f"{KEY}neighbour"]} == {"owned", "shared"}


@pytest.mark.long
def test_an_odd_value_of_the_cluster_tag_blocks(world: World) -> None:
    subnets = world.public(1)
    put_tag(world, subnets, f"{KEY}odd", "yes")
    told = blocked(world, "odd", subnets)
    assert f"{KEY}odd=yes" in words(told)
    assert world.view.tags()[subnets[0]][f"{KEY}odd"] == "yes"


@pytest.mark.long
def test_tagged_already(world: World) -> None:
    put_tag(world, world.public(), f"{KEY}tagged-already", "shared")
    card = world.ask("tagged-already", world.public(), state="Already so")
    assert buttons(card) == []
    assert mutating(world, card) == []


@pytest.mark.long
def test_only_missing_tags_are_written(world: World) -> None:
    first, *rest = world.public()
    put_tag(world, [first], f"{KEY}partly", "shared")
    card = world.ask("partly", [first, *rest])
    assert "tag 2 subnets" in words(card)
    assert "already so" in words(card)
    approve(world, card, "partly")
    assert written(world, card) == [set(rest)]


@pytest.mark.long
def test_role_tag_writes_both(world: World) -> None:
    subnets = world.public(2)
    card = world.ask("with-role", subnets, "--role-tag")
    approve(world, card, "with-role")
    tags = world.view.tags()
    assert all((tags[name][f"{KEY}with-role"], tags[name][ROLE]) == ("shared", "1") for name in subnets)
    assert written(world, card) == [set(subnets), set(subnets)]
    again = world.ask("with-role-2", subnets, "--role-tag")
    approve(world, again, "with-role-2")
    assert written(world, again) == [set(subnets)]


@pytest.mark.long
def test_the_same_subnet_twice_counts_once(world: World) -> None:
    subnets = world.public(1)
    card = world.ask("doubled", [*subnets, *subnets])
    assert "tag 1 subnet for doubled" in words(card)
    approve(world, card, "doubled")
    assert written(world, card) == [set(subnets)]


# -- accounts ----------------------------------------------------------------------------------------------------


def test_another_account_with_an_external_id(world: World) -> None:
    vpc = world.view.aws()["accounts"][TENANT]["vpcs"]["tenant"]["subnets"]
    subnets = [vpc[f"tenant-public-{zone}"] for zone in "ab"]
    card = world.ask("tenant", subnets, "--account tenant")
    assert "tenant · us-east-1" in words(card)
    approve(world, card, "tenant")
    assert world.tagged("tenant", account=TENANT) == set(subnets)
    assert world.tagged("tenant") == set()
    assert {call["account"] for call in mutating(world, card)} == {TENANT}


@pytest.mark.long
def test_the_environments_own_credentials(world: World) -> None:
    before = len(world.changes())
    subnets = world.public(2)
    card = world.ask("ambient", subnets, "--account ambient")
    approve(world, card, "ambient")
    assert world.tagged("ambient") == set(subnets)
    made = world.changes()[before:]
    assert [call["principal"].rpartition("/")[2] for call in made] == ["tkgbot"]
    assert calls_of(world, card) == []


@pytest.mark.long
def test_production_shows_that_two_are_needed(world: World) -> None:
    card = world.ask("prod-checks", world.public())
    assert "0 of 2" in words(card)


# -- much, and evil ----------------------------------------------------------------------------------------------


@pytest.mark.long
def test_more_rows_than_a_card_shows(world: World) -> None:
    ec2 = admin(world)
    vpc = world.vpcs["legacy"]["id"]
    made = [ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.1.{100 + n}.0/24")["Subnet"]["SubnetId"] for n in range(14)]
    card = world.ask("many", made)
    assert "2 more rows" in words(card)
    rows = world.view.wait(DEV, "Rows of the plan", thread=card["ts"])
    assert all(name in words(rows) for name in made)
    approve(world, card, "many")
    assert world.tagged("many") == set(made)
    assert written(world, card) == [set(made)]


EVIL = "<!channel> <@UAPPROVE01> <!subteam^SPLATFORM1> *bold* \u202eflip <https://evil.example|here>"


def test_a_name_is_only_text(world: World) -> None:
    ec2 = admin(world)
    vpc = world.vpcs["legacy"]["id"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.1.200.0/24")["Subnet"]["SubnetId"]
    put_tag(world, [subnet], "Name", EVIL)
    card = world.ask("evil", [subnet, *world.subnets("legacy-blackhole-c", vpc="legacy")], state="Blocked")
    told = world.view.wait(DEV, "cannot be done as asked", thread=card["ts"])
    allowed = world.ask("evil", [subnet])
    called = world.view.wait(DEV, "please look at the plan", thread=allowed["ts"])
    done = approve(world, allowed, "evil")
    for message, may in ((card, {DEV}), (told, {DEV}), (called, {"SPLATFORM1"}), (done, {DEV, APPROVER})):
        assert mentions(message) <= may, words(message)
        assert "\u202e" not in whole(message)
        assert '"link"' not in whole(message)
    assert mentions(allowed) == {DEV, "SPLATFORM1"}
    assert "<!channel> <@UAPPROVE01>" in words(card)
    assert "*bold* flip" in words(card)


@pytest.mark.long
@pytest.mark.parametrize(("name", "shown"), [("<@UDEV000001>", "<@UDEV000001>"), ("`code`", "'code'")])
def test_a_name_is_not_even_markup_for_the_requester(world: World, name: str, shown: str) -> None:
    ec2 = admin(world)
    private = world.subnets("demo-private-a")
    put_tag(world, private, "Name", name)
    try:
        told = blocked(world, "named", private)
        assert shown in words(told)
    finally:
        ec2.create_tags(Resources=private, Tags=[{"Key": "Name", "Value": "demo-private-a"}])


def test_a_button_carries_an_id_and_a_seal_only(world: World) -> None:
    card = world.ask("sealed", world.public())
    name, _, seal = value_of(card, "tkg:approve").partition(":")
    assert name.startswith("r-")
    assert len(seal) == 16
