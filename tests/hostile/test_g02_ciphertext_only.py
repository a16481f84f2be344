"""G2. What leaves a worker shows neither keys nor values nor methods, and its log nothing of a contract's inside."""

from __future__ import annotations

import asyncio
import base64
import logging
from types import SimpleNamespace

import pytest
from worker_cast import CONTRACT, INSTANCE, KEYS, NETWORK, Caller, keys
from worker_scene import Sandbox, settle, started

from keephold.attestation.platforms.base import SealingPlatform
from keephold.crypto.secret import SecretBytes
from keephold.enclave.vault import ForgetfulVault, open_vault
from keephold.protocol.codec import encode
from keephold.runtime.outcome import Emitted, Outcome
from keephold.sealing.contract_keys import ContractKeys
from keephold.worker.hosted import Hosted
from keephold.worker.inbox import Ordering
from keephold.worker.orders import FetchCode

CANARY = "canary-4711-oscar"


def spellings(text: str) -> list[bytes]:
    raw = text.encode()
    return [raw, raw.hex().encode(), base64.b64encode(raw)[:-2], raw[::-1]]


def leaky(call, get) -> Outcome:
    """A contract whose every output holds the canary."""
    return Outcome(
        status="rejected" if call.method == f"no-{CANARY}" else "ok",
        value_json=f'"{CANARY}"',
        code=CANARY,
        detail=CANARY,
        writes={} if call.method == f"no-{CANARY}" else {f"key-{CANARY}": f"value-{CANARY}".encode()},
        events=(Emitted("Told", f'"{CANARY}"', (call.sender,)),) if call.method == "tell" else (),
    )


def test_nothing_that_a_worker_submits_shows_what_it_is_about() -> None:
    worker, alice = started(sandbox=Sandbox(leaky)), Caller(b"a")
    raws = [alice.call(method, f'["{CANARY}"]'.encode()) for method in (CANARY, f"no-{CANARY}", "tell")]
    settle(worker, *raws)
    assert worker.ledger.record.done == 3
    public = b"".join([*raws, *(encode(result) for result in worker.ledger.results)])
    public += b"".join(tag + value for tag, value in worker.ledger.slots)
    for spelled in spellings(CANARY):
        assert spelled not in public


def test_a_storage_key_has_another_tag_in_every_contract_and_epoch() -> None:
    """A tag that anybody could compute would be a dictionary of storage keys."""
    elsewhere = ContractKeys(SecretBytes(b"k" * 32), KEYS.network, b"d" * 32, 1)
    tags = {made.slots.tag("balances/alice") for made in (KEYS, keys(epoch=2), keys(b"l" * 32), elsewhere)}
    assert len(tags) == 4
    assert all(len(tag) == 32 for tag in tags)


def test_the_same_call_on_two_forks_writes_no_equal_ciphertext() -> None:
    """Equal values would tell the operator who forks which slots changed how, under which order."""
    raw = Caller(b"a").call("inc", nonce=0)
    written = []
    for fork in (b"one", b"two"):
        worker = started()
        calls = worker.ledger.order(raw)
        worker.core.block(Ordering(worker.ledger.height - 1, fork.ljust(32), 1), calls, ())
        worker.work()
        worker.prove()
        result = worker.outbox[0].result
        written.append(({write.tag for write in result.writes}, {write.value[-400:] for write in result.writes}))
    assert written[0][0] == written[1][0]
    assert not written[0][1] & written[1][1]


def test_an_unforeseen_failure_is_logged_by_its_name_only(caplog: pytest.LogCaptureFixture) -> None:
    """An exception's text may hold what a contract keeps; a worker's log lies on its host's disk."""
    registrar = SimpleNamespace(record=None, is_live=True)
    session = SimpleNamespace(
        network=NETWORK, identity=b"w" * 32, instance=SimpleNamespace(id=INSTANCE), registrar=registrar
    )
    hosted = Hosted(CONTRACT, session, None, lambda item: None, lambda errand: None, None, lambda *_: None)

    async def broken(order) -> None:
        raise RuntimeError(CANARY)

    hosted._do = broken
    with caplog.at_level(logging.DEBUG):
        asyncio.run(hosted._carry_out(FetchCode()))
    assert "RuntimeError" in caplog.text
    assert CANARY not in caplog.text


def test_a_platform_that_cannot_seal_writes_nothing(tmp_path) -> None:
    class Bare:
        """Quotes, and cannot seal."""

        def quote(self, report_data: bytes) -> None: ...

    assert not isinstance(Bare(), SealingPlatform)
    vault = open_vault(Bare(), b"n" * 32, "gatekeeper", tmp_path)
    assert isinstance(vault, ForgetfulVault)
    vault.write("share", SecretBytes(CANARY.encode()))
    assert list(tmp_path.iterdir()) == []
