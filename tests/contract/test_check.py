from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from keephold.contract import check
from keephold.contract.abi import abi
from keephold.contract.check import SourceError, check_source, line_text

PACKAGE = Path(check.__file__).parent
TOKEN = (Path(__file__).parents[2] / "examples" / "token" / "token.py").read_text()
HEAD = "from keephold import *\nfrom typing import *\n"


def contract(body: str) -> str:
    return f"{HEAD}class C(Contract):\n{body}"


BAD = [
    ("x = (", 1, "never closed"),
    ("import os", 1, "os is not available"),
    ("\n\nfrom socket import socket", 3, "socket is not available"),
    ("from . import x", 1, "relative"),
    ("def f():\n    import time", 2, "time is not available"),
    ("1/0", 1, "ZeroDivisionError"),
    ("raise SystemExit", 1, "SystemExit"),
    ("x = 1", 0, "no contract class"),
    (contract("    pass\nclass D(Contract):\n    pass"), 0, "not 2: C, D"),
    (contract("    x: float"), 4, "float"),
    (contract("    x: list[int]"), 4, "tuple"),
    (contract("    x: Unknown"), None, "Unknown"),
    (contract("    x: Map[int]"), None, "Map"),
    (contract("    x: int = 'a'"), 4, "expected an integer"),
    (contract("    _x: int"), 4, "underscore"),
    (contract("    m: Map[int, int] = 3"), 4, "default"),
    (contract("    @call\n    def f(self, ctx: View) -> None: ..."), 5, "annotate ctx as Call"),
    (contract("    @view\n    def f(self, ctx: Call) -> int: ..."), 5, "annotate ctx as View"),
    (contract("    @view(public=True)\n    def f(self, ctx: View) -> int: ..."), 5, "PublicView"),
    (contract("    @call\n    def f(self, ctx: Call): ..."), 5, "what it returns"),
    (contract("    @call\n    def f(self, ctx: Call, x) -> None: ..."), 5, "its argument x"),
    (contract("    @call\n    def f(self, ctx: Call, x: float) -> None: ..."), 5, "float"),
    (contract("    @call\n    def f(self, ctx: Call, *x: int) -> None: ..."), 5, "plain arguments"),
    (contract("    @call\n    def f(self, ctx: Call, x: int = 'a') -> None: ..."), None, "expected an integer"),
    (contract("    @init\n    def f(self, ctx: Call) -> None: ...\n    @init\n    def g(self, ctx: Call) -> None: ..."),
     None, "one @init"),
    (f"{HEAD}class C(Contract, pad=(9, 3)):\n    pass", 3, "rising"),
    *(
        (f"import json\nimport {module}", 2, f"{module} is not available")
        for module in ("threading", "_thread", "socket", "ssl", "http.client", "urllib.request", "os", "os.path",
                       "pathlib", "io", "tempfile", "shutil", "subprocess", "multiprocessing", "signal", "time",
                       "datetime", "random",
                       "secrets", "uuid", "asyncio", "select", "ctypes", "sys", "builtins", "importlib", "inspect",
                       "gc", "pickle", "decimal", "numpy", "requests", "keephold.client", "keephold.testing.network")
    ),
    ("from keephold import Map\nfrom keephold.crypto import hpke", 2, "keephold.crypto is not available"),
    (contract("    @call\n    def f(self, ctx: Call) -> None:\n        open('/etc/passwd')"), 6, "there are no files"),
    (contract("    @call\n    def f(self, ctx: Call) -> None:\n        breakpoint()"), 6, "test natively"),
    (contract("    @call\n    def f(self, ctx: Call) -> str:\n        return input()"), 6, "nobody to ask"),
    (contract("    @call\n    async def f(self, ctx: Call) -> None:\n        pass"), 5, "never waits"),
    (contract("    @call\n    def f(self, ctx: Call) -> None:\n        async def g(): pass"), 6, "never waits"),
    (contract("    x: Map[float, int]"), 4, "float"),
    (contract("    x: tuple[float, ...]"), 4, "float"),
    (contract("    x: set[int]"), 4, "frozenset"),
    (contract("    x: dict[str, int]"), 4, "Map"),
    (contract("    @view(scope='two words')\n    def f(self, ctx: View) -> int: ..."), 5, "one word"),
    (contract("    @view(scope='$events')\n    def f(self, ctx: View) -> int: ..."), 5, "one word"),
    ("x = " + "(" * 5000 + ")" * 5000, None, ""),
    ("\0", None, ""),
]  # fmt: skip


