"""G9, of signatures: whoever runs a wallet's enclave, and keeps its results to himself, gets nothing signed.

The wallet of the examples in the real sandbox, on a worker whose host drops, withholds and repeats as he likes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from worker_cast import CONTRACT, OWNED, Caller
from worker_ledger import Ledger
from worker_scene import Worker, settle

from custody import Payee, Policy, keccak256, number_bytes, rlp_encode
from keephold.base.ids import PublicKey
from keephold.contract.address import Address
from keephold.contract.values import canonical, codec_of
from keephold.crypto.secret import SecretBytes
from keephold.protocol.codec import encode
from keephold.protocol.contracts import Code
from keephold.protocol.messages import KeyName, Reply
from keephold.runtime.artefact import cache_directory, guest_artefact
from keephold.runtime.cache import CompiledCache, CompiledGuest
from keephold.runtime.outcome import CallRequest, Outcome, StateReader
from keephold.runtime.process import ExecutionProcess
from keephold.sealing.owned_keys import verify_owned
from keephold.worker.code import contract_code
from keephold.worker.releasing import released

SOURCE = (Path(__file__).parents[2] / "examples" / "custody" / "custody.py").read_text()
SHOP = bytes([1]) * 20
RAW = b"\x02" + rlp_encode((*map(number_bytes, (1, 0, 1, 1, 21_000)), SHOP, number_bytes(5), b"", ()))
NAME = KeyName("secp256k1", "ethereum")
NOTHING = Reply("rejected", code="not_released")


class Sandbox:
    """The real one, as an `Executor`."""

    def __init__(self, guest: CompiledGuest) -> None:
        self.process = ExecutionProcess.start(guest, SOURCE)

    def execute(self, calls: Iterable[CallRequest], store: StateReader) -> Iterable[Outcome]:
        return self.process.execute_batch(calls, store)

    def restart(self) -> None:
        raise AssertionError("the process died")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with CompiledCache(cache_directory() / "tests", SecretBytes(b"k" * 32)).guest(guest_artefact()) as guest:
        made = Sandbox(guest)
        yield made
        made.process.close()


class Wallet:
    """A wallet of two officers whose payment is staged and approved; `sign` is all that is missing."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.alice, self.bob, self.mallory = Caller(b"a"), Caller(b"b"), Caller(b"m")
        info = sandbox.process.info
        self.worker = Worker(Ledger(), sandbox)
        self.worker.code = contract_code(
            CONTRACT,
            PublicKey(self.alice.key.public),
            Code("python", SOURCE.encode(), info.name, info.abi_json.encode()),
            self.worker.ledger.record.policy,
            tells_failures=True,
        )
        self.worker.prove()
        self.worker.ledger.height += 1
        self.worker.prove()
        officers = tuple(Address.account(caller.key.public) for caller in (self.alice, self.bob))
        terms = codec_of(Policy).encode(Policy(officers, 2, 0, 10**12, 10**18, 10**18, (Payee(SHOP, 10),)))
        settle(self.worker, self.alice.call("setup", canonical([1, terms]).encode()))
        settle(self.worker, self.alice.call("stage", json.dumps([RAW.hex()]).encode()))
        settle(self.worker, self.alice.call("approve", b"[1]"), self.bob.call("approve", b"[1]"))

    def order(self, *raws: bytes) -> None:
        """Have calls ordered and executed; whether a result ever reaches the ledger is the host's business."""
        ledger = self.worker.ledger
        calls = ledger.order(*raws)
        self.worker.core.block(ledger.ordering(ledger.height - 1), calls, ())
        self.worker.work()
        self.worker.prove()

    def asked(self, reader: Caller, topic: str = "payment/1") -> Reply:
        return released(self.worker.core.readable(), reader.key.public, json.dumps([topic]).encode())


@pytest.fixture
def wallet(sandbox: Sandbox) -> Wallet:
    return Wallet(sandbox)


def test_a_result_that_the_host_keeps_to_himself_signs_nothing(wallet: Wallet) -> None:
    wallet.order(wallet.bob.call("sign", b"[1]"))
    (withheld,) = wallet.worker.outbox
    for _ in range(3):
        assert wallet.asked(wallet.alice) == wallet.asked(wallet.bob) == NOTHING
        wallet.worker.ledger.height += 1
        wallet.worker.prove()
    # What he holds in his hands is no signature either, nor anything that one is made of.
    signature = OWNED.sign(NAME, keccak256(RAW))
    assert signature not in encode(withheld)
    # He gives in, and it is there.
    wallet.worker.deliver()
    told = json.loads(wallet.asked(wallet.bob).value)
    assert bytes.fromhex(told["signature"]) == signature
    verify_owned(NAME, OWNED.public(NAME), signature, keccak256(RAW))


def test_what_ran_ahead_of_a_freeze_and_was_dropped_signs_nothing(wallet: Wallet) -> None:
    """A freeze is ordered behind the signature, so he keeps the result of both: both ran, and nothing left."""
    wallet.order(wallet.bob.call("sign", b"[1]"), wallet.alice.call("freeze"))
    assert wallet.worker.outbox
    wallet.worker.outbox.clear()
    assert wallet.asked(wallet.bob) == wallet.asked(wallet.alice) == NOTHING


def test_who_is_no_officer_gets_nothing_by_calling_or_by_asking(wallet: Wallet) -> None:
    raw = wallet.mallory.call("sign", b"[1]")
    settle(wallet.worker, raw)
    assert wallet.worker.ledger.reply(raw) == Reply("rejected", code="forbidden")
    settle(wallet.worker, wallet.bob.call("sign", b"[1]"))
    assert wallet.asked(wallet.mallory) == wallet.asked(wallet.mallory, "never") == NOTHING
    assert wallet.asked(wallet.alice) == wallet.asked(wallet.bob) != NOTHING
