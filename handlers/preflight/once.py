"""One look at AWS that several checks share: each distinct call is made once, whoever asks first."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

from handlers.contract import AwsRead, AwsRefused, Fatal, Json, Retry


class Once:
    """An AwsRead for one preflight. Safe for threads: who asks what is just being asked waits for that answer, or for
    that error. It remembers for good, so it must not outlive the preflight."""

    def __init__(self, aws: AwsRead) -> None:
        self._aws = aws
        self._lock = threading.Lock()
        self._asking: dict[str, threading.Lock] = {}
        self._answers: dict[str, Any] = {}

    @property
    def answered(self) -> bool:
        """True when AWS has answered anything at all."""
        return any(not isinstance(answer, Exception) for answer in self._answers.values())

    def read(self, service: str, operation: str, **parameters: Any) -> Json:
        """One read call."""
        answer: Json = self._once(
            [service, operation, parameters], lambda: self._aws.read(service, operation, **parameters)
        )
        return answer

    def pages(self, service: str, operation: str, key: str, **parameters: Any) -> Iterator[Json]:
        """All items under `key` of a paged read call."""
        items: list[Json] = self._once(
            [service, operation, parameters, key],
            lambda: list(self._aws.pages(service, operation, key, **parameters)),
        )
        return iter(items)

    def _once(self, asked: list[Any], ask: Callable[[], Any]) -> Any:
        name = json.dumps(asked, sort_keys=True)
        with self._lock:
            asking = self._asking.setdefault(name, threading.Lock())
        with asking:
            if name not in self._answers:
                self._answers[name] = _tried(ask)
        answer = self._answers[name]
        if isinstance(answer, Exception):
            raise answer
        return answer


def _tried(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except (Retry, Fatal, AwsRefused) as error:
        return error
