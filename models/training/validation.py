"""A fixed set of rendered scans with known truth, for ``trabecula models evaluate``.

Each case is a folder with ``ct.nii.gz``, ``labels.nii.gz`` (canonical labels, same grid) and ``case.json``. Cases
come from a random stream that training never uses, but from the same seed anatomies unless ``--only`` names others:
they show whether a model learned what is rendered, under known fractures, phases, noise and transitional
vertebrae. They do not show how it does on real scans.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813
from models.training import seeds as s
from models.training.render import load_seeds
from models.training.scanner import AIR, ARM, ARM_BONE, METAL
from models.training.scene import Rendered, Story, draw_story, render, whole_grid
from models.training.shape import Fracture
from models.training.transitional import FAR, Variant

STREAM = 0x56414C
"""First word of the generator's seed; training seeds its generators with two words, validation with three."""
MOST_VOXELS = (290, 300, 330)
SLICE_MM = (1.5, 5.0)
LICENCE = {
    "s0327": "CC BY 4.0 (Wasserthal et al., TotalSegmentator training set)",
    "s0328": "CC BY 4.0 (Wasserthal et al., TotalSegmentator training set)",
    "spl": "3D Slicer licence (Talos, Jakab, Kikinis)",
}

OUTSIDE, BODY, CAVITY = 0, 1, 2
CANONICAL = {
    AIR: OUTSIDE, s.LUNG: 3, s.TRACHEA: 4, s.HEART: 5, s.AORTA: 6, s.LIVER: 7, s.SPLEEN: 8, s.KIDNEY: 9,
    s.PARASPINAL: 10, s.MUSCLE: 11, s.WALL: 11, ARM: 11, s.SAT: 12, s.RIB: 13, s.OTHER_BONE: 14, s.S1: 14,
    ARM_BONE: 14, s.CANAL: 15, s.CANAL_RIM: 15, s.DISC: 16, METAL: 17, s.CAVITY_FILL: CAVITY,
}  # fmt: skip
"""Renderer's label to ``trabecula.anatomy.Structure``; a test compares the two."""
BODY_LABEL, POSTERIOR_LABEL = 32, 64


@dataclass(frozen=True)
class Wish:
    """What a case must show; the rest stays random."""

    name: str
    variant: Variant | None = None
    fractures: tuple[Fracture, ...] | None = None
    thickness_mm: float | None = None
    noise_hu: float | None = None
    phase: str | None = None
    metal: bool = False
    seeds: tuple[str, ...] | None = None
    span: tuple[float, float] | None = None
    """Ordinals that must be in view."""


WISHES = (
    Wish("plain", Variant(), (), thickness_mm=2.5),
    Wish("thick-slices", Variant(), (), thickness_mm=5.0),
    Wish("wedge-t12", Variant(), (Fracture(s.T12, "wedge", 0.4, 0.4),), span=(17.5, 21.5)),
    Wish("eleven-ribs", Variant(twelfth_rib_mm=(0.0, 0.0)), span=(16, 21.5)),
    Wish("arterial", Variant(), phase="arterial", thickness_mm=1.5),
    Wish("thirteen-ribs", Variant(lumbar_rib_mm=(75.0, 70.0)), span=(16, 22)),
    Wish("noisy", Variant(), noise_hu=45.0, thickness_mm=1.5),
    Wish(
        "biconcave-l1-l2",
        Variant(),
        (Fracture(20, "biconcave", 0.35, 0.0), Fracture(21, "biconcave", 0.3, 0.0)),
        span=(18, 22.5),
    ),
    Wish("hardware", Variant(), (), metal=True),
    Wish("rib-scraps", Variant(twelfth_rib_mm=(42.0, 48.0)), span=(16, 21.5)),
    Wish("crush-l1", Variant(), (Fracture(20, "crush", 0.45, 0.6),), thickness_mm=3.0, span=(17.5, 22)),
    Wish("one-sided-rib", Variant(twelfth_rib_mm=(FAR, 0.0)), thickness_mm=5.0, span=(16, 21.5)),
    Wish("any"),
    Wish("lumbarised-s1", Variant(lumbarised_s1=True), seeds=("s0327", "s0328"), span=(17, 27)),
)
"""One case each, in turn. How much of the column is in view is left to chance, as in training."""


def canonical(labels: np.ndarray, cavity: np.ndarray) -> np.ndarray:
    """Canonical labels (uint8); organs without a label of their own are cavity inside the wall, body elsewhere."""
    lut = np.full(256, BODY, np.uint8)
    for label, value in CANONICAL.items():
        lut[label] = value
    for n in range(1, 25):
        lut[s.BODY_BASE + n], lut[s.POSTERIOR_BASE + n] = BODY_LABEL + n, POSTERIOR_LABEL + n
    lut[[s.BODY_BASE + 25, s.POSTERIOR_BASE + 25]] = CANONICAL[s.OTHER_BONE]
    out = lut[labels]
    out[cavity & (labels < s.PARASPINAL) & (out == BODY)] = CAVITY
    return out


