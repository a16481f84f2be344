"""What is fetched from nodes for a contract: its code, slots and batches, and other contracts' key epochs.

Code, batches and epochs are proven here, under verified headers; slots are checked against their root by the core.
"""

from __future__ import annotations

from typing import Final

from keephold.base.errors import ProofInvalid
from keephold.base.ids import ContractId, Height, PublicKey
from keephold.enclave.session import Session
from keephold.follower.contracts import verify_deployment
from keephold.follower.follow import Follower
from keephold.protocol.channel import EpochRecord, LetterRecord, id_of
from keephold.protocol.codec import decode, encode
from keephold.protocol.state import Batch, ContractRecord, batch_path, contract_path, epoch_path, letter_path
from keephold.worker.code import ContractCode, contract_code
from keephold.worker.inbox import Ordering, ProvenBatch
from keephold.worker.mail import PeerAt, PeerEpochs

_TRANSACTIONS: Final = 16
"""Transactions asked for at once: the largest calls still fit an answer."""


async def code(session: Session, contract: ContractId) -> ContractCode:
    """Return the code that the contract's id commits to.

    Raises:
        ChainRefused, NodeUnreachable: it is not proven.
        SandboxError: it cannot be run.
    """
    deployed = await verify_deployment(session.follower, contract)
    record = deployed.record
    return contract_code(
        contract,
        PublicKey(record.creator),
        deployed.code,
        record.policy,
        tells_failures=session.view.genesis.simulated,
    )


async def peer(follower: Follower, at: PeerAt) -> PeerEpochs:
    """Prove another contract's key epochs, from the newest back to the one it had at that height.

    Raises:
        ChainRefused, NodeUnreachable
    """
    path = contract_path(at.contract)
    proven = await follower.prove([path], at.height)
    raw = proven[path]
    epoch = 0 if raw is None else decode(raw, ContractRecord).epoch
    begun: list[tuple[int, int]] = []
    while epoch > 0 and not (begun and begun[-1][1] < at.height):
        place = epoch_path(at.contract, epoch)
        found = (await follower.prove([place], proven.height))[place]
        if found is not None:
            begun.append((epoch, decode(found, EpochRecord).height))
        epoch -= 1
    return PeerEpochs(at.contract, proven.height, tuple(begun), is_whole=epoch == 0)


async def slots(follower: Follower, contract: ContractId, root: bytes) -> list[tuple[bytes, bytes]]:
    """Return what a node says are all slots of a state, by tag: whoever takes them checks them against its root.

    Raises:
        ProofInvalid: the node sends the same ones again.
        NodeUnreachable
    """
    found: list[tuple[bytes, bytes]] = []
    after = bytes(32)
    while True:
        page = await follower.remote.slots(contract, root, after)
        found += ((slot.tag, slot.value) for slot in page.slots)
        if page.last:
            return found
        if not page.slots or page.slots[-1].tag <= after:
            raise ProofInvalid("slots that do not go on")
        after = page.slots[-1].tag


async def batch(follower: Follower, contract: ContractId, index: int) -> ProvenBatch:
    """Return the proven batch that begins with the inbox entry `index`, with the bytes of its entries.

    Raises:
        ProofInvalid: no batch begins there.
        ChainRefused, NodeUnreachable
    """
    path = batch_path(contract, index)
    raw = (await follower.prove([path]))[path]
    if raw is None:
        raise ProofInvalid("no batch begins there now")
    proven = decode(raw, Batch)
    header = await follower.header(proven.height)
    raws: dict[bytes, bytes] = {}
    unsigned = {letter - index for letter in proven.letters}
    calls = [entry for position, entry in enumerate(proven.entries) if position not in unsigned]
    for at in range(0, len(calls), _TRANSACTIONS):
        raws |= await follower.transactions(calls[at : at + _TRANSACTIONS])
    if proven.letters:
        raws |= await _letters(follower, contract, proven)
    return ProvenBatch(index, proven, Ordering(Height(proven.height), header.hash(), header.time_ns), raws)


async def _letters(follower: Follower, contract: ContractId, proven: Batch) -> dict[bytes, bytes]:
    """Return the entries that no account signed and that still wait, by id; the id fixes the bytes."""
    found: dict[bytes, bytes] = {}
    paths = [letter_path(contract, index) for index in proven.letters]
    for at in range(0, len(paths), _TRANSACTIONS):
        values = (await follower.prove(paths[at : at + _TRANSACTIONS])).values
        raws = [encode(decode(raw, LetterRecord).entry) for raw in values.values() if raw is not None]
        found |= {id_of(raw): raw for raw in raws}
    return found
