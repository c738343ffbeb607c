"""What operations need to know of a team's world: its AWS accounts, its management cluster, and how each is
reached."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from handlers.contract import Model, Toleration

AccountId = Annotated[str, Field(pattern=r"^[0-9]{12}$", description="Twelve digits.")]
RegionName = Annotated[
    str, Field(pattern=r"^[a-z]{2}(-[a-z]+)+-[0-9]$", description="An AWS region, such as us-east-1.")
]


ROLE_ARN = r"^arn:aws[a-z-]*:iam::[0-9]{12}:role/[A-Za-z0-9_+=,.@/-]+$"
PRINCIPAL_ARN = r"^arn:aws[a-z-]*:iam::[0-9]{12}:(role|user)/[A-Za-z0-9_+=,.@/-]+$"
EXTERNAL_ID = r"^[A-Za-z0-9_+=,.@:/-]+$"


class Account(Model):
    """One AWS account: who it is, and how the bot gets in."""

    id: AccountId
    region: RegionName
    access: Literal["role", "profile", "ambient"] = Field(
        "role",
        description="`role`: assume `role_arn` with exactly the plan's rights. `profile`: a profile of the AWS "
        "configuration. `ambient`: the credentials of the environment. Only `role` lets AWS itself hold the bot to "
        "the plan.",
    )
    role_arn: str | None = Field(None, pattern=ROLE_ARN)
    external_id: str | None = Field(None, pattern=EXTERNAL_ID, min_length=2, max_length=1224)
    profile: str | None = None
    identity: str | None = Field(
        None,
        pattern=r"^[a-z0-9][a-z0-9.-]{0,252}$",
        description="The AWSClusterRoleIdentity by which the Cluster API's AWS provider gets into this account; left "
        "out for the account that it has credentials of its own for.",
    )
    source_identity: bool = Field(
        True, description="Name the person in every session; the role's trust must allow sts:SetSourceIdentity."
    )

    @model_validator(mode="after")
    def _fits(self) -> Account:
        wanted = {"role": "role_arn", "profile": "profile", "ambient": None}[self.access]
        for name in ("role_arn", "profile"):
            if (getattr(self, name) is not None) != (name == wanted):
                verb = "needs" if name == wanted else "does not use"
                raise ValueError(f"access `{self.access}` {verb} `{name}`")
        if self.external_id is not None and self.access != "role":
            raise ValueError(f"access `{self.access}` does not use `external_id`")
        if self.role_arn is not None and self.role_arn.split(":")[4] != self.id:
            raise ValueError(f"`role_arn` is in account {self.role_arn.split(':')[4]}, not in {self.id}")
        return self


class AwsTuning(Model):
    """How patient the AWS client is (seconds; attempts in all)."""

    connect_timeout: float = Field(5.0, gt=0)
    read_timeout: float = Field(30.0, gt=0)
    attempts: int = Field(6, ge=1, le=20)


class ManagementCluster(Model):
    """The management cluster, on which the Cluster API runs, and how the bot gets in."""

    access: Literal["kubeconfig", "in-cluster"] = Field(
        "kubeconfig",
        description="`kubeconfig`: a kubeconfig file. `in-cluster`: the service account of the bot's own pod.",
    )
    kubeconfig: Path | None = Field(None, description="The file; left out, what KUBECONFIG names.")
    context: str | None = Field(None, description="The context in the file; left out, its current one.")
    account: str | None = Field(
        None,
        description="The account, by its name here, in which the controllers of the AWS provider have their rights; "
        "left out, the default account.",
    )
    connect_timeout: float = Field(5.0, gt=0)
    read_timeout: float = Field(30.0, gt=0)

    @model_validator(mode="after")
    def _fits(self) -> ManagementCluster:
        if self.access == "in-cluster" and (self.kubeconfig or self.context):
            raise ValueError("access `in-cluster` uses neither `kubeconfig` nor `context`")
        return self


class ClusterSettings(Model):
    """What new clusters are made with, where a command does not say. Labels: ClusterResourceSets on the management
    cluster select clusters by them and bring the network plugin and the cloud controller manager."""

    iam_suffix: str = Field(".cluster-api-provider-aws.sigs.k8s.io", pattern=r"^\.[a-z0-9.-]+$", max_length=51)
    ami_owner: str = Field("819546954734", pattern=r"^[0-9]{12}$")
    ami_base_os: str = Field("ubuntu-24.04", pattern=r"^[a-z0-9.-]+$")
    labels: dict[str, str] = Field(default_factory=lambda: {"cni": "calico", "ccm": "external", "csi": "external"})
    kubernetes_version: str | None = Field(None, pattern=r"^v1\.[0-9]{1,2}\.[0-9]{1,2}$")
    ssh_key: str | None = Field(None, min_length=1, max_length=255)
    control_plane_type: str = "t3.large"
    worker_type: str = "m5.large"
    no_progress: float = Field(1800.0, gt=0, description="Seconds that a new cluster may stand still.")
    failure_grace: float = Field(300.0, ge=0, description="Seconds that the provider may go on trying after a failure.")
    supported_until: dict[Annotated[str, Field(pattern=r"^1\.[0-9]{1,2}$")], date] = Field(
        default_factory=dict,
        description="By minor version of Kubernetes: the last day on which the team calls it supported, where that is "
        "not the day of the Kubernetes project.",
    )
    shortest_life: float = Field(900.0, ge=60, description="Seconds: no cluster is given less time than this.")
    longest_life: float = Field(90 * 86_400.0, le=3650 * 86_400.0, description="Seconds: nor is it given more.")

    @model_validator(mode="after")
    def _fits(self) -> ClusterSettings:
        if self.shortest_life > self.longest_life:
            raise ValueError("`shortest_life` is more than `longest_life`")
        return self


class Bootstrap(Model):
    """The role by which the bot deploys its stack in one account that is onboarded."""

    role_arn: str = Field(pattern=ROLE_ARN)
    external_id: str | None = Field(None, pattern=EXTERNAL_ID, min_length=2, max_length=1224)


class Onboarding(Model):
    """How further accounts are brought in."""

    bootstrap: dict[AccountId, Bootstrap] = Field(
        default_factory=dict,
        description="By account id: the role by which the bot deploys the stack itself. In an account that is not "
        "here, a person deploys it.",
    )
    stack_name: str = Field("tkgbot-cluster-access", pattern=r"^[A-Za-z][A-Za-z0-9-]{0,127}$")
    reader_role: str = Field("tkgbot-reader", pattern=r"^[A-Za-z0-9_+=,.@-]{1,64}$")
    template_url: str | None = Field(
        None,
        pattern=r"^https://[a-z0-9.-]+\.amazonaws\.com(\.cn)?/\S+$",
        description="Where the team has put manifests/iam/secondary-account.yaml in S3, for the console's link.",
    )
    permissions_boundary: str | None = Field(
        None, pattern=r"^(arn:aws[a-z-]*:iam::([0-9]{12}|aws):policy/)?[A-Za-z0-9_+=,.@/-]+$"
    )
    organization_id: str | None = Field(None, pattern=r"^o-[a-z0-9]{10,32}$")
    controllers_principal: str | None = Field(None, pattern=PRINCIPAL_ARN)
    bot_principal: str | None = Field(None, pattern=PRINCIPAL_ARN)
    probe_namespace: str | None = Field(
        None,
        pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$",
        description="A namespace in which the bot may make a cluster without machines for a moment, so that the AWS "
        "provider itself says whether it gets into an account that is onboarded.",
    )
    person_patience: float = Field(3600.0, gt=0, description="Seconds that a person's stack is looked for.")
    propagation: float = Field(120.0, gt=0, description="Seconds that IAM may take to see a change everywhere.")

    @model_validator(mode="after")
    def _fits(self) -> Onboarding:
        for account, door in self.bootstrap.items():
            there = door.role_arn.split(":")[4]
            if there != account:
                raise ValueError(f"the bootstrap role of {account} is in account {there}")
        return self


HOST = r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?"
PART = r"/[a-z0-9]([a-z0-9._-]*[a-z0-9])?"
PREFIX = rf"^{HOST}({PART})*$"
IMAGE = rf"^{HOST}({PART})+(:[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})?(@sha256:[0-9a-f]{{64}})?$"
DRIVER = r"[0-9]{3}\.[0-9]{1,3}(\.[0-9]{1,3})?"
VERSION = r"v[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}"
OF_OUR_OWN = (
    "operator_version", "driver_version", "kernel_module", "toolkit_version", "device_plugin_version",
    "node_feature_discovery", "node_feature_discovery_version", "tolerations", "mirrors",
)  # fmt: skip
"""Settings that say what the bot's own objects are; a team's own files say it themselves."""
Registry = Annotated[
    str, Field(pattern=r"^(nvcr\.io|registry\.k8s\.io)$", description="`nvcr.io` or `registry.k8s.io`.")
]


class GpuSettings(Model):
    """What is put into workload clusters for their GPUs, and how they are tested. Versions that are left out are those
    that NVIDIA released together with the operator's."""

    namespace: str = Field("gpu-operator", pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")
    operator_version: str = Field("v26.7.0", pattern=rf"^{VERSION}$")
    driver_version: str | None = Field(
        None,
        pattern=rf"^(preinstalled|{DRIVER})$",
        description="Such as 580.126.20, the last branch for V100; `preinstalled` where the image has a driver.",
    )
    kernel_module: Literal["auto", "open", "proprietary"] = "auto"
    toolkit_version: str | None = Field(None, pattern=rf"^(preinstalled|{VERSION})$")
    device_plugin_version: str | None = Field(None, pattern=rf"^{VERSION}$")
    node_feature_discovery: bool = Field(True, description="`false` where clusters have it already.")
    node_feature_discovery_version: str | None = Field(None, pattern=rf"^{VERSION}$")
    tolerations: tuple[Toleration, ...] = Field(
        (), max_length=16, description="Further taints of GPU nodes; `nvidia.com/gpu` is always tolerated."
    )
    mirrors: dict[Registry, Annotated[str, Field(pattern=PREFIX, max_length=200)]] = Field(
        default_factory=dict, description="By registry: the prefix that stands in its place in every image's name."
    )
    manifests: tuple[Path, ...] = Field(
        (),
        max_length=2,
        description="The team's own files (a rendered chart; definitions and components), applied in place of the "
        "bot's own objects.",
    )
    test_image: str = Field("nvcr.io/nvidia/k8s/cuda-sample:vectoradd-cuda12.5.0-ubuntu22.04", pattern=IMAGE)
    test_timeout: int = Field(600, ge=1, le=7200, description="Seconds that a test may take on one node.")
    driver_patience: float = Field(1500.0, gt=0, description="Seconds that a driver may compile.")
    disk: int = Field(100, ge=50, le=16384, description="GiB of the root volumes of GPU nodes.")
    keep_jobs: int = Field(3600, ge=60, description="Seconds that a test's Job is kept, should it not be deleted.")

    @model_validator(mode="after")
    def _fits(self) -> GpuSettings:
        said = [name for name in OF_OUR_OWN if name in self.model_fields_set] if self.manifests else []
        if said:
            raise ValueError(f"with `manifests`, what is installed is in those files: leave out {', '.join(said)}")
        if self.node_feature_discovery_version and not self.node_feature_discovery:
            raise ValueError("`node_feature_discovery: false` does not use `node_feature_discovery_version`")
        return self


class OperationsSettings(Model):
    """The operations side's part of the settings file."""

    management_cluster: ManagementCluster | None = None
    clusters: ClusterSettings = ClusterSettings()
    onboarding: Onboarding = Onboarding()
    gpu: GpuSettings = GpuSettings()
    accounts: dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,30}$")], Account] = Field(min_length=1)
    default_account: str
    aws: AwsTuning = AwsTuning()

    @model_validator(mode="after")
    def _default_is_there(self) -> OperationsSettings:
        if self.default_account not in self.accounts:
            known = ", ".join(sorted(self.accounts))
            raise ValueError(f"default_account `{self.default_account}` is not one of the accounts: {known}")
        home = self.management_cluster.account if self.management_cluster else None
        if home is not None and home not in self.accounts:
            raise ValueError(f"management_cluster.account `{home}` is not one of the accounts")
        return self

    @property
    def home(self) -> str:
        """The account in which the management cluster's controllers have their rights."""
        return (self.management_cluster and self.management_cluster.account) or self.default_account
