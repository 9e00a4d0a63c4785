"""Heights, deformities, shell and region of the bone stage against phantoms whose truth is known.

    python tests/benchmarks/bone.py --out docs/benchmarks

Writes ``bone.json`` and ``bone.md``. Labels are the phantom's own, so this is the bone stage alone; ``--networks 3``
adds that many phantoms through the whole chain. Phantoms show a range of shapes, not the range that patients have.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from trabecula.anatomy import Anatomy, Level, VertebraInstance
from trabecula.assets import models_dir
from trabecula.bone.measure import measure_vertebrae
from trabecula.bone.vertebra import DeformityStatus, VertebraMeasurement
from trabecula.clinical import load_constants
from trabecula.geometry import Geometry
from trabecula.imaging.limits import ImagingLimits
from trabecula.imaging.study import CtVolume
from trabecula.outcome import Refusal
from trabecula.phantom import FractureGrade, FractureShape, Kernel, PhantomSpec, parse_fractures, write_phantom
from trabecula.phantom.render import Patient, ScanGrid, build_patient, render, scan_grid, scanned
from trabecula.phantom.spine import VertebraFrame
from trabecula.phantom.vertebra import body_distances
from trabecula.screening import load_engine, screen
from trabecula.segmentation import RuntimeSettings

LEVELS = tuple(Level.from_ordinal(n) for n in range(Level.T8.ordinal, Level.L2.ordinal + 1))
SCANS = (
    (1.0, Kernel.SOFT, 15.0),
    (1.25, Kernel.SHARP, 40.0),
    (2.0, Kernel.MEDIUM, 20.0),
    (2.5, Kernel.SOFT, 14.0),
    (3.0, Kernel.SOFT, 14.0),
    (5.0, Kernel.SOFT, 12.0),
)
SETS = (
    (),
    ("T10=grade2-biconcave", "T12=grade2-wedge", "L1=grade1-crush"),
    ("T9=grade3-biconcave", "T11=grade1-biconcave", "L1=grade3-wedge"),
    ("T8=grade2-crush", "T11=grade1-wedge", "L2=grade3-crush"),
    ("T9=grade1-crush", "T12=grade2-biconcave", "L2=grade2-wedge"),
)
"""Fractures of one phantom each; every set is scanned in every way."""
VARIANTS = {Level.T9: "short body", Level.T12: "mild wedge", Level.L2: "short body"}
SHELLS_MM = (0.25, 0.5, 1.0)
DOSES_HU = (10.0, 25.0, 45.0, 70.0)


def fracture_specs(seed: int) -> Iterable[tuple[PhantomSpec, dict[Level, str]]]:
    """Every set of fractures in every kind of scan, then normal variants without a fracture."""
    none: dict[Level, str] = {}
    cases = [(scan_, text, none) for scan_ in SCANS for text in SETS] + [(scan_, (), VARIANTS) for scan_ in SCANS]
    for n, ((slice_mm, kernel, noise), text, variants) in enumerate(cases):
        spec = PhantomSpec(
            seed=seed + n, slice_mm=slice_mm, kernel=kernel, noise_hu=noise,
            top=LEVELS[0], bottom=LEVELS[-1], fractures=parse_fractures(text),
        )  # fmt: skip
        yield spec, variants


def with_variants(patient: Patient, variants: dict[Level, str]) -> Patient:
    """Bodies that have lost 13 % of their front, or of all their height, without having been broken."""
    frames = dict(patient.frames)
    for level, variant in variants.items():
        f = frames[level]
        if variant == "mild wedge":
            frames[level] = replace(f, front_mm=0.87 * f.front_mm, middle_mm=0.95 * f.middle_mm)
        else:
            frames[level] = replace(
                f, front_mm=0.87 * f.front_mm, middle_mm=0.87 * f.middle_mm, back_mm=0.87 * f.back_mm
            )
    return replace(patient, frames=frames)


def scan(patient: Patient, *, whole: bool = False) -> tuple[CtVolume, Anatomy]:
    """The spine's surroundings (or whole slices) as scanned, with the true labels."""
    spec, grid = patient.spec, scan_grid(patient)
    inside = [
        patient.frames[level] for level in patient.frames if spec.top.ordinal <= level.ordinal <= spec.bottom.ordinal
    ]
    centre_y = [float(frame.centre[1]) for frame in inside]
    if not whole:
        near_y = (grid.y_mm >= min(centre_y) - 40.0) & (grid.y_mm <= max(centre_y) + 70.0)
        grid = ScanGrid(
            grid.x_mm[np.abs(grid.x_mm) <= 58.0], grid.y_mm[near_y], grid.z_mm, grid.pixel_mm, grid.slice_mm
        )
    slabs = list(render(patient, grid))
    hu = np.concatenate([scanned(patient, grid, slab) for slab in slabs])
    labels = np.concatenate([slab.labels for slab in slabs])
    affine = np.eye(4)
    affine[:3, :3] = [[0, 0, grid.pixel_mm], [0, grid.pixel_mm, 0], [grid.slice_mm, 0, 0]]
    affine[:3, 3] = [grid.x_mm[0], grid.y_mm[0], grid.z_mm[0]]
    geometry = Geometry(hu.shape, affine)
    vertebrae = tuple(
        _instance(level, frame)
        for level, frame in patient.frames.items()
        if spec.top.ordinal <= level.ordinal <= spec.bottom.ordinal
    )
    return CtVolume(hu, geometry), Anatomy(labels, geometry, vertebrae, (), ())


