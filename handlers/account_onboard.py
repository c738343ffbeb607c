"""`account onboard`: brings a further AWS account under the management cluster.

Four things make the tie: the roles in the account (a stack), the trust of its controllers' role, the right of the
management cluster's controllers to assume it, and the identity on the management cluster. Each is observed, shown as a
difference, made only where it is missing, and proven before the run says done. (VMware Tanzu Kubernetes Grid 2.5:
"Clusters on Different AWS Accounts"; kubernetes-sigs/cluster-api-provider-aws, book: "Multi-tenancy".)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from handlers.account_access import Tie, access_checks
from handlers.account_check import checked, entry_of
from handlers.account_checks import grant_checks, inside_checks, kube_checks, right_account, stack_checks, trust_checks
from handlers.account_drift import access_drift, way_drift
from handlers.account_look import (
    ROLES,
    look_home,
)
from handlers.account_steps import steps_of
from handlers.account_wanted import Wanted, items_of, needs_trust, stack_changes, wanted_of
from handlers.account_words import OnboardArguments
from handlers.contract import (
    Check,
    Fact,
    Fatal,
    Finding,
    Impact,
    Inverse,
    Json,
    Operation,
    Plan,
    ReadWorld,
    Step,
    Table,
)
from handlers.iam.documents import Document, difference, merged
from handlers.identities import in_words, words_of
from handlers.steps.grant import POLICY, granted
from handlers.subnet_checks import blocks, passes


class AccountOnboard(Operation[OnboardArguments]):
    """Brings an account in."""

    name = "account onboard"
    summary = "Bring another AWS account under the management cluster"
    examples = (
        "account onboard 444455556666 --identity team-a --namespaces team-a",
        "account onboard 444455556666 --identity shared --selector accounts=shared --region eu-west-1",
    )
    arguments = OnboardArguments

    def plan(self, arguments: OnboardArguments, world: ReadWorld) -> Plan:
        """Looks at both sides, and plans what is missing of the four."""
        home, checks = look_home(world, arguments.identity)
        if home is None:
            return _empty(arguments, checks)
        checks += right_account(arguments, home, world)
        if any(check.blocks for check in checks):
            return _empty(arguments, checks)
        wanted, about = wanted_of(arguments, home, world)
        checks = [*checks, about]
        if about.blocks:
            return _empty(arguments, checks)
        changes = stack_changes(wanted, world)
        checks += [*stack_checks(wanted), *trust_checks(wanted), *grant_checks(wanted), *kube_checks(wanted)]
        checks += inside_checks(wanted, world)
        blocked = any(check.blocks for check in checks)
        steps = () if blocked else tuple(steps_of(wanted, world, changes))
        return Plan(
            headline=f"onboard account {arguments.account_id} as {arguments.identity}",
            checks=tuple(checks),
            facts=tuple(_facts(wanted)),
            targets=targets(wanted.tie),
            steps=steps,
            impact=_impact(wanted, steps),
            details=_details(wanted, changes),
        )

    def verify(self, arguments: OnboardArguments, plan: Plan, world: ReadWorld) -> list[Check]:
        """Both sides once more, with fresh sessions; and the identity as the management cluster has it."""
        home, checks = look_home(world, arguments.identity)
        if home is None or home.item is None:
            fix = f"`/tkg account check {arguments.identity}`"
            return (
                checks
                if home is None
                else [blocks("verify identity", "The identity is there", "It is not there.", fix)]
            )
        wanted, _ = wanted_of(arguments, home, world)
        inside = world.aws(wanted.reader, wanted.reader.region)
        seen = [check for check in access_checks(wanted.tie, home.aws, inside) if check.result != "warn"]
        spec: Any = home.item.get("spec")
        who = in_words(spec.get("allowedNamespaces"))
        said = f"`{arguments.identity}` leads into account {arguments.account_id}; {who} may use it."
        return [*seen, passes("verify identity", "The identity is there", said)]

    def drift(self, arguments: OnboardArguments, world: ReadWorld) -> tuple[Finding, ...]:
        """What of the four is not there any more, or not as it was made; then, what the role may not do any more."""
        lost = way_drift(arguments, self.plan(arguments, world), self.name)
        if lost:
            return lost
        home, problems = look_home(world, arguments.identity)
        entry = entry_of(home.item, world) if home is not None and home.item is not None else None
        if home is None or entry is None:
            raise Fatal(problems[-1].evidence, problems[-1].fix)
        return access_drift(arguments, checked(entry, home, world))

    def inverse(self, arguments: OnboardArguments, plan: Plan, touched: Sequence[int]) -> Inverse | None:
        """Offboarding what this run brought in, with the stack only where it made that. Where the identity was there
        before, what it said before; a repair of trust or grant alone is not taken back."""
        done = [plan.steps[position] for position in touched]
        facts: dict[str, Any] = {fact.name: fact.value for fact in plan.facts}
        if facts["identity"] is not None:
            said = words_of(facts["identity"]) if any(step.kind == "apply" for step in done) else None
            place: Json = {
                "account_id": arguments.account_id,
                "identity": arguments.identity,
                "region": facts["region"],
            }
            return Inverse(operation=self.name, arguments={**place, **said}) if said else None
        if not any(step.kind in ("stack", "trust", "grant", "apply") for step in done):
            return None
        made = any(step.kind == "stack" and not step.before.get("stack") for step in done)
        return Inverse(
            operation="account offboard",
            arguments={
                "account": arguments.identity, "stack": made, "account_id": arguments.account_id,
                "external_id": facts["external id"], "region": facts["region"],
            },
        )  # fmt: skip


def targets(tie: Tie) -> tuple[str, ...]:
    """What runs must not change at the same time: two accounts share the one policy of the controllers' principal."""
    return (
        f"IAM of account {tie.account_id}",
        f"IAM {tie.principal_kind} {tie.principal_name} of account {tie.home_id}",
        f"identity {tie.identity}",
    )


