"""The preflight's look at the machines: types, zones, quotas, key pair, image, instance profiles, cost."""

from __future__ import annotations

from typing import Any

import pytest

from handlers.contract import AwsRefused
from handlers.preflight import machines_per_hour
from handlers.preflight.quotas import bucket
from tests.unit.clouds import REGION, Cloud
from tests.unit.preflights import OWNER, Eyes, layout, pool, seen

pytestmark = pytest.mark.long

ARM = (pool("control-plane", type="m6g.large"), pool("md-0", type="m6g.large"))


def with_workers(kind: str, count: int = 1) -> tuple[Any, ...]:
    """One control plane machine, and workers of a type."""
    return pool("control-plane", type="t3.large"), pool("md-0", f"{REGION}a", count=count, type=kind)


# -- types -------------------------------------------------------------------------------------------------------


def test_a_type_that_does_not_exist(cloud: Cloud) -> None:
    found = seen(cloud, pools=with_workers("m5.enormous"))
    assert (found["instance-type"].result, found["instance-type"].evidence) == (
        "block",
        "m5.enormous is not in us-east-1.",
    )
    assert (found["offered"].result, "in no zone of us-east-1" in found["offered"].evidence) == ("block", True)
    assert found["instance-size"].result == "pass"


def test_a_type_that_no_image_fits(cloud: Cloud) -> None:
    found = seen(cloud, pools=with_workers("mac1.metal"))
    assert (found["instance-type"].result, "neither x86_64 nor arm64" in found["instance-type"].evidence) == (
        "block",
        True,
    )
    assert (found["quota-other"].result, "mac1.metal" in found["quota-other"].evidence) == ("warn", True)


def test_a_control_plane_that_kubeadm_refuses(cloud: Cloud) -> None:
    check = seen(cloud, pools=(pool("control-plane", type="t2.small"), pool("md-0")))["instance-size"]
    assert (check.result, "control-plane: t2.small has 1 vCPU, 2 GiB" in check.evidence) == ("block", True)
    assert "--control-plane-type" in check.fix


@pytest.mark.parametrize("kind", ["t2.small", "t3.medium"])
def test_small_workers_are_a_warning(cloud: Cloud, kind: str) -> None:
    check = seen(cloud, pools=with_workers(kind))["instance-size"]
    assert (check.result, f"md-0: {kind} has" in check.evidence, "control-plane" in check.evidence) == (
        "warn",
        True,
        False,
    )


def test_a_type_that_is_not_offered_in_a_zone(cloud: Cloud) -> None:
    def without_b(answer: Any) -> Any:
        kept = [
            raw
            for raw in answer["InstanceTypeOfferings"]
            if (raw["InstanceType"], raw["Location"][-1]) != ("m5.large", "b")
        ]
        return {**answer, "InstanceTypeOfferings": kept}

    check = seen(cloud, Eyes(cloud, answers={"describe_instance_type_offerings": without_b}))["offered"]
    assert (check.result, check.evidence) == ("block", "m5.large is not offered in us-east-1b.")
    assert "m5.large is in us-east-1a, us-east-1c" in check.fix


# -- quotas ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("m5.large", "L-1216C47A"),
        ("t3.large", "L-1216C47A"),
        ("im4gn.large", "L-1216C47A"),
        ("is4gen.large", "L-1216C47A"),
        ("i4i.large", "L-1216C47A"),
        ("z1d.large", "L-1216C47A"),
        ("g4dn.xlarge", "L-DB2E81BA"),
        ("gr6.4xlarge", "L-DB2E81BA"),
        ("g6f.large", "L-DB2E81BA"),
        ("vt1.3xlarge", "L-DB2E81BA"),
        ("p4d.24xlarge", "L-417A185B"),
        ("f1.2xlarge", "L-74FC7D96"),
        ("x1e.xlarge", "L-7295265B"),
        ("inf2.xlarge", "L-1945791B"),
        ("trn1.2xlarge", "L-2C3B7624"),
        ("dl1.24xlarge", "L-6E869C2A"),
        ("hpc6a.48xlarge", "L-F7808C92"),
        ("u-6tb1.56xlarge", "L-43DA4232"),
        ("u7i-12tb.224xlarge", "L-43DA4232"),
    ],
)
def test_the_bucket_of_a_type(kind: str, code: str) -> None:
    found = bucket(kind)
    assert found is not None
    assert found.code == code


