"""The demo's tour: acts as people would, and judges only by what the sandbox shows (Slack's messages, EC2's tags).

It knows nothing of the bot's database and imports nothing of the bot: every claim is checked against what a person in
that workspace, or an administrator of that AWS account, can see.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
CHANNEL = "CPLATFORM1"
DEV, APPROVER, GUEST = "UDEV000001", "UAPPROVE01", "UGUEST0001"
NAMES = {DEV: "dev", APPROVER: "approver", GUEST: "guest", "UAPPROVE02": "second-approver"}
MANAGEMENT = "111122223333"
KEY = "kubernetes.io/cluster/demo"


class ClaimFailed(Exception):
    """The world does not look as the tour says it should."""


class View:
    """The sandbox as a person sees it, over HTTP."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def http(self, method: str, path: str, body: Json | None = None, timeout: float = 70.0) -> Json:
        """One call of the sandbox's control API."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310 - the sandbox's own address
            f"{self.url}{path}", data=data, method=method, headers={"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:  # noqa: S310
                found: Json = json.load(answer)
        except urllib.error.HTTPError as error:
            found = json.load(error)
        return found

    def get(self, path: str, **query: Any) -> Json:
        """GET with a query."""
        words = {key: value for key, value in query.items() if value is not None}
        return self.http("GET", f"{path}?{urllib.parse.urlencode(words)}")

    def command(self, user: str, text: str, *, command: str = "/tkg", channel: str = CHANNEL, **more: Any) -> Json:
        """Somebody types a slash command."""
        body = {"user": user, "channel": channel, "command": command, "text": text, **more}
        return self.http("POST", "/sandbox/act/command", body)

    def click(self, user: str, ts: str, action: str, *, channel: str = CHANNEL, **more: Any) -> Json:
        """Somebody clicks a button of a message."""
        body = {"user": user, "channel": channel, "ts": ts, "action_id": action, **more}
        return self.http("POST", "/sandbox/act/click", body)

    def messages(self, user: str, *, channel: str = CHANNEL, thread: str | None = None) -> list[Json]:
        """What somebody sees in a channel, or in a thread."""
        found: list[Json] = self.get("/sandbox/messages", channel=channel, thread=thread, **{"as": user})["messages"]
        return found

    def wait(
        self,
        user: str,
        text: str,
        *,
        channel: str = CHANNEL,
        thread: str | None = None,
        since: str | None = None,
        timeout: float = 60,
    ) -> Json:
        """The newest message that shows `text` to `user`, waited for. Raises ClaimFailed."""
        query = {"channel": channel, "contains": text, "timeout": timeout, "thread": thread, "since": since}
        found = self.get("/sandbox/wait", **query, **{"as": user})
        if not found.get("message"):
            raise ClaimFailed(f"nobody showed {NAMES.get(user, user)} “{text}”")
        message: Json = found["message"]
        return message

    def aws(self) -> Json:
        """The AWS world: accounts with their VPCs and subnets by name."""
        return self.http("GET", "/sandbox/aws")

    def tags(self, account: str = MANAGEMENT, region: str = "us-east-1") -> dict[str, dict[str, str]]:
        """The tags of every subnet, as an administrator of that account sees them."""
        found: dict[str, dict[str, str]] = self.get("/sandbox/aws/tags", account=account, region=region)["subnets"]
        return found

    def aws_calls(self) -> list[Json]:
        """Every call that reached AWS."""
        found: list[Json] = self.http("GET", "/sandbox/aws/calls")["calls"]
        return found

    def slack_faults(self, **faults: Any) -> None:
        """Switches Slack's faults."""
        self._switched(self.http("POST", "/sandbox/faults", faults))

    def aws_faults(self, **faults: Any) -> None:
        """Switches AWS's faults."""
        self._switched(self.http("POST", "/sandbox/aws/faults", faults))

    @staticmethod
    def _switched(answer: Json) -> None:
        if not answer.get("ok"):
            raise ValueError(str(answer))


# -- reading messages --------------------------------------------------------------------------------------------


def texts(node: Any) -> Iterator[str]:
    """Every text in a message's blocks, in order."""
    if isinstance(node, dict):
        if node.get("type") == "user":
            yield f"@{NAMES.get(node['user_id'], node['user_id'])}"
        elif node.get("type") == "usergroup":
            yield f"@{node['usergroup_id']}"
        elif isinstance(node.get("text"), str):
            yield node["text"]
        else:
            for value in node.values():
                yield from texts(value)
    elif isinstance(node, list):
        for item in node:
            yield from texts(item)


def words(message: Json) -> str:
    """A message as one text."""
    return " ".join(texts(message.get("blocks") or [])) or str(message.get("text", ""))


def buttons(message: Json) -> list[str]:
    """The action ids of a message's buttons."""
    rows = [block for block in message.get("blocks") or [] if block["type"] == "actions"]
    return [element["action_id"] for row in rows for element in row["elements"]]


# -- the tour ----------------------------------------------------------------------------------------------------


