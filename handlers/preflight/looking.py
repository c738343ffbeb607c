"""All looks at once: in parallel, each for itself, so that what one cannot see hides nothing of the others."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from handlers.clients.aws_errors import Denied
from handlers.contract import AwsRead, AwsRefused, Check, Fatal, Retry
from handlers.preflight import (
    gpus,
    images,
    machines,
    names,
    profiles,
    quotas,
    room,
    routes,
    ssh_keys,
    subnets,
    vpcs,
    zones,
)
from handlers.preflight.layout import Layout
from handlers.preflight.look import Look
from handlers.preflight.once import Once

AT_ONCE = 8
"""Calls to one account at the same time: EC2's buckets hold a hundred reads and refill with twenty a second."""

LOOKS: tuple[Look, ...] = (
    *names.LOOKS,
    *vpcs.LOOKS,
    *subnets.LOOKS,
    *zones.LOOKS,
    *routes.LOOKS,
    *room.LOOKS,
    *machines.LOOKS,
    *ssh_keys.LOOKS,
    *images.LOOKS,
    *profiles.LOOKS,
)
GROWTH: tuple[Look, ...] = (*machines.LOOKS, *[look for look in room.LOOKS if look.id == "addresses"])
Failure = Retry | Fatal | AwsRefused


def checks(layout: Layout, aws: AwsRead, *, begun: bool = False) -> list[Check]:
    """Every check of the preflight in AWS, in a fixed order. `begun` leaves out what the cluster's own machines change
    (its name, free addresses, quotas), for a run that is taken up again. Raises Retry, or what is wrong with the
    credentials, only when nothing at all could be seen."""
    looks = [look for look in (*LOOKS, *gpus.looks(layout), *quotas.looks(layout)) if not (begun and look.own)]
    return _all(looks, layout, aws)


def growth_checks(layout: Layout, aws: AwsRead) -> list[Check]:
    """The checks for machines that are added to a cluster: `layout`'s pools hold only those. Raises as `checks`."""
    return _all([*GROWTH, *gpus.looks(layout), *quotas.looks(layout)], layout, aws)


def _all(looks: Sequence[Look], layout: Layout, aws: AwsRead) -> list[Check]:
    once = Once(aws)
    with ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="preflight") as workers:
        seen = list(workers.map(partial(_looked, layout=layout, aws=once), looks))
    if not once.answered:
        _raise_blindness(seen)
    return [
        check
        for look, answer in zip(looks, seen, strict=True)
        for check in (answer if isinstance(answer, list) else [_unknown(look, answer)])
    ]


def _looked(look: Look, *, layout: Layout, aws: AwsRead) -> list[Check] | Failure:
    try:
        return look.see(layout, aws)
    except (Retry, Fatal, AwsRefused) as error:
        return error


def _raise_blindness(seen: Sequence[list[Check] | Failure]) -> None:
    """What passes is worth another try, and bad credentials are told once. Missing rights are told check by check."""
    errors = [answer for answer in seen if isinstance(answer, Retry | Fatal) and not isinstance(answer, Denied)]
    for error in sorted(errors, key=lambda error: not isinstance(error, Retry)):
        raise error


def _unknown(look: Look, error: Failure) -> Check:
    fix = error.hint or "The platform team has to find out why AWS refused; then look again."
    return Check(
        id=look.id, title=look.title, result="unknown", evidence=f"{error.message} So it is not known.", fix=fix
    )
