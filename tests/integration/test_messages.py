"""Messages between contracts on a network of separate programs: the example's own tests, over the client library."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

from keephold.client.network import Network
from keephold.client.source import code_from_file
from keephold.testing.devnet import Devnet

ESCROW = Path(__file__).parents[2] / "examples" / "escrow"
PATIENCE = 240.0


def test_the_escrow_and_its_coin_on_a_devnet() -> None:
    command = [
        sys.executable,
        "-m",
        "keephold",
        "test",
        str(ESCROW),
        "--net",
        "devnet",
        "--",
        "-q",
        "-p",
        "no:cacheprovider",
    ]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False, cwd=ESCROW)
    assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-2000:]
    assert " passed" in ran.stdout
    assert "skipped" not in ran.stdout


def test_a_worker_killed_between_result_and_answer_loses_and_doubles_nothing() -> None:
    coin, escrow = (code_from_file(str(ESCROW / f"{name}.py")) for name in ("coin", "escrow"))
    with Devnet.start() as net, Network.connect(net.pinned.url, net.pinned.genesis) as network:
        alice, bob = net.accounts["alice"], net.accounts["bob"]
        gold = network.deploy(coin, 1000, account=alice)
        deals = network.deploy(escrow, gold.address, account=alice)
        gold.call("allow", deals.address, 1000, account=alice)
        total = 0
        for amount in (1, 2, 3):
            before = net.pids["w0"]
            pending = threading.Timer(0.05 * amount, net.kill, ["w0"])
            pending.start()
            number = deals.call("fund", bob.address, amount, account=alice, deadline=PATIENCE)
            pending.join()
            total += amount
            ends = time.monotonic() + PATIENCE
            while deals.query("deal", number, account=bob, deadline=PATIENCE)["state"] != "held":
                assert time.monotonic() < ends
                time.sleep(0.1)
            assert net.pids["w0"] != before
        assert int(gold.query("balance", account=alice, deadline=PATIENCE)) == 1000 - total
