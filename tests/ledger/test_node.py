"""The ledger under a running engine, used from several threads at once, as a node does."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keephold.base.clock import SystemClock
from keephold.chain import merkle
from keephold.follower.view import VerifiedView
from keephold.ledger.views import tree_proofs
from keephold.protocol.codec import encode
from keephold.protocol.state import AccountRecord, account_path
from keephold.protocol.transactions import Echo, sign, transaction_id
from keephold.protocol.wire import Interest, TransactionsRequest

EACH = 100


@pytest.fixture
def running(tmp_path, node_class):
    node = node_class(tmp_path, clock=SystemClock())
    node.engine.start()
    yield node
    node.engine.stop()
    node.application.close()


def wait_for(node, condition):
    """Wait for a block after which `condition` holds."""
    risen = threading.Event()
    unsubscribe = node.engine.subscribe(lambda _: risen.set())
    while not condition():
        assert risen.wait(120), node.engine.failure
        risen.clear()
    unsubscribe()


def nonce(node, key):
    return (node.reader.record(account_path(key.public), AccountRecord) or AccountRecord()).nonce


def test_senders_in_threads_while_readers_read(running, new_key):
    keys = [new_key(f"sender {n}") for n in range(4)]
    sent: list[bytes] = []
    stop = threading.Event()
    failures: list[BaseException] = []

    def send(key):
        try:
            for at in range(EACH):
                raw = sign(running.network, key, at, Echo(bytes(32)))
                (verdict,) = running.reader.submit([raw])
                assert verdict.code == 0, verdict
                sent.append(raw)
        except BaseException as error:  # noqa: BLE001 - reported by the main thread
            failures.append(error)

    def read(key):
        try:
            watch = running.reader.watch(Interest(paths=(account_path(key.public),), identities=(key.public,)))
            view = VerifiedView(running.genesis)
            at, seen = 1, 0
            while not (stop.is_set() and at > running.reader.latest()):
                if at <= running.reader.latest():
                    frame = watch.frame(at)
                    assert frame is not None
                    encode(frame)
                    seen += len(view.accept(frame).transactions)
                    at += 1
            assert seen == EACH
        except BaseException as error:  # noqa: BLE001 - reported by the main thread
            failures.append(error)

    readers = [threading.Thread(target=read, args=(key,)) for key in keys[:2]]
    senders = [threading.Thread(target=send, args=(key,)) for key in keys]
    for thread in readers + senders:
        thread.start()
    for thread in senders:
        thread.join()
    wait_for(running, lambda: failures or all(nonce(running, key) == EACH for key in keys))
    stop.set()
    for thread in readers:
        thread.join()
    assert failures == []
    height = running.reader.latest()
    wait_for(running, lambda: running.engine.latest() >= height)
    running.engine.stop()
    running.application.close()
    running.application = type(running.application)(running.genesis, running.directory)
    running.engine = running._engine()
    running.reader = type(running.reader)(running.application, running.engine)
    running.engine.step()
    found = running.reader.transactions(TransactionsRequest(tuple(map(transaction_id, sent)))).found
    assert [item.raw for item in found] == sent


@given(st.lists(st.binary(max_size=4), min_size=1, max_size=40))
def test_all_proofs_at_once_are_the_proofs_one_by_one(leaves):
    proofs = tree_proofs(leaves)
    for index, proof in enumerate(proofs):
        assert proof.aunts == merkle.prove(leaves, index).siblings
        assert (proof.index, proof.total) == (index, len(leaves))
