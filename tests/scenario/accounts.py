"""Accounts in scenario tests: asking, the hands of each account's administrator, and putting both sides back."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from botocore.exceptions import ClientError

from bot.tour import words
from handlers.stacks import template
from tests.scenario.clusters import SWIFT, Administrator, approve, ask, clear
from tests.world import APPROVER, DEV, MANAGEMENT, Json, World, eventually, running_world

SECOND, THIRD = "777788889999", "222233334444"
"""The bot has a bootstrap role in the first; in the other only people have rights."""
SUFFIX = ".cluster-api-provider-aws.sigs.k8s.io"
ROLES = tuple(f"{name}{SUFFIX}" for name in ("control-plane", "nodes", "controllers"))
CONTROLLERS, PRINCIPAL = f"controllers{SUFFIX}", f"control-plane{SUFFIX}"
POLICY, READER, STACK = "tkgbot-assume-secondary", "tkgbot-reader", "tkgbot-cluster-access"
SID = f"Tkgbot{MANAGEMENT}"
IDENTITIES = "awsclusterroleidentities.infrastructure.cluster.x-k8s.io"
SOURCES = "awsclustercontrolleridentities.infrastructure.cluster.x-k8s.io"
KEPT_ROLES = ("tkgbot-bootstrap",)
REGIONS = ("us-east-1", "eu-west-1")
PATIENCE = {"person_patience: 60": "person_patience: 18"}
"""The bot of these tests waits six times faster than the clock: three seconds are enough."""
STACK_WITHIN = 20.0
DEFAULT = "--namespaces default"


def arn_of(account: str, role: str = CONTROLLERS) -> str:
    """A role's ARN."""
    return f"arn:aws:iam::{account}:role/{role}"


def client(world: World, service: str, account: str, region: str = "us-east-1") -> Any:
    """A service in the hands of an account's administrator."""
    env = dict(line.split("=", 1) for line in (world.folder / "env").read_text().splitlines())
    keys = world.view.aws()["accounts"][account]["admin"]
    return boto3.client(
        service, endpoint_url=env["AWS_ENDPOINT_URL"], region_name=region,
        aws_access_key_id=keys["access_key"], aws_secret_access_key=keys["secret_key"],
    )  # fmt: skip


@contextmanager
def running_accounts(**environment: str) -> Iterator[World]:
    """A world of its own, and a bot that soon gives up waiting for people."""
    with running_world(**environment) as world:
        text = world.settings.read_text()
        for slow, swift in PATIENCE.items():
            text = text.replace(slow, swift)
        world.settings.write_text(text)
        world.start_bot(("-c", SWIFT))
        world.kube_faults(pace=0.1)
        yield world


# -- asking ------------------------------------------------------------------------------------------------------


def onboard(
    world: World, account: str, name: str, *more: str, state: str = "Approval needed", whom: str = DEFAULT
) -> Json:
    """Asks for an account to be brought in; its card."""
    text = " ".join(["account onboard", account, "--identity", name, *filter(None, [whom]), *more])
    return ask(world, text, f"{state}: onboard account {account} as {name}")


def offboard(world: World, account: str, name: str, *more: str, state: str = "Approval needed") -> Json:
    """Asks for an account to be let go; its card."""
    return ask(world, " ".join(["account offboard", name, *more]), f"{state}: offboard account {account} ({name})")


def onboarded(world: World, account: str, name: str, *more: str, whom: str = DEFAULT) -> Json:
    """Brings an account in through its bootstrap role, to the end; the card."""
    card = onboard(world, account, name, *more, whom=whom)
    approve(world, card)
    done(world, card)
    return world.card(card)


def answer(world: World, text: str, contains: str) -> str:
    """What a read-only command answers, to the one who asked alone, with single spaces."""
    since = world.now()
    assert world.view.command(DEV, text).get("acked")
    found = world.view.wait(DEV, contains, since=since)
    assert found["ephemeral"]
    return plain(words(found))


