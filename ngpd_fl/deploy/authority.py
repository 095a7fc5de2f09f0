"""A private certificate authority, which signs only for the SuperLink and the nodes of one deployment."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ngpd_fl.core.address import check_host
from ngpd_fl.deploy import bad_input

AUTHORITY_DAYS = 3650
"""Validity of the authority's own certificate, in days. The certificates that it signs end earlier."""

_SKEW = timedelta(minutes=5)
"""Certificates begin this long before now: the clock of a device without a battery may be slightly behind."""


class Authority:
    """A signing key and its certificate.

    Attributes:
        key: the private key.
        certificate: the certificate, which everyone who trusts the authority holds.
    """

    def __init__(self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        """Create an authority from a key and its certificate."""
        self.key = key
        self.certificate = certificate

    @classmethod
    def new(cls) -> Self:
        """Create an authority with a new key."""
        key, now = new_key(), datetime.now(UTC)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ngpd-fl deployment")])
        builder = _builder(name, name, key.public_key(), now - _SKEW, now + timedelta(days=AUTHORITY_DAYS))
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_usage(signs_certificates=True), critical=True)
        return cls(key, builder.sign(key, hashes.SHA256()))

    @classmethod
    def read(cls, key: bytes, certificate: bytes) -> Self:
        """Read an authority from the content of its two PEM files; raise ``ValueError`` if they hold none."""
        loaded = serialization.load_pem_private_key(key, None)
        if not isinstance(loaded, ec.EllipticCurvePrivateKey):
            raise ValueError("not an elliptic curve key")
        return cls(loaded, x509.load_pem_x509_certificate(certificate))

    def sign(
        self, name: str, public_key: ec.EllipticCurvePublicKey, hosts: Sequence[str], days: float
    ) -> x509.Certificate:
        """Return a certificate for both ends of TLS.

        Args:
            name: its common name.
            public_key: the holder's key.
            hosts: DNS names and IP addresses under which others may reach the holder.
            days: its validity; a negative number gives an expired certificate.
        """
        began, ends = datetime.now(UTC) - _SKEW, datetime.now(UTC) + timedelta(days=days)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = _builder(self.certificate.subject, subject, public_key, min(began, ends - _SKEW), ends)
        both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        of_issuer = self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_usage(signs_certificates=False), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage(both), critical=False)
        builder = builder.add_extension(x509.SubjectAlternativeName([alternative(host) for host in hosts]), False)
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(of_issuer), critical=False
        )
        return builder.sign(self.key, hashes.SHA256())


def new_key() -> ec.EllipticCurvePrivateKey:
    """Return a new private key on P-256, which Flower and every TLS library accept."""
    return ec.generate_private_key(ec.SECP256R1())


def alternative(host: str) -> x509.GeneralName:
    """Return a host as certificates name it; raise ``InputError`` if it is neither a DNS name nor an address."""
    try:
        check_host(host)
    except ValueError as error:
        words = "should be a name such as laptop.local or an address such as 192.168.1.10"
        raise bad_input(f"--host {host}: {words}; {error}") from error
    try:
        return x509.IPAddress(ipaddress.ip_address(host))  # without its zone, which has no place there
    except ValueError:
        return x509.DNSName(host)


def certificate_pem(certificate: x509.Certificate) -> bytes:
    """Return a certificate as the content of a PEM file."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a private key in PEM, which TLS libraries read."""
    plain = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)


def private_openssh(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a private key in OpenSSH form, which Flower's SuperNode reads."""
    plain = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, plain)


def public_openssh(key: ec.EllipticCurvePrivateKey, comment: str) -> bytes:
    """Return the public key in OpenSSH form, which Flower registers."""
    encoding, form = serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    return key.public_key().public_bytes(encoding, form) + f" {comment}\n".encode()


def _builder(
    issuer: x509.Name, subject: x509.Name, public_key: ec.EllipticCurvePublicKey, began: datetime, ends: datetime
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().issuer_name(issuer).subject_name(subject).public_key(public_key)
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(began).not_valid_after(ends)
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
