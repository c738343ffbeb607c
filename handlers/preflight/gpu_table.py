"""NVIDIA GPUs of EC2 instance types, from a table with a date: what is said when EC2 cannot be asked.

From AWS's lists of accelerated instances as of TABLE_AS_OF. EC2 itself (DescribeInstanceTypes, GpuInfo) is asked first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

TABLE_AS_OF = "2026-06-01"
FAMILY = re.compile(r"([a-z]+[0-9]+[a-z0-9-]*)\.(\S+)")


@dataclass(frozen=True)
class GpuType:
    """What an instance type has: `gpus` of `model`, each with `mib` of memory; `arm` where its CPU is no x86-64."""

    gpus: int
    model: str
    mib: int
    arm: bool = False


_ONE_EACH = ("xlarge", "2xlarge", "4xlarge", "8xlarge")
_GRID = {**dict.fromkeys(_ONE_EACH, 1), "12xlarge": 4, "16xlarge": 1, "24xlarge": 4, "48xlarge": 8}
_COUNTS: Mapping[str, tuple[str, int, Mapping[str, int]]] = {
    "p3": ("V100", 16384, {"2xlarge": 1, "8xlarge": 4, "16xlarge": 8}),
    "p3dn": ("V100", 32768, {"24xlarge": 8}),
    "p4d": ("A100", 40960, {"24xlarge": 8}),
    "p4de": ("A100", 81920, {"24xlarge": 8}),
    "p5": ("H100", 81920, {"4xlarge": 1, "48xlarge": 8}),
    "p5e": ("H200", 144384, {"48xlarge": 8}),
    "p5en": ("H200", 144384, {"48xlarge": 8}),
    "p6-b200": ("B200", 183359, {"48xlarge": 8}),
    "p6-b300": ("B300", 275040, {"48xlarge": 8}),
    "g4dn": ("T4", 16384, {**dict.fromkeys(_ONE_EACH, 1), "12xlarge": 4, "16xlarge": 1, "metal": 8}),
    "g5": ("A10G", 22888, _GRID),
    "g5g": ("T4G", 16384, {**dict.fromkeys(_ONE_EACH, 1), "16xlarge": 2, "metal": 2}),
    "g6": ("L4", 22888, _GRID),
    "gr6": ("L4", 22888, {"4xlarge": 1, "8xlarge": 1}),
    "g6e": ("L40S", 45776, _GRID),
    "g7": ("RTX PRO 4500", 32768, {**dict.fromkeys(_ONE_EACH[1:], 1), "12xlarge": 2, "24xlarge": 4, "48xlarge": 8}),
    "g7e": ("RTX PRO 6000", 98304, {**dict.fromkeys(_ONE_EACH[1:], 1), "12xlarge": 2, "24xlarge": 4, "48xlarge": 8}),
}
"""By family: the model, the memory of one GPU in MiB, and how many there are by size. A 16xlarge of g4dn, g5, g6 and
g6e has one GPU, a 12xlarge four."""
ARM = ("g5g",)
VOLTA = ("V100",)
"""Models whose last driver branch is 580."""
OPEN_MODULE_ONLY = ("H200", "B200", "B300", "RTX PRO 4500", "RTX PRO 6000")
"""Models that only the open kernel module drives."""
OTHERS = {
    "g4ad": "AMD Radeon GPUs",
    "inf": "AWS Inferentia (Neuron)",
    "trn": "AWS Trainium (Neuron)",
    "dl": "Gaudi or Qualcomm accelerators",
    "vt": "video transcoders",
    "f": "FPGAs",
}
"""Families, or the letters that families begin with, whose accelerators are not NVIDIA's."""
FRACTIONAL = ("g6f", "gr6f")
"""Families with slices of a GPU, which need NVIDIA's vGPU drivers."""


def from_table(type_name: str) -> GpuType | None:
    """What the table knows of a type; None for one without NVIDIA GPUs, and for one that it does not know."""
    family, size = family_of(type_name)
    found = _COUNTS.get(family)
    if found is None or size not in found[2]:
        return None
    return GpuType(gpus=found[2][size], model=found[0], mib=found[1], arm=family in ARM)


def family_of(type_name: str) -> tuple[str, str]:
    """`g4dn.xlarge` as `("g4dn", "xlarge")`; two empty words for what is no instance type."""
    match = FAMILY.fullmatch(type_name)
    return (match[1], match[2]) if match else ("", "")


def is_gpu_family(type_name: str) -> bool:
    """Does the name say that there are NVIDIA GPUs, whole or in slices?"""
    family, _ = family_of(type_name)
    return family in _COUNTS or family in FRACTIONAL


def other_accelerator(type_name: str) -> str:
    """What a type has instead of NVIDIA GPUs, in words; nothing for one that has nothing or has them."""
    family, _ = family_of(type_name)
    if family in OTHERS:
        return OTHERS[family]
    start = re.match(r"[a-z]+", family)
    letters = start.group() if start else ""
    return OTHERS.get(letters, "")
