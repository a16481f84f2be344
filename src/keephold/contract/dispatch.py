"""One transaction or question, from JSON to JSON. The sandbox and the native harness run this same function.

Order of checks, which is also the order in which a caller learns things: the method exists and is of the kind asked
for; the contract is initialised (or is being); the arguments fit; then the contract's own code.
"""

from __future__ import annotations

import dis
import types
from collections.abc import Callable
from typing import Any, Final, Literal, cast

from keephold.contract.address import Address
from keephold.contract.context import Block, Call, Outgoing, PublicView, View
from keephold.contract.errors import MAX_DETAIL, BadResult, ContractTypeError, Mismatch, Reject
from keephold.contract.model import Contract, Method, Model, bind, model_of
from keephold.contract.sending import Failed, read_outcome
from keephold.contract.storage import INITIALISED, Host, Storage, is_absent
from keephold.contract.text import Json, canonical, parse
from keephold.contract.values import codec_of

FILE: Final = "<contract>"
"""The file name of contract code in the sandbox; natively, the file of the class's module."""

Kind = Literal["call", "view", "reply"]
"""What runs: an @init or @call, a @view, or a @reply."""

_BOOL: Final = codec_of(bool)
_RETURNS: Final = frozenset({"RETURN_VALUE", "RETURN_CONST"})
_NAMED: Final = "the arguments are an object of names, or a list in order"


def execute(cls: type[Contract], kind: Kind, method: str, args_json: str, env_json: str, host: Host) -> str:
    """Run one method and return its outcome as JSON.

    Args:
        cls: the contract.
        kind: what runs. Only the host says `reply`: a caller who names a handler finds no such method.
        method: its name.
        args_json: an object of arguments by name, or a list in order; from the caller, so anything. For a reply, from
            the host: `number`, `status`, and `value`, `code` with `detail`, or `reason`.
        env_json: `contract`, `height`, `time_ns`; a call or reply adds `sender`, `creator`, `seed` (64 hexadecimal
            digits), `entry` and `room` (see `Outgoing`), a view `reader` (null for nobody). From the host, which
            vouches for every address in it.
        host: where slots, events, messages and log lines go. Nothing but log lines reaches it unless the outcome is
            `ok`.

    Returns:
        `{"status": "ok", "value": …}`, `{"status": "rejected", "code": …, "detail": …}` or
        `{"status": "failed", "line": …, "message": …}`, line 0 where unknown.
    """
    try:
        env = cast("dict[str, Any]", parse(env_json))
        storage = Storage(host, writable=kind != "view")
        outbox = _Outbox(host)
        value = _run(cls, kind, method, args_json, env, storage, outbox)
        storage.flush()
        outbox.flush()
    except Reject as e:
        return canonical({"status": "rejected", "code": e.code, "detail": e.detail})
    except (Exception, SystemExit) as e:  # noqa: BLE001 - whatever a contract's code raises is its failure
        return failure(e, _file(cls))
    return canonical({"status": "ok", "value": value})


def failure(error: BaseException, file: str) -> str:
    """Return the outcome `failed`, with the last line of the contract's own file that the traceback passes.

    It passes none where the method has returned; then it is the line of its `return`, if that is known.
    """
    line, step = error.line if isinstance(error, BadResult) else 0, error.__traceback__
    while step is not None:
        if step.tb_frame.f_code.co_filename == file:
            line = step.tb_lineno or line
        step = step.tb_next
    try:
        message = f"{type(error).__name__}: {error}"[:MAX_DETAIL]
    except BaseException:  # noqa: BLE001 - __str__ is the contract's code too, and an outcome must come out
        message = type(error).__name__[:MAX_DETAIL]
    return canonical({"status": "failed", "line": line, "message": message})


class _Outbox:
    """Holds events, messages and signing requests back until the call has succeeded."""

    __slots__ = ("_events", "_host", "_messages", "_releases")

    def __init__(self, host: Host) -> None:
        self._host = host
        self._events: list[tuple[str, str, str]] = []
        self._releases: dict[str, str] = {}
        self._messages: list[tuple[str, str, str, str]] = []

    def emit(self, name: str, body: str, audience: str) -> None:
        self._events.append((name, body, audience))

    def release(self, topic: str, request: str) -> None:
        self._releases[topic] = request

    def public_key(self, key: str) -> str:
        return self._host.public_key(key)

    def send(self, target: str, method: str, arguments: str, handler: str) -> None:
        self._messages.append((target, method, arguments, handler))

    def log(self, text: str) -> None:
        self._host.log(text)

    def get(self, key: str) -> str | None:
        return self._host.get(key)

    def put(self, key: str, value: str) -> None:
        self._host.put(key, value)

    def delete(self, key: str) -> None:
        self._host.delete(key)

    def flush(self) -> None:
        for event in self._events:
            self._host.emit(*event)
        for topic in sorted(self._releases):
            self._host.release(topic, self._releases[topic])
        for message in self._messages:
            self._host.send(*message)


