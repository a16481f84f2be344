"""Messages between contracts, on a real worker, gatekeepers and ledger in one process."""

from __future__ import annotations

import json
from pathlib import Path

from worker_story import ALICE, BOB, Story, story

from keephold.base.ids import ContractId
from keephold.client.source import code_from_source
from keephold.contract.address import Address
from keephold.protocol.channel import Channel
from keephold.protocol.contracts import ContractPolicy
from keephold.protocol.state import channel_path

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

    await it.net.until(is_done, 30)


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
