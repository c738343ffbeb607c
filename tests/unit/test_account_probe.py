"""The provider's own proof: what is made for it, and how its word is read."""

from __future__ import annotations

from typing import Any

import pytest

from handlers.account_probe import NO_VPC, probe_steps
from handlers.contract import Fatal, Json
from handlers.steps.apply import ApplyStep
from handlers.steps.await_credential import AwaitCredentialExecutor, AwaitCredentialStep
from handlers.steps.remove import RemoveStep

STEP = AwaitCredentialStep(title="wait", targets=("x",), namespace="ops", name="probe", patience=120.0)


class Kube:
    """A management cluster that serves one version, with one AWSCluster or none."""

    def __init__(self, version: str = "v1beta2", item: Json | None = None) -> None:
        self.served, self.item = version, item

    def version(self, _kind: Any) -> str:
        return self.served

    def get(self, *_: Any) -> Json | None:
        return self.item

    def management(self) -> Kube:
        return self


def said(**conditions: tuple[str, str]) -> Any:
    listed = [{"type": kind, "status": status, "message": text} for kind, (status, text) in conditions.items()]
    return Kube(item={"metadata": {"name": "probe"}, "status": {"conditions": listed}})


@pytest.mark.parametrize("version", ["v1beta1", "v1beta2"])
def test_a_cluster_without_machines_in_no_vpc_that_is_taken_away_again(version: str) -> None:
    kube: Any = Kube(version)
    made, waiting, gone = probe_steps(kube, "team-a", "ops", "us-east-1", patience=120.0, targets=("x",))
    assert isinstance(made, ApplyStep)
    assert isinstance(waiting, AwaitCredentialStep)
    assert isinstance(gone, RemoveStep)
    place, cluster = made.objects
    spec: Any = place["spec"]
    assert spec["identityRef"] == {"kind": "AWSClusterRoleIdentity", "name": "team-a"}
    assert spec["network"] == {"vpc": {"id": NO_VPC}}
    assert "controlPlaneRef" not in str(cluster)
    names = {(seen.resource, seen.namespace, seen.name) for seen in gone.objects}
    assert {(right.resource, right.namespace, right.name) for right in made.rights} == names
    assert {(right.verb, right.resource) for right in gone.rights} == {("delete", name) for name, _, _ in names}


def test_the_providers_word_is_the_proof() -> None:
    assert AwaitCredentialExecutor().observe(STEP, said(PrincipalCredentialRetrieved=("True", ""))).so


@pytest.mark.parametrize(
    ("world", "text"),
    [
        (said(), "It has said nothing yet"),
        (said(PrincipalUsageAllowed=("False", "Namespace is not permitted")), "Namespace is not permitted"),
        (said(PrincipalUsageAllowed=("True", ""), PrincipalCredentialRetrieved=("Unknown", "AccessDenied: no")),
         "PrincipalCredentialRetrieved is Unknown: AccessDenied: no"),
    ],
)  # fmt: skip
def test_until_then_it_is_waited_for_with_the_providers_text(world: Any, text: str) -> None:
    seen = AwaitCredentialExecutor().observe(STEP, world)
    assert (seen.so, seen.patience) == (False, 120.0)
    assert text in seen.evidence


def test_a_probe_that_somebody_deleted_ends_the_run() -> None:
    world: Any = Kube()
    with pytest.raises(Fatal, match="is not there any more"):
        AwaitCredentialExecutor().observe(STEP, world)