def _facts(wanted: Wanted) -> list[Fact]:
    """What the steps do not change."""
    return [
        Fact(name="controllers", value=wanted.tie.principal),
        Fact(name="management account", value=wanted.tie.home_id),
        Fact(name="the bot", value=wanted.home.myself),
        Fact(name="external id", value=wanted.tie.external_id),
        Fact(name="region", value=wanted.reader.region),
        Fact(name="way", value="bootstrap" if wanted.bootstrap else "person"),
        Fact(name="identity", value=(wanted.home.item or {}).get("spec"), material=False),
    ]


def _impact(wanted: Wanted, steps: Sequence[Step]) -> Impact:
    kinds = {step.kind for step in steps}
    creates = [f"stack {wanted.stack} in {wanted.tie.account_id}"] if kinds & {"stack", "await-stack"} else []
    changes = [f"trust of {wanted.tie.role}"] if "trust" in kinds else []
    changes += [f"policy {POLICY} of {wanted.tie.principal_name}"] if "grant" in kinds else []
    if "apply" in kinds:
        (changes if wanted.home.item is not None else creates).append(f"AWSClusterRoleIdentity {wanted.tie.identity}")
    back = wanted.home.item is None or any(step.kind == "apply" for step in steps)
    return Impact(creates=tuple(creates), changes=tuple(changes), reversible=back, cost_per_hour_usd=0.0)


def _details(wanted: Wanted, changes: Sequence[str]) -> Table:
    """The difference on every side, in plain words; what matters most first, and short enough for a phone."""
    tie, found = wanted.tie, wanted.inside
    rows: list[tuple[str, str]] = []
    if found is not None and found.trust is not None and needs_trust(wanted):
        rows += [("trust", line) for line in _trust_lines(tie, found.trust, merged(found.trust, tie.statement()))]
    elif found is None or found.trust is None:
        rows += [("trust", line) for line in _trust_lines(tie, None, {"Statement": [tie.statement()]})]
    if not wanted.may_assume:
        after = granted(wanted.grant, tie.role_arn, wanted.organization)
        ours = f"+ {short(tie, tie.principal_name)} may assume {short(tie, tie.role)} of {tie.account_id}"
        rows += [("policy", ours if line[0] == "+" else line) for line in difference(wanted.grant, after)]
    rows += [("identity", line) for line in _identity_lines(wanted)]
    if wanted.bootstrap is None and (found is None or found.roles != set(ROLES)):
        rows.append(("stack", f"+ {wanted.stack}, which a person makes"))
    signs = {"Add": "+", "Remove": "-", "Modify": "~"}
    for change in changes:
        verb, _, resource = change.partition(" ")
        rows.append(("stack", f"{signs.get(verb, verb)} {resource}"))
    return Table(header=("Where", "Change"), rows=tuple(rows))


def short(tie: Tie, name: str) -> str:
    """A role's name without what all of them end in."""
    return name.removesuffix(tie.suffix)


def _trust_lines(tie: Tie, old: Document | None, new: Document) -> list[str]:
    """Our own statement in short words; every other one whole."""
    who = "everybody" if tie.whole_account else short(tie, tie.principal_name)
    asks = f", when sts:ExternalId is {tie.external_id}" if tie.external_id else ""
    ours, sid = f"+ lets in {who} of {tie.home_id}{asks}", str(tie.statement()["Sid"])
    return [ours if line[0] == "+" and sid in line else line for line in difference(old, new)]


def _identity_lines(wanted: Wanted) -> list[str]:
    """For whom, first; then what else of its spec changes."""
    old: Any = (wanted.home.item or {}).get("spec") or {}
    new: Any = items_of(wanted)[-1]["spec"]
    if not old:
        return [
            f"+ {wanted.tie.identity}, for {in_words(new['allowedNamespaces'])}",
            f"+ sessions of {new['durationSeconds']} s, from AWSClusterControllerIdentity default",
        ]
    said: dict[str, Callable[[Any], str]] = {
        "allowedNamespaces": in_words, "sourceIdentityRef": lambda ref: f"{ref['kind']} {ref['name']}",
    }  # fmt: skip
    lines: list[str] = []
    for key in sorted({*old, *new}):
        before, after = old.get(key), new.get(key)
        if before == after and key in old:
            continue
        word = said.get(key, str)
        lines += [f"- {key}: {word(before)}"] if key in old else []
        lines += [f"+ {key}: {word(after)}"] if key in new else []
    return lines or ["stays as it is"]


def _empty(arguments: OnboardArguments, checks: Sequence[Check]) -> Plan:
    return Plan(
        headline=f"onboard account {arguments.account_id} as {arguments.identity}", checks=tuple(checks), facts=(),
        targets=(), steps=(), impact=Impact(reversible=True),
    )  # fmt: skip


OPERATIONS = (AccountOnboard(),)
