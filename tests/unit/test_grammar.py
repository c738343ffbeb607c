"""Words to arguments: what phones and Slack do to words, every mistake with its exact token, and offers that work."""

from __future__ import annotations

import shlex
from typing import Annotated, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import Field

from bot.fields import explanations, usage
from bot.grammar import LONGEST, ROOT, Command, GrammarError, HelpWanted, normalise, parse, render
from handlers.contract import Arguments, Check, Operation, Plan, Positional, ReadWorld
from handlers.subnet import SubnetTag, TagArguments
from handlers.words import ClusterName, Region
from handlers.workshop import discover

S1, S2, S3 = "subnet-0a1b2c3d", "subnet-0a1b2c3d4e5f60718", "subnet-11111111"
VPC = "vpc-0a1b2c3d4e5f60718"
PROFILE = settings(deadline=None, derandomize=True, max_examples=150, report_multiple_bugs=False)


class ScaleArguments(Arguments):
    cluster: Annotated[ClusterName, Positional()] = Field(description="Which.")
    workers: int = Field(ge=0, le=100, description="How many workers.")
    spare: int = Field(0, description="Spare ones.")
    region: Region | None = Field(None, description="Where.")
    dry_run: bool = Field(False, description="Only look.")


class Scale(Operation[ScaleArguments]):
    """A second operation, with a required flag and numbers."""

    name = "cluster scale"
    summary = "Scale"
    examples = ("cluster scale demo --workers 3",)
    arguments = ScaleArguments

    def plan(self, arguments: ScaleArguments, world: ReadWorld) -> Plan:
        raise NotImplementedError

    def verify(self, arguments: ScaleArguments, plan: Plan, world: ReadWorld) -> list[Check]:
        raise NotImplementedError


OPERATIONS: dict[str, Operation[Any]] = {"cluster scale": Scale(), "subnet tag": SubnetTag()}


def read(text: str, command: str = ROOT) -> Any:
    wanted = parse(command, text, OPERATIONS)
    assert isinstance(wanted, Command), wanted
    return wanted.arguments


def mistake(text: str, command: str = ROOT) -> GrammarError:
    with pytest.raises(GrammarError) as caught:
        parse(command, text, OPERATIONS)
    return caught.value


def tried(text: str, command: str = ROOT) -> GrammarError | None:
    """The mistake in these words, if there is one; nothing else may be raised."""
    try:
        assert isinstance(parse(command, text, OPERATIONS), Command | HelpWanted)
    except GrammarError as error:
        return error
    return None


def assert_offer_works(error: GrammarError) -> None:
    assert error.corrected.startswith(f"{ROOT} ")
    again = parse(ROOT, error.corrected.removeprefix(ROOT), OPERATIONS)
    assert isinstance(again, Command | HelpWanted)


# -- the round trip ----------------------------------------------------------------------------------------------

clusters = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,40}[a-z0-9])?", fullmatch=True)
subnets = st.from_regex(r"subnet-(?:[0-9a-f]{8}|[0-9a-f]{17})", fullmatch=True)
regions = st.none() | st.sampled_from(["us-east-1", "us-gov-west-1", "ap-southeast-2"])
tagging = st.builds(
    TagArguments,
    cluster=clusters,
    subnets=st.lists(subnets, min_size=1, max_size=120).map(tuple),
    vpc=st.none() | st.from_regex(r"vpc-[0-9a-f]{8}", fullmatch=True),
    account=st.none() | st.from_regex(r"[a-z0-9][a-z0-9-]{0,30}", fullmatch=True),
    region=regions,
    role_tag=st.booleans(),
)
scaling = st.builds(
    ScaleArguments, cluster=clusters, workers=st.integers(0, 100), spare=st.integers(-5, 5), region=regions,
    dry_run=st.booleans(),
)  # fmt: skip


@pytest.mark.long
@PROFILE
@given(tagging)
def test_what_is_rendered_is_read_back(arguments: TagArguments) -> None:
    text = render(OPERATIONS["subnet tag"], arguments)
    assert read(text.removeprefix(ROOT)) == arguments
    assert render(OPERATIONS["subnet tag"], arguments.model_dump(mode="json")) == text


