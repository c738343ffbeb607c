"""Imports what every process of the tests needs, once, in the server that they are forked off (tests/processes.py)."""

from __future__ import annotations

import gc

from moto.backends import get_backend

import bot.app
import bot.config
import bot.engine
import sandbox.main
import tests.durability.life
from tests.models import read_all, share

__all__ = ["bot", "sandbox", "tests"]

share()
read_all()
for service in ("ec2", "iam", "sts", "cloudformation", "elbv2", "elb", "servicequotas", "ssm", "s3", "pricing"):
    get_backend(service)

gc.collect()
gc.freeze()  # what is shared with every process is not gone through in each of them
