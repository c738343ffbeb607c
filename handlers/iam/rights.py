"""What the bot's own roles may do, and which operations need it. `manifests/iam/` grants just this.

The roles: `tkgbot` works in the management account, `tkgbot-reader` looks at an account that was onboarded, and
`tkgbot-bootstrap` deploys the stack there. Actions that only CloudFormation calls, with the rights of who executes a
change set, are those of its resource types. (AWS: CloudFormation resource provider schemas, "handlers".)
"""

from __future__ import annotations

from dataclasses import dataclass

from handlers.iam.need import named

EVERY = ("every operation",)
ACCOUNTS = ("account onboard", "account offboard", "account check")
TAGGING = ("subnet tag", "subnet untag", "cluster create", "cluster cleanup")
CLEANS = ("cluster cleanup",)
DEPLOYING = ("account onboard", "account offboard")


@dataclass(frozen=True)
class Right:
    """One statement of one role: `sid` is its Sid in the template, `on` says in words what it is about."""

    role: str
    sid: str
    actions: tuple[str, ...]
    on: str
    why: str
    operations: tuple[str, ...]


LOOKING = named(
    "ec2: Describe* elasticloadbalancing: Describe* servicequotas: GetServiceQuota GetAWSDefaultServiceQuota "
    "sts: GetCallerIdentity"
)
SUBNET_TAGS = named("ec2: CreateTags DeleteTags")
CLEANING = named(
    "ec2: TerminateInstances DeleteNetworkInterface ReleaseAddress DeleteVolume DeleteSecurityGroup "
    "RevokeSecurityGroupIngress RevokeSecurityGroupEgress elasticloadbalancing: DeleteLoadBalancer DeleteTargetGroup"
)
ON_LEFTOVERS = "everything, with `Cleanup`; a session of the bot only what carries the tag of the one cluster"
ON_SUBNETS = "subnets, with the tag keys `kubernetes.io/cluster/*`, `kubernetes.io/role/elb`, `…/internal-elb`"

BOT = (
    Right("tkgbot", "Plans", LOOKING, "everything", "plans, checks and reports", EVERY),
    Right(
        "tkgbot",
        "Rights",
        named(
            "iam: GetRole GetRolePolicy ListRolePolicies ListAttachedRolePolicies GetUser GetUserPolicy "
            "ListUserPolicies ListAttachedUserPolicies GetPolicy GetPolicyVersion GetInstanceProfile "
            "GetAccessKeyLastUsed SimulatePrincipalPolicy sts: GetAccessKeyInfo"
        ),
        "everything",
        "who the controllers are and what they may do; instance profiles of machines",
        (*ACCOUNTS, "cluster create"),
    ),
    Right("tkgbot", "SubnetTags", SUBNET_TAGS, ON_SUBNETS, "the tags of subnets", TAGGING),
    Right("tkgbot", "Leftovers", CLEANING, ON_LEFTOVERS, "what deleted clusters left", CLEANS),
    Right(
        "tkgbot",
        "Controllers",
        named("iam: PutRolePolicy DeleteRolePolicy PutUserPolicy DeleteUserPolicy"),
        "the principal of the controllers",
        "the inline policy `tkgbot-assume-secondary`",
        DEPLOYING,
    ),
    Right(
        "tkgbot",
        "OtherAccounts",
        named("sts: AssumeRole SetSourceIdentity TagSession"),
        "the roles `tkgbot-reader` and `tkgbot-bootstrap` of other accounts",
        "the way into an account, with the person's name in its CloudTrail",
        ("every operation in another account",),
    ),
)
"""`bot-management.yaml`."""

