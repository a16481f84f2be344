"""A safe that answers in riddles: every path on which a contract speaks carries words of its own.

What a path carries is what the caller gave, under a mask of that path: a test that looks for the masked words knows
which path leaked.
"""

from keephold import Call, Contract, Event, Map, Reject, View, call, init, view


def masked(words: bytes, mask: int) -> bytes:
    """Return `words` with every byte flipped by `mask`."""
    return bytes(byte ^ mask for byte in words)


class Told(Event):
    """Words for one recipient."""

    words: bytes


class Safe(Contract):
    """A safe that answers in riddles."""

    kept: Map[str, bytes]

    @init
    def setup(self, ctx: Call, words: bytes) -> None:
        """Keep the first words."""
        self.kept["first"] = masked(words, 0x01)

    @call
    def keep(self, ctx: Call, name: str, words: bytes) -> bytes:
        """Store, emit, log and return."""
        self.kept[name] = masked(words, 0x11)
        ctx.emit(Told(masked(words, 0x12)), to=(ctx.sender,))
        ctx.log(masked(words, 0x13).hex())
        print(masked(words, 0x14).hex())  # noqa: T201 - a careless author does
        return masked(words, 0x15)

    @call
    def refuse(self, ctx: Call, words: bytes) -> None:
        """Refuse, after a write that must not count."""
        self.kept["refused"] = masked(words, 0x21)
        raise Reject("refused", masked(words, 0x22).hex())

    @call
    def fail(self, ctx: Call, words: bytes) -> None:
        """Fail as a buggy contract does."""
        raise ValueError(masked(words, 0x31).hex())

    @call
    def sign(self, ctx: Call, words: bytes) -> bytes:
        """Have words signed, for the caller."""
        ctx.release("words", ctx.key("safe", "secp256k1").derive("words"), masked(words, 0x61))
        return ctx.key("safe", "secp256k1").derive("words").public

    @view
    def tell(self, ctx: View, name: str, words: bytes) -> bytes:
        """Answer from storage."""
        ctx.log(masked(words, 0x41).hex())
        held = self.kept.get(name, b"")
        return masked(words, 0x42) + masked(held, 0x43)

    @view
    def deny(self, ctx: View, words: bytes) -> None:
        """Refuse a question."""
        raise Reject("denied", masked(words, 0x51).hex())
