"""The native backend of `net`: contracts in this process, over dictionaries, under a clock that tests move.

Shown as on a network: dispatch and its order of refusals, the checks of arguments, the text of storage, results and
events, dropped writes of refused calls, messages between contracts and their answers, each in a block of its own, what
the sandbox's loader refuses. Not shown: seals, limits on fuel, memory and output, delays, several callers at once,
whatever a node could do. `ctx.random` is predictable here.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, cast, final

from keephold.base.errors import ContractFailed, Rejected
from keephold.base.ids import ContractId
from keephold.base.limits import MESSAGE_CREDIT
from keephold.client.abi import Abi, parse_abi
from keephold.client.account import Account, Reader
from keephold.client.permits import Session
from keephold.client.released import NOT_RELEASED, Released, released_of
from keephold.contract.address import Address
from keephold.contract.check import line_text
from keephold.contract.context import Block, message_number
from keephold.contract.dispatch import Kind, execute
from keephold.contract.errors import ContractTypeError
from keephold.contract.model import Contract, model_of
from keephold.contract.native import MemoryHost
from keephold.contract.records import Event
from keephold.contract.text import Json, canonical, parse
from keephold.contract.values import codec_of
from keephold.crypto.padding import padded_size
from keephold.crypto.secret import SecretBytes
from keephold.crypto.signing import SigningKey
from keephold.protocol.channel import room, share
from keephold.protocol.codec import decode, encode
from keephold.protocol.messages import CallPlain, EventPlain, KeyName, MessagePlain, Reply, SigningRequest
from keephold.protocol.permits import EVENTS_SCOPE, RELEASED_SCOPE
from keephold.runtime.outcome import CallRequest
from keephold.sealing.owned_keys import OwnedKeys
from keephold.testing.fuel import FuelMeter
from keephold.testing.handle import Deployed
from keephold.testing.leaks import SeenCall
from keephold.testing.native_permits import NATIVE_NETWORK, NativePermits
from keephold.testing.network import code_of, event_classes, unattackable
from keephold.worker.state import slot_size

if TYPE_CHECKING:
    from keephold.testing.attacks import Attacks

GENESIS_NS: Final = 1_700_000_000 * 10**9
_NONCE_KEY: Final = "n" * 64
_REPLY_KEY: Final = 32
_SECOND: Final = 10**9
_STEP_NS: Final = 10**6
"""Block time rises strictly; each call stands in a block of its own."""


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


@dataclass(slots=True)
class _State:
    """What a snapshot keeps of one contract."""

    slots: dict[str, str] = field(default_factory=dict)
    history: tuple[Ran, ...] = ()
    asked: dict[str, bytes] = field(default_factory=dict)

    def copy(self) -> _State:
        return _State(dict(self.slots), self.history, dict(self.asked))


@dataclass(frozen=True, slots=True)
class _Snapshot:
    block: Block
    states: Mapping[Address, _State]
    permits: NativePermits


@dataclass(frozen=True, slots=True)
class _Mail:
    """A message under way, or its answer."""

    kind: Literal["call", "reply"]
    source: Address
    target: Address
    method: str
    arguments: str
    number: int = 0
    """Of the message."""
    credit: int = 0
    handler: str = ""
    """Of the source, for the answer to a message."""

    @property
    def is_answered(self) -> bool:
        return bool(self.handler)

    def reply(self, told: Mapping[str, Json]) -> _Mail:
        """Return the answer that says `told`."""
        body = canonical({"number": self.number, **told})
        return _Mail("reply", self.target, self.source, self.handler, body, credit=self.credit - 1)


@final
class NativeBackend:
    """Contracts in this process."""

    def __init__(self, names: tuple[str, ...], meter: FuelMeter | None = None) -> None:
        """Begin at height 1 with an account for each name; the same name has the same key everywhere.

        With a `meter`, each call is run in the sandbox as well, for its fuel.
        """
        self.meter = meter
        self.accounts: Final[Mapping[str, Account]] = {name: native_account(name) for name in names}
        self.block = Block(1, GENESIS_NS)
        self.states: dict[Address, _State] = {}
        self.permits = NativePermits()
        self._contracts: Final[dict[Address, NativeDeployed]] = {}
        self._mail: Final[deque[_Mail]] = deque()
        self._deployed = 0

    def deploy(
        self, cls: type[Contract], arguments: tuple[object, ...], named: dict[str, object], sender: Account
    ) -> Deployed:
        """See `Backend`."""
        abi = parse_abi(code_of(cls).abi)
        self._deployed += 1
        address = Address.contract(hashlib.sha256(b"native contract" + self._deployed.to_bytes(8, "big")).digest())
        self.states[address] = _State()
        deployed = self._contracts[address] = NativeDeployed(self, cls, abi, address, sender)
        if abi.init is not None:
            deployed.call(abi.init.name, arguments, named, sender)
        return deployed

    def mine(self, blocks: int) -> None:
        """See `Backend`."""
        self.block = Block(self.block.height + blocks, self.block.time_ns + blocks * _SECOND)

    def warp(self, seconds: float) -> None:
        """See `Backend`."""
        self.block = Block(self.block.height + 1, self.block.time_ns + round(seconds * _SECOND))

    def tick(self) -> Block:
        """Return the block of the next call."""
        self.block = Block(self.block.height + 1, self.block.time_ns + _STEP_NS)
        return self.block

    def settle(self) -> None:
        """See `Backend`; also after each call."""
        while self._mail:
            mail = self._mail.popleft()
            target = self._contracts.get(mail.target) if mail.target in self.states else None
            if target is not None:
                target.receive(mail)
            elif mail.is_answered:
                self.post(mail.reply({"status": "failed", "reason": "unknown_contract"}))

    def post(self, mail: _Mail) -> None:
        """Put a message or an answer under way."""
        self._mail.append(mail)

    def snapshot(self) -> _Snapshot:
        """See `Backend`."""
        return _Snapshot(
            self.block, {address: state.copy() for address, state in self.states.items()}, self.permits.copy()
        )

    def restore(self, snapshot: object) -> None:
        """See `Backend`."""
        if isinstance(snapshot, _Snapshot):
            self.block = snapshot.block
            self.states = {address: state.copy() for address, state in snapshot.states.items()}
            self.permits = snapshot.permits.copy()

    @property
    def attack(self) -> Attacks:
        """See `Backend`: there are no machines."""
        raise unattackable("the native backend")

    @property
    def can_be_attacked(self) -> bool:
        """See `Backend`."""
        return False

    @property
    def is_lasting(self) -> bool:
        """See `Backend`."""
        return False

    @contextmanager
    def timed(self) -> Iterator[None]:
        """See `Backend`; by the backend's own meter if it has one."""
        if self.meter is not None:
            yield
            return
        self.meter = FuelMeter()
        try:
            yield
        finally:
            self.meter.close()
            self.meter = None

    def permit(
        self, account: Account, contracts: Sequence[Address], scopes: Sequence[str], expires: timedelta
    ) -> Session:
        """See `Backend`: a permit as the client library issues it, by this backend's clock."""
        return self.permits.issue(account, contracts, scopes, expires, self.block.time_ns)

    def revoke(self, session: Session, account: Account) -> None:
        """See `Backend`."""
        self.permits.revoke(session, account)

    def close(self) -> None:
        """End what measures time, where something does."""
        if self.meter is not None:
            self.meter.close()


