"""Which instance types have NVIDIA GPUs, and how many; what a driver for them is; what they cost."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from handlers.gpu.releases import RELEASES, VOLTA_BRANCH, VOLTA_DRIVER, branch
from handlers.preflight.gpu_table import (
    OPEN_MODULE_ONLY,
    VOLTA,
    GpuType,
    family_of,
    from_table,
    is_gpu_family,
    other_accelerator,
)
from handlers.preflight.prices import VIRGINIA, per_hour
from handlers.preflight.quotas import bucket
from handlers.words import GpuMachines, InstanceType


@pytest.mark.parametrize(
    ("kind", "gpus", "model"),
    [
        ("g4dn.xlarge", 1, "T4"),
        ("g4dn.12xlarge", 4, "T4"),
        ("g4dn.16xlarge", 1, "T4"),
        ("g4dn.metal", 8, "T4"),
        ("g5.12xlarge", 4, "A10G"),
        ("g5.16xlarge", 1, "A10G"),
        ("g5.24xlarge", 4, "A10G"),
        ("g5.48xlarge", 8, "A10G"),
        ("g6.16xlarge", 1, "L4"),
        ("gr6.8xlarge", 1, "L4"),
        ("g6e.16xlarge", 1, "L40S"),
        ("g7e.12xlarge", 2, "RTX PRO 6000"),
        ("p3.2xlarge", 1, "V100"),
        ("p3.16xlarge", 8, "V100"),
        ("p4d.24xlarge", 8, "A100"),
        ("p5.4xlarge", 1, "H100"),
        ("p5en.48xlarge", 8, "H200"),
        ("p6-b200.48xlarge", 8, "B200"),
    ],
)
def test_how_many_a_type_has(kind: str, gpus: int, model: str) -> None:
    found = from_table(kind)
    assert found is not None
    assert (found.gpus, found.model, found.arm) == (gpus, model, False)
    assert is_gpu_family(kind)
    assert other_accelerator(kind) == ""


def test_the_arm_one_says_so() -> None:
    assert from_table("g5g.16xlarge") == GpuType(2, "T4G", 16384, arm=True)


@pytest.mark.parametrize(
    "kind",
    [
        "m5.large",
        "g5.metal",
        "g4dn.3xlarge",
        "g6f.xlarge",
        "inf2.xlarge",
        "g4ad.xlarge",
        "",
        "g5",
        ".xlarge",
        "G5.LARGE",
    ],
)
def test_what_the_table_does_not_have(kind: str) -> None:
    assert from_table(kind) is None


def test_what_the_name_says() -> None:
    assert [kind for kind in ("g6f.xlarge", "gr6f.4xlarge", "g5.nano") if not is_gpu_family(kind)] == []
    assert [kind for kind in ("g4ad.xlarge", "trn1.2xlarge", "m5.large", "g3.4xlarge") if is_gpu_family(kind)] == []


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        ("g4ad.4xlarge", "AMD"),
        ("inf2.xlarge", "Inferentia"),
        ("trn1.2xlarge", "Trainium"),
        ("trn2.48xlarge", "Trainium"),
        ("dl1.24xlarge", "Gaudi"),
        ("vt1.3xlarge", "video"),
        ("f1.2xlarge", "FPGA"),
        ("m5.large", ""),
        ("fancy1.large", ""),
    ],
)
def test_what_others_have_instead(kind: str, word: str) -> None:
    said = other_accelerator(kind)
    assert (word in said, bool(said)) == (True, bool(word))


def test_families_are_read_from_names() -> None:
    assert family_of("p6-b200.48xlarge") == ("p6-b200", "48xlarge")
    assert family_of("no type") == ("", "")


@pytest.mark.parametrize(
    ("kind", "code"),
    [("g4dn.xlarge", "L-DB2E81BA"), ("gr6.4xlarge", "L-DB2E81BA"), ("g7e.2xlarge", "L-DB2E81BA"),
     ("p3.2xlarge", "L-417A185B"), ("p6-b200.48xlarge", "L-417A185B")],
)  # fmt: skip
def test_gpu_types_count_in_buckets_of_their_own(kind: str, code: str) -> None:
    found = bucket(kind)
    assert found is not None
    assert found.code == code


# -- drivers -----------------------------------------------------------------------------------------------------


def test_the_drivers_for_volta_and_for_the_newest() -> None:
    assert branch(VOLTA_DRIVER) == VOLTA_BRANCH == 580
    assert (branch(RELEASES[0].driver) or 0) > VOLTA_BRANCH, "the default driver no longer knows V100"
    known = {found.model for kind in ("p3.2xlarge", "p3dn.24xlarge") for found in [from_table(kind)] if found}
    assert known == set(VOLTA)
    assert "T4" not in OPEN_MODULE_ONLY
    assert {"B200", "H200", "RTX PRO 4500"} <= set(OPEN_MODULE_ONLY)


# -- prices ------------------------------------------------------------------------------------------------------


def test_what_machines_cost_more_or_less() -> None:
    assert per_hour({"md-gpu": ("g4dn.xlarge", 2)}, "us-east-1") == pytest.approx(1.052)
    assert per_hour({"md-gpu": ("g4dn.xlarge", -1), "md-0": ("m5.large", 1)}, "us-east-1") == pytest.approx(-0.43)
    assert per_hour({"md-gpu": ("nobody.knows", 0)}, "us-east-1") == 0


@pytest.mark.parametrize(("kind", "region"), [("p6-b200.48xlarge", "us-east-1"), ("g4dn.xlarge", "eu-west-1")])
def test_what_is_not_in_the_price_list_has_no_price(kind: str, region: str) -> None:
    assert per_hour({"md-gpu": (kind, 1)}, region) is None


def test_larger_sizes_of_one_gpu_cost_more() -> None:
    for family in ("g4dn", "g5", "g6", "g6e"):
        sizes = [VIRGINIA.per_hour_usd[f"{family}.{size}xlarge"] for size in ("", "2", "4", "8", "16")]
        assert sizes == sorted(sizes)


# -- the words ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["g4dn.xlarge", "g4dn.8xlarge:2", "p6-b200.48xlarge:100", "g4dn.metal"])
def test_words_for_a_gpu_pool(word: str) -> None:
    assert TypeAdapter(GpuMachines).validate_python(word) == word


@pytest.mark.parametrize(
    "word", ["g4dn", "g4dn.xlarge:", "g4dn.xlarge:-1", "g4dn.xlarge:1000", "--gpu", "g4dn.xlarge;ls", "../g5.xlarge"]
)
def test_words_that_are_no_gpu_pool(word: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(GpuMachines).validate_python(word)
    assert TypeAdapter(InstanceType).validate_python("g5.48xlarge") == "g5.48xlarge"
