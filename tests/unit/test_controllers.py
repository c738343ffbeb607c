"""As whom the AWS provider calls AWS: where it is looked for, every failure in words, and nothing secret in any."""

from __future__ import annotations

import base64
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from handlers.contract import AwsRefused, Fatal, Json, Kind
from handlers.controllers import MEND, Principal, controllers_principal, principal
from handlers.settings import Onboarding
from tests.unit.account_worlds import CALLER, HOME, carried_out, onboarding, planned, running_ties

ROLE = f"arn:aws:iam::{HOME}:role/control-plane.tkg.cloud.vmware.com"
USER = f"arn:aws:iam::{HOME}:user/machines/capa"
KEY, CANARY = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY"
PROFILE = f"[default]\naws_access_key_id = {KEY}\naws_secret_access_key = {CANARY}\nregion = us-east-1\n"
INSTANCE = "i-0a1b2c3d4e5f60718"
NEW, OLD = "cluster.x-k8s.io/provider=infrastructure-aws", "control-plane=capa-controller-manager"


def encoded(text: str | bytes) -> str:
    return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


@dataclass
class World:
    """A management cluster and account with just what the provider's identity is read from: an instance role."""

    named: str | None = None
    irsa: str | None = None
    credentials: str | None = encoded("\n")
    labels: str = NEW
    node: str | None = "management-0"
    provider_id: str = f"aws:///us-east-1a/{INSTANCE}"
    profile: str | None = f"arn:aws:iam::{HOME}:instance-profile/x/control-plane.tkg.cloud.vmware.com"
    roles: tuple[str, ...] = (ROLE,)
    refuse: str = ""
    asked: list[tuple[str, Any]] = field(default_factory=list)

    def onboarding(self) -> Onboarding:
        return Onboarding(controllers_principal=self.named)

    def management(self) -> Any:
        return self

    def get(self, kind: Kind, name: str, namespace: str = "") -> Json | None:
        if kind.name == "ServiceAccount":
            notes = {} if self.irsa is None else {"annotations": {"eks.amazonaws.com/role-arn": self.irsa}}
            return {"metadata": {"name": name, **notes}}
        if kind.name == "Secret":
            return None if self.credentials is None else {"data": {"credentials": self.credentials}}
        assert (kind.name, name) == ("Node", self.node)
        return {"spec": {"providerID": self.provider_id}}

    def pages(self, *what: Any, **more: Any) -> Iterator[Json]:
        if what[0] != "ec2":
            return iter([{"spec": {"nodeName": self.node} if self.node else {}}] if what[2] == self.labels else [])
        self.asked.append((what[1], more))
        self._refused(what[1])
        machine: Json = {"InstanceId": INSTANCE, "VpcId": "vpc-0a1b2c3d"}
        if self.profile:
            machine["IamInstanceProfile"] = {"Arn": self.profile}
        return iter([{"Instances": [machine]}])

    def read(self, service: str, operation: str, **parameters: Any) -> Any:
        self.asked.append((operation, parameters))
        self._refused(operation)
        return {
            "get_access_key_last_used": {"UserName": "capa"},
            "get_user": {"User": {"Arn": USER}},
            "get_instance_profile": {"InstanceProfile": {"Roles": [{"Arn": arn} for arn in self.roles]}},
        }[operation]

    def _refused(self, operation: str) -> None:
        if operation == self.refuse:
            raise AwsRefused("NoSuchThing", f"AWS refused `{operation}`.")


def found(**changes: Any) -> Principal:
    world: Any = World(**changes)
    return controllers_principal(world, world)


def failure(**changes: Any) -> Fatal:
    with pytest.raises(Fatal) as caught:
        found(**changes)
    return caught.value


# -- where it is found -------------------------------------------------------------------------------------------


def test_what_the_settings_name_is_taken_without_looking() -> None:
    world: Any = World(named=USER)
    assert controllers_principal(world, world) == Principal(USER, "aws", HOME, "user", "capa", "named in the settings")
    assert world.asked == []


