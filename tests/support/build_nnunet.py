"""Builds small nnU-Net model folders with nnU-Net itself, and lets its own predictor label scans with them.

Run as a program, in a process of its own (nnU-Net reads its folders from the environment when it is imported)::

    python build_nnunet.py OUT

Writes ``OUT/<case>/model`` (the model folder), ``OUT/<case>/scan.npz`` (hu, spacing_mm: the array and spacing that
nnU-Net's reader would give) and ``OUT/<case>/expected.npz`` (labels).
"""

from __future__ import annotations

import json
import multiprocessing.dummy
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from scipy import ndimage

LABELS = {"background": 0, "vertebrae_T12": 1, "vertebrae_L1": 2, "spinal_cord": 3}


@dataclass(frozen=True)
class Case:
    """A model folder and a scan. Shapes and spacings as the reader gives them; the scan's differ from the data's."""

    planner: str
    configuration: str
    spacing_mm: tuple[float, float, float]
    shape: tuple[int, int, int]
    folds: tuple[int, ...]
    mirroring: bool
    scan_mm: tuple[float, float, float]


EVEN, SAGITTAL = (2.0, 1.6, 1.6), (1.6, 1.6, 6.0)
CASES = {
    "plain-fullres": Case("ExperimentPlanner", "3d_fullres", EVEN, (38, 42, 40), (0, 1), False, (2.7, 1.1, 1.3)),
    "plain-lowres": Case("ExperimentPlanner", "3d_lowres", EVEN, (38, 42, 40), (0,), True, (7.0, 1.5, 1.9)),
    "residual-fullres": Case("ResEncUNetPlanner", "3d_fullres", SAGITTAL, (44, 42, 14), (0, 1), True, (1.3, 1.5, 7.5)),
    "residual-lowres": Case("ResEncUNetPlanner", "3d_lowres", SAGITTAL, (44, 42, 14), (0,), False, (1.9, 2.2, 2.4)),
}
"""The first scan is resampled in one piece, the second across its coarse axis on the way there and back; the data of
the other two are stored with the coarse axis last, which nnU-Net turns to the front."""
STEPS = 15
FOLDERS = RAW, PREPROCESSED, _ = "nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"
"""Variables that nnU-Net reads, and the folders beneath OUT that they name."""


def made_scan(shape, spacing_mm, seed):
    """CT numbers of three bright things in a body of a few textures, and their labels."""
    rng = np.random.default_rng(seed)
    place = np.stack(np.meshgrid(*(np.arange(n) * s for n, s in zip(shape, spacing_mm, strict=True)), indexing="ij"))
    size = np.array(shape) * spacing_mm
    hu = np.full(shape, -950.0)
    middle = size / 2 + rng.uniform(-4, 4, 3)
    away = place - middle[:, None, None, None]
    hu[((away / (0.42 * size[:, None, None, None])) ** 2).sum(axis=0) < 1] = 40
    labels = np.zeros(shape, dtype=np.uint8)
    for number, (share, value) in enumerate(((0.16, 220), (0.13, 420), (0.09, -60)), start=1):
        centre = middle + (number - 2) * 0.24 * size * rng.uniform(0.8, 1.0, 3)
        near = ((place - centre[:, None, None, None]) ** 2).sum(axis=0) < (share * size.min() * 1.6) ** 2
        labels[near], hu[near] = number, value
    texture = ndimage.gaussian_filter(rng.normal(0, 60, shape), 1.0)
    return np.round(ndimage.gaussian_filter(hu, 0.6) + texture).astype(np.int16), labels


def write_dataset(name, spacing_mm, shape):
    """Four cases in nnU-Net's raw format."""
    import SimpleITK as sitk  # noqa: N813

    folder = Path(os.environ[RAW]) / name
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
    for case in range(4):
        varied = tuple(n + case % 3 for n in shape)
        for array, path in zip(
            made_scan(varied, spacing_mm, case),
            (folder / "imagesTr" / f"case_{case}_0000.nii.gz", folder / "labelsTr" / f"case_{case}.nii.gz"),
            strict=True,
        ):
            image = sitk.GetImageFromArray(array)
            image.SetSpacing(spacing_mm[::-1])
            sitk.WriteImage(image, str(path))
    dataset = {"channel_names": {"0": "CT"}, "labels": LABELS, "numTraining": 4, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(dataset))


def plan(name, planner_name):
    """nnU-Net's own fingerprint and plans, for a narrow network."""
    from nnunetv2.experiment_planning.dataset_fingerprint import fingerprint_extractor
    from nnunetv2.experiment_planning.experiment_planners import default_experiment_planner as plain
    from nnunetv2.experiment_planning.experiment_planners.residual_unets import residual_encoder_unet_planners as res

    extractor = fingerprint_extractor.DatasetFingerprintExtractor(name, num_processes=1)
    extractor.show_progress_bar = False
    fingerprint_extractor.multiprocessing = SimpleNamespace(get_context=lambda _: multiprocessing.dummy)
    extractor.run()
    module, target_gb = (plain, 0.012) if planner_name == "ExperimentPlanner" else (res, 0.008)
    planner = getattr(module, planner_name)(name, gpu_memory_target_in_gb=target_gb)
    planner.UNet_base_num_features = 8
    planner.UNet_max_features_3d = 48
    planner.UNet_reference_com_nfeatures = 8
    planner.lowres_creation_threshold = 0.7  # small as the images are, there is to be a 3d_lowres
    return planner.plan_experiment()


