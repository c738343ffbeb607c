"""Is the cluster's name still free in AWS? What two clusters of one name make there, each of them takes for its own.

The provider finds its resources by tag, and the tag holds the name alone: deleting one cluster can delete the load
balancer of another (kubernetes-sigs/cluster-api-provider-aws, docs "troubleshooting", issue 969). Its load balancer for
the API server is called NAME-apiserver.
"""

from __future__ import annotations

from handlers.belongings import PROVIDER_PREFIX, clusters_in, instances, load_balancers
from handlers.contract import AwsRead, Check
from handlers.network import cluster_key
from handlers.preflight.layout import Layout
from handlers.preflight.look import Look, some
from handlers.subnet_checks import blocks, passes

BALANCERS = "Name free among load balancers"
TAGS = "Name free among tags"
SHARED = "shared"
"""The value of the cluster tag on what a cluster uses and does not own: on subnets it is what a person prepares."""


def balancers(layout: Layout, aws: AwsRead) -> list[Check]:
    """Does a load balancer have the name of ours, or the mark of a cluster of this name?"""
    wanted = f"{layout.cluster}-apiserver"
    every = load_balancers(aws)
    taken = [b for b in every if b.name == wanted or layout.cluster in clusters_in(b.tags)]
    if not taken:
        evidence = f"None of {len(every)} in {layout.where.region} is `{wanted}` or tagged for {layout.cluster}."
        return [passes("name-load-balancers", BALANCERS, evidence)]
    evidence = some([f"{balancer.name} ({balancer.kind}) in {balancer.vpc}" for balancer in taken]) + "."
    return [blocks("name-load-balancers", BALANCERS, evidence, _fix(layout))]


def tags(layout: Layout, aws: AwsRead) -> list[Check]:
    """Does anything else in EC2 belong to a cluster of this name?"""
    keys = [cluster_key(layout.cluster), f"{PROVIDER_PREFIX}{layout.cluster}"]
    running = [instance.id for instance in instances(aws, layout.cluster)]
    owned = [
        f"{raw['ResourceId']} ({raw['ResourceType']})"
        for raw in aws.pages("ec2", "describe_tags", "Tags", Filters=[{"Name": "key", "Values": keys}])
        # an instance keeps its tags for a while after its end: the running ones are asked for above
        if raw["ResourceType"] != "instance" and raw.get("Value") != SHARED
    ]
    taken = [f"{name} (instance)" for name in running] + sorted(set(owned))
    if not taken:
        evidence = f"Nothing in {layout.where.region} belongs to a cluster {layout.cluster}."
        return [passes("name-tags", TAGS, evidence)]
    return [blocks("name-tags", TAGS, f"Tagged for {layout.cluster}: {some(taken)}.", _fix(layout))]


def _fix(layout: Layout) -> str:
    account = layout.where.account
    return f"A cluster {layout.cluster} lives or lived in account `{account}`: use another name, or clean up first."


LOOKS = (Look("name-load-balancers", BALANCERS, balancers, own=True), Look("name-tags", TAGS, tags, own=True))
