"""What people read: a value's own words, in one order, addresses as the command line takes them."""

from __future__ import annotations

import pytest

from keephold.cli.output import readable
from keephold.contract.address import Address

ALICE = Address.account(bytes(range(32)))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (5, "5"),
        (None, "None"),
        ("çay ☕", "çay ☕"),
        (b"\0\xff", "00ff"),
        (ALICE, ALICE.text),
        ((), "()"),
        ((1,), "(1,)"),
        ((ALICE, "a"), f"({ALICE.text}, a)"),
        (frozenset({"b", "a"}), "{a, b}"),
        ({"who": ALICE, "tags": frozenset({"y", "x"})}, f"{{who: {ALICE.text}, tags: {{x, y}}}}"),
    ],
    ids=range(10),
)
def test_values_are_readable(value: object, text: str) -> None:
    assert readable(value) == text
