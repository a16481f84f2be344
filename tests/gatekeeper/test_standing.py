from __future__ import annotations

from keephold.base.ids import PublicKey
from keephold.gatekeeper.standing import Standing, Vouching
from keephold.protocol.custody import CommitteeKeys, CommitteeSeat
from keephold.protocol.transactions import Vouch

ME, ADA, BOB, EVE = (PublicKey(bytes([n]) * 32) for n in range(1, 5))
SEATS = tuple(CommitteeSeat(number, member, bytes(32)) for number, member in enumerate((ME, ADA, BOB), 1))
COMMITTEE = CommitteeKeys(bytes(32), bytes(32), 3, 1, SEATS, (bytes(32),))
LONE = CommitteeKeys(bytes(32), bytes(32), 1, 1, (CommitteeSeat(1, ME, bytes(32)),), (bytes(32),))
SECOND = 10**9


def test_whoever_made_its_share_in_this_life_needs_no_vouch() -> None:
    assert Standing(restarted=False).is_vouched


def test_a_restarted_one_needs_t_minus_one_different_peers_in_office() -> None:
    standing = Standing(restarted=True)
    standing.settle(COMMITTEE)
    for peer in (ME, EVE, ADA, ADA):
        standing.hear(peer, COMMITTEE, ME)
        assert not standing.is_vouched
    standing.hear(BOB, COMMITTEE, ME)
    assert standing.is_vouched


def test_with_a_threshold_of_one_there_is_nobody_to_ask() -> None:
    standing = Standing(restarted=True)
    assert not standing.is_vouched
    standing.settle(LONE)
    assert standing.is_vouched


def test_only_vouches_for_own_nonces_with_heads_that_contain_them_count() -> None:
    standing = Standing(restarted=True)
    standing.issued(b"\x01" * 32, 50)
    assert standing.is_for_us(Vouch(ME, b"\x01" * 32, 50, bytes(32)))
    assert not standing.is_for_us(Vouch(ME, b"\x01" * 32, 49, bytes(32)))
    assert not standing.is_for_us(Vouch(ME, b"\x02" * 32, 60, bytes(32)))


def test_nonces_of_long_ago_are_forgotten_those_of_late_are_not() -> None:
    standing = Standing(restarted=True)
    nonces = [at.to_bytes(32, "big") for at in range(1000)]
    for height, nonce in enumerate(nonces, 1):
        standing.issued(nonce, height)
        assert standing.is_for_us(Vouch(ME, nonce, height, bytes(32)))
    kept = [nonce for nonce in nonces if standing.is_for_us(Vouch(ME, nonce, 1000, bytes(32)))]
    assert kept == nonces[-64:]


def test_one_vouch_is_owed_for_each_instance_that_needs_one() -> None:
    vouching = Vouching(ME)
    vouching.heard_echo(ADA, b"i1", b"\x01" * 32, SECOND, needed=1)
    vouching.heard_echo(ADA, b"i1", b"\x02" * 32, 2 * SECOND, needed=1)
    (vouch,) = vouching.due(7, b"\x07" * 32)
    assert (vouch.target, vouch.nonce, vouch.height) == (ADA, b"\x01" * 32, 7)
    assert vouching.due(8, bytes(32)) == ()
    # It keeps asking: again after a while, and at once after another boot.
    vouching.heard_echo(ADA, b"i1", b"\x03" * 32, 20 * SECOND, needed=1)
    assert len(vouching.due(9, bytes(32))) == 1
    vouching.heard_echo(ADA, b"i2", b"\x04" * 32, 21 * SECOND, needed=1)
    assert len(vouching.due(9, bytes(32))) == 1


def test_no_vouch_is_owed_to_oneself_or_to_whoever_has_enough() -> None:
    vouching = Vouching(ME)
    vouching.heard_echo(ME, b"i", b"\x01" * 32, SECOND, needed=1)
    vouching.heard_echo(ADA, b"i1", b"\x01" * 32, SECOND, needed=0)
    vouching.heard_vouch(BOB, ADA, b"i1", b"\x01" * 32)
    vouching.heard_echo(ADA, b"i1", b"\x02" * 32, SECOND, needed=1)
    vouching.heard_echo(BOB, b"i1", b"\x01" * 32, SECOND, needed=0)
    assert vouching.due(7, bytes(32)) == ()


def test_a_vouch_for_what_an_earlier_life_asked_helps_nobody() -> None:
    """It may be ordered after the new life registered: whoever took it for help would leave that one mute for good."""
    vouching = Vouching(ME)
    vouching.heard_echo(ADA, b"i1", b"\x01" * 32, SECOND, needed=1)
    vouching.heard_vouch(BOB, ADA, b"i2", b"\x01" * 32)
    vouching.due(7, bytes(32))
    vouching.heard_echo(ADA, b"i2", b"\x02" * 32, SECOND, needed=1)
    (vouch,) = vouching.due(8, bytes(32))
    assert vouch.nonce == b"\x02" * 32
