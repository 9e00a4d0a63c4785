"""Make ``models/calibration-phantomless-v1``: the calibration fit and the spectrum table as one ONNX graph.

Run with the extras ``dev`` or ``train`` (onnx) from the checkout's root::

    python models/training/calibration/make_model.py models/calibration-phantomless-v1

The result depends only on this code and on the versions of spekpy and xraydb, which the manifest names.
"""

from __future__ import annotations

import hashlib
import json
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper
from spectrum import COLUMNS, Tube, table_rows

Array = npt.NDArray[np.float64]

NAME, VERSION = "calibration-phantomless", "1.1.0"
KVP = np.arange(70.0, 150.1, 5.0)
DIAMETER_CM = np.arange(15.0, 45.1, 2.5)
ANCHOR_KVP, ANCHOR_DIAMETER_CM = 120.0, 25.0


def spectrum_table() -> Array:
    """(filter, kVp, diameter, column) with filter 0 none, 1 tin."""
    tubes = [[Tube.of(kvp, tin) for kvp in KVP] for tin in (False, True)]
    return np.array([[table_rows(tube, DIAMETER_CM) for tube in row] for row in tubes])


class Graph:
    """Collects nodes; every method adds one and returns the name of its result."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, value: npt.ArrayLike, dtype: npt.DTypeLike = np.float64) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype=dtype), name))
        return name

    def op(self, kind: str, *inputs: str, out: str | None = None, **attributes: object) -> str:
        name = out or f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name


def add_fit(g: Graph) -> None:
    """Weighted line of nominal on measured HU: normal equations in closed form, about the weighted mean.

    Centring keeps the 2 x 2 system well conditioned: gain = Sxy / Sxx, offset = ybar - gain * xbar,
    var(gain) = 1 / Sxx, var(offset) = 1 / W + xbar^2 / Sxx, cov = -xbar / Sxx.
    """

    def reduce(value: str) -> str:
        return g.op("ReduceSum", value, keepdims=0)

    weight = g.op("Div", "mask", "variance_hu2")
    weight_sum = reduce(weight)
    mean_x = g.op("Div", reduce(g.op("Mul", weight, "measured_hu")), weight_sum)
    mean_y = g.op("Div", reduce(g.op("Mul", weight, "nominal_hu")), weight_sum)
    dx, dy = g.op("Sub", "measured_hu", mean_x), g.op("Sub", "nominal_hu", mean_y)
    sxx = reduce(g.op("Mul", weight, g.op("Mul", dx, dx)))
    sxy = reduce(g.op("Mul", weight, g.op("Mul", dx, dy)))
    gain = g.op("Div", sxy, sxx, out="gain")
    g.op("Sub", mean_y, g.op("Mul", gain, mean_x), out="offset_hu")
    one = g.constant("one", 1.0)
    var_gain = g.op("Div", one, sxx)
    covariance = g.op("Neg", g.op("Mul", mean_x, var_gain))
    var_offset = g.op("Sub", g.op("Div", one, weight_sum), g.op("Mul", mean_x, covariance))
    axis = g.constant("axis0", [0], np.int64)
    cells = [g.op("Unsqueeze", v, axis) for v in (var_gain, covariance, covariance, var_offset)]
    g.op("Reshape", g.op("Concat", *cells, axis=0), g.constant("two_by_two", [2, 2], np.int64), out="covariance")


def add_spectrum(g: Graph, table: Array) -> None:
    """Bilinear look-up of the table's columns at (kVp, diameter) in the plane of the filter; edges hold outside."""

    def position(value: str, grid: Array, name: str) -> tuple[str, str]:
        step = g.op(
            "Div", g.op("Sub", value, g.constant(f"{name}_0", grid[0])), g.constant(f"{name}_d", grid[1] - grid[0])
        )
        last = len(grid) - 1
        step = g.op("Min", g.op("Max", step, g.constant(f"{name}_lo", 0.0)), g.constant(f"{name}_hi", float(last)))
        low = g.op("Min", g.op("Floor", step), g.constant(f"{name}_cell", float(last - 1)))
        return g.op("Cast", low, to=TensorProto.INT64), g.op("Sub", step, low)

    def lerp(a: str, b: str, t: str) -> str:
        return g.op("Add", a, g.op("Mul", t, g.op("Sub", b, a)))

    filters, kvps, sizes, columns = table.shape
    g.constant("table", table.reshape(filters * kvps * sizes, columns))
    one, per_kvp = g.constant("i1", 1, np.int64), g.constant("i_sizes", sizes, np.int64)
    plane = g.op("Mul", g.op("Cast", "tin", to=TensorProto.INT64), g.constant("i_plane", kvps * sizes, np.int64))
    k, tk = position("kvp", KVP, "kvp")
    d, td = position("diameter_cm", DIAMETER_CM, "diameter")
    corner = g.op("Add", plane, g.op("Add", g.op("Mul", k, per_kvp), d))
    next_kvp = g.op("Add", corner, per_kvp)
    rows = [g.op("Gather", "table", i, axis=0) for c in (corner, next_kvp) for i in (c, g.op("Add", c, one))]
    spectrum = g.op("Identity", lerp(lerp(rows[0], rows[1], td), lerp(rows[2], rows[3], td), tk), out="spectrum")
    zero = g.constant("i0", 0, np.int64)
    slope = g.op("Gather", spectrum, zero, axis=0, out="slope")
    g.op("Mul", slope, "slope_relative_uncertainty", out="slope_standard_uncertainty")


