"""What a cluster's objects wait for, by condition type, in the order of what depends on what.

Types: kubernetes-sigs/cluster-api-provider-aws, api/v1beta2/conditions_consts.go; kubernetes-sigs/cluster-api,
api/core/v1beta1 and v1beta2, api/controlplane/kubeadm/v1beta1 and v1beta2, condition constants.
"""

from __future__ import annotations

from handlers.conditions import Condition, Object, condition, text

Waits = tuple[tuple[str, str], ...]
"""Condition types, each with what is waited for while it is not as it should be."""

NETWORK: Waits = (
    ("PrincipalUsageAllowed", "leave to use its AWS identity in this namespace"),
    ("PrincipalCredentialRetrieved", "the credentials of its AWS account"),
    ("VpcReady", "its VPC"),
    ("SecondaryCidrsReady", "the VPC's further address ranges"),
    ("SubnetsReady", "its subnets"),
    ("InternetGatewayReady", "its internet gateway"),
    ("EgressOnlyInternetGatewayReady", "its egress-only internet gateway"),
    ("CarrierGatewayReady", "its carrier gateway"),
    ("NatGatewaysReady", "its NAT gateways"),
    ("RouteTablesReady", "its route tables"),
    ("VpcEndpointsReadyCondition", "its VPC endpoints"),
    ("ClusterSecurityGroupsReady", "its security groups"),
    ("BastionHostReady", "its bastion host"),
    ("LoadBalancerReady", "the load balancer of its API server"),
    ("S3BucketCreated", "its S3 bucket"),
    ("Ready", "its network to be ready"),
)
INSTANCE: Waits = (
    ("InstanceReady", "its EC2 instance"),
    ("SecurityGroupsReady", "its security groups"),
    ("ELBAttached", "its place behind the load balancer"),
    ("Ready", "its instance to be ready"),
)
BOOTSTRAP: Waits = (
    ("BootstrapReady", "its bootstrap data"),
    ("BootstrapConfigReady", "its bootstrap data"),
)
NODE: Waits = (
    ("NodeReady", "its node to be ready"),
    ("NodeHealthy", "its node to be healthy"),
)
PROBE: Waits = (("RemoteConnectionProbe", "the management cluster to reach its API"),)
TOPOLOGY: Waits = (("TopologyReconciled", "its topology to be carried out"),)
CONTROL_PLANE: Waits = (
    ("CertificatesAvailable", "its certificates"),
    ("MachinesCreated", "its machines to be created"),
)
HEALTH: Waits = (
    ("EtcdClusterHealthy", "etcd to be healthy"),
    ("ControlPlaneComponentsHealthy", "its components to be healthy"),
)
DEPLOYMENT: Waits = (("MachineSetReady", "its machines to be created"),)

REASONS = {
    "WaitingForClusterInfrastructure": "the cluster's network comes first",
    "WaitingForControlPlaneAvailable": "the control plane comes first",
    "WaitingForDataSecret": "it is being made",
    "WaitingForBootstrapData": "its bootstrap data comes first",
    "InstanceProvisionStarted": "the instance is starting",
    "InstanceNotReady": "the instance is not running yet",
    "InstanceNotFound": "EC2 does not know the instance",
    "InstanceTerminated": "the instance was terminated",
    "InstanceStopped": "the instance is stopped",
    "WaitForDNSName": "AWS has not given it a name yet",
    "WaitForDNSNameResolve": "its DNS name cannot be resolved yet",
    "NotReady": "",
    "ConnectionDown": "",
}
"""What reasons mean that come without a message; nothing where they only repeat that it is so."""

NO_NETWORK_PLUGIN = ("cni plugin not initialized", "NetworkPluginNotReady")
NO_CLOUD_CONTROLLER = ("node.cloudprovider.kubernetes.io/uninitialized",)


def bad(item: Object | None, waits: Waits) -> list[tuple[Condition, str]]:
    """The conditions that are there and not as they should be, in order, with what is waited for."""
    seen = [(condition(item, kind), what) for kind, what in waits]
    return [(found, what) for found, what in seen if found is not None and found.good is not True]


def telling(item: Object) -> Condition | None:
    """The condition of an AWSCluster or AWSMachine that tells most: the first that failed, else the first that is
    waited for."""
    found = [seen for seen, _ in bad(item, INSTANCE if text(item, "kind") == "AWSMachine" else NETWORK)]
    return next((seen for seen in found if seen.failed), found[0] if found else None)
