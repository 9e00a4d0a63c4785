"""How sharp a reconstruction kernel is, by its name (table in kernels.toml)."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

from trabecula.imaging.study import KernelClass


@dataclass(frozen=True)
class KernelRule:
    vendor: re.Pattern[str]
    name: re.Pattern[str]
    kernel_class: KernelClass


@lru_cache(maxsize=1)
def kernel_rules() -> tuple[KernelRule, ...]:
    """The packaged table, in order."""
    table = tomllib.loads(files(__package__).joinpath("kernels.toml").read_text("utf-8"))
    return tuple(
        KernelRule(
            vendor=re.compile(rf"\b({rule['vendor']})" if rule["vendor"] else "", re.IGNORECASE),
            name=re.compile(rule["pattern"], re.IGNORECASE),
            kernel_class=KernelClass(rule["class"]),
        )
        for rule in table["rule"]
    )


def classify_kernel(kernel: str | None, manufacturer: str | None) -> KernelClass:
    """Class of a kernel; several values (Siemens adds the iterative strength) count by the first.

    A header without manufacturer is tried against every vendor's rules.
    """
    name = (kernel or "").split("\\")[0].strip()
    if not name:
        return KernelClass.UNKNOWN
    for rule in kernel_rules():
        if (not manufacturer or rule.vendor.search(manufacturer)) and rule.name.fullmatch(name):
            return rule.kernel_class
    return KernelClass.UNKNOWN
