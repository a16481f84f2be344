from __future__ import annotations

from dataclasses import replace
from threading import Event, Thread

import pytest

from keephold.base.errors import UnavailableError
from keephold.base.limits import MAX_TRANSACTION
from keephold.chain import merkle
from keephold.chain.validators import Validator, ValidatorSet
from keephold.crypto.ed25519 import ValidatorKey
from keephold.crypto.secret import SecretBytes
from keephold.ledger.engines.base import Admission, ValidatorUpdate
from keephold.ledger.engines.mempool import FULL
from keephold.testing.comet.fake import CometStopped, Died


def test_blocks_carry_what_was_submitted_and_a_light_client_follows(bench, toy, follow, wait):
    application = toy()
    engine, comet = bench.open(application)
    assert engine.latest() == 0
    assert engine.block(1) is None
    assert engine.submit([b"one", b"two"]) == (Admission(), Admission())
    comet.step()
    comet.step()
    wait(lambda: engine.latest() == 2)
    assert engine.transactions(1) == (b"one", b"two")
    assert engine.transaction(1, 1) == b"two"
    assert engine.transactions(2) == ()
    proof = engine.block(2)
    assert proof is not None
    assert proof.signed.header.app_hash == merkle.root([b"one", b"two"])
    leaves = [merkle.result_leaf(raw[0] & 1, raw) for raw in (b"one", b"two")]
    assert proof.signed.header.last_results_hash == merkle.root(leaves)
    follow(engine)


def test_a_refused_transaction_does_not_wait(bench, toy):
    engine, comet = bench.open(toy())
    assert [item.code for item in engine.submit([b"bad", b"good"])] == [3, 0]
    assert list(comet.mempool) == [b"good"]


def test_the_same_bytes_again_are_no_offence(bench, toy):
    engine, comet = bench.open(toy())
    assert engine.submit([b"two", b"two"]) == (Admission(), Admission())
    assert engine.submit([b"two"]) == (Admission(),)
    comet.step()
    assert engine.submit([b"two"]) == (Admission(),), "CometBFT remembers what was applied"
    assert list(comet.mempool) == []


def test_what_a_block_has_already_is_told_with_its_height_and_does_not_wait(bench, toy):
    engine, comet = bench.open(toy())
    engine.submit([b"2nd"])
    comet.step()
    comet._cache.clear()  # as after a restart of CometBFT
    assert engine.submit([b"2nd"]) == (Admission(0, "", 1),)
    assert list(comet.mempool) == []


def test_a_full_mempool_is_told_as_the_quota(bench, toy):
    engine, comet = bench.open(toy())
    comet.mempool_size = 1
    assert [item.code for item in engine.submit([b"one", b"two"])] == [0, FULL]


def test_an_oversized_transaction_is_judged_here_and_leaves_the_others_in_order(bench, toy):
    engine, comet = bench.open(toy())
    large = b"bad" + bytes(MAX_TRANSACTION)
    assert [item.code for item in engine.submit([b"one", large, b"two"])] == [0, 3, 0]
    assert list(comet.mempool) == [b"one", b"two"]


def test_what_waits_is_checked_again_after_each_block(bench, toy):
    engine, comet = bench.open(toy())
    engine.submit([b"one"])
    comet.offer(b"stale")
    comet.mempool.pop(b"one")
    comet.mempool[b"one"] = None
    comet._update_mempool((), ())
    assert b"stale" in comet.mempool
    comet.step()
    assert list(comet.mempool) == []
    engine.submit([b"next"])
    comet.mempool[b"stale again"] = None
    comet._update_mempool((), ())
    assert list(comet.mempool) == [b"next"]


