"""Who is calling, and may they: bearer tokens, and RBAC from the Role and ClusterRole objects.

Source: "Using RBAC Authorization" in Kubernetes' documents.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sandbox.kube.memory import Change
from sandbox.kube.store import Store

MASTERS, AUTHENTICATED = "system:masters", "system:authenticated"
RBAC = "rbac.authorization.k8s.io"
REVIEWS = ("selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews")


@dataclass(frozen=True)
class Attempt:
    """What somebody wants to do. An empty name with an empty resource name list means all of them."""

    verb: str
    group: str
    resource: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    @property
    def full(self) -> str:
        """The resource as rules name it, `pods/log`."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


def _allows(rule: Mapping[str, Any], attempt: Attempt) -> bool:
    resources, names = rule.get("resources") or (), rule.get("resourceNames") or ()
    wanted = {"*", attempt.full} | ({f"*/{attempt.subresource}"} if attempt.subresource else set())
    return (
        not {"*", attempt.verb}.isdisjoint(rule.get("verbs") or ())
        and not {"*", attempt.group}.isdisjoint(rule.get("apiGroups") or ())
        and not wanted.isdisjoint(resources)
        and (not names or attempt.name in names)
    )


class Access:
    """Users, their tokens, and what RBAC gives them now."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._tokens: dict[str, str] = {}
        self._groups: dict[str, tuple[str, ...]] = {}
        self._rules: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
        store.memory.listen(self._forget)

    def add(self, user: str, groups: Sequence[str] = ()) -> str:
        """The user's token; the one that they already have, with the new groups."""
        self._groups[user] = (*groups, AUTHENTICATED)
        return self._tokens.setdefault(user, secrets.token_urlsafe(24))

    def token(self, user: str) -> str:
        """KeyError for somebody who was never added."""
        return self._tokens[user]

    def who(self, authorization: str) -> str | None:
        """The user that an Authorization header names."""
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            return None
        return next(
            (user for user, known in self._tokens.items() if secrets.compare_digest(known, token.strip())), None
        )

    def master(self, user: str) -> bool:
        """Whoever may do everything."""
        return MASTERS in self._groups.get(user, ())

    def may(self, user: str, attempt: Attempt) -> bool:
        """What RBAC says; reviews of oneself are open to everybody."""
        if self.master(user):
            return True
        if attempt.group == "authorization.k8s.io" and attempt.resource in REVIEWS and attempt.verb == "create":
            return True
        places = {"", attempt.namespace}
        return any(_allows(rule, attempt) for place in places for rule in self._granted(user, place))

    def _forget(self, change: Change) -> None:
        if change.resource.endswith(RBAC):
            self._rules.clear()

    def _granted(self, user: str, namespace: str) -> list[Mapping[str, Any]]:
        found = self._rules.get((user, namespace))
        if found is None:
            found = self._rules[user, namespace] = list(self._look_up(user, namespace))
        return found

    def _look_up(self, user: str, namespace: str) -> Iterator[Mapping[str, Any]]:
        """Cluster-wide grants for the empty namespace, else those of that namespace alone."""
        plural = "rolebindings" if namespace else "clusterrolebindings"
        for binding in self._store.memory.all(f"{plural}.{RBAC}", namespace):
            if self._meant(user, binding.get("subjects") or ()):
                wanted = binding["roleRef"]
                cluster_wide = wanted["kind"] == "ClusterRole"
                key = f"{'clusterroles' if cluster_wide else 'roles'}.{RBAC}"
                role = self._store.memory.read((key, "" if cluster_wide else namespace, wanted["name"]))
                yield from (role or {}).get("rules") or ()

    def _meant(self, user: str, subjects: Iterable[Mapping[str, Any]]) -> bool:
        names: dict[str, Callable[[Mapping[str, Any]], bool]] = {
            "User": lambda one: one["name"] == user,
            "Group": lambda one: one["name"] in self._groups.get(user, ()),
            "ServiceAccount": lambda one: f"system:serviceaccount:{one.get('namespace')}:{one['name']}" == user,
        }
        return any(one["kind"] in names and names[one["kind"]](one) for one in subjects)