class _Call(NamedTuple):
    """What runs with effects."""

    sender: str
    kind: Literal["call", "message", "reply"]
    address: Address
    method: str
    arguments: str
    credit: int
    mail: _Mail | None = None


@final
class NativeDeployed:
    """One contract over a dictionary."""

    def __init__(
        self, backend: NativeBackend, cls: type[Contract], abi: Abi, address: Address, creator: Account
    ) -> None:
        """For `NativeBackend.deploy`."""
        self._backend: Final = backend
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
        self._backend.settle()
        return self._value(method, outcome)

    def receive(self, mail: _Mail) -> None:
        """Run a message, or the handler of an answer; for `NativeBackend.settle`."""
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
        left = share(mail.credit, len(self._backend.states[self.address].history[-1].messages), is_answered=True)
        self._backend.post(replace(mail.reply(told), credit=left))

    def _effective(self, call: _Call) -> dict[str, Any]:
        block, state = self._backend.tick(), self._backend.states[self.address]
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
            self._backend.post(_Mail("call", self.address, where, method, arguments, number, credit, handler))
        return outcome

    def _fuel(self, call: _Call, env: Mapping[str, Json], block: Block, slots: Mapping[str, str]) -> int:
        if self._backend.meter is None:
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
        return self._backend.meter.fuel(code_of(self._cls).source.decode(), request, slots)

    def view(self, method: str, arguments: tuple[object, ...], named: dict[str, object], reader: Reader | None) -> Any:
        """See `Deployed`."""
        encoded = self.abi.method(method, "view").encode(arguments, named)
        self._permitted(reader, None if self.abi.methods[method].public else model_of(self._cls).methods[method].scope)
        host = MemoryHost(self._backend.states[self.address].slots, keys=self._public_key)
        env: dict[str, Json] = {"reader": None if reader is None else Address.account(reader.reader).text}
        return self._value(method, self._run("view", method, encoded.decode(), env, self._backend.block, host))

    def events(self, reader: Reader | None) -> list[Event]:
        """See `Deployed`."""
        self._permitted(reader, EVENTS_SCOPE)
        classes = event_classes(self._cls)
        return [
            cast(Event, codec_of(classes[name]).decode(parse(body)))
            for ran in self._backend.states[self.address].history
            for name, body, audience in ran.events
            if (to := json.loads(audience)) == "public"
            or (reader is not None and Address.account(reader.reader).text in to)
        ]

    def released(self, topic: str, reader: Reader) -> Released:
        """See `Deployed`."""
        self._permitted(reader, RELEASED_SCOPE)
        kept = self._backend.states[self.address].asked.get(topic)
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
            self._backend.permits.check(reader, self.address, scope, self._backend.block.time_ns)

    def _public_key(self, spelled: str) -> str:
        name = _key_name(spelled)
        if (name.label, name.scheme) not in self.abi.keys:
            raise ContractTypeError(
                f"the interface declares no key {name.label!r} ({name.scheme}): write both as literals"
            )
        return self._owned.public(name).hex()

    def seen(self) -> tuple[SeenCall, ...]:
        """Return the sizes that the worker's own formulas yield, before what sealing adds to each."""
        history = self._backend.states[self.address].history
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
                where = f"line {outcome['line']}: " if outcome["line"] else ""
                shown = line_text(code_of(self._cls).source.decode(), outcome["line"])
                raise ContractFailed(f"{where}{outcome['message']}{f' (in: {shown})' if shown else ''}")
        return model_of(self._cls).methods[method].signature()[1].decode(outcome["value"])


