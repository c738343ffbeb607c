"""`account offboard`: takes an account out from under the management cluster, and leaves what was there before.

Refused while a cluster uses it, because such a cluster could be neither changed nor deleted any more. The order is the
reverse of onboarding: first nobody can start to use it, then nobody can get in. (kubernetes-sigs/
cluster-api-provider-aws, book: "Multi-tenancy"; IAM User Guide: "Revoking IAM role temporary security credentials".)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from handlers.account_look import Home, Inside, doors, look_home, look_inside
from handlers.account_rights import Names, grant_actions, stack_actions, trust_actions
from handlers.account_words import OffboardArguments
from handlers.accounts import Onboarded, onboarded
from handlers.contract import Check, Door, Fact, Impact, Inverse, Json, Operation, Plan, ReadWorld, Right, Step, Table
from handlers.iam.documents import difference, digest, statements, without
from handlers.iam.trust import sid_of
from handlers.identities import in_words, users_of, words_of
from handlers.kinds import ROLE_IDENTITY
from handlers.steps.grant import POLICY, RevokeStep, listed, read_grant
from handlers.steps.remove import RemoveStep, Seen
from handlers.steps.stack import UnstackStep
from handlers.steps.trust import TrustStep
from handlers.subnet_checks import blocks, passes, warns

OPEN_SESSIONS = (
    "Sessions that the controllers have open go on for up to an hour; to end them at once, deny by "
    "aws:TokenIssueTime in the account."
)


@dataclass(frozen=True)
class Going:
    """What there is of the tie, to be taken away."""

    arguments: OffboardArguments
    home: Home
    account_id: str
    role_arn: str
    region: str
    bootstrap: Door | None
    reader: Door
    inside: Inside | None
    stack: str
    suffix: str
    shared: tuple[str, ...]

    @property
    def role(self) -> str:
        """The name of the controllers' role there."""
        return self.role_arn.rpartition("/")[2]

    @property
    def sid(self) -> str:
        """Whose statement in its trust is ours."""
        return sid_of(self.home.account_id)

    @property
    def has_statement(self) -> bool:
        """Our statement is in the trust."""
        trust = self.inside.trust if self.inside else None
        return trust is not None and any(one.get("Sid") == self.sid for one in statements(trust))

    @property
    def stack_goes(self) -> bool:
        """The stack is there, was asked for, and can be deleted by the bot."""
        return bool(self.arguments.stack and self.inside and self.inside.stack and self.bootstrap)

    @property
    def role_goes(self) -> bool:
        """With the stack goes the role and its whole trust."""
        stack = self.inside.stack if self.inside else None
        return self.stack_goes and stack is not None and stack.parameters.get("MakeClusterRoles") == "true"


class AccountOffboard(Operation[OffboardArguments]):
    """Takes an account out."""

    name = "account offboard"
    ends = ("account onboard",)
    summary = "Take an AWS account out again that was brought in"
    examples = ("account offboard team-a", "account offboard team-a --stack")
    arguments = OffboardArguments

    def plan(self, arguments: OffboardArguments, world: ReadWorld) -> Plan:
        """Looks who uses it, and what there is of the tie."""
        home, checks = look_home(world, arguments.account)
        if home is None:
            return _empty(arguments, checks)
        found, about = _going(arguments, home, world)
        checks += about
        if found is None or any(check.blocks for check in checks):
            return _empty(arguments, checks)
        checks += [_users(home, arguments.account), *_left_alone(found), _sessions()]
        blocked = any(check.blocks for check in checks)
        steps = () if blocked else tuple(_steps(found))
        return Plan(
            headline=f"offboard account {found.account_id} ({arguments.account})",
            checks=tuple(checks),
            facts=tuple(_facts(found)),
            targets=(
                f"IAM of account {found.account_id}",
                f"IAM {home.principal.kind} {home.principal.name} of account {home.account_id}",
                f"identity {arguments.account}",
            ),
            steps=steps,
            impact=_impact(found, steps),
            details=_details(found, steps),
        )

    def verify(self, arguments: OffboardArguments, plan: Plan, world: ReadWorld) -> list[Check]:
        """Nothing of the tie is left that this run was to take away."""
        home, checks = look_home(world, arguments.account)
        if home is None:
            return checks
        kinds = {step.kind for step in plan.steps}
        role = next((str(fact.value) for fact in plan.facts if fact.name == "role"), "")
        title, seen = "Nothing of it is left", []
        if "remove" in kinds and home.item is not None:
            seen.append(f"the identity {arguments.account} is still there")
        if "revoke" in kinds:
            grant = read_grant(home.aws, home.principal.kind, home.principal.name)
            if grant is not None and role in listed(grant):
                seen.append(f"the policy {POLICY} still names {role}")
        if seen:
            return [blocks("verify gone", title, f"{'; '.join(seen)}.", f"`/tkg account offboard {arguments.account}`")]
        return [passes("verify gone", title, f"{arguments.account} is out. {OPEN_SESSIONS}")]

    def inverse(self, arguments: OffboardArguments, plan: Plan, touched: Sequence[int]) -> Inverse | None:
        """Onboarding it again for whom it was."""
        facts: dict[str, Any] = {fact.name: fact.value for fact in plan.facts}
        said = words_of(facts["identity"]) if facts.get("identity") else None
        if not touched or said is None:
            return None
        place: Json = {"account_id": facts["account"], "identity": arguments.account, "region": facts["region"]}
        return Inverse(operation="account onboard", arguments={**place, **said})


