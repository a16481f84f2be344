from __future__ import annotations

import json
import sys

import pytest

from keephold.base.limits import CALL_FUEL
from keephold.runtime.effects import Effects
from keephold.runtime.host import Poisoned, Program, Trapped
from keephold.runtime.memory import Image

ENV = '{"contract":"khc1","creator":"kh1","height":1,"reader":null,"seed":"","sender":"kh1","time_ns":1}'


@pytest.fixture
def own_program(guest):
    return Program.open(guest.descriptor, Image(guest.memory))


class Broken:
    def read(self, key):
        raise RuntimeError("a bug of ours")


SOURCE = (
    "from keephold import *\nclass C(Contract):\n    n: int = 0\n    @call\n    def go(self, ctx: Call) -> int:\n"
    "        try:\n            return self.n\n        except BaseException:\n            return 7\n"
)


def loaded(program):
    instance = program.instantiate(CALL_FUEL)
    assert not instance.call("load", json.loads(instance.call("compile", SOURCE))["code"])
    return instance


def test_an_error_of_ours_at_the_boundary_poisons_the_process(own_program, slots):
    instance, fresh = loaded(own_program), loaded(own_program)
    with pytest.raises(Poisoned, match="bug of ours"):
        instance.call("run", "call", ENV, "go\n[]", effects=Effects("call", Broken()))
    with pytest.raises(Poisoned):
        fresh.call("run", "call", ENV, "go\n[]", effects=Effects("call", slots))
    instance.close()
    fresh.close()


def test_an_exception_that_ctypes_swallows_poisons_the_process(own_program, slots):
    """The fail-open trap: an exception before the callback's `try` reaches the guest as success."""

    class Swallowed:
        def read(self, key):
            sys.unraisablehook(None)

    instance = loaded(own_program)
    before = sys.unraisablehook
    with pytest.raises(Poisoned):
        instance.call("run", "call", ENV, "go\n[]", effects=Effects("call", Swallowed()))
    assert sys.unraisablehook is before
    instance.close()


def test_the_guest_reaches_no_host_while_it_compiles(own_program):
    instance = own_program.instantiate(CALL_FUEL)
    forged = "from keephold.contract import *\nimport app\napp.ImportedHost().get('x')"
    answer = instance.call("compile", forged)
    assert "not available" in answer
    instance.close()
    instance = own_program.instantiate(CALL_FUEL)
    with pytest.raises(Trapped):
        instance.call("compile", "import json\njson.codecs.builtins.__import__('app').ImportedHost().get('x')")
    instance.close()
