"""Gatekeepers who take part in whatever ceremony the rules open, for tests of whom the committee is handed on to."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from typing import Any

from keephold.base.ids import PublicKey
from keephold.custody.secret import release
from keephold.custody.secret.dealer import Participant
from keephold.custody.secret.share import Share
from keephold.protocol.custody import DkgMessage, RoundState
from keephold.protocol.state import CommitteeRecord, committee_path, round_path

PHASE = 60
INPUT = [b"x" * 32]
Keep = Callable[[bytes, DkgMessage], bool]


class Court:
    """A desk with gatekeepers who take part in whatever ceremony the ledger opens."""

    def __init__(self, desk: Any, enclave: Any, new_key: Any) -> None:
        self.desk, self.enclave, self.new_key = desk, enclave, new_key
        self.enclaves: dict[PublicKey, Any] = {}
        self.shares: dict[PublicKey, list[Share]] = {}

    def enrol(self, *names: str, **options: Any) -> list[Any]:
        made = self.desk.enrol(*(self.enclave(name, "gatekeeper", **options) for name in names))
        self.enclaves.update((item.identity, item) for item in made)
        return made

    def renew(self, *items: Any) -> None:
        self.desk.send(self.new_key("anyone"), self.desk.collateral())
        for item in items:
            item.boot += 1
            self.desk.send(item, self.desk.registration(item))

    def govern(self, action: Any) -> None:
        self.desk.send(self.new_key("anyone"), self.desk.govern(action))

    @property
    def record(self) -> CommitteeRecord:
        return self.desk.record(committee_path(), CommitteeRecord) or CommitteeRecord()

    @property
    def round(self) -> RoundState:
        state = self.desk.record(round_path(self.record.round), RoundState)
        assert isinstance(state, RoundState)
        return state

    def hold(self, keep: Keep = lambda *_: True) -> None:
        """Run the ceremony under way; what `keep` refuses is never sent."""
        opened = self.round
        names = [*opened.dealers, *opened.receivers]
        parties = {PublicKey(one.member): self._party(PublicKey(one.member), opened) for one in names}
        queue = [
            (who, message) for who, party in parties.items() for message in party.advance(time_ns=self.desk.time_ns)
        ]
        while self.round.phase not in ("done", "failed"):
            while queue:
                who, message = queue.pop(0)
                if not keep(who, message):
                    continue
                self.desk.send(self.enclaves[who], message)
                for other, party in parties.items():
                    queue += [(other, due) for due in party.observe(who, message, time_ns=self.desk.time_ns)]
            if self.round.phase not in ("done", "failed"):
                self.desk.block(after_s=PHASE + 1)
                for other, party in parties.items():
                    queue += [(other, due) for due in party.advance(time_ns=self.desk.time_ns)]
        for who, party in parties.items():
            share = party.share()
            if share is not None:
                self.shares.setdefault(who, []).append(share)

    def _party(self, who: PublicKey, opened: RoundState) -> Participant:
        shares = [one for one in self.shares.get(who, ()) if one.sharing_epoch + 1 == opened.sharing_epoch]
        inherited = shares[-1] if shares and opened.purpose == "resharing" else None
        return Participant.begin(member=who, opened=opened, entropy=secrets.token_bytes, inherited=inherited)[0]

    def partials(self, items: Iterable[Any], at: int = -1) -> list[Any]:
        return [release.partial(self.shares[item.identity][at], INPUT, secrets.token_bytes) for item in items]

    def seed(self, items: Iterable[Any]) -> bytes:
        (seed,) = release.combine(self.partials(items), self.record.keys[0], INPUT)
        return seed.reveal()


def identities(items: Iterable[Any]) -> set[bytes]:
    return {item.identity for item in items}
