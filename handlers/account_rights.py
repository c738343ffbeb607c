"""The IAM actions that each step of bringing an account in needs: its session holds just these.

CloudFormation acts with the rights of whoever carries out the change set, so its step declares the IAM actions of the
stack's resources, on exactly their names. (AWS CloudFormation User Guide: "Control access with IAM".)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from handlers.contract import Action, Door

SIMULATE = ("iam:GetRole", "iam:GetInstanceProfile", "iam:SimulatePrincipalPolicy")


@dataclass(frozen=True)
class Names:
    """What the stack's things are called in one account."""

    partition: str
    account_id: str
    suffix: str
    reader: str
    stack: str

    def roles(self) -> tuple[str, ...]:
        """ARN patterns of the roles."""
        return tuple(f"{self._iam}:role/{name}" for name in (f"*{self.suffix}", self.reader))

    def _arns(self, *kinds: str) -> tuple[str, ...]:
        return tuple(f"{self._iam}:{kind}/*{self.suffix}" for kind in kinds)

    @property
    def _iam(self) -> str:
        return f"arn:{self.partition}:iam::{self.account_id}"

    def profiles_and_policies(self) -> tuple[str, ...]:
        """ARN patterns of the instance profiles and managed policies."""
        return self._arns("instance-profile", "policy")

    def stacks(self, region: str) -> tuple[str, ...]:
        """ARN pattern of the stack."""
        return (f"arn:{self.partition}:cloudformation:{region}:{self.account_id}:stack/{self.stack}/*",)


MAKE = (
    "cloudformation:*ChangeSet", "cloudformation:DescribeStack*", "cloudformation:GetTemplate",
    "cloudformation:TagResource", "cloudformation:UntagResource",
)  # fmt: skip
"""With wildcards, because a plan's rights in one account have to fit into one session policy; the bootstrap role's own
policy names each action."""
DROP = ("cloudformation:DeleteStack", "cloudformation:DescribeStack*")
ROLE_ACTIONS = (
    "iam:CreateRole", "iam:GetRole", "iam:UpdateRole", "iam:UpdateRoleDescription", "iam:DeleteRole", "iam:TagRole",
    "iam:UntagRole", "iam:PassRole",
    "iam:UpdateAssumeRolePolicy", "iam:PutRolePolicy", "iam:GetRolePolicy", "iam:DeleteRolePolicy",
    "iam:AttachRolePolicy", "iam:DetachRolePolicy", "iam:ListAttachedRolePolicies", "iam:ListRolePolicies",
    "iam:PutRolePermissionsBoundary", "iam:ListInstanceProfilesForRole",
)  # fmt: skip
OTHER_ACTIONS = (
    "iam:CreateInstanceProfile", "iam:GetInstanceProfile", "iam:DeleteInstanceProfile", "iam:AddRoleToInstanceProfile",
    "iam:RemoveRoleFromInstanceProfile", "iam:CreatePolicy", "iam:GetPolicy", "iam:DeletePolicy",
    "iam:CreatePolicyVersion", "iam:DeletePolicyVersion", "iam:SetDefaultPolicyVersion", "iam:GetPolicyVersion",
    "iam:ListPolicyVersions", "iam:ListEntitiesForPolicy", "iam:TagPolicy", "iam:UntagPolicy", "iam:TagInstanceProfile",
    "iam:UntagInstanceProfile",
)  # fmt: skip


def stack_actions(door: Door, names: Names, *, drop: bool = False) -> tuple[Action, ...]:
    """For making, updating or deleting the stack."""
    return (
        *_on(door, DROP if drop else MAKE, names.stacks(door.region)),
        *_on(door, ROLE_ACTIONS, names.roles()),
        *_on(door, OTHER_ACTIONS, names.profiles_and_policies()),
    )


def trust_actions(door: Door, role_arn: str, *, write: bool) -> tuple[Action, ...]:
    """For reading, and writing, the trust of one role."""
    wanted = ("iam:GetRole", "iam:UpdateAssumeRolePolicy") if write else ("iam:GetRole",)
    return _on(door, wanted, (role_arn,))


def grant_actions(account: str, region: str, principal: str, kind: Literal["role", "user"]) -> tuple[Action, ...]:
    """For the bot's own inline policy on the controllers' principal."""
    what = "Role" if kind == "role" else "User"
    names = tuple(f"iam:{verb}{what}Policy" for verb in ("Get", "Put", "Delete"))
    return tuple(Action(name=name, account=account, region=region, resources=(principal,)) for name in names)


def look_actions(door: Door) -> tuple[Action, ...]:
    """For looking through the reader role, whose own policy is the limit."""
    return _on(door, ("sts:GetCallerIdentity", *SIMULATE), ("*",))


def home_look_actions(account: str, region: str) -> tuple[Action, ...]:
    """For simulating the controllers' principal in the management account."""
    return (Action(name="iam:SimulatePrincipalPolicy", account=account, region=region),)


def _on(door: Door, actions: tuple[str, ...], resources: tuple[str, ...]) -> tuple[Action, ...]:
    return tuple(Action(name=action, account=door.name, region=door.region, resources=resources) for action in actions)
