"""What a person is told to do: a link and a command that say the same, whatever the values are made of."""

from __future__ import annotations

import shlex
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.account_by_hand import FILE, by_hand, command, link
from handlers.stacks import TAG, template_digest

STACK, REGION = "tkgbot-cluster-access", "us-east-1"
URL = "https://templates.s3.us-east-1.amazonaws.com/secondary-account.yaml?versionId=a b"
GIVEN = {
    "ManagementAccountId": "111122223333",
    "ControllersPrincipalArn": "arn:aws:iam::111122223333:role/a/b=c,d@e+f",
    "ExternalId": "tkgbot-4f1d",
}
ODD = st.dictionaries(st.sampled_from(sorted(GIVEN)), st.text(st.characters(exclude_categories=("Cs",)), max_size=30))


def asked(found: str) -> dict[str, str]:
    """What a quick-create link hands over."""
    split = urlsplit(found)
    return {key: value[0] for key, value in parse_qs(split.fragment.partition("?")[2], keep_blank_values=True).items()}


def overrides(words: list[str]) -> dict[str, str]:
    """The parameters of a command."""
    pairs = words[words.index("--parameter-overrides") + 1 :]
    return dict(pair.split("=", 1) for pair in pairs)


@pytest.mark.parametrize(
    ("partition", "region", "host"),
    [
        ("aws", "us-east-1", "us-east-1.console.aws.amazon.com"),
        ("aws-us-gov", "us-gov-west-1", "us-gov-west-1.console.amazonaws-us-gov.com"),
        ("aws-cn", "cn-north-1", "cn-north-1.console.amazonaws.cn"),
    ],
)
def test_a_link_opens_the_partitions_own_console(partition: str, region: str, host: str) -> None:
    found = urlsplit(link(STACK, GIVEN, region, partition, URL))
    assert (found.scheme, found.netloc, found.path) == ("https", host, "/cloudformation/home")
    assert parse_qs(found.query) == {"region": [region]}
    assert found.fragment.startswith("/stacks/create/review?")


def test_a_link_holds_every_parameter() -> None:
    found = asked(link(STACK, GIVEN, REGION, "aws", URL))
    assert found == {"templateURL": URL, "stackName": STACK, **{f"param_{key}": value for key, value in GIVEN.items()}}


@given(ODD)
def test_no_value_gets_out_of_its_place_in_a_link(given_: dict[str, str]) -> None:
    found = link(STACK, given_, REGION, "aws", URL)
    assert asked(found) == {"templateURL": URL, "stackName": STACK, **{f"param_{k}": v for k, v in given_.items()}}
    assert found.isascii()
    assert not {" ", '"', "<", ">", "\n", "`"} & set(found)


def test_a_command_makes_the_same_stack() -> None:
    words = shlex.split(command(STACK, GIVEN, REGION))
    assert words[:3] == ["aws", "cloudformation", "deploy"]
    assert words[words.index("--region") + 1] == REGION
    assert words[words.index("--stack-name") + 1] == STACK
    assert words[words.index("--template-file") + 1] == FILE
    assert words[words.index("--capabilities") + 1] == "CAPABILITY_NAMED_IAM"
    assert words[words.index("--tags") + 1] == f"{TAG}={template_digest()}"
    assert overrides(words) == GIVEN


@given(ODD)
def test_no_value_gets_out_of_its_place_in_a_command(given_: dict[str, str]) -> None:
    """A shell takes each pair for one word, whatever is in it."""
    assert overrides(shlex.split(command(STACK, given_, REGION))) == given_


def test_both_ways_are_told_and_empty_parameters_are_left_out() -> None:
    told = by_hand(STACK, {**GIVEN, "PermissionsBoundaryArn": ""}, "222233334444", REGION, "aws", URL)
    assert len(told) == 2
    assert told[0].startswith("Somebody with rights in account 222233334444: open this link there")
    assert told[0].endswith(link(STACK, GIVEN, REGION, "aws", URL))
    assert told[1].startswith("Or on a command line there")
    assert told[1].endswith(command(STACK, GIVEN, REGION))
    assert "PermissionsBoundaryArn" not in "".join(told)


def test_without_the_template_in_s3_there_is_the_command_alone() -> None:
    (told,) = by_hand(STACK, GIVEN, "222233334444", REGION, "aws", None)
    assert told.startswith("Somebody with rights in account 222233334444: on a command line there")
    assert f"`tkgbot template {FILE}`" in told
    assert "http" not in told
