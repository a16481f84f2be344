"""A ledger on paper: headers, proofs and receipts by production code, served to a client by a node that can lie."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from keephold.base.errors import NodeUnreachable
from keephold.base.ids import ContractId, Height
from keephold.chain import merkle
from keephold.chain.chain_id import chain_id
from keephold.chain.sparse import SparseMap
from keephold.chain.wire import encode_signed_header
from keephold.crypto.ed25519 import ValidatorKey
from keephold.crypto.secret import SecretBytes
from keephold.crypto.signing import SigningKey
from keephold.follower.view import validator_set
from keephold.ledger.engines.base import TransactionOutcome
from keephold.ledger.engines.forge import Chain
from keephold.protocol.codec import encode
from keephold.protocol.evidence import AttestationPolicy
from keephold.protocol.genesis import Genesis, network_id
from keephold.protocol.governance import CommitteeRules, Constitution, GovernanceRules, Timing, ValidatorEntry
from keephold.protocol.messages import Answer, Reply
from keephold.protocol.refusals import Refusal
from keephold.protocol.state import AccountRecord, account_path, receipt_leaf
from keephold.protocol.transactions import Call, open_signed, transaction_id
from keephold.protocol.wire import (
    AnswerEnvelope,
    FoundTransaction,
    Frame,
    LightBlock,
    ProveAnswer,
    ProvenReceipt,
    ProvenValue,
    QueryEnvelope,
    StreamRequest,
    TransactionResult,
    TreeProof,
    Verdict,
)
from keephold.sealing.call import CallContext, open_call
from keephold.sealing.contract_keys import ContractKeys
from keephold.sealing.query import open_query, request_digest, seal_answer, verify_query
from keephold.sealing.receipt import repeated_receipt, seal_receipt, unreadable_receipt

NOW = 1_700_000_000 * 10**9
SOURCE = """
from keephold import Call, Contract, View, call, view

class Echo(Contract, pad=(256,)):
    @call
    def say(self, ctx: Call, number: int) -> int:
        return number

    @view
    def ask(self, ctx: View) -> int:
        return 7
