"""A set of whole numbers that mostly follow each other, kept as spans. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable


class Spans:
    """A set of whole numbers that lie together, as spans."""

    def __init__(self) -> None:
        self.spans: list[list[int]] = []

    def __contains__(self, number: int) -> bool:
        index = bisect_right(self.spans, number, key=_first)
        return index > 0 and number <= self.spans[index - 1][1]

    def add(self, number: int) -> None:
        """Puts a number in."""
        index = bisect_right(self.spans, number, key=_first)
        before = self.spans[index - 1] if index else None
        after = self.spans[index] if index < len(self.spans) else None
        if before is not None and number <= before[1] + 1:
            before[1] = max(before[1], number)
            if after is not None and after[0] == before[1] + 1:
                before[1] = after[1]
                del self.spans[index]
        elif after is not None and after[0] == number + 1:
            after[0] = number
        else:
            self.spans.insert(index, [number, number])

    @property
    def last(self) -> int:
        """The greatest; 0 when there is none."""
        return self.spans[-1][1] if self.spans else 0

    def gaps(self, first: int, last: int) -> Iterable[tuple[int, int]]:
        """What is not in the set from `first` to `last`, as spans."""
        for begin, end in self.spans:
            if begin > first:
                yield first, min(begin - 1, last)
            first = max(first, end + 1)
            if first > last:
                return
        if first <= last:
            yield first, last


def _first(span: list[int]) -> int:
    return span[0]
