"""What is looked at before subnets are tagged: each check with its evidence and its fix.

Facts: Amazon EC2 User Guide, "Tag your resources" (50 tags a resource, `aws:` not counted); kubernetes-sigs/
cluster-api-provider-aws and TKG take a subnet that is public only through the main route table for private.
"""

from __future__ import annotations

from collections.abc import Callable

from handlers.contract import Check, Json
from handlers.network import Subnet, cluster_key

Wanted = Callable[[str], dict[str, str]]
"""The tags that a subnet, named by its id, should have."""

TAGS_PER_RESOURCE = 50


def identity(answer: Json, account: str, wanted: str) -> tuple[str, Check]:
    """Do the credentials lead to the account that the settings name? With the partition of their ARN."""
    seen, arn = str(answer["Account"]), str(answer["Arn"])
    title = "The right AWS account"
    if seen != wanted:
        evidence = f"The credentials for `{account}` lead to account {seen}, the settings say {wanted}."
        return "aws", blocks("account", title, evidence, "The platform team has to mend the settings.")
    return arn.split(":")[1], passes("account", title, f"`{account}` is account {seen}.")


def network_checks(subnets: list[Subnet], *, private_too: bool) -> list[Check]:
    """Where the subnets are, and whether they are really public."""
    if not subnets:
        return []
    return [one_vpc(subnets), _public(subnets, private_too), *_by_main(subnets), _spread(subnets)]


def one_vpc(subnets: list[Subnet]) -> Check:
    """Are they all in one VPC?"""
    title = "One VPC"
    vpcs = sorted({subnet.vpc for subnet in subnets})
    if len(vpcs) == 1:
        return passes("one-vpc", title, f"All in {vpcs[0]}.")
    evidence = "; ".join(f"{vpc}: {', '.join(named(s) for s in subnets if s.vpc == vpc)}" for vpc in vpcs)
    return blocks("one-vpc", title, evidence, "A cluster lives in one VPC: name the subnets of one of them.")


def _public(subnets: list[Subnet], private_too: bool) -> Check:
    title = "Really public"
    wrong = [subnet for subnet in subnets if not subnet.is_public]
    if not wrong:
        return passes("public", title, f"All {counted(len(subnets))} have an active route to an internet gateway.")
    if private_too:
        evidence = f"{', '.join(named(s) for s in wrong)}: no way in from the internet, as --private allows."
        return warns("public", title, evidence, "Only internal load balancers can use these.")
    evidence = "; ".join(
        f"{named(s)} is private: its route table {s.table} has "
        + (
            "a route to an internet gateway that is gone"
            if s.route == "blackhole"
            else "no route to an internet gateway"
        )
        for s in wrong
    )
    fix = "Leave these out, or use --vpc to have the public ones found; for internal load balancers add --private."
    return blocks("public", title, evidence, fix)


def _by_main(subnets: list[Subnet]) -> list[Check]:
    by_main = [subnet for subnet in subnets if subnet.route == "main"]
    if not by_main:
        return []
    evidence = ", ".join(f"{named(s)} ({s.table})" for s in by_main)
    fix = "Associate the route table with the subnet: the Cluster API's AWS provider and TKG take it for private."
    return [warns("by-main", "Public only through the main route table", evidence + ".", fix)]


def _spread(subnets: list[Subnet]) -> Check:
    title = "Spread over zones"
    zones = sorted({subnet.zone for subnet in subnets})
    evidence = f"{counted(len(subnets))} in {len(zones)} zone{'s' * (len(zones) != 1)}: {', '.join(zones)}."
    if len(zones) >= 3:
        return passes("spread", title, evidence)
    fix = "Enough for a dev cluster; a prod cluster wants three subnets in three zones."
    return warns("spread", title, evidence, fix)


def tag_checks(subnets: list[Subnet], cluster: str, wanted: Wanted) -> list[Check]:
    """Whether the tags fit, and whose the subnets are."""
    key = cluster_key(cluster)
    listed = [subnet for subnet in subnets if key in wanted(subnet.id)]
    return [*_room(subnets, wanted), *_owned(listed, key), *odd_values(listed, key), *_foreign(subnets, cluster)]


