"""Sharing: any t values determine the secret, t - 1 say nothing, commitments fit exactly one polynomial."""

from __future__ import annotations

import hashlib
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keephold.base.errors import BadShare
from keephold.crypto import ristretto
from keephold.crypto.secret import SecretBytes
from keephold.crypto.sharing import polynomial, proofs


def secret(*numbers: int) -> SecretBytes:
    return ristretto.secret_scalar(SecretBytes(hashlib.sha512(repr(numbers).encode()).digest()))


def entropy(number: int) -> SecretBytes:
    return SecretBytes(hashlib.sha512(number.to_bytes(8, "big")).digest())


sizes = st.integers(1, 5).flatmap(lambda t: st.tuples(st.just(t), st.integers(t, 7)))


@given(sizes, st.integers(0, 2**32), st.data())
@settings(max_examples=60, deadline=None)
def test_any_t_of_n_reconstruct(size: tuple[int, int], seed: int, data: st.DataObject) -> None:
    threshold, seats = size
    coefficients = [secret(seed, k) for k in range(threshold)]
    chosen = data.draw(st.permutations(range(1, seats + 1)))[:threshold]
    values = [polynomial.evaluate(coefficients, seat) for seat in chosen]
    weights = polynomial.lagrange(chosen)
    assert polynomial.secret_weighted_sum(values, weights) == coefficients[0]
    points = [ristretto.multiply_base(value) for value in values]
    assert polynomial.weighted_sum(points, weights) == ristretto.multiply_base(coefficients[0])


@given(st.integers(2, 5), st.integers(0, 2**32), st.integers(0, ristretto.ORDER - 1))
@settings(max_examples=40, deadline=None)
def test_fewer_than_t_shares_fit_every_candidate_secret(threshold: int, seed: int, candidate: int) -> None:
    """For each candidate there is a polynomial of the right degree through it and the t - 1 known shares."""
    coefficients = [secret(seed, k) for k in range(threshold)]
    known = {seat: polynomial.evaluate(coefficients, seat) for seat in range(1, threshold)}
    fits = [0, *known]
    values = [SecretBytes(ristretto.scalar(candidate)), *known.values()]
    shifted = [seat + 1 for seat in fits]  # seats start at 1: move the axis so that the secret's place is a seat
    at = threshold + 1
    implied = polynomial.secret_weighted_sum(values, polynomial.lagrange(shifted, at=at + 1))
    seats = [*known, at]
    shares = [*known.values(), implied]
    assert polynomial.secret_weighted_sum(shares, polynomial.lagrange(seats)).reveal() == ristretto.scalar(candidate)


@given(sizes, st.integers(0, 2**32))
@settings(max_examples=30, deadline=None)
def test_commitments_imply_the_commitment_of_each_share(size: tuple[int, int], seed: int) -> None:
    threshold, seats = size
    coefficients = [secret(seed, 0, k) for k in range(threshold)]
    blinds = [secret(seed, 1, k) for k in range(threshold)]
    feldman = polynomial.feldman(coefficients)
    pedersen = polynomial.pedersen(coefficients, blinds)
    for seat in range(1, seats + 1):
        value, blind = polynomial.evaluate(coefficients, seat), polynomial.evaluate(blinds, seat)
        assert polynomial.evaluate_commitments(feldman, seat) == ristretto.multiply_base(value)
        assert polynomial.evaluate_commitments(pedersen, seat) == polynomial.pedersen_value(value, blind)


@pytest.mark.parametrize("seats", [[1, 1], [0, 1], [-1, 2]])
def test_lagrange_refuses_what_is_no_set_of_seats(seats: list[int]) -> None:
    with pytest.raises(ValueError, match="distinct"):
        polynomial.lagrange(seats)


def test_the_secret_itself_is_no_seat() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        polynomial.evaluate([secret(1)], 0)


def test_the_generators_differ_and_hide() -> None:
    assert polynomial.SECOND_GENERATOR not in {ristretto.BASE, ristretto.IDENTITY}


def test_possession_is_bound_to_key_and_context() -> None:
    key = secret(1)
    public = ristretto.multiply_base(key)
    proof = proofs.prove_possession(key, entropy(1), b"here")
    proofs.verify_possession(public, proof, b"here")
    for wrong_public, wrong_proof, context in (
        (ristretto.multiply_base(secret(2)), proof, b"here"),
        (public, proof, b"there"),
        (public, bytes(64), b"here"),
        (public, proof[:-1], b"here"),
        (public, b"\xff" * 64, b"here"),
    ):
        with pytest.raises(BadShare):
            proofs.verify_possession(wrong_public, wrong_proof, context)


def test_consistency_holds_for_the_polynomial_committed_and_for_no_other() -> None:
    coefficients, blinds = [secret(0, k) for k in range(3)], [secret(1, k) for k in range(3)]
    committed, extracted = polynomial.pedersen(coefficients, blinds), polynomial.feldman(coefficients)
    proof = proofs.prove_consistency(committed, extracted, blinds, entropy(1), b"here")
    proofs.verify_consistency(committed, extracted, proof, b"here")
    with pytest.raises(BadShare):
        proofs.verify_consistency(committed, extracted, proof, b"there")
    with pytest.raises(BadShare):
        proofs.verify_consistency(committed, extracted[:2], proof, b"here")
    for index in range(3):
        false = list(coefficients)
        false[index] = secret(7)
        wrong = polynomial.feldman(false)
        forged = proofs.prove_consistency(committed, wrong, blinds, entropy(1), b"here")
        for attempt in (proof, forged):
            with pytest.raises(BadShare):
                proofs.verify_consistency(committed, wrong, attempt, b"here")


def test_errors_that_cancel_are_found_by_the_weights() -> None:
    """A_0 + D and A_1 - D keep the plain sum of the differences; the weighted sum changes."""
    coefficients, blinds = [secret(0, k) for k in range(2)], [secret(1, k) for k in range(2)]
    committed, right = polynomial.pedersen(coefficients, blinds), polynomial.feldman(coefficients)
    shift = ristretto.multiply_base(secret(9))
    wrong = (ristretto.add(right[0], shift), ristretto.subtract(right[1], shift))
    forged = proofs.prove_consistency(committed, wrong, blinds, entropy(1))
    with pytest.raises(BadShare):
        proofs.verify_consistency(committed, wrong, forged)


def test_all_subsets_of_three_of_five_agree() -> None:
    coefficients = [secret(k) for k in range(3)]
    shares = {seat: polynomial.evaluate(coefficients, seat) for seat in range(1, 6)}
    results = {
        polynomial.secret_weighted_sum([shares[i] for i in subset], polynomial.lagrange(subset)).reveal()
        for subset in itertools.combinations(shares, 3)
    }
    assert results == {coefficients[0].reveal()}
