"""The bytes: what an SDK's request says, and errors in the shape each protocol expects."""

import io
import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl, urlencode
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
VERSIONS = {"iam": "2010-05-08"}
_SERVICES = {"ServiceQuotasV20190624": "servicequotas"}  # X-Amz-Target names the service's version


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
        return self.service != "sts" and not re.search(":(Describe|Get|List|Simulate)", self.action)

    @property
    def as_json(self) -> bool:
        """Whether the service speaks the JSON protocol, where the query services speak XML."""
        return self.service in _SERVICES.values()

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
        if self.service == "iam":
            return [_iam_resource(self.form, self.action, account)]
        if self.service == "cloudformation":
            return [_stack(self.form, self.region, account)]
        return [self.form.get("RoleArn", "*")]


def _iam_resource(form: Mapping[str, str], action: str, account: str) -> str:
    """What IAM's own actions are about; an action on two things is about the first of them."""
    home, path = f"arn:aws:iam::{account}", form.get("Path", "/") if ":Create" in action else "/"
    for name, kind in (("InstanceProfileName", "instance-profile"), ("RoleName", "role"), ("UserName", "user")):
        if name in form:
            return f"{home}:{kind}{path}{form[name]}"
    if action == "iam:CreatePolicy":
        return f"{home}:policy{path}{form.get('PolicyName', '')}"
    return form.get("PolicyArn") or form.get("PolicySourceArn") or "*"


def _stack(form: Mapping[str, str], region: str, account: str) -> str:
    """A stack that is not there yet has no last part."""
    name = form.get("StackName", "")
    if name.startswith("arn:") or not name:
        return name or "*"
    return f"arn:aws:cloudformation:{region}:{account}:stack/{name}/*"


def members(form: Mapping[str, str], name: str) -> list[str]:
    """A list of plain values, which the query protocol numbers from 1."""
    found: list[str] = []
    while (value := form.get(f"{name}.member.{len(found) + 1}")) is not None:
        found.append(value)
    return found


def records(form: Mapping[str, str], name: str) -> list[dict[str, str]]:
    """A list of structures, each with what stands behind its number: `Key`, or `ContextKeyValues.member.1`."""
    found: dict[int, dict[str, str]] = {}
    for key, value in form.items():
        number, _, field = key.removeprefix(f"{name}.member.").partition(".")
        if key.startswith(f"{name}.member.") and number.isdigit() and field:
            found.setdefault(int(number), {})[field] = value
    return [found[number] for number in sorted(found)]


@dataclass(frozen=True)
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def outcome(self) -> str:
        named = dict(self.headers).get("x-amzn-errortype")
        return "ok" if self.status < 400 else named or self.element("Code") or str(self.status)

    def element(self, name: str) -> str:
        match = re.search(rf"<{name}>(.*?)</{name}>".encode(), self.body, re.DOTALL)
        return match[1].decode() if match else ""

    def elements(self, name: str) -> list[str]:
        """The inside of each element of that name."""
        return [found.decode() for found in re.findall(rf"<{name}>(.*?)</{name}>".encode(), self.body, re.DOTALL)]


class Refusal(Exception):
    """An error the gate answers in AWS's name."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code, self.message, self.status = code, message, status


def read(environ: Environ) -> Request:
    """The body is read once here and put back for the emulator."""
    body: bytes = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(body)
    scope = _SCOPE.search(environ.get("HTTP_AUTHORIZATION", ""))
    key, region, service = scope.groups() if scope else ("", "", "")
    version, _, operation = environ.get("HTTP_X_AMZ_TARGET", "").partition(".")
    if version in _SERVICES:
        return Request(environ, key, region, _SERVICES[version], f"{_SERVICES[version]}:{operation}", _flat(body))
    form = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
    return Request(environ, key, region, service, f"{service}:{form.get('Action', '')}", form)


def _flat(body: bytes) -> dict[str, str]:
    """The top level of a JSON request, which is all that its services need here."""
    try:
        content = json.loads(body or b"{}")
    except ValueError:
        return {}
    return {name: str(value) for name, value in content.items()} if isinstance(content, dict) else {}


def xml(value: Any) -> str:
    """A result in the query protocol: objects by name, lists as members, nothing for None."""
    if isinstance(value, Mapping):
        return "".join(f"<{name}>{xml(entry)}</{name}>" for name, entry in value.items() if entry is not None)
    if isinstance(value, list):
        return "".join(f"<member>{xml(entry)}</member>" for entry in value)
    return escape(str(value).lower() if isinstance(value, bool) else str(value))


def result(request: Request, value: Mapping[str, Any]) -> Answer:
    """What a query service answers where all is well."""
    name = request.action.partition(":")[2]
    inner = f"<{name}Result>{xml(value)}</{name}Result><ResponseMetadata><RequestId>{uuid.uuid4()}</RequestId>"
    text = f"<{name}Response>{inner}</ResponseMetadata></{name}Response>"
    return Answer(200, [("Content-Type", "text/xml")], text.encode())


def inner(request: Request, action: str, form: Mapping[str, str]) -> Request:
    """Another call by the same caller, as a service makes it in their name."""
    service, _, operation = action.partition(":")
    whole = {"Action": operation, "Version": VERSIONS[service], **form}
    body = urlencode(whole).encode()
    environ = {
        **{name: value for name, value in request.environ.items() if name != "werkzeug.request"},
        "wsgi.input": io.BytesIO(body),
        "CONTENT_LENGTH": str(len(body)),
        "HTTP_AUTHORIZATION": request.environ["HTTP_AUTHORIZATION"].replace(
            f"/{request.service}/aws4_request", f"/{service}/aws4_request"
        ),
        "HTTP_HOST": f"{service}.{request.region}.amazonaws.com",
    }
    return Request(environ, request.access_key, request.region, service, action, whole)


def error(request: Request, refusal: Refusal) -> Answer:
    """EC2 has an envelope of its own, the other query services share one, and JSON is JSON."""
    if request.as_json:
        body = json.dumps({"__type": refusal.code, "message": refusal.message}).encode()
        headers = [("Content-Type", "application/x-amz-json-1.1"), ("x-amzn-errortype", refusal.code)]
        return Answer(refusal.status, headers, body)
    inner = f"<Error><Code>{refusal.code}</Code><Message>{escape(refusal.message)}</Message></Error>"
    if request.service == "ec2":
        text = f"<Response><Errors>{inner}</Errors><RequestID>{uuid.uuid4()}</RequestID></Response>"
    else:
        text = f"<ErrorResponse>{inner}<RequestId>{uuid.uuid4()}</RequestId></ErrorResponse>"
    return Answer(refusal.status, [("Content-Type", "text/xml")], text.encode())
