"""The words of the account operations: every mistake with its exact token, its sentence, and a command that works."""

from __future__ import annotations

from typing import Any

import pytest

from bot.grammar import ROOT, Command, GrammarError, parse, render
from handlers.account_words import CheckArguments, GetArguments, ListArguments, OffboardArguments, OnboardArguments
from handlers.workshop import discover

OPERATIONS = discover()
SHORT = "account onboard 444455556666 --identity team-a"
WHOLE = f"{SHORT} --namespaces default"
FOR_WHOM = (
    "has to say once which namespaces may use the account: --namespaces team-a,team-b, or --selector key=value, or"
)
LONG = "x" * 32
WIDE = "４４４４５５５５６６６６"
DIGITS = "is not an AWS account id (twelve digits), such as 444455556666"
NAME = "is not a name for an account (lower-case letters, digits and dashes, at most 31), such as team-a"


def read(text: str) -> Any:
    found = parse(ROOT, text, OPERATIONS)
    assert isinstance(found, Command)
    return found


@pytest.mark.parametrize(
    ("text", "token", "reason", "corrected"),
    [
        ("account onboard", "ACCOUNT-ID", "is missing", "account onboard 444455556666"),
        ("account onboard 12345 --identity a --namespaces a", "12345", DIGITS, "onboard 444455556666 --identity a"),
        ("account onboard 4444-5555-6666 --identity a --namespaces a", "4444-5555-6666", DIGITS, "444455556666"),
        (f"account onboard {WIDE} --identity a --namespaces a", WIDE, DIGITS, "444455556666"),
        (f"account onboard 444455556666 --identity {LONG} --namespaces a", LONG, NAME, f"--identity {LONG[:31]} "),
        ("account onboard 444455556666 --identity Team_A --namespaces a", "Team_A", NAME, "--identity team-a "),
        ("account onboard 444455556666 --namespaces a", "IDENTITY", "is missing", "--identity"),
        (SHORT, "account onboard", FOR_WHOM, "--selector"),
        (f"{WHOLE} --all-namespaces", "account onboard", FOR_WHOM, "--selector"),
        (f"{WHOLE} --selector a=b", "account onboard", FOR_WHOM, "--selector"),
        (f"{SHORT} --namespaces Team_A", "Team_A", "is not namespaces with commas between them", "--namespaces team,a"),
        (f"{SHORT} --selector team", "team", "is not labels of namespaces", "--selector team=payments"),
        (f"{WHOLE} --duration 7200", "7200", "less than or equal to 3600", "account onboard"),
        (f"{WHOLE} --duration 899", "899", "greater than or equal to 900", "account onboard"),
        (f"{WHOLE} --duration long", "long", "integer", "account onboard"),
        (f"{WHOLE} --trust everybody", "everybody", "'role' or 'root'", "account onboard"),
        (f"{WHOLE} --region moon", "moon", "is not an AWS region, such as us-east-1", "--region us-east-1"),
        (f"{WHOLE} --external-id x", "x", "is not an external id (2 to 1,224 letters", "--external-id auto"),
        (f"{WHOLE} --policy x", "--policy", "is not a flag of `account onboard`", "account onboard 444455556666"),
        (f"{WHOLE} extra", "extra", "is one word too many", "account onboard 444455556666"),
        ("account offboard", "ACCOUNT", "is missing", "account offboard team-a"),
        ("account offboard team-a --stack=maybe", "--stack=maybe", "takes no value, or true", "--stack"),
        ("account offboard team-a --account-id 12", "12", DIGITS, "--account-id 444455556666"),
        ("account offboard 444455556666!", "444455556666!", NAME, "account offboard 444455556666"),
        ("account check", "account check", "has to name an account, or --all", "account check --all"),
        ("account check team-a --all", "account check", "has to name an account, or --all", "account check --all"),
        ("account get", "ACCOUNT", "is missing", "account get team-a"),
        ("account list x", "x", "is one word too many", "account list"),
        ("account oboard 444455556666", "oboard", "is not something to do with an account", "account onboard"),
    ],
)  # fmt: skip
def test_every_mistake_has_its_sentence(text: str, token: str, reason: str, corrected: str) -> None:
    with pytest.raises(GrammarError) as caught:
        parse(ROOT, text, OPERATIONS)
    assert caught.value.token == token
    assert reason in caught.value.reason
    assert corrected in caught.value.corrected
    read(caught.value.corrected.removeprefix(f"{ROOT} ").replace("CLUSTER", "x"))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (WHOLE, OnboardArguments(account_id="444455556666", identity="team-a", namespaces="default")),
        (
            f"{SHORT} --selector team=a,tier= --trust root --duration 3600 --region eu-west-1 --external-id=a.b-c",
            OnboardArguments(
                account_id="444455556666", identity="team-a", selector="team=a,tier=", trust="root", duration=3600,
                region="eu-west-1", external_id="a.b-c",
            ),
        ),
        (
            f"{SHORT} --all-namespaces",
            OnboardArguments(account_id="444455556666", identity="team-a", all_namespaces=True),
        ),
        ("account offboard team-a", OffboardArguments(account="team-a")),
        ("account offboard team-a --stack", OffboardArguments(account="team-a", stack=True)),
        ("account check --all", CheckArguments(all=True)),
        ("account check team-a", CheckArguments(account="team-a")),
        ("account get team-a", GetArguments(account="team-a")),
        ("account list", ListArguments()),
    ],
)  # fmt: skip
def test_words_are_what_they_mean_and_are_said_back_alike(text: str, wanted: Any) -> None:
    found = read(text)
    assert found.arguments == wanted
    again = render(found.operation, wanted.model_dump(mode="json")).removeprefix(f"{ROOT} ")
    assert read(again).arguments == wanted


def test_fifty_namespaces_are_enough() -> None:
    fifty = ",".join(f"team-{number}" for number in range(50))
    assert read(f"{SHORT} --namespaces {fifty}").arguments.namespaces == fifty
    with pytest.raises(GrammarError, match="at most 50"):
        read(f"{SHORT} --namespaces {fifty},team-50")


@pytest.mark.parametrize("operation", [name for name in OPERATIONS if name.startswith("account ")])
def test_examples_are_commands_that_work(operation: str) -> None:
    for example in OPERATIONS[operation].examples:
        assert read(example).operation.name == operation
