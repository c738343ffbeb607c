"""A chart as a picture and as words: readable without colours, true to its numbers, harmless with any text."""

from __future__ import annotations

import io
import math
import warnings
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bot.slack import charts, paper, pictures
from bot.slack.charts import describe, draw
from handlers.contract import Board, Chart, Curve, Tile

pytestmark = pytest.mark.long

NOW, DAY = 1_772_352_000.0, 86_400.0
"""2026-03-01 08:00 UTC, a Sunday."""
TONES = ("good", "bad", "warn", "info")


def curve(name: str, *values: float | None, tone: Any = "info") -> Curve:
    return Curve(name=name, values=values, tone=tone)


def chart(*panels: tuple[Curve, ...], points: int | None = None, **more: Any) -> Chart:
    count = max((len(one.values) for panel in panels for one in panel), default=0) if points is None else points
    fields = {"name": "platform.png", "title": "Clusters by state", "at": tuple(NOW + DAY * n for n in range(count))}
    return Chart(**{**fields, "panels": panels, **more})


def states(count: int) -> Chart:
    """Both panels with so many points."""
    return chart(
        (
            curve("running", *(10.0 + n % 3 for n in range(count)), tone="good"),
            curve("creating", *(float(n % 2) for n in range(count))),
            curve("createStalled", *(float(n % 5 == 4) for n in range(count)), tone="bad"),
        ),
        (curve("GPUs proven", *(8.0,) * count, tone="good"), curve("GPUs failed", *(1.0,) * count, tone="bad")),
        points=count,
    )


def opened(content: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(content))
    picture.load()
    assert picture.format == "PNG"
    return picture


def count_of(picture: Image.Image, colour: str) -> int:
    """How many pixels have that very colour."""
    wanted = tuple(int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return sum(number for number, seen in picture.convert("RGB").getcolors(2**24) or () if seen == wanted)


# -- the picture -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 2, 3, 29, 30, 31, 400])
def test_any_number_of_points_is_a_picture_for_a_phone(count: int) -> None:
    picture = opened(draw(states(count)))
    assert picture.width == 1000
    assert picture.height < 1600
    assert charts.TEXT * 390 / picture.width >= 10, "letters of ten pixels on a screen of 390"


def test_only_the_newest_points_are_shown() -> None:
    whole = states(40)
    last = whole.model_copy(
        update={
            "at": whole.at[-30:],
            "panels": tuple(
                tuple(one.model_copy(update={"values": one.values[-30:]}) for one in panel) for panel in whole.panels
            ),
        }
    )
    assert draw(whole) == draw(last)
    assert describe(whole) == describe(last)


def test_the_same_chart_gives_the_same_bytes_and_none_of_them_is_a_date() -> None:
    first = draw(states(7))
    assert first == draw(states(7))
    assert first != draw(states(8))
    assert not opened(first).info.keys() & {"Software", "Creation Time", "date"}


def test_columns_are_as_high_as_their_numbers() -> None:
    """Twice as many clusters take twice the ink: the scale begins at nought."""
    one = count_of(opened(draw(chart((curve("running", 5.0, 10.0, tone="good"),)))), paper.COLOURS["good"])
    swatch = count_of(opened(draw(chart((curve("running", 0.0, 0.0, tone="good"),)))), paper.COLOURS["good"])
    half = count_of(opened(draw(chart((curve("running", 0.0, 10.0, tone="good"),)))), paper.COLOURS["good"])
    assert (one - swatch) / (half - swatch) == pytest.approx(1.5, rel=0.02)


def test_curves_can_be_told_apart_without_colours() -> None:
    """Eight of one tone: in shades of grey, each piece of the legend is another one."""
    made = charts._Graph(chart(tuple(curve(f"c{n}", 1.0) for n in range(8))))
    looks = set()
    for line in made.panels[0]:
        alone = charts._Graph(chart((curve("x", 1.0),)))
        alone.panels = [[charts._Line("x", (1.0,), line.colour, line.pattern)]]
        looks.add(opened(alone.picture()).convert("L").tobytes())
    assert len(looks) == 8
    assert len({(line.colour, line.pattern) for line in made.panels[0]}) == 8
    assert len({line.pattern for line in made.panels[0]}) == 8


def test_what_is_not_known_is_a_gap_and_not_nought() -> None:
    nought = draw(chart((curve("running", 3.0, 0.0, 3.0),)))
    gap = draw(chart((curve("running", 3.0, None, 3.0),)))
    assert nought != gap
    assert count_of(opened(gap), charts.UNKNOWN) > 10_000
    assert count_of(opened(nought), charts.UNKNOWN) == 0


def test_a_part_that_is_not_known_is_said_over_the_rest() -> None:
    part = draw(chart((curve("running", 3.0), curve("creating", None))))
    assert part != draw(chart((curve("running", 3.0), curve("creating", 0.0))))
    assert count_of(opened(part), charts.UNKNOWN) == 0


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf, -3.0, 1e308])
def test_what_is_no_count_is_not_known(odd: float) -> None:
    assert draw(chart((curve("x", odd, 1.0),))) == draw(chart((curve("x", None, 1.0),)))
    assert describe(chart((curve("x", 1.0, odd),))) == describe(chart((curve("x", 1.0, None),)))


