"""What the ledger costs: blocks of calls, blocks of results, and how much of each is the disk.

python benchmarks/ledger.py [calls] [block size]
"""

from __future__ import annotations

import sys
import time

from bare import Bare, bare, contract

from keephold.protocol.state import contract_path
from keephold.protocol.wire import Interest


class Meter:
    """Wall time of what is wrapped, in seconds."""

    def __init__(self) -> None:
        self.total = 0.0

    def wrap(self, function):  # noqa: ANN001, ANN201 - any callable
        def timed(*args, **kwargs):  # noqa: ANN002, ANN003, ANN202 - as what it wraps
            begin = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.total += time.perf_counter() - begin

        return timed


def offered(ledger: Bare, raws: list[bytes]) -> float:
    begin = time.perf_counter()
    assert all(said.code == 0 for said in ledger.engine.submit(raws))
    return time.perf_counter() - begin


def main(calls: int, size: int) -> None:
    with bare() as ledger:
        application, engine = ledger.application, ledger.engine
        meters = {name: Meter() for name in ("store", "finalize", "commit", "recheck")}
        engine._store.append = meters["store"].wrap(engine._store.append)  # noqa: SLF001 - timed where it is
        application.finalize = meters["finalize"].wrap(application.finalize)
        application.commit = meters["commit"].wrap(application.commit)
        application.recheck = meters["recheck"].wrap(application.recheck)
        interest = Interest(
            paths=(contract_path(contract(0)),), contracts=(contract(0),), receipts=(ledger.senders[0].public,)
        )
        watches = [ledger.reader.watch(interest) for _ in range(25)]
        frames: list[float] = []

        def crank() -> float:
            begin = time.perf_counter()
            height = ledger.block()
            spent = time.perf_counter() - begin
            begin = time.perf_counter()
            for watch in watches:
                watch.frame(height)
            frames.append(time.perf_counter() - begin)
            return spent

        admit = apply_calls = apply_results = proofs = 0.0
        done = blocks = results = 0
        while done < calls:
            admit += offered(ledger, ledger.calls([0] * size))
            apply_calls += crank()
            proofs += crank()
            admit += offered(ledger, [ledger.result()])
            apply_results += crank()
            proofs += crank()
            done += size
            blocks += 4
            results += 1
        spent = admit + apply_calls + apply_results + proofs
        print(f"{done} calls in batches of {size}, {blocks} blocks, two slots a call")
        print(f"admission             {admit / (done + results) * 1e6:8.0f} us/transaction")
        print(f"block of calls        {apply_calls / done * 1e6:8.0f} us/call")
        per_call = apply_results / done * 1e6
        print(f"block with a result   {apply_results / results * 1e6:8.0f} us/result, {per_call:.0f} us/call")
        print(f"proof block           {proofs / results / 2 * 1e6:8.0f} us/block")
        for label, meter in meters.items():
            print(f"  {label:20}{meter.total / blocks * 1e6:8.0f} us/block, {meter.total / spent:4.0%}")
        print(f"25 readers            {sum(frames) / len(frames) * 1e6:8.0f} us/block")
        print(f"all                   {done / spent:8.0f} calls/s (readers not counted)")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2560, int(sys.argv[2]) if len(sys.argv) > 2 else 64)
