"""`subnet untag` against the sandbox's AWS: what is taken off, what is refused while it is needed, and what stays."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from pydantic import ValidationError

from bot.drift import facts_moved
from handlers.clients.aws import POLICY_LIMIT, session_policy
from handlers.contract import Check, Fatal, Plan, Retry
from handlers.network import Subnet
from handlers.subnet_scope import Where
from handlers.subnet_untag import UntagArguments, _steps
from handlers.workshop import TeamWorkshop
from tests.unit.clouds import CALLER, HOME, ROLE, Cloud, asked, carried_out, key, planned
from tests.unit.makers import SUBNETS

DEMO = key("demo")
PROVIDER = "sigs.k8s.io/cluster-api-provider-aws/cluster/demo"
CONTROLLER = "elbv2.k8s.aws/cluster"


def untag(shop: TeamWorkshop, cluster: str = "demo", **arguments: Any) -> Plan:
    return planned(shop, "subnet untag", cluster=cluster, **arguments)


def check(plan: Plan, name: str) -> Check:
    return next(found for found in plan.checks if found.id == name)


def results(plan: Plan) -> dict[str, str]:
    return {found.id: found.result for found in plan.checks}


def taken(plan: Plan) -> dict[str, list[str]]:
    """The subnets of each step, by its key."""
    return {step.model_dump()["key"]: list(step.model_dump()["resources"]) for step in plan.steps}


# -- the ordinary way --------------------------------------------------------------------------------------------


def test_planned_done_seen_and_proven(cloud: Cloud, shop: TeamWorkshop) -> None:
    subnets = cloud.public()
    cloud.put(subnets, demo="shared", other="shared")
    began = len(cloud.sandbox.calls)
    plan = untag(shop, subnets=subnets)
    assert not any(call["mutating"] for call in cloud.sandbox.calls_since(began) if call["service"] != "sts")
    assert (plan.headline, plan.blocked, taken(plan)) == ("untag 3 subnets of demo", False, {DEMO: subnets})
    assert plan.steps[0].before == dict.fromkeys(subnets, "shared")
    assert plan.targets == (f"subnets of {cloud.vpc()} in management",)
    stored, caller = plan.steps[0].model_dump(mode="json"), replace(CALLER, actions=plan.steps[0].actions)
    assert not shop.observe(stored, caller).so
    assert shop.act(stored, caller).changed
    assert shop.observe(stored, caller).so
    assert not shop.act(stored, caller).changed
    arguments = asked(shop, "subnet untag", cluster="demo", subnets=subnets)
    assert [proof.result for proof in shop.verify("subnet untag", arguments, plan, CALLER)] == ["pass"]
    assert list(cloud.tags(subnets).values()) == [{key("other"): "shared"}] * 3
    again = untag(shop, subnets=subnets)
    assert (again.steps, again.blocked) == ((), False)


def test_only_what_carries_the_tag_is_a_step(cloud: Cloud, shop: TeamWorkshop) -> None:
    first, second, third = cloud.public()
    cloud.put([first, third], demo="shared")
    plan = untag(shop, subnets=[third, second, first, first])
    assert taken(plan) == {DEMO: [third, first]}
    assert plan.headline == "untag 2 subnets of demo"
    assert plan.details is not None
    assert {row[4]: row[1] for row in plan.details.rows}[second] == "already so"


def test_a_vpc_gives_the_subnets_that_carry_the_tag(cloud: Cloud, shop: TeamWorkshop) -> None:
    subnets = [cloud.subnet("public-a"), cloud.subnet("private-b")]
    cloud.put(subnets, demo="shared")
    cloud.put([cloud.subnet("public-c")], other="shared")
    assert taken(untag(shop, vpc=cloud.vpc())) == {DEMO: subnets}


def test_a_vpc_without_the_tag_is_already_so(cloud: Cloud, shop: TeamWorkshop) -> None:
    plan = untag(shop, vpc=cloud.vpc())
    assert (plan.steps, plan.blocked, plan.headline) == ((), False, "untag subnets of demo")
    assert f"No subnet of {cloud.vpc()} carries `{DEMO}`." in check(plan, "collected").evidence


@pytest.mark.parametrize(
    ("arguments", "name", "said"),
    [
        ({"subnets": [SUBNETS[0]]}, "subnet", SUBNETS[0]),
        ({"vpc": "vpc-00000000"}, "vpc", "vpc-00000000"),
        ({"vpc": "vpc-00000000", "account": "mistaken"}, "account", "444455556666"),
        ({"subnets": [SUBNETS[0]], "account": "mistaken"}, "account", "444455556666"),
    ],
)
def test_what_is_not_there_blocks(
    cloud: Cloud, shop: TeamWorkshop, arguments: dict[str, Any], name: str, said: str
) -> None:
    plan = untag(shop, **arguments)
    assert (check(plan, name).result, plan.steps) == ("block", ())
    assert said in check(plan, name).evidence
    assert check(plan, name).fix


def test_two_vpcs_and_a_stray_block(cloud: Cloud, shop: TeamWorkshop) -> None:
    mine, other = cloud.subnet("public-a"), cloud.subnet("tiny-a", "crowded")
    assert results(untag(shop, subnets=[mine, other]))["one-vpc"] == "block"
    assert results(untag(shop, subnets=[mine], vpc=cloud.vpc("crowded")))["vpc"] == "block"


# -- whose tag it is ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "name"), [("owned", "owned"), ("yes", "odd-value"), ("", "odd-value")])
@pytest.mark.parametrize("by_vpc", [False, True])
def test_only_shared_is_taken_off(cloud: Cloud, shop: TeamWorkshop, value: str, name: str, by_vpc: bool) -> None:
    first, second, _ = cloud.public()
    cloud.put([first], demo=value)
    cloud.put([second], demo="shared")
    plan = untag(shop, vpc=cloud.vpc()) if by_vpc else untag(shop, subnets=[first, second])
    found = check(plan, name)
    assert (found.result, plan.steps) == ("block", ())
    assert f"{DEMO}={value}" in found.evidence
    assert (first in found.evidence, second in found.evidence) == (True, False)
    assert found.fix
    assert plan.details is not None
    changes = {row[4]: row[1] for row in plan.details.rows}
    assert (changes[first], changes[second]) == (f"{DEMO}={value} stays", f"- {DEMO}=shared")


def test_the_role_tag_stays_where_another_cluster_is_left(cloud: Cloud, shop: TeamWorkshop) -> None:
    first, second, third = cloud.public()
    cloud.put([first, second, third], demo="shared")
    cloud.put([second], other="shared")
    cloud.write([first, second], {ROLE: "1"})
    plan = untag(shop, vpc=cloud.vpc(), role_tag=True)
    assert taken(plan) == {ROLE: [first], DEMO: [first, second, third]}
    found = check(plan, "role-shared")
    assert (found.result, plan.blocked) == ("warn", False)
    assert f"{second}) is also tagged for other" in found.evidence
    assert "--role-subnets" in found.fix
    assert plan.details is not None
    assert f"{ROLE}=1 stays" in {row[4]: row[1] for row in plan.details.rows}[second]
    carried_out(shop, plan)
    assert cloud.tags([second])[second] == {key("other"): "shared", ROLE: "1"}


def test_without_a_word_of_it_the_role_tag_stays(cloud: Cloud, shop: TeamWorkshop) -> None:
    subnets = cloud.public()
    cloud.write(subnets, {DEMO: "shared", ROLE: "1"})
    assert taken(untag(shop, subnets=subnets)) == {DEMO: subnets}


def test_subnets_that_are_named_for_it_lose_the_role_tag(cloud: Cloud, shop: TeamWorkshop) -> None:
    first, second, third = cloud.public()
    cloud.write([first, second, third], {DEMO: "shared", key("other"): "shared", ROLE: "1"})
    plan = untag(shop, subnets=[third], role_subnets=f"{first},{second}")
    assert taken(plan) == {ROLE: [first, second], DEMO: [third]}
    assert check(plan, "role-shared").result == "warn"
    assert "taken off there as asked" in check(plan, "role-shared").fix
    carried_out(shop, plan)
    assert [set(tags) for tags in cloud.tags([first, third]).values()] == [{DEMO, key("other")}, {key("other"), ROLE}]


def test_the_role_tag_alone(cloud: Cloud, shop: TeamWorkshop) -> None:
    """Load balancers only prefer a subnet by it: they do not stand in the way."""
    first, second, _ = cloud.public()
    cloud.write([first, second], {DEMO: "owned", ROLE: "1"})
    cloud.balancer("mine", [first], {DEMO: "owned"})
    assert taken(untag(shop, role_subnets=first)) == {ROLE: [first]}


def test_a_role_tag_of_another_value_stays(cloud: Cloud, shop: TeamWorkshop) -> None:
    first, second, _ = cloud.public()
    cloud.write([first, second], {DEMO: "shared", ROLE: "1"})
    cloud.write([first], {ROLE: "true"})
    for arguments in ({"vpc": cloud.vpc(), "role_tag": True}, {"role_subnets": f"{first},{second}"}):
        plan = untag(shop, **arguments)
        assert taken(plan)[ROLE] == [second]
        assert f"{ROLE}=true" in check(plan, "role-value").evidence


# -- what still needs it -----------------------------------------------------------------------------------------


@pytest.mark.long(but=2)
@pytest.mark.parametrize("kind", ["network", "application", "classic"])
@pytest.mark.parametrize("tag", [{DEMO: "owned"}, {DEMO: "shared"}, {PROVIDER: "owned"}, {CONTROLLER: "demo"}])
def test_a_load_balancer_of_the_cluster_blocks(
    cloud: Cloud, shop: TeamWorkshop, kind: str, tag: dict[str, str]
) -> None:
    first, second, third = cloud.public()
    cloud.put(cloud.public(), demo="shared")
    cloud.balancer("web", [first, second], tag, kind)
    plan = untag(shop, vpc=cloud.vpc())
    found = check(plan, "load-balancers")
    assert (found.result, plan.steps) == ("block", ())
    assert (first in found.evidence, second in found.evidence, third in found.evidence) == (True, True, False)
    assert f"web ({kind})" in found.evidence
    assert "Delete the services of demo" in found.fix
    assert results(untag(shop, subnets=[third]))["load-balancers"] == "pass"


@pytest.mark.parametrize("tag", [{key("other"): "owned"}, {CONTROLLER: "other"}, {}])
def test_load_balancers_of_others_do_not(cloud: Cloud, shop: TeamWorkshop, tag: dict[str, str]) -> None:
    cloud.put(cloud.public(), demo="shared")
    for kind in ("application", "classic"):
        cloud.balancer(f"web-{kind}", cloud.public(), tag, kind)
    plan = untag(shop, subnets=cloud.public())
    assert check(plan, "load-balancers").result == "pass"
    assert "2 load balancers" in check(plan, "load-balancers").evidence


def test_a_tag_that_is_not_there_is_needed_by_nobody(cloud: Cloud, shop: TeamWorkshop) -> None:
    cloud.balancer("web", cloud.public(), {DEMO: "owned"})
    began = len(cloud.sandbox.calls)
    plan = untag(shop, subnets=cloud.public())
    assert (plan.steps, plan.blocked) == ((), False)
    assert {call["service"] for call in cloud.sandbox.calls_since(began)} == {"sts", "ec2"}


@pytest.mark.parametrize("kind", ["application", "classic"])
def test_a_load_balancer_is_seen_by_its_interfaces_too(cloud: Cloud, shop: TeamWorkshop, kind: str) -> None:
    """It is leaving a subnet, or coming into it."""
    first, second, third = cloud.public()
    cloud.put([third], demo="shared")
    cloud.balancer("web", [first, second], {DEMO: "owned"}, kind)
    raws = cloud.admin("elbv2").describe_load_balancers()["LoadBalancers"]
    about = f"ELB {raws[0]['LoadBalancerArn'].partition(':loadbalancer/')[2]}" if raws else "ELB web"
    cloud.admin("ec2").create_network_interface(SubnetId=third, Description=about)
    found = check(untag(shop, subnets=[third]), "load-balancers")
    assert (found.result, third in found.evidence, first in found.evidence) == ("block", True, False)


def test_an_interface_of_an_unknown_load_balancer_is_unknown(cloud: Cloud, shop: TeamWorkshop) -> None:
    first, second, _ = cloud.public()
    cloud.put([first, second], demo="shared")
    cloud.admin("ec2").create_network_interface(SubnetId=first, Description="ELB net/elsewhere/0123")
    plan = untag(shop, subnets=[first])
    found = check(plan, "load-balancers")
    assert (found.result, plan.blocked, plan.steps) == ("unknown", True, ())
    assert all(word in found.evidence for word in ("ELB net/elsewhere/0123", first, HOME))
    assert "ask again in a few minutes" in found.fix
    assert results(untag(shop, subnets=[second]))["load-balancers"] == "pass"


@pytest.mark.parametrize("tag", [{DEMO: "owned"}, {PROVIDER: "owned"}])
def test_an_instance_of_the_cluster_blocks(cloud: Cloud, shop: TeamWorkshop, tag: dict[str, str]) -> None:
    first, second, _ = cloud.public()
    cloud.put(cloud.public(), demo="shared")
    node = cloud.node(first, tag)
    found = check(untag(shop, subnets=[first]), "instances")
    assert found.result == "block"
    assert f"{node} in demo-public-a ({first})" in found.evidence
    assert found.fix
    near = untag(shop, subnets=[second])
    assert (check(near, "instances").result, near.blocked) == ("warn", False)
    assert "next LoadBalancer service" in check(near, "instances").fix
    cloud.admin("ec2").terminate_instances(InstanceIds=[node])
    assert results(untag(shop, subnets=[first]))["instances"] == "pass"


@pytest.mark.long
def test_instances_of_others_do_not(cloud: Cloud, shop: TeamWorkshop) -> None:
    first, *_ = cloud.public()
    cloud.put([first], demo="shared")
    cloud.node(first, {key("other"): "owned"})
    cloud.node(first, {key("demo-2"): "owned"})
    cloud.node(cloud.subnet("tiny-a", "crowded"), {DEMO: "owned"})
    assert results(untag(shop, subnets=[first]))["instances"] == "pass"


def test_many_instances_are_counted(cloud: Cloud, shop: TeamWorkshop) -> None:
    first, *_ = cloud.public()
    cloud.put([first], demo="shared")
    for _ in range(7):
        cloud.node(first, {DEMO: "owned"})
    assert check(untag(shop, subnets=[first]), "instances").evidence.endswith("and 2 more.")


@pytest.mark.parametrize(("value", "result"), [("owned", "block"), ("shared", "pass")])
def test_a_nat_gateway_that_the_cluster_owns_blocks(cloud: Cloud, shop: TeamWorkshop, value: str, result: str) -> None:
    first, second, _ = cloud.public()
    cloud.put([first, second], demo="shared")
    gateways = cloud.admin("ec2").describe_nat_gateways(Filter=[{"Name": "subnet-id", "Values": [first]}])
    gateway = gateways["NatGateways"][0]["NatGatewayId"]
    cloud.write([gateway], {DEMO: value})
    found = check(untag(shop, subnets=[first]), "nat-gateways")
    assert (found.result, gateway in found.evidence) == (result, value == "owned")
    assert results(untag(shop, subnets=[second]))["nat-gateways"] == "pass"


@pytest.mark.parametrize(
    ("action", "name"),
    [
        ("elasticloadbalancing:DescribeLoadBalancers", "load-balancers"),
        ("elasticloadbalancing:DescribeTags", "load-balancers"),
        ("ec2:DescribeNetworkInterfaces", "load-balancers"),
        ("ec2:DescribeInstances", "instances"),
        ("ec2:DescribeNatGateways", "nat-gateways"),
    ],
)
def test_not_allowed_to_look_blocks_and_says_which_right(
    cloud: Cloud, shop: TeamWorkshop, action: str, name: str
) -> None:
    cloud.put(cloud.public(), demo="shared")
    cloud.balancer("web", cloud.public(), {})
    cloud.sandbox.set_faults({"deny": [action]})
    plan = untag(shop, subnets=cloud.public())
    found = check(plan, name)
    assert (found.result, plan.blocked, plan.steps) == ("unknown", True, ())
    assert f"denied `{action}`" in found.evidence
    assert "not known" in found.evidence
    assert [other.id for other in plan.checks if other.blocks] == [name]


def test_a_role_that_may_not_look_is_told_to_the_platform_team(cloud: Cloud, shop: TeamWorkshop) -> None:
    cloud.put(cloud.public(), demo="shared")
    iam = cloud.admin("iam")
    held = iam.get_role_policy(RoleName="tkgbot", PolicyName="tkgbot")["PolicyDocument"]
    less = json.loads(json.dumps(held).replace("elasticloadbalancing:Describe*", "elasticloadbalancing:Nothing"))
    iam.put_role_policy(RoleName="tkgbot", PolicyName="tkgbot", PolicyDocument=json.dumps(less))
    try:
        found = check(untag(shop, subnets=cloud.public()), "load-balancers")
    finally:
        iam.put_role_policy(RoleName="tkgbot", PolicyName="tkgbot", PolicyDocument=json.dumps(held))
    assert found.result == "unknown"
    assert found.fix == "The platform team has to allow `elasticloadbalancing:DescribeLoadBalancers` to the bot's role."
    assert results(untag(shop, subnets=cloud.public()))["load-balancers"] == "pass"


@pytest.mark.parametrize("faults", [{"throttle": 50}, {"server_error": 50}, {"unreachable": True}])
def test_what_passes_is_waited_for_and_not_called_unknown(
    cloud: Cloud, shop: TeamWorkshop, faults: dict[str, Any]
) -> None:
    cloud.put(cloud.public(), demo="shared")
    untag(shop, subnets=cloud.public())
    cloud.sandbox.set_faults(faults)
    with pytest.raises(Retry):
        untag(shop, subnets=cloud.public())


@pytest.mark.long
def test_tags_of_load_balancers_are_read_twenty_at_a_time(cloud: Cloud, shop: TeamWorkshop) -> None:
    cloud.put(cloud.public(), demo="shared")
    for number in range(21):
        cloud.balancer(f"web-{number}", cloud.public()[:1], {key("other"): "owned"})
    cloud.balancer("last", cloud.public()[2:], {DEMO: "owned"})
    began = len(cloud.sandbox.calls)
    found = check(untag(shop, subnets=cloud.public()), "load-balancers")
    assert "last (network)" in found.evidence
    calls = [call["action"] for call in cloud.sandbox.calls_since(began)]
    assert calls.count("elasticloadbalancing:DescribeTags") == 2


@pytest.mark.parametrize(("service", "key_of"), [("elbv2", "LoadBalancers"), ("elb", "LoadBalancerDescriptions")])
def test_load_balancers_are_read_page_by_page(cloud: Cloud, shop: TeamWorkshop, service: str, key_of: str) -> None:
    for number in range(3):
        cloud.balancer(f"web-{number}", cloud.public(), {}, "classic" if service == "elb" else "network")
    look = shop.reach.sessions.reading(CALLER, "management", "us-east-1")
    found = list(look.pages(service, "describe_load_balancers", key_of, PageSize=1))
    assert sorted(str(raw["LoadBalancerName"]) for raw in found) == ["web-0", "web-1", "web-2"]


# -- no more rights than were approved ---------------------------------------------------------------------------


def test_a_run_asks_for_exactly_the_actions_that_its_plan_declared(cloud: Cloud, shop: TeamWorkshop) -> None:
    cloud.write(cloud.public(), {DEMO: "shared", ROLE: "1"})
    plan = untag(shop, subnets=cloud.public(), role_tag=True)
    began = len(cloud.sandbox.calls)
    carried_out(shop, plan)
    calls = [call for call in cloud.sandbox.calls_since(began) if call["service"] != "sts"]
    declared = [action for step in plan.steps for action in step.actions]
    assert {call["action"] for call in calls} == {action.name for action in declared}
    assert {call["outcome"] for call in calls} == {"ok"}
    written = {name for call in calls if call["mutating"] for name in call["resources"]}
    assert written == {name for action in declared if action.name == "ec2:DeleteTags" for name in action.resources}


@pytest.mark.long(but=1)
@pytest.mark.parametrize("what", ["another key", "another subnet", "tags", "looks elsewhere"])
def test_aws_itself_holds_the_run_to_its_plan(cloud: Cloud, shop: TeamWorkshop, what: str) -> None:
    mine, other, _ = cloud.public()
    cloud.write([mine, other], {DEMO: "shared", key("other"): "shared"})
    plan = untag(shop, subnets=[mine])
    session = shop.reach.sessions.acting(replace(CALLER, actions=plan.steps[0].actions), "management", "us-east-1")
    ec2 = plain(cloud, shop.reach.sessions._credentials(session))
    tag = [{"Key": DEMO, "Value": "shared"}]
    calls: dict[str, Any] = {
        "another key": lambda: ec2.delete_tags(Resources=[mine], Tags=[{"Key": key("other")}]),
        "another subnet": lambda: ec2.delete_tags(Resources=[mine, other], Tags=tag),
        "tags": lambda: ec2.create_tags(Resources=[mine], Tags=tag),
        "looks elsewhere": ec2.describe_vpcs,
    }
    with pytest.raises(ClientError, match="no session policy allows"):
        calls[what]()
    ec2.delete_tags(Resources=[mine], Tags=tag)
    assert DEMO not in cloud.tags([mine])[mine]


def test_load_balancers_are_guarded_as_the_rest(cloud: Cloud, shop: TeamWorkshop) -> None:
    """By the bot itself, and by AWS: a run's session has no right even to look at them."""
    cloud.put(cloud.public(), demo="shared")
    cloud.balancer("web", cloud.public(), {})
    looking = shop.reach.sessions.reading(CALLER, "management", "us-east-1")
    with pytest.raises(Fatal, match="does not declare `elasticloadbalancing:DeleteLoadBalancer`"):
        looking.read("elb", "delete_load_balancer", LoadBalancerName="web")
    actions = untag(shop, subnets=cloud.public()[:1]).steps[0].actions
    acting = shop.reach.sessions.acting(replace(CALLER, actions=actions), "management", "us-east-1")
    new, old = (plain(cloud, shop.reach.sessions._credentials(acting), name) for name in ("elbv2", "elb"))
    for look in (new.describe_load_balancers, old.describe_load_balancers):
        with pytest.raises(
            ClientError, match="no session policy allows the elasticloadbalancing:DescribeLoadBalancers"
        ):
            look()


