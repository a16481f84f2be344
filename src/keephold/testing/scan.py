"""Looks for secrets where there must be none: disks, logs, captured traffic (G1, G2, G3).

A secret betrays itself in many spellings. Each is derived from the secret (`spellings`), and each is looked for by its
two halves: whatever cuts a secret *once* (a page boundary inside SQLite, a chunk boundary of HTTP, a line break) leaves
one half whole. Secrets have 16 bytes or more, so a half has at least 64 bits and does not occur by chance in what a
test can produce; most have 128.

Files are read raw, whatever they claim to be: free pages and write-ahead logs of SQLite, deleted rows, half-written
records. Holes of sparse files are skipped.

What a scan cannot see, its user must argue otherwise: compressed or encrypted copies, and secrets cut twice. So each
test first plants every spelling and asks that all of them be found (`plant`): a scanner that looks in the wrong place
proves nothing.

A finding names the secret by the label its user gave it. The secret itself is never printed, raised or returned.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

SHORTEST: Final = 16
"""Bytes of the shortest secret that can be looked for."""

_CHUNK: Final = 1 << 20
_SIX_BITS: Final = 6


@dataclass(frozen=True, slots=True)
class Finding:
    """A secret lies where it must not."""

    label: str
    spelling: str
    place: str
    """File, or what the bytes were called."""
    offset: int
    """Of the half that was found first."""


def spellings(secret: bytes) -> dict[str, bytes]:
    """Return the ways a secret may be spelled, by name; those that equal an earlier one are left out."""
    latin = secret.decode("latin-1")
    found = {
        "raw": secret,
        "reversed": secret[::-1],
        "hex": secret.hex().encode(),
        "HEX": secret.hex().upper().encode(),
        "reversed hex": secret[::-1].hex().encode(),
        "integer": str(int.from_bytes(secret, "big")).encode(),
        "little-endian integer": str(int.from_bytes(secret, "little")).encode(),
        "list": ", ".join(map(str, secret)).encode(),
        "compact list": ",".join(map(str, secret)).encode(),
        "repr": repr(secret)[2:-1].encode(),
        "JSON": json.dumps(latin)[1:-1].encode(),
        "UTF-8": latin.encode(),
        "percent": "".join(f"%{byte:02X}" for byte in secret).encode(),
    }
    for shift in range(3):
        standard = _base64_core(secret, shift)
        found[f"base64 at {shift}"] = standard
        found[f"URL base64 at {shift}"] = standard.replace(b"+", b"-").replace(b"/", b"_")
    first = {spelled: name for name, spelled in reversed(found.items())}
    return {name: spelled for name, spelled in found.items() if first[spelled] == name}


@final
class Scanner:
    """Looks for a fixed set of labelled secrets."""

    def __init__(self, secrets: Mapping[str, bytes]) -> None:
        """Prepare for secrets by label.

        Raises:
            ValueError: a secret is too short to be told from chance.
        """
        needles = []
        for label, secret in secrets.items():
            if len(secret) < SHORTEST:
                raise ValueError(f"{label}: {len(secret)} bytes; the shortest secret has {SHORTEST}")
            for spelling, spelled in spellings(secret).items():
                middle = len(spelled) // 2
                needles += [(spelled[:middle], label, spelling), (spelled[middle:], label, spelling)]
        self._needles: Final = tuple(needles)
        self._overlap: Final = max((len(needle) for needle, _, _ in needles), default=1) - 1

    def __repr__(self) -> str:
        return f"Scanner({len({label for _, label, _ in self._needles})} secrets)"

    def data(self, content: bytes, place: str) -> list[Finding]:
        """Return what is found in bytes: one finding for each secret and spelling."""
        return self._search([(0, content)], place)

    def file(self, path: Path) -> list[Finding]:
        """Return what is found in a file; nothing in one that is gone."""
        try:
            with path.open("rb", buffering=0) as file:
                return self._search(_pieces(file.fileno(), self._overlap), str(path))
        except FileNotFoundError:
            return []

    def directory(self, path: Path) -> list[Finding]:
        """Return what is found in all files below a directory, in their names and in what links point at."""
        found = []
        for place in sorted(path.rglob("*")):
            found += self.data(os.fsencode(place.relative_to(path)), f"the name of {place}")
            if place.is_symlink():
                found += self.data(os.fsencode(place.readlink()), f"the target of {place}")
            elif place.is_file():
                found += self.file(place)
        return found

    def places(self, paths: Iterable[Path]) -> list[Finding]:
        """Return what is found in files and directories."""
        found = []
        for path in paths:
            found += self.directory(path) if path.is_dir() else self.file(path)
        return found

    def _search(self, pieces: Iterable[tuple[int, bytes]], place: str) -> list[Finding]:
        found: dict[tuple[str, str], Finding] = {}
        for start, piece in pieces:
            for needle, label, spelling in self._needles:
                if (label, spelling) not in found and (at := piece.find(needle)) >= 0:
                    found[label, spelling] = Finding(label, spelling, place, start + at)
        return list(found.values())


def plant(directory: Path, secrets: Mapping[str, bytes]) -> list[tuple[str, str]]:
    """Write every spelling of every secret into files of a directory, so that a scanner can show that it finds them.

    Returns:
        Label and spelling of each, as the findings must name them.
    """
    planted = []
    directory.mkdir(parents=True, exist_ok=True)
    for index, (label, secret) in enumerate(secrets.items()):
        for number, (spelling, spelled) in enumerate(spellings(secret).items()):
            around = os.urandom(97)
            (directory / f"{index}-{number}").write_bytes(around + spelled + around)
            planted.append((label, spelling))
    return planted


def _base64_core(secret: bytes, shift: int) -> bytes:
    """Return those base64 characters that the secret alone decides when `shift` bytes stand before it."""
    encoded = base64.b64encode(bytes(shift) + secret)
    first = -(-8 * shift // _SIX_BITS)
    last = 8 * (shift + len(secret)) // _SIX_BITS
    return encoded[first:last]


def _pieces(descriptor: int, overlap: int) -> Iterator[tuple[int, bytes]]:
    """Yield offset and content of a file's data, each piece beginning with the end of the one before."""
    size = os.fstat(descriptor).st_size
    at = 0
    while at < size:
        try:
            at = os.lseek(descriptor, at, os.SEEK_DATA)
            end = os.lseek(descriptor, at, os.SEEK_HOLE)
        except OSError:  # nothing but a hole is left, or the file shrank
            return
        carried = b""
        while at < end:
            read = os.pread(descriptor, min(_CHUNK, end - at), at)
            if not read:
                return
            piece = carried + read
            yield at - len(carried), piece
            at += len(read)
            carried = piece[-overlap:] if overlap else b""
