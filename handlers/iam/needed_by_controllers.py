"""What the Cluster API's AWS provider has to be allowed.

A superset of what `tanzu mc permissions aws` grants (tanzu-framework 0.28, tkg/aws/client.go) and, EKS apart, of what
current releases ask for (cluster-api-provider-aws 2.11, clusterawsadm's `default.yaml`).
"""

from __future__ import annotations

from handlers.iam.need import BALANCING_ROLE, MACHINE_ROLES, SCALING_GROUPS, SECRETS, Need, linked, named

CONTROLLERS = (
    Need(
        named(
            "ec2: RunInstances TerminateInstances DescribeInstances DescribeInstanceTypes DescribeImages "
            "DescribeVolumes ModifyInstanceAttribute DescribeNetworkInterfaces DescribeNetworkInterfaceAttribute "
            "ModifyNetworkInterfaceAttribute CreateTags DeleteTags DescribeTags"
        ),
        "machines",
        when="always",
    ),
    Need(
        ("iam:PassRole",),
        "machines with an instance profile",
        MACHINE_ROLES,
        "always",
        ("iam:PassedToService", "ec2.{url_suffix}"),
    ),
    Need(
        named("secretsmanager: CreateSecret DeleteSecret TagResource"),
        "bootstrap data of machines",
        (SECRETS,),
        "always",
    ),
    Need(
        named(
            "ec2: DescribeAvailabilityZones DescribeVpcs DescribeVpcAttribute DescribeSubnets DescribeRouteTables "
            "DescribeInternetGateways DescribeNatGateways"
        ),
        "the network that is there",
        when="always",
    ),
    Need(
        named(
            "ec2: DescribeSecurityGroups CreateSecurityGroup DeleteSecurityGroup AuthorizeSecurityGroupIngress "
            "RevokeSecurityGroupIngress"
        ),
        "security groups",
        when="always",
    ),
    Need(
        named(
            "elasticloadbalancing: CreateLoadBalancer DeleteLoadBalancer ConfigureHealthCheck DescribeLoadBalancers "
            "DescribeLoadBalancerAttributes ModifyLoadBalancerAttributes ApplySecurityGroupsToLoadBalancer "
            "RegisterInstancesWithLoadBalancer DeregisterInstancesFromLoadBalancer AddTags DescribeTags RemoveTags "
            "tag: GetResources"
        ),
        "the load balancer of the API server, and what a deleted cluster leaves behind",
        when="always",
    ),
    Need(
        named(
            "elasticloadbalancing: CreateListener DeleteListener DescribeListeners CreateTargetGroup "
            "DeleteTargetGroup DescribeTargetGroups DescribeTargetHealth ModifyTargetGroupAttributes RegisterTargets "
            "DeregisterTargets SetSecurityGroups SetSubnets"
        ),
        "the API server behind a network load balancer",
        when="network load balancer",
    ),
    BALANCING_ROLE,
    Need(
        named("ec2: RevokeSecurityGroupEgress GetSecurityGroupsForVpc"),
        "security groups with rules for the way out",
    ),
    Need(
        named("ec2: ModifyInstanceMetadataOptions DescribeKeyPairs DescribeAccountAttributes"),
        "the options of instances",
    ),
    Need(
        named(
            "ec2: CreateVpc DeleteVpc ModifyVpcAttribute AssociateVpcCidrBlock DisassociateVpcCidrBlock CreateSubnet "
            "DeleteSubnet ModifySubnetAttribute CreateRouteTable DeleteRouteTable AssociateRouteTable "
            "DisassociateRouteTable CreateRoute ReplaceRoute DescribeDhcpOptions"
        ),
        "a network of its own",
    ),
    Need(
        named(
            "ec2: CreateInternetGateway DeleteInternetGateway AttachInternetGateway DetachInternetGateway "
            "CreateEgressOnlyInternetGateway DeleteEgressOnlyInternetGateway DescribeEgressOnlyInternetGateways "
            "CreateCarrierGateway DeleteCarrierGateway DescribeCarrierGateways CreateNatGateway DeleteNatGateway "
            "AllocateAddress ReleaseAddress DisassociateAddress DescribeAddresses CreateVpcEndpoint ModifyVpcEndpoint "
            "DeleteVpcEndpoints DescribeVpcEndpoints"
        ),
        "gateways, addresses and endpoints of a network of its own",
    ),
    Need(
        named(
            "ec2: CreateNetworkInterface AttachNetworkInterface DetachNetworkInterface AssignIpv6Addresses "
            "AssignPrivateIpAddresses UnassignPrivateIpAddresses DescribeIpamPools AllocateIpamPoolCidr"
        ),
        "network interfaces and address pools",
    ),
    Need(
        named(
            "ec2: CreateLaunchTemplate CreateLaunchTemplateVersion DescribeLaunchTemplates "
            "DescribeLaunchTemplateVersions DeleteLaunchTemplate DeleteLaunchTemplateVersions autoscaling: "
            "DescribeAutoScalingGroups DescribeInstanceRefreshes DescribeLifecycleHooks"
        ),
        "machine pools",
    ),
    Need(
        named(
            "autoscaling: CreateAutoScalingGroup UpdateAutoScalingGroup DeleteAutoScalingGroup CreateOrUpdateTags "
            "DeleteTags StartInstanceRefresh CancelInstanceRefresh PutLifecycleHook DeleteLifecycleHook"
        ),
        "the scaling groups of machine pools",
        (SCALING_GROUPS,),
    ),
    linked(
        "autoscaling.amazonaws.com",
        "AWSServiceRoleForAutoScaling",
        "the first machine pool of the account",
    ),
    linked(
        "spot.amazonaws.com",
        "AWSServiceRoleForEC2Spot",
        "the first spot machine of the account",
    ),
)
"""The Cluster API's AWS provider, in the account where the cluster is."""
