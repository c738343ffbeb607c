"""Which accounts there are: those of the settings, and those that were onboarded.

The management cluster remembers what was onboarded: each AWSClusterRoleIdentity that the bot made says in its
annotations how the bot looks into that account. So an account can be used as soon as it is onboarded, by every replica,
and is gone with its identity. The settings' own accounts always win.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from handlers.contract import Door, Json, KubeRead, UsageError
from handlers.kinds import ROLE_IDENTITY
from handlers.settings import Account, OperationsSettings

REGION, READER = "tkgbot/region", "tkgbot/reader"
"""Annotations of an identity: where the account's clusters go by default, and the role by which the bot looks."""
ROLE = re.compile(r"arn:(aws[a-z-]*):iam::([0-9]{12}):role/[\w+=,.@/-]+", re.ASCII)
PLACE = re.compile(r"[a-z]{2}(?:-[a-z]+)+-[0-9]", re.ASCII)
EXTERNAL = re.compile(r"[\w+=,.@:/-]{2,1224}", re.ASCII)
"""What STS takes for an external id. (AWS STS API Reference: AssumeRole.)"""
KEPT_SECONDS = 30.0


@dataclass(frozen=True)
class Onboarded:
    """An identity on the management cluster, as far as it says how to get into its account. `door` is the bot's own way
    in; None for an identity that the bot did not make."""

    name: str
    account_id: str
    role_arn: str
    external_id: str | None
    door: Door | None

    @property
    def partition(self) -> str:
        """`aws`, `aws-cn`, `aws-us-gov`."""
        return self.role_arn.split(":")[1]


def onboarded(item: Json) -> Onboarded | None:
    """Reads one AWSClusterRoleIdentity. None where its role is not one; no door where the reader is in another account
    than the role, or where region or external id are none: whoever may write identities can write anything there."""
    meta: Any = item.get("metadata") or {}
    spec: Any = item.get("spec") or {}
    role = ROLE.fullmatch(str(spec.get("roleARN", "")))
    if role is None:
        return None
    external = str(spec["externalID"]) if spec.get("externalID") else None
    notes = meta.get("annotations") or {}
    reader = ROLE.fullmatch(str(notes.get(READER, "")))
    region = PLACE.fullmatch(str(notes.get(REGION, "")))
    presentable = external is None or EXTERNAL.fullmatch(external) is not None
    door = None
    if reader is not None and reader.groups() == role.groups() and region is not None and presentable:
        door = Door(account_id=role[2], region=region[0], role_arn=reader[0], external_id=external)
    return Onboarded(str(meta.get("name")), role[2], role[0], external, door)


class Accounts:
    """Accounts by name. What the management cluster says is used for half a minute."""

    def __init__(
        self, settings: OperationsSettings, kube: Callable[[], KubeRead] | None, clock: Callable[[], float]
    ) -> None:
        self._settings = settings
        self._kube = kube
        self._clock = clock
        self._kept: dict[str, tuple[Account, float]] = {}

    def __call__(self, name: str) -> Account:
        """The account of that name. UsageError where there is none."""
        own = self._settings.accounts.get(name)
        if own is not None:
            return own
        kept = self._kept.get(name)
        if kept is not None and kept[1] > self._clock():
            return kept[0]
        found = self._onboarded(name)
        self._kept[name] = (found, self._clock() + KEPT_SECONDS)
        return found

    def _onboarded(self, name: str) -> Account:
        kube = self._kube() if self._kube is not None and self._settings.management_cluster else None
        item = kube.get(ROLE_IDENTITY, name) if kube is not None and name and kube.has(ROLE_IDENTITY) else None
        found = onboarded(item) if item is not None else None
        if found is None or found.door is None:
            known = ", ".join(f"`{known}`" for known in sorted(self._settings.accounts))
            hint = f"Known accounts: {known}. `/tkg account list` shows those that were onboarded."
            raise UsageError(
                f"There is no account `{name}` in the settings, and none was onboarded by that name.", hint
            )
        for other, account in self._settings.accounts.items():
            if account.id == found.account_id:  # a second name would get round the policy's rules for the first
                raise UsageError(
                    f"The identity `{name}` leads into account {found.account_id}, which the settings call `{other}`.",
                    f"Use `--account {other}`.",
                )
        door = found.door
        return Account(
            id=door.account_id, region=door.region, access="role", role_arn=door.role_arn,
            external_id=door.external_id, identity=name,
        )  # fmt: skip


def through(door: Door) -> Account:
    """An account as it is reached by a door."""
    return Account(
        id=door.account_id, region=door.region, access="role", role_arn=door.role_arn, external_id=door.external_id
    )
