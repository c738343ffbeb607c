"""Looks at many things at once, within one bound of time: an answer or a gap for each, and never an error."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

from handlers.contract import Fatal, Gap, Retry, UsageError

log = logging.getLogger(__name__)
AT_ONCE = 8
Jobs = Mapping[str, Callable[[], Any]]
"""Work by what it looks at, in words."""


class Together:
    """One look. `bound` is how long it may take from now on (seconds)."""

    def __init__(self, bound: float) -> None:
        self._bound = bound
        self._until = time.monotonic() + bound

    def all(self, *groups: Jobs) -> tuple[dict[str, Any], dict[str, Gap]]:
        """Answers and gaps by what was looked at. Each group has threads of its own, so that many slow ones of one kind
        keep nobody else waiting."""
        futures: dict[str, Future[Any]] = {}
        for jobs in groups:
            if jobs:
                pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="survey")
                futures |= {what: pool.submit(job) for what, job in jobs.items()}
                pool.shutdown(wait=False)
        wait(futures.values(), timeout=max(0.0, self._until - time.monotonic()))
        answers: dict[str, Any] = {}
        gaps: dict[str, Gap] = {}
        for what, future in futures.items():
            if future.cancel() or not future.done():
                gaps[what] = Gap(what=what, why=f"It was not looked at within {self._bound:g} seconds.")
            elif (error := future.exception()) is not None:
                gaps[what] = Gap(what=what, why=_told(what, error))
            else:
                answers[what] = future.result()
        return answers, gaps


def _told(what: str, error: BaseException) -> str:
    if isinstance(error, Retry | Fatal | UsageError):
        return error.message
    log.error("the look at %s failed", what, exc_info=error)
    return "Something went wrong inside tkgbot; the log has the details."
