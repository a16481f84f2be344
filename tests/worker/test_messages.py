"""Messages between contracts, on a real worker, gatekeepers and ledger in one process."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from worker_story import ALICE, BOB, Story, story

from keephold.base.ids import ContractId
from keephold.client.source import code_from_source
from keephold.contract.address import Address
from keephold.protocol.channel import Channel
from keephold.protocol.contracts import ContractPolicy
from keephold.protocol.state import channel_path
from keephold.protocol.transactions import Rotate

ESCROW = Path(__file__).parents[2] / "examples" / "escrow"
COIN, DEALS = (code_from_source((ESCROW / f"{name}.py").read_text()) for name in ("coin", "escrow"))


def text(account) -> str:
    return Address.account(account.public).text


async def set_up(it: Story, policy: ContractPolicy | None = None) -> tuple[ContractId, ContractId]:
    """Deploy a coin and an escrow; alice holds 1000, and allowed the escrow 300."""
    coin = await it.deploy(COIN, policy)
    escrow = await it.deploy(DEALS, policy)
    await it.call(coin, ALICE, "setup", "1000")
    await it.call(escrow, ALICE, "setup", Address.contract(coin).text)
    await it.call(coin, ALICE, "allow", Address.contract(escrow).text, "300")
    return coin, escrow


async def settled(it: Story, *contracts: ContractId) -> None:
    def is_done() -> bool:
        return all(it.record(contract).done == it.record(contract).inbox_count for contract in contracts)

    await it.net.until(is_done)


async def balance(it: Story, coin: ContractId, account) -> int:
    worker = it.workers[0]
    await it.net.until(lambda: worker._session.freshness.is_fresh(worker._session.clock.monotonic()))
    head = it.net.node.application.map.newest.height
    answer = await it.ask(coin, worker, key=account, min_height=head)
    return int(json.loads(answer.reply.value))


def test_an_escrow_is_paid_in_a_coin(guest, tmp_path):
    async def tell(it: Story) -> None:
        await it.start()
        coin, escrow = await set_up(it)
        await it.call(escrow, ALICE, "fund", text(BOB), "300")
        await settled(it, coin, escrow)
        assert await balance(it, coin, ALICE) == 700
        await it.call(escrow, ALICE, "accept", 1)
        await settled(it, coin, escrow)
        assert await balance(it, coin, BOB) == 300
        # Three entries of alice's and two answers; three of hers and two messages.
        assert it.record(escrow).inbox_count == 5
        assert it.record(coin).inbox_count == 4
        assert it.net.node.reader.record(channel_path(escrow, coin), Channel) is None

    story(guest, tmp_path, tell)


def test_workers_of_a_quorum_send_and_answer_the_same_bytes(guest, tmp_path):
    async def tell(it: Story) -> None:
        await it.start(workers=2)
        await it.net.until(lambda: all(worker._session.registrar.is_live for worker in it.workers))
        coin, escrow = await set_up(it, ContractPolicy(workers=2, quorum=2))
        await it.call(escrow, ALICE, "fund", text(BOB), "300")
        await settled(it, coin, escrow)
        assert await balance(it, coin, ALICE) == 700

    story(guest, tmp_path, tell)


def test_rotation_of_both_ends_loses_no_message_and_no_answer(guest, tmp_path):
    async def tell(it: Story) -> None:
        await it.start()
        coin, escrow = await set_up(it)
        await settled(it, coin, escrow)
        await it.net.cancel(it.tasks[0])
        # Ordered under the first epochs, executed when both end; the message arrives at a contract of the second.
        await it.call(escrow, ALICE, "fund", text(BOB), "300")
        for contract in (coin, escrow):
            it.net.send(ALICE, Rotate(contract))
            await it.net.until(lambda contract=contract: it.record(contract).phase == "rotating")
        it.workers[0] = it.worker("w0")
        it.net.run(it.workers[0].run())
        await it.net.until(lambda: it.record(coin).epoch == it.record(escrow).epoch == 2)
        await it.net.until(lambda: it.record(escrow).inbox_count == 3)
        await settled(it, coin, escrow)
        assert await balance(it, coin, ALICE) == 700
        # And on under the second.
        await it.call(escrow, ALICE, "accept", 1)
        await it.net.until(lambda: it.record(escrow).inbox_count == 5)
        await settled(it, coin, escrow)
        assert await balance(it, coin, BOB) == 300
        assert it.net.node.reader.record(channel_path(escrow, coin), Channel) is None

    story(guest, tmp_path, tell)


def test_a_worker_that_dies_again_and_again_neither_loses_nor_doubles_a_message(guest, tmp_path):
    async def tell(it: Story) -> None:
        await it.start()
        coin, escrow = await set_up(it)
        task = it.tasks[0]
        for amount in range(1, 5):
            await it.call(escrow, ALICE, "fund", text(BOB), str(amount))
            # Anywhere between the call, its result, the message, its answer, and what comes of that.
            await asyncio.sleep(0.03 * amount)
            await it.net.cancel(task)
            it.workers[0] = it.worker("w0")
            task = it.net.run(it.workers[0].run())
        await it.net.until(lambda: it.record(coin).inbox_count == 2 + 4)
        await it.net.until(lambda: it.record(escrow).inbox_count == 1 + 4 + 4)
        await settled(it, coin, escrow)
        assert await balance(it, coin, ALICE) == 1000 - (1 + 2 + 3 + 4)

    story(guest, tmp_path, tell)


PING = """
from keephold import Address, Call, Contract, Done, Failed, Interface, Message, Outcome, Reject, View
from keephold import call, message, reply, view

