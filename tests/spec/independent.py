"""A second implementation, written from docs/spec alone: no line of keephold, plain libraries for hash and cipher.

It is small on purpose: it derives, opens and checks what the text says, so that the text is shown to suffice. Where it
and the implementation disagree, one of them, or the text, is wrong.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import rbcl
import sr25519
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESGCMSIV
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id


class Refused(Exception):
    """The text says that this is refused."""


# --- encoding.md ---


def head(major: int, value: int) -> bytes:
    """The shortest head of a data item."""
    if value < 24:
        return bytes((major << 5 | value,))
    for size, extra in ((1, 24), (2, 25), (4, 26), (8, 27)):
        if value < 1 << (8 * size):
            return bytes((major << 5 | extra,)) + value.to_bytes(size, "big")
    raise Refused("too large for a head")


def cbor(value: Any) -> bytes:
    """The one spelling."""
    if isinstance(value, bool):
        return b"\xf5" if value else b"\xf4"
    if isinstance(value, int):
        plain = value if value >= 0 else -1 - value
        if plain < 1 << 64:
            return head(0 if value >= 0 else 1, plain)
        return (b"\xc2" if value >= 0 else b"\xc3") + cbor(plain.to_bytes(-(-plain.bit_length() // 8), "big"))
    if isinstance(value, bytes):
        return head(2, len(value)) + value
    if isinstance(value, str):
        return head(3, len(value.encode())) + value.encode()
    if isinstance(value, list):
        return head(4, len(value)) + b"".join(map(cbor, value))
    pairs = sorted((cbor(name), cbor(inner)) for name, inner in value.items())
    return head(5, len(pairs)) + b"".join(name + inner for name, inner in pairs)


def parse(raw: bytes, at: int = 0, depth: int = 0) -> tuple[Any, int]:
    """A value and where it ends; canonical or not: who wants to know spells it again."""
    if depth > 16 or at >= len(raw):
        raise Refused("too deep, or cut")
    major, extra = raw[at] >> 5, raw[at] & 31
    at += 1
    if major == 7:
        if extra not in (20, 21):
            raise Refused("neither true nor false")
        return extra == 21, at
    if major == 6 or extra > 27:
        raise Refused("a tag, or an indefinite length")
    size = {24: 1, 25: 2, 26: 4, 27: 8}.get(extra, 0)
    number = int.from_bytes(raw[at : at + size], "big") if size else extra
    at += size
    if major < 2:
        return number if major == 0 else -1 - number, at
    if major < 4:
        text = raw[at : at + number]
        if len(text) != number:
            raise Refused("cut")
        try:
            return text if major == 2 else text.decode(), at + number
        except UnicodeDecodeError:
            raise Refused("not UTF-8") from None
    items = []
    for _ in range(number * (major - 3)):
        item, at = parse(raw, at, depth + 1)
        items.append(item)
    if major == 4:
        return items, at
    if not all(isinstance(name, str) for name in items[::2]):
        raise Refused("a name that is no text")
    return dict(zip(items[::2], items[1::2], strict=True)), at


def record(raw: bytes) -> Any:
    """The record that `raw` spells, if this is its one spelling. Which fields it has is another page's matter."""
    value, end = parse(raw)
    if end != len(raw) or cbor(value) != raw:
        raise Refused("not the one spelling")
    return value