def plain(cloud: Cloud, credentials: Any, service: str = "ec2") -> Any:
    """A client with a session's credentials, around our own guard."""
    return boto3.client(
        service, region_name="us-east-1", endpoint_url=cloud.sandbox.url, aws_access_key_id=credentials.access_key,
        aws_secret_access_key=credentials.secret_key, aws_session_token=credentials.token,
    )  # fmt: skip


def steps_of(cluster: Sequence[str], role: Sequence[str]) -> Any:
    """Steps for the longest names, without AWS."""
    where = Where("management", "us-gov-west-1", "aws-us-gov", HOME)
    both = [
        [
            Subnet(
                id=name, vpc="vpc-0a1b2c3d4e5f60718", zone="us-gov-west-1a", arn="", tags={}, route="public", table="-"
            )
            for name in names
        ]
        for names in (role, cluster)
    ]
    return _steps([(ROLE, "1", both[0]), (key("a" * 42), "shared", both[1])], where)


@pytest.mark.parametrize("count", [1, 9, 10, 11, 100])
def test_the_longest_names_fit_for_different_subnets_of_each_key(count: int) -> None:
    steps = steps_of(SUBNETS[:count], SUBNETS[100 : 100 + count])
    actions = tuple(action for step in steps for action in step.actions)
    assert len(session_policy(actions)) <= POLICY_LIMIT
    for step in steps:
        action = next(action for action in step.actions if action.name == "ec2:DeleteTags")
        assert action.conditions["ForAllValues:StringEquals"] == {"aws:TagKeys": [step.key]}
        confined = all(arn.endswith(name) for arn, name in zip(action.resources, step.resources, strict=False))
        assert confined or "ec2:Vpc" in json.dumps(action.conditions)


