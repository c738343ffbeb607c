"""Modals: the stacks of views that people have open, and what is filled in. No I/O.

Facts: "Modals" (at most three views in a stack; what an answer to a submission does), "views.open", "views.push" and
"views.update" (errors), "View interactions payload" (the state, by block and action). Where a person has several modals
open at once, each is a stack of its own, as on several devices.
"""

from __future__ import annotations

import json
from typing import Any

from sandbox.slack.blocks import check_view, elements_of, types
from sandbox.slack.workspace import IDS, Json, SlackError, Workspace, ensure, faulty, found

MAX_STACK, MAX_VIEW_BYTES = 3, 250_000
# What a control's value is called in its state; a plain input's is `value`.
STATE_NAMES = {"users_select": "selected_user", "channels_select": "selected_channel"}
STATE_NAMES |= {"conversations_select": "selected_conversation"}
STATE_NAMES |= {"datepicker": "selected_date", "timepicker": "selected_time"}


class Views:
    def __init__(self, ws: Workspace) -> None:
        self.ws = ws

    # -- what apps do

    def open(self, trigger_id: str, view: Any) -> Json:
        new = self._make(view)
        return self._put(new | {"user": self.ws.take_trigger(trigger_id).user})

    def push(self, trigger_id: str, view: Any) -> Json:
        """On top of the modal that the trigger came from."""
        new, trigger = self._make(view), self.ws.take_trigger(trigger_id)
        return self._on_top(new, found(self.ws.views.get(trigger.view), "not_found"))

    def update(self, old: Json, hash_: Any, view: Any) -> Json:
        ensure(hash_ in (None, "", old["hash"]), "hash_conflict")
        same = ("id", "user", "root_view_id", "previous_view_id")
        return self._put(self._make(view, old["id"]) | {name: old[name] for name in same})

    def find(self, view_id: Any, external_id: Any) -> Json:
        outside = (view for view in self.ws.views.values() if external_id and view["external_id"] == external_id)
        return found(self.ws.views.get(str(view_id)) or next(outside, None), "not_found")

    def _make(self, view: Any, instead: str = "") -> Json:
        """A checked view, which belongs to nobody yet."""
        faults = check_view(view)
        if faults:
            raise faulty("invalid_arguments", faults)
        ensure(len(json.dumps(view).encode()) <= MAX_VIEW_BYTES, "view_too_large")
        outside = view.get("external_id")
        taken = any(other["external_id"] == outside and other["id"] != instead for other in self.ws.views.values())
        ensure(not outside or not taken, "duplicate_external_id")
        blank = {"private_metadata": "", "callback_id": "", "external_id": "", "submit": None, "close": None}
        key = f"V{self.ws.token()[:10].upper()}"
        ids = {"id": key, "root_view_id": key, "previous_view_id": None, "app_installed_team_id": IDS["team_id"], **IDS}
        hash_ = f"{int(self.ws.clock())}.{self.ws.token()[:8]}"
        flags = {"clear_on_close": False, "notify_on_close": False, "state": {"values": {}}, "hash": hash_}
        return {**blank, **flags, **view, **ids, "blocks": self.ws.named(view["blocks"])}

    def _put(self, view: Json) -> Json:
        self.ws.views[view["id"]] = view
        self.ws.tell({"type": "view", "view": view})
        return shown(view)

    def _on_top(self, new: Json, below: Json) -> Json:
        stack = self._stack(below)
        ensure(len(stack) < MAX_STACK, "push_limit_reached")
        place = {"previous_view_id": stack[-1]["id"], "root_view_id": below["root_view_id"]}
        return self._put(new | place | {"user": below["user"]})

    def _stack(self, view: Json) -> list[Json]:
        """The views of one modal, the uppermost last."""
        return [other for other in self.ws.views.values() if other["root_view_id"] == view["root_view_id"]]

    # -- what people do

    def of(self, user: str, view_id: str) -> Json:
        view = self.ws.views.get(view_id)
        return found(view if view is not None and view["user"] == user else None, "view_not_found")

    def close(self, view: Json, whole: bool = False) -> list[Json]:
        """Takes away a view and what lies on it, or the whole stack; what was taken away, the uppermost first."""
        stack = self._stack(view)
        gone = list(reversed(stack if whole else stack[stack.index(view) :]))
        for old in gone:
            del self.ws.views[old["id"]]
            self.ws.tell({"type": "view", "view": {"id": old["id"], "user": old["user"], "closed": True}})
        return gone

    def answered(self, view: Json, answer: Any) -> str | None:
        """Does what the app answered to a submission ("Modals": updating, pushing, closing, displaying errors).

        The view stays where that cannot be done; the error is this sandbox's word for Slack's "trouble connecting".
        """
        answer = answer or {}
        how = answer.get("response_action") if isinstance(answer, dict) else "?"
        try:
            if how == "errors":
                _check_errors(view, answer.get("errors"))
            elif how == "update":
                self.update(view, None, answer.get("view"))
            elif how == "push":
                self._on_top(self._make(answer.get("view")), view)
            else:
                ensure(how == "clear" or not answer, "unknown_response_action")
                self.close(view, how == "clear")
        except SlackError as error:
            self.ws.record("view", str(how), answer, ok=False, error=error.code, faults=error.extra.get("errors"))
            return f"invalid_view_response: {error.code}"
        return None


