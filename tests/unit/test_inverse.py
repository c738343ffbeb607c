"""Undo: an inverse puts back every tag exactly as it was, never touches another subnet, and can itself be undone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.grammar import ROOT, Command, parse, render
from handlers.contract import Fact, Inverse, Json, Plan
from handlers.steps.untag import UntagStep
from handlers.workshop import TeamWorkshop
from tests.unit.clouds import CALLER, ROLE, Cloud, asked, carried_out, key, planned, turned
from tests.unit.makers import SUBNETS, make_plan, tag_step

DEMO, OTHER = key("demo"), key("other")
PROFILE = settings(
    deadline=None, derandomize=True, max_examples=20, report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip


def run(shop: TeamWorkshop, operation: str, arguments: Json) -> tuple[Plan, Inverse | None]:
    """Plans, carries out, and asks for the inverse."""
    plan = shop.plan(operation, arguments, CALLER)
    touched = carried_out(shop, plan)
    assert touched == list(range(len(plan.steps)))
    return plan, turned(shop, operation, arguments, plan, touched)


def arguments_of(shop: TeamWorkshop, inverse: Inverse) -> Json:
    """What the chat side makes of an inverse: it is checked, and what is left out is filled in."""
    return asked(shop, inverse.operation, **inverse.arguments)


def named(inverse: Inverse) -> tuple[set[str], set[str]]:
    """The subnets that an inverse speaks of, for the cluster's tag and for the role tag."""
    subnets: Any = inverse.arguments.get("subnets", ())
    roles = str(inverse.arguments.get("role_subnets") or "")
    return set(subnets), set(subnets) if inverse.arguments.get("role_tag") else set(roles.split(",")) - {""}


# -- its words ---------------------------------------------------------------------------------------------------


def test_each_tag_has_subnets_of_its_own(cloud: Cloud, shop: TeamWorkshop) -> None:
    first, second, third = cloud.public()
    cloud.put([first], demo="shared")
    _, inverse = run(shop, "subnet tag", asked(shop, "subnet tag", cluster="demo", vpc=cloud.vpc(), role_tag=True))
    assert inverse is not None
    assert inverse.operation == "subnet untag"
    assert inverse.arguments == {
        "cluster": "demo",
        "account": "management",
        "region": "us-east-1",
        "subnets": [second, third],
        "role_subnets": f"{first},{second},{third}",
    }


def test_only_the_touched_steps_are_taken_back(cloud: Cloud, shop: TeamWorkshop) -> None:
    first, second, _ = cloud.public()
    cloud.put([first], demo="shared")
    arguments = asked(shop, "subnet tag", cluster="demo", subnets=[first, second], role_tag=True)
    plan = shop.plan("subnet tag", arguments, CALLER)
    by_touch = [turned(shop, "subnet tag", arguments, plan, touched) for touched in ([], [0], [1])]
    assert by_touch[0] is None
    assert [inverse and inverse.arguments.get("subnets") for inverse in by_touch] == [None, [second], None]
    assert [inverse and inverse.arguments.get("role_subnets") for inverse in by_touch] == [
        None,
        None,
        f"{first},{second}",
    ]


def test_only_what_was_observed_is_put_back(shop: TeamWorkshop) -> None:
    """A step may name a subnet that had the tag already, or whose tag had gone: nothing is done about these."""
    first, second = SUBNETS[:2]
    tagging = make_plan(steps=(tag_step(first, second, before={first: None, second: "shared"}),))
    arguments = asked(shop, "subnet tag", cluster="demo", subnets=[first, second])
    back = turned(shop, "subnet tag", arguments, tagging, [0])
    assert back is not None
    assert back.arguments["subnets"] == [first]
    fields = tag_step(first, second).model_dump(exclude={"kind"})
    step = UntagStep(**{**fields, "before": {first: None, second: "shared"}})
    facts = tuple(Fact(name=name, value={"public": True}, material=False) for name in (first, second))
    untagging = make_plan(steps=(step,), facts=facts)
    again = turned(shop, "subnet untag", arguments_of(shop, back), untagging, [0])
    assert again is not None
    assert (again.arguments["subnets"], "private" in again.arguments) == ([second], False)


def test_the_same_subnets_for_both_tags_are_said_once(cloud: Cloud, shop: TeamWorkshop) -> None:
    subnets = cloud.public()
    cloud.write(subnets, {DEMO: "shared", ROLE: "1"})
    _, inverse = run(shop, "subnet untag", asked(shop, "subnet untag", cluster="demo", vpc=cloud.vpc(), role_tag=True))
    assert inverse is not None
    assert inverse.arguments == {
        "cluster": "demo", "account": "management", "region": "us-east-1", "subnets": subnets, "role_tag": True,
    }  # fmt: skip


def test_a_private_subnet_can_be_put_back(cloud: Cloud, shop: TeamWorkshop) -> None:
    """Private subnets are tagged for internal load balancers, and `subnet tag` takes them only when told to."""
    private = cloud.subnet("private-a")
    cloud.put([private], demo="shared")
    _, inverse = run(shop, "subnet untag", asked(shop, "subnet untag", cluster="demo", subnets=[private]))
    assert inverse is not None
    assert inverse.arguments["private"] is True
    plan, _ = run(shop, inverse.operation, arguments_of(shop, inverse))
    assert {check.id: check.result for check in plan.checks}["public"] == "warn"
    assert cloud.tags([private])[private] == {DEMO: "shared"}
    assert planned(shop, "subnet tag", cluster="new", subnets=[private]).blocked


