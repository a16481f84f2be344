from __future__ import annotations

import base64
import json
import tomllib

import pytest

from keephold.base.errors import ConfigurationError
from keephold.crypto.ed25519 import ValidatorKey
from keephold.crypto.secret import SecretBytes
from keephold.ledger.engines.cometbft.home import CometHome, Settings

SEED = bytes(range(32))


@pytest.fixture
def home(tmp_path, founding) -> CometHome:
    made = CometHome(tmp_path / "cometbft")
    made.write(founding, Settings(p2p_port=1234, peers=("a@b:1", "c@d:2"), heartbeat_s=7), SecretBytes(SEED))
    return made


def read(home: CometHome, name: str) -> dict:
    return json.loads((home.directory / name).read_bytes())


def test_the_genesis_is_the_networks(home, founding):
    said = read(home, "config/genesis.json")
    assert said["chain_id"] == founding.chain_id
    assert said["genesis_time"] == "2023-11-14T22:13:20.000000001Z"
    assert said["consensus_params"]["block"] == {"max_bytes": str(4 << 20), "max_gas": "-1"}
    assert said["consensus_params"]["abci"]["vote_extensions_enable_height"] == "0"
    evidence = said["consensus_params"]["evidence"]
    assert int(evidence["max_age_duration"]) == 48 * 3600 * 10**9
    assert int(evidence["max_age_num_blocks"]) == 48 * 3600 / Settings().heartbeat_s
    keys = [base64.b64decode(item["pub_key"]["value"]) for item in said["validators"]]
    assert keys == [item.public_key for item in founding.validators.validators]


def test_the_configuration_keeps_rpc_and_abci_on_sockets_of_this_directory(home):
    said = tomllib.loads((home.directory / "config/config.toml").read_text())
    assert said["proxy_app"] == f"unix://{home.abci_socket}"
    assert said["rpc"]["laddr"] == f"unix://{home.rpc_socket}"
    assert said["rpc"]["unsafe"] is False
    assert said["instrumentation"]["prometheus"] is False
    assert said["consensus"]["create_empty_blocks"] is False
    assert said["consensus"]["create_empty_blocks_interval"] == "7000ms"
    assert said["p2p"]["laddr"] == "tcp://127.0.0.1:1234"
    assert said["p2p"]["persistent_peers"] == "a@b:1,c@d:2"
    assert said["p2p"]["unconditional_peer_ids"] == "a,c"
    assert said["tx_index"]["indexer"] == "null"
    assert home.directory.stat().st_mode & 0o777 == 0o700


def test_rpc_and_metrics_listen_where_the_operator_said(home, founding):
    home.write(founding, Settings(rpc="127.0.0.1:1", prometheus="127.0.0.1:2"), SecretBytes(SEED))
    said = tomllib.loads((home.directory / "config/config.toml").read_text())
    assert said["rpc"]["laddr"] == f"unix://{home.rpc_socket},tcp://127.0.0.1:1"
    assert said["rpc"]["unsafe"] is False
    assert said["instrumentation"]["prometheus_listen_addr"] == "127.0.0.1:2"
    assert said["instrumentation"]["prometheus"] is True


def test_keys_are_gos_and_nobody_elses_to_read(home):
    path = home.directory / "config/priv_validator_key.json"
    said = read(home, "config/priv_validator_key.json")
    public = ValidatorKey(SecretBytes(SEED)).public
    assert base64.b64decode(said["priv_key"]["value"]) == SEED + public
    assert base64.b64decode(said["pub_key"]["value"]) == public
    for file in (path, home.directory / "config/node_key.json"):
        assert file.stat().st_mode & 0o777 == 0o600


def test_the_node_keeps_its_name_and_what_it_signed(home, founding):
    name = home.node_id()
    state = home.directory / "data/priv_validator_state.json"
    state.write_text('{"height": "5"}')
    home.write(founding, Settings(), SecretBytes(SEED))
    assert home.node_id() == name
    assert len(bytes.fromhex(name)) == 20
    assert state.read_text() == '{"height": "5"}'


def test_a_validator_that_forgot_what_it_signed_does_not_start(home, founding):
    (home.directory / "data/blockstore.db").mkdir()
    (home.directory / "data/priv_validator_state.json").unlink()
    with pytest.raises(ConfigurationError, match="cannot know what it signed"):
        home.write(founding, Settings(), SecretBytes(SEED))


def test_a_ledger_whose_blocks_are_gone_does_not_start_and_nothing_is_signed_anew(tmp_path, founding):
    """CometBFT would begin at nothing, with a validator that remembers nothing, and then panic over the app hash."""
    home = CometHome(tmp_path / "home")
    with pytest.raises(ConfigurationError, match=r"blockstore\.db is missing, and the ledger is at block 7"):
        home.write(founding, Settings(), SecretBytes(SEED), 7)
    assert not (home.directory / "data").exists()
    home.write(founding, Settings(), SecretBytes(SEED), 0)
    (home.directory / "data/blockstore.db").mkdir()
    home.write(founding, Settings(), SecretBytes(SEED), 7)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"priv_key": {"value": "x"}}', '{"priv_key": 1}'])
def test_a_damaged_node_key(home, content):
    (home.directory / "config/node_key.json").write_text(content)
    with pytest.raises(ConfigurationError, match="not a node key"):
        home.node_id()


def test_beginning_anew_forgets_blocks_and_keeps_what_was_signed(tmp_path, founding):
    home = CometHome(tmp_path / "home")
    home.write(founding, Settings(), SecretBytes(SEED))
    data = tmp_path / "home" / "data"
    for name in ("blockstore.db", "state.db", "cs.wal"):
        (data / name).mkdir()
        (data / name / "000001.log").write_bytes(b"x")
    signed, node = (data / "priv_validator_state.json").read_bytes(), home.node_id()
    home.begin_anew()
    assert [path.name for path in data.iterdir()] == ["priv_validator_state.json"]
    home.write(founding, Settings(), SecretBytes(SEED))
    assert (data / "priv_validator_state.json").read_bytes() == signed
    assert home.node_id() == node
