"""Who a peer is: its certificate and key, and the authority that it trusts."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID

from ngpd_fl.config import InputError


class Credentials(NamedTuple):
    """Three PEM files, read and found to fit together.

    Attributes:
        name: whom the certificate is for.
        authority: the certificates that are trusted.
        certificate: the peer's own.
        key: its private key.
    """

    name: str
    authority: bytes
    certificate: bytes
    key: bytes

    @classmethod
    def open(cls, folder: Path, name: str | None = None) -> Self:
        """Read ``ca.crt``, ``NAME.crt`` and ``NAME.key``.

        Args:
            folder: one that ``ngpd-fl deploy keys`` made.
            name: of the peer; without one, that of the folder's only certificate.

        Raises:
            InputError: a file is missing, does not fit the others, is for another name or at another time, or others
                can read the key.
        """
        if name is None:
            found = sorted(path.stem for path in folder.glob("*.crt") if path.stem != "ca")
            if len(found) != 1:
                raise InputError(
                    f"{folder}: should hold one certificate beside ca.crt (got {', '.join(found) or 'none'})"
                )
            name = found[0]
        authority, certificate, key = folder / "ca.crt", folder / f"{name}.crt", folder / f"{name}.key"
        credentials = cls(name, *(_read(path) for path in (authority, certificate, key)))
        if (mode := key.stat().st_mode & 0o777) & 0o077:
            raise InputError(f"{key}: others can read it (mode {mode:o}); chmod 600 {key}")
        credentials._check(authority, certificate, key)
        return credentials

    def _check(self, authority: Path, certificate: Path, key: Path) -> None:
        try:
            trusted = x509.load_pem_x509_certificates(self.authority)
        except ValueError as error:
            raise InputError(f"{authority}: is no certificate") from error
        try:
            own = x509.load_pem_x509_certificate(self.certificate)
        except ValueError as error:
            raise InputError(f"{certificate}: is no certificate") from error
        try:
            private = serialization.load_pem_private_key(self.key, None)
        except (ValueError, TypeError) as error:
            raise InputError(f"{key}: is no private key") from error
        if private.public_key() != own.public_key():
            raise InputError(f"{key}: does not belong to {certificate.name}")
        if not (self.name == common_name(own) and self.name in _alternatives(own)):
            raise InputError(f"{certificate}: is for {common_name(own)!r}; should be for {self.name!r}")
        if not any(_signed(own, by) for by in trusted):
            raise InputError(f"{certificate}: is not signed by {authority.name}; are they of one deployment?")
        now = datetime.now(UTC)
        if now < own.not_valid_before_utc:
            began = own.not_valid_before_utc
            raise InputError(f"{certificate}: is valid from {began:%Y-%m-%d %H:%M} UTC on; is this clock right?")
        if now > own.not_valid_after_utc:
            raise InputError(f"{certificate}: expired at {own.not_valid_after_utc:%Y-%m-%d %H:%M} UTC; make a new one")


class Insecure(NamedTuple):
    """In place of credentials: neither encryption nor proof of who speaks. For tests on one machine.

    Attributes:
        name: of the peer.
        forced: also where peers are on other machines.
    """

    name: str
    forced: bool = False


def common_name(certificate: x509.Certificate) -> str:
    """Return whom a certificate is for."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else ""


def _alternatives(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return names.value.get_values_for_type(x509.DNSName)


def _signed(certificate: x509.Certificate, by: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(by)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
