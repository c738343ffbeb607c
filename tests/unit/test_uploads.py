"""What a run shows: once, in its order, and never silence, whatever Slack does with the file. With a real workspace."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError

from bot import messages, tables
from bot.ledger import Superseded
from bot.messages import FILE_TEXT, safe_file
from bot.records import Draft
from bot.requests import Requests
from bot.slack import cards, sending, uploading
from bot.slack.failures import Lost
from bot.slack.filing import PATIENCE, UPLOADS
from bot.slack.jobs import Job, Sent
from bot.slack.outbox import Outbox
from bot.slack.pictures import describe
from bot.slack.sending import Sender
from bot.slack.text import BLOCK_CHARACTERS
from bot.slack.uploading import Shown, Upload, Uploader, mark_of, shown_in, upload_of, words_of
from bot.store import Store
from bot.work import Work
from handlers.contract import Board, Chart, Curve, Exhibit, File, Observation, Outcome, Report, Sheet, Table, Tile
from tests.unit.test_sandbox_slack_live import DEV, PLATFORM, World

pytestmark = pytest.mark.long

LOG = File(name="driver ip-10-0-1-23.log", title="Log of the driver", text="NVRM: it\nworks\n")
BOARD = Board(
    name="gpu-test", title="GPU test of shop: 1 of 2 nodes passed",
    tiles=(Tile(title="ip-1", tone="good"), Tile(title="ip-2", lines=("no room",), tone="bad")),
)  # fmt: skip
CHART = Chart(
    name="platform.png", title="Clusters by state over the last 2 digests", at=(0.0, 86_400.0),
    panels=((Curve(name="running", values=(1.0, 2.0), tone="good"),),),
)  # fmt: skip
CALLS = ("files.getUploadURLExternal", "upload", "files.completeUploadExternal")


@pytest.fixture(scope="module")
def started() -> Iterator[World]:
    world = World()
    yield world
    world.run(world.box.stop())


class Sending:
    """A sender in front of the workspace; whoever waits lets the workspace's clock go on."""

    def __init__(self, world: World, store: Store) -> None:
        self.world = world
        self.paused: list[float] = []
        self.client = WebClient(
            world.env["SLACK_BOT_TOKEN"], base_url=world.env["SLACK_API_URL"], timeout=5, retry_handlers=[]
        )
        self.sender = Sender(store, self.client, clock=time.time, pause=self.pause)
        self.root = str(world.client.chat_postMessage(channel=PLATFORM, text="card")["ts"])
        self.since = len(world.box.workspace.log)

    def pause(self, seconds: float) -> None:
        self.paused.append(seconds)
        time.sleep(0.03)

    def job(self, exhibit: Shown, attempts: int = 0, key: str = "r-1:shown:1:a") -> Job:
        return Job(
            key=key, kind="file", request="r-1", channel=PLATFORM, person=None, url=None, thread=None,
            body=exhibit.model_dump(mode="json"), wanted=1, ts=None, attempts=attempts, root=self.root,
            created=time.time(), expires=None, repeated=False,
        )  # fmt: skip

    def send(self, exhibit: Shown, attempts: int = 0, key: str = "r-1:shown:1:a") -> Sent:
        return self.sender.send(self.job(exhibit, attempts, key))

    def replies(self) -> list[dict[str, Any]]:
        """The thread, once everything that is under way is there."""
        time.sleep(0.03)
        return list(self.client.conversations_replies(channel=PLATFORM, ts=self.root)["messages"])[1:]

    def files(self) -> list[dict[str, Any]]:
        return [file for message in self.replies() for file in message.get("files", [])]

    def called(self) -> list[str]:
        return [call["method"] for call in self.world.box.workspace.log[self.since :] if call["method"] in CALLS]

    def bytes_of(self, file: dict[str, Any]) -> bytes:
        return bytes(self.world.box.api.files.files[file["id"]].content or b"")


@pytest.fixture
def slack(started: World, tmp_path: Path) -> Iterator[Sending]:
    started.post("faults", share_ms=1)
    store = Store(tmp_path)
    yield Sending(started, store)
    store.close()
    blank: dict[str, Any] = dict.fromkeys(started.get("/sandbox/state")["faults"])
    started.post("faults", **{**blank, "history_scope": True})


# -- as it should be


