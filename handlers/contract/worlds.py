"""What operations may touch, told apart by type: reading and writing are different worlds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import Field, model_validator

from handlers.contract.kube import KubeProbe, KubeRead, KubeWrite
from handlers.contract.plan import Action, Door, Json, Model, Right


class AwsRead(Protocol):
    """One account and region, to look at. `service` and `operation` are boto3's names (`ec2`, `describe_subnets`)."""

    def read(self, service: str, operation: str, **parameters: Any) -> Json:
        """One read call. Raises Retry, Fatal or AwsRefused."""
        ...

    def pages(self, service: str, operation: str, key: str, **parameters: Any) -> Iterator[Json]:
        """All items under `key` of a paged read call."""
        ...


class AwsWrite(AwsRead, Protocol):
    """One account and region, to change within the plan's actions."""

    def write(self, service: str, operation: str, **parameters: Any) -> Json:
        """One changing call; refused here already when the plan does not declare its action."""
        ...


class AwsProbe(Protocol):
    """One account and region, to try on within some actions: everything is sent as a dry run."""

    def try_write(self, service: str, operation: str, **parameters: Any) -> None:
        """Asks AWS whether it would do this, through its real authorisation. Raises what the real call would, as far as
        rights go. (Amazon EC2 API Reference: "DryRun".)"""
        ...


class AccountFacts(Protocol):
    """What planning may know of an account from the settings."""

    @property
    def id(self) -> str:
        """Twelve digits."""
        ...

    @property
    def region(self) -> str:
        """The account's default region."""
        ...

    @property
    def identity(self) -> str | None:
        """The AWSClusterRoleIdentity that leads into this account, if one is needed."""
        ...


class BootstrapFacts(Protocol):
    """The role by which the bot deploys its stack in an account that is onboarded."""

    @property
    def role_arn(self) -> str:
        """The role."""
        ...

    @property
    def external_id(self) -> str | None:
        """What its trust asks for, if anything."""
        ...


class OnboardingDefaults(Protocol):
    """What the settings say of accounts that are brought in."""

    @property
    def stack_name(self) -> str:
        """The name of the stack in such an account."""
        ...

    @property
    def reader_role(self) -> str:
        """The name of the role by which the bot looks into such an account."""
        ...

    @property
    def template_url(self) -> str | None:
        """Where CloudFormation's console finds the template: an https URL in S3."""
        ...

    @property
    def permissions_boundary(self) -> str | None:
        """The ARN or, for one of each account, the name of the policy that bounds every role of the stack."""
        ...

    @property
    def organization_id(self) -> str | None:
        """The AWS organization, for the form of the grant that names no accounts."""
        ...

    @property
    def controllers_principal(self) -> str | None:
        """The IAM ARN that the provider's controllers run as, where it cannot be found out."""
        ...

    @property
    def bot_principal(self) -> str | None:
        """The IAM ARN that the bot itself runs as, where it cannot be found out."""
        ...

    @property
    def probe_namespace(self) -> str | None:
        """Where the bot may make a cluster without machines for a moment, to have the provider try the way in."""
        ...

    @property
    def person_patience(self) -> float:
        """How long a stack that a person makes is looked for before the run is parked (seconds)."""
        ...

    @property
    def propagation(self) -> float:
        """How long IAM may take until a change is seen everywhere (seconds)."""
        ...


class ClusterDefaults(Protocol):
    """What the settings say of clusters that are made."""

    @property
    def iam_suffix(self) -> str:
        """What the names of the provider's roles and instance profiles end in."""
        ...

    @property
    def ami_owner(self) -> str:
        """The account whose images the provider looks up."""
        ...

    @property
    def ami_base_os(self) -> str:
        """The part of an image's name that says its operating system."""
        ...

    @property
    def labels(self) -> dict[str, str]:
        """What every new cluster is labelled with, so that its add-ons come."""
        ...

    @property
    def kubernetes_version(self) -> str | None:
        """What a command that names none gets."""
        ...

    @property
    def ssh_key(self) -> str | None:
        """The key pair of a command that names none; None puts no key on the machines."""
        ...

    @property
    def control_plane_type(self) -> str:
        """The instance type of control planes."""
        ...

    @property
    def worker_type(self) -> str:
        """The instance type of workers."""
        ...

    @property
    def no_progress(self) -> float:
        """How long a new cluster may stand still before somebody has to look (seconds)."""
        ...

    @property
    def failure_grace(self) -> float:
        """How long the provider may go on trying after a failure before somebody has to look (seconds)."""
        ...

    @property
    def supported_until(self) -> Mapping[str, date]:
        """By minor version of Kubernetes: its last day, where the team has one of its own."""
        ...

    @property
    def shortest_life(self) -> float:
        """The least time that a cluster may be given (seconds)."""
        ...

    @property
    def longest_life(self) -> float:
        """The most time that a cluster may be given (seconds)."""
        ...


class Toleration(Model):
    """A taint of nodes that pods put up with. (Kubernetes: "Taints and Tolerations".)"""

    key: str = Field(pattern=r"^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$")
    operator: Literal["Exists", "Equal"] = "Exists"
    value: str | None = Field(None, pattern=r"^([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?$")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None

    @model_validator(mode="after")
    def _fits(self) -> Toleration:
        if self.operator == "Exists" and self.value is not None:
            raise ValueError("operator `Exists` does not use `value`")
        if self.operator == "Equal" and self.value is None:
            raise ValueError("operator `Equal` needs `value`")
        return self

    def written(self) -> Json:
        """As it stands in an object."""
        return self.model_dump(mode="json", exclude_none=True)


