"""PSBTs, and another implementation's word on them, for the tests: `btclib`, with its own interpreter of scripts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from btclib.script.script_pub_key import ScriptPubKey
from btclib.tx import OutPoint, Tx, TxIn, TxOut
from btclib_wallet.psbt import Psbt, PsbtIn, extract_tx, finalize, taproot_sig_hash


class Spent(NamedTuple):
    """An output of an earlier transaction, as a PSBT claims it."""

    script: bytes
    sats: int
    txid: bytes = b"\x11" * 32
    number: int = 0
    sequence: int = 0xFFFFFFFD
    hash_type: int | None = None


def psbt(spent: Sequence[Spent], paid: Sequence[tuple[bytes, int]], *, version: int = 2, lock_time: int = 0) -> bytes:
    """Return a PSBT of version 0: what is spent, and which scripts are paid how much."""
    inputs = [TxIn(OutPoint(coin.txid, coin.number), b"", coin.sequence) for coin in spent]
    outputs = [TxOut(sats, ScriptPubKey(script)) for script, sats in paid]
    claims = [
        PsbtIn(witness_utxo=TxOut(coin.sats, ScriptPubKey(coin.script)), sig_hash_type=coin.hash_type) for coin in spent
    ]
    return Psbt.from_tx(Tx(version, lock_time, inputs, outputs), claims).serialize()


def digests(raw: bytes) -> tuple[bytes, ...]:
    """Return what is signed for each input of a PSBT (BIP-341)."""
    parsed = Psbt.parse(raw)
    return tuple(taproot_sig_hash(parsed, at) for at in range(len(parsed.inputs)))


def extracted(raw: bytes, signatures: Sequence[bytes]) -> bytes:
    """Return the raw transaction of a PSBT with these 64-byte signatures, after its scripts ran.

    Raises:
        BTClibValueError: a signature is not one of the key that its input pays to, over the transaction.
    """
    parsed = Psbt.parse(raw)
    for claim, signature in zip(parsed.inputs, signatures, strict=True):
        kind = bytes((claim.sig_hash_type,)) if claim.sig_hash_type else b""
        claim.taproot_key_spend_signature = signature + kind
    return extract_tx(finalize(parsed), max_fee_rate=None).serialize(include_witness=True)