def test_a_log_goes_into_the_thread(slack: Sending) -> None:
    sent = slack.send(LOG)
    (message,) = slack.replies()
    assert (sent.ts, sent.repeated) == (message["ts"], False)
    (file,) = message["files"]
    assert file["title"] == "Log of the driver"
    assert file["name"] == f"driver-ip-10-0-1-23-{mark_of('r-1:shown:1:a')}.log"
    assert (file["mode"], file.get("alt_txt")) == ("snippet", None)  # what is no picture must have none
    assert slack.bytes_of(file).decode() == LOG.text
    assert slack.called() == list(CALLS)


@pytest.mark.long
def test_a_board_goes_into_the_thread_as_a_picture_with_its_words(slack: Sending) -> None:
    slack.send(BOARD)
    (file,) = slack.files()
    assert file["alt_txt"] == describe(BOARD)
    assert (file["mimetype"], file["title"]) == ("image/png", BOARD.title)
    assert slack.bytes_of(file).startswith(b"\x89PNG")


def test_a_chart_is_a_picture_with_words(slack: Sending) -> None:
    slack.send(CHART)
    [file] = slack.files()
    assert (file["mimetype"], file["title"]) == ("image/png", CHART.title)
    assert file["name"].startswith("platform-")
    assert file["alt_txt"] == words_of(CHART)
    assert slack.bytes_of(file).startswith(b"\x89PNG")


@pytest.mark.parametrize("exhibit", [LOG, BOARD, CHART], ids=["log", "board", "chart"])
def test_what_is_shown_comes_back_from_its_row(exhibit: Shown) -> None:
    assert shown_in(exhibit.model_dump(mode="json")) == exhibit


def test_whoever_sends_waits_until_it_shows(slack: Sending) -> None:
    """Else the next message of the thread would come before it."""
    slack.world.post("faults", share_ms=60)
    sent = slack.send(LOG)
    assert sent.ts
    assert slack.paused
    assert len(slack.files()) == 1


# -- answers that are lost


@pytest.mark.parametrize("method", CALLS)
def test_a_death_between_the_calls_leaves_one_file(slack: Sending, method: str) -> None:
    """The answer of each call is lost once, as for a process that dies there; then the row is tried again."""
    slack.world.post("faults", lose_answer=1, lose_answer_methods=[method])
    with pytest.raises(Lost):
        slack.send(LOG)
    sent = slack.send(LOG, attempts=1)
    assert len(slack.files()) == 1
    assert sent == Sent(PLATFORM, slack.replies()[0]["ts"])
    assert slack.called().count("files.completeUploadExternal") == 1


def test_a_file_that_shows_late_after_a_lost_answer_is_waited_for(slack: Sending) -> None:
    slack.world.post("faults", lose_answer=1, share_ms=80)
    with pytest.raises(Lost):
        slack.send(LOG)
    slack.send(LOG, attempts=1)
    time.sleep(0.1)
    assert len(slack.files()) == 1


def test_without_the_right_to_look_a_second_one_says_that_it_is_one(slack: Sending) -> None:
    slack.world.post("faults", lose_answer=1, history_scope=False)
    with pytest.raises(Lost):
        slack.send(LOG)
    assert slack.send(LOG, attempts=1) == Sent(PLATFORM, "", repeated=True)
    slack.world.post("faults", history_scope=True)
    assert [file["title"] for file in slack.files()] == ["Log of the driver", "(repeated) Log of the driver"]


def test_a_file_without_its_name_may_be_any_file(slack: Sending) -> None:
    job = slack.job(LOG)
    mine, other = {"name": f"a-{mark_of(job.key)}.log"}, {"name": "a.log"}
    assert sending._is_of(job, {"files": [other, mine]}) is True
    assert sending._is_of(job, {"files": [other]}) is False
    assert sending._is_of(job, {"files": [{"id": "F1", "file_access": "check_file_info"}]}) is None
    assert sending._is_of(job, {"text": "no file"}) is False


def test_what_slack_accepts_and_never_shows_is_sent_again(slack: Sending) -> None:
    slack.world.post("faults", lose_share=1)
    with pytest.raises(Lost):
        slack.send(BOARD)
    assert slack.paused == list(PATIENCE)
    slack.send(BOARD, attempts=1)
    assert len(slack.files()) == 1


def test_the_third_upload_of_a_picture_does_without_what_slack_may_stumble_on(slack: Sending) -> None:
    slack.send(BOARD, attempts=2)
    (message,) = slack.replies()
    assert message["files"][0].get("alt_txt") is None
    assert message["text"] == describe(BOARD)