def train(plans, configuration, fold, name, folder):
    """A few steps of nnU-Net's own trainer's network, and its own checkpoint."""
    import torch
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    raw = Path(os.environ[RAW]) / name
    dataset = json.loads((raw / "dataset.json").read_text())
    identifier = PlansManager(plans).get_configuration(configuration).data_identifier
    prepared = Path(os.environ[PREPROCESSED]) / name / identifier
    prepared.mkdir(exist_ok=True)
    (prepared / "case_0.b2nd").touch()  # the trainer looks at the names alone; the steps below prepare the data
    torch.manual_seed(fold)
    trainer = nnUNetTrainer(
        {**plans, "continue_training": False}, configuration, fold, dataset, device=torch.device("cpu")
    )
    trainer.initialize()
    trainer.set_deep_supervision_enabled(False)
    manager = PlansManager(plans)
    config = manager.get_configuration(configuration)
    cases = []
    for case in range(4):
        image, properties = SimpleITKIO().read_images([str(raw / "imagesTr" / f"case_{case}_0000.nii.gz")])
        seg, _ = SimpleITKIO().read_seg(str(raw / "labelsTr" / f"case_{case}.nii.gz"))
        data, seg, _ = config.preprocessor_class(verbose=False).run_case_npy(
            image, seg, properties, manager, config, dataset
        )
        cases.append((data, seg))
    optimiser = torch.optim.Adam(trainer.network.parameters(), 3e-3)
    rng = np.random.default_rng(fold)
    for _ in range(STEPS):
        data, seg = cases[rng.integers(4)]
        pad = [(0, 0)] + [(0, max(0, p - n)) for p, n in zip(config.patch_size, data.shape[1:], strict=True)]
        data, seg = np.pad(data, pad), np.pad(seg, pad)
        start = [rng.integers(n - p + 1) for p, n in zip(config.patch_size, data.shape[1:], strict=True)]
        cut = (slice(None), *(slice(a, a + p) for a, p in zip(start, config.patch_size, strict=True)))
        image, truth = torch.from_numpy(data[cut][None]), torch.from_numpy(seg[cut].astype(np.int64)).clamp(min=0)
        weight = torch.tensor([0.3, 1.0, 1.0, 1.0])
        loss = torch.nn.functional.cross_entropy(trainer.network(image), truth, weight=weight)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    target = folder / f"fold_{fold}"
    target.mkdir(parents=True)
    trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()  # decides the axes of mirroring
    trainer._best_ema = np.float64(0.5)
    trainer.logger.log("mean_fg_dice", np.float32(0.5), 0)
    trainer.save_checkpoint(str(target / "checkpoint_final.pth"))


def predict(folder, folds, hu, spacing_mm, mirroring):
    """Labels by nnU-Net's own predictor."""
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = nnUNetPredictor(use_mirroring=mirroring, device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(folder), folds, "checkpoint_final.pth")
    return predictor.predict_single_npy_array(hu[None].astype(np.float32), {"spacing": list(spacing_mm)})


def main(out):
    for part in FOLDERS:
        os.environ[part] = str(out / part)
        (out / part).mkdir(parents=True, exist_ok=True)
    os.environ.update(nnUNet_def_n_proc="1", nnUNet_n_proc_DA="1", nnUNet_compile="f")
    import torch

    torch.set_num_threads(1)  # the networks are small, and threads that wait for each other cost more than they give
    plans_of = {}
    for number, (name, case) in enumerate(CASES.items(), start=1):
        if case.planner not in plans_of:
            dataset = f"Dataset{number:03d}_made"
            write_dataset(dataset, case.spacing_mm, case.shape)
            plans_of[case.planner] = (dataset, plan(dataset, case.planner))
        dataset, plans = plans_of[case.planner]
        folder = out / name / "model" / f"nnUNetTrainer__{plans['plans_name']}__{case.configuration}"
        for fold in case.folds:
            train(plans, case.configuration, fold, dataset, folder)
        prepared = Path(os.environ[PREPROCESSED]) / dataset
        shutil.copy(prepared / "dataset.json", folder / "dataset.json")
        shutil.copy(prepared / f"{plans['plans_name']}.json", folder / "plans.json")
        size = tuple(round(n * s / t) for n, s, t in zip(case.shape, case.spacing_mm, case.scan_mm, strict=True))
        hu, _ = made_scan(size, case.scan_mm, 99)
        hu[:2], hu[:, :, -3:] = 0, 0  # a rim that nnU-Net crops
        np.savez(out / name / "scan.npz", hu=hu, spacing_mm=case.scan_mm)
        labels = predict(folder, case.folds, hu, case.scan_mm, case.mirroring)
        np.savez(out / name / "expected.npz", labels=labels)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
