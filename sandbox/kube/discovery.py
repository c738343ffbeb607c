"""What is served: groups, versions, resources, in the old form and in the aggregated one; OpenAPI as far as needed.

kubectl reads OpenAPI v3 to learn whether the server validates fields (the `fieldValidation` parameter of a PATCH).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sandbox.kube.errors import Obj
from sandbox.kube.resources import Registry, Resource

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
SUBRESOURCE_VERBS = ("get", "patch", "update")
Sub = tuple[str, tuple[str, str, str], tuple[str, ...]]
"""Name, (group, version, kind) of what it answers, verbs."""


def subresources(resource: Resource) -> Iterator[Sub]:
    """In the order of their names."""
    for name, kind, verbs in resource.subresources:
        yield name, (resource.group, resource.version, kind), verbs
    if resource.scale:
        yield "scale", ("autoscaling", "v1", "Scale"), SUBRESOURCE_VERBS
    if resource.status:
        yield "status", (resource.group, resource.version, resource.kind), SUBRESOURCE_VERBS


def _names(resource: Resource) -> Obj:
    found: Obj = {"shortNames": list(resource.short_names)} if resource.short_names else {}
    return found | ({"categories": list(resource.categories)} if resource.categories else {})


def answer(registry: Registry, path: str, accept: str) -> tuple[Any, str] | None:
    """The body and its media type; None where a real server says `404 page not found`."""
    parts = [part for part in path.split("/") if part]
    if parts in (["api"], ["apis"]) and "as=APIGroupDiscoveryList" in accept:
        version = "v2" if "v=v2;" in accept or accept.endswith("v=v2") else "v2beta1"
        kind = {"kind": "APIGroupDiscoveryList", "apiVersion": f"apidiscovery.k8s.io/{version}", "metadata": {}}
        groups = [""] if parts == ["api"] else registry.groups()
        return kind | {"items": [_aggregated(registry, group) for group in groups]}, AGGREGATED.format(version=version)
    body = _plain(registry, parts)
    return None if body is None else (body, "application/json")


def _plain(registry: Registry, parts: list[str]) -> Any:
    match parts:
        case ["api"]:
            return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
        case ["apis"]:
            groups = [_group(registry, group) for group in registry.groups()]
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
        case ["api", version]:
            return _resources(registry, "", version)
        case ["apis", group] if group in registry.groups():
            return {"kind": "APIGroup", "apiVersion": "v1"} | _group(registry, group)
        case ["apis", group, version]:
            return _resources(registry, group, version)
        case ["openapi", "v2"]:
            info = {"title": "Kubernetes", "version": "unversioned"}
            return {"swagger": "2.0", "info": info, "paths": {}, "definitions": {}}
        case ["openapi", "v3", *rest]:
            return _openapi(registry, rest)
    return None


def _group(registry: Registry, group: str) -> Obj:
    versions = [{"groupVersion": f"{group}/{version}", "version": version} for version in registry.versions(group)]
    return {"name": group, "versions": versions, "preferredVersion": versions[0]}


def _of(registry: Registry, group: str, version: str) -> list[Resource]:
    return sorted((one for one in registry if (one.group, one.version) == (group, version)), key=lambda one: one.plural)


def _resources(registry: Registry, group: str, version: str) -> Obj | None:
    listed: list[Obj] = []
    for resource in _of(registry, group, version):
        own = {"name": resource.plural, "singularName": resource.singular, "namespaced": resource.namespaced}
        listed.append(own | {"kind": resource.kind, "verbs": list(resource.verbs)} | _names(resource))
        for name, (sub_group, sub_version, kind), verbs in subresources(resource):
            below = {"name": f"{resource.plural}/{name}", "singularName": "", "namespaced": resource.namespaced}
            other = {} if kind == resource.kind else {"group": sub_group, "version": sub_version}
            listed.append(below | other | {"kind": kind, "verbs": list(verbs)})
    full = f"{group}/{version}" if group else version
    return (
        {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": full, "resources": listed} if listed else None
    )


def _aggregated(registry: Registry, group: str) -> Obj:
    versions = [
        {
            "version": version,
            "freshness": "Current",
            "resources": [_aggregated_resource(resource) for resource in _of(registry, group, version)],
        }
        for version in registry.versions(group)
    ]
    return {"metadata": {"name": group, "creationTimestamp": None} if group else {}, "versions": versions}


def _aggregated_resource(resource: Resource) -> Obj:
    below = [
        {"subresource": name, "responseKind": {"group": group, "version": version, "kind": kind}, "verbs": list(verbs)}
        for name, (group, version, kind), verbs in subresources(resource)
    ]
    found: Obj = {
        "resource": resource.plural,
        "responseKind": {"group": resource.group, "version": resource.version, "kind": resource.kind},
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular,
        "verbs": list(resource.verbs),
    }
    return found | _names(resource) | ({"subresources": below} if below else {})


def _openapi(registry: Registry, rest: list[str]) -> Obj | None:
    if not rest:
        paths = {f"api{'s' if one.group else ''}/{one.api_version}" for one in registry}
        found = {path: {"serverRelativeURL": f"/openapi/v3/{path}?hash={registry.revision}"} for path in sorted(paths)}
        return {"paths": found}
    group, version = "" if rest[0] == "api" else "".join(rest[1:2]), rest[-1]
    known = (rest[0], len(rest)) in (("api", 2), ("apis", 3))
    resources = _of(registry, group, version) if known else []
    if not resources:
        return None
    info = {"title": "Kubernetes", "version": "unversioned"}
    paths_of = {f"/{'/'.join(rest)}/{one.plural}/{{name}}": _path_item(one) for one in resources}
    return {"openapi": "3.0.0", "info": info, "paths": paths_of, "components": {"schemas": _schemas(resources)}}


def _path_item(resource: Resource) -> Obj:
    kind = {"group": resource.group, "version": resource.version, "kind": resource.kind}
    parameters = [
        {"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}}
        for name in ("dryRun", "fieldManager", "fieldValidation", "force")
    ]
    operation = {"x-kubernetes-action": "patch", "x-kubernetes-group-version-kind": kind, "parameters": parameters}
    return {"patch": operation | {"responses": {"200": {"description": "OK"}}}}


def _schemas(resources: list[Resource]) -> Obj:
    found: Obj = {}
    for one in resources:
        kind = {"group": one.group, "version": one.version, "kind": one.kind}
        name = ".".join([*reversed(one.group.split(".")), one.version, one.kind]).lstrip(".")
        found[name] = {**(one.schema or {"type": "object"}), "x-kubernetes-group-version-kind": [kind]}
    return found