def test_looking_that_fails_after_the_upload_makes_no_second_one(slack: Sending) -> None:
    slack.world.post("faults", rate_limit=1, rate_limit_methods=["conversations.replies"])
    assert slack.send(LOG) == Sent(PLATFORM, "")
    assert len(slack.files()) == 1


# -- what cannot be uploaded


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        ({"without_scopes": ["files:write"]}, "The app lacks the scope"),
        ({"refuse_files": "storage_limit_reached"}, "storage is full"),
        ({"refuse_files": "file_uploads_disabled"}, "allows no uploads"),
        ({"refuse_files": "a_word_of_tomorrow"}, "(Slack: a_word_of_tomorrow)"),
    ],
)
@pytest.mark.parametrize("exhibit", [LOG, BOARD, CHART], ids=["log", "board", "chart"])
def test_what_slack_does_not_take_comes_as_text(
    slack: Sending, exhibit: Shown, faults: dict[str, Any], words: str
) -> None:
    slack.world.post("faults", **faults)
    slack.send(exhibit)
    (message,) = slack.replies()
    said = str(message["blocks"])
    assert words in said
    assert exhibit.title in said
    assert ("NVRM: it\\nworks" if isinstance(exhibit, File) else words_of(exhibit)) in said
    assert slack.send(exhibit, attempts=1).ts == message["ts"]  # found again, if that answer was lost
    assert len(slack.replies()) == 1


def test_a_long_text_that_cannot_be_uploaded_says_how_much_is_missing(slack: Sending) -> None:
    slack.world.post("faults", without_scopes=["files:write"])
    slack.send(LOG.model_copy(update={"text": "x" * 10_000}))
    said = str(slack.replies()[0]["blocks"])
    assert "x" * 2_500 in said
    assert "x" * 2_501 not in said
    assert "7500 more characters are not shown" in said


def test_an_upload_that_never_works_ends_as_text(slack: Sending) -> None:
    slack.world.post("faults", server_error_methods=["upload"])
    for attempts in range(UPLOADS):
        with pytest.raises(Lost):
            slack.send(LOG, attempts=attempts)
    slack.send(LOG, attempts=UPLOADS)
    assert "NVRM: it" in str(slack.replies()[0]["blocks"])


def test_a_picture_that_cannot_be_drawn_comes_as_text(slack: Sending, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_board: Board) -> bytes:
        raise RuntimeError("no font")

    monkeypatch.setattr(uploading, "drawn", broken)
    slack.send(BOARD)
    assert describe(BOARD) in str(slack.replies()[0]["blocks"])


@pytest.mark.parametrize("method", CALLS)
def test_a_rate_limit_is_the_outboxs_to_wait_out(slack: Sending, method: str) -> None:
    slack.world.post("faults", rate_limit=1, rate_limit_methods=[method])
    with pytest.raises(SlackApiError) as caught:
        slack.send(LOG)
    assert caught.value.response.get("error") == "ratelimited"
    assert {key.lower(): value for key, value in caught.value.response.headers.items()}["retry-after"] == "1"
    assert slack.files() == []


def test_a_shut_channel_is_the_outboxs_to_tell(slack: Sending) -> None:
    slack.world.post("channels", id=PLATFORM, is_archived=True)
    with pytest.raises(SlackApiError) as caught:
        slack.send(LOG)
    slack.world.post("channels", id=PLATFORM, is_archived=False)
    assert caught.value.response.get("error") == "is_archived"


def test_nothing_is_uploaded_unencrypted_where_the_api_is_not() -> None:
    asked: list[str] = []

    def ask(method: str, _arguments: dict[str, Any]) -> dict[str, str]:
        asked.append(method)
        return {"upload_url": "http://files.example/1", "file_id": "F1"}

    with pytest.raises(SlackApiError):
        Uploader(ask, "https://slack.com/api/", 1, None).send(Upload("a", "a", b"a"), "C1", "1.1")
    assert asked == ["files.getUploadURLExternal"]


# -- names and texts


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("driver.log", "driver-M.log"), ("driver", "driver-M.txt"), ("a/../b c.log", "a-..-b-c-M.log"),
        ("..", "file-M.txt"), ("x" * 200 + ".log", "x" * 60 + "-M.log"), ("наука.log", "log-M.txt"),
        ("node.ec2.internal-x", "node.ec2.internal-x-M.txt"),
    ],
)  # fmt: skip
def test_names_are_plain_and_carry_the_mark(name: str, wanted: str) -> None:
    made = upload_of(LOG.model_copy(update={"name": name}), "key", repeat=False).name
    assert made == wanted.replace("M", mark_of("key"))


