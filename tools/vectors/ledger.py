"""Transactions, the map, inboxes and receipts."""

from __future__ import annotations

from typing import Any, Final

from keephold.base.ids import Height, NetworkId
from keephold.chain import merkle
from keephold.chain.sparse import MapProof, SparseMap, verify_map
from keephold.crypto.signing import SigningKey
from keephold.protocol.codec import decode, encode
from keephold.protocol.state import EMPTY_HEAD, Backing, Vote, inbox_head, receipt_leaf
from keephold.protocol.transactions import (
    Body,
    Echo,
    SignedTransaction,
    Transaction,
    open_signed,
    sign,
    transaction_id,
)
from keephold.protocol.votes import tally
from vectors.base import Family, Given, Maker, fixed, octets, secret, shown
from vectors.examples import example

NETWORK: Final = NetworkId(fixed("network"))


def _open(given: Given) -> dict[str, Any]:
    return {"transaction": shown(open_signed(octets(given, "raw"), NetworkId(octets(given, "network"))))}


def _body(given: Given) -> dict[str, Any]:
    return {"transaction": shown(decode(octets(given, "signed_bytes"), Transaction))}


def _make_transactions(maker: Maker) -> None:
    key = SigningKey(secret("alice"))

    def signed(network: NetworkId = NETWORK) -> Given:
        return {"network": NETWORK.hex(), "raw": sign(network, key, 7, Echo(fixed("nonce"))).hex()}

    good = maker.kept("a transaction", "raw", "open", signed)
    maker.add("a transaction", "open", good)
    maker.add("its id", "id", {"raw": good["raw"]})
    raw = decode(bytes.fromhex(good["raw"]), SignedTransaction)
    again = Transaction(NETWORK, key.public, 8, Echo(fixed("nonce")))
    maker.add(
        "its signature under another nonce",
        "open",
        _with(good, SignedTransaction(again, raw.signature)),
        "bad_signature",
    )
    mallory = Transaction(NETWORK, SigningKey(secret("mallory")).public, 7, Echo(fixed("nonce")))
    maker.add("in another's name", "open", _with(good, SignedTransaction(mallory, raw.signature)), "bad_signature")
    name = "for another network"
    elsewhere = maker.kept(name, "raw", "open", lambda: signed(NetworkId(fixed("elsewhere"))))
    maker.add(name, "open", elsewhere, "ledger_refused/wrong_network")
    maker.add("with a byte behind", "open", {**good, "raw": good["raw"] + "00"}, "encoding")
    for kind in Body.__args__:
        tag = str(kind.__struct_config__.tag)
        body = example(kind, tag)
        maker.add(f"body: {tag}", "body", {"signed_bytes": encode(Transaction(NETWORK, key.public, 7, body)).hex()})


def _with(good: Given, transaction: SignedTransaction) -> Given:
    return {**good, "raw": encode(transaction).hex()}


def _entries(given: Given) -> SparseMap:
    return SparseMap.of((bytes.fromhex(key), bytes.fromhex(value)) for key, value in given["entries"])


def _prove(given: Given) -> dict[str, Any]:
    return {"proof": _entries(given).prove(octets(given, "key")).encode().hex()}


def _verify(given: Given) -> dict[str, Any]:
    value = octets(given, "value") if "value" in given else None
    proof = MapProof.decode(octets(given, "proof"))
    verify_map(octets(given, "root"), octets(given, "key"), proof, value)
    return {}


def _make_map(maker: Maker) -> None:
    keys = [bytes(32), bytes(31) + b"\x01", b"\x80" + bytes(31), *(fixed(f"key {at}") for at in range(5))]
    entries = [[key.hex(), fixed(f"value {at}", at).hex()] for at, key in enumerate(keys)]
    maker.add("the empty map", "root", {"entries": []})
    maker.add("one entry", "root", {"entries": entries[:1]})
    maker.add("two that differ in the last bit", "root", {"entries": entries[:2]})
    root = maker.add("eight entries", "root", {"entries": entries})["root"]
    present = maker.add("presence", "prove", {"entries": entries, "key": entries[3][0]})
    good = {"root": root, "key": entries[3][0], "value": entries[3][1], **present}
    maker.add("presence holds", "verify", good)
    gone = fixed("absent").hex()
    absent = maker.add("absence", "prove", {"entries": entries, "key": gone})
    missing = {"root": root, "key": gone, **absent}
    maker.add("absence holds", "verify", missing)
    empty = maker.add("absence from the empty map", "prove", {"entries": [], "key": gone})
    nothing = {"root": SparseMap.empty().root.hex(), "key": gone, **empty}
    maker.add("absence from the empty map holds", "verify", nothing)
    refused = "proof_invalid"
    maker.add("presence with another value", "verify", {**good, "value": "00"}, refused)
    maker.add("presence of another key", "verify", {**good, "key": entries[4][0]}, refused)
    maker.add("presence under another root", "verify", {**good, "root": fixed("root").hex()}, refused)
    maker.add("absence of what is there", "verify", {"root": root, "key": entries[3][0], **present}, refused)
    maker.add("absence proven for another key", "verify", {**missing, "key": entries[3][0]}, refused)
    maker.add("presence by a proof of absence", "verify", {**missing, "value": ""}, refused)
    maker.add("a proof cut short", "verify", {**good, "proof": good["proof"][:-2]}, "encoding")
    swapped = bytearray.fromhex(good["proof"])
    swapped[2], swapped[3] = swapped[3], swapped[2]
    maker.add("depths that do not grow", "verify", {**good, "proof": bytes(swapped).hex()}, "encoding")


