"""What a gatekeeper makes of blocks: here, which nonces it takes for its own."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from keephold.base.ids import HeaderHash, Height, NetworkId, PublicKey, TransactionId
from keephold.crypto.signing import SigningKey
from keephold.follower.proofs import OrderedTransaction
from keephold.follower.view import VerifiedBlock
from keephold.gatekeeper.core import Core, VerifyVouch
from keephold.protocol.transactions import Echo, Vouch, sign, transaction_id

NETWORK = NetworkId(b"n" * 32)
ME, PEER = SigningKey.generate(), SigningKey.generate()
NONCE = b"\x01" * 32


@dataclass
class Restarted:
    """A ceremony whose share came off the disk."""

    was_restarted: bool = True
    is_taking_part: bool = False


def block(height: int, *raws: bytes) -> VerifiedBlock:
    ordered = tuple(
        OrderedTransaction(TransactionId(transaction_id(raw)), index, raw) for index, raw in enumerate(raws)
    )
    hashed = HeaderHash(bytes(32))
    return VerifiedBlock._mint(Height(height), hashed, height, Height(height - 1), frozenset(), ordered, {}, (), ())


def vouched(core: Core) -> bool:
    """Feed a chain on which our echo was ordered and a peer vouched for it; say whether the vouch is looked at."""
    core.observe(block(5, sign(NETWORK, ME, 0, Echo(NONCE))))
    observed = core.observe(block(6, sign(NETWORK, PEER, 0, Vouch(ME.public, NONCE, 5, bytes(32)))))
    return any(isinstance(errand, VerifyVouch) for errand in observed.errands)


@pytest.mark.parametrize("drawn", [True, False])
def test_vouches_for_nonces_of_earlier_lives_do_not_count(drawn: bool) -> None:
    core = Core(PublicKey(ME.public), NETWORK, Restarted(), lambda nonce: drawn and nonce == NONCE)
    assert vouched(core) is drawn
