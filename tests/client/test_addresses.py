"""What a program gives as a contract's address: the address, its text, or one declared error."""

from __future__ import annotations

from typing import Any

import pytest

from keephold.base.errors import InputError
from keephold.client.aio import contract_id_of
from keephold.contract.address import Address

CONTRACT = Address.contract(bytes(range(32)))


def test_an_address_or_its_text() -> None:
    assert contract_id_of(CONTRACT) == contract_id_of(CONTRACT.text) == bytes(range(32))


@pytest.mark.parametrize("given", ["", "khc1", "Gold", CONTRACT.text[:-1] + "!", Address.account(bytes(32)).text])
def test_text_that_is_no_contracts_address(given: str) -> None:
    with pytest.raises(InputError):
        contract_id_of(given)


@pytest.mark.parametrize("given", [None, 5, bytes(32), 1.5, ["khc1"]])
def test_what_is_not_text(given: Any) -> None:
    with pytest.raises(InputError, match="is no address"):
        contract_id_of(given)
