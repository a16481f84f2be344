"""CometBFT's own light client and ours, on the same generated histories: what one believes, the other does.

`cometbft light` asks a node that is played (`testing.comet.rpc`) for the blocks of a history, and trusts its second
one.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from follower_blocks import CHAIN, KEYS, Block, commit_of
from follower_histories import MEMBERS, Past, blocks_of, pasts, signing
from hypothesis import given, settings
from hypothesis import strategies as st

from keephold.base.errors import ChainRefused, NotEnoughTrust
from keephold.chain.proto import NANOSECONDS
from keephold.follower.light_client import TrustedState
from keephold.ledger.engines.base import StoredBlock
from keephold.testing.comet.binary import VERSION, comet_binary
from keephold.testing.comet.disk import Disk
from keephold.testing.comet.rpc import FakeRpc
from keephold.testing.ports import LOOPBACK, free_port

pytestmark = [pytest.mark.comet]

AGE = 3600
FIRST = 2
"""The height that is trusted: of block 1 the played node knows no validators."""

EVERYONE = frozenset(range(MEMBERS))
SECONDS = 300.0


def past(*validators: dict[int, int]) -> Past:
    """Return a history in which all validators sign; the last set is the next one of the last block."""
    return Past(validators, tuple(frozenset(powers) for powers in validators[:-1]))


STILL = past(*[{0: 1, 1: 1, 2: 1, 3: 1}] * 9)
DRIFTING = past(*({key % 7: 1 for key in range(at, at + 4)} for at in range(9)))
REPLACED = past(*[{0: 1, 1: 1, 2: 1}] * 4, *[{3: 2, 4: 2, 5: 1}] * 5)
GROWING = past(*({key: key + at for key in range(1, min(at + 1, 7))} for at in range(1, 10)))
HISTORIES = {"still": STILL, "drifting": DRIFTING, "replaced": REPLACED, "growing": GROWING}


@contextmanager
def comet_light(blocks: list[Block], directory: Path) -> Iterator[str]:
    """Yield the URL of CometBFT's light client over these blocks."""
    disk = Disk([StoredBlock(block.signed, block.validators, block.following) for block in blocks], [()] * len(blocks))
    node, port = FakeRpc(directory / "rpc.sock", disk, lambda _: None), free_port(0)
    node.start()
    binary = comet_binary(os.environ.get("KEEPHOLD_TEST_COMETBFT", VERSION))
    primary = f"unix://{directory / 'rpc.sock'}"
    words = ["light", CHAIN, "--primary", primary, "--witnesses", primary, "--laddr", f"tcp://{LOOPBACK}:{port}"]
    trusted = ["--height", str(FIRST), "--hash", blocks[FIRST - 1].signed.header.hash().hex()]
    log = directory / "log"
    with log.open("wb") as output:
        process = subprocess.Popen([binary, *words, *trusted, "--home-dir", directory], stdout=output, stderr=output)
    try:
        assert theirs(f"http://{LOOPBACK}:{port}", FIRST, believed=True), log.read_text()
        yield f"http://{LOOPBACK}:{port}"
    finally:
        process.kill()
        process.wait()
        node.stop()


def asked(url: str, height: int) -> str:
    """Return what the light client answers about a height; without `signed_header` it believes nothing."""
    try:
        with urllib.request.urlopen(f"{url}/commit?height={height}", timeout=SECONDS) as reply:
            return str(json.load(reply).get("result", ""))
    except OSError:
        return ""


def theirs(url: str, height: int, *, believed: bool) -> bool:
    """Say whether the light client believes a height. Expected to, it is asked again: it may just not have got it."""
    deadline = time.monotonic() + SECONDS
    while "signed_header" not in asked(url, height):
        if not believed or time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def ours(blocks: list[Block], height: int) -> bool:
    """Say whether we believe a height, halving where trust does not suffice."""
    first = blocks[FIRST - 1]
    trusted = TrustedState.from_header(first.signed.header, first.following)
    goals = [height]
    while goals:
        block = blocks[goals[-1] - 1]
        try:
            trusted = block.after(trusted, time.time_ns())
        except NotEnoughTrust:
            goals.append((trusted.height + goals[-1]) // 2)
            if goals[-1] == trusted.height:
                return False
        except ChainRefused:
            return False
        else:
            goals.pop()
    return True


@pytest.fixture
def place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="keephold-", dir="/tmp") as directory:  # sockets want short paths
        yield Path(directory)


@pytest.mark.parametrize("name", HISTORIES)
def test_both_follow_an_honest_history_however_its_validators_change(name: str, place: Path) -> None:
    blocks = blocks_of(HISTORIES[name], time.time_ns() - AGE * NANOSECONDS)
    with comet_light(blocks, place) as url:
        for height in (len(blocks), 4):
            assert ours(blocks, height)
            assert theirs(url, height, believed=True)


@given(past=pasts(honest=True), data=st.data())
@settings(max_examples=40)
def test_both_say_the_same_of_a_last_block_that_anybody_signed(past: Past, data: st.DataObject) -> None:
    """Generated histories: honest up to the last block, which some or none of its validators signed."""
    signers = data.draw(st.sets(st.sampled_from(sorted(past.at(past.top)))), label="who signed the last block")
    past = replace(past, signers=(*past.signers[:-1], frozenset(signers)))
    blocks = blocks_of(past, time.time_ns() - AGE * NANOSECONDS)
    with (
        tempfile.TemporaryDirectory(prefix="keephold-", dir="/tmp") as directory,
        comet_light(blocks, Path(directory)) as url,
    ):
        believed = ours(blocks, past.top)
        assert theirs(url, past.top, believed=believed) == believed


def under_signed(blocks: list[Block]) -> Block:
    """Exactly two thirds signed: one vote too few."""
    last = blocks[-1]
    members = [KEYS.index(key) for item in last.validators.validators for key in KEYS if key.public == item.public_key]
    header = last.signed.header
    return last.with_commit(commit_of(header, last.validators, signing(members[: len(members) * 2 // 3])))


def of_strangers(blocks: list[Block]) -> Block:
    """Validators that nobody named, who all signed."""
    start = blocks[0].signed.header.time_ns
    invented = past(*[{4: 1, 5: 1, 6: 1}] * (len(blocks) + 1))
    return blocks_of(invented, start)[-1]


def of_other_state(blocks: list[Block]) -> Block:
    """Another app hash under the honest votes."""
    last = blocks[-1]
    header = replace(last.signed.header, app_hash=b"\x05" * 32)
    commit = replace(last.signed.commit, block_id=replace(last.signed.commit.block_id, hash=header.hash()))
    return replace(last, signed=replace(last.signed, header=header, commit=commit))


@pytest.mark.parametrize("forge", [under_signed, of_strangers, of_other_state])
def test_both_refuse_a_forged_block_at_the_end_of_an_honest_history(forge, place: Path) -> None:
    blocks = blocks_of(past(*[{0: 1, 1: 1, 2: 1}] * 9), time.time_ns() - AGE * NANOSECONDS)
    blocks[-1] = forge(blocks)
    with comet_light(blocks, place) as url:
        assert theirs(url, len(blocks) - 1, believed=True)
        assert ours(blocks, len(blocks) - 1)
        assert not ours(blocks, len(blocks))
        assert not theirs(url, len(blocks), believed=False)