def test_the_role_of_the_service_account_comes_first() -> None:
    arn = f"arn:aws-cn:iam::{HOME}:role/pods/capa-irsa"
    how = "the role of the service account capa-system/capa-controller-manager"
    assert found(irsa=arn, credentials=encoded(PROFILE)) == Principal(arn, "aws-cn", HOME, "role", "capa-irsa", how)


def test_then_the_owner_of_static_keys() -> None:
    world: Any = World(credentials=encoded(PROFILE))
    how = "the owner of the static keys in capa-system/capa-manager-bootstrap-credentials"
    assert controllers_principal(world, world) == Principal(USER, "aws", HOME, "user", "capa", how)
    assert world.asked == [("get_access_key_last_used", {"AccessKeyId": KEY}), ("get_user", {"UserName": "capa"})]


@pytest.mark.parametrize("credentials", [None, encoded("\n"), encoded(""), encoded("[other]\naws_access_key_id = x\n")])
@pytest.mark.parametrize("labels", [NEW, OLD])
def test_then_the_instance_role_of_the_node(credentials: str | None, labels: str) -> None:
    """Also where the secret is there and holds no key (`clusterawsadm controller zero-credentials`)."""
    how = f"the instance role of management-0 ({INSTANCE}), on which the AWS provider runs"
    world: Any = World(credentials=credentials, labels=labels)
    name = "control-plane.tkg.cloud.vmware.com"
    assert controllers_principal(world, world) == Principal(ROLE, "aws", HOME, "role", name, how, "vpc-0a1b2c3d")
    assert world.asked == [
        ("describe_instances", {"InstanceIds": [INSTANCE]}), ("get_instance_profile", {"InstanceProfileName": name}),
    ]  # fmt: skip


# -- where it is not ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"irsa": "capa"}, "The controllers run as `capa`, which is neither an IAM role nor an IAM user."),
        ({"irsa": f"arn:aws:sts::{HOME}:assumed-role/x/y"}, "neither an IAM role nor an IAM user"),
        ({"irsa": f"{ROLE}\n"}, "neither an IAM role nor an IAM user"),
        ({"node": None}, "No pod of the AWS provider runs in capa-system"),
        ({"labels": "other=x"}, "No pod of the AWS provider runs in capa-system"),
        ({"provider_id": ""}, "The AWS provider runs on management-0, which is no instance of EC2."),
        ({"provider_id": "kind://docker/x/y"}, "The AWS provider runs on management-0, which is no instance of EC2."),
        ({"provider_id": f"aws:///us-east-1a/{INSTANCE}/x"}, "which is no instance of EC2."),
        ({"refuse": "describe_instances"},
         f"The AWS provider runs on the instance {INSTANCE}, which is not in the management account and region that "
         "the settings name (NoSuchThing)."),
        ({"profile": None}, f"The instance {INSTANCE} under the AWS provider has no instance profile."),
        ({"roles": ()}, "The instance profile control-plane.tkg.cloud.vmware.com under the AWS provider has no role."),
    ],
)  # fmt: skip
def test_every_failure_says_what_and_what_to_do(changes: dict[str, Any], message: str) -> None:
    error = failure(**changes)
    assert message in error.message
    assert error.hint == MEND
    assert "`operations.onboarding.controllers_principal`" in MEND


@pytest.mark.parametrize("refuse", ["get_access_key_last_used", "get_user"])
def test_keys_of_another_account(refuse: str) -> None:
    error = failure(credentials=encoded(PROFILE), refuse=refuse)
    assert error.message == "The controllers use static keys of another account (NoSuchThing)."
    assert error.hint.startswith("The bot can only grant rights in the management cluster's own account.")


