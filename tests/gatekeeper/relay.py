"""A ledger for ceremonies alone: what members say is judged by the rules and heard by all, a block at a time."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Final

from keephold.base.errors import LedgerRefused
from keephold.base.ids import NetworkId, PublicKey
from keephold.custody.public import transcript
from keephold.custody.public.opening import open_generation, open_resharing
from keephold.custody.secret import release
from keephold.enclave.vault import ForgetfulVault
from keephold.gatekeeper.ceremony import Ceremony, Heard, Opening
from keephold.protocol.custody import CommitteeKeys, RoundState

NETWORK: Final = NetworkId(bytes(32))
PHASE_NS: Final = 30 * 10**9
INPUT: Final = [b"x" * 32]


def member(name: str) -> PublicKey:
    return PublicKey(name.encode().ljust(32, b"."))


class Killed(Exception):
    """The process dies here."""


class MortalVault:
    """Keeps what was written; the process dies at its n-th change, before or after that is durable."""

    def __init__(self) -> None:
        self.held = ForgetfulVault()
        self.changes = 0
        self.dies_at = -1
        self.dies_after = False

    def write(self, name, plaintext) -> None:
        self._change(lambda: self.held.write(name, plaintext))

    def remove(self, name) -> None:
        self._change(lambda: self.held.remove(name))

    def read(self, name):
        return self.held.read(name)

    def holds(self, name) -> bool:
        return self.held.holds(name)

    def _change(self, apply) -> None:
        self.changes += 1
        is_last = self.changes == self.dies_at
        if not is_last or self.dies_after:
            apply()
        if is_last:
            raise Killed


class Relay:
    """Members by name, a round, and the committee in office."""

    def __init__(self) -> None:
        self.vaults: dict[str, MortalVault] = {}
        self.members: dict[str, Ceremony] = {}
        self.office: CommitteeKeys | None = None
        self.opening: Opening | None = None
        self.state: RoundState | None = None
        self.blocks: list[Heard] = []
        self.height = 5
        self.time_ns = 10**9
        self.killed: list[str] = []

    # --- members ---

    def boot(self, name: str) -> Ceremony:
        """Start a member's process, again if it ran before."""
        vault = self.vaults.setdefault(name, MortalVault())
        self.members[name] = made = Ceremony(vault, member(name), NETWORK, secrets.token_bytes)
        return made

    def guarded(self, name: str, step) -> None:
        """Have a member do something; whoever dies of it starts again and catches up."""
        try:
            step(self.members[name])
        except Killed:
            self.killed.append(name)
            again = self.boot(name)
            if self.opening is not None and self.state == self.opening.state and not again.is_taking_part:
                self._begin(again)
            again.hear(self.blocks)
            if self.office is not None:
                again.settle(self.office)

    # --- rounds ---

    def generate(self, names: str, threshold: int) -> None:
        for name in names:
            self.boot(name)
        state = open_generation(
            network=NETWORK,
            round_number=1,
            members=[member(name) for name in names],
            threshold=threshold,
            phase_ns=PHASE_NS,
            time_ns=self.time_ns,
        )
        self.hold(names, state)

    def reshare(self, names: str, threshold: int, silent: Sequence[str] = ()) -> None:
        assert self.office is not None
        state = open_resharing(
            self.office,
            round_number=self.state.round + 1 if self.state else 1,
            members=[member(name) for name in names],
            threshold=threshold,
            phase_ns=PHASE_NS,
            time_ns=self.time_ns,
        )
        for name in names:
            if name not in self.members:
                self.boot(name)
        dealers = {seat.member for seat in self.office.seats}
        everyone = [name for name in self.members if member(name) in dealers or name in names]
        self.hold([name for name in everyone if name not in silent], state)

    def hold(self, names: Sequence[str], state: RoundState) -> None:
        """Run a round to its end, one message a block; then let all see who is in office."""
        self.opening, self.state, self.blocks = Opening(state, self.height, self.office), state, []
        for name in names:
            self.guarded(name, self._begin)
        while self.state.phase not in ("done", "failed"):
            said = next(((name, m) for name in names for m in self.members[name].pending()), None)
            if said is None:
                self.time_ns = max(self.time_ns, self.state.deadline_ns)
            self.height += 1
            self.time_ns += 1
            self.state = transcript.tick(self.state, time_ns=self.time_ns)
            accepted = ()
            if said is not None:
                name, message = said
                try:
                    self.state = transcript.apply(self.state, member(name), message, time_ns=self.time_ns)
                except LedgerRefused:
                    pass
                else:
                    accepted = ((member(name), message),)
            self.blocks.append(Heard(self.height, self.time_ns, accepted))
            before, self.office = self.office, transcript.outcome(self.state) or self.office
            for name in names:
                # The old committee was proven in office so far; the new one may be before its last block is heard.
                self.guarded(name, lambda one, office=before: office is not None and one.settle(office))
                self.guarded(name, lambda one: self.office is not None and one.settle(self.office))
                self.guarded(name, lambda one: one.hear(self.blocks))
                self.guarded(name, lambda one: self.office is not None and one.settle(self.office))
        self.height += 1

    def _begin(self, one: Ceremony) -> None:
        assert self.opening is not None
        one.begin(self.opening, self.time_ns, self.opening.dealers)

    # --- keys ---

    def seed(self, *names: str) -> bytes:
        assert self.office is not None
        shares = [self.members[name].share_for(self.office) for name in names]
        partials = [release.partial(share, INPUT, secrets.token_bytes) for share in shares if share is not None]
        (seed,) = release.combine(partials, self.office, INPUT)
        return seed.reveal()

    def stored(self, name: str) -> list[str]:
        """What a member's disk holds."""
        return [item for item in ("ceremony", "share", "share-next") if self.vaults[name].holds(item)]
