"""A node's directory against another one's, or against a node that runs: where their states differ.

A node that runs is asked for the values of every path that the directory has, under the header above the directory's
last block, and for the slots of each contract whose root differs. It cannot be asked for paths that it alone has; that
there are some shows when the values that were compared do not lead to its app hash.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from keephold.base.errors import ConfigurationError, InputError, NotFound
from keephold.base.limits import MAX_INTEREST
from keephold.chain.sparse import SparseMap
from keephold.chain.wire import decode_signed_header
from keephold.contract.address import Address
from keephold.follower.http_remote import HttpRemote
from keephold.follower.remote import Remote
from keephold.ledger.differences import LEDGER, Difference, Snapshot, differences, read_snapshot, read_snapshot_at
from keephold.programs.config import read_genesis
from keephold.programs.members import CONFIG
from keephold.programs.node import read_config
from keephold.protocol.codec import decode
from keephold.protocol.genesis import Genesis
from keephold.protocol.state import ContractRecord, contract_path

_FIRST_TAG: Final = bytes(32)


def compare_homes(left: Path, right: Path) -> tuple[int, list[Difference]]:
    """Return the height at which two nodes' directories were compared, and what differs.

    Raises:
        InputError: they cannot be brought to one height.
        ConfigurationError: one is no node's directory.
    """
    newest = [read_snapshot(_ledger(home)) for home in (left, right)]
    height = min(snapshot.height for snapshot in newest)
    one, other = (
        snapshot if snapshot.height == height else read_snapshot_at(_ledger(home), height, _genesis(home))
        for home, snapshot in zip((left, right), newest, strict=True)
    )
    return height, list(differences(one, other))


async def compare_with_node(home: Path, url: str) -> tuple[int, list[Difference]]:
    """Return the height of a directory's last block, and what differs in a running node's state there.

    Raises:
        InputError: the node does not keep the state of that height any more, or has not got there.
        ConfigurationError: there is no node's directory.
        NodeUnreachable
    """
    snapshot = read_snapshot(_ledger(home))
    remote = HttpRemote(url)
    try:
        return snapshot.height, [found async for found in _against(snapshot, remote)]
    finally:
        await remote.aclose()


async def _against(snapshot: Snapshot, remote: Remote) -> AsyncIterator[Difference]:
    """What the node says is compared, not verified: it is one of the two that disagree."""
    above = snapshot.height + 1
    (newest,) = await remote.blocks([0])
    reached = decode_signed_header(newest.signed_header).header.height
    if reached < above:
        raise InputError(
            f"the node has block {reached} and not yet {above}, which commits to the state of {snapshot.height}: "
            "ask again when it has"
        )
    (block,) = await remote.blocks([above])
    theirs = decode_signed_header(block.signed_header).header.app_hash
    values = SparseMap.of(snapshot.leaves.items())
    if values.root == theirs:
        return
    yield Difference("block", f"{snapshot.height} app_hash", values.root.hex(), theirs.hex())
    paths = sorted({*snapshot.leaves, *snapshot.names})
    for start in range(0, len(paths), MAX_INTEREST):
        answer = await remote.prove(above, paths[start : start + MAX_INTEREST])
        for item in answer.values:
            mine = snapshot.leaves.get(item.path)
            if (mine or b"") == item.value:
                continue
            values = values.put(item.path, item.value) if item.value else values.delete(item.path)
            name = snapshot.names.get(item.path, f"path {item.path.hex()}")
            yield Difference("path", name, mine.hex() if mine else "none", item.value.hex() or "none")
            async for slot in _slots(snapshot, remote, item.path, mine, item.value):
                yield slot
    if values.root != theirs:
        yield Difference(
            "path", "further paths", "none", "some that only the node has; compare directories to see them"
        )


async def _slots(
    snapshot: Snapshot, remote: Remote, path: bytes, mine: bytes | None, theirs: bytes
) -> AsyncIterator[Difference]:
    contracts = {contract for contract, _ in snapshot.slots}
    contract = next((item for item in contracts if contract_path(item) == path), None)  # type: ignore[arg-type] # ids of the file
    if contract is None or not mine or not theirs:
        return
    here = {tag: value for (owner, tag), value in snapshot.slots.items() if owner == contract}
    there: dict[bytes, bytes] = {}
    after, is_last = _FIRST_TAG, False
    while not is_last:
        page = await remote.slots(contract, decode(theirs, ContractRecord).state_root, after)
        there |= {slot.tag: slot.value for slot in page.slots}
        after, is_last = page.slots[-1].tag if page.slots else after, page.last
    for tag in sorted(here.keys() | there.keys()):
        if here.get(tag) != there.get(tag):
            shown = [value.hex() if value else "none" for value in (here.get(tag), there.get(tag))]
            yield Difference("slot", f"{Address.contract(contract)} tag {tag.hex()}", *shown)


def _ledger(home: Path) -> Path:
    """Return the ledger's directory: of a node's directory, or what was named is one itself."""
    if (home / CONFIG).exists():
        return Path(read_config(home / CONFIG).home)
    if not (home / LEDGER).exists():
        raise NotFound(f"{home} is no node's directory: neither {CONFIG} nor {LEDGER} is there")
    return home


def _genesis(home: Path) -> Genesis:
    if not (home / CONFIG).exists():
        raise ConfigurationError(f"{home} is ahead and without {CONFIG}: name the node's own directory")
    return read_genesis(Path(read_config(home / CONFIG).genesis))
