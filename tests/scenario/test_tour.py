"""The tour fails when any of its claims is broken: a good one is recorded, then played with one thing changed."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote_plus

import pytest

from bot.tour import APPROVER, DEV, GUEST, KEY, ClaimFailed, Json, Tour, View
from tests.world import World

Exchange = tuple[str, str, Json | None, Json]
Tamper = Callable[[list[Exchange]], None]


class Recorder(View):
    """Keeps every answer of a real world."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.tape: list[Exchange] = []

    def http(self, method: str, path: str, body: Json | None = None, timeout: float = 70.0) -> Json:
        answer = super().http(method, path, body, timeout)
        self.tape.append((method, path, body, copy.deepcopy(answer)))
        return answer


class Player(View):
    """Gives a tape's answers in their order."""

    def __init__(self, tape: list[Exchange]) -> None:
        super().__init__("http://nowhere")
        self.tape = list(tape)

    def http(self, method: str, path: str, body: Json | None = None, timeout: float = 70.0) -> Json:
        asked, where, _body, answer = self.tape.pop(0)
        assert (asked, where.split("?")[0]) == (method, path.split("?")[0])
        return copy.deepcopy(answer)


@pytest.fixture(scope="module")
def tape(shared_world: World) -> list[Exchange]:
    recorder = Recorder(shared_world.view.url)
    Tour(recorder).play()
    return recorder.tape


def find(tape: list[Exchange], path: str, needle: str = "", last: bool = False) -> Json:
    """The answer of the first (or last) exchange at `path` whose request or answer holds `needle`."""
    found = [
        answer for _m, where, body, answer in tape if path in where and needle in where + json.dumps([body, answer])
    ]
    return found[-1 if last else 0]


def waits(text: str) -> Callable[[list[Exchange]], None]:
    def tamper(tape: list[Exchange]) -> None:
        answer = next(a for _m, where, _b, a in tape if "/sandbox/wait" in where and text in unquote_plus(where))
        answer.pop("message")

    return tamper


def acked(number: int) -> Tamper:
    def tamper(tape: list[Exchange]) -> None:
        commands = [answer for _m, where, _b, answer in tape if where.endswith("/act/command")]
        commands[number]["acked"] = False

    return tamper


def tags(number: int, change: Callable[[Json], None]) -> Tamper:
    def tamper(tape: list[Exchange]) -> None:
        looks = [answer for _m, where, _b, answer in tape if "/sandbox/aws/tags" in where]
        change(looks[number]["subnets"])

    return tamper


def tag_something(subnets: Json) -> None:
    for found in subnets.values():
        if found.get("Name") == "demo-public-a":
            found[KEY] = "shared"


def untag_one(subnets: Json) -> None:
    for found in subnets.values():
        if found.get("Name") == "demo-public-c":
            found.pop(KEY)


def tag_one_more(subnets: Json) -> None:
    for found in subnets.values():
        if found.get("Name") == "demo-private-a":
            found[KEY] = "shared"


def message(text: str, change: Callable[[Json], None]) -> Tamper:
    def tamper(tape: list[Exchange]) -> None:
        answer = next(a for _m, where, _b, a in tape if "/sandbox/wait" in where and text in unquote_plus(where))
        change(answer["message"])

    return tamper


def not_ephemeral(shown: Json) -> None:
    shown["ephemeral"] = False


def no_buttons(shown: Json) -> None:
    shown["blocks"] = [block for block in shown["blocks"] if block["type"] != "actions"]


def approve_button(shown: Json) -> None:
    for block in shown["blocks"]:
        if block["type"] == "actions":
            block["elements"][0]["action_id"] = "tkg:approve"


def without_text(needle: str) -> Callable[[Json], None]:
    def change(shown: Json) -> None:
        shown["blocks"] = json.loads(json.dumps(shown["blocks"], ensure_ascii=False).replace(needle, "…"))

    return change


