"""What every picture is drawn on: letters that fit, lines of text, and one thread at a time.

Characters from outside are drawn as they are, never read as formulas; what the font does not have is drawn as a
replacement sign. The same picture gives the same bytes. matplotlib keeps state of its own (matplotlib.org, "Working
with threads"), so one thread draws at a time; it takes a second to import, which is done when the first picture is
drawn.
"""

from __future__ import annotations

import io
import re
import threading
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from handlers.contract import visible

DESCRIPTION = 1_000
"""docs.slack.dev/reference/methods/files.getUploadURLExternal: alt_txt_too_large."""
MARGIN, GAP = 36, 24
TITLE, NAME, TEXT = 42, 34, 27
"""Heights of letters in pixels."""
LEADING = 1.32
DPI = 100
INK, SOFT, PAPER = "#1c2328", "#454f57", "#ffffff"
COLOURS = {"good": "#1a7f37", "bad": "#b3261e", "warn": "#8a5a00", "info": "#4a5864"}
UNSEEN = frozenset({"Mn", "Me", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories: marks upon characters, and what is no character."""
Weight = Literal["plain", "bold"]
drawing = threading.Lock()
"""Held by whoever draws."""


def clean(text: str) -> str:
    """One line without what cannot be seen, and without marks that stack upon other characters."""
    line = " ".join(visible(unicodedata.normalize("NFC", text)).split())
    return "".join(char for char in line if unicodedata.category(char) not in UNSEEN)


def shortened(text: str, most: int) -> str:
    """At most `most` characters: what is left out is in the middle, because names differ at their ends."""
    if len(text) <= most:
        return text
    head = most // 2
    return f"{text[:head]}…{text[len(text) - (most - 1 - head) :]}"


class Paper:
    """One picture in the making. Lengths are pixels; y goes down from the top."""

    def __init__(self, width: int) -> None:
        import matplotlib
        from matplotlib import font_manager

        fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
        self.paths = {"plain": fonts / "DejaVuSans.ttf", "bold": fonts / "DejaVuSans-Bold.ttf"}
        self.fonts = {weight: font_manager.get_font(str(path)) for weight, path in self.paths.items()}
        self.manager = font_manager
        self.width = width
        self.height = 0.0
        self._figure: Any = None

    def begin(self, height: float) -> None:
        """The empty sheet."""
        from matplotlib.figure import Figure

        self.height = height
        self._figure = Figure(figsize=(self.width / DPI, height / DPI), dpi=DPI, facecolor=PAPER)

    def png(self) -> bytes:
        """What was drawn, with no date in it."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        canvas: Any = FigureCanvasAgg(self._figure)  # its own types leave print_png out
        made = io.BytesIO()
        canvas.print_png(made, metadata={"Software": None})
        return made.getvalue()

    # -- text that fits

    def length(self, text: str, weight: Weight, size: int) -> float:
        """The width of a row of letters."""
        font = self.fonts[weight]
        font.set_size(size * 72 / DPI, DPI)
        font.set_text(text, 0.0)
        return float(font.get_width_height()[0]) / 64

    def known(self, text: str, weight: Weight) -> str:
        """What the font has; the rest as a replacement sign."""
        has = self.fonts[weight].get_char_index
        return "".join(char if has(ord(char)) else "\ufffd" for char in text)

    def wrapped(self, text: str, weight: Weight, size: int, width: float, most: int) -> list[str]:
        """At most `most` rows that fit. A word that is longer than a row is broken at its dots and dashes; what is too
        long even so, and the last row, lose their middle."""
        rows: list[str] = []
        parts: list[str] = []
        for word in self.known(text, weight).split():
            is_long = self.length(word, weight, size) > width
            parts += [f" {word}"] if not is_long else re.split(r"(?<=[.:/_-])(?=.)", f" {word}")
        while parts:
            if len(rows) == most - 1:
                return [*rows, self.fitted("".join(parts).strip(), weight, size, width)]
            row = parts.pop(0)
            while parts and self.length(f"{row}{parts[0]}".strip(), weight, size) <= width:
                row += parts.pop(0)
            rows.append(self.fitted(row.strip(), weight, size, width))
        return rows or [""]

    def fitted(self, text: str, weight: Weight, size: int, width: float) -> str:
        """The longest shortening that fits."""
        if self.length(text, weight, size) <= width:
            return text
        low, high = 1, min(len(text), 400)
        while low < high:
            middle = (low + high + 1) // 2
            fits = self.length(shortened(text, middle), weight, size) <= width
            low, high = (middle, high) if fits else (low, middle - 1)
        return shortened(text, low)

    # -- ink

    def write(self, rows: list[str], left: float, top: float, weight: Weight, size: int, colour: str) -> None:
        """Rows of text, the first one's top at `top`."""
        properties = self.manager.FontProperties(fname=str(self.paths[weight]), size=size * 72 / DPI)
        for number, row in enumerate(rows):
            baseline = self.height - top - number * size * LEADING - size * 1.02
            text = self._figure.text(
                left, baseline, row, fontproperties=properties, color=colour, va="baseline", ha="left",
                transform=None, parse_math=False, usetex=False,
            )  # fmt: skip
            text.set_clip_on(False)

    def box(
        self, left: float, top: float, wide: float, tall: float, *, fill: str, edge: str, line: float,
        pattern: str = "", corner: float = 0.0,
    ) -> None:  # fmt: skip
        """A rectangle, with a pattern in it (matplotlib's hatches) or with round corners."""
        from matplotlib.patches import FancyBboxPatch, Rectangle

        place: Any = (left, self.height - top - tall)
        style: dict[str, Any] = {"facecolor": fill, "edgecolor": edge, "linewidth": line, "transform": None}
        if corner:
            shape = f"round,pad=0,rounding_size={corner:g}"
            self._add(FancyBboxPatch(place, wide, tall, boxstyle=shape, **style))
        else:
            self._add(Rectangle(place, wide, tall, hatch=pattern or None, **style))

    def circle(self, x: float, y: float, radius: float, colour: str) -> None:
        """A disc."""
        from matplotlib.patches import Circle

        self._add(Circle((x, self.height - y), radius, transform=None, color=colour))

    def polygon(self, points: Sequence[tuple[float, float]], colour: str) -> None:
        """A filled shape."""
        from matplotlib.patches import Polygon

        self._add(Polygon([(x, self.height - y) for x, y in points], transform=None, color=colour))

    def stroke(self, points: Sequence[tuple[float, float]], colour: str, width: float, *, above: bool = True) -> None:
        """A line with round ends; with `above` False it lies under all shapes."""
        from matplotlib.lines import Line2D

        across, down = zip(*points, strict=True)
        up = [self.height - y for y in down]
        line = Line2D(
            across, up, transform=None, color=colour, linewidth=width, solid_capstyle="round", zorder=2 if above else 0
        )
        self._add(line)

    def _add(self, artist: Any) -> None:
        self._figure.add_artist(artist)
