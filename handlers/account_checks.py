"""What is looked at before an account is brought in: each side, with evidence and fix."""

from __future__ import annotations

from handlers.account_access import access_checks
from handlers.account_by_hand import by_hand
from handlers.account_look import (
    INLINE_LIMIT,
    ROLES,
    Home,
)
from handlers.account_wanted import Wanted, needs_trust, rule_of
from handlers.account_words import OnboardArguments
from handlers.accounts import onboarded
from handlers.contract import (
    Check,
    ReadWorld,
)
from handlers.iam.comparison import canonical, normal_statement
from handlers.iam.documents import merged, size, statements
from handlers.iam.trust import sid_of, trusts, warnings
from handlers.identities import allows, in_words
from handlers.kinds import CONTROLLER_IDENTITY, NAMESPACE, ROLE_IDENTITY
from handlers.stacks import (
    BROKEN,
    TRUST_PARAMETERS,
    Stack,
    is_made,
    template_digest,
)
from handlers.steps.grant import POLICY, granted
from handlers.subnet_checks import blocks, passes, warns

TRUST_LIMIT = 2048
"""Characters of a trust policy, white space not counted, unless AWS has raised the quota. (IAM User Guide: "IAM and AWS
STS quotas".)"""
MACHINES = [
    canonical(normal_statement({"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}))
    for service in ("ec2.amazonaws.com", "ec2.amazonaws.com.cn")
]
"""What the stack writes into the trust beside our statement."""


def right_account(arguments: OnboardArguments, home: Home, world: ReadWorld) -> list[Check]:
    """Another account than the management account, in the same partition, and the name is free for it."""
    title = "The account that is brought in"
    if arguments.account_id == home.account_id:
        evidence = f"{arguments.account_id} is the management account: its clusters need no identity."
        return [blocks("account-id", title, evidence, f"Leave out --account, or use --account {home.account}.")]
    known = world.bootstrap(arguments.account_id)
    if known is not None and known.role_arn.split(":")[1] != home.partition:
        evidence = (
            f"Its bootstrap role is in the partition {known.role_arn.split(':')[1]}, the management account in "
            f"{home.partition}."
        )
        return [blocks("account-id", title, evidence, "Accounts of two partitions can never trust each other.")]
    if home.item is not None and home.identity is None:
        evidence = f"There is an AWSClusterRoleIdentity {arguments.identity} whose roleARN is no role of IAM."
        return [blocks("account-id", title, evidence, "Take another name, or mend it by hand.")]
    if home.identity is not None and home.identity.account_id != arguments.account_id:
        evidence = f"The identity `{arguments.identity}` leads into account {home.identity.account_id} already."
        fix = "Clusters that use it would lose their machines: take another name for this account."
        return [blocks("account-id", title, evidence, fix)]
    said = f"{arguments.account_id}, another one than the management account's."
    names = [other.name for other in map(onboarded, home.kube.pages(ROLE_IDENTITY)) if other is not None and
             other.account_id == arguments.account_id and other.name != arguments.identity]  # fmt: skip
    if names:
        evidence = f"{said} It is known as {', '.join(sorted(names))} already."
        fix = "Rules of the policy for one name do not hold for the other: use that name, unless this one is meant."
        return [warns("account-id", title, evidence, fix)]
    return [passes("account-id", title, said)]


def stack_checks(wanted: Wanted) -> list[Check]:
    """The roles and the stack, as far as they can be seen."""
    title, found = "The roles in the account", wanted.inside
    if found is None:
        return []
    some, partial = sorted(found.roles), 0 < len(found.roles) < len(ROLES)
    if partial and wanted.adopts:
        missing = ", ".join(f"{role}{wanted.tie.suffix}" for role in ROLES if role not in found.roles)
        evidence = f"Only some of the roles are there, and not by the bot's stack; missing: {missing}."
        fix = "Whoever made them should complete or delete them; the bot makes all of them or none."
        return [blocks("stack", title, evidence, fix)]
    if found.stack is not None and found.stack.status in BROKEN:
        evidence = f"The stack `{wanted.stack}` is {found.stack.status}: CloudFormation cannot update it any more."
        return [blocks("stack", title, evidence, "Delete the stack in that account, then look again.")]
    if found.stack is not None and found.stack.busy:
        evidence = f"Somebody is at work on the stack `{wanted.stack}` ({found.stack.status})."
        return [blocks("stack", title, evidence, "Look again when that is over.")]
    clash = _would_rename(wanted, found.stack) or _would_overwrite(wanted, found.stack)
    if clash:
        return [clash]
    if wanted.bootstrap is None and found.stack is not None and not is_current(wanted):
        do = by_hand(
            wanted.stack, wanted.parameters(), wanted.tie.account_id, wanted.reader.region, wanted.tie.partition, None
        )
        evidence = f"The stack `{wanted.stack}` is older than the bot's template, or was made with other parameters."
        return [warns("stack", title, evidence, f"It works on as it is. {do[0]}")]
    if wanted.adopts:
        evidence = f"{len(some)} roles of that suffix are there, and not by the bot's stack: they are used as they are."
        return [warns("stack", title, evidence, "The bot's stack only adds its reader role.")]
    return [passes("stack", title, _told(wanted))]


def _would_rename(wanted: Wanted, stack: Stack | None) -> Check | None:
    """CloudFormation makes a role of another name anew, and deletes the one that clusters use."""
    new = wanted.parameters()
    moved = [
        f"{name} from {stack.parameters[name]} to {new[name]}"
        for name in ("NameSuffix", "ReaderRoleName")
        if stack is not None and stack.parameters.get(name, new[name]) != new[name]
    ]
    if stack is None or not moved:
        return None
    evidence = f"The stack was made with other names ({'; '.join(moved)}): an update would delete its roles."
    fix = "Put the old names back into the settings, or offboard the account with its stack first."
    return blocks("stack", "The roles in the account", evidence, fix)


def _would_overwrite(wanted: Wanted, stack: Stack | None) -> Check | None:
    """CloudFormation writes the whole trust when one of its parameters changes; what others added would be lost."""
    found = wanted.inside
    if stack is None or found is None or found.trust is None or wanted.adopts:
        return None
    new = wanted.parameters()
    moved = [name for name in TRUST_PARAMETERS if stack.parameters.get(name, "") != new[name]]
    own = {sid_of(home) for home in (wanted.tie.home_id, stack.parameters.get("ManagementAccountId")) if home}
    others = [
        str(statement.get("Sid") or "without a Sid")
        for statement in statements(found.trust)
        if statement.get("Sid") not in own and canonical(normal_statement(statement)) not in MACHINES
    ]
    if not moved or not others:
        return None
    evidence = (
        f"The stack would write the trust of `{wanted.tie.role}` anew ({', '.join(moved)} change), and take off "
        f"statements that others put there: {', '.join(others)}."
    )
    return blocks("stack", "The roles in the account", evidence, "Take those statements off, or keep the old values.")


def is_current(wanted: Wanted) -> bool:
    """The stack is complete, from this template and with these parameters."""
    found = wanted.inside.stack if wanted.inside else None
    return is_made(found, template_digest(), wanted.parameters())


def _told(wanted: Wanted) -> str:
    found = wanted.inside.stack if wanted.inside else None
    if found is None:
        return f"None are there; the stack `{wanted.stack}` makes them."
    current = is_current(wanted)
    return f"The stack `{wanted.stack}` is {'up to date' if current else 'brought up to date'}."


def trust_checks(wanted: Wanted) -> list[Check]:
    """The trust of the controllers' role, and what our statement does to it."""
    title, found, tie = "The trust of the controllers' role", wanted.inside, wanted.tie
    if found is None or (found.trust is None and not found.unreadable):
        return [
            passes("trust", title, f"It is made with the role: `{tie.principal_name}` of {tie.home_id}, nobody else.")
        ]
    if found.trust is None:
        evidence = f"The trust of `{tie.role}` cannot be read: {found.unreadable}"
        return [blocks("trust", title, evidence, "Mend it by hand in the account, then look again.")]
    verdict = trusts(found.trust, tie.caller())
    checks = [warns("trust-odd", "Other statements of that trust", " ".join(odd), "They are left as they are.")
              for odd in [warnings(found.trust, tie.account_id)] if odd]  # fmt: skip
    if verdict.result == "denies":
        return [
            *checks,
            blocks("trust", title, verdict.why, "Find out who put that there, and take it off or narrow it."),
        ]
    if not needs_trust(wanted):
        return [*checks, passes("trust", title, verdict.why)]
    after = merged(found.trust, tie.statement())
    if size(after) > TRUST_LIMIT:
        evidence = f"With our statement it would have {size(after)} characters; AWS allows {TRUST_LIMIT}."
        fix = "Take statements off that nobody needs, or have the quota “Role trust policy length” raised and the "
        return [*checks, blocks("trust", title, evidence, f"{fix}document written by hand.")]
    if found.may_write:
        return [*checks, passes("trust", title, "One statement is added; every other stays as it is.")]
    evidence = "Our statement is missing, and the bot may not write in that account: a person has to put it there."
    return [*checks, warns("trust", title, evidence, "The thread will hold the whole document.")]


def grant_checks(wanted: Wanted) -> list[Check]:
    """Room for the role in the policy of the controllers' principal."""
    title, tie = "The controllers' right to assume it", wanted.tie
    if wanted.may_assume:
        return [passes("grant", title, f"The policy `{POLICY}` of `{tie.principal_name}` says so already.")]
    limit = INLINE_LIMIT[tie.principal_kind]
    need = wanted.inline + size(granted(wanted.grant, tie.role_arn, wanted.organization))
    if need <= limit:
        form = "in the form that names no accounts" if wanted.organization else "which names each account"
        return [
            passes("grant", title, f"One line more in the bot's own policy `{POLICY}`, {form} ({need} of {limit}).")
        ]
    evidence = f"The inline policies of `{tie.principal_name}` would have {need} characters; AWS allows {limit}."
    fix = "Set `operations.onboarding.organization_id`: then the policy names the organisation and no accounts."
    return [blocks("grant", title, evidence, fix)]


def kube_checks(wanted: Wanted) -> list[Check]:
    """Who may use the account, what the identity starts from, and the bot's rights."""
    kube, arguments = wanted.home.kube, wanted.arguments
    checks: list[Check] = []
    if arguments.all_namespaces:
        evidence = "Every namespace of the management cluster, also those that are made later, may use this account."
        checks.append(warns("namespaces", "Who may use it", evidence, "Name namespaces, unless that is meant."))
    elif arguments.namespaces:
        named = sorted(set(arguments.namespaces.split(",")))
        missing = [name for name in named if kube.get(NAMESPACE, name) is None]
        said = f"Only clusters in {', '.join(named)}."
        if missing:
            fix = "They may be made later; check the spelling."
            checks.append(warns("namespaces", "Who may use it", f"{said} Not there: {', '.join(missing)}.", fix))
        else:
            checks.append(passes("namespaces", "Who may use it", said))
    else:
        checks.append(passes("namespaces", "Who may use it", f"Only {in_words(rule_of(arguments))}."))
    source = kube.get(CONTROLLER_IDENTITY, "default")
    if source is not None and arguments.namespaces:
        outside = [name for name in sorted(set(arguments.namespaces.split(","))) if not allows(source, name, kube)]
        if outside:
            evidence = (
                f"The AWSClusterControllerIdentity default, which it starts from, does not allow {', '.join(outside)}."
            )
            fix = "Its spec cannot be changed: delete it and let it be made anew with spec.allowedNamespaces {}."
            checks.append(blocks("source", "The identity that it starts from", evidence, fix))
    lacking = [
        f"{verb} {kind.resource}"
        for kind in (ROLE_IDENTITY,)
        for verb in ("create", "patch", "delete")
        if not kube.may(verb, kind)
    ]
    if lacking:
        fix = "The platform team has to allow it (RBAC of the management cluster)."
        checks.append(
            blocks("rights", "The bot's rights on the cluster", f"The bot may not {', '.join(lacking)}.", fix)
        )
    return checks


def inside_checks(wanted: Wanted, world: ReadWorld) -> list[Check]:
    """What the roles that are there may do: those that the stack makes or mends are looked at after it."""
    found = wanted.inside
    if found is None or not wanted.adopts or "controllers" not in found.roles:
        return []
    aws = world.aws(found.door, found.door.region)
    told = access_checks(wanted.tie, wanted.home.aws, aws)
    return [check for check in told if check.id in ("profiles", "permissions", "lag", "scp", "duration")]
