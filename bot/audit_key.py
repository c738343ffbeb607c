"""Where the audit's key comes from: the environment, or on SQLite a file that the bot makes at its first start."""

from __future__ import annotations

import logging
import os
import secrets as randomness
from pathlib import Path

from bot.audit import SHORTEST_KEY, AuditKey
from bot.config import ConfigError, Secrets

log = logging.getLogger(__name__)
MADE = (
    "made the audit's key in %s. Keep a copy elsewhere: without it the audit cannot be verified, and whoever has it "
    "can forge the audit"
)


def audit_key(secrets: Secrets, *, make: bool = False) -> AuditKey:
    """The key from the environment; without one that of the data directory. With `make`, which takes the data
    directory's lock, it is made where there is none. Raises ConfigError."""
    if secrets.audit_key is not None:
        return AuditKey(secrets.audit_key)
    if secrets.database_url is not None:
        raise ConfigError("the environment", ["TKGBOT_AUDIT_KEY is not set, nor TKGBOT_AUDIT_KEY_FILE"])
    path = secrets.data / "audit.key"
    if make and not path.exists():
        _write(path, randomness.token_hex(32))
        log.warning(MADE, path)
    return AuditKey(_read(path))


def _read(path: Path) -> str:
    try:
        key = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not text"
        raise ConfigError(
            "the environment", [f"TKGBOT_AUDIT_KEY is not set, and {path} cannot be read ({why})"]
        ) from error
    if len(key) < SHORTEST_KEY:
        raise ConfigError("the environment", [f"{path} does not hold the audit's key any more: put it back there"])
    return key


def _write(path: Path, key: str) -> None:
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(f"{key}\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)