def test_an_empty_file_says_so_because_slack_takes_none() -> None:
    assert upload_of(LOG.model_copy(update={"text": ""}), "key", repeat=False).content == b"(empty)\n"


def test_a_file_holds_no_secret_and_nothing_that_cannot_be_seen() -> None:
    text = (
        "\x1b[1;31mred\x1b[0m\r\n10%\r20%\n\x1b]0;title\x07AKIA\u200bABCDEFGHIJKLMNOP\u202e\x00\n"
        "Authorization: Bearer abcdefghijkl\npassword=hunter2hunter2\n\tat x\n"
    )
    assert safe_file(LOG.model_copy(update={"text": text})).text == (
        "red\n10%\n20%\n[redacted]\nAuthorization: [redacted]\n[redacted]\n\tat x\n"
    )


def test_a_file_fits_into_a_snippet_and_says_what_is_left_out() -> None:
    text = "".join(f"{number:09d} 🚀\n" for number in range(100_000))
    cut = safe_file(LOG.model_copy(update={"text": text})).text
    assert len(cut) <= FILE_TEXT
    assert len(cut.encode()) <= 2**20
    assert cut.startswith("000000000 🚀\n")
    assert cut.endswith("000099999 🚀\n")
    left = int(cut.partition("… ")[2].partition(" characters are left out")[0])
    head, _, tail = cut.partition(f"\n… {left} characters are left out here …\n")
    assert len(head) + left + len(tail) == len(text)


# -- tables


def rows(count: int, width: int = 3, length: int = 8) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(f"{row}-{column}".ljust(length, "x") for column in range(width)) for row in range(count))


@pytest.mark.parametrize(
    ("count", "width", "length"), [(0, 3, 8), (1, 3, 8), (40, 3, 8), (41, 3, 8), (200, 6, 20), (90, 9, 120)]
)
def test_a_sheet_is_whole_in_messages_that_fit(count: int, width: int, length: int) -> None:
    table = Table(header=tuple(f"h{n}" for n in range(width)), rows=rows(count, width, length))
    notes = messages.sheet(Sheet(tone="warn", title="The `nodes`:", table=table))
    assert (notes[0].text, notes[0].tone) == ("The 'nodes':", "warn")
    assert sum((note.table.rows for note in notes if note.table), ()) == table.rows
    for note in notes:
        blocks = cards.note(note).blocks
        assert len(str(blocks)) < BLOCK_CHARACTERS * 1.1
        assert count == 0 or blocks[-1]["type"] == "table"
    starts = [note.text for note in notes[1:]]
    assert all(text.startswith("… rows ") for text in starts)
    assert not starts or starts[-1].endswith(f" to {count}:")


def test_a_report_still_ends_after_four_messages_with_a_count() -> None:
    table = Table(header=("a", "b", "c"), rows=rows(170))
    notes = messages.reported(Report(title="Many", facts=("one",), table=table))
    assert [len(note.table.rows) if note.table else 0 for note in notes] == [40, 40, 40, 40, 0]
    assert notes[0].facts == ("one",)
    assert "and 10 more rows" in notes[-1].text


# -- through the database


class Queue:
    """Nothing is started here."""

    def enqueue_plan(self, connection: sa.Connection, request: str, number: int) -> None:
        """Not here."""

    def enqueue_run(self, connection: sa.Connection, request: str, number: int) -> None:
        """Not here."""


class Bot:
    """Requests and their outbox on the workspace."""

    def __init__(self, slack: Sending, folder: Path) -> None:
        self.slack, self.store = slack, Store(folder)
        self.requests = Requests(self.store, Queue(), clock=time.time, new_id=lambda: "r-000001")
        self.id = self.requests.submit(
            Draft(
                invocation="i", operation="gpu test", arguments={}, command="/tkg gpu test shop", team="T",
                channel=PLATFORM, requester=DEV,
            )
        )  # fmt: skip
        self.outbox = Outbox(self.store, slack.client, executor="x", clock=time.time)
        self.requests.on_message = self.outbox.wake

    def reached(self, *exhibits: Exhibit, sentences: tuple[str, ...] = ()) -> None:
        mine = self.requests.get(self.id)
        assert mine is not None
        self.requests.reached(mine, sentences, exhibits)

    def rows(self) -> list[Any]:
        return self.store.read(lambda connection: list(connection.execute(sa.select(tables.outbox)).all()))

    def until(self, done: Callable[[], bool]) -> None:
        ends = time.monotonic() + 60
        while not done():
            assert time.monotonic() < ends, self.rows()
            time.sleep(0.02)

    def thread(self) -> list[str]:
        """What its thread shows, in order, once everything is sent."""
        self.until(lambda: all(row.wanted <= row.sent for row in self.rows()))
        (card,) = [row for row in self.rows() if row.kind == "card"]
        found = self.slack.client.conversations_replies(channel=PLATFORM, ts=card.ts)["messages"][1:]
        return [message["files"][0]["title"] if message.get("files") else message["text"] for message in found]


