"""The preflight of a cluster in AWS: everything that would fail later, said before, with its evidence and its fix."""

from __future__ import annotations

from handlers.preflight.layout import Layout, Pool
from handlers.preflight.looking import checks, growth_checks
from handlers.preflight.prices import machines_per_hour, per_hour

__all__ = ["Layout", "Pool", "checks", "growth_checks", "machines_per_hour", "per_hour"]
