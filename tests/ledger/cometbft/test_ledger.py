"""The real ledger under a played CometBFT: the same transactions lead where they lead under any engine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keephold.chain.chain_id import chain_id
from keephold.follower.view import VerifiedView
from keephold.ledger.application import LedgerApplication
from keephold.ledger.engines.base import Offence
from keephold.ledger.engines.cometbft.adapter import Founding
from keephold.ledger.engines.cometbft.messages import ACCEPT, REJECT
from keephold.ledger.reader import LedgerReader
from keephold.protocol.contracts import Code, ContractPolicy
from keephold.protocol.governance import ValidatorEntry
from keephold.protocol.transactions import Deploy, Echo, sign, transaction_id
from keephold.protocol.wire import Interest, TransactionsRequest
from keephold.testing.comet.dialer import make
from keephold.testing.comet.fake import CometStopped, Died


@dataclass
class Node:
    """A ledger and its engine; `reopen` starts both again from their disks."""

    desk: object
    bench: object
    keys: list

    def __post_init__(self) -> None:
        self.founding = Founding(
            chain_id(self.desk.network), self.desk.genesis.time_ns + 1, self.desk.application.validators()
        )
        self.open()

    def open(self) -> None:
        self.engine, self.comet = self.bench.open(self.desk.application, founding=self.founding, keys=self.keys)
        self.reader = LedgerReader(self.desk.application, self.engine)

    def reopen(self) -> None:
        self.bench.close()
        self.desk.reopen()
        self.open()

    def deploys(self, sender, first: int, count: int) -> list[bytes]:
        return [
            sign(self.desk.network, sender, nonce, Deploy(Code("python", b"%d" % nonce, "T", b"{}"), ContractPolicy()))
            for nonce in range(first, first + count)
        ]


@pytest.fixture
def node(make_desk, bench, keys) -> Iterator[Node]:
    desk = make_desk(validators=tuple(ValidatorEntry(key.public, 10) for key in keys))
    made = Node(desk, bench, keys)
    yield made
    bench.close()


def verified(node: Node) -> VerifiedView:
    view = VerifiedView(node.desk.genesis)
    watch = node.reader.watch(Interest())
    for height in range(1, node.engine.latest() + 1):
        view.accept(watch.frame(height))
    return view


def test_transactions_in_order_with_proofs_that_a_follower_accepts(node, new_key, wait):
    raws = node.deploys(new_key("alice"), 0, 5)
    assert [item.code for item in node.engine.submit(raws)] == [0] * 5
    node.comet.step()
    node.comet.step()
    wait(lambda: node.engine.latest() == 2)
    found = node.reader.transactions(TransactionsRequest(tuple(transaction_id(raw) for raw in raws))).found
    assert [(item.raw, item.height, item.index, item.result.code) for item in found] == [
        (raw, 1, at, 0) for at, raw in enumerate(raws)
    ]
    assert verified(node).height == 2


def test_a_gap_in_nonces_is_refused_at_the_door(node, new_key):
    first, second, third = node.deploys(new_key("alice"), 0, 3)
    assert [item.code == 0 for item in node.engine.submit([first, third, second])] == [True, False, True]


def test_what_a_quota_puts_off_waits_for_the_next_block(node, new_key):
    raws = node.deploys(new_key("alice"), 0, 100)
    node.engine.submit(raws)
    node.comet.step()
    assert len(node.comet.disk.transactions[0]) == 64
    assert len(node.comet.mempool) == 36, "each was checked again, after the block's own"
    node.comet.step()
    assert len(node.comet.disk.transactions[1]) == 36


@pytest.mark.parametrize("phase", ["stored", "finalized", "committed"])
def test_dying_in_a_block_is_played_again_to_the_same_state(node, new_key, wait, phase):
    node.engine.submit(node.deploys(new_key("alice"), 0, 3))
    node.comet.step()
    node.engine.submit(node.deploys(new_key("alice"), 3, 3))
    with pytest.raises(Died):
        node.comet.step(die=phase)
    node.reopen()
    assert node.desk.application.info().height == 2
    node.comet.step()
    wait(lambda: node.engine.latest() == 3)
    assert verified(node).height == 3


def test_a_lost_ledger_is_played_from_the_first_block(node, new_key, wait):
    for nonce in range(4):
        node.engine.submit(node.deploys(new_key("alice"), nonce, 1))
        node.comet.step()
    before = node.desk.root
    node.bench.close()
    node.desk.application.close()
    for path in node.desk.directory.glob("ledger.db*"):
        path.unlink()
    node.desk.application = LedgerApplication(node.desk.genesis, node.desk.directory)
    node.open()
    assert node.desk.root == before
    wait(lambda: node.engine.latest() == 4)
    assert verified(node).height == 4


def test_a_ledger_ahead_of_the_blocks_is_refused(node):
    node.comet.step()
    node.comet.step()
    node.bench.close()
    del node.comet.disk.blocks[1:]
    node.open()
    assert "the application is at 2" in str(node.engine.failure)


def test_a_second_ledger_of_the_same_blocks_agrees(node, make_desk, new_key):
    node.engine.submit(node.deploys(new_key("alice"), 0, 3))
    node.comet.step()
    node.comet.step()
    node.bench.close()
    twin = make_desk(validators=node.desk.genesis.law.validators)
    assert twin.network == node.desk.network
    node.bench.open(twin.application, founding=node.founding, keys=node.keys)
    assert (twin.height, twin.root) == (node.desk.height, node.desk.root)


def test_a_proposal_of_anything_but_open_transactions_each_once_is_rejected(node, new_key):
    dialer, (raw,) = node.comet.dialer("consensus"), node.desk.signed(new_key("alice"), Echo(b"n" * 32))
    assert dialer.call("process_proposal", txs=[raw], height=1).status == ACCEPT
    for proposal in ([raw, raw], [raw, b"x"], [raw[:-1] + bytes([raw[-1] ^ 1])], [bytes((1 << 20) + 1)]):
        assert dialer.call("process_proposal", txs=proposal, height=1).status == REJECT


def test_rubbish_in_a_block_has_a_code_and_stops_nobody(node):
    request = make("finalize_block", txs=[b"rubbish", b"", b"\xff" * 999], height=1, hash=bytes(32))
    request.finalize_block.time.seconds = node.founding.time_ns // 10**9 + 1
    (reply,) = node.comet.dialer("consensus").exchange([request])
    assert len(reply.tx_results) == 3
    assert all(item.code and not item.data for item in reply.tx_results)


def test_a_block_out_of_order_stops_the_node_instead_of_being_applied(node):
    dialer = node.comet.dialer("consensus")
    with pytest.raises(CometStopped, match="does not follow"):
        dialer.call("finalize_block", txs=[], height=7, hash=bytes(32))
    assert node.desk.height == 0


@given(raws=st.lists(st.binary(max_size=200), max_size=5))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=50)
def test_no_bytes_are_an_exception(node, raws):
    dialer = node.comet.dialer("mempool")
    assert all(reply.code for reply in dialer.exchange([make("check_tx", tx=raw) for raw in raws]))
    assert list(dialer.call("prepare_proposal", txs=raws, max_tx_bytes=1000).txs) == []
    assert dialer.call("process_proposal", txs=raws).status in {ACCEPT, REJECT}


def test_evidence_in_a_block_is_recorded_also_when_it_is_played_again(node, keys, wait):
    address = node.founding.validators.validators[0].address
    node.comet.disk.offences[1] = (Offence("duplicate_vote", address, 1, 5 * 10**9 + 7, 10),)
    with pytest.raises(Died):
        node.comet.step(die="finalized")
    node.reopen()
    wait(lambda: node.engine.latest() == 1)
    (item,) = node.reader.people.offences().newest
    assert (item.kind, item.validator, item.time_ns, item.recorded) == ("duplicate_vote", address, 5 * 10**9 + 7, 1)
    node.comet.disk.offences[2] = (Offence("of a later version", address, 2, 0, 10),)
    node.comet.step()
    assert [item.kind for item in node.reader.people.offences().newest] == ["duplicate_vote", "offence_0"]