def _going(arguments: OffboardArguments, home: Home, world: ReadWorld) -> tuple[Going | None, list[Check]]:
    title, tied = "What is to go", home.identity
    suffix = world.clusters().iam_suffix
    account_id = tied.account_id if tied else arguments.account_id
    if account_id is None:
        evidence = f"The management cluster has no AWSClusterRoleIdentity {arguments.account}."
        fix = "`/tkg account list` shows those that there are; or add --account-id, to clear away what is left of one."
        return None, [blocks("account", title, evidence, fix)]
    if arguments.account_id not in (None, account_id):
        evidence = f"The identity {arguments.account} leads into account {account_id}, not {arguments.account_id}."
        return None, [blocks("account", title, evidence, "Leave out --account-id.")]
    role = tied.role_arn if tied else f"arn:{home.partition}:iam::{account_id}:role/controllers{suffix}"
    external = (tied.external_id if tied else None) or arguments.external_id or ""
    region = arguments.region or (tied and tied.door and tied.door.region) or home.region
    bootstrap, reader = doors(world, account_id, home.partition, region, external)
    if tied is not None and tied.door is not None:
        reader = tied.door
    inside, about = look_inside(world, bootstrap, reader, suffix)
    found = Going(
        arguments, home, account_id, role, region, bootstrap, reader, inside, world.onboarding().stack_name, suffix,
        _shared(home, arguments.account, role),
    )  # fmt: skip
    what = f"identity {arguments.account}, account {account_id}"
    return found, [passes("account", title, f"{what}."), about]


def _shared(home: Home, name: str, role: str) -> tuple[str, ...]:
    """Other identities that lead to the same role: they go on needing trust and grant."""
    found: list[Onboarded | None] = [onboarded(item) for item in home.kube.pages(ROLE_IDENTITY)]
    return tuple(sorted(other.name for other in found if other and other.role_arn == role and other.name != name))


def _users(home: Home, name: str) -> Check:
    title = "Nothing uses it"
    clusters, others = users_of(home.kube, name)
    if clusters:
        evidence = f"Clusters that use it: {', '.join(clusters)}."
        return blocks("users", title, evidence, "Delete them first: without it nothing could take their machines away.")
    if others:
        evidence = f"Identities that start from it: {', '.join(others)}."
        return blocks("users", title, evidence, "Offboard those first.")
    return passes("users", title, f"No cluster and no other identity refers to {name}.")


def _left_alone(found: Going) -> list[Check]:
    checks: list[Check] = []
    if found.shared:
        evidence = f"{', '.join(found.shared)} lead to the same role, so its trust and the controllers' right stay."
        checks.append(warns("shared", "What stays", evidence, "They go with the last one."))
    if found.inside is None:
        evidence = f"The bot cannot look into account {found.account_id}: what is there stays."
        fix = f"Somebody with rights there can delete the stack `{found.stack}`, and our statement `{found.sid}`."
        checks.append(warns("inside-stays", "What stays", evidence, fix))
    elif found.arguments.stack and found.inside.stack and found.bootstrap is None:
        evidence = f"The stack `{found.stack}` was made by a person, and the bot may not delete it."
        command = f"aws cloudformation delete-stack --region {found.region} --stack-name {found.stack}"
        fix = f"Somebody with rights there: {command}"
        checks.append(warns("stack-stays", "What stays", evidence, fix))
    if found.role_goes and found.inside is not None and found.inside.trust is not None:
        others = [
            str(one.get("Sid") or "one without a Sid")
            for one in statements(found.inside.trust)
            if one.get("Sid") != found.sid and "Service" not in (one.get("Principal") or {})
        ]
        if others:
            evidence = f"With the role goes what others put into its trust: {', '.join(others)}."
            checks.append(warns("others", "What goes with it", evidence, "Leave out --stack to keep the role."))
    return checks


def _sessions() -> Check:
    return warns("sessions", "Open sessions", OPEN_SESSIONS, "Wait an hour before you count on it.")


