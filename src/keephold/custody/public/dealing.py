"""The dealing envelope: what a dealer seals to one receiver, and how anyone with that one-time key judges it.

Seal and open stand side by side here and not in `sealing`, because the rules themselves open an accused envelope.

Every envelope is bound to the round's context (network, purpose, sharing epoch, round number, threshold, all dealers
and receivers), to its dealer and to its receiver. So an envelope taken from another round, network or dealer does not
open, and a dealer cannot pass off another's dealing as its own.

What is inside:

* generation: value, blind and the dealer's part of the pepper, 32 bytes each. A complaint shows exactly these three:
  of a dealing that is bad (and counts for nothing) or of an accuser that is false (and could have told them anyway).
* resharing: the value alone. The pepper travels beside it, under a key of its own that no complaint reveals: there it
  is the *whole* pepper, which one cheating dealer must not be able to force into the open. Nor is a complaint about it
  needed: the commitments to it are on record since the generation, so a receiver takes it from any dealer who sends
  the right one, and one of t dealers does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from keephold.base.errors import BadKey, BadShare, SealBroken
from keephold.crypto import hpke
from keephold.crypto.hashing import equal, number, tagged_hash
from keephold.crypto.labels import DKG_CONTEXT, DKG_DIGEST, DKG_PEPPER, SEAL_DEALING
from keephold.crypto.ristretto import SIZE, decode_secret_scalar
from keephold.crypto.secret import SecretBytes
from keephold.custody.public import commitments
from keephold.protocol.custody import Dealer, Receiver, RoundState

PEPPER_PART: Final = 32
_PLAINTEXT: Final = {"generation": 2 * SIZE + PEPPER_PART, "resharing": SIZE}


class Dealt(NamedTuple):
    """What a good envelope holds, checked against the commitments on record."""

    share: SecretBytes
    pepper: SecretBytes
    """The dealer's part in a generation; empty in a resharing."""


def round_context(state: RoundState) -> bytes:
    """Return 32 bytes that name this round and no other: same in every phase, different after a restart."""
    return tagged_hash(
        DKG_CONTEXT,
        state.network,
        state.purpose.encode(),
        number(state.sharing_epoch),
        number(state.round),
        number(state.threshold),
        number(len(state.dealers)),
        *(number(dealer.seat) + dealer.member + dealer.anchor for dealer in state.dealers),
        *(number(receiver.seat) + receiver.member for receiver in state.receivers),
    )


def digests(items: Iterable[bytes]) -> tuple[bytes, ...]:
    """Return the digest of each key or envelope."""
    return tuple(tagged_hash(DKG_DIGEST, b"item", item) for item in items)


def digest_of(items: Sequence[bytes]) -> bytes:
    """Return the one digest kept on record for a list of digests."""
    return tagged_hash(DKG_DIGEST, b"list", *items)


def pepper_commitment(network: bytes, part: SecretBytes) -> bytes:
    """Return the commitment to one part of the pepper: hiding and binding because the part is 32 random bytes."""
    return tagged_hash(DKG_PEPPER, network, part.reveal())


def check_pepper(network: bytes, pepper: SecretBytes, on_record: Sequence[bytes]) -> None:
    """Raise BadShare unless `pepper` is the concatenation of the parts committed to, in order."""
    raw = pepper.reveal()
    parts = [raw[at : at + PEPPER_PART] for at in range(0, len(raw), PEPPER_PART)]
    found = [pepper_commitment(network, SecretBytes(part)) for part in parts]
    if len(found) != len(on_record) or not all(map(equal, found, on_record)):
        raise BadShare("not the pepper committed to")


def envelope_size(state: RoundState) -> int:
    """Return the one size that envelopes of this round have."""
    return hpke.OVERHEAD + _PLAINTEXT[state.purpose]


def pepper_envelope_size(state: RoundState) -> int:
    """Return the one size that pepper envelopes of this resharing have."""
    return hpke.OVERHEAD + PEPPER_PART * len(state.peppers)


def seal_dealing(
    state: RoundState, dealer: Dealer, receiver: Receiver, key: bytes, share: SecretBytes, *beside: SecretBytes
) -> bytes:
    """Return the envelope of `share` (and, in a generation, blind and pepper part) for one receiver.

    Raises:
        BadKey: `key` is no encryption key; the rules refuse such keys at registration.
    """
    plaintext = b"".join(part.reveal() for part in (share, *beside))
    return hpke.seal(key, plaintext, SEAL_DEALING, *_binding(state, dealer, receiver, b"share"))


def open_dealing(
    state: RoundState, dealer: Dealer, receiver: Receiver, key: hpke.EncryptionKey, envelope: bytes
) -> Dealt:
    """Return the dealt share, checked; receiver and rules run this same function.

    Raises:
        BadShare: the envelope does not open, or its content contradicts what `dealer` committed to.
    """
    # (1) It opens under this receiver's one-time key, for this round and dealer.
    try:
        raw = key.open(envelope, SEAL_DEALING, *_binding(state, dealer, receiver, b"share"))
    except SealBroken as error:
        raise BadShare("the dealing does not open") from error
    if len(raw) != _PLAINTEXT[state.purpose]:
        raise BadShare("the dealing has another size")
    # (2) Values are canonical scalars.
    try:
        share = decode_secret_scalar(SecretBytes(raw[:SIZE]))
        blind = decode_secret_scalar(SecretBytes(raw[SIZE : 2 * SIZE])) if state.purpose == "generation" else None
    except BadKey as error:
        raise BadShare("the dealing is no scalar") from error
    # (3) They lie on the committed polynomial.
    if blind is None:
        commitments.check_feldman(dealer.commitments, receiver.seat, share)
        return Dealt(share, SecretBytes(b""))
    commitments.check_pedersen(dealer.commitments, receiver.seat, share, blind)
    # (4) The pepper part is the one committed to: else receivers would end up with different peppers.
    pepper = SecretBytes(raw[2 * SIZE :])
    check_pepper(state.network, pepper, (dealer.pepper,))
    return Dealt(share, pepper)


def seal_pepper(state: RoundState, dealer: Dealer, receiver: Receiver, key: bytes, pepper: SecretBytes) -> bytes:
    """Return the envelope of the whole pepper for one receiver of a resharing. Raises BadKey."""
    return hpke.seal(key, pepper.reveal(), SEAL_DEALING, *_binding(state, dealer, receiver, b"pepper"))


def open_pepper(
    state: RoundState, dealer: Dealer, receiver: Receiver, key: hpke.EncryptionKey, envelope: bytes
) -> SecretBytes:
    """Return the pepper handed on by `dealer`. Raises BadShare when it is not the one on record."""
    try:
        pepper = SecretBytes(key.open(envelope, SEAL_DEALING, *_binding(state, dealer, receiver, b"pepper")))
    except SealBroken as error:
        raise BadShare("the pepper does not open") from error
    check_pepper(state.network, pepper, state.peppers)
    return pepper


def _binding(state: RoundState, dealer: Dealer, receiver: Receiver, content: bytes) -> tuple[bytes, ...]:
    return (content, round_context(state), number(dealer.seat), dealer.member, number(receiver.seat), receiver.member)