@dataclass
class Tour:
    """Plays the acts in order. `say` is told each act and each claim that held."""

    view: View
    say: Callable[[str], None] = lambda line: None
    subnets: dict[str, str] = field(default_factory=dict)
    claims: int = 0

    def claim(self, what: str, holds: bool) -> None:
        """One claim. Raises ClaimFailed."""
        if not holds:
            raise ClaimFailed(what)
        self.claims += 1
        self.say(f"   ✓ {what}")

    def play(self) -> None:
        """The whole tour. Raises ClaimFailed at the first claim that does not hold."""
        account = self.view.aws()["accounts"][MANAGEMENT]
        self.subnets = account["vpcs"]["demo"]["subnets"]
        self._help()
        self._blocked()
        card = self._asked()
        self._refused(card)
        self._approved(card)

    def _named(self, *names: str) -> list[str]:
        return [self.subnets[name] for name in names]

    def _tagged(self) -> set[str]:
        tags = self.view.tags()
        return {name for name, ident in self.subnets.items() if tags[ident].get(KEY) == "shared"}

    def _type(self, user: str, text: str) -> None:
        self.say(f"\n{NAMES[user]}: /tkg {text}")
        answer = self.view.command(user, text)
        self.claim("Slack had its answer within three seconds", bool(answer.get("acked")))

    def _help(self) -> None:
        self._type(DEV, "help")
        answer = self.view.wait(DEV, "subnet tag")
        self.say(_quoted(answer))
        self.claim("help names the command, and only dev sees it", bool(answer["ephemeral"]))
        others = [words(message) for message in self.view.messages(APPROVER)]
        self.claim("nobody else was disturbed", not any("subnet tag" in text for text in others))

    def _blocked(self) -> None:
        chosen = self._named("demo-public-a", "demo-public-b", "demo-private-a")
        self._type(DEV, f"subnet tag demo {' '.join(chosen)}")
        card = self.view.wait(DEV, "Blocked")
        self.say(_quoted(card))
        self.claim("the card names the private subnet", chosen[2] in words(card) and "is private" in words(card))
        self.claim("a blocked plan has no Approve button", "tkg:approve" not in buttons(card))
        self.claim("nothing was tagged", self._tagged() == set())

    def _asked(self) -> Json:
        chosen = self._named("demo-public-a", "demo-public-b", "demo-public-c")
        self._type(DEV, f"subnet tag demo {' '.join(chosen)}")
        card = self.view.wait(DEV, "Approval needed")
        self.say(_quoted(card))
        self.claim("the card shows all three subnets", all(name in words(card) for name in chosen))
        self.claim("the card has an Approve button", "tkg:approve" in buttons(card))
        self.claim("nothing was tagged before the approval", self._tagged() == set())
        return card

    def _refused(self, card: Json) -> None:
        for user, reason in ((GUEST, "Guests"), (DEV, "You asked for this")):
            self.say(f"\n{NAMES[user]} clicks Approve")
            self.view.click(user, card["ts"], "tkg:approve")
            answer = self.view.wait(user, reason)
            self.say(_quoted(answer))
            self.claim(f"{NAMES[user]} is refused, and only {NAMES[user]} sees why", bool(answer["ephemeral"]))
        now = self._card(card)
        self.claim("the request still waits", "Approval needed" in words(now) and "tkg:approve" in buttons(now))
        self.claim("nothing was tagged after the refused clicks", self._tagged() == set())

    def _approved(self, card: Json) -> None:
        self.say("\napprover clicks Approve")
        self.view.click(APPROVER, card["ts"], "tkg:approve")
        result = self.view.wait(DEV, "Done and proven", thread=card["ts"], since=card["ts"])
        self.view.wait(DEV, "🟢 Done")
        now = self._card(card)
        self.say(_quoted(now))
        for message in self.view.messages(DEV, thread=card["ts"])[1:]:
            self.say(_quoted(message, "   ↳ "))
        self.claim("the card says that it is done, and who approved", f"<@{APPROVER}>" in words(now))
        self.claim("the card has no buttons left", buttons(now) == [])
        self.claim("the result is in the thread and calls the requester", "@dev" in words(result))
        wanted = {"demo-public-a", "demo-public-b", "demo-public-c"}
        self.claim("EC2 has the tag on exactly the three subnets", self._tagged() == wanted)
        changing = [call for call in self.view.aws_calls() if call["mutating"] and call["service"] == "ec2"]
        self.claim("AWS was asked to change something exactly once", len(changing) == 1)
        self.claim("AWS knows on whose behalf", changing[0]["source_identity"] == DEV)

    def _card(self, card: Json) -> Json:
        return next(message for message in self.view.messages(DEV) if message["ts"] == card["ts"])


def _quoted(message: Json, mark: str = "   │ ") -> str:
    lines: list[str] = []
    for block in message.get("blocks") or []:
        if block["type"] == "table":
            lines += [" · ".join(cell.get("text", "") for cell in row) for row in block["rows"]]
        elif block["type"] == "actions":
            lines.append(" ".join(f"[{element['text']['text']}]" for element in block["elements"]))
        elif block["type"] == "rich_text":
            lines += [line for element in block["elements"] for line in _rich(element)]
        elif block["type"] == "section":
            lines += [" ".join(field["text"].split("\n")) for field in block.get("fields", [])]
        else:
            lines.append(" ".join(texts(block)))
    only = " (only visible to you)" if message.get("ephemeral") else ""
    return "\n".join(f"{mark}{line}" for line in [f"tkgbot{only}", *lines] if line)


def _rich(element: Json) -> list[str]:
    if element["type"] == "rich_text_list":
        return [f"• {''.join(texts(item))}" for item in element["elements"]]
    return "".join(texts(element)).splitlines()
