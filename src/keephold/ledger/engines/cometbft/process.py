"""The `cometbft` process: started by us, ended by us, and never outliving us.

CometBFT without its application is of no use, and does not always notice. So the kernel is asked to kill it when the
thread that started it ends, however that comes about; the thread passes its log on, waits for its end, and says why it
ended: in CometBFT's own words (`telling`), because whether starting again helps depends on them.

Run as a program, this module tethers itself to its parent and becomes CometBFT:
`python -m keephold.ledger.engines.cometbft.process PARENT BINARY ARGUMENT…`.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, Final, cast, final

from keephold.ledger.engines.cometbft.telling import LastWords

_PR_SET_PDEATHSIG: Final = 1
_STDERR: Final = 2
_GRACE: Final = 5.0
"""Seconds between asking CometBFT to end and killing it."""


@final
class CometProcess:
    """One CometBFT over one directory. Implements `engine.Consensus`."""

    def __init__(self, binary: Path, home: Path) -> None:
        self._binary: Final = binary
        self._home: Final = home
        self._started: Final = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None
        self._stopping = False

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def start(self, ended: Callable[[str], None]) -> None:
        """Start it; call `ended` with the reason when it ends unasked."""
        self._thread = threading.Thread(target=self._live, args=(ended,), name="keephold-cometbft", daemon=True)
        self._thread.start()
        self._started.wait()

    def stop(self) -> None:
        """End it, by force where asking is not enough."""
        self._stopping = True
        process = self._process
        if process is not None:
            process.terminate()
            try:
                process.wait(_GRACE)
            except subprocess.TimeoutExpired:
                process.kill()
        if self._thread is not None:
            self._thread.join()

    def _live(self, ended: Callable[[str], None]) -> None:
        command = [sys.executable, "-m", __name__, str(os.getpid()), str(self._binary), "start", "--home"]
        try:
            self._process = subprocess.Popen(  # noqa: S603 - the binary that the operator configured
                [*command, str(self._home)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                process_group=0,  # the terminal's interrupt is for us, who end it in order
            )
        except OSError as error:
            self._started.set()
            ended(f"cannot start CometBFT: {error}")
            return
        self._started.set()
        words = LastWords()
        with self._process:
            self._listen(cast("IO[bytes]", self._process.stdout), words)
        status = self._process.returncode
        if not self._stopping:
            how = f"with status {status}" if status >= 0 else f"by signal {-status}"
            ended(f"CometBFT ended {how}{f': {words.text}' if words.text else ''}")

    def _listen(self, said: IO[bytes], words: LastWords) -> None:
        """Pass CometBFT's log on until it ends; end it when it says that it has failed."""
        for line in said:
            with contextlib.suppress(OSError):  # whoever read our log is gone
                os.write(_STDERR, line)
            if words.hear(line) and self._process is not None:
                self._process.kill()


def _tether(parent: int) -> None:
    """Die with the parent's thread from now on; exit at once when the parent is gone already."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        raise SystemExit(0)


def main(arguments: list[str]) -> None:
    """Tether, then become CometBFT."""
    parent, binary, *rest = arguments
    _tether(int(parent))
    os.execv(binary, [binary, *rest])  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main(sys.argv[1:])
