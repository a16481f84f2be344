"""G12 at the ledger: what was acknowledged as ordered survives a kill at any moment, and everything proves again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from keephold.chain.chain_id import chain_id
from keephold.follower.light_client import TrustedState, verify_adjacent
from keephold.protocol.wire import TransactionsRequest

CHILD = """
import importlib.util, sys
from pathlib import Path
from keephold.base.clock import SystemClock
from keephold.protocol.transactions import Echo, sign

spec = importlib.util.spec_from_file_location("desk", sys.argv[1])
desk = importlib.util.module_from_spec(spec)
sys.modules["desk"] = desk
spec.loader.exec_module(desk)
node = desk.Node(Path(sys.argv[2]), clock=SystemClock())

def announce(height):
    for identity in node.application.recent(height).ids:
        print(height, identity.hex(), flush=True)

node.engine.subscribe(announce)
node.engine.start()
keys = [desk.key(f"sender {n}") for n in range(8)]
nonces = [node.nonce(key) for key in keys]
while True:
    raws = [sign(node.network, key, nonces[at], Echo(bytes(32))) for at, key in enumerate(keys)]
    for at, admission in enumerate(node.engine.submit(raws)):
        if admission.code == 0:
            nonces[at] += 1
"""


def run_and_kill(directory: Path, lines: int) -> list[tuple[int, str]]:
    """Run a node that acknowledges what it ordered; kill it after so many acknowledgements, and return them all."""
    desk = Path(__file__).with_name("desk.py")
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(desk), str(directory)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        seen = []
        for line in child.stdout:
            seen.append(line)
            if len(seen) == lines:
                child.kill()
        assert child.stderr.read() == ""
    complete = [line.split() for line in seen if line.endswith("\n")]
    return [(int(height), identity) for height, identity in complete]


@pytest.mark.parametrize("lines", [1, 9, 30, 101, 256])
def test_killed_at_any_moment(tmp_path, lines, node_class):
    acknowledged = []
    for more in (lines, lines + 5):
        acknowledged += run_and_kill(tmp_path, more)
    node = node_class(tmp_path)
    try:
        node.block()
        for height, identity in acknowledged:
            (found,) = node.reader.transactions(TransactionsRequest((bytes.fromhex(identity),))).found
            assert (found.height, found.result.code) == (height, 0)
        trusted = TrustedState.from_genesis(
            chain_id(node.network), node.application.validators(), node.genesis.time_ns, 10**18
        )
        for height in range(1, node.engine.latest() + 1):
            block = node.engine.block(height)
            trusted = verify_adjacent(
                trusted,
                block.signed,
                block.validators,
                block.next_validators,
                now_ns=block.signed.header.time_ns,
            )
    finally:
        node.engine.stop()
        node.application.close()
