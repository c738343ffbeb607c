"""GPUs: which types have NVIDIA's, how many, and what a driver for them has to be.

EC2 is asked first (DescribeInstanceTypes, GpuInfo); where it does not answer, a table with a date is said to be one.
Slices of a GPU (g6f, gr6f) need vGPU drivers, which the GPU operator does not install by itself; AMD's and Neuron's
devices never become `nvidia.com/gpu`. (AWS: "Accelerated computing instances"; NVIDIA GPU operator, platform support.)
"""

from __future__ import annotations

from collections.abc import Sequence

from handlers.clients.aws_errors import Denied
from handlers.contract import AwsRead, AwsRefused, Check
from handlers.preflight.gpu_table import (
    OPEN_MODULE_ONLY,
    TABLE_AS_OF,
    VOLTA,
    GpuType,
    from_table,
    is_gpu_family,
    other_accelerator,
)
from handlers.preflight.layout import Layout
from handlers.preflight.look import Look
from handlers.preflight.types import Machine, described
from handlers.subnet_checks import blocks, passes, warns

GPUS = "NVIDIA GPUs"
DRIVER = "A driver for these GPUs"
DISK = "Disk for drivers and images"
SMALLEST_DISK = 50
"""GiB below which driver and CUDA images fill a node's disk."""
TRY = "Use a type such as g4dn.xlarge, g5.xlarge or g6.xlarge."


def looks(layout: Layout) -> list[Look]:
    """The looks for pools that are there for their GPUs; none where no pool is."""
    if not gpu_types(layout):
        return []
    return [Look("gpu", GPUS, real), Look("gpu-driver", DRIVER, driver), Look("gpu-disk", DISK, disk)]


def gpu_types(layout: Layout) -> tuple[str, ...]:
    """The instance types that are wanted for their GPUs, and those of other pools that have them by their name."""
    wanted = [pool.type for pool in layout.manned if pool.gpu or is_gpu_family(pool.type)]
    return tuple(dict.fromkeys(wanted))


def real(layout: Layout, aws: AwsRead) -> list[Check]:
    """Has each type whole NVIDIA GPUs, and a CPU that driver and test images are built for?"""
    names = gpu_types(layout)
    known, dated = seen(aws, names)
    wrong = [why for name, found in known.items() for why in [_wrong(name, found, dated=dated)] if why]
    if not known:
        return []  # no such type is there, which its own check says
    if wrong:
        return [blocks("gpu", GPUS, " ".join(wrong), TRY)]
    told = "; ".join(f"{name}: {counted(found)}" for name, found in known.items() if found)
    if dated:
        evidence = f"{told}. EC2 could not be asked; this is from a table of {TABLE_AS_OF}."
        return [warns("gpu", GPUS, evidence, "Let the bot's role call ec2:DescribeInstanceTypes to be sure.")]
    return [passes("gpu", GPUS, f"{told}.")]


def driver(layout: Layout, aws: AwsRead) -> list[Check]:
    """What has the GPU operator to install here?"""
    known, _ = seen(aws, gpu_types(layout))
    models = sorted({found.model for found in known.values() if found})
    volta = [model for model in models if model in VOLTA]
    if volta:
        evidence = f"{', '.join(volta)} is of the Volta generation, which drivers after the branch 580 do not know."
        return [warns("gpu-driver", DRIVER, evidence, "Name one: `/tkg gpu install … --driver-version 580.…`.")]
    newest = [model for model in models if model in OPEN_MODULE_ONLY]
    if newest:
        evidence = f"{', '.join(newest)} needs the open kernel module, which the operator chooses by itself."
        return [passes("gpu-driver", DRIVER, evidence)]
    return [passes("gpu-driver", DRIVER, f"{', '.join(models)}: any current driver.")] if models else []


def disk(layout: Layout, _aws: AwsRead) -> list[Check]:
    """Is the root volume large enough? Driver and CUDA images take ten GB and more."""
    pools = [pool for pool in layout.manned if pool.type in gpu_types(layout)]
    small = [pool for pool in pools if pool.disk < SMALLEST_DISK]
    if small:
        evidence = "; ".join(f"{pool.name} has {pool.disk} GiB" for pool in small) + ": images would fill it."
        return [blocks("gpu-disk", DISK, evidence, f"Set `operations.gpu.disk` to {SMALLEST_DISK} or more.")]
    return [passes("gpu-disk", DISK, "; ".join(f"{pool.name}: {pool.disk} GiB" for pool in pools) + ".")]


def seen(aws: AwsRead, names: Sequence[str]) -> tuple[dict[str, GpuType | None], bool]:
    """What each type has that is there, by its name; and whether that is from the table: EC2 did not let itself be
    asked."""
    try:
        asked = described(aws, names)
    except (Denied, AwsRefused):
        return {name: from_table(name) for name in names}, True
    return {name: _live(name, asked[name]) for name in names if name in asked}, False


def counted(found: GpuType) -> str:
    """`1 × T4, 16 GiB`."""
    return f"{found.gpus} × {found.model}, {found.mib / 1024:.0f} GiB"


def _live(name: str, machine: Machine) -> GpuType | None:
    if machine.gpu_maker.upper() != "NVIDIA" or not machine.gpus:
        return None
    table = from_table(name)
    model = table.model if table else machine.gpu_model
    return GpuType(machine.gpus, model, machine.gpu_mib, arm=machine.architecture == "arm64")


def _wrong(name: str, found: GpuType | None, *, dated: bool) -> str:
    """Why a type is of no use for GPU work, in a sentence; nothing where it is."""
    if found is None:
        other = other_accelerator(name)
        if other:
            return f"{name} has {other}: not NVIDIA's, so no `nvidia.com/gpu` would ever appear."
        if is_gpu_family(name):
            return f"{name} has slices of a GPU, which need NVIDIA's vGPU drivers, or it is no size of its family."
        if dated:  # it may be newer than the table
            return f"{name} is not in the table of {TABLE_AS_OF}, and EC2 could not be asked."
        return f"{name} has no GPU."
    if found.arm:
        return f"{name} has an Arm CPU (arm64): the images of driver and test are for x86-64."
    return ""
