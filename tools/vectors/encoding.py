"""Records, padding, addresses, and the primitives."""

from __future__ import annotations

from typing import Any, Final

from keephold.base.errors import InputError
from keephold.contract.address import Address
from keephold.crypto import labels, signing
from keephold.crypto.hashing import framed, tagged_hash, tagged_hash_512
from keephold.crypto.kdf import derive, mac
from keephold.crypto.labels import Label
from keephold.crypto.padding import pad, unpad
from keephold.crypto.secret import SecretBytes
from keephold.crypto.signing import SigningKey
from keephold.protocol import governance, messages, transactions, wire
from keephold.protocol.codec import decode, encode
from vectors.base import Family, Given, Maker, fixed, octets, secret, shown

KINDS: Final = {
    "ValidatorEntry": governance.ValidatorEntry,
    "Echo": transactions.Echo,
    "Reply": messages.Reply,
    "SlotPlain": messages.SlotPlain,
    "Verdicts": wire.Verdicts,
}
LABELS: Final = {label.name: label for label in vars(labels).values() if isinstance(label, Label)}


def _decode(given: Given) -> dict[str, Any]:
    return {"value": shown(decode(octets(given, "raw"), KINDS[given["kind"]]))}


def _make_codec(maker: Maker) -> None:
    item = encode(governance.ValidatorEntry(fixed("validator"), 24))
    reply = encode(messages.Reply("ok"))
    full = encode(messages.Reply("rejected", code="no_units", detail="zwölf"))
    verdicts = encode(wire.Verdicts((wire.Verdict(), wire.Verdict(4, "nonce 7", 2**40))))
    public = b"\x58\x20" + fixed("validator")
    name = b"\x6apublic_key"
    good = {
        "two fields, the shorter name first": ("ValidatorEntry", item),
        "a field that has its default is left out": ("Reply", reply),
        "text is UTF-8": ("Reply", full),
        "a tagged record": ("Echo", encode(transactions.Echo(fixed("nonce")))),
        "records in an array; an empty one": ("Verdicts", verdicts),
    }
    for text, (kind, raw) in good.items():
        maker.add(text, "decode", {"kind": kind, "raw": raw.hex()})
    bad = {
        "names in another order": ("ValidatorEntry", b"\xa2" + name + public + b"\x65power\x18\x18"),
        "an integer that is not the shortest": ("ValidatorEntry", b"\xa2\x65power\x19\x00\x18" + name + public),
        "a length that is not the shortest": ("ValidatorEntry", b"\xb8\x02" + item[1:]),
        "a map of indefinite length": ("ValidatorEntry", b"\xbf" + item[1:] + b"\xff"),
        "a name twice": ("ValidatorEntry", b"\xa3" + item[1:] + name + public),
        "a byte behind": ("ValidatorEntry", item + b"\x00"),
        "a byte too few": ("ValidatorEntry", item[:-1]),
        "nothing": ("ValidatorEntry", b""),
        "a field too few": ("ValidatorEntry", b"\xa1\x65power\x18\x18"),
        "an unknown field": ("ValidatorEntry", b"\xa3\x61x\x00" + item[1:]),
        "null": ("ValidatorEntry", b"\xa2\x65power\xf6" + name + public),
        "a float": ("ValidatorEntry", b"\xa2\x65power\xf9\x4e\x00" + name + public),
        "a date": ("ValidatorEntry", b"\xa2\x65power\xc1\x18\x18" + name + public),
        "a bignum where an integer does": ("ValidatorEntry", b"\xa2\x65power\xc2\x41\x18" + name + public),
        "an integer out of range": ("ValidatorEntry", b"\xa2\x65power\x00" + name + public),
        "bytes of another size": ("ValidatorEntry", b"\xa2\x65power\x18\x18" + name + b"\x41\x00"),
        "text where bytes belong": ("ValidatorEntry", b"\xa2\x65power\x18\x18" + name + b"\x61x"),
        "a default that is spelled out": ("Reply", b"\xa2\x65value\x40\x67outcome\x62ok"),
        "a word that is not in the list": ("Reply", b"\xa1\x67outcome\x63yes"),
        "text that is not UTF-8": ("SlotPlain", b"\xa2\x63key\x61\xff\x65value\x40"),
        "another tag": ("Echo", b"\xa2\x64type\x65other\x65nonce\x58\x20" + fixed("nonce")),
        "no tag": ("Echo", b"\xa1\x65nonce\x58\x20" + fixed("nonce")),
        "nested too deeply": ("Verdicts", b"\xa1\x68verdicts" + b"\x81" * 20 + b"\x00"),
    }
    for text, (kind, raw) in bad.items():
        maker.add(text, "decode", {"kind": kind, "raw": raw.hex()}, "encoding")


