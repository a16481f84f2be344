from __future__ import annotations

import json
import logging

import msgspec
import pytest

from keephold.base.errors import BadKey, ConfigurationError
from keephold.crypto.secret import SecretBytes
from keephold.programs.config import JsonFormatter, event, load, read_genesis, read_signing_key, redacted
from keephold.programs.enclaves import PlatformConfig
from keephold.programs.gatekeeper import GatekeeperConfig, GatekeeperFile


class Example(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    port: int = 1


@pytest.mark.parametrize(
    ("text", "named"), [("prot = 1", "prot"), ('port = "1"', "port"), ("port =", "Invalid"), ("port = 1\x00", "x.toml")]
)
def test_what_is_not_exactly_a_configuration_is_refused_by_name(tmp_path, text: str, named: str) -> None:
    path = tmp_path / "x.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=named):
        load(path, Example)
    with pytest.raises(ConfigurationError):
        load(tmp_path / "absent.toml", Example)


def test_the_simulated_platform_cannot_be_configured(tmp_path) -> None:
    path = tmp_path / "g.toml"
    base = 'nodes = ["http://n"]\ngenesis = "g"\nhome = "h"\noperator_seed = "s"\n'
    path.write_text(base + '[platform]\nkind = "tdx"\nvendor = "intel"\n')
    assert load(path, GatekeeperFile).platform == PlatformConfig(kind="tdx", vendor="intel")
    path.write_text(base + '[platform]\nkind = "simulated"\nvendor = "development"\n')
    with pytest.raises(ConfigurationError, match="kind"):
        load(path, GatekeeperFile)
    path.write_text(base)
    assert load(path, GatekeeperConfig).nodes == ["http://n"]


def test_keys_are_read_as_bytes_or_digits_and_never_quoted(tmp_path) -> None:
    path = tmp_path / "seed"
    path.write_bytes(bytes(range(32)))
    first = read_signing_key(path).public
    path.write_text(bytes(range(32)).hex() + "\n")
    assert read_signing_key(path).public == first
    path.write_text("topsecret")
    with pytest.raises(ConfigurationError) as refused:
        read_signing_key(path)
    assert "topsecret" not in str(refused.value)
    assert refused.value.__cause__ is None
    with pytest.raises(ConfigurationError):
        read_genesis(path)


def lines(name: str, **fields) -> dict:
    records = []
    logger = logging.getLogger("keephold.test")
    handler = logging.Handler()
    handler.emit = lambda record: records.append(json.loads(JsonFormatter().format(record)))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        event(logger, name, **fields)
    finally:
        logger.removeHandler(handler)
    return records[0]


def test_logs_show_public_fields_and_cut_what_could_be_secret() -> None:
    secret = "ab" * 32
    line = lines(f"key {secret}", identity=b"\x01" * 32, seed="short", other=secret, held=SecretBytes(b"x"), count=3)
    assert line["identity"] == "01" * 32
    assert line["seed"] == "[redacted]"
    assert line["held"] == "[redacted]"
    assert line["count"] == 3
    assert secret not in json.dumps(line)
    assert redacted("height 1763836342000000000") == "height 1763836342000000000"


def test_errors_are_logged_by_code() -> None:
    record = logging.LogRecord("x", logging.ERROR, "", 0, "stopped", (), (BadKey, BadKey("why"), None))
    record.code, record.custom = "a", "b"
    line = json.loads(JsonFormatter().format(record))
    assert (line["error"], line["detail"], line["custom"]) == ("bad_key", "why", "b")