"""


class StoppedClock:
    def now_ns(self) -> int:
        return NOW

    def monotonic(self) -> float:
        return 0.0


@dataclass
class Block:
    """What a block of the paper ledger holds, and the state after it."""

    signed: bytes
    hash: bytes
    raws: list[bytes]
    outcomes: list[TransactionOutcome]
    state: SparseMap
    receipts: list[tuple[int, ProvenReceipt]] = field(default_factory=list)


class PaperNode:
    """A node (`Remote` and `Gateway`) with its ledger, and a worker for one contract inside."""

    def __init__(self) -> None:
        self.validator = ValidatorKey(SecretBytes(bytes(32)))
        entry = ValidatorEntry(self.validator.public, 1)
        governor = SigningKey(SecretBytes(bytes(31) + b"\x09")).public
        law = Constitution(
            GovernanceRules((governor,), 1, 0),
            AttestationPolicy((), (), 10**9),
            CommitteeRules(1, 1, 10**9),
            Timing(10**12, 10**10, 10**15),
            (entry,),
        )
        self.record = Genesis("paper", NOW - 10**9, bytes(32), law)
        self.network = network_id(self.record)
        validators = validator_set([entry])
        self.chain = Chain(
            chain_id(self.network), self.record.time_ns, validators, validators, None, SparseMap.empty().root, ()
        )
        self.blocks: list[Block] = []
        self.changed = asyncio.Event()
        self.nonces: dict[bytes, int] = {}
        self.known: dict[bytes, int] = {}
        self.contract = ContractId(b"c" * 32)
        self.keys = ContractKeys(SecretBytes(b"k" * 32), self.network, self.contract, 1)
        self.epochs = {1: self.keys}
        self.leaves: dict[bytes, bytes] = {}
        """What the map holds besides accounts."""
        self.executed: list[tuple[bytes, int]] = []
        self.submissions: list[list[bytes]] = []
        # What goes wrong, by hand.
        self.before_submit: Callable[[Sequence[bytes]], None] = lambda _: None
        self.after_submit: Callable[[], None] = lambda: None
        self.verdict: Callable[[bytes], Verdict | None] = lambda _: None
        self.frame: Callable[[Frame], Frame] = lambda frame: frame
        self.reply: Callable[[int], Reply] = lambda number: Reply("ok", json.dumps(number).encode())
        self.answer: Callable[[Answer], Answer] = lambda answer: answer
        self.is_executing = True
        self.is_readable = True
        self.is_repeating = False
        self.make([])
        self.make([])

    # --- the ledger ---

    def make(self, raws: list[bytes], outcomes: list[TransactionOutcome] | None = None) -> Block:
        outcomes = outcomes or [TransactionOutcome() for _ in raws]
        stored = self.chain.next_block(raws, NOW - 10**8 + len(self.blocks), self.validator)
        state = self.blocks[-1].state if self.blocks else SparseMap.empty()
        for account, nonce in self.nonces.items():
            state = state.put(account_path(account), encode(AccountRecord(nonce)))
        state = state.update(self.leaves.items())
        self.chain = self.chain.after(stored, self.chain.next_validators, state.root, outcomes)
        signed = encode_signed_header(stored.signed)
        block = Block(signed, stored.signed.header.hash(), raws, outcomes, state)
        self.blocks.append(block)
        self.changed.set()
        return block

    def order(self, raws: list[bytes]) -> None:
        """Order transactions, execute the calls among them, and prove all of it."""
        for raw in raws:
            transaction = open_signed(raw, self.network)
            self.nonces[transaction.sender] = transaction.nonce + 1
            self.known[transaction_id(raw)] = len(self.blocks) + 1
        self.make(raws)
        if self.is_executing:
            self.execute(raws)

    def execute(self, raws: list[bytes]) -> None:
        answered = []
        for entry, raw in enumerate(raws, start=1):
            transaction = open_signed(raw, self.network)
            if isinstance(transaction.body, Call):
                answered.append((entry, transaction_id(raw), self.run(transaction, transaction_id(raw))))
        leaves = [receipt_leaf(self.contract, entry, call, sealed) for entry, call, sealed in answered]
        block = self.make([b"a result"], [TransactionOutcome(data=merkle.root(leaves))])
        for index, (entry, call, sealed) in enumerate(answered):
            proof = TreeProof(index, len(leaves), tuple(merkle.prove(leaves, index).siblings))
            block.receipts.append((0, ProvenReceipt(call, self.contract, entry, sealed, proof, 0)))
        self.make([])

    def run(self, transaction: Any, call: bytes) -> bytes:
        epoch = transaction.body.epoch
        keys = self.epochs[epoch]
        context = CallContext(self.network, self.contract, epoch, transaction.sender, transaction.nonce)
        plain = open_call(keys, context, transaction.body.sealed)
        (number,) = json.loads(plain.arguments)
        self.executed.append((transaction.sender, number))
        if self.is_repeating:
            return repeated_receipt(keys, SecretBytes(plain.reply_key), call, (256,))
        if not self.is_readable:
            return unreadable_receipt(keys, call, (256,))
        return seal_receipt(keys, SecretBytes(plain.reply_key), call, self.reply(number), (256,))

    # --- what a client asks ---

    async def submit(self, transactions: Sequence[bytes]) -> tuple[Verdict, ...]:
        self.submissions.append(list(transactions))
        self.before_submit(transactions)
        verdicts, fresh = [], []
        expected = dict(self.nonces)
        for raw in transactions:
            transaction = open_signed(raw, self.network)
            forced = self.verdict(raw)
            nonce = expected.get(transaction.sender, 0)
            if transaction_id(raw) in self.known:
                verdicts.append(Verdict(height=self.known[transaction_id(raw)]))
            elif forced is not None:
                verdicts.append(forced)
            elif transaction.nonce != nonce:
                verdicts.append(Verdict(Refusal.BAD_NONCE))
            else:
                expected[transaction.sender] = nonce + 1
                fresh.append(raw)
                verdicts.append(Verdict())
        if fresh:
            self.order(fresh)
        self.after_submit()
        return tuple(verdicts)

    async def stream(self, request: StreamRequest) -> AsyncGenerator[Frame, None]:
        height = request.from_height or len(self.blocks)
        sent: dict[bytes, bytes] = {}
        while True:
            while height > len(self.blocks):
                self.changed.clear()
                await self.changed.wait()
            yield self.frame(self._frame(height, request, sent))
            height += 1

    def _frame(self, height: int, request: StreamRequest, sent: dict[bytes, bytes]) -> Frame:
        block = self.blocks[height - 1]
        before = self.blocks[height - 2] if height > 1 else None
        state = before.state if before else SparseMap.empty()
        values = []
        for path in request.interest.paths:
            value = state.get(path) or b""
            if sent.get(path) != value:
                sent[path] = value
                values.append(ProvenValue(path, state.prove(path).encode(), value))
        results, receipts = (), ()
        if before and before.receipts:
            results = tuple(TransactionResult(item.code, item.data) for item in before.outcomes)
            receipts = tuple(receipt for _, receipt in before.receipts)
        return Frame(
            height=Height(height), signed_header=block.signed, results=results, values=tuple(values), receipts=receipts
        )

    async def prove(self, height: int, paths: Sequence[bytes]) -> ProveAnswer:
        height = height or len(self.blocks)
        state = self.blocks[height - 2].state if height > 1 else SparseMap.empty()
        values = tuple(ProvenValue(path, state.prove(path).encode(), state.get(path) or b"") for path in paths)
        return ProveAnswer(height, values)

    async def transactions(self, ids: Sequence[bytes]) -> tuple[FoundTransaction, ...]:
        found = []
        for identity in ids:
            height = self.known.get(identity)
            if height is None:
                continue
            block = self.blocks[height - 1]
            all_ids = [transaction_id(raw) for raw in block.raws]
            index = all_ids.index(identity)
            leaves = [merkle.result_leaf(item.code, item.data) for item in block.outcomes]
            outcome = block.outcomes[index]
            found.append(
                FoundTransaction(
                    block.raws[index],
                    height,
                    index,
                    TreeProof(index, len(all_ids), tuple(merkle.prove(all_ids, index).siblings)),
                    TransactionResult(outcome.code, outcome.data),
                    TreeProof(index, len(all_ids), tuple(merkle.prove(leaves, index).siblings)),
                )
            )
        return tuple(found)

    async def blocks_(self, heights: Sequence[int]) -> tuple[LightBlock, ...]:
        chosen = [height or len(self.blocks) for height in heights]
        if max(chosen) > len(self.blocks):
            raise NodeUnreachable("no such block")
        return tuple(LightBlock(height, self.blocks[height - 1].signed, b"", b"") for height in chosen)

    async def query(self, envelope: QueryEnvelope) -> AnswerEnvelope:
        asked = verify_query(open_query(self.keys, envelope.sealed))
        height = len(self.blocks) - 1
        answer = Answer(request_digest(envelope.sealed), 1, height, self.blocks[height].hash, 1, Reply("ok", b"7"))
        return AnswerEnvelope(seal_answer(SecretBytes(asked.answer_key), self.keys, self.answer(answer), (256,)))

    async def aclose(self) -> None:
        pass


class Served:
    """The node under the names that `Remote` has: `blocks` is its chain and a question to it."""

    def __init__(self, node: PaperNode) -> None:
        self._node = node

    def __getattr__(self, name: str) -> Any:
        return getattr(self._node, "blocks_" if name == "blocks" else name)
