from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from keephold import Address
from keephold.base.errors import ExecutionCrashed, SandboxError
from keephold.base.limits import MAX_SLOT_VALUE
from keephold.runtime import process as process_module
from keephold.runtime import wire
from keephold.runtime.outcome import Emitted, Outcome

TOKEN = (Path(__file__).parents[2] / "examples" / "token" / "token.py").read_text()
ALICE, BOB = Address(b"a" * 32).text, Address(b"b" * 32).text


@pytest.fixture
def token(process, slots, call):
    started = process()
    slots.apply(started.execute(call("setup", '["GLD","100"]'), slots))
    slots.asked.clear()
    return started


def test_it_tells_what_it_loaded(token):
    assert token.info.name == "Token"
    assert json.loads(token.info.abi_json)["methods"]["transfer"]["kind"] == "call"


def test_a_batch_sees_its_own_writes_and_asks_once_for_each_slot(token, slots, call, query):
    before = dict(slots)
    transfer = call("transfer", json.dumps([BOB, "60"]))
    outcomes = list(token.execute_batch([transfer, transfer, transfer], slots))
    assert [outcome.status for outcome in outcomes] == ["ok", "rejected", "rejected"]
    assert len(slots.asked) == len(set(slots.asked)) == 4  # three that a transfer reads, and one that setup wrote
    assert dict(slots) == before
    for outcome in outcomes:
        slots.apply(outcome)
    assert token.query(query("balance", reader=BOB), slots).value_json == "60"


def test_slots_that_calls_used_travel_unasked_as_the_state_holds_them_now(token, slots, call, monkeypatch):
    transfer = call("transfer", json.dumps([BOB, "1"]))
    slots.apply(token.execute(transfer, slots))
    needs = []
    decode = wire.decode_to_parent
    monkeypatch.setattr(wire, "decode_to_parent", lambda raw: needs.append(decode(raw)) or needs[-1])
    balance = next(key for key in slots if ALICE in key)
    slots[balance] = b"7"  # as another worker's result would
    outcome = token.execute(transfer, slots)
    assert outcome.writes[balance] == b"6"
    assert [type(message) for message in needs] == [wire.Done]


def test_warm_slots_are_bounded_in_number_and_bytes(token, slots, call, monkeypatch):
    monkeypatch.setattr(process_module, "WARM_KEYS", 2)
    monkeypatch.setattr(process_module, "WARM_BYTES", 150)
    for _ in range(2):
        outcome = token.execute(call("transfer", json.dumps([BOB, "1"])), slots)
        assert outcome.status == "ok"
        slots.apply(outcome)
    slots.asked.clear()
    token.execute(call("transfer", json.dumps([BOB, "1"])), slots)
    assert len(slots.asked) == len(set(slots.asked)) == 3


def test_a_batch_equals_its_calls_one_by_one(token, slots, call):
    calls = [call("transfer", json.dumps([BOB, str(amount)])) for amount in (1, 2, 1000, 3)]
    together = list(token.execute_batch(calls, slots))
    apart = []
    for one in calls:
        apart.append(token.execute(one, slots))
        slots.apply(apart[-1])
    assert together == apart


def test_calls_are_taken_a_part_ahead_of_what_runs_and_see_what_earlier_parts_wrote(token, slots, call, monkeypatch):
    monkeypatch.setattr(process_module, "PART", 3)
    transfer, taken, seen = call("transfer", json.dumps([BOB, "1"])), [], []
    for outcome in token.execute_batch((taken.append(1) or transfer for _ in range(10)), slots):
        seen.append(len(taken))
        assert outcome.status == "ok"
    assert seen == [6, 6, 6, 9, 9, 9, 10, 10, 10, 10]
    slots.apply(outcome)
    balance = next(key for key in slots if ALICE in key)
    assert slots[balance] == b"90"


def test_a_process_whose_outcomes_are_left_in_the_middle_is_killed(token, slots, call):
    outcomes = token.execute_batch([call("transfer", json.dumps([BOB, "1"]))] * 3, slots)
    next(outcomes)
    outcomes.close()
    assert not token.is_alive
    with pytest.raises(ExecutionCrashed):
        token.execute(call("transfer", json.dumps([BOB, "1"])), slots)


def test_two_processes_with_different_hash_seeds_agree(process, slots, call, monkeypatch):
    first, second = process(), process()
    setup = call("setup", '["GLD","100"]')
    assert first.execute(setup, slots) == second.execute(setup, slots)


