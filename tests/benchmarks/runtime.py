"""What other runtimes of the two networks would give: int8 weights and activations, OpenVINO, padded shapes, tiles.

    python tests/benchmarks/runtime.py --calibration runs/bank --out docs/benchmarks [--openvino-python PYTHON]

Writes ``runtime.json`` and ``runtime.md``. ``--calibration`` holds rendered training samples (``coarse/*.npz``,
``fine/*.npz``, arrays ``hu``); ``--openvino-python`` is an interpreter with ``onnxruntime-openvino``, which cannot be
installed beside ``onnxruntime``. Times are CPU seconds of the process (user), the smallest of the repeats, so that they
mean something on a machine that does other work too. Inputs are what the pipeline feeds on the real CT with a reference
segmentation (lidc-idri-0001); accuracy is that of the networks' own labels on their own grids.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

REFERENCE = {
    "vertebra": (tuple(range(26, 51)), ("vertebra_body", "vertebra_posterior")),
    "spinal_canal": ((79,), ("spinal_canal",)),
    "aorta": ((52,), ("aorta",)),
    "lung": (tuple(range(10, 15)), ("lung",)),
    "paraspinal_muscle": ((86, 87), ("paraspinal_muscle",)),
}
"""TotalSegmentator's numbers, and our channels."""


def measure(model: Path, inputs: Path, provider: str, repeats: int, threads: int) -> dict[str, Any]:
    """Time and memory of one model in this process; labels go to ``<inputs>.<provider>.npy``."""
    from trabecula.onnx_runtime import ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    image = np.load(inputs)
    more = [{"device_type": "CPU", "num_of_threads": str(threads)}] if provider.startswith("OpenVINO") else [{}]
    before = peak_kib()
    session = ort.InferenceSession(str(model), options, providers=[provider], provider_options=more)
    feed = {session.get_inputs()[0].name: image}
    seconds = []
    for _ in range(repeats + 1):
        started = time.process_time()
        outputs = session.run(["logits"], feed)
        seconds.append(time.process_time() - started)
    np.save(f"{model}.{provider}.npy", outputs[0][0].argmax(axis=0).astype(np.uint8))
    peak = peak_kib()
    return {
        "provider": session.get_providers()[0],
        "first_s": seconds[0],
        "cpu_s": min(seconds[1:]),
        "peak_mib": peak / 1024,
        "grown_mib": (peak - before) / 1024,
        "onnxruntime": ort.__version__,
    }


def peak_kib() -> int:
    """Largest resident memory of this process. Not ``ru_maxrss``, which a child inherits from its parent."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


def in_process(python: str, *arguments: object) -> dict[str, Any]:
    command = [python, __file__, "measure", *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    if done.returncode:
        return {"failed": done.stderr.strip().splitlines()[-1][:200]}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def quantise(model: Path, target: Path, samples: list[np.ndarray]) -> None:
    """Static int8 (QDQ), weights per channel, activations by their range over the samples."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Samples(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left = iter(samples)

        def get_next(self) -> dict[str, np.ndarray] | None:
            sample = next(self._left, None)
            return None if sample is None else {"image": sample}

    prepared = target.with_suffix(".prepared.onnx")
    quant_pre_process(str(unhalved(model, target)), str(prepared), skip_symbolic_shape=True)
    quantize_static(
        str(prepared), str(target), Samples(), quant_format=QuantFormat.QDQ, per_channel=True,
        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, op_types_to_quantize=["Conv", "ConvTranspose"],
    )  # fmt: skip


def unhalved(model: Path, target: Path) -> Path:
    """The model with its half-precision weights written out as float32: the quantiser takes no casts for weights."""
    import onnx

    proto = onnx.load(str(model))
    values = {tensor.name: tensor for tensor in proto.graph.initializer}
    for node in [n for n in proto.graph.node if n.op_type == "Cast" and n.input[0] in values]:
        tensor = values[node.input[0]]
        whole = onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor).astype(np.float32), node.output[0])
        proto.graph.initializer.remove(tensor)
        proto.graph.initializer.append(whole)
        proto.graph.node.remove(node)
    path = target.with_suffix(".float.onnx")
    onnx.save(proto, str(path))
    return path


