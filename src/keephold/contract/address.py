"""Addresses: 32 bytes with a checksummed spelling that says what they name.

`kh1…` is an account (an sr25519 public key), `khc1…` a contract (its id). The spelling is bech32m (BIP-350), lower case
only, so each address has exactly one text and texts compare as addresses do. An `Address` therefore *is* its text; the
bytes are computed when asked for, which keeps addresses cheap inside the sandbox, where they are mostly storage keys.
"""

from __future__ import annotations

from typing import Final, Literal, NoReturn, Self, final

Kind = Literal["account", "contract"]

_PREFIXES: Final[dict[Kind, str]] = {"account": "kh", "contract": "khc"}
_KINDS: Final[dict[str, Kind]] = {"kh": "account", "khc": "contract"}
_CHARSET: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_BECH32M: Final = 0x2BC830A3
"""The constant that the checksum of every valid string leaves (BIP-350)."""

_GENERATORS: Final = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_STEP: Final = tuple(
    _GENERATORS[0] * (top & 1)
    ^ _GENERATORS[1] * (top >> 1 & 1)
    ^ _GENERATORS[2] * (top >> 2 & 1)
    ^ _GENERATORS[3] * (top >> 3 & 1)
    ^ _GENERATORS[4] * (top >> 4 & 1)
    for top in range(32)
)
_VALUES: Final = bytes(_CHARSET.find(chr(byte)) & 0xFF for byte in range(256))
"""Character to five bits, 255 where the character is not in the alphabet."""

_TO_DIGITS: Final = str.maketrans(_CHARSET, "0123456789abcdefghijklmnopqrstuv")
_SIZE: Final = 32
_DATA: Final = 52
"""Characters that 256 bits need; the last carries four bits of padding, which must be zero."""

_CHECKSUM: Final = 6


def _polymod(values: bytes, state: int = 1) -> int:
    for value in values:
        state = (state & 0x1FFFFFF) << 5 ^ value ^ _STEP[state >> 25]
    return state


_SEEDS: Final = {
    prefix: _polymod(bytes([ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix])) for prefix in _KINDS
}
"""State of the checksum after each human-readable part."""


@final
class Address:
    """An account or a contract. Immutable, hashable, ordered by text.

    Raises:
        ValueError: `value` is not 32 bytes.
    """

    __slots__ = ("text",)

    text: str
    """The one spelling, e.g. `kh1…`; 61 characters for an account, 62 for a contract."""

    def __init__(self, value: bytes, kind: Kind = "account") -> None:
        if len(value) != _SIZE:
            raise ValueError(f"an address is {_SIZE} bytes, not {len(value)}")
        number = int.from_bytes(value, "big") << 4
        data = bytes(number >> 5 * place & 31 for place in reversed(range(_DATA)))
        prefix = _PREFIXES[kind]
        check = _polymod(bytes(_CHECKSUM), _polymod(data, _SEEDS[prefix])) ^ _BECH32M
        data += bytes(check >> 5 * place & 31 for place in reversed(range(_CHECKSUM)))
        object.__setattr__(self, "text", f"{prefix}1{''.join(_CHARSET[five] for five in data)}")

    @classmethod
    def account(cls, value: bytes) -> Self:
        """Return the address of the account with this 32-byte public key."""
        return cls(value, "account")

    @classmethod
    def contract(cls, value: bytes) -> Self:
        """Return the address of the contract with this 32-byte id."""
        return cls(value, "contract")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the address that `text` spells.

        Raises:
            ValueError: prefix, alphabet, length, padding or checksum is wrong.
        """
        prefix, _, rest = text.partition("1")
        seed = _SEEDS.get(prefix)
        if seed is None:
            raise ValueError("an address starts with kh1 (account) or khc1 (contract)")
        if len(rest) != _DATA + _CHECKSUM or not rest.isascii():
            raise ValueError(f"an address has {_DATA + _CHECKSUM} characters after its prefix")
        values = rest.encode().translate(_VALUES)
        if max(values) > 31:
            raise ValueError("an address holds a character outside the bech32 alphabet")
        if _polymod(values, seed) != _BECH32M:
            raise ValueError("the checksum of the address is wrong: a character was changed")
        if values[_DATA - 1] & 0x0F:
            raise ValueError("the padding of the address is not zero")
        return cls.trusted(text)

    @classmethod
    def trusted(cls, text: str) -> Self:
        """Return the address of a text that `parse` accepted before: from the host's own state, never from outside."""
        address = cls.__new__(cls)
        object.__setattr__(address, "text", text)
        return address

    @property
    def kind(self) -> Kind:
        """Return `account` or `contract`."""
        return _KINDS[self.text.partition("1")[0]]

    @property
    def value(self) -> bytes:
        """Return the 32 bytes."""
        data = self.text.partition("1")[2][:_DATA]
        return (int(data.translate(_TO_DIGITS), 32) >> 4).to_bytes(_SIZE, "big")

    def __bytes__(self) -> bytes:
        return self.value

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"Address({self.text})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Address) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __lt__(self, other: Address) -> bool:
        return self.text < other.text

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("addresses are immutable")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("addresses are immutable")

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Address.parse, (self.text,)
