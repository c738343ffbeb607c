"""When a digest is due: a cron expression or plain words, in a time zone. Pure; APScheduler reads the expression.

Days and hours are those of people's clocks. A time that the clock skips in spring comes when the clock has jumped; one
that it shows twice in autumn comes once, the first time; only what comes every hour comes in each of the two hours.
(Python: `datetime`, "fold", and PEP 495.) The weekday 0 or 7 is Sunday, as in crontab(5) and unlike in APScheduler.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from functools import cached_property
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from apscheduler.triggers.cron import CronTrigger

DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
PLAIN = {"daily": "*", "weekdays": "mon,tue,wed,thu,fri", "weekends": "sat,sun"}
EXAMPLES = "such as `weekdays 09:00`, `mon,thu 08:30`, `hourly`, `monthly 09:00` or `0 9 * * 1-5`"
SHORTEST = 15 * 60
"""Seconds between two messages: what comes more often is not read."""
AROUND = timedelta(hours=3)
"""More than any zone's clock ever jumped at once, so that no order of moments is missed."""
AHEAD = timedelta(days=8 * 366)
"""How far is looked: the 29th of February may be eight years away (1896 to 1904)."""


class WrongTime(ValueError):
    """Words that name no time, with what would."""


@dataclass(frozen=True)
class Timetable:
    """Moments that come again. `cron` are five fields with weekdays as names; `zone` is an IANA time zone."""

    cron: str
    zone: str

    @cached_property
    def _clock(self) -> ZoneInfo:
        return ZoneInfo(self.zone)

    @cached_property
    def _trigger(self) -> CronTrigger:
        """Reads a wall clock: its times have no zone, so they are kept as if they were UTC."""
        minute, hour, day, month, weekday = self.cron.split()
        return CronTrigger(minute=minute, hour=hour, day=day, month=month, day_of_week=weekday, timezone=UTC)

    def next(self, after: float) -> float | None:
        """The first moment after `after` (epoch seconds), if there is one within years."""
        moment = datetime.fromtimestamp(after, UTC)
        found: list[float] = []
        first: datetime | None = None
        for wall in self._walls(moment, moment + AHEAD):
            if first is not None and wall > first + AROUND:
                break
            later = [instant for instant in self._instants(wall) if instant > after]
            found += later
            first = first or (wall if later else None)
        return min(found, default=None)

    def latest(self, after: float, until: float) -> float | None:
        """The last moment after `after` and not after `until`: of what was missed, the newest counts for all."""
        since = max(after, until - timedelta(days=400).total_seconds())
        ends = datetime.fromtimestamp(until, UTC)
        walls = self._walls(datetime.fromtimestamp(since, UTC), ends)
        return max((i for wall in walls for i in self._instants(wall) if after < i <= until), default=None)

    def _walls(self, since: datetime, until: datetime) -> Iterator[datetime]:
        """What the clock on the wall shows at each moment, from a little before `since` to a little after `until`."""
        at = _wall(since.astimezone(self._clock)) - AROUND
        ends = _wall(until.astimezone(self._clock)) + AROUND
        while True:
            wall = self._trigger.get_next_fire_time(None, at)
            if wall is None or wall > ends:
                return
            yield wall
            at = wall + timedelta(seconds=1)

    def _instants(self, wall: datetime) -> tuple[float, ...]:
        first = wall.replace(tzinfo=self._clock, fold=0).timestamp()
        if self.cron.split()[1] != "*":
            return (first,)
        again = wall.replace(tzinfo=self._clock, fold=1).timestamp()
        shown_twice = again > first
        return (first, again) if shown_twice else (first,)


def timetable(words: str, zone: str, now: float) -> Timetable:
    """Reads cron or plain words. Raises WrongTime with one sentence: not a time, an unknown zone, never, too often."""
    made = Timetable(_cron(words.strip().lower()), known_zone(zone))
    try:
        first = made.next(now)
    except ValueError as error:
        raise WrongTime(f"“{words}” is no time ({error}); write it {EXAMPLES}") from None
    if first is None:
        raise WrongTime(f"“{words}” never comes: no such day is in the calendar")
    at = first
    for _ in range(60):
        after = made.next(at)
        if after is not None and after - at < SHORTEST:
            raise WrongTime(f"“{words}” comes more often than every {SHORTEST // 60} minutes, and would not be read")
        if after is None:
            break
        at = after
    return made