@PROFILE
@given(scaling)
@example(ScaleArguments(cluster="demo", workers=0, spare=0))
@example(ScaleArguments(cluster="demo", workers=1, spare=-5))
def test_numbers_are_read_back(arguments: ScaleArguments) -> None:
    text = render(OPERATIONS["cluster scale"], arguments)
    assert read(text.removeprefix(ROOT)) == arguments


# -- as phones and Slack deliver ---------------------------------------------------------------------------------

PLAIN = read(f"subnet tag demo {S1} --vpc {VPC} --role-tag")


@pytest.mark.parametrize(
    "text",
    [
        f"subnet tag demo {S1} —vpc {VPC} —role-tag",
        f"subnet tag demo {S1} –vpc {VPC} –role-tag",
        f"subnet tag demo {S1} ——vpc {VPC} --role–tag".replace("——", "—-"),
        f"subnet tag demo {S1} −vpc {VPC} ―role-tag",
        f"subnet tag “demo” ‘{S1}’ --vpc «{VPC}» --role-tag",
        f"subnet tag „demo“ {S1} --vpc={VPC} --role-tag=true",
        f"subnet\u00a0tag\u2003demo\u202f{S1} --vpc\u3000{VPC} --role-tag",
        f"sub\u200bnet ta\u200dg de\ufeffmo {S1}\u202e --vpc \u2066{VPC}\u2069 --role-tag",
        f"  SUBNET Tag demo {S1}\t--VPC {VPC}\n--Role-Tag  ",
        f"subnet tag demo {S1} VPC={VPC} role_tag=yes",
        f"subnet tag demo --role-tag --vpc {VPC} --subnets {S1}",
        f"subnet tag --cluster demo {S1} vpc={VPC} --role-tag",
        f"subnet tag <https://demo|demo> {S1} --vpc <http://{VPC}|{VPC}> --role-tag",
        f"subnet tag demo {S1.replace('-', '‑')} --vpc {VPC} --role-tag",
    ],
)
def test_what_phones_and_slack_do_is_undone(text: str) -> None:
    assert read(text) == PLAIN


def test_a_shortcut_command_names_the_noun() -> None:
    assert read(f"tag demo {S1}", "/tkg-subnet") == read(f"subnet tag demo {S1}")


def test_lists_by_comma_space_and_repetition() -> None:
    wanted = (S1, S2, S3)
    for text in (f"{S1},{S2},{S3}", f"{S1} {S2},{S3},", f"{S1} --subnets {S2} subnets={S3}", f"{S1}, {S2}, {S3}"):
        assert read(f"subnet tag demo {text}").subnets == wanted


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("<@U0123ABCD|ann>", "U0123ABCD"),
        ("<@U0123ABCD>", "U0123ABCD"),
        ("<#C0123ABCD|general>", "C0123ABCD"),
        ("<https://x.example|x.example>", "x.example"),
        ("<https://x.example/a>", "https://x.example/a"),
        ("<mailto:a@x.example|a@x.example>", "a@x.example"),
        ("a&amp;b &lt;c&gt;", "a&b <c>"),
        ("&amp;lt;", "&lt;"),
        ("a\r\n\tb", "a b"),
        ("demo—x", "demo-x"),
        ("“a” ‘b’", "\"a\" 'b'"),
    ],
)
def test_slack_escapes(typed: str, meant: str) -> None:
    assert normalise(typed) == meant


@pytest.mark.parametrize("text", ["", "help", "--help", "-h", "HELP", "help nothing", "—help"])
def test_help_for_everything(text: str) -> None:
    wanted = parse(ROOT, text, OPERATIONS)
    assert isinstance(wanted, HelpWanted)
    assert wanted.operations == tuple(OPERATIONS.values())


@pytest.mark.parametrize("text", ["help subnet", "help subnet tag", "subnet help", "subnet tag --help", "subnet -h"])
def test_help_for_one(text: str) -> None:
    wanted = parse(ROOT, text, OPERATIONS)
    assert isinstance(wanted, HelpWanted)
    assert [op.name for op in wanted.operations] == ["subnet tag"]


