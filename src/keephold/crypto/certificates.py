"""X.509 and ECDSA P-256, as attestation needs them: two-link chains, revocation lists, raw 64-byte signatures.

A vendor's collateral is signed by certificates that its *root issued directly*, so a chain here is exactly
`[certificate, root]`, and the second link is byte for byte the root the caller pinned. That shape leaves no path to
build, no name constraint to weigh, and no way for a platform's own certificate (which an intermediate issued) to stand
in for a signer. Whatever is handed on to another parser is encoded anew from what was parsed here: parsers differ on
which PEM blocks count, and a block that one of them skips is where an attacker's certificate hides.

Times are returned, in seconds since the Unix epoch, and never judged: deciding needs a clock, and the clock is the
caller's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from keephold.base.errors import BadSignature

_HALF: Final = 32
"""Bytes of r, and of s."""
_MALFORMED: Final = (
    ValueError,
    TypeError,
    InvalidSignature,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What the library raises about hostile bytes; they share no base class of their own."""


@dataclass(frozen=True, slots=True)
class RevocationList:
    """A revocation list whose signature held when it was made by `IssuedCertificate.open_revocation_list`."""

    der: bytes
    """Encoded anew."""
    issued_s: int
    expires_s: int
    """First second at which the list is no longer valid."""
    revoked: frozenset[int]
    """Serial numbers."""


@final
@dataclass(frozen=True, slots=True)
class IssuedCertificate:
    """A certificate that the pinned root issued directly, or the root itself."""

    common_name: str
    serial: int
    valid_from_s: int
    valid_until_s: int
    """Last second of validity."""
    is_authority: bool
    """Basic constraints allow it to issue certificates."""
    extensions: frozenset[str]
    """Dotted object identifiers."""
    chain_pem: str
    """The certificate and the root, encoded anew."""
    _certificate: x509.Certificate

    def verify(self, signature: bytes, message: bytes) -> None:
        """Check a raw `r || s` ECDSA P-256 SHA-256 signature of 64 bytes by this certificate's key.

        Raises:
            BadSignature: it does not hold.
        """
        key = _p256(self._certificate)
        if len(signature) != 2 * _HALF:
            raise BadSignature(f"{len(signature)} bytes where a raw P-256 signature has {2 * _HALF}")
        r, s = int.from_bytes(signature[:_HALF], "big"), int.from_bytes(signature[_HALF:], "big")
        try:
            key.verify(encode_dss_signature(r, s), message, ec.ECDSA(SHA256()))
        except InvalidSignature as error:
            raise BadSignature(f"not signed by {self.common_name!r}") from error

    def open_revocation_list(self, der: bytes) -> RevocationList:
        """Return the revocation list that this certificate signed.

        Raises:
            BadSignature: it does not parse, names another issuer, has no end, or is signed by another key.
        """
        try:
            parsed = x509.load_der_x509_crl(der)
            if parsed.issuer != self._certificate.subject:
                raise BadSignature(f"revocation list of another issuer than {self.common_name!r}")
            if not parsed.is_signature_valid(_p256(self._certificate)):
                raise BadSignature(f"revocation list not signed by {self.common_name!r}")
            end = parsed.next_update_utc
            if end is None:
                raise BadSignature("revocation list without an end")
            return RevocationList(
                der=parsed.public_bytes(Encoding.DER),
                issued_s=int(parsed.last_update_utc.timestamp()),
                expires_s=int(end.timestamp()),
                revoked=frozenset(entry.serial_number for entry in parsed),
            )
        except _MALFORMED as error:
            raise BadSignature(f"revocation list: {error}") from error


@lru_cache(maxsize=16)
def open_root(root_der: bytes) -> IssuedCertificate:
    """Return the pinned root; its own signature is checked only because a typing error in a policy should show.

    Remembered: a pure function of its argument, asked about the same few roots at every verification.

    Raises:
        BadSignature: not one self-signed DER certificate over P-256.
    """
    try:
        root = x509.load_der_x509_certificate(root_der)
        root.verify_directly_issued_by(root)
        return _issued(root, root)
    except _MALFORMED as error:
        raise BadSignature(f"root certificate: {error}") from error


def open_issued(chain_pem: str, root: IssuedCertificate) -> IssuedCertificate:
    """Return the certificate of the chain `[certificate, root]`.

    Raises:
        BadSignature: not exactly two certificates, another root, or not issued by it.
    """
    try:
        chain = x509.load_pem_x509_certificates(chain_pem.encode())
        if len(chain) != 2 or chain[1] != root._certificate:  # noqa: SLF001 - same class of object, same module
            raise BadSignature("not the chain [certificate, pinned root]")
        chain[0].verify_directly_issued_by(chain[1])
        return _issued(chain[0], chain[1])
    except _MALFORMED as error:
        raise BadSignature(f"certificate chain: {error}") from error


def unverified_serial(chain_pem: bytes) -> int:
    """Return the serial number of the first certificate of a chain that nobody has checked.

    Raises:
        BadSignature: no certificate comes first.
    """
    try:
        return x509.load_pem_x509_certificates(chain_pem)[0].serial_number
    except _MALFORMED as error:
        raise BadSignature(f"certificate chain: {error}") from error


def _issued(certificate: x509.Certificate, root: x509.Certificate) -> IssuedCertificate:
    _p256(certificate)
    names = [str(name.value) for name in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if len(names) != 1:
        raise BadSignature("a certificate without exactly one common name")
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        is_authority = constraints.ca
    except x509.ExtensionNotFound:
        is_authority = False
    return IssuedCertificate(
        common_name=names[0],
        serial=certificate.serial_number,
        valid_from_s=int(certificate.not_valid_before_utc.timestamp()),
        valid_until_s=int(certificate.not_valid_after_utc.timestamp()),
        is_authority=is_authority,
        extensions=frozenset(extension.oid.dotted_string for extension in certificate.extensions),
        chain_pem="".join(link.public_bytes(Encoding.PEM).decode() for link in (certificate, root)),
        _certificate=certificate,
    )


def _p256(certificate: x509.Certificate) -> ec.EllipticCurvePublicKey:
    key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise BadSignature("a certificate key that is not P-256")
    return key
