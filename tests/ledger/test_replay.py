"""The same blocks make the same roots: in another ledger, after a restart at any point, from the engine's blocks."""

from __future__ import annotations

import apsw
import pytest

from keephold.base.errors import ConfigurationError, ProofInvalid
from keephold.ledger.application import LedgerApplication
from keephold.ledger.engines.base import Block
from keephold.protocol.genesis import Genesis
from keephold.protocol.governance import CommitteeRules, RevokeIdentity, SetCommittee
from keephold.protocol.transactions import Echo, SlotWrite


@pytest.fixture
def story(make_desk, new_key):
    """A life in blocks: registrations, key generation, calls, results, refusals, governance, lapses."""
    desk = make_desk(seats=2, threshold=1, delay_ns=5 * 10**9)
    desk.committee("g1", "g2")
    workers = desk.enrol("w1", "w2")
    alice = new_key("alice")
    contract = desk.deploy(alice)
    (runner,) = [item for item in workers if item.identity in desk.contract(contract).workers]
    desk.activate(contract, runner)
    for n in range(4):
        desk.block(*desk.signed(alice, desk.call(contract), desk.call(contract)))
        writes = (SlotWrite(bytes([n + 1]) * 32, b"%d" % n),)
        desk.send(runner, desk.result(runner, contract, 2, writes=writes))
    desk.refused(alice, desk.result(runner, contract))
    desk.send(alice, desk.govern(SetCommittee(CommitteeRules(3, 2, 1))))
    desk.send(alice, desk.govern(RevokeIdentity(runner.identity)))
    desk.block(after_s=10)
    desk.block(after_s=7200)
    desk.send(alice, Echo(bytes(32)))
    return desk


def roots_of(application, desk, first=1):
    roots = []
    for height, (time_ns, raws) in enumerate(desk.history, start=1):
        if height < first:
            continue
        finalized = application.finalize(Block(height, time_ns, desk.hash_at(height), raws))
        roots.append((finalized.app_hash, tuple((o.code, o.data) for o in finalized.outcomes)))
        application.commit()
    return roots


def test_another_ledger_arrives_at_the_same_roots(story, tmp_path):
    (tmp_path / "other").mkdir()
    other = LedgerApplication(story.genesis, tmp_path / "other")
    roots = roots_of(other, story)
    assert roots[-1][0] == story.root
    assert other.info() == story.application.info()
    other.close()


def test_a_restart_after_every_block_changes_nothing(story, tmp_path):
    (tmp_path / "other").mkdir()
    straight = LedgerApplication(story.genesis, tmp_path / "other")
    expected = roots_of(straight, story)
    straight.close()
    (tmp_path / "third").mkdir()
    seen = []
    for height, (time_ns, raws) in enumerate(story.history, start=1):
        application = LedgerApplication(story.genesis, tmp_path / "third")
        finalized = application.finalize(Block(height, time_ns, story.hash_at(height), raws))
        seen.append((finalized.app_hash, tuple((o.code, o.data) for o in finalized.outcomes)))
        application.commit()
        application.close()
    assert seen == expected


def test_finalize_without_commit_leaves_no_trace(story):
    before = story.application.info()
    block = Block(before.height + 1, story.time_ns + 1, bytes(32), tuple(story.history[3][1]))
    first = story.application.finalize(block)
    assert story.application.info() == before
    assert story.application.finalize(block) == first
    story.reopen()
    assert story.application.info() == before


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("DELETE FROM leaf WHERE path = (SELECT path FROM leaf LIMIT 1)", "app hash"),
        ("UPDATE leaf SET value = x'a0' WHERE path = (SELECT path FROM leaf LIMIT 1)", "app hash"),
        ("INSERT INTO leaf VALUES (zeroblob(32), x'a0')", "app hash"),
        ("UPDATE slot SET value = x'00'", "state root"),
        ("DELETE FROM slot WHERE tag = (SELECT tag FROM slot LIMIT 1)", "state root"),
        ("UPDATE slot SET contract = zeroblob(32)", "state root"),
        ("DELETE FROM slot", "state root"),
        ("DELETE FROM governance WHERE sequence = 2", "governance"),
    ],
)
def test_a_damaged_file_is_noticed(story, damage, message):
    story.application.close()
    with apsw.Connection(str(story.directory / "ledger.db")) as connection:
        connection.execute(damage)
    connection.close()
    with pytest.raises(ProofInvalid, match=message):
        LedgerApplication(story.genesis, story.directory)


def test_a_file_of_another_network_is_refused(story):
    story.application.close()
    genesis = story.genesis
    other = Genesis("other", genesis.time_ns, genesis.guest, genesis.law)
    with pytest.raises(ConfigurationError, match="another network"):
        LedgerApplication(other, story.directory)
