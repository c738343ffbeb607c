"""The API server's errors, as one of the contract's words with a plain sentence and a fix.

Shapes: Kubernetes API Conventions, "Response Status Kind"; a denial by an admission webhook has its name in the message
(k8s.io/apiserver, admission/plugin/webhook/errors).
"""

from __future__ import annotations

import json
import re
from typing import Any

from urllib3.exceptions import HTTPError, SSLError

from handlers.clients.aws_errors import Denied
from handlers.contract import Fatal, Json, KubeRefused, Retry

WEBHOOK = re.compile(r'admission webhook "(?P<name>[^"]+)" denied the request: (?P<text>.*)', re.DOTALL)
CALLING = re.compile(r'failed calling webhook "(?P<name>[^"]+)"')
FORBIDDEN = re.compile(r'cannot (?P<verb>\w+) resource "(?P<resource>[^"]+)"(?: in API group "(?P<group>[^"]*)")?')
MALFORMED = "failed to create typed patch object"
"""What a value of the wrong type in server-side apply is answered with, as an error of the server's own."""
UNCHECKED = "<nil>"
"""The field of a cause that only says that further rules were not looked at."""
CUT = "EOF"
"""What a TLS error says where the connection only broke off."""
LONGEST = 400
CAUSES = 4


def from_status(status: int, body: bytes, retry_after: str | None, doing: str, where: str) -> Exception:
    """The server answered, and not as hoped. `doing` is what was asked for (`apply AWSCluster platform/demo`), `where`
    which cluster."""
    answer = _status(body)
    reason, text = str(answer.get("reason") or status), plain(str(answer.get("message") or ""))
    if status == 429:
        return Retry(f"{where} is throttling the bot.", after=_seconds(retry_after), hint="Ask again in a few minutes.")
    if status == 401:
        return Fatal(
            f"{where} does not accept the bot's credentials (401).", "The platform team has to renew its kubeconfig."
        )
    webhook = WEBHOOK.search(str(answer.get("message") or ""))
    if webhook:
        denied = plain(webhook["text"])
        hint = "Nothing was stored. Mend what it says, or ask whoever runs that webhook."
        return KubeRefused(
            "Denied", f"The webhook {webhook['name']} of {_inside(where)} denied to {doing}: {denied}", hint,
            webhook=webhook["name"],
        )  # fmt: skip
    if status == 403:
        return _forbidden(text, doing, where)
    calling = CALLING.search(str(answer.get("message") or ""))
    if calling:
        return Retry(
            f"{where} cannot reach its webhook {calling['name']}, so it could not {doing}.", after=5.0,
            hint="The controllers of that webhook have to run; ask again then.",
        )  # fmt: skip
    if status >= 500 and MALFORMED in text:
        return KubeRefused("Invalid", f"{where} refused to {doing} (Invalid): {text}")
    if status >= 500:
        return Retry(f"{where} had trouble with: {doing} ({reason}).", after=2.0, hint="Ask again in a few minutes.")
    if status == 409 and reason == "Conflict":
        return KubeRefused(reason, f"{where} refused to {doing}: {_causes(answer) or text}", _whose(answer))
    said = _causes(answer) or text or reason
    return KubeRefused(reason, f"{where} refused to {doing} ({reason}): {said}")


def from_transport(error: HTTPError | OSError, doing: str, where: str) -> Exception:
    """The server could not be asked."""
    is_tls = isinstance(error, SSLError) or isinstance(getattr(error, "reason", None), SSLError)
    if is_tls and CUT not in str(error):
        return Fatal(
            f"The bot cannot trust the certificate of {_inside(where)}, so it did not {doing}.",
            "The platform team has to renew the kubeconfig: its certificate authority does not fit the server.",
        )
    return Retry(f"{where} cannot be reached to {doing}.", after=2.0, hint="Ask again when it answers.")


def plain(text: str) -> str:
    """A server's words on one line, without the marks of messages, at most 400 characters."""
    line = " ".join(text.replace("`", "'").split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"


def _inside(where: str) -> str:
    """A cluster's name in the middle of a sentence."""
    return f"the {where[4:]}" if where.startswith("The ") else where


def _status(body: bytes) -> Json:
    try:
        found = json.loads(body)
    except ValueError:
        return {"message": body.decode("utf-8", "replace")}
    return found if isinstance(found, dict) else {}


def _forbidden(text: str, doing: str, where: str) -> Denied:
    found = FORBIDDEN.search(text)
    right = f"`{found['verb']} {found['resource']}{'.' + found['group'] if found['group'] else ''}`" if found else ""
    fix = f"The platform team has to allow {right or 'this'} to the bot there."
    return Denied(f"{where} does not let the bot {doing}{f' ({text})' if not found and text else ''}.", fix)


def _causes(answer: Json) -> str:
    details: Any = answer.get("details") or {}
    told = [cause for cause in details.get("causes") or [] if isinstance(cause, dict)]
    causes = [cause for cause in told if cause.get("field") != UNCHECKED]
    said = [f"{cause.get('field', '')}: {plain(str(cause.get('message', '')))}".lstrip(": ") for cause in causes]
    more = f" and {len(said) - CAUSES} more" if len(said) > CAUSES else ""
    return "; ".join(said[:CAUSES]) + more


def _whose(answer: Json) -> str:
    details: Any = answer.get("details") or {}
    if any(cause.get("reason") == "FieldManagerConflict" for cause in details.get("causes") or []):
        return "Somebody else set these fields; the bot never takes them over. Let that manager give them up first."
    return "It was changed meanwhile. Ask again."


def _seconds(value: str | None) -> float:
    return float(value) if value and re.fullmatch(r"[0-9]{1,4}", value) else 2.0
