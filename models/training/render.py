"""CT rendered from seed anatomies: deformation, tissue attenuation, contrast, body habitus, scanner.

``render_coarse`` gives whole scans at 4 mm, ``render_fine`` boxes around the column at 1.5 mm, as a ``Sample``:
HU, classes, spine coordinate, ordinals and centres of the vertebrae. The command line keeps filling a folder with
such samples for the trainer to draw from. The same seed anatomy and generator give the same sample.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np
from models.training import seeds as s
from models.training.channels import (  # noqa: F401  the networks take their channels from here
    COARSE_CHANNELS,
    FINE_CHANNELS,
    FINE_LUT,
    ORDINAL_LUT,
    Sample,
    coarse_classes,
    is_spine,
)
from models.training.scene import draw_story, render, whole_grid
from models.training.shape import Grid

COARSE_MM, FINE_MM = 4.0, 1.5
FINELY_SHARE = 0.35
"""Share of the boxes at 1.5 mm that are drawn at 0.75 mm."""


def render_coarse(seed: s.Seed, rng: np.random.Generator) -> Sample:
    """One whole scan at 4 mm."""
    story = draw_story(seed, rng, whole=True)
    grid = whole_grid(seed, story, rng, (COARSE_MM,) * 3, (2, 2, 2), (112, 104, 112))
    made = render(seed, grid, story, rng)
    classes = coarse_classes(made.labels, made.cavity)
    level, ordinal = made.level.copy(), ORDINAL_LUT[made.labels]
    level[~is_spine(classes) | ~made.inside] = np.nan
    ordinal[~made.inside] = 0
    return Sample(_stored(made.hu), classes, level, ordinal, made.centres)


def render_fine(seed: s.Seed, rng: np.random.Generator, shape: tuple[int, int, int] = (96, 88, 96)) -> Sample:
    """One box around the column at 1.5 mm."""
    story = draw_story(seed, rng, whole=False)
    line = seed.centreline
    wanted = rng.normal(18.5, 2.5) if rng.random() < 0.75 else rng.uniform(8, 24)
    ordinal = float(np.clip(wanted, line[0, 0], line[-1, 0]))
    centre = np.array([np.interp(ordinal, line[:, 0], line[:, a]) for a in (1, 2, 3)])
    centre += rng.normal(0, 1, 3) * (8, 6, 8) + (0, 6, 0)
    # eight drawn voxels each look better at the edges and cost seven times as much: not for every sample
    finely = seed.hu is None and rng.random() < FINELY_SHARE
    grid = Grid(centre, shape, (FINE_MM,) * 3, (2, 2, 2) if finely else (1, 1, 1))
    made = render(seed, grid, story, rng)
    hu, classes, ordinals = made.hu, FINE_LUT[made.labels], ORDINAL_LUT[made.labels]
    level = made.level.copy()
    end = ~made.inside
    hu[end], classes[end], ordinals[end], level[end] = -1024, 0, 0, np.nan
    return Sample(_stored(hu), classes, level, ordinals, made.centres)


def _stored(hu: np.ndarray) -> np.ndarray:
    return np.clip(hu, -1024, 3000).astype(np.int16)


def load_seeds(
    folder: Path, kind: str, real_share: float = 0.0, pseudo_share: float = 0.0
) -> tuple[list[s.Seed], np.ndarray]:
    """Every seed of ``folder`` that is drawn at all, and how often.

    Seeds named ``real-*`` bring a CT of their own and share ``real_share`` evenly; those named ``pseudo-*`` are
    rendered from label maps our own models made and share ``pseudo_share``; the published maps share the rest. Of
    these only s0327 has the upper thoracic spine.

    Raises:
        ValueError: if no seed of the folder would be drawn.
    """
    share = (0.75, 0.17, 0.08) if kind == "coarse" else (0.6, 0.25, 0.15)
    published = dict(zip(("s0327", "s0328", "spl"), share, strict=True))
    names = sorted(f.stem for f in folder.glob("*.npz"))
    weights: dict[str, float] = {}
    for prefix, part in (("real-", real_share), ("pseudo-", pseudo_share)):
        group = [n for n in names if n.startswith(prefix)]
        if part > 0:
            weights |= {n: part / len(group) for n in group}
    rest = {n: w for n, w in published.items() if n in names}
    left = 1 - sum(weights.values())
    weights |= {n: left * w / sum(rest.values()) for n, w in rest.items() if left > 1e-9}
    if not weights:
        raise ValueError(f"no seeds to draw from in {folder}")
    w = np.array(list(weights.values()))
    return [s.Seed.load(folder / f"{n}.npz") for n in weights], w / w.sum()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=["coarse", "fine"])
    parser.add_argument("--seeds", type=Path, default=Path("runs/seeds"), help="folder made by models.training.seeds")
    parser.add_argument("--out", type=Path, required=True, help="folder of samples; slots are overwritten in turn")
    parser.add_argument("--slots", type=int, default=200)
    parser.add_argument("--count", type=int, default=10**9, help="samples to render before stopping")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--real-share", type=float, default=0.0, help="share of samples from seeds named real-*")
    parser.add_argument("--pseudo-share", type=float, default=0.0, help="share of samples from seeds named pseudo-*")
    parser.add_argument("--pause", type=float, default=0.0, help="seconds to rest after each sample")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    anatomies, weights = load_seeds(args.seeds, args.kind, args.real_share, args.pseudo_share)
    make = render_coarse if args.kind == "coarse" else render_fine
    for n in range(args.count):
        start = time.monotonic()
        rng = np.random.default_rng((args.seed, n))
        sample = make(anatomies[rng.choice(len(anatomies), p=weights)], rng)
        target = args.out / f"{n % args.slots:05d}.npz"
        partial = target.with_suffix(".part.npz")
        np.savez(partial, **sample.arrays())
        os.replace(partial, target)
        if n < 5 or n % 50 == 0:
            print(n, sample.hu.shape, f"{time.monotonic() - start:.2f} s", flush=True)
        time.sleep(args.pause)


if __name__ == "__main__":
    main()