def test_every_argument_is_in_the_help() -> None:
    for operation in OPERATIONS.values():
        told = dict(explanations(operation))
        assert len(told) == len(operation.arguments.model_fields)
        assert all(told.values())
        for name in told:
            assert name in usage(operation, ROOT)
        for text in operation.examples:
            read(text)


# -- mistakes ----------------------------------------------------------------------------------------------------

MISTAKES = [  # words, the token, a part of the reason
    (f"subnets tag demo {S1}", "subnets", "is not something that tkgbot knows"),
    ("volume tag demo", "volume", "is not something that tkgbot knows"),
    (f"subnet tga demo {S1}", "tga", "is not something to do with a subnet"),
    ("subnet", "subnet", "needs a verb"),
    (f"subnet tag demo {S1} --vcp {VPC}", "--vcp", "is not a flag"),
    (f"subnet tag demo {S1} --vcp={VPC}", f"--vcp={VPC}", "is not a flag"),
    (f"subnet tag demo {S1} --as=root", "--as=root", "is not a flag"),
    (f"subnet tag demo {S1} --as=", "--as=", "is not a flag"),
    (f"subnet tag demo {S1} -x", "-x", "is not a flag"),
    (f"subnet tag demo {S1} --", "--", "is not a flag"),
    (f"subnet tag demo {S1} --vpc", "--vpc", "needs a value"),
    (f"subnet tag demo {S1} --vpc --role-tag", "--vpc", "needs a value"),
    (f"subnet tag demo {S1} --role-tag=maybe", "--role-tag=maybe", "takes no value"),
    (f"subnet tag demo {S1} --role-tag --role-tag", "--role-tag", "a second time"),
    (f"subnet tag demo {S1} --vpc {VPC} vpc={VPC}", f"vpc={VPC}", "a second time"),
    (f"subnet tag demo {S1} account=a account=b", "account=b", "a second time"),
    (f"subnet tag demo {S1} --cluster other", "other", "a second time"),
    ("subnet tag", "CLUSTER", "is missing"),
    ("subnet tag demo", "subnet tag", "names neither subnets nor a VPC"),
    (f"subnet tag Demo_1 {S1}", "Demo_1", "is not a cluster name"),
    (f"subnet tag {'a' * 43} {S1}", "a" * 43, "is not a cluster name"),
    (f"subnet tag demo {S1} subnet-xyz", "subnet-xyz", "is not a subnet id"),
    (f"subnet tag demo {S1} --vpc nowhere", "nowhere", "is not a VPC id"),
    (f"subnet tag demo {S1} --account Prod", "Prod", "is not the name of an account"),
    (f"subnet tag demo {S1} --region moon", "moon", "is not an AWS region"),
    ("cluster scale demo", "WORKERS", "is missing"),
    ("cluster scale demo extra --workers 1", "extra", "one word too many"),
    ("cluster scale demo --workers many", "many", "valid integer"),
    ("cluster scale demo --workers 101", "101", "less than or equal to 100"),
    (f'subnet tag "demo {S1}', '"', "does not end"),
    (f"subnet tag demo' {S1}", "'", "does not end"),
    (f"subnet tag “demo {S1}", '"', "does not end"),
    ("subnet tag demo,other " + S1, "demo,other", "is not a cluster name"),
]


@pytest.mark.parametrize(("text", "token", "reason"), MISTAKES)
def test_a_mistake_is_told_with_its_token_and_an_offer_that_works(text: str, token: str, reason: str) -> None:
    error = mistake(text)
    assert (error.token, reason in error.reason) == (token, True), error
    assert_offer_works(error)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        (f"subnet tag demo {S1} --vcp {VPC}", f"--vpc {VPC}"),
        (f"subnet tag demo {S1} --vcp={VPC}", f"--vpc={VPC}"),
        (f"subnet tag demo {S1} --roletag", "--role-tag"),
        (f"subnet tga demo {S1}", "subnet tag demo"),
        (f"subnt tag demo {S1}", "subnet tag demo"),
    ],
)
def test_did_you_mean(text: str, meant: str) -> None:
    assert meant in mistake(text).corrected


