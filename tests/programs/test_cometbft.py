from __future__ import annotations

import logging
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from keephold.base.errors import ConfigurationError
from keephold.chain.chain_id import chain_id
from keephold.crypto.secret import SecretBytes
from keephold.crypto.signing import SigningKey
from keephold.ledger.application import LedgerApplication
from keephold.programs import node
from keephold.programs.comet_binary import look, require
from keephold.programs.cometbft import CometConfig, founding_of
from keephold.programs.config import read_genesis
from keephold.programs.members import Address, draw, found
from keephold.protocol.codec import encode
from keephold.protocol.genesis import Genesis
from keephold.protocol.governance import CommitteeRules, Constitution, GovernanceRules, Timing, ValidatorEntry
from keephold.testing.vendor import DevelopmentVendor, SgxBuild

SECOND = 10**9


def genesis_of(*public: bytes) -> Genesis:
    law = Constitution(
        GovernanceRules((SigningKey(SecretBytes(b"g" * 32)).public,), 1, 0),
        DevelopmentVendor(SecretBytes(b"v" * 32)).policy((SgxBuild.named("worker"), "worker")),
        CommitteeRules(1, 1, 60 * SECOND),
        Timing(3600 * SECOND, 30 * SECOND, 86_400 * SECOND),
        tuple(ValidatorEntry(key, 10) for key in public),
    )
    return Genesis("net", 1_700_000_000 * SECOND, bytes(32), law, simulated=True)


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="keephold-", dir="/tmp") as directory:  # sockets want short paths
        yield Path(directory)


def comet_of(directory: Path, version: str) -> Path:
    """Write a program that says it is CometBFT of a version."""
    path = directory / "comet"
    path.write_text(f"#!/bin/sh\necho {version}\n")
    path.chmod(0o700)
    return path


@pytest.fixture
def founded(tmp_path: Path) -> list[Path]:
    members = [draw(tmp_path / name) for name in ("a", "b")]
    genesis = genesis_of(*(member.public_key for member in members))
    addresses = [Address(7001, 7101), Address(7002, 7102)]
    return found(members, addresses, genesis, CometConfig(binary=str(comet_of(tmp_path, "0.38.25"))), 3.0)


def test_each_member_gets_a_configuration_that_names_the_others(founded, tmp_path):
    first, second = (node.read_config(path) for path in founded)
    assert (first.engine, first.port, first.cometbft.port) == ("cometbft", 7001, 7101)
    assert first.cometbft.peers == (f"{draw(tmp_path / 'b').node_id}@127.0.0.1:7102",)
    assert second.cometbft.peers == (f"{draw(tmp_path / 'a').node_id}@127.0.0.1:7101",)
    assert read_genesis(Path(first.genesis)) == read_genesis(Path(second.genesis))
    assert Path(first.validator_key).stat().st_mode & 0o777 == 0o600


def test_a_member_drawn_again_keeps_its_keys(tmp_path):
    assert draw(tmp_path / "a") == draw(tmp_path / "a")


def test_the_same_port_twice_is_refused(tmp_path):
    members = [draw(tmp_path / name) for name in ("a", "b")]
    genesis = genesis_of(*(member.public_key for member in members))
    with pytest.raises(ConfigurationError, match="same port"):
        found(members, [Address(7001, 7101), Address(7002, 7001)], genesis, CometConfig(), 3.0)


def test_a_genesis_of_other_validators_is_refused(tmp_path):
    member = draw(tmp_path / "a")
    with pytest.raises(ConfigurationError, match="not these members"):
        found([member], [Address(1, 2)], genesis_of(bytes(32)), CometConfig(), 3.0)


def test_a_node_opens_its_ledger_with_comets_directory_beside_it(founded):
    config = node.read_config(founded[0])
    ledger, engine, _ = node.open_ledger(config)
    try:
        assert (Path(config.home) / "cometbft/config/genesis.json").exists()
        assert engine.latest() == 0
        assert founding_of(ledger).chain_id == chain_id(ledger.network)
        assert founding_of(ledger).time_ns > ledger.genesis.time_ns, "block 1 carries it, and time has to rise"
    finally:
        engine.stop()
        ledger.close()


