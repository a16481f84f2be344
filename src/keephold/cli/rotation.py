"""`keephold rotate`: end a contract's key epoch, so that whoever left in it is shut out."""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import Parameter

from keephold.cli.output import emit
from keephold.cli.place import AS_ACCOUNT, AsAccount, contract_address
from keephold.client.network import Network


def rotate(
    contract: Annotated[str, Parameter(help="Name or address of a contract.")],
    options: AsAccount = AS_ACCOUNT,
) -> None:
    """End a contract's key epoch, as its creator: workers that left lose what they could read.

    Calls and questions wait until the state is sealed under the next epoch; their senders notice a pause.
    """
    pinned = options.pinned()
    account = options.account(pinned)
    with Network.connect(pinned.urls, pinned.genesis) as network:
        handle = network.contract(contract_address(pinned, contract))
        if not options.json:
            print("  draining, sealing the state anew…", file=sys.stderr)
        verified = handle.rotate(account, options.seconds(60.0))
    body = {"address": handle.address, "epoch": verified.epoch, "version": verified.record.version}
    emit(body, f"key epoch {verified.epoch}", as_json=options.json)