def _make_padding(maker: Maker) -> None:
    for text, plain, buckets in (
        ("empty", b"", [8, 16]),
        ("exactly full", b"four", [8, 16]),
        ("one more", b"fives", [8, 16]),
        ("beyond the last", bytes(range(13)), [8, 16]),
    ):
        out = maker.add(f"pad: {text}", "pad", {"plaintext": plain.hex(), "buckets": buckets})
        maker.add(f"unpad: {text}", "unpad", out)
    maker.add("pad: sizes that descend", "pad", {"plaintext": "", "buckets": [16, 8]}, "configuration")
    for text, raw in (
        ("a fill that is not zero", "0000000361626301"),
        ("shorter than it says", "00000005666f7572"),
        ("half a prefix", "0000"),
    ):
        maker.add(f"unpad: {text}", "unpad", {"padded": raw}, "encoding")


def _spell(given: Given) -> dict[str, Any]:
    return {"text": Address(octets(given, "bytes"), given["kind"]).text}


def _parse(given: Given) -> dict[str, Any]:
    try:
        address = Address.parse(given["text"])
    except ValueError as error:
        raise InputError(str(error)) from error
    return {"kind": address.kind, "bytes": address.value.hex()}


def _make_addresses(maker: Maker) -> None:
    for kind in ("account", "contract"):
        text = maker.add(kind, "spell", {"kind": kind, "bytes": fixed(kind).hex()})["text"]
        maker.add(f"{kind}, parsed", "parse", {"text": text})
    text = Address.account(fixed("account")).text
    for name, bad in (
        ("a character changed", text[:-1] + ("q" if text[-1] != "q" else "p")),
        ("upper case", text.upper()),
        ("another prefix", "khc" + text[2:]),
        ("a character too few", text[:-1]),
        ("a character outside the alphabet", text[:9] + "b" + text[10:]),
        ("bech32, not bech32m", "kh1" + "q" * 52 + "pzgesr"),
    ):
        maker.add(name, "parse", {"text": bad}, "input")


def _bound(given: Given) -> tuple[Any, ...]:
    return LABELS[given["label"]], *(bytes.fromhex(part) for part in given["parts"])


def _derive(given: Given) -> dict[str, Any]:
    return {"derived": derive(SecretBytes(octets(given, "secret")), *_bound(given), size=given["size"]).reveal().hex()}


def _verify(given: Given) -> dict[str, Any]:
    signing.verify(octets(given, "public"), octets(given, "signature"), *_bound(given))
    return {}


def _make_primitives(maker: Maker) -> None:
    for parts in ([], [""], ["6162", "63"], ["61", "6263"]):
        given = {"label": "inbox/1", "parts": parts}
        text = ", ".join(parts) or "none"
        for function in ("framed", "tagged_hash", "tagged_hash_512"):
            maker.add(f"{function}: parts {text}; {len(parts)}", function, given)
        maker.add(f"mac: parts {text}; {len(parts)}", "mac", {"secret": fixed("secret").hex(), **given})
        maker.add(
            f"derive: parts {text}; {len(parts)}", "derive", {"secret": fixed("secret").hex(), **given, "size": 32}
        )
    maker.add(
        "derive: 64 bytes", "derive", {"secret": fixed("secret").hex(), "label": "inbox/1", "parts": [], "size": 64}
    )
    key = SigningKey(secret("signer"))
    bound = {"public": key.public.hex(), "label": "sign-transaction/1", "parts": ["6162", "63"]}

    def signed() -> Given:
        return {**bound, "signature": key.sign(LABELS["sign-transaction/1"], b"ab", b"c").hex()}

    good = maker.kept("a signature", "signature", "verify", signed)
    maker.add("a signature", "verify", good)
    for text, change in (
        ("under another label", {"label": "sign-query/1"}),
        ("over the same bytes, cut elsewhere", {"parts": ["61", "6263"]}),
        ("by another key", {"public": SigningKey(secret("another")).public.hex()}),
    ):
        maker.add(f"a signature {text}", "verify", {**good, **change}, "bad_signature")
    maker.add("a signature by the identity", "verify", {**good, "public": "00" * 32}, "bad_key")


CODEC: Final = Family("codec", "Records: one spelling each. `value` is the record.", {"decode": _decode}, _make_codec)
PADDING: Final = Family(
    "padding",
    "Plaintexts before they are sealed.",
    {
        "pad": lambda given: {"padded": pad(octets(given, "plaintext"), given["buckets"]).hex()},
        "unpad": lambda given: {"plaintext": unpad(octets(given, "padded")).hex()},
    },
    _make_padding,
)
ADDRESSES: Final = Family("addresses", "bech32m addresses.", {"spell": _spell, "parse": _parse}, _make_addresses)
PRIMITIVES: Final = Family(
    "primitives",
    "Framing, hashes, derivation, message authentication, sr25519 signatures. Labels without `keephold/`.",
    {
        "framed": lambda given: {"bytes": framed(*_bound(given)).hex()},
        "tagged_hash": lambda given: {"hash": tagged_hash(*_bound(given)).hex()},
        "tagged_hash_512": lambda given: {"hash": tagged_hash_512(*_bound(given)).hex()},
        "derive": _derive,
        "mac": lambda given: {"mac": mac(SecretBytes(octets(given, "secret")), *_bound(given)).hex()},
        "verify": _verify,
    },
    _make_primitives,
)
