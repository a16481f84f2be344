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
    (contract("    @call\n    def f(self, ctx: Call, x: int = 'a') -> None: ..."), 5, "f: the default of x: expected"),
    (contract("    @init\n    def f(self, ctx: Call) -> None: ...\n    @init\n    def g(self, ctx: Call) -> None: ..."),
     7, "one @init"),
    (f"{HEAD}class C(Contract, pad=(9, 3)):\n    pass", 3, "rising"),
    (f"{HEAD}class C(Contract, pad=512):\n    pass", 3, "rising"),
    (f"{HEAD}class C(Contract, pad=(True, 512)):\n    pass", 3, "rising"),
    (f"{HEAD}class C(Contract, pad=(8129,)):\n    pass", 3, "the first at most 8128"),
    (f"{HEAD}class C(Contract, pad=(512, 65537)):\n    pass", 3, "the last at most 65536"),
    (contract("    pad = (8129,)"), 0, "the first at most 8128"),
    (contract("    x: Map"), 4, "x: write Map[Key, Value]"),
    (contract("    x: Map[int, Map[int, int]]"), 4, "holds no Map"),
    (contract("    x: int\n    @call\n    def x(self, ctx: Call) -> None: ..."), 4, "one name"),
    (contract("    @call\n    @staticmethod\n    def f(ctx: Call) -> None: ..."), 4, "marks a method, no staticmethod"),
    (contract("    @staticmethod\n    @call\n    def f(self, ctx: Call) -> None: ..."), 6, "hides the method"),
    ("import functools\n" + contract("    @functools.cache\n    @call\n    def f(self, ctx: Call) -> None: ..."), 7,
     "write @call above it"),
    (contract("    @view(True)\n    def f(self, ctx: PublicView) -> int: ..."), 4, "@view marks a method, no bool"),
    (f"{HEAD}class E(Event):\n    n: int\n    a: list[int]\nclass C(Contract):\n    a: int", 5, "E.a: list has no"),
    (f"{HEAD}class R(Record):\n    a: int = 'x'\nclass C(Contract):\n    r: R", 4, "R.a: expected an integer"),
    (f"{HEAD}class R(Record):\n    a: 'R | None'\nclass C(Contract):\n    r: R", 4, "R.a: R contains itself: keep"),
    (f"from enum import Enum\n{HEAD}class E(Enum):\n    A = 1\nclass C(Contract):\n    e: E", 7, "use Literal"),
    (f"from dataclasses import dataclass\n{HEAD}@dataclass\nclass D: ...\nclass C(Contract):\n    d: D", 7,
     "D has no place in a contract's data: derive it from Record"),
    (f"{HEAD}N = NewType('N', int)\nclass C(Contract):\n    n: N", 5, "N has no place in a contract's data: use int"),
    *(
        (f"import json\nimport {module}", 2, f"{module} is not available")
        for module in ("json.tool",
                       "threading", "_thread", "socket", "ssl", "http.client", "urllib.request", "os", "os.path",
                       "pathlib", "io", "tempfile", "shutil", "subprocess", "multiprocessing", "signal", "time",
                       "datetime", "random",
                       "secrets", "uuid", "asyncio", "select", "ctypes", "sys", "builtins", "importlib", "inspect",
                       "gc", "pickle", "decimal", "numpy", "requests", "keephold.client", "keephold.testing.network",
                       "keephold.contract.native")
    ),
    ("from keephold import Map\nfrom keephold.crypto import hpke", 2, "keephold.crypto is not available"),
    (contract("    @call\n    def f(self, ctx: Call) -> None:\n        open('/etc/passwd')"), 6, "there are no files"),
    (contract("    @call\n    def f(self, ctx: Call) -> None:\n        breakpoint()"), 6, "test natively"),
    (contract("    @call\n    def f(self, ctx: Call) -> str:\n        return input()"), 6, "nobody to ask"),
    (contract("    @call\n    async def f(self, ctx: Call) -> None:\n        pass"), 5, "never waits"),
    (contract("    @call\n    def f(self, ctx: Call) -> None:\n        async def g(): pass"), 6, "never waits"),
    (f"{HEAD}import random, json", 3, "draw from ctx.random"),
    (f"{HEAD}from time import time as now", 3, "use ctx.block.time_ns"),
    (f"{HEAD}from keephold import client", 3, "keephold.client is not available"),
    (f"{HEAD}from keephold.contract import native", 3, "keephold.contract.native is not available"),
    (f"{HEAD}def f():\n    from json import tool", 4, "json.tool is not available"),
    (f"{HEAD}from dataclasses import sys", 3, "dataclasses.sys is not available"),
    (f"{HEAD}from hashlib import scrypt", 3, "take the derived key as an argument"),
    (f"{HEAD}import hashlib as h\ndef f(): return h.pbkdf2_hmac('sha256', b'', b'', 1)", 4, "derived key"),
    (f"{HEAD}x = globals()['__builtins__']", 3, "as they are"),
    (contract("    x: Map[float, int]"), 4, "float"),
    (contract("    x: tuple[float, ...]"), 4, "float"),
    (contract("    x: set[int]"), 4, "frozenset"),
    (contract("    x: dict[str, int]"), 4, "Map"),
    (contract("    @view(scope='two words')\n    def f(self, ctx: View) -> int: ..."), 5, "one word"),
    (contract("    @view(scope='$events')\n    def f(self, ctx: View) -> int: ..."), 5, "one word"),
    ("x = " + "(" * 5000 + ")" * 5000, None, ""),
    ("x = " + "-" * 100_000 + "1", 0, "nested too deeply"),
    ("\0", None, ""),
]  # fmt: skip