def test_submitters_of_many_threads_all_get_their_own_answers(bench, toy):
    engine, comet = bench.open(toy())
    answers: dict[int, tuple[Admission, ...]] = {}

    def offer(n: int) -> None:
        answers[n] = engine.submit([b"t%d" % n, b"bad %d" % n, b"shared"])

    threads = [Thread(target=offer, args=(n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all([item.code for item in answers[n]] == [0, 3, 0] for n in range(12))
    assert sorted(comet.mempool) == sorted([b"shared", *(b"t%d" % n for n in range(12))])


def test_listeners_hear_of_new_heights(bench, toy, wait):
    engine, comet = bench.open(toy())
    heard: list[int] = []
    unsubscribe = engine.subscribe(heard.append)
    comet.step()
    wait(lambda: heard == [1])
    unsubscribe()
    comet.step()
    wait(lambda: engine.latest() == 2)
    assert heard == [1]


@pytest.mark.parametrize("phase", ["stored", "finalized", "committed"])
def test_dying_anywhere_in_a_block_loses_nothing(bench, toy, follow, wait, phase):
    application = toy()
    engine, comet = bench.open(application)
    engine.submit([b"one"])
    comet.step()
    engine.submit([b"two"])
    with pytest.raises(Died):
        comet.step(die=phase)
    again = toy(application.durable)
    engine, comet = bench.open(again)
    assert again.seen == [b"one", b"two"]
    wait(lambda: engine.latest() == 2)
    comet.step()
    wait(lambda: engine.latest() == 3)
    assert engine.transactions(2) == (b"two",)
    follow(engine)


def test_an_application_that_lost_its_disk_is_played_everything(bench, toy, follow, wait):
    engine, comet = bench.open(toy())
    for n in range(3):
        engine.submit([b"%d" % n])
        comet.step()
    wait(lambda: engine.latest() == 3)
    again = toy()
    engine, _ = bench.open(again)
    assert again.seen == [b"0", b"1", b"2"]
    wait(lambda: engine.latest() == 3)
    follow(engine)


def test_a_lost_block_store_is_collected_again(bench, toy, follow, wait):
    application = toy()
    engine, comet = bench.open(application)
    for n in range(130):
        engine.submit([b"%d" % n])
        comet.step()
    bench.close()
    for path in bench.directory.glob("blocks.db*"):
        path.unlink()
    engine, _ = bench.open(toy(application.durable))
    wait(lambda: engine.latest() == 130)
    assert engine.transactions(77) == (b"76",)
    follow(engine)


def test_validator_updates_act_two_blocks_later_and_are_collected(bench, toy, follow, wait):
    application = toy()
    engine, comet = bench.open(application)
    newcomer = ValidatorKey(SecretBytes(b"x" * 32))
    comet._keys[newcomer.public] = newcomer
    application.updates = (ValidatorUpdate(newcomer.public, 5),)
    comet.step()
    application.updates = ()
    comet.step()
    comet.step()
    wait(lambda: engine.latest() == 3)
    sizes = [len(engine.block(height).validators.validators) for height in (1, 2, 3)]
    assert sizes == [4, 4, 5]
    follow(engine)


def test_more_validators_than_fit_a_page(bench, toy, follow, wait):
    application = toy()
    engine, comet = bench.open(application)
    crowd = [ValidatorKey(SecretBytes(n.to_bytes(32, "big"))) for n in range(1000, 1230)]
    application.updates = tuple(ValidatorUpdate(key.public, 1) for key in crowd)
    comet.step()
    application.updates = ()
    comet.step()
    comet.step()
    wait(lambda: engine.latest() == 3)
    assert len(engine.block(3).validators.validators) == 234


def test_an_absent_validator_leaves_an_empty_vote(bench, toy, follow, wait, keys):
    engine, comet = bench.open(toy(), keys=keys[:3])
    comet.step()
    wait(lambda: engine.latest() == 1)
    block = engine.block(1)
    assert sum(vote.signature == b"" for vote in block.signed.commit.signatures) == 1
    follow(engine)


@pytest.mark.parametrize("where", ["finalize", "commit"])
def test_an_application_that_fails_stops_comet_and_the_engine(bench, toy, wait, where):
    application = toy()
    application.fails_in = where
    engine, comet = bench.open(application)
    with pytest.raises(CometStopped, match="the disk is full"):
        comet.step()
    wait(lambda: engine.failure is not None)
    assert "the disk is full" in str(engine.failure)
    assert application.durable == []
    with pytest.raises(UnavailableError, match="stopped"):
        engine.submit([b"one"])


def test_who_waits_for_a_verdict_is_told_when_the_engine_fails(bench, toy, wait):
    engine, comet = bench.open(toy())
    asked = Event()

    def swallow(raw: bytes) -> None:
        asked.set()

    comet._rpc._offer = swallow
    told: list[str] = []

    def submit() -> None:
        try:
            engine.submit([b"one"])
        except UnavailableError as error:
            told.append(str(error))

    thread = Thread(target=submit)
    thread.start()
    assert asked.wait(120)
    comet.hang_up()
    wait(lambda: told == ["the engine has stopped"], "being told at once")
    thread.join()


def test_a_block_store_that_fails_stops_the_engine(bench, toy, wait, monkeypatch):
    engine, comet = bench.open(toy())

    def full(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(engine._store, "append", full)
    comet.step()
    wait(lambda: engine.failure is not None)
    assert "the disk is full" in str(engine.failure)
    assert engine.latest() == 0


def test_a_comet_that_hangs_up_stops_the_engine(bench, toy, wait):
    engine, comet = bench.open(toy())
    comet.hang_up()
    wait(lambda: engine.failure is not None)
    assert "CometBFT ended a connection" in str(engine.failure)


def test_without_an_answering_comet_submitting_says_so(bench, toy):
    engine, comet = bench.open(toy())
    comet._rpc.stop()
    with pytest.raises(UnavailableError, match="does not answer"):
        engine.submit([b"one"])


def test_a_comet_that_serves_another_chain_stops_the_engine(bench, toy, wait):
    application = toy()
    engine, comet = bench.open(application)
    comet.step()
    wait(lambda: engine.latest() == 1)
    comet.step()
    wait(lambda: engine.latest() == 2)
    bench.close()
    for path in bench.directory.glob("blocks.db*"):
        path.unlink()
    bench.disk.transactions[0] = (b"other",)
    bench.disk.blocks[0] = bench.disk.blocks[1]
    engine, _ = bench.open(toy(application.durable))
    wait(lambda: engine.failure is not None)
    assert "not the header of block 1" in str(engine.failure)


def test_transactions_that_the_header_does_not_commit_to_stop_the_engine(bench, toy, wait):
    application = toy()
    engine, comet = bench.open(application)
    engine.submit([b"one"])
    comet.step()
    wait(lambda: engine.latest() == 1)
    bench.close()
    for path in bench.directory.glob("blocks.db*"):
        path.unlink()
    bench.disk.transactions[0] = (b"other",)
    engine, _ = bench.open(toy(application.durable))
    wait(lambda: engine.failure is not None)
    assert "not the transactions of block 1" in str(engine.failure)
    assert engine.latest() == 0


def test_another_genesis_is_refused(bench, toy, wait, founding, keys):
    bench.open(toy())
    bench.close()
    for changed, word in (
        (replace(founding, chain_id="another"), "chain 'another'"),
        (replace(founding, time_ns=founding.time_ns + 1), "another time"),
        (replace(founding, validators=ValidatorSet.of([Validator(keys[0].public, 10)])), "other validators"),
    ):
        _, comet = bench.open(toy())
        comet.hang_up()
        comet._founding = changed
        comet.connect()
        with pytest.raises(CometStopped, match=word):
            comet.handshake()


def test_comet_forgets_a_block_once_neither_we_nor_evidence_need_it(bench, toy, wait, monkeypatch):
    """Sooner it would drop the transactions alone, and keep header, commit and validators for ever."""
    monkeypatch.setattr("keephold.ledger.engines.cometbft.engine.EVIDENCE_BLOCKS", 3)
    engine, comet = bench.open(toy())
    kept = []
    for height in range(1, 9):
        comet.step()
        wait(lambda at=height: engine.latest() == at)
        kept.append(engine.retained())
        if height == 6:
            engine.prune(4)
    assert kept == [0] * 6 + [4, 4], "nothing is pruned here before block 6, and the 4th block is needed then"
    engine.prune(8)
    assert engine.retained() == 8 - 3
