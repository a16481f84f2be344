"""G11, on a real worker: whatever a contract does, its call is consumed, and the next one has its receipt at once.

The network runs in this process; the worker, its execution process and the guest are the real ones. What counts is that
no attack costs the worker its execution process, for a new one is all that could make the next call wait. No clock is
asked: how long a call takes is the machine's business.
"""

from __future__ import annotations

import json
import os
import re
import signal

import pytest
import worker_story
from worker_story import ALICE, BOB, Story, story

from keephold.client.source import code_from_source
from keephold.crypto.secret import SecretBytes
from keephold.protocol.messages import Reply
from keephold.runtime.process import ExecutionProcess
from keephold.runtime.python.sandbox import TRAPPED
from keephold.sealing.receipt import open_receipt
from keephold.worker.running import CRASHED

guest = worker_story.guest

MACHINE = "[m for n, m in check.sys.modules.items() if n.endswith('imports.host')][0]"
"""What the authoring library itself calls: the host's side of it is all that counts."""


def forged(answer: str) -> str:
    """Code that has the guest answer whatever an expression says."""
    return f"check.sys.modules['keephold.contract.dispatch'].canonical = lambda _: {answer}\nreturn ''"


ATTACKS = {
    "infinite loop": ("while True: pass", TRAPPED),
    "loop that catches everything": (
        "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
        TRAPPED,
    ),
    "slow arithmetic": ("x = 7 ** (7 ** 9)", TRAPPED),
    "catastrophic expression": ("import re\nre.match('(a+)+$', 'a' * 40 + 'b')", TRAPPED),
    "memory at once": ("x = 'x' * (1 << 30)", "MemoryError"),
    "memory bit by bit": ("x = []\nwhile True: x.append(bytearray(1 << 20))", "MemoryError"),
    "memory zeroed for ever": ("while True: x = bytes(16 << 20)", TRAPPED),
    "memory moved for ever": ("x = bytearray(16 << 20)\nwhile True: y = bytes(x)", TRAPPED),
    "recursion": ("def f(): return f()\nf()", "RecursionError"),
    "recursion without frames": ("x = []\nfor _ in range(1 << 20): x = [x]\nrepr(x)", TRAPPED),
    "deep source": ("PYTHON.eval('(' * 9000 + ')' * 9000)", TRAPPED),
    "huge output": ("return 'x' * (4 << 20)", "a result has at most"),
    "huge slot": ("self.text = 'x' * (1 << 20)", "a stored value has at most"),
    "too many slots": ("for i in range(1 << 16): self.slots[i] = 'x'", TRAPPED),
    "too much in slots": ("for i in range(64): self.slots[i] = 'x' * 60000", "together"),
    "too many events": ("for i in range(1 << 12): ctx.emit(Seen('x'), to='public')", "events"),
    "host calls for ever": ("while True: ctx.log('')", TRAPPED),
    "reads for ever": ("i = 0\nwhile True:\n    i += 1\n    self.slots.get(i, '')", TRAPPED),
    "writes for ever": ("while True: self.slots[1] = 'x' * 1000", TRAPPED),
    "host called past the library": (
        "h = ctx._host\nwhile hasattr(h, '_host'): h = h._host\nwhile True: h.put('k', 'v' * 99999)",
        "a stored value has at most",
    ),
    "a module of the system": ("PYTHON.eval(\"__import__('posix').open('/etc/passwd', 0)\")", TRAPPED),
    "a module of the machine": ("PYTHON.eval(\"__import__('_ctypes')\")", "not available to contracts"),
    "a process": ("PYTHON.eval(\"__import__('posix').fork()\")", "has no attribute"),
    "an exit": ("raise SystemExit(0)", "SystemExit"),
    "a hard exit": ("PYTHON.eval(\"__import__('posix')._exit(0)\")", TRAPPED),
    "an abort": ("PYTHON.eval(\"__import__('posix').abort()\")", TRAPPED),
    "an interrupt": ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    "an exception of its own": ("class E(BaseException): pass\nraise E", "E:"),
    "an answer nested beyond its reader": (forged('\'{"value":\' + "[" * 5000 + "]" * 5000 + "}"'), "corrupted its"),
    "an answer from a line beyond its reader": (
        forged('\'{"status":"failed","line":\' + "9" * 30 + "}"'),
        "corrupted its",
    ),
    "an operation that the host has not": (f"{MACHINE}.call(99, '', '')", "no such operation"),
    "a signing request of its own": (f"{MACHINE}.call(7, 't', '[' * 9000)", "a signing request has"),
}
"""What a contract does, and what is said about it: the attack ends where it should, and not of a slip before."""


