"""G8, on real workers: three of a quorum of two say the same, and the one whose execution lies is named and leaves."""

from __future__ import annotations

import time

import worker_story
from msgspec.structs import replace
from worker_story import ALICE, BOB, Story, story

from keephold.contract.address import Address
from keephold.protocol.contracts import ContractPolicy
from keephold.protocol.offences import Dissents, dissents_path
from keephold.worker.lane import Lane

guest = worker_story.guest


def named(it: Story) -> dict[bytes, Dissents]:
    """Every worker that was ever outvoted."""
    reader = it.net.node.reader
    found = {
        worker._session.identity: reader.record(dissents_path(worker._session.identity), Dissents)
        for worker in it.workers
    }
    return {identity: record for identity, record in found.items() if record is not None}


def test_honest_workers_are_never_named_and_a_lying_one_is(guest, tmp_path, monkeypatch) -> None:
    async def tell(it: Story) -> None:
        await it.start(workers=3)
        await it.net.until(lambda: all(worker._session.registrar.is_live for worker in it.workers))
        contract = await it.deploy(policy=ContractPolicy(workers=3, quorum=2))
        await it.net.until(lambda: all(contract in worker.contracts for worker in it.workers))
        await it.call(contract, ALICE, "setup", "GLD", "1000")
        for _ in range(6):
            await it.call(contract, ALICE, "transfer", Address.account(BOB.public).text, "1")
        await it.consumed(contract)
        assert named(it) == {}
        # (1) One enclave is broken: its executions end in something else. Now and then it speaks in time.
        liar, *others = it.workers
        broken = liar._hosted[contract]._calls
        honest_execute = Lane.execute

        def execute(self, calls, store):
            outcomes = list(honest_execute(self, calls, store))
            if self is broken:
                return [replace(outcome, writes={}) for outcome in outcomes]
            time.sleep(0.2)  # so that the liar, mostly, does not come too late to count
            return outcomes

        monkeypatch.setattr(Lane, "execute", execute)
        identity = liar._session.identity
        for _ in range(200):
            await it.call(contract, ALICE, "transfer", Address.account(BOB.public).text, "1")
            await it.consumed(contract)
            if named(it):
                break
        # (2) As soon as it spoke in time it is named, alone, and it runs the contract no more.
        assert set(named(it)) == {identity}
        (dissent,) = named(it)[identity].newest
        assert (dissent.contract, dissent.kind) == (contract, "result")
        record = it.record(contract)
        assert (record.suspended, set(record.workers)) == (
            (identity,),
            {worker._session.identity for worker in others},
        )
        # (3) The others go on, on the state that they agreed upon.
        await it.call(contract, ALICE, "transfer", Address.account(BOB.public).text, "1")
        await it.consumed(contract)

    story(guest, tmp_path, tell)
