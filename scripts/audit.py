"""Known vulnerabilities of all that requirements.lock pins, and what the wheels carry that nobody maintains any more.

Exit code 0: audited, nothing found that is not accepted (docs/accepted-vulnerabilities.toml). 1: findings, or an
acceptance that has run out or that nothing matches. 75: NOT AUDITED, because no vulnerability service can be reached;
what can be told without one has been told.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

import httpx
from runtime_packages import REPOSITORY

LOCK: Final = REPOSITORY / "requirements.lock"
POLICY: Final = REPOSITORY / "docs" / "accepted-vulnerabilities.toml"
NOT_AUDITED: Final = 75
"""EX_TEMPFAIL of sysexits.h: try again where there is a network."""
PATIENCE_S: Final = 5.0
PROBES: Final = {
    "pypi": ("GET", "https://pypi.org/pypi/pip/24.0/json", None, "vulnerabilities"),
    "osv": ("POST", "https://api.osv.dev/v1/query", {"package": {"name": "pip", "ecosystem": "PyPI"}}, "vulns"),
}
"""For each service of pip-audit: something that is known to be there, and the key that its answer has."""
_PIN: Final = re.compile(r"^[A-Za-z0-9._-]+==", re.MULTILINE)


@dataclass(frozen=True)
class Finding:
    """A vulnerability, or a component without a maintainer."""

    package: str
    version: str
    id: str
    aliases: tuple[str, ...] = ()
    fixed_in: str = ""

    def __str__(self) -> str:
        return f"{self.package} {self.version}: {self.id}" + (f", fixed in {self.fixed_in}" if self.fixed_in else "")


@dataclass(frozen=True)
class Acceptance:
    """One entry of the policy."""

    id: str
    package: str
    until: date
    reason: str

    def covers(self, finding: Finding) -> bool:
        return self.package.lower() == finding.package.lower() and self.id in (finding.id, *finding.aliases)


def judge(findings: Iterable[Finding], accepted: Iterable[Acceptance], today: date, *, whole: bool) -> list[str]:
    """What is wrong, in words; nothing when all is well.

    Args:
        whole: whether every source was heard; else an acceptance that nothing matches says nothing.
    """
    findings, accepted = list(findings), list(accepted)
    wrong = [str(each) for each in findings if not any(entry.covers(each) for entry in accepted)]
    for entry in accepted:
        matched = [each for each in findings if entry.covers(each)]
        if matched and today > entry.until:
            wrong.append(f"{matched[0]}: was accepted until {entry.until}")
        elif whole and not matched:
            wrong.append(f"{entry.id} of {entry.package} is accepted and not found any more: take the entry out")
    return wrong


def policy(path: Path = POLICY) -> tuple[list[Acceptance], list[dict[str, Any]]]:
    """Accepted findings, and the days on which components end.

    Raises:
        KeyError, TypeError: if an entry lacks something.
    """
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    accepted = [Acceptance(**entry) for entry in document.get("accepted", ())]
    if any(not isinstance(entry.until, date) or len(entry.reason) < 20 for entry in accepted):
        raise TypeError("an acceptance needs a day (until) and a reason")
    return accepted, list(document.get("end_of_life", ()))


def not_maintained(sbom: dict[str, Any], ends: Iterable[dict[str, Any]], today: date) -> list[Finding]:
    """Components of the bill of materials past the end of their line."""
    return [
        Finding(_carrier(component), str(component["version"]), f"EOL-{end['name']}-{component['version']}")
        for component in sbom["components"]
        for end in ends
        if component["name"] == end["component"]
        and str(component.get("version", "")).startswith(end["version"])
        and today > end["on"]
    ]


def _carrier(component: dict[str, Any]) -> str:
    """The package whose wheel a component came in."""
    named = (each["value"] for each in component.get("properties", ()) if each["name"] == "trabecula:carried-by")
    return str(next(named, component["name"])).split(" ")[0]


def reachable() -> list[str]:
    """Services of pip-audit that answer as themselves; a proxy's page does not count."""
    found = []
    for name, (method, url, body, key) in PROBES.items():
        try:
            answer = httpx.request(method, url, json=body, timeout=PATIENCE_S)
            if answer.is_success and key in answer.json():
                found.append(name)
        except (httpx.HTTPError, ValueError):
            continue
    return found


def audited(service: str) -> list[Finding] | None:
    """What a service knows of the lock; None when it did not know all of the packages.

    Raises:
        RuntimeError: if pip-audit fails.
    """
    command = [sys.executable, "-m", "pip_audit", "-s", service, "-r", LOCK, "--no-deps", "--disable-pip", "-f", "json"]
    command += ["--progress-spinner", "off", "--timeout", "15"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - no shell  # nosec B603
    try:
        dependencies = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError) as error:
        raise RuntimeError(done.stderr[-500:]) from error
    pinned = len(_PIN.findall(LOCK.read_text(encoding="utf-8")))
    if sum("vulns" in each for each in dependencies) < 0.9 * pinned:
        return None
    return [
        Finding(
            each["name"], each["version"], v["id"], tuple(v.get("aliases", ())), ", ".join(v.get("fix_versions", ()))
        )
        for each in dependencies
        for v in each.get("vulns", ())
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sbom", type=Path, default=REPOSITORY / "out" / "sbom.cdx.json", help="from write_sbom.py")
    given = parser.parse_args()
    today = datetime.now(UTC).date()
    accepted, ends = policy()
    findings = not_maintained(json.loads(given.sbom.read_text(encoding="utf-8")), ends, today)
    heard = []
    for service in reachable():
        try:
            known = audited(service)
        except RuntimeError as error:
            sys.stderr.write(f"{service}: {error}\n")
            continue
        if known is not None:
            heard.append(service)
            findings += [each for each in known if each.id not in {other.id for other in findings}]
    wrong = judge(findings, accepted, today, whole=bool(heard))
    sys.stderr.writelines(f"{line}\n" for line in wrong)
    if wrong:
        return 1
    if not heard:
        sys.stderr.write(
            "NOT AUDITED: no vulnerability service can be reached from here. Nothing is known of the versions in "
            "requirements.lock; run `make audit` where there is a network.\n"
        )
        return NOT_AUDITED
    sys.stderr.write(f"audited by {', '.join(heard)}: nothing that is not accepted\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
