"""Addresses of this machine where nobody answers."""

from __future__ import annotations

import socket

_kept: list[socket.socket] = []


def nobody() -> str:
    """The URL of a port that refuses connections as long as this process lives: it is taken, and nobody listens."""
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    _kept.append(taken)
    return f"http://127.0.0.1:{taken.getsockname()[1]}"
