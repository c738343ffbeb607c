"""Files in the sandbox's workspace, with a real Slack SDK client and with curl's kind of requests."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from slack_sdk.errors import SlackApiError, SlackRequestError

from tests.unit.test_sandbox_slack_live import DEV, PLATFORM, RANDOM, SECRET, World, refused

PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + (640).to_bytes(4, "big") + (480).to_bytes(4, "big") + bytes(60)
STRANGER, SINGLE = "USTRANGER1", "USINGLE001"


@pytest.fixture(scope="module")
def started() -> Iterator[World]:
    world = World()
    yield world
    world.run(world.box.stop())


@pytest.fixture
def world(started: World) -> Iterator[World]:
    started.post("faults", share_ms=1)
    yield started
    blank: dict[str, Any] = dict.fromkeys(started.get("/sandbox/state")["faults"])
    started.post("faults", **{**blank, "history_scope": True})


def root(world: World, channel: str = PLATFORM) -> str:
    return str(world.client.chat_postMessage(channel=channel, text="card")["ts"])


def put(url: str, content: bytes, kind: str = "application/octet-stream") -> tuple[int, str]:
    request = urllib.request.Request(url, content, {"Content-Type": kind}, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def fetched(url: str, user: str | None = None, token: str = "") -> tuple[int, bytes, dict[str, str]]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(f"{url}?as={user}" if user else url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read(), dict(answer.headers)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(), dict(error.headers)


def ticket(world: World, content: bytes = b"hello\n", **more: Any) -> dict[str, Any]:
    given = {"filename": "a.txt", "length": len(content), **more}
    return dict(world.client.files_getUploadURLExternal(**given).data)


def uploaded(world: World, content: bytes = b"hello\n", **more: Any) -> str:
    asked = ticket(world, content, **more)
    assert put(asked["upload_url"], content) == (200, f"OK - {len(content)}")
    return str(asked["file_id"])


def test_the_sdks_own_upload_puts_a_picture_into_a_thread(world: World) -> None:
    thread = root(world)
    answer = world.client.files_upload_v2(
        file=PNG, filename="gpu.png", title="How the GPUs do", alt_txt="2 nodes passed", channel=PLATFORM,
        thread_ts=thread, initial_comment="Look at <this>:",
    )  # fmt: skip
    assert (answer["files"][0]["title"], answer["files"][0]["shares"]) == ("How the GPUs do", {})  # shared afterwards
    message = world.wait("2 nodes passed")
    assert (message["thread_ts"], message["text"]) == (thread, "Look at <this>:")
    (file,) = message["files"]
    named = {"name": "gpu.png", "title": "How the GPUs do", "alt_txt": "2 nodes passed", "mimetype": "image/png"}
    assert {key: file[key] for key in named} == named
    assert (file["original_w"], file["original_h"], file["size"]) == (640, 480, len(PNG))
    share = file["shares"]["public"][PLATFORM][0]
    assert (share["ts"], share["thread_ts"]) == (message["ts"], thread)
    seen = world.client.conversations_replies(channel=PLATFORM, ts=thread)["messages"]
    assert [[f["name"] for f in m.get("files", [])] for m in seen] == [[], ["gpu.png"]]
    assert "gpu.png" not in str(world.client.conversations_history(channel=PLATFORM)["messages"])


def test_a_text_shows_its_first_lines(world: World) -> None:
    thread, text = root(world), "".join(f"line {n}\n" for n in range(30))
    world.client.files_upload_v2(
        content=text, filename="driver.log", title="Driver", snippet_type="text", channel=PLATFORM, thread_ts=thread
    )
    file = world.wait("driver.log")["files"][0]
    assert (file["mode"], file["preview"].splitlines()) == ("snippet", [f"line {n}" for n in range(5)])
    assert (file["lines"], file["lines_more"], file["preview_is_truncated"]) == (30, 25, True)


def test_without_a_thread_it_is_a_message_of_the_channel_and_without_a_channel_nobody_sees_it(world: World) -> None:
    world.client.files_upload_v2(content="hello", filename="open.txt", channel=PLATFORM)
    assert not world.wait("open.txt").get("thread_ts")
    assert "open.txt" in str(world.client.conversations_history(channel=PLATFORM)["messages"])
    code = uploaded(world, filename="private.txt")
    answer = world.client.files_completeUploadExternal(files=[{"id": code}])
    assert answer["files"][0]["title"] == "private.txt"
    assert fetched(answer["files"][0]["url_private"], DEV)[0] == 404


def test_bytes_come_raw_or_as_a_form_whole_and_once(world: World) -> None:
    form = (
        b'--x\r\nContent-Disposition: form-data; name="filename"; filename="a.txt"\r\nContent-Type: text/plain\r\n\r\n'
        b"hello\n\r\n--x--\r\n"
    )
    assert put(ticket(world)["upload_url"], form, "multipart/form-data; boundary=x") == (200, "OK - 6")
    url = ticket(world)["upload_url"]
    assert put(url, b"hello")[0] == 400
    assert put(url, b"hello\n", "application/x-www-form-urlencoded") == (200, "OK - 6")
    assert put(url, b"hello\n")[0] == 400
    assert put(f"{world.box.url}/upload/v1/nothing", b"hello\n")[0] == 404


def test_what_cannot_be_uploaded_is_refused_by_slacks_words(world: World) -> None:
    ask = world.client.files_getUploadURLExternal
    assert refused(ask, filename="a.txt", length=0) == "missing_argument"
    assert refused(ask, filename="", length=5) == "invalid_arguments"
    assert refused(world.client.api_call, api_method="files.getUploadURLExternal", json={"filename": "a"}) == (
        "invalid_arguments"
    )
    assert refused(ask, filename="a.png", length=5, alt_txt="x" * 1_001) == "alt_txt_too_large"
    assert refused(ask, filename="a", length=5, snippet_type="klingon") == "unknown_snippet_type"
    assert refused(ask, filename="a", length=2**20 + 1, snippet_type="text") == "snippet_too_large"
    assert refused(ask, filename="a", length=2**23 + 1) == "file_upload_size_restricted"
    world.post("faults", refuse_files="storage_limit_reached")
    assert refused(ask, filename="a", length=5) == "storage_limit_reached"


def test_a_completion_needs_the_bytes_and_a_channel_with_the_app_and_comes_once(world: World) -> None:
    complete, thread = world.client.files_completeUploadExternal, root(world)
    bare = ticket(world)["file_id"]
    assert refused(complete, files=[{"id": bare}], channel_id=PLATFORM) == "file_not_found"
    assert refused(complete, files=[{"id": "F0"}], channel_id=PLATFORM) == "file_not_found"
    assert refused(complete, files=[], channel_id=PLATFORM) == "invalid_arguments"
    code = uploaded(world)
    assert refused(complete, files=[{"id": code}], channel_id=RANDOM) == "not_in_channel"
    assert refused(complete, files=[{"id": code}], channel_id=SECRET) == "channel_not_found"
    assert refused(complete, files=[{"id": code}], channel_id=PLATFORM, thread_ts="1.1") == "invalid_arguments"
    world.post("channels", id=PLATFORM, is_archived=True)
    assert refused(complete, files=[{"id": code}], channel_id=PLATFORM) == "is_archived"
    world.post("channels", id=PLATFORM, is_archived=False)
    complete(files=[{"id": code}], channel_id=PLATFORM, thread_ts=thread)
    assert refused(complete, files=[{"id": code}], channel_id=PLATFORM, thread_ts=thread) == "file_not_found"
    answer = world.client.api_call(
        "files.completeUploadExternal", json={"files": [{"id": uploaded(world), "title": "T"}], "channels": PLATFORM}
    )
    assert answer["files"][0]["title"] == "T"


def test_files_need_their_scopes(world: World) -> None:
    code = uploaded(world)
    world.client.files_completeUploadExternal(files=[{"id": code}], channel_id=PLATFORM)
    assert refused(world.client.files_info, file=code) == "missing_scope"
    world.post("faults", more_scopes=["files:read"])
    assert world.client.files_info(file=code)["file"]["id"] == code
    assert refused(world.client.files_info, file=ticket(world)["file_id"]) == "file_not_found"
    world.post("faults", without_scopes=["files:write"])
    with pytest.raises(SlackApiError) as caught:
        ticket(world)
    assert (caught.value.response["error"], caught.value.response["needed"]) == ("missing_scope", "files:write")


def test_who_may_see_the_channel_may_read_the_bytes_and_nothing_in_them_runs(world: World) -> None:
    world.client.files_upload_v2(content="<script>1</script>", filename="x y.html", channel=PLATFORM)
    file = world.wait("x y.html")["files"][0]
    status, content, headers = fetched(file["url_private"], DEV)
    assert (status, content) == (200, b"<script>1</script>")
    assert headers["Content-Disposition"] == "attachment; filename*=UTF-8''x%20y.html"
    assert headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert headers["X-Content-Type-Options"] == "nosniff"
    for user in (None, STRANGER, SINGLE, "UNOBODY"):
        assert fetched(file["url_private"], user)[0] == 404
    assert fetched(file["url_private"], token=world.env["SLACK_BOT_TOKEN"])[0] == 403
    world.post("faults", more_scopes=["files:read"])
    assert fetched(file["url_private"], token=world.env["SLACK_BOT_TOKEN"])[1] == content
    assert fetched(file["url_private"], token="xoxb-other")[0] == 403
    world.client.files_upload_v2(content=PNG, filename="p.png", channel=PLATFORM)
    picture = world.wait("p.png")["files"][0]
    shown, saved = fetched(picture["url_private"], DEV)[2], fetched(picture["url_private_download"], DEV)[2]
    assert (shown["Content-Type"], "Content-Disposition" in shown) == ("image/png", False)
    assert "attachment" in saved["Content-Disposition"]


def test_an_answer_is_lost_after_the_completion_took_effect(world: World) -> None:
    code = uploaded(world, filename="lost.txt")
    world.post("faults", lose_answer=1)
    with pytest.raises((SlackRequestError, OSError)):
        world.client.files_completeUploadExternal(files=[{"id": code}], channel_id=PLATFORM)
    assert world.wait("lost.txt")
    world.post("faults", lose_answer=1, lose_answer_methods=["upload"])
    asked = ticket(world)
    with pytest.raises((OSError, ValueError)):
        put(asked["upload_url"], b"hello\n")
    world.client.files_completeUploadExternal(files=[{"id": asked["file_id"]}], channel_id=PLATFORM)


def test_faults_of_other_methods_strike_files_too(world: World) -> None:
    world.post("faults", rate_limit=1, rate_limit_methods=["files.getUploadURLExternal"])
    with pytest.raises(SlackApiError) as caught:
        ticket(world)
    assert caught.value.response.headers["Retry-After"] == "1"
    world.post("faults", rate_limit=0, rate_limit_methods=[])
    asked = ticket(world)
    world.post("faults", server_error=1, server_error_methods=["upload"])
    assert put(asked["upload_url"], b"hello\n")[0] == 500
    world.post("faults", rate_limit=1, rate_limit_methods=["upload"])
    assert put(asked["upload_url"], b"hello\n")[0] == 429
    assert put(asked["upload_url"], b"hello\n")[0] == 200


def test_slack_may_accept_a_file_and_never_show_it(world: World) -> None:
    """slackapi/python-slack-sdk issue 1818; and a share that is lost."""
    world.client.files_upload_v2(content="hello", filename="silent.txt", alt_txt="words", channel=PLATFORM)
    world.post("faults", lose_share=1)
    world.client.files_upload_v2(content="hello", filename="dropped.txt", channel=PLATFORM)
    world.client.files_upload_v2(content="hello", filename="there.txt", channel=PLATFORM)
    assert world.wait("there.txt")
    shown = json.dumps(world.get(f"/sandbox/messages?as={DEV}&channel={PLATFORM}"))
    assert "silent.txt" not in shown
    assert "dropped.txt" not in shown
