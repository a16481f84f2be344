"""The linear memory of instances: private views of an image, put back to it instead of made anew.

A fresh instance for each transaction means fresh memory, and most of what that costs is page faults: some 400 of
3 µs each, when every instance maps its own. So a memory that an instance has left is restored and serves the next.

(1) A view is a private mapping of a sealed memory file, the `Image`. What an instance writes goes to anonymous pages
    of its own; the file never changes.
(2) A page can differ from the image only if it is anonymous: the kernel copies a page of a private file mapping at the
    first write, and never turns it back. So copying the image over every anonymous page restores the view. The kernel
    lists them (PAGEMAP_SCAN, Linux 6.7); where it cannot, or they are many, the mapping is dropped, which restores the
    view by definition. The list stands as long as the process had no page fault, since only a fault makes a page
    anonymous.
(3) What the instance grew is unmapped.
(4) A view returns to the idle ones as the last step: one that was not restored serves nobody.

For wasmtime this is a host memory: an address, a size, and room to grow. Compiled code relies on the whole span being
reserved and inaccessible beyond the size. A callback that failed without saying so would leave it a memory at
address 0, so nothing here fails: the process ends instead, and its parent starts another. That holds for a machine
out of memory, too: it is not the contract's, and must not become an outcome.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import resource
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import wasmtime
from wasmtime import _bindings as typed_bindings

bindings: Final[Any] = typed_bindings

_SEALS: Final = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
_CHUNK: Final = mmap.PAGESIZE
_NOTHING: Final = bytes(_CHUNK)
_MAP_FIXED: Final = 0x10
_MAP_NORESERVE: Final = 0x4000
_FAILED: Final = ctypes.c_void_p(-1).value
_KEPT: Final = 4 << 20
"""Bytes of anonymous pages that are copied over; beyond, dropping the mapping is cheaper."""
_RANGES: Final = 512
_SCAN: Final = 0xC060_6610
"""`PAGEMAP_SCAN`, which takes a `struct pm_scan_arg`."""
_WORDS: Final = 12
"""Words of that structure: size, flags, start, end, where the walk ended, ranges found, room for how many, pages at
most; then the categories: inverted, all of, any of, returned."""
_IS_FILE, _IS_PRESENT, _IS_SWAPPED = 1 << 2, 1 << 3, 1 << 4

_libc: Final = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
_libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
# PyDLL and ready-made arguments: 0.4 µs a range.
_copy: Final[Any] = ctypes.PyDLL(None)["memmove"]
_copy.restype = None


def _map(address: int | None, size: int, protection: int, flags: int, descriptor: int = -1) -> int:
    found: int = _libc.mmap(address, size, protection, flags, descriptor, 0)
    if found == _FAILED:
        raise OSError(ctypes.get_errno(), "mmap")
    return found


class Image:
    """What a fresh instance finds in its memory.

    Made empty, since an execution process gives up the means to make one before it has anything to put there.

    Args:
        descriptor: of a sealed memory file that holds the image; borrowed. None for one to be filled later.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        self._own: Final = descriptor is None
        flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
        self.descriptor: Final = os.memfd_create("keephold-image", flags) if descriptor is None else descriptor
        self.size = 0
        """Bytes; 0 until it is filled."""
        self.address = 0
        """Where it can be read."""
        self.idle: Final[list[_View]] = []
        if descriptor is not None:
            self._open()

    def _open(self) -> None:
        self.size = os.fstat(self.descriptor).st_size
        self.address = _map(None, self.size, mmap.PROT_READ, mmap.MAP_PRIVATE, self.descriptor)

    def fill(self, data: memoryview) -> None:
        """Store the image, once and for ever.

        Raises:
            OSError: there is one already, or no memory for it.
        """
        os.ftruncate(self.descriptor, len(data))
        for start in range(0, len(data), _CHUNK):
            chunk = data[start : start + _CHUNK]
            if chunk != _NOTHING:
                os.pwrite(self.descriptor, chunk, start)
        fcntl.fcntl(self.descriptor, fcntl.F_ADD_SEALS, _SEALS)
        self._open()

    def close(self) -> None:
        """Unmap it and the views that are idle."""
        while self.idle:
            self.idle.pop().unmap()
        if self.address:
            _libc.munmap(self.address, self.size)
            self.address = 0
            if self._own:
                os.close(self.descriptor)


class _View:
    """One memory: a private mapping of an image at the start of a reserved span."""

    def __init__(self, image: Image, span: int) -> None:
        reserve = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE
        self.image: Final = image
        self.span: Final = span
        self.base: Final = _map(None, span, 0, reserve)
        self.size = image.size
        self.faults = -1
        """Of the process when `copies` was right; see (2)."""
        self.copies: list[tuple[ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]] = []
        """Target, source and bytes of what is anonymous."""
        writable = mmap.PROT_READ | mmap.PROT_WRITE
        _map(self.base, image.size, writable, mmap.MAP_PRIVATE | _MAP_FIXED, image.descriptor)

    def grow(self, size: int) -> None:
        """Make it `size` bytes."""
        if size > self.span or _libc.mprotect(
            self.base + self.size, size - self.size, mmap.PROT_READ | mmap.PROT_WRITE
        ):
            raise OSError(ctypes.get_errno(), "mprotect")
        self.size = size

    def shrink(self) -> None:
        """Take back what it grew."""
        if self.size > self.image.size:
            flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE | _MAP_FIXED
            _map(self.base + self.image.size, self.size - self.image.size, 0, flags)
            self.size = self.image.size

    def unmap(self) -> None:
        """Free it."""
        _libc.munmap(self.base, self.span)


