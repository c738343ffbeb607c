"""Instance types: real, large enough, and offered where the machines will be.

kubeadm refuses a control plane below 2 CPUs or 1,700 MB (kubernetes/kubernetes, cmd/kubeadm, preflight checks). TKG
offers only types with 2 vCPUs and 8 GiB (tanzu-framework, tkg/aws, meetsNodeMinimumRequirements).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from handlers.contract import AwsRead, Check, unique
from handlers.network import filled
from handlers.preflight.layout import Layout, Pool
from handlers.preflight.look import Look, some
from handlers.preflight.types import Machine, described
from handlers.subnet_checks import blocks, passes, warns

REAL = "Instance types exist"
SIZE = "Machines are large enough"
OFFERED = "Instance types are offered in the zones"
KUBEADM_VCPUS, KUBEADM_MIB = 2, 1700
TKG_VCPUS, TKG_MIB = 2, 8192


def real(layout: Layout, aws: AwsRead) -> list[Check]:
    """Does each type exist here, with an architecture that there are images for?"""
    known = described(aws, layout.types)
    wrong = [name for name in layout.types if name not in known]
    if wrong:
        evidence = f"{', '.join(wrong)} {'is' if len(wrong) == 1 else 'are'} not in {layout.where.region}."
        fix = f"Check the spelling; `aws ec2 describe-instance-types --region {layout.where.region}` lists what is."
        return [blocks("instance-type", REAL, evidence, fix)]
    odd = [name for name in layout.types if known[name].architecture is None]
    if odd:
        evidence = f"{', '.join(odd)}: neither x86_64 nor arm64."
        return [blocks("instance-type", REAL, evidence, "The provider has no image for it: use another type.")]
    evidence = "; ".join(f"{name}: {_words(known[name])}, {known[name].architecture}" for name in layout.types)
    return [passes("instance-type", REAL, f"{evidence or 'No machines'}.")]


def size(layout: Layout, aws: AwsRead) -> list[Check]:
    """Is each machine large enough for Kubernetes? Of a type that does not exist nothing is said here."""
    known = described(aws, layout.types)
    pools = [(pool, known[pool.type]) for pool in layout.manned if pool.type in known]
    refused = [(p, m) for p, m in pools if p.is_control_plane and _below(m, KUBEADM_VCPUS, KUBEADM_MIB)]
    if refused:
        evidence = f"{_sizes(refused)} kubeadm refuses a control plane below 2 vCPUs and 1,700 MB."
        return [blocks("instance-size", SIZE, evidence, "Use a larger type with --control-plane-type, e.g. t3.large.")]
    small = [(p, m) for p, m in pools if _below(m, TKG_VCPUS, TKG_MIB)]
    if small:
        fix = "TKG asks for 2 vCPUs and 8 GiB: enough for a try, too small for real work."
        return [warns("instance-size", SIZE, _sizes(small), fix)]
    return [passes("instance-size", SIZE, _sizes(pools))] if pools else []


def offered(layout: Layout, aws: AwsRead) -> list[Check]:
    """Is each type offered in every zone where machines of it will be?"""
    offers = zones_of(layout.types, aws)
    gaps = [
        f"{name} is not offered in {zone}"
        for name in layout.types
        for zone in _zones(layout, name)
        if offers.get(name) and zone not in offers[name]
    ] + [f"{name} is offered in no zone of {layout.where.region}" for name in layout.types if not offers.get(name)]
    if not gaps:
        evidence = "; ".join(f"{name} in {', '.join(_zones(layout, name))}" for name in layout.types)
        return [passes("offered", OFFERED, f"{evidence or 'No machines'}.")]
    where = "; ".join(f"{name} is in {', '.join(sorted(offers[name]))}" for name in layout.types if offers.get(name))
    fix = f"Use another type, or subnets in zones that have it{f' ({where})' if where else ''}."
    return [blocks("offered", OFFERED, some(gaps) + ".", fix)]


def zones_of(types: Iterable[str], aws: AwsRead) -> dict[str, set[str]]:
    """The zones in which each type is offered to this account."""
    found: dict[str, set[str]] = {}
    for part in filled(sorted(set(types))):
        more: dict[str, Any] = {"Filters": [{"Name": "instance-type", "Values": part}]}
        for raw in aws.pages(
            "ec2",
            "describe_instance_type_offerings",
            "InstanceTypeOfferings",
            LocationType="availability-zone",
            **more,
        ):
            found.setdefault(str(raw["InstanceType"]), set()).add(str(raw["Location"]))
    return found


def _zones(layout: Layout, name: str) -> list[str]:
    pools = [pool for pool in layout.manned if pool.type == name]
    return sorted(unique([zone for pool in pools for zone in layout.zones(pool)]))


def _below(machine: Machine, vcpus: int, mib: int) -> bool:
    return machine.vcpus < vcpus or machine.memory_mib < mib


def _sizes(pools: list[tuple[Pool, Machine]]) -> str:
    by_type = {pool.type: machine for pool, machine in pools}
    names = {kind: ", ".join(pool.name for pool, _ in pools if pool.type == kind) for kind in by_type}
    return "; ".join(f"{names[kind]}: {kind} has {_words(machine)}" for kind, machine in by_type.items()) + "."


def _words(machine: Machine) -> str:
    return f"{machine.vcpus} vCPU{'s' * (machine.vcpus != 1)}, {machine.memory_mib / 1024:g} GiB"


LOOKS = (
    Look("instance-type", REAL, real),
    Look("instance-size", SIZE, size),
    Look("offered", OFFERED, offered),
)
