"""Kubernetes as operations see it: kinds whose version is found out, and clusters to look at, to try on, to change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from handlers.contract.errors import UsageError
from handlers.contract.plan import Json


@dataclass(frozen=True)
class Kind:
    """A kind of object. `versions` are those that this code can write, the preferred one first; which of them is used
    is what the server serves."""

    group: str
    name: str
    plural: str
    versions: tuple[str, ...] = ("v1",)
    namespaced: bool = True

    @property
    def resource(self) -> str:
        """As rights and messages name it: `clusters.cluster.x-k8s.io`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


class KubeRefused(UsageError):
    """The API server said no. `reason` is its own word (`Conflict`, `Invalid`, `AlreadyExists`); `webhook` names the
    admission webhook where it was one."""

    def __init__(self, reason: str, message: str, hint: str = "", *, webhook: str = "") -> None:
        super().__init__(message, hint)
        self.reason = reason
        self.webhook = webhook


class KubeRead(Protocol):
    """One cluster, to look at. Raises Retry, Fatal or KubeRefused."""

    def version(self, kind: Kind) -> str:
        """The version of a kind that is used here. Fatal where the cluster does not have the kind, or only in versions
        that this code does not know."""
        ...

    def has(self, kind: Kind) -> bool:
        """True when the kind is served in a version that is known."""
        ...

    def get(self, kind: Kind, name: str, namespace: str = "") -> Json | None:
        """One object; None where there is none."""
        ...

    def pages(self, kind: Kind, namespace: str = "", labels: str = "") -> Iterator[Json]:
        """All objects of a kind, in one namespace or in all, page by page."""
        ...

    def log(self, pod: str, namespace: str, container: str = "", lines: int = 200) -> str:
        """The end of a container's log, at most `lines` lines and 1 MiB; empty where there is none (yet)."""
        ...

    def may(self, verb: str, kind: Kind, namespace: str = "") -> bool:
        """Whether the bot has a right there (SelfSubjectAccessReview)."""
        ...


class KubeProbe(Protocol):
    """One cluster, to try on: everything is sent with dryRun=All."""

    def try_apply(self, item: Json) -> tuple[str, ...]:
        """Server-side apply without effect; the server's warnings. Raises what the real one would."""
        ...


class KubeWrite(KubeRead, Protocol):
    """One cluster, to change within the plan's rights."""

    def apply(self, item: Json) -> Json:
        """Server-side apply with the field manager `tkgbot`; never takes a field from another manager."""
        ...

    def delete(self, kind: Kind, name: str, namespace: str = "", uid: str = "") -> None:
        """Deletes one object, only the one with that uid where it is given. One that is not there is no error."""
        ...

    def patch(self, kind: Kind, name: str, namespace: str, operations: Sequence[Json]) -> Json:
        """JSON Patch (RFC 6902): `test` operations first make sure that it is still what was seen. KubeRefused
        `Invalid` where one of them fails, `NotFound` where there is no such object: nothing is ever created."""
        ...
