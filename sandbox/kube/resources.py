"""What the server serves: one `Resource` per served version, made of the built-in table or of a CRD."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sandbox.kube.errors import Obj, qualified

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True)
class Resource:
    """One kind in one served version. `schema` is structural; None keeps everything as it comes."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool
    storage_version: str
    singular: str = ""
    list_kind: str = ""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS
    schema: Mapping[str, Any] | None = None
    columns: tuple[Mapping[str, Any], ...] = ()
    status: bool = False
    scale: Mapping[str, Any] | None = None
    warning: str = ""
    custom: bool = False
    generation: bool = True
    subresources: tuple[tuple[str, str, tuple[str, ...]], ...] = field(default=())

    @property
    def api_version(self) -> str:
        """As objects say it: `apps/v1`; `v1` in the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def key(self) -> str:
        """The same for every version: `clusters.cluster.x-k8s.io`, `pods`."""
        return qualified(self.plural, self.group)


def version_order(version: str) -> tuple[int, int, int]:
    """Kubernetes' order of versions, best first: v2, v1, v1beta2, v1beta1, v1alpha4."""
    rest = version[1:]
    for rank, word in ((1, "beta"), (2, "alpha")):
        major, found, minor = rest.partition(word)
        if found and major.isdigit() and minor.isdigit():
            return rank, -int(major), -int(minor)
    return (0, -int(rest), 0) if rest.isdigit() else (3, 0, 0)


def of_crd(crd: Mapping[str, Any]) -> Iterator[Resource]:
    """The served versions of a CustomResourceDefinition."""
    spec, names = crd["spec"], crd["spec"]["names"]
    storage = next(version["name"] for version in spec["versions"] if version["storage"])
    newest = min((version["name"] for version in spec["versions"] if version["served"]), key=version_order, default="")
    for version in spec["versions"]:
        if version["served"] or version["storage"]:
            yield _of_version(spec, names, version, storage, newest)


def _of_version(
    spec: Mapping[str, Any], names: Mapping[str, Any], version: Mapping[str, Any], storage: str, newest: str
) -> Resource:
    old = f"{spec['group']}/{version['name']} {names['kind']} is deprecated"
    better = f"; use {spec['group']}/{newest} {names['kind']}" if newest != version["name"] else ""
    subresources = version.get("subresources") or {}
    age = ({"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},)
    return Resource(
        spec["group"],
        version["name"],
        names["kind"],
        names["plural"],
        spec["scope"] == "Namespaced",
        storage,
        names.get("singular") or names["kind"].lower(),
        names.get("listKind") or f"{names['kind']}List",
        tuple(names.get("shortNames") or ()),
        tuple(names.get("categories") or ()),
        schema=version.get("schema", {}).get("openAPIV3Schema"),
        columns=tuple(version.get("additionalPrinterColumns") or age),
        status="status" in subresources,
        scale=subresources.get("scale"),
        warning=(version.get("deprecationWarning") or old + better) if version.get("deprecated") else "",
        custom=True,
    )


class Registry:
    """Everything that is served now. `served` excludes versions that a CRD only stores."""

    def __init__(self, builtin: Iterable[Resource]) -> None:
        self._versions: dict[str, dict[str, Resource]] = {}
        self._hidden: set[tuple[str, str]] = set()
        self.revision = 0
        for resource in builtin:
            self._add(resource)

    def _add(self, resource: Resource) -> None:
        self._versions.setdefault(resource.key, {})[resource.version] = resource
        self.revision += 1

    def install(self, crd: Mapping[str, Any]) -> None:
        """A CRD's resources appear, or change."""
        key = qualified(crd["spec"]["names"]["plural"], crd["spec"]["group"])
        self._versions.pop(key, None)
        self._hidden = {pair for pair in self._hidden if pair[0] != key}
        for resource in of_crd(crd):
            self._add(resource)
        self._hidden |= {(key, version["name"]) for version in crd["spec"]["versions"] if not version["served"]}

    def remove(self, crd: Mapping[str, Any]) -> None:
        """A CRD's resources go."""
        self._versions.pop(qualified(crd["spec"]["names"]["plural"], crd["spec"]["group"]), None)
        self.revision += 1

    def __iter__(self) -> Iterator[Resource]:
        for key, versions in self._versions.items():
            yield from (resource for resource in versions.values() if (key, resource.version) not in self._hidden)

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        """A served resource by its URL."""
        key = qualified(plural, group)
        return None if (key, version) in self._hidden else self._versions.get(key, {}).get(version)

    def of_kind(self, api_version: str, kind: str) -> Resource | None:
        """A served resource by what its objects say."""
        return next((one for one in self if one.kind == kind and one.api_version == api_version), None)

    def storage(self, key: str) -> Resource | None:
        """The version in which the objects of `clusters.cluster.x-k8s.io` are kept."""
        versions = self._versions.get(key, {})
        return next((one for one in versions.values() if one.version == one.storage_version), None)

    def versions(self, group: str) -> list[str]:
        """The served versions of a group, best first."""
        return sorted({one.version for one in self if one.group == group}, key=version_order)

    def builtin_group(self, group: str) -> bool:
        """Is this a group that no CRD made?"""
        return any(one.group == group and not one.custom for one in self)

    def groups(self) -> list[str]:
        """But for the core group."""
        return sorted({one.group for one in self if one.group})


def group_of(obj: Obj) -> str:
    """The group in an object's apiVersion."""
    group, slash, _ = str(obj.get("apiVersion", "")).rpartition("/")
    return group if slash else ""
