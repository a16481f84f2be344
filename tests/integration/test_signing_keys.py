"""Wallets on a network of separate programs: three workers, two of which agree, and one signature."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from broadcast import assembled as bitcoin_assembled
from judge import checksummed, sender
from psbts import extracted
from vault import parse_psbt
from vaults import coin, payment
from vaults import policy as vault_policy

from custody import Payee, Policy, assembled, keccak256, number_bytes, rlp_encode
from keephold.base.errors import Rejected
from keephold.cli.main import run
from keephold.client.network import Contract, Network
from keephold.client.released import Released
from keephold.client.source import code_from_file
from keephold.client.trust_shell import trust_of
from keephold.protocol.contracts import ContractPolicy
from keephold.testing.ceremony import Shape
from keephold.testing.devnet import Devnet

WALLET = Path(__file__).parents[2] / "examples" / "custody" / "custody.py"
VAULT = Path(__file__).parents[2] / "examples" / "vault" / "vault.py"
SHOP = bytes([1]) * 20
RAW = b"\x02" + rlp_encode((*map(number_bytes, (1, 0, 1, 1, 21_000)), SHOP, number_bytes(5), b"", ()))


@pytest.fixture(scope="module")
def net() -> Iterator[Devnet]:
    with Devnet.start(shape=Shape(workers=3)) as started:
        yield started


@pytest.fixture(scope="module")
def wallet(net: Devnet, network: Network) -> Contract:
    officers = tuple(net.accounts[name].address for name in ("alice", "bob"))
    terms = Policy(officers, 2, 0, 10**12, 10**18, 10**18, (Payee(SHOP, 10),))
    policy = ContractPolicy(workers=3, quorum=2)
    return network.deploy(code_from_file(str(WALLET)), 1, terms, account=net.accounts["alice"], policy=policy)


@pytest.fixture(scope="module")
def released(net: Devnet, wallet: Contract) -> Released:
    alice, bob = net.accounts["alice"], net.accounts["bob"]
    number = wallet.call("stage", RAW, account=alice)
    for officer in (alice, bob):
        wallet.call("approve", number, account=officer)
    with pytest.raises(Rejected, match="not_released"):
        wallet.released(f"payment/{number}", account=bob)
    topic = wallet.call("sign", number, account=bob)
    return wallet.released(topic, account=bob)


def test_the_signature_is_the_wallets_whichever_worker_gives_it(net: Devnet, wallet: Contract, released: Released):
    address = wallet.query("ethereum_address", account=net.accounts["dave"])
    assert sender(assembled(RAW, released.signature)) == checksummed(address)
    assert released.message == keccak256(RAW)
    given = [wallet.released(released.topic, account=net.accounts[name]) for name in ("alice", "bob") * 4]
    assert given == [released] * 8


def test_nobody_else_gets_it_however_long_he_waits(net: Devnet, wallet: Contract, released: Released, told):
    dave = net.accounts["dave"]
    told(
        lambda seconds: wallet.released(released.topic, account=dave, wait=True, deadline=seconds),
        Rejected,
        "not_released",
    )


def test_the_command_prints_it(net: Devnet, wallet: Contract, released: Released, capsys):
    at = ["--network", str(net.home)]
    assert run(["released", str(wallet.address), released.topic, "--as", "alice", "--json", *at]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["signature"] == released.signature.hex()
    assert (told["key"], told["scheme"]) == ("ethereum", "secp256k1")
    assert run(["released", str(wallet.address), released.topic, "--as", "dave", *at]) != 0
    assert "not_released" in capsys.readouterr().err


def test_trust_lists_the_keys_that_do_not_rotate(net: Devnet, network: Network, wallet: Contract, released, capsys):
    report = network.run(lambda n: trust_of(n.connection, n.contract(wallet.address).id))
    owned = [signing for item in report.facts.exposures for signing in item.signing]
    assert [signing.keys for signing in owned] == [("ethereum (secp256k1)",)] * 3
    assert run(["trust", str(wallet.address), "--network", str(net.home)]) == 0
    said = capsys.readouterr().out
    assert run(["show", str(wallet.address), "--network", str(net.home)]) == 0
    assert "owns key       ethereum (secp256k1)" in capsys.readouterr().out
    assert said.count("signing keys, assigned, for ever: ethereum (secp256k1)") == 3


def test_key_and_signature_outlive_the_key_epoch(net: Devnet, wallet: Contract, released: Released):
    before = wallet.query("ethereum_address", account=net.accounts["bob"])
    assert wallet.rotate(net.accounts["alice"], deadline=240.0).epoch == 2
    assert wallet.query("ethereum_address", account=net.accounts["bob"]) == before
    assert wallet.released(released.topic, account=net.accounts["alice"]) == released


def test_a_worker_of_an_ended_epoch_may_have_the_keys_that_do_not_rotate(net: Devnet, wallet: Contract, capsys):
    """After the change of epoch above: whoever is listed for the ended one is listed with the contract's own keys."""
    at = ["--network", str(net.home)]
    assert run(["exposure", str(wallet.address), *at]) == 0
    said = capsys.readouterr().out
    assert "epoch 1, ended epoch: what was sealed under it before height" in said
    assert "signing keys, for ever: each worker above may have ethereum (secp256k1)" in said


def test_bitcoin_takes_what_the_vault_signs_with_two_keys(net: Devnet, network: Network):
    alice, bob = net.accounts["alice"], net.accounts["bob"]
    policy = ContractPolicy(workers=3, quorum=2)
    vault = network.deploy(code_from_file(str(VAULT)), vault_policy(alice, bob), account=alice, policy=policy)
    first, second = (vault.call("receive", account=officer) for officer in (alice, bob))
    raw = payment([coin(first), coin(second, 2, hash_type=1)])
    number = vault.call("stage", raw, account=alice)
    for officer in (alice, bob):
        vault.call("approve", number, account=officer)
    count = vault.call("sign", number, account=bob)
    made = tuple(vault.released(f"payment/{number}/{at}", account=alice).signature for at in range(count))
    assert extracted(raw, made) == bitcoin_assembled(parse_psbt(raw), made)
