"""A ledger restores another one's snapshot over the socket, and goes on with the blocks above it."""

from __future__ import annotations

import http.client
import json
import socket
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from keephold.base.errors import NotKept, UnavailableError
from keephold.chain.chain_id import chain_id
from keephold.ledger.archive import Archive
from keephold.ledger.engines.cometbft.adapter import Founding
from keephold.ledger.engines.cometbft.backfill import Backfill
from keephold.ledger.engines.cometbft.lightrpc import LightRpc
from keephold.ledger.engines.cometbft.records import read_priorities, read_signed_header, read_validators
from keephold.ledger.engines.store import BlockStore
from keephold.ledger.housekeeping import Habits, Housekeeper
from keephold.ledger.reader import LedgerReader
from keephold.ledger.snapshots.service import Nowhere, SnapshotService
from keephold.ledger.snapshots.shelf import Shelf
from keephold.protocol.contracts import Code, ContractPolicy
from keephold.protocol.governance import ValidatorEntry
from keephold.protocol.transactions import Deploy, sign, transaction_id
from keephold.protocol.wire import BlocksRequest, Interest, TransactionsRequest

HEIGHT = 5


class Recorded:
    """Blocks of a disk, as our light client would have verified them. Implements `lightrpc.LightSource`."""

    def __init__(self, disk: Any) -> None:
        self.disk = disk
        self.asked: list[int] = []
        self.silent = False

    def newest(self):
        return self.disk.blocks[-1]

    def block(self, height):
        self.asked.append(height)
        if self.silent or not 0 < height <= len(self.disk.blocks):
            raise UnavailableError("nobody answers")
        return self.disk.blocks[height - 1]

    def below(self, above, count):
        top = above.signed.header.height
        return [self.block(at) for at in range(top - 1, max(top - 1 - count, 0), -1)]

    def priorities(self, height):
        return tuple(range(-2, 2))


@dataclass
class Old:
    """A network that runs, with a snapshot of block 5 of its eight."""

    desk: Any
    founding: Founding
    disk: Any
    ids: list[bytes]
    shelf: Shelf


@pytest.fixture
def old(make_desk, bench, keys, new_key, tmp_path, wait) -> Old:
    desk = make_desk(validators=tuple(ValidatorEntry(key.public, 10) for key in keys))
    founding = Founding(chain_id(desk.network), desk.genesis.time_ns + 1, desk.application.validators())
    engine, comet = bench.open(desk.application, founding=founding, keys=keys)
    alice, ids = new_key("alice"), []
    shelf = Shelf(tmp_path / "shelf")
    for nonce in range(8):
        raw = sign(desk.network, alice, nonce, Deploy(Code("python", b"%d" % nonce, "T", b"{}"), ContractPolicy()))
        ids.append(transaction_id(raw))
        assert engine.submit([raw])[0].code == 0
        comet.step()
        wait(lambda height=nonce + 1: engine.latest() == height)
        if nonce + 1 == HEIGHT:
            Housekeeper(Archive(desk.application, engine), shelf, Habits(snapshot_interval=HEIGHT)).tidy(HEIGHT)
    bench.close()
    return Old(desk, founding, comet.disk, ids, shelf)


def chunks(shelf):
    (snapshot,) = shelf.list()
    return snapshot, [shelf.load(snapshot.height, at) for at in range(snapshot.chunks)]


@pytest.fixture
def join(old, make_desk, bench, keys, tmp_path):
    """Start an empty ledger under a CometBFT whose peers have these snapshots."""

    def run(offered, origin=None, desk=None):
        origin = origin or Recorded(old.disk)
        desk = desk or make_desk(validators=old.desk.genesis.law.validators)
        bench.directory = tmp_path / "joined"
        bench.directory.mkdir(exist_ok=True)
        service = SnapshotService(desk.application, Shelf(bench.directory / "none"), bench.directory, origin)
        engine, comet = bench.open(
            desk.application, founding=old.founding, keys=keys, snapshots=service, origin=origin, offered=offered
        )
        return desk, engine, comet

    return run