@pytest.mark.parametrize(
    ("text", "token"),
    [
        (f"subnet tag demo {S1},subnet-xyz,{S2}", "subnet-xyz"),
        (f"subnet tag demo {S1} --vpc=nowhere", "nowhere"),
        (f"subnet tag demo {S1} vpc=nowhere", "nowhere"),
    ],
)
def test_a_wrong_part_of_a_word_is_told_and_the_rest_is_kept(text: str, token: str) -> None:
    error = mistake(text)
    assert token in error.token
    assert_offer_works(error)
    for kept in [name for name in (S1, S2) if name in text]:
        assert kept in error.corrected


@pytest.mark.parametrize(
    "text",
    [
        "; rm -rf /", "subnet tag demo; reboot", "subnet tag $(id)", "subnet tag `id`", "subnet tag demo\nsubnet tag x",
        "subnet tag !!python/object/apply:os.system [id]", "subnet tag demo --as=root", "subnet tag ../../etc/passwd",
        "subnet tag demo --role-tag=!!bool", "a" * 10_240, "subnet tag demo " + S2 + " " + "x" * 10_240, "-", "--", "=",
        "subnet tag =", "subnet tag demo =x", "subnet tag demo ''", "\\", "subnet tag \\", "'" * 99, "<@U1|", "<https:",
        "&#x110000;", "&#xD800;", "\x00\x01", "subnet tag demo " + "--vpc " * 50, "--=", "help " * 100,
    ],
)  # fmt: skip
def test_hostile_words_are_a_mistake_or_help(text: str) -> None:
    error = tried(text)
    if error is None:
        assert isinstance(parse(ROOT, text, OPERATIONS), HelpWanted)
    else:
        assert 0 < len(error.token) <= LONGEST
        assert error.reason


anything = st.text(max_size=80) | st.lists(
    st.sampled_from([
        "subnet", "tag", "cluster", "scale", "help", "demo", S1, VPC, "--vpc", "--vpc=x", "vpc=", "—vpc", "-", "--",
        "'",
        '"', "“", "\\", ";", "\n", "$(id)", "<@U1|a>", "<https://x|x>", "&lt;", "\u202e", "--role-tag", "=", ",", "Ω",
    ]),
    max_size=12,
).map(" ".join)  # fmt: skip


@PROFILE
@given(st.sampled_from([ROOT, "/tkg-subnet", "/tkg-nothing"]), anything)
def test_words_never_raise_anything_else(command: str, text: str) -> None:
    error = tried(text, command)
    if error is not None:
        assert error.token
        assert error.reason
        assert error.corrected.startswith(ROOT)


POOL = [
    "demo", "Demo!", S1, S2, f"{S1},{S2}", f"{S1},bad", "subnet-bad", "--vpc", VPC, f"--vpc={VPC}", "--vpc=bad",
    f"vpc={VPC}", "vpc=bad", "--vcp", f"--vcp={VPC}", "--role-tag", "--role-tag=maybe", "--nothing", "--account",
    "prod",
    "account=PROD", "--region=us-east-1", "--region", "extra", "it's", '"', "a b",
]  # fmt: skip


@PROFILE
@given(st.lists(st.sampled_from(POOL), max_size=6))
def test_every_offer_can_be_copied_and_works(words: list[str]) -> None:
    error = tried(" ".join(["subnet", "tag", *words]))
    if error is not None:
        assert_offer_works(error)


@PROFILE
@given(st.lists(st.sampled_from(POOL), max_size=6))
def test_the_token_is_one_that_was_typed(words: list[str]) -> None:
    text = " ".join(["subnet", "tag", *words])
    error = tried(text)
    if error is not None and "does not end" in error.reason:
        assert error.token in text
    elif error is not None:
        assert error.token in [*shlex.split(text), "subnet tag", "CLUSTER"]


def test_too_long_is_said_and_not_repeated() -> None:
    error = mistake("subnet tag " + "x" * 10_240)
    assert f"longer than {LONGEST}" in error.reason
    assert len(str(error)) < 200


def test_regions_are_written_in_ascii() -> None:
    assert "is not an AWS region" in mistake(f"subnet tag demo {S1} --region us-east-١").reason


# -- TKG's variables and the words for GPUs ------------------------------------------------------------------------

