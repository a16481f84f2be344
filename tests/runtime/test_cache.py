from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from keephold.base.errors import ConfigurationError
from keephold.crypto.secret import SecretBytes
from keephold.runtime import artefact as artefacts
from keephold.runtime import machine
from keephold.runtime.artefact import GuestArtefact, guest_artefact
from keephold.runtime.cache import CompiledCache, store

KEY = SecretBytes(b"k" * 32)
WASM = bytes.fromhex("0061736d0d000100010d0061736d010000000503010001")
"""A component of one core module with a memory of one page."""
OTHER = WASM[:-1] + b"\x02"
"""The same with two pages."""


class Compiler:
    """Counts its work; the code is recognisable, and never loaded."""

    def __init__(self):
        self.ran = 0

    def __call__(self, wasm):
        self.ran += 1
        return b"code of " + wasm


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "guest.wasm"
    path.write_bytes(WASM)
    return artefacts._found(path)


def code_of(cache, artefact):
    with cache.guest(artefact) as guest:
        return os.pread(guest.descriptor, 1 << 20, 0)


def test_it_compiles_once(tmp_path, small):
    compiler = Compiler()
    cache = CompiledCache(tmp_path / "cache", KEY, compiler)
    assert code_of(cache, small) == code_of(cache, small) == b"code of " + WASM
    assert compiler.ran == 1
    assert CompiledCache(tmp_path / "cache", KEY, compiler).guest(small).close() is None
    assert compiler.ran == 1


@pytest.mark.parametrize("place", [0, 31, 32, -1])
def test_a_flipped_byte_is_never_loaded_but_compiled_again(tmp_path, small, place):
    compiler = Compiler()
    cache = CompiledCache(tmp_path / "cache", KEY, compiler)
    code_of(cache, small)
    (entry,) = (tmp_path / "cache").iterdir()
    data = bytearray(entry.read_bytes())
    data[place] ^= 1
    entry.write_bytes(data)
    assert code_of(cache, small) == b"code of " + WASM
    assert compiler.ran == 2
    assert code_of(cache, small) == b"code of " + WASM
    assert compiler.ran == 2


def test_an_entry_counts_for_its_key_guest_and_engine_only(tmp_path, small, monkeypatch):
    compiler = Compiler()
    directory = tmp_path / "cache"
    code_of(CompiledCache(directory, KEY, compiler), small)
    code_of(CompiledCache(directory, SecretBytes(b"other" * 7), compiler), small)
    assert compiler.ran == 2
    other = tmp_path / "other.wasm"
    other.write_bytes(OTHER)
    (entry,) = directory.iterdir()
    moved = artefacts._found(other)
    entry.rename(directory / f"{moved.sha256.hex()[:16]}.cwasm")
    code_of(CompiledCache(directory, SecretBytes(b"other" * 7), compiler), moved)
    assert compiler.ran == 3
    monkeypatch.setattr(machine, "fingerprint", lambda: "another engine")
    code_of(CompiledCache(directory, SecretBytes(b"other" * 7), compiler), moved)
    assert compiler.ran == 4


@pytest.mark.parametrize("content", [b"", b"short"])
def test_a_truncated_entry_is_compiled_again(tmp_path, small, content):
    compiler = Compiler()
    cache = CompiledCache(tmp_path / "cache", KEY, compiler)
    code_of(cache, small)
    (entry,) = (tmp_path / "cache").iterdir()
    entry.write_bytes(content)
    assert code_of(cache, small) == b"code of " + WASM


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path, small):
    blocked = tmp_path / "file"
    blocked.write_bytes(b"")
    assert code_of(CompiledCache(blocked / "cache", KEY, Compiler()), small) == b"code of " + WASM


def test_the_compiled_guest_cannot_be_altered(tmp_path, small):
    with CompiledCache(tmp_path / "cache", KEY, Compiler()).guest(small) as guest:
        with pytest.raises(OSError, match="not permitted"):
            os.pwrite(guest.descriptor, b"x", 0)
        with pytest.raises(OSError, match="not permitted"):
            os.ftruncate(guest.descriptor, 0)


def test_another_guest_than_the_pinned_one_is_not_compiled(tmp_path, small):
    small.path.write_bytes(b"swapped")
    compiler = Compiler()
    with pytest.raises(ValueError, match="changed"):
        CompiledCache(tmp_path / "cache", KEY, compiler).guest(small)
    assert compiler.ran == 0


def test_a_store_that_fails_leaves_nothing(tmp_path, monkeypatch):
    replace = Path.replace

    def refuse(self, target):
        if self.is_relative_to(tmp_path):  # a network of other tests may live in this process
            raise OSError("full")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OSError, match="full"):
        store(tmp_path / "entry", b"data")
    assert list(tmp_path.iterdir()) == []


def test_a_packaged_guest_comes_first(tmp_path, monkeypatch):
    packaged = tmp_path / "artefact.wasm"
    packaged.write_bytes(b"shipped")
    monkeypatch.setattr(artefacts, "_PACKAGED", packaged)
    assert guest_artefact(directory=tmp_path) == GuestArtefact(packaged, artefacts.sha256(b"shipped"))


def test_the_name_of_a_build_follows_its_sources(monkeypatch):
    before = artefacts._key()
    sources = artefacts._sources()
    monkeypatch.setattr(artefacts, "_sources", lambda: sources | {"more.py": Path(__file__)})
    assert artefacts._key() != before


def test_a_missing_or_failing_build_tool_is_a_configuration_error(tmp_path, monkeypatch):
    monkeypatch.setattr(artefacts, "_TOOL", "keephold-no-such-tool")
    with pytest.raises(ConfigurationError, match="dependency group"):
        guest_artefact(directory=tmp_path)
    monkeypatch.setattr(artefacts, "_TOOL", "componentize-py")
    broken = tmp_path / "broken.wit"
    broken.write_text("nonsense")
    sources = artefacts._sources() | {"contract.wit": broken}
    monkeypatch.setattr(artefacts, "_sources", lambda: sources)
    with pytest.raises(ConfigurationError, match="failed"):
        guest_artefact(directory=tmp_path)
    assert not list(tmp_path.glob("guest-*.wasm"))


def test_two_processes_build_one_guest(tmp_path):
    script = (
        "import sys; from pathlib import Path; from keephold.runtime import artefact as a\n"
        "a._build = lambda path, progress: (progress('build'), __import__('time').sleep(0.5), path.write_bytes(b'w'))\n"
        "a.guest_artefact(print, Path(sys.argv[1]))"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = "".join(process.communicate()[0] for process in running)
    assert said.count("build") == 1
