"""Everything contract code can reach, and the boundary it is reached through.

The callback is raw ctypes: it costs 4.5 µs where wasmtime-py's own costs 16. Three rules keep it closed:

(1) No exception leaves it. Whatever happens becomes a trap, and the reason is kept beside it.
(2) ctypes swallows an exception raised *before* the callback's `try` (a RecursionError at entry) and hands the guest a
    zero: success. `sys.unraisablehook` does fire, so it poisons the process: no outcome of a poisoned process is used.
(3) Host calls burn fuel like instructions: otherwise a loop of reads would be free.
"""

from __future__ import annotations

import ctypes
import struct
import sys
from collections.abc import Callable
from typing import Any, Final, Self, cast

import wasmtime
from wasmtime import _bindings as typed_bindings
from wasmtime import component

from keephold.base.limits import SANDBOX_MEMORY
from keephold.runtime import machine
from keephold.runtime.effects import Effects, HostViolation
from keephold.runtime.memory import Image, Memories, end

bindings: Final[Any] = typed_bindings
"""wasmtime's C API. Private to wasmtime-py, hence the exact pin of its version; untyped, hence `Any`."""

_STRING: Final = 12
"""`WASMTIME_COMPONENT_STRING`."""
_VALUE: Final = 32
"""Bytes of `wasmtime_component_val`: kind at 0, payload at 8; a string's payload is length, pointer."""
_ARGUMENTS: Final = struct.Struct("<8xI20x8xQQ8x8xQQ8x")
_INTERFACE: Final = "keephold:contract/host"
_OUT_OF_FUEL: Final = "all fuel consumed"
"""In the machine's own words; its interface has no code for it."""
_MEMORIES: Final = 8
_INSTANCES: Final = 64


class Trapped(Exception):
    """The guest trapped: out of fuel, out of stack, an abort, or a host violation (then that is the message)."""


class OutOfFuel(Trapped):
    """It burned its fuel: at the same instruction on every machine."""


class Poisoned(Exception):
    """An exception was swallowed at the boundary: nothing this process says is believed any more."""


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_size_t,
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_void_p,
    ctypes.c_size_t,
)  # environment, store context, function type, arguments, their number, results, their number → error or 0
# PyDLL: short calls that keep the interpreter lock cost a third of those that give it away.
_byte_vec_new: Any = ctypes.PyDLL(bindings.dll._name)["wasm_byte_vec_new"]  # noqa: SLF001 - as the pin
_byte_vec_new.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
_byte_vec_new.restype = None


class Program:
    """A component with its host function, ready to be instantiated. One per process; single-threaded.

    Args:
        engine: takes its memories from `memories`.
        compiled: without memory of its own.
        memories: see there.
        image: what its memory holds before a contract is loaded.
    """

    def __init__(
        self, engine: wasmtime.Engine, compiled: component.Component, memories: Memories, image: Image
    ) -> None:
        self._engine: Final = engine
        self._compiled: Final = compiled
        self._memories: Final = memories
        self._image: Final = image
        self._effects: Effects | None = None
        self._violation: str = ""
        self._poisoned = False
        self._callback: Final = _Callback(self._from_guest)  # kept alive: the linker holds its address only
        self._linker: Final = component.Linker(engine)
        with self._linker.root() as root, root.add_instance(_INTERFACE) as instance:
            name = b"call"
            error = bindings.wasmtime_component_linker_instance_add_func(
                instance.ptr(),
                name,
                len(name),
                ctypes.cast(self._callback, bindings.wasmtime_component_func_callback_t),
                None,
                ctypes.CFUNCTYPE(None, ctypes.c_void_p)(),
            )
            if error:
                raise wasmtime.WasmtimeError._from_ptr(error)  # noqa: SLF001 - as the pin
        self._exports: Final = {name: self._index(name) for name in ("compile", "load", "run")}

    @classmethod
    def open(cls, code: int, image: Image) -> Self:
        """Return the program whose compiled code lies in an immutable file; see `machine.open_component`."""
        memories = Memories()
        engine = machine.new_engine(memories)
        return cls(engine, machine.open_component(engine, code), memories, image)

    def _index(self, name: str) -> component.ExportIndex:
        index = self._compiled.get_export_index(name)
        if index is None:
            raise Trapped(f"the guest does not export {name}")
        return index

    def _poison(self, unraisable: object) -> None:
        self._poisoned = True
        if self._memories.is_callback(getattr(unraisable, "object", None)):
            end()

    def _from_guest(
        self, _env: int, context: int, _type: int, arguments: int, _count: int, results: int, _results: int
    ) -> int:
        try:
            operation, a_size, a, b_size, b = _ARGUMENTS.unpack(ctypes.string_at(arguments, 3 * _VALUE))
            effects = self._effects
            if effects is None:
                raise HostViolation("the host is not available now")
            answer, cost = effects.call(
                operation, ctypes.string_at(a, a_size).decode(), ctypes.string_at(b, b_size).decode()
            )
            _charge(context, cost)
            data = answer.encode()
            ctypes.c_uint8.from_address(results).value = _STRING
            _byte_vec_new(results + 8, len(data), data)
        except HostViolation as e:
            self._violation = str(e)
        except BaseException as e:  # noqa: BLE001 - rule (1): nothing leaves; an error of ours is no outcome (2)
            self._poisoned = True
            self._violation = repr(e)
        else:
            return 0
        return cast(int, ctypes.cast(bindings.wasmtime_error_new(b"host"), ctypes.c_void_p).value)

    def instantiate(self, fuel: int, image: Image | None = None) -> Instance:
        """Return a fresh instance with `fuel` to burn, over the memory of a contract or the guest's own.

        Raises:
            Trapped: the component does not instantiate.
        """
        store = wasmtime.Store(self._engine)
        store.set_limits(memory_size=SANDBOX_MEMORY, memories=_MEMORIES, instances=_INSTANCES, tables=_INSTANCES)
        store.set_fuel(fuel)
        self._memories.use(image or self._image)
        try:
            return Instance(self, store, self._linker.instantiate(store, self._compiled), self._memories.newest())
        except wasmtime.WasmtimeError as e:
            raise Trapped(str(e)) from e

    def export(self, name: str) -> component.ExportIndex:
        """Return the index of an export."""
        return self._exports[name]

    def during(self, effects: Effects | None, enter: Callable[[], str]) -> str:
        """Let the guest reach `effects` while `enter` runs.

        Raises:
            Trapped, Poisoned: see there.
        """
        self._effects, self._violation = effects, ""
        hook, sys.unraisablehook = sys.unraisablehook, self._poison  # rule (2)
        try:
            return enter()
        except Trapped as e:
            raise type(e)(self._violation) from e
        finally:
            sys.unraisablehook = hook
            self._effects = None
            if self._poisoned:
                raise Poisoned(self._violation or "an exception was swallowed at the boundary")


