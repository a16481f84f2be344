"""Which arguments of a contract's methods shape what its operator sees? Tried out, natively, with made-up arguments.

For each call and each of its arguments: deploy, let alice call the method, then bob, with a secret in that argument;
and once more with another secret. Everything else is the same, so whatever differs (`leaks.differences`) is the
argument's doing. Hypothesis looks for pairs of secrets that differ in something not found yet, and shrinks each.

A view leaves nothing on the ledger, but whoever carries and answers the question sees sizes and times. So for each of
its arguments alice asks twice, of a contract on which she has made each call once (`leaks.told_apart`).

What is found is real: run it again and it shows. What is not found may still be there: in states that these calls do
not reach, for values that were not tried.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, final

from hypothesis import HealthCheck, Phase, find, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

from keephold.base.errors import AbiError, ContractFailed, Rejected
from keephold.client.abi import Method, encode_value, parse_abi
from keephold.contract.model import Contract
from keephold.contract.values import Schema
from keephold.testing import strategies
from keephold.testing.backend import code_of
from keephold.testing.leaks import SeenContract, differences, told_apart
from keephold.testing.native import NativeBackend
from keephold.testing.native.deployed import NativeDeployed

_CALL: Final = re.compile(r"call \d+: ")
_MOST_KINDS: Final = 12
_DEARER: Final = 8
"""Examples without a clock for each with one."""


@final
@dataclass(frozen=True, slots=True)
class Shape:
    """One argument shapes one thing that an operator sees."""

    method: str
    argument: str
    what: str
    """A row of the leak meter, e.g. `bytes sent`."""
    secrets: tuple[object, object]
    """The smallest pair found."""
    seen: tuple[str, str]


Progress = Callable[[str], None]
Rows = dict[str, tuple[str, str]]


def shapes(
    cls: type[Contract],
    backends: Sequence[NativeBackend],
    *,
    examples: int,
    setup: Sequence[object] | None,
    tell: Progress,
) -> Iterator[Shape]:
    """Yield everything found, method by method; `setup` are the arguments of @init, made up if None.

    Each backend is used in turn: one that measures time costs a thousand times as much, so it comes last, with fewer
    examples, and for what the others did not find.

    Raises:
        Rejected, ContractFailed: @init does not take these arguments.
    """
    stories = [_Story(cls, backend, setup) for backend in backends]
    for method in stories[0].methods():
        for at, parameter in enumerate(method.parameters):
            tell(f"{method.name}({parameter.name})")
            known: set[str] = set()
            for story in stories:
                yield from _argument(story, method, at, examples // (_DEARER if story.is_timed else 1) or 1, known)


def _argument(story: _Story, method: Method, at: int, examples: int, known: set[str]) -> Iterator[Shape]:
    name = method.parameters[at].name
    others = st.tuples(*(story.values(parameter.schema) for parameter in method.parameters))
    secret = story.values(method.parameters[at].schema)
    drawing = st.tuples(others, secret, secret).filter(lambda pair: bool(pair[1] != pair[2]))

    def fresh(drawn: tuple[tuple[Any, ...], Any, Any]) -> Rows:
        rows = story.compare(method.name, at, *drawn)
        return {what: seen for what, seen in rows.items() if what not in known}

    quiet = settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    while len(known) < _MOST_KINDS:
        try:
            drawn = find(drawing, lambda pair: bool(fresh(pair)), settings=quiet)
        except NoSuchExample:
            return
        for what, seen in fresh(drawn).items():
            known.add(what)
            yield Shape(method.name, name, what, drawn[1:], seen)


def constants(source: str) -> list[object]:
    """Return the numbers of a source, with their neighbours, and its texts: where its branches are."""
    found: dict[object, None] = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and type(node.value) is int:
            found |= dict.fromkeys((node.value, node.value - 1, node.value + 1))
        elif isinstance(node, ast.Constant) and type(node.value) is str:
            found[node.value] = None
    return list(found)


def _fits(schema: Schema, value: object) -> bool:
    if schema.get("type") not in ("string", ["integer", "string"]):
        return False
    is_text = schema.get("type") == "string" and "format" not in schema
    if is_text != isinstance(value, str) or schema.get("format") in ("hex", "address"):
        return False
    try:
        encode_value(schema, value, "")
    except AbiError:
        return False
    return True


@final
class _Story:
    """Runs one story of two calls, and remembers what it looked like."""

    def __init__(self, cls: type[Contract], backend: NativeBackend, setup: Sequence[object] | None) -> None:
        self._cls = cls
        self._backend = backend
        self._empty = backend.snapshot()
        self._people = [account.address for account in backend.accounts.values()]
        self._setup = tuple(setup) if setup is not None else None
        self._constants = constants(code_of(cls).source.decode())
        deployed = self._deploy()
        self.abi: Final = deployed.abi
        self._asked: NativeDeployed | None = None

    @property
    def is_timed(self) -> bool:
        return self._backend.is_timed

    def methods(self) -> list[Method]:
        return sorted(
            (method for method in self.abi.methods.values() if method.kind in ("call", "view")),
            key=lambda method: method.kind,
        )

    def values(self, schema: Any) -> st.SearchStrategy[Any]:
        """Return values of a schema; of numbers and texts, often those that the source compares with."""
        usual = strategies.for_schema(schema, self._people)
        named = [value for value in self._constants if _fits(schema, value)]
        # Twice: half of all values, where `usual` is two kinds itself.
        return st.one_of(st.sampled_from(named), st.sampled_from(named), usual) if named else usual

    def _deploy(self) -> NativeDeployed:
        self._backend.restore(self._empty)
        alice = self._backend.accounts["alice"]
        arguments = self._arguments() if self._setup is None else self._setup
        return self._backend.deploy(self._cls, arguments, {}, alice)

    def _arguments(self) -> tuple[object, ...]:
        """Make arguments of @init up, once: middling ones, so that there is something to have."""
        init = parse_abi(code_of(self._cls).abi).init
        self._setup = () if init is None else self._middling_of(init)
        return self._setup

    def _middling_of(self, method: Method) -> tuple[object, ...]:
        return tuple(self._middling(parameter.schema) for parameter in method.parameters)

    def _middling(self, schema: Any) -> object:
        if schema.get("format") in ("uint128", "int128"):
            return 1000
        once = settings(database=None, derandomize=True)
        return find(self.values(schema), lambda value: value not in ("", b"", ()), settings=once)

    def compare(self, method: str, at: int, others: tuple[Any, ...], first: Any, second: Any) -> Rows:
        """Return what tells the two secrets apart, by its row in the table."""
        told = [(*others[:at], secret, *others[at + 1 :]) for secret in (first, second)]
        if self.abi.methods[method].kind == "view":
            alice, asked = self._backend.accounts["alice"], self._used()
            rows = told_apart(*(asked.asked(method, arguments, alice) for arguments in told))
            return {row.where: (row.first, row.second) for row in rows}
        self._asked = None
        rows = differences(*(self._run(method, others, arguments) for arguments in told))
        return {_CALL.sub("", row.where.partition(", ")[2]): (row.first, row.second) for row in rows}

    def _used(self) -> NativeDeployed:
        """Return a contract on which alice made each call once; questions leave it as it is."""
        if self._asked is None:
            self._asked = self._deploy()
            for method in self.abi.methods.values():
                if method.kind == "call":
                    with suppress(Rejected, ContractFailed):
                        self._asked.call(method.name, self._middling_of(method), {}, self._backend.accounts["alice"])
        return self._asked

    def _run(self, method: str, base: tuple[Any, ...], told: tuple[Any, ...]) -> list[SeenContract]:
        deployed = self._deploy()
        for name, arguments in (("alice", base), ("bob", told)):
            with suppress(Rejected, ContractFailed):
                deployed.call(method, arguments, {}, self._backend.accounts[name])
        return [SeenContract(deployed.abi.name, deployed.seen(), ())]
