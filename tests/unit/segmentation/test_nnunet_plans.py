"""Reading nnU-Net's plans and datasets, today's and the older kind."""

from __future__ import annotations

import copy

import pytest

from trabecula.errors import ModelImportError
from trabecula.segmentation.nnunet.plans import read_labels, read_plan, storage_orientation

KWARGS = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}
RESAMPLING = {
    "resampling_fn_data": "resample_data_or_seg_to_shape",
    "resampling_fn_data_kwargs": KWARGS,
    "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
    "resampling_fn_probabilities_kwargs": {**KWARGS, "order": 1},
}
NEW = {
    "spacing": [3.0, 1.5, 1.5],
    "patch_size": [48, 96, 96],
    "normalization_schemes": ["CTNormalization"],
    "use_mask_for_norm": [False],
    **RESAMPLING,
    "architecture": {
        "network_class_name": "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet",
        "arch_kwargs": {
            "n_stages": 3,
            "features_per_stage": [8, 16, 32],
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": [[1, 3, 3], [3, 3, 3], [3, 3, 3]],
            "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2]],
            "n_blocks_per_stage": [1, 3, 4],
            "n_conv_per_stage_decoder": [1, 1],
            "conv_bias": True,
            "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
            "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "dropout_op": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
    },
}
OLD = {
    **{key: NEW[key] for key in ("spacing", "patch_size", "normalization_schemes", "use_mask_for_norm")},
    **RESAMPLING,
    "UNet_class_name": "PlainConvUNet",
    "UNet_base_num_features": 32,
    "unet_max_num_features": 100,
    "n_conv_per_stage_encoder": [2, 2, 2],
    "n_conv_per_stage_decoder": [2, 2],
    "conv_kernel_sizes": [[3, 3, 3]] * 3,
    "pool_op_kernel_sizes": [[1, 1, 1], [2, 2, 2], [2, 2, 2]],
}
PLANS = {
    "transpose_forward": [2, 0, 1],
    "image_reader_writer": "SimpleITKIO",
    "foreground_intensity_properties_per_channel": {
        "0": {"mean": 100.0, "std": 200.0, "percentile_00_5": -900.0, "percentile_99_5": 1200.0}
    },
    "configurations": {"3d_fullres": NEW, "3d_lowres": {"inherits_from": "3d_fullres", "spacing": [6.0, 3.0, 3.0]}},
}


def plans(**changes):
    made = copy.deepcopy(PLANS)
    made["configurations"]["3d_fullres"].update(changes)
    return made


def test_todays_plans_are_read():
    plan = read_plan(PLANS, "3d_fullres")
    assert plan.spacing_mm == (3.0, 1.5, 1.5)
    assert plan.patch == (48, 96, 96)
    assert plan.normalisation.model_dump()["low"] == -900.0
    assert (plan.resampling.order, plan.resampling_logits.order) == (3, 1)
    assert plan.architecture.kind == "ResidualEncoderUNet"
    assert plan.architecture.encoder_blocks == (1, 3, 4)
    assert plan.architecture.kernel_sizes[0] == (1, 3, 3)


def test_a_configuration_has_what_it_inherits():
    plan = read_plan(PLANS, "3d_lowres")
    assert plan.spacing_mm == (6.0, 3.0, 3.0)
    assert plan.patch == (48, 96, 96)


def test_the_older_plans_describe_their_network_in_other_words():
    plan = read_plan({**PLANS, "configurations": {"3d_fullres": OLD}}, "3d_fullres")
    assert plan.architecture.kind == "PlainConvUNet"
    assert plan.architecture.features == (32, 64, 100)
    assert plan.architecture.strides == ((1, 1, 1), (2, 2, 2), (2, 2, 2))
    assert plan.architecture.conv_bias


def test_the_networks_axes_follow_storage_and_transposition():
    # Stored x right, y anterior, z up; numpy axes (z, y, x); the network's first axis is x.
    assert read_plan(PLANS, "3d_fullres").axes("RAS") == ("R", "S", "A")
    assert read_plan(PLANS, "3d_fullres").axes("LPS") == ("L", "S", "P")


def test_orientation_is_the_readers_else_the_callers_else_the_maps():
    assert storage_orientation("NibabelIOWithReorient", "LPS", None) == "RAS"
    assert storage_orientation("SimpleITKIO", "PIR", "RAS") == "PIR"
    assert storage_orientation("SimpleITKIO", None, "RAS") == "RAS"
    assert storage_orientation("SimpleITKIO", None, None) == "LPS"
    with pytest.raises(ModelImportError, match="orientation"):
        storage_orientation("SimpleITKIO", "RLS", None)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"normalization_schemes": ["RGBTo01Normalization"]}, "RGBTo01Normalization"),
        ({"resampling_fn_data": "my_resampling"}, "my_resampling"),
        ({"previous_stage": "3d_lowres"}, "cascade"),
        ({"patch_size": [1, 2]}, "plans.json"),
        ({"spacing": None}, "plans.json"),
    ],
)
def test_what_is_not_supported_is_named(changes, named):
    with pytest.raises(ModelImportError, match=named):
        read_plan(plans(**changes), "3d_fullres")


@pytest.mark.parametrize(
    ("part", "value", "named"),
    [
        ("norm_op", "torch.nn.modules.batchnorm.BatchNorm3d", "BatchNorm3d"),
        ("nonlin", "torch.nn.ReLU", "ReLU"),
        ("conv_op", "torch.nn.modules.conv.Conv2d", "Conv2d"),
        ("stem_channels", 64, "stem_channels"),
    ],
)
def test_other_layers_are_named_not_guessed_at(part, value, named):
    made = plans()
    made["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"][part] = value
    with pytest.raises(ModelImportError, match=named):
        read_plan(made, "3d_fullres")


@pytest.mark.parametrize("name", ["2d", "3d_cascade_fullres"])
def test_other_configurations_are_refused(name):
    with pytest.raises(ModelImportError, match=name):
        read_plan(PLANS, name)


def test_a_circle_of_inheritance_ends():
    made = {**PLANS, "configurations": {"3d_fullres": {"inherits_from": "3d_fullres"}}}
    with pytest.raises(ModelImportError, match="circle"):
        read_plan(made, "3d_fullres")


def test_torch_resampling_is_linear_with_the_nearest_plane():
    made = plans(resampling_fn_probabilities="resample_torch_fornnunet", resampling_fn_probabilities_kwargs={})
    resampling = read_plan(made, "3d_fullres").resampling_logits
    assert (resampling.order, resampling.order_z, resampling.separate_z) == (1, 0, None)


def dataset(**changes):
    return {"channel_names": {"0": "CT"}, "labels": {"background": 0, "a": 1, "b": 2, "ignore": 3}, **changes}


def test_labels_are_those_without_the_ignored():
    assert read_labels(dataset()) == {0: "background", 1: "a", 2: "b"}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"channel_names": {"0": "CT", "1": "PET"}}, "input channel"),
        ({"labels": {"background": 0, "whole": [1, 2], "core": 2}}, "region"),
        ({"labels": {"background": 0, "a": 2}}, "gaps"),
        ({"labels": {"nothing": 0, "a": 1}}, "background"),
        ({"labels": None}, "labels"),
    ],
)
def test_datasets_that_cannot_be_imported_say_why(changes, named):
    with pytest.raises(ModelImportError, match=named):
        read_labels(dataset(**changes))
