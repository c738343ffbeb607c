"""The key pair: in this account and this region. AWS would say InvalidKeyPair.NotFound for each machine later."""

from __future__ import annotations

from handlers.contract import AwsRead, Check
from handlers.preflight.layout import Layout
from handlers.preflight.look import Look, some
from handlers.subnet_checks import blocks, passes

TITLE = "The SSH key pair exists"


def exists(layout: Layout, aws: AwsRead) -> list[Check]:
    """Is the key pair there?"""
    where = f"{layout.where.region} of account `{layout.where.account}`"
    if layout.ssh_key is None:
        return [passes("ssh-key", TITLE, "No key is put on the machines.")]
    names = sorted(str(raw["KeyName"]) for raw in aws.pages("ec2", "describe_key_pairs", "KeyPairs"))
    if layout.ssh_key in names:
        return [passes("ssh-key", TITLE, f"`{layout.ssh_key}` is in {where}.")]
    evidence = f"`{layout.ssh_key}` is not in {where}; there {'are ' + some(names) if names else 'is none'}."
    fix = (
        f"aws ec2 import-key-pair --region {layout.where.region} --key-name {layout.ssh_key} "
        "--public-key-material fileb://KEY.pub"
    )
    return [blocks("ssh-key", TITLE, evidence, f"Name another with --ssh-key, or import it:\n{fix}")]


LOOKS = (Look("ssh-key", TITLE, exists),)
