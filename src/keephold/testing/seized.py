"""Gatekeepers in the hands of somebody who broke their machines: everything they hold, and what can be made of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, final

from keephold.base.errors import BadShare
from keephold.base.ids import ContractId, SlotTag
from keephold.crypto.secret import SecretBytes
from keephold.custody.secret.release import combine, partial, prf_input
from keephold.custody.secret.share import Share
from keephold.gatekeeper.shares import Shares
from keephold.protocol.lines import ContractLine
from keephold.protocol.state import ContractRecord, contract_path
from keephold.sealing.contract_keys import ContractKeys
from keephold.testing.bench import GATEKEEPERS, Bench
from keephold.testing.handle import Handle

_OWN: Final = "c/"
"""Before each key of a contract's own slots, apart from the worker's; see `worker.state`."""


@final
class Seized:
    """The shares of some gatekeepers."""

    def __init__(self, bench: Bench, number: int) -> None:
        """Open what the first `number` gatekeepers sealed, as their broken machines would.

        Raises:
            ValueError: not that many.
        """
        if not 0 <= number <= len(GATEKEEPERS):
            raise ValueError(f"there are {len(GATEKEEPERS)} gatekeepers")
        self._bench: Final = bench
        self._shares: Final[list[Share]] = bench.run(self._opened(number))

    async def _opened(self, number: int) -> list[Share]:
        committee = self._bench.committee()
        found = (
            Shares(self._bench.net.vault(name, "gatekeeper")).of(committee) if committee is not None else None
            for name in GATEKEEPERS[:number]
        )
        return [share for share in found if share is not None]

    def slots(self, contract: Handle) -> Mapping[str, bytes]:
        """Derive a contract's key from these shares and open its state on the ledger: storage key to value, as stored.

        Raises:
            BadShare: these shares make no key.
        """
        return self._bench.run(self._slots(ContractId(contract.address.value)))

    async def _slots(self, contract: ContractId) -> Mapping[str, bytes]:
        net, committee = self._bench.net, self._bench.committee()
        record = net.node.reader.record(contract_path(contract), ContractRecord)
        if committee is None or record is None:
            raise BadShare("there is no key yet")
        inputs = [prf_input(net.network, ContractLine(contract, record.epoch))]
        partials = [partial(share, inputs, lambda size: SecretBytes.random(size).reveal()) for share in self._shares]
        (seed,) = combine(partials, committee, inputs)
        keys = ContractKeys(seed, net.network, contract, record.epoch)
        opened = (
            keys.slots.open(SlotTag(tag), sealed) for tag, sealed in net.node.application.map.newest.slots[contract]
        )
        return {slot.key.removeprefix(_OWN): slot.value for slot in opened if slot.key.startswith(_OWN)}
