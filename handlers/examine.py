"""Whether the operations side can work with what its settings name: each account of AWS, and the management cluster.

Looks only, and as the bot itself would look. Each look is a function of its own, so that whoever runs them can do so at
once and give up on one alone. What a check proposes is for the platform team.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from handlers.clients.aws_errors import Denied, Expired
from handlers.contract import AwsRefused, Caller, Check, Fatal, Json, Retry, UsageError
from handlers.contract.clocks import clock_check
from handlers.examine_kube import examine_kube
from handlers.settings import Account
from handlers.subnet_checks import blocks, passes
from handlers.worlds import Reach

Look = Callable[[], list[Check]]
WHO = Caller(request="r-doctor", person="doctor")
READS: tuple[tuple[str, str, str, Json, str], ...] = (
    ("ec2:DescribeVpcs", "ec2", "describe_vpcs", {"MaxResults": 5}, "every operation on subnets and clusters"),
    ("ec2:DescribeSubnets", "ec2", "describe_subnets", {"MaxResults": 5}, "every operation on subnets and clusters"),
    ("ec2:DescribeInstances", "ec2", "describe_instances", {"MaxResults": 5}, "status and digests"),
    (
        "elasticloadbalancing:DescribeLoadBalancers", "elbv2", "describe_load_balancers", {"PageSize": 1},
        "cluster delete, subnet check",
    ),
    (
        "servicequotas:GetServiceQuota", "service-quotas", "get_service_quota",
        {"ServiceCode": "ec2", "QuotaCode": "L-1216C47A"}, "the preflight of cluster create",
    ),
)  # fmt: skip
"""Actions, each with the call that tries it and what cannot be done without it. Rights of IAM are tried at the bot's
own role."""


def examinations(reach: Reach) -> Mapping[str, Look]:
    """Every look, by what it looks at."""
    looks: dict[str, Look] = {}
    for name, account in sorted(reach.settings.accounts.items()):
        looks[f"AWS account `{name}`"] = partial(examine_account, reach, name, account)
    looks["Management cluster"] = partial(examine_kube, reach)
    return looks


def examine_account(reach: Reach, name: str, account: Account) -> list[Check]:
    """Who the bot is there, what it may read, and whether both clocks agree."""
    title = f"AWS account `{name}`"
    clock = _clock(reach, name)
    try:
        known = reach.fresh().sessions.reading(WHO, name, account.region, "doctor").read("sts", "get_caller_identity")
    except Retry as error:
        return [*clock, _unknown(f"aws:{name}:identity", title, error)]
    except (Fatal, UsageError) as error:
        return [*clock, _no_way_in(reach, name, account, error)]
    checks = [*clock, _identity(name, account, known)]
    return checks if checks[-1].blocks else [*checks, *_reads(reach, name, account)]


def _identity(name: str, account: Account, known: Json) -> Check:
    check, title = f"aws:{name}:identity", f"AWS account `{name}`: identity"
    found, arn = str(known.get("Account")), str(known.get("Arn"))
    if found != account.id:
        fix = (
            f"Set `operations.accounts.{name}.id` to {found} if that account is meant; else give the bot credentials "
            f"of {account.id} (access `{account.access}`)."
        )
        return blocks(check, title, f"The bot gets into account {found}, and the settings say {account.id}.", fix)
    return passes(check, title, f"{arn} in account {found}, by access `{account.access}`.")


def _no_way_in(reach: Reach, name: str, account: Account, error: Fatal | UsageError) -> Check:
    """Why a role cannot be assumed: AWS says only no, so the same is tried without naming the person."""
    check, title = f"aws:{name}:identity", f"AWS account `{name}`: the way in"
    if account.access != "role" or not isinstance(error, Denied | AwsRefused) or isinstance(error, Expired):
        return blocks(check, title, error.message, error.hint)
    role, own = account.role_arn, _own(reach)
    if account.source_identity and _lets_in(reach, name, account.model_copy(update={"source_identity": False})):
        fix = (
            f"Allow sts:SetSourceIdentity beside sts:AssumeRole in the trust policy of {role} (and to {own}), or set "
            f"`operations.accounts.{name}.source_identity: false`: then CloudTrail does not name the person."
        )
        return blocks(check, title, f"{role} lets the bot in, but not with the person's name on the session.", fix)
    secret = " with the sts:ExternalId of the settings" if account.external_id else ""
    fix = (
        f"See that the role exists, that its trust policy lets {own} do sts:AssumeRole{secret} and "
        f"sts:SetSourceIdentity, and that {own} may assume it (docs/iam.md; `tkgbot template bot-management`)."
    )
    return blocks(check, title, f"The bot cannot assume {role}. {error.message}", fix)


def _own(reach: Reach) -> str:
    try:
        return reach.sessions.myself()
    except (Retry, Fatal, UsageError):
        return "the bot's own principal"


def _lets_in(reach: Reach, name: str, account: Account) -> bool:
    sessions = reach.sessions.fresh(lambda _name: account)
    try:
        sessions.reading(WHO, name, account.region, "doctor").read("sts", "get_caller_identity")
    except (Retry, Fatal, UsageError):
        return False
    return True


def _reads(reach: Reach, name: str, account: Account) -> list[Check]:
    """Each reading action once. What AWS refuses for other reasons than rights was let in."""
    aws = reach.fresh().sessions.reading(WHO, name, account.region, "doctor")
    wanted = list(READS)
    if account.role_arn is not None and name == reach.settings.home:
        role = account.role_arn.rpartition("/")[2]
        wanted.append(("iam:GetRole", "iam", "get_role", {"RoleName": role}, "account onboard and account check"))
    lacking: list[Check] = []
    for action, service, operation, parameters, needed in wanted:
        check, title = f"aws:{name}:{action}", f"AWS account `{name}`: {action}"
        try:
            aws.read(service, operation, **parameters)
        except AwsRefused:
            continue
        except (Retry, Fatal) as error:
            if isinstance(error, Retry):
                lacking.append(_unknown(check, title, error))
            else:
                lacking.append(blocks(check, title, error.message, f"{error.hint} Without it: {needed}.".strip()))
    if lacking:
        return lacking
    said = ", ".join(action for action, *_ in wanted)
    return [passes(f"aws:{name}:rights", f"AWS account `{name}`: rights to look", f"{said}.")]


def _clock(reach: Reach, name: str) -> list[Check]:
    """This machine's clock against AWS's. None where AWS does not answer: another check says so."""
    apart = reach.sessions.clock_skew(name)
    return [] if apart is None else [clock_check(f"aws:{name}:clock", f"AWS account `{name}`: clock", apart, "AWS")]


def _unknown(check: str, title: str, error: Any) -> Check:
    return Check(id=check, title=title, result="unknown", evidence=error.message, fix=error.hint)
