"""ABCI 2.0's messages, from the descriptor set that ships beside this module, in a descriptor pool of our own.

Other packages bring their `tendermint` protos into the default pool under the same file names. In a pool of their own
ours neither clash with those nor are shadowed by them. The set is CometBFT's, without options (`tools/build_abci.py`).

The classes are made at run time, so a type checker knows nothing of their fields: `Message` is `Any`, and stays inside
this package.
"""

from __future__ import annotations

from importlib import resources
from typing import Any, Final, TypeAlias

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.message import DecodeError

from keephold.base.errors import EncodingError
from keephold.chain.proto import NANOSECONDS
from keephold.ledger.engines.statesync import Offered, Taken

Message: TypeAlias = Any
"""An instance of one of the classes below."""

ABCI_VERSION: Final = "2.0.0"
"""What v0.38, v0.39 and v0.40 of CometBFT speak. v1 speaks 2.1.0, in another protobuf package."""

NEW: Final = 0
RECHECK: Final = 1
"""`CheckTxType`."""

ACCEPT: Final = 1
REJECT: Final = 2
"""Of a proposal, and of a vote extension. An unset status is 0, over which CometBFT panics."""

OFFERED: Final = {Offered.ACCEPT: 1, Offered.ABORT: 2, Offered.REJECT: 3, Offered.REJECT_FORMAT: 4}
"""`ResponseOfferSnapshot.Result`."""

TAKEN: Final = {Taken.ACCEPT: 1, Taken.ABORT: 2, Taken.REFETCH: 3, Taken.REJECT_SNAPSHOT: 5}
"""`ResponseApplySnapshotChunk.Result`; REFETCH is its RETRY, which needs the chunk and its sender to be named."""

OFFENCES: Final = {1: "duplicate_vote", 2: "light_client_attack"}
"""`MisbehaviorType`."""


def _pool() -> descriptor_pool.DescriptorPool:
    packed = resources.files(__package__).joinpath("abci.binpb").read_bytes()
    pool = descriptor_pool.DescriptorPool()
    for file in FileDescriptorSet.FromString(packed).file:
        pool.AddSerializedFile(file.SerializeToString())
    return pool


_POOL: Final = _pool()


def _message(name: str) -> Message:
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"tendermint.abci.{name}"))


Request: Final = _message("Request")
Response: Final = _message("Response")


def parse(kind: Message, encoded: bytes) -> Message:
    """Return a `Request` or `Response` that selects a member.

    Raises:
        EncodingError: not protobuf, or nothing selected that this version knows.
    """
    try:
        message = kind.FromString(encoded)
    except DecodeError as error:
        raise EncodingError(f"abci: {error}") from error
    if message.WhichOneof("value") is None:
        raise EncodingError("abci: a message of no known kind")
    return message


def answer(kind: str, **fields: object) -> Message:
    """Return the response of a kind. It is selected even without fields, or CometBFT would not recognise it."""
    response = Response()
    getattr(response, kind).SetInParent()
    for name, value in fields.items():
        setattr(getattr(response, kind), name, value)
    return response


def time_ns(timestamp: Message) -> int:
    """Return a `Timestamp` in nanoseconds since the Unix epoch."""
    return int(timestamp.seconds) * NANOSECONDS + int(timestamp.nanos)
