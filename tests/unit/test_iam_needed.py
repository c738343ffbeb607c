"""The tables of rights: more than TKG's own roles have, what is required of them, and the docs that show them."""

from __future__ import annotations

from pathlib import Path

import pytest

from handlers.iam.need import Need, named
from handlers.iam.needed import (
    CONTROL_PLANE,
    CONTROLLERS,
    EBS_CSI,
    NODES,
    TMC_READ,
    actions_in,
    actions_of,
    context_of,
    required,
    resources_of,
)  # fmt: skip
from handlers.iam.rights_table import HEADER, rows, table

DOCS = Path(__file__).parents[2] / "docs" / "iam.md"
TKG_CONTROLLERS = named("""
    ec2: AttachNetworkInterface DetachNetworkInterface AllocateAddress AssignIpv6Addresses AssignPrivateIpAddresses
    UnassignPrivateIpAddresses AssociateRouteTable AttachInternetGateway AuthorizeSecurityGroupIngress
    CreateInternetGateway CreateEgressOnlyInternetGateway CreateNatGateway CreateNetworkInterface CreateRoute
    CreateRouteTable CreateSecurityGroup CreateSubnet CreateTags CreateVpc ModifyVpcAttribute DeleteInternetGateway
    DeleteEgressOnlyInternetGateway DeleteNatGateway DeleteRouteTable ReplaceRoute DeleteSecurityGroup DeleteSubnet
    DeleteTags DeleteVpc DescribeAccountAttributes DescribeAddresses DescribeAvailabilityZones DescribeInstances
    DescribeInternetGateways DescribeEgressOnlyInternetGateways DescribeInstanceTypes DescribeImages DescribeNatGateways
    DescribeNetworkInterfaces DescribeNetworkInterfaceAttribute DescribeRouteTables DescribeSecurityGroups
    DescribeSubnets DescribeVpcs DescribeVpcAttribute DescribeVolumes DescribeTags DetachInternetGateway
    DisassociateRouteTable DisassociateAddress ModifyInstanceAttribute ModifyNetworkInterfaceAttribute
    ModifySubnetAttribute ReleaseAddress RevokeSecurityGroupIngress RunInstances TerminateInstances CreateLaunchTemplate
    CreateLaunchTemplateVersion DescribeLaunchTemplates DescribeLaunchTemplateVersions DeleteLaunchTemplate
    DeleteLaunchTemplateVersions DescribeKeyPairs
    tag: GetResources
    elasticloadbalancing: AddTags CreateLoadBalancer ConfigureHealthCheck DeleteLoadBalancer DeleteTargetGroup
    DescribeLoadBalancers DescribeLoadBalancerAttributes ApplySecurityGroupsToLoadBalancer DescribeTags
    ModifyLoadBalancerAttributes RegisterInstancesWithLoadBalancer DeregisterInstancesFromLoadBalancer RemoveTags
    autoscaling: DescribeAutoScalingGroups DescribeInstanceRefreshes CreateAutoScalingGroup UpdateAutoScalingGroup
    CreateOrUpdateTags StartInstanceRefresh DeleteAutoScalingGroup DeleteTags
    iam: CreateServiceLinkedRole PassRole
    secretsmanager: CreateSecret DeleteSecret TagResource
""")
"""The policy `controllers.tkg.cloud.vmware.com` (tanzu-framework 0.28)."""
TKG_CONTROL_PLANE = named("""
    autoscaling: DescribeAutoScalingGroups DescribeLaunchConfigurations DescribeTags
    ec2: AssignIpv6Addresses DescribeInstances DescribeImages DescribeRegions DescribeRouteTables DescribeSecurityGroups
    DescribeSubnets DescribeVolumes DescribeVpcs CreateSecurityGroup CreateTags CreateVolume ModifyInstanceAttribute
    ModifyVolume AttachVolume AuthorizeSecurityGroupIngress CreateRoute DeleteRoute DeleteSecurityGroup DeleteVolume
    DetachVolume RevokeSecurityGroupIngress
    elasticloadbalancing: AddTags AttachLoadBalancerToSubnets ApplySecurityGroupsToLoadBalancer CreateLoadBalancer
    CreateLoadBalancerPolicy CreateLoadBalancerListeners ConfigureHealthCheck DeleteLoadBalancer
    DeleteLoadBalancerListeners DescribeLoadBalancers DescribeLoadBalancerAttributes DetachLoadBalancerFromSubnets
    DeregisterInstancesFromLoadBalancer ModifyLoadBalancerAttributes RegisterInstancesWithLoadBalancer
    SetLoadBalancerPoliciesForBackendServer CreateListener CreateTargetGroup DeleteListener DeleteTargetGroup
    DeregisterTargets DescribeListeners DescribeLoadBalancerPolicies DescribeTargetGroups DescribeTargetHealth
    ModifyListener ModifyTargetGroup RegisterTargets SetLoadBalancerPoliciesOfListener
    iam: CreateServiceLinkedRole
    kms: DescribeKey
""")
"""The policy `control-plane.tkg.cloud.vmware.com`."""
TKG_NODES = named("""
    ec2: AssignIpv6Addresses DescribeInstances DescribeRegions CreateTags DescribeTags DescribeNetworkInterfaces
    DescribeInstanceTypes
    ecr: GetAuthorizationToken BatchCheckLayerAvailability GetDownloadUrlForLayer GetRepositoryPolicy
    DescribeRepositories ListImages BatchGetImage
    secretsmanager: DeleteSecret GetSecretValue
    ssm: UpdateInstanceInformation
    ssmmessages: CreateControlChannel OpenControlChannel CreateDataChannel OpenDataChannel
    s3: GetEncryptionConfiguration
""")
"""The policy `nodes.tkg.cloud.vmware.com`."""
NEWER = named("""
    ec2: DescribeIpamPools AllocateIpamPoolCidr AssociateVpcCidrBlock DisassociateVpcCidrBlock CreateCarrierGateway
    DeleteCarrierGateway DescribeCarrierGateways CreateVpcEndpoint ModifyVpcEndpoint DeleteVpcEndpoints
    DescribeVpcEndpoints DescribeDhcpOptions RevokeSecurityGroupEgress GetSecurityGroupsForVpc
    ModifyInstanceMetadataOptions
    elasticloadbalancing: DescribeTargetGroups SetSecurityGroups SetSubnets ModifyTargetGroupAttributes
    CreateTargetGroup DescribeListeners CreateListener DescribeTargetHealth RegisterTargets DeregisterTargets
    DeleteListener
    autoscaling: CancelInstanceRefresh DeleteLifecycleHook DescribeLifecycleHooks PutLifecycleHook
""")
"""What cluster-api-provider-aws 2.11 asks for besides."""


