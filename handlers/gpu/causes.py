"""What logs of drivers and of the CUDA test say, in plain words, and what to do about it.

Log lines as they were met in NVIDIA/gpu-operator issues 85, 134, 155, 251, 252, 751 and in CUDA's own messages.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

LINES, WIDTH = 40, 1000
"""Lines from the end of a log in which a cause is looked for, and how much of each: a log comes from outside, and one
line may be a megabyte."""


@dataclass(frozen=True)
class LogCause:
    """One known line: what it means, and what to do."""

    pattern: re.Pattern[str]
    means: str
    fix: str


DRIVER_CAUSES = tuple(
    LogCause(re.compile(pattern, re.IGNORECASE), means, fix)
    for pattern, means, fix in (
        (
            r"could not resolve linux kernel version|unable to (?:find|locate).*linux-headers|"
            r"linux-headers-\S+ .*not found",
            "the headers of the node's kernel are not in the package repositories",
            "Use a newer machine image, a precompiled driver, or an image that has the driver (--driver-version "
            "preinstalled).",
        ),
        (
            r"gpl-incompatible module|gpl-only symbol|error: .*implicit declaration|make\[\d+\]: \*\*\* .*error \d",
            "the driver does not compile for this kernel",
            "Name a newer driver: `/tkg gpu install … --driver-version …`.",
        ),
        (
            r"nouveau|module nvidia is in use|already loaded|driver is already (?:running|loaded)",
            "another driver is loaded on the node already",
            "Blacklist nouveau in the machine image, or say that the driver is there: --driver-version preinstalled.",
        ),
        (
            r"secure ?boot|key was rejected by service|required key not available",
            "Secure Boot refuses the unsigned kernel module",
            "Switch Secure Boot off in the machine image, or sign the module.",
        ),
        (
            r"no space left on device",
            "the node's disk is full",
            "Give the pool's machines a larger root volume (100 GiB and more).",
        ),
        (
            r"(?:temporary failure|could not|cannot|failed to) (?:in name resolution|resolve|fetch|connect)|"
            r"connection timed out|network is unreachable",
            "the node cannot reach the package repositories or registries",
            "Check the way out of the subnet, or use mirrors (`operations.gpu`).",
        ),
        (
            r"no devices were found|no nvidia gpu|unable to determine the device handle|\bxid\b",
            "the driver finds no working GPU",
            "Replace the machine: delete its Machine object, and the pool makes another.",
        ),
    )
)
TEST_CAUSES = tuple(
    LogCause(re.compile(pattern, re.IGNORECASE), means, fix)
    for pattern, means, fix in (
        (
            r"driver version is insufficient",
            "the CUDA of the test image is newer than the driver can run",
            "Name a newer driver (`/tkg gpu install … --driver-version …`), or an older `operations.gpu.test_image`.",
        ),
        (
            r"exec format error",
            "the test image is for another processor architecture than the node",
            "Set `operations.gpu.test_image` to an image for the node's architecture.",
        ),
        (
            r"no cuda-capable device|cuda_error_no_device|no devices were found",
            "CUDA finds no GPU inside the container",
            "The container toolkit is not in effect on that node: `/tkg gpu status` shows where the chain breaks.",
        ),
        (
            r"out of memory",
            "the GPU's memory is in use",
            "Something beside Kubernetes uses the GPU: look at it with nvidia-smi on the node.",
        ),
        (
            r"uncorrectable ecc|\bxid\b|unspecified launch failure|illegal memory access",
            "the GPU itself reports an error",
            "Replace the machine: delete its Machine object, and the pool makes another.",
        ),
    )
)


def cause_of(log: str, known: tuple[LogCause, ...]) -> tuple[LogCause, str] | None:
    """The last known cause in the end of a log, with its line."""
    for whole in reversed(log.splitlines()[-LINES:]):
        line = whole[:WIDTH]
        for cause in known:
            if cause.pattern.search(line):
                return cause, line.strip()
    return None
