"""What became of the tie that `account onboard` made: from a new plan of the same request, and from a check of both
sides. Looks at nothing itself."""

from __future__ import annotations

from collections.abc import Sequence

from handlers.account_words import OnboardArguments
from handlers.contract import Check, Fatal, Finding, Offer, Plan, Step

UNSEEN = ("account", "cluster-api", "controllers")
"""Checks that say that nothing could be looked at."""
FIX = "`/tkg account check {}` shows both sides."


def way_drift(arguments: OnboardArguments, plan: Plan, operation: str) -> tuple[Finding, ...]:
    """What `operation` would have to do again, or what stands in its way. Raises Fatal where that cannot be told."""
    name = arguments.identity
    blocking = [check for check in plan.checks if check.blocks]
    unseen = next((check for check in blocking if check.result == "unknown" or check.id in UNSEEN), None)
    if unseen is not None:
        raise Fatal(unseen.evidence, unseen.fix)
    if blocking:
        return (_found(name, f"The way into account {name} is not as it was made.", blocking[0]),)
    lost = [step for step in plan.steps if _words(step, name)]
    if not lost:
        return ()
    is_identity = any(step.kind == "apply" for step in lost)
    done_again = "; ".join(step.title for step in lost)
    return (
        Finding(
            id=f"identity {name}" if is_identity else f"trust {name}",
            kind="identity" if is_identity else "trust",
            title=" ".join(_words(step, name) for step in lost),
            evidence=f"To be done again: {done_again}.",
            account=name,
            repair=Offer(
                title=f"Bring account {name} in again.", label=f"Onboard {name}"[:30], operation=operation,
                arguments=arguments.model_dump(mode="json"),
            ),
        ),
    )  # fmt: skip


def access_drift(arguments: OnboardArguments, checks: Sequence[Check]) -> tuple[Finding, ...]:
    """What a check of both sides finds, where nothing of the tie itself has to be made again: rights that somebody took
    away. Raises Fatal where that cannot be told."""
    wrong = [check for check in checks if check.result == "block"]
    unseen = next((check for check in checks if check.result == "unknown"), None)
    if wrong:
        return (_found(arguments.identity, f"The way into account {arguments.identity} does not work.", wrong[0]),)
    if unseen is not None:
        raise Fatal(unseen.evidence, unseen.fix)
    return ()


def _found(name: str, title: str, check: Check) -> Finding:
    return Finding(
        id=f"trust {name} {check.id}", kind="trust", title=title, evidence=check.evidence,
        fix=check.fix or FIX.format(name), account=name,
    )  # fmt: skip


def _words(step: Step, name: str) -> str:
    """What a step that has to be done again says of how it stands; nothing for one that only waits or looks, or that
    makes a cluster for a moment to prove the way: only the identity's own step has looked at what was there before."""
    if step.kind == "apply" and "uid" not in step.before:
        return ""
    old = {"stack": step.before.get("stack"), "apply": step.before.get("uid")}.get(step.kind)
    words = {
        "stack": f"The stack in account {name} is {'not as this tkgbot makes it' if old else 'gone'}.",
        "await-stack": f"The roles in account {name} are gone, or cannot be seen.",
        "trust": f"The role in account {name} does not let the controllers in any more.",
        "grant": f"The controllers have lost the right to get into account {name}.",
        "apply": f"The identity {name} {'does not say any more what was approved' if old else 'is missing'}.",
    }
    return words.get(step.kind, "")
