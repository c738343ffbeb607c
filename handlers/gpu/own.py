"""A team's own file for the GPU operator: a rendered chart, or definitions and components in two files.

It is read as data with bounds, put in the order in which it can be applied, and refused as a whole where anything in it
has no business there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from handlers.contract import Fatal, Json, Kind
from handlers.gpu.releases import parsed
from handlers.gpu.yaml_bounds import MEND, check_bounds
from handlers.kinds import (
    ADMISSION_BINDING,
    ADMISSION_POLICY,
    BY_NAME,
    CLUSTER_POLICY,
    CLUSTER_ROLE,
    CLUSTER_ROLE_BINDING,
    CONFIG_MAP,
    DAEMON_SET,
    DEFINITION,
    DEPLOYMENT,
    DISRUPTION_BUDGET,
    GPU_CLUSTER,
    NAMESPACE,
    NETWORK_POLICY,
    NODE_FEATURE,
    NODE_FEATURE_GROUP,
    NODE_FEATURE_RULE,
    NVIDIA_DRIVER,
    PRIORITY_CLASS,
    ROLE,
    ROLE_BINDING,
    RUNTIME_CLASS,
    SECRET,
    SERVICE,
    SERVICE_ACCOUNT,
)

LARGEST = 5 * 1024 * 1024
"""Bytes of one file. (All definitions of the operator together are some hundred kilobytes.)"""
FIRST = (
    (DEFINITION,), (NAMESPACE,), (SERVICE_ACCOUNT, CLUSTER_ROLE, ROLE, CLUSTER_ROLE_BINDING, ROLE_BINDING),
)  # fmt: skip
LAST = (CLUSTER_POLICY,)
BETWEEN = (
    CONFIG_MAP, PRIORITY_CLASS, RUNTIME_CLASS, SERVICE, DEPLOYMENT, DAEMON_SET, DISRUPTION_BUDGET, NETWORK_POLICY,
    ADMISSION_POLICY, ADMISSION_BINDING, NVIDIA_DRIVER, GPU_CLUSTER, NODE_FEATURE, NODE_FEATURE_RULE,
    NODE_FEATURE_GROUP,
)  # fmt: skip
ALLOWED = frozenset((*(kind for group in FIRST for kind in group), *BETWEEN, *LAST))
HOOK = "helm.sh/hook"
INSTALL_HOOKS = ("pre-install", "post-install", "crd-install")
OF_THE_SERVER = ("managedFields", "resourceVersion", "uid", "creationTimestamp", "generation", "selfLink")
OLD_NAMESPACE = "gpu-operator-resources"
OPERATOR_IMAGE = "gpu-operator"


def own_files(paths: Sequence[Path], namespace: str) -> tuple[Json, ...]:
    """What the files of the settings hold, together. Fatal where one cannot be read."""
    return _ordered(_objects(_text(path), namespace) for path in paths)


def own(text: str, namespace: str) -> tuple[Json, ...]:
    """The objects of a file in the order in which they are applied: definitions, namespaces, rights, everything else,
    ClusterPolicies. Those that belong into a namespace and name none get `namespace`; hooks that a chart runs at
    upgrades and when it is deleted are left out. Fatal, with a sentence, for everything that is not to be applied."""
    return _ordered([_objects(text, namespace)])


def _objects(text: str, namespace: str) -> list[Json]:
    if len(text.encode("utf-8", "replace")) > LARGEST:
        raise Fatal(f"A file of the team's manifests is larger than {LARGEST // 1024**2} MiB.", MEND)
    return [_checked(item, namespace) for item in _flat(_documents(text)) if not _is_other_hook(item)]


def _ordered(files: Iterable[Sequence[Json]]) -> tuple[Json, ...]:
    items = [item for file in files for item in file]
    if not items:
        raise Fatal("The team's manifests hold no object.", MEND)
    seen: set[tuple[str, ...]] = set()
    for item in items:
        key = _key(item)
        if key in seen:
            raise Fatal(f"{key[1]} {key[3]} stands twice in the team's manifests.", MEND)
        seen.add(key)
    return tuple(sorted(items, key=lambda item: _rank(_kind(item))))


def is_old_form(items: Iterable[Json]) -> bool:
    """Is it the old form in two files, of operator 1.6.2 or 22.9, whose drivers do not build on current kernels? (The
    copies of kubernetes-sigs/cluster-api-provider-aws, releases 1.2 and 2.x.)"""
    known = list(items)
    version = parsed(operator_version_of(known))
    return (version != () and version < (23,)) or any(
        OLD_NAMESPACE in (_meta(item).get("name"), _meta(item).get("namespace")) for item in known
    )


def operator_version_of(items: Iterable[Json]) -> str:
    """The version of the operator whose Deployment is among the objects (`v26.7.0`); empty where there is none, or
    where its image is named by digest and no label says it."""
    for item in items:
        if item.get("kind") != DEPLOYMENT.name:
            continue
        spec: Any = item.get("spec") or {}
        containers = ((spec.get("template") or {}).get("spec") or {}).get("containers") or []
        for container in containers:
            image = str(container.get("image", ""))
            tag = version_of_image(image)
            if image.partition("@")[0].removesuffix(f":{tag}").rpartition("/")[2] == OPERATOR_IMAGE:
                labels: Any = _meta(item).get("labels") or {}
                return tag or str(labels.get("app.kubernetes.io/version", ""))
    return ""


def version_of_image(image: str) -> str:
    """The tag of an image's name; empty where it has none."""
    head, _, tag = image.partition("@")[0].rpartition(":")
    return tag if head and "/" not in tag else ""


