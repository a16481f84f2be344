from __future__ import annotations

from pathlib import Path

import pytest

from keephold import Address
from keephold.crypto.secret import SecretBytes
from keephold.runtime.artefact import cache_directory, guest_artefact
from keephold.runtime.cache import CompiledCache
from keephold.runtime.host import Program
from keephold.runtime.memory import Image
from keephold.runtime.outcome import CallRequest, QueryRequest
from keephold.runtime.process import ExecutionProcess
from keephold.runtime.python.sandbox import PythonSandbox

TOKEN = (Path(__file__).parents[2] / "examples" / "token" / "token.py").read_text()
ALICE, BOB = (Address(letter * 32).text for letter in (b"a", b"b"))
CONTRACT = Address(b"t" * 32, "contract").text


class Slots(dict):
    """A committed state; counts what is asked of it."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def get(self, key, default=None):
        self.asked.append(key)
        return super().get(key, default)

    def public_key(self, name):
        """What stands for a public key here: any bytes that name it."""
        self.asked.append(name)
        return "/".join((name.scheme, name.label, *name.path)).encode()

    def read(self, key):
        value = self.get(key)
        return None if value is None else value.decode()

    def apply(self, outcome):
        for key, value in outcome.writes.items():
            if value is None:
                del self[key]
            else:
                self[key] = value


def _call(method, args="[]", sender=ALICE, **changes):
    fields = {
        "method": method,
        "args_json": args,
        "sender": sender,
        "creator": ALICE,
        "contract": CONTRACT,
        "height": 7,
        "time_ns": 1_700_000_000_000_000_000,
        "seed": b"\x01" * 32,
    }
    return CallRequest(**fields | changes)


def _query(method, args="[]", reader=ALICE):
    return QueryRequest(method=method, args_json=args, reader=reader, contract=CONTRACT, height=7, time_ns=1)


@pytest.fixture(scope="session")
def artefact():
    return guest_artefact()


@pytest.fixture(scope="session")
def guest(artefact):
    with CompiledCache(cache_directory() / "tests", SecretBytes(b"k" * 32)).guest(artefact) as compiled:
        yield compiled


@pytest.fixture(scope="session")
def program(guest):
    return Program.open(guest.descriptor, Image(guest.memory))


@pytest.fixture
def sandbox(program):
    made = []

    def make(source):
        image = Image()
        made.append(image)
        made.append(PythonSandbox(program, source, image))
        return made[-1]

    yield make
    for one in reversed(made):
        one.close()


@pytest.fixture
def process(guest):
    made = []

    def start(source=TOKEN, **options):
        made.append(ExecutionProcess.start(guest, source, **options))
        return made[-1]

    yield start
    for one in made:
        one.close()


@pytest.fixture
def slots():
    return Slots()


@pytest.fixture
def call():
    return _call


@pytest.fixture
def query():
    return _query
