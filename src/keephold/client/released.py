"""Signatures that a contract released to an account: asked for as any question is, checked before they are returned.

A contract asks for a signature during a call; it is made once the ledger accepted that call, for whoever the contract
named (`worker.releasing`). That the public key is the contract's is its word: compare it with the one that you know,
an address that you paid to, say, or that the contract's own view tells.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, cast

from keephold.base.errors import AbiError
from keephold.client.abi import Method, Parameter
from keephold.contract.keys import SCHEMES, Scheme
from keephold.protocol.messages import KeyName
from keephold.sealing.owned_keys import verify_owned

_TEXT: Final = {"type": "string"}
_HEX: Final = {"type": "string", "format": "hex"}

NOT_RELEASED: Final = "not_released"
"""Code of the rejection: there is no such signature, or none for this reader."""

RELEASED: Final = Method(
    name="$released",
    kind="view",
    doc="Return the signature under a topic.",
    parameters=(Parameter("topic", {"type": "string"}),),
    returns={
        "type": "object",
        "properties": {
            "scheme": {"type": "string", "enum": [*SCHEMES]},
            "label": {**_TEXT},
            "path": {"type": "array", "items": {**_TEXT}},
            "public": {**_HEX},
            "message": {**_HEX},
            "signature": {**_HEX},
        },
        "required": ["scheme", "label", "path", "public", "message", "signature"],
    },
    rejects=(NOT_RELEASED,),
    public=False,
)
"""The view that every contract has."""


@dataclass(frozen=True, slots=True)
class Released:
    """A signature that a contract released; checked."""

    topic: str
    """Under which the contract keeps it."""
    scheme: Scheme
    label: str
    """Of the key, in the contract."""
    path: tuple[str, ...]
    """Of the key, behind the label."""
    public: bytes
    """The key: see `keephold.contract.keys.Scheme` for sizes."""
    message: bytes
    """What was signed."""
    signature: bytes


def released_of(topic: str, value: Any) -> Released:
    """Return a signature whose public key verifies it.

    Raises:
        AbiError: no key of that name can be.
        BadKey, BadSignature: the worker gave something else than a signature.
    """
    told = cast("dict[str, Any]", value)
    try:
        name = KeyName(told["scheme"], told["label"], told["path"])
    except (TypeError, ValueError) as error:
        raise AbiError("a key without a name") from error
    verify_owned(name, told["public"], told["signature"], told["message"])
    return Released(topic, name.scheme, name.label, name.path, told["public"], told["message"], told["signature"])