READER = (
    Right("tkgbot-reader", "Plans", LOOKING, "everything", "plans, checks and reports", EVERY),
    Right(
        "tkgbot-reader",
        "ClusterRoles",
        named("iam: GetRole GetRolePolicy ListRolePolicies ListAttachedRolePolicies SimulatePrincipalPolicy"),
        "the three cluster roles and itself",
        "trust and rights as they are",
        ACCOUNTS,
    ),
    Right(
        "tkgbot-reader",
        "ClusterPolicies",
        named("iam: GetPolicy GetPolicyVersion"),
        "the three cluster policies",
        "rights as they are",
        ACCOUNTS,
    ),
    Right(
        "tkgbot-reader",
        "ClusterProfiles",
        named("iam: GetInstanceProfile"),
        "the three instance profiles",
        "profiles that machines are started with",
        (*ACCOUNTS, "cluster create"),
    ),
    Right(
        "tkgbot-reader",
        "OwnStack",
        named("cloudformation: DescribeStacks DescribeStackEvents DescribeStackResources GetTemplate"),
        "its own stack",
        "is it there, and from which template",
        ACCOUNTS,
    ),
    Right("tkgbot-reader", "SubnetTags", SUBNET_TAGS, ON_SUBNETS, "the tags of subnets", TAGGING),
    Right("tkgbot-reader", "Leftovers", CLEANING, ON_LEFTOVERS, "what deleted clusters left", CLEANS),
)
"""The reader role of `secondary-account.yaml`."""

BOOTSTRAP = (
    Right(
        "tkgbot-bootstrap",
        "Account",
        named("sts: GetCallerIdentity ec2: DescribeRegions"),
        "everything",
        "is it the right account, and the region switched on",
        ("account onboard",),
    ),
    Right(
        "tkgbot-bootstrap",
        "Stack",
        named(
            "cloudformation: CreateChangeSet DescribeChangeSet ExecuteChangeSet DeleteChangeSet DescribeStacks "
            "DescribeStackEvents DescribeStackResources GetTemplate DeleteStack TagResource UntagResource"
        ),
        "the one stack",
        "the stack, by a change set",
        DEPLOYING,
    ),
    Right(
        "tkgbot-bootstrap",
        "RolesRead",
        named(
            "iam: GetRole GetRolePolicy ListRolePolicies ListAttachedRolePolicies ListInstanceProfilesForRole "
            "SimulatePrincipalPolicy"
        ),
        "the three cluster roles and the reader role",
        "roles that are there already, what they may do, and the trust before it is changed",
        DEPLOYING,
    ),
    Right(
        "tkgbot-bootstrap",
        "RolesKept",
        named("iam: UpdateRole UpdateRoleDescription UpdateAssumeRolePolicy DeleteRole TagRole UntagRole"),
        "the three cluster roles and the reader role",
        "the trust of the controllers; CloudFormation updates and deletes roles",
        DEPLOYING,
    ),
    Right(
        "tkgbot-bootstrap",
        "RolesMade",
        named("iam: CreateRole PutRolePermissionsBoundary PutRolePolicy DeleteRolePolicy"),
        "the three cluster roles and the reader role, only with the permissions boundary where one is given",
        "CloudFormation makes roles",
        DEPLOYING,
    ),
    Right(
        "tkgbot-bootstrap",
        "PoliciesAttached",
        named("iam: AttachRolePolicy DetachRolePolicy"),
        "the same, with the three cluster policies only",
        "CloudFormation attaches policies",
        DEPLOYING,
    ),
    Right(
        "tkgbot-bootstrap",
        "Policies",
        named(
            "iam: CreatePolicy CreatePolicyVersion DeletePolicy DeletePolicyVersion SetDefaultPolicyVersion GetPolicy "
            "GetPolicyVersion ListPolicyVersions ListEntitiesForPolicy TagPolicy UntagPolicy"
        ),
        "the three cluster policies",
        "CloudFormation makes, updates and deletes policies",
        DEPLOYING,
    ),
    Right(
        "tkgbot-bootstrap",
        "Profiles",
        named(
            "iam: CreateInstanceProfile DeleteInstanceProfile GetInstanceProfile AddRoleToInstanceProfile "
            "RemoveRoleFromInstanceProfile TagInstanceProfile UntagInstanceProfile"
        ),
        "the three instance profiles",
        "CloudFormation makes and deletes instance profiles",
        DEPLOYING,
    ),
    Right(
        "tkgbot-bootstrap",
        "RolesInProfiles",
        named("iam: PassRole"),
        "the three cluster roles",
        "CloudFormation puts roles into instance profiles",
        DEPLOYING,
    ),
)
"""`bootstrap.yaml`."""
