"""The AWS client: rights are exactly the plan's, undeclared calls are not made, errors are plain sentences."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore import exceptions as boto
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import ClientError

from handlers.clients.aws import POLICY_LIMIT, AwsSessions, Session, _Clients, session_policy
from handlers.clients.aws_errors import BAD_KEYS, DENIED, EXPIRED, PASSING, THROTTLED, from_botocore, from_client
from handlers.contract import Action, AwsRefused, Caller, Fatal, Retry, UsageError
from handlers.network import Subnet
from handlers.settings import OperationsSettings
from handlers.steps.tag import TagExecutor, TagStep
from handlers.steps.untag import UntagExecutor, UntagStep
from handlers.subnet import TagArguments, _steps
from handlers.subnet_scope import Where
from handlers.tags import IDS_PER_CALL
from tests import ports
from tests.unit.makers import KEY, SUBNETS, tag_step

SETTINGS = OperationsSettings.model_validate({
    "default_account": "keys",
    "aws": {"connect_timeout": 1, "read_timeout": 1, "attempts": 1},
    "accounts": {
        "keys": {"id": "111122223333", "region": "us-east-1", "access": "ambient"},
        "file": {"id": "111122223333", "region": "us-east-1", "access": "profile", "profile": "nowhere"},
        "role": {"id": "111122223333", "region": "us-east-1", "role_arn": "arn:aws:iam::111122223333:role/tkgbot"},
    },
})  # fmt: skip
CANARIES = ("AKIACANARYCANARY1234", "canary/secret+key", "FwoGZXIvYXdzCANARY", "arn:aws:iam::1:user/canary")


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No credentials, no AWS: whatever is asked ends at a closed port of this machine."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", ports.nobody())


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")


@pytest.fixture(scope="module")
def sessions() -> AwsSessions:
    return AwsSessions(SETTINGS)


def caller(*names: str) -> Caller:
    actions = tuple(Action(name=name, account="keys", region="us-east-1") for name in names)
    return Caller(request="r-1", person="UDEV000001", actions=actions)


# -- the session policy ------------------------------------------------------------------------------------------


def allowed(policy: str) -> set[tuple[str, str, str]]:
    """(action, resource, condition) of every right in a policy."""
    document = json.loads(policy)
    assert document["Version"] == "2012-10-17"
    found = set()
    for statement in document["Statement"]:
        assert set(statement) <= {"Effect", "Action", "Resource", "Condition"}
        assert statement["Effect"] == "Allow"
        condition = json.dumps(statement.get("Condition", {}), sort_keys=True)
        found |= {(action, resource, condition) for action in statement["Action"] for resource in statement["Resource"]}
    return found


def planned(count: int, *, role: bool, cluster: str = "demo", partition: str = "aws", region: str = "us-east-1") -> Any:
    where = Where("keys", region, partition, "111122223333")
    subnets = [
        Subnet(id=name, vpc="vpc-0a1b2c3d4e5f60718", zone=f"{region}a", arn="", tags={}, route="public", table="rtb-1")
        for name in SUBNETS[:count]
    ]
    arguments = TagArguments(cluster=cluster, subnets=tuple(SUBNETS[:count]), role_tag=role)
    return _steps(subnets, arguments, where)


@pytest.mark.parametrize("role", [False, True])
@pytest.mark.parametrize("count", [1, 2, 9, 10, 11, 12, 50, 200])
def test_the_policy_is_exactly_the_actions(count: int, role: bool) -> None:
    actions = tuple(action for step in planned(count, role=role) for action in step.actions)
    policy = session_policy(actions)
    assert len(policy) <= POLICY_LIMIT
    wanted = {
        (action.name, resource, json.dumps(action.conditions, sort_keys=True))
        for action in actions
        for resource in action.resources
    }
    assert allowed(policy) == wanted
    assert {name for name, _, _ in wanted} == {"ec2:DescribeSubnets", "ec2:CreateTags"}
    assert "*" not in {resource for name, resource, _ in wanted if name == "ec2:CreateTags"}


@pytest.mark.parametrize(
    ("partition", "region"), [("aws", "us-east-1"), ("aws", "ap-southeast-1"), ("aws-us-gov", "us-gov-west-1")]
)
def test_the_longest_names_fit_for_every_number_of_subnets(partition: str, region: str) -> None:
    for count in range(1, 201):
        steps = planned(count, role=True, cluster="a" * 42, partition=partition, region=region)
        assert len(session_policy(tuple(action for step in steps for action in step.actions))) <= POLICY_LIMIT, count


def test_each_right_to_tag_is_confined() -> None:
    for count in (1, 10, 11, 200):
        for step in planned(count, role=True):
            tagging = next(action for action in step.actions if action.name == "ec2:CreateTags")
            assert tagging.conditions["ForAllValues:StringEquals"] == {"aws:TagKeys": [step.key]}
            confined = all(resource.endswith(name) for resource, name in zip(tagging.resources, SUBNETS, strict=False))
            assert confined or "ec2:Vpc" in json.dumps(tagging.conditions)


def test_a_policy_that_is_too_long_is_refused_before_aws_refuses_it() -> None:
    many = tuple(
        Action(
            name="ec2:CreateTags", account="a", region="r", resources=(f"arn:aws:ec2:::subnet/{name}",), conditions={}
        )
        for name in SUBNETS
    )
    with pytest.raises(Fatal, match="AWS allows a session 2048"):
        session_policy(many)


# -- what a session may do ---------------------------------------------------------------------------------------


class Watched:
    """A boto3 client that counts what reaches it."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        names = {"describe_subnets": "DescribeSubnets", "create_tags": "CreateTags", "delete_subnet": "DeleteSubnet"}
        self.meta = type("Meta", (), {"method_to_api_mapping": names})
        for name in names:
            setattr(self, name, lambda _name=name, **_more: self.calls.append(_name) or {"ResponseMetadata": {}})


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    client = Watched()
    monkeypatch.setattr(_Clients, "get", lambda *_args: client)
    monkeypatch.setattr(AwsSessions, "_credentials", lambda *_args: ReadOnlyCredentials("a", "b", None))
    return client


