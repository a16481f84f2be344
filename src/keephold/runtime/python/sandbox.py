"""A Python contract in the sandbox: a fresh instance for each transaction, a warm one for questions.

The contract's module runs once, in an instance that can reach nothing outside; every later instance starts from the
memory it left, the contract's image. Both are functions of guest and source alone, so each worker makes the same one.

A warm instance keeps what contract code left in module globals, and its fuel depends on its history; so it never
serves a transaction, whose outcome every worker must reproduce, and never two contracts. A question cannot write, and
its answer is the contract's own to give: what one could leave behind for another is nothing that the contract could
not tell anyway.

Bytecode comes from `compile`, run in this same guest on source from the ledger; none is ever accepted from outside.
"""

from __future__ import annotations

import json
from typing import Annotated, Final

import msgspec

from keephold.base.errors import SandboxError
from keephold.base.limits import CALL_FUEL, MAX_RESULT, QUERY_FUEL
from keephold.contract.dispatch import FILE
from keephold.contract.errors import Mismatch
from keephold.contract.text import check_depth
from keephold.runtime.effects import Effects, Reader, declared_keys
from keephold.runtime.host import Instance, OutOfFuel, Program, Trapped
from keephold.runtime.memory import Image
from keephold.runtime.outcome import CallRequest, ContractInfo, Outcome, QueryRequest
from keephold.runtime.python.standing import Standing

TRAPPED: Final = "the contract ran out of fuel, memory or stack, or aborted"
"""One text for every trap: which limit a runaway contract meets first may differ between compilers."""

_TOO_LONG: Final = f"a result has at most {MAX_RESULT} bytes"
_COMPILE_FUEL: Final = 10 * CALL_FUEL
_WARM_USES: Final = 256
"""Questions a warm instance answers before it is replaced: bounds what it accumulates."""


_AROUND: Final = 64
"""Characters of an outcome around its value."""

_Place = Annotated[int, msgspec.Meta(ge=0, le=(1 << 31) - 1)]
"""A line or a column: a number that fits on the wire of the process."""


class _Told(msgspec.Struct, frozen=True):
    """An outcome in the guest's words; checked, since contract code could have written it."""

    status: str
    code: str = ""
    detail: str = ""
    line: _Place = 0
    message: str = ""
    value: msgspec.Raw = msgspec.Raw(b"null")


class _Compiled(msgspec.Struct, frozen=True):
    name: str = ""
    abi: msgspec.Raw = msgspec.Raw(b"{}")
    code: str = ""
    lines: dict[str, _Place] = {}
    error: str | None = None
    line: _Place = 0
    column: _Place = 0


_told: Final = msgspec.json.Decoder(_Told)
_compiled: Final = msgspec.json.Decoder(_Compiled)


