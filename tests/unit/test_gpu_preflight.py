"""The preflight of GPU pools: what EC2 or the table says of them, quota, zones, disk, driver."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from handlers.cluster_shape import CreateArguments, layout_of
from handlers.contract import Check
from handlers.preflight import machines_per_hour
from handlers.preflight.gpu_table import TABLE_AS_OF
from handlers.preflight.gpus import real
from handlers.settings import ClusterSettings
from tests.unit.clouds import REGION, Cloud
from tests.unit.preflights import WHERE, Eyes, layout, pool, seen

pytestmark = pytest.mark.long

REFUSED = {"ec2:DescribeInstanceTypes"}


def with_gpus(kind: str, count: int = 1, **more: Any) -> tuple[Any, ...]:
    """A control plane machine, an ordinary worker and a pool that is there for its GPUs."""
    gpus = replace(pool("md-gpu", f"{REGION}a", count=count, type=kind), gpu=True, **{"disk": 100, **more})
    return pool("control-plane", type="t3.large"), pool("md-0", f"{REGION}a"), gpus


def checks(cloud: Cloud, kind: str, eyes: Eyes | None = None, **more: Any) -> dict[str, Check]:
    return seen(cloud, eyes, pools=with_gpus(kind, **more))


def told(check: Check) -> tuple[str, str]:
    return check.result, check.evidence


# -- is it one ---------------------------------------------------------------------------------------------------


def test_a_cluster_without_gpus_is_asked_nothing_about_them(cloud: Cloud) -> None:
    assert not [name for name in seen(cloud) if name.startswith("gpu")]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("g4dn.xlarge", "g4dn.xlarge: 1 × T4, 16 GiB."),
        ("g5.16xlarge", "g5.16xlarge: 1 × A10G, 22 GiB."),
        ("g5.12xlarge", "g5.12xlarge: 4 × A10G, 22 GiB."),
        ("p4d.24xlarge", "p4d.24xlarge: 8 × A100, 40 GiB."),
    ],
)
def test_what_ec2_says(cloud: Cloud, kind: str, said: str) -> None:
    assert told(checks(cloud, kind)["gpu"]) == ("pass", said)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("inf2.xlarge", "inf2.xlarge has AWS Inferentia (Neuron): not NVIDIA's"),
        ("trn1.2xlarge", "trn1.2xlarge has AWS Trainium (Neuron): not NVIDIA's"),
        ("g5g.xlarge", "g5g.xlarge has an Arm CPU (arm64): the images of driver and test are for x86-64."),
    ],
)
def test_what_is_none_is_explained(cloud: Cloud, kind: str, said: str) -> None:
    for eyes in (Eyes(cloud), Eyes(cloud, denied=REFUSED)):
        (check,) = real(layout(cloud, pools=with_gpus(kind)), eyes)
        assert check.result == "block"
        assert check.evidence.startswith(said)
        assert "g4dn.xlarge" in check.fix


def test_other_makers_gpus_and_none_at_all(cloud: Cloud) -> None:
    def amd(answer: Any) -> Any:
        return {"InstanceTypes": [raw("g4ad.xlarge", 1, "AMD"), *answer["InstanceTypes"]]}

    (check,) = real(
        layout(cloud, pools=with_gpus("g4ad.xlarge")), Eyes(cloud, answers={"describe_instance_types": amd})
    )
    assert told(check)[0] == "block"
    assert check.evidence.startswith("g4ad.xlarge has AMD Radeon GPUs: not NVIDIA's, so no `nvidia.com/gpu`")
    assert told(checks(cloud, "m5.xlarge")["gpu"]) == ("block", "m5.xlarge has no GPU.")


def raw(kind: str, count: int, maker: str = "NVIDIA") -> Any:
    """A type as EC2 describes it."""
    cards = [{"Name": "L4", "Manufacturer": maker, "Count": count, "MemoryInfo": {"SizeInMiB": 2861}}]
    return {
        "InstanceType": kind, "VCpuInfo": {"DefaultVCpus": 4}, "MemoryInfo": {"SizeInMiB": 16384},
        "ProcessorInfo": {"SupportedArchitectures": ["x86_64"]}, "GpuInfo": {"Gpus": cards},
    }  # fmt: skip


def test_slices_of_a_gpu_are_refused(cloud: Cloud) -> None:
    """EC2 says of them that they have 0 GPUs of NVIDIA's."""
    live = Eyes(cloud, answers={"describe_instance_types": lambda _: {"InstanceTypes": [raw("g6f.xlarge", 0)]}})
    for eyes in (live, Eyes(cloud, denied=REFUSED)):
        (check,) = real(layout(cloud, pools=with_gpus("g6f.xlarge")), eyes)
        assert check.result == "block"
        assert check.evidence.startswith("g6f.xlarge has slices of a GPU, which need NVIDIA's vGPU drivers")


def test_a_type_that_does_not_exist_is_told_once(cloud: Cloud) -> None:
    found = checks(cloud, "g4dn.32xlarge")
    assert told(found["instance-type"]) == ("block", "g4dn.32xlarge is not in us-east-1.")
    assert "gpu" not in found