class GpuDefaults(Protocol):
    """What the settings say of GPUs in workload clusters."""

    @property
    def namespace(self) -> str:
        """Where the GPU operator is put."""
        ...

    @property
    def operator_version(self) -> str:
        """The GPU operator's version (`v26.7.0`)."""
        ...

    @property
    def driver_version(self) -> str | None:
        """The driver's version, or `preinstalled`; None for the one that belongs to the operator's version."""
        ...

    @property
    def kernel_module(self) -> Literal["auto", "open", "proprietary"]:
        """Which of NVIDIA's kernel modules is built."""
        ...

    @property
    def toolkit_version(self) -> str | None:
        """The container toolkit's version, or `preinstalled`; None for the one of the operator's version."""
        ...

    @property
    def device_plugin_version(self) -> str | None:
        """The device plugin's version; None for the one of the operator's version."""
        ...

    @property
    def node_feature_discovery(self) -> bool:
        """Whether node feature discovery is put there, too."""
        ...

    @property
    def node_feature_discovery_version(self) -> str | None:
        """Its version; None for the one of the operator's version."""
        ...

    @property
    def tolerations(self) -> tuple[Toleration, ...]:
        """Further taints of GPU nodes, beside `nvidia.com/gpu`."""
        ...

    @property
    def mirrors(self) -> Mapping[str, str]:
        """By registry (`nvcr.io`, `registry.k8s.io`): the prefix that stands in its place."""
        ...

    @property
    def manifests(self) -> tuple[Path, ...]:
        """The team's own files, applied in place of the bot's objects; none where there are none."""
        ...

    @property
    def test_image(self) -> str:
        """The image of the CUDA test."""
        ...

    @property
    def test_timeout(self) -> int:
        """How long a test may take on one node (seconds)."""
        ...

    @property
    def driver_patience(self) -> float:
        """How long drivers may compile before somebody has to look (seconds)."""
        ...

    @property
    def disk(self) -> int:
        """The root volumes of GPU nodes (GiB)."""
        ...

    @property
    def keep_jobs(self) -> int:
        """How long a test's Job is kept when the bot could not delete it (seconds)."""
        ...


class Clocked(Protocol):
    """What every world knows: the time, and for which request it is."""

    def now(self) -> float:
        """Epoch seconds."""
        ...

    def request(self) -> str:
        """The request's id, by which what a run leaves behind is told apart from what others left."""
        ...


class ProbeWorld(Protocol):
    """To try on: nothing that is sent has an effect."""

    def management(self) -> KubeProbe:
        """The management cluster."""
        ...

    def workload(self, namespace: str, cluster: str) -> KubeProbe:
        """A workload cluster."""
        ...

    def trying(self, account: str | Door, region: str, actions: tuple[Action, ...]) -> AwsProbe:
        """That account and region, with the rights of a plan's actions."""
        ...


class ReadWorld(Clocked, Protocol):
    """To look: AWS sessions with a read-only policy, clusters without a way to write."""

    def account(self, name: str) -> AccountFacts:
        """The settings of one account."""
        ...

    def accounts(self) -> Mapping[str, AccountFacts]:
        """Every account of the settings, by its name, in their order."""
        ...

    def clusters(self) -> ClusterDefaults:
        """The settings of clusters that are made."""
        ...

    def onboarding(self) -> OnboardingDefaults:
        """The settings of accounts that are brought in."""
        ...

    def gpu(self) -> GpuDefaults:
        """The settings of GPUs in workload clusters."""
        ...

    def bootstrap(self, account_id: str) -> BootstrapFacts | None:
        """The role that the settings name for deploying the stack in that account."""
        ...

    def home(self) -> str:
        """The name of the account in which the management cluster's controllers have their own rights."""
        ...

    def myself(self) -> str:
        """The ARN that AWS says the bot's own credentials are (GetCallerIdentity)."""
        ...

    def aws(self, account: str | Door, region: str) -> AwsRead:
        """That account and region, to look at."""
        ...

    def management(self) -> KubeRead:
        """The management cluster. Fatal where the settings name none."""
        ...

    def workload(self, namespace: str, cluster: str) -> KubeRead:
        """A workload cluster, by its kubeconfig on the management cluster. Fatal where it has none."""
        ...

    def probing(self) -> ProbeWorld:
        """The same places, to try on what is planned."""
        ...


class RunWorld(Clocked, Protocol):
    """To act: AWS sessions that hold exactly the approved plan's actions, and clusters that take exactly its rights."""

    def began(self) -> float:
        """When this run was begun, or last taken up or resumed (epoch seconds)."""
        ...

    def aws(self, account: str | Door, region: str) -> AwsWrite:
        """That account and region, to change."""
        ...

    def management(self) -> KubeWrite:
        """The management cluster, to change."""
        ...

    def workload(self, namespace: str, cluster: str) -> KubeWrite:
        """A workload cluster, to change."""
        ...


@dataclass(frozen=True)
class Caller:
    """On whose behalf a session is made: for RoleSessionName, SourceIdentity and the audit. `began` is when the run was
    begun, taken up or resumed (epoch seconds)."""

    request: str
    person: str
    actions: tuple[Action, ...] = field(default=())
    rights: tuple[Right, ...] = field(default=())
    began: float = 0.0