class Memories:
    """The memories of one process's instances. Single-threaded, and to outlive the engine it is given to."""

    def __init__(self) -> None:
        self._image: Image | None = None
        self._live: Final[dict[int, _View]] = {}
        self._capacity = 0
        self._last = 0
        self._ranges: Final = (ctypes.c_uint64 * (3 * _RANGES))()  # of start, end, categories
        self._pagemap = -1
        with suppress(OSError):
            self._pagemap = os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
        self._get: Final = bindings.wasmtime_memory_get_callback_t(self._on_get)
        self._grow: Final = bindings.wasmtime_memory_grow_callback_t(self._on_grow)
        self._leave: Final = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self._on_leave)
        self._new: Final = bindings.wasmtime_new_memory_callback_t(self._on_new)

    def serve(self, config: wasmtime.Config) -> None:
        """Let engines of this configuration take their memories here."""
        creator = bindings.wasmtime_memory_creator(None, self._new, ctypes.CFUNCTYPE(None, ctypes.c_void_p)())
        bindings.wasmtime_config_host_memory_creator_set(config.ptr(), ctypes.byref(creator))

    def use(self, image: Image) -> None:
        """Make the next instance from this image."""
        self._image = image

    def newest(self) -> Callable[[], memoryview]:
        """Return what returns the bytes of the memory that was made last; to be called while its instance lives."""
        view = self._live[self._last]
        return lambda: memoryview((ctypes.c_ubyte * view.size).from_address(view.base)).cast("B")

    def is_callback(self, thing: object) -> bool:
        """Tell whether this is one of the callbacks that must not fail."""
        return thing in (self._on_new, self._on_get, self._on_grow, self._on_leave)

    # Callbacks. Whatever is raised in one, even before its first line, must end the process: see `end`.

    def _on_new(
        self, _env: int, _type: object, _minimum: int, _maximum: int, reserved: int, guard: int, result: Any
    ) -> int:
        try:
            image = self._image
            if image is None or not image.size:
                raise ValueError("there is no image")
            view = image.idle.pop() if image.idle else _View(image, reserved + guard)
            self._capacity, self._last = reserved, view.base
            self._live[view.base] = view
            memory = result.contents
            memory.env, memory.get_memory, memory.grow_memory = view.base, self._get, self._grow
            memory.finalizer = self._leave
        except BaseException:  # noqa: BLE001 - as above
            end()
        return 0

    def _on_get(self, base: int, size: Any, capacity: Any) -> int:
        try:
            size[0], capacity[0] = self._live[base].size, self._capacity
        except BaseException:  # noqa: BLE001 - as above
            end()
        return base

    def _on_grow(self, base: int, size: int) -> int:
        try:
            self._live[base].grow(size)
        except BaseException:  # noqa: BLE001 - as above
            end()
        return 0

    def _on_leave(self, base: int) -> None:
        try:
            view = self._live.pop(base)
            self._restore(view)
            view.image.idle.append(view)  # (4)
        except BaseException:  # noqa: BLE001 - as above
            end()

    def _restore(self, view: _View) -> None:
        view.shrink()  # (3)
        if view.faults != _faults() and not self._find(view):
            if _libc.madvise(view.base, view.size, mmap.MADV_DONTNEED):
                raise OSError(ctypes.get_errno(), "madvise")
            view.faults = -1
            return
        for copy in view.copies:
            _copy(*copy)

    def _find(self, view: _View) -> bool:
        """Find (2) the anonymous pages; tell whether they are known, and few."""
        if self._pagemap < 0:
            return False
        faults = _faults()  # before the scan: a fault during it makes the next restoration scan again
        last = view.base + view.size
        room = (ctypes.addressof(self._ranges), _RANGES, 0)
        wanted = (_IS_FILE, _IS_FILE, _IS_PRESENT | _IS_SWAPPED, _IS_FILE)  # not of a file, and there
        scan = (ctypes.c_uint64 * _WORDS)(8 * _WORDS, 0, view.base, last, 0, *room, *wanted)
        count = _libc.ioctl(self._pagemap, ctypes.c_ulong(_SCAN), ctypes.byref(scan))
        if count < 0 or scan[4] != last:
            return False
        words = self._ranges[: 3 * count]
        ranges = [(start, end_ - start) for start, end_ in zip(words[::3], words[1::3], strict=True)]
        if sum(size for _, size in ranges) > _KEPT:
            return False
        shift = view.image.address - view.base
        view.faults = faults
        view.copies = [
            (ctypes.c_void_p(start), ctypes.c_void_p(start + shift), ctypes.c_size_t(size)) for start, size in ranges
        ]
        return True


def _faults() -> int:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_minflt + usage.ru_majflt


def end() -> None:
    """End the process: compiled code would go on with a memory that is not there."""
    os.abort()
