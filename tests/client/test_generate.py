"""A written client is typed, formatted, and made of the ABI's names alone: whatever an ABI says, nothing of it runs."""

from __future__ import annotations

import ast
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keephold.base.errors import AbiError, InputError, Rejected
from keephold.client.account import Account
from keephold.client.generate import _literal, client_module
from keephold.client.permits import Session
from keephold.client.source import code_from_file, code_from_source
from keephold.client.typed import shaped
from keephold.contract.address import Address
from keephold.runtime.artefact import cache_directory

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(
    path for path in ROOT.glob("examples/*/*.py") if "Contract" in path.read_text() and "test" not in path.name
)
CALLED = {"_call", "_view", "_read", "parse", "fromhex"}
RICH = '''
from typing import Literal

from keephold import Address, Amount, Call, Contract, Event, Map, PublicView, Record, View, call, init, require, view


class Inner(Record):
    """Inside."""

    int: bytes
    words: tuple[str, ...]


class Outer(Record):
    """Outside."""

    inner: Inner
    maybe: Inner | None
    pair: tuple[int, Address]
    flags: frozenset[Literal["a", 'b"', "c'"]]


class Contract_(Event):
    """Happened."""

    outer: Outer


class Rich(Contract):
    """A "rich" contract with back\\\\slashes and triple \\"\\"\\" quotes."""

    kept: Map[int, Outer]

    @init
    def setup(self, ctx: Call) -> None:
        """Nothing."""

    @call
    def put(self, ctx: Call, outer: Outer, to: Address | None = None, note: str = 'it"s', data: bytes = b"x") -> Outer:
        """Keep it."""
        require(outer.pair[0] > 0, "not-good: 'x'")
        self.kept[1] = outer
        return outer

    @view
    def tuple(self, ctx: View, str: frozenset[int], limit: Amount = 5) -> tuple[Outer, ...]:
        """Return some."""
        return ()

    @view(public=True)
    def many(self, ctx: PublicView) -> frozenset[Inner]:
        """Return all."""
        return frozenset()
'''


def loaded(text: str, directory: Path, name: str = "written_client") -> ModuleType:
    path = directory / f"{name}.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def checked(directory: Path) -> None:
    """Ask ruff whether it would change a character, and mypy whether it would add a word."""
    tool = Path(sys.executable).parent
    for command in (
        [tool / "ruff", "format", "--isolated", "--no-cache", "--check", directory],
        [tool / "mypy", "--strict", "--config-file=", "--cache-dir", cache_directory() / "mypy", directory],
    ):
        ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=directory)
        assert ended.returncode == 0, ended.stdout + ended.stderr


def only_a_client(text: str) -> None:
    """Nothing at the top but imports, classes, functions and constants; nothing called but the library's own."""
    tree = ast.parse(text)
    allowed = ast.ImportFrom | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef | ast.AnnAssign
    documentation, *rest = tree.body
    assert isinstance(documentation, ast.Expr)
    records = {node.name for node in rest if isinstance(node, ast.ClassDef)}
    for node in rest:
        assert isinstance(node, allowed), ast.dump(node)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert str(node.module).startswith(("keephold.", "typing", "collections.abc", "builtins", "__future__"))
            assert all(str(name.asname or "").startswith("_") for name in node.names) or node.module == "__future__"
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
            assert called in CALLED | records | {"frozenset", "_frozenset"}, called
        assert not isinstance(node, ast.Import | ast.Lambda | ast.Global | ast.NamedExpr | ast.Delete)


def test_clients_of_the_examples_and_of_everything_that_types_allow(tmp_path):
    assert len(EXAMPLES) >= 3
    written = tmp_path / "written"
    written.mkdir()
    texts = {path.stem: client_module(code_from_file(str(path)).abi) for path in EXAMPLES}
    texts["rich"] = client_module(code_from_source(RICH).abi, Address.contract(bytes(32)))
    for name, text in texts.items():
        only_a_client(text)
        (written / f"client_{name}.py").write_text(text)
    checked(written)
    assert "# fmt: off" not in texts["token"]


