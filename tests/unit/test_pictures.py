"""A board as a picture and as words: readable without colours, harmless whatever is written on it, always the same."""

from __future__ import annotations

import io
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bot.slack import pictures
from bot.slack.paper import clean
from bot.slack.pictures import describe, draw
from handlers.contract import Board, Tile

pytestmark = pytest.mark.long

TONES = ("good", "bad", "warn", "info")


def board(*tiles: Tile, title: str = "GPU test of shop: 1 of 2 nodes passed") -> Board:
    return Board(name="gpu-test", title=title, tiles=tiles)


def nodes(count: int) -> Board:
    return board(
        *(Tile(title=f"ip-10-0-1-{n}.ec2.internal", lines=("Tesla T4", "12 s"), tone="good") for n in range(count))
    )


def opened(content: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(content))
    picture.load()
    assert picture.format == "PNG"
    return picture


@pytest.mark.parametrize("count", [0, 1, 2, 3, 8, 9, 30, 31, 100, 101, 130])
def test_any_number_of_tiles_is_a_picture_of_at_most_1600_pixels_in_width(count: int) -> None:
    picture = opened(draw(nodes(count)))
    assert 1000 <= picture.width <= 1600
    assert picture.height < 65 * (count + 8) * 2


def test_what_is_too_much_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Tile, ...]] = []
    monkeypatch.setattr(pictures._Sheet, "picture", lambda self, title, tiles: seen.append(tiles) or b"")
    draw(nodes(130))
    draw(nodes(100))
    assert [len(tiles) for tiles in seen] == [100, 100]
    assert seen[0][-1].title == "and 31 more"
    assert seen[1][-1].title == "ip-10-0-1-99"


def test_the_same_board_gives_the_same_bytes_and_none_of_them_is_a_date() -> None:
    first, again = draw(nodes(5)), draw(nodes(5))
    assert first == again
    assert not opened(first).info.keys() & {"Software", "Creation Time", "date"}
    assert draw(nodes(6)) != first


def test_how_a_thing_does_can_be_told_without_colours() -> None:
    """In shades of grey, and even in black and white alone, each sign is another one."""
    signs = set()
    for tone in TONES:
        grey = opened(draw(board(Tile(title="x", tone=tone)))).convert("L")
        at = pictures.MARGIN + pictures.PAD
        top = round(pictures.MARGIN + pictures.TITLE * pictures.LEADING + pictures.GAP + pictures.PAD)
        sign = grey.crop((at, top, at + pictures.SIGN, top + pictures.SIGN)).point(lambda shade: 255 * (shade > 160))
        signs.add(sign.tobytes())
    assert len(signs) == len(TONES)


def test_letters_can_be_read_on_a_phone() -> None:
    """Six tiles on a screen of 390 pixels: a node's name has letters of 10 pixels at least."""
    width = opened(draw(nodes(6))).width
    assert pictures.NAME * 390 / width >= 10


def test_names_lose_the_domain_that_all_of_them_have_but_not_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, ...]] = []
    keep = lambda self, title, tiles: seen.append(tuple(tile.title for tile in tiles)) or b""  # noqa: E731
    monkeypatch.setattr(pictures._Sheet, "picture", keep)
    draw(nodes(2))
    draw(board(Tile(title="a.ec2.internal"), Tile(title="b.example.com")))
    draw(board(Tile(title="1.5"), Tile(title="2.5")))
    draw(board(Tile(title="one. done"), Tile(title="two. done")))
    draw(nodes(1))
    assert seen == [
        ("ip-10-0-1-0", "ip-10-0-1-1"), ("a.ec2.internal", "b.example.com"), ("1.5", "2.5"),
        ("one. done", "two. done"), ("ip-10-0-1-0.ec2.internal",),
    ]  # fmt: skip
    assert "ip-10-0-1-0.ec2.internal passed" in describe(nodes(2))


