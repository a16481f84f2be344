"""Messages between contracts: identities of entries, seals, credit."""

from __future__ import annotations

from typing import Any, Final

from keephold.base.ids import NetworkId
from keephold.crypto.secret import SecretBytes
from keephold.protocol.channel import (
    AnswerEntry,
    MessageEntry,
    UndeliveredEntry,
    id_of,
    message_number,
    read_entry,
    room,
    share,
)
from keephold.protocol.codec import decode, encode
from keephold.protocol.lines import ChannelLine
from keephold.protocol.messages import MessagePlain, Reply
from keephold.sealing.message import ChannelKey
from vectors.base import Family, Given, Maker, fixed, octets, shown
from vectors.examples import example

BUCKETS: Final = [256, 1024]


def _entry(given: Given) -> dict[str, Any]:
    raw = octets(given, "raw")
    return {"entry": shown(read_entry(raw)), "id": id_of(raw).hex()}


def _key(given: Given) -> ChannelKey:
    line = decode(octets(given, "line"), ChannelLine)
    return ChannelKey(SecretBytes(octets(given, "seed")), NetworkId(octets(given, "network")), line)


def _seal_message(given: Given) -> dict[str, Any]:
    plain = decode(octets(given, "plain"), MessagePlain)
    return {"sealed": _key(given).seal_message(given["number"], plain, tuple(given["buckets"])).hex()}


def _seal_answer(given: Given) -> dict[str, Any]:
    reply = decode(octets(given, "plain"), Reply)
    return {"sealed": _key(given).seal_answer(given["number"], reply, tuple(given["buckets"])).hex()}


def _open_message(given: Given) -> dict[str, Any]:
    return {"message": shown(_key(given).open_message(given["number"], octets(given, "sealed")))}


def _open_answer(given: Given) -> dict[str, Any]:
    return {"reply": shown(_key(given).open_answer(given["number"], octets(given, "sealed")))}


def _credit(given: Given) -> dict[str, Any]:
    how = {"is_answered": given["is_answered"]}
    return {"share": share(given["credit"], given["sent"], **how), "room": room(given["credit"], **how)}


def _make(maker: Maker) -> None:
    for kind in (MessageEntry, AnswerEntry, UndeliveredEntry):
        tag = str(kind.__struct_config__.tag)
        maker.add(f"entry: {tag}", "entry", {"raw": encode(example(kind, tag)).hex()})
    line = ChannelLine(fixed("source"), 3, fixed("target"), 5)
    back = ChannelLine(fixed("target"), 5, fixed("source"), 3)
    about = {
        "seed": fixed("channel").hex(),
        "network": fixed("network").hex(),
        "line": encode(line).hex(),
        "number": message_number(9, 1),
    }
    plains = {"message": example(MessagePlain, "message"), "answer": Reply("ok", b"5")}
    sealed = {
        name: maker.add(f"{name}: sealed", f"seal_{name}", {**about, "plain": encode(plain).hex(), "buckets": BUCKETS})
        for name, plain in plains.items()
    }
    broken = "seal_broken"
    for name in plains:
        good = {**about, **sealed[name]}
        maker.add(f"{name}: opened", f"open_{name}", good)
        maker.add(f"{name}: of another number", f"open_{name}", {**good, "number": message_number(9, 2)}, broken)
        maker.add(f"{name}: turned round", f"open_{name}", {**good, "line": encode(back).hex()}, broken)
        maker.add(f"{name}: on another network", f"open_{name}", {**good, "network": fixed("x").hex()}, broken)
    maker.add("a message for an answer", "open_answer", {**about, **sealed["message"]}, broken)
    for credit, sent, is_answered in ((16, 0, False), (16, 3, False), (16, 3, True), (1, 1, True), (0, 1, False)):
        text = f"credit {credit}, {sent} sent, {'an answer owed' if is_answered else 'none owed'}"
        maker.add(text, "credit", {"credit": credit, "sent": sent, "is_answered": is_answered})


MESSAGES: Final = Family(
    "messages",
    "Messages between contracts. `share` is what each part gets (negative: too many), `room` how many may be sent.",
    {
        "entry": _entry,
        "seal_message": _seal_message,
        "open_message": _open_message,
        "seal_answer": _seal_answer,
        "open_answer": _open_answer,
        "credit": _credit,
    },
    _make,
)
