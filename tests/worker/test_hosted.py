"""What a contract leaves behind where it ends: nothing."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from worker_scene import CONTRACT, INSTANCE, NETWORK

from keephold.base.errors import NoLiveWorker
from keephold.worker.hosted import Hosted
from keephold.worker.orders import LoadCode


def test_what_was_under_way_when_a_contract_ended_starts_no_process_after_it() -> None:
    """It would hold the contract's state, of a worker that is not assigned any more, for as long as that lives."""
    session = SimpleNamespace(
        network=NETWORK,
        identity=b"w" * 32,
        instance=SimpleNamespace(id=INSTANCE),
        registrar=SimpleNamespace(record=None, is_live=True),
    )
    hosted = Hosted(CONTRACT, session, None, lambda item: None, lambda errand: None, None, lambda *_: None)
    assert hosted.close() == []
    code = SimpleNamespace(source="")
    with pytest.raises(NoLiveWorker):
        asyncio.run(hosted._run(SimpleNamespace(code=code), None))
    with pytest.raises(NoLiveWorker):
        asyncio.run(hosted._do(LoadCode(code)))
