"""The machine image: for the Kubernetes version, base OS and architecture, or the one that is named.

The Cluster API's AWS provider takes the newest image of the owner whose name fits `capa-ami-{base OS}-?{version}-*`,
the version without its v. (kubernetes-sigs/cluster-api-provider-aws, pkg/cloud/services/ec2/ami.go.) Deprecated images
are hidden from everybody but their owner; the provider does not ask for them, so neither is it done here.
"""

from __future__ import annotations

from typing import Any

from handlers.contract import AwsRead, Check, unique
from handlers.preflight.layout import Layout
from handlers.preflight.look import Look, some
from handlers.preflight.types import described
from handlers.subnet_checks import blocks, passes

TITLE = "The machine image exists"


def exists(layout: Layout, aws: AwsRead) -> list[Check]:
    """Is there an image for the machines of every architecture?"""
    known = described(aws, layout.types)
    kinds = unique([known[name].architecture or "" for name in layout.types if name in known])
    wanted = tuple(sorted(kind for kind in kinds if kind))
    if layout.ami_id is not None:
        return [_named(layout.ami_id, wanted, layout, aws)]
    return [_looked_up(wanted, layout, aws)]


def _named(image: str, wanted: tuple[str, ...], layout: Layout, aws: AwsRead) -> Check:
    found: list[Any] = list(
        aws.pages("ec2", "describe_images", "Images", Filters=[{"Name": "image-id", "Values": [image]}])
    )
    if not found:
        evidence = f"{image} is not in {layout.where.region}, or not shared with account {layout.where.account_id}."
        fix = "Check the id: each region has ids of its own. If it is another account's, have it shared with this one."
        return blocks("image", TITLE, evidence, fix)
    state, kind = str(found[0]["State"]), str(found[0]["Architecture"])
    if state != "available":
        return blocks("image", TITLE, f"{image} is {state}.", "Wait until it is available, or name another.")
    if any(other != kind for other in wanted):
        evidence = f"{image} is for {kind}, and the machines are {', '.join(wanted)}."
        return blocks("image", TITLE, evidence, f"Name an image of the machines' architecture, or types for {kind}.")
    return passes("image", TITLE, f"{image} ({found[0].get('Name', 'no name')}, {kind}) is available.")


def _looked_up(wanted: tuple[str, ...], layout: Layout, aws: AwsRead) -> Check:
    pattern = f"capa-ami-{layout.ami_base_os}-?{layout.kubernetes_version.removeprefix('v')}-*"
    newest = {kind: _newest(_images(pattern, kind, layout, aws)) for kind in wanted}
    missing = [kind for kind, image in newest.items() if image is None]
    if not missing:
        told = [f"{image['ImageId']} ({image['Name']}, {kind})" for kind, image in newest.items() if image]
        return passes("image", TITLE, f"{'; '.join(told) or 'No machines'}.")
    evidence = (
        f"No image `{pattern}` of owner {layout.ami_owner} for {', '.join(missing)} in {layout.where.region}"
        f"{_others(missing[0], layout, aws)}."
    )
    fix = "Use a Kubernetes version that has an image, or have one built (image-builder) and set its id or owner."
    return blocks("image", TITLE, evidence, fix)


def _others(kind: str, layout: Layout, aws: AwsRead) -> str:
    """The versions that there are images of."""
    start = f"capa-ami-{layout.ami_base_os}-"
    names = [str(raw["Name"]).removeprefix(start) for raw in _images(f"{start}*", kind, layout, aws)]
    versions = sorted({name.partition("-")[0] for name in names}, key=_rank, reverse=True)
    return f"; there are {some(versions)}" if versions else "; there are none of other versions either"


def _rank(version: str) -> list[int]:
    return [int(part) if part.isdecimal() else 0 for part in version.removeprefix("v").split(".")]


def _images(pattern: str, kind: str, layout: Layout, aws: AwsRead) -> list[Any]:
    filters = {"name": pattern, "architecture": kind, "state": "available", "virtualization-type": "hvm"}
    return list(
        aws.pages(
            "ec2",
            "describe_images",
            "Images",
            Owners=[layout.ami_owner],
            Filters=[{"Name": name, "Values": [value]} for name, value in filters.items()],
        )
    )


def _newest(images: list[Any]) -> Any:
    return max(images, key=lambda raw: str(raw["CreationDate"]), default=None)


LOOKS = (Look("image", TITLE, exists),)
