"""DCAP quotes byte by byte: SGX version 3, TDX versions 4 and 5, and the extension of a platform's certificate.

Written from the formats, not from our verifier: that both agree is what the tests ask.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from keephold.crypto.issuing import P256Key

SGX_EXTENSION: Final = "1.2.840.113741.1.13.1"
_SGX_ARC: Final = bytes.fromhex("2a864886f84d010d01")
"""1.2.840.113741.1.13.1, without tag and length."""

_VENDOR_ID: Final = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")
_ECDSA_P256: Final = 2
_AUTH_DATA: Final = bytes(range(32))
_PEM_CHAIN: Final = 5
_QE_CERTIFICATION: Final = 6
_SGX_DEBUG: Final = 0x02
_TD_DEBUG: Final = 0x01
_SEPT_VE_DISABLE: Final = bytes.fromhex("0000001000000000")
QE_SIGNER: Final = hashlib.sha256(b"development quoting enclave").digest()
QE_PRODUCT: Final[Mapping[str, int]] = {"sgx": 1, "tdx": 2}
QE_VERSION: Final = 8
PCE_VERSION: Final = 13
PCE_ID: Final = bytes(2)


@dataclass(frozen=True, slots=True)
class SgxBuild:
    """What an SGX enclave measures as."""

    mr_enclave: bytes
    mr_signer: bytes = bytes(32)
    isv_prod_id: int = 0

    @classmethod
    def named(cls, name: str) -> SgxBuild:
        """Return a build whose registers follow from its name."""
        return cls(hashlib.sha256(name.encode()).digest())


@dataclass(frozen=True, slots=True)
class TdxBuild:
    """What a trust domain measures as."""

    mr_td: bytes
    rtmr: tuple[bytes, bytes, bytes, bytes] = field(default=(bytes(48),) * 4)
    mr_config_id: bytes = bytes(48)
    mr_owner: bytes = bytes(48)
    mr_owner_config: bytes = bytes(48)
    version: Literal[4, 5] = 4
    """Of the quote format."""

    @classmethod
    def named(cls, name: str, version: Literal[4, 5] = 4) -> TdxBuild:
        """Return a build whose registers follow from its name."""
        registers = [hashlib.sha384(f"{name}/{index}".encode()).digest() for index in range(5)]
        return cls(registers[0], (registers[1], registers[2], registers[3], registers[4]), version=version)


Build = SgxBuild | TdxBuild


@dataclass(frozen=True, slots=True)
class Signer:
    """What a machine signs quotes with."""

    attestation_key: P256Key
    certified_key: P256Key
    """The key of the machine's certificate."""
    chain_pem: str
    """Machine, authority, root."""


def sgx_quote(build: SgxBuild, report_data: bytes, signer: Signer, *, debug: bool = False) -> bytes:
    """Return a version 3 quote."""
    flags = 0x05 | (_SGX_DEBUG if debug else 0)
    body = _sgx_report(build.mr_enclave, build.mr_signer, build.isv_prod_id, 0, report_data, flags)
    signed = _header(3, 0x00) + body
    certification = _qe_report(signer, "sgx") + _typed(_PEM_CHAIN, signer.chain_pem.encode())
    return signed + _sized(_signature(signer, signed) + certification)


def tdx_quote(build: TdxBuild, report_data: bytes, signer: Signer, *, debug: bool = False) -> bytes:
    """Return a version 4 or 5 quote."""
    attributes = bytes([_TD_DEBUG if debug else 0]) + _SEPT_VE_DISABLE[1:]
    body = b"".join((
        bytes(16), bytes(48), bytes(48), bytes(8), attributes, bytes.fromhex("e702060000000000"),
        build.mr_td, build.mr_config_id, build.mr_owner, build.mr_owner_config, *build.rtmr, report_data,
    ))  # fmt: skip
    if build.version == 5:
        body += bytes(16 + 48)
        signed = _header(5, 0x81) + struct.pack("<HI", 3, len(body)) + body
    else:
        signed = _header(4, 0x81) + body
    certification = _qe_report(signer, "tdx") + _typed(_PEM_CHAIN, signer.chain_pem.encode())
    return signed + _sized(_signature(signer, signed) + _typed(_QE_CERTIFICATION, certification))


def certificate_extension(*, ppid: bytes, cpu_svn: bytes, fmspc: bytes) -> bytes:
    """Return the DER of the extension that describes a machine in its certificate."""
    versions = [_pair((2, index + 1), _der(0x02, _unsigned(svn))) for index, svn in enumerate(cpu_svn)]
    tcb = _der(
        0x30,
        *versions,
        _pair((2, 17), _der(0x02, bytes([PCE_VERSION]))),
        _pair((2, 18), _der(0x04, cpu_svn)),
    )
    return _der(
        0x30,
        _pair((1,), _der(0x04, ppid)),
        _pair((2,), tcb),
        _pair((3,), _der(0x04, PCE_ID)),
        _pair((4,), _der(0x04, fmspc)),
        _pair((5,), _der(0x0A, b"\x00")),
    )


def _header(version: int, tee_type: int) -> bytes:
    fixed = struct.pack("<HHIHH", version, _ECDSA_P256, tee_type, QE_VERSION, PCE_VERSION)
    return fixed + _VENDOR_ID + bytes(20)


def _sgx_report(mr_enclave: bytes, mr_signer: bytes, product: int, version: int, data: bytes, flags: int) -> bytes:
    attributes = struct.pack("<QQ", flags, 0xE7)
    numbers = struct.pack("<HH", product, version)
    fixed = bytes(16 + 4 + 28) + attributes + mr_enclave + bytes(32) + mr_signer + bytes(96)
    return fixed + numbers + bytes(60) + data


def _qe_report(signer: Signer, tee: Literal["sgx", "tdx"]) -> bytes:
    bound = hashlib.sha256(signer.attestation_key.public + _AUTH_DATA).digest() + bytes(32)
    report = _sgx_report(bytes(32), QE_SIGNER, QE_PRODUCT[tee], QE_VERSION, bound, 0x11)
    return report + signer.certified_key.sign(report) + struct.pack("<H", len(_AUTH_DATA)) + _AUTH_DATA


def _signature(signer: Signer, signed: bytes) -> bytes:
    return signer.attestation_key.sign(signed) + signer.attestation_key.public


def _sized(data: bytes) -> bytes:
    return struct.pack("<I", len(data)) + data


def _typed(kind: int, data: bytes) -> bytes:
    return struct.pack("<H", kind) + _sized(data)


def _der(tag: int, *contents: bytes) -> bytes:
    content = b"".join(contents)
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def _unsigned(value: int) -> bytes:
    return value.to_bytes(value.bit_length() // 8 + 1, "big")


def _pair(arc: tuple[int, ...], value: bytes) -> bytes:
    """Return `SEQUENCE { 1.2.840.113741.1.13.1.arc, value }`; every number of these arcs is below 128."""
    return _der(0x30, _der(0x06, _SGX_ARC, bytes(arc)), value)
