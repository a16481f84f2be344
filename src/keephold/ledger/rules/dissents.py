"""Dissents: a worker whose vote a quorum outvoted is named under the root, and suspended from that contract.

A result is deterministic, so two honest workers say the same of it, byte for byte. Which of two that differ is wrong no
rule can see, for what they say is sealed; but the quorum that the contract's creator asked for is what he takes for the
truth, and who signed something else lies, is broken, or has a host who killed its executions. It is what a worker is
that publishes a key of its own on a contract that runs (`keys`), and the same follows: it never runs this contract
again, and another takes its place. Its key epoch does not end by itself: docs/adr/0016 says why.

Votes count until the quorum is reached. Who speaks later is refused, whatever he says, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from msgspec.structs import replace

from keephold.base.ids import ContractId, PublicKey
from keephold.base.limits import MAX_DISSENTS
from keephold.ledger.overlay import Overlay
from keephold.ledger.rules.assignments import assign, dismiss
from keephold.ledger.rules.context import BlockContext
from keephold.protocol.offences import Dissent, Dissents, dissents_path
from keephold.protocol.state import ContractRecord, Vote, contract_path


def name(
    state: Overlay,
    block: BlockContext,
    contract: ContractId,
    kind: Literal["result", "migration"],
    outvoted: Sequence[Vote],
    *,
    accepted: bytes,
) -> None:
    """Record who was outvoted, and suspend him; `accepted` is the id of the vote that completed the quorum.

    Call it once the result happened: the quorum that made it stays assigned.
    """
    record = state.find(contract_path(contract), ContractRecord)
    if record is None or not outvoted:
        return
    for vote in outvoted:
        dissent = Dissent(
            contract=contract,
            kind=kind,
            version=record.version - 1,
            vote=vote.backing.transaction,
            registration=vote.backing.registration,
            accepted=accepted,
            height=block.height,
        )
        path = dissents_path(PublicKey(vote.worker))
        before = state.get(path, Dissents())
        state.put(path, Dissents(before.count + 1, (*before.newest, dissent)[-MAX_DISSENTS:]))
        record = replace(dismiss(state, contract, record, vote.worker), suspended=(*record.suspended, vote.worker))
    assign(state, block, contract, record)