@pytest.mark.parametrize("kind", ["mac1.metal", "5x.large", "", "zebra1.large"])
def test_no_bucket(kind: str) -> None:
    assert bucket(kind) is None


@pytest.mark.parametrize(("limit", "result"), [(20, "pass"), (19, "warn"), (12, "warn"), (11, "block"), (0, "block")])
def test_the_limit(cloud: Cloud, limit: int, result: str) -> None:
    cloud.sandbox.set_faults({"quota": [f"L-1216C47A={limit}"]})  # three t3.large and three m5.large, of 2 vCPUs each
    check = seen(cloud)["quota-standard"]
    assert (check.result, check.evidence) == (
        result,
        f"Limit {limit}, used 0, free {limit}; needed 12, during a roll 20 (L-1216C47A).",
    )
    assert ("--desired-value 20" in check.fix) == (result != "pass")


def test_what_runs_counts_in_its_own_bucket(cloud: Cloud) -> None:
    ec2 = cloud.admin("ec2")
    for kind in ("g4dn.xlarge", "c5.2xlarge"):
        ec2.run_instances(ImageId="ami-12345678", InstanceType=kind, MinCount=1, MaxCount=1, SubnetId=cloud.public()[0])
    found = seen(cloud, pools=with_workers("g4dn.xlarge", 2))
    assert found["quota-standard"].evidence.startswith("Limit 256, used 8, free 248; needed 2, during a roll 4")
    assert found["quota-g-and-vt"].evidence.startswith("Limit 64, used 4, free 60; needed 8, during a roll 12")


@pytest.mark.long
def test_spot_instances_do_not_count(cloud: Cloud) -> None:
    cloud.node(cloud.public()[0], {"team": "other"})

    def spot(answer: Any) -> Any:
        for reservation in answer["Reservations"]:
            for raw in reservation["Instances"]:
                raw["InstanceLifecycle"] = "spot"
        return answer

    assert "used 2," in seen(cloud)["quota-standard"].evidence
    assert "used 0," in seen(cloud, Eyes(cloud, answers={"describe_instances": spot}))["quota-standard"].evidence


def test_a_quota_that_was_never_changed_has_its_default(cloud: Cloud) -> None:
    eyes = Eyes(cloud)
    check = seen(cloud, eyes, pools=with_workers("p4d.24xlarge"))["quota-p"]
    assert (check.result, check.evidence) == (
        "block",
        "Limit 0, used 0, free 0; needed 96, during a roll 192 (L-417A185B).",
    )
    assert "servicequotas:GetAWSDefaultServiceQuota" in eyes.calls


def test_the_default_may_not_be_looked_at(cloud: Cloud) -> None:
    eyes = Eyes(cloud, denied={"servicequotas:GetAWSDefaultServiceQuota"})
    found = seen(cloud, eyes, pools=with_workers("p4d.24xlarge"))
    assert (found["quota-p"].result, found["quota-standard"].result) == ("unknown", "pass")
    assert "denied `servicequotas:GetAWSDefaultServiceQuota`" in found["quota-p"].evidence


# -- key pair ----------------------------------------------------------------------------------------------------


def test_a_key_pair_that_is_not_in_the_region(cloud: Cloud) -> None:
    check = seen(cloud, ssh_key="mine")["ssh-key"]
    assert (check.result, check.evidence) == (
        "block",
        "`mine` is not in us-east-1 of account `management`; there are ops.",
    )
    assert "aws ec2 import-key-pair --region us-east-1 --key-name mine" in check.fix


def test_no_key_is_put_on_the_machines(cloud: Cloud) -> None:
    eyes = Eyes(cloud)
    assert seen(cloud, eyes, ssh_key=None)["ssh-key"].result == "pass"
    assert "ec2:DescribeKeyPairs" not in eyes.calls


# -- image -------------------------------------------------------------------------------------------------------


def test_a_version_without_an_image(cloud: Cloud) -> None:
    check = seen(cloud, kubernetes_version="v1.30.0")["image"]
    assert (check.result, "No image `capa-ami-ubuntu-24.04-?1.30.0-*`" in check.evidence) == ("block", True)
    assert check.evidence.endswith("there are v1.34.1, v1.33.1, v1.32.5, v1.31.9.")


