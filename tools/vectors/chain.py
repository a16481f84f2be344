"""Headers, commits and the light client: a chain of four validators, and each rule broken alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from keephold.chain import merkle
from keephold.chain.header import ABSENT, BlockId, BlockIdFlag, Commit, CommitSig, Header, SignedHeader, consensus_hash
from keephold.chain.validators import Validator, ValidatorSet, decode_validator_set, encode_validator_set
from keephold.chain.vote import Precommits
from keephold.chain.wire import (
    decode_commit,
    decode_header,
    decode_signed_header,
    encode_commit,
    encode_header,
    encode_signed_header,
)
from keephold.crypto.ed25519 import ValidatorKey
from keephold.follower.light_client import TrustedState, verify_header
from vectors.base import Family, Given, Maker, fixed, octets, secret

CHAIN: Final = "vectors"
SECOND: Final = 10**9
START: Final = 1_700_000_000 * SECOND
PERIOD: Final = 3600 * SECOND
KEYS: Final = {key.public: key for key in (ValidatorKey(secret(f"validator {at}")) for at in range(8))}
FIRST: Final = ValidatorSet.of(Validator(public, 10) for public in list(KEYS)[:4])
LATER: Final = ValidatorSet.of(Validator(public, 10) for public in list(KEYS)[3:7])
"""One member in common with the first."""


def header(height: int, members: ValidatorSet = FIRST, following: ValidatorSet = FIRST, **changes: Any) -> Header:
    """Return a header of the chain."""
    made = Header(
        chain_id=CHAIN,
        height=height,
        time_ns=START + height * SECOND,
        last_block_id=BlockId() if height == 1 else BlockId(fixed(f"block {height - 1}"), 1, fixed("parts")),
        last_commit_hash=fixed(f"commit {height - 1}"),
        data_hash=merkle.data_root([b"a transaction"]),
        validators_hash=members.hash(),
        next_validators_hash=following.hash(),
        consensus_hash=consensus_hash(4 << 20),
        app_hash=fixed(f"app {height - 1}"),
        last_results_hash=merkle.root([merkle.result_leaf(0, b"")]),
        evidence_hash=merkle.EMPTY,
        proposer_address=members.proposer.address,
    )
    return replace(made, **changes)


def signed(of: Header, members: ValidatorSet = FIRST, silent: Sequence[int] = ()) -> SignedHeader:
    """Return a header with the votes of all members but the silent."""
    block = BlockId(of.hash(), 1, fixed("parts"))
    precommits = Precommits(of.chain_id, of.height, 0, block)
    votes = []
    for at, member in enumerate(members.validators):
        time_ns = of.time_ns + at
        signature = KEYS[member.public_key].sign(precommits.sign_bytes(time_ns))
        vote = CommitSig(BlockIdFlag.COMMIT, member.address, time_ns, signature)
        votes.append(ABSENT if at in silent else vote)
    return SignedHeader(of, Commit(of.height, 0, block, tuple(votes)))


def _header(given: Given) -> dict[str, Any]:
    made = decode_header(octets(given, "header"))
    return {
        "hash": made.hash().hex(),
        "chain_id": made.chain_id,
        "height": made.height,
        "time_ns": made.time_ns,
        "data_hash": made.data_hash.hex(),
        "app_hash": made.app_hash.hex(),
        "last_results_hash": made.last_results_hash.hex(),
    }


def _precommit(given: Given) -> dict[str, Any]:
    commit = decode_commit(octets(given, "commit"))
    precommits = Precommits(given["chain_id"], commit.height, commit.round, commit.block_id)
    return {
        "hash": commit.hash().hex(),
        "sign_bytes": [precommits.sign_bytes(vote.time_ns).hex() for vote in commit.signatures if vote.signature],
        "signatures": [vote.signature.hex() for vote in commit.signatures if vote.signature],
    }


def _set(given: Given) -> dict[str, Any]:
    members = decode_validator_set(octets(given, "validators"))
    addresses = [member.address.hex() for member in members.validators]
    return {"hash": members.hash().hex(), "addresses": addresses, "power": members.total_power}


def _roots(given: Given) -> dict[str, Any]:
    leaves = [merkle.result_leaf(code, bytes.fromhex(data)) for code, data in given["results"]]
    transactions = [bytes.fromhex(raw) for raw in given["transactions"]]
    return {"data_hash": merkle.data_root(transactions).hex(), "last_results_hash": merkle.root(leaves).hex()}


def _make_headers(maker: Maker) -> None:
    for height in (1, 2):
        maker.add(f"header {height}", "header", {"header": encode_header(header(height)).hex()})
    spelled = encode_header(header(2)).hex()
    maker.add("a header with something behind", "header", {"header": spelled + "00"}, "encoding")
    commit = encode_commit(signed(header(2), silent=(1,)).commit).hex()
    maker.add("a commit; one of four is absent", "commit", {"commit": commit, "chain_id": CHAIN})
    members = encode_validator_set(FIRST).hex()
    maker.add("validators", "validators", {"validators": members})
    given = {
        "transactions": [b"one".hex(), b"two".hex(), b"three".hex()],
        "results": [[0, fixed("root").hex()], [4, ""]],
    }
    maker.add("what a block did", "roots", given)
    maker.add("an empty block", "roots", {"transactions": [], "results": []})


def _trusted(given: Given) -> TrustedState:
    members = decode_validator_set(octets(given, "next_validators"))
    if "header" in given:
        return TrustedState.from_header(decode_header(octets(given, "header")), members, given["period_ns"])
    return TrustedState.from_genesis(given["chain_id"], members, given["time_ns"], given["period_ns"])


def _follow(given: Given) -> dict[str, Any]:
    members, following = (decode_validator_set(octets(given, name)) for name in ("validators", "next_validators"))
    signed_header = decode_signed_header(octets(given, "signed_header"))
    moved = verify_header(_trusted(given["trusted"]), signed_header, members, following, given["now_ns"])
    return {"height": moved.height}


def _case(
    block: SignedHeader,
    members: ValidatorSet = FIRST,
    following: ValidatorSet = FIRST,
    *,
    trusted: int = 1,
    now_ns: int = 0,
) -> Given:
    known: dict[str, Any] = {"next_validators": encode_validator_set(FIRST).hex(), "period_ns": PERIOD}
    if trusted:
        known["header"] = encode_header(header(trusted)).hex()
    else:
        known |= {"chain_id": CHAIN, "time_ns": START}
    return {
        "trusted": known,
        "signed_header": encode_signed_header(block).hex(),
        "validators": encode_validator_set(members).hex(),
        "next_validators": encode_validator_set(following).hex(),
        "now_ns": now_ns or block.header.time_ns,
    }


def _make_light(maker: Maker) -> None:
    def refuse(name: str, given: Given, code: str = "header_invalid") -> None:
        maker.add(name, "follow", given, code)

    turning = signed(header(2, following=LATER))
    maker.add("the first header, from a genesis", "follow", _case(signed(header(1)), trusted=0))
    maker.add("the next header", "follow", _case(signed(header(2))))
    maker.add("three of four signed", "follow", _case(signed(header(2), silent=(0,))))
    maker.add("the next validators are others", "follow", _case(turning, following=LATER))
    maker.add("a header far ahead, of the same validators", "follow", _case(signed(header(9))))
    # Rule 1.
    expired = START + SECOND + PERIOD
    refuse("1: the trusted header is too old", _case(signed(header(2)), now_ns=expired), "trust_expired")
    # Rule 2.
    refuse("2: another chain", _case(signed(header(2, chain_id="another"))))
    refuse("2: another block protocol", _case(signed(header(2, version_block=12))))
    refuse(
        "2: the commit is for another header", _case(SignedHeader(header(2), signed(header(2, data_hash=b"")).commit))
    )
    # Rule 3.
    refuse("3: the same height again", _case(signed(header(1))))
    refuse("3: time does not rise", _case(signed(header(2, time_ns=START + SECOND))))
    refuse("3: from the future", _case(signed(header(2)), now_ns=START + 2 * SECOND - 10 * SECOND))
    # Rule 4.
    refuse("4: not the validators of the header", _case(signed(header(2)), LATER))
    # Rule 5.
    invented = signed(header(2, LATER, LATER), LATER)
    refuse("5: adjacent, validators that nobody announced", _case(invented, LATER, LATER))
    far = signed(header(9, LATER, LATER), LATER)
    refuse("5: skipping, a quarter of the trusted power signed", _case(far, LATER, LATER), "not_enough_trust")
    refuse("5: a genesis vouches for height 1 alone", _case(signed(header(2)), trusted=0), "not_enough_trust")
    # Rule 6.
    refuse("6: two of four signed", _case(signed(header(2), silent=(0, 1))))
    refuse("6: not the next validators of the header", _case(turning))
    good = signed(header(2))
    votes = list(good.commit.signatures)
    for at in (0, 1):
        votes[at] = replace(votes[at], signature=votes[2].signature)
    forged = SignedHeader(good.header, replace(good.commit, signatures=tuple(votes)))
    refuse("6: signatures that do not verify are not counted", _case(forged))


HEADERS: Final = Family(
    "headers",
    "CometBFT's messages and hashes as this chain uses them: protobuf, decoded strictly.",
    {"header": _header, "commit": _precommit, "validators": _set, "roots": _roots},
    _make_headers,
)
LIGHTCLIENT: Final = Family(
    "lightclient",
    "What follows from what is trusted. The number before a refusal is the rule that is broken.",
    {"follow": _follow},
    _make_light,
)
