"""`subnet tag` against the sandbox's AWS, which really authorises: what is planned, done, proven and refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any

import boto3
import botocore.session
import pytest
from botocore.exceptions import ClientError

from handlers.clients.aws import AwsSessions
from handlers.contract import Caller, Fatal, Plan, Retry
from handlers.settings import OperationsSettings
from handlers.workshop import TeamWorkshop
from sandbox.aws import AwsSandbox

HOME, TENANT = "111122223333", "444455556666"
SETTINGS = OperationsSettings.model_validate({
    "default_account": "management",
    "aws": {"connect_timeout": 2, "read_timeout": 5, "attempts": 1},
    "accounts": {
        "management": {"id": HOME, "region": "us-east-1", "role_arn": f"arn:aws:iam::{HOME}:role/tkgbot"},
        "tenant": {"id": TENANT, "region": "us-east-1", "role_arn": f"arn:aws:iam::{TENANT}:role/tkgbot",
                   "external_id": "sandbox-external-id"},
        "stranger": {"id": TENANT, "region": "us-east-1", "role_arn": f"arn:aws:iam::{TENANT}:role/tkgbot",
                     "external_id": "somebody-elses"},
        "ambient": {"id": HOME, "region": "us-east-1", "access": "ambient"},
        "mistaken": {"id": TENANT, "region": "us-east-1", "access": "ambient"},
    },
})  # fmt: skip
CALLER = Caller(request="r-7f3a2c", person="UDEV000001")


@pytest.fixture(scope="module")
def running() -> Iterator[AwsSandbox]:
    sandbox = AwsSandbox()
    sandbox.start()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_SESSION_TOKEN", "AWS_PROFILE"):
            patch.delenv(name, raising=False)
        for name, value in sandbox.env().items():
            patch.setenv(name, value)
        yield sandbox
    sandbox.stop()


@pytest.fixture
def aws(running: AwsSandbox) -> Iterator[AwsSandbox]:
    yield running
    running.set_faults(dict.fromkeys(running.get_faults()))


@pytest.fixture(scope="module")
def sessions(running: AwsSandbox) -> AwsSessions:
    return AwsSessions(SETTINGS)


@pytest.fixture
def workshop(sessions: AwsSessions) -> TeamWorkshop:
    """Without credentials from an earlier test; API models are parsed once."""
    made = TeamWorkshop(SETTINGS)
    made.__dict__["sessions"] = sessions.fresh()
    return made


@lru_cache
def botocore_session() -> boto3.Session:
    return boto3.Session(botocore_session=botocore.session.Session())


def raw(key: str, secret: str, token: str | None = None) -> Any:
    """A plain EC2 client: around our own guard, straight to AWS."""
    return botocore_session().client(
        "ec2", region_name="us-east-1", aws_access_key_id=key, aws_secret_access_key=secret, aws_session_token=token
    )


def with_rights_of(session: Any) -> Any:
    """The same credentials that a session would use, in a plain client."""
    return raw(*session._sessions._credentials(session)[:3])


def subnets(aws: AwsSandbox, *names: str, vpc: str = "demo", account: str = HOME) -> list[str]:
    known = aws.describe()["accounts"][account]["vpcs"][vpc]["subnets"]
    return [known[name] for name in names] or [name for key, name in sorted(known.items()) if "public" in key]


def wanted(workshop: TeamWorkshop, cluster: str, names: list[str], **more: Any) -> dict[str, Any]:
    asked = {"cluster": cluster, "subnets": names, "vpc": None, "account": None, "region": None, "role_tag": False}
    return workshop.resolve({**asked, **more})  # type: ignore[return-value]


def planned(workshop: TeamWorkshop, arguments: dict[str, Any]) -> tuple[Plan, Caller]:
    plan = workshop.plan("subnet tag", arguments, CALLER)
    return plan, replace(CALLER, actions=tuple(action for step in plan.steps for action in step.actions))


def done(workshop: TeamWorkshop, arguments: dict[str, Any]) -> tuple[Plan, Caller]:
    plan, caller = planned(workshop, arguments)
    for step in plan.steps:
        workshop.act(step.model_dump(mode="json"), caller)
    return plan, caller


def results(plan: Plan) -> dict[str, str]:
    return {check.id: check.result for check in plan.checks}


def last(aws: AwsSandbox) -> int:
    return len(aws.calls)


# -- the ordinary way --------------------------------------------------------------------------------------------


def test_planned_done_seen_and_proven(aws: AwsSandbox, workshop: TeamWorkshop) -> None:
    arguments = wanted(workshop, "way", subnets(aws), role_tag=True)
    began = last(aws)
    plan, caller = planned(workshop, arguments)
    assert not any(call["mutating"] for call in aws.calls_since(began) if call["service"] == "ec2")
    assert (plan.headline, len(plan.steps), plan.blocked) == ("tag 3 subnets for way", 2, False)
    assert "block" not in [check.result for check in workshop.verify("subnet tag", arguments, make_empty(plan), caller)]
    for step in plan.steps:
        stored = step.model_dump(mode="json")
        assert not workshop.observe(stored, caller).so
        assert workshop.act(stored, caller).changed
        assert workshop.observe(stored, caller).so
        assert not workshop.act(stored, caller).changed
    proof = workshop.verify("subnet tag", arguments, plan, CALLER)
    assert [check.result for check in proof] == ["pass", "pass"]
    again, _ = planned(workshop, arguments)
    assert again.steps == ()
    assert not again.blocked


def make_empty(plan: Plan) -> Plan:
    return plan.model_copy(update={"steps": ()})


def test_only_what_is_missing_is_planned(aws: AwsSandbox, workshop: TeamWorkshop) -> None:
    one, *others = subnets(aws)
    done(workshop, wanted(workshop, "part", [one]))
    plan, _ = planned(workshop, wanted(workshop, "part", [one, *others, one]))
    assert [list(step.model_dump()["resources"]) for step in plan.steps] == [others]


def test_another_account_by_its_external_id(aws: AwsSandbox, workshop: TeamWorkshop) -> None:
    names = subnets(aws, vpc="tenant", account=TENANT)
    arguments = wanted(workshop, "far", names, account="tenant")
    began = last(aws)
    plan, _ = done(workshop, arguments)
    assert [check.result for check in workshop.verify("subnet tag", arguments, plan, CALLER)] == ["pass"]
    calls = [call for call in aws.calls_since(began) if call["service"] == "ec2"]
    assert {(call["account"], call["source_identity"], call["session"]) for call in calls} == {
        (TENANT, "UDEV000001", "slack-UDEV000001-r-7f3a2c")
    }
    with pytest.raises(Fatal, match="denied `sts:AssumeRole`"):
        planned(workshop, {**arguments, "account": "stranger"})


@pytest.mark.parametrize(
    ("vpc", "names", "more", "check", "result"),
    [
        ("legacy", ("legacy-main-a",), {}, "by-main", "warn"),
        ("legacy", ("legacy-blackhole-c",), {}, "public", "block"),
        ("demo", ("demo-private-a",), {}, "public", "block"),
        ("crowded", ("crowded-full-a",), {}, "room", "block"),
        ("crowded", ("crowded-49-c",), {}, "room", "pass"),
        ("crowded", ("crowded-49-c",), {"role_tag": True}, "room", "block"),
        ("crowded", ("crowded-owned-b",), {}, "foreign", "warn"),
        ("crowded", ("crowded-owned-b",), {"cluster": "demo"}, "owned", "warn"),
        ("demo", ("demo-public-a",), {"region": "eu-west-1"}, "subnet", "block"),
        ("demo", ("demo-public-a",), {"account": "tenant"}, "subnet", "block"),
        ("demo", ("demo-public-a",), {"vpc": "vpc-00000000"}, "vpc", "block"),
        ("demo", ("demo-public-a",), {"account": "mistaken"}, "account", "block"),
        ("demo", ("demo-public-a",), {"account": "ambient"}, "account", "pass"),
    ],
)
def test_preflight(
    aws: AwsSandbox, workshop: TeamWorkshop, vpc: str, names: tuple[str, ...], more: Any, check: str, result: str
) -> None:
    more = dict(more)
    plan, _ = planned(workshop, wanted(workshop, more.pop("cluster", "new"), subnets(aws, *names, vpc=vpc), **more))
    assert results(plan)[check] == result
    assert plan.blocked is (result == "block")
    assert bool(plan.steps) is not (plan.blocked or check == "owned")


def test_subnets_of_two_vpcs_are_blocked(aws: AwsSandbox, workshop: TeamWorkshop) -> None:
    names = subnets(aws, "demo-public-a") + subnets(aws, "crowded-tiny-a", vpc="crowded")
    assert results(planned(workshop, wanted(workshop, "new", names))[0])["one-vpc"] == "block"


def test_a_vpc_gives_its_public_subnets(aws: AwsSandbox, workshop: TeamWorkshop) -> None:
    vpc = aws.describe()["accounts"][HOME]["vpcs"]["demo"]["id"]
    plan, _ = planned(workshop, wanted(workshop, "whole", [], vpc=vpc))
    assert set(plan.steps[0].model_dump()["resources"]) == set(subnets(aws))


# -- proof -------------------------------------------------------------------------------------------------------


def test_proof_fails_when_the_change_was_a_lie(aws: AwsSandbox, workshop: TeamWorkshop) -> None:
    arguments = wanted(workshop, "lie", subnets(aws))
    plan, caller = planned(workshop, arguments)
    aws.set_faults({"lying_tags": True})
    step = plan.steps[0].model_dump(mode="json")
    assert workshop.act(step, caller).changed
    assert not workshop.observe(step, caller).so
    proof = workshop.verify("subnet tag", arguments, plan, CALLER)
    assert [check.result for check in proof] == ["block"]
    assert all(name in proof[0].evidence for name in subnets(aws))


def test_proof_fails_for_one_subnet_and_for_another_value(aws: AwsSandbox, workshop: TeamWorkshop) -> None:
    arguments = wanted(workshop, "some", subnets(aws))
    plan, caller = done(workshop, arguments)
    step = plan.steps[0].model_dump()
    keys = aws.describe()["accounts"][HOME]["admin"]
    admin = raw(keys["access_key"], keys["secret_key"])
    for value, result in (("owned", "block"), ("shared", "pass")):
        admin.create_tags(Resources=[step["resources"][1]], Tags=[{"Key": step["key"], "Value": value}])
        proof = workshop.verify("subnet tag", arguments, plan, caller)
        assert proof[0].result == result
        assert (step["resources"][1] in proof[0].evidence) is (result == "block")


def test_proof_uses_credentials_of_its_own(aws: AwsSandbox, workshop: TeamWorkshop) -> None:
    arguments = wanted(workshop, "fresh", subnets(aws))
    plan, _ = done(workshop, arguments)
    aws.expire_sessions()  # whatever the run still held is worth nothing now
    began = last(aws)
    assert workshop.verify("subnet tag", arguments, plan, CALLER)[0].result == "pass"
    calls = aws.calls_since(began)
    assert [call["action"] for call in calls].count("sts:AssumeRole") == 1
    assert not any(call["mutating"] for call in calls if call["service"] == "ec2")


def test_reads_that_lag_are_waited_for(aws: AwsSandbox, workshop: TeamWorkshop) -> None:
    arguments = wanted(workshop, "lag", subnets(aws))
    plan, caller = planned(workshop, arguments)
    step = plan.steps[0].model_dump(mode="json")
    assert workshop.act(step, caller).changed
    aws.set_faults({"tag_lag_reads": 3})
    assert [workshop.observe(step, caller).so for _ in range(2)] == [False, False]
    assert [workshop.verify("subnet tag", arguments, plan, CALLER)[0].result for _ in range(2)] == ["block", "pass"]
    assert workshop.observe(step, caller).so


def test_a_change_that_came_late_is_not_made_twice(aws: AwsSandbox, workshop: TeamWorkshop) -> None:
    plan, caller = done(workshop, wanted(workshop, "twice", subnets(aws)))
    began = last(aws)
    for step in plan.steps:
        assert not workshop.act(step.model_dump(mode="json"), caller).changed
    assert not any(call["mutating"] for call in aws.calls_since(began) if call["service"] == "ec2")


# -- no more rights than were approved ---------------------------------------------------------------------------


@pytest.mark.parametrize("role", [False, True])
def test_a_run_asks_for_exactly_the_actions_that_its_plan_declared(
    aws: AwsSandbox, workshop: TeamWorkshop, role: bool
) -> None:
    plan, caller = planned(workshop, wanted(workshop, f"exact{role:d}", subnets(aws), role_tag=role))
    began = last(aws)
    for step in plan.steps:
        workshop.act(step.model_dump(mode="json"), caller)
    calls = [call for call in aws.calls_since(began) if call["service"] == "ec2"]
    assert {call["action"] for call in calls} == {action.name for action in caller.actions}
    assert {call["outcome"] for call in calls} == {"ok"}
    assert {call["session"] for call in calls} == {"slack-UDEV000001-r-7f3a2c"}
    written = {name for call in calls if call["mutating"] for name in call["resources"]}
    assert written == {
        name for action in caller.actions if action.name == "ec2:CreateTags" for name in action.resources
    }


@pytest.mark.parametrize("name", ["ec2:CreateTags", "ec2:DescribeSubnets"])
def test_without_any_one_action_the_step_is_denied_twice(aws: AwsSandbox, workshop: TeamWorkshop, name: str) -> None:
    plan, caller = planned(workshop, wanted(workshop, "less", subnets(aws)))
    less = replace(caller, actions=tuple(action for action in caller.actions if action.name != name))
    assert len(less.actions) == len(caller.actions) - 1
    began = last(aws)
    with pytest.raises(Fatal, match=f"does not declare `{name}`"):
        workshop.act(plan.steps[0].model_dump(mode="json"), less)
    assert name not in [call["action"] for call in aws.calls_since(began)]
    ec2 = with_rights_of(workshop.reach.sessions.acting(less, "management", "us-east-1"))
    ids = subnets(aws)
    tag = [{"Key": "kubernetes.io/cluster/less", "Value": "shared"}]
    calls: dict[str, Any] = {
        "ec2:CreateTags": lambda: ec2.create_tags(Resources=ids, Tags=tag),
        "ec2:DescribeSubnets": lambda: ec2.describe_subnets(SubnetIds=ids),
    }
    with pytest.raises(ClientError, match=f"no session policy allows the {name} action"):
        calls[name]()


@pytest.mark.parametrize("what", ["another key", "another subnet", "deletes", "looks elsewhere"])
def test_aws_itself_holds_the_run_to_its_plan(aws: AwsSandbox, workshop: TeamWorkshop, what: str) -> None:
    cluster = f"held-{what.replace(' ', '-')}"
    _, caller = planned(workshop, wanted(workshop, cluster, subnets(aws, "demo-public-a", "demo-public-b")))
    ec2 = with_rights_of(workshop.reach.sessions.acting(caller, "management", "us-east-1"))
    mine, other = subnets(aws, "demo-public-a", "demo-public-c")
    tag = [{"Key": f"kubernetes.io/cluster/{cluster}", "Value": "shared"}]
    calls: dict[str, Any] = {
        "another key": lambda: ec2.create_tags(Resources=[mine], Tags=[{"Key": "Name", "Value": "mine"}]),
        "another subnet": lambda: ec2.create_tags(Resources=[mine, other], Tags=tag),
        "deletes": lambda: ec2.delete_tags(Resources=[mine], Tags=tag),
        "looks elsewhere": ec2.describe_vpcs,
    }
    with pytest.raises(ClientError, match="no session policy allows"):
        calls[what]()
    ec2.create_tags(Resources=[mine], Tags=tag)


def test_a_session_that_looks_cannot_write_at_aws(aws: AwsSandbox, workshop: TeamWorkshop) -> None:
    ec2 = with_rights_of(workshop.reach.sessions.reading(CALLER, "management", "us-east-1"))
    with pytest.raises(ClientError, match="no session policy allows the ec2:CreateTags action"):
        ec2.create_tags(Resources=subnets(aws), Tags=[{"Key": "k", "Value": "v"}])
    ec2.describe_subnets()


# -- bad days ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("faults", "kind", "word"),
    [
        ({"throttle": 5}, Retry, "throttling"),
        ({"server_error": 5}, Retry, "had trouble"),
        ({"unreachable": True}, Retry, "cannot be reached"),
        ({"bad_keys": True}, Fatal, "does not accept"),
        ({"expired_credentials": True}, Fatal, "expired"),
        ({"deny": ["ec2:Describe*"]}, Fatal, "service control policy"),
    ],
)
def test_bad_days_are_told_in_plain_words(
    aws: AwsSandbox, workshop: TeamWorkshop, faults: dict[str, Any], kind: type[Exception], word: str
) -> None:
    arguments = wanted(workshop, "bad", subnets(aws))
    planned(workshop, arguments)
    aws.set_faults(faults)
    with pytest.raises(kind, match=word) as caught:
        planned(workshop, arguments)
    assert "arn:" not in str(caught.value)
    assert "AKIA" not in str(caught.value)
