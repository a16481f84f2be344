"""Governance from the outside: propose what may be enacted, sign it key by key, put it on the ledger.

A proposal is made against the law that this client verified from the pinned genesis, and judged by the rules that the
ledger will judge it by, before anybody signs. It travels between the holders of governance keys as a file; whoever
signs is shown what it says, decoded from the bytes that he signs. Anybody may submit it then: the ledger looks at the
endorsements, not at the sender.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Final

from keephold.base.errors import InputError, LedgerRefused
from keephold.client.account import Account
from keephold.client.connection import Connection
from keephold.client.patience import within
from keephold.crypto.signing import SigningKey
from keephold.follower.law import Law
from keephold.protocol.codec import decode, encode
from keephold.protocol.governance import (
    Action,
    Constitution,
    GovernanceRecord,
    Proposal,
    SetValidators,
    SignedProposal,
    ValidatorEntry,
    amended,
    check_constitution,
    check_proposal,
    sign_proposal,
)
from keephold.protocol.state import governance_path
from keephold.protocol.transactions import Govern

_FOR_EVER: Final = 1 << 62


async def propose(connection: Connection, action: Action) -> SignedProposal:
    """Return the next proposal, without endorsements.

    Raises:
        LedgerRefused: the law that it leads to cannot be lived under.
        ChainRefused, NodeUnreachable
    """
    law = await connection.follower.law()
    check_constitution(amended(_eventual(law), action))
    return SignedProposal(Proposal(connection.network, law.record.count + 1, action), ())


async def change_validators(connection: Connection, powers: dict[bytes, int]) -> SignedProposal:
    """Return the proposal that sets the powers of some validators and leaves the others; power 0 takes one off.

    Raises:
        InputError: it takes off who is none, or changes nothing.
        As `propose`.
    """
    present = {entry.public_key: entry.power for entry in _eventual(await connection.follower.law()).validators}
    for key, power in powers.items():
        if power == 0 and key not in present:
            raise InputError(f"{key.hex()} is no validator")
    wanted = {key: power for key, power in {**present, **powers}.items() if power}
    if wanted == present:
        raise InputError("that changes no validator")
    return await propose(
        connection, SetValidators(tuple(ValidatorEntry(key, power) for key, power in sorted(wanted.items())))
    )


def endorse(signed: SignedProposal, key: SigningKey) -> SignedProposal:
    """Return the proposal with one endorsement more; a second one by the same key replaces the first."""
    others = tuple(item for item in signed.endorsements if item.key != key.public)
    endorsements = tuple(sorted((*others, sign_proposal(signed.proposal, key)), key=lambda item: item.key))
    return SignedProposal(signed.proposal, endorsements)


async def enact(connection: Connection, account: Account, signed: SignedProposal, deadline: float) -> int:
    """Put a proposal on the ledger as `account`; return the height whose proven state has it.

    Raises:
        LedgerRefused: reason `governance`: what is missing, or that another one was enacted first.
        TimeoutError: not enacted after `deadline` seconds.
        ChainRefused, NodeUnreachable
    """
    follower = connection.follower
    async with within(asyncio.get_running_loop().time() + deadline):
        law = await follower.law()
        check_proposal(signed, law.at(follower.view.time_ns), connection.network, law.record.count + 1)
        await connection.admit(account)
        flight = connection.send(account.key, lambda _: Govern(signed))
        async with aclosing(connection.values(governance_path(), unless=flight)) as values:
            async for raw in values:
                record = GovernanceRecord() if raw is None else decode(raw, GovernanceRecord)
                if record.count >= signed.proposal.sequence:
                    break
        connection.settle(flight)
        entries = (await follower.law()).entries
        if encode(entries[signed.proposal.sequence - 1].signed) != encode(signed):
            raise LedgerRefused("governance", "another action took this one's number")
        return follower.view.height


def _eventual(law: Law) -> Constitution:
    """The law once everything that was enacted is in force: what the next action is meant to amend."""
    return law.at(_FOR_EVER)
