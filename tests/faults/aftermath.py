"""What has to hold after every fault, whatever it was.

1. The network is alive: a transaction offered to any node is ordered, applied, and known to all.
2. Every node shows the same chain, from the genesis to one height above everything acknowledged, to a follower of its
   own that verifies each header: the same headers, hence the same roots.
3. Whatever clients were told about a transaction, its place and its code, each node proves: the id under `data_hash`,
   the code under the next header's `last_results_hash`.
4. Keys left only for what is final: whatever head a gatekeeper named in a release is a header of that chain, and the
   request stood below it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import TypeVar

from keephold.base.errors import NodeUnreachable
from keephold.chain import merkle
from keephold.follower.follow import Follower
from keephold.follower.http_remote import HttpRemote
from keephold.follower.view import VerifiedView
from keephold.protocol.genesis import Genesis
from keephold.protocol.transactions import transaction_id

T = TypeVar("T")
Place = tuple[int, int]
"""Height and code."""

EVERY_BLOCK = 1 << 62
TOGETHER = 64


@dataclass
class Acknowledged:
    """What clients were told, by transaction id; who is told twice was told the same."""

    places: dict[bytes, Place] = field(default_factory=dict)

    def note(self, raws: Sequence[bytes], places: Sequence[Place]) -> None:
        for raw, place in zip(raws, places, strict=True):
            assert self.places.setdefault(transaction_id(raw), place) == place, "told two places"

    @property
    def height(self) -> int:
        return max((height for height, _ in self.places.values()), default=0)


@dataclass
class Chain:
    """One node's chain, as it proves it."""

    hashes: dict[int, bytes] = field(default_factory=dict)
    app_hashes: dict[int, bytes] = field(default_factory=dict)
    evidence: list[int] = field(default_factory=list)
    """Heights whose header commits to evidence of misbehaviour."""

    def add(self, view: VerifiedView) -> None:
        """Note the newest header."""
        header = view.header(view.height)
        assert header is not None
        self.hashes[header.height], self.app_hashes[header.height] = header.hash(), header.app_hash
        if header.evidence_hash != merkle.EMPTY:
            self.evidence.append(header.height)


@dataclass(frozen=True)
class Released:
    """A release, as the gatekeeper that made it wrote it down."""

    requested: int
    height: int
    header_hash: bytes


async def answered(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask until somebody answers; a story has an end."""
    while True:
        with suppress(NodeUnreachable):
            return await ask()
        await asyncio.sleep(0.1)


async def proven(genesis: Genesis, url: str, height: int, acknowledged: Acknowledged) -> Chain:
    """Follow one node from the genesis; ask it to prove everything acknowledged."""
    follower, chain = Follower([HttpRemote(url)], VerifiedView(genesis), skip_above=EVERY_BLOCK), Chain()
    try:
        await answered(lambda: follower.sync(to=1))
        chain.add(follower.view)
        async with aclosing(follower.blocks()) as blocks:
            while follower.view.height < height:
                await anext(blocks)
                chain.add(follower.view)
        ids = list(acknowledged.places)
        for at in range(0, len(ids), TOGETHER):
            wanted = ids[at : at + TOGETHER]
            located = await answered(lambda wanted=wanted: follower.locate(wanted))
            places = {identity: (found.height, found.result.code) for identity, found in located.items()}
            assert places == {identity: acknowledged.places[identity] for identity in wanted}, f"{url} lost something"
    finally:
        await follower.aclose()
    return chain


async def inspect(
    genesis: Genesis,
    readers: Sequence,
    sender,
    acknowledged: Acknowledged,
    released: Iterable[Released] = (),
) -> Chain:
    """Check all of the above on these nodes; return their one chain."""
    # (1) Alive, each of them.
    for reader in readers:
        raws = sender.next(1)
        places = await reader.acknowledged(raws)
        assert [code for _, code in places] == [0]
        acknowledged.note(raws, places)
    # (2), (3) One chain, with everything in it.
    top = acknowledged.height + 1
    chains = await asyncio.gather(*(proven(genesis, reader.url, top, acknowledged) for reader in readers))
    for chain in chains:
        assert list(chain.hashes) == list(range(1, top + 1))
        assert chain == chains[0], "two chains"
    # (4) Releases.
    for release in released:
        assert release.requested < release.height
        if release.height <= top:
            assert chains[0].hashes[release.height] == release.header_hash, "released on a view that is not final"
    return chains[0]
