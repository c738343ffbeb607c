"""The look at everything: the lists of the management cluster, then workload clusters, accounts and finished requests
in parallel. What cannot be looked at, or not in time, is a gap of the answer; nothing is counted as well for want of a
look."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from handlers.accounts import onboarded
from handlers.cluster_objects import ClusterObjects
from handlers.cluster_reading import read_all
from handlers.conditions import text
from handlers.contract import (
    ClusterState,
    Extent,
    Fatal,
    Finding,
    Gap,
    Gpus,
    Made,
    Operation,
    ReadWorld,
    Retry,
    Spoken,
    Survey,
    UsageError,
)
from handlers.contract.survey import ENDING
from handlers.kinds import ROLE_IDENTITY
from handlers.survey.clusters import has_gpus, state_of
from handlers.survey.drifting import missing_identities, old_versions, stale_tags
from handlers.survey.gpus import gpus_of
from handlers.survey.together import Jobs, Together

BOUND = 45.0
"""Seconds for the whole look."""
MANAGEMENT, IDENTITIES = "The management cluster", "Which accounts were onboarded"


@dataclass(frozen=True)
class Sight:
    """What the management cluster says. `every` and `identities` are None where they could not be read; `within` are
    the clusters that are meant, each with its state; `onboarded` are the identities that lead into an account."""

    every: Sequence[ClusterObjects] | None
    states: Sequence[ClusterState]
    within: Sequence[tuple[ClusterObjects, ClusterState]]
    identities: frozenset[str] | None
    onboarded: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Surveyor:
    """Looks once. `accounts` are those of the settings, each once; `identities` their names by the identity that leads
    into them; `bound` is in seconds."""

    world: ReadWorld
    operations: Mapping[str, Spoken[Any]]
    accounts: Sequence[str]
    identities: Mapping[str, str]
    bound: float = BOUND

    @classmethod
    def of_settings(cls, world: ReadWorld, operations: Mapping[str, Spoken[Any]]) -> Surveyor:
        """Looks at every account of the settings; one that has two names there is looked at by its first."""
        accounts = world.accounts()
        return cls(
            world=world,
            operations=operations,
            accounts=tuple({account.id: name for name, account in reversed(list(accounts.items()))}.values()),
            identities={account.identity: name for name, account in accounts.items() if account.identity},
        )

    def survey(self, extent: Extent, made: Sequence[Made]) -> Survey:
        """How everything within `extent` stands."""
        now, together = self.world.now(), Together(self.bound)
        sight, gaps = self._sight(extent, now, together)
        drifts: dict[str, Callable[[], Any]] = {
            f"What {one.request} made": partial(self._drift, one) for one in made if self._is_meant(one, extent, sight)
        }
        answers, missed = together.all(drifts, self._sweeps(extent, made, sight), self._gpu_looks(sight))
        findings = old_versions([found for found, _ in sight.within], self.world)
        if sight.identities is not None:
            findings += missing_identities([found for found, _ in sight.within], sight.identities)
        findings += [found for answer in answers.values() if isinstance(answer, list) for found in answer]
        states = [self._with_gpus(state, answers, missed) for _, state in sight.within]
        return Survey(
            taken_at=now,
            clusters=tuple(sorted(states, key=lambda state: state.key)),
            findings=_once(findings),
            gaps=(*gaps, *(gap for what, gap in missed.items() if what not in set(map(_gpu_look, states)))),
        )

    # -- the management cluster --------------------------------------------------------------------------------------

    def _sight(self, extent: Extent, now: float, together: Together) -> tuple[Sight, list[Gap]]:
        answers, missed = together.all({MANAGEMENT: lambda: read_all(self.world.management())})
        if MANAGEMENT in missed:
            return Sight(None, (), (), None, frozenset()), [*missed.values()]
        every: list[ClusterObjects] = answers[MANAGEMENT]
        named, more = together.all({IDENTITIES: self._role_identities})
        there, led = named.get(IDENTITIES, (None, frozenset()))
        grace = self.world.clusters().failure_grace
        states = [state_of(found, now, self.identities, self.world.home(), grace) for found in every]
        within = [(found, state) for found, state in zip(every, states, strict=True) if extent.holds(state)]
        unread = sorted({kind for one in every for kind in one.unread})
        gaps = [Gap(what=", ".join(unread), why="The bot may not read them on the management cluster.")]
        return Sight(every, states, within, there, led), [*(gaps if unread else ()), *more.values()]

    def _role_identities(self) -> tuple[frozenset[str], frozenset[str]]:
        """The names of all of them, and of those that lead into an account by a role that can be read."""
        kube = self.world.management()
        items = list(kube.pages(ROLE_IDENTITY)) if kube.has(ROLE_IDENTITY) else []
        led = frozenset(found.name for item in items if (found := onboarded(item)) is not None)
        return frozenset(text(item, "metadata", "name") for item in items), led

    # -- what is looked at next --------------------------------------------------------------------------------------

    def _is_meant(self, made: Made, extent: Extent, sight: Sight) -> bool:
        """By what the request speaks of. Where it does not say what is asked for, the clusters of its name decide: of
        one that is gone, labels are not known any more."""
        given = {key: str(made.arguments.get(key) or "") for key in ("account", "identity", "cluster", "namespace")}
        identity = given["identity"]
        account = given["account"] or self.identities.get(identity, identity)
        name, space = given["cluster"], given["namespace"]
        if extent.accounts and account not in extent.accounts:
            return False
        if extent.cluster and name != extent.cluster:
            return False
        if extent.namespaces and space and space not in extent.namespaces:
            return False
        if not extent.labels and (space or not extent.namespaces):
            return True
        return any(
            state.name == name and space in ("", state.namespace) and account in ("", state.account)
            for _, state in sight.within
        )

    def _sweeps(self, extent: Extent, made: Sequence[Made], sight: Sight) -> Jobs:
        """Of whole accounts, and so only where nothing narrower is meant; and not where a cluster may be there that was
        not seen. Tags may be put before the cluster is made."""
        if extent.cluster or extent.namespaces or extent.labels or sight.every is None:
            return {}
        known = frozenset({found.name for found in sight.every} | {str(one.arguments.get("cluster")) for one in made})
        return {
            f"Subnet tags of account {account}{f' in {region}' if region else ''}": partial(
                stale_tags, account, region, known, self.world
            )
            for account, region in self._places(extent, sight)
        }

    def _places(self, extent: Extent, sight: Sight) -> Iterator[tuple[str, str]]:
        """The accounts of the settings and those that were onboarded, with every region in which clusters are."""
        for account in sorted({*self.accounts, *(sight.onboarded - self.identities.keys())}):
            if extent.accounts and account not in extent.accounts:
                continue
            try:
                home = self.world.account(account).region
            except UsageError:
                continue  # the bot did not make that identity and has no way in, or the settings call it otherwise
            except (Retry, Fatal):
                home = ""  # the look itself says why, as a gap
            regions = {state.region for state in sight.states if state.account == account and state.region}
            yield from ((account, region) for region in sorted({home, *regions} if home else {""}))

    def _gpu_looks(self, sight: Sight) -> Jobs:
        return {
            _gpu_look(state): partial(gpus_of, found, self.world)
            for found, state in sight.within
            if has_gpus(found) and state.state != ENDING
        }

    def _drift(self, made: Made) -> list[Finding]:
        operation = self.operations.get(made.operation)
        if not isinstance(operation, Operation):
            return []
        arguments = operation.arguments.model_validate(made.arguments)
        return [
            finding.model_copy(update={"request": made.request}) for finding in operation.drift(arguments, self.world)
        ]

    # -- the answer --------------------------------------------------------------------------------------------------

    def _with_gpus(self, state: ClusterState, answers: Mapping[str, Any], missed: Mapping[str, Gap]) -> ClusterState:
        look = _gpu_look(state)
        gpus = answers.get(look)
        if look in missed:
            gpus = Gpus(allocatable=None, why=f"Its GPUs cannot be seen: {missed[look].why}")
        return state.model_copy(update={"gpus": gpus})


def _gpu_look(state: ClusterState) -> str:
    return f"The GPUs of {state.key}"


def _once(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """One of each id, and one of the same lost tags: the later one, which knows its request."""
    by_id = {finding.id: finding for finding in findings}
    different = {_what(finding): finding.id for finding in by_id.values()}
    return tuple(by_id[name] for name in sorted(different.values()))


def _what(finding: Finding) -> tuple[str, ...]:
    """Several requests may have put one tag on the same subnets."""
    if finding.kind != "tag":
        return (finding.id,)
    return finding.kind, finding.account, finding.cluster, finding.evidence
