"""Which key requests a gatekeeper may answer, and the answer. No I/O: everything it judges was verified before.

Partials of t gatekeepers *are* contract keys, so this argument is the one that guards them all. For a request:

1. It is a transaction that the worker signed (`open_request`), for distinct lines.
2. Each contract's record is proven by a header at or above the block after the request, on the gatekeeper's own chain.
3. Each contract id is the hash of the code and policy on record: nobody can relax a policy, or swap code, behind an id.
4. The line's own rule holds (`lines`): the worker is assigned and not suspended, the contract is in use, and a key
   epoch that the line names is the present one or, while it changes, the one on its way in; of a channel one that
   passed, while something sealed under it waits. Whoever was excluded is assigned nothing, so he gets neither; when the
   next epoch has begun, the one before is on no record again: epochs only rise, to which 8 holds the ledger.
5. The worker's registration verifies now, evidence included, in the role of worker (`follower.trust`).
6. The live instance is the one that asks: what is sealed to it, no clone and no earlier boot can open.
7. Its confidence level, as judged here, is at least as good as the contract's policy asks for (`lines`, too).
8. No contract's record stands before one that this gatekeeper saw (`marks`): whoever is told its keys could be shown a
   past to use them on, and an epoch that ended would be open again. Where it stands goes to the worker beside the
   partials, who holds the ledger to it.

Assignment is the validators' word: they can give a contract to any worker that passes 5 to 7, and to nobody else.

One item that fails refuses the whole request. All gatekeepers answer the same list, or their partials do not combine.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, final

from keephold.base.errors import AttestationRefused, CryptoError, EncodingError, LedgerRefused
from keephold.base.ids import ContractId, InstanceId, NetworkId, PublicKey, TransactionId
from keephold.base.minting import NoPublicConstructor
from keephold.custody.secret.release import Entropy, partial, prf_input
from keephold.custody.secret.share import Share
from keephold.follower.contracts import check_identity
from keephold.follower.proofs import OrderedTransaction
from keephold.follower.trust import VerifiedRegistration
from keephold.follower.view import ProvenValues
from keephold.gatekeeper.lines import check_line
from keephold.gatekeeper.marks import Marks
from keephold.protocol.channel import Channel
from keephold.protocol.codec import decode
from keephold.protocol.lines import ChannelLine, KeyLine, contracts_of
from keephold.protocol.marks import Mark, mark_of
from keephold.protocol.messages import ReleasePlain
from keephold.protocol.refusals import Refusal
from keephold.protocol.state import ContractRecord, channel_path, contract_path
from keephold.protocol.transactions import KeyRelease, KeyRequest, open_signed
from keephold.sealing.release import ReleaseContext, seal_partials

MAX_ITEMS: Final = 64
"""Lines in one request."""

MAX_PENDING: Final = 256
"""Requests waiting; more push the oldest out, whose worker asks again."""

_REMEMBERED: Final = 4096


@dataclass(frozen=True, slots=True)
class Request:
    """A signed key request and where it stands. Nothing about it is judged yet."""

    id: TransactionId
    worker: PublicKey
    instance: InstanceId
    items: tuple[KeyLine, ...]
    height: int
    """Of the block that ordered it."""


@final
@dataclass(frozen=True, slots=True)
class Justified(metaclass=NoPublicConstructor):
    """A request for which the argument holds; made by `justify` only."""

    request: Request
    registration: VerifiedRegistration
    height: int
    """Of the header that proves the contracts' records."""
    header_hash: bytes
    marks: tuple[Mark, ...]
    """Where that header shows each contract that the lines are about."""


def open_request(ordered: OrderedTransaction, height: int, network: NetworkId) -> Request:
    """Return the key request in an ordered transaction (step 1).

    Raises:
        EncodingError, CryptoError, LedgerRefused: it is none, or asks for too much, or twice for the same.
    """
    transaction = open_signed(ordered.raw, network)
    body = transaction.body
    if not isinstance(body, KeyRequest):
        raise EncodingError("not a key request")
    if not 1 <= len(body.items) <= MAX_ITEMS or len(set(body.items)) != len(body.items):
        raise LedgerRefused(Refusal.TOO_LARGE.word, f"1 to {MAX_ITEMS} different lines")
    return Request(ordered.id, PublicKey(transaction.sender), InstanceId(body.instance), body.items, height)


