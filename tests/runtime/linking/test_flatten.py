"""The linked component does what its parts did; whatever it would not do is refused."""

from __future__ import annotations

import pytest
import wasmtime
from hypothesis import given, settings
from hypothesis import strategies as st
from wasmtime import component

from keephold.runtime.linking import wasm
from keephold.runtime.linking.component import CORE_MODULE, Assembly
from keephold.runtime.linking.flatten import flatten
from keephold.runtime.linking.module import take_apart

HOST = '"keephold:contract/host"'
PARTS = """
(component
  (import %(host)s (instance $h (export "call"
    (func (param "op" u32) (param "a" string) (param "b" string) (result string)))))
  (core module $shim
    (type $t (func (param i32 i32 i32 i32 i32 i32)))
    (table (export "$imports") 1 1 funcref)
    (func (export "0") (type $t)
      local.get 0 local.get 1 local.get 2 local.get 3 local.get 4 local.get 5 i32.const 0 call_indirect (type $t)))
  (core module $env
    (type $unused (func (param f64)))
    (import "host" "call" (func $call (param i32 i32 i32 i32 i32 i32)))
    (memory (export "memory") 1)
    (table (export "table") 40 funcref)
    (global (export "__stack_pointer") (mut i32) (i32.const 60000))
    (global (export "base") i32 (i32.const 30))
    (global (export "seven") i64 (i64.const 7))
    %(env)s
    (func (export "call") (param i32 i32 i32 i32 i32 i32)
      local.get 0 local.get 1 local.get 2 local.get 3 local.get 4 local.get 5 call $call)
    (data (i32.const 100) "hello")
    (data (i32.const 65530) "end"))
  (core module $lib
    (import "env" "memory" (memory 1))
    (import "env" "table" (table $table 1 funcref))
    (import "env" "__stack_pointer" (global $sp (mut i32)))
    (import "env" "base" (global $base i32))
    (import "env" "seven" (global $seven i64))
    (import "env" "call" (func $call (param i32 i32 i32 i32 i32 i32)))
    (type $one (func (param i32) (result i32)))
    (type $two (func (param i32 i32) (result i32)))
    (global $next (mut i32) (i32.add (global.get $base) (i32.const 1)))
    (elem (table $table) (offset (global.get $base)) func $double)
    (elem (table $table) (offset (i32.add (global.get $base) (i32.const 1))) func $triple $double)
    %(lib)s
    (func $double (type $one) local.get 0 i32.const 1 i32.shl)
    (func $triple (type $one)
      (local $x f64) (local i64 i64)
      f64.const 1.5 local.set $x
      local.get 0 i32.const 3 i32.mul
      local.get 0
      block (type $two) drop end)
    (func $op (param i32) (result i32)
      block block block local.get 0 br_table 0 1 2 end
      i32.const 5 global.get $base call_indirect (type $one) return end
      i32.const 5 global.get $next call_indirect (type $one) return end
      global.get $seven i32.wrap_i64 f32.const 2.5 i32.trunc_sat_f32_s i32.add)
    (func (export "run") (param i32 i32) (result i32)
      global.get $sp i32.const 16 i32.sub global.set $sp
      local.get 1 call $op
      local.get 0 local.get 1 i32.const 100 i32.const 5 global.get $sp call $call
      global.get $sp
      global.get $sp i32.const 16 i32.add global.set $sp)
    (func (export "post") (param i32) i32.const 200 i32.const 0 i32.const 10 memory.fill)
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
      (local i32) i32.const 4096 local.set 4 local.get 4))
  (core module $fix
    (import "" "$imports" (table 1 1 funcref))
    (import "" "0" (func (param i32 i32 i32 i32 i32 i32)))
    (elem (i32.const 0) func 0))
  (core instance $shim (instantiate $shim))
  (alias core export $shim "0" (core func $call))
  (core instance $host (export "call" (func $call)))
  (core instance $env (instantiate $env (with "host" (instance $host))))
  (alias core export $env "memory" (core memory $memory))
  (core instance $lib (instantiate $lib (with "env" (instance $env))))
  (alias core export $lib "cabi_realloc" (core func $realloc))
  (alias export $h "call" (func $hf))
  (core func $lowered (canon lower (func $hf) (memory $memory) (realloc $realloc) string-encoding=utf8))
  (alias core export $shim "$imports" (core table $imports))
  (core instance $fixes (export "$imports" (table $imports)) (export "0" (func $lowered)))
  (core instance (instantiate $fix (with "" (instance $fixes))))
  (type $run (func (param "text" string) (result string)))
  (alias core export $lib "run" (core func $run))
  (alias core export $lib "post" (core func $post))
  (func $lifted (type $run) (canon lift (core func $run) (memory $memory) (realloc $realloc) (post-return $post)
    string-encoding=utf8))
  (export "run" (func $lifted)))
"""


