"""The step that writes a trust policy: what it does when the document is not the one that was approved."""

from __future__ import annotations

from typing import Any

import pytest

from handlers.contract import Door, Fatal
from handlers.iam.documents import digest, merged
from handlers.steps.trust import TrustExecutor, TrustStep
from tests.unit.iam_makers import document, ours, trusting

ROLE = "controllers.cluster-api-provider-aws.sigs.k8s.io"
BEFORE = document(trusting({"Service": "ec2.amazonaws.com"}))
AFTER = merged(BEFORE, ours())
OTHER = document(trusting({"Service": "ec2.amazonaws.com"}), trusting({"AWS": "arn:aws:iam::999988887777:root"}))


class Account:
    """An account whose IAM answers each look with the next document, and the last one from then on."""

    def __init__(self, *documents: dict[str, Any]) -> None:
        self._documents = list(documents)
        self.written: list[str] = []

    def aws(self, _door: Door, _region: str) -> Account:
        return self

    def read(self, _service: str, _call: str, **_given: str) -> dict[str, Any]:
        found = self._documents.pop(0) if len(self._documents) > 1 else self._documents[0]
        return {"Role": {"AssumeRolePolicyDocument": found}}

    def write(self, _service: str, call: str, **_given: str) -> None:
        self.written.append(call)


def step() -> TrustStep:
    door = Door(account_id="777788889999", region="us-east-1", role_arn="arn:aws:iam::777788889999:role/tkgbot")
    return TrustStep(
        title="t", targets=("IAM of account 777788889999",), door=door, role=ROLE, sid="Tkgbot111122223333",
        document=AFTER, before={"document": BEFORE, "digest": digest(BEFORE)},
    )  # fmt: skip


def test_the_approved_document_is_replaced() -> None:
    account: Any = Account(BEFORE)
    assert TrustExecutor().apply(step(), account).changed
    assert account.written == ["update_assume_role_policy"]


def test_another_document_is_left_alone() -> None:
    account: Any = Account(OTHER)
    with pytest.raises(Fatal, match="changed after it was approved"):
        TrustExecutor().apply(step(), account)
    assert account.written == []


def test_an_earlier_write_that_is_seen_late_is_not_taken_for_somebody_elses() -> None:
    """The process died after it wrote; the first look of the next one still saw the old document."""
    account: Any = Account(BEFORE, AFTER)
    assert not TrustExecutor().observe(step(), account).so
    assert not TrustExecutor().apply(step(), account).changed
    assert account.written == []
