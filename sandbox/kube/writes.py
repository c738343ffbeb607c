"""The rules of a write: what a body becomes before it is stored, whichever way it came.

Source: apiserver's `registry/generic/registry/store.go`, `registry/rest`, and the strategies of custom resources.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sandbox.kube import errors, metadata
from sandbox.kube.errors import ApiError, Obj, bad_request, invalid, invalid_value
from sandbox.kube.resources import Resource
from sandbox.kube.schema import copied, fill, has_rules, prune, validate

KEPT = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "name", "namespace", "selfLink")
MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"
UNCHECKED = (
    "some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation"
)
BLOCKING = {f"FieldValue{word}" for word in ("Required", "NotSupported", "TooLong", "TooMany", "TypeInvalid")}


@dataclass
class Write:
    """How a write is meant. `warnings` are for the answer's headers."""

    manager: str = "controller"
    subresource: str = ""
    dry_run: bool = False
    strictness: str = "Ignore"
    force: bool = False
    warnings: list[str] = field(default_factory=list)
    scaling: bool = False
    repeated: list[str] = field(default_factory=list)

    def author(self, api_version: str, operation: str = "Update") -> tuple[str, str, str, str]:
        """How managedFields name the writer."""
        version = api_version if operation == "Update" else ""
        return self.manager, operation, version, "scale" if self.scaling else self.subresource


def check_type(resource: Resource, obj: Any) -> None:
    """The body is of the kind and version that the URL asks for."""
    start = f"the object provided is unrecognized (must be of type {resource.kind})"
    if not isinstance(obj, dict) or not isinstance(obj.get("metadata") or {}, dict):
        raise bad_request(f"{start}: couldn't get version/kind; json parse error: it is no object")
    version, kind = obj.get("apiVersion"), obj.get("kind")
    if resource.custom and not (kind and version):
        raise bad_request(f"{start}: Object '{'apiVersion' if kind else 'Kind'}' is missing in '{errors.shown(obj)}'")
    if version not in (None, "", resource.api_version):
        wanted = resource.api_version
        raise bad_request(f"the API version in the data ({version}) does not match the expected API version ({wanted})")
    if kind not in (None, "", resource.kind) and not resource.custom:
        raise bad_request(f'{kind} in version "{resource.version}" cannot be handled as a {resource.kind}')
    if kind not in (None, "", resource.kind):
        cause = invalid_value("kind", kind, f"must be {resource.kind}")
        raise invalid(str(kind), resource.group, (obj.get("metadata") or {}).get("name", ""), [cause])
    _check_metadata(resource, obj.get("metadata") or {})


METADATA_TYPES: dict[str, tuple[str, type, type | None]] = {
    **dict.fromkeys(("name", "generateName", "namespace", "uid", "resourceVersion"), ("string", str, None)),
    **dict.fromkeys(("labels", "annotations"), ("map[string]string", dict, str)),
    "finalizers": ("[]string", list, str),
    "ownerReferences": ("[]v1.OwnerReference", list, dict),
    "managedFields": ("[]v1.ManagedFieldsEntry", list, dict),
}


def _check_metadata(resource: Resource, meta: Obj) -> None:
    """400 for what cannot be read as ObjectMeta."""
    for name, (told, outer, inner) in METADATA_TYPES.items():
        value = meta.get(name)
        inside = value.values() if isinstance(value, dict) else value or ()
        if value is None or (isinstance(value, outer) and (not inner or all(isinstance(one, inner) for one in inside))):
            continue
        why = f"json: cannot unmarshal into Go struct field ObjectMeta.metadata.{name} of type {told}"
        raise bad_request(
            f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: {why}'
        )


def decoded(resource: Resource, obj: Obj, write: Write) -> Obj:
    """A copy of a body with what the schema does not know taken out, or refused."""
    check_type(resource, obj)
    body: Obj = copied(obj) | {"apiVersion": resource.api_version, "kind": resource.kind}
    body["metadata"] = body.get("metadata") or {}
    unknown = [f'duplicate field "{path}"' for path in write.repeated]
    unknown += [f'unknown field "{path}"' for path in sorted(prune(body, resource.schema))]
    if unknown and write.strictness == "Strict":
        start = f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}'
        raise bad_request(f"{start}: strict decoding error: " + ", ".join(unknown))
    if write.strictness == "Warn":
        write.warnings += unknown
    return body


