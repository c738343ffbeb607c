"""Slack's Web API methods on the workspace: arguments in, answer or SlackError out. No I/O.

Names, arguments and error codes are from each method's page in Slack's documentation. Channel names
are refused where an id works as well: an app that sends names breaks at the first rename.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from sandbox.slack.arguments import Args
from sandbox.slack.files import Files
from sandbox.slack.views import Views
from sandbox.slack.workspace import BOT_USER, IDS, Json, Message, SlackError, Workspace, ensure, found

# Burst and refill per second ("Web API rate limits"); tier 0 is chat.postMessage, per channel.
TIERS = {0: (4, 1.0), 1: (1, 1 / 60), 2: (20, 20 / 60), 3: (50, 50 / 60), 4: (100, 100 / 60)}


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
    """All methods by their names, with `_` for `.`. `later` carries out what Slack does after its answer."""

    def __init__(self, ws: Workspace, later: Callable[[Callable[[], None]], None]) -> None:
        self.ws, self.limiter, self.views = ws, Limiter(ws.clock), Views(ws)
        self.files = Files(ws, later)

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
        names = {"url": f"{self.ws.base_url}/", "team": "sandbox", "user": "tkgbot"}
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
        link = f"{self.ws.base_url}/archives/{message.channel}/p{message.ts.replace('.', '')}"
        thread = f"?thread_ts={message.thread_ts}&cid={message.channel}" if message.is_reply else ""
        return {"channel": message.channel, "permalink": link + thread}

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

    # -- files

    def files_getUploadURLExternal(self, args: Args) -> Json:
        return self.files.ticket(args)

    def files_completeUploadExternal(self, args: Args) -> Json:
        channels = [name for name in str(args.get("channels") or "").split(",") if name]
        ensure(len(channels) <= 1, "channels_limit_exceeded")
        channel = str(args.get("channel_id") or "") or "".join(channels)
        return self.files.complete(args, self._writable(channel) if channel else None)

    def files_info(self, args: Args) -> Json:
        return self.files.info(args)

    # -- modals

    def views_open(self, args: Args) -> Json:
        return {"view": self.views.open(args.need("trigger_id"), args.data("view", "invalid_arguments"))}

    def views_push(self, args: Args) -> Json:
        return {"view": self.views.push(args.need("trigger_id"), args.data("view", "invalid_arguments"))}

    def views_update(self, args: Args) -> Json:
        old = self.views.find(args.get("view_id"), args.get("external_id"))
        return {"view": self.views.update(old, args.get("hash"), args.data("view", "invalid_arguments"))}
