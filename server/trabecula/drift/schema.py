"""The tables of drift, on the database's one set of tables."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Date, Double, Identity, Index, Integer, Table, Text

from trabecula.calibration.calibration import ReferenceTissue
from trabecula.work.schema import METADATA, MOMENT

TISSUE_COLUMNS: Final = {
    ReferenceTissue.OUTSIDE_AIR: "air",
    ReferenceTissue.SUBCUTANEOUS_FAT: "fat",
    ReferenceTissue.PARASPINAL_MUSCLE: "muscle",
    ReferenceTissue.AORTIC_BLOOD: "blood",
}
_FIGURES: Final = (
    *(f"{tissue}_{what}" for tissue in TISSUE_COLUMNS.values() for what in ("hu", "deviation_hu")),
    *("vertebra_hu", "bmd_mg_cm3", "confidence"),
)

series_fact = Table(
    "series_fact",
    METADATA,
    Column("id", BigInteger, Identity(), primary_key=True),
    # The day alone, and no id of the screening: nothing leads from here to a person.
    Column("day", Date, nullable=False),
    Column("status", Text, nullable=False),
    Column("refusal", Text),
    Column("category", Text),
    Column("kvp", Double),
    Column("slice_thickness_mm", Double),
    Column("kernel", Text),
    Column("contrast_enhanced", Boolean),
    Column("age_band", Text),
    Column("sex", Text),
    *(Column(name, Double) for name in _FIGURES),
    Index("ix_series_fact_day", "day"),
)
"""One row for each screening that ended with a result."""

drift_evaluation = Table(
    "drift_evaluation",
    METADATA,
    Column("evaluated_at", MOMENT, primary_key=True),
    Column("feature", Text, primary_key=True),
    Column("first_day", Date, nullable=False),
    Column("last_day", Date, nullable=False),
    Column("series", Integer, nullable=False),
    # None where there is no reference.
    Column("psi", Double),
    Column("verdict", Text, nullable=False),
    Column("reference", Text),
)
"""One row for each feature of each evaluation."""