def _steps(found: Going) -> list[Step]:
    home, name = found.home, found.arguments.account
    steps: list[Step] = []
    if home.item is not None:
        meta: Any = home.item["metadata"]
        steps.append(
            RemoveStep(
                title=f"delete the AWSClusterRoleIdentity `{name}`",
                targets=(f"identity {name}",),
                rights=(Right(verb="delete", resource=ROLE_IDENTITY.resource, name=name),),
                objects=(Seen(resource=ROLE_IDENTITY.resource, namespace="", name=name, uid=str(meta["uid"])),),
                before={"spec": home.item.get("spec")},
            )
        )
    if found.shared:
        return steps
    grant = read_grant(home.aws, home.principal.kind, home.principal.name)
    if grant is not None and found.role_arn in listed(grant):
        steps.append(
            RevokeStep(
                title=f"take `{found.role}` of {found.account_id} out of what `{home.principal.name}` may assume",
                targets=(f"IAM {home.principal.kind} {home.principal.name} of account {home.account_id}",),
                actions=grant_actions(home.account, home.region, home.principal.arn, home.principal.kind),
                account=home.account,
                region=home.region,
                principal_kind=home.principal.kind,
                principal=home.principal.name,
                role_arn=found.role_arn,
            )
        )
    return [*steps, *_inside_steps(found)]


def _inside_steps(found: Going) -> list[Step]:
    inside, target = found.inside, (f"IAM of account {found.account_id}",)
    if inside is None:
        return []
    steps: list[Step] = []
    if found.has_statement and inside.trust is not None and not found.role_goes:
        steps.append(
            TrustStep(
                title=f"take the statement `{found.sid}` out of the trust of `{found.role}` in {found.account_id}",
                targets=target,
                actions=trust_actions(inside.door, found.role_arn, write=inside.may_write),
                door=inside.door,
                role=found.role,
                sid=found.sid,
                document=without(inside.trust, found.sid),
                by_hand=not inside.may_write,
                before={"document": inside.trust, "digest": digest(inside.trust)},
            )
        )
    if found.stack_goes and inside.stack is not None and found.bootstrap is not None:
        partition, reader = found.home.partition, found.reader.role_arn.rpartition("/")[2]
        names = Names(partition, found.account_id, found.suffix, reader, found.stack)
        steps.append(
            UnstackStep(
                title=f"delete the stack `{found.stack}` with its roles in {found.account_id}",
                targets=target,
                actions=stack_actions(found.bootstrap, names, drop=True),
                door=found.bootstrap,
                name=found.stack,
                id=inside.stack.id,
                before={"parameters": dict(inside.stack.parameters)},
            )
        )
    return steps


def _facts(found: Going) -> list[Fact]:
    spec: Any = (found.home.item or {}).get("spec")
    return [
        Fact(name="account", value=found.account_id),
        Fact(name="role", value=found.role_arn),
        Fact(name="region", value=found.region),
        Fact(name="controllers", value=found.home.principal.arn),
        Fact(name="identity", value=spec, material=False),
    ]


def _impact(found: Going, steps: Sequence[Step]) -> Impact:
    kinds = {step.kind for step in steps}
    deletes = [f"AWSClusterRoleIdentity {found.arguments.account}"] if "remove" in kinds else []
    deletes += [f"stack {found.stack} in {found.account_id}"] if "unstack" in kinds else []
    changes = [f"trust of {found.role}"] if "trust" in kinds else []
    changes += [f"policy {POLICY} of {found.home.principal.name}"] if "revoke" in kinds else []
    return Impact(changes=tuple(changes), deletes=tuple(deletes), reversible=True, cost_per_hour_usd=0.0)


def _details(found: Going, steps: Sequence[Step]) -> Table | None:
    rows: list[tuple[str, str]] = []
    for step in steps:
        if isinstance(step, TrustStep):
            old: Any = step.before["document"]
            rows += [("trust", line) for line in difference(old, step.document)]
        elif isinstance(step, RevokeStep):
            rows.append(("policy", f"- {step.principal} may assume {step.role_arn}"))
        elif isinstance(step, RemoveStep):
            spec: Any = step.before.get("spec") or {}
            rows.append(("identity", f"- {found.arguments.account}, for {in_words(spec.get('allowedNamespaces'))}"))
        else:
            rows.append(("stack", f"- {found.stack}, with its roles"))
    return Table(header=("Where", "Change"), rows=tuple(rows)) if rows else None


def _empty(arguments: OffboardArguments, checks: Sequence[Check]) -> Plan:
    return Plan(
        headline=f"offboard account {arguments.account}", checks=tuple(checks), facts=(), targets=(), steps=(),
        impact=Impact(reversible=True),
    )  # fmt: skip


OPERATIONS = (AccountOffboard(),)
