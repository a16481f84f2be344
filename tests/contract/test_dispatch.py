from __future__ import annotations

import json

import pytest

from keephold import Address, Amount, Call, Contract, Event, Map, PublicView, Reject, View, call, init, require, view
from keephold.contract.dispatch import execute
from keephold.contract.native import MemoryHost, NativeContract, NativeFailure


@pytest.fixture
def token(token_class, alice):
    contract = NativeContract(token_class, creator=alice)
    contract.call("setup", "GLD", 100, sender=alice)
    return contract


def test_the_token_of_the_documentation(token, alice, bob, carol):
    token.call("transfer", bob, 5, sender=alice)
    assert token.view("balance", reader=bob) == 5
    assert token.view("balance", reader=carol) == 0
    assert token.slots["symbol"] == '"GLD"'
    assert token.slots[f'balances["{bob}"]'] == "5"
    (moved,) = token.events
    assert moved.name == "Moved"
    assert moved.audience == (alice, bob)
    assert moved.fields == {"source": alice.text, "to": bob.text, "amount": "5"}


def test_a_rejected_call_changes_nothing(token, alice, bob):
    before = dict(token.slots)
    with pytest.raises(Reject, match="insufficient_balance"):
        token.call("transfer", alice, 6, sender=bob)
    assert token.slots == before
    assert token.events == []


def test_a_transfer_to_oneself_keeps_the_balance_and_has_one_recipient(token, alice):
    token.call("transfer", alice, 40, sender=alice)
    assert token.view("balance", reader=alice) == 100
    assert token.events[-1].audience == (alice,)


class Lab(Contract):
    count: int = 0
    label: str
    notes: Map[str, str]

    @init
    def begin(self, ctx: Call) -> None:
        self.label = "ready"

    @call
    def bump(self, ctx: Call, by: int = 1) -> int:
        self.count += by
        return self.count

    @call
    def draw(self, ctx: Call, size: int) -> bytes:
        return ctx.random(size) + ctx.random(4)

    @call
    def write_and_fail(self, ctx: Call, how: str) -> None:
        self.notes["x"] = "written"
        ctx.emit(Noted("x"), to="public")
        require(how != "reject", "refused", how)
        if how == "exit":
            raise SystemExit(3)
        if how == "unprintable":
            raise Unprintable
        if how == "field":
            self.typo = 1
        if how == "type":
            self.count = "1"
        if how == "iterate":
            list(self.notes)
        if how == "map":
            self.notes = {}
        if how == "return":
            return 5
        if how == "code":
            raise Reject("Not A Code")
        return None

    @call
    def delete(self, ctx: Call, key: str) -> None:
        del self.notes[key]

    @call
    def note(self, ctx: Call, key: str, text: str) -> None:
        self.notes[key] = text

    @call
    def shout(self, ctx: Call) -> None:
        ctx.emit(Noted("heard"), to="public")
        ctx.emit(Noted("nobody"), to=())
        ctx.log("shouted", 1)

    @view(public=True)
    def total(self, ctx: PublicView) -> int:
        return self.count

    @view
    def sneaky(self, ctx: View, how: str) -> int:
        if how == "scalar":
            self.count = 9
        elif how == "map":
            self.notes["x"] = "y"
        elif how == "delete":
            del self.count
        elif how == "read":
            return len(self.notes["absent"])
        return self.count


class Noted(Event):
    what: str


class Unprintable(Exception):
    def __str__(self):
        raise ValueError("no")


@pytest.fixture
def lab(alice):
    contract = NativeContract(Lab, creator=alice)
    contract.call("begin", sender=alice)
    return contract


def test_initialisation_comes_first_once_and_from_the_creator(alice, bob):
    contract = NativeContract(Lab, creator=alice)
    for attempt in (lambda: contract.call("bump", sender=alice), lambda: contract.view("total")):
        with pytest.raises(Reject, match="not_initialised"):
            attempt()
    with pytest.raises(Reject, match="not_creator"):
        contract.call("begin", sender=bob)
    contract.call("begin", sender=alice)
    with pytest.raises(Reject, match="already_initialised"):
        contract.call("begin", sender=alice)


def test_a_failed_initialisation_leaves_the_contract_uninitialised(token_class, alice):
    contract = NativeContract(token_class, creator=alice)
    with pytest.raises(Reject, match="bad_arguments"):
        contract.call("setup", sender=alice)
    with pytest.raises(Reject, match="not_initialised"):
        contract.call("transfer", alice, 1, sender=alice)


def test_defaults_and_results(lab, alice):
    assert lab.call("bump", sender=alice) == 1
    assert lab.call("bump", by=2**70, sender=alice) == 2**70 + 1
    assert lab.view("total") == 2**70 + 1
    assert lab.slots["count"] == f'"{2**70 + 1}"'


def test_unchanged_slots_are_not_written(lab, alice):
    host = MemoryHost(lab.slots)
    env = {"contract": lab.address.text, "height": 1, "time_ns": 1, "sender": alice.text, "creator": alice.text}
    outcome = execute(Lab, "call", "bump", '{"by":0}', json.dumps(env | {"seed": "00" * 32}), host)
    assert json.loads(outcome)["status"] == "ok"
    assert host.writes == {"count": "0"}
    host.commit()
    execute(Lab, "call", "bump", '{"by":0}', json.dumps(env | {"seed": "00" * 32}), host)
    assert host.writes == {}