def undo(world: World, card: Json, shows: str) -> Json:
    """Clicks Undo; the card of the request that undoes it."""
    since = world.now()
    world.view.click(DEV, card["ts"], "tkg:undo")
    found: Json = world.view.wait(DEV, shows, since=since)
    return found


def plain(text: str) -> str:
    """With single spaces, and none before a comma: a message's parts are joined by spaces."""
    return re.sub(r" ([,.;:)])", r"\1", " ".join(text.replace("`", "").split()))


def shown(card: Json) -> str:
    """What a card shows."""
    return plain(words(card))


def thread(world: World, card: Json) -> str:
    """Everything in the card's thread."""
    return plain(" ".join(words(line) for line in world.thread(card)))


def done(world: World, card: Json) -> str:
    """Waits until the card says that it is done; the whole thread."""
    ended(world, card, "🟢", "Done and proven")
    return thread(world, card)


def parked(world: World, card: Json) -> str:
    """Waits until the run has stopped for a person to look; the whole thread."""
    ended(world, card, "🟠", "Somebody has to look")
    return thread(world, card)


def resume(world: World, card: Json) -> None:
    """Resumes a parked run, and waits until it is not parked any more."""
    world.view.click(APPROVER, card["ts"], "tkg:resume")
    eventually(lambda: not words(world.card(card)).startswith("🟠"))


def ended(world: World, card: Json, mark: str, said: str) -> None:
    """Waits until the card has one of the marks of an end, which has to be this one."""
    eventually(lambda: words(world.card(card))[0] in "🟢🟠🔴⚪")
    seen = world.card(card)
    assert words(seen).startswith(mark), f"{shown(seen)}\n{thread(world, card)}"
    world.view.wait(DEV, said, thread=card["ts"], since=card["ts"])


@contextmanager
def held(world: World, card: Json, action: str) -> Iterator[None]:
    """Approves; what is done inside happens when the run makes a call of `action`, and before that is looked at."""
    world.view.aws_faults(hold=[action])
    try:
        approve(world, card)
        world.wait_until_held(action)
        yield
    finally:
        world.view.aws_faults(hold=[])


# -- the hands of the account's administrator ----------------------------------------------------------------------


def command_of(world: World, card: Json) -> list[str]:
    """The command line that the thread has for a person with rights in the account."""
    wait_told(world, card, "aws cloudformation deploy")
    found = re.search(r"aws cloudformation deploy .*?(?= ⚠️| ✅|$)", thread(world, card))
    assert found is not None
    return shlex.split(found[0])


def wait_told(world: World, card: Json, text: str, seconds: float = 30.0) -> str:
    """The whole thread, as soon as it has the text."""
    try:
        eventually(lambda: text in thread(world, card), seconds)
    except AssertionError as error:
        raise AssertionError(f"no “{text}” in: {thread(world, card)}") from error
    return thread(world, card)


def deploy(world: World, account: str, command: list[str]) -> None:
    """Does what `aws cloudformation deploy` would do with these words."""
    given = command[command.index("--parameter-overrides") + 1 :]
    name, tag = (command[command.index(word) + 1] for word in ("--stack-name", "--tags"))
    make_stack(world, account, dict(pair.split("=", 1) for pair in given), name=name, tags=dict([tag.split("=", 1)]))


def make_stack(
    world: World,
    account: str,
    parameters: dict[str, str],
    *,
    name: str = STACK,
    tags: dict[str, str] | None = None,
    body: str | None = None,
    ends: str = "CREATE_COMPLETE",
) -> None:
    """Makes a stack of the account's own, as its administrator, and waits for its end."""
    cloud = client(world, "cloudformation", account)
    cloud.create_stack(
        StackName=name, TemplateBody=body or template(), Capabilities=["CAPABILITY_NAMED_IAM"],
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in sorted(parameters.items())],
        Tags=[{"Key": key, "Value": value} for key, value in (tags or {}).items()],
    )  # fmt: skip
    eventually(lambda: status_of(world, account, name) == ends, STACK_WITHIN)


