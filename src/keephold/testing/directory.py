"""A devnet's directory: who owns it, and what becomes of it when its owner is gone.

The owner holds a lock on a file inside. A lock ends with its process, however that ends, so a directory that can be
locked has no owner: an ephemeral one is then swept away by whoever starts next. Process ids would not do: they are
used again.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final, Self, final

from keephold.base.errors import ConfigurationError

PREFIX: Final = "keephold-devnet-"
_YOUNG: Final = ".keephold-devnet-new-"
"""Until it is locked, an ephemeral directory bears a name that no sweep looks for."""

_LOCK: Final = "lock"


@final
class OwnedDirectory:
    """A directory that belongs to this process until `release`."""

    def __init__(self, path: Path, descriptor: int, *, ephemeral: bool) -> None:
        """For `ephemeral` and `lasting`."""
        self.path: Final = path
        self.is_ephemeral: Final = ephemeral
        self._descriptor = descriptor

    @classmethod
    def ephemeral(cls, parent: Path | None = None) -> Self:
        """Make a new directory, mode 0700, that `release` removes; sweep those of dead owners first."""
        parent = parent or Path(tempfile.gettempdir())
        sweep(parent)
        young = Path(tempfile.mkdtemp(prefix=_YOUNG, dir=parent))
        descriptor = _lock(young)
        path = parent / (PREFIX + young.name.removeprefix(_YOUNG))
        young.rename(path)
        return cls(path, descriptor, ephemeral=True)

    @classmethod
    def lasting(cls, path: Path) -> Self:
        """Take a directory that stays, making it where it is missing.

        Raises:
            ConfigurationError: it cannot be made, or another process owns it.
        """
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = _lock(path)
        except BlockingIOError:
            raise ConfigurationError(f"another devnet runs in {path}: end it, or choose another --state") from None
        except OSError as error:
            raise ConfigurationError(f"--state {path}: {error.strerror}") from error
        return cls(path, descriptor, ephemeral=False)

    def release(self) -> None:
        """Give it up; an ephemeral one is removed. May be called twice."""
        if self._descriptor < 0:
            return
        if self.is_ephemeral:
            shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._descriptor)
        self._descriptor = -1


def sweep(parent: Path) -> list[Path]:
    """Remove this user's ephemeral directories in `parent` whose owner died; return them."""
    swept = []
    for path in parent.glob(f"{PREFIX}*"):
        try:
            if path.stat(follow_symlinks=False).st_uid != os.getuid():
                continue
            descriptor = _lock(path)
        except OSError:  # its owner lives, or somebody else sweeps it
            continue
        shutil.rmtree(path, ignore_errors=True)
        os.close(descriptor)
        swept.append(path)
    return swept


def _lock(path: Path) -> int:
    descriptor = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        with contextlib.suppress(OSError):
            os.close(descriptor)
        raise
    return descriptor
