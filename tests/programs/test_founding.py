"""Founding a network of several validators: all or nothing, and nothing that clashes."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace
from programs_law import LAW

from keephold.base.errors import ConfigurationError
from keephold.chain.chain_id import chain_id
from keephold.client.pinned import PinnedNetwork
from keephold.crypto.ed25519 import ValidatorKey
from keephold.programs.config import read_genesis
from keephold.programs.founding import Founded, Plan, found, genesis_of
from keephold.programs.law_tables import CommitteeLaw
from keephold.programs.node import read_config, read_validator_seed
from keephold.protocol.genesis import network_id

FOUR = Plan(("127.0.0.1",) * 4)


@pytest.fixture
def net(tmp_path: Path) -> Founded:
    return found(tmp_path / "net", LAW, FOUR)


def test_each_validator_has_its_key_and_all_have_one_genesis(net):
    assert not net.genesis.simulated
    configs = [read_config(member / "node.toml") for member in net.members]
    for config, entry in zip(configs, net.genesis.law.validators, strict=True):
        assert ValidatorKey(read_validator_seed(Path(config.validator_key))).public == entry.public_key
        assert read_genesis(Path(config.genesis)) == net.genesis
        assert len(config.cometbft.peers) == 3
    ports = [port for config in configs for port in (config.port, config.cometbft.port)]
    assert len(set(ports)) == 8


def test_no_chain_id_is_an_option_of_comets_commands():
    asked = range(1, 513)
    given = [genesis_of(LAW, [bytes([1]) * 32], at) for at in asked]
    assert not [genesis for genesis in given if chain_id(network_id(genesis)).startswith("-")]
    later = [genesis.time_ns - at for at, genesis in zip(asked, given, strict=True)]
    assert 0 < sum(map(bool, later)) < 32, "about one in 64"
    assert max(later) < 5


def test_clients_find_the_network_pinned(net):
    pinned = PinnedNetwork.read(net.pinned)
    assert (pinned.genesis, pinned.url) == (net.genesis, "http://127.0.0.1:7707")
    assert pinned.devnet_keys() == {}


def test_seeds_are_for_their_owner_alone(net):
    for member in net.members:
        assert member.stat().st_mode & 0o077 == 0
        assert (member / "validator.seed").stat().st_mode & 0o077 == 0


def test_hosts_share_ports_only_with_themselves():
    addresses = Plan(("a.example", "10.0.0.2", "a.example"), 80, 90).addresses()
    assert [(at.host, at.api_port, at.p2p_port) for at in addresses] == [
        ("a.example", 80, 90), ("10.0.0.2", 80, 90), ("a.example", 81, 91),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("plan", "reason"),
    [
        (Plan(()), "--validators 0"),
        (Plan(("h",) * 101), "--validators 101"),
        (Plan(("::1",)), "neither an IPv4 address nor a name"),
        (Plan(("",)), "neither"),
        (Plan(("h\n[x]",)), "neither"),
        (Plan(("h",) * 2, 65_535), "port 65536"),
        (Plan(("h",), 0), "port 0"),
        (Plan(("h",) * 4, 7707, 7709), "the same port"),
    ],
)
def test_a_plan_that_cannot_be_is_refused_before_anything_is_written(tmp_path, plan, reason):
    with pytest.raises(ConfigurationError, match=reason):
        found(tmp_path / "net", LAW, plan)
    assert not (tmp_path / "net").exists()


def test_a_law_that_nobody_can_live_under_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ConfigurationError, match="committee"):
        found(tmp_path / "net", replace(LAW, committee=CommitteeLaw(seats=2, threshold=2)), FOUR)
    assert not (tmp_path / "net").exists()


def test_a_network_is_founded_once(net, tmp_path):
    seeds = [(member / "validator.seed").read_bytes() for member in net.members]
    with pytest.raises(ConfigurationError, match="not empty"):
        found(tmp_path / "net", LAW, FOUR)
    assert seeds == [(member / "validator.seed").read_bytes() for member in net.members]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="--out"):
        found(tmp_path / "file" / "net", LAW, FOUR)
