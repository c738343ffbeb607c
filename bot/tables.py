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
    sa.Column("undoes", sa.Text, index=True),
    sa.Column("cause", sa.Text),
)
"""One row a request. `epoch` fences a process that lost its run; `note` says in words why it stands where it stands;
`undoes` is the request whose run this one takes back; `cause` is `time box` where the end of one asks for it."""

votes = sa.Table(
    "votes",
    metadata,
    sa.Column("request", sa.Text, primary_key=True),
    sa.Column("plan_no", sa.Integer, primary_key=True),
    sa.Column("person", sa.Text, primary_key=True),
    sa.Column("fingerprint", sa.Text, nullable=False),
    sa.Column("approve", sa.Boolean, nullable=False),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("reason", sa.Text),
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
    sa.Column("thread", sa.Text),
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
    sa.Column("under", sa.Text),
    sa.Column("made_at", sa.Double),
)
"""Messages to send. `wanted` above `sent` means there is something to send; a card is rendered from the request's
state at the moment of sending, so edits that pile up become one. `under` is the key of the message in whose thread it
belongs, where that is no request's card."""

audit = sa.Table(
    "audit",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("request", sa.Text, index=True),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("event", sa.Text, nullable=False),
    sa.Column("data", sa.JSON, nullable=False),
    sa.Column("mac", sa.Text),
    sa.Column("number", sa.Integer),
    sa.Column("previous", sa.Text),
    sa.Column("seal", sa.Text),
    sa.Index("ix_audit_number", "number"),
)
"""What happened, by whom; written in the transaction that made it happen, with `mac` as its proof. The sealer adds
`number`, `seal` and the seal before it shortly after (`bot.audit` says what they are). The index on the numbers is not
unique: that they are is the sealer's work and `verify`'s, and a number that somebody forged must not stop the bot."""

offers = sa.Table(
    "offers",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("channel", sa.Text, nullable=False),
    sa.Column("operation", sa.Text, nullable=False),
    sa.Column("arguments", sa.JSON, nullable=False),
    sa.Column("made_at", sa.Double, nullable=False, index=True),
    sa.Column("request", sa.Text),
)
"""What a button asks for: the button itself carries the id alone. `message` is the key of the message that shows it,
`request` the last one that it was made into."""

digests = sa.Table(
    "digests",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("channel", sa.Text, nullable=False),
    sa.Column("cron", sa.Text, nullable=False),
    sa.Column("zone", sa.Text, nullable=False),
    sa.Column("words", sa.Text, nullable=False),
    sa.Column("extent", sa.JSON, nullable=False),
    sa.Column("owner", sa.Text),
    sa.Column("paused", sa.Boolean, nullable=False),
    sa.Column("snoozed_until", sa.Double),
    sa.Column("since", sa.Double, nullable=False),
    sa.Column("last", sa.Double),
)
"""Who is told how the clusters stand, and when. `owner` is None for those of the settings; nothing before `since` is
due, nor anything up to `last`, the newest moment that was taken in hand."""

fires = sa.Table(
    "digest_fires",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("digest", sa.Text, nullable=False, index=True),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("claimed_by", sa.Text),
    sa.Column("claimed_until", sa.Double),
    sa.Column("done_at", sa.Double),
    sa.Column("survey", sa.JSON),
    sa.Column("wanted_by", sa.Text),
)
"""One row for each moment at which a digest was due, and for each that somebody wanted at once (`wanted_by`). It is
done with the message in the outbox, in one transaction. `survey` is what it showed."""

replicas = sa.Table(
    "replicas",
    metadata,
    sa.Column("executor", sa.Text, primary_key=True),
    sa.Column("beat", sa.Double, nullable=False),
)
"""Heartbeats, by the database's clock."""