@pytest.mark.parametrize("operation", ["subnet tag", "subnet untag"])
def test_an_inverse_is_a_command_that_can_be_typed(cloud: Cloud, shop: TeamWorkshop, operation: str) -> None:
    first, second, third = cloud.public()
    before = {DEMO: "shared", ROLE: "1"} if operation == "subnet untag" else {OTHER: "shared"}
    cloud.write([first, second], before)
    more = {"role_subnets": f"{second},{third}"}
    _, inverse = run(shop, operation, asked(shop, operation, cluster="demo", subnets=[first, second], **more))
    assert inverse is not None
    arguments = arguments_of(shop, inverse)
    typed = render(shop.operations[inverse.operation], arguments)
    assert typed.startswith(f"/tkg {inverse.operation} demo ")
    assert "--account management --region us-east-1" in typed
    read = parse(ROOT, typed.removeprefix(ROOT), shop.operations)
    assert isinstance(read, Command)
    assert read.arguments.model_dump(mode="json") == arguments


def test_what_somebody_changed_since_stands_on_the_card(cloud: Cloud, shop: TeamWorkshop) -> None:
    first, second, third = cloud.public()
    _, inverse = run(shop, "subnet tag", asked(shop, "subnet tag", cluster="demo", vpc=cloud.vpc(), role_tag=True))
    assert inverse is not None
    cloud.put([first], newcomer="shared")
    cloud.balancer("web", [second], {DEMO: "owned"})
    plan = shop.plan(inverse.operation, arguments_of(shop, inverse), CALLER)
    found = {check.id: check for check in plan.checks}
    assert (found["role-shared"].result, found["load-balancers"].result, plan.blocked) == ("warn", "block", True)
    assert f"{first}) is also tagged for newcomer" in found["role-shared"].evidence
    assert third not in found["load-balancers"].evidence


# -- exactly as it was -------------------------------------------------------------------------------------------

some = st.sampled_from([None, "shared"])
places = st.fixed_dictionaries({
    DEMO: some, OTHER: st.sampled_from([None, "shared", "owned"]), ROLE: st.sampled_from([None, None, "1", "true"]),
})  # fmt: skip
worlds = st.lists(places, min_size=4, max_size=4)
marks = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=4, max_size=4)
"""For each subnet: is it named for the cluster's tag, and for the role tag?"""


def stood_up(cloud: Cloud, world: Sequence[dict[str, str | None]]) -> list[str]:
    """Three public subnets and a private one, with exactly these tags."""
    cloud.clear_tags()
    subnets = [*cloud.public(), cloud.subnet("private-a")]
    for subnet, tags in zip(subnets, world, strict=True):
        wanted = {name: value for name, value in tags.items() if value is not None}
        if wanted:
            cloud.write([subnet], wanted)
    return subnets


def words(shop: TeamWorkshop, operation: str, subnets: list[str], named: Any, **more: Any) -> Json | None:
    """An operation on the subnets that are named for each tag; None where none is."""
    listed = [subnet for subnet, (cluster, _) in zip(subnets, named, strict=True) if cluster]
    roles = [subnet for subnet, (_, role) in zip(subnets, named, strict=True) if role]
    if not listed and not roles:
        return None
    if roles:
        more["role_subnets"] = ",".join(roles)
    return asked(shop, operation, cluster="demo", subnets=listed, **more)


def there_and_back(cloud: Cloud, shop: TeamWorkshop, operation: str, arguments: Json) -> None:
    """Runs, undoes, undoes the undo: what was before and what was after come back exactly, and nothing else moves."""
    before = cloud.tags()
    plan, inverse = run(shop, operation, arguments)
    after = cloud.tags()
    changed = {key: {name for name in after if after[name].get(key) != before[name].get(key)} for key in (DEMO, ROLE)}
    assert {step.model_dump()["key"]: set(step.model_dump()["resources"]) for step in plan.steps} == {
        key: names for key, names in changed.items() if names
    }
    if inverse is None:
        assert (after, plan.steps) == (before, ())
        return
    assert named(inverse) == (changed[DEMO], changed[ROLE])
    _, again = run(shop, inverse.operation, arguments_of(shop, inverse))
    assert cloud.tags() == before
    assert again is not None
    assert (again.operation, named(again)) == (operation, named(inverse))
    run(shop, again.operation, arguments_of(shop, again))
    assert cloud.tags() == after


@pytest.mark.long
@PROFILE
@given(world=worlds, named=marks, by_vpc=st.booleans(), role=st.booleans(), owned=st.booleans())
def test_tagging_can_be_undone_exactly(
    cloud: Cloud, shop: TeamWorkshop, world: list[dict[str, str | None]], named: Any, by_vpc: bool, role: bool,
    owned: bool,
) -> None:  # fmt: skip
    subnets = stood_up(cloud, [{**world[0], DEMO: "owned"}, *world[1:]] if owned else world)
    arguments = words(shop, "subnet tag", subnets, named, private=True)
    if by_vpc:
        arguments = asked(shop, "subnet tag", cluster="demo", vpc=cloud.vpc(), role_tag=role)
    if arguments is not None:
        there_and_back(cloud, shop, "subnet tag", arguments)


@pytest.mark.long
@PROFILE
@given(world=worlds, named=marks, by_vpc=st.booleans(), role=st.booleans())
def test_untagging_can_be_undone_exactly(
    cloud: Cloud, shop: TeamWorkshop, world: list[dict[str, str | None]], named: Any, by_vpc: bool, role: bool
) -> None:
    subnets = stood_up(cloud, world)
    arguments = words(shop, "subnet untag", subnets, named)
    if by_vpc:
        arguments = asked(shop, "subnet untag", cluster="demo", vpc=cloud.vpc(), role_tag=role)
    if arguments is not None:
        there_and_back(cloud, shop, "subnet untag", arguments)
