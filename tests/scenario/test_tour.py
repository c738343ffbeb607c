"""The tour fails when any of its claims is broken: a good one is recorded, then played with one thing changed."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote_plus

import pytest

from bot.tour import APPROVER, DEV, GUEST, KEY, ClaimFailed, Json, Tour, View, words
from bot.tour_view import SECOND_APPROVER
from tests.world import World

DATABASE = "sqlite"
pytestmark = pytest.mark.long


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

    def file(self, user: str, file: Json) -> bytes:
        content = super().file(user, file)
        self.tape.append(("GET", file["url_private"], None, {"content": content.decode("latin-1")}))
        return content


class Player(View):
    """Gives a tape's answers in their order."""

    def __init__(self, tape: list[Exchange]) -> None:
        super().__init__("http://nowhere")
        self.tape = list(tape)

    def http(self, method: str, path: str, body: Json | None = None, timeout: float = 70.0) -> Json:
        asked, where, _body, answer = self.tape.pop(0)
        assert (asked, where.split("?")[0]) == (method, path.split("?")[0])
        return copy.deepcopy(answer)

    def file(self, user: str, file: Json) -> bytes:
        return str(self.http("GET", file["url_private"])["content"]).encode("latin-1")


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


def kube_calls(tape: list[Exchange]) -> None:
    call = {"user": "tkgbot", "mutating": True, "resource": "clusters", "dry_run": False}
    find(tape, "/sandbox/kube/calls")["calls"].append(call)


def a_node_less(tape: list[Exchange]) -> None:
    next(a for _m, where, _b, a in tape if where == "/sandbox/kube")["clusters"]["default/shop"]["nodes"].pop()


def balancer_elsewhere(tape: list[Exchange]) -> None:
    for _m, where, _b, answer in tape:
        if "/sandbox/messages" in where and "its load balancer stands in" in json.dumps(answer):
            changed = json.dumps(answer, ensure_ascii=False).replace("demo-public-a", "elsewhere")
            answer.update(json.loads(changed))


def proof_left(tape: list[Exchange]) -> None:
    for _m, where, _b, answer in tape:
        if "/sandbox/wait" in where and "Done and proven" in unquote_plus(where):
            without_text("are gone")(answer["message"])


def trust_at(number: int, change: Callable[[list[Json]], list[Json]]) -> Tamper:
    """Changes the statements that the `number`th look at the other account's trust shows."""

    def tamper(tape: list[Exchange]) -> None:
        looks = [answer for method, where, _b, answer in tape if "/sandbox/aws/trust" in where and method == "GET"]
        document = json.loads(looks[number]["document"] or '{"Statement": []}')
        document["Statement"] = change(document["Statement"])
        looks[number]["document"] = json.dumps(document)

    return tamper


def no_statements(statements: list[Json]) -> list[Json]:
    return [one for one in statements if not str(one.get("Sid", "")).startswith("Tkgbot")]


def without_external_id(statements: list[Json]) -> list[Json]:
    return [{**one, "Condition": {"StringEquals": {}}} for one in statements]


def far_node_less(tape: list[Exchange]) -> None:
    [a for _m, where, _b, a in tape if where == "/sandbox/kube"][-1]["clusters"]["default/far"]["nodes"].pop()


def machines_elsewhere(tape: list[Exchange]) -> None:
    last = [answer for _m, where, _b, answer in tape if "/sandbox/aws/calls" in where][-1]
    for call in last["calls"]:
        call["account"] = "111122223333"


def repair_makes_a_stack(tape: list[Exchange]) -> None:
    cards = _waited(tape, "Approval needed: onboard account")
    cards[-1]["message"]["blocks"].append({"type": "section", "text": {"type": "mrkdwn", "text": "+ AWSIAMRoleNodes"}})


def digest_at(number: int, change: Callable[[Json], None]) -> Tamper:
    """Changes one of the digests that were wanted."""

    def tamper(tape: list[Exchange]) -> None:
        change(_waited(tape, "wanted it now")[number]["message"])

    return tamper


def repair_card(change: Callable[[Json], None]) -> Tamper:
    """Changes the card of the repair that a digest offered."""

    def tamper(tape: list[Exchange]) -> None:
        change(_waited(tape, "Approval needed: onboard")[-1]["message"])

    return tamper


def _waited(tape: list[Exchange], text: str) -> list[Json]:
    return [a for _m, where, _b, a in tape if "/sandbox/wait" in where and text in unquote_plus(where)]


def mended_by_itself(_statements: list[Json]) -> list[Json]:
    return [{"Sid": "Tkgbot111122223333", "Effect": "Allow"}]


def gpus_at(number: int, change: Callable[[Json], None]) -> Tamper:
    """Changes what the cluster itself says of its GPUs, at one of the looks after it has any."""

    def tamper(tape: list[Exchange]) -> None:
        looks = [
            a["clusters"]["default/vision"]["gpus"]
            for _m, where, _b, a in tape
            if where.startswith("/sandbox/kube") and (a.get("clusters") or {}).get("default/vision", {}).get("gpus")
        ]
        change(looks[number])

    return tamper


def no_gpu(gpus: Json) -> None:
    for facts in gpus.values():
        facts["allocatable"] = 0


def a_gpu(gpus: Json) -> None:
    for facts in gpus.values():
        facts["allocatable"] = 1


