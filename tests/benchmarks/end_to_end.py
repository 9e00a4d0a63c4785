"""Speed and memory of a whole screening, and of its inference against a peer architecture, in one run.

    python tests/benchmarks/end_to_end.py --out docs/benchmarks

Writes ``end-to-end.json`` and ``end-to-end.md``. What is measured:

* ``trabecula screen`` as a user runs it: a new process, DICOM folder in, report, page and FHIR bundle out. Wall time,
  stage times from the report, peak resident memory of the process.
* the segmentation stage of that run (resampling, both networks, levels, labels on the CT grid) against the bare
  network time of nnU-Net's 3 mm TotalSegmentator architecture on the same scan, cores and runtime (``peer.py``).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from peer import PATCH, build_peer, peer_patches

from trabecula.onnx_runtime import ort as onnxruntime

TARGET_S = 10.0
TARGET_PEAK_GIB = 2.0
TRABECULA = [str(Path(sys.executable).with_name("trabecula"))]


def make_study(folder: Path, slice_mm: float, seed: int) -> dict[str, Any]:
    """A phantom study of 512 x 512 pixels, lung apex to L3; gives its truth."""
    command = [*TRABECULA, "phantom", str(folder), "--seed", str(seed), "--slice-mm", str(slice_mm), "--quiet"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    truth: dict[str, Any] = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
    return truth


def run_screen(study: Path, out: Path) -> dict[str, float]:
    """One ``trabecula screen`` in a process of its own: wall s, peak GiB and the report's stage times."""
    started = time.perf_counter()
    process = subprocess.Popen([*TRABECULA, "screen", str(study), "--out", str(out), "--quiet"])
    _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - started
    if os.waitstatus_to_exitcode(status) not in (0, 3):
        raise SystemExit(f"trabecula screen failed with {os.waitstatus_to_exitcode(status)}")
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    stages = {f"stage {name}": seconds for name, seconds in report["timings_s"].items()}
    return {"wall_s": wall_s, "peak_gib": usage.ru_maxrss / 1024**2, **stages}


PROVIDER = "TRABECULA_EXECUTION_PROVIDER"
"""The program reads it; the page is named after it where it is not the default."""


def time_peer(threads: int, repeats: int) -> float:
    """Median seconds for one patch of the peer network."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "peer.onnx"
        build_peer(path)
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    image = np.zeros((1, 1, *PATCH), dtype=np.float32)
    session.run(None, {"image": image})
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        session.run(None, {"image": image})
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def measure(slice_mm: float, repeats: int, seed: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        study = Path(folder) / "study"
        truth = make_study(study, slice_mm, seed)
        runs = [run_screen(study, Path(folder) / f"out{index}") for index in range(repeats)]
    slices, pixel_mm = int(truth["slices"]), float(truth["pixel_mm"])
    patches = peer_patches((slices * slice_mm, 512 * pixel_mm, 512 * pixel_mm))
    median = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    patch_s = time_peer(threads=os.cpu_count() or 1, repeats=repeats)
    ours_s = median["stage segmentation"]
    return {
        "study": f"512 x 512 x {slices} phantom, seed {seed}",
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "onnxruntime": onnxruntime.__version__,
        "provider": os.environ.get(PROVIDER, "cpu"),
        "repeats": repeats,
        "median": median,
        "peer": {"patches": patches, "seconds_per_patch": patch_s, "seconds": patches * patch_s},
        "ratio_peer_over_ours": patches * patch_s / ours_s,
        "targets": {"wall_s": TARGET_S, "peak_gib": TARGET_PEAK_GIB, "ratio_peer_over_ours": 10.0},
    }


def as_markdown(result: dict[str, Any]) -> str:
    median, peer = result["median"], result["peer"]
    lines = [
        "# End to end",
        "",
        f"Made by `make bench`: {result['study']}, {result['cores']} cores, onnxruntime {result['onnxruntime']}"
        f" ({result['provider']}), median of {result['repeats']} runs.",
        "",
        "| | measured | target |",
        "|---|---|---|",
        f"| DICOM folder to FHIR bundle, new process | {median['wall_s']:.1f} s | < {TARGET_S:.0f} s |",
        f"| peak memory | {median['peak_gib']:.2f} GiB | < {TARGET_PEAK_GIB:.0f} GiB |",
        f"| segmentation against the peer architecture | {result['ratio_peer_over_ours']:.1f} x faster | 10 x |",
        "",
        f"The peer is nnU-Net's 3 mm TotalSegmentator architecture with random weights: {peer['patches']} patches of"
        f" {peer['seconds_per_patch']:.1f} s, network time alone, CPU provider; ours is the whole stage with"
        " resampling.",
        "",
        "| stage | s |",
        "|---|---|",
    ]
    lines += [f"| {name[6:]} | {value:.2f} |" for name, value in median.items() if name.startswith("stage ")]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks"))
    parser.add_argument("--slice-mm", type=float, default=1.405, help="1.405 gives 300 slices")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    result = measure(options.slice_mm, options.repeats, options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    name = "end-to-end" if result["provider"] == "cpu" else f"end-to-end-{result['provider']}"
    (options.out / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    (options.out / f"{name}.md").write_text(as_markdown(result), encoding="utf-8")
    sys.stdout.write(as_markdown(result))


if __name__ == "__main__":
    main()
