"""Does the way into an account work? Both sides of it, each looked at by itself, so that a failure says which is wrong.

The bot cannot be the controllers, and should not: so the management account's side is simulated for the principal that
they are, the other side's trust is evaluated as IAM would, and what the role may do is simulated where it is. (IAM User
Guide: "Cross-account policy evaluation logic", "Testing IAM policies with the IAM policy simulator"; IAM API Reference:
SimulatePrincipalPolicy.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

from handlers.clients.aws_errors import Denied
from handlers.contract import AwsRead, AwsRefused, Check, Fatal, Model, Retry
from handlers.iam.documents import Malformed, compact, parsed
from handlers.iam.needed import ROLES, Need, Role, context_of, required, resources_of
from handlers.iam.trust import Caller, own_statement, sid_of, trusts, warnings
from handlers.steps.grant import POLICY, granted
from handlers.subnet_checks import blocks, passes, warns

AT_ONCE = 6
SHOWN = 6
MACHINE_ROLES: tuple[Role, ...] = ("control-plane", "nodes")


class Tie(Model):
    """What ties an account to the management cluster: the controllers' role there, and who may become it."""

    identity: str
    account_id: str
    partition: str
    role_arn: str
    suffix: str
    external_id: str | None
    duration: int
    home: str
    home_id: str
    principal: str
    principal_kind: Literal["role", "user"]
    principal_name: str
    whole_account: bool = False
    network_balancers: bool = True

    @property
    def role(self) -> str:
        """The name of the controllers' role."""
        return self.role_arn.rpartition("/")[2]

    def name_of(self, role: Role) -> str:
        """The name of a role, and of its instance profile, in the account."""
        return f"{role}{self.suffix}"

    def statement(self) -> dict[str, Any]:
        """What the trust of the controllers' role has to say."""
        return own_statement(
            sid=sid_of(self.home_id), management_account=self.home_id, partition=self.partition,
            principal_arn=self.principal, external_id=self.external_id, whole_account=self.whole_account,
        )  # fmt: skip

    def caller(self) -> Caller:
        """The controllers, as that trust sees them."""
        return Caller(arn=self.principal, account=self.home_id, external_id=self.external_id, partition=self.partition)


def access_checks(tie: Tie, home: AwsRead, inside: AwsRead) -> list[Check]:
    """Everything about the way in, in a fixed order. What cannot be asked is unknown. `home` is the management account,
    `inside` the account itself."""
    looks: list[tuple[str, str, Callable[[], list[Check]]]] = [
        ("reader", "The bot can look into the account", lambda: [_reader(tie, inside)]),
        ("grant", "The controllers may assume the role", lambda: [_grant(tie, home)]),
        ("trust", "The role lets them in", lambda: _trust(tie, inside)),
        ("profiles", "The machines' instance profiles", lambda: [_profiles(tie, inside)]),
        ("permissions", "What the role may do", lambda: _permissions(tie, inside)),
    ]
    with ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="access") as workers:
        return [check for checks in workers.map(lambda look: _asked(*look), looks) for check in checks]


def _asked(name: str, title: str, look: Callable[[], list[Check]]) -> list[Check]:
    try:
        return look()
    except (Denied, Retry, Fatal, AwsRefused) as error:
        return [Check(id=name, title=title, result="unknown", evidence=error.message, fix=error.hint)]


def _reader(tie: Tie, inside: AwsRead) -> Check:
    title = "The bot can look into the account"
    seen = str(inside.read("sts", "get_caller_identity")["Account"])
    if seen != tie.account_id:
        evidence = f"The reader role leads to account {seen}, not to {tie.account_id}."
        return blocks("reader", title, evidence, "Onboard the account again.")
    return passes("reader", title, f"The reader role leads to account {seen}.")


# -- the management account's side ---------------------------------------------------------------------------------


def _grant(tie: Tie, home: AwsRead) -> Check:
    title = "The controllers may assume the role"
    who = f"`{tie.principal_name}` of the management account"
    found = _simulated(home, tie.principal, ("sts:AssumeRole",), (tie.role_arn,), {})
    decision, by_organization = next(iter(found.values()), ("implicitDeny", False))
    if by_organization:
        evidence = f"A service control policy of the organisation forbids sts:AssumeRole to {who}."
        return blocks("grant", title, evidence, "Ask whoever owns the organisation's policies.")
    if decision == "explicitDeny":
        evidence = f"A policy of {who} denies sts:AssumeRole on `{tie.role_arn}`."
        return blocks("grant", title, evidence, "Find the Deny statement and take it off, or narrow it.")
    if decision != "allowed":
        evidence = f"{who} has no sts:AssumeRole for `{tie.role_arn}`: the management account's side is wrong."
        document = compact(granted(None, tie.role_arn, ""))
        return blocks("grant", title, evidence, f"Missing on it, as its inline policy `{POLICY}`: {document}")
    return passes("grant", title, f"{who} may assume `{tie.role}`, says IAM's simulation.")


# -- the account's side ----------------------------------------------------------------------------------------------


