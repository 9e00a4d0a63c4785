"""Reading ``plans.json`` and ``dataset.json`` of an nnU-Net v2 model folder. Needs neither torch nor nnU-Net."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from trabecula.errors import ModelImportError
from trabecula.segmentation.nnunet.spec import Direction, Normalisation, Resampling
from trabecula.texts import parse_json

Json = Mapping[str, Any]
Triple = tuple[float, float, float]
Sides = tuple[int, int, int]

CONFIGURATIONS: Final = ("3d_fullres", "3d_lowres")
ARCHITECTURES: Final = ("PlainConvUNet", "ResidualEncoderUNet")
_SCHEMES: Final = {
    "CTNormalization": "ct",
    "ZScoreNormalization": "z-score",
    "RescaleTo01Normalization": "rescale-0-1",
    "NoNormalization": "none",
}
_RESAMPLERS: Final = ("resample_data_or_seg_to_shape", "resample_torch_fornnunet")
_MAX_JSON_BYTES: Final = 64 << 20
_OPPOSITE: Final[dict[str, str]] = {"L": "R", "R": "L", "A": "P", "P": "A", "S": "I", "I": "S"}


@dataclass(frozen=True)
class Architecture:
    """The network as the plans describe it; lists have one entry per resolution stage."""

    kind: str
    """``PlainConvUNet`` or ``ResidualEncoderUNet``."""
    features: tuple[int, ...]
    kernel_sizes: tuple[Sides, ...]
    strides: tuple[Sides, ...]
    encoder_blocks: tuple[int, ...]
    """Convolutions (plain) or residual blocks per stage."""
    decoder_convolutions: tuple[int, ...]
    conv_bias: bool
    norm_eps: float
    norm_affine: bool


@dataclass(frozen=True)
class Plan:
    """What is needed of the plans for one configuration. Triples are in the network's axis order."""

    configuration: str
    spacing_mm: Triple
    patch: Sides
    transpose_forward: Sides
    """Axis of the stored image, (z, y, x) of the file, that each axis of the network is."""
    normalisation: Normalisation
    resampling: Resampling
    resampling_logits: Resampling
    architecture: Architecture
    reader: str

    def axes(self, orientation: str) -> tuple[Direction, Direction, Direction]:
        """Where the network's axes run to when the training images were stored in ``orientation`` (NIfTI codes,
        first letter for the fastest axis, e.g. RAS)."""
        stored = orientation[::-1]
        first, second, third = (stored[n] for n in self.transpose_forward)
        return cast(tuple[Direction, Direction, Direction], (first, second, third))


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a model folder.

    Raises:
        ModelImportError: if it cannot be read.
    """
    try:
        if path.stat().st_size > _MAX_JSON_BYTES:
            raise ModelImportError(f"{path.name} is too large", file=path.name)
        content = parse_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ModelImportError(f"{path.name} cannot be read: {error}", file=path.name) from error
    if not isinstance(content, dict):
        raise ModelImportError(f"{path.name} holds no object", file=path.name)
    return content


def read_labels(dataset: Json) -> dict[int, str]:
    """Label number to name, without the ignore label.

    Raises:
        ModelImportError: for region-based training, more than one input channel, or numbers with gaps.
    """
    channels = dataset.get("channel_names", dataset.get("modality"))
    if not isinstance(channels, dict) or len(channels) != 1:
        raise ModelImportError("only networks with one input channel can be imported", input_channels=_count(channels))
    labels = dataset.get("labels")
    if not isinstance(labels, dict):
        raise ModelImportError("dataset.json has no labels", file="dataset.json")
    if any(isinstance(value, list) for value in labels.values()):
        raise ModelImportError("region-based training is not supported", file="dataset.json")
    try:
        names = {int(value): str(name) for name, value in labels.items() if name != "ignore"}
    except (TypeError, ValueError) as error:
        raise ModelImportError("the label numbers cannot be read", file="dataset.json") from error
    if sorted(names) != list(range(len(names))) or names.get(0) != "background":
        raise ModelImportError("label numbers must run from 0 (background) without gaps", labels=len(names))
    return names


def read_plan(plans: Json, configuration: str) -> Plan:
    """The plan of one configuration, in today's format or that of nnU-Net before 2.5.

    Raises:
        ModelImportError: if the configuration, architecture, normalisation or resampling is not supported.
    """
    if configuration not in CONFIGURATIONS:
        raise ModelImportError(f"configuration {configuration} is not supported", configuration=configuration)
    config = _resolved(plans, configuration)
    if config.get("previous_stage"):
        raise ModelImportError("cascades are not supported", configuration=configuration)
    try:
        return Plan(
            configuration,
            _triple(config["spacing"]),
            _sides(config["patch_size"]),
            _sides(plans["transpose_forward"]),
            _normalisation(plans, config),
            _resampling(config, "resampling_fn_data"),
            _resampling(config, "resampling_fn_probabilities"),
            _architecture(config),
            str(plans.get("image_reader_writer", "")),
        )
    except (KeyError, TypeError, IndexError) as error:
        raise ModelImportError(f"plans.json lacks or garbles {error}", file="plans.json") from error
    except ValueError as error:
        raise ModelImportError(f"plans.json: {error}", file="plans.json") from error


def storage_orientation(reader: str, said: str | None, of_map: str | None) -> str:
    """How the training images were stored, as NIfTI axis codes.

    nnU-Net does not write it down. Readers that reorient fix it (RAS); otherwise it is as the caller says, as the
    label map says, or else that of DICOM slices as ITK reads them (LPS).

    Raises:
        ModelImportError: if the three letters do not name three axes.
    """
    code = "RAS" if reader.endswith("WithReorient") else (said or of_map or "LPS").upper()
    if len(code) != 3 or {min(c, _OPPOSITE.get(c, c)) for c in code} != {"A", "I", "L"}:
        raise ModelImportError(f"no such orientation: {code}", orientation=code[:3])
    return code


def _resolved(plans: Json, name: str, seen: tuple[str, ...] = ()) -> dict[str, Any]:
    """A configuration with what it inherits."""
    configurations = plans.get("configurations")
    if not isinstance(configurations, dict) or not isinstance(configurations.get(name), dict):
        raise ModelImportError(f"plans.json has no configuration {name}", configuration=name)
    own: dict[str, Any] = configurations[name]
    parent = own.get("inherits_from")
    if parent is None:
        return dict(own)
    if parent in (*seen, name):
        raise ModelImportError("configurations inherit in a circle", configuration=name)
    return {**_resolved(plans, str(parent), (*seen, name)), **own}


def _normalisation(plans: Json, config: Json) -> Normalisation:
    (name,) = config["normalization_schemes"]
    scheme = _SCHEMES.get(name)
    if scheme is None:
        raise ModelImportError(f"normalisation {name} is not supported", normalisation=name)
    masked = bool(config.get("use_mask_for_norm", [False])[0]) and scheme == "z-score"
    if scheme != "ct":
        return Normalisation.model_validate({"scheme": scheme, "non_zero_only": masked})
    properties = plans.get("foreground_intensity_properties_per_channel") or plans.get(
        "foreground_intensity_properties_by_modality"
    )
    if not isinstance(properties, dict):
        raise KeyError("foreground_intensity_properties_per_channel")
    values = properties["0"]
    return Normalisation(
        scheme="ct",
        mean=values["mean"],
        std=max(values["std"], 1e-8),
        low=values["percentile_00_5"],
        high=values["percentile_99_5"],
    )


def _resampling(config: Json, key: str) -> Resampling:
    name, options = config[key], config.get(f"{key}_kwargs", {})
    if name not in _RESAMPLERS:
        raise ModelImportError(f"resampling {name} is not supported", resampling=name)
    threshold = options.get("separate_z_anisotropy_threshold", 3.0)
    separate = options.get("force_separate_z", None if name == _RESAMPLERS[1] else False)
    if name == _RESAMPLERS[0]:
        order, order_z = options.get("order", 3), options.get("order_z", 0)
    else:
        if options.get("mode", "linear") != "linear" or options.get("aniso_axis_mode", "nearest-exact") not in (
            "nearest-exact",
            "linear",
        ):
            raise ModelImportError(f"this mode of {name} is not supported", resampling=name)
        order, order_z = 1, int(options.get("aniso_axis_mode") == "linear")
    return Resampling(order=order, order_z=order_z, separate_z=separate, threshold=threshold)


def _architecture(config: Json) -> Architecture:
    if "architecture" not in config:
        return _old_architecture(config)
    described = config["architecture"]
    kind = str(described["network_class_name"]).rsplit(".", 1)[-1]
    _check_architecture(kind)
    kwargs = described["arch_kwargs"]
    _check_parts(kwargs)
    stages = int(kwargs["n_stages"])
    blocks = kwargs["n_conv_per_stage"] if kind == ARCHITECTURES[0] else kwargs["n_blocks_per_stage"]
    norm = kwargs.get("norm_op_kwargs") or {}
    return Architecture(
        kind,
        _per_stage(kwargs["features_per_stage"], stages),
        tuple(_sides(kernel) for kernel in kwargs["kernel_sizes"]),
        tuple(_sides(stride) for stride in kwargs["strides"]),
        _per_stage(blocks, stages),
        _per_stage(kwargs["n_conv_per_stage_decoder"], stages - 1),
        bool(kwargs.get("conv_bias", False)),
        float(norm.get("eps", 1e-5)),
        bool(norm.get("affine", False)),
    )


def _old_architecture(config: Json) -> Architecture:
    """The plans of nnU-Net before 2.5 (TotalSegmentator's are of that kind)."""
    kind = str(config["UNet_class_name"])
    _check_architecture(kind)
    encoder = tuple(int(n) for n in config["n_conv_per_stage_encoder"])
    base, most = int(config["UNet_base_num_features"]), int(config["unet_max_num_features"])
    return Architecture(
        kind,
        tuple(min(base * 2**stage, most) for stage in range(len(encoder))),
        tuple(_sides(kernel) for kernel in config["conv_kernel_sizes"]),
        tuple(_sides(stride) for stride in config["pool_op_kernel_sizes"]),
        encoder,
        tuple(int(n) for n in config["n_conv_per_stage_decoder"]),
        True,
        1e-5,
        True,
    )


def _check_architecture(kind: str) -> None:
    if kind not in ARCHITECTURES:
        known = " and ".join(ARCHITECTURES)
        raise ModelImportError(f"architecture {kind} is not supported; {known} are", architecture=kind)


_PARTS: Final = {
    "conv_op": ("Conv3d",),
    "norm_op": ("InstanceNorm3d",),
    "dropout_op": (None,),
    "nonlin": ("LeakyReLU",),
}


def _check_parts(kwargs: Json) -> None:
    """Layers other than nnU-Net's own choice are named, not guessed at."""
    for part, allowed in _PARTS.items():
        value = kwargs.get(part)
        name = None if value is None else str(value).rsplit(".", 1)[-1]
        if name not in allowed:
            raise ModelImportError(f"{part} {name} is not supported", **{part: name})
    slope = (kwargs.get("nonlin_kwargs") or {}).get("negative_slope", 0.01)
    extra = [key for key in ("block", "bottleneck_channels", "stem_channels", "nonlin_first") if kwargs.get(key)]
    if extra or slope != 0.01:
        raise ModelImportError(f"{extra[0] if extra else 'negative_slope'} is not supported", file="plans.json")


def _per_stage(value: int | list[int], stages: int) -> tuple[int, ...]:
    many = [value] * stages if isinstance(value, int) else value
    if len(many) != stages:
        raise ValueError("a list does not have one entry per stage")
    return tuple(int(n) for n in many)


def _triple(value: list[float]) -> Triple:
    first, second, third = (float(v) for v in value)
    return first, second, third


def _sides(value: list[int]) -> Sides:
    first, second, third = (int(v) for v in value)
    return first, second, third


def _count(value: object) -> int:
    return len(value) if isinstance(value, dict | list) else 0