def gpu_threads(change: Callable[[Json], None]) -> Tamper:
    """Changes the messages of threads that show verdicts."""

    def tamper(tape: list[Exchange]) -> None:
        for _m, where, _b, answer in tape:
            shown = answer.get("messages", []) if "/sandbox/messages" in where else []
            if any("VERDICT" in words(message) for message in shown):
                for message in shown:
                    change(message)

    return tamper


def a_node_failed(shown: Json) -> None:
    if "VERDICT" in words(shown):
        shown["blocks"] = json.loads(json.dumps(shown["blocks"]).replace('"passed"', '"failed"'))


def no_picture(shown: Json) -> None:
    shown.pop("files", None)


def no_description(shown: Json) -> None:
    for file in shown.get("files", []):
        file["alt_txt"] = ""


def not_a_picture(tape: list[Exchange]) -> None:
    next(answer for _m, _where, _b, answer in tape if "content" in answer)["content"] = "words"


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
    "an undo needs no approval": message("Approval needed: untag", no_buttons),
    "untagged before the approval": tags(4, untag_one),
    "the undo is not done": waits("🟢 Done: untag"),
    "the tag stays": tags(5, tag_something),
    "the key pair is not named": message("Blocked: create", without_text("laptop")),
    "a blocked cluster can be approved": message("Blocked: create", approve_button),
    "no card of the cluster": waits("Approval needed: create"),
    "a cluster before the approval": kube_calls,
    "the cluster is not done": waits("🟢 Done: create"),
    "a node is missing": a_node_less,
    "the list is for all to see": message("1 cluster, 1 running", not_ephemeral),
    "the list lacks the cluster": message("1 cluster, 1 running", without_text("shop")),
    "the load balancer is somewhere": balancer_elsewhere,
    "something of the proof is left": proof_left,
    "no GPU cluster": waits("🟢 Done: create dev cluster vision"),
    "a GPU before the operator": gpus_at(0, a_gpu),
    "a test without the operator is not blocked": waits("Blocked: test GPUs"),
    "what is missing is not said": message("Blocked: test GPUs", without_text("gpu install")),
    "a blocked test can be approved": message("Blocked: test GPUs", approve_button),
    "the operator is not done": waits("🟢 Done: install GPU operator"),
    "no GPU after the installation": gpus_at(1, no_gpu),
    "the status is silent": waits("GPU of vision can be used"),
    "the status says that it was tested": message("GPU of vision can be used", without_text("never")),
    "a node did not pass": gpu_threads(a_node_failed),
    "there is no picture": gpu_threads(no_picture),
    "the picture has no words": gpu_threads(no_description),
    "the picture is none": not_a_picture,
    "a GPU is missing in the end": gpus_at(3, no_gpu),
    "no plan of the onboarding": waits("Approval needed: onboard"),
    "the trust is not said in words": message("Approval needed: onboard", without_text("when sts:ExternalId is")),
    "made before the approval": trust_at(0, list),
    "the onboarding is not done": waits("🟢 Done: onboard"),
    "the account lets nobody in": trust_at(1, no_statements),
    "two statements": trust_at(1, lambda statements: statements * 2),
    "no external id": trust_at(1, without_external_id),
    "the other account's cluster is not done": waits("🟢 Done: create dev cluster far"),
    "a node over there is missing": far_node_less,
    "its machines are elsewhere": machines_elsewhere,
    "the check finds nothing": waits("The way into team-a does not work"),
    "whose side is not said": message("The way into team-a does not work", without_text("does not let them in")),
    "the missing statement is not said": message(
        "The way into team-a does not work", without_text("Missing in it is the statement")
    ),
    "the repair makes a stack": repair_makes_a_stack,
    "the digest is not added": waits("has the digest platform sent here"),
    "its time zone is not told": message("has the digest platform sent here", without_text("Europe/Berlin")),
    "the digest is for one person": digest_at(0, lambda shown: shown.update(ephemeral=True)),
    "a cluster is missing in the digest": digest_at(0, without_text("3 clusters")),
    "a cluster is not well": digest_at(0, without_text("all well")),
    "what is whole is told as broken": digest_at(0, lambda shown: shown["blocks"].append(
        {"type": "section", "text": {"type": "mrkdwn", "text": "does not let the controllers in any more"}}
    )),
    "what broke is not told": digest_at(1, without_text("does not let the controllers in any more")),
    "whose trust is not told": digest_at(1, without_text("team-a")),
    "no repair is offered": digest_at(1, no_buttons),
    "the offered repair needs no approval": repair_card(no_buttons),
    "mended before the approval": trust_at(-2, mended_by_itself),
    "the trust is not mended": trust_at(-4, no_statements),
    "the trust is not mended by the repair": trust_at(-1, no_statements),
    "that it is mended is not told": digest_at(2, without_text("Mended:")),
}  # fmt: skip


def test_the_recorded_tour_plays(tape: list[Exchange]) -> None:
    tour = Tour(Player(tape))
    tour.play()
    assert tour.claims >= 81


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
    assert clicks[:7] == [GUEST, DEV, APPROVER, DEV, APPROVER, APPROVER, APPROVER]
    assert clicks[7:11] == [APPROVER] * 4  # the GPU act
    assert clicks[11:] == [*[APPROVER, SECOND_APPROVER] * 3, DEV, APPROVER, SECOND_APPROVER]