@pytest.fixture
def bot(slack: Sending, tmp_path: Path) -> Iterator[Bot]:
    made = Bot(slack, tmp_path / "bot")
    made.outbox.start()
    yield made
    made.outbox.stop()
    made.store.close()


SHEET = Sheet(title="The nodes:", table=Table(header=("node", "GPUs"), rows=(("ip-1", "1"),)))


@pytest.mark.long
def test_exhibits_come_once_and_in_their_order(bot: Bot) -> None:
    bot.slack.world.post("faults", share_ms=150)
    bot.reached(LOG, SHEET, BOARD, sentences=("First this.",))
    bot.reached(LOG, SHEET, BOARD, LOG.model_copy(update={"text": "other"}), sentences=("First this.", "Then that."))
    assert bot.thread() == [
        "First this.", "Log of the driver", "The nodes:", BOARD.title, "Then that.", "Log of the driver"
    ]  # fmt: skip


@pytest.mark.long
def test_the_order_holds_through_lost_answers_and_rate_limits(bot: Bot) -> None:
    bot.slack.world.post("faults", lose_answer=1, lose_answer_methods=["files.completeUploadExternal"])
    bot.slack.world.post("faults", rate_limit=1, rate_limit_methods=["files.getUploadURLExternal"])
    bot.reached(LOG, SHEET, sentences=())
    assert bot.thread() == ["Log of the driver", "The nodes:"]


def test_a_wide_sheet_is_whole(bot: Bot) -> None:
    bot.reached(Sheet(title="Wide:", table=Table(header=("a", "b", "c"), rows=rows(90))))
    assert bot.thread() == ["Wide:", "… rows 41 to 80:", "… rows 81 to 90:"]


def test_secrets_of_a_log_are_not_even_stored(bot: Bot) -> None:
    bot.reached(LOG.model_copy(update={"text": "token=abcdefghijklmnop\n"}))
    assert "abcdefghijklmnop" not in str(bot.rows())


def test_characters_that_are_none_stop_nothing(bot: Bot) -> None:
    """As Python reads bytes that are no UTF-8."""
    odd = "a\udcff\x00b"
    table = Table(header=(odd,), rows=((odd,),))
    bot.reached(
        File(name=odd, title=odd, text=odd), Board(name=odd, title=odd, tiles=(Tile(title=odd),)),
        Sheet(title=odd, table=table), Sheet(title="The end", table=table),
    )  # fmt: skip
    assert bot.thread()[-1] == "The end"
    assert len(bot.thread()) == 4
    assert [row.failed for row in bot.rows()] == [None] * 5


def test_a_process_that_lost_the_run_shows_nothing(bot: Bot) -> None:
    mine = bot.requests.get(bot.id)
    assert mine is not None
    before = len(bot.rows())
    with pytest.raises(Superseded):
        bot.requests.reached(replace(mine, epoch=mine.epoch + 1), ("gone",), (LOG, BOARD, SHEET))
    assert len(bot.rows()) == before


@pytest.mark.parametrize("so", [True, False])
def test_what_an_observation_shows_is_handed_on_before_its_step_ends(so: bool) -> None:
    """And also when it has no sentence for the thread."""
    done: list[Any] = []
    kept = SimpleNamespace(
        reached=lambda mine, sentences, exhibits: done.append((sentences, exhibits)),
        end_step=lambda mine, position, outcome: done.append("ended"),
    )
    workshop = SimpleNamespace(observe=lambda step, caller: Observation(so=so, evidence="seen", exhibits=(BOARD,)))
    work = Work(
        requests=kept, workshop=workshop, directory=None, rules=(), scope=lambda *_: None, new_error_id=lambda: "e-1"
    )  # fmt: skip
    mine = SimpleNamespace(id="r-1", requester=DEV, updated_at=1.0, planned=SimpleNamespace(steps=()))
    work._see(mine, 0, {}, Outcome(changed=True, evidence="done"))
    assert done == [((), (BOARD,)), *(["ended"] if so else [])]
