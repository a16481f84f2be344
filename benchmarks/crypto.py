"""The building blocks, each alone on one core: what a call, a block and a release are made of."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from measure import Figure, Result, interleaved, median

from keephold.base.ids import ContractId, NetworkId, TransactionId
from keephold.chain.sparse import SparseMap
from keephold.crypto import hpke, ristretto, signing
from keephold.crypto.ed25519 import ValidatorKey, verify
from keephold.crypto.hashing import tagged_hash
from keephold.crypto.kdf import derive
from keephold.crypto.labels import KEY_TAG, SEAL_CALL, SIGN_QUERY
from keephold.crypto.secret import SecretBytes
from keephold.crypto.sharing.hash_to_group import hash_to_group
from keephold.protocol.messages import CallPlain, Reply
from keephold.protocol.transactions import Call, open_signed, sign
from keephold.sealing.call import CallContext, open_call, seal_call
from keephold.sealing.contract_keys import ContractKeys
from keephold.sealing.receipt import open_receipt, seal_receipt
from keephold.sealing.slot import SlotContext

NETWORK, CONTRACT = NetworkId(bytes(32)), ContractId(b"c" * 32)
CALL_ID = TransactionId(b"t" * 32)
BUCKETS = (256, 1024, 4096)
BATCH = 16
"""Runs that are timed together."""


def primitives() -> dict[str, Callable[[], object]]:
    secret, message = SecretBytes(b"s" * 32), bytes(256)
    key, validator = signing.SigningKey(secret), ValidatorKey(secret)
    signature, vote = key.sign(SIGN_QUERY, message), validator.sign(message)
    box = hpke.EncryptionKey(secret)
    sealed = hpke.seal(box.public, message, SEAL_CALL)
    element, scalar = hash_to_group(message), ristretto.secret_scalar(SecretBytes(bytes(64)))
    return {
        "tagged hash, 256 bytes": lambda: tagged_hash(SIGN_QUERY, message),
        "key derivation": lambda: derive(secret, KEY_TAG, message),
        "sr25519 sign": lambda: key.sign(SIGN_QUERY, message),
        "sr25519 verify": lambda: signing.verify(key.public, signature, SIGN_QUERY, message),
        "ed25519 verify (a validator's vote)": lambda: verify(validator.public, vote, message),
        "HPKE X-Wing seal": lambda: hpke.seal(box.public, message, SEAL_CALL),
        "HPKE X-Wing open": lambda: box.open(sealed, SEAL_CALL),
        "hash to ristretto255": lambda: hash_to_group(message),
        "ristretto255 multiplication": lambda: ristretto.multiply(element, scalar),
    }


def envelopes() -> dict[str, Callable[[], object]]:
    keys = ContractKeys(SecretBytes(b"k" * 32), NETWORK, CONTRACT, 1)
    caller, reply_key = signing.SigningKey(SecretBytes(b"a" * 32)), SecretBytes(b"r" * 32)
    context = CallContext(NETWORK, CONTRACT, 1, caller.public, 0)
    plain = CallPlain("transfer", b'{"amount":1,"to":"' + b"a" * 64 + b'"}', reply_key.reveal())
    sealed = seal_call(keys.encryption.public, context, plain, BUCKETS)
    raw = sign(NETWORK, caller, 0, Call(CONTRACT, 1, sealed))
    reply = Reply("ok", b"null")
    receipt = seal_receipt(keys, reply_key, CALL_ID, reply, BUCKETS)
    slot_context = SlotContext(1, keys_root(), bytes(32), bytes(32)).digest()  # type: ignore[arg-type]  # any bytes do
    tag, slot = keys.slots.seal("balances/alice", b"1000", slot_context, BUCKETS)
    slots = SparseMap.of((hashlib.sha256(b"%d" % at).digest(), bytes(300)) for at in range(10_000))
    touched = [(hashlib.sha256(b"%d" % at).digest(), bytes(301)) for at in range(100)]
    return {
        "seal a call": lambda: seal_call(keys.encryption.public, context, plain, BUCKETS),
        "sign and encode a call": lambda: sign(NETWORK, caller, 0, Call(CONTRACT, 1, sealed)),
        "decode and verify a call": lambda: open_signed(raw, NETWORK),
        "open a call": lambda: open_call(keys, context, sealed),
        "seal a receipt": lambda: seal_receipt(keys, reply_key, CALL_ID, reply, BUCKETS),
        "open a receipt": lambda: open_receipt(reply_key, NETWORK, CONTRACT, 1, CALL_ID, receipt),
        "seal a slot": lambda: keys.slots.seal("balances/alice", b"1000", slot_context, BUCKETS),
        "open a slot": lambda: keys.slots.open(tag, slot),
        "write 100 of 10 000 slots into the map": lambda: slots.update(touched).root,
    }


def keys_root() -> bytes:
    return SparseMap.empty().root


def run(seconds: float) -> Result:
    """Time each block; a tenth of the time of a load is plenty."""
    share = max(1.0, seconds / 10)
    spent = {
        name: interleaved({name: work}, share / 4, BATCH)[name] for name, work in (primitives() | envelopes()).items()
    }
    figures = tuple(Figure(name, median(values) * 1e6, "µs") for name, values in spent.items())
    return Result("crypto", "building blocks on one core, medians", figures)