def test_where_ec2_refuses_a_dated_table_is_used(cloud: Cloud) -> None:
    check = checks(cloud, "g5.16xlarge", Eyes(cloud, denied=REFUSED))["gpu"]
    assert check.result == "warn"
    assert check.evidence == (
        f"g5.16xlarge: 1 × A10G, 22 GiB. EC2 could not be asked; this is from a table of {TABLE_AS_OF}."
    )
    assert "ec2:DescribeInstanceTypes" in check.fix


@pytest.mark.parametrize("kind", ["g9.xlarge", "m5.large"])
def test_a_type_that_the_table_does_not_know_is_not_told_to_have_none(cloud: Cloud, kind: str) -> None:
    """Newer than the table, perhaps: nobody knows."""
    check = checks(cloud, kind, Eyes(cloud, denied=REFUSED))["gpu"]
    assert check.result == "block"
    assert check.evidence == f"{kind} is not in the table of {TABLE_AS_OF}, and EC2 could not be asked."


def test_workers_of_a_gpu_type_are_looked_at_without_a_pool_of_their_own(cloud: Cloud) -> None:
    pools = (pool("control-plane", type="t3.large"), replace(pool("md-0", f"{REGION}a", type="g5g.xlarge"), disk=100))
    assert seen(cloud, pools=pools)["gpu"].result == "block"


# -- driver, disk, quota, zones ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "result", "said"),
    [
        ("g4dn.xlarge", "pass", "T4: any current driver."),
        ("p3dn.24xlarge", "warn", "V100 is of the Volta generation, which drivers after the branch 580 do not know."),
    ],
)
def test_the_driver(cloud: Cloud, kind: str, result: str, said: str) -> None:
    check = checks(cloud, kind)["gpu-driver"]
    assert told(check) == (result, said)
    assert ("--driver-version 580." in check.fix) is (result == "warn")


def test_the_newest_gpus_need_the_open_module(cloud: Cloud) -> None:
    check = checks(cloud, "p5en.48xlarge")["gpu-driver"]
    assert told(check) == ("pass", "H200 needs the open kernel module, which the operator chooses by itself.")


@pytest.mark.parametrize(("disk", "result"), [(49, "block"), (50, "pass"), (100, "pass")])
def test_the_disk(cloud: Cloud, disk: int, result: str) -> None:
    check = checks(cloud, "g4dn.xlarge", disk=disk)["gpu-disk"]
    assert check.result == result
    assert check.evidence.startswith(f"md-gpu{' has' if result == 'block' else ':'} {disk} GiB")


def test_a_quota_of_zero_is_told_with_its_code(cloud: Cloud) -> None:
    cloud.sandbox.set_faults({"quota": ["L-DB2E81BA=0"]})
    found = checks(cloud, "g4dn.8xlarge", count=2)
    check = found["quota-g-and-vt"]
    assert told(check) == ("block", "Limit 0, used 0, free 0; needed 64, during a roll 96 (L-DB2E81BA).")
    assert "--quota-code L-DB2E81BA --desired-value 96" in check.fix
    assert found["quota-standard"].result == "pass"


def test_a_quota_without_room_for_a_roll_is_a_warning(cloud: Cloud) -> None:
    cloud.sandbox.set_faults({"quota": ["L-DB2E81BA=8"]})
    check = checks(cloud, "g4dn.xlarge", count=2)["quota-g-and-vt"]
    assert check.result == "warn"
    assert check.fix.startswith("The cluster fits, but upgrades will stall. Ask for 12:")


def test_the_gpu_pool_comes_into_a_zone_that_has_the_type(cloud: Cloud) -> None:
    def only_b(answer: Any) -> Any:
        kept = [raw for raw in answer["InstanceTypeOfferings"] if raw["Location"].endswith("b")]
        return {**answer, "InstanceTypeOfferings": kept}

    arguments = CreateArguments(
        cluster="vision", plan="prod", vpc=cloud.vpc(), gpu="g4dn.xlarge:2", gpu_taint=True, gpu_labels="team=a,x/y=z"
    )
    eyes = Eyes(cloud, answers={"describe_instance_type_offerings": only_b})
    made = layout_of(arguments, WHERE, ClusterSettings(kubernetes_version="v1.33.1"), eyes, gpu_disk=120)
    gpus = made.pools[-1]
    assert (gpus.name, gpus.count, gpus.type, gpus.zone) == ("md-gpu", 2, "g4dn.xlarge", f"{REGION}b")
    assert (gpus.disk, gpus.gpu, gpus.taint, gpus.labels) == (120, True, True, (("team", "a"), ("x/y", "z")))
    assert [one.gpu for one in made.pools[:-1]] == [False] * 4
    assert machines_per_hour(made) == pytest.approx(3 * 0.0832 + 3 * 0.096 + 2 * 0.526)


def test_a_type_that_is_not_in_the_pools_zone(cloud: Cloud) -> None:
    def nowhere(answer: Any) -> Any:
        kept = [raw for raw in answer["InstanceTypeOfferings"] if not raw["InstanceType"].startswith("g4dn")]
        return {**answer, "InstanceTypeOfferings": kept}

    eyes = Eyes(cloud, answers={"describe_instance_type_offerings": nowhere})
    assert told(checks(cloud, "g4dn.xlarge", eyes)["offered"]) == (
        "block", "g4dn.xlarge is offered in no zone of us-east-1.",
    )  # fmt: skip