@pytest.mark.parametrize("how", ["exit", "unprintable", "field", "type", "iterate", "map", "return", "code"])
def test_whatever_fails_fails_with_its_line_and_changes_nothing(lab, alice, how):
    before = dict(lab.slots)
    with pytest.raises(NativeFailure) as caught:
        lab.call("write_and_fail", how, sender=alice)
    assert caught.value.line > 0 or how == "return"  # of its several
    assert lab.slots == before
    assert lab.events == []


def test_a_rejection_carries_code_and_detail(lab, alice):
    with pytest.raises(Reject) as caught:
        lab.call("write_and_fail", "reject", sender=alice)
    assert (caught.value.code, caught.value.detail) == ("refused", "reject")
    assert lab.events == []


@pytest.mark.parametrize("how", ["scalar", "map", "delete"])
def test_a_view_cannot_write(lab, alice, how):
    before = dict(lab.slots)
    with pytest.raises(NativeFailure, match="view"):
        lab.view("sneaky", how, reader=alice)
    assert lab.slots == before


def test_absent_entries(lab, alice):
    with pytest.raises(Reject, match="not_found"):
        lab.view("sneaky", "read", reader=alice)
    with pytest.raises(Reject, match="not_found"):
        lab.call("delete", "absent", sender=alice)
    lab.call("note", "a", "text", sender=alice)
    lab.call("delete", "a", sender=alice)
    assert 'notes["a"]' not in lab.slots


def test_a_private_view_needs_a_reader(lab):
    with pytest.raises(Reject, match="permit_required"):
        lab.view("sneaky", "none")


def test_randomness_is_deterministic_per_seed_and_never_repeats_within_a_call(lab, alice):
    env = {"contract": lab.address.text, "height": 1, "time_ns": 1, "sender": alice.text, "creator": alice.text}

    def draw(seed):
        return execute(Lab, "call", "draw", "[33]", json.dumps(env | {"seed": seed}), MemoryHost(lab.slots))

    first, again, other = draw("01" * 32), draw("01" * 32), draw("02" * 32)
    assert first == again != other
    raw = bytes.fromhex(json.loads(first)["value"])
    assert len(raw) == 37
    assert raw[:4] != raw[33:]


def test_public_events_and_events_to_nobody(lab, alice):
    lab.call("shout", sender=alice)
    assert [(event.name, event.audience) for event in lab.events] == [("Noted", "public")]
    assert lab.events[0].read(Noted) == Noted("heard")
    assert lab.logs == ["shouted 1"]


ARGUMENTS = [
    ("[]", "missing"), ("[1,2]", "takes 1"), ('{"size":1,"more":2}', "takes no more"), ("{", "not JSON"),
    ("3", "object"), ('["1x"]', "size"), ("[1.5]", "integer"), ("[true]", "size"), ('{"size":null}', "size"),
    ("", "not JSON"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "match"), ARGUMENTS)
def test_arguments_that_do_not_fit(lab, alice, text, match):
    env = {"contract": lab.address.text, "height": 1, "time_ns": 1, "sender": alice.text, "creator": alice.text}
    outcome = json.loads(
        execute(Lab, "call", "draw", text, json.dumps(env | {"seed": "00" * 32}), MemoryHost(lab.slots))
    )
    assert (outcome["status"], outcome["code"]) == ("rejected", "bad_arguments")
    assert match in outcome["detail"]


@pytest.mark.parametrize(
    ("kind", "method"), [("call", "none"), ("call", "total"), ("view", "bump"), ("call", "__init__")]
)
def test_unknown_methods_and_methods_of_the_other_kind(lab, kind, method):
    outcome = json.loads(execute(Lab, kind, method, "[]", "{}", MemoryHost()))
    assert (outcome["status"], outcome["code"]) == ("rejected", "unknown_method")


def test_fields_live_in_storage_only():
    from keephold.contract.errors import ContractTypeError

    with pytest.raises(ContractTypeError, match="harness"):
        Lab().count  # noqa: B018 - the access is the test


def test_the_harness_names_wrong_arguments(lab, alice):
    with pytest.raises(TypeError, match="takes 1"):
        lab.call("bump", 1, 2, sender=alice)
    with pytest.raises(TypeError, match="no z"):
        lab.call("bump", z=2, sender=alice)


def test_time_moves_by_blocks(lab):
    lab.mine(3)
    assert lab.block.height == 4


def test_amounts_are_plain_integers():
    amount: Amount = 5
    assert amount + 1 == 6
    assert Address.contract(bytes(32)).kind == "contract"


class Shelf(Contract):
    books: Map[int, str]

    @init
    def begin(self, ctx: Call) -> None:
        self.books[1] = "one"

    @view
    def read(self, ctx: View, book: int) -> str | None:
        return self.books.get(book)


def test_a_map_gives_none_where_nothing_is_and_no_default_is_named(alice):
    shelf = NativeContract(Shelf, creator=alice)
    shelf.call("begin", sender=alice)
    assert shelf.view("read", 1, reader=alice) == "one"
    assert shelf.view("read", 2, reader=alice) is None
