"""Issuing certificates, revocation lists and P-256 signatures: what a development vendor needs, and nobody else.

Everything is deterministic (RFC 6979 signatures, serial numbers from the content), so one seed always makes the same
root certificate, and a genesis that pins it stays valid across restarts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, Self, final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from keephold.base.errors import BadKey
from keephold.crypto.secret import SecretBytes

_CURVE_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_HALF: Final = 32
"""Bytes of r, of s, and of a coordinate."""
_SERIAL: Final = 19
"""Bytes of a serial number: below the 20 that X.509 allows, so that it is never negative."""

SEED_SIZE: Final = 48
"""Bytes of a key's seed: 16 more than the scalar, so that reducing it leaves no bias worth naming."""


@final
class P256Key:
    """A P-256 signing key made from a seed; signatures are deterministic (RFC 6979)."""

    __slots__ = ("handle",)

    def __init__(self, seed: SecretBytes) -> None:
        """Raise `BadKey` unless the seed has `SEED_SIZE` bytes."""
        if len(seed) != SEED_SIZE:
            raise BadKey(f"a P-256 key takes a seed of {SEED_SIZE} bytes")
        scalar = int.from_bytes(seed.reveal(), "big") % (_CURVE_ORDER - 1) + 1
        self.handle: Final = ec.derive_private_key(scalar, ec.SECP256R1())

    @property
    def public(self) -> bytes:
        """The public point, `x || y`, 64 bytes."""
        point = self.handle.public_key().public_numbers()
        return point.x.to_bytes(_HALF, "big") + point.y.to_bytes(_HALF, "big")

    def sign(self, message: bytes) -> bytes:
        """Return the raw `r || s` ECDSA signature, 64 bytes, over SHA-256 of the message."""
        der = self.handle.sign(message, ec.ECDSA(SHA256(), deterministic_signing=True))
        r, s = decode_dss_signature(der)
        return r.to_bytes(_HALF, "big") + s.to_bytes(_HALF, "big")


@final
@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate with its key: issues certificates and revocation lists."""

    certificate: x509.Certificate
    key: P256Key
    from_s: int
    until_s: int

    @classmethod
    def root(cls, name: str, key: P256Key, *, from_s: int, until_s: int) -> Self:
        """Return a self-signed authority, valid in the given seconds since the Unix epoch."""
        builder = _builder(name, _name(name), key, key, authority=True)
        return cls(_sign(builder, key, from_s, until_s), key, from_s, until_s)

    @property
    def der(self) -> bytes:
        """The certificate."""
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> str:
        """The certificate."""
        return self.certificate.public_bytes(Encoding.PEM).decode()

    @property
    def serial(self) -> int:
        """The certificate's serial number."""
        return self.certificate.serial_number

    def subordinate(self, name: str, key: P256Key) -> Authority:
        """Return an authority certified by this one, with the same validity."""
        builder = _builder(name, self.certificate.subject, key, self.key, authority=True)
        return replace(self, certificate=_sign(builder, self.key, self.from_s, self.until_s), key=key)

    def issue(self, name: str, key: P256Key, extensions: Mapping[str, bytes]) -> tuple[str, int]:
        """Return PEM and serial number of an end certificate with these extensions (dotted identifier to DER)."""
        builder = _builder(name, self.certificate.subject, key, self.key, authority=False, content=extensions.values())
        for oid, value in extensions.items():
            extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), value)
            builder = builder.add_extension(extension, critical=False)
        made = _sign(builder, self.key, self.from_s, self.until_s)
        return made.public_bytes(Encoding.PEM).decode(), made.serial_number

    def revocation_list(self, serials: Iterable[int], *, from_s: int, until_s: int) -> bytes:
        """Return the DER list of revoked serial numbers, issued at `from_s`, due again at `until_s`."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(_time(from_s))
            .next_update(_time(until_s))
            .add_extension(x509.CRLNumber(1), critical=False)
            .add_extension(_authority_key(self.key), critical=False)
        )
        for serial in serials:
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(_time(from_s)).build()
            builder = builder.add_revoked_certificate(entry)
        return builder.sign(self.key.handle, SHA256(), ecdsa_deterministic=True).public_bytes(Encoding.DER)


def _builder(
    name: str, issuer: x509.Name, key: P256Key, signer: P256Key, *, authority: bool, content: Iterable[bytes] = ()
) -> x509.CertificateBuilder:
    public = key.handle.public_key()
    serial = hashlib.sha256(b"".join([name.encode(), key.public, *content])).digest()[:_SERIAL]
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(int.from_bytes(serial, "big"))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(_usage(authority=authority), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(_authority_key(signer), critical=False)
    )


def _sign(builder: x509.CertificateBuilder, signer: P256Key, from_s: int, until_s: int) -> x509.Certificate:
    dated = builder.not_valid_before(_time(from_s)).not_valid_after(_time(until_s))
    return dated.sign(signer.handle, SHA256(), ecdsa_deterministic=True)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _authority_key(key: P256Key) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.handle.public_key())


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
