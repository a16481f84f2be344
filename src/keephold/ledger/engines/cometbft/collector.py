"""Final blocks with their headers and commits, collected from CometBFT into our own block store.

CometBFT is trusted no further than the application it drives: a block is stored as the one that the application
applied, that its own commit names, and whose validators and transactions are those its header commits to.
"""

from __future__ import annotations

import threading
from typing import Final, final

from keephold.base.errors import HeaderInvalid, UnavailableError
from keephold.chain import merkle
from keephold.chain.header import Header, SignedHeader
from keephold.chain.validators import ValidatorSet
from keephold.ledger.engines.base import Block, StoredBlock
from keephold.ledger.engines.cometbft.adapter import Founding
from keephold.ledger.engines.cometbft.rpc import RpcClient
from keephold.ledger.engines.store import BlockStore

_TOGETHER: Final = 100
"""Headers fetched in one go."""

_REMEMBERED: Final = 64
"""Blocks whose transactions are kept until they are stored; those of older ones are fetched."""


@final
class Collector:
    """Fills one block store. `advance` is called by one thread, `remember` by any."""

    def __init__(self, rpc: RpcClient, store: BlockStore, founding: Founding) -> None:
        """Go on where the store ends."""
        self._rpc: Final = rpc
        self._store: Final = store
        self._founding: Final = founding
        self._lock: Final = threading.Lock()
        self._remembered: Final[dict[int, Block]] = {}
        self._stored = store.last()
        last = store.block(self._stored)
        self._validators = founding.validators if last is None else last.next_validators

    @property
    def stored(self) -> int:
        """Height of the newest block in the store; 0 before the first."""
        return self._stored

    def remember(self, block: Block) -> None:
        """Keep what was applied, so that it need not be fetched."""
        with self._lock:
            self._remembered[block.height] = block
            while len(self._remembered) > _REMEMBERED:
                del self._remembered[min(self._remembered)]

    def adopt(self, stored: StoredBlock) -> None:
        """Go on above a block that a light client verified, whose transactions will never come by."""
        self._store.adopt(stored)
        self._validators = stored.next_validators
        self._stored = stored.signed.header.height

    def advance(self, height: int) -> None:
        """Store some more blocks, up to `height`.

        Raises:
            UnavailableError: CometBFT does not answer, or not yet.
            EncodingError: what it answers is malformed.
            HeaderInvalid: what it answers is not what was applied.
        """
        first = self._stored + 1
        wanted = range(first, min(first + _TOGETHER, height + 1))
        found = self._rpc.signed_headers(wanted)
        if wanted and not found:
            raise UnavailableError(f"cometbft: no block {first} yet")
        for at, signed in zip(wanted, found, strict=False):
            self._append(at, signed)

    def _append(self, height: int, signed: SignedHeader) -> None:
        header = signed.header
        with self._lock:
            applied = self._remembered.get(height)
        # (1) A block of this chain and height, with a commit of its own.
        if (header.chain_id, header.height) != (self._founding.chain_id, height):
            raise HeaderInvalid(f"cometbft: not the header of block {height}")
        if (signed.commit.height, signed.commit.block_id.hash) != (height, header.hash()):
            raise HeaderInvalid(f"cometbft: the commit of block {height} is for another one")
        # (2) The block that was applied.
        if applied is not None and applied.hash != header.hash():
            raise HeaderInvalid(f"cometbft: block {height} is not the one that was applied")
        # (3) The validators that were announced, and the next ones.
        if header.validators_hash != self._validators.hash():
            raise HeaderInvalid(f"cometbft: block {height} has other validators than announced")
        following = self._following(header)
        # (4) The transactions that the header commits to.
        transactions = self._transactions(header) if applied is None else applied.transactions
        if header.data_hash != merkle.data_root(transactions):
            raise HeaderInvalid(f"cometbft: not the transactions of block {height}")
        self._store.append(StoredBlock(signed, self._validators, following), transactions)
        with self._lock:
            self._remembered.pop(height, None)
        self._validators = following
        self._stored = height

    def _following(self, header: Header) -> ValidatorSet:
        if header.next_validators_hash == self._validators.hash():
            return self._validators
        following = self._rpc.validators(header.height + 1)
        if header.next_validators_hash != following.hash():
            raise HeaderInvalid(f"cometbft: not the validators of block {header.height + 1}")
        return following

    def _transactions(self, header: Header) -> tuple[bytes, ...]:
        return () if header.data_hash == merkle.EMPTY else self._rpc.transactions(header.height)
