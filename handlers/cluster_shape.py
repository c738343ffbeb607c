"""From a command's words to a cluster's layout: which subnets, which machines, which versions.

A dev cluster has one control plane machine in one zone, a prod cluster three in three; workers of a prod cluster are
divided over three pools, one a zone, the remainder to the first ones. (vmware-tanzu/tanzu-framework v0.28.3,
tkg/client/validate.go, DistributeMachineDeploymentWorkers.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, model_validator

from handlers.contract import Arguments, AwsRead, ClusterDefaults, Positional, UsageError, Variable, unique
from handlers.network import Subnet, subnets_by_id, subnets_of_vpc
from handlers.preflight import Layout, Pool
from handlers.preflight.gpu_table import is_gpu_family
from handlers.preflight.layout import CONTROL_PLANE, DISK, GPU_DISK
from handlers.preflight.machines import zones_of
from handlers.subnet_scope import Where
from handlers.time_box import Ttl
from handlers.words import (
    AccountName,
    ClusterName,
    GpuMachines,
    InstanceType,
    KeyPair,
    KubernetesVersion,
    Namespace,
    NodeLabels,
    Region,
    SubnetList,
    VpcId,
)

ZONES = {"dev": 1, "prod": 3}
WORKERS = {"dev": 1, "prod": 3}
PROFILES = ("control-plane", "nodes")
GPU_POOL = "md-gpu"
"""The name of the pool of GPU machines, after the cluster's."""


class CreateArguments(Arguments):
    """A cluster in an existing VPC."""

    cluster: Annotated[ClusterName, Positional(), Variable("CLUSTER_NAME")] = Field(
        description="The name of the new cluster."
    )
    plan: Annotated[Literal["dev", "prod"], Variable("CLUSTER_PLAN")] = Field(
        description="dev: one control plane machine; prod: three, in three zones."
    )
    vpc: Annotated[VpcId, Variable("AWS_VPC_ID")] = Field(description="The VPC that it comes into.")
    namespace: Namespace = Field("default", description="The namespace on the management cluster.")
    account: AccountName | None = Field(None, description="The AWS account, by its name in the settings.")
    region: Annotated[Region | None, Variable("AWS_REGION")] = Field(
        None, description="The AWS region; the account's own when left out."
    )
    kubernetes_version: KubernetesVersion | None = Field(None, description="The Kubernetes version.")
    public_subnets: SubnetList | None = Field(None, description="For load balancers; found in the VPC when left out.")
    private_subnets: SubnetList | None = Field(None, description="For machines; found in the VPC when left out.")
    workers: Annotated[int | None, Variable("WORKER_MACHINE_COUNT")] = Field(
        None, ge=0, le=500, description="How many workers; dev 1, prod 3 when left out."
    )
    worker_type: Annotated[InstanceType | None, Variable("NODE_MACHINE_TYPE")] = Field(
        None, description="The workers' instance type; one with GPUs makes all of them GPU nodes."
    )
    control_plane_type: Annotated[InstanceType | None, Variable("CONTROL_PLANE_MACHINE_TYPE")] = Field(
        None, description="The control plane's instance type."
    )
    ssh_key: Annotated[KeyPair | None, Variable("AWS_SSH_KEY_NAME")] = Field(
        None, description="The EC2 key pair for the machines; none when left out."
    )
    gpu: GpuMachines | None = Field(
        None, description="A pool of GPU workers beside the others: the type, and how many after a colon."
    )
    gpu_taint: bool = Field(False, description="Keep pods without a toleration for nvidia.com/gpu off the GPU pool.")
    gpu_labels: NodeLabels | None = Field(None, description="Labels for the nodes of the GPU pool.")
    ttl: Ttl | None = Field(
        None, description="How long it lives once it is made (30m, 8h, 2d); then a request deletes it."
    )

    @model_validator(mode="after")
    def _production_is_spread(self) -> CreateArguments:
        if self.plan == "prod" and self.workers is not None and self.workers < ZONES["prod"]:
            raise ValueError("asks for fewer than 3 workers: a prod cluster has one in each of three zones, at least")
        if self.gpu is None and (self.gpu_taint or self.gpu_labels):
            raise ValueError("says what a GPU pool is like, and names none: add --gpu and an instance type")
        return self

    @property
    def gpu_machines(self) -> tuple[str, int] | None:
        """The type and the number of the GPU pool's machines."""
        if self.gpu is None:
            return None
        kind, _, count = self.gpu.partition(":")
        return kind, int(count or 1)


