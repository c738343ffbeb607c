"""What the server makes of a CustomResourceDefinition: checks, accepted names, conditions."""

from __future__ import annotations

from sandbox.kube.errors import Obj, invalid, invalid_value
from sandbox.kube.resources import Resource


def established(crd: Obj) -> bool:
    """Whether its kind is served."""
    conditions = (crd.get("status") or {}).get("conditions") or []
    return any(one["type"] == "Established" and one["status"] == "True" for one in conditions)


def settle_definition(resource: Resource, obj: Obj, now: str, *, later: bool = False) -> None:
    """Its status; 422 for a name that does not fit its spec, or for another number of storage versions than one.

    With `later` somebody else establishes it, some moments after.
    """
    if resource.kind != "CustomResourceDefinition":
        return
    spec, name = obj["spec"], obj["metadata"]["name"]
    causes = []
    if name != f"{spec['names']['plural']}.{spec['group']}":
        causes.append(invalid_value("metadata.name", name, 'must be spec.names.plural+"."+spec.group'))
    if sum(version["storage"] for version in spec["versions"]) != 1:
        text = "must have exactly one version marked as storage version"
        causes.append(invalid_value("spec.versions", [version["name"] for version in spec["versions"]], text))
    if causes:
        raise invalid(resource.kind, resource.group, name, causes)
    obj["status"] = _accepted(obj, now, later=later)


def establish(crd: Obj, now: str) -> Obj:
    """The definition with its condition True."""
    status = crd["status"]
    rest = [one for one in status["conditions"] if one["type"] != "Established"]
    return {**crd, "status": {**status, "conditions": [*rest, _condition(now, "Established", *INITIAL)]}}


INITIAL = ("InitialNamesAccepted", "the initial names have been accepted")
INSTALLING = ("Installing", "the initial names have been accepted")


def _condition(now: str, kind: str, reason: str, message: str, status: str = "True") -> Obj:
    return {"lastTransitionTime": now, "message": message, "reason": reason, "status": status, "type": kind}


def _accepted(crd: Obj, now: str, *, later: bool) -> Obj:
    """The status of a CRD whose names nobody else has; what is already so keeps its times."""
    before = crd.get("status") or {}
    names = {"singular": crd["spec"]["names"]["kind"].lower(), "listKind": f"{crd['spec']['names']['kind']}List"}
    storage = next(version["name"] for version in crd["spec"]["versions"] if version["storage"])
    stored = before.get("storedVersions") or []
    last = _condition(now, "Established", *INSTALLING, "False") if later else _condition(now, "Established", *INITIAL)
    conditions = [_condition(now, "NamesAccepted", "NoConflicts", "no conflicts found"), last]
    return {
        "conditions": before.get("conditions") or conditions,
        "acceptedNames": names | crd["spec"]["names"],
        "storedVersions": stored if storage in stored else [*stored, storage],
    }
