"""The sandbox's AWS, asked by a real SDK over HTTP: it must refuse what AWS refuses, and break when told to."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any
from unittest.mock import patch

import boto3
import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError

from sandbox.aws import AwsSandbox, policy
from sandbox.aws.faults import Switches
from tests.world import PATIENCE

HOME, TENANT = "111122223333", "444455556666"
SESSION = boto3.Session(botocore_session=botocore.session.Session())
ONCE = Config(retries={"mode": "standard", "total_max_attempts": 1}, connect_timeout=5, read_timeout=20)
KEY = "kubernetes.io/cluster/web"


@pytest.fixture(scope="module")
def running() -> Iterator[AwsSandbox]:
    sandbox = AwsSandbox()
    sandbox.start()
    yield sandbox
    sandbox.stop()


@pytest.fixture
def aws(running: AwsSandbox) -> Iterator[AwsSandbox]:
    yield running
    running.set_faults(dict.fromkeys(running.get_faults()))


@lru_cache
def made(url: str, service: str, key: str, secret: str, token: str | None, region: str) -> Any:
    return SESSION.client(
        service,
        region_name=region,
        endpoint_url=url,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        aws_session_token=token,
        config=ONCE,
    )


def client(
    aws: AwsSandbox, service: str, key: str, secret: str, token: str | None = None, region: str = "us-east-1"
) -> Any:
    return made(aws.url, service, key, secret, token, region)


def bot(aws: AwsSandbox, service: str, region: str = "us-east-1") -> Any:
    env = aws.env()
    return client(aws, service, env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"], region=region)


def admin(aws: AwsSandbox, service: str, account: str = HOME) -> Any:
    keys = aws.describe()["accounts"][account]["admin"]
    return client(aws, service, keys["access_key"], keys["secret_key"])


def tenant_role(aws: AwsSandbox) -> str:
    return str(aws.describe()["accounts"][TENANT]["role_arn"])


def assume(aws: AwsSandbox, caller: Any = None, **more: Any) -> dict[str, str]:
    wanted = {"RoleArn": tenant_role(aws), "RoleSessionName": "slack-U1-r1", "ExternalId": "sandbox-external-id"}
    asked = {name: value for name, value in {**wanted, **more}.items() if value is not None}
    answer = (caller or bot(aws, "sts")).assume_role(**asked)
    keys = answer["Credentials"]
    return {"key": keys["AccessKeyId"], "secret": keys["SecretAccessKey"], "token": keys["SessionToken"]}


def subnet(aws: AwsSandbox, vpc: str, name: str, account: str = HOME) -> str:
    return str(aws.describe()["accounts"][account]["vpcs"][vpc]["subnets"][name])


def refused(call: Callable[..., Any], **arguments: Any) -> tuple[str, str, int]:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    error = caught.value.response
    return error["Error"]["Code"], error["Error"]["Message"], error["ResponseMetadata"]["HTTPStatusCode"]


def tag(ec2: Any, subnet_id: str, value: str = "shared", **more: Any) -> Any:
    return ec2.create_tags(Resources=[subnet_id], Tags=[{"Key": KEY, "Value": value}], **more)


def tags_of(ec2: Any, subnet_id: str) -> dict[str, str]:
    found = ec2.describe_subnets(SubnetIds=[subnet_id])["Subnets"][0]
    return {entry["Key"]: entry["Value"] for entry in found.get("Tags", [])}


def tenant_subnet(aws: AwsSandbox) -> str:
    return subnet(aws, "tenant", "tenant-public-a", TENANT)


@pytest.mark.long
def test_ids_repeat_and_session_keys_do_not(running: AwsSandbox) -> None:
    before, first = running.describe(), assume(running)
    running.stop()
    running.start()
    assert running.describe() == before
    assert assume(running)["key"] != first["key"]
    assert refused(client(running, "sts", *first.values()).get_caller_identity)[0] == "InvalidClientTokenId"


def test_the_world_is_as_described(aws: AwsSandbox) -> None:
    tables = bot(aws, "ec2").describe_route_tables()["RouteTables"]
    states = {
        entry["SubnetId"]: route["State"]
        for table in tables
        for entry in table["Associations"]
        if "SubnetId" in entry
        for route in table["Routes"]
        if route.get("GatewayId", "").startswith("igw-")
    }
    assert states[subnet(aws, "demo", "demo-public-a")] == "active"
    assert states[subnet(aws, "legacy", "legacy-blackhole-c")] == "blackhole"
    assert not {subnet(aws, "legacy", "legacy-main-a"), subnet(aws, "demo", "demo-private-a")} & set(states)
    full, almost = (tags_of(bot(aws, "ec2"), subnet(aws, "crowded", f"crowded-{n}")) for n in ("full-a", "49-c"))
    assert (len(full), len(almost)) == (50, 49)
    there = bot(aws, "ec2", "eu-west-1").describe_subnets()["Subnets"]
    assert [entry["SubnetId"] for entry in there] == [subnet(aws, "europe", "europe-public-a")]


def test_a_trusted_caller_gets_a_session_in_the_other_account(aws: AwsSandbox) -> None:
    identity = client(aws, "sts", *assume(aws).values()).get_caller_identity()
    assert identity["Account"] == TENANT
    assert identity["Arn"] == f"arn:aws:sts::{TENANT}:assumed-role/tkgbot/slack-U1-r1"


@pytest.mark.parametrize(
    "change",
    [{"RoleArn": f"arn:aws:iam::{TENANT}:role/nobody"}, {"ExternalId": "somebody-elses-id"}, {"ExternalId": None}],
)
def test_trust_refuses(aws: AwsSandbox, change: dict[str, Any]) -> None:
    code, message, status = refused(lambda: assume(aws, **change))
    assert (code, status) == ("AccessDenied", 403)
    assert f"User: arn:aws:iam::{HOME}:user/tkgbot is not authorized to perform: sts:AssumeRole" in message


def trust_with(aws: AwsSandbox, statement: dict[str, Any], name: str) -> str:
    document = json.dumps({"Version": "2012-10-17", "Statement": statement})
    iam = admin(aws, "iam", TENANT)
    arn = str(iam.create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]["Arn"])
    user = admin(aws, "iam")
    document = json.dumps(
        {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:*", "Resource": arn}]}
    )
    user.put_user_policy(UserName="tkgbot", PolicyName=name, PolicyDocument=document)
    return arn


ROOT = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{HOME}:root"}, "Action": "sts:AssumeRole"}
USER = {"StringEquals": {"aws:PrincipalArn": f"arn:aws:iam::{HOME}:user/tkgbot"}}


@pytest.mark.parametrize(
    ("name", "statements", "passes"),
    [
        ("root", [ROOT], True),
        ("number", [{**ROOT, "Principal": {"AWS": [HOME]}}], True),
        ("narrowed", [{**ROOT, "Condition": USER}], True),
        (
            "narrowed-to-another",
            [{**ROOT, "Condition": {"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/*"}}}],
            False,
        ),
        ("service", [{**ROOT, "Principal": {"Service": "ec2.amazonaws.com"}}], False),
        ("denied", [ROOT, {**ROOT, "Effect": "Deny", "Condition": USER}], False),
        ("unknown-key", [{**ROOT, "Condition": {"StringEquals": {"aws:SourceIp": "127.0.0.1"}}}], False),
        (
            "unknown-key-deny",
            [ROOT, {**ROOT, "Effect": "Deny", "Condition": {"StringEquals": {"aws:Odd": "x"}}}],
            False,
        ),
    ],
)
def test_trust_documents(aws: AwsSandbox, name: str, statements: Any, passes: bool) -> None:
    arn = trust_with(aws, statements, name)
    if passes:
        assert assume(aws, RoleArn=arn)["key"].startswith("ASIA")
    else:
        assert refused(lambda: assume(aws, RoleArn=arn))[0] == "AccessDenied"


def test_the_callers_own_policy_must_agree_too(aws: AwsSandbox) -> None:
    arn = trust_with(aws, ROOT, "one-sided")
    admin(aws, "iam").delete_user_policy(UserName="tkgbot", PolicyName="one-sided")
    code, message, _ = refused(lambda: assume(aws, RoleArn=arn))
    assert code == "AccessDenied"
    assert "no identity-based policy allows the sts:AssumeRole action" in message


@pytest.mark.parametrize(
    ("more", "missing"),
    [({"SourceIdentity": "U1"}, "sts:SetSourceIdentity"), ({"Tags": [{"Key": "a", "Value": "b"}]}, "sts:TagSession")],
)
def test_source_identity_and_tags_need_trust_of_their_own(aws: AwsSandbox, more: Any, missing: str) -> None:
    arn = trust_with(aws, ROOT, missing.partition(":")[2])
    assert assume(aws, RoleArn=arn)
    code, message, _ = refused(lambda: assume(aws, RoleArn=arn, **more))
    assert code == "AccessDenied"
    assert missing in message
    assert assume(aws, **more)


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"RoleSessionName": "not allowed"}, "ValidationError"),
        ({"SourceIdentity": "a b"}, "ValidationError"),
        ({"DurationSeconds": 899}, "ValidationError"),
        ({"DurationSeconds": 7200}, "ValidationError"),
        ({"Policy": "{"}, "MalformedPolicyDocument"),
        ({"Policy": '{"Statement": [{}]}'}, "MalformedPolicyDocument"),
        ({"Policy": json.dumps({"Statement": [], "Id": "x" * 2048})}, "PackedPolicyTooLarge"),
    ],
)
def test_assume_role_validates(aws: AwsSandbox, more: Any, code: str) -> None:
    env = aws.env()
    loose = SESSION.client(
        "sts",
        region_name="us-east-1",
        endpoint_url=aws.url,
        config=Config(parameter_validation=False),
        aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
    )
    assert refused(lambda: assume(aws, loose, **more))[0] == code


def test_a_chain_is_capped_at_an_hour_and_keeps_its_source_identity(aws: AwsSandbox) -> None:
    iam = admin(aws, "iam", TENANT)
    trust = {
        "Version": "2012-10-17",
        "Statement": {
            "Effect": "Allow",
            "Principal": {"AWS": tenant_role(aws)},
            "Action": ["sts:AssumeRole", "sts:SetSourceIdentity"],
        },
    }
    arn = iam.create_role(RoleName="next", AssumeRolePolicyDocument=json.dumps(trust), MaxSessionDuration=43_200)[
        "Role"
    ]["Arn"]
    first = client(aws, "sts", *assume(aws, SourceIdentity="U7").values())
    code, message, _ = refused(lambda: assume(aws, first, RoleArn=arn, DurationSeconds=3601))
    assert (code, "role chaining" in message) == ("ValidationError", True)
    assert refused(lambda: assume(aws, first, RoleArn=arn, SourceIdentity="U8"))[0] == "AccessDenied"
    second = client(aws, "sts", *assume(aws, first, RoleArn=arn, DurationSeconds=3600).values())
    second.get_caller_identity()
    assert aws.calls[-1]["source_identity"] == "U7"


def confined(aws: AwsSandbox, **changes: Any) -> dict[str, str]:
    statement = {"Effect": "Allow", "Action": ["ec2:DescribeSubnets", "ec2:CreateTags"], "Resource": "*", **changes}
    return assume(aws, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))


def test_a_session_policy_takes_an_action_away(aws: AwsSandbox) -> None:
    tag(client(aws, "ec2", *confined(aws).values()), tenant_subnet(aws))
    ec2 = client(aws, "ec2", *confined(aws, Action="ec2:Describe*").values())
    assert tags_of(ec2, tenant_subnet(aws))[KEY] == "shared"
    code, message, status = refused(lambda: tag(ec2, tenant_subnet(aws)))
    assert (code, status) == ("UnauthorizedOperation", 403)
    assert (
        f"User: arn:aws:sts::{TENANT}:assumed-role/tkgbot/slack-U1-r1 is not authorized to perform: "
        f"ec2:CreateTags on resource: arn:aws:ec2:us-east-1:{TENANT}:subnet/{tenant_subnet(aws)} because "
        "no session policy allows the ec2:CreateTags action"
    ) in message


def test_a_session_policy_cannot_give_what_the_role_has_not(aws: AwsSandbox) -> None:
    ec2 = client(aws, "ec2", *confined(aws, Action="*").values())
    code, message, _ = refused(ec2.create_vpc, CidrBlock="10.9.0.0/16")
    assert code == "UnauthorizedOperation"
    assert "no identity-based policy allows the ec2:CreateVpc action" in message


@pytest.mark.parametrize(
    ("condition", "passes"),
    [
        ({"ForAllValues:StringEquals": {"aws:TagKeys": [KEY]}}, True),
        ({"ForAllValues:StringLike": {"aws:TagKeys": "kubernetes.io/*"}}, True),
        ({"ForAllValues:StringEquals": {"aws:TagKeys": ["other"]}}, False),
        ({"StringEquals": {f"aws:RequestTag/{KEY}": "shared"}}, True),
        ({"StringEquals": {f"aws:RequestTag/{KEY}": "owned"}}, False),
        ({"StringEquals": {"aws:RequestedRegion": "us-east-1"}}, True),
        ({"StringEquals": {"aws:RequestedRegion": "eu-west-1"}}, False),
        ({"ArnEquals": {"ec2:Vpc": "VPC"}}, True),
        ({"ArnEquals": {"ec2:Vpc": f"arn:aws:ec2:us-east-1:{TENANT}:vpc/vpc-1"}}, False),
        ({"StringNotEquals": {"aws:RequestedRegion": "eu-west-1"}}, False),
    ],
)
def test_conditions_confine(aws: AwsSandbox, condition: Any, passes: bool) -> None:
    vpc = f"arn:aws:ec2:us-east-1:{TENANT}:vpc/{aws.describe()['accounts'][TENANT]['vpcs']['tenant']['id']}"
    keys = confined(aws, Condition=json.loads(json.dumps(condition).replace('"VPC"', json.dumps(vpc))))
    ec2 = client(aws, "ec2", *keys.values())
    code = refused(lambda: tag(ec2, tenant_subnet(aws), DryRun=True))[0]
    assert code == ("DryRunOperation" if passes else "UnauthorizedOperation")


def test_an_explicit_deny_wins(aws: AwsSandbox) -> None:
    deny = json.dumps(
        {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "NotAction": "ec2:Describe*", "Resource": "*"}]}
    )
    iam = admin(aws, "iam", TENANT)
    iam.put_role_policy(RoleName="tkgbot", PolicyName="freeze", PolicyDocument=deny)
    ec2 = client(aws, "ec2", *assume(aws).values())
    try:
        assert "with an explicit deny in an identity-based policy" in refused(lambda: tag(ec2, tenant_subnet(aws)))[1]
        assert tags_of(ec2, tenant_subnet(aws))
    finally:
        iam.delete_role_policy(RoleName="tkgbot", PolicyName="freeze")
    tag(ec2, tenant_subnet(aws))


@pytest.mark.parametrize(
    ("effect", "statement", "verdict"),
    [
        ("Allow", {"NotResource": "arn:elsewhere"}, "none"),
        ("Deny", {"NotResource": "*"}, "deny"),
        ("Allow", {"Resource": "*", "Condition": {"StringNotEquals": {"sts:ExternalId": "x"}}}, "none"),
        ("Deny", {"Resource": "*", "Condition": {"StringNotEquals": {"sts:ExternalId": "x"}}}, "deny"),
        ("Deny", {"Resource": "*", "Condition": {"StringEquals": {"sts:ExternalId": "x"}}}, "none"),
        ("Allow", {"Resource": "arn:aws:ec2:*:subnet/subnet-1"}, "allow"),
        (
            "Allow",
            {"Resource": "*", "Condition": {"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:user/${x}"}}},
            "none",
        ),
        ("Allow", {"Resource": "*", "Condition": {"ArnLike": {"aws:PrincipalArn": "arn:*:user/bot"}}}, "none"),
        (
            "Allow",
            {"Resource": "*", "Condition": {"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:user/b?t"}}},
            "allow",
        ),
        ("Allow", {"Resource": "*", "Condition": {"Bool": {"aws:SecureTransport": True}}}, "allow"),
        ("Allow", {"Resource": "*", "Condition": {"ForAllValues:StringLike": {"aws:TagKeys": "x"}}}, "allow"),
    ],
)
def test_what_is_unknown_counts_against_the_caller(effect: str, statement: Any, verdict: str) -> None:
    call = policy.Call(
        "ec2:CreateTags",
        "arn:aws:ec2:r:1:subnet/subnet-1",
        {"aws:principalarn": ("arn:aws:iam::1:user/bot",), "aws:securetransport": ("true",)},
    )
    assert policy.decide([{"Statement": {"Effect": effect, "Action": "EC2:create*", **statement}}], call) == verdict


def test_unknown_keys_and_a_missing_token(aws: AwsSandbox) -> None:
    assert refused(client(aws, "ec2", "AKIAAAAAAAAAAAAAAAAA", "x").describe_vpcs)[::2] == ("AuthFailure", 401)
    assert refused(client(aws, "sts", "AKIAAAAAAAAAAAAAAAAA", "x").get_caller_identity)[::2] == (
        "InvalidClientTokenId",
        403,
    )
    keys = assume(aws)
    assert refused(client(aws, "ec2", keys["key"], keys["secret"]).describe_vpcs)[0] == "AuthFailure"


def test_sessions_expire(aws: AwsSandbox) -> None:
    keys = assume(aws)
    ec2 = client(aws, "ec2", *keys.values())
    ec2.describe_vpcs()
    aws.expire_sessions()
    assert refused(ec2.describe_vpcs)[0] == "RequestExpired"
    assert refused(client(aws, "sts", *keys.values()).get_caller_identity)[0] == "ExpiredToken"
    client(aws, "ec2", *assume(aws).values()).describe_vpcs()


def test_create_tags_limits(aws: AwsSandbox) -> None:
    ec2, one = bot(aws, "ec2"), subnet(aws, "demo", "demo-public-a")
    bad = [
        [{"Key": "aws:x", "Value": ""}],
        [{"Key": "k" * 129, "Value": ""}],
        [{"Key": "k", "Value": "v" * 257}],
        [{"Key": "k", "Value": "1"}, {"Key": "k", "Value": "2"}],
        [{"Key": "", "Value": "1"}],
    ]
    for tags in bad:
        assert refused(ec2.create_tags, Resources=[one], Tags=tags)[0] == "InvalidParameterValue"
    many = [f"subnet-{number:017x}" for number in range(1001)]
    rule = {"Tags": [{"Key": "k", "Value": "v"}]}
    assert refused(ec2.create_tags, Resources=many, **rule)[0] == "InvalidParameterValue"
    assert refused(ec2.create_tags, Resources=many[:1000], **rule)[0] == "InvalidSubnetID.NotFound"
    full = subnet(aws, "crowded", "crowded-full-a")
    assert refused(lambda: tag(ec2, full))[0] == "TagLimitExceeded"
    assert list(tags_of(ec2, one)) == ["Name"]


def test_a_thousand_subnets_in_one_call_are_no_more_work_each_than_a_hundred(aws: AwsSandbox) -> None:
    """Counted, not timed: how often the gate goes through the policies."""

    def asked(count: int) -> int:
        many = [f"subnet-{number:017x}" for number in range(count)]
        with patch.object(policy, "denial", wraps=policy.denial) as denial:
            refused(bot(aws, "ec2").create_tags, Resources=many, Tags=[{"Key": "k", "Value": "v"}])
        return denial.call_count

    assert asked(1000) <= 10 * asked(100)


def test_dry_run_changes_nothing(aws: AwsSandbox) -> None:
    ec2, one = bot(aws, "ec2"), subnet(aws, "demo", "demo-public-b")
    assert refused(lambda: tag(ec2, one, DryRun=True))[0] == "DryRunOperation"
    assert KEY not in tags_of(ec2, one)
    assert aws.calls[-2]["dry_run"] is True
    assert aws.calls[-2]["outcome"] == "DryRunOperation"


def test_the_log_says_who_did_what(aws: AwsSandbox) -> None:
    ec2 = client(aws, "ec2", *assume(aws, SourceIdentity="U42").values())
    last = aws.calls[-1]["n"]
    began = time.time()
    tag(ec2, tenant_subnet(aws))
    refused(lambda: tag(ec2, "subnet-00000000000000000"))
    tags_of(ec2, tenant_subnet(aws))
    done, missing, read = aws.calls_since(last)
    assert began <= done.pop("at") <= time.time()
    assert done == {
        "n": last + 1,
        "account": TENANT,
        "principal": f"arn:aws:sts::{TENANT}:assumed-role/tkgbot/slack-U1-r1",
        "session": "slack-U1-r1",
        "source_identity": "U42",
        "service": "ec2",
        "action": "ec2:CreateTags",
        "resources": [f"arn:aws:ec2:us-east-1:{TENANT}:subnet/{tenant_subnet(aws)}"],
        "dry_run": False,
        "mutating": True,
        "outcome": "ok",
    }
    assert (missing["outcome"], read["mutating"], read["n"]) == ("InvalidSubnetID.NotFound", False, last + 3)
    json.dumps([aws.calls, aws.describe(), aws.get_faults()])


def test_switches_are_checked(aws: AwsSandbox) -> None:
    for wrong in (
        {"thortle": 1},
        {"throttle": "3"},
        {"throttle": -1},
        {"throttle": True},
        {"deny": "ec2:*"},
        {"unreachable": 1},
        {"deny": [1]},
        {"throttle": 2, "nope": 1},
    ):
        with pytest.raises(ValueError, match="fault"):
            aws.set_faults(wrong)
    aws.set_faults({"throttle": 2, "deny": ["x:*"]})
    aws.set_faults({"throttle": None})
    assert (aws.get_faults()["throttle"], aws.faults.deny) == (0, ["x:*"])


def test_a_request_that_passes_is_at_no_moment_counted_as_held() -> None:
    """Who waits for a run to stand at its first change would otherwise go on at any other request."""
    counted: list[list[str]] = []

    class Counting(Switches):
        def __setattr__(self, name: str, value: Any) -> None:
            counted.extend([value] if name == "held" else [])
            super().__setattr__(name, value)

    switches = Counting()
    switches.set({"hold": ["ec2:CreateTags"]})
    switches.wait("hold", "ec2:DescribeSubnets")
    assert counted == [[]]


def test_throttle_counts_down_and_spares_sts(aws: AwsSandbox) -> None:
    ec2 = bot(aws, "ec2")
    aws.set_faults({"throttle": 2})
    bot(aws, "sts").get_caller_identity()
    assert [refused(ec2.describe_vpcs)[::2] for _ in range(2)] == [("RequestLimitExceeded", 503)] * 2
    ec2.describe_vpcs()


def test_throttle_mutating(aws: AwsSandbox) -> None:
    ec2, one = bot(aws, "ec2"), subnet(aws, "demo", "demo-public-c")
    aws.set_faults({"throttle_mutating": 1})
    ec2.describe_vpcs()
    assert refused(lambda: tag(ec2, one))[0] == "RequestLimitExceeded"
    tag(ec2, one)


def test_deny_speaks_of_a_service_control_policy(aws: AwsSandbox) -> None:
    aws.set_faults({"deny": ["ec2:*Tags", "sts:AssumeRole"]})
    code, message, _ = refused(lambda: tag(bot(aws, "ec2"), subnet(aws, "demo", "demo-public-a")))
    assert (code, "with an explicit deny in a service control policy" in message) == ("UnauthorizedOperation", True)
    assert refused(lambda: assume(aws))[0] == "AccessDenied"
    bot(aws, "ec2").describe_vpcs()


def test_expired_and_bad_credentials(aws: AwsSandbox) -> None:
    ec2 = client(aws, "ec2", *assume(aws).values())
    aws.set_faults({"expired_credentials": True})
    assert refused(ec2.describe_vpcs)[0] == "RequestExpired"
    bot(aws, "ec2").describe_vpcs()
    aws.set_faults({"expired_credentials": False, "bad_keys": True})
    assert refused(ec2.describe_vpcs)[0] == "AuthFailure"
    assert refused(bot(aws, "sts").get_caller_identity)[0] == "InvalidClientTokenId"


def test_reads_lag_behind_tags(aws: AwsSandbox) -> None:
    ec2, one = bot(aws, "ec2"), subnet(aws, "demo", "demo-private-a")
    aws.set_faults({"tag_lag_reads": 2})
    tag(ec2, one)
    assert [KEY in tags_of(ec2, one) for _ in range(3)] == [False, False, True]
    aws.set_faults({"tag_lag_reads": 1})
    ec2.delete_tags(Resources=[one], Tags=[{"Key": KEY, "Value": "shared"}])
    assert [KEY in tags_of(ec2, one) for _ in range(2)] == [True, False]


def test_lying_tags(aws: AwsSandbox) -> None:
    ec2, one = bot(aws, "ec2"), subnet(aws, "demo", "demo-private-b")
    aws.set_faults({"lying_tags": True})
    tag(ec2, one)
    assert KEY not in tags_of(ec2, one)
    aws.set_faults({"lying_tags": False})
    tag(ec2, one)
    assert KEY in tags_of(ec2, one)


def test_unreachable_closes_the_connection(aws: AwsSandbox) -> None:
    ec2 = bot(aws, "ec2")
    aws.set_faults({"unreachable": True})
    with pytest.raises(ConnectionClosedError):
        ec2.describe_vpcs()
    assert aws.calls[-1]["outcome"] == "ConnectionClosed"
    aws.set_faults({"unreachable": False})
    ec2.describe_vpcs()


def test_latency_and_server_errors(aws: AwsSandbox) -> None:
    ec2 = bot(aws, "ec2")
    aws.set_faults({"latency_ms": 200, "server_error": 1})
    began = time.perf_counter()
    assert refused(ec2.describe_vpcs)[::2] == ("InternalError", 500)
    assert time.perf_counter() - began >= 0.2
    ec2.describe_vpcs()


def until_held(aws: AwsSandbox) -> None:
    deadline = time.monotonic() + PATIENCE
    while not aws.held and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(aws.held) == 1


@pytest.mark.parametrize(("switch", "applied"), [("hold", False), ("hold_answer", True)])
def test_hold_waits_before_or_after_the_change(aws: AwsSandbox, switch: str, applied: bool) -> None:
    ec2, one = bot(aws, "ec2"), subnet(aws, "demo", "demo-private-c")
    ec2.delete_tags(Resources=[one], Tags=[{"Key": KEY}])
    aws.set_faults({switch: ["ec2:CreateTags"]})
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(tag, ec2, one)
        until_held(aws)
        assert (KEY in tags_of(ec2, one)) is applied
        aws.set_faults({switch: None})
        waiting.result(PATIENCE)
    assert KEY in tags_of(ec2, one)


def test_what_the_emulator_lacks_is_said_so(aws: AwsSandbox) -> None:
    code, message, status = refused(admin(aws, "ec2").describe_capacity_reservations)
    assert (code, status) == ("NotImplemented", 501)
    assert "ec2:DescribeCapacityReservations" in message


def test_only_one_runs_and_a_stopped_one_is_gone(running: AwsSandbox) -> None:
    ec2 = bot(running, "ec2")
    ec2.describe_vpcs()
    with pytest.raises(RuntimeError):
        AwsSandbox().start()
    running.set_faults({"hold_answer": ["ec2:*"]})
    with ThreadPoolExecutor() as pool:
        late = pool.submit(ec2.describe_subnets)
        until_held(running)
        running.stop()
        running.stop()
        assert isinstance(late.exception(PATIENCE), ConnectionClosedError)
    with pytest.raises(Exception, match=r"Could not connect|Connection was closed"):
        ec2.describe_vpcs()
    running.start()
