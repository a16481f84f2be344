from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from keephold.base.minting import NoPublicConstructor


@dataclass(frozen=True, slots=True)
class Verified(metaclass=NoPublicConstructor):
    value: int


def test_only_the_mint_makes_one() -> None:
    made = Verified._mint(value=1)
    assert (type(made), made.value) == (Verified, 1)
    with pytest.raises(TypeError):
        Verified(value=1)
    with pytest.raises(TypeError):
        Verified()


def test_one_cannot_be_copied_with_changes() -> None:
    with pytest.raises(TypeError):
        replace(Verified._mint(value=1), value=2)
