"""What is written from the specification's text alone comes to what the vectors say: the map, headers, votes."""

from __future__ import annotations

from spec_vectors import cases, plain, raw, refuses


def test_the_map(spec):
    for case in cases("map", "root"):
        entries = [(bytes.fromhex(key), bytes.fromhex(value)) for key, value in case["in"]["entries"]]
        assert spec.map_root(entries).hex() == case["out"]["root"]
    for case in cases("map", "verify"):
        root, key, proof = raw(case["in"], "root", "key", "proof")
        value = bytes.fromhex(case["in"]["value"]) if "value" in case["in"] else None
        if case["outcome"] == "accept":
            spec.map_verify(root, key, value, proof)
        else:
            refuses(spec, lambda a=(root, key, value, proof): spec.map_verify(*a), case["name"])


def test_votes():
    for case in cases("votes", "tally"):
        said = dict(case["in"]["votes"])
        digests = list(said.values())
        decisive = [digest for digest in digests[-1:] if digests.count(digest) >= case["in"]["quorum"]]
        assert case["out"]["settled"] == [worker for worker, digest in said.items() if digest in decisive]
        outvoted = [worker for worker, digest in said.items() if decisive and digest not in decisive]
        assert case["out"]["outvoted"] == outvoted


def test_holders_of_key_epochs(spec):
    for case in cases("holders", "path"):
        given = case["in"]
        owner = "contract" if "contract" in given else "worker"
        name = ("holders" if owner == "contract" else "tenures") + ("-page" if "page" in given else "")
        numbers = [spec.n(given[field]) for field in ("epoch", "page") if field in given]
        path = spec.H("path/1", name.encode(), bytes.fromhex(given[owner]), *numbers)
        assert path.hex() == case["out"]["path"]
    for case in cases("holders", "whole"):
        kind = case["in"]["kind"]
        head = spec.record(bytes.fromhex(case["in"]["head"]))
        pages = [spec.record(bytes.fromhex(page))[kind] for page in case["in"]["pages"]]
        count = head.get("count", 0)
        newest = head.get("newest", [])
        full = max(0, count - 1) // 64
        holds = [len(page) for page in pages] == [64] * full and len(newest) == count - 64 * full
        assert holds == (case["outcome"] == "accept"), case["name"]
        if holds:
            assert [entry for part in (*pages, newest) for entry in part] == plain(case["out"].get("entries", []))


def test_inbox_and_receipts(spec):
    for case in cases("inbox", "heads"):
        head, heads = bytes.fromhex(case["in"]["head"]), []
        for at, (entry, height) in enumerate(case["in"]["entries"], case["in"]["first"]):
            head = spec.H("inbox/1", head, spec.n(at), bytes.fromhex(entry), spec.n(height))
            heads.append(head.hex())
        assert heads == case["out"]["heads"]
    for case in cases("receipts", "tree"):
        contract = bytes.fromhex(case["in"]["contract"])
        leaves = [
            spec.H("receipts/1", contract, spec.n(at), bytes.fromhex(call), bytes.fromhex(receipt))
            for at, (call, receipt) in enumerate(case["in"]["receipts"], case["in"]["first"])
        ]
        assert [leaf.hex() for leaf in leaves] == case["out"]["leaves"]
        assert spec.tree(leaves).hex() == case["out"]["root"]


def test_headers_and_report_data(spec):
    for case in cases("headers", "header", accepted=True):
        assert spec.header_hash(bytes.fromhex(case["in"]["header"])).hex() == case["out"]["hash"]
    for case in cases("report", "report_data"):
        claim = spec.record(bytes.fromhex(case["in"]["claim"]))
        parts = [claim[name] for name in ("network", "signing_key", "encryption_key", "operator", "instance")]
        parts.insert(1, claim["role"].encode())
        bound = spec.framed("report-data/1", *parts, spec.n(claim["anchor_height"]), claim["anchor_hash"])
        assert spec.hashlib.sha512(bound).hexdigest() == case["out"]["report_data"]


def test_votes_and_validators(spec, chain):
    (case,) = cases("headers", "commit")
    commit, chain_id = bytes.fromhex(case["in"]["commit"]), case["in"]["chain_id"].encode()
    cast = [vote for vote in chain.votes(commit) if vote.signature]
    assert [chain.sign_bytes(chain_id, commit, vote).hex() for vote in cast] == case["out"]["sign_bytes"]
    assert [vote.signature.hex() for vote in cast] == case["out"]["signatures"]
    (case,) = cases("headers", "validators")
    found = chain.members(bytes.fromhex(case["in"]["validators"]))
    assert [member.address.hex() for member in found] == case["out"]["addresses"]
    assert spec.tree([member.leaf for member in found]).hex() == case["out"]["hash"]


def test_the_light_client(spec, chain):
    for case in cases("lightclient", "follow"):
        assert chain.follow(spec, case["in"]) == case["outcome"], case["name"]
