"""Clusters whose time is limited: their owner is warned in the thread, and at the end a deletion is asked for.

The cluster itself says when its time is over and which request said so, so nothing here has to be remembered, and what
somebody changes by hand counts at once. The deletion is a request like any other, in the name of who set the time, once
for each end; that it is the end of a time box which asks, the policy is told.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa

from bot import grammar, messages, offers, outgoing, tables
from bot.ledger import find
from bot.lifecycle import State
from bot.records import TIME_BOX, Draft, Request
from bot.requests import Requests
from handlers.contract import Caller, Fatal, Json, Offer, Retry, Spoken, TimeBox

log = logging.getLogger(__name__)
DELETE, EXPIRE = "cluster delete", "cluster expire"
NOT_BEGUN = (State.PLANNING, State.BLOCKED, State.AWAITING, State.APPROVED)
CALLER = Caller(request="time-boxes", person="tkgbot")
SHORT = 4
"""Of a box that is shorter than four times the warning, the last quarter is warned of."""


class TimeBoxes:
    """Looks after them. `look` is the workshop's list; `warn` and `extend` are seconds."""

    def __init__(
        self,
        requests: Requests,
        look: Callable[[Caller], list[TimeBox]],
        *,
        team: str,
        operations: Mapping[str, Spoken[Any]],
        resolve: Callable[[Json], Json],
        warn: float,
        extend: float,
    ) -> None:
        self.requests = requests
        self.look = look
        self.team = team
        self.operations = operations
        self.resolve = resolve
        self.warn = warn
        self.extend = extend

    def sweep(self) -> list[str]:
        """Warns and asks where it is time; the clusters that were spoken of."""
        try:
            boxes = self.look(CALLER)
        except (Retry, Fatal) as error:
            log.warning("the time boxes could not be looked at: %s", error.message)
            return []
        self._call_off(boxes)
        return [f"{box.namespace}/{box.cluster}" for box in boxes if self._attend(box)]

    def _attend(self, box: TimeBox) -> bool:
        now = self.requests.clock()
        origin = self.requests.get(box.request)
        if origin is None:
            log.warning("the time box of %s/%s names no request that is known", box.namespace, box.cluster)
            return False
        if now >= box.ends_at:
            return self._end(box, origin)
        length = box.ends_at - (origin.started_at or origin.created_at)
        return now >= box.ends_at - min(self.warn, length / SHORT) and self._warn(box, origin)

    def _warn(self, box: TimeBox, origin: Request) -> bool:
        """Once for each end."""
        key = f"{origin.id}:time-box:{box.uid}:{int(box.ends_at)}"

        def work(connection: sa.Connection) -> bool:
            if outgoing.is_there(connection, key):
                return False
            now = self.requests.clock()
            buttons = offers.put(connection, key, origin.channel, (self._longer(box, origin),), now)
            note = messages.ends_soon(box.cluster, box.ends_at, origin.requester)
            outgoing.thread(
                connection, key, origin.id, origin.channel, note.model_copy(update={"buttons": buttons}), now
            )
            return True

        said = self.requests.store.write(work)
        if said:
            self.requests.on_message()
        return said

    def _longer(self, box: TimeBox, origin: Request) -> Offer:
        hours = messages.hours(self.extend)
        given = {"cluster": box.cluster, "namespace": box.namespace, "ttl": messages.span(self.extend)}
        return Offer(
            title=f"Let {box.cluster} live on.",
            label=f"{hours} more from now",
            operation=EXPIRE,
            arguments=self._placed(EXPIRE, given, origin),
        )

    def _placed(self, name: str, given: dict[str, Any], origin: Request) -> Json:
        """The arguments of an operation, in the account and region in which the cluster was made."""
        kind = self.operations[name].arguments
        where = {key: origin.arguments.get(key) for key in ("account", "region") if key in kind.model_fields}
        return self.resolve(kind.model_validate({**given, **where}).model_dump(mode="json"))

    def _call_off(self, boxes: list[TimeBox]) -> None:
        """Deletions that have not begun, and whose cluster has been given more time meanwhile."""
        columns = tables.requests.c
        open_ = self.requests.store.read(
            lambda connection: connection.execute(
                sa.select(columns.id, columns.invocation).where(columns.cause == TIME_BOX, columns.state.in_(NOT_BEGUN))
            ).all()
        )
        ends = {f"time-box:{box.uid}:{int(box.ends_at)}" for box in boxes}
        for row in open_:
            if row.invocation not in ends:
                self.requests.call_off(row.id, messages.was_called_off())

    def _end(self, box: TimeBox, origin: Request) -> bool:
        """The request for the deletion: one for each end, whoever sweeps and however often."""
        invocation = f"time-box:{box.uid}:{int(box.ends_at)}"
        requests = tables.requests.c
        known = self.requests.store.read(
            lambda connection: connection.scalar(sa.select(requests.id).where(requests.invocation == invocation))
        )
        if known is not None:
            return False
        operation = self.operations[DELETE]
        arguments = self._placed(DELETE, {"cluster": box.cluster, "namespace": box.namespace}, origin)
        made = self.requests.submit(
            Draft(
                invocation=invocation, operation=DELETE, arguments=arguments,
                command=grammar.render(operation, arguments), team=origin.team or self.team, channel=origin.channel,
                requester=origin.requester, cause=TIME_BOX,
            )
        )  # fmt: skip

        def tell(connection: sa.Connection) -> None:
            if find(connection, made) is not None:
                note = messages.time_is_over(box.cluster, made, origin.requester)
                key = f"{origin.id}:time-box-end:{box.uid}:{int(box.ends_at)}"
                outgoing.thread(connection, key, origin.id, origin.channel, note, self.requests.clock())

        self.requests.store.write(tell)
        self.requests.on_message()
        return True
