"""From a command's words to a layout: zones, counts, pools, subnets and versions."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from handlers.cluster_shape import CreateArguments, layout_of, named_subnets
from handlers.contract import UsageError
from handlers.preflight import Layout
from handlers.settings import ClusterSettings
from tests.unit.clouds import REGION, Cloud
from tests.unit.preflights import WHERE, Eyes

DEFAULTS = ClusterSettings(kubernetes_version="v1.33.1", ssh_key="ops")
ZONES = [f"{REGION}{zone}" for zone in "abc"]


def words(cloud: Cloud, **changes: Any) -> CreateArguments:
    """The command for a dev cluster in the VPC `demo`."""
    return CreateArguments.model_validate({"cluster": "shop", "plan": "dev", "vpc": cloud.vpc(), **changes})


def shaped(cloud: Cloud, defaults: ClusterSettings = DEFAULTS, **changes: Any) -> Layout:
    return layout_of(words(cloud, **changes), WHERE, defaults, Eyes(cloud))


def ids(*subnets: str) -> str:
    return ",".join(subnets)


# -- zones and subnets -------------------------------------------------------------------------------------------


def test_a_dev_cluster_is_in_one_zone(cloud: Cloud) -> None:
    made = shaped(cloud)
    assert [subnet.id for subnet in made.public] == [cloud.subnet("public-a")]
    assert [subnet.id for subnet in made.private] == [cloud.subnet("private-a")]
    assert [(pool.name, pool.count, pool.type, pool.zone) for pool in made.pools] == [
        ("control-plane", 1, "t3.large", None), ("md-0", 1, "m5.large", ZONES[0]),
    ]  # fmt: skip
    assert not made.production


def test_a_prod_cluster_is_in_three_zones(cloud: Cloud) -> None:
    made = shaped(cloud, plan="prod")
    assert [subnet.zone for subnet in made.public] == ZONES
    assert [subnet.zone for subnet in made.private] == ZONES
    assert [(pool.name, pool.count, pool.zone) for pool in made.pools] == [
        ("control-plane", 3, None), *((f"md-{number}", 1, ZONES[number]) for number in range(3)),
    ]  # fmt: skip
    assert made.production


def test_named_subnets_are_taken_as_they_are_named(cloud: Cloud) -> None:
    public, private = [cloud.subnet("public-b")], [cloud.subnet("private-c"), cloud.subnet("private-b")]
    made = shaped(cloud, public_subnets=ids(*public), private_subnets=ids(*private))
    assert [subnet.id for subnet in made.public] == public
    assert [subnet.id for subnet in made.private] == private
    assert made.pools[1].zone == ZONES[2]


def test_public_subnets_follow_the_private_ones_that_were_named(cloud: Cloud) -> None:
    made = shaped(cloud, private_subnets=cloud.subnet("private-c"))
    assert [subnet.zone for subnet in made.public] == [ZONES[2]]


def test_private_subnets_come_first_where_public_ones_were_named(cloud: Cloud) -> None:
    """A machine whose zone has no public subnet is not reached by the load balancer."""
    made = shaped(cloud, public_subnets=cloud.subnet("public-b"))
    assert [subnet.zone for subnet in made.private] == [ZONES[1]]


def test_a_subnet_that_is_named_twice_is_one(cloud: Cloud) -> None:
    one = cloud.subnet("private-a")
    assert len(shaped(cloud, private_subnets=ids(one, one)).private) == 1
    assert named_subnets(words(cloud, public_subnets=one, private_subnets=ids(one, one))) == (one,)


def test_a_named_subnet_that_is_not_there_is_left_out_for_the_plan_to_say(cloud: Cloud) -> None:
    missing = "subnet-00000000000000000"
    made = shaped(cloud, private_subnets=ids(cloud.subnet("private-a"), missing))
    assert [subnet.id for subnet in made.private] == [cloud.subnet("private-a")]
    assert missing in named_subnets(words(cloud, private_subnets=missing))


def test_subnets_that_are_public_by_the_main_table_or_lost_their_gateway_are_neither(cloud: Cloud) -> None:
    """The VPC `legacy` has no others."""
    vpc, main, lost = cloud.vpc("legacy"), cloud.subnet("main-a", "legacy"), cloud.subnet("blackhole-c", "legacy")
    assert shaped(cloud, plan="prod", vpc=vpc).subnets == ()
    for named in (main, lost):
        assert shaped(cloud, vpc=vpc, private_subnets=named).public == ()
        assert shaped(cloud, vpc=vpc, public_subnets=named).private == ()


def test_named_they_are_taken_all_the_same(cloud: Cloud) -> None:
    main = cloud.subnet("main-a", "legacy")
    made = shaped(cloud, vpc=cloud.vpc("legacy"), public_subnets=main)
    assert [(subnet.id, subnet.route) for subnet in made.public] == [(main, "main")]


def test_a_vpc_without_subnets_gives_none(cloud: Cloud) -> None:
    made = shaped(cloud, vpc="vpc-00000000000000000")
    assert (made.public, made.private) == ((), ())
    assert [pool.zone for pool in made.pools] == [None, None]


def test_in_fewer_zones_than_a_prod_cluster_wants_its_last_pools_are_spread(cloud: Cloud) -> None:
    two = ids(cloud.subnet("private-a"), cloud.subnet("private-b"))
    made = shaped(cloud, plan="prod", private_subnets=two)
    assert [pool.zone for pool in made.pools] == [None, ZONES[0], ZONES[1], None]


# -- counts and types --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plan", "workers", "shares"),
    [
        ("dev", None, [1]), ("dev", 0, [0]), ("dev", 7, [7]), ("dev", 500, [500]),
        ("prod", None, [1, 1, 1]), ("prod", 3, [1, 1, 1]), ("prod", 4, [2, 1, 1]), ("prod", 5, [2, 2, 1]),
        ("prod", 6, [2, 2, 2]), ("prod", 500, [167, 167, 166]),
    ],
)  # fmt: skip
def test_workers_are_divided_and_the_remainder_goes_to_the_first(
    cloud: Cloud, plan: str, workers: int | None, shares: list[int]
) -> None:
    made = shaped(cloud, plan=plan, workers=workers)
    assert [pool.count for pool in made.pools if not pool.is_control_plane] == shares


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_a_prod_cluster_with_fewer_than_three_workers_is_refused(cloud: Cloud, workers: int) -> None:
    with pytest.raises(ValidationError, match="fewer than 3 workers: a prod cluster has one in each of three zones"):
        words(cloud, plan="prod", workers=workers)


@pytest.mark.parametrize("workers", [-1, 501])
def test_an_absurd_number_of_workers_is_refused(cloud: Cloud, workers: int) -> None:
    with pytest.raises(ValidationError):
        words(cloud, workers=workers)


def test_types_are_those_of_the_command_else_of_the_settings(cloud: Cloud) -> None:
    defaults = DEFAULTS.model_copy(update={"control_plane_type": "m6i.large", "worker_type": "m6i.xlarge"})
    assert [pool.type for pool in shaped(cloud, defaults).pools] == ["m6i.large", "m6i.xlarge"]
    made = shaped(cloud, defaults, control_plane_type="t3.xlarge", worker_type="c5.large")
    assert [pool.type for pool in made.pools] == ["t3.xlarge", "c5.large"]


# -- versions, keys, images --------------------------------------------------------------------------------------


def test_without_any_version_the_words_are_not_enough(cloud: Cloud) -> None:
    with pytest.raises(UsageError, match="No Kubernetes version is named") as error:
        shaped(cloud, ClusterSettings())
    assert "--kubernetes-version" in error.value.hint
    assert shaped(cloud, ClusterSettings(), kubernetes_version="v1.32.4").kubernetes_version == "v1.32.4"


def test_the_commands_version_and_key_go_before_those_of_the_settings(cloud: Cloud) -> None:
    made = shaped(cloud, kubernetes_version="v1.32.4", ssh_key="mine")
    assert (made.kubernetes_version, made.ssh_key) == ("v1.32.4", "mine")
    assert (shaped(cloud).kubernetes_version, shaped(cloud).ssh_key) == ("v1.33.1", "ops")
    assert shaped(cloud, DEFAULTS.model_copy(update={"ssh_key": None})).ssh_key is None


def test_profiles_and_images_are_those_of_the_settings(cloud: Cloud) -> None:
    tanzu = DEFAULTS.model_copy(update={"iam_suffix": ".tkg.cloud.vmware.com", "ami_base_os": "flatcar-stable"})
    made = shaped(cloud, tanzu)
    assert made.instance_profiles == ("control-plane.tkg.cloud.vmware.com", "nodes.tkg.cloud.vmware.com")
    assert (made.ami_owner, made.ami_base_os, made.ami_id) == ("819546954734", "flatcar-stable", None)
