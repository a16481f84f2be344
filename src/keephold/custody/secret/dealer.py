"""A gatekeeper's part in a key ceremony, sans I/O: ordered messages in, messages to submit out, a share at the end.

It runs the rules itself. It is told how the round was opened, by a caller that verified evidence and governance behind
its members and threshold: whoever is seated gets a share, so no check in here could make up for that. Then it gets
every message the ledger accepted and every block time; it computes the state with the same `transcript` the ledger
runs and believes nothing else. Validators can order, delay and refuse; they cannot tell it that somebody was dropped.

Resumable, from 32 bytes. All its secrets of a round (one-time keys, polynomial, pepper part, nonces) are derived from
one root, drawn once from the injected entropy and kept on the sealed disk before the first message leaves. After a
restart, `Participant(root, ...)` reads the round's messages again, from the opening on, and goes on where it was: same
keys, same polynomial, so it never contradicts what it has sent. Where the root is lost (no durable seal), its keys on
record are not its own any more; it notices, falls silent, and is dropped: a round loses a seat, never a secret.

A root that is used again in *another* history (a rolled-back disk, a forked ledger) must not deal the same polynomial
to other receivers: t of them could pool values across the histories. So every derivation includes the round's context,
and a polynomial also the keys that the receivers registered: another audience, another polynomial. The constant term
of a resharing is the share itself, and has to be: only who may be seated limits that, and the caller verifies it.

The root dies with the round: the caller erases it when the share is stored (`wipe`, and the sealed disk's record).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Self, final

from keephold.base.errors import BadShare, ConfigurationError
from keephold.base.ids import PublicKey
from keephold.crypto.opaque import Opaque
from keephold.crypto.secret import SecretBytes
from keephold.crypto.sharing import polynomial
from keephold.custody.public import qualified, transcript
from keephold.custody.public.dealing import Dealt
from keephold.custody.secret import messages
from keephold.custody.secret.derivation import RoundSecrets
from keephold.custody.secret.release import Entropy
from keephold.custody.secret.share import Share
from keephold.protocol.custody import (
    Dealer,
    DkgDealing,
    DkgKeys,
    DkgMessage,
    DkgVerdict,
    Receiver,
    RoundState,
)

ROOT_SIZE: Final = 32


@final
class Participant(Opaque):
    """One member of one ceremony, as dealer, receiver or both, through all its restarts."""

    __slots__ = ("_dealings", "_inherited", "_keys", "_made", "_member", "_read", "_root", "_sent", "_state")

    def __init__(
        self, root: SecretBytes, *, member: PublicKey, opened: RoundState, inherited: Share | None = None
    ) -> None:
        """Take part as `member` from `opened` on; `inherited` is dealt on in a resharing.

        `opened` is any round in which nobody has spoken yet: the first, or one after a restart.

        Raises:
            ConfigurationError: the round of `opened` is under way already: its messages would be missing.
        """
        if opened.phase != "keys" or any(receiver.keys for receiver in opened.receivers):
            raise ConfigurationError("a participant reads its round from the opening on")
        self._root: Final = root
        self._member: Final = member
        self._inherited: Final = inherited
        self._state = opened
        self._keys: dict[bytes, DkgKeys] = {}
        self._dealings: dict[bytes, DkgDealing] = {}
        self._read: dict[int, Dealt | None] = {}
        self._made: dict[str, DkgMessage] = {}
        self._sent: set[str] = set()

    @classmethod
    def begin(
        cls, *, member: PublicKey, opened: RoundState, entropy: Entropy, inherited: Share | None = None
    ) -> tuple[Self, SecretBytes]:
        """Return a new participant and its root, which is to be stored before anything is submitted."""
        root = SecretBytes(entropy(ROOT_SIZE))
        return cls(root, member=member, opened=opened, inherited=inherited), root

    # --- what the caller feeds and fetches ---

    @property
    def state(self) -> RoundState:
        """The round as the rules compute it from what was observed; the ledger's must be equal."""
        return self._state

    def observe(self, sender: PublicKey, message: DkgMessage, *, time_ns: int) -> tuple[DkgMessage, ...]:
        """Take the next message that the ledger accepted, at its block's time; return what is newly due.

        Raises:
            LedgerRefused: the rules refuse this message here; nothing changed.
        """
        self._state = transcript.apply(self._state, sender, message, time_ns=time_ns)
        if isinstance(message, DkgKeys):
            self._keys[sender] = message
        elif isinstance(message, DkgDealing):
            self._dealings[sender] = message
        return self._newly_due()

    def advance(self, *, time_ns: int) -> tuple[DkgMessage, ...]:
        """Take the time of the next block, before its messages; return what is newly due. Also the way to begin."""
        before = self._state.round
        self._state = transcript.tick(self._state, time_ns=time_ns)
        if self._state.round != before:
            for memory in (self._keys, self._dealings, self._read, self._made, self._sent):
                memory.clear()
        return self._newly_due()

    def pending(self) -> tuple[DkgMessage, ...]:
        """Return all that is due and not yet on record, the same objects every time: what to submit after a restart."""
        return tuple(self._message(name) for name in self._due())

    def share(self) -> Share | None:
        """Return the share once the round is done, None before, and None for who has no seat in the outcome.

        Raises:
            BadShare: a dealing on record does not open with this root: it is not the root that registered the keys.
        """
        keys, me = transcript.outcome(self._state), self._as_receiver()
        if keys is None or me is None:
            return None
        dealt = [self._reading(dealer, me) for dealer in qualified.dealers(self._state)]
        good = [one for one in dealt if one is not None]
        if len(good) != len(dealt):
            raise BadShare("a dealing on record does not open with this root")
        scalar = polynomial.secret_weighted_sum([one.share for one in good], qualified.weights(self._state))
        pepper = SecretBytes(b"".join(one.pepper.reveal() for one in good))
        if self._state.purpose == "resharing":
            handed_on = messages.read_pepper(self._state, self._secrets(), me, self._dealings)
            if handed_on is None:
                raise BadShare("no dealer handed the pepper on")
            pepper = handed_on
        return Share(me.seat, scalar, pepper, keys)

    def wipe(self) -> None:
        """Overwrite the root: the one-time keys of the ceremony end here."""
        self._root.wipe()

    # --- what is due ---

    def _newly_due(self) -> tuple[DkgMessage, ...]:
        fresh = [name for name in self._due() if name not in self._sent]
        self._sent.update(fresh)
        return tuple(self._message(name) for name in fresh)

    def _due(self) -> Iterator[str]:
        """Yield the names of the messages that the present state wants from this member."""
        state, receiver, dealer = self._state, self._as_receiver(), self._as_dealer()
        match state.phase:
            case "keys" if receiver is not None and not receiver.keys:
                yield "keys"
            case "dealing" if dealer is not None and not dealer.envelopes and self._can_deal(dealer):
                yield "dealing"
            case "verdicts" if receiver is not None and not receiver.satisfied:
                yield from self._judgement(receiver)
            case "extraction" if dealer is not None and not dealer.extracted:
                if messages.has_dealt(state, self._secrets(), dealer):
                    yield "extraction"
            case _:
                return

    def _judgement(self, me: Receiver) -> Iterator[str]:
        """Complain about each bad dealing; be satisfied when there is none left and the pepper has arrived."""
        if not messages.has_registered(self._state, self._secrets(), me):
            return  # another root's keys: every dealing would look bad, and no complaint would hold
        accused = [dealer for dealer in qualified.dealers(self._state) if self._reading(dealer, me) is None]
        if accused:
            yield from (f"complaint {dealer.seat}" for dealer in accused)
        elif self._state.purpose == "generation" or self._has_pepper(me):
            yield "verdict"

    def _message(self, name: str) -> DkgMessage:
        if name not in self._made:
            self._made[name] = self._make(name)
        return self._made[name]

    def _make(self, name: str) -> DkgMessage:
        state, secrets, receiver, dealer = self._state, self._secrets(), self._as_receiver(), self._as_dealer()
        match name.split():
            case ["keys"]:
                return messages.make_keys(state, secrets)
            case ["dealing"] if dealer is not None and state.purpose == "generation":
                return messages.make_generation_dealing(state, secrets, dealer, self._keys)
            case ["dealing"] if dealer is not None and self._inherited is not None:
                return messages.make_resharing_dealing(state, secrets, dealer, self._keys, self._inherited)
            case ["complaint", seat] if receiver is not None:
                accused = next(one for one in state.dealers if one.seat == int(seat))
                return messages.make_complaint(state, secrets, receiver, accused, self._dealings[accused.member])
            case ["extraction"] if dealer is not None:
                return messages.make_extraction(state, secrets, dealer)
            case _:
                return DkgVerdict(state.round)

    # --- who this member is, and what it has read ---

    def _secrets(self) -> RoundSecrets:
        return RoundSecrets(self._root, self._state)

    def _can_deal(self, me: Dealer) -> bool:
        """Whether there is something to deal: in a resharing, the very share that the round expects from this seat."""
        if self._state.purpose == "generation":
            return True
        if self._inherited is None:
            return False
        keys = self._inherited.committee
        return me.anchor in [seat.public_share for seat in keys.seats if seat.seat == self._inherited.seat == me.seat]

    def _has_pepper(self, me: Receiver) -> bool:
        return messages.read_pepper(self._state, self._secrets(), me, self._dealings) is not None

    def _as_dealer(self) -> Dealer | None:
        return next((one for one in qualified.dealers(self._state) if one.member == self._member), None)

    def _as_receiver(self) -> Receiver | None:
        return next((one for one in qualified.receivers(self._state) if one.member == self._member), None)

    def _reading(self, dealer: Dealer, me: Receiver) -> Dealt | None:
        if dealer.seat not in self._read:
            dealt = self._dealings[dealer.member]
            self._read[dealer.seat] = messages.read_dealing(self._state, self._secrets(), me, dealer, dealt)
        return self._read[dealer.seat]
