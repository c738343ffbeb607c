"""The worlds of the contract over a team's settings: to look, to try on, to act."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from handlers.accounts import Accounts
from handlers.clients.aws import AwsSessions, Session
from handlers.clients.kube import Cluster, Clusters
from handlers.clients.observing import Observer, nobody
from handlers.contract import Action, Caller, Door
from handlers.settings import Account, Bootstrap, ClusterSettings, GpuSettings, Onboarding, OperationsSettings


@dataclass(frozen=True)
class Reach:
    """How everything is reached. `clock` gives epoch seconds."""

    sessions: AwsSessions
    kube: Clusters
    settings: OperationsSettings
    clock: Callable[[], float]

    @classmethod
    def of(cls, settings: OperationsSettings, clock: Callable[[], float], observer: Observer = nobody) -> Reach:
        """How the places of the settings are reached. `observer` is told each call."""
        kube = Clusters(settings.management_cluster, observer)
        accounts = Accounts(settings, kube.management, clock)
        return cls(AwsSessions(settings, accounts=accounts, observer=observer), kube, settings, clock)

    def fresh(self) -> Reach:
        """The same places with nothing remembered."""
        kube = self.kube.fresh()
        accounts = Accounts(self.settings, kube.management, self.clock)
        return replace(self, sessions=self.sessions.fresh(accounts), kube=kube)


@dataclass(frozen=True)
class Looking:
    """A ReadWorld. `purpose` keeps its sessions apart from those of other worlds."""

    reach: Reach
    caller: Caller
    purpose: str

    def now(self) -> float:
        """Epoch seconds."""
        return self.reach.clock()

    def request(self) -> str:
        """The request's id."""
        return self.caller.request

    def account(self, name: str) -> Account:
        """The settings of one account, or what onboarding left of it."""
        return self.reach.sessions.account(name)

    def accounts(self) -> Mapping[str, Account]:
        """Every account of the settings, by its name."""
        return self.reach.settings.accounts

    def onboarding(self) -> Onboarding:
        """The settings of accounts that are brought in."""
        return self.reach.settings.onboarding

    def bootstrap(self, account_id: str) -> Bootstrap | None:
        """The role for deploying the stack in that account."""
        return self.reach.settings.onboarding.bootstrap.get(account_id)

    def home(self) -> str:
        """The account of the management cluster's controllers."""
        return self.reach.settings.home

    def myself(self) -> str:
        """The ARN of the bot's own credentials."""
        return self.reach.sessions.myself()

    def clusters(self) -> ClusterSettings:
        """The settings of clusters that are made."""
        return self.reach.settings.clusters

    def gpu(self) -> GpuSettings:
        """The settings of GPUs in workload clusters."""
        return self.reach.settings.gpu

    def aws(self, account: str | Door, region: str) -> Session:
        """That account and region, to look at."""
        return self.reach.sessions.reading(self.caller, account, region, self.purpose)

    def management(self) -> Cluster:
        """The management cluster, to look at."""
        return self.reach.kube.management()

    def workload(self, namespace: str, cluster: str) -> Cluster:
        """A workload cluster, to look at."""
        return self.reach.kube.workload(namespace, cluster)

    def trying(self, account: str | Door, region: str, actions: tuple[Action, ...]) -> Session:
        """That account and region with a plan's rights, for dry runs only."""
        return self.reach.sessions.trying(replace(self.caller, actions=actions), account, region)

    def probing(self) -> Looking:
        """The same places: a cluster without rights changes nothing, and tries on with dryRun=All."""
        return self


@dataclass(frozen=True)
class Acting:
    """A RunWorld."""

    reach: Reach
    caller: Caller

    def now(self) -> float:
        """Epoch seconds."""
        return self.reach.clock()

    def request(self) -> str:
        """The request's id."""
        return self.caller.request

    def began(self) -> float:
        """When this run was begun, taken up or resumed."""
        return self.caller.began

    def aws(self, account: str | Door, region: str) -> Session:
        """That account and region, to change within the plan."""
        return self.reach.sessions.acting(self.caller, account, region)

    def management(self) -> Cluster:
        """The management cluster, to change within the plan."""
        return self.reach.kube.management(self.caller.rights)

    def workload(self, namespace: str, cluster: str) -> Cluster:
        """A workload cluster, to change within the plan."""
        return self.reach.kube.workload(namespace, cluster, self.caller.rights)
