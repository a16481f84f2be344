"""Every envelope: sealed to what it is bound to, opened there, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from msgspec.structs import replace

from keephold.base.ids import (
    ContractId,
    HeaderHash,
    InstanceId,
    NetworkId,
    PublicKey,
    SlotTag,
    StateRoot,
    TransactionId,
)
from keephold.crypto.bearer import BearerKey
from keephold.crypto.hpke import EncryptionKey
from keephold.crypto.secret import SecretBytes
from keephold.crypto.signing import SigningKey
from keephold.protocol.codec import decode, encode
from keephold.protocol.custody import PartialBatch
from keephold.protocol.marks import Mark
from keephold.protocol.messages import Answer, CallPlain, EventPlain, QueryBody, ReleasePlain, Reply
from keephold.protocol.permits import Permit, permit_hash
from keephold.protocol.transactions import SealedEvent
from keephold.sealing.call import CallContext, open_call, seal_call
from keephold.sealing.event import EventSealer, open_event, public_event_key
from keephold.sealing.query import (
    issue_permit,
    open_answer,
    open_query,
    request_digest,
    seal_answer,
    seal_query,
    sign_permitted,
    sign_query,
    verify_query,
)
from keephold.sealing.receipt import open_receipt, seal_receipt, unreadable_receipt
from keephold.sealing.release import ReleaseContext, open_partials, seal_partials
from keephold.sealing.slot import MigrationContext, SlotContext
from vectors.base import ACCEPT, Family, Given, Maker, fixed, octets, secret, shown
from vectors.keys import BOUND, CONTRACT, NETWORK, contract_keys

BUCKETS: Final = [256, 1024]
BROKEN: Final = "seal_broken"
_FORGED: Final = "bad_signature"


def _context(given: Given) -> CallContext:
    keys = contract_keys(given)
    return CallContext(keys.network, keys.contract, keys.epoch, PublicKey(octets(given, "sender")), given["nonce"])


def _open_call(given: Given) -> dict[str, Any]:
    return {"call": shown(open_call(contract_keys(given), _context(given), octets(given, "sealed")))}


def _make_calls(maker: Maker) -> None:
    keys = contract_keys(BOUND)
    about = {**BOUND, "sender": fixed("alice").hex(), "nonce": 7}
    plain = CallPlain("transfer", b'["kh1...",5]', fixed("reply key"))

    def sealed() -> Given:
        raw = seal_call(keys.encryption.public, _context(about), plain, tuple(BUCKETS))
        return {**about, "sealed": raw.hex()}

    good = maker.kept("a call", "sealed", "open_call", sealed)
    maker.add("a call", "open_call", good)
    _refuse(maker, "a call", "open_call", good, "sealed", {"sender": fixed("mallory").hex(), "nonce": 8})


def _refuse(maker: Maker, name: str, function: str, good: Given, sealed: str, others: Given) -> None:
    """Add the same in another place, altered, and cut."""
    places: dict[str, Any] = {
        "network": fixed("elsewhere").hex(),
        "contract": fixed("other").hex(),
        "epoch": 4,
        **others,
    }
    for field, value in places.items():
        if field in good:
            maker.add(f"{name}, with another {field}", function, {**good, field: value}, BROKEN)
    raw = bytes.fromhex(good[sealed])
    altered = raw[:-1] + bytes((raw[-1] ^ 1,))
    maker.add(f"{name}, altered", function, {**good, sealed: altered.hex()}, BROKEN)
    maker.add(f"{name}, cut", function, {**good, sealed: raw[:-1].hex()}, BROKEN)


def _seal_receipt(given: Given) -> dict[str, Any]:
    reply = decode(octets(given, "reply"), Reply)
    key, call = SecretBytes(octets(given, "reply_key")), TransactionId(octets(given, "call"))
    return {"receipt": seal_receipt(contract_keys(given), key, call, reply, tuple(given["buckets"])).hex()}


def _open_receipt(given: Given) -> dict[str, Any]:
    reply = open_receipt(
        SecretBytes(octets(given, "reply_key")),
        NetworkId(octets(given, "network")),
        ContractId(octets(given, "contract")),
        given["epoch"],
        TransactionId(octets(given, "call")),
        octets(given, "receipt"),
    )
    return {"reply": shown(reply)}


def _unreadable(given: Given) -> dict[str, Any]:
    call = TransactionId(octets(given, "call"))
    return {"receipt": unreadable_receipt(contract_keys(given), call, tuple(given["buckets"])).hex()}


def _make_receipts(maker: Maker) -> None:
    about = {**BOUND, "reply_key": fixed("reply key").hex(), "call": fixed("call").hex(), "buckets": BUCKETS}
    for reply in (Reply("ok", b"5"), Reply("rejected", code="insufficient_balance"), Reply("failed")):
        given = {**about, "reply": encode(reply).hex()}
        sealed = maker.add(f"receipt: {reply.outcome}", "seal_receipt", given)
        opened = {name: value for name, value in about.items() if name not in ("seed", "buckets")} | sealed
        maker.add(f"receipt: {reply.outcome}, opened", "open_receipt", opened)
    _refuse(
        maker, "a receipt", "open_receipt", opened, "receipt", {"call": fixed("x").hex(), "reply_key": fixed("x").hex()}
    )
    given = {name: value for name, value in about.items() if name != "reply_key"}
    filler = maker.add("receipt: of an entry that did not open", "unreadable_receipt", given)
    maker.add("filler is no receipt", "open_receipt", {**opened, **filler}, BROKEN)


def _open_query(given: Given) -> dict[str, Any]:
    sealed = octets(given, "sealed")
    return {"body": shown(verify_query(open_query(contract_keys(given), sealed)))}


def _make_queries(maker: Maker) -> None:
    reader = SigningKey(secret("reader"))
    body = QueryBody(
        network=NETWORK,
        contract=CONTRACT,
        epoch=3,
        instance=fixed("instance"),
        reader=reader.public,
        method="balance",
        arguments=b"[]",
        answer_key=fixed("answer key"),
        min_height=41,
    )
    public = contract_keys(BOUND).encryption.public

    def sealed(key: SigningKey) -> Given:
        return {**BOUND, "sealed": seal_query(public, sign_query(key, body), tuple(BUCKETS)).hex()}

    good = maker.kept("a query", "sealed", "open_query", lambda: sealed(reader))
    maker.add("a query", "open_query", good)
    _refuse(maker, "a query", "open_query", good, "sealed", {})
    name = "a query that its reader did not sign"
    other = SigningKey(secret("another"))
    forged = maker.kept(name, "sealed", "open_query", lambda: sealed(other))
    maker.add(name, "open_query", forged, "bad_signature")
    maker.add("the name of a query", "request_digest", {"sealed": good["sealed"]})
    _make_permitted(maker, body, reader)


def _make_permitted(maker: Maker, body: QueryBody, reader: SigningKey) -> None:
    bearer, public = BearerKey(secret("bearer")), contract_keys(BOUND).encryption.public
    permit = Permit(
        network=NETWORK,
        issuer=reader.public,
        contracts=(CONTRACT,),
        scopes=("balance",),
        bearer=bearer.public,
        origin="an audit",
        not_before_ns=1_700_000_000 * 10**9,
        expires_ns=1_700_086_400 * 10**9,
        generation=2,
        salt=fixed("salt", 16),
    )
    maker.add("the name of a permit", "permit_hash", {"permit": encode(permit).hex()})
    everywhere = encode(replace(permit, contracts="*"))
    maker.add("the name of a permit for every contract", "permit_hash", {"permit": everywhere.hex()})

    def sealed(issuer: SigningKey, key: BearerKey, asked: QueryBody) -> Given:
        query = sign_permitted(key, issue_permit(issuer, permit), asked)
        return {**BOUND, "sealed": seal_query(public, query, tuple(BUCKETS)).hex()}

    other, thief = SigningKey(secret("another")), BearerKey(secret("thief"))
    for name, make, outcome in (
        ("a query under a permit", lambda: sealed(reader, bearer, body), ACCEPT),
        ("a query under a permit that its issuer did not sign", lambda: sealed(other, bearer, body), _FORGED),
        ("a query under a permit without its key", lambda: sealed(reader, thief, body), _FORGED),
        (
            "a query under a permit of somebody else",
            lambda: sealed(reader, bearer, replace(body, reader=other.public)),
            _FORGED,
        ),
    ):
        maker.add(name, "open_query", maker.kept(name, "sealed", "open_query", make), outcome)


def _permit_hash(given: Given) -> dict[str, Any]:
    return {"hash": permit_hash(decode(octets(given, "permit"), Permit)).hex()}


def _seal_answer(given: Given) -> dict[str, Any]:
    answer, key = decode(octets(given, "answer"), Answer), SecretBytes(octets(given, "answer_key"))
    return {"sealed": seal_answer(key, contract_keys(given), answer, tuple(given["buckets"])).hex()}


def _open_answer(given: Given) -> dict[str, Any]:
    network, contract = NetworkId(octets(given, "network")), ContractId(octets(given, "contract"))
    key = SecretBytes(octets(given, "answer_key"))
    return {"answer": shown(open_answer(key, network, contract, octets(given, "request"), octets(given, "sealed")))}


def _make_answers(maker: Maker) -> None:
    answer = Answer(fixed("request"), 12, 41, fixed("header"), 3, Reply("ok", b"5"))
    given = {**BOUND, "answer_key": fixed("answer key").hex(), "answer": encode(answer).hex(), "buckets": BUCKETS}
    sealed = maker.add("an answer", "seal_answer", given)
    opened = {
        "answer_key": given["answer_key"],
        "network": NETWORK.hex(),
        "contract": CONTRACT.hex(),
        "request": answer.request.hex(),
        **sealed,
    }
    maker.add("an answer, opened", "open_answer", opened)
    _refuse(maker, "an answer", "open_answer", opened, "sealed", {"request": fixed("another").hex()})


def _digest(given: Given) -> bytes:
    root = StateRoot(octets(given, "pre_root"))
    if "cursor" in given:
        return MigrationContext(given["version"], root, octets(given, "cursor")).digest()
    return SlotContext(given["version"], root, octets(given, "head"), HeaderHash(octets(given, "block"))).digest()


def _seal_slot(given: Given) -> dict[str, Any]:
    slots, context = contract_keys(given).slots, _digest(given)
    tag, value = slots.seal(given["key"], octets(given, "value"), context, tuple(given["buckets"]))
    return {"context": context.hex(), "tag": tag.hex(), "sealed": value.hex()}


def _open_slot(given: Given) -> dict[str, Any]:
    return {"slot": shown(contract_keys(given).slots.open(SlotTag(octets(given, "tag")), octets(given, "sealed")))}


def _make_slots(maker: Maker) -> None:
    root, block = fixed("root").hex(), fixed("block").hex()
    about = {**BOUND, "key": "c/balances[1]", "value": b"5".hex(), "buckets": BUCKETS, "version": 12, "pre_root": root}
    written = {**about, "head": fixed("head").hex(), "block": block}
    sealed = maker.add("a slot, written by a result", "seal_slot", written)
    maker.add("the same on another fork", "seal_slot", {**written, "block": fixed("fork").hex()})
    maker.add("a slot, sealed anew by a migration", "seal_slot", {**about, "cursor": bytes(32).hex()})
    opened = {**BOUND, "tag": sealed["tag"], "sealed": sealed["sealed"]}
    maker.add("a slot, opened", "open_slot", opened)
    maker.add("a slot under another tag", "open_slot", {**opened, "tag": fixed("tag").hex()}, BROKEN)
    maker.add("a slot of another epoch", "open_slot", {**opened, "epoch": 4}, BROKEN)
    maker.add("a slot with something behind", "open_slot", {**opened, "sealed": opened["sealed"] + "00"}, "encoding")


def _seal_event(given: Given) -> dict[str, Any]:
    plain = decode(octets(given, "event"), EventPlain)
    event = EventSealer(SecretBytes(octets(given, "event_key"))).seal(plain, given["position"], tuple(given["buckets"]))
    return {"tag": event.tag.hex(), "sealed": event.sealed.hex()}


def _open_event(given: Given) -> dict[str, Any]:
    event = SealedEvent(octets(given, "tag"), octets(given, "sealed"))
    return {"event": shown(open_event(SecretBytes(octets(given, "event_key")), event))}


def _public_key(given: Given) -> dict[str, Any]:
    network, contract = NetworkId(octets(given, "network")), ContractId(octets(given, "contract"))
    return {"event_key": public_event_key(network, contract, given["epoch"]).reveal().hex()}


def _make_events(maker: Maker) -> None:
    key = contract_keys(BOUND).event_key(PublicKey(fixed("alice"))).reveal().hex()
    event = encode(EventPlain("Moved", b'{"amount":5}', 9)).hex()
    given = {"event_key": key, "event": event, "position": 0, "buckets": BUCKETS}
    sealed = maker.add("an event", "seal_event", given)
    maker.add("the next of the same entry", "seal_event", {**given, "position": 1})
    opened = {"event_key": key, **sealed}
    maker.add("an event, opened", "open_event", opened)
    maker.add("by another reader", "open_event", {**opened, "event_key": fixed("other").hex()}, BROKEN)
    maker.add("under another tag", "open_event", {**opened, "tag": fixed("tag", 16).hex()}, BROKEN)
    about = {name: value for name, value in BOUND.items() if name != "seed"}
    maker.add("the key of events to everybody", "public_event_key", about)


def _open_release(given: Given) -> dict[str, Any]:
    context = ReleaseContext(
        NetworkId(octets(given, "network")),
        PublicKey(octets(given, "gatekeeper")),
        PublicKey(octets(given, "worker")),
        InstanceId(octets(given, "instance")),
        TransactionId(octets(given, "request")),
    )
    key = EncryptionKey(SecretBytes(octets(given, "instance_seed")))
    return {"release": shown(open_partials(key, context, octets(given, "sealed")))}


def _make_releases(maker: Maker) -> None:
    names = ("gatekeeper", "worker", "instance", "request")
    about = {"instance_seed": fixed("instance seed").hex(), "network": NETWORK.hex()}
    about |= {name: fixed(name).hex() for name in names}
    batch = PartialBatch(1, 1, (fixed("point"),), fixed("proof", 64), (fixed("mac"),))
    plain = ReleasePlain(batch, 41, fixed("header"), (Mark(fixed("contract"), 2, 9, fixed("root")),))
    public = EncryptionKey(secret("instance seed")).public

    def sealed() -> Given:
        context = ReleaseContext(
            NETWORK,
            PublicKey(fixed("gatekeeper")),
            PublicKey(fixed("worker")),
            InstanceId(fixed("instance")),
            TransactionId(fixed("request")),
        )
        return {**about, "sealed": seal_partials(public, context, plain).hex()}

    good = maker.kept("a release", "sealed", "open_release", sealed)
    maker.add("a release", "open_release", good)
    _refuse(
        maker, "a release", "open_release", good, "sealed", {name: fixed(f"another {name}").hex() for name in names}
    )


_PARTS: Final[tuple[Callable[[Maker], None], ...]] = (
    _make_calls,
    _make_receipts,
    _make_queries,
    _make_answers,
    _make_slots,
    _make_events,
    _make_releases,
)


def _make(maker: Maker) -> None:
    for part in _PARTS:
        part(maker)


ENVELOPES: Final = Family(
    "envelopes",
    "Envelopes. `seed` is the contract's seed; `epoch`, `network`, `contract` derive its keys. Records are CBOR.",
    {
        "open_call": _open_call,
        "seal_receipt": _seal_receipt,
        "open_receipt": _open_receipt,
        "unreadable_receipt": _unreadable,
        "open_query": _open_query,
        "permit_hash": _permit_hash,
        "request_digest": lambda given: {"request": request_digest(octets(given, "sealed")).hex()},
        "seal_answer": _seal_answer,
        "open_answer": _open_answer,
        "seal_slot": _seal_slot,
        "open_slot": _open_slot,
        "seal_event": _seal_event,
        "open_event": _open_event,
        "public_event_key": _public_key,
        "open_release": _open_release,
    },
    _make,
)