def test_what_is_not_declared_is_not_asked(sessions: AwsSessions, watched: Watched) -> None:
    session = sessions.acting(caller("ec2:DescribeSubnets"), "keys", "us-east-1")
    assert session.read("ec2", "describe_subnets") == {}
    for call in (session.write, session.read):
        with pytest.raises(Fatal, match="does not declare `ec2:CreateTags`"):
            call("ec2", "create_tags")
    assert watched.calls == ["describe_subnets"]


@pytest.mark.parametrize("where", [("keys", "eu-west-1"), ("role", "us-east-1")])
def test_actions_hold_in_their_own_account_and_region_only(
    sessions: AwsSessions, watched: Watched, where: tuple[str, str]
) -> None:
    session = sessions.acting(caller("ec2:DescribeSubnets", "ec2:CreateTags"), *where)
    with pytest.raises(Fatal, match="does not declare"):
        session.write("ec2", "create_tags")
    assert watched.calls == []


def test_a_session_that_looks_cannot_write(sessions: AwsSessions, watched: Watched) -> None:
    session = sessions.reading(caller("ec2:CreateTags", "ec2:*"), "keys", "us-east-1")
    with pytest.raises(Fatal, match="only looks"):
        session.write("ec2", "describe_subnets")
    for name in ("create_tags", "delete_subnet"):
        with pytest.raises(Fatal, match="does not declare"):
            session.read("ec2", name)
        with pytest.raises(Fatal):
            list(session.pages("ec2", name, "x"))
    assert watched.calls == []