class Fake:
    """A contract that answers with what it was asked."""

    def __init__(self, abi: bytes, answer: Any) -> None:
        self.abi, self.answer, self.asked = abi, answer, []

    def verified(self) -> Any:
        return type("Verified", (), {"code": type("Code", (), {"abi": self.abi})})

    def call(self, method, *arguments, account):
        self.asked.append((method, arguments, account))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    query = call

    def events(self, *, account, since):
        return self.answer


def test_results_come_as_the_modules_own_classes(tmp_path):
    abi = code_from_source(RICH).abi
    module = loaded(client_module(abi), tmp_path)
    alice = Account.generate("alice")
    inner = {"int": b"x", "words": ("a",)}
    outer = {"inner": inner, "maybe": None, "pair": (1, alice.address), "flags": frozenset({"a"})}
    made = module.Outer(
        inner=module.Inner(int=b"x", words=("a",)), maybe=None, pair=(1, alice.address), flags=frozenset({"a"})
    )
    fake = Fake(abi, outer)
    assert module.Rich(fake, alice).put(made) == made
    ((method, arguments, account),) = fake.asked
    assert (method, account) == ("put", alice)
    assert arguments == (made, None, 'it"s', b"x")
    assert module.Rich(Fake(abi, (outer, outer)), alice).tuple(frozenset({1})) == (made, made)
    assert module.Rich(Fake(abi, (inner,))).many() == frozenset({made.inner})
    happened = type("Found", (), {"name": "Contract_", "fields": {"outer": outer}})
    assert module.read_events(module.Rich(Fake(abi, (happened,)), alice)) == (module.Contract_(outer=made),)


def test_rejections_come_as_their_own_classes(tmp_path):
    abi = code_from_source(RICH).abi
    module = loaded(client_module(abi), tmp_path)
    alice = Account.generate("alice")
    with pytest.raises(module.NotGoodX) as caught:
        module.Rich(Fake(abi, Rejected("not-good: 'x'", "why")), alice).put(None)
    assert (caught.value.rejection, caught.value.detail) == ("not-good: 'x'", "why")
    with pytest.raises(Rejected) as caught:
        module.Rich(Fake(abi, Rejected("something_else")), alice).many()
    assert type(caught.value) is Rejected


def test_a_contract_with_another_interface_is_refused(tmp_path):
    abi = code_from_source(RICH).abi
    module = loaded(client_module(abi), tmp_path)
    other = Fake(abi + b" ", ())
    with pytest.raises(AbiError, match="another interface"):
        module.Rich(other, Account.generate()).many()
    assert other.asked == []


def test_nobody_calls_without_an_account(tmp_path):
    abi = code_from_source(RICH).abi
    module = loaded(client_module(abi), tmp_path)
    for nobody in (None, object.__new__(Session)):
        with pytest.raises(InputError, match="signed by an account"):
            module.Rich(Fake(abi, None), nobody).put(None)


def test_shapes():
    assert shaped(int | None, None) is None
    assert shaped(tuple[int, str], (1, "a")) == (1, "a")
    assert shaped(frozenset[tuple[int, ...]], frozenset({(1,)})) == frozenset({(1,)})


@given(text=st.text())
def test_a_text_is_written_so_that_it_reads_back(text):
    written = _literal(text)
    assert ast.literal_eval(written) == text
    assert written.isascii()
    assert written.isprintable()


WORDS = st.sampled_from(
    ["int", "str", "a", "amount", "self", "Token", "tuple", "client", "since", "Rejected", "events"]
)
NASTY = st.sampled_from(
    [
        "",
        "1a",
        "a b",
        "class",
        "_x",
        "__class__",
        "a\n",
        "a;import os",
        "ﬁ",
        "é",
        'x"""',
        "a.b",
        "None",
        "\ud800",
        "a=1",
    ]
)
TEXT = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        ['"""\nimport os\n"""', "\\", "a\\", '"', "'''", "x\x00y", "\u2028import os", "# fmt: on", "\ud800", "a\rb"]
    ),
)
LEAVES = st.sampled_from(
    [
        {"type": "boolean"}, {"type": "string"}, {"type": ["integer", "string"], "format": "int128"},
        {"type": "string", "format": "uint128"}, {"type": "string", "format": "hex"},
        {"type": "string", "format": "address"}, {"type": "null"},
    ]
)  # fmt: skip


