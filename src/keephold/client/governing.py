"""Governance from the outside: propose what may be enacted, sign it key by key, put it on the ledger.

A proposal is made against the law that this client verified from the pinned genesis, and judged by the rules that the
ledger will judge it by, before anybody signs. It travels between the holders of governance keys as a file; whoever
signs is shown what it says, decoded from the bytes that he signs, beside the law that it amends (`law_words`). Anybody
may submit it then: the ledger looks at the endorsements, not at the sender.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, final

from keephold.base.errors import CryptoError, InputError, LedgerRefused
from keephold.client.account import Account
from keephold.client.connection import Connection
from keephold.client.law_words import changes
from keephold.client.patience import within
from keephold.crypto import signing
from keephold.crypto.labels import SIGN_GOVERNANCE
from keephold.crypto.signing import SigningKey
from keephold.follower.law import Law, verify_history
from keephold.protocol.amendments import Settled, ordered, replay, settled
from keephold.protocol.codec import Record, decode, encode
from keephold.protocol.genesis import Genesis, network_id
from keephold.protocol.governance import (
    Action,
    CancelProposal,
    Constitution,
    Enacted,
    GovernanceRecord,
    Proposal,
    SignedProposal,
    Waiting,
    amended,
    check_constitution,
    check_proposal,
    digest_of,
    sign_proposal,
)
from keephold.protocol.refusals import Refusal
from keephold.protocol.state import governance_path
from keephold.protocol.transactions import Govern

_FOR_EVER: Final = 1 << 62


class Draft(Record):
    """A proposal as it travels between the holders of governance keys.

    With it goes the history that it amends, so that who signs on a machine without network sees what changes. The
    history is verified from the genesis that his machine pins; what it cannot prove is that no later one exists. It
    need not: it has exactly one action fewer than the proposal's number, and the ledger takes that number once.
    """

    signed: SignedProposal
    history: tuple[Enacted, ...]
    """Every action before this one."""


@final
@dataclass(frozen=True, slots=True)
class Reading:
    """A draft judged by the rules that the ledger will judge it by; made by `read`."""

    draft: Draft
    before: Constitution
    """The law that it amends: all of its history in force."""
    after: Constitution
    governors: frozenset[bytes]
    """Keys whose endorsement may count: of the law now, or of the one that is pending."""
    cancels: tuple[int, ...] = ()
    """Numbers of the proposals that it takes back."""


def read(genesis: Genesis, draft: Draft) -> Reading:
    """Return what a draft changes; nothing is asked of anybody.

    Raises:
        LedgerRefused: reason `governance`: another network, another number than its history leads to, a history that
            governance did not sign, a law that cannot be lived under, or an endorsement that does not count.
        InputError: it changes nothing.
    """
    proposal = draft.signed.proposal
    # (1) For this network, and the next action after the history that it is shown with.
    if proposal.network != network_id(genesis):
        raise LedgerRefused(Refusal.GOVERNANCE.word, "another network")
    if proposal.sequence != len(draft.history) + 1:
        raise LedgerRefused(Refusal.GOVERNANCE.word, f"number {proposal.sequence} after {len(draft.history)} actions")
    # (2) Governance signed each action of that history.
    law = verify_history(genesis, draft.history)
    newest_ns = draft.history[-1].enacted_ns if draft.history else genesis.time_ns
    now = law.standing(newest_ns)
    before = _eventual(law)
    # (3) The law that it leads to is another one, and can be lived under.
    left = _left(now, Enacted(draft.signed, newest_ns))
    cancels = tuple(item.proposal.sequence for item in now.waiting if item not in left)
    after = settled(now.law, left, _FOR_EVER).law if cancels else amended(before, proposal.action)
    if after == before:
        raise InputError("that changes nothing")
    check_constitution(after)
    # (4) Each endorsement that it came with is one: nobody signs because others seem to have signed.
    governors = frozenset({*now.law.governance.keys, *before.governance.keys})
    for item in draft.signed.endorsements:
        if item.key not in governors:
            raise LedgerRefused(Refusal.GOVERNANCE.word, "not a governance key")
        try:
            signing.verify(item.key, item.signature, SIGN_GOVERNANCE, encode(proposal))
        except CryptoError as error:
            raise LedgerRefused(Refusal.GOVERNANCE.word, "an endorsement does not verify") from error
    return Reading(draft, before, after, governors, cancels)


@final
@dataclass(frozen=True, slots=True)
class Enactment:
    """One action that the ledger ordered."""

    sequence: int
    changes: tuple[str, ...]
    """In sentences, against the law that it amended; empty for one that changed nothing."""
    enacted_ns: int
    effective_ns: int | None
    """None: it was cancelled before it took effect."""
    signers: tuple[bytes, ...]


@final
@dataclass(frozen=True, slots=True)
class Standing:
    """The law as it stands, verified from the genesis."""

    time_ns: int
    """Of the newest block."""
    law: Constitution
    """In force then."""
    history: tuple[Enactment, ...]

    @property
    def pending(self) -> tuple[Enactment, ...]:
        """What was ordered and is not in force yet."""
        return tuple(item for item in self.history if (item.effective_ns or 0) > self.time_ns)


@final
@dataclass(frozen=True, slots=True)
class Enacting:
    """What became of a proposal."""

    height: int
    """Whose proven state has it."""
    effective_ns: int | None
    """Block time from which it is law; None if it was cancelled meanwhile."""


def history(law: Law) -> tuple[Enactment, ...]:
    """Return every action with what it changed and when it holds."""
    before = law.genesis.law
    found = []
    for place, (entry, effective_ns) in enumerate(zip(law.entries, law.effective_times(), strict=True), start=1):
        proposal = entry.signed.proposal
        after = replay(law.genesis.law, law.entries[:place], _FOR_EVER).law
        signers = tuple(item.key for item in entry.signed.endorsements)
        found.append(Enactment(proposal.sequence, changes(before, after), entry.enacted_ns, effective_ns, signers))
        before = after
    return tuple(found)


async def standing(connection: Connection) -> Standing:
    """Return the law as it stands.

    Raises:
        ChainRefused, NodeUnreachable
    """
    law = await connection.follower.law()
    now_ns = connection.follower.view.time_ns
    return Standing(now_ns, law.at(now_ns), history(law))


async def propose(connection: Connection, amend: Callable[[Constitution], Action]) -> Reading:
    """Return the next proposal, without endorsements: what `amend` makes of the law, everything pending in force.

    Raises:
        LedgerRefused: the law that it leads to cannot be lived under.
        InputError: it changes nothing.
        ChainRefused, NodeUnreachable
    """
    law = await connection.follower.law()
    return _drafted(connection, law, amend(_eventual(law)))


async def propose_cancellation(connection: Connection, sequence: int) -> Reading:
    """Return the next proposal, without endorsements: to take back the one of this number, and those behind it.

    Raises:
        InputError: none of this number waits for its delay.
        ChainRefused, NodeUnreachable
    """
    law = await connection.follower.law()
    waiting = {item.proposal.sequence: item.proposal for item in law.standing(connection.follower.view.time_ns).waiting}
    if sequence not in waiting:
        there = ", ".join(map(str, waiting)) or "none"
        raise InputError(f"proposal {sequence} does not wait for its delay (of those that do: {there})")
    return _drafted(connection, law, CancelProposal(digest_of(waiting[sequence])))


def _drafted(connection: Connection, law: Law, action: Action) -> Reading:
    signed = SignedProposal(Proposal(connection.network, law.record.count + 1, action), ())
    return read(connection.genesis, Draft(signed, law.entries))


def endorse(reading: Reading, key: SigningKey) -> Reading:
    """Return the draft with one endorsement more; a second one by the same key replaces the first.

    Raises:
        InputError: this key is not one of governance, so its endorsement would have the ledger refuse the whole.
    """
    if key.public not in reading.governors:
        raise InputError("this account holds no governance key of the law")
    signed = reading.draft.signed
    others = tuple(item for item in signed.endorsements if item.key != key.public)
    endorsements = tuple(sorted((*others, sign_proposal(signed.proposal, key)), key=lambda item: item.key))
    return replace(reading, draft=Draft(SignedProposal(signed.proposal, endorsements), reading.draft.history))


async def enact(connection: Connection, account: Account, signed: SignedProposal, deadline: float) -> Enacting:
    """Put a proposal on the ledger as `account`; return once a proven state has it.

    Raises:
        LedgerRefused: reason `governance`: what is missing, or that another one was enacted first.
        TimeoutError: not enacted after `deadline` seconds.
        ChainRefused, NodeUnreachable
    """
    follower = connection.follower
    async with within(asyncio.get_running_loop().time() + deadline):
        law = await follower.law()
        now = law.standing(follower.view.time_ns)
        check_proposal(signed, now.law, now.waiting, connection.network, law.record.count + 1)

        def is_counted(raw: bytes | None) -> bool:
            record = GovernanceRecord() if raw is None else decode(raw, GovernanceRecord)
            return record.count >= signed.proposal.sequence

        await connection.effect(await connection.transact(account, Govern(signed)), governance_path(), is_counted)
        law, place = await follower.law(), signed.proposal.sequence - 1
        if encode(law.entries[place].signed) != encode(signed):
            raise LedgerRefused("governance", "another action took this one's number")
        return Enacting(follower.view.height, law.effective_times()[place])


def _left(now: Settled, entry: Enacted) -> tuple[Waiting, ...]:
    """What waits still once an entry is ordered, of what waited before it.

    Raises:
        LedgerRefused: reason `governance`: what it would cancel does not wait.
    """
    action = entry.signed.proposal.action
    if not isinstance(action, CancelProposal):
        return now.waiting
    if action.proposal not in [digest_of(item.proposal) for item in now.waiting]:
        raise LedgerRefused(Refusal.GOVERNANCE.word, "nothing by that digest waits for its delay")
    return ordered(now.law, now.waiting, entry)


def _eventual(law: Law) -> Constitution:
    """The law once everything that was enacted is in force: what the next action is meant to amend."""
    return law.at(_FOR_EVER)
