"""One simulated scan as the calibration stage would have measured it, beside the truth; kept as JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).parent / "exams"


@dataclass(frozen=True)
class Exam:
    """One scan of one patient, and what is true of it. Densities on the K2HPO4 scale."""

    patient: int
    vbmd_mg_cm3: float
    """Truth: what artefact-free single-energy QCT reads at 120 kVp in this patient without contrast medium. Cut-offs in
    use are on this scale; marrow fat lowers it as it does in practice."""
    mineral_mg_cm3: float
    """Bone mineral itself, not what QCT reads."""
    slope_hu_per_mg_cm3: float
    """Truth: HU per mg/cm3 K2HPO4 at the vertebra in the scan's own beam."""
    size_cm: float
    """Truth: water-equivalent diameter."""
    marrow_fat: float
    tube: str
    kvp: float
    tin: bool
    kernel: str
    noise_hu: float
    slice_mm: float
    phase: str
    header_has_kvp: bool
    header_on_contrast: str
    cut_field: bool
    bone_hu: float
    """Mean of the trabecular region as measured."""
    bone_standard_error_hu: float
    tissue_hu: dict[str, float]
    """air, fat, muscle, blood, cava, liver, spleen, kidney and cortex as measured."""
    tissue_standard_error_hu: dict[str, float]
    diameter_cm: float
    """Water-equivalent, as measured: too small where the field of view cuts the flanks."""
    with_rods: dict[str, float] | None = None
    """The same scan with a phantom under the back: HU of its rods, and ``bone``."""
    phantom_alone: dict[str, float] | None = None
    """The phantom under a body of water on the same scanner, some days before."""
    days_since_phantom_scan: int = 0
    rod_standard_error_hu: float = 0.0
    repeat: str = ""
    """What differs from the patient's first scan, in a series of repeats."""

    @property
    def usual(self) -> bool:
        """Unenhanced, tube voltage in the header, body wholly in view."""
        return self.phase == "none" and self.header_has_kvp and not self.cut_field

    @property
    def beam(self) -> str:
        """Tube voltage and filter as radiographers write them."""
        return f"{'Sn' if self.tin else ''}{self.kvp:.0f}"


def write_exams(exams: Iterable[Exam], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(_rounded(asdict(exam)), separators=(",", ":")) for exam in exams)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_exams(path: Path) -> Sequence[Exam]:
    return [Exam(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return value