def seen_call(ran: Ran, entry: int, buckets: tuple[int, ...]) -> SeenCall:
    """Return what everybody would see of a call on a network that tells nobody why a contract failed."""
    match ran.outcome["status"]:
        case "ok":
            reply = Reply("ok", canonical(ran.outcome["value"]).encode())
        case "rejected":
            reply = Reply("rejected", code=ran.outcome["code"], detail=ran.outcome["detail"])
        case _:
            reply = Reply("failed")
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
        receipt=0 if ran.kind == "reply" else padded_size(len(encode(reply)), buckets),
        writes=writes,
        events=tuple(sorted(events)),
        messages=tuple(sent),
        fuel=ran.fuel,
    )


def _key_name(spelled: str) -> KeyName:
    scheme, label, path = json.loads(spelled)
    return KeyName(scheme, label, tuple(path))


def _request(text: str) -> bytes:
    """Return a signing request as a worker keeps it."""
    asked = json.loads(text)
    readers = tuple(Address.parse(reader).value for reader in asked["to"])
    return encode(SigningRequest(_key_name(asked["key"]), bytes.fromhex(asked["message"]), readers))


def _copies(audience: str) -> int:
    to = json.loads(audience)
    return 1 if to == "public" else len(to)


def native_account(name: str) -> Account:
    """Return the account of a name on every native network."""
    return Account(SigningKey(SecretBytes(hashlib.sha256(b"native account " + name.encode()).digest())), name)
