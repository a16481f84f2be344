"""A gatekeeper's part in key ceremonies: verified blocks in, messages to submit out, a share in the vault. No network.

    idle ──a round opens with us in it, its members verified──> taking part ──done──> idle, share kept
      └──opened before we looked, or by other law: not ours──> idle    └──failed, or diverged──> idle, root erased

What is written before what is sent: the journal (root of all secrets of the ceremony, how it opened, and where) is
durable before the first message leaves, and the share before the journal is erased. Whoever is killed anywhere in
between reads the journal, hears the round's messages again from the ledger, and goes on where it was; without a journal
(no durable seal) it stays silent and is dropped, which costs the round a seat and never a secret.

What is believed: that the ledger *opened* the round, in this order of messages. Who is seated is verified by the caller
(`Opening`), the size and threshold are governance's, the first state is recomputed here, and the rest is the
participant's own computation. Where the ledger's state differs from it, somebody runs other rules: we fall silent.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, final

from keephold.base.errors import (
    BadShare,
    ConfigurationError,
    EncodingError,
    LedgerRefused,
    RollbackDetected,
    SealBroken,
)
from keephold.base.ids import NetworkId, PublicKey
from keephold.crypto.secret import SecretBytes
from keephold.custody.public.opening import open_generation
from keephold.custody.secret.dealer import Participant
from keephold.custody.secret.release import Entropy
from keephold.custody.secret.share import Share
from keephold.enclave.vault import Vault
from keephold.protocol.codec import Record, decode, encode
from keephold.protocol.custody import CommitteeKeys, DkgMessage, RoundState
from keephold.protocol.governance import Constitution
from keephold.protocol.types import Bytes32, Positive

_JOURNAL: Final = "ceremony"
_SHARE: Final = "share"
_NEXT_SHARE: Final = "share-next"


class _Journal(Record):
    root: Bytes32
    opened: RoundState
    height: Positive


@dataclass(frozen=True, slots=True)
class Opening:
    """A round that the ledger opened with us in it. The caller owes the verification of every member."""

    state: RoundState
    height: int
    """Of the block after which this was the state."""

    @property
    def members(self) -> tuple[PublicKey, ...]:
        """Dealers and receivers, each once."""
        named = [*(dealer.member for dealer in self.state.dealers), *(one.member for one in self.state.receivers)]
        return tuple(PublicKey(member) for member in dict.fromkeys(named))


@dataclass(frozen=True, slots=True)
class Heard:
    """What one block contributed to the ceremony."""

    height: int
    time_ns: int
    accepted: tuple[tuple[PublicKey, DkgMessage], ...]
    """Sender and message, in order, of what the ledger accepted."""


@final
class Ceremony:
    """One gatekeeper's shares and ceremonies."""

    def __init__(self, vault: Vault, own: PublicKey, network: NetworkId, entropy: Entropy) -> None:
        """Read what the vault kept.

        Raises:
            RollbackDetected: it holds something that does not open or is not what we wrote.
        """
        self._vault: Final = vault
        self._own: Final = own
        self._network: Final = network
        self._entropy: Final = entropy
        self._participant: Participant | None = None
        self._height = 0
        self.was_restarted: Final = vault.holds(_SHARE) or vault.holds(_NEXT_SHARE)
        self._shares: Final[list[Share]] = [
            share for name in (_SHARE, _NEXT_SHARE) if (share := self._stored(name)) is not None
        ]
        if vault.holds(_JOURNAL):
            self._resume()

    @property
    def is_taking_part(self) -> bool:
        """Whether a ceremony is under way with us in it."""
        return self._participant is not None

    @property
    def height(self) -> int:
        """Height of the last block heard: after a restart, messages have to be heard again from the next one on."""
        return self._height

    def share_for(self, committee: CommitteeKeys) -> Share | None:
        """Return our share of the committee in office, None without one."""
        return next((share for share in self._shares if share.committee == committee), None)

    def settle(self, committee: CommitteeKeys) -> None:
        """Erase older shares: the committee of ours that is in office has been proven final."""
        current = self.share_for(committee)
        if current is None or self._shares == [current]:
            return
        self._vault.write(_SHARE, current.to_sealed_bytes())
        self._vault.remove(_NEXT_SHARE)
        for share in self._shares:
            if share is not current:
                share.wipe()
        self._shares[:] = [current]

    def wipe(self) -> None:
        """Overwrite what is in memory: the process ends."""
        for share in self._shares:
            share.wipe()
        self._shares.clear()
        if self._participant is not None:
            self._participant.wipe()
        self._participant = None

    # --- opening ---

    def check_opening(self, opening: Opening, law: Constitution) -> None:
        """Check that this is how a round of this network opens; who its members are is the caller's business.

        Raises:
            LedgerRefused: it is not: other members' word, another threshold, or messages were missed.
        """
        state = opening.state
        rules = law.committee
        # (1) By the law in force.
        if (
            state.threshold != rules.threshold
            or len(state.receivers) != rules.seats
            or state.phase_ns != rules.phase_ns
        ):
            raise LedgerRefused("governance", "a round that is not governance's")
        # (2) Exactly the first state of a generation: nothing was said yet, so nothing was missed. A resharing deals
        #     the share itself, and is taken part in only from a committee that we sit in.
        if state.purpose == "resharing":
            self._check_resharing(state)
            return
        try:
            expected = open_generation(
                network=self._network,
                round_number=state.round,
                members=[PublicKey(receiver.member) for receiver in state.receivers],
                threshold=rules.threshold,
                phase_ns=rules.phase_ns,
                time_ns=state.deadline_ns - rules.phase_ns,
            )
        except ConfigurationError as error:
            raise LedgerRefused("wrong_round", str(error)) from error
        if state != expected:
            raise LedgerRefused("wrong_round", "not the first state of a round")

    def _check_resharing(self, state: RoundState) -> None:
        share = next((one for one in self._shares if one.sharing_epoch + 1 == state.sharing_epoch), None)
        fresh = all(not one.keys and not one.satisfied for one in state.receivers) and not state.drops
        if share is None or not fresh or state.phase != "keys" or state.network != self._network:
            raise LedgerRefused("wrong_round", "not the first state of a resharing of our key")
        known = share.committee
        anchors = {(one.seat, one.member, one.anchor) for one in state.dealers}
        if (state.master, state.peppers) != (known.master, known.peppers) or anchors != {
            (seat.seat, seat.member, seat.public_share) for seat in known.seats
        }:
            raise LedgerRefused("wrong_round", "a resharing of another key")

    def begin(self, opening: Opening, time_ns: int) -> tuple[DkgMessage, ...]:
        """Take part; the journal is durable when this returns. `time_ns`: of the block that opened the round."""
        inherited = next((one for one in self._shares if one.sharing_epoch + 1 == opening.state.sharing_epoch), None)
        self._participant, root = Participant.begin(
            member=self._own,
            opened=opening.state,
            entropy=self._entropy,
            inherited=inherited if opening.state.purpose == "resharing" else None,
        )
        self._height = opening.height
        journal = _Journal(root.reveal(), opening.state, opening.height)
        self._vault.write(_JOURNAL, SecretBytes(encode(journal)))
        return self._participant.advance(time_ns=time_ns)

    # --- going on ---

    def hear(self, blocks: Iterable[Heard]) -> tuple[DkgMessage, ...]:
        """Take blocks in order, none left out; return what is newly due."""
        due: list[DkgMessage] = []
        for block in blocks:
            if self._participant is None or block.height <= self._height:
                continue
            due += self._hear(self._participant, block)
        return tuple(message for message in due if self._participant and message.round == self._participant.state.round)

    def pending(self) -> tuple[DkgMessage, ...]:
        """Return all that is due and not on record yet: after a restart, or when a message was refused by accident."""
        return self._participant.pending() if self._participant is not None else ()

    def compare(self, proven: RoundState) -> bool:
        """Compare the ledger's state, as of the last block heard, with ours; fall silent if it differs."""
        if self._participant is None or proven.round != self._participant.state.round:
            return True
        if proven == self._participant.state:
            return True
        self.abandon()
        return False

    def abandon(self) -> None:
        """Leave the ceremony: erase its root. A seat is lost; a secret is not."""
        if self._participant is not None:
            self._participant.wipe()
        self._participant = None
        self._vault.remove(_JOURNAL)

    def _hear(self, participant: Participant, block: Heard) -> list[DkgMessage]:
        due = list(participant.advance(time_ns=block.time_ns))
        for sender, message in block.accepted:
            try:
                due += participant.observe(sender, message, time_ns=block.time_ns)
            except LedgerRefused:
                # The ledger accepted what these rules refuse: it runs others.
                self.abandon()
                return []
        self._height = block.height
        if participant.state.phase in ("done", "failed"):
            self._finish(participant)
            return []
        return due

    def _finish(self, participant: Participant) -> None:
        try:
            share = participant.share()
        except BadShare:
            share = None
        if share is not None:
            # Durable before the root that it could be computed from again is erased.
            self._vault.write(_NEXT_SHARE if self._shares else _SHARE, share.to_sealed_bytes())
            self._shares.append(share)
        self.abandon()

    # --- the vault ---

    def _stored(self, name: str) -> Share | None:
        if not self._vault.holds(name):
            return None
        try:
            return Share.from_sealed_bytes(self._vault.read(name))
        except (BadShare, SealBroken) as error:
            raise RollbackDetected(f"{name}: {error}") from error

    def _resume(self) -> None:
        try:
            journal = decode(self._vault.read(_JOURNAL).reveal(), _Journal)
        except (EncodingError, SealBroken) as error:
            raise RollbackDetected(f"{_JOURNAL}: {error}") from error
        opened = journal.opened
        inherited = next((one for one in self._shares if one.sharing_epoch + 1 == opened.sharing_epoch), None)
        self._participant = Participant(
            SecretBytes(journal.root),
            member=self._own,
            opened=opened,
            inherited=inherited if opened.purpose == "resharing" else None,
        )
        self._height = journal.height
