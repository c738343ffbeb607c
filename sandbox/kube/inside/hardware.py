"""What a node's machine has, by its EC2 instance type: processors, memory, GPUs. The kubelet knows, without asking AWS.

Sources: EC2's DescribeInstanceTypes as moto has it; product names and families as GPU feature discovery writes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

SMALLEST_ROOT = 8
"""GiB of a root volume that nobody asked for: the image's own."""
PRODUCTS = {  # EC2's name of a GPU: the product label, the family, whether it can be partitioned (MIG)
    "V100": ("Tesla-V100-SXM2-16GB", "volta", False),
    "T4": ("Tesla-T4", "turing", False),
    "T4g": ("NVIDIA-T4G", "turing", False),
    "A10G": ("NVIDIA-A10G", "ampere", False),
    "A100": ("NVIDIA-A100-SXM4-40GB", "ampere", True),
    "L4": ("NVIDIA-L4", "ada-lovelace", False),
    "L40S": ("NVIDIA-L40S", "ada-lovelace", False),
    "H100": ("NVIDIA-H100-80GB-HBM3", "hopper", True),
    "H200": ("NVIDIA-H200", "hopper", True),
    "B200": ("NVIDIA-B200", "blackwell", True),
    "B300": ("NVIDIA-B300-SXM6-AC", "blackwell", True),
}


@dataclass(frozen=True)
class Hardware:
    """One machine. `gpu` is EC2's name, empty without one of NVIDIA; `root` is the root volume's size in GiB."""

    cpus: int = 2
    memory: int = 8192
    arch: str = "amd64"
    gpu: str = ""
    gpus: int = 0
    gpu_memory: int = 0
    root: int = 80

    @property
    def nvidia(self) -> bool:
        """It has a PCI device of NVIDIA, whole or a share of one."""
        return bool(self.gpu)

    @property
    def product(self) -> str:
        """As the label says it."""
        return PRODUCTS.get(self.gpu, (f"NVIDIA-{self.gpu.replace(' ', '-')}", "", False))[0]

    @property
    def family(self) -> str:
        return PRODUCTS.get(self.gpu, ("", "blackwell", False))[1]

    @property
    def partitions(self) -> bool:
        """Can it be cut into instances (MIG)?"""
        return PRODUCTS.get(self.gpu, ("", "", False))[2]


def hardware(instance_type: str, root: int | None) -> Hardware:
    """A type that nobody knows is a small machine without a GPU."""
    from moto.ec2.models.instance_types import INSTANCE_TYPES  # it takes a second to read, so only when a node joins

    known: dict[str, Any] = INSTANCE_TYPES.get(instance_type, {})
    arches = known.get("ProcessorInfo", {}).get("SupportedArchitectures", ["x86_64"])
    gpus = [one for one in known.get("GpuInfo", {}).get("Gpus", []) if one.get("Manufacturer") == "NVIDIA"]
    first: dict[str, Any] = gpus[0] if gpus else {}
    return Hardware(
        cpus=known.get("VCpuInfo", {}).get("DefaultVCpus", 2),
        memory=known.get("MemoryInfo", {}).get("SizeInMiB", 8192),
        arch="arm64" if arches == ["arm64"] else "amd64",
        gpu=first.get("Name", ""),
        gpus=sum(one.get("Count", 0) for one in gpus),
        gpu_memory=first.get("MemoryInfo", {}).get("SizeInMiB", 0),
        root=root or SMALLEST_ROOT,
    )