def pad(plain: bytes, sizes: list[int]) -> bytes:
    needed = 4 + len(plain)
    size = next((size for size in sizes if needed <= size), -(-needed // sizes[-1]) * sizes[-1])
    return len(plain).to_bytes(4, "big") + plain + bytes(size - needed)


def unpad(padded: bytes) -> bytes:
    end = 4 + int.from_bytes(padded[:4], "big")
    if end > len(padded) or any(padded[end:]):
        raise Refused("padding")
    return padded[4:end]


def address(prefix: str, value: bytes) -> str:
    """BIP-350."""
    alphabet = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
    bits = int.from_bytes(value, "big") << 4
    data = [bits >> 5 * at & 31 for at in reversed(range(52))]
    check = 1
    expanded = [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix]
    for five in [*expanded, *data, *[0] * 6]:
        top, check = check >> 25, (check & 0x1FFFFFF) << 5 ^ five
        for at, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= generator if top >> at & 1 else 0
    check ^= 0x2BC830A3
    return f"{prefix}1" + "".join(
        alphabet[five] for five in [*data, *(check >> 5 * at & 31 for at in reversed(range(6)))]
    )


# --- primitives.md ---


def n(value: int) -> bytes:
    return value.to_bytes(8, "big")


def framed(label: str, *parts: bytes) -> bytes:
    return b"".join(n(len(part)) + part for part in (f"keephold/{label}".encode(), *parts))


def H(label: str, *parts: bytes) -> bytes:  # noqa: N802 - as the specification writes it
    return hashlib.sha256(framed(label, *parts)).digest()


def mac(secret: bytes, label: str, *parts: bytes) -> bytes:
    return hmac.digest(secret, framed(label, *parts), "sha256")


def expand(key: bytes, info: bytes, size: int) -> bytes:
    """HKDF-Expand."""
    out = block = b""
    for counter in range(1, -(-size // 32) + 1):
        block = hmac.digest(key, block + info + bytes((counter,)), "sha256")
        out += block
    return out[:size]


def derive(secret: bytes, label: str, *parts: bytes, size: int = 32) -> bytes:
    return expand(hmac.digest(bytes(32), secret, "sha256"), framed(label, *parts), size)


def verify(public: bytes, signature: bytes, label: str, *parts: bytes) -> None:
    if not any(public) or not sr25519.verify(signature, H(label, *parts), public):
        raise Refused("signature")


def shared_seal(secret: bytes, label: str, plain: bytes, *context: bytes) -> bytes:
    cipher, nonce, bound = _shared(secret, label, context)
    return cipher.encrypt(nonce, plain, bound)


def shared_open(secret: bytes, label: str, sealed: bytes, *context: bytes) -> bytes:
    cipher, nonce, bound = _shared(secret, label, context)
    try:
        return cipher.decrypt(nonce, sealed, bound)
    except (InvalidTag, ValueError):
        raise Refused("seal") from None


def _shared(secret: bytes, label: str, context: tuple[bytes, ...]) -> tuple[AESGCMSIV, bytes, bytes]:
    name, bound = f"keephold/{label}".encode(), framed(label, *context)
    nonce = hmac.digest(derive(secret, "aead-nonce/1", name), bound, "sha256")[:12]
    return AESGCMSIV(derive(secret, "aead-key/1", name)), nonce, bound


def xwing(seed: bytes) -> tuple[MLKEM768PrivateKey, X25519PrivateKey, bytes]:
    """Both private keys of a seed, and the public key."""
    expanded = hashlib.shake_256(seed).digest(96)
    mlkem, x25519 = (
        MLKEM768PrivateKey.from_seed_bytes(expanded[:64]),
        X25519PrivateKey.from_private_bytes(expanded[64:]),
    )
    return mlkem, x25519, mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()


def hpke_open(seed: bytes, sealed: bytes, label: str, *context: bytes) -> bytes:
    """RFC 9180, base mode, one message."""
    if sealed[:1] != b"\x01" or len(sealed) < 1137:
        raise Refused("suite")
    mlkem, x25519, public = xwing(seed)
    first, share = sealed[1:1089], sealed[1089:1121]
    exchanged = x25519.exchange(X25519PublicKey.from_public_bytes(share))
    combined = mlkem.decapsulate(first) + exchanged + share + public[1184:] + bytes.fromhex("5c2e2f2f5e5c")
    secret = hashlib.sha3_256(combined).digest()
    suite = b"HPKE" + bytes.fromhex("647a00010002")

    def extract(salt: bytes, name: bytes, ikm: bytes) -> bytes:
        return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + name + ikm, "sha256")

    def labelled(key: bytes, name: bytes, info: bytes, size: int) -> bytes:
        return expand(key, size.to_bytes(2, "big") + b"HPKE-v1" + suite + name + info, size)

    schedule = b"\x00" + extract(b"", b"psk_id_hash", b"") + extract(b"", b"info_hash", framed(label, *context))
    key = extract(secret, b"secret", b"")
    try:
        cipher = AESGCM(labelled(key, b"key", schedule, 32))
        return cipher.decrypt(labelled(key, b"base_nonce", schedule, 12), sealed[1121:], b"")
    except InvalidTag:
        raise Refused("seal") from None


# --- files.md ---


def keystore_seeds(password: bytes, directory: dict[str, Any], how: dict[str, Any], seeds: str) -> dict[str, str]:
    """What a keystore opens to."""
    stretched = Argon2id(
        salt=bytes.fromhex(how["salt"]),
        length=32,
        iterations=how["iterations"],
        lanes=how["lanes"],
        memory_cost=how["memory_kib"],
    ).derive(password)
    context = json.dumps(directory, sort_keys=True, separators=(",", ":")).encode()
    opened: dict[str, str] = json.loads(shared_open(stretched, "seal-keystore/1", bytes.fromhex(seeds), context))
    return opened


# --- keys.md ---


def contract_root(seed: bytes, network: bytes, contract: bytes, epoch: int) -> bytes:
    return derive(seed, "contract-seed/1", network, contract, n(epoch))


def combine(points: dict[int, bytes], mac_of_pepper: bytes, x: bytes) -> bytes:
    """The seed of an input from partials by seat: Lagrange at 0, then a derivation."""
    order = 2**252 + 27742317777372353535851937790883648493
    total = None
    for seat, point in points.items():
        weight = 1
        for other in points:
            if other != seat:
                weight = weight * other * pow(other - seat, -1, order) % order
        part = rbcl.crypto_scalarmult_ristretto255(weight.to_bytes(32, "little"), point)
        total = part if total is None else rbcl.crypto_core_ristretto255_add(total, part)
    return derive(bytes(total or b"") + mac_of_pepper, "line-seed/1", x)


# --- state.md ---


def map_root(entries: list[tuple[bytes, bytes]]) -> bytes:
    """By the definition: split at the first bit in which two keys differ."""
    if not entries:
        return H("map-node/1")
    if len(entries) == 1:
        return H("map-leaf/1", entries[0][0], H("map-value/1", entries[0][1]))
    keys = [int.from_bytes(key, "big") for key, _ in entries]
    depth = 256 - (min(keys) ^ max(keys)).bit_length()
    sides = [[entry for entry in entries if bit(entry[0], depth) == side] for side in (0, 1)]
    return H("map-node/1", bytes((depth,)), map_root(sides[0]), map_root(sides[1]))


def bit(key: bytes, depth: int) -> int:
    return key[depth // 8] >> (7 - depth % 8) & 1


def map_verify(root: bytes, key: bytes, value: bytes | None, proof: bytes) -> None:
    count = int.from_bytes(proof[:2], "big")
    depths, rest = list(proof[2 : 2 + count]), proof[2 + count :]
    if len(rest) not in (32 * count, 32 * count + 64) or depths != sorted(set(depths)):
        raise Refused("form")
    siblings, other = [rest[at : at + 32] for at in range(0, 32 * count, 32)], rest[32 * count :]
    if value is not None:
        if other:
            raise Refused("proves absence")
        current = H("map-leaf/1", key, H("map-value/1", value))
    elif other:
        if other[:32] == key:
            raise Refused("proves presence")
        current = H("map-leaf/1", other[:32], other[32:])
    elif count:
        raise Refused("no leaf")
    else:
        current = H("map-node/1")
    for depth, sibling in zip(reversed(depths), reversed(siblings), strict=True):
        pair = (sibling, current) if bit(key, depth) else (current, sibling)
        current = H("map-node/1", bytes((depth,)), *pair)
    if current != root:
        raise Refused("another root")


def tree(leaves: list[bytes]) -> bytes:
    """RFC 6962, section 2.1."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + tree(leaves[:split]) + tree(leaves[split:])).digest()


# --- chain.md ---


def protobuf(raw: bytes) -> dict[int, bytes]:
    """Fields of a message: varints as their bytes, messages and strings as their content."""
    fields: dict[int, bytes] = {}
    at = 0
    while at < len(raw):
        tag, start = raw[at], at + 1
        end = start
        while raw[end] & 128:
            end += 1
        end += 1
        if tag & 7 == 2:
            size = sum((byte & 127) << 7 * place for place, byte in enumerate(raw[start:end]))
            start, end = end, end + size
        fields[tag >> 3] = raw[start:end]
        at = end
    return fields


def field(raw: bytes) -> bytes:
    """A message with one bytes field, number 1; nothing for nothing."""
    return b"\x0a" + head_of(len(raw)) + raw if raw else b""


def head_of(size: int) -> bytes:
    return bytes((size,)) if size < 128 else bytes((size & 127 | 128, size >> 7))


def header_hash(raw: bytes) -> bytes:
    """The tree over fourteen leaves: version, chain id, height, time, the block before, eight hashes, the proposer."""
    fields = protobuf(raw)
    leaves = [fields[1], field(fields[2]), b"\x08" + fields[3], fields[4], fields[5]]
    return tree([*leaves, *(field(fields.get(at, b"")) for at in range(6, 15))])