def _run(
    cls: type[Contract], kind: str, name: str, args_json: str, env: dict[str, Any], storage: Storage, host: Host
) -> Json:
    model = model_of(cls)
    method = model.methods.get(name)
    # (1) The method exists and is of the kind asked for.
    if method is None or ("call" if method.mark.kind == "init" else method.mark.kind) != kind:
        raise Reject("unknown_method", name)
    # (2) The contract is initialised, or this is its creator initialising it.
    _check_initialised(model, method, env, storage)
    # (3) The arguments fit.
    _, result = method.signature()
    arguments = _outcome(method, args_json) if kind == "reply" else _arguments(method, args_json)
    # (4) The contract's own code.
    contract = bind(cls, storage)
    fn = cast(Callable[..., Any], method.fn)
    told = fn(contract, _context(method, env, host), *arguments)
    try:
        value = result.encode(told)
    except ContractTypeError as e:
        raise BadResult(str(e), _return_line(fn)) from e
    if method.mark.kind == "init":
        storage.write(INITIALISED, _BOOL, value=True)
    return value


def _return_line(fn: Callable[..., Any]) -> int:
    """Return the line of a method's only way out, 0 where it has several."""
    ways = (step.positions for step in dis.get_instructions(fn) if step.opname in _RETURNS)
    lines = {way.lineno or 0 for way in ways if way is not None}
    return lines.pop() if len(lines) == 1 else 0


def _check_initialised(model: Model, method: Method, env: dict[str, Any], storage: Storage) -> None:
    if model.init is None:
        return
    ready = not is_absent(storage.read(INITIALISED, _BOOL))
    if method.mark.kind != "init":
        if not ready:
            raise Reject("not_initialised")
    elif ready:
        raise Reject("already_initialised")
    elif env["sender"] != env["creator"]:
        raise Reject("not_creator")


def _context(method: Method, env: dict[str, Any], host: Host) -> Call | View | PublicView:
    block = Block(env["height"], env["time_ns"])
    contract = Address.trusted(env["contract"])
    if method.mark.kind != "view":
        outgoing = Outgoing(env.get("entry", 0), env.get("room", 0))
        return Call(host, block, contract, Address.trusted(env["sender"]), bytes.fromhex(env["seed"]), outgoing)
    if method.mark.public:
        return PublicView(host, block, contract)
    if env["reader"] is None:
        raise Reject("permit_required", method.scope)
    return View(host, block, contract, Address.trusted(env["reader"]))


def _arguments(method: Method, args_json: str) -> list[object]:
    parameters, _ = method.signature()
    try:
        given = parse(args_json)
    except Mismatch as e:
        raise Reject("bad_arguments", e) from e
    if isinstance(given, list):
        if len(given) > len(parameters):
            raise Reject("bad_arguments", f"{method.name} takes {len(parameters)} arguments, not {len(given)}")
        given = {parameter.name: item for parameter, item in zip(parameters, given, strict=False)}
    elif not isinstance(given, dict):
        raise Reject("bad_arguments", _NAMED)
    arguments = []
    for parameter in parameters:
        if parameter.name in given:
            try:
                arguments.append(parameter.codec.decode(given.pop(parameter.name)))
            except Mismatch as e:
                raise Reject("bad_arguments", f"{parameter.name}: {e}") from e
        elif parameter.required:
            raise Reject("bad_arguments", f"{parameter.name} is missing")
        else:
            arguments.append(parameter.default)
    if given:
        raise Reject("bad_arguments", f"{method.name} takes no {min(given)}")
    return arguments


def _outcome(method: Method, args_json: str) -> list[object]:
    (parameter,), _ = method.signature()
    told = cast("dict[str, Any]", parse(args_json))
    try:
        return [read_outcome(told, parameter.codec)]
    except Mismatch:
        return [Failed(told["number"], "mismatch")]


def _file(cls: type[Contract]) -> str:
    for value in cls.__dict__.values():
        if isinstance(value, types.FunctionType):
            return value.__code__.co_filename
    return FILE
