"""The tour's act about accounts: another AWS account is brought in, used, broken by hand, explained, and mended.

The sandbox really enforces the trust between the accounts: what the act takes out of it is what the bot then finds.
"""

from __future__ import annotations

import json
from typing import Any, Protocol

from bot.tour_view import APPROVER, DEV, SECOND_APPROVER, Json, View, quoted, words

ACCOUNT, VPC = "777788889999", "second"
ROLE = "controllers.cluster-api-provider-aws.sigs.k8s.io"
ONBOARD = f"account onboard {ACCOUNT} --identity team-a --namespaces default"


class Guide(Protocol):
    """Who plays the acts."""

    view: View

    def say(self, line: str, /) -> None:
        """Tells a line."""
        ...

    def claim(self, what: str, holds: bool) -> None:
        """Raises where it does not hold."""
        ...

    def type(self, user: str, text: str) -> None:
        """Somebody types a command."""
        ...


def play(guide: Guide) -> None:
    """Onboards, deploys, takes a statement out of the trust, and has the bot find and mend it."""
    _onboarded(guide)
    _deployed(guide)
    _broken(guide)
    _mended(guide)


def trusted(view: View) -> list[Json]:
    """The statements of the controllers' role over there that let the management account in."""
    text = view.trust(ACCOUNT, ROLE)
    found: Any = json.loads(text)["Statement"] if text else []
    return [statement for statement in found if str(statement.get("Sid", "")).startswith("Tkgbot")]


def approved(guide: Guide, card: Json, done: str) -> Json:
    """Both approvers approve; the result, when the card says `done`."""
    for user in (APPROVER, SECOND_APPROVER):
        guide.say(f"\n{'approver' if user == APPROVER else 'second-approver'} clicks Approve")
        guide.view.click(user, card["ts"], "tkg:approve")
    result = guide.view.wait(DEV, "Done and proven", thread=card["ts"], since=card["ts"], timeout=120)
    guide.view.wait(DEV, done, since=f"{float(card['ts']) - 1e-6:.6f}")
    return result


def _onboarded(guide: Guide) -> None:
    guide.type(DEV, ONBOARD)
    card = guide.view.wait(DEV, f"Approval needed: onboard account {ACCOUNT}", timeout=90)
    guide.say(quoted(card))
    guide.claim("the plan says in words whom the account will trust", "when sts:ExternalId is" in words(card))
    guide.claim("nothing was made in the account before the approval", guide.view.trust(ACCOUNT, ROLE) is None)
    approved(guide, card, "🟢 Done: onboard")
    for message in guide.view.messages(DEV, thread=card["ts"])[1:]:
        guide.say(quoted(message, "   ↳ "))
    statements = trusted(guide.view)
    condition = statements[0]["Condition"] if statements else {}
    guide.claim("the account's role lets in the controllers alone, by one statement", len(statements) == 1)
    guide.claim("that statement asks for an external id", "sts:ExternalId" in condition.get("StringEquals", {}))


def _deployed(guide: Guide) -> None:
    vpc = guide.view.aws()["accounts"][ACCOUNT]["vpcs"][VPC]["id"]
    guide.type(DEV, f"cluster create far --plan dev --vpc {vpc} --account team-a")
    card = guide.view.wait(DEV, "Approval needed: create dev cluster far", timeout=90)
    approved(guide, card, "🟢 Done: create dev cluster far")
    cluster = guide.view.clusters().get("default/far", {})
    guide.claim("a cluster runs in the other account, with two nodes", len(cluster.get("nodes", [])) == 2)
    started = [call for call in guide.view.aws_calls() if call["action"] == "ec2:RunInstances"]
    calls = [call for call in started if call["account"] == ACCOUNT and call["outcome"] == "ok"]
    guide.claim("its machines were started there, by the role that was onboarded", len(calls) >= 2)


def break_trust(guide: Guide) -> None:
    """An administrator over there takes out the statement that lets the controllers in."""
    guide.say(f"\nan administrator of {ACCOUNT} takes the statement out of the trust of {ROLE}")
    document: Json = json.loads(guide.view.trust(ACCOUNT, ROLE) or "{}")
    left = [one for one in document["Statement"] if not str(one.get("Sid", "")).startswith("Tkgbot")]
    guide.view.set_trust(ACCOUNT, ROLE, json.dumps({**document, "Statement": left}))


def _broken(guide: Guide) -> None:
    break_trust(guide)
    guide.type(DEV, "account check team-a")
    answer = guide.view.wait(DEV, "The way into team-a does not work")
    guide.say(quoted(answer))
    guide.claim("the check says whose side is wrong", f"in account {ACCOUNT} does not let them in" in words(answer))
    guide.claim("and which statement is missing", "Missing in it is the statement" in words(answer))


def _mended(guide: Guide) -> None:
    guide.type(DEV, ONBOARD)
    card = guide.view.wait(DEV, f"Approval needed: onboard account {ACCOUNT}", timeout=90)
    guide.say(quoted(card))
    only = "+ lets in" in words(card) and "AWSIAMRole" not in words(card)
    guide.claim("the repair would write the trust, and make nothing anew", only)
    approved(guide, card, "🟢 Done: onboard")
    guide.claim("the statement is there again, once", len(trusted(guide.view)) == 1)
