"""The vendor: one seed, and everything else follows from it.

Root, authorities, machines and their keys are derived from the seed, and every signature is deterministic: a devnet
that starts again finds the root that its genesis pinned, and its machines find their sealing keys.

Knowing the seed is being the vendor, and being every machine. It protects nothing; it lies in a file of one user so
that another user of the same computer does not become the vendor of his devnet by accident.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self, final

from keephold.attestation.platforms.simulated import SimulatedPlatform
from keephold.attestation.policy import measurement
from keephold.attestation.quotes import SgxReport, TdReport
from keephold.base.errors import ConfigurationError
from keephold.base.ids import Measurement
from keephold.crypto.issuing import SEED_SIZE, Authority, P256Key
from keephold.crypto.kdf import derive
from keephold.crypto.labels import KEY_DEVELOPMENT
from keephold.crypto.secret import SecretBytes
from keephold.protocol.evidence import (
    AllowedMeasurement,
    AttestationPolicy,
    Collateral,
    PckAuthority,
    Role,
    SimulatedVendor,
    Tee,
)
from keephold.testing.vendor.documents import Status, cpu_svn, qe_identity, tcb_info
from keephold.testing.vendor.wire import (
    PCE_ID,
    SGX_EXTENSION,
    Build,
    SgxBuild,
    Signer,
    certificate_extension,
    sgx_quote,
    tdx_quote,
)

NAME: Final = "development"
_SEED_FILE: Final = "development-vendor.seed"
_SEED_SIZE: Final = 32
_NANOSECONDS: Final = 1_000_000_000
_FROM_S: Final = 1_577_836_800
"""2020-01-01."""
_UNTIL_S: Final = 4_102_444_799
"""2099-12-31."""
_HOUR_NS: Final = 3_600 * _NANOSECONDS
_DAY_S: Final = 86_400
_TCB_SIGNER: Final = "keephold development TCB signing"
_AUTHORITY_NAME: Final[dict[PckAuthority, str]] = {
    "processor": "keephold development PCK Processor CA",
    "platform": "keephold development PCK Platform CA",
}
FMSPC: Final = bytes.fromhex("0D0E00000000")


@dataclass(frozen=True, slots=True)
class Machine:
    """One simulated computer."""

    ppid: bytes
    """16 bytes: what makes two machines two."""
    status: Status = "UpToDate"
    authority: PckAuthority = "processor"
    fmspc: bytes = FMSPC

    @classmethod
    def named(cls, name: str, status: Status = "UpToDate") -> Machine:
        """Return the machine of this name."""
        return cls(hashlib.sha256(name.encode()).digest()[:16], status)


def measurement_of(build: Build) -> Measurement:
    """Return what the verifier will find that the build measures as."""
    if isinstance(build, SgxBuild):
        return measurement(SgxReport(build.mr_enclave.hex(), build.mr_signer.hex(), build.isv_prod_id, ""))
    return measurement(
        TdReport(
            mr_td=build.mr_td.hex(),
            rt_mr0=build.rtmr[0].hex(),
            rt_mr1=build.rtmr[1].hex(),
            rt_mr2=build.rtmr[2].hex(),
            rt_mr3=build.rtmr[3].hex(),
            mr_config_id=build.mr_config_id.hex(),
            mr_owner=build.mr_owner.hex(),
            mr_owner_config=build.mr_owner_config.hex(),
            report_data="",
        )
    )


@final
class DevelopmentVendor:
    """Issues quotes of any status and the collateral they are judged by."""

    def __init__(self, seed: SecretBytes, name: str = NAME) -> None:
        """Make the vendor of this seed; `name` is what policies call it."""
        self._seed: Final = seed
        self.name: Final = name
        self.root: Final = Authority.root(
            "keephold development root", self._key("root"), from_s=_FROM_S, until_s=_UNTIL_S
        )
        self.authorities: Final = {
            kind: self.root.subordinate(common_name, self._key(kind)) for kind, common_name in _AUTHORITY_NAME.items()
        }
        self._tcb_key: Final = self._key("tcb")
        self._tcb_pem, self.tcb_serial = self.root.issue(_TCB_SIGNER, self._tcb_key, {})
        self._signers: Final[dict[Machine, Signer]] = {}

    @classmethod
    def create(cls) -> Self:
        """Return a new vendor that nothing remembers."""
        return cls(SecretBytes.random(_SEED_SIZE))

    @classmethod
    def create_or_load(cls, directory: Path) -> Self:
        """Return the vendor whose seed lies in `directory`, made at first use; processes may race for it.

        Raises:
            ConfigurationError: the file is not ours alone, or not a seed.
        """
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = directory / _SEED_FILE
        if not path.exists():
            draft = directory / f".{_SEED_FILE}.{secrets.token_hex(8)}"
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(secrets.token_bytes(_SEED_SIZE))
                # A link appears whole or not at all, and never over another process's seed.
                path.hardlink_to(draft)
            except FileExistsError:
                pass
            finally:
                draft.unlink()
        status = path.stat()
        if status.st_uid != os.getuid() or status.st_mode & 0o077:
            raise ConfigurationError(f"{path}: readable by others than its owner")
        seed = path.read_bytes()
        if len(seed) != _SEED_SIZE:
            raise ConfigurationError(f"{path}: not a seed")
        return cls(SecretBytes(seed))

    @property
    def root_der(self) -> bytes:
        """The root certificate."""
        return self.root.der

    @property
    def entry(self) -> SimulatedVendor:
        """What a policy says to accept this vendor."""
        return SimulatedVendor(
            name=self.name,
            root=self.root.der,
            tcb_signer=_TCB_SIGNER,
            processor_authority=_AUTHORITY_NAME["processor"],
            platform_authority=_AUTHORITY_NAME["platform"],
        )

    def policy(self, *allowed: tuple[Build, Role], quote_window_ns: int = _HOUR_NS) -> AttestationPolicy:
        """Return a policy that accepts this vendor and these builds, each in its role."""
        return AttestationPolicy(
            vendors=(self.entry,),
            measurements=tuple(AllowedMeasurement(measurement_of(build), role) for build, role in allowed),
            quote_window_ns=quote_window_ns,
        )

    def quote(self, build: Build, report_data: bytes, machine: Machine, *, debug: bool = False) -> bytes:
        """Return a quote of the build on the machine: version 3 for SGX, else what the build says."""
        if isinstance(build, SgxBuild):
            return sgx_quote(build, report_data, self.signer(machine), debug=debug)
        return tdx_quote(build, report_data, self.signer(machine), debug=debug)

    def collateral(
        self,
        *,
        now_ns: int,
        tee: Tee = "sgx",
        authority: PckAuthority = "processor",
        fmspc: bytes = FMSPC,
        evaluation: int = 17,
        lifetime_s: int = 30 * _DAY_S,
        advisories: Iterable[str] = (),
        revoked: Iterable[Machine] = (),
        revoked_signers: Iterable[int] = (),
        pce_id: bytes = PCE_ID,
    ) -> Collateral:
        """Return collateral issued at `now_ns`, valid for `lifetime_s` seconds.

        Args:
            now_ns: Issue date; give another time for expired or future collateral.
            tee: Which TEE it is about.
            authority: Whose revocation list it holds.
            fmspc: Which processors it is about.
            evaluation: Both `tcbEvaluationDataNumber`.
            lifetime_s: Seconds until the next update is due.
            advisories: Of every level but `UpToDate`.
            revoked: Machines whose certificates are revoked.
            revoked_signers: Serial numbers of certificates of the root that are revoked.
            pce_id: The provisioning enclave that the TCB info is about.
        """
        issued, expires = now_ns // _NANOSECONDS, now_ns // _NANOSECONDS + lifetime_s
        tcb = tcb_info(
            tee,
            fmspc,
            issued_s=issued,
            expires_s=expires,
            evaluation=evaluation,
            advisories=tuple(advisories),
            pce_id=pce_id,
        )
        qe = qe_identity(tee, issued_s=issued, expires_s=expires, evaluation=evaluation)
        revoking = self.authorities[authority]
        serials = [self._certify(machine)[1] for machine in revoked]
        return Collateral(
            vendor=self.name,
            pck_crl_issuer_chain=revoking.pem + self.root.pem,
            root_ca_crl=self.root.revocation_list(revoked_signers, from_s=issued, until_s=expires),
            pck_crl=revoking.revocation_list(serials, from_s=issued, until_s=expires),
            tcb_info_issuer_chain=self._tcb_pem + self.root.pem,
            tcb_info=tcb,
            tcb_info_signature=self._tcb_key.sign(tcb.encode()),
            qe_identity_issuer_chain=self._tcb_pem + self.root.pem,
            qe_identity=qe,
            qe_identity_signature=self._tcb_key.sign(qe.encode()),
        )

    def platform(self, machine: Machine, build: Build) -> SimulatedPlatform:
        """Return the machine as a platform that runs the build."""
        return SimulatedPlatform(
            vendor=self.name,
            issue=lambda report_data: self.quote(build, report_data, machine),
            processor_secret=self._derive("processor", machine.ppid),
            measurement=measurement_of(build),
        )

    def signer(self, machine: Machine) -> Signer:
        """Return what the machine signs quotes with; a hostile test signs other things with it."""
        if machine not in self._signers:
            chain = self._certify(machine)[0] + self.authorities[machine.authority].pem + self.root.pem
            attestation = self._key("attestation", machine.ppid)
            self._signers[machine] = Signer(attestation, self._key("certified", machine.ppid), chain)
        return self._signers[machine]

    def _certify(self, machine: Machine) -> tuple[str, int]:
        extension = certificate_extension(ppid=machine.ppid, cpu_svn=cpu_svn(machine.status), fmspc=machine.fmspc)
        key = self._key("certified", machine.ppid)
        issuer = self.authorities[machine.authority]
        return issuer.issue("keephold development PCK certificate", key, {SGX_EXTENSION: extension})

    def _key(self, name: str, part: bytes = b"") -> P256Key:
        return P256Key(self._derive(name, part))

    def _derive(self, name: str, part: bytes) -> SecretBytes:
        return derive(self._seed, KEY_DEVELOPMENT, name.encode(), part, size=SEED_SIZE)