def build(table: Array) -> onnx.ModelProto:
    """The whole graph in double precision, checked."""
    g = Graph()
    add_fit(g)
    add_spectrum(g, table)
    anchor = table[0, int(np.searchsorted(KVP, ANCHOR_KVP)), int(np.searchsorted(DIAMETER_CM, ANCHOR_DIAMETER_CM))]
    g.op("Identity", g.constant("anchor", anchor), out="spectrum_anchor")

    def value(name: str, *shape: int | str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.DOUBLE, list(shape))

    vectors = [value(name, "references") for name in ("measured_hu", "nominal_hu", "variance_hu2", "mask")]
    scalars = [value(name) for name in ("kvp", "tin", "diameter_cm", "slope_relative_uncertainty")]
    outputs = [value(name) for name in ("gain", "offset_hu", "slope", "slope_standard_uncertainty")]
    outputs += [value("covariance", 2, 2), value("spectrum", len(COLUMNS)), value("spectrum_anchor", len(COLUMNS))]
    graph = helper.make_graph(g.nodes, "phantomless_calibration", [*vectors, *scalars], outputs, g.constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name=NAME)
    onnx.checker.check_model(model, full_check=True)
    return model


def manifest(content: bytes) -> dict[str, object]:
    return {
        "format": 1,
        "kind": "calibration",
        "name": NAME,
        "version": VERSION,
        "file": "calibration.onnx",
        "sha256": hashlib.sha256(content).hexdigest(),
        "licence": "Apache-2.0",
        "scale": "K2HPO4",
        "columns": list(COLUMNS),
        "kvp_range": [float(KVP[0]), float(KVP[-1])],
        "diameter_range_cm": [float(DIAMETER_CM[0]), float(DIAMETER_CM[-1])],
        "anchor": {"kvp": ANCHOR_KVP, "diameter_cm": ANCHOR_DIAMETER_CM, "tin": False},
        "made_with": {package: version(package) for package in ("spekpy", "xraydb", "onnx", "numpy")},
    }


def main(folder: Path) -> None:
    content = build(spectrum_table()).SerializeToString(deterministic=True)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "calibration.onnx").write_bytes(content)
    (folder / "manifest.json").write_text(json.dumps(manifest(content), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
