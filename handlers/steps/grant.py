"""What the controllers' principal may assume: one policy of the bot's own on it, whose list of roles grows and shrinks.

Put replaces that one policy and touches no other. Runs for several accounts follow each other, and each adds only its
own role to what it finds. (AWS IAM API Reference: PutRolePolicy, PutUserPolicy; "IAM and AWS STS quotas".)
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict

from handlers.accounts import onboarded
from handlers.contract import AwsRead, AwsRefused, AwsWrite, Fatal, Observation, Outcome, RunWorld, Step
from handlers.iam.documents import Document, Malformed, compact, narrowed, parsed, widened
from handlers.iam.permits import permits
from handlers.kinds import ROLE_IDENTITY

POLICY = "tkgbot-assume-secondary"
SID = "AssumeSecondaryAccounts"
Kind = Literal["role", "user"]


class GrantStep(Step):
    """Lets `principal` assume `role_arn`, by the bot's own inline policy. With `organization` the policy names no
    accounts, but the role of that name in every account of that organization."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["grant"] = "grant"
    account: str
    region: str
    principal_kind: Kind
    principal: str
    role_arn: str
    organization: str = ""


class RevokeStep(Step):
    """Takes `role_arn` out of the inline policy, and the policy away when it names nothing any more."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["revoke"] = "revoke"
    account: str
    region: str
    principal_kind: Kind
    principal: str
    role_arn: str


class GrantExecutor:
    """Observes by Get…Policy, applies by Put…Policy."""

    def observe(self, step: GrantStep, world: RunWorld) -> Observation:
        """So when the policy allows it."""
        found = read_grant(world.aws(step.account, step.region), step.principal_kind, step.principal)
        may = f"`{step.principal}` may assume `{step.role_arn}`"
        if found is not None and names(found, step.role_arn):
            return Observation(so=True, evidence=f"{may}, says its policy `{POLICY}`.")
        return Observation(so=False, evidence=f"No policy `{POLICY}` says yet that {may}.")

    def apply(self, step: GrantStep, world: RunWorld) -> Outcome:
        """Adds the role to what is there, and to what has to be: IAM may still show the policy as it was before another
        account's run wrote it, and writing that back would take that account's role out again."""
        aws = world.aws(step.account, step.region)
        document = read_grant(aws, step.principal_kind, step.principal)
        for role_arn in (*_registered(world), step.role_arn) if not step.organization else (step.role_arn,):
            document = granted(document, role_arn, step.organization)
        assert document is not None
        put_grant(aws, step.principal_kind, step.principal, document)
        return Outcome(changed=True, evidence=f"`{step.principal}` may now assume `{step.role_arn}`.")


class RevokeExecutor:
    """Observes by Get…Policy, applies by Put…Policy or Delete…Policy."""

    def observe(self, step: RevokeStep, world: RunWorld) -> Observation:
        """So when the policy does not name the role."""
        found = read_grant(world.aws(step.account, step.region), step.principal_kind, step.principal)
        if found is None or step.role_arn not in listed(found):
            return Observation(so=True, evidence=f"The policy `{POLICY}` does not name `{step.role_arn}`.")
        return Observation(so=False, evidence=f"The policy `{POLICY}` still names `{step.role_arn}`.")

    def apply(self, step: RevokeStep, world: RunWorld) -> Outcome:
        """Takes it out of what is there."""
        aws = world.aws(step.account, step.region)
        found = read_grant(aws, step.principal_kind, step.principal)
        left = narrowed(found, SID, step.role_arn) if found is not None else None
        if left is not None:
            put_grant(aws, step.principal_kind, step.principal, left)
        elif found is not None:
            call, name = (
                ("delete_role_policy", "RoleName")
                if step.principal_kind == "role"
                else ("delete_user_policy", "UserName")
            )
            aws.write("iam", call, PolicyName=POLICY, **{name: step.principal})
        return Outcome(changed=True, evidence=f"`{step.principal}` may not assume `{step.role_arn}` any more.")


def _registered(world: RunWorld) -> list[str]:
    """The roles of the accounts that the bot has onboarded, as the management cluster knows them."""
    found = [onboarded(item) for item in world.management().pages(ROLE_IDENTITY)]
    return sorted({entry.role_arn for entry in found if entry is not None and entry.door is not None})


def read_grant(aws: AwsRead, kind: Kind, principal: str) -> Document | None:
    """The bot's own policy on a principal; None where it has none. Fatal where it cannot be read."""
    call, name = ("get_role_policy", "RoleName") if kind == "role" else ("get_user_policy", "UserName")
    try:
        answer: Any = aws.read("iam", call, PolicyName=POLICY, **{name: principal})
    except AwsRefused as error:
        if error.code == "NoSuchEntity":
            return None
        raise
    try:
        return parsed(answer["PolicyDocument"])
    except Malformed as error:
        raise Fatal(
            f"The policy `{POLICY}` of `{principal}` cannot be read: {error}",
            "Mend or delete it by hand, then ask again.",
        ) from error


def put_grant(aws: AwsWrite, kind: Kind, principal: str, document: Document) -> None:
    """Replaces the bot's own policy on a principal."""
    call, name = ("put_role_policy", "RoleName") if kind == "role" else ("put_user_policy", "UserName")
    aws.write("iam", call, PolicyName=POLICY, PolicyDocument=compact(document), **{name: principal})


def granted(found: Document | None, role_arn: str, organization: str) -> Document:
    """The policy with that role in it; with an organization, the form that names no accounts."""
    if not organization:
        return widened(found, SID, role_arn)
    partition, role = role_arn.split(":")[1], role_arn.partition(":role/")[2]
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": SID,
                "Effect": "Allow",
                "Action": "sts:AssumeRole",
                "Resource": [f"arn:{partition}:iam::*:role/{role}"],
                "Condition": {"StringEquals": {"aws:ResourceOrgID": organization}},
            }
        ],
    }


def names(document: Document, role_arn: str) -> bool:
    """Does the policy let its owner assume the role? In the form without accounts, as far as a document can say."""
    context = {"aws:ResourceOrgID": organization_of(document)} if organization_of(document) else {}
    return permits([document], "sts:AssumeRole", role_arn, context) == "allow"


def organization_of(document: Document) -> str:
    """The organization that the policy's own statement speaks of; empty where it lists accounts."""
    for statement in document["Statement"] if isinstance(document["Statement"], list) else [document["Statement"]]:
        if statement.get("Sid") == SID:
            found = ((statement.get("Condition") or {}).get("StringEquals") or {}).get("aws:ResourceOrgID", "")
            return str(found[0] if isinstance(found, list) else found)
    return ""


def listed(document: Document) -> tuple[str, ...]:
    """The roles that the bot's own statement names."""
    for statement in document["Statement"] if isinstance(document["Statement"], list) else [document["Statement"]]:
        if statement.get("Sid") == SID:
            found = statement.get("Resource", [])
            return tuple(map(str, found if isinstance(found, list) else [found]))
    return ()
