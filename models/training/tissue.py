"""CT numbers of soft tissue, blood, gas and fluid before the scanner sees them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from models.training import seeds as s
from models.training.fields import Fields
from models.training.scanner import ARM, ARM_BONE, SKIN
from models.training.shape import Positions


@dataclass(frozen=True)
class Phase:
    """HU of blood and organs of one contrast phase at 120 kV."""

    name: str
    artery: float
    vein: float
    heart: float
    heart_wall: float
    liver: float
    spleen: float
    kidney: float
    vessel: float
    """Veins of liver and lung, and small vessels."""
    soft: float


def draw_phase(rng: np.random.Generator) -> Phase:
    """No contrast, arterial (the aorta brighter than bone in one of three) or portal venous."""
    u = rng.uniform
    name = str(rng.choice(["none", "arterial", "portal"], p=[0.42, 0.33, 0.25]))
    if name == "none":
        b = u(25, 58)
        return Phase(name, b, b, b, b, u(15, 75), u(35, 65), u(20, 50), b, u(20, 50))
    if name == "arterial":
        a = u(300, 600) if rng.random() < 0.45 else u(130, 330)
        vein = float(rng.choice([u(40, 120), u(120, 700)]))
        return Phase(
            name, a, vein, u(0.6, 1.1) * a, u(70, 140), u(40, 100), u(70, 190), u(80, 260), u(80, a), u(30, 100)
        )
    a = u(90, 200)
    return Phase(
        name, a, a + u(-20, 30), a + u(-15, 15), u(60, 120), u(60, 150), u(80, 150), u(110, 240), a, u(40, 110)
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Noise:
    """Fields shared by the tissues, float32, about unit variance."""

    fine: np.ndarray
    """Over 5 mm (twice the drawn spacing where that is more)."""
    mid: np.ndarray
    """Over 10 mm."""
    mid2: np.ndarray
    wide: np.ndarray
    """Over 28 mm."""


def draw_noise(field: Fields) -> Noise:
    return Noise(field(5), field(10), field(10), field(28))


def soft_tissue(
    seed: s.Seed, labels: np.ndarray, p: Positions, above_hull_mm: np.ndarray, field: Fields, noise: Noise, phase: Phase
) -> np.ndarray:
    """HU, float32, of everything but bone (bone voxels are left at 0)."""
    rng = field.rng
    u = rng.uniform
    muscle, fat = u(25, 68), u(-118, -86)
    means = {
        s.LUNG: u(-900, -700), s.TRACHEA: u(-1000, -940), s.HEART: phase.heart, s.AORTA: phase.artery,
        s.VEIN: phase.vein, s.ARTERY: phase.artery, s.PORTAL: phase.vessel, s.LIVER: phase.liver,
        s.SPLEEN: phase.spleen, s.KIDNEY: phase.kidney, s.SOFT: phase.soft, s.STOMACH: u(0, 50), s.BOWEL: u(0, 60),
        s.FLUID: u(-5, 25), s.PARASPINAL: muscle + u(-8, 4), s.MUSCLE: muscle, s.CARTILAGE: u(50, 150),
        s.CANAL: u(10, 45), s.CANAL_RIM: u(-60, 35), s.DISC: u(40, 112), SKIN: u(-30, 60), ARM: muscle - u(0, 20),
        ARM_BONE: u(300, 1100), s.WALL: muscle, s.SAT: fat, s.CAVITY_FILL: fat, s.OUT: -1000.0,
    }  # fmt: skip
    lut = np.zeros(256, np.float32)
    for label, value in means.items():
        lut[label] = value
    hu = lut[labels]
    _muscle(seed, hu, labels, p, above_hull_mm, field, noise, fat)
    _cavity(hu, labels, noise, phase, rng)
    _lung(hu, labels, noise, phase, rng)
    _organs(hu, labels, noise, phase, rng)
    _gut(hu, labels, p, noise, rng)
    _calcium_and_discs(hu, labels, noise, rng)
    return hu


def _muscle(
    seed: s.Seed, hu: np.ndarray, labels: np.ndarray, p: Positions, above_hull_mm: np.ndarray, field: Fields,
    noise: Noise, fat: float,
) -> None:  # fmt: skip
    """Fat between fibres (streaks along the body, more towards the midline) and between layers of the wall."""
    rng = field.rng
    u = rng.uniform
    for label, most in ((s.PARASPINAL, 0.45), (s.MUSCLE, 0.25), (ARM, 0.2)):
        at = np.flatnonzero(labels == label)
        if len(at) == 0:
            continue
        share = most * rng.beta(1.0, 3.0)
        streak = field((40, 4, 7)).ravel()[at] + np.float32(0.5) * noise.fine.ravel()[at]
        if label == s.PARASPINAL:
            middle = np.float32(seed.centreline[:, 3].mean())
            aside = np.abs(p[2].ravel()[at] - middle) * np.float32(s.SPACING_MM / 25)
            streak += np.float32(u(0, 1.2)) * np.exp(-np.square(aside))
        cut = np.quantile(streak[::7], 1 - share) if share > 0.002 else np.inf
        part = np.clip((streak - np.float32(cut)) * np.float32(u(0.8, 3)), 0, 1) * np.float32(u(0.4, 1))
        hu.ravel()[at] += (np.float32(fat) - hu.ravel()[at]) * part
        hu.ravel()[at] += noise.mid.ravel()[at] * np.float32(u(0, 4))
    wall = np.flatnonzero(labels == s.WALL)
    deep = above_hull_mm.ravel()[wall] + 3 * noise.wide.ravel()[wall]
    plane = np.abs(np.sin(deep * np.float32(np.pi / u(7, 16))))
    plane += np.where(deep < 0, np.float32(0.25) * np.abs(noise.mid.ravel()[wall]), 0)
    layers = np.clip((np.float32(u(0.05, 0.4)) - plane) * 5, 0, 1)
    patches = noise.wide.ravel()[wall] + np.float32(0.7) * noise.mid2.ravel()[wall] > u(0.8, 2.6)
    layers = np.maximum(layers, patches * np.float32(u(0.5, 1)))
    hu.ravel()[wall] += (np.float32(fat) - hu.ravel()[wall]) * layers
    if rng.random() < 0.7:
        _fascia(hu, labels, np.float32(fat), noise)


def _fascia(hu: np.ndarray, labels: np.ndarray, fat: np.float32, noise: Noise) -> None:
    """A thin layer of fat where the wall meets paraspinal or other named muscle."""
    named = (labels == s.PARASPINAL) | (labels == s.MUSCLE)
    near = np.zeros_like(named)
    for axis in (1, 2):
        a, b = [slice(None)] * 3, [slice(None)] * 3
        a[axis], b[axis] = slice(1, None), slice(None, -1)
        near[tuple(a)] |= named[tuple(b)]
        near[tuple(b)] |= named[tuple(a)]
    near &= (labels == s.WALL) & (noise.wide > -0.4)
    hu[near] += (fat - hu[near]) * np.float32(0.8)


def _cavity(hu: np.ndarray, labels: np.ndarray, noise: Noise, phase: Phase, rng: np.random.Generator) -> None:
    """Visceral fat with strands and lumps of soft tissue the map does not name."""
    u = rng.uniform
    at = np.flatnonzero(labels == s.CAVITY_FILL)
    if len(at) == 0:
        return
    lumps = noise.mid.ravel()[at] + np.float32(0.5) * noise.mid2.ravel()[at]
    soft = lumps > np.quantile(lumps[::5], u(0.3, 0.97))
    hu.ravel()[at[soft]] = rng.choice([phase.soft, phase.vessel, 40.0])
    hu.ravel()[at] += noise.fine.ravel()[at] * np.float32(u(0, 12))


def _lung(hu: np.ndarray, labels: np.ndarray, noise: Noise, phase: Phase, rng: np.random.Generator) -> None:
    u = rng.uniform
    lung = np.flatnonzero(labels == s.LUNG)
    if len(lung) == 0:
        return
    f10, g10, f25 = (a.ravel()[lung] for a in (noise.mid, noise.mid2, noise.wide))
    j = (lung // labels.shape[2] % labels.shape[1]).astype(np.float32) / labels.shape[1]
    values = hu.ravel()[lung] + f25 * np.float32(u(5, 35)) + f10 * np.float32(u(0, 25)) + j * np.float32(u(0, 120))
    width = u(0.05, 0.22)
    values[(np.abs(f10) < width) & (np.abs(g10) < width * 1.2)] = phase.vessel * u(0.5, 1)
    if rng.random() < 0.12:
        values[j + 0.06 * f25 > u(0.55, 0.8)] = u(-5, 45) if rng.random() < 0.6 else u(-500, 0)
    hu.ravel()[lung] = values


def _organs(hu: np.ndarray, labels: np.ndarray, noise: Noise, phase: Phase, rng: np.random.Generator) -> None:
    """Chambers and wall of the heart, vessels of the liver, cortex of the kidney, bolus in the blood."""
    u = rng.uniform
    heart = labels == s.HEART
    hu[heart & (noise.wide + 0.3 * noise.mid > u(-0.2, 1.2))] = phase.heart_wall
    for label in (s.LIVER, s.SPLEEN, s.KIDNEY, s.SOFT, s.HEART):
        at = np.flatnonzero(labels == label)
        hu.ravel()[at] += noise.mid.ravel()[at] * np.float32(u(0, 7))
        if label == s.LIVER:
            vessel = (np.abs(noise.mid.ravel()[at]) < 0.12) & (np.abs(noise.mid2.ravel()[at]) < 0.16)
            hu.ravel()[at[vessel]] = phase.vessel
        if phase.name != "none" and label in (s.KIDNEY, s.SPLEEN):
            hu.ravel()[at] *= 1 + np.float32(u(0, 0.35)) * noise.mid2.ravel()[at] * np.float32(phase.name == "arterial")
    if phase.name == "arterial":
        for label in (s.AORTA, s.VEIN, s.ARTERY):
            at = np.flatnonzero(labels == label)
            hu.ravel()[at] *= 1 + np.float32(u(0, 0.12)) * noise.wide.ravel()[at]


def _gut(hu: np.ndarray, labels: np.ndarray, p: Positions, noise: Noise, rng: np.random.Generator) -> None:
    """Gas that collects in front, stool with bubbles, oral contrast."""
    u = rng.uniform
    for label in (s.BOWEL, s.STOMACH):
        at = np.flatnonzero(labels == label)
        if len(at) == 0:
            continue
        front = (p[1].ravel()[at] - np.float32(p[1].ravel()[at].mean())) * np.float32(s.SPACING_MM / 22)
        wide, mid = noise.wide.ravel()[at], noise.mid2.ravel()[at]
        if rng.random() < 0.3:
            fill = wide - np.float32(0.5) * mid > u(-0.5, 1)
            hu.ravel()[at[fill]] = u(120, 450)
        gas = np.float32(1.3) * wide - front > u(0.2, 2.4)
        hu.ravel()[at[gas]] = -960
        if label == s.BOWEL and rng.random() < 0.5:
            bubbles = noise.fine.ravel()[at] + np.float32(0.5) * wide > u(1.2, 2.4)
            hu.ravel()[at[bubbles]] = u(-900, -300)


def _calcium_and_discs(hu: np.ndarray, labels: np.ndarray, noise: Noise, rng: np.random.Generator) -> None:
    """Calcified vessel walls and cartilage; gas, calcium and dark centres in discs."""
    u = rng.uniform
    if rng.random() < 0.45:
        vessel = (labels == s.AORTA) | (labels == s.ARTERY)
        hu[vessel & (noise.fine + 0.4 * noise.mid > u(1.7, 2.6))] = u(250, 900)
    hu[(labels == s.CARTILAGE) & (noise.fine > u(0.3, 2.5))] = u(150, 500)
    disc = np.flatnonzero(labels == s.DISC)
    hu.ravel()[disc] += noise.mid.ravel()[disc] * np.float32(u(0, 15))
    if rng.random() < 0.12:
        hu.ravel()[disc[noise.fine.ravel()[disc] > u(1.2, 2)]] = -700
    if rng.random() < 0.08:
        hu.ravel()[disc[noise.mid2.ravel()[disc] > u(1.0, 2)]] = u(200, 700)