def layout_of(
    arguments: CreateArguments, where: Where, defaults: ClusterDefaults, aws: AwsRead, *, gpu_disk: int = GPU_DISK
) -> Layout:
    """The layout that the words mean; `gpu_disk` is the root volume of machines with GPUs (GiB). UsageError where
    neither the command nor the settings name a version."""
    version = arguments.kubernetes_version or defaults.kubernetes_version
    if version is None:
        hint = "Add `--kubernetes-version`, or have the platform team set `operations.clusters.kubernetes_version`."
        raise UsageError("No Kubernetes version is named, and the settings have no default.", hint)
    public, private = _subnets(arguments, aws)
    return Layout(
        cluster=arguments.cluster,
        where=where,
        vpc=arguments.vpc,
        public=public,
        private=private,
        pools=(*_pools(arguments, defaults, private, gpu_disk), *_gpu_pool(arguments, private, gpu_disk, aws)),
        production=arguments.plan == "prod",
        ssh_key=arguments.ssh_key or defaults.ssh_key,
        kubernetes_version=version,
        ami_owner=defaults.ami_owner,
        ami_base_os=defaults.ami_base_os,
        ami_id=None,
        instance_profiles=(f"{PROFILES[0]}{defaults.iam_suffix}", f"{PROFILES[1]}{defaults.iam_suffix}"),
    )


def machines_of(arguments: CreateArguments) -> int:
    """How many machines the words ask for, control plane and workers together."""
    workers = WORKERS[arguments.plan] if arguments.workers is None else arguments.workers
    _, gpus = arguments.gpu_machines or ("", 0)
    return ZONES[arguments.plan] + workers + gpus


def named_subnets(arguments: CreateArguments) -> tuple[str, ...]:
    """Every subnet that the command names."""
    return unique([*_ids(arguments.public_subnets), *_ids(arguments.private_subnets)])


def _subnets(arguments: CreateArguments, aws: AwsRead) -> tuple[tuple[Subnet, ...], tuple[Subnet, ...]]:
    """The named ones; where none are named, those of the VPC, one a zone, in as many zones as the plan wants. Zones
    that have both kinds come first: a machine whose zone has no public subnet is not reached by the load balancer."""
    public, private = _ids(arguments.public_subnets), _ids(arguments.private_subnets)
    by_id = {subnet.id: subnet for subnet in subnets_by_id(aws, unique([*public, *private]))}
    around = [] if public and private else subnets_of_vpc(aws, arguments.vpc)
    seen_public = [by_id[name] for name in public if name in by_id] or _by_zone(around, public=True)
    seen_private = [by_id[name] for name in private if name in by_id] or _by_zone(around, public=False)
    both = {subnet.zone for subnet in seen_public} & {subnet.zone for subnet in seen_private}
    zones = sorted({subnet.zone for subnet in seen_private}, key=lambda zone: (zone not in both, zone))
    chosen = zones[: ZONES[arguments.plan]]
    if not private:
        seen_private = [subnet for subnet in seen_private if subnet.zone in chosen]
    if not public:
        seen_public = [subnet for subnet in seen_public if subnet.zone in {subnet.zone for subnet in seen_private}]
    return tuple(seen_public), tuple(seen_private)


def _by_zone(subnets: Sequence[Subnet], *, public: bool) -> list[Subnet]:
    """The first subnet of its kind in each zone. One that is public through the main route table only is neither: the
    provider takes it for private, and the cloud provider for public."""
    routes = ("public",) if public else ("private",)
    first: dict[str, Subnet] = {}
    for subnet in subnets:
        if subnet.route in routes:
            first.setdefault(subnet.zone, subnet)
    return [first[zone] for zone in sorted(first)]


def _pools(
    arguments: CreateArguments, defaults: ClusterDefaults, private: tuple[Subnet, ...], gpu_disk: int
) -> tuple[Pool, ...]:
    control = arguments.control_plane_type or defaults.control_plane_type
    kind = arguments.worker_type or defaults.worker_type
    count = WORKERS[arguments.plan] if arguments.workers is None else arguments.workers
    pools = [Pool(CONTROL_PLANE, ZONES[arguments.plan], 1, control, None)]
    seen = unique([subnet.zone for subnet in private])
    zones: list[str | None] = [*seen, *[None] * ZONES[arguments.plan]][: ZONES[arguments.plan]]
    for number, zone in enumerate(zones):
        share = count // len(zones) + (number < count % len(zones))
        pools.append(Pool(f"md-{number}", share, 1, kind, zone, gpu_disk if is_gpu_family(kind) else DISK))
    return tuple(pools)


def _gpu_pool(arguments: CreateArguments, private: tuple[Subnet, ...], gpu_disk: int, aws: AwsRead) -> tuple[Pool, ...]:
    """In one zone: the first of the cluster's that has the type. GPUs are not offered everywhere."""
    if arguments.gpu_machines is None:
        return ()
    kind, count = arguments.gpu_machines
    zones = unique([subnet.zone for subnet in private])
    offered = zones_of([kind], aws).get(kind, set())
    zone = next((zone for zone in zones if zone in offered), zones[0] if zones else None)
    labels = tuple((key, value) for key, _, value in (pair.partition("=") for pair in _ids(arguments.gpu_labels)))
    return (Pool(GPU_POOL, count, 1, kind, zone, gpu_disk, labels, arguments.gpu_taint, gpu=True),)


def _ids(listed: str | None) -> tuple[str, ...]:
    return unique(listed.split(",")) if listed else ()