def check(resource: Resource, obj: Obj, *, new: bool = False) -> None:
    """Defaults, then 422 with everything that is wrong; a built-in kind's wrong type is a 400, as in Go."""
    fill(obj, resource.schema)
    found = validate(obj, resource.schema)
    causes = metadata.wrong(obj["metadata"], resource) + found
    types = [cause for cause in causes if cause.reason == "FieldValueTypeInvalid"]
    if types and not resource.custom:
        kind, wanted = resource.kind, types[0].text.rpartition("must be of type ")[2].replace('"', "")
        text = f"json: cannot unmarshal {wanted.partition(': ')[2]} into Go struct field {kind}.{types[0].field}"
        text += f" of type {wanted.partition(':')[0]}"
        raise bad_request(f'{kind} in version "{resource.version}" cannot be handled as a {kind}: {text}')
    if not resource.custom and any(cause.text.endswith("illegal base64 data") for cause in found):
        kind = resource.kind
        text = (
            f'{kind} in version "{resource.version}" cannot be handled as a {kind}: illegal base64 data at input byte 0'
        )
        raise bad_request(text)
    if causes:
        blocked = any(cause.reason in BLOCKING for cause in (causes if new else found))
        if blocked and resource.schema and has_rules(resource.schema):
            causes.append(invalid_value("<nil>", None, UNCHECKED))
        raise invalid(resource.kind, resource.group, obj["metadata"].get("name", ""), causes)
    settle(resource, obj)


def prepare_new(resource: Resource, obj: Obj) -> None:
    """What the server sets on create, but for name, uid and time."""
    for name in ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "resourceVersion", "managedFields"):
        obj["metadata"].pop(name, None)
    obj["metadata"].pop("generation", None)
    if resource.generation:
        obj["metadata"]["generation"] = 1
    if resource.status and resource.key != "nodes":  # a kubelet registers with its status
        obj.pop("status", None)


def settle(resource: Resource, obj: Obj) -> None:
    """What admission and the strategies of built-in kinds add."""
    if resource.key == "secrets" and "stringData" in obj:
        added = {key: base64.b64encode(value.encode()).decode() for key, value in obj.pop("stringData").items()}
        obj["data"] = (obj.get("data") or {}) | added
    if resource.key == "namespaces":
        name = obj["metadata"].get("name", "")
        obj["metadata"]["labels"] = (obj["metadata"].get("labels") or {}) | {"kubernetes.io/metadata.name": name}
        obj.setdefault("spec", {}).setdefault("finalizers", ["kubernetes"])
        obj.setdefault("status", {}).setdefault("phase", "Active")
    if resource.key == "services":
        _settle_service(obj)
    if resource.key == "pods":
        obj.setdefault("status", {}).setdefault("phase", "Pending")


def _settle_service(obj: Obj) -> None:
    """Addresses and ports as the cluster's network would give them, by the name alone."""
    spec = obj.setdefault("spec", {})
    number = sum(map(ord, obj["metadata"].get("name", "")))
    if spec.get("type") != "ExternalName" and spec.get("clusterIP") != "None":
        spec.setdefault("clusterIP", f"10.96.{number // 250 % 250}.{number % 250 + 1}")
        spec["clusterIPs"] = [spec["clusterIP"]]
    for offset, port in enumerate(spec.get("ports") or ()):
        port.setdefault("targetPort", port.get("port"))
        if spec.get("type") in ("LoadBalancer", "NodePort"):
            port.setdefault("nodePort", 30000 + (number + offset) % 2768)
    obj.setdefault("status", {}).setdefault("loadBalancer", {})


def check_identity(resource: Resource, old: Obj, new: Obj) -> None:
    """422 for what a patch may not say: another uid, or finalizers more once the object is going away."""
    meta, causes = new["metadata"], []
    if meta.get("uid", old["metadata"]["uid"]) != old["metadata"]["uid"]:
        causes.append(invalid_value("metadata.uid", meta["uid"], "field is immutable"))
    more = set(meta.get("finalizers") or ()) - set(old["metadata"].get("finalizers") or ())
    if more and "deletionTimestamp" in old["metadata"]:
        listed = ", ".join(errors.shown(name) for name in sorted(more))
        why = "no new finalizers can be added if the object is being deleted, found new finalizers"
        text = f"Forbidden: {why} []string{{{listed}}}"
        causes.append(errors.Cause("FieldValueForbidden", "metadata.finalizers", text))
    if causes:
        raise invalid(resource.kind, resource.group, old["metadata"]["name"], causes)


