"""Every clinical number, from one versioned data file, each with its source and whether that was checked."""

from trabecula.clinical.constants import ClinicalConstant, ClinicalConstants, Row, load_constants, parse_constants

__all__ = ["ClinicalConstant", "ClinicalConstants", "Row", "load_constants", "parse_constants"]
