"""What a hostile wire makes of a submission is no reason to end."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from keephold.base.clock import SystemClock
from keephold.base.errors import InputError, NodeUnreachable
from keephold.crypto.secret import SecretBytes
from keephold.crypto.signing import SigningKey
from keephold.enclave.sender import Sender
from keephold.protocol.transactions import Echo


def test_a_submission_that_arrives_altered_is_a_node_that_does_not_answer() -> None:
    async def refused(raws: list[bytes]) -> None:
        assert raws
        raise InputError("not the canonical spelling")

    async def main() -> None:
        follower = SimpleNamespace(view=SimpleNamespace(network=b"n" * 32), submit=refused)
        sender = Sender(follower, SigningKey(SecretBytes(b"s" * 32)), SystemClock())
        sender._account(None, 1)
        sender.submit_nowait(Echo(b"e" * 32))
        with pytest.raises(NodeUnreachable):
            await sender._step()

    asyncio.run(main())
