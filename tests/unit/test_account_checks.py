"""What stands in the way of bringing an account in: each limit and each state, in small hand-made worlds."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest

from handlers.account_access import Tie, access_checks
from handlers.account_checks import TRUST_LIMIT, grant_checks, kube_checks, right_account, stack_checks, trust_checks
from handlers.account_look import INLINE_LIMIT, ROLES, Home, Inside, inside
from handlers.account_wanted import Wanted, needs_trust, rewrites_trust
from handlers.account_words import OnboardArguments
from handlers.accounts import Onboarded
from handlers.contract import AwsRefused, Check, Door, Json, Kind
from handlers.controllers import Principal
from handlers.iam.documents import Document, merged, size
from handlers.kinds import CONTROLLER_IDENTITY, NAMESPACE, ROLE_IDENTITY
from handlers.settings import Bootstrap, Onboarding
from handlers.stacks import BROKEN, Stack, template_digest
from handlers.steps.grant import granted, listed, names, organization_of
from tests.unit.iam_makers import EC2, STRANGER, document, trusting

HOME, SECOND = "111122223333", "777788889999"
SUFFIX = ".cluster-api-provider-aws.sigs.k8s.io"
ROLE = f"arn:aws:iam::{SECOND}:role/controllers{SUFFIX}"
ORGANIZATION = "o-abcdefghij"
DOOR = Door(account_id=SECOND, region="us-east-1", role_arn=f"arn:aws:iam::{SECOND}:role/tkgbot-bootstrap")
READER = Door(account_id=SECOND, region="us-east-1", role_arn=f"arn:aws:iam::{SECOND}:role/tkgbot-reader")


@dataclass
class Kube:
    """A management cluster with two namespaces and an identity of the controllers."""

    source: Json | None = field(default_factory=lambda: {"spec": {"allowedNamespaces": {}}})
    lacks: tuple[str, ...] = ()
    others: tuple[Json, ...] = ()

    def pages(self, kind: Kind, namespace: str = "", labels: str = "") -> tuple[Json, ...]:
        assert kind == ROLE_IDENTITY
        return self.others

    def get(self, kind: Kind, name: str, namespace: str = "") -> Json | None:
        if kind == CONTROLLER_IDENTITY:
            return self.source
        assert kind == NAMESPACE
        return {"metadata": {"name": name}} if name in ("team-a", "default") else None

    def may(self, verb: str, kind: Kind) -> bool:
        return verb not in self.lacks


def home(kind: str = "role", kube: Any = None, item: Json | None = None, tied: Onboarded | None = None) -> Home:
    arn = f"arn:aws:iam::{HOME}:{kind}/control-plane{SUFFIX}"
    who = Principal(arn, "aws", HOME, "user" if kind == "user" else "role", f"control-plane{SUFFIX}", "told")
    nothing: Any = None
    myself = f"arn:aws:iam::{HOME}:user/tkgbot"
    return Home("management", HOME, "us-east-1", "aws", nothing, kube or Kube(), who, myself, item, tied)


def wanted(found: Inside | None = None, **changes: Any) -> Wanted:
    """A tie that is to be made, with nothing of it there."""
    at = changes.pop("home", home())
    arguments = OnboardArguments(
        account_id=SECOND, identity="team-a", **changes.pop("words", {"namespaces": "default"})
    )
    tie = Tie(
        identity="team-a", account_id=SECOND, partition="aws", role_arn=ROLE, suffix=SUFFIX, external_id="tkgbot-1",
        duration=900, home="management", home_id=HOME, principal=at.principal.arn, principal_kind=at.principal.kind,
        principal_name=at.principal.name,
    )  # fmt: skip
    fields: dict[str, Any] = {
        "arguments": arguments, "home": at, "tie": tie, "bootstrap": DOOR, "reader": READER, "inside": found,
        "stack": "tkgbot-cluster-access", "boundary": "", "grant": None, "inline": 0, "organization_id": "",
    }  # fmt: skip
    return Wanted(**{**fields, **changes})


def seen(trust: Document | None = None, stack: Stack | None = None, **changes: Any) -> Inside:
    """An account with all roles in it."""
    fields: dict[str, Any] = {"door": DOOR, "may_write": True, "roles": frozenset(ROLES), "unreadable": ""}
    return Inside(**{**fields, "stack": stack, "trust": trust, **changes})


OURS = wanted().tie.statement()
MADE = Stack("s", "CREATE_COMPLETE", template=template_digest(), parameters=wanted().parameters())


def only(checks: list[Check], name: str) -> Check:
    (found,) = [check for check in checks if check.id == name]
    return found


# -- the right account -------------------------------------------------------------------------------------------


def asked(account: str = SECOND, partition: str = "aws", **changes: Any) -> Check:
    bootstrap = Bootstrap(role_arn=f"arn:{partition}:iam::{account}:role/tkgbot-bootstrap")
    world: Any = SimpleNamespace(bootstrap=lambda _: bootstrap)
    words = OnboardArguments(account_id=account, identity="team-a", namespaces="default")
    (found,) = right_account(words, home(**changes), world)
    return found


def test_another_account_under_a_free_name() -> None:
    assert asked().result == "pass"


def test_an_account_that_has_another_name_already() -> None:
    """A deny rule for the first name would not hold for the second."""
    known: Json = {"metadata": {"name": "payments"}, "spec": {"roleARN": ROLE}}
    found = asked(kube=Kube(others=(known,)))
    assert found.result == "warn"
    assert "It is known as payments already." in found.evidence


def test_the_same_account_again() -> None:
    assert asked(item={}, tied=Onboarded("team-a", SECOND, ROLE, None, None)).result == "pass"


@pytest.mark.parametrize(
    ("found", "evidence"),
    [
        (lambda: asked(HOME), f"{HOME} is the management account: its clusters need no identity."),
        (lambda: asked(partition="aws-cn"),
         "Its bootstrap role is in the partition aws-cn, the management account in aws."),
        (lambda: asked(item={}), "There is an AWSClusterRoleIdentity team-a whose roleARN is no role of IAM."),
        (lambda: asked(item={}, tied=Onboarded("team-a", STRANGER, ROLE, None, None)),
         f"The identity `team-a` leads into account {STRANGER} already."),
    ],
)  # fmt: skip
def test_what_can_never_be_brought_in(found: Any, evidence: str) -> None:
    check = found()
    assert (check.result, check.evidence) == ("block", evidence)
    assert check.fix


# -- the stack ---------------------------------------------------------------------------------------------------


def test_nothing_is_there_and_nothing_can_be_seen() -> None:
    assert stack_checks(wanted()) == []
    empty = seen(roles=frozenset())
    assert only(stack_checks(wanted(empty)), "stack").evidence == (
        "None are there; the stack `tkgbot-cluster-access` makes them."
    )


@pytest.mark.parametrize(
    ("stack", "says"), [(MADE, "up to date"), (replace(MADE, template="older"), "brought up to date")]
)
def test_our_stack_is_there(stack: Stack, says: str) -> None:
    check = only(stack_checks(wanted(seen(document(EC2, OURS), stack))), "stack")
    assert (check.result, check.evidence) == ("pass", f"The stack `tkgbot-cluster-access` is {says}.")


def test_a_stack_of_other_names_is_not_updated() -> None:
    """CloudFormation would make the roles anew and delete those that clusters use."""
    made = replace(MADE, parameters={**MADE.parameters, "NameSuffix": ".old.example"})
    check = only(stack_checks(wanted(seen(document(EC2, OURS), made))), "stack")
    assert check.result == "block"
    assert f"NameSuffix from .old.example to {SUFFIX}" in check.evidence


def test_roles_of_somebody_else_are_adopted_all_or_none() -> None:
    check = only(stack_checks(wanted(seen(document(EC2)))), "stack")
    assert check.result == "warn"
    assert check.evidence.startswith("3 roles of that suffix are there, and not by the bot's stack")
    some = only(stack_checks(wanted(seen(document(EC2), roles=frozenset({"nodes"})))), "stack")
    assert some.result == "block"
    assert f"missing: control-plane{SUFFIX}, controllers{SUFFIX}." in some.evidence


@pytest.mark.parametrize("status", BROKEN)
def test_a_stack_that_cannot_be_updated(status: str) -> None:
    check = only(stack_checks(wanted(seen(document(EC2), replace(MADE, status=status)))), "stack")
    assert (check.result, status in check.evidence) == ("block", True)


def test_a_stack_that_somebody_works_on() -> None:
    check = only(stack_checks(wanted(seen(document(EC2), replace(MADE, status="UPDATE_IN_PROGRESS")))), "stack")
    assert check.evidence == "Somebody is at work on the stack `tkgbot-cluster-access` (UPDATE_IN_PROGRESS)."
    assert check.blocks


MOVED = replace(MADE, parameters={**MADE.parameters, "ExternalId": "of-long-ago"})
SERVICE = {"Effect": "Allow", "Principal": {"Service": "ssm.amazonaws.com"}, "Action": "sts:AssumeRole"}
BOTH = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com", "AWS": STRANGER}, "Action": "sts:AssumeRole"}


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        (trusting({"AWS": STRANGER}, Sid="Theirs"), "Theirs"),
        (trusting({"AWS": STRANGER}), "without a Sid"),
        (trusting("*", "Deny"), "without a Sid"),
        (trusting({"AWS": STRANGER}, Sid=f"Tkgbot{STRANGER}"), f"Tkgbot{STRANGER}"),
        (SERVICE, "without a Sid"),
        (BOTH, "without a Sid"),
    ],
    ids=[
        "of an account",
        "nameless",
        "a denial",
        "of another management account",
        "of another service",
        "of two kinds",
    ],
)
def test_the_stack_never_writes_over_what_others_put_into_the_trust(statement: Json, name: str) -> None:
    """CloudFormation would write the whole trust anew; so it is not let to."""
    look = wanted(seen(document(EC2, OURS, statement), MOVED))
    check = only(stack_checks(look), "stack")
    assert (check.result, check.evidence) == (
        "block",
        f"The stack would write the trust of `controllers{SUFFIX}` anew (ExternalId change), and take off statements "
        f"that others put there: {name}.",
    )
    assert rewrites_trust(look)
    same = only(stack_checks(wanted(seen(document(EC2, OURS, statement), MADE))), "stack")
    assert same.result == "pass"


def test_the_stack_writes_its_own_trust_anew() -> None:
    for mine in (EC2, {**EC2, "Action": "sts:AssumeRole"}, {**EC2, "Principal": {"Service": "ec2.amazonaws.com"}}):
        check = only(stack_checks(wanted(seen(document(mine, OURS), MOVED))), "stack")
        assert check.result == "pass", check.evidence


def test_the_statement_of_the_management_account_before_goes_with_the_stacks_parameter() -> None:
    before = replace(MADE, parameters={**MADE.parameters, "ManagementAccountId": STRANGER})
    old = trusting({"AWS": f"arn:aws:iam::{STRANGER}:root"}, Sid=f"Tkgbot{STRANGER}")
    assert only(stack_checks(wanted(seen(document(EC2, old), before))), "stack").result == "pass"


# -- the trust ---------------------------------------------------------------------------------------------------


def test_a_trust_that_is_made_with_the_role() -> None:
    for look in (wanted(), wanted(seen(roles=frozenset()))):
        assert only(trust_checks(look), "trust").result == "pass"
        assert not needs_trust(look)


def test_a_trust_that_says_so_already() -> None:
    look = wanted(seen(document(EC2, OURS)))
    assert only(trust_checks(look), "trust").result == "pass"
    assert not needs_trust(look)


def test_a_trust_that_lacks_our_statement() -> None:
    look = wanted(seen(document(EC2)))
    assert only(trust_checks(look), "trust").evidence == "One statement is added; every other stays as it is."
    assert needs_trust(look)


def test_a_trust_that_a_person_has_to_write() -> None:
    check = only(trust_checks(wanted(seen(document(EC2), may_write=False), bootstrap=None)), "trust")
    assert (check.result, check.fix) == ("warn", "The thread will hold the whole document.")


def test_a_trust_that_cannot_be_read() -> None:
    check = only(trust_checks(wanted(seen(unreadable="The policy document has no Statement."))), "trust")
    assert check.blocks
    assert check.evidence == f"The trust of `controllers{SUFFIX}` cannot be read: The policy document has no Statement."


def test_a_trust_that_denies() -> None:
    for statement in (trusting("*", "Deny", Sid="Never"), trusting({"AWS": HOME}, "Deny", Sid="Never")):
        check = only(trust_checks(wanted(seen(document(EC2, OURS, statement)))), "trust")
        assert check.blocks
        assert "Deny" in check.evidence or "den" in check.evidence
        assert check.fix == "Find out who put that there, and take it off or narrow it."


def filled(to: int) -> Document:
    """A trust that has exactly so many characters with our statement in it."""
    found = document(EC2, trusting({"AWS": STRANGER}, Sid="x"))
    short = to - size(merged(found, OURS))
    return document(EC2, trusting({"AWS": STRANGER}, Sid="x" * (short + 1)))


@pytest.mark.parametrize(("characters", "result"), [(TRUST_LIMIT, "pass"), (TRUST_LIMIT + 1, "block")])
def test_a_trust_has_a_limit(characters: int, result: str) -> None:
    look = wanted(seen(filled(characters)))
    assert size(merged(filled(characters), OURS)) == characters
    check = only(trust_checks(look), "trust")
    assert check.result == result
    if result == "block":
        assert check.evidence == "With our statement it would have 2049 characters; AWS allows 2048."


# -- the grant ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["role", "user"])
def test_a_grant_has_the_limit_of_its_kind(kind: str) -> None:
    """All inline policies of a principal count together: 10,240 characters of a role, 2,048 of a user."""
    limit, own = INLINE_LIMIT[kind], size(granted(None, ROLE, ""))
    assert limit == {"role": 10_240, "user": 2_048}[kind]
    fits = only(grant_checks(wanted(home=home(kind), inline=limit - own)), "grant")
    assert (fits.result, f"({limit} of {limit})" in fits.evidence) == ("pass", True)
    more = only(grant_checks(wanted(home=home(kind), inline=limit - own + 1)), "grant")
    assert more.evidence == (
        f"The inline policies of `control-plane{SUFFIX}` would have {limit + 1} characters; AWS allows {limit}."
    )
    assert more.blocks
    assert "operations.onboarding.organization_id" in more.fix


def many(kind: str) -> Document:
    """A grant to which no further account can be added."""
    accounts = iter(range(100_000_000_001, 100_000_001_000))
    found = granted(None, ROLE.replace(SECOND, str(next(accounts))), "")
    while size(more := granted(found, ROLE.replace(SECOND, str(next(accounts))), "")) <= INLINE_LIMIT[kind]:
        found = more
    return found


@pytest.mark.parametrize("kind", ["role", "user"])
def test_beyond_the_limit_the_policy_names_the_organisation(kind: str) -> None:
    full = many(kind)
    assert only(grant_checks(wanted(home=home(kind), grant=full)), "grant").blocks
    look = wanted(home=home(kind), grant=full, organization_id=ORGANIZATION)
    check = only(grant_checks(look), "grant")
    assert (check.result, "in the form that names no accounts" in check.evidence) == ("pass", True)
    after = granted(look.grant, ROLE, look.organization)
    assert organization_of(after) == ORGANIZATION
    assert listed(after) == (f"arn:aws:iam::*:role/controllers{SUFFIX}",)
    assert size(after) < 400
    assert all(names(after, role) for role in listed(full))  # those who had it keep it
    again = wanted(home=home(kind), grant=after)
    assert again.may_assume
    assert only(grant_checks(again), "grant").result == "pass"


def test_the_form_of_the_organisation_stays_once_it_is_there() -> None:
    after = granted(None, ROLE, ORGANIZATION)
    other = wanted(grant=after, tie=wanted().tie.model_copy(update={"role_arn": f"{ROLE}2"}))
    assert (other.may_assume, other.organization) == (False, ORGANIZATION)


# -- the management cluster --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "result", "evidence"),
    [
        ({"namespaces": "team-a,default"}, "pass", "Only clusters in default, team-a."),
        ({"namespaces": "default,nowhere"}, "warn", "Only clusters in default, nowhere. Not there: nowhere."),
        ({"selector": "team=a"}, "pass", "Only namespaces labelled team=a."),
        ({"all_namespaces": True}, "warn", "Every namespace of the management cluster, also those that are made later"),
    ],
)
def test_who_may_use_it_is_said(words: Json, result: str, evidence: str) -> None:
    check = only(kube_checks(wanted(words=words)), "namespaces")
    assert check.result == result
    assert check.evidence.startswith(evidence)


def test_the_identity_that_it_starts_from_has_to_allow_it_too() -> None:
    narrow = Kube(source={"spec": {"allowedNamespaces": {"list": ["team-a"]}}})
    look = wanted(home=home(kube=narrow), words={"namespaces": "team-a,default"})
    check = only(kube_checks(look), "source")
    assert check.blocks
    assert check.evidence.endswith("does not allow default.")
    assert [one.id for one in kube_checks(wanted(home=home(kube=Kube(source=None))))] == ["namespaces"]


def test_the_bots_rights_on_the_cluster() -> None:
    check = only(kube_checks(wanted(home=home(kube=Kube(lacks=("patch", "delete"))))), "rights")
    assert check.blocks
    assert check.evidence.startswith("The bot may not patch awsclusterroleidentities")


# -- the account as it is looked at ------------------------------------------------------------------------------


class Account:
    """An account whose roles have given trusts; simulations are as told."""

    def __init__(self, trust: Any, **more: Any) -> None:
        self.trust, self.more = trust, more

    def read(self, service: str, operation: str, **parameters: Any) -> Any:
        name = str(parameters.get("RoleName") or parameters.get("InstanceProfileName") or "")
        if operation == "get_caller_identity":
            return {"Account": self.more.get("account", SECOND)}
        if operation == "describe_stacks":
            raise AwsRefused("ValidationError", "does not exist")
        if name in self.more.get("missing", ()):
            raise AwsRefused(self.more.get("code", "NoSuchEntity"), f"AWS refused `{operation}`.")
        if operation == "get_instance_profile":
            return {"InstanceProfile": {"Roles": [] if name in self.more.get("empty", ()) else [{"RoleName": name}]}}
        return {"Role": {"AssumeRolePolicyDocument": self.trust, "MaxSessionDuration": self.more.get("longest", 3600)}}

    def pages(self, service: str, operation: str, key: str, **parameters: Any) -> Any:
        for action in parameters["ActionNames"]:
            decision, organization = self.more.get("denied", {}).get(action, ("allowed", True))
            yield {
                "EvalActionName": action, "EvalDecision": decision,
                "OrganizationsDecisionDetail": {"AllowedByOrganizations": organization},
            }  # fmt: skip


def checks(trust: Any = None, here: Json | None = None, tie: Tie | None = None, **more: Any) -> dict[str, Check]:
    management: Any = Account(None, denied=here or {})
    account: Any = Account(document(EC2, OURS) if trust is None else trust, **more)
    return {check.id: check for check in access_checks(tie or wanted().tie, management, account)}


def test_a_way_in_that_works() -> None:
    found = checks()
    assert list(found) == ["reader", "grant", "trust", "profiles", "permissions"]
    assert {check.result for check in found.values()} == {"pass"}


SIDE: dict[str, tuple[Any, str, str, str]] = {
    "nothing granted": (
        lambda: checks(here={"sts:AssumeRole": ("implicitDeny", True)}), "grant",
        "the management account's side is wrong",
        '"Action":"sts:AssumeRole"',
    ),
    "a denial of the principal": (
        lambda: checks(here={"sts:AssumeRole": ("explicitDeny", True)}), "grant", "denies sts:AssumeRole", "Deny",
    ),
    "the organisation": (
        lambda: checks(here={"sts:AssumeRole": ("explicitDeny", False)}), "grant",
        "service control policy", "organisation",
    ),
    "no trust": (lambda: checks(document(EC2)), "trust", "does not let them in", f'"Sid":"Tkgbot{HOME}"'),
    "a denying trust": (lambda: checks(document(OURS, trusting("*", "Deny"))), "trust", "does not let them in", "Deny"),
    "a malformed trust": (lambda: checks({"Version": "2012-10-17"}), "trust", "has no Statement", "by hand"),
    "no role": (lambda: checks(missing=(f"controllers{SUFFIX}",)), "trust", "has no role", "Onboard"),
    "another account": (lambda: checks(account=STRANGER), "reader", f"leads to account {STRANGER}", "again"),
    "no profile": (lambda: checks(missing=(f"nodes{SUFFIX}",)), "profiles", f"`nodes{SUFFIX}` is missing", "again"),
    "an empty profile": (lambda: checks(empty=(f"nodes{SUFFIX}",)), "profiles", "has no role", "again"),
    "a right that is missing": (
        lambda: checks(denied={"ec2:RunInstances": ("implicitDeny", True)}), "permissions",
        "lacks `ec2:RunInstances`", "again",
    ),
    "a right that the organisation forbids": (
        lambda: checks(denied={"ec2:RunInstances": ("explicitDeny", False)}), "scp",
        "`ec2:RunInstances`", "organisation",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("look", "name", "evidence", "fix"), SIDE.values(), ids=SIDE)
def test_which_side_is_wrong_and_what_is_missing(look: Any, name: str, evidence: str, fix: str) -> None:
    found = look()
    assert [check.id for check in found.values() if check.blocks] == [name]
    assert evidence in found[name].evidence
    assert fix in found[name].fix


def test_a_session_that_is_longer_than_the_role_allows() -> None:
    tie = wanted().tie.model_copy(update={"duration": 3600})
    assert "duration" not in checks(tie=tie)
    found = checks(tie=tie, longest=1800)["duration"]
    assert (found.blocks, found.fix) == (True, "Use --duration 1800 or less.")


def test_what_cannot_be_asked_is_unknown_and_blocks() -> None:
    found = checks(missing=(f"controllers{SUFFIX}",), code="ServiceFailure")
    assert (found["trust"].result, found["trust"].blocks) == ("unknown", True)


def test_an_account_is_read_with_a_trust_that_is_malformed() -> None:
    world: Any = SimpleNamespace(onboarding=Onboarding)
    aws: Any = Account({"Version": "2012-10-17"}, missing=(f"nodes{SUFFIX}",))
    found = inside(world, aws, DOOR, may_write=True, suffix=SUFFIX)
    assert (found.stack, found.trust, found.roles) == (None, None, {"control-plane", "controllers"})
    assert found.unreadable == "The policy document has no Statement."
