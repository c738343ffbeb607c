"""The bot's own tables, for SQLite and PostgreSQL. Times are epoch seconds (UTC) as 8-byte floats."""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData()

invocations = sa.Table(
    "invocations",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("body", sa.JSON, nullable=False),
    sa.Column("received_at", sa.Double, nullable=False),
    sa.Column("done_at", sa.Double),
)
"""What Slack delivered, unique by what Slack gives; `done_at` is set in the transaction that answers it."""

requests = sa.Table(
    "requests",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("invocation", sa.Text, nullable=False, unique=True),
    sa.Column("operation", sa.Text, nullable=False),
    sa.Column("arguments", sa.JSON, nullable=False),
    sa.Column("command", sa.Text, nullable=False),
    sa.Column("team", sa.Text, nullable=False),
    sa.Column("channel", sa.Text, nullable=False),
    sa.Column("requester", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False, index=True),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("updated_at", sa.Double, nullable=False),
    sa.Column("deadline", sa.Double),
    sa.Column("plan_no", sa.Integer, nullable=False),
    sa.Column("run_no", sa.Integer, nullable=False),
    sa.Column("epoch", sa.Integer, nullable=False),
    sa.Column("plan", sa.JSON),
    sa.Column("fingerprint", sa.Text),
    sa.Column("needs", sa.JSON),
    sa.Column("waits_for", sa.Text),
    sa.Column("note", sa.JSON),
    sa.Column("started_at", sa.Double),
    sa.Column("ended_at", sa.Double),
)
"""One row a request. `epoch` fences a process that lost its run; `note` says in words why it stands where it stands."""

votes = sa.Table(
    "votes",
    metadata,
    sa.Column("request", sa.Text, primary_key=True),
    sa.Column("plan_no", sa.Integer, primary_key=True),
    sa.Column("person", sa.Text, primary_key=True),
    sa.Column("fingerprint", sa.Text, nullable=False),
    sa.Column("approve", sa.Boolean, nullable=False),
    sa.Column("at", sa.Double, nullable=False),
)
"""One person's word on one plan. By plan number, so that a plan that drifts away and back starts without votes."""

steps = sa.Table(
    "steps",
    metadata,
    sa.Column("request", sa.Text, primary_key=True),
    sa.Column("plan_no", sa.Integer, primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),
    sa.Column("begun_at", sa.Double, nullable=False),
    sa.Column("ended_at", sa.Double),
    sa.Column("changed", sa.Boolean),
    sa.Column("evidence", sa.Text),
)
"""Intent before, outcome after, for each step of a plan."""

leases = sa.Table(
    "leases",
    metadata,
    sa.Column("target", sa.Text, primary_key=True),
    sa.Column("request", sa.Text, nullable=False, index=True),
    sa.Column("since", sa.Double, nullable=False),
)
"""Who may change a target now."""

outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("seq", sa.Integer, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("request", sa.Text, index=True),
    sa.Column("channel", sa.Text, nullable=False),
    sa.Column("person", sa.Text),
    sa.Column("url", sa.Text),
    sa.Column("body", sa.JSON),
    sa.Column("wanted", sa.Integer, nullable=False),
    sa.Column("sent", sa.Integer, nullable=False),
    sa.Column("ts", sa.Text),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("due", sa.Double, nullable=False),
    sa.Column("expires", sa.Double),
    sa.Column("claimed_by", sa.Text),
    sa.Column("claimed_until", sa.Double),
    sa.Column("failed", sa.Text),
    sa.Column("repeated", sa.Boolean, nullable=False),
)
"""Messages to send. `wanted` above `sent` means there is something to send; a card is rendered from the request's
state at the moment of sending, so edits that pile up become one."""

audit = sa.Table(
    "audit",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("request", sa.Text, index=True),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("event", sa.Text, nullable=False),
    sa.Column("data", sa.JSON, nullable=False),
)
"""What happened, by whom; written in the transaction that made it happen."""

replicas = sa.Table(
    "replicas",
    metadata,
    sa.Column("executor", sa.Text, primary_key=True),
    sa.Column("beat", sa.Double, nullable=False),
)
"""Heartbeats, by the database's clock."""
