"""The native backend of `net`: contracts in this process, over dictionaries, under a clock that tests move.

Shown as on a network: dispatch and its order of refusals, the checks of arguments, the text of storage, results and
events, dropped writes of refused calls, messages between contracts and their answers, each in a block of its own, what
the sandbox's loader refuses. Not shown: seals, limits on fuel, memory and output, delays, several callers at once,
whatever a node could do. `ctx.random` is predictable here.

`world` is the ledger's part, `deployed` one contract, `permits` who may read it; `seen` tells what everybody would see.
"""

from keephold.testing.native.backend import NativeBackend, native_account

__all__ = ["NativeBackend", "native_account"]
