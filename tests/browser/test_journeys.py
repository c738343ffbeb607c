"""Nine journeys by keyboard alone, at a desk's and a phone's width: what people come for, from loading the page on.

What other people did before (a request that waits, a run that parked) is prepared without the page.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from bot.tour import buttons, words
from tests.browser.conftest import SIZES
from tests.browser.keyboard import Hands, hands
from tests.scenario.conftest import admin, request_id
from tests.world import APPROVER, CHANNEL, DEV, Json, World, eventually

pytestmark = [pytest.mark.browser, pytest.mark.long(but=1), pytest.mark.parametrize("size", SIZES)]
"""The gate takes each at the desk; `make test-all` with the phone, too."""
PARTNER = "CSHARED001"
ENDLESS = 10_000


@pytest.fixture(autouse=True)
def nothing_stays_parked(world: World) -> Iterator[None]:
    """A run that a failed test left parked would hold up every later one."""
    yield
    world.calm()
    for message in world.view.messages(DEV):
        if "tkg:abandon" in buttons(message):
            world.view.click(DEV, message["ts"], "tkg:abandon")


def waiting(world: World, cluster: str, subnets: list[str] | None = None, user: str = DEV) -> Json:
    """A request that waits for its approval, with everything said in its thread."""
    card = world.ask(cluster, subnets or world.public(), user=user)
    world.view.wait(DEV, "approve or deny it", thread=card["ts"])
    return card


# -- asking ------------------------------------------------------------------------------------------------------


def test_ask_by_form(browser: Browser, world: World, size: str) -> None:
    me = hands(browser, world, size, DEV)
    me.type("/tkg")
    me.press("Enter")
    me.page.locator("#modal .acts button").first.wait_for()
    assert me.focus()["dialog"] == "modal"
    me.picture("form-1-menu")
    me.tab_to("Open the form of subnet tag")
    me.press("Enter")
    cluster = me.page.get_by_role("textbox", name="Cluster")  # buttons of the menu speak of clusters, too
    cluster.wait_for()
    assert me.seen()["name"].startswith("Cluster")
    me.press("Enter")
    assert cluster.get_attribute("aria-invalid") == "true"
    assert me.seen()["name"].startswith("Cluster")
    me.type("by form!")
    me.tab_to("^Subnets")
    me.type("\n".join(world.public(2)))
    me.tab_to("^Role tag|^Also|elb")
    me.press("Space", "Control+Enter")
    me.page.get_by_text("is not a cluster name").wait_for()
    described = str(cluster.get_attribute("aria-describedby")).split()
    assert "is not a cluster name" in me.page.locator(f"#{described[0]}").inner_text()
    assert me.seen()["name"].startswith("Cluster"), "the first field that is wrong"
    me.picture("form-2-mistake")
    me.press("Control+A")
    me.type(f"form-{size}")
    me.picture("form-3-filled")
    me.press("Enter")
    me.page.locator("#modal").wait_for(state="hidden")
    assert me.seen()["id"] == "box", "back to where it was"
    me.wait(f"Approval needed: tag 2 subnets for form-{size}")
    me.wait("You asked by form")
    me.heard("You asked by form")
    me.picture("form-4-asked")


def test_a_form_closes_and_its_focus_stays_inside(browser: Browser, world: World, size: str) -> None:
    me = hands(browser, world, size, DEV)
    me.type("/tkg subnet tag --region us-west-2")
    me.press("Enter")
    region = me.page.get_by_label("Region")
    region.wait_for()
    assert region.input_value() == "us-west-2"
    names = []
    for _ in range(12):
        me.press("Tab")
        assert me.seen()["dialog"] == "modal"
        names.append(me.focus()["name"])
    assert len(set(names)) < len(names), "round and round"
    me.press("Escape")
    me.page.locator("#modal").wait_for(state="hidden")
    assert me.seen()["id"] == "box"
    eventually(lambda: world.view.views(DEV) == [])


def test_ask_by_command_with_completion(browser: Browser, world: World, size: str) -> None:
    me = hands(browser, world, size, DEV)
    options = me.page.get_by_role("option")
    me.type("/")
    assert options.count() == 5
    me.press("ArrowDown", "ArrowUp", "ArrowUp")
    assert "/tkg-gpu" in me.page.locator("[role=option][aria-selected=true]").inner_text()
    me.press("Escape")
    assert options.count() == 0
    me.type("tkg-")
    assert options.count() == 4
    me.picture("command-1-completion")
    me.press("ArrowDown", "ArrowUp", "Tab")
    assert me.page.locator("#box").input_value() == "/tkg-subnet "
    assert "CLUSTER" in me.page.locator("#box-note").inner_text()
    me.type(f"tag command-{size} {' '.join(world.public())}")
    me.picture("command-2-typed")
    me.press("Enter")
    me.wait(f"Approval needed: tag 3 subnets for command-{size}")
    me.heard(f"tkgbot: 🟡 Approval needed: tag 3 subnets for command-{size}")
    assert me.seen()["id"] == "box"
    me.picture("command-3-asked")


# -- reading -----------------------------------------------------------------------------------------------------


def many_subnets(world: World, count: int) -> str:
    """A VPC of many public subnets."""
    ec2 = admin(world)
    vpc = ec2.create_vpc(CidrBlock="10.80.0.0/16")["Vpc"]["VpcId"]
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
    for number in range(count):
        zone = "us-east-1" + "abc"[number % 3]
        made = ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.80.{number}.0/24", AvailabilityZone=zone)
        subnet = made["Subnet"]["SubnetId"]
        ec2.create_tags(Resources=[subnet], Tags=[{"Key": "Name", "Value": f"long-public-{number:02}"}])
        ec2.associate_route_table(RouteTableId=table, SubnetId=subnet)
    return str(vpc)


@pytest.mark.long
def test_read_a_long_plan(browser: Browser, world: World, size: str) -> None:
    card = world.ask(f"long-{size}", [], "--vpc", many_subnets(world, 20), "--role-tag")
    world.view.wait(DEV, "approve or deny it", thread=card["ts"])
    me = hands(browser, world, size, APPROVER)
    assert me.message(f"for long-{size}")["ts"] == card["ts"]
    me.press("Home", "End")
    me.picture("plan-1-end-of-the-card")
    for _ in range(6):
        me.press("ArrowUp", "ArrowDown")
        assert me.seen()["ts"] == card["ts"] or me.focus()["isMessage"]
    me.message(f"for long-{size}")
    top = me.page.locator(f'.msg[data-ts="{card["ts"]}"] .header')
    for _ in range(8):
        if top.bounding_box()["y"] >= 57:  # type: ignore[index]
            break
        me.press("ArrowUp")
    assert me.seen()["ts"] == card["ts"], "the whole card is read before the next message"
    me.picture("plan-2-top-of-the-card")
    assert "more rows: all of them are in the thread" in words(world.card(card))
    me.press("Enter")
    me.page.locator("#threadlog .msg").nth(1).wait_for()
    assert me.seen()["id"] == "threadbox"
    now = me.message("long-public-19", log="threadlog")
    assert now["height"] > 200
    me.picture("plan-3-thread")
    me.press("Escape")
    assert (me.seen()["ts"], me.seen()["log"]) == (card["ts"], "log")


# -- deciding ----------------------------------------------------------------------------------------------------


def test_approve(browser: Browser, world: World, size: str) -> None:
    card = waiting(world, f"approve-{size}")
    me = hands(browser, world, size, DEV)
    me.become("approver")
    assert me.message(f"for approve-{size}")["ts"] == card["ts"]
    me.picture("approve-1-card")
    me.tab_to("^Approve$")
    me.press("Enter")
    me.page.locator("#ask").wait_for()
    for _ in range(4):
        assert me.seen()["dialog"] == "ask"
        me.press("Tab")
    me.picture("approve-2-question")
    assert world.card(card)["blocks"] == card["blocks"], "nothing is sent before the question is answered"
    assert me.tab_to("^Approve$")["dialog"] == "ask"
    me.press("Enter")
    me.wait(f"Done: tag 3 subnets for approve-{size}")
    now = me.seen()
    assert (now["ts"], now["isMessage"]) == (card["ts"], True), "its buttons are gone, so the card has the focus"
    me.picture("approve-3-done")
    assert world.tagged(f"approve-{size}") == set(world.public())


def test_deny_with_a_reason(browser: Browser, world: World, size: str) -> None:
    card = waiting(world, f"deny-{size}")
    me = hands(browser, world, size, APPROVER)
    me.message(f"for deny-{size}")
    me.tab_to("^Deny$")
    me.press("Enter")
    reason = me.page.get_by_label("Why not?")
    reason.wait_for()
    assert me.seen()["tag"] == "textarea"
    me.press("Control+Enter")
    assert reason.get_attribute("aria-invalid") == "true"
    me.picture("deny-1-no-reason")
    me.type("Not before the freeze ends.")
    assert reason.get_attribute("aria-invalid") == "false", "an error goes when its field is changed"
    me.press("Enter")
    me.type("Ask again on Monday.")
    me.picture("deny-2-reason")
    me.tab_to("^Deny$")
    me.press("Enter")
    me.page.locator("#modal").wait_for(state="hidden")
    me.wait(f"Denied: tag 3 subnets for deny-{size}")
    assert me.seen()["ts"] == card["ts"], "back to the card"
    me.press("Enter")
    me.wait("Not before the freeze ends.", log="threadlog")
    me.picture("deny-3-thread")
    assert buttons(world.card(card)) == []
    assert world.tagged(f"deny-{size}") == set()


def test_withdraw(browser: Browser, world: World, size: str) -> None:
    card = waiting(world, f"withdraw-{size}")
    me = hands(browser, world, size, DEV)
    assert me.message(f"for withdraw-{size}")["ts"] == card["ts"]
    me.tab_to("^Withdraw$")
    me.picture("withdraw-1-button")
    me.press("Enter")
    me.wait(f"Withdrawn: tag 3 subnets for withdraw-{size}")
    now = me.seen()
    assert (now["ts"], now["isMessage"]) == (card["ts"], True)
    me.heard("Withdrawn")
    me.picture("withdraw-2-done")


def test_resume_a_parked_run(browser: Browser, world: World, size: str) -> None:
    card = waiting(world, f"resume-{size}")
    world.view.aws_faults(throttle_mutating=ENDLESS)
    world.view.click(APPROVER, card["ts"], "tkg:approve")
    world.view.wait(DEV, f"Needs a person: tag 3 subnets for resume-{size}")
    world.calm()
    me = hands(browser, world, size, DEV)
    me.message(f"for resume-{size}")
    me.picture("resume-1-parked")
    me.tab_to("^Resume$")
    me.press("Enter")
    me.wait(f"Done: tag 3 subnets for resume-{size}")
    assert me.seen()["ts"] == card["ts"]
    me.picture("resume-2-done")
    assert world.tagged(f"resume-{size}") == set(world.public())


# -- finding -----------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_find_an_old_request(browser: Browser, world: World, size: str) -> None:
    card = waiting(world, f"old-{size}", world.public(1), APPROVER)
    for number in range(3):
        waiting(world, f"newer-{number}-{size}", world.public(1), APPROVER)
    me = hands(browser, world, size, APPROVER, PARTNER)
    me.type("/tkg requests mine")
    me.press("Enter")
    me.wait(f"for old-{size}, by @approver")
    assert "Your requests" in me.message(f"for old-{size}, by @approver")["text"]
    me.picture("find-1-list")
    me.tab_to(request_id(card))
    assert f"/archives/{CHANNEL}/p" in me.focus()["href"]
    me.press("Enter")
    me.page.locator("#thread").wait_for()
    me.page.locator("#title", has_text="platform").wait_for(state="attached")
    me.page.locator(f'.msg[data-ts="{card["ts"]}"]:focus').wait_for()
    now = me.seen()
    assert now["log"] == ("threadlog" if size == "phone" else "log"), "the thread lies over the channel on a phone"
    me.picture("find-2-card")
    me.section("threadbox")
    me.type("@tkgbot status")
    me.press("Enter")
    me.wait("asked for by", log="threadlog")
    assert me.messages("asked for by", "threadlog").bounding_box()["y"] < SIZES[size][1] - 60  # type: ignore[index]
    me.picture("find-3-status")
    me.press("Escape")
    assert me.seen()["ts"] == card["ts"]


def test_shortcuts(browser: Browser, world: World, size: str) -> None:
    """One's own requests from anywhere, and a request by a message of its thread."""
    card = waiting(world, f"short-{size}", world.public(1))
    me = hands(browser, world, size, APPROVER)
    me.section("box")
    me.press("Shift+Tab")
    assert me.seen()["name"] == "Shortcuts"
    me.press("Enter")
    assert "My tkgbot requests" in me.seen()["name"]
    me.press("Escape")
    assert me.seen()["name"] == "Shortcuts"
    me.press("Enter", "Enter")
    me.page.locator("#modal", has_text="Waiting for your approval").wait_for()
    me.picture("shortcut-1-mine")
    me.press("Escape")
    me.page.locator("#modal").wait_for(state="hidden")
    me.message(f"tag 1 subnet for short-{size}")
    me.tab_to("About this request")
    me.press("Enter")
    me.page.locator("#modal", has_text=f"Request {request_id(card)}").wait_for()
    me.page.locator("#modal", has_text="What happened to").wait_for()
    me.picture("shortcut-2-about")
    me.press("Escape")
    assert me.seen()["ts"] == card["ts"], "back to the message"


