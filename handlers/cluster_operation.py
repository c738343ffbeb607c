"""What `tanzu` writes on a cluster about the operation that is under way, and whether that has stalled.

Two annotations: TKGOperationInfo, JSON whose quotes may be escaped, and TKGOperationLastObservedTimestamp in the form
of Go's `time.Time.String()`. (vmware-tanzu/tanzu-framework v0.28.3, pkg/v1/tkg/client/get_cluster_helper.go.)
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any

from handlers.conditions import Object, mapping_at

INFO = "TKGOperationInfo"
LAST_OBSERVED = "TKGOperationLastObservedTimestamp"
GO_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2})(\.[0-9]{1,9})?"
    r" ([+-][0-9]{4})( [A-Z]{1,5}| [+-][0-9]{2,4})?( m=[+-][0-9.]+)?"
)


def stalled(cluster: Object, operation: str, now: float) -> bool:
    """Has `operation` (Create, Upgrade) made no progress for longer than its timeout?

    What is missing or cannot be read says nothing, so that is no stall.
    """
    annotations = mapping_at(cluster, "metadata", "annotations")
    info = _info(annotations.get(INFO, ""))
    timeout, observed = info.get("OperationTimeout"), go_time(annotations.get(LAST_OBSERVED, ""))
    if info.get("Operation") != operation or observed is None:
        return False
    if isinstance(timeout, bool) or not isinstance(timeout, int | float):
        return False
    return now - observed > timeout


def go_time(stamp: str) -> float | None:
    """Seconds since the epoch of Go's `time.String()`, with 0 to 9 digits of a second; None when it is another form."""
    found = GO_TIME.fullmatch(stamp.strip())
    if not found:
        return None
    try:
        moment = datetime.strptime(f"{found[1]} {found[3]}", "%Y-%m-%d %H:%M:%S %z")
        return moment.timestamp() + float(found[2] or 0)
    except (ValueError, OverflowError):
        return None


def _info(raw: str) -> dict[str, Any]:
    for form in (raw, raw.replace('\\"', '"').strip().strip('"')):
        try:
            found = json.loads(form)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict):
            return found
    return {}