# -- while it runs -----------------------------------------------------------------------------------------------


def test_deletes_that_were_a_lie_are_not_done(cloud: Cloud, shop: TeamWorkshop) -> None:
    subnets = cloud.public()
    cloud.put(subnets, demo="shared")
    arguments = asked(shop, "subnet untag", cluster="demo", subnets=subnets)
    plan = shop.plan("subnet untag", arguments, CALLER)
    cloud.sandbox.set_faults({"lying_tags": True})
    assert carried_out(shop, plan) == [0]
    caller = replace(CALLER, actions=plan.steps[0].actions)
    assert not shop.observe(plan.steps[0].model_dump(mode="json"), caller).so
    proof = shop.verify("subnet untag", arguments, plan, CALLER)
    assert [found.result for found in proof] == ["block"]
    assert all(name in proof[0].evidence for name in subnets)


def test_reads_that_lag_are_waited_for(cloud: Cloud, shop: TeamWorkshop) -> None:
    cloud.put(cloud.public(), demo="shared")
    arguments = asked(shop, "subnet untag", cluster="demo", subnets=cloud.public())
    plan = shop.plan("subnet untag", arguments, CALLER)
    carried_out(shop, plan)
    cloud.sandbox.set_faults({"tag_lag_reads": 2})
    stored, caller = plan.steps[0].model_dump(mode="json"), replace(CALLER, actions=plan.steps[0].actions)
    assert not shop.observe(stored, caller).so
    assert [shop.verify("subnet untag", arguments, plan, CALLER)[0].result for _ in range(2)] == ["block", "pass"]
    assert shop.observe(stored, caller).so