@pytest.mark.parametrize(("source", "line", "reason"), BAD, ids=range(len(BAD)))
def test_a_bad_source_has_a_reason_and_a_line(source, line, reason):
    with pytest.raises(SourceError) as caught:
        check_source(source)
    assert reason in caught.value.message
    if line is not None:
        assert caught.value.line == line


def test_names_of_ones_own_are_ones_own():
    body = "    @call\n    def open(self, ctx: Call) -> None:\n        help = 1\n        self.x = help\n    x: int = 0"
    assert check_source(contract(body)).abi["methods"]["open"]


def test_a_line_for_people():
    assert line_text("a\n  b = 1", 2) == "b = 1"
    assert line_text("a", 0) == line_text("a", 2) == ""
    assert len(line_text("x" * 500, 1)) == 120


def test_the_abi_of_the_token():
    info = check_source(TOKEN)
    assert info.name == "Token"
    methods = info.abi["methods"]
    assert {name: method["kind"] for name, method in methods.items()} == {
        "setup": "init",
        "transfer": "call",
        "balance": "view",
    }
    assert methods["transfer"]["rejects"] == ["insufficient_balance"]
    assert methods["transfer"]["order"] == ["to", "amount"]
    assert methods["transfer"]["params"]["amount"] == {"type": "string", "format": "uint128"}
    assert methods["balance"]["scope"] == "balance"
    assert info.abi["events"]["Moved"]["audience"] == "recipients"
    assert info.abi["storage"]["balances"]["key"] == {"type": "string", "format": "address"}
    assert info.abi["pad"] == [512, 4096]


def test_public_events_defaults_scopes_and_inheritance_are_in_the_abi():
    source = HEAD + (
        "class Heard(Event):\n    what: str\n"
        "class Base(Contract, pad=(64,)):\n    n: int = 3\n"
        "    @call\n    def say(self, ctx: Call, what: str = 'hi') -> None:\n"
        "        ctx.emit(Heard(what), to='public')\n"
        "class C(Base):\n    'Doc.'\n    @view\n    def look(self, ctx: View) -> int | None: ...\n"
        "    @view(public=True)\n    def all(self, ctx: PublicView) -> tuple[int, ...]: ...\n"
    )
    described = check_source(source).abi
    assert described["events"]["Heard"]["audience"] == "public"
    assert described["methods"]["say"]["params"]["what"] == {"type": "string", "default": "hi"}
    assert described["methods"]["look"]["scope"] == "look"
    assert described["methods"]["all"]["public"] is True
    assert (described["doc"], described["pad"]) == ("Doc.", [64])


def test_future_annotations_are_resolved():
    source = (
        "from __future__ import annotations\n"
        + HEAD.replace("\n", "\n", 1)
        + "class C(Contract):\n    x: Map[int, Later]\n"
        "class Later(Record):\n    y: int\n"
    )
    assert check_source(source).abi["storage"]["x"]["value"]["title"] == "Later"


def test_the_abi_of_a_class_without_its_source(token_class):
    assert abi(token_class)["methods"]["transfer"]["rejects"] == []


def test_the_authoring_api_imports_the_standard_library_alone():
    for path in sorted(PACKAGE.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module]
            for name in names:
                top = name.split(".")[0]
                assert top in sys.stdlib_module_names or name.startswith("keephold.contract"), (path.name, name)