EVERY = discover()


def real(text: str) -> Any:
    """The arguments of a command of the product's own operations."""
    wanted = parse(ROOT, text, EVERY)
    assert isinstance(wanted, Command), wanted
    return wanted.arguments


def test_the_variables_of_a_flat_file_are_words() -> None:
    flat = (
        f"cluster create CLUSTER_NAME=vision CLUSTER_PLAN=dev AWS_VPC_ID={VPC} NODE_MACHINE_TYPE=g4dn.8xlarge "
        "CONTROL_PLANE_MACHINE_TYPE=m5.large WORKER_MACHINE_COUNT=2 AWS_SSH_KEY_NAME=default AWS_REGION=us-east-1"
    )
    flags = (
        f"cluster create vision --plan dev --vpc {VPC} --worker-type g4dn.8xlarge --control-plane-type m5.large "
        "--workers 2 --ssh-key default --region us-east-1"
    )
    assert real(flat) == real(flags)


@pytest.mark.parametrize(
    ("text", "token", "reason"),
    [
        (f"CLUSTER_PLAN=devel AWS_VPC_ID={VPC}", "CLUSTER_PLAN=devel", "'dev' or 'prod'"),
        (
            f"CLUSTER_PLAN=dev AWS_VPC_ID={VPC} NODE_MACHINE_TYPE=g4dn",
            "NODE_MACHINE_TYPE=g4dn",
            "is not an EC2 instance type",
        ),
        (f"CLUSTER_PLAN=dev AWS_VPC_ID={VPC} --plan prod", "prod", "a second time"),
        (f"CLUSTER_PLAN=dev AWS_VPC_ID={VPC} --gpu g4dn.xlarge:many", "g4dn.xlarge:many", "with GPUs, and how many"),
        (f"CLUSTER_PLAN=dev AWS_VPC_ID={VPC} --gpu-taint", "cluster create", "names none: add --gpu"),
        (
            f"CLUSTER_PLAN=dev AWS_VPC_ID={VPC} --gpu g5.xlarge --gpu-labels kubernetes.io/x=y",
            "kubernetes.io/x=y",
            "labels",
        ),
    ],
)
def test_mistakes_in_these_words_are_told_with_their_token(text: str, token: str, reason: str) -> None:
    with pytest.raises(GrammarError) as error:
        parse(ROOT, f"cluster create vision {text}", EVERY)
    assert (error.value.token, reason in error.value.reason) == (token, True), error.value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("gpu test vision --nodes all", {"nodes": "all"}),
        ("gpu test vision --nodes 2 --timeout 30", {"nodes": "2", "timeout": 30}),
        ("gpu test vision —scale 2 pool=md-gpu", {"scale": 2, "pool": "md-gpu"}),
        ("gpu install vision driver_version=preinstalled", {"driver_version": "preinstalled"}),
        ("gpu install vision --method manifests", {"method": "manifests"}),
        ("cluster scale vision --pool md-gpu --workers 2", {"pool": "md-gpu", "workers": 2}),
        ("cluster scale vision --control-plane 3", {"control_plane": 3, "workers": None}),
    ],
)
def test_the_words_of_gpu_commands(text: str, words: dict[str, Any]) -> None:
    found = real(text)
    assert {name: getattr(found, name) for name in words} == words
    operation = EVERY[" ".join(text.split()[:2])]
    assert real(render(operation, found).removeprefix(ROOT)) == found


@pytest.mark.parametrize(
    ("text", "token"),
    [
        ("gpu test vision --nodes 0", "0"),
        ("gpu test vision --nodes 1 --scale 2", "gpu test"),
        ("gpu install vision --operator-version latest", "latest"),
        ("gpu install vision --driver-version 580", "580"),
        ("gpu instal vision", "instal"),
        ("cluster scale vision --control-plane 2", "cluster scale"),
        ("cluster scale vision", "cluster scale"),
    ],
)
def test_mistakes_in_gpu_commands(text: str, token: str) -> None:
    with pytest.raises(GrammarError) as error:
        parse(ROOT, text, EVERY)
    assert error.value.token == token, error.value
    assert error.value.corrected.startswith(f"{ROOT} ")
