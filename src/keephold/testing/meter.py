"""Which arguments of a contract's methods shape what its operator sees? Tried out, natively, with made-up arguments.

For each call and each of its arguments: alice, the creator, calls the method; then bob does, or alice again, with a
secret in that argument; and once more, from the same state, with another secret. That state is the contract as it was
set up, or one on which alice has made each call once (`_WAYS`). Everything else is the same, so whatever differs
(`leaks.differences`) is the argument's doing. Hypothesis looks for pairs of secrets that differ in something not found
yet, and shrinks each.

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
from typing import Any, Final, NamedTuple, final

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
from keephold.testing.native.world import Snapshot

_CALL: Final = re.compile(r"call \d+: ")
_MOST_KINDS: Final = 12
_DEARER: Final = 8
"""Examples without a clock for each with one."""
_OTHERWISE: Final = 4
"""Examples of the first way for each of another one."""


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


class _Way(NamedTuple):
    """How a story comes to the call with the secret in it."""

    caller: str
    """Who makes it: what a contract allows to its creator alone, bob is refused."""
    is_used: bool
    """Whether each call was made once before: many are refused until another one was made."""


_WAYS: Final = tuple(_Way(caller, is_used) for is_used in (False, True) for caller in ("bob", "alice"))

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
    stories[0].try_setup()
    for method in stories[0].methods():
        for at, parameter in enumerate(method.parameters):
            tell(f"{method.name}({parameter.name})")
            known: set[str] = set()
            for story in stories:
                for ways, share in story.ways(method):
                    yield from _argument(story, method, at, ways, examples // share or 1, known)


def _argument(
    story: _Story, method: Method, at: int, ways: Sequence[_Way], examples: int, known: set[str]
) -> Iterator[Shape]:
    name = method.parameters[at].name
    others = st.tuples(*(story.values(parameter.schema) for parameter in method.parameters))
    secret = story.values(method.parameters[at].schema)
    drawing = st.tuples(others, secret, secret, st.sampled_from(ways)).filter(lambda pair: bool(pair[1] != pair[2]))

    def fresh(drawn: tuple[tuple[Any, ...], Any, Any, _Way]) -> Rows:
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
            yield Shape(method.name, name, what, drawn[1:3], seen)


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
        code = code_of(cls)
        self.abi: Final = parse_abi(code.abi)
        self._cls = cls
        self._backend = backend
        self._people = [account.address for account in backend.accounts.values()]
        self._constants = constants(code.source.decode())
        self._longest = 2 * self.abi.pad[0]
        init = self.abi.init
        made_up = () if init is None else self._middling_of(init)
        self._setup = made_up if setup is None else tuple(setup)
        self._empty = backend.snapshot()
        self._grounds: dict[bool, tuple[NativeDeployed, Snapshot]] = {}

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
        usual = strategies.for_schema(schema, self._people, longest=self._longest)
        named = [value for value in self._constants if _fits(schema, value)]
        # Twice: half of all values, where `usual` is two kinds itself.
        return st.one_of(st.sampled_from(named), st.sampled_from(named), usual) if named else usual

    def ways(self, method: Method) -> tuple[tuple[Sequence[_Way], int], ...]:
        """Return how a story may come to a call of this method: ways tried together, and their share of examples.

        It makes no difference to a view; and where time is measured, each try costs too much to go through them.
        """
        if method.kind == "view" or self.is_timed:
            return ((_WAYS[:1] if method.kind == "view" else _WAYS, _DEARER if self.is_timed else 1),)
        return ((_WAYS[:1], 1), *(((way,), _OTHERWISE) for way in _WAYS[1:]))

    def try_setup(self) -> None:
        """Set the contract up once.

        Raises:
            Rejected, ContractFailed: @init does not take its arguments.
        """
        self._ground(is_used=False)

    def _ground(self, *, is_used: bool) -> NativeDeployed:
        """Return the contract as it was set up, or as it is after alice made each call once since."""
        alice = self._backend.accounts["alice"]
        if is_used not in self._grounds:
            self._backend.restore(self._empty)
            deployed = self._backend.deploy(self._cls, self._setup, {}, alice)
            for method in self.abi.methods.values() if is_used else ():
                if method.kind == "call":
                    with suppress(Rejected, ContractFailed):
                        deployed.call(method.name, self._middling_of(method), {}, alice)
            self._grounds[is_used] = deployed, self._backend.snapshot()
        deployed, state = self._grounds[is_used]
        self._backend.restore(state)
        return deployed

    def _middling_of(self, method: Method) -> tuple[object, ...]:
        """Make arguments up: middling ones, so that there is something to have."""
        return tuple(self._middling(parameter.schema) for parameter in method.parameters)

    def _middling(self, schema: Any) -> object:
        if schema.get("format") in ("uint128", "int128"):
            return 1000
        once = settings(database=None, derandomize=True)
        return find(self.values(schema), lambda value: value not in ("", b"", ()), settings=once)

    def compare(self, method: str, at: int, others: tuple[Any, ...], first: Any, second: Any, way: _Way) -> Rows:
        """Return what tells the two secrets apart, by its row in the table."""
        told = [(*others[:at], secret, *others[at + 1 :]) for secret in (first, second)]
        if self.abi.methods[method].kind == "view":
            alice, asked = self._backend.accounts["alice"], self._ground(is_used=True)
            rows = told_apart(*(asked.asked(method, arguments, alice) for arguments in told))
            return {row.where: (row.first, row.second) for row in rows}
        rows = differences(*(self._run(method, others, arguments, way) for arguments in told))
        return {_CALL.sub("", row.where.partition(", ")[2]): (row.first, row.second) for row in rows}

    def _run(self, method: str, base: tuple[Any, ...], told: tuple[Any, ...], way: _Way) -> list[SeenContract]:
        deployed = self._ground(is_used=way.is_used)
        for name, arguments in (("alice", base), (way.caller, told)):
            with suppress(Rejected, ContractFailed):
                deployed.call(method, arguments, {}, self._backend.accounts[name])
        return [SeenContract(self.abi.name, deployed.seen(), tuple(deployed.events(None)))]