def status_of(world: World, account: str, name: str = STACK, region: str = "us-east-1") -> str:
    """A stack's status; empty where there is none."""
    try:
        found = client(world, "cloudformation", account, region).describe_stacks(StackName=name)["Stacks"][0]
    except ClientError:
        return ""
    return "" if found["StackStatus"] == "DELETE_COMPLETE" else str(found["StackStatus"])


def parameters_for(external_id: str, **more: str) -> dict[str, str]:
    """What a stack is made with by somebody who read the documentation."""
    return {
        "NameSuffix": SUFFIX, "ManagementAccountId": MANAGEMENT, "ExternalId": external_id,
        "ControllersPrincipalArn": arn_of(MANAGEMENT, PRINCIPAL),
        "BotPrincipalArn": f"arn:aws:iam::{MANAGEMENT}:user/tkgbot", **more,
    }  # fmt: skip


def make_roles(world: World, account: str, *statements: Json, only: tuple[str, ...] = ROLES) -> None:
    """The cluster roles by hand, with every right; the controllers' trust has these statements beside EC2's."""
    iam = client(world, "iam", account)
    ec2 = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
    rights = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}
    for role in only:
        more = statements if role == CONTROLLERS else ()
        trust = {"Version": "2012-10-17", "Statement": [ec2, *more]}
        iam.create_role(RoleName=role, AssumeRolePolicyDocument=json.dumps(trust))
        iam.put_role_policy(RoleName=role, PolicyName="everything", PolicyDocument=json.dumps(rights))
        iam.create_instance_profile(InstanceProfileName=role)
        iam.add_role_to_instance_profile(InstanceProfileName=role, RoleName=role)


def trust_of(world: World, account: str, role: str = CONTROLLERS) -> Json:
    """A role's trust policy."""
    found: Json = client(world, "iam", account).get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]
    return found


def sids(world: World, account: str) -> list[str]:
    """The statements of the controllers' role's trust, by Sid; empty for one that has none."""
    return [str(entry.get("Sid", "")) for entry in trust_of(world, account)["Statement"]]


def set_trust(world: World, account: str, document: Json) -> None:
    """Replaces the trust of the controllers' role."""
    iam = client(world, "iam", account)
    iam.update_assume_role_policy(RoleName=CONTROLLERS, PolicyDocument=json.dumps(document))


def change_trust(world: World, account: str, change: Callable[[list[Json]], list[Json]]) -> Json:
    """Changes the statements of that trust by hand; the document as it was."""
    before = trust_of(world, account)
    set_trust(world, account, {**before, "Statement": change(list(before["Statement"]))})
    return before


def without_ours(entries: list[Json]) -> list[Json]:
    """Every statement but the bot's."""
    return [entry for entry in entries if entry.get("Sid") != SID]


def assumable(world: World, principal: str = PRINCIPAL, kind: str = "role") -> list[str]:
    """The roles that the bot's policy lets the controllers assume; none where the policy is not there."""
    iam = client(world, "iam", MANAGEMENT)
    try:
        found = (
            iam.get_role_policy(RoleName=principal, PolicyName=POLICY)
            if kind == "role"
            else iam.get_user_policy(UserName=principal, PolicyName=POLICY)
        )
    except ClientError:
        return []
    (statement,) = found["PolicyDocument"]["Statement"]
    resource = statement["Resource"]
    return [resource] if isinstance(resource, str) else list(resource)


def roles_in(world: World, account: str) -> list[str]:
    """The roles of an account, sorted, without those that it had from the start."""
    found = [role["RoleName"] for role in client(world, "iam", account).list_roles()["Roles"]]
    return sorted(name for name in found if name not in KEPT_ROLES)


