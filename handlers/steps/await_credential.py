"""Waiting for the provider's own word: it got into the account by this identity, or it says why not.

(kubernetes-sigs/cluster-api-provider-aws, api/v1beta2/conditions_consts.go: PrincipalUsageAllowed,
PrincipalCredentialRetrieved.)
"""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict

from handlers.conditions import condition
from handlers.contract import Fatal, Observation, Outcome, RunWorld, Step
from handlers.kinds import AWS_CLUSTER

USAGE, CREDENTIAL = "PrincipalUsageAllowed", "PrincipalCredentialRetrieved"


class AwaitCredentialStep(Step):
    """Waits until the AWSCluster `name` says that the provider has credentials for its account. `patience` is in
    seconds: until IAM has seen a change everywhere, "denied" may mean "not yet"."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["await-credential"] = "await-credential"
    namespace: str
    name: str
    patience: float


class AwaitCredentialExecutor:
    """Observes by GET; there is nothing to apply."""

    def observe(self, step: AwaitCredentialStep, world: RunWorld) -> Observation:
        """So when the condition is True. What it says until then is told."""
        found = world.management().get(AWS_CLUSTER, step.name, step.namespace)
        if found is None:
            raise Fatal(f"The AWSCluster {step.name} is not there any more.", "Somebody deleted it; ask again.")
        usage, credential = condition(found, USAGE), condition(found, CREDENTIAL)
        if credential is not None and credential.status == "True":
            return Observation(so=True, evidence=f"The AWS provider got into the account ({CREDENTIAL}).")
        wrong = next((seen for seen in (usage, credential) if seen is not None and seen.status != "True"), None)
        said = (
            f"{wrong.type} is {wrong.status}: {wrong.message or wrong.reason}" if wrong else "It has said nothing yet"
        )
        progress = f"{wrong.type} {wrong.reason}" if wrong else "silent"
        return Observation(
            so=False, evidence=f"The AWS provider has no credentials yet. {said}.", progress=progress,
            patience=step.patience,
        )  # fmt: skip

    def apply(self, step: AwaitCredentialStep, world: RunWorld) -> Outcome:
        """Nothing is done: the provider does it."""
        return Outcome(changed=True, evidence="The AWS provider is trying.")
