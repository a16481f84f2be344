"""Messages as an author writes them: checked where they are built, answered by a handler that nobody else can call."""

from __future__ import annotations

import json

import pytest

from keephold import (
    Address,
    Amount,
    Call,
    Contract,
    Done,
    Failed,
    Interface,
    Message,
    Outcome,
    Record,
    Refused,
    Reject,
    View,
    call,
    message,
    reply,
    view,
)
from keephold.contract.abi import abi
from keephold.contract.dispatch import execute
from keephold.contract.errors import ContractTypeError
from keephold.contract.model import model_of
from keephold.contract.native import ROOM, MemoryHost, NativeContract

PEER = Address.contract(b"p" * 32)


class Pair(Record):
    left: int
    right: str


class Other(Interface):
    def pay(self, to: Address, amount: Amount, note: str = "") -> Message[int]:
        raise NotImplementedError


class Asker(Contract):
    got: str = ""

    @call
    def ask(self, ctx: Call, to: Address, times: int = 1) -> int:
        for _ in range(times):
            number = ctx.send(Other.at(PEER).pay(to, 5), reply=self.on_paid)
        return number

    @call
    def tell(self, ctx: Call) -> None:
        ctx.send(message(PEER, "note", (1, "x"), Pair(2, "y"), frozenset({3, 1}), None))

    @call
    def loop(self, ctx: Call) -> None:
        ctx.send(message(ctx.contract, "loop"))

    @call
    def wrong_handler(self, ctx: Call) -> None:
        ctx.send(message(PEER, "x"), reply=self.ask)  # type: ignore[arg-type] # on purpose

    @reply
    def on_paid(self, ctx: Call, outcome: Outcome[int]) -> None:
        match outcome:
            case Done(number, value):
                self.got = f"done {number} {value} {ctx.sender == PEER}"
            case Refused(_, code, detail):
                self.got = f"refused {code} {detail}"
            case Failed(_, reason):
                self.got = f"failed {reason}"

    @view
    def seen(self, ctx: View) -> str:
        return self.got


@pytest.fixture
def asker(alice) -> NativeContract:
    return NativeContract(Asker, creator=alice)


def environment(creator: Address, sender: Address) -> dict[str, object]:
    who = {"contract": PEER.text, "creator": creator.text, "sender": sender.text}
    return {**who, "height": 1, "seed": "00" * 32, "time_ns": 1}


def test_a_message_is_checked_against_the_interface() -> None:
    built = Other.at(PEER).pay(PEER, amount=5)
    assert (built.target, built.method) == (PEER, "pay")
    assert json.loads(built.arguments) == {"amount": "5", "to": PEER.text}
    other = Other.at(PEER)
    for wrong in (
        lambda: other.pay("bob", 5),
        lambda: other.pay(PEER, -1),
        lambda: other.pay(PEER),
        lambda: other.pay(PEER, 5, "n", "more"),
        lambda: other.pay(PEER, 5, to=PEER),
        lambda: other.pay(PEER, 5, nothing=1),
        lambda: Other.at(Address.account(b"a" * 32)),
        lambda: message(Address.account(b"a" * 32), "x"),
        lambda: message(PEER, "no name"),
        lambda: message(PEER, "x" * 65),
        lambda: message(PEER, "x", 1.5),
        lambda: message(PEER, "x", [1]),
    ):
        with pytest.raises(ContractTypeError):
            wrong()


def test_an_interface_that_promises_no_message_is_refused() -> None:
    class Bad(Interface):
        def pay(self, to) -> Message[None]:
            raise NotImplementedError

        def get(self) -> int:
            raise NotImplementedError

    for wrong in (lambda: Bad.at(PEER).pay(PEER), lambda: Bad.at(PEER).get()):
        with pytest.raises(ContractTypeError):
            wrong()


@pytest.mark.parametrize(
    ("told", "seen"),
    [
        (lambda it, number: it.answer(number, 7), "done {} 7 True"),
        (lambda it, number: it.refuse(number, "no", "why"), "refused no why"),
        (lambda it, number: it.fail(number, "busy"), "failed busy"),
    ],
)
def test_the_handler_is_told(asker, alice, bob, told, seen) -> None:
    number = asker.call("ask", bob, sender=alice)
    (sent,) = asker.messages
    assert (sent.number, sent.target, sent.method, sent.handler) == (number, PEER, "pay", "on_paid")
    told(asker, number)
    assert asker.view("seen", reader=alice) == seen.format(number)
    with pytest.raises(KeyError):
        asker.answer(number, 7)


def test_what_the_other_returned_is_of_the_handlers_type_or_a_failure(alice) -> None:
    for value in ('"text"', "1.5", "no JSON", "[" * 40 + "]" * 40):
        host = MemoryHost()
        env = {
            "contract": PEER.text,
            "creator": alice.text,
            "height": 1,
            "seed": "00" * 32,
            "sender": PEER.text,
            "time_ns": 1,
        }
        told = json.dumps({"number": 1, "status": "ok", "value": value})
        assert json.loads(execute(Asker, "reply", "on_paid", told, json.dumps(env), host))["status"] == "ok"
        assert json.loads(host.writes["got"]) == "failed mismatch"


def test_nobody_calls_a_handler(asker, alice) -> None:
    for method in ("on_paid", "ask"):
        kind = "call" if method == "on_paid" else "reply"
        env = {
            "contract": PEER.text,
            "creator": alice.text,
            "height": 1,
            "seed": "00" * 32,
            "sender": alice.text,
            "time_ns": 1,
        }
        told = json.loads(execute(Asker, kind, method, "{}", json.dumps(env), MemoryHost()))
        assert (told["status"], told["code"]) == ("rejected", "unknown_method")
    assert "on_paid" not in abi(Asker)["methods"]


def test_a_call_without_types_carries_any_plain_value(asker, alice) -> None:
    asker.call("tell", sender=alice)
    (sent,) = asker.messages
    assert sent.arguments == [[1, "x"], {"left": 2, "right": "y"}, [1, 3], None]
    assert sent.handler == ""


def test_limits_and_mistakes(asker, alice, bob) -> None:
    asker.call("ask", bob, ROOM, sender=alice)
    with pytest.raises(Reject, match="too_many_messages"):
        asker.call("ask", bob, ROOM + 1, sender=alice)
    assert len(asker.messages) == ROOM  # a refused call sends nothing
    for method in ("loop", "wrong_handler"):
        with pytest.raises(Exception, match="ContractTypeError"):
            asker.call(method, sender=alice)


def test_a_handler_takes_an_outcome() -> None:
    class Bad(Contract):
        @reply  # type: ignore[arg-type] # on purpose
        def on_paid(self, ctx: Call, value: int) -> None: ...

    with pytest.raises(ContractTypeError, match="Outcome"):
        model_of(Bad).methods["on_paid"].signature()
