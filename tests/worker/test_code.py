"""What a deployment promises, and what the sandbox makes of its code: where the two differ, the ledger is told."""

from __future__ import annotations

import pytest
from worker_cast import ABI, CODE, CONTRACT, INSTANCE
from worker_ledger import Ledger
from worker_scene import Worker

from keephold.base.errors import SandboxError
from keephold.base.ids import PublicKey
from keephold.protocol.contracts import Code
from keephold.protocol.transactions import RefuseCode
from keephold.runtime.outcome import ContractInfo
from keephold.worker.code import contract_code
from keephold.worker.orders import LoadCode, Submit


@pytest.mark.parametrize(
    "pad", [b"[]", b"[9000]", b"[512, 70000]", b"[512, 512]", b"[0, 5]", b'["512"]', b"512", b"[true]"]
)
def test_an_abi_without_usable_sizes_is_refused(pad):
    abi = b'{"abi": 1, "methods": {}, "pad": ' + pad + b"}"
    with pytest.raises(SandboxError):
        contract_code(CONTRACT, PublicKey(b"o" * 32), Code("python", b"", "T", abi), CODE.policy, tells_failures=False)


@pytest.mark.parametrize(
    "methods",
    [b"[]", b'{"a": 1}', b'{"a": {}}', b'{"a": {"kind": "view"}}', b'{"a": {"kind": "view", "public": false}}'],
)
def test_an_abi_whose_views_have_no_scope_is_refused(methods):
    abi = b'{"abi": 1, "pad": [512], "methods": ' + methods + b"}"
    with pytest.raises(SandboxError):
        contract_code(CONTRACT, PublicKey(b"o" * 32), Code("python", b"", "T", abi), CODE.policy, tells_failures=False)


@pytest.mark.parametrize("info", [ContractInfo("Other", ABI.decode()), ContractInfo("Token", "{}")])
def test_code_that_is_not_what_the_deployment_says_is_refused_on_the_ledger(info):
    worker = Worker(Ledger())
    worker.hold = (LoadCode, Submit)
    worker.prove()
    worker.core.loaded(info)
    worker.work()
    assert any(isinstance(order, Submit) and isinstance(order.body, RefuseCode) for order in worker.held)


def test_code_that_does_not_load_is_refused_with_its_line():
    worker = Worker(Ledger())
    worker.hold = (LoadCode, Submit)
    worker.prove()
    worker.core.refused_code(SandboxError("no such name" * 100, 7))
    worker.work()
    body = worker.held[-1].body
    assert (body.line, len(body.reason), body.instance) == (7, 256, INSTANCE)
