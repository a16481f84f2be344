"""Each thing that the collector does not take on trust."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from keephold.base.errors import HeaderInvalid, UnavailableError
from keephold.chain.header import SignedHeader
from keephold.chain.validators import Validator, ValidatorSet
from keephold.crypto.ed25519 import ValidatorKey
from keephold.crypto.secret import SecretBytes
from keephold.ledger.engines.base import Block, ValidatorUpdate
from keephold.ledger.engines.cometbft.collector import Collector
from keephold.ledger.engines.store import BlockStore
from keephold.testing.comet.disk import Disk


class Rpc:
    """Says what is on a disk, or what a test makes of it."""

    def __init__(self, disk: Disk) -> None:
        self.headers = {at: block.signed for at, block in enumerate(disk.blocks, 1)}
        self.bodies = dict(enumerate(disk.transactions, 1))
        self.sets = {at + 1: block.next_validators for at, block in enumerate(disk.blocks, 1)}
        self.asked: list[Any] = []

    def signed_headers(self, heights):
        return [self.headers[at] for at in heights if at in self.headers]

    def transactions(self, height):
        self.asked.append(height)
        return self.bodies[height]

    def validators(self, height):
        return self.sets[height]


@pytest.fixture
def disk(bench, toy) -> Disk:
    """Three blocks; the validators of the third are new."""
    application = toy()
    engine, comet = bench.open(application)
    newcomer = ValidatorKey(SecretBytes(b"x" * 32))
    comet._keys[newcomer.public] = newcomer
    application.updates = (ValidatorUpdate(newcomer.public, 5),)
    engine.submit([b"one"])
    comet.step()
    application.updates = ()
    comet.step()
    comet.step()
    bench.close()
    return bench.disk


@pytest.fixture
def rpc(disk) -> Rpc:
    return Rpc(disk)


@pytest.fixture
def collector(tmp_path, rpc, founding) -> Iterator[Collector]:
    directory = tmp_path / "collector"
    directory.mkdir()
    store = BlockStore(directory / "blocks.db")
    yield Collector(rpc, store, founding)
    store.close()


def test_what_agrees_is_stored(collector, disk):
    collector.advance(3)
    assert collector.stored == 3
    assert [collector._store.block(at) for at in (1, 2, 3)] == disk.blocks
    assert collector._store.transactions(1) == (b"one",)


def test_what_was_applied_is_not_asked_for(collector, rpc, disk):
    collector.remember(Block(1, 0, disk.blocks[0].signed.header.hash(), (b"one",)))
    collector.advance(3)
    assert rpc.asked == []


def test_it_goes_no_further_than_asked(collector):
    collector.advance(2)
    assert collector.stored == 2
    collector.advance(2)
    assert collector.stored == 2


def test_what_is_not_there_yet_is_asked_for_again(collector, rpc):
    del rpc.headers[2]
    del rpc.headers[3]
    collector.advance(3)
    assert collector.stored == 1
    with pytest.raises(UnavailableError, match="no block 2 yet"):
        collector.advance(3)


def refused(collector: Collector, word: str, stored: int) -> None:
    with pytest.raises(HeaderInvalid, match=word):
        collector.advance(3)
    assert collector.stored == stored


def test_another_chain(collector, rpc):
    signed = rpc.headers[1]
    rpc.headers[1] = SignedHeader(replace(signed.header, chain_id="another"), signed.commit)
    refused(collector, "not the header of block 1", 0)


def test_another_height(collector, rpc):
    rpc.headers[1] = rpc.headers[2]
    refused(collector, "not the header of block 1", 0)


def test_a_commit_for_another_block(collector, rpc):
    rpc.headers[1] = SignedHeader(rpc.headers[1].header, replace(rpc.headers[2].commit, height=1))
    refused(collector, "commit of block 1 is for another", 0)


def test_a_commit_of_another_height(collector, rpc):
    signed = rpc.headers[1]
    rpc.headers[1] = SignedHeader(signed.header, replace(signed.commit, height=2))
    refused(collector, "commit of block 1 is for another", 0)


def test_a_block_that_was_not_applied(collector):
    collector.remember(Block(1, 0, bytes(32), (b"one",)))
    refused(collector, "not the one that was applied", 0)


def test_validators_that_were_not_announced(tmp_path, rpc, founding, keys):
    others = replace(founding, validators=ValidatorSet.of([Validator(keys[0].public, 1)]))
    store = BlockStore(tmp_path / "others.db")
    refused(Collector(rpc, store, others), "block 1 has other validators", 0)
    store.close()


def test_next_validators_that_the_header_does_not_name(collector, rpc, keys):
    rpc.sets[3] = ValidatorSet.of([Validator(keys[0].public, 1)])
    refused(collector, "not the validators of block 3", 1)


def test_transactions_that_the_header_does_not_name(collector, rpc):
    rpc.bodies[1] = (b"two",)
    refused(collector, "not the transactions of block 1", 0)


def test_remembered_transactions_that_the_header_does_not_name(collector, disk):
    collector.remember(Block(1, 0, disk.blocks[0].signed.header.hash(), (b"two",)))
    refused(collector, "not the transactions of block 1", 0)


def test_what_is_remembered_is_bounded(collector):
    for height in range(1, 1000):
        collector.remember(Block(height, 0, bytes(32), ()))
    assert sorted(collector._remembered) == list(range(936, 1000))
