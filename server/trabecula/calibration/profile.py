"""Which calibration methods a site wants, in which order, and what it has fitted."""

from __future__ import annotations

from dataclasses import dataclass

from trabecula.calibration.hu_only import HuOnly
from trabecula.calibration.phantomless import Phantomless
from trabecula.calibration.site import NO_SITE, SiteCorrections

Method = Phantomless | HuOnly
"""The closed set of :class:`trabecula.calibration.method.Calibrator` values."""


@dataclass(frozen=True)
class CalibrationProfile:
    """Methods in order of preference; the first that a scan allows is taken."""

    methods: tuple[Method, ...] = (Phantomless(), HuOnly())
    site: SiteCorrections = NO_SITE
    name: str = "default"


DEFAULT_PROFILE = CalibrationProfile()
