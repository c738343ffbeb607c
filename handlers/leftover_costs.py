"""What leftovers of a cluster cost, from a small table with a date. (AWS's public price lists for US East, N. Virginia:
Elastic Load Balancing, Amazon EBS, public IPv4 addresses.)"""

from __future__ import annotations

from dataclasses import dataclass

from handlers.preflight.prices import VIRGINIA

AS_OF = VIRGINIA.as_of
HOURS = 730
"""Of a month, as AWS reckons."""
BALANCERS = {"classic": 0.025, "application": 0.0225, "network": 0.0225, "gateway": 0.0125}
ADDRESS = 0.005
VOLUMES = {"gp2": 0.10, "gp3": 0.08, "st1": 0.045, "sc1": 0.015, "standard": 0.05}
"""US dollars for a GiB and month, without provisioned operations."""


@dataclass(frozen=True)
class Costs:
    """Prices in a region: US dollars an hour, None where the table does not say."""

    region: str

    def instance(self, kind: str) -> float | None:
        """An instance of that type."""
        return self._here(VIRGINIA.per_hour_usd.get(kind))

    def balancer(self, kind: str) -> float | None:
        """A load balancer without traffic."""
        return self._here(BALANCERS.get(kind))

    def address(self) -> float | None:
        """An IPv4 address."""
        return self._here(ADDRESS)

    def volume(self, kind: str, gib: int) -> float | None:
        """A volume of that size."""
        monthly = VOLUMES.get(kind)
        return self._here(None if monthly is None else monthly * gib / HOURS)

    def _here(self, price: float | None) -> float | None:
        return price if self.region == VIRGINIA.region else None
