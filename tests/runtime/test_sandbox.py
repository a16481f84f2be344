from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from keephold import Address
from keephold.base.errors import SandboxError
from keephold.base.limits import CALL_FUEL, MAX_EVENTS, MAX_SLOT_KEY, MAX_SLOT_VALUE, MAX_WRITES
from keephold.contract import context, storage
from keephold.contract.check import SourceError, check_source, line_text
from keephold.contract.lacking import ALLOWED
from keephold.contract.native import NativeContract
from keephold.runtime import effects
from keephold.runtime.python.sandbox import TRAPPED

TOKEN = (Path(__file__).parents[2] / "examples" / "token" / "token.py").read_text()
ALICE, BOB = Address(b"a" * 32).text, Address(b"b" * 32).text

HEAD = "from keephold import *\n"
PYTHON = "from keephold.contract import check\nPYTHON = check.sys.modules['builtins']\n"
"""How a contract comes by the names of Python's that the check of its source refuses."""


def body(code: str, head: str = "") -> str:
    lines = "\n".join(f"        {line}" for line in code.splitlines())
    return (
        f"{HEAD}{PYTHON}{head}\nclass Seen(Event):\n    what: str\n\n"
        f"class Lab(Contract):\n    kept: str = ''\n    m: Map[int, str]\n    @call\n"
        f"    def go(self, ctx: Call, n: int = 0, s: str = '') -> str:\n{lines}\n        return ''\n"
        f"    @view\n    def look(self, ctx: View) -> str:\n{lines}\n        return ''\n"
    )


def test_the_token_runs_as_it_does_natively(sandbox, slots, call, query, token_class_native):
    contract = sandbox(TOKEN)
    native = NativeContract(token_class_native, creator=Address.parse(ALICE))
    steps = [("setup", ["GLD", "100"], ALICE), ("transfer", [BOB, "5"], ALICE), ("transfer", [ALICE, "1"], BOB)]
    for method, args, sender in steps:
        outcome = contract.execute(call(method, json.dumps(args), sender), slots)
        slots.apply(outcome)
        values = [Address.parse(a) if a.startswith("kh1") else int(a) if a.isdigit() else a for a in args]
        native.call(method, *values, sender=Address.parse(sender))
        assert outcome.status == "ok"
        assert {key: value.decode() for key, value in slots.items()} == native.slots
    assert [json.loads(event.body_json) for event in outcome.events] == [native.events[-1].fields]
    assert outcome.events[0].audience == (BOB, ALICE)
    assert contract.query(query("balance", reader=BOB), slots).value_json == "4"


