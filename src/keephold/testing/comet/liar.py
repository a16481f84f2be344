"""A node that lies to whoever reads from it: the production node, whose answers are forged on their way out.

While the file `HOME/lie` names a `Lie`, what this node's machine endpoints answer is made by the honest node and then
altered; each altered answer is a line in `HOME/lies`. Its ledger and its vote stay honest.

    header      another app hash in the header, and a commit that names it
    value       another value under the honest proof
    receipt     other results, and other receipts under the honest proof
    omission    calls, inbox entries and receipts left out, of an otherwise honest answer
    past        nothing after the newest block of the moment in which the lie began
    fork        another chain: same names, same law, same times; the validator's and governor's keys are its own
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Literal, final

from msgspec.structs import replace as with_fields

from keephold.api.machine import MachineApi
from keephold.chain.wire import decode_signed_header, encode_signed_header
from keephold.crypto.ed25519 import ValidatorKey
from keephold.crypto.secret import SecretBytes
from keephold.crypto.signing import SigningKey
from keephold.ledger.engines.base import Engine
from keephold.ledger.reader import LedgerReader
from keephold.programs import node
from keephold.protocol.codec import Record, decode, encode
from keephold.protocol.genesis import Genesis
from keephold.protocol.wire import FoundTransactions, Frame, InboxPage, LightBlocks, ProveAnswer
from keephold.testing.adversaries import same_names
from keephold.testing.remote import LocalNode

Lie = Literal["header", "value", "receipt", "omission", "past", "fork"]

FILE: Final = "lie"
LIES: Final = "lies"
_POLL: Final = 0.05

Answer = Callable[[bytes], Awaitable[bytes]]
Stream = Callable[[bytes], AsyncGenerator[bytes, None]]


def _flipped(raw: bytes) -> bytes:
    return raw[:-1] + bytes([raw[-1] ^ 1]) if raw else b"\x01"


def _header(signed_header: bytes) -> bytes:
    signed = decode_signed_header(signed_header)
    header = replace(signed.header, app_hash=_flipped(signed.header.app_hash))
    commit = replace(signed.commit, block_id=replace(signed.commit.block_id, hash=header.hash()))
    return encode_signed_header(replace(signed, header=header, commit=commit))


def _result(result: Any) -> Any:
    return with_fields(result, code=result.code ^ 1)


_FORGERIES: Final[dict[tuple[Lie, str], tuple[type[Record], Callable[[Any], Record]]]] = {
    ("header", "stream"): (Frame, lambda it: with_fields(it, signed_header=_header(it.signed_header))),
    ("header", "blocks"): (
        LightBlocks,
        lambda it: LightBlocks(tuple(with_fields(one, signed_header=_header(one.signed_header)) for one in it.blocks)),
    ),
    ("value", "stream"): (
        Frame,
        lambda it: with_fields(it, values=tuple(with_fields(one, value=_flipped(one.value)) for one in it.values)),
    ),
    ("value", "prove"): (
        ProveAnswer,
        lambda it: with_fields(it, values=tuple(with_fields(one, value=_flipped(one.value)) for one in it.values)),
    ),
    ("receipt", "stream"): (
        Frame,
        lambda it: with_fields(
            it,
            results=tuple(map(_result, it.results)),
            receipts=tuple(with_fields(one, receipt=_flipped(one.receipt)) for one in it.receipts),
        ),
    ),
    ("receipt", "transactions"): (
        FoundTransactions,
        lambda it: FoundTransactions(tuple(with_fields(one, result=_result(one.result)) for one in it.found)),
    ),
    ("omission", "stream"): (Frame, lambda it: with_fields(it, transactions=(), ids=(), receipts=(), results=())),
    ("omission", "inbox"): (InboxPage, lambda it: InboxPage(it.entries[:-1])),
    ("omission", "transactions"): (FoundTransactions, lambda it: FoundTransactions(it.found[:-1])),
}


@final
class Liar:
    """What one node tells."""

    def __init__(self, home: Path, genesis: Genesis) -> None:
        self._home: Final = home
        self._genesis: Final = genesis
        self._past: dict[tuple[str, bytes], bytes] = {}
        self._newest = 0
        self._fork: LocalNode | None = None

    def lie(self) -> str:
        """Return what it lies about just now; empty: nothing."""
        try:
            told = (self._home / FILE).read_text()
        except FileNotFoundError:
            told = ""
        if told != "past":
            self._past.clear()
            self._newest = 0
        return told

    def tell(self, lie: str, name: str) -> None:
        """Note a lie."""
        with (self._home / LIES).open("a") as lies:
            lies.write(f"{lie} {name}\n")

    def fork(self) -> LocalNode:
        """Return the node of the other chain."""
        if self._fork is None:
            key = ValidatorKey(SecretBytes(b"f" * 32))
            governor = SigningKey(SecretBytes(b"f" * 32)).public
            genesis = same_names(self._genesis, validator=key.public, governor=governor)
            self._fork = LocalNode(genesis, key, self._home / "fork")
            self._fork.start()
        return self._fork

    def forged(self, name: str, raw: bytes) -> bytes:
        """Return what is told instead of one honest answer."""
        lie = self.lie()
        for (about, endpoint), (kind, alter) in _FORGERIES.items():
            if raw and (about, endpoint) == (lie, name):
                told = encode(alter(decode(raw, kind)))
                if told != raw:
                    self.tell(lie, name)
                return told
        return raw

    def answering(self, name: str, honest: Answer) -> Answer:
        """Return an endpoint that lies when it is told to."""

        async def answer(body: bytes) -> bytes:
            lie = self.lie()
            if lie == "fork":
                self.tell(lie, name)
                return await self.fork().api.endpoints[name](body)
            if lie == "past" and name in {"blocks", "prove", "transactions", "inbox"}:
                self.tell(lie, name)
                if (name, body) not in self._past:
                    self._past[name, body] = await honest(body)
                return self._past[name, body]
            return self.forged(name, await honest(body))

        return answer

    def streaming(self, name: str, honest: Stream) -> Stream:
        """Return a stream that lies when it is told to, and ends whenever that changes."""

        async def stream(body: bytes) -> AsyncGenerator[bytes, None]:
            begun = self.lie()
            source = self.fork().api.streams[name] if begun == "fork" else honest
            records = source(body)
            try:
                while True:
                    upcoming = asyncio.ensure_future(anext(records))
                    while not upcoming.done():
                        await asyncio.wait({upcoming}, timeout=_POLL)
                        if self.lie() != begun:
                            upcoming.cancel()
                            await asyncio.gather(upcoming, return_exceptions=True)
                            return
                    raw = upcoming.result()
                    if begun == "past" and raw:
                        height = decode(raw, Frame).height
                        self._newest = self._newest or height
                        if height > self._newest:
                            self.tell(begun, name)
                            continue
                    if begun == "fork":
                        self.tell(begun, name)
                    yield self.forged(name, raw)
            finally:
                await records.aclose()

        return stream


@final
class LyingApi:
    """What a node mounts of `MachineApi`."""

    def __init__(self, honest: MachineApi, liar: Liar) -> None:
        self.endpoints: Final = {name: liar.answering(name, answer) for name, answer in honest.endpoints.items()}
        self.streams: Final = {name: liar.streaming(name, stream) for name, stream in honest.streams.items()}


def make_liar(home: Path) -> None:
    """Let the node of this process tell what the file says."""

    def made(reader: LedgerReader, engine: Engine) -> LyingApi:
        return LyingApi(MachineApi(reader, engine), Liar(home, reader.genesis))

    setattr(node, "MachineApi", made)  # noqa: B010 - where the node imported it to