def _trust(tie: Tie, inside: AwsRead) -> list[Check]:
    title = "The role lets them in"
    try:
        answer: Any = inside.read("iam", "get_role", RoleName=tie.role)
    except AwsRefused as error:
        if error.code != "NoSuchEntity":
            raise
        evidence = f"Account {tie.account_id} has no role `{tie.role}`: its side is wrong."
        return [blocks("trust", title, evidence, "Onboard the account: its stack makes the role.")]
    role = answer["Role"]
    try:
        document = parsed(role["AssumeRolePolicyDocument"])
    except Malformed as error:
        return [blocks("trust", title, f"The trust of `{tie.role}` cannot be read: {error}", "Mend it by hand.")]
    verdict = trusts(document, tie.caller())
    if verdict.result != "allows":
        wanted = compact(tie.statement())
        evidence = f"The trust of `{tie.role}` in account {tie.account_id} does not let them in: {verdict.why}"
        fix = f"Missing in it is the statement: {wanted}"
        if verdict.result == "denies":
            fix = "Find out who put that Deny there, and take it off or narrow it."
        checks = [blocks("trust", title, evidence, fix)]
    else:
        checks = [passes("trust", title, f"The trust of `{tie.role}` lets `{tie.principal_name}` in. {verdict.why}")]
    longest = int(role.get("MaxSessionDuration") or 3600)
    if tie.duration > longest:
        evidence = f"Sessions of {tie.duration} s are asked for, and `{tie.role}` allows {longest} s."
        checks.append(blocks("duration", "How long a session lasts", evidence, f"Use --duration {longest} or less."))
    odd = warnings(document, tie.account_id)
    if odd:
        fix = "They were there before and are left alone; take them off where nobody needs them."
        checks.append(warns("trust-odd", "Other statements of that trust", " ".join(odd), fix))
    return checks


def _profiles(tie: Tie, inside: AwsRead) -> Check:
    title = "The machines' instance profiles"
    missing: list[str] = []
    for role in MACHINE_ROLES:
        try:
            answer: Any = inside.read("iam", "get_instance_profile", InstanceProfileName=tie.name_of(role))
        except AwsRefused as error:
            if error.code != "NoSuchEntity":
                raise
            missing.append(f"`{tie.name_of(role)}` is missing")
            continue
        if not answer["InstanceProfile"]["Roles"]:
            missing.append(f"`{tie.name_of(role)}` has no role")
    if missing:
        return blocks("profiles", title, f"{', '.join(missing)}.", "Onboard the account again: its stack makes them.")
    return passes("profiles", title, f"{' and '.join(tie.name_of(role) for role in MACHINE_ROLES)} are there.")


def _permissions(tie: Tie, inside: AwsRead) -> list[Check]:
    """What a cluster in a VPC that exists cannot do without, has to be there; what newer controllers would also like is
    a warning: such roles lag behind their controller."""
    title, arn = "What the role may do", tie.role_arn
    musts = required("controllers", network_load_balancer=tie.network_balancers)
    rest = tuple(need for need in ROLES["controllers"] if need not in musts)
    with ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="simulate") as workers:
        answers = list(workers.map(lambda need: _denied(tie, inside, arn, need), (*musts, *rest)))
    lacking = sorted({action for denied in answers[: len(musts)] for action, _ in denied})
    lagging = sorted({action for denied in answers[len(musts) :] for action, _ in denied} - set(lacking))
    forbidden = sorted({action for denied in answers for action, by_organization in denied if by_organization})
    fix = "Onboard the account again, which brings its stack up to date; or add them to the role's policy."
    checks: list[Check] = []
    if forbidden:
        evidence = f"A service control policy of the organisation forbids `{tie.role}`: {_some(forbidden)}."
        checks.append(blocks("scp", title, evidence, "Ask whoever owns the organisation's policies."))
    if [action for action in lacking if action not in forbidden]:
        checks.append(blocks("permissions", title, f"`{tie.role}` lacks {_some(lacking)}.", fix))
    if [action for action in lagging if action not in forbidden]:
        evidence = f"`{tie.role}` is older than its controllers: it lacks {_some(lagging)}."
        checks.append(warns("lag", "What newer controllers would use", evidence, fix))
    count = len({action for need in (*musts, *rest) for action in need.actions})
    said = f"`{tie.role}` may do all {count} things, says IAM's simulation."
    return checks or [passes("permissions", title, said)]


def _denied(tie: Tie, inside: AwsRead, arn: str, need: Need) -> list[tuple[str, bool]]:
    """The actions of a need that the role may not do, and whether it is the organisation that forbids them."""
    resources = resources_of(need, partition=tie.partition, account=tie.account_id, suffix=tie.suffix)
    found = _simulated(inside, arn, need.actions, resources, context_of(need, partition=tie.partition))
    return [(action, organization) for action, (decision, organization) in found.items() if decision != "allowed"]


def _simulated(
    aws: AwsRead, arn: str, actions: tuple[str, ...], resources: tuple[str, ...], context: dict[str, str]
) -> dict[str, tuple[str, bool]]:
    """IAM's own verdict for each action, and whether the organisation denies it; the worst over the resources."""
    found: dict[str, tuple[str, bool]] = {}
    for result in _results(aws, arn, actions, resources, context):
        action, decision = str(result["EvalActionName"]), str(result["EvalDecision"])
        organization = (result.get("OrganizationsDecisionDetail") or {}).get("AllowedByOrganizations") is False
        if found.get(action, ("allowed", False))[0] == "allowed":
            found[action] = (decision if not organization else "explicitDeny", organization)
    return found


def _results(
    aws: AwsRead, arn: str, actions: tuple[str, ...], resources: tuple[str, ...], context: dict[str, str]
) -> Iterator[Any]:
    entries = [
        {"ContextKeyName": key, "ContextKeyValues": [value], "ContextKeyType": "string"}
        for key, value in context.items()
    ]
    yield from aws.pages(
        "iam", "simulate_principal_policy", "EvaluationResults",
        PolicySourceArn=arn, ActionNames=list(actions), ResourceArns=list(resources), ContextEntries=entries,
    )  # fmt: skip


def _some(actions: list[str]) -> str:
    more = f" and {len(actions) - SHOWN} more" if len(actions) > SHOWN else ""
    return f"{', '.join(f'`{action}`' for action in actions[:SHOWN])}{more}"
