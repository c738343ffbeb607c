"""AWSClusterRoleIdentity and AWSClusterControllerIdentity: as they are made, read and said in words.

Of the many shapes of allowedNamespaces only three are ever written, because the others mean different things to
different readers: `{}` for all, a list of at least one, labels of at least one. (kubernetes-sigs/
cluster-api-provider-aws, api/v1beta2/awsidentity_types.go, pkg/cloud/scope/session.go; book: "Multi-tenancy".)
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from handlers.accounts import READER, REGION
from handlers.contract import Json, KubeRead
from handlers.kinds import AWS_CLUSTER, CONTROLLER_IDENTITY, NAMESPACE, ROLE_IDENTITY
from handlers.steps.apply import CONFIG

SAYABLE = re.compile(r"[A-Za-z0-9][\w+=,.@-]{1,1223}", re.ASCII)
"""An external id that a command can name."""
LONGEST = 3600
"""Seconds. AWS's own limit for a role that is assumed by a role."""


def allowed(namespaces: str | None, selector: str | None, *, everything: bool) -> Json:
    """spec.allowedNamespaces from a command's words."""
    if everything:
        return {}
    if selector:
        pairs = sorted(pair.partition("=") for pair in selector.split(","))
        labels: Json = {key: value for key, _, value in pairs}
        return {"selector": {"matchLabels": labels}}
    return {"list": [*sorted(set((namespaces or "").split(",")))]}


def in_words(rule: Any) -> str:
    """Who may use an identity: `namespaces team-a, team-b`."""
    if rule is None:
        return "no namespace"
    names, selector = rule.get("list"), rule.get("selector") or {}
    labels, expressions = selector.get("matchLabels"), selector.get("matchExpressions")
    if names is None and labels is None and expressions is None:
        return "every namespace"
    parts = [f"namespaces {', '.join(names)}" if len(names) > 1 else f"namespace {names[0]}"] if names else []
    if labels:
        parts.append(f"namespaces labelled {', '.join(f'{key}={value}' for key, value in sorted(labels.items()))}")
    if expressions:
        parts.append(f"namespaces that fit {json.dumps(expressions)}")
    return " and ".join(parts) or "no namespace"


def allows(identity: Json, namespace: str, kube: KubeRead) -> bool:
    """Absent allows none, empty allows all, else the list or the selector must hold; an empty list is not absent."""
    spec: Any = identity.get("spec") or {}
    rule = spec.get("allowedNamespaces")
    if rule is None:
        return False
    names, selector = rule.get("list"), rule.get("selector") or {}
    labels, expressions = selector.get("matchLabels"), selector.get("matchExpressions")
    if names is None and labels is None and expressions is None:
        return True
    if namespace in (names or []):
        return True
    if not labels and not expressions:
        return False
    found = kube.get(NAMESPACE, namespace)
    return found is not None and selects(selector, _meta(found).get("labels") or {})


def selects(selector: Any, labels: dict[str, str]) -> bool:
    """Label selectors as the API defines them (metav1.LabelSelector); an unknown operator selects nothing."""
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    tests = {
        "In": lambda key, values: labels.get(key) in values,
        "NotIn": lambda key, values: labels.get(key) not in values,
        "Exists": lambda key, values: key in labels,
        "DoesNotExist": lambda key, values: key not in labels,
    }
    return all(
        entry["operator"] in tests and tests[entry["operator"]](entry["key"], entry.get("values") or [])
        for entry in selector.get("matchExpressions") or []
    )


def role_identity(
    name: str,
    version: str,
    *,
    role_arn: str,
    external_id: str | None,
    rule: Json,
    duration: int,
    region: str,
    reader: str,
) -> Json:
    """The identity by which clusters get into an account; its annotations are how the bot gets there."""
    spec: Json = {
        "roleARN": role_arn,
        "sessionName": f"tkgbot-{name}"[:64],
        "durationSeconds": duration,
        "allowedNamespaces": rule,
        "sourceIdentityRef": {"kind": CONTROLLER_IDENTITY.name, "name": "default"},
    }
    if external_id is not None:
        spec["externalID"] = external_id
    meta: Json = {"name": name, "annotations": {REGION: region, READER: reader}}
    return _marked(
        {"apiVersion": f"{ROLE_IDENTITY.group}/{version}", "kind": ROLE_IDENTITY.name, "metadata": meta, "spec": spec}
    )


def controller_identity(version: str) -> Json:
    """The one by which the controllers use their own credentials; open to all, as they make it themselves."""
    return {
        "apiVersion": f"{CONTROLLER_IDENTITY.group}/{version}",
        "kind": CONTROLLER_IDENTITY.name,
        "metadata": {"name": "default"},
        "spec": {"allowedNamespaces": {}},
    }


def _marked(item: Json) -> Json:
    """With the digest of what it says, as every object that the bot makes."""
    meta: Any = item["metadata"]
    return {**item, "metadata": {**meta, "annotations": {**meta["annotations"], CONFIG: _digest(item)}}}


def _digest(item: Json) -> str:
    """Twelve hex digits over the spec and the bot's own notes."""
    meta: Any = item["metadata"]
    notes = {key: meta["annotations"].get(key) for key in (READER, REGION)}
    text = json.dumps({"spec": item["spec"], "annotations": notes}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def is_as_written(item: Json) -> bool:
    """Does it still say what the bot wrote? True of one that the bot did not write."""
    notes: Any = (_meta(item).get("annotations")) or {}
    return CONFIG not in notes or notes[CONFIG] == _digest({**item, "metadata": {"annotations": notes}})


def words_of(spec: Any) -> Json | None:
    """An identity's spec as the arguments of `account onboard` say it; None for a shape that they cannot."""
    rule = (spec or {}).get("allowedNamespaces")
    words: Json = {"external_id": spec.get("externalID") or "auto", "duration": spec.get("durationSeconds") or 900}
    selector = (rule or {}).get("selector") or {}
    labels, names = selector.get("matchLabels"), (rule or {}).get("list")
    if not SAYABLE.fullmatch(str(words["external_id"])):
        return None
    if rule == {}:
        return {**words, "all_namespaces": True}
    if names and not selector:
        return {**words, "namespaces": ",".join(names)}
    if labels and not names and not selector.get("matchExpressions"):
        return {**words, "selector": ",".join(f"{key}={value}" for key, value in sorted(labels.items()))}
    return None


def users_of(kube: KubeRead, name: str) -> tuple[list[str], list[str]]:
    """Who uses an identity: clusters (`NAMESPACE/NAME`), and other identities that it is the source of."""
    clusters = sorted(
        f"{_meta(item).get('namespace')}/{_meta(item).get('name')}"
        for item in kube.pages(AWS_CLUSTER)
        if _refers(item, "identityRef", name)
    )
    others = sorted(
        str(_meta(item).get("name")) for item in kube.pages(ROLE_IDENTITY) if _refers(item, "sourceIdentityRef", name)
    )
    return clusters, others


def _refers(item: Json, key: str, name: str) -> bool:
    spec: Any = item.get("spec") or {}
    ref = spec.get(key) or {}
    return bool(ref.get("kind") == ROLE_IDENTITY.name and ref.get("name") == name)


def _meta(item: Json) -> dict[str, Any]:
    found: Any = item.get("metadata") or {}
    return dict(found)
