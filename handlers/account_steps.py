"""The steps that bring an account in: each only where something is missing."""

from __future__ import annotations

from typing import Any

from handlers.account_by_hand import by_hand
from handlers.account_look import (
    ROLES,
)
from handlers.account_probe import probe_steps
from handlers.account_rights import (
    grant_actions,
    home_look_actions,
    look_actions,
    stack_actions,
    trust_actions,
)
from handlers.account_wanted import Wanted, items_of, needs_trust, rule_of
from handlers.contract import (
    Json,
    ReadWorld,
    Step,
)
from handlers.iam.documents import digest, merged
from handlers.identities import allows, in_words
from handlers.stacks import (
    template_digest,
)
from handlers.steps.apply import ApplyStep, called, config_of, rights_for
from handlers.steps.await_access import AwaitAccessStep, AwaitStackStep
from handlers.steps.grant import GrantStep
from handlers.steps.stack import StackStep
from handlers.steps.trust import TrustStep


def steps_of(wanted: Wanted, world: ReadWorld, changes: tuple[str, ...]) -> list[Step]:
    """In their order: stack, trust, grant, a proof that both sides hold, and only then the identity."""
    tie, home = wanted.tie, wanted.home
    stack, trust, grant = _stack_steps(wanted, world, changes), _trust_steps(wanted), _grant_steps(wanted)
    # all accounts share the controllers' policy: a run that waits for a person must not hold it meanwhile
    steps = [*grant, *stack, *trust] if wanted.bootstrap is None else [*stack, *trust, *grant]
    items = items_of(wanted)
    identity_there = home.item is not None and config_of(home.item) == config_of(items[-1])
    if not steps and identity_there and len(items) == 1:
        return []
    waiting = AwaitAccessStep(
        title="wait until both sides hold everywhere",
        targets=(f"identity {tie.identity}",),
        actions=(*look_actions(wanted.reader), *home_look_actions(home.account, home.region)),
        door=wanted.reader, tie=tie, account=home.account, region=home.region,
        patience=world.onboarding().propagation,
    )  # fmt: skip
    identity = [] if identity_there and len(items) == 1 else [_identity_step(wanted, items)]
    return [*steps, waiting, *identity, *_probe_steps(wanted, world, items[-1])]


def _probe_steps(wanted: Wanted, world: ReadWorld, item: Json) -> list[Step]:
    """Where the team allows one, and the identity allows its namespace."""
    space = world.onboarding().probe_namespace
    if space is None or not allows(item, space, wanted.home.kube):
        return []
    return probe_steps(
        wanted.home.kube, wanted.tie.identity, space, wanted.reader.region,
        patience=world.onboarding().propagation, targets=(f"identity {wanted.tie.identity}",),
    )  # fmt: skip


def _stack_steps(wanted: Wanted, world: ReadWorld, changes: tuple[str, ...]) -> list[Step]:
    tie, door = wanted.tie, wanted.bootstrap
    if door is None:
        if wanted.inside is not None and wanted.inside.roles == set(ROLES):
            return []
        return [
            AwaitStackStep(
                title=f"wait until a person has made the stack `{wanted.stack}` in {tie.account_id}",
                targets=(f"IAM of account {tie.account_id}",),
                actions=look_actions(wanted.reader),
                door=wanted.reader,
                roles=tuple(tie.name_of(role) for role in ("control-plane", "nodes", "controllers")),
                told=by_hand(
                    wanted.stack, wanted.parameters(), tie.account_id, wanted.reader.region, tie.partition,
                    world.onboarding().template_url,
                ),
                patience=world.onboarding().person_patience,
            )
        ]  # fmt: skip
    if not changes:
        return []
    found = wanted.inside.stack if wanted.inside else None
    there = found is not None and found.status != "REVIEW_IN_PROGRESS"
    what = "the reader role" if wanted.adopts else "the roles"
    return [
        StackStep(
            title=f"{'update' if there else 'make'} the stack `{wanted.stack}` with {what} in {tie.account_id}",
            targets=(f"IAM of account {tie.account_id}",),
            actions=stack_actions(door, wanted.names),
            door=door,
            name=wanted.stack,
            template=template_digest(),
            parameters=wanted.parameters(),
            changes=changes,
            before={
                "stack": found.id if found is not None and there else None,
                "parameters": dict(found.parameters) if found is not None and there else {},
            },
        )
    ]


def _trust_steps(wanted: Wanted) -> list[Step]:
    found, tie = wanted.inside, wanted.tie
    if found is None or found.trust is None or not needs_trust(wanted):
        return []
    return [
        TrustStep(
            title=f"add the statement `{tie.statement()['Sid']}` to the trust of `{tie.role}` in {tie.account_id}",
            targets=(f"IAM of account {tie.account_id}",),
            actions=trust_actions(found.door, tie.role_arn, write=found.may_write),
            door=found.door,
            role=tie.role,
            sid=str(tie.statement()["Sid"]),
            document=merged(found.trust, tie.statement()),
            by_hand=not found.may_write,
            before={"document": found.trust, "digest": digest(found.trust)},
        )
    ]


def _grant_steps(wanted: Wanted) -> list[Step]:
    tie, home = wanted.tie, wanted.home
    if wanted.may_assume:
        return []
    return [
        GrantStep(
            title=f"let `{tie.principal_name}` of the management account assume `{tie.role}` of {tie.account_id}",
            targets=(f"IAM {tie.principal_kind} {tie.principal_name} of account {tie.home_id}",),
            actions=grant_actions(home.account, home.region, tie.principal, tie.principal_kind),
            account=home.account,
            region=home.region,
            principal_kind=tie.principal_kind,
            principal=tie.principal_name,
            role_arn=tie.role_arn,
            organization=wanted.organization,
        )
    ]


def _identity_step(wanted: Wanted, items: tuple[Json, ...]) -> Step:
    found = wanted.home.item
    verb = "change" if found is not None else "make"
    meta: Any = (found or {}).get("metadata") or {}
    return ApplyStep(
        title=f"{verb} the AWSClusterRoleIdentity `{wanted.tie.identity}` for {in_words(rule_of(wanted.arguments))}",
        targets=(f"identity {wanted.tie.identity}",),
        rights=rights_for(items),
        objects=items,
        over={called(items[-1]): config_of(found)} if found is not None else {},
        before={"uid": meta.get("uid"), "spec": (found or {}).get("spec")},
    )
