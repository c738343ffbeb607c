"""Digests for a bot that nobody sends any: what answers commands wants them, and looks at nothing."""

from __future__ import annotations

from collections.abc import Sequence

from bot.digesting import Digesting
from bot.digests import Digests
from bot.requests import Requests
from handlers.contract import Caller, Extent, Made, Survey


def digesting(requests: Requests) -> Digesting:
    """The answering side of digests over a store, with a world without clusters."""

    def look(extent: Extent, made: Sequence[Made], caller: Caller) -> Survey:
        return Survey(taken_at=requests.clock(), clusters=())

    digests = Digests(
        requests.store, look=look, operations={}, address=lambda channel, ts: f"https://example.com/{channel}/{ts}",
        clock=requests.clock, executor="test", wake=lambda: None,
    )  # fmt: skip
    return Digesting(digests=digests, requests=requests, accounts=("management", "tenant"))
