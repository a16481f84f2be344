"""What is written from the specification's text alone comes to what the vectors say: spellings, keys and seals."""

from __future__ import annotations

import ast
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sr25519
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from spec_vectors import cases, plain, raw, refuses

HERE = Path(__file__).parent
FORM_ONLY = {
    "an unknown field",
    "a field too few",
    "an integer out of range",
    "bytes of another size",
    "text where bytes belong",
    "a word that is not in the list",
    "another tag",
    "no tag",
    "a default that is spelled out",
}
"""Refused for what the record is, which the second implementation does not know; its spelling is the one."""


def test_it_shares_no_code_with_the_implementation():
    trees = [ast.parse(path.read_text()) for path in HERE.glob("independent*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    imported = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    imported += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    assert len(trees) == 3
    assert not [
        name for name in imported if name.split(".")[0] in ("keephold", "vectors", "reference", "cbor2", "msgspec")
    ]


def test_records_have_one_spelling(spec):
    for case in cases("codec", "decode", accepted=True):
        (given,) = raw(case["in"], "raw")
        assert spec.record(given) == plain(case["out"]["value"])
    for case in cases("codec", "decode", accepted=False):
        (given,) = raw(case["in"], "raw")
        if case["name"] in FORM_ONLY:
            spec.record(given)
        else:
            refuses(spec, lambda given=given: spec.record(given), case["name"])


def test_every_body_of_a_transaction(spec):
    for case in cases("transactions", "body"):
        (given,) = raw(case["in"], "signed_bytes")
        assert spec.cbor(plain(case["out"]["transaction"])) == given


def test_transactions(spec):
    for case in cases("transactions", "open"):
        (given,) = raw(case["in"], "raw")
        if case["outcome"] == "encoding":
            refuses(spec, lambda given=given: spec.record(given), case["name"])
            continue
        signed = spec.record(given)
        body = signed["transaction"]
        ours = body["network"].hex() == case["in"]["network"]
        holds = sr25519.verify(signed["signature"], spec.H("sign-transaction/1", spec.cbor(body)), body["sender"])
        assert (ours and holds) == (case["outcome"] == "accept"), case["name"]
        assert ours == (case["outcome"] != "ledger_refused/wrong_network")
    (case,) = cases("transactions", "id")
    assert spec.hashlib.sha256(bytes.fromhex(case["in"]["raw"])).hexdigest() == case["out"]["id"]


def test_padding_and_addresses(spec):
    for case in cases("padding", "pad", accepted=True):
        assert spec.pad(bytes.fromhex(case["in"]["plaintext"]), case["in"]["buckets"]).hex() == case["out"]["padded"]
    for case in cases("padding", "unpad", accepted=False):
        refuses(spec, lambda case=case: spec.unpad(bytes.fromhex(case["in"]["padded"])), case["name"])
    for case in cases("addresses", "spell"):
        prefix = {"account": "kh", "contract": "khc"}[case["in"]["kind"]]
        assert spec.address(prefix, bytes.fromhex(case["in"]["bytes"])) == case["out"]["text"]


def test_primitives(spec):
    for function in ("framed", "tagged_hash", "mac", "derive"):
        for case in cases("primitives", function):
            given = case["in"]
            parts = [bytes.fromhex(part) for part in given["parts"]]
            secret = bytes.fromhex(given.get("secret", ""))
            (found,) = case["out"].values()
            made = {
                "framed": lambda given=given, parts=parts: spec.framed(given["label"], *parts),
                "tagged_hash": lambda given=given, parts=parts: spec.H(given["label"], *parts),
                "mac": lambda given=given, parts=parts, secret=secret: spec.mac(secret, given["label"], *parts),
                "derive": lambda given=given, parts=parts, secret=secret: spec.derive(
                    secret, given["label"], *parts, size=given["size"]
                ),
            }[function]()
            assert made.hex() == found
    for case in cases("primitives", "verify"):
        given = case["in"]
        parts = [bytes.fromhex(part) for part in given["parts"]]
        if case["outcome"] == "accept":
            spec.verify(*raw(given, "public", "signature"), given["label"], *parts)
        else:
            with pytest.raises(spec.Refused):
                spec.verify(*raw(given, "public", "signature"), given["label"], *parts)


def test_identities(spec):
    for case in cases("identities", "network", accepted=True):
        network = spec.H("network/1", bytes.fromhex(case["in"]["genesis"]))
        assert network.hex() == case["out"]["network"]
        spec.record(bytes.fromhex(case["in"]["genesis"]))
    for case in cases("identities", "contract"):
        given = case["in"]
        network, creator, code, policy = raw(given, "network", "creator", "code", "policy")
        hashed = spec.H("code/1", code)
        contract = spec.H("contract/1", network, creator, spec.n(given["nonce"]), hashed, policy)
        assert (hashed.hex(), contract.hex()) == (case["out"]["code_hash"], case["out"]["contract"])
        assert spec.address("khc", contract) == case["out"]["address"]


def pair(spec, seed: bytes) -> tuple[str, str]:
    signing = sr25519.pair_from_seed(spec.derive(seed, "seed-signing/1"))[0]
    return signing.hex(), spec.xwing(spec.derive(seed, "seed-encryption/1"))[2].hex()


def test_keys(spec):
    for case in cases("keys", "entity", accepted=True):
        assert pair(spec, bytes.fromhex(case["in"]["seed"])) == (case["out"]["signing"], case["out"]["encryption"])
    for case in cases("keys", "contract_keys"):
        given, out = case["in"], case["out"]
        seed, network, contract, recipient, call = raw(given, "seed", "network", "contract", "recipient", "call")
        root = spec.contract_root(seed, network, contract, given["epoch"])
        assert pair(spec, root) == (out["signing"], out["encryption"])
        tag = spec.mac(spec.derive(root, "key-tag/1"), "key-tag/1", given["storage_key"].encode())
        event = spec.derive(spec.derive(root, "key-event/1"), "key-event/1", recipient)
        entropy = spec.mac(spec.derive(root, "key-entropy/1"), "entropy-call/1", call)
        filler = spec.derive(spec.derive(root, "unreadable/1"), "unreadable/1", call, size=64)
        assert [part.hex() for part in (tag, event, entropy, filler)] == [
            out["tag"],
            out["event_key"],
            out["entropy"],
            out["filler"],
        ]


def hpke_cases(spec) -> list[tuple[dict[str, Any], Callable[[], bytes]]]:
    found: list[tuple[dict[str, Any], Callable[[], bytes]]] = []
    for function, label in (("open_call", "seal-call/1"), ("open_query", "seal-query/1")):
        for case in cases("envelopes", function):
            given = case["in"]
            seed, network, contract, sealed = raw(given, "seed", "network", "contract", "sealed")
            root = spec.contract_root(seed, network, contract, given["epoch"])
            context = [network, contract, spec.n(given["epoch"])]
            if function == "open_call":
                context += [bytes.fromhex(given["sender"]), spec.n(given["nonce"])]
            key = spec.derive(root, "seed-encryption/1")
            found.append((case, lambda key=key, sealed=sealed, label=label, context=context: spec.unpad(
                spec.hpke_open(key, sealed, label, *context))))  # fmt: skip
    for case in cases("envelopes", "open_release"):
        seed, sealed, *context = raw(
            case["in"], "instance_seed", "sealed", "network", "gatekeeper", "worker", "instance", "request"
        )
        found.append((case, lambda seed=seed, sealed=sealed, context=context: spec.hpke_open(
            seed, sealed, "seal-release/1", *context)))  # fmt: skip
    return found


def asked_by_its_reader(spec, query: dict[str, Any]) -> bool:
    body = query["body"]
    if query["by"] == "reader":
        return sr25519.verify(query["signature"], spec.H("sign-query/1", spec.cbor(body)), body["reader"])
    permit = query["permit"]["permit"]
    issued = spec.H("issue-permit/1", spec.cbor(permit))
    named = spec.H("permit/1", spec.cbor(permit))
    try:
        bearer = Ed25519PublicKey.from_public_bytes(permit["bearer"])
        bearer.verify(query["signature"], spec.H("sign-bearer/1", named, spec.cbor(body)))
    except InvalidSignature:
        return False
    is_issued = sr25519.verify(query["permit"]["signature"], issued, permit["issuer"])
    return is_issued and body["reader"] == permit["issuer"]


def test_the_name_of_a_permit(spec):
    for case in cases("envelopes", "permit_hash"):
        assert spec.H("permit/1", bytes.fromhex(case["in"]["permit"])).hex() == case["out"]["hash"]


def test_seals_to_a_public_key(spec):
    for case, work in hpke_cases(spec):
        if case["outcome"] == "seal_broken":
            refuses(spec, work, case["name"])
            continue
        opened = spec.record(work())
        if case["function"] == "open_query":
            assert asked_by_its_reader(spec, opened["query"]) == (case["outcome"] == "accept"), case["name"]
            continue
        (out,) = case["out"].values()
        assert opened == plain(out)


def test_seals_under_a_shared_key(spec):
    for case in cases("envelopes", "seal_receipt"):
        given = case["in"]
        key, network, contract, call, reply = raw(given, "reply_key", "network", "contract", "call", "reply")
        context = (network, contract, spec.n(given["epoch"]), call)
        made = spec.shared_seal(key, "seal-receipt/1", spec.pad(reply, given["buckets"]), *context)
        assert made.hex() == case["out"]["receipt"]
    for case in cases("envelopes", "seal_answer"):
        given = case["in"]
        key, network, contract, answer = raw(given, "answer_key", "network", "contract", "answer")
        request = spec.record(answer)["request"]
        made = spec.shared_seal(key, "seal-answer/1", spec.pad(answer, given["buckets"]), network, contract, request)
        assert made.hex() == case["out"]["sealed"]
    for case in cases("envelopes", "seal_event"):
        given = case["in"]
        key, event = raw(given, "event_key", "event")
        entry = spec.record(event)["entry"]
        tag = spec.mac(key, "event-tag/1", spec.n(entry), spec.n(given["position"]))[:16]
        made = spec.shared_seal(key, "seal-event/1", spec.pad(event, given["buckets"]), tag)
        assert (tag.hex(), made.hex()) == (case["out"]["tag"], case["out"]["sealed"])
    (case,) = cases("envelopes", "request_digest")
    assert spec.H("query-request/1", bytes.fromhex(case["in"]["sealed"])).hex() == case["out"]["request"]


def test_slots(spec):
    for case in cases("envelopes", "seal_slot"):
        given = case["in"]
        seed, network, contract, value, pre_root = raw(given, "seed", "network", "contract", "value", "pre_root")
        root = spec.contract_root(seed, network, contract, given["epoch"])
        if "cursor" in given:
            context = spec.H("slot-migration/1", spec.n(given["version"]), pre_root, *raw(given, "cursor"))
        else:
            context = spec.H("slot-nonce/1", spec.n(given["version"]), pre_root, *raw(given, "head", "block"))
        tag = spec.mac(spec.derive(root, "key-tag/1"), "key-tag/1", given["key"].encode())
        padded = spec.pad(spec.cbor({"key": given["key"], "value": value}), given["buckets"])
        bound = (network, contract, spec.n(given["epoch"]), tag, context)
        sealed = spec.shared_seal(spec.derive(root, "key-state/1"), "seal-slot/1", padded, *bound)
        slot = spec.cbor({"epoch": given["epoch"], "context": context, "sealed": sealed})
        assert (tag.hex(), slot.hex()) == (case["out"]["tag"], case["out"]["sealed"])


def test_keystores(spec):
    for case in cases("keystore", "unlock"):
        given, directory = case["in"], case["in"]["file"]["directory"]
        if case["name"] in ("100 GiB asked for", "another version", "an unknown field"):
            continue  # refused for what they ask or are, before anything is opened
        how = directory["stretching"]
        work = partial(spec.keystore_seeds, given["password"].encode(), directory, how, given["file"]["seeds"])
        if case["outcome"] == "accept":
            assert work() == case["out"]["seeds"]
        else:
            refuses(spec, work, case["name"])


def test_messages_between_contracts(spec):
    for case in cases("messages", "entry"):
        (given,) = raw(case["in"], "raw")
        assert spec.record(given) == plain(case["out"]["entry"])
        assert spec.H("entry/1", given).hex() == case["out"]["id"]
    for function, label in (("seal_message", "seal-message/1"), ("seal_answer", "seal-message-answer/1")):
        (case,) = cases("messages", function)
        seed, network, line, content = raw(case["in"], "seed", "network", "line", "plain")
        ends = spec.record(line)
        epochs = [spec.n(ends[f"{end}_epoch"]) for end in ("source", "target")]
        bound = (network, ends["source"], epochs[0], ends["target"], epochs[1])
        key = spec.derive(seed, "key-channel/1", *bound)
        made = spec.shared_seal(
            key, label, spec.pad(content, case["in"]["buckets"]), *bound, spec.n(case["in"]["number"])
        )
        assert made.hex() == case["out"]["sealed"]
    for case in cases("messages", "credit"):
        credit, parts = case["in"]["credit"], case["in"]["sent"] + case["in"]["is_answered"]
        assert case["out"]["share"] == ((credit - parts) // parts if parts else credit)
