"""What `abci_query` answers, verified as a reader would: against the app hash in the next header."""

from __future__ import annotations

import pytest

from keephold.base.errors import InputError, ProofInvalid
from keephold.chain.sparse import MapProof, verify_map
from keephold.contract.address import Address
from keephold.ledger.map import KEPT_VERSIONS
from keephold.ledger.queries import path_of
from keephold.protocol.codec import decode
from keephold.protocol.state import (
    AccountRecord,
    ContractRecord,
    Roll,
    account_path,
    committee_path,
    governance_path,
    registration_path,
    roll_path,
)


@pytest.fixture
def busy(node, new_key):
    (worker,) = node.enrol("worker")
    contract = node.deploy(new_key("alice"))
    node.activate(contract, worker)
    node.block()
    return node, worker, contract


def app_hash(node, height: int) -> bytes:
    """The one in the header of the next height."""
    stored = node.engine.block(height + 1)
    assert stored is not None
    return stored.signed.header.app_hash


def test_values_and_absences_verify_under_the_next_header(busy, new_key):
    node, _, contract = busy
    height = node.reader.latest() - 1
    asked = {
        f"/account/{Address.account(new_key('alice').public)}": AccountRecord,
        f"/contract/{Address.contract(contract)}": ContractRecord,
        "/roll/worker": Roll,
        f"/account/{Address.account(b'n' * 32)}": None,
    }
    for path, kind in asked.items():
        found = node.application.query(path, b"", height)
        proof = MapProof.decode(found.proof)
        assert found.height == height
        verify_map(app_hash(node, height), found.key, proof, found.value or None)
        assert (decode(found.value, kind) if kind else found.value) != (b"" if kind else None)
        with pytest.raises(ProofInvalid):
            verify_map(app_hash(node, height), found.key, proof, found.value + b"x")
    same = node.application.query("/map", account_path(new_key("alice").public), 0)
    assert decode(same.value, AccountRecord).nonce >= 1


def test_names_are_paths(new_key):
    key = new_key("alice").public
    text = str(Address.account(key))
    assert path_of(f"/registration/{text}", b"") == registration_path(key)
    assert path_of("committee", b"") == committee_path()
    assert path_of("/governance/", b"") == governance_path()
    assert path_of("/roll/gatekeeper", b"") == roll_path("gatekeeper")


@pytest.mark.parametrize(
    ("path", "data", "reason"),
    [
        ("", b"", "ask /map with a path of 32 bytes as data, or one of /account, "),
        ("/store/acc/key", b"x", "ask /map"),
        ("/map", b"short", "ask /map"),
        ("/map/x", bytes(32), "ask /map"),
        ("/account/nobody", b"", "not an address"),
        (f"/account/{Address.contract(bytes(32))}", b"", "is no account's address"),
        (f"/contract/{Address.account(bytes(32))}", b"", "is no contract's address"),
        ("/roll/king", b"", "a roll is of"),
        ("/committee/x", b"", "nothing follows"),
    ],
)
def test_what_cannot_be_asked(path, data, reason):
    with pytest.raises(InputError, match=reason):
        path_of(path, data)


def test_a_height_that_is_not_kept(busy):
    node, _, _ = busy
    for height in (node.reader.latest() + 5, -1):
        with pytest.raises(InputError, match="not kept"):
            node.application.query("/committee", b"", height)
    assert KEPT_VERSIONS > 1