@pytest.mark.parametrize(("source", "line", "reason"), BAD, ids=range(len(BAD)))
def test_a_bad_source_has_a_reason_and_a_line(source, line, reason):
    with pytest.raises(SourceError) as caught:
        check_source(source)
    assert reason in caught.value.message
    if line is not None:
        assert caught.value.line == line


NAMES = ("__builtins__", "__file__", "__import__", "breakpoint", "compile", "eval", "exec", "exit", "help", "input",
         "open", "quit")  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("x = NAME", 3, 5),
        ("def f():\n    def g():\n        return NAME", 5, 16),
        ("f = lambda é: (é, 'é', NAME)", 3, 24),
        ("class A:\n    NAME = 1\n    def f(self): return NAME", 5, 25),
        ("def f():\n    NAME = 1\ndef g(): return [NAME for _ in 'ab']", 5, 18),
        ("class A:\n    def NAME(self): return self.NAME()\n    def f(self): return NAME('x')", 5, 25),
    ],
)
def test_the_use_of_a_name_that_the_sandbox_lacks_is_refused_where_it_stands(name, text, line, column):
    with pytest.raises(SourceError, match="is not available to contracts: ") as caught:
        check_source(HEAD + text.replace("NAME", name))
    assert (caught.value.line, caught.value.column) == (line, column)
    assert caught.value.message.startswith(name)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "__builtins__"])
@pytest.mark.parametrize(
    "text",
    [
        "def NAME(): return 1\nx = NAME()",
        "def f(): return NAME()\nNAME = int",
        "def f(NAME): return lambda: [NAME for _ in 'ab']",
        "def f():\n    NAME = 1\n    def g(): return NAME\n    return g()",
        "def f():\n    global NAME\n    NAME = 1\ndef g(): return NAME",
        "class A:\n    NAME = 1\n    y = NAME",
        "from operator import add as NAME\nx = NAME(1, 2)",
        "def f(x):\n    match x:\n        case [NAME]: return NAME",
        "def f(x):\n    try: return 1 // x\n    except ZeroDivisionError as NAME: return str(NAME)",
        "def f(x): return (NAME := x) + NAME",
        "class A:\n    NAME = 1\n    def f(self): return self.NAME, A.NAME, dict(NAME=1), 'NAME'",
    ],
)
def test_names_of_ones_own_are_ones_own(name, text):
    body = "class C(Contract):\n    @call\n    def NAME(self, ctx: Call) -> int: return self.x\n    x: int = 0"
    source = f"{HEAD}{text}\n{body if not name.startswith('_') else body.replace('NAME', 'go')}"
    assert check_source(source.replace("NAME", name)).name == "C"


def test_what_a_star_brings_along_is_ones_own():
    assert check_source(f"{HEAD}from re import *\nx = compile('a')\n{contract('    x: int = 0')}").name == "C"


def test_a_module_of_ones_own_name_is_ones_own():
    source = f"{HEAD}import hashlib\ndef f(hashlib): return hashlib.scrypt\n{contract('    x: int = 0')}"
    assert check_source(source).name == "C"


def method(code: str, returns: str = "int", head: str = "") -> str:
    body = "".join(f"        {line}\n" for line in code.splitlines())
    return (
        f"{HEAD}{head}class C(Contract):\n    x: int = 0\n    m: Map[int, int]\n"
        f"    @call\n    def f(self, ctx: Call, n: int) -> {returns}:\n{body}"
    )


FLOATS = {
    "return n / 2": 16,
    "return 0.5": 16,
    "return -(n * 1.05)": 16,
    "return float(n)": 16,
    "return n if n > 3 else n ** 0.5": 16,
    "self.x = n / 2\nreturn 1": 18,
    "self.m[n] = self.x = 2 + n / 3\nreturn 1": 30,
    "self.x /= 2\nreturn 1": 19,
    "self.m[1] *= 1.5\nreturn 1": 22,
    "if n:\n    return 1.0\nreturn 1": 20,
}


@pytest.mark.parametrize("code", FLOATS)
def test_what_certainly_is_a_float_has_no_place_in_results_and_storage(code):
    with pytest.raises(SourceError, match="divide with //") as caught:
        check_source(method(code))
    assert caught.value.column == FLOATS[code]
    assert caught.value.line == (9 if code.startswith("if") else 8)


@pytest.mark.parametrize(
    "source",
    [
        method("return n // 2"),
        method("return int(n / 2 + 0.5)"),
        method("half = n / 2\nreturn round(half)"),
        method("def g(): return n / 2\nreturn int(g())"),
        method("return '%.1f' % (n / 2)", "str"),
        method("return n / 2 > 1", "bool"),
        method("self.note = n / 2\nreturn 1"),
        method("return One() / 2", "int", "class One:\n    def __truediv__(self, other): return 1\n"),
        method("return float(n)", "int", "def float(x): return x\n"),
        f"{HEAD}class P:\n    x: float\n    def half(self): return self.x / 2\n{contract('    x: int = 0')}",
        method("total = 0" + " + n" * 300 + "\nreturn total" + " + n" * 300),
    ],
    ids=range(11),
)
def test_other_uses_of_floats_are_the_contracts_own_matter(source):
    assert check_source(source).name == "C"


def test_lines_are_counted_as_the_compiler_counts_them():
    with pytest.raises(SourceError) as caught:
        check_source(HEAD + "x = 'a\x0cb\u2028'\r\ny = 'é'; z = open('x')")
    assert (caught.value.line, caught.value.column) == (4, 14)


def test_the_syntax_of_a_source_has_a_column():
    with pytest.raises(SourceError, match="line 2, column 5") as caught:
        check_source("x = 1\ny = $")
    assert caught.value.column == 5


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
