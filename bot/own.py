"""What can be asked of the bot itself, in words: about requests, about rights, and to take a run back.

These need no rule of the policy, only a full member of the workspace; an undo is asked for under the rules of what it
asks for. Grammar, help and forms treat them as they treat operations.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from handlers.contract import Arguments, Positional, Spoken, word

RequestId = Annotated[
    str, *word(r"r-[0-9a-f]{6,12}", "a request's id", "r-7f3a2c", lambda wrong: wrong.lower().strip("`"))
]
DigestName = Annotated[str, *word(r"[a-z0-9][a-z0-9-]{0,30}", "a digest's name", "morning")]
LABEL = r"([A-Za-z0-9.-]{1,253}/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?=[A-Za-z0-9_.-]{0,63}"
NAME = "[a-z0-9][a-z0-9-]{0,62}"
Names = Annotated[str, *word(f"{NAME}(,{NAME}){{0,49}}", "names with commas between", "team-a,team-b")]
Labels = Annotated[
    str, *word(f"{LABEL}(,{LABEL}){{0,19}}", "labels with commas between", "team=shop", lambda wrong: wrong.strip(","))
]
Which = Literal["here", "mine", "waiting", "running"]


class WhichRequests(Arguments):
    """Which requests to list."""

    which: Annotated[Which, Positional()] = Field(
        "here", description="mine, waiting (for your approval), running, or here: the newest of this channel."
    )


class OneRequest(Arguments):
    """Which request."""

    request: Annotated[RequestId, Positional()] = Field(description="The request's id, as its card shows it.")


class AnyWords(Arguments):
    """A command, as it would be typed."""

    words: Annotated[tuple[str, ...], Positional(rest=True)] = Field(
        (), max_length=400, description="A command without /tkg; nothing for everything that you may do here."
    )


class DigestWords(Arguments):
    """Something about digests. Who may see the status here may have it sent here."""


class AddDigest(DigestWords):
    """What to send, and when. It comes to the channel in which it is asked for."""

    digest: Annotated[DigestName, Positional()] = Field(description="A name for it, such as morning.")
    when: Annotated[str, Positional()] = Field(
        max_length=100,
        description='When: "weekdays 09:00", "mon,thu 08:30", hourly, "monthly 09:00", or cron such as "0 9 * * 1-5".',
    )
    zone: str = Field("UTC", max_length=60, description="The time zone, such as Europe/Berlin.")
    accounts: Names | None = Field(None, description="Only clusters in these accounts: a,b.")
    namespaces: Names | None = Field(None, description="Only clusters in these namespaces: a,b.")
    labels: Labels | None = Field(None, description="Only clusters with all of these labels: KEY=VALUE,….")


class WhichDigest(DigestWords):
    """Which digest."""

    digest: Annotated[DigestName, Positional()] = Field(description="Its name, as `digest list` shows it.")


class EveryDigest(DigestWords):
    """All of this channel."""


class ListRequests(Spoken[WhichRequests]):
    """`/tkg requests`."""

    name = "requests"
    summary = "List requests: of this channel, mine, waiting for me, or running"
    examples = ("requests", "requests mine", "requests waiting", "requests running")
    arguments = WhichRequests
    changes = False


class ShowRequest(Spoken[OneRequest]):
    """`/tkg request`."""

    name = "request"
    summary = "Show one request: where it stands, who voted, what was done"
    examples = ("request r-7f3a2c",)
    arguments = OneRequest
    changes = False


class WhyRequest(Spoken[OneRequest]):
    """`/tkg why`."""

    name = "why"
    summary = "Say why a request stands where it stands, and who can move it"
    examples = ("why r-7f3a2c",)
    arguments = OneRequest
    changes = False


class CanI(Spoken[AnyWords]):
    """`/tkg can-i`."""

    name = "can-i"
    summary = "Say what you may do here, and who would have to approve it"
    examples = ("can-i", "can-i subnet tag demo --vpc vpc-0a1b2c3d4e5f60718")
    arguments = AnyWords
    changes = False


class Undo(Spoken[OneRequest]):
    """`/tkg undo`."""

    name = "undo"
    summary = "Ask for what takes back what a finished run changed"
    examples = ("undo r-7f3a2c",)
    arguments = OneRequest
    changes = True


class DigestAdd(Spoken[AddDigest]):
    """`/tkg digest add`."""

    name = "digest add"
    summary = "Have a status digest sent to this channel at set times"
    examples = ('digest add morning "weekdays 09:00" --zone Europe/Berlin', 'digest add nights "0 22 * * *"')
    arguments = AddDigest
    changes = False


class DigestList(Spoken[EveryDigest]):
    """`/tkg digest list`."""

    name = "digest list"
    summary = "List the digests of this channel, and when each comes next"
    examples = ("digest list",)
    arguments = EveryDigest
    changes = False


class DigestRemove(Spoken[WhichDigest]):
    """`/tkg digest remove`."""

    name = "digest remove"
    summary = "Have a digest sent no more"
    examples = ("digest remove morning",)
    arguments = WhichDigest
    changes = False


class DigestPause(Spoken[WhichDigest]):
    """`/tkg digest pause`."""

    name = "digest pause"
    summary = "Have a digest not sent until it is resumed"
    examples = ("digest pause morning",)
    arguments = WhichDigest
    changes = False


class DigestResume(Spoken[WhichDigest]):
    """`/tkg digest resume`."""

    name = "digest resume"
    summary = "Have a paused or snoozed digest sent again"
    examples = ("digest resume morning",)
    arguments = WhichDigest
    changes = False


class DigestNow(Spoken[WhichDigest]):
    """`/tkg digest now`."""

    name = "digest now"
    summary = "Have a digest sent once, at once"
    examples = ("digest now morning",)
    arguments = WhichDigest
    changes = False


OWN: dict[str, Spoken[Any]] = {
    spoken.name: spoken
    for spoken in (
        ListRequests(), ShowRequest(), WhyRequest(), CanI(), Undo(),
        DigestAdd(), DigestList(), DigestRemove(), DigestPause(), DigestResume(), DigestNow(),
    )
}  # fmt: skip
"""By name, as the operations are."""
