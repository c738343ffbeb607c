"""The bot's own marks on what it puts into a cluster for GPUs, by which it finds all of that again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from handlers.cluster_rendering import digest_of
from handlers.contract import Json, Kind, KubeRead
from handlers.kinds import (
    CLUSTER_POLICY,
    CLUSTER_ROLE,
    CLUSTER_ROLE_BINDING,
    CONFIG_MAP,
    DAEMON_SET,
    DEFINITION,
    DEPLOYMENT,
    NAMESPACE,
    ROLE,
    ROLE_BINDING,
    RUNTIME_CLASS,
    SERVICE,
    SERVICE_ACCOUNT,
    kind_of,
)
from handlers.steps.apply import CONFIG, config_of

PART, GPU_PART = "tkgbot/part", "gpu"
"""The label of every object that belongs to the GPUs of a cluster."""
DEFINED = (DEFINITION, NAMESPACE)
"""What has to be there, and be served, before the rest can be applied."""
KINDS: tuple[Kind, ...] = (
    CLUSTER_POLICY, DEPLOYMENT, DAEMON_SET, SERVICE, CONFIG_MAP, RUNTIME_CLASS, ROLE_BINDING, ROLE,
    CLUSTER_ROLE_BINDING, CLUSTER_ROLE, SERVICE_ACCOUNT, DEFINITION, NAMESPACE,
)  # fmt: skip
"""What is looked for when all of it is taken away, in that order: the operator takes its own parts away when its
policy goes, so it has to be there for that long."""


def marked(items: Sequence[Json]) -> tuple[Json, ...]:
    """The objects with the label, and with the digest of them all."""
    digest = digest_of(list(items))

    def one(item: Json) -> Json:
        meta: Any = item["metadata"]
        labels = {**(meta.get("labels") or {}), PART: GPU_PART}
        notes = {**(meta.get("annotations") or {}), CONFIG: digest}
        return {**item, "metadata": {**meta, "labels": labels, "annotations": notes}}

    return tuple(one(item) for item in items)


def split(items: Sequence[Json]) -> tuple[tuple[Json, ...], tuple[Json, ...]]:
    """What comes first, and the rest."""
    first = tuple(item for item in items if kind_of(item) in DEFINED)
    return first, tuple(item for item in items if kind_of(item) not in DEFINED)


def there(kube: KubeRead) -> Iterator[tuple[Kind, Json]]:
    """Everything of it that is in a cluster, and that this bot has applied."""
    for kind in KINDS:
        if not kube.has(kind):
            continue
        for item in kube.pages(kind, labels=f"{PART}={GPU_PART}"):
            if config_of(item):
                yield kind, item
