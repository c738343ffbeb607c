"""The life of an account that is brought in by a bot that is made to die: what is asked, what was there before, and
what must be there at its end. The bot is that of `clusterlife`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from handlers.steps.apply import CONFIG
from tests.durability.clusterlife import (
    GONE,
    WITHIN,
    Before,
    Left,
    asked,
    changes_of,
    click,
    left,
    until_ended,
    without_names,
)
from tests.durability.keeper import Keeper, Moment
from tests.durability.matrix import Life, begin
from tests.scenario.accounts import (
    CONTROLLERS,
    IDENTITIES,
    POLICY,
    PRINCIPAL,
    SECOND,
    STACK,
    STACK_WITHIN,
    THIRD,
    change_trust,
    client,
    command_of,
    deploy,
    make_roles,
    roles_in,
    status_of,
    tidy,
    trust_of,
    without_ours,
)
from tests.scenario.clusters import Administrator
from tests.world import DEV, MANAGEMENT, TENANT, Json, World, eventually

OTHERS: tuple[Json, ...] = (
    {
        "Sid": "AnotherManagementCluster",
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{TENANT}:root"},
        "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"sts:ExternalId": "theirs"}},
    },
    {"Effect": "Deny", "Principal": {"AWS": f"arn:aws:iam::{TENANT}:role/tkgbot"}, "Action": "sts:AssumeRole"},
)
"""Statements of other people in the trust of the controllers' role, beside EC2's."""
GRANTED = "arn:aws:iam::123412341234:role/controllers.cluster-api-provider-aws.sigs.k8s.io"
"""A role that the controllers may assume already, for an account that was brought in earlier."""


@dataclass(frozen=True)
class Seen(Left):
    """And what it left on the four sides of the tie, as their administrators see it."""

    stacks: list[str]
    """Every stack of the account with its state, its template's digest and its parameters."""
    trust: list[str]
    """Each statement of the trust of the controllers' role, in order."""
    granted: list[Any]
    """The statements of the bot's own policy on the controllers' principal."""
    identities: list[str]
    changes: dict[str, int]
    """How often each call of the bot changed something."""


# -- what people do ----------------------------------------------------------------------------------------------


def bring_in(keeper: Keeper, name: str, kill: Moment | None) -> Life:
    """An account is brought in through its bootstrap role."""
    before = begin(keeper, kill)
    card = _approved(keeper, name, SECOND)
    until_ended(keeper, card)
    return _life(keeper, name, card, before, SECOND)


def wait_for_person(
    keeper: Keeper, name: str, kill: Moment | None, *, at_rest: bool = False, parks: bool = False
) -> Life:
    """An account is brought in where only a person has rights: the run waits for that person's stack. With `parks` it
    has given up and is resumed. With `at_rest` the bot dies while it waits, and the stack is made while it is dead."""
    world = keeper.world
    before = begin(keeper, kill)
    card = _approved(keeper, name, THIRD)
    command = command_of(world, card)
    if parks:
        assert until_ended(keeper, card) == "parked"
    known = keeper.starts
    if at_rest:
        keeper.bot.kill()
    deploy(world, THIRD, command)
    if at_rest:
        eventually(lambda: keeper.starts > known, WITHIN)
    if parks:
        click(keeper, card, "resume", DEV)
    until_ended(keeper, card, GONE)
    return _life(keeper, name, card, before, THIRD)


def _approved(keeper: Keeper, name: str, account: str) -> Json:
    text = f"account onboard {account} --identity {name} --namespaces default"
    card = asked(keeper, text, f"onboard account {account} as {name}")
    click(keeper, card, "approve")
    return card


# -- what is there at the end ------------------------------------------------------------------------------------


def _life(keeper: Keeper, name: str, card: Json, before: Before, account: str) -> Life:
    return Life(look(keeper, name, card, before, account), keeper.moments(), list(keeper.codes))


def look(keeper: Keeper, name: str, card: Json, before: Before, account: str) -> Seen:
    """Everything that is to be seen of a request and of the tie."""
    world = keeper.world

    def told(value: Any) -> str:
        return without_names(json.dumps(value, sort_keys=True), name)

    return Seen(
        **left(keeper, name, card, before),
        stacks=[told(stack) for stack in _stacks(world, account)],
        trust=[told(statement) for statement in trust_of(world, account)["Statement"]],
        granted=_policy(world)["Statement"],
        identities=[told(item) for item in _identities(world)],
        changes=changes_of(world, name, before),
    )


def _stacks(world: World, account: str) -> list[Json]:
    """Also those that have nothing but a change set."""
    found = client(world, "cloudformation", account).describe_stacks()["Stacks"]
    keys = ("StackName", "StackStatus", "Parameters", "Tags")
    return [{key: stack[key] for key in keys} for stack in found if stack["StackStatus"] != "DELETE_COMPLETE"]


def _policy(world: World) -> Json:
    found = client(world, "iam", MANAGEMENT).get_role_policy(RoleName=PRINCIPAL, PolicyName=POLICY)
    return dict(found["PolicyDocument"])


def _identities(world: World) -> list[Json]:
    """Without the digest of the contents, in which the name stands."""
    return [
        {
            "name": item["metadata"]["name"],
            "spec": item["spec"],
            "annotations": {**item["metadata"].get("annotations", {}), CONFIG: "DIGEST"},
        }
        for item in Administrator(world).list(IDENTITIES)
    ]


# -- what was there, and putting it back -------------------------------------------------------------------------


def prepare(world: World, *, with_roles: bool) -> None:
    """A right of the controllers that stays; and roles that other people use already, or none."""
    tidy(world)
    if with_roles:
        make_roles(world, SECOND, *OTHERS)
    _put_granted(world)


def clear(world: World, name: str) -> None:
    """The administrators take the identity, the stacks and what the bot added away."""
    Administrator(world).delete(IDENTITIES, name)
    _put_granted(world)
    if CONTROLLERS in roles_in(world, SECOND):
        change_trust(world, SECOND, without_ours)
    for account in (SECOND, THIRD):
        if status_of(world, account):
            client(world, "cloudformation", account).delete_stack(StackName=STACK)
    eventually(lambda: not any(status_of(world, account) for account in (SECOND, THIRD)), STACK_WITHIN)


def _put_granted(world: World) -> None:
    statement = {
        "Sid": "AssumeSecondaryAccounts", "Effect": "Allow", "Action": "sts:AssumeRole", "Resource": [GRANTED],
    }  # fmt: skip
    document = {"Version": "2012-10-17", "Statement": [statement]}
    client(world, "iam", MANAGEMENT).put_role_policy(
        RoleName=PRINCIPAL, PolicyName=POLICY, PolicyDocument=json.dumps(document)
    )