BROKEN = {
    "no base64": f"{CANARY}%",
    "no text": encoded(b"\xff\xfe" + CANARY.encode()),
    "no section": encoded(f"aws_secret_access_key = {CANARY}"),
    "a line that is none": encoded(f"[default]\n{CANARY}\n"),
    "a section twice": encoded(f"[default]\naws_secret_access_key={CANARY}\n[default]\n"),
    "an option twice": encoded(f"[default]\naws_secret_access_key={CANARY}\naws_secret_access_key={CANARY}\n"),
}


@pytest.mark.parametrize("credentials", BROKEN.values(), ids=BROKEN)
def test_a_secret_that_cannot_be_read_is_named_and_not_shown(credentials: str) -> None:
    error = failure(credentials=credentials)
    secret = "capa-system/capa-manager-bootstrap-credentials"
    assert error.message == f"The secret {secret} is no AWS profile that can be read."
    shown = "".join(traceback.format_exception(error)) + repr(error)
    assert CANARY not in shown
    assert credentials not in shown


def test_nothing_secret_is_kept_or_told() -> None:
    """A percent sign in a key is no interpolation; and only the key's id is asked about."""
    text = PROFILE.replace(CANARY, f"%(x)s{CANARY}")
    world: Any = World(credentials=encoded(text))
    shown = repr(controllers_principal(world, world)) + repr(world.asked)
    assert CANARY not in shown
    error = failure(credentials=encoded(text), refuse="get_user")
    shown = "".join(traceback.format_exception(error)) + error.message + error.hint
    assert CANARY not in shown
    assert KEY not in error.message + error.hint


@pytest.mark.parametrize(
    ("arn", "kind", "name"),
    [
        (ROLE, "role", "control-plane.tkg.cloud.vmware.com"),
        (USER, "user", "capa"),
        (f"arn:aws-us-gov:iam::{HOME}:role/a/b/c+d=e,f@g-h_i", "role", "c+d=e,f@g-h_i"),
    ],
)
def test_an_arn_is_taken_apart(arn: str, kind: str, name: str) -> None:
    taken = principal(arn, "told")
    assert (taken.kind, taken.name, taken.account_id, taken.arn) == (kind, name, HOME, arn)


@pytest.mark.parametrize("arn", ["", "*", f"arn:aws:iam::{HOME}:root", f"arn:aws:iam::{HOME}:role/", f"{ROLE}/ x"])
def test_what_is_no_principal_is_refused(arn: str) -> None:
    with pytest.raises(Fatal, match="neither an IAM role nor an IAM user"):
        principal(arn, "told")


# -- each of them brought in and out -----------------------------------------------------------------------------


def policies_of(iam: Any, kind: str, name: str) -> list[str]:
    """The inline policies of a principal, as they are now, sorted."""
    listing, key = {"role": ("list_role_policies", "RoleName"), "user": ("list_user_policies", "UserName")}[kind]
    return sorted(getattr(iam, listing)(**{key: name})["PolicyNames"])


@pytest.mark.long(but=1)
@pytest.mark.parametrize(
    ("controllers", "kind", "name"), [("keys", "user", "capa-controllers"), ("irsa", "role", "capa-irsa")]
)
def test_controllers_of_every_kind_are_let_in_and_out_again(
    controllers: str, kind: str, name: str, tmp_path: Path
) -> None:
    """The bot's own policy goes to the principal that the controllers really are, and leaves nothing behind."""
    with running_ties(tmp_path, controllers) as ties:
        iam = ties.admin("iam", HOME)
        before = policies_of(iam, kind, name)
        assert carried_out(ties.shop, onboarding(ties.shop)) == [0, 1, 3]
        assert policies_of(iam, kind, name) == sorted([*before, "tkgbot-assume-secondary"])
        report = ties.shop.report("account check", {"account": "team-a", "all": False}, CALLER)
        assert report.tone == "good", report
        out = planned(ties.shop, "account offboard", account="team-a", stack=True)
        assert carried_out(ties.shop, out) == [0, 1, 2]
        assert policies_of(iam, kind, name) == before
