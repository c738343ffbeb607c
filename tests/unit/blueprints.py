"""Clusters to be rendered, without AWS: subnets, pools and settings as a plan would find them."""

from __future__ import annotations

from typing import Any

from handlers.cluster_rendering import Blueprint, render
from handlers.contract import Json, Kind
from handlers.kinds import (
    AWS_CLUSTER,
    AWS_MACHINE_TEMPLATE,
    CLUSTER,
    CONTROL_PLANE,
    KUBEADM_TEMPLATE,
    MACHINE_DEPLOYMENT,
    MACHINE_HEALTH_CHECK,
)
from handlers.network import Route, Subnet
from handlers.preflight import Layout, Pool
from handlers.subnet_scope import Where

WRITTEN = (
    CLUSTER, AWS_CLUSTER, CONTROL_PLANE, AWS_MACHINE_TEMPLATE, KUBEADM_TEMPLATE, MACHINE_DEPLOYMENT,
    MACHINE_HEALTH_CHECK,
)  # fmt: skip
CURRENT: dict[Kind, str] = dict.fromkeys(WRITTEN, "v1beta2")
LEGACY: dict[Kind, str] = dict.fromkeys(WRITTEN, "v1beta1")
MIXED: dict[Kind, str] = {**LEGACY, AWS_CLUSTER: "v1beta2", AWS_MACHINE_TEMPLATE: "v1beta2"}
"""The AWS provider of its second major version with a Cluster API from before v1beta2."""
GENERATIONS = {"current": CURRENT, "legacy": LEGACY, "mixed": MIXED}


def subnet(name: str, route: Route = "private", zone: str = "a") -> Subnet:
    """One subnet."""
    zone = f"us-east-1{zone}"
    return Subnet(id=f"subnet-{name}", vpc="vpc-1", zone=zone, arn=f"arn:{name}", tags={}, route=route, table="rtb-1")


def layout(**changes: Any) -> Layout:
    """A dev cluster with one worker."""
    fields: dict[str, Any] = {
        "cluster": "demo",
        "where": Where("management", "us-east-1", "aws", "111122223333"),
        "vpc": "vpc-1",
        "public": (subnet("public-a", "public"),),
        "private": (subnet("private-a"),),
        "pools": (
            Pool("control-plane", 1, 1, "t3.large", None),
            Pool("md-0", 1, 1, "m5.large", "us-east-1a"),
        ),
        "production": False,
        "ssh_key": "ops",
        "kubernetes_version": "v1.33.1",
        "ami_owner": "819546954734",
        "ami_base_os": "ubuntu-24.04",
        "ami_id": None,
        "instance_profiles": ("control-plane.x", "nodes.x"),
    }
    return Layout(**{**fields, **changes})


def prod(**changes: Any) -> Layout:
    """A prod cluster with five workers in three zones."""
    pools = (
        Pool("control-plane", 3, 1, "t3.large", None),
        *(Pool(f"md-{n}", count, 1, "m5.large", f"us-east-1{'abc'[n]}") for n, count in enumerate((2, 2, 1))),
    )
    subnets = {
        "public": tuple(subnet(f"public-{zone}", "public", zone) for zone in "abc"),
        "private": tuple(subnet(f"private-{zone}", "private", zone) for zone in "abc"),
    }
    return layout(**{"pools": pools, "production": True, **subnets, **changes})


def blueprint(made: Layout | None = None, **changes: Any) -> Blueprint:
    """A blueprint in the namespace `default`."""
    fields: dict[str, Any] = {"namespace": "default", "plan": "dev", "labels": {"cni": "calico"}}
    return Blueprint(made or layout(), **{**fields, **changes})


def rendered(made: Layout | None = None, versions: dict[Kind, str] | None = None, **changes: Any) -> tuple[Json, ...]:
    """Its objects."""
    return render(blueprint(made, **changes), versions or CURRENT)


def by_name(items: tuple[Json, ...]) -> dict[str, Any]:
    """Objects by `KIND NAME`."""
    found: dict[str, Any] = {}
    for item in items:
        meta: Any = item["metadata"]
        found[f"{item['kind']} {meta['name']}"] = item
    assert len(found) == len(items), "two objects have one name"
    return found
