"""A node that joins a network by a snapshot: whom it asks, what it believes of them, and its directory.

It is given the genesis and the API of some nodes. From the genesis on it follows the chain as any client does
(`follower`): that gives it the header at which CometBFT's state sync begins to believe, and every header that sync, the
restoration and the node's own store need later. No node's RPC is open to it, and no hash is copied by hand.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar, final

from keephold.base.errors import HeaderInvalid, KeepholdError, NodeUnreachable, ProofInvalid, UnavailableError
from keephold.chain.header import Header
from keephold.chain.validators import decode_validator_set
from keephold.chain.wire import decode_signed_header
from keephold.follower.follow import Follower
from keephold.follower.http_remote import HttpRemote
from keephold.follower.view import VerifiedView
from keephold.ledger.engines.base import StoredBlock
from keephold.protocol.genesis import Genesis
from keephold.protocol.wire import LightBlock

if TYPE_CHECKING:
    from keephold.ledger.engines.cometbft.engine import Consensus
    from keephold.ledger.engines.cometbft.lightrpc import LightRpc

T = TypeVar("T")

_PATIENCE: Final = 60.0
"""Seconds for one question, all nodes and headers in between included."""


@final
class Source:
    """Verified blocks of a network, from nodes that may lie. Any thread asks. Implements `lightrpc.LightSource`."""

    def __init__(self, genesis: Genesis, urls: Sequence[str]) -> None:
        """Ask these nodes, the first one first; nothing is asked yet."""
        self._genesis: Final = genesis
        self._urls: Final = tuple(urls)
        self._lock: Final = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._follower: Follower | None = None
        self._thread: threading.Thread | None = None

    def newest(self) -> StoredBlock:
        """Return the newest block."""
        return self._ask(self._newest)

    def block(self, height: int) -> StoredBlock:
        """Return a block that follows from the genesis."""
        return self._ask(lambda follower: self._block(follower, height))

    def below(self, above: StoredBlock, count: int) -> Sequence[StoredBlock]:
        """Return blocks that lead to one, downwards: each is the one that the next one's header names."""
        top = above.signed.header.height
        heights = range(top - 1, max(top - 1 - count, 0), -1)

        async def fetch(follower: Follower) -> list[StoredBlock]:
            found: list[StoredBlock] = []
            header = above.signed.header
            for light in await follower.remote.blocks(list(heights)):
                found.append(stored(light, header.height - 1, header.last_block_id.hash))
                header = found[-1].signed.header
            return found

        return self._ask(fetch)

    def priorities(self, height: int) -> tuple[int, ...]:
        """Return the proposer priorities of a height, on which all nodes that answer agree."""

        async def fetch(_: Follower) -> tuple[int, ...]:
            remotes = [HttpRemote(url) for url in self._urls]
            try:
                said = await asyncio.gather(*(remote.priorities(height) for remote in remotes), return_exceptions=True)
            finally:
                for remote in remotes:
                    await remote.aclose()
            answers = {item for item in said if isinstance(item, tuple)}
            if len(answers) > 1:
                raise ProofInvalid(f"the nodes disagree on who proposes at {height}")
            if not answers:
                raise NodeUnreachable(f"no node says who proposes at {height}")
            return answers.pop()

        return self._ask(fetch)

    def close(self) -> None:
        """End the connections and the thread."""
        with self._lock:
            loop, follower, thread = self._loop, self._follower, self._thread
            self._loop = None
        if loop is not None and follower is not None and thread is not None:
            asyncio.run_coroutine_threadsafe(follower.aclose(), loop).result(_PATIENCE)
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    # --- inside ---

    @staticmethod
    async def _newest(follower: Follower) -> StoredBlock:
        await follower.sync()
        return await Source._block(follower, follower.view.height)

    @staticmethod
    async def _block(follower: Follower, height: int) -> StoredBlock:
        header: Header = await follower.header(height)
        (light,) = await follower.remote.blocks([height])
        return stored(light, height, header.hash())

    def _ask(self, question: Callable[[Follower], Coroutine[Any, Any, T]]) -> T:
        """Return the answer; one question at a time, as they extend one view.

        Raises:
            UnavailableError, ChainRefused
        """
        with self._lock:
            if self._loop is None or self._follower is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="keephold-source", daemon=True)
                self._thread.start()
                self._follower = Follower([HttpRemote(url) for url in self._urls], VerifiedView(self._genesis))
            asked = asyncio.run_coroutine_threadsafe(question(self._follower), self._loop)
            try:
                return asked.result(_PATIENCE)
            except TimeoutError as error:
                asked.cancel()
                raise UnavailableError("the nodes to join by do not answer in time") from error


def stored(light: LightBlock, height: int, header: bytes) -> StoredBlock:
    """Return a block that a node sent, if it is the one with this header hash; its signatures are left to its readers.

    Raises:
        HeaderInvalid: it is another block, or its commit or validators are of another one.
        EncodingError: it is none.
    """
    signed = decode_signed_header(light.signed_header)
    validators, following = decode_validator_set(light.validators), decode_validator_set(light.next_validators)
    found = signed.header
    if (found.height, found.hash()) != (height, header):
        raise HeaderInvalid(f"not the header of block {height}")
    if (signed.commit.height, signed.commit.block_id.hash) != (height, header):
        raise HeaderInvalid(f"not a commit of block {height}")
    if (found.validators_hash, found.next_validators_hash) != (validators.hash(), following.hash()):
        raise HeaderInvalid(f"not the validators of block {height}")
    return StoredBlock(signed, validators, following)


@final
class JoiningConsensus:
    """A CometBFT whose state sync asks us about headers. Implements `engine.Consensus`."""

    def __init__(self, consensus: Consensus, light: LightRpc, source: Source) -> None:
        self._consensus: Final = consensus
        self._light: Final = light
        self._source: Final = source

    def start(self, ended: Callable[[str], None]) -> None:
        """Answer, then start CometBFT."""
        self._light.start()
        self._consensus.start(ended)

    def stop(self) -> None:
        """End CometBFT, then what it asked."""
        self._consensus.stop()
        self._light.stop()
        with contextlib.suppress(KeepholdError, TimeoutError):
            self._source.close()
