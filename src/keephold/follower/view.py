"""The verified view: frames from anybody become blocks that the validators ordered, or are refused. No I/O, no clock.

The argument for one frame, from a node that may lie:

1. Its header follows from what is trusted (`light_client`); time is the header's own, since an enclave's clock is its
   host's. Whether the newest header is *recent* is answered elsewhere: by echo in an enclave, by its clock in a client.
2. Validators change only as governance signed: a set that no verified action named is refused, whoever signed for it.
3. It lies on the chain already seen: the next header points back to the last one, and no height has two headers.
4. The transaction ids hash to the header's `data_hash`, and each transaction's bytes to its place among them.
5. The results of the block before hash to `last_results_hash`.
6. Each receipt is a leaf of the tree whose root is the data of an accepted result transaction.
7. Each value, or its absence, is proven under `app_hash`.

All seven hold before anything is remembered: a refused frame leaves no trace, so another node can be asked for it.

What a frame cannot show is what it *leaves out*: a transaction not sent, a value whose change was not sent. So whoever
decides by the present value of a path has it proven when he decides (`Follower.prove`), and an enclave does so after
each echo. An inbox needs less: its head is proven and commits to every entry.

A header proves order, never truth: who signed a transaction is checked by whoever acts on it (`trust`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, final

from keephold.base.errors import EncodingError, HeaderInvalid, ProofInvalid
from keephold.base.ids import HeaderHash, Height, TransactionId
from keephold.base.minting import NoPublicConstructor
from keephold.chain.chain_id import chain_id
from keephold.chain.header import Header, SignedHeader
from keephold.chain.validators import Validator, ValidatorSet, decode_validator_set
from keephold.chain.wire import decode_signed_header
from keephold.follower.light_client import TrustedState, verify_header
from keephold.follower.proofs import (
    OrderedTransaction,
    check_leaf,
    check_receipt,
    check_results,
    check_transactions,
    check_values,
    result_leaf,
)
from keephold.protocol import genesis as genesis_records
from keephold.protocol.governance import GovernanceRecord, ValidatorEntry
from keephold.protocol.transactions import transaction_id
from keephold.protocol.wire import (
    FoundTransaction,
    Frame,
    LightBlock,
    ProveAnswer,
    ProvenReceipt,
    TransactionResult,
)

REMEMBERED_HEADERS: Final = 8192
"""Verified headers kept, newest first: about 2 KB each."""

_NO_ACTIONS: Final = GovernanceRecord()

Values = Mapping[bytes, bytes | None]
"""Values by path; None is proven absence."""


@final
@dataclass(frozen=True, slots=True)
class VerifiedBlock(metaclass=NoPublicConstructor):
    """One block, as far as its reader asked for it; made by `VerifiedView.accept` only."""

    height: Height
    header_hash: HeaderHash
    time_ns: int
    after: Height
    """Height of the block accepted before this one: lower than `height - 1` where blocks were skipped."""
    ids: frozenset[bytes]
    """All transaction ids of this block; empty when the node sent none of its transactions."""
    transactions: tuple[OrderedTransaction, ...]
    values: Values
    """State after the block *before* this one."""
    receipts: tuple[ProvenReceipt, ...]
    """Of the block before this one."""
    results: tuple[TransactionResult, ...]
    """Of the block before this one."""


@final
@dataclass(frozen=True, slots=True)
class ProvenValues(metaclass=NoPublicConstructor):
    """Values proven under one verified header; made by `VerifiedView.check_values` only."""

    height: Height
    """Of the header; the state is the one after the block before."""
    header_hash: HeaderHash
    time_ns: int
    values: Values

    def __getitem__(self, path: bytes) -> bytes | None:
        return self.values[path]


@final
@dataclass(frozen=True, slots=True)
class LocatedTransaction(metaclass=NoPublicConstructor):
    """A transaction with its place and result on the verified chain; made by `VerifiedView.check_found` only."""

    id: TransactionId
    raw: bytes
    height: Height
    index: int
    result: TransactionResult


@final
class VerifiedView:
    """What has been verified so far, and the one way to extend it."""

    def __init__(
        self,
        genesis: genesis_records.Genesis,
        trusted: TrustedState | None = None,
        governance: GovernanceRecord = _NO_ACTIONS,
    ) -> None:
        """Start from a pinned genesis, or from a state and a history of governance sealed earlier under it.

        Raises:
            ConfigurationError: the genesis cannot be lived under.
            HeaderInvalid: the sealed state is of another chain.
        """
        self.genesis: Final = genesis
        self.network: Final = genesis_records.network_id(genesis)
        first = validator_set(genesis.law.validators)
        origin = TrustedState.from_genesis(
            chain_id(self.network), first, genesis.time_ns, genesis.law.timing.trusting_period_ns
        )
        if trusted is not None and trusted.header.chain_id != origin.header.chain_id:
            raise HeaderInvalid("the trusted header is of another chain")
        self._trusted = trusted or origin
        self._governance = governance
        self._sets = {first.hash(): first}
        self._headers: Final[dict[int, Header]] = {}
        if trusted is not None and isinstance(trusted.header, Header):
            self._headers[trusted.height] = trusted.header

    @property
    def trusted(self) -> TrustedState:
        """The newest accepted state, for sealing."""
        return self._trusted

    @property
    def governance(self) -> GovernanceRecord:
        """How many actions of governance were ever proven, and the head of their chain: for sealing."""
        return self._governance

    def know(self, governance: GovernanceRecord) -> None:
        """Remember a history. The caller owes that it is proven, whole, and goes on from the one known before."""
        if governance.count > self._governance.count:
            self._governance = governance

    @property
    def height(self) -> Height:
        """Height of the newest accepted header; 0 before the first."""
        return Height(self._trusted.height)

    @property
    def time_ns(self) -> int:
        """Time of the newest accepted header, or of the genesis."""
        return self._trusted.header.time_ns

    def header(self, height: int) -> Header | None:
        """Return the verified header of this height, if it is remembered."""
        return self._headers.get(height)

    def admit(self, sets: Iterable[Iterable[ValidatorEntry]]) -> None:
        """Let these validator sets sign, and no others.

        The caller owes the governance signatures behind them: see `law.verify_history`.
        """
        self._sets = {admitted.hash(): admitted for admitted in map(validator_set, sets)}

    def is_lawful(self, signed_header: bytes) -> bool:
        """Say whether this signed header's validator sets were admitted; if not, ask for the governance history."""
        header = _signed(signed_header).header
        return header.validators_hash in self._sets and header.next_validators_hash in self._sets

    def accept(self, frame: Frame) -> VerifiedBlock:
        """Return the frame's block and move to it.

        Raises:
            ChainRefused: any step of the argument fails; nothing changed.
        """
        try:
            return self._accept(frame)
        except EncodingError as error:
            raise HeaderInvalid(f"frame {frame.height}: {error}") from error

    def _accept(self, frame: Frame) -> VerifiedBlock:
        # (1), (2), (3) The header.
        following = self._follow(frame.height, frame.signed_header, frame.validators, frame.next_validators)
        header = _header(following)
        # (4) What it orders.
        transactions = check_transactions(frame, header)
        # (5) What came of the block before.
        if frame.results or frame.receipts:
            check_results(frame.results, header)
        # (6) Receipts.
        for receipt in frame.receipts:
            check_receipt(receipt, frame.results)
        # (7) State.
        values = check_values(frame.values, header)
        block = VerifiedBlock._mint(  # noqa: SLF001 - the one place that makes it
            height=Height(header.height),
            header_hash=header.hash(),
            time_ns=header.time_ns,
            after=self.height,
            ids=frozenset(frame.ids),
            transactions=transactions,
            values=values,
            receipts=frame.receipts,
            results=frame.results,
        )
        self._move(following)
        return block

    def advance(self, block: LightBlock) -> None:
        """Move to a later header without its block.

        Raises:
            NotEnoughTrust, TrustExpired: ask for a header in between.
            ChainRefused: it does not follow.
        """
        self._move(self._followed(block))

    def vouch(self, block: LightBlock) -> Header:
        """Verify and remember a later header without moving to it: to check proofs newer than the last frame.

        Raises:
            As `advance`.
        """
        known = self._headers.get(block.height)
        if known is not None and _signed(block.signed_header).header.hash() == known.hash():
            return known
        header = _header(self._followed(block))
        self._remember(header)
        return header

    def descend(self, block: LightBlock) -> Header:
        """Verify and remember the header before a remembered one: its hash is named there, so no signature matters.

        Raises:
            HeaderInvalid: the header above is not remembered, or names another.
        """
        header = _signed(block.signed_header).header
        above = self._headers.get(header.height + 1)
        if above is None or above.last_block_id.hash != header.hash():
            raise HeaderInvalid(f"header {header.height} is not the one that the next header names")
        self._headers[header.height] = header
        return header

    def check_values(self, answer: ProveAnswer, paths: Iterable[bytes]) -> ProvenValues:
        """Return the values of exactly these paths.

        Raises:
            ProofInvalid: the header is not verified, a path is missing, or a proof does not hold.
        """
        header = self._headers.get(answer.height)
        if header is None:
            raise ProofInvalid(f"header {answer.height} is not verified")
        values = check_values(answer.values, header)
        if values.keys() != set(paths):
            raise ProofInvalid("not the values that were asked for")
        return ProvenValues._mint(  # noqa: SLF001 - the one place that makes it
            height=Height(answer.height), header_hash=header.hash(), time_ns=header.time_ns, values=values
        )

    def check_found(self, found: FoundTransaction) -> LocatedTransaction:
        """Return the transaction with its place and result; the headers of its height and the next are remembered.

        Raises:
            ProofInvalid: it is not there, its result is another, or a header is not verified.
        """
        ordering, proving = self._headers.get(found.height), self._headers.get(found.height + 1)
        if ordering is None or proving is None:
            raise ProofInvalid(f"headers {found.height} and {found.height + 1} are not both verified")
        identity = transaction_id(found.raw)
        # An index is only as good as the number of leaves. Both trees have one leaf a transaction: equal claims about
        # index and number lead to the same leaf in both, whatever the true number is.
        if not found.index == found.proof.index == found.result_proof.index:
            raise ProofInvalid("transaction and result at different indexes")
        if found.proof.total != found.result_proof.total:
            raise ProofInvalid("trees of different sizes in one block")
        check_leaf(found.proof, ordering.data_hash, identity)
        check_leaf(found.result_proof, proving.last_results_hash, result_leaf(found.result))
        return LocatedTransaction._mint(  # noqa: SLF001 - the one place that makes it
            id=identity, raw=found.raw, height=Height(found.height), index=found.index, result=found.result
        )

    def check_receipts(self, frame: Frame) -> tuple[ProvenReceipt, ...]:
        """Return the receipts of a frame whose header is remembered; the view does not move.

        Raises:
            ProofInvalid: the header is not verified, or a receipt is not under it.
        """
        header = self._headers.get(frame.height)
        if header is None:
            raise ProofInvalid(f"header {frame.height} is not verified")
        if frame.receipts:
            check_results(frame.results, header)
        for receipt in frame.receipts:
            check_receipt(receipt, frame.results)
        return frame.receipts

    def _followed(self, block: LightBlock) -> TrustedState:
        try:
            return self._follow(block.height, block.signed_header, block.validators, block.next_validators)
        except EncodingError as error:
            raise HeaderInvalid(f"light block {block.height}: {error}") from error

    def _follow(self, height: int, signed_header: bytes, validators: bytes, next_validators: bytes) -> TrustedState:
        signed = _signed(signed_header)
        header = signed.header
        if header.height != height:
            raise HeaderInvalid(f"header {header.height} in a frame of height {height}")
        # (2) Only sets that governance signed; the bytes sent along decide nothing.
        current = self._lawful(header.validators_hash, validators)
        following = self._lawful(header.next_validators_hash, next_validators)
        # (1) The light client's rules.
        state = verify_header(self._trusted, signed, current, following, header.time_ns)
        # (3) One chain.
        last = self._trusted.header
        is_adjacent = height == last.height + 1
        if is_adjacent and isinstance(last, Header) and header.last_block_id.hash != last.hash():
            raise HeaderInvalid(f"header {height} does not point back to the block before: a fork")
        self._check_unique(header)
        return state

    def _lawful(self, expected: bytes, encoded: bytes) -> ValidatorSet:
        found = self._sets.get(expected)
        if found is None or (encoded and decode_validator_set(encoded).hash() != expected):
            raise HeaderInvalid("a validator set that governance did not sign")
        return found

    def _check_unique(self, header: Header) -> None:
        known = self._headers.get(header.height)
        if known is not None and known.hash() != header.hash():
            raise HeaderInvalid(f"two headers of height {header.height}: a fork")

    def _move(self, following: TrustedState) -> None:
        self._trusted = following
        self._remember(_header(following))

    def _remember(self, header: Header) -> None:
        self._check_unique(header)
        self._headers[header.height] = header
        if len(self._headers) > 2 * REMEMBERED_HEADERS:
            for height in sorted(self._headers)[:-REMEMBERED_HEADERS]:
                del self._headers[height]


def validator_set(entries: Iterable[ValidatorEntry]) -> ValidatorSet:
    """Return the chain's form of a validator list of the law."""
    return ValidatorSet.of(Validator(entry.public_key, entry.power) for entry in entries)


def _signed(encoded: bytes) -> SignedHeader:
    try:
        return decode_signed_header(encoded)
    except EncodingError as error:
        raise HeaderInvalid(f"signed header: {error}") from error


def _header(state: TrustedState) -> Header:
    if not isinstance(state.header, Header):
        raise HeaderInvalid("no header yet")
    return state.header