def shown(view: Json) -> Json:
    """The view as apps get it."""
    return {name: value for name, value in view.items() if name != "user"}


def filled_in(view: Json, given: Json, *, whole: bool) -> Json:
    """The view with its state: `given` is `{block_id: value}` or `{block_id: {action_id: value}}`, and what is not
    given stands as it did when the view was shown. With `whole`, every input that is not optional must be there, and
    words must be such as Slack's own client lets people enter; a dict as a value is taken as it is."""
    values: Json = {}
    for block in view["blocks"]:
        for element in (part for part in elements_of(block) if part["type"] in types("$input")):
            value = given.get(block["block_id"], _initial(element))
            if isinstance(value, dict) and element["action_id"] in value:
                value = value[element["action_id"]]
            if whole and block["type"] == "input":
                _check_value(block, element, value)
            values.setdefault(block["block_id"], {})[element["action_id"]] = state_of(element, value)
    return {**shown(view), "state": {"values": values}}


def state_of(element: Json, value: Any) -> Json:
    """A value as the element's own state; a word picks the option that carries it, or forges one."""
    kind, options = str(element["type"]), _options(element)
    if isinstance(value, dict):
        return value
    if kind == "checkboxes" or kind.startswith("multi_"):
        return {"type": kind, "selected_options": [o for o in options if o["value"] in (value or [])]}
    if options or kind == "external_select":
        forged = {"text": {"type": "plain_text", "text": str(value)}, "value": value} if value else None
        return {"type": kind, "selected_option": next((o for o in options if o["value"] == value), forged)}
    return {"type": kind, STATE_NAMES.get(kind, "value"): value or None}


def _options(element: Json) -> list[Json]:
    options: list[Json] = list(element.get("options") or [])
    return options + [option for group in element.get("option_groups") or [] for option in group["options"]]


def _initial(element: Json) -> Any:
    """What stands in an input before anybody touches it."""
    chosen = element.get("initial_option") or {}
    ticked = [option["value"] for option in element.get("initial_options") or []]
    return element.get("initial_value") or chosen.get("value") or ticked or None


def _check_value(block: Json, element: Json, value: Any) -> None:
    where = {"block_id": block["block_id"]}
    if value in (None, "", []):
        if not block.get("optional"):
            raise SlackError("missing_input", extra=where)
        return
    known = [option["value"] for option in _options(element)]
    low, high = element.get("min_length") or 0, element.get("max_length") or 3000
    fits = not isinstance(value, str) or element["type"] != "plain_text_input" or low <= len(value) <= high
    picked = value if isinstance(value, list) else [value]
    if not fits or (known and not isinstance(value, dict) and not set(picked) <= set(known)):
        raise SlackError("invalid_input", extra=where)


def _check_errors(view: Json, errors: Any) -> None:
    """Each must name an input of the view ("Modals": displaying errors in views)."""
    inputs = {block["block_id"] for block in view["blocks"] if block["type"] == "input"}
    ensure(isinstance(errors, dict) and errors, "no_errors")
    ensure(set(errors) <= inputs, "errors_for_unknown_block")
    ensure(all(isinstance(text, str) and text for text in errors.values()), "errors_without_text")
