"""The scopes that the bot's Slack app has, each with what needs it. The app's manifest and `tkgbot doctor` read it.

What a method needs is on its page (docs.slack.dev/reference/methods); scopes: docs.slack.dev/reference/scopes.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Scope:
    """One scope of a token. `why` says what the bot does with it; without an optional one it does that part worse, and
    `without` says how."""

    name: str
    why: str
    optional: bool = False
    without: str = ""


BOT_SCOPES = (
    Scope("commands", "takes /tkg, its short forms and the shortcuts"),
    Scope("chat:write", "posts cards, threads and digests, and answers in private"),
    Scope("app_mentions:read", "is spoken to by its name in a thread (app_mention)"),
    Scope("im:write", "writes to a person where a channel takes no message (conversations.open)"),
    Scope("users:read", "looks up at every click whether somebody is a member, a guest, a bot or gone (users.info)"),
    Scope("usergroups:read", "knows who is in the groups that the policy names (usergroups.list)"),
    Scope("channels:read", "sees whether it is in a public channel, and who else shares it (conversations.info)"),
    Scope("groups:read", "sees the same of private channels that it was invited to (conversations.info)"),
    Scope("files:write", "puts reports, logs and charts into a thread (files.getUploadURLExternal)"),
    Scope(
        "users:read.email", "knows one person's two accounts by their address (users.info)",
        optional=True, without="somebody with two accounts counts as two people, and could approve their own request",
    ),
    Scope(
        "channels:history", "finds a message whose answer was lost, and tells a busy channel (conversations.history)",
        optional=True, without="a lost message comes again, marked as a repeat, and decisions always come in person",
    ),
    Scope(
        "groups:history", "the same in private channels (conversations.history)",
        optional=True, without="a message whose answer was lost in a private channel comes again, marked as a repeat",
    ),
    Scope(
        "im:history", "the same in direct messages (conversations.history)",
        optional=True, without="a direct message whose answer was lost comes again, marked as a repeat",
    ),
)  # fmt: skip
"""Of the bot token (`xoxb-…`)."""
APP_SCOPES = (Scope("connections:write", "opens Socket Mode (apps.connections.open)"),)
"""Of the app-level token (`xapp-…`)."""
