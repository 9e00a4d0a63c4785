"""Digital chest phantom: a CT series of a parametric patient whose bone density is known.

Use :func:`write_phantom` with a :class:`PhantomSpec`; option strings are read by :func:`parse_vbmd`,
:func:`parse_fractures` and :func:`parse_levels`.
"""

from trabecula.phantom.spec import (
    DEFAULT_HARDWARE_LEVELS,
    DEFAULT_VBMD_MG_CM3,
    PHANTOM_LEVELS,
    Filter,
    Fracture,
    FractureGrade,
    FractureShape,
    InvalidPhantomSpec,
    Kernel,
    PhantomSpec,
    Rods,
    parse_fractures,
    parse_levels,
    parse_vbmd,
)
from trabecula.phantom.tissues import ContrastPhase
from trabecula.phantom.truth import CompositionTruth, PhantomTruth, VertebraTruth
from trabecula.phantom.write import write_phantom

__all__ = [
    "DEFAULT_HARDWARE_LEVELS",
    "DEFAULT_VBMD_MG_CM3",
    "PHANTOM_LEVELS",
    "CompositionTruth",
    "ContrastPhase",
    "Filter",
    "Fracture",
    "FractureGrade",
    "FractureShape",
    "InvalidPhantomSpec",
    "Kernel",
    "PhantomSpec",
    "PhantomTruth",
    "Rods",
    "VertebraTruth",
    "parse_fractures",
    "parse_levels",
    "parse_vbmd",
    "write_phantom",
]
