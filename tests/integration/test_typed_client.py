"""The token example through its written client, on a network of separate programs: as itself, and under a permit."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

import pytest

from keephold.base.errors import InputError, PermitRefused
from keephold.client.account import Account
from keephold.client.generate import client_module
from keephold.client.network import Network
from keephold.testing.devnet import Devnet


@pytest.fixture
def written(token, tmp_path) -> ModuleType:
    (tmp_path / "token_client.py").write_text(client_module(token.abi))
    spec = importlib.util.spec_from_file_location("token_client", tmp_path / "token_client.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["token_client"] = module
    spec.loader.exec_module(module)
    return module


def test_a_written_client_of_the_token(written, token):
    with Devnet.start() as devnet:
        pinned = devnet.pinned
        alice, bob = (Account(pinned.devnet_keys()[name], name) for name in ("alice", "bob"))
        with Network.connect(pinned.url, pinned.genesis) as network:
            contract = network.deploy(token, "GLD", 100, account=alice)
            as_alice, as_bob = written.Token(contract, alice), written.Token(contract, bob)
            as_alice.transfer(bob.address, 30)
            assert (as_alice.balance(), as_bob.balance()) == (70, 30)
            with pytest.raises(written.InsufficientBalance):
                as_bob.transfer(alice.address, 31)
            moved = written.Moved(source=alice.address, to=bob.address, amount=30)
            assert written.read_events(as_bob) == (moved,)
            session = network.permit(account=bob, contracts=[contract.address], scopes=["balance"])
            permitted = written.Token(contract, session)
            assert permitted.balance() == 30
            with pytest.raises(InputError, match="signed by an account"):
                permitted.transfer(alice.address, 1)
            with pytest.raises(PermitRefused, match="permit_scope"):
                written.read_events(permitted)
            assert contract.trust().reveal.ways
            assert network.revoke_all(account=bob) == 1
            with pytest.raises(PermitRefused, match="permit_generation"):
                permitted.balance()