def test_an_old_genesis_without_blocks_is_warned_about(founded, caplog):
    with caplog.at_level(logging.WARNING, "keephold.node"):
        ledger, engine, _ = node.open_ledger(node.read_config(founded[0]))
    engine.stop()
    ledger.close()
    assert "older than its trusting period" in caplog.text


def test_a_binary_that_is_not_there(founded):
    config = node.read_config(founded[0])
    with pytest.raises(ConfigurationError, match=r"cometbft\.binary: there is no program"):
        node.open_ledger(replace(config, cometbft=CometConfig(binary="/nowhere/cometbft")))


@pytest.mark.parametrize("version", ["1.0.1", "0.37.9", "0.40.0-dev"])
def test_a_version_that_is_not_supported_is_named_with_what_to_install(founded, tmp_path, version):
    binary = str(comet_of(tmp_path, version))
    with pytest.raises(ConfigurationError, match=rf"is v{version}; v0\.38 and v0\.39 .*go install .*@v0\.38\.25"):
        node.open_ledger(replace(node.read_config(founded[0]), cometbft=CometConfig(binary=binary)))


@pytest.mark.parametrize(
    ("said", "reason"), [("echo hello", "no CometBFT"), ("exit 3", "no CometBFT"), ("#", "no CometBFT")]
)
def test_another_program_is_no_comet(tmp_path, said, reason):
    path = comet_of(tmp_path, "")
    path.write_text(f"#!/bin/sh\n{said}\n")
    with pytest.raises(ConfigurationError, match=reason):
        look(str(path))


@pytest.mark.parametrize("version", ["0.38.25", "v0.39.4", "0.38.17+1"])
def test_supported_versions(tmp_path, version):
    assert require(str(comet_of(tmp_path, version))).is_supported


def test_a_members_directory_may_be_moved(founded, tmp_path):
    moved = founded[0].parent.rename(tmp_path / "elsewhere") / "node.toml"
    config = node.read_config(moved)
    assert node.read_validator_seed(Path(config.validator_key)).reveal()
    assert config.home == str(tmp_path / "elsewhere" / "home")


def test_without_protobuf_the_extra_is_named(founded):
    """In a process of its own: what is imported already stays imported."""
    code = (
        "import sys; sys.modules['google.protobuf'] = None\n"
        "from pathlib import Path; from keephold.programs import node\n"
        "node.open_ledger(node.read_config(Path(sys.argv[1])))"
    )
    ended = subprocess.run([sys.executable, "-c", code, founded[0]], capture_output=True, text=True, check=False)
    assert ended.stderr.splitlines()[-1].endswith("engine: cometbft needs protobuf: install keephold[cluster]")


def test_the_embedded_engine_asks_for_none_of_it(founded):
    config = node.read_config(founded[0])
    genesis = read_genesis(Path(config.genesis))
    alone = [entry for entry in genesis.law.validators if entry.public_key == draw(founded[0].parent).public_key]
    Path(config.genesis).write_bytes(encode(genesis_of(alone[0].public_key)))
    ledger, engine, _ = node.open_ledger(replace(config, engine="embedded", home=config.home + "2"))
    assert isinstance(ledger, LedgerApplication)
    assert not (Path(config.home + "2") / "cometbft").exists()
    engine.stop()
    ledger.close()


def test_a_node_loads_nothing_that_only_joining_or_comet_needs():
    """Each of a devnet's programs pays for its imports at each start."""
    code = "import sys, keephold.programs.node; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "keephold.ledger.application" in loaded
    for needless in ("httpx2", "google.protobuf", "keephold.follower", "keephold.programs.joining"):
        assert needless not in loaded
