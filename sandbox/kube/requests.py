"""A request to the API as data: which resource, which object, which verb. Source: apiserver's `RequestInfoFactory`."""

from __future__ import annotations

from dataclasses import dataclass

from sandbox.kube.access import Attempt

MUTATING = frozenset(("create", "update", "patch", "delete", "deletecollection"))
NAMESPACE_SUBRESOURCES = ("status", "finalize")


@dataclass(frozen=True)
class Target:
    """What a URL of a resource means."""

    group: str
    version: str
    plural: str
    namespace: str
    name: str
    subresource: str

    def attempt(self, verb: str) -> Attempt:
        """What the authoriser is asked."""
        return Attempt(verb, self.group, self.plural, self.namespace, self.name, self.subresource)


def target(path: str) -> Target | None:
    """None for what is no resource: discovery, /version, /openapi."""
    parts = [part for part in path.split("/") if part]
    if len(parts) >= 3 and parts[0] == "api":
        group, version, rest = "", parts[1], parts[2:]
    elif len(parts) >= 4 and parts[0] == "apis":
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return None
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 1:
        namespace = rest[1]
        rest = rest if len(rest) == 2 or rest[2] in NAMESPACE_SUBRESOURCES else rest[2:]
    plural, name, subresource = (*rest, "", "")[:3] if len(rest) < 4 else (rest[0], rest[1], "/".join(rest[2:]))
    return Target(group, version, plural, namespace, name, subresource)


def verb(method: str, name: str, watching: bool) -> str:
    """The word that RBAC rules use; empty for a method that there is none for."""
    if method in ("GET", "HEAD"):
        return "watch" if watching else "get" if name else "list"
    if method == "DELETE":
        return "delete" if name else "deletecollection"
    return {"POST": "create", "PUT": "update", "PATCH": "patch"}.get(method, "")
