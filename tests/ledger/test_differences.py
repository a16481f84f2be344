"""Two copies of one ledger, one of them altered: what differs is named, and nothing else."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import apsw
import httpx2
import pytest
from msgspec.structs import replace

from keephold.api.machine import MachineApi
from keephold.base.errors import ConfigurationError, InputError, NotFound
from keephold.chain.sparse import SparseMap
from keephold.cli.main import run
from keephold.contract.address import Address
from keephold.follower.http_remote import HttpRemote
from keephold.ledger.differences import Difference, differences, read_snapshot, read_snapshot_at
from keephold.programs import comparing, web
from keephold.protocol.codec import decode, encode
from keephold.protocol.state import AccountRecord, ContractRecord, account_path, contract_path
from keephold.protocol.transactions import SlotWrite


@pytest.fixture
def busy(node, new_key, tmp_path):
    """A node with a contract that has slots, and a copy of its directory."""
    (worker,) = node.enrol("worker")
    contract = node.deploy(new_key("alice"))
    node.activate(contract, worker)
    node.block(*node.signed(new_key("alice"), node.call(contract, b"one"), node.call(contract, b"two")))
    node.send(worker, node.result(worker, contract, 2, writes=(SlotWrite(b"a" * 32, b"A"), SlotWrite(b"b" * 32, b"B"))))
    copy = tmp_path / "copy"
    copied(node, copy)
    return node, contract, copy


def copied(node, to: Path) -> None:
    to.mkdir()
    for name in ("ledger.db", "blocks.db"):
        target = apsw.Connection(str(to / name))
        source = apsw.Connection(str(node.directory / name))
        with target.backup("main", source, "main") as backup:
            backup.step()
        source.close()
        target.close()


def altered(directory: Path, *statements: tuple[str, tuple[object, ...]]) -> None:
    connection = apsw.Connection(str(directory / "ledger.db"))
    for statement, bindings in statements:
        connection.execute(statement, bindings)
    connection.close()


def found(left: Path, right: Path) -> list[Difference]:
    return list(differences(read_snapshot(left), read_snapshot(right)))


def test_a_copy_is_the_same(busy):
    node, _, copy = busy
    assert found(node.directory, copy) == []
    assert comparing.compare_homes(copy, node.directory) == (node.reader.latest(), [])


def test_an_altered_path_slot_and_index_are_named(busy, new_key):
    node, contract, copy = busy
    alice = new_key("alice").public
    path = account_path(alice)
    record = node.application.map.newest.record(path, AccountRecord)
    altered(
        copy,
        ("UPDATE leaf SET value = ? WHERE path = ?", (encode(AccountRecord(nonce=record.nonce + 1)), path)),
        ("UPDATE slot SET value = x'58' WHERE tag = ?", (b"a" * 32,)),
        ("DELETE FROM inbox WHERE entry = 2", ()),
    )
    path_difference, slot, row = found(node.directory, copy)
    assert (path_difference.kind, path_difference.where) == ("path", f"account {Address.account(alice)}")
    assert decode(bytes.fromhex(path_difference.right), AccountRecord).nonce == record.nonce + 1
    assert (slot.kind, slot.where) == ("slot", f"{Address.contract(contract)} tag {(b'a' * 32).hex()}")
    assert (slot.left, slot.right) == (b"A".hex(), b"X".hex())
    assert (row.kind, row.where, row.right) == ("index", "inbox", "")
    assert row.left.startswith(contract.hex() + " 2 ")


def test_a_path_that_one_does_not_have_and_nobody_can_name_is_told_by_its_bytes(busy):
    node, _, copy = busy
    altered(copy, ("INSERT INTO leaf VALUES (?, x'01')", (b"?" * 32,)))
    assert found(node.directory, copy) == [Difference("path", f"path {(b'?' * 32).hex()}", "none", "01")]


def test_the_first_block_that_was_judged_differently_is_named_with_its_result(busy):
    node, _, copy = busy
    height = next(at for at, row in read_snapshot(copy).blocks.items() if row.ids)
    for at in (height, height + 1):
        altered(copy, ("UPDATE block SET app_hash = zeroblob(32), results = x'' WHERE height = ?", (at,)))
    blocks = [item for item in found(node.directory, copy) if item.kind in {"block", "transaction"}]
    assert [item.where.split()[:2] for item in blocks] == [[str(height), "app_hash"]], "not those that follow from it"


def test_a_ledger_that_is_ahead_is_played_again_to_the_others_height(busy, new_key):
    node, contract, copy = busy
    at = read_snapshot(copy).height
    node.block(*node.signed(new_key("alice"), node.call(contract, b"three")))
    node.block()
    replayed = read_snapshot_at(node.directory, at, node.genesis)
    assert replayed.height == at
    assert list(differences(read_snapshot(copy), replayed)) == []
    with pytest.raises(InputError, match="two heights"):
        found(node.directory, copy)
    altered(node.directory, ("UPDATE block SET app_hash = zeroblob(32) WHERE height = ?", (at,)))
    with pytest.raises(InputError, match="had another state"):
        read_snapshot_at(node.directory, at, node.genesis)


def against(node, copy) -> list[Difference]:
    """Compare a copy with the node as it runs, over HTTP."""
    machine = MachineApi(node.reader, node.engine)
    app = web.application(web.machine_routes(machine.endpoints, machine.streams))

    async def ask() -> list[Difference]:
        remote = HttpRemote("http://node", httpx2.ASGITransport(app))
        try:
            return [item async for item in comparing._against(read_snapshot(copy), remote)]
        finally:
            await remote.aclose()

    return asyncio.run(ask())


def test_a_running_node_is_asked_for_values_and_slots(busy, new_key):
    node, contract, copy = busy
    node.block()
    assert against(node, copy) == []
    path = contract_path(contract)
    slots = [(b"a" * 32, b"A"), (b"b" * 32, b"X")]
    record = node.application.map.newest.record(path, ContractRecord)
    other = encode(replace(record, state_root=SparseMap.of(slots).root))
    altered(
        copy,
        ("UPDATE slot SET value = x'58' WHERE tag = ?", (b"b" * 32,)),
        ("UPDATE leaf SET value = ? WHERE path = ?", (other, path)),
        ("DELETE FROM leaf WHERE path = ?", (account_path(new_key("alice").public),)),
    )
    by_kind = {(item.kind, item.where): item for item in against(node, copy)}
    assert ("block", f"{read_snapshot(copy).height} app_hash") in by_kind
    assert ("path", f"contract {Address.contract(contract)}") in by_kind
    assert by_kind["path", f"account {Address.account(new_key('alice').public)}"].left == "none"
    slot = by_kind["slot", f"{Address.contract(contract)} tag {(b'b' * 32).hex()}"]
    assert (slot.left, slot.right) == (b"X".hex(), b"B".hex())
    assert ("path", "further paths") not in by_kind


def test_a_running_node_without_the_header_above_is_asked_again_later(busy):
    node, _, copy = busy
    with pytest.raises(InputError, match="ask again"):
        against(node, copy)
    node.block()
    assert against(node, copy) == []


def test_paths_that_only_the_running_node_has_show_in_its_app_hash(busy):
    node, _, copy = busy
    node.block()
    snapshot = read_snapshot(copy)
    unnamed = next(path for path in snapshot.leaves if path not in snapshot.names)
    altered(copy, ("DELETE FROM leaf WHERE path = ?", (unnamed,)))
    assert [item.where for item in against(node, copy)][1:] == ["further paths"]


def test_the_command(busy, capsys):
    node, _, copy = busy
    assert run(["debug", "diff-state", str(node.directory), str(copy)]) == 0
    assert capsys.readouterr().out.startswith("the same state at height ")
    altered(copy, ("UPDATE slot SET value = zeroblob(100) WHERE tag = ?", (b"a" * 32,)))
    assert run(["debug", "diff-state", str(node.directory), str(copy)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("1 difference at height ")
    assert "(200 characters)" in said
    assert run(["debug", "diff-state", str(node.directory), str(copy), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["differences"][0]["right"] == "00" * 100


def test_what_is_no_nodes_directory(tmp_path, busy):
    node, _, copy = busy
    with pytest.raises(NotFound, match="no node's directory"):
        comparing.compare_homes(tmp_path / "nowhere", copy)
    node.block()
    with pytest.raises(ConfigurationError, match=r"is ahead and without node\.toml"):
        comparing.compare_homes(node.directory, copy)
    shutil.copy(__file__, copy / "ledger.db")
    with pytest.raises(ConfigurationError, match="not a database"):
        read_snapshot(copy)
