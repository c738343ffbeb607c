"""What happens by the clock inside the bot: expiring, taking up what was left, forgetting. APScheduler only wakes it;
what is due is decided by the rows."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

log = logging.getLogger(__name__)


class Schedule:
    """Runs each job every so many seconds, never twice at once; a late one runs once. `on_ran` is told how each one
    ended."""

    def __init__(self, jobs: Mapping[str, tuple[float, Callable[[], object]]]) -> None:
        self.on_ran: Callable[[str, bool], None] = lambda name, ok: None
        self._scheduler = BackgroundScheduler(executors={"default": ThreadPoolExecutor(4)}, timezone="UTC")
        for name, (seconds, job) in jobs.items():
            self._scheduler.add_job(
                self._logged(name, job), "interval", seconds=seconds, id=name, coalesce=True, max_instances=1,
                misfire_grace_time=None,
            )  # fmt: skip

    def start(self) -> None:
        """Begins."""
        self._scheduler.start()

    def stop(self) -> None:
        """Starts nothing more."""
        self._scheduler.shutdown(wait=False)

    def _logged(self, name: str, job: Callable[[], object]) -> Callable[[], None]:
        def run() -> None:
            try:
                job()
            except Exception:  # the next round tries again
                log.exception("the job %s failed", name)
                self.on_ran(name, False)
            else:
                self.on_ran(name, True)

        return run
