"""Identity of a peer: its certificate and key, and the authority that it trusts."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, Self, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID

from ngpd_fl.config import InputError

T = TypeVar("T")


class Credentials(NamedTuple):
    """Three PEM files that belong together.

    Attributes:
        name: the name in the certificate.
        authority: file of the trusted certificates.
        certificate: file of the peer's own certificate.
        key: file of its private key.
    """

    name: str
    authority: Path
    certificate: Path
    key: Path

    @classmethod
    def open(cls, folder: Path, name: str | None = None) -> Self:
        """Read ``ca.crt``, ``NAME.crt`` and ``NAME.key``.

        Args:
            folder: one that ``ngpd-fl deploy keys`` made.
            name: the name of the peer. Defaults to that of the folder's only certificate.

        Raises:
            InputError: a file is missing or does not fit the others, the certificate has another name or is not valid
                now, or other users can read the key.
        """
        if name is None:
            names = sorted(path.stem for path in folder.glob("*.crt") if path.stem != "ca")
            if len(names) != 1:
                raise InputError(
                    f"{folder}: should hold one certificate beside ca.crt (got {', '.join(names) or 'none'})"
                )
            name = names[0]
        credentials = cls(name, folder / "ca.crt", folder / f"{name}.crt", folder / f"{name}.key")
        try:
            credentials._check()
        except InputError:
            raise
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:  # a certificate is read bit by bit
            raise InputError(f"{credentials.certificate}: is damaged ({error})") from error
        return credentials

    def server_context(self) -> ssl.SSLContext:
        """Return the TLS context of the accepting side, which proves this identity and verifies others."""
        context = self._context(ssl.PROTOCOL_TLS_SERVER)
        context.num_tickets = 0  # every connection shows its certificate
        return context

    def client_context(self) -> ssl.SSLContext:
        """Return the TLS context of the connecting side, which also checks the names of others."""
        return self._context(ssl.PROTOCOL_TLS_CLIENT)

    def _context(self, side: int) -> ssl.SSLContext:
        context = ssl.SSLContext(side)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(self.authority)
        context.load_cert_chain(self.certificate, self.key)
        return context

    def _check(self) -> None:
        authority, certificate, key = self.authority, self.certificate, self.key
        trusted = _read(authority, x509.load_pem_x509_certificates, "certificate")
        own = _read(certificate, x509.load_pem_x509_certificate, "certificate")
        private = _read(key, lambda content: serialization.load_pem_private_key(content, None), "private key")
        if (mode := key.stat().st_mode & 0o777) & 0o077:
            raise InputError(f"{key}: others can read it (mode {mode:o}); chmod 600 {key}")
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
    """Placeholder for credentials: neither encryption nor proof of identity. For tests on one machine.

    Attributes:
        name: the name of the peer.
        forced: whether peers on other machines are allowed.
    """

    name: str
    forced: bool = False


def common_name(certificate: x509.Certificate) -> str:
    """Return the common name of a certificate."""
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


def _read(path: Path, load: Callable[[bytes], T], what: str) -> T:
    try:
        return load(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, TypeError) as error:
        raise InputError(f"{path}: is no {what} that can be read") from error
