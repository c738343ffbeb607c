"""What a cluster's machines need beside a network: images, a key pair, instance profiles, and the controllers' rights.

Sources: the Cluster API AWS provider's book, "AMIs" (name pattern, owner account) and "Using clusterawsadm to fulfill
prerequisites" (roles and instance profiles), and the provider's IAM policy for its controllers.
"""

from __future__ import annotations

import hashlib
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sandbox.aws import emulator, roles

IMAGES_OWNER = "819546954734"
IMAGES = {version: ["x86_64"] for version in ("v1.31.9", "v1.32.5", "v1.33.1", "v1.34.1")}
IMAGES["v1.33.1"] = ["x86_64", "arm64"]
AMAZON, PLAIN_IMAGE = "137112412989", "ami-12345678"
KEY_PAIR = "ops"
SUFFIXES = ("cluster-api-provider-aws.sigs.k8s.io", "tkg.cloud.vmware.com")
ROLES = ("control-plane", "nodes", "controllers")
EC2_RIGHTS = (
    "ec2:Describe* ec2:RunInstances ec2:TerminateInstances ec2:StopInstances ec2:CreateTags ec2:DeleteTags "
    "ec2:CreateSecurityGroup ec2:DeleteSecurityGroup ec2:AuthorizeSecurityGroupIngress "
    "ec2:RevokeSecurityGroupIngress ec2:ModifyInstanceAttribute ec2:ModifyNetworkInterfaceAttribute"
)
BALANCER_RIGHTS = (
    "elasticloadbalancing:Describe* elasticloadbalancing:AddTags elasticloadbalancing:RemoveTags "
    "elasticloadbalancing:Create* elasticloadbalancing:Delete* elasticloadbalancing:Register* "
    "elasticloadbalancing:Deregister* elasticloadbalancing:ConfigureHealthCheck "
    "elasticloadbalancing:ModifyLoadBalancerAttributes elasticloadbalancing:ModifyTargetGroupAttributes "
    "elasticloadbalancing:SetSecurityGroups"
)


def controllers_rights() -> dict[str, list[str]]:
    """The controllers' grants: actions by the resources they hold for. No sts:AssumeRole, as in the stock policy."""
    return {
        f"{EC2_RIGHTS} {BALANCER_RIGHTS}": ["*"],
        "iam:PassRole": [f"arn:aws:iam::*:role/*.{suffix}" for suffix in SUFFIXES],
    }


def profiles(account: str) -> None:
    """Instance profiles and their roles, under the names that either provider setup gives them."""
    iam = emulator.iam_backends[account]["aws"]
    trust = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = roles.document(trust)
    for name in (f"{role}.{suffix}" for suffix in SUFFIXES for role in ROLES):
        iam.create_role(name, document, "/", None, "", [], None)
        iam.create_instance_profile(name, "/", [name])


def region(ec2: Any, name: str) -> None:
    """Images, a key pair, and VPCs in which names are resolved."""
    images(ec2, name)
    key_pair(ec2)
    for vpc in list(ec2.vpcs):
        ec2.modify_vpc_attribute(vpc, "enable_dns_support", "true")
        ec2.modify_vpc_attribute(vpc, "enable_dns_hostnames", "true")


def management(account: str, region_name: str, subnet_id: str) -> dict[str, str]:
    """The node of the management cluster on which the controllers run, and the roles that they can have.

    Its type counts in no quota that the sandbox has, and its address is given back to the subnet, so that it stands
    in nobody's way.
    """
    iam, ec2 = emulator.iam_backends[account]["aws"], emulator.ec2_backends[account][region_name]
    rights = roles.policy(controllers_rights())
    policy = iam.create_policy("", "/", rights, f"controllers.{SUFFIXES[0]}", [])
    for role in ("controllers", "control-plane"):
        iam.attach_role_policy(policy.arn, f"{role}.{SUFFIXES[0]}")
    issuer = f"oidc.eks.{region_name}.amazonaws.com/id/SANDBOX"
    trust = {
        "Effect": "Allow",
        "Principal": {"Federated": f"arn:aws:iam::{account}:oidc-provider/{issuer}"},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {"StringEquals": {f"{issuer}:sub": "system:serviceaccount:capa-system:capa-controller-manager"}},
    }
    service = iam.create_role("capa-irsa", roles.document(trust), "/", None, "", [], None)
    iam.put_role_policy("capa-irsa", "capa-irsa", rights)
    profile = iam.get_instance_profile(f"control-plane.{SUFFIXES[0]}")
    node = emulator.instance(ec2, PLAIN_IMAGE, "x2iedn.xlarge", subnet_id, profile)
    ec2.create_tags([node.id], {"Name": "management-0"})
    return {"instance": node.id, "zone": f"{region_name}a", "role": profile.roles[0].arn, "service_role": service.arn}


def key_pair(ec2: Any) -> None:
    public = Ed25519PrivateKey.generate().public_key()
    text = public.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    ec2.import_key_pair(KEY_PAIR, text, {})


def images(ec2: Any, region: str) -> None:
    """The provider's published ones, and one plain Linux: the same ids for everybody in a region."""
    wanted = [(version, kind) for version, kinds in IMAGES.items() for kind in kinds]
    for number, (version, kind) in enumerate(wanted):
        name = f"capa-ami-ubuntu-24.04-{version}-{1_750_000_000 + number}"
        image_id = f"ami-{hashlib.sha256(f'{region} {name}'.encode()).hexdigest()[:17]}"
        _image(ec2, image_id, name, kind, IMAGES_OWNER)
    _image(ec2, PLAIN_IMAGE, "al2023-ami-2023.7-kernel-6.1-x86_64", "x86_64", AMAZON)


def _image(ec2: Any, image_id: str, name: str, architecture: str, owner: str) -> None:
    image = ec2.register_image(name, "")
    image.owner_id, image.architecture = owner, architecture
    image.virtualization_type, image.root_device_type = "hvm", "ebs"
    image.launch_permissions.append({"Group": "all"})
    image.ebs_snapshot.owner_id = owner
    del ec2.amis[image.id]
    image.id = image_id
    ec2.amis[image_id] = image