def schemas(names: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, Any]]:
    def wider(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
        return st.one_of(
            st.builds(lambda item: {"anyOf": [item, {"type": "null"}]}, inner.filter(lambda s: "anyOf" not in s)),
            st.builds(lambda item: {"type": "array", "items": item}, inner),
            st.builds(lambda item: {"type": "array", "items": item, "uniqueItems": True}, inner),
            st.builds(lambda items: {"type": "array", "prefixItems": items}, st.lists(inner, max_size=3)),
            st.builds(lambda words: {"enum": words}, st.lists(TEXT, min_size=1, max_size=3, unique=True)),
            st.builds(
                lambda title, fields: {"type": "object", "title": title, "properties": fields, "required": []},
                names,
                st.dictionaries(names.filter(lambda name: name != "self"), inner, max_size=3),
            ),
        )

    return st.recursive(LEAVES, wider, max_leaves=5)


@st.composite
def abis(draw: Any, names: st.SearchStrategy[str]) -> bytes:
    methods = {}
    for name in draw(st.lists(names, max_size=3, unique=True)):
        params = draw(st.dictionaries(names, schemas(names), max_size=3))
        methods[name] = {
            "kind": draw(st.sampled_from(["call", "view", "init"])), "doc": draw(TEXT), "params": params,
            "order": list(params), "returns": draw(st.none() | schemas(names)),
            "rejects": draw(st.lists(TEXT, max_size=2, unique=True)),
        }  # fmt: skip
    fields = st.dictionaries(names.filter(lambda name: name != "self"), schemas(names), max_size=2)
    events = {
        name: {"schema": {"type": "object", "title": name, "properties": draw(fields), "required": []}}
        for name in draw(st.lists(names, max_size=2, unique=True))
    }
    body = {"abi": 1, "name": draw(names), "doc": draw(TEXT), "pad": [512], "methods": methods, "events": events}
    return json.dumps(body).encode()


@given(abi=abis(st.one_of(WORDS, NASTY, TEXT)))
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_abi_gets_anything_else_into_a_module(abi):
    try:
        text = client_module(abi)
    except AbiError:
        return
    only_a_client(text)
    assert text.isprintable() or all(char.isprintable() or char == "\n" for char in text)


def test_made_up_interfaces_come_out_typed_and_formatted(tmp_path):
    written = tmp_path / "written"
    written.mkdir()

    @given(abi=abis(WORDS))
    @settings(max_examples=40, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    def write(abi: bytes) -> None:
        text = client_module(abi)
        only_a_client(text)
        (written / f"client_{len(list(written.iterdir()))}.py").write_text(text)

    write()
    checked(written)


def test_events_may_be_called_as_their_readers_parameters(tmp_path):
    events = {
        name: {"schema": {"type": "object", "title": name, "properties": {}, "required": []}}
        for name in ("client", "since")
    }
    body = {"abi": 1, "name": "T", "doc": "", "pad": [512], "methods": {}, "events": events}
    (tmp_path / "named.py").write_text(client_module(json.dumps(body).encode()))
    checked(tmp_path)


def one_method(name: str, returns: Any) -> bytes:
    method = {"kind": "call", "doc": "", "params": {}, "order": [], "returns": returns, "rejects": []}
    body = {"abi": 1, "name": "T", "doc": "", "pad": [1], "events": {}, "methods": {name: method}}
    return json.dumps(body).encode()


@pytest.mark.parametrize(
    "broken",
    [
        b"{}",
        b"[]",
        b'{"abi": 1, "name": 5, "doc": "", "pad": [1], "methods": {}}',
        one_method("a b", None),
        one_method("a", {"type": "number"}),
        one_method("class", None),
        one_method("_call", None),
    ],
)
def test_what_no_client_can_be_written_from_is_refused(broken):
    with pytest.raises(AbiError):
        client_module(broken)