def parts(env: str = "", lib: str = "") -> bytes:
    return bytes(wasmtime.wat2wasm(PARTS % {"host": HOST, "env": env, "lib": lib}))


def answers(data: bytes) -> list[str]:
    engine = wasmtime.Engine()
    linker = component.Linker(engine)
    with linker.root() as root, root.add_instance("keephold:contract/host") as instance:
        instance.add_func("call", lambda _store, op, a, b: f"{op}/{a}/{b}")
    with wasmtime.Store(engine) as store:
        made = linker.instantiate(store, component.Component(engine, data))
        run = made.get_func(store, "run")
        out = []
        for text in ("", "x", "xy", "é" * 20):
            out.append(run(store, text))
            run.post_return(store)
        return out


def test_the_linked_component_answers_as_its_parts():
    whole = flatten(parts())
    assert answers(whole) == answers(parts()) == ["10//hello", "15/x/hello", "9/xy/hello", f"9/{'é' * 20}/hello"]
    assert [identity for identity, *_ in wasm.sections(whole)].count(CORE_MODULE) == 3
    assert Assembly(whole).exports.keys() == {"run"}


REFUSED = {
    "a function that writes a table": ("", "(func i32.const 0 ref.null func table.set $table)", "table"),
    "a table that grows": ("", "(func ref.null func i32.const 1 table.grow $table drop)", "table"),
    "elements copied": ("", "(func i32.const 0 i32.const 0 i32.const 0 table.copy $table $table)", "table"),
    "a global that varies": ("", "(func i32.const 1 global.set $next)", "stack pointer"),
    "a start": ("(func $s) (start $s)", "", "start"),
    "passive elements": ("(elem func)", "", "active"),
    "elements by expression": ("(elem (i32.const 0) funcref (ref.null func))", "", "active"),
    "passive data": ('(data "x") (func data.drop 0)', "", "passive"),
    "a second memory": ("(memory 1)", "", "one memory"),
    "a vector": ("", "(func v128.const i64x2 0 0 drop)", "instruction"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_needs_more_than_renumbering_is_refused(name):
    env, lib, reason = REFUSED[name]
    with pytest.raises(ValueError, match=reason):
        flatten(parts(env, lib))


WHOLE = parts()


@settings(max_examples=300)
@given(st.integers(0, len(WHOLE) - 1), st.integers(0, 255))
def test_an_altered_component_is_linked_or_refused(place, byte):
    altered = bytearray(WHOLE)
    altered[place] = byte
    try:
        flatten(bytes(altered))
    except ValueError:
        return


def test_the_guest_can_change_nothing_but_its_memory_and_its_stack_pointer(artefact):
    """What a snapshot of the memory relies on; see Instance.snapshot."""
    data = artefact.read()
    identity, _, body, end = next(section for section in wasm.sections(data) if section[0] == CORE_MODULE)
    assert identity == CORE_MODULE
    module = take_apart(data[body:end])
    assert len(module.imports) == len(module.memories) == 1
    written = set()
    for start, last in module.bodies:
        count, at = wasm.read(module.data, start)
        for _ in range(count):
            at = wasm.skip(module.data, at) + 1
        for opcode, _, place, _ in wasm.names(module.data, at, last):
            if opcode == wasm.GLOBAL_SET:
                written.add(wasm.read(module.data, place)[0])
    assert len(written) == 1