class PythonSandbox:
    """One contract, compiled and loaded.

    Args:
        program: the guest.
        source: from the ledger.
        image: empty; holds the contract's memory from then on.

    Raises:
        SandboxError: the source makes no contract; with reason and line.
    """

    def __init__(self, program: Program, source: str, image: Image) -> None:
        self._program: Final = program
        self._image: Final = image
        self._warm: Instance | None = None
        self._uses = 0
        instance = program.instantiate(_COMPILE_FUEL)
        try:
            self._standing: Final = Standing(instance.memory())
            answer = instance.call("compile", source)
            compiled = _compiled.decode(answer)
        except UnicodeEncodeError as e:
            raise SandboxError("the source holds lone surrogates") from e
        except Trapped as e:
            raise SandboxError(f"while compiling, {TRAPPED}") from e
        except (msgspec.MsgspecError, RecursionError) as e:  # the module ran in there: this may be its own answer
            raise SandboxError("the source corrupted its compiler") from e
        finally:
            instance.close()
        if compiled.error is not None:
            raise SandboxError(compiled.error, compiled.line, compiled.column)
        self._load(compiled.code)
        self.info: Final = ContractInfo(compiled.name, bytes(compiled.abi).decode())
        self._keys: Final = declared_keys(bytes(compiled.abi))
        self._lines: Final = compiled.lines

    def _load(self, code: str) -> None:
        instance = self._program.instantiate(_COMPILE_FUEL)
        try:
            problem = instance.call("load", code)
            if problem:
                raise SandboxError(f"while loading: {problem[:200]}")
            instance.snapshot(self._image)
        except Trapped as e:
            raise SandboxError(f"while loading, {TRAPPED}") from e
        finally:
            instance.close()

    def execute(self, request: CallRequest, reader: Reader, fuel: int = CALL_FUEL) -> Outcome:
        """Run one transaction in an instance of its own."""
        env = {
            "contract": request.contract,
            "creator": request.creator,
            "entry": request.entry,
            "height": request.height,
            "room": request.room,
            "seed": request.seed.hex(),
            "sender": request.sender,
            "time_ns": request.time_ns,
        }
        effects = Effects("call", reader, self._keys, request.contract, request.room)
        instance = self._program.instantiate(fuel, self._image)
        try:
            text = instance.call("run", request.kind, json.dumps(env), _message(request), effects=effects)
            return self._told(request, _outcome(text, effects, fuel - instance.fuel(), fuel))
        except (Trapped, UnicodeEncodeError) as e:
            return self._told(request, _trapped(e, effects, fuel, self._line(e, instance)))
        finally:
            instance.close()

    def query(self, request: QueryRequest, reader: Reader, fuel: int = QUERY_FUEL) -> Outcome:
        """Answer one question in the warm instance. Its fuel figure depends on history and is for developers only."""
        env = {
            "contract": request.contract,
            "height": request.height,
            "reader": request.reader,
            "time_ns": request.time_ns,
        }
        effects = Effects("view", reader, self._keys)
        if self._warm is None:
            self._warm, self._uses = self._program.instantiate(fuel, self._image), 0
        self._warm.refuel(fuel)
        try:
            text = self._warm.call("run", "view", json.dumps(env), _message(request), effects=effects)
            outcome = _outcome(text, effects, fuel - self._warm.fuel(), fuel)
        except (Trapped, UnicodeEncodeError) as e:
            outcome = _trapped(e, effects, fuel, self._line(e, self._warm))
        outcome = self._told(request, outcome)
        self._uses += 1
        if outcome.status == "failed" or self._uses >= _WARM_USES:
            self.close()
        return outcome

    def _line(self, error: Exception, instance: Instance) -> int:
        """Return the line a trapped run stood on, where that is the same everywhere: out of fuel, or stopped by us.

        Not where its stack ended: how much of that a compiler takes is its own affair.
        """
        stopped = isinstance(error, OutOfFuel) or (isinstance(error, Trapped) and str(error))
        return self._standing.line(instance.memory(), FILE) if stopped else 0

    def _told(self, request: CallRequest | QueryRequest, outcome: Outcome) -> Outcome:
        """Give an outcome that has no line of its own that of its method's `def`."""
        if outcome.line:
            return outcome
        return msgspec.structs.replace(outcome, line=self._lines.get(request.method, 0))

    def close(self) -> None:
        """Drop the warm instance."""
        if self._warm is not None:
            self._warm.close()
            self._warm = None


def _message(request: CallRequest | QueryRequest) -> str:
    return f"{request.method.partition(chr(10))[0]}\n{request.args_json}"


def _trapped(error: Exception, effects: Effects, limit: int, line: int) -> Outcome:
    detail = str(error) if isinstance(error, Trapped) and str(error) else TRAPPED
    return Outcome(status="failed", detail=detail, line=line, logs=tuple(effects.logs), fuel_used=limit)


def _outcome(text: str, effects: Effects, used: int, limit: int) -> Outcome:
    logs = tuple(effects.logs)
    if len(text) > MAX_RESULT + _AROUND:
        return Outcome(status="failed", detail=_TOO_LONG, logs=logs, fuel_used=used)
    try:
        check_depth(text)
        told = _told.decode(text)
    except (Mismatch, msgspec.MsgspecError):
        told = _Told("failed", message="the contract corrupted its interpreter")
        used = limit
    if told.status == "ok":
        writes = {key: None if value is None else value.encode() for key, value in sorted(effects.writes.items())}
        value = bytes(told.value).decode()
        if len(value) > MAX_RESULT:
            return Outcome(status="failed", detail=_TOO_LONG, logs=logs, fuel_used=used)
        releases = tuple(effects.releases[topic] for topic in sorted(effects.releases))
        return Outcome(
            status="ok",
            value_json=value,
            writes=writes,
            events=tuple(effects.events),
            messages=tuple(effects.messages),
            releases=releases,
            logs=logs,
            fuel_used=used,
        )
    if told.status == "rejected":
        return Outcome(status="rejected", code=told.code[:64], detail=told.detail[:1024], logs=logs, fuel_used=used)
    detail = told.message[:1024]
    return Outcome(status="failed", detail=detail, line=told.line, logs=logs, fuel_used=used)
