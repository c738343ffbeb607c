"""What a cluster will look like in AWS: the machines, where they stand, and what they are made from.

Where the Cluster API's AWS provider puts a machine: into the first private subnet of its failure domain; a control
plane's machines are spread over the zones (pkg/cloud/services/ec2/instances.go there, findSubnet).
"""

from __future__ import annotations

from dataclasses import dataclass

from handlers.contract import unique
from handlers.network import Subnet
from handlers.subnet_scope import Where

CONTROL_PLANE = "control-plane"
"""The name of the pool that holds the control plane's machines."""
DISK, GPU_DISK = 80, 100
"""GiB of a root volume, where nothing else is said; of one for drivers and CUDA images."""


@dataclass(frozen=True)
class Pool:
    """Machines of one kind. `surge` is how many more there are during a roll; `zone` is the failure domain of a worker
    pool, None spreads the machines over all private subnets. `disk` is the root volume in GiB; `labels` and `taint`
    are what the nodes register with; `gpu` marks a pool that is there for its GPUs."""

    name: str
    count: int
    surge: int
    type: str
    zone: str | None
    disk: int = DISK
    labels: tuple[tuple[str, str], ...] = ()
    taint: bool = False
    gpu: bool = False

    @property
    def is_control_plane(self) -> bool:
        """True for the pool that holds the control plane."""
        return self.name == CONTROL_PLANE


@dataclass(frozen=True)
class Layout:
    """One cluster in an existing VPC. `ssh_key` None puts no key on the machines; `ami_id` None has the image looked up
    by owner, base OS and Kubernetes version; `instance_profiles` are those of the control plane and of the nodes."""

    cluster: str
    where: Where
    vpc: str
    public: tuple[Subnet, ...]
    private: tuple[Subnet, ...]
    pools: tuple[Pool, ...]
    production: bool
    ssh_key: str | None
    kubernetes_version: str
    ami_owner: str
    ami_base_os: str
    ami_id: str | None
    instance_profiles: tuple[str, str]

    @property
    def subnets(self) -> tuple[Subnet, ...]:
        """All subnets, the public ones first, each once."""
        return tuple({subnet.id: subnet for subnet in (*self.public, *self.private)}.values())

    @property
    def balancer_subnets(self) -> tuple[Subnet, ...]:
        """Where the API server's load balancer stands: without public subnets it is an internal one."""
        return self.public or self.private

    @property
    def types(self) -> tuple[str, ...]:
        """The instance types of pools that have machines, each once."""
        return unique([pool.type for pool in self.manned])

    @property
    def manned(self) -> tuple[Pool, ...]:
        """The pools that have machines."""
        return tuple(pool for pool in self.pools if pool.count > 0)

    def homes(self, pool: Pool) -> tuple[Subnet, ...]:
        """The private subnets that the machines of a pool come into: of a failure domain the first one takes all."""
        if pool.zone is None:
            return self.private
        return tuple(subnet for subnet in self.private if subnet.zone == pool.zone)[:1]

    def zones(self, pool: Pool) -> tuple[str, ...]:
        """The zones that machines of a pool come into."""
        return unique([pool.zone] if pool.zone else [subnet.zone for subnet in self.private])
