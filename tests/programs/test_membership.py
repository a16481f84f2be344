"""Independent operators: one genesis from public files, and each checks that it is about him as he said."""

from __future__ import annotations

from pathlib import Path

import pytest
from programs_law import LAW

from keephold.base.errors import ConfigurationError
from keephold.client.pinned import PinnedNetwork
from keephold.programs.membership import MEMBER, MEMBERS, accept, assemble, make_key, read_member
from keephold.programs.node import read_config, read_validator_seed
from keephold.protocol.genesis import network_id

NOW = 1_700_000_000 * 10**9


@pytest.fixture
def homes(tmp_path: Path) -> list[Path]:
    made = [tmp_path / f"operator{number}" for number in range(3)]
    for number, home in enumerate(made):
        make_key(home, f"10.0.0.{number + 1}", 7707, 26656)
    return made


@pytest.fixture
def members(homes):
    return [read_member(home / MEMBER) for home in homes]


@pytest.fixture
def net(tmp_path, members) -> Path:
    return assemble(tmp_path / "net", LAW, members, NOW).directory


def test_the_same_three_give_the_same_network_in_any_order(tmp_path, members, net):
    again = assemble(tmp_path / "again", LAW, members[::-1], NOW)
    assert network_id(again.genesis) == PinnedNetwork.read(net).id
    assert (again.directory / MEMBERS).read_text() == (net / MEMBERS).read_text()
    later = assemble(tmp_path / "later", LAW, members, NOW + 10**9)
    assert network_id(later.genesis) != network_id(again.genesis)


def test_no_file_that_is_handed_on_holds_a_secret(homes, net):
    seeds = [(home / "validator.seed").read_bytes() for home in homes]
    public = [home / MEMBER for home in homes] + list(net.iterdir())
    for path in public:
        for seed in seeds:
            assert seed not in path.read_bytes()
            assert seed.hex() not in path.read_text(errors="replace")
    assert all(home.stat().st_mode & 0o077 == 0 for home in homes)


def test_each_accepts_it_with_his_own_key_and_the_others_as_peers(homes, members, net):
    for number, home in enumerate(homes):
        assert accept(home, net)
        config = read_config(home / "node.toml")
        assert read_validator_seed(Path(config.validator_key)).reveal() == (home / "validator.seed").read_bytes()
        assert (config.host, config.port, config.cometbft.rpc) == (f"10.0.0.{number + 1}", 7707, "127.0.0.1:26757")
        others = {f"{member.node_id}@{member.host}:26656" for member in members if member != members[number]}
        assert set(config.cometbft.peers) == others
        assert (home / "genesis.bin").read_bytes() == (net / "genesis.cbor").read_bytes()


def test_who_is_not_in_genesis_follows(tmp_path, net):
    make_key(tmp_path / "late", "10.0.0.9", 7707, 26656)
    assert not accept(tmp_path / "late", net, rpc_port=0)
    config = read_config(tmp_path / "late" / "node.toml")
    assert len(config.cometbft.peers) == 3
    assert config.cometbft.rpc == ""


@pytest.mark.parametrize(
    ("found", "put", "reason"),
    [
        ("10.0.0.1", "10.0.0.9", "describes this node otherwise"),
        ("port = 7707", "port = 7708", "describes this node otherwise"),
    ],
)
def test_a_network_that_has_a_node_otherwise_than_its_operator_said_is_refused(homes, net, found, put, reason):
    path = net / MEMBERS
    path.write_text(path.read_text().replace(found, put))
    with pytest.raises(ConfigurationError, match=reason):
        accept(homes[0], net)
    assert not (homes[0] / "node.toml").exists()


def test_a_network_that_puts_another_key_in_a_nodes_place_is_refused(tmp_path, homes, members):
    thief = make_key(tmp_path / "thief", "10.0.0.66", 7707, 26656)
    forged = [thief, *members[1:]]
    net = assemble(tmp_path / "forged", LAW, forged, NOW).directory
    path = net / MEMBERS
    path.write_text(path.read_text().replace(thief.node_id, members[0].node_id))
    with pytest.raises(ConfigurationError, match="describes this node otherwise"):
        accept(homes[0], net)
    path.write_text(path.read_text().replace(thief.public_key, members[0].public_key))
    with pytest.raises(ConfigurationError, match="of two networks"):
        accept(homes[0], net)


def test_keys_are_drawn_once_and_a_member_file_is_of_the_keys_beside_it(homes, net):
    with pytest.raises(ConfigurationError, match="drawn once"):
        make_key(homes[0], "10.0.0.1", 7707, 26656)
    (homes[0] / MEMBER).write_text((homes[1] / MEMBER).read_text())
    with pytest.raises(ConfigurationError, match="not of the keys beside it"):
        accept(homes[0], net)


def test_two_of_one_are_refused(tmp_path, members):
    with pytest.raises(ConfigurationError, match="two members have one key"):
        assemble(tmp_path / "n", LAW, [*members, members[0]], NOW)
    with pytest.raises(ConfigurationError, match="0 members"):
        assemble(tmp_path / "n", LAW, [], NOW)
    assert not (tmp_path / "n").exists()


@pytest.mark.parametrize(
    ("place", "reason"),
    [(("", 1, 2), "neither"), (("a b", 1, 2), "neither"), (("h", 0, 2), "ports 0"), (("h", 7, 7), "ports 7 and 7")],
)
def test_a_place_that_is_none_is_refused_before_keys_are_drawn(tmp_path, place, reason):
    with pytest.raises(ConfigurationError, match=reason):
        make_key(tmp_path / "new", *place)
    assert not (tmp_path / "new").exists()
