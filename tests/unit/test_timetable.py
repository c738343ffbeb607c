"""When digests are due: words, zones, and clocks that jump."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.timetable import SHORTEST, Timetable, WrongTime, known_zone, timetable

BERLIN = "Europe/Berlin"


def at(text: str, zone: str = BERLIN) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def shown(moment: float | None, zone: str = BERLIN) -> str:
    assert moment is not None
    return datetime.fromtimestamp(moment, ZoneInfo(zone)).isoformat(timespec="minutes")


def following(words: str, after: str, count: int, zone: str = BERLIN) -> list[str]:
    made, moment, found = timetable(words, zone, 0.0), at(after, zone), []
    for _ in range(count):
        moment = made.next(moment) or 0.0
        found.append(shown(moment, zone))
    return found


@pytest.mark.parametrize(
    ("words", "cron"),
    [
        ("weekdays 09:00", "0 9 * * mon,tue,wed,thu,fri"),
        ("Daily 8:05", "5 8 * * *"),
        ("mon,thu 08:30", "30 8 * * mon,thu"),
        ("sundays 23:59", "59 23 * * sun"),
        ("daily 09:00,17:00", "0 9,17 * * *"),
        ("hourly", "0 * * * *"),
        ("monthly 09:00", "0 9 1 * *"),
        ("0 9 * * 1-5", "0 9 * * mon,tue,wed,thu,fri"),
        ("0 9 * * 0", "0 9 * * sun"),
        ("0 9 * * 7", "0 9 * * sun"),
        ("0 9 * * fri-mon", "0 9 * * sun,mon,fri,sat"),
        ("*/30 8-10 * jan,mar *", "0,30 8,9,10 * 1,3 *"),
        ("0 9 * * ?", "0 9 * * *"),
    ],
)
def test_words_and_cron_say_the_same(words: str, cron: str) -> None:
    assert timetable(words, "UTC", 0.0).cron == cron


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("0 0 31 2 *", "never comes"),
        ("* * * * *", "more often than every 15 minutes"),
        ("0,10 9 * * *", "more often than every 15 minutes"),
        ("0 9 1 * 1", "limit one of them"),
        ("tomorrow", "is no time; write it such as"),
        ("daily 25:00", "is no time of day"),
        ("daily 09:00,17:30", "differ in their minutes"),
        ("mon,xx 09:00", "names no days"),
        ("0 9 * * 8", "is no field"),
        ("61 9 * * *", "is no field"),
        ("0 9-5 * * *", "is no field"),
        ("0 */0 * * *", "is no field"),
        ("٣ 9 * * *", "is no field"),
        ("", "is no time"),
    ],
)
def test_what_never_comes_or_comes_too_often_is_refused(words: str, reason: str) -> None:
    with pytest.raises(WrongTime, match=reason):
        timetable(words, "UTC", 0.0)


@pytest.mark.parametrize(
    ("zone", "said"),
    [
        ("Europe/Berln", "did you mean Europe/Berlin"),
        ("berlin", "did you mean Europe/Berlin"),
        ("../etc", "no time zone"),
    ],
)
def test_an_unknown_zone_is_told_with_what_was_meant(zone: str, said: str) -> None:
    with pytest.raises(WrongTime, match=said):
        known_zone(zone)
    assert known_zone("europe/berlin") == BERLIN


def test_a_time_that_the_clock_skips_comes_once_after_the_jump() -> None:
    assert following("daily 02:30", "2027-03-27T12:00", 2) == ["2027-03-28T03:30+02:00", "2027-03-29T02:30+02:00"]


def test_a_time_that_the_clock_shows_twice_comes_once() -> None:
    assert following("daily 02:30", "2026-10-24T12:00", 2) == ["2026-10-25T02:30+02:00", "2026-10-26T02:30+01:00"]


def test_what_comes_every_hour_comes_in_each_hour_that_passes() -> None:
    autumn = following("hourly", "2026-10-25T01:30", 3)
    assert autumn == ["2026-10-25T02:00+02:00", "2026-10-25T02:00+01:00", "2026-10-25T03:00+01:00"]
    assert following("hourly", "2027-03-28T01:30", 2) == ["2027-03-28T03:00+02:00", "2027-03-28T04:00+02:00"]


def test_half_hour_zones_and_those_that_jump_by_half_an_hour() -> None:
    assert following("daily 09:00", "2026-11-25T10:00", 1, "Asia/Kolkata") == ["2026-11-26T09:00+05:30"]
    twice = following("daily 01:45", "2027-04-03T12:00", 2, "Australia/Lord_Howe")  # 02:00 becomes 01:30
    assert twice == ["2027-04-04T01:45+11:00", "2027-04-05T01:45+10:30"]


def test_the_newest_of_what_was_missed_counts() -> None:
    made = timetable("daily 09:00", "UTC", 0.0)
    since, now = at("2026-11-20T10:00", "UTC"), at("2026-11-25T12:00", "UTC")
    assert shown(made.latest(since, now), "UTC") == "2026-11-25T09:00+00:00"
    assert made.latest(at("2026-11-25T09:00", "UTC"), now) is None, "a moment that was told is not due again"
    assert made.latest(at("2026-11-25T08:59", "UTC"), at("2026-11-25T09:00", "UTC")) == at("2026-11-25T09:00", "UTC")


@pytest.mark.long
@given(
    st.sampled_from(["daily 02:30", "hourly", "weekdays 09:00", "sun 01:30,02:30", "0 0 * * *"]),
    st.sampled_from([BERLIN, "UTC", "America/New_York", "Australia/Lord_Howe", "America/St_Johns"]),
    st.integers(min_value=1_790_000_000, max_value=1_830_000_000),
)
def test_next_and_latest_agree_and_go_forward(words: str, zone: str, start: int) -> None:
    if "," in words:
        words = "sun 01:30"
    made, moment = timetable(words, zone, 0.0), float(start)
    for _ in range(4):
        following_ = made.next(moment)
        assert following_ is not None
        assert following_ - moment > 0
        assert made.latest(moment, following_) == following_
        assert made.latest(moment, following_ - 1) is None
        moment = following_


def test_a_leap_day_is_found_years_ahead() -> None:
    made = Timetable("0 0 29 2 *", "UTC")
    assert made.next(datetime(2096, 3, 1, tzinfo=UTC).timestamp()) == datetime(2104, 2, 29, tzinfo=UTC).timestamp()
    assert SHORTEST == 900
