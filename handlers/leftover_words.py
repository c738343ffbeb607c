"""What is said of leftovers: counts, costs, the table of a cleanup, and the offer of one. Looks at nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from handlers.contract import Json, Offer, Table
from handlers.leftover_costs import AS_OF
from handlers.leftovers import WORDS, Leftover, Leftovers
from handlers.subnet_checks import counted

SHOWN = 5
UNSEEN = {"subnet": "tagged subnet", "other": "other thing"}
"""What is looked for beside the kinds that the bot deletes."""


def some(lines: Sequence[str]) -> str:
    """The first few, and how many more."""
    more = f" and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
    return ", ".join(lines[:SHOWN]) + more


def counts(items: Sequence[Leftover], subnets: int = 0) -> str:
    """`2 load balancers, 1 volume (100 GiB) and a tag on 3 subnets`."""
    numbers = Counter(WORDS[item.kind] for item in items)
    parts = [f"{count} {plural(word, count)}{_sizes(items, word)}" for word, count in numbers.items()]
    if subnets:
        parts.append(f"a tag on {counted(subnets)}")
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts) or "nothing"


def plural(word: str, count: int) -> str:
    """`addresses`, `volumes`."""
    return word if count == 1 else f"{word}es" if word.endswith("s") else f"{word}s"


def _sizes(items: Sequence[Leftover], word: str) -> str:
    if word != "volume":
        return ""
    return f" ({sum(int(item.size.split()[0]) for item in items if item.kind == 'volume')} GiB)"


def cost_of(items: Sequence[Leftover]) -> float | None:
    """US dollars an hour of all of them; None where one is not known."""
    costs = [item.cost for item in items]
    return None if None in costs else round(sum(cost or 0.0 for cost in costs), 4)


def costing(items: Sequence[Leftover]) -> str:
    """`, about $36 a month`; nothing where it costs nothing or is not known."""
    cost = cost_of(items)
    return f", about ${cost * 730:,.0f} a month" if cost and cost * 730 >= 1 else ""


def offer(left: Leftovers, place: Json, deleted: frozenset[str]) -> tuple[Offer, ...]:
    """Cleaning up, as one click; nothing where nothing can be done. `deleted` are the volumes whose PersistentVolumes
    said that they go with their claims: they go too, where no other is left. One click never deletes data that somebody
    wanted to keep: for that the command has to be typed, with --volumes."""
    volumes = left.of("volume")
    with_volumes = bool(volumes) and all(item.id in deleted for item in volumes)
    going = [item for item in left.items if not item.held and (item.kind != "volume" or with_volumes)]
    kept = [item for item in volumes if not with_volumes]
    if not going and not left.stale:
        return ()
    title = f"In AWS {left.cluster} left {counts(going, len(left.stale))}{costing(going)}."
    if kept:
        title += f" Kept, until somebody asks with --volumes: {counts(kept)}{costing(kept)}."
    arguments = {**place, "volumes": with_volumes}
    return (Offer(title=title, label="Clean up", operation="cluster cleanup", arguments=arguments),)


def told(left: Leftovers, place: Json) -> str:
    """What a proof says of the look: one sentence or a few."""
    lines = []
    if left.items or left.stale:
        lines.append(f"In AWS {left.cluster} left {counts(left.items, len(left.stale))}{costing(left.items)}.")
    if left.others:
        lines.append(f"Also its own, and nothing that tkgbot deletes: {some(left.others)}.")
    if left.unseen:
        kinds = ", ".join(dict.fromkeys(plural(UNSEEN.get(kind) or WORDS[kind], 2) for kind in left.unseen))
        lines.append(f"Leftovers of these kinds were not looked for in AWS: {kinds}. {left.blind} {again(place)}")
    return " ".join(lines) or f"Nothing of {left.cluster} is left in AWS."


def again(place: Json) -> str:
    """How to have them looked for once more."""
    flags = [f"--{name} {place[name]}" for name in ("account", "region") if place.get(name)]
    return f"`{' '.join(['/tkg cluster cleanup', str(place['cluster']), *flags])}` looks again."


def table(left: Leftovers, going: frozenset[str], now: float) -> Table | None:
    """One row for each thing, what costs most first within its kind."""
    if not left.items and not left.subnets:
        return None
    rows = [
        (
            WORDS[item.kind],
            item.name or item.id,
            "deleted" if item.id in going else f"stays: {item.held or 'not asked for'}",
            _age(item.made, now),
            item.size or "–",
            f"${item.cost:.4f}/h" if item.cost else "–" if item.cost == 0 else "not known",
        )
        for item in left.items
    ]
    words = {True: "tag taken off", False: "stays: tagged as its own"}
    rows += [("subnet", subnet.name, words[subnet in left.stale], "–", "–", "–") for subnet in left.subnets]
    header = ("What", "Name", "Change", "Age", "Size", f"Cost ({AS_OF})")
    return Table(header=header, rows=tuple(rows))


def _age(made: float | None, now: float) -> str:
    if made is None:
        return "–"
    seconds = max(now - made, 0)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