# -- getting around ----------------------------------------------------------------------------------------------


def test_every_part_can_be_reached(browser: Browser, world: World, size: str) -> None:
    card = waiting(world, f"around-{size}", world.public(1))
    me = hands(browser, world, size, DEV)
    me.section("log")
    me.press("Enter")
    me.page.locator("#threadlog .msg").first.wait_for()
    assert {me.section(part)["id"] for part in ("threadlog", "threadbox")} == {"", "threadbox"}
    me.press("Escape")
    assert me.seen()["ts"] == card["ts"]
    me.press("x")
    assert (me.seen()["id"], me.page.locator("#box").input_value()) == ("box", "x")
    me.press("Backspace", "Alt+ArrowDown")
    me.page.locator("#title", has_text="random").wait_for()
    me.press("Alt+ArrowUp", "Control+/")
    assert me.seen()["dialog"] == "ask"
    me.picture("around-1-keys")
    me.press("Escape")
    assert me.seen()["id"] == "box"
    me.become("approver")
    me.picture("around-2-approver")
    if size == "phone":
        assert me.seen()["id"] == "burger"
        me.press("Enter")
        me.tab_to("random")
        me.picture("around-3-drawer")
        me.press("Enter")
        me.page.locator("#title", has_text="random").wait_for()
        assert me.seen()["id"] == "box"


@pytest.mark.long
def test_a_link_from_outside_opens_its_message(browser: Browser, world: World, size: str) -> None:
    card = waiting(world, f"link-{size}", world.public(1))
    width, height = SIZES[size]
    page = browser.new_page(viewport={"width": width, "height": height})
    page.goto(f"{world.view.url}/archives/{CHANNEL}/p{card['ts'].replace('.', '')}")
    page.locator(f'.msg[data-ts="{card["ts"]}"]:focus').wait_for()
    assert page.locator("#thread").is_visible()
    Hands(page, size).seen()
