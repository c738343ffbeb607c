"""Time boxes: the limited life of a cluster, written on its Cluster object.

Two annotations of the bot's own: when its time is over, and the request that said so. Nobody else writes them, and what
cannot be read is no end: then nobody is warned, and nothing is deleted. (RFC 3339.)
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated

from handlers.conditions import Object, is_deleted, mapping_at, text
from handlers.contract import Check, ClusterDefaults, KubeRead, ReadWorld, TimeBox, word
from handlers.kinds import CLUSTER
from handlers.subnet_checks import blocks, passes

ENDS_AT = "tkgbot/ends-at"
"""When the cluster's time is over: RFC 3339 in UTC, whole seconds."""
SET_BY = "tkgbot/time-box"
"""The id of the request that said so."""
NEVER = "never"
UNITS = {"m": ("minute", 60), "h": ("hour", 3_600), "d": ("day", 86_400)}
MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})")
SPOKEN = re.compile(r"([0-9]+)(minutes?|mins?|m|hours?|hrs?|h|days?|d|weeks?|w)")
DAYS_A_WEEK = 7
TOO_FAR = datetime(9999, 1, 1, tzinfo=UTC).timestamp()
"""What lies after it cannot be written in every time zone."""
_TTL = r"[1-9][0-9]{0,5}[mhd]"


def mended(wrong: str) -> str:
    """`8 hours`, `8hrs`, `1w`, as they are typed here: `8h`, `8h`, `7d`."""
    plain = re.sub(r"[\s_-]+", "", wrong.lower())
    found = SPOKEN.fullmatch(plain)
    if found is None:
        return plain
    count, unit = int(found[1]), found[2][0]
    return f"{count * DAYS_A_WEEK}d" if unit == "w" else f"{count}{unit}"


Ttl = Annotated[str, *word(_TTL, "how long (minutes, hours or days: 30m, 8h, 2d)", "8h", mended)]
"""A duration. Its limits are in the settings, so that a plan says them."""
TtlOrNever = Annotated[str, *word(rf"{_TTL}|{NEVER}", f"how long (30m, 8h, 2d), or `{NEVER}`", "8h", mended)]


def lasting(ttl: str) -> float:
    """The seconds of a word such as `8h`."""
    return float(int(ttl[:-1]) * UNITS[ttl[-1]][1])


def in_words(ttl: str) -> str:
    """`8h` for people: `8 hours`."""
    count, (unit, _) = int(ttl[:-1]), UNITS[ttl[-1]]
    return f"{count} {unit}{'s' * (count != 1)}"


def as_ttl(seconds: float) -> str:
    """The shortest word for so many seconds, in whole minutes: `8h`, `90m`."""
    minutes = max(1, round(seconds / 60))
    for letter, (_, length) in sorted(UNITS.items(), key=lambda unit: -unit[1][1]):
        if minutes * 60 % length == 0:
            return f"{minutes * 60 // length}{letter}"
    return f"{minutes}m"


def stamp(at: float) -> str:
    """Epoch seconds as the annotation says them: `2026-03-01T17:00:00Z`."""
    return datetime.fromtimestamp(int(at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment(at: float, now: float) -> str:
    """A moment for people, with how far off it is: `2026-03-01 17:00 UTC (in 7 h 59 min)`."""
    return f"{datetime.fromtimestamp(int(at), UTC):%Y-%m-%d %H:%M} UTC ({_off(at - now)})"


def ends_at(cluster: Object) -> float | None:
    """When a Cluster object's time is over (epoch seconds); None where nothing readable says so."""
    written = mapping_at(cluster, "metadata", "annotations").get(ENDS_AT, "")
    if MOMENT.fullmatch(written) is None:
        return None
    try:
        at = datetime.fromisoformat(written.upper()).timestamp()
    except (ValueError, OverflowError):
        return None
    return at if 0 < at < TOO_FAR else None


def set_by(cluster: Object) -> str:
    """The request that said so; empty where nothing does."""
    return mapping_at(cluster, "metadata", "annotations").get(SET_BY, "")


def end_of(cluster: Object, now: float) -> str:
    """The end in words, for a line about the cluster; empty where it has none."""
    end = ends_at(cluster)
    if end is None or is_deleted(cluster):
        return ""
    return f"its time {'ends' if end > now else 'was over'} {moment(end, now)}"


def time_boxes(kube: KubeRead) -> list[TimeBox]:
    """Every cluster whose time is limited, and that nobody has deleted yet, in one list."""
    found: list[TimeBox] = []
    for cluster in kube.pages(CLUSTER):
        end = ends_at(cluster)
        if end is not None and not is_deleted(cluster):
            found.append(
                TimeBox(
                    cluster=text(cluster, "metadata", "name"), namespace=text(cluster, "metadata", "namespace"),
                    uid=text(cluster, "metadata", "uid"), ends_at=end, request=set_by(cluster),
                )
            )  # fmt: skip
    return found


def within_limits(ttl: str, defaults: ClusterDefaults) -> Check:
    """Is it neither too short to be warned of, nor so long that it is no limit?"""
    title, length = "How long it may live", lasting(ttl)
    least, most = as_ttl(defaults.shortest_life), as_ttl(defaults.longest_life)
    if defaults.shortest_life <= length <= defaults.longest_life:
        return passes("time-box", title, f"{in_words(ttl)}; the settings allow {in_words(least)} to {in_words(most)}.")
    bound = least if length < defaults.shortest_life else most
    wrong = "shorter than" if bound == least else "longer than"
    return blocks("time-box", title, f"{in_words(ttl)} is {wrong} {in_words(bound)}.", f"Ask for {bound}.")


def end_check(name: str, cluster: Object | None, ttl: str, world: ReadWorld) -> Check:
    """After a run: is the end as this request said? The run itself may have been hours ago, so the moment is not
    counted again; that this request has set it, the object says."""
    title, check = "Its end is as planned", "verify end"
    if cluster is None:
        return blocks(check, title, f"{name} is not there any more.", "Somebody deleted it.")
    end, by = ends_at(cluster), set_by(cluster)
    evidence = f"{name} ends {moment(end, world.now())}." if end is not None else f"{name} has no end."
    if end is None if ttl == NEVER else end is not None and by == world.request():
        return passes(check, title, evidence)
    return blocks(check, title, f"{evidence}{f' {by} said so.' if by else ''}", "Somebody changed it: ask again.")


def _off(seconds: float) -> str:
    """`in 2 d 3 h`, `5 min ago`."""
    minutes = int(abs(seconds) // 60)
    days, hours = minutes // 1_440, minutes % 1_440 // 60
    parts = [(days, "d"), (hours, "h"), (minutes % 60, "min")]
    shown = [f"{count} {unit}" for count, unit in parts[1 if not days else 0 : 3 if not days else 2] if count]
    words = " ".join(shown) or "less than a minute"
    return f"in {words}" if seconds >= 0 else f"{words} ago"