def lacks_definition(items: Iterable[Json]) -> bool:
    """Does a file have a ClusterPolicy and not its definition (a chart that was rendered without `--include-crds`)?"""
    known = list(items)
    names = {_meta(item).get("name") for item in known if _kind(item) == DEFINITION}
    return any(_kind(item) == CLUSTER_POLICY for item in known) and "clusterpolicies.nvidia.com" not in names


def _text(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(LARGEST + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise Fatal(f"The team's manifest {path.name} cannot be read ({type(error).__name__}).", MEND) from error


def _resolvers(base: Any) -> Any:
    """What plain words of YAML mean, less what Kubernetes does not know: dates stay text, and `=` too."""
    left_out = ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value")
    return {
        first: [(tag, pattern) for tag, pattern in known if tag not in left_out]
        for first, known in base.yaml_implicit_resolvers.items()
    }


_BASE: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_LOADER: Any = type("_Loader", (_BASE,), {"yaml_implicit_resolvers": _resolvers(_BASE)})


def _documents(text: str) -> list[Any]:
    try:
        check_bounds(text)
        found = list(yaml.load_all(text, Loader=_LOADER))
        return json.loads(json.dumps(found, allow_nan=False))  # type: ignore[no-any-return]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" (line {mark.line + 1})" if mark is not None else ""
        raise Fatal(f"The team's manifests are not YAML{place}.", MEND) from error
    except (TypeError, ValueError) as error:
        raise Fatal("The team's manifests hold a value that Kubernetes does not know.", MEND) from error


def _flat(found: Iterable[Any]) -> Iterator[Json]:
    """Objects, and those of lists; empty documents are none."""
    for item in found:
        if item is None or item == {}:
            continue
        if not isinstance(item, dict) or not all(isinstance(item.get(key), str) for key in ("kind", "apiVersion")):
            raise Fatal("The team's manifests hold something that is no object: it has no kind or no apiVersion.", MEND)
        if item["kind"].endswith("List") and isinstance(item.get("items", []), list) and "spec" not in item:
            yield from _flat(item.get("items") or [])
        else:
            yield item


def _is_other_hook(item: Json) -> bool:
    """Is it there for a chart's upgrade, test or end alone?"""
    notes: Any = _meta(item).get("annotations") or {}
    events = [event.strip() for event in str(notes.get(HOOK, "")).split(",") if event.strip()]
    return bool(events) and not any(event in INSTALL_HOOKS for event in events)


def _checked(item: Json, namespace: str) -> Json:
    kind, meta = _kind(item), _meta(item)
    name, place = meta.get("name"), meta.get("namespace") or namespace
    if not isinstance(name, str) or not name:
        raise Fatal(f"A {kind.name} in the team's manifests has no name.", MEND)
    if not isinstance(place, str):
        raise Fatal(f"{kind.name} {name} in the team's manifests has a namespace that is no text.", MEND)
    version = str(item["apiVersion"]).rpartition("/")[2]
    if version not in kind.versions:
        known = ", ".join(kind.versions)
        raise Fatal(f"{kind.name} {name} is written as {version}; this tkgbot applies {known}.", MEND)
    head = {key: value for key, value in meta.items() if key not in (*OF_THE_SERVER, "namespace")}
    if kind.namespaced:
        head["namespace"] = place
    return {**{key: value for key, value in item.items() if key != "status"}, "metadata": head}


def _kind(item: Json) -> Kind:
    group, name = str(item.get("apiVersion", "")).rpartition("/")[0], str(item.get("kind", ""))
    found = BY_NAME.get((group, name))
    if found == SECRET:
        raise Fatal("The team's manifests hold a Secret, which the bot neither keeps nor applies.", MEND)
    if found is None or found not in ALLOWED:
        where = f"{name} of {group}" if group else name
        raise Fatal(f"The team's manifests hold a {where}, which does not belong to the GPU operator.", MEND)
    return found


def _meta(item: Json) -> dict[str, Any]:
    meta = item.get("metadata")
    return meta if isinstance(meta, dict) else {}


def _rank(kind: Kind) -> int:
    early = next((place for place, kinds in enumerate(FIRST) if kind in kinds), None)
    return early if early is not None else len(FIRST) + (kind in LAST)


def _key(item: Json) -> tuple[str, ...]:
    kind, meta = _kind(item), _meta(item)
    return kind.group, kind.name, str(meta.get("namespace", "")), str(meta["name"])