def test_it_begins_above_the_snapshot_and_agrees(old, join, wait):
    desk, engine, comet = join([chunks(old.shelf)])
    assert engine.failure is None
    wait(lambda: engine.latest() == 8)
    assert (desk.height, desk.root) == (old.desk.height, old.desk.root)
    assert (engine.first(), desk.application.map.first) == (HEIGHT + 1, HEIGHT + 1)
    assert engine.transactions(HEIGHT) == ()
    comet.step()
    wait(lambda: engine.latest() == 9)
    reader = LedgerReader(desk.application, engine)
    found = reader.transactions(TransactionsRequest(tuple(old.ids))).found
    assert [(item.height, item.index) for item in found] == [(at, 0) for at in range(1, 9)]
    assert reader.frame(HEIGHT + 1, Interest(custody=True)).height == HEIGHT + 1
    with pytest.raises(NotKept, match="before block 6"):
        reader.frame(HEIGHT, Interest(custody=True))


def test_headers_from_before_are_fetched_from_the_genesis_on(old, join, wait):
    desk, engine, _ = join([chunks(old.shelf)])
    wait(lambda: engine.latest() == 8 and engine._store.oldest() == 1)
    reader = LedgerReader(desk.application, engine)
    blocks = reader.blocks(BlocksRequest(tuple(range(1, 9)))).blocks
    assert [item.height for item in blocks] == [*range(1, 9)]
    assert [engine.block(at).signed.header for at in range(1, 9)] == [item.signed.header for item in old.disk.blocks]
    assert all(engine.block(at).validators == old.disk.blocks[at - 1].validators for at in range(1, 9))


def test_without_an_answer_about_its_block_nothing_is_restored(old, join):
    desk, engine, _ = join([chunks(old.shelf)], origin=Nowhere())
    assert "state sync aborted" in str(engine.failure)
    assert desk.height == 0


def test_of_two_snapshots_the_one_that_lies_is_passed_over(old, join, wait):
    snapshot, parts = chunks(old.shelf)
    lying = replace(snapshot, hash=bytes(32))
    desk, engine, _ = join([(lying, parts), (snapshot, [b"x", *parts[1:]]), (snapshot, parts)])
    assert engine.failure is None
    wait(lambda: engine.latest() == 8)
    assert desk.root == old.desk.root


def test_a_node_that_died_after_restoring_goes_on_once_its_block_is_found(old, join, wait, bench):
    """The ledger was restored and the block store knows nothing of it."""
    silent = Recorded(old.disk)
    desk, engine, _ = join([chunks(old.shelf)])
    wait(lambda: engine.latest() == 8)
    bench.close()
    for path in bench.directory.glob("blocks.db*"):
        path.unlink()
    silent.silent = True
    _, engine, comet = join([], origin=silent, desk=desk)
    comet.step()
    assert engine.latest() == 0
    silent.silent = False
    wait(lambda: engine.latest() == 9)
    assert engine.first() == HEIGHT + 1


def test_refetching_names_chunk_and_sender(old, make_desk, bench, keys, tmp_path):
    snapshot, parts = chunks(old.shelf)
    desk = make_desk(validators=old.desk.genesis.law.validators)
    bench.directory = tmp_path / "third"
    bench.directory.mkdir()
    service = SnapshotService(desk.application, Shelf(tmp_path / "none"), tmp_path, Recorded(old.disk))
    bench.disk = type(old.disk)()
    _, comet = bench.open(
        desk.application, founding=old.founding, keys=keys, snapshots=service, origin=Recorded(old.disk)
    )
    app_hash = old.disk.blocks[snapshot.height].signed.header.app_hash
    assert not comet._restores(snapshot, [b"wrong"], app_hash)
    answer = comet.dialer("snapshot").call("apply_snapshot_chunk", index=0, chunk=b"wrong", sender="liar")
    assert (answer.result, list(answer.refetch_chunks), list(answer.reject_senders)) == (3, [0], ["liar"])
    answers = [
        comet.dialer("snapshot").call("apply_snapshot_chunk", index=at, chunk=part, sender="peer").result
        for at, part in enumerate(parts)
    ]
    assert answers == [1] * len(parts)
    assert desk.height == HEIGHT


