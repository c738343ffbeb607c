"""A call's arguments: what must be there, what must fit, and what is nested."""

from __future__ import annotations

import json
from typing import Any

from sandbox.slack.blocks import check_blocks, too_long
from sandbox.slack.workspace import Json, SlackError, ensure, faulty

# The metadata limit is this sandbox's own: Slack names the error but not the size.
MAX_TEXT_CHARS, MAX_METADATA_CHARS = 40_000, 8_000


class Args(dict[str, Any]):
    """A call's arguments, from a form (all words) or JSON (typed)."""

    def need(self, name: str) -> str:
        value = self.get(name)
        if not isinstance(value, str) or not value:
            raise faulty("invalid_arguments", [f"missing required field: {name}"])
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

    def count(self, name: str) -> int:
        """A number, which a form sends as a word."""
        value = self.get(name)
        if isinstance(value, bool) or not str(value if value is not None else "").isdecimal():
            raise faulty("invalid_arguments", [f"missing required field: {name}"])
        return int(str(value))

    def content(self) -> tuple[str | None, list[Json] | None]:
        """Checked text and blocks of a message; None means not sent."""
        text = self.get("text")
        ensure(text is None or isinstance(text, str), "invalid_arguments")
        ensure(len(text or "") <= MAX_TEXT_CHARS, "msg_too_long")
        blocks = self.blocks()
        ensure(text or blocks, "no_text")
        return text, blocks

    def blocks(self) -> list[Json] | None:
        """Checked blocks."""
        blocks = self.data("blocks", "invalid_blocks_format")
        if blocks is None:
            return None
        ensure(isinstance(blocks, list), "invalid_blocks_format")
        faults = check_blocks(blocks)
        if faults:
            raise faulty("invalid_blocks", faults)
        ensure(not too_long(blocks), "msg_blocks_too_long")
        return list(blocks)

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
