"""One contract of the native backend: its calls, messages and views run in this process, over a dictionary."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, Literal, NamedTuple, cast, final

from keephold.base.errors import ContractFailed, Rejected
from keephold.base.ids import ContractId
from keephold.base.limits import MESSAGE_CREDIT
from keephold.client.abi import Abi
from keephold.client.account import Account, Reader
from keephold.client.permits import Session
from keephold.client.released import NOT_RELEASED, Released, released_of
from keephold.contract.address import Address
from keephold.contract.check import line_text, method_lines
from keephold.contract.context import Block, message_number
from keephold.contract.dispatch import Kind, execute
from keephold.contract.errors import ContractTypeError
from keephold.contract.model import Contract, model_of
from keephold.contract.native import MemoryHost
from keephold.contract.records import Event
from keephold.contract.text import Json, canonical, parse
from keephold.contract.values import codec_of
from keephold.crypto.secret import SecretBytes
from keephold.protocol.channel import room, share
from keephold.protocol.codec import decode, encode
from keephold.protocol.messages import KeyName, SigningRequest
from keephold.protocol.permits import EVENTS_SCOPE, RELEASED_SCOPE
from keephold.runtime.outcome import CallRequest, QueryRequest
from keephold.sealing.owned_keys import OwnedKeys
from keephold.testing.backend import code_of, event_classes
from keephold.testing.leaks import SeenCall, SeenQuestion
from keephold.testing.native.permits import NATIVE_NETWORK
from keephold.testing.native.seen import Ran, seen_call, seen_question
from keephold.testing.native.world import Mail, World


class _Call(NamedTuple):
    """What runs with effects."""

    sender: str
    kind: Literal["call", "message", "reply"]
    address: Address
    method: str
    arguments: str
    credit: int
    mail: Mail | None = None


@final
class NativeDeployed:
    """One contract over a dictionary."""

    def __init__(self, world: World, cls: type[Contract], abi: Abi, address: Address, creator: Account) -> None:
        """For `NativeBackend.deploy`."""
        self._world: Final = world
        self._cls: Final = cls
        self._creator: Final = creator
        self.abi: Final = abi
        self.address: Final = address
        seed = SecretBytes(hashlib.sha256(b"native keys" + address.value).digest())
        self._owned: Final = OwnedKeys(seed, NATIVE_NETWORK, ContractId(address.value))

    def call(self, method: str, arguments: tuple[object, ...], named: dict[str, object], sender: Account) -> Any:
        """See `Deployed`."""
        encoded = self.abi.method(method, "call", "init").encode(arguments, named).decode()
        outcome = self._effective(_Call(sender.name, "call", sender.address, method, encoded, MESSAGE_CREDIT))
        self._world.settle()
        return self._value(method, outcome)

    def receive(self, mail: Mail) -> None:
        """Run a message, or the handler of an answer; see `Receiver`."""
        kind: Literal["message", "reply"] = "message" if mail.kind == "call" else "reply"
        call = _Call(mail.source.text, kind, mail.source, mail.method, mail.arguments, mail.credit, mail)
        outcome = self._effective(call)
        if not mail.is_answered:
            return
        match outcome["status"]:
            case "ok":
                told: dict[str, Json] = {"status": "ok", "value": canonical(outcome["value"])}
            case "rejected":
                told = {"status": "rejected", "code": outcome["code"], "detail": outcome["detail"]}
            case _:
                told = {"status": "failed", "reason": "failed"}
        left = share(mail.credit, len(self._world.states[self.address].history[-1].messages), is_answered=True)
        self._world.post(replace(mail.reply(told), credit=left))

    def _effective(self, call: _Call) -> dict[str, Any]:
        block, state = self._world.tick(), self._world.states[self.address]
        answered = call.mail is not None and call.mail.is_answered
        entry = len(state.history) + 1
        env: dict[str, Json] = {
            "sender": call.address.text,
            "creator": self._creator.address.text,
            "seed": hashlib.sha256(self.address.value + len(state.history).to_bytes(8, "big")).hexdigest(),
            "entry": entry,
            "room": room(call.credit, is_answered=answered),
        }
        host = MemoryHost(state.slots, keys=self._public_key)
        outcome = self._run("reply" if call.kind == "reply" else "call", call.method, call.arguments, env, block, host)
        messages = tuple(host.messages)
        asked = {topic: _request(text) for topic, text in host.releases.items()}
        ran = (call.sender, call.kind, call.method, call.arguments.encode(), outcome, dict(host.writes))
        fuel = self._fuel(call, env, block, state.slots)
        state.history += (Ran(*ran, tuple(host.events), asked, messages, fuel),)
        state.asked.update(asked)
        host.commit()
        for position, (target, method, arguments, handler) in enumerate(messages):
            credit = share(call.credit, len(messages), is_answered=answered)
            number, where = message_number(entry, position), Address.parse(target)
            self._world.post(Mail("call", self.address, where, method, arguments, number, credit, handler))
        return outcome

    def _fuel(self, call: _Call, env: Mapping[str, Json], block: Block, slots: Mapping[str, str]) -> int:
        if self._world.meter is None:
            return 0
        request = CallRequest(
            method=call.method,
            args_json=call.arguments,
            sender=str(env["sender"]),
            creator=str(env["creator"]),
            contract=self.address.text,
            height=block.height,
            time_ns=block.time_ns,
            seed=bytes.fromhex(str(env["seed"])),
            kind="reply" if call.kind == "reply" else "call",
            entry=int(str(env["entry"])),
            room=int(str(env["room"])),
        )
        return self._world.meter.fuel(code_of(self._cls).source.decode(), request, slots)

    def view(self, method: str, arguments: tuple[object, ...], named: dict[str, object], reader: Reader | None) -> Any:
        """See `Deployed`."""
        encoded = self.abi.method(method, "view").encode(arguments, named)
        self._permitted(reader, None if self.abi.methods[method].public else model_of(self._cls).methods[method].scope)
        return self._value(method, self._answer(method, encoded.decode(), reader))

    def asked(self, method: str, arguments: tuple[object, ...], reader: Account) -> SeenQuestion:
        """Run a @view method, whatever it comes to; return what its gateway and its worker's host see of that."""
        encoded = self.abi.method(method, "view").encode(arguments, {})
        outcome = self._answer(method, encoded.decode(), reader)
        fuel = 0
        if self._world.meter is not None:
            question = QueryRequest(
                method=method,
                args_json=encoded.decode(),
                reader=reader.address.text,
                contract=self.address.text,
                height=self._world.block.height,
                time_ns=self._world.block.time_ns,
            )
            slots = self._world.states[self.address].slots
            fuel = self._world.meter.fuel_to_answer(code_of(self._cls).source.decode(), question, slots)
        return seen_question(method, encoded, outcome, fuel, self.abi.pad)

    def _answer(self, method: str, arguments: str, reader: Reader | None) -> dict[str, Any]:
        host = MemoryHost(self._world.states[self.address].slots, keys=self._public_key)
        env: dict[str, Json] = {"reader": None if reader is None else Address.account(reader.reader).text}
        return self._run("view", method, arguments, env, self._world.block, host)

    def events(self, reader: Reader | None) -> list[Event]:
        """See `Deployed`."""
        self._permitted(reader, EVENTS_SCOPE)
        classes = event_classes(self._cls)
        return [
            cast(Event, codec_of(classes[name]).decode(parse(body)))
            for ran in self._world.states[self.address].history
            for name, body, audience in ran.events
            if (to := json.loads(audience)) == "public"
            or (reader is not None and Address.account(reader.reader).text in to)
        ]

    def released(self, topic: str, reader: Reader) -> Released:
        """See `Deployed`."""
        self._permitted(reader, RELEASED_SCOPE)
        kept = self._world.states[self.address].asked.get(topic)
        request = None if kept is None else decode(kept, SigningRequest)
        if request is None or reader.reader not in request.readers:
            raise Rejected(NOT_RELEASED, "")
        told = {
            "scheme": request.key.scheme,
            "label": request.key.label,
            "path": request.key.path,
            "public": self._owned.public(request.key),
            "message": request.message,
            "signature": self._owned.sign(request.key, request.message),
        }
        return released_of(topic, told)

    def _permitted(self, reader: Reader | None, scope: str | None) -> None:
        """Hold a permit against the worker's own rules; accounts need none."""
        if isinstance(reader, Session):
            self._world.permits.check(reader, self.address, scope, self._world.block.time_ns)

    def _public_key(self, spelled: str) -> str:
        name = _key_name(spelled)
        if (name.label, name.scheme) not in self.abi.keys:
            raise ContractTypeError(
                f"the interface declares no key {name.label!r} ({name.scheme}): write both as literals"
            )
        return self._owned.public(name).hex()

    def seen(self) -> tuple[SeenCall, ...]:
        """Return the sizes that the worker's own formulas yield, before what sealing adds to each."""
        history = self._world.states[self.address].history
        return tuple(seen_call(ran, entry, self.abi.pad) for entry, ran in enumerate(history, 1))

    def _run(
        self,
        kind: Kind,
        method: str,
        arguments: str,
        who: Mapping[str, Json],
        block: Block,
        host: MemoryHost,
    ) -> dict[str, Any]:
        env = {"contract": self.address.text, "height": block.height, "time_ns": block.time_ns, **who}
        outcome = cast("dict[str, Any]", parse(execute(self._cls, kind, method, arguments, canonical(env), host)))
        for line in host.logs:
            print(line)  # noqa: T201 - pytest captures it, and shows it with the test that failed
        return outcome

    def _value(self, method: str, outcome: Mapping[str, Any]) -> Any:
        match outcome["status"]:
            case "rejected":
                raise Rejected(outcome["code"], outcome["detail"])
            case "failed":
                source = code_of(self._cls).source.decode()
                line = outcome["line"] or method_lines(self._cls, source).get(method, 0)
                where = f"line {line}: " if line else ""
                shown = line_text(source, line)
                raise ContractFailed(f"{where}{outcome['message']}{f' (in: {shown})' if shown else ''}")
        return model_of(self._cls).methods[method].signature()[1].decode(outcome["value"])


def _key_name(spelled: str) -> KeyName:
    scheme, label, path = json.loads(spelled)
    return KeyName(scheme, label, tuple(path))


def _request(text: str) -> bytes:
    """Return a signing request as a worker keeps it."""
    asked = json.loads(text)
    readers = tuple(Address.parse(reader).value for reader in asked["to"])
    return encode(SigningRequest(_key_name(asked["key"]), bytes.fromhex(asked["message"]), readers))
