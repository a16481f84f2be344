"""What a call on the native backend did, and what everybody would see of it on a network.

Sizes are the worker's own formulas, over what the contract handed over; what sealing adds to each is left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from keephold.contract.text import canonical
from keephold.crypto.padding import padded_size
from keephold.protocol.codec import encode
from keephold.protocol.messages import Answer, Asked, CallPlain, EventPlain, MessagePlain, QueryBody, Reply, SignedQuery
from keephold.testing.leaks import SeenCall, SeenQuestion
from keephold.worker.state import slot_size

_NONCE_KEY: Final = "n" * 64
_REPLY_KEY: Final = 32


@dataclass(frozen=True, slots=True)
class Ran:
    """One call and what it did."""

    sender: str
    """Name of the account; of a contract, its address."""
    kind: Literal["call", "message", "reply"]
    method: str
    arguments: bytes
    outcome: Mapping[str, Any]
    writes: Mapping[str, str | None]
    events: tuple[tuple[str, str, str], ...]
    """Name, body and audience, as the contract's code handed them over."""
    asked: Mapping[str, bytes] = field(default_factory=dict)
    """Signing requests by topic, as a worker keeps them."""
    messages: tuple[tuple[str, str, str, str], ...] = ()
    """Target, method, arguments and handler, likewise."""
    fuel: int = 0
    """What it burns in the sandbox; 0 where nobody measures."""


def seen_call(ran: Ran, entry: int, buckets: tuple[int, ...]) -> SeenCall:
    """Return what everybody would see of a call on a network that tells nobody why a contract failed."""
    writes: dict[object, int] = {
        key: 0 if text is None else slot_size(key, text.encode(), buckets) for key, text in ran.writes.items()
    }
    # A worker keeps signing requests apart from the contract's own slots: no name of the one is a name of the other.
    writes |= {("asked", topic): slot_size(topic, request, buckets) for topic, request in ran.asked.items()}
    # Every call that opens writes its sender's next nonce, every message the next number of its source.
    if ran.kind != "reply":
        writes[ran.sender] = slot_size(_NONCE_KEY, bytes(8), buckets)
    size = 0
    if ran.kind == "call":
        size = padded_size(len(encode(CallPlain(ran.method, ran.arguments, bytes(_REPLY_KEY)))), buckets)
    events = [
        padded_size(len(encode(EventPlain(name, body.encode(), entry))), buckets)
        for name, body, audience in ran.events
        for _ in range(_copies(audience))
    ]
    sent = [
        (target, padded_size(len(encode(MessagePlain(method, arguments.encode()))), buckets))
        for target, method, arguments, _ in ran.messages
    ]
    return SeenCall(
        sender=ran.sender,
        size=size,
        receipt=0 if ran.kind == "reply" else padded_size(len(encode(_reply(ran.outcome))), buckets),
        writes=writes,
        events=tuple(events),
        messages=tuple(sent),
        fuel=ran.fuel,
    )


def seen_question(
    method: str, arguments: bytes, outcome: Mapping[str, Any], fuel: int, buckets: tuple[int, ...]
) -> SeenQuestion:
    """Return what a gateway and a worker's host would see of a question, on such a network."""
    some = bytes(32)
    body = QueryBody(
        network=some, contract=some, epoch=1, instance=some, reader=some, method=method, arguments=arguments,
        answer_key=some, min_height=1,
    )  # fmt: skip
    answer = Answer(request=some, version=1, height=1, header_hash=some, epoch=1, reply=_reply(outcome))
    return SeenQuestion(
        size=padded_size(len(encode(Asked(SignedQuery(body, bytes(64))))), buckets),
        answer=padded_size(len(encode(answer)), buckets),
        fuel=fuel,
    )


def _reply(outcome: Mapping[str, Any]) -> Reply:
    match outcome["status"]:
        case "ok":
            return Reply("ok", canonical(outcome["value"]).encode())
        case "rejected":
            return Reply("rejected", code=outcome["code"], detail=outcome["detail"])
        case _:
            return Reply("failed")


def _copies(audience: str) -> int:
    to = json.loads(audience)
    return 1 if to == "public" else len(to)
