"""The demo's tour: acts as people would, and judges only by what the sandbox shows (Slack's messages, EC2's tags).

It knows nothing of the bot's database and imports nothing of the bot: every claim is checked against what a person in
that workspace, or an administrator of that AWS account, can see.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from bot import tour_accounts, tour_digest, tour_gpu
from bot.tour_view import (
    APPROVER,
    CHANNEL,
    DEV,
    GUEST,
    KEY,
    MANAGEMENT,
    NAMES,
    ClaimFailed,
    Json,
    View,
    buttons,
    quoted,
    texts,
    words,
)

__all__ = [
    "APPROVER", "CHANNEL", "DEV", "GUEST", "MANAGEMENT", "ClaimFailed", "Json", "Tour", "View", "buttons", "quoted",
    "texts", "words",
]  # fmt: skip


PACE = 0.3
"""Of the controllers, while the tour is played: machines are there in a third of the sandbox's own time."""


@dataclass
class Tour:
    """Plays the acts in order. `say` is told each act and each claim that held."""

    view: View
    say: Callable[[str], None] = lambda line: None
    subnets: dict[str, str] = field(default_factory=dict)
    claims: int = 0

    def claim(self, what: str, holds: bool) -> None:
        """One claim. Raises ClaimFailed."""
        if not holds:
            raise ClaimFailed(what)
        self.claims += 1
        self.say(f"   ✓ {what}")

    def play(self) -> None:
        """The whole tour. Raises ClaimFailed at the first claim that does not hold."""
        self.view.pace(PACE)
        account = self.view.aws()["accounts"][MANAGEMENT]
        self.subnets = account["vpcs"]["demo"]["subnets"]
        self._help()
        self._blocked()
        card = self._asked()
        self._refused(card)
        self._approved(card)
        self._undone(card)
        self._cluster(account["vpcs"]["demo"]["id"])
        tour_gpu.play(self, account["vpcs"]["demo"]["id"])
        tour_accounts.play(self)
        tour_digest.play(self)
        self.view.pace(None)

    def _named(self, *names: str) -> list[str]:
        return [self.subnets[name] for name in names]

    def _tagged(self) -> set[str]:
        tags = self.view.tags()
        return {name for name, ident in self.subnets.items() if tags[ident].get(KEY) == "shared"}

    def type(self, user: str, text: str) -> None:
        """Somebody types a command, which Slack acknowledges."""
        self.say(f"\n{NAMES[user]}: /tkg {text}")
        answer = self.view.command(user, text)
        self.claim("Slack had its answer in time", bool(answer.get("acked")))

    def _help(self) -> None:
        self.type(DEV, "help")
        answer = self.view.wait(DEV, "subnet tag")
        self.say(quoted(answer))
        self.claim("help names the command, and only dev sees it", bool(answer["ephemeral"]))
        others = [words(message) for message in self.view.messages(APPROVER)]
        self.claim("nobody else was disturbed", not any("subnet tag" in text for text in others))

    def _blocked(self) -> None:
        chosen = self._named("demo-public-a", "demo-public-b", "demo-private-a")
        self.type(DEV, f"subnet tag demo {' '.join(chosen)}")
        card = self.view.wait(DEV, "Blocked")
        self.say(quoted(card))
        self.claim("the card names the private subnet", chosen[2] in words(card) and "is private" in words(card))
        self.claim("a blocked plan has no Approve button", "tkg:approve" not in buttons(card))
        self.claim("nothing was tagged", self._tagged() == set())

    def _asked(self) -> Json:
        chosen = self._named("demo-public-a", "demo-public-b", "demo-public-c")
        self.type(DEV, f"subnet tag demo {' '.join(chosen)}")
        card = self.view.wait(DEV, "Approval needed")
        self.say(quoted(card))
        self.claim("the card shows all three subnets", all(name in words(card) for name in chosen))
        self.claim("the card has an Approve button", "tkg:approve" in buttons(card))
        self.claim("nothing was tagged before the approval", self._tagged() == set())
        return card

    def _refused(self, card: Json) -> None:
        for user, reason in ((GUEST, "Guests"), (DEV, "You asked for this")):
            self.say(f"\n{NAMES[user]} clicks Approve")
            self.view.click(user, card["ts"], "tkg:approve")
            answer = self.view.wait(user, reason)
            self.say(quoted(answer))
            self.claim(f"{NAMES[user]} is refused, and only {NAMES[user]} sees why", bool(answer["ephemeral"]))
        now = self._card(card)
        self.claim("the request still waits", "Approval needed" in words(now) and "tkg:approve" in buttons(now))
        self.claim("nothing was tagged after the refused clicks", self._tagged() == set())

    def _approved(self, card: Json) -> None:
        self.say("\napprover clicks Approve")
        self.view.click(APPROVER, card["ts"], "tkg:approve")
        result = self.view.wait(DEV, "Done and proven", thread=card["ts"], since=card["ts"])
        self.view.wait(DEV, "🟢 Done")
        now = self._card(card)
        self.say(quoted(now))
        for message in self.view.messages(DEV, thread=card["ts"])[1:]:
            self.say(quoted(message, "   ↳ "))
        self.claim("the card says that it is done, and who approved", f"<@{APPROVER}>" in words(now))
        self.claim("the card offers nothing but to undo it", buttons(now) == ["tkg:undo"])
        self.claim("the result is in the thread and calls the requester", "@dev" in words(result))
        wanted = {"demo-public-a", "demo-public-b", "demo-public-c"}
        self.claim("EC2 has the tag on exactly the three subnets", self._tagged() == wanted)
        changing = [call for call in self.view.aws_calls() if call["mutating"] and call["service"] == "ec2"]
        self.claim("AWS was asked to change something exactly once", len(changing) == 1)
        self.claim("AWS knows on whose behalf", changing[0]["source_identity"] == DEV)

    def _undone(self, card: Json) -> None:
        self.say("\ndev clicks Undo")
        self.view.click(DEV, card["ts"], "tkg:undo")
        new = self.view.wait(DEV, "Approval needed: untag", since=card["ts"])
        self.say(quoted(new))
        self.claim("an undo waits for its own approval", "tkg:approve" in buttons(new))
        self.claim("nothing was untagged before the approval", len(self._tagged()) == 3)
        self.say("\napprover clicks Approve")
        self.view.click(APPROVER, new["ts"], "tkg:approve")
        self.view.wait(DEV, "Done and proven", thread=new["ts"], since=new["ts"])
        self.view.wait(DEV, "🟢 Done: untag")
        self.say(quoted(self._card(new)))
        self.claim("the tag is off the three subnets again", self._tagged() == set())

    def _cluster(self, vpc: str) -> None:
        command = f"cluster create shop --plan dev --vpc {vpc}"
        self.type(DEV, f"{command} --ssh-key laptop")
        card = self.view.wait(DEV, "Blocked: create")
        self.say(quoted(card))
        self.claim("the card names the key pair that is not there", "laptop" in words(card))
        self.claim("a blocked plan has no Approve button", "tkg:approve" not in buttons(card))
        self.type(DEV, command)
        card = self.view.wait(DEV, "Approval needed: create", timeout=90)
        self.say(quoted(card))
        self.claim("nothing was changed on the management cluster before the approval", not self.view.kube_changes())
        self.say("\napprover clicks Approve")
        self.view.click(APPROVER, card["ts"], "tkg:approve")
        self.view.wait(DEV, "Done and proven", thread=card["ts"], since=card["ts"], timeout=120)
        self.view.wait(DEV, "🟢 Done: create")
        for message in self.view.messages(DEV, thread=card["ts"])[1:]:
            self.say(quoted(message, "   ↳ "))
        cluster = self.view.clusters().get("default/shop", {})
        self.claim("the cluster has an API of its own, with two nodes", len(cluster.get("nodes", [])) == 2)
        self._listed()
        self._proven()

    def _listed(self) -> None:
        self.type(DEV, "cluster list")
        answer = self.view.wait(DEV, "1 cluster, 1 running")
        self.say(quoted(answer))
        self.claim("the list shows the cluster, to dev alone", "shop" in words(answer) and bool(answer["ephemeral"]))

    def _proven(self) -> None:
        self.type(DEV, "cluster verify shop --loadbalancer")
        card = self.view.wait(DEV, "Approval needed: prove", timeout=90)
        self.say("\napprover clicks Approve")
        self.view.click(APPROVER, card["ts"], "tkg:approve")
        result = self.view.wait(DEV, "Done and proven", thread=card["ts"], since=card["ts"], timeout=120)
        seen = [words(message) for message in self.view.messages(DEV, thread=card["ts"])]
        placed = next((text for text in seen if "its load balancer stands in" in text), "")
        self.say(quoted(result))
        self.claim("a LoadBalancer service got its address, in a tagged subnet", "demo-public-a" in placed)
        self.claim("nothing of the proof is left", "are gone" in words(result))

    def _card(self, card: Json) -> Json:
        return next(message for message in self.view.messages(DEV) if message["ts"] == card["ts"])