def normalised(hu: np.ndarray, spec: Any) -> np.ndarray:
    """Network input (1, 1, K, J, I), padded as the pipeline pads."""
    size = [-(-n // spec.size_multiple) * spec.size_multiple for n in hu.shape]
    out = np.full(size, spec.pad_hu, dtype=np.float32)
    out[tuple(slice(0, n) for n in hu.shape)] = hu
    return ((np.clip(out, *spec.clip_hu) - spec.mean_hu) / spec.std_hu)[None, None].astype(np.float32)


def real_inputs(data: Path, spacing_mm: dict[str, Any]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """For both kinds: HU and reference numbers on the grid that the pipeline would use."""
    import SimpleITK as sitk  # noqa: N813

    from trabecula.imaging.limits import ImagingLimits
    from trabecula.imaging.read import read_study
    from trabecula.segmentation.body import find_body
    from trabecula.segmentation.resample import Grid, nearest_labels, resample_hu
    from trabecula.segmentation.settings import SegmentationSettings

    study = read_study([data / "ct" / "lidc-idri-0001"], ImagingLimits())
    image = sitk.DICOMOrient(sitk.ReadImage(str(data / "labels" / "lidc-idri-0001.nii.gz")), "LPS")
    reference = sitk.GetArrayFromImage(image).astype(np.uint8)
    scan = Grid.of_scan(study.volume.geometry)
    coarse = scan.covering(spacing_mm["coarse"])
    hu = resample_hu(study.volume, coarse)
    box = find_body(hu, coarse, SegmentationSettings().body).bounding_box(margin=3)
    around = np.argwhere((reference >= 30) & (reference <= 34)) * scan.spacing_mm
    margin_mm = np.array((10, 10, 20))
    low, high = around.min(axis=0) - margin_mm, around.max(axis=0) + margin_mm
    fine = scan.crop(scan.box_around(low, high)).covering(spacing_mm["fine"])
    fine = fine.crop(tuple(slice(0, min(n, m)) for n, m in zip(fine.shape, (160, 128, 96), strict=True)))
    return {
        "coarse": (hu[box], nearest_labels(reference, scan, coarse.crop(box))),
        "fine": (resample_hu(study.volume, fine), nearest_labels(reference, scan, fine)),
    }


def dice(labels: np.ndarray, reference: np.ndarray, channels: tuple[str, ...]) -> dict[str, float]:
    out = {}
    for name, (numbers, wanted) in REFERENCE.items():
        rows = [channels.index(channel) for channel in wanted if channel in channels]
        truth = np.isin(reference, numbers)
        if rows and truth.any():
            found = np.isin(labels, rows)
            out[name] = float(2 * (found & truth).sum() / (found.sum() + truth.sum()))
    return out


def run(options: argparse.Namespace) -> dict[str, Any]:
    from trabecula.assets import models_dir
    from trabecula.segmentation.bundle import find_bundles, load_bundle

    bundles = {kind: (folder, load_bundle(folder).manifest) for kind, folder in find_bundles(models_dir()).items()}
    inputs = real_inputs(options.data, {kind: manifest.input.spacing_mm for kind, (_, manifest) in bundles.items()})
    result: dict[str, Any] = {"cores": os.cpu_count(), "threads": options.threads, "models": {}}
    with tempfile.TemporaryDirectory() as scratch:
        for kind, (folder, manifest) in bundles.items():
            hu, reference = inputs[kind]
            image = normalised(hu, manifest.input)
            feed = Path(scratch) / f"{kind}.npy"
            np.save(feed, image)
            model = Path(scratch) / f"{kind}.onnx"
            model.write_bytes((folder / manifest.file).read_bytes())
            small = Path(scratch) / f"{kind}-int8.onnx"
            chosen = sorted((options.calibration / kind).glob("*.npz"))[: options.samples]
            quantise(model, small, [normalised(np.load(path)["hu"], manifest.input) for path in chosen])
            ways = {
                "float32, CPU": (sys.executable, model, "CPUExecutionProvider"),
                "int8, CPU": (sys.executable, small, "CPUExecutionProvider"),
            }
            if options.openvino_python:
                ways["float32, OpenVINO"] = (options.openvino_python, model, "OpenVINOExecutionProvider")
                ways["int8, OpenVINO"] = (options.openvino_python, small, "OpenVINOExecutionProvider")
            found = {}
            truth = None
            for name, (python, path, provider) in ways.items():
                facts = in_process(python, path, feed, provider, options.repeats, options.threads)
                if "failed" not in facts:
                    labels = np.load(f"{path}.{provider}.npy")
                    truth = labels if truth is None else truth
                    inside = tuple(slice(0, n) for n in hu.shape)
                    facts["agreement"] = float((labels[inside] == truth[inside]).mean())
                    facts["dice"] = dice(labels[inside], reference, manifest.outputs.logits.channels)
                    facts["file_mb"] = path.stat().st_size / 1e6
                found[name] = facts
            shape = list(image.shape[2:])
            result["models"][kind] = {
                "name": manifest.name,
                "version": manifest.version,
                "shape": shape,
                "samples": len(chosen),
                "ways": found,
            }
        result["memory"] = memory(Path(scratch), bundles["coarse"][1], options)
    return result


def memory(scratch: Path, manifest: Any, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Memory that one pass of the coarse network adds, by the size of what it is given."""
    rows = []
    multiple = manifest.input.size_multiple
    for shape in ((6, 6, 6), (6, 6, 8), (8, 6, 8), (12, 6, 8), (24, 6, 8)):
        size = tuple(side * multiple for side in shape)
        feed = scratch / "size.npy"
        np.save(feed, np.zeros((1, 1, *size), dtype=np.float32))
        facts = in_process(sys.executable, scratch / "coarse.onnx", feed, "CPUExecutionProvider", 1, options.threads)
        mm = [side * step for side, step in zip(size, manifest.input.spacing_mm, strict=True)]
        rows.append({"shape": list(size), "mm": mm, **{key: facts.get(key) for key in ("grown_mib", "cpu_s")}})
    return rows


def as_markdown(result: dict[str, Any]) -> str:
    lines = [
        "# Runtimes of the two networks",
        "",
        "Made by `tests/benchmarks/runtime.py`: CPU seconds of one pass"
        f" ({result['threads']} thread of {result['cores']} cores, the smallest of the repeats), the first pass in"
        " brackets: OpenVINO compiles in it, for every new shape. Memory is what loading and the passes add to the"
        " process. Agreement is the share of voxels with the same label as float32 on the CPU provider; Dice is that of"
        " the network's own labels against TotalSegmentator's map of lidc-idri-0001.",
    ]
    for kind, found in result["models"].items():
        names = sorted({name for facts in found["ways"].values() for name in facts.get("dice", {})})
        lines += [
            "",
            f"## {kind}: {found['name']} {found['version']}, {' x '.join(map(str, found['shape']))} voxels",
            "",
            f"int8 calibrated on {found['samples']} rendered training samples.",
            "",
            "| | CPU s | memory MiB | file MB | agreement | " + " | ".join(f"Dice {name}" for name in names) + " |",
            "|---|---|---|---|---|" + "---|" * len(names),
        ]
        for name, facts in found["ways"].items():
            if "failed" in facts:
                lines.append(f"| {name} | failed: {facts['failed']} |" + " |" * (3 + len(names)))
                continue
            scores = " | ".join(f"{facts['dice'].get(n, float('nan')):.3f}" for n in names)
            lines.append(
                f"| {name} | {facts['cpu_s']:.2f} ({facts['first_s']:.2f}) | {facts['grown_mib']:.0f} |"
                f" {facts['file_mb']:.1f} | {100 * facts['agreement']:.2f} % | {scores} |"
            )
    lines += [
        "",
        "## Memory of the coarse pass",
        "",
        "What loading the model and one pass add to the process, by the size of the input. A scan with more voxels than"
        " `TRABECULA_INFERENCE_MAX_VOXELS` (1.5 million on the network's grid, 490 mm of a trunk of 384 x 512 mm"
        " at 4 mm) goes in slabs, so that no pass is larger; networks with a `max_patch` in their manifest are"
        " tiled to that.",
        "",
        "| voxels | mm | memory MiB | CPU s |",
        "|---|---|---|---|",
    ]
    for row in result["memory"]:
        mm = " x ".join(f"{side:.0f}" for side in row["mm"])
        voxels = " x ".join(map(str, row["shape"]))
        lines.append(f"| {voxels} | {mm} | {row['grown_mib']:.0f} | {row['cpu_s']:.2f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    if sys.argv[1:2] == ["measure"]:
        model, inputs, provider, repeats, threads = sys.argv[2:]
        print(json.dumps(measure(Path(model), Path(inputs), provider, int(repeats), int(threads))))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("TRABECULA_DATA", "../shared/data")))
    parser.add_argument("--calibration", type=Path, default=Path("runs/bank"))
    parser.add_argument("--samples", type=int, default=12)
    parser.add_argument("--openvino-python", default=None)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks"))
    options = parser.parse_args()
    result = run(options)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "runtime.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    (options.out / "runtime.md").write_text(as_markdown(result), encoding="utf-8")
    sys.stdout.write(as_markdown(result))


if __name__ == "__main__":
    main()