def justify(
    request: Request, contracts: ProvenValues, registration: VerifiedRegistration, marks: Marks, network: NetworkId
) -> Justified:
    """Return the request, justified (steps 2 to 8); what it shows of its contracts is remembered in `marks`.

    Raises:
        RollbackDetected: a contract stands before its mark.
        StaleAnswer: the header is older than a mark's; see `Marks.height_of`.
        LedgerRefused: the step's reason: `unknown_contract`, `not_assigned`, `wrong_epoch`, `superseded`, …
        AttestationRefused: reason `level`.
        ProofInvalid: code or policy on record are not the contract's.
    """
    if registration.identity != request.worker:
        raise LedgerRefused(Refusal.NOT_REGISTERED.word, "a registration of somebody else")
    # (2) State after the block that ordered the request, or later.
    if contracts.height <= request.height or registration.height <= request.height:
        raise LedgerRefused(Refusal.WRONG_PHASE.word, "proven by headers older than the request's outcome")
    # (5) In the role of a worker; the evidence is `follower.trust`'s business, and a type here.
    if registration.proof.claim.role != "worker":
        raise LedgerRefused(Refusal.WRONG_ROLE.word, registration.proof.claim.role)
    # (6) This instance.
    if registration.instance != request.instance:
        raise LedgerRefused(Refusal.SUPERSEDED.word, "another instance is live")
    # (3) Code and policy are the contracts'.
    records = {contract: _record(contracts, contract, network) for contract in contracts_of(request.items)}
    # (4), (7) Each line's own rule.
    channels = {line: _channel(contracts, line) for line in request.items if isinstance(line, ChannelLine)}
    for line in request.items:
        check_line(line, records, channels, registration)
    # (8) None was put back.
    for contract, record in records.items():
        marks.see(contract, record, contracts.height)
    return Justified._mint(  # noqa: SLF001 - the one place that makes it
        request=request,
        registration=registration,
        height=contracts.height,
        header_hash=contracts.header_hash,
        marks=tuple(mark_of(contract, record) for contract, record in records.items()),
    )


def answer(
    justified: Justified, share: Share, gatekeeper: PublicKey, network: NetworkId, entropy: Entropy
) -> KeyRelease:
    """Return this gatekeeper's partials for a justified request, sealed to the instance that asked.

    The head goes in beside them, and where it shows the contracts: the worker uses the keys only on a chain that
    contains t of these headers, and only once each contract stands there as far.
    """
    request = justified.request
    inputs = [prf_input(network, line) for line in request.items]
    plain = ReleasePlain(partial(share, inputs, entropy), justified.height, justified.header_hash, justified.marks)
    context = ReleaseContext(network, gatekeeper, request.worker, request.instance, request.id)
    sealed = seal_partials(justified.registration.encryption_key, context, plain)
    return KeyRelease(worker=request.worker, instance=request.instance, request=request.id, sealed=sealed)


@final
class Queue:
    """Requests not answered yet, oldest first, each once."""

    def __init__(self) -> None:
        self._pending: Final[OrderedDict[TransactionId, Request]] = OrderedDict()
        self._seen: Final[OrderedDict[TransactionId, None]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._pending)

    def offer(self, ordered: OrderedTransaction, height: int, network: NetworkId) -> None:
        """Take an ordered transaction; what is no proper request is nobody's business here."""
        if ordered.id in self._seen:
            return
        try:
            request = open_request(ordered, height, network)
        except (EncodingError, CryptoError, LedgerRefused, AttestationRefused):
            return
        self._seen[request.id] = None
        self._pending[request.id] = request
        if len(self._pending) > MAX_PENDING:
            self._pending.popitem(last=False)
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)

    def take(self) -> tuple[Request, ...]:
        """Return all pending requests and forget them."""
        taken = tuple(self._pending.values())
        self._pending.clear()
        return taken

    def put_back(self, request: Request) -> None:
        """Keep a request for later: nothing was wrong with it, the moment was."""
        self._pending.setdefault(request.id, request)


def paths(request: Request) -> tuple[bytes, ...]:
    """Return the map paths that `justify` wants proven."""
    channels = [_channel_path(line) for line in request.items if isinstance(line, ChannelLine)]
    return (*map(contract_path, contracts_of(request.items)), *channels)


def _channel_path(line: ChannelLine) -> bytes:
    return channel_path(ContractId(line.source), ContractId(line.target))


def _channel(contracts: ProvenValues, line: ChannelLine) -> Channel:
    """Return what waits of a channel; proven absence is nothing."""
    path = _channel_path(line)
    if path not in contracts.values:
        raise LedgerRefused(Refusal.WRONG_PHASE.word, "nothing is proven of the channel")
    raw = contracts.values[path]
    return Channel() if raw is None else decode(raw, Channel)


def _record(contracts: ProvenValues, contract: ContractId, network: NetworkId) -> ContractRecord:
    raw = contracts.values.get(contract_path(contract))
    if raw is None:
        raise LedgerRefused(Refusal.UNKNOWN_CONTRACT.word, contract.hex())
    record = decode(raw, ContractRecord)
    check_identity(contract, record, network)
    return record
