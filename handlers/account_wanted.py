"""What ties an account to the management cluster, as it is to be and as it is: what plan, checks and steps speak of."""

from __future__ import annotations

from dataclasses import dataclass

from handlers.account_access import Tie
from handlers.account_check import newest
from handlers.account_look import (
    INLINE_LIMIT,
    Home,
    Inside,
    doors,
    external_id_of,
    inline_size,
    look_inside,
)
from handlers.account_rights import (
    Names,
)
from handlers.account_words import OnboardArguments
from handlers.contract import (
    Check,
    Door,
    Json,
    ReadWorld,
)
from handlers.iam.documents import Document, size
from handlers.iam.trust import trusts
from handlers.identities import allowed, controller_identity, role_identity
from handlers.kinds import CONTROLLER_IDENTITY, ROLE_IDENTITY
from handlers.stacks import (
    TRUST_PARAMETERS,
    added,
    deployed,
    foreseen,
    is_made,
    template_digest,
)
from handlers.steps.grant import POLICY, granted, names, organization_of, read_grant


@dataclass(frozen=True)
class Wanted:
    """Everything that the tie is to be, and what is there of it. `grant` is the bot's own policy on the controllers'
    principal, `inline` the size of its other inline policies."""

    arguments: OnboardArguments
    home: Home
    tie: Tie
    bootstrap: Door | None
    reader: Door
    inside: Inside | None
    stack: str
    boundary: str
    grant: Document | None
    inline: int
    organization_id: str

    @property
    def names(self) -> Names:
        """What the stack's things are called."""
        return Names(
            self.tie.partition,
            self.tie.account_id,
            self.tie.suffix,
            self.reader.role_arn.rpartition("/")[2],
            self.stack,
        )

    @property
    def may_assume(self) -> bool:
        """The policy says so already."""
        return self.grant is not None and names(self.grant, self.tie.role_arn)

    @property
    def organization(self) -> str:
        """The organisation for the form without accounts, where the list does not fit or that form is there."""
        if self.grant is not None and organization_of(self.grant):
            return organization_of(self.grant)
        listed = self.inline + size(granted(self.grant, self.tie.role_arn, ""))
        return self.organization_id if listed > INLINE_LIMIT[self.tie.principal_kind] else ""

    @property
    def adopts(self) -> bool:
        """The cluster roles are there, and our stack has not made them."""
        found = self.inside
        if found is None or not found.roles:
            return False
        ours = found.stack is not None and found.stack.parameters.get("MakeClusterRoles") == "true"
        return not ours

    @property
    def cleans(self) -> bool:
        """Somebody has let the bot delete leftovers there; that is kept."""
        stack = self.inside.stack if self.inside is not None else None
        return stack is not None and stack.parameters.get("Cleanup") == "true"

    def parameters(self) -> dict[str, str]:
        """What the stack is made with."""
        return {
            "NameSuffix": self.tie.suffix,
            "ManagementAccountId": self.tie.home_id,
            "ControllersPrincipalArn": self.tie.principal,
            "TrustWholeAccount": str(self.tie.whole_account).lower(),
            "ExternalId": self.tie.external_id or "",
            "BotPrincipalArn": self.home.myself,
            "ReaderRoleName": self.reader.role_arn.rpartition("/")[2],
            "MakeClusterRoles": str(not self.adopts).lower(),
            "PermissionsBoundaryArn": self.boundary,
            "SubnetTags": "true",
            "Cleanup": "true" if self.cleans else "false",
        }


def wanted_of(arguments: OnboardArguments, home: Home, world: ReadWorld) -> tuple[Wanted, Check]:
    """Looks at both sides; the check says how far the bot can see into the account."""
    settings, suffix = world.onboarding(), world.clusters().iam_suffix
    external = external_id_of(home, arguments.account_id, arguments.identity, arguments.external_id)
    region = arguments.region or (home.identity and home.identity.door and home.identity.door.region) or home.region
    bootstrap, reader = doors(world, arguments.account_id, home.partition, region, external)
    inside, about = look_inside(world, bootstrap, reader, suffix)
    role = f"arn:{home.partition}:iam::{arguments.account_id}:role/controllers{suffix}"
    tie = Tie(
        identity=arguments.identity, account_id=arguments.account_id, partition=home.partition, role_arn=role,
        suffix=suffix, external_id=external, duration=arguments.duration, home=home.account, home_id=home.account_id,
        principal=home.principal.arn, principal_kind=home.principal.kind, principal_name=home.principal.name,
        whole_account=arguments.trust == "root", network_balancers=newest(home.kube),
    )  # fmt: skip
    boundary = settings.permissions_boundary or ""
    if boundary and not boundary.startswith("arn:"):
        boundary = f"arn:{home.partition}:iam::{arguments.account_id}:policy/{boundary}"
    return (
        Wanted(
            arguments, home, tie, bootstrap, reader, inside, settings.stack_name, boundary,
            grant=read_grant(home.aws, tie.principal_kind, tie.principal_name),
            inline=inline_size(home, POLICY),
            organization_id=settings.organization_id or "",
        ),
        about,
    )  # fmt: skip


def stack_changes(wanted: Wanted, world: ReadWorld) -> tuple[str, ...]:
    """What the change set will hold; empty where nothing has to be done, or where the bot does not do it."""
    found = wanted.inside.stack if wanted.inside else None
    if wanted.bootstrap is None or is_made(found, template_digest(), wanted.parameters()):
        return ()
    if found is None or found.status == "REVIEW_IN_PROGRESS":
        return added(wanted.parameters())
    aws = world.aws(wanted.bootstrap, wanted.bootstrap.region)
    retagged = found.template != template_digest()
    return foreseen(deployed(aws, wanted.stack), found.parameters, wanted.parameters(), retagged=retagged)


def needs_trust(wanted: Wanted) -> bool:
    """The controllers' role is there, and does not let them in yet: the stack makes a new role's trust itself."""
    found = wanted.inside
    if found is None or found.trust is None or rewrites_trust(wanted):
        return False
    return trusts(found.trust, wanted.tie.caller()).result != "allows"


def rewrites_trust(wanted: Wanted) -> bool:
    """A change of the trust's own parameters makes the stack write it."""
    stack = wanted.inside.stack if wanted.inside else None
    if stack is None or wanted.bootstrap is None or wanted.adopts:
        return False
    new = wanted.parameters()
    return any(stack.parameters.get(name, "") != new[name] for name in TRUST_PARAMETERS)


def items_of(wanted: Wanted) -> tuple[Json, ...]:
    """The objects on the management cluster; the identity is the last."""
    kube, tie = wanted.home.kube, wanted.tie
    made = role_identity(
        tie.identity, kube.version(ROLE_IDENTITY), role_arn=tie.role_arn, external_id=tie.external_id,
        rule=rule_of(wanted.arguments), duration=tie.duration, region=wanted.reader.region,
        reader=wanted.reader.role_arn,
    )  # fmt: skip
    if kube.get(CONTROLLER_IDENTITY, "default") is None:
        return (controller_identity(kube.version(CONTROLLER_IDENTITY)), made)
    return (made,)


def rule_of(arguments: OnboardArguments) -> Json:
    """spec.allowedNamespaces."""
    return allowed(arguments.namespaces, arguments.selector, everything=arguments.all_namespaces)
