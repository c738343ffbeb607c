"""Service Quotas: the vCPU limits of EC2, what is used of them, and the answers in the service's JSON protocol.

Sources: Service Quotas API reference (GetServiceQuota, GetAWSDefaultServiceQuota, ListServiceQuotas, errors), EC2
User Guide "Amazon EC2 instance type quotas". A quota that nobody ever changed has no applied value, only a default.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from sandbox.aws.wire import Answer, Refusal, Request

STANDARD, GRAPHICS, ACCELERATED = "L-1216C47A", "L-DB2E81BA", "L-417A185B"
NAMES = {
    STANDARD: "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances",
    GRAPHICS: "Running On-Demand G and VT instances",
    ACCELERATED: "Running On-Demand P instances",
}
DEFAULTS = {STANDARD: 5.0, GRAPHICS: 0.0, ACCELERATED: 0.0}
APPLIED = {STANDARD: 256.0, GRAPHICS: 64.0}  # these two were raised once
_FAMILIES = dict.fromkeys(["a", "c", "d", "h", "i", "im", "is", "m", "r", "t", "z"], STANDARD) | {
    "g": GRAPHICS,
    "gr": GRAPHICS,
    "vt": GRAPHICS,
    "p": ACCELERATED,
}


def parse(entries: Iterable[str]) -> dict[str, float]:
    """The switch's entries, each like L-1216C47A=4, as limits by code; ValueError names a wrong one."""
    found = {}
    for entry in entries:
        code, _, value = entry.partition("=")
        if code not in NAMES or not re.fullmatch(r"\d+", value):
            raise ValueError(f"fault quota: {entry!r} is not like {STANDARD}=4 with one of {', '.join(NAMES)}")
        found[code] = float(value)
    return found


def bucket(instance_type: str) -> str | None:
    """The quota that an instance type counts in, by its leading letters; None where the sandbox has no quota."""
    family = re.match(r"[a-z]+", instance_type)
    return _FAMILIES.get(family[0]) if family else None


def limit(code: str, switched: Mapping[str, float]) -> float:
    """The vCPUs that may run at once in one account and region."""
    return switched.get(code, APPLIED.get(code, DEFAULTS[code]))


def _quota(code: str, value: float, region: str, account: str) -> dict[str, Any]:
    return {
        "ServiceCode": "ec2",
        "ServiceName": "Amazon Elastic Compute Cloud (Amazon EC2)",
        "QuotaArn": f"arn:aws:servicequotas:{region}:{account}:ec2/{code}",
        "QuotaCode": code,
        "QuotaName": NAMES[code],
        "Value": value,
        "Unit": "None",
        "Adjustable": True,
        "GlobalQuota": False,
    }


def _missing() -> Refusal:
    return Refusal(
        "NoSuchResourceException", "The request failed because the specified service or quota does not exist."
    )


def answer(request: Request, account: str, switched: Mapping[str, float]) -> Answer:
    """What the service says; other operations than the three reads of vCPU limits are not there."""
    asked, applied = request.form, {**APPLIED, **switched}
    operation = request.action.partition(":")[2]
    if operation not in ("GetServiceQuota", "GetAWSDefaultServiceQuota", "ListServiceQuotas"):
        raise Refusal("NotImplemented", f"The sandbox has no {request.action}", 501)
    if asked.get("ServiceCode") != "ec2":
        raise _missing()
    if operation == "ListServiceQuotas":
        body: Any = {"Quotas": [_quota(code, value, request.region, account) for code, value in applied.items()]}
    else:
        values = applied if operation == "GetServiceQuota" else DEFAULTS
        if asked.get("QuotaCode") not in values:
            raise _missing()
        body = {"Quota": _quota(asked["QuotaCode"], values[asked["QuotaCode"]], request.region, account)}
    return Answer(200, [("Content-Type", "application/x-amz-json-1.1")], json.dumps(body).encode())
