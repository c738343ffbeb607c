"""vCPU quotas: each family of instance types has a bucket of its own, counted in vCPUs over an account and region.

Codes and families: Amazon EC2 User Guide, "On-Demand Instance limits". New accounts often have 0 for G and P. A quota
that was never changed has no applied value, so its default holds (Service Quotas API: NoSuchResourceException). Later
AWS says VcpuLimitExceeded. A quota is no promise of capacity.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from handlers.contract import AwsRead, AwsRefused, Check
from handlers.preflight.layout import Layout
from handlers.preflight.look import Look
from handlers.preflight.types import described
from handlers.subnet_checks import blocks, passes, warns

FAMILY = re.compile(r"(u-|[a-z]+)")


@dataclass(frozen=True)
class Bucket:
    """One quota: the end of its check's id, its name in words, its code, and the families that count in it."""

    id: str
    name: str
    code: str
    families: tuple[str, ...]


STANDARD = Bucket("standard", "Standard", "L-1216C47A", tuple("acdhimrtz"))
BUCKETS = (
    STANDARD,
    Bucket("g-and-vt", "G and VT", "L-DB2E81BA", ("g", "gr", "vt")),
    Bucket("p", "P", "L-417A185B", ("p",)),
    Bucket("f", "F", "L-74FC7D96", ("f",)),
    Bucket("x", "X", "L-7295265B", ("x",)),
    Bucket("inf", "Inf", "L-1945791B", ("inf",)),
    Bucket("trn", "Trn", "L-2C3B7624", ("trn",)),
    Bucket("dl", "DL", "L-6E869C2A", ("dl",)),
    Bucket("hpc", "HPC", "L-F7808C92", ("hpc",)),
    Bucket("high-memory", "High Memory", "L-43DA4232", ("u-", "u")),
)
HOSTS = ("mac",)
"""Families that only run on dedicated hosts, which have quotas of their own."""


def bucket(type_name: str) -> Bucket | None:
    """The quota that an instance type counts in; None for one that runs on dedicated hosts, or is of no known family.

    Families are told by their letters before the first digit. `im` and `is` (im4gn, is4gen) are Standard.
    """
    match = FAMILY.match(type_name)
    letters = match.group() if match else ""
    if not letters or letters in HOSTS:
        return None
    exact = next((known for known in BUCKETS if letters in known.families), None)
    return exact or (STANDARD if letters in ("im", "is") else None)


def looks(layout: Layout) -> list[Look]:
    """One look for each bucket that the cluster's machines count in, and one for the types that are in none."""
    wanted = {bucket(name) for name in layout.types}
    mine = [known for known in BUCKETS if known in wanted]
    odd = [name for name in layout.types if bucket(name) is None]
    return [
        *(Look(f"quota-{known.id}", title_of(known), partial(_quota, known), own=True) for known in mine),
        *([Look("quota-other", "vCPU quota", partial(_no_bucket, odd), own=True)] if odd else []),
    ]


def title_of(known: Bucket) -> str:
    """The check's title."""
    return f"vCPU quota of {known.name} instances"


def _no_bucket(odd: list[str], _layout: Layout, _aws: AwsRead) -> list[Check]:
    evidence = f"{', '.join(odd)}: of no family whose vCPU quota is known."
    return [warns("quota-other", "vCPU quota", evidence, "Look at its quota in the Service Quotas console.")]


def _quota(known: Bucket, layout: Layout, aws: AwsRead) -> list[Check]:
    """Is there room for the machines, and for one more of each pool during a roll?"""
    pools = [pool for pool in layout.manned if bucket(pool.type) is known]
    running = _running(known, aws)
    vcpus = {name: machine.vcpus for name, machine in described(aws, [*running, *(p.type for p in pools)]).items()}
    lost = sorted({pool.type for pool in pools} - set(vcpus))
    if lost:
        return []  # such a type does not exist, which its own check says
    used = sum(vcpus.get(name, 0) * number for name, number in running.items())
    steady = sum(vcpus[pool.type] * pool.count for pool in pools)
    rolling = sum(vcpus[pool.type] * (pool.count + pool.surge) for pool in pools)
    return [_judged(known, layout, limit=_limit(known, aws), used=used, steady=steady, rolling=rolling)]


def _judged(known: Bucket, layout: Layout, *, limit: int, used: int, steady: int, rolling: int) -> Check:
    name, title, free = f"quota-{known.id}", title_of(known), limit - used
    evidence = f"Limit {limit}, used {used}, free {free}; needed {steady}, during a roll {rolling} ({known.code})."
    wanted = used + rolling
    fix = (
        f"aws service-quotas request-service-quota-increase --region {layout.where.region} --service-code ec2 "
        f"--quota-code {known.code} --desired-value {wanted}"
    )
    if free < steady:
        return blocks(name, title, evidence, f"Use fewer or smaller machines, or ask for {wanted}:\n{fix}")
    if free < rolling:
        return warns(name, title, evidence, f"The cluster fits, but upgrades will stall. Ask for {wanted}:\n{fix}")
    return passes(name, title, evidence)


def _limit(known: Bucket, aws: AwsRead) -> int:
    asked = {"ServiceCode": "ec2", "QuotaCode": known.code}
    try:
        answer: Any = aws.read("service-quotas", "get_service_quota", **asked)
    except AwsRefused as error:
        if error.code != "NoSuchResourceException":
            raise
        answer = aws.read("service-quotas", "get_aws_default_service_quota", **asked)
    return int(answer["Quota"]["Value"])


def _running(known: Bucket, aws: AwsRead) -> Counter[str]:
    """The instances that count in a bucket, by type: Spot ones count elsewhere."""
    filters = [{"Name": "instance-state-name", "Values": ["pending", "running"]}]
    reservations = aws.pages("ec2", "describe_instances", "Reservations", Filters=filters)
    return Counter(
        str(raw["InstanceType"])
        for raw in _instances(reservations)
        if raw.get("InstanceLifecycle") != "spot" and bucket(str(raw["InstanceType"])) is known
    )


def _instances(reservations: Iterable[Any]) -> list[Any]:
    return [raw for reservation in reservations for raw in reservation["Instances"]]
