"""Whether the bot can work in its workspace: tokens, scopes, channels, groups, people. Looks only.

Slack names a token's scopes in the header `x-oauth-scopes` of every answer (docs.slack.dev/authentication/installing).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError, SlackClientError

from bot.slack.scopes import BOT_SCOPES, Scope
from handlers.contract import Check, Json
from handlers.contract.clocks import clock_check

WHERE = "api.slack.com/apps → your app"
REINSTALL = f"Compare the app with `tkgbot slack-manifest` ({WHERE} → App Manifest), and install it again."
WRONG_TOKEN = frozenset({"invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired"})
MOST = 50
"""Channels and people that are looked at: each takes a call, of which Slack allows fifty a minute (Tier 3)."""


class SlackSilent(Exception):
    """No answer came, or one that says nothing about what was asked."""


@dataclass(frozen=True)
class Named:
    """What the settings name in Slack: ids, each with where it is named."""

    channels: dict[str, str]
    groups: dict[str, str]
    people: dict[str, str]


@dataclass(frozen=True)
class SlackExaminer:
    """Looks with the bot's own tokens. `clock` gives epoch seconds; there is no app-level token over HTTP."""

    client: WebClient
    app_level: str | None
    clock: Callable[[], float]

    def tokens(self) -> list[Check]:
        """The bot token, its scopes and the clock."""
        title = "Slack: bot token"
        try:
            answer = self.client.api_call("auth.test")
        except SlackApiError as error:
            return [_refused("slack:token", title, error, "SLACK_BOT_TOKEN", f"{WHERE} → OAuth & Permissions (xoxb-…)")]
        except (SlackClientError, OSError) as error:
            fix = "See that this machine gets to slack.com (proxy, firewall), and that SLACK_API_URL is right."
            return [_block("slack:token", title, f"Slack cannot be reached ({type(error).__name__}).", fix)]
        team = f"{answer.get('team')} ({answer.get('team_id')})"
        who = f"{answer.get('user')} ({answer.get('user_id')}) in workspace {team}"
        checks = [_pass("slack:token", title, f"It is {who}.")]
        headers = {name.lower(): str(value) for name, value in (answer.headers or {}).items()}
        checks += scope_checks(headers.get("x-oauth-scopes"))
        if "date" in headers:
            apart = self.clock() - parsedate_to_datetime(headers["date"]).timestamp()
            checks.append(clock_check("slack:clock", "Slack: clock", apart, "Slack"))
        return checks

    def app_token(self) -> list[Check]:
        """The app-level token of Socket Mode. It asks for an address and does not connect to it."""
        title = "Slack: app-level token"
        if self.app_level is None:
            return [_pass("slack:app-token", title, "Not needed: Slack's requests come over HTTP.")]
        try:
            self.client.apps_connections_open(app_token=self.app_level)
        except SlackApiError as error:
            where = f"{WHERE} → Basic Information → App-Level Tokens (xapp-…, scope connections:write)"
            return [_refused("slack:app-token", title, error, "SLACK_APP_TOKEN", where)]
        except (SlackClientError, OSError) as error:
            return [_unknown("slack:app-token", title, f"Slack cannot be reached ({type(error).__name__}).")]
        return [_pass("slack:app-token", title, "Socket Mode opens.")]

    def channels(self, named: dict[str, str]) -> list[Check]:
        """Each channel that is named is there, and the bot in it."""
        return self._each(named, "Slack: channel", self._channel, "channels are named by their ids")

    def people(self, named: dict[str, str]) -> list[Check]:
        """Each person who is named is there."""
        return self._each(named, "Slack: person", self._person, "people are named by their ids")

    def groups(self, named: dict[str, str]) -> list[Check]:
        """Each user group that is named is there, in use, and not empty. Who may join it is not to be seen: a workspace
        lets every member change its groups unless its owners said otherwise."""
        if not named:
            return []
        title = "Slack: user groups"
        try:
            answer = self._ask("usergroups.list", include_users=True, include_disabled=True)
        except SlackApiError as error:
            return [_unknown("slack:groups", title, f"Slack says {_code(error)}.", _scope_fix(error))]
        except SlackSilent as error:
            return [_unknown("slack:groups", title, str(error))]
        there = {str(group["id"]): group for group in answer["usergroups"]}
        wrong = [check for group, where in named.items() for check in _group(group, where, there.get(group))]
        said = ", ".join(f"@{there[group].get('handle', group)}" for group in named if group in there)
        return wrong or [_pass("slack:groups", title, f"{said}: there, and not empty.")]

    def _each(
        self, named: dict[str, str], title: str, look: Callable[[str, str], Check | None], what: str
    ) -> list[Check]:
        checks: list[Check] = []
        for ident, where in list(named.items())[:MOST]:
            try:
                found = look(ident, where)
            except SlackSilent as error:
                found = _unknown(f"slack:{ident}", f"{title} {ident}", str(error))
            checks += [found] if found is not None else []
        seen = min(len(named), MOST)
        if not checks and seen:
            more = f" The other {len(named) - MOST} were not looked at." if len(named) > MOST else ""
            checks.append(
                _pass(f"slack:{title.rpartition(' ')[2]}s", f"{title}s", f"All {seen} are well ({what}).{more}")
            )
        return checks

    def _channel(self, channel: str, where: str) -> Check | None:
        check, title = f"slack:{channel}", f"Slack: channel {channel}"
        try:
            info: Json = self._ask("conversations.info", channel=channel)["channel"]
        except SlackApiError as error:
            code = _code(error)
            if code == "missing_scope":
                return _unknown(check, title, "Slack says missing_scope.", _scope_fix(error))
            fix = (
                f"Correct the id in {where} (channel → About → Channel ID); where it is private, invite the bot first."
            )
            return _block(check, title, f"{where} names a channel that the bot cannot see ({code}).", fix)
        name = f"#{info.get('name')}"
        if info.get("is_archived"):
            return _block(check, title, f"{name} is archived.", f"Unarchive it, or name another in {where}.")
        if not info.get("is_member"):
            return _block(check, title, f"The bot is not in {name}.", f"Type `/invite @tkgbot` in {name} ({where}).")
        return None

    def _person(self, user: str, where: str) -> Check | None:
        check, title = f"slack:{user}", f"Slack: person {user}"
        try:
            info: Json = self._ask("users.info", user=user)["user"]
        except SlackApiError as error:
            code = _code(error)
            if code == "missing_scope":
                return _unknown(check, title, "Slack says missing_scope.", _scope_fix(error))
            fix = f"Correct the id in {where} (profile → ⋮ → Copy member ID)."
            return _block(check, title, f"{where} names somebody whom Slack does not know ({code}).", fix)
        gone = "deactivated" if info.get("deleted") else "a bot" if info.get("is_bot") else ""
        if gone:
            return _block(check, title, f"{where} names somebody who is {gone}.", f"Take {user} out of {where}.")
        return None

    def _ask(self, method: str, **arguments: Any) -> Any:
        try:
            return self.client.api_call(method, http_verb="GET", params=arguments)
        except SlackApiError as error:
            if getattr(error.response, "status_code", 200) >= 500 or _code(error) == "ratelimited":
                raise SlackSilent(f"Slack did not say ({_code(error)}).") from error
            raise
        except (SlackClientError, OSError) as error:
            raise SlackSilent(f"Slack cannot be reached ({type(error).__name__}).") from error


