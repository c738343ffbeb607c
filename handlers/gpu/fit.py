"""Does a driver fit the GPUs and the nodes of a cluster? Looked at before anybody approves.

(NVIDIA: "Data Center Driver" release notes; NVIDIA GPU Operator documentation, "Platform Support".)
"""

from __future__ import annotations

import re
from typing import Protocol

from handlers.conditions import text
from handlers.contract import Check, GpuDefaults
from handlers.gpu.manifests import PREINSTALLED
from handlers.gpu.releases import VOLTA_BRANCH, VOLTA_DRIVER, branch, is_tested, release_of
from handlers.gpu.seen import GpuNode, Gpus
from handlers.preflight.gpu_table import OPEN_MODULE_ONLY, VOLTA, from_table
from handlers.subnet_checks import blocks, passes, warns

DRIVER = "The driver fits the GPUs"
NODES = "Nodes with GPUs"
SYSTEM = "A driver for the nodes' system"
BUILT_FOR = re.compile(r"ubuntu|red hat|rhel|rocky|sle|debian", re.IGNORECASE)
"""Systems that there are driver containers for; others need a driver in the image."""
SMALLEST_MIB = 50 * 1024


class Versions(Protocol):
    """What a command names."""

    @property
    def operator_version(self) -> str | None: ...

    @property
    def driver_version(self) -> str | None: ...


def fits(named: Versions, gpus: Gpus, settings: GpuDefaults) -> list[Check]:
    """The checks of the nodes, of their system and of the driver. With the team's own files, only of the nodes."""
    seen = [_nodes(gpus)]
    if settings.manifests:
        return seen
    operator = named.operator_version or settings.operator_version
    driver = named.driver_version or settings.driver_version or release_of(operator).driver
    models = {known.model for node in gpus.nodes for known in [from_table(node.type)] if known}
    return [*seen, *_tested(operator), _driver(driver, models, settings), *_system(driver, gpus)]


def _nodes(gpus: Gpus) -> Check:
    if not gpus.nodes:
        fix = "Make a pool of them: `/tkg cluster create … --gpu g4dn.xlarge`, or go on: they may come later."
        return warns("gpu-nodes", NODES, "There is none yet, so nothing can be proven after the installation.", fix)
    waiting = [node.name for node in gpus.nodes if not node.ready]
    told = ", ".join(f"{node.name} ({node.type or 'type not known'})" for node in gpus.nodes[:5])
    more = f" and {len(gpus.nodes) - 5} more" if len(gpus.nodes) > 5 else ""
    if waiting:
        evidence = f"Not Ready: {', '.join(waiting[:5])}."
        return warns("gpu-nodes", NODES, evidence, "The installation waits for them; `/tkg cluster get` says for what.")
    return passes("gpu-nodes", NODES, f"{told}{more}.")


def _tested(operator: str) -> list[Check]:
    if is_tested(operator):
        return []
    evidence = f"{operator} is not one of the very versions that this tkgbot's objects were made for."
    return [warns("operator", "The operator's version", evidence, "It gets what its minor release was tested with.")]


def _driver(driver: str, models: set[str], settings: GpuDefaults) -> Check:
    if driver == PREINSTALLED:
        return passes("driver", DRIVER, "The machine image has one; the operator installs none.")
    old = sorted(models & set(VOLTA))
    number = branch(driver)
    if old and number is not None and number > VOLTA_BRANCH:
        fix = f"Add `--driver-version {VOLTA_DRIVER}`: {VOLTA_BRANCH} is the last branch that knows it."
        return blocks("driver", DRIVER, f"Driver {driver} does not know {', '.join(old)} any more.", fix)
    new = sorted(models & set(OPEN_MODULE_ONLY))
    if new and settings.kernel_module == "proprietary":
        fix = "Set `operations.gpu.kernel_module` to auto or open."
        return blocks("driver", DRIVER, f"{', '.join(new)} needs the open kernel module.", fix)
    return passes("driver", DRIVER, f"Driver {driver} for {', '.join(sorted(models)) or 'whatever comes'}.")


def _system(driver: str, gpus: Gpus) -> list[Check]:
    if driver == PREINSTALLED:
        return []
    odd = [node for node in gpus.nodes if (image := system_of(node)) and not BUILT_FOR.search(image)]
    if not odd:
        return []
    evidence = "; ".join(f"{node.name} runs {system_of(node)}" for node in odd[:3])
    fix = "No driver container is for it: use an Ubuntu image, or one with a driver (--driver-version preinstalled)."
    return [blocks("system", SYSTEM, f"{evidence}.", fix)]


def system_of(node: GpuNode) -> str:
    """The node's operating system, as its kubelet says it."""
    return text(node.item, "status", "nodeInfo", "osImage")
