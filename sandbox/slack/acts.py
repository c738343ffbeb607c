"""What people do: commands, shortcuts, clicks, modals and messages, as the payloads Slack makes of them.

Shapes follow "Implementing slash commands", "Shortcuts interaction payload", "block_actions payloads",
"view_submission payloads" and "app_mention". Slack does not retry commands and clicks: the person sees an error and
presses again. Whoever may see a place may act in it here, deactivated people included, because an app must not rely
on the client to stop them.
"""

from __future__ import annotations

from typing import Any

from sandbox.slack.arguments import Args
from sandbox.slack.blocks import elements_of
from sandbox.slack.link import Delivery, Link
from sandbox.slack.views import filled_in, shown, state_of
from sandbox.slack.webapi import WebApi
from sandbox.slack.workspace import APP, BOT_USER, SLACKBOT, TEAM, Json, Message, SlackError, ensure, found


class Acts:
    def __init__(self, link: Link, api: WebApi) -> None:
        self.ws, self.link, self.views = link.ws, link, api.views

    def _seen(self, act: Args) -> tuple[str, str]:
        user, channel = act.need("user"), act.need("channel")
        ensure(self.ws.may_see(user, channel), "channel_not_found")
        return user, channel

    def _about(self, user: str, view: str = "") -> Json:
        person = self.ws.users[user]
        who = {"id": user, "username": person["name"], "name": person["name"], "team_id": person["team_id"]}
        app = {"api_app_id": APP, "token": self.ws.verification_token, "is_enterprise_install": False}
        team = {"team": {"id": TEAM, "domain": "sandbox"}, "enterprise": None}
        return {**app, **team, "user": who, "trigger_id": self.ws.new_trigger(user, view)}

    # -- slash commands

    async def command(self, act: Args) -> Json:
        user, channel = self._seen(act)
        name, text = act.need("command"), str(act.get("text") or "")
        ensure(not act.get("thread_ts"), "command_not_supported_in_thread")
        known = found(next((c for c in self.ws.commands if c["command"] == name), None), "unknown_command")
        text = text if act.get("raw") else self.ws.escaped(user, text, known.get("should_escape", True))
        payload = self._slash(user, channel, {"command": name, "text": text})
        done = await self.link.deliver("slash_commands", payload, int(act.get("copies") or 1), answers=True)
        self._answered(user, channel, name, done)
        return {**_outcome(done), "response": done.response, "trigger_id": payload["trigger_id"]}

    def _slash(self, user: str, channel: str, what: Json) -> Json:
        person = self.ws.users[user]
        where = {"channel_id": channel, "channel_name": self.ws.channel_name(channel), "user_id": user}
        who = {"user_name": person["name"], "team_id": person["team_id"], "team_domain": "sandbox"}
        keys = {"token": self.ws.verification_token, "api_app_id": APP, "is_enterprise_install": "false"}
        trigger, url = self.ws.new_trigger(user), self.ws.new_response_url(user, channel)
        keys |= {"trigger_id": trigger, "response_url": url}
        return {**keys, **who, **where, **what}

    def _answered(self, user: str, channel: str, command: str, done: Delivery) -> None:
        """The answer inside an acknowledgement, or the error that Slack shows in its place."""
        error, answer = done.error, done.response
        if isinstance(answer, dict) and (answer.get("text") or answer.get("blocks")):
            try:
                self._say(user, channel, Args(answer))
            except SlackError:
                error = "invalid_command_response"
        if error:
            self.ws.post(channel, SLACKBOT, f"{command} failed with the error {error}", None, only_for=user)

    def _say(self, user: str, channel: str, answer: Args) -> None:
        text, blocks = answer.content()
        only = None if answer.get("response_type") == "in_channel" else user
        thread = answer.get("thread_ts") or None
        self.ws.post(channel, BOT_USER, text or "", blocks, only_for=only, thread_ts=thread)

    # -- shortcuts

    async def shortcut(self, act: Args) -> Json:
        """A global one, or one on a message (`channel` and `ts`) that is for everybody to see."""
        user, callback = act.need("user"), act.need("callback_id")
        known = found(next((s for s in self.ws.shortcuts if s["callback_id"] == callback), None), "unknown_shortcut")
        on_message = {} if known["type"] == "global" else self._on_message(act)
        kind = "message_action" if on_message else "shortcut"
        payload = {"type": kind, "callback_id": callback, "action_ts": self.ws.next_ts(), **self._about(user)}
        done = await self.link.deliver("interactive", {**payload, **on_message}, int(act.get("copies") or 1))
        return {**_outcome(done), "trigger_id": payload["trigger_id"]}

    def _on_message(self, act: Args) -> Json:
        user, channel = self._seen(act)
        message = found(self.ws.find(channel, act.need("ts"), user), "message_not_found")
        ensure(message.only_for is None, "message_not_found")
        where = {"channel": {"id": channel, "name": self.ws.channel_name(channel)}, "message_ts": message.ts}
        url = self.ws.new_response_url(user, channel, message.ts)
        return {**where, "message": self.ws.api_message(message, True), "response_url": url}

    # -- clicks

    async def click(self, act: Args) -> Json:
        if act.get("view_id"):
            return await self._click_in_view(act)
        user, channel = self._seen(act)
        message = found(self.ws.find(channel, act.need("ts"), user), "no_such_button")
        block, element = _element(message.blocks, act, user)
        payload = self._block_actions(user, message, self._action(block, element, act.get("value")))
        if act.get("message_ts_override"):
            payload["container"]["message_ts"] = act["message_ts_override"]
            payload.get("message", {})["ts"] = act["message_ts_override"]
        return _outcome(await self.link.deliver("interactive", payload, int(act.get("copies") or 1)))

    def _action(self, block: Json, element: Json, value: Any) -> Json:
        kept = {k: v for k, v in element.items() if k in ("type", "action_id", "text", "value", "style")}
        forged = {} if value is None else {"value": value}
        state = forged if element["type"] == "button" else state_of(element, value)
        return {**kept, **state, "block_id": block["block_id"], "action_ts": self.ws.next_ts()}

    def _block_actions(self, user: str, message: Message, action: Json) -> Json:
        hidden, channel = message.only_for is not None, message.channel
        place = {"type": "message", "message_ts": message.ts, "channel_id": channel, "is_ephemeral": hidden}
        place |= {"thread_ts": message.thread_ts} if message.is_reply else {}
        shown = {} if hidden else {"message": self.ws.api_message(message, True)}
        more = {"channel": {"id": channel, "name": self.ws.channel_name(channel)}, "state": {"values": {}}}
        url = self.ws.new_response_url(user, channel, message.ts)
        where = {"container": place, **more, **shown, "response_url": url}
        return {"type": "block_actions", **self._about(user), **where, "actions": [action]}

    # -- modals

    async def _click_in_view(self, act: Args) -> Json:
        user = act.need("user")
        view = self.views.of(user, act.need("view_id"))
        block, element = _element(view["blocks"], act, user)
        action = self._action(block, element, act.get("value"))
        where = {"container": {"type": "view", "view_id": view["id"]}}
        where["view"] = filled_in(view, act.get("values") or {}, whole=False)
        payload = {"type": "block_actions", **self._about(user, view["id"]), **where, "actions": [action]}
        return _outcome(await self.link.deliver("interactive", payload, int(act.get("copies") or 1)))

    async def view_submit(self, act: Args) -> Json:
        user = act.need("user")
        view = self.views.of(user, act.need("view_id"))
        filled = filled_in(view, act.get("values") or {}, whole=True)
        payload = {"type": "view_submission", **self._about(user, view["id"]), "view": filled, "response_urls": []}
        done = await self.link.deliver("interactive", payload, int(act.get("copies") or 1), answers=True)
        now = self.ws.views.get(view["id"])
        if done.acked and now is not None:
            done.error = self.views.answered(now, done.response)
        return {**_outcome(done), "response": done.response}

    async def view_close(self, act: Args) -> Json:
        """By its close button, which leaves what lies below, or all of it (`clear`)."""
        user = act.need("user")
        view = self.views.of(user, act.need("view_id"))
        whole = act.flag("clear") or bool(view["clear_on_close"])
        for gone in self.views.close(view, whole):
            if gone["notify_on_close"]:
                about = {name: value for name, value in self._about(user).items() if name != "trigger_id"}
                payload = {"type": "view_closed", **about, "view": shown(gone), "is_cleared": whole}
                await self.link.deliver("interactive", payload)
        return {}

    # -- plain messages

    async def message(self, act: Args) -> Json:
        user, channel = self._seen(act)
        text, place = self.ws.escaped(user, act.need("text"), names=False), self.ws.channels[channel]
        message = self.ws.post(channel, user, text, None, thread_ts=act.get("thread_ts") or None)
        kind = "message" if place["is_im"] else "app_mention" if f"<@{BOT_USER}>" in text else None
        if kind is None or BOT_USER not in place["members"]:
            return {"ok": True, "ts": message.ts}
        return {**_outcome(await self.link.event(self._event(kind, message, place))), "ts": message.ts}

    def _event(self, kind: str, message: Message, place: Json) -> Json:
        team = self.ws.users[message.user]["team_id"]
        event = {**self.ws.api_message(message), "type": kind, "channel": message.channel}
        event |= {"team": team, "event_ts": message.ts} | ({"channel_type": "im"} if place["is_im"] else {})
        event |= {"user_team": team, "source_team": team} if team != TEAM else {}
        outer = {"type": "event_callback", "token": self.ws.verification_token, "api_app_id": APP}
        key, at = f"Ev{self.ws.token()[:10].upper()}", int(float(message.ts))
        ids = {"team_id": TEAM, "event_id": key, "event_time": at}
        whose = [{"enterprise_id": None, "team_id": TEAM, "user_id": BOT_USER, "is_bot": True}]
        shared = {"is_ext_shared_channel": place["is_ext_shared"]}
        return {**outer, **ids, **shared, "event": event, "authorizations": whose}

    # -- response_url

    def respond(self, key: str, body: Args) -> None:
        """One post to a response_url ("Handling user interaction": response_url)."""
        url = found(self.ws.response_urls.get(key), "expired_url", 404)
        ensure(self.ws.clock() <= url.expires, "expired_url", 404)
        ensure(url.left, "used_url", 404)
        original = self.ws.find(url.channel, url.original, url.user)
        if body.flag("delete_original"):
            if original is not None:
                self.ws.remove(original)
        elif body.flag("replace_original") and original is not None:
            self.ws.edit(original, *body.content())
        else:
            self._say(url.user, url.channel, body)
        url.left -= 1


def _outcome(done: Delivery) -> Json:
    error = {"error": done.error} if done.error else {}
    return {"ok": True, "acked": done.acked, "ack_ms": done.ack_ms, **error}


def _element(blocks: list[Json], act: Args, user: str) -> tuple[Json, Json]:
    """The element that the click names, as far as this person can see it."""
    for block in blocks:
        for element in elements_of(block):
            named = element["action_id"] == act.get("action_id")
            placed = act.get("block_id") in (None, block["block_id"])
            if named and placed and user in (element.get("visible_to_user_ids") or [user]):
                return block, element
    raise SlackError("no_such_button")