def known_zone(zone: str) -> str:
    """The zone as the time zone database writes it. Raises WrongTime."""
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        zones = {name.casefold(): name for name in available_timezones()}
        if zone.casefold() in zones:
            return zones[zone.casefold()]
        places = {name.rpartition("/")[2].casefold(): name for name in sorted(zones.values(), reverse=True)}
        wanted = zone.casefold().replace(" ", "_")
        close = get_close_matches(wanted.rpartition("/")[2], places, n=1, cutoff=0.75)
        hint = f"; did you mean {places[close[0]]}?" if close else ", such as Europe/Berlin or UTC"
        raise WrongTime(f"“{zone}” is no time zone{hint}") from None
    return zone


def _wall(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC, fold=0)


# -- reading -----------------------------------------------------------------------------------------------------


def _cron(words: str) -> str:
    parts = words.split()
    if len(parts) == 5 and not words.startswith("every"):
        return _of_fields(parts, words)
    if parts == ["hourly"]:
        return "0 * * * *"
    if len(parts) == 2:
        minutes, hours = _times(parts[1], words)
        if parts[0] == "monthly":
            return f"{minutes} {hours} 1 * *"
        return f"{minutes} {hours} * * {_days(parts[0], words)}"
    raise WrongTime(f"“{words}” is no time; write it {EXAMPLES}")


def _times(text: str, words: str) -> tuple[str, str]:
    """`09:00` or `09:00,17:00`: hours that share their minutes, because cron has no other way to say it."""
    found = [re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)", part) for part in text.split(",")]
    if not all(found):
        raise WrongTime(f"“{text}” in “{words}” is no time of day such as 09:00")
    minutes = {int(match.group(2)) for match in found if match}
    if len(minutes) > 1:
        raise WrongTime(f"the times in “{words}” differ in their minutes; make a digest for each")
    return str(minutes.pop()), ",".join(str(int(match.group(1))) for match in found if match)


def _days(text: str, words: str) -> str:
    if text in PLAIN:
        return PLAIN[text]
    days = [next((day for day in DAYS if _is_day(part, day)), "") for part in text.split(",")]
    if not all(days):
        raise WrongTime(f"“{text}” in “{words}” names no days; write it {EXAMPLES}")
    return ",".join(days)


def _is_day(word: str, day: str) -> bool:
    full = {"sun": "sunday", "mon": "monday", "tue": "tuesday", "wed": "wednesday", "thu": "thursday",
            "fri": "friday", "sat": "saturday"}[day]  # fmt: skip
    return word in (day, full, f"{full}s")


def _of_fields(parts: list[str], words: str) -> str:
    """crontab(5): where both the day of the month and the weekday are limited, either may match; that surprises, so it
    is refused."""
    minute, hour, day, month, weekday = parts
    if day != "*" and weekday not in ("*", "?"):
        raise WrongTime(f"“{words}” limits the day of the month and the weekday; limit one of them")
    limits = ((minute, 0, 59, ()), (hour, 0, 23, ()), (day, 1, 31, ()), (month, 1, 12, ("", *MONTHS)))
    fields = [
        "*" if field == "*" else ",".join(map(str, _expanded(field, low, high, names, words)))
        for field, low, high, names in limits
    ]
    days = {DAYS[number % 7] for number in _expanded(weekday.replace("?", "*"), 0, 7, (*DAYS, "sun"), words)}
    return " ".join([*fields, "*" if len(days) == len(DAYS) else ",".join(sorted(days, key=DAYS.index))])


def _expanded(field: str, low: int, high: int, names: tuple[str, ...], words: str) -> list[int]:
    """The numbers that a field of cron stands for; a range may go over the end of the week."""
    wrong = WrongTime(f"“{field}” in “{words}” is no field of a cron expression; write it {EXAMPLES}")
    found: list[int] = []
    for part in field.split(","):
        span, _, step = part.partition("/")
        if step and not (step.isdigit() and int(step) > 0):
            raise wrong
        first, dash, last = span.partition("-")
        if span == "*":
            start, end = low, high
        else:
            start = _number(first, names, wrong)
            end = _number(last, names, wrong) if dash else (high if step else start)
        if not (low <= start <= high and low <= end <= high) or (end < start and not names):
            raise wrong
        numbers = [*range(start, end + 1)] if start <= end else [*range(start, high + 1), *range(low, end + 1)]
        found += numbers[:: int(step or 1)]
    return sorted(set(found))


def _number(text: str, names: tuple[str, ...], wrong: WrongTime) -> int:
    if text and text in names:
        return names.index(text)
    if not (text.isascii() and text.isdigit()):
        raise wrong
    return int(text)
