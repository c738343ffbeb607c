"""What AWS says of instance types: for the checks of machines, of images and of quotas."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from handlers.contract import AwsRead
from handlers.network import filled

ARCHITECTURES = ("x86_64", "arm64")
"""What the Cluster API's AWS provider looks for an image of."""


@dataclass(frozen=True)
class Machine:
    """One instance type. `architecture` is that of its image, None when the provider knows none for it; `gpus` counts
    whole GPUs of `gpu_maker` and `gpu_model`, and `slices` tells a type that has only parts of one."""

    vcpus: int
    memory_mib: int
    architecture: str | None
    gpus: int = 0
    gpu_maker: str = ""
    gpu_model: str = ""
    gpu_mib: int = 0
    slices: bool = False


def described(aws: AwsRead, types: Iterable[str]) -> dict[str, Machine]:
    """Those of the types that exist in this region. By filter, because asked by name one wrong word refuses all."""
    return {
        str(raw["InstanceType"]): _machine(raw)
        for part in filled(sorted(set(types)))
        for raw in aws.pages(
            "ec2", "describe_instance_types", "InstanceTypes", Filters=[{"Name": "instance-type", "Values": part}]
        )
    }


def _machine(raw: Any) -> Machine:
    supported = raw["ProcessorInfo"]["SupportedArchitectures"]
    cards: list[Any] = (raw.get("GpuInfo") or {}).get("Gpus") or []
    first: Any = cards[0] if cards else {}
    gpus = sum(int(card.get("Count") or 0) for card in cards)
    return Machine(
        vcpus=int(raw["VCpuInfo"]["DefaultVCpus"]),
        memory_mib=int(raw["MemoryInfo"]["SizeInMiB"]),
        architecture=next((name for name in ARCHITECTURES if name in supported), None),
        gpus=gpus,
        gpu_maker=str(first.get("Manufacturer", "")),
        gpu_model=str(first.get("Name", "")),
        gpu_mib=int((first.get("MemoryInfo") or {}).get("SizeInMiB") or 0),
        slices=bool(cards) and gpus == 0,
    )
