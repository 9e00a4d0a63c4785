"""See :mod:`trabecula.telemetry`."""

from __future__ import annotations

from trabecula.telemetry.faults import describe_fault

__all__ = ["describe_fault"]
