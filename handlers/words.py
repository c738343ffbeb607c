"""The kinds of words that arguments are made of. Closed patterns: no word can be an option, a path or a URL."""

from __future__ import annotations

import re
from typing import Annotated

from handlers.contract import word

ClusterName = Annotated[
    str,
    *word(
        r"[a-z0-9]([-a-z0-9]{0,40}[a-z0-9])?",
        "a cluster name (lower-case letters, digits and dashes, at most 42)",
        "demo",
        lambda wrong: re.sub(r"[^a-z0-9]+", "-", wrong.lower()).strip("-")[:42].rstrip("-"),
    ),
]
"""At most 42 characters, the limit of TKG; AWS's tag key would allow 106, Kubernetes 63."""
SubnetId = Annotated[str, *word(r"subnet-(?:[0-9a-f]{8}|[0-9a-f]{17})", "a subnet id", "subnet-0a1b2c3d4e5f60718")]
VpcId = Annotated[str, *word(r"vpc-(?:[0-9a-f]{8}|[0-9a-f]{17})", "a VPC id", "vpc-0a1b2c3d4e5f60718")]
AccountName = Annotated[str, *word(r"[a-z0-9][a-z0-9-]{0,30}", "the name of an account in the settings", "management")]
Region = Annotated[str, *word(r"[a-z]{2}(-[a-z]+)+-[0-9]", "an AWS region", "us-east-1")]
