"""The second implementation, its light client: chain.md, rule by rule, over CometBFT's messages."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

SECOND = 10**9
COMMIT = 2


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out, value = out + bytes((value & 127 | 128,)), value >> 7
    return out + bytes((value,))


def unvarint(raw: bytes) -> int:
    return sum((byte & 127) << 7 * place for place, byte in enumerate(raw))


def fields(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and content of each field, in order; a varint as its bytes."""
    at = 0
    while at < len(raw):
        tag, start = raw[at], at + 1
        end = start
        while raw[end] & 128:
            end += 1
        end += 1
        if tag & 7 == 2:
            start, end = end, end + unvarint(raw[start:end])
        yield tag >> 3, raw[start:end]
        at = end


def one(raw: bytes, number: int) -> bytes:
    return dict(fields(raw)).get(number, b"")


def time_of(raw: bytes) -> int:
    seconds = unvarint(one(raw, 1))
    return (seconds - (1 << 64) * (seconds >> 63)) * SECOND + unvarint(one(raw, 2))


class Member(NamedTuple):
    key: bytes
    power: int

    @property
    def address(self) -> bytes:
        return hashlib.sha256(self.key).digest()[:20]

    @property
    def leaf(self) -> bytes:
        return b"\x0a\x22\x0a\x20" + self.key + b"\x10" + varint(self.power)


class Vote(NamedTuple):
    flag: int
    address: bytes
    time: bytes
    signature: bytes


def members(raw: bytes) -> list[Member]:
    return [Member(one(one(item, 2), 1), unvarint(one(item, 3))) for number, item in fields(raw) if number == 1]


def votes(commit: bytes) -> list[Vote]:
    found = [item for number, item in fields(commit) if number == 4]
    return [Vote(unvarint(one(item, 1)), one(item, 2), one(item, 3), one(item, 4)) for item in found]


def sign_bytes(chain_id: bytes, commit: bytes, vote: Vote) -> bytes:
    """CometBFT's `CanonicalVote` of a precommit, behind its length."""
    height, turn = unvarint(one(commit, 1)), unvarint(one(commit, 2))
    block = one(commit, 3)
    body = b"\x08\x02\x11" + height.to_bytes(8, "little")
    body += b"\x19" + turn.to_bytes(8, "little") if turn else b""
    body += b"\x22" + varint(len(block)) + block + b"\x2a" + varint(len(vote.time)) + vote.time
    body += b"\x32" + varint(len(chain_id)) + chain_id
    return varint(len(body)) + body


def follow(spec: Any, given: dict[str, Any]) -> str:
    """The outcome of a case of `lightclient.json`."""
    known, now = given["trusted"], given["now_ns"]
    signed = bytes.fromhex(given["signed_header"])
    header, commit = one(signed, 1), one(signed, 2)
    present = members(bytes.fromhex(given["validators"]))
    following, announced = (bytes.fromhex(where["next_validators"]) for where in (given, known))
    is_genesis = "header" not in known
    last = bytes.fromhex(known.get("header", ""))
    last_height, last_time = unvarint(one(last, 3)), known["time_ns"] if is_genesis else time_of(one(last, 4))
    chain_id = known["chain_id"].encode() if is_genesis else one(last, 2)
    height, time_ns = unvarint(one(header, 3)), time_of(one(header, 4))

    def root(of: list[Member]) -> bytes:
        return bytes(spec.tree([member.leaf for member in of]))

    def has_signed(vote: Vote, member: Member) -> bool:
        if vote.flag != COMMIT:
            return False
        try:
            Ed25519PublicKey.from_public_bytes(member.key).verify(vote.signature, sign_bytes(chain_id, commit, vote))
        except InvalidSignature:
            return False
        return True

    # Rule 1.
    if not is_genesis and last_time + known["period_ns"] <= now:
        return "trust_expired"
    # Rules 2, 3 and 4.
    is_one_block = one(header, 2) == chain_id and unvarint(one(one(header, 1), 1)) == 11
    is_one_block &= one(one(commit, 3), 1) == spec.header_hash(header) and unvarint(one(commit, 1)) == height
    is_later = height > last_height and time_ns > last_time - is_genesis and time_ns < now + 10 * SECOND
    if not (is_one_block and is_later):
        return "header_invalid"
    if root(present) != one(header, 8) or len(votes(commit)) != len(present):
        return "header_invalid"
    # Rule 5.
    trusted = members(announced)
    if height == last_height + 1:
        if one(header, 8) != root(trusted):
            return "header_invalid"
    else:
        counted = {
            member.address: member.power
            for member in trusted
            for vote in votes(commit)
            if vote.address == member.address and has_signed(vote, member)
        }
        if is_genesis or 3 * sum(counted.values()) <= sum(member.power for member in trusted):
            return "not_enough_trust"
    # Rule 6.
    pairs = zip(present, votes(commit), strict=True)
    power = sum(item.power for item, vote in pairs if vote.address == item.address and has_signed(vote, item))
    if root(members(following)) != one(header, 9) or 3 * power <= 2 * sum(member.power for member in present):
        return "header_invalid"
    return "accept"