def test_curves_that_are_too_short_or_too_long_are_no_error() -> None:
    short, long = curve("short", 1.0), curve("long", 1.0, 2.0, 3.0)
    assert opened(draw(chart((short, long), points=2))).width == 1000
    assert "short not known now, was 1; long 2, was 1." in describe(chart((short, long), points=2))


def test_more_curves_than_can_be_told_apart_are_summed() -> None:
    lines = charts._lines([curve(f"c{n}", float(n), None if n == 9 else 1.0) for n in range(12)], 2)
    assert [line.name for line in lines] == [*(f"c{n}" for n in range(7)), "5 more"]
    assert lines[-1].values == (7.0 + 8 + 9 + 10 + 11, None)


def test_a_panel_without_curves_and_a_chart_without_panels() -> None:
    assert opened(draw(chart((), points=2))).width == 1000
    assert opened(draw(chart(points=2))).width == 1000
    assert describe(chart(points=2)).endswith("Nothing has been seen yet.")


@given(st.floats(0, 1e12, allow_nan=False))
def test_the_scale_begins_at_nought_and_holds_everything_in_whole_numbers(top: float) -> None:
    steps = charts._steps(top)
    assert steps[0] == 0
    assert steps[-1] >= top * (1 - 1e-9)
    assert 2 <= len(steps) <= charts.LINES + 2
    assert all(step == int(step) for step in steps)


# -- times -------------------------------------------------------------------------------------------------------


def test_times_are_those_of_the_zone_over_a_change_of_the_clocks() -> None:
    """Berlin changes on 29 March 2026: eight in the morning is seven UTC, and then six."""
    at = (1_774_681_200.0, 1_774_764_000.0)
    shown = chart((curve("running", 1.0, 2.0),), at=at, zone="Europe/Berlin")
    assert "from Sat 28 Mar 08:00 to Sun 29 Mar 08:00 (Europe/Berlin)" in describe(shown)
    assert draw(shown) != draw(shown.model_copy(update={"zone": "UTC"}))


@pytest.mark.parametrize("zone", ["Mars/Base", "", "../../etc/passwd", "/etc/localtime", "\x00"])
def test_a_zone_that_is_none_is_utc(zone: str) -> None:
    shown = chart((curve("running", 1.0, 2.0),), zone=zone)
    assert "Sun 1 Mar 08:00" in describe(shown)
    assert "(UTC)" in describe(shown)
    assert opened(draw(shown)).width == 1000


@pytest.mark.parametrize("odd", [math.nan, math.inf, -1e18, 1e18])
def test_a_time_that_is_none_is_a_question_mark(odd: float) -> None:
    shown = chart((curve("running", 1.0),), at=(odd,))
    assert opened(draw(shown)).width == 1000


def test_no_two_times_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    for count in (1, 2, 5, 12, 30):
        written: list[tuple[float, float, float]] = []

        def note(self: Any, rows: list[str], left: float, top: float, *style: Any, to: Any = written) -> None:
            if rows[0][:3] in charts.DAYS:
                to.append((top, left, left + self.length(rows[0], "plain", charts.TEXT)))

        monkeypatch.setattr(paper.Paper, "write", note)
        draw(states(count))
        assert written
        for top in {place[0] for place in written}:
            row = sorted(place[1:] for place in written if place[0] == top)
            assert row[0][0] >= charts.MARGIN
            assert row[-1][1] <= charts.WIDTH - charts.MARGIN
            assert all(one[1] < other[0] for one, other in pairwise(row))


