"""A survey as CSV, for spreadsheets: one row a cluster, every field of it. Pure.

The header is stable: columns keep their names and places, and new ones come at the end. Texts are one line each;
labels are `key=value` with semicolons between them; times are UTC (RFC 3339), costs US dollars an hour; what is not
known is empty. A cell that a spreadsheet would take for a formula is prefixed with an apostrophe (OWASP, "CSV
Injection").
"""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime

from handlers.contract import ClusterState, File, Survey, visible

HEADER = (
    "namespace", "cluster", "account", "region", "state", "why", "kubernetes", "control_plane_ready",
    "control_plane_wanted", "workers_ready", "workers_wanted", "gpus_allocatable", "gpus_proven", "gpus_untested",
    "gpus_failed", "cost_per_hour_usd", "ends_at", "taken_at", "gpus_why", "labels",
)  # fmt: skip
FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
"""Also as spreadsheets of East Asia write them: full width. Tabs and line breaks are no part of a cell here."""


def survey_csv(survey: Survey, name: str) -> File:
    """The clusters of a survey as a file for the thread."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    for state in survey.clusters:
        writer.writerow([_cell(value) for value in _row(state, survey.taken_at)])
    return File(name=name, title="Every cluster, for a spreadsheet", text=text.getvalue())


def _row(state: ClusterState, taken_at: float) -> tuple[object, ...]:
    gpus = state.gpus
    return (
        state.namespace, state.name, state.account, state.region, state.state, state.why, state.kubernetes,
        state.control_plane_ready, state.control_plane_wanted, state.workers_ready, state.workers_wanted,
        *((gpus.allocatable, gpus.proven, gpus.untested, gpus.failed) if gpus else (None,) * 4),
        state.cost_per_hour_usd, _time(state.ends_at), _time(taken_at),
        gpus.why if gpus else "", ";".join(f"{key}={value}" for key, value in sorted(state.labels.items())),
    )  # fmt: skip


def _time(at: float | None) -> str:
    return "" if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _cell(value: object) -> str:
    """One line, without what cannot be seen; a number is never a formula."""
    if value is None:
        return ""
    if not isinstance(value, str):
        return str(value)
    text = " ".join(visible(value).split())
    return f"'{text}" if text.startswith(FORMULA) else text
