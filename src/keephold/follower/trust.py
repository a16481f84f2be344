"""What rests on evidence: a registration, and who stands behind it. Judged here, again, by everyone who relies on it.

The map says *that* a registration, a collateral or a law was ordered, and which is the latest; never that it is true.

**A registration** makes a `VerifiedRegistration` when, in order:

1. Its record is proven by a header of the verified chain (the caller's step), and is this identity's.
2. The transaction that the record names has these bytes (its id is their hash), is a `Register` signed by the
   identity, and says what the record says.
3. The operator signed for this identity in this role on this network.
4. The evidence verifies against the claim in the transaction, under the constitution that governance signed and the
   vendor's collateral. The floor is the map's: validators could lower it, but not below collateral still valid.
5. The anchor lies on the verified chain, and the quote is no older than its window and one lease, whatever the record
   says about when it was accepted.
6. Now: not revoked, not lapsed, live; code still allowed.

Whether it is the *live instance* of its identity is what the record says as of its header, so the caller says how
recent that header has to be, and compares the instance with the one he deals with.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, final

from keephold.attestation.policy import check_allowed, check_level
from keephold.attestation.reasons import Reason
from keephold.attestation.verify import VerifiedIdentity, unverified_subject, verify
from keephold.base.errors import AttestationRefused, LedgerRefused, ProofInvalid
from keephold.base.ids import InstanceId, NetworkId, PublicKey
from keephold.base.minting import NoPublicConstructor
from keephold.chain.header import Header
from keephold.crypto import signing
from keephold.crypto.labels import SIGN_OPERATOR
from keephold.follower.follow import Follower
from keephold.protocol.codec import decode, encode
from keephold.protocol.evidence import Claim, Evidence, collateral_key
from keephold.protocol.governance import Constitution
from keephold.protocol.refusals import Refusal
from keephold.protocol.state import (
    CollateralRecord,
    Registration,
    collateral_path,
    governance_path,
    registration_path,
)
from keephold.protocol.transactions import Register, UpdateCollateral, open_signed

_REMEMBERED: Final = 1024


@final
@dataclass(frozen=True, slots=True)
class VerifiedRegistration(metaclass=NoPublicConstructor):
    """A live enclave with its keys; made by `Registrations.verify` only."""

    record: Registration
    proof: VerifiedIdentity
    """What the evidence shows: level, measurement, platform, vendor."""
    height: int
    """Of the header that proves the record."""
    time_ns: int
    """Of that header: live then."""

    @property
    def identity(self) -> PublicKey:
        """The enclave's signing key."""
        return PublicKey(self.record.identity)

    @property
    def instance(self) -> InstanceId:
        """The attestation that is live."""
        return InstanceId(self.record.instance)

    @property
    def encryption_key(self) -> bytes:
        """Held by that instance, in memory only."""
        return self.proof.claim.encryption_key

    @property
    def level(self) -> int:
        """Confidence level, 1 is the best; judged here, not the record's."""
        return self.proof.level


@final
@dataclass(frozen=True, slots=True)
class Judged(metaclass=NoPublicConstructor):
    """A `Register` transaction for which steps 2 to 5 held; the rest depends on the moment. Made by `judge` only."""

    register: Register
    proof: VerifiedIdentity
    anchor_ns: int


def claim_of(network: NetworkId, identity: PublicKey, register: Register) -> Claim:
    """Return the claim that a registration's quote has to bind."""
    if register.role not in ("worker", "gatekeeper"):
        raise LedgerRefused(Refusal.WRONG_ROLE.word, register.role)
    return Claim(
        network=network,
        role="worker" if register.role == "worker" else "gatekeeper",
        signing_key=identity,
        encryption_key=register.encryption_key,
        operator=register.operator,
        instance=register.instance,
        anchor_height=register.anchor_height,
        anchor_hash=register.anchor_hash,
    )


def open_register(record: Registration, raw: bytes, identity: PublicKey, network: NetworkId) -> Register:
    """Return the `Register` transaction behind a record (steps 1 to 3); `raw` hashes to `record.transaction`.

    Raises:
        ProofInvalid: it is not a registration of this identity, or does not say what the record says.
        EncodingError, CryptoError, LedgerRefused: it is not a signed transaction of this network.
    """
    # (1) This identity's.
    if record.identity != identity:
        raise ProofInvalid("a registration of another identity")
    # (2) Signed by the identity, and what the record says.
    transaction = open_signed(raw, network)
    body = transaction.body
    if transaction.sender != identity or not isinstance(body, Register):
        raise ProofInvalid("the registration's transaction is not one")
    if (body.role, body.operator, body.instance, body.encryption_key) != (
        record.role,
        record.operator,
        record.instance,
        record.encryption_key,
    ):
        raise ProofInvalid("the registration's transaction says something else than its record")
    # (3) The operator answers for it.
    signing.verify(body.operator, body.operator_signature, SIGN_OPERATOR, network, identity, body.role.encode())
    return body


def judge(
    identity: PublicKey,
    register: Register,
    collateral: UpdateCollateral,
    judged_by: CollateralRecord,
    anchor: Header,
    law: Constitution,
    network: NetworkId,
    now_ns: int,
) -> Judged:
    """Return the registration's evidence, judged (steps 4 and 5).

    Raises:
        AttestationRefused
    """
    claim = claim_of(network, identity, register)
    # (4) The evidence.
    proof = verify(
        register.evidence,
        claim,
        collateral.collateral,
        law.attestation,
        judged_by.floor,
        network=network,
        now_ns=now_ns,
    )
    # (5) Its age.
    if anchor.height != claim.anchor_height or anchor.hash() != claim.anchor_hash:
        raise AttestationRefused(Reason.ANCHOR, "not a block of this chain")
    return Judged._mint(register=register, proof=proof, anchor_ns=anchor.time_ns)  # noqa: SLF001 - the one place


