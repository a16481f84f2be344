"""The guest artefact: the WebAssembly component that runs Python contracts.

Its build is not reproducible: hash seed and heap layout differ each time, and with them fuel. Genesis therefore pins
the SHA-256 of one artefact, and two builds are two networks. A wheel ships it; a clone builds it once for each state
of the guest's sources, into a cache directory, and every devnet of that user shares it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from keephold.base.errors import ConfigurationError
from keephold.crypto.hashing import sha256
from keephold.runtime.linking.flatten import flatten

if TYPE_CHECKING:
    from collections.abc import Iterator

Progress = Callable[[str], None]
"""Called with a line for the user when something takes seconds."""

_GUEST: Final = Path(__file__).parent / "guest"
_PACKAGE: Final = Path(__file__).parent.parent
_LINKING: Final = Path(__file__).parent / "linking"
_PACKAGED: Final = _GUEST / "artefact.wasm"
_TOOL: Final = "componentize-py"


def silent(line: str) -> None:
    """Take a progress line and drop it."""


@dataclass(frozen=True, slots=True)
class GuestArtefact:
    """A guest on disk and its identity."""

    path: Path
    sha256: bytes
    """32 bytes: what genesis pins."""

    def read(self) -> bytes:
        """Return the component's bytes, checked.

        Raises:
            ValueError: the file is no longer the one that was found.
            OSError: it cannot be read.
        """
        data = self.path.read_bytes()
        if sha256(data) != self.sha256:
            raise ValueError(f"{self.path} changed since it was found")
        return data


def cache_directory() -> Path:
    """Return `$KEEPHOLD_CACHE`, or `$XDG_CACHE_HOME/keephold`, or `~/.cache/keephold`."""
    named = os.environ.get("KEEPHOLD_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "keephold"


def guest_artefact(progress: Progress = silent, directory: Path | None = None) -> GuestArtefact:
    """Return the guest: packaged, cached, or built now (about ten seconds, once).

    Raises:
        ConfigurationError: it must be built and the build tool is missing or fails; the message says what to do.
    """
    if _PACKAGED.exists():
        return _found(_PACKAGED)
    directory = directory or cache_directory()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / f"guest-{_key()}.wasm"
    if not path.exists():
        with _locked(directory / "guest.lock"):
            if not path.exists():  # another process built it while we waited
                _build(path, progress)
    return _found(path)


def _found(path: Path) -> GuestArtefact:
    return GuestArtefact(path, sha256(path.read_bytes()))


def _sources() -> dict[str, Path]:
    """Return what the build reads: its name in the build tree, and where it is."""
    sources = {"app.py": _GUEST / "app.py", "contract.wit": _GUEST / "contract.wit"}
    sources["keephold/__init__.py"] = _PACKAGE / "__init__.py"
    for path in sorted((_PACKAGE / "contract").glob("*.py")):
        sources[f"keephold/contract/{path.name}"] = path
    return sources


def _key() -> str:
    """Return the name of this state of the sources: 16 hexadecimal digits."""
    digest = hashlib.sha256(_tool_version().encode())
    linking = {f"linking/{path.name}": path for path in sorted(_LINKING.glob("*.py"))}
    for name, path in (_sources() | linking).items():
        digest.update(f"{name}\0{sha256(path.read_bytes()).hex()}\0".encode())
    return digest.hexdigest()[:16]


def _tool_version() -> str:
    try:
        return version(_TOOL)
    except PackageNotFoundError as e:
        raise ConfigurationError(
            f"the Python guest is neither packaged nor built, and {_TOOL} is not installed: "
            "install the dependency group `guest` (make setup does)"
        ) from e


def _build(path: Path, progress: Progress) -> None:
    progress("building the Python guest (once, about ten seconds)")
    started = time.monotonic()
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".guest-") as name:
        tree = Path(name)
        for target, source in _sources().items():
            (tree / target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, tree / target)
        tool = shutil.which(_TOOL, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
        if tool is None:
            raise ConfigurationError(f"{_TOOL} is installed but its command is not on the path")
        command = [tool, "-q", "-d", "contract.wit", "-w", "contract"]
        command += ["componentize", "--stub-wasi", "app", "-o", "guest.wasm"]
        ran = subprocess.run(  # noqa: S603 - the pinned build tool on our own sources
            command, cwd=tree, capture_output=True, text=True, check=False
        )
        if ran.returncode:
            raise ConfigurationError(f"{_TOOL} failed: {ran.stderr.strip()[:2000]}")
        (tree / "linked.wasm").write_bytes(_linked(tree / "guest.wasm"))
        (tree / "linked.wasm").replace(path)
    progress(f"built in {time.monotonic() - started:.1f} s")


def _linked(path: Path) -> bytes:
    try:
        return flatten(path.read_bytes())
    except ValueError as e:
        raise ConfigurationError(f"{_TOOL} left a guest that cannot be linked: {e}") from e


@contextmanager
def _locked(path: Path) -> Iterator[IO[bytes]]:
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file
