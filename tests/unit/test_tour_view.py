"""How the tour and the tests look at the sandbox."""

from __future__ import annotations

import pytest

from bot.tour_view import DEV, Json, View, quoted, words


@pytest.mark.parametrize("seconds", [5, 60, 120, 300])
def test_a_long_wait_is_not_cut_short_by_the_connection(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    given: list[float] = []

    def http(self: View, method: str, path: str, body: Json | None = None, timeout: float = 0) -> Json:
        given.append(timeout)
        return {"message": {"ts": "1.0"}}

    monkeypatch.setattr(View, "http", http)
    View("http://127.0.0.1:1").wait(DEV, "Done", timeout=seconds)
    assert given[0] > seconds


def test_a_date_is_told_as_who_cannot_render_it_reads_it() -> None:
    at = {"type": "date", "timestamp": 1, "format": "{time}", "fallback": "1970-01-01 00:00 UTC"}
    block = {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": [at]}]}
    assert words({"text": "", "blocks": [block]}) == "1970-01-01 00:00 UTC"


def test_a_file_is_told_with_its_title_and_what_describes_it() -> None:
    picture = {"name": "gpu.png", "title": "GPUs", "alt_txt": "2 nodes passed"}
    log = {"name": "a.log", "title": "Log", "preview": "one\ntwo"}
    message = {"text": "", "files": [picture, log]}
    assert words(message) == "GPUs 2 nodes passed Log"
    assert quoted(message, "> ").splitlines() == [
        "> tkgbot", "> [gpu.png] GPUs", "> 2 nodes passed", "> [a.log] Log", "> one", "> two"
    ]  # fmt: skip
