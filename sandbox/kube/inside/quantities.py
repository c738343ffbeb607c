"""Amounts of resources as Kubernetes writes them. Source: apimachinery's resource.Quantity."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from sandbox.kube.actors.objects import at
from sandbox.kube.errors import Obj

_UNITS = {"": 1.0, "m": 0.001, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_UNITS |= {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40}


def amount(text: Any) -> float:
    """0 for what cannot be read."""
    found = re.fullmatch(r"([0-9.]+)([a-zA-Z]*)", str(text))
    return float(found[1]) * _UNITS.get(found[2], 0.0) if found else 0.0


def asked(spec: Obj) -> dict[str, float]:
    """What a pod's containers request together; a limit without a request is one."""
    total: dict[str, float] = {}
    for container in spec.get("containers") or ():
        limits = at(container, "resources", "limits", default={})
        for name, value in {**limits, **at(container, "resources", "requests", default={})}.items():
            total[name] = total.get(name, 0.0) + amount(value)
    return total


def summed(parts: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """All together, by resource."""
    total: dict[str, float] = {}
    for part in parts:
        for name, value in part.items():
            total[name] = total.get(name, 0.0) + value
    return total
