"""What a gatekeeper makes of a verified block. No I/O, no clock: blocks in, errands out; the shell runs the errands.

A block's transactions are ordered, not judged. Each is opened here (canonical, signed, of this network), and only what
a gatekeeper acts on is looked at:

    KeyRequest   → queued by who has a share or is about to, answered by `requests` once this gatekeeper may speak
    Echo         → ours: a nonce that peers may vouch for; a member's: we may owe a vouch
    Vouch        → for us: an errand to verify peer and head; for others: one vouch less that they need
    Dkg*         → the ceremony's, once the ledger's result is known
    committee    → who is in office; a round that opens with us in it is an errand to verify cause and members
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, final

from keephold.base.errors import CryptoError, EncodingError, LedgerRefused
from keephold.base.ids import NetworkId, PublicKey, TransactionId
from keephold.custody.secret.share import Share
from keephold.follower.proofs import OrderedTransaction
from keephold.follower.view import Values, VerifiedBlock
from keephold.gatekeeper.ceremony import Ceremony, Opening
from keephold.gatekeeper.requests import Queue
from keephold.gatekeeper.standing import Standing, Vouching
from keephold.protocol.codec import decode
from keephold.protocol.custody import CommitteeKeys, DkgMessage, RoundState
from keephold.protocol.state import CommitteeRecord, Registration, committee_path, registration_path, round_path
from keephold.protocol.transactions import Echo, KeyRequest, Transaction, Vouch, open_signed
from keephold.protocol.wire import Interest

_UNDER_WAY: Final = ("generating", "resharing")


@dataclass(frozen=True, slots=True)
class VerifyVouch:
    """Find the head on our chain and verify the peer's registration; then `Core.vouched`."""

    peer: PublicKey
    vouch: Vouch


@dataclass(frozen=True, slots=True)
class VerifyOpening:
    """Verify law and members; then take part."""

    opening: Opening


@dataclass(frozen=True, slots=True)
class Spoken:
    """A ceremony message that a block ordered; whether it was accepted is known one block later."""

    id: TransactionId
    sender: PublicKey
    message: DkgMessage


Errand = VerifyVouch | VerifyOpening


@dataclass(frozen=True, slots=True)
class Observed:
    """What one block asks for."""

    errands: tuple[Errand, ...]
    spoken: tuple[Spoken, ...]
    round: RoundState | None
    """The ceremony's state after the block before, if the block brought it."""


@final
class Core:
    """One gatekeeper's view of committee, requests and standing."""

    def __init__(self, own: PublicKey, network: NetworkId, ceremony: Ceremony, drew: Callable[[bytes], bool]) -> None:
        """`drew` says whether this process drew a nonce: an older chain holds vouches for those of earlier lives."""
        self._drew: Final = drew
        self._own: Final = own
        self._network: Final = network
        self.ceremony: Final = ceremony
        self.queue: Final = Queue()
        self.standing: Final = Standing(restarted=ceremony.was_restarted)
        self.vouching: Final = Vouching(own)
        self._committee = CommitteeRecord()
        self._as_of = 0
        self._instances: Final[dict[PublicKey, tuple[bytes, int]]] = {}
        """Of each member: the live instance, and the height of its registration."""
        self._judged_round = 0

    @property
    def office(self) -> CommitteeKeys | None:
        """The committee in office."""
        return self._committee.keys[0] if self._committee.keys else None

    @property
    def round(self) -> int:
        """Number of the ceremony under way or last ended."""
        return self._committee.round

    @property
    def share(self) -> Share | None:
        """Our share of the committee in office."""
        return self.ceremony.share_for(self.office) if self.office is not None else None

    def interest(self) -> Interest:
        """Return what the stream has to bring. The next round is asked for before it opens, to see it open."""
        number = self._committee.round
        rounds = [round_path(value) for value in (number, number + 1) if value]
        members = [registration_path(PublicKey(member)) for member in self._committee.members]
        return Interest(paths=(committee_path(), *rounds, *members), custody=True)

    def observe(self, block: VerifiedBlock) -> Observed:
        """Take the next verified block."""
        errands: list[Errand] = []
        self.learn(block.values, block.height)
        opened = self._round(block.values)
        if opened is not None and self._is_new(opened):
            errands.append(VerifyOpening(Opening(opened, block.height - 1, self.office)))
        spoken = []
        for ordered in block.transactions:
            transaction = _opened(ordered, self._network)
            if transaction is None:
                continue
            body, sender = transaction.body, PublicKey(transaction.sender)
            match body:
                case KeyRequest() if self.share is not None or self.ceremony.is_taking_part:
                    self.queue.offer(ordered, block.height, self._network)
                case Echo():
                    self._echo(sender, body, block)
                case Vouch():
                    errands += self._vouch(sender, body)
                case _ if isinstance(body, DkgMessage):
                    spoken.append(Spoken(ordered.id, sender, body))
                case _:
                    continue
        return Observed(tuple(errands), tuple(spoken), opened)

    def learn(self, values: Values, height: int) -> None:
        """Take values proven by the header of this height: who is in office, which instances its members have."""
        if values.get(committee_path()) is not None and height >= self._as_of:
            self._as_of = height
            self._committee = decode(values[committee_path()] or b"", CommitteeRecord)
            self.settle()
        for member in self._committee.members:
            raw = values.get(registration_path(PublicKey(member)))
            if raw is not None:
                registration = decode(raw, Registration)
                self._instances[PublicKey(member)] = registration.instance, registration.height

    def settle(self) -> None:
        """Let go of what the committee in office has succeeded, as soon as our part in it is settled."""
        if self.office is not None:
            self.ceremony.settle(self.office)
            self.standing.settle(self.office)

    def vouched(self, peer: PublicKey) -> None:
        """A vouch for us was verified: peer, head and all."""
        if self.office is not None:
            self.standing.hear(peer, self.office, self._own)

    def _round(self, values: Values) -> RoundState | None:
        raw = values.get(round_path(self._committee.round)) if self._committee.round else None
        return decode(raw, RoundState) if raw is not None else None

    def _is_new(self, state: RoundState) -> bool:
        if self.ceremony.is_taking_part or state.round <= self._judged_round or self._committee.phase not in _UNDER_WAY:
            return False
        self._judged_round = state.round
        opening = Opening(state, 0)
        return self._own in (*opening.dealers, *opening.receivers)

    def _echo(self, sender: PublicKey, body: Echo, block: VerifiedBlock) -> None:
        if sender == self._own:
            if not self._drew(body.nonce):
                return
            self.standing.issued(body.nonce, block.height)
        elif self.office is not None and any(seat.member == sender for seat in self.office.seats):
            instance, since = self._instances.get(sender, (b"", 0))
            # What stands below its registration, an earlier life of it asked.
            if block.height > since:
                self.vouching.heard_echo(sender, instance, body.nonce, block.time_ns, self.office.threshold - 1)

    def _vouch(self, sender: PublicKey, body: Vouch) -> tuple[Errand, ...]:
        target = PublicKey(body.target)
        if target == self._own:
            wanted = not self.standing.is_vouched and self.standing.is_for_us(body)
            return (VerifyVouch(sender, body),) if wanted else ()
        self.vouching.heard_vouch(sender, target, self._instances.get(target, (b"", 0))[0], body.nonce)
        return ()


def _opened(ordered: OrderedTransaction, network: NetworkId) -> Transaction | None:
    """Return the transaction if it is one; a block may contain what the rules refused."""
    try:
        return open_signed(ordered.raw, network)
    except (EncodingError, CryptoError, LedgerRefused):
        return None