@pytest.mark.long
def test_an_owner_without_any_image(cloud: Cloud) -> None:
    check = seen(cloud, ami_owner="137112412989")["image"]
    assert (check.result, "none of other versions either" in check.evidence) == ("block", True)


@pytest.mark.long
def test_an_image_for_each_architecture(cloud: Cloud) -> None:
    both = (*ARM[:1], pool("md-0"))
    assert seen(cloud, pools=both)["image"].evidence.count("capa-ami-ubuntu-24.04-v1.33.1-") == 2
    check = seen(cloud, pools=both, kubernetes_version="v1.32.5")["image"]
    assert (check.result, f"of owner {OWNER} for arm64" in check.evidence) == ("block", True)


def test_the_newest_image_is_named(cloud: Cloud) -> None:
    def two(answer: Any) -> Any:
        images = [
            {**answer["Images"][0], "ImageId": f"ami-{year}", "CreationDate": f"{year}-01-01T00:00:00.000Z"}
            for year in (2024, 2026, 2025)
        ]
        return {**answer, "Images": images}

    assert "ami-2026" in seen(cloud, Eyes(cloud, answers={"describe_images": two}))["image"].evidence


def test_an_image_by_id(cloud: Cloud) -> None:
    images = cloud.admin("ec2").describe_images(Owners=[OWNER])["Images"]
    arm = next(raw["ImageId"] for raw in images if raw["Architecture"] == "arm64")
    assert seen(cloud, ami_id=arm, pools=ARM)["image"].result == "pass"
    check = seen(cloud, ami_id=arm)["image"]
    assert (check.result, "is for arm64, and the machines are x86_64" in check.evidence) == ("block", True)
    check = seen(cloud, ami_id="ami-00000000")["image"]
    assert (check.result, "not shared with account 111122223333" in check.evidence) == ("block", True)


def test_an_image_that_is_not_ready(cloud: Cloud) -> None:
    def pending(answer: Any) -> Any:
        return {**answer, "Images": [{**raw, "State": "pending"} for raw in answer["Images"]]}

    eyes = Eyes(cloud, answers={"describe_images": pending})
    check = seen(cloud, eyes, ami_id="ami-12345678")["image"]
    assert (check.result, check.evidence) == ("block", "ami-12345678 is pending.")


# -- instance profiles -------------------------------------------------------------------------------------------


def test_an_instance_profile_that_is_missing(cloud: Cloud) -> None:
    check = seen(cloud, instance_profiles=("control-plane.tkg.cloud.vmware.com", "nodes.lost"))["instance-profiles"]
    assert (check.result, check.evidence) == ("block", "`nodes.lost` not in account 111122223333.")


def test_instance_profiles_that_may_not_be_looked_at_do_not_block(cloud: Cloud) -> None:
    check = seen(cloud, Eyes(cloud, denied={"iam:GetInstanceProfile"}))["instance-profiles"]
    assert (check.result, "could not be looked at" in check.evidence) == ("warn", True)


def test_another_refusal_of_iam_is_unknown(cloud: Cloud) -> None:
    def refused(_answer: Any) -> Any:
        raise AwsRefused("ValidationError", "AWS refused `iam:GetInstanceProfile`: ValidationError.")

    check = seen(cloud, Eyes(cloud, answers={"get_instance_profile": refused}))["instance-profiles"]
    assert (check.result, "ValidationError" in check.evidence) == ("unknown", True)


# -- cost --------------------------------------------------------------------------------------------------------


def test_the_cost_of_the_machines(cloud: Cloud) -> None:
    assert machines_per_hour(layout(cloud)) == pytest.approx(3 * 0.0832 + 3 * 0.096)


def test_no_cost_is_told_where_a_price_is_missing(cloud: Cloud) -> None:
    assert machines_per_hour(layout(cloud, pools=with_workers("p4d.24xlarge"))) is None
    whole = layout(cloud)
    elsewhere = layout(cloud, where=type(whole.where)("management", "eu-west-1", "aws", "111122223333"))
    assert machines_per_hour(elsewhere) is None


def test_pools_without_machines_cost_nothing(cloud: Cloud) -> None:
    assert machines_per_hour(layout(cloud, pools=(pool("md-0", count=0, type="unknown.type"),))) == 0.0
