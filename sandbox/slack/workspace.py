"""The workspace's state: people, channels, messages, and who sees what. No I/O here.

Object shapes follow Slack's "User object", "Conversation object" and "Message" pages; only what
apps read is kept. Ids of the seeded world are fixed, so that tests and docs can name them.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, TypeVar

import yaml

from sandbox.slack.blocks import elements_of

Json = dict[str, Any]
Thing = TypeVar("Thing")
TEAM, APP, BOT_USER, BOT = "TSANDBOX01", "ATKGBOT001", "UTKGBOT001", "BTKGBOT001"
SLACKBOT, LINK = "USLACKBOT", re.compile(r"(?<![\w@#])[@#][\w.-]+|https?://[^\s<>]+")
IDS = {"team_id": TEAM, "app_id": APP, "bot_id": BOT}
BOT_SCOPES = {
    "commands", "app_mentions:read", "chat:write", "users:read", "users:read.email", "usergroups:read",
    "channels:read", "groups:read", "im:write", "reactions:write", "files:write",
}  # fmt: skip
RESPONSE_URL_SECONDS, RESPONSE_URL_POSTS = 1800.0, 5


class SlackError(Exception):
    """An `{"ok": false}` answer; `extra` is merged into it."""

    def __init__(self, code: str, *, status: int = 200, extra: Json | None = None) -> None:
        super().__init__(code)
        self.code, self.status, self.extra = code, status, extra or {}


def faulty(code: str, faults: list[str]) -> SlackError:
    """An error with every fault, as Slack lists them."""
    notes = {"messages": [f"[ERROR] {fault}" for fault in faults]}
    return SlackError(code, extra={"errors": faults, "response_metadata": notes})


def ensure(good: object, error: str, status: int = 200) -> None:
    if not good:
        raise SlackError(error, status=status)


def found(thing: Thing | None, error: str, status: int = 200) -> Thing:
    """The thing, which must be there."""
    if thing is None:
        raise SlackError(error, status=status)
    return thing


@dataclass
class Message:
    ts: str
    channel: str
    user: str
    text: str
    blocks: list[Json]
    thread_ts: str | None = None
    broadcast: bool = False
    only_for: str | None = None
    metadata: Json | None = None
    edited: str | None = None
    revisions: int = 0
    reactions: dict[str, list[str]] = field(default_factory=dict)
    files: list[Json] = field(default_factory=list)

    @property
    def is_reply(self) -> bool:
        return self.thread_ts is not None and self.thread_ts != self.ts

    @property
    def in_channel(self) -> bool:
        """Whether the channel itself shows it, not only its thread."""
        return not self.is_reply or self.broadcast


@dataclass
class Key:
    """A trigger or a response_url: for whom and where, until when, how often. `view` is where a trigger was made."""

    user: str
    expires: float
    left: int
    channel: str = ""
    original: str = ""
    view: str = ""


class Workspace:
    """Everything the server knows. `clock` gives Unix seconds, `token` a fresh random word; a trigger id is good for
    `trigger_seconds`."""

    def __init__(
        self, clock: Callable[[], float], token: Callable[[], str] | None = None, *, trigger_seconds: float
    ) -> None:
        self.clock, self.token = clock, token or (lambda: secrets.token_hex(12))
        self.bot_token, self.app_token = f"xoxb-sandbox-{self.token()}", f"xapp-sandbox-{self.token()}"
        self.signing_secret, self.verification_token = self.token(), self.token()
        self._seed(json.loads(files("sandbox.slack").joinpath("world.json").read_text("utf-8")))
        self._install(yaml.safe_load(files("manifests.slack").joinpath("app.yaml").read_text("utf-8")))
        self.messages: dict[str, dict[str, Message]] = {}
        self.threads: dict[tuple[str, str | None], list[Message]] = {}
        self.triggers: dict[str, Key] = {}
        self.trigger_seconds = trigger_seconds
        self.response_urls: dict[str, Key] = {}
        self.views: dict[str, Json] = {}
        self.log: list[Json] = []
        self.listeners: set[Callable[[Json], None]] = set()
        self.base_url, self._last_ts = "", 0

    def _seed(self, world: Json) -> None:
        self.methods: dict[str, Json] = world["methods"]
        self.blank_faults, self.faults = world["faults"], dict(world["faults"])
        self.blank_channel: Json = world["channel"]
        self.kinds: dict[str, str] = {uid: person.pop("kind") for uid, person in world["people"].items()}
        self.users: dict[str, Json] = {}
        for uid, person in world["people"].items():
            mail = {"email": f"{person['name']}@sandbox.example"} if self.kinds[uid] == "member" else {}
            profile = {"real_name": person["name"], "display_name": person["name"], **mail}
            self.users[uid] = {"id": uid, "profile": profile, **world["user"], **person}
        self.groups = {gid: {"id": gid, "team_id": TEAM, **group} for gid, group in world["groups"].items()}
        blank, places = self.blank_channel, world["channels"].items()
        self.channels: dict[str, Json] = {cid: {"id": cid, **blank, **place} for cid, place in places}

    def _install(self, app: Json) -> None:
        """The app as its manifest describes it ("App manifest reference")."""
        self.commands: list[Json] = app["features"]["slash_commands"]
        self.shortcuts: list[Json] = app["features"]["shortcuts"]

    @property
    def scopes(self) -> set[str]:
        """What the app's bot token may do."""
        more = {"channels:history", "groups:history", "im:history"} if self.faults["history_scope"] else set()
        return (BOT_SCOPES | more | set(self.faults["more_scopes"])) - set(self.faults["without_scopes"])

    # -- what happened

    def tell(self, change: Json) -> None:
        """To everybody who waits for a change, and to the pages."""
        for listener in list(self.listeners):
            listener(change)

    def record(self, kind: str, method: str, args: Any = None, *, ok: bool = True, **more: Any) -> None:
        entry: Json = {"n": len(self.log) + 1, "at": self.clock(), "kind": kind, "method": method}
        self.log.append({**entry, "args": args, "ok": ok, "error": None, "status": 200, **more})

    # -- who and where

    def may_see(self, user: str, channel: str) -> bool:
        """Members see a channel; so does any full member of the team when it is public."""
        if user in self.users and channel == f"D{user[1:]}":
            self.direct(user)
        place, person = self.channels.get(channel), self.users.get(user)
        if place is None or person is None:
            return False
        full = person["team_id"] == TEAM and not person["is_restricted"]
        return user in place["members"] or (full and not place["is_private"])

    def direct(self, user: str) -> Json:
        """The direct conversation between a user and the app, made when first asked for."""
        cid = f"D{user[1:]}"
        if cid not in self.channels:
            more = {"is_im": True, "is_private": True, "user": user, "members": [user, BOT_USER]}
            self.channels[cid] = {"id": cid, "name": "directmessage", **self.blank_channel, **more}
            self.tell({"type": "state"})
        return self.channels[cid]

    def channel_name(self, channel: str) -> str:
        """The name in payloads, which hides that of a private channel."""
        place = self.channels[channel]
        return "privategroup" if place["is_private"] and not place["is_im"] else str(place["name"])

    # -- messages

    def next_ts(self) -> str:
        """Unique and rising per workspace, as Slack promises per channel."""
        self._last_ts = max(self._last_ts + 1, int(self.clock() * 1_000_000))
        return self.newest_ts

    @property
    def newest_ts(self) -> str:
        """The last one that was given to anything."""
        return f"{self._last_ts // 1_000_000}.{self._last_ts % 1_000_000:06d}"

    def post(self, channel: str, user: str, text: str, blocks: list[Json] | None, **more: Any) -> Message:
        message = Message(self.next_ts(), channel, user, text, self.named(blocks or []), **more)
        here = self.messages.setdefault(channel, {})
        here[message.ts] = message
        root = here.get(message.thread_ts or "")
        if root is not None and not message.only_for:
            message.thread_ts = root.thread_ts or root.ts
            self.threads.setdefault((channel, message.thread_ts), []).append(message)
        self.changed(message)
        return message

    def changed(self, message: Message, deleted: bool = False) -> None:
        self.tell({"type": "message", "message": message, "deleted": deleted})
        root = self.messages[message.channel].get(message.thread_ts or "")
        if root is not None and root is not message:
            self.tell({"type": "message", "message": root, "deleted": False})

    def edit(self, message: Message, text: str | None, blocks: list[Json] | None) -> None:
        """Slack marks a message as edited only when its text differs ("chat.update")."""
        if text is not None and text != message.text:
            message.text, message.edited = text, self.next_ts()
        message.blocks = self.named(blocks or [])
        message.revisions += 1
        self.changed(message)

    def remove(self, message: Message) -> None:
        del self.messages[message.channel][message.ts]
        if message in self.replies_to(message):
            self.replies_to(message).remove(message)
        self.changed(message, deleted=True)

    def find(self, channel: str, ts: str, user: str = BOT_USER) -> Message | None:
        message = self.messages.get(channel, {}).get(ts)
        return message if message and message.only_for in (None, user) else None

    def visible(self, channel: str, user: str) -> list[Message]:
        return [m for m in self.messages.get(channel, {}).values() if m.only_for in (None, user)]

    def replies_to(self, message: Message) -> list[Message]:
        """The replies in the thread that the message is in."""
        return self.threads.get((message.channel, message.thread_ts or message.ts), [])

    def named(self, blocks: list[Json]) -> list[Json]:
        """Slack gives each nameless block and element an id, which comes back in payloads."""
        copies: list[Json] = json.loads(json.dumps(blocks))
        for block in copies:
            block.setdefault("block_id", self.token()[:6])
            for element in elements_of(block):
                element.setdefault("action_id", self.token()[:6])
        return copies

    def api_message(self, message: Message, with_metadata: bool = False) -> Json:
        """The message as the Web API and payloads show it."""
        out: Json = {"type": "message", "ts": message.ts, "user": message.user, "text": message.text}
        replies = [] if message.is_reply else self.replies_to(message)
        pairs = message.reactions.items()
        app = {"bot_id": BOT, "app_id": APP, "bot_profile": {"id": BOT, "app_id": APP, "name": "tkgbot"}}
        some: list[tuple[object, Json]] = [
            (message.user == BOT_USER, app),
            (message.blocks, {"blocks": message.blocks}),
            (message.files, {"files": message.files, "upload": False, "display_as_bot": False}),
            (message.edited, {"edited": {"user": message.user, "ts": message.edited}}),
            (message.thread_ts or replies, {"thread_ts": message.thread_ts or message.ts}),
            (replies, {"reply_count": len(replies), "latest_reply": replies[-1].ts if replies else ""}),
            (pairs, {"reactions": [{"name": n, "users": users, "count": len(users)} for n, users in pairs]}),
            (with_metadata and message.metadata, {"metadata": message.metadata}),
        ]
        return out | {"team": TEAM} | {name: v for there, more in some if there for name, v in more.items()}

    def shown(self, message: Message) -> Json:
        """The message as the control API and the page show it."""
        more: Json = {"channel": message.channel, "edited": message.edited is not None}
        more |= {
            "broadcast": message.broadcast,
            "ephemeral": message.only_for is not None,
            "revisions": message.revisions,
        }
        return {"blocks": [], "reply_count": 0, **self.api_message(message, True), **more}

    # -- short-lived keys

    def new_trigger(self, user: str, view: str = "") -> str:
        key = f"{int(self.clock())}.{len(self.triggers) + 1}.{self.token()}"
        self.triggers[key] = Key(user, self.clock() + self.trigger_seconds, 1, view=view)
        return key

    def take_trigger(self, key: str) -> Key:
        """Three seconds, once ("views.open": errors)."""
        trigger = found(self.triggers.get(key), "invalid_trigger_id")
        ensure(self.clock() <= trigger.expires and not self.faults["late_triggers"], "expired_trigger_id")
        ensure(trigger.left, "exchanged_trigger_id")
        trigger.left = 0
        return trigger

    def new_response_url(self, user: str, channel: str, original: str = "") -> str:
        key, ends = self.token(), self.clock() + RESPONSE_URL_SECONDS
        self.response_urls[key] = Key(user, ends, RESPONSE_URL_POSTS, channel, original)
        return f"{self.base_url}/response/{key}"

    # -- typed text

    def escaped(self, user: str, text: str, links: bool = True, names: bool = True) -> str:
        """Typed text as apps get it ("Implementing slash commands": escaping); in messages without names."""
        text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        text = LINK.sub(lambda hit: self._linked(user, hit[0]), text) if links else text
        return text if names else re.sub(r"<([^|>]+)\|[^>]*>", r"<\1>", text)

    def _linked(self, user: str, word: str) -> str:
        if word[0] not in "@#":
            return f"<{word}|{word}>"
        name = word[1:].rstrip(".")
        seen = [place for place in self.channels.values() if self.may_see(user, place["id"])]
        known = {f"#{place['name']}": f"#{place['id']}|{name}" for place in seen}
        known |= {f"@{special}": f"!{special}" for special in ("here", "channel", "everyone")}
        known |= {f"@{g['handle']}": f"!subteam^{g['id']}|@{name}" for g in self.groups.values()}
        known |= {f"@{u['name']}": f"@{u['id']}|{name}" for u in self.users.values()}
        link = known.get(word[0] + name)
        return f"<{link}>{word[1 + len(name) :]}" if link else word
