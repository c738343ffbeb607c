"""What the machines of a cluster have to be allowed.

A superset of what `tanzu mc permissions aws` and clusterawsadm grant, with what the current cloud provider and storage
driver ask for (cloud-provider-aws, docs/prerequisites.md; aws-ebs-csi-driver, docs/example-iam-policy.json).
"""

from __future__ import annotations

from handlers.iam.need import BALANCING_ROLE, SECRETS, Need, named

CONTROL_PLANE = (
    Need(
        named(
            "ec2: DescribeInstances DescribeRegions DescribeAvailabilityZones DescribeVpcs DescribeSubnets "
            "DescribeRouteTables DescribeSecurityGroups CreateTags"
        ),
        "nodes and where they are",
        when="always",
    ),
    Need(
        named(
            "elasticloadbalancing: CreateLoadBalancer DeleteLoadBalancer DescribeLoadBalancers "
            "DescribeLoadBalancerAttributes ModifyLoadBalancerAttributes CreateLoadBalancerListeners "
            "DeleteLoadBalancerListeners ConfigureHealthCheck RegisterInstancesWithLoadBalancer "
            "DeregisterInstancesFromLoadBalancer ApplySecurityGroupsToLoadBalancer AttachLoadBalancerToSubnets "
            "DetachLoadBalancerFromSubnets AddTags ec2: CreateSecurityGroup DeleteSecurityGroup "
            "AuthorizeSecurityGroupIngress RevokeSecurityGroupIngress ModifyInstanceAttribute"
        ),
        "Services of type LoadBalancer",
        when="always",
    ),
    Need(
        named(
            "elasticloadbalancing: CreateLoadBalancerPolicy DescribeLoadBalancerPolicies "
            "SetLoadBalancerPoliciesForBackendServer SetLoadBalancerPoliciesOfListener"
        ),
        "Services of type LoadBalancer with the proxy protocol or TLS",
    ),
    Need(
        named(
            "elasticloadbalancing: CreateListener DeleteListener ModifyListener DescribeListeners CreateTargetGroup "
            "DeleteTargetGroup ModifyTargetGroup ModifyTargetGroupAttributes DescribeTargetGroups "
            "DescribeTargetGroupAttributes DescribeTargetHealth RegisterTargets DeregisterTargets SetSecurityGroups"
        ),
        "Services behind a network load balancer",
    ),
    BALANCING_ROLE,
    Need(
        named("ec2: CreateRoute DeleteRoute"),
        "routes to pods, where the network plugin wants them",
    ),
    Need(
        named("ec2: DescribeImages DescribeInstanceTopology AssignIpv6Addresses"),
        "labels and addresses of nodes",
    ),
    Need(
        named("ec2: CreateVolume DeleteVolume ModifyVolume AttachVolume DetachVolume DescribeVolumes kms: DescribeKey"),
        "volumes of the storage driver that was part of Kubernetes",
    ),
    Need(
        named("autoscaling: DescribeAutoScalingGroups DescribeLaunchConfigurations DescribeTags"),
        "the cluster autoscaler",
    ),
)
"""The cloud provider on the control plane's machines."""

NODES = (
    Need(
        named("ec2: DescribeInstances DescribeRegions"),
        "a node that finds out about itself",
        when="always",
    ),
    Need(
        named("secretsmanager: GetSecretValue DeleteSecret"),
        "bootstrap data of the machine itself",
        (SECRETS,),
        "always",
    ),
    Need(
        named("ec2: AssignIpv6Addresses CreateTags DescribeTags DescribeNetworkInterfaces DescribeInstanceTypes"),
        "network plugins",
    ),
    Need(
        named(
            "ecr: GetAuthorizationToken BatchCheckLayerAvailability GetDownloadUrlForLayer GetRepositoryPolicy "
            "DescribeRepositories ListImages BatchGetImage"
        ),
        "images from the registry of the account",
    ),
    Need(
        named(
            "ssm: UpdateInstanceInformation ssmmessages: CreateControlChannel CreateDataChannel OpenControlChannel "
            "OpenDataChannel s3: GetEncryptionConfiguration"
        ),
        "a shell on a machine by Session Manager",
    ),
)
"""Every machine of a cluster, the control plane's too."""

EBS_CSI = (
    Need(
        named(
            "ec2: CreateVolume DeleteVolume ModifyVolume AttachVolume DetachVolume CreateSnapshot DeleteSnapshot "
            "CreateTags DeleteTags DescribeAvailabilityZones DescribeInstances DescribeSnapshots DescribeTags "
            "DescribeVolumes DescribeVolumesModifications DescribeVolumeStatus"
        ),
        "volumes of the EBS CSI driver",
    ),
)
"""The storage driver on the control plane's machines (parameter EbsCsi)."""

TMC_READ = (
    Need(
        named(
            "ec2: DescribeAddresses DescribeAvailabilityZones DescribeInstanceTypeOfferings DescribeInstanceTypes "
            "DescribeKeyPairs DescribeNatGateways DescribeRouteTables DescribeSubnets DescribeVpcs "
            "elasticloadbalancing: DescribeLoadBalancers iam: GetPolicy GetPolicyVersion ListAttachedRolePolicies "
            "ListRoleTags servicequotas: ListServiceQuotas"
        ),
        "Tanzu Mission Control looks at the account",
    ),
)
"""Tanzu Mission Control, from the machines of a cluster that it manages (parameter TmcRead)."""
