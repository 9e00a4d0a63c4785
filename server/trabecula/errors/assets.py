"""Faults of what an installation brings along: models, clinical data, site files, reference sets."""

from __future__ import annotations

from trabecula.errors.base import InputError, TrabeculaError


class InvalidReport(InputError):
    """The report cannot be read."""

    code = "invalid-report"
    remedy = "Send a report as this version writes it, or one of the same major version."


class NoCasesFound(InputError):
    """No evaluation case was found."""

    code = "no-cases-found"
    remedy = "Give a folder that holds case folders; docs/evaluation.md shows the layout."


class InvalidCase(InputError):
    """An evaluation case cannot be used."""

    code = "invalid-case"
    remedy = "Mend the case folder; docs/evaluation.md shows the layout."


class ModelError(TrabeculaError):
    """A model cannot be used."""

    code = "model-unusable"
    remedy = "Install the model bundle again."


class ModelChecksumMismatch(ModelError):
    """A model file does not match the sha256 in its manifest."""

    code = "model-checksum-mismatch"


class LabelMapError(InputError):
    """The label map does not fit the model."""

    code = "label-map-unusable"
    remedy = "Name every label of the model's dataset.json in the map, each with a target that exists here."


class ModelImportError(InputError):
    """The model folder cannot be imported."""

    code = "model-import-failed"
    remedy = "docs/nnunet.md lists what can be imported."


class ClinicalDataError(TrabeculaError):
    """The clinical data file cannot be used."""

    code = "clinical-data-unusable"
    remedy = "Install the package again, or mend the entry named here."


class SiteFileError(TrabeculaError):
    """The site's calibration file or scanner history cannot be used."""

    code = "site-file-unusable"
    remedy = "Mend the entry named here; docs/calibration.md shows the form."


class DriftReferenceError(TrabeculaError):
    """The reference histograms cannot be used."""

    code = "drift-reference-unusable"
    remedy = "Write the file anew with `trabecula drift reference`; docs/monitoring.md shows the form."
