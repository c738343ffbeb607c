"""Logs without secrets, as text for people or as JSON for machines (`TKGBOT_LOG=json`).

Every line of every library goes through one formatter that takes secrets out. What a line is about (the request, the
invocation) is said once, by whoever takes it in hand, and stands in every line until that is done. No value can forge a
line: in text a line break inside a message is shown as such, and what follows the first line of a trace is indented; in
JSON everything is one line of ASCII.
"""

from __future__ import annotations

import copy
import json
import logging
import re
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType, TracebackType
from typing import Literal, TextIO

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
    re.compile(r"(?i)(?<=audit_key)['\"]?\s*[=:]\s*[^\n]{8,}"),
)
"""Slack tokens and response URLs, AWS keys and signed URLs, bearer tokens, passwords in URLs, kubeconfig keys, the
audit's key (which may contain spaces)."""
Form = Literal["text", "json"]
REQUEST, ERROR = re.compile(r"\br-[0-9a-f]{6}\b"), re.compile(r"\be-[0-9a-f]{8}\b")
BREAKS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\x80-\x9f\u2028\u2029]")
"""What some reader takes for the end of a line, or a terminal for a command."""
NOTHING: Mapping[str, str] = MappingProxyType({})

_subject: ContextVar[Mapping[str, str]] = ContextVar("subject", default=NOTHING)


@contextmanager
def about(**fields: str) -> Iterator[None]:
    """What every line of this thread is about until the end of the block: `request`, `invocation`."""
    token = _subject.set({**_subject.get(), **fields})
    try:
        yield
    finally:
        _subject.reset(token)


def redact(text: str) -> str:
    """The text with every known shape of secret replaced."""
    for pattern in SECRETS:
        text = pattern.sub("[redacted]", text)
    return text


def subject(message: str) -> dict[str, str]:
    """What a line is about: what was said with `about`, else the first request and the error that it names itself."""
    found = dict(_subject.get())
    for name, pattern in (("request", REQUEST), ("error", ERROR)):
        named = None if name in found else pattern.search(message)
        if named:
            found[name] = named[0]
    return found


class Redacting(logging.Formatter):
    """Text: a record, traceback included, redacted as a whole."""

    def format(self, record: logging.LogRecord) -> str:
        """The line that is written."""
        message = record.getMessage()
        known = {name: value for name, value in _subject.get().items() if value not in message}
        said = " ".join(f"{name}={value}" for name, value in sorted(known.items()))
        record = copy.copy(record)
        record.msg, record.args = BREAKS.sub(_shown, f"{message} [{said}]" if said else message), ()
        return "\n    ".join(BREAKS.sub(_shown, line) for line in redact(super().format(record)).split("\n"))


class JsonLines(logging.Formatter):
    """One JSON object a line: time (RFC 3339, UTC), level, logger, message; then request, invocation, error (its id)
    and trace where there are any. Each value is redacted before it is encoded: afterwards quotes look otherwise."""

    def format(self, record: logging.LogRecord) -> str:
        """The line that is written."""
        message = record.getMessage()
        line = {
            "time": datetime.fromtimestamp(record.created, UTC)
            .isoformat(timespec="milliseconds")
            .replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": message,
            **subject(message),
        }
        trace = self.formatException(record.exc_info) if record.exc_info else record.exc_text or ""
        stack = self.formatStack(record.stack_info) if record.stack_info else ""
        if trace or stack:
            line["trace"] = "\n".join(part for part in (trace, stack) if part)
        return json.dumps({name: redact(value) for name, value in line.items()})


def _shown(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()


def _unhandled(kind: type[BaseException], value: BaseException | None, trace: TracebackType | None) -> None:
    """What nobody caught is logged like everything else, not printed with whatever it holds."""
    if value is not None and not issubclass(kind, KeyboardInterrupt | SystemExit):
        logging.getLogger("tkgbot").critical("unhandled", exc_info=(kind, value, trace))


def set_up(level: int = logging.INFO, stream: TextIO | None = None, form: Form = "text") -> None:
    """One handler for everything. Called by the command line, never at import."""
    handler = logging.StreamHandler(stream or sys.stderr)
    text = Redacting("%(asctime)s %(levelname)s %(name)s %(message)s")
    handler.setFormatter(JsonLines() if form == "json" else text)
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
