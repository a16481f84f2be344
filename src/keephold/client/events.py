"""Events: found by their tags in proven results, opened by whoever they are for.

1. The contract's record is proven: so many entries of its inbox are consumed.
2. A node is asked for the results that consumed them. What it sends is a hint: each is then proven to stand on the
   chain and to have been accepted, by as many workers as the contract's policy asks for. Entries without such a result
   mean that the node left something out.
3. For each entry the tags of this reader's events are computed and looked up, until one is missing. Nothing is opened
   on trial, and a node that serves results does not learn whose events are read.
4. What is found opens under the reader's key, or, if public, under the key that everybody can compute.

The reader's key is of one key epoch, and the contract tells it under that epoch only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final, final

from keephold.base.errors import AbiError, CryptoError, EncodingError, LedgerRefused, NotFound, ProofInvalid
from keephold.base.ids import ContractId
from keephold.client.abi import Method, decode_value
from keephold.contract.errors import Mismatch
from keephold.contract.values import Schema, parse
from keephold.crypto.hashing import sha256
from keephold.crypto.secret import SecretBytes
from keephold.follower.follow import Follower
from keephold.protocol.codec import decode
from keephold.protocol.state import ContractRecord, contract_path, result_digest
from keephold.protocol.transactions import Result, SubmitResult, open_signed
from keephold.protocol.wire import Interest, StreamRequest
from keephold.sealing.event import event_tag, open_event, public_event_key

EVENT_KEY: Final = Method(
    name="$event_key",
    kind="view",
    doc="Return the reader's event key.",
    parameters=(),
    returns={"type": "string", "format": "hex"},
    rejects=(),
    public=False,
)
"""The view that every contract has."""


@dataclass(frozen=True, slots=True)
class ContractEvent:
    """One event, opened."""

    name: str
    """Of its class."""
    fields: Mapping[str, Any]
    """As Python values."""
    body: bytes
    """The same as JSON, as the contract wrote it."""
    entry: int
    """Inbox index of the call that emitted it; reading on `since` here yields what came later."""
    public: bool
    """Whether everybody can read it."""


@final
class EventLog:
    """Reads one contract's events."""

    def __init__(self, follower: Follower, contract: ContractId, schemas: Mapping[str, Schema]) -> None:
        """`schemas` are those of the contract's ABI."""
        self._follower: Final = follower
        self._contract: Final = contract
        self._schemas: Final = schemas

    async def read(self, key: SecretBytes | None, epoch: int, since: int) -> tuple[ContractEvent, ...]:
        """Return the reader's and the public events of entries after `since`; without a key the public ones only.

        Raises:
            NotFound: no such contract.
            ProofInvalid: the node leaves results out.
            AbiError: an event that the ABI does not describe.
            ChainRefused, NodeUnreachable
        """
        results = await self.results(since)
        # (3), (4) Tags, then keys.
        found: list[ContractEvent] = []
        for result in results:
            own = key if result.epoch == epoch else None
            found += (event for event in self._opened(result, own) if event.entry > since)
        return tuple(found)

    async def results(self, since: int = 0) -> list[Result]:
        """Return the accepted results that consumed the entries after `since`, in order.

        Raises:
            NotFound, ProofInvalid, ChainRefused, NodeUnreachable: as `read`.
        """
        # (1) So many entries are consumed.
        path = contract_path(self._contract)
        proven = await self._follower.prove([path])
        raw = proven[path]
        if raw is None:
            raise NotFound("no such contract")
        record = decode(raw, ContractRecord)
        # (2) These results consumed them.
        if since >= record.done:
            return []
        return await self._follower.nodes.checked(lambda: self._accepted(record, since, proven.height))

    async def _accepted(self, record: ContractRecord, since: int, height: int) -> list[Result]:
        """Return the results that cover entries `since + 1` to `record.done`, in order."""
        page = await self._follower.nodes.ask(lambda remote: remote.inbox(self._contract, since + 1))
        if not page.entries:
            raise ProofInvalid("the node has no inbox entry where the contract consumed one")
        request = StreamRequest(page.entries[0].height, Interest(contracts=(self._contract,), sparse=True))
        votes: dict[bytes, dict[bytes, bytes]] = {}
        results: list[Result] = []
        done = since
        async with aclosing(self._follower.remote.stream(request)) as frames:
            async for frame in frames:
                candidates = [vote for item in frame.transactions if (vote := self._vote(item.raw, done)) is not None]
                located = await self._follower.locate([sha256(raw) for raw, _, _ in candidates])
                for raw, sender, result in candidates:
                    place = located.get(sha256(raw))
                    if place is None or place.result.code:
                        continue
                    voters = votes.setdefault(result_digest(result), {})
                    voters[sender] = raw
                    last = result.first + result.count - 1
                    if len(voters) == record.policy.quorum and result.first <= done + 1 <= last:
                        results.append(result)
                        done = last
                if done >= record.done:
                    return results
                if frame.height > height:
                    break
        raise ProofInvalid(f"the node shows results up to entry {done}; {record.done} entries are consumed")

    def _vote(self, raw: bytes, done: int) -> tuple[bytes, bytes, Result] | None:
        """Return bytes, sender and result of a transaction that may be a vote for what is not covered yet."""
        try:
            signed = open_signed(raw, self._follower.view.network)
        except (EncodingError, LedgerRefused, CryptoError):
            return None
        body = signed.body
        if not isinstance(body, SubmitResult) or body.result.contract != self._contract:
            return None
        return (raw, signed.sender, body.result) if body.result.first + body.result.count - 1 > done else None

    def _opened(self, result: Result, key: SecretBytes | None) -> Iterator[ContractEvent]:
        by_tag = {event.tag: event for event in result.events}
        public = public_event_key(self._follower.view.network, self._contract, result.epoch)
        for entry in range(result.first, result.first + result.count):
            for reader in (key, public):
                if reader is None:
                    continue
                position = 0
                while (sealed := by_tag.get(event_tag(reader, entry, position))) is not None:
                    plain = open_event(reader, sealed)
                    yield self._described(plain.name, plain.data, entry, public=reader is public)
                    position += 1

    def _described(self, name: str, body: bytes, entry: int, *, public: bool) -> ContractEvent:
        try:
            fields = decode_value(self._schemas[name], parse(body.decode()), name)
        except (KeyError, Mismatch, UnicodeDecodeError) as error:
            raise AbiError(f"an event that the ABI does not describe: {name}: {error}") from error
        return ContractEvent(name, fields, body, entry, public)
