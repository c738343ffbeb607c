"""The one policy that all onboarded accounts share: no run takes another account's role out of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from handlers.contract import AwsRefused, Json, Kind
from handlers.steps.grant import GrantExecutor, GrantStep, listed

ONE, TWO, THREE = (f"arn:aws:iam::{number * 12}:role/controllers.x" for number in "123")


class Stale:
    """A management account whose IAM shows the policy as it was, and a cluster with some identities."""

    def __init__(self, shown: Json | None, identities: list[Json]) -> None:
        self.shown, self.identities = shown, identities
        self.written: Any = None

    def aws(self, account: str, region: str) -> Stale:
        return self

    def management(self) -> Stale:
        return self

    def read(self, service: str, operation: str, **_: Any) -> Json:
        if self.shown is None:
            raise AwsRefused("NoSuchEntity", "there is none")
        return {"PolicyDocument": self.shown}

    def write(self, service: str, operation: str, **parameters: Any) -> Json:
        self.written = json.loads(parameters["PolicyDocument"])
        return {}

    def pages(self, kind: Kind, namespace: str = "", labels: str = "") -> Iterator[Json]:
        return iter(self.identities)


def identity(role: str, **notes: str) -> Json:
    reader = role.replace("controllers.x", "tkgbot-reader")
    known = notes or {"tkgbot/region": "us-east-1", "tkgbot/reader": reader}
    return {"metadata": {"name": "a", "annotations": dict(known)}, "spec": {"roleARN": role}}


def step(organization: str = "") -> GrantStep:
    return GrantStep(
        title="let", targets=("x",), account="management", region="us-east-1", principal_kind="role", principal="cp",
        role_arn=TWO, organization=organization,
    )  # fmt: skip


@pytest.mark.parametrize("shown", [None, {"Version": "2012-10-17", "Statement": []}])
def test_the_role_of_an_account_that_iam_does_not_show_yet_is_kept(shown: Json | None) -> None:
    world: Any = Stale(shown, [identity(ONE)])
    GrantExecutor().apply(step(), world)
    assert listed(world.written) == (ONE, TWO)


def test_an_identity_that_the_bot_did_not_make_is_let_in_nowhere() -> None:
    world: Any = Stale(None, [identity(THREE, other="note")])
    GrantExecutor().apply(step(), world)
    assert listed(world.written) == (TWO,)


def test_the_organisations_form_names_no_account() -> None:
    world: Any = Stale(None, [identity(ONE)])
    GrantExecutor().apply(step("o-abcdefghij"), world)
    assert listed(world.written) == ("arn:aws:iam::*:role/controllers.x",)
