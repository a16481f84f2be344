"""The gateway that local networks attach workers to: a node that is down is a typed refusal, never a worker's end."""

from __future__ import annotations

import asyncio

import pytest

from keephold.base.errors import NodeUnreachable
from keephold.crypto.labels import SIGN_ATTACHMENT
from keephold.protocol.wire import Attachment
from keephold.testing.gateway import LocalGateway
from keephold.testing.local import LocalNetwork, named_key


def test_an_attachment_while_the_node_is_down_is_refused_as_unreachable(tmp_path):
    async def run() -> None:
        net = LocalNetwork(tmp_path)
        gateway, key, instance = LocalGateway(net), named_key("w0"), bytes(32)
        ticket = (await gateway.attach(key.public)).ticket
        signature = key.sign(SIGN_ATTACHMENT, net.network, instance, ticket)
        with pytest.raises(NodeUnreachable, match="down"):
            await anext(gateway.queries(Attachment(key.public, instance, ticket, signature)))

    asyncio.run(run())
