"""Slack's Web API methods on the workspace: arguments in, answer or SlackError out. No I/O.

Names, arguments and error codes are from each method's page in Slack's documentation. Channel names
are refused where an id works as well: an app that sends names breaks at the first rename.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

from sandbox.slack.blocks import check_blocks, check_view, too_long
from sandbox.slack.workspace import BOT_USER, IDS, Json, Message, SlackError, Workspace, ensure, found

# The metadata limit is this sandbox's own: Slack names the error but not the size.
MAX_TEXT_CHARS, MAX_METADATA_CHARS = 40_000, 8_000
# Burst and refill per second ("Web API rate limits"); tier 0 is chat.postMessage, per channel.
TIERS = {0: (4, 1.0), 1: (1, 1 / 60), 2: (20, 20 / 60), 3: (50, 50 / 60), 4: (100, 100 / 60)}


class Args(dict[str, Any]):
    """A call's arguments, from a form (all words) or JSON (typed)."""

    def need(self, name: str) -> str:
        value = self.get(name)
        if not isinstance(value, str) or not value:
            raise invalid("invalid_arguments", [f"missing required field: {name}"])
        return value

    def flag(self, name: str) -> bool:
        return self.get(name) in (True, 1, "1", "true", "True")

    def data(self, name: str, error: str) -> Any:
        """A nested value: itself in a JSON body, its JSON text in a form."""
        value = self.get(name)
        try:
            return json.loads(value) if isinstance(value, str) and value else value or None
        except ValueError as bad:
            raise SlackError(error) from bad

    def content(self) -> tuple[str | None, list[Json] | None]:
        """Checked text and blocks of a message; None means not sent."""
        text, blocks = self.get("text"), self.data("blocks", "invalid_blocks_format")
        ensure(blocks is None or isinstance(blocks, list), "invalid_blocks_format")
        ensure(text is None or isinstance(text, str), "invalid_arguments")
        ensure(len(text or "") <= MAX_TEXT_CHARS, "msg_too_long")
        faults = check_blocks(blocks or [])
        if faults:
            raise invalid("invalid_blocks", faults)
        ensure(not too_long(blocks or []), "msg_blocks_too_long")
        ensure(text or blocks, "no_text")
        return text, blocks

    def metadata(self) -> Json | None:
        data = self.data("metadata", "invalid_metadata_format")
        if data is None:
            return None
        good = isinstance(data, dict) and isinstance(data.get("event_type"), str)
        ensure(good and isinstance(data.get("event_payload"), dict), "invalid_metadata_schema")
        ensure(len(json.dumps(data)) <= MAX_METADATA_CHARS, "metadata_too_large")
        return {"event_type": data["event_type"], "event_payload": data["event_payload"]}

    def page(self, name: str, items: list[Any]) -> Json:
        """One page ("Pagination"); the cursor is the next offset."""
        cursor = str(self.get("cursor") or "0")
        ensure(cursor.isdigit(), "invalid_cursor")
        end = int(cursor) + max(1, min(int(self.get("limit") or 100), 1000))
        more = end < len(items)
        cursors = {"response_metadata": {"next_cursor": str(end) if more else ""}}
        return {name: items[int(cursor) : end], "has_more": more, **cursors}


def invalid(code: str, faults: list[str]) -> SlackError:
    notes = {"messages": [f"[ERROR] {fault}" for fault in faults]}
    return SlackError(code, extra={"errors": faults, "response_metadata": notes})