def test_what_is_on_the_shelf_is_served_over_the_socket(old, join, bench, tmp_path, keys):
    bench.directory = tmp_path / "again"
    bench.directory.mkdir()
    service = SnapshotService(old.desk.application, old.shelf, bench.directory, Nowhere())
    _, comet = bench.open(old.desk.application, founding=old.founding, keys=keys, snapshots=service)
    (said,) = comet.dialer("snapshot").call("list_snapshots").snapshots
    snapshot, parts = chunks(old.shelf)
    assert (said.height, said.format, said.chunks, said.hash, said.metadata) == (
        snapshot.height,
        snapshot.format,
        snapshot.chunks,
        snapshot.hash,
        snapshot.metadata,
    )
    dialer = comet.dialer("snapshot")
    loaded = [dialer.call("load_snapshot_chunk", height=5, format=1, chunk=at).chunk for at in range(said.chunks)]
    assert loaded == parts
    assert dialer.call("load_snapshot_chunk", height=5, format=2, chunk=0).chunk == b""


# --- headers for CometBFT's own light client ---


class Asking(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=120)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self.path))

    def call(self, method: str, **parameters: str) -> dict[str, Any]:
        body = json.dumps({"jsonrpc": "2.0", "id": 7, "method": method, "params": parameters})
        self.request("POST", "/", body)
        said = json.loads(self.getresponse().read())
        assert (said["jsonrpc"], said["id"]) == ("2.0", 7)
        return said


@pytest.fixture
def light(old, tmp_path):
    served = LightRpc(tmp_path / "light.sock", old.founding, Recorded(old.disk))
    served.start()
    asking = Asking(tmp_path / "light.sock")
    yield asking
    asking.close()
    served.stop()


def test_headers_validators_and_parameters_in_comets_spelling(light, old):
    assert read_signed_header(light.call("commit", height="3")["result"]) == old.disk.blocks[2].signed
    assert read_signed_header(light.call("commit")["result"]) == old.disk.blocks[-1].signed
    result = light.call("validators", height="3", page="1", per_page="100")["result"]
    validators, total = read_validators(result)
    assert (tuple(validators), total) == (old.disk.blocks[2].validators.validators, 4)
    assert [priority for _, priority in read_priorities(result)] == [-2, -1, 0, 1]
    parameters = light.call("consensus_params", height="3")["result"]
    assert parameters["block_height"] == "3"
    assert parameters["consensus_params"]["block"] == {"max_bytes": str(4 << 20), "max_gas": "-1"}


def test_what_is_not_there_yet_is_said_as_comet_says_it(light):
    assert "must be less than or equal to" in light.call("commit", height="99")["error"]["data"]


@pytest.mark.parametrize("parameters", [{"height": "x"}, {"height": "-1"}, {"page": "y"}])
def test_a_question_that_is_none_is_an_error(light, parameters):
    assert "error" in light.call("validators", **parameters)
    assert "error" in light.call("broadcast_tx_sync", tx="")


@pytest.mark.parametrize(("size", "body"), [("7", b"no json"), (str(1 << 21), b""), ("0", b"")])
def test_bytes_that_are_no_question_are_refused(light, size, body):
    light.request("POST", "/", body, {"Content-Length": size})
    assert light.getresponse().status == 400


# --- headers from before, by themselves ---


def test_headers_are_filled_in_downwards_and_once(old, tmp_path):
    store = BlockStore(tmp_path / "filled.db")
    store.adopt(old.disk.blocks[6])
    source = Recorded(old.disk)
    assert (store.first, store.last(), store.oldest()) == (8, 7, 7)
    filled = Backfill(store, source)
    assert filled.step()
    assert store.oldest() == 1
    assert not filled.step()
    asked = len(source.asked)
    filled.start()
    filled.stop()
    assert len(source.asked) == asked
    store.close()


def test_a_source_that_is_silent_is_asked_again(old, tmp_path, monkeypatch, wait):
    monkeypatch.setattr("keephold.ledger.engines.cometbft.backfill._AGAIN", 0.01)
    store = BlockStore(tmp_path / "filled.db")
    store.adopt(old.disk.blocks[6])
    source = Recorded(old.disk)
    source.silent = True
    filled = Backfill(store, source)
    filled.start()
    wait(lambda: len(source.asked) > 2)
    source.silent = False
    wait(lambda: store.oldest() == 1)
    filled.stop()
    store.close()
