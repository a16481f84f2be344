"""Headers and commits of a chain with one voter, in CometBFT's bytes: pure, so that a stored block can be made again.

Ed25519 is deterministic. From the same chain, transactions, time and key comes the same block, byte for byte; the start
of the engine relies on it to check what it finds on the disk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from keephold.base.limits import MAX_BLOCK_BYTES
from keephold.chain import merkle, proto
from keephold.chain.header import (
    ABSENT,
    NO_BLOCK,
    BlockId,
    BlockIdFlag,
    Commit,
    CommitSig,
    Header,
    SignedHeader,
)
from keephold.chain.validators import ValidatorSet
from keephold.chain.vote import Precommits
from keephold.chain.wire import encode_header
from keephold.crypto.ed25519 import ValidatorKey
from keephold.crypto.hashing import sha256
from keephold.ledger.engines.base import StoredBlock, TransactionOutcome

_CONSENSUS_HASH: Final = sha256(proto.number(1, MAX_BLOCK_BYTES) + proto.number(2, -1))
"""Of the consensus parameters: block size, and gas without a limit."""


@dataclass(frozen=True, slots=True)
class Chain:
    """What the next header has to state."""

    chain_id: str
    genesis_ns: int
    validators: ValidatorSet
    """Of the next block."""
    next_validators: ValidatorSet
    """Of the one after."""
    last: SignedHeader | None
    """The newest block; None before the first."""
    app_hash: bytes
    """After the newest block."""
    outcomes: Sequence[TransactionOutcome]
    """Of the newest block's transactions."""

    def next_block(self, transactions: Sequence[bytes], now_ns: int, key: ValidatorKey) -> StoredBlock:
        """Return the next block with `key`'s vote. Its time is `now_ns`, or the earliest that still rises."""
        last = self.last
        earliest = self.genesis_ns if last is None else last.header.time_ns
        proposer = next(v for v in self.validators.validators if v.public_key == key.public)
        header = Header(
            chain_id=self.chain_id,
            height=1 if last is None else last.header.height + 1,
            time_ns=max(now_ns, earliest + 1),
            last_block_id=NO_BLOCK if last is None else last.commit.block_id,
            last_commit_hash=merkle.EMPTY if last is None else last.commit.hash(),
            data_hash=merkle.data_root(transactions),
            validators_hash=self.validators.hash(),
            next_validators_hash=self.next_validators.hash(),
            consensus_hash=_CONSENSUS_HASH,
            app_hash=self.app_hash,
            last_results_hash=merkle.root([merkle.result_leaf(item.code, item.data) for item in self.outcomes]),
            evidence_hash=merkle.EMPTY,
            proposer_address=proposer.address,
        )
        # One part, the header: nothing is gossiped here, and the header commits to all the rest.
        block_id = BlockId(header.hash(), 1, merkle.root([encode_header(header)]))
        precommits = Precommits(self.chain_id, header.height, 0, block_id)
        signature = key.sign(precommits.sign_bytes(header.time_ns))
        own = CommitSig(BlockIdFlag.COMMIT, proposer.address, header.time_ns, signature)
        votes = tuple(own if v is proposer else ABSENT for v in self.validators.validators)
        signed = SignedHeader(header, Commit(header.height, 0, block_id, votes))
        return StoredBlock(signed, self.validators, self.next_validators)

    def after(
        self,
        stored: StoredBlock,
        following: ValidatorSet,
        app_hash: bytes,
        outcomes: Sequence[TransactionOutcome],
    ) -> Chain:
        """Return the chain after `stored`, which did this; `following` are the validators two blocks later."""
        return Chain(
            self.chain_id, self.genesis_ns, stored.next_validators, following, stored.signed, app_hash, outcomes
        )
