"""A gatekeeper's part in key ceremonies: verified blocks in, messages to submit out, a share in the vault. No network.

    idle ──a round opens with us in it, its members verified──> taking part ──done──> idle, share kept
      └──opened before we looked, or by other law: not ours──> idle    └──failed, or diverged──> idle, root erased

What is written before what is sent: the journal (root of all secrets of the ceremony, how it opened, and where) is
durable before the first message leaves, and the share before the journal is erased. Whoever is killed anywhere in
between reads the journal, hears the round's messages again from the ledger, and goes on where it was; without a journal
(no durable seal) it stays silent and is dropped, which costs the round a seat and never a secret.

In a resharing the old share stays in use until a verified header shows the successor in office (`settle`, `shares`).

What is believed: that the ledger *opened* the round, in this order of messages. Who is seated is verified by the caller
(`Opening`, `handover`), the size and threshold are governance's, the first state is recomputed here, and the rest is
the participant's own computation. Where the ledger's state differs from it, somebody runs other rules: we fall silent.
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
from keephold.custody.public import qualified
from keephold.custody.public.opening import open_generation, open_resharing
from keephold.custody.secret.dealer import Participant
from keephold.custody.secret.release import Entropy
from keephold.custody.secret.share import Share
from keephold.enclave.vault import Vault
from keephold.gatekeeper.shares import Shares
from keephold.protocol.codec import Record, decode, encode
from keephold.protocol.custody import CommitteeKeys, DkgMessage, DkgVerdict, RoundState
from keephold.protocol.governance import Constitution
from keephold.protocol.types import Bytes32, Positive, PublicKeyBytes

_JOURNAL: Final = "ceremony"


class _Journal(Record):
    root: Bytes32
    opened: RoundState
    height: Positive
    vetted: tuple[PublicKeyBytes, ...] = ()
    """Dealers of a resharing that were verified, sorted."""


@dataclass(frozen=True, slots=True)
class Opening:
    """A round that the ledger opened with us in it. The caller owes the verification of every member."""

    state: RoundState
    height: int
    """Of the block after which this was the state."""
    office: CommitteeKeys | None = None
    """The committee that the same header proves to be in office."""

    @property
    def dealers(self) -> tuple[PublicKey, ...]:
        """Those who deal."""
        return tuple(PublicKey(one.member) for one in self.state.dealers)

    @property
    def receivers(self) -> tuple[PublicKey, ...]:
        """Those who receive shares."""
        return tuple(PublicKey(one.member) for one in self.state.receivers)


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
        self._vetted: frozenset[bytes] = frozenset()
        self._height = 0
        self._shares: Final = Shares(vault)
        self.was_restarted: Final = self._shares.were_stored
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

    @property
    def state(self) -> RoundState | None:
        """The round under way, as computed here."""
        return None if self._participant is None else self._participant.state

    def share_for(self, committee: CommitteeKeys) -> Share | None:
        """Return our share of the committee in office, None without one."""
        return self._shares.of(committee)

    def settle(self, committee: CommitteeKeys) -> None:
        """Erase the shares that this committee, proven to be in office, has succeeded.

        While a ceremony goes on whose share may be ours nothing is erased: a share has to be there first.
        """
        if self._participant is None or self._shares.of(committee) is not None:
            self._shares.settle(committee)

    def wipe(self) -> None:
        """Overwrite what is in memory: the process ends."""
        self._shares.wipe()
        if self._participant is not None:
            self._participant.wipe()
        self._participant = None

    # --- opening ---

    def inherited(self, state: RoundState) -> Share | None:
        """Return the share that this round hands on, None in a generation and for who has none."""
        return self._shares.dealt_in(state)

    def check_opening(self, opening: Opening, law: Constitution, time_ns: int) -> None:
        """Check that this is how a round of this network opens; who its members are is the caller's business.

        Args:
            opening: what the ledger opened.
            law: in force when the block began.
            time_ns: of that block.

        Raises:
            LedgerRefused: it is not: another law, another committee, or messages were missed.
        """
        state = opening.state
        rules = law.committee
        # (1) By the law in force, at the time of the block.
        if state.threshold != rules.threshold or len(state.receivers) != rules.seats:
            raise LedgerRefused("governance", "a round that is not governance's")
        # (2) A generation where there is no committee; else a resharing of the one in office, and of no other key than
        #     those we have shares of.
        office = opening.office
        if (state.purpose == "generation") != (office is None):
            raise LedgerRefused("wrong_round", f"a {state.purpose} is not what is due")
        if office is not None and not self._shares.know(office.master):
            raise LedgerRefused("wrong_round", "a resharing of another key")
        # (3) Exactly the first state: nothing was said yet, so nothing was missed.
        if state != self._first_state(opening, law, time_ns):
            raise LedgerRefused("wrong_round", "not the first state of a round")

    def _first_state(self, opening: Opening, law: Constitution, time_ns: int) -> RoundState:
        rules, number = law.committee, opening.state.round
        try:
            if opening.office is None:
                return open_generation(
                    network=self._network,
                    round_number=number,
                    members=opening.receivers,
                    threshold=rules.threshold,
                    phase_ns=rules.phase_ns,
                    time_ns=time_ns,
                )
            return open_resharing(
                opening.office,
                round_number=number,
                members=opening.receivers,
                threshold=rules.threshold,
                phase_ns=rules.phase_ns,
                time_ns=time_ns,
            )
        except ConfigurationError as error:
            raise LedgerRefused("wrong_round", str(error)) from error

    def begin(self, opening: Opening, time_ns: int, vetted: Iterable[PublicKey] = ()) -> tuple[DkgMessage, ...]:
        """Take part; the journal is durable when this returns.

        Args:
            opening: checked, its receivers verified.
            time_ns: of the block that opened the round.
            vetted: dealers of a resharing that the caller verified, or knows because the committee is ours.
        """
        self._participant, root = Participant.begin(
            member=self._own,
            opened=opening.state,
            entropy=self._entropy,
            inherited=self.inherited(opening.state),
        )
        self._height = opening.height
        self._vetted = frozenset(vetted)
        journal = _Journal(root.reveal(), opening.state, opening.height, tuple(sorted(self._vetted)))
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
        return tuple(message for message in due if self._is_due(message))

    def pending(self) -> tuple[DkgMessage, ...]:
        """Return all that is due and not on record yet: after a restart, or when a message was refused by accident."""
        if self._participant is None:
            return ()
        return tuple(message for message in self._participant.pending() if self._is_due(message))

    def _is_due(self, message: DkgMessage) -> bool:
        """Whether the message is of this round, and no consent to shares from dealers whom nobody verified."""
        state = self.state
        return (
            state is not None
            and message.round == state.round
            and (not isinstance(message, DkgVerdict) or self._has_vetted_dealers(state))
        )

    def _has_vetted_dealers(self, state: RoundState) -> bool:
        if state.purpose == "generation":
            return True  # dealers are the receivers, verified all
        return sum(dealer.member in self._vetted for dealer in qualified.dealers(state)) >= state.quorum

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
            share = participant.share() if self._has_vetted_dealers(participant.state) else None
        except BadShare:
            share = None
        if share is not None:
            # Durable before the root that it could be computed from again is erased.
            self._shares.keep(share)
        self.abandon()

    # --- the vault ---

    def _resume(self) -> None:
        try:
            journal = decode(self._vault.read(_JOURNAL).reveal(), _Journal)
        except (EncodingError, SealBroken) as error:
            raise RollbackDetected(f"{_JOURNAL}: {error}") from error
        self._vetted = frozenset(journal.vetted)
        self._participant = Participant(
            SecretBytes(journal.root),
            member=self._own,
            opened=journal.opened,
            inherited=self.inherited(journal.opened),
        )
        self._height = journal.height