def check_standing(record: Registration, judged: Judged, law: Constitution, now_ns: int) -> None:
    """Check what depends on the moment (the rest of step 5, and step 6).

    Raises:
        AttestationRefused: `anchor`, `measurement`, `role` or `level`.
        LedgerRefused: reason `revoked`, `lease_lapsed` or `not_registered`.
    """
    # (5) The quote cannot have been accepted later than its window, nor have lasted longer than one lease.
    latest = judged.anchor_ns + law.attestation.quote_window_ns + law.timing.lease_ns
    if now_ns >= min(record.lease_ns, latest) or record.status == "lapsed":
        raise LedgerRefused(Refusal.LEASE_LAPSED.word, f"lease until {min(record.lease_ns, latest)}")
    # (6) Not revoked, live, allowed.
    if record.identity in law.revoked or record.status == "revoked":
        raise LedgerRefused(Refusal.REVOKED.word, record.identity.hex())
    check_allowed(law.attestation, judged.proof.measurement, judged.proof.claim.role, now_ns=now_ns)
    check_level(law.attestation, judged.proof.level, judged.proof.claim.role)


@final
class Registrations:
    """Verifies registrations for one follower and remembers what evidence showed, so that each costs it once.

    Remembered: steps 2 to 5, under the transaction's id, the constitution in force and the collateral, until that
    expires. Proven and checked anew each time: that the record is the live one, and step 6.
    """

    def __init__(self, follower: Follower) -> None:
        self._follower: Final = follower
        self._judged: Final[dict[tuple[bytes, bytes, bytes], Judged]] = {}

    async def verify(self, identity: PublicKey, *, at_least: int = 0) -> VerifiedRegistration:
        """Return the live registration of an identity as of a header of height `at_least` or newer.

        Raises:
            LedgerRefused: `not_registered`, `lease_lapsed`, `revoked`, …
            AttestationRefused: the evidence does not hold.
            CryptoError, EncodingError, ChainRefused: what the node sent does not hold.
            UnavailableError
        """
        (found,) = await self.verify_all([identity], at_least=at_least)
        return found

    async def verify_all(
        self, identities: Iterable[PublicKey], *, at_least: int = 0
    ) -> tuple[VerifiedRegistration, ...]:
        """Return the live registrations of these identities, all proven by one header; see `verify`."""
        wanted = tuple(identities)
        network = self._follower.view.network
        # Step 1: the records, proven.
        paths = {identity: registration_path(identity) for identity in wanted}
        proven = await self._follower.prove((*paths.values(), governance_path()), at_least)
        law = (await self._follower.law_of(proven[governance_path()])).at(proven.time_ns)
        records = {identity: self._record(proven[path], identity) for identity, path in paths.items()}
        raws = await self._follower.transactions([record.transaction for record in records.values()])
        verified = []
        for identity, record in records.items():
            raw = raws.get(record.transaction)
            if raw is None:
                raise ProofInvalid("the node does not have the registration's transaction")
            # Steps 2 and 3.
            register = open_register(record, raw, identity, network)
            # Steps 4 and 5.
            judged = await self._judge(identity, record, register, law, proven.time_ns)
            # Step 6.
            check_standing(record, judged, law, proven.time_ns)
            verified.append(
                VerifiedRegistration._mint(  # noqa: SLF001 - the one place that makes it
                    record=record, proof=judged.proof, height=proven.height, time_ns=proven.time_ns
                )
            )
        return tuple(verified)

    @staticmethod
    def _record(raw: bytes | None, identity: PublicKey) -> Registration:
        if raw is None:
            raise LedgerRefused(Refusal.NOT_REGISTERED.word, identity.hex())
        return decode(raw, Registration)

    async def _judge(
        self, identity: PublicKey, record: Registration, register: Register, law: Constitution, now_ns: int
    ) -> Judged:
        collateral = await self._collateral(register.evidence)
        key = (record.transaction, collateral.transaction, encode(law))
        known = self._judged.get(key)
        if known is not None and now_ns < known.proof.until_ns:
            return known
        raw = (await self._follower.transactions([collateral.transaction])).get(collateral.transaction)
        if raw is None:
            raise ProofInvalid("the node does not have the collateral's transaction")
        body = open_signed(raw, self._follower.view.network).body
        if not isinstance(body, UpdateCollateral):
            raise ProofInvalid("the collateral's transaction is not one")
        anchor = await self._follower.header(register.anchor_height)
        judged = judge(identity, register, body, collateral, anchor, law, self._follower.view.network, now_ns)
        if len(self._judged) >= _REMEMBERED:
            del self._judged[next(iter(self._judged))]
        self._judged[key] = judged
        return judged

    async def _collateral(self, evidence: Evidence) -> CollateralRecord:
        path = collateral_path(collateral_key(unverified_subject(evidence)))
        raw = (await self._follower.prove([path]))[path]
        if raw is None:
            raise AttestationRefused(Reason.COLLATERAL_MISMATCH, "the ledger has no collateral for this platform")
        return decode(raw, CollateralRecord)
