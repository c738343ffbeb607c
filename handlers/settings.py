"""What operations need to know of a team's world: its AWS accounts and how each is reached."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from handlers.contract import Model

AccountId = Annotated[str, Field(pattern=r"^[0-9]{12}$", description="Twelve digits.")]
RegionName = Annotated[
    str, Field(pattern=r"^[a-z]{2}(-[a-z]+)+-[0-9]$", description="An AWS region, such as us-east-1.")
]


class Account(Model):
    """One AWS account: who it is, and how the bot gets in."""

    id: AccountId
    region: RegionName
    access: Literal["role", "profile", "ambient"] = Field(
        "role",
        description="`role`: assume `role_arn` with exactly the plan's rights. `profile`: a profile of the AWS "
        "configuration. `ambient`: the credentials of the environment. Only `role` lets AWS itself hold the bot to "
        "the plan.",
    )
    role_arn: str | None = Field(None, pattern=r"^arn:aws[a-z-]*:iam::[0-9]{12}:role/[\w+=,.@/-]+$")
    external_id: str | None = Field(None, min_length=2, max_length=1224)
    profile: str | None = None
    source_identity: bool = Field(
        True, description="Name the person in every session; the role's trust must allow sts:SetSourceIdentity."
    )

    @model_validator(mode="after")
    def _fits(self) -> Account:
        wanted = {"role": "role_arn", "profile": "profile", "ambient": None}[self.access]
        for name in ("role_arn", "profile"):
            if (getattr(self, name) is not None) != (name == wanted):
                verb = "needs" if name == wanted else "does not use"
                raise ValueError(f"access `{self.access}` {verb} `{name}`")
        if self.external_id is not None and self.access != "role":
            raise ValueError(f"access `{self.access}` does not use `external_id`")
        if self.role_arn is not None and self.role_arn.split(":")[4] != self.id:
            raise ValueError(f"`role_arn` is in account {self.role_arn.split(':')[4]}, not in {self.id}")
        return self


class AwsTuning(Model):
    """How patient the AWS client is (seconds; attempts in all)."""

    connect_timeout: float = Field(5.0, gt=0)
    read_timeout: float = Field(30.0, gt=0)
    attempts: int = Field(6, ge=1, le=20)


class OperationsSettings(Model):
    """The operations side's part of the settings file."""

    accounts: dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,30}$")], Account] = Field(min_length=1)
    default_account: str
    aws: AwsTuning = AwsTuning()

    @model_validator(mode="after")
    def _default_is_there(self) -> OperationsSettings:
        if self.default_account not in self.accounts:
            known = ", ".join(sorted(self.accounts))
            raise ValueError(f"default_account `{self.default_account}` is not one of the accounts: {known}")
        return self
