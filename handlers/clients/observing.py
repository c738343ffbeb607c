"""How calls of AWS and Kubernetes are told to whoever measures them: one hook, handed down from the workshop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from handlers.clients.aws_errors import Denied
from handlers.contract import AwsRefused, KubeRefused, Retry

Observer = Callable[[str, str, str, float], None]
"""Is told the cloud (`aws`, `kubernetes`), the service, how the call ended, and the seconds that it took. It must be
quick, and it must not raise."""


def nobody(cloud: str, service: str, outcome: str, seconds: float) -> None:
    """Nobody measures."""


@contextmanager
def observed(observer: Observer, cloud: str, service: str) -> Iterator[None]:
    """Tells how the block ended: `ok`, `retry` (throttled, or not reached), `denied`, `refused`, `failed`."""
    began, outcome = time.perf_counter(), "failed"
    try:
        yield
        outcome = "ok"
    except Retry:
        outcome = "retry"
        raise
    except Denied:
        outcome = "denied"
        raise
    except (AwsRefused, KubeRefused):
        outcome = "refused"
        raise
    finally:
        observer(cloud, service, outcome, time.perf_counter() - began)
