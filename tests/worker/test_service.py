"""A real worker, gatekeepers and ledger in one process: contracts run, questions are answered, keys end in time."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from contextlib import suppress

import pytest
from msgspec.structs import replace
from worker_story import ALICE, BOB, TOKEN, Story, story

from keephold.base.errors import KeepholdError, LedgerRefused, NotFresh, SealBroken, Superseded
from keephold.base.ids import HeaderHash, Height
from keephold.client.source import code_from_source
from keephold.contract.address import Address
from keephold.protocol.contracts import ContractPolicy
from keephold.protocol.state import committee_path
from keephold.testing.clock import LeapingClock
from keephold.testing.local import PATIENCE_SECONDS
from keephold.worker.inbox import Ordering
from keephold.worker.queries import EVENT_KEY
from keephold.worker.service import Worker

WINDOW_SECONDS = 60
LEASE_SECONDS = 3600


def test_a_contract_is_keyed_called_and_asked_without_a_listening_socket(guest, tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise AssertionError("a worker listens on nothing, of any family")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    monkeypatch.setattr(socket.socket, "listen", refuse)

    async def tell(it: Story) -> None:
        worker = await it.start()
        contract = await it.deploy()
        await it.call(contract, ALICE, "setup", "GLD", "1000")
        await it.call(contract, ALICE, "transfer", Address.account(BOB.public).text, "30")
        await it.consumed(contract)
        await it.net.until(lambda: worker._session.freshness.is_fresh(worker._session.clock.monotonic()))
        answer = await it.ask(contract, worker, min_height=it.net.node.application.map.newest.height)
        assert json.loads(answer.reply.value) in (30, "30")
        assert answer.version == it.record(contract).version
        # A state not reached yet is waited for, or proven on the spot.
        await it.call(contract, ALICE, "transfer", Address.account(BOB.public).text, "0")
        recent = await it.ask(contract, worker, min_height=it.net.node.application.map.newest.height)
        assert recent.height >= answer.height
        # The event key that every contract tells its reader.
        key = await it.ask(contract, worker, method=EVENT_KEY)
        assert len(json.loads(key.reply.value)) == 64
        assert (await it.ask(contract, worker, method=EVENT_KEY, key=ALICE)).reply != key.reply
        assert (await it.ask(contract, worker, method="nothing")).reply.code == "unknown_method"
        # Over the gateway, many at once.
        envelopes = [it.question(contract, worker) for _ in range(32)]
        answers = await asyncio.gather(*(it.gateway.hub.ask(envelope, PATIENCE_SECONDS) for envelope in envelopes))
        for envelope, sealed in zip(envelopes, answers, strict=True):
            assert it.opened(contract, envelope, sealed).reply == answer.reply
        # What is not a proper question to this instance gets nothing but one word.
        for wrong in ({"instance": b"j" * 32}, {"signer": ALICE}, {"epoch": 2}, {"network": b"x" * 32}):
            envelope = it.question(contract, worker, **wrong)
            with pytest.raises(KeepholdError):
                await worker.answer(envelope, worker._session.instance.id)
        bad = replace(it.question(contract, worker), sealed=b"noise")
        assert (await it.gateway.hub.ask(bad, PATIENCE_SECONDS)).unavailable == "no_live_worker"
        with pytest.raises(SealBroken):
            it.opened(contract, envelopes[0], answers[1])

    story(guest, tmp_path, tell)


def test_two_workers_of_a_quorum_agree_on_every_byte(guest, tmp_path):
    async def tell(it: Story) -> None:
        await it.start(workers=2)
        await it.net.until(lambda: all(worker._session.registrar.is_live for worker in it.workers))
        contract = await it.deploy(policy=ContractPolicy(workers=2, quorum=2))
        assert len(it.record(contract).workers) == 2
        await it.call(contract, ALICE, "setup", "GLD", "1000")
        for _ in range(5):
            await it.call(contract, ALICE, "transfer", Address.account(BOB.public).text, "1")
        await it.consumed(contract)
        for worker in it.workers:
            session = worker._session
            await it.net.until(lambda session=session: session.freshness.is_fresh(session.clock.monotonic()))
            head = it.net.node.application.map.newest.height
            assert b"5" in (await it.ask(contract, worker, min_height=head)).reply.value
            assert worker._hosted[contract].core.lost_track == 0

    story(guest, tmp_path, tell)


def test_a_contract_assigned_on_an_idle_chain_is_looked_at_at_once(guest, tmp_path, monkeypatch):
    """The roster came with a block; the contract's own record comes with the next one, which may take seconds."""
    # As on a chain that makes none: neither the stream nor an echo brings the record.
    monkeypatch.setattr(Worker, "_paths", lambda self: (self._roster, committee_path()))

    async def tell(it: Story) -> None:
        worker = await it.start()
        contract = await it.deploy()
        hosted = worker._hosted[contract]
        assert hosted.core.proven is not None
        # What the stream brings of a height that a proof passed takes nothing away.
        worker._learn({worker._roster: None}, Ordering(Height(1), HeaderHash(bytes(32)), 1))
        assert worker._hosted[contract] is hosted

    story(guest, tmp_path, tell)


