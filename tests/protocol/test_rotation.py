"""Pages follow from map and cursor alone; every ciphertext names its epoch."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from keephold.base.limits import MAX_SEALED_VALUE, MAX_WRITES, RESULT_BUDGET
from keephold.chain.sparse import EMPTY_ROOT, SparseMap
from keephold.protocol.codec import encode
from keephold.protocol.contracts import ContractPolicy
from keephold.protocol.messages import SealedSlot
from keephold.protocol.rotation import is_agreed, is_of_epoch, may_migrate, migration_page, open_epochs
from keephold.protocol.state import ContractRecord, Publication, Rotation

START = bytes(32)
epochs = st.integers(1, 1 << 40)


def sealed(epoch: int, size: int = 20) -> bytes:
    return encode(SealedSlot(epoch, bytes(32), bytes(size)))


def slots(count: int, epoch: int, size: int = 20) -> dict[bytes, bytes]:
    return {hashlib.sha256(b"%d %d" % (epoch, n)).digest(): sealed(epoch, size) for n in range(count)}


@given(epochs, epochs, st.binary(max_size=40))
def test_a_slot_names_its_epoch(one: int, other: int, body: bytes) -> None:
    value = encode(SealedSlot(one, bytes(32), body))
    assert is_of_epoch(value, one)
    assert is_of_epoch(value, other) == (one == other)


@given(st.binary(max_size=60), epochs)
def test_noise_is_of_no_epoch(noise: bytes, epoch: int) -> None:
    assert not is_of_epoch(b"\x00" + noise, epoch)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(1, 9))
def test_pages_take_every_old_slot_once_in_order_and_no_new_one(old: int, new: int, per_page: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("keephold.protocol.rotation.MAX_WRITES", per_page)
        before = slots(old, 1)
        state = SparseMap.of([*before.items(), *slots(new, 2).items()])
        cursor, taken, is_last = START, [], False
        while not is_last:
            page = migration_page(state, cursor, 2)
            assert len(page.slots) <= per_page
            taken += page.slots
            state = state.update((tag, None) for tag, _ in page.slots)
            # What is sealed anew lands anywhere, behind the cursor and before it.
            state = state.update((hashlib.sha256(tag).digest(), sealed(2)) for tag, _ in page.slots)
            cursor, is_last = page.until, page.is_last
        assert taken == sorted(before.items())
        assert all(is_of_epoch(value, 2) for _, value in state)


def test_a_page_is_bounded_in_bytes_and_in_slots() -> None:
    large = SparseMap.of(slots(20, 1, MAX_SEALED_VALUE - 100).items())
    page = migration_page(large, START, 2)
    assert not page.is_last
    assert sum(len(value) for _, value in page.slots) <= RESULT_BUDGET
    many = SparseMap.of(slots(MAX_WRITES + 1, 1, 0).items())
    assert len(migration_page(many, START, 2).slots) == MAX_WRITES


def test_an_empty_state_has_one_empty_page() -> None:
    assert migration_page(SparseMap.empty(), START, 2) == ((), START, True)


RECORD = ContractRecord(
    bytes(32),
    0,
    bytes(32),
    bytes(32),
    ContractPolicy(workers=2),
    "rotating",
    workers=(b"a" * 32, b"b" * 32),
    state_root=EMPTY_ROOT,
    rotation=(Rotation(2),),
)
SAID = tuple(Publication(who * 32, bytes(32), bytes(32)) for who in (b"a", b"b", b"c"))


def test_when_keys_are_agreed_upon() -> None:
    assert not is_agreed((), ())
    assert not is_agreed(SAID[:1], RECORD.workers)
    assert is_agreed(SAID[:2], RECORD.workers)
    assert is_agreed(SAID[:1], RECORD.workers[:1])
    assert not is_agreed(SAID[2:], RECORD.workers[:1])


def test_when_slots_may_be_sealed_anew() -> None:
    agreed = replace(RECORD, rotation=(Rotation(2, SAID[:2]),))
    assert may_migrate(agreed)
    assert not may_migrate(RECORD)
    assert not may_migrate(replace(agreed, rotation=(Rotation(2, SAID[:2], drain=1),)))
    assert not may_migrate(replace(agreed, rotation=()))
    # Once begun it goes on, whoever is left.
    assert may_migrate(replace(RECORD, rotation=(Rotation(2, SAID[:1], pages=1),)))


def test_which_epochs_are_open() -> None:
    assert open_epochs(RECORD) == (1, 2)
    assert open_epochs(replace(RECORD, epoch=2, phase="active", rotation=())) == (2,)
