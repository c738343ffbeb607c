"""The sandbox's IAM as onboarding meets it: who may what, documents that are refused, changes that take a while."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from sandbox.aws import AwsSandbox

HOME, TENANT, SECOND, THIRD = "111122223333", "444455556666", "777788889999", "222233334444"
SUFFIX = "cluster-api-provider-aws.sigs.k8s.io"
MASTERS, CONTROLLERS = f"control-plane.{SUFFIX}", f"controllers.{SUFFIX}"
ROOT = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{HOME}:root"}, "Action": "sts:AssumeRole"}
ANY = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"}


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


def client(aws: AwsSandbox, service: str, key: str, secret: str, token: str | None = None) -> Any:
    return boto3.client(
        service, region_name="us-east-1", endpoint_url=aws.url, config=Config(retries={"total_max_attempts": 1}),
        aws_access_key_id=key, aws_secret_access_key=secret, aws_session_token=token,
    )  # fmt: skip


def admin(aws: AwsSandbox, service: str, account: str = HOME) -> Any:
    return client(aws, service, *aws.describe()["accounts"][account]["admin"].values())


def session(aws: AwsSandbox, sts: Any, arn: str, **more: Any) -> list[str]:
    made = sts.assume_role(RoleArn=arn, RoleSessionName="check", **more)["Credentials"]
    return [made["AccessKeyId"], made["SecretAccessKey"], made["SessionToken"]]


def ambient(aws: AwsSandbox) -> Any:
    env = aws.env()
    return client(aws, "sts", env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"])


def bot(aws: AwsSandbox, service: str) -> Any:
    return client(aws, service, *session(aws, ambient(aws), f"arn:aws:iam::{HOME}:role/tkgbot"))


def node(aws: AwsSandbox) -> tuple[str, str, str]:
    place = aws.describe()["accounts"][HOME]["management"]
    return aws.own_keys(place["role"], place["instance"], "instance")


def document(*statements: Any) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def refused(call: Any, **arguments: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def role(aws: AwsSandbox, name: str, *trust: Any, account: str = SECOND) -> str:
    iam = admin(aws, "iam", account)
    return str(iam.create_role(RoleName=name, AssumeRolePolicyDocument=document(*trust))["Role"]["Arn"])


# -- accounts ----------------------------------------------------------------------------------------------------


def test_the_bootstrap_role_lets_the_bot_in_with_its_external_id(aws: AwsSandbox) -> None:
    place = aws.describe()["accounts"][SECOND]["bootstrap"]
    keys = session(aws, ambient(aws), place["role_arn"], ExternalId=place["external_id"], SourceIdentity="U1")
    assert client(aws, "sts", *keys).get_caller_identity()["Account"] == SECOND
    assert client(aws, "ec2", *keys).describe_vpcs()["Vpcs"]
    assert refused(ambient(aws).assume_role, RoleArn=place["role_arn"], RoleSessionName="check")[0] == "AccessDenied"


@pytest.mark.parametrize("account", [SECOND, THIRD])
def test_nothing_of_the_provider_is_in_the_new_accounts(aws: AwsSandbox, account: str) -> None:
    iam = admin(aws, "iam", account)
    assert not iam.list_instance_profiles()["InstanceProfiles"]
    assert [entry["RoleName"] for entry in iam.list_roles()["Roles"]] == ["tkgbot-bootstrap"] * (account == SECOND)
    assert admin(aws, "ec2", account).describe_key_pairs()["KeyPairs"][0]["KeyName"] == "ops"


def test_one_vpc_overlaps_that_of_the_management_cluster(aws: AwsSandbox) -> None:
    def blocks(account: str) -> dict[str, str]:
        found = admin(aws, "ec2", account).describe_vpcs()["Vpcs"]
        return {vpc["Tags"][0]["Value"]: vpc["CidrBlock"] for vpc in found}

    assert blocks(SECOND)["overlap"] == blocks(HOME)["demo"]
    assert blocks(SECOND)["second"] not in blocks(HOME).values()
    assert len(aws.describe()["accounts"][SECOND]["vpcs"]["overlap"]["subnets"]) == 2


def test_the_management_instance_runs_with_its_profile_and_is_in_nobodys_way(aws: AwsSandbox) -> None:
    place = aws.describe()["accounts"][HOME]["management"]
    (found,) = bot(aws, "ec2").describe_instances(InstanceIds=[place["instance"]])["Reservations"][0]["Instances"]
    assert found["State"]["Name"] == "running"
    assert found["IamInstanceProfile"]["Arn"] == f"arn:aws:iam::{HOME}:instance-profile/{MASTERS}"
    assert found["Placement"]["AvailabilityZone"] == place["zone"]
    one, other = (aws.describe()["accounts"][HOME]["vpcs"]["demo"]["subnets"][f"demo-private-{z}"] for z in "ab")
    free = {raw["SubnetId"]: raw["AvailableIpAddressCount"] for raw in admin(aws, "ec2").describe_subnets()["Subnets"]}
    assert free[one] == free[other]


def test_an_instances_session_is_the_roles_and_outlives_what_ends_others(aws: AwsSandbox) -> None:
    keys, place = node(aws), aws.describe()["accounts"][HOME]["management"]
    sts = client(aws, "sts", *keys)
    aws.set_faults({"expired_credentials": True})
    aws.expire_sessions()
    assert sts.get_caller_identity()["Arn"] == f"arn:aws:sts::{HOME}:assumed-role/{MASTERS}/{place['instance']}"


# -- trust, from the controllers' side ---------------------------------------------------------------------------


def test_the_controllers_need_both_sides_to_enter(aws: AwsSandbox) -> None:
    narrowed = {
        **ROOT,
        "Condition": {
            "StringEquals": {"sts:ExternalId": "shared-secret"},
            "ArnEquals": {"aws:PrincipalArn": f"arn:aws:iam::{HOME}:role/{MASTERS}"},
        },
    }
    arn, sts = role(aws, CONTROLLERS, narrowed), client(aws, "sts", *node(aws))
    code, said = refused(session, aws=aws, sts=sts, arn=arn, ExternalId="shared-secret")
    assert (code, "no identity-based policy allows" in said) == ("AccessDenied", True)
    bot(aws, "iam").put_role_policy(RoleName=MASTERS, PolicyName="tkgbot-x", PolicyDocument=document(ANY))
    try:
        assert session(aws, sts, arn, ExternalId="shared-secret")
        assert session(aws, sts, arn, ExternalId="shared-secret", DurationSeconds=3600)
        assert refused(session, aws=aws, sts=sts, arn=arn)[0] == "AccessDenied"
    finally:
        bot(aws, "iam").delete_role_policy(RoleName=MASTERS, PolicyName="tkgbot-x")
        admin(aws, "iam", SECOND).delete_role(RoleName=CONTROLLERS)


@pytest.mark.parametrize(("organisation", "enters"), [("", True), ("o-another0001", False)])
def test_a_wildcard_can_be_held_to_the_organisation(aws: AwsSandbox, organisation: str, enters: bool) -> None:
    wanted = organisation or aws.describe()["organisation"]
    name = f"elsewhere{organisation}"
    arn, sts = role(aws, name, ROOT), client(aws, "sts", *node(aws))
    every = {**ANY, "Resource": "arn:aws:iam::*:role/*", "Condition": {"StringEquals": {"aws:ResourceOrgID": wanted}}}
    policy = {"RoleName": MASTERS, "PolicyName": "org"}
    admin(aws, "iam").put_role_policy(**policy, PolicyDocument=document(every))
    try:
        if enters:
            assert session(aws, sts, arn)
        else:
            assert refused(session, aws=aws, sts=sts, arn=arn)[0] == "AccessDenied"
    finally:
        admin(aws, "iam").delete_role_policy(**policy)


def test_the_first_hop_from_an_instance_is_not_a_chain(aws: AwsSandbox) -> None:
    iam = admin(aws, "iam", SECOND)
    made = iam.create_role(RoleName="long", AssumeRolePolicyDocument=document(ROOT), MaxSessionDuration=43_200)
    admin(aws, "iam").put_role_policy(RoleName=MASTERS, PolicyName="x", PolicyDocument=document(ANY))
    sts = client(aws, "sts", *node(aws))
    first = session(aws, sts, made["Role"]["Arn"], DurationSeconds=7200)
    itself = {**ROOT, "Principal": {"AWS": made["Role"]["Arn"]}}
    iam.update_assume_role_policy(RoleName="long", PolicyDocument=document(itself))
    again = client(aws, "sts", *first)
    assert "role chaining" in refused(session, aws=aws, sts=again, arn=made["Role"]["Arn"], DurationSeconds=7200)[1]
    admin(aws, "iam").delete_role_policy(RoleName=MASTERS, PolicyName="x")


# -- what the bot may --------------------------------------------------------------------------------------------


def test_the_bot_reads_iam_and_writes_two_principals_only(aws: AwsSandbox) -> None:
    iam = bot(aws, "iam")
    assert iam.get_role(RoleName=MASTERS)["Role"]["AssumeRolePolicyDocument"]["Statement"]
    (attached,) = iam.list_attached_role_policies(RoleName=MASTERS)["AttachedPolicies"]
    version = iam.get_policy(PolicyArn=attached["PolicyArn"])["Policy"]["DefaultVersionId"]
    held = iam.get_policy_version(PolicyArn=attached["PolicyArn"], VersionId=version)["PolicyVersion"]["Document"]
    assert "ec2:RunInstances" in held["Statement"][0]["Action"]
    assert iam.get_user(UserName="capa-controllers")["User"]["Arn"].endswith(":user/capa-controllers")
    assert iam.list_user_policies(UserName="capa-controllers")["PolicyNames"] == ["capa-controllers"]
    key = aws.describe()["accounts"][HOME]["controllers"]["access_key"]
    assert iam.get_access_key_last_used(AccessKeyId=key)["UserName"] == "capa-controllers"
    assert bot(aws, "sts").get_access_key_info(AccessKeyId=key)["Account"] == HOME
    user = {"UserName": "capa-controllers", "PolicyName": "mine"}
    iam.put_user_policy(**user, PolicyDocument=document(ANY))
    iam.delete_user_policy(**user)
    wrong = {"PolicyName": "mine", "PolicyDocument": document(ANY)}
    assert refused(iam.put_role_policy, RoleName=CONTROLLERS, **wrong)[0] == "AccessDenied"
    assert refused(iam.put_user_policy, UserName="admin", **wrong)[0] == "AccessDenied"
    assert f"on resource: arn:aws:iam::{HOME}:user/admin" in refused(iam.put_user_policy, UserName="admin", **wrong)[1]


# -- the simulator -----------------------------------------------------------------------------------------------


def simulated(aws: AwsSandbox, source: str, *actions: str, **more: Any) -> list[tuple[str, str, str]]:
    found = bot(aws, "iam").simulate_principal_policy(PolicySourceArn=source, ActionNames=list(actions), **more)
    assert found["IsTruncated"] is False
    return [
        (entry["EvalActionName"], entry["EvalResourceName"], entry["EvalDecision"])
        for entry in found["EvaluationResults"]
    ]


def test_the_simulator_decides_by_the_principals_own_policies(aws: AwsSandbox) -> None:
    source = f"arn:aws:iam::{HOME}:role/{MASTERS}"
    assert simulated(aws, source, "ec2:RunInstances", "sts:AssumeRole") == [
        ("ec2:RunInstances", "*", "allowed"),
        ("sts:AssumeRole", "*", "implicitDeny"),
    ]
    places = [f"arn:aws:iam::{SECOND}:role/nodes.{SUFFIX}", f"arn:aws:iam::{SECOND}:role/other"]
    assert [entry[2] for entry in simulated(aws, source, "iam:PassRole", ResourceArns=places)] == [
        "allowed",
        "implicitDeny",
    ]
    user = f"arn:aws:iam::{HOME}:user/capa-controllers"
    assert simulated(aws, user, "ec2:RunInstances") == [("ec2:RunInstances", "*", "allowed")]


def test_the_simulator_takes_keys_and_names_missing_ones(aws: AwsSandbox) -> None:
    iam, source = admin(aws, "iam"), f"arn:aws:iam::{HOME}:role/{MASTERS}"
    condition = {"StringEquals": {"aws:ResourceOrgID": "o-1"}}
    deny = {"Effect": "Deny", "Action": "ec2:StopInstances", "Resource": "*"}
    iam.put_role_policy(
        RoleName=MASTERS, PolicyName="x", PolicyDocument=document({**ANY, "Condition": condition}, deny)
    )
    given = {"ContextKeyName": "aws:ResourceOrgID", "ContextKeyValues": ["o-1"], "ContextKeyType": "string"}
    assert simulated(aws, source, "sts:AssumeRole", ContextEntries=[given])[0][2] == "allowed"
    assert simulated(aws, source, "ec2:StopInstances")[0][2] == "explicitDeny"
    without = iam.simulate_principal_policy(PolicySourceArn=source, ActionNames=["sts:AssumeRole"])
    (entry,) = without["EvaluationResults"]
    assert (entry["EvalDecision"], entry["MissingContextValues"]) == ("implicitDeny", ["aws:resourceorgid"])
    iam.delete_role_policy(RoleName=MASTERS, PolicyName="x")


def test_the_simulator_tells_of_the_organisation_and_of_nobody(aws: AwsSandbox) -> None:
    source = f"arn:aws:iam::{HOME}:role/{MASTERS}"
    aws.set_faults({"deny": ["ec2:RunInstances"]})
    found = bot(aws, "iam").simulate_principal_policy(PolicySourceArn=source, ActionNames=["ec2:RunInstances"])
    (entry,) = found["EvaluationResults"]
    assert entry["EvalDecision"] == "explicitDeny"
    assert entry["OrganizationsDecisionDetail"] == {"AllowedByOrganizations": False}
    assert refused(simulated, aws=aws, source=f"{source}x")[0] == "NoSuchEntity"


def test_a_boundary_holds_what_policies_give(aws: AwsSandbox) -> None:
    iam = admin(aws, "iam", SECOND)
    bound = document({"Effect": "Allow", "Action": ["ec2:Describe*", "sts:*"], "Resource": "*"})
    arn = iam.create_policy(PolicyName="bound", PolicyDocument=bound)["Policy"]["Arn"]
    asked = {"RoleName": "tkgbot-bound", "AssumeRolePolicyDocument": document(ROOT)}
    assert refused(iam.create_role, **asked, PermissionsBoundary=f"{arn}x")[0] == "NoSuchEntity"
    made = iam.create_role(**asked, PermissionsBoundary=arn)["Role"]["Arn"]
    every = document({"Effect": "Allow", "Action": "*", "Resource": "*"})
    iam.put_role_policy(RoleName="tkgbot-bound", PolicyName="all", PolicyDocument=every)
    ec2 = client(aws, "ec2", *session(aws, ambient(aws), made))
    assert ec2.describe_vpcs()["Vpcs"]
    said = refused(ec2.create_vpc, CidrBlock="10.0.0.0/16")[1]
    assert "no permissions boundary allows the ec2:CreateVpc action" in said
    found = iam.simulate_principal_policy(PolicySourceArn=made, ActionNames=["ec2:CreateVpc", "ec2:DescribeVpcs"])
    assert [
        (entry["EvalDecision"], entry["PermissionsBoundaryDecisionDetail"]["AllowedByPermissionsBoundary"])
        for entry in found["EvaluationResults"]
    ] == [("implicitDeny", False), ("allowed", True)]


# -- documents ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trust", "code", "words"),
    [
        ("{,", "MalformedPolicyDocument", "This policy contains invalid Json"),
        (document({"Effect": "Allow", "Action": "sts:AssumeRole"}), "MalformedPolicyDocument", "field Principal"),
        (
            document({**ROOT, "Principal": {"AWS": f"arn:aws:iam::{HOME}:role/nobody"}}),
            "MalformedPolicyDocument",
            f'Invalid principal in policy: "AWS":"arn:aws:iam::{HOME}:role/nobody"',
        ),
        (document({**ROOT, "Principal": {"AWS": "AROAXXXXXXXXXXXXXXXX"}}), "MalformedPolicyDocument", "AROAXX"),
        (document(*[{**ROOT, "Sid": f"S{n}"} for n in range(25)]), "LimitExceeded", "ACLSizePerRole: 2048"),
    ],
)
def test_a_trust_that_iam_does_not_keep(aws: AwsSandbox, trust: str, code: str, words: str) -> None:
    iam = admin(aws, "iam")
    before = iam.get_role(RoleName=CONTROLLERS)["Role"]["AssumeRolePolicyDocument"]
    for found in (
        refused(iam.update_assume_role_policy, RoleName=CONTROLLERS, PolicyDocument=trust),
        refused(iam.create_role, RoleName="new", AssumeRolePolicyDocument=trust),
    ):
        assert (found[0], words in found[1]) == (code, True), found
    assert iam.get_role(RoleName=CONTROLLERS)["Role"]["AssumeRolePolicyDocument"] == before


def test_white_space_does_not_count(aws: AwsSandbox) -> None:
    trust = json.dumps(json.loads(document(ROOT)), indent=300)
    assert len(trust) > 2048
    assert role(aws, "airy", json.loads(trust)["Statement"][0])
    admin(aws, "iam", SECOND).update_assume_role_policy(RoleName="airy", PolicyDocument=trust)


@pytest.mark.parametrize(("kind", "limit"), [("Role", 10_240), ("User", 2_048)])
def test_inline_policies_are_limited_together(aws: AwsSandbox, kind: str, limit: int) -> None:
    iam, name = admin(aws, "iam"), CONTROLLERS if kind == "Role" else "tkgbot"
    call, drop = getattr(iam, f"put_{kind.lower()}_policy"), getattr(iam, f"delete_{kind.lower()}_policy")
    who, half = {f"{kind}Name": name}, document({**ANY, "Sid": "x" * (limit // 2)})
    big = document({**ANY, "Sid": "x" * (limit - 200)})
    code, said = refused(call, **who, PolicyName="one", PolicyDocument=document({**ANY, "Sid": "x" * limit}))
    assert (code, said) == ("LimitExceeded", f"Maximum policy size of {limit} bytes exceeded for {kind.lower()} {name}")
    call(**who, PolicyName="one", PolicyDocument=half if kind == "Role" else document(ANY))
    assert refused(call, **who, PolicyName="two", PolicyDocument=big)[0] == "LimitExceeded"
    drop(**who, PolicyName="one")


def test_an_account_becomes_its_root_and_a_deleted_role_its_id(aws: AwsSandbox) -> None:
    iam = admin(aws, "iam", SECOND)
    guest = role(aws, "guest", ROOT)
    ident = iam.get_role(RoleName="guest")["Role"]["RoleId"]
    role(aws, "host", {**ROOT, "Principal": {"AWS": [HOME]}}, {**ROOT, "Principal": {"AWS": [guest]}, "Sid": "Guest"})

    def trusted() -> list[str]:
        found = iam.get_role(RoleName="host")["Role"]["AssumeRolePolicyDocument"]["Statement"]
        return [entry["Principal"]["AWS"] for entry in found]

    assert trusted() == [f"arn:aws:iam::{HOME}:root", guest]
    iam.delete_role(RoleName="guest")
    assert trusted() == [f"arn:aws:iam::{HOME}:root", ident]
    role(aws, "guest", ROOT)
    assert trusted()[1] == ident
    kept = json.dumps(iam.get_role(RoleName="host")["Role"]["AssumeRolePolicyDocument"])
    assert "Invalid principal" in refused(iam.update_assume_role_policy, RoleName="host", PolicyDocument=kept)[1]


# -- time --------------------------------------------------------------------------------------------------------


def test_changes_of_documents_take_a_while(aws: AwsSandbox) -> None:
    arn, source = role(aws, "tkgbot-late", ROOT), f"arn:aws:iam::{HOME}:role/{MASTERS}"
    assert session(aws, ambient(aws), arn)
    aws.set_faults({"iam_lag": 2})
    admin(aws, "iam", SECOND).update_assume_role_policy(
        RoleName="tkgbot-late", PolicyDocument=document({**ROOT, "Sid": "New", "Principal": {"AWS": TENANT}})
    )
    assert [_assumable(aws, arn) for _ in range(3)] == [True, True, False]
    aws.set_faults({"iam_lag": 1})
    admin(aws, "iam").put_role_policy(RoleName=MASTERS, PolicyName="x", PolicyDocument=document(ANY))
    sts = admin(aws, "iam")

    def decision() -> str:
        found = sts.simulate_principal_policy(PolicySourceArn=source, ActionNames=["sts:AssumeRole"])
        return str(found["EvaluationResults"][0]["EvalDecision"])

    assert [decision() for _ in range(2)] == ["implicitDeny", "allowed"]
    admin(aws, "iam").delete_role_policy(RoleName=MASTERS, PolicyName="x")


def _assumable(aws: AwsSandbox, arn: str) -> bool:
    try:
        return bool(session(aws, ambient(aws), arn))
    except ClientError as denied:
        if denied.response["Error"]["Code"] != "AccessDenied":
            raise
        return False


def test_a_new_role_is_not_there_for_everybody_at_once(aws: AwsSandbox) -> None:
    aws.set_faults({"iam_lag": 1})
    arn = role(aws, "tkgbot-fresh", ROOT)
    assert [_assumable(aws, arn) for _ in range(2)] == [False, True]


def test_iam_throttles_in_its_own_word(aws: AwsSandbox) -> None:
    iam = bot(aws, "iam")
    aws.set_faults({"throttle_iam": 1})
    bot(aws, "ec2").describe_vpcs()
    assert refused(iam.get_role, RoleName=MASTERS)[0] == "Throttling"
    assert iam.get_role(RoleName=MASTERS)
