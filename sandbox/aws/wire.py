"""The bytes: what an SDK's request says, and errors in the shape each protocol expects."""

import io
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

Environ = dict[str, Any]
_SCOPE = re.compile(r"Credential=([^/,\s]+)/\d{8}/([^/,\s]+)/([^/,\s]+)/aws4_request")
_TAG_KEY = re.compile(r"(?:^|\.)(?:Tag|Tags\.member)\.\d+\.Key$")  # Query protocols number their lists
_KINDS = {
    "subnet": "subnet",
    "vpc": "vpc",
    "rtb": "route-table",
    "igw": "internet-gateway",
    "nat": "natgateway",
    "sg": "security-group",
    "i": "instance",
    "eni": "network-interface",
}


@dataclass(frozen=True)
class Request:
    """One signed API call. `action` is IAM's name for it, e.g. ec2:CreateTags."""

    environ: Environ
    access_key: str
    region: str
    service: str
    action: str
    form: Mapping[str, str]

    @property
    def mutating(self) -> bool:
        return self.service != "sts" and not re.search(":(Describe|Get|List)", self.action)

    @property
    def tagging(self) -> bool:
        return self.action in ("ec2:CreateTags", "ec2:DeleteTags")

    @cached_property
    def tags(self) -> list[tuple[str, str | None]]:
        keys = [name for name in self.form if _TAG_KEY.search(name)]
        return [(self.form[name], self.form.get(name[:-3] + "Value")) for name in keys]

    @cached_property
    def targets(self) -> list[str]:
        return [value for name, value in self.form.items() if name.startswith("ResourceId.")]

    def resources(self, account: str) -> list[str]:
        """The ARNs IAM is asked about; reads have no resource-level permissions in EC2."""
        if self.tagging:
            home = f"arn:aws:ec2:{self.region}:{account}"
            return [f"{home}:{_KINDS.get(entry.split('-')[0], '*')}/{entry}" for entry in dict.fromkeys(self.targets)]
        if self.service == "iam" and "RoleName" in self.form:
            return [f"arn:aws:iam::{account}:role/{self.form['RoleName']}"]
        return [self.form.get("RoleArn", "*")]


@dataclass(frozen=True)
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def outcome(self) -> str:
        return "ok" if self.status < 400 else self.element("Code") or str(self.status)

    def element(self, name: str) -> str:
        match = re.search(rf"<{name}>(.*?)</{name}>".encode(), self.body, re.DOTALL)
        return match[1].decode() if match else ""


class Refusal(Exception):
    """An error the gate answers in AWS's name."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code, self.message, self.status = code, message, status


def read(environ: Environ) -> Request:
    """The body is read once here and put back for the emulator."""
    body: bytes = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(body)
    form = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
    scope = _SCOPE.search(environ.get("HTTP_AUTHORIZATION", ""))
    key, region, service = scope.groups() if scope else ("", "", "")
    return Request(environ, key, region, service, f"{service}:{form.get('Action', '')}", form)


def error(request: Request, refusal: Refusal) -> Answer:
    """EC2 has an envelope of its own, the other query services share one."""
    inner = f"<Error><Code>{refusal.code}</Code><Message>{escape(refusal.message)}</Message></Error>"
    if request.service == "ec2":
        text = f"<Response><Errors>{inner}</Errors><RequestID>{uuid.uuid4()}</RequestID></Response>"
    else:
        text = f"<ErrorResponse>{inner}<RequestId>{uuid.uuid4()}</RequestId></ErrorResponse>"
    return Answer(refusal.status, [("Content-Type", "text/xml")], text.encode())