def identity(world: World, name: str) -> Json | None:
    """The spec of an AWSClusterRoleIdentity; None where there is none."""
    found = Administrator(world).get(IDENTITIES, name)
    return None if found is None else dict(found["spec"])


def changes_in_aws(world: World) -> list[str]:
    """What the bot changed in AWS, as actions, oldest first."""
    calls = [call for call in world.view.aws_calls() if call["mutating"] and "slack-" in (call["session"] or "")]
    asking = ("sts:AssumeRole", "iam:SimulatePrincipalPolicy")
    return [call["action"] for call in calls if call["action"] not in asking and call["outcome"] == "ok"]


def by_bot(world: World) -> int:
    """How often the bot changed something, in AWS or on the management cluster."""
    return len(changes_in_aws(world)) + len(world.view.kube_changes())


def let_write(world: World, principal: str) -> None:
    """The platform team lets the bot write its policy on another principal of the management account."""
    iam, home = client(world, "iam", MANAGEMENT), f"arn:aws:iam::{MANAGEMENT}"
    rights = {
        "Effect": "Allow",
        "Action": ["iam:PutRolePolicy", "iam:DeleteRolePolicy", "iam:PutUserPolicy", "iam:DeleteUserPolicy"],
        "Resource": [f"{home}:role/{principal}", f"{home}:user/{principal}"],
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": rights})
    iam.put_role_policy(RoleName="tkgbot", PolicyName="controllers", PolicyDocument=document)


# -- putting the world back --------------------------------------------------------------------------------------


def tidy(world: World) -> None:
    """No request that waits, no cluster, no identity, and in the accounts what was there at the start."""
    clear(world)
    admin = Administrator(world)
    for item in admin.list(IDENTITIES):
        admin.delete(IDENTITIES, item["metadata"]["name"])
    if admin.get(SOURCES, "default") is None:
        admin.make(SOURCES, {"metadata": {"name": "default"}, "spec": {"allowedNamespaces": {}}})
    _no_policy(world)
    for account in (SECOND, THIRD):
        for region in REGIONS:
            _no_stacks(world, account, region)
        _no_roles(world, account)


def _no_policy(world: World) -> None:
    iam = client(world, "iam", MANAGEMENT)
    if POLICY in iam.list_role_policies(RoleName=PRINCIPAL)["PolicyNames"]:
        iam.delete_role_policy(RoleName=PRINCIPAL, PolicyName=POLICY)


def _no_stacks(world: World, account: str, region: str) -> None:
    cloud = client(world, "cloudformation", account, region)

    def there() -> list[Json]:
        found = cloud.describe_stacks()["Stacks"]
        return [stack for stack in found if stack["StackStatus"] not in ("DELETE_COMPLETE", "REVIEW_IN_PROGRESS")]

    eventually(lambda: not [s for s in there() if s["StackStatus"].endswith("_IN_PROGRESS")], STACK_WITHIN)
    for stack in there():
        cloud.delete_stack(StackName=stack["StackName"])
    eventually(lambda: not [s for s in there() if s["StackStatus"] != "DELETE_FAILED"], STACK_WITHIN)


def _no_roles(world: World, account: str) -> None:
    iam = client(world, "iam", account)
    for profile in iam.list_instance_profiles()["InstanceProfiles"]:
        name = profile["InstanceProfileName"]
        for role in profile["Roles"]:
            iam.remove_role_from_instance_profile(InstanceProfileName=name, RoleName=role["RoleName"])
        iam.delete_instance_profile(InstanceProfileName=name)
    for role in roles_in(world, account):
        for policy in iam.list_role_policies(RoleName=role)["PolicyNames"]:
            iam.delete_role_policy(RoleName=role, PolicyName=policy)
        for policy in iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]:
            iam.detach_role_policy(RoleName=role, PolicyArn=policy["PolicyArn"])
        iam.delete_role(RoleName=role)
    for policy in iam.list_policies(Scope="Local")["Policies"]:
        iam.delete_policy(PolicyArn=policy["Arn"])
