"""One reading of AWS's API models for everybody: each botocore session reads its own otherwise, for EC2 alone 1.5 MB of
JSON, and that was a fifth of the unit tests' time. What is read is not changed by anybody."""

from __future__ import annotations

import functools

import botocore.loaders
import botocore.session

SERVICES = ("ec2", "iam", "sts", "cloudformation", "elbv2", "elb", "service-quotas", "ssm", "s3", "pricing")


def share() -> None:
    """From now on, all sessions of this process read by the same loader."""
    botocore.session.create_loader = functools.cache(botocore.loaders.create_loader)  # type: ignore[attr-defined]


def read_all() -> None:
    """Reads those that the bot and the sandbox ask for."""
    loader = botocore.session.Session().get_component("data_loader")
    for service in SERVICES:
        for kind in ("service-2", "endpoint-rule-set-1"):
            loader.load_service_model(service, kind)