class Peer(Interface):
    def ping(self, to: Address) -> Message[int]:
        raise NotImplementedError

class Ping(Contract):
    pings: int = 0
    ended: str = ""

    @call
    def ping(self, ctx: Call, to: Address) -> int:
        self.pings += 1
        try:
            ctx.send(Peer.at(to).ping(ctx.contract), reply=self.on_pong)
        except Reject as e:
            self.ended = e.code
        return self.pings

    @call
    def knock(self, ctx: Call, at: Address, method: str) -> None:
        ctx.send(message(at, method, 1), reply=self.on_pong)

    @reply
    def on_pong(self, ctx: Call, outcome: Outcome[int]) -> None:
        match outcome:
            case Done(_, value):
                self.ended = f"done {value}"
            case Failed(_, reason):
                self.ended = reason
            case _:
                self.ended = outcome.code

    @view
    def balance(self, ctx: View) -> tuple[int, str]:
        return self.pings, self.ended
"""


def test_a_storm_ends_by_itself_and_others_are_served_meanwhile(guest, tmp_path):
    async def tell(it: Story) -> None:
        worker = await it.start()
        code = code_from_source(PING)
        one, other, bystander = [await it.deploy(code) for _ in range(3)]
        await it.call(one, ALICE, "ping", Address.contract(other).text)
        await it.call(bystander, BOB, "knock", Address.contract(b"n" * 32).text, "ping")
        await it.net.until(lambda: it.record(bystander).done == 2)
        await it.net.until(lambda: worker._session.freshness.is_fresh(worker._session.clock.monotonic()))
        head = it.net.node.application.map.newest.height
        assert json.loads((await it.ask(bystander, worker, min_height=head)).reply.value) == [0, "unknown_contract"]
        await settled(it, one, other)
        entries = it.record(one).inbox_count + it.record(other).inbox_count
        assert 10 < entries <= 65
        # A method that nobody has, and one that is a handler: both are refused over there, in the same words.
        for method in ("nothing", "on_pong"):
            await it.call(bystander, ALICE, "knock", Address.contract(one).text, method)
            await settled(it, one, bystander)
            head = it.net.node.application.map.newest.height
            told = json.loads((await it.ask(bystander, worker, min_height=head)).reply.value)
            assert told == [0, "unknown_method"]

    story(guest, tmp_path, tell)
