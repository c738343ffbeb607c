"""Which versions NVIDIA releases together: the operator's, and what it puts on GPU nodes.

(NVIDIA/gpu-operator, deployments/gpu-operator/values.yaml and Chart.yaml of each tag; NVIDIA GPU Operator
documentation, "Release Notes" and "GPU Operator Component Matrix".)
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from handlers.contract import UsageError

RELEASES_AS_OF = "2026-11-01"
VOLTA_BRANCH = 580
"""The last driver branch for V100. (NVIDIA: "Data Center Driver, Release 580".)"""
VERSION = re.compile(r"v?([0-9]+)\.([0-9]+)\.([0-9]+)")


@dataclass(frozen=True)
class Release:
    """One operator version and the versions that belong to it."""

    operator: str
    driver: str
    driver_manager: str
    toolkit: str
    device_plugin: str
    dcgm_exporter: str
    mig_manager: str
    node_feature_discovery: str


RELEASES = (
    Release("v26.7.0", "595.91.07", "v0.12.0", "v1.20.0", "v0.20.0", "4.6.0-4.8.3-distroless", "v0.15.0", "v0.19.0"),
    Release("v26.3.3", "580.126.20", "v0.11.0", "v1.19.1", "v0.19.3", "4.5.3-4.8.2-distroless", "v0.14.2", "v0.19.0"),
    Release("v25.10.1", "580.105.08", "v0.9.1", "v1.18.1", "v0.18.1", "4.4.2-4.7.0-distroless", "v0.13.1", "v0.18.2"),
)
"""The newest first."""
VOLTA_DRIVER = "580.126.20"
"""The newest driver in RELEASES that knows V100."""


def release_of(operator: str) -> Release:
    """The versions that go with an operator version. A version of a known minor release gets what that release was
    tested with; UsageError for others."""
    for release in RELEASES:
        if parsed(release.operator)[:2] == parsed(operator)[:2] != ():
            return release
    known = ", ".join(".".join(release.operator.split(".")[:2]) for release in RELEASES)
    raise UsageError(
        f"This tkgbot has no objects for version {operator} of the GPU operator; it knows {known}.",
        "Take one of these, or give a chart that you rendered yourself (`operations.gpu.manifests`).",
    )


def is_tested(operator: str) -> bool:
    """Is it one of the very versions in the table?"""
    return any(release.operator == operator for release in RELEASES)


def parsed(version: str) -> tuple[int, ...]:
    """(26, 7, 0) of `v26.7.0`; empty where it is no such version."""
    found = VERSION.match(version)
    return tuple(int(part) for part in found.groups()) if found else ()


def branch(driver: str) -> int | None:
    """580 of `580.126.20`."""
    head = driver.partition(".")[0]
    return int(head) if head.isdecimal() else None
