"""The execution process: `python -I -m keephold.runtime.child SOCKET GUEST MEMORY PARENT`.

It serves one contract and holds no key.

It starts with an empty environment and three inherited descriptors: the socket pair to its parent, and the guest's
compiled code and initial memory, immutable files. Before it sees a line of contract code it has given up what it does
not need: it dies with its parent, leaves no core, and cannot open a descriptor of any kind, so no file and no socket.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import socket
import sys
from typing import Final

from keephold.base.errors import SandboxError
from keephold.runtime import wire
from keephold.runtime.host import Poisoned, Program
from keephold.runtime.memory import Image
from keephold.runtime.outcome import KeyName, Outcome
from keephold.runtime.python.sandbox import PythonSandbox

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_SET_NO_NEW_PRIVS: Final = 38
_STDERR: Final = 2
_REMEMBERED_KEYS: Final = 1024
_DATA: Final = 1 << 30
"""Bytes of private memory: the interpreter, and two instances of SANDBOX_MEMORY with room to spare. (Address space
cannot be limited: each linear memory reserves 4 GiB of it.)"""


class _Committed:
    """The parent's state, asked for once per slot and batch, overlaid with what the batch wrote."""

    def __init__(self, channel: wire.Channel, known: dict[str, bytes | None], keys: dict[KeyName, bytes]) -> None:
        self._channel: Final = channel
        self._keys: Final = keys
        self._known = {key: None if value is None else value.decode() for key, value in known.items()}

    def read(self, key: str) -> str | None:
        """Return the text of a slot."""
        if key not in self._known:
            self._channel.send(wire.encode(wire.Need(key)))
            answer = wire.decode_to_child(self._channel.receive())
            if not isinstance(answer, wire.Value):
                raise wire.Closed("the parent broke the order of messages")
            self._known[key] = None if answer.value is None else answer.value.decode()
        return self._known[key]

    def public_key(self, name: KeyName) -> bytes:
        """Return a public key: what it is never changes, so it is asked for once."""
        if name not in self._keys:
            self._channel.send(wire.encode(wire.NeedKey(name)))
            answer = wire.decode_to_child(self._channel.receive())
            if not isinstance(answer, wire.PublicKey):
                raise wire.Closed("the parent broke the order of messages")
            if len(self._keys) >= _REMEMBERED_KEYS:
                self._keys.clear()
            self._keys[name] = answer.public
        return self._keys[name]

    def apply(self, outcome: Outcome) -> None:
        """Let later calls of the batch see what this one wrote."""
        for key, value in outcome.writes.items():
            self._known[key] = None if value is None else value.decode()


def _die_with(parent: int) -> None:
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if os.getppid() != parent:  # it died before the first prctl
        os._exit(1)


def _hide() -> None:
    """Keep processes of the same user, which other contracts' are, from tracing this one or reading its memory."""
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _give_up_the_rest() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (_DATA, _DATA))
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))  # those already open stay usable


def serve(channel: wire.Channel, program: Program, image: Image) -> None:
    """Answer the parent until it goes away; `image` is for the contract's memory.

    Raises:
        wire.Closed: it went away.
    """
    load = wire.decode_to_child(channel.receive())
    if not isinstance(load, wire.Load):
        raise wire.Closed("the parent broke the order of messages")
    try:
        sandbox = PythonSandbox(program, load.source, image)
    except SandboxError as e:
        channel.send(wire.encode(wire.Refused(e.message, e.line, e.column)))
        return
    channel.send(wire.encode(wire.Loaded(sandbox.info.name, sandbox.info.abi_json)))
    keys: dict[KeyName, bytes] = {}
    committed: _Committed | None = None
    while True:
        message = wire.decode_to_child(channel.receive())
        if isinstance(message, wire.Execute):
            committed = _Committed(channel, message.known, keys)
        if isinstance(message, wire.Execute | wire.More) and committed is not None:
            for call in message.calls:
                outcome = sandbox.execute(call, committed)
                committed.apply(outcome)
                channel.send(wire.encode(wire.Done(outcome)))
        elif isinstance(message, wire.Ask):
            channel.send(wire.encode(wire.Done(sandbox.query(message.query, _Committed(channel, message.known, keys)))))
        else:
            raise wire.Closed("the parent broke the order of messages")


def main(arguments: list[str]) -> int:
    """Run the process; its exit status is for the parent's log."""
    descriptor, guest, memory, parent = (int(text) for text in arguments)
    _die_with(parent)
    program = Program.open(guest, Image(memory))
    os.close(guest)  # the machine has mapped it
    image = Image()  # while descriptors can still be made
    with socket.socket(fileno=descriptor) as sock:
        _hide()  # not before: it takes /proc/self/fd away, which the guest was opened through
        _give_up_the_rest()
        try:
            serve(wire.Channel(sock), program, image)
        except wire.Closed:
            return 0
        except Poisoned:
            return 2
        except Exception as e:  # noqa: BLE001 - a bug of ours: say where, never what: values belong to the contract
            place = e.__traceback__
            while place is not None and place.tb_next is not None:
                place = place.tb_next
            where = "" if place is None else f" at {place.tb_frame.f_code.co_qualname}:{place.tb_lineno}"
            os.write(_STDERR, f"execution process: {type(e).__name__}{where}\n".encode())
            return 1
    return 0


if __name__ == "__main__":
    os._exit(main(sys.argv[1:]))  # the machine's own teardown has nothing left to protect
