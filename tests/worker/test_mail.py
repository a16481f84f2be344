"""What a worker knows of other contracts' epochs says no more than what was proven."""

from __future__ import annotations

import pytest

from keephold.base.ids import ContractId, NetworkId
from keephold.crypto.secret import SecretBytes
from keephold.protocol.lines import ChannelLine
from keephold.sealing.message import ChannelKey
from keephold.worker import mail
from keephold.worker.mail import Lacking, Mail, PeerAt, PeerEpochs

PEER = ContractId(b"p" * 32)


def line(at: int) -> ChannelLine:
    return ChannelLine(PEER, at, b"c" * 32, 1)


@pytest.mark.parametrize(("height", "epoch"), [(2, 0), (3, 0), (4, 1), (9, 1), (10, 2), (20, 2), (21, None)])
def test_an_epoch_counts_from_the_block_after_it_began(height: int, epoch: int | None) -> None:
    assert PeerEpochs(PEER, 20, ((2, 9), (1, 3)), is_whole=True).at(height) == epoch


def test_what_lies_further_back_is_not_known() -> None:
    assert PeerEpochs(PEER, 20, ((2, 9),), is_whole=False).at(9) is None
    assert PeerEpochs(PEER, 20, (), is_whole=True).at(20) == 0


def test_what_is_lacking_shrinks_as_it_comes_in() -> None:
    known = Mail()
    lacking = known.lacking([line(1), line(2)], [PeerAt(PEER, 5)])
    assert lacking == Lacking(frozenset({line(1), line(2)}), frozenset({PeerAt(PEER, 5)}))
    known.take(ChannelKey(SecretBytes(b"s" * 32), NetworkId(b"n" * 32), line(1)))
    known.learn(PeerEpochs(PEER, 4, (), is_whole=True))
    assert lacking.without(known) == Lacking(frozenset({line(2)}), frozenset({PeerAt(PEER, 5)}))
    known.learn(PeerEpochs(PEER, 5, (), is_whole=True))
    known.take(ChannelKey(SecretBytes(b"s" * 32), NetworkId(b"n" * 32), line(2)))
    assert not lacking.without(known)
    known.forget_keys()
    assert known.key(line(1)) is None


def test_what_is_kept_is_bounded_between_jobs(monkeypatch) -> None:
    monkeypatch.setattr(mail, "MAX_LINES", 2)
    monkeypatch.setattr(mail, "MAX_PEERS", 1)
    known = Mail()
    for at in (1, 2, 3):
        known.take(ChannelKey(SecretBytes(b"s" * 32), NetworkId(b"n" * 32), line(at)))
        known.learn(PeerEpochs(ContractId(bytes([at]) * 32), 5, (), is_whole=True))
    assert not known.lacking([line(1), line(2), line(3)])
    of_a_job = known.copy()
    known.trim()
    assert [known.key(line(at)) is not None for at in (1, 2, 3)] == [False, True, True]
    assert [known.epoch(PeerAt(ContractId(bytes([at]) * 32), 5)) for at in (1, 2, 3)] == [None, None, 0]
    assert not of_a_job.lacking([line(1), line(2), line(3)])
