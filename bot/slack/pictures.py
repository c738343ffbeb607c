"""A board as a picture and as words: many things at a glance, for eyes, for phones, and for who cannot see it.

How a thing does is a colour and a sign, so nobody has to tell colours apart. Characters from outside are drawn as they
are, and the same board gives the same bytes.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from bot.slack.paper import (
    COLOURS,
    DESCRIPTION,
    GAP,
    INK,
    LEADING,
    MARGIN,
    NAME,
    PAPER,
    SOFT,
    TEXT,
    TITLE,
    Paper,
    clean,
    drawing,
    shortened,
)
from handlers.contract import Board, Tile

MOST_TILES = 100
MOST_ROWS = 8
"""Rows of text in a tile."""
ALT_NAME = 60
PAD, SIGN = 24, 46
TINTS = {"good": "#eaf6ed", "bad": "#fdeceb", "warn": "#fdf3dc", "info": "#f0f2f4"}
WORDS = {"good": "passed", "bad": "failed", "warn": "warning", "info": ""}
DOMAIN = re.compile(r"[a-z0-9-]*[a-z][a-z0-9-]*(\.[a-z0-9-]+)*")


def describe(board: Board) -> str:
    """The board in words, for screen readers and wherever pictures do not go."""
    title = clean(board.title).rstrip(" .:")
    if not board.tiles:
        return f"{title}."[:DESCRIPTION]
    said = f"{title}: "
    for number, tile in enumerate(board.tiles):
        left = f"and {len(board.tiles) - number} more."
        lines = ", ".join(filter(None, map(clean, tile.lines)))
        word = f" {WORDS[tile.tone]}" if WORDS[tile.tone] else ""
        one = f"{shortened(clean(tile.title), ALT_NAME)}{word}{f' ({lines})' if lines else ''}"
        end = "; " if number < len(board.tiles) - 1 else "."
        if len(said) + len(one) + len(end) + len(left) > DESCRIPTION:
            return (said + left)[:DESCRIPTION]
        said += one + end
    return said


def draw(board: Board) -> bytes:
    """The board as a PNG of 1,600 pixels' width at most. Slow: a second for the first one of a process."""
    tiles = _without_tail(board.tiles)
    if len(tiles) > MOST_TILES:
        left = len(tiles) - MOST_TILES + 1
        tiles = (*tiles[: MOST_TILES - 1], Tile(title=f"and {left} more"))
    with drawing:
        return _Sheet(len(tiles)).picture(board.title, tiles)


def _without_tail(tiles: tuple[Tile, ...]) -> tuple[Tile, ...]:
    """Names without the domain that all of them end in: it tells nothing apart and takes the room of what does."""
    names = [tile.title.partition(".") for tile in tiles]
    tails = {tail for _head, _dot, tail in names}
    if len(tiles) < 2 or len(tails) != 1 or not DOMAIN.fullmatch(tails.pop()) or not all(name[0] for name in names):
        return tiles
    return tuple(tile.model_copy(update={"title": name[0]}) for tile, name in zip(tiles, names, strict=True))


@dataclass(frozen=True)
class _Cell:
    """A tile as it will be drawn: rows of text that fit."""

    tile: Tile
    name: list[str]
    rows: list[str]

    @property
    def height(self) -> float:
        head = max(SIGN, len(self.name) * NAME * LEADING)
        body = len(self.rows) * TEXT * LEADING + 10 if self.rows else 0
        return PAD * 2 + head + body


class _Sheet(Paper):
    """A board in the making."""

    def __init__(self, count: int) -> None:
        self.columns = 1 if count <= 1 else 2 if count <= 8 else 3 if count <= 30 else 4
        super().__init__(1_000 if self.columns < 3 else 1_600)
        self.cell_width = (self.width - 2 * MARGIN - (self.columns - 1) * GAP) / self.columns

    def picture(self, title: str, tiles: tuple[Tile, ...]) -> bytes:
        heading = self.wrapped(clean(title), "bold", TITLE, self.width - 2 * MARGIN, 3)
        cells = [self._cell(tile) for tile in tiles]
        ranks = [cells[at : at + self.columns] for at in range(0, len(cells), self.columns)]
        top = MARGIN + len(heading) * TITLE * LEADING + GAP
        tall = sum(max(cell.height for cell in rank) + GAP for rank in ranks)
        self.begin(math.ceil(top + tall - GAP + MARGIN))
        self.write(heading, MARGIN, MARGIN, "bold", TITLE, INK)
        for rank in ranks:
            tall = max(cell.height for cell in rank)
            for column, cell in enumerate(rank):
                self._draw_cell(cell, MARGIN + column * (self.cell_width + GAP), top, tall)
            top += tall + GAP
        return self.png()

    # -- text that fits

    def _cell(self, tile: Tile) -> _Cell:
        inside = self.cell_width - 2 * PAD
        name = self.wrapped(clean(tile.title), "bold", NAME, inside - SIGN - 18, 2)
        lines = [clean(line) for line in tile.lines if clean(line)]
        rows = [row for line in lines for row in self.wrapped(line, "plain", TEXT, inside, 4)]
        if len(rows) > MOST_ROWS:
            rows = [*rows[: MOST_ROWS - 1], f"and {len(rows) - MOST_ROWS + 1} more lines"]
        return _Cell(tile, name, rows)

    # -- ink

    def _draw_cell(self, cell: _Cell, left: float, top: float, tall: float) -> None:
        tone = cell.tile.tone
        edge, line = COLOURS[tone], 4 if tone == "bad" else 2
        self.box(left, top, self.cell_width, tall, fill=TINTS[tone], edge=edge, line=line, corner=14)
        self._sign(tone, left + PAD + SIGN / 2, top + PAD + SIGN / 2)
        down = top + PAD + max(0.0, (SIGN - NAME * LEADING) / 2)
        self.write(cell.name, left + PAD + SIGN + 18, down, "bold", NAME, INK)
        below = top + PAD + max(SIGN, len(cell.name) * NAME * LEADING) + 10
        self.write(cell.rows, left + PAD, below, "plain", TEXT, SOFT)

    def _sign(self, tone: str, x: float, y: float) -> None:
        """A tick in a circle, a cross in a square, an exclamation mark in a triangle, an i in a ring."""
        colour, half = COLOURS[tone], SIGN / 2
        if tone == "bad":
            self.box(x - half, y - half, SIGN, SIGN, fill=colour, edge=colour, line=1)
        elif tone == "warn":
            self.polygon([(x, y - half), (x - half, y + half - 3), (x + half, y + half - 3)], colour)
        else:
            self.circle(x, y, half, colour)
        strokes = {
            "good": [[(-11, 1), (-3, 10), (12, -9)]],
            "bad": [[(-11, 11), (11, -11)], [(-11, -11), (11, 11)]],
            "warn": [[(0, -9), (0, 5)], [(0, 13), (0, 14)]],
            "info": [[(0, -2), (0, 12)], [(0, -11), (0, -12)]],
        }
        for stroke in strokes[tone]:
            self.stroke([(x + dx, y + dy) for dx, dy in stroke], PAPER, 4.2)
