"""Logs without secrets: every line of every library goes through one formatter that takes them out."""

from __future__ import annotations

import copy
import logging
import re
import sys
import threading
from types import TracebackType
from typing import TextIO

SECRETS = (
    re.compile(r"\bxox[a-z]-[\w-]+|\bxapp-[\w-]+"),
    re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}"),
    re.compile(r"(?i)\b(?:bearer|basic)\s+[\w.~+/=-]{8,}"),
    re.compile(r"(?i)(?<=aws_secret_access_key)\W+[\w/+=]{16,}|(?<=aws_session_token)\W+[\w/+=]{16,}"),
    re.compile(r"(?i)(?<=secretaccesskey)\W+[\w/+=]{16,}|(?<=sessiontoken)\W+[\w/+=]{16,}"),
    re.compile(r"https?://[^\s\"']*/(?:commands|actions|response|services)/[^\s\"']+"),
    re.compile(r"(?i)[?&](?:x-amz-[\w-]+|signature|token|ticket)=[^&\s\"']+"),
    re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"),
    re.compile(r"(?<=://):[^/\s@]+(?=@)"),
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
    re.compile(r"(?i)\b(?:secret_key|access_key|token|password|passwd|secret)['\"]?\s*[=:]\s*['\"]?[^\s'\",)]{8,}"),
    re.compile(r"(?i)(?<=client-key-data)\W+\S+|(?<=client-certificate-data)\W+\S+"),
)
"""Slack tokens and response URLs, AWS keys and signed URLs, bearer tokens, passwords in URLs, kubeconfig keys."""


def redact(text: str) -> str:
    """The text with every known shape of secret replaced."""
    for pattern in SECRETS:
        text = pattern.sub("[redacted]", text)
    return text


class Redacting(logging.Formatter):
    """Formats a record, traceback included, and then redacts the whole."""

    def format(self, record: logging.LogRecord) -> str:
        """The line that is written. A line break inside a message is shown as such: no value can forge a line."""
        message = record.getMessage()
        if "\n" in message or "\r" in message:
            record = copy.copy(record)
            record.msg, record.args = message.replace("\r", "\\r").replace("\n", "\\n"), ()
        return redact(super().format(record))


def _unhandled(kind: type[BaseException], value: BaseException | None, trace: TracebackType | None) -> None:
    """What nobody caught is logged like everything else, not printed with whatever it holds."""
    if value is not None and not issubclass(kind, KeyboardInterrupt | SystemExit):
        logging.getLogger("tkgbot").critical("unhandled", exc_info=(kind, value, trace))


def set_up(level: int = logging.INFO, stream: TextIO | None = None) -> None:
    """One handler for everything. Called by the command line, never at import."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(Redacting("%(asctime)s %(levelname)s %(name)s %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.getLogger("dbos").addHandler(handler)  # dbos adds its own, unredacted, only where there is none
    for noisy in ("apscheduler", "botocore", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.captureWarnings(True)
    threading.excepthook = lambda found: _unhandled(found.exc_type, found.exc_value, found.exc_traceback)
    sys.excepthook = _unhandled
    # Bolt logs a whole payload when something goes wrong; what went wrong is said elsewhere without it.
    logging.getLogger("slack_bolt").setLevel(logging.ERROR)
