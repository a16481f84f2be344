"""A source that does not end, or eats, or answers for its reader, costs a typed error and nothing more."""

from __future__ import annotations

import os

import pytest

from keephold.base.errors import InputError, SandboxError
from keephold.client.source import code_from_source
from keephold.contract.check import check_source
from keephold.contract.values import canonical

PLAIN = """
from keephold import Call, Contract, call

class Plain(Contract):
    @call
    def go(self, ctx: Call) -> None:
        pass
"""


def test_the_child_reads_what_a_worker_would():
    code = code_from_source(PLAIN, "Plain")
    assert code.abi == canonical(check_source(PLAIN).abi).encode()
    with pytest.raises(InputError, match="Plain, not Other"):
        code_from_source(PLAIN, "Other")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("while True: pass", "takes too long"),
        ("x = 'a' * (1 << 31)", "MemoryError"),
        ("raise ValueError('no')", "ValueError: no"),
        ("raise SystemExit(0)", "SystemExit"),
        ("def f(): f()\nf()", "RecursionError"),
        ("import os", "os is not available"),
    ],
)
def test_what_does_not_load_is_told(line, message):
    with pytest.raises(SandboxError, match=message):
        code_from_source(PLAIN + line)


@pytest.mark.parametrize("way", ["os._exit(3)", "os.abort()", "os.write(3, b'{}'), os._exit(0)"])
def test_a_source_that_finds_a_way_out_gets_no_further(way):
    """The import check is for clear words, not for safety: a source may reach a module through another."""
    with pytest.raises(SandboxError):
        code_from_source(PLAIN + f"import json\nos = json.codecs.builtins.__import__('os')\n{way}\n")


def test_this_process_runs_nothing_of_it(monkeypatch):
    monkeypatch.delenv("KEEPHOLD_SEEN", raising=False)
    source = (
        PLAIN + "import json\njson.codecs.builtins.__import__('os').environ['KEEPHOLD_SEEN'] = '1'\nprint('noise')\n"
    )
    assert code_from_source(source).name == "Plain"
    assert "KEEPHOLD_SEEN" not in os.environ


def test_lone_surrogates_are_refused():
    with pytest.raises(SandboxError, match="surrogates"):
        code_from_source(PLAIN + "x = '\ud800'")
