"""Instance profiles of control plane and nodes, where the bot may look.

IAM is not the bot's business when it makes a cluster, and many a team does not let it look there. So a refusal is no
more than a warning: the cluster's own controllers use the profiles, not the bot, and blocking would make a right
compulsory that the work itself does not need. What AWS says later is "Invalid IAM Instance Profile name".
"""

from __future__ import annotations

from handlers.clients.aws_errors import Denied
from handlers.contract import AwsRead, AwsRefused, Check, unique
from handlers.preflight.layout import Layout
from handlers.preflight.look import Look
from handlers.subnet_checks import blocks, passes, warns

TITLE = "Instance profiles exist"


def exist(layout: Layout, aws: AwsRead) -> list[Check]:
    """Are both instance profiles in the account?"""
    names = unique(layout.instance_profiles)
    listed = ", ".join(f"`{name}`" for name in names)
    try:
        missing = [name for name in names if not _exists(name, aws)]
    except Denied as error:
        evidence = f"{listed} could not be looked at. {error.message}"
        return [warns("instance-profiles", TITLE, evidence, f"If machines fail later, look at these. {error.hint}")]
    if not missing:
        return [passes("instance-profiles", TITLE, f"{listed} in account `{layout.where.account}`.")]
    evidence = f"{', '.join(f'`{name}`' for name in missing)} not in account {layout.where.account_id}."
    fix = "Deploy the account's roles first (/tkg account onboard), or set the names of its profiles right."
    return [blocks("instance-profiles", TITLE, evidence, fix)]


def _exists(name: str, aws: AwsRead) -> bool:
    try:
        aws.read("iam", "get_instance_profile", InstanceProfileName=name)
    except AwsRefused as error:
        if error.code == "NoSuchEntity":
            return False
        raise
    return True


LOOKS = (Look("instance-profiles", TITLE, exist),)
