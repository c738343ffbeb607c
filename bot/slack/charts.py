"""A chart as a picture and as words: how numbers went from digest to digest.

A column for each point, with what its curves say stacked upon each other: one point alone can be seen, and so can a
point of which nothing is known. A curve is a colour, a pattern and a word, so nobody has to tell colours apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

from bot.slack.paper import (
    COLOURS,
    DESCRIPTION,
    GAP,
    INK,
    LEADING,
    MARGIN,
    PAPER,
    SOFT,
    TEXT,
    TITLE,
    Paper,
    clean,
    drawing,
    shortened,
)
from handlers.contract import Chart, Curve

MOST_POINTS, MOST_CURVES, MOST_PANELS = 30, 8, 4
WIDTH = 1_000
PLOT = 360
"""Height of a panel's columns in pixels."""
WIDEST = 90
"""Width of a column where there are few."""
MOST = 1e9
"""What is more is no count of anything, and neither is what is less than nought or not a number."""
SWATCH = 34
APART = 24
"""Between two times."""
ALT_NAME = 40
LINES = 5
"""Lines across a panel, besides its floor, at most."""
GRID, UNKNOWN = "#d5dade", "#eceff1"
LIGHTER = {"good": "#7cc68d", "bad": "#e58e86", "warn": "#dcb25c", "info": "#aab6bf"}
"""For the second curve of a tone, and every other one after it."""
PATTERNS = ("", "//", "xx", "..", "\\\\", "--", "oo", "++")
NOTHING = "Nothing has been seen yet."
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def describe(chart: Chart) -> str:
    """The chart in words: where each curve began, and where it is now."""
    zone, name = _zone(chart.zone)
    title = clean(chart.title).rstrip(" .:")
    points = chart.at[-MOST_POINTS:]
    if not points:
        return f"{shortened(title, DESCRIPTION - 40)}. {NOTHING}"
    ends = f"from {_moment(points[0], zone)} to {_moment(points[-1], zone)}" if len(points) > 1 else "at one time"
    said = f"{shortened(title, 400)}, {ends} ({name}): "
    curves = [curve for panel in chart.panels[:MOST_PANELS] for curve in panel]
    for number, curve in enumerate(curves):
        left = f"and {len(curves) - number} more."
        one = f"{shortened(clean(curve.name), ALT_NAME)} {_course(_values(curve, len(chart.at)))}"
        end = "; " if number < len(curves) - 1 else "."
        if len(said) + len(one) + len(end) + len(left) > DESCRIPTION:
            return (said + left)[:DESCRIPTION]
        said += one + end
    return said if curves else f"{said.rstrip(': ')}. {NOTHING}"


def draw(chart: Chart) -> bytes:
    """The chart as a PNG of 1,000 pixels' width."""
    with drawing:
        return _Graph(chart).picture()


# -- numbers -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Line:
    """A curve as it will be drawn."""

    name: str
    values: tuple[float | None, ...]
    colour: str
    pattern: str

    @property
    def legend(self) -> str:
        """Its word, with what it is now."""
        return f"{self.name}: {_number(self.values[-1]) if self.values else '?'}"


def _values(curve: Curve, points: int) -> tuple[float | None, ...]:
    """As many as there are points; what is no number of anything is not known."""
    padded = [*curve.values[:points], *[None] * (points - len(curve.values))]
    known = (None if value is None or not 0 <= value <= MOST else value for value in padded)
    return tuple(known)[-MOST_POINTS:]


def _lines(panel: Sequence[Curve], points: int) -> list[_Line]:
    """Colours and patterns: no two curves of a panel look the same, even in shades of grey."""
    shown: list[_Line] = []
    seen: dict[str, int] = {}
    for number, curve in enumerate(panel[: MOST_CURVES - 1] if len(panel) > MOST_CURVES else panel):
        nth = seen[curve.tone] = seen.get(curve.tone, 0) + 1
        colour = (COLOURS if nth % 2 else LIGHTER)[curve.tone]
        shown.append(_Line(clean(curve.name) or "?", _values(curve, points), colour, PATTERNS[number]))
    rest = [_values(curve, points) for curve in panel[len(shown) :]]
    if rest:
        sums = tuple(_sum(column) for column in zip(*rest, strict=True))
        shown.append(_Line(f"{len(rest)} more", sums, COLOURS["info"], PATTERNS[len(shown)]))
    return shown