def test_another_value_meanwhile_is_left(cloud: Cloud, shop: TeamWorkshop) -> None:
    first, second, third = cloud.public()
    cloud.put([first, second, third], demo="shared")
    plan = untag(shop, subnets=[first, second, third])
    cloud.put([second], demo="owned")
    with pytest.raises(Fatal, match=second):
        carried_out(shop, plan)
    assert [tags[DEMO] for tags in cloud.tags([first, second, third]).values()] == ["shared", "owned", "shared"]


@pytest.mark.parametrize("by_vpc", [False, True])
def test_the_plans_own_steps_move_no_fact(cloud: Cloud, shop: TeamWorkshop, by_vpc: bool) -> None:
    """So that a run that was interrupted can be taken up: after each step a new plan has the same material facts."""
    first, second, third = cloud.public()
    cloud.write([first, second, third], {DEMO: "shared", ROLE: "1"})
    cloud.put([third], other="shared")
    where = {"vpc": cloud.vpc()} if by_vpc else {"subnets": [first, second, third]}
    plan = untag(shop, **where, role_tag=True)
    caller = replace(CALLER, actions=tuple(action for step in plan.steps for action in step.actions))
    assert len(plan.steps) == 2
    for number, step in enumerate(plan.steps):
        shop.act(step.model_dump(mode="json"), caller)
        now = untag(shop, **where, role_tag=True)
        assert facts_moved(plan, now) == ()
        assert len(now.steps) == 1 - number
    cloud.put([first], newcomer="shared")
    assert "newcomer" in " ".join(facts_moved(plan, untag(shop, **where, role_tag=True)))


# -- words -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "names neither subnets nor a VPC"),
        ({"role_tag": True}, "names neither subnets nor a VPC"),
        ({"subnets": [SUBNETS[0]], "role_tag": True, "role_subnets": SUBNETS[1]}, "leave one of them out"),
        ({"role_subnets": f"{SUBNETS[0]},,{SUBNETS[1]}"}, "subnet ids with commas between them"),
        ({"role_subnets": "vpc-00000000"}, "subnet ids with commas between them"),
        ({"role_subnets": ",".join([*SUBNETS, SUBNETS[0]])}, "at most 200"),
    ],
)
def test_words_that_cannot_be_meant(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        UntagArguments(cluster="demo", **arguments)