@pytest.fixture
def token_class_native(tmp_path):
    path = tmp_path / "native_token.py"
    path.write_text(TOKEN)
    spec = importlib.util.spec_from_file_location("native_token", path)
    module = sys.modules["native_token"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module.Token
    del sys.modules["native_token"]


def test_fuel_and_writes_are_the_same_each_time_and_unmoved_by_questions(sandbox, slots, call, query):
    first, second = sandbox(TOKEN), sandbox(TOKEN)
    slots.apply(first.execute(call("setup", '["GLD","100"]'), slots))
    transfer = call("transfer", json.dumps([BOB, "5"]))
    outcomes = [first.execute(transfer, slots)]
    for _ in range(3):
        first.query(query("balance"), slots)
        first.execute(call("transfer", json.dumps([BOB, "1000"])), slots)
        outcomes += [first.execute(transfer, slots), second.execute(transfer, slots)]
    assert all(outcome == outcomes[0] for outcome in outcomes)
    assert 0 < outcomes[0].fuel_used < CALL_FUEL // 100


def test_globals_die_with_their_transaction_and_a_warm_view_answers_as_a_fresh_one(sandbox, slots, call, query):
    source = body("seen.append(1)\nreturn str(len(seen))", "seen = []")
    lab = sandbox(source)
    assert [lab.execute(call("go"), slots).value_json for _ in range(3)] == ['"1"'] * 3
    token = sandbox(TOKEN)
    slots.apply(token.execute(call("setup", '["GLD","100"]'), slots))
    warm = [token.query(query("balance"), slots) for _ in range(3)]
    token.close()
    fresh = token.query(query("balance"), slots)
    assert {(one.status, one.value_json) for one in [*warm, fresh]} == {("ok", "100")}


TRAPS = {
    "loop": "while True: pass",
    "loop that catches everything": "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
    "huge power": "x = 7 ** (7 ** 9)",
    "regular expression": "import re\nre.match('(a+)+$', 'a' * 40 + 'b')",
    "host calls": "while True: ctx.log('')",
    "reads": "i = 0\nwhile True:\n    i += 1\n    self.m.get(i, '')",
}


@pytest.mark.parametrize("name", TRAPS)
def test_running_away_costs_the_whole_limit_and_says_one_thing(sandbox, slots, call, query, name):
    lab = sandbox(body(TRAPS[name]))
    outcome = lab.execute(call("go"), slots)
    assert (outcome.status, outcome.detail, outcome.fuel_used) == ("failed", TRAPPED, CALL_FUEL)
    assert outcome == lab.execute(call("go"), slots)


FAILS = {
    "memory": ("x = 'x' * (1 << 30)", "MemoryError"),
    "growing memory": ("x = []\nwhile True: x.append(bytearray(1 << 20))", "MemoryError"),
    "recursion": ("def f(): return f()\nf()", "RecursionError"),
    "open": ("PYTHON.open('/etc/passwd')", "PermissionError"),
    "io.open": ("PYTHON.__import__('io').open('/etc/passwd')", ""),
    "os": ("PYTHON.__import__('os').listdir('/')", ""),
    "urandom": ("PYTHON.__import__('os').urandom(8)", ""),
    "socket": ("PYTHON.__import__('socket').socket()", ""),
    "subprocess": ("PYTHON.__import__('subprocess').run('ls')", ""),
    "threading": ("PYTHON.__import__('threading').Thread(target=print).start()", ""),
    "ctypes": ("PYTHON.__import__('ctypes')", "not available"),
    "sqlite": ("PYTHON.__import__('sqlite3')", "not available"),
    "time": ("PYTHON.__import__('time').time()", "no clock"),
    "random": ("PYTHON.__import__('random').random()", "ctx.random"),
    "exit": ("raise SystemExit(0)", "SystemExit"),
    "hard exit": ("PYTHON.__import__('os')._exit(0)", ""),
    "abort": ("PYTHON.__import__('os').abort()", ""),
    "eval": ('PYTHON.eval(\'__import__("posix").open("/etc/passwd", 0)\')', ""),
    "interrupt": ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    "own base": ("class E(BaseException): pass\nraise E", "E"),
    "input": ("PYTHON.input()", "no files"),
    "machine code": ("f = lambda: 0\nf.__code__ = f.__code__.replace(co_code=b'd' * 400)\nf()", ""),
    "classes": ("for kind in object.__subclasses__():\n    try: kind()\n    except BaseException: pass\n1 // 0", ""),
    "forgotten names": ("for one in list(check.sys.modules.values()): one.__dict__.clear()\n1 // 0", ""),
    "iterators in iterators": ("x = iter([1])\nfor _ in range(300_000): x = map(int, x)\nnext(x)", ""),
    "nesting": ("PYTHON.eval('(' * 9000 + ')' * 9000)", ""),
    "surrogate key": ("self.m[1] = '\\ud800'\nreturn '\\ud800'", ""),
}


@pytest.mark.parametrize("name", FAILS)
def test_an_escape_ends_as_a_failure_and_leaves_the_next_call_unharmed(sandbox, slots, call, query, name):
    code, reason = FAILS[name]
    lab = sandbox(body(f"if n:\n    return 'fine'\n{code}"))
    outcome = lab.execute(call("go"), slots)
    if name != "surrogate key":
        assert outcome.status == "failed", outcome
        assert reason in outcome.detail
        assert (outcome.writes, outcome.events) == ({}, ())
    assert outcome == lab.execute(call("go"), slots)
    assert lab.execute(call("go", "[1]"), slots).value_json == '"fine"'


def test_writing_to_the_terminal_goes_nowhere(sandbox, slots, call, query, capfd):
    lab = sandbox(body("print('secret')\nPYTHON.__import__('sys').stderr.write('secret')\nreturn 'done'"))
    assert lab.execute(call("go"), slots).value_json == '"done"'
    assert capfd.readouterr() == ("", "")


def test_a_failure_names_its_line(sandbox, slots, call, query):
    source = body("x = 1\nreturn x['a']")
    outcome = sandbox(source).execute(call("go"), slots)
    assert source.splitlines()[outcome.line - 1].strip() == "return x['a']"
    assert "TypeError" in outcome.detail


HOSTILE = "from keephold.contract import dispatch\nhost = ctx._host\nwhile hasattr(host, '_host'): host = host._host\n"
PLACES = {
    "a loop": ("while True: pass", "    while True", TRAPPED),
    "a loop that catches": (
        "n = 0\nwhile True:\n    try:\n        while True: n += 1\n    except BaseException: pass",
        "            while True",
        TRAPPED,
    ),
    "a loop elsewhere": ("return spin(7)", "while n", TRAPPED),
    "a loop in a comprehension": ("x = 1\nx = sum(1 for _ in iter(int, 1))\nreturn x", "x = sum", TRAPPED),
    "an expression": ("return sum(\n    7 ** (7 ** 9)\n    for _ in [1])", "7 **", TRAPPED),
    "a pattern": ("import re\nx = 1\nre.match('(a+)+$', 'a' * 40 + 'b')", "re.match", TRAPPED),
    "host calls": ("for i in range(3):\n    i\nwhile True: ctx.log('')", "while True", TRAPPED),
    "no fuel at a limit of the host": (f"{HOSTILE}x = 1\nhost.put('k' * 2000, '')", "host.put", "a storage key has"),
    "the stack": ("x = []\nfor _ in range(100_000): x = [x]\nreturn repr(x)", "@call", TRAPPED),
    "a result of another type": ("return [n]", "    return [n]", "BadResult: the result: expected text, got list"),
    "a result of several": ("if n: return n\nreturn ''", "@call", "BadResult: the result: expected text, got int"),
    "no result": ("n + 1", "    n + 1", "BadResult: the result: expected text, got NoneType"),
    "a large result": ("return 'x' * 50_000", "@call", "a result has at most"),
    "a large value": ("self.kept = 'x' * 70_000\nreturn ''", "    self.kept", "a stored value has at most 65536 bytes"),
    "a large entry": ("self.m[1] = 'x' * 70_000\nreturn ''", "    self.m[1]", "a stored value has at most"),
    "a large key": ("self.k['x' * 1020] = 1\nreturn ''", "    self.k", "a storage key has at most 1024 bytes"),
    "a large key read": ("return str(self.k.get('x' * 1020))", "    return", "a storage key has at most"),
    "a large event": ("ctx.emit(Seen('x' * 70_000), to='public')\nreturn ''", "    ctx.emit", "an event has at most"),
    "a crowd": (
        "ctx.emit(Seen(''), to=[Address(bytes(30) + i.to_bytes(2, 'big')) for i in range(257)])\nreturn ''",
        "    ctx.emit",
        "at most 256 recipients",
    ),
    "much together": ("for i in range(40): self.m[i] = 'x' * 30_000\nreturn ''", "@call", "together"),
    "memory": ("x = 'x' * (1 << 30)\nreturn x", "    x =", "MemoryError"),
    "recursion": ("def f(): return f()\nreturn f()", "    def f", "RecursionError"),
}
"""What fails, the line that is told (`@call` stands for the method's `def`, two lines of decorators below), and why.

A loop is on one line: where in it fuel ends is the matter of each build of the guest."""


@pytest.mark.parametrize("name", PLACES)
def test_every_failure_has_a_line(sandbox, slots, call, name):
    code, start, reason = PLACES[name]
    lines = "".join(f"        {line}\n" for line in code.splitlines())
    source = (
        f"{HEAD}class Seen(Event):\n    what: str\ndef same(fn): return fn\n"
        "def spin(n):\n    while n: n = n * 3 % 1000 + 1\n"
        "class Lab(Contract):\n    kept: str = ''\n    m: Map[int, str]\n    k: Map[str, int]\n"
        f"    @call\n    @same\n    def go(self, ctx: Call, n: int = 0) -> str:\n{lines}"
    )
    outcome = sandbox(source).execute(call("go", "[1]"), slots)
    assert outcome.status == "failed"
    assert reason in outcome.detail
    told = line_text(source, outcome.line)
    assert told.startswith("def go" if start == "@call" else start.strip())


def test_what_the_contract_tells_of_limits_is_what_the_host_holds():
    assert (storage.MAX_KEY, storage.MAX_VALUE) == (MAX_SLOT_KEY, MAX_SLOT_VALUE)
    assert context.MAX_RECIPIENTS == effects.MAX_RECIPIENTS


VIOLATIONS = {
    "too many slots": (f"for i in range({MAX_WRITES + 1}): self.m[i] = ''", "slots"),
    "too many events": (f"for i in range({MAX_EVENTS + 1}): ctx.emit(Seen(''), to='public')", "events"),
    "a large value": (HOSTILE + "host.put('kept', 'x' * (1 << 17))", "bytes"),
    "a large event": (HOSTILE + "host.emit('Seen', 'x' * (1 << 17), '\"public\"')", "bytes"),
    "many large values": ("for i in range(40): self.m[i] = 'x' * 30_000", "together"),
    "a large key": (HOSTILE + "host.put('x' * 2000, '1')", "key"),
    "no audience": (HOSTILE + "host.emit('Seen', '{}', '[]')", "recipients"),
    "a forged audience": (HOSTILE + "host.emit('Seen', '{}', '{\"a\":1}')", "recipients"),
    "an audience of numbers": (HOSTILE + "host.emit('Seen', '{}', '[1]')", "address"),
    "an unparsable audience": (HOSTILE + "host.emit('Seen', '{}', '[')", "JSON"),
    "an event without a name": (HOSTILE + "host.emit('a b', '{}', '[\"x\"]')", "name"),
}


@pytest.mark.parametrize("name", VIOLATIONS)
def test_the_host_enforces_its_limits_itself(sandbox, slots, call, query, name):
    code, reason = VIOLATIONS[name]
    outcome = sandbox(body(code)).execute(call("go"), slots)
    assert outcome.status == "failed"
    assert reason in outcome.detail
    assert (outcome.writes, outcome.events, outcome.fuel_used) == ({}, (), CALL_FUEL)


@pytest.mark.parametrize(
    "code", ["host.put('kept', '\"x\"')", "host.delete('kept')", "host.emit('A', '{}', '\"public\"')"]
)
def test_a_view_that_reaches_past_its_proxy_is_stopped_by_the_host(sandbox, slots, call, query, code):
    outcome = sandbox(body(HOSTILE + code)).query(query("look"), slots)
    assert (outcome.status, outcome.writes, outcome.events) == ("failed", {}, ())
    assert "view" in outcome.detail


def test_a_result_that_fits_no_receipt_is_a_failure(sandbox, slots, call, query):
    lab = sandbox(body("return 'x' * n"))
    assert lab.execute(call("go", "[40000]"), slots).status == "ok"
    outcome = lab.execute(call("go", "[50000]"), slots)
    assert (outcome.status, outcome.value_json) == ("failed", "null")
    assert "result" in outcome.detail


def test_a_view_that_assigns_fails_with_its_line(sandbox, slots, call, query):
    outcome = sandbox(body("self.kept = 'x'")).query(query("look"), slots)
    assert outcome.status == "failed"
    assert "a view reads" in outcome.detail
    assert outcome.line > 0


def test_a_warm_instance_that_failed_is_replaced(sandbox, slots, call, query):
    lab = sandbox(body("seen.append(1)\nif len(seen) == 2:\n    while True: pass\nreturn str(len(seen))", "seen = []"))
    answers = [lab.query(query("look"), slots) for _ in range(3)]
    assert [answer.status for answer in answers] == ["ok", "failed", "ok"]
    assert answers[2].value_json == '"1"'


def test_a_warm_instance_is_replaced_after_its_uses(sandbox, slots, call, query):
    lab = sandbox(body("seen.append(1)\nreturn str(len(seen))", "seen = []"))
    assert max(int(json.loads(lab.query(query("look"), slots).value_json)) for _ in range(300)) == 256


def test_host_calls_burn_fuel(sandbox, slots, call, query):
    lab = sandbox(body("for i in range(n): self.m.get(i, '')"))
    one, many = (lab.execute(call("go", f"[{n}]"), slots).fuel_used for n in (1, 101))
    assert many - one > 100 * 260_000


FORGED = (
    "from keephold.contract import dispatch\n"
    "import keephold.contract.dispatch as d\n"
    "d.execute.__code__ = (lambda cls, kind, method, args_json, env_json, host: FORGERY).__code__\n"
)


FORGERIES = {
    "3": "3",
    "x": "'x'",
    "half": '\'{"status":"ok"\'',
    "surrogate": "'\\ud800'",
    "great": '\'{"status":"great"}\'',
    "list": "'[]'",
    "deep value": """'{"status":"ok","value":' + '[' * 5000 + ']' * 5000 + '}'""",
    "deep value of some other name": """'{"status":"ok","other":' + '[' * 5000 + ']' * 5000 + '}'""",
    "deep nothing": "'[' * 60000",
    "wide": """'{"status":"ok","value":[' + '[],' * 900000 + '[]]}'""",
    "a text that does not end": """'{"status":"ok","value":"' + '"' * 3 + chr(92) * 60000 + '[' * 40""",
    "line on no wire": """'{"status":"failed","line":99999999999999999999999}'""",
    "line of no file": """'{"status":"failed","line":4294967296}'""",
    "line before the first": """'{"status":"failed","line":-1}'""",
    "lone surrogate inside": """'{"status":"ok","value":"' + chr(92) + 'ud800"}'""",
}


@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES)
def test_an_outcome_that_is_none_is_a_failure(sandbox, slots, call, query, forgery):
    lab = sandbox(FORGED.replace("FORGERY", forgery) + body("pass"))
    outcome = lab.execute(call("go"), slots)
    assert (outcome.status, outcome.writes) == ("failed", {})
    assert 0 <= outcome.line < 1 << 31