def test_nothing_is_asked_of_aws_for_an_undeclared_action(keys: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even for credentials: the guard comes first."""
    asked: list[Any] = []
    monkeypatch.setattr(AwsSessions, "_credentials", lambda *args: asked.append(args) or ({}, float("inf")))
    for account in ("keys", "role"):
        session = AwsSessions(SETTINGS).acting(caller("ec2:DescribeSubnets"), account, "us-east-1")
        with pytest.raises(Fatal, match="does not declare"):
            session.write("ec2", "create_tags")
    assert asked == []


def test_a_run_without_actions_may_do_nothing(keys: None) -> None:
    with pytest.raises(Fatal, match="does not declare"):
        AwsSessions(SETTINGS).acting(caller(), "keys", "us-east-1").read("ec2", "describe_subnets")


def test_pages_are_followed_to_the_end(sessions: AwsSessions, watched: Watched) -> None:
    answers = iter([{"Subnets": [1, 2], "NextToken": "t"}, {"Subnets": [], "NextToken": "u"}, {"Subnets": [3]}])
    asked: list[Any] = []
    watched.describe_subnets = lambda **more: asked.append(more.get("NextToken")) or next(answers)  # type: ignore[attr-defined]
    session = sessions.reading(caller(), "keys", "us-east-1")
    assert list(session.pages("ec2", "describe_subnets", "Subnets")) == [1, 2, 3]
    assert asked == [None, "t", "u"]


def test_an_unknown_account_is_told_with_those_that_are_known(sessions: AwsSessions) -> None:
    with pytest.raises(UsageError, match="no account `prod`") as caught:
        sessions.account("prod")
    assert "`file`, `keys`, `role`" in caught.value.hint


# -- errors ------------------------------------------------------------------------------------------------------


def error(code: str, message: str = "", status: int = 400) -> ClientError:
    text = f"{message} {' '.join(CANARIES)}"
    return ClientError({"Error": {"Code": code, "Message": text}, "ResponseMetadata": {"HTTPStatusCode": status}}, "X")  # type: ignore[typeddict-item]


def assert_plain(found: Any, *words: str) -> None:
    said = f"{found.message} {found.hint}"
    for canary in CANARIES:
        assert canary not in said
    for word in words:
        assert word in said, said
    assert re.fullmatch(r".*\.", found.message), found.message


@pytest.mark.parametrize("code", sorted(THROTTLED))
def test_throttling_passes(code: str) -> None:
    found = from_client(error(code, status=503), "ec2:CreateTags", "main")
    assert isinstance(found, Retry)
    assert_plain(found, "throttling", "`main`", code)


@pytest.mark.parametrize(("code", "status"), [*((code, 400) for code in sorted(PASSING)), ("Odd", 500), ("Odd", 599)])
def test_trouble_of_aws_passes(code: str, status: int) -> None:
    found = from_client(error(code, status=status), "ec2:CreateTags", "main")
    assert isinstance(found, Retry)
    assert_plain(found, "`ec2:CreateTags`", code)


@pytest.mark.parametrize(("codes", "word"), [(EXPIRED, "expired"), (BAD_KEYS, "does not accept")])
def test_credentials_do_not_mend_themselves(codes: set[str], word: str) -> None:
    for code in codes:
        found = from_client(error(code, status=401), "ec2:CreateTags", "main")
        assert isinstance(found, Fatal)
        assert_plain(found, word, "`main`", "platform team")


@pytest.mark.parametrize("code", sorted(DENIED))
@pytest.mark.parametrize(
    ("text", "who"),
    [
        ("with an explicit deny in a service control policy", "service control policy of the organisation"),
        ("because no session policy allows the ec2:CreateTags action", "the approved plan's own session policy"),
        ("because no identity-based policy allows the ec2:CreateTags action", "the rights of the bot's role"),
        ("", "the rights of the bot's role"),
    ],
)
def test_a_denial_says_who_denied(code: str, text: str, who: str) -> None:
    found = from_client(error(code, text, 403), "ec2:CreateTags", "main")
    assert isinstance(found, Fatal)
    assert_plain(found, who, "`ec2:CreateTags`", "`main`")


def test_a_refusal_keeps_the_code_and_the_ids() -> None:
    text = "The subnet IDs 'subnet-0a1b2c3d, subnet-0a1b2c3d' and vpc-1 do not exist"
    found = from_client(error("InvalidSubnetID.NotFound", text), "ec2:CreateTags", "main")
    assert isinstance(found, AwsRefused)
    assert found.code == "InvalidSubnetID.NotFound"
    assert_plain(found, "InvalidSubnetID.NotFound (subnet-0a1b2c3d, vpc-1)")


def test_an_answer_without_an_error_is_still_an_error() -> None:
    assert isinstance(from_client(ClientError({}, "X"), "ec2:X", "main"), AwsRefused)


@pytest.mark.parametrize(
    ("raised", "kind", "word"),
    [
        (boto.EndpointConnectionError(endpoint_url="https://canary"), Retry, "cannot be reached"),
        (boto.ConnectTimeoutError(endpoint_url="https://canary"), Retry, "cannot be reached"),
        (boto.ReadTimeoutError(endpoint_url="https://canary"), Retry, "cannot be reached"),
        (boto.ConnectionClosedError(endpoint_url="https://canary"), Retry, "cannot be reached"),
        (boto.SSLError(endpoint_url="https://canary", error="x"), Retry, "cannot be reached"),
        (boto.NoCredentialsError(), Fatal, "no AWS credentials"),
        (boto.PartialCredentialsError(provider="env", cred_var="canary"), Fatal, "no AWS credentials"),
        (boto.ProfileNotFound(profile="canary"), Fatal, "no AWS credentials"),
        (boto.ParamValidationError(report="canary"), Fatal, "ParamValidationError"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_aws_that_cannot_be_asked(raised: Any, kind: type[Exception], word: str) -> None:
    found = from_botocore(raised, "ec2:CreateTags", "main")
    assert type(found) is kind
    assert_plain(found, word)
    assert "canary" not in str(found)


def test_no_credentials_are_said_so() -> None:
    for account in ("keys", "role"):
        with pytest.raises(Fatal, match="no AWS credentials"):
            AwsSessions(SETTINGS).reading(caller(), account, "us-east-1").read("ec2", "describe_subnets")


def test_a_profile_that_is_not_there_is_said_so() -> None:
    with pytest.raises(Fatal, match="AWS credentials"):
        AwsSessions(SETTINGS).reading(caller(), "file", "us-east-1").read("ec2", "describe_subnets")


def test_a_network_that_is_down_passes(keys: None) -> None:
    with pytest.raises(Retry, match="cannot be reached"):
        AwsSessions(SETTINGS).reading(caller(), "keys", "us-east-1").read("ec2", "describe_subnets")


def test_a_region_that_boto_refuses_is_a_sentence(keys: None) -> None:
    with pytest.raises((Fatal, UsageError, Retry)):
        AwsSessions(SETTINGS).reading(caller(), "keys", "us-east-1\u0661").read("ec2", "describe_subnets")


# -- one tag on many subnets -------------------------------------------------------------------------------------


class World:
    """EC2's tags in a dictionary, and the calls that were made. Also the session."""

    def __init__(self, count: int, **tags: str) -> None:
        self.names = tuple(f"subnet-{number:017x}" for number in range(count))
        self.tags = {name: dict(tags) for name in self.names}
        self.writes: list[tuple[str, int]] = []
        self.reads = 0

    def aws(self, account: str, region: str) -> World:
        assert (account, region) == ("management", "us-east-1")
        return self

    def pages(self, service: str, operation: str, key: str, **parameters: Any) -> Iterator[Any]:
        assert len(parameters["SubnetIds"]) <= IDS_PER_CALL
        self.reads += 1
        for name in parameters["SubnetIds"]:
            yield {"SubnetId": name, "Tags": [{"Key": k, "Value": v} for k, v in self.tags[name].items()]}

    def write(self, service: str, operation: str, **parameters: Any) -> Any:
        ids, (tag,) = parameters["Resources"], parameters["Tags"]
        assert isinstance(ids, list)
        assert 0 < len(ids) <= 1000
        self.writes.append((operation, len(ids)))
        for name in ids:
            if operation == "create_tags":
                self.tags[name][tag["Key"]] = tag["Value"]
            elif self.tags[name].get(tag["Key"]) == tag["Value"]:
                del self.tags[name][tag["Key"]]
        return {}

    def step(self) -> TagStep:
        return tag_step(*self.names, before={name: tags.get(KEY) for name, tags in self.tags.items()})


DO: Any = TagExecutor()


@pytest.mark.parametrize(("count", "sizes"), [(1, [1]), (1000, [1000]), (1001, [1000, 1]), (2500, [1000, 1000, 500])])
def test_as_few_calls_as_aws_allows(count: int, sizes: list[int]) -> None:
    world = World(count)
    step = world.step()
    assert not DO.observe(step, world).so
    assert DO.apply(step, world).changed
    assert world.writes == [("create_tags", size) for size in sizes]
    assert DO.observe(step, world).so
    assert all(tags == {KEY: "shared"} for tags in world.tags.values())


def test_applying_what_is_so_changes_nothing() -> None:
    world = World(3)
    step = world.step()
    DO.apply(step, world)
    world.writes.clear()
    assert not DO.apply(step, world).changed
    assert world.writes == []


def test_only_what_lacks_the_tag_is_tagged() -> None:
    world = World(3, Name="x")
    world.tags[world.names[1]][KEY] = "shared"
    seen = DO.observe(world.step(), world)
    assert not seen.so
    assert world.names[0] in seen.evidence
    assert world.names[1] not in seen.evidence
    DO.apply(world.step(), world)
    assert world.writes == [("create_tags", 2)]


# -- one tag off many subnets ------------------------------------------------------------------------------------

UNDO: Any = UntagExecutor()


def off(world: World, *names: str) -> UntagStep:
    """A step that takes the tag off `names`, or off every subnet of the world."""
    fields = tag_step(*(names or world.names)).model_dump(exclude={"kind"})
    return UntagStep(**{**fields, "before": dict.fromkeys(names or world.names, "shared")})


@pytest.mark.parametrize(("count", "sizes"), [(1, [1]), (1000, [1000]), (1001, [1000, 1]), (2500, [1000, 1000, 500])])
def test_untagging_in_as_few_calls_as_aws_allows(count: int, sizes: list[int]) -> None:
    world = World(count, Name="x", **{KEY: "shared"})
    step = off(world)
    assert not UNDO.observe(step, world).so
    assert UNDO.apply(step, world).changed
    assert world.writes == [("delete_tags", size) for size in sizes]
    assert UNDO.observe(step, world).so
    assert all(tags == {"Name": "x"} for tags in world.tags.values())


def test_untagging_what_is_gone_changes_nothing() -> None:
    world = World(2, Name="x")
    assert UNDO.observe(off(world), world).so
    assert not UNDO.apply(off(world), world).changed
    assert world.writes == []


def test_only_what_carries_the_tag_is_untagged() -> None:
    world = World(4, Name="x", **{KEY: "shared"})
    first, second, third, _ = world.names
    del world.tags[second][KEY]
    seen = UNDO.observe(off(world, first, second, third), world)
    assert not seen.so
    assert (first in seen.evidence, second in seen.evidence) == (True, False)
    assert UNDO.apply(off(world, first, second, third), world).changed
    assert world.writes == [("delete_tags", 2)]
    assert [KEY in world.tags[name] for name in world.names] == [False, False, False, True]


def test_another_value_is_never_deleted() -> None:
    """Somebody set it since the plan: nothing is deleted at all, on no subnet."""
    world = World(3, **{KEY: "shared"})
    world.tags[world.names[1]][KEY] = "owned"
    for work in (UNDO.observe, UNDO.apply):
        with pytest.raises(Fatal, match=world.names[1]):
            work(off(world), world)
    assert world.writes == []
    assert [tags[KEY] for tags in world.tags.values()] == ["shared", "owned", "shared"]


def test_the_next_page_is_asked_for_as_each_service_wants_it(sessions: AwsSessions, watched: Watched) -> None:
    asked: list[Any] = []
    watched.meta.method_to_api_mapping["describe_load_balancers"] = "DescribeLoadBalancers"  # type: ignore[attr-defined]
    for service in ("elb", "elbv2"):
        answers = iter([{"Found": [1], "NextMarker": "m"}, {"Found": [2]}])
        watched.describe_load_balancers = lambda _all=answers, **more: asked.append(more) or next(_all)  # type: ignore[attr-defined]
        session = sessions.reading(caller(), "keys", "us-east-1")
        assert list(session.pages(service, "describe_load_balancers", "Found")) == [1, 2]
    assert asked == [{}, {"Marker": "m"}] * 2


@pytest.mark.parametrize("service", ["elb", "elbv2"])
def test_rights_are_named_as_iam_names_them(sessions: AwsSessions, watched: Watched, service: str) -> None:
    watched.meta.method_to_api_mapping["delete_load_balancer"] = "DeleteLoadBalancer"  # type: ignore[attr-defined]
    with pytest.raises(Fatal, match="does not declare `elasticloadbalancing:DeleteLoadBalancer`"):
        sessions.reading(caller(), "keys", "us-east-1").read(service, "delete_load_balancer")
    assert watched.calls == []


def test_sessions_are_told_apart(sessions: AwsSessions) -> None:
    look = sessions.reading(caller("ec2:CreateTags"), "keys", "us-east-1")
    act = sessions.acting(caller("ec2:CreateTags"), "keys", "us-east-1")
    assert isinstance(look, Session)
    assert look.actions is None
    assert act.actions == caller("ec2:CreateTags").actions