def _sum(column: Sequence[float | None]) -> float | None:
    known = [value for value in column if value is not None]
    return sum(known) if len(known) == len(column) else None


def _course(values: Sequence[float | None]) -> str:
    """`3, was 5`; `? (not known)` where the last value is not known."""
    first = next((value for value in values if value is not None), None)
    if first is None:
        return "not known"
    now = "not known now" if values[-1] is None else _number(values[-1])
    return now if len(values) == 1 or first == values[-1] else f"{now}, was {_number(first)}"


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:,.0f}" if float(value).is_integer() else f"{value:,.2f}"


def _steps(top: float) -> list[float]:
    """Where lines go across, from the floor up: whole numbers, and at least one above all columns."""
    top = max(top, 1.0)
    raw = top / LINES
    scale = 10.0 ** math.floor(math.log10(raw))
    step = max(1.0, next(nice * scale for nice in (1, 2, 5, 10) if nice * scale >= raw * (1 - 1e-9)))
    return [step * number for number in range(math.ceil(top / step - 1e-9) + 1)]


# -- times -------------------------------------------------------------------------------------------------------


def _zone(name: str) -> tuple[tzinfo, str]:
    """UTC where there is no such zone any more."""
    try:
        return ZoneInfo(name), clean(name)
    except (KeyError, ValueError, OSError):
        return UTC, "UTC"


def _moment(at: float, zone: tzinfo) -> str:
    return " ".join(_date(at, zone))


def _date(at: float, zone: tzinfo) -> tuple[str, str]:
    """The day and the time, in words that no locale changes."""
    try:
        when = datetime.fromtimestamp(at, zone)
    except (ValueError, OverflowError, OSError):
        return "?", "?"
    return f"{DAYS[when.weekday()]} {when.day} {MONTHS[when.month - 1]}", f"{when:%H:%M}"


# -- ink ---------------------------------------------------------------------------------------------------------


