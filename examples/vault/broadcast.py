"""From what the vault signed to what a node takes: run by whoever broadcasts, not by the vault."""

from vault import Transaction


def assembled(transaction: Transaction, signatures: tuple[bytes, ...]) -> bytes:
    """Return the raw transaction, from the 64-byte signatures released for its inputs, in their order (BIP-144)."""
    coins, outputs = transaction.coins, transaction.outputs
    witnesses = [
        signature + bytes((coin.hash_type,) if coin.hash_type else ())
        for coin, signature in zip(coins, signatures, strict=True)
    ]
    return b"".join(
        (
            transaction.version.to_bytes(4, "little") + b"\0\1",
            bytes((len(coins),)),
            *(coin.outpoint + b"\0" + coin.sequence.to_bytes(4, "little") for coin in coins),
            bytes((len(outputs),)),
            *(output.raw() for output in outputs),
            *(b"\1" + bytes((len(witness),)) + witness for witness in witnesses),
            transaction.lock_time.to_bytes(4, "little"),
        )
    )
