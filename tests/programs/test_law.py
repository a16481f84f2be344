"""A law file means what it says, or is refused with the key that is wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from keephold.attestation import roots
from keephold.base.errors import ConfigurationError
from keephold.contract.address import Address
from keephold.crypto.secret import SecretBytes
from keephold.crypto.signing import SigningKey
from keephold.programs.law import TEMPLATE, Law, constitution, read_law

SECOND = 10**9
GOVERNORS = [SigningKey(SecretBytes(bytes([n]) * 32)).public for n in (1, 2, 3)]


def filled() -> str:
    """Return the template with the dots filled in."""
    keys = iter(GOVERNORS)
    text = re.sub("kh1…", lambda _: Address.account(next(keys)).text, TEMPLATE)
    return text.replace("…", "ab" * 32)


def law_of(directory: Path, text: str) -> Law:
    path = directory / "law.toml"
    path.write_text(text, encoding="utf-8")
    return read_law(path)


def test_the_template_is_a_law_once_it_is_filled_in(tmp_path):
    made = constitution(law_of(tmp_path, filled()), [bytes(32)])
    assert made.governance.keys == tuple(sorted(GOVERNORS))
    assert (made.governance.threshold, made.governance.delay_ns) == (2, 7 * 86_400 * SECOND)
    assert (made.committee.seats, made.committee.threshold, made.floor.seats, made.floor.threshold) == (5, 3, 3, 2)
    assert made.timing.trusting_period_ns == 14 * 86_400 * SECOND
    assert {item.role for item in made.attestation.measurements} == {"worker", "gatekeeper"}
    assert made.attestation.vendors == (roots.intel(),)
    assert [entry.public_key for entry in made.validators] == [bytes(32)]


def test_the_template_as_it_is_is_none(tmp_path):
    with pytest.raises(ConfigurationError, match="guest"):
        law_of(tmp_path, TEMPLATE)


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ('vendors = ["intel"]', 'vendors = ["development"]', "vendors"),
        ("phase_seconds", "phase_second", "phase_second"),
        ("freshness_seconds = 30", "freshness_seconds = 0", "freshness_seconds"),
        ("gatekeeper_max_level = 2", "gatekeeper_max_level = 6", "gatekeeper_max_level"),
        ('role = "worker"', 'role = "client"', "role"),
        ('name = "example"', 'name = ""', "name"),
    ],
)
def test_what_the_file_cannot_say(tmp_path, before, after, reason):
    with pytest.raises(ConfigurationError, match=reason):
        law_of(tmp_path, filled().replace(before, after))


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ('vendors = ["intel"]', "vendors = []", r"attestation\.vendors: none"),
        ('role = "worker"', 'role = "gatekeeper"', r"attestation\.measurements: none for the worker"),
        (Address.account(GOVERNORS[0]).text, "alice", r"governance\.keys: 'alice' is no account"),
        (Address.account(GOVERNORS[0]).text, Address(b"\1" * 32, "contract").text, "is a contract"),
        (Address.account(GOVERNORS[0]).text, Address.account(b"\xff" * 32).text, "is no account"),
    ],
)
def test_what_no_constitution_can_be(tmp_path, before, after, reason):
    with pytest.raises(ConfigurationError, match=reason):
        constitution(law_of(tmp_path, filled().replace(before, after)), [bytes(32)])