@pytest.mark.parametrize(
    ("needs", "theirs"),
    [(CONTROLLERS, TKG_CONTROLLERS + NEWER), (CONTROL_PLANE, TKG_CONTROL_PLANE), (NODES, TKG_NODES)],
)
def test_nothing_that_tkg_or_current_controllers_ask_for_is_missing(
    needs: tuple[Need, ...], theirs: tuple[str, ...]
) -> None:
    assert set(theirs) - set(actions_in(needs)) == set()


def test_no_action_is_listed_twice_for_the_same_thing() -> None:
    for needs in (CONTROLLERS, CONTROL_PLANE, NODES, EBS_CSI, TMC_READ):
        pairs = [(action, need.resources) for need in needs for action in need.actions]
        assert len(pairs) == len(set(pairs))


def test_the_control_plane_has_what_every_machine_has() -> None:
    assert set(actions_of("nodes")) < set(actions_of("control-plane"))
    assert list(actions_of("controllers")) == sorted(set(actions_of("controllers")))


def test_what_a_cluster_in_an_existing_vpc_cannot_do_without() -> None:
    must = set(actions_in(required("controllers")))
    assert {"ec2:RunInstances", "iam:PassRole", "elasticloadbalancing:CreateLoadBalancer", "ec2:CreateSecurityGroup",
            "secretsmanager:CreateSecret", "ec2:TerminateInstances"} <= must  # fmt: skip
    assert not {"ec2:CreateVpc", "ec2:CreateNatGateway", "autoscaling:CreateAutoScalingGroup"} & must
    assert not {"ec2:ModifyInstanceMetadataOptions", "iam:CreateServiceLinkedRole"} & must
    assert set(actions_in(required("nodes"))) >= {"secretsmanager:GetSecretValue", "ec2:DescribeInstances"}
    assert set(required("nodes")) < set(required("control-plane"))


def test_roles_of_tkg_are_enough_until_the_load_balancer_is_a_network_one() -> None:
    """What older roles lack of the required actions: nothing, with a classic load balancer."""
    assert set(actions_in(required("controllers"))) <= set(TKG_CONTROLLERS)
    assert set(actions_in(required("nodes"))) <= set(TKG_NODES)
    with_network = set(actions_in(required("controllers", network_load_balancer=True)))
    lacking = with_network - set(TKG_CONTROLLERS)
    assert {"elasticloadbalancing:CreateTargetGroup", "elasticloadbalancing:CreateListener"} <= lacking
    assert all(action.startswith("elasticloadbalancing:") for action in lacking)


def test_resources_are_arns_of_the_account() -> None:
    (passing,) = [need for need in CONTROLLERS if need.actions == ("iam:PassRole",)]
    assert resources_of(passing, partition="aws-cn", account="222222222222", suffix=".tkg.cloud.vmware.com") == (
        "arn:aws-cn:iam::222222222222:role/control-plane.tkg.cloud.vmware.com",
        "arn:aws-cn:iam::222222222222:role/nodes.tkg.cloud.vmware.com",
    )
    assert context_of(passing, partition="aws-cn") == {"iam:PassedToService": "ec2.amazonaws.com.cn"}
    assert context_of(passing, partition="aws-us-gov") == {"iam:PassedToService": "ec2.amazonaws.com"}
    assert context_of(CONTROLLERS[0], partition="aws") == {}
    assert resources_of(CONTROLLERS[0], partition="aws", account="222222222222", suffix="") == ("*",)


def test_the_docs_show_the_table() -> None:
    _, shown, _ = DOCS.read_text(encoding="utf-8").split("<!-- rights -->")
    assert shown.strip() == table()


def test_the_table_leaves_nothing_out() -> None:
    found = list(rows())
    assert {len(row) for row in found} == {len(HEADER)}
    assert not any("|" in cell or "\n" in cell or not cell for row in found for cell in row)
    roles = {row[0] for row in found}
    assert {"`tkgbot`", "`tkgbot-reader`", "`tkgbot-bootstrap`", "controllers", "control-plane"} <= roles
    text = table()
    names = [
        action.partition(":")[2] for action in actions_in(CONTROLLERS + CONTROL_PLANE + NODES + EBS_CSI + TMC_READ)
    ]
    assert [name for name in names if name not in text] == []
