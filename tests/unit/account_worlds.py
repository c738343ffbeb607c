"""The sandbox's AWS and management cluster in this process, and the operations side in front of both."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest

from handlers.contract import Caller, Json, Plan, Retry, Step
from handlers.settings import OperationsSettings
from handlers.stacks import template
from handlers.steps import decode
from handlers.workshop import TeamWorkshop
from sandbox.aws import AwsSandbox
from sandbox.kube.actors.objects import Objects
from sandbox.kube.world import ClusterWorld
from tests.contract.imitation import Loop

HOME, SECOND, THIRD = "111122223333", "777788889999", "222233334444"
REGION = "us-east-1"
SUFFIX = ".cluster-api-provider-aws.sigs.k8s.io"
CONTROLLERS = f"arn:aws:iam::{SECOND}:role/controllers{SUFFIX}"
IDENTITIES = "awsclusterroleidentities.infrastructure.cluster.x-k8s.io"
CALLER = Caller(request="r-7f3a2c", person="UDEV000001")
LIMIT = 400


def settings(kubeconfig: Path, **onboarding: Any) -> OperationsSettings:
    """A team's settings, as in the scenario tests; the account THIRD has no bootstrap role."""
    role = {"role_arn": f"arn:aws:iam::{SECOND}:role/tkgbot-bootstrap", "external_id": "sandbox-bootstrap"}
    return OperationsSettings.model_validate({
        "default_account": "management",
        "management_cluster": {"kubeconfig": kubeconfig, "connect_timeout": 2, "read_timeout": 10},
        "aws": {"connect_timeout": 2, "read_timeout": 10, "attempts": 2},
        "onboarding": {"propagation": 12, "bootstrap": {SECOND: role}, **onboarding},
        "accounts": {"management": {"id": HOME, "region": REGION, "role_arn": f"arn:aws:iam::{HOME}:role/tkgbot"}},
    })  # fmt: skip


class Ties:
    """Both places, in the hands of their administrators, and the operations side in front of them."""

    def __init__(self, aws: AwsSandbox, clusters: ClusterWorld, loop: Loop, folder: Path) -> None:
        self.aws, self.clusters, self._loop, self._folder = aws, clusters, loop, folder
        self._admins: dict[tuple[str, str, str], Any] = {}
        path = folder / "kubeconfig"
        path.write_text(clusters.kubeconfig("tkgbot"))
        path.chmod(0o600)
        self.shop = TeamWorkshop(settings(path))

    def with_settings(self, **onboarding: Any) -> TeamWorkshop:
        """The operations side with other settings of accounts."""
        return TeamWorkshop(settings(self._folder / "kubeconfig", **onboarding))

    def admin(self, service: str, account: str = SECOND, region: str = REGION) -> Any:
        """A service of an account by its administrator."""
        if (service, account, region) not in self._admins:
            keys = self.aws.describe()["accounts"][account]["admin"]
            self._admins[service, account, region] = boto3.client(
                service, endpoint_url=self.aws.url, region_name=region,
                aws_access_key_id=keys["access_key"], aws_secret_access_key=keys["secret_key"],
            )  # fmt: skip
        return self._admins[service, account, region]

    def identity(self, name: str, spec: Json, **annotations: str) -> None:
        """An AWSClusterRoleIdentity that somebody else made; one of that name goes first."""
        self.forget(name)

        async def make() -> None:
            objects = Objects(self.clusters.kube.store, "kubectl")
            made = objects.make(IDENTITIES, name, "", spec={"sourceIdentityRef": SOURCE, **spec})
            made["metadata"]["annotations"] = annotations
            objects.save(made)

        self._loop.run(make())

    def forget(self, name: str) -> None:
        """No identity of that name."""

        async def drop() -> None:
            store = self.clusters.kube.store
            if store.find(IDENTITIES, name, "") is not None:
                store.delete(IDENTITIES, name, "")

        self._loop.run(drop())

    def trust(self, role: str = f"controllers{SUFFIX}", account: str = SECOND) -> Any:
        """A role's trust policy."""
        return self.admin("iam", account).get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]

    def person_makes_a_stack(self, account: str, name: str, parameters: dict[str, str]) -> None:
        """A person with rights in an account deploys the template there, under any name."""
        client = self.admin("cloudformation", account)
        client.create_stack(
            StackName=name, TemplateBody=template(), Capabilities=["CAPABILITY_NAMED_IAM"],
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        )  # fmt: skip
        client.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30})


SOURCE = {"kind": "AWSClusterControllerIdentity", "name": "default"}


@contextmanager
def running_ties(folder: Path, controllers: str = "instance") -> Iterator[Ties]:
    """A world of both; `controllers` as the sandbox takes it."""
    aws, loop = AwsSandbox(), Loop()
    aws.start()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_SESSION_TOKEN", "AWS_PROFILE"):
            patch.delenv(name, raising=False)
        for name, value in aws.env().items():
            patch.setenv(name, value)
        clusters = ClusterWorld(aws, controllers=controllers)
        try:
            loop.run(clusters.start())
            try:
                yield Ties(aws, clusters, loop, folder)
            finally:
                loop.run(clusters.stop())
        finally:
            loop.stop()
            aws.stop()


def planned(shop: TeamWorkshop, operation: str, **arguments: Any) -> Plan:
    """A plan, from the arguments as they would be typed."""
    model = shop.operations[operation].arguments.model_validate(arguments)
    return shop.plan(operation, shop.resolve(model.model_dump(mode="json")), CALLER)


def onboarding(shop: TeamWorkshop, **more: Any) -> Plan:
    """The plan for the account with a bootstrap role."""
    return planned(
        shop, "account onboard", **{"account_id": SECOND, "identity": "team-a", "namespaces": "default", **more}
    )


def blocked(plan: Plan) -> list[str]:
    """What stands in the way, in words."""
    return [f"{check.id}: {check.evidence}" for check in plan.checks if check.blocks]


def carried_out(shop: TeamWorkshop, plan: Plan) -> list[int]:
    """Runs a plan with exactly its rights, as the engine does; the positions of the steps that changed something."""
    assert not plan.blocked, blocked(plan)
    actions = tuple(action for step in plan.steps for action in step.actions)
    rights = tuple(right for step in plan.steps for right in step.rights)
    caller = replace(CALLER, actions=actions, rights=rights)
    return [position for position, step in enumerate(plan.steps) if _done(shop, step, caller)]


def _done(shop: TeamWorkshop, step: Step, caller: Caller) -> bool:
    """One step, until it is so; AWS's own pace is the only wait."""
    stored: Json = json.loads(step.model_dump_json())
    assert decode(stored)[0] == step
    changed = False
    for _ in range(LIMIT):
        seen = shop.observe(stored, caller)
        if seen.so:
            return changed
        if not changed:
            try:
                changed = shop.act(stored, caller).changed
                continue
            except Retry:
                pass
        time.sleep(0.03)
    raise AssertionError(f"{step.title}: {seen.evidence}")