def _charge(context: int, cost: int) -> None:
    """Burn `cost` fuel. At zero the guest's next instruction traps; the answer it got is lost with it."""
    store = ctypes.cast(context, ctypes.POINTER(bindings.wasmtime_context_t))
    fuel = ctypes.c_uint64(0)
    bindings.wasmtime_context_get_fuel(store, ctypes.byref(fuel))
    bindings.wasmtime_context_set_fuel(store, max(0, fuel.value - cost))


class Instance:
    """One instance of a component. After a trap it cannot be entered again."""

    def __init__(
        self, program: Program, store: wasmtime.Store, instance: component.Instance, memory: Callable[[], memoryview]
    ) -> None:
        self._program: Final = program
        self._store: Final = store
        self._instance: Final = instance
        self._memory: Final = memory

    def call(self, export: str, *texts: str, effects: Effects | None = None) -> str:
        """Call an export that takes and returns text.

        Raises:
            Trapped: fuel, stack, an abort, or a host violation, which is then the message.
            Poisoned: the process must end.
        """
        return self._program.during(effects, lambda: self._enter(export, texts))

    def _enter(self, export: str, texts: tuple[str, ...]) -> str:
        function = self._instance.get_func(self._store, self._program.export(export))
        if function is None:
            raise Trapped(f"the guest does not export {export}")
        keep = [text.encode() for text in texts]  # the callee copies; these must outlive the call
        arguments = (bindings.wasmtime_component_val_t * len(keep))()
        for value, data in zip(arguments, keep, strict=True):
            value.kind = _STRING
            value.of.string.size = len(data)
            value.of.string.data = ctypes.cast(ctypes.c_char_p(data), ctypes.POINTER(ctypes.c_uint8))
        result = bindings.wasmtime_component_val_t()
        error = bindings.wasmtime_component_func_call(
            ctypes.byref(function._func),  # noqa: SLF001 - as the pin
            self._store._context(),  # noqa: SLF001 - as the pin
            arguments,
            len(keep),
            ctypes.byref(result),
            1,
        )
        if error:
            said = str(wasmtime.WasmtimeError._from_ptr(error))  # noqa: SLF001 - as the pin
            raise OutOfFuel if _OUT_OF_FUEL in said else Trapped
        try:
            if result.kind != _STRING:
                raise Trapped
            text = result.of.string
            return ctypes.string_at(text.data, text.size).decode()
        finally:
            bindings.wasmtime_component_val_delete(ctypes.byref(result))

    def refuel(self, fuel: int) -> None:
        """Set the fuel left."""
        self._store.set_fuel(fuel)

    def fuel(self) -> int:
        """Return the fuel left; exact unless the instance trapped."""
        return self._store.get_fuel()

    def memory(self) -> memoryview:
        """Return what its memory holds now; after a trap, what it held then."""
        return self._memory()

    def snapshot(self, image: Image) -> None:
        """Make what its memory holds now the image of instances to come; it must not have been left by a trap.

        Memory is all that an execution leaves behind: the guest's code writes no table, and no global but the stack
        pointer (the linker refuses others), which is back where it was when an export has returned.
        """
        image.fill(self._memory())

    def close(self) -> None:
        """Free the instance and its memory."""
        self._store.close()
