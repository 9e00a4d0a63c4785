"""Reading all headers of a study, and the faults that end it there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from trabecula.errors import (
    CorruptInstance,
    ImplausibleSize,
    InputError,
    MixedPatients,
    MixedStudies,
    NoDicomFound,
    NoPixelData,
)
from trabecula.imaging.discover import find_dicom_files
from trabecula.imaging.headers import inflated_dataset, read_instance
from trabecula.imaging.instance import Instance
from trabecula.imaging.limits import ImagingLimits
from trabecula.imaging.pixel_element import check_pixel_element
from trabecula.imaging.refusals import inform, warn
from trabecula.outcome import Notice

_BATCH = 32
_MOST = 0.5
"""Damaged part of the instances from which the study counts as damaged, not as one with a few bad files."""


@dataclass(frozen=True)
class Intake:
    """Headers of one study of one patient."""

    instances: tuple[Instance, ...]
    """CT instances, each SOP instance once, pixel data present."""
    others: tuple[Instance, ...]
    """Instances that are no CT images."""
    notices: tuple[Notice, ...]


def take_in(paths: Sequence[Path], limits: ImagingLimits, on_fraction: Callable[[float], None]) -> Intake:
    """Read every header below the paths.

    Raises NoDicomFound, MixedPatients, MixedStudies, LimitExceeded, and where at least half of the CT instances
    cannot be used ImplausibleSize, NoPixelData or CorruptInstance; fewer are dropped with a notice.
    """
    files = find_dicom_files(paths, limits)
    if not files:
        raise NoDicomFound()
    instances: list[Instance] = []
    faults: list[InputError] = []
    for result in _headers(files, limits, on_fraction):
        if isinstance(result, Instance):
            instances.append(result)
        else:
            faults.append(result)
    _check_one_study(instances)
    ct = [one for one in instances if one.is_ct]
    others = tuple(one for one in instances if not one.is_ct)
    _raise_if_damaged(faults, len(ct) or len(others))
    strange = len({path for path in paths if path.is_file()} - set(files))  # what lies in folders may be anything
    if strange and len(files) + strange <= len(paths):
        faults += [NoDicomFound()] * strange
    unique = {one.sop_uid or str(one.path): one for one in ct}
    return Intake(tuple(unique.values()), others, _notices(len(ct) - len(unique), len(others), faults))


def _headers(
    files: Sequence[Path], limits: ImagingLimits, on_fraction: Callable[[float], None]
) -> Iterator[Instance | InputError]:
    batches = [files[at : at + _BATCH] for at in range(0, len(files), _BATCH)]
    pool = ThreadPoolExecutor(limits.threads, thread_name_prefix="headers")
    try:
        for done, results in enumerate(pool.map(lambda batch: [_try_header(path, limits) for path in batch], batches)):
            yield from results
            on_fraction((done + 1) / len(batches))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _try_header(path: Path, limits: ImagingLimits) -> Instance | InputError:
    """Header of one file with its pixel element checked; the fault where it cannot be used."""
    try:
        instance = read_instance(path, limits)
        if instance.is_ct and instance.frames:
            with path.open("rb") as file:
                check_pixel_element(instance, inflated_dataset(file, limits) if instance.deflated else file)
        return instance
    except InputError as error:
        return error
    except OSError as error:
        return CorruptInstance(f"file: {type(error).__name__}")


def _check_one_study(instances: Sequence[Instance]) -> None:
    """One patient, one study; empty identifiers say nothing."""
    ids = {one.patient_id for one in instances if one.patient_id}
    names = {one.patient_name for one in instances if one.patient_name}
    if len(ids) > 1 or (not ids and len(names) > 1):
        raise MixedPatients(patients=max(len(ids), len(names)))
    studies = {one.study_uid for one in instances if one.study_uid}
    if len(studies) > 1:
        raise MixedStudies(studies=len(studies))


def _raise_if_damaged(faults: Sequence[InputError], usable: int) -> None:
    """Raise the most telling fault where it hit most of the instances, or where it is an attack on memory."""
    for kind in (ImplausibleSize, NoPixelData, CorruptInstance, InputError):
        same = [fault for fault in faults if isinstance(fault, kind)]
        if same and (len(faults) >= _MOST * (len(faults) + usable)):
            raise same[0]


def _notices(copies: int, others: int, faults: Sequence[InputError]) -> tuple[Notice, ...]:
    notices: list[Notice] = []
    if copies:
        notices.append(inform("duplicate-instances", f"{copies} instance(s) came more than once."))
    if others:
        notices.append(inform("other-objects-ignored", f"{others} instance(s) are no CT images and were ignored."))
    for code, count in sorted(Counter(fault.code for fault in faults).items()):
        notices.append(warn("instances-dropped", f"{count} instance(s) could not be used: {code}."))
    return tuple(notices)