def test_code_that_does_not_load_is_refused_on_the_ledger(guest, tmp_path):
    async def tell(it: Story) -> None:
        await it.start()
        code = code_from_source(TOKEN)
        contract = await it.deploy(replace(code, source=code.source + b"\nimport socket\n"), phase="refused")
        assert it.record(contract).refusal
        other = replace(code, abi=code.abi.replace(b'"Token"', b'"Gold"'))
        assert it.record(await it.deploy(other, phase="refused")).refusal

    story(guest, tmp_path, tell)


def test_a_successor_under_the_same_identity_ends_the_worker_and_its_keys(guest, tmp_path):
    async def tell(it: Story) -> None:
        worker = await it.start()
        contract = await it.deploy()
        await it.call(contract, ALICE, "setup", "GLD", "1000")
        await it.consumed(contract)
        hosted = worker._hosted[contract]
        pid = hosted._calls._process.pid
        it.net._tasks.remove(it.tasks[0])
        successor = it.worker("w0")
        it.net.run(successor.run())
        with pytest.raises(Superseded):
            await asyncio.wait_for(it.tasks[0], PATIENCE_SECONDS)
        assert worker.contracts == ()
        assert hosted.core.readable() is None
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        # The successor has the keys released to it anew, and goes on.
        await it.net.until(lambda: contract in successor.contracts)
        await it.call(contract, ALICE, "transfer", Address.account(BOB.public).text, "1")
        await it.consumed(contract)

    story(guest, tmp_path, tell)


def test_a_worker_that_hears_no_echo_falls_silent(guest, tmp_path):
    async def tell(it: Story) -> None:
        worker = await it.start()
        contract = await it.deploy()
        session = worker._session
        await it.net.until(lambda: session.freshness.is_fresh(session.clock.monotonic()))
        await it.ask(contract, worker)
        envelope = it.question(contract, worker)
        it.net.kill_node()
        clock.turn(WINDOW_SECONDS)
        with pytest.raises(NotFresh):
            await worker.answer(envelope, session.instance.id)
        it.net.start()

    clock = LeapingClock()
    story(guest, tmp_path, tell, freshness_s=WINDOW_SECONDS, clock=clock)


def test_attesting_again_keeps_contracts_running(guest, tmp_path):
    async def tell(it: Story) -> None:
        worker = await it.start()
        contract = await it.deploy()
        await it.call(contract, ALICE, "setup", "GLD", "1000")
        first = worker._session.instance.id
        clock.turn(LEASE_SECONDS // 2)
        await it.net.until(lambda: worker._session.instance.id != first)
        await it.call(contract, ALICE, "transfer", Address.account(BOB.public).text, "1")
        await it.consumed(contract)
        # The line to the gateway was renewed too; what was asked of the instance before is not answered.
        renewed = worker._session.instance.id
        await it.net.until(lambda: renewed in it.gateway.hub._lines)
        await it.net.until(lambda: worker._session.freshness.is_fresh(worker._session.clock.monotonic()))
        envelope = it.question(contract, worker, instance=renewed)
        assert it.opened(contract, envelope, await it.gateway.hub.ask(envelope, PATIENCE_SECONDS)).reply.outcome == "ok"
        with pytest.raises(KeepholdError):
            await worker.answer(it.question(contract, worker, instance=first), renewed)

    clock = LeapingClock()
    story(guest, tmp_path, tell, lease_s=LEASE_SECONDS, freshness_s=LEASE_SECONDS, clock=clock)


def test_a_lapsed_lease_ends_the_worker(guest, tmp_path):
    async def tell(it: Story) -> None:
        worker = await it.start()
        await it.deploy()
        it.net._tasks.remove(it.tasks[0])
        it.net.kill_node()
        clock.turn(LEASE_SECONDS)
        it.net.start()
        with pytest.raises(LedgerRefused, match="lease_lapsed"):
            await asyncio.wait_for(it.tasks[0], PATIENCE_SECONDS)
        assert worker.contracts == ()

    clock = LeapingClock()
    story(guest, tmp_path, tell, lease_s=LEASE_SECONDS, clock=clock)


def test_a_killed_execution_process_is_replaced(guest, tmp_path):
    async def tell(it: Story) -> None:
        worker = await it.start()
        contract = await it.deploy()
        hosted = worker._hosted[contract]
        await it.call(contract, ALICE, "setup", "GLD", "1000")
        await it.consumed(contract)
        for _ in range(2):
            hosted._calls._process._process.kill()
            await it.call(contract, ALICE, "transfer", Address.account(BOB.public).text, "1")
            await it.consumed(contract)
        session = worker._session
        await it.net.until(lambda: session.freshness.is_fresh(session.clock.monotonic()))
        head = it.net.node.application.map.newest.height
        assert b"2" in (await it.ask(contract, worker, min_height=head)).reply.value
        hosted._questions._process._process.kill()
        with suppress(KeepholdError):
            await it.ask(contract, worker)
        assert b"2" in (await it.ask(contract, worker)).reply.value

    story(guest, tmp_path, tell)
