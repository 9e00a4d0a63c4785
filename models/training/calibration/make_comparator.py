"""Make ``models/calibration-mass-attenuation-v1``: internal calibration by mass attenuation, as one ONNX graph.

Written from the description of Michalski, Besler, Michalak, Boyd 2020 (Med Eng Phys 78:55-63,
doi 10.1016/j.medengphy.2020.01.009); no code of theirs is used. A comparator: it is not on the scale of QCT phantoms.
Run from the checkout's root::

    python models/training/calibration/make_comparator.py models/calibration-mass-attenuation-v1
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
from make_model import Graph
from onnx import TensorProto, helper
from spectrum import BLOOD, CORTICAL_BONE, K2HPO4, MUSCLE, WATER, mass_attenuation

Array = npt.NDArray[np.float64]

NAME, VERSION = "calibration-mass-attenuation", "1.0.0"
ENERGY_KEV = np.arange(1.0, 200.1, 0.5)
AIR = {"N": 0.755, "O": 0.232, "Ar": 0.013}
ADIPOSE = {"H": 0.114, "C": 0.598, "N": 0.007, "O": 0.278, "Na": 0.001, "S": 0.001, "Cl": 0.001}  # ICRU-44
TRIGLYCERIDE = {"H": 0.1148, "C": 0.7665, "O": 0.1187}  # C55 H98 O6
TISSUES = {
    "subcutaneous-fat": ADIPOSE,
    "outside-air": AIR,
    "aortic-blood": BLOOD,
    "cortical-bone": CORTICAL_BONE,
    "paraspinal-muscle": MUSCLE,
}


def build() -> onnx.ModelProto:
    """The graph: which energy fits the tissues best, two lines at it, and the density they give."""
    tissues = np.stack([mass_attenuation(c, ENERGY_KEV) for c in TISSUES.values()], axis=1)
    others = np.stack([mass_attenuation(c, ENERGY_KEV) for c in (WATER, K2HPO4, TRIGLYCERIDE)], axis=1)
    g = Graph()
    table, other = g.constant("tissues", tissues), g.constant("others", others)
    last = g.constant("last", [-1], np.int64)

    def total(value: str) -> str:
        return g.op("ReduceSum", value, last, keepdims=1)

    def mean(value: str) -> str:
        return g.op("Div", total(g.op("Mul", value, "mask")), total("mask"))

    def line(y: str) -> tuple[str, str, str]:
        """Slope, intercept and R squared of y on HU over the tissues of the mask; rows of y are fitted alike."""
        dx, dy = g.op("Sub", "measured_hu", mean("measured_hu")), g.op("Sub", y, mean(y))
        mdx, mdy = g.op("Mul", dx, "mask"), g.op("Mul", dy, "mask")
        sxy, sxx, syy = total(g.op("Mul", mdx, dy)), total(g.op("Mul", mdx, dx)), total(g.op("Mul", mdy, dy))
        slope = g.op("Div", sxy, sxx)
        intercept = g.op("Sub", mean(y), g.op("Mul", slope, mean("measured_hu")))
        return slope, intercept, g.op("Div", g.op("Mul", sxy, sxy), g.op("Mul", sxx, syy))

    _, _, r_squared = line(table)
    best = g.op("ArgMax", g.op("Squeeze", r_squared, last), axis=0, keepdims=1)
    g.op("Gather", g.constant("energy", ENERGY_KEV), best, axis=0, out="energy_kev")
    g.op("Gather", g.op("Squeeze", r_squared, last), best, axis=0, out="r_squared")
    mu = g.op("Gather", table, best, axis=0)  # (1, tissues)
    water, mineral, fat = (
        g.op("Gather", g.op("Gather", other, best, axis=0), g.constant(f"column_{n}", [n], np.int64), axis=1)
        for n in range(3)
    )
    a, b, _ = line(mu)
    thousand, one = g.constant("thousand", 1000.0), g.constant("unit", 1.0)
    linear = g.op("Mul", g.op("Add", g.op("Div", "measured_hu", thousand), one), water)
    c, d, _ = line(g.op("Div", linear, mu))
    scale = g.op("Div", thousand, g.op("Sub", mineral, fat))
    lifted = g.op("Sub", b, fat)

    def scaled(value: str, name: str) -> str:
        flat = g.constant(f"flat_{name}", [1], np.int64)
        return g.op("Reshape", g.op("Mul", scale, value), flat, out=name)

    scaled(g.op("Mul", d, lifted), "constant_mg_cm3")
    scaled(g.op("Add", g.op("Mul", c, lifted), g.op("Mul", d, a)), "linear_mg_cm3_per_hu")
    scaled(g.op("Mul", c, a), "quadratic_mg_cm3_per_hu2")

    def value(name: str, size: int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.DOUBLE, [size])

    inputs = [value("measured_hu", len(TISSUES)), value("mask", len(TISSUES))]
    names = ("energy_kev", "r_squared", "constant_mg_cm3", "linear_mg_cm3_per_hu", "quadratic_mg_cm3_per_hu2")
    graph = helper.make_graph(g.nodes, "mass_attenuation", inputs, [value(n, 1) for n in names], g.constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name=NAME)
    onnx.checker.check_model(model, full_check=True)
    return model


def main(folder: Path) -> None:
    content = build().SerializeToString(deterministic=True)
    manifest = {
        "format": 1,
        "kind": "calibration-comparator",
        "name": NAME,
        "version": VERSION,
        "file": "calibration.onnx",
        "sha256": hashlib.sha256(content).hexdigest(),
        "licence": "Apache-2.0",
        "scale": "K2HPO4",
        "tissues": list(TISSUES),
        "fewest_tissues": 3,
        "source": "Michalski 2020 Med Eng Phys 78:55-63, doi 10.1016/j.medengphy.2020.01.009",
        "made_with": {package: version(package) for package in ("xraydb", "onnx", "numpy")},
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "calibration.onnx").write_bytes(content)
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
