"""The keys of one contract that its worker holds: of the present epoch and, while it changes, of the next.

Nothing outlives its use: keys of an epoch that the proven record does not name are let go at once. Letting go is how
they are wiped: a question that is being answered under them ends first, then the last reference goes, and with it the
secrets are overwritten.
"""

from __future__ import annotations

from typing import final

from keephold.base.ids import InstanceId, PublicKey
from keephold.protocol.rotation import may_migrate, open_epochs
from keephold.protocol.state import ContractRecord
from keephold.protocol.transactions import PublishKey
from keephold.sealing.contract_keys import ContractKeys
from keephold.worker.state import Opened


@final
class Epochs:
    """Keys by what they are for."""

    def __init__(self) -> None:
        self.present: ContractKeys | None = None
        self.opened: Opened | None = None
        """What slots opened to under `present`; there whenever that is."""
        self.coming: ContractKeys | None = None

    def take(self, keys: ContractKeys, record: ContractRecord) -> None:
        """Keep keys that are of use."""
        if keys.epoch == record.epoch:
            if self.present is None:
                self.present, self.opened = keys, Opened(keys.slots)
        elif keys.epoch in open_epochs(record):
            self.coming = keys

    def turn(self, record: ContractRecord) -> bool:
        """Let go of what the record does not name any more; say whether the present keys changed."""
        before, epochs = self.present, open_epochs(record)
        if self.present is not None and self.present.epoch != record.epoch:
            self.present = self.opened = None
        if self.coming is not None and self.coming.epoch not in epochs[1:]:
            keys, self.coming = self.coming, None
            self.take(keys, record)
        return self.present is not before

    def missing(self, record: ContractRecord) -> tuple[int, ...]:
        """Return the epochs whose keys are of use and not here."""
        held = {keys.epoch for keys in (self.present, self.coming) if keys is not None}
        return tuple(epoch for epoch in open_epochs(record) if epoch not in held)

    def publication(self, record: ContractRecord, identity: PublicKey, instance: InstanceId) -> PublishKey | None:
        """Return what this worker has yet to say about the keys of the newest epoch, once it holds them."""
        keys, said = self.present, record.publications
        if record.rotation:
            keys, said = self.coming, record.rotation[0].publications
        if keys is None or identity in {publication.worker for publication in said}:
            return None
        return PublishKey(keys.contract, keys.epoch, instance, keys.signing.public, keys.encryption.public)

    def in_use(self, record: ContractRecord) -> ContractKeys | None:
        """Return the keys to execute under: those on record. Others are a dispute, and nothing is executed then."""
        keys = self.present
        if keys is None or record.phase not in ("active", "rotating") or record.epoch != keys.epoch:
            return None
        return keys if (record.signing_key, record.encryption_key) == _public(keys) else None

    def to_migrate(self, record: ContractRecord) -> tuple[ContractKeys, ContractKeys] | None:
        """Return the keys to seal slots anew from and to; None while it is not time, or while others are on record."""
        old, new = self.in_use(record), self.coming
        if old is None or new is None or not may_migrate(record):
            return None
        rotation = record.rotation[0]
        return (old, new) if (rotation.signing_key, rotation.encryption_key) == _public(new) else None


def _public(keys: ContractKeys) -> tuple[bytes, bytes]:
    return keys.signing.public, keys.encryption.public
