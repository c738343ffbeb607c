"""What ties an account to the management cluster: its ids and names, from settings, words and what is there."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from handlers.account_look import bot_principal, inline_size
from handlers.accounts import READER, REGION
from handlers.clients.aws_errors import Denied
from handlers.contract import Fatal, Json, Plan
from handlers.settings import Onboarding
from handlers.steps.stack import StackStep
from handlers.workshop import TeamWorkshop
from tests.unit.account_worlds import (
    CONTROLLERS,
    HOME,
    SECOND,
    SUFFIX,
    THIRD,
    Ties,
    blocked,
    onboarding,
    planned,
    running_ties,
)
from tests.unit.account_worlds import (
    REGION as HERE,
)

pytestmark = pytest.mark.long

BOT = f"arn:aws:iam::{HOME}:user/tkgbot"
READS = f"arn:aws:iam::{SECOND}:role/tkgbot-reader"


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ties]:
    with running_ties(tmp_path_factory.mktemp("ties")) as running:
        yield running


@pytest.fixture
def ties(standing: Ties) -> Iterator[Ties]:
    yield standing
    for name in ("team-a", "team-b"):
        standing.forget(name)


def facts(plan: Plan) -> Json:
    return {fact.name: fact.value for fact in plan.facts}


def parameters(shop: TeamWorkshop, **more: Any) -> dict[str, str]:
    """With which the stack would be made."""
    plan = onboarding(shop, **more)
    assert not blocked(plan)
    (step,) = [step for step in plan.steps if isinstance(step, StackStep)]
    return step.parameters


# -- the external id ---------------------------------------------------------------------------------------------


def test_an_external_id_is_made_that_is_the_same_at_every_look(ties: Ties) -> None:
    one, two = facts(onboarding(ties.shop)), facts(onboarding(ties.with_settings()))
    assert one["external id"] == two["external id"]
    assert str(one["external id"]).startswith("tkgbot-")
    assert len(str(one["external id"])) == 39
    other_name = facts(onboarding(ties.shop, identity="team-b"))["external id"]
    other_account = facts(planned(ties.shop, "account onboard", account_id=THIRD, identity="team-a", namespaces="x"))
    assert len({one["external id"], other_name, other_account["external id"]}) == 3


def test_an_external_id_that_was_asked_for_is_taken(ties: Ties) -> None:
    given = parameters(ties.shop, external_id="ours-1")
    assert given["ExternalId"] == "ours-1"


@pytest.mark.parametrize(("there", "kept"), [("of-long-ago", True), ("two\nlines", False), ("x", False)])
def test_an_external_id_that_is_there_is_kept_if_it_is_one(ties: Ties, there: str, kept: bool) -> None:
    fresh = facts(onboarding(ties.shop))["external id"]
    spec: Json = {"roleARN": CONTROLLERS, "externalID": there, "allowedNamespaces": {"list": ["default"]}}
    ties.identity("team-a", spec, **{READER: READS, REGION: "eu-west-1"})
    assert facts(onboarding(ties.shop))["external id"] == (there if kept else fresh)


# -- region, boundary, names -------------------------------------------------------------------------------------


def test_the_region_is_asked_for_or_kept_or_the_management_accounts(ties: Ties) -> None:
    assert facts(onboarding(ties.shop))["region"] == HERE
    assert facts(onboarding(ties.shop, region="eu-west-1"))["region"] == "eu-west-1"
    spec: Json = {"roleARN": CONTROLLERS, "allowedNamespaces": {"list": ["default"]}}
    ties.identity("team-a", spec, **{READER: READS, REGION: "eu-west-1"})
    assert facts(onboarding(ties.shop))["region"] == "eu-west-1"
    assert facts(onboarding(ties.shop, region=HERE))["region"] == HERE


@pytest.mark.parametrize(
    ("setting", "arn"),
    [
        (None, ""),
        ("edge", f"arn:aws:iam::{SECOND}:policy/edge"),
        ("team/edge", f"arn:aws:iam::{SECOND}:policy/team/edge"),
        ("arn:aws:iam::aws:policy/PowerUserAccess", "arn:aws:iam::aws:policy/PowerUserAccess"),
    ],
)
def test_a_permissions_boundary_is_named_or_an_arn(ties: Ties, setting: str | None, arn: str) -> None:
    assert parameters(ties.with_settings(permissions_boundary=setting))["PermissionsBoundaryArn"] == arn


def test_what_the_stack_is_made_with(ties: Ties) -> None:
    found = parameters(ties.with_settings(reader_role="looks"), trust="root")
    external = found.pop("ExternalId")
    assert external.startswith("tkgbot-")
    assert found == {
        "NameSuffix": SUFFIX, "ManagementAccountId": HOME, "TrustWholeAccount": "true", "BotPrincipalArn": BOT,
        "ControllersPrincipalArn": f"arn:aws:iam::{HOME}:role/control-plane{SUFFIX}", "ReaderRoleName": "looks",
        "MakeClusterRoles": "true", "PermissionsBoundaryArn": "", "SubnetTags": "true", "Cleanup": "false",
    }  # fmt: skip


def test_runs_that_touch_the_same_things_share_a_target(ties: Ties) -> None:
    """Two accounts share the one policy of the controllers' principal."""
    one = onboarding(ties.shop)
    two = planned(ties.shop, "account onboard", account_id=THIRD, identity="team-b", namespaces="default")
    policy = f"IAM role control-plane{SUFFIX} of account {HOME}"
    assert set(one.targets) & set(two.targets) == {policy}
    assert set(one.targets) == {f"IAM of account {SECOND}", policy, "identity team-a"}


