"""The sandbox as people see it: Slack's messages, AWS's tags, the clusters. What the tour and the tests look with."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]
CHANNEL = "CPLATFORM1"
DEV, APPROVER, SECOND_APPROVER, GUEST = "UDEV000001", "UAPPROVE01", "UAPPROVE02", "UGUEST0001"
NAMES = {DEV: "dev", APPROVER: "approver", GUEST: "guest", SECOND_APPROVER: "second-approver"}
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
        """GET with a query; `within` says in how many seconds it is answered, if not in 70."""
        within = float(query.pop("within", 70.0))
        words = {key: value for key, value in query.items() if value is not None}
        return self.http("GET", f"{path}?{urllib.parse.urlencode(words)}", timeout=within)

    def command(self, user: str, text: str, *, command: str = "/tkg", channel: str = CHANNEL, **more: Any) -> Json:
        """Somebody types a slash command."""
        body = {"user": user, "channel": channel, "command": command, "text": text, **more}
        return self.http("POST", "/sandbox/act/command", body)

    def click(self, user: str, ts: str, action: str, *, channel: str = CHANNEL, **more: Any) -> Json:
        """Somebody clicks a button of a message."""
        body = {"user": user, "channel": channel, "ts": ts, "action_id": action, **more}
        return self.http("POST", "/sandbox/act/click", body)

    def shortcut(self, user: str, callback: str, ts: str = "", *, channel: str = CHANNEL) -> Json:
        """Somebody chooses a shortcut: on the message at `ts`, or one that belongs to no message."""
        on = {"channel": channel, "ts": ts} if ts else {}
        return self.http("POST", "/sandbox/act/shortcut", {"user": user, "callback_id": callback, **on})

    def views(self, user: str) -> list[Json]:
        """The modals that somebody has open, the uppermost last."""
        found: list[Json] = self.get("/sandbox/views", **{"as": user})["views"]
        return found

    def press(self, user: str, view: Json, action: str, value: str = "") -> Json:
        """Somebody presses a button in a modal."""
        body = {"user": user, "view_id": view["id"], "action_id": action, "value": value}
        return self.http("POST", "/sandbox/act/click", body)

    def submit(self, user: str, view: Json, **values: Any) -> Json:
        """Somebody sends a modal, filled in by block id."""
        return self.http("POST", "/sandbox/act/view_submit", {"user": user, "view_id": view["id"], "values": values})

    def say(self, user: str, text: str, *, channel: str = CHANNEL, thread: str | None = None) -> Json:
        """Somebody writes a message."""
        body = {"user": user, "channel": channel, "text": text, "thread_ts": thread}
        return self.http("POST", "/sandbox/act/message", {name: value for name, value in body.items() if value})

    def messages(self, user: str, *, channel: str = CHANNEL, thread: str | None = None) -> list[Json]:
        """What somebody sees in a channel, or in a thread."""
        found: list[Json] = self.get("/sandbox/messages", channel=channel, thread=thread, **{"as": user})["messages"]
        return found

    def file(self, user: str, file: Json) -> bytes:
        """What is in a file of a message, as somebody who sees the message reads it."""
        path = urllib.parse.urlsplit(file["url_private"]).path
        address = f"{self.url}{path}?{urllib.parse.urlencode({'as': user})}"
        with urllib.request.urlopen(address, timeout=30) as answer:  # noqa: S310 - the sandbox's own address
            content: bytes = answer.read()
        return content

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
        found = self.get("/sandbox/wait", within=timeout + 10, **query, **{"as": user})
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

    def trust(self, account: str, role: str) -> str | None:
        """A role's trust policy, as that account's administrator reads it; None where there is no such role."""
        found: str | None = self.get("/sandbox/aws/trust", account=account, role=role)["document"]
        return found

    def set_trust(self, account: str, role: str, document: str) -> None:
        """That administrator replaces it."""
        query = urllib.parse.urlencode({"account": account, "role": role})
        self._switched(self.http("POST", f"/sandbox/aws/trust?{query}", json.loads(document)))

    def aws_calls(self) -> list[Json]:
        """Every call that reached AWS."""
        found: list[Json] = self.http("GET", "/sandbox/aws/calls")["calls"]
        return found

    def clusters(self) -> dict[str, Json]:
        """The workload clusters that are there, by `NAMESPACE/NAME`: where each one's API is, and its nodes."""
        found: dict[str, Json] = self.http("GET", "/sandbox/kube")["clusters"]
        return found

    def kube_changes(self, cluster: str | None = None) -> list[Json]:
        """Every call of the bot that changed something on the management cluster; with `NAMESPACE/NAME`, every call of
        anybody that changed something on that workload cluster, whose kubeconfig the bot shares."""
        calls: list[Json] = self.get("/sandbox/kube/calls", cluster=cluster)["calls"]
        changing = [call for call in calls if call["mutating"] and call["resource"] != "selfsubjectaccessreviews"]
        return [call for call in changing if (cluster or call["user"] == "tkgbot") and not call["dry_run"]]

    def slack_faults(self, **faults: Any) -> None:
        """Switches Slack's faults."""
        self._switched(self.http("POST", "/sandbox/faults", faults))

    def aws_faults(self, **faults: Any) -> None:
        """Switches AWS's faults."""
        self._switched(self.http("POST", "/sandbox/aws/faults", faults))

    def pace(self, pace: float | None) -> None:
        """How long the controllers take for everything, as a part of their own time; None puts it back."""
        self._switched(self.http("POST", "/sandbox/kube/faults", {"pace": pace}))

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
        elif node.get("type") == "date":
            yield str(node.get("fallback") or node["format"])
        elif isinstance(node.get("text"), str):
            yield node["text"]
        else:
            for value in node.values():
                yield from texts(value)
    elif isinstance(node, list):
        for item in node:
            yield from texts(item)


def words(message: Json) -> str:
    """A message as one text, with what its files are called and what describes them."""
    files = [str(file.get(name) or "") for file in message.get("files") or [] for name in ("title", "alt_txt")]
    said = " ".join(texts(message.get("blocks") or [])) or str(message.get("text", ""))
    return " ".join(filter(None, [said, *files]))


def buttons(message: Json) -> list[str]:
    """The action ids of a message's buttons."""
    rows = [block for block in message.get("blocks") or [] if block["type"] == "actions"]
    return [element["action_id"] for row in rows for element in row["elements"]]


def quoted(message: Json, mark: str = "   │ ") -> str:
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
    lines += [line for file in message.get("files") or [] for line in _attached(file)]
    only = " (only visible to you)" if message.get("ephemeral") else ""
    return "\n".join(f"{mark}{line}" for line in [f"tkgbot{only}", *lines] if line)


def _attached(file: Json) -> list[str]:
    """A file as who cannot see it is told of it."""
    return [f"[{file['name']}] {file['title']}", *str(file.get("alt_txt") or file.get("preview") or "").splitlines()]


def _rich(element: Json) -> list[str]:
    if element["type"] == "rich_text_list":
        return [f"• {''.join(texts(item))}" for item in element["elements"]]
    return "".join(texts(element)).splitlines()
