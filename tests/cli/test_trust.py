"""What `keephold trust --json` holds is what the documentation says it holds."""

from __future__ import annotations

import re
from pathlib import Path

from keephold.base.ids import ContractId, NetworkId, PublicKey
from keephold.cli import trust
from keephold.client.trust import trust_report
from keephold.client.trust_facts import Committee, Enclave, Governance, TrustFacts, Validator, VendorFact
from keephold.contract.address import Address

PAGE = Path(__file__).parents[2] / "docs" / "threat-model.md"


def body() -> dict[str, object]:
    enclave = Enclave(PublicKey(b"w" * 32), "worker", b"o" * 32, b"p" * 32, level=1, vendor="vendor")
    facts = TrustFacts(
        network=NetworkId(bytes(32)),
        contract=ContractId(b"c" * 32),
        name="Token",
        creator=PublicKey(b"a" * 32),
        phase="active",
        epoch=1,
        level=2,
        quorum=1,
        workers=(enclave,),
        departed=(),
        committee=Committee("waiting", 0, ()),
        governance=Governance((b"g" * 32,), 1, 0),
        validators=(Validator(b"v" * 32, 1),),
        vendors=(VendorFact("vendor", is_simulated=False),),
        height=7,
        header_hash=b"h" * 32,
    )
    return trust._body(Address.contract(b"c" * 32), trust_report(facts))


def documented() -> tuple[set[str], dict[str, set[str]]]:
    """The keys of the table, and of those with parts the words that stand for them."""
    text = PAGE.read_text()
    rows = re.findall(
        r"^\| (`[^|]+) \| ([^|]+) \|$", text.partition("With `--json`")[2].partition("An enclave")[0], re.MULTILINE
    )
    keys = {key for left, _ in rows for key in re.findall(r"`(\w+)`", left)}
    return keys, {left.strip("`"): set(re.findall(r"`(\w+)`", right)) for left, right in rows}


def test_the_keys_of_the_report_are_those_that_the_documentation_names() -> None:
    told, (keys, parts) = body(), documented()
    assert set(told) == keys
    for key in ("summary", "gatekeepers", "workers", "breaking"):
        assert set(told[key]) <= parts[key]
    assert set(told["breaking"]["reveal"]) <= parts["breaking"]
    assert set(told["alone"][0]) <= parts["alone"]
    enclave = PAGE.read_text().partition("An enclave has ")[2].partition(". For any")[0]
    assert set(told["workers"]["assigned"][0]) == set(re.findall(r"`(\w+)`", enclave))
