"""Help is light; every error is one line and its class's exit status."""

from __future__ import annotations

import json
import subprocess
import sys
from inspect import Parameter, signature

import pytest

from keephold.base import errors
from keephold.cli import main
from keephold.cli.output import HINTS, plain
from keephold.contract.address import Address

HEAVY = {
    "httpx2", "starlette", "uvicorn", "google.protobuf", "cryptography", "wasmtime", "apsw", "jinja2", "asyncio",
    "msgspec", "cbor2", "sr25519", "dcap_qvl",
}  # fmt: skip
HELP = """
import sys
sys.argv = ['keephold', *{arguments!r}]
try:
    from keephold.cli.main import main
    main()
except SystemExit:
    pass
print(*sys.modules, file=sys.stderr)
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["account", "--help"],
        ["network", "--help"],
        ["govern", "--help"],
        ["collateral", "--help"],
    ],
)
def test_help_is_light(arguments) -> None:
    code = HELP.format(arguments=arguments)
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not HEAVY & set(out.stderr.split())
    assert out.stdout


def test_every_command_exists_and_has_help(capsys) -> None:
    groups = {
        (): main._COMMANDS,
        ("account",): main._ACCOUNT_COMMANDS,
        ("network",): main._NETWORK_COMMANDS,
        ("govern",): main._GOVERN_COMMANDS,
        ("collateral",): main._COLLATERAL_COMMANDS,
    }
    for group in [(*group, name) for group, commands in groups.items() for name, _, _ in commands]:
        assert main.run([*group, "--help"]) == 0
        assert "--json" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["nonsense"], ["call", "Token"], ["devnet", "--port", "x"], ["show", "--what"]])
def test_usage_errors_are_one_line_and_status_2(arguments, capsys) -> None:
    assert main.run(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert captured.err.startswith("keephold: input: ")


def test_errors_as_json(capsys) -> None:
    assert main.run(["nonsense", "--json"]) == 2
    error = json.loads(capsys.readouterr().err)["error"]
    assert (error["code"], error["exit_status"]) == ("input", 2)


def every(kind: type[errors.KeepholdError]) -> list[type[errors.KeepholdError]]:
    return [kind, *(found for below in kind.__subclasses__() for found in every(below))]


def made(kind: type[errors.KeepholdError]) -> errors.KeepholdError:
    """One of it, with what it needs: most take a text, some take typed fields."""
    _, *takes = signature(kind.__init__).parameters.values()
    needed = [
        item for item in takes if item.kind is Parameter.POSITIONAL_OR_KEYWORD and item.default is Parameter.empty
    ]
    return kind(*["what happened\nand where"] * max(1, len(needed)))


@pytest.mark.parametrize("kind", every(errors.KeepholdError), ids=lambda kind: kind.__name__)
def test_each_error_class_has_its_exit_status(kind, monkeypatch, capsys) -> None:
    def fail(*_: object, **__: object) -> None:
        raise made(kind)

    monkeypatch.setattr(main, "app", fail)
    assert main.run(["show"]) == kind.exit_status
    assert 1 <= kind.exit_status <= 13
    line = capsys.readouterr().err
    assert len(line.splitlines()) == 1
    assert line.startswith(f"keephold: {kind.code}: ")


def test_hints_are_for_codes_that_exist() -> None:
    assert set(HINTS) <= {kind.code for kind in every(errors.KeepholdError)}


def test_an_unexpected_error_is_a_line_too(monkeypatch, capsys) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(main, "app", fail)
    assert main.run(["show"]) == 1
    assert "ZeroDivisionError: oops" in capsys.readouterr().err
    monkeypatch.setenv("KEEPHOLD_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        main.run(["show"])


def test_an_interrupt_is_130(monkeypatch) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "app", stop)
    assert main.run(["show"]) == 130


def test_values_in_json() -> None:
    address = Address.account(bytes(range(32)))
    value = {"a": (b"\x01", 1 << 60, True, None), "b": frozenset({2, 1}), "c": address}
    assert plain(value) == {"a": ["01", str(1 << 60), True, None], "b": [1, 2], "c": address.text}
