"""The tour's last act: the digest before and after something broke by hand, and the repair that it offers.

Nobody tells the bot what was broken: it compares what its requests made with what is there.
"""

from __future__ import annotations

from bot.tour_accounts import Guide, approved, break_trust, trusted
from bot.tour_view import DEV, Json, buttons, quoted, words

DIGEST = "platform"
ADD = f'digest add {DIGEST} "weekdays 09:00" --zone Europe/Berlin'
LOST = "does not let the controllers in any more"


def play(guide: Guide) -> None:
    """Breaks the trust of an account between two digests, has it repaired by a button and told as mended."""
    guide.type(DEV, ADD)
    answer = guide.view.wait(DEV, f"has the digest {DIGEST} sent here")
    guide.say(quoted(answer))
    guide.claim("the channel is told when it comes, in whose time", "Europe/Berlin" in words(answer))
    calm = _sent(guide)
    guide.claim("the digest is for the channel", not calm["ephemeral"])
    guide.claim("three clusters are told, and that all are well", "3 clusters, all well" in words(calm))
    guide.claim("nothing drifted", LOST not in words(calm))
    break_trust(guide)
    broken = _sent(guide)
    guide.claim("the digest after it says what changed, and in which account", _finding(broken))
    guide.claim("and offers the repair", _repair(broken) != "")
    guide.say("\ndev clicks Onboard team-a")
    guide.view.click(DEV, broken["ts"], _repair(broken))
    card = guide.view.wait(DEV, "Approval needed: onboard", since=broken["ts"], timeout=90)
    guide.say(quoted(card))
    guide.claim("the repair is a request like any other", "tkg:approve" in buttons(card) and not trusted(guide.view))
    approved(guide, card, "🟢 Done: onboard")
    guide.claim("the trust is mended, by one statement", len(trusted(guide.view)) == 1)
    mended = _sent(guide)
    guide.claim("the digest after the repair says that it is mended", "Mended:" in words(mended))


def _sent(guide: Guide) -> Json:
    """The digest, wanted now."""
    before = guide.view.messages(DEV)[-1]["ts"]
    guide.type(DEV, f"digest now {DIGEST}")
    digest = guide.view.wait(DEV, "wanted it now", since=before, timeout=60)
    guide.say(quoted(digest))
    for message in guide.view.messages(DEV, thread=digest["ts"])[1:]:
        guide.say(quoted(message, "   ↳ "))
    return digest


def _finding(digest: Json) -> bool:
    return LOST in words(digest) and "team-a" in words(digest)


def _repair(digest: Json) -> str:
    """The action of the button that repairs."""
    return next((action for action in buttons(digest) if action.startswith("tkg:offer")), "")