def card_at(number: int, change: Callable[[Json], None]) -> Tamper:
    """Changes the waiting or finished card in the channel's `number`th full listing."""

    def tamper(tape: list[Exchange]) -> None:
        lists = [
            a
            for _m, where, _b, a in tape
            if "/sandbox/messages" in where and f"as={DEV}" in where and "thread" not in where
        ]
        cards = [shown for shown in lists[number]["messages"] if " tag 3 subnets for demo" in shown["text"]]
        change(cards[-1])

    return tamper


def help_for_all(tape: list[Exchange]) -> None:
    seen = next(a for _m, where, _b, a in tape if "/sandbox/messages" in where and f"as={APPROVER}" in where)
    seen["messages"].append({"text": "subnet tag", "blocks": []})


def calls(change: Callable[[list[Any]], None]) -> Tamper:
    def tamper(tape: list[Exchange]) -> None:
        change(find(tape, "/sandbox/aws/calls")["calls"])

    return tamper


def one_more_call(log: list[Any]) -> None:
    log.append(next(call for call in log if call["mutating"] and call["service"] == "ec2"))


def on_nobodys_behalf(log: list[Any]) -> None:
    for call in log:
        call["source_identity"] = None


def first_subnet(tape: list[Exchange]) -> str:
    return str(find(tape, "/sandbox/aws")["accounts"]["111122223333"]["vpcs"]["demo"]["subnets"]["demo-public-a"])


BREAKS: dict[str, Tamper] = {
    "the help is late": acked(0),
    "the blocked command is late": acked(1),
    "the command is late": acked(2),
    "no help": waits("subnet tag"),
    "help for all to see": message("subnet tag", not_ephemeral),
    "others were disturbed": help_for_all,
    "no blocked card": waits("Blocked"),
    "the private subnet is not named": message("Blocked", without_text("is private")),
    "a blocked plan can be approved": message("Blocked", approve_button),
    "tagged though blocked": tags(0, tag_something),
    "no card": waits("Approval needed"),
    "no Approve button": message("Approval needed", no_buttons),
    "tagged before the approval": tags(1, tag_something),
    "the guest is not refused": waits("Guests"),
    "the guest's refusal is public": message("Guests", not_ephemeral),
    "the requester is not refused": waits("You asked for this"),
    "the requester's refusal is public": message("You asked for this", not_ephemeral),
    "a refused click ended the wait": card_at(0, no_buttons),
    "tagged by a refused click": tags(2, tag_something),
    "no result": waits("Done and proven"),
    "the card is not done": waits("🟢 Done"),
    "the approver is not named": card_at(1, without_text(APPROVER)),
    "the finished card has buttons": card_at(1, lambda shown: shown["blocks"].append(
        {"type": "actions", "elements": [{"type": "button", "action_id": "tkg:approve", "text": {"text": "Approve"}}]}
    )),
    "the requester is not called": message("Done and proven", without_text(DEV)),
    "a subnet is not tagged": tags(3, untag_one),
    "one subnet too many is tagged": tags(3, tag_one_more),
    "AWS was changed twice": calls(one_more_call),
    "AWS does not know for whom": calls(on_nobodys_behalf),
}  # fmt: skip


def test_the_recorded_tour_plays(tape: list[Exchange]) -> None:
    tour = Tour(Player(tape))
    tour.play()
    assert tour.claims >= 20


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_claim_fails_the_tour(tape: list[Exchange], name: str) -> None:
    broken = copy.deepcopy(tape)
    BREAKS[name](broken)
    assert broken != tape, "nothing was changed"
    with pytest.raises(ClaimFailed):
        Tour(Player(broken)).play()


def test_a_subnet_missing_on_the_card_fails_the_tour(tape: list[Exchange]) -> None:
    broken = copy.deepcopy(tape)
    message("Approval needed", without_text(first_subnet(tape)))(broken)
    with pytest.raises(ClaimFailed, match="three subnets"):
        Tour(Player(broken)).play()


def test_guest_and_requester_are_not_the_same(tape: list[Exchange]) -> None:
    clicks = [body["user"] for _m, where, body, _a in tape if where.endswith("/act/click") and body]
    assert clicks == [GUEST, DEV, APPROVER]
