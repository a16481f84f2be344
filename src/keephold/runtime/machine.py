"""The engine: one wasmtime configuration, for every contract on every machine.

On: fuel, NaN canonicalisation. Off: every proposal that the guest does not need, since each is attack surface and some
(threads, relaxed SIMD) are nondeterministic.

Epoch interruption is off too: fuel bounds queries as well as transactions, host calls are charged, and a watchdog in
the parent ends a process that hangs all the same. Epochs would cost another 14 %.

Fuel, results and traps then depend on the component's bytes alone: not on the machine, the process or the hash seed.
"""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import Final

import wasmtime
from wasmtime import component

from keephold.runtime.memory import Memories

_CONFIGURATION: Final = "fuel,nan,host-memory;2"
"""Raise the number when a setting below changes: compiled code of another configuration must miss the cache."""


def fingerprint() -> str:
    """Return what compiled code depends on beside its source: wasmtime's version, the configuration, the processor."""
    return f"wasmtime-{version('wasmtime')};{_CONFIGURATION};{platform.machine()}"


def new_engine(memories: Memories) -> wasmtime.Engine:
    """Return an engine whose instances take their memory from `memories`, which outlives it.

    One per process is enough; it is not shared between threads that execute.
    """
    config = wasmtime.Config()
    config.consume_fuel = True
    config.cranelift_nan_canonicalization = True
    config.wasm_simd = False
    config.wasm_relaxed_simd = False
    config.wasm_threads = False
    config.wasm_memory64 = False
    config.wasm_multi_memory = False
    config.wasm_tail_call = False
    config.wasm_gc = False
    config.wasm_function_references = False
    config.wasm_exceptions = False
    config.wasm_stack_switching = False
    config.wasm_wide_arithmetic = False
    memories.serve(config)
    return wasmtime.Engine(config)


def compile_component(wasm: bytes) -> bytes:
    """Return the native code of a component without its memory, serialised. The Python guest takes seconds and 660 MB.

    Raises:
        wasmtime.WasmtimeError: not a component, or one that needs a disabled feature.
    """
    with new_engine(Memories()) as engine, component.Component(engine, wasm) as compiled:
        return bytes(compiled.serialize())


def open_component(engine: wasmtime.Engine, descriptor: int) -> component.Component:
    """Return a component from serialised native code in an open, immutable file.

    The caller vouches for the bytes: deserialising **is** running native code. They are mapped, not copied.

    Raises:
        wasmtime.WasmtimeError: serialised by another version or configuration.
    """
    return component.Component.deserialize_file(engine, f"/proc/self/fd/{descriptor}")
