"""Which calibration methods a site wants, in which order, and what it has fitted."""

from __future__ import annotations

from dataclasses import dataclass

from trabecula.calibration.asynchronous import Asynchronous
from trabecula.calibration.certificates import PhantomCertificate
from trabecula.calibration.hu_only import HuOnly
from trabecula.calibration.mass_attenuation import MassAttenuation
from trabecula.calibration.phantomless import Phantomless
from trabecula.calibration.site import NO_SITE, SiteCorrections
from trabecula.calibration.synchronous import SynchronousPhantom

Method = SynchronousPhantom | Asynchronous | Phantomless | HuOnly | MassAttenuation
"""The closed set of :class:`trabecula.calibration.method.Calibrator` values."""


@dataclass(frozen=True)
class CalibrationProfile:
    """Methods in order of preference; the first that a scan allows is taken."""

    methods: tuple[Method, ...] = (Phantomless(), HuOnly())
    site: SiteCorrections = NO_SITE
    phantoms: tuple[PhantomCertificate, ...] = ()
    """Specimens that may lie under a patient; rods are looked for only where there are any."""
    name: str = "default"


DEFAULT_PROFILE = CalibrationProfile()
