"""One value, one spelling, one reader: canonical CBOR (RFC 8949 §4.2.1) for all that is signed, hashed or stored.

`decode` accepts exactly the bytes that `encode` makes and raises `EncodingError` for all others. Three steps, because
no single one suffices:

1. Parse with every tag refused *before* it is built: cbor2 would otherwise construct dates, decimals, compiled regular
   expressions and cyclic lists from attacker's bytes.
2. Allow only text, bytes, booleans, bounded integers, lists and text-keyed maps: null, floats and sets would survive
   the comparison of step 3.
3. Convert to the record, encode *the record* again and compare: a non-minimal integer, another key order, an explicit
   default or trailing bytes are second spellings.
"""

from __future__ import annotations

from typing import Final, NoReturn, TypeVar, dataclass_transform

import cbor2
import msgspec

from keephold.base.errors import EncodingError
from keephold.base.limits import MAX_DEPTH, MAX_INTEGER, MAX_STREAM_FRAME


@dataclass_transform(frozen_default=True, field_specifiers=(msgspec.field,))
class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Base of every wire record. Frozen; unknown fields refused; a default is spelled by leaving it out.

    Fields hold text, bytes, booleans, integers, tuples, other records, and unions of tagged records. No sets and no
    floats: they have no canonical spelling. No `None`: absent is the default.
    """


T = TypeVar("T", bound=Record)

BUILT_IN_TAGS: Final = (
    0, 1, 2, 3, 4, 5, 25, 28, 29, 30, 35, 36, 37, 52, 54, 100, 256, 258, 260, 261, 1004, 43000, 55799,
)  # fmt: skip
"""Every tag that cbor2 gives a meaning; a test asks cbor2 itself whether the list is complete."""

_BIGNUM_TAGS: Final = (2, 3)


def _refuse_tag(*_: object) -> NoReturn:
    raise EncodingError("a CBOR tag other than a bignum")


_DECODERS: Final = dict.fromkeys((tag for tag in BUILT_IN_TAGS if tag not in _BIGNUM_TAGS), _refuse_tag)


def _is_plain(value: object) -> bool:
    kind = type(value)
    if kind is bytes or kind is str or kind is bool:
        return True
    if isinstance(value, int):
        return kind is int and -MAX_INTEGER < value < MAX_INTEGER
    if isinstance(value, dict):
        for key, item in value.items():  # noqa: SIM110 - a generator takes twice as long, on every value of every call
            if type(key) is not str or not _is_plain(item):
                return False
        return True
    return isinstance(value, list) and all(map(_is_plain, value))


def encode(record: Record) -> bytes:
    """Return the record's one spelling."""
    return cbor2.dumps(msgspec.to_builtins(record, builtin_types=(bytes,)), canonical=True)


def decode(raw: bytes, kind: type[T], *, limit: int = MAX_STREAM_FRAME) -> T:
    """Return the record of type `kind` (or a union of records) that `raw` spells.

    Raises:
        EncodingError: `raw` is longer than `limit` bytes or is not the canonical spelling of such a record.
    """
    if len(raw) > limit:
        raise EncodingError(f"{len(raw)} bytes where {limit} are allowed")
    try:
        value = cbor2.loads(
            raw,
            max_depth=MAX_DEPTH,
            allow_indefinite=False,
            allow_duplicate_keys=False,
            tag_hook=_refuse_tag,
            semantic_decoders=_DECODERS,
        )
        if not _is_plain(value):
            raise EncodingError("a type that records do not hold")
        record = msgspec.convert(value, kind, builtin_types=(bytes,))
    except (cbor2.CBORDecodeError, ValueError, RecursionError) as error:
        raise EncodingError(f"not a {getattr(kind, '__name__', 'record')}: {error}") from error
    if encode(record) != raw:
        raise EncodingError("not the canonical spelling")
    return record