def _instance(level: Level, frame: VertebraFrame) -> VertebraInstance:
    centre, superior, anterior = (
        (float(v[0]), float(v[1]), float(v[2])) for v in (frame.centre, frame.superior, frame.anterior)
    )
    return VertebraInstance(level, 1.0, centre, superior, anterior, complete=True)


def true_heights(frame: VertebraFrame) -> tuple[float, float, float]:
    """The drawn body's heights where the stage reads them: at the margins of its waist, ten millimetres across."""
    across = np.linspace(-5.0, 5.0, 7).astype(np.float32)
    heights = []
    for forward in (0.93 * frame.half_depth_mm - 0.5, 0.0, -frame.half_depth_mm + 2.7):
        along = np.full(7, forward, dtype=np.float32)
        _, plate = body_distances(across, along, np.zeros(7, dtype=np.float32), frame)
        heights.append(float(-2.0 * plate.mean()))
    return heights[0], heights[1], heights[2]


def measured(volume: CtVolume, anatomy: Anatomy) -> tuple[VertebraMeasurement, ...]:
    found = measure_vertebrae(volume, anatomy, load_constants())
    assert not isinstance(found, Refusal)
    return found


def fracture_rows(seed: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for spec, variants in fracture_specs(seed):
        patient = with_variants(build_patient(spec), variants)
        rows.extend(_fracture_row(spec, patient, variants, vertebra) for vertebra in measured(*scan(patient)))
    return rows


def _fracture_row(
    spec: PhantomSpec, patient: Patient, variants: dict[Level, str], vertebra: VertebraMeasurement
) -> dict[str, Any]:
    fracture, deformity = spec.fractures.get(vertebra.level), vertebra.deformity
    heights = (vertebra.height_anterior_mm, vertebra.height_middle_mm, vertebra.height_posterior_mm)
    return {
        "seed": spec.seed,
        "slice_mm": spec.slice_mm,
        "level": str(vertebra.level),
        "grade": int(fracture.grade) if fracture else 0,
        "kind": str(fracture.shape) if fracture else None,
        "variant": variants.get(vertebra.level),
        "found_status": str(deformity.status) if deformity else None,
        "found_grade": deformity.grade if deformity else None,
        "found_kind": str(deformity.kind) if deformity and deformity.kind else None,
        "heights_mm": heights,
        "true_heights_mm": true_heights(patient.frames[vertebra.level]),
        "rim_error_mm": vertebra.height_rim_standard_uncertainty_mm,
        "middle_error_mm": vertebra.height_middle_standard_uncertainty_mm,
        "hu_error": None if vertebra.hu_mean is None else vertebra.hu_mean - patient.bones[vertebra.level].trabecular,
        "excluded": [str(reason) for reason in vertebra.excluded],
    }


def shell_rows(seed: int) -> list[dict[str, Any]]:
    rows = []
    noises = {Kernel.SOFT: 12.0, Kernel.MEDIUM: 18.0, Kernel.SHARP: 40.0}
    cases = [(kernel, shell, 1.25) for kernel in noises for shell in SHELLS_MM]
    cases += [(Kernel.SOFT, 0.5, 2.5), (Kernel.SOFT, 0.5, 5.0)]
    for n, (kernel, shell_mm, slice_mm) in enumerate(cases):
        spec = PhantomSpec(
            seed=seed + n, kernel=kernel, noise_hu=noises[kernel], slice_mm=slice_mm, cortex_mm=shell_mm,
            top=Level.T12, bottom=Level.T12,
        )  # fmt: skip
        patient = build_patient(spec)
        for vertebra in measured(*scan(patient, whole=True)):
            cortex, bone = vertebra.cortex, patient.bones[vertebra.level]
            assert cortex is not None
            share = min(1.0, shell_mm / cortex.layer_mm)
            rows.append(
                {
                    "seed": spec.seed, "kernel": str(kernel), "slice_mm": slice_mm, "level": str(vertebra.level),
                    "true_thickness_mm": shell_mm, "thickness_mm": cortex.thickness_mm,
                    "thickness_error_mm": cortex.thickness_standard_uncertainty_mm,
                    "true_attenuation_hu": bone.trabecular + share * (bone.cortex - bone.trabecular),
                    "attenuation_hu": cortex.attenuation_hu,
                    "attenuation_error_hu": cortex.attenuation_standard_uncertainty_hu,
                    "fwhm_mm": cortex.blur_fwhm_mm, "why_not": cortex.why_not,
                }
            )  # fmt: skip
    return rows


def dose_rows(seed: int) -> list[dict[str, Any]]:
    rows = []
    for n, noise in enumerate(DOSES_HU):
        spec = PhantomSpec(seed=seed + n, noise_hu=noise, slice_mm=1.25, top=Level.T11, bottom=Level.L2)
        patient = build_patient(spec)
        for vertebra in measured(*scan(patient)):
            growth = vertebra.roi_growth
            assert vertebra.roi is not None
            assert vertebra.hu_mean is not None
            rows.append(
                {
                    "asked_noise_hu": noise, "level": str(vertebra.level),
                    "hu_error": vertebra.hu_mean - patient.bones[vertebra.level].trabecular,
                    "volume_mm3": vertebra.roi.volume_mm3,
                    "volume_before_mm3": growth.volume_before_mm3 if growth else vertebra.roi.volume_mm3,
                    "standard_error_hu": growth.standard_error_after_hu if growth else None,
                    "standard_error_before_hu": growth.standard_error_before_hu if growth else None,
                    "slices_before": growth.slices_before if growth else None,
                    "slices_after": growth.slices_after if growth else None,
                }
            )  # fmt: skip
    return rows


def network_rows(count: int, seed: int) -> list[dict[str, Any]]:
    """Whole phantoms through the whole chain, three fractures each."""
    engine = load_engine(models_dir(), RuntimeSettings(threads=1), ImagingLimits())
    rows = []
    for n in range(count):
        fractures = parse_fractures(SETS[1 + n % (len(SETS) - 1)])
        spec = PhantomSpec(seed=seed + n, slice_mm=(2.5, 1.25, 2.0)[n % 3], fractures=fractures)
        with tempfile.TemporaryDirectory() as folder:
            write_phantom(spec, Path(folder))
            report = screen([Path(folder)], engine).report
        for vertebra in report.vertebrae:
            if vertebra.deformity is None:
                continue
            fracture = spec.fractures.get(vertebra.level)
            rows.append(
                {
                    "seed": spec.seed, "slice_mm": spec.slice_mm, "level": str(vertebra.level),
                    "grade": int(fracture.grade) if fracture else 0,
                    "kind": str(fracture.shape) if fracture else None, "variant": None,
                    "found_status": str(vertebra.deformity.status), "found_grade": vertebra.deformity.grade,
                    "found_kind": str(vertebra.deformity.kind) if vertebra.deformity.kind else None,
                    "excluded": [str(reason) for reason in vertebra.excluded],
                }
            )  # fmt: skip
    return rows


def stage_seconds(seed: int) -> dict[str, float]:
    """Processor time of the stage on a whole study, T1 to L3."""
    volume, anatomy = scan(build_patient(PhantomSpec(seed=seed, slice_mm=2.5)), whole=True)
    measured(volume, anatomy)
    times = []
    for _ in range(3):
        start = time.process_time()
        measured(volume, anatomy)
        times.append(time.process_time() - start)
    return {"slices": float(volume.hu.shape[0]), "vertebrae": float(len(anatomy.vertebrae)), "cpu_s": min(times)}


def as_markdown(result: dict[str, Any]) -> str:
    rows = result["fractures"]
    options = f" --networks {result['networks']}" if result["networks"] else ""
    phantoms, broken = len({row["seed"] for row in rows}), sum(row["grade"] > 0 for row in rows)
    variants = sum(row["variant"] is not None for row in rows)
    lines = [
        "# Bone stage",
        "",
        f"Made by `python tests/benchmarks/bone.py{options}`: {phantoms} phantoms T8 to L2, slices 1 to 5 mm,"
        f" three kernels, {broken} fractures of every kind and grade, {variants} variants (13 % lost at the front"
        " or over all). Labels are the phantom's own: this is the bone stage alone, on drawn shapes, not on patients.",
        "",
        "## Deformities",
        "",
        *_detection(rows),
        "",
        "## Heights",
        "",
        *_heights(rows),
    ]
    if result["network_rows"]:
        lines += ["", "## With the networks", "", *_networks(result["network_rows"])]
    lines += ["", "## Shell", "", *_shell(result["shell"]), "", "## Region and dose", "", *_dose(result["dose"])]
    speed = result["speed"]
    lines += [
        "", "## Time", "",
        f"{speed['cpu_s']:.2f} s of one core for {speed['vertebrae']:.0f} vertebrae in {speed['slices']:.0f} slices of"
        " 512 x 512 (best of three, on a busy machine).",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _counts(rows: list[dict[str, Any]]) -> tuple[str, str, str]:
    suspected = str(DeformityStatus.SUSPECTED)
    named = {suspected, str(DeformityStatus.POSSIBLE)}
    marked = [row for row in rows if row["grade"] >= 2]
    mild = [row for row in rows if row["grade"] == 1]
    sound = [row for row in rows if row["grade"] == 0]
    found = sum(row["found_status"] == suspected for row in marked)
    seen = sum(row["found_status"] in named for row in mild)
    false = sum(row["found_status"] == suspected for row in sound)
    return f"{found} of {len(marked)}", f"{seen} of {len(mild)}", f"{false} of {len(sound)}"


def _detection(rows: list[dict[str, Any]]) -> list[str]:
    lines = [
        "| slices | grade 2, 3 suspected | grade 1 suspected or possible | sound suspected | sound called possible |",
        "|---|---|---|---|---|",
    ]
    groups = [(f"{mm:g} mm", [row for row in rows if row["slice_mm"] == mm]) for mm, *_ in SCANS]
    groups += [("up to 3 mm", [row for row in rows if row["slice_mm"] <= 3.0]), ("all", rows)]
    for name, group in groups:
        possible = sum(row["grade"] == 0 and row["found_status"] == str(DeformityStatus.POSSIBLE) for row in group)
        lines.append(f"| {name} | {' | '.join(_counts(group))} | {possible} |")
    thin = [row for row in rows if row["slice_mm"] <= 3.0]
    lines += ["", "By kind and grade, slices up to 3 mm: suspected (possible) of all; grade met, kind met.", ""]
    lines += ["| | grade 1 | grade 2 | grade 3 |", "|---|---|---|---|"]
    for shape in FractureShape:
        cells = [
            _kind_cell([row for row in thin if row["kind"] == str(shape) and row["grade"] == int(grade)])
            for grade in FractureGrade
        ]
        lines.append(f"| {shape} | {' | '.join(cells)} |")
    variants = [row for row in thin if row["variant"] is not None]
    called = sum(row["found_status"] in ("suspected", "possible") for row in variants)
    lines += ["", f"Normal variants called suspected or possible, slices up to 3 mm: {called} of {len(variants)}."]
    return lines


def _kind_cell(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return "-"
    suspected = sum(row["found_status"] == "suspected" for row in rows)
    possible = sum(row["found_status"] == "possible" for row in rows)
    grade = sum(row["found_grade"] == row["grade"] for row in rows)
    kind = sum(row["found_kind"] == row["kind"] for row in rows)
    return f"{suspected} ({possible}) of {len(rows)}; {grade}, {kind}"


def _heights(rows: list[dict[str, Any]]) -> list[str]:
    lines = [
        "Measured minus true where the height is read, mm: mean, root mean square; and the share of errors within 1.96"
        " stated standard uncertainties.",
        "",
        "| slices | n | anterior | middle | posterior | within, rims | within, middle |",
        "|---|---|---|---|---|---|---|",
    ]
    for mm, *_ in SCANS:
        group = [row for row in rows if row["slice_mm"] == mm and row["heights_mm"][0] is not None]
        errors = np.array([np.subtract(row["heights_mm"], row["true_heights_mm"]) for row in group])
        rim = np.array([row["rim_error_mm"] for row in group])
        middle = np.array([row["middle_error_mm"] for row in group])
        cells = [f"{e.mean():+.2f}, {np.sqrt(np.mean(e**2)):.2f}" for e in errors.T]
        in_rim = np.mean(np.abs(errors[:, [0, 2]]) <= 1.96 * rim[:, None])
        in_middle = np.mean(np.abs(errors[:, 1]) <= 1.96 * middle)
        lines.append(
            f"| {mm:g} mm | {len(group)} | {' | '.join(cells)} | {100 * in_rim:.0f} % | {100 * in_middle:.0f} % |"
        )
    sound = [row["hu_error"] for row in rows if not row["excluded"] and row["hu_error"] is not None]
    lines += [
        "",
        f"Attenuation of the {len(sound)} bodies that count: mean error {statistics.fmean(sound):+.2f} HU, root mean"
        f" square {statistics.fmean(e * e for e in sound) ** 0.5:.2f} HU.",
    ]
    return lines


def _networks(rows: list[dict[str, Any]]) -> list[str]:
    found, seen, false = _counts(rows)
    lines = [
        f"Whole phantoms through the whole chain with the models of this version: grade 2 and 3 suspected {found},"
        f" grade 1 suspected or possible {seen}, sound bodies suspected {false}.",
        "",
        "| seed | slices | level | true | found |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        if row["grade"] or row["found_status"] in ("suspected", "possible"):
            true = f"grade {row['grade']} {row['kind']}" if row["grade"] else "sound"
            found = f"{row['found_status']}, grade {row['found_grade']} {row['found_kind'] or ''}"
            lines.append(f"| {row['seed']} | {row['slice_mm']:g} mm | {row['level']} | {true} | {found} |")
    return lines


def _shell(rows: list[dict[str, Any]]) -> list[str]:
    lines = [
        "Thickness for the attenuation that compact bone has at the voltage, and mean attenuation of the outer 1.5 mm"
        " of T12. The point spread is measured from the edge between air and skin.",
        "",
        "| kernel | slices | point spread (FWHM) | true mm | measured mm | true HU | measured HU |",
        "|---|---|---|---|---|---|---|",
    ]
    for seed in dict.fromkeys(row["seed"] for row in rows):
        pair = [row for row in rows if row["seed"] == seed]
        first = pair[0]
        head = f"| {first['kernel']} | {first['slice_mm']:g} mm | {first['fwhm_mm']:.2f} mm"
        if first["thickness_mm"] is None:
            lines.append(f"{head} | {first['true_thickness_mm']:.2f} | {first['why_not']} | | |")
            continue
        thickness, attenuation, true_hu, u_mm, u_hu = (
            statistics.fmean(row[name] for row in pair)
            for name in (
                "thickness_mm", "attenuation_hu", "true_attenuation_hu", "thickness_error_mm", "attenuation_error_hu",
            )
        )  # fmt: skip
        lines.append(
            f"{head} | {first['true_thickness_mm']:.2f} | {thickness:.2f} ± {u_mm:.2f} | {true_hu:.0f} |"
            f" {attenuation:.0f} ± {u_hu:.0f} |"
        )
    return lines


def _dose(rows: list[dict[str, Any]]) -> list[str]:
    lines = [
        "T11 to L2, 1.25 mm slices, soft kernel. Standard error of a region's mean by noise alone, before and after the"
        " region grew; errors against the truth after.",
        "",
        "| noise | bodies whose region grew | volume | standard error | slices | error of the mean, RMS |",
        "|---|---|---|---|---|---|",
    ]
    for noise in DOSES_HU:
        group = [row for row in rows if row["asked_noise_hu"] == noise]
        grown = [row for row in group if row["standard_error_hu"] is not None]
        volumes = [statistics.fmean(row[name] for row in group) / 1000 for name in ("volume_before_mm3", "volume_mm3")]
        error = statistics.fmean(row["hu_error"] ** 2 for row in group) ** 0.5
        change = [
            f"{statistics.fmean(row[a] for row in grown):.{d}f} to {statistics.fmean(row[b] for row in grown):.{d}f}"
            if grown
            else "-"
            for a, b, d in (
                ("standard_error_before_hu", "standard_error_hu", 2),
                ("slices_before", "slices_after", 0),
            )
        ]
        lines.append(
            f"| {noise:.0f} HU | {len(grown)} of {len(group)} | {volumes[0]:.1f} to {volumes[1]:.1f} cm3 | {change[0]}"
            f"{' HU' if grown else ''} | {change[1]} | {error:.1f} HU |"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks"))
    parser.add_argument("--networks", type=int, default=0, help="phantoms through the whole chain")
    parser.add_argument("--seed", type=int, default=500)
    options = parser.parse_args()
    result = {
        "networks": options.networks,
        "fractures": fracture_rows(options.seed),
        "shell": shell_rows(options.seed + 500),
        "dose": dose_rows(options.seed + 600),
        "speed": stage_seconds(options.seed + 700),
        "network_rows": network_rows(options.networks, options.seed + 800),
    }
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "bone.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (options.out / "bone.md").write_text(as_markdown(result), encoding="utf-8")
    sys.stdout.write(as_markdown(result))


if __name__ == "__main__":
    main()