class Limiter:
    """One leaky bucket per method (and channel, for posts)."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.buckets: dict[tuple[str, str], tuple[float, float]] = {}

    def wait(self, name: str, tier: int, channel: str) -> int:
        """Seconds to wait before this call; 0 means that it may go ahead, and counts it."""
        burst, refill = TIERS[tier]
        key, now = (name, channel if tier == 0 else ""), self.clock()
        left, since = self.buckets.get(key, (burst, now))
        left = min(burst, left + (now - since) * refill)
        self.buckets[key] = (left - (left >= 1), now)
        return 0 if left >= 1 else max(1, math.ceil((1 - left) / refill))


class WebApi:
    """All methods by their names, with `_` for `.`."""

    def __init__(self, ws: Workspace) -> None:
        self.ws, self.limiter = ws, Limiter(ws.clock)

    def call(self, name: str, args: Args) -> Json:
        run: Callable[[Args], Json] = getattr(self, name.replace(".", "_"))
        try:
            return run(args)
        except ValueError as bad:
            raise SlackError("invalid_arguments") from bad

    # -- people and places

    def _place(self, channel: str, *, member: bool = False) -> Json:
        place = found(self.ws.channels.get(channel), "channel_not_found")
        inside = BOT_USER in place["members"]
        ensure(inside or not place["is_private"], "channel_not_found")
        ensure(inside or not member, "not_in_channel")
        return place

    def _writable(self, channel: str) -> Json:
        place = self._direct(channel) if channel in self.ws.users else self._place(channel, member=True)
        ensure(not place["is_archived"], "is_archived")
        return place

    def _direct(self, user: str) -> Json:
        person = found(self.ws.users.get(user), "user_not_found")
        ensure(not person["is_bot"], "cannot_dm_bot")
        ensure(not person["deleted"], "user_disabled")
        return self.ws.direct(user)

    def _shown(self, place: Json) -> Json:
        members = place["members"]
        more: Json = {"is_channel": not place["is_im"], "is_member": BOT_USER in members}
        more["num_members"] = len(members)
        return {k: v for k, v in place.items() if k != "members"} | more

    def auth_test(self, args: Args) -> Json:
        names = {"url": "https://sandbox.slack.com/", "team": "sandbox", "user": "tkgbot"}
        return {**IDS, **names, "user_id": BOT_USER, "is_enterprise_install": False}

    def users_info(self, args: Args) -> Json:
        return {"user": found(self.ws.users.get(args.need("user")), "user_not_found")}

    def users_list(self, args: Args) -> Json:
        return args.page("members", list(self.ws.users.values()))

    def usergroups_list(self, args: Args) -> Json:
        groups = [{**group, "user_count": len(group["users"])} for group in self.ws.groups.values()]
        hidden = "" if args.flag("include_users") else "users"
        return {"usergroups": [{k: v for k, v in group.items() if k != hidden} for group in groups]}

    def usergroups_users_list(self, args: Args) -> Json:
        return {"users": found(self.ws.groups.get(args.need("usergroup")), "no_such_subteam")["users"]}

    def conversations_info(self, args: Args) -> Json:
        return {"channel": self._shown(self._place(args.need("channel")))}

    def conversations_list(self, args: Args) -> Json:
        kinds, words = str(args.get("types") or "public_channel"), ("public_channel", "private_channel", "im")
        seen = [c for c in self.ws.channels.values() if not c["is_private"] or BOT_USER in c["members"]]
        here = [place for place in seen if words[place["is_private"] + place["is_im"]] in kinds.split(",")]
        return args.page("channels", [self._shown(place) for place in here])

    def conversations_members(self, args: Args) -> Json:
        return args.page("members", self._place(args.need("channel"))["members"])

    def conversations_open(self, args: Args) -> Json:
        users = args.get("users") or ""
        users = users if isinstance(users, list) else [user for user in str(users).split(",") if user]
        ensure(len(users) == 1, "too_many_users" if users else "users_list_not_supplied")
        return {"channel": {"id": self._direct(users[0])["id"]}}

    # -- messages

    def _message(self, args: Args, name: str, error: str = "message_not_found") -> Message:
        place = self._place(args.need("channel"), member=True)
        message = found(self.ws.messages.get(place["id"], {}).get(args.need(name)), error)
        ensure(not message.only_for, error)
        return message

    def _pages(self, args: Args, messages: list[Message]) -> Json:
        oldest, latest = float(args.get("oldest") or 0), float(args.get("latest") or math.inf)
        edges = (oldest, latest) if args.flag("inclusive") else ()
        inside = [m for m in messages if oldest < float(m.ts) < latest or float(m.ts) in edges]
        whole = args.flag("include_all_metadata")
        return args.page("messages", [self.ws.api_message(m, whole) for m in inside])

    def conversations_history(self, args: Args) -> Json:
        place = self._place(args.need("channel"), member=True)
        return self._pages(args, [m for m in reversed(self.ws.visible(place["id"], "")) if m.in_channel])

    def conversations_replies(self, args: Args) -> Json:
        root = self._message(args, "ts", "thread_not_found")
        return self._pages(args, [root, *self.ws.replies_to(root)])

    def chat_postMessage(self, args: Args) -> Json:
        channel, thread = self._writable(args.need("channel"))["id"], args.get("thread_ts") or None
        (text, blocks), metadata = args.content(), args.metadata()
        ensure(not thread or self.ws.find(channel, str(thread)), "thread_not_found")
        wide = bool(thread) and args.flag("reply_broadcast")
        more = {"thread_ts": thread, "broadcast": wide, "metadata": metadata}
        message = self.ws.post(channel, BOT_USER, text or "", blocks, **more)
        return {"channel": channel, "ts": message.ts, "message": self.ws.api_message(message, True)}

    def chat_update(self, args: Args) -> Json:
        """Text without blocks removes the blocks; blocks without text, and no metadata, keep what was."""
        message = self._message(args, "ts")
        ensure(message.user == BOT_USER, "cant_update_message")
        text, blocks = args.content()
        message.metadata = args.metadata() or message.metadata
        self.ws.edit(message, text, blocks)
        ids = {"channel": message.channel, "ts": message.ts, "text": message.text}
        return {**ids, "message": self.ws.api_message(message, True)}

    def chat_delete(self, args: Args) -> Json:
        message = self._message(args, "ts")
        ensure(message.user == BOT_USER, "cant_delete_message")
        self.ws.remove(message)
        return {"channel": message.channel, "ts": message.ts}

    def chat_postEphemeral(self, args: Args) -> Json:
        place, user = self._writable(args.need("channel")), args.need("user")
        ensure(user in place["members"], "user_not_in_channel")
        text, blocks = args.content()
        thread = args.get("thread_ts") or None
        message = self.ws.post(place["id"], BOT_USER, text or "", blocks, thread_ts=thread, only_for=user)
        return {"message_ts": message.ts}

    def chat_getPermalink(self, args: Args) -> Json:
        message = self._message(args, "message_ts")
        link = f"{self.ws.base_url}/?channel={message.channel}&thread={message.thread_ts or message.ts}"
        return {"channel": message.channel, "permalink": link}

    def reactions_add(self, args: Args) -> Json:
        message = self._message(args, "timestamp")
        users = message.reactions.setdefault(args.need("name"), [])
        ensure(BOT_USER not in users, "already_reacted")
        users.append(BOT_USER)
        self.ws.changed(message)
        return {}

    def blocks_validate(self, args: Args) -> Json:
        args.content()
        return {}

    # -- modals

    def make_view(self, user: str, view: Any, below: Json | None = None) -> Json:
        """A checked modal for a user, on top of the one `below` if there is one."""
        faults = check_view(view)
        if faults:
            raise invalid("invalid_arguments", faults)
        key = f"V{self.ws.token()[:10].upper()}"
        ids = {"id": key, "root_view_id": key, "user": user, **IDS}
        stack = {"previous_view_id": below["id"], "root_view_id": below["root_view_id"]} if below else {}
        blank = {"private_metadata": "", "callback_id": "", "external_id": "", "state": {"values": {}}}
        mark = f"{int(self.ws.clock())}.{self.ws.token()[:8]}"
        more = {"hash": mark, "app_installed_team_id": IDS["team_id"]}
        return {**blank, **view, **ids, **stack, **more, "blocks": self.ws.named(view["blocks"])}

    def put_view(self, view: Json) -> Json:
        self.ws.views[view["id"]] = view
        self.ws.tell({"type": "view", "view": view})
        return {"view": {k: v for k, v in view.items() if k != "user"}}

    def views_open(self, args: Args) -> Json:
        view = self.make_view("", args.data("view", "invalid_arguments"))
        return self.put_view(view | {"user": self.ws.take_trigger(args.need("trigger_id")).user})

    def views_update(self, args: Args) -> Json:
        outside = args.get("external_id") or None
        same = (view for view in self.ws.views.values() if view["external_id"] == outside)
        old = found(self.ws.views.get(str(args.get("view_id"))) or next(same, None), "not_found")
        ensure(args.get("hash") in (None, "", old["hash"]), "hash_conflict")
        new = self.make_view(old["user"], args.data("view", "invalid_arguments"))
        same_place = ("id", "root_view_id", "previous_view_id")
        return self.put_view(new | {k: old[k] for k in same_place if k in old})