def _inbox(given: Given) -> dict[str, Any]:
    heads = []
    head = octets(given, "head")
    for at, (entry, height) in enumerate(given["entries"], given["first"]):
        head = inbox_head(head, at, bytes.fromhex(entry), Height(height))
        heads.append(head.hex())
    return {"heads": heads}


def _make_inbox(maker: Maker) -> None:
    entries: list[list[Any]] = [[fixed(f"call {at}").hex(), height] for at, height in enumerate((5, 5, 9))]
    heads = maker.add(
        "three entries of two blocks", "heads", {"head": EMPTY_HEAD.hex(), "first": 1, "entries": entries}
    )
    given = {"head": heads["heads"][1], "first": 3, "entries": entries[2:]}
    if maker.add("the last, from the head before", "heads", given)["heads"] != heads["heads"][2:]:
        raise ValueError("a chain that does not chain")
    swapped = [entries[1], entries[0], entries[2]]
    maker.add("the first two swapped", "heads", {"head": EMPTY_HEAD.hex(), "first": 1, "entries": swapped})


def _tree(given: Given) -> dict[str, Any]:
    contract = octets(given, "contract")
    receipts = [(bytes.fromhex(call), bytes.fromhex(receipt)) for call, receipt in given["receipts"]]
    leaves = [receipt_leaf(contract, at, call, receipt) for at, (call, receipt) in enumerate(receipts, given["first"])]
    proofs = [[sibling.hex() for sibling in merkle.prove(leaves, at).siblings] for at in range(len(leaves))]
    return {"leaves": [leaf.hex() for leaf in leaves], "root": merkle.root(leaves).hex(), "proofs": proofs}


def _included(given: Given) -> dict[str, Any]:
    proof = merkle.Proof(tuple(bytes.fromhex(sibling) for sibling in given["siblings"]))
    merkle.verify(proof, octets(given, "root"), octets(given, "leaf"), given["index"], given["total"])
    return {}


def _make_receipts(maker: Maker) -> None:
    receipts = [[fixed(f"call {at}").hex(), fixed(f"receipt {at}", 40).hex()] for at in range(5)]
    about = {"contract": fixed("contract").hex(), "first": 4}
    maker.add("one receipt", "tree", {**about, "receipts": receipts[:1]})
    tree = maker.add("five receipts", "tree", {**about, "receipts": receipts})
    for at in (0, 4):
        siblings = tree["proofs"][at]
        good = {"root": tree["root"], "leaf": tree["leaves"][at], "index": at, "total": 5, "siblings": siblings}
        maker.add(f"inclusion of number {at}", "included", good)
    refused = "proof_invalid"
    maker.add("at another place", "included", {**good, "index": 3}, refused)
    maker.add("in a tree of another size", "included", {**good, "total": 8}, refused)
    maker.add("another leaf", "included", {**good, "leaf": tree["leaves"][0]}, refused)
    maker.add("a sibling too many", "included", {**good, "siblings": [*good["siblings"], good["leaf"]]}, refused)
    maker.add("a sibling too few", "included", {**good, "siblings": good["siblings"][:-1]}, refused)


def _tally(given: Given) -> dict[str, Any]:
    nothing = Backing(bytes(32), bytes(32), bytes(32))
    votes = [Vote(bytes.fromhex(worker), bytes.fromhex(digest), nothing) for worker, digest in given["votes"]]
    decided = tally(votes, given["quorum"])
    if decided is None:
        return {"settled": [], "outvoted": []}
    return {name: [vote.worker.hex() for vote in getattr(decided, name)] for name in ("settled", "outvoted")}


def _make_votes(maker: Maker) -> None:
    one, two, three, four, five = (fixed(f"worker {at}").hex() for at in range(1, 6))
    truth, lie, another = (fixed(name).hex() for name in ("truth", "lie", "another lie"))
    for name, quorum, votes in (
        ("no vote", 2, []),
        ("one of two", 2, [[one, truth]]),
        ("two that agree", 2, [[one, truth], [two, truth]]),
        ("two that differ", 2, [[one, lie], [two, truth]]),
        ("a liar first of three", 2, [[one, lie], [two, truth], [three, truth]]),
        ("a liar second of three", 2, [[one, truth], [two, lie], [three, truth]]),
        ("three that differ", 2, [[one, lie], [two, truth], [three, another]]),
        ("two liars of five", 3, [[one, lie], [two, another], [three, truth], [four, truth], [five, truth]]),
        ("two liars of five that agree", 3, [[one, lie], [two, truth], [three, lie], [four, truth], [five, truth]]),
    ):
        maker.add(name, "tally", {"quorum": quorum, "votes": votes})


TRANSACTIONS: Final = Family(
    "transactions",
    "Transactions, and one example of each body: `signed_bytes` is what is signed, the CBOR of `Transaction`.",
    {
        "open": _open,
        "id": lambda given: {"id": transaction_id(octets(given, "raw")).hex()},
        "body": _body,
    },
    _make_transactions,
)
MAP: Final = Family(
    "map",
    "The sparse Merkle map: roots, proofs, and what they prove. Without `value` it is absence.",
    {"root": lambda given: {"root": _entries(given).root.hex()}, "prove": _prove, "verify": _verify},
    _make_map,
)
INBOX: Final = Family(
    "inbox", "Heads of an inbox: entries are transaction id and height.", {"heads": _inbox}, _make_inbox
)
RECEIPTS: Final = Family(
    "receipts",
    "Receipts trees: receipts are call and receipt; `first` is the inbox index of the first.",
    {"tree": _tree, "included": _included},
    _make_receipts,
)
VOTES: Final = Family(
    "votes",
    "What votes decide: a vote is worker and digest, in the order cast. None settled: nothing is decided.",
    {"tally": _tally},
    _make_votes,
)