DEEP = "[" * 5000 + "]" * 5000
ANSWERS = {
    "deep interface": f'{{"name":"C","abi":{DEEP}}}',
    "deep key": f'{{"name":"C","abi":{{"keys":[{{"other":{DEEP}}}]}}}}',
    "line on no wire": '{"error":"x","line":99999999999999999999999}',
    "line of a method on no wire": '{"name":"C","abi":{},"lines":{"f":99999999999999999999999}}',
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_a_module_that_answers_for_its_compiler_is_refused(sandbox, answer):
    """It runs in there, so whatever the compiler says may be its own words."""
    forged = (
        "from keephold.contract import check\nfor m in list(check.sys.modules.values()):\n"
        f"    if hasattr(m, 'canonical'): m.canonical = lambda _: {answer!r}\n"
    )
    with pytest.raises(SandboxError, match=r"corrupted its compiler|while loading"):
        sandbox(f"{forged}{HEAD}class C(Contract):\n    x: int = 0")


BAD = [
    ("x = (", 1, "never closed"),
    ("import os", 1, "os is not available"),
    ("1/0", 1, "ZeroDivisionError"),
    ("\nwhile True: pass", 0, "while compiling"),
    ("x = 1", 0, "no contract class"),
    (f"{HEAD}class C(Contract):\n    x: float", 3, "float"),
    (f"{HEAD}class C(Contract):\n    @call\n    def f(self, ctx: View) -> None: ...", 4, "annotate ctx as Call"),
    ("x = " + "-" * 100_000 + "1", None, ""),
    ("(" * 3000, None, ""),
    ("\ud800", 0, "surrogates"),
    ("x = '\\ud800' \nraise Exception(x)", None, ""),
]


@pytest.mark.parametrize(("source", "line", "reason"), BAD, ids=range(len(BAD)))
def test_bad_source_has_a_reason_and_a_line(sandbox, source, line, reason):
    with pytest.raises(SandboxError) as caught:
        sandbox(source)
    assert reason in str(caught.value)
    if line is not None:
        assert caught.value.line == line


LACKING = [
    *(f"def f():\n    return [{name} for _ in 'é']" for name in ("__import__", "eval", "exec", "compile", "open")),
    f"{HEAD}class C(Contract):\n    x: int = 0\n    def open(self): ...\n    y = [open for _ in 'a']",
    f"{HEAD}class C(Contract):\n    x: int = 0\n    @call\n    def f(self, ctx: Call) -> int: return input('x')",
    f"{HEAD}class C(Contract):\n    x: int = 0\n    @call\n    def f(self, ctx: Call) -> int: return self.x / 2",
    "def f():\n    from json import tool",
    "def f():\n    import random",
    "import hashlib\nx = hashlib.scrypt",
    "x = {}['__builtins__']",
    "async def f(): ...",
    "x = 'é' $",
]
"""Sources that the interpreter of a client and that of the sandbox, of another version, refuse alike."""


@pytest.mark.parametrize("source", LACKING, ids=range(len(LACKING)))
def test_the_sandbox_refuses_in_the_words_of_the_authors_own_check(sandbox, source):
    with pytest.raises(SourceError) as told:
        check_source(source)
    with pytest.raises(SandboxError) as refused:
        sandbox(source)
    assert (refused.value.message, refused.value.line, refused.value.column) == (
        told.value.message,
        told.value.line,
        told.value.column,
    )
    assert told.value.column


OWN = (
    f"{HEAD}from dataclasses import field as help\nclass open: ...\n"
    "def f(eval): return [eval for _ in 'a'], lambda exec: exec, help, open\n"
    "class C(Contract):\n    x: int = 0\n    @call\n    def compile(self, ctx: Call, input: int) -> int:\n"
    "        try: return input\n        except ValueError as exit: return len(str(exit))\n"
    "    @view\n    def breakpoint(self, ctx: View) -> int: return self.compile.__name__ and self.x // 2\n"
)


def test_the_sandbox_takes_names_of_a_contracts_own(sandbox, slots, call):
    assert check_source(OWN).name == "C"
    assert sandbox(OWN).execute(call("compile", "[3]"), slots).value_json == "3"


def test_everything_allowed_is_there(sandbox, slots, call, query):
    imports = "\n".join(f"import {name}" for name in sorted(ALLOWED - {"__future__"}))
    lab = sandbox(
        f"from __future__ import annotations\n{imports}\n"
        + body("import hashlib\nreturn hashlib.sha256(b'').hexdigest()")
    )
    assert lab.execute(call("go"), slots).value_json.startswith('"e3b0c442')


def test_hostile_arguments_are_rejected_not_failed(sandbox, slots, call, query):
    token = sandbox(TOKEN)
    slots.apply(token.execute(call("setup", '["GLD","100"]'), slots))
    for text in ("", "[" * 50_000, "nul", '{"to":1}', "9" * 5000, "[]\n[]", '"\\ud800"', "[1.5,2]", "\x00"):
        outcome = token.execute(call("transfer", text), slots)
        assert (outcome.status, outcome.code) == ("rejected", "bad_arguments"), text[:20]
    for method in ("", "transfer\nx", "__init__", "é", "x" * 10_000):
        assert token.execute(call(method), slots).code in {"unknown_method", "bad_arguments"}
