"""`aws` and `kubectl`, as people have them, against the sandbox as a process: with what it wrote into its folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.server import refuse
from tests.world import MANAGEMENT, World, running_world

SECONDS = 60


@pytest.fixture(scope="module")
def sandbox() -> Iterator[World]:
    with running_world() as world:
        yield world


def program(name: str) -> str:
    """Where a program is: among the servers' own ones, else on the PATH."""
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    own = Path(assets) / name if assets else None
    found = str(own) if own and own.exists() else shutil.which(name)
    if found is None:
        refuse(f"there is no `{name}` here")
    assert found is not None
    return found


def run(sandbox: World, *words: str, fails: bool = False) -> str:
    """A program with the environment that the sandbox wrote, and nothing of the machine's own settings."""
    written = dict(line.split("=", 1) for line in (sandbox.folder / "env").read_text().splitlines())
    plain = {"PATH": os.environ["PATH"], "HOME": str(sandbox.folder), "AWS_PAGER": ""}
    done = subprocess.run(
        [program(words[0]), *words[1:]], env={**plain, **written}, capture_output=True, text=True, timeout=SECONDS
    )
    assert (done.returncode != 0) == fails, done.stderr
    return done.stderr if fails else done.stdout


def aws(sandbox: World, *words: str) -> Any:
    return json.loads(run(sandbox, "aws", *words, "--output", "json"))


def test_aws_shows_the_demo_network_of_the_sandbox(sandbox: World) -> None:
    assert aws(sandbox, "sts", "get-caller-identity")["Account"] == MANAGEMENT
    vpc = sandbox.vpcs["demo"]["id"]
    found = aws(sandbox, "ec2", "describe-subnets", "--filters", f"Name=vpc-id,Values={vpc}")
    assert {subnet["SubnetId"] for subnet in found["Subnets"]} == set(sandbox.vpcs["demo"]["subnets"].values())


def test_aws_tags_and_is_refused_as_it_would_be_in_the_sandbox(sandbox: World) -> None:
    subnet = sandbox.public(1)[0]
    run(sandbox, "aws", "ec2", "create-tags", "--resources", subnet, "--tags", "Key=by-hand,Value=1")
    assert sandbox.view.tags()[subnet]["by-hand"] == "1"
    said = run(sandbox, "aws", "ec2", "create-vpc", "--cidr-block", "10.9.0.0/16", fails=True)
    assert "UnauthorizedOperation" in said


def test_kubectl_has_the_bots_rights_in_the_sandbox(sandbox: World) -> None:
    assert "platform" in run(sandbox, "kubectl", "get", "namespaces", "-o", "name")
    assert run(sandbox, "kubectl", "get", "clusters", "-A", "-o", "name") == ""
    assert run(sandbox, "kubectl", "auth", "can-i", "create", "clusters.cluster.x-k8s.io").strip() == "yes"
    said = run(sandbox, "kubectl", "create", "namespace", "mine", fails=True)
    assert "forbidden" in said.lower()


def test_kubectl_of_an_administrator_in_the_sandbox(sandbox: World) -> None:
    admin = str(sandbox.folder / "kubeconfig.admin")
    run(sandbox, "kubectl", "--kubeconfig", admin, "create", "namespace", "theirs")
    assert "theirs" in run(sandbox, "kubectl", "--kubeconfig", admin, "get", "namespace", "theirs")