def test_bad_source_is_refused_with_its_line_and_leaves_no_process(process):
    others = set(children())  # a network of other tests may live in this process
    with pytest.raises(SandboxError) as caught:
        process("import os")
    assert caught.value.line == 1
    assert set(children()) <= others


VISIBLE = (
    "import os, sys; from keephold.runtime import child; child._hide = lambda: None; os._exit(child.main(sys.argv[1:]))"
)


@pytest.fixture
def visible(monkeypatch):
    """Let the test look at the process: it hides from everyone but root."""
    popen = subprocess.Popen

    def start(command, **options):
        place = command.index("-m")
        return popen([*command[:place], "-c", VISIBLE, *command[place + 2 :]], **options)

    if os.geteuid():
        monkeypatch.setattr("keephold.runtime.process.subprocess.Popen", start)


def test_the_process_gives_up_what_it_does_not_need(guest):
    """Not dumpable: another contract's process has the same user and, taken over, could trace it or read its memory."""
    script = (
        "import ctypes, os, resource, sys\n"
        "from keephold.runtime import child\n"
        "def told(channel, program, image):\n"
        "    limits = [resource.getrlimit(limit)[0] for limit in (resource.RLIMIT_CORE, resource.RLIMIT_NOFILE)]\n"
        "    limits.append(resource.getrlimit(resource.RLIMIT_DATA)[0] > 1 << 30)\n"
        "    os.write(1, repr([ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), *limits]).encode())\n"
        "child.serve = told\n"
        "child.main([*sys.argv[1:], str(os.getppid())])\n"
    )
    ours, theirs = socket.socketpair()
    with ours, theirs:
        passed = (theirs.fileno(), guest.descriptor, guest.memory)
        command = [sys.executable, "-c", script, *map(str, passed)]
        ran = subprocess.run(command, capture_output=True, text=True, pass_fds=passed, check=False)
    assert ran.stdout == "[0, 0, 0, False]"


def test_a_process_whose_parent_is_already_gone_ends_at_once():
    command = [sys.executable, "-I", "-m", "keephold.runtime.child", "0", "0", "0", "1"]
    assert subprocess.run(command, check=False).returncode == 1


def children() -> list[int]:
    task = Path(f"/proc/{os.getpid()}/task")
    found = [pid for thread in task.iterdir() for pid in read(thread / "children").split()]
    return [int(pid) for pid in found if b"keephold.runtime.child" in read(Path(f"/proc/{pid}/cmdline"))]


def read(path: Path) -> bytes:
    """Return what /proc shows; nothing of a thread or process that has just ended."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def sockets_of(pid: int) -> set[str]:
    """Return the inodes of a process's sockets."""
    links = [str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir()]
    return {link[8:-1] for link in links if link.startswith("socket:[")}


def test_the_process_listens_on_nothing_and_holds_one_socket(visible, process):
    token = process()
    inodes = sockets_of(token.pid)
    assert len(inodes) == 1
    for table in ("tcp", "tcp6", "udp", "udp6", "raw", "raw6", "packet"):
        path = Path(f"/proc/{token.pid}/net/{table}")
        if path.exists():
            assert not inodes & {field for line in path.read_text().splitlines() for field in line.split()}
    unix = [line.split() for line in Path(f"/proc/{token.pid}/net/unix").read_text().splitlines()[1:]]
    (ours,) = [line for line in unix if line[6] in inodes]
    assert len(ours) == 7, "a socket with a name could be connected to"
    assert int(ours[3], 16) & 0x10000 == 0, "accepting"


def test_the_process_inherits_nothing_and_can_open_nothing(visible, process, tmp_path):
    token = process()
    secret = tmp_path / "secret"
    secret.write_text("x")
    with secret.open() as file:
        links = [str(path.readlink()) for path in Path(f"/proc/{token.pid}/fd").iterdir()]
        assert str(secret) not in links
        assert file
    assert Path(f"/proc/{token.pid}/environ").read_bytes() == b""
    limits = Path(f"/proc/{token.pid}/limits").read_text()
    assert [line.split()[3:5] for line in limits.splitlines() if line.startswith("Max open files")] == [["0", "0"]]
    status = Path(f"/proc/{token.pid}/status").read_text()
    assert "NoNewPrivs:\t1" in status


