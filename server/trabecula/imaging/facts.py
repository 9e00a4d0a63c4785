"""How a series was made and whose it is, read from one of its instances."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import date

from pydicom.charset import convert_encodings, decode_bytes

from trabecula.errors import CorruptInstance, InputError
from trabecula.imaging import tags
from trabecula.imaging.contrast import contrast_tag
from trabecula.imaging.elements import Elements, FrameElements, identifier
from trabecula.imaging.headers import read_header
from trabecula.imaging.instance import Slice
from trabecula.imaging.kernels import classify_kernel
from trabecula.imaging.limits import ImagingLimits
from trabecula.imaging.study import ContrastTag, KernelClass, SpectralFilter, StudyIdentity

_TIN_WORD = re.compile(r"\bTIN\b|\bSN\b", re.IGNORECASE)
_TIN_VOLTAGE = re.compile(r"(?<![A-Za-z])S[nN][ _]?\d{2,3}|\d{2,3}[ _]?(kV)?[ _]?S[nN](?![A-Za-z])")
_MAKERS_WITHOUT_TIN = re.compile(r"^(GE\b|Philips|Toshiba|Canon|Hitachi)", re.IGNORECASE)
"""Tin prefilters are Siemens' (recalled, not verified against every product of the others)."""
_PLAUSIBLE_MAS = (0.5, 1500.0)
_PLAUSIBLE_KVP = (40.0, 160.0)
_UNITS_A_YEAR = {"Y": 1.0, "M": 12.0, "W": 52.1775, "D": 365.2425}
_DAYS_A_YEAR = 365.2425


@dataclass(frozen=True)
class SeriesFacts:
    """Facts of one series. Holds identifiers and free text: never logged."""

    kvp: float | None
    spectral_filter: SpectralFilter
    kernel: str | None
    kernel_class: KernelClass
    contrast: ContrastTag
    reconstruction_diameter_mm: float | None
    exposure_mas: float | None
    ctdi_vol_mgy: float | None
    manufacturer: str | None
    model: str | None
    station_hash: str | None
    acquired_at: str | None
    description: str
    """Series, protocol and derivation text, only to be searched for words."""
    identity: StudyIdentity


def read_facts(one: Slice, limits: ImagingLimits) -> SeriesFacts:
    """Facts of the series by the header of one slice. Raises CorruptInstance, and LimitExceeded for its sequences."""
    with one.instance.path.open("rb") as file:
        dataset, _, _ = read_header(file, tags.SERIES_TAGS, limits)
    try:
        return _facts(one, Elements(dataset))
    except InputError:
        raise
    except Exception as error:
        # Character sets and sequences of a damaged header fail in many ways, in words that may quote it.
        raise CorruptInstance(f"series header: {type(error).__name__}") from None


def _facts(one: Slice, root: Elements) -> SeriesFacts:
    per_frame = root.items(tags.PER_FRAME_GROUPS)[one.frame.index : one.frame.index + 1]
    header = FrameElements(root, (*per_frame, *root.items(tags.SHARED_GROUPS)[:1]))
    series_text = " | ".join(root.text(tag) for tag in (tags.SERIES_DESCRIPTION, tags.PROTOCOL_NAME))
    manufacturer = root.text(tags.MANUFACTURER) or None
    kernel = one.frame.kernel or None
    return SeriesFacts(
        kvp=_plausible(header.number(tags.MACRO_XRAY, tags.KVP), *_PLAUSIBLE_KVP),
        spectral_filter=_spectral_filter(header, manufacturer, series_text),
        kernel=kernel,
        kernel_class=classify_kernel(kernel, manufacturer),
        contrast=contrast_tag(header, series_text, root.text(tags.STUDY_DESCRIPTION)),
        reconstruction_diameter_mm=header.number(tags.MACRO_RECONSTRUCTION, tags.RECONSTRUCTION_DIAMETER),
        exposure_mas=_exposure_mas(header),
        ctdi_vol_mgy=header.number(tags.MACRO_EXPOSURE, tags.CTDI_VOL),
        manufacturer=manufacturer,
        model=root.text(tags.MODEL) or None,
        station_hash=_station_hash(root.text(tags.DEVICE_SERIAL)),
        acquired_at=_acquired_at(root),
        description=f"{series_text} | {root.text(tags.DERIVATION_DESCRIPTION)}",
        identity=_identity(root),
    )


def _plausible(value: float | None, low: float, high: float) -> float | None:
    return value if value is not None and low <= value <= high else None