# -- words -------------------------------------------------------------------------------------------------------


def test_the_words_say_where_each_curve_began_and_is_now() -> None:
    shown = chart(
        (curve("running", 3.0, None, 5.0), curve("creating", 1.0, 1.0, 1.0)),
        (curve("GPUs failed", 0.0, 0.0, None), curve("GPUs proven", None, None, None)),
        title="Clusters by state over the last 3 digests:",
    )
    assert describe(shown) == (
        "Clusters by state over the last 3 digests, from Sun 1 Mar 08:00 to Tue 3 Mar 08:00 (UTC): "
        "running 5, was 3; creating 1; GPUs failed not known now, was 0; GPUs proven not known."
    )


def test_the_words_of_one_point_and_of_none() -> None:
    assert describe(states(0)) == "Clusters by state. Nothing has been seen yet."
    assert describe(states(1)).startswith("Clusters by state, at one time (UTC): running 10; creating 0;")


@pytest.mark.parametrize("count", [1, 8, 60, 300])
def test_the_words_fit_into_slacks_limit_and_count_what_does_not(count: int) -> None:
    words = describe(chart(tuple(curve(f"a-long-name-of-a-state-{n}", 1.0) for n in range(count))))
    assert len(words) <= 1_000
    left = count - words.count("a-long-name")
    assert words.endswith(f"and {left} more." if left else ".")


# -- harm --------------------------------------------------------------------------------------------------------

NASTY = [
    "$\\frac{1}{0}$", "$unclosed", "\\", "_{^{", "a\u202ebc\u200b", "\x00\x1b[31mred\x07", "日本語 😀 \U0001f9ff",
    "e" + "\u0301" * 300, "\ud800", "\ufdd0\uffff", "x" * 5_000, "\n\n\t\r\n", "", "%s {0} <b>&amp;",
    "\u2028\u2029\ue000",
]  # fmt: skip


@pytest.mark.long(but=1)
@pytest.mark.parametrize("nasty", NASTY, ids=range(len(NASTY)))
def test_no_character_from_outside_does_any_harm(nasty: str) -> None:
    shown = chart((curve(nasty, 1.0, tone="bad"), curve(nasty, 2.0)), title=nasty, zone=nasty)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        picture = opened(draw(shown))
    assert picture.width == 1000
    assert picture.height < 1600
    words = describe(shown)
    assert len(words) <= 1000
    assert words.encode("utf-8").decode().isprintable()


def test_formulas_are_not_read() -> None:
    assert draw(chart((curve("$x$", 1.0),))) != draw(chart((curve("x", 1.0),)))


@pytest.mark.long
@given(st.lists(st.lists(st.none() | st.floats(), max_size=4), max_size=3), st.text(max_size=20))
@settings(max_examples=25, deadline=None)
def test_any_numbers_are_a_picture(values: list[list[float | None]], name: str) -> None:
    shown = chart(tuple(curve(name, *row) for row in values), points=3)
    assert opened(draw(shown)).width == 1000
    assert len(describe(shown)) <= 1000


@pytest.mark.long
def test_charts_and_boards_are_drawn_by_many_threads_at_once() -> None:
    board = Board(name="b", title="t", tiles=(Tile(title="x", tone="good"),))
    wanted = {3: draw(states(3)), 9: draw(states(9)), 0: pictures.draw(board)}
    with ThreadPoolExecutor(4) as pool:
        drawn = list(pool.map(lambda n: (n, draw(states(n)) if n else pictures.draw(board)), [3, 9, 0] * 4))
    assert all(wanted[count] == content for count, content in drawn)


@pytest.mark.timeout(60)
def test_a_large_chart_is_drawn_in_a_moment() -> None:
    draw(states(1))
    draw(
        chart(tuple(curve(f"c{n}", *(float(n),) * 30) for n in range(8)), tuple(curve("x", *(1.0,) * 30) for _ in "ab"))
    )
