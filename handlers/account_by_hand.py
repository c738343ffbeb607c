"""What a person with rights in an account does where the bot has none: a link for the console, and one command.

(AWS CloudFormation User Guide: "Quick-create links for stacks"; the template has to be in S3.)
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from urllib.parse import quote

from handlers.stacks import TAG, template_digest

CONSOLES = {
    "aws": "console.aws.amazon.com",
    "aws-us-gov": "console.amazonaws-us-gov.com",
    "aws-cn": "console.amazonaws.cn",
}
FILE = "secondary-account.yaml"


def by_hand(
    stack: str, parameters: Mapping[str, str], account_id: str, region: str, partition: str, template_url: str | None
) -> tuple[str, ...]:
    """Sentences for the thread: the link where the template is in S3, and the command for everybody."""
    given = {key: value for key, value in parameters.items() if value}
    told = []
    if template_url is not None:
        told.append(
            f"Somebody with rights in account {account_id}: open this link there, tick the acknowledgement, and choose "
            f"“Create stack”: {link(stack, given, region, partition, template_url)}"
        )
    told.append(
        f"{'Or on' if told else f'Somebody with rights in account {account_id}: on'} a command line there, with the "
        f"template that `tkgbot template {FILE}` prints: {command(stack, given, region)}"
    )
    return tuple(told)


def link(stack: str, parameters: Mapping[str, str], region: str, partition: str, template_url: str) -> str:
    """A quick-create link, with every parameter filled in."""
    words = [f"templateURL={quote(template_url, safe='')}", f"stackName={quote(stack, safe='')}"]
    words += [f"param_{key}={quote(value, safe='')}" for key, value in sorted(parameters.items())]
    host = CONSOLES.get(partition, CONSOLES["aws"])
    return f"https://{region}.{host}/cloudformation/home?region={region}#/stacks/create/review?{'&'.join(words)}"


def command(stack: str, parameters: Mapping[str, str], region: str) -> str:
    """`aws cloudformation deploy`, which makes a stack or updates one."""
    pairs = [f"{key}={value}" for key, value in sorted(parameters.items())]
    return shlex.join(
        [
            "aws", "cloudformation", "deploy", "--region", region, "--stack-name", stack, "--template-file", FILE,
            "--capabilities", "CAPABILITY_NAMED_IAM", "--tags", f"{TAG}={template_digest()}",
            "--parameter-overrides", *pairs,
        ]
    )  # fmt: skip
