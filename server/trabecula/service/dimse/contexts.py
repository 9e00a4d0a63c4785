"""What is negotiated: abstract and transfer syntaxes. docs/dicom-conformance.md is held to these tables."""

from __future__ import annotations

from typing import Final

from pydicom.uid import (
    JPEG2000,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    LegacyConvertedEnhancedCTImageStorage,
    RLELossless,
)
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import StorageCommitmentPushModel, Verification  # type: ignore[attr-defined]

STORAGE: Final = (CTImageStorage, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage)
"""Images that are taken in; everything else is refused at negotiation."""
UNCOMPRESSED: Final = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
TRANSFER_SYNTAXES: Final = (
    *UNCOMPRESSED,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    JPEGLosslessSV1,
    JPEGLossless,
    JPEGLSLossless,
    JPEGLSNearLossless,
    JPEG2000Lossless,
    JPEG2000,
    RLELossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
)
"""Those that the imaging stage decodes."""


def supported_contexts() -> list[PresentationContext]:
    """Presentation contexts of the provider."""
    return [
        build_context(Verification, list(UNCOMPRESSED)),
        build_context(StorageCommitmentPushModel, list(UNCOMPRESSED)),
        *(build_context(uid, list(TRANSFER_SYNTAXES)) for uid in STORAGE),
    ]
