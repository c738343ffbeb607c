"""The words of the account operations: their arguments, and what they have in common."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from handlers.contract import Arguments, Positional
from handlers.identities import LONGEST
from handlers.words import AccountId, ExternalId, IdentityName, LabelSelector, NamespaceList, Region


class OnboardArguments(Arguments):
    """Which account, under which name, for whom."""

    account_id: Annotated[AccountId, Positional()] = Field(description="The AWS account, twelve digits.")
    identity: IdentityName = Field(
        description="The name of the AWSClusterRoleIdentity, and from then on of the account in commands."
    )
    namespaces: NamespaceList | None = Field(None, description="The namespaces whose clusters may use the account.")
    selector: LabelSelector | None = Field(None, description="Or: namespaces with these labels.")
    all_namespaces: bool = Field(False, description="Or: every namespace.")
    external_id: ExternalId = Field("auto", description="What the trust asks for; auto makes one and keeps it.")
    duration: int = Field(
        900, ge=900, le=LONGEST, description="How long a session of the controllers lasts (seconds, 900 to 3600)."
    )
    trust: Literal["role", "root"] = Field(
        "role", description="Whom the account trusts: exactly the controllers, or the whole management account."
    )
    region: Region | None = Field(
        None, description="The region of its clusters; the management account's when left out."
    )

    @model_validator(mode="after")
    def _says_for_whom(self) -> OnboardArguments:
        said = [bool(self.namespaces), bool(self.selector), self.all_namespaces]
        if sum(said) != 1:
            raise ValueError(
                "has to say once which namespaces may use the account: --namespaces team-a,team-b, or --selector "
                "key=value, or --all-namespaces"
            )
        return self


class OffboardArguments(Arguments):
    """Which account to let go."""

    account: Annotated[IdentityName, Positional()] = Field(description="The account, by the name of its identity.")
    stack: bool = Field(False, description="Also delete the stack with its roles.")
    account_id: AccountId | None = Field(None, description="Its id, where the identity is gone already.")
    external_id: ExternalId | None = Field(None, description="Its external id, where the identity is gone already.")
    region: Region | None = Field(
        None, description="Where its stack is; the region it was onboarded with when left out."
    )


class CheckArguments(Arguments):
    """Which accounts to check."""

    account: Annotated[IdentityName | None, Positional()] = Field(
        None, description="The account, by the name of its identity."
    )
    all: bool = Field(False, description="Every account that was onboarded.")

    @model_validator(mode="after")
    def _names_one_or_all(self) -> CheckArguments:
        if bool(self.account) == self.all:
            raise ValueError("has to name an account, or --all")
        return self


class GetArguments(Arguments):
    """Which account."""

    account: Annotated[IdentityName, Positional()] = Field(description="The account, by the name of its identity.")


class ListArguments(Arguments):
    """All of them."""