class _Graph(Paper):
    """A chart in the making."""

    def __init__(self, chart: Chart) -> None:
        super().__init__(WIDTH)
        self.at = chart.at[-MOST_POINTS:]
        self.zone, self.zone_name = _zone(chart.zone)
        self.heading = self.wrapped(clean(chart.title), "bold", TITLE, WIDTH - 2 * MARGIN, 3)
        self.panels = [_lines(panel, len(chart.at)) for panel in chart.panels[:MOST_PANELS] if panel]
        if not self.at:
            self.panels = []

    def picture(self) -> bytes:
        legends = [self._legend(lines) for lines in self.panels]
        row = TEXT * LEADING
        top = MARGIN + len(self.heading) * TITLE * LEADING + GAP
        tall = sum((max(place[2] for place in legend) + 1) * (row + 10) + PLOT + 3 * row + GAP for legend in legends)
        self.begin(math.ceil(top + (tall if self.panels else 0) + row + MARGIN))
        self.write(self.heading, MARGIN, MARGIN, "bold", TITLE, INK)
        if not self.panels:
            self.write([NOTHING], MARGIN, top, "plain", TEXT, SOFT)
        for lines, legend in zip(self.panels, legends, strict=True):
            for line, left, rank in legend:
                self._entry(line, left, top + rank * (row + 10))
            top += (max(place[2] for place in legend) + 1) * (row + 10) + row / 2
            self._columns(lines, top)
            top += PLOT + 2.5 * row + GAP
        if self.panels:
            zone = f"Times are those of {shortened(self.zone_name, ALT_NAME)}."
            self.write([zone], MARGIN, top, "plain", TEXT, SOFT)
        return self.png()

    def _legend(self, lines: Sequence[_Line]) -> list[tuple[_Line, float, int]]:
        """Each curve with how far from the left, and in which row."""
        places: list[tuple[_Line, float, int]] = []
        left, rank = float(MARGIN), 0
        for line in lines:
            wide = SWATCH + 12 + self.length(self._fits(line), "plain", TEXT) + 30
            if left > MARGIN and left + wide - 30 > WIDTH - MARGIN:
                left, rank = float(MARGIN), rank + 1
            places.append((line, left, rank))
            left += wide
        return places

    def _fits(self, line: _Line) -> str:
        return self.wrapped(line.legend, "plain", TEXT, WIDTH - 2 * MARGIN - SWATCH - 32, 1)[0]

    def _entry(self, line: _Line, left: float, top: float) -> None:
        self._box(left, top + 4, SWATCH, SWATCH - 6, line)
        self.write([self._fits(line)], left + SWATCH + 12, top, "plain", TEXT, INK)

    def _columns(self, lines: Sequence[_Line], top: float) -> None:
        """The columns of a panel over its lines, and the times under them."""
        columns = list(zip(*(line.values for line in lines), strict=True))
        steps = _steps(max(sum(filter(None, column)) for column in columns))
        left = MARGIN + max(self.length(_number(step), "plain", TEXT) for step in steps) + 14
        for step in steps:
            height = PLOT * step / steps[-1]
            self._rule(left, top + PLOT - height, SOFT if step == 0 else GRID)
            label = _number(step)
            right = left - 14 - self.length(label, "plain", TEXT)
            self.write([label], right, top + PLOT - height - TEXT * 0.7, "plain", TEXT, SOFT)
        room = (WIDTH - MARGIN - left) / len(columns)
        wide = min(WIDEST, room * 0.8)
        for number, column in enumerate(columns):
            self._column(lines, column, left + room * (number + 0.5) - wide / 2, wide, top, steps[-1])
        self._times(left, room, top + PLOT + 8)

    def _column(
        self, lines: Sequence[_Line], column: Sequence[float | None], left: float, wide: float,
        top: float, most: float,
    ) -> None:  # fmt: skip
        """What is known, stacked; a question mark over what is not."""
        floor = top + PLOT
        if all(value is None for value in column):
            self._box(left, top, wide, PLOT, None)
        for line, value in zip(lines, column, strict=True):
            if value:
                tall = PLOT * value / most
                floor -= tall
                self._box(left, floor, wide, tall, line)
        if any(value is None for value in column):
            mark = left + wide / 2 - self.length("?", "bold", TEXT) / 2
            self.write(["?"], mark, max(top, floor - TEXT * LEADING), "bold", TEXT, SOFT)

    def _times(self, left: float, room: float, top: float) -> None:
        """As many as there is room for, the newest always."""
        end = float(WIDTH)
        for number in range(len(self.at) - 1, -1, -1):
            words = _date(self.at[number], self.zone)
            middle, lengths = left + room * (number + 0.5), [self.length(word, "plain", TEXT) for word in words]
            middle = min(max(middle, MARGIN + max(lengths) / 2), WIDTH - MARGIN - max(lengths) / 2)
            if middle + max(lengths) / 2 > end:
                continue
            for rank, (word, length) in enumerate(zip(words, lengths, strict=True)):
                self.write([word], middle - length / 2, top + rank * TEXT * LEADING, "plain", TEXT, SOFT)
            end = middle - max(lengths) / 2 - APART

    def _box(self, left: float, top: float, wide: float, tall: float, line: _Line | None) -> None:
        """A piece of a column; of what is not known where there is no line."""
        fill, pattern = (line.colour, line.pattern) if line else (UNKNOWN, "")
        self.box(left, top, wide, tall, fill=fill, edge=PAPER, line=1.5, pattern=pattern)

    def _rule(self, left: float, top: float, colour: str) -> None:
        """A line across; the floor stands before the columns, the others behind them."""
        self.stroke([(left, top), (WIDTH - MARGIN, top)], colour, 1.5, above=colour != GRID)
