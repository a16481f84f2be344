"""Who was a worker when a block was ordered: for the votes behind a state, which outlast the leases of who cast them.

A worker that takes up a contract relies on a result that somebody signed earlier: an hour ago, or a year. By now the
signer may have lapsed, been demoted, delisted or revoked; that is often why there is somebody new. `trust` refuses it,
and rightly: it gets no key any more. What it signed while it was in good standing is still what an enclave computed,
and refusing it would end every contract whose last worker was shut out. So a registration is judged here *as of the
block that ordered it*, and a vote as of its own:

1. The `Register` transaction lies on our chain and was accepted there; the identity and its operator signed it.
2. It was ordered no later after its anchor, a block of our chain, than the quote window of that time.
3. The evidence verifies at that block's time, under the law in force before it and the collateral named.
4. The vote was ordered while a lease from then may have lasted, by an identity that was not revoked before, running
   code that was still allowed.

What is accepted by this, and why that is bearable: a signer that was broken, and found out later, counts for what was
ordered before, as it did then. One that was demoted or whose hardware was revoked counts for at most one more lease,
and only if validators order what the rules refuse. Nobody counts for what is ordered after a revocation by governance.
Validators choose the collateral: they can name one that was superseded, not one that had expired by then.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

from keephold.attestation.policy import check_allowed
from keephold.attestation.reasons import Reason
from keephold.attestation.verify import VerifiedIdentity
from keephold.base.errors import AttestationRefused, LedgerRefused, ProofInvalid
from keephold.base.ids import NetworkId, PublicKey
from keephold.base.minting import NoPublicConstructor
from keephold.crypto import signing
from keephold.crypto.labels import SIGN_OPERATOR
from keephold.follower.follow import Follower
from keephold.follower.law import Law
from keephold.follower.trust import judge
from keephold.protocol.codec import decode
from keephold.protocol.evidence import CollateralFloor
from keephold.protocol.refusals import Refusal
from keephold.protocol.state import CollateralRecord, Registration, registration_path
from keephold.protocol.transactions import Register, UpdateCollateral, open_signed

_REMEMBERED: Final = 1024
_LAW_NS: Final = 10 * 1_000_000_000
"""Votes ordered so long after the law was last proven have it proven again: a revocation is noticed no later."""


@final
@dataclass(frozen=True, slots=True)
class Admitted(metaclass=NoPublicConstructor):
    """A registration that held when it was ordered (steps 1 to 3); made by `Admissions` only."""

    identity: PublicKey
    proof: VerifiedIdentity
    """What the evidence showed then: role, level, operator, platform."""
    until_ns: int
    """Block time by which every lease from then has ended."""


@final
class Admissions:
    """Judges registrations as of their time, and remembers them: each costs its evidence once.

    The law is proven again after `_LAW_NS` of block time, so that a vote costs nothing but its signature meanwhile.
    """

    def __init__(self, follower: Follower) -> None:
        self._follower: Final = follower
        self._known: Final[dict[tuple[bytes, bytes], Admitted]] = {}
        self._newest: Final[dict[PublicKey, Admitted]] = {}
        self._law: Law | None = None
        self._proven_ns = 0

    async def voter(self, identity: PublicKey, at_ns: int) -> Admitted:
        """Return who voted in a block of time `at_ns`, by the newest registration of that identity.

        Raises:
            LedgerRefused: `not_registered`, `lease_lapsed` or `revoked`.
            AttestationRefused: the evidence did not hold then.
            CryptoError, EncodingError, ChainRefused: what the node sent does not hold.
            UnavailableError
        """
        known = self._newest.get(identity)
        if known is None or at_ns > known.until_ns:
            raw = (await self._follower.prove([registration_path(identity)]))[registration_path(identity)]
            if raw is None:
                raise LedgerRefused(Refusal.NOT_REGISTERED.word, identity.hex())
            record = decode(raw, Registration)
            known = await self._admitted(identity, record.transaction, record.judged_by)
            self._newest.pop(identity, None)
            if len(self._newest) >= _REMEMBERED:
                del self._newest[next(iter(self._newest))]
            self._newest[identity] = known
        return await self._standing(known, at_ns)

    async def backer(self, identity: PublicKey, registration: bytes, judged_by: bytes, at_ns: int) -> Admitted:
        """Return who voted in a block of time `at_ns`, by the registration and collateral that a record names.

        Raises:
            As `voter`.
        """
        return await self._standing(await self._admitted(identity, registration, judged_by), at_ns)

    async def _standing(self, admitted: Admitted, at_ns: int) -> Admitted:
        """Step 4."""
        if self._law is None or at_ns > self._proven_ns + _LAW_NS:
            self._law = await self._follower.law()
            self._proven_ns = max(at_ns, self._follower.view.time_ns)
        law = self._law.before(at_ns)
        if at_ns > admitted.until_ns:
            raise LedgerRefused(Refusal.LEASE_LAPSED.word, f"lease until {admitted.until_ns} at the latest")
        if admitted.identity in law.revoked:
            raise LedgerRefused(Refusal.REVOKED.word, admitted.identity.hex())
        check_allowed(law.attestation, admitted.proof.measurement, admitted.proof.claim.role, now_ns=at_ns)
        return admitted

    async def _admitted(self, identity: PublicKey, registration: bytes, judged_by: bytes) -> Admitted:
        """Steps 1 to 3."""
        known = self._known.get((registration, judged_by))
        if known is not None and known.identity == identity:
            return known
        follower, network = self._follower, self._follower.view.network
        # (1) Ordered on our chain, accepted, and signed.
        found = (await follower.locate([registration])).get(registration)
        if found is None:
            raise ProofInvalid("the node does not have the registration's transaction")
        if found.result.code:
            raise LedgerRefused(Refusal.ATTESTATION.word, "a registration that the ledger refused")
        register = _opened(found.raw, identity, network)
        # (2) In time.
        anchor, ordered = await follower.header(register.anchor_height), await follower.header(found.height)
        law = (await follower.law()).before(ordered.time_ns)
        if ordered.time_ns - anchor.time_ns > law.attestation.quote_window_ns:
            raise AttestationRefused(Reason.ANCHOR, "ordered later than its quote may be used")
        # (3) The evidence. No floor: nobody knows any more where it stood then.
        brought = (await follower.transactions([judged_by])).get(judged_by)
        if brought is None:
            raise ProofInvalid("the node does not have the collateral's transaction")
        collateral = open_signed(brought, network).body
        if not isinstance(collateral, UpdateCollateral):
            raise LedgerRefused(Refusal.ATTESTATION.word, "not judged by collateral")
        floor = CollateralRecord(judged_by, CollateralFloor())
        judged = judge(identity, register, collateral, floor, anchor, law, network, ordered.time_ns)
        until_ns = ordered.time_ns + law.timing.lease_ns
        admitted = Admitted._mint(identity=identity, proof=judged.proof, until_ns=until_ns)  # noqa: SLF001 - the one place
        if len(self._known) >= _REMEMBERED:
            del self._known[next(iter(self._known))]
        self._known[registration, judged_by] = admitted
        return admitted


def _opened(raw: bytes, identity: PublicKey, network: NetworkId) -> Register:
    transaction = open_signed(raw, network)
    body = transaction.body
    if transaction.sender != identity or not isinstance(body, Register):
        raise LedgerRefused(Refusal.ATTESTATION.word, "not a registration of this identity")
    signing.verify(body.operator, body.operator_signature, SIGN_OPERATOR, network, identity, body.role.encode())
    return body