def scope_checks(granted: str | None) -> list[Check]:
    """Each scope that lacks, with what does not work without it. `granted` is Slack's header; None where none came."""
    title = "Slack: scopes"
    if granted is None:
        return [_unknown("slack:scopes", title, "Slack's answer does not name the token's scopes.")]
    have = {scope.strip() for scope in granted.split(",")}
    lacking = [scope for scope in BOT_SCOPES if scope.name not in have]
    if not lacking:
        return [_pass("slack:scopes", title, f"All {len(BOT_SCOPES)} are granted.")]
    return [_lacks(scope) for scope in lacking]


def _lacks(scope: Scope) -> Check:
    fix = f"Add {scope.name} ({WHERE} → OAuth & Permissions → Scopes), and install the app again."
    check, title = f"slack:scope:{scope.name}", f"Slack: scope {scope.name}"
    if scope.optional:
        evidence = f"It is not granted, and {scope.without}."
        return Check(id=check, title=title, result="warn", evidence=evidence, fix=fix)
    return _block(check, title, f"It is not granted, and the bot {scope.why}.", fix)


def _group(group: str, where: str, found: Json | None) -> Iterable[Check]:
    check, title = f"slack:{group}", f"Slack: user group {group}"
    if found is None:
        fix = f"Correct the id in {where} (People → User groups → ⋮ → Copy group ID)."
        yield _block(check, title, f"{where} names a user group that is not there: it matches nobody.", fix)
    elif found.get("date_delete"):
        yield _block(check, title, f"@{found.get('handle')} is disabled.", f"Enable it, or name another in {where}.")
    elif not found.get("users"):
        fix = f"Add somebody to it, or name another in {where}."
        yield _block(check, title, f"@{found.get('handle')} is empty: nobody is matched.", fix)


def _refused(check: str, title: str, error: SlackApiError, name: str, where: str) -> Check:
    code = _code(error)
    if code in WRONG_TOKEN:
        return _block(check, title, f"Slack does not accept {name} ({code}).", f"Set it to the token of {where}.")
    if code == "not_allowed_token_type":
        return _block(check, title, f"{name} is a token of another kind.", f"Set it to the token of {where}.")
    if code == "missing_scope":
        return _block(check, title, f"{name} lacks a scope.", f"Make one as {where} says.")
    return _block(check, title, f"Slack refuses {name} ({code}).", REINSTALL)


def _code(error: SlackApiError) -> str:
    code = str(error.response.get("error")) if hasattr(error.response, "get") else ""
    return code if code.replace("_", "").isalnum() else "no answer"


def _scope_fix(error: SlackApiError) -> str:
    needed = error.response.get("needed") if hasattr(error.response, "get") else None
    return f"Add the scope {needed}, and install the app again." if needed else REINSTALL


def _pass(check: str, title: str, evidence: str) -> Check:
    return Check(id=check, title=title, result="pass", evidence=evidence)


def _block(check: str, title: str, evidence: str, fix: str) -> Check:
    return Check(id=check, title=title, result="block", evidence=evidence, fix=fix)


def _unknown(check: str, title: str, evidence: str, fix: str = "Run `tkgbot doctor` again in a minute.") -> Check:
    return Check(id=check, title=title, result="unknown", evidence=evidence, fix=fix)
