"""The vectors are what the production encoders make now, and each comes to its outcome with the production decoders."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from keephold.base import errors, limits
from keephold.crypto import aead, hpke
from keephold.protocol.transactions import Body
from keephold.worker import results, state
from vectors import families
from vectors.base import ACCEPT, DIRECTORY, Family, Maker, judge, made

PAGES = Path(__file__).parents[2] / "docs" / "spec"
CODES = {kind.code for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)}
BY_NAME = pytest.mark.parametrize("family", families.ALL, ids=lambda family: family.name)


def cases(family: Family) -> list[dict]:
    found: list[dict] = json.loads((DIRECTORY / f"{family.name}.json").read_text())["cases"]
    return found


@BY_NAME
def test_the_encoders_make_these_very_bytes(family):
    assert made(family) == (DIRECTORY / f"{family.name}.json").read_text(), "run `make tables` and commit what changed"


@BY_NAME
def test_each_case_comes_to_its_outcome(family):
    for case in cases(family):
        found = judge(family.functions[case["function"]], case["in"])
        assert found == (case["outcome"], case.get("out", {})), case["name"]


@BY_NAME
def test_outcomes_are_acceptance_or_a_code_and_every_function_is_used(family):
    found = cases(family)
    assert {case["outcome"].partition("/")[0] for case in found} <= {ACCEPT} | CODES
    assert {case["function"] for case in found} == set(family.functions)
    assert len({case["name"] for case in found}) == len(found)


def test_every_file_is_a_family_and_every_family_stands_on_a_page():
    names = {family.name for family in families.ALL}
    assert {path.stem for path in DIRECTORY.glob("*")} == names
    listed = re.findall(r"^\| `(\w+)\.json` \|", (PAGES / "vectors.md").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(names)
    said = [
        line for page in PAGES.glob("*.md") for line in re.findall(r"Vectors:\s([^.]*\.json[^\n]*)", page.read_text())
    ]
    assert {name for line in said for name in re.findall(r"`(\w+)\.json`", line)} <= names


def test_every_body_of_a_transaction_has_an_example():
    (family,) = [family for family in families.ALL if family.name == "transactions"]
    tags = {f"body: {kind.__struct_config__.tag}" for kind in Body.__args__}
    assert tags <= {case["name"] for case in cases(family)}


def test_a_case_that_comes_to_another_outcome_is_not_written():
    family = families.ALL[0]
    maker = Maker(family.functions, ())
    with pytest.raises(ValueError, match="encoding, not accept"):
        maker.add("nothing", "decode", {"kind": "Echo", "raw": ""})


def test_what_is_random_is_kept_only_while_it_means_the_same():
    functions = {"length": lambda given: {"length": len(given["raw"]), "of": given["of"]}}
    maker = Maker(functions, [{"name": "a", "in": {"of": "x", "raw": "0000"}}])
    assert maker.kept("a", "raw", "length", lambda: {"of": "x", "raw": "ffff"})["raw"] == "0000"
    assert maker.kept("a", "raw", "length", lambda: {"of": "y", "raw": "ffff"})["raw"] == "ffff"
    assert maker.kept("a", "raw", "length", lambda: {"of": "x", "raw": "ff"})["raw"] == "ff"
    assert maker.kept("b", "raw", "length", lambda: {"of": "x", "raw": "ffff"})["raw"] == "ffff"


def test_numbers_in_the_prose_are_those_of_the_code():
    page = (PAGES / "state.md").read_text()
    assert f"P(|storage key| + |value| + {state._SLOT_CBOR}) + {aead.OVERHEAD} + {state._FRAMING} for each slot" in page
    assert f"P(EventPlain) + {aead.OVERHEAD} + {results._EVENT_FRAMING} for each recipient" in page
    assert f"P(MessagePlain) + {aead.OVERHEAD} + {results._MESSAGE_FRAMING} for each that it sends" in page
    assert f"`P(CallPlain) + {hpke.OVERHEAD}`" in (PAGES / "envelopes.md").read_text()
    assert f"At most {limits.MAX_CALL_PLAINTEXT} bytes before padding" in (PAGES / "envelopes.md").read_text()
    spaces = (state._OWN, state._NONCE, state._NUMBER, state._AWAITED, state._OUTBOX)
    assert all(f"`{space}`" in (PAGES / "envelopes.md").read_text() for space in spaces)
