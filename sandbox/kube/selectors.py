"""Label and field selectors of lists, watches and deletecollection. Source: "Labels and Selectors" in the documents."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from sandbox.kube.errors import Obj, bad_request
from sandbox.kube.resources import Resource

Match = Callable[[Obj], bool]

NAME = r"[A-Za-z0-9][-A-Za-z0-9_./]*"
TERM = re.compile(
    rf"\s*(?:(?P<absent>!)\s*(?P<no>{NAME})|(?P<key>{NAME})(?:\s*(?P<op>==|=|!=)\s*(?P<value>[-A-Za-z0-9_.]*)"
    rf"|\s+(?P<word>in|notin)\s*\((?P<values>[^)]*)\))?)\s*"
)
BUILTIN_FIELDS = {
    "pods": ("spec.nodeName", "status.phase", "spec.restartPolicy", "spec.serviceAccountName"),
    "events": ("reason", "type", *(f"involvedObject.{name}" for name in ("kind", "namespace", "name", "uid"))),
    "secrets": ("type",),
    "namespaces": ("status.phase",),
    "nodes": ("spec.unschedulable",),
}


def _label_term(found: re.Match[str]) -> Callable[[Mapping[str, str]], bool]:
    key, absent = found["key"], found["no"]
    if absent:
        return lambda labels: absent not in labels
    if found["op"]:
        value, equal = found["value"], found["op"] != "!="
        return lambda labels: (labels.get(key) == value) == equal
    if found["word"]:
        values = {value.strip() for value in found["values"].split(",")}
        inside = found["word"] == "in"
        return lambda labels: (key in labels and labels[key] in values) == inside
    return lambda labels: key in labels


def labels(selector: str) -> Match:
    """`a=b,c!=d,e in (f,g),h notin (i),j,!k`; 400 for what is none."""
    terms, at = [], 0
    while at < len(selector):
        found = TERM.match(selector, at)
        if not found or not found[0].strip() or (found.end() < len(selector) and selector[found.end()] != ","):
            raise bad_request(f"unable to parse requirement: found '{selector[at:]}', expected: identifier")
        terms.append(_label_term(found))
        at = found.end() + 1
    return lambda obj: all(term(obj["metadata"].get("labels") or {}) for term in terms)


def _field(obj: Any, path: str) -> str:
    for name in path.split("."):
        obj = obj.get(name) if isinstance(obj, dict) else None
    return "" if obj is None else str(obj).lower() if isinstance(obj, bool) else str(obj)


def fields(selector: str, resource: Resource) -> Match:
    """`metadata.name=x,metadata.namespace!=y`, and a few more for built-in kinds; 400 for other fields."""
    known = {"metadata.name", "metadata.namespace", *BUILTIN_FIELDS.get(resource.key, ())}
    terms: list[tuple[str, str, bool]] = []
    for term in filter(None, selector.split(",")):
        path, operator, value = re.match(r"([^=!]*)(==|=|!=|)(.*)", term).groups()  # type: ignore[union-attr]
        if not operator:
            raise bad_request(f"invalid selector: '{selector}'; can't understand '{term}'")
        if path not in known:
            listed = ", ".join(f'"{name}"' for name in sorted(known))
            other = f'"{path}" is not a known field selector: only {listed}'
            raise bad_request(f"field label not supported: {path}" if resource.custom else other)
        terms.append((path, value, operator != "!="))
    return lambda obj: all((_field(obj, path) == value) == equal for path, value, equal in terms)


def both(label_selector: str, field_selector: str, resource: Resource) -> Match:
    """What a list, a watch or a deletecollection asks for."""
    by_label, by_field = labels(label_selector), fields(field_selector, resource)
    return lambda obj: by_label(obj) and by_field(obj)
