"""The smallest sets against brute force: whoever reaches a goal broke a minimal set, and no less than one will do."""

from __future__ import annotations

from itertools import chain, combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keephold.client.breaking import Party, Threshold, Way, breaking

OPERATORS = [Party("operator", (f"{n:02x}",)) for n in range(5)]
VALIDATORS = [Party("validator", (f"{n:02x}",)) for n in range(4)]


def thresholds(parties: list[Party]) -> st.SearchStrategy[Threshold]:
    weights = st.dictionaries(st.sampled_from(parties), st.integers(1, 4))
    return st.builds(Threshold, weights, st.integers(0, 7))


ways = st.one_of(
    st.builds(lambda need: Way("alone", (need,)), thresholds(OPERATORS)),
    st.builds(lambda left, right: Way("both", (left, right)), thresholds(OPERATORS), thresholds(VALIDATORS)),
)


def subsets(parties: list[Party]) -> list[frozenset[Party]]:
    return [frozenset(item) for item in chain.from_iterable(combinations(parties, n) for n in range(len(parties) + 1))]


@given(st.lists(ways, max_size=4))
def test_the_sets_are_those_of_brute_force(given_ways: list[Way]) -> None:
    found = breaking("try", given_ways, most=10_000)
    reaching = [s for s in subsets([*OPERATORS, *VALIDATORS]) if any(way.is_open_to(s) for way in given_ways)]
    minimal = {s for s in reaching if not any(other < s for other in reaching)}
    assert found.is_complete
    assert set(found.sets) == minimal
    assert found.fewest == (min(map(len, minimal)) if minimal else None)


@given(st.lists(ways, max_size=3), st.integers(1, 3))
def test_a_list_cut_short_says_so_and_still_has_a_smallest_set(given_ways: list[Way], most: int) -> None:
    whole, cut = breaking("try", given_ways, most=10_000), breaking("try", given_ways, most=most)
    assert set(cut.sets) <= set(whole.sets)
    assert cut.fewest == whole.fewest
    assert cut.is_complete or len(whole.sets) >= 1
    assert not cut.is_complete or set(cut.sets) == set(whole.sets)


def test_sixteen_seats_are_counted_without_listing_all_sets() -> None:
    seats = Threshold({Party("operator", (f"{n:02x}",)): 1 for n in range(16)}, 8)
    found = breaking("try", [Way("eight", (seats,))])
    assert found.fewest == 8
    assert not found.is_complete


def test_a_party_does_not_pay_twice() -> None:
    one = Threshold({OPERATORS[0]: 1}, 1)
    with pytest.raises(ValueError, match="share a party"):
        Way("twice", (one, one))
