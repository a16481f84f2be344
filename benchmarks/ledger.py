"""What the ledger costs: blocks of calls, blocks of results, and how much of each is the disk.

python benchmarks/ledger.py [calls] [block size]
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
import time
from pathlib import Path

from keephold.base.clock import SystemClock
from keephold.chain.chain_id import chain_id
from keephold.chain.sparse import SparseMap
from keephold.crypto.ed25519 import ValidatorKey
from keephold.crypto.secret import SecretBytes
from keephold.crypto.signing import SigningKey
from keephold.ledger.application import LedgerApplication
from keephold.ledger.engines.embedded import EmbeddedEngine
from keephold.ledger.overlay import Overlay
from keephold.ledger.reader import LedgerReader
from keephold.ledger.rules.roll import enrol
from keephold.protocol.contracts import ContractPolicy
from keephold.protocol.evidence import AttestationPolicy
from keephold.protocol.genesis import Genesis, network_id
from keephold.protocol.governance import CommitteeRules, Constitution, GovernanceRules, Timing, ValidatorEntry
from keephold.protocol.state import (
    Batch,
    ContractRecord,
    Registration,
    batch_path,
    contract_path,
    inbox_head,
    registration_path,
)
from keephold.protocol.transactions import Call, Result, SlotWrite, SubmitResult, sign
from keephold.protocol.wire import Interest

SECOND = 1_000_000_000
CONTRACT = hashlib.sha256(b"contract").digest()


def key(name: str) -> SigningKey:
    return SigningKey(SecretBytes(hashlib.sha256(name.encode()).digest()))


class Meter:
    """Wall time of what is wrapped, in seconds."""

    def __init__(self) -> None:
        self.total = 0.0

    def wrap(self, function):  # noqa: ANN001, ANN201 - any callable
        def timed(*args, **kwargs):  # noqa: ANN002, ANN003, ANN202
            begin = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.total += time.perf_counter() - begin

        return timed


def prepared(application: LedgerApplication, worker: SigningKey) -> None:
    """Put one live worker and one active contract into the state, without the ceremony that leads there."""
    newest = application.map.newest
    overlay = Overlay(newest)
    registration = Registration(
        identity=worker.public,
        role="worker",
        operator=bytes(32),
        instance=bytes(32),
        encryption_key=bytes(1216),
        transaction=bytes(32),
        level=1,
        measurement=bytes(32),
        platform=bytes(32),
        vendor="none",
        collateral=bytes(32),
        judged_by=bytes(32),
        height=1,
        lease_ns=(1 << 62),
    )
    overlay.put(registration_path(worker.public), registration)
    enrol(overlay, registration)
    record = ContractRecord(
        creator=bytes(32),
        nonce=0,
        code=bytes(32),
        deployment=bytes(32),
        policy=ContractPolicy(),
        phase="active",
        workers=(worker.public,),
        encryption_key=bytes(1216),
        signing_key=bytes(32),
        state_root=SparseMap.empty().root,
    )
    overlay.put(contract_path(CONTRACT), record)
    state, _ = overlay.settle(newest.height, newest.time_ns)
    application.map._newest = state  # noqa: SLF001 - a benchmark's short cut
    application.recheck(())


def law_of(validator: bytes) -> Constitution:
    return Constitution(
        GovernanceRules((key("governor").public,), 1, 0),
        AttestationPolicy((), (), SECOND),
        CommitteeRules(1, 1, SECOND),
        Timing(SECOND, SECOND, SECOND),
        (ValidatorEntry(validator, 1),),
    )


def main(calls: int, size: int) -> None:
    validator = ValidatorKey(SecretBytes(b"v" * 32))
    worker, senders = key("worker"), [key(f"sender {n}") for n in range(16)]
    genesis = Genesis("bench", SECOND, bytes(32), law_of(validator.public))
    network = network_id(genesis)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        application = LedgerApplication(genesis, directory)
        prepared(application, worker)
        engine = EmbeddedEngine(
            application,
            directory,
            validator,
            chain_id=chain_id(network),
            genesis_ns=SECOND,
            validators=application.validators(),
            clock=SystemClock(),
        )
        reader = LedgerReader(application, engine)
        meters = {name: Meter() for name in ("store", "finalize", "commit", "recheck")}
        engine._store.append = meters["store"].wrap(engine._store.append)  # noqa: SLF001
        application.finalize = meters["finalize"].wrap(application.finalize)
        application.commit = meters["commit"].wrap(application.commit)
        application.recheck = meters["recheck"].wrap(application.recheck)
        interest = Interest(paths=(contract_path(CONTRACT),), contracts=(CONTRACT,), receipts=(senders[0].public,))
        watches = [reader.watch(interest) for _ in range(25)]

        def crank() -> float:
            begin = time.perf_counter()
            height = engine.step()
            spent = time.perf_counter() - begin
            begin = time.perf_counter()
            for watch in watches:
                watch.frame(height)
            frames.append(time.perf_counter() - begin)
            return spent

        frames: list[float] = []
        nonces = dict.fromkeys(range(len(senders)), 0)
        worker_nonce = 0
        admit = apply_calls = apply_results = proofs = 0.0
        done = blocks = results = 0
        value = bytes(128)
        while done < calls:
            raws = []
            for at in range(size):
                who = at % len(senders)
                raws.append(sign(network, senders[who], nonces[who], Call(CONTRACT, 1, bytes(1600))))
                nonces[who] += 1
            begin = time.perf_counter()
            assert all(item.code == 0 for item in engine.submit(raws))
            admit += time.perf_counter() - begin
            apply_calls += crank()
            proofs += crank()
            record = application.map.newest.record(contract_path(CONTRACT), ContractRecord)
            batch = application.map.newest.record(batch_path(CONTRACT, record.done + 1), Batch)
            head = batch.before
            for index, entry in enumerate(batch.entries, record.done + 1):
                head = inbox_head(head, index, entry, batch.height)
            slots = application.map.newest.slots.get(CONTRACT, SparseMap.empty())
            tags = sorted({hashlib.sha256(b"%d" % ((done + n) % 5000)).digest() for n in range(2 * size)})
            result = Result(
                CONTRACT,
                1,
                record.done + 1,
                size,
                head,
                record.version,
                record.state_root,
                slots.update((tag, value) for tag in tags).root,
                tuple(bytes(300) for _ in range(size)),
                tuple(SlotWrite(tag, value) for tag in tags),
            )
            raw = sign(network, worker, worker_nonce, SubmitResult(bytes(32), result))
            worker_nonce += 1
            begin = time.perf_counter()
            assert engine.submit([raw])[0].code == 0, engine.submit([raw])
            admit += time.perf_counter() - begin
            apply_results += crank()
            proofs += crank()
            done += size
            blocks += 4
            results += 1
        spent = admit + apply_calls + apply_results + proofs
        print(f"{done} calls in batches of {size}, {blocks} blocks, {len(tags)} slots a result")
        print(f"admission             {admit / (done + results) * 1e6:8.0f} us/transaction")
        print(f"block of calls        {apply_calls / done * 1e6:8.0f} us/call")
        per_call = apply_results / done * 1e6
        print(f"block with a result   {apply_results / results * 1e6:8.0f} us/result, {per_call:.0f} us/call")
        print(f"proof block           {proofs / results / 2 * 1e6:8.0f} us/block")
        for label, meter in meters.items():
            print(f"  {label:20}{meter.total / blocks * 1e6:8.0f} us/block, {meter.total / spent:4.0%}")
        print(f"25 readers            {sum(frames) / len(frames) * 1e6:8.0f} us/block")
        print(f"all                   {done / spent:8.0f} calls/s (readers not counted)")
        engine.stop()
        application.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2560, int(sys.argv[2]) if len(sys.argv) > 2 else 64)
