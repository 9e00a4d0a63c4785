"""A site's authorization server and certificate authority, for tests of who may call."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from live_http import ISSUER, Issuer

AUDIENCE = "https://trabecula.hospital.test"


@dataclass(frozen=True)
class Tokens:
    """An issuer, its keys in a file, and tokens in files."""

    issuer: Issuer
    folder: Path

    @classmethod
    def at(cls, folder: Path) -> Tokens:
        made = cls(Issuer.make(), folder)
        (folder / "jwks.json").write_text(json.dumps(made.issuer.jwks), encoding="utf-8")
        return made

    @property
    def settings(self) -> dict[str, Any]:
        return {"auth_issuers": ISSUER, "auth_jwks": str(self.folder / "jwks.json"), "grpc_audience": AUDIENCE}

    def file(self, scope: str, name: str = "token", **claims: Any) -> Path:
        path = self.folder / name
        audience = claims.pop("aud", AUDIENCE)
        path.write_text(self.issuer.token(audience, scope, **claims) + "\n", encoding="ascii")
        return path


@dataclass(frozen=True)
class Authority:
    """A certificate authority with its certificate in a file."""

    folder: Path
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def at(cls, folder: Path, name: str = "authority") -> Authority:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        made = _builder(subject, subject, key.public_key()).add_extension(x509.BasicConstraints(True, None), True)
        certificate = made.sign(key, hashes.SHA256())
        authority = cls(folder, key, certificate)
        authority.path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return authority

    @property
    def path(self) -> Path:
        name = self.certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value
        return self.folder / f"{name!s}.crt"

    def issue(self, name: str, *, uri: str | None = None) -> tuple[Path, Path]:
        """Certificate and key of a holder known as ``name`` (DNS) on loopback."""
        key = ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = [x509.DNSName(name), x509.IPAddress(ip_address("127.0.0.1"))]
        names += [x509.UniformResourceIdentifier(uri)] if uri else []
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        made = _builder(subject, self.certificate.subject, key.public_key())
        made = made.add_extension(x509.SubjectAlternativeName(names), False)
        certificate = made.sign(self.key, hashes.SHA256())
        paths = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        paths[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return paths


def _builder(subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
    )
