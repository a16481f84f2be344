"""From a request to contract keys: which partials count, and when. No I/O, no clock of its own.

A request is an own transaction seen ordered; each gatekeeper answers with one. An answer counts if, in order:

1. Its sender signed it (the ledger's word is not enough), and is a verified gatekeeper of the present committee.
2. It is addressed to this worker's *live* instance and to a request of that instance.
3. It opens with the key of that instance, in exactly that context.
4. It speaks for the sender's own seat, and the header inside lies on our chain: a gatekeeper on another fork, or a
   worker led onto one, yields nothing.
5. It says where the contracts stood that the request is about, and each that this worker runs has come as far on the
   ledger, as proven to us (`floors`): a state that was put back has no keys.

t of them with proofs that hold make the keys (`custody.secret.release.combine`, which works around those that lie).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, final

from keephold.base.errors import BadShare, CryptoError, EncodingError, LedgerRefused, RollbackDetected
from keephold.base.ids import ContractId, NetworkId, PublicKey, TransactionId
from keephold.crypto.secret import SecretBytes
from keephold.custody.secret.release import combine, examine, prf_input
from keephold.enclave.identity import Instance
from keephold.protocol.lines import ChannelLine, ContractLine, KeyLine, contracts_of, order, parties
from keephold.protocol.marks import Mark
from keephold.protocol.messages import ReleasePlain
from keephold.protocol.transactions import KeyRelease, KeyRequest, open_signed
from keephold.sealing.release import ReleaseContext, open_partials
from keephold.worker.committee import VerifiedCommittee

MAX_ITEMS: Final = 64
"""Lines asked for in one request, the first time. Each time there is no answer it is half as many, down to one and then
anew: a line that is not released refuses its whole request, and is not to keep the others waiting."""

_SIZES: Final = MAX_ITEMS.bit_length()

RETRY_SECONDS: Final = 6.0
"""How long answers may take before the same keys are asked for again."""

Reaches = Callable[[Mark, int], bool]
"""Whether a contract has come as far as a mark under a header of that height; see `floors`."""


@dataclass(slots=True)
class _Wanted:
    asked: float | None = None
    """When, in monotonic seconds; None if it is due at once."""
    times: int = 0
    """How often it was asked for."""


@dataclass(slots=True)
class _Pending:
    instance: Instance
    items: tuple[KeyLine, ...]
    releases: dict[PublicKey, ReleasePlain] = field(default_factory=dict)


@final
class KeyDesk:
    """The keys this worker waits for, and what came in for them."""

    def __init__(self, network: NetworkId, identity: PublicKey) -> None:
        self._network: Final = network
        self._identity: Final = identity
        self._wanted: Final[dict[KeyLine, _Wanted]] = {}
        self._pending: Final[dict[TransactionId, _Pending]] = {}
        self.lying: frozenset[int] = frozenset()
        """Seats whose partials did not hold, the last time any were combined; for logs."""
        self.put_back: Mapping[ContractId, Mapping[int, RollbackDetected]] = {}
        """The contracts whose record stands before marks, and the seats that gave those, as of the last `combine`."""

    def want(self, line: KeyLine) -> None:
        """Ask for a line with the next request."""
        self._wanted.setdefault(line, _Wanted())

    def want_channels(self, lines: frozenset[ChannelLine]) -> None:
        """Ask for these channels, and no longer for others."""
        for line in [line for line in self._wanted if isinstance(line, ChannelLine) and line not in lines]:
            del self._wanted[line]
        for line in lines:
            self.want(line)

    def forget(self, contract: ContractId) -> None:
        """Want no line of this contract any more."""
        for line in [line for line in self._wanted if any(party.contract == contract for party in parties(line))]:
            del self._wanted[line]

    def keep(self, contract: ContractId, epochs: tuple[int, ...]) -> None:
        """Want no keys of this contract of another epoch than these: no other is released any more."""
        for line in list(self._wanted):
            if isinstance(line, ContractLine) and line.contract == contract and line.epoch not in epochs:
                del self._wanted[line]

    def due(self, instance: Instance, now: float) -> KeyRequest | None:
        """Return the request to send now, if any; `now` is monotonic, in seconds."""
        due = [
            item for item, wanted in self._wanted.items() if wanted.asked is None or now - wanted.asked >= RETRY_SECONDS
        ]
        if not due:
            return None
        # By themselves: one line that is not released any more refuses its whole request, and channels end sooner.
        channels: list[KeyLine] = [item for item in due if isinstance(item, ChannelLine)]
        due = channels if len(channels) == len(due) else [item for item in due if item not in channels]
        # Those asked for as often, each time fewer together: what keeps a request from being answered is narrowed down.
        times = min(self._wanted[item].times for item in due)
        alike = sorted((item for item in due if self._wanted[item].times == times), key=order)
        items = tuple(alike[: MAX_ITEMS >> times % _SIZES])
        for item in items:
            self._wanted[item] = _Wanted(now, times + 1)
        return KeyRequest(instance.id, items)

    def refused(self, request: KeyRequest) -> None:
        """The ledger refused a request: its items are due again."""
        for item in request.items:
            if item in self._wanted:
                self._wanted[item].asked = None

    def observe(self, identity: TransactionId, raw: bytes, instance: Instance) -> bool:
        """Take an ordered key request or release; return whether it may complete a key.

        `instance` is the live one; whatever was asked for or sealed to another is dropped.
        """
        for old in [key for key, pending in self._pending.items() if pending.instance.id != instance.id]:
            del self._pending[old]
        try:
            # (1) Signed by its sender.
            transaction = open_signed(raw, self._network)
            sender, body = PublicKey(transaction.sender), transaction.body
            if isinstance(body, KeyRequest) and sender == self._identity and body.instance == instance.id:
                self._pending[identity] = _Pending(instance, body.items)
            if not isinstance(body, KeyRelease) or body.worker != self._identity:
                return False
            # (2) For this instance, and a request of it.
            request = TransactionId(body.request)
            pending = self._pending.get(request)
            if pending is None or body.instance != instance.id:
                return False
            # (3) It opens.
            context = ReleaseContext(self._network, sender, self._identity, instance.id, request)
            pending.releases[sender] = open_partials(instance.encryption, context, body.sealed)
        except (EncodingError, CryptoError, LedgerRefused):
            return False
        return True

    def heights(self) -> frozenset[int]:
        """Return the heights of the headers that came with releases: the caller resolves them."""
        return frozenset(plain.height for pending in self._pending.values() for plain in pending.releases.values())

    def combine(
        self, committee: VerifiedCommittee, header_hash: Callable[[int], bytes | None], reaches: Reaches
    ) -> dict[KeyLine, SecretBytes]:
        """Return the 32-byte seeds that can be made now, and stop waiting for them.

        Args:
            committee: the one in office.
            header_hash: of our own chain at a height; None where that is not reached.
            reaches: of a contract that this worker runs; true for any other.
        """
        seeds: dict[KeyLine, SecretBytes] = {}
        put_back: dict[ContractId, dict[int, RollbackDetected]] = defaultdict(dict)
        for request, pending in list(self._pending.items()):
            if not any(item in self._wanted for item in pending.items):
                del self._pending[request]  # another request brought them, or nobody waits any more
                continue
            # (1) Verified senders, (4) in their own seats, on our chain.
            heard = [
                plain
                for sender, plain in pending.releases.items()
                if committee.seat_of(sender) == plain.batch.seat and header_hash(plain.height) == plain.header_hash
            ]
            # (5) Of contracts that were not put back.
            counted = [plain.batch for plain in heard if _stands(plain, pending.items, reaches, put_back)]
            inputs = [prf_input(self._network, line) for line in pending.items]
            try:
                self.lying = frozenset(examine(counted, committee.keys, inputs).lying)
                found = combine(counted, committee.keys, inputs)
            except BadShare:
                continue  # not enough yet
            del self._pending[request]
            self._keep(seeds, pending.items, found)
        self.put_back = put_back
        return seeds

    def _keep(self, seeds: dict[KeyLine, SecretBytes], items: Iterable[KeyLine], found: Iterable[SecretBytes]) -> None:
        for item, seed in zip(items, found, strict=True):
            if item in self._wanted:
                del self._wanted[item]
                seeds[item] = seed


def _stands(
    plain: ReleasePlain,
    items: tuple[KeyLine, ...],
    reaches: Reaches,
    put_back: dict[ContractId, dict[int, RollbackDetected]],
) -> bool:
    """Say whether each contract has come as far as where a gatekeeper saw it; note in `put_back` which was put back."""
    stands = tuple(mark.contract for mark in plain.marks) == contracts_of(items)
    for mark in plain.marks:
        try:
            stands = reaches(mark, plain.height) and stands
        except RollbackDetected as error:
            put_back[ContractId(mark.contract)][plain.batch.seat] = error
            stands = False
    return stands