def test_a_long_name_is_broken_and_shortened_in_its_middle() -> None:
    sheet = pictures._Sheet(4)
    rows = sheet.wrapped("shop-md-0-very-long-name-of-a-node-in-a-pool-with-many-words-x7k2p", "bold", 34, 400, 2)
    assert len(rows) == 2
    assert rows[0].startswith("shop-md-0-")
    assert "…" in rows[1]
    assert rows[1].endswith("x7k2p")
    assert all(sheet.length(row, "bold", 34) <= 400 for row in rows)


@given(st.text(max_size=400), st.integers(40, 500))
@settings(max_examples=60, deadline=None)
def test_no_row_is_wider_than_its_room(text: str, width: int) -> None:
    sheet = pictures._Sheet(9)
    rows = sheet.wrapped(clean(text), "plain", 27, width, 3)
    assert 1 <= len(rows) <= 3
    assert all(len(row) <= 1 or sheet.length(row, "plain", 27) <= width for row in rows)


NASTY = [
    "$\\frac{1}{0}$", "$unclosed", "\\", "_{^{", "a\u202ebc\u200b", "\x00\x1b[31mred\x07", "日本語 😀 \U0001f9ff",
    "e" + "\u0301" * 300, "\ud800", "\ufdd0\uffff", "x" * 5_000, "\n\n\t\r\n", "", "%s {0} <b>&amp;",
    "\u2028\u2029\ue000",
]  # fmt: skip


@pytest.mark.parametrize("nasty", NASTY, ids=range(len(NASTY)))
def test_no_character_from_outside_does_any_harm(nasty: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        picture = opened(draw(board(Tile(title=nasty, lines=(nasty, nasty), tone="bad"), title=nasty)))
    assert picture.width == 1000
    assert picture.height < 1600
    words = describe(board(Tile(title=nasty, lines=(nasty,)), title=nasty))
    assert len(words) <= 1000
    assert words.encode("utf-8").decode().isprintable()


def test_formulas_are_not_read() -> None:
    assert draw(board(Tile(title="$x$"))) != draw(board(Tile(title="x")))


def test_the_words_say_who_did_how() -> None:
    shown = board(
        Tile(title="ip-10-0-1-23", lines=("Tesla T4", "12 s"), tone="good"),
        Tile(title="ip-10-0-1-24", lines=("Insufficient nvidia.com/gpu",), tone="bad"),
        Tile(title="cpu-1"),
        title="2 GPU nodes:",
    )
    assert describe(shown) == (
        "2 GPU nodes: ip-10-0-1-23 passed (Tesla T4, 12 s); ip-10-0-1-24 failed (Insufficient nvidia.com/gpu); cpu-1."
    )


@pytest.mark.parametrize("count", [0, 1, 20, 100, 2_000])
def test_the_words_fit_into_slacks_limit_and_count_what_does_not(count: int) -> None:
    words = describe(nodes(count))
    assert len(words) <= 1_000
    left = count - words.count(" passed (")
    assert words.endswith(f"and {left} more." if left else ".")


def test_many_threads_draw_at_once() -> None:
    wanted = {count: draw(nodes(count)) for count in (1, 2, 5)}
    with ThreadPoolExecutor(4) as pool:
        drawn = list(pool.map(lambda count: (count, draw(nodes(count))), [1, 2, 5] * 4))
    assert all(wanted[count] == content for count, content in drawn)


def test_the_library_is_read_only_when_a_picture_is_drawn() -> None:
    """It is slow to import, and most processes draw nothing; `pyplot` keeps figures for ever and is never read."""
    code = (
        "import sys, bot.slack.pictures as p, bot.slack.sending; assert 'matplotlib' not in sys.modules;"
        "from handlers.contract import Board, Tile; p.draw(Board(name='a', title='b', tiles=(Tile(title='c'),)));"
        "assert 'matplotlib' in sys.modules and 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
