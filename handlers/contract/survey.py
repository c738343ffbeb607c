"""How a team's clusters stand, as data: what a status and a digest are made of, and what is offered as a repair."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from handlers.contract.plan import Json, Model

WELL, ENDING = "running", "deleting"
"""States of a cluster that need nobody."""


class Offer(Model):
    """Something that a person can ask for with one click, under the policy of its operation. `title` is a sentence that
    says why, `label` two or three words for the button."""

    title: str
    label: str = Field(max_length=30)
    operation: str
    arguments: Json


class Made(Model):
    """A finished request that nothing has taken back since. `at` is when it ended (epoch seconds)."""

    request: str
    operation: str
    arguments: Json
    at: float


class Finding(Model):
    """One thing that is not as it was made, or not as it should be.

    `id` stays the same from sweep to sweep, so that a digest can tell what is new. `kind` is one of a few words (`tag`,
    `trust`, `identity`, `stale-tags`, `version`); `title` a sentence; `evidence` what was seen; `fix` what to do, where
    no `repair` can be offered. `request` is the one that made it so, if one did.
    """

    id: str
    kind: Literal["tag", "trust", "identity", "stale-tags", "version", "cluster"]
    title: str
    evidence: str
    fix: str = ""
    account: str = ""
    cluster: str = ""
    namespace: str = ""
    request: str = ""
    repair: Offer | None = None


class Gap(Model):
    """What could not be looked at, in words, and why."""

    what: str
    why: str


class Gpus(Model):
    """GPUs of a cluster: those that its nodes offer (`allocatable`), by what is known of them. `why` says in a sentence
    why fewer are usable than there should be, or why they could not be counted (then `allocatable` is None)."""

    allocatable: int | None
    proven: int = 0
    untested: int = 0
    failed: int = 0
    why: str = ""


class ClusterState(Model):
    """One cluster. `state` is the word of `cluster list`; `why` one sentence about what is wrong, with the machine, the
    condition and AWS's own words; empty where nothing is. Counts are None where they could not be read. `account` is
    its name in the settings, or the account's id. `ends_at` is the end of its time box (epoch seconds)."""

    name: str
    namespace: str
    account: str = ""
    region: str = ""
    state: str
    why: str = ""
    kubernetes: str = ""
    control_plane_ready: int | None = None
    control_plane_wanted: int | None = None
    workers_ready: int | None = None
    workers_wanted: int | None = None
    gpus: Gpus | None = None
    cost_per_hour_usd: float | None = None
    ends_at: float | None = None
    labels: Mapping[str, str] = Field(default_factory=dict)

    @property
    def key(self) -> str:
        """`NAMESPACE/NAME`."""
        return f"{self.namespace}/{self.name}"

    @property
    def is_well(self) -> bool:
        """True when nobody has to look."""
        gpus = self.gpus is None or not (self.gpus.why or self.gpus.failed or self.gpus.untested)
        return self.state in (WELL, ENDING) and not self.why and gpus


class Extent(Model):
    """Which clusters are meant: empty means all. `labels` must all be there."""

    accounts: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    labels: Mapping[str, str] = Field(default_factory=dict)
    cluster: str = ""

    def holds(self, state: ClusterState) -> bool:
        """True when that cluster is meant."""
        return (
            self.cluster in ("", state.name)
            and (not self.accounts or state.account in self.accounts)
            and (not self.namespaces or state.namespace in self.namespaces)
            and self.labels.items() <= state.labels.items()
        )


class Survey(Model):
    """How everything stood at `taken_at` (epoch seconds)."""

    taken_at: float
    clusters: tuple[ClusterState, ...]
    findings: tuple[Finding, ...] = ()
    gaps: tuple[Gap, ...] = ()

    def cost_by_account(self) -> dict[str, float]:
        """US dollars an hour of the machines, where their prices are known."""
        costs: dict[str, float] = {}
        for state in self.clusters:
            if state.cost_per_hour_usd is not None:
                costs[state.account] = costs.get(state.account, 0.0) + state.cost_per_hour_usd
        return dict(sorted(costs.items()))


class TimeBox(Model):
    """A cluster whose time is limited: when it ends (epoch seconds), and the request that said so."""

    cluster: str
    namespace: str
    uid: str
    ends_at: float
    request: str
