"""`status`: how everything stands, or one cluster. In Slack the chat side adds what waits for approval."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from handlers.contract import (
    Arguments,
    ClusterState,
    Extent,
    Positional,
    ReadWorld,
    Report,
    ReportOperation,
    Survey,
    Table,
    word,
)
from handlers.survey.look import Surveyor
from handlers.words import AccountName, ClusterName, Namespace

LABEL = r"([A-Za-z0-9.-]{1,253}/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?=[A-Za-z0-9_.-]{0,63}"

Labels = Annotated[
    str, *word(f"{LABEL}(,{LABEL}){{0,19}}", "labels with commas between", "team=shop", lambda wrong: wrong.strip(","))
]


class StatusArguments(Arguments):
    """What to look at; everything where nothing is named."""

    cluster: Annotated[ClusterName | None, Positional()] = Field(None, description="Only this cluster.")
    namespace: Namespace | None = Field(None, description="Only this namespace of the management cluster.")
    account: AccountName | None = Field(None, description="Only clusters in this account, by its name in the settings.")
    labels: Labels | None = Field(None, description="Only clusters with all of these labels: KEY=VALUE,….")


class Status(ReportOperation[StatusArguments]):
    """The same as a digest says, at any time."""

    name = "status"
    summary = "Show how the clusters stand: what is not well, what drifted, what it costs"
    examples = ("status", "status demo", "status --labels team=shop")
    arguments = StatusArguments

    def report(self, arguments: StatusArguments, world: ReadWorld) -> Report:
        """The clusters, and what drifted of them; what requests made is known to the chat side alone."""
        extent = Extent(
            cluster=arguments.cluster or "",
            namespaces=(arguments.namespace,) if arguments.namespace else (),
            accounts=(arguments.account,) if arguments.account else (),
            labels=dict(label.split("=", 1) for label in (arguments.labels or "").split(",") if label),
        )
        survey = Surveyor.of_settings(world, {}).survey(extent, ())
        unwell = [state for state in survey.clusters if not state.is_well]
        facts = [f"{state.key} is {state.state}. {state.why}".strip() for state in unwell]
        facts += [f"{gap.what}: {gap.why}" for gap in survey.gaps]
        facts += [finding.title for finding in survey.findings]
        rows = tuple(_row(state) for state in survey.clusters)
        return Report(
            tone="warn" if facts else "good",
            title=_title(survey, len(unwell), arguments),
            facts=tuple(facts),
            table=Table(header=("CLUSTER", "STATE", "WORKERS", "KUBERNETES"), rows=rows) if rows else None,
        )


def _title(survey: Survey, unwell: int, arguments: StatusArguments) -> str:
    count = len(survey.clusters)
    if not count and survey.gaps:
        return "The clusters cannot be seen."
    if not count and arguments.cluster:
        return f"There is no cluster {arguments.cluster} here."
    return f"{count} cluster{'s' * (count != 1)}, {f'{unwell} not well' if unwell else 'all well'}."


def _row(state: ClusterState) -> tuple[str, ...]:
    workers = "?" if state.workers_wanted is None else f"{state.workers_ready or 0}/{state.workers_wanted}"
    return state.key, state.state, workers, state.kubernetes


OPERATIONS = (Status(),)