def _spectral_filter(header: FrameElements, manufacturer: str | None, series_text: str) -> SpectralFilter:
    xray = header.macro(tags.MACRO_XRAY)
    filters = " ".join((*xray.texts(tags.FILTER_TYPE), *xray.texts(tags.FILTER_MATERIAL)))
    if _TIN_WORD.search(filters) or _TIN_VOLTAGE.search(series_text):
        return SpectralFilter.TIN
    if filters or _MAKERS_WITHOUT_TIN.match(manufacturer or ""):
        return SpectralFilter.NONE
    return SpectralFilter.UNKNOWN


def _exposure_mas(header: FrameElements) -> float | None:
    """Exposure as stated; where that is out of any scanner's range, current times exposure time."""
    root, macro = header.root, tags.MACRO_EXPOSURE
    stated = header.number(macro, tags.EXPOSURE_MAS)
    stated = root.number(tags.EXPOSURE) if stated is None else stated
    if (plausible := _plausible(stated, *_PLAUSIBLE_MAS)) is not None:
        return plausible
    current = header.number(macro, tags.TUBE_CURRENT_MA) or root.number(tags.TUBE_CURRENT)
    time_ms = header.number(macro, tags.EXPOSURE_TIME_MS) or root.number(tags.EXPOSURE_TIME)
    return _plausible(current * time_ms / 1000.0, *_PLAUSIBLE_MAS) if current and time_ms else None


def _station_hash(serial: str) -> str | None:
    return hashlib.sha256(serial.encode()).hexdigest()[:16] if serial else None


def _acquired_at(root: Elements) -> str | None:
    """ISO 8601 date-time, or date where there is no time."""
    for day, time in (
        (root.text(tags.ACQUISITION_DATETIME)[:8], root.text(tags.ACQUISITION_DATETIME)[8:14]),
        (root.text(tags.ACQUISITION_DATE), root.text(tags.ACQUISITION_TIME)),
        (root.text(tags.SERIES_DATE), root.text(tags.SERIES_TIME)),
        (root.text(tags.STUDY_DATE), root.text(tags.STUDY_TIME)),
    ):
        parsed = _date(day)
        if parsed is not None:
            clock = re.fullmatch(r"([01]\d|2[0-3])([0-5]\d)([0-5]\d)", time[:6])
            return f"{parsed.isoformat()}T{':'.join(clock.groups())}" if clock else parsed.isoformat()
    return None


def _date(text: str) -> date | None:
    try:
        return date.fromisoformat(text.replace(".", "")[:8])
    except ValueError:
        return None


def _identity(root: Elements) -> StudyIdentity:
    sex = root.text(tags.PATIENT_SEX).upper()
    size = root.number(tags.PATIENT_SIZE)
    if size is not None and 30 <= size <= 260:  # written in centimetres
        size /= 100
    return StudyIdentity(
        study_instance_uid=root.text(tags.STUDY_UID),
        series_instance_uid=root.text(tags.SERIES_UID),
        frame_of_reference_uid=root.text(tags.FRAME_OF_REFERENCE) or None,
        patient_id=identifier_of(root, tags.PATIENT_ID),
        patient_id_issuer=identifier_of(root, tags.PATIENT_ID_ISSUER),
        accession_number=identifier_of(root, tags.ACCESSION_NUMBER),
        patient_sex=sex if sex in ("M", "F", "O") else None,
        patient_age_years=_age_years(root),
        patient_height_m=_plausible(size, 0.3, 2.6),
        patient_weight_kg=_plausible(root.number(tags.PATIENT_WEIGHT), 1.0, 500.0),
    )


def identifier_of(root: Elements, tag: int) -> str | None:
    """An identifier in the character set that the header names (PS3.3 C.12.1.1.2); None when it is empty."""
    encodings = convert_encodings(list(root.texts(tags.CHARACTER_SET)) or None)
    return identifier(decode_bytes(root.bytes(tag), encodings, {0x5C})) or None


def _age_years(root: Elements) -> float | None:
    stated = re.fullmatch(r"(\d{1,3})([YMWD])", root.text(tags.PATIENT_AGE).upper())
    if stated and int(stated[1]) > 0:
        return int(stated[1]) / _UNITS_A_YEAR[stated[2]]
    born, scanned = _date(root.text(tags.BIRTH_DATE)), _date(root.text(tags.STUDY_DATE))
    if born is None or scanned is None or scanned < born:
        return None
    return (scanned - born).days / _DAYS_A_YEAR
