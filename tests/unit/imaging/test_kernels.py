"""Kernel names to classes."""

from __future__ import annotations

import pytest

from trabecula.imaging.kernels import classify_kernel, kernel_rules
from trabecula.imaging.study import KernelClass


@pytest.mark.parametrize(
    ("manufacturer", "kernel", "expected"),
    [
        ("SIEMENS", "B10f", "soft"),
        ("SIEMENS", "B30f", "soft"),
        ("SIEMENS", "Br36f\\3", "soft"),
        ("Siemens Healthineers", "Br40", "soft"),
        ("SIEMENS", "I31f", "soft"),
        ("SIEMENS", "Qr40d", "soft"),
        ("SIEMENS", "B45f", "medium"),
        ("SIEMENS", "Bl57d", "medium"),
        ("SIEMENS", "I50f\\2", "medium"),
        ("SIEMENS", "B60s", "sharp"),
        ("SIEMENS", "B70f", "sharp"),
        ("SIEMENS", "Br64", "sharp"),
        ("SIEMENS", "Bf80", "sharp"),
        ("GE MEDICAL SYSTEMS", "STANDARD", "soft"),
        ("GE MEDICAL SYSTEMS", "SOFT", "soft"),
        ("GE MEDICAL SYSTEMS", "DETAIL", "medium"),
        ("GE MEDICAL SYSTEMS", "CHST", "medium"),
        ("GE MEDICAL SYSTEMS", "BONE", "sharp"),
        ("GE MEDICAL SYSTEMS", "BONEPLUS", "sharp"),
        ("GE MEDICAL SYSTEMS", "LUNG", "sharp"),
        ("GE MEDICAL SYSTEMS", "EDGE", "sharp"),
        ("Philips", "A", "soft"),
        ("Philips", "B", "soft"),
        ("Philips", "C", "medium"),
        ("Philips", "L", "sharp"),
        ("Philips", "YA", "medium"),
        ("Philips Medical Systems", "YC", "sharp"),
        ("Philips", "YD", "sharp"),
        ("TOSHIBA", "FC03", "soft"),
        ("TOSHIBA", "FC13", "soft"),
        ("TOSHIBA", "FC18", "medium"),
        ("Canon Medical Systems", "FC52", "sharp"),
        ("TOSHIBA", "FC86", "sharp"),
        ("UIH", "B_SOFT_B", "soft"),
        ("UIH", "B_SHARP_C", "sharp"),
        (None, "B45f", "medium"),
        (None, "LUNG", "sharp"),
        ("GE MEDICAL SYSTEMS", "B45f", "unknown"),
        ("SIEMENS", "L", "unknown"),
        ("SIEMENS", "", "unknown"),
        ("SIEMENS", None, "unknown"),
        ("ACME", "X1", "unknown"),
    ],
)
def test_class_by_vendor_and_name(manufacturer: str | None, kernel: str | None, expected: str) -> None:
    assert classify_kernel(kernel, manufacturer) is KernelClass(expected)


def test_every_rule_has_a_known_class() -> None:
    assert {rule.kernel_class for rule in kernel_rules()} == {KernelClass.SOFT, KernelClass.MEDIUM, KernelClass.SHARP}
