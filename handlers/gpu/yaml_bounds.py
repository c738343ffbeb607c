"""Bounds for YAML from elsewhere, before anything is built from it: depth, and how much it becomes when every alias is
written out. (YAML 1.2: "Anchors and Aliases".)"""

from __future__ import annotations

from typing import Any

import yaml

from handlers.contract import Fatal

DEEPEST = 100
MOST_VALUES = 500_000
"""Values in all documents together, each alias counted as what it stands for; a long text counts as several."""
LONG = 100
MEND = "The platform team has to mend what `operations.gpu.manifests` names."
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def check_bounds(text: str) -> None:
    """Fatal where a text goes too deep, becomes too much or stands within itself; YAMLError where it is no YAML."""
    counted: dict[str, int] = {}
    depth = total = 0
    open_nodes: list[tuple[str | None, int]] = []
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.DocumentStartEvent):
            counted.clear()
        elif isinstance(event, yaml.AliasEvent):
            total += _stands_for(str(event.anchor), counted, open_nodes)
        elif isinstance(event, yaml.ScalarEvent):
            size = 1 + len(event.value) // LONG
            total += size
            if event.anchor is not None:
                counted[event.anchor] = size
        elif isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((event.anchor, total))
            total, depth = total + 1, depth + 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_nodes.pop()
            depth -= 1
            if anchor is not None:
                counted[anchor] = total - before
        if depth > DEEPEST:
            raise Fatal(f"The team's manifests are nested more than {DEEPEST} levels deep.", MEND)
        if total > MOST_VALUES:
            raise Fatal(f"The team's manifests hold more than {MOST_VALUES:,} values, aliases written out.", MEND)


def _stands_for(anchor: str, counted: dict[str, int], open_nodes: list[tuple[str | None, int]]) -> int:
    if any(name == anchor for name, _ in open_nodes):
        raise Fatal("The team's manifests hold an alias that stands within what it stands for.", MEND)
    return counted.get(anchor, 1)
