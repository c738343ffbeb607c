"""What the server itself decides about an object's metadata. Source: "Object Names and IDs", "Labels and Selectors"."""

from __future__ import annotations

import random
import re
from datetime import UTC, datetime

from sandbox.kube.errors import Cause, Obj, invalid_value, required
from sandbox.kube.resources import Resource

SUFFIX = "bcdfghjklmnpqrstvwxz2456789"
LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
SUBDOMAIN = rf"{LABEL}(\.{LABEL})*"
VALUE = "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?"
KEY = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"

BAD_SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
    f"and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '{SUBDOMAIN}')"
)
BAD_LABEL_NAME = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
    f"with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '{LABEL}')"
)
BAD_VALUE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start "
    "and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation "
    f"is '{VALUE}')"
)
BAD_KEY = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    f"character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '{KEY}')"
)


def stamp(seconds: float) -> str:
    """A time as the API writes it, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def new_uid(chance: random.Random) -> str:
    """In the form of a UUID of version 4."""
    bits = f"{chance.getrandbits(128):032x}"
    return f"{bits[:8]}-{bits[8:12]}-4{bits[13:16]}-a{bits[17:20]}-{bits[20:]}"


def generated(prefix: str, chance: random.Random) -> str:
    """The name that `generateName` asks for."""
    return prefix[:58] + "".join(chance.choice(SUFFIX) for _ in range(5))


def wrong(metadata: Obj, resource: Resource) -> list[Cause]:
    """Name and labels that a server refuses."""
    return [*_wrong_name(metadata.get("name", ""), resource), *_wrong_labels(metadata.get("labels") or {})]


def _wrong_name(name: str, resource: Resource) -> list[Cause]:
    path = "metadata.name"
    if not name:
        return [required(path, "name or generateName is required")]
    if resource.group == "rbac.authorization.k8s.io":
        return []
    short = resource.key in ("namespaces", "services")
    found: list[Cause] = []
    if len(name) > (63 if short else 253):
        found.append(invalid_value(path, name, f"must be no more than {63 if short else 253} bytes"))
    if not re.fullmatch(LABEL if short else SUBDOMAIN, name):
        found.append(invalid_value(path, name, BAD_LABEL_NAME if short else BAD_SUBDOMAIN))
    return found


def _wrong_labels(labels: Obj) -> list[Cause]:
    found: list[Cause] = []
    for key, value in labels.items():
        if not re.fullmatch(KEY, key.rpartition("/")[2]) or len(key.rpartition("/")[2]) > 63:
            found.append(invalid_value("metadata.labels", key, BAD_KEY))
        if len(value) > 63:
            found.append(invalid_value("metadata.labels", value, "must be no more than 63 bytes"))
        elif not re.fullmatch(VALUE, value):
            found.append(invalid_value("metadata.labels", value, BAD_VALUE))
    return found