# -- as whom the bot calls AWS -----------------------------------------------------------------------------------


class Home:
    """A management account whose roles may or may not be read."""

    def __init__(self, arn: str | None = None, policies: dict[str, Any] | None = None) -> None:
        self.arn, self.policies = arn, policies or {}
        self.calls: list[tuple[str, Json]] = []
        self.aws = self
        self.principal: Any = None

    def read(self, service: str, operation: str, **what: Any) -> Any:
        self.calls.append((operation, what))
        if operation.endswith("_policy"):
            return {"PolicyDocument": self.policies[what["PolicyName"]]}
        if self.arn is None:
            raise Denied("AWS denied `iam:GetRole`.")
        return {"Role": {"Arn": self.arn}}

    def pages(self, service: str, operation: str, key: str, **what: Any) -> Iterator[Any]:
        self.calls.append((operation, what))
        return iter(self.policies)


def myself(arn: str, home: Home, named: str | None = None) -> str:
    world: Any = SimpleNamespace(onboarding=lambda: Onboarding(bot_principal=named), myself=lambda: arn)
    return bot_principal(world, home)  # type: ignore[arg-type]


SESSION = f"arn:aws:sts::{HOME}:assumed-role/tkgbot-pod/1750000000000000000"


def test_a_user_is_itself_and_a_session_is_its_role() -> None:
    """Roles have paths, which a session's ARN does not show."""
    assert myself(BOT, Home()) == BOT
    home = Home(f"arn:aws:iam::{HOME}:role/pods/tkgbot-pod")
    assert myself(SESSION, home) == f"arn:aws:iam::{HOME}:role/pods/tkgbot-pod"
    assert home.calls == [("get_role", {"RoleName": "tkgbot-pod"})]


def test_the_settings_name_a_role_that_cannot_be_read() -> None:
    assert myself(SESSION, Home(), named=f"arn:aws:iam::{HOME}:role/x") == f"arn:aws:iam::{HOME}:role/x"
    with pytest.raises(Fatal) as caught:
        myself(SESSION, Home())
    assert caught.value.message == "The bot runs as a session of `tkgbot-pod`, whose ARN it may not read."
    assert "operations.onboarding.bot_principal" in caught.value.hint


@pytest.mark.parametrize(("kind", "key"), [("role", "RoleName"), ("user", "UserName")])
def test_the_other_inline_policies_count_without_white_space(kind: str, key: str) -> None:
    document = {"Version": "2012-10-17", "Statement": []}
    home: Any = Home(policies={"a": document, "mine": document, "b": {**document, "Id": " x "}, "odd": "not read"})
    home.principal = SimpleNamespace(name="capa", kind=kind)
    assert inline_size(home, "mine") == len('{"Version":"2012-10-17","Statement":[]}') * 2 + len(',"Id":" x "')
    assert home.calls[0] == (f"list_{kind}_policies", {key: "capa"})
    assert {operation for operation, _ in home.calls[1:]} == {f"get_{kind}_policy"}
