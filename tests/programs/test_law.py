"""A law file means what it says, or is refused with the key that is wrong."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import msgspec.inspect
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keephold.attestation import roots
from keephold.base.errors import LawInvalid
from keephold.contract.address import Address
from keephold.crypto.secret import SecretBytes
from keephold.crypto.signing import SigningKey
from keephold.programs.founding import genesis_of
from keephold.programs.law import TEMPLATE, constitution, read_law
from keephold.programs.law_check import form, sense
from keephold.programs.law_tables import Law
from keephold.protocol.genesis import network_id

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
    with pytest.raises(LawInvalid, match="guest: found"):
        law_of(tmp_path, TEMPLATE)


ALICE = Address.account(GOVERNORS[0]).text


@pytest.mark.parametrize(
    ("before", "after", "key", "found", "allowed"),
    [
        ('vendors = ["intel"]', 'vendors = ["development"]', "attestation.vendors[0]", '"development"', '"intel"'),
        ("phase_seconds", "phase_second", "committee.phase_second", "a key that", "one of seats, threshold, floor"),
        ("freshness_seconds = 30", "freshness_seconds = 0", "timing.freshness_seconds", "0", "1 to 3162240000"),
        ("freshness_seconds = 30", "freshness_seconds = 30.0", "timing.freshness_seconds", "30.0", "a whole number"),
        ("threshold = 2", "threshold = true", "governance.threshold", "true", "a whole number from 1 to 65536"),
        ("gatekeeper_max_level = 2", "gatekeeper_max_level = 6", "attestation.gatekeeper_max_level", "6", "1 to 5"),
        (
            'role = "worker"',
            'role = "client"',
            "attestation.measurements[0].role",
            '"client"',
            '"gatekeeper" or "worker"',
        ),
        ('name = "example"', 'name = ""', "name", '""', "text of 1 to 64 characters"),
        ('name = "example"', "", "name", "nothing", "text of 1 to 64 characters"),
        ('guest = "ab', 'guest = "AB', "guest", '"AB', "64 hexadecimal digits, lower case"),
        ('name = "example"', 'name = "example"\n"a.b" = 1', '"a.b"', "a key that", "one of name, guest"),
        ("[timing]", "[[timing]]", "timing", "a list of 1", "a table with lease_seconds"),
        ('vendors = ["intel"]', "vendors = []", "attestation.vendors", "an empty list", "at least one"),
        ('role = "worker"', 'role = "gatekeeper"', "attestation.measurements", "for gatekeeper", "for each of"),
        (ALICE, "alice", "governance.keys[0]", '"alice"', "the address of an account"),
        (ALICE, ALICE.upper(), "governance.keys[0]", '"KH1', "the address of an account"),
        (ALICE, Address(b"\1" * 32, "contract").text, "governance.keys[0]", '"kh', "the address of an account"),
        (ALICE, Address.account(b"\xff" * 32).text, "governance.keys[0]", '"kh1', "the address of an account"),
        (ALICE, Address.account(GOVERNORS[1]).text, "governance.keys[1]", '"kh1', "each account once"),
        ("threshold = 2", "threshold = 4", "governance.threshold", "4", "at most 3, as governance.keys"),
        ("seats = 5\n", "seats = 4\n", "committee.seats", "4", "which is 5, to 64"),
        ("seats = 5\n", "seats = 65\n", "committee.seats", "65", "to 64"),
        ("floor_seats = 3", "floor_seats = 6", "committee.floor_seats", "6", "at most 5, as committee.seats"),
        ("floor_threshold = 2", "floor_threshold = 4", "committee.floor_threshold", "4", "at most 3"),
        ("[governance]", "[governance", "line 5, column 12", "[governance", "TOML"),
        ("threshold = 2", "threshold = ", "line 8, column 13", "threshold =", "TOML"),
        ('vendors = ["intel"]', "vendors = [", "line 28, column 1", "quote_window_seconds = 3600", "TOML"),
    ],
)
def test_each_mistake_is_named_by_file_key_what_was_found_and_what_may_stand_there(
    tmp_path, before, after, key, found, allowed
):
    text = filled().replace(before, after, 1)
    assert text != filled()
    with pytest.raises(LawInvalid) as refused:
        law_of(tmp_path, text)
    error = refused.value
    assert error.file == str(tmp_path / "law.toml")
    assert error.key == key
    assert found in error.found
    assert allowed in error.allowed
    assert str(error) == f"{error.file}: {error.key}: found {error.found}; allowed: {error.allowed}"


def test_what_is_no_text_or_no_file_is_refused_alike(tmp_path):
    path = tmp_path / "law.toml"
    for made in ("nothing", "a directory", "bytes"):
        if made == "a directory":
            path.mkdir()
        elif made == "bytes":
            path.rmdir()
            path.write_bytes(b'name = "\xff"')
        with pytest.raises(LawInvalid) as refused:
            read_law(path)
        assert refused.value.file == str(path)
        assert refused.value.allowed in {"a file that can be read", "TOML in UTF-8"}


ANY: st.SearchStrategy[object] = st.recursive(
    st.one_of(
        st.booleans(),
        st.integers(-(2**63), 2**63 - 1),
        st.sampled_from([0, 1, 2, 3, 5, 64, 65]),
        st.floats(),
        st.text(max_size=80),
        st.sampled_from(["intel", "worker", "gatekeeper", "ab" * 32, "ab" * 32 + "\n", ALICE]),
        st.datetimes(),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=4,
)


def places(value: object) -> list[tuple[object, object]]:
    """Every (container, key) below a value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, item in inside for found in ((value, key), *places(item))]


@given(st.data())
def test_a_law_with_mistakes_is_a_law_or_gets_the_one_error(data):
    """Whatever is changed, dropped or added: a law that founds a network, or `LawInvalid` with a key of the file."""
    said = tomllib.loads(filled())
    for _ in range(data.draw(st.integers(1, 3))):
        container, key = data.draw(st.sampled_from(places(said)))
        match data.draw(st.sampled_from(["change", "drop", "add"])):
            case "change":
                container[key] = data.draw(ANY)
            case "drop":
                del container[key]
            case _:
                other = data.draw(st.sampled_from(places(said)))[0]
                fresh = data.draw(ANY)
                other.append(fresh) if isinstance(other, list) else other.update(
                    {data.draw(st.text(max_size=8)): fresh}
                )
        if not places(said):
            break
    mistake = form(said, msgspec.inspect.type_info(Law))
    if mistake is None:
        law = msgspec.convert(said, Law)  # what has the form of a law is one to the library, too
        mistake = next(sense(law), None)
        if mistake is None:
            assert network_id(genesis_of(law, [bytes(32)], 1))
            return
    assert all(mistake)


@given(st.data())
def test_text_with_mistakes_is_a_law_or_gets_the_one_error(data):
    text = filled()
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        text = text[:start] + data.draw(st.text(max_size=4)) + text[start + data.draw(st.integers(0, 9)) :]
    with TemporaryDirectory() as directory:
        try:
            law = law_of(Path(directory), text)
        except LawInvalid:
            return
        assert network_id(genesis_of(law, [bytes(32)], 1))
