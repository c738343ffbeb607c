"""What is looked at before subnets are tagged: each check with its evidence and its fix.

Facts: Amazon EC2 User Guide, "Tag your resources" (50 tags a resource, `aws:` not counted); kubernetes-sigs/
cluster-api-provider-aws and TKG take a subnet that is public only through the main route table for private.
"""

from __future__ import annotations

from handlers.contract import Check, Json
from handlers.network import Subnet

TAGS_PER_RESOURCE = 50


def identity(answer: Json, account: str, wanted: str) -> tuple[str, Check]:
    """Do the credentials lead to the account that the settings name? With the partition of their ARN."""
    seen, arn = str(answer["Account"]), str(answer["Arn"])
    title = "The right AWS account"
    if seen != wanted:
        evidence = f"The credentials for `{account}` lead to account {seen}, the settings say {wanted}."
        return "aws", blocks("account", title, evidence, "The platform team has to mend the settings.")
    return arn.split(":")[1], passes("account", title, f"`{account}` is account {seen}.")


def network_checks(subnets: list[Subnet]) -> list[Check]:
    """Where the subnets are, and whether they are really public."""
    if not subnets:
        return []
    return [_one_vpc(subnets), _public(subnets), *_by_main(subnets), _spread(subnets)]


def _one_vpc(subnets: list[Subnet]) -> Check:
    title = "One VPC"
    vpcs = sorted({subnet.vpc for subnet in subnets})
    if len(vpcs) == 1:
        return passes("one-vpc", title, f"All in {vpcs[0]}.")
    evidence = "; ".join(f"{vpc}: {', '.join(named(s) for s in subnets if s.vpc == vpc)}" for vpc in vpcs)
    return blocks("one-vpc", title, evidence, "A cluster lives in one VPC: name the subnets of one of them.")


def _public(subnets: list[Subnet]) -> Check:
    title = "Really public"
    wrong = [subnet for subnet in subnets if not subnet.is_public]
    if not wrong:
        return passes("public", title, f"All {counted(len(subnets))} have an active route to an internet gateway.")
    evidence = "; ".join(
        f"{named(s)} is private: its route table {s.table} has "
        + (
            "a route to an internet gateway that is gone"
            if s.route == "blackhole"
            else "no route to an internet gateway"
        )
        for s in wrong
    )
    return blocks("public", title, evidence, "Leave these out, or use --vpc to have the public ones found.")


def _by_main(subnets: list[Subnet]) -> list[Check]:
    by_main = [subnet for subnet in subnets if subnet.route == "main"]
    if not by_main:
        return []
    evidence = ", ".join(f"{named(s)} ({s.table})" for s in by_main)
    fix = "Associate the route table with the subnet: the Cluster API's AWS provider and TKG take it for private."
    return [
        Check(
            id="by-main",
            title="Public only through the main route table",
            result="warn",
            evidence=evidence + ".",
            fix=fix,
        )
    ]


def _spread(subnets: list[Subnet]) -> Check:
    title = "Spread over zones"
    zones = sorted({subnet.zone for subnet in subnets})
    evidence = f"{counted(len(subnets))} in {len(zones)} zone{'s' * (len(zones) != 1)}: {', '.join(zones)}."
    if len(zones) >= 3:
        return passes("spread", title, evidence)
    fix = "Enough for a dev cluster; a prod cluster wants three subnets in three zones."
    return Check(id="spread", title=title, result="warn", evidence=evidence, fix=fix)


def tag_checks(subnets: list[Subnet], cluster: str, wanted: dict[str, str]) -> list[Check]:
    """Whether the tags fit, and whose the subnets are."""
    key = cluster_key(cluster)
    return [*_room(subnets, wanted), *_owned(subnets, key), *_foreign(subnets, key)]


def _room(subnets: list[Subnet], wanted: dict[str, str]) -> list[Check]:
    if not subnets:
        return []
    title = "Room for tags"
    full = [(s, s.user_tags, len(missing_tags(s, wanted))) for s in subnets]
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
    checks: list[Check] = []
    owned = [subnet for subnet in subnets if subnet.tags.get(key) == "owned"]
    if owned:
        evidence = f"`{key}=owned` on {', '.join(named(s) for s in owned)}."
        fix = "It is left as it is: the subnet belongs to the cluster and goes with it."
        checks.append(Check(id="owned", title="Owned by this cluster", result="warn", evidence=evidence, fix=fix))
    odd = [subnet for subnet in subnets if subnet.tags.get(key, "shared") not in ("shared", "owned")]
    if odd:
        evidence = "; ".join(f"{named(s)} has `{key}={s.tags[key]}`" for s in odd)
        fix = "Only `shared` and `owned` have a meaning. Find out who set it, and remove it by hand."
        checks.append(blocks("odd-value", "An unknown value of the cluster tag", evidence, fix))
    return checks


def _foreign(subnets: list[Subnet], key: str) -> list[Check]:
    prefix = "kubernetes.io/cluster/"
    others = [
        f"{named(s)} by {other.removeprefix(prefix)}"
        for s in subnets
        for other, value in sorted(s.tags.items())
        if other.startswith(prefix) and other != key and value == "owned"
    ]
    if not others:
        return []
    fix = "It is deleted with that cluster. Ask its team, or use other subnets."
    return [
        Check(id="foreign", title="Owned by another cluster", result="warn", evidence="; ".join(others) + ".", fix=fix)
    ]


def not_found(what: str, missing: list[str], account: str, region: str) -> Check:
    """What was named and is not there."""
    title = {"vpc": "The VPC exists", "subnet": "The subnets exist"}[what]
    evidence = f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not in {region} of account `{account}`."
    fix = "Check the id; if it is in another region or account, add --region or --account."
    return blocks(what, title, evidence, fix)


def all_found(found: list[Subnet], account: str, region: str) -> Check:
    """Everything that was named is there."""
    return passes("subnet", "The subnets exist", f"{counted(len(found))} in {region} of account `{account}`.")


def collected(vpc: str, found: list[Subnet]) -> Check:
    """What a VPC has by itself."""
    title = "Public subnets of the VPC"
    if found:
        return passes("collected", title, f"{vpc} has {len(found)}: {', '.join(named(s) for s in found)}.")
    fix = "Give it a subnet whose route table leads to an internet gateway, or name another VPC."
    return blocks("collected", title, f"{vpc} has no public subnet.", fix)


def passes(name: str, title: str, evidence: str) -> Check:
    """A check that passed."""
    return Check(id=name, title=title, result="pass", evidence=evidence)


def blocks(name: str, title: str, evidence: str, fix: str) -> Check:
    """A check that stands in the way, with the way out."""
    return Check(id=name, title=title, result="block", evidence=evidence, fix=fix)


def cluster_key(cluster: str) -> str:
    """The tag key that marks a subnet as used by `cluster`."""
    return f"kubernetes.io/cluster/{cluster}"


def missing_tags(subnet: Subnet, wanted: dict[str, str]) -> dict[str, str]:
    """The tags to add. A key that is there stays as it is: for subnets only the key is compared."""
    return {key: value for key, value in wanted.items() if key not in subnet.tags}


def named(subnet: Subnet) -> str:
    """A subnet by its name and id."""
    return subnet.id if subnet.name == subnet.id else f"{subnet.name} ({subnet.id})"


def counted(count: int) -> str:
    """`1 subnet`, `3 subnets`."""
    return f"{count} subnet{'s' * (count != 1)}"