def test_a_process_killed_in_the_middle_is_a_crash_and_another_takes_over(process, slots, call):
    first = process()
    os.kill(first.pid, signal.SIGKILL)
    with pytest.raises(ExecutionCrashed):
        first.execute(call("setup", '["GLD","1"]'), slots)
    assert not first.is_alive
    assert process().execute(call("setup", '["GLD","1"]'), slots).status == "ok"


def test_a_stuck_process_is_killed(process, slots, call):
    stuck = process(silence=0.5)
    os.kill(stuck.pid, signal.SIGSTOP)
    with pytest.raises(ExecutionCrashed, match="stuck"):
        stuck.execute(call("setup", '["GLD","1"]'), slots)
    assert not stuck.is_alive


def test_a_store_that_raises_ends_the_process_and_the_error_comes_through(token, slots, call):
    class Broken:
        def get(self, key):
            if BOB in key:
                raise LookupError(key)
            return slots.get(key)

    with pytest.raises(LookupError):
        token.execute(call("transfer", json.dumps([BOB, "1"])), Broken())
    assert not token.is_alive
    with pytest.raises(ExecutionCrashed):
        token.execute(call("transfer"), {})


def test_nothing_is_left_when_the_parent_is_killed(artefact):
    script = (
        "import sys; sys.path[:0] = [sys.argv[1]]\n"
        "from keephold.crypto.secret import SecretBytes\n"
        "from keephold.runtime.artefact import cache_directory, guest_artefact\n"
        "from keephold.runtime.cache import CompiledCache\n"
        "from keephold.runtime.process import ExecutionProcess\n"
        "cache = CompiledCache(cache_directory() / 'tests', SecretBytes(b'k' * 32))\n"
        "process = ExecutionProcess.start(cache.guest(guest_artefact()), sys.argv[2])\n"
        "print(process.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    source = str(Path(__file__).parents[2] / "src")
    command = [sys.executable, "-c", script, source, TOKEN]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        pid = int(parent.stdout.readline())
        descriptor = os.pidfd_open(pid)
        os.kill(pid, signal.SIGSTOP)  # so that it cannot notice the closed socket: the kernel has to end it
        parent.kill()
        ready, _, _ = select.select([descriptor], [], [], 240)
        os.close(descriptor)
        assert ready, "the execution process outlived its parent"


SAYS = {
    "nonsense": b"nonsense",
    "another message": wire.encode(wire.Loaded("x", "{}")),
    "writes of a rejected call": wire.encode(wire.Done(Outcome(status="rejected", writes={"a": b"1"}))),
    "events of a failed call": wire.encode(wire.Done(Outcome(status="failed", events=(Emitted("A", "{}", "public"),)))),
    "a large value": wire.encode(wire.Done(Outcome(status="ok", writes={"a": bytes(MAX_SLOT_VALUE + 1)}))),
    "a large key": wire.encode(wire.Done(Outcome(status="ok", writes={"a" * 2000: b""}))),
    "many writes": wire.encode(wire.Done(Outcome(status="ok", writes={str(n): b"" for n in range(5000)}))),
    "a large result": wire.encode(wire.Done(Outcome(status="ok", value_json="1" * 100_000))),
    "much together": wire.encode(wire.Done(Outcome(status="ok", writes={str(n): bytes(60_000) for n in range(20)}))),
    "an unknown status": wire.encode(wire.Done(Outcome(status="great"))),
}


@pytest.mark.parametrize("name", SAYS)
def test_a_process_that_lies_about_the_limits_is_not_believed(token, slots, call, monkeypatch, name):
    monkeypatch.setattr(token._channel, "receive", lambda: SAYS[name])
    with pytest.raises(ExecutionCrashed):
        token.execute(call("transfer"), slots)
    assert not token.is_alive


def test_an_answer_to_a_question_carries_no_writes(token, slots, query, monkeypatch):
    wrote = wire.encode(wire.Done(Outcome(status="ok", writes={"a": b"1"})))
    monkeypatch.setattr(token._channel, "receive", lambda: wrote)
    with pytest.raises(ExecutionCrashed):
        token.query(query("balance"), slots)


def test_a_value_that_is_not_text_in_the_store_crashes_rather_than_misleads(token, call):
    class Binary:
        def get(self, key):
            return b"\xff" if "[" in key else b"true"

    with pytest.raises(ExecutionCrashed):
        token.execute(call("transfer", json.dumps([BOB, "1"])), Binary())