def check_revision(resource: Resource, old: Obj, new: Obj) -> None:
    """Optimistic locking. A custom resource must not be replaced without it."""
    name, wanted = old["metadata"]["name"], new["metadata"].get("resourceVersion")
    if not wanted and resource.custom:
        cause = invalid_value("metadata.resourceVersion", 0, "must be specified for an update")
        raise invalid(resource.plural, resource.group, name, [cause])
    check_same(resource, old, new["metadata"].get("uid"), wanted)


def check_same(resource: Resource, old: Obj, uid: str | None, revision: str | None) -> None:
    """409 where the caller means another object, or another state of it."""
    name, found = old["metadata"]["name"], old["metadata"]
    if uid and uid != found["uid"]:
        why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {found['uid']}"
        raise errors.conflict(resource.plural, resource.group, name, why)
    if revision and revision != found["resourceVersion"]:
        raise errors.conflict(resource.plural, resource.group, name, MODIFIED)


def check_preconditions(resource: Resource, old: Obj, wanted: Mapping[str, Any]) -> None:
    """Those of DeleteOptions."""
    meta = old["metadata"]
    for name, told, why in (
        ("uid", "UID", "deleted and then recreated"),
        ("resourceVersion", "ResourceVersion", "modified"),
    ):
        if wanted.get(name) and wanted[name] != meta[name]:
            text = (
                f"the {told} in the precondition ({wanted[name]}) does not match the {told} in record ({meta[name]}). "
            )
            raise errors.conflict(
                resource.kind, resource.group, meta["name"], text + f"The object might have been {why}"
            )


def carry_over(resource: Resource, old: Obj, new: Obj, write: Write) -> Obj:
    """The new object with everything that this endpoint may not change taken from the old one."""
    if write.subresource == "status":
        kept: Obj = copied({key: value for key, value in old.items() if key != "status"})
        kept["metadata"]["managedFields"] = new["metadata"].get("managedFields") or []
        return kept | ({"status": new["status"]} if "status" in new else {})
    if resource.status:
        new.pop("status", None)
        new |= {"status": copied(old["status"])} if "status" in old else {}
    meta = new["metadata"]
    for name in KEPT:
        meta.pop(name, None)
        meta |= {name: old["metadata"][name]} if name in old["metadata"] else {}
    return new


def bump(resource: Resource, old: Obj, new: Obj) -> None:
    """The generation counts the changes of what is wanted."""
    new["metadata"].pop("generation", None)
    generation = old["metadata"].get("generation")
    if generation is None or not resource.generation:
        return
    aside = {"metadata", "apiVersion"} | ({"status"} if resource.status else set())
    before, after = ({key: one[key] for key in one if key not in aside} for one in (old, new))
    new["metadata"]["generation"] = generation + (before != after)


def check_immutable(resource: Resource, old: Obj, new: Obj) -> None:
    """Fields of built-in kinds that cannot be changed once they are set."""
    fixed = {"deployments.apps": "selector", "daemonsets.apps": "selector", "replicasets.apps": "selector"}
    fixed |= {"jobs.batch": "template"}
    name = fixed.get(resource.key)
    before, after = ((one.get("spec") or {}).get(name) for one in (old, new))
    if name and before != after:
        cause = invalid_value(f"spec.{name}", after, "field is immutable")
        raise invalid(resource.kind, resource.group, old["metadata"]["name"], [cause])


def terminating(namespace: Mapping[str, Any], resource: Resource, name: str) -> ApiError | None:
    """Nothing new comes into a namespace that is going away."""
    if "deletionTimestamp" not in namespace["metadata"]:
        return None
    place = namespace["metadata"]["name"]
    why = f"unable to create new content in namespace {place} because it is being terminated"
    found = errors.details(name, resource.group, resource.plural)
    cause = {"reason": "NamespaceTerminating", "message": f"namespace {place} is being terminated"}
    found["causes"] = [cause | {"field": "metadata.namespace"}]
    full = errors.qualified(resource.plural, resource.group)
    return ApiError(403, "Forbidden", f'{full} "{name}" is forbidden: {why}', found)
