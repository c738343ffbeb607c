"""The tags of EC2 resources: as a dictionary, and of many subnets at once.

DescribeSubnets, CreateTags and DeleteTags take at most 1,000 ids a call. (Amazon EC2 API Reference.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from handlers.contract import AwsRead, Json

IDS_PER_CALL = 1000


def tags_of(aws: AwsRead, ids: Sequence[str]) -> dict[str, dict[str, str]]:
    """The tags of each subnet, by its id."""
    found: dict[str, dict[str, str]] = {}
    for batch in batches(ids):
        for subnet in aws.pages("ec2", "describe_subnets", "Subnets", SubnetIds=list(batch)):
            found[str(subnet["SubnetId"])] = tag_map(subnet)
    return found


def tag_map(resource: Json) -> dict[str, str]:
    """EC2's list of Key/Value pairs as a dictionary; network interfaces call theirs TagSet."""
    tags: Any = resource.get("Tags") or resource.get("TagSet") or []
    return {tag["Key"]: tag["Value"] for tag in tags}


def batches(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """The ids in parts that one call takes."""
    for start in range(0, len(ids), IDS_PER_CALL):
        yield ids[start : start + IDS_PER_CALL]
