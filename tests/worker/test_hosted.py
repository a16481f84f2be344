"""What a contract is told by proofs out of order, and what it leaves behind where it ends: nothing."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from msgspec.structs import replace
from worker_cast import CONTRACT, INSTANCE, NETWORK
from worker_ledger import Ledger

from keephold.base.errors import NoLiveWorker, RollbackDetected
from keephold.base.ids import HeaderHash, Height
from keephold.enclave.vault import ForgetfulVault
from keephold.protocol.codec import encode
from keephold.worker.hosted import Hosted, Trusted
from keephold.worker.inbox import Ordering
from keephold.worker.marks import Marks
from keephold.worker.newest import Newest
from keephold.worker.orders import LoadCode
from keephold.worker.results import Position


def hosted_with(trusted: Trusted | None) -> Hosted:
    session = SimpleNamespace(
        network=NETWORK,
        identity=b"w" * 32,
        instance=SimpleNamespace(id=INSTANCE),
        registrar=SimpleNamespace(record=None, is_live=True),
    )
    return Hosted(CONTRACT, session, None, lambda item: None, lambda errand: None, trusted, lambda *_: None)


def at(height: int) -> Ordering:
    return Ordering(Height(height), HeaderHash(height.to_bytes(32, "big")), height)


def test_a_record_under_an_older_header_is_neither_news_nor_a_state_put_back() -> None:
    """A proof for a question runs ahead of the stream, which then brings what was before: no lie of anybody's."""
    older = replace(Ledger().record, version=7, state_root=b"7" * 32)
    newer = replace(older, version=8, state_root=b"8" * 32)
    trusted = Trusted(None, Marks(ForgetfulVault()), Newest())
    hosted = hosted_with(trusted)
    hosted.proven(encode(newer), at(12))
    trusted.marks.keep_now([(CONTRACT, Position(0, 8, SimpleNamespace(root=b"8" * 32)))])
    hosted.proven(encode(older), at(11))
    assert hosted.core.proven.record == newer
    # Nor where the contract was taken away meanwhile, and given back.
    again = hosted_with(trusted)
    again.proven(encode(older), at(11))
    assert again.core.proven is None
    again.proven(encode(newer), at(12))
    assert again.core.proven.record == newer
    # Under a later header it is one.
    with pytest.raises(RollbackDetected):
        again.proven(encode(older), at(13))


def test_what_was_under_way_when_a_contract_ended_starts_no_process_after_it() -> None:
    """It would hold the contract's state, of a worker that is not assigned any more, for as long as that lives."""
    hosted = hosted_with(None)
    assert hosted.close() == []
    code = SimpleNamespace(source="")
    with pytest.raises(NoLiveWorker):
        asyncio.run(hosted._run(SimpleNamespace(code=code), None))
    with pytest.raises(NoLiveWorker):
        asyncio.run(hosted._do(LoadCode(code)))
