"""This machine's clock against others', as a check. Pure."""

from __future__ import annotations

from handlers.contract.plan import Check

WARN, WRONG = 30.0, 240.0
"""Seconds. AWS and Slack refuse what is more than five minutes off. (AWS IAM User Guide: "Create a signed AWS API
request"; docs.slack.dev/authentication/verifying-requests-from-slack.)"""


def clock_check(check: str, title: str, apart: float, whose: str) -> Check:
    """`apart` is how many seconds this machine's clock is ahead of theirs."""
    evidence = f"This machine's clock is {abs(apart):.0f} s {'ahead of' if apart > 0 else 'behind'} {whose}'s."
    fix = "Set this machine's clock (chrony, systemd-timesyncd, or that of the host under the container)."
    if abs(apart) > WRONG:
        told = f"{evidence} What is 5 minutes off is refused."
        return Check(id=check, title=title, result="block", evidence=told, fix=fix)
    if abs(apart) > WARN:
        return Check(id=check, title=title, result="warn", evidence=evidence, fix=fix)
    return Check(id=check, title=title, result="pass", evidence=f"Within {max(1, round(abs(apart)))} s of {whose}'s.")