def _room(subnets: list[Subnet], wanted: Wanted) -> list[Check]:
    if not subnets:
        return []
    title = "Room for tags"
    full = [(s, s.user_tags, len(missing_tags(s, wanted(s.id)))) for s in subnets]
    over = [(s, have, new) for s, have, new in full if have + new > TAGS_PER_RESOURCE]
    if not over:
        return [
            passes(
                "room",
                title,
                f"The fullest subnet has {max(s.user_tags for s in subnets)} of {TAGS_PER_RESOURCE} tags.",
            )
        ]
    evidence = "; ".join(
        f"{named(s)} has {have} of {TAGS_PER_RESOURCE} tags and needs {new} more" for s, have, new in over
    )
    return [blocks("room", title, evidence, "Remove tags of clusters that are gone, or leave these subnets out.")]


def _owned(subnets: list[Subnet], key: str) -> list[Check]:
    owned = [subnet for subnet in subnets if subnet.tags.get(key) == "owned"]
    if not owned:
        return []
    evidence = f"`{key}=owned` on {', '.join(named(s) for s in owned)}."
    fix = "It is left as it is: the subnet belongs to the cluster and goes with it."
    return [warns("owned", "Owned by this cluster", evidence, fix)]


def odd_values(subnets: list[Subnet], key: str) -> list[Check]:
    """Values of the cluster tag that nobody knows the meaning of."""
    odd = [subnet for subnet in subnets if subnet.tags.get(key, "shared") not in ("shared", "owned")]
    if not odd:
        return []
    evidence = "; ".join(f"{named(s)} has `{key}={s.tags[key]}`" for s in odd)
    fix = "Only `shared` and `owned` have a meaning. Find out who set it, and remove it by hand."
    return [blocks("odd-value", "An unknown value of the cluster tag", evidence, fix)]


def _foreign(subnets: list[Subnet], cluster: str) -> list[Check]:
    others = [
        f"{named(s)} by {other}"
        for s in subnets
        for other, value in s.clusters.items()
        if other != cluster and value == "owned"
    ]
    if not others:
        return []
    fix = "It is deleted with that cluster. Ask its team, or use other subnets."
    return [warns("foreign", "Owned by another cluster", "; ".join(others) + ".", fix)]


def not_found(what: str, missing: list[str], account: str, region: str) -> Check:
    """What was named and is not there."""
    title = {"vpc": "The VPC exists", "subnet": "The subnets exist"}[what]
    evidence = f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not in {region} of account `{account}`."
    fix = "Check the id; if it is in another region or account, add --region or --account."
    return blocks(what, title, evidence, fix)


def all_found(found: list[Subnet], account: str, region: str) -> Check:
    """Everything that was named is there."""
    return passes("subnet", "The subnets exist", f"{counted(len(found))} in {region} of account `{account}`.")


def collected(vpc: str, found: list[Subnet], *, private_too: bool) -> Check:
    """What a VPC has by itself, to be tagged."""
    title = "Subnets of the VPC" if private_too else "Public subnets of the VPC"
    if found:
        return passes("collected", title, f"{vpc} has {len(found)}: {', '.join(named(s) for s in found)}.")
    fix = "Give it a subnet whose route table leads to an internet gateway, or name another VPC."
    return blocks("collected", title, f"{vpc} has no {'' if private_too else 'public '}subnet.", fix)


def passes(name: str, title: str, evidence: str) -> Check:
    """A check that passed."""
    return Check(id=name, title=title, result="pass", evidence=evidence)


def warns(name: str, title: str, evidence: str, fix: str) -> Check:
    """A check that an approver should think about."""
    return Check(id=name, title=title, result="warn", evidence=evidence, fix=fix)


def blocks(name: str, title: str, evidence: str, fix: str) -> Check:
    """A check that stands in the way, with the way out."""
    return Check(id=name, title=title, result="block", evidence=evidence, fix=fix)


def missing_tags(subnet: Subnet, wanted: dict[str, str]) -> dict[str, str]:
    """The tags to add. A key that is there stays as it is: for subnets only the key is compared."""
    return {key: value for key, value in wanted.items() if key not in subnet.tags}


def named(subnet: Subnet) -> str:
    """A subnet by its name and id."""
    return subnet.id if subnet.name == subnet.id else f"{subnet.name} ({subnet.id})"


def counted(count: int) -> str:
    """`1 subnet`, `3 subnets`."""
    return f"{count} subnet{'s' * (count != 1)}"