def _story(seed: s.Seed, wish: Wish, rng: np.random.Generator) -> Story:
    story = draw_story(seed, rng, whole=True)
    while wish.phase is not None and story.phase.name != wish.phase:
        story = draw_story(seed, rng, whole=True)
    protocol = story.protocol
    thickness = wish.thickness_mm or float(np.clip(protocol.thickness_mm, *SLICE_MM))
    # drawn for voxels of 4 mm, where noise has been averaged down; a scan's own voxels have all of it
    noise = wish.noise_hu or protocol.noise_hu * 2.5
    return replace(
        story,
        variant=story.variant if wish.variant is None else wish.variant,
        fractures=story.fractures if wish.fractures is None else wish.fractures,
        metal=wish.metal or (wish.variant is None and story.metal),
        protocol=replace(protocol, thickness_mm=thickness, increment_mm=thickness, noise_hu=noise),
    )


def render_case(seed: s.Seed, wish: Wish, rng: np.random.Generator, pixel_mm: float) -> tuple[Rendered, Story, float]:
    """One scan at its own slice thickness, its story, and mm between its slices. Slices past the seed are left out."""
    story = _story(seed, wish, rng)
    step = story.protocol.increment_mm
    fine = int(np.clip(np.ceil(step / 1.5), 1, 4))
    grid = whole_grid(
        seed, story, rng, (step, pixel_mm, pixel_mm), (fine, 1, 1), MOST_VOXELS, past_the_map=False,
        span=wish.span,
    )  # fmt: skip
    made = render(seed, grid, story, rng)
    kept = made.inside.mean((1, 2)) > 0.5
    cut = {n: getattr(made, n)[kept] for n in ("hu", "labels", "cavity", "inside", "level")}
    return replace(made, **cut), story, step


def _notes(seed: s.Seed, story: Story, step: float) -> list[str]:
    protocol = story.protocol
    said = [
        f"Rendered from the label map {seed.name}, which training uses too.",
        f"{step:g} mm slices, noise {protocol.noise_hu:.0f} HU, HU of bone and iodine times "
        f"{protocol.kvp_factor:.2f}, {story.phase.name} contrast.",
    ]
    for f in story.fractures:
        level = f"T{f.ordinal - s.T1 + 1}" if f.ordinal <= s.T12 else f"L{f.ordinal - s.T12}"
        said.append(f"{level}: {f.kind}, {f.loss:.0%} of the height lost.")
    if story.spurs:
        said.append(f"Osteophytes at {len({n.ordinal for n in story.spurs})} discs.")
    if story.metal:
        said.append("Metal was asked for.")
    return said


def write_case(folder: Path, seed: s.Seed, wish: Wish, rng: np.random.Generator, pixel_mm: float) -> None:
    """Render one case and write its three files."""
    made, story, step = render_case(seed, wish, rng, pixel_mm)
    labels = canonical(made.labels, made.cavity)
    # where the map's end slice is repeated (corners of a tilted scan), nothing of the column is named
    labels[~made.inside & (labels >= BODY_LABEL)] = CANONICAL[s.OTHER_BONE]
    folder.mkdir(parents=True, exist_ok=True)
    for name, volume in (("ct", np.clip(np.rint(made.hu), -1024, 3071).astype(np.int16)), ("labels", labels)):
        image = sitk.GetImageFromArray(volume)  # axes run foot-head, front-back, right-left: LPS with no rotation
        image.SetSpacing((pixel_mm, pixel_mm, step))
        sitk.WriteImage(image, str(folder / f"{name}.nii.gz"), useCompression=True)
    info = {
        "name": folder.name,
        "source": f"models.training.validation, seed anatomy {seed.name}",
        "licence": LICENCE.get(seed.name, "see the seed's source"),
        "label_map": "canonical",
        "reference": "rendered",
        "notes": _notes(seed, story, step),
        "transitional": story.variant.note,
    }
    (folder / "case.json").write_text(json.dumps(info, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=Path, default=Path("runs/seeds"), help="folder made by models.training.seeds")
    parser.add_argument("--out", type=Path, required=True, help="folder of cases")
    parser.add_argument("--count", type=int, default=len(WISHES))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pixel-mm", type=float, default=1.5)
    parser.add_argument("--only", help="name of the one seed anatomy to use, e.g. one that was kept from training")
    args = parser.parse_args()
    if args.only:
        anatomies, weights = [s.Seed.load(args.seeds / f"{args.only}.npz")], np.ones(1)
    else:
        anatomies, weights = load_seeds(args.seeds, "coarse")
    for n in range(args.count):
        wish = WISHES[n % len(WISHES)]
        rng = np.random.default_rng((STREAM, args.seed, n))
        able = np.array([wish.seeds is None or a.name in wish.seeds for a in anatomies])
        if not able.any():
            print(f"{wish.name}: none of the seeds can show it, left out", flush=True)
            continue
        chosen = rng.choice(len(anatomies), p=weights * able / (weights * able).sum())
        folder = args.out / f"{n:03d}-{wish.name}"
        write_case(folder, anatomies[chosen], wish, rng, args.pixel_mm)
        print(folder, anatomies[chosen].name, flush=True)


if __name__ == "__main__":
    main()