def lab() -> str:
    methods = []
    for at, (code, _) in enumerate(ATTACKS.values()):
        lines = "\n".join(f"        {line}" for line in code.splitlines())
        methods.append(
            f"    @call\n    def attack{at}(self, ctx: Call) -> str:\n"
            f"        self.n += 1000\n{lines}\n        return ''\n"
        )
    return (
        "from keephold import *\nfrom keephold.contract import check\nPYTHON = check.sys.modules['builtins']\n"
        "class Seen(Event):\n    what: str\n\n"
        "class Lab(Contract):\n    n: int = 0\n    text: str = ''\n    slots: Map[int, str]\n"
        "    @call\n    def fine(self, ctx: Call) -> int:\n        self.n += 1\n        return self.n\n"
        "    @call\n    def bomb(self, ctx: Call) -> None:\n        self.n += 1000\n"
        "    @view\n    def count(self, ctx: View) -> int:\n        return self.n\n" + "".join(methods)
    )


async def called(it: Story, contract, method: str, key=ALICE) -> Reply:
    """Have a call executed and accepted; return the reply to it."""
    call = await it.call(contract, key, method)
    await it.consumed(contract)
    return told(it, contract, call)


def told(it: Story, contract, call: bytes) -> Reply:
    """The reply to a call, opened as its sender opens it."""
    _, proven = it.net.node.reader.receipt(call)
    return open_receipt(SecretBytes(b"r" * 32), it.net.network, contract, 1, call, proven.receipt)


async def counted(it: Story, contract) -> int:
    """What the contract answers that it counted, from the newest state."""
    session = it.workers[0]._session
    await it.net.until(lambda: session.freshness.is_fresh(session.clock.monotonic()))
    height = it.net.node.application.map.newest.height
    answer = await it.ask(contract, it.workers[0], method="count", min_height=height)
    return json.loads(answer.reply.value)


@pytest.fixture
def starts(monkeypatch):
    """Execution processes as they are started."""
    made = []
    start = ExecutionProcess.start.__func__

    def noted(cls, *args, **named):
        made.append(start(cls, *args, **named))
        return made[-1]

    monkeypatch.setattr(ExecutionProcess, "start", classmethod(noted))
    return made


def test_after_any_attack_the_next_call_runs_at_once_in_the_same_process(guest, tmp_path, starts) -> None:
    async def tell(it: Story) -> None:
        await it.start()
        contract = await it.deploy(code_from_source(lab()))
        await called(it, contract, "fine")
        before = list(starts)
        took = {}
        for at, name in enumerate(ATTACKS):
            attack = await called(it, contract, f"attack{at}", BOB)
            took[name] = attack, await called(it, contract, "fine")
        for name, (attack, after) in took.items():
            assert attack.outcome == "failed", name
            assert ATTACKS[name][1] in attack.detail, name
            assert re.match(r"line [1-9]\d*: .* \(in: .+\)$", attack.detail, re.DOTALL), attack.detail
            assert after.outcome == "ok", name
        assert starts == before
        # No attack left anything behind, and every honest call ran.
        assert await counted(it, contract) == 1 + len(ATTACKS)

    story(guest, tmp_path, tell)


def test_a_call_that_kills_its_process_each_time_costs_two_starts_and_the_next_one_runs(
    guest, tmp_path, starts, monkeypatch
) -> None:
    """No code here does that: the test does it, where the process would have died of it."""
    execute = ExecutionProcess.execute_batch

    def deadly(self, calls, store):
        calls = list(calls)
        if any(call.method == "bomb" for call in calls):
            os.kill(self.pid, signal.SIGKILL)
        return execute(self, calls, store)

    monkeypatch.setattr(ExecutionProcess, "execute_batch", deadly)

    async def tell(it: Story) -> None:
        await it.start()
        contract = await it.deploy(code_from_source(lab()))
        await called(it, contract, "fine")
        before = len(starts)
        took = [(await called(it, contract, "bomb", BOB), await called(it, contract, "fine")) for _ in range(3)]
        assert [(attack.outcome, attack.detail) for attack, _ in took] == [("failed", CRASHED.detail)] * 3
        assert all(after.outcome == "ok" for _, after in took)
        assert len(starts) - before == 2 * len(took)
        assert await counted(it, contract) == 1 + len(took)
        assert [process.is_alive for process in starts[before:-1]] == [False] * (len(starts) - before - 2) + [True]

    story(guest, tmp_path, tell)
