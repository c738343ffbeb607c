"""A pod's log: whose, how much of it, and why there is none. Source: the registry of `pods/log`, and the kubelet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from sandbox.kube.errors import ApiError, Obj, bad_request

if TYPE_CHECKING:
    from sandbox.kube.store import Store

WAITING = {
    "ContainerCreating": "ContainerCreating",
    "PodInitializing": "PodInitializing",
    "ErrImagePull": "image can't be pulled",
    "ImagePullBackOff": "trying and failing to pull image",
}


def answer(store: Store, pod: Obj, query: Mapping[str, str]) -> str:
    """The end of one container's log; 400 in the server's words where there is nothing to choose or to read."""
    meta, spec = pod["metadata"], pod.get("spec") or {}
    place = meta["namespace"], meta["name"]
    names = [one["name"] for one in spec.get("containers") or ()]
    inits = [one["name"] for one in spec.get("initContainers") or ()]
    wanted = query.get("container", "")
    if not wanted and len(names) > 1:
        text = f"a container name must be specified for pod {meta['name']}, choose one of: [{' '.join(names)}]"
        raise bad_request(text + (f" or one of the init containers: [{' '.join(inits)}]" if inits else ""))
    if wanted and wanted not in [*names, *inits]:
        raise bad_request(f"container {wanted} is not valid for pod {meta['name']}")
    chosen = wanted or (names[0] if names else "")
    _check_begun(pod, chosen)
    if query.get("previous") in ("true", "1") and not _status(pod, chosen).get("restartCount"):
        raise bad_request(f'previous terminated container "{chosen}" in pod "{meta["name"]}" not found')
    text = store.container_logs.get(place, {}).get(chosen, store.logs.get(place, ""))
    lines = query.get("tailLines", "")
    if lines.isdigit():
        kept = text.splitlines(keepends=True)
        text = "".join(kept[len(kept) - min(int(lines), len(kept)) :])
    limit = query.get("limitBytes", "")
    return text.encode()[: int(limit)].decode(errors="ignore") if limit.isdigit() else text


def _status(pod: Obj, name: str) -> Obj:
    status = pod.get("status") or {}
    every = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    return next((one for one in every if one["name"] == name), {})


def _check_begun(pod: Obj, name: str) -> None:
    waiting = _status(pod, name).get("state", {}).get("waiting", {}).get("reason", "")
    if waiting in WAITING:
        text = f'container "{name}" in pod "{pod["metadata"]["name"]}" is waiting to start: {WAITING[waiting]}'
        raise ApiError(400, "BadRequest", text)
