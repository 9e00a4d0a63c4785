"""Bland-Altman and bias plots as SVG, the same bytes for the same figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

BLAND_ALTMAN: Final = "cohort-bland-altman.svg"
BY_KVP: Final = "cohort-by-kvp.svg"
BY_SIZE: Final = "cohort-by-size.svg"
_BEAMS: Final = ("80", "90", "100", "110", "120", "130", "140", "Sn100", "Sn140")
_STYLE: Final[Mapping[str, Any]] = {
    "svg.hashsalt": "trabecula", "svg.fonttype": "none", "font.size": 9, "axes.spines.top": False,
    "axes.spines.right": False, "path.simplify": True,
}  # fmt: skip

Points = Sequence[Mapping[str, Any]]


def draw_plots(results: Mapping[str, Any], folder: Path) -> None:
    """Usual scans only: unenhanced, tube voltage in the header, body in view."""
    points = [point for point in results["points"] if point["usual"]]
    methods = results["methods"]
    with plt.rc_context(dict(_STYLE)):
        _save(_bland_altman(points, methods), folder / BLAND_ALTMAN)
        _save(_by_kvp(points, methods), folder / BY_KVP)
        _save(_by_size(points, methods), folder / BY_SIZE)


def _grid(methods: Sequence[Mapping[str, Any]], draw: Callable[[Axes, str], None], label: str) -> Figure:
    columns = 5
    rows = -(-len(methods) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(14.0, 2.9 * rows), sharex=True, sharey=True, layout="constrained", squeeze=False
    )
    for axis, method in zip(axes.flat, methods, strict=False):
        axis.axhline(0.0, color="0.8", linewidth=0.8, zorder=0)
        draw(axis, method["name"])
        axis.set_title(method["title"], fontsize=9)
        axis.set_ylim(-40.0, 40.0)
    for axis in axes.flat[len(methods) :]:
        axis.set_visible(False)
    figure.supxlabel(label, fontsize=9)
    figure.supylabel("reported minus true, mg/cm³", fontsize=9)
    return figure


def _errors(points: Points, name: str, who: Callable[[Mapping[str, Any]], bool] = bool) -> np.ndarray:
    return np.array([p[name] - p["truth"] for p in points if p[name] is not None and who(p)])


def _bland_altman(points: Points, methods: Sequence[Mapping[str, Any]]) -> Figure:
    def draw(axis: Axes, name: str) -> None:
        known = [p for p in points if p[name] is not None]
        mean = [(p[name] + p["truth"]) / 2.0 for p in known]
        errors = _errors(points, name)
        axis.plot(mean, np.clip(errors, -40.0, 40.0), ".", markersize=2.5, color="#31688e", alpha=0.6, rasterized=True)
        bias, spread = errors.mean(), 1.96 * errors.std(ddof=1)
        axis.axhline(bias, color="#b5367a", linewidth=1.0)
        for limit in (bias - spread, bias + spread):
            axis.axhline(limit, color="#b5367a", linewidth=0.8, linestyle="--")

    return _grid(methods, draw, "mean of reported and true density, mg/cm³ (dots beyond ±40 lie on the edge)")


def _by_kvp(points: Points, methods: Sequence[Mapping[str, Any]]) -> Figure:
    def draw(axis: Axes, name: str) -> None:
        _bars(axis, [_errors(points, name, lambda p, b=beam: p["kvp"] == b) for beam in _BEAMS])
        axis.set_xticks(range(len(_BEAMS)), _BEAMS, rotation=60)

    return _grid(methods, draw, "tube voltage, kVp (Sn: tin filter); dot: bias, bar: 95 % limits of agreement")


def _by_size(points: Points, methods: Sequence[Mapping[str, Any]]) -> Figure:
    edges = np.arange(20.0, 40.1, 2.5)

    def draw(axis: Axes, name: str) -> None:
        groups = [
            _errors(points, name, lambda p, a=low, z=high: a <= p["size_cm"] < z) for low, high in pairwise(edges)
        ]
        _bars(axis, groups)
        axis.set_xticks(range(len(groups)), [f"{low:g}" for low in edges[:-1]])

    return _grid(methods, draw, "water-equivalent diameter, cm, steps of 2.5; dot: bias, bar: 95 % limits of agreement")


def _bars(axis: Axes, groups: Sequence[np.ndarray]) -> None:
    for place, errors in enumerate(groups):
        if len(errors) < 3:
            continue
        spread = 1.96 * errors.std(ddof=1)
        axis.errorbar(place, errors.mean(), yerr=spread, fmt="o", markersize=3.5, color="#31688e", linewidth=1.0)


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, metadata={"Date": None}, dpi=130)
    plt.close(figure)
    text = path.read_text(encoding="utf-8")
    path.write_text("\n".join(line.rstrip() for line in text.splitlines()) + "\n", encoding="utf-8")
