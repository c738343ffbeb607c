"""The bot's ways into accounts: whom its user may become, what its role reads of IAM, and a bootstrap role.

Sources: IAM User Guide "Actions, resources, and condition keys" of IAM, STS and CloudFormation.
"""

from __future__ import annotations

import json
from typing import Any

from sandbox.aws import emulator

ASSUME = "sts:AssumeRole sts:SetSourceIdentity sts:TagSession"
OURS = "arn:aws:iam::*:role/tkgbot*"
BOOTSTRAP, BOOTSTRAP_ID = "tkgbot-bootstrap", "sandbox-bootstrap"
SUFFIXES = ("cluster-api-provider-aws.sigs.k8s.io", "tkg.cloud.vmware.com")
IAM_READS = (
    "iam:GetRole iam:GetRolePolicy iam:ListRolePolicies iam:ListAttachedRolePolicies iam:GetPolicy "
    "iam:GetPolicyVersion iam:GetUser iam:GetUserPolicy iam:ListUserPolicies iam:ListAttachedUserPolicies "
    "iam:GetAccessKeyLastUsed iam:SimulatePrincipalPolicy iam:GetInstanceProfile sts:GetAccessKeyInfo"
)
STACK_RIGHTS = (
    "cloudformation:CreateStack cloudformation:UpdateStack cloudformation:DeleteStack cloudformation:CreateChangeSet "
    "cloudformation:ExecuteChangeSet cloudformation:DeleteChangeSet cloudformation:DescribeChangeSet "
    "cloudformation:DescribeStacks cloudformation:DescribeStackEvents cloudformation:DescribeStackResources "
    "cloudformation:ListStackResources cloudformation:GetTemplate cloudformation:TagResource"
)
IAM_RIGHTS = (
    "iam:CreateRole iam:DeleteRole iam:GetRole iam:UpdateRole iam:TagRole iam:UntagRole iam:ListRoleTags "
    "iam:UpdateAssumeRolePolicy iam:PutRolePolicy iam:DeleteRolePolicy iam:GetRolePolicy iam:ListRolePolicies "
    "iam:AttachRolePolicy iam:DetachRolePolicy iam:ListAttachedRolePolicies iam:PutRolePermissionsBoundary "
    "iam:DeleteRolePermissionsBoundary iam:CreateInstanceProfile iam:DeleteInstanceProfile iam:GetInstanceProfile "
    "iam:ListInstanceProfilesForRole iam:AddRoleToInstanceProfile iam:RemoveRoleFromInstanceProfile "
    "iam:CreatePolicy iam:DeletePolicy iam:GetPolicy iam:GetPolicyVersion iam:ListPolicyVersions "
    "iam:CreatePolicyVersion iam:DeletePolicyVersion iam:ListEntitiesForPolicy iam:PassRole "
    "iam:SimulatePrincipalPolicy"
)
STACKS = ("tkgbot-*", "tkg-*", "cluster-api-*")
KINDS = ("role", "instance-profile", "policy")


def document(*statements: Any) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def policy(grants: dict[str, list[str]]) -> str:
    """Actions, in one string with blanks between them, by the resources that they hold for."""
    return document(*({"Effect": "Allow", "Action": actions.split(), "Resource": on} for actions, on in grants.items()))


def bot_reads_iam(account: str) -> None:
    """What onboarding looks at in the management account, and the principals whose inline policy it may write."""
    grants = {
        IAM_READS: ["*"],
        ASSUME: [OURS],
        "iam:PutRolePolicy iam:DeleteRolePolicy": [
            f"arn:aws:iam::{account}:role/{name}" for name in ("control-plane.*", "capa-irsa")
        ],
        "iam:PutUserPolicy iam:DeleteUserPolicy": [f"arn:aws:iam::{account}:user/capa-controllers"],
    }
    emulator.iam_backends[account]["aws"].put_role_policy("tkgbot", "tkgbot-onboarding", policy(grants))


def bootstrap(account: str, bot: str) -> dict[str, str]:
    """A role with which the bot deploys its own stack in an account, and mends the trust of the controllers' role."""
    trust = {
        "Effect": "Allow",
        "Principal": {"AWS": bot},
        "Action": ASSUME.split(),
        "Condition": {"StringEquals": {"sts:ExternalId": BOOTSTRAP_ID}},
    }
    home = f"arn:aws:iam::{account}"
    names = [f"*.{suffix}" for suffix in SUFFIXES] + ["tkgbot-*"]
    grants = {
        "sts:GetCallerIdentity ec2:Describe* cloudformation:ListStacks cloudformation:ValidateTemplate": ["*"],
        STACK_RIGHTS: [f"arn:aws:cloudformation:*:{account}:stack/{name}/*" for name in STACKS],
        IAM_RIGHTS: [f"{home}:{kind}/{name}" for kind in KINDS for name in names],
    }
    iam = emulator.iam_backends[account]["aws"]
    role = iam.create_role(BOOTSTRAP, document(trust), "/", None, "", [], None)
    iam.put_role_policy(BOOTSTRAP, BOOTSTRAP, policy(grants))
    return {"role_arn": str(role.arn), "external_id": BOOTSTRAP_ID}
