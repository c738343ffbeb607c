"""What there is already, on both sides, before an account is brought in or let go.

Without a bootstrap role in the settings, and before the stack is there, the bot cannot look into the account at all;
the plan says so, and a person makes the stack.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from handlers.accounts import EXTERNAL, Onboarded, onboarded
from handlers.clients.aws_errors import Denied
from handlers.contract import AwsRead, AwsRefused, Check, Door, Fatal, Json, KubeRead, ReadWorld
from handlers.controllers import Principal, controllers_principal
from handlers.iam.documents import Document, Malformed, parsed, size
from handlers.kinds import NAMESPACE, ROLE_IDENTITY
from handlers.stacks import DONE, Stack, deployed, digest_of, read_stack
from handlers.subnet_checks import blocks, identity, passes

ROLES = ("control-plane", "nodes", "controllers")
INLINE_LIMIT = {"role": 10_240, "user": 2_048}
"""Characters of all inline policies of one principal, white space not counted. (IAM User Guide: "IAM and AWS STS
quotas".)"""


@dataclass(frozen=True)
class Home:
    """The management account and cluster. `identity` is the identity of the wanted name, if there is one."""

    account: str
    account_id: str
    region: str
    partition: str
    aws: AwsRead
    kube: KubeRead
    principal: Principal
    myself: str
    item: Json | None
    identity: Onboarded | None


@dataclass(frozen=True)
class Inside:
    """The account, as far as the bot can look into it. `door` is how it looks; `may_write` where that is the bootstrap
    role; `trust` is that of the controllers' role, and `unreadable` why it cannot be read."""

    door: Door
    may_write: bool
    stack: Stack | None
    roles: frozenset[str]
    trust: Document | None
    unreadable: str = ""


def look_home(world: ReadWorld, name: str) -> tuple[Home | None, list[Check]]:
    """The management side; None with the check that says why not."""
    account = world.home()
    known = world.account(account)
    aws, kube = world.aws(account, known.region), world.management()
    partition, right_account = identity(aws.read("sts", "get_caller_identity"), account, known.id)
    if right_account.blocks:
        return None, [right_account]
    if not kube.has(ROLE_IDENTITY):
        evidence = "The management cluster has no AWSClusterRoleIdentity, so nothing can use another account."
        fix = "Install the Cluster API's AWS provider on it, then ask again."
        return None, [blocks("cluster-api", "The AWS provider is there", evidence, fix)]
    try:
        principal = controllers_principal(world, aws)
    except Fatal as error:
        return None, [blocks("controllers", "As whom the controllers call AWS", error.message, error.hint)]
    if (principal.account_id, principal.partition) != (known.id, partition):
        evidence = f"The controllers run as `{principal.arn}`, which is not in the management account {known.id}."
        fix = "Set `operations.management_cluster.account` to the account that they run in."
        return None, [blocks("controllers", "As whom the controllers call AWS", evidence, fix)]
    item = kube.get(ROLE_IDENTITY, name)
    found = onboarded(item) if item is not None else None
    myself = bot_principal(world, aws)
    said = f"`{principal.arn}`, {principal.how}."
    checks = [right_account, passes("controllers", "As whom the controllers call AWS", said)]
    return Home(account, known.id, known.region, partition, aws, kube, principal, myself, item, found), checks


def bot_principal(world: ReadWorld, home: AwsRead) -> str:
    """The IAM ARN of the bot's own credentials; of a role where they are a session of one."""
    named = world.onboarding().bot_principal
    if named is not None:
        return named
    arn = world.myself()
    if ":assumed-role/" not in arn:
        return arn
    role = arn.split(":assumed-role/")[1].split("/")[0]
    try:
        answer: Any = home.read("iam", "get_role", RoleName=role)
    except (Denied, AwsRefused) as error:
        raise Fatal(
            f"The bot runs as a session of `{role}`, whose ARN it may not read.",
            "The platform team can name it: `operations.onboarding.bot_principal`.",
        ) from error
    return str(answer["Role"]["Arn"])


def external_id_of(home: Home, account_id: str, name: str, asked: str) -> str:
    """The one that is there already, the one that was asked for, or one that nobody outside can guess and that is the
    same at every look: from the unique id that Kubernetes gave the management cluster's system namespace."""
    if asked != "auto":
        return asked
    there = (home.identity and home.identity.external_id) or ""
    if EXTERNAL.fullmatch(there):
        return there
    space = home.kube.get(NAMESPACE, "kube-system")
    meta: Any = (space or {}).get("metadata") or {}
    if not meta.get("uid"):
        raise Fatal("The management cluster has no namespace kube-system, so no external id could be made.")
    text = f"{meta['uid']}/{account_id}/{name}"
    return f"tkgbot-{hashlib.sha256(text.encode()).hexdigest()[:32]}"


def doors(world: ReadWorld, account_id: str, partition: str, region: str, external_id: str) -> tuple[Door | None, Door]:
    """The bootstrap role of the settings, if they have one, and the reader role that the stack makes."""
    known = world.bootstrap(account_id)
    bootstrap = None
    if known is not None:
        bootstrap = Door(
            account_id=account_id, region=region, role_arn=known.role_arn, external_id=known.external_id
        )  # fmt: skip
    role = world.onboarding().reader_role
    arn = f"arn:{partition}:iam::{account_id}:role/{role}"
    return bootstrap, Door(account_id=account_id, region=region, role_arn=arn, external_id=external_id)


def look_inside(world: ReadWorld, bootstrap: Door | None, reader: Door, suffix: str) -> tuple[Inside | None, Check]:
    """What is there in the account; None where the bot cannot look yet."""
    title = "A look into the account"
    door = bootstrap or reader
    aws = world.aws(door, door.region)
    try:
        seen = aws.read("sts", "get_caller_identity")
    except Denied as error:
        if bootstrap is None:
            evidence = (
                f"Nothing lets the bot into account {door.account_id} yet: what is there is seen when the stack is."
            )
            return None, passes("inside", title, evidence)
        fix = "Its trust has to name the bot's own principal, and the external id of the settings."
        evidence = f"The bot may not become its bootstrap role in account {door.account_id}. {error.message}"
        return None, blocks("inside", title, evidence, fix)
    if str(seen["Account"]) != door.account_id:
        evidence = f"`{door.role_arn}` leads to account {seen['Account']}."
        return None, blocks("inside", title, evidence, "The settings have to be mended.")
    found = inside(world, aws, door, may_write=bootstrap is not None, suffix=suffix)
    what = f"{len(found.roles)} of the {len(ROLES)} roles are there"
    stack = f", the stack is {found.stack.status}" if found.stack else ", no stack is there"
    return found, passes("inside", title, f"Through `{door.name}`: {what}{stack}.")


def inside(world: ReadWorld, aws: AwsRead, door: Door, *, may_write: bool, suffix: str) -> Inside:
    """Reads stack, roles and trust through a door that is open."""
    name = world.onboarding().stack_name
    stack = read_stack(aws, name)
    if stack is not None and stack.status in DONE and not stack.template:  # the console's link can set no tags
        stack = replace(stack, template=digest_of(deployed(aws, name)))
    there: set[str] = set()
    trust, unreadable = None, ""
    for role in ROLES:
        try:
            answer: Any = aws.read("iam", "get_role", RoleName=f"{role}{suffix}")
        except AwsRefused as error:
            if error.code == "NoSuchEntity":
                continue
            raise
        there.add(role)
        if role == "controllers":
            try:
                trust = parsed(answer["Role"]["AssumeRolePolicyDocument"])
            except Malformed as error:
                unreadable = str(error)
    return Inside(door, may_write, stack, frozenset(there), trust, unreadable)


def inline_size(home: Home, besides: str) -> int:
    """Characters of the principal's inline policies, without the one named `besides`."""
    name, kind = home.principal.name, home.principal.kind
    key, listing, getting = (
        ("RoleName", "list_role_policies", "get_role_policy")
        if kind == "role"
        else ("UserName", "list_user_policies", "get_user_policy")
    )
    names: Sequence[Any] = [*home.aws.pages("iam", listing, "PolicyNames", **{key: name})]
    total = 0
    for policy in names:
        if policy != besides:
            answer: Any = home.aws.read("iam", getting, PolicyName=policy, **{key: name})
            total += size(answer["PolicyDocument"]) if isinstance(answer["PolicyDocument"], dict) else 0
    return total
