"""The table of AWS's error texts: how each is known, what it means, and what to do.

Texts: Amazon EC2 API Reference, "Error codes"; Amazon EC2 User Guide, "Troubleshoot instance launch issues"; those of
the AWS provider itself: kubernetes-sigs/cluster-api-provider-aws, pkg/cloud/services/{ec2,network} at v2.11. The first
rule that fits is taken, so the narrow ones stand before the wide ones.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """One row of the table. `code` is AWS's, or a name of ours where AWS gives none; `pattern` is looked for anywhere
    in the message; `passes` when trying again by itself can be enough."""

    code: str
    pattern: str
    means: str
    fix: str
    passes: bool = False


LIMITS = (
    Rule(
        "VcpuLimitExceeded",
        r"VcpuLimitExceeded",
        "The account's vCPU quota for this family of instance types is used up in this region.",
        "Ask for more in the Service Quotas console (EC2, Running On-Demand instances), stop other instances of the "
        "family, or take a smaller type. The machine is tried again by itself.",
    ),
    Rule(
        "InstanceLimitExceeded",
        r"InstanceLimitExceeded",
        "The account may not run more instances of this type in this region.",
        "Ask for more in the Service Quotas console (EC2), or take another instance type.",
    ),
    Rule(
        "InsufficientInstanceCapacity",
        r"InsufficientInstanceCapacity",
        "AWS has no free capacity for this instance type in that zone at the moment; the quota is not the reason.",
        "Wait, as the machine is tried again by itself, or take another zone or another instance type.",
        passes=True,
    ),
    Rule(
        "InsufficientFreeAddressesInSubnet",
        r"InsufficientFreeAddressesInSubnet|not enough free addresses",
        "The subnet has no free IP address left.",
        "Free addresses in it (old network interfaces, idle instances), or use a larger subnet.",
    ),
    Rule(
        "MaxSpotInstanceCountExceeded",
        r"MaxSpotInstanceCountExceeded",
        "The account's quota for Spot instances of this family is used up.",
        "Ask for more in the Service Quotas console (EC2, Spot Instance Requests), or use On-Demand machines.",
    ),
    Rule(
        "LimitExceeded",
        r"(?:Address|Vpc|InternetGateway|NatGateway|SecurityGroup|Volume)LimitExceeded|TooManyLoadBalancers",
        "A quota of the account is used up in this region; AWS's own words name which.",
        "Ask for more in the Service Quotas console, or remove what is no longer used.",
    ),
    Rule(
        "RequestLimitExceeded",
        r"RequestLimitExceeded|\bThrottling(?:Exception)?\b|Rate exceeded|TooManyRequests",
        "AWS throttles the account: too many calls are made in this region.",
        "Wait: it is tried again by itself. If it goes on, find out who calls so often.",
        passes=True,
    ),
)

RIGHTS = (
    Rule(
        "ServiceControlPolicy",
        r"(?:UnauthorizedOperation|AccessDenied|not authorized to perform).*service control policy",
        "A service control policy of the AWS organisation forbids the call; no policy in the account can allow it.",
        "Ask those who run the organisation for an exception for this account, region or instance type.",
    ),
    Rule(
        "AssumeRoleDenied",
        r"(?:AccessDenied|not authorized to perform).*sts:AssumeRole",
        "The controllers' role may not take on the role of the other account.",
        "Both sides have to agree: the role's trust policy must name the controllers' role, and the controllers' own "
        "policy must allow sts:AssumeRole on it.",
    ),
    Rule(
        "UnauthorizedOperation",
        r"UnauthorizedOperation|AccessDenied|not authorized to perform",
        "The controllers' role lacks the right to make this call in AWS.",
        "Add the right to the controllers' role in that account; the Cluster API's own tool for it is "
        "`clusterawsadm bootstrap iam create-cloudformation-stack`.",
    ),
    Rule(
        "CredentialsRefused",
        r"ExpiredToken|InvalidClientTokenId|AuthFailure|SignatureDoesNotMatch|UnrecognizedClientException",
        "AWS does not accept the credentials of the controllers.",
        "The platform team has to renew the credentials that the AWS provider runs with.",
    ),
    Rule(
        "IdentityNotAllowed",
        r"Namespace is not permitted to use",
        "The identity by which the AWS provider gets into the account does not allow the cluster's namespace.",
        "The platform team has to add the namespace to the identity's spec.allowedNamespaces "
        "(AWSClusterControllerIdentity, or AWSClusterRoleIdentity for another account).",
    ),
    Rule(
        "IdentityNotFound",
        r"awscluster(?:controller|role|static)identit\S* \"[^\"]+\" not found",
        "The identity by which the AWS provider gets into the account is not on the management cluster.",
        "The platform team has to make it anew (AWSClusterControllerIdentity, or AWSClusterRoleIdentity for another "
        "account), with spec.allowedNamespaces.",
    ),
)

SETTINGS = (
    Rule(
        "InvalidKeyPair.NotFound",
        r"InvalidKeyPair\.NotFound",
        "The SSH key pair does not exist in this account and region.",
        "Import it in EC2 under that name, or name an existing one with --ssh-key. Where no name is set at all, the "
        "AWS provider asks for a key pair called `default`.",
    ),
    Rule(
        "InvalidAMIID.NotFound",
        r"InvalidAMIID\.(?:NotFound|Unavailable|Malformed)",
        "The machine image does not exist in this region, or is not shared with this account.",
        "Copy the image into the region or share it with the account, or leave it out to have one looked up.",
    ),
    Rule(
        "NoImageFound",
        r"found no AMIs|no AMIs? found|failed to (?:find|get|look ?up) ami",
        "There is no machine image for this Kubernetes version in the region.",
        "Use a Kubernetes version that has an image there, or name an image of your own.",
    ),
    Rule(
        "InstanceProfileNotFound",
        r"parameter iamInstanceProfile|Invalid IAM Instance Profile"
        r"|instance profile [^\n]{0,200}(?:not found|does not exist|cannot be found)",
        "The instance profile does not exist in this account.",
        "Create it with `clusterawsadm bootstrap iam create-cloudformation-stack` (TKG: `tanzu mc permissions aws "
        "set`), or correct the suffix of the profiles in the settings.",
    ),
    Rule(
        "Unsupported",
        r"\bUnsupported: |is not supported in your requested Availability Zone",
        "The instance type is not offered in the zone of that subnet.",
        "Use another instance type, or a zone that offers it; AWS's own words name them.",
    ),
    Rule(
        "Client.InternalError",
        r"Client\.InternalError|InvalidKMSKey|KMSKey[A-Za-z]*Fault|\bkms:[A-Za-z]+",
        "The machine ended at once, mostly because the KMS key of its encrypted disk cannot be used.",
        "Enable the key and let the controllers' role use it (kms:CreateGrant, kms:Decrypt, "
        "kms:GenerateDataKeyWithoutPlaintext).",
    ),
    Rule(
        "InvalidParameterValue",
        r"InvalidParameter(?:Value|Combination)|ValidationError|InvalidBlockDeviceMapping",
        "AWS does not accept a setting of the machine; its own words name which.",
        "Correct it in a new machine template: an existing template cannot be changed.",
    ),
)

NETWORK = (
    Rule(
        "InvalidSubnetID.NotFound",
        r"InvalidSubnetID\.NotFound",
        "The subnet does not exist in this account and region.",
        "Name subnets of the cluster's own VPC.",
    ),
    Rule(
        "InvalidVpcID.NotFound",
        r"InvalidVpcID\.NotFound",
        "The VPC does not exist in this account and region.",
        "Name a VPC of that account and region with --vpc; the VPC of an existing cluster cannot be changed.",
    ),
    Rule(
        "SubnetsOfVpc",
        r"specified but it doesn't exist in vpc|no subnets specified, you must specify",
        "The subnets that were named do not belong to the VPC.",
        "Name the VPC's own subnets, one private and one public in each zone.",
    ),
    Rule(
        "NoSubnetInZone",
        r"no (?:public |private )?subnets available",
        "The cluster has no private subnet in the zone of the machine.",
        "Add a private subnet of that zone to the cluster, or put the machines into a zone that has one.",
    ),
    Rule(
        "InvalidGroup",
        r"InvalidGroup\.[A-Za-z]+|InvalidSecurityGroupID\.[A-Za-z]+",
        "A security group of the cluster is gone, or belongs to another VPC.",
        "Find out who removed it; the AWS provider makes the cluster's own groups anew when it looks again.",
    ),
    Rule(
        "DependencyViolation",
        r"DependencyViolation",
        "Something in AWS still uses what should be removed, mostly a load balancer that a Service left behind.",
        "Find the network interfaces of that subnet or security group in EC2: their description names the owner. "
        "Remove the owner; do not remove finalizers.",
    ),
)

RULES = (*LIMITS, *RIGHTS, *NETWORK, *SETTINGS)
